//! Matrix products: out ← f(left · right), where f works on rows of sums while they are in cache.
//!
//! The right factor is packed into [`Panels`] of [`COLUMNS`] columns, in which the words that a kernel reads together lie
//! side by side; the left one is read as it is, row by row, or packed too if its rows run along the other extent. Work is
//! cut into blocks of rows and columns; a block's sums stay in the second-level cache, and `finish` gets them there with
//! the piece of `out` that belongs to them: bias, activation, rounding or adding to what is there cost no further pass.
//!
//! The sum behind an element is taken in an order that only the inner extent fixes ([`INNER`]), so results do not depend
//! on threads or on how the work is cut up; they do depend on the instruction set.
//!
//! After Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication", with the roles of the caches as
//! BLIS has them (Van Zee and van de Geijn 2015).

use std::marker::PhantomData;

use rayon::prelude::*;

use super::vectorised;
use crate::Element;
use crate::buffer::{Buffer, stored_bytes};

mod blocks;
mod kernels;
mod panels;

pub use blocks::{BLOCK, BlockPanels, multiply_blocks};
pub use kernels::{COLUMNS, ROWS, Tile, has_bf16, has_int8};
pub use panels::{Lines, Panels, Rows, pack_elements, pack_lines};

/// How two rows of numbers are multiplied and summed up.
pub trait Dot: Sized + Send + Sync + 'static {
    /// Elements of the left factor.
    type Left: Element;
    /// Elements of the right factor.
    type Right: Element;
    /// What sums are taken in.
    type Sum: Element;
    /// Elements of a word: how many are multiplied and summed up by one lane of one instruction.
    const GROUP: usize;

    /// Computes a tile with the best instructions.
    ///
    /// # Safety
    /// Every row, word and column of the tile must lie in memory that may be read (the factors) and written (the sums).
    #[doc(hidden)]
    unsafe fn tile(tile: &Tile<Self>);

    /// sum + Σ left · right over the elements of a word, where there is no instruction for it.
    #[doc(hidden)]
    fn dot(sum: Self::Sum, left: &[Self::Left], right: &[Self::Right]) -> Self::Sum;
}

/// `f32` with sums in `f32`.
pub struct F32;
/// `bf16` with sums in `f32`; every product of two `bf16` is exact in `f32`.
pub struct Bf16;
/// `f64` by plain loops.
pub struct F64;
/// Quantised numbers: `u8` times `i8` with sums in `i32`, exact, and the same for every instruction set, while the inner
/// extent is at most 65 792; beyond that they may wrap around.
pub struct Int8;

/// As [`Int8`], with a scale for each column of a tile: sums are scaled and added up in `f32`. The scales lie behind the words of the right factor.
pub struct Int8Blocks;

/// Words along the inner extent that are summed up in registers before they are added to the sums in memory. A panel then
/// takes 64 KiB and stays in the second-level cache, from which kernels fetch it ahead, while the rows of a block pass by it.
const INNER: usize = 512;

/// Rows of a block, at most: a multiple of [`ROWS`].
const BLOCK_ROWS: usize = 96;

/// Panels of a block, at most: its sums then take at most 192 KiB.
const BLOCK_PANELS: usize = 16;

/// Bytes after which the places of a first-level cache repeat themselves.
const CACHE_PERIOD: usize = 4096;

/// Bytes between copied rows, so that they do not fall on the same places again.
const COPY_GAP: usize = 64;

/// The left factor of a product.
pub struct Left<'a, D: Dot> {
    data: &'a [D::Left],
    rows: usize,
    words: usize,
    /// Elements from one row, word and panel of [`ROWS`] rows to the next.
    row: usize,
    word: usize,
    panel: usize,
}

impl<D: Dot> Clone for Left<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Dot> Copy for Left<'_, D> {}

