//! `binary_cross_entropy_with_logits`: Σ over elements of what one costs, over a normaliser.
//!
//! With p = σ(x), target t and the label's weight w it costs −w t ln p − (1 − t) ln (1 − p), as PyTorch's `BCEWithLogitsLoss` has it with
//! `pos_weight`, smoothed targets being t (1 − ε) + ε / 2; or, with focusing γ and q = p where t is 1 and 1 − p where it is 0,
//! −(w if t is 1) (1 − q)^γ ln q (Lin et al. 2017). Gradients: (1 − t + w t) p − w t, and ± f′(q) q (1 − q) for f(q) = −(1 − q)^γ ln q.

use super::cross_entropy::{Emphasis, focal};
use super::loss::{loss_of, negative_log_sigmoid, sigmoid};
use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Var};

const NAME: &str = "binary_cross_entropy_with_logits";

/// What independent yes/no targets cost under `emphasis`, whose weights are those of yes, divided by `normalizer`: the number of
/// elements of the whole batch for a mean, so that the losses of its parts add up.
///
/// # Shapes
/// `logits`: `[batch, labels]`; `targets`: as many values in `[0, 1]`. Returns one element.
///
/// # Errors
/// [`Error::Shape`] if the counts differ.
pub fn binary_cross_entropy_with_logits(
    tape: &Tape,
    logits: &Var,
    targets: &[f32],
    emphasis: Emphasis<'_>,
    normalizer: f64,
) -> Result<Var> {
    with_real!(NAME, logits.value(), T => run::<T>(tape, logits, targets, emphasis, normalizer))
}

fn run<T: Real>(tape: &Tape, logits: &Var, targets: &[f32], emphasis: Emphasis<'_>, normalizer: f64) -> Result<Var> {
    let [_, labels] = logits.dims2(NAME, "logits")?;
    let values = logits.value().to_f64_vec();
    if values.len() != targets.len() {
        return Err(Error::shape(
            NAME,
            "targets",
            &[targets.len()],
            format_args!("{} values", values.len()),
        ));
    }
    emphasis.check(NAME, labels)?;
    let elements = values.iter().zip(targets).enumerate();
    let costs = elements.map(|(index, (&x, &target))| cost(x, target.into(), index % labels, emphasis));
    let (costs, slopes): (Vec<f64>, Vec<f64>) = costs.map(|[cost, slope]| (cost, slope)).unzip();
    loss_of::<T>(tape, logits, costs.into_iter().sum(), slopes, normalizer)
}

/// What an element costs, and its gradient.
fn cost(x: f64, target: f64, label: usize, emphasis: Emphasis<'_>) -> [f64; 2] {
    let weight = emphasis.weight(label);
    if emphasis.focal_gamma > 0.0 {
        let (sign, weight) = if target > 0.5 { (1.0, weight) } else { (-1.0, 1.0) };
        let (q, rest) = (sigmoid(sign * x), sigmoid(-sign * x));
        let [loss, slope] = focal(q, -negative_log_sigmoid(sign * x), emphasis.focal_gamma);
        return [weight * loss, sign * weight * slope * rest];
    }
    let target = target * (1.0 - emphasis.label_smoothing) + emphasis.label_smoothing / 2.0;
    let (yes, no) = (weight * target, 1.0 - target);
    let cost = yes * negative_log_sigmoid(x) + no * negative_log_sigmoid(-x);
    [cost, (yes + no) * sigmoid(x) - yes]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        check(vec![normal(1, &[2, 3])], |tape, inputs| {
            binary_cross_entropy_with_logits(
                tape,
                &inputs[0],
                &[1.0, 0.0, 0.0, 1.0, 1.0, 0.3],
                Emphasis::default(),
                6.0,
            )
        });
        let weights = [0.5, 3.0, 1.5];
        for (label_smoothing, focal_gamma) in [(0.0, 0.0), (0.1, 0.0), (0.0, 2.0), (0.0, 0.5)] {
            let emphasis = Emphasis {
                weights: &weights,
                label_smoothing,
                focal_gamma,
            };
            check(vec![normal(1, &[2, 3])], |tape, inputs| {
                binary_cross_entropy_with_logits(tape, &inputs[0], &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], emphasis, 6.0)
            });
        }
    }

    #[test]
    fn huge_logits_stay_finite() {
        let tape = Tape::inference();
        let logits = tape.constant(Tensor::from_vec(vec![1e30f32, -1e30], &[1, 2]).unwrap());
        let loss = binary_cross_entropy_with_logits(&tape, &logits, &[1.0, 0.0], Emphasis::default(), 2.0).unwrap();
        assert_eq!(loss.value().to_f64_vec(), [0.0]);
    }
}
