//! Who is taken for whom.

use serde::{Deserialize, Serialize};

use super::MetricsError;
use super::error::{known_ids, same_length};
use super::report::Outcomes;

/// Counts of single-label predictions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// Label names by id.
    pub labels: Vec<String>,
    /// `counts[true][predicted]`.
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// Counts class ids.
    ///
    /// # Errors
    /// [`MetricsError`] if lengths differ or an id has no name.
    pub fn new(names: &[String], targets: &[u32], predictions: &[u32]) -> Result<Self, MetricsError> {
        same_length(targets.len(), predictions.len())?;
        known_ids(targets.iter().chain(predictions).map(std::slice::from_ref), names.len())?;
        let mut counts = vec![vec![0; names.len()]; names.len()];
        for (target, prediction) in targets.iter().zip(predictions) {
            counts[*target as usize][*prediction as usize] += 1;
        }
        Ok(Self {
            labels: names.to_vec(),
            counts,
        })
    }

    /// Each class against the rest.
    pub(super) fn outcomes(&self) -> Vec<Outcomes> {
        let outcomes = |id: usize| Outcomes {
            hits: self.counts[id][id],
            predicted: self.counts.iter().map(|row| row[id]).sum(),
            positive: self.counts[id].iter().sum(),
        };
        (0..self.labels.len()).map(outcomes).collect()
    }
}

/// Counts of multi-label predictions, each label against the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelConfusions {
    /// Label names by id.
    pub labels: Vec<String>,
    /// For each label `[[true negatives, false positives], [false negatives, true positives]]`.
    pub counts: Vec<[[u64; 2]; 2]>,
}

impl LabelConfusions {
    /// Counts sets of class ids (sorted, unique).
    ///
    /// # Errors
    /// [`MetricsError`] if lengths differ or an id has no name.
    pub fn new(names: &[String], targets: &[Vec<u32>], predictions: &[Vec<u32>]) -> Result<Self, MetricsError> {
        same_length(targets.len(), predictions.len())?;
        known_ids(targets.iter().chain(predictions).map(Vec::as_slice), names.len())?;
        let mut counts = vec![[[targets.len() as u64, 0], [0, 0]]; names.len()];
        for (target, prediction) in targets.iter().zip(predictions) {
            let ids = target.iter().chain(prediction.iter().filter(|id| !target.contains(id)));
            for id in ids {
                let (is_true, is_predicted) = (target.contains(id), prediction.contains(id));
                counts[*id as usize][usize::from(is_true)][usize::from(is_predicted)] += 1;
                counts[*id as usize][0][0] -= 1;
            }
        }
        Ok(Self {
            labels: names.to_vec(),
            counts,
        })
    }

    pub(super) fn outcomes(&self) -> Vec<Outcomes> {
        let outcomes = |[[_, false_positives], [false_negatives, hits]]: &[[u64; 2]; 2]| Outcomes {
            hits: *hits,
            predicted: hits + false_positives,
            positive: hits + false_negatives,
        };
        self.counts.iter().map(outcomes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_and_columns_predicted() {
        let names = ["a".to_owned(), "b".to_owned()];
        let matrix = ConfusionMatrix::new(&names, &[0, 0, 1], &[0, 1, 1]).unwrap();
        assert_eq!(matrix.counts, [[1, 1], [0, 1]]);
        let error = ConfusionMatrix::new(&names, &[0, 2], &[0, 1]).unwrap_err();
        assert_eq!(
            error,
            MetricsError::UnknownId {
                id: 2,
                position: 1,
                names: 2
            }
        );
        let each =
            LabelConfusions::new(&names, &[vec![0], vec![], vec![0, 1]], &[vec![0, 1], vec![], vec![1]]).unwrap();
        assert_eq!(each.counts, [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]);
    }
}