impl<'a, D: Dot> Left<'a, D> {
    /// `rows` rows of `inner` adjacent elements, `row_stride` apart. `inner` must be whole words; see [`Left::is_whole`].
    pub fn rows(data: &'a [D::Left], rows: usize, inner: usize, row_stride: usize) -> Self {
        assert!(Self::is_whole(inner), "the inner extent is not a multiple of a word");
        assert!(
            rows == 0 || inner == 0 || (rows - 1) * row_stride + inner <= data.len(),
            "left factor outside of slice"
        );
        let (word, panel) = (D::GROUP, ROWS * row_stride);
        Self {
            data,
            rows,
            words: inner / D::GROUP,
            row: row_stride,
            word,
            panel,
        }
    }

    /// Packed rows.
    pub fn panels(panels: &'a Panels<D::Left, ROWS>) -> Self {
        Self::packed(panels.data(), panels.lines())
    }

    /// Rows that [`pack_lines`] or [`pack_elements`] has packed.
    pub fn packed(data: &'a [D::Left], lines: Lines) -> Self {
        assert!(
            lines.group == D::GROUP && lines.packed(ROWS) <= data.len(),
            "left factor outside of slice"
        );
        let (row, word) = (D::GROUP, ROWS * D::GROUP);
        Self {
            data,
            rows: lines.count,
            words: lines.words(),
            row,
            word,
            panel: lines.words() * word,
        }
    }

    /// Whether rows of this length can be read as they are.
    pub fn is_whole(inner: usize) -> bool {
        inner.is_multiple_of(D::GROUP)
    }
}

/// The right factor of a product: packed columns.
pub struct Right<'a, D: Dot> {
    data: &'a [D::Right],
    columns: usize,
    words: usize,
}

impl<D: Dot> Clone for Right<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Dot> Copy for Right<'_, D> {}

impl<'a, D: Dot> Right<'a, D> {
    /// Packed columns.
    pub fn panels(panels: &'a Panels<D::Right, COLUMNS>) -> Self {
        Self::packed(panels.data(), panels.lines())
    }

    /// Columns that [`pack_lines`] or [`pack_elements`] has packed.
    pub fn packed(data: &'a [D::Right], lines: Lines) -> Self {
        assert!(
            lines.group == D::GROUP && lines.packed(COLUMNS) <= data.len(),
            "right factor outside of slice"
        );
        Self {
            data,
            columns: lines.count,
            words: lines.words(),
        }
    }
}

/// A part of a matrix to write to, some rows and columns of it. Parts that were split off share no element, so threads may
/// write to them at the same time.
pub struct Out<'a, O> {
    data: *mut O,
    rows: usize,
    columns: usize,
    stride: usize,
    borrowed: PhantomData<&'a mut [O]>,
}

// SAFETY: a part is the only way to its elements, as a mutable slice would be.
unsafe impl<O: Send> Send for Out<'_, O> {}
// SAFETY: a shared reference to it gives no access to elements; see `piece`, which is unsafe.
unsafe impl<O: Send> Sync for Out<'_, O> {}

impl<'a, O> Out<'a, O> {
    /// All of a matrix whose rows are `columns` adjacent elements.
    pub fn new(data: &'a mut [O], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= data.len(), "matrix outside of slice");
        Self {
            data: data.as_mut_ptr(),
            rows,
            columns,
            stride: columns,
            borrowed: PhantomData,
        }
    }

    /// The first `rows` rows, and the rest.
    pub fn split_rows(self, rows: usize) -> (Self, Self) {
        assert!(rows <= self.rows, "{rows} of {} rows", self.rows);
        // The pointer may come to stand behind the last row, and is then never used.
        let rest = Self {
            data: self.data.wrapping_add(rows * self.stride),
            rows: self.rows - rows,
            ..self
        };
        (Self { rows, ..self }, rest)
    }

