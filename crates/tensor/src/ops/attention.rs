//! `attention`: scaled dot-product attention within each packed sequence (Vaswani et al. 2017, eq. 1,
//! <https://arxiv.org/abs/1706.03762>).
//!
//! For each sequence and head, with M the dropout mask over 1 − p (or ones) and a scale σ, 1 / √head_dim unless another is
//! given: S = σ q kᵀ, P = softmax(S) over the keys that a query sees, o = (P ∘ M) v. Only the logarithm of the softmax's denominator is kept for the gradient, one number for each row; the
//! probabilities are computed again (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>, section 3.1):
//! dv = (P ∘ M)ᵀ do, dP = (do vᵀ) ∘ M, dS = P ∘ (dP − rowsum(do ∘ o)), dq = σ dS k, dk = σ dSᵀ q. Where several heads of queries
//! share one of keys, dk and dv are sums over them.
//!
//! Work is shared by sequences and heads of keys, the longest first; within one, queries are taken in blocks, so that the scores
//! stay in cache. Where a token does not see all of its sequence, keys are taken in blocks too, and those that no query of a
//! block sees are left out.

use std::ops::Range;

use rayon::prelude::*;

use super::heads::{Heads, Part, Window};
use crate::buffer::{Buffer, stored_bytes};
use crate::cpu::product::{COLUMNS, Dot, Left, Lines, Out, ROWS, Right, multiply_here, pack_elements, pack_lines};
use crate::cpu::{reduce, vectorised};
use crate::ops::with_float;
use crate::{DType, Dropout, Element, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "attention";

/// Queries that are scored at a time.
pub(super) const QUERY_BLOCK: usize = 96;

/// Keys that are scored or left out at a time: whole panels of a right factor.
const KEY_BLOCK: usize = 3 * COLUMNS;

/// Which heads there are, what a token sees and what scores are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Where queries, keys and values are.
    pub heads: Heads,
    /// What a token sees.
    pub window: Window,
    /// What the products of queries and keys are multiplied by; 1 / √head_dim if not given.
    pub scale: Option<f64>,
}

impl AttentionShape {
    /// Every token sees all of its sequence.
    pub fn bidirectional(heads: usize) -> Self {
        Self {
            heads: Heads::equal(heads),
            window: Window::ALL,
            scale: None,
        }
    }
}

