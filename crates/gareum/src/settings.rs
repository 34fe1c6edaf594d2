//! `gareum.toml`: one struct a concern, unknown keys refused, defaults written down. Flags and `--set` change the same
//! values; what results is saved with the model.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::{
    CleanOptions, ColumnRequest, ConflictPolicy, NormalizeStep, ReadOptions, SplitOptions, Task, encoding_of,
};
use crate::tokens::{Truncation, TruncationStrategy};
use crate::train::Schedule;

/// Everything a run depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `single_label`, `multi_label` or `regression`; inferred from the labels when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// What is trained.
    pub model: ModelSettings,
    /// What it is trained on.
    pub data: DataSettings,
    /// How.
    pub train: TrainSettings,
    /// Where the result goes.
    pub output: OutputSettings,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// Directory of the checkpoint to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Longest input in tokens, special ones included. Default 128: most short texts fit, and the cost grows with it.
    pub max_length: usize,
    /// Which part of a longer text is kept. Default `head`.
    pub truncation: TruncationStrategy,
    /// Dropout rate of the head. Default: what `config.json` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f64>,
    /// Replace a head that was trained for other labels. Default false.
    pub reset_head: bool,
    /// Train a small encoder from random weights instead of a checkpoint, with a vocabulary made from the training texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSettings>,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            base: None,
            max_length: 128,
            truncation: TruncationStrategy::Head,
            classifier_dropout: None,
            reset_head: false,
            scratch: None,
        }
    }
}

/// `[model.scratch]`: the sizes of a BERT encoder, under the names that `config.json` has for them. The defaults learn from some thousand
/// short texts within a minute on two cores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScratchSettings {
    /// Pieces of the vocabulary, at most. Default 2000.
    pub vocab_size: usize,
    /// Width. Default 256.
    pub hidden_size: usize,
    /// Layers. Default 2.
    pub num_hidden_layers: usize,
    /// Heads of each layer; they divide the width. Default 8.
    pub num_attention_heads: usize,
    /// Width within the feed-forward part. Default 512.
    pub intermediate_size: usize,
    /// Dropout rate, high because nothing else keeps so small a set from being learnt by heart. Default 0.3.
    pub hidden_dropout_prob: f64,
}

impl Default for ScratchSettings {
    fn default() -> Self {
        Self {
            vocab_size: 2000,
            hidden_size: 256,
            num_hidden_layers: 2,
            num_attention_heads: 8,
            intermediate_size: 512,
            hidden_dropout_prob: 0.3,
        }
    }
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// Labelled rows to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// Labelled rows to choose the best weights by. Default: split off from `train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Labelled rows that are only measured on. Default: split off from `train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Column of the text; with `stack`, a list of columns. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<OneOrMany>,
    /// Make an example of each text column, with the label of the row; the examples of a row stay together in a split. Default false.
    pub stack: bool,
    /// Column of the second text. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// Column of the label, or a list of 0/1 columns. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<OneOrMany>,
    /// What separates several labels in one value, such as `,` in `2,3`. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<String>,
    /// File with names for the labels: rows such as `0,negative`, one name a line, or a JSON object. Default: the labels are the names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_map: Option<PathBuf>,
    /// Column whose equal values (a user, a document) keep rows together in a split. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the first row names the columns; if not, they are called `0`, `1`, ... Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The character between two fields. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Whether `"` encloses fields. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoting: Option<bool>,
    /// The encoding of the files, such as `cp949`. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Changes to every text, in training and prediction: `nfc`, `control`, `repeats`. Default: none.
    pub normalize: Vec<NormalizeStep>,
    /// Fractions of training, validation and test, applied to the parts that have no file of their own.
    pub split: [f64; 3],
    /// Keep the shares of the labels equal in all parts. Default true.
    pub stratify: bool,
    /// Drop training rows that repeat another one in text and label. Default true. Validation and test files are left whole.
    pub drop_duplicates: bool,
    /// What to do with training texts that occur with different labels. Default `keep`.
    pub conflicts: ConflictPolicy,
    /// Seed of the split.
    pub seed: u64,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            train: None,
            validation: None,
            test: None,
            text: None,
            stack: false,
            text_pair: None,
            label: None,
            label_separator: None,
            label_map: None,
            group: None,
            header: None,
            delimiter: None,
            quoting: None,
            encoding: None,
            normalize: Vec::new(),
            split: [0.6, 0.2, 0.2],
            stratify: true,
            drop_duplicates: true,
            conflicts: ConflictPolicy::Keep,
            seed: 0,
        }
    }
}

/// A name or a list of names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `label = "category"`
    One(String),
    /// `label = ["joy", "anger"]`
    Many(Vec<String>),
}

