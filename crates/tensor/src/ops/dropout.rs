//! `dropout`: y = x · mask / (1 − p). The mask is made from counters (`random.rs`), forward and backward.

use crate::cpu::for_each_rows;
use crate::ops::with_real;
use crate::{Dropout, Real, Result, Tape, Tensor, Var};

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
        Some(dropout) => with_real!(NAME, input.value(), T => run::<T>(tape, input, dropout)),
    }
}

fn run<T: Real>(tape: &Tape, input: &Var, dropout: Dropout) -> Result<Var> {
    let [_, columns] = input.dims2(NAME, "input")?;
    let mut output = input.value().clone();
    drop_elements::<T>(&mut output, columns, dropout);
    Ok(tape.push(output, &[input], || {
        let input = input.destination();
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            drop_elements::<T>(&mut gradient, columns, dropout);
            gradients.add::<T>(&input, gradient);
            Ok(())
        }
    }))
}

fn drop_elements<T: Real>(values: &mut Tensor, columns: usize, dropout: Dropout) {
    for_each_rows(
        values.as_mut_slice::<T>().unwrap_or_default(),
        columns,
        #[inline(always)]
        |first, block| {
            for (row, values) in block.chunks_exact_mut(columns).enumerate() {
                dropout.apply_row(first + row, values);
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
