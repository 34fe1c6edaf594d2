//! Reading `gareum.toml` and applying overrides; what is wrong is named with its place and the nearest right key. Ranges of values are in
//! `check.rs`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::Settings;
use crate::hub::{is_hub_path, is_plain_model};

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
    /// `--parameter` without values.
    #[error("--parameter {found}: expected KEY=V1,V2,..., for example --parameter train.learning_rate=1e-5,3e-5")]
    Parameter {
        /// What was given.
        found: String,
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
        let table = match path {
            None => Table::new(),
            Some(path) => {
                let parsed: Self = read(path)?;
                parsed.relative_to(path.parent().unwrap_or(Path::new(""))).to_table()?
            }
        };
        Self::overridden(table, overrides)
    }

    /// These settings with overrides, each a dotted key with a value.
    ///
    /// # Errors
    /// [`SettingsError`] names key, value and the nearest known key.
    pub fn with(&self, overrides: &[(String, Value)]) -> Result<Self, SettingsError> {
        Self::overridden(self.to_table()?, overrides)
    }

    /// Settings as they stand in a file.
    pub(super) fn to_table(&self) -> Result<Table, SettingsError> {
        Table::try_from(self).map_err(|error| parse_error("settings".to_owned(), &error.to_string()))
    }

    /// What stands in a file, or a part of one, as settings in their ranges.
    pub(super) fn from_table(table: Table, place: &str) -> Result<Self, SettingsError> {
        let settings =
            Self::deserialize(Value::Table(table)).map_err(|error| parse_error(place.to_owned(), error.message()))?;
        settings.check()?;
        Ok(settings)
    }

    fn overridden(mut table: Table, overrides: &[(String, Value)]) -> Result<Self, SettingsError> {
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
        Self::from_table(table, "settings")
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

    pub(super) fn relative_to(mut self, directory: &Path) -> Self {
        let files = [
            &mut self.data.train,
            &mut self.data.validation,
            &mut self.data.test,
            &mut self.data.label_map,
        ];
        let of_teacher = self.distillation.as_mut();
        let (teacher, unlabelled) = match of_teacher {
            Some(settings) => (settings.teacher.as_mut(), settings.unlabelled.as_mut()),
            None => (None, None),
        };
        for path in files.into_iter().flatten().chain(unlabelled) {
            if !is_hub_path(path) {
                *path = directory.join(&*path);
            }
        }
        // What could be a directory beside the settings or a model on the hub is the former if it is there.
        for model in self.model.base.as_mut().into_iter().chain(teacher) {
            let beside = directory.join(&*model);
            let is_name = model.to_str().is_some_and(is_plain_model);
            if !is_hub_path(model) && (beside.exists() || !is_name) {
                *model = beside;
            }
        }
        // A name without a place is looked for in the directory of the checkpoint.
        if let Some(weights) = &mut self.model.weights
            && directory.join(&*weights).exists()
        {
            *weights = directory.join(&*weights);
        }
        self.output.dir = directory.join(&self.output.dir);
        self
    }
}

/// What a file says.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    toml::from_str(&text).map_err(|error| {
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
    })
}

