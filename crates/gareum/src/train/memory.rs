//! How much memory a run will take, worked out from sizes alone before anything is computed, and how it is kept within a
//! limit: [`Demand::fit`] chooses how many tokens go through the model at a time.
//!
//! [`Walk`] goes the way of a batch through `model/` and back and keeps a [`Ledger`] of what each operation of
//! `tensor::ops` takes, keeps for its gradient and frees. It must follow both: `tests/memory.rs` holds it to what the tensors
//! really take. Not here: what the machine has (`machine.rs`).

use serde::{Deserialize, Serialize};
use tensor::cpu::rows_per_task;
use tensor::memory::{SLACK_SHARE, stored_bytes};

use super::trainer::Plan;
use super::{EncodedExample, TrainError};
use crate::machine::readable_bytes;
use crate::model::{Model, ModelConfig};
use crate::settings::{CheckpointActivations, TrainSettings};
use crate::tokens::{micro_batches, shuffled_batches, token_budget_batches};

/// How a model is trained, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every parameter.
    Full,
}

impl Method {
    /// Its name in settings and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
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
        MemoryEstimate::full(
            self.model,
            passes,
            checkpoint_activations,
            !self.validation.is_empty(),
            other,
        )
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
    /// A gradient for each.
    pub gradients_bytes: u64,
    /// AdamW's two moments of each.
    pub optimizer_bytes: u64,
    /// The copy of the parameters that had the best evaluation; 0 without validation rows.
    pub best_weights_bytes: u64,
    /// What the largest pass through the model keeps and computes with beside the above, and what storage is larger than
    /// what is stored.
    pub activations_bytes: u64,
    /// Everything that is no tensor: program, tokenizer, data.
    pub other_bytes: u64,
    /// All of it.
    pub peak_bytes: u64,
}

