//! From logits to labels: the one place where a temperature, thresholds and an abstain band are applied, in training's last evaluation as in
//! `evaluate` and `predict`.
//!
//! A [`Decision`] is saved in `gareum.json`. The weights and `config.json` know nothing of it, so `transformers` loads a model unchanged, and
//! gives its scores at temperature 1. How one is fitted is in `fit.rs`.

mod fit;

use serde::{Deserialize, Serialize};

use crate::data::{LabelSchema, Task};
use crate::predict::Prediction;

pub use fit::Fitted;

/// The threshold of a label that has none of its own.
pub const DEFAULT_THRESHOLD: f64 = 0.5;

/// How logits become scores and labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// Logits are divided by it before softmax or sigmoid (Guo et al. 2017, section 4.2, <https://arxiv.org/abs/1706.04599>): above 1, scores
    /// become less sure. It changes no order. Default 1.
    pub temperature: f64,
    /// Multi-label: the score from which on each label is given, in the order of the labels; none: 0.5 for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<LabelThreshold>,
    /// When no answer is given.
    #[serde(skip_serializing_if = "Abstain::is_off")]
    pub abstain: Abstain,
    /// What fitting did; absent if nothing was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitted: Option<Fitted>,
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            thresholds: Vec::new(),
            abstain: Abstain::default(),
            fitted: None,
        }
    }
}

/// The score from which on a label is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelThreshold {
    /// The label.
    pub label: String,
    /// A probability.
    pub threshold: f64,
    /// Examples with the label that it was chosen on.
    #[serde(default)]
    pub support: u64,
    /// Whether it was chosen for all labels together, because this one has too few examples.
    #[serde(default)]
    pub shared: bool,
}

/// When a model would rather say nothing (Chow 1970). Off unless one of the two is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Abstain {
    /// Abstain where no label scores as much. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// Abstain where the best label leads the next by less; multi-label: where a score is nearer to its threshold. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_margin: Option<f64>,
}

impl Abstain {
    /// Whether an answer is always given.
    pub fn is_off(&self) -> bool {
        self.min_score.is_none() && self.min_margin.is_none()
    }
}

impl Decision {
    /// What logits `[labels]` mean: scores, labels, and whether to abstain.
    ///
    /// Single-label: the first of the best scores. Multi-label: every label whose score reaches its threshold. Regression: the logit is the
    /// number, and nothing is applied to it.
    pub fn decide(&self, logits: Vec<f32>, task: Task) -> Prediction {
        let scaled = logits.iter().map(|&logit| f64::from(logit) / self.temperature);
        let scores: Vec<f64> = match task {
            Task::Regression => logits.iter().map(|&logit| f64::from(logit)).collect(),
            Task::MultiLabel => scaled.map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
            Task::SingleLabel => {
                let largest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
                let exponentials: Vec<f64> = scaled.map(|logit| (logit - largest).exp()).collect();
                let sum: f64 = exponentials.iter().sum();
                exponentials.into_iter().map(|value| value / sum).collect()
            }
        };
        let classes = match task {
            Task::Regression => Vec::new(),
            Task::MultiLabel => (0..)
                .zip(&scores)
                .filter(|(id, score)| **score >= self.threshold(*id))
                .map(|(id, _)| id)
                .collect(),
            // The first of equal scores, as argmax takes it.
            Task::SingleLabel => {
                let best = (0..)
                    .zip(&scores)
                    .reduce(|best, next| if next.1 > best.1 { next } else { best });
                best.map(|(id, _)| id).into_iter().collect()
            }
        };
        Prediction {
            abstained: self.abstains(&scores, task),
            logits,
            scores,
            classes,
        }
    }

    /// The score from which on a label is given.
    pub fn threshold(&self, id: u32) -> f64 {
        self.thresholds
            .get(id as usize)
            .map_or(DEFAULT_THRESHOLD, |label| label.threshold)
    }

    fn abstains(&self, scores: &[f64], task: Task) -> bool {
        if self.abstain.is_off() || task == Task::Regression {
            return false;
        }
        // The two best.
        let [best, next] = scores
            .iter()
            .fold([0.0f64; 2], |[best, next], &score| match score > best {
                true => [score, best],
                false => [best, next.max(score)],
            });
        let margin = match task {
            Task::MultiLabel => (0..)
                .zip(scores)
                .map(|(id, score)| (score - self.threshold(id)).abs())
                .fold(f64::INFINITY, f64::min),
            _ => best - next,
        };
        self.abstain.min_score.is_some_and(|least| best < least)
            || self.abstain.min_margin.is_some_and(|least| margin < least)
    }

