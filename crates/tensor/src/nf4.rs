//! NF4 with double quantisation: frozen weights of 4 bits and a little (Dettmers et al. 2023, QLoRA, arXiv:2305.14314), in the
//! format of bitsandbytes.
//!
//! Every 64 numbers are divided by the largest of them in magnitude, and what is left is the nearest of 16 numbers, the quantiles
//! of a normal distribution. These largest magnitudes, less their mean, are in turn quantised to 8 bits in blocks of 256, with
//! tables of numbers that are denser about zero (Dettmers et al. 2022, arXiv:2110.02861): 4.13 bits a number in all.
//!
//! Not here: products, which read rows of numbers as they pack them (`ops/linear.rs`) or multiply integers (`ops/packed_linear.rs`).

use std::sync::LazyLock;

use rayon::prelude::*;

use crate::Real;
use crate::buffer::Buffer;

const BLOCK: usize = Nf4::BLOCK;

const NESTED_BLOCK: usize = Nf4::NESTED_BLOCK;

/// What 4 bits stand for.
const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// What a byte with two numbers stands for: the first one is in its upper half.
static PAIRS: LazyLock<[[f32; 2]; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| [CODE[byte >> 4], CODE[byte & 15]]));

/// What the 8 bits of a scale stand for.
static NESTED_CODE: LazyLock<[f32; 256]> = LazyLock::new(|| {
    let mut code = vec![0.0, 1.0];
    for exponent in 0..7 {
        let boundaries = (1 << exponent) + 1;
        let step = (1.0 - 0.1f32) / (boundaries - 1) as f32;
        let boundary = |index: usize| match index < boundaries / 2 {
            true => step.mul_add(index as f32, 0.1),
            false => step.mul_add(-((boundaries - 1 - index) as f32), 1.0),
        };
        let scale = 10f64.powi(exponent - 6) as f32;
        for index in 0..boundaries - 1 {
            let mean = (boundary(index) + boundary(index + 1)) / 2.0;
            code.extend([scale * mean, -scale * mean]);
        }
    }
    code.sort_by(f32::total_cmp);
    std::array::from_fn(|index| code[index])
});

/// Numbers of 4 bits.
#[derive(Clone)]
pub struct Nf4 {
    len: usize,
    /// Two numbers a byte.
    packed: Buffer<u8>,
    /// Of each block, quantised.
    scales: Buffer<u8>,
    /// Of each block of scales.
    nested_scales: Buffer<f32>,
    /// What scales are counted from.
    offset: f32,
}

impl Nf4 {
    /// Numbers that share a scale.
    pub const BLOCK: usize = 64;

    /// Scales that share one.
    pub const NESTED_BLOCK: usize = 256;

    /// The nearest there is.
    pub fn quantize(values: &[f32]) -> Self {
        let mut packed = Buffer::lasting_zeros(values.len().div_ceil(2));
        let mut magnitudes = vec![0.0f32; values.len().div_ceil(BLOCK)];
        packed
            .par_chunks_mut(BLOCK / 2)
            .zip(values.par_chunks(BLOCK))
            .zip(&mut magnitudes)
            .for_each(|((packed, values), magnitude)| *magnitude = quantize_block(values, packed));
        let mean = magnitudes.iter().map(|&value| f64::from(value)).sum::<f64>() / magnitudes.len().max(1) as f64;
        let offset = mean as f32;
        let mut scales = Buffer::lasting_zeros(magnitudes.len());
        let mut nested_scales = Buffer::lasting_zeros(magnitudes.len().div_ceil(NESTED_BLOCK));
        let bounds: Vec<f32> = NESTED_CODE.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        let blocks = scales.chunks_mut(NESTED_BLOCK).zip(magnitudes.chunks(NESTED_BLOCK));
        for ((scales, magnitudes), nested) in blocks.zip(nested_scales.iter_mut()) {
            let shifted: Vec<f32> = magnitudes.iter().map(|magnitude| magnitude - offset).collect();
            *nested = largest(&shifted);
            let inverse = 1.0 / nested.max(SMALLEST);
            for (scale, shifted) in scales.iter_mut().zip(shifted) {
                let shifted = (shifted * inverse).clamp(-1.0, 1.0);
                *scale = bounds.partition_point(|&bound| bound < shifted) as u8;
            }
        }
        Self {
            len: values.len(),
            packed,
            scales,
            nested_scales,
            offset,
        }
    }

