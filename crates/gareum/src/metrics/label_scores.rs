//! Scores of every label beside the labels that examples have: what measures of one label against the rest look at.

use super::MetricsError;
use super::error::{known_ids, same_length};

/// The labels and scores of some examples; single-label examples have a set of one.
#[derive(Debug, Clone, Copy)]
pub struct LabelScores<'a, Set> {
    targets: &'a [Set],
    scores: &'a [f64],
    labels: usize,
}

impl<'a, Set: AsRef<[u32]> + Sync> LabelScores<'a, Set> {
    /// `targets` are sets of label ids, one an example.
    ///
    /// # Shapes
    /// `scores`: `[examples, labels]`, row by row.
    /// # Errors
    /// [`MetricsError`] if there are not `labels` scores for each example, or an id is no label.
    pub fn new(targets: &'a [Set], scores: &'a [f64], labels: usize) -> Result<Self, MetricsError> {
        same_length(targets.len() * labels, scores.len())?;
        known_ids(targets.iter().map(AsRef::as_ref), labels)?;
        Ok(Self {
            targets,
            scores,
            labels,
        })
    }

    /// Number of labels.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.targets.len()
    }

    /// The ids and scores of each example.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'a [u32], &'a [f64])> {
        // Without labels there are no scores either.
        let scores = self.scores.chunks_exact(self.labels.max(1));
        self.targets.iter().map(AsRef::as_ref).zip(scores)
    }

    /// Whether each example has `label`, and how it scores.
    pub(crate) fn label(&self, label: u32) -> (Vec<bool>, Vec<f64>) {
        self.rows()
            .map(|(ids, scores)| (ids.contains(&label), scores[label as usize]))
            .unzip()
    }

    /// Every decision of one label for one example: whether it holds, and its score.
    pub(crate) fn decisions(&self) -> (Vec<bool>, Vec<f64>) {
        let mut holds = vec![false; self.scores.len()];
        for (row, ids) in self.targets.iter().enumerate() {
            ids.as_ref()
                .iter()
                .for_each(|id| holds[row * self.labels + *id as usize] = true);
        }
        (holds, self.scores.to_vec())
    }

    /// Examples of each label.
    pub fn supports(&self) -> Vec<u64> {
        let mut supports = vec![0; self.labels];
        let ids = self.targets.iter().flat_map(AsRef::as_ref);
        ids.for_each(|id| supports[*id as usize] += 1);
        supports
    }
}

/// How values of labels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// The mean of the labels.
    Macro,
    /// The mean of the labels, each weighted by its examples.
    Weighted,
}

impl Average {
    /// The average of values of pairs or labels with so many examples; `None` if one that counts is undefined, or if nothing counts.
    pub(super) fn of(self, values: &[Option<f64>], supports: &[u64]) -> Option<f64> {
        let weight = |support: u64| match self {
            Self::Macro => 1.0,
            Self::Weighted => support as f64,
        };
        let (mut sum, mut weights) = (0.0, 0.0);
        for (value, &support) in values
            .iter()
            .zip(supports)
            .filter(|(_, support)| weight(**support) > 0.0)
        {
            sum += (*value)? * weight(support);
            weights += weight(support);
        }
        (weights > 0.0).then(|| sum / weights)
    }

    /// The average of a value for each label; weighted, it is 0 if no example has a label, as in scikit-learn.
    pub(super) fn of_labels<Set: AsRef<[u32]> + Sync>(
        self,
        values: &[Option<f64>],
        scores: &LabelScores<'_, Set>,
    ) -> Option<f64> {
        let supports = scores.supports();
        let is_bare = scores.examples() > 0 && supports.iter().all(|support| *support == 0);
        match self {
            Self::Weighted if is_bare => Some(0.0),
            _ => self.of(values, &supports),
        }
    }
}
