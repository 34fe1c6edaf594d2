//! Models with fewer words: the tokens of a corpus and what no text can do without stay, the rest goes from the tokenizer and from the table of
//! word embeddings, which is most of a multilingual model. Texts of the corpus are predicted as before, to the bit.

use std::collections::BTreeSet;

use super::{CompressError, Compressed, Contender, Event, Gate, Judge, Report, Source};
use crate::data::Input;
use crate::predict::Description;
use crate::settings::PrecisionSetting;
use crate::tokens::{Tokenizer, TokenizerError, Truncation, TruncationStrategy};

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
    corpus: Vec<Input>,
    (precision, gate): (PrecisionSetting, Gate),
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Compressed, CompressError> {
    let rows = source.examples.iter().map(Input::from);
    let description = Description::read(&source.directory)?;
    let steps = description.map(|description| description.settings.data.normalize);
    let steps = steps.unwrap_or_default();
    let texts = corpus.into_iter().chain(rows).map(|input| input.normalized(&steps));
    let texts: Vec<Input> = texts.collect();
    let mut used: BTreeSet<u32> = source.model.needed_tokens().into_iter().collect();
    let mut whole = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(CHUNK) {
        whole.extend(ids(&source.tokenizer, chunk)?);
        observe(Event::Rows(whole.len(), texts.len()));
    }
    used.extend(whole.iter().flatten());
    let trimmed = source.tokenizer.trimmed(&used)?;
    // What was chosen with care is looked at all the same: these texts must be cut as before.
    for (chunk, before) in texts.chunks(CHUNK).zip(whole.chunks(CHUNK)) {
        for ((before, after), input) in before.iter().zip(ids(&trimmed.tokenizer, chunk)?).zip(chunk) {
            let expected = before.iter().map(|id| trimmed.id_of(*id));
            if !expected.eq(after.into_iter().map(Some)) {
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

/// The tokens of whole texts.
fn ids(tokenizer: &Tokenizer, inputs: &[Input]) -> Result<Vec<Vec<u32>>, TokenizerError> {
    let encoded = tokenizer.encode_all(inputs, WHOLE)?;
    Ok(encoded.into_iter().map(|encoded| encoded.input_ids).collect())
}
