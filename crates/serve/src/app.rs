//! What all requests share, and the routes put together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use axum::Router;

use crate::access::{Keys, Rates};
use crate::batcher::{Batcher, Worker};
use crate::cache::Cache;
use crate::error::ServeError;
use crate::registry::Registry;
use crate::routes;
use crate::samples::Samples;
use crate::settings::ServeSettings;
use crate::statistics::{Moment, Statistics};

/// What all requests share.
pub struct App {
    pub(crate) settings: ServeSettings,
    pub(crate) registry: Registry,
    pub(crate) batcher: Batcher,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) cache: Cache,
    pub(crate) keys: Keys,
    pub(crate) rates: Rates,
    pub(crate) samples: Samples,
    pub(crate) connections: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) is_ending: AtomicBool,
}

impl App {
    /// Reads models, keys and whatever else the settings name. The loop that computes must be run by somebody.
    ///
    /// # Errors
    /// [`ServeError`] says what cannot be used.
    pub fn new(settings: ServeSettings) -> Result<(Arc<Self>, Worker), ServeError> {
        let statistics = Arc::new(Statistics::default());
        let (batcher, worker) = Batcher::new(&settings.queue, &settings.batch, Arc::clone(&statistics));
        // What is cheap to find out comes before the models.
        let keys = Keys::load(&settings.access)?;
        let samples = Samples::open(&settings.samples)?;
        let app = Self {
            registry: Registry::load(&settings.models, settings.precision)?,
            batcher,
            statistics,
            cache: Cache::new(settings.cache.max_bytes),
            keys,
            rates: Rates::new(&settings.access, &settings.limits),
            samples,
            connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_ending: AtomicBool::new(false),
            settings,
        };
        Ok((Arc::new(app), worker))
    }

    /// The names of the models and where they were read, the default first.
    pub fn models(&self) -> Vec<(String, PathBuf)> {
        let all = self.registry.all();
        all.iter()
            .map(|served| (served.name.clone(), served.directory.clone()))
            .collect()
    }

    /// Whether requests must bring a key.
    pub fn needs_keys(&self) -> bool {
        self.keys.are_needed()
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            in_flight: self.in_flight.load(Relaxed),
            connections: self.connections.load(Relaxed),
            queue_tokens: self.batcher.queued_tokens(),
            queue_requests: self.batcher.queued_requests(),
            cache_bytes: self.cache.bytes(),
        }
    }
}

/// The routes, with everything around them.
///
/// ```no_run
/// use serve::{App, ServeSettings, app};
///
/// # fn main() -> Result<(), serve::ServeError> {
/// let settings = ServeSettings::load(Some("serve.toml".as_ref()), std::env::vars(), &[])?;
/// let (shared, worker) = App::new(settings)?;
/// std::thread::spawn(|| worker.run());
/// let router = app(shared);
/// # Ok(())
/// # }
/// ```
pub fn app(app: Arc<App>) -> Router {
    routes::router(app)
}
