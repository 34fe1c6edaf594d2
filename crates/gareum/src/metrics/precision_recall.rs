//! Precision and recall of scores at every threshold, and average precision. The counting is in `roc.rs`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::same_length;
use super::roc::{Cut, cuts};
use super::{Average, LabelScores, MetricsError};

/// Average precision: the sum over thresholds of what recall gains, times the precision there, `Σ (Rₙ − Rₙ₋₁) Pₙ`, without interpolation.
/// 0 without positives, as scikit-learn has it; `None` without examples.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn average_precision(is_positive: &[bool], scores: &[f64]) -> Result<Option<f64>, MetricsError> {
    same_length(is_positive.len(), scores.len())?;
    let cuts = cuts(is_positive, scores);
    let Some(all) = cuts.last().map(|all| all.true_positives) else {
        return Ok(None);
    };
    let (mut sum, mut before) = (0.0, 0);
    for cut in &cuts {
        sum += (cut.true_positives - before) as f64 * precision(cut);
        before = cut.true_positives;
    }
    Ok(Some(if all > 0 { sum / all as f64 } else { 0.0 }))
}

/// A point of a precision-recall curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecallPoint {
    /// Share of the positives that score at least the threshold.
    pub recall: f64,
    /// Share of what scores at least the threshold that is positive; 1 at the start, by convention.
    pub precision: f64,
    /// The threshold; `None` at the start, where nothing is found.
    pub threshold: Option<f64>,
}

/// The precision-recall curve from recall 0 to 1; of the points of one recall, the first and the last. Empty without positives.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn precision_recall_curve(is_positive: &[bool], scores: &[f64]) -> Result<Vec<PrecisionRecallPoint>, MetricsError> {
    same_length(is_positive.len(), scores.len())?;
    let cuts = cuts(is_positive, scores);
    let Some(all) = cuts.last().map(|all| all.true_positives).filter(|all| *all > 0) else {
        return Ok(Vec::new());
    };
    let is_kept = |index: usize| {
        let found = |index: usize| cuts[index].true_positives;
        let is_end = index == 0 || index + 1 == cuts.len();
        is_end || found(index - 1) != found(index) || found(index) != found(index + 1)
    };
    let start = PrecisionRecallPoint {
        recall: 0.0,
        precision: 1.0,
        threshold: None,
    };
    let kept = (0..cuts.len())
        .filter(|index| is_kept(*index))
        .map(|index| PrecisionRecallPoint {
            recall: cuts[index].true_positives as f64 / all as f64,
            precision: precision(&cuts[index]),
            threshold: Some(cuts[index].threshold),
        });
    Ok(std::iter::once(start).chain(kept).collect())
}

/// [`average_precision`] of each label against the rest.
pub fn average_precision_by_label<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>) -> Vec<Option<f64>> {
    let of_label = |label: u32| {
        let (is_positive, scores) = scores.label(label);
        // Both are of one length.
        average_precision(&is_positive, &scores).ok().flatten()
    };
    (0..scores.labels() as u32).into_par_iter().map(of_label).collect()
}

/// Mean of [`average_precision_by_label`]. `None` without examples.
pub fn mean_average_precision<Set: AsRef<[u32]> + Sync>(
    scores: &LabelScores<'_, Set>,
    average: Average,
) -> Option<f64> {
    average.of_labels(&average_precision_by_label(scores), scores)
}

/// [`average_precision`] of all decisions together, one for each example and label.
pub fn micro_average_precision<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>) -> Option<f64> {
    let (holds, scores) = scores.decisions();
    // Both are of one length.
    average_precision(&holds, &scores).ok().flatten()
}

/// A cut has found something.
fn precision(cut: &Cut) -> f64 {
    cut.true_positives as f64 / (cut.true_positives + cut.false_positives) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn undefined_is_none() {
        assert_eq!(average_precision(&[], &[]), Ok(None));
        assert_eq!(average_precision(&[false], &[0.5]), Ok(Some(0.0)));
        assert_eq!(precision_recall_curve(&[false], &[0.5]), Ok(Vec::new()));
        assert!(average_precision(&[true], &[]).is_err());
    }

    proptest! {
        /// At least the share of positives; 1 exactly where all positives come first. Tied scores make it the share itself.
        #[test]
        fn average_precision_is_bounded(rows in prop::collection::vec((any::<bool>(), 0u8..8), 1..60)) {
            let (is_positive, scores): (Vec<bool>, Vec<f64>) = rows.iter().map(|(positive, score)| (*positive, *score as f64)).unzip();
            let positives = is_positive.iter().filter(|positive| **positive).count();
            prop_assume!(positives > 0);
            let value = average_precision(&is_positive, &scores).unwrap().unwrap();
            prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
            let least = |wanted: bool| rows.iter().filter(move |(positive, _)| *positive == wanted).map(|(_, score)| *score);
            let is_perfect = least(true).min() > least(false).max();
            prop_assert_eq!((value - 1.0).abs() < 1e-12, is_perfect || positives == rows.len());
            let tied = average_precision(&is_positive, &vec![0.5; rows.len()]).unwrap().unwrap();
            prop_assert!((tied - positives as f64 / rows.len() as f64).abs() < 1e-12);
            let curve = precision_recall_curve(&is_positive, &scores).unwrap();
            prop_assert_eq!(curve.last().unwrap().recall, 1.0);
        }
    }
}
