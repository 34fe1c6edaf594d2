//! Smaller models that do the same. None is given out unseen: a [`Gate`] compares what a model says before and after on labelled rows, and
//! fails closed.
//!
//! Not here: how weights of 8 bits are stored (`model/quantization.rs`) and multiplied (`tensor`), and how contestants are measured
//! (`comparison/`).

mod gate;
mod int8;

use std::path::PathBuf;

use serde::Serialize;

use crate::comparison::{Comparison, ComparisonError};
use crate::data::Example;
use crate::metrics::MetricsError;
use crate::model::{Model, ModelError};
use crate::predict::{self, PredictError};
use crate::tokens::Tokenizer;

pub use gate::{Flip, Gate, Judgement, Shift};
pub use int8::{Int8Options, to_int8};

/// What a model is compressed from, and judged on.
#[derive(Debug)]
pub struct Source<'a> {
    /// The model directory.
    pub directory: PathBuf,
    /// The model, an adapter merged.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Labelled rows that it was not trained on, with texts as they stand in the file.
    pub examples: &'a [Example],
}

/// A smaller model, and how it compares.
#[derive(Debug)]
pub struct Compressed {
    /// The model.
    pub model: Model,
    /// What it was judged by.
    pub report: Report,
}

/// What is told of a compression.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model before and after on the same rows.
    pub comparison: Comparison,
    /// What the gate says.
    pub judgement: Judgement,
    /// Names of weights that could be narrow and were left as they are.
    pub kept: Vec<String>,
    /// How much of the model's numbers is narrow.
    pub share: f64,
}

/// What is going on.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Rows of a pass that are done, and all of them.
    Rows(usize, usize),
    /// A mix has been judged; so many groups of weights are kept as they were.
    Judged(&'a Judgement, usize),
}

/// Why a model cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The model cannot be read.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// It cannot be measured.
    #[error(transparent)]
    Comparison(Box<ComparisonError>),
    /// It is so already.
    #[error("{}: the model is of 8 bits already\nhint: take the model that it was made of", .0.display())]
    IsInt8(PathBuf),
}

impl From<ModelError> for CompressError {
    fn from(error: ModelError) -> Self {
        Self::Predict(error.into())
    }
}

impl From<ComparisonError> for CompressError {
    fn from(error: ComparisonError) -> Self {
        Self::Comparison(Box::new(error))
    }
}

impl From<MetricsError> for CompressError {
    fn from(error: MetricsError) -> Self {
        ComparisonError::from(error).into()
    }
}

impl<'a> Source<'a> {
    /// Reads a model; an adapter is merged with the model that it belongs to, at `base` or where it says.
    ///
    /// # Errors
    /// [`CompressError`] names the file and what is wrong with it.
    pub fn open(
        directory: PathBuf,
        base: Option<&std::path::Path>,
        examples: &'a [Example],
    ) -> Result<Self, CompressError> {
        let mut model = predict::load_model(&directory, base)?;
        if model.is_int8() {
            return Err(CompressError::IsInt8(directory));
        }
        let tokenizer = predict::tokenizer_of(&mut model, &directory)?;
        model.merge()?;
        Ok(Self {
            directory,
            model,
            tokenizer,
            examples,
        })
    }

    /// Writes a compressed model, with tokenizer, decision and what is known of the original.
    ///
    /// # Errors
    /// [`CompressError`] if it cannot be written.
    pub fn save(&self, compressed: &Compressed, output: &std::path::Path) -> Result<(), CompressError> {
        Ok(predict::save_as(
            &compressed.model,
            &self.tokenizer,
            &self.directory,
            output,
        )?)
    }
}
