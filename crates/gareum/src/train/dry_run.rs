//! What a run would cost: memory from an estimate (`memory.rs`), time from a few steps that are really taken. Nothing is
//! written, and the trained model is thrown away.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::memory::{MemoryEstimate, Method};
use super::run::{EncodedParts, encode_parts, resolve_checkpoint, start};
use super::trainer::Plan;
use super::{EncodedExample, Lessons, MemoryPlan, Prepared, TrainError, Trainer};
use crate::decision::Decision;
use crate::machine;
use crate::model::{LoadNotes, Model};
use crate::predict::predict_encoded;
use crate::settings::{LoraSettings, QuantizeBase, Settings};
use crate::tokens::{micro_batches, shuffled_batches, token_budget_batches};

/// Steps that are timed.
const TIMED_STEPS: usize = 3;

/// No further step is timed after this.
const ENOUGH: Duration = Duration::from_secs(30);

/// How to estimate, beside the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct DryRunOptions<'a> {
    /// The run would take up this checkpoint, or the latest in the output directory if it is that directory.
    pub resume: Option<&'a Path>,
}

/// What a run would cost.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    /// The rows of each part.
    pub rows: PartSizes,
    /// Those of them whose text is cut at `max_length`.
    pub cut_rows: PartSizes,
    /// `model.max_length`.
    pub max_length: usize,
    /// Tokens of the training texts as they are, before they are cut.
    pub text_tokens: Quantiles,
    /// The steps.
    pub steps: StepCounts,
    /// Memory, one entry for each way of training: first that of the settings, then the others: the whole model, an adapter, an
    /// adapter beside weights of 4 bits.
    pub memory: Vec<MemoryEstimate>,
    /// Bytes that the process may take: `train.memory`, or what is free. `None` if unknown.
    pub limit_bytes: Option<u64>,
    /// Bytes that are free now. `None` if unknown.
    pub available_bytes: Option<u64>,
    /// How the run stays within the limit; the leanest way if none does.
    pub plan: MemoryPlan,
    /// Whether the estimated peak is within the limit: otherwise the run would refuse to start.
    pub fits: bool,
    /// What the steps took; `None` if memory does not suffice for them.
    pub measured: Option<Measured>,
}

/// A number for each part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartSizes {
    /// To learn from.
    pub train: usize,
    /// To choose the best weights by.
    pub validation: usize,
    /// To measure on.
    pub test: usize,
}

/// Where a list of numbers lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Half of them are at most this.
    pub median: usize,
    /// 95 % of them are at most this.
    pub p95: usize,
    /// The largest.
    pub max: usize,
}

impl Quantiles {
    /// By the nearest rank; all 0 for an empty list.
    fn of(mut values: Vec<usize>) -> Self {
        values.sort_unstable();
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0)
        };
        Self {
            median: rank(50),
            p95: rank(95),
            max: rank(100),
        }
    }
}

/// The steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StepCounts {
    /// Of one pass over the training rows.
    pub per_epoch: u64,
    /// Of the run, unless it stops early.
    pub total: u64,
    /// Those that were done before, of a resumed run.
    pub done: u64,
    /// Evaluations still to come.
    pub evaluations: u64,
    /// Texts of one step.
    pub batch_size: usize,
    /// Tokens of an average step, as far as they are not cut off.
    pub mean_batch_tokens: usize,
    /// Tokens of the largest batch.
    pub largest_batch_tokens: usize,
    /// Parts that it is computed in.
    pub micro_batches: usize,
    /// Tokens at a time, at most.
    pub micro_batch_tokens: usize,
}

