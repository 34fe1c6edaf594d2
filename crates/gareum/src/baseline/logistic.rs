//! Multinomial logistic regression with an L2 penalty, on sparse rows.
//!
//! With scores `s = x W + b` and `p = softmax(s)` it minimises
//! `1/n · Σ −ln p[class] + λ/2 · ‖W‖²`, `λ = 1 / (C n)`, the intercepts `b` not penalised: scikit-learn's `LogisticRegression`
//! (<https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression>). The gradient is `1/n · xᵀ (p − onehot) + λ W`.
//!
//! For two classes scikit-learn has one weight vector `w` where this has `w/2` and `−w/2`, whose penalty is half as large, so λ is doubled.

use rayon::prelude::*;

use super::BaselineOptions;
use super::lbfgs;
use super::sparse::Sparse;

/// Weights and intercepts of the classes that training saw.
#[derive(Debug, Clone)]
pub(super) struct LogisticRegression {
    /// `[features + 1, classes]`; the last row holds the intercepts.
    weights: Vec<f64>,
    /// Label of each class, ascending.
    classes: Vec<usize>,
    labels: usize,
    pub(super) iterations: usize,
    pub(super) converged: bool,
}

impl LogisticRegression {
    /// Fits `classes` (below `labels`, at least two of them) to `rows`.
    pub(super) fn fit(rows: &Sparse, classes: &[u32], labels: usize, options: &BaselineOptions) -> LogisticRegression {
        let mut seen: Vec<usize> = classes.iter().map(|&class| class as usize).collect();
        seen.sort_unstable();
        seen.dedup();
        let mut position = vec![0; labels];
        for (index, &label) in seen.iter().enumerate() {
            position[label] = index;
        }
        let targets: Vec<usize> = classes.iter().map(|&class| position[class as usize]).collect();

        let (examples, features, width) = (rows.height(), rows.width(), seen.len());
        let doubled = if width == 2 { 2.0 } else { 1.0 };
        let penalty = doubled / (options.c * examples as f64);
        let by_feature = rows.transpose();
        let mut residuals = vec![0.0; examples * width]; // [examples, classes]: (p − onehot) / n
        let mut losses = vec![0.0; examples];

        // Every output element is summed by one task in a fixed order, so the thread count changes nothing.
        let objective = |weights: &[f64], gradient: &mut [f64]| {
            let (weighted, intercepts) = weights.split_at(features * width);
            residuals
                .par_chunks_mut(width)
                .zip(&mut losses)
                .enumerate()
                .for_each(|(row, (scores, loss))| {
                    score(rows.row(row), weighted, intercepts, scores);
                    let of_target = scores[targets[row]];
                    let log_sum = softmax(scores);
                    *loss = log_sum - of_target;
                    scores[targets[row]] -= 1.0;
                    scores.iter_mut().for_each(|residual| *residual /= examples as f64);
                });
            let (weight_gradient, intercept_gradient) = gradient.split_at_mut(features * width);
            weight_gradient
                .par_chunks_mut(width)
                .enumerate()
                .for_each(|(feature, gradient)| {
                    for (out, weight) in gradient.iter_mut().zip(&weighted[feature * width..]) {
                        *out = penalty * weight;
                    }
                    let (examples, values) = by_feature.row(feature);
                    for (&example, &value) in examples.iter().zip(values) {
                        add_scaled(gradient, value, &residuals[example as usize * width..]);
                    }
                });
            intercept_gradient.fill(0.0);
            residuals
                .chunks(width)
                .for_each(|residual| add_scaled(intercept_gradient, 1.0, residual));
            losses.iter().sum::<f64>() / examples as f64 + 0.5 * penalty * lbfgs::dot(weighted, weighted)
        };
        let start = vec![0.0; (features + 1) * width];
        let minimum = lbfgs::minimize(objective, start, options.tolerance, options.max_iterations);
        LogisticRegression {
            weights: minimum.point,
            classes: seen,
            labels,
            iterations: minimum.iterations,
            converged: minimum.converged,
        }
    }

    /// Probabilities of all labels, one row a row of `rows`.
    pub(super) fn probabilities(&self, rows: &Sparse) -> Vec<Vec<f64>> {
        let width = self.classes.len();
        let (weighted, intercepts) = self.weights.split_at(self.weights.len() - width);
        let probabilities = |row| {
            let mut scores = vec![0.0; width];
            score(rows.row(row), weighted, intercepts, &mut scores);
            softmax(&mut scores);
            let mut all = vec![0.0; self.labels];
            for (&label, probability) in self.classes.iter().zip(scores) {
                all[label] = probability;
            }
            all
        };
        (0..rows.height()).into_par_iter().map(probabilities).collect()
    }
}

/// `scores = x W + b` for one sparse row `x`.
fn score((columns, values): (&[u32], &[f64]), weights: &[f64], intercepts: &[f64], scores: &mut [f64]) {
    scores.copy_from_slice(intercepts);
    for (&column, &value) in columns.iter().zip(values) {
        add_scaled(scores, value, &weights[column as usize * intercepts.len()..]);
    }
}

/// Puts the softmax in the scores' place and returns `ln Σ exp(score)`.
fn softmax(scores: &mut [f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
    largest + sum.ln()
}

/// `out += factor · from`, over the length of `out`.
fn add_scaled(out: &mut [f64], factor: f64, from: &[f64]) {
    for (out, from) in out.iter_mut().zip(from) {
        *out += factor * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_large_scores() {
        let mut scores = [1000.0, 1000.0, -1000.0];
        let log_sum = softmax(&mut scores);
        assert!((log_sum - 1000.0 - 2f64.ln()).abs() < 1e-12);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }

    /// One feature of value 1 in the rows of class 0, C = 1, n = 2: by symmetry `W = (u, −u)`, `b = −W/2`, and `u` solves
    /// `u = 1 / (1 + exp(u))` with the doubled penalty (scikit-learn's `w = 2 u`, `w/2 = σ(−w/2)`).
    #[test]
    fn two_rows_by_hand() {
        let mut rows = Sparse::new(1);
        rows.push([(0, 1.0)]);
        rows.push([]);
        let options = BaselineOptions {
            c: 1.0,
            tolerance: 1e-12,
            ..BaselineOptions::default()
        };
        let fitted = LogisticRegression::fit(&rows, &[0, 1], 2, &options);
        let weight = fitted.weights[0];
        assert!((weight - fitted.weights[1].abs()).abs() < 1e-9, "{:?}", fitted.weights);
        let residual = 1.0 / (1.0 + weight.exp());
        assert!((2.0 * weight - residual).abs() < 1e-9, "{weight}");
    }
}
