//! Precision, recall and F1 of each class and their averages, as scikit-learn's `classification_report(..., zero_division=0)` defines them.
//!
//! It serialises to the nested object that `output_dict=True` gives. The table for people is in `table.rs`.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::{ConfusionMatrix, LabelConfusions};

/// Precision, recall, F1 and the number of examples behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Of the predicted ones, how many are right; 0 if none is predicted.
    pub precision: f64,
    /// Of the true ones, how many are found; 0 if there are none.
    pub recall: f64,
    /// Harmonic mean of the two; 0 if both are.
    #[serde(rename = "f1-score")]
    pub f1_score: f64,
    /// Number of true ones. A float, as in scikit-learn's dictionary.
    pub support: f64,
}

/// One average of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Summary {
    /// A single share, under the name `accuracy`.
    Accuracy(f64),
    /// A row such as `macro avg`.
    Average(Scores),
}

/// A classification report.
///
/// As JSON an object in this order: each class by name, then the averages by name. A class that is called like an average (`accuracy`)
/// appears as `accuracy (class)`: scikit-learn would overwrite it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationReport {
    /// Name and scores of each class, by id.
    pub classes: Vec<(String, Scores)>,
    /// Single-label: `accuracy`, `macro avg`, `weighted avg`. Multi-label: `micro avg`, `macro avg`, `weighted avg`, `samples avg`.
    pub averages: Vec<(String, Summary)>,
}

const AVERAGES: [&str; 5] = ["accuracy", "micro avg", "macro avg", "weighted avg", "samples avg"];

impl ClassificationReport {
    /// The report of single-label predictions.
    pub fn single_label(matrix: &ConfusionMatrix) -> Self {
        let outcomes = matrix.outcomes();
        let all = Outcomes::sum(&outcomes);
        let mut report = Self::of_classes(&matrix.labels, &outcomes);
        report.averages.insert(
            0,
            (
                AVERAGES[0].to_owned(),
                Summary::Accuracy(divided(all.hits, all.positive)),
            ),
        );
        report
    }

    /// The report of multi-label predictions; `targets` and `predictions` are those behind `confusions`.
    pub(super) fn multi_label(confusions: &LabelConfusions, targets: &[Vec<u32>], predictions: &[Vec<u32>]) -> Self {
        let outcomes = confusions.outcomes();
        let all = Outcomes::sum(&outcomes);
        let mut report = Self::of_classes(&confusions.labels, &outcomes);
        report
            .averages
            .insert(0, (AVERAGES[1].to_owned(), Summary::Average(all.scores())));

        let samples: Vec<Scores> = targets
            .iter()
            .zip(predictions)
            .map(|(target, prediction)| Outcomes::of_sets(target, prediction).scores())
            .collect();
        let scores = Scores {
            support: all.positive as f64,
            ..averaged(&samples, |_| 1.0)
        };
        report.averages.push((AVERAGES[4].to_owned(), Summary::Average(scores)));
        report
    }

    /// The summary of this name, such as `macro avg`.
    pub fn average(&self, name: &str) -> Option<Summary> {
        self.averages
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, summary)| *summary)
    }

    /// The scores of the average of this name.
    pub(super) fn average_scores(&self, name: &str) -> Option<Scores> {
        match self.average(name)? {
            Summary::Average(scores) => Some(scores),
            Summary::Accuracy(_) => None,
        }
    }

    fn of_classes(names: &[String], outcomes: &[Outcomes]) -> Self {
        let scores: Vec<Scores> = outcomes.iter().map(Outcomes::scores).collect();
        let averages = vec![
            (AVERAGES[2].to_owned(), Summary::Average(averaged(&scores, |_| 1.0))),
            (
                AVERAGES[3].to_owned(),
                Summary::Average(averaged(&scores, |scores| scores.support)),
            ),
        ];
        Self {
            classes: names.iter().cloned().zip(scores).collect(),
            averages,
        }
    }
}

/// Counts behind the scores of a class, a sample or everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcomes {
    pub hits: u64,
    pub predicted: u64,
    pub positive: u64,
}

impl Outcomes {
    /// Of one example's sets of labels.
    pub fn of_sets(target: &[u32], prediction: &[u32]) -> Self {
        Self {
            hits: target.iter().filter(|id| prediction.contains(id)).count() as u64,
            predicted: prediction.len() as u64,
            positive: target.len() as u64,
        }
    }