    /// The first `columns` columns, and the rest.
    pub fn split_columns(self, columns: usize) -> (Self, Self) {
        assert!(columns <= self.columns, "{columns} of {} columns", self.columns);
        let rest = Self {
            data: self.data.wrapping_add(columns),
            columns: self.columns - columns,
            ..self
        };
        (Self { columns, ..self }, rest)
    }

    /// The elements of a row.
    pub fn row(&mut self, row: usize) -> &mut [O] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row lies inside, and `self` is borrowed mutably.
        unsafe { self.piece(row, 0, self.columns) }
    }

    /// The elements of every row.
    pub fn into_rows(self) -> impl Iterator<Item = &'a mut [O]> {
        // SAFETY: the rows lie inside of a borrow that lasts as long as what is given away, and each is given away once, by
        // who gives `self` away.
        (0..self.rows).map(move |row| unsafe { &mut *std::ptr::from_mut(self.piece(row, 0, self.columns)) })
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// They must lie inside, and nobody else may have any of them.
    #[allow(clippy::mut_from_ref)]
    unsafe fn piece(&self, row: usize, first: usize, columns: usize) -> &mut [O] {
        // SAFETY: the rows of the matrix do not overlap and this part of them belongs to `self`; the caller keeps inside
        // of it and hands out nothing twice.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride + first), columns) }
    }
}

/// left · right. `finish(row, column, sums, out)` gets the sums of a piece of a row, which begins at that row and column, and
/// the part of `out` to which they belong; it is called once for every element of the product. Pass an `#[inline(always)]`
/// closure. Blocks are shared among threads.
///
/// # Panics
/// If the extents do not fit.
pub fn multiply<D: Dot, O: Send>(
    left: Left<'_, D>,
    right: Right<'_, D>,
    out: Out<'_, O>,
    finish: impl Fn(usize, usize, &[D::Sum], &mut [O]) + Sync,
) {
    assert!(left.words == right.words, "inner extents differ");
    let sum = |rows: [usize; 2], panels: [usize; 2], sums: &mut [D::Sum]| {
        sum_up(left, right, rows, panels, false, sums);
    };
    in_blocks([left.rows, right.columns], out, sum, finish);
}

/// Shares the blocks of a product among threads. `sum` writes the sums of a block, rows and panels each as first and count, in rows of whole panels.
fn in_blocks<S: Element, O: Send>(
    [rows, columns]: [usize; 2],
    out: Out<'_, O>,
    sum: impl Fn([usize; 2], [usize; 2], &mut [S]) + Sync,
    finish: impl Fn(usize, usize, &[S], &mut [O]) + Sync,
) {
    assert!(
        out.rows == rows && out.columns == columns,
        "the product has another shape than out"
    );
    let panels = columns.div_ceil(COLUMNS);
    let [block_rows, block_panels] = block_size(rows, panels);
    let across = panels.div_ceil(block_panels);
    let run = |block: usize| {
        let (row, panel) = (block / across * block_rows, block % across * block_panels);
        let (rows, panels) = (block_rows.min(rows - row), block_panels.min(panels - panel));
        let width = panels * COLUMNS;
        let mut sums = Buffer::<S>::scratch(rows * width);
        sum([row, rows], [panel, panels], &mut sums);
        let column = panel * COLUMNS;
        let columns = width.min(columns - column);
        vectorised(
            #[inline(always)]
            || {
                for (index, sums) in sums.chunks_exact(width).enumerate() {
                    // SAFETY: the block lies inside of `out`, and no two blocks share a row and a column.
                    let out = unsafe { out.piece(row + index, column, columns) };
                    finish(row + index, column, &sums[..columns], out);
                }
            },
        );
    };
    let blocks = rows.div_ceil(block_rows) * across;
    match blocks {
        0 => {}
        1 => run(0),
        _ => (0..blocks).into_par_iter().with_max_len(1).for_each(run),
    }
}

