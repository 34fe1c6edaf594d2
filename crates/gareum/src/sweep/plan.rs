//! What a sweep is: its trials with their settings, all checked before the first one starts.

use std::path::Path;

use serde_json::{Map, Value as Json, json};
use tensor::random::{Sequence, combine};
use toml::Value;

use super::SweepError;
use super::halving::rungs;
use crate::data::Task;
use crate::metrics::Metrics;
use crate::report::shown_number;
use crate::settings::{Candidates, HalvingSettings, Range, RangeScale, SearchMethod, Settings, SweepSettings};

/// Trials of a random search, if nothing is said.
const TRIALS: usize = 20;

/// A grid may not have more.
const MOST_TRIALS: usize = 10_000;

/// Settings by which runs differ that are otherwise the same: their trials are put together.
const SEEDS: [&str; 2] = ["train.seed", "data.seed"];

/// Parts of settings that do not change what a trial comes to, or are given to each trial.
const NOT_COMPARED: [&str; 3] = ["train.memory", "sweep", "output"];

/// A sweep before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What all trials have in common.
    pub settings: Settings,
    /// How trials are chosen and compared.
    pub sweep: SweepSettings,
    /// How.
    pub method: SearchMethod,
    /// The metric that trials are compared by; as it is given until [`Self::choose_monitor`] is called.
    pub monitor: String,
    /// Epochs after which trials are compared; the last is the whole of a run.
    pub rungs: Vec<u64>,
    /// The trials, in the order in which they begin.
    pub trials: Vec<Trial>,
}

/// Settings to try out.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Counted from 1.
    pub number: usize,
    /// What is special about it, in the order of the parameters.
    pub values: Vec<(String, Value)>,
    /// All settings.
    pub settings: Settings,
}

impl Plan {
    /// Chooses the trials and checks their settings.
    ///
    /// # Errors
    /// [`SweepError`] if parameters are missing, cannot be varied or have values that settings cannot have.
    pub fn new(settings: &Settings) -> Result<Self, SweepError> {
        let mut settings = settings.clone();
        let sweep = settings.sweep.take().unwrap_or_default();
        check(&settings, &sweep)?;
        if let Some(monitor) = &sweep.monitor {
            settings.train.early_stopping.monitor = Some(monitor.clone());
        }
        if sweep.halving.is_some() && settings.train.save_total_limit == 0 {
            // What waits for its next turn waits in a checkpoint.
            settings.train.save_total_limit = 1;
        }
        let is_list = |candidates: &Candidates| matches!(candidates, Candidates::Values(_));
        let has_ranges = !sweep.parameters.0.values().all(is_list);
        let method = sweep.method.unwrap_or(match has_ranges || sweep.trials.is_some() {
            true => SearchMethod::Random,
            false => SearchMethod::Grid,
        });
        let chosen = match method {
            SearchMethod::Grid => grid(&sweep)?,
            SearchMethod::Random => random(&sweep),
        };
        let mut trials = Vec::with_capacity(chosen.len());
        for (number, values) in (1..).zip(chosen) {
            let checked = settings.with(&values);
            let settings = checked.map_err(|source| SweepError::Trial { trial: number, source })?;
            trials.push(Trial {
                number,
                values,
                settings,
            });
        }
        let rungs = match sweep.halving {
            None => vec![settings.train.epochs],
            Some(HalvingSettings { factor, first }) => rungs(first, factor, settings.train.epochs),
        };
        let monitor = settings.train.early_stopping.monitor.clone().unwrap_or_default();
        Ok(Self {
            settings,
            sweep,
            method,
            monitor,
            rungs,
            trials,
        })
    }

    /// Settles the metric to compare by: the one given, or the usual one of the task.
    ///
    /// # Errors
    /// [`SweepError::Monitor`] if the task has no such metric.
    pub fn choose_monitor(&mut self, task: Task) -> Result<(), SweepError> {
        if self.monitor.is_empty() {
            let usual = if task == Task::Regression { "loss" } else { "macro_f1" };
            self.monitor = usual.to_owned();
        }
        let known = Metrics::names(task);
        if known.contains(&self.monitor.as_str()) {
            return Ok(());
        }
        Err(SweepError::Monitor {
            found: self.monitor.clone(),
            known: known.join(", "),
        })
    }

