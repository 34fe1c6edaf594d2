//! The cache that Hugging Face's tools share: `models--owner--name/` with `blobs/` (files by what the hub calls their content), `snapshots/`
//! (for each commit, names that point to blobs) and `refs/` (the commit of a branch or tag).

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::name::Repository;
use crate::files::{WriteError, create_directory, write_atomically};
use crate::model::{EncoderFolder, Family, WEIGHTS};

/// The folder of one repository.
#[derive(Debug, Clone)]
pub(super) struct CachedRepository {
    folder: PathBuf,
}

impl CachedRepository {
    pub fn of(cache: &Path, repository: &Repository) -> Self {
        let id = repository.id.replace('/', "--");
        Self {
            folder: cache.join(format!("{}--{id}", repository.kind.folder())),
        }
    }

    /// The files of a commit, whether or not they are there.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The files of what a revision was when it was last fetched.
    pub fn latest(&self, revision: &str) -> Option<PathBuf> {
        let by_name = std::fs::read_to_string(self.reference(revision)).ok();
        let commit = by_name.as_deref().map_or(revision, str::trim);
        let is_commit = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
        Some(self.snapshot(commit)).filter(|path| is_commit && path.is_dir())
    }

    /// Remembers the commit of a revision.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<(), WriteError> {
        let path = self.reference(revision);
        if revision == commit || std::fs::read_to_string(&path).is_ok_and(|known| known == commit) {
            return Ok(());
        }
        create_directory(path.parent().unwrap_or(&self.folder))?;
        write_atomically(&path, commit.as_bytes())
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// Where a file with this content belongs.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Gives a blob a name in a snapshot.
    pub fn link(&self, blob: &Path, commit: &str, file: &str) -> Result<PathBuf, WriteError> {
        let path = self.snapshot(commit).join(file);
        let failed = |error: std::io::Error| WriteError::new(&path, &error);
        create_directory(path.parent().unwrap_or(&self.folder))?;
        #[cfg(unix)]
        {
            // Relative, so that the cache can be moved.
            let up = "../".repeat(2 + file.split('/').count() - 1);
            let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
            match std::os::unix::fs::symlink(target, &path) {
                // Another process was faster.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.exists() => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                other => other.map_err(failed)?,
            }
        }
        #[cfg(not(unix))]
        std::fs::copy(blob, &path).map(|_| ()).map_err(failed)?;
        Ok(path)
    }
}

/// A model of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedModel {
    /// Its name on the hub, such as `klue/bert-base`.
    pub name: String,
    /// The directory to give to `--model`.
    pub directory: PathBuf,
    /// What gareum needs and does not find there; empty if the model can be used.
    pub missing: Vec<String>,
}

/// Where the cache is, by the variables that `huggingface_hub` goes by; `variable` reads one of the environment.
pub fn directory(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    if let Some(directory) = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
        return Some(directory);
    }
    Some(home(variable)?.join("hub"))
}

/// Where Hugging Face's tools keep what is theirs.
pub(super) fn home(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    set("HF_HOME")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(set("HOME")?.join(".cache/huggingface")))
}

/// The models in the cache, by name; none if there is no cache.
pub fn models(cache: &Path) -> Vec<CachedModel> {
    let mut models: Vec<CachedModel> = entries(cache).filter_map(|path| model(&path)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// `models--a--b` with its snapshot; `None` if it is something else or nothing was fetched.
fn model(path: &Path) -> Option<CachedModel> {
    let name = path.file_name()?.to_str()?.strip_prefix("models--")?.replace("--", "/");
    let main = std::fs::read_to_string(path.join("refs/main"))
        .ok()
        .map(|revision| path.join("snapshots").join(revision.trim()))
        .filter(|snapshot| snapshot.is_dir());
    let directory = main.or_else(|| entries(&path.join("snapshots")).filter(|path| path.is_dir()).max())?;
    let missing = missing(&directory);
    Some(CachedModel {
        name,
        directory,
        missing,
    })
}

/// What is needed to train a model and is not in its snapshot.
pub(super) fn missing(model: &Path) -> Vec<String> {
    let folder = EncoderFolder::of(model);
    let directory = folder.as_ref().map_or(model, |folder| &folder.directory);
    let is_there = |name: &str| directory.join(name).is_file();
    let mut missing = Vec::new();
    match std::fs::read_to_string(directory.join("config.json")) {
        Err(_) => missing.push("config.json".to_owned()),
        Ok(text) => {
            let config: Value = serde_json::from_str(&text).unwrap_or_default();
            let found = config["model_type"].as_str().unwrap_or("(none)");
            if Family::from_model_type(found).is_none() {
                missing.push(format!("a supported model_type (it is `{found}`)"));
            }
        }
    }
    match WEIGHTS.iter().find(|name| is_there(name)) {
        None => missing.push("model.safetensors or pytorch_model.bin".to_owned()),
        Some(index) if index.ends_with(".json") => {
            let parts = std::fs::read_to_string(directory.join(index));
            let parts = parts.map(|text| super::files::parts_of(&text)).unwrap_or_default();
            missing.extend(parts.into_iter().filter(|part| !is_there(part)));
        }
        Some(_) => {}
    }
    let is_tokenizer = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        TOKENIZERS.contains(&name.as_str()) || name.ends_with(".model")
    };
    if !entries(directory).any(is_tokenizer) {
        missing.push("tokenizer.json or vocab.txt".to_owned());
    }
    missing
}

/// Files that a tokenizer can be made from, beside those of sentencepiece.
const TOKENIZERS: [&str; 3] = ["tokenizer.json", "vocab.txt", "vocab.json"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_variables_in_their_order() {
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            assert_eq!(directory(variable).as_deref(), expected.map(Path::new), "{set:?}");
        };
        let all = [
            ("HF_HUB_CACHE", "/a"),
            ("HF_HOME", "/b"),
            ("XDG_CACHE_HOME", "/c"),
            ("HOME", "/d"),
        ];
        check(&all, Some("/a"));
        check(&all[1..], Some("/b/hub"));
        check(&all[2..], Some("/c/huggingface/hub"));
        check(&all[3..], Some("/d/.cache/huggingface/hub"));
        check(&[("HF_HOME", ""), ("HOME", "/d")], Some("/d/.cache/huggingface/hub"));
        check(&[], None);
    }

    #[test]
    fn models_and_what_they_lack() {
        let cache = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = cache.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let bert = r#"{"model_type": "bert"}"#;
        write("models--klue--bert-base/refs/main", "abc");
        write("models--klue--bert-base/snapshots/abc/config.json", bert);
        write("models--klue--bert-base/snapshots/abc/model.safetensors", "");
        write("models--klue--bert-base/snapshots/abc/vocab.txt", "");
        write("models--klue--bert-base/snapshots/older/config.json", bert);
        write("models--gpt2/snapshots/def/config.json", r#"{"model_type": "gpt2"}"#);
        write("models--gpt2/snapshots/def/tokenizer.json", "");
        write("models--empty/refs/main", "abc");
        write("datasets--klue--klue/refs/main", "abc");
        write("version.txt", "1");
        let found = models(cache.path());
        let found: Vec<(&str, String)> = found
            .iter()
            .map(|model| (model.name.as_str(), model.missing.join(", ")))
            .collect();
        let lacks = "a supported model_type (it is `gpt2`), model.safetensors or pytorch_model.bin".to_owned();
        assert_eq!(found, [("gpt2", lacks), ("klue/bert-base", String::new())]);
        assert!(models(cache.path())[1].directory.ends_with("snapshots/abc"));
        assert!(models(&cache.path().join("nothing")).is_empty());
    }
}