    /// Numbers as they were stored; `None` if there is not a byte for each two of them, a scale for each [`BLOCK`](Self::BLOCK), and one for each
    /// [`NESTED_BLOCK`](Self::NESTED_BLOCK) of those.
    pub fn from_parts(
        len: usize,
        packed: Vec<u8>,
        scales: Vec<u8>,
        nested_scales: Vec<f32>,
        offset: f32,
    ) -> Option<Self> {
        let fits = packed.len() == len.div_ceil(2)
            && scales.len() == len.div_ceil(BLOCK)
            && nested_scales.len() == scales.len().div_ceil(NESTED_BLOCK);
        fits.then(|| Self {
            len,
            packed: packed.into(),
            scales: scales.into(),
            nested_scales: nested_scales.into(),
            offset,
        })
    }

    /// Two numbers a byte, the first one in its upper half.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The scales of the blocks, of 8 bits.
    pub fn scales(&self) -> &[u8] {
        &self.scales
    }

    /// What blocks of scales are multiplied by.
    pub fn nested_scales(&self) -> &[f32] {
        &self.nested_scales
    }

    /// What scales are counted from.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// What 4 bits stand for, before they are scaled.
    pub fn code() -> &'static [f32; 16] {
        &CODE
    }

    /// What the 8 bits of a scale stand for, before they are scaled.
    pub fn nested_code() -> &'static [f32; 256] {
        &NESTED_CODE
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are taken, but for what storage is rounded up by.
    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.len)
    }

    /// Bytes that so many numbers take.
    pub fn bytes_of(len: usize) -> usize {
        let blocks = len.div_ceil(BLOCK);
        len.div_ceil(2) + blocks + blocks.div_ceil(NESTED_BLOCK) * size_of::<f32>()
    }

    /// Writes the numbers from `first` on to `out`.
    #[inline(always)]
    pub(crate) fn read<R: Real>(&self, first: usize, out: &mut [R]) {
        let pairs = &*PAIRS;
        let (mut first, mut out) = (first, out);
        while !out.is_empty() {
            let block = first / BLOCK;
            let (of_block, rest) = out.split_at_mut(out.len().min((block + 1) * BLOCK - first));
            let scale = self.scale(block);
            let write = |out: &mut R, code: f32| *out = R::from_f64(f64::from(code * scale));
            let (odd, even) = of_block.split_at_mut(first % 2);
            if let [out] = odd {
                write(out, pairs[usize::from(self.packed[first / 2])][1]);
            }
            let (whole, last) = even.as_chunks_mut::<2>();
            let bytes = &self.packed[first.div_ceil(2)..];
            for ([one, other], &byte) in whole.iter_mut().zip(bytes) {
                let [code, other_code] = pairs[usize::from(byte)];
                write(one, code);
                write(other, other_code);
            }
            if let [out] = last {
                write(out, pairs[usize::from(bytes[whole.len()])][0]);
            }
            first += odd.len() + even.len();
            out = rest;
        }
    }

    /// The largest of [`integers`](Self::integers).
    pub(crate) const MOST: f32 = 127.0;

    /// What 4 bits stand for in integers, [`MOST`](Self::MOST) for 1: rounding is a small part of the distance between two of them.
    pub(crate) fn integers() -> [i8; 16] {
        CODE.map(|code| (code * Self::MOST).round_ties_even() as i8)
    }

    /// The 4 bits of a number.
    #[inline(always)]
    pub(crate) fn place(&self, index: usize) -> u8 {
        let byte = self.packed[index / 2];
        if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    }

    /// What the numbers of a block are multiplied by.
    #[inline(always)]
    pub(crate) fn scale(&self, block: usize) -> f32 {
        NESTED_CODE[usize::from(self.scales[block])] * self.nested_scales[block / NESTED_BLOCK] + self.offset
    }

    /// All numbers.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0f32; self.len];
        let rows = values.par_chunks_mut(BLOCK * NESTED_BLOCK).enumerate();
        rows.for_each(|(index, values)| self.read(index * BLOCK * NESTED_BLOCK, values));
        values
    }
}

