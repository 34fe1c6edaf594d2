//! Limited-memory BFGS: the minimum of a smooth convex function from its values and gradients
//! (Nocedal and Wright 2006, *Numerical Optimization*, 2nd ed., algorithms 7.4 and 7.5).
//!
//! Steps are chosen by bisection for the weak Wolfe conditions (Lewis and Overton 2013, <https://doi.org/10.1007/s10107-012-0514-2>). Near the
//! minimum, where differences of the value are rounding errors, the approximate conditions of Hager and Zhang 2005
//! (<https://doi.org/10.1137/030601880>, eq. 27) take over, so tight tolerances are reached.

use std::collections::VecDeque;

use rayon::prelude::*;

/// Pairs of step and change of gradient kept; each is as long as the point. 3 to 20 are usual (Nocedal and Wright 2006, p. 178).
const MEMORY: usize = 8;
/// Elements summed by one task.
const CHUNK: usize = 1 << 14;
const SUFFICIENT_DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
const MAX_TRIALS: usize = 40;

/// Where [`minimize`] ended.
pub(super) struct Minimum {
    pub(super) point: Vec<f64>,
    pub(super) iterations: usize,
    pub(super) converged: bool,
}

/// Minimises `objective`, which fills in the gradient at the point it is given and returns the value there. Ends when no component of the gradient is
/// above `tolerance` (converged), after `max_iterations`, or when no step improves on the point.
pub(super) fn minimize(
    mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
    start: Vec<f64>,
    tolerance: f64,
    max_iterations: usize,
) -> Minimum {
    let length = start.len();
    let mut point = start;
    let mut gradient = vec![0.0; length];
    let mut value = objective(&point, &mut gradient);
    let (mut next_point, mut next_gradient) = (vec![0.0; length], vec![0.0; length]);
    let mut direction = vec![0.0; length];
    let mut history: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let mut iterations = 0;
    while largest(&gradient) > tolerance && iterations < max_iterations {
        let first = history.is_empty();
        set_direction(&mut direction, &gradient, &history);
        let slope = dot(&direction, &gradient);
        // Without curvature yet, the first trial has length 1.
        let mut step = if first {
            1.0 / dot(&gradient, &gradient).sqrt()
        } else {
            1.0
        };
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut next_value = value;
        let mut found = false;
        for _ in 0..MAX_TRIALS {
            next_point
                .par_iter_mut()
                .zip(&point)
                .zip(&direction)
                .with_min_len(CHUNK)
                .for_each(|((next, at), along)| {
                    *next = at + step * along;
                });
            next_value = objective(&next_point, &mut next_gradient);
            let next_slope = dot(&direction, &next_gradient);
            let decreases = next_value <= value + SUFFICIENT_DECREASE * step * slope
                || (next_value <= value + 1e-12 * value.abs()
                    && next_slope <= (2.0 * SUFFICIENT_DECREASE - 1.0) * slope);
            if !decreases {
                high = step;
            } else if next_slope < CURVATURE * slope {
                low = step;
            } else {
                found = true;
                break;
            }
            step = if high.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * step
            };
        }
        if !found {
            break;
        }
        iterations += 1;
        let mut pair = if history.len() == MEMORY {
            history.pop_front().unwrap_or_default()
        } else {
            Pair::default()
        };
        difference(&mut pair.step, &next_point, &point);
        difference(&mut pair.change, &next_gradient, &gradient);
        pair.product = dot(&pair.step, &pair.change);
        // The Wolfe conditions make it positive but for rounding.
        if pair.product > 0.0 {
            history.push_back(pair);
        }
        std::mem::swap(&mut point, &mut next_point);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = next_value;
    }
    let converged = largest(&gradient) <= tolerance;
    Minimum {
        point,
        iterations,
        converged,
    }
}

/// The scalar product, by chunks of fixed size: the same bits at any thread count.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let parts: Vec<f64> = a
        .par_chunks(CHUNK)
        .zip(b.par_chunks(CHUNK))
        .map(|(a, b)| lanes_dot(a, b))
        .collect();
    parts.iter().sum()
}

/// One accepted step.
#[derive(Default)]
struct Pair {
    step: Vec<f64>,
    /// Of the gradient, over the step.
    change: Vec<f64>,
    /// `step · change`.
    product: f64,
}

