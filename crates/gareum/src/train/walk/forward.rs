//! What layers take on the way forward, and what they keep.

use tensor::DType;
use tensor::memory::{attention_bytes, disentangled_attention_bytes, position_sums, product_bytes, right_factor_bytes};

use super::{Walk, stored};
use crate::model::LayerLayout;

impl Walk<'_> {
    /// The embeddings, and what is kept of them if they are trained.
    pub(super) fn embeddings_kept(&mut self) {
        let kept = self.embeddings_forward();
        if !self.trained.embeddings && self.trained.ranks.projection == 0 {
            self.ledger.give(kept);
        }
    }

    /// Layers that get no gradient keep nothing.
    pub(super) fn frozen_layers(&mut self) {
        for layer in 0..self.trained.first_layer.min(self.config.num_hidden_layers) {
            let has_convolution = layer == 0 && self.config.convolution.is_some();
            self.layer_inference(has_convolution);
            self.convolution_forward(layer, false);
            if has_convolution {
                self.ledger.give(self.hidden);
            }
        }
    }

    /// The norm behind the last layer.
    pub(super) fn norm_output(&mut self) {
        if self.config.norms_output {
            self.ledger.take(self.hidden + self.statistics);
        }
    }

    /// The rows of relative positions that a batch needs, which stay.
    pub(super) fn positions_forward(&mut self) {
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

    /// The convolution beside the first layer, whose output it gets. What is left is its own, and what is kept.
    pub(super) fn convolution_forward(&mut self, layer: usize, keeps: bool) {
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
    pub(super) fn padded(&self, width: usize) -> usize {
        let rows = self.size.tokens + (self.size.sequences + 1) * (width / 2);
        stored(rows * self.config.hidden_size, self.dtype)
    }

    /// A packed weight, and the same in another order.
    pub(super) fn kernel(&self, width: usize) -> usize {
        let columns = self.config.hidden_size;
        right_factor_bytes(columns, width * columns, self.dtype) + stored(width * columns * columns, DType::F32)
    }

    /// What a projection keeps of the embeddings.
    pub(super) fn projected(&self) -> usize {
        if self.converted() > 0 {
            self.converted()
        } else {
            self.embedded
        }
    }

    /// What is left are the hidden states and what is kept: what the norm was given, and the input of a projection. Returns the
    /// size of the latter.
    pub(super) fn embeddings_forward(&mut self) -> usize {
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

    /// What is left is kept.
    pub(super) fn layer_forward(&mut self, layer: usize) {
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
    pub(super) fn attention_forward(&mut self) {
        self.linear_forward(self.query_key_value());
        if self.config.norms_queries_and_keys {
            self.ledger.take(self.qkv + self.head_statistics);
        }
        self.attention(false);
        self.linear_forward(self.attention_output());
    }

    /// To the output of a decoder's second attention.
    pub(super) fn cross_attention_forward(&mut self) {
        self.linear_forward(self.cross_product(1));
        self.linear_forward(self.cross_product(2));
        self.ledger.take(self.qkv);
        let apart = stored(2 * self.size.tokens * self.config.hidden_size, self.dtype);
        self.ledger.give(self.hidden + apart);
        self.attention(false);
        self.linear_forward(self.attention_output());
    }

    /// Whether the inner values are activated and dropped out by themselves.
    pub(super) fn drops_inner(&self) -> bool {
        !self.config.is_gated && self.config.inner_dropout > 0.0
    }

    /// To the output of the feed-forward half.
    pub(super) fn feed_forward_forward(&mut self) {
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
    pub(super) fn post_norm_forward(&mut self) {
        self.ledger.take(2 * self.hidden + self.statistics / 2);
        self.ledger.give(self.hidden);
    }

    /// Forward: the context and the logarithms of the softmax's denominators, which stay, and with relative positions what is
    /// made of those. Backward: the gradient of queries, keys and values.
    pub(super) fn attention(&mut self, backward: bool) {
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

    /// One layer that keeps nothing, at most its input. All layers but one without a norm take the same.
    pub(super) fn layer_inference(&mut self, keeps_input: bool) {
        self.records = false;
        self.layer_unrecorded(keeps_input);
        self.records = true;
    }

    pub(super) fn layer_unrecorded(&mut self, keeps_input: bool) {
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

    /// What attention made of positions, once it is not kept.
    pub(super) fn give_projected_positions(&mut self) {
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