impl OneOrMany {
    fn names(this: Option<&Self>) -> Vec<String> {
        match this {
            None => Vec::new(),
            Some(Self::One(name)) => vec![name.clone()],
            Some(Self::Many(names)) => names.clone(),
        }
    }
}

impl DataSettings {
    /// The columns these settings name.
    pub fn columns(&self) -> ColumnRequest {
        ColumnRequest {
            text: OneOrMany::names(self.text.as_ref()),
            text_pair: self.text_pair.clone(),
            label: OneOrMany::names(self.label.as_ref()),
            label_separator: self.label_separator.clone(),
            group: self.group.clone(),
        }
    }

    /// How files are read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            header: self.header,
            delimiter: self.delimiter,
            quoting: self.quoting,
            encoding: self.encoding.clone(),
            kind: None,
        }
    }

    /// Which cleaning steps are taken.
    pub fn clean_options(&self) -> CleanOptions {
        CleanOptions {
            drop_duplicates: self.drop_duplicates,
            conflicts: self.conflicts,
        }
    }

    /// How the training file is split: parts with a file of their own get nothing, and the rest share by their ratios.
    pub fn split_options(&self) -> SplitOptions<'static> {
        let [train, validation, test] = self.split;
        let kept = [
            train,
            if self.validation.is_some() { 0.0 } else { validation },
            if self.test.is_some() { 0.0 } else { test },
        ];
        let sum: f64 = kept.iter().sum();
        // Fractions that do not sum to 1 are left as they are, for the splitter to refuse.
        let is_whole = (self.split.iter().sum::<f64>() - 1.0).abs() < 1e-6;
        let ratios = match is_whole && sum > 0.0 {
            true => kept.map(|ratio| ratio / sum),
            false => kept,
        };
        SplitOptions {
            ratios,
            stratify: self.stratify,
            seed: self.seed,
            groups: None,
        }
    }
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Passes over the training rows. Default 3.
    pub epochs: u64,
    /// Stop after this many optimiser steps. Default: no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Examples of one optimiser step. Default 64.
    pub batch_size: usize,
    /// Tokens that go through the model at a time; a larger batch is cut up, with the same gradient. Default 8192.
    pub micro_batch_tokens: usize,
    /// Peak learning rate, reached at the end of warm-up. Default 2e-5, from the range searched by Devlin et al. 2019,
    /// appendix A.3.
    pub learning_rate: f64,
    /// AdamW's decay of weights (not of biases and norms). Default 0.01.
    pub weight_decay: f64,
    /// Fraction of all steps during which the learning rate rises from 0. Default 0.1.
    pub warmup_ratio: f64,
    /// What the learning rate does afterwards. Default `linear`.
    pub schedule: Schedule,
    /// Gradients are scaled down to this norm. Default 1.
    pub max_grad_norm: f64,
    /// Number format of products. Only `f32` exists so far, which is what `auto` means.
    pub precision: Precision,
    /// Seed of shuffling, dropout and fresh weights. Default 42.
    pub seed: u64,
    /// Steps between two entries of the log. Default 50.
    pub logging_steps: u64,
    /// Steps between two evaluations. Default: at the end of each epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_steps: Option<u64>,
    /// Steps between two checkpoints. Default: at each evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<u64>,
    /// Checkpoints kept beside the best one; 0 writes none. Default 1.
    pub save_total_limit: usize,
    /// When to stop early, and which evaluation counts as the best.
    pub early_stopping: EarlyStoppingSettings,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: None,
            batch_size: 64,
            micro_batch_tokens: 8192,
            learning_rate: 2e-5,
            weight_decay: 0.01,
            warmup_ratio: 0.1,
            schedule: Schedule::Linear,
            max_grad_norm: 1.0,
            precision: Precision::Auto,
            seed: 42,
            logging_steps: 50,
            eval_steps: None,
            save_steps: None,
            save_total_limit: 1,
            early_stopping: EarlyStoppingSettings::default(),
        }
    }
}

/// `train.precision`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// The fastest that keeps accuracy: `f32`.
    #[default]
    Auto,
    /// 32-bit floating point throughout.
    F32,
}

/// `train.early_stopping`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStoppingSettings {
    /// Whether to stop before the last epoch. The best evaluation is kept in any case. Default true.
    pub enabled: bool,
    /// The metric to watch, a name from `metrics.json`. Default `macro_f1`, for regression `loss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// A smaller gain than this is none. Default 0.001.
    pub min_delta: f64,
    /// Evaluations without gain that are put up with: 0 stops at the first. Default 1.
    pub patience: u64,
}

