//! Micro-kernels: one tile of a product, at most [`ROWS`] rows by [`COLUMNS`] columns, whose sums stay in registers.
//!
//! Both factors are read as words of 32 bits: one `f32`, two `bf16` or four `i8`, adjacent along the inner extent. For each
//! word a kernel reads [`COLUMNS`] words of the right factor, which lie side by side in a panel, and one word of each row of
//! the left, which it repeats across a register. Every instruction set thus reads the same panels. The sums of one tile are
//! taken in the order of the inner extent.

use std::sync::OnceLock;

use super::{Bf16, Dot, F32, F64, Int8, Int8Blocks};
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

/// A tile for one instruction set: two registers of `$lanes` words in each of at most `$most` rows. `$write` gets where sums belong, the sums, whether
/// to add to what is there, what lies behind the words of the right factor, and the column.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    (
        $name:ident, $dot:ty, $features:literal, $lanes:literal, $most:literal, [$($n:literal)*],
        zero: $zero:expr, right: $right:expr, left: $left:expr, dot: $multiply:expr, write: $write:expr
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
                    let behind = tile.right.add(tile.words * COLUMNS * <$dot>::GROUP);
                    // Row by row and not in a loop: sums would leave their registers for it.
                    $(
                        if $n <= N {
                            let out = tile.sums.add((first + $n - 1) * tile.sums_row + column);
                            $write(out, sums[$n - 1][0], tile.add, behind, column);
                            $write(out.add($lanes), sums[$n - 1][1], tile.add, behind, column + $lanes);
                        }
                    )*
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

/// Two tiles of integers for one instruction set, which write their sums as they are and as [`Int8Blocks`] wants them.
#[cfg(target_arch = "x86_64")]
macro_rules! int8_tiles {
    (
        $name:ident, $blocks:ident, $features:literal, $lanes:literal, $most:literal, [$($n:literal)*],
        zero: $zero:expr, right: $right:expr, left: $left:expr, dot: $multiply:expr, write: $write:expr, write_scaled: $write_scaled:expr
    ) => {
        tile!($name, Int8, $features, $lanes, $most, [$($n)*],
            zero: $zero, right: $right, left: $left, dot: $multiply, write: $write);
        tile!($blocks, Int8Blocks, $features, $lanes, $most, [$($n)*],
            zero: $zero, right: $right, left: $left, dot: $multiply, write: $write_scaled);
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
    write: |out: *mut f32, sum, add, _, _| {
        _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum })
    });

    tile!(f32_avx2, F32, "avx2,fma", 8, 6, [1 2 3 4 5 6],
    zero: _mm256_setzero_ps(), right: |p: *const f32| _mm256_loadu_ps(p), left: |p: *const f32| _mm256_set1_ps(*p),
    dot: |sum, left, right| _mm256_fmadd_ps(left, right, sum),
    write: |out: *mut f32, sum, add, _, _| {
        _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), sum) } else { sum })
    });

    tile!(bf16_avx512, Bf16, "avx512f,avx512bf16", 16, 12, [1 2 3 4 5 6 7 8 9 10 11 12],
    zero: _mm512_setzero_ps(), right: |p: *const bf16| _mm512_loadu_ps(p.cast()),
    left: |p: *const bf16| _mm512_castsi512_ps(_mm512_set1_epi32(p.cast::<i32>().read_unaligned())),
    dot: |sum, left, right| _mm512_dpbf16_ps(sum, bf16s(left), bf16s(right)),
    write: |out: *mut f32, sum, add, _, _| {
        _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum })
    });

    int8_tiles!(int8_avx512_vnni, blocks_avx512_vnni, "avx512f,avx512vnni", 16, 12, [1 2 3 4 5 6 7 8 9 10 11 12],
    zero: _mm512_setzero_si512(), right: |p: *const i8| _mm512_loadu_si512(p.cast()),
    left: |p: *const u8| _mm512_set1_epi32(p.cast::<i32>().read_unaligned()),
    dot: |sum, left, right| _mm512_dpbusd_epi32(sum, left, right),
    write: |out: *mut i32, sum, add, _, _| {
        _mm512_storeu_si512(out.cast(), if add { _mm512_add_epi32(_mm512_loadu_si512(out.cast()), sum) } else { sum })
    },
    write_scaled: |out: *mut f32, sum, add, scales: *const i8, column| {
        let sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scales.cast::<f32>().add(column)));
        _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum })
    });

    int8_tiles!(int8_avx_vnni, blocks_avx_vnni, "avx2,avxvnni", 8, 6, [1 2 3 4 5 6],
    zero: _mm256_setzero_si256(), right: |p: *const i8| _mm256_loadu_si256(p.cast()),
    left: |p: *const u8| _mm256_set1_epi32(p.cast::<i32>().read_unaligned()),
    dot: |sum, left, right| _mm256_dpbusd_avx_epi32(sum, left, right),
    write: |out: *mut i32, sum, add, _, _| {
        _mm256_storeu_si256(out.cast(), if add { _mm256_add_epi32(_mm256_loadu_si256(out.cast()), sum) } else { sum })
    },
    write_scaled: |out: *mut f32, sum, add, scales: *const i8, column| {
        let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scales.cast::<f32>().add(column)));
        _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), sum) } else { sum })
    });

    // Without VNNI. `vpmaddubsw` would saturate at 16 bits: words are taken apart into their even and odd elements, each
    // widened to 16 bits in place, whose products `vpmaddwd` sums up in 32.

    int8_tiles!(int8_avx512, blocks_avx512, "avx512f,avx512bw", 16, 6, [1 2 3 4 5 6],
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
    write: |out: *mut i32, sum, add, _, _| {
        _mm512_storeu_si512(out.cast(), if add { _mm512_add_epi32(_mm512_loadu_si512(out.cast()), sum) } else { sum })
    },
    write_scaled: |out: *mut f32, sum, add, scales: *const i8, column| {
        let sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scales.cast::<f32>().add(column)));
        _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum })
    });

    int8_tiles!(int8_avx2, blocks_avx2, "avx2", 8, 4, [1 2 3 4],
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
    write: |out: *mut i32, sum, add, _, _| {
        _mm256_storeu_si256(out.cast(), if add { _mm256_add_epi32(_mm256_loadu_si256(out.cast()), sum) } else { sum })
    },
    write_scaled: |out: *mut f32, sum, add, scales: *const i8, column| {
        let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scales.cast::<f32>().add(column)));
        _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), sum) } else { sum })
    });

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn look_up_avx512(places: &[[u8; 64]], table: &[i8; 16], out: &mut [[i8; 128]]) {
        // SAFETY: the table is 16 bytes.
        let table = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast()) });
        let half = _mm512_set1_epi8(15);
        for (places, out) in places.iter().zip(out) {
            // SAFETY: 64 bytes are read, twice as many written, and both arrays hold as many.
            unsafe {
                let places = _mm512_loadu_si512(places.as_ptr().cast());
                let lower = _mm512_and_si512(places, half);
                let upper = _mm512_and_si512(_mm512_srli_epi16(places, 4), half);
                let out = out.as_mut_ptr();
                _mm512_storeu_si512(out.cast(), _mm512_shuffle_epi8(table, lower));
                _mm512_storeu_si512(out.add(64).cast(), _mm512_shuffle_epi8(table, upper));
            }
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn look_up_avx2(places: &[[u8; 64]], table: &[i8; 16], out: &mut [[i8; 128]]) {
        // SAFETY: the table is 16 bytes.
        let table = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) });
        let half = _mm256_set1_epi8(15);
        for (places, out) in places.iter().zip(out) {
            for part in [0, 32] {
                // SAFETY: 32 of 64 bytes are read, and as many of each 64 of 128 written.
                unsafe {
                    let places = _mm256_loadu_si256(places.as_ptr().add(part).cast());
                    let lower = _mm256_and_si256(places, half);
                    let upper = _mm256_and_si256(_mm256_srli_epi16(places, 4), half);
                    let out = out.as_mut_ptr().add(part);
                    _mm256_storeu_si256(out.cast(), _mm256_shuffle_epi8(table, lower));
                    _mm256_storeu_si256(out.add(64).cast(), _mm256_shuffle_epi8(table, upper));
                }
            }
        }
    }

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

