//! What is known of a sweep while it goes on, in files that a kill leaves whole: `sweep.json` and a directory for each trial.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use toml::Value;

use super::{Plan, SweepError};
use crate::files::{WriteError, create_directory, write_atomically};
use crate::metrics::Metrics;

/// Where a sweep stands.
pub const STATE_FILE: &str = "sweep.json";

/// What a process holds that works on a sweep.
const LOCK_FILE: &str = "sweep.lock";

/// What a model consists of, and what is not needed where its weights are gone.
const MODEL_FILES: [&str; 9] = [
    "model.safetensors",
    "adapter_model.safetensors",
    "adapter_config.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "README.md",
];

/// A sweep that goes on, or is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The version that wrote it.
    pub gareum: String,
    /// What makes it this sweep and no other.
    pub plan: Json,
    /// The metric that trials are compared by.
    pub monitor: String,
    /// Bytes that a trial may take; the same for all, so that they are cut up alike.
    pub trial_memory_bytes: Option<u64>,
    /// The trials.
    pub trials: Vec<TrialRecord>,
}

/// What is known of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Its number, from 1.
    pub trial: usize,
    /// What is special about it.
    pub parameters: Map<String, Json>,
    /// How far it is.
    pub state: TrialState,
    /// Epochs it was trained for.
    pub epochs: f64,
    /// The best value of the monitored metric.
    pub value: Option<f64>,
    /// All metrics of that evaluation, on the validation rows.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The monitored metric by epochs.
    pub curve: Vec<(f64, Option<f64>)>,
    /// How long it took in all.
    pub seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// Not trained to the end of its first turn.
    Waiting,
    /// Waits for its next turn.
    Paused,
    /// Others were better.
    Out,
    /// Trained to the end.
    Done,
    /// Could not be trained.
    Failed,
}

impl TrialState {
    /// Whether nothing more is to be done.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Out | Self::Done | Self::Failed)
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Out => "out",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl TrialRecord {
    /// One that has not begun.
    pub fn new(number: usize, values: &[(String, Value)]) -> Self {
        Self {
            trial: number,
            parameters: values.iter().map(|(key, value)| (key.clone(), json!(value))).collect(),
            state: TrialState::Waiting,
            epochs: 0.0,
            value: None,
            metrics: BTreeMap::new(),
            curve: Vec::new(),
            seconds: 0.0,
            error: None,
        }
    }

    /// The best value of its first epochs.
    pub fn best_until(&self, epochs: f64, larger_is_better: bool) -> Option<f64> {
        let reached = self.curve.iter().filter(|(epoch, _)| *epoch <= epochs + 1e-9);
        reached
            .filter_map(|(_, value)| *value)
            .reduce(|best, value| match larger_is_better {
                true => best.max(value),
                false => best.min(value),
            })
    }

    /// Takes over what its log says.
    ///
    /// # Errors
    /// [`SweepError::Read`] if there is no log that can be read.
    pub fn follow(&mut self, directory: &Path, monitor: &str) -> Result<(), SweepError> {
        let path = directory.join("log.jsonl");
        let failed = |reason: String| SweepError::Read {
            path: path.clone(),
            reason,
        };
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let key = format!("eval_{monitor}");
        let larger_is_better = Metrics::larger_is_better(monitor);
        self.curve.clear();
        self.metrics.clear();
        (self.value, self.epochs) = (None, 0.0);
        for line in text.lines() {
            let entry: Map<String, Json> = serde_json::from_str(line).map_err(|error| failed(error.to_string()))?;
            let epoch = entry.get("epoch").and_then(Json::as_f64).unwrap_or(0.0);
            self.epochs = self.epochs.max(epoch);
            let Some(value) = entry.get(&key) else { continue };
            let value = value.as_f64();
            self.curve.push((epoch, value));
            let is_better = |value: f64| {
                self.value.is_none_or(|best| match larger_is_better {
                    true => value > best,
                    false => value < best,
                })
            };
            if value.is_some_and(is_better) {
                self.value = value;
                let measured = entry.iter().filter_map(|(key, value)| {
                    let name = key.strip_prefix("eval_")?;
                    let is_metric = name != "runtime" && name != "samples_per_second";
                    is_metric.then(|| (name.to_owned(), value.as_f64()))
                });
                self.metrics = measured.collect();
            }
        }
        Ok(())
    }
}

impl Sweep {
    /// A sweep in which nothing is done.
    pub fn new(plan: &Plan, identity: Json) -> Self {
        let trials = plan
            .trials
            .iter()
            .map(|trial| TrialRecord::new(trial.number, &trial.values));
        Self {
            gareum: env!("CARGO_PKG_VERSION").to_owned(),
            plan: identity,
            monitor: plan.monitor.clone(),
            trial_memory_bytes: None,
            trials: trials.collect(),
        }
    }

