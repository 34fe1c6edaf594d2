//! What a pass through the model takes: [`Walk`] goes the way of a batch through `model/` and back and keeps a [`Ledger`] of
//! what each operation of `tensor::ops` takes, keeps for its gradient and frees. It must follow both: `tests/memory.rs` holds
//! it to what the tensors really take.
//!
//! Kept by a half of a layer are the inputs of its products and what lies between them; by a norm behind it the normed values,
//! by one before it what it was given.

use tensor::DType;
use tensor::cpu::rows_per_task;
use tensor::memory::{
    attention_bytes, disentangled_attention_bytes, left_factor_bytes, position_sums, product_bytes, right_factor_bytes,
    stored_bytes,
};

use super::memory::PassSize;
use crate::model::{LayerLayout, Model, ModelConfig, TrainedStack};

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

/// A product with every token, by its columns.
#[derive(Clone, Copy)]
struct Product {
    inputs: usize,
    outputs: usize,
    /// Columns of the widest of its weights, which are one below the other.
    part: usize,
    /// Whether its input is activated on the way.
    activates: bool,
    /// The sum of the ranks of what is added to it.
    ranks: usize,
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

    /// The embeddings, and what is kept of them if they are trained.
    fn embeddings_kept(&mut self) {
        let kept = self.embeddings_forward();
        if !self.trained.embeddings && self.trained.ranks.projection == 0 {
            self.ledger.give(kept);
        }
    }

    /// Layers that get no gradient keep nothing.
    fn frozen_layers(&mut self) {
        for layer in 0..self.trained.first_layer.min(self.config.num_hidden_layers) {
            let has_convolution = layer == 0 && self.config.convolution.is_some();
            self.layer_inference(has_convolution);
            self.convolution_forward(layer, false);
            if has_convolution {
                self.ledger.give(self.hidden);
            }
        }
    }

    /// Where nothing before the layers is trained, no gradient gets there.
    fn inputs_backward(&mut self) {
        if self.trained.embeddings {
            self.positions_backward();
            self.embeddings_backward();
        }
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

    /// The norm behind the last layer.
    fn norm_output(&mut self) {
        if self.config.norms_output {
            self.ledger.take(self.hidden + self.statistics);
        }
    }

    fn output_backward(&mut self) {
        if self.config.norms_output {
            self.pre_norm_backward(self.config.hidden_size);
            self.ledger.give(self.hidden); // what was normed
        }
    }

    /// Bytes of relative positions with so many columns.
    fn of_positions(&self, columns: usize, dtype: DType) -> usize {
        stored(self.positions[0] * columns, dtype)
    }

    /// The rows of relative positions that a batch needs, which stay.
    fn positions_forward(&mut self) {
        let Some(relative) = self.config.relative else { return };
        let rows = self.of_positions(self.config.hidden_size, DType::F32);
        self.ledger.take(rows);
        if relative.has_norm {
            self.ledger.take(rows);
        }
        if self.dtype != DType::F32 {
            self.ledger.take(self.of_positions(self.config.hidden_size, self.dtype));
        }
    }

    /// Their gradient is there by now.
    fn positions_backward(&mut self) {
        let Some(relative) = self.config.relative else { return };
        let width = self.config.hidden_size;
        let (rows, narrow) = (
            self.of_positions(width, DType::F32),
            self.of_positions(width, self.dtype),
        );
        if self.dtype != DType::F32 {
            self.ledger.take(rows);
            self.ledger.give(2 * narrow);
        }
        self.ledger.give(if relative.has_norm { 2 * rows } else { rows });
        if self.dtype == DType::F32 {
            self.ledger.give(rows); // the gradient
        }
    }

    /// The product of relative positions.
    fn position_product(&self) -> Product {
        Product {
            inputs: self.config.hidden_size,
            outputs: self.positions[1] * self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
            ranks: self.trained.ranks.positions,
        }
    }

    /// The convolution beside the first layer, whose output it gets. What is left is its own, and what is kept.
    fn convolution_forward(&mut self, layer: usize, keeps: bool) {
        let Some(convolution) = self.config.convolution.filter(|_| layer == 0) else {
            return;
        };
        let (width, columns) = (convolution.width, self.config.hidden_size);
        let padded = self.padded(convolution.width);
        self.ledger.take(self.hidden); // the convolution
        self.ledger
            .borrow([padded, self.kernel(width), product_bytes(self.size.longest, columns)]);
        if keeps && self.config.embedding_dropout > 0.0 {
            self.ledger.borrow([self.hidden]);
        }
        self.ledger.take(self.hidden); // activated
        self.ledger.take(2 * self.hidden + self.statistics / 2);
        self.ledger.give(2 * self.hidden); // activated; what the layer gave
        if !keeps {
            self.ledger.give(2 * self.hidden + self.statistics / 2);
        }
    }

    /// Rows with zeros around sequences.
    fn padded(&self, width: usize) -> usize {
        let rows = self.size.tokens + (self.size.sequences + 1) * (width / 2);
        stored(rows * self.config.hidden_size, self.dtype)
    }

    /// A packed weight, and the same in another order.
    fn kernel(&self, width: usize) -> usize {
        let columns = self.config.hidden_size;
        right_factor_bytes(columns, width * columns, self.dtype) + stored(width * columns * columns, DType::F32)
    }

    fn convolution_backward(&mut self, layer: usize) {
        let Some(convolution) = self.config.convolution.filter(|_| layer == 0) else {
            return;
        };
        let (columns, tokens, padded) = (
            self.config.hidden_size,
            self.size.tokens,
            self.padded(convolution.width),
        );
        self.post_norm_backward(true); // what goes to the layer is another gradient than what goes to the convolution
        self.ledger.give(self.hidden); // what was activated
        let inner = convolution.width * columns;
        let factors = right_factor_bytes(inner, tokens, self.dtype) + left_factor_bytes(columns, tokens, self.dtype);
        let sums = stored(inner * columns, DType::F32);
        self.ledger
            .borrow([padded, factors, sums + product_bytes(columns, inner)]);
        self.ledger.take(self.hidden); // the gradient of the input, which stays until the layer's is added to it
        self.ledger.borrow([padded, self.kernel(convolution.width)]);
        self.ledger.give(self.hidden); // the gradient of the output
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
            ranks: self.trained.ranks.projection,
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
            ranks: self.trained.ranks.query_key_value,
        }
    }

