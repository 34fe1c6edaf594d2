//! `mean_squared_error`: Σ (x − t)² / normaliser. Gradient: 2 (x − t) / normaliser.

use super::loss::loss_of;
use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Var};

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
    let differences = values.iter().zip(targets).map(|(&x, &t)| x.to_f64() - t as f64);
    let differences: Vec<f64> = differences.collect();
    let cost = differences.iter().map(|difference| difference * difference).sum();
    let slopes = differences.iter().map(|difference| 2.0 * difference).collect();
    loss_of::<T>(tape, input, cost, slopes, normalizer)
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
