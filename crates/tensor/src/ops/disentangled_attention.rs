//! `disentangled_attention`: attention whose scores also depend on how far query and key are apart (He et al. 2021,
//! DeBERTa, <https://arxiv.org/abs/2006.03654>, eq. 4).
//!
//! With a key a and a query b projected from the embedding of each distance: S_ij = (q_i · k_j + q_i · a_(i−j) + k_j · b_(i−j)) /
//! √(terms · head_dim), of which the second term (content to position) and the third (position to content) may be missing.
//! What follows is `attention.rs`: P = softmax(S), o = (P ∘ M) v, and the scores are computed again for the gradient.
//!
//! Of the products with positions only a band is wanted: in a block of rows i and columns j, distances from the last row to the
//! first column up to the opposite corner. So a block is multiplied by one position for each of those, in the order of
//! j − i: then what belongs to row i is a piece of adjacent sums, one place further left than that of the row above. Rows of
//! the table that serve many distances are repeated; only the gradient adds them up again.

use rayon::prelude::*;

use super::attention::{
    Head, Layout, QUERY_BLOCK, Seen, Unit, check_starts, lines, longest_first, product_sum, query_blocks, store,
};
use super::heads::{Heads, Part, Window};
use crate::buffer::{Buffer, stored_bytes};
use crate::cpu::product::{COLUMNS, Dot, Left, Out, ROWS, Right, multiply_here, pack_elements, pack_lines};
use crate::cpu::{reduce, vectorised};
use crate::ops::with_float;
use crate::{DType, Dropout, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "disentangled_attention";

/// Keys that are multiplied by positions at a time: much fewer than queries, so that little is computed outside of the band.
const KEY_BLOCK: usize = 48;

/// Sequences whose gradients of positions are added up by one task: so many that they have this number of tokens.
const TOKENS_PER_SUM: usize = 1024;

/// Keys and queries of relative positions.
#[derive(Debug, Clone, Copy)]
pub struct RelativePositions<'a> {
    /// `[rows, terms * heads * head_dim]`: side by side the keys, if there are, and the queries, if there are.
    pub projections: &'a Var,
    /// Whether queries are compared with the keys of positions (content to position, c2p).
    pub has_keys: bool,
    /// Whether keys are compared with the queries of positions (position to content, p2c).
    pub has_queries: bool,
    /// The row of each distance from query to key, query − key: an odd number of them, the middle one that of distance 0.
    pub row_of_distance: &'a [u32],
}

/// Attention of every token to the tokens of its own sequence, with scores that depend on their distance. `dropout` acts on
/// the probabilities; its rows are (token, head) pairs.
///
/// # Shapes
/// `qkv`: `[tokens, 3 * heads * head_dim]`, queries, keys and values side by side; `sequence_starts`: `[batch + 1]`, first 0,
/// last `tokens`. Returns `[tokens, heads * head_dim]`.
///
/// # Errors
/// [`Error::Shape`] if three times `heads` does not divide the columns, the starts do not fit, a sequence has distances
/// without a row, or a row is not there.
pub fn disentangled_attention(
    tape: &Tape,
    qkv: &Var,
    positions: RelativePositions<'_>,
    sequence_starts: &[u32],
    heads: usize,
    dropout: Option<Dropout>,
) -> Result<Var> {
    let terms = 1 + positions.has_keys as usize + positions.has_queries as usize;
    let heads = Heads::equal(heads);
    let head_dim = heads.head_dim(NAME, qkv)?;
    let [tokens, _] = qkv.dims2(NAME, "qkv")?;
    check_starts(NAME, sequence_starts, tokens)?;
    let layout = Layout {
        starts: sequence_starts.iter().map(|&start| start as usize).collect(),
        heads,
        window: Window::ALL,
        scale: disentangled_scale(head_dim, terms),
        head_dim,
        dropout: dropout.map(|dropout| dropout.with_rows_per_token(heads.queries)),
        records: tape.records(),
    };
    let shape = Shape::new(layout, positions)?;
    with_float!(NAME, qkv.value(), S => run::<S>(tape, qkv, positions.projections, shape))
}

/// What scores with so many terms are multiplied by, that of the content included. The root is rounded to `f32`, as it is in
/// `transformers`.
pub fn disentangled_scale(head_dim: usize, terms: usize) -> f64 {
    1.0 / f64::from(((terms * head_dim) as f32).sqrt())
}

/// How everything is cut up.
struct Shape {
    layout: Layout,
    /// The terms there are, in the order in which their projections stand side by side.
    terms: Vec<Term>,
    /// Rows of the projections.
    rows: usize,
    row_of_distance: Vec<u32>,
}

/// A term of the scores with positions in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    /// Rows are queries and columns keys.
    ContentToPosition,
    /// Rows are keys and columns queries.
    PositionToContent,
}

