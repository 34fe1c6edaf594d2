//! What can be wrong with a server as a whole. What is wrong with a request is a [`crate::Failure`].

use std::path::PathBuf;

use gareum::chain::ChainError;
use gareum::settings::SettingsError;

/// Why a server does not start, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The settings file cannot be read.
    #[error("{}: {reason}\nhint: --config names a TOML file, such as serve.toml", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// There is nothing to serve.
    #[error("no model is named\nhint: --model DIR, [[model]] in serve.toml, or GAREUM_SERVE_MODELS")]
    NoModel,
    /// Two models have the same name.
    #[error("two models are called `{name}`\nhint: NAME=DIR gives each a name of its own")]
    Twice {
        /// The name.
        name: String,
    },
    /// A model cannot be read.
    #[error("model `{name}`: {source}")]
    Model {
        /// What it is called.
        name: String,
        /// What is wrong.
        source: Box<ChainError>,
    },
    /// The file of API keys cannot be used.
    #[error("{}: cannot use these API keys: {reason}\nhint: a key a line, of at least 8 characters without blanks, with a name and `=` before it or not", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate or key cannot be used.
    #[error("{}: cannot use this for TLS: {reason}\nhint: PEM files are needed: a certificate (with those it is signed by) and its private key", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nothing can listen there.
    #[error("cannot listen at {address}: {reason}\nhint: another --port, or 0 for a free one")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The file of samples cannot be opened.
    #[error("{}: cannot add samples: {reason}\nhint: samples.file names a file in a directory that exists", path.display())]
    Samples {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The system gives no threads, sockets or signals.
    #[error("the server cannot run: {0}")]
    System(#[from] std::io::Error),
    /// Requests were not finished in time.
    #[error(
        "{requests} requests were cut off: they were not finished {seconds} s after the end was asked for\nhint: shutdown.seconds gives them longer"
    )]
    CutOff {
        /// How many.
        requests: usize,
        /// The time they had.
        seconds: f64,
    },
}