/// What a few steps took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Steps that were timed, after one with the largest batch.
    pub steps: usize,
    /// Time of a step, the median.
    pub step_ms: f64,
    /// Texts a second.
    pub examples_per_second: f64,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Texts a second in evaluations; `None` if there is nothing to evaluate on.
    pub evaluation_examples_per_second: Option<f64>,
    /// All steps that are left.
    pub training_seconds: f64,
    /// All evaluations, that of the test part included.
    pub evaluation_seconds: f64,
    /// Both; reading data and writing checkpoints come on top.
    pub total_seconds: f64,
    /// The most that tensors took, to compare with the estimate without `other_bytes`.
    pub peak_tensor_bytes: u64,
    /// The most that the process had in memory, to compare with `peak_bytes` of the estimate. `None` if unknown.
    pub peak_resident_bytes: Option<u64>,
}

/// Reads the base model of the settings, as [`super::run`] does, and says what training it on `prepared` would cost.
///
/// # Errors
/// Those of [`super::run`], but for writing.
pub fn dry_run(settings: &Settings, prepared: &Prepared, options: &DryRunOptions<'_>) -> Result<DryRun, TrainError> {
    let (mut model, tokenizer, notes) = start(settings, prepared)?;
    let EncodedParts {
        train,
        validation,
        test,
    } = encode_parts(&model, &tokenizer, settings, prepared)?;
    let lessons = match options.resume {
        // A checkpoint knows what the teacher said.
        Some(_) => Lessons::of(settings, prepared, &mut |_| ())?,
        None => Lessons::made_up(settings, prepared, &model)?,
    };
    let resume = options.resume.map(resolve_checkpoint).transpose()?;
    let mut trainer = Trainer {
        model: &mut model,
        tokenizer: &tokenizer,
        settings: &settings.train,
        max_length: settings.model.max_length,
        train: &train,
        lessons: lessons.as_ref(),
        validation: &validation,
        test: &test,
        checkpoints: None,
        resume: resume.as_deref(),
        pause_after: None,
    };
    let mut plan = trainer.plan()?;
    let mut progress = trainer.start(plan)?;
    plan.done_steps = progress.done_steps();

    let resident = machine::resident_memory_bytes();
    let fit = trainer.fit(&mut progress, &plan);
    let (fits, memory) = (fit.holds(), fit.estimate);
    let max_tokens = fit.plan.micro_batch_tokens;
    let others = other_ways(trainer.model, settings, &notes)?;
    // Each is gone before a step is taken.
    let estimate = |model: Model| trainer.fit_of(&model, &progress, &plan).estimate;
    let others: Vec<_> = others.into_iter().map(estimate).collect();
    let available_bytes = machine::available_memory_bytes();
    let is_free = available_bytes
        .zip(resident)
        .is_none_or(|(available, resident)| memory.peak_bytes <= available + resident);

    let batches = Batches::of_epoch(&trainer, &plan, max_tokens);
    let evaluated = [&validation, &test].map(|part| part.len());
    let steps = StepCounts {
        per_epoch: plan.steps_per_epoch,
        total: plan.total_steps,
        done: plan.done_steps,
        evaluations: if validation.is_empty() { 0 } else { evaluations(&plan) },
        batch_size: settings.train.batch_size,
        mean_batch_tokens: batches.mean_tokens,
        largest_batch_tokens: batches.largest_tokens,
        micro_batches: batches.largest_parts,
        micro_batch_tokens: max_tokens,
    };
    let measured = if fits && is_free {
        tensor::memory::reset_peak();
        // What an evaluation would keep.
        let best = (!validation.is_empty()).then(|| trainer.model.parameters.clone());
        let mut step = |batch: &[usize]| trainer.step(&mut progress, &plan, batch);
        step(&batches.largest)?;
        let start = Instant::now();
        let mut reports = Vec::new();
        for batch in &batches.typical {
            if reports.is_empty() || start.elapsed() < ENOUGH {
                reports.push(step(batch)?);
            }
        }
        let part = if validation.is_empty() { &test } else { &validation };
        let rate = evaluation_rate(trainer.model, part, max_tokens)?;
        drop(best);
        let seconds: Vec<f64> = reports.iter().map(|report| report.duration.as_secs_f64()).collect();
        let total: f64 = seconds.iter().sum::<f64>().max(1e-9);
        let sum = |of: fn(&super::StepReport) -> usize| reports.iter().map(of).sum::<usize>() as f64;
        let step_seconds = median(seconds);
        let training_seconds = step_seconds * (plan.total_steps - plan.done_steps) as f64;
        let evaluated = (evaluated[0] as u64 * steps.evaluations + evaluated[1] as u64) as f64;
        let evaluation_seconds = rate.map_or(0.0, |rate| evaluated / rate);
        Some(Measured {
            steps: reports.len(),
            step_ms: step_seconds * 1e3,
            examples_per_second: sum(|report| report.examples) / total,
            tokens_per_second: sum(|report| report.tokens) / total,
            evaluation_examples_per_second: rate,
            training_seconds,
            evaluation_seconds,
            total_seconds: training_seconds + evaluation_seconds,
            peak_tensor_bytes: tensor::memory::peak_bytes() as u64,
            peak_resident_bytes: machine::peak_memory_bytes(),
        })
    } else {
        None
    };

    let is_cut = |example: &&EncodedExample| example.encoded.full_length > settings.model.max_length;
    let cut = |part: &[EncodedExample]| part.iter().filter(is_cut).count();
    Ok(DryRun {
        rows: PartSizes {
            train: train.len(),
            validation: validation.len(),
            test: test.len(),
        },
        cut_rows: PartSizes {
            train: cut(&train),
            validation: cut(&validation),
            test: cut(&test),
        },
        max_length: settings.model.max_length,
        text_tokens: Quantiles::of(train.iter().map(|example| example.encoded.full_length).collect()),
        steps,
        memory: std::iter::once(memory).chain(others).collect(),
        limit_bytes: fit.limit_bytes,
        available_bytes,
        plan: fit.plan,
        fits,
        measured,
    })
}

