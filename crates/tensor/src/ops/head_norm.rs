//! `head_norm`: RMS norm of every head of queries and of keys, each kind with a weight of its own; values stay as they are.
//!
//! The formula and the gradient are those of `norm`, with a head of a token as a row. Queries and keys as they were are kept,
//! beside a number for each row.

use rayon::prelude::*;

use super::heads::{Heads, Part};
use super::linear::collect_partial_sums;
use super::norm::{NormKind, backward_row, statistics};
use crate::buffer::Buffer;
use crate::cpu::{rows_per_task, vectorised};
use crate::ops::with_float;
use crate::{Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "head_norm";

/// RMS norm of the heads of queries and keys.
///
/// # Shapes
/// `qkv`: `[tokens, heads * head_dim]` as [`Heads`] says; `query_weight`, `key_weight`: `[head_dim]`. Returns the shape of `qkv`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn head_norm(
    tape: &Tape,
    qkv: &Var,
    heads: Heads,
    query_weight: &Var,
    key_weight: &Var,
    epsilon: f64,
) -> Result<Var> {
    let head_dim = heads.head_dim(NAME, qkv)?;
    for (what, weight) in [("query_weight", query_weight), ("key_weight", key_weight)] {
        if weight.value().shape() != [head_dim] {
            let expected = format_args!("[{head_dim}]").to_string();
            return Err(Error::shape(NAME, what, weight.value().shape(), expected));
        }
    }
    with_float!(NAME, qkv.value(), S => run::<S>(tape, qkv, heads, head_dim, [query_weight, key_weight], epsilon))
}

