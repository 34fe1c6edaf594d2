//! `linear_packed`: f(x) Wᵀ + b with weights that are packed once and used many times, for prediction.
//!
//! Weights of 8 and of 4 bits stay what they are: inputs are quantised too, row by row, and products are of integers. Of 8 bits a row has one scale, so the
//! sum of its integers is multiplied by it; of 4 bits each block of 64 has one, so the integer sums of blocks are scaled and added up.

use rayon::prelude::*;

use super::activation::{Function, with_activation};
use super::linear::{NAME, Stacked, check, forward, pack_weights};
use crate::buffer::Buffer;
use crate::cpu::product::{
    BlockPanels, COLUMNS, Dot, Int8, Left, Lines, Out, Panels, Right, multiply, multiply_blocks,
};
use crate::cpu::{rows_per_task, vectorised};
use crate::int8::{RowScale, quantize_row};
use crate::{Activation, DType, Error, Float, Int8Rows, Nf4, Result, Tape, Tensor, Var, bf16};

/// Weights that are packed once and used many times, for prediction.
pub struct PackedLinear {
    weights: PackedWeights,
    in_features: usize,
}

enum PackedWeights {
    F32(Panels<f32, COLUMNS>, Vec<f32>),
    BF16(Panels<bf16, COLUMNS>, Vec<f32>),
    F64(Panels<f64, COLUMNS>, Vec<f64>),
    /// Of 8 or 4 bits, for inputs of this type.
    Narrow(Narrow, Vec<f32>, DType),
}

/// Weights for products of integers, with what makes numbers of the sums. Inputs are counted from their zero point: what that adds is the zero point times the
/// sum of an output's weights.
enum Narrow {
    /// For each output: the scale of its weights, and the sum of their integers.
    Int8 {
        weights: Panels<i8, COLUMNS>,
        scales: Vec<f32>,
        sums: Vec<i32>,
    },
    /// For each output the sum of its weights.
    Nf4 { weights: BlockPanels, sums: Vec<f32> },
}

impl Narrow {
    /// `None` if a weight is neither of 8 nor of 4 bits.
    fn new(weights: &[&Tensor], in_features: usize) -> Option<Self> {
        if in_features.is_multiple_of(Nf4::BLOCK)
            && let Some(parts) = weights.iter().map(|weight| weight.as_nf4()).collect::<Option<Vec<_>>>()
        {
            return Some(Self::of_nf4(&parts, in_features));
        }
        // Rows of 4 bits that are no whole blocks get 8 bits, of which rounding is a small part of what 4 bits lost before.
        let widened = |weight: &&Tensor| match weight.dtype() {
            DType::Nf4 => weight.to_dtype(DType::Int8),
            _ => (*weight).clone(),
        };
        let weights: Vec<Tensor> = weights.iter().map(widened).collect();
        let rows = weights.iter().map(Tensor::as_int8).collect::<Option<Vec<_>>>()?;
        Some(Self::of_int8(&rows, in_features))
    }

    fn of_int8(parts: &[&Int8Rows], in_features: usize) -> Self {
        let rows = parts
            .iter()
            .flat_map(|rows| (0..rows.scales().len()).map(|row| rows.row(row)));
        let rows: Vec<&[i8]> = rows.collect();
        let lines = Lines {
            count: rows.len(),
            inner: in_features,
            group: Int8::GROUP,
        };
        let sum = |row: &&[i8]| row.iter().map(|&value| i32::from(value)).sum();
        Self::Int8 {
            weights: Panels::from_lines(lines, |row| rows[row], |value| value),
            scales: parts.iter().flat_map(|rows| rows.scales()).copied().collect(),
            sums: rows.iter().map(sum).collect(),
        }
    }

