//! Models without the parts that matter least: whole layers, heads, columns of the feed-forward halves.
//!
//! Heads and columns are judged by what the loss would change, to first order, if they were gone (`model/pruning.rs`), on rows that the model
//! was not trained on; a layer by the loss without it. What is left can be trained again, beside the whole model as its teacher.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use tensor::{ParameterGradients, Tape};

use super::{CompressError, Contender, Event, Gate, Judge, Judgement, Source};
use crate::comparison::Comparison;
use crate::data::{Example, Input, Target};
use crate::head;
use crate::model::{HalfImportance, LayerPruning, Model, ModelError};
use crate::predict::{Description, Predictor};
use crate::settings::{DistillationSettings, LayerChoice, ModelSettings, PrecisionSetting, Settings};
use crate::tokens::{Encoded, PackedBatch};
use crate::train::{self, Prepared, RunOptions, RunReport, TrainError};

/// Rows that importance is measured on.
const CALIBRATION_ROWS: usize = 512;

/// Rows whose gradients are added up before their size is taken: few, since gradients of different rows cancel out.
const ROWS_AT_A_TIME: usize = 4;

/// Rows on which the model is tried without each of its layers.
const LAYER_ROWS: usize = 256;

/// Tokens that go through the model at a time.
const MAX_TOKENS: usize = 4096;

/// What to take away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PruneOptions {
    /// The share of all heads: those that matter least, wherever they are, but for one in each layer.
    pub heads: f64,
    /// The share of the columns of each feed-forward half.
    pub feed_forward: f64,
    /// How many layers are left; `None`: all.
    pub layers: Option<usize>,
}

/// What is left of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remains {
    /// The layers that are left, by their numbers in the original.
    pub layers: Vec<usize>,
    /// Heads that are left in each of them.
    pub heads: Vec<usize>,
    /// Of how many.
    pub num_attention_heads: usize,
    /// Columns of each feed-forward half that are left.
    pub intermediate_size: usize,
    /// Of how many.
    pub whole_intermediate_size: usize,
}

/// What is told of a pruned model.
#[derive(Debug, Clone, Serialize)]
pub struct PruneReport {
    /// What is left.
    pub remains: Remains,
    /// Epochs that it was trained for afterwards.
    pub recover_epochs: u64,
    /// The model before and after on the same rows.
    pub comparison: Comparison,
    /// What the gate says.
    pub judgement: Judgement,
}

/// Takes away what matters least on the examples of `source`.
///
/// # Errors
/// [`CompressError::Fixed`] if the model cannot be pruned so, [`CompressError::Layers`] if it has not as many layers.
pub fn prune(
    source: &Source<'_>,
    options: &PruneOptions,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<(Model, Remains), CompressError> {
    let whole = &source.model;
    for (is_asked, part, reason) in [
        (options.heads > 0.0, "heads", whole.heads_are_fixed()),
        (
            options.feed_forward > 0.0,
            "feed-forward halves",
            whole.columns_are_fixed(),
        ),
    ] {
        if let Some(reason) = reason.filter(|_| is_asked) {
            let directory = source.directory.clone();
            return Err(CompressError::Fixed {
                directory,
                part,
                reason,
            });
        }
    }
    let calibration = Calibration::of(source)?;
    let all_layers = whole.config().num_hidden_layers;
    let layers = match options.layers {
        None => (0..all_layers).collect(),
        Some(count) => calibration.best_layers(source, count, observe)?,
    };
    let model = match layers.len() == all_layers {
        true => whole.clone(),
        false => whole.keep_layers(&LayerChoice::Numbers(layers.clone()))?,
    };
    let (heads, inner) = (whole.config().num_attention_heads, whole.config().intermediate_size);
    let mut remains = Remains {
        heads: model.heads_in_use(),
        layers,
        num_attention_heads: heads,
        intermediate_size: inner,
        whole_intermediate_size: inner,
    };
    if options.heads == 0.0 && options.feed_forward == 0.0 {
        return Ok((model, remains));
    }
    let importance = calibration.importance(&model, observe)?;
    let left = choose(&importance, options);
    let model = model.pruned(&left)?;
    remains.heads = model.heads_in_use();
    remains.intermediate_size = model.config().intermediate_size;
    Ok((model, remains))
}

/// Which parts of each layer are left.
fn choose(importance: &[HalfImportance], options: &PruneOptions) -> Vec<LayerPruning> {
    let share = |share: f64, of: usize| (share * of as f64).round() as usize;
    // Layers differ in how large their gradients are, so heads are compared by their share of their layer's (Michel et al. 2019).
    let mut heads: Vec<(f64, usize, usize)> = Vec::new();
    for (layer, half) in importance.iter().enumerate() {
        let norm = half.heads.iter().map(|value| value * value).sum::<f64>().sqrt();
        let of_layer = half.heads.iter().enumerate();
        heads.extend(of_layer.map(|(head, value)| (value / norm.max(f64::MIN_POSITIVE), layer, head)));
    }
    heads.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut left: Vec<Vec<usize>> = importance.iter().map(|half| (0..half.heads.len()).collect()).collect();
    let mut to_remove = share(options.heads, heads.len());
    for (_, layer, head) in heads {
        if to_remove > 0 && left[layer].len() > 1 {
            left[layer].retain(|other| *other != head);
            to_remove -= 1;
        }
    }
    let columns = |half: &HalfImportance| {
        let count = half.columns.len();
        let kept = count.saturating_sub(share(options.feed_forward, count)).max(1);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|one, other| half.columns[*other].total_cmp(&half.columns[*one]));
        order.truncate(kept);
        order.sort_unstable();
        order
    };
    importance
        .iter()
        .zip(left)
        .map(|(half, heads)| LayerPruning {
            heads,
            columns: columns(half),
        })
        .collect()
}

