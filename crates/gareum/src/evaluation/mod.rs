//! What a model gets right and wrong on labelled examples: the content of `metrics.json` in a report, and of `gareum evaluate --json`.
//!
//! The figures are in `metrics/`; here they are put together with intervals, with examples to look at (`mistakes.rs`) and with results of
//! parts of the rows (`slices.rs`). Not here: scoring (`predict.rs`) and deciding (`decision.rs`).

mod mistakes;
pub(crate) mod page;
mod slices;

use serde::Serialize;

use crate::data::{Example, LabelSchema, Target, Task};
use crate::metrics::{Bootstrap, Intervals, Metrics, MetricsError, Resampled};
use crate::predict::Prediction;

pub use mistakes::{Confused, ExampleShown, Mistake};
pub use slices::{LENGTH, Slice, Slicing, length_slices};

/// Labelled examples with what a model makes of them.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// What the labels are.
    pub schema: &'a LabelSchema,
    /// The examples.
    pub examples: &'a [Example],
    /// A prediction for each.
    pub predictions: &'a [Prediction],
}

/// Everything that is said about a model on one set of examples.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The figures.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// How sure some of them are.
    pub confidence_intervals: Intervals,
    /// How often each label occurs here and in training; empty for regression.
    pub label_shares: Vec<LabelShare>,
    /// How far these shares are apart: half the sum of their differences (total variation), from 0 to 1; null if training's are not known.
    pub label_drift: Option<f64>,
    /// With an abstain band: what is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
    /// Pairs of labels of which one is often given for the other, the most frequent first; empty for regression.
    pub confused: Vec<Confused>,
    /// Wrong predictions, the most confident first; of a regression the largest errors.
    pub mistakes: Vec<Mistake>,
    /// Figures of parts of the examples.
    pub slices: Vec<Slicing>,
}

/// Occurrences of a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelShare {
    /// The label.
    pub label: String,
    /// Examples with it.
    pub support: u64,
    /// Of all labels that examples have, this label's part.
    pub share: Option<f64>,
    /// Training examples with it; null if not known.
    pub train_support: Option<u64>,
    /// Of all labels that training examples have, this label's part.
    pub train_share: Option<f64>,
}

/// What is left where a model may abstain (El-Yaniv and Wiener 2010). All other figures count its guesses too.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// Examples with an answer.
    pub examples: usize,
    /// The share of them: coverage.
    pub coverage: Option<f64>,
    /// The share of right answers among them.
    pub accuracy: Option<f64>,
    /// Mean F1 of the labels among them.
    pub macro_f1: Option<f64>,
}

/// The figures that are shown first, by their names in [`Metrics::values`].
pub fn headlines(task: Task) -> &'static [&'static str] {
    match task {
        Task::SingleLabel => &["accuracy", "macro_f1", "weighted_f1", "matthews_corrcoef"],
        Task::MultiLabel => &["accuracy", "macro_f1", "micro_f1", "samples_f1"],
        Task::Regression => &["rmse", "mae", "r2", "pearson"],
    }
}

impl Judged<'_> {
    /// Puts a report together. `metrics` were measured on these predictions; `train_counts` are the training examples of each label, and
    /// `slicings` name a value for each example.
    ///
    /// # Errors
    /// [`MetricsError`] if examples, predictions and labels do not belong together.
    pub fn report(
        &self,
        metrics: Metrics,
        train_counts: Option<&[u64]>,
        slicings: &[(String, Vec<String>)],
        bootstrap: &Bootstrap,
    ) -> Result<Report, MetricsError> {
        let (targets, predictions): (Vec<&Target>, Vec<&Prediction>) = self.targets().zip(self.predictions).unzip();
        let label_shares = self.label_shares(train_counts);
        Ok(Report {
            metrics,
            confidence_intervals: resampled(self.schema, &targets, &predictions, bootstrap)?.intervals(),
            label_drift: drift(&label_shares),
            label_shares,
            answered: self.answered()?,
            confused: mistakes::confused(self),
            mistakes: mistakes::mistakes(self),
            slices: slicings
                .iter()
                .map(|(by, values)| slices::slicing(self, by, values, bootstrap))
                .collect::<Result<_, _>>()?,
        })
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.examples.iter().map(|example| &example.target)
    }

    fn label_shares(&self, train_counts: Option<&[u64]>) -> Vec<LabelShare> {
        if self.schema.task == Task::Regression {
            return Vec::new();
        }
        let mut counts = vec![0u64; self.schema.num_labels()];
        self.targets()
            .flat_map(Target::ids)
            .for_each(|id| counts[*id as usize] += 1);
        let share = |count: u64, counts: &[u64]| {
            let all: u64 = counts.iter().sum();
            (all > 0).then(|| count as f64 / all as f64)
        };
        let named = self.schema.names.iter().zip(&counts).enumerate();
        named
            .map(|(id, (label, &support))| {
                let trained = train_counts.and_then(|counts| Some((*counts.get(id)?, counts)));
                LabelShare {
                    label: label.clone(),
                    support,
                    share: share(support, &counts),
                    train_support: trained.map(|(count, _)| count),
                    train_share: trained.and_then(|(count, counts)| share(count, counts)),
                }
            })
            .collect()
    }

    /// `None` if the model never abstained.
    fn answered(&self) -> Result<Option<Answered>, MetricsError> {
        if !self.predictions.iter().any(|prediction| prediction.abstained) {
            return Ok(None);
        }
        let answers: Vec<usize> = (0..self.predictions.len())
            .filter(|index| !self.predictions[*index].abstained)
            .collect();
        let figures = slices::figures(self, &answers)?;
        let value = |name: &str| figures.as_ref().and_then(|metrics| metrics.value(name));
        Ok(Some(Answered {
            examples: answers.len(),
            coverage: Some(answers.len() as f64 / self.predictions.len() as f64),
            accuracy: value("accuracy"),
            macro_f1: value("macro_f1"),
        }))
    }
}

