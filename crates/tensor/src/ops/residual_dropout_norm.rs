//! `residual_dropout_norm`: y = LayerNorm(dropout(x) + r), the step that closes each half of a post-norm layer, and
//! `layer_norm` without the other two.
//!
//! With s = dropout(x) + r, x̂ = (s − mean) / √(variance + ε): y = γ x̂ + β (Ba et al. 2016,
//! <https://arxiv.org/abs/1607.06450>). Gradient, with g = γ dy: ds = (g − mean(g) − x̂ mean(g x̂)) / √(variance + ε),
//! dr = ds, dx = dropout(ds), dγ = Σ rows of dy x̂, dβ = Σ rows of dy.

use rayon::prelude::*;

use super::linear::collect_partial_sums;
use crate::buffer::Buffer;
use crate::cpu::{reduce, rows_per_task, vectorised};
use crate::ops::with_float;
use crate::{Dropout, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "residual_dropout_norm";

/// LayerNorm(dropout(input) + residual) with weight γ and bias β over the last dimension.
///
/// # Shapes
/// `input`, `residual`: `[rows, hidden_size]`; `weight`, `bias`: `[hidden_size]`. Returns `[rows, hidden_size]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn residual_dropout_norm(
    tape: &Tape,
    input: &Var,
    residual: &Var,
    weight: &Var,
    bias: &Var,
    epsilon: f64,
    dropout: Option<Dropout>,
) -> Result<Var> {
    let operands = Operands {
        input,
        residual: Some(residual),
        weight,
        bias,
        epsilon,
        dropout,
    };
    with_float!(NAME, input.value(), S => run::<S>(tape, operands))
}

/// LayerNorm(input); see [`residual_dropout_norm`].
///
/// # Errors
/// As there.
pub fn layer_norm(tape: &Tape, input: &Var, weight: &Var, bias: &Var, epsilon: f64) -> Result<Var> {
    let operands = Operands {
        input,
        residual: None,
        weight,
        bias,
        epsilon,
        dropout: None,
    };
    with_float!(NAME, input.value(), S => run::<S>(tape, operands))
}

struct Operands<'a> {
    input: &'a Var,
    residual: Option<&'a Var>,
    weight: &'a Var,
    bias: &'a Var,
    epsilon: f64,
    dropout: Option<Dropout>,
}

