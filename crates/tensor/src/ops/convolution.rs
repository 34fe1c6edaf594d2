//! `convolution`: each token's output from its own and its neighbours' inputs, within its sequence:
//! y_t = b + Σ_i W_i x_(t + i − (width − 1) / 2), with zeros beyond the ends of the sequence.
//!
//! Inputs are copied once, with zeros between sequences; the inputs of a token and its neighbours then are adjacent numbers, and
//! those of all tokens the rows of one factor, each a row further than the one before. The gradient of the input is the
//! same of dy with W turned around; dW is a product of dy and those rows, summed up over tokens.

use rayon::prelude::*;

use super::attention::check_starts;
use super::linear::add_column_sums;
use crate::buffer::Buffer;
use crate::cpu::product::{COLUMNS, Dot, Left, Lines, Out, Panels, ROWS, Right, multiply};
use crate::cpu::reduce;
use crate::ops::with_float;
use crate::{Error, Float, Result, Tape, Tensor, Var};

const NAME: &str = "convolution";

/// The outputs of all tokens.
///
/// # Shapes
/// `input`: `[tokens, in_features]`; `weight`: `[out_features, in_features, width]`, as checkpoints store it; `bias`:
/// `[out_features]`; `sequence_starts`: `[batch + 1]`, first 0, last `tokens`. Returns `[tokens, out_features]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit, or the width is even.
pub fn convolution(tape: &Tape, input: &Var, weight: &Var, bias: &Var, sequence_starts: &[u32]) -> Result<Var> {
    let [tokens, in_features] = input.dims2(NAME, "input")?;
    check_starts(NAME, sequence_starts, tokens)?;
    let shape = weight.value().shape();
    let [out_features, _, width] = *shape else {
        return Err(Error::shape(NAME, "weight", shape, "three dimensions"));
    };
    if shape[1] != in_features || width % 2 == 0 {
        let expected = format_args!("[_, {in_features}, an odd number]").to_string();
        return Err(Error::shape(NAME, "weight", shape, expected));
    }
    if bias.value().shape() != [out_features] {
        return Err(Error::shape(
            NAME,
            "bias",
            bias.value().shape(),
            format_args!("[{out_features}]"),
        ));
    }
    let starts = sequence_starts.iter().map(|&start| start as usize).collect();
    let layout = Layout { starts, width };
    with_float!(NAME, input.value(), S => run::<S>(tape, input, weight, bias, layout, [in_features, out_features]))
}

/// Where sequences begin, and how many tokens an output depends on.
struct Layout {
    starts: Vec<usize>,
    width: usize,
}

