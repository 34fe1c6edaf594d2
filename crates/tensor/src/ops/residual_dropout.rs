//! `residual_dropout`: y = dropout(x) + r, the step that closes each half of a layer whose norms stand before its products.
//!
//! Gradient: dr = dy, dx = dropout(dy). Nothing is kept for it.

use crate::buffer::Buffer;
use crate::cpu::{for_each_rows, reduce};
use crate::ops::with_float;
use crate::{Dropout, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "residual_dropout";

/// dropout(input) + residual. What `input` holds is changed in place where nobody else has it.
///
/// # Shapes
/// `input`, `residual`: `[rows, hidden_size]`; returns the same.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if they do not fit.
pub fn residual_dropout(tape: &Tape, input: Var, residual: &Var, dropout: Option<Dropout>) -> Result<Var> {
    with_float!(NAME, input.value(), S => run::<S>(tape, input, residual, dropout))
}

fn run<S: Float>(tape: &Tape, input: Var, residual: &Var, dropout: Option<Dropout>) -> Result<Var> {
    let [rows, columns] = input.dims2(NAME, "input")?;
    if residual.value().shape() != [rows, columns] {
        let expected = format_args!("[{rows}, {columns}]").to_string();
        return Err(Error::shape(NAME, "residual", residual.value().shape(), expected));
    }
    let r = residual.value().slice::<S>(NAME, "residual")?;
    let (mut values, destination) = input.take();
    for_each_rows(
        values.as_mut_slice::<S>().unwrap_or_default(),
        columns,
        #[inline(always)]
        |first, block| {
            for (row, values) in block.chunks_exact_mut(columns).enumerate() {
                let r = &r[(first + row) * columns..][..columns];
                match dropout {
                    None => reduce::add(values, r),
                    Some(dropout) => {
                        let (mask, scale) = (dropout.row(first + row), dropout.scale::<S::Real>());
                        for (element, (value, r)) in values.iter_mut().zip(r).enumerate() {
                            let kept = if mask.keeps(element as u32) {
                                scale
                            } else {
                                S::Real::ZERO
                            };
                            *value = S::narrow(value.widen() * kept + r.widen());
                        }
                    }
                }
            }
        },
    );
    let is_wanted = destination.is_wanted() || residual.needs_gradient();
    Ok(tape.push_if(is_wanted, values, || {
        let residual = residual.destination();
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let d_input = match dropout {
                // Both own the same storage until one of them is added to.
                None => gradient.clone(),
                Some(dropout) => {
                    let delta = gradient.slice::<S>(NAME, "gradient")?;
                    let mut d_input = Buffer::<S>::scratch(rows * columns);
                    for_each_rows(
                        &mut d_input,
                        columns,
                        #[inline(always)]
                        |first, block| {
                            for (row, values) in block.chunks_exact_mut(columns).enumerate() {
                                let (mask, scale) = (dropout.row(first + row), dropout.scale::<S::Real>());
                                let delta = &delta[(first + row) * columns..][..columns];
                                for (element, (value, delta)) in values.iter_mut().zip(delta).enumerate() {
                                    let kept = if mask.keeps(element as u32) {
                                        scale
                                    } else {
                                        S::Real::ZERO
                                    };
                                    *value = S::narrow(delta.widen() * kept);
                                }
                            }
                        },
                    );
                    Tensor::from_buffer(d_input, &[rows, columns])
                }
            };
            gradients.add::<S>(&destination, d_input);
            gradients.add::<S>(&residual, gradient);
            Ok(())
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        for dropout in [None, Dropout::new(0.3, 1, 2, 3, 4)] {
            check(vec![normal(1, &[4, 19]), normal(2, &[4, 19])], |tape, inputs| {
                residual_dropout(tape, inputs[0].clone(), &inputs[1], dropout)
            });
            // The residual is what the input was made of.
            check(vec![normal(1, &[4, 7])], |tape, inputs| {
                let input = crate::ops::activate(tape, &inputs[0], crate::Activation::Tanh)?;
                residual_dropout(tape, input, &inputs[0], dropout)
            });
        }
    }

    #[test]
    fn sums_in_every_type() {
        let tape = Tape::inference();
        for dtype in [DType::F64, DType::F32, DType::BF16] {
            let [x, r] = [1, 2].map(|seed| tape.constant(normal(seed, &[3, 5]).to_dtype(dtype)));
            let expected: Vec<f64> = (x.value().to_f64_vec().iter().zip(r.value().to_f64_vec()))
                .map(|(x, r)| x + r)
                .collect();
            let expected = Tensor::from_vec(expected, &[3, 5])
                .unwrap()
                .to_dtype(dtype)
                .to_f64_vec();
            let found = residual_dropout(&tape, x, &r, None).unwrap();
            assert_eq!(found.value().to_f64_vec(), expected);
        }
        let [x, r] = [5, 6].map(|columns| tape.constant(normal(1, &[3, columns])));
        assert!(residual_dropout(&tape, x, &r, None).is_err());
    }
}