impl Default for EarlyStoppingSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            monitor: None,
            min_delta: 0.001,
            patience: 1,
        }
    }
}

/// `[output]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// Directory of the trained model. Default `model`.
    pub dir: PathBuf,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("model"),
        }
    }
}

/// What helps who has named a file of data where settings belong.
const NOT_SETTINGS: &str = "a settings file is TOML, such as gareum.toml; data is given with --train";

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: {reason}\nhint: {NOT_SETTINGS}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The text is not TOML, or a key is unknown or of the wrong type.
    #[error("{place}: {message}{hint}")]
    Parse {
        /// File, or the flag that set the value.
        place: String,
        /// What is wrong.
        message: String,
        /// The nearest known key, on a line of its own.
        hint: String,
    },
    /// A value is outside of its range.
    #[error("{key} is {found}, expected {expected}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// `--set` without `key=value`.
    #[error("--set {found}: expected key=value, for example --set train.epochs=5")]
    Assignment {
        /// What was given.
        found: String,
    },
}

impl Settings {
    /// Reads a file (or starts from the defaults) and applies overrides, each a dotted key with a value.
    ///
    /// Relative paths in the file are taken from the file's directory, those of overrides from the current one.
    ///
    /// # Errors
    /// [`SettingsError`] names file, key, value and the nearest known key.
    pub fn load(path: Option<&Path>, overrides: &[(String, Value)]) -> Result<Self, SettingsError> {
        let mut table = Table::new();
        if let Some(path) = path {
            let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Read {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            let parsed: Self = toml::from_str(&text).map_err(|error| {
                let place = match error.span() {
                    Some(span) => format!("{}:{}", path.display(), text[..span.start].matches('\n').count() + 1),
                    None => path.display().to_string(),
                };
                match parse_error(place, error.message()) {
                    SettingsError::Parse { place, message, .. } if path.extension().is_none_or(|e| e != "toml") => {
                        let hint = format!("\nhint: {NOT_SETTINGS}");
                        SettingsError::Parse { place, message, hint }
                    }
                    error => error,
                }
            })?;
            let parsed = parsed.relative_to(path.parent().unwrap_or(Path::new("")));
            table = Table::try_from(&parsed)
                .map_err(|error| parse_error(path.display().to_string(), &error.to_string()))?;
        }
        for (key, value) in overrides {
            if key == "model.base"
                && let Some(Value::Table(model)) = table.get_mut("model")
            {
                // A checkpoint that is named takes the place of the encoder in the file.
                model.remove("scratch");
            }
            insert(&mut table, key, value.clone());
            // Checked one at a time, so that the message can name the one that is wrong.
            Self::deserialize(Value::Table(table.clone()))
                .map_err(|error| parse_error(format!("{key} = {value}"), error.message()))?;
        }
        let settings = Self::deserialize(Value::Table(table))
            .map_err(|error| parse_error("settings".to_owned(), error.message()))?;
        settings.check()?;
        Ok(settings)
    }

    /// Splits `key=value`; the value is TOML, or else a plain string.
    ///
    /// # Errors
    /// [`SettingsError::Assignment`] if there is no `=`.
    pub fn parse_assignment(text: &str) -> Result<(String, Value), SettingsError> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| SettingsError::Assignment { found: text.to_owned() })?;
        let (key, value) = (key.trim(), value.trim());
        let parsed = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut table| table.remove("value"));
        Ok((
            key.to_owned(),
            parsed.unwrap_or_else(|| Value::String(value.to_owned())),
        ))
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        let files = [
            &mut self.data.train,
            &mut self.data.validation,
            &mut self.data.test,
            &mut self.data.label_map,
            &mut self.model.base,
        ];
        for path in files.into_iter().flatten() {
            *path = directory.join(&*path);
        }
        self.output.dir = directory.join(&self.output.dir);
        self
    }

    /// Ranges that the types do not express.
    fn check(&self) -> Result<(), SettingsError> {
        let range = |holds: bool, key: &'static str, found: String, expected: &'static str| {
            if holds {
                Ok(())
            } else {
                Err(SettingsError::Range { key, found, expected })
            }
        };
        let train = &self.train;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        range(train.epochs > 0, "train.epochs", train.epochs.to_string(), "at least 1")?;
        range(
            train.max_steps != Some(0),
            "train.max_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        range(
            train.batch_size > 0,
            "train.batch_size",
            train.batch_size.to_string(),
            "at least 1",
        )?;
        range(
            train.micro_batch_tokens > 0,
            "train.micro_batch_tokens",
            "0".to_owned(),
            "at least 1",
        )?;
        let rate = train.learning_rate;
        range(
            positive(rate),
            "train.learning_rate",
            rate.to_string(),
            "a number above 0",
        )?;
        let decay = train.weight_decay;
        range(
            not_negative(decay),
            "train.weight_decay",
            decay.to_string(),
            "a number of at least 0",
        )?;
        let warmup = train.warmup_ratio;
        range(
            (0.0..=1.0).contains(&warmup),
            "train.warmup_ratio",
            warmup.to_string(),
            "a fraction from 0 to 1",
        )?;
        let norm = train.max_grad_norm;
        range(
            positive(norm),
            "train.max_grad_norm",
            norm.to_string(),
            "a number above 0",
        )?;
        range(
            train.logging_steps > 0,
            "train.logging_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        range(
            train.eval_steps != Some(0),
            "train.eval_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        range(
            train.save_steps != Some(0),
            "train.save_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        let delta = train.early_stopping.min_delta;
        range(
            not_negative(delta),
            "train.early_stopping.min_delta",
            delta.to_string(),
            "a number of at least 0",
        )?;
        let texts = OneOrMany::names(self.data.text.as_ref()).len();
        range(
            texts < 2 || self.data.stack,
            "data.text",
            format!("a list of {texts} columns"),
            "one column, or also `stack = true`: each of them then makes an example of its own",
        )?;
        if let Some(name) = &self.data.encoding {
            let expected = "a name such as `utf-8`, `cp949`, `utf-16le` or `windows-1252`";
            range(encoding_of(name).is_some(), "data.encoding", name.clone(), expected)?;
        }
        let length = self.model.max_length;
        range(length >= 4, "model.max_length", length.to_string(), "at least 4 tokens")?;
        if let Some(scratch) = &self.model.scratch {
            let dir = |base: &PathBuf| base.display().to_string();
            let base = self.model.base.as_ref().map(dir).unwrap_or_default();
            range(
                base.is_empty(),
                "model.base",
                base,
                "no checkpoint beside [model.scratch]: remove one of them",
            )?;
            let (hidden, heads) = (scratch.hidden_size, scratch.num_attention_heads);
            range(
                heads > 0 && hidden > 0 && hidden.is_multiple_of(heads),
                "model.scratch.hidden_size",
                hidden.to_string(),
                "a multiple of num_attention_heads",
            )?;
            let sizes = [
                ("model.scratch.vocab_size", scratch.vocab_size, 100),
                ("model.scratch.num_hidden_layers", scratch.num_hidden_layers, 1),
                ("model.scratch.intermediate_size", scratch.intermediate_size, 1),
            ];
            for (key, size, least) in sizes {
                let expected = if least == 1 { "at least 1" } else { "at least 100" };
                range(size >= least, key, size.to_string(), expected)?;
            }
            let rate = scratch.hidden_dropout_prob;
            range(
                (0.0..1.0).contains(&rate),
                "model.scratch.hidden_dropout_prob",
                rate.to_string(),
                "a rate in [0, 1)",
            )?;
        }
        if let Some(rate) = self.model.classifier_dropout {
            range(
                (0.0..1.0).contains(&rate),
                "model.classifier_dropout",
                rate.to_string(),
                "a rate in [0, 1)",
            )?;
        }
        Ok(())
    }

    /// How texts are cut.
    pub fn truncation(&self) -> Truncation {
        Truncation {
            max_length: self.model.max_length,
            strategy: self.model.truncation,
        }
    }
}

