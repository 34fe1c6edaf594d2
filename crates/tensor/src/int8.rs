//! Weights of 8 bits: whole numbers from −127 to 127, each row of them with a scale.
//!
//! A row is what makes one output of a product (symmetric quantisation by channel), or one entry of a table of embeddings. Inputs of
//! products are quantised when they come, row by row, to 0 ... 255 with a zero point ([`quantize_row`]), as most of what stands behind an
//! activation is of one sign. Then Σ (a − z) s · w t = s t (Σ a w − z Σ w): the integers are exact on every processor.
//!
//! Not here: the products (`ops/packed_linear.rs`).

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::{Float, Real};

/// The largest integer.
const MOST: f32 = 127.0;

/// Rows of 8-bit integers with a scale each.
#[derive(Clone)]
pub struct Int8Rows {
    columns: usize,
    values: Buffer<i8>,
    scales: Buffer<f32>,
}

impl Int8Rows {
    /// The nearest there is, for rows of `columns` numbers. What is no number becomes 0.
    pub fn quantize(values: &[f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        let mut quantized = Self {
            columns,
            values: Buffer::lasting_zeros(rows * columns),
            scales: Buffer::lasting_zeros(rows),
        };
        quantized
            .values
            .par_chunks_mut(columns.max(1))
            .zip(values.par_chunks(columns.max(1)))
            .zip(&mut *quantized.scales)
            .for_each(|((out, values), scale)| {
                let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                *scale = if largest.is_finite() { largest / MOST } else { 0.0 };
                let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
                for (out, value) in out.iter_mut().zip(values) {
                    *out = (value * inverse).round_ties_even().clamp(-MOST, MOST) as i8;
                }
            });
        quantized
    }

    /// Rows as they were stored; `None` if there is not a scale for each.
    pub fn from_parts(values: Vec<i8>, scales: Vec<f32>, columns: usize) -> Option<Self> {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        (rows == scales.len() && rows * columns == values.len()).then(|| Self {
            columns,
            values: values.into(),
            scales: scales.into(),
        })
    }

    /// Numbers of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The integers, row by row.
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// What the integers of each row are multiplied by.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The integers of a row.
    pub fn row(&self, row: usize) -> &[i8] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// Bytes that are taken, but for what storage is rounded up by.
    pub fn bytes(&self) -> usize {
        self.values.len() + self.scales.len() * size_of::<f32>()
    }

    /// Writes the numbers from `first` on, of one row, to `out`.
    #[inline(always)]
    pub(crate) fn read<R: Real>(&self, first: usize, out: &mut [R]) {
        let Some(row) = first.checked_div(self.columns).filter(|_| !out.is_empty()) else {
            return;
        };
        let scale = self.scales[row];
        for (out, &value) in out.iter_mut().zip(&self.values[first..]) {
            *out = R::from_f64(f64::from(f32::from(value) * scale));
        }
    }

    /// All numbers.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0f32; self.values.len()];
        let rows = values.par_chunks_mut(self.columns.max(1)).enumerate();
        rows.for_each(|(row, values)| self.read(row * self.columns, values));
        values
    }
}

/// How a row of inputs was quantised: the number for `a` is `(a − zero) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowScale {
    pub scale: f32,
    pub zero: i32,
}

