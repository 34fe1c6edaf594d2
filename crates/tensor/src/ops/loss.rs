//! What the losses have in common: one number, whose derivatives by the input are worked out with it. Batches have few rows of few labels, so `f64` costs
//! nothing here and keeps the loss of a confident model exact.

use crate::{Real, Result, Tape, Tensor, Var};

/// `cost` / `normalizer` as the loss of `input`; `slopes` are the derivatives of `cost` by each element.
pub(super) fn loss_of<T: Real>(tape: &Tape, input: &Var, cost: f64, slopes: Vec<f64>, normalizer: f64) -> Result<Var> {
    Ok(tape.push(Tensor::scalar(T::from_f64(cost / normalizer)), &[input], || {
        let (shape, input) = (input.value().shape().to_vec(), input.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let factor = gradient.to_f64_vec()[0] / normalizer;
            let values = slopes.iter().map(|slope| T::from_f64(slope * factor)).collect();
            gradients.add::<T>(&input, Tensor::from_vec(values, &shape)?);
            Ok(())
        }
    }))
}

/// σ(x)
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// −ln σ(x), finite for any number.
pub(super) fn negative_log_sigmoid(x: f64) -> f64 {
    (-x).max(0.0) + (-x.abs()).exp().ln_1p()
}
