//! `low_rank`: y ← y + s · (d(f(x)) Aᵀ) Bᵀ, what LoRA (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>) adds to a product y of x, where d is
//! dropout and f the activation that stands before that product. Several pairs of A and B may belong to one product, each to
//! columns of its own; they share what is dropped out.
//!
//! Gradient, with v = d(f(x)), u = v Aᵀ and g the part of dy that belongs to B: dB = s gᵀ u, du = s g B, dA = duᵀ v,
//! dx = d(du A) · f′(x); y passes dy on. Kept are x, which the product keeps too, and u, which is narrow; v is computed again.

use super::activation::{Function, activated, with_activation};
use super::linear::{Stacked, with_left};
use crate::autograd::Destination;
use crate::buffer::Buffer;
use crate::cpu::for_each_rows;
use crate::cpu::product::{COLUMNS, Dot, Left, Lines, Out, Panels, ROWS, Right, multiply};
use crate::ops::with_float;
use crate::{Activation, Dropout, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "low_rank";

/// One pair of factors.
#[derive(Debug, Clone, Copy)]
pub struct LowRank<'a> {
    /// A: `[rank, in_features]`
    pub down: &'a Var,
    /// B: `[out_features, rank]`
    pub up: &'a Var,
    /// What their product is multiplied by.
    pub scale: f64,
    /// The first of the columns that it is added to.
    pub first_column: usize,
}

/// `output` with the products of low rank of `input` added. What `output` holds is changed in place where nobody else has it.
///
/// # Shapes
/// `output`: `[rows, columns]`; `input`: `[rows, in_features]`. Returns the shape of `output`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn low_rank(
    tape: &Tape,
    output: Var,
    input: &Var,
    activation: Activation,
    parts: &[LowRank<'_>],
    dropout: Option<Dropout>,
) -> Result<Var> {
    with_float!(NAME, input.value(), S => run::<S>(tape, output, input, activation, parts, dropout))
}

/// Where a pair stands.
#[derive(Clone, Copy)]
struct Place {
    rank: usize,
    first_rank: usize,
    columns: usize,
    first_column: usize,
    scale: f64,
}

/// A pair of the tape, for the gradient.
struct Part {
    place: Place,
    down: Tensor,
    up: Tensor,
    down_destination: Destination,
    up_destination: Destination,
}

