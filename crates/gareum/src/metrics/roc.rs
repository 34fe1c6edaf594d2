//! Receiver operating characteristic: what a score finds of what it should, beside what it finds of the rest.
//!
//! Everything about one label against the rest is counted by [`cuts`]; precision and recall are in `precision_recall.rs`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::same_length;
use super::{Average, LabelScores, MetricsError};

/// What is found by taking all examples that score at least so much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    pub threshold: f64,
    pub true_positives: u64,
    pub false_positives: u64,
}

/// One cut for each score that occurs, from the highest down: equal scores are found together.
pub(crate) fn cuts(is_positive: &[bool], scores: &[f64]) -> Vec<Cut> {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(is_positive.iter().copied()).collect();
    order.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
    let (mut cuts, mut found) = (Vec::new(), [0, 0]);
    for equal in order.chunk_by(|left, right| left.0 == right.0) {
        equal
            .iter()
            .for_each(|(_, is_positive)| found[usize::from(*is_positive)] += 1);
        let [false_positives, true_positives] = found;
        cuts.push(Cut {
            threshold: equal[0].0,
            true_positives,
            false_positives,
        });
    }
    cuts
}

/// Area under the ROC curve: the chance that a positive example scores above a negative one, a tie being half of it (Hanley and McNeil
/// 1982). `None` without positives or without negatives.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn roc_auc(is_positive: &[bool], scores: &[f64]) -> Result<Option<f64>, MetricsError> {
    same_length(is_positive.len(), scores.len())?;
    let cuts = cuts(is_positive, scores);
    let Some(all) = cuts.last() else { return Ok(None) };
    // Twice the area, in whole numbers: the curve is a chain of trapezoids.
    let (mut area, mut before) = (0u128, (0, 0));
    for cut in &cuts {
        let height = cut.true_positives + before.0;
        area += (cut.false_positives - before.1) as u128 * height as u128;
        before = (cut.true_positives, cut.false_positives);
    }
    let pairs = all.true_positives as u128 * all.false_positives as u128;
    Ok((pairs > 0).then(|| area as f64 / 2.0 / pairs as f64))
}

/// A point of a ROC curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Share of the negatives that score at least the threshold.
    pub false_positive_rate: f64,
    /// Share of the positives that do: recall.
    pub true_positive_rate: f64,
    /// The threshold; `None` at the start, where nothing is found.
    pub threshold: Option<f64>,
}

/// The corners of the ROC curve from (0, 0) to (1, 1); points on a straight line between two others are left out. Empty without positives
/// or without negatives.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn roc_curve(is_positive: &[bool], scores: &[f64]) -> Result<Vec<RocPoint>, MetricsError> {
    same_length(is_positive.len(), scores.len())?;
    let cuts = cuts(is_positive, scores);
    let Some(all) = cuts
        .last()
        .filter(|all| all.true_positives > 0 && all.false_positives > 0)
    else {
        return Ok(Vec::new());
    };
    let step = |from: &Cut, to: &Cut| {
        (
            to.true_positives - from.true_positives,
            to.false_positives - from.false_positives,
        )
    };
    let is_corner = |index: usize| {
        let is_end = index == 0 || index + 1 == cuts.len();
        is_end || step(&cuts[index - 1], &cuts[index]) != step(&cuts[index], &cuts[index + 1])
    };
    let point = |cut: &Cut| RocPoint {
        false_positive_rate: cut.false_positives as f64 / all.false_positives as f64,
        true_positive_rate: cut.true_positives as f64 / all.true_positives as f64,
        threshold: Some(cut.threshold),
    };
    let start = RocPoint {
        false_positive_rate: 0.0,
        true_positive_rate: 0.0,
        threshold: None,
    };
    let corners = (0..cuts.len())
        .filter(|index| is_corner(*index))
        .map(|index| point(&cuts[index]));
    Ok(std::iter::once(start).chain(corners).collect())
}

/// [`roc_auc`] of each label against the rest.
pub fn roc_auc_by_label<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>) -> Vec<Option<f64>> {
    let area = |label: u32| {
        let (is_positive, scores) = scores.label(label);
        // Both are of one length.
        roc_auc(&is_positive, &scores).ok().flatten()
    };
    (0..scores.labels() as u32).into_par_iter().map(area).collect()
}

/// Mean of [`roc_auc_by_label`], of classes (one against the rest) as of sets of labels. `None` if one that counts is undefined.
pub fn roc_auc_one_vs_rest<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>, average: Average) -> Option<f64> {
    average.of_labels(&roc_auc_by_label(scores), scores)
}

