//! `checkpoint-N/`: everything a run needs to go on as if it had not stopped.
//!
//! A model directory (so that it can be used as it is), `optimizer.safetensors` (both moments of each parameter),
//! `trainer_state.json`, `gareum_state.json` (early stopping, the best metrics), and `best.safetensors`, the trained weights of the
//! best evaluation where they are not this checkpoint's own. Written under another name and renamed when complete.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tensor::optimizer::AdamW;
use tensor::random::combine;
use tensor::{ParameterId, Parameters, Tensor};

use super::{EarlyStopping, EncodedExample, Lessons, MemoryPlan, TrainError, TrainerState};
use crate::data::{LabelSchema, Target};
use crate::files::{WriteError, create_directory, sync_directory, write_atomically};
use crate::metrics::Metrics;
use crate::model::{LoadedWeights, Model, ModelError, Precision, save_tensors};
use crate::tokens::Tokenizer;

const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const STATE: &str = "trainer_state.json";
const OWN_STATE: &str = "gareum_state.json";

/// What a checkpoint holds.
pub(super) struct Checkpoint {
    pub parameters: Parameters,
    pub moments: Vec<(ParameterId, [Tensor; 2])>,
    pub state: TrainerState,
    pub stopping: EarlyStopping,
    pub best: Option<(Metrics, Parameters)>,
    /// Sum of losses and steps since the last log entry.
    pub logged: (f64, u64),
    /// How batches were cut up.
    pub memory: MemoryPlan,
}

#[derive(Serialize, Deserialize)]
struct OwnState {
    stopping: EarlyStopping,
    best: Option<Metrics>,
    logged: (f64, u64),
    #[serde(flatten)]
    memory: MemoryPlan,
    identity: Identity,
}

/// What a run must have in common with a checkpoint to go on from it: without any of these, the step number would point at
/// other rows or the head at other labels. Rates and lengths of the schedule may change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub labels: LabelSchema,
    pub examples: usize,
    /// A hash of all tokens and labels.
    pub data: String,
    pub batch_size: usize,
    pub seed: u64,
    #[serde(default)]
    pub precision: Precision,
    /// What of the model is trained, and how.
    #[serde(default = "everything")]
    pub trained: String,
    /// A hash of what a teacher says, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
}

/// What runs train that are not told otherwise.
fn everything() -> String {
    "everything".to_owned()
}

impl Identity {
    pub fn new(
        model: &Model,
        (examples, lessons): (&[EncodedExample], Option<&Lessons>),
        batch_size: usize,
        seed: u64,
    ) -> Self {
        let mut hash = 0;
        let mut add = |number: u64| hash = combine(hash, number);
        for example in examples {
            add(example.encoded.input_ids.len() as u64);
            example.encoded.input_ids.iter().for_each(|&id| add(id.into()));
            match &example.target {
                Target::Value(value) => add(value.to_bits().into()),
                target => target.ids().iter().for_each(|&id| add(id.into())),
            }
        }
        Self {
            labels: model.schema().clone(),
            examples: examples.len(),
            data: format!("{hash:016x}"),
            batch_size,
            seed,
            precision: model.precision,
            trained: model.trained(),
            teacher: lessons.map(Lessons::fingerprint),
        }
    }

    /// What differs from the run that wrote a checkpoint, in words; `None` if nothing does.
    fn difference(&self, saved: &Self) -> Option<String> {
        let differs = |what: &str, own: &dyn std::fmt::Display, saved: &dyn std::fmt::Display| {
            Some(format!(
                "{what} is {own} now and was {saved} when the checkpoint was written"
            ))
        };
        if self.labels != saved.labels {
            let list = |schema: &LabelSchema| format!("{} ({})", schema.names.join(", "), schema.task);
            return differs("the set of labels", &list(&self.labels), &list(&saved.labels));
        }
        match () {
            () if self.batch_size != saved.batch_size => {
                differs("train.batch_size", &self.batch_size, &saved.batch_size)
            }
            () if self.seed != saved.seed => differs("train.seed", &self.seed, &saved.seed),
            () if self.precision != saved.precision => {
                differs("train.precision", &self.precision.name(), &saved.precision.name())
            }
            () if self.trained != saved.trained => differs("the trained part", &self.trained, &saved.trained),
            () if self.examples != saved.examples => {
                differs("the number of training rows", &self.examples, &saved.examples)
            }
            () if self.data != saved.data => differs("the hash of the training rows", &self.data, &saved.data),
            () if self.teacher != saved.teacher => {
                let told = |teacher: &Option<String>| teacher.clone().unwrap_or_else(|| "none".to_owned());
                differs(
                    "the hash of the teacher's answers",
                    &told(&self.teacher),
                    &told(&saved.teacher),
                )
            }
            () => None,
        }
    }
}