    /// Checks what was read from a file against the labels of the model, and puts thresholds in their order.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn for_schema(mut self, schema: &LabelSchema) -> Result<Self, String> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(format!(
                "decision.temperature is {}, expected a number above 0",
                self.temperature
            ));
        }
        if self.thresholds.is_empty() {
            return Ok(self);
        }
        let position = |label: &LabelThreshold| schema.id_of(&label.label);
        if let Some(label) = self.thresholds.iter().find(|label| position(label).is_none()) {
            return Err(format!(
                "decision.thresholds names `{}`, which is no label of the model",
                label.label
            ));
        }
        self.thresholds.sort_by_key(|label| position(label));
        let names = self.thresholds.iter().map(|label| &label.label);
        if !names.eq(&schema.names) {
            return Err("decision.thresholds does not name every label of the model once".to_owned());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(names: &[&str]) -> LabelSchema {
        LabelSchema {
            task: Task::MultiLabel,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn thresholds(values: &[(&str, f64)]) -> Vec<LabelThreshold> {
        let threshold = |(label, threshold): &(&str, f64)| LabelThreshold {
            label: (*label).to_owned(),
            threshold: *threshold,
            support: 0,
            shared: false,
        };
        values.iter().map(threshold).collect()
    }

    #[test]
    fn single_label_is_a_softmax() {
        let decide = |logits: Vec<f32>| Decision::default().decide(logits, Task::SingleLabel);
        let prediction = decide(vec![1.0, 3.0, 3.0]);
        assert_eq!(prediction.classes, [1]);
        assert!((prediction.scores.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(decide(vec![1000.0, -1000.0]).scores, [1.0, 0.0]);
    }

    #[test]
    fn a_temperature_changes_scores_but_no_order() {
        let logits = vec![1.0, 3.0, -2.0];
        let decision = Decision {
            temperature: 2.0,
            ..Decision::default()
        };
        let halves = logits.iter().map(|logit| logit / 2.0).collect();
        let scores = Decision::default().decide(halves, Task::SingleLabel).scores;
        let warm = decision.decide(logits.clone(), Task::SingleLabel);
        assert_eq!((warm.scores, warm.classes), (scores, vec![1]));
        let each = decision.decide(logits.clone(), Task::MultiLabel);
        assert_eq!(each.classes, [0, 1]);
        assert!((each.scores[1] - 1.0 / (1.0 + (-1.5f64).exp())).abs() < 1e-12);
        assert_eq!(decision.decide(vec![-2.5], Task::Regression).scores, [-2.5]);
    }

    #[test]
    fn thresholds_are_of_their_labels() {
        let read = |values: &[(&str, f64)]| {
            Decision {
                thresholds: thresholds(values),
                ..Decision::default()
            }
            .for_schema(&schema(&["a", "b"]))
        };
        // In the order of the model, whatever that of the file.
        let decision = read(&[("b", 0.9), ("a", 0.2)]).unwrap();
        let prediction = decision.decide(vec![-1.0, 2.0], Task::MultiLabel);
        assert_eq!(prediction.classes, [0], "{:?}", prediction.scores);
        let default = Decision::default().decide(vec![0.0, -0.1], Task::MultiLabel);
        assert_eq!(default.classes, [0]);
        assert!(read(&[("a", 0.5)]).unwrap_err().contains("every label"));
        assert!(read(&[("a", 0.5), ("c", 0.5)]).unwrap_err().contains("`c`"));
        let cold = Decision {
            temperature: 0.0,
            ..Decision::default()
        };
        assert!(cold.for_schema(&schema(&["a"])).unwrap_err().contains("above 0"));
    }

    #[test]
    fn abstaining_is_asked_for() {
        let decide = |abstain: Abstain, logits: &[f32], task: Task| {
            let decision = Decision {
                abstain,
                ..Decision::default()
            };
            decision.decide(logits.to_vec(), task).abstained
        };
        let score = |least: f64| Abstain {
            min_score: Some(least),
            ..Abstain::default()
        };
        let margin = |least: f64| Abstain {
            min_margin: Some(least),
            ..Abstain::default()
        };
        // Scores of 0.5, 0.5; of 0.73, 0.27.
        for (abstain, logits, expected) in [
            (Abstain::default(), [0.0, 0.0], false),
            (score(0.6), [0.0, 0.0], true),
            (score(0.6), [1.0, 0.0], false),
            (margin(0.4), [0.0, 0.0], true),
            (margin(0.4), [0.0, 1.0], false),
            (margin(0.5), [1.0, 0.0], true),
        ] {
            assert_eq!(
                decide(abstain, &logits, Task::SingleLabel),
                expected,
                "{abstain:?} {logits:?}"
            );
        }
        // Scores of 0.73 and 0.12, 0.23 and 0.38 away from the thresholds.
        assert!(!decide(margin(0.2), &[1.0, -2.0], Task::MultiLabel));
        assert!(decide(margin(0.3), &[1.0, -2.0], Task::MultiLabel));
        assert!(decide(score(0.8), &[1.0, -2.0], Task::MultiLabel));
        assert!(!decide(score(0.8), &[0.1], Task::Regression));
    }
}
