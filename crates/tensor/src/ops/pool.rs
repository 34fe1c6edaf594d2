//! `pool_first`: the first row of every packed sequence, which is where BERT-like encoders gather what they classify by.

use crate::buffer::Buffer;
use crate::cpu::reduce;
use crate::ops::with_float;
use crate::{Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "pool_first";

/// The first token of each sequence.
///
/// # Shapes
/// `hidden`: `[tokens, hidden_size]`; `sequence_starts`: `[batch + 1]`, first 0, last `tokens`. Returns `[batch,
/// hidden_size]`, in what is computed in: heads are too small for narrower types to pay.
///
/// # Errors
/// [`Error::Shape`] if a sequence is empty or the starts do not fit.
pub fn pool_first(tape: &Tape, hidden: &Var, sequence_starts: &[u32]) -> Result<Var> {
    with_float!(NAME, hidden.value(), S => run::<S>(tape, hidden, sequence_starts))
}

fn run<S: Float>(tape: &Tape, hidden: &Var, sequence_starts: &[u32]) -> Result<Var> {
    let [tokens, hidden_size] = hidden.dims2(NAME, "hidden")?;
    super::attention::check_starts(NAME, sequence_starts, tokens)?;
    let starts: Vec<usize> = sequence_starts[..sequence_starts.len() - 1]
        .iter()
        .map(|&start| start as usize)
        .collect();
    if sequence_starts.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::shape(
            NAME,
            "sequence_starts",
            &[sequence_starts.len()],
            "no empty sequence",
        ));
    }
    let values = hidden.value().slice::<S>(NAME, "hidden")?;
    let mut output = Buffer::<S::Real>::scratch(starts.len() * hidden_size);
    for (row, &start) in output.chunks_exact_mut(hidden_size.max(1)).zip(&starts) {
        let source = &values[start * hidden_size..][..hidden_size];
        row.iter_mut()
            .zip(source)
            .for_each(|(value, source)| *value = source.widen());
    }
    let output = Tensor::from_buffer(output, &[starts.len(), hidden_size]);
    Ok(tape.push(output, &[hidden], || {
        let hidden = hidden.destination();
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let gradient = gradient.slice::<S::Real>(NAME, "gradient")?;
            gradients.update::<S>(&hidden, |sum, fresh| {
                if fresh {
                    sum.fill(S::narrow(S::Real::ZERO));
                }
                for (row, &start) in gradient.chunks_exact(hidden_size.max(1)).zip(&starts) {
                    let sum = &mut sum[start * hidden_size..][..hidden_size];
                    reduce::add(sum, row);
                }
            });
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
        check(vec![normal(1, &[7, 3])], |tape, inputs| {
            pool_first(tape, &inputs[0], &[0, 1, 5, 7])
        });
    }

    #[test]
    fn an_empty_sequence_has_no_first_token() {
        let tape = Tape::inference();
        let hidden = tape.constant(normal(1, &[7, 3]));
        assert!(pool_first(&tape, &hidden, &[0, 3, 3, 7]).is_err());
        assert!(pool_first(&tape, &hidden, &[0, 3]).is_err());
    }
}
