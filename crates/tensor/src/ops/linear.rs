//! `linear`: y = f(x) Wᵀ + b, where W may be several weights of a checkpoint, one below the other (query, key and value),
//! and f is the activation that stands before the product.
//!
//! The activation belongs to the product behind it, not to the one before: then x is all that is kept for the gradient, and
//! f(x) is computed again where the factor of the gradient is packed. With u = f(x): dW = dyᵀ u, db = Σ rows of dy,
//! dx = (dy W) · f′(x).
//!
//! Weights and their gradients are in what is computed in; activations may be narrower ([`Float`]), and the products are
//! then of the narrow type with sums in the wide one. Weights that are frozen may be of 4 or 8 bits ([`Nf4`], [`Int8Rows`]): their
//! numbers are made where the factor is packed, a piece of a row at a time.
//!
//! Not here: weights that are packed once, for prediction (`packed_linear.rs`).

use std::ops::Range;

use rayon::prelude::*;

use super::activation::{Function, with_activation};
use crate::autograd::Destination;
use crate::buffer::Buffer;
use crate::cpu::product::{COLUMNS, Dot, Left, Lines, Out, Panels, ROWS, Right, Rows, multiply};
use crate::cpu::{reduce, rows_per_task, vectorised};
use crate::ops::with_float;
use crate::{Activation, Error, Float, Int8Rows, Nf4, Real, Result, Tape, Tensor, Var};

pub(super) const NAME: &str = "linear";

/// A weight with its bias.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// `[out_features, in_features]`, as checkpoints store it.
    pub weight: &'a Var,
    /// `[out_features]`
    pub bias: Option<&'a Var>,
}

/// f(x) Wᵀ + b for the weights W and biases b of `parts`, one below the other.
///
/// # Shapes
/// `input`: `[rows, in_features]`. Returns `[rows, sum of the out_features]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn linear(tape: &Tape, input: &Var, activation: Activation, parts: &[Affine<'_>]) -> Result<Var> {
    with_float!(NAME, input.value(), S => run::<S>(tape, input, activation, parts))
}

/// A weight of the tape, for the gradient.
struct Part {
    weight: Tensor,
    weight_destination: Destination,
    bias_destination: Option<Destination>,
}

/// The rows of several matrices of the same width, one below the other.
pub(super) struct Stacked<'a, R> {
    parts: Vec<Weight<'a, R>>,
    columns: usize,
    /// The part of each row, and its number there.
    places: Vec<(u32, u32)>,
}

