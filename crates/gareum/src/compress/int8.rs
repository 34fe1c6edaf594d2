//! Weights of 8 bits, and inputs of products too.

use std::collections::BTreeSet;

use super::gate::shift;
use super::{CompressError, Compressed, Event, Gate, Report, Source};
use crate::comparison::{Comparison, Contestant, Kind};
use crate::data::Input;
use crate::metrics::Bootstrap;
use crate::model::{Model, Quantizable, saved_bytes};
use crate::predict::{Prediction, Predictor};
use crate::settings::PrecisionSetting;
use crate::tokens::Encoded;

/// Rows on which it is tried how much each group of weights matters.
const CALIBRATION_ROWS: usize = 256;

/// How to make a model's weights narrow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Int8Options {
    /// What everything but the products is computed in.
    pub precision: PrecisionSetting,
    /// What is allowed to change.
    pub gate: Gate,
    /// Keep weights wide, those that matter most first, until the gate is passed.
    pub is_automatic: bool,
    /// Leave embeddings as they are, so that `transformers` opens the model.
    pub keeps_embeddings: bool,
}

/// Makes weights of products and of embeddings integers of 8 bits (`model/quantization.rs`). If the gate does not let the model pass and
/// [`Int8Options::is_automatic`], weights that matter most are kept as they were, twice as many groups each time, until it does or none is left.
/// Whether it passed is in the report.
///
/// # Errors
/// [`CompressError`] if the model cannot be measured.
pub fn to_int8(
    source: &Source<'_>,
    options: &Int8Options,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Compressed, CompressError> {
    let &Int8Options {
        precision,
        gate,
        is_automatic,
        keeps_embeddings,
    } = options;
    let rows = source.examples.len();
    let predictor = |model: Model| Predictor::new(model, &source.directory, precision);
    let score = |name: &str, model: &Model, observe: &mut dyn FnMut(Event<'_>)| -> Result<Contestant, CompressError> {
        let of = (source.directory.as_path(), saved_bytes(&model.parameters));
        let data = (source.model.schema(), source.examples);
        let progress = &mut |done| observe(Event::Rows(done, rows));
        Ok(Contestant::of(
            name.to_owned(),
            Kind::Model,
            &predictor(model.clone())?,
            of,
            data,
            progress,
        )?)
    };
    let before = score("original", &source.model, observe)?;
    let mut groups = source.model.quantizable();
    let tables: Vec<String> = groups
        .extract_if(.., |group| keeps_embeddings && group.is_table)
        .flat_map(|group| group.names)
        .collect();
    // The order in which they are kept: found when it is needed.
    let mut sensitive: Option<Vec<usize>> = None;
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    loop {
        let names: BTreeSet<&str> = kept
            .iter()
            .flat_map(|index| &groups[*index].names)
            .chain(&tables)
            .map(String::as_str)
            .collect();
        let model = source.model.to_int8(&|name| names.contains(name));
        let after = score("int8", &model, observe)?;
        let both = [before.clone(), after];
        let schema = source.model.schema();
        let comparison = Comparison::new(schema, source.examples, &both, &Bootstrap::default())?;
        let judgement = gate.judge(schema, source.examples, [&both[0], &both[1]], &comparison);
        observe(Event::Judged(&judgement, kept.len()));
        if judgement.passed || !is_automatic || kept.len() == groups.len() {
            let all: usize = source.model.parameters.element_count();
            let narrow: usize = (0..groups.len())
                .filter(|index| !kept.contains(index))
                .map(|index| groups[index].elements)
                .sum();
            return Ok(Compressed {
                model,
                report: Report {
                    comparison,
                    judgement,
                    kept: names.into_iter().map(str::to_owned).collect(),
                    share: narrow as f64 / all.max(1) as f64,
                },
            });
        }
        let order = match &mut sensitive {
            Some(order) => order,
            none => none.insert(by_sensitivity(source, precision, &groups)?),
        };
        let more = (2 * kept.len()).clamp(1, groups.len());
        kept = order.iter().copied().take(more).collect();
    }
}

/// The groups of weights, those first whose being narrow, alone, moves probabilities most.
fn by_sensitivity(
    source: &Source<'_>,
    precision: PrecisionSetting,
    groups: &[Quantizable],
) -> Result<Vec<usize>, CompressError> {
    let step = source.examples.len().div_ceil(CALIBRATION_ROWS).max(1);
    let inputs: Vec<Input> = source
        .examples
        .iter()
        .step_by(step)
        .map(|example| Input {
            text: example.text.clone(),
            text_pair: example.text_pair.clone(),
        })
        .collect();
    let predict =
        |model: Model, encoded: Option<&[Encoded]>| -> Result<(Vec<Encoded>, Vec<Prediction>), CompressError> {
            let predictor = Predictor::new(model, &source.directory, precision)?;
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
        let model = source.model.to_int8(&|name| !group.names.iter().any(|own| own == name));
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
