//! Why a run could not start or go on.

use std::path::PathBuf;

use super::{MemoryShortage, TeacherError};
use crate::data::DataError;
use crate::files::WriteError;
use crate::hub::HubError;
use crate::metrics::MetricsError;
use crate::model::ModelError;
use crate::tokens::TokenizerError;

/// A training run that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The checkpoint, by its name on the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// What is learnt from beside labels.
    #[error(transparent)]
    Teacher(Box<TeacherError>),
    /// A setting is needed that is not there.
    #[error("{what} is not given\nhint: {hint}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// How to give it.
        hint: &'static str,
    },
    /// `model.max_length` is more than the model has positions for.
    #[error(
        "model.max_length is {found}, the model has positions for {most} tokens\nhint: --set model.max_length={most}"
    )]
    MaxLength {
        /// The setting.
        found: usize,
        /// What the model can take.
        most: usize,
    },
    /// `train.freeze_layers` is more than the model has.
    #[error("train.freeze_layers is {found}, the model has {most} layers")]
    FreezeLayers {
        /// The setting.
        found: usize,
        /// The layers of the model.
        most: usize,
    },
    /// `train.class_weights` names a label that there is not.
    #[error("train.class_weights: there is no label {}\nhint: the labels are {known}", found.join(", "))]
    ClassWeights {
        /// The names.
        found: Vec<String>,
        /// The labels.
        known: String,
    },
    /// A setting for classes where numbers are predicted.
    #[error("{key} is given, but what is predicted are numbers\nhint: remove it, or give labels")]
    NotForNumbers {
        /// The setting.
        key: &'static str,
    },
    /// The metric to watch does not exist for the task.
    #[error("train.early_stopping.monitor is `{found}`, expected one of {known}")]
    Monitor {
        /// The setting.
        found: String,
        /// The metrics of the task.
        known: String,
    },
    /// There is too little memory, even for one text at a time.
    #[error("{0}")]
    Memory(Box<MemoryShortage>),
    /// The loss became infinite or not a number.
    #[error(
        "step {step}: the loss is {loss}\nhint: lower train.learning_rate (now {learning_rate:e}) or train.max_grad_norm"
    )]
    NotFinite {
        /// Number of the step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// The peak learning rate.
        learning_rate: f64,
    },
    /// A checkpoint cannot be taken up.
    #[error("{}: {reason}\nhint: {hint}", path.display())]
    Resume {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Predictions and targets do not fit each other.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Tensors do not fit each other.
    #[error(transparent)]
    Tensor(#[from] tensor::Error),
}

impl From<TeacherError> for TrainError {
    fn from(error: TeacherError) -> Self {
        Self::Teacher(Box::new(error))
    }
}
