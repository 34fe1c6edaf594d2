//! `gated`: y = f(g) ∘ u, the middle of a gated feed-forward half (Shazeer 2020, <https://arxiv.org/abs/2002.05202>): SwiGLU with
//! f = silu, GeGLU with f = gelu.
//!
//! g and u stand side by side in one matrix, as one product makes them. With M the dropout mask over 1 − p (or ones):
//! y = f(g) ∘ u ∘ M, dg = dy ∘ M ∘ u ∘ f′(g), du = dy ∘ M ∘ f(g). g and u are kept for it.

use super::activation::{Function, with_activation};
use crate::buffer::Buffer;
use crate::cpu::for_each_rows;
use crate::ops::with_float;
use crate::{Activation, Dropout, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "gated";

/// f(g) ∘ u, with elements dropped if a mask is given.
///
/// # Shapes
/// `input`: `[rows, 2 * columns]`, g and then u. Returns `[rows, columns]`.
///
/// # Errors
/// [`Error::Shape`] if the columns are odd in number.
pub fn gated(tape: &Tape, input: &Var, activation: Activation, dropout: Option<Dropout>) -> Result<Var> {
    with_float!(NAME, input.value(), S => run::<S>(tape, input, activation, dropout))
}

fn run<S: Float>(tape: &Tape, input: &Var, activation: Activation, dropout: Option<Dropout>) -> Result<Var> {
    let [rows, double] = input.dims2(NAME, "input")?;
    if !double.is_multiple_of(2) {
        return Err(Error::shape(
            NAME,
            "input",
            &[rows, double],
            "an even number of columns",
        ));
    }
    let columns = double / 2;
    let values = input.value().slice::<S>(NAME, "input")?;
    let mut output = Buffer::<S>::scratch(rows * columns);
    with_activation!(activation, F => for_each_rows(
        &mut output,
        columns,
        #[inline(always)]
        |first, block| {
            for (row, output) in block.chunks_exact_mut(columns).enumerate() {
                let (gates, ups) = values[(first + row) * double..][..double].split_at(columns);
                for (output, (gate, up)) in output.iter_mut().zip(gates.iter().zip(ups)) {
                    *output = S::narrow(F::value(gate.widen()) * up.widen());
                }
                if let Some(dropout) = dropout {
                    drop_row(dropout, first + row, output);
                }
            }
        },
    ));
    Ok(tape.push(Tensor::from_buffer(output, &[rows, columns]), &[input], || {
        let (input, destination) = (input.value().clone(), input.destination());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let values = input.slice::<S>(NAME, "input")?;
            let delta = gradient.slice::<S>(NAME, "gradient")?;
            let mut d_input = Buffer::<S>::scratch(rows * double);
            with_activation!(activation, F => for_each_rows(
                &mut d_input,
                double,
                #[inline(always)]
                |first, block| {
                    for (row, d_input) in block.chunks_exact_mut(double).enumerate() {
                        let row = first + row;
                        let (gates, ups) = values[row * double..][..double].split_at(columns);
                        let (d_gates, d_ups) = d_input.split_at_mut(columns);
                        let inputs = gates.iter().zip(ups).zip(&delta[row * columns..][..columns]);
                        for (((gate, up), delta), (d_gate, d_up)) in inputs.zip(d_gates.iter_mut().zip(&mut *d_ups)) {
                            let (gate, delta) = (gate.widen(), delta.widen());
                            *d_gate = S::narrow(delta * up.widen() * F::derivative(gate));
                            *d_up = S::narrow(delta * F::value(gate));
                        }
                        if let Some(dropout) = dropout {
                            drop_row(dropout, row, d_gates);
                            drop_row(dropout, row, d_ups);
                        }
                    }
                },
            ));
            gradients.add::<S>(&destination, Tensor::from_buffer(d_input, &[rows, double]));
            Ok(())
        }
    }))
}

#[inline(always)]
fn drop_row<S: Float>(dropout: Dropout, row: usize, values: &mut [S]) {
    let (mask, scale) = (dropout.row(row), dropout.scale::<S::Real>());
    for (element, value) in values.iter_mut().enumerate() {
        let kept = if mask.keeps(element as u32) {
            scale
        } else {
            S::Real::ZERO
        };
        *value = S::narrow(value.widen() * kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};
    use crate::{DType, ops};

    #[test]
    fn gradients() {
        for activation in [Activation::Silu, Activation::Gelu, Activation::Identity] {
            for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
                check(vec![normal(1, &[5, 14])], |tape, inputs| {
                    gated(tape, &inputs[0], activation, dropout)
                });
            }
        }
    }

    #[test]
    fn equals_activation_times_the_other_half() {
        let tape = Tape::inference();
        for (dtype, tolerance) in [(DType::F64, 1e-15), (DType::F32, 1e-6), (DType::BF16, 0.02)] {
            let input = tape.constant(normal(1, &[33, 38]).to_dtype(dtype));
            let activated = ops::activate(
                &tape,
                &tape.constant(input.value().to_dtype(DType::F64)),
                Activation::Silu,
            );
            let (activated, values) = (activated.unwrap().value().to_f64_vec(), input.value().to_f64_vec());
            let found = gated(&tape, &input, Activation::Silu, None)
                .unwrap()
                .value()
                .to_f64_vec();
            for (index, found) in found.iter().enumerate() {
                let place = index / 19 * 38 + index % 19;
                let expected = activated[place] * values[place + 19];
                assert!(
                    (found - expected).abs() <= tolerance * expected.abs().max(1.0),
                    "{found} instead of {expected}"
                );
            }
        }
        assert!(gated(&tape, &tape.constant(normal(1, &[2, 3])), Activation::Silu, None).is_err());
    }
}