    /// The names of the parameters, in order; seeds come last, so that runs that differ in nothing else follow each other.
    pub fn keys(&self) -> Vec<&str> {
        keys(&self.sweep)
    }

    /// Whether a parameter only repeats runs.
    pub fn is_seed(key: &str) -> bool {
        SEEDS.contains(&key)
    }

    /// Whether one trial's validation rows differ from another's, so that their figures do too.
    pub fn has_different_validation(&self) -> bool {
        let data = &self.settings.data;
        let splits = ["data.seed", "data.split", "data.stratify", "data.train", "data.group"];
        self.keys()
            .iter()
            .any(|key| *key == "data.validation" || data.validation.is_none() && splits.contains(key))
    }

    /// What makes this sweep this one and no other: settings, parameters, trials and a fingerprint of the data, as seen from its directory.
    pub fn identity(&self, directory: &Path, data: &str) -> Json {
        let seen = |settings: &Settings| {
            let seen = serde_json::to_value(settings.as_seen_from(directory)).unwrap_or_default();
            let mut flat = Map::new();
            flatten(&seen, "", &mut flat);
            flat.retain(|key, _| {
                let is_part = |part: &str| key == part || key.starts_with(&format!("{part}."));
                !NOT_COMPARED.iter().any(|part| is_part(part))
            });
            flat
        };
        let mut identity = seen(&self.settings);
        for (key, candidates) in &self.sweep.parameters.0 {
            let candidates = match candidates {
                Candidates::Values(values) => json!(values),
                Candidates::Range(range) => json!([range.min, range.max, range.scale, range.is_whole]),
            };
            identity.insert(format!("sweep.parameters.{key}"), candidates);
        }
        identity.insert("sweep.method".to_owned(), json!(self.method));
        identity.insert("sweep.trials".to_owned(), json!(self.trials.len()));
        if self.method == SearchMethod::Random {
            identity.insert("sweep.seed".to_owned(), json!(self.sweep.seed));
        }
        identity.insert("sweep.monitor".to_owned(), json!(self.monitor));
        identity.insert("sweep.halving".to_owned(), json!(self.sweep.halving));
        identity.insert("the fingerprint of the data".to_owned(), json!(data));
        Json::Object(identity)
    }
}

fn keys(sweep: &SweepSettings) -> Vec<&str> {
    let mut keys: Vec<&str> = sweep.parameters.0.keys().map(String::as_str).collect();
    keys.sort_by_key(|key| Plan::is_seed(key));
    keys
}

/// What cannot be varied, and what contradicts.
fn check(settings: &Settings, sweep: &SweepSettings) -> Result<(), SweepError> {
    let parameters = &sweep.parameters.0;
    if parameters.is_empty() {
        return Err(SweepError::NoParameters);
    }
    let monitored = settings.train.early_stopping.monitor.as_ref();
    if monitored.is_some_and(|own| sweep.monitor.as_ref().is_some_and(|monitor| monitor != own)) {
        let reason = "but train.early_stopping.monitor is another metric; trials are compared by the one that their weights are chosen by";
        return Err(SweepError::Contradiction {
            key: "sweep.monitor",
            reason,
        });
    }
    let by_epochs = "with sweep.halving trials get their epochs by turns";
    for key in parameters.keys() {
        let is_in = |part: &str| key == part || key.starts_with(&format!("{part}."));
        let reason = match key.as_str() {
            _ if is_in("sweep") => "this is about the sweep itself",
            _ if is_in("output") => "each trial has a directory of its own",
            "task" => "trials of different tasks cannot be compared",
            "train.memory" => "memory is divided among the trials that run at a time",
            "train.early_stopping.monitor" => "trials are compared by it, so it must be the same for all",
            "train.save_total_limit" | "train.save_steps" => "checkpoints change no result",
            "train.epochs" | "train.max_steps" | "train.eval_steps" if sweep.halving.is_some() => by_epochs,
            _ if Plan::is_seed(key) && sweep.halving.is_some() => {
                "with sweep.halving single seeds would drop out of what is to be averaged"
            }
            _ => continue,
        };
        return Err(SweepError::Parameter {
            key: key.clone(),
            reason,
        });
    }
    let grid_of_ranges = sweep.method == Some(SearchMethod::Grid);
    if let Some((key, _)) = parameters
        .iter()
        .find(|(_, candidates)| grid_of_ranges && matches!(candidates, Candidates::Range(_)))
    {
        return Err(SweepError::Parameter {
            key: key.clone(),
            reason: "a grid needs a list of values; a range is for --method random",
        });
    }
    if grid_of_ranges && sweep.trials.is_some() {
        return Err(SweepError::Contradiction {
            key: "sweep.trials",
            reason: "but a grid has as many trials as there are combinations",
        });
    }
    if let Some(halving) = sweep.halving {
        let contradiction = |key, reason| Err(SweepError::Contradiction { key, reason });
        if settings.train.max_steps.is_some() {
            return contradiction("train.max_steps", "but with sweep.halving runs are measured in epochs");
        }
        if settings.train.eval_steps.is_some() {
            return contradiction(
                "train.eval_steps",
                "but with sweep.halving trials are compared at the ends of epochs",
            );
        }
        if halving.first >= settings.train.epochs {
            return contradiction(
                "sweep.halving",
                "but its first turn has all the epochs already; raise train.epochs or lower sweep.halving.first",
            );
        }
    }
    Ok(())
}

