//! Occlusion: each word in turn is hidden from the model, or left out.
//!
//! The tokens of a word are replaced, not its characters, so that everything else stays as it was, also what a long text was cut to. Words with
//! the same tokens are one variant, and a word without any is none: its score is 0.

use std::collections::HashMap;

use super::reading::Reading;
use super::{ExplainError, Explanation, Options, Scored, explanation};
use crate::predict::{Prediction, Predictor};
use crate::tokens::{Encoded, Tokenizer, micro_batches};

/// Tokens of variants that are in memory at a time.
const MAX_TOKENS: usize = 1 << 17;

/// A text, whole or without some of its tokens.
struct Variant<'a> {
    reading: &'a Reading<'a>,
    without: Vec<usize>,
}

pub(super) fn explain(
    predictor: &Predictor,
    readings: &[Reading<'_>],
    options: &Options,
) -> Result<Vec<Explanation>, ExplainError> {
    let mut variants = Vec::new();
    // Of each text the number of the whole one, and of the variant of each of its words.
    let mut places: Vec<(usize, Vec<usize>)> = Vec::with_capacity(readings.len());
    for reading in readings {
        let whole = variants.len();
        let mut known = HashMap::from([(Vec::new(), whole)]);
        variants.push(Variant {
            reading,
            without: Vec::new(),
        });
        let mut of_words = Vec::with_capacity(reading.words.len());
        for word in &reading.words {
            let without: Vec<usize> = word.tokens.iter().map(|(token, _)| *token).collect();
            of_words.push(*known.entry(without.clone()).or_insert_with(|| {
                variants.push(Variant { reading, without });
                variants.len() - 1
            }));
        }
        places.push((whole, of_words));
    }
    let predictions = predict(predictor, &variants, options.drop)?;
    let explain = |(reading, (whole, of_words)): (&Reading<'_>, &(usize, Vec<usize>))| {
        let whole = &predictions[*whole];
        explanation(predictor, reading, whole, options, |label| {
            let without: Vec<f64> = of_words.iter().map(|&word| predictions[word].scores[label]).collect();
            Ok(Scored {
                scores: without.iter().map(|score| whole.scores[label] - score).collect(),
                probabilities: without.into_iter().map(Some).collect(),
                completeness: None,
            })
        })
    };
    readings.iter().zip(&places).map(explain).collect()
}

/// Predicts all variants, as many at a time as memory is to hold.
fn predict(predictor: &Predictor, variants: &[Variant<'_>], drop: bool) -> Result<Vec<Prediction>, ExplainError> {
    let tokenizer = predictor.tokenizer();
    let mask = tokenizer.mask_token().filter(|_| !drop);
    let length = |variant: &Variant<'_>| variant.reading.encoded.input_ids.len();
    let lengths: Vec<usize> = variants.iter().map(length).collect();
    let mut predictions = Vec::with_capacity(variants.len());
    for part in micro_batches(&lengths, MAX_TOKENS) {
        let encoded: Vec<Encoded> = variants[part]
            .iter()
            .map(|variant| variant.encoded(mask, tokenizer))
            .collect();
        predictions.extend(predictor.predict_encoded(&encoded, &mut |_| ())?);
    }
    Ok(predictions)
}

impl Variant<'_> {
    /// Its tokens, with `mask` in the place of what is hidden, or with nothing there.
    fn encoded(&self, mask: Option<u32>, tokenizer: &Tokenizer) -> Encoded {
        let mut encoded = self.reading.encoded.clone();
        if let Some(mask) = mask {
            self.without.iter().for_each(|&token| encoded.input_ids[token] = mask);
            return encoded;
        }
        let mut is_kept = vec![true; encoded.input_ids.len()];
        self.without.iter().for_each(|&token| is_kept[token] = false);
        let keep = |values: &mut Vec<u32>| {
            let mut is_kept = is_kept.iter();
            values.retain(|_| is_kept.next().copied().unwrap_or(true));
        };
        keep(&mut encoded.input_ids);
        keep(&mut encoded.token_type_ids);
        match encoded.input_ids.is_empty() {
            true => tokenizer.stand_in(),
            false => encoded,
        }
    }
}
