//! `cross_entropy`: Σ over rows of −ln softmax(x)\[class\] / normaliser. Gradient: (softmax(x) − one-hot) / normaliser.

use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Tensor, Var};

const NAME: &str = "cross_entropy";

/// The negative log-likelihood of one class for each row, divided by `normalizer`: the number of rows of the whole batch
/// for a mean, so that the losses of its parts add up.
///
/// # Shapes
/// `logits`: `[batch, labels]`; `classes`: `[batch]`. Returns one element.
///
/// # Errors
/// [`Error::Shape`] if the counts differ, [`Error::Id`] if a class is outside of the labels.
pub fn cross_entropy(tape: &Tape, logits: &Var, classes: &[u32], normalizer: f64) -> Result<Var> {
    with_real!(NAME, logits.value(), T => run::<T>(tape, logits, classes, normalizer))
}

fn run<T: Real>(tape: &Tape, logits: &Var, classes: &[u32], normalizer: f64) -> Result<Var> {
    let [batch, labels] = logits.dims2(NAME, "logits")?;
    if classes.len() != batch {
        return Err(Error::shape(
            NAME,
            "classes",
            &[classes.len()],
            format_args!("[{batch}]"),
        ));
    }
    if let Some(position) = classes.iter().position(|&class| class as usize >= labels) {
        return Err(Error::Id {
            operation: NAME,
            id: classes[position],
            position,
            rows: labels,
        });
    }
    // Batches have few rows of few labels: f64 costs nothing here and keeps the loss of a confident model exact.
    let mut probabilities = logits.value().to_f64_vec();
    let mut loss = 0.0;
    for (row, &class) in probabilities.chunks_exact_mut(labels).zip(classes) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let chosen = row[class as usize] - largest;
        row.iter_mut().for_each(|value| *value = (*value - largest).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|value| *value /= sum);
        loss += sum.ln() - chosen;
    }
    let classes = classes.to_vec();
    Ok(
        tape.push(Tensor::scalar(T::from_f64(loss / normalizer)), &[logits], || {
            let logits = logits.destination();
            move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
                let factor = gradient.to_f64_vec()[0] / normalizer;
                for (row, &class) in probabilities.chunks_exact_mut(labels).zip(&classes) {
                    row[class as usize] -= 1.0;
                }
                let values = probabilities.iter().map(|value| T::from_f64(value * factor)).collect();
                gradients.add::<T>(&logits, Tensor::from_vec(values, &[batch, labels])?);
                Ok(())
            }
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        check(vec![normal(1, &[4, 3])], |tape, inputs| {
            cross_entropy(tape, &inputs[0], &[2, 0, 1, 2], 4.0)
        });
    }

    #[test]
    fn huge_logits_stay_finite() {
        let tape = Tape::inference();
        let logits = tape.constant(Tensor::from_vec(vec![1e30f32, -1e30, 0.0, 0.0], &[2, 2]).unwrap());
        let loss = cross_entropy(&tape, &logits, &[0, 1], 2.0).unwrap();
        assert!((loss.value().to_f64_vec()[0] - 0.5 * 2f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn a_class_outside_of_the_labels_is_named() {
        let tape = Tape::inference();
        let logits = tape.constant(Tensor::zeros::<f32>(&[1, 3]));
        let error = cross_entropy(&tape, &logits, &[3], 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cross_entropy: id 3 at position 0 is outside of a table of 3 rows"
        );
    }
}