/// The memory that a run would take if it were not limited, without a step being taken.
///
/// # Errors
/// Those of [`super::run`], but for writing.
pub fn memory_needed(settings: &Settings, prepared: &Prepared) -> Result<MemoryEstimate, TrainError> {
    let (mut model, tokenizer, _) = start(settings, prepared)?;
    let parts = encode_parts(&model, &tokenizer, settings, prepared)?;
    let lessons = Lessons::made_up(settings, prepared, &model)?;
    let mut trainer = Trainer {
        model: &mut model,
        tokenizer: &tokenizer,
        settings: &settings.train,
        max_length: settings.model.max_length,
        train: &parts.train,
        lessons: lessons.as_ref(),
        validation: &parts.validation,
        test: &parts.test,
        checkpoints: None,
        resume: None,
        pause_after: None,
    };
    let plan = trainer.plan()?;
    let mut progress = trainer.start(plan)?;
    Ok(trainer.fit(&mut progress, &plan).estimate)
}

/// The model as it would be trained in the other ways: as a whole, with an adapter, with one beside weights of 4 bits. There is none
/// without a checkpoint. Weights are those of the model and may be wider than they would be.
fn other_ways(model: &Model, settings: &Settings, notes: &LoadNotes) -> Result<Vec<Model>, TrainError> {
    let Some(base) = settings.model.pinned_base() else {
        return Ok(Vec::new());
    };
    let lora = settings.lora.clone().unwrap_or_default();
    let with = |quantize_base| {
        let mut other = model.clone().without_adapter();
        let lora = LoraSettings {
            quantize_base,
            ..lora.clone()
        };
        other.add_lora(&lora, &notes.fresh, &base, settings.train.seed)?;
        Ok::<_, TrainError>(other)
    };
    let ways = [
        model.clone().without_adapter(),
        with(QuantizeBase::None)?,
        with(QuantizeBase::Nf4)?,
    ];
    let own = Method::of(model);
    Ok(ways.into_iter().filter(|way| Method::of(way) != own).collect())
}