/// Attention of every token to the tokens of its own sequence that it sees. `dropout` acts on the probabilities; its rows are
/// (token, head of queries) pairs, its columns the keys of the sequence.
///
/// # Shapes
/// `qkv`: `[tokens, heads * head_dim]`, queries, keys and values as [`Heads`] says; `sequence_starts`: `[batch + 1]`, first 0,
/// last `tokens`. Returns `[tokens, heads of queries * head_dim]`. An empty sequence contributes nothing.
///
/// # Errors
/// [`Error::Shape`] if the heads do not divide the columns, or the starts do not fit.
pub fn attention(
    tape: &Tape,
    qkv: &Var,
    sequence_starts: &[u32],
    shape: AttentionShape,
    dropout: Option<Dropout>,
) -> Result<Var> {
    let head_dim = shape.heads.head_dim(NAME, qkv)?;
    let [tokens, _] = qkv.dims2(NAME, "qkv")?;
    check_starts(NAME, sequence_starts, tokens)?;
    let layout = Layout {
        starts: sequence_starts.iter().map(|&start| start as usize).collect(),
        heads: shape.heads,
        window: shape.window,
        scale: shape.scale.unwrap_or(1.0 / (head_dim as f64).sqrt()),
        head_dim,
        dropout: dropout.map(|dropout| dropout.with_rows_per_token(shape.heads.queries)),
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
pub(super) struct Layout {
    pub starts: Vec<usize>,
    pub heads: Heads,
    pub window: Window,
    pub scale: f64,
    pub head_dim: usize,
    pub dropout: Option<Dropout>,
    /// Whether a gradient will be asked for.
    pub records: bool,
}

/// One head of keys of one sequence, with the heads of queries that it serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    /// First token.
    pub first: usize,
    /// Tokens.
    pub rows: usize,
    pub head: usize,
}

impl Layout {
    /// Columns of the output.
    pub fn columns(&self) -> usize {
        self.heads.queries * self.head_dim
    }

    /// Columns of queries, keys and values.
    fn qkv_columns(&self) -> usize {
        self.heads.count() * self.head_dim
    }

    pub fn tokens(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The longest sequence.
    pub fn longest(&self) -> usize {
        self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    pub fn scale<R: Real>(&self) -> R {
        R::from_f64(self.scale)
    }

    /// Whether a token may not see all of its sequence.
    fn is_limited(&self) -> bool {
        self.window != Window::ALL
    }

    /// The keys that a block of queries is scored with: those that any of them sees, up to whole blocks.
    fn keys(&self, block: usize, queries: usize, rows: usize) -> Range<usize> {
        if !self.is_limited() {
            return 0..rows;
        }
        let (first, last) = (self.window.of(block, rows), self.window.of(block + queries - 1, rows));
        first.start / KEY_BLOCK * KEY_BLOCK..last.end.next_multiple_of(KEY_BLOCK).min(rows)
    }

    /// How many keys a packed right factor holds in one piece.
    fn chunk(&self, rows: usize) -> usize {
        if self.is_limited() { KEY_BLOCK } else { rows.max(1) }
    }

    /// The heads of queries of a unit.
    fn members(&self, unit: Unit) -> Range<usize> {
        unit.head * self.heads.group()..(unit.head + 1) * self.heads.group()
    }

    /// Cuts a matrix with `width` columns for each of `owners` into its units; `owners` says which head of keys the columns
    /// belong to.
    pub fn split<'a, T: Element>(
        &self,
        values: &'a mut [T],
        width: usize,
        owners: &[usize],
    ) -> Vec<(Unit, Vec<Out<'a, T>>)> {
        let mut rest = Out::new(values, self.tokens(), owners.len() * width);
        let mut units = Vec::with_capacity(self.heads.keys * self.starts.len());
        for pair in self.starts.windows(2) {
            let (first, rows) = (pair[0], pair[1] - pair[0]);
            let mut columns;
            (columns, rest) = rest.split_rows(rows);
            let new = units.len();
            units.extend((0..self.heads.keys).map(|head| (Unit { first, rows, head }, Vec::new())));
            for &owner in owners {
                let out;
                (out, columns) = columns.split_columns(width);
                let (_, outs) = &mut units[new + owner];
                outs.push(out);
            }
        }
        units
    }
}

/// The longest first, so that no thread is left with a long one at the end.
pub(super) fn longest_first<T>(units: &mut [(Unit, T)]) {
    units.sort_by_key(|(unit, _)| std::cmp::Reverse(unit.rows));
}

/// One head of the queries, keys or values of a sequence, or of another matrix with heads side by side.
#[derive(Clone, Copy)]
pub(super) struct Head<'a, S> {
    values: &'a [S],
    rows: usize,
    stride: usize,
    head_dim: usize,
}

impl<'a, S: Float> Head<'a, S> {
    /// A head of queries, keys or values.
    pub fn of_qkv(values: &'a [S], unit: Unit, part: Part, head: usize, layout: &Layout) -> Self {
        let column = layout.heads.column(part, head, layout.head_dim);
        Self::at(values, unit, column, layout.qkv_columns(), layout.head_dim)
    }

    /// A head of the output or its gradient.
    pub fn of_output(values: &'a [S], unit: Unit, head: usize, layout: &Layout) -> Self {
        Self::at(values, unit, head * layout.head_dim, layout.columns(), layout.head_dim)
    }

    fn at(values: &'a [S], unit: Unit, column: usize, stride: usize, head_dim: usize) -> Self {
        let start = unit.first * stride + column;
        Self {
            values: &values[start.min(values.len())..],
            rows: unit.rows,
            stride,
            head_dim,
        }
    }

    pub fn row(&self, row: usize) -> &'a [S] {
        &self.values[row * self.stride..][..self.head_dim]
    }

    /// Some rows.
    pub fn part(self, first: usize, rows: usize) -> Self {
        Self {
            values: &self.values[(first * self.stride).min(self.values.len())..],
            rows,
            ..self
        }
    }

    /// As left factor, packed into `space` where its rows are no whole words.
    pub fn left<'b>(self, space: &'b mut [S]) -> Left<'b, S::Dot>
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
    pub fn transposed<'b>(self, space: &'b mut [S]) -> Transposed<'b, S> {
        let lines = lines::<S>(self.rows, self.head_dim);
        pack_lines::<S, S, COLUMNS>(space, lines, |row| self.row(row), |value| value);
        Transposed {
            packed: space,
            head_dim: self.head_dim,
        }
    }

    /// As right factor, in pieces of `chunk` rows.
    fn chunks<'b>(self, space: &'b mut [S], chunk: usize) -> Chunks<'b, S> {
        let piece = lines::<S>(self.head_dim, chunk.min(self.rows)).packed(COLUMNS);
        for first in (0..self.rows).step_by(chunk) {
            let part = self.part(first, chunk.min(self.rows - first));
            part.right(&mut space[first / chunk * piece..]);
        }
        Chunks {
            packed: space,
            piece,
            chunk,
            rows: self.rows,
            head_dim: self.head_dim,
        }
    }

    /// As right factor.
    pub fn right<'b>(self, space: &'b mut [S]) -> Right<'b, S::Dot> {
        let lines = lines::<S>(self.head_dim, self.rows);
        pack_elements::<S, S, COLUMNS>(space, lines, |row| self.row(row), |value| value);
        Right::packed(space, lines)
    }
}

