//! `linear`: y = f(x Wᵀ + b), the product with bias and activation in one pass behind it.
//!
//! Gradient, with z = x Wᵀ + b and δ = dy · f′(z): dx = δ W, dW = δᵀ x, db = Σ rows of δ.

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::cpu::product::{Arguments, Matrix};
use crate::cpu::{for_each_rows, reduce, rows_per_task, vectorised};
use crate::ops::with_real;
use crate::{Activation, Error, Real, Result, Tape, Tensor, Var};

const NAME: &str = "linear";

/// f(x Wᵀ + b).
///
/// # Shapes
/// `input`: `[rows, in_features]`; `weight`: `[out_features, in_features]`, as checkpoints store it; `bias`:
/// `[out_features]`. Returns `[rows, out_features]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn linear(tape: &Tape, input: &Var, weight: &Var, bias: Option<&Var>, activation: Activation) -> Result<Var> {
    with_real!(NAME, input.value(), T => run::<T>(tape, input, weight, bias, activation))
}

fn run<T: Real>(tape: &Tape, input: &Var, weight: &Var, bias: Option<&Var>, activation: Activation) -> Result<Var> {
    let [rows, in_features] = input.dims2(NAME, "input")?;
    let [out_features, weight_in] = weight.dims2(NAME, "weight")?;
    if weight_in != in_features {
        return Err(Error::shape(
            NAME,
            "weight",
            weight.value().shape(),
            format_args!("[_, {in_features}]"),
        ));
    }
    if let Some(bias) = bias.filter(|bias| bias.value().shape() != [out_features]) {
        return Err(Error::shape(
            NAME,
            "bias",
            bias.value().shape(),
            format_args!("[{out_features}]"),
        ));
    }
    let x = input.value().slice::<T>(NAME, "input")?;
    let w = weight.value().slice::<T>(NAME, "weight")?;
    let b = bias.map(|bias| bias.value().slice::<T>(NAME, "bias")).transpose()?;

    let mut before = Buffer::<T>::scratch(rows * out_features);
    T::product(Arguments {
        out: &mut before,
        out_row_stride: out_features,
        a: Matrix::new(x, rows, in_features, in_features),
        b: Matrix::new(w, out_features, in_features, in_features).transposed(),
        alpha: T::ONE,
        beta: T::ZERO,
        parallel: true,
    });
    if let Some(b) = b {
        for_each_rows(
            &mut before,
            out_features,
            #[inline(always)]
            |_, block| {
                for row in block.chunks_exact_mut(out_features) {
                    reduce::add(row, b);
                }
            },
        );
    }
    let shape = [rows, out_features];
    let inputs = [Some(input), Some(weight), bias];
    let inputs: Vec<&Var> = inputs.into_iter().flatten().collect();
    let before = Tensor::from_buffer(before, &shape);
    let output = if activation == Activation::Identity {
        before.clone()
    } else {
        let z = before.slice::<T>(NAME, "input")?;
        let mut output = Buffer::<T>::scratch(rows * out_features);
        for_each_rows(
            &mut output,
            out_features,
            #[inline(always)]
            |first, block| {
                let len = block.len();
                activation.forward(&z[first * out_features..][..len], block);
            },
        );
        Tensor::from_buffer(output, &shape)
    };
    Ok(tape.push(output, &inputs, || {
        let (input, weight, bias) = (input.clone(), weight.clone(), bias.cloned());
        let before = (activation != Activation::Identity).then_some(before);
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            if let Some(before) = before {
                let z = before.slice::<T>(NAME, "input")?;
                let delta = gradient.as_mut_slice::<T>().unwrap_or_default();
                for_each_rows(
                    delta,
                    out_features,
                    #[inline(always)]
                    |first, block| {
                        let len = block.len();
                        activation.backward(&z[first * out_features..][..len], block);
                    },
                );
            }
            let delta = gradient.slice::<T>(NAME, "gradient")?;
            let x = input.value().slice::<T>(NAME, "input")?;
            let w = weight.value().slice::<T>(NAME, "weight")?;
            let beta = |fresh: bool| if fresh { T::ZERO } else { T::ONE };
            let delta_matrix = Matrix::new(delta, rows, out_features, out_features);
            gradients.update::<T>(&weight, |sum, fresh| {
                T::product(Arguments {
                    out: sum,
                    out_row_stride: in_features,
                    a: delta_matrix.transposed(),
                    b: Matrix::new(x, rows, in_features, in_features),
                    alpha: T::ONE,
                    beta: beta(fresh),
                    parallel: true,
                });
            });
            if let Some(bias) = &bias {
                gradients.update::<T>(bias, |sum, fresh| add_column_sums(delta, out_features, sum, fresh));
            }
            gradients.update::<T>(&input, |sum, fresh| {
                T::product(Arguments {
                    out: sum,
                    out_row_stride: in_features,
                    a: delta_matrix,
                    b: Matrix::new(w, out_features, in_features, in_features),
                    alpha: T::ONE,
                    beta: beta(fresh),
                    parallel: true,
                });
            });
            Ok(())
        }
    }))
}

/// Adds the sum of all rows of `values` to `sum` (or, if `fresh`, puts it there).
fn add_column_sums<T: Real>(values: &[T], columns: usize, sum: &mut [T], fresh: bool) {
    let block = (rows_per_task(columns) * columns).max(1);
    // One row of partial sums for each task, so that the order of the additions is that of the rows.
    let mut partial = Buffer::<T>::zeros(values.len().div_ceil(block) * columns);
    partial
        .par_chunks_mut(columns.max(1))
        .zip(values.par_chunks(block))
        .for_each(|(out, values)| {
            vectorised(
                #[inline(always)]
                || {
                    for row in values.chunks_exact(columns) {
                        reduce::add(out, row);
                    }
                },
            );
        });
    collect_partial_sums(&partial, sum, fresh);
}

/// Adds rows of partial sums in order.
pub(super) fn collect_partial_sums<T: Real>(partial: &[T], sum: &mut [T], fresh: bool) {
    if fresh {
        sum.fill(T::ZERO);
    }
    for row in partial.chunks_exact(sum.len().max(1)) {
        reduce::add(sum, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

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
                |tape, inputs| linear(tape, &inputs[0], &inputs[1], Some(&inputs[2]), activation),
            );
        }
    }

    #[test]
    fn an_input_used_twice_gets_both_gradients() {
        check(vec![normal(1, &[4, 3]), normal(2, &[3, 3])], |tape, inputs| {
            let hidden = linear(tape, &inputs[0], &inputs[1], None, Activation::Tanh)?;
            linear(tape, &hidden, &inputs[1], None, Activation::Identity)
        });
    }

    #[test]
    fn no_rows() {
        let tape = Tape::inference();
        let input = tape.constant(Tensor::zeros::<f32>(&[0, 3]));
        let weight = tape.constant(Tensor::zeros::<f32>(&[2, 3]));
        assert_eq!(
            linear(&tape, &input, &weight, None, Activation::Gelu)
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
        let error = linear(&tape, &input, &weight, None, Activation::Identity).unwrap_err();
        assert_eq!(error.to_string(), "linear: weight has shape [2, 5], expected [_, 3]");
        let weight = tape.constant(Tensor::zeros::<f64>(&[2, 3]));
        let error = linear(&tape, &input, &weight, None, Activation::Identity).unwrap_err();
        assert_eq!(error.to_string(), "linear: weight holds F64, expected f32");
    }
}
