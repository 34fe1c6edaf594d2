//! What layers take on the way back, and what they free.

use tensor::DType;
use tensor::cpu::rows_per_task;
use tensor::memory::{left_factor_bytes, product_bytes, right_factor_bytes};

use super::{Walk, partial_sums, stored};
use crate::model::LayerLayout;

impl Walk<'_> {
    /// Where nothing before the layers is trained, no gradient gets there.
    pub(super) fn inputs_backward(&mut self) {
        if self.trained.embeddings {
            self.positions_backward();
            self.embeddings_backward();
        }
    }

    pub(super) fn output_backward(&mut self) {
        if self.config.norms_output {
            self.pre_norm_backward(self.config.hidden_size);
            self.ledger.give(self.hidden); // what was normed
        }
    }

    /// Their gradient is there by now.
    pub(super) fn positions_backward(&mut self) {
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

    pub(super) fn convolution_backward(&mut self, layer: usize) {
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

    /// As [`Self::attention_backward`]. The gradient of the encoder's output is new in the last layer.
    pub(super) fn cross_attention_backward(&mut self, layer: usize, is_own: bool, is_new: bool) {
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

    /// From the gradient of the layer's output to that of its input, one `hidden` each.
    pub(super) fn layer_backward(&mut self, layer: usize) {
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
    pub(super) fn copy_gradient(&mut self, is_copied: bool) {
        if is_copied {
            self.ledger.take(self.hidden);
        }
    }

    /// From the gradient of the half's output, which is freed if it `is_own`, to that of its input, which is new or added to.
    pub(super) fn feed_forward_backward(&mut self, is_own: bool, is_new: bool) {
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
    pub(super) fn attention_backward(&mut self, is_own: bool, is_new: bool) {
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

    pub(super) fn embeddings_backward(&mut self) {
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

    /// Turns the gradient in place; `copies` if dropout makes that of one input another than that of the residual.
    pub(super) fn post_norm_backward(&mut self, copies: bool) {
        let partial = stored(partial_sums(self.size.tokens, self.config.hidden_size), DType::F32);
        self.copy_gradient(copies);
        self.ledger.borrow([partial, partial]);
        self.ledger.give(self.hidden + self.statistics / 2);
    }

    /// Turns the gradient in place. What was normed is the caller's.
    pub(super) fn pre_norm_backward(&mut self, width: usize) {
        let partial = stored(partial_sums(self.size.tokens, width), DType::F32);
        self.ledger.borrow([partial, partial]);
        self.ledger.give(self.statistics);
    }
}
