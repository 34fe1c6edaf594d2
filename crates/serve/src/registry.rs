//! The models by name, and reading them again when their files change: a request keeps the model that it began with.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gareum::chain::ChainError;
use gareum::settings::PrecisionSetting;

use crate::error::ServeError;
use crate::failure::Failure;
use crate::model::{Bases, Served, Signature, apart};
use crate::settings::ModelSettings;
use crate::statistics::Statistics;

/// The models of a server.
pub struct Registry {
    slots: Vec<Slot>,
    precision: PrecisionSetting,
    /// Only one model is read at a time: each needs its whole memory once more.
    reading: Mutex<()>,
}

struct Slot {
    settings: ModelSettings,
    name: String,
    current: RwLock<Arc<Served>>,
    /// The files that were read last, whether they made a model or not.
    tried: Mutex<Signature>,
}

impl Registry {
    /// Reads all models.
    ///
    /// # Errors
    /// [`ServeError`] if there is none, or one cannot be read.
    pub fn load(models: &[ModelSettings], precision: PrecisionSetting) -> Result<Self, ServeError> {
        if models.is_empty() {
            return Err(ServeError::NoModel);
        }
        let (mut bases, mut slots) = (Bases::default(), Vec::new());
        for settings in models {
            let name = settings.name();
            let signature = Signature::of(&settings.path);
            let served = Served::load(settings, precision, &mut bases).map_err(|source| ServeError::Model {
                name: name.clone(),
                source: Box::new(source),
            })?;
            slots.push(Slot {
                settings: settings.clone(),
                name,
                current: RwLock::new(Arc::new(served)),
                tried: Mutex::new(signature),
            });
        }
        Ok(Self {
            slots,
            precision,
            reading: Mutex::new(()),
        })
    }

    /// The model of a name; the first if none is given.
    ///
    /// # Errors
    /// [`Failure::UnknownModel`].
    pub fn get(&self, name: Option<&str>) -> Result<Arc<Served>, Failure> {
        Ok(self.slot(name)?.current())
    }

    fn slot(&self, name: Option<&str>) -> Result<&Slot, Failure> {
        let found = match name {
            None => self.slots.first(),
            Some(name) => self.slots.iter().find(|slot| slot.name == name),
        };
        found.ok_or_else(|| Failure::UnknownModel {
            name: name.unwrap_or_default().to_owned(),
            known: self
                .slots
                .iter()
                .map(|slot| slot.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// All of them, the default first.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.slots.iter().map(Slot::current).collect()
    }

    /// Reads a model again. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`Failure::UnknownModel`]; [`Failure::Unfit`] if the directory holds no usable model now: the old one stays.
    pub fn reload(&self, name: &str, statistics: &Statistics) -> Result<Arc<Served>, Failure> {
        let slot = self.slot(Some(name))?;
        let result = self.read(slot, Signature::of(&slot.settings.path));
        statistics.reload(name, result.is_ok());
        result.map_err(|error| Failure::Unfit(format!("`{name}` stays as it was: {error}")))
    }

    fn read(&self, slot: &Slot, signature: Signature) -> Result<Arc<Served>, ChainError> {
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        *slot.tried.lock().unwrap_or_else(PoisonError::into_inner) = signature;
        let (settings, precision) = (&slot.settings, self.precision);
        // An adapter gets a base of its own then, as the old one may be what has changed.
        let served = apart(|| Served::load(settings, precision, &mut Bases::default()))?;
        let served = Arc::new(served);
        *slot.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&served);
        Ok(served)
    }

    /// Looks every `interval` whether files have changed, until `stop` says so. A change is taken up once the files have stood still for an
    /// interval; what cannot be read then is told, and tried again when the files change again.
    pub fn watch(&self, interval: Duration, statistics: &Statistics, stop: &AtomicBool) {
        let mut seen: Vec<Signature> = self.slots.iter().map(Slot::tried).collect();
        while !stop.load(Relaxed) {
            // In short naps, so that the end need not wait for it.
            let mut left = interval;
            while !left.is_zero() && !stop.load(Relaxed) {
                let nap = left.min(Duration::from_millis(100));
                std::thread::sleep(nap);
                left -= nap;
            }
            for (slot, seen) in self.slots.iter().zip(&mut seen) {
                let now = Signature::of(&slot.settings.path);
                let stands_still = now == *seen;
                *seen = now.clone();
                if !stands_still || now == slot.tried() || stop.load(Relaxed) {
                    continue;
                }
                let result = self.read(slot, now);
                statistics.reload(&slot.name, result.is_ok());
                match result {
                    Ok(_) => tracing::info!(model = slot.name, "reloaded"),
                    Err(error) => {
                        tracing::warn!(model = slot.name, error = %error, "the files have changed and make no model; the old one stays");
                    }
                }
            }
        }
    }
}

impl Slot {
    fn current(&self) -> Arc<Served> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn tried(&self) -> Signature {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
