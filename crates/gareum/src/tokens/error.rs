//! What can be wrong with a tokenizer's files.

use std::path::PathBuf;

/// A tokenizer that cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The directory holds none of the files that a tokenizer can be made of.
    #[error(
        "{}: no tokenizer found\nhint: put tokenizer.json or vocab.txt there; `transformers`' tokenizer.save_pretrained writes the former",
        directory.display()
    )]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// A file is damaged.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The vocabulary lacks a token that every text needs.
    #[error("{}: the vocabulary has no `{token}`\nhint: name the special tokens in tokenizer_config.json", path.display())]
    SpecialToken {
        /// The vocabulary.
        path: PathBuf,
        /// The token.
        token: String,
    },
    /// A text could not be tokenized.
    #[error("cannot tokenize a text of {characters} characters: {reason}")]
    Encode {
        /// Its length.
        characters: usize,
        /// What the tokenizer says.
        reason: String,
    },
    /// The tokenizer makes ids that the model has no embedding for.
    #[error(
        "the tokenizer has {tokenizer} tokens, the model embeds {model}\nhint: tokenizer and weights belong to different checkpoints"
    )]
    VocabularySize {
        /// One more than the largest id.
        tokenizer: usize,
        /// Rows of the word embedding.
        model: usize,
    },
    /// A tokenizer could not be trained.
    #[error("cannot train a tokenizer: {reason}")]
    Train {
        /// What the trainer says.
        reason: String,
    },
}
