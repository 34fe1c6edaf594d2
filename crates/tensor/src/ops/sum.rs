//! `sum`: several losses as one. Gradient: that of the sum, for each.

use crate::ops::with_real;
use crate::{Real, Result, Tape, Tensor, Var};

/// a + b, of one element each.
///
/// # Errors
/// [`crate::Error::DType`] if they are not of the same type.
pub fn sum(tape: &Tape, one: &Var, other: &Var) -> Result<Var> {
    with_real!("sum", one.value(), T => run::<T>(tape, one, other))
}

fn run<T: Real>(tape: &Tape, one: &Var, other: &Var) -> Result<Var> {
    let [first, second] = [one, other].map(|loss| loss.value().slice::<T>("sum", "loss").map(|values| values[0]));
    let value = T::from_f64(first?.to_f64() + second?.to_f64());
    Ok(tape.push(Tensor::scalar(value), &[one, other], || {
        let both = [one.destination(), other.destination()];
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            for destination in &both {
                gradients.add::<T>(destination, gradient.clone());
            }
            Ok(())
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        check(vec![normal(1, &[4, 3])], |tape, inputs| {
            let squares = ops::mean_squared_error(tape, &inputs[0], &[0.5; 12], 12.0)?;
            let classes = ops::cross_entropy(tape, &inputs[0], &[2, 0, 1, 2], ops::Emphasis::default(), 4.0)?;
            sum(tape, &squares, &classes)
        });
    }
}