/// The transpose of a head, packed: a line for each key.
pub(super) struct Transposed<'a, S> {
    packed: &'a [S],
    head_dim: usize,
}

impl<S: Float> Transposed<'_, S> {
    /// The columns of some keys, of which the first is that of a panel.
    pub fn keys(&self, keys: &Range<usize>) -> Right<'_, S::Dot> {
        let before = lines::<S>(keys.start, self.head_dim).packed(COLUMNS);
        Right::packed(&self.packed[before..], lines::<S>(keys.len(), self.head_dim))
    }
}

/// A head, packed in pieces with some of its rows each.
struct Chunks<'a, S> {
    packed: &'a [S],
    /// Elements of a whole piece.
    piece: usize,
    /// Rows of a whole piece.
    chunk: usize,
    rows: usize,
    head_dim: usize,
}

impl<S: Float> Chunks<'_, S> {
    /// sums ← left · these rows, `queries` rows `stride` apart with a column for each of `keys`, which begin with a piece.
    fn multiply(&self, left: &[S], queries: usize, stride: usize, keys: &Range<usize>, sums: &mut [S::Real]) {
        for first in keys.clone().step_by(self.chunk) {
            let rows = self.chunk.min(self.rows - first);
            let whole = rows.next_multiple_of(S::Dot::GROUP);
            let left = Left::<S::Dot>::rows(&left[first - keys.start..], queries, whole, stride);
            let piece = &self.packed[first / self.chunk * self.piece..];
            let right = Right::packed(piece, lines::<S>(self.head_dim, rows));
            multiply_here(left, right, first > keys.start, sums);
        }
    }
}

pub(super) fn lines<S: Float>(count: usize, inner: usize) -> Lines {
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
pub(super) fn query_blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows)
        .step_by(QUERY_BLOCK)
        .map(move |block| (block, QUERY_BLOCK.min(rows - block)))
}

fn run<S: Float>(tape: &Tape, qkv: &Var, layout: Layout) -> Result<Var> {
    let values = qkv.value().slice::<S>(NAME, "qkv")?;
    let (tokens, columns) = (layout.tokens(), layout.columns());
    let mut output = Buffer::<S>::scratch(tokens * columns);
    let mut log_sums = Buffer::<S::Real>::scratch(tokens * layout.heads.queries);
    let owners = layout.heads.query_owners();
    let outs = layout.split(&mut output, layout.head_dim, &owners).into_iter();
    let mut units: Vec<_> = outs
        .zip(layout.split(&mut log_sums, 1, &owners))
        .map(|((unit, outs), (_, sums))| (unit, (outs, sums)))
        .collect();
    longest_first(&mut units);
    units.into_par_iter().for_each_init(
        || Workspace::<S>::new(&layout, false),
        |space, (unit, (mut outs, mut log_sums))| {
            forward_unit(values, &mut outs, &mut log_sums, unit, &layout, space);
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
            let mut d_qkv = Buffer::<S>::scratch(tokens * layout.qkv_columns());
            let mut units = layout.split(&mut d_qkv, layout.head_dim, &layout.heads.owners());
            longest_first(&mut units);
            units.into_par_iter().for_each_init(
                || Workspace::<S>::new(&layout, true),
                |space, (unit, mut outs)| backward_unit(&saved, &mut outs, unit, &layout, space),
            );
            gradients.add::<S>(
                &destination,
                Tensor::from_buffer(d_qkv, &[tokens, layout.qkv_columns()]),
            );
            Ok(())
        }
    }))
}