/// Labelled rows, ready for the model.
struct Calibration<'a> {
    encoded: Vec<Encoded>,
    targets: Vec<&'a Target>,
}

impl<'a> Calibration<'a> {
    /// Evenly spaced rows of those that the model is judged on.
    fn of(source: &Source<'a>) -> Result<Self, CompressError> {
        let every = source.examples.len().div_ceil(CALIBRATION_ROWS).max(1);
        let examples: Vec<&Example> = source.examples.iter().step_by(every).collect();
        let inputs: Vec<Input> = examples.iter().map(|&example| example.into()).collect();
        let predictor = Predictor::new(source.model.clone(), &source.directory, PrecisionSetting::F32)?;
        Ok(Self {
            encoded: predictor.encode(&inputs)?,
            targets: examples.iter().map(|example| &example.target).collect(),
        })
    }

    /// The mean size of what each part does to the loss of a few rows.
    fn importance(
        &self,
        model: &Model,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<HalfImportance>, CompressError> {
        let mut model = model.clone();
        model.freeze_for_importance();
        let mut gradients = ParameterGradients::for_parameters(&model.parameters);
        let mut sums: Vec<HalfImportance> = Vec::new();
        let rows = self.encoded.len();
        let parts = self
            .encoded
            .chunks(ROWS_AT_A_TIME)
            .zip(self.targets.chunks(ROWS_AT_A_TIME));
        for (part, (encoded, targets)) in parts.enumerate() {
            gradients.clear();
            let batch = PackedBatch::new(encoded, 0, 0);
            let tape = Tape::recording();
            let logits = model.forward(&tape, &batch, None).map_err(ModelError::from)?;
            let loss = head::loss(&tape, &logits, targets, model.schema(), targets.len()).map_err(ModelError::from)?;
            tape.backward(&loss, &mut gradients).map_err(ModelError::from)?;
            let found = model.importance(&gradients);
            let add = |sums: &mut Vec<f64>, found: Vec<f64>| {
                sums.resize(found.len(), 0.0);
                sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found.abs());
            };
            sums.resize(
                found.len(),
                HalfImportance {
                    heads: Vec::new(),
                    columns: Vec::new(),
                },
            );
            for (sum, found) in sums.iter_mut().zip(found) {
                add(&mut sum.heads, found.heads);
                add(&mut sum.columns, found.columns);
            }
            observe(Event::Rows(((part + 1) * ROWS_AT_A_TIME).min(rows), rows));
        }
        Ok(sums)
    }