impl MemoryEstimate {
    /// What full fine-tuning of `model` takes when its largest passes are `passes`, beside `other_bytes` that are taken in
    /// any case.
    pub fn full(
        model: &Model,
        passes: &Passes,
        checkpoint_activations: bool,
        has_validation: bool,
        other_bytes: u64,
    ) -> Self {
        let parameters = (model.parameters.element_count() * size_of::<f32>()) as u64;
        let walk = |size| Walk::new(model, size);
        let training = passes.training.as_ref().map(|size| match checkpoint_activations {
            true => walk(size).recomputing(),
            false => walk(size).training(),
        });
        let evaluation = passes.evaluation.as_ref().map(|size| walk(size).inference());
        let mut estimate = Self {
            method: Method::Full,
            weights_bytes: parameters,
            gradients_bytes: parameters,
            optimizer_bytes: 2 * parameters,
            best_weights_bytes: if has_validation { parameters } else { 0 },
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
    tokens: usize,
    sequences: usize,
    /// The longest sequences, longest first: as many as are worked on at a time.
    longest: Vec<usize>,
}

impl PassSize {
    /// The size of a batch with sequences of these lengths, worked on by the threads of the current pool.
    pub fn of(lengths: &[usize]) -> Self {
        let mut longest = lengths.to_vec();
        longest.sort_unstable_by(|a, b| b.cmp(a));
        longest.truncate(rayon::current_num_threads());
        Self {
            tokens: lengths.iter().sum(),
            sequences: lengths.len(),
            longest,
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
        largest.longest.resize(largest.longest.len().max(self.longest.len()), 0);
        for (largest, own) in largest.longest.iter_mut().zip(self.longest) {
            *largest = own.max(*largest);
        }
    }

    /// At least the size of any part of at most `tokens` tokens, or of one sequence.
    fn within(&self, tokens: usize) -> Self {
        let mut longest = self.longest.clone();
        // The second longest of a part is at most half of it, the third a third.
        for (index, length) in longest.iter_mut().enumerate().skip(1) {
            *length = (*length).min(tokens / (index + 1));
        }
        let single = longest.first().copied().unwrap_or(0);
        Self {
            tokens: self.tokens.min(tokens.max(single)),
            sequences: self.sequences.min(tokens.max(1)),
            longest,
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

/// Bytes of a tensor, rounded up as it is stored.
fn bytes(elements: usize) -> u64 {
    stored_bytes(elements * size_of::<f32>()) as u64
}

/// What is in use, and the most that has been.
#[derive(Default)]
struct Ledger {
    now: u64,
    peak: u64,
}

impl Ledger {
    fn take(&mut self, elements: usize) {
        self.now += bytes(elements);
        self.peak = self.peak.max(self.now);
    }

    fn give(&mut self, elements: usize) {
        self.now -= bytes(elements);
    }

    /// Takes several at a time and gives them back.
    fn borrow(&mut self, all: &[usize]) {
        all.iter().for_each(|&elements| self.take(elements));
        all.iter().for_each(|&elements| self.give(elements));
    }
}

/// A batch on its way through the model.
struct Walk<'a> {
    config: &'a ModelConfig,
    labels: usize,
    size: &'a PassSize,
    ledger: Ledger,
    /// Elements of the hidden states.
    hidden: usize,
    /// Elements inside of the feed-forward half.
    inner: usize,
    /// Elements of the embeddings.
    embedded: usize,
}

impl<'a> Walk<'a> {
    fn new(model: &'a Model, size: &'a PassSize) -> Self {
        let config = model.config();
        Self {
            config,
            labels: model.schema().num_labels(),
            size,
            ledger: Ledger::default(),
            hidden: size.tokens * config.hidden_size,
            inner: size.tokens * config.intermediate_size,
            embedded: size.tokens * config.embedding_size,
        }
    }

    fn has_projection(&self) -> bool {
        self.config.embedding_size != self.config.hidden_size
    }

    /// Whether the output of the attention half is dropped out.
    fn drops_attention_output(&self) -> bool {
        self.config.family.drops_attention_output() && self.drops_hidden()
    }

    fn drops_hidden(&self) -> bool {
        self.config.hidden_dropout > 0.0
    }

    /// The most bytes of a pass forward and back, beside the gradients of parameters.
    fn training(mut self) -> u64 {
        self.embeddings_forward();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_forward();
        }
        self.head();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_backward();
        }
        self.embeddings_backward();
        self.ledger.peak
    }

    /// As [`Self::training`], where layers keep their input only.
    fn recomputing(mut self) -> u64 {
        self.embeddings_forward();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_inference(true);
        }
        self.head();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_forward();
            self.ledger.give(self.hidden); // its output
            self.layer_backward();
        }
        self.embeddings_backward();
        self.ledger.peak
    }

    fn embeddings_forward(&mut self) {
        self.ledger.take(self.embedded); // the sum
        self.norm_forward(self.config.embedding_size);
        if self.drops_hidden() {
            self.ledger.take(self.embedded);
        }
        if self.has_projection() {
            self.ledger.take(self.hidden);
        }
    }

    /// Everything that is taken here is kept, but for the attention scores.
    fn layer_forward(&mut self) {
        (0..3).for_each(|_| self.ledger.take(self.hidden)); // query, key, value
        self.ledger.take(self.hidden); // context
        self.ledger.take(self.size.tokens * self.config.num_attention_heads);
        self.scores(1);
        self.ledger.take(self.hidden); // output of the attention half
        self.norm_forward(self.config.hidden_size);
        self.ledger.take(self.inner); // before the activation
        self.ledger.take(self.inner); // after it
        self.ledger.take(self.hidden);
        self.norm_forward(self.config.hidden_size);
    }

    /// Forward, and back to the gradient of the last hidden states. Few rows: all of it counts as kept.
    fn head(&mut self) {
        let pooled = self.size.sequences * self.config.hidden_size;
        // Pooled, dropped out, before and after the activation, dropped out; and two gradients on the way back.
        (0..7).for_each(|_| self.ledger.take(pooled));
        (0..2).for_each(|_| self.ledger.take(self.size.sequences * self.labels));
        self.linear_backward(self.size.sequences, self.labels);
        self.linear_backward(self.size.sequences, self.config.hidden_size);
        self.ledger.take(self.hidden); // the gradient
        self.ledger.give(self.hidden); // the last layer's output
    }

    /// From the gradient of the layer's output to that of its input, one `hidden` each.
    fn layer_backward(&mut self) {
        let (tokens, width, inner_width) = (self.size.tokens, self.config.hidden_size, self.config.intermediate_size);
        let copies = self.drops_hidden();
        self.norm_backward(width, copies);
        self.ledger.give(self.hidden); // what went into the norm
        self.linear_backward(tokens, width);
        self.ledger.take(self.inner);
        self.ledger.give(self.inner); // after the activation
        if copies {
            self.ledger.give(self.hidden);
        }
        self.linear_backward(tokens, inner_width);
        self.ledger.give(self.inner); // before the activation
        self.ledger.give(self.inner); // its gradient
        self.ledger.give(self.hidden); // output of the attention half

        let copies = self.drops_attention_output();
        self.norm_backward(width, copies);
        self.ledger.give(self.hidden);
        self.linear_backward(tokens, width);
        self.ledger.take(self.hidden);
        if copies {
            self.ledger.give(self.hidden);
        }
        (0..3).for_each(|_| self.ledger.take(self.hidden)); // gradients of query, key, value
        self.scores(2);
        (0..5).for_each(|_| self.ledger.give(self.hidden)); // query, key, value, context and its gradient
        self.ledger.give(tokens * self.config.num_attention_heads);
        for _ in 0..3 {
            self.linear_backward(tokens, width);
            self.ledger.give(self.hidden);
        }
        self.ledger.give(self.hidden); // the layer's input
    }

    fn embeddings_backward(&mut self) {
        let (tokens, width) = (self.size.tokens, self.config.embedding_size);
        if self.has_projection() {
            self.linear_backward(tokens, self.config.hidden_size);
            self.ledger.take(self.embedded);
            self.ledger.give(self.hidden);
            self.ledger.give(self.embedded); // what went into the projection
        }
        if self.drops_hidden() {
            self.ledger.give(self.embedded); // before dropout
        }
        self.norm_backward(width, false);
        self.ledger.give(self.embedded); // the sum
    }

    /// The norm's input, its output and two numbers a row.
    fn norm_forward(&mut self, width: usize) {
        self.ledger.take(self.size.tokens * width);
        self.ledger.take(self.size.tokens * width);
        self.ledger.take(self.size.tokens * 2);
    }

    /// Turns the gradient in place; `copies` if dropout makes that of one input another than that of the residual.
    fn norm_backward(&mut self, width: usize, copies: bool) {
        let partial = partial_sums(self.size.tokens, width);
        (0..2).for_each(|_| self.ledger.take(partial));
        if copies {
            self.ledger.take(self.size.tokens * width);
        }
        (0..2).for_each(|_| self.ledger.give(partial));
        self.ledger.give(self.size.tokens * width);
        self.ledger.give(self.size.tokens * 2);
    }

    /// The gradient of a product's bias; that of the weight takes nothing, and that of the input is the caller's.
    fn linear_backward(&mut self, rows: usize, outputs: usize) {
        self.ledger.borrow(&[partial_sums(rows, outputs)]);
    }

    /// The scores of the sequences that are worked on at a time, so many matrices each.
    fn scores(&mut self, matrices: usize) {
        let one = |&rows: &usize| rows.min(96) * rows;
        let all: Vec<usize> = self.size.longest.iter().map(one).collect();
        self.ledger.borrow(&all.repeat(matrices));
    }

    /// The most bytes of a pass that keeps nothing.
    fn inference(mut self) -> u64 {
        self.ledger.take(self.embedded);
        self.norm_inference(self.config.embedding_size);
        if self.has_projection() {
            self.ledger.take(self.hidden);
            self.ledger.give(self.embedded);
        }
        self.ledger.give(self.embedded);
        // Every layer takes the same.
        self.layer_inference(false);
        let pooled = self.size.sequences * self.config.hidden_size;
        self.ledger
            .borrow(&[pooled, pooled, pooled, self.size.sequences * self.labels]);
        self.ledger.peak
    }

    /// One layer that keeps nothing, at most its input.
    fn layer_inference(&mut self, keeps_input: bool) {
        (0..4).for_each(|_| self.ledger.take(self.hidden)); // query, key, value, context
        self.ledger.take(self.size.tokens * self.config.num_attention_heads);
        self.scores(1);
        self.ledger.give(self.size.tokens * self.config.num_attention_heads);
        self.ledger.take(self.hidden);
        self.norm_inference(self.config.hidden_size);
        (0..5).for_each(|_| self.ledger.give(self.hidden)); // those five
        if !keeps_input {
            self.ledger.give(self.hidden);
        }
        (0..2).for_each(|_| self.ledger.take(self.inner));
        self.ledger.give(self.inner);
        self.ledger.take(self.hidden);
        self.norm_inference(self.config.hidden_size);
        self.ledger.give(self.inner);
        (0..2).for_each(|_| self.ledger.give(self.hidden));
    }

    /// As [`Self::norm_forward`]; only the output stays.
    fn norm_inference(&mut self, width: usize) {
        self.norm_forward(width);
        self.ledger.give(self.size.tokens * width);
        self.ledger.give(self.size.tokens * 2);
    }
}

/// Elements of the sums over rows that tasks make before they are added up.
fn partial_sums(rows: usize, width: usize) -> usize {
    rows.div_ceil(rows_per_task(width)) * width
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
