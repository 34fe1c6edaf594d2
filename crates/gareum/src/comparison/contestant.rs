//! A model that takes part in a comparison: its predictions and what they cost.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::ComparisonError;
use super::changes::{answer, truth};
use crate::data::{Example, Input, LabelSchema};
use crate::evaluation::is_right;
use crate::model::{Adapter, AdapterFiles, EncoderFolder, ModelError, Precision};
use crate::predict::{PredictError, Prediction, Predictor};
use crate::settings::PrecisionSetting;

/// Single texts that are timed.
const LATENCY_TEXTS: usize = 200;

/// No further single text is timed after this.
const LATENCY_TIME: Duration = Duration::from_secs(10);

/// Untimed single texts.
const WARM_UP: usize = 10;

/// What takes part in a comparison.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// What it is called.
    pub name: String,
    /// Where it was read from.
    pub source: String,
    /// What it is.
    pub kind: Kind,
    /// What it makes of each example.
    pub predictions: Vec<Prediction>,
    /// What that costs; `None` for a file.
    pub cost: Option<Cost>,
}

/// What a contestant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A model.
    Model,
    /// A checkpoint without a head for these labels: its head is random, so it shows what guessing comes to.
    Untrained,
    /// Predictions from elsewhere.
    File,
}

/// What a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Of its files of weights, with those of an adapter's base.
    pub disk_bytes: u64,
    /// Of its weights in memory, as they are packed for products.
    pub memory_bytes: u64,
    /// What is computed in.
    pub precision: Precision,
    /// Texts a second, tokenization included, all rows at once.
    pub texts_per_second: f64,
    /// One text at a time.
    pub latency: Option<Latency>,
}

/// How long a single text takes, tokenization included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Texts that were timed.
    pub texts: usize,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// What 99 of 100 stay below, in milliseconds.
    pub p99_ms: f64,
}

impl Contestant {
    /// Reads a model and lets it predict the examples, whose texts are as they stand in the file. A checkpoint without a head gets a random
    /// one. `progress` gets the number of texts done.
    ///
    /// # Errors
    /// [`ComparisonError`] if it cannot be read, or is of other labels than `schema`.
    pub fn score(
        name: String,
        directory: &Path,
        precision: PrecisionSetting,
        schema: &LabelSchema,
        examples: &[Example],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, ComparisonError> {
        let (predictor, kind) = match Predictor::load(directory, precision) {
            Err(PredictError::Model(ModelError::NoHead { .. })) => {
                (Predictor::untrained(directory, schema, precision)?, Kind::Untrained)
            }
            loaded => (loaded?, Kind::Model),
        };
        let source = (directory, disk_bytes(directory)?);
        Self::of(name, kind, &predictor, source, (schema, examples), progress)
    }

    /// As [`Contestant::score`] with a model that is in memory, read from a directory (or to be written to it), where its weights take so many
    /// bytes.
    pub(crate) fn of(
        name: String,
        kind: Kind,
        predictor: &Predictor,
        (directory, disk_bytes): (&Path, u64),
        (schema, examples): (&LabelSchema, &[Example]),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, ComparisonError> {
        let order = order(directory, predictor.schema(), schema)?;
        let inputs: Vec<Input> = examples.iter().map(Input::from).collect();
        let start = Instant::now();
        let encoded = predictor.encode(&inputs)?;
        let mut predictions = predictor.predict_encoded(&encoded, progress)?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some(order) = order {
            predictions
                .iter_mut()
                .for_each(|prediction| reorder(prediction, &order));
        }
        let cost = Cost {
            disk_bytes,
            memory_bytes: predictor.model().memory_bytes(),
            precision: predictor.precision(),
            texts_per_second: inputs.len() as f64 / seconds.max(1e-9),
            latency: latency(predictor, &inputs)?,
        };
        Ok(Self {
            name,
            source: directory.display().to_string(),
            kind,
            predictions,
            cost: Some(cost),
        })
    }
}

/// What a contestant says of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// A label, labels, or a number.
    pub label: Value,
    /// The chosen label's score; the smallest among several; of a file without scores `None`.
    pub score: Option<f64>,
    /// Whether all labels are right; a number never is.
    pub is_right: bool,
}

impl Contestant {
    /// What it says of an example, which is at `index` among all.
    ///
    /// # Panics
    /// If there is no such example.
    pub fn answer(&self, schema: &LabelSchema, example: &Example, index: usize) -> Answer {
        let prediction = &self.predictions[index];
        let scores = prediction.classes.iter();
        let score = scores
            .filter_map(|id| prediction.scores.get(*id as usize))
            .copied()
            .reduce(f64::min);
        Answer {
            label: answer(schema, prediction),
            score,
            is_right: is_right(&example.target, prediction),
        }
    }