/// The directory name of a step's checkpoint.
pub(super) fn name(step: u64) -> String {
    format!("checkpoint-{step}")
}

/// The checkpoints in a directory, oldest first: by the time they were written, because a directory may hold those of an
/// earlier run with more steps. One that is still being written has another name.
fn all(directory: &Path) -> Vec<PathBuf> {
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
    let written = |path: &Path| {
        fs::metadata(path.join(STATE))
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((written(&entry.path())?, step(&entry.path())?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// The checkpoint that was written last.
pub(super) fn latest(directory: &Path) -> Option<PathBuf> {
    all(directory).pop()
}

/// What a checkpoint is written from.
pub(super) struct Snapshot<'a> {
    pub model: &'a Model,
    pub tokenizer: &'a Tokenizer,
    pub max_length: usize,
    pub optimizer: &'a AdamW,
    pub state: &'a TrainerState,
    pub stopping: &'a EarlyStopping,
    pub best: Option<&'a (Metrics, Parameters)>,
    pub logged: (f64, u64),
    pub memory: MemoryPlan,
    pub identity: &'a Identity,
}

pub(super) fn write(path: &Path, snapshot: &Snapshot<'_>) -> Result<(), TrainError> {
    let Snapshot {
        model,
        optimizer,
        state,
        best,
        ..
    } = snapshot;
    let temporary = crate::files::temporary_name(path);
    let result = (|| {
        create_directory(&temporary)?;
        model.save(&temporary)?;
        snapshot.tokenizer.save(&temporary, snapshot.max_length)?;
        let moments = model
            .parameters
            .iter()
            .filter_map(|(id, name, _)| Some((name, optimizer.moments(id)?)));
        let tensors = moments
            .flat_map(|(name, [first, second])| [(format!("first.{name}"), first), (format!("second.{name}"), second)]);
        save_tensors(&temporary.join(OPTIMIZER), tensors)?;
        if let Some((_, parameters)) = best.filter(|_| state.best_global_step != Some(state.global_step)) {
            let trained = parameters.iter().filter(|(id, _, _)| parameters.is_trainable(*id));
            let tensors = trained.map(|(_, name, value)| (name.to_owned(), value));
            save_tensors(&temporary.join(BEST), tensors)?;
        }
        let own = OwnState {
            stopping: snapshot.stopping.clone(),
            best: best.map(|(metrics, _)| metrics.clone()),
            logged: snapshot.logged,
            memory: snapshot.memory,
            identity: snapshot.identity.clone(),
        };
        write_json(&temporary.join(OWN_STATE), &own)?;
        write_json(&temporary.join(STATE), state)?;
        sync_directory(&temporary)?;
        if path.exists() {
            remove(path)?;
        }
        fs::rename(&temporary, path).map_err(|error| WriteError::new(path, &error))?;
        sync_directory(path.parent().unwrap_or(path))?;
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

/// Removes a checkpoint: under another name first, so that a kill half-way leaves none that looks whole.
fn remove(path: &Path) -> Result<(), WriteError> {
    let doomed = path.with_extension(format!("{}.old.tmp", std::process::id()));
    fs::rename(path, &doomed)
        .and_then(|()| fs::remove_dir_all(&doomed))
        .map_err(|error| WriteError::new(path, &error))
}

/// Removes all but the `limit` checkpoints that were written last. Each holds the best weights so far, so that none of the removed ones is
/// missed.
pub(super) fn rotate(directory: &Path, limit: usize, newest: &Path) -> Result<(), TrainError> {
    let checkpoints = all(directory);
    let surplus = checkpoints.len().saturating_sub(limit.max(1));
    for path in checkpoints.iter().take(surplus).filter(|path| *path != newest) {
        remove(path)?;
    }
    Ok(())
}

pub(super) fn read(path: &Path, model: &Model, identity: &Identity) -> Result<Checkpoint, TrainError> {
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
    if let Some(reason) = identity.difference(&own.identity) {
        let hint = "resume with the data and settings of that run, or start again without --resume";
        return Err(TrainError::Resume {
            path: path.to_owned(),
            reason,
            hint,
        });
    }
    let parameters = model.read_saved(path)?;
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
        Some(metrics) => {
            let trainable = |id| model.parameters.is_trainable(id);
            let parameters = model.read_parameters(&path.join(BEST), trainable, str::to_owned)?;
            Some((metrics, parameters))
        }
    };
    Ok(Checkpoint {
        parameters,
        moments,
        state,
        stopping: own.stopping,
        best,
        logged: own.logged,
        memory: own.memory,
    })
}
