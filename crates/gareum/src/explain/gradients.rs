//! Gradient × input and integrated gradients: how a label's logit follows from what the tokens of a text start from.
//!
//! The embeddings of all tokens (word, position and type together, normed where the family norms them: what `LayerIntegratedGradients` of
//! Captum gets with the model's `embeddings`) are a variable of the tape. Integrated gradients go on a straight line from the embeddings of a
//! baseline, in which padding tokens stand for those of the texts and the frame of special tokens stays, to those of the text; the points are
//! those of Gauss and Legendre, as Captum's. Scores of tokens are summed up to words; a token that several words share is shared out by its
//! characters.
//!
//! An encoder-decoder reads each text twice: what a token does in either adds up.

use std::cell::RefCell;
use std::rc::Rc;

use rayon::prelude::*;
use tensor::{ParameterGradients, Tape, Tensor, Var};

use super::reading::Reading;
use super::{Completeness, ExplainError, Explanation, Method, Options, Scored, explanation};
use crate::model::Model;
use crate::predict::Predictor;
use crate::tokens::{Encoded, PackedBatch, Tokenizer, micro_batches};

/// Tokens of a text that go through the model at a time: everything is kept for the way back.
const MAX_TOKENS: usize = 512;

/// Texts that are worked on at a time, however many threads there are.
const MAX_TEXTS: usize = 8;

pub(super) fn explain(
    predictor: &Predictor,
    readings: &[Reading<'_>],
    options: &Options,
) -> Result<Vec<Explanation>, ExplainError> {
    let encoded: Vec<Encoded> = readings.iter().map(|reading| reading.encoded.clone()).collect();
    let predictions = predictor.predict_encoded(&encoded, &mut |_| ())?;
    let explain = |(reading, prediction)| {
        let way = Way::new(predictor, reading, options)?;
        explanation(predictor, reading, prediction, options, |label| {
            let (tokens, completeness) = way.scores(predictor.model(), label)?;
            let score =
                |tokens_of: &[(usize, f64)]| tokens_of.iter().map(|(token, share)| share * tokens[*token]).sum();
            Ok(Scored {
                scores: reading.words.iter().map(|word| score(&word.tokens)).collect(),
                probabilities: vec![None; reading.words.len()],
                completeness,
            })
        })
    };
    let mut explanations = Vec::with_capacity(readings.len());
    for (readings, predictions) in readings.chunks(MAX_TEXTS).zip(predictions.chunks(MAX_TEXTS)) {
        let work = readings.par_iter().with_max_len(1).zip(predictions);
        let done: Result<Vec<Explanation>, ExplainError> = work.map(explain).collect();
        explanations.extend(done?);
    }
    Ok(explanations)
}

/// Where the tape leaves the gradient of a variable.
type Gradient = Rc<RefCell<Option<Tensor>>>;

/// The way from a baseline to a text.
struct Way<'a> {
    encoded: &'a Encoded,
    /// What the tokens of the encoder start from, and those of the decoder if there is one.
    stacks: Vec<Stack>,
    /// Points on the way, from 0 to 1, and their weights.
    points: Vec<(f64, f64)>,
    checks: bool,
}

/// Embeddings `[tokens, width]` of the text and of the baseline.
struct Stack {
    text: Vec<f32>,
    baseline: Vec<f32>,
    width: usize,
}

impl<'a> Way<'a> {
    fn new(predictor: &Predictor, reading: &'a Reading<'_>, options: &Options) -> Result<Self, ExplainError> {
        let (model, encoded) = (predictor.model(), &reading.encoded);
        let embed = |encoded: &Encoded| -> Result<Vec<Tensor>, ExplainError> {
            let batch = PackedBatch::new([encoded], 0, 0);
            let embedded = model.embed(&Tape::inference(), &batch)?;
            Ok(embedded.into_iter().map(Var::into_value).collect())
        };
        let texts = embed(encoded)?;
        let is_integrated = options.method == Method::IntegratedGradients;
        let baseline = baseline(predictor.tokenizer(), reading).filter(|_| is_integrated);
        let baselines = match &baseline {
            Some(baseline) => embed(baseline)?.iter().map(Tensor::to_f32_vec).collect(),
            None => texts.iter().map(|text| vec![0.0; text.len()]).collect::<Vec<_>>(),
        };
        let tokens = encoded.input_ids.len();
        let stacks = texts.iter().zip(baselines).map(|(text, baseline)| Stack {
            text: text.to_f32_vec(),
            baseline,
            width: text.len() / tokens,
        });
        Ok(Self {
            encoded,
            stacks: stacks.collect(),
            points: match is_integrated {
                true => gauss_legendre(options.steps),
                false => vec![(1.0, 1.0)],
            },
            checks: is_integrated,
        })
    }

