//! The loss of each task, as `transformers` takes it, and what training may change about it.

use tensor::ops::Emphasis;
use tensor::{Error, Tape, Var, ops};

use crate::data::{LabelSchema, Target, Task};

/// What training changes about the loss; an evaluation's is always the plain one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LossOptions {
    /// A factor for each label: of the examples of a class, or of the examples that have a label of several. Empty: all are 1.
    pub class_weights: Vec<f64>,
    /// The part of a target that is spread over all labels.
    pub label_smoothing: f64,
    /// How much less examples count that are right already.
    pub focal_gamma: f64,
}

impl LossOptions {
    fn emphasis(&self) -> Emphasis<'_> {
        Emphasis {
            weights: &self.class_weights,
            label_smoothing: self.label_smoothing,
            focal_gamma: self.focal_gamma,
        }
    }

    /// What the sum over a whole batch is divided by: the number of its examples, or of their labels and numbers; with weights of
    /// classes, as in PyTorch, the sum of those of its examples.
    pub fn normalizer<'a>(&self, targets: impl IntoIterator<Item = &'a Target>, schema: &LabelSchema) -> f64 {
        let weight = |target: &Target| match target {
            Target::Class(class) => self.emphasis().weight(*class as usize),
            Target::Classes(_) | Target::Value(_) => schema.num_labels() as f64,
        };
        targets.into_iter().map(weight).sum()
    }
}

/// Weights by which all labels count the same, from how many of `examples` have each: n / (K n_c) of a class, as scikit-learn's
/// `balanced`, and of a label of several n without it for each with it. A label that no example has gets 1.
pub fn balanced_weights(counts: &[u64], examples: u64, task: Task) -> Vec<f64> {
    let present = counts.iter().filter(|&&count| count > 0).count() as f64;
    let weight = |&count: &u64| match (count, task) {
        (0, _) => 1.0,
        (count, Task::MultiLabel) => (examples - count) as f64 / count as f64,
        (count, _) => examples as f64 / (present * count as f64),
    };
    counts.iter().map(weight).collect()
}

/// Mean loss of a batch: cross-entropy for single labels, binary cross-entropy over all labels for several, squared error
/// for numbers.
///
/// `batch_examples` is the number of examples of the whole batch: the losses and gradients of its parts then add up to
/// those of the whole.
///
/// # Shapes
/// `logits`: `[targets, labels]`. Returns one element.
///
/// # Errors
/// [`Error`] if a target is of another task or outside of the labels.
pub fn loss(
    tape: &Tape,
    logits: &Var,
    targets: &[&Target],
    schema: &LabelSchema,
    batch_examples: usize,
) -> tensor::Result<Var> {
    let of_example = if schema.task == Task::SingleLabel {
        1
    } else {
        schema.num_labels()
    };
    let normalizer = (batch_examples * of_example) as f64;
    loss_with(tape, logits, targets, schema, &LossOptions::default(), normalizer)
}

/// As [`loss`] with what `options` change. `normalizer` is that of the whole batch ([`LossOptions::normalizer`]).
///
/// # Errors
/// As there.
pub fn loss_with(
    tape: &Tape,
    logits: &Var,
    targets: &[&Target],
    schema: &LabelSchema,
    options: &LossOptions,
    normalizer: f64,
) -> tensor::Result<Var> {
    let labels = schema.num_labels();
    let other_task = || Error::Shape {
        operation: "loss",
        what: "targets",
        found: vec![targets.len()],
        expected: format!("targets of the task {:?}", schema.task),
    };
    match schema.task {
        Task::SingleLabel => {
            let class = |target: &&Target| match target {
                Target::Class(class) => Some(*class),
                _ => None,
            };
            let classes = targets
                .iter()
                .map(class)
                .collect::<Option<Vec<u32>>>()
                .ok_or_else(other_task)?;
            ops::cross_entropy(tape, logits, &classes, options.emphasis(), normalizer)
        }
        Task::MultiLabel => {
            let mut indicators = vec![0.0; targets.len() * labels];
            for (target, row) in targets.iter().zip(indicators.chunks_exact_mut(labels)) {
                let Target::Classes(classes) = target else {
                    return Err(other_task());
                };
                for &class in classes {
                    *row.get_mut(class as usize).ok_or_else(other_task)? = 1.0;
                }
            }
            ops::binary_cross_entropy_with_logits(tape, logits, &indicators, options.emphasis(), normalizer)
        }
        Task::Regression => {
            let value = |target: &&Target| match target {
                Target::Value(value) => Some(*value),
                _ => None,
            };
            let values = targets
                .iter()
                .map(value)
                .collect::<Option<Vec<f32>>>()
                .ok_or_else(other_task)?;
            ops::mean_squared_error(tape, logits, &values, normalizer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0] * 6 + [1] * 3 + [2])
        let found = balanced_weights(&[6, 3, 1], 10, Task::SingleLabel);
        assert_eq!(found, [10.0 / 18.0, 10.0 / 9.0, 10.0 / 3.0]);
        assert_eq!(
            balanced_weights(&[6, 0, 4], 10, Task::SingleLabel),
            [10.0 / 12.0, 1.0, 10.0 / 8.0]
        );
        assert_eq!(balanced_weights(&[2, 5, 0], 10, Task::MultiLabel), [4.0, 1.0, 1.0]);
    }
}