    /// Begins in a directory.
    ///
    /// # Errors
    /// [`SweepError::Exists`] if another one began there.
    pub fn begin(directory: &Path, plan: &Plan, identity: Json) -> Result<Self, SweepError> {
        if directory.join(STATE_FILE).exists() {
            return Err(SweepError::Exists {
                path: directory.to_owned(),
            });
        }
        Ok(Self::new(plan, identity))
    }

    /// Reads where a sweep stands, if it is the same one.
    ///
    /// # Errors
    /// [`SweepError::Different`] names what differs.
    pub fn resume(directory: &Path, plan: &Plan, identity: &Json) -> Result<Self, SweepError> {
        let path = directory.join(STATE_FILE);
        let failed = |reason: String| SweepError::Read {
            path: path.clone(),
            reason,
        };
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SweepError::Absent {
                path: directory.to_owned(),
            },
            _ => failed(error.to_string()),
        })?;
        let sweep: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let differences = differences(identity, &sweep.plan);
        let fresh = Self::new(plan, Json::Null);
        let mut parameters = sweep.trials.iter().zip(&fresh.trials);
        let is_same = sweep.trials.len() == fresh.trials.len()
            && parameters.all(|(saved, fresh)| saved.parameters == fresh.parameters);
        match (differences.is_empty(), is_same) {
            (true, true) => Ok(sweep),
            (true, false) => Err(failed("its trials are not those of its parameters".to_owned())),
            (false, _) => Err(SweepError::Different {
                path: directory.to_owned(),
                differences,
            }),
        }
    }

    /// Writes where it stands.
    ///
    /// # Errors
    /// [`WriteError`] if the disk does not take it.
    pub fn save(&self, directory: &Path) -> Result<(), WriteError> {
        let path = directory.join(STATE_FILE);
        let text = serde_json::to_string_pretty(self).map_err(|error| WriteError {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        write_atomically(&path, (text + "\n").as_bytes())
    }

    /// Whether the monitored metric is better when larger.
    pub fn larger_is_better(&self) -> bool {
        Metrics::larger_is_better(&self.monitor)
    }

    /// The directory of a trial.
    pub fn trial_directory(directory: &Path, trial: usize) -> PathBuf {
        directory.join("trials").join(format!("{trial:03}"))
    }

    /// Whether a directory holds the result of a run: the model is the last thing that one writes.
    pub fn is_trained(trial_directory: &Path) -> bool {
        MODEL_FILES[..2].iter().any(|file| trial_directory.join(file).exists())
            && trial_directory.join("metrics.json").exists()
    }

    /// Whether a directory holds a checkpoint to go on from.
    pub fn has_checkpoint(trial_directory: &Path) -> bool {
        checkpoints(trial_directory)
            .iter()
            .any(|checkpoint| checkpoint.join("optimizer.safetensors").exists())
    }

    /// Removes checkpoints, and the model unless it is to be kept; logs and figures stay.
    ///
    /// # Errors
    /// [`WriteError`] if the system does not let go of them.
    pub fn clear(trial_directory: &Path, keep_model: bool) -> Result<(), WriteError> {
        let is_absent = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
        for checkpoint in checkpoints(trial_directory) {
            fs::remove_dir_all(&checkpoint).map_err(|error| WriteError::new(&checkpoint, &error))?;
        }
        for file in MODEL_FILES.iter().filter(|_| !keep_model) {
            let path = trial_directory.join(file);
            fs::remove_file(&path)
                .or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
                .map_err(|error| WriteError::new(&path, &error))?;
        }
        Ok(())
    }
}

/// The `checkpoint-N` directories of a trial, those that were never finished too.
fn checkpoints(trial_directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(trial_directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("checkpoint-"))
        .map(|entry| entry.path())
        .collect()
}

/// What differs between a plan and the one of a sweep that was begun, in words.
fn differences(now: &Json, before: &Json) -> Vec<String> {
    let empty = Map::new();
    let [now, before] = [now, before].map(|plan| plan.as_object().unwrap_or(&empty));
    let mut keys: Vec<&String> = now
        .keys()
        .chain(before.keys().filter(|key| !now.contains_key(*key)))
        .collect();
    keys.retain(|key| now.get(*key) != before.get(*key));
    let shown = |value: Option<&Json>| value.map_or("absent".to_owned(), Json::to_string);
    keys.into_iter()
        .map(|key| {
            format!(
                "{key} is {} now and was {}",
                shown(now.get(key)),
                shown(before.get(key))
            )
        })
        .collect()
}

/// The right to work on a sweep, which ends with the process.
#[derive(Debug)]
pub struct Lock {
    /// Held open.
    _file: File,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// [`SweepError::Locked`] if another process has it.
    pub fn take(directory: &Path) -> Result<Self, SweepError> {
        create_directory(directory)?;
        let path = directory.join(LOCK_FILE);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| WriteError::new(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(SweepError::Locked {
                path: directory.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(WriteError::new(&path, &error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Task;
    use crate::settings::{Parameters, Settings};

    fn plan(parameter: &str, rate: &str) -> Plan {
        let overrides = [
            Parameters::parse(parameter).unwrap(),
            Settings::parse_assignment(&format!("train.learning_rate={rate}")).unwrap(),
        ];
        let mut plan = Plan::new(&Settings::load(None, &overrides).unwrap()).unwrap();
        plan.choose_monitor(Task::SingleLabel).unwrap();
        plan
    }

    #[test]
    fn a_sweep_is_taken_up_only_if_it_is_the_same() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path();
        let first = plan("train.batch_size=8,16", "1e-5");
        let identity = |plan: &Plan| plan.identity(directory, "abc");
        let absent = Sweep::resume(directory, &first, &identity(&first))
            .unwrap_err()
            .to_string();
        assert!(absent.contains("there is no sweep to go on with"), "{absent}");
        let mut sweep = Sweep::begin(directory, &first, identity(&first)).unwrap();
        sweep.trials[1].state = TrialState::Failed;
        sweep.trials[1].error = Some("no".to_owned());
        sweep.trials[0].curve = vec![(1.0, Some(0.1 + 0.2)), (2.0, None)];
        sweep.save(directory).unwrap();
        assert_eq!(Sweep::resume(directory, &first, &identity(&first)).unwrap(), sweep);
        let exists = Sweep::begin(directory, &first, identity(&first))
            .unwrap_err()
            .to_string();
        assert!(
            exists.contains("there is a sweep already\nhint: go on with it with --resume"),
            "{exists}"
        );
        let other = plan("train.batch_size=8,32", "2e-5");
        let different = Sweep::resume(directory, &other, &other.identity(directory, "def"))
            .unwrap_err()
            .to_string();
        for expected in [
            "train.learning_rate is 0.00002 now and was 0.00001",
            "sweep.parameters.train.batch_size is [8,32] now and was [8,16]",
            "the fingerprint of the data is \"def\" now and was \"abc\"",
        ] {
            assert!(different.contains(expected), "{expected}: {different}");
        }
        // What a process may take changes no result.
        let memory = ("train.memory".to_owned(), Value::String("9GiB".to_owned()));
        let mut roomy = first.clone();
        roomy.settings = roomy.settings.with(&[memory]).unwrap();
        assert_eq!(identity(&roomy), identity(&first));
    }

    #[test]
    fn only_one_process_works_on_a_sweep() {
        let root = tempfile::tempdir().unwrap();
        let lock = Lock::take(root.path()).unwrap();
        let error = Lock::take(root.path()).unwrap_err().to_string();
        assert!(error.contains("another sweep is running"), "{error}");
        drop(lock);
        Lock::take(root.path()).unwrap();
    }

    #[test]
    fn a_log_tells_curve_and_best() {
        let root = tempfile::tempdir().unwrap();
        let entries = [
            json!({"loss": 1.0, "epoch": 0.5, "step": 1}),
            json!({"eval_macro_f1": 0.5, "eval_loss": 0.9, "eval_runtime": 1.0, "epoch": 1.0, "step": 2}),
            json!({"eval_macro_f1": 0.7, "eval_loss": 0.8, "epoch": 2.0, "step": 4}),
            json!({"eval_macro_f1": 0.7, "eval_loss": 0.7, "epoch": 3.0, "step": 6}),
            json!({"eval_macro_f1": null, "eval_loss": 0.6, "epoch": 4.0, "step": 8}),
        ];
        let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        fs::write(root.path().join("log.jsonl"), text).unwrap();
        let mut record = TrialRecord::new(1, &[]);
        record.follow(root.path(), "macro_f1").unwrap();
        assert_eq!((record.value, record.epochs), (Some(0.7), 4.0));
        assert_eq!(
            record.metrics["loss"],
            Some(0.8),
            "the first of equals is the best, as in training"
        );
        assert!(!record.metrics.contains_key("runtime"));
        assert_eq!(record.best_until(1.0, true), Some(0.5));
        record.follow(root.path(), "loss").unwrap();
        assert_eq!((record.value, record.best_until(3.0, false)), (Some(0.6), Some(0.7)));
    }

    #[test]
    fn figures_stay_where_models_go() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for file in ["model.safetensors", "metrics.json", "log.jsonl", "gareum.toml"] {
            fs::write(path(file), "x").unwrap();
        }
        for name in ["checkpoint-3", "checkpoint-6.77.tmp", "runs"] {
            fs::create_dir(path(name)).unwrap();
        }
        assert!(Sweep::is_trained(root.path()) && !Sweep::has_checkpoint(root.path()));
        fs::write(path("checkpoint-3/optimizer.safetensors"), "x").unwrap();
        assert!(Sweep::has_checkpoint(root.path()));
        Sweep::clear(root.path(), true).unwrap();
        assert!(
            path("model.safetensors").exists()
                && !path("checkpoint-3").exists()
                && !path("checkpoint-6.77.tmp").exists()
        );
        Sweep::clear(root.path(), false).unwrap();
        Sweep::clear(root.path(), false).unwrap();
        let mut left: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["gareum.toml", "log.jsonl", "metrics.json", "runs"]);
    }
}
