//! The loss of each task, as `transformers` takes it.

use tensor::{Error, Tape, Var, ops};

use crate::data::{LabelSchema, Target, Task};

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
    let labels = schema.num_labels();
    let other_task = || Error::Shape {
        operation: "loss",
        what: "targets",
        found: vec![targets.len()],
        expected: format!("targets of the task {:?}", schema.task),
    };
    let elements = (batch_examples * labels) as f64;
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
            ops::cross_entropy(tape, logits, &classes, batch_examples as f64)
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
            ops::binary_cross_entropy_with_logits(tape, logits, &indicators, elements)
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
            ops::mean_squared_error(tape, logits, &values, elements)
        }
    }
}
