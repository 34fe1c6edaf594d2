//! Micro-kernels: one tile of a product, at most [`ROWS`] rows by [`COLUMNS`] columns, whose sums stay in registers.
//!
//! Both factors are read as words of 32 bits: one `f32`, two `bf16` or four `i8`, adjacent along the inner extent. For each
//! word a kernel reads [`COLUMNS`] words of the right factor, which lie side by side in a panel, and one word of each row of
//! the left, which it repeats across a register. Every instruction set thus reads the same panels. The sums of one tile are
//! taken in the order of the inner extent.

use std::sync::OnceLock;

use super::{Bf16, Dot, F32, F64};
use crate::cpu::{Instructions, instructions, vectorised};
use crate::{Float, bf16};

/// Rows of a tile: with two registers for each row, as many as 32 registers hold beside what is being read.
pub const ROWS: usize = 12;

/// Columns of a tile and of a panel: two registers of 16 words.
pub const COLUMNS: usize = 32;

/// Where a tile reads and writes.
pub struct Tile<D: Dot + ?Sized> {
    /// Rows, at most [`ROWS`].
    pub rows: usize,
    /// Words along the inner extent.
    pub words: usize,
    /// First word of the left factor.
    pub left: *const D::Left,
    /// Elements from one row of the left factor to the next.
    pub left_row: usize,
    /// Elements from one word of the left factor to the next.
    pub left_word: usize,
    /// A panel of the right factor: for each word, those of [`COLUMNS`] columns.
    pub right: *const D::Right,
    /// Sums, [`COLUMNS`] in each row.
    pub sums: *mut D::Sum,
    /// Elements from one row of sums to the next.
    pub sums_row: usize,
    /// Whether to add to the sums that are there.
    pub add: bool,
}

/// Calls `$tile::<N>` for `$rows` = N.
macro_rules! for_rows {
    ($tile:ident, $rows:expr, $argument:expr, [$($n:literal)*]) => {
        match $rows {
            $($n => $tile::<$n>($argument),)*
            _ => unreachable!("a tile has at most {ROWS} rows"),
        }
    };
}

