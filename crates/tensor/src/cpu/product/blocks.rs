//! Products with a right factor of 4 bits: columns are cut into blocks of [`BLOCK`] elements, each with a scale, and an element is a place in a table of 16
//! integers. A block is looked up where it is needed, multiplied as integers, and its sums are scaled and added up in `f32`: so the factor takes 4 bits and a
//! scale in memory, and each of its blocks is looked up once for all rows of a block of the product.

use rayon::prelude::*;

use super::kernels::look_up;
use super::{COLUMNS, Dot, Int8, Int8Blocks, Left, Lines, Out, ROWS, Tile, in_blocks};
use crate::buffer::Buffer;

/// Elements along the inner extent that share a scale.
pub const BLOCK: usize = 64;

/// Words of a block.
const WORDS: usize = BLOCK / Int8::GROUP;

/// Elements of a block of a panel: the words of its columns side by side, as in [`Panels`](super::Panels).
const ELEMENTS: usize = BLOCK * COLUMNS;

/// Blocks of a panel that are looked up at a time: they stay in the first-level cache while all rows pass by them.
const LOOKED: usize = 6;

/// Integers that bytes of two places stand for, 64 of each half after the other: see [`look_up`].
const HALF: usize = 64;

/// A packed right factor of 4 bits.
pub struct BlockPanels {
    /// Two elements a byte.
    places: Buffer<u8>,
    /// For each block of each panel, those of its columns.
    scales: Buffer<f32>,
    table: [i8; 16],
    lines: Lines,
}

impl BlockPanels {
    /// Packs `columns` columns of `inner` elements, which must be whole blocks. `place(column, element)` is a place in `table`, `scale(column, block)` what its
    /// integers are multiplied by.
    pub fn new(
        [columns, inner]: [usize; 2],
        table: [i8; 16],
        place: impl Fn(usize, usize) -> u8 + Sync,
        scale: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        assert!(inner.is_multiple_of(BLOCK), "{inner} elements are no whole blocks");
        let (panels, blocks) = (columns.div_ceil(COLUMNS), inner / BLOCK);
        let mut places = Buffer::lasting_zeros(panels * blocks * ELEMENTS / 2);
        let mut scales = Buffer::lasting_zeros(panels * blocks * COLUMNS);
        let pack = |(index, (places, scales)): (usize, (&mut [u8], &mut [f32]))| {
            let (panel, block) = (index / blocks, index % blocks);
            let first = panel * COLUMNS;
            // Missing columns are zeros: whatever their elements are, their scale is 0.
            for (column, out) in (first..columns).zip(scales) {
                *out = scale(column, block);
            }
            let element = |word: usize, position: usize| {
                let column = first + position / Int8::GROUP;
                let element = block * BLOCK + word * Int8::GROUP + position % Int8::GROUP;
                if column < columns { place(column, element) } else { 0 }
            };
            for (word, places) in places.chunks_exact_mut(HALF).enumerate() {
                for (position, out) in places.iter_mut().enumerate() {
                    *out = element(word, position) | element(word, position + HALF) << 4;
                }
            }
        };
        places
            .par_chunks_mut(ELEMENTS / 2)
            .zip(scales.par_chunks_mut(COLUMNS))
            .enumerate()
            .for_each(pack);
        let lines = Lines {
            count: columns,
            inner,
            group: Int8::GROUP,
        };
        Self {
            places,
            scales,
            table,
            lines,
        }
    }

    /// Bytes that are taken, but for what storage is rounded up by.
    pub fn bytes(&self) -> usize {
        self.places.len() + size_of_val(&self.scales[..])
    }

    /// The bytes and the scales of a block of a panel.
    fn block(&self, panel: usize, block: usize) -> (&[u8], &[f32]) {
        let index = panel * (self.lines.inner / BLOCK) + block;
        (
            &self.places[index * ELEMENTS / 2..][..ELEMENTS / 2],
            &self.scales[index * COLUMNS..][..COLUMNS],
        )
    }
}

/// left · right as [`multiply`](super::multiply), with sums in `f32`. The left factor must be rows as they stand in a matrix.
///
/// # Panics
/// If the extents do not fit.
pub fn multiply_blocks<O: Send>(
    left: Left<'_, Int8>,
    right: &BlockPanels,
    out: Out<'_, O>,
    finish: impl Fn(usize, usize, &[f32], &mut [O]) + Sync,
) {
    assert!(left.words == right.lines.words(), "inner extents differ");
    assert!(left.word == Int8::GROUP, "the left factor is packed");
    let sum = |rows: [usize; 2], panels: [usize; 2], sums: &mut [f32]| sum_up(left, right, rows, panels, sums);
    in_blocks([left.rows, right.lines.count], out, sum, finish);
}

