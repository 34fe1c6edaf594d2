//! Sums of rows and over a row. For the latter, sixteen partial sums are kept side by side, which vectorises on every instruction set and fixes the
//! order of the additions, so that all of them give the same bits.

use crate::{Float, Real};

const LANES: usize = 16;

#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
        width /= 2;
    }
    lanes[0]
}

/// sum ← sum + row, as far as the shorter reaches.
#[inline(always)]
pub fn add<T: Float, S: Float<Real = T::Real>>(sum: &mut [T], row: &[S]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum = T::narrow(sum.widen() + value.widen());
    }
}

/// Σ f(a, b) over two rows of the same length.
#[inline(always)]
pub fn sum2<T: Real, A: Copy, B: Copy>(a: &[A], b: &[B], f: impl Fn(A, B) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += f(a, b);
    }
    fold(lanes)
}

/// Σ f(a, b, c) over three rows of the same length.
#[inline(always)]
pub fn sum3<T: Real, A: Copy, B: Copy, C: Copy>(a: &[A], b: &[B], c: &[C], f: impl Fn(A, B, C) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let (c_chunks, c_rest) = c.as_chunks::<LANES>();
    for ((a, b), c) in a_chunks.iter().zip(b_chunks).zip(c_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane], c[lane]);
        }
    }
    for (lane, ((&a, &b), &c)) in a_rest.iter().zip(b_rest).zip(c_rest).enumerate() {
        lanes[lane] += f(a, b, c);
    }
    fold(lanes)
}

/// Σ f(a) over a row.
#[inline(always)]
pub fn sum<T: Real>(a: &[T], f: impl Fn(T) -> T) -> T {
    sum2(
        a,
        a,
        #[inline(always)]
        |a, _| f(a),
    )
}

/// The largest element; negative infinity for an empty row.
#[inline(always)]
pub fn max<T: Real>(a: &[T]) -> T {
    let mut lanes = [T::from_f64(f64::NEG_INFINITY); LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].max(chunk[lane]);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        lanes[lane] = lanes[lane].max(value);
    }
    let mut largest = lanes[0];
    for &lane in &lanes[1..] {
        largest = largest.max(lane);
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_at_every_length() {
        for len in 0..70usize {
            let values: Vec<f64> = (0..len).map(|i| ((i * 37) % 23) as f64 - 11.0).collect();
            assert_eq!(sum(&values, |v| v), values.iter().sum::<f64>());
            assert_eq!(
                sum2(&values, &values, |a, b| a * b),
                values.iter().map(|v| v * v).sum::<f64>()
            );
            assert_eq!(
                sum3(&values, &values, &values, |a, b, c| a * b + c),
                values.iter().map(|v| v * v + v).sum::<f64>()
            );
            assert_eq!(max(&values), values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }
}
