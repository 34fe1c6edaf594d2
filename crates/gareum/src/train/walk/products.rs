//! Products of a layer: what they take, forward and back.

use tensor::DType;
use tensor::memory::{left_factor_bytes, product_bytes, right_factor_bytes};

use super::{Walk, partial_sums, stored};

/// A product with every token, by its columns.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub inputs: usize,
    pub outputs: usize,
    /// Columns of the widest of its weights, which are one below the other.
    pub part: usize,
    /// Whether its input is activated on the way.
    pub activates: bool,
    /// The sum of the ranks of what is added to it.
    pub ranks: usize,
}

impl Walk<'_> {
    /// The product of relative positions.
    pub(super) fn position_product(&self) -> Product {
        Product {
            inputs: self.config.hidden_size,
            outputs: self.positions[1] * self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
            ranks: self.trained.ranks.positions,
        }
    }

    pub(super) fn projection(&self) -> Product {
        Product {
            inputs: self.config.embedding_size,
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
            ranks: self.trained.ranks.projection,
        }
    }

    pub(super) fn query_key_value(&self) -> Product {
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

    pub(super) fn attention_output(&self) -> Product {
        Product {
            inputs: self.config.query_size(),
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: false,
            ranks: self.trained.ranks.attention_output,
        }
    }

    pub(super) fn first(&self) -> Product {
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

    pub(super) fn second(&self) -> Product {
        Product {
            inputs: self.config.intermediate_size,
            outputs: self.config.hidden_size,
            part: self.config.hidden_size,
            activates: !self.config.is_gated && !self.drops_inner(),
            ranks: self.trained.ranks.second,
        }
    }

    /// Queries of a decoder, or keys and values of the encoder.
    pub(super) fn cross_product(&self, parts: usize) -> Product {
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

    /// A product with every token: packed weights, perhaps the activated input, and the output, which stays.
    pub(super) fn linear_forward(&mut self, product: Product) {
        self.linear_of_rows(self.size.tokens, product);
    }

    /// As [`Self::linear_forward`] with so many rows.
    pub(super) fn linear_of_rows(&mut self, tokens: usize, product: Product) {
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
    pub(super) fn linear_backward(&mut self, rows: usize, product: Product, dtype: DType) {
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
    pub(super) fn weight_backward(&mut self, rows: usize, product: Product, dtype: DType) {
        let Product { inputs, part, .. } = product;
        let left = left_factor_bytes(part, rows, dtype) + product_bytes(part, inputs);
        let sums = stored(partial_sums(rows, part), DType::F32);
        self.ledger
            .borrow([right_factor_bytes(inputs, rows, dtype), left.max(sums)]);
        self.input_backward(rows, product, dtype);
    }

    pub(super) fn input_backward(&mut self, rows: usize, product: Product, dtype: DType) {
        let Product { inputs, outputs, .. } = product;
        self.ledger
            .borrow([right_factor_bytes(inputs, outputs, dtype), product_bytes(rows, inputs)]);
    }
}
