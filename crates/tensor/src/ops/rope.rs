//! `rope`: rotary positions (Su et al. 2021, <https://arxiv.org/abs/2104.09864>), in the layout of `transformers`.
//!
//! Of each head of queries and keys the first 2n columns are n pairs (x_i, x_{i+n}). At position p of its sequence, a pair is
//! turned by the angle p θ_i and stretched by a factor a: y_i = a (x_i cos − x_{i+n} sin), y_{i+n} = a (x_{i+n} cos + x_i sin). The
//! gradient is turned back: dx_i = a (dy_i cos + dy_{i+n} sin), dx_{i+n} = a (dy_{i+n} cos − dy_i sin). Nothing is kept for it.

use super::heads::{Heads, Part};
use crate::cpu::for_each_rows;
use crate::ops::with_float;
use crate::{DType, Error, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "rope";

/// Cosines and sines of every position, made once for all layers of a pass that turn alike.
#[derive(Debug, Clone)]
pub struct Rotations {
    /// `[positions, 2 * pairs]`: for each position the cosines of all pairs and then the sines.
    table: Tensor,
    pairs: usize,
}

impl Rotations {
    /// For positions from 0 on: pair i is turned by `frequencies[i]` for each position and stretched by `factor`. `dtype` is what
    /// is computed in: `f64`, or else `f32`. Angles are always taken in `f64`: in `f32` they would be off by a thousandth
    /// at some ten thousand tokens.
    ///
    /// # Errors
    /// None that depend on the arguments.
    pub fn new(frequencies: &[f64], factor: f64, positions: usize, dtype: DType) -> Result<Self> {
        let row = |position: usize| {
            let angles = frequencies.iter().map(move |frequency| frequency * position as f64);
            let cosines = angles.clone().map(move |angle| angle.cos() * factor);
            cosines.chain(angles.map(move |angle| angle.sin() * factor))
        };
        let values = (0..positions).flat_map(row);
        let shape = [positions, 2 * frequencies.len()];
        let table = match dtype {
            DType::F64 => Tensor::from_vec(values.collect::<Vec<f64>>(), &shape)?,
            _ => Tensor::from_vec(values.map(|value| value as f32).collect(), &shape)?,
        };
        Ok(Self {
            table,
            pairs: frequencies.len(),
        })
    }

    /// `[positions, 2 * pairs]`: for each position the cosines of all pairs and then the sines, both times the factor.
    pub fn table(&self) -> &Tensor {
        &self.table
    }

    /// Positions that there are.
    pub fn positions(&self) -> usize {
        self.table.shape()[0]
    }
}

/// Turns queries and keys; values stay as they are. What `qkv` holds is changed in place where nobody else has it.
///
/// # Shapes
/// `qkv`: `[tokens, heads * head_dim]` as [`Heads`] says; `sequence_starts`: `[batch + 1]`, first 0, last `tokens`. Returns the
/// shape of `qkv`.
///
/// # Errors
/// [`Error::Shape`] if the heads do not divide the columns, a head is narrower than what is to be turned, a sequence is longer than
/// there are positions, or the starts do not fit.
pub fn rope(tape: &Tape, qkv: Var, sequence_starts: &[u32], heads: Heads, rotations: &Rotations) -> Result<Var> {
    let head_dim = heads.head_dim(NAME, &qkv)?;
    let [tokens, columns] = qkv.dims2(NAME, "qkv")?;
    super::attention::check_starts(NAME, sequence_starts, tokens)?;
    if 2 * rotations.pairs > head_dim {
        let expected = format_args!("heads of at least {} columns", 2 * rotations.pairs).to_string();
        return Err(Error::shape(NAME, "qkv", &[tokens, columns], expected));
    }
    let mut positions = Vec::with_capacity(tokens);
    for pair in sequence_starts.windows(2) {
        positions.extend(0..pair[1] - pair[0]);
    }
    let is_behind = |last: &&u32| **last as usize >= rotations.positions();
    if let Some(&last) = positions.iter().max().filter(is_behind) {
        let expected = format_args!("sequences of at most {} tokens", rotations.positions()).to_string();
        return Err(Error::shape(NAME, "sequence_starts", &[last as usize + 1], expected));
    }
    let turned = [Part::Query, Part::Key].map(|part| {
        let count = if part == Part::Query { heads.queries } else { heads.keys };
        (0..count).map(move |head| heads.column(part, head, head_dim))
    });
    let turn = Turn {
        rotations: rotations.clone(),
        positions,
        starts: turned.into_iter().flatten().collect(),
        columns,
    };
    with_float!(NAME, qkv.value(), S => run::<S>(tape, qkv, turn))
}

/// What is turned, and where.
struct Turn {
    rotations: Rotations,
    /// Of every token.
    positions: Vec<u32>,
    /// First columns of the heads that are turned.
    starts: Vec<usize>,
    columns: usize,
}

fn run<S: Float>(tape: &Tape, qkv: Var, turn: Turn) -> Result<Var> {
    let (mut values, destination) = qkv.take();
    turn.apply::<S>(&mut values, S::Real::ONE)?;
    Ok(tape.push_if(destination.is_wanted(), values, || {
        move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            turn.apply::<S>(&mut gradient, -S::Real::ONE)?;
            gradients.add::<S>(&destination, gradient);
            Ok(())
        }
    }))
}

