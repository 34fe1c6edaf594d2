//! What a pass through the model takes: [`Walk`] goes the way of a batch through `model/` and back and keeps a [`Ledger`] of
//! what each operation of `tensor::ops` takes, keeps for its gradient and frees. It must follow both: `tests/memory.rs` holds
//! it to what the tensors really take.

use tensor::DType;
use tensor::cpu::rows_per_task;
use tensor::memory::{attention_bytes, left_factor_bytes, product_bytes, right_factor_bytes, stored_bytes};

use super::memory::PassSize;
use crate::model::{Model, ModelConfig};

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
    /// What is inside of the feed-forward half.
    inner: usize,
    /// The embeddings.
    embedded: usize,
    /// Logarithms of the softmax's denominators.
    log_sums: usize,
}

/// Bytes of numbers of type `dtype`, as they are stored.
fn stored(elements: usize, dtype: DType) -> usize {
    stored_bytes(elements * dtype.size())
}

impl<'a> Walk<'a> {
    pub fn new(model: &'a Model, size: &'a PassSize) -> Self {
        let (config, dtype) = (model.config(), model.precision.dtype());
        Self {
            config,
            labels: model.schema().num_labels(),
            size,
            dtype,
            ledger: Ledger::default(),
            hidden: stored(size.tokens * config.hidden_size, dtype),
            inner: stored(size.tokens * config.intermediate_size, dtype),
            embedded: stored(size.tokens * config.embedding_size, DType::F32),
            log_sums: stored(size.tokens * config.num_attention_heads, DType::F32),
        }
    }

    /// Queries, keys and values side by side.
    fn qkv(&self) -> usize {
        stored(3 * self.size.tokens * self.config.hidden_size, self.dtype)
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
        self.config.family.drops_attention_output() && self.drops_hidden()
    }

    fn drops_hidden(&self) -> bool {
        self.config.hidden_dropout > 0.0
    }

    /// The most bytes of a pass forward and back, beside the gradients of parameters.
    pub fn training(mut self) -> u64 {
        self.embeddings_forward();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_forward();
        }
        self.head();
        for _ in 0..self.config.num_hidden_layers {
            self.layer_backward();
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
        for _ in 0..self.config.num_hidden_layers {
            self.layer_forward();
            self.ledger.give(self.hidden); // its output
            self.layer_backward();
        }
        self.embeddings_backward();
        self.ledger.peak as u64
    }

