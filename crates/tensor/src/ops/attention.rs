//! `attention`: scaled dot-product attention within each packed sequence (Vaswani et al. 2017, eq. 1,
//! <https://arxiv.org/abs/1706.03762>).
//!
//! For each sequence and head, with M the dropout mask over 1 − p (or ones): S = q kᵀ / √head_dim, P = softmax(S),
//! o = (P ∘ M) v. Only the logarithm of the softmax's denominator is kept for the gradient, one number for each row; the
//! probabilities are computed again (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>, section 3.1):
//! dv = (P ∘ M)ᵀ do, dP = (do vᵀ) ∘ M, dS = P ∘ (dP − rowsum(do ∘ o)), dq = dS k / √head_dim, dk = dSᵀ q / √head_dim.
//!
//! Work is shared by sequences; within one, queries are taken in blocks, so that the scores stay in cache.

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::cpu::product::{Arguments, Matrix};
use crate::cpu::{reduce, vectorised};
use crate::ops::with_real;
use crate::{Dropout, Error, Real, Result, Tape, Tensor, Var};

const NAME: &str = "attention";

/// Queries that are scored at a time.
pub const QUERY_BLOCK: usize = 64;

/// Attention of every token to the tokens of its own sequence. `dropout` acts on the probabilities; its rows are
/// (token, head) pairs.
///
/// # Shapes
/// `query`, `key`, `value`: `[tokens, heads * head_dim]`; `sequence_starts`: `[batch + 1]`, first 0, last `tokens`.
/// Returns `[tokens, heads * head_dim]`. An empty sequence contributes nothing.
///
/// # Errors
/// [`Error::Shape`] if the operands differ in shape, `heads` does not divide the columns, or the starts do not fit.
pub fn attention(
    tape: &Tape,
    query: &Var,
    key: &Var,
    value: &Var,
    sequence_starts: &[u32],
    heads: usize,
    dropout: Option<Dropout>,
) -> Result<Var> {
    let [tokens, columns] = query.dims2(NAME, "query")?;
    for (what, operand) in [("key", key), ("value", value)] {
        if operand.value().shape() != [tokens, columns] {
            return Err(Error::shape(
                NAME,
                what,
                operand.value().shape(),
                format_args!("[{tokens}, {columns}]"),
            ));
        }
    }
    if heads == 0 || columns % heads != 0 {
        return Err(Error::shape(
            NAME,
            "query",
            &[tokens, columns],
            format_args!("columns divisible by {heads} heads"),
        ));
    }
    check_starts(NAME, sequence_starts, tokens)?;
    let layout = Layout {
        starts: sequence_starts.iter().map(|&start| start as usize).collect(),
        heads,
        head_dim: columns / heads,
        dropout: dropout.map(|dropout| dropout.with_rows_per_token(heads)),
    };
    with_real!(NAME, query.value(), T => run::<T>(tape, [query, key, value], layout))
}

/// Refuses starts that do not cut `tokens` rows into sequences.
pub(super) fn check_starts(operation: &'static str, starts: &[u32], tokens: usize) -> Result<()> {
    let fits =
        starts.first() == Some(&0) && starts.last().is_some_and(|&last| last as usize == tokens) && starts.is_sorted();
    if fits {
        return Ok(());
    }
    let expected = format_args!("ascending numbers from 0 to {tokens}").to_string();
    Err(Error::shape(operation, "sequence_starts", &[starts.len()], expected))
}

/// How the columns and rows are cut up.
struct Layout {
    starts: Vec<usize>,
    heads: usize,
    head_dim: usize,
    dropout: Option<Dropout>,
}

impl Layout {
    fn columns(&self) -> usize {
        self.heads * self.head_dim
    }

    fn scale<T: Real>(&self) -> T {
        T::ONE / T::from_f64(self.head_dim as f64).sqrt()
    }

    /// The rows of each sequence, as (first row, rows).
    fn sequences(&self) -> impl Iterator<Item = (usize, usize)> {
        self.starts.windows(2).map(|pair| (pair[0], pair[1] - pair[0]))
    }

    /// Cuts a row-major matrix into one slice a sequence.
    fn split<'a, T>(&self, mut values: &'a mut [T], columns: usize) -> Vec<&'a mut [T]> {
        let cut = |(_, rows): (usize, usize)| {
            let (sequence, rest) = std::mem::take(&mut values).split_at_mut(rows * columns);
            values = rest;
            sequence
        };
        self.sequences().map(cut).collect()
    }
}