/// Bytes of a block of a panel as a tile reads it: its integers, and the scales of its columns behind them.
const LOOKED_BYTES: usize = ELEMENTS + COLUMNS * size_of::<f32>();

/// The sums of a block of the product: rows and panels, each as first and count.
fn sum_up(
    left: Left<'_, Int8>,
    right: &BlockPanels,
    [first, rows]: [usize; 2],
    [first_panel, panels]: [usize; 2],
    sums: &mut [f32],
) {
    let (width, blocks) = (panels * COLUMNS, right.lines.inner / BLOCK);
    if blocks == 0 {
        sums.fill(0.0);
        return;
    }
    let mut looked = Buffer::<i8>::scratch(LOOKED * LOOKED_BYTES);
    // Close together while they are added to: rows of `sums` may push each other out of the cache.
    let mut of_panel = Buffer::<f32>::scratch(rows * COLUMNS);
    for panel in 0..panels {
        for start in (0..blocks).step_by(LOOKED) {
            let count = LOOKED.min(blocks - start);
            for (looked, block) in looked.chunks_exact_mut(LOOKED_BYTES).zip(start..start + count) {
                let (places, scales) = right.block(first_panel + panel, block);
                let (integers, behind) = looked.split_at_mut(ELEMENTS);
                look_up(places, &right.table, integers);
                for (behind, scale) in behind.as_chunks_mut::<4>().0.iter_mut().zip(scales) {
                    *behind = scale.to_ne_bytes().map(|byte| byte as i8);
                }
            }
            for row in (0..rows).step_by(ROWS) {
                for (looked, block) in looked.chunks_exact(LOOKED_BYTES).zip(start..start + count) {
                    let tile = Tile::<Int8Blocks> {
                        rows: ROWS.min(rows - row),
                        words: WORDS,
                        left: left.data[(first + row) * left.row + block * BLOCK..].as_ptr(),
                        left_row: left.row,
                        left_word: left.word,
                        right: looked.as_ptr(),
                        sums: of_panel[row * COLUMNS..].as_mut_ptr(),
                        sums_row: COLUMNS,
                        add: block > 0,
                    };
                    // SAFETY: the left factor holds these rows with all words, as was checked when it was made; `looked` holds the words of all columns of
                    // a panel and their scales behind them, and `of_panel` a row of sums for each row.
                    unsafe { Int8Blocks::tile(&tile) };
                }
            }
        }
        for (sums, of_panel) in sums.chunks_mut(width).zip(of_panel.as_chunks::<COLUMNS>().0) {
            sums[panel * COLUMNS..][..COLUMNS].copy_from_slice(of_panel);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Sequence;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn equals_the_triple_loop(rows in 0usize..70, blocks in 0usize..5, columns in 0usize..70, seed in any::<u64>()) {
            let inner = blocks * BLOCK;
            let mut random = Sequence::new(seed, 3);
            let left: Vec<u8> = (0..rows * inner).map(|_| random.next_u64() as u8).collect();
            let places: Vec<u8> = (0..columns * inner).map(|_| random.below(16) as u8).collect();
            let scales: Vec<f32> = (0..columns * blocks).map(|_| random.normal() as f32).collect();
            let table: [i8; 16] = std::array::from_fn(|_| random.next_u64() as i8);
            let place = |column: usize, element: usize| places[column * inner + element];
            let scale = |column: usize, block: usize| scales[column * blocks + block];
            let right = BlockPanels::new([columns, inner], table, place, scale);
            let mut out = vec![0.0f32; rows * columns];
            multiply_blocks(
                Left::rows(&left, rows, inner, inner),
                &right,
                Out::new(&mut out, rows, columns),
                |_, _, sums, out| out.copy_from_slice(sums),
            );
            for (index, &found) in out.iter().enumerate() {
                let (row, column) = (index / columns, index % columns);
                // In the same order: the same bits, whatever the instructions.
                let expected = (0..blocks).fold(0.0f32, |sum, block| {
                    let elements = block * BLOCK..(block + 1) * BLOCK;
                    let products = elements.map(|element| {
                        i32::from(left[row * inner + element]) * i32::from(table[usize::from(place(column, element))])
                    });
                    sum + scale(column, block) * products.sum::<i32>() as f32
                });
                prop_assert_eq!(found, expected, "({}, {}) of {}x{}x{}", row, column, rows, inner, columns);
            }
        }
    }
}
