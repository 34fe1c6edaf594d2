//! `attention`: scaled dot-product attention within each packed sequence (Vaswani et al. 2017, eq. 1,
//! <https://arxiv.org/abs/1706.03762>).
//!
//! For each sequence and head, with M the dropout mask over 1 − p (or ones): S = q kᵀ / √head_dim, P = softmax(S),
//! o = (P ∘ M) v. Only the logarithm of the softmax's denominator is kept for the gradient, one number for each row; the
//! probabilities are computed again (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>, section 3.1):
//! dv = (P ∘ M)ᵀ do, dP = (do vᵀ) ∘ M, dS = P ∘ (dP − rowsum(do ∘ o)), dq = dS k / √head_dim, dk = dSᵀ q / √head_dim.
//!
//! Work is shared by sequences and heads, the longest first; within one, queries are taken in blocks, so that the scores stay
//! in cache.

use rayon::prelude::*;

use crate::buffer::{Buffer, stored_bytes};
use crate::cpu::product::{COLUMNS, Dot, Left, Lines, Out, ROWS, Right, multiply_here, pack_elements, pack_lines};
use crate::cpu::{reduce, vectorised};
use crate::ops::with_float;
use crate::{DType, Dropout, Element, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "attention";

/// Queries that are scored at a time.
const QUERY_BLOCK: usize = 96;

/// Attention of every token to the tokens of its own sequence. `dropout` acts on the probabilities; its rows are
/// (token, head) pairs.
///
/// # Shapes
/// `qkv`: `[tokens, 3 * heads * head_dim]`, queries, keys and values side by side; `sequence_starts`: `[batch + 1]`, first 0,
/// last `tokens`. Returns `[tokens, heads * head_dim]`. An empty sequence contributes nothing.
///
/// # Errors
/// [`Error::Shape`] if three times `heads` does not divide the columns, or the starts do not fit.
pub fn attention(
    tape: &Tape,
    qkv: &Var,
    sequence_starts: &[u32],
    heads: usize,
    dropout: Option<Dropout>,
) -> Result<Var> {
    let [tokens, columns] = qkv.dims2(NAME, "qkv")?;
    if heads == 0 || columns % (3 * heads) != 0 {
        let expected = format_args!("columns divisible by three times {heads} heads").to_string();
        return Err(Error::shape(NAME, "qkv", &[tokens, columns], expected));
    }
    check_starts(NAME, sequence_starts, tokens)?;
    let layout = Layout {
        starts: sequence_starts.iter().map(|&start| start as usize).collect(),
        heads,
        head_dim: columns / heads / 3,
        dropout: dropout.map(|dropout| dropout.with_rows_per_token(heads)),
        records: tape.records(),
    };
    with_float!(NAME, qkv.value(), S => run::<S>(tape, qkv, layout))
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
    /// Whether a gradient will be asked for.
    records: bool,
}

/// One head of one sequence.
#[derive(Debug, Clone, Copy)]
struct Unit {
    /// First token.
    first: usize,
    /// Tokens.
    rows: usize,
    head: usize,
}

impl Layout {
    /// Columns of queries, keys or values.
    fn columns(&self) -> usize {
        self.heads * self.head_dim
    }

    fn tokens(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The longest sequence.
    fn longest(&self) -> usize {
        self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    fn scale<R: Real>(&self) -> R {
        R::ONE / R::from_f64(self.head_dim as f64).sqrt()
    }

    /// Cuts a matrix with `width` columns for each of `parts · heads` heads into the heads of every sequence: for each unit,
    /// those of every part.
    fn split<'a, T: Element>(&self, values: &'a mut [T], width: usize, parts: usize) -> Vec<(Unit, Vec<Out<'a, T>>)> {
        let mut rest = Out::new(values, self.tokens(), parts * self.heads * width);
        let mut units = Vec::with_capacity(self.heads * self.starts.len());
        for pair in self.starts.windows(2) {
            let (first, rows) = (pair[0], pair[1] - pair[0]);
            let mut columns;
            (columns, rest) = rest.split_rows(rows);
            let new = units.len();
            units.extend((0..self.heads).map(|head| (Unit { first, rows, head }, Vec::with_capacity(parts))));
            for _ in 0..parts {
                for (_, outs) in &mut units[new..] {
                    let out;
                    (out, columns) = columns.split_columns(width);
                    outs.push(out);
                }
            }
        }
        units
    }
}

/// The longest first, so that no thread is left with a long one at the end.
fn longest_first<T>(units: &mut [(Unit, T)]) {
    units.sort_by_key(|(unit, _)| std::cmp::Reverse(unit.rows));
}

/// One head of the queries, keys or values of a sequence, or of another matrix with heads side by side.
#[derive(Clone, Copy)]
struct Head<'a, S> {
    values: &'a [S],
    rows: usize,
    stride: usize,
    head_dim: usize,
}

impl<'a, S: Float> Head<'a, S> {
    /// Part `part` of a matrix with `parts` of them side by side.
    fn new(values: &'a [S], unit: Unit, part: usize, parts: usize, layout: &Layout) -> Self {
        let stride = parts * layout.columns();
        let start = unit.first * stride + part * layout.columns() + unit.head * layout.head_dim;
        let values = &values[start.min(values.len())..];
        Self {
            values,
            rows: unit.rows,
            stride,
            head_dim: layout.head_dim,
        }
    }

    fn row(&self, row: usize) -> &'a [S] {
        &self.values[row * self.stride..][..self.head_dim]
    }

    /// Some rows.
    fn part(self, first: usize, rows: usize) -> Self {
        Self {
            values: &self.values[(first * self.stride).min(self.values.len())..],
            rows,
            ..self
        }
    }

    /// As left factor, packed into `space` where its rows are no whole words.
    fn left<'b>(self, space: &'b mut [S]) -> Left<'b, S::Dot>
    where
        'a: 'b,
    {
        if Left::<S::Dot>::is_whole(self.head_dim) {
            return Left::rows(self.values, self.rows, self.head_dim, self.stride);
        }
        let lines = lines::<S>(self.rows, self.head_dim);
        pack_lines::<S, S, ROWS>(space, lines, |row| self.row(row), |value| value);
        Left::packed(space, lines)
    }

    /// Its transpose as right factor.
    fn transposed<'b>(self, space: &'b mut [S]) -> Right<'b, S::Dot> {
        let lines = lines::<S>(self.rows, self.head_dim);
        pack_lines::<S, S, COLUMNS>(space, lines, |row| self.row(row), |value| value);
        Right::packed(space, lines)
    }

    /// As right factor.
    fn right<'b>(self, space: &'b mut [S]) -> Right<'b, S::Dot> {
        let lines = lines::<S>(self.head_dim, self.rows);
        pack_elements::<S, S, COLUMNS>(space, lines, |row| self.row(row), |value| value);
        Right::packed(space, lines)
    }
}