    fn of_nf4(parts: &[&Nf4], in_features: usize) -> Self {
        let rows = parts
            .iter()
            .flat_map(|part| (0..part.len() / in_features.max(1)).map(move |row| (*part, row)));
        let rows: Vec<(&Nf4, usize)> = rows.collect();
        let table = Nf4::integers();
        let place = |row: usize, element: usize| rows[row].0.place(rows[row].1 * in_features + element);
        let blocks = in_features / Nf4::BLOCK;
        let scale = |row: usize, block: usize| rows[row].0.scale(rows[row].1 * blocks + block) / Nf4::MOST;
        let sum = |row: usize| -> f32 {
            let of_block = |block: usize| {
                let elements = block * Nf4::BLOCK..(block + 1) * Nf4::BLOCK;
                let integers = elements.map(|element| i32::from(table[usize::from(place(row, element))]));
                scale(row, block) * integers.sum::<i32>() as f32
            };
            (0..blocks).map(of_block).sum()
        };
        Self::Nf4 {
            weights: BlockPanels::new([rows.len(), in_features], table, place, scale),
            sums: (0..rows.len()).into_par_iter().map(sum).collect(),
        }
    }

    /// f(x) Wᵀ + b with f(x) quantised row by row.
    fn forward<S: Float<Real = f32>>(
        &self,
        bias: &[f32],
        input: &Tensor,
        rows: usize,
        inner: usize,
        activation: Activation,
    ) -> Result<Tensor> {
        let x = input.slice::<S>(NAME, "input")?;
        let (outputs, stride) = (bias.len(), inner.next_multiple_of(Int8::GROUP));
        let (quantized, scales) = quantized(x, rows, inner, stride, activation);
        let mut output = Buffer::<S>::scratch(rows * outputs);
        let left = Left::<Int8>::rows(&quantized, rows, stride, stride);
        let out = Out::new(&mut output, rows, outputs);
        match self {
            Self::Int8 {
                weights,
                scales: of_outputs,
                sums: of_weights,
            } => multiply(
                left,
                Right::panels(weights),
                out,
                #[inline(always)]
                |row, column, sums, out| {
                    let RowScale { scale, zero } = scales[row];
                    let of_outputs = of_outputs[column..]
                        .iter()
                        .zip(&of_weights[column..])
                        .zip(&bias[column..]);
                    for ((out, &sum), ((of_output, &weights), &bias)) in out.iter_mut().zip(sums).zip(of_outputs) {
                        *out = S::narrow_finite((sum - zero * weights) as f32 * (scale * of_output) + bias);
                    }
                },
            ),
            Self::Nf4 {
                weights,
                sums: of_weights,
            } => multiply_blocks(
                left,
                weights,
                out,
                #[inline(always)]
                |row, column, sums, out| {
                    let RowScale { scale, zero } = scales[row];
                    let of_outputs = of_weights[column..].iter().zip(&bias[column..]);
                    for ((out, &sum), (&weights, &bias)) in out.iter_mut().zip(sums).zip(of_outputs) {
                        *out = S::narrow_finite((sum - zero as f32 * weights) * scale + bias);
                    }
                },
            ),
        }
        Ok(Tensor::from_buffer(output, &[rows, outputs]))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Int8 { weights, scales, sums } => {
                size_of_val(weights.data()) + size_of_val(&scales[..]) + size_of_val(&sums[..])
            }
            Self::Nf4 { weights, sums } => weights.bytes() + size_of_val(&sums[..]),
        }
    }
}

/// f(x) as integers, rows `stride` apart, with the scale of each.
fn quantized<S: Float<Real = f32>>(
    x: &[S],
    rows: usize,
    inner: usize,
    stride: usize,
    activation: Activation,
) -> (Buffer<u8>, Vec<RowScale>) {
    let mut quantized = Buffer::<u8>::scratch(rows * stride);
    let mut scales = vec![RowScale { scale: 0.0, zero: 0 }; rows];
    let tasks = rows_per_task(inner);
    quantized
        .par_chunks_mut((tasks * stride).max(1))
        .zip(scales.par_chunks_mut(tasks))
        .zip(x.par_chunks((tasks * inner).max(1)))
        .for_each(|((out, scales), x)| {
            let rows = out
                .chunks_exact_mut(stride.max(1))
                .zip(scales)
                .zip(x.chunks_exact(inner.max(1)));
            with_activation!(activation, F => vectorised(
                #[inline(always)]
                || {
                    let mut activated = vec![0.0f32; if activation == Activation::Identity { 0 } else { inner }];
                    for ((out, scale), x) in rows {
                        *scale = match activation {
                            Activation::Identity => quantize_row(x, out),
                            _ => {
                                for (value, x) in activated.iter_mut().zip(x) {
                                    *value = F::coarse(x.widen());
                                }
                                quantize_row(&activated, out)
                            }
                        };
                    }
                },
            ));
        });
    (quantized, scales)
}