/// One head of some rows of a `[tokens, heads * head_dim]` matrix.
fn head<'a, T: Copy>(values: &'a [T], first: usize, rows: usize, head: usize, layout: &Layout) -> Matrix<'a, T> {
    let start = (first * layout.columns() + head * layout.head_dim).min(values.len());
    Matrix::new(&values[start..], rows, layout.head_dim, layout.columns())
}

fn run<T: Real>(tape: &Tape, inputs: [&Var; 3], layout: Layout) -> Result<Var> {
    let [q, k, v] = inputs;
    let (q, k, v) = (
        q.value().slice::<T>(NAME, "query")?,
        k.value().slice::<T>(NAME, "key")?,
        v.value().slice::<T>(NAME, "value")?,
    );
    let mut output = Buffer::<T>::scratch(q.len());
    let mut log_sums = Buffer::<T>::scratch(q.len() / layout.head_dim.max(1));
    layout
        .split(&mut output, layout.columns())
        .into_par_iter()
        .zip(layout.split(&mut log_sums, layout.heads))
        .zip(layout.sequences().collect::<Vec<_>>())
        .for_each(|((output, log_sums), rows)| forward_sequence([q, k, v], output, log_sums, rows, &layout));
    let shape = [q.len() / layout.columns().max(1), layout.columns()];
    let output = Tensor::from_buffer(output, &shape);
    Ok(tape.push(output.clone(), &inputs, || {
        let inputs = inputs.map(Var::clone);
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let [q, k, v] = [&inputs[0], &inputs[1], &inputs[2]].map(|input| input.value().slice::<T>(NAME, "input"));
            let saved = Saved {
                q: q?,
                k: k?,
                v: v?,
                output: output.slice(NAME, "output")?,
                log_sums: &log_sums,
            };
            let d_output = gradient.slice::<T>(NAME, "gradient")?;
            let mut sums = [(); 3].map(|()| Buffer::<T>::scratch(d_output.len()));
            let [d_query, d_key, d_value] = &mut sums;
            let columns = layout.columns();
            let parts = layout
                .split(d_query, columns)
                .into_iter()
                .zip(layout.split(d_key, columns));
            let parts = parts.zip(layout.split(d_value, columns)).zip(layout.sequences());
            parts
                .collect::<Vec<_>>()
                .into_par_iter()
                .for_each(|(((d_query, d_key), d_value), rows)| {
                    backward_sequence(&saved, d_output, [d_query, d_key, d_value], rows, &layout);
                });
            for (input, sum) in inputs.iter().zip(sums) {
                gradients.add::<T>(input, Tensor::from_buffer(sum, &shape));
            }
            Ok(())
        }
    }))
}

/// scores ← q kᵀ / √head_dim for a block of queries: `[queries, rows]`.
fn score<T: Real>(
    scores: &mut [T],
    q: &[T],
    k: &[T],
    (block, queries): (usize, usize),
    (first, rows): (usize, usize),
    index: usize,
    layout: &Layout,
) {
    T::product(Arguments {
        out: scores,
        out_row_stride: rows,
        a: head(q, first + block, queries, index, layout),
        b: head(k, first, rows, index, layout).transposed(),
        alpha: layout.scale(),
        beta: T::ZERO,
        parallel: false,
    });
}

/// The blocks of queries of a sequence, as (first query, queries).
fn query_blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows)
        .step_by(QUERY_BLOCK)
        .map(move |block| (block, QUERY_BLOCK.min(rows - block)))
}

fn forward_sequence<T: Real>(
    [q, k, v]: [&[T]; 3],
    output: &mut [T],
    log_sums: &mut [T],
    (first, rows): (usize, usize),
    layout: &Layout,
) {
    let mut scores = Buffer::<T>::scratch(QUERY_BLOCK.min(rows) * rows);
    for index in 0..layout.heads {
        for (block, queries) in query_blocks(rows) {
            let scores = &mut scores[..queries * rows];
            score(scores, q, k, (block, queries), (first, rows), index, layout);
            vectorised(
                #[inline(always)]
                || {
                    for (row, scores) in scores.chunks_exact_mut(rows).enumerate() {
                        let token = block + row;
                        log_sums[token * layout.heads + index] = softmax(scores);
                        if let Some(dropout) = layout.dropout {
                            dropout.apply_row((first + token) * layout.heads + index, scores);
                        }
                    }
                },
            );
            T::product(Arguments {
                out: &mut output[block * layout.columns() + index * layout.head_dim..],
                out_row_stride: layout.columns(),
                a: Matrix::new(scores, queries, rows, rows),
                b: head(v, first, rows, index, layout),
                alpha: T::ONE,
                beta: T::ZERO,
                parallel: false,
            });
        }
    }
}

