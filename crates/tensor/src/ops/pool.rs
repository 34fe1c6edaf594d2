//! `pool`: one row of each packed sequence, by which it is classified: the first token's (BERT-like encoders), the last one's
//! (decoders) or the mean of all.
//!
//! `pool_last_of`: that of the last token with a given id (the end of the sentence, of encoders with decoders).
//!
//! Gradient: the row that was taken gets that of the output; of a mean of n rows, each gets it over n.

use crate::buffer::Buffer;
use crate::cpu::reduce;
use crate::ops::with_float;
use crate::{Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "pool";

/// What is taken of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// The first token.
    #[default]
    First,
    /// The last token.
    Last,
    /// The mean of all tokens.
    Mean,
}

/// One row for each sequence.
///
/// # Shapes
/// `hidden`: `[tokens, hidden_size]`; `sequence_starts`: `[batch + 1]`, first 0, last `tokens`. Returns `[batch,
/// hidden_size]`, in what is computed in: heads are too small for narrower types to pay.
///
/// # Errors
/// [`Error::Shape`] if a sequence is empty or the starts do not fit.
pub fn pool(tape: &Tape, hidden: &Var, sequence_starts: &[u32], pooling: Pooling) -> Result<Var> {
    with_float!(NAME, hidden.value(), S => run::<S>(tape, hidden, sequence_starts, pooling))
}

/// The row of each sequence's last token whose id is `id`.
///
/// # Shapes
/// As [`pool`], with `ids`: `[tokens]`.
///
/// # Errors
/// As there, and [`Error::MissingToken`] if a sequence has no such token.
pub fn pool_last_of(tape: &Tape, hidden: &Var, sequence_starts: &[u32], ids: &[u32], id: u32) -> Result<Var> {
    let [tokens, _] = hidden.dims2(NAME, "hidden")?;
    super::attention::check_starts(NAME, sequence_starts, tokens)?;
    if ids.len() != tokens {
        return Err(Error::shape(NAME, "ids", &[ids.len()], format_args!("[{tokens}]")));
    }
    let starts = sequence_starts.windows(2).enumerate();
    let taken = starts.map(|(sequence, pair)| {
        let (first, end) = (pair[0] as usize, pair[1] as usize);
        let last = ids[first..end].iter().rposition(|&other| other == id);
        let row = first
            + last.ok_or(Error::MissingToken {
                operation: NAME,
                id,
                sequence,
            })?;
        Ok(row..row + 1)
    });
    let taken = taken.collect::<Result<Vec<_>>>()?;
    with_float!(NAME, hidden.value(), S => take::<S>(tape, hidden, taken))
}

fn run<S: Float>(tape: &Tape, hidden: &Var, sequence_starts: &[u32], pooling: Pooling) -> Result<Var> {
    let [tokens, _] = hidden.dims2(NAME, "hidden")?;
    super::attention::check_starts(NAME, sequence_starts, tokens)?;
    if sequence_starts.windows(2).any(|pair| pair[0] == pair[1]) {
        let expected = "no empty sequence";
        return Err(Error::shape(
            NAME,
            "sequence_starts",
            &[sequence_starts.len()],
            expected,
        ));
    }
    // The rows that are taken of each sequence.
    let taken = sequence_starts
        .windows(2)
        .map(|pair| {
            let (first, end) = (pair[0] as usize, pair[1] as usize);
            match pooling {
                Pooling::First => first..first + 1,
                Pooling::Last => end - 1..end,
                Pooling::Mean => first..end,
            }
        })
        .collect();
    take::<S>(tape, hidden, taken)
}

/// The mean of some rows for each sequence.
fn take<S: Float>(tape: &Tape, hidden: &Var, taken: Vec<std::ops::Range<usize>>) -> Result<Var> {
    let [_, hidden_size] = hidden.dims2(NAME, "hidden")?;
    let values = hidden.value().slice::<S>(NAME, "hidden")?;
    let mut output = Buffer::<S::Real>::zeros(taken.len() * hidden_size);
    for (row, taken) in output.chunks_exact_mut(hidden_size.max(1)).zip(&taken) {
        let share = S::Real::ONE / S::Real::from_f64(taken.len() as f64);
        for source in taken.clone() {
            reduce::add(row, &values[source * hidden_size..][..hidden_size]);
        }
        row.iter_mut().for_each(|value| *value *= share);
    }
    let output = Tensor::from_buffer(output, &[taken.len(), hidden_size]);
    Ok(tape.push(output, &[hidden], || {
        let hidden = hidden.destination();
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let gradient = gradient.as_mut_slice::<S::Real>().unwrap_or_default();
            gradients.update::<S>(&hidden, |sum, fresh| {
                if fresh {
                    sum.fill(S::narrow(S::Real::ZERO));
                }
                for (row, taken) in gradient.chunks_exact_mut(hidden_size.max(1)).zip(&taken) {
                    let share = S::Real::ONE / S::Real::from_f64(taken.len() as f64);
                    row.iter_mut().for_each(|value| *value *= share);
                    for target in taken.clone() {
                        reduce::add(&mut sum[target * hidden_size..][..hidden_size], row);
                    }
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
        for pooling in [Pooling::First, Pooling::Last, Pooling::Mean] {
            check(vec![normal(1, &[7, 3])], |tape, inputs| {
                pool(tape, &inputs[0], &[0, 1, 5, 7], pooling)
            });
        }
    }

    #[test]
    fn rows_that_are_taken() {
        let tape = Tape::inference();
        let hidden = tape.constant(Tensor::from_vec(vec![1.0f32, 2.0, 4.0, 8.0, 5.0], &[5, 1]).unwrap());
        let taken = |pooling| pool(&tape, &hidden, &[0, 4, 5], pooling).unwrap().value().to_f64_vec();
        assert_eq!(taken(Pooling::First), [1.0, 5.0]);
        assert_eq!(taken(Pooling::Last), [8.0, 5.0]);
        assert_eq!(taken(Pooling::Mean), [3.75, 5.0]);
    }

    #[test]
    fn the_last_token_with_an_id() {
        let ids = [7, 2, 2, 3, 2, 2, 9];
        check(vec![normal(1, &[7, 3])], |tape, inputs| {
            pool_last_of(tape, &inputs[0], &[0, 4, 5, 7], &ids, 2)
        });
        let tape = Tape::inference();
        let hidden = tape.constant(Tensor::from_vec((0..7).map(|row| row as f32).collect(), &[7, 1]).unwrap());
        let pooled = |id| pool_last_of(&tape, &hidden, &[0, 4, 5, 7], &ids, id);
        assert_eq!(pooled(2).unwrap().value().to_f64_vec(), [2.0, 4.0, 5.0]);
        assert_eq!(
            pooled(3).unwrap_err().to_string(),
            "pool: sequence 1 has no token with the id 3"
        );
    }

    #[test]
    fn an_empty_sequence_has_no_token() {
        let tape = Tape::inference();
        let hidden = tape.constant(normal(1, &[7, 3]));
        assert!(pool(&tape, &hidden, &[0, 3, 3, 7], Pooling::Last).is_err());
        assert!(pool(&tape, &hidden, &[0, 3], Pooling::First).is_err());
    }
}
