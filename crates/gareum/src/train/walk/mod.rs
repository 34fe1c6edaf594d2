//! What a pass through the model takes: [`Walk`] goes the way of a batch through `model/` and back and keeps a [`Ledger`] of
//! what each operation of `tensor::ops` takes, keeps for its gradient and frees. It must follow both: `tests/memory.rs` holds
//! it to what the tensors really take. The order of the passes is here; what a layer takes is in `forward.rs` and `backward.rs`, what a
//! product takes in `products.rs`.
//!
//! Kept by a half of a layer are the inputs of its products and what lies between them; by a norm behind it the normed values,
//! by one before it what it was given.

mod backward;
mod forward;
mod products;

use products::Product;
use tensor::DType;
use tensor::cpu::rows_per_task;
use tensor::memory::stored_bytes;

use crate::model::{Model, ModelConfig, TrainedStack};
use crate::train::memory::PassSize;

/// What is in use, and the most that has been.
#[derive(Default)]
struct Ledger {
    now: usize,
    peak: usize,
}

impl Ledger {
    fn take(&mut self, bytes: usize) {
        self.now += bytes;
        self.peak = self.peak.max(self.now);
    }

    fn give(&mut self, bytes: usize) {
        self.now -= bytes;
    }

    /// Takes several at a time and gives them back.
    fn borrow<const N: usize>(&mut self, all: [usize; N]) {
        let sum = all.iter().sum();
        self.take(sum);
        self.give(sum);
    }
}

/// A batch on its way through the model. Sizes are in bytes.
pub(in crate::train) struct Walk<'a> {
    /// Of the encoder, or of the decoder.
    config: ModelConfig,
    labels: usize,
    size: &'a PassSize,
    /// What hidden states are kept in.
    dtype: DType,
    ledger: Ledger,
    /// The hidden states.
    hidden: usize,
    /// Queries, keys and values side by side.
    qkv: usize,
    /// What attention makes of them.
    context: usize,
    /// What is inside of the feed-forward half, before its output product.
    inner: usize,
    /// What its first product makes, twice that if it is gated.
    intermediate: usize,
    /// The embeddings.
    embedded: usize,
    /// Logarithms of the softmax's denominators.
    log_sums: usize,
    /// What a norm before the products keeps of each row.
    statistics: usize,
    /// What norms of heads keep of each head.
    head_statistics: usize,
    /// Rows of relative positions, and terms of scores with them.
    positions: [usize; 2],
    /// What is trained of it, and of the decoder.
    trained: TrainedStack,
    of_decoder: TrainedStack,
    /// Whether anything is kept for gradients.
    records: bool,
}

/// Bytes of numbers of type `dtype`, as they are stored.
fn stored(elements: usize, dtype: DType) -> usize {
    stored_bytes(elements * dtype.size())
}

impl<'a> Walk<'a> {
    pub fn new(model: &'a Model, size: &'a PassSize) -> Self {
        let trained = model.trained_parts();
        let mut walk = Self::of_stack(model.config().clone(), size, model.precision.dtype(), trained.encoder);
        walk.of_decoder = trained.decoder;
        walk.labels = model.schema().num_labels();
        for rotary in model.config().rotaries() {
            walk.ledger.take(stored(size.longest * rotary.columns(), DType::F32));
        }
        walk
    }

    /// Through an encoder, or a decoder.
    fn of_stack(config: ModelConfig, size: &'a PassSize, dtype: DType, trained: TrainedStack) -> Self {
        let hidden_states = |columns: usize| stored(size.tokens * columns, dtype);
        let numbers = |columns: usize| stored(size.tokens * columns, DType::F32);
        let heads = config.heads();
        Self {
            labels: 0,
            trained,
            of_decoder: trained,
            records: true,
            size,
            dtype,
            ledger: Ledger::default(),
            hidden: hidden_states(config.hidden_size),
            qkv: hidden_states(config.query_size() + 2 * config.key_size()),
            context: hidden_states(config.query_size()),
            inner: hidden_states(config.intermediate_size),
            intermediate: hidden_states(config.intermediate_size * if config.is_gated { 2 } else { 1 }),
            embedded: numbers(config.embedding_size),
            log_sums: numbers(heads.queries),
            statistics: numbers(2),
            head_statistics: numbers(heads.queries + heads.keys),
            positions: config.relative.map_or([0, 0], |relative| {
                [relative.rows_for(size.longest).len(), relative.terms()]
            }),
            config,
        }
    }

    /// Goes through the decoder, if there is one, with the same ledger.
    fn through_decoder(&mut self, go: impl FnOnce(&mut Self)) {
        if let Some(config) = self.config.of_decoder() {
            let mut decoder = Walk::of_stack(config, self.size, self.dtype, self.of_decoder);
            decoder.ledger = std::mem::take(&mut self.ledger);
            go(&mut decoder);
            self.ledger = decoder.ledger;
        }
    }

    fn has_projection(&self) -> bool {
        self.config.embedding_size != self.config.hidden_size
    }