impl PackedLinear {
    /// Packs weights and biases, one below the other, for inputs of type `dtype`. If all of them are of 8 or 4 bits and `dtype` is not `f64`, products are of
    /// integers, with inputs that are quantised row by row.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::DType`] if they do not fit each other or `dtype`.
    pub fn new(parts: &[(&Tensor, Option<&Tensor>)], dtype: DType) -> Result<Self> {
        fn pack<S: Float>(parts: &[(&Tensor, Option<&Tensor>)]) -> Result<(Panels<S, COLUMNS>, Vec<S::Real>, usize)> {
            let in_features = parts
                .first()
                .map_or(Ok(0), |(weight, _)| weight.dims2(NAME, "weight").map(|[_, n]| n))?;
            let (outputs, bias) = check::<S::Real>(in_features, parts)?;
            let weights = Stacked::new(parts.iter().map(|(weight, _)| *weight), [NAME, "weight"], in_features)?;
            Ok((pack_weights::<S>(&weights, outputs), bias, in_features))
        }
        if matches!(dtype, DType::F32 | DType::BF16) && !parts.is_empty() {
            let [_, in_features] = parts[0].0.dims2(NAME, "weight")?;
            let (_, bias) = check::<f32>(in_features, parts)?;
            let weights: Vec<&Tensor> = parts.iter().map(|(weight, _)| *weight).collect();
            if let Some(narrow) = Narrow::new(&weights, in_features) {
                return Ok(Self {
                    weights: PackedWeights::Narrow(narrow, bias, dtype),
                    in_features,
                });
            }
        }
        let (weights, in_features) = match dtype {
            DType::F32 => pack(parts).map(|(weights, bias, inputs)| (PackedWeights::F32(weights, bias), inputs))?,
            DType::BF16 => pack(parts).map(|(weights, bias, inputs)| (PackedWeights::BF16(weights, bias), inputs))?,
            DType::F64 => pack(parts).map(|(weights, bias, inputs)| (PackedWeights::F64(weights, bias), inputs))?,
            found => {
                return Err(Error::DType {
                    operation: NAME,
                    what: "input",
                    found,
                    expected: "f32, bf16 or f64",
                });
            }
        };
        Ok(Self { weights, in_features })
    }

    /// Bytes that weights and biases take.
    pub fn bytes(&self) -> usize {
        match &self.weights {
            PackedWeights::F32(weights, bias) => size_of_val(weights.data()) + size_of_val(&bias[..]),
            PackedWeights::BF16(weights, bias) => size_of_val(weights.data()) + size_of_val(&bias[..]),
            PackedWeights::F64(weights, bias) => size_of_val(weights.data()) + size_of_val(&bias[..]),
            PackedWeights::Narrow(narrow, bias, _) => narrow.bytes() + size_of_val(&bias[..]),
        }
    }
}

impl std::fmt::Debug for PackedLinear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedLinear")
            .field("in_features", &self.in_features)
            .finish_non_exhaustive()
    }
}