/// The elements of a matrix.
#[derive(Clone, Copy)]
enum Weight<'a, R> {
    Plain(&'a [R]),
    Nf4(&'a Nf4),
    Int8(&'a Int8Rows),
}

impl<'a, R: Real> Stacked<'a, R> {
    /// `names` are those of the operation and of what the matrices are to it.
    pub(super) fn new(
        matrices: impl Iterator<Item = &'a Tensor>,
        names: [&'static str; 2],
        columns: usize,
    ) -> Result<Self> {
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        for (part, matrix) in matrices.enumerate() {
            let rows = matrix.len().checked_div(columns).unwrap_or(0);
            places.extend((0..rows).map(|row| (part as u32, row as u32)));
            parts.push(match (matrix.as_nf4(), matrix.as_int8()) {
                (Some(values), _) => Weight::Nf4(values),
                (_, Some(rows)) => Weight::Int8(rows),
                (None, None) => Weight::Plain(matrix.slice::<R>(names[0], names[1])?),
            });
        }
        Ok(Self { parts, columns, places })
    }
}

impl<'a, R: Real> Rows<'a, R> for &Stacked<'a, R> {
    const MAKES: bool = true;

    #[inline(always)]
    fn read<'s>(&'s self, row: usize, range: Range<usize>, space: &'s mut [R]) -> &'s [R]
    where
        'a: 's,
    {
        let (part, row) = self.places[row];
        let first = row as usize * self.columns + range.start;
        match self.parts[part as usize] {
            Weight::Plain(values) => &values[first..][..range.len()],
            Weight::Nf4(values) => {
                values.read(first, space);
                space
            }
            Weight::Int8(rows) => {
                rows.read(first, space);
                space
            }
        }
    }
}

/// The checked outputs of all parts together.
pub(super) fn check<R: Float>(in_features: usize, parts: &[(&Tensor, Option<&Tensor>)]) -> Result<(usize, Vec<R>)> {
    let mut biases = Vec::new();
    for (weight, bias) in parts {
        let [outputs, inputs] = weight.dims2(NAME, "weight")?;
        if inputs != in_features {
            return Err(Error::shape(
                NAME,
                "weight",
                weight.shape(),
                format_args!("[_, {in_features}]"),
            ));
        }
        match bias {
            None => biases.resize(biases.len() + outputs, R::default()),
            Some(bias) if bias.shape() == [outputs] => biases.extend_from_slice(bias.slice::<R>(NAME, "bias")?),
            Some(bias) => return Err(Error::shape(NAME, "bias", bias.shape(), format_args!("[{outputs}]"))),
        }
    }
    Ok((biases.len(), biases))
}

/// The columns of x · Wᵀ: rows of the weights, packed as the right factor.
pub(super) fn pack_weights<S: Float>(weights: &Stacked<'_, S::Real>, outputs: usize) -> Panels<S, COLUMNS> {
    let lines = Lines {
        count: outputs,
        inner: weights.columns,
        group: S::Dot::GROUP,
    };
    Panels::from_lines(lines, weights, S::narrow)
}

/// Runs `body` with the left factor that a row-major matrix is, packed only where its rows are no whole words.
pub(super) fn with_left<S: Float, T>(
    values: &[S],
    rows: usize,
    inner: usize,
    body: impl FnOnce(Left<'_, S::Dot>) -> T,
) -> T {
    if Left::<S::Dot>::is_whole(inner) {
        return body(Left::rows(values, rows, inner, inner));
    }
    let lines = Lines {
        count: rows,
        inner,
        group: S::Dot::GROUP,
    };
    let packed = Panels::<S, ROWS>::from_lines(lines, |row| &values[row * inner..][..inner], |value| value);
    body(Left::panels(&packed))
}

/// f(x) Wᵀ + b with packed weights.
pub(super) fn forward<S: Float>(
    input: &Tensor,
    rows: usize,
    inner: usize,
    activation: Activation,
    weights: &Panels<S, COLUMNS>,
    bias: &[S::Real],
) -> Result<Tensor> {
    let x = input.slice::<S>(NAME, "input")?;
    let activated = (activation != Activation::Identity).then(|| super::activation::activated::<S>(x, activation));
    let x = activated.as_deref().unwrap_or(x);
    let outputs = bias.len();
    let mut output = Buffer::<S>::scratch(rows * outputs);
    with_left::<S, _>(x, rows, inner, |left| {
        multiply(
            left,
            Right::<S::Dot>::panels(weights),
            Out::new(&mut output, rows, outputs),
            #[inline(always)]
            |_, column, sums, out| {
                for ((out, &sum), &bias) in out.iter_mut().zip(sums).zip(&bias[column..]) {
                    *out = S::narrow(sum + bias);
                }
            },
        );
    });
    Ok(Tensor::from_buffer(output, &[rows, outputs]))
}

fn run<S: Float>(tape: &Tape, input: &Var, activation: Activation, parts: &[Affine<'_>]) -> Result<Var> {
    let [rows, inner] = input.dims2(NAME, "input")?;
    let tensors: Vec<_> = parts
        .iter()
        .map(|part| (part.weight.value(), part.bias.map(Var::value)))
        .collect();
    let (outputs, bias) = check::<S::Real>(inner, &tensors)?;
    let weights = Stacked::new(parts.iter().map(|part| part.weight.value()), [NAME, "weight"], inner)?;
    let packed = pack_weights::<S>(&weights, outputs);
    let output = forward::<S>(input.value(), rows, inner, activation, &packed, &bias)?;
    drop(packed);

    let inputs: Vec<&Var> = parts
        .iter()
        .flat_map(|part| [Some(part.weight), part.bias])
        .flatten()
        .collect();
    let inputs: Vec<&Var> = std::iter::once(input).chain(inputs).collect();
    Ok(tape.push(output, &inputs, || {
        let destination = input.destination();
        let input = input.value().clone();
        let parts: Vec<Part> = parts
            .iter()
            .map(|part| Part {
                weight: part.weight.value().clone(),
                weight_destination: part.weight.destination(),
                bias_destination: part.bias.map(Var::destination),
            })
            .collect();
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let delta = gradient.slice::<S>(NAME, "gradient")?;
            let x = input.slice::<S>(NAME, "input")?;
            weight_gradients::<S>(&parts, x, inner, activation, delta, outputs, gradients)?;
            if !destination.is_wanted() {
                return Ok(());
            }
            let weights = Stacked::new(parts.iter().map(|part| &part.weight), [NAME, "weight"], inner)?;
            let lines = Lines {
                count: inner,
                inner: outputs,
                group: S::Dot::GROUP,
            };
            let packed = Panels::<S, COLUMNS>::from_elements(lines, &weights, S::narrow);
            gradients.update::<S>(&destination, |sum, fresh| {
                with_left::<S, _>(delta, rows, outputs, |left| {
                    multiply(
                        left,
                        Right::<S::Dot>::panels(&packed),
                        Out::new(sum, rows, inner),
                        #[inline(always)]
                        |row, column, sums, out| {
                            let x = &x[row * inner + column..][..out.len()];
                            store_input_gradient::<S>(activation, x, sums, out, fresh);
                        },
                    );
                });
            });
            Ok(())
        }
    }))
}

/// out ← dy W · f′(x), or if not `fresh`, on top of what is there.
#[inline(always)]
fn store_input_gradient<S: Float>(activation: Activation, x: &[S], sums: &[S::Real], out: &mut [S], fresh: bool) {
    with_activation!(activation, F => {
        if fresh {
            for ((out, &sum), x) in out.iter_mut().zip(sums).zip(x) {
                *out = S::narrow(sum * F::derivative(x.widen()));
            }
        } else {
            for ((out, &sum), x) in out.iter_mut().zip(sums).zip(x) {
                *out = S::narrow(out.widen() + sum * F::derivative(x.widen()));
            }
        }
    });
}

/// dW and db of every part.
fn weight_gradients<S: Float>(
    parts: &[Part],
    x: &[S],
    inner: usize,
    activation: Activation,
    delta: &[S],
    outputs: usize,
    gradients: &mut crate::Gradients<'_>,
) -> Result<()> {
    let rows = delta.len().checked_div(outputs).unwrap_or(0);
    let group = S::Dot::GROUP;
    let lines = Lines {
        count: inner,
        inner: rows,
        group,
    };
    let across = |row: usize| &x[row * inner..][..inner];
    let wanted = parts.iter().any(|part| part.weight_destination.is_wanted());
    // Rounded as in the forward pass.
    let activated = with_activation!(activation, F => {
        wanted.then(|| Panels::<S, COLUMNS>::from_elements(lines, across, |x: S| S::narrow(F::value(x.widen()))))
    });
    let mut first = 0;
    for part in parts {
        let [count, _] = part.weight.dims2(NAME, "weight")?;
        if let Some(activated) = activated.as_ref().filter(|_| part.weight_destination.is_wanted()) {
            let lines = Lines {
                count,
                inner: rows,
                group,
            };
            let across = |row: usize| &delta[row * outputs + first..][..count];
            let packed = Panels::<S, ROWS>::from_elements(lines, across, |delta| delta);
            gradients.update::<S::Real>(&part.weight_destination, |sum, fresh| {
                multiply(
                    Left::<S::Dot>::panels(&packed),
                    Right::panels(activated),
                    Out::new(sum, count, inner),
                    #[inline(always)]
                    |_, _, sums, out| {
                        if fresh {
                            out.copy_from_slice(sums);
                        } else {
                            reduce::add(out, sums);
                        }
                    },
                );
            });
        }
        if let Some(bias) = &part.bias_destination {
            gradients.update::<S::Real>(bias, |sum, fresh| add_column_sums(delta, outputs, first, sum, fresh));
        }
        first += count;
    }
    Ok(())
}

/// Adds the sums over all rows of the columns from `first` on to `sum` (or, if `fresh`, puts them there).
pub(super) fn add_column_sums<S: Float>(values: &[S], columns: usize, first: usize, sum: &mut [S::Real], fresh: bool) {
    let block = (rows_per_task(sum.len()) * columns).max(1);
    // One row of partial sums for each task, so that the order of the additions is that of the rows.
    let mut partial = Buffer::<S::Real>::zeros(values.len().div_ceil(block) * sum.len());
    partial
        .par_chunks_mut(sum.len().max(1))
        .zip(values.par_chunks(block))
        .for_each(|(out, values)| {
            vectorised(
                #[inline(always)]
                || {
                    for row in values.chunks_exact(columns) {
                        reduce::add(out, &row[first..]);
                    }
                },
            );
        });
    collect_partial_sums(&partial, sum, fresh);
}

/// Adds rows of partial sums in order.
pub(super) fn collect_partial_sums<R: Float>(partial: &[R], sum: &mut [R], fresh: bool) {
    if fresh {
        sum.fill(R::default());
    }
    for row in partial.chunks_exact(sum.len().max(1)) {
        reduce::add(sum, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::ops;
    use crate::ops::testing::{check, normal};

    fn affine<'a>(weight: &'a Var, bias: Option<&'a Var>) -> Affine<'a> {
        Affine { weight, bias }
    }

    #[test]
    fn several_weights_side_by_side() {
        let inputs = vec![
            normal(1, &[5, 4]),
            normal(2, &[3, 4]),
            normal(3, &[6, 4]),
            normal(4, &[6]),
        ];
        check(inputs, |tape, inputs| {
            let parts = [affine(&inputs[1], None), affine(&inputs[2], Some(&inputs[3]))];
            linear(tape, &inputs[0], Activation::Relu, &parts)
        });
    }

    #[test]
    fn weights_of_four_bits_give_what_their_numbers_give() {
        for dtype in [DType::F32, DType::BF16, DType::F64] {
            let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let few = normal(2, &[40, 37]).to_dtype(DType::Nf4);
            let run = |weight: Tensor| {
                let mut parameters = crate::Parameters::default();
                let input = parameters.add("input", normal(1, &[5, 37]).to_dtype(dtype));
                let weight = parameters.add("weight", weight);
                parameters.set_trainable(weight, false);
                let tape = Tape::recording();
                let [input_of, weight_of] = [input, weight].map(|id| tape.parameter(&parameters, id));
                let parts = [affine(&weight_of, None), affine(&weight_of, None)];
                let output = linear(&tape, &input_of, Activation::Gelu, &parts).unwrap();
                let loss = ops::to_dtype(&tape, &output, real).unwrap();
                let loss = ops::mean_squared_error(&tape, &loss, &[0.5; 5 * 80], 1.0).unwrap();
                let mut gradients = crate::ParameterGradients::for_parameters(&parameters);
                tape.backward(&loss, &mut gradients).unwrap();
                assert!(gradients.get(weight).is_none());
                (output.value().to_f64_vec(), gradients.get(input).unwrap().to_f64_vec())
            };
            assert_eq!(run(few.clone()), run(few.to_dtype(real)), "{dtype:?}");
        }
    }

    #[test]
    fn weights_of_eight_bits_give_what_their_numbers_give() {
        let tape = Tape::inference();
        let few = normal(2, &[40, 37]).to_dtype(DType::Int8);
        let input = tape.constant(normal(1, &[5, 37]).to_dtype(DType::F32));
        let run = |weight: Tensor| {
            let weight = tape.constant(weight);
            let output = linear(&tape, &input, Activation::Gelu, &[affine(&weight, None)]).unwrap();
            output.value().to_f64_vec()
        };
        assert_eq!(run(few.clone()), run(few.to_dtype(DType::F32)));
    }

    #[test]
    fn gradients() {
        for activation in [
            Activation::Identity,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Relu,
            Activation::Silu,
            Activation::Tanh,
        ] {
            check(
                vec![normal(1, &[5, 3]), normal(2, &[7, 3]), normal(3, &[7])],
                |tape, inputs| linear(tape, &inputs[0], activation, &[affine(&inputs[1], Some(&inputs[2]))]),
            );
        }
    }

    #[test]
    fn an_input_used_twice_gets_both_gradients() {
        check(vec![normal(1, &[4, 3]), normal(2, &[3, 3])], |tape, inputs| {
            let hidden = linear(tape, &inputs[0], Activation::Identity, &[affine(&inputs[1], None)])?;
            linear(tape, &hidden, Activation::Tanh, &[affine(&inputs[1], None)])
        });
    }

    #[test]
    fn no_rows() {
        let tape = Tape::inference();
        let input = tape.constant(Tensor::zeros::<f32>(&[0, 3]));
        let weight = tape.constant(Tensor::zeros::<f32>(&[2, 3]));
        assert_eq!(
            linear(&tape, &input, Activation::Gelu, &[affine(&weight, None)])
                .unwrap()
                .value()
                .shape(),
            [0, 2]
        );
    }

    #[test]
    fn shapes_and_types_are_checked() {
        let tape = Tape::inference();
        let input = tape.constant(Tensor::zeros::<f32>(&[4, 3]));
        let weight = tape.constant(Tensor::zeros::<f32>(&[2, 5]));
        let error = linear(&tape, &input, Activation::Identity, &[affine(&weight, None)]).unwrap_err();
        assert_eq!(error.to_string(), "linear: weight has shape [2, 5], expected [_, 3]");
        let weight = tape.constant(Tensor::zeros::<f64>(&[2, 3]));
        let error = linear(&tape, &input, Activation::Identity, &[affine(&weight, None)]).unwrap_err();
        assert_eq!(error.to_string(), "linear: weight holds F64, expected f32");
    }
}