    pub fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |sum, one| Self {
            hits: sum.hits + one.hits,
            predicted: sum.predicted + one.predicted,
            positive: sum.positive + one.positive,
        })
    }

    pub fn f1(&self) -> f64 {
        divided(2 * self.hits, self.predicted + self.positive)
    }

    pub fn jaccard(&self) -> f64 {
        divided(self.hits, self.predicted + self.positive - self.hits)
    }

    fn scores(&self) -> Scores {
        Scores {
            precision: divided(self.hits, self.predicted),
            recall: divided(self.hits, self.positive),
            f1_score: self.f1(),
            support: self.positive as f64,
        }
    }
}

/// 0 / 0 = 0, scikit-learn's `zero_division=0`.
fn divided(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Weighted mean, 0 if all weights are.
pub(super) fn averaged_by<T>(items: &[T], value: impl Fn(&T) -> f64, weight: impl Fn(&T) -> f64) -> f64 {
    let (sum, total) = items.iter().fold((0.0, 0.0), |(sum, total), item| {
        (sum + value(item) * weight(item), total + weight(item))
    });
    if total == 0.0 { 0.0 } else { sum / total }
}

/// Weighted mean, 0 if all weights are; the support is the sum.
fn averaged(scores: &[Scores], weight: impl Fn(&Scores) -> f64) -> Scores {
    let mean = |value: fn(&Scores) -> f64| averaged_by(scores, value, &weight);
    Scores {
        precision: mean(|scores| scores.precision),
        recall: mean(|scores| scores.recall),
        f1_score: mean(|scores| scores.f1_score),
        support: scores.iter().map(|scores| scores.support).sum(),
    }
}

const CLASS_SUFFIX: &str = " (class)";

impl Serialize for ClassificationReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.classes.len() + self.averages.len()))?;
        for (name, scores) in &self.classes {
            if AVERAGES.contains(&name.as_str()) {
                map.serialize_entry(&format!("{name}{CLASS_SUFFIX}"), scores)?;
            } else {
                map.serialize_entry(name, scores)?;
            }
        }
        for (name, summary) in &self.averages {
            match summary {
                Summary::Accuracy(share) => map.serialize_entry(name, share)?,
                Summary::Average(scores) => map.serialize_entry(name, scores)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ClassificationReport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReportVisitor;
        impl<'de> Visitor<'de> for ReportVisitor {
            type Value = ClassificationReport;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a classification report: classes and averages by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut report = ClassificationReport {
                    classes: Vec::new(),
                    averages: Vec::new(),
                };
                while let Some(name) = map.next_key::<String>()? {
                    if name == AVERAGES[0] {
                        report.averages.push((name, Summary::Accuracy(map.next_value()?)));
                    } else if AVERAGES.contains(&name.as_str()) {
                        report.averages.push((name, Summary::Average(map.next_value()?)));
                    } else {
                        let class = name.strip_suffix(CLASS_SUFFIX).filter(|class| AVERAGES.contains(class));
                        let class = class.map(str::to_owned).unwrap_or(name);
                        report.classes.push((class, map.next_value()?));
                    }
                }
                if report.averages.is_empty() {
                    return Err(A::Error::custom("the averages are missing"));
                }
                Ok(report)
            }
        }
        deserializer.deserialize_map(ReportVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(names: &[&str]) -> ClassificationReport {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        // The example of scikit-learn's documentation.
        let matrix = ConfusionMatrix::new(&names, &[0, 1, 2, 2, 2], &[0, 0, 2, 2, 1]).unwrap();
        ClassificationReport::single_label(&matrix)
    }

    #[test]
    fn json_is_scikit_learns_dictionary() {
        let report = report(&["loss", "accuracy", "중립"]);
        let json = serde_json::to_value(&report).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "loss",
                "accuracy (class)",
                "중립",
                "accuracy",
                "macro avg",
                "weighted avg"
            ]
        );
        let expected = r#"{"precision":0.5,"recall":1.0,"f1-score":0.6666666666666666,"support":1.0}"#;
        assert_eq!(json["loss"].to_string(), expected);
        assert_eq!(json["accuracy"], 0.6);
        assert_eq!(serde_json::from_value::<ClassificationReport>(json).unwrap(), report);
    }
}