/// The checked places, and the sum of the ranks.
fn places(parts: &[LowRank<'_>], inner: usize, outputs: usize) -> Result<(Vec<Place>, usize)> {
    let (mut places, mut first_rank) = (Vec::with_capacity(parts.len()), 0);
    for part in parts {
        let ([rank, inputs], [columns, width]) = (part.down.dims2(NAME, "down")?, part.up.dims2(NAME, "up")?);
        if inputs != inner {
            let expected = format_args!("[_, {inner}]").to_string();
            return Err(Error::shape(NAME, "down", part.down.value().shape(), expected));
        }
        if width != rank || part.first_column + columns > outputs {
            let most = outputs.saturating_sub(part.first_column);
            let expected = format_args!("[at most {most}, {rank}]").to_string();
            return Err(Error::shape(NAME, "up", part.up.value().shape(), expected));
        }
        places.push(Place {
            rank,
            first_rank,
            columns,
            first_column: part.first_column,
            scale: part.scale,
        });
        first_rank += rank;
    }
    Ok((places, first_rank))
}

fn run<S: Float>(
    tape: &Tape,
    output: Var,
    input: &Var,
    activation: Activation,
    parts: &[LowRank<'_>],
    dropout: Option<Dropout>,
) -> Result<Var> {
    let [rows, inner] = input.dims2(NAME, "input")?;
    let [output_rows, outputs] = output.dims2(NAME, "output")?;
    if output_rows != rows {
        let expected = format_args!("[{rows}, _]").to_string();
        return Err(Error::shape(NAME, "output", output.value().shape(), expected));
    }
    output.value().slice::<S>(NAME, "output")?;
    let (places, ranks) = places(parts, inner, outputs)?;
    let x = input.value().slice::<S>(NAME, "input")?;
    let changed = changed::<S>(x, inner, activation, dropout);
    let mut low = Buffer::<S>::scratch(rows * ranks);
    let lines = Lines {
        count: ranks,
        inner,
        group: S::Dot::GROUP,
    };
    let stacked = Stacked::new(parts.iter().map(|part| part.down.value()), [NAME, "down"], inner)?;
    let packed = Panels::<S, COLUMNS>::from_lines(lines, &stacked, S::narrow);
    with_left::<S, _>(changed.as_deref().unwrap_or(x), rows, inner, |left| {
        multiply(
            left,
            Right::<S::Dot>::panels(&packed),
            Out::new(&mut low, rows, ranks),
            #[inline(always)]
            |_, _, sums, out| out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = S::narrow(sum)),
        );
    });
    drop((packed, changed));

    let (mut values, destination) = output.take();
    let y = values.as_mut_slice::<S>().unwrap_or_default();
    for (part, place) in parts.iter().zip(&places) {
        let up = part.up.value().slice::<S::Real>(NAME, "up")?;
        let lines = Lines {
            count: place.columns,
            inner: place.rank,
            group: S::Dot::GROUP,
        };
        let packed = Panels::<S, COLUMNS>::from_lines(lines, |row| &up[row * place.rank..][..place.rank], S::narrow);
        let scale = S::Real::from_f64(place.scale);
        with_columns::<S, _>(&low, rows, ranks, [place.first_rank, place.rank], |left| {
            multiply(
                left,
                Right::<S::Dot>::panels(&packed),
                columns_of(y, rows, outputs, place),
                #[inline(always)]
                |_, _, sums, out| {
                    for (out, &sum) in out.iter_mut().zip(sums) {
                        *out = S::narrow(out.widen() + sum * scale);
                    }
                },
            );
        });
    }

    let mut all = parts.iter().flat_map(|part| [part.down, part.up]);
    let is_wanted = destination.is_wanted() || input.needs_gradient() || all.any(Var::needs_gradient);
    Ok(tape.push_if(is_wanted, values, || {
        let saved = Saved::<S> {
            input_destination: input.destination(),
            input: input.value().clone(),
            extents: [rows, inner, outputs, ranks],
            activation,
            dropout,
            low,
            parts: parts
                .iter()
                .zip(places)
                .map(|(part, place)| Part {
                    place,
                    down: part.down.value().clone(),
                    up: part.up.value().clone(),
                    down_destination: part.down.destination(),
                    up_destination: part.up.destination(),
                })
                .collect(),
        };
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            saved.backward(&gradient, gradients)?;
            gradients.add::<S>(&destination, gradient);
            Ok(())
        }
    }))
}

/// What is kept for the gradient.
struct Saved<S: Float> {
    input: Tensor,
    input_destination: Destination,
    /// Rows, inputs, outputs and the sum of the ranks.
    extents: [usize; 4],
    activation: Activation,
    dropout: Option<Dropout>,
    /// u
    low: Buffer<S>,
    parts: Vec<Part>,
}

