//! Why contestants cannot be compared.

use std::path::PathBuf;

use crate::data::{DataError, Place};
use crate::metrics::MetricsError;
use crate::model::ModelError;
use crate::predict::PredictError;

/// Why contestants cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// A model cannot be used.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// A model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Predictions and examples do not belong together.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A model knows other labels.
    #[error(
        "{}: the model's labels are not those of the others\n  its own: {}\n  theirs:  {}\nhint: only models of the same labels can be compared",
        model.display(), found.join(", "), expected.join(", ")
    )]
    Labels {
        /// Its directory.
        model: PathBuf,
        /// Its labels.
        found: Vec<String>,
        /// Those of the others.
        expected: Vec<String>,
    },
    /// A model does something else.
    #[error("{}: the model is for {found}, the others for {expected}\nhint: only models of the same task can be compared", model.display())]
    Task {
        /// Its directory.
        model: PathBuf,
        /// Its task.
        found: crate::data::Task,
        /// That of the others.
        expected: crate::data::Task,
    },
    /// A file has too many or too few rows.
    #[error(
        "{path}: {found} rows of predictions, but the data has {rows} rows ({examples} of them with text and label)\n\
         hint: a predictions file has a row for each row of the data, in the same order"
    )]
    Rows {
        /// The file.
        path: String,
        /// Its rows.
        found: usize,
        /// Those of the data.
        rows: usize,
        /// Those that can be used.
        examples: usize,
    },
    /// A file is of other rows.
    #[error(
        "{place}: the text is `{found}`, in the data it is `{expected}`\n\
         hint: a predictions file has a row for each row of the data, in the same order"
    )]
    OtherText {
        /// Where.
        place: Box<Place>,
        /// The beginning of the file's text.
        found: String,
        /// That of the data.
        expected: String,
    },
    /// A file says nothing.
    #[error("{path}: no column of predictions; found {}\nhint: {hint}", columns.join(", "))]
    NoPredictions {
        /// The file.
        path: String,
        /// Its columns.
        columns: Vec<String>,
        /// What to do.
        hint: &'static str,
    },
    /// A row says nothing.
    #[error("{0}: no prediction\nhint: give every row a label; one without an answer could get the most frequent one")]
    NoAnswer(Box<Place>),
    /// A probability is none.
    #[error("{place}: expected a number, found `{found}`")]
    BadScore {
        /// Where.
        place: Box<Place>,
        /// What stands there.
        found: String,
    },
}
