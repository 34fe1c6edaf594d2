//! What is served: a model with what is known of it, under a name.
//!
//! A model that answers otherwise (a chain of two) is a variant of [`Kind`]; what goes through the queue is always an [`Engine`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use gareum::chain::{Chain, ChainError};
use gareum::data::Input;
use gareum::explain::{self, Explanation, Options};
use gareum::model::Adapter;
use gareum::predict::{PredictError, Predictor, SharedBase};
use gareum::settings::{ChainSettings, PrecisionSetting};
use serde_json::{Value, json};

use crate::batcher::Engine;
use crate::settings::ModelSettings;

/// A model that answers.
pub struct Served {
    /// What requests call it.
    pub name: String,
    /// Where it was read.
    pub directory: PathBuf,
    /// What it does.
    pub kind: Kind,
    /// When it was read.
    pub loaded_at: SystemTime,
    /// `metrics.json`.
    pub metrics: Option<Value>,
    /// `README.md`.
    pub card: Option<String>,
    settings: ModelSettings,
    /// The same with weights that gradients pass through, once it was asked for.
    for_gradients: Mutex<Option<Explainer>>,
}

/// What a served model does.
pub enum Kind {
    /// Labels for a text.
    Classifier(Arc<Engine>),
    /// Keywords of a text, and what it feels about each.
    Chain(Arc<ServedChain>),
}

/// A chain with its models as they go through the queue.
pub struct ServedChain {
    /// What is asked, and what is made of the answers.
    pub chain: Chain,
    /// The model that reads texts as they are.
    pub first: Arc<Engine>,
    /// The one that answers questions about keywords, where there is one.
    pub second: Option<Arc<Engine>>,
}

impl ServedChain {
    fn new(chain: Chain) -> Self {
        Self {
            first: Arc::new(Engine::new(Arc::clone(chain.first()))),
            second: chain.second().map(|second| Arc::new(Engine::new(Arc::clone(second)))),
            chain,
        }
    }

    /// The model whose words are explained.
    fn explained(&self) -> &Arc<Engine> {
        self.second.as_ref().unwrap_or(&self.first)
    }
}

/// What explains texts.
#[derive(Clone)]
pub enum Explainer {
    /// A model.
    Model(Arc<Engine>),
    /// A chain.
    Chain(Arc<ServedChain>),
}

impl Explainer {
    /// The model whose words are explained: its time is what explaining takes.
    pub fn engine(&self) -> &Arc<Engine> {
        match self {
            Self::Model(engine) => engine,
            Self::Chain(served) => served.explained(),
        }
    }

    /// Fails where [`Explainer::explain`] would whatever the texts.
    ///
    /// # Errors
    /// [`ExplainError`] or what a chain makes of it.
    pub fn check(&self, options: &Options) -> Result<(), ChainError> {
        match self {
            Self::Model(engine) => Ok(explain::check(&engine.predictor, options)?),
            Self::Chain(served) => served.chain.check(options),
        }
    }

    /// Explains texts.
    ///
    /// # Errors
    /// As [`Explainer::check`].
    pub fn explain(&self, inputs: &[Input], options: &Options) -> Result<Vec<Explanation>, ChainError> {
        match self {
            Self::Model(engine) => Ok(explain::explain(&engine.predictor, inputs, options)?),
            Self::Chain(served) => served.chain.explain(inputs, options),
        }
    }
}

impl Served {
    /// Reads a model directory. What is shared between models is looked for in `bases`.
    ///
    /// # Errors
    /// [`ChainError`] names the file and what is wrong with it.
    pub fn load(settings: &ModelSettings, precision: PrecisionSetting, bases: &mut Bases) -> Result<Self, ChainError> {
        let directory = settings.path.clone();
        let kind = match &settings.base {
            _ if Chain::is_at(&directory) => {
                Kind::Chain(Arc::new(ServedChain::new(Chain::load(&directory, precision)?)))
            }
            Some(base) if Adapter::is_in(&directory) => {
                Kind::Classifier(Arc::new(Engine::new(bases.get(base, precision)?.adapter(&directory)?)))
            }
            base => {
                let predictor = Predictor::load_with_base(&directory, base.as_deref(), precision)?;
                Kind::Classifier(Arc::new(Engine::new(predictor)))
            }
        };
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
        Ok(Self {
            name: settings.name(),
            kind,
            loaded_at: SystemTime::now(),
            metrics: read("metrics.json").and_then(|text| serde_json::from_str(&text).ok()),
            card: read("README.md"),
            settings: settings.clone(),
            for_gradients: Mutex::default(),
            directory,
        })
    }

