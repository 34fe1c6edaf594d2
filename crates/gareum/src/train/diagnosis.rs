//! What the figures of a run mean, in words: how far it got, what looks wrong, and what to change.
//!
//! Levels are relative to chance: with K labels a skill of (accuracy − 1/K) / (1 − 1/K), and the same of the macro F1, whichever is lower. The bounds are those
//! that our users give for three labels: up to 50 % right is untrained, up to 80 % learning, up to 90 % usable, above excellent.

use std::fmt;

use serde::Serialize;

use super::{EncodedExample, Evaluation};
use crate::data::LabelSchema;
use crate::metrics::{ConfusionMatrix, Metrics};

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Hardly better than chance.
    Untrained,
    /// Better than chance, not yet of use.
    Learning,
    /// Right most of the time.
    Usable,
    /// Right nearly always.
    Excellent,
}

impl Level {
    /// That of a skill: 0 is chance, 1 all right.
    fn of(skill: f64) -> Self {
        match skill {
            skill if skill < 0.25 => Self::Untrained,
            skill if skill < 0.70 => Self::Learning,
            skill if skill < 0.85 => Self::Usable,
            _ => Self::Excellent,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Untrained => "hardly better than chance",
            Self::Learning => "it has learnt something, but is not of use yet",
            Self::Usable => "usable",
            Self::Excellent => "excellent",
        }
    }
}

/// Something that looks wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// All rows get the same label.
    Collapsed {
        /// The label.
        label: String,
        /// `train.learning_rate`
        learning_rate: f64,
    },
    /// Training rows are known by heart, others are not.
    Overfitting {
        /// Loss of training rows.
        train_loss: f64,
        /// Loss of the others.
        loss: f64,
        /// Share of training rows that are right.
        train_accuracy: f64,
        /// Share of the others.
        accuracy: f64,
    },
    /// Some labels are hardly ever right.
    Imbalance {
        /// Share of rows that are right.
        accuracy: f64,
        /// Mean F1 of the labels.
        macro_f1: f64,
        /// The label with the lowest F1.
        worst: String,
        /// Its F1.
        worst_f1: f64,
    },
    /// The model is sure that training rows have other labels than those that it was taught.
    LabelNoise {
        /// How many.
        rows: usize,
        /// Of how many that were looked at.
        of: usize,
    },
    /// Training rows are not right either.
    Underfitting {
        /// Share of training rows that are right.
        train_accuracy: f64,
        /// `train.learning_rate`
        learning_rate: f64,
    },
}

/// What the figures of a run mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// How far it got.
    pub level: Level,
    /// What looks wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Share of rows that are right.
    pub accuracy: f64,
    /// Mean F1 of the labels.
    pub macro_f1: f64,
    /// How many labels there are.
    pub labels: usize,
}

/// Training rows that are looked at, at most.
pub(super) const TRAIN_SAMPLE: usize = 500;

/// A model that gives another label such a probability is sure of it.
const SURE: f64 = 0.95;

