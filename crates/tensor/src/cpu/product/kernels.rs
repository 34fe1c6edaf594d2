//! Micro-kernels: one tile of a product, at most [`ROWS`] rows by [`COLUMNS`] columns, whose sums stay in registers.
//!
//! Both factors are read as words of 32 bits: one `f32`, two `bf16` or four `i8`, adjacent along the inner extent. For each
//! word a kernel reads [`COLUMNS`] words of the right factor, which lie side by side in a panel, and one word of each row of
//! the left, which it repeats across a register. Every instruction set thus reads the same panels. The sums of one tile are
//! taken in the order of the inner extent.

use std::sync::OnceLock;

use super::{Bf16, Dot, F32, F64, Int8};
use crate::cpu::{Instructions, instructions, vectorised};
use crate::{Float, bf16};

/// Rows of a tile: with two registers for each row, as many as 32 registers hold beside what is being read.
pub const ROWS: usize = 12;

/// Columns of a tile and of a panel: two registers of 16 words.
pub const COLUMNS: usize = 32;

/// Where a tile reads and writes.
pub struct Tile<D: Dot> {
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

/// How many bytes of a panel are fetched ahead of what is being read: about 200 cycles' worth.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 1024;

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
                    // Sums lie in the second-level cache: by the end of the tile they are here.
                    for row in 0..N {
                        let out = tile.sums.add((first + row) * tile.sums_row + column);
                        _mm_prefetch::<_MM_HINT_T0>(out.cast());
                        _mm_prefetch::<_MM_HINT_T0>(out.add($lanes).cast());
                    }
                    let mut sums = [[$zero; 2]; N];
                    let mut right = tile.right.add(column * <$dot>::GROUP);
                    let mut left = tile.left.add(first * tile.left_row);
                    for _ in 0..tile.words {
                        // Beyond the end of the panel this is only a hint, and harmless.
                        let ahead = right.cast::<i8>().wrapping_add(AHEAD);
                        _mm_prefetch::<_MM_HINT_T0>(ahead);
                        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
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

    tile!(int8_avx512_vnni, Int8, "avx512f,avx512vnni", 16, 12, [1 2 3 4 5 6 7 8 9 10 11 12],
        zero: _mm512_setzero_si512(), right: |p: *const i8| _mm512_loadu_si512(p.cast()),
        left: |p: *const u8| _mm512_set1_epi32(p.cast::<i32>().read_unaligned()),
        dot: |sum, left, right| _mm512_dpbusd_epi32(sum, left, right),
        load: |p: *const i32| _mm512_loadu_si512(p.cast()), add: |a, b| _mm512_add_epi32(a, b),
        store: |p: *mut i32, v| _mm512_storeu_si512(p.cast(), v));

    tile!(int8_avx_vnni, Int8, "avx2,avxvnni", 8, 6, [1 2 3 4 5 6],
        zero: _mm256_setzero_si256(), right: |p: *const i8| _mm256_loadu_si256(p.cast()),
        left: |p: *const u8| _mm256_set1_epi32(p.cast::<i32>().read_unaligned()),
        dot: |sum, left, right| _mm256_dpbusd_avx_epi32(sum, left, right),
        load: |p: *const i32| _mm256_loadu_si256(p.cast()), add: |a, b| _mm256_add_epi32(a, b),
        store: |p: *mut i32, v| _mm256_storeu_si256(p.cast(), v));

    // Without VNNI. `vpmaddubsw` would saturate at 16 bits: words are taken apart into their even and odd elements, each
    // widened to 16 bits in place, whose products `vpmaddwd` sums up in 32.

    tile!(int8_avx512, Int8, "avx512f,avx512bw", 16, 6, [1 2 3 4 5 6],
        zero: _mm512_setzero_si512(),
        right: |p: *const i8| {
            let words = _mm512_loadu_si512(p.cast());
            [_mm512_srai_epi16(_mm512_slli_epi16(words, 8), 8), _mm512_srai_epi16(words, 8)]
        },
        left: |p: *const u8| {
            let words = _mm512_set1_epi32(p.cast::<i32>().read_unaligned());
            [_mm512_and_si512(words, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(words, 8)]
        },
        dot: |sum, left: [__m512i; 2], right: [__m512i; 2]| _mm512_add_epi32(
            _mm512_add_epi32(sum, _mm512_madd_epi16(left[0], right[0])), _mm512_madd_epi16(left[1], right[1])),
        load: |p: *const i32| _mm512_loadu_si512(p.cast()), add: |a, b| _mm512_add_epi32(a, b),
        store: |p: *mut i32, v| _mm512_storeu_si512(p.cast(), v));

    tile!(int8_avx2, Int8, "avx2", 8, 4, [1 2 3 4],
        zero: _mm256_setzero_si256(),
        right: |p: *const i8| {
            let words = _mm256_loadu_si256(p.cast());
            [_mm256_srai_epi16(_mm256_slli_epi16(words, 8), 8), _mm256_srai_epi16(words, 8)]
        },
        left: |p: *const u8| {
            let words = _mm256_set1_epi32(p.cast::<i32>().read_unaligned());
            [_mm256_and_si256(words, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(words, 8)]
        },
        dot: |sum, left: [__m256i; 2], right: [__m256i; 2]| _mm256_add_epi32(
            _mm256_add_epi32(sum, _mm256_madd_epi16(left[0], right[0])), _mm256_madd_epi16(left[1], right[1])),
        load: |p: *const i32| _mm256_loadu_si256(p.cast()), add: |a, b| _mm256_add_epi32(a, b),
        store: |p: *mut i32, v| _mm256_storeu_si256(p.cast(), v));

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

impl Dot for Int8 {
    type Left = u8;
    type Right = i8;
    type Sum = i32;
    const GROUP: usize = 4;

    unsafe fn tile(tile: &Tile<Self>) {
        // SAFETY: as promised by the caller; `instructions` returned the set only if the processor has it, and `has_int8` said
        // whether it has the instructions beyond.
        unsafe {
            match (instructions(), has_int8()) {
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx512, true) => x86::int8_avx512_vnni(tile),
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx512, false) => x86::int8_avx512(tile),
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx2, true) => x86::int8_avx_vnni(tile),
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx2, false) => x86::int8_avx2(tile),
                _ => plain(tile),
            }
        }
    }

