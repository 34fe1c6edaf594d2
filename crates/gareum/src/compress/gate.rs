//! Whether a compressed model may take the place of the original.

use serde::Serialize;
use serde_json::Value;

use crate::comparison::{Comparison, Contestant, Shift, shift};
use crate::data::{Example, LabelSchema, Task};

/// Flipped rows that are shown.
const MOST_FLIPS: usize = 20;

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gate {
    /// The most that macro-F1 may fall. Default 0.005, half a point. Of numbers: the most that RMSE may rise, as a share of it.
    pub max_drop: f64,
    /// The largest share of rows whose labels may change. Default 0.01.
    pub max_flips: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            max_drop: 0.005,
            max_flips: 0.01,
        }
    }
}

/// What a gate says of a model.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// What was allowed.
    pub gate: Gate,
    /// Whether it passes.
    pub passed: bool,
    /// How much worse the ranking figure is: of macro-F1 in points of 1, of RMSE as a share of it. Negative if it is better.
    pub drop: f64,
    /// The share of rows whose labels changed; 0 for numbers.
    pub flipped: f64,
    /// How far probabilities moved.
    pub shift: Option<Shift>,
    /// Rows whose labels changed, the largest shift first.
    pub flips: Vec<Flip>,
}

/// A row whose labels changed.
#[derive(Debug, Clone, Serialize)]
pub struct Flip {
    /// The 1-based row in the file.
    pub row: u64,
    /// The text.
    pub text: String,
    /// What it is.
    pub truth: Value,
    /// What the original says.
    pub before: Value,
    /// What the compressed model says.
    pub after: Value,
    /// How far the label that moved most did.
    pub shift: f64,
}

impl Gate {
    /// Judges the second contestant by the first, the original.
    pub(super) fn judge(
        self,
        schema: &LabelSchema,
        examples: &[Example],
        [before, after]: [&Contestant; 2],
        comparison: &Comparison,
    ) -> Judgement {
        let figure = |index: usize| {
            let standing = comparison.contestants.get(index);
            standing.and_then(|standing| standing.metrics.get(comparison.metric).copied().flatten())
        };
        let drop = match (schema.task, figure(0), figure(1)) {
            (Task::Regression, Some(before), Some(after)) => (after - before) / before.max(f64::MIN_POSITIVE),
            (_, Some(before), Some(after)) => before - after,
            // What cannot be measured does not pass.
            _ => f64::INFINITY,
        };
        let shift_of = |index: usize| shift(&before.predictions[index], &after.predictions[index]);
        let shifts: Vec<f64> = (0..examples.len()).map(shift_of).collect();
        let moved = comparison.contestants.get(1).and_then(|standing| standing.moved);
        let flipped_share = moved.map_or(1.0, |moved| moved.flipped);
        let is_flip = |index: &usize| {
            schema.task != Task::Regression && before.predictions[*index].classes != after.predictions[*index].classes
        };
        let mut flipped: Vec<usize> = (0..examples.len()).filter(is_flip).collect();
        flipped.sort_by(|one, other| shifts[*other].total_cmp(&shifts[*one]));
        flipped.truncate(MOST_FLIPS);
        let flip = |index: usize| Flip {
            row: examples[index].id,
            text: examples[index].text.clone(),
            truth: Contestant::truth(schema, &examples[index]),
            before: before.answer(schema, &examples[index], index).label,
            after: after.answer(schema, &examples[index], index).label,
            shift: shifts[index],
        };
        Judgement {
            gate: self,
            passed: drop <= self.max_drop && flipped_share <= self.max_flips,
            drop,
            flipped: flipped_share,
            shift: moved.and_then(|moved| moved.shift),
            flips: flipped.into_iter().map(flip).collect(),
        }
    }
}