    /// The embeddings in the type of hidden states, if that is another.
    fn converted(&self) -> usize {
        match self.dtype {
            DType::F32 => 0,
            dtype => stored(self.size.tokens * self.config.embedding_size, dtype),
        }
    }

    /// Whether the output of the attention half is dropped out.
    fn drops_attention_output(&self) -> bool {
        self.config.attention_output_dropout > 0.0
    }

    /// Whether that of the feed-forward half is.
    fn drops_output(&self) -> bool {
        self.config.output_dropout > 0.0
    }

    /// Whether the layer norms what its attention half gets.
    fn norms_input(&self, layer: usize) -> bool {
        layer > 0 || self.config.norms_first_input
    }

    /// The most bytes of a pass forward and back, beside the gradients of parameters.
    pub fn training(mut self) -> u64 {
        self.stack_forward();
        self.through_decoder(Self::stack_forward);
        self.head();
        self.through_decoder(Self::stack_backward);
        self.stack_backward();
        self.ledger.peak as u64
    }

    fn stack_forward(&mut self) {
        self.embeddings_kept();
        self.positions_forward();
        self.frozen_layers();
        for layer in self.trained.first_layer..self.config.num_hidden_layers {
            self.layer_forward(layer);
            self.convolution_forward(layer, true);
        }
        self.norm_output();
    }

    fn stack_backward(&mut self) {
        self.output_backward();
        for layer in (self.trained.first_layer..self.config.num_hidden_layers).rev() {
            self.convolution_backward(layer);
            self.layer_backward(layer);
        }
        self.inputs_backward();
    }

    /// As [`Self::training`], where layers keep their input only.
    pub fn recomputing(mut self) -> u64 {
        self.stack_recomputed();
        self.through_decoder(Self::stack_recomputed);
        self.head();
        self.through_decoder(Self::stack_computed_again);
        self.stack_computed_again();
        self.ledger.peak as u64
    }

    fn stack_recomputed(&mut self) {
        self.embeddings_kept();
        self.positions_forward();
        self.frozen_layers();
        for layer in self.trained.first_layer..self.config.num_hidden_layers {
            self.layer_inference(true);
            self.convolution_forward(layer, true);
        }
        self.norm_output();
    }

    fn stack_computed_again(&mut self) {
        self.output_backward();
        for layer in (self.trained.first_layer..self.config.num_hidden_layers).rev() {
            self.convolution_backward(layer);
            self.layer_forward(layer);
            self.ledger.give(self.hidden); // its output
            self.layer_backward(layer);
        }
        self.inputs_backward();
    }

    /// The most bytes of a pass that keeps nothing.
    pub fn inference(mut self) -> u64 {
        self.stack_inference();
        self.through_decoder(Self::stack_inference);
        let pooled = stored(self.size.sequences * self.config.hidden_size, DType::F32);
        let logits = stored(self.size.sequences * self.labels, DType::F32);
        self.ledger.borrow([pooled, pooled, pooled, logits]);
        self.ledger.peak as u64
    }

    fn stack_inference(&mut self) {
        let kept = self.embeddings_forward();
        self.ledger.give(kept);
        self.positions_forward();
        // Every layer takes the same.
        let has_convolution = self.config.convolution.is_some();
        self.layer_inference(has_convolution);
        self.convolution_forward(0, false);
        if has_convolution {
            self.ledger.give(self.hidden); // what it was of
        }
        if self.config.norms_output {
            self.ledger.take(self.hidden + self.statistics);
            self.ledger.give(self.hidden + self.statistics);
        }
    }

    /// Bytes of relative positions with so many columns.
    fn of_positions(&self, columns: usize, dtype: DType) -> usize {
        stored(self.positions[0] * columns, dtype)
    }

    /// Forward, and back to the gradient of the last hidden states. Few rows: all of it counts as kept.
    fn head(&mut self) {
        let width = self.config.hidden_size;
        let sequences = self.size.sequences;
        let pooled = stored(sequences * width, DType::F32);
        let logits = stored(sequences * self.labels, DType::F32);
        // Pooled, dropped out, before and after the activation, normed, dropped out; and two gradients on the way back.
        let rows = match self.config.head.dense {
            None => 3,
            Some(dense) if dense.norm => 8,
            Some(_) => 7,
        };
        self.ledger.take(rows * pooled + 2 * logits);
        let product = |outputs: usize| Product {
            inputs: width,
            outputs,
            part: outputs,
            activates: false,
            ranks: 0,
        };
        self.weight_backward(sequences, product(self.labels), DType::F32);
        if self.config.head.dense.is_some() {
            self.weight_backward(sequences, product(width), DType::F32);
        }
        self.ledger.take(self.hidden); // the gradient
        self.ledger.give(self.hidden); // the last hidden states
    }
}

/// Elements of the sums over rows that tasks make before they are added up.
fn partial_sums(rows: usize, width: usize) -> usize {
    rows.div_ceil(rows_per_task(width)) * width
}
