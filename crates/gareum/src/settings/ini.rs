//! An ini file with `[Path]` and `[Hyperparameters]`, as training scripts keep them, as settings of ours.
//!
//! Own reader: the crates for ini files forget on which line a value stood, which is what a message about it must say.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::file::seen_from;
use super::insert;
use super::{Settings, SettingsError};
use crate::data::decoded;
use crate::hub::{is_hub_path, is_plain_model};

/// Settings made of an ini file.
#[derive(Debug, Clone, PartialEq)]
pub struct FromIni {
    /// The text of a `gareum.toml`.
    pub text: String,
    /// What it says.
    pub settings: Settings,
    /// How many values were taken over.
    pub taken: usize,
    /// What was not taken over, and what is to be known of what was.
    pub notes: Vec<String>,
}

/// An ini file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IniError {
    /// The system does not give it.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A line is neither a section nor a value.
    #[error("{}:{line}: `{found}` is no [section], no `key = value` and no comment\nhint: an ini file is expected, with sections [Path] and [Hyperparameters]", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A value cannot be used.
    #[error("{}:{line}: {key} = {found}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The key.
        key: String,
        /// The value.
        found: String,
        /// Why.
        reason: String,
    },
    /// There is nothing in it that we know.
    #[error("{}: there is no key that gareum knows\nhint: sections [Path] (model_name, train_file, ...) and [Hyperparameters] (batch_size, epochs, ...) are expected", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// The settings do not go together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// What a value is, and the key of ours for it.