/// Turns a row of scores into probabilities and returns ln Σ e^score.
#[inline(always)]
fn softmax<T: Real>(scores: &mut [T]) -> T {
    let largest = reduce::max(scores);
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
    }
    let sum = reduce::sum(
        scores,
        #[inline(always)]
        |score| score,
    );
    let inverse = T::ONE / sum;
    for score in scores.iter_mut() {
        *score *= inverse;
    }
    largest + sum.ln()
}

/// What the forward pass left behind.
struct Saved<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    output: &'a [T],
    log_sums: &'a [T],
}

fn backward_sequence<T: Real>(
    saved: &Saved<'_, T>,
    d_output: &[T],
    [d_query, d_key, d_value]: [&mut [T]; 3],
    (first, rows): (usize, usize),
    layout: &Layout,
) {
    let columns = layout.columns();
    let size = QUERY_BLOCK.min(rows) * rows;
    let (mut probabilities, mut gradients) = (Buffer::<T>::scratch(size), Buffer::<T>::scratch(size));
    for index in 0..layout.heads {
        for (block, queries) in query_blocks(rows) {
            let probabilities = &mut probabilities[..queries * rows];
            let gradients = &mut gradients[..queries * rows];
            score(
                probabilities,
                saved.q,
                saved.k,
                (block, queries),
                (first, rows),
                index,
                layout,
            );
            // gradients ← do vᵀ
            T::product(Arguments {
                out: gradients,
                out_row_stride: rows,
                a: head(d_output, first + block, queries, index, layout),
                b: head(saved.v, first, rows, index, layout).transposed(),
                alpha: T::ONE,
                beta: T::ZERO,
                parallel: false,
            });
            // probabilities ← P ∘ M and gradients ← dS
            vectorised(
                #[inline(always)]
                || {
                    let both = probabilities
                        .chunks_exact_mut(rows)
                        .zip(gradients.chunks_exact_mut(rows));
                    for (row, (p, g)) in both.enumerate() {
                        let token = first + block + row;
                        let range = token * columns + index * layout.head_dim..;
                        let o = &saved.output[range.clone()][..layout.head_dim];
                        let d_o = &d_output[range][..layout.head_dim];
                        let row_sum = reduce::sum2(
                            o,
                            d_o,
                            #[inline(always)]
                            |o, d_o| o * d_o,
                        );
                        let log_sum = saved.log_sums[token * layout.heads + index];
                        for p in p.iter_mut() {
                            *p = (*p - log_sum).exp();
                        }
                        match layout.dropout {
                            None => {
                                for (&p, g) in p.iter().zip(g) {
                                    *g = p * (*g - row_sum);
                                }
                            }
                            Some(dropout) => {
                                let mask = dropout.row(token * layout.heads + index);
                                let scale = dropout.scale::<T>();
                                for (key, (p, g)) in p.iter_mut().zip(g).enumerate() {
                                    let kept = if mask.keeps(key as u32) { scale } else { T::ZERO };
                                    *g = *p * (*g * kept - row_sum);
                                    *p *= kept;
                                }
                            }
                        }
                    }
                },
            );
            let beta = if block == 0 { T::ZERO } else { T::ONE };
            let gradients = Matrix::new(&*gradients, queries, rows, rows);
            let probabilities = Matrix::new(&*probabilities, queries, rows, rows);
            let multiply = |out: &mut [T], a, b, alpha, beta| {
                T::product(Arguments {
                    out,
                    out_row_stride: columns,
                    a,
                    b,
                    alpha,
                    beta,
                    parallel: false,
                });
            };
            let offset = index * layout.head_dim;
            let d_output = head(d_output, first + block, queries, index, layout);
            multiply(
                &mut d_value[offset..],
                probabilities.transposed(),
                d_output,
                T::ONE,
                beta,
            );
            let q = head(saved.q, first + block, queries, index, layout);
            multiply(&mut d_key[offset..], gradients.transposed(), q, layout.scale(), beta);
            let k = head(saved.k, first, rows, index, layout);
            multiply(
                &mut d_query[block * columns + offset..],
                gradients,
                k,
                layout.scale(),
                T::ZERO,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
            let inputs = (1..4).map(|seed| normal(seed, &[9, 6])).collect();
            check(inputs, |tape, inputs| {
                attention(tape, &inputs[0], &inputs[1], &inputs[2], &[0, 4, 4, 5, 9], 2, dropout)
            });
        }
    }

    /// Softmax over all keys, straight from the definition.
    fn textbook(q: &[f64], k: &[f64], v: &[f64], starts: &[u32], heads: usize, head_dim: usize) -> Vec<f64> {
        let columns = heads * head_dim;
        let mut output = vec![0.0; q.len()];
        for sequence in starts.windows(2) {
            let rows = sequence[0] as usize..sequence[1] as usize;
            for head in 0..heads {
                let at = |values: &[f64], row: usize, i: usize| values[row * columns + head * head_dim + i];
                for query in rows.clone() {
                    let dot = |key| (0..head_dim).map(|i| at(q, query, i) * at(k, key, i)).sum::<f64>();
                    let weights: Vec<f64> = rows
                        .clone()
                        .map(|key| (dot(key) / (head_dim as f64).sqrt()).exp())
                        .collect();
                    let sum: f64 = weights.iter().sum();
                    for i in 0..head_dim {
                        let mixed = rows
                            .clone()
                            .zip(&weights)
                            .map(|(key, weight)| weight / sum * at(v, key, i));
                        output[query * columns + head * head_dim + i] = mixed.sum();
                    }
                }
            }
        }
        output
    }

    #[test]
    fn equals_the_definition_across_query_blocks() {
        let starts = [0, 1, 131, 131, 160];
        let [q, k, v] = [1, 2, 3].map(|seed| normal(seed, &[160, 10]));
        let expected = textbook(&q.to_f64_vec(), &k.to_f64_vec(), &v.to_f64_vec(), &starts, 2, 5);
        let tape = Tape::inference();
        for dtype in [crate::DType::F64, crate::DType::F32] {
            let [q, k, v] = [&q, &k, &v].map(|tensor| tape.constant(tensor.to_dtype(dtype)));
            let found = attention(&tape, &q, &k, &v, &starts, 2, None).unwrap();
            let tolerance = if dtype == crate::DType::F64 { 1e-12 } else { 3e-6 };
            for (found, expected) in found.value().to_f64_vec().iter().zip(&expected) {
                assert!((found - expected).abs() < tolerance);
            }
        }
    }

    #[test]
    fn gradients_across_query_blocks_equal_those_of_f64() {
        // 70 tokens are two blocks: finite differences on all of them would take long, f32 against f64 does not see a
        // shared mistake, so both are held against each other here and the small case above against differences.
        let mut parameters = crate::Parameters::default();
        for seed in 1..4 {
            parameters.add(seed.to_string(), normal(seed, &[70, 4]));
        }
        let run = |parameters: &crate::Parameters| {
            let tape = Tape::recording();
            let inputs: Vec<Var> = parameters
                .iter()
                .map(|(id, _, _)| tape.parameter(parameters, id))
                .collect();
            let output = attention(&tape, &inputs[0], &inputs[1], &inputs[2], &[0, 70], 1, None).unwrap();
            let targets: Vec<f32> = (0..280).map(|i| (i % 3) as f32).collect();
            let loss = crate::ops::mean_squared_error(&tape, &output, &targets, 1.0).unwrap();
            let mut gradients = crate::ParameterGradients::for_parameters(parameters);
            tape.backward(&loss, &mut gradients).unwrap();
            (loss.value().to_f64_vec()[0], gradients)
        };
        let (_, gradients) = run(&parameters);
        let (_, narrow) = run(&parameters.to_dtype(crate::DType::F32));
        for (id, gradient) in gradients.iter() {
            let (wide, narrow) = (gradient.to_f64_vec(), narrow.get(id).unwrap().to_f64_vec());
            assert!(
                wide.iter()
                    .zip(&narrow)
                    .all(|(wide, narrow)| (wide - narrow).abs() < 1e-4)
            );
            // One element of each row block against a finite difference.
            for element in [5, 277] {
                let shifted = |by: f64| {
                    let mut parameters = parameters.clone();
                    parameters.get_mut(id).as_mut_slice::<f64>().unwrap()[element] += by;
                    run(&parameters).0
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((wide[element] - difference).abs() < 1e-6 * difference.abs().max(1.0));
            }
        }
    }

    #[test]
    fn operands_are_checked() {
        let tape = Tape::inference();
        let var = |rows, columns| tape.constant(normal(1, &[rows, columns]));
        let error = attention(&tape, &var(3, 4), &var(3, 4), &var(2, 4), &[0, 3], 2, None).unwrap_err();
        assert_eq!(error.to_string(), "attention: value has shape [2, 4], expected [3, 4]");
        assert!(attention(&tape, &var(3, 4), &var(3, 4), &var(3, 4), &[0, 3], 3, None).is_err());
        assert!(attention(&tape, &var(3, 4), &var(3, 4), &var(3, 4), &[0, 2, 1, 3], 2, None).is_err());
        assert!(attention(&tape, &var(3, 4), &var(3, 4), &var(3, 4), &[], 2, None).is_err());
    }
}