impl Diagnosis {
    /// Of single labels; `None` for other tasks. `sample` are training rows, `train` what the model makes of them, and `metrics` those of rows
    /// that it has not seen.
    pub(super) fn new(
        schema: &LabelSchema,
        sample: &[EncodedExample],
        train: &Evaluation,
        metrics: &Metrics,
        learning_rate: f64,
    ) -> Option<Self> {
        let (Metrics::SingleLabel(seen), Metrics::SingleLabel(unseen)) = (&train.metrics, metrics) else {
            return None;
        };
        let labels = schema.num_labels();
        let (accuracy, macro_f1, loss) = (unseen.accuracy?, unseen.macro_f1?, unseen.loss?);
        let (train_accuracy, train_loss) = (seen.accuracy?, seen.loss?);
        let chance = 1.0 / labels.max(2) as f64;
        let skill = |share: f64| (share - chance) / (1.0 - chance);
        let level = Level::of(skill(accuracy.min(macro_f1)));
        // ln K is the loss of chance; for three labels the bounds are 0.1 and 0.6.
        let of_chance = |loss: f64| loss / (labels.max(2) as f64).ln();
        let mut findings = Vec::new();
        let collapsed = only_label(&unseen.confusion_matrix).filter(|_| labels > 1);
        if let Some(label) = collapsed {
            findings.push(Finding::Collapsed { label, learning_rate });
        } else if (of_chance(train_loss) < 0.09 && of_chance(loss) > 0.55)
            || (train_accuracy >= 0.99 && accuracy <= 0.8)
        {
            findings.push(Finding::Overfitting {
                train_loss,
                loss,
                train_accuracy,
                accuracy,
            });
        } else if skill(train_accuracy) < 0.70 {
            findings.push(Finding::Underfitting {
                train_accuracy,
                learning_rate,
            });
        }
        let classes = unseen.classification_report.classes.iter();
        let worst = classes
            .filter(|(_, scores)| scores.support > 0.0)
            .min_by(|one, other| one.1.f1_score.total_cmp(&other.1.f1_score));
        if let Some((worst, scores)) = worst.filter(|_| findings.is_empty() && accuracy - macro_f1 > 0.15) {
            findings.push(Finding::Imbalance {
                accuracy,
                macro_f1,
                worst: worst.clone(),
                worst_f1: scores.f1_score,
            });
        }
        let surely_other = sample.iter().zip(&train.predictions).filter(|(example, prediction)| {
            let label = example.target.ids().first().map(|&label| label as usize);
            let sure = prediction.scores.iter().position(|&score| score >= SURE);
            sure.is_some() && sure != label
        });
        let rows = surely_other.count();
        if level >= Level::Usable && rows * 50 > sample.len() {
            findings.push(Finding::LabelNoise { rows, of: sample.len() });
        }
        Some(Self {
            level,
            findings,
            accuracy,
            macro_f1,
            labels,
        })
    }
}