/// left · right by the calling thread, into (or with `add`, on top of) the rows of `sums`. Each holds whole panels: the
/// columns of the right factor rounded up to a multiple of [`COLUMNS`].
///
/// # Panics
/// If the extents do not fit.
pub fn multiply_here<D: Dot>(left: Left<'_, D>, right: Right<'_, D>, add: bool, sums: &mut [D::Sum]) {
    assert!(left.words == right.words, "inner extents differ");
    let panels = right.columns.div_ceil(COLUMNS);
    assert!(left.rows * panels * COLUMNS <= sums.len(), "sums are too short");
    sum_up(left, right, [0, left.rows], [0, panels], add, sums);
}

/// Rows and panels of a block: small enough that every thread gets several.
fn block_size(rows: usize, panels: usize) -> [usize; 2] {
    let wanted = 8 * rayon::current_num_threads();
    let (mut block_rows, mut block_panels) = (
        BLOCK_ROWS.min(rows.next_multiple_of(ROWS)).max(ROWS),
        BLOCK_PANELS.min(panels).max(1),
    );
    while rows.div_ceil(block_rows) * panels.div_ceil(block_panels) < wanted {
        // Whichever keeps the block nearer to a square: both factors are then read least often.
        if block_panels > 1 && (block_panels * COLUMNS >= block_rows || block_rows == ROWS) {
            block_panels = block_panels.div_ceil(2);
        } else if block_rows > ROWS {
            block_rows = (block_rows / 2).next_multiple_of(ROWS);
        } else {
            break;
        }
    }
    [block_rows, block_panels]
}

/// Bytes of the sums that all threads together work with in [`multiply`].
pub fn sums_bytes(rows: usize, columns: usize) -> usize {
    let panels = columns.div_ceil(COLUMNS);
    let [block_rows, block_panels] = block_size(rows, panels);
    let blocks = rows.div_ceil(block_rows) * panels.div_ceil(block_panels);
    let one = stored_bytes(block_rows.min(rows) * block_panels * COLUMNS * size_of::<f32>());
    blocks.min(rayon::current_num_threads()) * one
}

/// The sums of a block: rows and panels, each as first and count. The first row is a multiple of [`ROWS`].
fn sum_up<D: Dot>(
    left: Left<'_, D>,
    right: Right<'_, D>,
    [first, rows]: [usize; 2],
    [first_panel, panels]: [usize; 2],
    add: bool,
    sums: &mut [D::Sum],
) {
    let (words, width) = (left.words, panels * COLUMNS);
    // Rows at such a distance push each other out of the cache before they are used up: they are copied closer together.
    let is_copied = left.word == D::GROUP && panels > 1 && is_aliased::<D>(left.row);
    let copied_row = INNER.min(words) * D::GROUP + COPY_GAP / size_of::<D::Left>();
    let mut copied = Buffer::<D::Left>::scratch(if is_copied { rows * copied_row } else { 0 });
    // Once even if there is nothing to sum up: that writes zeros.
    for start in (0..words.max(1)).step_by(INNER) {
        let length = INNER.min(words - start);
        if is_copied {
            for (row, copy) in copied.chunks_exact_mut(copied_row).enumerate() {
                let source = &left.data[(first + row) * left.row + start * left.word..];
                copy[..length * D::GROUP].copy_from_slice(&source[..length * D::GROUP]);
            }
        }
        for panel in 0..panels {
            let word = (first_panel + panel) * words + start;
            for row in (0..rows).step_by(ROWS) {
                let (of_left, left_row) = match is_copied {
                    true => (&copied[row * copied_row..], copied_row),
                    false => {
                        let place = (first + row) / ROWS * left.panel + start * left.word;
                        (&left.data[at(left.data, place)..], left.row)
                    }
                };
                let tile = Tile::<D> {
                    rows: ROWS.min(rows - row),
                    words: length,
                    left: of_left.as_ptr(),
                    left_row,
                    left_word: left.word,
                    right: right.data[at(right.data, word * COLUMNS * D::GROUP)..].as_ptr(),
                    sums: sums[row * width + panel * COLUMNS..].as_mut_ptr(),
                    sums_row: width,
                    add: add || start > 0,
                };
                // SAFETY: the left factor holds these rows with all words, or their copy those of this step, and the right
                // one all words of its panels, as was checked when they were made; callers made sure that the sums hold
                // `rows` rows of `width`.
                unsafe { D::tile(&tile) };
            }
        }
    }
}