fn lines<S: Float>(count: usize, inner: usize) -> Lines {
    Lines {
        count,
        inner,
        group: S::Dot::GROUP,
    }
}

/// What one thread works with, large enough for the longest sequence.
struct Workspace<S: Float> {
    /// Packed factors.
    packed: [Buffer<S>; 5],
    /// Rows of scores and of their gradients.
    scores: [Buffer<S::Real>; 2],
    /// The same, rounded.
    rounded: [Buffer<S>; 2],
    /// Sums with a row for each token.
    sums: [Buffer<S::Real>; 2],
}

/// How many elements the buffers of a [`Workspace`] have, in their order.
struct WorkspaceSizes {
    packed: [usize; 5],
    scores: [usize; 2],
    rounded: [usize; 2],
    sums: [usize; 2],
}

impl WorkspaceSizes {
    /// For sequences of up to `rows` tokens: those of the forward pass, or of the gradient too.
    fn new(rows: usize, head_dim: usize, group: usize, backward: bool) -> Self {
        let block = QUERY_BLOCK.min(rows);
        // The most that any of the factors takes: lines are filled up to whole panels, and inner extents to whole words.
        let packed = (rows.next_multiple_of(COLUMNS) * head_dim.next_multiple_of(group))
            .max(head_dim.next_multiple_of(COLUMNS) * rows.next_multiple_of(group));
        let transposed = rows.next_multiple_of(ROWS) * block.next_multiple_of(group);
        let only_backward = |len: usize| if backward { len } else { 0 };
        // Gradients of queries are summed up here too, once their scores have been used.
        let scores = block * rows.max(head_dim).next_multiple_of(COLUMNS);
        let rounded = block * rows.next_multiple_of(COLUMNS);
        let sums = rows * head_dim.next_multiple_of(COLUMNS);
        Self {
            packed: [
                packed,
                packed,
                packed.max(only_backward(transposed)),
                only_backward(packed),
                only_backward(packed),
            ],
            scores: [scores, only_backward(scores)],
            rounded: [rounded, only_backward(rounded)],
            sums: [sums, only_backward(sums)],
        }
    }
}