impl Turn {
    /// Turns in the direction of `sign`.
    fn apply<S: Float>(&self, values: &mut Tensor, sign: S::Real) -> Result<()> {
        let pairs = self.rotations.pairs;
        let turns = self.rotations.table.slice::<S::Real>(NAME, "rotations")?;
        for_each_rows(
            values.as_mut_slice::<S>().unwrap_or_default(),
            self.columns,
            #[inline(always)]
            |first, block| {
                for (row, values) in block.chunks_exact_mut(self.columns).enumerate() {
                    let position = self.positions[first + row] as usize;
                    let (cosines, sines) = turns[position * 2 * pairs..][..2 * pairs].split_at(pairs);
                    for &start in &self.starts {
                        let (low, high) = values[start..][..2 * pairs].split_at_mut(pairs);
                        for ((low, high), (&cos, &sin)) in low.iter_mut().zip(high).zip(cosines.iter().zip(sines)) {
                            let (x, y, sin) = (low.widen(), high.widen(), sin * sign);
                            *low = S::narrow(x * cos - y * sin);
                            *high = S::narrow(y * cos + x * sin);
                        }
                    }
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    fn heads(queries: usize, keys: usize, interleaved: bool) -> Heads {
        Heads {
            queries,
            keys,
            interleaved,
        }
    }

    #[test]
    fn gradients() {
        // Heads of 7 columns, of which 2, 4 or 6 are turned.
        for (heads, frequencies) in [
            (heads(2, 2, false), &[1.0][..]),
            (heads(4, 2, false), &[1.0, 0.1]),
            (heads(2, 2, true), &[1.0, 0.1, 0.01]),
        ] {
            check(vec![normal(1, &[9, heads.count() * 7])], |tape, inputs| {
                let rotations = Rotations::new(frequencies, 1.3, 5, inputs[0].value().dtype())?;
                rope(tape, inputs[0].clone(), &[0, 4, 4, 9], heads, &rotations)
            });
        }
    }

    #[test]
    fn equals_the_definition() {
        let heads = heads(2, 1, false);
        let (frequencies, factor) = ([0.7, 0.2], 1.1);
        let qkv = normal(1, &[50, heads.count() * 5]);
        let tape = Tape::inference();
        for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6), (DType::BF16, 0.02)] {
            let qkv = qkv.to_dtype(dtype);
            let rotations = Rotations::new(&frequencies, factor, 40, dtype).unwrap();
            let input = qkv.to_f64_vec();
            let output = rope(&tape, tape.constant(qkv), &[0, 10, 50], heads, &rotations).unwrap();
            let output = output.value().to_f64_vec();
            for (index, (&found, &before)) in output.iter().zip(&input).enumerate() {
                let (token, column) = (index / 20, index % 20);
                let position = if token < 10 { token } else { token - 10 } as f64;
                let (head, place) = (column / 5, column % 5);
                let expected = if head >= 3 || place == 4 {
                    before
                } else {
                    let angle = position * frequencies[place % 2];
                    let other = input[if place < 2 { index + 2 } else { index - 2 }];
                    let sign = if place < 2 { -1.0 } else { 1.0 };
                    factor * (before * angle.cos() + sign * other * angle.sin())
                };
                assert!(
                    (found - expected).abs() < tolerance * expected.abs().max(1.0),
                    "{index}: {found} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn operands_are_checked() {
        let tape = Tape::inference();
        let qkv = || tape.constant(normal(1, &[3, 12]));
        let with = |frequencies: &[f64], positions| {
            let rotations = Rotations::new(frequencies, 1.0, positions, DType::F64)?;
            rope(&tape, qkv(), &[0, 3], Heads::equal(1), &rotations)
        };
        assert!(with(&[1.0, 0.5], 3).is_ok());
        assert_eq!(
            with(&[1.0, 0.5, 0.2], 3).unwrap_err().to_string(),
            "rope: qkv has shape [3, 12], expected heads of at least 6 columns"
        );
        assert_eq!(
            with(&[1.0], 2).unwrap_err().to_string(),
            "rope: sequence_starts has shape [3], expected sequences of at most 2 tokens"
        );
    }
}
