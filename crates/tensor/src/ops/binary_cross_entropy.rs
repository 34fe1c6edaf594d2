//! `binary_cross_entropy_with_logits`: Σ (max(x, 0) − x t + ln(1 + e^−|x|)) / normaliser. Gradient: (σ(x) − t) /
//! normaliser.

use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Tensor, Var};

const NAME: &str = "binary_cross_entropy_with_logits";

/// The negative log-likelihood of independent yes/no targets, divided by `normalizer`: the number of elements of the whole
/// batch for a mean, so that the losses of its parts add up.
///
/// # Shapes
/// `logits`: any; `targets`: as many values in `[0, 1]`. Returns one element.
///
/// # Errors
/// [`Error::Shape`] if the counts differ.
pub fn binary_cross_entropy_with_logits(tape: &Tape, logits: &Var, targets: &[f32], normalizer: f64) -> Result<Var> {
    with_real!(NAME, logits.value(), T => run::<T>(tape, logits, targets, normalizer))
}

fn run<T: Real>(tape: &Tape, logits: &Var, targets: &[f32], normalizer: f64) -> Result<Var> {
    let values = logits.value().to_f64_vec();
    if values.len() != targets.len() {
        return Err(Error::shape(
            NAME,
            "targets",
            &[targets.len()],
            format_args!("{} values", values.len()),
        ));
    }
    let terms = values
        .iter()
        .zip(targets)
        .map(|(&x, &t)| x.max(0.0) - x * t as f64 + (-x.abs()).exp().ln_1p());
    let loss = terms.sum::<f64>() / normalizer;
    let targets = targets.to_vec();
    Ok(tape.push(Tensor::scalar(T::from_f64(loss)), &[logits], || {
        let (shape, logits) = (logits.value().shape().to_vec(), logits.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let factor = gradient.to_f64_vec()[0] / normalizer;
            let derivative = |(x, t): (&f64, &f32)| T::from_f64((1.0 / (1.0 + (-x).exp()) - *t as f64) * factor);
            let values = values.iter().zip(&targets).map(derivative).collect();
            gradients.add::<T>(&logits, Tensor::from_vec(values, &shape)?);
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
        check(vec![normal(1, &[2, 3])], |tape, inputs| {
            binary_cross_entropy_with_logits(tape, &inputs[0], &[1.0, 0.0, 0.0, 1.0, 1.0, 0.3], 6.0)
        });
    }

    #[test]
    fn huge_logits_stay_finite() {
        let tape = Tape::inference();
        let logits = tape.constant(Tensor::from_vec(vec![1e30f32, -1e30], &[1, 2]).unwrap());
        let loss = binary_cross_entropy_with_logits(&tape, &logits, &[1.0, 0.0], 2.0).unwrap();
        assert_eq!(loss.value().to_f64_vec(), [0.0]);
    }
}