impl<S: Float> Workspace<S> {
    fn new(layout: &Layout, backward: bool) -> Self {
        let sizes = WorkspaceSizes::new(layout.longest(), layout.head_dim, S::Dot::GROUP, backward);
        Self {
            packed: sizes.packed.map(Buffer::scratch),
            scores: sizes.scores.map(Buffer::scratch),
            rounded: sizes.rounded.map(Buffer::scratch),
            sums: sizes.sums.map(Buffer::scratch),
        }
    }
}

/// Bytes that all threads together work with, for sequences of up to `longest` tokens.
pub(crate) fn workspace_bytes(longest: usize, head_dim: usize, dtype: DType, backward: bool) -> usize {
    let group = if dtype == DType::BF16 { 2 } else { 1 };
    let sizes = WorkspaceSizes::new(longest, head_dim, group, backward);
    let narrow = sizes
        .packed
        .iter()
        .chain(&sizes.rounded)
        .map(|&len| stored_bytes(len * dtype.size()));
    let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let wide = sizes
        .scores
        .iter()
        .chain(&sizes.sums)
        .map(|&len| stored_bytes(len * real.size()));
    rayon::current_num_threads() * narrow.chain(wide).sum::<usize>()
}

/// The blocks of queries of a sequence, as (first query, queries).
fn query_blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows)
        .step_by(QUERY_BLOCK)
        .map(move |block| (block, QUERY_BLOCK.min(rows - block)))
}

fn run<S: Float>(tape: &Tape, qkv: &Var, layout: Layout) -> Result<Var> {
    let values = qkv.value().slice::<S>(NAME, "qkv")?;
    let (tokens, columns) = (layout.tokens(), layout.columns());
    let mut output = Buffer::<S>::scratch(tokens * columns);
    let mut log_sums = Buffer::<S::Real>::scratch(tokens * layout.heads);
    let outs = layout.split(&mut output, layout.head_dim, 1).into_iter();
    let mut units: Vec<_> = outs
        .zip(layout.split(&mut log_sums, 1, 1))
        .map(|((unit, out), (_, sums))| (unit, (out, sums)))
        .collect();
    longest_first(&mut units);
    units.into_par_iter().for_each_init(
        || Workspace::<S>::new(&layout, false),
        |space, (unit, (mut out, mut log_sums))| {
            forward_unit(values, &mut out[0], &mut log_sums[0], unit, &layout, space);
        },
    );
    let output = Tensor::from_buffer(output, &[tokens, columns]);
    Ok(tape.push(output.clone(), &[qkv], || {
        let (qkv, destination) = (qkv.value().clone(), qkv.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let saved = Saved {
                qkv: qkv.slice::<S>(NAME, "qkv")?,
                output: output.slice(NAME, "output")?,
                d_output: gradient.slice(NAME, "gradient")?,
                log_sums: &log_sums,
            };
            let mut d_qkv = Buffer::<S>::scratch(3 * tokens * columns);
            let mut units = layout.split(&mut d_qkv, layout.head_dim, 3);
            longest_first(&mut units);
            units.into_par_iter().for_each_init(
                || Workspace::<S>::new(&layout, true),
                |space, (unit, mut outs)| backward_unit(&saved, &mut outs, unit, &layout, space),
            );
            gradients.add::<S>(&destination, Tensor::from_buffer(d_qkv, &[tokens, 3 * columns]));
            Ok(())
        }
    }))
}

