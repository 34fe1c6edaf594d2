//! What a pass through the model takes: [`Walk`] goes the way of a batch through `model/` and back and keeps a [`Ledger`] of
//! what each operation of `tensor::ops` takes, keeps for its gradient and frees. It must follow both: `tests/memory.rs` holds
//! it to what the tensors really take.
//!
//! Kept by a half of a layer are the inputs of its products and what lies between them; by a norm behind it the normed values,
//! by one before it what it was given.

use tensor::DType;
use tensor::cpu::rows_per_task;
use tensor::memory::{attention_bytes, left_factor_bytes, product_bytes, right_factor_bytes, stored_bytes};

use super::memory::PassSize;
use crate::model::{LayerLayout, Model, ModelConfig};

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
pub(super) struct Walk<'a> {
    config: &'a ModelConfig,
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
}

/// Bytes of numbers of type `dtype`, as they are stored.
fn stored(elements: usize, dtype: DType) -> usize {
    stored_bytes(elements * dtype.size())
}

/// A product with every token, by its columns.
#[derive(Clone, Copy)]
struct Product {
    inputs: usize,
    outputs: usize,
    /// Columns of the widest of its weights, which are one below the other.
    part: usize,
    /// Whether its input is activated on the way.
    activates: bool,
}

impl<'a> Walk<'a> {
    pub fn new(model: &'a Model, size: &'a PassSize) -> Self {
        let (config, dtype) = (model.config(), model.precision.dtype());
        let hidden_states = |columns: usize| stored(size.tokens * columns, dtype);
        let numbers = |columns: usize| stored(size.tokens * columns, DType::F32);
        let heads = config.heads();
        let mut walk = Self {
            config,
            labels: model.schema().num_labels(),
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
        };
        for rotary in config.rotaries() {
            walk.ledger.take(stored(size.longest * rotary.columns(), DType::F32));
        }
        walk
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
        self.embeddings_forward();
        for layer in 0..self.config.num_hidden_layers {
            self.layer_forward(layer);
        }
        self.head();
        for layer in (0..self.config.num_hidden_layers).rev() {
            self.layer_backward(layer);
        }
        self.embeddings_backward();
        self.ledger.peak as u64
    }

