//! What can be wrong with a tokenizer's files.

use std::path::PathBuf;

/// A tokenizer that cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The directory holds none of the files that a tokenizer can be made of.
    #[error(
        "{}: no tokenizer found\nhint: put tokenizer.json there, or vocab.txt, vocab.json with merges.txt, or a sentencepiece model (*.model)",
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
    /// A line of `merges.txt` is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Merge {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The files can be read in several ways.
    #[error(
        "{}: {file} is read differently by each family of models, and nothing says which this is\nhint: `model_type` in config.json or `tokenizer_class` in tokenizer_config.json says it",
        directory.display()
    )]
    Unnamed {
        /// The directory.
        directory: PathBuf,
        /// The file.
        file: String,
    },
    /// The tokenizer is of a class that is not known for such files.
    #[error(
        "{}: no way is known to read {file} as `{class}`\nhint: save it with `transformers`' tokenizer.save_pretrained, which writes a tokenizer.json, if it is a fast one",
        directory.display()
    )]
    Class {
        /// The directory.
        directory: PathBuf,
        /// The class.
        class: String,
        /// The file.
        file: String,
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
    /// Sequences have to end with a token that there is not.
    #[error(
        "the tokenizer cannot end its sequences, which this model needs: {reason}\nhint: `eos_token_id` in config.json, or the tokenizer, belongs to another model"
    )]
    EndOfSequence {
        /// What is missing.
        reason: String,
    },
    /// Tokens cannot be left out of it.
    #[error(
        "cannot leave tokens out of this tokenizer: {reason}\nhint: WordPiece, unigram and BPE models can be trimmed"
    )]
    Trim {
        /// What it is.
        reason: String,
    },
    /// A tokenizer could not be trained.
    #[error("cannot train a tokenizer: {reason}")]
    Train {
        /// What the trainer says.
        reason: String,
    },
}