/// Mean over all pairs of classes of how well the scores of each tell it from the other (Hand and Till 2001, the M measure); weighted by
/// the examples of both if asked for. Classes without examples are left out; `None` if fewer than two are left.
///
/// # Shapes
/// `scores`: `[examples, labels]`, row by row.
/// # Errors
/// [`MetricsError`] if there are not `labels` scores for each target, or a target is no label.
pub fn roc_auc_one_vs_one(
    targets: &[u32],
    scores: &[f64],
    labels: usize,
    average: Average,
) -> Result<Option<f64>, MetricsError> {
    same_length(targets.len() * labels, scores.len())?;
    super::error::known_ids(targets.iter().map(std::slice::from_ref), labels)?;
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); labels];
    targets
        .iter()
        .enumerate()
        .for_each(|(row, id)| rows[*id as usize].push(row));
    let present: Vec<usize> = (0..labels).filter(|label| !rows[*label].is_empty()).collect();
    // How well the scores of `label` tell it from `other`.
    let area = |label: usize, other: usize| {
        let examples = rows[label].iter().chain(&rows[other]);
        let scores: Vec<f64> = examples.map(|row| scores[row * labels + label]).collect();
        let is_positive: Vec<bool> = (0..scores.len()).map(|position| position < rows[label].len()).collect();
        roc_auc(&is_positive, &scores)
    };
    let pairs = present
        .par_iter()
        .enumerate()
        .map(|(position, &first)| {
            let pair = |&second: &usize| {
                let areas = [area(first, second)?, area(second, first)?];
                // Both classes have examples.
                let mean = areas.into_iter().flatten().sum::<f64>() / 2.0;
                Ok((Some(mean), (rows[first].len() + rows[second].len()) as u64))
            };
            present[position + 1..].iter().map(pair).collect()
        })
        .collect::<Result<Vec<Vec<(Option<f64>, u64)>>, MetricsError>>()?;
    let (areas, supports): (Vec<_>, Vec<_>) = pairs.into_iter().flatten().unzip();
    Ok(average.of(&areas, &supports))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn undefined_is_none() {
        assert_eq!(roc_auc(&[], &[]), Ok(None));
        assert_eq!(roc_auc(&[true], &[0.5]), Ok(None));
        assert_eq!(roc_curve(&[false], &[0.5]), Ok(Vec::new()));
        assert!(roc_auc(&[true], &[]).is_err());
        assert_eq!(roc_auc_one_vs_one(&[1, 1], &[0.5; 4], 2, Average::Macro), Ok(None));
        assert!(roc_auc_one_vs_one(&[2], &[0.5; 2], 2, Average::Macro).is_err());
    }

    proptest! {
        /// The area is the share of pairs in the right order, ties being half; it is also the area under the points of the curve.
        #[test]
        fn the_area_counts_ordered_pairs(rows in prop::collection::vec((any::<bool>(), 0u8..8), 1..60)) {
            let (is_positive, scores): (Vec<bool>, Vec<f64>) = rows.iter().map(|(positive, score)| (*positive, *score as f64 / 8.0)).unzip();
            let pick = |wanted: bool| rows.iter().filter(move |(positive, _)| *positive == wanted).map(|(_, score)| *score);
            let (mut ordered, mut pairs) = (0.0, 0.0);
            for positive in pick(true) {
                for negative in pick(false) {
                    pairs += 1.0;
                    ordered += match positive.cmp(&negative) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            let area = roc_auc(&is_positive, &scores).unwrap();
            let curve = roc_curve(&is_positive, &scores).unwrap();
            if pairs == 0.0 {
                prop_assert_eq!(area, None);
                prop_assert!(curve.is_empty());
            } else {
                prop_assert!((area.unwrap() - ordered / pairs).abs() < 1e-12);
                let under: f64 = curve.windows(2).map(|pair| {
                    (pair[1].false_positive_rate - pair[0].false_positive_rate) * (pair[1].true_positive_rate + pair[0].true_positive_rate) / 2.0
                }).sum();
                prop_assert!((area.unwrap() - under).abs() < 1e-12);
            }
            // Turned round, the positives are where the negatives were.
            let turned: Vec<f64> = scores.iter().map(|score| -score).collect();
            if let Some(area) = area {
                prop_assert!((roc_auc(&is_positive, &turned).unwrap().unwrap() - (1.0 - area)).abs() < 1e-12);
            }
        }

        /// Two classes whose scores sum to 1: one against the rest and one against one are the same area.
        #[test]
        fn two_classes_have_one_area(rows in prop::collection::vec((0u32..2, 0u8..8), 2..40)) {
            let targets: Vec<u32> = rows.iter().map(|(target, _)| *target).collect();
            let scores: Vec<f64> = rows.iter().flat_map(|(_, score)| [1.0 - *score as f64 / 8.0, *score as f64 / 8.0]).collect();
            let sets: Vec<[u32; 1]> = targets.iter().map(|target| [*target]).collect();
            let one_vs_rest = roc_auc_one_vs_rest(&LabelScores::new(&sets, &scores, 2).unwrap(), Average::Macro);
            let one_vs_one = roc_auc_one_vs_one(&targets, &scores, 2, Average::Macro).unwrap();
            match (one_vs_rest, one_vs_one) {
                (Some(rest), Some(one)) => prop_assert!((rest - one).abs() < 1e-12),
                (rest, one) => prop_assert_eq!(rest, one),
            }
        }
    }
}