impl Shape {
    fn new(layout: Layout, positions: RelativePositions<'_>) -> Result<Self> {
        let terms = [
            (positions.has_keys, Term::ContentToPosition),
            (positions.has_queries, Term::PositionToContent),
        ];
        let terms: Vec<Term> = terms
            .into_iter()
            .filter(|(is_there, _)| *is_there)
            .map(|(_, term)| term)
            .collect();
        let [rows, columns] = positions.projections.dims2(NAME, "projections")?;
        if columns != terms.len() * layout.columns() {
            let expected = format_args!("[_, {}]", terms.len() * layout.columns()).to_string();
            return Err(Error::shape(NAME, "projections", &[rows, columns], expected));
        }
        let distances = positions.row_of_distance;
        if distances.len().is_multiple_of(2) || distances.len() + 1 < 2 * layout.longest() {
            let expected = format_args!("an odd number, at least {}", 2 * layout.longest().max(1) - 1).to_string();
            return Err(Error::shape(NAME, "row_of_distance", &[distances.len()], expected));
        }
        if let Some(position) = distances.iter().position(|&row| row as usize >= rows) {
            return Err(Error::Id {
                operation: NAME,
                id: distances[position],
                position,
                rows,
            });
        }
        Ok(Self {
            layout,
            terms,
            rows,
            row_of_distance: distances.to_vec(),
        })
    }

    /// The band of each term for a head of a sequence.
    fn bands<'a, S: Float>(&'a self, projections: &'a [S], unit: Unit) -> Vec<Band<'a, S>> {
        let band = |(part, &term): (usize, &Term)| Band {
            projections,
            stride: self.terms.len() * self.layout.columns(),
            first: part * self.layout.columns() + unit.head * self.layout.head_dim,
            head_dim: self.layout.head_dim,
            row_of_distance: &self.row_of_distance,
            tokens: unit.rows,
            term,
        };
        self.terms.iter().enumerate().map(band).collect()
    }
}

/// One term for one head of one sequence. Its lines are positions in the order of column − row, from the lowest that occurs in
/// the sequence on.
struct Band<'a, S> {
    projections: &'a [S],
    stride: usize,
    first: usize,
    head_dim: usize,
    row_of_distance: &'a [u32],
    tokens: usize,
    term: Term,
}

/// A block of a band: some rows and columns of the sequence, first and count.
#[derive(Clone, Copy)]
struct Block {
    rows: [usize; 2],
    columns: [usize; 2],
}

impl Block {
    /// How many lines meet in it.
    fn lines(self) -> usize {
        self.rows[1] + self.columns[1] - 1
    }

    /// The first line that meets in it, of a sequence of so many tokens.
    fn first_line(self, tokens: usize) -> usize {
        tokens + self.columns[0] - (self.rows[0] + self.rows[1])
    }

    /// The first column of a row among the lines of the block.
    fn start(self, row: usize) -> usize {
        self.rows[1] - 1 - row
    }
}

