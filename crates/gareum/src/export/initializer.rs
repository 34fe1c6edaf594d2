//! The constants of a graph: weights, which are read from the model when they are written, and small arrays.

use std::io::{self, Write};
use std::ops::Range;

use tensor::{Int8Rows, Tensor};

use super::file::ElementType;
use crate::files::write_values;

/// A constant: its name, its extents and where its values are.
#[derive(Debug, Clone)]
pub(super) struct Initializer<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Data<'a>,
}

/// Some of the rows of a matrix of the model.
#[derive(Debug, Clone)]
pub(super) struct Rows<'a> {
    pub tensor: &'a Tensor,
    pub rows: Range<usize>,
}

/// The values of a constant, in row-major order.
#[derive(Debug, Clone)]
pub(super) enum Data<'a> {
    /// As they stand in the model.
    Tensor(&'a Tensor),
    /// A matrix turned around: `[outputs, inputs]` becomes `[inputs, outputs]`.
    Turned(Rows<'a>),
    /// The integers of a tensor of 8 bits.
    Integers(&'a Tensor),
    /// The integers of a matrix of 8 bits, turned around likewise.
    TurnedIntegers(Rows<'a>),
    /// The scales of its rows.
    Scales(Rows<'a>),
    /// The negative sums of its rows, times their scales.
    Sums(Rows<'a>),
    F32(Vec<f32>),
    I64(Vec<i64>),
}

impl<'a> Rows<'a> {
    /// All of them.
    pub fn all(tensor: &'a Tensor) -> Self {
        Self {
            tensor,
            rows: 0..tensor.shape().first().copied().unwrap_or(0),
        }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Them as columns; `values` are those of the whole matrix.
    fn turned<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let columns = self.columns();
        let row = |row: usize| row * columns;
        let column = |column: usize| self.rows.clone().map(move |number| values[row(number) + column]);
        (0..columns).flat_map(column).collect()
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.tensor.shape().get(1).copied().unwrap_or(1)
    }
}

impl Initializer<'_> {
    /// What the values are.
    pub fn element_type(&self) -> ElementType {
        match self.data {
            Data::Integers(_) | Data::TurnedIntegers(_) => ElementType::Int8,
            Data::I64(_) => ElementType::Int64,
            Data::Tensor(_) | Data::Turned(_) | Data::Scales(_) | Data::Sums(_) | Data::F32(_) => ElementType::Float,
        }
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.element_type().size()
    }

    /// Writes the values, little-endian. No more than one tensor is in memory twice.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.data {
            Data::Tensor(tensor) => match tensor.as_slice::<f32>() {
                Some(values) => write_values(out, values, f32::to_le_bytes),
                None => write_values(out, &tensor.to_f32_vec(), f32::to_le_bytes),
            },
            Data::Turned(matrix) => match matrix.tensor.as_slice::<f32>() {
                Some(values) => write_values(out, &matrix.turned(values), f32::to_le_bytes),
                None => write_values(out, &matrix.turned(&matrix.tensor.to_f32_vec()), f32::to_le_bytes),
            },
            Data::Integers(tensor) => write_values(out, integers(tensor)?.values(), i8::to_le_bytes),
            Data::TurnedIntegers(matrix) => {
                let values = matrix.turned(integers(matrix.tensor)?.values());
                write_values(out, &values, i8::to_le_bytes)
            }
            Data::Scales(matrix) => {
                let scales = &integers(matrix.tensor)?.scales()[matrix.rows.clone()];
                write_values(out, scales, f32::to_le_bytes)
            }
            Data::Sums(matrix) => {
                let integers = integers(matrix.tensor)?;
                let sum = |row: usize| -> i32 { integers.row(row).iter().map(|&value| i32::from(value)).sum() };
                let sums = matrix
                    .rows
                    .clone()
                    .map(|row| -(sum(row) as f32) * integers.scales()[row]);
                write_values(out, &sums.collect::<Vec<f32>>(), f32::to_le_bytes)
            }
            Data::F32(values) => write_values(out, values, f32::to_le_bytes),
            Data::I64(values) => write_values(out, values, i64::to_le_bytes),
        }
    }
}

/// The emitter looks before it says that a tensor is one of integers.
fn integers(tensor: &Tensor) -> io::Result<&Int8Rows> {
    tensor
        .as_int8()
        .ok_or_else(|| io::Error::other("a weight is not of 8 bits"))
}