fn run<S: Float>(tape: &Tape, operands: Operands<'_>) -> Result<Var> {
    let Operands {
        input,
        residual,
        weight,
        bias,
        epsilon,
        dropout,
    } = operands;
    let [rows, columns] = input.dims2(NAME, "input")?;
    for (what, vector) in [("weight", weight), ("bias", bias)] {
        if vector.value().shape() != [columns] {
            return Err(Error::shape(
                NAME,
                what,
                vector.value().shape(),
                format_args!("[{columns}]"),
            ));
        }
    }
    if let Some(residual) = residual.filter(|residual| residual.value().shape() != [rows, columns]) {
        return Err(Error::shape(
            NAME,
            "residual",
            residual.value().shape(),
            format_args!("[{rows}, {columns}]"),
        ));
    }
    let x = input.value().slice::<S>(NAME, "input")?;
    let r = residual
        .map(|residual| residual.value().slice::<S>(NAME, "residual"))
        .transpose()?;
    let gamma = weight.value().slice::<S::Real>(NAME, "weight")?;
    let beta = bias.value().slice::<S::Real>(NAME, "bias")?;

    let mut normed = Buffer::<S>::scratch(rows * columns); // x̂
    let mut output = Buffer::<S>::scratch(rows * columns);
    let mut inverses = Buffer::<S::Real>::scratch(rows); // 1 / √(variance + ε)
    let block = rows_per_task(columns);
    let width = (block * columns).max(1);
    normed
        .par_chunks_mut(width)
        .zip(output.par_chunks_mut(width))
        .zip(inverses.par_chunks_mut(block))
        .enumerate()
        .for_each(|(task, ((normed, output), inverses))| {
            let first = task * block;
            let mut s = vec![S::Real::ZERO; columns];
            vectorised(
                #[inline(always)]
                || {
                    let rows = normed.chunks_exact_mut(columns).zip(output.chunks_exact_mut(columns));
                    for (row, ((normed, y), inverse)) in rows.zip(inverses.iter_mut()).enumerate() {
                        let range = (first + row) * columns..(first + row + 1) * columns;
                        widen(&x[range.clone()], &mut s);
                        if let Some(dropout) = dropout {
                            dropout.apply_row(first + row, &mut s);
                        }
                        if let Some(r) = r {
                            reduce::add(&mut s, &r[range]);
                        }
                        *inverse = normalise(&s, normed, y, gamma, beta, epsilon);
                    }
                },
            );
        });
    let inputs = [Some(input), residual, Some(weight), Some(bias)];
    let inputs: Vec<&Var> = inputs.into_iter().flatten().collect();
    Ok(tape.push(Tensor::from_buffer(output, &[rows, columns]), &inputs, || {
        let weight_value = weight.value().clone();
        let (input, residual) = (input.destination(), residual.map(Var::destination));
        let (weight, bias) = (weight.destination(), bias.destination());
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let gamma = weight_value.slice::<S::Real>(NAME, "weight")?;
            let tasks = rows.div_ceil(block);
            let mut partial_weight = Buffer::<S::Real>::zeros(tasks * columns);
            let mut partial_bias = Buffer::<S::Real>::zeros(tasks * columns);
            // The residual gets the gradient of the sum; the input gets it with the mask, if there is one.
            let mut d_input = dropout.map(|_| Buffer::<S>::scratch(rows * columns));
            let d_input_tasks: Vec<Option<&mut [S]>> = match &mut d_input {
                None => (0..tasks).map(|_| None).collect(),
                Some(values) => values.chunks_mut(width).map(Some).collect(),
            };
            gradient
                .as_mut_slice::<S>()
                .unwrap_or_default()
                .par_chunks_mut(width)
                .zip(normed.par_chunks(width))
                .zip(inverses.par_chunks(block))
                .zip(d_input_tasks)
                .zip(
                    partial_weight
                        .par_chunks_mut(columns)
                        .zip(partial_bias.par_chunks_mut(columns)),
                )
                .enumerate()
                .for_each(
                    |(task, ((((gradient, normed), inverses), mut d_input), (d_weight, d_bias)))| {
                        let mut g = vec![S::Real::ZERO; columns];
                        vectorised(
                            #[inline(always)]
                            || {
                                let rows = gradient.chunks_exact_mut(columns).zip(normed.chunks_exact(columns));
                                for (row, ((dy, normed), &inverse)) in rows.zip(inverses).enumerate() {
                                    backward_row(dy, normed, &mut g, gamma, inverse, d_weight, d_bias);
                                    narrow(&g, dy);
                                    if let (Some(dropout), Some(d_input)) = (dropout, &mut d_input) {
                                        dropout.apply_row(task * block + row, &mut g);
                                        narrow(&g, &mut d_input[row * columns..][..columns]);
                                    }
                                }
                            },
                        );
                    },
                );
            gradients.update::<S::Real>(&weight, |sum, fresh| collect_partial_sums(&partial_weight, sum, fresh));
            gradients.update::<S::Real>(&bias, |sum, fresh| collect_partial_sums(&partial_bias, sum, fresh));
            let d_input = d_input.map(|values| Tensor::from_buffer(values, &[rows, columns]));
            match residual {
                None => gradients.add::<S>(&input, d_input.unwrap_or(gradient)),
                Some(residual) => {
                    gradients.add::<S>(&input, d_input.unwrap_or_else(|| gradient.clone()));
                    gradients.add::<S>(&residual, gradient);
                }
            }
            Ok(())
        }
    }))
}

#[inline(always)]
fn widen<S: Float>(from: &[S], to: &mut [S::Real]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.widen();
    }
}

#[inline(always)]
fn narrow<S: Float>(from: &[S::Real], to: &mut [S]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = S::narrow(from);
    }
}

