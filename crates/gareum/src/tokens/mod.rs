//! From texts to packed batches of token ids.

mod batch;
mod byte_level;
mod error;
mod folder;
mod pipeline;
mod sentencepiece;
mod settings;
mod tokenizer;
mod trim;
mod wordpiece;

pub use batch::{PackedBatch, micro_batches, shuffled_batches, token_budget_batches};
pub use error::TokenizerError;
pub use tokenizer::{Encoded, Located, TokenSpan, Tokenizer, Truncation, TruncationStrategy};
pub use trim::Trimmed;