/// The integers of `table` at places of 4 bits: of each 64 bytes, first those of the lower halves, then those of the upper ones.
///
/// # Panics
/// If `places` are no whole 64 bytes, or `out` has not two elements for each.
pub(super) fn look_up(places: &[u8], table: &[i8; 16], out: &mut [i8]) {
    let (places, rest) = places.as_chunks::<64>();
    let (out, more) = out.as_chunks_mut::<128>();
    assert!(
        rest.is_empty() && more.is_empty() && places.len() == out.len(),
        "two integers for each of 64 bytes"
    );
    #[cfg(target_arch = "x86_64")]
    match instructions() {
        // SAFETY: `instructions` returned the set only if the processor has it.
        Instructions::Avx512 => return unsafe { x86::look_up_avx512(places, table, out) },
        // SAFETY: as above.
        Instructions::Avx2 => return unsafe { x86::look_up_avx2(places, table, out) },
        Instructions::Portable => {}
    }
    look_up_plain(places, table, out);
}

fn look_up_plain(places: &[[u8; 64]], table: &[i8; 16], out: &mut [[i8; 128]]) {
    for (places, out) in places.iter().zip(out) {
        let (lower, upper) = out.split_at_mut(64);
        for ((&place, lower), upper) in places.iter().zip(lower).zip(upper) {
            *lower = table[usize::from(place & 15)];
            *upper = table[usize::from(place >> 4)];
        }
    }
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

impl Dot for Int8Blocks {
    type Left = u8;
    type Right = i8;
    type Sum = f32;
    const GROUP: usize = 4;

    unsafe fn tile(tile: &Tile<Self>) {
        // SAFETY: as for `Int8`.
        unsafe {
            match (instructions(), has_int8()) {
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx512, true) => x86::blocks_avx512_vnni(tile),
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx512, false) => x86::blocks_avx512(tile),
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx2, true) => x86::blocks_avx_vnni(tile),
                #[cfg(target_arch = "x86_64")]
                (Instructions::Avx2, false) => x86::blocks_avx2(tile),
                _ => plain_blocks(tile),
            }
        }
    }

    #[inline(always)]
    fn dot(sum: f32, left: &[u8], right: &[i8]) -> f32 {
        sum + Int8::dot(0, left, right) as f32
    }
}

