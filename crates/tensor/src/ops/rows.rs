//! `rows`: some rows of a matrix, in a given order. Gradient: that of each goes to the row that it was.

use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Tensor, Var};

const NAME: &str = "rows";

/// The rows with these numbers, each at most once.
///
/// # Shapes
/// `input`: `[all, columns]`. Returns `[rows, columns]`.
///
/// # Errors
/// [`Error::Shape`] if there is no row of a number.
pub fn rows(tape: &Tape, input: &Var, rows: &[usize]) -> Result<Var> {
    with_real!(NAME, input.value(), T => run::<T>(tape, input, rows))
}

fn run<T: Real>(tape: &Tape, input: &Var, rows: &[usize]) -> Result<Var> {
    let [all, columns] = input.dims2(NAME, "input")?;
    if let Some(row) = rows.iter().find(|row| **row >= all) {
        return Err(Error::shape(
            NAME,
            "input",
            &[all, columns],
            format_args!("a row {row}"),
        ));
    }
    let values = input.value().slice::<T>(NAME, "input")?;
    let chosen = rows.iter().flat_map(|row| &values[row * columns..][..columns]);
    let chosen = Tensor::from_vec(chosen.copied().collect::<Vec<T>>(), &[rows.len(), columns])?;
    Ok(tape.push(chosen, &[input], || {
        let (input, rows) = (input.destination(), rows.to_vec());
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let gradient = gradient.slice::<T>(NAME, "gradient")?;
            let mut values = vec![T::from_f64(0.0); all * columns];
            for (row, from) in rows.iter().zip(gradient.chunks_exact(columns.max(1))) {
                values[row * columns..][..columns].copy_from_slice(from);
            }
            gradients.add::<T>(&input, Tensor::from_vec(values, &[all, columns])?);
            Ok(())
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        check(vec![normal(1, &[4, 3])], |tape, inputs| rows(tape, &inputs[0], &[2, 0]));
    }

    #[test]
    fn a_row_that_is_not_there_is_named() {
        let tape = Tape::inference();
        let error = rows(&tape, &tape.constant(Tensor::zeros::<f32>(&[2, 3])), &[0, 2]).unwrap_err();
        assert_eq!(error.to_string(), "rows: input has shape [2, 3], expected a row 2");
    }
}
