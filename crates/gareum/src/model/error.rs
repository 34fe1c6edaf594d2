//! What can be wrong with a model directory.

use std::path::PathBuf;

use crate::files::WriteError;

/// A model that cannot be read, built or written. The message names the place, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file of the directory cannot be read.
    #[error("{}: {reason}\nhint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the format says.
        reason: String,
    },
    /// The weights cannot be read.
    #[error("{}: {reason}\nhint: {hint}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// `config.json` lacks a key or holds a value of the wrong kind.
    #[error("{path}: `{key}` is {found}, expected {expected}")]
    Config {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// What would have been understood.
        expected: String,
    },
    /// The architecture is not one of ours.
    #[error(
        "{path}: model_type `{found}` is not supported\nhint: supported are {supported}; convert the model or choose another base"
    )]
    Family {
        /// The file.
        path: String,
        /// The name found.
        found: String,
        /// The names known.
        supported: String,
    },
    /// Tensors that the encoder needs are not in the checkpoint.
    #[error("{}: {} missing: {}\nhint: {hint}", path.display(), count(names.len(), "tensor is", "tensors are"), shorten(names))]
    Missing {
        /// The weights file.
        path: PathBuf,
        /// The names.
        names: Vec<String>,
        /// What to do.
        hint: String,
    },
    /// `model.prefix_map` does not fit the names.
    #[error("{}: model.prefix_map does not fit: {reason}\nhint: each key is the beginning of names in the file, each value what the family has there", path.display())]
    PrefixMap {
        /// The weights file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The generator of an ELECTRA pair.
    #[error(
        "{}: this is the generator of an ELECTRA pair, which classifies worse than its discriminator\nhint: take the discriminator, often called the same but for `-discriminator`; `--allow-generator` trains the generator all the same",
        directory.display()
    )]
    Generator {
        /// The model directory.
        directory: PathBuf,
    },
    /// A tensor has another shape than `config.json` says.
    #[error("{}: `{name}` has shape {found:?}, expected {expected:?}\nhint: {hint}", path.display())]
    Shape {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
        /// What to do.
        hint: String,
    },
    /// The checkpoint was trained for other labels.
    #[error(
        "{}: the checkpoint classifies into {} ({}), the data into {} ({})\nhint: `--reset-head` trains a fresh head for the labels of the data",
        directory.display(), count(checkpoint.len(), "label", "labels"), shorten(checkpoint), count(data.len(), "label", "labels"), shorten(data)
    )]
    Labels {
        /// The model directory.
        directory: PathBuf,
        /// Its labels.
        checkpoint: Vec<String>,
        /// The labels of the data.
        data: Vec<String>,
    },
    /// The checkpoint is a bare encoder.
    #[error(
        "{}: the checkpoint has no classification head\nhint: train it first: gareum train --model {} --train DATA",
        directory.display(), directory.display()
    )]
    NoHead {
        /// The model directory.
        directory: PathBuf,
    },
    /// `model.layers` names layers that there are not.
    #[error("model.layers: {reason}\nhint: take fewer layers, or leave the setting out")]
    Layers {
        /// What is wrong.
        reason: String,
    },
    /// `lora.targets` names nothing.
    #[error(
        "lora.targets: no product of the model is called {found}\nhint: the names end in {}",
        shorten(known)
    )]
    LoraTargets {
        /// The setting.
        found: String,
        /// The last parts of all names.
        known: Vec<String>,
    },
    /// The model that an adapter belongs to is not there.
    #[error("{}: the adapter belongs to the model `{base}`, which is not there\nhint: name its directory: --base DIR", directory.display())]
    AdapterBase {
        /// The adapter.
        directory: PathBuf,
        /// What its config names.
        base: String,
    },
    /// An adapter of a kind that is not known.
    #[error("{}: `{key}` is {found}, expected {expected}\nhint: merge the adapter with `peft` (merge_and_unload) and save the model", path.display())]
    Adapter {
        /// Its config.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What would have been understood.
        expected: String,
    },
    /// An adapter where a model belongs.
    #[error("{}: this is an adapter, not a model\nhint: make a model of it: gareum merge --model {} --output DIR", directory.display(), directory.display())]
    IsAdapter {
        /// The adapter.
        directory: PathBuf,
    },
    /// An adapter changes what several share.
    #[error("{}: the adapter has biases of its own, so it cannot share a base with others\nhint: load it alone, or make a model of it with `gareum merge`", path.display())]
    AdapterBiases {
        /// The weights file.
        path: PathBuf,
    },
    /// An adapter has tensors that do not belong to the model.
    #[error("{}: {} of another model: {}\nhint: name the model that the adapter was trained on: --base DIR", path.display(), count(names.len(), "tensor is", "tensors are"), shorten(names))]
    Unused {
        /// The weights file.
        path: PathBuf,
        /// The names.
        names: Vec<String>,
    },
    /// A file cannot be written.
    #[error("{}: cannot write: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] tensor::Error),
}

impl From<WriteError> for ModelError {
    fn from(error: WriteError) -> Self {
        Self::Write {
            path: error.path,
            reason: error.reason,
        }
    }
}

fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The first few names, and how many more there are.
fn shorten(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(20)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > 20 {
        format!("{shown} and {} more", names.len() - 20)
    } else {
        shown
    }
}