    /// The most bytes of a pass that keeps nothing.
    pub fn inference(mut self) -> u64 {
        self.embeddings_forward();
        let statistics = stored(self.size.tokens, DType::F32);
        self.ledger.give(self.embedded + statistics); // what the norm would keep
        if self.has_projection() {
            self.ledger.give(self.projected());
        }
        // Every layer takes the same.
        self.layer_inference(false);
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

    /// What is left is what the norm keeps, the input of a projection if there is one, and the hidden states.
    fn embeddings_forward(&mut self) {
        let (embedded, converted) = (self.embedded, self.converted());
        let mut made = embedded; // the sum
        self.ledger.take(embedded);
        self.norm_forward(self.config.embedding_size, DType::F32);
        made += embedded; // the norm's output
        if self.drops_hidden() {
            self.ledger.take(embedded);
            made += embedded;
        }
        self.ledger.take(converted);
        made += converted;
        let output = match self.has_projection() {
            true => {
                self.linear_forward(self.config.embedding_size, self.config.hidden_size, false);
                self.projected() + self.hidden
            }
            false => self.hidden,
        };
        if self.has_projection() {
            made += self.hidden;
        }
        self.ledger.give(made);
        self.ledger.take(output);
    }

    /// What is left is kept.
    fn layer_forward(&mut self) {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        self.linear_forward(width, 3 * width, false);
        self.attention(false);
        self.linear_forward(width, width, false);
        self.norm_forward(width, self.dtype);
        self.ledger.give(self.hidden); // what went into the norm
        self.linear_forward(width, inner, false);
        self.linear_forward(inner, width, true);
        self.norm_forward(width, self.dtype);
        self.ledger.give(self.hidden);
    }

    /// Forward, and back to the gradient of the last hidden states. Few rows: all of it counts as kept.
    fn head(&mut self) {
        let pooled = stored(self.size.sequences * self.config.hidden_size, DType::F32);
        let logits = stored(self.size.sequences * self.labels, DType::F32);
        // Pooled, dropped out, before and after the activation, dropped out; and two gradients on the way back.
        self.ledger.take(7 * pooled + 2 * logits);
        let (sequences, width) = (self.size.sequences, self.config.hidden_size);
        self.linear_backward(sequences, [width, self.labels], DType::F32);
        self.linear_backward(sequences, [width, width], DType::F32);
        self.ledger.take(self.hidden); // the gradient
        self.ledger.give(self.hidden); // the last layer's output
    }

    /// From the gradient of the layer's output to that of its input, one `hidden` each.
    fn layer_backward(&mut self) {
        let (tokens, width, inner_width) = (self.size.tokens, self.config.hidden_size, self.config.intermediate_size);
        let copies = self.drops_hidden();
        self.norm_backward(width, copies, self.dtype);
        self.ledger.take(self.inner); // its gradient
        self.linear_backward(tokens, [inner_width, width], self.dtype);
        self.ledger.give(self.inner);
        if copies {
            self.ledger.give(self.hidden);
        }
        self.linear_backward(tokens, [width, inner_width], self.dtype);
        self.ledger.give(self.inner); // its gradient
        self.ledger.give(self.hidden); // output of the attention half

        let copies = self.drops_attention_output();
        self.norm_backward(width, copies, self.dtype);
        self.ledger.take(self.hidden); // the gradient of the context
        self.linear_backward(tokens, [width, width], self.dtype);
        if copies {
            self.ledger.give(self.hidden);
        }
        self.attention(true);
        self.ledger.give(self.qkv() + 2 * self.hidden + self.log_sums); // context and its gradient
        self.linear_backward(tokens, [width, 3 * width], self.dtype);
        self.ledger.give(self.qkv()); // its gradient
        self.ledger.give(self.hidden); // the layer's input
    }

    fn embeddings_backward(&mut self) {
        let (tokens, width) = (self.size.tokens, self.config.embedding_size);
        let (embedded, converted) = (self.embedded, self.converted());
        if self.has_projection() {
            let projected = self.projected();
            self.ledger.take(projected); // the gradient
            self.linear_backward(tokens, [width, self.config.hidden_size], self.dtype);
            self.ledger.give(self.hidden + projected);
        }
        if converted > 0 {
            self.ledger.take(embedded);
            self.ledger.give(converted);
        }
        self.norm_backward(width, false, DType::F32);
        self.ledger.give(embedded);
    }

    /// A product with every token: packed weights, perhaps the activated input, and the output, which stays.
    fn linear_forward(&mut self, inputs: usize, outputs: usize, activates: bool) {
        let tokens = self.size.tokens;
        let output = stored(tokens * outputs, self.dtype);
        let activated = if activates {
            stored(tokens * inputs, self.dtype)
        } else {
            0
        };
        let weights = right_factor_bytes(outputs, inputs, self.dtype);
        self.ledger.take(output);
        self.ledger.borrow([weights, activated, product_bytes(tokens, outputs)]);
    }

    /// What the gradients of a product take on their way; they themselves are the caller's.
    fn linear_backward(&mut self, rows: usize, [inputs, outputs]: [usize; 2], dtype: DType) {
        // Queries, keys and values one after another.
        let part = if outputs == 3 * self.config.hidden_size {
            self.config.hidden_size
        } else {
            outputs
        };
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
        let head_dim = self.config.hidden_size / self.config.num_attention_heads.max(1);
        let taken = if backward {
            self.qkv()
        } else {
            self.hidden + self.log_sums
        };
        self.ledger.take(taken);
        self.ledger
            .borrow([attention_bytes(self.size.longest, head_dim, self.dtype, backward)]);
    }

    /// The normed values, the output and a number a row.
    fn norm_forward(&mut self, width: usize, dtype: DType) {
        let values = stored(self.size.tokens * width, dtype);
        self.ledger.take(2 * values + stored(self.size.tokens, DType::F32));
    }

    /// Turns the gradient in place; `copies` if dropout makes that of one input another than that of the residual.
    fn norm_backward(&mut self, width: usize, copies: bool, dtype: DType) {
        let values = stored(self.size.tokens * width, dtype);
        let partial = stored(partial_sums(self.size.tokens, width), DType::F32);
        if copies {
            self.ledger.take(values);
        }
        self.ledger.borrow([partial, partial]);
        self.ledger.give(values + stored(self.size.tokens, DType::F32));
    }

    /// One layer that keeps nothing, at most its input.
    fn layer_inference(&mut self, keeps_input: bool) {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let statistics = stored(self.size.tokens, DType::F32);
        self.linear_forward(width, 3 * width, false);
        self.attention(false);
        self.linear_forward(width, width, false);
        self.ledger.give(self.log_sums);
        self.norm_forward(width, self.dtype);
        self.ledger.give(self.qkv() + 3 * self.hidden + statistics); // context, output, normed values
        if !keeps_input {
            self.ledger.give(self.hidden);
        }
        self.linear_forward(width, inner, false);
        self.linear_forward(inner, width, true);
        self.norm_forward(width, self.dtype);
        self.ledger.give(self.inner + 3 * self.hidden + statistics); // output, normed values, the half's input
    }
}

/// Elements of the sums over rows that tasks make before they are added up.
fn partial_sums(rows: usize, width: usize) -> usize {
    rows.div_ceil(rows_per_task(width)) * width
}
