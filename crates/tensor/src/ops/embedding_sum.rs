//! `embedding_sum`: the sum of one row from each of several tables, for every token.
//!
//! Gradient: the row of a table gets the sum of the gradients of all tokens that used it. Tables of 8 bits ([`Int8Rows`]) have none.

use crate::buffer::Buffer;
use crate::cpu::{for_each_rows, reduce};
use crate::ops::with_real;
use crate::{DType, Error, Int8Rows, Real, Result, Tape, Tensor, Var};

const NAME: &str = "embedding_sum";

/// Σ over the tables of `table[ids]`, of which the first is multiplied by `scale`.
///
/// # Shapes
/// Each table: `[rows, hidden_size]` with its ids `[tokens]`. Returns `[tokens, hidden_size]`.
///
/// # Errors
/// [`Error::Id`] if an id is outside of its table, [`Error::Shape`] if the tables or ids do not fit each other.
pub fn embedding_sum(tape: &Tape, tables: &[(&Var, &[u32])], scale: f64) -> Result<Var> {
    if tables.is_empty() {
        return Err(Error::shape(NAME, "tables", &[0], "at least one table"));
    }
    match tables.iter().find(|(table, _)| table.value().dtype() != DType::Int8) {
        Some((plain, _)) => with_real!(NAME, plain.value(), T => run::<T>(tape, tables, T::from_f64(scale))),
        // Numbers of 8 bits are read as `f32` where no table beside them is of another type.
        None => run::<f32>(tape, tables, scale as f32),
    }
}