/// `direction = −H gradient`, H being the inverse Hessian as far as `history` knows it (two-loop recursion).
fn set_direction(direction: &mut [f64], gradient: &[f64], history: &VecDeque<Pair>) {
    direction
        .par_iter_mut()
        .zip(gradient)
        .with_min_len(CHUNK)
        .for_each(|(out, gradient)| *out = -gradient);
    let mut factors = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let factor = dot(&pair.step, direction) / pair.product;
        add_scaled(direction, -factor, &pair.change);
        factors.push(factor);
    }
    if let Some(last) = history.back() {
        let scale = last.product / dot(&last.change, &last.change);
        direction
            .par_iter_mut()
            .with_min_len(CHUNK)
            .for_each(|out| *out *= scale);
    }
    for (pair, factor) in history.iter().zip(factors.iter().rev()) {
        let correction = dot(&pair.change, direction) / pair.product;
        add_scaled(direction, factor - correction, &pair.step);
    }
}

fn add_scaled(out: &mut [f64], factor: f64, from: &[f64]) {
    out.par_iter_mut()
        .zip(from)
        .with_min_len(CHUNK)
        .for_each(|(out, from)| *out += factor * from);
}

fn difference(out: &mut Vec<f64>, a: &[f64], b: &[f64]) {
    out.resize(a.len(), 0.0);
    out.par_iter_mut()
        .zip(a)
        .zip(b)
        .with_min_len(CHUNK)
        .for_each(|((out, a), b)| *out = a - b);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Eight sums side by side, so that the compiler can use vector instructions.
fn lanes_dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_lanes, a_rest) = a.as_chunks::<8>();
    let (b_lanes, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(objective: impl FnMut(&[f64], &mut [f64]) -> f64, start: &[f64], expected: &[f64]) {
        let minimum = minimize(objective, start.to_vec(), 1e-10, 500);
        assert!(
            minimum.converged,
            "{} iterations, ended at {:?}",
            minimum.iterations, minimum.point
        );
        for (found, expected) in minimum.point.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-6,
                "{:?} instead of {expected:?}",
                minimum.point
            );
        }
    }

    #[test]
    fn finds_known_minima() {
        // Axes a million times apart in curvature.
        let stretched = |x: &[f64], gradient: &mut [f64]| {
            let curvatures = [1e-3, 1.0, 1e3];
            for ((gradient, x), curvature) in gradient.iter_mut().zip(x).zip(curvatures) {
                *gradient = curvature * (x - 2.0);
            }
            x.iter()
                .zip(curvatures)
                .map(|(x, curvature)| 0.5 * curvature * (x - 2.0) * (x - 2.0))
                .sum()
        };
        check(stretched, &[-3.0, 5.0, 1.0], &[2.0; 3]);
        // Rosenbrock's valley: not convex, but the line search has to work for it.
        let valley = |x: &[f64], gradient: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            gradient.copy_from_slice(&[-2.0 * a - 400.0 * x[0] * b, 200.0 * b]);
            a * a + 100.0 * b * b
        };
        check(valley, &[-1.2, 1.0], &[1.0, 1.0]);
        // Flat far away: the first step must grow.
        let log_cosh = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = (x[0] - 50.0).tanh();
            (x[0] - 50.0).cosh().ln()
        };
        check(log_cosh, &[0.0], &[50.0]);
    }

    #[test]
    fn sums_do_not_depend_on_threads() {
        let numbers: Vec<f64> = (0..5 * CHUNK + 13).map(|index| (index as f64).sin()).collect();
        let sum = |threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| dot(&numbers, &numbers))
        };
        let plain: f64 = numbers.iter().map(|number| number * number).sum();
        assert_eq!(sum(1), sum(3));
        assert!((sum(2) - plain).abs() < 1e-9 * plain);
    }

    #[test]
    fn stops_at_the_limit_and_at_once() {
        let square = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 2.0 * x[0];
            x[0] * x[0]
        };
        let none = minimize(square, vec![3.0], 1e-9, 0);
        assert!(!none.converged && none.iterations == 0 && none.point == [3.0]);
        assert!(minimize(square, vec![0.0], 1e-9, 10).converged);
    }
}