/// Quantises a row to 0 ... 255: the smallest and the largest number, and 0 between them, are hit within half a step. `out` may be longer than
/// the row: the rest is for words that are filled up, and gets whatever is multiplied by 0.
#[inline(always)]
pub(crate) fn quantize_row<S: Float<Real = f32>>(row: &[S], out: &mut [u8]) -> RowScale {
    // Lanes of their own, since a single minimum is a chain.
    let (mut least, mut most) = ([0.0f32; 16], [0.0f32; 16]);
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for ((least, most), value) in least.iter_mut().zip(&mut most).zip(chunk) {
            let value = value.widen();
            *least = if value < *least { value } else { *least };
            *most = if value > *most { value } else { *most };
        }
    }
    for value in rest {
        let value = value.widen();
        least[0] = if value < least[0] { value } else { least[0] };
        most[0] = if value > most[0] { value } else { most[0] };
    }
    let least = least.iter().fold(0.0f32, |one, other| one.min(*other));
    let most = most.iter().fold(0.0f32, |one, other| one.max(*other));
    let range = most - least;
    if !(range > 0.0 && range.is_finite()) {
        out.fill(0);
        return RowScale { scale: 0.0, zero: 0 };
    }
    let (scale, inverse) = (range / 255.0, 255.0 / range);
    let zero = (-least * inverse).round_ties_even();
    // Added to a number of up to 2^22, this leaves the nearest integer in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let (of_row, filler) = out.split_at_mut(row.len());
    for (out, value) in of_row.iter_mut().zip(row) {
        let value = (value.widen() * inverse + zero).clamp(0.0, 255.0);
        *out = (value + SHIFT).to_bits() as u8;
    }
    filler.fill(0);
    RowScale {
        scale,
        zero: zero as i32,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bf16;

    proptest! {
        #[test]
        fn weights_are_within_half_a_step(values in prop::collection::vec(-1e3f32..1e3, 1..60), rows in 1usize..5) {
            let columns = values.len();
            let all: Vec<f32> = (0..rows).flat_map(|row| values.iter().map(move |value| value * (row as f32 - 1.5))).collect();
            let quantized = Int8Rows::quantize(&all, columns);
            for (row, (values, scale)) in all.chunks(columns).zip(quantized.scales()).enumerate() {
                prop_assert!(quantized.row(row).iter().all(|value| *value > -128));
                for (value, found) in values.iter().zip(&quantized.to_f32_vec()[row * columns..]) {
                    prop_assert!((value - found).abs() <= scale * 0.5001, "{} {}", value, found);
                }
            }
        }

        #[test]
        fn inputs_are_within_half_a_step(values in prop::collection::vec(-50f32..500.0, 1..70), shift in -600f32..100.0) {
            let row: Vec<f32> = values.iter().map(|value| value + shift).collect();
            let mut out = vec![7u8; row.len() + 3];
            let RowScale { scale, zero } = quantize_row(&row, &mut out);
            for (value, found) in row.iter().zip(&out) {
                let found = (i32::from(*found) - zero) as f32 * scale;
                // The zero point is rounded too.
                prop_assert!((value - found).abs() <= scale * 1.001 + value.abs() * 1e-5, "{} {}", value, found);
            }
            prop_assert_eq!(&out[row.len()..], [0; 3]);
        }
    }

    #[test]
    fn what_cannot_be_scaled_is_zero() {
        for row in [vec![0.0f32; 5], vec![f32::INFINITY, 1.0], vec![], vec![f32::NAN; 3]] {
            let mut out = vec![1u8; row.len()];
            assert_eq!(quantize_row(&row, &mut out).scale, 0.0, "{row:?}");
            assert!(out.iter().all(|&value| value == 0));
        }
        let rows = Int8Rows::quantize(&[0.0, 0.0, f32::INFINITY, 1.0], 2);
        assert_eq!(rows.to_f32_vec(), [0.0; 4]);
        assert_eq!(Int8Rows::quantize(&[], 4).bytes(), 0);
    }

    #[test]
    fn narrow_inputs_are_those_of_wide_ones() {
        let row: Vec<bf16> = (0..37)
            .map(|index| bf16::from_f64(f64::from(index) * 0.37 - 5.0))
            .collect();
        let wide: Vec<f32> = row.iter().map(|value| value.widen()).collect();
        let (mut one, mut other) = (vec![0u8; 40], vec![0u8; 40]);
        assert_eq!(quantize_row(&row, &mut one), quantize_row(&wide, &mut other));
        assert_eq!(one, other);
    }

    #[test]
    fn parts_must_fit() {
        assert!(Int8Rows::from_parts(vec![1; 6], vec![0.5; 2], 3).is_some());
        assert!(Int8Rows::from_parts(vec![1; 6], vec![0.5; 3], 3).is_none());
        assert!(Int8Rows::from_parts(vec![1; 7], vec![0.5; 2], 3).is_none());
    }
}
