//! When to stop, and which evaluation was the best.

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// Watches one metric over the evaluations of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// The metric, by its name in `metrics.json`.
    pub monitor: String,
    /// A smaller gain than this is none.
    pub min_delta: f64,
    /// Evaluations without gain that are put up with.
    pub patience: u64,
    /// The best value so far; its weights are kept.
    pub best: Option<f64>,
    /// The value that the next gain is measured from: the last one that was a gain itself.
    reference: Option<f64>,
    /// Evaluations without gain since.
    without_gain: u64,
}

/// What an evaluation means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// No evaluation so far was better.
    pub is_best: bool,
    /// Patience has run out.
    pub stop: bool,
}

impl EarlyStopping {
    /// Nothing seen yet.
    pub fn new(monitor: String, min_delta: f64, patience: u64) -> Self {
        Self {
            monitor,
            min_delta,
            patience,
            best: None,
            reference: None,
            without_gain: 0,
        }
    }

    /// Takes the value of an evaluation. A value that is not a number is never a gain.
    pub fn observe(&mut self, value: f64) -> Verdict {
        let sign = if Metrics::larger_is_better(&self.monitor) {
            1.0
        } else {
            -1.0
        };
        let is_best = !value.is_nan() && self.best.is_none_or(|best| sign * (value - best) > 0.0);
        if is_best {
            self.best = Some(value);
        }
        let is_gain = !value.is_nan()
            && self
                .reference
                .is_none_or(|reference| sign * (value - reference) > self.min_delta);
        if is_gain {
            self.reference = Some(value);
            self.without_gain = 0;
        } else {
            self.without_gain += 1;
        }
        Verdict {
            is_best,
            stop: self.has_stopped(),
        }
    }

    /// Whether patience has run out.
    pub fn has_stopped(&self) -> bool {
        self.without_gain > self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many evaluations of `values` happen before the run stops.
    fn evaluations(monitor: &str, min_delta: f64, patience: u64, values: &[f64]) -> usize {
        let mut stopping = EarlyStopping::new(monitor.to_owned(), min_delta, patience);
        values
            .iter()
            .position(|&value| stopping.observe(value).stop)
            .map_or(values.len(), |index| index + 1)
    }

    #[test]
    fn patience_counts_evaluations_without_gain() {
        let values = [0.5, 0.6, 0.6005, 0.7, 0.69, 0.68, 0.67];
        assert_eq!(evaluations("macro_f1", 0.001, 0, &values), 3);
        assert_eq!(evaluations("macro_f1", 0.001, 1, &values), 6);
        assert_eq!(evaluations("macro_f1", 0.001, 9, &values), 7);
        assert_eq!(evaluations("loss", 0.0, 0, &[0.9, 0.8, 0.85]), 3);
        assert_eq!(evaluations("loss", 0.0, 0, &[0.9, f64::NAN]), 2);
    }

    #[test]
    fn small_gains_add_up_and_the_best_is_the_best() {
        let mut stopping = EarlyStopping::new("accuracy".to_owned(), 0.01, 5);
        let verdicts: Vec<bool> = [0.5, 0.506, 0.512, 0.511]
            .map(|value| stopping.observe(value).is_best)
            .to_vec();
        assert_eq!(verdicts, [true, true, true, false]);
        assert_eq!((stopping.best, stopping.without_gain), (Some(0.512), 1));
    }
}
