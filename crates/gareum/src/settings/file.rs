//! Settings as the text of a file, with paths that hold from where the file stands.

use std::path::{Component, Path, PathBuf};

use toml::Table;

use super::{Settings, SettingsError};
use crate::hub::{is_hub_path, is_plain_model};

impl Settings {
    /// The text of a settings file in `directory` (which exists) from which [`Settings::load`] gives the same; defaults are left out.
    ///
    /// # Errors
    /// [`SettingsError`] if a value cannot be written, such as a path that is no text.
    pub fn to_file(&self, directory: &Path) -> Result<String, SettingsError> {
        let failed = |reason: String| SettingsError::Parse {
            place: directory.display().to_string(),
            message: reason,
            hint: String::new(),
        };
        let table = |settings: &Self| Table::try_from(settings).map_err(|error| failed(error.to_string()));
        let table = without_defaults(table(&self.as_seen_from(directory))?, &table(&Self::default())?);
        toml::to_string(&table).map_err(|error| failed(error.to_string()))
    }

    /// These settings with paths as they must be written in a file of `directory`.
    pub fn as_seen_from(&self, directory: &Path) -> Self {
        let mut settings = self.clone();
        let data = &mut settings.data;
        for path in [
            &mut data.train,
            &mut data.validation,
            &mut data.test,
            &mut data.label_map,
        ] {
            if let Some(path) = path.as_mut().filter(|path| !is_hub_path(path)) {
                *path = seen_from(path, directory);
            }
        }
        if let Some(base) = &mut settings.model.base {
            let is_name = is_hub_path(base) || !base.exists() && base.to_str().is_some_and(is_plain_model);
            if !is_name {
                *base = seen_from(base, directory);
            }
        }
        if let Some(weights) = settings.model.weights.as_mut().filter(|weights| weights.exists()) {
            *weights = seen_from(weights, directory);
        }
        settings.output.dir = seen_from(&settings.output.dir, directory);
        settings
    }
}

/// A relative path as it must be written from another directory.
pub(super) fn seen_from(path: &Path, directory: &Path) -> PathBuf {
    let (Ok(target), Ok(from)) = (std::path::absolute(path), std::path::absolute(directory)) else {
        return path.to_owned();
    };
    if path.is_absolute() {
        return path.to_owned();
    }
    let (normal_target, normal_from) = (normalised(&target), normalised(&from));
    let pairs = normal_target.components().zip(normal_from.components());
    let shared = pairs.take_while(|(one, other)| one == other).count();
    let up = normal_from.components().skip(shared).map(|_| Component::ParentDir);
    let mut seen: PathBuf = up.chain(normal_target.components().skip(shared)).collect();
    if seen.as_os_str().is_empty() {
        seen.push(".");
    }
    // Above a link, `..` leads elsewhere than it says.
    let is_same = match (directory.join(&seen).canonicalize(), target.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (_, Err(_)) => true,
        (Err(_), Ok(_)) => !directory.exists(),
    };
    if is_same { seen } else { target }
}

/// Without `.` and `..`.
fn normalised(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

fn without_defaults(table: Table, defaults: &Table) -> Table {
    let mut kept = Table::new();
    for (key, value) in table {
        let value = match (value, defaults.get(&key)) {
            (value, Some(default)) if value == *default => continue,
            (toml::Value::Table(inner), Some(toml::Value::Table(defaults))) => {
                toml::Value::Table(without_defaults(inner, defaults))
            }
            (value, _) => value,
        };
        kept.insert(key, value);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_from_elsewhere() {
        for (path, directory, expected) in [
            ("a.csv", "out", "../a.csv"),
            ("out/a.csv", "out", "a.csv"),
            ("./data/a.csv", "out/trials/001", "../../../data/a.csv"),
            ("../a.csv", ".", "../a.csv"),
            ("out", "out", "."),
            ("a.csv", "x/../out", "../a.csv"),
        ] {
            assert_eq!(
                seen_from(Path::new(path), Path::new(directory)),
                Path::new(expected),
                "{path}"
            );
        }
        let absolute = std::env::temp_dir().join("a.csv");
        assert_eq!(seen_from(&absolute, Path::new("out")), absolute);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_above_does_not_lead_astray() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("deep/er");
        std::fs::create_dir_all(&deep).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&deep, &link).unwrap();
        // A relative path to a place in the temporary directory.
        let up: PathBuf = std::env::current_dir()
            .unwrap()
            .components()
            .skip(1)
            .map(|_| "..")
            .collect();
        let file = up.join(root.path().strip_prefix("/").unwrap()).join("a.csv");
        std::fs::write(&file, "text").unwrap();
        let seen = seen_from(&file, &link);
        assert_eq!(std::fs::read_to_string(link.join(seen)).unwrap(), "text");
    }

    #[test]
    fn a_file_says_the_same_in_few_words() {
        let directory = tempfile::tempdir().unwrap();
        let overrides = [
            "data.train=hf://owner/name/default/train",
            "data.test=there.csv",
            "model.base=klue/bert-base",
            "train.learning_rate=3e-5",
            "train.early_stopping.patience=4",
            "lora.rank=8",
        ];
        let overrides = overrides.map(|text| Settings::parse_assignment(text).unwrap());
        let settings = Settings::load(None, &overrides).unwrap();
        let text = settings.to_file(directory.path()).unwrap();
        assert!(
            !text.contains("batch_size") && text.contains("[train.early_stopping]\npatience = 4"),
            "{text}"
        );
        let file = directory.path().join("gareum.toml");
        std::fs::write(&file, &text).unwrap();
        let mut read = Settings::load(Some(&file), &[]).unwrap();
        assert_eq!(
            normalised(&std::path::absolute(read.data.test.clone().unwrap()).unwrap()),
            std::path::absolute("there.csv").unwrap()
        );
        read.data.test.clone_from(&settings.data.test);
        read.output.dir.clone_from(&settings.output.dir);
        assert_eq!(read, settings);
    }
}