fn forward_unit<S: Float>(
    qkv: &[S],
    outs: &mut [Out<'_, S>],
    log_sums: &mut [Out<'_, S::Real>],
    unit: Unit,
    layout: &Layout,
    space: &mut Workspace<S>,
) {
    let [k, v] = [Part::Key, Part::Value].map(|part| Head::of_qkv(qkv, unit, part, unit.head, layout));
    let [k_space, v_space, q_space, ..] = &mut space.packed;
    let (all_keys, values) = (k.transposed(k_space), v.chunks(v_space, layout.chunk(unit.rows)));
    let [scores, _] = &mut space.scores;
    let [probabilities, _] = &mut space.rounded;
    let [sums, _] = &mut space.sums;
    let members = layout.members(unit).zip(outs.iter_mut().zip(log_sums));
    for (head, (out, log_sums)) in members {
        let q = Head::of_qkv(qkv, unit, Part::Query, head, layout);
        for (block, queries) in query_blocks(unit.rows) {
            let keys = layout.keys(block, queries, unit.rows);
            let width = keys.len().next_multiple_of(COLUMNS);
            multiply_here(
                q.part(block, queries).left(q_space),
                all_keys.keys(&keys),
                false,
                scores,
            );
            vectorised(
                #[inline(always)]
                || {
                    let rows = scores
                        .chunks_exact_mut(width)
                        .zip(probabilities.chunks_exact_mut(width));
                    for (row, (scores, probabilities)) in rows.take(queries).enumerate() {
                        let token = block + row;
                        let seen = Seen {
                            keys: layout.window.of(token, unit.rows),
                            first: keys.start,
                            row: (unit.first + token) * layout.heads.queries + head,
                        };
                        let log_sum = layout.softmax(&seen, scores, probabilities);
                        log_sums.row(token)[0] = log_sum;
                    }
                },
            );
            values.multiply(probabilities, queries, width, &keys, sums);
            store(sums, out, block, queries, layout, S::Real::ONE);
        }
    }
}

/// Rounds rows of sums to where they belong.
pub(super) fn store<S: Float>(
    sums: &[S::Real],
    out: &mut Out<'_, S>,
    first: usize,
    rows: usize,
    layout: &Layout,
    scale: S::Real,
) {
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

/// Elements that loops over a row take at a time: what they work on is filled up to that, so that nothing of it is left to a
/// loop that is not vectorised.
const LANES: usize = 16;

/// The keys that the query of a row of scores sees.
pub(super) struct Seen {
    pub keys: Range<usize>,
    /// The key of the first column.
    pub first: usize,
    /// The row of the dropout mask.
    pub row: usize,
}

impl Seen {
    /// Fills up the columns that are seen; returns the columns to work on.
    #[inline(always)]
    fn fill_up<R: Real>(&self, scores: &mut [R]) -> Range<usize> {
        let (from, to) = (self.keys.start - self.first, self.keys.end - self.first);
        let columns = from / LANES * LANES..to.next_multiple_of(LANES);
        let nothing = R::from_f64(f64::NEG_INFINITY);
        scores[columns.start..from].fill(nothing);
        scores[to..columns.end].fill(nothing);
        columns
    }
}

impl Layout {
    /// Turns a row of scores into probabilities, with dropout. Returns ln Σ e^(scale · score) where a gradient will be asked for.
    #[inline(always)]
    pub(super) fn softmax<S: Float>(&self, seen: &Seen, scores: &mut [S::Real], out: &mut [S]) -> S::Real {
        let columns = seen.fill_up(scores);
        out[..columns.start].fill(S::default());
        out[columns.end..].fill(S::default());
        let (scores, scale) = (&mut scores[columns.clone()], self.scale::<S::Real>());
        let largest = reduce::max(scores);
        for score in scores.iter_mut() {
            *score = ((*score - largest) * scale).exp();
        }
        let sum = reduce::sum(
            scores,
            #[inline(always)]
            |score| score,
        );
        if let Some(dropout) = self.dropout {
            dropout.apply_part(seen.row, seen.first + columns.start, scores);
        }
        let inverse = S::Real::ONE / sum;
        for (out, &score) in out[columns].iter_mut().zip(&*scores) {
            *out = S::narrow(score * inverse);
        }
        match self.records {
            true => largest * scale + sum.ln(),
            false => S::Real::ZERO,
        }
    }

    /// From a row of scores, what [`Layout::softmax`] returned for it, the gradient of its probabilities and rowsum(do ∘ o):
    /// P ∘ M and dS.
    #[inline(always)]
    pub(super) fn softmax_gradient<S: Float>(
        &self,
        seen: &Seen,
        scores: &mut [S::Real],
        gradient: &[S::Real],
        [log_sum, row_sum]: [S::Real; 2],
        [out_p, out_s]: [&mut [S]; 2],
    ) {
        let columns = seen.fill_up(scores);
        for out in [&mut *out_p, &mut *out_s] {
            out[..columns.start].fill(S::default());
            out[columns.end..].fill(S::default());
        }
        let (p, scale) = (&mut scores[columns.clone()], self.scale::<S::Real>());
        for p in p.iter_mut() {
            *p = (*p * scale - log_sum).exp();
        }
        let first = seen.first + columns.start;
        let out = out_p[columns.clone()].iter_mut().zip(&mut out_s[columns.clone()]);
        let values = p.iter().zip(&gradient[columns]).zip(out);
        match self.dropout {
            None => {
                for ((&p, &g), (out_p, out_s)) in values {
                    *out_p = S::narrow(p);
                    *out_s = S::narrow(p * (g - row_sum));
                }
            }
            Some(dropout) => {
                let mask = dropout.row(seen.row);
                let scale = dropout.scale::<S::Real>();
                for (key, ((&p, &g), (out_p, out_s))) in values.enumerate() {
                    let kept = if mask.keeps((first + key) as u32) {
                        scale
                    } else {
                        S::Real::ZERO
                    };
                    *out_p = S::narrow(p * kept);
                    *out_s = S::narrow(p * (g * kept - row_sum));
                }
            }
        }
    }
}

/// What the forward pass left behind, and the gradient of its output.
struct Saved<'a, S: Float> {
    qkv: &'a [S],
    output: &'a [S],
    d_output: &'a [S],
    log_sums: &'a [S::Real],
}

/// Σ a b
#[inline(always)]
pub(super) fn product_sum<S: Float>(a: &[S], b: &[S]) -> S::Real {
    reduce::sum2(
        a,
        b,
        #[inline(always)]
        |a: S, b: S| a.widen() * b.widen(),
    )
}

/// Writes the gradients of queries, keys and values.
fn backward_unit<S: Float>(
    saved: &Saved<'_, S>,
    outs: &mut [Out<'_, S>],
    unit: Unit,
    layout: &Layout,
    space: &mut Workspace<S>,
) {
    let [k, v] = [Part::Key, Part::Value].map(|part| Head::of_qkv(saved.qkv, unit, part, unit.head, layout));
    let [k_lines, v_lines, left_space, k_elements, right_space] = &mut space.packed;
    let (all_keys, all_values) = (k.transposed(k_lines), v.transposed(v_lines));
    let keys_right = k.chunks(k_elements, layout.chunk(unit.rows));
    let [scores, gradients] = &mut space.scores;
    let [rounded_p, rounded_g] = &mut space.rounded;
    let [d_key, d_value] = &mut space.sums;
    let sums_width = layout.head_dim.next_multiple_of(COLUMNS);
    if layout.is_limited() {
        // Which rows a block of queries is the first to add to depends on the window.
        d_key[..unit.rows * sums_width].fill(S::Real::ZERO);
        d_value[..unit.rows * sums_width].fill(S::Real::ZERO);
    }
    let group = layout.heads.group();
    let (d_queries, d_keys_values) = outs.split_at_mut(group);
    for (member, head) in layout.members(unit).enumerate() {
        let q = Head::of_qkv(saved.qkv, unit, Part::Query, head, layout);
        let [o, d_o] = [saved.output, saved.d_output].map(|values| Head::of_output(values, unit, head, layout));
        for (block, queries) in query_blocks(unit.rows) {
            let [q, o, d_o] = [q, o, d_o].map(|head| head.part(block, queries));
            let keys = layout.keys(block, queries, unit.rows);
            let width = keys.len().next_multiple_of(COLUMNS);
            multiply_here(q.left(left_space), all_keys.keys(&keys), false, scores);
            multiply_here(d_o.left(left_space), all_values.keys(&keys), false, gradients);
            vectorised(
                #[inline(always)]
                || {
                    let scores = scores.chunks_exact_mut(width).zip(gradients.chunks_exact(width));
                    let rounded = rounded_p.chunks_exact_mut(width).zip(rounded_g.chunks_exact_mut(width));
                    for (row, ((scores, gradient), (out_p, out_g))) in scores.zip(rounded).take(queries).enumerate() {
                        let index = (unit.first + block + row) * layout.heads.queries + head;
                        let seen = Seen {
                            keys: layout.window.of(block + row, unit.rows),
                            first: keys.start,
                            row: index,
                        };
                        let row_sums = [saved.log_sums[index], product_sum(o.row(row), d_o.row(row))];
                        layout.softmax_gradient(&seen, scores, gradient, row_sums, [out_p, out_g]);
                    }
                },
            );
            // dq = dS k
            let d_query = &mut *scores;
            keys_right.multiply(rounded_g, queries, width, &keys, d_query);
            store(d_query, &mut d_queries[member], block, queries, layout, layout.scale());
            // dk += dSᵀ q and dv += (P ∘ M)ᵀ do
            let transposed = lines::<S>(keys.len(), queries);
            let add = layout.is_limited() || block > 0 || member > 0;
            for (rounded, right, sums) in [(&*rounded_g, q, &mut *d_key), (&*rounded_p, d_o, &mut *d_value)] {
                let row = |row: usize| &rounded[row * width..][..keys.len()];
                pack_elements::<S, S, ROWS>(left_space, transposed, row, |value| value);
                multiply_here(
                    Left::packed(left_space, transposed),
                    right.right(right_space),
                    add,
                    &mut sums[keys.start * sums_width..],
                );
            }
        }
    }
    store(d_key, &mut d_keys_values[0], 0, unit.rows, layout, layout.scale());
    store(d_value, &mut d_keys_values[1], 0, unit.rows, layout, S::Real::ONE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    /// Every kind of heads and windows; heads are 5 or 3 columns wide.
    fn shapes() -> Vec<(AttentionShape, usize)> {
        let heads = |queries, keys, interleaved| Heads {
            queries,
            keys,
            interleaved,
        };
        let window = |left, right| Window { left, right };
        [
            (heads(2, 2, false), Window::ALL, None, 5),
            (heads(4, 2, false), Window::ALL, Some(0.3), 3),
            (heads(2, 2, true), Window::ALL, None, 5),
            (heads(2, 2, false), Window::CAUSAL, None, 5),
            (heads(3, 1, false), window(2, 0), None, 5),
            (heads(2, 2, true), window(3, 1), Some(0.7), 3),
            (heads(6, 2, false), window(0, 2), None, 3),
            (heads(2, 1, false), window(40, 40), None, 5),
            (heads(2, 2, false), window(97, 0), None, 3),
        ]
        .map(|(heads, window, scale, head_dim)| (AttentionShape { heads, window, scale }, head_dim))
        .to_vec()
    }

    #[test]
    fn gradients() {
        for (shape, head_dim) in shapes() {
            for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
                check(vec![normal(1, &[9, shape.heads.count() * head_dim])], |tape, inputs| {
                    attention(tape, &inputs[0], &[0, 4, 4, 5, 9], shape, dropout)
                });
            }
        }
    }

    /// Softmax over the keys in the window, straight from the definition.
    fn textbook(qkv: &[f64], starts: &[u32], shape: AttentionShape, head_dim: usize) -> Vec<f64> {
        let heads = shape.heads;
        let (columns, stride) = (heads.queries * head_dim, heads.count() * head_dim);
        let mut output = vec![0.0; qkv.len() / stride * columns];
        let scale = shape.scale.unwrap_or(1.0 / (head_dim as f64).sqrt());
        for sequence in starts.windows(2) {
            let (first, last) = (sequence[0] as usize, sequence[1] as usize);
            for head in 0..heads.queries {
                let at = |part, row: usize, i: usize| {
                    let head = if part == Part::Query {
                        head
                    } else {
                        head / heads.group()
                    };
                    qkv[row * stride + heads.column(part, head, head_dim) + i]
                };
                for query in first..last {
                    let sees = |key: &usize| {
                        let (left, right) = (query.saturating_sub(*key), key.saturating_sub(query));
                        left <= shape.window.left && right <= shape.window.right
                    };
                    let keys: Vec<usize> = (first..last).filter(sees).collect();
                    let dot = |key| {
                        let terms = (0..head_dim).map(|i| at(Part::Query, query, i) * at(Part::Key, key, i));
                        terms.sum::<f64>()
                    };
                    let weights: Vec<f64> = keys.iter().map(|&key| (dot(key) * scale).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for i in 0..head_dim {
                        let mixed = keys
                            .iter()
                            .zip(&weights)
                            .map(|(&key, weight)| weight / sum * at(Part::Value, key, i));
                        output[query * columns + head * head_dim + i] = mixed.sum();
                    }
                }
            }
        }
        output
    }

    #[test]
    fn equals_the_definition_across_blocks() {
        let starts = [0, 1, 231, 231, 260];
        let tape = Tape::inference();
        for (shape, head_dim) in shapes() {
            let qkv = normal(1, &[260, shape.heads.count() * head_dim]);
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 3e-6), (DType::BF16, 0.03)] {
                let qkv = qkv.to_dtype(dtype);
                let expected = textbook(&qkv.to_f64_vec(), &starts, shape, head_dim);
                let found = attention(&tape, &tape.constant(qkv), &starts, shape, None).unwrap();
                for (found, expected) in found.value().to_f64_vec().iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < tolerance,
                        "{shape:?} {dtype:?}: {found} instead of {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_across_blocks_equal_those_of_f64() {
        // 210 tokens are three blocks: finite differences on all of them would take long, f32 against f64 does not see a
        // shared mistake, so both are held against each other here and the small cases above against differences.
        for (shape, head_dim) in shapes() {
            let columns = shape.heads.count() * head_dim;
            let mut parameters = crate::Parameters::default();
            parameters.add("qkv", normal(1, &[210, columns]));
            let run = |parameters: &crate::Parameters| {
                let tape = Tape::recording();
                let qkv = tape.parameter(parameters, parameters.find("qkv").unwrap());
                let output = attention(&tape, &qkv, &[0, 210], shape, None).unwrap();
                let targets: Vec<f32> = (0..output.value().len()).map(|i| (i % 3) as f32).collect();
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
                        .all(|(wide, narrow)| (wide - narrow).abs() < 3e-4),
                    "{shape:?}"
                );
                // Some elements of each block against a finite difference.
                for element in [
                    5,
                    50 * columns + 1,
                    100 * columns + 2 * head_dim,
                    209 * columns + columns - 1,
                ] {
                    let shifted = |by: f64| {
                        let mut parameters = parameters.clone();
                        parameters.get_mut(id).as_mut_slice::<f64>().unwrap()[element] += by;
                        run(&parameters).0
                    };
                    let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                    assert!(
                        (wide[element] - difference).abs() < 1e-6 * difference.abs().max(1.0),
                        "{shape:?} {element}: {} instead of {difference}",
                        wide[element]
                    );
                }
            }
        }
    }

    #[test]
    fn operands_are_checked() {
        let tape = Tape::inference();
        let qkv = tape.constant(normal(1, &[3, 12]));
        let error = attention(&tape, &qkv, &[0, 3], AttentionShape::bidirectional(5), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attention: qkv has shape [3, 12], expected columns divisible by three times 5 heads"
        );
        let two = AttentionShape::bidirectional(2);
        assert!(attention(&tape, &qkv, &[0, 2, 1, 3], two, None).is_err());
        assert!(attention(&tape, &qkv, &[], two, None).is_err());
    }
}
