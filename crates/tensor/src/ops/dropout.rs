//! `dropout`: y = x · mask / (1 − p). The mask is made from counters (`random.rs`), forward and backward.

use crate::cpu::for_each_rows;
use crate::ops::with_float;
use crate::{Dropout, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "dropout";

/// Drops elements of `input` if a mask is given, else returns it as it is.
///
/// # Shapes
/// `input`: `[rows, columns]`; returns the same.
///
/// # Errors
/// [`crate::Error`] if `input` is not a floating-point matrix.
pub fn dropout(tape: &Tape, input: &Var, dropout: Option<Dropout>) -> Result<Var> {
    match dropout {
        None => Ok(input.clone()),
        Some(dropout) => with_float!(NAME, input.value(), S => run::<S>(tape, input, dropout)),
    }
}

fn run<S: Float>(tape: &Tape, input: &Var, dropout: Dropout) -> Result<Var> {
    let [_, columns] = input.dims2(NAME, "input")?;
    let mut output = input.value().clone();
    drop_elements::<S>(&mut output, columns, dropout);
    Ok(tape.push(output, &[input], || {
        let input = input.destination();
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            drop_elements::<S>(&mut gradient, columns, dropout);
            gradients.add::<S>(&input, gradient);
            Ok(())
        }
    }))
}

fn drop_elements<S: Float>(values: &mut Tensor, columns: usize, dropout: Dropout) {
    for_each_rows(
        values.as_mut_slice::<S>().unwrap_or_default(),
        columns,
        #[inline(always)]
        |first, block| {
            for (row, values) in block.chunks_exact_mut(columns).enumerate() {
                let (mask, scale) = (dropout.row(first + row), dropout.scale::<S::Real>());
                for (element, value) in values.iter_mut().enumerate() {
                    let kept = mask.keeps(element as u32);
                    *value = S::narrow(if kept { value.widen() * scale } else { S::Real::ZERO });
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        let mask = Dropout::new(0.4, 1, 2, 3, 4);
        check(vec![normal(1, &[6, 9])], |tape, inputs| {
            super::dropout(tape, &inputs[0], mask)
        });
    }

    #[test]
    fn nothing_to_drop_changes_nothing() {
        check(vec![normal(1, &[2, 3])], |tape, inputs| {
            super::dropout(tape, &inputs[0], Dropout::new(0.0, 1, 2, 3, 4))
        });
    }
}
