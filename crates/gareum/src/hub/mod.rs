//! Models and datasets by their names on the hub: fetched into the cache that Hugging Face's tools share, and found there.
//!
//! [`Hub::fetch_model`] and [`Hub::fetch_dataset`] use the network and are called before work begins; what works then looks into the cache
//! only ([`local_model`]). `client.rs` speaks to the hub, `cache.rs` knows the folders, `name.rs` the names, `files.rs`
//! and `dataset.rs` which files are needed.

pub mod cache;
mod client;
mod dataset;
mod error;
mod files;
mod name;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::transformer_folder;
use cache::CachedRepository;
use client::{Client, Listing};
pub use dataset::LocalDataset;
pub(crate) use dataset::local_dataset;
pub use error::HubError;
pub use name::{DatasetName, Kind, Repository};
pub(crate) use name::{is_hub_path, is_plain_model};

const ENDPOINT: &str = "https://huggingface.co";

/// How far a file is.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// Its name in the repository.
    pub file: &'a str,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all, if the hub says so.
    pub total: Option<u64>,
}

/// What is told while something is fetched.
#[derive(Debug, Clone, Copy)]
pub enum HubEvent<'a> {
    /// A file is on its way.
    Transfer(Transfer<'a>),
    /// The hub could not be reached, and what was fetched before is used.
    Unreachable(&'a HubError),
}

/// A hub, its cache, and whether the network may be used.
pub struct Hub {
    client: Client,
    cache: PathBuf,
    offline: bool,
}

impl Hub {
    /// By the variables that `huggingface_hub` goes by: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH`,
    /// `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`, `SSL_CERT_FILE`. `offline`: use no network, whatever they say.
    ///
    /// # Errors
    /// [`HubError`] if there is no place for a cache, or the certificates cannot be read.
    pub fn from_environment(offline: bool) -> Result<Self, HubError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().map(|value| value.trim().to_owned());
        let text = |name: &str| text(name).filter(|value| !value.is_empty());
        let is_on = |name: &str| text(name).is_some_and(|value| is_on(&value));
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| {
            let path = text("HF_TOKEN_PATH").map(PathBuf::from);
            let path = path.or_else(|| Some(cache::home(variable)?.join("token")))?;
            let token = std::fs::read_to_string(path).ok()?;
            Some(token.trim().to_owned()).filter(|token| !token.is_empty())
        });
        let endpoint = text("HF_ENDPOINT");
        let certificates = text("SSL_CERT_FILE").map(PathBuf::from);
        Ok(Self {
            client: Client::new(endpoint.as_deref().unwrap_or(ENDPOINT), token, certificates.as_deref())?,
            cache: cache_directory()?,
            offline: offline || is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
        })
    }

    /// Brings what is needed of a model into the cache and returns its directory.
    ///
    /// # Errors
    /// [`HubError`] says what could not be had and why.
    pub fn fetch_model(
        &self,
        repository: &Repository,
        observe: &mut dyn FnMut(HubEvent<'_>),
    ) -> Result<PathBuf, HubError> {
        let cached = CachedRepository::of(&self.cache, repository);
        let complete = || {
            cached
                .latest(&repository.revision)
                .filter(|snapshot| is_complete(snapshot))
        };
        let Some(listing) = self.listing(repository, complete().is_some(), observe)? else {
            return complete().ok_or_else(|| self.not_cached(repository));
        };
        let mut get = |file: &str| {
            let mut tell = |transfer: Transfer<'_>| observe(HubEvent::Transfer(transfer));
            self.client.fetch(repository, &cached, &listing.commit, file, &mut tell)
        };
        let folder = match listing.files.iter().find(|file| *file == "modules.json") {
            None => String::new(),
            Some(modules) => {
                let text = std::fs::read_to_string(get(modules)?).unwrap_or_default();
                transformer_folder(&text).map_err(|reason| HubError::Weights {
                    name: repository.id.clone(),
                    reason,
                    hint: "choose another model".to_owned(),
                })?
            }
        };
        let mut config = Value::Null;
        let own = (!folder.is_empty()).then_some(folder.as_str());
        for folder in std::iter::once("").chain(own) {
            for file in files::small(&listing.files, folder) {
                let path = get(file)?;
                if file.ends_with("config.json") && path.file_name().is_some_and(|name| name == "config.json") {
                    let text = std::fs::read(path).unwrap_or_default();
                    config = serde_json::from_slice(&text).unwrap_or_default();
                }
            }
        }
        let weights = files::weights(repository, &listing.files, &folder, &config)?;
        let path = get(weights)?;
        if weights.ends_with(".json") {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            for part in files::parts_of(&text) {
                let file = Path::new(weights).with_file_name(&part).display().to_string();
                // A part that is not in the list is told when the weights are read.
                if listing.files.contains(&file) {
                    get(&file)?;
                }
            }
        }
        cached.remember(&repository.revision, &listing.commit)?;
        Ok(cached.snapshot(&listing.commit))
    }

    /// Asks for the files of a revision; `None` if what is in the cache is to be used.
    fn listing(
        &self,
        repository: &Repository,
        is_cached: bool,
        observe: &mut dyn FnMut(HubEvent<'_>),
    ) -> Result<Option<Listing>, HubError> {
        // A commit never changes.
        let is_commit = repository.revision.len() == 40 && repository.revision.chars().all(|c| c.is_ascii_hexdigit());
        if self.offline || (is_commit && is_cached) {
            return Ok(None);
        }
        match self.client.list(repository) {
            Ok(listing) => Ok(Some(listing)),
            Err(error @ (HubError::Network { .. } | HubError::Status { .. })) if is_cached => {
                observe(HubEvent::Unreachable(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn not_cached(&self, repository: &Repository) -> HubError {
        HubError::NotCached {
            name: repository.id.clone(),
        }
    }
}

fn is_on(value: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str())
}

fn cache_directory() -> Result<PathBuf, HubError> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    cache::directory(variable).ok_or(HubError::NoCache)
}

/// Whether the weights of a model are there, and what is needed beside them.
fn is_complete(snapshot: &Path) -> bool {
    let missing = cache::missing(snapshot);
    // A family that is not known is told when the model is read.
    !missing
        .iter()
        .any(|missing| missing.contains('.') && !missing.contains("model_type"))
}

/// The directory of a model that was fetched, or `base` itself if that is no name on the hub.
///
/// # Errors
/// [`HubError::NotCached`] if it was not fetched.
pub fn local_model(base: &Path, revision: Option<&str>) -> Result<PathBuf, HubError> {
    let Some(repository) = Repository::model(base, revision)? else {
        return Ok(base.to_owned());
    };
    let cache = cache_directory()?;
    let cached = CachedRepository::of(&cache, &repository);
    cached
        .latest(&repository.revision)
        .ok_or(HubError::NotCached { name: repository.id })
}