fn forward_unit<S: Float>(
    qkv: &[S],
    out: &mut Out<'_, S>,
    log_sums: &mut Out<'_, S::Real>,
    unit: Unit,
    layout: &Layout,
    space: &mut Workspace<S>,
) {
    let [q, k, v] = [0, 1, 2].map(|part| Head::new(qkv, unit, part, 3, layout));
    let [k_space, v_space, q_space, ..] = &mut space.packed;
    let (keys, values) = (k.transposed(k_space), v.right(v_space));
    let [scores, _] = &mut space.scores;
    let [probabilities, _] = &mut space.rounded;
    let [sums, _] = &mut space.sums;
    let width = unit.rows.next_multiple_of(COLUMNS);
    let whole = unit.rows.next_multiple_of(S::Dot::GROUP);
    for (block, queries) in query_blocks(unit.rows) {
        multiply_here(q.part(block, queries).left(q_space), keys, false, scores);
        vectorised(
            #[inline(always)]
            || {
                // Rows are filled up to whole panels: loops then have no rest that is not vectorised.
                let rows = scores
                    .chunks_exact_mut(width)
                    .zip(probabilities.chunks_exact_mut(width));
                for (row, (scores, probabilities)) in rows.take(queries).enumerate() {
                    let token = block + row;
                    scores[unit.rows..].fill(S::Real::from_f64(f64::NEG_INFINITY));
                    let (largest, sum) = exponentials(scores, layout.scale());
                    if layout.records {
                        log_sums.row(token)[0] = largest + sum.ln();
                    }
                    let inverse = S::Real::ONE / sum;
                    if let Some(dropout) = layout.dropout {
                        dropout.apply_row((unit.first + token) * layout.heads + unit.head, scores);
                    }
                    for (probability, &score) in probabilities.iter_mut().zip(&*scores) {
                        *probability = S::narrow(score * inverse);
                    }
                }
            },
        );
        multiply_here(Left::rows(probabilities, queries, whole, width), values, false, sums);
        store(sums, out, block, queries, layout, S::Real::ONE);
    }
}

/// Rounds rows of sums to where they belong.
fn store<S: Float>(sums: &[S::Real], out: &mut Out<'_, S>, first: usize, rows: usize, layout: &Layout, scale: S::Real) {
    let width = layout.head_dim.next_multiple_of(COLUMNS).max(1);
    vectorised(
        #[inline(always)]
        || {
            for (row, sums) in sums.chunks_exact(width).take(rows).enumerate() {
                for (out, &sum) in out.row(first + row).iter_mut().zip(sums) {
                    *out = S::narrow(sum * scale);
                }
            }
        },
    );
}

/// Turns a row of scores into e^(scale · (score − the largest)). Returns scale times the largest, and the sum.
#[inline(always)]
fn exponentials<R: Real>(scores: &mut [R], scale: R) -> (R, R) {
    let largest = reduce::max(scores);
    for score in scores.iter_mut() {
        *score = ((*score - largest) * scale).exp();
    }
    let sum = reduce::sum(
        scores,
        #[inline(always)]
        |score| score,
    );
    (largest * scale, sum)
}

/// What the forward pass left behind, and the gradient of its output.
struct Saved<'a, S: Float> {
    qkv: &'a [S],
    output: &'a [S],
    d_output: &'a [S],
    log_sums: &'a [S::Real],
}

