//! Weights of 8 or 4 bits, and inputs of products of 8.

use std::collections::BTreeSet;

use tensor::DType;

use super::{CompressError, Compressed, Event, Gate, Judge, Report, Source};
use crate::comparison::shift;
use crate::data::Input;
use crate::model::{Model, Quantizable, QuantizableKind};
use crate::predict::{Prediction, Predictor};
use crate::settings::PrecisionSetting;
use crate::tokens::Encoded;

/// Rows on which it is tried how much each group of weights matters.
const CALIBRATION_ROWS: usize = 256;

/// What weights of products become. Tables of embeddings are of 8 bits with both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantized {
    /// 8 bits, a scale for each row.
    Int8,
    /// 4 bits, the quantiles of a normal distribution, with a scale for each 64 numbers.
    Nf4,
}

impl Quantized {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
        }
    }
}

/// How to make a model's weights narrow.
#[derive(Debug, Clone, Copy)]
pub struct QuantizeOptions {
    /// What weights become.
    pub to: Quantized,
    /// What everything but the products is computed in.
    pub precision: PrecisionSetting,
    /// What is allowed to change.
    pub gate: Gate,
    /// Keep weights wider, those that matter most first, until the gate is passed.
    pub is_automatic: bool,
    /// Leave embeddings as they are, so that `transformers` opens the model.
    pub keeps_embeddings: bool,
}

impl QuantizeOptions {
    /// What a group of weights becomes, if it should be narrow or if it `is_kept`; `None`: as it is.
    fn dtype(&self, group: &Quantizable, is_kept: bool) -> Option<DType> {
        match (group.kind, self.to) {
            (QuantizableKind::Table, _) => (!is_kept && !self.keeps_embeddings).then_some(DType::Int8),
            (_, Quantized::Int8) => (!is_kept).then_some(DType::Int8),
            // `transformers` takes `pre_classifier` for a `classifier`, which it leaves as it is.
            (QuantizableKind::HeadProduct, Quantized::Nf4) if self.keeps_embeddings => None,
            (_, Quantized::Nf4) if !is_kept => Some(DType::Nf4),
            // Between 4 bits and all of them; but what reads 4 bits elsewhere does not read 8 beside them.
            (_, Quantized::Nf4) => (!self.keeps_embeddings).then_some(DType::Int8),
        }
    }
}

/// Makes weights of products and of embeddings narrow (`model/quantization.rs`). If the gate does not let the model pass and
/// [`QuantizeOptions::is_automatic`], weights that matter most are kept wider, twice as many groups each time, until it does or none is left.
/// Whether it passed is in the report.
///
/// # Errors
/// [`CompressError`] if the model cannot be measured.
pub fn quantize(
    source: &Source<'_>,
    options: &QuantizeOptions,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Compressed, CompressError> {
    let &QuantizeOptions {
        to, precision, gate, ..
    } = options;
    let judge = Judge::new(source, (precision, gate), observe)?;
    let mut groups = source.model.quantizable();
    groups.retain(|group| options.dtype(group, false).is_some());
    let of = |names: &[String]| groups.iter().position(|group| group.names == names);
    // The order in which they are kept: found when it is needed.
    let mut sensitive: Option<Vec<usize>> = None;
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    loop {
        let model = source.model.quantized(&|group| {
            let index = of(&group.names)?;
            options.dtype(group, kept.contains(&index))
        });
        let (comparison, judgement) = judge.judge(to.name(), &model, observe)?;
        observe(Event::Judged(&judgement, kept.len()));
        if judgement.passed || !options.is_automatic || kept.len() == groups.len() {
            let all: usize = source.model.parameters.element_count();
            let narrow = |index: &usize| !kept.contains(index);
            let elements = |index: usize| groups[index].elements;
            let narrow: usize = (0..groups.len()).filter(narrow).map(elements).sum();
            let names = kept.iter().flat_map(|index| &groups[*index].names);
            return Ok(Compressed {
                model,
                tokenizer: source.tokenizer.clone(),
                report: Report {
                    to: to.name(),
                    comparison,
                    judgement,
                    kept: names.cloned().collect(),
                    share: Some(narrow as f64 / all.max(1) as f64),
                    vocabulary: None,
                },
            });
        }
        let order = match &mut sensitive {
            Some(order) => order,
            none => none.insert(by_sensitivity(source, options, &groups)?),
        };
        let more = (2 * kept.len()).clamp(1, groups.len());
        kept = order.iter().copied().take(more).collect();
    }
}

/// The groups of weights, those first whose being narrow, alone, moves probabilities most.
fn by_sensitivity(
    source: &Source<'_>,
    options: &QuantizeOptions,
    groups: &[Quantizable],
) -> Result<Vec<usize>, CompressError> {
    let step = source.examples.len().div_ceil(CALIBRATION_ROWS).max(1);
    let inputs: Vec<Input> = source.examples.iter().step_by(step).map(Input::from).collect();
    let predict =
        |model: Model, encoded: Option<&[Encoded]>| -> Result<(Vec<Encoded>, Vec<Prediction>), CompressError> {
            let predictor = Predictor::new(model, &source.directory, options.precision)?;
            let encoded = match encoded {
                Some(encoded) => encoded.to_vec(),
                None => predictor.encode(&inputs)?,
            };
            let predictions = predictor.predict_encoded(&encoded, &mut |_| ())?;
            Ok((encoded, predictions))
        };
    let (encoded, before) = predict(source.model.clone(), None)?;
    let mut moved = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let alone = |other: &Quantizable| (other == group).then(|| options.dtype(group, false)).flatten();
        let model = source.model.quantized(&alone);
        let (_, after) = predict(model, Some(&encoded))?;
        let sum: f64 = before
            .iter()
            .zip(&after)
            .map(|(before, after)| shift(before, after))
            .sum();
        moved.push((sum, index));
    }
    moved.sort_by(|one, other| other.0.total_cmp(&one.0));
    Ok(moved.into_iter().map(|(_, index)| index).collect())
}