/// Every combination; the last parameter changes fastest.
fn grid(sweep: &SweepSettings) -> Result<Vec<Vec<(String, Value)>>, SweepError> {
    let lists: Vec<(&str, &Vec<Value>)> = keys(sweep)
        .into_iter()
        .filter_map(|key| match &sweep.parameters.0[key] {
            Candidates::Values(values) => Some((key, values)),
            Candidates::Range(_) => None,
        })
        .collect();
    let count = lists.iter().map(|(_, values)| values.len() as f64).product::<f64>();
    if count > MOST_TRIALS as f64 {
        return Err(SweepError::TooMany {
            found: shown_number(count),
        });
    }
    let mut trials: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for (key, values) in lists {
        let with = |trial: Vec<(String, Value)>| {
            values.iter().map(move |value| {
                let mut trial = trial.clone();
                trial.push((key.to_owned(), value.clone()));
                trial
            })
        };
        trials = trials.into_iter().flat_map(with).collect();
    }
    Ok(distinct(trials))
}

/// Draws until there are enough trials, or nothing new comes any more. A draw is a function of (seed, draw, key), so a parameter more or less
/// leaves the values of the others.
fn random(sweep: &SweepSettings) -> Vec<Vec<(String, Value)>> {
    let wanted = sweep.trials.unwrap_or(TRIALS);
    let keys = keys(sweep);
    let mut trials: Vec<Vec<(String, Value)>> = Vec::new();
    for draw in 0..100 * wanted as u64 {
        if trials.len() == wanted {
            break;
        }
        let value = |key: &&str| {
            let purpose = key.bytes().fold(draw, |hash, byte| combine(hash, byte.into()));
            let mut numbers = Sequence::new(sweep.seed, purpose);
            let value = match &sweep.parameters.0[*key] {
                Candidates::Values(values) => values[numbers.below(values.len())].clone(),
                Candidates::Range(range) => drawn(range, numbers.uniform()),
            };
            ((*key).to_owned(), value)
        };
        let trial: Vec<_> = keys.iter().map(value).collect();
        if !trials.contains(&trial) {
            trials.push(trial);
        }
    }
    trials
}

/// The number at a place of a range, with no more digits than say something.
fn drawn(range: &Range, place: f64) -> Value {
    // Whole numbers at the ends are as likely as the others.
    let (min, max) = match range.is_whole {
        true => (range.min - 0.499, range.max + 0.499),
        false => (range.min, range.max),
    };
    let number = match range.scale {
        RangeScale::Linear => min + place * (max - min),
        RangeScale::Log => (min.ln() + place * (max.ln() - min.ln())).exp(),
    };
    let number = match range.is_whole {
        true => number.round(),
        false => format!("{number:.3e}").parse().unwrap_or(number),
    };
    range.value(number.clamp(range.min, range.max))
}

fn distinct(trials: Vec<Vec<(String, Value)>>) -> Vec<Vec<(String, Value)>> {
    let mut kept: Vec<Vec<(String, Value)>> = Vec::with_capacity(trials.len());
    for trial in trials {
        if !kept.contains(&trial) {
            kept.push(trial);
        }
    }
    kept
}