impl Layout {
    fn tokens(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Zero rows before, between and after sequences.
    fn gap(&self) -> usize {
        self.width / 2
    }

    /// For each sequence, its first token, its tokens, and the row of the padded matrix with which the neighbourhood of its first
    /// token begins.
    fn sequences(&self) -> impl Iterator<Item = [usize; 3]> {
        let starts = self.starts.windows(2).enumerate();
        starts.map(|(index, pair)| [pair[0], pair[1] - pair[0], pair[0] + index * self.gap()])
    }

    /// Rows with zeros around every sequence.
    fn padded<S: Float>(&self, values: &[S], columns: usize) -> Buffer<S> {
        let rows = self.tokens() + self.starts.len() * self.gap();
        let mut padded = Buffer::<S>::zeros(rows * columns);
        for [first, rows, row] in self.sequences() {
            let (from, to) = (first * columns, (row + self.gap()) * columns);
            padded[to..to + rows * columns].copy_from_slice(&values[from..from + rows * columns]);
        }
        padded
    }

    /// The products of all neighbourhoods, whose rows have `columns` elements, with `right`.
    fn slide<S: Float>(
        &self,
        padded: &[S],
        columns: usize,
        right: &Panels<S, COLUMNS>,
        out: Out<'_, S>,
        finish: impl Fn(usize, &[S::Real], &mut [S]) + Sync,
    ) {
        let mut rest = out;
        let mut parts = Vec::with_capacity(self.starts.len());
        for [_, rows, row] in self.sequences() {
            let part;
            (part, rest) = rest.split_rows(rows);
            parts.push((&padded[row * columns..], rows, part));
        }
        parts.into_par_iter().for_each(|(values, rows, out)| {
            let inner = self.width * columns;
            let lines = Lines {
                count: rows,
                inner,
                group: S::Dot::GROUP,
            };
            let line = |row: usize| &values[row * columns..][..inner];
            let packed = (!Left::<S::Dot>::is_whole(inner)).then(|| Panels::<S, ROWS>::from_lines(lines, line, |x| x));
            let left = match &packed {
                None => Left::<S::Dot>::rows(values, rows, inner, columns),
                Some(packed) => Left::panels(packed),
            };
            multiply(
                left,
                Right::panels(right),
                out,
                #[inline(always)]
                |_, column, sums, out| finish(column, sums, out),
            );
        });
    }
}

/// A right factor with a column for each of `count` features, of the elements of a neighbourhood with so many features:
/// `element(column, place, feature)`.
fn pack<S: Float>(
    [count, width, features]: [usize; 3],
    element: impl Fn(usize, usize, usize) -> S::Real + Sync,
) -> Panels<S, COLUMNS> {
    let inner = width * features;
    let mut ordered = Buffer::<S::Real>::scratch(count * inner);
    ordered
        .par_chunks_exact_mut(inner.max(1))
        .enumerate()
        .for_each(|(column, values)| {
            for (index, value) in values.iter_mut().enumerate() {
                *value = element(column, index / features, index % features);
            }
        });
    let lines = Lines {
        count,
        inner,
        group: S::Dot::GROUP,
    };
    Panels::from_lines(lines, |column| &ordered[column * inner..][..inner], S::narrow)
}

fn run<S: Float>(
    tape: &Tape,
    input: &Var,
    weight: &Var,
    bias: &Var,
    layout: Layout,
    [inputs, outputs]: [usize; 2],
) -> Result<Var> {
    let (tokens, width) = (layout.tokens(), layout.width);
    let w = weight.value().slice::<S::Real>(NAME, "weight")?;
    let b = bias.value().slice::<S::Real>(NAME, "bias")?;
    let x = input.value().slice::<S>(NAME, "input")?;
    let mut output = Buffer::<S>::scratch(tokens * outputs);
    let packed = pack::<S>([outputs, width, inputs], |output, place, input| {
        w[(output * inputs + input) * width + place]
    });
    layout.slide(
        &layout.padded(x, inputs),
        inputs,
        &packed,
        Out::new(&mut output, tokens, outputs),
        #[inline(always)]
        |column, sums, out| {
            for ((out, &sum), &bias) in out.iter_mut().zip(sums).zip(&b[column..]) {
                *out = S::narrow(sum + bias);
            }
        },
    );
    let output = Tensor::from_buffer(output, &[tokens, outputs]);
    Ok(tape.push(output, &[input, weight, bias], || {
        let (weight_value, weight, bias) = (weight.value().clone(), weight.destination(), bias.destination());
        let (input, destination) = (input.value().clone(), input.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let delta = gradient.slice::<S>(NAME, "gradient")?;
            let x = input.slice::<S>(NAME, "input")?;
            let w = weight_value.slice::<S::Real>(NAME, "weight")?;
            gradients.update::<S::Real>(&bias, |sum, fresh| add_column_sums(delta, outputs, 0, sum, fresh));
            if weight.is_wanted() {
                let sums = weight_gradient::<S>(&layout, x, delta, [inputs, outputs]);
                gradients.update::<S::Real>(&weight, |sum, fresh| {
                    let inner = width * inputs;
                    let rows = sum
                        .par_chunks_exact_mut(inner.max(1))
                        .zip(sums.par_chunks_exact(inner.max(1)));
                    rows.for_each(|(row, sums)| {
                        for (index, value) in row.iter_mut().enumerate() {
                            let other = sums[index % width * inputs + index / width];
                            *value = if fresh { other } else { *value + other };
                        }
                    });
                });
            }
            if destination.is_wanted() {
                let turned = |input: usize, place: usize, output: usize| {
                    w[(output * inputs + input) * width + width - 1 - place]
                };
                let packed = pack::<S>([inputs, width, outputs], turned);
                let padded = layout.padded(delta, outputs);
                gradients.update::<S>(&destination, |sum, fresh| {
                    layout.slide(
                        &padded,
                        outputs,
                        &packed,
                        Out::new(sum, tokens, inputs),
                        #[inline(always)]
                        |_, sums, out| {
                            if fresh {
                                out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = S::narrow(sum));
                            } else {
                                reduce::add(out, sums);
                            }
                        },
                    );
                });
            }
            Ok(())
        }
    }))
}