impl<S: Float> Band<'_, S> {
    /// All lines of the sequence.
    fn line_count(&self) -> usize {
        2 * self.tokens - 1
    }

    /// The row of the projections that a line is.
    fn row(&self, line: usize) -> usize {
        let middle = self.row_of_distance.len() / 2;
        let place = match self.term {
            Term::ContentToPosition => middle + self.tokens - 1 - line,
            Term::PositionToContent => middle + line + 1 - self.tokens,
        };
        self.row_of_distance[place] as usize
    }

    fn line(&self, line: usize) -> &[S] {
        &self.projections[self.row(line) * self.stride + self.first..][..self.head_dim]
    }

    fn pack(&self, space: &mut [S]) {
        let lines = lines::<S>(self.line_count(), self.head_dim);
        pack_lines::<S, S, COLUMNS>(space, lines, |line| self.line(line), |value| value);
    }

    /// Some of the lines as right factor, summed up over.
    fn right<'b>(&self, first: usize, count: usize, space: &'b mut [S]) -> Right<'b, S::Dot> {
        let lines = lines::<S>(self.head_dim, count);
        pack_elements::<S, S, COLUMNS>(space, lines, |line| self.line(first + line), |value| value);
        Right::packed(space, lines)
    }

    /// The blocks that the scores of a block of queries are made of.
    fn blocks(&self, first: usize, queries: usize) -> impl Iterator<Item = Block> {
        let (rows, step) = match self.term {
            Term::ContentToPosition => ([first, queries], queries.max(1)),
            Term::PositionToContent => ([0, self.tokens], KEY_BLOCK),
        };
        let columns = match self.term {
            Term::ContentToPosition => [0, self.tokens],
            Term::PositionToContent => [first, queries],
        };
        let end = rows[0] + rows[1];
        (rows[0]..end).step_by(step).map(move |row| Block {
            rows: [row, step.min(end - row)],
            columns,
        })
    }

    /// Adds the term to the scores of a block of queries, of rows `width` apart. `rows` are all queries or all keys of the
    /// sequence.
    fn add_to(&self, packed: &[S], rows: Head<'_, S>, [first, queries]: [usize; 2], width: usize, of: Scratch<'_, S>) {
        let Scratch { left, tile, scores } = of;
        for block in self.blocks(first, queries) {
            // Panels are whole: some lines before the first may come along.
            let line = block.first_line(self.tokens);
            let (panel, extra) = (line / COLUMNS, line % COLUMNS);
            let lines = lines::<S>(extra + block.lines(), self.head_dim);
            let panels = &packed[panel * COLUMNS * lines.words() * lines.group..];
            let stride = lines.count.next_multiple_of(COLUMNS);
            let rows = rows.part(block.rows[0], block.rows[1]).left(left);
            multiply_here(rows, Right::packed(panels, lines), false, tile);
            vectorised(
                #[inline(always)]
                || match self.term {
                    Term::ContentToPosition => {
                        for (row, scores) in scores.chunks_exact_mut(width).take(queries).enumerate() {
                            let tile = &tile[row * stride + extra + block.start(row)..];
                            reduce::add(&mut scores[..self.tokens], &tile[..self.tokens]);
                        }
                    }
                    Term::PositionToContent => {
                        let [first_key, keys] = block.rows;
                        for (query, scores) in scores.chunks_exact_mut(width).take(queries).enumerate() {
                            // Each key's sums stand one place further left in a row of their own.
                            let tile = tile[extra + block.start(0) + query..].iter().step_by(stride - 1);
                            for (score, &sum) in scores[first_key..first_key + keys].iter_mut().zip(tile) {
                                *score += sum;
                            }
                        }
                    }
                },
            );
        }
    }

    /// From the gradient of the scores of a block of queries, whose rows are `apart` elements apart: adds to the gradients of all rows of
    /// the sequence (`d_rows`, which begin at row `first_row`) and of lines.
    #[allow(clippy::too_many_arguments, reason = "places to work in, and what is summed up")]
    fn backward(
        &self,
        rows: Head<'_, S>,
        [first, queries]: [usize; 2],
        gradients: &[S],
        apart: usize,
        spaces: [&mut [S]; 3],
        (d_rows, first_row): (&mut [S::Real], usize),
        d_lines: &mut [S::Real],
    ) {
        let [left, right, tile] = spaces;
        let width = self.head_dim.next_multiple_of(COLUMNS);
        for block in self.blocks(first, queries) {
            let count = block.lines();
            let stride = count.next_multiple_of(S::Dot::GROUP);
            let [row, in_block] = block.rows;
            tile[..in_block * stride].fill(S::default());
            vectorised(
                #[inline(always)]
                || {
                    for (row, tile) in tile.chunks_exact_mut(stride).take(in_block).enumerate() {
                        let tile = &mut tile[block.start(row)..][..block.columns[1]];
                        match self.term {
                            Term::ContentToPosition => tile.copy_from_slice(&gradients[row * apart..][..self.tokens]),
                            Term::PositionToContent => {
                                let of_key = gradients[block.rows[0] + row..].iter().step_by(apart);
                                tile.iter_mut()
                                    .zip(of_key)
                                    .for_each(|(tile, &gradient)| *tile = gradient);
                            }
                        }
                    }
                },
            );
            let line = block.first_line(self.tokens);
            multiply_here(
                Left::rows(tile, in_block, stride, stride),
                self.right(line, count, right),
                true,
                &mut d_rows[(row - first_row) * width..],
            );
            let transposed = lines::<S>(count, in_block);
            pack_elements::<S, S, ROWS>(left, transposed, |row| &tile[row * stride..][..count], |value| value);
            let rows = rows.part(row, in_block).right(right);
            multiply_here(Left::packed(left, transposed), rows, true, &mut d_lines[line * width..]);
        }
    }
}

/// Where a term of the scores is computed, and the scores.
struct Scratch<'a, S: Float> {
    left: &'a mut [S],
    tile: &'a mut [S::Real],
    scores: &'a mut [S::Real],
}

/// What one thread works with, large enough for the longest sequence.
struct Workspace<S: Float> {
    /// Packed factors: two for the whole sequence, one on each side of a product, keys as they are summed up over.
    packed: [Buffer<S>; 5],
    /// The packed lines of each term.
    bands: [Buffer<S>; 2],
    /// Rows of scores and of their gradients, and a block of a band.
    scores: [Buffer<S::Real>; 3],
    /// The same, rounded.
    rounded: [Buffer<S>; 3],
    /// Sums with a row for each token.
    sums: [Buffer<S::Real>; 2],
    /// Sums with a row for each line of each term.
    line_sums: [Buffer<S::Real>; 2],
}

/// How many elements the buffers of a [`Workspace`] have, in their order.
struct WorkspaceSizes {
    packed: [usize; 5],
    bands: [usize; 2],
    scores: [usize; 3],
    rounded: [usize; 3],
    sums: [usize; 2],
    line_sums: [usize; 2],
}