    /// What an example is: a label, labels, or a number.
    pub fn truth(schema: &LabelSchema, example: &Example) -> Value {
        truth(schema, &example.target)
    }
}

/// For each of the model's ids that of the others; `None` if they are the same.
fn order(directory: &Path, own: &LabelSchema, others: &LabelSchema) -> Result<Option<Vec<u32>>, ComparisonError> {
    if own.task != others.task {
        return Err(ComparisonError::Task {
            model: directory.to_owned(),
            found: own.task,
            expected: others.task,
        });
    }
    if own.names == others.names {
        return Ok(None);
    }
    let ids: HashMap<&str, u32> = others.names.iter().map(String::as_str).zip(0..).collect();
    let order: Option<Vec<u32>> = own.names.iter().map(|name| ids.get(name.as_str()).copied()).collect();
    match order {
        Some(order) if order.len() == others.names.len() => Ok(Some(order)),
        _ => Err(ComparisonError::Labels {
            model: directory.to_owned(),
            found: own.names.clone(),
            expected: others.names.clone(),
        }),
    }
}

fn reorder(prediction: &mut Prediction, order: &[u32]) {
    let mut scores = vec![0.0; order.len()];
    let mut logits = vec![0.0; order.len()];
    for (own, &other) in order.iter().enumerate() {
        scores[other as usize] = prediction.scores[own];
        logits[other as usize] = prediction.logits[own];
    }
    prediction
        .classes
        .iter_mut()
        .for_each(|class| *class = order[*class as usize]);
    prediction.classes.sort_unstable();
    (prediction.scores, prediction.logits) = (scores, logits);
}

/// The size of the weights of a directory, and of what an adapter belongs to.
fn disk_bytes(directory: &Path) -> Result<u64, ComparisonError> {
    let unreadable = |error: std::io::Error| ModelError::Read {
        path: directory.to_owned(),
        reason: error.to_string(),
    };
    let base = match Adapter::is_in(directory) {
        true => disk_bytes(&AdapterFiles::open(directory)?.base(None)?)?,
        false => 0,
    };
    let folder = EncoderFolder::of(directory)?.directory;
    let mut bytes = base;
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_weights = path.extension().is_some_and(|extension| {
            ["safetensors", "bin", "pt", "pth"]
                .iter()
                .any(|known| extension == *known)
        });
        if is_weights {
            bytes += std::fs::metadata(&path).map_err(unreadable)?.len();
        }
    }
    Ok(bytes)
}

/// Texts from all over the rows, one at a time.
fn latency(predictor: &Predictor, inputs: &[Input]) -> Result<Option<Latency>, PredictError> {
    let step = inputs.len().div_ceil(LATENCY_TEXTS).max(1);
    let texts: Vec<&Input> = inputs.iter().step_by(step).collect();
    let predict = |input: &Input| -> Result<f64, PredictError> {
        let start = Instant::now();
        predictor.predict(std::slice::from_ref(input), &mut |_| ())?;
        Ok(1e3 * start.elapsed().as_secs_f64())
    };
    for input in texts.iter().take(WARM_UP) {
        predict(input)?;
    }
    let (start, mut times) = (Instant::now(), Vec::with_capacity(texts.len()));
    for input in texts {
        if start.elapsed() > LATENCY_TIME {
            break;
        }
        times.push(predict(input)?);
    }
    times.sort_by(f64::total_cmp);
    let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
    Ok(rank(50).zip(rank(99)).map(|(p50_ms, p99_ms)| Latency {
        texts: times.len(),
        p50_ms,
        p99_ms,
    }))
}