impl<S: Float> Saved<S> {
    fn backward(&self, gradient: &Tensor, gradients: &mut crate::Gradients<'_>) -> Result<()> {
        let [rows, _, outputs, ranks] = self.extents;
        let group = S::Dot::GROUP;
        let delta = gradient.slice::<S>(NAME, "gradient")?;
        let mut d_low = Buffer::<S>::scratch(rows * ranks); // du
        for part in &self.parts {
            let place = part.place;
            let scale = S::Real::from_f64(place.scale);
            let up = part.up.slice::<S::Real>(NAME, "up")?;
            let lines = Lines {
                count: place.rank,
                inner: place.columns,
                group,
            };
            let across = |row: usize| &up[row * place.rank..][..place.rank];
            let packed = Panels::<S, COLUMNS>::from_elements(lines, across, S::narrow);
            let of_low = Place {
                columns: place.rank,
                first_column: place.first_rank,
                ..place
            };
            with_columns::<S, _>(delta, rows, outputs, [place.first_column, place.columns], |left| {
                multiply(
                    left,
                    Right::<S::Dot>::panels(&packed),
                    columns_of(&mut d_low, rows, ranks, &of_low),
                    #[inline(always)]
                    |_, _, sums, out| {
                        out.iter_mut()
                            .zip(sums)
                            .for_each(|(out, &sum)| *out = S::narrow(sum * scale))
                    },
                );
            });
            if part.up_destination.is_wanted() {
                let lines = |count: usize| Lines {
                    count,
                    inner: rows,
                    group,
                };
                let across = |row: usize| &delta[row * outputs + place.first_column..][..place.columns];
                let left = Panels::<S, ROWS>::from_elements(lines(place.columns), across, |delta| delta);
                let across = |row: usize| &self.low[row * ranks + place.first_rank..][..place.rank];
                let right = Panels::<S, COLUMNS>::from_elements(lines(place.rank), across, |low| low);
                gradients.update::<S::Real>(&part.up_destination, |sum, fresh| {
                    product_into::<S>(&left, &right, sum, scale, fresh);
                });
            }
        }
        self.backward_down(&d_low, gradients)
    }

    /// dA of every part, and dx.
    fn backward_down(&self, d_low: &[S], gradients: &mut crate::Gradients<'_>) -> Result<()> {
        let [rows, inner, _, ranks] = self.extents;
        let group = S::Dot::GROUP;
        let x = self.input.slice::<S>(NAME, "input")?;
        if self.parts.iter().any(|part| part.down_destination.is_wanted()) {
            let changed = changed::<S>(x, inner, self.activation, self.dropout);
            let v = changed.as_deref().unwrap_or(x);
            let lines = |count: usize| Lines {
                count,
                inner: rows,
                group,
            };
            let right = Panels::<S, COLUMNS>::from_elements(lines(inner), |row| &v[row * inner..][..inner], |v| v);
            drop(changed);
            for part in &self.parts {
                let place = part.place;
                let across = |row: usize| &d_low[row * ranks + place.first_rank..][..place.rank];
                let left = Panels::<S, ROWS>::from_elements(lines(place.rank), across, |low| low);
                gradients.update::<S::Real>(&part.down_destination, |sum, fresh| {
                    product_into::<S>(&left, &right, sum, S::Real::ONE, fresh);
                });
            }
        }
        if !self.input_destination.is_wanted() {
            return Ok(());
        }
        let stacked = Stacked::new(self.parts.iter().map(|part| &part.down), [NAME, "down"], inner)?;
        let lines = Lines {
            count: inner,
            inner: ranks,
            group,
        };
        let packed = Panels::<S, COLUMNS>::from_elements(lines, &stacked, S::narrow);
        gradients.update::<S>(&self.input_destination, |sum, fresh| {
            with_left::<S, _>(d_low, rows, ranks, |left| {
                multiply(
                    left,
                    Right::<S::Dot>::panels(&packed),
                    Out::new(sum, rows, inner),
                    #[inline(always)]
                    |row, column, sums, out| {
                        let x = &x[row * inner + column..][..out.len()];
                        store_input_gradient::<S>(self.activation, self.dropout, [row, column], x, sums, out, fresh);
                    },
                );
            });
        });
        Ok(())
    }
}

/// out ← d(sums) · f′(x), or if not `fresh`, on top of what is there; the piece begins at a row and a column.
#[inline(always)]
fn store_input_gradient<S: Float>(
    activation: Activation,
    dropout: Option<Dropout>,
    [row, column]: [usize; 2],
    x: &[S],
    sums: &[S::Real],
    out: &mut [S],
    fresh: bool,
) {
    let mask = dropout.map(|dropout| (dropout.row(row), dropout.scale::<S::Real>()));
    with_activation!(activation, F => {
        for (index, ((out, &sum), x)) in out.iter_mut().zip(sums).zip(x).enumerate() {
            let factor = match mask {
                None => S::Real::ONE,
                Some((mask, scale)) if mask.keeps((column + index) as u32) => scale,
                Some(_) => S::Real::ZERO,
            };
            let before = if fresh { S::Real::ZERO } else { out.widen() };
            *out = S::narrow(before + sum * factor * F::derivative(x.widen()));
        }
    });
}