/// Writes the gradients of queries, keys and values.
fn backward_unit<S: Float>(
    saved: &Saved<'_, S>,
    outs: &mut [Out<'_, S>],
    unit: Unit,
    layout: &Layout,
    space: &mut Workspace<S>,
) {
    let [q, k, v] = [0, 1, 2].map(|part| Head::new(saved.qkv, unit, part, 3, layout));
    let [o, d_o] = [saved.output, saved.d_output].map(|values| Head::new(values, unit, 0, 1, layout));
    let [k_lines, v_lines, left_space, k_elements, right_space] = &mut space.packed;
    let (keys, values) = (k.transposed(k_lines), v.transposed(v_lines));
    let keys_right = k.right(k_elements);
    let [scores, gradients] = &mut space.scores;
    let [rounded_p, rounded_g] = &mut space.rounded;
    let [d_key, d_value] = &mut space.sums;
    let width = unit.rows.next_multiple_of(COLUMNS);
    let whole = unit.rows.next_multiple_of(S::Dot::GROUP);
    for (block, queries) in query_blocks(unit.rows) {
        let [q, o, d_o] = [q, o, d_o].map(|head| head.part(block, queries));
        multiply_here(q.left(left_space), keys, false, scores);
        multiply_here(d_o.left(left_space), values, false, gradients);
        // P ∘ M and dS
        vectorised(
            #[inline(always)]
            || {
                let scores = scores.chunks_exact_mut(width).zip(gradients.chunks_exact(width));
                let rounded = rounded_p.chunks_exact_mut(width).zip(rounded_g.chunks_exact_mut(width));
                for (row, ((p, g), (out_p, out_g))) in scores.zip(rounded).take(queries).enumerate() {
                    p[unit.rows..].fill(S::Real::from_f64(f64::NEG_INFINITY));
                    let row_sum = reduce::sum2(
                        o.row(row),
                        d_o.row(row),
                        #[inline(always)]
                        |o: S, d_o: S| o.widen() * d_o.widen(),
                    );
                    let index = (unit.first + block + row) * layout.heads + unit.head;
                    let log_sum = saved.log_sums[index];
                    let scale = layout.scale::<S::Real>();
                    for p in p.iter_mut() {
                        *p = (*p * scale - log_sum).exp();
                    }
                    match layout.dropout {
                        None => {
                            for ((&p, &g), (out_p, out_g)) in p.iter().zip(g).zip(out_p.iter_mut().zip(&mut *out_g)) {
                                *out_p = S::narrow(p);
                                *out_g = S::narrow(p * (g - row_sum));
                            }
                        }
                        Some(dropout) => {
                            let mask = dropout.row(index);
                            let scale = dropout.scale::<S::Real>();
                            let out = out_p.iter_mut().zip(&mut *out_g);
                            for (key, ((&p, &g), (out_p, out_g))) in p.iter().zip(g).zip(out).enumerate() {
                                let kept = if mask.keeps(key as u32) { scale } else { S::Real::ZERO };
                                *out_p = S::narrow(p * kept);
                                *out_g = S::narrow(p * (g * kept - row_sum));
                            }
                        }
                    }
                }
            },
        );
        // dq = dS k
        let d_query = &mut *scores;
        multiply_here(Left::rows(rounded_g, queries, whole, width), keys_right, false, d_query);
        store(d_query, &mut outs[0], block, queries, layout, layout.scale());
        // dk += dSᵀ q and dv += (P ∘ M)ᵀ do
        let transposed = lines::<S>(unit.rows, queries);
        for (rounded, right, sums) in [(&*rounded_g, q, &mut *d_key), (&*rounded_p, d_o, &mut *d_value)] {
            let row = |row: usize| &rounded[row * width..][..unit.rows];
            pack_elements::<S, S, ROWS>(left_space, transposed, row, |value| value);
            multiply_here(
                Left::packed(left_space, transposed),
                right.right(right_space),
                block > 0,
                sums,
            );
        }
    }
    store(d_key, &mut outs[1], 0, unit.rows, layout, layout.scale());
    store(d_value, &mut outs[2], 0, unit.rows, layout, S::Real::ONE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
            check(vec![normal(1, &[9, 18])], |tape, inputs| {
                attention(tape, &inputs[0], &[0, 4, 4, 5, 9], 2, dropout)
            });
        }
    }

    /// Softmax over all keys, straight from the definition.
    fn textbook(qkv: &[f64], starts: &[u32], heads: usize, head_dim: usize) -> Vec<f64> {
        let columns = heads * head_dim;
        let mut output = vec![0.0; qkv.len() / 3];
        for sequence in starts.windows(2) {
            let rows = sequence[0] as usize..sequence[1] as usize;
            for head in 0..heads {
                let at = |part: usize, row: usize, i: usize| qkv[(row * 3 + part) * columns + head * head_dim + i];
                for query in rows.clone() {
                    let dot = |key| (0..head_dim).map(|i| at(0, query, i) * at(1, key, i)).sum::<f64>();
                    let weights: Vec<f64> = rows
                        .clone()
                        .map(|key| (dot(key) / (head_dim as f64).sqrt()).exp())
                        .collect();
                    let sum: f64 = weights.iter().sum();
                    for i in 0..head_dim {
                        let mixed = rows
                            .clone()
                            .zip(&weights)
                            .map(|(key, weight)| weight / sum * at(2, key, i));
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
        let qkv = normal(1, &[160, 30]);
        let tape = Tape::inference();
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 3e-6), (DType::BF16, 0.02)] {
            let qkv = qkv.to_dtype(dtype);
            let expected = textbook(&qkv.to_f64_vec(), &starts, 2, 5);
            let found = attention(&tape, &tape.constant(qkv), &starts, 2, None).unwrap();
            for (found, expected) in found.value().to_f64_vec().iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < tolerance,
                    "{dtype:?}: {found} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn gradients_across_query_blocks_equal_those_of_f64() {
        // 110 tokens are two blocks: finite differences on all of them would take long, f32 against f64 does not see a
        // shared mistake, so both are held against each other here and the small case above against differences.
        let mut parameters = crate::Parameters::default();
        parameters.add("qkv", normal(1, &[110, 12]));
        let run = |parameters: &crate::Parameters| {
            let tape = Tape::recording();
            let qkv = tape.parameter(parameters, parameters.find("qkv").unwrap());
            let output = attention(&tape, &qkv, &[0, 110], 1, None).unwrap();
            let targets: Vec<f32> = (0..440).map(|i| (i % 3) as f32).collect();
            let loss = crate::ops::mean_squared_error(&tape, &output, &targets, 1.0).unwrap();
            let mut gradients = crate::ParameterGradients::for_parameters(parameters);
            tape.backward(&loss, &mut gradients).unwrap();
            (loss.value().to_f64_vec()[0], gradients)
        };
        let (_, gradients) = run(&parameters);
        let (_, narrow) = run(&parameters.to_dtype(DType::F32));
        for (id, gradient) in gradients.iter() {
            let (wide, narrow) = (gradient.to_f64_vec(), narrow.get(id).unwrap().to_f64_vec());
            assert!(
                wide.iter()
                    .zip(&narrow)
                    .all(|(wide, narrow)| (wide - narrow).abs() < 1e-4)
            );
            // One element of each row block against a finite difference.
            for element in [5, 600, 1311] {
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
        let qkv = tape.constant(normal(1, &[3, 12]));
        let error = attention(&tape, &qkv, &[0, 3], 5, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attention: qkv has shape [3, 12], expected columns divisible by three times 5 heads"
        );
        assert!(attention(&tape, &qkv, &[0, 2, 1, 3], 2, None).is_err());
        assert!(attention(&tape, &qkv, &[], 2, None).is_err());
    }
}
