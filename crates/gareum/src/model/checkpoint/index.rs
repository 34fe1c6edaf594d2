//! `*.index.json`: which of several files holds which tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stored::Stored;
use crate::model::ModelError;

/// The tensors of all files that an index names.
pub(super) fn tensors(index: &Path) -> Result<Vec<(String, Stored)>, ModelError> {
    let text = std::fs::read_to_string(index).map_err(|error| ModelError::Read {
        path: index.to_owned(),
        reason: error.to_string(),
    })?;
    let mut tensors = Vec::new();
    for (shard, names) in shards(index, &text)? {
        if !shard.exists() {
            return Err(refused(
                index,
                format!(
                    "the part `{}` is missing",
                    shard.file_name().unwrap_or_default().display()
                ),
                "copy or download all parts",
            ));
        }
        let mut held: BTreeMap<String, Stored> = super::tensors_of_file(&shard)?.into_iter().collect();
        for name in names {
            let Some(stored) = held.remove(&name) else {
                let shard = shard.file_name().unwrap_or_default().display();
                return Err(refused(
                    index,
                    format!("`{name}` is not in `{shard}`, where it should be"),
                    "the index and the parts belong to different checkpoints; copy or download all of them again",
                ));
            };
            tensors.push((name, stored));
        }
    }
    Ok(tensors)
}

/// The files beside an index, each with its tensors.
fn shards(index: &Path, text: &str) -> Result<BTreeMap<PathBuf, Vec<String>>, ModelError> {
    let damaged = |reason: String| refused(index, reason, "copy or download the file again");
    let parsed: Value = serde_json::from_str(text).map_err(|error| damaged(format!("not JSON: {error}")))?;
    let map = parsed
        .get("weight_map")
        .and_then(Value::as_object)
        .filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| damaged("there is no `weight_map` with names of tensors and files".to_owned()))?;
    let mut shards: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (name, shard) in map {
        let is_beside = |shard: &&str| {
            let mut parts = Path::new(shard).components();
            matches!(parts.next(), Some(std::path::Component::Normal(_))) && parts.next().is_none()
        };
        let Some(shard) = shard.as_str().filter(is_beside) else {
            return Err(damaged(format!(
                "`weight_map` names {shard} for `{name}`, and that is no file beside it"
            )));
        };
        shards
            .entry(index.with_file_name(shard))
            .or_default()
            .push(name.clone());
    }
    Ok(shards)
}

fn refused(index: &Path, reason: String, hint: &str) -> ModelError {
    ModelError::Weights {
        path: index.to_owned(),
        reason,
        hint: hint.to_owned(),
    }
}