fn run<S: Float>(
    tape: &Tape,
    qkv: &Var,
    heads: Heads,
    head_dim: usize,
    weights: [&Var; 2],
    epsilon: f64,
) -> Result<Var> {
    let [tokens, columns] = qkv.dims2(NAME, "qkv")?;
    let x = qkv.value().slice::<S>(NAME, "qkv")?;
    let [query, key] = weights.map(|weight| weight.value().slice::<S::Real>(NAME, "weight"));
    let gammas = [query?, key?];
    // First columns of the heads that are normed, and whose weight they have.
    let queries = (0..heads.queries).map(|head| (heads.column(Part::Query, head, head_dim), 0));
    let keys = (0..heads.keys).map(|head| (heads.column(Part::Key, head, head_dim), 1));
    let normed: Vec<(usize, usize)> = queries.chain(keys).collect();
    let mut output = Buffer::<S>::scratch(tokens * columns);
    let mut factors = Buffer::<S::Real>::scratch(tokens * normed.len());
    let block = rows_per_task(columns);
    let width = (block * columns).max(1);
    output
        .par_chunks_mut(width)
        .zip(factors.par_chunks_mut((block * normed.len()).max(1)))
        .enumerate()
        .for_each(|(task, (output, factors))| {
            vectorised(
                #[inline(always)]
                || {
                    let rows = output
                        .chunks_exact_mut(columns.max(1))
                        .zip(factors.chunks_exact_mut(normed.len()));
                    for (row, (y, factors)) in rows.enumerate() {
                        let x = &x[(task * block + row) * columns..][..columns];
                        y.copy_from_slice(x);
                        for (&(start, kind), saved) in normed.iter().zip(factors) {
                            let (x, y) = (&x[start..][..head_dim], &mut y[start..][..head_dim]);
                            let [_, factor] = statistics(NormKind::Rms, x, epsilon);
                            *saved = factor;
                            for ((y, x), &gamma) in y.iter_mut().zip(x).zip(gammas[kind]) {
                                *y = S::narrow(x.widen() * factor * gamma);
                            }
                        }
                    }
                },
            );
        });
    let inputs = [qkv, weights[0], weights[1]];
    Ok(tape.push(Tensor::from_buffer(output, &[tokens, columns]), &inputs, || {
        let (qkv, destination) = (qkv.value().clone(), qkv.destination());
        let weight_values = weights.map(|weight| weight.value().clone());
        let weights = weights.map(Var::destination);
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let x = qkv.slice::<S>(NAME, "qkv")?;
            let [query, key] = &weight_values;
            let gammas = [query.slice::<S::Real>(NAME, "weight")?, key.slice(NAME, "weight")?];
            let tasks = tokens.div_ceil(block);
            // For each task the gradients of both weights.
            let mut partial = [(); 2].map(|()| Buffer::<S::Real>::zeros(tasks * head_dim));
            let [of_query, of_key] = &mut partial;
            let partial_tasks = of_query
                .par_chunks_mut(head_dim.max(1))
                .zip(of_key.par_chunks_mut(head_dim.max(1)));
            gradient
                .as_mut_slice::<S>()
                .unwrap_or_default()
                .par_chunks_mut(width)
                .zip(factors.par_chunks((block * normed.len()).max(1)))
                .zip(partial_tasks)
                .enumerate()
                .for_each(|(task, ((gradient, factors), (of_query, of_key)))| {
                    vectorised(
                        #[inline(always)]
                        || {
                            let rows = gradient
                                .chunks_exact_mut(columns.max(1))
                                .zip(factors.chunks_exact(normed.len()));
                            for (row, (dy, factors)) in rows.enumerate() {
                                let x = &x[(task * block + row) * columns..][..columns];
                                for (&(start, kind), &factor) in normed.iter().zip(factors) {
                                    let (x, dy) = (&x[start..][..head_dim], &mut dy[start..][..head_dim]);
                                    let saved = [S::Real::ZERO, factor];
                                    let d_weight = if kind == 0 { &mut *of_query } else { &mut *of_key };
                                    backward_row(NormKind::Rms, x, saved, gammas[kind], dy, d_weight, None);
                                }
                            }
                        },
                    );
                });
            for (weight, partial) in weights.iter().zip(&partial) {
                gradients.update::<S::Real>(weight, |sum, fresh| collect_partial_sums(partial, sum, fresh));
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
        for heads in [
            Heads::equal(2),
            Heads {
                queries: 4,
                keys: 2,
                interleaved: false,
            },
            Heads {
                interleaved: true,
                ..Heads::equal(3)
            },
        ] {
            let inputs = vec![normal(1, &[5, heads.count() * 7]), normal(2, &[7]), normal(3, &[7])];
            check(inputs, |tape, inputs| {
                head_norm(tape, &inputs[0], heads, &inputs[1], &inputs[2], 1e-3)
            });
        }
    }

    #[test]
    fn equals_the_norm_of_each_head() {
        let tape = Tape::inference();
        let heads = Heads {
            queries: 4,
            keys: 2,
            interleaved: false,
        };
        for dtype in [DType::F64, DType::F32, DType::BF16] {
            let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let qkv = tape.constant(normal(1, &[300, heads.count() * 9]).to_dtype(dtype));
            let weights = [2, 3].map(|seed| tape.constant(normal(seed, &[9]).to_dtype(real)));
            let found = head_norm(&tape, &qkv, heads, &weights[0], &weights[1], 1e-6).unwrap();
            let rows = tape.constant(qkv.value().clone().reshape(&[300 * heads.count(), 9]).unwrap());
            let [queries, keys] =
                [0, 1].map(|kind| ops::norm(&tape, NormKind::Rms, &rows, &weights[kind], None, 1e-6).unwrap());
            let [queries, keys] = [queries, keys].map(|rows| rows.value().to_f64_vec());
            let input = qkv.value().to_f64_vec();
            for (index, found) in found.value().to_f64_vec().iter().enumerate() {
                let expected = match index % (heads.count() * 9) / 9 {
                    0..4 => queries[index],
                    4..6 => keys[index],
                    _ => input[index],
                };
                assert_eq!(*found, expected);
            }
        }
    }
}
