//! `side_by_side`: the columns of several matrices in one, for attention whose queries come from elsewhere than its keys and
//! values. The gradient is cut up again.

use crate::buffer::Buffer;
use crate::cpu::for_each_rows;
use crate::ops::with_float;
use crate::{Error, Float, Result, Tape, Tensor, Var};

const NAME: &str = "side_by_side";

/// All columns of the first of `parts`, then those of the second, and so on.
///
/// # Shapes
/// Each part: `[rows, columns]`. Returns `[rows, sum of the columns]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::DType`] if there is no part, or they do not fit each other.
pub fn side_by_side(tape: &Tape, parts: &[&Var]) -> Result<Var> {
    let Some(first) = parts.first() else {
        return Err(Error::shape(NAME, "parts", &[0], "at least one part"));
    };
    with_float!(NAME, first.value(), S => run::<S>(tape, parts))
}

fn run<S: Float>(tape: &Tape, parts: &[&Var]) -> Result<Var> {
    let [rows, _] = parts[0].dims2(NAME, "part")?;
    let mut sources = Vec::with_capacity(parts.len());
    for part in parts {
        let [part_rows, columns] = part.dims2(NAME, "part")?;
        if part_rows != rows {
            return Err(Error::shape(
                NAME,
                "part",
                &[part_rows, columns],
                format_args!("[{rows}, _]"),
            ));
        }
        sources.push((part.value().slice::<S>(NAME, "part")?, columns));
    }
    let total: usize = sources.iter().map(|(_, columns)| columns).sum();
    let mut output = Buffer::<S>::scratch(rows * total);
    for_each_rows(
        &mut output,
        total,
        #[inline(always)]
        |first, block| {
            for (row, mut output) in block.chunks_exact_mut(total).enumerate() {
                for (values, columns) in &sources {
                    let (part, rest) = output.split_at_mut(*columns);
                    part.copy_from_slice(&values[(first + row) * columns..][..*columns]);
                    output = rest;
                }
            }
        },
    );
    let output = Tensor::from_buffer(output, &[rows, total]);
    Ok(tape.push(output, parts, || {
        let widths = sources.iter().map(|(_, columns)| *columns);
        let parts: Vec<_> = parts.iter().map(|part| part.destination()).zip(widths).collect();
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            let delta = gradient.slice::<S>(NAME, "gradient")?;
            let mut before = 0;
            for (destination, columns) in parts {
                let mut part = Buffer::<S>::scratch(rows * columns);
                for_each_rows(
                    &mut part,
                    columns,
                    #[inline(always)]
                    |first, block| {
                        for (row, part) in block.chunks_exact_mut(columns).enumerate() {
                            part.copy_from_slice(&delta[(first + row) * total + before..][..columns]);
                        }
                    },
                );
                gradients.add::<S>(&destination, Tensor::from_buffer(part, &[rows, columns]));
                before += columns;
            }
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
        check(vec![normal(1, &[5, 3]), normal(2, &[5, 4])], |tape, inputs| {
            side_by_side(tape, &[&inputs[0], &inputs[1], &inputs[0]])
        });
    }

    #[test]
    fn rows_must_agree() {
        let tape = Tape::inference();
        let [first, second] = [normal(1, &[5, 3]), normal(2, &[4, 3])].map(|value| tape.constant(value));
        let joined = side_by_side(&tape, &[&first, &first]).unwrap().value().to_f64_vec();
        let source = first.value().to_f64_vec();
        assert_eq!(joined[..6], [&source[..3], &source[..3]].concat());
        assert!(side_by_side(&tape, &[&first, &second]).is_err());
        assert!(side_by_side(&tape, &[]).is_err());
    }
}
