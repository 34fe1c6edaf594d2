//! Shares of right answers, also among the best few, and the log loss of probabilities.

use super::MetricsError;
use super::error::{known_ids, same_length};

/// The share of equal pairs: accuracy of classes, exact match of label sets. `None` without examples.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn accuracy<T: PartialEq>(targets: &[T], predictions: &[T]) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    let right = targets
        .iter()
        .zip(predictions)
        .filter(|(target, prediction)| target == prediction)
        .count();
    Ok(share(right as f64, targets.len() as f64))
}

/// The share of wrong single decisions, one for each example and label. The sets are sorted ids. `None` without examples or labels.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn hamming_loss(
    targets: &[Vec<u32>],
    predictions: &[Vec<u32>],
    num_labels: usize,
) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    let differing = |(target, prediction): (&Vec<u32>, &Vec<u32>)| {
        let in_both = target.iter().filter(|id| prediction.contains(id)).count();
        target.len() + prediction.len() - 2 * in_both
    };
    let wrong: usize = targets.iter().zip(predictions).map(differing).sum();
    Ok(share(wrong as f64, (targets.len() * num_labels) as f64))
}

/// Mean negative logarithm of the probability of the true class. `None` without examples.
///
/// Probabilities are cut off at 2⁻⁵² from 0 and 1 as scikit-learn does, so that a certain and wrong answer costs 36.04 and not infinity.
///
/// # Shapes
/// `probabilities`: `[examples, labels]`, row by row; rows sum to 1.
/// # Errors
/// [`MetricsError`] if there are not `labels` probabilities for each target, or a target is no label.
pub fn log_loss(targets: &[u32], probabilities: &[f64], labels: usize) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len() * labels, probabilities.len())?;
    let mut total = 0.0;
    for (position, id) in targets.iter().enumerate() {
        let row = &probabilities[position * labels..(position + 1) * labels];
        let unknown = MetricsError::UnknownId {
            id: *id,
            position,
            names: labels,
        };
        let probability = *row.get(*id as usize).ok_or(unknown)?;
        total -= probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    }
    Ok(share(total, targets.len() as f64))
}

/// The share of examples whose true class is among the `k` that score best; of equal scores, the class with the larger id comes first, as in
/// scikit-learn. `None` without examples.
///
/// # Shapes
/// `scores`: `[examples, labels]`, row by row.
/// # Errors
/// [`MetricsError`] if there are not `labels` scores for each target, or a target is no label.
pub fn top_k_accuracy(targets: &[u32], scores: &[f64], labels: usize, k: usize) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len() * labels, scores.len())?;
    known_ids(targets.iter().map(std::slice::from_ref), labels)?;
    let is_found = |(target, row): (&u32, &[f64])| {
        let target = *target as usize;
        let is_before = |(id, score): (usize, &f64)| *score > row[target] || (*score == row[target] && id > target);
        row.iter().enumerate().filter(|other| is_before(*other)).count() < k
    };
    // Without labels there are no targets either.
    let rows = scores.chunks_exact(labels.max(1));
    let found = targets.iter().zip(rows).filter(|pair| is_found(*pair)).count();
    Ok(share(found as f64, targets.len() as f64))
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted() {
        assert_eq!(accuracy(&[0, 1, 2, 2], &[0, 1, 1, 2]), Ok(Some(0.75)));
        assert_eq!(accuracy::<u32>(&[], &[]), Ok(None));
        assert_eq!(
            accuracy(&[1], &[1, 2]),
            Err(MetricsError::Length {
                targets: 1,
                predictions: 2
            })
        );
        assert_eq!(
            hamming_loss(&[vec![0, 2], vec![]], &[vec![0, 1], vec![]], 3),
            Ok(Some(2.0 / 6.0))
        );
    }

    #[test]
    fn log_loss_is_cut_off() {
        let loss = log_loss(&[0, 1], &[1.0, 0.0, 1.0, 0.0], 2).unwrap().unwrap();
        assert!((loss - 36.043_653_389_117_15 / 2.0).abs() < 1e-12, "{loss}");
        assert!(log_loss(&[2], &[0.5, 0.5], 2).is_err());
    }
}
