//! Measures of predicted numbers. Each is `None` where it is undefined, as scikit-learn and SciPy give NaN there.

use super::MetricsError;
use super::error::same_length;

/// Mean squared error. `None` without examples.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn mean_squared_error(targets: &[f64], predictions: &[f64]) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    Ok(mean(
        targets
            .iter()
            .zip(predictions)
            .map(|(target, prediction)| (target - prediction).powi(2)),
    ))
}

/// Mean absolute error. `None` without examples.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn mean_absolute_error(targets: &[f64], predictions: &[f64]) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    Ok(mean(
        targets
            .iter()
            .zip(predictions)
            .map(|(target, prediction)| (target - prediction).abs()),
    ))
}

/// Coefficient of determination: 1 is perfect, 0 as good as predicting the mean, negative worse. `None` for fewer than two examples.
///
/// For constant targets 1 if all predictions are right, else 0, as scikit-learn defines it.
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn r2_score(targets: &[f64], predictions: &[f64]) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    if targets.len() < 2 {
        return Ok(None);
    }
    let centre = mean(targets.iter().copied()).unwrap_or_default();
    let residual: f64 = targets
        .iter()
        .zip(predictions)
        .map(|(target, prediction)| (target - prediction).powi(2))
        .sum();
    let total: f64 = targets.iter().map(|target| (target - centre).powi(2)).sum();
    Ok(Some(if total > 0.0 {
        1.0 - residual / total
    } else if residual > 0.0 {
        0.0
    } else {
        1.0
    }))
}

/// Pearson's correlation. `None` for fewer than two examples or if one side is constant.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn pearson(targets: &[f64], predictions: &[f64]) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    let is_constant = |values: &[f64]| values.windows(2).all(|pair| pair[0] == pair[1]);
    if is_constant(targets) || is_constant(predictions) {
        return Ok(None);
    }
    let centred = |values: &[f64]| -> Vec<f64> {
        let centre = mean(values.iter().copied()).unwrap_or_default();
        values.iter().map(|value| value - centre).collect()
    };
    let (targets, predictions) = (centred(targets), centred(predictions));
    let product = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f64>();
    let scale = product(&targets, &targets).sqrt() * product(&predictions, &predictions).sqrt();
    Ok((scale > 0.0).then(|| (product(&targets, &predictions) / scale).clamp(-1.0, 1.0)))
}

/// Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank. `None` where Pearson's is.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn spearman(targets: &[f64], predictions: &[f64]) -> Result<Option<f64>, MetricsError> {
    pearson(&ranks(targets), &ranks(predictions))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|left, right| values[*left].total_cmp(&values[*right]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|left, right| values[*left] == values[*right]) {
        let rank = start as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|position| ranks[*position] = rank);
        start += equal.len();
    }
    ranks
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(seen: Result<Option<f64>, MetricsError>, expected: f64) {
        let seen = seen.unwrap().unwrap();
        assert!((seen - expected).abs() < 1e-12, "{seen} is not {expected}");
    }

    #[test]
    fn worked_examples() {
        // The examples of scikit-learn's documentation.
        let (targets, predictions) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        close(mean_squared_error(&targets, &predictions), 0.375);
        close(mean_absolute_error(&targets, &predictions), 0.5);
        close(r2_score(&targets, &predictions), 0.948_608_137_044_967_9);
        // The example of SciPy's documentation.
        close(
            spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]),
            0.820_782_681_668_123_3,
        );
        close(
            pearson(
                &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
                &[10.0, 9.0, 2.5, 6.0, 4.0, 3.0, 2.0],
            ),
            -0.828_503_883_588_428,
        );
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), Ok(None));
        assert_eq!(spearman(&[1.0], &[1.0]), Ok(None));
        assert_eq!(r2_score(&[1.0], &[1.0]), Ok(None));
        assert_eq!(r2_score(&[1.0, 1.0], &[1.0, 1.0]), Ok(Some(1.0)));
        assert_eq!(r2_score(&[1.0, 1.0], &[1.0, 2.0]), Ok(Some(0.0)));
        assert_eq!(mean_squared_error(&[], &[]), Ok(None));
    }

    proptest! {
        /// Correlations stay in [-1, 1]; ranks do not change under a growing function.
        #[test]
        fn correlations_are_bounded(pairs in prop::collection::vec((-100.0f64..100.0, -100.0f64..100.0), 2..40)) {
            let (targets, predictions): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            for value in [pearson(&targets, &predictions).unwrap(), spearman(&targets, &predictions).unwrap()].into_iter().flatten() {
                prop_assert!((-1.0..=1.0).contains(&value));
            }
            let grown: Vec<f64> = predictions.iter().map(|value| value.powi(3)).collect();
            prop_assert_eq!(spearman(&targets, &predictions), spearman(&targets, &grown));
        }
    }
}
