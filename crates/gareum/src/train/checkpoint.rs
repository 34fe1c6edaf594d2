//! `checkpoint-N/`: everything a run needs to go on as if it had not stopped.
//!
//! A model directory (so that it can be used as it is), `optimizer.safetensors` (both moments of each parameter),
//! `trainer_state.json`, `gareum_state.json` (early stopping, the best metrics), and `best.safetensors`, the weights of the
//! best evaluation where they are not this checkpoint's own. Written under another name and renamed when complete.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tensor::optimizer::AdamW;
use tensor::{ParameterId, Parameters, Tensor};

use super::{EarlyStopping, TrainError, TrainerState};
use crate::files::{WriteError, create_directory, write_atomically};
use crate::metrics::Metrics;
use crate::model::{LoadedWeights, Model, ModelError, save_tensors};
use crate::tokens::Tokenizer;

const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const STATE: &str = "trainer_state.json";
const OWN_STATE: &str = "gareum_state.json";
const WEIGHTS: &str = "model.safetensors";

/// What a checkpoint holds.
pub(super) struct Checkpoint {
    pub parameters: Parameters,
    pub moments: Vec<(ParameterId, [Tensor; 2])>,
    pub state: TrainerState,
    pub stopping: EarlyStopping,
    pub best: Option<(Metrics, Parameters)>,
}

#[derive(Serialize, Deserialize)]
struct OwnState {
    stopping: EarlyStopping,
    best: Option<Metrics>,
}

/// The directory name of a step's checkpoint.
pub(super) fn name(step: u64) -> String {
    format!("checkpoint-{step}")
}

/// The checkpoints in a directory, earliest first. A directory that is still being written has another name.
fn all(directory: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let step = |path: &Path| {
        path.file_name()?
            .to_str()?
            .strip_prefix("checkpoint-")?
            .parse::<u64>()
            .ok()
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((step(&entry.path())?, entry.path())))
        .collect();
    found.sort();
    found
}

/// The checkpoint with the most steps in a directory.
pub(super) fn latest(directory: &Path) -> Option<PathBuf> {
    all(directory).pop().map(|(_, path)| path)
}

pub(super) fn write(
    path: &Path,
    model: &Model,
    (tokenizer, max_length): (&Tokenizer, usize),
    optimizer: &AdamW,
    (state, stopping): (&TrainerState, &EarlyStopping),
    best: Option<(&Metrics, &Parameters)>,
) -> Result<(), TrainError> {
    let temporary = crate::files::temporary_name(path);
    let result = (|| {
        create_directory(&temporary)?;
        model.save(&temporary)?;
        tokenizer.save(&temporary, max_length)?;
        let moments = model
            .parameters
            .iter()
            .filter_map(|(id, name, _)| Some((name, optimizer.moments(id)?)));
        let tensors = moments
            .flat_map(|(name, [first, second])| [(format!("first.{name}"), first), (format!("second.{name}"), second)]);
        save_tensors(&temporary.join(OPTIMIZER), tensors)?;
        if let Some((_, parameters)) = best.filter(|_| state.best_global_step != Some(state.global_step)) {
            let tensors = parameters.iter().map(|(_, name, value)| (name.to_owned(), value));
            save_tensors(&temporary.join(BEST), tensors)?;
        }
        let own = OwnState {
            stopping: stopping.clone(),
            best: best.map(|(metrics, _)| metrics.clone()),
        };
        write_json(&temporary.join(OWN_STATE), &own)?;
        write_json(&temporary.join(STATE), state)?;
        if path.exists() {
            remove(path)?;
        }
        fs::rename(&temporary, path).map_err(|error| WriteError::new(path, &error))?;
        Ok(())
    })();
    if result.is_err() {
        // The first error is the one to report; what cannot be removed either is left for the user to see.
        let _ = fs::remove_dir_all(&temporary);
    }
    result
}

/// Writes a value as JSON for people to read.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), WriteError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| WriteError {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    write_atomically(path, (text + "\n").as_bytes())
}

fn remove(path: &Path) -> Result<(), WriteError> {
    fs::remove_dir_all(path).map_err(|error| WriteError::new(path, &error))
}

/// Removes all but the last `limit` checkpoints. Each holds the best weights so far, so that none of the removed ones is
/// missed.
pub(super) fn rotate(directory: &Path, limit: usize, newest: &Path) -> Result<(), TrainError> {
    let checkpoints = all(directory);
    let surplus = checkpoints.len().saturating_sub(limit.max(1));
    for (_, path) in checkpoints.iter().take(surplus).filter(|(_, path)| path != newest) {
        remove(path)?;
    }
    Ok(())
}

pub(super) fn read(path: &Path, model: &Model) -> Result<Checkpoint, TrainError> {
    let hint = "name another checkpoint, or start again without --resume";
    let failed = |file: &str, reason: String| TrainError::Resume {
        path: path.join(file),
        reason,
        hint,
    };
    fn parse<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<T, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }
    let state: TrainerState = parse(path.join(STATE)).map_err(|reason| failed(STATE, reason))?;
    let own: OwnState = parse(path.join(OWN_STATE)).map_err(|reason| failed(OWN_STATE, reason))?;
    let parameters = read_parameters(&path.join(WEIGHTS), model)?;
    let moments = LoadedWeights::open(path.join(OPTIMIZER))?;
    let moments = model
        .parameters
        .iter()
        .filter(|(_, name, _)| moments.contains(&format!("first.{name}")))
        .map(|(id, name, _)| {
            Ok((
                id,
                [
                    moments.get(&format!("first.{name}"))?,
                    moments.get(&format!("second.{name}"))?,
                ],
            ))
        })
        .collect::<Result<_, ModelError>>()?;
    let best = match own.best {
        None => None,
        Some(metrics) if state.best_global_step == Some(state.global_step) => Some((metrics, parameters.clone())),
        Some(metrics) => Some((metrics, read_parameters(&path.join(BEST), model)?)),
    };
    Ok(Checkpoint {
        parameters,
        moments,
        state,
        stopping: own.stopping,
        best,
    })
}

/// Reads the tensors of a model that has the same shapes.
fn read_parameters(path: &Path, model: &Model) -> Result<Parameters, ModelError> {
    let weights = LoadedWeights::open(path.to_owned())?;
    let mut parameters = Parameters::default();
    for (_, name, value) in model.parameters.iter() {
        let stored = weights.get(name)?;
        if stored.shape() != value.shape() {
            let (found, expected) = (stored.shape().to_vec(), value.shape().to_vec());
            let hint = "the checkpoint belongs to another model or other labels".to_owned();
            return Err(ModelError::Shape {
                path: path.to_owned(),
                name: name.to_owned(),
                found,
                expected,
                hint,
            });
        }
        parameters.add(name, stored);
    }
    Ok(parameters)
}