/// [`linear`](super::linear()) with packed weights, without a gradient.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if `input` does not fit the weights.
pub fn linear_packed(tape: &Tape, input: &Var, activation: Activation, weights: &PackedLinear) -> Result<Var> {
    let [rows, inner] = input.dims2(NAME, "input")?;
    if inner != weights.in_features {
        let expected = format_args!("[_, {}]", weights.in_features).to_string();
        return Err(Error::shape(NAME, "input", input.value().shape(), expected));
    }
    let value = input.value();
    let output = match &weights.weights {
        PackedWeights::F32(weights, bias) => forward::<f32>(value, rows, inner, activation, weights, bias),
        PackedWeights::BF16(weights, bias) => forward::<bf16>(value, rows, inner, activation, weights, bias),
        PackedWeights::F64(weights, bias) => forward::<f64>(value, rows, inner, activation, weights, bias),
        PackedWeights::Narrow(narrow, bias, DType::BF16) => {
            narrow.forward::<bf16>(bias, value, rows, inner, activation)
        }
        PackedWeights::Narrow(narrow, bias, _) => narrow.forward::<f32>(bias, value, rows, inner, activation),
    };
    Ok(tape.constant(output?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::normal;
    use crate::ops::{self, Affine, linear};

    fn affine<'a>(weight: &'a Var, bias: Option<&'a Var>) -> Affine<'a> {
        Affine { weight, bias }
    }

    #[test]
    fn packed_weights_give_the_same() {
        let tape = Tape::inference();
        for dtype in [DType::F32, DType::BF16, DType::F64] {
            let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let input = tape.constant(normal(1, &[5, 7]).to_dtype(dtype));
            let weight = tape.constant(normal(2, &[40, 7]).to_dtype(real));
            let bias = tape.constant(normal(3, &[40]).to_dtype(real));
            let plain = linear(&tape, &input, Activation::Gelu, &[affine(&weight, Some(&bias))]).unwrap();
            let packed = PackedLinear::new(&[(weight.value(), Some(bias.value()))], dtype).unwrap();
            let found = linear_packed(&tape, &input, Activation::Gelu, &packed).unwrap();
            assert_eq!(found.value().to_f64_vec(), plain.value().to_f64_vec());
        }
    }

    #[test]
    fn integer_products_are_near_those_of_numbers() {
        let tape = Tape::inference();
        let shapes = [(5, 37, 40), (1, 384, 33), (70, 130, 100), (3, 4, 1), (70, 192, 65)];
        for ((rows, inner, outputs), of) in shapes.into_iter().flat_map(|it| [(it, DType::Int8), (it, DType::Nf4)]) {
            for (dtype, activation) in [
                (DType::F32, Activation::Identity),
                (DType::F32, Activation::Gelu),
                (DType::BF16, Activation::Identity),
                (DType::BF16, Activation::Gelu),
            ] {
                let input = tape.constant(normal(1, &[rows, inner]).to_dtype(dtype));
                let [first, second] = [2, 3].map(|seed| normal(seed, &[outputs, inner]).to_dtype(DType::F32));
                let bias = normal(4, &[outputs]).to_dtype(DType::F32);
                let narrow = [&first, &second].map(|weight| weight.to_dtype(of));
                let packed = PackedLinear::new(&[(&narrow[0], Some(&bias)), (&narrow[1], None)], dtype).unwrap();
                let PackedWeights::Narrow(weights, ..) = &packed.weights else {
                    panic!("{of:?} is packed as numbers");
                };
                let is_nf4 = matches!(weights, Narrow::Nf4 { .. });
                assert_eq!(is_nf4, of == DType::Nf4 && inner % Nf4::BLOCK == 0);
                let found = linear_packed(&tape, &input, activation, &packed).unwrap();
                // The same weights with their integers as numbers.
                let wide = narrow
                    .each_ref()
                    .map(|weight| tape.constant(weight.to_dtype(DType::F32)));
                let bias = tape.constant(bias);
                let input = ops::to_dtype(&tape, &input, DType::F32).unwrap();
                let parts = [affine(&wide[0], Some(&bias)), affine(&wide[1], None)];
                let expected = linear(&tape, &input, activation, &parts).unwrap();
                let (found, expected) = (found.value().to_f64_vec(), expected.value().to_f64_vec());
                assert_eq!(found.len(), expected.len());
                // Of inputs within [-4, 4], a step is at most 1/32, and errors of half a step add up as their root.
                let tolerance = 0.05 * (inner as f64).sqrt() + 0.05;
                for (found, expected) in found.iter().zip(&expected) {
                    let rounding = if dtype == DType::BF16 {
                        expected.abs() / 128.0
                    } else {
                        0.0
                    };
                    assert!(
                        (found - expected).abs() < tolerance + rounding,
                        "{found} instead of {expected}"
                    );
                }
            }
        }
    }
}