impl WorkspaceSizes {
    /// For sequences of up to `rows` tokens: those of the forward pass, or of the gradient too.
    fn new(rows: usize, head_dim: usize, terms: usize, group: usize, backward: bool) -> Self {
        let queries = QUERY_BLOCK.min(rows);
        // Lines of a block, and of a sequence.
        let (lines, all_lines) = match terms {
            0 => (0, 0),
            _ => (rows + queries, 2 * rows),
        };
        let columns_packed =
            |count: usize, inner: usize| count.next_multiple_of(COLUMNS) * inner.next_multiple_of(group);
        let packed = columns_packed(rows, head_dim).max(columns_packed(head_dim, rows));
        let left = rows.next_multiple_of(ROWS) * head_dim.next_multiple_of(group);
        let transposed = rows.max(lines).next_multiple_of(ROWS) * queries.next_multiple_of(group);
        let right = packed.max(columns_packed(head_dim, lines));
        let only_backward = |len: usize| if backward { len } else { 0 };
        let of_term = |term: usize, len: usize| if term < terms { len } else { 0 };
        // Gradients of queries are summed up here too, once their scores have been used.
        let scores = queries * rows.max(head_dim).next_multiple_of(COLUMNS);
        let rounded = queries * rows.next_multiple_of(COLUMNS);
        let sums = |rows: usize| rows * head_dim.next_multiple_of(COLUMNS);
        // Lines before the first of a block come along up to a whole panel.
        let tile = of_term(0, queries * (lines + COLUMNS).next_multiple_of(COLUMNS));
        let band = columns_packed(all_lines, head_dim);
        Self {
            packed: [
                packed,
                packed,
                left.max(only_backward(transposed)),
                only_backward(packed),
                only_backward(right),
            ],
            bands: [of_term(0, band), of_term(1, band)],
            scores: [scores, only_backward(scores), tile],
            rounded: [
                rounded,
                only_backward(rounded),
                only_backward(queries * lines.next_multiple_of(group)),
            ],
            sums: [sums(rows), only_backward(sums(rows))],
            line_sums: [0, 1].map(|term| only_backward(of_term(term, sums(all_lines)))),
        }
    }
}

impl<S: Float> Workspace<S> {
    fn new(shape: &Shape, backward: bool) -> Self {
        let Layout { head_dim, .. } = shape.layout;
        let sizes = WorkspaceSizes::new(
            shape.layout.longest(),
            head_dim,
            shape.terms.len(),
            S::Dot::GROUP,
            backward,
        );
        Self {
            packed: sizes.packed.map(Buffer::scratch),
            bands: sizes.bands.map(Buffer::scratch),
            scores: sizes.scores.map(Buffer::scratch),
            rounded: sizes.rounded.map(Buffer::scratch),
            sums: sizes.sums.map(Buffer::scratch),
            line_sums: sizes.line_sums.map(Buffer::scratch),
        }
    }
}

/// Bytes that all threads together work with, for sequences of up to `longest` tokens.
pub(crate) fn workspace_bytes(longest: usize, head_dim: usize, terms: usize, dtype: DType, backward: bool) -> usize {
    let group = if dtype == DType::BF16 { 2 } else { 1 };
    let sizes = WorkspaceSizes::new(longest, head_dim, terms, group, backward);
    let narrow = sizes.packed.iter().chain(&sizes.bands).chain(&sizes.rounded);
    let narrow = narrow.map(|&len| stored_bytes(len * dtype.size()));
    let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let wide = sizes.scores.iter().chain(&sizes.sums).chain(&sizes.line_sums);
    let wide = wide.map(|&len| stored_bytes(len * real.size()));
    rayon::current_num_threads() * narrow.chain(wide).sum::<usize>()
}

/// Sums of the gradient of positions that are taken apart from each other, for so many tokens.
pub(crate) fn position_sums(tokens: usize) -> usize {
    tokens.div_ceil(TOKENS_PER_SUM)
}

