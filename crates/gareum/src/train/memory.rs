//! How much memory a run will take, worked out from sizes alone before anything is computed, and how it is kept within a
//! limit: [`Demand::fit`] chooses how many tokens go through the model at a time.
//!
//! Not here: what a pass through the model takes (`walk/`), and what the machine has (`machine.rs`).

use serde::{Deserialize, Serialize};
use tensor::memory::SLACK_SHARE;

use super::trainer::Plan;
use super::walk::Walk;
use super::{EncodedExample, TrainError};
use crate::machine::readable_bytes;
use crate::model::Model;
use crate::settings::{CheckpointActivations, QuantizeBase, TrainSettings};
use crate::tokens::{micro_batches, shuffled_batches, token_budget_batches};

/// How a model is trained, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every parameter.
    Full,
    /// Products of low rank beside a frozen checkpoint.
    Lora,
    /// The same, and the checkpoint's products are of 4 bits.
    Qlora,
    /// Some parameters.
    Partial,
}

impl Method {
    /// Its name in settings and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
            Self::Qlora => "qlora",
            Self::Partial => "partial",
        }
    }

    /// That of a model.
    pub fn of(model: &Model) -> Self {
        let parameters = &model.parameters;
        match model.adapter() {
            Some(adapter) => match adapter.settings.quantize_base {
                QuantizeBase::None => Self::Lora,
                QuantizeBase::Nf4 => Self::Qlora,
            },
            None if parameters.trainable_element_count() == parameters.element_count() => Self::Full,
            None => Self::Partial,
        }
    }
}

/// What a run does to stay within its memory. None of it changes a loss or gradient, but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The most tokens that go through the model at a time; a longer text goes alone.
    pub micro_batch_tokens: usize,
    /// Whether layers are computed again on the way back instead of kept.
    #[serde(default)]
    pub checkpoint_activations: bool,
}

/// Bytes that are taken once training goes on and are no tensors: what threads and products work in.
const RESERVE: u64 = 16 << 20;

/// What the memory of a run depends on.
pub(super) struct Demand<'a> {
    pub model: &'a Model,
    pub settings: &'a TrainSettings,
    pub plan: &'a Plan,
    pub train: &'a [EncodedExample],
    /// What a teacher says of it, if there is one.
    pub lessons_bytes: u64,
    pub validation: &'a [EncodedExample],
    pub test: &'a [EncodedExample],
    /// What the process has beside tensors now.
    pub other_bytes: u64,
}

/// A plan, and what a run by it will take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub plan: MemoryPlan,
    pub estimate: MemoryEstimate,
    pub limit_bytes: Option<u64>,
}

impl Fit {
    /// Whether it is within the limit.
    pub fn holds(&self) -> bool {
        self.limit_bytes.is_none_or(|limit| self.estimate.peak_bytes <= limit)
    }

    /// The plan, unless it exceeds the limit.
    pub fn plan(self) -> Result<MemoryPlan, TrainError> {
        match self.limit_bytes.filter(|_| !self.holds()) {
            None => Ok(self.plan),
            Some(limit_bytes) => Err(TrainError::Memory(Box::new(MemoryShortage {
                limit_bytes,
                plan: self.plan,
                estimate: self.estimate,
            }))),
        }
    }
}