/// A tile for one instruction set: `$vectors` registers of `$lanes` words in each of at most `$most` rows.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    (
        $name:ident, $dot:ty, $features:literal, $lanes:literal, $most:literal, [$($n:literal)*],
        zero: $zero:expr, right: $right:expr, left: $left:expr, dot: $multiply:expr, load: $load:expr, add: $add:expr, store: $store:expr
    ) => {
        /// # Safety
        /// The processor must have the features, and every row, word and column of the tile must lie in memory that the
        /// caller may read (the factors) and write (the sums).
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(tile: &Tile<$dot>) {
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn rows<const N: usize>((tile, first, column): (&Tile<$dot>, usize, usize)) {
                // SAFETY: the caller promises that rows, words and columns of the tile lie inside of the operands; `first` and
                // `column` stay below them.
                unsafe {
                    let mut sums = [[$zero; 2]; N];
                    let mut right = tile.right.add(column * <$dot>::GROUP);
                    let mut left = tile.left.add(first * tile.left_row);
                    for _ in 0..tile.words {
                        let columns = [$right(right), $right(right.add($lanes * <$dot>::GROUP))];
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let value = $left(left.add(row * tile.left_row));
                            sums[0] = $multiply(sums[0], value, columns[0]);
                            sums[1] = $multiply(sums[1], value, columns[1]);
                        }
                        left = left.add(tile.left_word);
                        right = right.add(COLUMNS * <$dot>::GROUP);
                    }
                    for (row, sums) in sums.iter().enumerate() {
                        let out = tile.sums.add((first + row) * tile.sums_row + column);
                        for (part, &sum) in sums.iter().enumerate() {
                            let out = out.add(part * $lanes);
                            $store(out, if tile.add { $add($load(out), sum) } else { sum });
                        }
                    }
                }
            }
            for column in (0..COLUMNS).step_by(2 * $lanes) {
                for first in (0..tile.rows).step_by($most) {
                    // SAFETY: as promised by the caller of the whole.
                    unsafe { for_rows!(rows, (tile.rows - first).min($most), (tile, first, column), [$($n)*]) }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;
    use crate::bf16;

    tile!(f32_avx512, F32, "avx512f", 16, 12, [1 2 3 4 5 6 7 8 9 10 11 12],
        zero: _mm512_setzero_ps(), right: |p: *const f32| _mm512_loadu_ps(p), left: |p: *const f32| _mm512_set1_ps(*p),
        dot: |sum, left, right| _mm512_fmadd_ps(left, right, sum),
        load: |p: *const f32| _mm512_loadu_ps(p), add: |a, b| _mm512_add_ps(a, b), store: |p: *mut f32, v| _mm512_storeu_ps(p, v));

    tile!(f32_avx2, F32, "avx2,fma", 8, 6, [1 2 3 4 5 6],
        zero: _mm256_setzero_ps(), right: |p: *const f32| _mm256_loadu_ps(p), left: |p: *const f32| _mm256_set1_ps(*p),
        dot: |sum, left, right| _mm256_fmadd_ps(left, right, sum),
        load: |p: *const f32| _mm256_loadu_ps(p), add: |a, b| _mm256_add_ps(a, b), store: |p: *mut f32, v| _mm256_storeu_ps(p, v));

    tile!(bf16_avx512, Bf16, "avx512f,avx512bf16", 16, 12, [1 2 3 4 5 6 7 8 9 10 11 12],
        zero: _mm512_setzero_ps(), right: |p: *const bf16| _mm512_loadu_ps(p.cast()),
        left: |p: *const bf16| _mm512_castsi512_ps(_mm512_set1_epi32(p.cast::<i32>().read_unaligned())),
        dot: |sum, left, right| _mm512_dpbf16_ps(sum, bf16s(left), bf16s(right)),
        load: |p: *const f32| _mm512_loadu_ps(p), add: |a, b| _mm512_add_ps(a, b), store: |p: *mut f32, v| _mm512_storeu_ps(p, v));

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bf16s(words: __m512) -> __m512bh {
        // SAFETY: both are 64 bytes of plain data.
        unsafe { std::mem::transmute(words) }
    }
}

/// A tile by plain loops, compiled for the best instructions.
///
/// # Safety
/// As for [`Dot::tile`].
unsafe fn plain<D: Dot>(tile: &Tile<D>) {
    vectorised(
        #[inline(always)]
        || {
            for row in 0..tile.rows {
                // SAFETY: as promised by the caller: rows, words and columns of the tile lie inside of the operands, and
                // nobody else has the sums.
                let out = unsafe { std::slice::from_raw_parts_mut(tile.sums.add(row * tile.sums_row), COLUMNS) };
                let mut sums = [D::Sum::default(); COLUMNS];
                if tile.add {
                    sums.copy_from_slice(out);
                }
                for word in 0..tile.words {
                    // SAFETY: as above.
                    let (left, right) = unsafe {
                        let left = tile.left.add(row * tile.left_row + word * tile.left_word);
                        let right = tile.right.add(word * COLUMNS * D::GROUP);
                        (
                            std::slice::from_raw_parts(left, D::GROUP),
                            std::slice::from_raw_parts(right, COLUMNS * D::GROUP),
                        )
                    };
                    for (column, sum) in sums.iter_mut().enumerate() {
                        *sum = D::dot(*sum, left, &right[column * D::GROUP..][..D::GROUP]);
                    }
                }
                out.copy_from_slice(&sums);
            }
        },
    );
}

impl Dot for F32 {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    const GROUP: usize = 1;

    unsafe fn tile(tile: &Tile<Self>) {
        // SAFETY: as promised by the caller; `instructions` returned the set only if the processor has it.
        unsafe {
            match instructions() {
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => x86::f32_avx512(tile),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => x86::f32_avx2(tile),
                _ => plain(tile),
            }
        }
    }

    #[inline(always)]
    fn dot(sum: f32, left: &[f32], right: &[f32]) -> f32 {
        sum + left[0] * right[0]
    }
}

impl Dot for Bf16 {
    type Left = bf16;
    type Right = bf16;
    type Sum = f32;
    const GROUP: usize = 2;

    unsafe fn tile(tile: &Tile<Self>) {
        // SAFETY: as promised by the caller; `has_bf16` said that the processor has it.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if has_bf16() {
                return x86::bf16_avx512(tile);
            }
            plain(tile);
        }
    }

    #[inline(always)]
    fn dot(sum: f32, left: &[bf16], right: &[bf16]) -> f32 {
        sum + left[0].widen() * right[0].widen() + left[1].widen() * right[1].widen()
    }
}

impl Dot for F64 {
    type Left = f64;
    type Right = f64;
    type Sum = f64;
    const GROUP: usize = 1;

    unsafe fn tile(tile: &Tile<Self>) {
        // SAFETY: as promised by the caller.
        unsafe { plain(tile) }
    }

    #[inline(always)]
    fn dot(sum: f64, left: &[f64], right: &[f64]) -> f64 {
        sum + left[0] * right[0]
    }
}

/// Whether products of `bf16` have instructions of their own here.
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        static PRESENT: OnceLock<bool> = OnceLock::new();
        *PRESENT.get_or_init(|| instructions() == Instructions::Avx512 && is_x86_feature_detected!("avx512bf16"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