    /// The model that texts go through first.
    pub fn engine(&self) -> &Arc<Engine> {
        match &self.kind {
            Kind::Classifier(engine) => engine,
            Kind::Chain(served) => &served.first,
        }
    }

    /// What explains texts by leaving words out.
    pub fn explainer(&self) -> Explainer {
        match &self.kind {
            Kind::Classifier(engine) => Explainer::Model(Arc::clone(engine)),
            Kind::Chain(served) => Explainer::Chain(Arc::clone(served)),
        }
    }

    /// The same that gradients pass through; the first time it is read, which blocks.
    ///
    /// # Errors
    /// [`ChainError`] if the directory holds no usable model any more.
    pub fn for_gradients(&self) -> Result<Explainer, ChainError> {
        let mut kept = self.for_gradients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(explainer) = &*kept {
            return Ok(explainer.clone());
        }
        let load = || -> Result<Explainer, ChainError> {
            Ok(match &self.kind {
                Kind::Classifier(_) => {
                    let predictor = Predictor::load_for_gradients(&self.directory, self.settings.base.as_deref())?;
                    Explainer::Model(Arc::new(Engine::new(predictor)))
                }
                Kind::Chain(_) => {
                    Explainer::Chain(Arc::new(ServedChain::new(Chain::load_for_gradients(&self.directory)?)))
                }
            })
        };
        let explainer = apart(load)?;
        *kept = Some(explainer.clone());
        Ok(explainer)
    }

    /// The report of its run, if there is one.
    pub fn report(&self) -> Option<PathBuf> {
        let found = ["report/index.html", "report.html"].map(|name| self.directory.join(name));
        found.into_iter().find(|path| path.is_file())
    }

    /// How `GET /models` describes it.
    pub fn describe(&self) -> Value {
        let predictor = &self.engine().predictor;
        let schema = predictor.schema();
        json!({
            "name": self.name,
            "kind": match self.kind {
                Kind::Classifier(_) => "model",
                Kind::Chain(_) => "chain",
            },
            "sentiments": match &self.kind {
                Kind::Classifier(_) => Value::Null,
                Kind::Chain(served) => json!(served.chain.schema().sentiments),
            },
            "task": schema.task,
            "labels": schema.names,
            "max_length": predictor.truncation().max_length,
            "precision": predictor.precision().name(),
            "thresholds": (0..schema.names.len() as u32).map(|id| predictor.decision().threshold(id)).collect::<Vec<_>>(),
            "loaded_at": rfc3339(self.loaded_at),
            "has_report": self.report().is_some(),
            "metrics": self.metrics,
            "card": self.card,
        })
    }
}

/// Reads a model in a pool of its own: the common one computes for others meanwhile, and none of its threads may be free for a second.
pub fn apart<T: Send>(load: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(load),
        // No thread to be had: then it takes its turn.
        Err(_) => load(),
    }
}

/// Models for several adapters, by their directories.
#[derive(Default)]
pub struct Bases {
    read: BTreeMap<PathBuf, SharedBase>,
}

impl Bases {
    fn get(&mut self, directory: &Path, precision: PrecisionSetting) -> Result<&SharedBase, PredictError> {
        // Paths to the same directory mean the same.
        let key = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        if !self.read.contains_key(&key) {
            self.read.insert(key.clone(), SharedBase::load(directory, precision)?);
        }
        Ok(&self.read[&key])
    }
}

/// The files of a model directory, with their sizes and times: when they change, the model has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Signature {
    /// Of a directory as it is now.
    pub fn of(directory: &Path) -> Self {
        let is_meant = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            let is_ours = ["json", "safetensors", "bin", "txt", "model", "toml"].contains(&extension.as_ref());
            // Written in the course of a training, and not read here.
            is_ours && name != "trainer_state.json" && !name.contains(".tmp")
        };
        let entries = |directory: &Path| {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let mut files = entries(directory);
        // A chain has its models in directories of its own.
        if Chain::is_at(directory) && directory.is_dir() {
            let parts = files.iter().filter(|path| path.is_dir()).flat_map(|part| entries(part));
            files = parts.chain([directory.join(ChainSettings::FILE)]).collect();
        }
        let files = files.into_iter().filter(|path| is_meant(path));
        let described = files.filter_map(|path| {
            let metadata = path.metadata().ok()?;
            Some((path, (metadata.len(), metadata.modified().ok())))
        });
        Self(described.collect())
    }
}

/// A time as RFC 3339 in UTC, to the second.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0 (Hinnant, "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