    #[inline(always)]
    fn dot(sum: i32, left: &[u8], right: &[i8]) -> i32 {
        left.iter()
            .zip(right)
            .fold(sum, |sum, (&left, &right)| sum.wrapping_add(left as i32 * right as i32))
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

/// Whether products of `u8` and `i8` have instructions of their own here.
pub fn has_int8() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        static PRESENT: OnceLock<bool> = OnceLock::new();
        *PRESENT.get_or_init(|| match instructions() {
            Instructions::Avx512 => is_x86_feature_detected!("avx512vnni"),
            Instructions::Avx2 => is_x86_feature_detected!("avxvnni"),
            Instructions::Portable => false,
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    /// A way to compute tiles, whatever `GAREUM_CPU` says.
    type Kernel<D> = unsafe fn(&Tile<D>);

    /// Those of `kernels` that this processor can run. Prints the others.
    fn runnable<D: Dot>(kernels: Vec<(&'static str, bool, Kernel<D>)>) -> Vec<(&'static str, Kernel<D>)> {
        let missing = kernels.iter().filter(|(_, present, _)| !present);
        missing.for_each(|(name, ..)| println!("not tested, the processor lacks its instructions: {name}"));
        let present = kernels.into_iter().filter(|(_, present, _)| *present);
        present.map(|(name, _, kernel)| (name, kernel)).collect()
    }

    fn f32_kernels() -> Vec<(&'static str, Kernel<F32>)> {
        let mut kernels: Vec<(_, _, Kernel<F32>)> = vec![("plain", true, plain)];
        #[cfg(target_arch = "x86_64")]
        kernels.extend([
            (
                "f32_avx512",
                is_x86_feature_detected!("avx512f"),
                x86::f32_avx512 as Kernel<F32>,
            ),
            (
                "f32_avx2",
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                x86::f32_avx2,
            ),
        ]);
        runnable(kernels)
    }

    fn bf16_kernels() -> Vec<(&'static str, Kernel<Bf16>)> {
        let mut kernels: Vec<(_, _, Kernel<Bf16>)> = vec![("plain", true, plain)];
        #[cfg(target_arch = "x86_64")]
        kernels.push(("bf16_avx512", is_x86_feature_detected!("avx512bf16"), x86::bf16_avx512));
        runnable(kernels)
    }

    fn int8_kernels() -> Vec<(&'static str, Kernel<Int8>)> {
        let mut kernels: Vec<(_, _, Kernel<Int8>)> = vec![("plain", true, plain)];
        #[cfg(target_arch = "x86_64")]
        kernels.extend([
            (
                "int8_avx512_vnni",
                is_x86_feature_detected!("avx512vnni"),
                x86::int8_avx512_vnni as Kernel<Int8>,
            ),
            ("int8_avx_vnni", is_x86_feature_detected!("avxvnni"), x86::int8_avx_vnni),
            ("int8_avx512", is_x86_feature_detected!("avx512bw"), x86::int8_avx512),
            ("int8_avx2", is_x86_feature_detected!("avx2"), x86::int8_avx2),
        ]);
        runnable(kernels)
    }

    /// Runs a kernel at every number of rows, on rows as they stand in a matrix and on packed ones, and hands every sum to
    /// `compare` beside its exact value. What lies around the sums must stay as it is.
    fn check<D: Dot>(
        (name, kernel): (&str, Kernel<D>),
        mut left_value: impl FnMut() -> D::Left,
        mut right_value: impl FnMut() -> D::Right,
        sum_value: impl Fn(usize) -> D::Sum,
        exact: impl Fn(D::Sum, &[D::Left], &[D::Right]) -> f64,
        compare: impl Fn(D::Sum, f64, usize) -> bool,
    ) {
        const SUMS_ROW: usize = COLUMNS + 5;
        let group = D::GROUP;
        for (rows, words) in (1..=ROWS).flat_map(|rows| [0, 1, 2, 37, 256].map(|words| (rows, words))) {
            // Two elements unused at the end of each row.
            let strides = [(words * group + 2, group), (group, ROWS * group)];
            for ((left_row, left_word), add) in strides.into_iter().flat_map(|stride| [(stride, false), (stride, true)])
            {
                let left: Vec<D::Left> = (0..ROWS * (words + 2) * group).map(|_| left_value()).collect();
                let right: Vec<D::Right> = (0..words * COLUMNS * group).map(|_| right_value()).collect();
                let before: Vec<D::Sum> = (0..(ROWS + 1) * SUMS_ROW).map(&sum_value).collect();
                let mut sums = before.clone();
                let tile = Tile::<D> {
                    rows,
                    words,
                    left: left.as_ptr(),
                    left_row,
                    left_word,
                    right: right.as_ptr(),
                    sums: sums.as_mut_ptr(),
                    sums_row: SUMS_ROW,
                    add,
                };
                // SAFETY: the vectors hold `ROWS` rows of all words in either order, and `runnable` left out kernels that
                // the processor can't run.
                unsafe { kernel(&tile) };
                for (place, (&found, &before)) in sums.iter().zip(&before).enumerate() {
                    let (row, column) = (place / SUMS_ROW, place % SUMS_ROW);
                    if row >= rows || column >= COLUMNS {
                        assert_eq!(found, before, "{name} wrote to ({row}, {column}) of {rows} rows");
                        continue;
                    }
                    let mut expected = exact(if add { before } else { D::Sum::default() }, &[], &[]);
                    for word in 0..words {
                        let left = &left[row * left_row + word * left_word..][..group];
                        let right = &right[(word * COLUMNS + column) * group..][..group];
                        expected += exact(D::Sum::default(), left, right);
                    }
                    assert!(
                        compare(found, expected, words * group),
                        "{name}, {rows} rows, {words} words, ({row}, {column}): {found:?} instead of {expected}"
                    );
                }
            }
        }
    }

    fn close(found: f32, expected: f64, inner: usize) -> bool {
        (found as f64 - expected).abs() <= 1e-6 * (inner as f64 + 2.0)
    }

    #[test]
    fn f32_kernels_equal_the_exact_sums() {
        for kernel in f32_kernels() {
            let (mut a, mut b) = (Sequence::new(1, 1), Sequence::new(2, 1));
            check::<F32>(
                kernel,
                || a.normal() as f32,
                || b.normal() as f32,
                |place| place as f32 / 64.0,
                |sum, left, right| {
                    left.iter()
                        .zip(right)
                        .fold(sum as f64, |sum, (&a, &b)| sum + a as f64 * b as f64)
                },
                |found, expected, inner| close(found, expected, inner + 20),
            );
        }
    }

    #[test]
    fn bf16_kernels_equal_the_exact_sums() {
        for kernel in bf16_kernels() {
            let (mut a, mut b) = (Sequence::new(3, 1), Sequence::new(4, 1));
            check::<Bf16>(
                kernel,
                || bf16::from_f64(a.normal()),
                || bf16::from_f64(b.normal()),
                |place| place as f32 / 64.0,
                |sum, left, right| {
                    left.iter()
                        .zip(right)
                        .fold(sum as f64, |sum, (&a, &b)| sum + a.to_f64() * b.to_f64())
                },
                |found, expected, inner| close(found, expected, inner + 20),
            );
        }
    }

    #[test]
    fn int8_kernels_equal_the_exact_sums() {
        // Any values, and those at which 16 bits would overflow.
        for extreme in [false, true] {
            for kernel in int8_kernels() {
                let (mut a, mut b) = (Sequence::new(5, 1), Sequence::new(6, 1));
                check::<Int8>(
                    kernel,
                    || if extreme { 255 } else { a.next_u64() as u8 },
                    || {
                        if extreme {
                            [-128, 127][b.below(20) / 19]
                        } else {
                            b.next_u64() as i8
                        }
                    },
                    |place| place as i32 * 1_000_003 - 90_000_000,
                    |sum, left, right| {
                        let products = left.iter().zip(right).map(|(&a, &b)| a as i64 * b as i64);
                        (sum as i64 + products.sum::<i64>()) as f64
                    },
                    |found, expected, _| found as f64 == expected,
                );
            }
        }
    }
}