    /// The score of each token, and whether they add up.
    fn scores(&self, model: &Model, label: usize) -> Result<(Vec<f64>, Option<Completeness>), ExplainError> {
        let tokens = self.encoded.input_ids.len();
        let mut sums: Vec<Vec<f64>> = self.stacks.iter().map(|stack| vec![0.0; stack.text.len()]).collect();
        for part in micro_batches(&vec![tokens; self.points.len()], MAX_TOKENS) {
            self.add_gradients(model, label, &self.points[part], &mut sums)?;
        }
        let mut scores = vec![0.0; tokens];
        let mut sum = 0.0;
        for (number, (stack, gradients)) in self.stacks.iter().zip(&sums).enumerate() {
            let differences = stack.text.iter().zip(&stack.baseline);
            let products: Vec<f64> = differences
                .zip(gradients)
                .map(|((&text, &baseline), gradient)| (f64::from(text) - f64::from(baseline)) * gradient)
                .collect();
            for (token, product) in products.chunks_exact(stack.width).enumerate() {
                let product: f64 = product.iter().sum();
                sum += product;
                // A decoder has another token in front, which is no part of the text.
                if let Some(token) = token.checked_sub(number) {
                    scores[token] += product;
                }
            }
        }
        if !self.checks {
            return Ok((scores, None));
        }
        let logit = |point| {
            Ok::<_, ExplainError>(
                self.forward(&Tape::inference(), model, &[point])?
                    .1
                    .value()
                    .to_f64_vec()[label],
            )
        };
        let (logit, baseline) = (logit(1.0)?, logit(0.0)?);
        let completeness = Completeness {
            logit,
            baseline,
            sum,
            error: sum - (logit - baseline),
        };
        Ok((scores, Some(completeness)))
    }

    /// Adds the gradients at some points, by their weights.
    fn add_gradients(
        &self,
        model: &Model,
        label: usize,
        points: &[(f64, f64)],
        sums: &mut [Vec<f64>],
    ) -> Result<(), ExplainError> {
        let tape = Tape::recording();
        let places: Vec<f64> = points.iter().map(|(place, _)| *place).collect();
        let (gradients, logits) = self.forward(&tape, model, &places)?;
        let labels = model.schema().num_labels();
        let mut seed = vec![0.0f32; points.len() * labels];
        for (row, (_, weight)) in seed.chunks_exact_mut(labels).zip(points) {
            row[label] = *weight as f32;
        }
        let seed = Tensor::from_vec(seed, logits.value().shape())?;
        tape.backward_from(
            &logits,
            seed,
            &mut ParameterGradients::for_parameters(&model.parameters),
        )?;
        for (sum, gradient) in sums.iter_mut().zip(gradients) {
            let Some(gradient) = gradient.borrow_mut().take() else {
                continue;
            };
            for copy in gradient.to_f32_vec().chunks_exact(sum.len()) {
                sum.iter_mut()
                    .zip(copy)
                    .for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        Ok(())
    }

    /// The logits at some points, and where the gradients of what tokens start from will be.
    fn forward(&self, tape: &Tape, model: &Model, points: &[f64]) -> Result<(Vec<Gradient>, Var), ExplainError> {
        let batch = PackedBatch::new(points.iter().map(|_| self.encoded), 0, 0);
        let mut embedded = Vec::with_capacity(self.stacks.len());
        let mut gradients = Vec::with_capacity(self.stacks.len());
        for stack in &self.stacks {
            let mut values = Vec::with_capacity(points.len() * stack.text.len());
            for &point in points {
                let both = stack.text.iter().zip(&stack.baseline);
                values.extend(both.map(|(&text, &baseline)| {
                    let (text, baseline) = (f64::from(text), f64::from(baseline));
                    (baseline + point * (text - baseline)) as f32
                }));
            }
            let (var, gradient) = tape.variable(Tensor::from_vec(values, &[batch.tokens(), stack.width])?);
            embedded.push(var);
            gradients.push(gradient);
        }
        Ok((gradients, model.forward_from(tape, &batch, &embedded)?))
    }
}

/// The tokens of a text that says nothing: the frame, with padding tokens in it. `None` where the tokenizer has nothing of the kind: zeros
/// then stand for all embeddings.
fn baseline(tokenizer: &Tokenizer, reading: &Reading<'_>) -> Option<Encoded> {
    let nothing = tokenizer
        .padding_token()
        .or_else(|| tokenizer.mask_token())
        .or_else(|| tokenizer.unknown_token())?;
    let mut baseline = reading.encoded.clone();
    let ids = baseline.input_ids.iter_mut().zip(&reading.is_text);
    ids.filter(|(_, is_text)| **is_text).for_each(|(id, _)| *id = nothing);
    Some(baseline)
}

/// Points between 0 and 1, and weights whose sum is 1, by which `count` values integrate polynomials up to the degree 2·count − 1 exactly:
/// the roots of the Legendre polynomial, found by Newton's method.
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let size = count as f64;
    // The polynomial and its derivative.
    let evaluate = |x: f64| {
        let (mut before, mut value) = (1.0, x);
        for degree in 2..=count {
            let degree = degree as f64;
            (before, value) = (
                value,
                ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * before) / degree,
            );
        }
        (value, size * (x * value - before) / (x * x - 1.0))
    };
    let root = |number: usize| {
        let mut x = -(std::f64::consts::PI * (number as f64 + 0.75) / (size + 0.5)).cos();
        for _ in 0..100 {
            let (value, slope) = evaluate(x);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        let slope = evaluate(x).1;
        ((1.0 + x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        for count in [1, 2, 3, 7, 50, 300] {
            let points = gauss_legendre(count);
            for degree in [0, 1, 3, 2 * count - 1] {
                let integral: f64 = points.iter().map(|(x, weight)| weight * x.powi(degree as i32)).sum();
                if degree < 2 * count {
                    let expected = 1.0 / (degree as f64 + 1.0);
                    assert!((integral - expected).abs() < 1e-13, "{count} {degree}: {integral}");
                }
            }
            assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
