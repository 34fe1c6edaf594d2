//! Models with fewer words: the tokens of a corpus and what no text can do without stay, the rest goes from the tokenizer and from the table of
//! word embeddings, which is most of a multilingual model. Texts of the corpus are predicted as before, to the bit.

use std::collections::BTreeSet;

use super::{CompressError, Compressed, Contender, Event, Gate, Judge, Report, Source};
use crate::data::{Input, normalize};
use crate::predict::Description;
use crate::settings::PrecisionSetting;
use crate::tokens::{Truncation, TruncationStrategy};

/// No text is cut: all of its tokens are kept.
const WHOLE: Truncation = Truncation {
    max_length: usize::MAX,
    strategy: TruncationStrategy::Head,
};

/// Texts that are tokenized at a time.
const CHUNK: usize = 4096;

/// Leaves out the words that no text of `corpus` and no row of `source` has.
///
/// # Errors
/// [`CompressError`] if the tokenizer is of a kind that cannot be trimmed, or the model cannot be measured.
pub fn trim_vocabulary(
    source: &Source<'_>,
    corpus: &[Input],
    (precision, gate): (PrecisionSetting, Gate),
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Compressed, CompressError> {
    let rows = source.examples.iter().map(|example| Input {
        text: example.text.clone(),
        text_pair: example.text_pair.clone(),
    });
    let description = Description::read(&source.directory)?;
    let steps = description.map(|description| description.settings.data.normalize);
    let steps = steps.unwrap_or_default();
    let changed = |text: &String| normalize(text, &steps).into_owned();
    let texts = corpus.iter().cloned().chain(rows).map(|input| Input {
        text: changed(&input.text),
        text_pair: input.text_pair.as_ref().map(changed),
    });
    let texts: Vec<Input> = texts.collect();
    let mut used: BTreeSet<u32> = source.model.needed_tokens().into_iter().collect();
    let mut done = 0;
    for chunk in texts.chunks(CHUNK) {
        let encoded = source.tokenizer.encode_all(chunk, WHOLE)?;
        used.extend(encoded.iter().flat_map(|encoded| &encoded.input_ids));
        done += chunk.len();
        observe(Event::Rows(done, texts.len()));
    }
    let trimmed = source.tokenizer.trimmed(&used)?;
    // What was chosen with care is looked at all the same: these texts must be cut as before.
    for chunk in texts.chunks(CHUNK) {
        let before = source.tokenizer.encode_all(chunk, WHOLE)?;
        let after = trimmed.tokenizer.encode_all(chunk, WHOLE)?;
        for ((before, after), input) in before.iter().zip(&after).zip(chunk) {
            let expected = before.input_ids.iter().map(|id| trimmed.id_of(*id));
            if !expected.eq(after.input_ids.iter().map(|id| Some(*id))) {
                return Err(CompressError::CutOtherwise(input.text.clone()));
            }
        }
    }
    let model = source.model.with_words(&trimmed.kept)?;
    let vocabulary = Some([source.model.config().vocab_size, trimmed.kept.len()]);
    let of = Contender {
        tokenizer: &trimmed.tokenizer,
        ..Contender::of(source, &model)
    };
    let judge = Judge::new(source, (precision, gate), observe)?;
    let (comparison, judgement) = judge.judge_with("trimmed", of, observe)?;
    observe(Event::Judged(&judgement, 0));
    Ok(Compressed {
        model,
        tokenizer: trimmed.tokenizer,
        report: Report {
            to: "trimmed",
            comparison,
            judgement,
            kept: Vec::new(),
            share: None,
            vocabulary,
        },
    })
}