    /// The layers without which the loss is the highest, in order.
    fn best_layers(
        &self,
        source: &Source<'_>,
        count: usize,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<usize>, CompressError> {
        let (model, layers) = (&source.model, source.model.config().num_hidden_layers);
        if LayerChoice::Count(count).of(layers).is_none() {
            return Err(CompressError::Layers { found: count, layers });
        }
        // A first layer whose input is normed before is not like the others.
        let fixed = usize::from(!model.config().norms_first_input);
        let mut losses = Vec::with_capacity(layers);
        for layer in fixed..layers {
            if layers == 1 {
                break;
            }
            let others = (0..layers).filter(|other| *other != layer).collect();
            let without = model.keep_layers(&LayerChoice::Numbers(others))?;
            losses.push((self.loss(&without)?, layer));
            observe(Event::Rows(layer + 1, layers));
        }
        losses.sort_by(|one, other| other.0.total_cmp(&one.0));
        let best = losses.into_iter().map(|(_, layer)| layer);
        let mut kept: Vec<usize> = (0..fixed).chain(best).take(count).collect();
        if kept.is_empty() {
            kept.push(0);
        }
        kept.sort_unstable();
        Ok(kept)
    }

    /// The mean loss of a model.
    fn loss(&self, model: &Model) -> Result<f64, CompressError> {
        let every = self.encoded.len().div_ceil(LAYER_ROWS).max(1);
        let rows: Vec<usize> = (0..self.encoded.len()).step_by(every).collect();
        let mut sum = 0.0;
        let lengths: Vec<usize> = rows.iter().map(|&row| self.encoded[row].input_ids.len()).collect();
        for part in crate::tokens::micro_batches(&lengths, MAX_TOKENS) {
            let part = &rows[part];
            let batch = PackedBatch::new(part.iter().map(|&row| &self.encoded[row]), 0, 0);
            let targets: Vec<&Target> = part.iter().map(|&row| self.targets[row]).collect();
            let tape = Tape::inference();
            let logits = model.forward(&tape, &batch, None).map_err(ModelError::from)?;
            let loss = head::loss(&tape, &logits, &targets, model.schema(), rows.len()).map_err(ModelError::from)?;
            sum += loss.value().to_f64_vec()[0];
        }
        Ok(sum)
    }
}

/// Trains a pruned model by [`Source::recovery_settings`] for so many epochs, and writes it to `directory`.
///
/// # Errors
/// [`TrainError`] if it cannot be trained.
pub fn recover(
    source: &Source<'_>,
    mut model: Model,
    (settings, prepared): (&Settings, &Prepared),
    (epochs, directory): (u64, &Path),
    stop: &AtomicBool,
    observe: &mut dyn FnMut(train::Event<'_>),
) -> Result<RunReport, TrainError> {
    let mut settings = settings.clone();
    settings.train.epochs = epochs;
    settings.output.dir = directory.to_owned();
    model.precision = settings.train.precision.resolve();
    settings.train.precision = model.precision.into();
    let options = RunOptions {
        resume: None,
        stop,
        pause_after: None,
    };
    train::train_and_save(model, &source.tokenizer, &settings, prepared, &options, observe)
}

/// Compares a pruned model, in `directory` with its tokenizer and decision, with the original.
///
/// # Errors
/// [`CompressError`] if one cannot be measured.
pub fn judge_pruned(
    source: &Source<'_>,
    model: &Model,
    directory: &Path,
    settings: (PrecisionSetting, Gate),
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<(Comparison, Judgement), CompressError> {
    let of = Contender {
        directory,
        ..Contender::of(source, model)
    };
    let judge = Judge::new(source, settings, observe)?;
    let (comparison, judgement) = judge.judge_with("pruned", of, observe)?;
    observe(Event::Judged(&judgement, 0));
    Ok((comparison, judgement))
}

impl Source<'_> {
    /// The settings of the run that made the model, for what is left of it: trained as a whole, with the model as its teacher.
    ///
    /// # Errors
    /// [`CompressError::NotRecoverable`] if they are not known, or of an adapter.
    pub fn recovery_settings(&self) -> Result<Settings, CompressError> {
        let failed = |reason| CompressError::NotRecoverable {
            directory: self.directory.clone(),
            reason,
        };
        let description = Description::read(&self.directory)?;
        let mut settings = description
            .ok_or_else(|| failed("it does not say how it was trained"))?
            .settings;
        if settings.lora.is_some() {
            return Err(failed(
                "it was trained as an adapter, whose learning rate is not for a whole model",
            ));
        }
        if settings.data.train.is_none() {
            return Err(failed("it does not say what it was trained on"));
        }
        settings.model = ModelSettings {
            base: Some(self.directory.clone()),
            max_length: settings.model.max_length,
            truncation: settings.model.truncation,
            ..ModelSettings::default()
        };
        settings.train.max_steps = None;
        settings.train.save_total_limit = 0;
        settings.train.head_only = false;
        settings.distillation = Some(DistillationSettings {
            teacher: Some(self.directory.clone()),
            ..settings.distillation.unwrap_or_default()
        });
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_goes_and_one_head_of_each_layer_stays() {
        let half = |heads: &[f64], columns: &[f64]| HalfImportance {
            heads: heads.to_vec(),
            columns: columns.to_vec(),
        };
        let importance = [
            half(&[0.1, 0.9, 0.5], &[4.0, 1.0, 3.0, 2.0]),
            half(&[100.0, 2.0, 1.0], &[0.0, 9.0, 8.0, 1.0]),
        ];
        let options = |heads, feed_forward| PruneOptions {
            heads,
            feed_forward,
            layers: None,
        };
        let left = |heads, feed_forward| {
            let left = choose(&importance, &options(heads, feed_forward)).into_iter();
            left.map(|layer| (layer.heads, layer.columns)).collect::<Vec<_>>()
        };
        assert_eq!(left(0.5, 0.5), [(vec![1, 2], vec![0, 2]), (vec![0], vec![1, 2])]);
        assert_eq!(left(0.99, 0.99), [(vec![1], vec![0]), (vec![0], vec![1])]);
        assert_eq!(
            left(0.0, 0.0),
            [(vec![0, 1, 2], vec![0, 1, 2, 3]), (vec![0, 1, 2], vec![0, 1, 2, 3])]
        );
    }
}