    fn attention_output(&self) -> Product {
        Product {
            inputs: self.config.query_size(),
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
            ranks: self.trained.ranks.attention_output,
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
            ranks: self.trained.ranks.first,
        }
    }

    fn second(&self) -> Product {
        Product {
            inputs: self.config.intermediate_size,
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: !self.config.is_gated && !self.drops_inner(),
            ranks: self.trained.ranks.second,
        }
    }

    /// What is left is kept.
    fn layer_forward(&mut self, layer: usize) {
        match self.config.layer_layout {
            LayerLayout::PostNorm => {
                self.attention_forward();
                self.post_norm_forward();
                if self.config.is_decoder {
                    self.cross_attention_forward();
                    self.post_norm_forward();
                }
                self.feed_forward_forward();
                self.post_norm_forward();
            }
            LayerLayout::PreNorm | LayerLayout::Parallel => {
                // Sums are put where the output of a half was.
                if self.norms_input(layer) {
                    self.ledger.take(self.hidden + self.statistics);
                }
                self.attention_forward();
                if self.config.is_decoder {
                    self.ledger.take(self.hidden + self.statistics);
                    self.cross_attention_forward();
                }
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

    /// Queries of a decoder, or keys and values of the encoder.
    fn cross_product(&self, parts: usize) -> Product {
        Product {
            inputs: self.config.hidden_size,
            outputs: parts * self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
            ranks: if parts == 1 {
                self.trained.ranks.cross_query
            } else {
                self.trained.ranks.cross_key_value
            },
        }
    }

    /// To the output of a decoder's second attention.
    fn cross_attention_forward(&mut self) {
        self.linear_forward(self.cross_product(1));
        self.linear_forward(self.cross_product(2));
        self.ledger.take(self.qkv);
        let apart = stored(2 * self.size.tokens * self.config.hidden_size, self.dtype);
        self.ledger.give(self.hidden + apart);
        self.attention(false);
        self.linear_forward(self.attention_output());
    }

    /// As [`Self::attention_backward`]. The gradient of the encoder's output is new in the last layer.
    fn cross_attention_backward(&mut self, layer: usize, is_own: bool, is_new: bool) {
        let tokens = self.size.tokens;
        self.ledger.take(self.context); // its gradient
        self.linear_backward(tokens, self.attention_output(), self.dtype);
        if is_own {
            self.ledger.give(self.hidden);
        }
        self.attention(true);
        self.ledger.give(self.qkv + 2 * self.context + self.log_sums); // context and its gradient
        let apart = stored(2 * tokens * self.config.hidden_size, self.dtype);
        self.ledger.take(self.hidden + apart);
        self.ledger.give(self.qkv); // their gradient, together
        if layer + 1 == self.config.num_hidden_layers {
            self.ledger.take(self.hidden);
        }
        self.linear_backward(tokens, self.cross_product(2), self.dtype);
        self.ledger.give(apart);
        if is_new {
            self.ledger.take(self.hidden);
        }
        self.linear_backward(tokens, self.cross_product(1), self.dtype);
        self.ledger.give(self.hidden); // the gradient of queries
        self.ledger.give(self.hidden); // the half's input
    }

    /// Whether the inner values are activated and dropped out by themselves.
    fn drops_inner(&self) -> bool {
        !self.config.is_gated && self.config.inner_dropout > 0.0
    }

    /// To the output of the feed-forward half.
    fn feed_forward_forward(&mut self) {
        self.linear_forward(self.first());
        if self.config.is_gated {
            self.ledger.take(self.inner);
        }
        if self.drops_inner() {
            self.ledger.take(self.inner);
            self.ledger.borrow([self.inner]);
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

    /// From the gradient of the layer's output to that of its input, one `hidden` each.
    fn layer_backward(&mut self, layer: usize) {
        let (of_attention, of_feed_forward) = (self.drops_attention_output(), self.drops_output());
        match self.config.layer_layout {
            LayerLayout::PostNorm => {
                self.post_norm_backward(of_feed_forward);
                self.feed_forward_backward(of_feed_forward, false);
                if self.config.is_decoder {
                    self.post_norm_backward(of_attention);
                    self.cross_attention_backward(layer, of_attention, false);
                }
                self.post_norm_backward(of_attention);
                self.attention_backward(of_attention, false);
            }
            LayerLayout::PreNorm => {
                // The gradient of the sum is that of both, and of one of them another if it was dropped out.
                self.copy_gradient(of_feed_forward);
                self.feed_forward_backward(of_feed_forward, true);
                self.pre_norm_backward(self.config.hidden_size);
                self.ledger.give(2 * self.hidden); // the gradient, and what was normed
                if self.config.is_decoder {
                    self.copy_gradient(of_attention);
                    self.cross_attention_backward(layer, of_attention, true);
                    self.pre_norm_backward(self.config.hidden_size);
                    self.ledger.give(2 * self.hidden);
                }
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
        self.linear_backward(tokens, self.second(), self.dtype);
        self.ledger.give(self.inner);
        if is_own {
            self.ledger.give(self.hidden);
        }
        if self.config.is_gated {
            self.ledger.take(self.intermediate); // its gradient
            self.ledger.give(self.intermediate + self.inner);
        }
        if self.drops_inner() {
            self.ledger.give(self.inner);
        }
        if is_new {
            self.ledger.take(self.hidden);
        }
        self.linear_backward(tokens, self.first(), self.dtype);
        self.ledger.give(self.intermediate); // its gradient
        self.ledger.give(self.hidden); // the half's input
    }

    /// As [`Self::feed_forward_backward`].
    fn attention_backward(&mut self, is_own: bool, is_new: bool) {
        let tokens = self.size.tokens;
        self.ledger.take(self.context); // its gradient
        self.linear_backward(tokens, self.attention_output(), self.dtype);
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
        self.linear_backward(tokens, self.query_key_value(), self.dtype);
        self.ledger.give(self.qkv); // its gradient
        self.ledger.give(self.hidden); // the half's input
    }

    fn embeddings_backward(&mut self) {
        let tokens = self.size.tokens;
        let (embedded, converted) = (self.embedded, self.converted());
        if self.has_projection() {
            let projected = self.projected();
            self.ledger.take(projected); // the gradient
            self.linear_backward(tokens, self.projection(), self.dtype);
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
        self.linear_of_rows(self.size.tokens, product);
    }

    /// As [`Self::linear_forward`] with so many rows.
    fn linear_of_rows(&mut self, tokens: usize, product: Product) {
        let Product {
            inputs, outputs, ranks, ..
        } = product;
        let output = stored(tokens * outputs, self.dtype);
        let activated = if product.activates {
            stored(tokens * inputs, self.dtype)
        } else {
            0
        };
        let weights = right_factor_bytes(outputs, inputs, self.dtype);
        self.ledger.take(output);
        self.ledger.borrow([weights, activated, product_bytes(tokens, outputs)]);
        if ranks > 0 {
            let low = stored(tokens * ranks, self.dtype);
            match self.records {
                true => self.ledger.take(low),
                false => self.ledger.borrow([low]),
            }
            let changed = stored(tokens * inputs, self.dtype);
            self.ledger
                .borrow([changed, right_factor_bytes(ranks, inputs, self.dtype)]);
        }
    }

    /// What the gradients of a product take on their way; they themselves are the caller's.
    fn linear_backward(&mut self, rows: usize, product: Product, dtype: DType) {
        let Product {
            inputs, part, ranks, ..
        } = product;
        if ranks > 0 {
            // What is added comes first: it was added last.
            let (low, changed) = (stored(rows * ranks, dtype), stored(rows * inputs, dtype));
            let up = left_factor_bytes(part, rows, dtype) + right_factor_bytes(ranks, rows, dtype);
            let up = up + product_bytes(part, ranks);
            let down = right_factor_bytes(inputs, rows, dtype) + changed.max(product_bytes(ranks, inputs));
            self.ledger.borrow([low, up.max(down)]);
            self.ledger.give(low); // what was kept
        }
        if self.trained.weights {
            self.weight_backward(rows, product, dtype);
        } else {
            self.input_backward(rows, product, dtype);
        }
    }

    /// The gradients of its weights, one after another, and that of its input.
    fn weight_backward(&mut self, rows: usize, product: Product, dtype: DType) {
        let Product { inputs, part, .. } = product;
        let left = left_factor_bytes(part, rows, dtype) + product_bytes(part, inputs);
        let sums = stored(partial_sums(rows, part), DType::F32);
        self.ledger
            .borrow([right_factor_bytes(inputs, rows, dtype), left.max(sums)]);
        self.input_backward(rows, product, dtype);
    }

    fn input_backward(&mut self, rows: usize, product: Product, dtype: DType) {
        let Product { inputs, outputs, .. } = product;
        self.ledger
            .borrow([right_factor_bytes(inputs, outputs, dtype), product_bytes(rows, inputs)]);
    }

    /// Forward: the context and the logarithms of the softmax's denominators, which stay, and with relative positions what is
    /// made of those. Backward: the gradient of queries, keys and values.
    fn attention(&mut self, backward: bool) {
        let (longest, head_dim, [rows, terms]) = (self.size.longest, self.config.head_dim, self.positions);
        let columns = terms * self.config.hidden_size;
        let projected = self.of_positions(columns, self.dtype);
        let dropped = match self.config.embedding_dropout > 0.0 {
            false => 0,
            true => self.of_positions(self.config.hidden_size, self.dtype),
        };
        if terms > 0 && !backward {
            self.ledger.take(dropped);
            self.linear_of_rows(rows, self.position_product());
        }
        let taken = if backward {
            self.qkv
        } else {
            self.context + self.log_sums
        };
        self.ledger.take(taken);
        let workspace = match self.config.relative {
            None => attention_bytes(longest, head_dim, self.dtype, backward),
            Some(_) => disentangled_attention_bytes(longest, head_dim, terms, self.dtype, backward),
        };
        if terms == 0 || !backward {
            return self.ledger.borrow([workspace]);
        }
        let sums = stored(position_sums(self.size.tokens) * rows * columns, DType::F32);
        self.ledger.take(sums);
        self.ledger.borrow([workspace]);
        self.ledger.take(projected); // their gradient
        self.ledger.give(sums + projected);
        // Its gradient is new where it is dropped out, and else that of the last layer that is gone through.
        let of_input = self.of_positions(self.config.hidden_size, self.dtype);
        self.ledger.take(of_input);
        self.linear_backward(rows, self.position_product(), self.dtype);
        self.ledger.give(projected + dropped + of_input);
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
        self.records = false;
        self.layer_unrecorded(keeps_input);
        self.records = true;
    }

    fn layer_unrecorded(&mut self, keeps_input: bool) {
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
        self.give_projected_positions();
        self.ledger.give(self.log_sums);
        self.linear_forward(self.attention_output());
        self.ledger.give(self.qkv + self.context);
        if is_post {
            self.post_norm_forward();
            self.ledger.give(self.hidden + self.statistics / 2); // normed values
        }
        if self.config.is_decoder {
            // As much as the first attention, beside queries, keys and values before they are put together.
            self.ledger.take(self.qkv);
            self.ledger.take(self.qkv);
            self.ledger.give(self.qkv);
            self.attention(false);
            self.ledger.give(self.log_sums);
            self.linear_forward(self.attention_output());
            self.ledger.give(self.qkv + self.context);
            self.ledger.borrow([self.hidden, self.hidden]);
            self.ledger.give(self.hidden);
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
        if self.drops_inner() && keeps_input {
            self.ledger.take(self.inner);
            self.ledger.borrow([self.inner]);
            self.ledger.give(self.inner);
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

impl Walk<'_> {
    /// What attention made of positions, once it is not kept.
    fn give_projected_positions(&mut self) {
        let [_, terms] = self.positions;
        if terms > 0 {
            let columns = terms * self.config.hidden_size;
            let dropped = match self.config.embedding_dropout > 0.0 {
                false => 0,
                true => self.of_positions(self.config.hidden_size, self.dtype),
            };
            self.ledger.give(self.of_positions(columns, self.dtype) + dropped);
        }
    }
}

/// Elements of the sums over rows that tasks make before they are added up.
fn partial_sums(rows: usize, width: usize) -> usize {
    rows.div_ceil(rows_per_task(width)) * width
}