/// Puts a value under a dotted key, making tables on the way.
fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => insert(inner, rest, value),
                // A scalar where a table belongs: replaced, so that the type check names the key.
                other => *other = Value::Table([(rest.to_owned(), value)].into_iter().collect()),
            }
        }
    }
}

/// Says serde's message in our words, and adds the nearest known key if it is about an unknown one.
fn parse_error(place: String, message: &str) -> SettingsError {
    // serde: unknown field `epoch`, expected one of `epochs`, `batch_size`, ...
    let mut names = message.split('`').skip(1).step_by(2);
    let found = names.next().unwrap_or_default();
    let nearest = names
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 2);
    let (is_key, is_value) = (
        message.starts_with("unknown field"),
        message.starts_with("unknown variant"),
    );
    let elsewhere = || {
        is_key
            .then(|| key_path(&Table::try_from(Settings::default()).ok()?, found))
            .flatten()
    };
    let hint = match nearest {
        Some((_, name)) if is_key || is_value => format!("\nhint: did you mean `{name}`?"),
        _ => elsewhere().map_or(String::new(), |key| format!("\nhint: did you mean `{key}`?")),
    };
    let message = match message.trim().rsplit_once(", expected ") {
        Some((found, "u64" | "usize")) => format!("{found}, expected a whole number of at least 0"),
        Some((found, "f64")) => format!("{found}, expected a number"),
        Some((found, kind)) if kind.starts_with("struct ") => format!("{found}, expected keys with values"),
        _ if message.contains("OneOrMany") => "expected a name or a list of names".to_owned(),
        _ => message.trim().to_owned(),
    };
    SettingsError::Parse { place, message, hint }
}

