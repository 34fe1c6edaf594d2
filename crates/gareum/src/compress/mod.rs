//! Smaller models that do the same. None is given out unseen: a [`Gate`] compares what a model says before and after on labelled rows, and
//! fails closed.
//!
//! Not here: how narrow weights are stored (`model/quantization.rs`) and multiplied (`tensor`), and how contestants are measured
//! (`comparison/`).

mod gate;
mod half;
mod pruned;
mod quantized;
mod trimmed;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::comparison::{Comparison, ComparisonError, Contestant, Kind};
use crate::data::Example;
use crate::metrics::{Bootstrap, MetricsError};
use crate::model::{Model, ModelError};
use crate::predict::{self, PredictError, Predictor};
use crate::settings::PrecisionSetting;
use crate::tokens::{Tokenizer, TokenizerError};

pub use gate::{Flip, Gate, Judgement};
pub use half::to_half;
pub use pruned::{PruneOptions, PruneReport, Remains, judge_pruned, prune, recover};
pub use quantized::{QuantizeOptions, Quantized, quantize};
pub use trimmed::trim_vocabulary;

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
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// What it was judged by.
    pub report: Report,
}

/// What is told of a compression.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was done, in a word.
    pub to: &'static str,
    /// The model before and after on the same rows.
    pub comparison: Comparison,
    /// What the gate says.
    pub judgement: Judgement,
    /// Names of weights that could be narrow and were left as they are.
    pub kept: Vec<String>,
    /// How much of the model's numbers is narrow; null where all are.
    pub share: Option<f64>,
    /// Words before and after; null where none were left out.
    pub vocabulary: Option<[usize; 2]>,
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
    #[error("{}: the weights of the model are of 8 or 4 bits already\nhint: take the model that it was made of", .0.display())]
    IsQuantized(PathBuf),
    /// A tokenizer with fewer tokens does not do what it should.
    #[error("without the other tokens, the tokenizer would cut a text otherwise: {}\nhint: this tokenizer cannot be trimmed; its rules are not those of its kind", .0.chars().take(80).collect::<String>())]
    CutOtherwise(String),
    /// A number that f16 does not reach to.
    #[error("{}: `{name}` holds {value:e}, which is too large for f16\nhint: take bf16", path.display())]
    TooLarge {
        /// The model directory.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The number.
        value: f32,
    },
    /// A part that cannot be pruned.
    #[error("{}: {part} of this model cannot be pruned: {reason}\nhint: prune something else of it: --heads, --feed-forward, --layers", directory.display())]
    Fixed {
        /// The model.
        directory: PathBuf,
        /// What was to be pruned.
        part: &'static str,
        /// Why it cannot be.
        reason: &'static str,
    },
    /// It has not as many layers.
    #[error("--layers {found}: the model has {layers} layers\nhint: name how many are to be left")]
    Layers {
        /// How many were to be left.
        found: usize,
        /// How many there are.
        layers: usize,
    },
    /// It cannot be trained as it was.
    #[error("{}: {reason}, so it cannot be trained again by itself\nhint: leave --recover-epochs out and train what is written: gareum train --model PRUNED", directory.display())]
    NotRecoverable {
        /// The model.
        directory: PathBuf,
        /// Why.
        reason: &'static str,
    },
}

impl From<ModelError> for CompressError {
    fn from(error: ModelError) -> Self {
        Self::Predict(error.into())
    }
}

impl From<TokenizerError> for CompressError {
    fn from(error: TokenizerError) -> Self {
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

/// What is judged.
#[derive(Clone, Copy)]
struct Contender<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    /// Where its decision is.
    directory: &'a Path,
}

impl<'a> Contender<'a> {
    /// A model with everything else of the original.
    fn of(source: &'a Source<'_>, model: &'a Model) -> Self {
        Self {
            model,
            tokenizer: &source.tokenizer,
            directory: &source.directory,
        }
    }
}

/// Judges models by what the original says.
struct Judge<'a> {
    source: &'a Source<'a>,
    precision: PrecisionSetting,
    gate: Gate,
    before: Contestant,
}

impl<'a> Judge<'a> {
    /// Lets the original say what it does.
    fn new(
        source: &'a Source<'a>,
        (precision, gate): (PrecisionSetting, Gate),
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, CompressError> {
        let of = Contender::of(source, &source.model);
        let before = score("original", source, of, precision, observe)?;
        Ok(Self {
            source,
            precision,
            gate,
            before,
        })
    }

    /// What the gate says of another model in its place.
    fn judge(
        &self,
        name: &str,
        model: &Model,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Comparison, Judgement), CompressError> {
        self.judge_with(name, Contender::of(self.source, model), observe)
    }

    /// As [`Judge::judge`], with another tokenizer or decision.
    fn judge_with(
        &self,
        name: &str,
        of: Contender<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Comparison, Judgement), CompressError> {
        let after = score(name, self.source, of, self.precision, observe)?;
        let both = [self.before.clone(), after];
        let (schema, examples) = (self.source.model.schema(), self.source.examples);
        let comparison = Comparison::new(schema, examples, &both, &Bootstrap::default())?;
        let judgement = self.gate.judge(schema, examples, [&both[0], &both[1]], &comparison);
        Ok((comparison, judgement))
    }
}

fn score(
    name: &str,
    source: &Source<'_>,
    of: Contender<'_>,
    precision: PrecisionSetting,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Contestant, CompressError> {
    let rows = source.examples.len();
    let predictor = Predictor::with(of.model.clone(), of.tokenizer.clone(), of.directory, precision)?;
    let of = (of.directory, of.model.saved_bytes());
    let data = (source.model.schema(), source.examples);
    let progress = &mut |done| observe(Event::Rows(done, rows));
    Ok(Contestant::of(
        name.to_owned(),
        Kind::Model,
        &predictor,
        of,
        data,
        progress,
    )?)
}

impl<'a> Source<'a> {
    /// Reads a model; an adapter is merged with the model that it belongs to, at `base` or where it says.
    ///
    /// # Errors
    /// [`CompressError`] names the file and what is wrong with it.
    pub fn open(directory: PathBuf, base: Option<&Path>, examples: &'a [Example]) -> Result<Self, CompressError> {
        let mut model = predict::load_model(&directory, base)?;
        if model.is_quantized() {
            return Err(CompressError::IsQuantized(directory));
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
    pub fn save(&self, model: &Model, tokenizer: &Tokenizer, output: &Path) -> Result<(), CompressError> {
        Ok(predict::save_as(model, tokenizer, &self.directory, output)?)
    }
}
