//! Scoring labelled examples and measuring the result.

use serde_json::Value;
use tensor::{Tape, Tensor};

use super::{EncodedExample, TrainError};
use crate::data::Target;
use crate::decision::Decision;
use crate::evaluation::measure;
use crate::head;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::predict::{Prediction, predict_encoded};

/// What a model makes of labelled examples.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// What was measured.
    pub metrics: Metrics,
    /// A prediction for each example, in order.
    pub predictions: Vec<Prediction>,
}

impl Evaluation {
    /// The single numbers under the keys of a log entry: `eval_loss`, `eval_accuracy`, ...
    pub fn log_entry(&self) -> Vec<(String, Value)> {
        let entry = |(name, value): (&str, Option<f64>)| (format!("eval_{name}"), value.into());
        self.metrics.values().into_iter().map(entry).collect()
    }
}

/// Predicts all examples without dropout, decides by `decision` and measures the predictions. `progress` gets the number of examples done.
///
/// # Errors
/// [`TrainError`] if examples do not fit the model.
pub fn evaluate(
    model: &Model,
    decision: &Decision,
    examples: &[EncodedExample],
    max_tokens: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation, TrainError> {
    let encoded: Vec<_> = examples.iter().map(|example| &example.encoded).collect();
    let predictions = predict_encoded(model, decision, &encoded, max_tokens, progress)?;
    evaluate_predictions(model, examples, predictions)
}

/// Measures predictions that are there.
pub(super) fn evaluate_predictions(
    model: &Model,
    examples: &[EncodedExample],
    predictions: Vec<Prediction>,
) -> Result<Evaluation, TrainError> {
    let schema = model.schema();
    let logits: Vec<f32> = predictions
        .iter()
        .flat_map(|prediction| prediction.logits.iter().copied())
        .collect();
    let targets: Vec<&Target> = examples.iter().map(|example| &example.target).collect();
    let tape = Tape::inference();
    let logits = tape.constant(Tensor::from_vec(logits, &[examples.len(), schema.num_labels()])?);
    let loss = head::loss(&tape, &logits, &targets, schema, examples.len())?
        .value()
        .to_f64_vec()[0];
    let metrics = measure(schema, &targets, &predictions, Some(loss))?;
    Ok(Evaluation { metrics, predictions })
}
