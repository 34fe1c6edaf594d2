//! Matrix products: `out = alpha · a · b + beta · out` over strided views.
//!
//! Two paths: the plain triple loop (the oracle, and what `f64` uses) and the `gemm` crate for `f32`.

use super::{Instructions, instructions};
use crate::Real;

/// A strided matrix inside a slice: element (row, column) stands at `row · row_stride + column · column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

fn last_index(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Option<usize> {
    (rows > 0 && columns > 0).then(|| (rows - 1) * row_stride + (columns - 1) * column_stride)
}

impl<'a, T: Copy> Matrix<'a, T> {
    /// `rows` rows of `columns` adjacent elements, `row_stride` apart.
    #[inline]
    pub fn new(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            last_index(rows, columns, row_stride, 1).is_none_or(|last| last < data.len()),
            "matrix outside of slice"
        );
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// Rows and columns exchanged, without moving anything.
    #[inline]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    #[inline]
    fn at(&self, row: usize, column: usize) -> T {
        self.data[row * self.row_stride + column * self.column_stride]
    }
}

/// The operands of one product.
pub struct Arguments<'a, T> {
    /// `[a.rows, b.columns]`, rows `out_row_stride` apart.
    pub out: &'a mut [T],
    /// Distance between two rows of `out`.
    pub out_row_stride: usize,
    /// The left factor.
    pub a: Matrix<'a, T>,
    /// The right factor.
    pub b: Matrix<'a, T>,
    /// Factor of the product.
    pub alpha: T,
    /// Factor of what `out` held; with 0, `out` is not read.
    pub beta: T,
    /// Whether to share the work among threads; without, the calling thread does all of it.
    pub parallel: bool,
}

impl<T: Real> Arguments<'_, T> {
    fn check(&self) {
        assert_eq!(self.a.columns, self.b.rows, "inner extents differ");
        let last = last_index(self.a.rows, self.b.columns, self.out_row_stride, 1);
        assert!(last.is_none_or(|last| last < self.out.len()), "out is too short");
        assert!(
            self.a.rows <= 1 || self.out_row_stride >= self.b.columns,
            "rows of out overlap"
        );
    }

    /// Scales `out` when there is nothing to multiply. Returns whether that was so.
    fn is_trivial(&mut self) -> bool {
        if self.a.columns > 0 {
            return self.a.rows == 0 || self.b.columns == 0;
        }
        for row in self.out.chunks_mut(self.out_row_stride.max(1)).take(self.a.rows) {
            for value in &mut row[..self.b.columns] {
                *value = if self.beta == T::ZERO {
                    T::ZERO
                } else {
                    self.beta * *value
                };
            }
        }
        true
    }
}

/// The triple loop.
pub fn plain<T: Real>(mut arguments: Arguments<'_, T>) {
    arguments.check();
    if arguments.is_trivial() {
        return;
    }
    let Arguments {
        out,
        out_row_stride,
        a,
        b,
        alpha,
        beta,
        ..
    } = arguments;
    for row in 0..a.rows {
        for column in 0..b.columns {
            let mut sum = T::ZERO;
            for inner in 0..a.columns {
                sum += a.at(row, inner) * b.at(inner, column);
            }
            let value = &mut out[row * out_row_stride + column];
            *value = if beta == T::ZERO {
                alpha * sum
            } else {
                alpha * sum + beta * *value
            };
        }
    }
}

/// The `gemm` crate, or the triple loop where the portable path is asked for.
pub fn fast_f32(mut arguments: Arguments<'_, f32>) {
    if instructions() == Instructions::Portable {
        return plain(arguments);
    }
    arguments.check();
    if arguments.is_trivial() {
        return;
    }
    let Arguments {
        out,
        out_row_stride,
        a,
        b,
        alpha,
        beta,
        parallel,
    } = arguments;
    let parallelism = if parallel {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: `check` and `Matrix::new` made sure that every (row, column) of the three matrices lies inside of its slice,
    // the inner extents agree, and `out` is borrowed mutably, so it overlaps with neither factor.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            out_row_stride as isize,
            beta != 0.0,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;
    use proptest::prelude::*;

    /// Multiplies in both precisions and compares with the triple loop in f64.
    fn check([rows, inner, columns]: [usize; 3], [transpose_a, transpose_b]: [bool; 2], beta: f32, padding: usize) {
        let mut random = Sequence::new(1, (rows * 31 + inner * 7 + columns) as u64);
        let mut values = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
        let (a, b) = (
            values((rows + padding) * (inner + padding)),
            values((inner + padding) * (columns + padding)),
        );
        let out = values(rows * (columns + padding));
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| value as f64).collect() };
        let (wide_a, wide_b) = (wide(&a), wide(&b));
        let (mut fast, mut exact) = (out.clone(), wide(&out));
        fn view<T: Copy>(data: &[T], rows: usize, columns: usize, padding: usize, transposed: bool) -> Matrix<'_, T> {
            if transposed {
                Matrix::new(data, columns, rows, rows + padding).transposed()
            } else {
                Matrix::new(data, rows, columns, columns + padding)
            }
        }
        let out_row_stride = columns + padding;
        fast_f32(Arguments {
            out: &mut fast,
            out_row_stride,
            a: view(&a, rows, inner, padding, transpose_a),
            b: view(&b, inner, columns, padding, transpose_b),
            alpha: 0.5,
            beta,
            parallel: true,
        });
        plain(Arguments {
            out: &mut exact,
            out_row_stride,
            a: view(&wide_a, rows, inner, padding, transpose_a),
            b: view(&wide_b, inner, columns, padding, transpose_b),
            alpha: 0.5,
            beta: beta as f64,
            parallel: false,
        });
        let tolerance = 1e-6 * (inner as f64 + 1.0);
        for (index, (found, expected)) in fast.iter().zip(&exact).enumerate() {
            assert!(
                (*found as f64 - expected).abs() <= tolerance,
                "element {index}: {found} instead of {expected}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn fast_equals_plain(
            extents in [0usize..70, 0usize..70, 0usize..70],
            transposed in any::<[bool; 2]>(),
            beta in prop_oneof![Just(0.0f32), Just(1.0)],
            padding in 0usize..4,
        ) {
            check(extents, transposed, beta, padding);
        }
    }

    #[test]
    fn large_and_extreme_shapes() {
        check([1, 300, 1], [false, true], 0.0, 0);
        check([257, 1, 129], [true, false], 1.0, 1);
        check([130, 520, 70], [false, true], 1.0, 0);
        check([0, 5, 5], [false, false], 0.0, 0);
        check([5, 0, 5], [false, false], 1.0, 0);
    }
}