/// The gradient of the weight, as `[out_features, width, in_features]`.
fn weight_gradient<S: Float>(layout: &Layout, x: &[S], delta: &[S], [inputs, outputs]: [usize; 2]) -> Buffer<S::Real> {
    let (inner, tokens) = (layout.width * inputs, layout.tokens());
    let padded = layout.padded(x, inputs);
    // The row of the padded matrix with which the neighbourhood of each token begins.
    let rows: Vec<usize> = layout.sequences().flat_map(|[_, rows, row]| row..row + rows).collect();
    let group = S::Dot::GROUP;
    let lines = Lines {
        count: inner,
        inner: tokens,
        group,
    };
    let right = Panels::<S, COLUMNS>::from_elements(lines, |token| &padded[rows[token] * inputs..][..inner], |x| x);
    let lines = Lines {
        count: outputs,
        inner: tokens,
        group,
    };
    let left = Panels::<S, ROWS>::from_elements(lines, |token| &delta[token * outputs..][..outputs], |delta| delta);
    let mut sums = Buffer::<S::Real>::scratch(outputs * inner);
    multiply(
        Left::<S::Dot>::panels(&left),
        Right::panels(&right),
        Out::new(&mut sums, outputs, inner),
        #[inline(always)]
        |_, _, sums, out| out.copy_from_slice(sums),
    );
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        for (width, inputs, outputs) in [(1, 3, 2), (3, 5, 4), (5, 2, 3)] {
            let operands = vec![
                normal(1, &[9, inputs]),
                normal(2, &[outputs, inputs, width]),
                normal(3, &[outputs]),
            ];
            check(operands, |tape, operands| {
                convolution(tape, &operands[0], &operands[1], &operands[2], &[0, 4, 4, 5, 9])
            });
        }
    }

    #[test]
    fn equals_the_definition() {
        let starts = [0, 1, 70, 70, 190];
        let (tokens, inputs, outputs, width) = (190, 6, 40, 3);
        let operands = [
            normal(1, &[tokens, inputs]),
            normal(2, &[outputs, inputs, width]),
            normal(3, &[outputs]),
        ];
        let tape = Tape::inference();
        for (dtype, real, tolerance) in [
            (DType::F64, DType::F64, 1e-12),
            (DType::F32, DType::F32, 1e-5),
            (DType::BF16, DType::F32, 0.1),
        ] {
            let [x, w, b] =
                [(0, dtype), (1, real), (2, real)].map(|(operand, dtype)| operands[operand].to_dtype(dtype));
            let [x_values, w_values, b_values] = [&x, &w, &b].map(Tensor::to_f64_vec);
            let [x, w, b] = [x, w, b].map(|operand| tape.constant(operand));
            let found = convolution(&tape, &x, &w, &b, &starts).unwrap().value().to_f64_vec();
            for sequence in starts.windows(2) {
                for token in sequence[0] as usize..sequence[1] as usize {
                    for output in 0..outputs {
                        let mut expected = b_values[output];
                        for place in 0..width {
                            let Some(neighbour) = (token + place).checked_sub(width / 2) else {
                                continue;
                            };
                            if (sequence[0] as usize..sequence[1] as usize).contains(&neighbour) {
                                expected += (0..inputs)
                                    .map(|i| {
                                        w_values[(output * inputs + i) * width + place]
                                            * x_values[neighbour * inputs + i]
                                    })
                                    .sum::<f64>();
                            }
                        }
                        let found = found[token * outputs + output];
                        assert!(
                            (found - expected).abs() < tolerance,
                            "{dtype:?} {found} instead of {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn operands_are_checked() {
        let tape = Tape::inference();
        let [input, bias] = [normal(1, &[4, 3]), normal(2, &[2])].map(|value| tape.constant(value));
        let error = |shape: &[usize]| {
            let weight = tape.constant(normal(3, shape));
            convolution(&tape, &input, &weight, &bias, &[0, 4])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(&[2, 3, 2]),
            "convolution: weight has shape [2, 3, 2], expected [_, 3, an odd number]"
        );
        error(&[2, 4, 3]);
        error(&[3, 3, 3]);
        error(&[2, 3]);
    }
}