fn run<S: Float>(tape: &Tape, qkv: &Var, projections: &Var, shape: Shape) -> Result<Var> {
    let values = qkv.value().slice::<S>(NAME, "qkv")?;
    let projected = projections.value().slice::<S>(NAME, "projections")?;
    let layout = &shape.layout;
    let (tokens, columns) = (layout.tokens(), layout.columns());
    let mut output = Buffer::<S>::scratch(tokens * columns);
    let mut log_sums = Buffer::<S::Real>::scratch(tokens * layout.heads.queries);
    let owners = layout.heads.query_owners();
    let outs = layout.split(&mut output, layout.head_dim, &owners).into_iter();
    let mut units: Vec<_> = outs
        .zip(layout.split(&mut log_sums, 1, &owners))
        .map(|((unit, out), (_, sums))| (unit, (out, sums)))
        .collect();
    longest_first(&mut units);
    units.into_par_iter().for_each_init(
        || Workspace::<S>::new(&shape, false),
        |space, (unit, (mut out, mut log_sums))| {
            let bands = shape.bands(projected, unit);
            forward_unit(values, &bands, &mut out[0], &mut log_sums[0], unit, &shape, space);
        },
    );
    let output = Tensor::from_buffer(output, &[tokens, columns]);
    Ok(tape.push(output.clone(), &[qkv, projections], || {
        let (qkv, destination) = (qkv.value().clone(), qkv.destination());
        let (projections, of_positions) = (projections.value().clone(), projections.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let saved = Saved {
                qkv: qkv.slice::<S>(NAME, "qkv")?,
                projections: projections.slice(NAME, "projections")?,
                output: output.slice(NAME, "output")?,
                d_output: gradient.slice(NAME, "gradient")?,
                log_sums: &log_sums,
            };
            let mut d_qkv = Buffer::<S>::scratch(3 * tokens * columns);
            let width = shape.terms.len() * columns;
            let mut sums = Buffer::<S::Real>::zeros(position_sums(tokens) * shape.rows * width);
            tasks::<S>(&shape, &mut d_qkv, &mut sums).into_par_iter().for_each_init(
                || Workspace::<S>::new(&shape, true),
                |space, (units, mut d_positions)| {
                    for (unit, mut outs) in units {
                        let bands = shape.bands(saved.projections, unit);
                        backward_unit(&saved, &bands, &mut outs, &mut d_positions, unit, &shape, space);
                    }
                },
            );
            gradients.add::<S>(&destination, Tensor::from_buffer(d_qkv, &[tokens, 3 * columns]));
            gradients.add::<S>(&of_positions, add_up::<S>(&sums, shape.rows, width));
            Ok(())
        }
    }))
}

type Outs<'a, T> = Vec<Out<'a, T>>;

/// The heads of all sequences, those together that share a sum: for each, where the gradients of queries, keys and values go;
/// and where those of the positions of each term go.
#[allow(clippy::type_complexity, reason = "named nowhere else")]
fn tasks<'a, S: Float>(
    shape: &Shape,
    d_qkv: &'a mut [S],
    sums: &'a mut [S::Real],
) -> Vec<(Vec<(Unit, Outs<'a, S>)>, Outs<'a, S::Real>)> {
    let (head_dim, heads) = (shape.layout.head_dim, shape.layout.heads.queries);
    let parts = shape.terms.len();
    let mut tasks = Vec::new();
    let mut rest = Out::new(
        sums,
        position_sums(shape.layout.tokens()) * shape.rows,
        parts * heads * head_dim,
    );
    for _ in 0..position_sums(shape.layout.tokens()) {
        let mut columns;
        (columns, rest) = rest.split_rows(shape.rows);
        let first = tasks.len();
        tasks.extend((0..heads).map(|_| (Vec::new(), Vec::with_capacity(parts))));
        for task in (0..parts).flat_map(|_| first..first + heads) {
            let out;
            (out, columns) = columns.split_columns(head_dim);
            tasks[task].1.push(out);
        }
    }
    let units = shape.layout.split(d_qkv, head_dim, &shape.layout.heads.owners());
    let sum_of_sequence = shape.layout.starts.windows(2).map(|pair| pair[0] / TOKENS_PER_SUM);
    for ((unit, outs), sum) in units.into_iter().zip(sum_of_sequence.flat_map(|sum| vec![sum; heads])) {
        if unit.rows > 0 {
            tasks[sum * heads + unit.head].0.push((unit, outs));
        }
    }
    tasks
}

/// The sum of all sums, in order.
fn add_up<S: Float>(sums: &[S::Real], rows: usize, columns: usize) -> Tensor {
    let mut total = Buffer::<S>::scratch(rows * columns);
    crate::cpu::for_each_rows(
        &mut total,
        1,
        #[inline(always)]
        |first, block| {
            let mut wide = vec![S::Real::ZERO; block.len()];
            for sums in sums.chunks_exact((rows * columns).max(1)) {
                reduce::add(&mut wide, &sums[first..]);
            }
            for (total, &sum) in block.iter_mut().zip(&wide) {
                *total = S::narrow(sum);
            }
        },
    );
    Tensor::from_buffer(total, &[rows, columns])
}

/// Part `part` of the queries, keys and values of a head.
fn heads_of<'a, S: Float>(qkv: &'a [S], unit: Unit, shape: &Shape) -> [Head<'a, S>; 3] {
    [Part::Query, Part::Key, Part::Value].map(|part| Head::of_qkv(qkv, unit, part, unit.head, &shape.layout))
}