/// The label that all rows got, if they all got the same though they have several.
fn only_label(matrix: &ConfusionMatrix) -> Option<String> {
    let predicted = |label: usize| matrix.counts.iter().any(|row| row[label] > 0);
    let there = matrix
        .counts
        .iter()
        .filter(|row| row.iter().any(|&count| count > 0))
        .count();
    let mut found = (0..matrix.labels.len()).filter(|&label| predicted(label));
    match (found.next(), found.next()) {
        (Some(label), None) if there > 1 => Some(matrix.labels[label].clone()),
        _ => None,
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accuracy, macro_f1, labels) = (self.accuracy, self.macro_f1, self.labels);
        write!(
            f,
            "accuracy {accuracy:.3} and macro F1 {macro_f1:.3} with {labels} labels: {}",
            self.level.words()
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collapsed { label, learning_rate } => write!(
                f,
                "every row gets the label `{label}`: change train.learning_rate (now {learning_rate:e}), raise train.warmup_ratio, or set \
                 train.class_weights to balanced"
            ),
            Self::Overfitting {
                train_loss,
                loss,
                train_accuracy,
                accuracy,
            } => write!(
                f,
                "overfitting: training rows have loss {train_loss:.3} and accuracy {train_accuracy:.3}, others {loss:.3} and {accuracy:.3}; take fewer epochs, \
                 more rows, train.label_smoothing or a higher train.weight_decay"
            ),
            Self::Imbalance {
                accuracy,
                macro_f1,
                worst,
                worst_f1,
            } => write!(
                f,
                "accuracy {accuracy:.3} hides a macro F1 of {macro_f1:.3} (`{worst}` has {worst_f1:.3}): set train.class_weights to balanced, or collect rows of such labels"
            ),
            Self::LabelNoise { rows, of } => write!(
                f,
                "of {of} training rows {rows} surely have another label in the model's eyes: some labels may be wrong"
            ),
            Self::Underfitting {
                train_accuracy,
                learning_rate,
            } => write!(
                f,
                "training rows are not learnt either (accuracy {train_accuracy:.3}): raise train.epochs or train.learning_rate (now {learning_rate:e}), and see whether the \
                 labels follow from the texts"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Target, Task};
    use crate::decision::Decision;
    use crate::tokens::Encoded;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn schema() -> LabelSchema {
        LabelSchema {
            task: Task::SingleLabel,
            names: NAMES.map(str::to_owned).to_vec(),
        }
    }

    /// An evaluation in which each label of `truth` is taken for that of `found`.
    fn evaluation(truth: &[u32], found: &[u32], loss: f64) -> (Vec<EncodedExample>, Evaluation) {
        let names = schema().names;
        let metrics = Metrics::single_label(&names, truth, found, None, Some(loss)).unwrap();
        let example = |&label: &u32| EncodedExample {
            encoded: Encoded {
                input_ids: vec![1],
                token_type_ids: vec![0],
                full_length: 1,
            },
            target: Target::Class(label),
        };
        let prediction = |&label: &u32| {
            let mut logits = vec![0.0; 3];
            logits[label as usize] = 10.0;
            Decision::default().decide(logits, Task::SingleLabel)
        };
        let predictions = found.iter().map(prediction).collect();
        (truth.iter().map(example).collect(), Evaluation { metrics, predictions })
    }

    /// `count` rows of all labels, of which `wrong` are taken for the next one.
    fn rows(count: u32, wrong: u32) -> (Vec<u32>, Vec<u32>) {
        let truth: Vec<u32> = (0..count).map(|row| row % 3).collect();
        let found = truth
            .iter()
            .zip(0..)
            .map(|(&label, row)| if row < wrong { (label + 1) % 3 } else { label });
        let found = found.collect();
        (truth, found)
    }

    fn diagnose(train: (u32, f64), unseen: (u32, f64)) -> Diagnosis {
        let of = |(wrong, loss): (u32, f64)| {
            let (truth, found) = rows(300, wrong);
            evaluation(&truth, &found, loss)
        };
        let (sample, train) = of(train);
        Diagnosis::new(&schema(), &sample, &train, &of(unseen).1.metrics, 2e-5).unwrap()
    }

    #[test]
    fn levels_are_those_of_our_users() {
        for (wrong, level) in [
            (198, Level::Untrained),
            (156, Level::Untrained),
            (90, Level::Learning),
            (48, Level::Usable),
            (15, Level::Excellent),
        ] {
            assert_eq!(diagnose((wrong, 0.5), (wrong, 0.5)).level, level, "{wrong} of 300");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let kinds = |diagnosis: &Diagnosis| -> Vec<String> {
            let kind = |finding: &Finding| {
                serde_json::to_value(finding).unwrap()["kind"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            diagnosis.findings.iter().map(kind).collect()
        };
        assert_eq!(kinds(&diagnose((3, 0.2), (20, 0.3))), [""; 0]);
        assert_eq!(kinds(&diagnose((0, 0.05), (90, 0.9))), ["overfitting"]);
        assert_eq!(kinds(&diagnose((3, 0.05), (30, 0.7))), ["overfitting"]);
        assert_eq!(kinds(&diagnose((150, 0.9), (150, 0.9))), ["underfitting"]);
        assert_eq!(kinds(&diagnose((9, 0.2), (20, 0.3))), ["label_noise"]);

        let truth: Vec<u32> = (0..300).map(|row| row % 3).collect();
        let (sample, train) = evaluation(&truth, &[1; 300], 1.1);
        let collapsed = Diagnosis::new(&schema(), &sample, &train, &train.metrics, 1e-3).unwrap();
        assert_eq!(kinds(&collapsed), ["collapsed"]);
        assert!(collapsed.findings[0].to_string().contains("the label `b`"));

        // Two rare labels that are never found.
        let truth: Vec<u32> = (0..300).map(|row| if row < 12 { row % 2 + 1 } else { 0 }).collect();
        let found: Vec<u32> = truth.iter().map(|&label| if label == 2 { 2 } else { 0 }).collect();
        let (sample, train) = evaluation(&truth, &found, 0.2);
        let found = Diagnosis::new(&schema(), &sample, &train, &train.metrics, 1e-3).unwrap();
        assert_eq!(kinds(&found)[0], "imbalance", "{found:?}");
    }
}