fn flatten(value: &Json, path: &str, into: &mut Map<String, Json>) {
    match value {
        Json::Object(inner) if !inner.is_empty() => {
            for (name, value) in inner {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                flatten(value, &path, into);
            }
        }
        value => {
            into.insert(path.to_owned(), value.clone());
        }
    }
}

/// A value of a parameter for people.
pub fn shown_value(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => {
                // Settings are to be copied: a plain minus, no commas.
                let shown = shown_number(float);
                match shown.replace('−', "-").parse::<f64>() {
                    Ok(parsed) if parsed == float => shown.replace('−', "-"),
                    _ if (1e-3..1e7).contains(&float.abs()) => float.to_string(),
                    _ => format!("{float:e}"),
                }
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Parameters;

    pub(super) fn plan(assignments: &[&str], parameters: &[&str]) -> Result<Plan, String> {
        let assigned = assignments.iter().map(|text| Settings::parse_assignment(text));
        let parameters = parameters.iter().map(|text| Parameters::parse(text));
        let overrides: Result<Vec<_>, _> = assigned.chain(parameters).collect();
        let settings = Settings::load(None, &overrides.unwrap()).map_err(|error| error.to_string())?;
        Plan::new(&settings).map_err(|error| error.to_string())
    }

    fn shown(plan: &Plan) -> Vec<String> {
        let trial = |trial: &Trial| {
            let values = trial.values.iter().map(|(_, value)| shown_value(&json!(value)));
            values.collect::<Vec<_>>().join(" ")
        };
        plan.trials.iter().map(trial).collect()
    }

    #[test]
    fn a_grid_has_every_combination_once_and_seeds_follow_each_other() {
        let plan = plan(
            &[],
            &[
                "train.seed=1,2",
                "train.weight_decay=0.0,0.1,0.1",
                "train.learning_rate=1e-5,3e-5",
            ],
        )
        .unwrap();
        assert_eq!(plan.keys(), ["train.learning_rate", "train.weight_decay", "train.seed"]);
        assert_eq!(
            shown(&plan),
            [
                "1e-5 0 1",
                "1e-5 0 2",
                "1e-5 0.1 1",
                "1e-5 0.1 2",
                "3e-5 0 1",
                "3e-5 0 2",
                "3e-5 0.1 1",
                "3e-5 0.1 2"
            ]
        );
        let third = &plan.trials[2].settings.train;
        assert_eq!((third.learning_rate, third.weight_decay, third.seed), (1e-5, 0.1, 1));
        assert_eq!((plan.method, plan.rungs.as_slice()), (SearchMethod::Grid, &[3][..]));
    }

    #[test]
    fn random_trials_are_a_function_of_the_seed() {
        let rate = "train.learning_rate={ min = 1e-5, max = 1e-3, scale = \"log\" }";
        let size = "train.batch_size={ min = 8, max = 11 }";
        let of = |seed: &str, parameters: &[&str]| shown(&plan(&["sweep.trials=40", seed], parameters).unwrap());
        let first = of("sweep.seed=1", &[rate, size]);
        assert_eq!(first, of("sweep.seed=1", &[rate, size]));
        assert_ne!(first, of("sweep.seed=2", &[rate, size]));
        let rates = of("sweep.seed=1", &[rate]);
        let alone = first.iter().map(|trial| trial.split(' ').nth(1).unwrap());
        assert_eq!(alone.collect::<Vec<_>>(), rates);
        let numbers: Vec<f64> = rates.iter().map(|rate| rate.parse().unwrap()).collect();
        assert!(numbers.iter().all(|rate| (1e-5..=1e-3).contains(rate)), "{numbers:?}");
        let below = numbers.iter().filter(|rate| **rate < 1e-4).count();
        assert!(
            (12..=28).contains(&below),
            "{below} of 40 in the lower half of the exponents"
        );
        let sizes: std::collections::BTreeSet<&str> =
            first.iter().map(|trial| trial.split(' ').next().unwrap()).collect();
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), ["10", "11", "8", "9"]);
        assert!(rates.iter().all(|rate| rate.len() <= 8), "{rates:?}");
    }

    #[test]
    fn what_is_drawn_is_drawn_once() {
        let plan = plan(
            &["sweep.method=random"],
            &["train.batch_size=8,16", "train.schedule=linear,cosine"],
        )
        .unwrap();
        assert_eq!(plan.trials.len(), 4);
    }

    #[test]
    fn the_settings_of_every_trial_are_checked() {
        for (assignments, parameters, expected) in [
            (&[][..], &[][..], "no parameter is given"),
            (
                &[],
                &["train.learning_rte=0.001"],
                "trial 1: train.learning_rte = 0.001: unknown field `learning_rte`",
            ),
            (
                &[],
                &["train.batch_size=8,16,many"],
                "trial 3: train.batch_size = \"many\": invalid type: string \"many\"",
            ),
            (
                &[],
                &["train.learning_rate=1e-5,-1.0"],
                "trial 2: train.learning_rate is -1, expected",
            ),
            (
                &[],
                &["output.dir=a,b"],
                "sweep.parameters.output.dir: each trial has a directory of its own",
            ),
            (
                &[],
                &["sweep.seed=1,2"],
                "sweep.parameters.sweep.seed: this is about the sweep itself",
            ),
            (
                &["sweep.method=grid"],
                &["train.weight_decay={ min = 0.0, max = 0.1 }"],
                "sweep.parameters.train.weight_decay: a grid needs a list of values",
            ),
            (
                &["sweep.method=grid", "sweep.trials=3"],
                &["train.seed=1,2"],
                "sweep.trials is given, but a grid has as many trials",
            ),
            (
                &["sweep.halving.factor=2", "train.epochs=1"],
                &["train.learning_rate=1e-5"],
                "sweep.halving is given, but its first turn has all the epochs already",
            ),
            (
                &["sweep.halving.factor=2", "train.eval_steps=5"],
                &["train.learning_rate=1e-5"],
                "train.eval_steps is given, but with sweep.halving",
            ),
            (
                &["sweep.halving.factor=2"],
                &["train.seed=1,2"],
                "single seeds would drop out",
            ),
            (
                &["sweep.halving.factor=1"],
                &["train.seed=1,2"],
                "sweep.halving.factor is 1, expected at least 2",
            ),
            (
                &["sweep.monitor=loss", "train.early_stopping.monitor=accuracy"],
                &["train.seed=1,2"],
                "sweep.monitor is given, but train.early_stopping.monitor is another metric",
            ),
            (
                &[],
                &[
                    "train.seed=[1,2,3,4,5,6,7,8,9,10]",
                    "train.epochs=[1,2,3,4,5,6,7,8,9,10]",
                    "train.batch_size=[1,2,3,4,5,6,7,8,9,10]",
                    "model.max_length=[11,12,13,14,15,16,17,18,19,20]",
                    "train.freeze_layers=[1,2]",
                ],
                "the grid has 20,000 trials",
            ),
        ] {
            let error = plan(assignments, parameters).unwrap_err();
            assert!(error.contains(expected), "{parameters:?}: {error}");
        }
    }

    #[test]
    fn the_monitor_is_that_of_all_trials() {
        let mut chosen = plan(&["sweep.monitor=loss"], &["train.seed=1,2"]).unwrap();
        chosen.choose_monitor(Task::SingleLabel).unwrap();
        let monitors = chosen
            .trials
            .iter()
            .map(|trial| &trial.settings.train.early_stopping.monitor);
        assert!(monitors.into_iter().all(|monitor| monitor.as_deref() == Some("loss")));
        let mut usual = plan(&[], &["train.seed=1,2"]).unwrap();
        usual.choose_monitor(Task::Regression).unwrap();
        assert_eq!(usual.monitor, "loss");
        let mut wrong = plan(&["sweep.monitor=f1"], &["train.seed=1,2"]).unwrap();
        let error = wrong.choose_monitor(Task::SingleLabel).unwrap_err().to_string();
        assert!(
            error.contains("sweep.monitor is `f1`, expected one of loss, accuracy, macro_f1"),
            "{error}"
        );
    }

    #[test]
    fn values_are_shown_as_they_are_written() {
        for (value, expected) in [
            (json!(1e-5), "1e-5"),
            (json!(0.25), "0.25"),
            (json!(0.12345), "0.12345"),
            (json!(12345), "12345"),
            (json!(2.371e-5), "2.371e-5"),
            (json!("linear"), "linear"),
            (json!(true), "true"),
            (json!([0.8, 0.2]), "[0.8,0.2]"),
        ] {
            assert_eq!(shown_value(&value), expected);
        }
    }
}
