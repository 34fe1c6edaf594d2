//! Whether probabilities mean what they say: Brier score and expected calibration error. The log loss is in `accuracy.rs`.

use serde::{Deserialize, Serialize};

use super::error::same_length;
use super::{LabelScores, MetricsError};

/// Bins of [`reliability`], as in Guo et al. 2017, section 2.
pub const RELIABILITY_BINS: usize = 15;

/// Mean squared difference between the probabilities of an example and its truth, summed over the classes (Brier 1950), in [0, 2]; of two
/// classes half of it, which is the squared error of one, in [0, 1]. `None` without examples.
pub fn brier_score_loss<Set: AsRef<[u32]> + Sync>(probabilities: &LabelScores<'_, Set>) -> Option<f64> {
    let half = if probabilities.labels() == 2 { 0.5 } else { 1.0 };
    let of_row = |(ids, row): (&[u32], &[f64])| half * squared_errors(ids, row);
    mean(probabilities.rows().map(of_row), probabilities.examples())
}

/// Mean squared difference between probability and truth over all decisions, one for each example and label. `None` without any.
pub fn multi_label_brier_score_loss<Set: AsRef<[u32]> + Sync>(probabilities: &LabelScores<'_, Set>) -> Option<f64> {
    let of_row = |(ids, row): (&[u32], &[f64])| squared_errors(ids, row) / row.len() as f64;
    mean(probabilities.rows().map(of_row), probabilities.examples())
}

/// Mean negative logarithm of the probability that each decision gives to the truth, over all examples and labels; probabilities are cut
/// off as in [`super::log_loss`]. `None` without any.
pub fn multi_label_log_loss<Set: AsRef<[u32]> + Sync>(probabilities: &LabelScores<'_, Set>) -> Option<f64> {
    let of_row = |(ids, row): (&[u32], &[f64])| {
        let of_truth = (0..).zip(row).map(|(id, probability)| match ids.contains(&id) {
            true => *probability,
            false => 1.0 - probability,
        });
        let losses = of_truth.map(|probability| -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln());
        losses.sum::<f64>() / row.len() as f64
    };
    mean(probabilities.rows().map(of_row), probabilities.examples())
}

/// Decisions of about the same confidence: one bar of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Confidences above this (the first bin holds 0 too),
    pub lower: f64,
    /// up to this.
    pub upper: f64,
    /// How many.
    pub count: u64,
    /// Their mean confidence; null if there are none.
    pub confidence: Option<f64>,
    /// The share of them that came true; null if there are none.
    pub accuracy: Option<f64>,
}

/// Sorts decisions by confidence into [`RELIABILITY_BINS`] bins of equal width: a single-label example is one decision, the probability of
/// its predicted class beside whether that is right; a multi-label example one for each label, its probability beside whether it holds.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn reliability(came_true: &[bool], confidences: &[f64]) -> Result<Vec<ReliabilityBin>, MetricsError> {
    same_length(came_true.len(), confidences.len())?;
    let mut bins = [(0u64, 0.0, 0u64); RELIABILITY_BINS];
    for (&came_true, &confidence) in came_true.iter().zip(confidences) {
        let above = (confidence * RELIABILITY_BINS as f64).ceil() as usize;
        let bin = &mut bins[above.saturating_sub(1).min(RELIABILITY_BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + u64::from(came_true));
    }
    let edge = |number: usize| number as f64 / RELIABILITY_BINS as f64;
    let bin = |(number, &(count, confidence, came_true)): (usize, &(u64, f64, u64))| ReliabilityBin {
        lower: edge(number),
        upper: edge(number + 1),
        count,
        confidence: (count > 0).then(|| confidence / count as f64),
        accuracy: (count > 0).then(|| came_true as f64 / count as f64),
    };
    Ok(bins.iter().enumerate().map(bin).collect())
}

/// Expected calibration error: how far confidence and accuracy of a bin are apart, weighted by its decisions (Naeini et al. 2015; Guo et al.
/// 2017, equation 3, <https://arxiv.org/abs/1706.04599>). `None` without decisions.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> Option<f64> {
    let count: u64 = bins.iter().map(|bin| bin.count).sum();
    let gap = |bin: &ReliabilityBin| Some(bin.count as f64 * (bin.confidence? - bin.accuracy?).abs());
    (count > 0).then(|| bins.iter().filter_map(gap).sum::<f64>() / count as f64)
}

fn squared_errors(ids: &[u32], row: &[f64]) -> f64 {
    let error = |(id, probability): (u32, &f64)| probability - f64::from(u8::from(ids.contains(&id)));
    (0..).zip(row).map(|decision| error(decision).powi(2)).sum()
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> Option<f64> {
    let sum: f64 = values.sum();
    (count > 0 && !sum.is_nan()).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_belong_to_the_bin_below() {
        let third = 5.0 / 15.0;
        let bins = reliability(&[true, false, true, true], &[0.0, 1.0, third, 0.34]).unwrap();
        let counts: Vec<(usize, u64)> = bins
            .iter()
            .enumerate()
            .filter(|(_, bin)| bin.count > 0)
            .map(|(number, bin)| (number, bin.count))
            .collect();
        assert_eq!(counts, [(0, 1), (4, 1), (5, 1), (14, 1)]);
        assert_eq!((bins[14].accuracy, bins[14].confidence), (Some(0.0), Some(1.0)));
        assert_eq!((bins[1].accuracy, bins[1].lower), (None, 1.0 / 15.0));
        assert_eq!(expected_calibration_error(&reliability(&[], &[]).unwrap()), None);
        assert!(reliability(&[true], &[]).is_err());
    }

    proptest! {
        /// Within [0, 1]; 0 where every bin is as right as it says.
        #[test]
        fn the_error_is_a_share(rows in prop::collection::vec((any::<bool>(), 0.0f64..=1.0), 1..60)) {
            let (came_true, confidences): (Vec<bool>, Vec<f64>) = rows.into_iter().unzip();
            let bins = reliability(&came_true, &confidences).unwrap();
            prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), came_true.len() as u64);
            let error = expected_calibration_error(&bins).unwrap();
            prop_assert!((0.0..=1.0).contains(&error));
            let certain: Vec<f64> = came_true.iter().map(|came_true| f64::from(u8::from(*came_true))).collect();
            prop_assert_eq!(expected_calibration_error(&reliability(&came_true, &certain).unwrap()), Some(0.0));
        }
    }
}
