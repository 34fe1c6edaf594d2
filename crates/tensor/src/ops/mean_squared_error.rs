//! `mean_squared_error`: Σ (x − t)² / normaliser. Gradient: 2 (x − t) / normaliser.

use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Tensor, Var};

const NAME: &str = "mean_squared_error";

/// The sum of squared differences, divided by `normalizer`: the number of elements of the whole batch for a mean, so that
/// the losses of its parts add up.
///
/// # Shapes
/// `input`: any; `targets`: as many values. Returns one element.
///
/// # Errors
/// [`Error::Shape`] if the counts differ.
pub fn mean_squared_error(tape: &Tape, input: &Var, targets: &[f32], normalizer: f64) -> Result<Var> {
    with_real!(NAME, input.value(), T => run::<T>(tape, input, targets, normalizer))
}

fn run<T: Real>(tape: &Tape, input: &Var, targets: &[f32], normalizer: f64) -> Result<Var> {
    let values = input.value().slice::<T>(NAME, "input")?;
    if values.len() != targets.len() {
        return Err(Error::shape(
            NAME,
            "targets",
            &[targets.len()],
            format_args!("{} values", values.len()),
        ));
    }
    let differences: Vec<f64> = values
        .iter()
        .zip(targets)
        .map(|(&x, &t)| x.to_f64() - t as f64)
        .collect();
    let loss = differences
        .iter()
        .map(|difference| difference * difference)
        .sum::<f64>()
        / normalizer;
    Ok(tape.push(Tensor::scalar(T::from_f64(loss)), &[input], || {
        let (shape, input) = (input.value().shape().to_vec(), input.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let factor = 2.0 * gradient.to_f64_vec()[0] / normalizer;
            let values = differences
                .iter()
                .map(|difference| T::from_f64(difference * factor))
                .collect();
            gradients.add::<T>(&input, Tensor::from_vec(values, &shape)?);
            Ok(())
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        check(vec![normal(1, &[3, 2])], |tape, inputs| {
            mean_squared_error(tape, &inputs[0], &[1.0, 2.0, -3.0, 0.0, 0.5, 4.0], 6.0)
        });
    }
}