impl Demand<'_> {
    /// The plan with the most tokens at a time that stays within the limit (or, where none does, the leanest one that the
    /// settings allow). That of a checkpoint is preferred, so that the run goes on to the bit.
    pub fn fit(&self, limit_bytes: Option<u64>, saved: Option<MemoryPlan>) -> Fit {
        let most = self.settings.micro_batch_tokens;
        let passes = self.passes(most);
        let fit = |passes: &Passes, plan: MemoryPlan| Fit {
            plan,
            estimate: self.estimate(passes, plan.checkpoint_activations),
            limit_bytes,
        };
        let ways: &[bool] = match self.settings.checkpoint_activations {
            CheckpointActivations::Auto => &[false, true],
            CheckpointActivations::Always => &[true],
            CheckpointActivations::Never => &[false],
        };
        let plans = |micro_batch_tokens: usize| {
            ways.iter().map(move |&checkpoint_activations| MemoryPlan {
                micro_batch_tokens,
                checkpoint_activations,
            })
        };
        if let Some(saved) = saved.filter(|saved| saved.micro_batch_tokens <= most) {
            let passes = self.passes(saved.micro_batch_tokens);
            let mut fits = plans(saved.micro_batch_tokens).map(|plan| fit(&passes, plan));
            if let Some(found) = fits.find(Fit::holds) {
                return found;
            }
        }
        for plan in plans(most) {
            let whole = fit(&passes, plan);
            if whole.holds() {
                return whole;
            }
            let with = |micro_batch_tokens: usize| MemoryPlan {
                micro_batch_tokens,
                ..plan
            };
            let holds = |tokens: usize| fit(&passes.within(tokens), with(tokens)).holds();
            if let Some(tokens) = largest_that(most, holds) {
                return fit(&self.passes(tokens), with(tokens));
            }
        }
        let leanest = MemoryPlan {
            micro_batch_tokens: 1,
            checkpoint_activations: self.settings.checkpoint_activations != CheckpointActivations::Never,
        };
        fit(&self.passes(1), leanest)
    }

    /// The largest passes, with so many tokens at a time.
    fn passes(&self, micro_batch_tokens: usize) -> Passes {
        let evaluated = [self.validation, self.test];
        Passes::of_run(self.settings, self.plan, micro_batch_tokens, self.train, &evaluated)
    }

    fn estimate(&self, passes: &Passes, checkpoint_activations: bool) -> MemoryEstimate {
        // Logits, as numbers and as a tensor, scores and predicted labels of an evaluation.
        let evaluated = self.validation.len().max(self.test.len()) as u64;
        let predictions = evaluated * (self.model.schema().num_labels() as u64 * 20 + 128);
        let other = self.other_bytes + predictions + RESERVE;
        let mut estimate = MemoryEstimate::of_run(
            self.model,
            passes,
            checkpoint_activations,
            !self.validation.is_empty(),
            other,
        );
        estimate.activations_bytes += self.lessons_bytes;
        estimate.peak_bytes += self.lessons_bytes;
        if self.settings.head_only {
            // What the encoder makes of each text is kept.
            let features = (self.train.len() + self.validation.len()) * self.model.config().hidden_size;
            estimate.activations_bytes += (features * size_of::<f32>()) as u64;
            estimate.peak_bytes += (features * size_of::<f32>()) as u64;
        }
        estimate
    }
}

/// The largest number from 1 on below `most` that `fits`, but for one part in 64.
fn largest_that(most: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    if most <= 1 || !fits(1) {
        return None;
    }
    let (mut good, mut bad) = (1, most);
    while bad - good > good / 64 + 1 {
        let middle = (good + bad) / 2;
        if fits(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good)
}

/// A run that does not fit into its memory, whatever is done.
#[derive(Debug, Clone, Copy)]
pub struct MemoryShortage {
    /// What it may take.
    pub limit_bytes: u64,
    /// What was done to take little.
    pub plan: MemoryPlan,
    /// What it would take all the same.
    pub estimate: MemoryEstimate,
}

impl std::fmt::Display for MemoryShortage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let estimate = &self.estimate;
        let (peak, limit) = (readable_bytes(estimate.peak_bytes), readable_bytes(self.limit_bytes));
        match self.plan.checkpoint_activations {
            true => write!(
                formatter,
                "the run takes {peak} even with one text at a time and layers computed again, the limit is {limit}"
            ),
            false => write!(
                formatter,
                "the run takes {peak} even with one text at a time, the limit is {limit}"
            ),
        }?;
        write!(
            formatter,
            "\n  weights {}, gradients {}, optimizer {}, best weights {}, activations {}, other {}",
            readable_bytes(estimate.weights_bytes),
            readable_bytes(estimate.gradients_bytes),
            readable_bytes(estimate.optimizer_bytes),
            readable_bytes(estimate.best_weights_bytes),
            readable_bytes(estimate.activations_bytes),
            readable_bytes(estimate.other_bytes),
        )?;
        formatter.write_str(match self.plan.checkpoint_activations {
            true => "\nhint: raise --memory (train.memory) if there is more, or take a smaller model or model.max_length",
            false => {
                "\nhint: --set train.checkpoint_activations=auto takes less; or raise --memory (train.memory) if there is more"
            }
        })
    }
}

/// Bytes at the moment when a run takes the most, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// How the model is trained.
    pub method: Method,
    /// The parameters.
    pub weights_bytes: u64,
    /// A gradient for each that is trained.
    pub gradients_bytes: u64,
    /// AdamW's two moments of each of those.
    pub optimizer_bytes: u64,
    /// The copy of those that had the best evaluation; 0 without validation rows.
    pub best_weights_bytes: u64,
    /// What the largest pass through the model keeps and computes with beside the above, what storage is larger than what is stored,
    /// and what a teacher said.
    pub activations_bytes: u64,
    /// Everything that is no tensor: program, tokenizer, data.
    pub other_bytes: u64,
    /// All of it.
    pub peak_bytes: u64,
}