/// Whether rows `row` elements apart fall on the same places of a first-level cache.
fn is_aliased<D: Dot>(row: usize) -> bool {
    (row * size_of::<D::Left>()).is_multiple_of(CACHE_PERIOD)
}

/// The place of an element, or the end of an empty factor.
fn at<T>(data: &[T], index: usize) -> usize {
    index.min(data.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Sequence;
    use crate::{Float, Real, bf16};

    /// How the factors of a product are given.
    #[derive(Debug, Clone, Copy)]
    struct Given {
        extents: [usize; 3],
        /// Left: packed from columns. Right: packed from rows of its transpose.
        packed_left: bool,
        transposed_right: bool,
        /// Unused elements at the end of each row of the left factor.
        padding: usize,
    }

    /// Multiplies and compares with the triple loop in f64.
    fn check<S: Float>(given: Given) {
        let Given {
            extents: [rows, inner, columns],
            padding,
            ..
        } = given;
        let mut random = Sequence::new(1, (rows * 31 + inner * 7 + columns) as u64);
        let mut values =
            |n: usize| -> Vec<S> { (0..n).map(|_| S::narrow(S::Real::from_f64(random.normal()))).collect() };
        let stride = inner + padding;
        let (a, b, before) = (values(rows * stride), values(inner * columns), values(rows * columns));
        let wide = |value: S| value.widen().to_f64();
        let group = S::Dot::GROUP;
        // b is stored as [inner, columns], or transposed.
        let b_at = |k: usize, j: usize| {
            if given.transposed_right {
                b[j * inner + k]
            } else {
                b[k * columns + j]
            }
        };
        let lines = Lines {
            count: columns,
            inner,
            group,
        };
        let right = if given.transposed_right {
            Panels::from_lines(lines, |j| &b[j * inner..][..inner], |value| value)
        } else {
            Panels::from_elements(lines, |k| &b[k * columns..][..columns], |value| value)
        };
        let lines = Lines {
            count: rows,
            inner,
            group,
        };
        let transposed: Vec<S> = (0..inner * rows).map(|i| a[i % rows * stride + i / rows]).collect();
        let left = if given.packed_left {
            Panels::<S, ROWS>::from_elements(lines, |k| &transposed[k * rows..][..rows], |value| value)
        } else {
            Panels::from_lines(lines, |i| &a[i * stride..][..inner], |value| value)
        };
        let factor = match Left::<S::Dot>::is_whole(inner) && !given.packed_left {
            true => Left::rows(&a, rows, inner, stride),
            false => Left::panels(&left),
        };
        let mut out = before.clone();
        multiply::<S::Dot, S>(
            factor,
            Right::panels(&right),
            Out::new(&mut out, rows, columns),
            |row, column, sums, out| {
                for (index, (out, &sum)) in out.iter_mut().zip(sums).enumerate() {
                    assert_eq!(
                        out.widen(),
                        before[row * columns + column + index].widen(),
                        "not where it belongs"
                    );
                    *out = S::narrow(out.widen() + sum);
                }
            },
        );
        let width = columns.next_multiple_of(COLUMNS);
        let mut here = vec![S::Real::ONE; rows * width];
        multiply_here::<S::Dot>(factor, Right::panels(&right), true, &mut here);
        for i in 0..rows {
            for j in 0..columns {
                let product: f64 = (0..inner).map(|k| wide(a[i * stride + k]) * wide(b_at(k, j))).sum();
                let expected = product + wide(before[i * columns + j]);
                let rounding = if group == 2 { expected.abs() * 0.004 } else { 0.0 };
                let tolerance = 1e-6 * (inner as f64 + 2.0) + rounding;
                let found = wide(out[i * columns + j]);
                assert!(
                    (found - expected).abs() <= tolerance,
                    "({i}, {j}): {found} instead of {expected}, {given:?}"
                );
                let found = here[i * width + j].to_f64() - 1.0;
                assert!(
                    (found - product).abs() <= 2e-6 * (inner as f64 + 2.0),
                    "({i}, {j}) here: {found}, {given:?}"
                );
            }
        }
    }

    fn check_all(given: Given) {
        check::<f32>(given);
        check::<bf16>(given);
        check::<f64>(given);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn equals_the_triple_loop(
            extents in [0usize..70, 0usize..70, 0usize..70],
            packed_left in any::<bool>(),
            transposed_right in any::<bool>(),
            padding in 0usize..4,
        ) {
            check_all(Given { extents, packed_left, transposed_right, padding: padding * 2 });
        }

        #[test]
        fn int8_equals_the_triple_loop(
            extents in [0usize..70, 0usize..300, 0usize..70],
            packed_left in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let mut random = Sequence::new(seed, 0);
            check_int8(extents, || (random.next_u64() as u8, random.next_u64() as i8), packed_left);
        }
    }

    /// Multiplies numbers of 8 bits and compares with the triple loop: the integers must be the same.
    fn check_int8([rows, inner, columns]: [usize; 3], mut values: impl FnMut() -> (u8, i8), packed_left: bool) {
        let a: Vec<u8> = (0..rows * inner).map(|_| values().0).collect();
        let b: Vec<i8> = (0..inner * columns).map(|_| values().1).collect();
        let group = Int8::GROUP;
        let [of_left, of_right] = [rows, columns].map(|count| Lines { count, inner, group });
        let right = Panels::from_elements(of_right, |k| &b[k * columns..][..columns], |value| value);
        let left = Panels::from_lines(of_left, |i| &a[i * inner..][..inner], |value| value);
        let left = match Left::<Int8>::is_whole(inner) && !packed_left {
            true => Left::rows(&a, rows, inner, inner),
            false => Left::panels(&left),
        };
        let mut out = vec![0; rows * columns];
        multiply::<Int8, i32>(
            left,
            Right::panels(&right),
            Out::new(&mut out, rows, columns),
            |_, _, sums, out| out.copy_from_slice(sums),
        );
        for (place, &found) in out.iter().enumerate() {
            let (i, j) = (place / columns, place % columns);
            let products = (0..inner).map(|k| a[i * inner + k] as i64 * b[k * columns + j] as i64);
            assert_eq!(
                found as i64,
                products.sum::<i64>(),
                "({i}, {j}) of {rows}x{inner}x{columns}"
            );
        }
    }

    #[test]
    fn the_largest_numbers_of_8_bits() {
        for extents in [[13, 4096, 70], [1, 4095, 33], [40, 2049, 5], [3, 65_792, 2]] {
            for extreme in [(255, -128), (255, 127)] {
                check_int8(extents, || extreme, false);
                check_int8(extents, || extreme, true);
            }
        }
    }

    #[test]
    fn large_and_extreme_shapes() {
        let shapes = [
            [1, 300, 1],
            [257, 1, 129],
            [130, 520, 70],
            [13, 2, 1100],
            [200, 1100, 33],
            [26, 2048, 70],
            [0, 5, 5],
            [5, 0, 5],
            [5, 5, 0],
        ];
        for extents in shapes {
            for packed_left in [false, true] {
                check_all(Given {
                    extents,
                    packed_left,
                    transposed_right: packed_left,
                    padding: 0,
                });
            }
        }
    }
}