#[derive(Clone, Copy)]
enum Meaning {
    /// A file or directory.
    Path(&'static str),
    /// A directory of a checkpoint or its name on the hub.
    Base,
    Number(&'static str),
    /// The seed of everything.
    Seed,
    /// The parts of the training file.
    Split,
    Text(&'static str),
    /// Not needed, for this reason.
    Needless(&'static str),
}

/// Keys in lower case; some scripts write them otherwise than others.
const KEYS: [(&str, Meaning); 34] = [
    ("model_name", Meaning::Base),
    ("model_name_or_path", Meaning::Base),
    ("model_path", Meaning::Base),
    ("base_model", Meaning::Base),
    ("train_file", Meaning::Path("data.train")),
    ("train_path", Meaning::Path("data.train")),
    ("valid_file", Meaning::Path("data.validation")),
    ("validation_file", Meaning::Path("data.validation")),
    ("val_file", Meaning::Path("data.validation")),
    ("dev_file", Meaning::Path("data.validation")),
    ("test_file", Meaning::Path("data.test")),
    ("output_dir", Meaning::Path("output.dir")),
    ("max_seq_length", Meaning::Number("model.max_length")),
    ("max_length", Meaning::Number("model.max_length")),
    ("max_len", Meaning::Number("model.max_length")),
    ("batch_size", Meaning::Number("train.batch_size")),
    ("train_batch_size", Meaning::Number("train.batch_size")),
    ("learning_rate", Meaning::Number("train.learning_rate")),
    ("lr", Meaning::Number("train.learning_rate")),
    ("epochs", Meaning::Number("train.epochs")),
    ("num_epochs", Meaning::Number("train.epochs")),
    ("num_train_epochs", Meaning::Number("train.epochs")),
    ("weight_decay", Meaning::Number("train.weight_decay")),
    ("warmup_ratio", Meaning::Number("train.warmup_ratio")),
    ("max_grad_norm", Meaning::Number("train.max_grad_norm")),
    ("label_smoothing", Meaning::Number("train.label_smoothing")),
    ("patience", Meaning::Number("train.early_stopping.patience")),
    ("text_column", Meaning::Text("data.text")),
    ("label_column", Meaning::Text("data.label")),
    ("seed", Meaning::Seed),
    ("random_seed", Meaning::Seed),
    ("split_ratio", Meaning::Split),
    (
        "num_labels",
        Meaning::Needless("the labels are found in the data and counted there"),
    ),
    (
        "checkpoint_dir",
        Meaning::Needless("checkpoints are written to the output directory, as checkpoint-N"),
    ),
];

/// A value with its place.
struct Entry {
    line: usize,
    section: String,
    /// As it is written.
    name: String,
    value: String,
}

impl Settings {
    /// Makes settings, for a file in `directory`, of an ini file. Relative paths are those of the ini file's directory, or of the current
    /// one where something lies there and nothing beside the ini file.
    ///
    /// # Errors
    /// [`IniError`] names file, line, key and value.
    pub fn from_ini(path: &Path, directory: &Path) -> Result<FromIni, IniError> {
        let bytes = std::fs::read(path).map_err(|error| IniError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let entries = entries(&decoded(&bytes), path)?;
        let mut table = Table::new();
        let (mut taken, mut notes) = (0, Vec::new());
        for entry in &entries {
            let Entry {
                line,
                section,
                name,
                value,
            } = entry;
            let place = format!("{}:{line}", path.display());
            let Some(meaning) = meaning(section, name) else {
                notes.push(format!(
                    "{place}: [{section}] {name} = {value}: not taken over, gareum has no such key"
                ));
                continue;
            };
            if value.is_empty() {
                notes.push(format!("{place}: {name} is empty and was left out"));
                continue;
            }
            if let Meaning::Needless(reason) = meaning {
                notes.push(format!("{place}: {name} = {value}: not needed; {reason}"));
                continue;
            }
            let failed = |reason: String| IniError::Value {
                path: path.to_owned(),
                line: *line,
                key: name.clone(),
                found: value.clone(),
                reason,
            };
            for (key, value) in values(meaning, value, path, directory).map_err(failed)? {
                // Each by itself, so that the message can name the line.
                let checked = Settings::default().with(&[(key.to_owned(), value.clone())]);
                checked.map_err(|error| failed(reason_of(&error)))?;
                insert(&mut table, key, value);
            }
            taken += 1;
        }
        if taken == 0 {
            return Err(IniError::Nothing { path: path.to_owned() });
        }
        let has = |key: &str| table.get("data").and_then(|data| data.get(key)).is_some();
        if has("validation") && !has("test") && !has("split") {
            let whole = [1.0, 0.0, 0.0].map(Value::Float).to_vec();
            insert(&mut table, "data.split", Value::Array(whole));
            notes.push(
                "there is no test file: the training file is used whole, and nothing is split off for a test"
                    .to_owned(),
            );
        }
        let text = toml::to_string(&table).map_err(|error| SettingsError::Parse {
            place: path.display().to_string(),
            message: error.to_string(),
            hint: String::new(),
        })?;
        let flat: Vec<(String, Value)> = table.into_iter().collect();
        let settings = Settings::load(None, &flat)?;
        Ok(FromIni {
            text,
            settings,
            taken,
            notes,
        })
    }
}

/// An error without the place, which is another one here.
fn reason_of(error: &SettingsError) -> String {
    match error {
        SettingsError::Parse { message, .. } => message.clone(),
        SettingsError::Range { expected, .. } => format!("expected {expected}"),
        other => other.to_string(),
    }
}

/// What a key means; sections are not needed to tell, but of others nothing is taken.
fn meaning(section: &str, name: &str) -> Option<Meaning> {
    const SECTIONS: [&str; 8] = [
        "path",
        "paths",
        "hyperparameters",
        "hyperparameter",
        "hyper_parameters",
        "training",
        "train",
        "default",
    ];
    if !SECTIONS.contains(&section.to_lowercase().as_str()) {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    KEYS.iter().find(|(key, _)| *key == name).map(|(_, meaning)| *meaning)
}

/// Our keys with their values.
fn values(meaning: Meaning, text: &str, ini: &Path, directory: &Path) -> Result<Vec<(&'static str, Value)>, String> {
    let written = |path: PathBuf| Value::String(path.display().to_string());
    Ok(match meaning {
        Meaning::Path(key) => vec![(key, written(path_of(text, ini, directory)))],
        Meaning::Base => {
            let path = Path::new(text);
            let beside = ini.parent().unwrap_or(Path::new("")).join(text);
            let is_name = is_hub_path(path) || is_plain_model(text) && !beside.exists() && !path.exists();
            let base = if is_name {
                path.to_owned()
            } else {
                path_of(text, ini, directory)
            };
            vec![("model.base", written(base))]
        }
        Meaning::Number(key) => vec![(key, number(text)?)],
        Meaning::Seed => {
            let seed = number(text)?;
            vec![("train.seed", seed.clone()), ("data.seed", seed)]
        }
        Meaning::Split => vec![("data.split", Value::Array(split(text)?.map(Value::Float).to_vec()))],
        Meaning::Text(key) => vec![(key, Value::String(text.to_owned()))],
        // Nothing of ours.
        Meaning::Needless(_) => Vec::new(),
    })
}

/// A path of the ini file as it must be written in `directory`.
fn path_of(text: &str, ini: &Path, directory: &Path) -> PathBuf {
    let path = Path::new(text);
    if is_hub_path(path) {
        return path.to_owned();
    }
    let beside = ini.parent().unwrap_or(Path::new("")).join(path);
    let is_here = !beside.exists() && path.exists();
    seen_from(if is_here { path } else { &beside }, directory)
}

/// A number as Python reads it: `32`, `5e-5`, `1_000`.
fn number(text: &str) -> Result<Value, String> {
    let digits = text.replace('_', "");
    let whole = digits.parse::<i64>().map(Value::Integer);
    let found = whole.or_else(|_| digits.parse::<f64>().map(Value::Float));
    match found {
        Ok(Value::Float(number)) if !number.is_finite() => Err("expected a number".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("expected a number".to_owned()),
    }
}

/// `0.8`: that share is trained on, the rest is for validation. `8:1:1`, `8:2`, `0.8,0.1,0.1`: training, validation, test.
fn split(text: &str) -> Result<[f64; 3], String> {
    let expected = || "expected a share such as 0.8, or parts such as 8:1:1".to_owned();
    let parts: Vec<f64> = text
        .trim_matches(['(', ')', '[', ']'])
        .split([':', ',', '/'])
        .map(|part| part.trim().parse::<f64>().map_err(|_| expected()))
        .collect::<Result<_, _>>()?;
    let parts = match parts.as_slice() {
        [share] if *share > 0.0 && *share <= 1.0 => [*share, 1.0 - share, 0.0],
        [share] if *share > 1.0 && *share <= 100.0 => [share / 100.0, 1.0 - share / 100.0, 0.0],
        [train, validation] => [*train, *validation, 0.0],
        [train, validation, test] => [*train, *validation, *test],
        _ => return Err(expected()),
    };
    let sum: f64 = parts.iter().sum();
    if parts.iter().any(|part| !part.is_finite() || *part < 0.0) || parts[0] <= 0.0 || sum <= 0.0 {
        return Err(expected());
    }
    // Rounded, so that 1 - 0.8 is 0.2 and 8:1:1 is 0.8, 0.1, 0.1.
    Ok(parts.map(|part| (part / sum * 1e9).round() / 1e9))
}

fn entries(text: &str, path: &Path) -> Result<Vec<Entry>, IniError> {
    let mut section = "default".to_owned();
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line_number = number + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.split_once(']').map(|(name, _)| name.trim());
            if let Some(name) = name {
                section = name.to_owned();
                continue;
            }
        } else if let Some(place) = line.find(['=', ':']).filter(|place| *place > 0) {
            entries.push(Entry {
                line: line_number,
                section: section.clone(),
                name: line[..place].trim().to_owned(),
                value: value_of(&line[place + 1..]).to_owned(),
            });
            continue;
        }
        return Err(IniError::Line {
            path: path.to_owned(),
            line: line_number,
            found: line.chars().take(60).collect(),
        });
    }
    Ok(entries)
}

/// What stands behind the `=`: without quotes, and without a comment if a blank stands before it.
fn value_of(text: &str) -> &str {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some((inner, _)) = text.strip_prefix(quote).and_then(|text| text.split_once(quote)) {
            return inner;
        }
    }
    let comment = [" ;", " #", "\t;", "\t#"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    let text = comment.map_or(text, |place| &text[..place]).trim();
    // A comment may also be all there is.
    if text.starts_with(['#', ';']) { "" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FromIni, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.ini");
        std::fs::write(&path, text).unwrap();
        let shown = directory.path().display().to_string();
        Settings::from_ini(&path, Path::new("project")).map_err(|error| error.to_string().replace(&shown, "[DIR]"))
    }

    #[test]
    fn every_key_of_the_two_sections() {
        let found = read(
            "\u{feff}; a comment\n[Path]\nmodel_name = klue/bert-base\nTrain_File: data/train.csv  # of May\nvalid_file = \"data/valid.csv\"\n\
             output_dir = out\ncheckpoint_dir = out/ckpt\n\n[HYPERPARAMETERS]\nnum_labels = 7\nmax_seq_length=64\nbatch_size = 32 ; small\n\
             learning_rate = 5e-5\nepochs = 4\nseed = 7\nsplit_ratio = 8:1:1\ndropout = 0.1\nfp16 =\n[Other]\nseed = 3\n",
        )
        .unwrap();
        let settings = &found.settings;
        assert_eq!(settings.model.base, Some("klue/bert-base".into()));
        assert!(settings.data.train.as_ref().unwrap().ends_with("data/train.csv"));
        assert!(settings.data.validation.as_ref().unwrap().ends_with("data/valid.csv"));
        assert!(settings.output.dir.ends_with("out"));
        assert_eq!((settings.model.max_length, settings.train.batch_size), (64, 32));
        assert_eq!((settings.train.learning_rate, settings.train.epochs), (5e-5, 4));
        assert_eq!((settings.train.seed, settings.data.seed), (7, 7));
        assert_eq!(settings.data.split, [0.8, 0.1, 0.1]);
        assert_eq!(found.taken, 10);
        for expected in [
            "config.ini:7: checkpoint_dir = out/ckpt: not needed",
            "config.ini:10: num_labels = 7: not needed; the labels are found in the data",
            "config.ini:17: [HYPERPARAMETERS] dropout = 0.1: not taken over, gareum has no such key",
            "config.ini:18: [HYPERPARAMETERS] fp16 = : not taken over",
            "config.ini:20: [Other] seed = 3: not taken over",
        ] {
            assert!(
                found.notes.iter().any(|note| note.contains(expected)),
                "{expected}: {:#?}",
                found.notes
            );
        }
        assert_eq!(toml::from_str::<Settings>(&found.text).unwrap(), *settings);
    }

    #[test]
    fn splits() {
        for (text, expected) in [
            ("0.8", [0.8, 0.2, 0.0]),
            ("80", [0.8, 0.2, 0.0]),
            ("8:1:1", [0.8, 0.1, 0.1]),
            ("8 : 2", [0.8, 0.2, 0.0]),
            ("[0.6, 0.2, 0.2]", [0.6, 0.2, 0.2]),
            ("1", [1.0, 0.0, 0.0]),
        ] {
            assert_eq!(split(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "-0.5", "a:b", "1:2:3:4", "0:1:1", "nan", "101"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_test_file_the_training_file_is_used_whole() {
        let found = read("[path]\ntrain_file=a.csv\nvalid_file=b.csv\n").unwrap();
        assert_eq!(found.settings.data.split, [1.0, 0.0, 0.0]);
        assert_eq!(found.notes.len(), 1);
    }

    #[test]
    fn mistakes_are_named_with_line_key_and_value() {
        for (text, expected) in [
            (
                "[Hyperparameters]\nepochs = three\n",
                "config.ini:2: epochs = three: expected a number",
            ),
            (
                "[Hyperparameters]\nepochs = 0\n",
                "config.ini:2: epochs = 0: expected at least 1",
            ),
            (
                "[Hyperparameters]\n\nbatch_size = 3.5\n",
                "config.ini:3: batch_size = 3.5: invalid type: floating point `3.5`, expected a whole number of at least 0",
            ),
            (
                "[Hyperparameters]\nlearning_rate: -1\n",
                "config.ini:2: learning_rate = -1: expected a number above 0",
            ),
            (
                "[Hyperparameters]\nsplit_ratio = most\n",
                "config.ini:2: split_ratio = most: expected a share such as 0.8",
            ),
            ("[Path\n", "config.ini:1: `[Path` is no [section]"),
            ("text,label\n", "config.ini:1: `text,label` is no [section]"),
            ("[Path]\nfoo = 1\n", "config.ini: there is no key that gareum knows"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