impl MemoryEstimate {
    /// What training `model` takes when its largest passes are `passes`, beside `other_bytes` that are taken in
    /// any case.
    pub fn of_run(
        model: &Model,
        passes: &Passes,
        checkpoint_activations: bool,
        has_validation: bool,
        other_bytes: u64,
    ) -> Self {
        let bytes = |elements: usize| (elements * size_of::<f32>()) as u64;
        let trained = bytes(model.parameters.trainable_element_count());
        let walk = |size| Walk::new(model, size);
        let training = passes.training.as_ref().map(|size| match checkpoint_activations {
            true => walk(size).recomputing(),
            false => walk(size).training(),
        });
        let evaluation = passes.evaluation.as_ref().map(|size| walk(size).inference());
        let mut estimate = Self {
            method: Method::of(model),
            weights_bytes: model.weights_bytes(),
            gradients_bytes: trained,
            optimizer_bytes: 2 * trained,
            best_weights_bytes: if has_validation { trained } else { 0 },
            activations_bytes: training.max(evaluation).unwrap_or(0),
            other_bytes,
            peak_bytes: 0,
        };
        // Storage is taken again that is larger than it need be.
        estimate.activations_bytes += estimate.activations_bytes / SLACK_SHARE as u64;
        estimate.peak_bytes = estimate.tensor_bytes() + other_bytes;
        estimate
    }

    /// The part that is tensors.
    pub fn tensor_bytes(&self) -> u64 {
        self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.best_weights_bytes
            + self.activations_bytes
    }
}

/// The size of one pass through the model, or the largest sizes of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassSize {
    pub(super) tokens: usize,
    pub(super) sequences: usize,
    /// Tokens of the longest sequence.
    pub(super) longest: usize,
}

impl PassSize {
    /// The size of a batch with sequences of these lengths.
    pub fn of(lengths: &[usize]) -> Self {
        Self {
            tokens: lengths.iter().sum(),
            sequences: lengths.len(),
            longest: lengths.iter().copied().max().unwrap_or(0),
        }
    }

    /// Grows `largest` so that it holds this size too.
    fn merge_into(self, largest: &mut Option<Self>) {
        let Some(largest) = largest else {
            *largest = Some(self);
            return;
        };
        largest.tokens = largest.tokens.max(self.tokens);
        largest.sequences = largest.sequences.max(self.sequences);
        largest.longest = largest.longest.max(self.longest);
    }

    /// At least the size of any part of at most `tokens` tokens, or of one sequence.
    fn within(&self, tokens: usize) -> Self {
        Self {
            tokens: self.tokens.min(tokens.max(self.longest)),
            sequences: self.sequences.min(tokens.max(1)),
            longest: self.longest,
        }
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// The largest passes of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passes {
    /// Of the parts of batches that are trained on.
    pub training: Option<PassSize>,
    /// Of evaluations, which keep nothing for gradients.
    pub evaluation: Option<PassSize>,
}

impl Passes {
    /// At least the sizes with `tokens` tokens at a time.
    fn within(&self, tokens: usize) -> Self {
        let within = |size: &Option<PassSize>| size.as_ref().map(|size| size.within(tokens));
        Self {
            training: within(&self.training),
            evaluation: within(&self.evaluation),
        }
    }

    /// Goes through all batches of a run as the trainer will cut them up with `micro_batch_tokens`.
    pub fn of_run(
        settings: &TrainSettings,
        plan: &Plan,
        micro_batch_tokens: usize,
        train: &[EncodedExample],
        evaluated: &[&[EncodedExample]],
    ) -> Self {
        let length = |example: &EncodedExample| example.encoded.input_ids.len();
        let mut passes = Self::default();
        let mut epochs =
            (0..).flat_map(|epoch| shuffled_batches(train.len(), settings.batch_size, settings.seed, epoch));
        let steps = if train.is_empty() { 0 } else { plan.total_steps };
        for batch in (0..steps).map_while(|_| epochs.next()) {
            let lengths: Vec<usize> = batch.iter().map(|&index| length(&train[index])).collect();
            for part in micro_batches(&lengths, micro_batch_tokens) {
                PassSize::of(&lengths[part]).merge_into(&mut passes.training);
            }
        }
        for examples in evaluated {
            let lengths: Vec<usize> = examples.iter().map(length).collect();
            for batch in token_budget_batches(&lengths, micro_batch_tokens) {
                let lengths: Vec<usize> = batch.iter().map(|&index| lengths[index]).collect();
                PassSize::of(&lengths).merge_into(&mut passes.evaluation);
            }
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found() {
        for limit in [1, 2, 17, 100, 5000, 8191] {
            let found = largest_that(8192, |tokens| tokens <= limit).unwrap();
            assert!(
                found <= limit && found as f64 >= 0.96 * limit as f64 - 1.0,
                "{found} of {limit}"
            );
        }
        assert_eq!(largest_that(8192, |_| false), None);
        assert_eq!(largest_that(1, |_| true), None);
    }
}