fn forward_unit<S: Float>(
    qkv: &[S],
    bands: &[Band<'_, S>],
    out: &mut Out<'_, S>,
    log_sums: &mut Out<'_, S::Real>,
    unit: Unit,
    shape: &Shape,
    space: &mut Workspace<S>,
) {
    if unit.rows == 0 {
        return;
    }
    let layout = &shape.layout;
    let [q, k, v] = heads_of(qkv, unit, shape);
    let [k_space, v_space, left, ..] = &mut space.packed;
    let (all, keys, values) = (0..unit.rows, k.transposed(k_space), v.right(v_space));
    bands
        .iter()
        .zip(&mut space.bands)
        .for_each(|(band, space)| band.pack(space));
    let [scores, _, tile] = &mut space.scores;
    let [probabilities, ..] = &mut space.rounded;
    let [sums, _] = &mut space.sums;
    let width = unit.rows.next_multiple_of(COLUMNS);
    let whole = unit.rows.next_multiple_of(S::Dot::GROUP);
    for (block, queries) in query_blocks(unit.rows) {
        multiply_here(q.part(block, queries).left(left), keys.keys(&all), false, scores);
        for (band, packed) in bands.iter().zip(&space.bands) {
            let rows = if band.term == Term::ContentToPosition { q } else { k };
            band.add_to(packed, rows, [block, queries], width, Scratch { left, tile, scores });
        }
        vectorised(
            #[inline(always)]
            || {
                let rows = scores
                    .chunks_exact_mut(width)
                    .zip(probabilities.chunks_exact_mut(width));
                for (row, (scores, probabilities)) in rows.take(queries).enumerate() {
                    let token = block + row;
                    let seen = Seen {
                        keys: 0..unit.rows,
                        first: 0,
                        row: (unit.first + token) * layout.heads.queries + unit.head,
                    };
                    log_sums.row(token)[0] = layout.softmax(&seen, scores, probabilities);
                }
            },
        );
        multiply_here(Left::rows(probabilities, queries, whole, width), values, false, sums);
        store(sums, out, block, queries, layout, S::Real::ONE);
    }
}

/// What the forward pass left behind, and the gradient of its output.
struct Saved<'a, S: Float> {
    qkv: &'a [S],
    projections: &'a [S],
    output: &'a [S],
    d_output: &'a [S],
    log_sums: &'a [S::Real],
}

