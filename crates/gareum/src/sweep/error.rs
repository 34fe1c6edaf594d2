//! Why a sweep could not start or go on.

use std::path::PathBuf;

use crate::files::WriteError;
use crate::settings::SettingsError;

/// A sweep that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The settings of a trial cannot be used.
    #[error("trial {trial}: {source}")]
    Trial {
        /// Its number.
        trial: usize,
        /// What is wrong.
        source: SettingsError,
    },
    /// Nothing is varied.
    #[error(
        "no parameter is given\nhint: gareum sweep --parameter train.learning_rate=1e-5,3e-5, or [sweep.parameters] in the settings file"
    )]
    NoParameters,
    /// A setting that cannot differ between trials.
    #[error("sweep.parameters.{key}: {reason}")]
    Parameter {
        /// The setting.
        key: String,
        /// Why.
        reason: &'static str,
    },
    /// Two settings of the sweep contradict each other.
    #[error("{key} is given, {reason}")]
    Contradiction {
        /// The setting.
        key: &'static str,
        /// Why it cannot be.
        reason: &'static str,
    },
    /// A grid too large to be meant.
    #[error("the grid has {found} trials\nhint: fewer values, or --method random --trials N")]
    TooMany {
        /// How many combinations there are.
        found: String,
    },
    /// The metric to compare by does not exist for the task.
    #[error("sweep.monitor is `{found}`, expected one of {known}")]
    Monitor {
        /// The setting.
        found: String,
        /// The metrics of the task.
        known: String,
    },
    /// There is nothing to compare trials by.
    #[error(
        "there are no validation rows to compare trials by\nhint: give --validation FILE, or a share of validation in data.split"
    )]
    NoValidation,
    /// Another process runs a sweep in the directory.
    #[error("{}: another sweep is running in this directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is a sweep in the directory already.
    #[error("{}: there is a sweep already\nhint: go on with it with --resume, or name another directory with --output", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// There is no sweep to go on with.
    #[error("{}: there is no sweep to go on with\nhint: start it without --resume", path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// What is asked for is not what was begun.
    #[error("{}: this is another sweep than the one that was begun here:\n  {}\nhint: give the settings of before, or name another directory with --output", path.display(), differences.join("\n  "))]
    Different {
        /// The directory.
        path: PathBuf,
        /// What differs, in words.
        differences: Vec<String>,
    },
    /// What a sweep has written cannot be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl SweepError {
    /// Whether what was given is to blame.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Write(_))
    }
}
