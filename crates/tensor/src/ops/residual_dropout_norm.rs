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
use crate::ops::with_real;
use crate::{Dropout, Error, Real, Result, Tape, Tensor, Var};

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
    with_real!(NAME, input.value(), T => run::<T>(tape, operands))
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
    with_real!(NAME, input.value(), T => run::<T>(tape, operands))
}

struct Operands<'a> {
    input: &'a Var,
    residual: Option<&'a Var>,
    weight: &'a Var,
    bias: &'a Var,
    epsilon: f64,
    dropout: Option<Dropout>,
}

fn run<T: Real>(tape: &Tape, operands: Operands<'_>) -> Result<Var> {
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
    let x = input.value().slice::<T>(NAME, "input")?;
    let r = residual
        .map(|residual| residual.value().slice::<T>(NAME, "residual"))
        .transpose()?;
    let gamma = weight.value().slice::<T>(NAME, "weight")?;
    let beta = bias.value().slice::<T>(NAME, "bias")?;

    let mut sums = Buffer::<T>::scratch(rows * columns);
    let mut output = Buffer::<T>::scratch(rows * columns);
    let mut statistics = Buffer::<T>::scratch(rows * 2); // mean and 1 / √(variance + ε) of each row
    let block = rows_per_task(columns);
    let width = (block * columns).max(1);
    sums.par_chunks_mut(width)
        .zip(output.par_chunks_mut(width))
        .zip(statistics.par_chunks_mut(block * 2))
        .enumerate()
        .for_each(|(task, ((sums, output), statistics))| {
            let first = task * block;
            vectorised(
                #[inline(always)]
                || {
                    let rows = sums.chunks_exact_mut(columns).zip(output.chunks_exact_mut(columns));
                    for (row, ((s, y), statistics)) in rows.zip(statistics.chunks_exact_mut(2)).enumerate() {
                        let range = (first + row) * columns..(first + row + 1) * columns;
                        s.copy_from_slice(&x[range.clone()]);
                        if let Some(dropout) = dropout {
                            dropout.apply_row(first + row, s);
                        }
                        if let Some(r) = r {
                            reduce::add(s, &r[range]);
                        }
                        normalise(s, y, gamma, beta, epsilon, statistics);
                    }
                },
            );
        });
    let inputs = [Some(input), residual, Some(weight), Some(bias)];
    let inputs: Vec<&Var> = inputs.into_iter().flatten().collect();
    Ok(tape.push(Tensor::from_buffer(output, &[rows, columns]), &inputs, || {
        let (input, residual, weight, bias) = (input.clone(), residual.cloned(), weight.clone(), bias.clone());
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let gamma = weight.value().slice::<T>(NAME, "weight")?;
            let tasks = rows.div_ceil(block);
            let mut partial_weight = Buffer::<T>::zeros(tasks * columns);
            let mut partial_bias = Buffer::<T>::zeros(tasks * columns);
            gradient
                .as_mut_slice::<T>()
                .unwrap_or_default()
                .par_chunks_mut(width)
                .zip(sums.par_chunks(width))
                .zip(statistics.par_chunks(block * 2))
                .zip(
                    partial_weight
                        .par_chunks_mut(columns)
                        .zip(partial_bias.par_chunks_mut(columns)),
                )
                .for_each(|(((gradient, sums), statistics), (d_weight, d_bias))| {
                    vectorised(
                        #[inline(always)]
                        || {
                            let rows = gradient.chunks_exact_mut(columns).zip(sums.chunks_exact(columns));
                            for ((dy, s), statistics) in rows.zip(statistics.chunks_exact(2)) {
                                backward_row(dy, s, gamma, statistics, d_weight, d_bias);
                            }
                        },
                    );
                });
            gradients.update::<T>(&weight, |sum, fresh| collect_partial_sums(&partial_weight, sum, fresh));
            gradients.update::<T>(&bias, |sum, fresh| collect_partial_sums(&partial_bias, sum, fresh));
            match (&residual, dropout) {
                (Some(residual), Some(dropout)) => {
                    let mut d_input = gradient.clone();
                    crate::cpu::for_each_rows(
                        d_input.as_mut_slice::<T>().unwrap_or_default(),
                        columns,
                        #[inline(always)]
                        |first, block| {
                            for (row, values) in block.chunks_exact_mut(columns).enumerate() {
                                dropout.apply_row(first + row, values);
                            }
                        },
                    );
                    gradients.add::<T>(&input, d_input);
                    gradients.add::<T>(residual, gradient);
                }
                (Some(residual), None) => {
                    gradients.add::<T>(&input, gradient.clone());
                    gradients.add::<T>(residual, gradient);
                }
                (None, _) => gradients.add::<T>(&input, gradient),
            }
            Ok(())
        }
    }))
}

/// One row forward. `statistics` gets the mean and 1 / √(variance + ε).
#[inline(always)]
fn normalise<T: Real>(s: &[T], y: &mut [T], gamma: &[T], beta: &[T], epsilon: f64, statistics: &mut [T]) {
    let count = T::from_f64(s.len() as f64);
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
    let inverse = T::ONE / (variance + T::from_f64(epsilon)).sqrt();
    for ((y, &s), (&gamma, &beta)) in y.iter_mut().zip(s).zip(gamma.iter().zip(beta)) {
        *y = (s - mean) * inverse * gamma + beta;
    }
    statistics[0] = mean;
    statistics[1] = inverse;
}

/// One row backward: turns dy into ds and adds to the partial sums of dγ and dβ.
#[inline(always)]
fn backward_row<T: Real>(dy: &mut [T], s: &[T], gamma: &[T], statistics: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
    let (mean, inverse) = (statistics[0], statistics[1]);
    let count = T::from_f64(s.len() as f64);
    for ((&dy, &s), (d_weight, d_bias)) in dy.iter().zip(s).zip(d_weight.iter_mut().zip(d_bias)) {
        *d_weight += dy * (s - mean) * inverse;
        *d_bias += dy;
    }
    for (dy, &gamma) in dy.iter_mut().zip(gamma) {
        *dy *= gamma;
    }
    let mean_g = reduce::sum(
        dy,
        #[inline(always)]
        |g| g,
    ) / count;
    let mean_gx = reduce::sum2(
        dy,
        s,
        #[inline(always)]
        |g, s| g * (s - mean) * inverse,
    ) / count;
    for (g, &s) in dy.iter_mut().zip(s) {
        *g = (*g - mean_g - (s - mean) * inverse * mean_gx) * inverse;
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