/// Writes the gradients of queries, keys and values, and adds to those of positions.
fn backward_unit<S: Float>(
    saved: &Saved<'_, S>,
    bands: &[Band<'_, S>],
    outs: &mut [Out<'_, S>],
    d_positions: &mut [Out<'_, S::Real>],
    unit: Unit,
    shape: &Shape,
    space: &mut Workspace<S>,
) {
    let layout = &shape.layout;
    let [q, k, v] = heads_of(saved.qkv, unit, shape);
    let [o, d_o] = [saved.output, saved.d_output].map(|values| Head::of_output(values, unit, unit.head, layout));
    let [k_lines, v_lines, left, k_elements, right] = &mut space.packed;
    let (all, keys, values) = (0..unit.rows, k.transposed(k_lines), v.transposed(v_lines));
    let keys_right = k.right(k_elements);
    bands
        .iter()
        .zip(&mut space.bands)
        .for_each(|(band, space)| band.pack(space));
    let [scores, gradients, tile] = &mut space.scores;
    let [rounded_p, rounded_g, rounded_tile] = &mut space.rounded;
    let [d_key, d_value] = &mut space.sums;
    let head_width = layout.head_dim.next_multiple_of(COLUMNS);
    for (band, d_lines) in bands.iter().zip(&mut space.line_sums) {
        d_lines[..band.line_count() * head_width].fill(S::Real::ZERO);
    }
    let width = unit.rows.next_multiple_of(COLUMNS);
    let whole = unit.rows.next_multiple_of(S::Dot::GROUP);
    for (block, queries) in query_blocks(unit.rows) {
        let [q_part, o, d_o] = [q, o, d_o].map(|head| head.part(block, queries));
        multiply_here(q_part.left(left), keys.keys(&all), false, scores);
        for (band, packed) in bands.iter().zip(&space.bands) {
            let rows = if band.term == Term::ContentToPosition { q } else { k };
            band.add_to(packed, rows, [block, queries], width, Scratch { left, tile, scores });
        }
        multiply_here(d_o.left(left), values.keys(&all), false, gradients);
        vectorised(
            #[inline(always)]
            || {
                let scores = scores.chunks_exact_mut(width).zip(gradients.chunks_exact(width));
                let rounded = rounded_p.chunks_exact_mut(width).zip(rounded_g.chunks_exact_mut(width));
                for (row, ((scores, gradient), (out_p, out_g))) in scores.zip(rounded).take(queries).enumerate() {
                    let index = (unit.first + block + row) * layout.heads.queries + unit.head;
                    let seen = Seen {
                        keys: 0..unit.rows,
                        first: 0,
                        row: index,
                    };
                    let row_sums = [saved.log_sums[index], product_sum(o.row(row), d_o.row(row))];
                    layout.softmax_gradient(&seen, scores, gradient, row_sums, [out_p, out_g]);
                }
            },
        );
        // dq = dS k, dk += dSᵀ q and dv += (P ∘ M)ᵀ do
        let d_query = &mut *scores;
        multiply_here(Left::rows(rounded_g, queries, whole, width), keys_right, false, d_query);
        let transposed = lines::<S>(unit.rows, queries);
        for (rounded, of_right, sums) in [(&*rounded_g, q_part, &mut *d_key), (&*rounded_p, d_o, &mut *d_value)] {
            let row = |row: usize| &rounded[row * width..][..unit.rows];
            pack_elements::<S, S, ROWS>(left, transposed, row, |value| value);
            multiply_here(Left::packed(left, transposed), of_right.right(right), block > 0, sums);
        }
        // The same for the terms with positions.
        for (band, d_lines) in bands.iter().zip(&mut space.line_sums) {
            let (rows, d_rows) = match band.term {
                Term::ContentToPosition => (q, (&mut **d_query, block)),
                Term::PositionToContent => (k, (&mut **d_key, 0)),
            };
            let spaces: [&mut [S]; 3] = [left, right, rounded_tile];
            band.backward(rows, [block, queries], rounded_g, width, spaces, d_rows, d_lines);
        }
        store(d_query, &mut outs[0], block, queries, layout, layout.scale());
    }
    store(d_key, &mut outs[1], 0, unit.rows, layout, layout.scale());
    store(d_value, &mut outs[2], 0, unit.rows, layout, S::Real::ONE);
    for ((band, d_lines), out) in bands.iter().zip(&space.line_sums).zip(d_positions) {
        vectorised(
            #[inline(always)]
            || {
                let sums = d_lines.chunks_exact(head_width.max(1)).take(band.line_count());
                for (line, sums) in sums.enumerate() {
                    let scale = layout.scale::<S::Real>();
                    for (out, &sum) in out.row(band.row(line)).iter_mut().zip(sums) {
                        *out += sum * scale;
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    /// A row for each distance up to `near`, one for all that are further away on each side.
    fn clamped(longest: usize, near: usize) -> Vec<u32> {
        let longest = longest as isize;
        let row = |distance: isize| distance.clamp(-(near as isize), near as isize) + near as isize;
        (1 - longest..longest).map(|distance| row(distance) as u32).collect()
    }

    const TERMS: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];

    fn positions<'a>(
        projections: &'a Var,
        (has_keys, has_queries): (bool, bool),
        rows: &'a [u32],
    ) -> RelativePositions<'a> {
        RelativePositions {
            projections,
            has_keys,
            has_queries,
            row_of_distance: rows,
        }
    }

    #[test]
    fn gradients() {
        let rows = clamped(5, 2);
        for terms in TERMS {
            let width = 6 * (terms.0 as usize + terms.1 as usize);
            for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
                check(vec![normal(1, &[9, 18]), normal(2, &[5, width])], |tape, inputs| {
                    let positions = positions(&inputs[1], terms, &rows);
                    disentangled_attention(tape, &inputs[0], positions, &[0, 4, 4, 5, 9], 2, dropout)
                });
            }
        }
    }

    /// Straight from the definition.
    struct Textbook {
        qkv: Vec<f64>,
        positions: Vec<f64>,
        starts: Vec<usize>,
        heads: usize,
        head_dim: usize,
        terms: (bool, bool),
        row_of_distance: Vec<u32>,
    }

    impl Textbook {
        fn output(&self) -> Vec<f64> {
            let (heads, head_dim) = (self.heads, self.head_dim);
            let columns = heads * head_dim;
            let count = self.terms.0 as usize + self.terms.1 as usize;
            let mut output = vec![0.0; self.qkv.len() / 3];
            for sequence in self.starts.windows(2) {
                let rows = sequence[0]..sequence[1];
                for head in 0..heads {
                    let of =
                        |part: usize, row: usize| &self.qkv[(row * 3 + part) * columns + head * head_dim..][..head_dim];
                    let position = |part: usize, query: usize, key: usize| {
                        let place = self.row_of_distance.len() / 2 + query - key;
                        let row = self.row_of_distance[place] as usize;
                        &self.positions[(row * count + part) * columns + head * head_dim..][..head_dim]
                    };
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    for query in rows.clone() {
                        let score = |key| {
                            let mut sum = dot(of(0, query), of(1, key));
                            if self.terms.0 {
                                sum += dot(of(0, query), position(0, query, key));
                            }
                            if self.terms.1 {
                                sum += dot(of(1, key), position(count - 1, query, key));
                            }
                            sum / (((1 + count) * head_dim) as f32).sqrt() as f64
                        };
                        let weights: Vec<f64> = rows.clone().map(|key| score(key).exp()).collect();
                        let sum: f64 = weights.iter().sum();
                        for i in 0..head_dim {
                            let mixed = rows
                                .clone()
                                .zip(&weights)
                                .map(|(key, weight)| weight / sum * of(2, key)[i]);
                            output[query * columns + head * head_dim + i] = mixed.sum();
                        }
                    }
                }
            }
            output
        }
    }

    #[test]
    fn equals_the_definition_across_blocks() {
        let starts = [0u32, 1, 131, 131, 160, 260];
        let (qkv, rows) = (normal(1, &[260, 30]), clamped(140, 40));
        let tape = Tape::inference();
        for terms in TERMS {
            let width = 10 * (terms.0 as usize + terms.1 as usize);
            let projections = normal(2, &[81, width]);
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 5e-6), (DType::BF16, 0.03)] {
                let (qkv, projections) = (qkv.to_dtype(dtype), projections.to_dtype(dtype));
                let textbook = Textbook {
                    qkv: qkv.to_f64_vec(),
                    positions: projections.to_f64_vec(),
                    starts: starts.map(|start| start as usize).to_vec(),
                    heads: 2,
                    head_dim: 5,
                    terms,
                    row_of_distance: rows.clone(),
                };
                let projections = tape.constant(projections);
                let positions = positions(&projections, terms, &rows);
                let qkv = tape.constant(qkv);
                let found = disentangled_attention(&tape, &qkv, positions, &starts, 2, None).unwrap();
                for (found, expected) in found.value().to_f64_vec().iter().zip(textbook.output()) {
                    assert!(
                        (found - expected).abs() < tolerance,
                        "{terms:?} {dtype:?}: {found} instead of {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_across_blocks_and_sums() {
        // Two blocks of queries, three of keys, and two sums of sequences. Finite differences of all elements would take
        // long: some elements are held against them in f64, and f32 and bf16 against f64.
        let starts = [0, 110, 930, 1030, 1040];
        let rows = clamped(820, 30);
        let mut parameters = crate::Parameters::default();
        let qkv = parameters.add("qkv", normal(1, &[1040, 12]));
        let projections = parameters.add("positions", normal(2, &[61, 8]));
        let run = |parameters: &crate::Parameters, dtype: DType| {
            let tape = Tape::recording();
            let of = |id| crate::ops::to_dtype(&tape, &tape.parameter(parameters, id), dtype).unwrap();
            let (qkv, projections) = (of(qkv), of(projections));
            let positions = positions(&projections, (true, true), &rows);
            let output = disentangled_attention(&tape, &qkv, positions, &starts, 1, None).unwrap();
            let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let output = crate::ops::to_dtype(&tape, &output, real).unwrap();
            let targets: Vec<f32> = (0..4160).map(|i| (i % 3) as f32).collect();
            let loss = crate::ops::mean_squared_error(&tape, &output, &targets, 1.0).unwrap();
            let mut gradients = crate::ParameterGradients::for_parameters(parameters);
            tape.backward(&loss, &mut gradients).unwrap();
            (loss.value().to_f64_vec()[0], gradients)
        };
        let (_, gradients) = run(&parameters, DType::F64);
        let narrow = [(DType::F32, 1e-5), (DType::BF16, 0.02)]
            .map(|(dtype, tolerance)| (run(&parameters.to_dtype(DType::F32), dtype).1, tolerance));
        for (id, gradient) in gradients.iter() {
            let wide = gradient.to_f64_vec();
            let largest = wide.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for (narrow, tolerance) in &narrow {
                let narrow = narrow.get(id).unwrap().to_f64_vec();
                let pairs = wide.iter().zip(&narrow);
                let worst = pairs.fold(0.0f64, |worst, (wide, narrow)| worst.max((wide - narrow).abs()));
                assert!(worst < tolerance * largest, "off by {worst:e}, largest {largest:e}");
            }
            for element in [0, 5, 300, 487] {
                let shifted = |by: f64| {
                    let mut parameters = parameters.clone();
                    parameters.get_mut(id).as_mut_slice::<f64>().unwrap()[element] += by;
                    run(&parameters, DType::F64).0
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!(
                    (wide[element] - difference).abs() < 1e-6 * difference.abs().max(1.0),
                    "{element}: {} instead of {difference}",
                    wide[element]
                );
            }
        }
    }

    #[test]
    fn operands_are_checked() {
        let tape = Tape::inference();
        let (qkv, projections) = (tape.constant(normal(1, &[3, 12])), tape.constant(normal(2, &[5, 4])));
        let run = |rows: &[u32], terms| {
            let positions = positions(&projections, terms, rows);
            disentangled_attention(&tape, &qkv, positions, &[0, 3], 2, None)
        };
        assert!(run(&[0, 1, 2, 3, 4], (true, false)).is_ok());
        let error = run(&[0, 1, 2], (true, false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "disentangled_attention: row_of_distance has shape [3], expected an odd number, at least 5"
        );
        assert!(run(&[0, 1, 2, 3, 5], (true, false)).is_err());
        assert!(run(&[0, 1, 2, 3, 4], (true, true)).is_err());
    }
}
