//! Which files of a model repository are needed: what is read here, and nothing else of what repositories hold (other formats, pictures,
//! checkpoints of training).

use std::collections::BTreeSet;

use serde_json::Value;

use super::HubError;
use super::name::Repository;
use crate::model::{FOREIGN, WEIGHTS, conversion};

/// Small files that are read where they are there.
const SMALL: [&str; 14] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "modules.json",
    "sentence_bert_config.json",
    "gareum.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "README.md",
];

/// The small files of a folder of the repository (`""` is the whole).
pub(super) fn small<'a>(all: &'a [String], folder: &str) -> Vec<&'a str> {
    let is_needed = |file: &&'a str| {
        let name = within(file, folder);
        name.is_some_and(|name| SMALL.contains(&name) || (!name.contains('/') && name.ends_with(".model")))
    };
    all.iter().map(String::as_str).filter(is_needed).collect()
}

/// The file of weights, or the index of several.
pub(super) fn weights<'a>(
    repository: &Repository,
    all: &'a [String],
    folder: &str,
    config: &Value,
) -> Result<&'a str, HubError> {
    let find = |name: &str| {
        let is_it = |file: &&'a String| within(file, folder) == Some(name);
        all.iter().find(is_it).map(String::as_str)
    };
    if let Some(found) = WEIGHTS.iter().find_map(|name| find(name)) {
        return Ok(found);
    }
    let name = repository.id.clone();
    if let Some((_, owner, flag)) = FOREIGN.iter().find(|(name, ..)| find(name).is_some()) {
        return Err(HubError::Weights {
            reason: format!("the only weights there are those of {owner}, which are not read"),
            hint: conversion(&name, config, flag),
            name,
        });
    }
    let known: Vec<&String> = all.iter().filter(|file| !file.starts_with('.')).take(20).collect();
    Err(HubError::Weights {
        name,
        reason: format!("no weights among its files: {known:?}"),
        hint: format!("gareum reads {}", WEIGHTS.join(", ")),
    })
}

/// The files that an index names.
pub(super) fn parts_of(index: &str) -> BTreeSet<String> {
    let parsed: Value = serde_json::from_str(index).unwrap_or_default();
    let map = parsed["weight_map"].as_object();
    let parts = map.into_iter().flat_map(|map| map.values());
    parts.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn within<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    match folder {
        "" => Some(file),
        folder => file.strip_prefix(folder)?.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Kind;

    fn repository() -> Repository {
        Repository {
            kind: Kind::Model,
            id: "a/b".to_owned(),
            revision: "main".to_owned(),
        }
    }

    fn chosen(all: &[&str], folder: &str) -> String {
        let all: Vec<String> = all.iter().map(|file| (*file).to_owned()).collect();
        weights(&repository(), &all, folder, &Value::Null).map_or_else(|error| error.to_string(), str::to_owned)
    }

    #[test]
    fn safetensors_come_before_the_rest() {
        assert_eq!(
            chosen(&["pytorch_model.bin", "model.safetensors"], ""),
            "model.safetensors"
        );
        let parts = [
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
        ];
        assert_eq!(chosen(&parts, ""), "model.safetensors.index.json");
        assert_eq!(chosen(&["tf_model.h5", "pytorch_model.bin"], ""), "pytorch_model.bin");
        assert_eq!(
            chosen(&["0_Transformer/pytorch_model.bin"], "0_Transformer"),
            "0_Transformer/pytorch_model.bin"
        );
        assert!(chosen(&["onnx/model.safetensors", "README.md"], "").contains("no weights among its files"));
        assert!(chosen(&["tf_model.h5"], "").contains("from_tf=True"));
    }

    #[test]
    fn only_what_is_read() {
        let all = [
            "config.json",
            "vocab.txt",
            "spiece.model",
            "onnx/config.json",
            "logo.png",
            "training_args.bin",
        ];
        let all = all.map(str::to_owned);
        assert_eq!(small(&all, ""), ["config.json", "vocab.txt", "spiece.model"]);
        assert_eq!(small(&all, "onnx"), ["onnx/config.json"]);
    }
}
