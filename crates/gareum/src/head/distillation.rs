//! The loss of a student: that of its labels, and that of what a teacher says of the same rows.

use tensor::{DType, Tape, Var, ops};

use super::{LossOptions, loss_with};
use crate::data::{LabelSchema, Target, Task};

/// What a teacher's answers count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// What logits of both are divided by before they are compared; of numbers it means nothing.
    pub temperature: f64,
    /// The share of the teacher in the loss of a row with a label; a row without is the teacher's alone.
    pub weight: f64,
}

/// What it costs a student that its head gets something else of a text than the teacher's: `weight` times the mean squared difference, of the `rows`
/// of the whole batch (Romero et al. 2015, FitNets, arXiv:1412.6550; for transformers Jiao et al. 2020, TinyBERT, arXiv:1909.10351, there for every
/// layer and token).
///
/// # Shapes
/// `features`: `[part, hidden_size]`, as [`Model::features`](crate::model::Model::features) gives them; `teacher`: as many. Returns one element.
///
/// # Errors
/// [`tensor::Error`] if the counts differ.
pub fn hidden_loss(tape: &Tape, features: &Var, teacher: &[f32], weight: f64, rows: usize) -> tensor::Result<Var> {
    let columns = features.value().shape().last().copied().unwrap_or(1);
    let features = match features.value().dtype() {
        DType::BF16 => &ops::to_dtype(tape, features, DType::F32)?,
        _ => features,
    };
    ops::mean_squared_error(tape, features, teacher, (rows * columns) as f64 / weight)
}

/// A row of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Taught<'a> {
    /// Its label, if it has one.
    pub target: Option<&'a Target>,
    /// The teacher's logits.
    pub teacher: &'a [f32],
}

/// The whole batch, of which a part is given at a time.
#[derive(Debug, Clone, Copy)]
pub struct WholeBatch {
    /// Its rows.
    pub rows: usize,
    /// Those with a label.
    pub labelled: usize,
    /// What [`LossOptions::normalizer`] says of their labels.
    pub normalizer: f64,
}

/// Mean loss of a batch with a teacher. A row with a label costs (1 − weight) times what it costs without one and weight times what
/// the teacher's answer costs, a row without a label the latter alone: T² times the divergence from the teacher's distribution for
/// single labels (`tensor::ops::kl_divergence`), T² times the cross-entropy with the teacher's probabilities over all labels for several,
/// squared error for numbers.
///
/// # Shapes
/// `logits`: `[rows, labels]`. Returns one element.
///
/// # Errors
/// [`tensor::Error`] if a target is of another task, or answers are not of so many labels.
pub fn distillation_loss(
    tape: &Tape,
    logits: &Var,
    rows: &[Taught<'_>],
    schema: &LabelSchema,
    (options, distillation): (&LossOptions, Distillation),
    whole: WholeBatch,
) -> tensor::Result<Var> {
    let Distillation { temperature, weight } = distillation;
    let (labelled, unlabelled): (Vec<usize>, Vec<usize>) =
        (0..rows.len()).partition(|&index| rows[index].target.is_some());
    let chosen = |indices: &[usize]| match indices.len() == rows.len() {
        true => Ok(logits.clone()),
        false => ops::rows(tape, logits, indices),
    };
    // Each loss is divided by what makes all of them together the mean over the rows of the whole batch.
    let of_teacher = |indices: &[usize], weight: f64| {
        let logits = chosen(indices)?;
        let teacher: Vec<f32> = indices.iter().flat_map(|&index| rows[index].teacher).copied().collect();
        let (rows, labels) = (whole.rows as f64 / weight, schema.num_labels() as f64);
        match schema.task {
            Task::SingleLabel => ops::kl_divergence(tape, &logits, &teacher, temperature, rows),
            Task::MultiLabel => ops::soft_binary_cross_entropy(tape, &logits, &teacher, temperature, rows * labels),
            Task::Regression => ops::mean_squared_error(tape, &logits, &teacher, rows * labels),
        }
    };
    let mut losses = Vec::with_capacity(3);
    if !labelled.is_empty() {
        losses.push(of_teacher(&labelled, weight)?);
        if weight < 1.0 {
            let targets: Vec<&Target> = rows.iter().filter_map(|row| row.target).collect();
            let share = (1.0 - weight) * whole.labelled as f64 / whole.rows as f64;
            let (logits, normalizer) = (chosen(&labelled)?, whole.normalizer / share);
            losses.push(loss_with(tape, &logits, &targets, schema, options, normalizer)?);
        }
    }
    if !unlabelled.is_empty() {
        losses.push(of_teacher(&unlabelled, 1.0)?);
    }
    let mut losses = losses.into_iter();
    let first = match losses.next() {
        Some(first) => first,
        None => of_teacher(&[], 1.0)?,
    };
    losses.try_fold(first, |sum, loss| ops::sum(tape, &sum, &loss))
}