/// Measures predictions of examples whose truth is known. The targets are of the schema's task.
///
/// # Errors
/// [`MetricsError`] if they do not belong together.
pub fn measure(
    schema: &LabelSchema,
    targets: &[&Target],
    predictions: &[Prediction],
    loss: Option<f64>,
) -> Result<Metrics, MetricsError> {
    let predictions: Vec<&Prediction> = predictions.iter().collect();
    let scores: Vec<f64> = predictions
        .iter()
        .flat_map(|prediction| prediction.scores.iter().copied())
        .collect();
    // A file of predictions may have none.
    let scores = (predictions.is_empty() || !scores.is_empty()).then_some(scores.as_slice());
    let names = &schema.names;
    match schema.task {
        Task::SingleLabel => {
            let (truth, found) = classes(targets, &predictions);
            Metrics::single_label(names, &truth, &found, scores, loss)
        }
        Task::MultiLabel => {
            let (truth, found) = sets(targets, &predictions);
            Metrics::multi_label(names, &truth, &found, scores, loss)
        }
        Task::Regression => {
            let (truth, found) = numbers(targets, &predictions);
            Metrics::regression(&truth, &found, loss)
        }
    }
}

/// Figures of these predictions, and of rows drawn from them.
pub(crate) fn resampled(
    schema: &LabelSchema,
    targets: &[&Target],
    predictions: &[&Prediction],
    bootstrap: &Bootstrap,
) -> Result<Resampled, MetricsError> {
    match schema.task {
        Task::SingleLabel => {
            let (truth, found) = classes(targets, predictions);
            bootstrap.single_label(schema.num_labels(), &truth, &found)
        }
        Task::MultiLabel => {
            let (truth, found) = sets(targets, predictions);
            bootstrap.multi_label(schema.num_labels(), &truth, &found)
        }
        Task::Regression => {
            let (truth, found) = numbers(targets, predictions);
            bootstrap.regression(&truth, &found)
        }
    }
}

/// Whether all labels of an example are right. A number never is.
pub(crate) fn is_right(target: &Target, prediction: &Prediction) -> bool {
    target.value().is_none() && target.ids() == prediction.classes
}

/// True and predicted class of each example.
fn classes(targets: &[&Target], predictions: &[&Prediction]) -> (Vec<u32>, Vec<u32>) {
    let first = |ids: &[u32]| ids.first().copied().unwrap_or_default();
    let truth = targets.iter().map(|target| first(target.ids())).collect();
    (
        truth,
        predictions
            .iter()
            .map(|prediction| first(&prediction.classes))
            .collect(),
    )
}

/// True and predicted labels of each example.
pub(crate) fn sets(targets: &[&Target], predictions: &[&Prediction]) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
    let truth = targets.iter().map(|target| target.ids().to_vec()).collect();
    (
        truth,
        predictions
            .iter()
            .map(|prediction| prediction.classes.clone())
            .collect(),
    )
}

/// True and predicted number of each example.
fn numbers(targets: &[&Target], predictions: &[&Prediction]) -> (Vec<f64>, Vec<f64>) {
    let truth = targets.iter().map(|target| number(target)).collect();
    let found = predictions
        .iter()
        .map(|prediction| prediction.scores.first().copied().unwrap_or(f64::NAN));
    (truth, found.collect())
}

/// The number of a regression's target.
fn number(target: &Target) -> f64 {
    target.value().map_or(f64::NAN, f64::from)
}

fn drift(shares: &[LabelShare]) -> Option<f64> {
    let difference = |share: &LabelShare| Some((share.share? - share.train_share?).abs());
    let differences: Option<Vec<f64>> = shares.iter().map(difference).collect();
    differences
        .filter(|differences| !differences.is_empty())
        .map(|differences| differences.iter().sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests;
