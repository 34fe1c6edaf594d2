//! `norm`: layer norm or RMS norm of rows, for layers whose norms stand before their products. Norms that close a layer are
//! `residual_dropout_norm`.
//!
//! Layer norm (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>): x̂ = (x − mean) / √(variance + ε). RMS norm (Zhang and Sennrich 2019,
//! <https://arxiv.org/abs/1910.07467>): x̂ = x / √(mean(x²) + ε). y = γ x̂ + β, β perhaps absent. Gradient, with g = γ dy and ρ the factor
//! of x̂: dx = ρ (g − mean(g) − x̂ mean(g x̂)), without mean(g) for RMS norm; dγ = Σ rows of dy x̂, dβ = Σ rows of dy.
//!
//! Kept are x, which the residual sum keeps in any case, and ρ and the mean of each row; x̂ is computed again.

use rayon::prelude::*;

use super::linear::collect_partial_sums;
use crate::buffer::Buffer;
use crate::cpu::{reduce, rows_per_task, vectorised};
use crate::ops::with_float;
use crate::{Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "norm";

/// What is made equal in all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NormKind {
    /// Mean and variance.
    #[default]
    Layer,
    /// The mean of the squares.
    Rms,
}

/// γ x̂ + β over the last dimension.
///
/// # Shapes
/// `input`: `[rows, hidden_size]`; `weight` and `bias`: `[hidden_size]`. Returns `[rows, hidden_size]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn norm(tape: &Tape, kind: NormKind, input: &Var, weight: &Var, bias: Option<&Var>, epsilon: f64) -> Result<Var> {
    with_float!(NAME, input.value(), S => run::<S>(tape, kind, input, weight, bias, epsilon))
}

/// The mean that is taken away and the factor, of a row.
#[inline(always)]
pub(super) fn statistics<S: Float>(kind: NormKind, x: &[S], epsilon: f64) -> [S::Real; 2] {
    let count = S::Real::from_f64(x.len() as f64);
    let mean = match kind {
        NormKind::Rms => S::Real::ZERO,
        NormKind::Layer => {
            reduce::sum2(
                x,
                x,
                #[inline(always)]
                |x: S, _| x.widen(),
            ) / count
        }
    };
    let variance = reduce::sum2(
        x,
        x,
        #[inline(always)]
        |x: S, _| (x.widen() - mean) * (x.widen() - mean),
    ) / count;
    [mean, S::Real::ONE / (variance + S::Real::from_f64(epsilon)).sqrt()]
}

/// The gradient of a row of x from that of y, written over it; adds to the sums of dγ and dβ.
#[inline(always)]
pub(super) fn backward_row<S: Float>(
    kind: NormKind,
    x: &[S],
    [mean, factor]: [S::Real; 2],
    gamma: &[S::Real],
    dy: &mut [S],
    d_weight: &mut [S::Real],
    d_bias: Option<&mut [S::Real]>,
) {
    let count = S::Real::from_f64(x.len() as f64);
    for ((dy, x), d_weight) in dy.iter().zip(x).zip(d_weight) {
        *d_weight += dy.widen() * ((x.widen() - mean) * factor);
    }
    if let Some(d_bias) = d_bias {
        reduce::add(d_bias, dy);
    }
    let mean_g = match kind {
        NormKind::Rms => S::Real::ZERO,
        NormKind::Layer => {
            reduce::sum2(
                dy,
                gamma,
                #[inline(always)]
                |dy: S, gamma| dy.widen() * gamma,
            ) / count
        }
    };
    let mean_gx = reduce::sum3(
        dy,
        x,
        gamma,
        #[inline(always)]
        |dy: S, x: S, gamma| dy.widen() * gamma * ((x.widen() - mean) * factor),
    ) / count;
    for ((dy, x), &gamma) in dy.iter_mut().zip(x).zip(gamma) {
        let normed = (x.widen() - mean) * factor;
        *dy = S::narrow((dy.widen() * gamma - mean_g - normed * mean_gx) * factor);
    }
}

fn check_vector(what: &'static str, vector: &Var, columns: usize) -> Result<()> {
    if vector.value().shape() == [columns] {
        return Ok(());
    }
    let expected = format_args!("[{columns}]").to_string();
    Err(Error::shape(NAME, what, vector.value().shape(), expected))
}