/// Puts a value under a dotted key, making tables on the way.
pub fn insert(table: &mut Table, key: &str, value: Value) {
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

pub(super) fn parse_error(place: String, message: &str) -> SettingsError {
    SettingsError::of_serde(place, message, &|| Table::try_from(Settings::default()).ok())
}

impl SettingsError {
    /// Says serde's message in our words, and adds the nearest known key if it is about an unknown one; `defaults` are looked through
    /// for a key of that name in another table.
    pub fn of_serde(place: String, message: &str, defaults: &dyn Fn() -> Option<Table>) -> Self {
        in_our_words(place, message, defaults)
    }
}

fn in_our_words(place: String, message: &str, defaults: &dyn Fn() -> Option<Table>) -> SettingsError {
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
    let elsewhere = || is_key.then(|| key_path(&defaults()?, found)).flatten();
    let hint = match nearest {
        Some((_, name)) if is_key || is_value => format!("\nhint: did you mean `{name}`?"),
        _ => elsewhere().map_or(String::new(), |key| format!("\nhint: did you mean `{key}`?")),
    };
    let message = match message.trim().rsplit_once(", expected ") {
        Some((found, "u64" | "usize")) => format!("{found}, expected a whole number of at least 0"),
        Some((found, "f64")) => format!("{found}, expected a number"),
        Some((found, kind)) if kind.starts_with("struct ") => format!("{found}, expected keys with values"),
        _ if message.contains("OneOrMany") => "expected a name or a list of names".to_owned(),
        _ if message.contains("LoraTargets") => {
            "expected `all-linear`, `default`, a list of names, or { regex = \"...\" }".to_owned()
        }
        _ if message.contains("ClassWeights") => {
            "expected `none`, `balanced`, or labels with numbers, such as { refund = 3.0 }".to_owned()
        }
        _ if message.contains("LayerChoice") => {
            "expected a number of layers, or a list of their numbers, such as [0, 5, 11]".to_owned()
        }
        _ if message.contains("AutoOrBool") => "expected `auto`, true or false".to_owned(),
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
    use crate::data::Task;

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
            "train.memory=2.5GiB",
            "train.checkpoint_activations=true",
            "lora.targets=default",
            "lora.alpha=16",
        ])
        .unwrap();
        let checkpoint = settings.train.checkpoint_activations;
        let lora = settings.lora.as_ref().unwrap();
        assert_eq!((lora.alpha, lora.rank, lora.scale()), (16.0, 16, 1.0));
        assert_eq!(checkpoint, crate::settings::CheckpointActivations::Always);
        assert_eq!(settings.train.memory.map(|size| size.bytes), Some(5 << 29));
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
                "train.precision=f16",
                "unknown variant `f16`, expected one of `auto`, `f32`, `bf16`",
            ),
            (
                "train.memory=much",
                "train.memory = \"much\": `much` cannot be read as an amount of memory; write a number with bytes, KB",
            ),
            ("train.memory=-5", "`-5` cannot be read as an amount of memory"),
            (
                "train.memory=2.5",
                "invalid type: floating point `2.5`, expected an amount of memory such as",
            ),
            (
                "train.checkpoint_activations=maybe",
                "train.checkpoint_activations = \"maybe\": expected `auto`, true or false",
            ),
            (
                "model.max_length=2",
                "model.max_length is 2, expected at least 4 tokens",
            ),
            (
                "train.layer_decay=1.5",
                "train.layer_decay is 1.5, expected a number above 0, at most 1",
            ),
            (
                "train.class_weights=even",
                "expected `none`, `balanced`, or labels with numbers, such as { refund = 3.0 }",
            ),
            (
                "train.class_weights={refund = -1.0}",
                "train.class_weights is -1 for `refund`, expected numbers of at least 0",
            ),
            (
                "train.label_smoothing=1.0",
                "train.label_smoothing is 1, expected a rate in [0, 1)",
            ),
            (
                "train.focal_gamma=-1.0",
                "train.focal_gamma is -1, expected a number of at least 0",
            ),
            ("lora.rank=0", "lora.rank is 0, expected at least 1"),
            ("lora.alpha=-2.0", "lora.alpha is -2, expected a number above 0"),
            ("lora.dropout=1.0", "lora.dropout is 1, expected a rate in [0, 1)"),
            (
                "lora.targets=everything",
                "lora.targets = \"everything\": expected `all-linear`, `default`, a list of names",
            ),
            ("lora.targets=[]", "lora.targets is [], expected names of products"),
            (
                "lora.targets={regex = \"(\"}",
                "lora.targets.regex is `(`, expected a regular expression",
            ),
            ("lora.bias=some", "unknown variant `some`, expected `none` or `all`"),
            ("lora.r=8", "unknown field `r`, expected one of `rank`, `alpha`"),
            (
                "decision.target=0.9",
                "decision.target is given, expected no such setting unless decision.thresholds is",
            ),
            (
                "decision.thresholds=precision_at_recall",
                "decision.target is absent, expected the recall or precision to reach",
            ),
            (
                "decision.thresholds=best",
                "unknown variant `best`, expected one of `fixed`, `macro_f1`, `micro_f1`",
            ),
            (
                "decision.abstain.min_score=1.5",
                "decision.abstain.min_score is 1.5, expected a number above 0, at most 1",
            ),
            (
                "distillation.weight=0.5",
                "distillation.teacher is absent, expected a model directory, the name of a model on the hub",
            ),
            (
                "distillation={teacher = \"t\", weight = 1.5}",
                "distillation.weight is 1.5, expected a number above 0, at most 1",
            ),
            (
                "distillation={teacher = \"t\", temperature = 0.0}",
                "distillation.temperature is 0, expected a number above 0",
            ),
            ("distillation.teacer=t", "hint: did you mean `teacher`?"),
            (
                "model.layers=0.5",
                "model.layers = 0.5: expected a number of layers, or a list of their numbers",
            ),
            ("model.layers=0", "model.layers is 0, expected at least 1 layer"),
            (
                "model.layers=[3, 1]",
                "model.layers is [3, 1], expected different numbers of layers in order, such as [0, 5, 11]",
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
}