/// What a block of zeros is divided by.
const SMALLEST: f32 = 1e-38;

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()))
}

/// Returns the scale.
fn quantize_block(values: &[f32], packed: &mut [u8]) -> f32 {
    let magnitude = largest(values);
    let inverse = 1.0 / magnitude.max(SMALLEST);
    let bounds: [f32; 15] = std::array::from_fn(|index| (CODE[index] + CODE[index + 1]) / 2.0);
    // What is no number any more counts as 0.
    let mut codes = [7u8; BLOCK];
    for (code, value) in codes.iter_mut().zip(values) {
        let value = (value * inverse).clamp(-1.0, 1.0);
        *code = bounds.iter().map(|&bound| u8::from(bound < value)).sum();
    }
    for (packed, pair) in packed.iter_mut().zip(codes.chunks_exact(2)) {
        *packed = pair[0] << 4 | pair[1];
    }
    magnitude
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn fixture() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/fixtures/nf4.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn floats(value: &Value) -> Vec<f32> {
        let bytes = bytes(value);
        let (words, _) = bytes.as_chunks::<4>();
        words.iter().map(|&word| f32::from_be_bytes(word)).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn tables_are_those_of_bitsandbytes() {
        let fixture = fixture();
        assert_eq!(bits(&CODE), bits(&floats(&fixture["quant_map"])));
        assert_eq!(bits(&*NESTED_CODE), bits(&floats(&fixture["nested_quant_map"])));
    }

    #[test]
    fn numbers_are_those_of_bitsandbytes() {
        for case in fixture()["cases"].as_array().unwrap() {
            let (shape, expected) = (&case["shape"], floats(&case["dequantised"]));
            let halves = bytes(&case["values"]);
            let (halves, _) = halves.as_chunks::<2>();
            let values = halves.iter().map(|&[high, low]| f32::from_be_bytes([high, low, 0, 0]));
            let values: Vec<f32> = values.collect();
            let mut ours = Nf4::quantize(&values);
            assert_eq!(&*ours.packed, bytes(&case["packed"]), "{shape}");
            // The mean is a sum of which PyTorch fixes no order: the last bit may differ, and with it a code at a boundary.
            let offset = floats(&case["offset"])[0];
            assert!((ours.offset - offset).abs() <= offset.abs() * 2e-7, "{shape}");
            let scales = bytes(&case["absmax"]);
            let others = ours
                .scales
                .iter()
                .zip(&scales)
                .filter(|(one, other)| one != other)
                .count();
            // A single scale is its own mean, and 0 / 0 is any code.
            assert!(others <= 1.max(scales.len() / 100), "{shape}: {others} scales");
            for (found, expected) in ours.to_f32_vec().iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= 0.02 * expected.abs(),
                    "{shape}: {found}, expected {expected}"
                );
            }
            // What it wrote is read to the bit.
            ours.offset = offset;
            ours.scales.copy_from_slice(&scales);
            ours.nested_scales.copy_from_slice(&floats(&case["nested_absmax"]));
            assert_eq!(bits(&ours.to_f32_vec()), bits(&expected), "{shape}");
        }
    }

    #[test]
    fn any_piece_is_read() {
        let values: Vec<f32> = (0..401).map(|index| ((index * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let quantized = Nf4::quantize(&values);
        let all = quantized.to_f32_vec();
        for first in [0, 1, 2, 63, 64, 65, 127, 200, 399, 400] {
            for len in [0, 1, 2, 3, 61, 64, 65, 130] {
                let end = values.len().min(first + len);
                let mut piece = vec![0.0f64; end - first];
                quantized.read(first, &mut piece);
                let expected: Vec<f64> = all[first..end].iter().map(|&value| value.into()).collect();
                assert_eq!(piece, expected, "{first} {len}");
            }
        }
        assert!(Nf4::quantize(&[]).is_empty());
    }

    #[test]
    fn four_bits_and_a_little_each() {
        let bytes = Nf4::quantize(&vec![0.5; 768 * 3072]).bytes();
        let bits = bytes as f64 * 8.0 / (768.0 * 3072.0);
        assert!((4.12..4.14).contains(&bits), "{bits}");
    }
}