/// A table of embeddings.
enum Table<'a, T> {
    Plain(&'a [T]),
    Int8(&'a Int8Rows),
}

fn run<T: Real>(tape: &Tape, tables: &[(&Var, &[u32])], scale: T) -> Result<Var> {
    let [_, hidden_size] = tables[0].0.dims2(NAME, "table")?;
    let tokens = tables[0].1.len();
    let mut sources = Vec::with_capacity(tables.len());
    for (table, ids) in tables {
        let [rows, columns] = table.dims2(NAME, "table")?;
        if columns != hidden_size || ids.len() != tokens {
            let expected = format_args!("[_, {hidden_size}] and {tokens} ids (there are {})", ids.len()).to_string();
            return Err(Error::shape(NAME, "table", table.value().shape(), expected));
        }
        if let Some(position) = ids.iter().position(|&id| id as usize >= rows) {
            return Err(Error::Id {
                operation: NAME,
                id: ids[position],
                position,
                rows,
            });
        }
        let source = match table.value().as_int8() {
            Some(rows) => Table::Int8(rows),
            None => Table::Plain(table.value().slice::<T>(NAME, "table")?),
        };
        sources.push((source, *ids));
    }
    let mut output = Buffer::<T>::scratch(tokens * hidden_size);
    for_each_rows(
        &mut output,
        hidden_size,
        #[inline(always)]
        |first, block| {
            for (token, row) in block.chunks_exact_mut(hidden_size).enumerate() {
                for (index, (table, ids)) in sources.iter().enumerate() {
                    let id = ids[first + token] as usize;
                    match table {
                        Table::Plain(values) => {
                            let source = &values[id * hidden_size..][..hidden_size];
                            if index == 0 {
                                row.iter_mut()
                                    .zip(source)
                                    .for_each(|(row, &source)| *row = source * scale);
                            } else {
                                reduce::add(row, source);
                            }
                        }
                        Table::Int8(rows) => {
                            let factor = if index == 0 { scale } else { T::ONE };
                            let factor = T::from_f64(f64::from(rows.scales()[id])) * factor;
                            let numbers = rows.row(id).iter().map(|&value| T::from_f64(f64::from(value)) * factor);
                            if index == 0 {
                                row.iter_mut().zip(numbers).for_each(|(row, number)| *row = number);
                            } else {
                                row.iter_mut().zip(numbers).for_each(|(row, number)| *row += number);
                            }
                        }
                    }
                }
            }
        },
    );
    let inputs: Vec<&Var> = tables.iter().map(|(table, _)| *table).collect();
    Ok(
        tape.push(Tensor::from_buffer(output, &[tokens, hidden_size]), &inputs, || {
            let tables: Vec<(crate::autograd::Destination, Vec<u32>)> = tables
                .iter()
                .map(|(table, ids)| (table.destination(), ids.to_vec()))
                .collect();
            move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
                let gradient = gradient.slice::<T>(NAME, "gradient")?;
                for (index, (table, ids)) in tables.iter().enumerate() {
                    let factor = if index == 0 { scale } else { T::ONE };
                    gradients.update_rows::<T>(table, ids, |sum| {
                        for (row, &id) in gradient.chunks_exact(hidden_size.max(1)).zip(ids) {
                            let sum = &mut sum[id as usize * hidden_size..][..hidden_size];
                            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value * factor);
                        }
                    });
                }
                Ok(())
            }
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};
    use crate::optimizer::global_norm;
    use crate::{ParameterGradients, Parameters, ops};

    #[test]
    fn gradients_with_repeated_ids() {
        check(vec![normal(1, &[6, 4]), normal(2, &[3, 4])], |tape, inputs| {
            embedding_sum(
                tape,
                &[(&inputs[0], &[5, 0, 5, 2, 5]), (&inputs[1], &[0, 1, 2, 0, 1])],
                1.5,
            )
        });
    }

    #[test]
    fn rows_that_no_token_used_stay_zero_from_step_to_step() {
        let mut parameters = Parameters::default();
        let id = parameters.add("table", normal(1, &[6, 4]));
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        let mut step = |ids: &[&[u32]], also_linear: bool| {
            gradients.clear();
            for ids in ids {
                let tape = Tape::recording();
                let table = tape.parameter(&parameters, id);
                let mut output = embedding_sum(&tape, &[(&table, ids)], 1.0).unwrap();
                if also_linear {
                    let parts = [ops::Affine {
                        weight: &table,
                        bias: None,
                    }];
                    output = ops::linear(&tape, &output, crate::Activation::Identity, &parts).unwrap();
                }
                let loss = ops::mean_squared_error(&tape, &output, &vec![0.5; output.value().len()], 2.0).unwrap();
                tape.backward(&loss, &mut gradients).unwrap();
            }
            let sum = gradients.get(id).unwrap().to_f64_vec();
            let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
            assert!((global_norm(&gradients) - norm).abs() < 1e-12);
            sum.chunks(4)
                .map(|row| row.iter().any(|&value| value != 0.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            step(&[&[1, 3], &[3, 5]], false),
            [false, true, false, true, false, true]
        );
        assert_eq!(step(&[&[0]], false), [true, false, false, false, false, false]);
        assert_eq!(step(&[&[0]], true), [true; 6]);
        assert_eq!(step(&[&[2]], false), [false, false, true, false, false, false]);
    }

    #[test]
    fn tables_of_eight_bits_give_what_their_numbers_give() {
        let tape = Tape::inference();
        let [words, places] = [1, 2].map(|seed| normal(seed, &[9, 21]).to_dtype(DType::F32).to_dtype(DType::Int8));
        let run = |tables: [Tensor; 2]| {
            let [words, places] = tables.map(|table| tape.constant(table));
            let tables: [(&Var, &[u32]); 2] = [(&words, &[8, 0, 3]), (&places, &[0, 1, 2])];
            embedding_sum(&tape, &tables, 1.0).unwrap().value().to_f32_vec()
        };
        let wide = |table: &Tensor| table.to_dtype(DType::F32);
        let expected = run([wide(&words), wide(&places)]);
        assert_eq!(run([words.clone(), places.clone()]), expected);
        assert_eq!(run([words.clone(), wide(&places)]), expected);
        assert_eq!(run([wide(&words), places]), expected);
    }

    #[test]
    fn an_id_outside_of_its_table_is_named() {
        let tape = Tape::inference();
        let table = tape.constant(normal(1, &[6, 4]));
        let error = embedding_sum(&tape, &[(&table, &[1, 6])], 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "embedding_sum: id 6 at position 1 is outside of a table of 6 rows"
        );
    }
}