fn run<S: Float>(
    tape: &Tape,
    kind: NormKind,
    input: &Var,
    weight: &Var,
    bias: Option<&Var>,
    epsilon: f64,
) -> Result<Var> {
    let [rows, columns] = input.dims2(NAME, "input")?;
    check_vector("weight", weight, columns)?;
    if let Some(bias) = bias {
        check_vector("bias", bias, columns)?;
    }
    let x = input.value().slice::<S>(NAME, "input")?;
    let gamma = weight.value().slice::<S::Real>(NAME, "weight")?;
    let beta = bias
        .map(|bias| bias.value().slice::<S::Real>(NAME, "bias"))
        .transpose()?;
    let mut output = Buffer::<S>::scratch(rows * columns);
    let mut saved = Buffer::<S::Real>::scratch(2 * rows);
    let block = rows_per_task(columns);
    let width = (block * columns).max(1);
    output
        .par_chunks_mut(width)
        .zip(saved.par_chunks_mut(2 * block))
        .enumerate()
        .for_each(|(task, (output, saved))| {
            vectorised(
                #[inline(always)]
                || {
                    let rows = output.chunks_exact_mut(columns.max(1)).zip(saved.chunks_exact_mut(2));
                    for (row, (y, saved)) in rows.enumerate() {
                        let x = &x[(task * block + row) * columns..][..columns];
                        let [mean, factor] = statistics(kind, x, epsilon);
                        saved.copy_from_slice(&[mean, factor]);
                        let y = y.iter_mut().zip(x);
                        match beta {
                            None => {
                                for ((y, x), &gamma) in y.zip(gamma) {
                                    *y = S::narrow((x.widen() - mean) * factor * gamma);
                                }
                            }
                            Some(beta) => {
                                for ((y, x), (&gamma, &beta)) in y.zip(gamma.iter().zip(beta)) {
                                    *y = S::narrow((x.widen() - mean) * factor * gamma + beta);
                                }
                            }
                        }
                    }
                },
            );
        });
    let inputs: Vec<&Var> = [Some(input), Some(weight), bias].into_iter().flatten().collect();
    Ok(tape.push(Tensor::from_buffer(output, &[rows, columns]), &inputs, || {
        let (input, destination) = (input.value().clone(), input.destination());
        let (weight_value, weight) = (weight.value().clone(), weight.destination());
        let bias = bias.map(Var::destination);
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let x = input.slice::<S>(NAME, "input")?;
            let gamma = weight_value.slice::<S::Real>(NAME, "weight")?;
            let tasks = rows.div_ceil(block);
            let mut partial_weight = Buffer::<S::Real>::zeros(tasks * columns);
            let mut partial_bias = Buffer::<S::Real>::zeros(if bias.is_some() { tasks * columns } else { 0 });
            let bias_tasks: Vec<Option<&mut [S::Real]>> = match &bias {
                None => (0..tasks).map(|_| None).collect(),
                Some(_) => partial_bias.chunks_mut(columns.max(1)).map(Some).collect(),
            };
            gradient
                .as_mut_slice::<S>()
                .unwrap_or_default()
                .par_chunks_mut(width)
                .zip(saved.par_chunks(2 * block))
                .zip(partial_weight.par_chunks_mut(columns.max(1)).zip(bias_tasks))
                .enumerate()
                .for_each(|(task, ((gradient, saved), (d_weight, mut d_bias)))| {
                    vectorised(
                        #[inline(always)]
                        || {
                            let rows = gradient.chunks_exact_mut(columns.max(1)).zip(saved.as_chunks::<2>().0);
                            for (row, (dy, saved)) in rows.enumerate() {
                                let x = &x[(task * block + row) * columns..][..columns];
                                backward_row(kind, x, *saved, gamma, dy, d_weight, d_bias.as_deref_mut());
                            }
                        },
                    );
                });
            gradients.update::<S::Real>(&weight, |sum, fresh| collect_partial_sums(&partial_weight, sum, fresh));
            if let Some(bias) = &bias {
                gradients.update::<S::Real>(bias, |sum, fresh| collect_partial_sums(&partial_bias, sum, fresh));
            }
            gradients.add::<S>(&destination, gradient);
            Ok(())
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};
    use crate::{DType, ops};

    #[test]
    fn gradients() {
        for kind in [NormKind::Layer, NormKind::Rms] {
            for columns in [1, 5, 37] {
                let inputs = vec![normal(1, &[4, columns]), normal(2, &[columns]), normal(3, &[columns])];
                check(inputs.clone(), |tape, inputs| {
                    norm(tape, kind, &inputs[0], &inputs[1], Some(&inputs[2]), 1e-2)
                });
                check(inputs[..2].to_vec(), |tape, inputs| {
                    norm(tape, kind, &inputs[0], &inputs[1], None, 1e-2)
                });
            }
        }
    }

    #[test]
    fn layer_norm_is_that_of_post_norm_layers_and_rms_norm_its_definition() {
        let tape = Tape::inference();
        for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-6), (DType::BF16, 0.03)] {
            let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let input = tape.constant(normal(1, &[700, 65]).to_dtype(dtype));
            let [weight, bias] = [2, 3].map(|seed| tape.constant(normal(seed, &[65]).to_dtype(real)));
            let layer = norm(&tape, NormKind::Layer, &input, &weight, Some(&bias), 1e-5).unwrap();
            let expected = ops::layer_norm(&tape, &input, &weight, &bias, 1e-5).unwrap();
            for (found, expected) in layer.value().to_f64_vec().iter().zip(expected.value().to_f64_vec()) {
                assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0));
            }
            let rms = norm(&tape, NormKind::Rms, &input, &weight, None, 1e-5)
                .unwrap()
                .value()
                .to_f64_vec();
            let (x, gamma) = (input.value().to_f64_vec(), weight.value().to_f64_vec());
            for (row, found) in x.chunks(65).zip(rms.chunks(65)) {
                let mean = row.iter().map(|x| x * x).sum::<f64>() / 65.0;
                for ((x, found), gamma) in row.iter().zip(found).zip(&gamma) {
                    let expected = x / (mean + 1e-5).sqrt() * gamma;
                    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0));
                }
            }
        }
    }
}