/// Evaluations of the steps that are left.
fn evaluations(plan: &Plan) -> u64 {
    let last = u64::from(!plan.total_steps.is_multiple_of(plan.eval_steps) && plan.total_steps > plan.done_steps);
    plan.total_steps / plan.eval_steps - plan.done_steps / plan.eval_steps + last
}

/// Batches of the epoch that the run is in.
struct Batches {
    largest: Vec<usize>,
    largest_tokens: usize,
    largest_parts: usize,
    mean_tokens: usize,
    /// Those nearest to the mean.
    typical: Vec<Vec<usize>>,
}

impl Batches {
    fn of_epoch(trainer: &Trainer<'_>, plan: &Plan, max_tokens: usize) -> Self {
        let settings = trainer.settings;
        let length = |&index: &usize| trainer.train[index].encoded.input_ids.len();
        let tokens = |batch: &[usize]| batch.iter().map(length).sum::<usize>();
        let epoch = plan.done_steps / plan.steps_per_epoch;
        let mut batches = shuffled_batches(trainer.train.len(), settings.batch_size, settings.seed, epoch);
        let mean_tokens = batches.iter().map(|batch| tokens(batch)).sum::<usize>() / batches.len().max(1);
        batches.sort_by_key(|batch| tokens(batch).abs_diff(mean_tokens));
        let largest = batches
            .iter()
            .max_by_key(|batch| tokens(batch))
            .cloned()
            .unwrap_or_default();
        let lengths: Vec<usize> = largest.iter().map(length).collect();
        batches.truncate(TIMED_STEPS);
        Self {
            largest_tokens: tokens(&largest),
            largest_parts: micro_batches(&lengths, max_tokens).len(),
            largest,
            mean_tokens,
            typical: batches,
        }
    }
}

/// Texts a second in an evaluation, from one batch of it; `None` without examples.
fn evaluation_rate(model: &Model, examples: &[EncodedExample], max_tokens: usize) -> Result<Option<f64>, TrainError> {
    let lengths: Vec<usize> = examples.iter().map(|example| example.encoded.input_ids.len()).collect();
    let mean = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
    let batches = token_budget_batches(&lengths, max_tokens);
    let Some(batch) = batches.get(batches.len().saturating_sub(1) / 2) else {
        return Ok(None);
    };
    let encoded: Vec<_> = batch.iter().map(|&index| &examples[index].encoded).collect();
    let tokens: usize = batch.iter().map(|&index| lengths[index]).sum();
    let start = Instant::now();
    predict_encoded(model, &Decision::default(), &encoded, max_tokens, &mut |_| {})?;
    let tokens_per_second = tokens as f64 / start.elapsed().as_secs_f64().max(1e-9);
    Ok(Some(tokens_per_second / mean.max(1.0)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        let quantiles = |values: &[usize]| {
            let Quantiles { median, p95, max } = Quantiles::of(values.to_vec());
            [median, p95, max]
        };
        assert_eq!(quantiles(&[]), [0, 0, 0]);
        assert_eq!(quantiles(&[7]), [7, 7, 7]);
        assert_eq!(quantiles(&(1..=100).collect::<Vec<_>>()), [50, 95, 100]);
        assert_eq!(quantiles(&[3, 1, 2]), [2, 3, 3]);
    }

    #[test]
    fn evaluations_that_are_left() {
        let left = |total_steps, eval_steps, done_steps| {
            evaluations(&Plan {
                steps_per_epoch: 10,
                total_steps,
                warmup_steps: 0,
                eval_steps,
                done_steps,
            })
        };
        assert_eq!(left(30, 10, 0), 3);
        assert_eq!(left(35, 10, 0), 4);
        assert_eq!(left(35, 10, 20), 2);
        assert_eq!(left(30, 10, 30), 0);
        assert_eq!(left(5, 10, 0), 1);
        assert_eq!(left(35, 10, 35), 0);
    }
}