/// sum ← scale · left · right, or if not `fresh`, on top of what is there.
fn product_into<S: Float>(
    left: &Panels<S, ROWS>,
    right: &Panels<S, COLUMNS>,
    sum: &mut [S::Real],
    scale: S::Real,
    fresh: bool,
) {
    multiply(
        Left::<S::Dot>::panels(left),
        Right::panels(right),
        Out::new(sum, left.lines().count, right.lines().count),
        #[inline(always)]
        |_, _, sums, out| {
            for (out, &sum) in out.iter_mut().zip(sums) {
                let before = if fresh { S::Real::ZERO } else { *out };
                *out = before + sum * scale;
            }
        },
    );
}

/// d(f(x)), rounded as the product does with f(x); `None` if that is x itself.
fn changed<S: Float>(x: &[S], columns: usize, activation: Activation, dropout: Option<Dropout>) -> Option<Buffer<S>> {
    let mut values = match (activation, dropout) {
        (Activation::Identity, None) => return None,
        (Activation::Identity, Some(_)) => {
            let mut values = Buffer::<S>::scratch(x.len());
            for_each_rows(
                &mut values,
                columns,
                #[inline(always)]
                |first, block| block.copy_from_slice(&x[first * columns..][..block.len()]),
            );
            values
        }
        _ => activated::<S>(x, activation),
    };
    let Some(dropout) = dropout else { return Some(values) };
    for_each_rows(
        &mut values,
        columns,
        #[inline(always)]
        |first, block| {
            for (row, values) in block.chunks_exact_mut(columns).enumerate() {
                let (mask, scale) = (dropout.row(first + row), dropout.scale::<S::Real>());
                for (element, value) in values.iter_mut().enumerate() {
                    let factor = if mask.keeps(element as u32) {
                        scale
                    } else {
                        S::Real::ZERO
                    };
                    *value = S::narrow(value.widen() * factor);
                }
            }
        },
    );
    Some(values)
}

