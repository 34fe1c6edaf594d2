//! How repositories of the hub are named.

use std::path::Path;

use super::HubError;

const SCHEME: &str = "hf://";
const MAIN: &str = "main";

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Weights and tokenizer.
    Model,
    /// Rows.
    Dataset,
}

impl Kind {
    /// How it is called in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        }
    }

    /// How it is called in paths.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// What it holds.
    pub kind: Kind,
    /// `owner/name`, or `name` for the few that have no owner.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Repository {
    /// The model that `base` names, if it names one on the hub: `hf://owner/name`, or `owner/name` unless there is such a directory here.
    ///
    /// # Errors
    /// [`HubError::Name`] if it is meant for one but cannot be.
    pub fn model(base: &Path, revision: Option<&str>) -> Result<Option<Self>, HubError> {
        let Some(text) = base.to_str() else { return Ok(None) };
        if !text.starts_with(SCHEME) && (base.exists() || !is_plain_model(text)) {
            return Ok(None);
        }
        let failed = |reason| HubError::Name {
            found: text.to_owned(),
            reason,
        };
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let name = name.strip_prefix("models/").unwrap_or(name).trim_end_matches('/');
        let (id, own) = match name.split_once('@') {
            Some((id, own)) => (id, Some(own)),
            None => (name, None),
        };
        let parts: Vec<&str> = id.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) {
            return Err(failed("expected `owner/name`"));
        }
        let repository = Self {
            kind: Kind::Model,
            id: id.to_owned(),
            revision: own.or(revision).unwrap_or(MAIN).to_owned(),
        };
        repository.checked(text).map(Some)
    }

    /// The repository at a revision that is known not to be strange.
    pub(super) fn checked(self, found: &str) -> Result<Self, HubError> {
        let is_sane = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_kept = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if self.revision.chars().all(is_kept) && self.revision.split('/').all(is_sane) {
            return Ok(self);
        }
        Err(HubError::Name {
            found: found.to_owned(),
            reason: "the revision has characters that no branch, tag or commit has",
        })
    }
}

/// Whether a name without `hf://` may be one of the hub: `owner/name`.
pub(crate) fn is_plain_model(text: &str) -> bool {
    let mut parts = text.split('@').next().unwrap_or_default().split('/');
    let two = (parts.next(), parts.next(), parts.next());
    matches!(two, (Some(owner), Some(name), None) if is_name(owner) && is_name(name))
}

/// Whether a path names something on the hub.
pub(crate) fn is_hub_path(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(SCHEME))
}

fn is_name(part: &str) -> bool {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    part.len() <= 96 && part.chars().all(is_kept) && is_edge(part.chars().next()) && !part.contains("..")
}

/// Rows of a dataset: which of its subsets and splits, or which of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetName {
    /// The dataset.
    pub repository: Repository,
    /// What stands behind it, without slashes at its ends: `mnli/train`, `data/train.parquet` or nothing.
    pub rest: String,
}

impl DatasetName {
    /// Reads `hf://owner/name[@revision][/subset][/split]` or `hf://datasets/owner/name[@revision]/path/to/file`; `None` if it does not
    /// begin with `hf://`.
    ///
    /// # Errors
    /// [`HubError::Name`] if it begins so and goes on otherwise.
    pub fn parse(path: &Path) -> Result<Option<Self>, HubError> {
        let Some(text) = path.to_str().filter(|text| text.starts_with(SCHEME)) else {
            return Ok(None);
        };
        let failed = |reason| HubError::Name {
            found: text.to_owned(),
            reason,
        };
        let name = &text[SCHEME.len()..];
        let name = name.strip_prefix("datasets/").unwrap_or(name);
        let mut parts = name.splitn(3, '/');
        let (owner, repository) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (repository, revision) = repository.split_once('@').unwrap_or((repository, MAIN));
        if !is_name(owner) || !is_name(repository) {
            return Err(failed("expected `owner/name` behind hf://"));
        }
        let rest = parts.next().unwrap_or_default().trim_matches('/');
        if rest.split('/').any(|part| part == ".." || part == ".") {
            return Err(failed("`..` leads out of the dataset"));
        }
        let repository = Repository {
            kind: Kind::Dataset,
            id: format!("{owner}/{repository}"),
            // A slash would begin the rest; the hub writes it so.
            revision: revision.replace("%2F", "/"),
        };
        Ok(Some(Self {
            repository: repository.checked(text)?,
            rest: rest.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = Repository::model(Path::new(text), None).unwrap();
            let found = found.as_ref().map(|name| (name.id.as_str(), name.revision.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        check("klue/bert-base", Some(("klue/bert-base", "main")));
        check("klue/bert-base@v1.0", Some(("klue/bert-base", "v1.0")));
        check("hf://klue/bert-base", Some(("klue/bert-base", "main")));
        check(
            "hf://models/klue/bert-base@refs/pr/1",
            Some(("klue/bert-base", "refs/pr/1")),
        );
        check("hf://gpt2", Some(("gpt2", "main")));
        for local in [
            "base",
            "./klue/bert-base",
            "/klue/bert-base",
            "a/b/c",
            "../base",
            "klue/",
            "src/hub",
            "a b/c",
        ] {
            check(local, None);
        }
        let with = Repository::model(Path::new("klue/bert-base"), Some("v2")).unwrap();
        assert_eq!(with.map(|name| name.revision).as_deref(), Some("v2"));
        for wrong in [
            "hf://a/b/c",
            "hf://",
            "hf://a/..",
            "hf://a/b@../../x",
            "hf://a/b@x?y",
            "hf://-a/b",
        ] {
            assert!(Repository::model(Path::new(wrong), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn datasets() {
        let check = |text: &str, expected: (&str, &str, &str)| {
            let found = DatasetName::parse(Path::new(text)).unwrap().unwrap();
            let found = (
                found.repository.id.as_str().to_owned(),
                found.repository.revision,
                found.rest,
            );
            assert_eq!(
                found,
                (expected.0.to_owned(), expected.1.to_owned(), expected.2.to_owned()),
                "{text}"
            );
        };
        check("hf://nyu-mll/glue/mnli", ("nyu-mll/glue", "main", "mnli"));
        check("hf://nyu-mll/glue/mnli/train/", ("nyu-mll/glue", "main", "mnli/train"));
        check("hf://datasets/e9t/nsmc", ("e9t/nsmc", "main", ""));
        check(
            "hf://datasets/e9t/nsmc@refs%2Fconvert%2Fparquet/default/train/0000.parquet",
            ("e9t/nsmc", "refs/convert/parquet", "default/train/0000.parquet"),
        );
        assert_eq!(DatasetName::parse(Path::new("train.csv")).unwrap(), None);
        for wrong in ["hf://nsmc", "hf://e9t/nsmc/../x", "hf:///x", "hf://a/b@?"] {
            assert!(DatasetName::parse(Path::new(wrong)).is_err(), "{wrong}");
        }
    }
}
