//! The models that Hugging Face's tools have left in their cache: read only, nothing is fetched.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::model::Family;

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
    let home = set("HF_HOME")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(set("HOME")?.join(".cache/huggingface")))?;
    Some(home.join("hub"))
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

fn missing(directory: &Path) -> Vec<String> {
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
    if !is_there("model.safetensors") {
        missing.push("model.safetensors".to_owned());
    }
    if !is_there("tokenizer.json") && !is_there("vocab.txt") {
        missing.push("tokenizer.json or vocab.txt".to_owned());
    }
    missing
}

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
        let lacks = "a supported model_type (it is `gpt2`), model.safetensors".to_owned();
        assert_eq!(found, [("gpt2", lacks), ("klue/bert-base", String::new())]);
        assert!(models(cache.path())[1].directory.ends_with("snapshots/abc"));
        assert!(models(&cache.path().join("nothing")).is_empty());
    }
}