/// Runs `body` with the left factor that some columns of a matrix are, packed only where they are no whole words.
fn with_columns<S: Float, T>(
    values: &[S],
    rows: usize,
    columns: usize,
    [first, count]: [usize; 2],
    body: impl FnOnce(Left<'_, S::Dot>) -> T,
) -> T {
    if [first, count, columns].into_iter().all(Left::<S::Dot>::is_whole) {
        return body(Left::rows(&values[first.min(values.len())..], rows, count, columns));
    }
    let lines = Lines {
        count: rows,
        inner: count,
        group: S::Dot::GROUP,
    };
    let packed = Panels::<S, ROWS>::from_lines(lines, |row| &values[row * columns + first..][..count], |value| value);
    body(Left::panels(&packed))
}

/// The columns of a matrix that belong to a pair.
fn columns_of<'a, O>(values: &'a mut [O], rows: usize, columns: usize, place: &Place) -> Out<'a, O> {
    let (_, rest) = Out::new(values, rows, columns).split_columns(place.first_column);
    rest.split_columns(place.columns).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};
    use crate::{DType, ops};

    /// Two pairs for the outer thirds of a product's columns.
    fn add(tape: &Tape, inputs: &[Var], output: Var, activation: Activation, dropout: Option<Dropout>) -> Result<Var> {
        let part = |down: usize, scale: f64, first_column: usize| LowRank {
            down: &inputs[down],
            up: &inputs[down + 1],
            scale,
            first_column,
        };
        let parts = [part(1, 2.0, 0), part(3, 0.5, 7)];
        low_rank(tape, output, &inputs[0], activation, &parts, dropout)
    }

    fn inputs() -> Vec<Tensor> {
        vec![
            normal(1, &[5, 6]),
            normal(2, &[3, 6]),
            normal(3, &[4, 3]),
            normal(4, &[2, 6]),
            normal(5, &[4, 2]),
            normal(6, &[11, 6]),
        ]
    }

    #[test]
    fn gradients() {
        for activation in [Activation::Identity, Activation::Gelu] {
            for dropout in [None, Dropout::new(0.4, 1, 2, 3, 4)] {
                check(inputs(), |tape, inputs| {
                    let parts = [ops::Affine {
                        weight: &inputs[5],
                        bias: None,
                    }];
                    let output = ops::linear(tape, &inputs[0], activation, &parts)?;
                    add(tape, inputs, output, activation, dropout)
                });
            }
        }
    }

    #[test]
    fn it_is_dropout_and_two_products() {
        let mask = Dropout::new(0.4, 1, 2, 3, 4);
        let tape = Tape::inference();
        let inputs: Vec<Var> = inputs().into_iter().map(|value| tape.constant(value)).collect();
        let nothing = tape.constant(Tensor::zeros::<f64>(&[5, 11]));
        let found = add(&tape, &inputs, nothing, Activation::Relu, mask).unwrap();
        let product = |input: &Var, weight: usize| {
            let parts = [ops::Affine {
                weight: &inputs[weight],
                bias: None,
            }];
            ops::linear(&tape, input, Activation::Identity, &parts).unwrap()
        };
        let input = ops::activate(&tape, &inputs[0], Activation::Relu).unwrap();
        let input = ops::dropout(&tape, &input, mask).unwrap();
        let (first, second) = (product(&product(&input, 1), 2), product(&product(&input, 3), 4));
        let (first, second) = (first.value().to_f64_vec(), second.value().to_f64_vec());
        for (row, found) in found.value().to_f64_vec().chunks_exact(11).enumerate() {
            for (column, found) in found.iter().enumerate() {
                let expected = match column {
                    0..4 => 2.0 * first[row * 4 + column],
                    7.. => 0.5 * second[row * 4 + column - 7],
                    _ => 0.0,
                };
                assert!((found - expected).abs() < 1e-12, "row {row}, column {column}");
            }
        }
    }

    #[test]
    fn bf16_is_near() {
        let tape = Tape::inference();
        let run = |dtype: DType, real: DType| {
            let mut all: Vec<Var> = inputs()
                .into_iter()
                .map(|value| tape.constant(value.to_dtype(real)))
                .collect();
            all[0] = tape.constant(inputs()[0].to_dtype(dtype));
            let output = tape.constant(normal(7, &[5, 11]).to_dtype(dtype));
            let found = add(&tape, &all, output, Activation::Identity, None).unwrap();
            found.value().to_f64_vec()
        };
        let (narrow, wide) = (run(DType::BF16, DType::F32), run(DType::F64, DType::F64));
        for (narrow, wide) in narrow.iter().zip(&wide) {
            assert!(
                (narrow - wide).abs() < 0.02 * wide.abs().max(4.0),
                "{narrow} instead of {wide}"
            );
        }
    }

    #[test]
    fn shapes_are_checked() {
        let tape = Tape::inference();
        let zeros = |shape: &[usize]| tape.constant(Tensor::zeros::<f32>(shape));
        let run = |down: &[usize], up: &[usize]| {
            let (down, up) = (zeros(down), zeros(up));
            let part = LowRank {
                down: &down,
                up: &up,
                scale: 1.0,
                first_column: 2,
            };
            let run = low_rank(
                &tape,
                zeros(&[4, 5]),
                &zeros(&[4, 3]),
                Activation::Identity,
                &[part],
                None,
            );
            run.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(run(&[2, 3], &[3, 2]), Ok(()));
        assert_eq!(
            run(&[2, 4], &[3, 2]).unwrap_err(),
            "low_rank: down has shape [2, 4], expected [_, 3]"
        );
        assert_eq!(
            run(&[2, 3], &[4, 2]).unwrap_err(),
            "low_rank: up has shape [4, 2], expected [at most 3, 2]"
        );
    }
}
