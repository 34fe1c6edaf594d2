//! Numbers of 16 bits: half the size, and in what is computed anyway where products are in bf16.

use super::{CompressError, Compressed, Event, Gate, Judge, Report, Source};
use crate::model::Width;
use crate::settings::PrecisionSetting;

/// Rounds all numbers to `width`.
///
/// # Errors
/// [`CompressError`] if one is too large for it, or the model cannot be measured.
pub fn to_half(
    source: &Source<'_>,
    width: Width,
    (precision, gate): (PrecisionSetting, Gate),
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Compressed, CompressError> {
    let rounded = source.model.to_width(width);
    let model = rounded.map_err(|(name, value)| CompressError::TooLarge {
        path: source.directory.clone(),
        name,
        value,
    })?;
    let (comparison, judgement) =
        Judge::new(source, (precision, gate), observe)?.judge(width.name(), &model, observe)?;
    observe(Event::Judged(&judgement, 0));
    Ok(Compressed {
        model,
        tokenizer: source.tokenizer.clone(),
        report: Report {
            to: width.name(),
            comparison,
            judgement,
            kept: Vec::new(),
            share: None,
            vocabulary: None,
        },
    })
}