    /// As [`Self::training`], where layers keep their input only.
    pub fn recomputing(mut self) -> u64 {
        self.embeddings_forward();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_inference(true);
        }
        self.head();
        for layer in (0..self.config.num_hidden_layers).rev() {
            self.layer_forward(layer);
            self.ledger.give(self.hidden); // its output
            self.layer_backward(layer);
        }
        self.embeddings_backward();
        self.ledger.peak as u64
    }

    /// The most bytes of a pass that keeps nothing.
    pub fn inference(mut self) -> u64 {
        let kept = self.embeddings_forward();
        self.ledger.give(kept);
        // Every layer takes the same.
        self.layer_inference(false);
        if self.config.norms_output {
            self.ledger.take(self.hidden + self.statistics);
        }
        let pooled = stored(self.size.sequences * self.config.hidden_size, DType::F32);
        let logits = stored(self.size.sequences * self.labels, DType::F32);
        self.ledger.borrow([pooled, pooled, pooled, logits]);
        self.ledger.peak as u64
    }

    /// What a projection keeps of the embeddings.
    fn projected(&self) -> usize {
        if self.converted() > 0 {
            self.converted()
        } else {
            self.embedded
        }
    }

    /// What is left are the hidden states and what is kept: what the norm was given, and the input of a projection. Returns the
    /// size of the latter.
    fn embeddings_forward(&mut self) -> usize {
        let (embedded, converted) = (self.embedded, self.converted());
        let (mut kept, mut freed) = (0, 0);
        self.ledger.take(embedded); // the sum
        if self.config.norms_embeddings {
            self.ledger.take(embedded + self.statistics);
            kept += embedded + self.statistics;
        }
        if self.config.embedding_dropout > 0.0 {
            self.ledger.take(embedded);
            freed += embedded;
        }
        if converted > 0 {
            self.ledger.take(converted);
            freed += embedded;
        }
        if self.has_projection() {
            self.linear_forward(self.projection());
            kept += self.projected();
        }
        self.ledger.give(freed);
        kept
    }

    fn projection(&self) -> Product {
        Product {
            inputs: self.config.embedding_size,
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
        }
    }

    fn query_key_value(&self) -> Product {
        let (queries, keys) = (self.config.query_size(), self.config.key_size());
        Product {
            inputs: self.config.hidden_size,
            outputs: queries + 2 * keys,
            part: match self.config.fuses_query_key_value() {
                true => queries + 2 * keys,
                false => queries,
            },
            activates: false,
        }
    }

    fn attention_output(&self) -> Product {
        Product {
            inputs: self.config.query_size(),
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
        }
    }

    fn first(&self) -> Product {
        let inner = self.config.intermediate_size;
        let outputs = if self.config.is_gated { 2 * inner } else { inner };
        Product {
            inputs: self.config.hidden_size,
            outputs,
            part: if self.config.fuses_gate() { outputs } else { inner },
            activates: false,
        }
    }

    fn second(&self) -> Product {
        Product {
            inputs: self.config.intermediate_size,
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: !self.config.is_gated,
        }
    }

    /// What is left is kept.
    fn layer_forward(&mut self, layer: usize) {
        match self.config.layer_layout {
            LayerLayout::PostNorm => {
                self.attention_forward();
                self.post_norm_forward();
                self.feed_forward_forward();
                self.post_norm_forward();
            }
            LayerLayout::PreNorm | LayerLayout::Parallel => {
                // Sums are put where the output of a half was.
                if self.norms_input(layer) {
                    self.ledger.take(self.hidden + self.statistics);
                }
                self.attention_forward();
                self.ledger.take(self.hidden + self.statistics);
                self.feed_forward_forward();
                if self.config.layer_layout == LayerLayout::Parallel {
                    self.ledger.give(self.hidden); // the sum of input and attention
                }
            }
        }
    }

    /// To the output of the attention half.
    fn attention_forward(&mut self) {
        self.linear_forward(self.query_key_value());
        if self.config.norms_queries_and_keys {
            self.ledger.take(self.qkv + self.head_statistics);
        }
        self.attention(false);
        self.linear_forward(self.attention_output());
    }

    /// To the output of the feed-forward half.
    fn feed_forward_forward(&mut self) {
        self.linear_forward(self.first());
        if self.config.is_gated {
            self.ledger.take(self.inner);
        }
        self.linear_forward(self.second());
    }

    /// Norm of the sum of a half's output, which is freed, and its input.
    fn post_norm_forward(&mut self) {
        self.ledger.take(2 * self.hidden + self.statistics / 2);
        self.ledger.give(self.hidden);
    }

    /// Forward, and back to the gradient of the last hidden states. Few rows: all of it counts as kept.
    fn head(&mut self) {
        let width = self.config.hidden_size;
        if self.config.norms_output {
            self.ledger.take(self.hidden + self.statistics);
        }
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
        self.linear_backward(sequences, [width, self.labels, self.labels], DType::F32);
        if self.config.head.dense.is_some() {
            self.linear_backward(sequences, [width, width, width], DType::F32);
        }
        self.ledger.take(self.hidden); // the gradient
        self.ledger.give(self.hidden); // the last hidden states
        if self.config.norms_output {
            self.pre_norm_backward(self.config.hidden_size);
            self.ledger.give(self.hidden); // what was normed
        }
    }

    /// From the gradient of the layer's output to that of its input, one `hidden` each.
    fn layer_backward(&mut self, layer: usize) {
        let (of_attention, of_feed_forward) = (self.drops_attention_output(), self.drops_output());
        match self.config.layer_layout {
            LayerLayout::PostNorm => {
                self.post_norm_backward(of_feed_forward);
                self.feed_forward_backward(of_feed_forward, false);
                self.post_norm_backward(of_attention);
                self.attention_backward(of_attention, false);
            }
            LayerLayout::PreNorm => {
                // The gradient of the sum is that of both, and of one of them another if it was dropped out.
                self.copy_gradient(of_feed_forward);
                self.feed_forward_backward(of_feed_forward, true);
                self.pre_norm_backward(self.config.hidden_size);
                self.ledger.give(2 * self.hidden); // the gradient, and what was normed
                self.copy_gradient(of_attention);
                self.attention_backward(of_attention, self.norms_input(layer));
                if self.norms_input(layer) {
                    self.pre_norm_backward(self.config.hidden_size);
                    self.ledger.give(2 * self.hidden);
                }
            }
            LayerLayout::Parallel => {
                self.copy_gradient(of_feed_forward);
                self.feed_forward_backward(of_feed_forward, true);
                self.pre_norm_backward(self.config.hidden_size);
                // What was normed is kept by the other norm too, and its gradient is the first that the input gets: it stays
                // beside that of the attention half.
                self.copy_gradient(of_attention);
                if of_attention {
                    self.ledger.give(self.hidden);
                }
                self.attention_backward(true, true);
                self.pre_norm_backward(self.config.hidden_size);
                self.ledger.give(2 * self.hidden);
            }
        }
    }

    /// The gradient of a half's output where it is not that of the sum.
    fn copy_gradient(&mut self, is_copied: bool) {
        if is_copied {
            self.ledger.take(self.hidden);
        }
    }

    /// From the gradient of the half's output, which is freed if it `is_own`, to that of its input, which is new or added to.
    fn feed_forward_backward(&mut self, is_own: bool, is_new: bool) {
        let tokens = self.size.tokens;
        self.ledger.take(self.inner); // its gradient
        self.linear_backward(tokens, self.second().extents(), self.dtype);
        self.ledger.give(self.inner);
        if is_own {
            self.ledger.give(self.hidden);
        }
        if self.config.is_gated {
            self.ledger.take(self.intermediate); // its gradient
            self.ledger.give(self.intermediate + self.inner);
        }
        if is_new {
            self.ledger.take(self.hidden);
        }
        self.linear_backward(tokens, self.first().extents(), self.dtype);
        self.ledger.give(self.intermediate); // its gradient
        self.ledger.give(self.hidden); // the half's input
    }

    /// As [`Self::feed_forward_backward`].
    fn attention_backward(&mut self, is_own: bool, is_new: bool) {
        let tokens = self.size.tokens;
        self.ledger.take(self.context); // its gradient
        self.linear_backward(tokens, self.attention_output().extents(), self.dtype);
        if is_own {
            self.ledger.give(self.hidden);
        }
        self.attention(true);
        self.ledger.give(self.qkv + 2 * self.context + self.log_sums); // context and its gradient
        if self.config.norms_queries_and_keys {
            let columns = self.config.query_size() + 2 * self.config.key_size();
            let tasks = tokens.div_ceil(rows_per_task(columns));
            let partial = stored(tasks * self.config.head_dim, DType::F32);
            self.ledger.borrow([partial, partial]);
            self.ledger.give(self.qkv + self.head_statistics);
        }
        if is_new {
            self.ledger.take(self.hidden);
        }
        self.linear_backward(tokens, self.query_key_value().extents(), self.dtype);
        self.ledger.give(self.qkv); // its gradient
        self.ledger.give(self.hidden); // the half's input
    }

    fn embeddings_backward(&mut self) {
        let tokens = self.size.tokens;
        let (embedded, converted) = (self.embedded, self.converted());
        if self.has_projection() {
            let projected = self.projected();
            self.ledger.take(projected); // the gradient
            self.linear_backward(tokens, self.projection().extents(), self.dtype);
            self.ledger.give(self.hidden + projected);
        }
        if converted > 0 {
            self.ledger.take(embedded);
            self.ledger.give(converted);
        }
        if self.config.norms_embeddings {
            self.pre_norm_backward(self.config.embedding_size);
            self.ledger.give(embedded); // the sum
        }
        self.ledger.give(embedded);
    }

    /// A product with every token: packed weights, perhaps the activated input, and the output, which stays.
    fn linear_forward(&mut self, product: Product) {
        let (tokens, Product { inputs, outputs, .. }) = (self.size.tokens, product);
        let output = stored(tokens * outputs, self.dtype);
        let activated = if product.activates {
            stored(tokens * inputs, self.dtype)
        } else {
            0
        };
        let weights = right_factor_bytes(outputs, inputs, self.dtype);
        self.ledger.take(output);
        self.ledger.borrow([weights, activated, product_bytes(tokens, outputs)]);
    }

    /// What the gradients of a product take on their way, its weights one after another; they themselves are the caller's.
    fn linear_backward(&mut self, rows: usize, [inputs, outputs, part]: [usize; 3], dtype: DType) {
        let left = left_factor_bytes(part, rows, dtype) + product_bytes(part, inputs);
        let sums = stored(partial_sums(rows, part), DType::F32);
        self.ledger
            .borrow([right_factor_bytes(inputs, rows, dtype), left.max(sums)]);
        self.ledger
            .borrow([right_factor_bytes(inputs, outputs, dtype), product_bytes(rows, inputs)]);
    }

    /// Forward: the context and the logarithms of the softmax's denominators, which stay. Backward: the gradient of queries,
    /// keys and values.
    fn attention(&mut self, backward: bool) {
        let taken = if backward {
            self.qkv
        } else {
            self.context + self.log_sums
        };
        self.ledger.take(taken);
        let (longest, head_dim) = (self.size.longest, self.config.head_dim);
        self.ledger
            .borrow([attention_bytes(longest, head_dim, self.dtype, backward)]);
    }

    /// Turns the gradient in place; `copies` if dropout makes that of one input another than that of the residual.
    fn post_norm_backward(&mut self, copies: bool) {
        let partial = stored(partial_sums(self.size.tokens, self.config.hidden_size), DType::F32);
        self.copy_gradient(copies);
        self.ledger.borrow([partial, partial]);
        self.ledger.give(self.hidden + self.statistics / 2);
    }

    /// Turns the gradient in place. What was normed is the caller's.
    fn pre_norm_backward(&mut self, width: usize) {
        let partial = stored(partial_sums(self.size.tokens, width), DType::F32);
        self.ledger.borrow([partial, partial]);
        self.ledger.give(self.statistics);
    }

    /// One layer that keeps nothing, at most its input. All layers but one without a norm take the same.
    fn layer_inference(&mut self, keeps_input: bool) {
        let is_post = self.config.layer_layout == LayerLayout::PostNorm;
        let is_parallel = self.config.layer_layout == LayerLayout::Parallel;
        if !is_post {
            self.ledger.take(self.hidden + self.statistics);
            self.ledger.give(self.statistics);
        }
        self.linear_forward(self.query_key_value());
        if !is_post {
            self.ledger.give(self.hidden); // what was normed
        }
        if self.config.norms_queries_and_keys {
            self.ledger.borrow([self.qkv, self.head_statistics]);
        }
        self.attention(false);
        self.ledger.give(self.log_sums);
        self.linear_forward(self.attention_output());
        self.ledger.give(self.qkv + self.context);
        if is_post {
            self.post_norm_forward();
            self.ledger.give(self.hidden + self.statistics / 2); // normed values
        }
        // The layer's input is no residual any more, but of parallel halves.
        if !keeps_input && !is_parallel {
            self.ledger.give(self.hidden);
        }
        if !is_post {
            self.ledger.take(self.hidden + self.statistics);
            self.ledger.give(self.statistics);
        }
        self.linear_forward(self.first());
        if !is_post {
            self.ledger.give(self.hidden);
        }
        if self.config.is_gated {
            self.ledger.take(self.inner);
            self.ledger.give(self.intermediate);
        }
        self.linear_forward(self.second());
        self.ledger.give(self.inner);
        if is_post {
            self.post_norm_forward();
            self.ledger.give(self.hidden + self.statistics / 2);
        }
        if !keeps_input && is_parallel {
            self.ledger.give(self.hidden);
        }
        self.ledger.give(self.hidden); // the sum behind attention
    }
}

impl Product {
    fn extents(self) -> [usize; 3] {
        [self.inputs, self.outputs, self.part]
    }
}

/// Elements of the sums over rows that tasks make before they are added up.
fn partial_sums(rows: usize, width: usize) -> usize {
    rows.div_ceil(rows_per_task(width)) * width
}