/// One row forward. Returns 1 / √(variance + ε).
#[inline(always)]
fn normalise<S: Float>(
    s: &[S::Real],
    normed: &mut [S],
    y: &mut [S],
    gamma: &[S::Real],
    beta: &[S::Real],
    epsilon: f64,
) -> S::Real {
    let count = S::Real::from_f64(s.len() as f64);
    let mean = reduce::sum(
        s,
        #[inline(always)]
        |s| s,
    ) / count;
    let variance = reduce::sum(
        s,
        #[inline(always)]
        |s| (s - mean) * (s - mean),
    ) / count;
    let inverse = S::Real::ONE / (variance + S::Real::from_f64(epsilon)).sqrt();
    let out = normed.iter_mut().zip(y);
    for (((normed, y), &s), (&gamma, &beta)) in out.zip(s).zip(gamma.iter().zip(beta)) {
        let x = (s - mean) * inverse;
        *normed = S::narrow(x);
        *y = S::narrow(x * gamma + beta);
    }
    inverse
}

/// One row backward: puts the gradient of the sum into `g` and adds to the partial sums of dγ and dβ.
#[inline(always)]
fn backward_row<S: Float>(
    dy: &[S],
    normed: &[S],
    g: &mut [S::Real],
    gamma: &[S::Real],
    inverse: S::Real,
    d_weight: &mut [S::Real],
    d_bias: &mut [S::Real],
) {
    let count = S::Real::from_f64(dy.len() as f64);
    for ((dy, normed), (d_weight, d_bias)) in dy.iter().zip(normed).zip(d_weight.iter_mut().zip(d_bias)) {
        *d_weight += dy.widen() * normed.widen();
        *d_bias += dy.widen();
    }
    for ((g, dy), &gamma) in g.iter_mut().zip(dy).zip(gamma) {
        *g = dy.widen() * gamma;
    }
    let mean_g = reduce::sum(
        g,
        #[inline(always)]
        |g| g,
    ) / count;
    let mean_gx = reduce::sum2(
        g,
        normed,
        #[inline(always)]
        |g, x: S| g * x.widen(),
    ) / count;
    for (g, normed) in g.iter_mut().zip(normed) {
        *g = (*g - mean_g - normed.widen() * mean_gx) * inverse;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
            let inputs = vec![
                normal(1, &[4, 19]),
                normal(2, &[4, 19]),
                normal(3, &[19]),
                normal(4, &[19]),
            ];
            check(inputs, |tape, inputs| {
                residual_dropout_norm(tape, &inputs[0], &inputs[1], &inputs[2], &inputs[3], 1e-5, dropout)
            });
        }
        check(
            vec![normal(1, &[3, 5]), normal(2, &[5]), normal(3, &[5])],
            |tape, inputs| layer_norm(tape, &inputs[0], &inputs[1], &inputs[2], 1e-12),
        );
    }

    #[test]
    fn many_tasks_give_the_sum_of_all_rows() {
        // 700 rows of 64 columns are three tasks.
        let parameters = |rows: usize| vec![normal(1, &[rows, 64]), normal(2, &[64]), normal(3, &[64])];
        let gradient = |inputs: Vec<Tensor>| {
            let mut parameters = crate::Parameters::default();
            for (index, input) in inputs.into_iter().enumerate() {
                parameters.add(index.to_string(), input);
            }
            let tape = Tape::recording();
            let vars: Vec<Var> = parameters
                .iter()
                .map(|(id, _, _)| tape.parameter(&parameters, id))
                .collect();
            let output = layer_norm(&tape, &vars[0], &vars[1], &vars[2], 1e-5).unwrap();
            let targets = vec![0.0; output.value().len()];
            let loss = crate::ops::mean_squared_error(&tape, &output, &targets, 1.0).unwrap();
            let mut gradients = crate::ParameterGradients::for_parameters(&parameters);
            tape.backward(&loss, &mut gradients).unwrap();
            gradients.get(parameters.find("1").unwrap()).unwrap().to_f64_vec()
        };
        let whole = gradient(parameters(700));
        let rows = parameters(700)[0].to_f64_vec();
        let mut parts = vec![0.0; 64];
        for part in rows.chunks(70 * 64) {
            let mut inputs = parameters(700);
            inputs[0] = Tensor::from_vec(part.to_vec(), &[70, 64]).unwrap();
            parts
                .iter_mut()
                .zip(gradient(inputs))
                .for_each(|(sum, value)| *sum += value);
        }
        for (whole, parts) in whole.iter().zip(&parts) {
            assert!((whole - parts).abs() < 1e-9 * whole.abs().max(1.0));
        }
    }
}
