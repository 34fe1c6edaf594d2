//! From texts to packed batches of token ids.

mod batch;
mod error;
mod tokenizer;
mod wordpiece;

pub use batch::{PackedBatch, micro_batches, shuffled_batches, token_budget_batches};
pub use error::TokenizerError;
pub use tokenizer::{Encoded, Tokenizer, Truncation, TruncationStrategy};
