//! Measures of predicted sets of labels and of the order in which an example's labels score.

use super::error::same_length;
use super::report::{Outcomes, averaged_by};
use super::{LabelConfusions, LabelScores, MetricsError};

/// Jaccard similarities: what truth and prediction share, of what either has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jaccard {
    /// Mean over examples; 0 for one without true and predicted labels.
    pub samples: f64,
    /// Mean over labels.
    pub macro_average: f64,
    /// Of all decisions together.
    pub micro: f64,
    /// Mean over labels, weighted by their examples.
    pub weighted: f64,
}

/// Jaccard similarities of sets of label ids (sorted, unique), with `zero_division=0`. `None` without examples.
///
/// # Errors
/// [`MetricsError`] if the slices differ in length or an id is no label.
pub fn jaccard(
    confusions: &LabelConfusions,
    targets: &[Vec<u32>],
    predictions: &[Vec<u32>],
) -> Result<Option<Jaccard>, MetricsError> {
    same_length(targets.len(), predictions.len())?;
    if targets.is_empty() {
        return Ok(None);
    }
    let labels = confusions.outcomes();
    let samples: Vec<Outcomes> = targets
        .iter()
        .zip(predictions)
        .map(|(target, prediction)| Outcomes::of_sets(target, prediction))
        .collect();
    Ok(Some(Jaccard {
        samples: averaged_by(&samples, Outcomes::jaccard, |_| 1.0),
        macro_average: averaged_by(&labels, Outcomes::jaccard, |_| 1.0),
        micro: Outcomes::sum(&labels).jaccard(),
        weighted: averaged_by(&labels, Outcomes::jaccard, |one| one.positive as f64),
    }))
}

/// For each true label of an example, the share of true ones among the labels that score at least as much; the mean of these, then over
/// examples (Schapire and Singer 2000). An example with all labels or none counts 1. `None` without examples.
pub fn label_ranking_average_precision<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>) -> Option<f64> {
    let of_row = |(ids, row): (&[u32], &[f64])| {
        if ids.is_empty() || ids.len() == row.len() {
            return 1.0;
        }
        let precision = |id: &u32| {
            let score = row[*id as usize];
            let above = row.iter().filter(|other| **other >= score).count();
            let true_above = ids.iter().filter(|other| row[**other as usize] >= score).count();
            true_above as f64 / above as f64
        };
        ids.iter().map(precision).sum::<f64>() / ids.len() as f64
    };
    mean(scores.rows().map(of_row), scores.examples())
}

/// The share of pairs of a true and another label of an example in which the other scores at least as much (Schapire and Singer 2000); the
/// mean over examples, one with all labels or none counting 0. `None` without examples.
pub fn label_ranking_loss<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>) -> Option<f64> {
    let of_row = |(ids, row): (&[u32], &[f64])| {
        let others = || {
            (0..)
                .zip(row)
                .filter(|(id, _)| !ids.contains(id))
                .map(|(_, score)| score)
        };
        let wrong = |id: &u32| others().filter(|score| **score >= row[*id as usize]).count();
        let pairs = ids.len() * (row.len() - ids.len());
        match pairs {
            0 => 0.0,
            pairs => ids.iter().map(wrong).sum::<usize>() as f64 / pairs as f64,
        }
    };
    mean(scores.rows().map(of_row), scores.examples())
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> Option<f64> {
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}