/// A tile of [`Int8Blocks`] by plain loops.
///
/// # Safety
/// As for [`Dot::tile`].
unsafe fn plain_blocks(tile: &Tile<Int8Blocks>) {
    let mut products = [0i32; ROWS * COLUMNS];
    let integers = Tile::<Int8> {
        rows: tile.rows,
        words: tile.words,
        left: tile.left,
        left_row: tile.left_row,
        left_word: tile.left_word,
        right: tile.right,
        sums: products.as_mut_ptr(),
        sums_row: COLUMNS,
        add: false,
    };
    // SAFETY: as promised by the caller; `products` holds the sums of a tile. Behind the words lie the scales.
    unsafe {
        plain(&integers);
        let scales = tile
            .right
            .add(tile.words * COLUMNS * Int8Blocks::GROUP)
            .cast::<[f32; COLUMNS]>();
        let scales = scales.read_unaligned();
        for (row, products) in products.as_chunks::<COLUMNS>().0[..tile.rows].iter().enumerate() {
            for (column, &product) in products.iter().enumerate() {
                let (scaled, out) = (
                    product as f32 * scales[column],
                    tile.sums.add(row * tile.sums_row + column),
                );
                *out = if tile.add { *out + scaled } else { scaled };
            }
        }
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

    fn block_kernels() -> Vec<(&'static str, Kernel<Int8Blocks>)> {
        let mut kernels: Vec<(_, _, Kernel<Int8Blocks>)> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        kernels.extend([
            (
                "blocks_avx512_vnni",
                is_x86_feature_detected!("avx512vnni"),
                x86::blocks_avx512_vnni as Kernel<Int8Blocks>,
            ),
            (
                "blocks_avx_vnni",
                is_x86_feature_detected!("avxvnni"),
                x86::blocks_avx_vnni,
            ),
            (
                "blocks_avx512",
                is_x86_feature_detected!("avx512bw"),
                x86::blocks_avx512,
            ),
            ("blocks_avx2", is_x86_feature_detected!("avx2"), x86::blocks_avx2),
        ]);
        runnable(kernels)
    }

    /// The integers are exact and scaled alike, so the bits are the same.
    #[test]
    fn block_kernels_equal_the_plain_one() {
        #[repr(C)]
        struct Block {
            integers: [i8; 16 * COLUMNS * 4],
            scales: [f32; COLUMNS],
        }
        let mut random = Sequence::new(8, 1);
        let block = Block {
            integers: std::array::from_fn(|_| random.next_u64() as i8),
            scales: std::array::from_fn(|_| random.normal() as f32),
        };
        let left: Vec<u8> = (0..ROWS * 64).map(|_| random.next_u64() as u8).collect();
        let before: Vec<f32> = (0..ROWS * COLUMNS).map(|_| random.normal() as f32).collect();
        for (rows, add) in (1..=ROWS).flat_map(|rows| [(rows, false), (rows, true)]) {
            let run = |kernel: Kernel<Int8Blocks>| {
                let mut sums = before.clone();
                let tile = Tile::<Int8Blocks> {
                    rows,
                    words: 16,
                    left: left.as_ptr(),
                    left_row: 64,
                    left_word: 4,
                    right: std::ptr::from_ref(&block).cast(),
                    sums: sums.as_mut_ptr(),
                    sums_row: COLUMNS,
                    add,
                };
                // SAFETY: rows, words, scales and sums are all there, and `runnable` left out kernels that the processor can't run.
                unsafe { kernel(&tile) };
                sums
            };
            let expected = run(plain_blocks);
            assert_eq!(expected[rows * COLUMNS..], before[rows * COLUMNS..]);
            for (name, kernel) in block_kernels() {
                assert_eq!(run(kernel), expected, "{name}, {rows} rows");
            }
        }
    }

    #[test]
    fn places_are_looked_up_by_all_instructions() {
        let mut random = Sequence::new(7, 1);
        let table: [i8; 16] = std::array::from_fn(|_| random.next_u64() as i8);
        let places: Vec<[u8; 64]> = (0..5)
            .map(|_| std::array::from_fn(|_| random.next_u64() as u8))
            .collect();
        let mut expected = vec![[0; 128]; places.len()];
        look_up_plain(&places, &table, &mut expected);
        assert_eq!(expected[1][2], table[usize::from(places[1][2] & 15)]);
        let mut found = vec![0; places.len() * 128];
        look_up(places.as_flattened(), &table, &mut found);
        assert_eq!(found, expected.as_flattened());
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            let mut found = vec![[0; 128]; places.len()];
            // SAFETY: the processor has the instructions.
            unsafe { x86::look_up_avx2(&places, &table, &mut found) };
            assert_eq!(found, expected);
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
