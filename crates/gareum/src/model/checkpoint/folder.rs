//! What a model directory holds: which file has the weights, and where the encoder is.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::model::ModelError;

/// Files of weights that are read, best first.
pub(crate) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Files of weights that are not read: the name, whose it is, and what makes `transformers` read it.
pub(crate) const FOREIGN: [(&str, &str, &str); 3] = [
    ("tf_model.h5", "TensorFlow", "from_tf"),
    ("model.ckpt.index", "TensorFlow", "from_tf"),
    ("flax_model.msgpack", "Flax", "from_flax"),
];

/// The file with the weights of a directory.
pub(super) fn weights_file(directory: &Path) -> Result<PathBuf, ModelError> {
    let is_there = |name: &&str| directory.join(name).exists();
    if let Some(name) = WEIGHTS.iter().find(|name| is_there(name)) {
        return Ok(directory.join(name));
    }
    match FOREIGN.iter().find(|(name, ..)| is_there(name)) {
        Some((name, owner, flag)) => Err(foreign(directory, name, owner, flag)),
        // Opening it says that it is not there.
        None => Ok(directory.join(WEIGHTS[0])),
    }
}

/// Refuses weights of another library, with the command that converts them.
fn foreign(directory: &Path, name: &str, owner: &str, flag: &str) -> ModelError {
    let config: Value = std::fs::read(directory.join("config.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    ModelError::Weights {
        path: directory.join(name),
        reason: format!("the only weights here are those of {owner}, which are not read"),
        hint: conversion(&directory.display().to_string(), &config, flag),
    }
}

/// The commands that make a PyTorch model of another library's.
pub(crate) fn conversion(model: &str, config: &Value, flag: &str) -> String {
    let is_classifier = config["architectures"]
        .to_string()
        .contains("ForSequenceClassification");
    let class = match is_classifier {
        true => "AutoModelForSequenceClassification",
        false => "AutoModel",
    };
    let libraries = match flag {
        "from_flax" => "flax",
        _ => "tensorflow tf-keras",
    };
    format!(
        "convert them; `transformers` cannot do that any more since version 5: `pip install \"transformers<5\" torch {libraries} && \
         python -c 'from transformers import {class} as M; M.from_pretrained(\"{model}\", {flag}=True).save_pretrained(\"{model}\")'`"
    )
}

/// Where the encoder of a model is, which may be a folder of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFolder {
    /// The directory with `config.json`, weights and tokenizer.
    pub directory: PathBuf,
    /// Whether it belongs to a model of sentence-transformers, whose other modules are of no use for classification.
    pub in_sentence_model: bool,
}

impl EncoderFolder {
    /// Looks into `modules.json`, if there is one.
    ///
    /// # Errors
    /// [`ModelError::Read`] if it is damaged or names no transformer.
    pub fn of(model: &Path) -> Result<Self, ModelError> {
        let path = model.join("modules.json");
        if !path.exists() {
            return Ok(Self {
                directory: model.to_owned(),
                in_sentence_model: false,
            });
        }
        let failed = |reason: String| ModelError::Read {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let folder = transformer_folder(&text).map_err(failed)?;
        Ok(Self {
            directory: if folder.is_empty() {
                model.to_owned()
            } else {
                model.join(folder)
            },
            in_sentence_model: true,
        })
    }
}

/// The folder of the first module that is a transformer; empty if that is the directory itself.
pub(crate) fn transformer_folder(modules: &str) -> Result<String, String> {
    let parsed: Value = serde_json::from_str(modules).map_err(|error| format!("not JSON: {error}"))?;
    let modules = parsed.as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = |module: &Value| module["type"].as_str().unwrap_or_default().to_owned();
    let Some(module) = modules.iter().find(|module| kind(module).ends_with(".Transformer")) else {
        if modules.is_empty() {
            return Err("it names no modules".to_owned());
        }
        let kinds: Vec<String> = modules.iter().map(|module| format!("`{}`", kind(module))).collect();
        return Err(format!("no module is a transformer, but {}", kinds.join(", ")));
    };
    let folder = module["path"].as_str().unwrap_or_default();
    let is_inside = Path::new(folder)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    match is_inside {
        true => Ok(folder.trim_end_matches('/').to_owned()),
        false => Err(format!("`{folder}` is not a folder of the model")),
    }
}