/// The dotted key that ends in `key`, if there is one.
fn key_path(table: &Table, key: &str) -> Option<String> {
    table.iter().find_map(|(name, value)| match value {
        _ if name == key => Some(name.clone()),
        Value::Table(inner) => Some(format!("{name}.{}", key_path(inner, key)?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(assignments: &[&str]) -> Result<Settings, SettingsError> {
        let parsed = assignments
            .iter()
            .map(|text| Settings::parse_assignment(text))
            .collect::<Result<Vec<_>, _>>()?;
        Settings::load(None, &parsed)
    }

    #[test]
    fn defaults_survive_a_round_trip() {
        let text = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), Settings::default());
    }

    #[test]
    fn assignments_fill_the_same_values() {
        let settings = overrides(&[
            "train.learning_rate=3e-5",
            "train.epochs = 5",
            "data.label=[\"a\", \"b\"]",
            "model.base=some/dir",
            "train.early_stopping.patience=0",
            "task=multi_label",
        ])
        .unwrap();
        assert_eq!((settings.train.learning_rate, settings.train.epochs), (3e-5, 5));
        assert_eq!(settings.data.columns().label, ["a", "b"]);
        assert_eq!(settings.model.base, Some("some/dir".into()));
        assert_eq!(
            (settings.train.early_stopping.patience, settings.task),
            (0, Some(Task::MultiLabel))
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (assignment, expected) in [
            (
                "train.epoch=5",
                "train.epoch = 5: unknown field `epoch`, expected one of",
            ),
            ("train.epoch=5", "hint: did you mean `epochs`?"),
            (
                "train.learning_rate=-1.0",
                "train.learning_rate is -1, expected a number above 0",
            ),
            (
                "train.epochs=abc",
                "invalid type: string \"abc\", expected a whole number of at least 0",
            ),
            ("data.label=3", "data.label = 3: expected a name or a list of names"),
            ("patience=3", "hint: did you mean `train.early_stopping.patience`?"),
            (
                "train.precision=bf16",
                "unknown variant `bf16`, expected `auto` or `f32`",
            ),
            (
                "model.max_length=2",
                "model.max_length is 2, expected at least 4 tokens",
            ),
            ("nonsense", "--set nonsense: expected key=value"),
        ] {
            let error = overrides(&[assignment]).unwrap_err().to_string();
            assert!(error.contains(expected), "{assignment}: {error}");
        }
    }

    #[test]
    fn a_file_is_named_with_its_line_and_its_paths_are_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gareum.toml");
        std::fs::write(&path, "[train]\nepochs = 2\nlearning_rat = 1e-5\n").unwrap();
        let error = Settings::load(Some(&path), &[]).unwrap_err().to_string();
        assert!(error.contains("gareum.toml:3: unknown field `learning_rat`"), "{error}");
        assert!(error.contains("hint: did you mean `learning_rate`?"), "{error}");
        std::fs::write(&path, "[data]\ntrain = \"a.csv\"\n").unwrap();
        let test = ("data.test".to_owned(), Value::String("b.csv".to_owned()));
        let settings = Settings::load(Some(&path), &[test]).unwrap();
        assert_eq!(settings.data.train, Some(directory.path().join("a.csv")));
        assert_eq!(settings.data.test, Some("b.csv".into()));
    }

    #[test]
    fn parts_with_a_file_of_their_own_take_nothing_of_the_split() {
        let mut data = DataSettings::default();
        assert_eq!(data.split_options().ratios, [0.6, 0.2, 0.2]);
        data.test = Some("test.csv".into());
        let ratios = data.split_options().ratios;
        assert!((ratios[0] - 0.75).abs() < 1e-12 && (ratios[1] - 0.25).abs() < 1e-12 && ratios[2] == 0.0);
        data.validation = Some("validation.csv".into());
        assert_eq!(data.split_options().ratios, [1.0, 0.0, 0.0]);
        let data = DataSettings {
            split: [0.5, 0.2, 0.2],
            ..DataSettings::default()
        };
        assert_eq!(
            data.split_options().ratios,
            data.split,
            "left for the splitter to refuse"
        );
    }
}
