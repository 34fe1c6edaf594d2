//! What a student's logits cost beside a teacher's (Hinton et al. 2015, <https://arxiv.org/abs/1503.02531>), over a normaliser.
//!
//! `kl_divergence`: with p = softmax(t / T) of the teacher and q = softmax(x / T), a row costs T² Σ_c p_c (ln p_c − ln q_c). Gradient: T (q − p).
//! `soft_binary_cross_entropy`: with p = σ(t / T), an element costs T² (−p ln σ(x / T) − (1 − p) ln (1 − σ(x / T))). Gradient: T (σ(x / T) − p).
//! T² keeps gradients as large as they are at T = 1.

use super::loss::{loss_of, negative_log_sigmoid, sigmoid};
use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Var};

/// What rows of logits cost beside a teacher's where one label is right, divided by `normalizer`: for a mean the number of rows of the whole
/// batch, so that the losses of its parts add up.
///
/// # Shapes
/// `logits`: `[batch, labels]`; `teacher`: as many logits. Returns one element.
///
/// # Errors
/// [`Error::Shape`] if the counts differ.
pub fn kl_divergence(tape: &Tape, logits: &Var, teacher: &[f32], temperature: f64, normalizer: f64) -> Result<Var> {
    const NAME: &str = "kl_divergence";
    with_real!(NAME, logits.value(), T => run::<T>(NAME, tape, logits, teacher, normalizer, |row, teacher| {
        divergence(row, teacher, temperature)
    }))
}

/// As [`kl_divergence`] where each label is right or not by itself; of a mean, `normalizer` is the number of elements.
///
/// # Errors
/// As there.
pub fn soft_binary_cross_entropy(
    tape: &Tape,
    logits: &Var,
    teacher: &[f32],
    temperature: f64,
    normalizer: f64,
) -> Result<Var> {
    const NAME: &str = "soft_binary_cross_entropy";
    with_real!(NAME, logits.value(), T => run::<T>(NAME, tape, logits, teacher, normalizer, |row, teacher| {
        let costs = row.iter_mut().zip(teacher).map(|(x, &t)| {
            let [cost, slope] = binary(*x / temperature, f64::from(t) / temperature);
            *x = temperature * slope;
            temperature * temperature * cost
        });
        costs.sum()
    }))
}

fn run<T: Real>(
    name: &'static str,
    tape: &Tape,
    logits: &Var,
    teacher: &[f32],
    normalizer: f64,
    cost: impl Fn(&mut [f64], &[f32]) -> f64,
) -> Result<Var> {
    let [batch, labels] = logits.dims2(name, "logits")?;
    if teacher.len() != batch * labels {
        let expected = format_args!("{} values", batch * labels);
        return Err(Error::shape(name, "teacher", &[teacher.len()], expected));
    }
    let mut slopes = logits.value().to_f64_vec();
    let width = labels.max(1);
    let rows = slopes.chunks_exact_mut(width).zip(teacher.chunks_exact(width));
    let loss: f64 = rows.map(|(row, teacher)| cost(row, teacher)).sum();
    loss_of::<T>(tape, logits, loss, slopes, normalizer)
}

/// What a row costs; its logits are replaced by the gradient.
fn divergence(row: &mut [f64], teacher: &[f32], temperature: f64) -> f64 {
    row.iter_mut().for_each(|x| *x /= temperature);
    let mut teacher: Vec<f64> = teacher.iter().map(|&t| f64::from(t) / temperature).collect();
    log_softmax(row);
    log_softmax(&mut teacher);
    let mut cost = 0.0;
    for (q, p) in row.iter_mut().zip(teacher) {
        let probability = p.exp();
        // What the teacher rules out costs nothing, however far out it is.
        if probability > 0.0 {
            cost += probability * (p - *q);
        }
        *q = temperature * (q.exp() - probability);
    }
    temperature * temperature * cost
}

/// ln softmax, in place.
fn log_softmax(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
    let log_sum = largest + sum.ln();
    row.iter_mut().for_each(|x| *x -= log_sum);
}

/// −σ(t) ln σ(x) − (1 − σ(t)) ln (1 − σ(x)), and its derivative by x.
fn binary(x: f64, t: f64) -> [f64; 2] {
    let p = sigmoid(t);
    let cost = p * negative_log_sigmoid(x) + sigmoid(-t) * negative_log_sigmoid(-x);
    [cost, sigmoid(x) - p]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::testing::{check, normal};

    const TEACHER: [f32; 6] = [2.0, -1.0, 0.5, -3.0, 0.0, 4.0];

    #[test]
    fn gradients() {
        for temperature in [1.0, 2.5] {
            check(vec![normal(1, &[2, 3])], |tape, inputs| {
                kl_divergence(tape, &inputs[0], &TEACHER, temperature, 2.0)
            });
            check(vec![normal(1, &[2, 3])], |tape, inputs| {
                soft_binary_cross_entropy(tape, &inputs[0], &TEACHER, temperature, 6.0)
            });
        }
    }

    #[test]
    fn nothing_is_to_be_learnt_of_oneself_and_huge_logits_stay_finite() {
        let tape = Tape::inference();
        let cost = |logits: &[f32], teacher: &[f32]| {
            let logits = tape.constant(Tensor::from_vec(logits.to_vec(), &[1, logits.len()]).unwrap());
            let loss = kl_divergence(&tape, &logits, teacher, 2.0, 1.0).unwrap();
            loss.value().to_f64_vec()[0]
        };
        assert!(cost(&TEACHER, &TEACHER).abs() < 1e-12);
        assert_eq!(cost(&[1e30, -1e30], &[1e30, -1e30]), 0.0);
        assert!(cost(&[-1e4, 1e4], &[1e4, -1e4]).is_finite());
    }
}
