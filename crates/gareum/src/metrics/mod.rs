//! Measures of predictions: plain functions over slices in f64, equal to scikit-learn's with `zero_division=0`.
//!
//! [`Metrics`] bundles what `metrics.json` holds for a task. Where scikit-learn gives NaN or an error, a measure is `None` and written as null.
//! Not here: turning scores into decisions (`decision.rs`), and comparing runs. Read `report.rs` next, `roc.rs` for scores, and
//! `bootstrap.rs` for intervals.

use serde::{Deserialize, Serialize};

use crate::data::Task;

mod accuracy;
mod agreement;
mod aspects;
mod bootstrap;
mod calibration;
mod confusion_matrix;
mod curves;
mod error;
mod label_scores;
mod label_sets;
mod precision_recall;
mod regression;
mod report;
mod roc;
#[cfg(test)]
mod scikit_learn;
mod significance;
mod spread;
mod table;

pub use accuracy::{accuracy, hamming_loss, log_loss, top_k_accuracy};
pub use agreement::{balanced_accuracy, cohen_kappa, matthews_corrcoef};
pub use aspects::{AspectMetrics, AspectRow, KeywordScores};
pub use bootstrap::{Bootstrap, Difference, Interval, Intervals, Resampled};
pub use calibration::{
    RELIABILITY_BINS, ReliabilityBin, brier_score_loss, expected_calibration_error, multi_label_brier_score_loss,
    multi_label_log_loss, reliability,
};
pub use confusion_matrix::{ConfusionMatrix, LabelConfusions};
pub use curves::{
    CoveragePoint, DRAWN_POINTS, Place, ThresholdPoint, accuracy_by_coverage, f1_by_threshold, height_at, mean_curve,
    thinned,
};
pub use error::MetricsError;
pub use label_scores::{Average, LabelScores};
pub use label_sets::{Jaccard, jaccard, label_ranking_average_precision, label_ranking_loss};
pub use precision_recall::{
    PrecisionRecallPoint, average_precision, average_precision_by_label, mean_average_precision,
    micro_average_precision, precision_recall_curve,
};
pub use regression::{mean_absolute_error, mean_squared_error, pearson, r2_score, spearman};
pub use report::{ClassificationReport, Scores, Summary};
pub(crate) use roc::cuts;
pub use roc::{RocPoint, roc_auc, roc_auc_by_label, roc_auc_one_vs_one, roc_auc_one_vs_rest, roc_curve};
pub use significance::{holm, mcnemar};
pub use spread::Spread;

/// Everything measured on one set of predictions: the content of `metrics.json`, with `task` beside the fields of the task's struct.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Metrics {
    /// One class an example.
    SingleLabel(SingleLabelMetrics),
    /// Any number of classes an example.
    MultiLabel(MultiLabelMetrics),
    /// A number an example.
    Regression(RegressionMetrics),
}

/// Measures of single-label predictions. All but `loss` and counts are shares in [0, 1], and null without examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SingleLabelMetrics {
    /// Number of examples.
    pub examples: usize,
    /// Mean loss as the caller measured it.
    pub loss: Option<f64>,
    /// Share of right predictions.
    pub accuracy: Option<f64>,
    /// Mean F1 of the classes.
    pub macro_f1: Option<f64>,
    /// F1 of all decisions together; equals accuracy.
    pub micro_f1: Option<f64>,
    /// Mean F1 of the classes, weighted by their examples.
    pub weighted_f1: Option<f64>,
    /// Mean recall of the classes that have examples.
    pub balanced_accuracy: Option<f64>,
    /// Matthews' correlation.
    pub matthews_corrcoef: Option<f64>,
    /// Cohen's kappa.
    pub cohen_kappa: Option<f64>,
    /// Share of examples whose class is among the three that score best; null for three classes or fewer.
    pub top_3_accuracy: Option<f64>,
    /// As above among five; null for five classes or fewer.
    pub top_5_accuracy: Option<f64>,
    /// Of the probabilities.
    #[serde(flatten)]
    pub probabilities: ProbabilityMetrics,
    /// Area under the ROC curve of each class against each other, their mean.
    pub roc_auc_ovo: Option<f64>,
    /// As above, weighted by the examples of both.
    pub roc_auc_ovo_weighted: Option<f64>,
    /// Scores of each class and their averages; nested, so that a class named `loss` harms nothing.
    pub classification_report: ClassificationReport,
    /// Who is taken for whom.
    pub confusion_matrix: ConfusionMatrix,
}

/// Measures of multi-label predictions. All but `loss` and counts are shares in [0, 1], and null without examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiLabelMetrics {
    /// Number of examples.
    pub examples: usize,
    /// Mean loss as the caller measured it.
    pub loss: Option<f64>,
    /// Share of examples whose whole set of labels is right (exact match).
    pub accuracy: Option<f64>,
    /// Share of wrong decisions, one for each example and label.
    pub hamming_loss: Option<f64>,
    /// Mean F1 of the labels.
    pub macro_f1: Option<f64>,
    /// F1 of all decisions together.
    pub micro_f1: Option<f64>,
    /// Mean F1 of the labels, weighted by their examples.
    pub weighted_f1: Option<f64>,
    /// Mean F1 of the examples; 0 for one without true and predicted labels.
    pub samples_f1: Option<f64>,
    /// Mean Jaccard similarity of the labels.
    pub macro_jaccard: Option<f64>,
    /// Jaccard similarity of all decisions together.
    pub micro_jaccard: Option<f64>,
    /// Mean Jaccard similarity of the labels, weighted by their examples.
    pub weighted_jaccard: Option<f64>,
    /// Mean Jaccard similarity of the examples.
    pub samples_jaccard: Option<f64>,
    /// How many of the labels above a true one are true too.
    pub label_ranking_average_precision: Option<f64>,
    /// Share of pairs of a true and another label of an example that are in the wrong order.
    pub label_ranking_loss: Option<f64>,
    /// Of the probabilities.
    #[serde(flatten)]
    pub probabilities: ProbabilityMetrics,
    /// Scores of each label and their averages; nested, so that a label named `loss` harms nothing.
    pub classification_report: ClassificationReport,
    /// Each label against the rest.
    pub confusion_matrix: LabelConfusions,
}

/// Measures of the probabilities behind predictions; null without them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityMetrics {
    /// Mean negative logarithm of what the truth was given. `loss` is of the bare logits, this of the probabilities as they are given out.
    pub log_loss: Option<f64>,
    /// Mean squared difference between probabilities and truth.
    pub brier_score_loss: Option<f64>,
    /// Expected calibration error.
    pub ece: Option<f64>,
    /// Area under the ROC curve of each label against the rest, their mean; null if a label has no examples or all of them.
    pub roc_auc: Option<f64>,
    /// As above, weighted by the examples of the label.
    pub roc_auc_weighted: Option<f64>,
    /// Average precision of each label against the rest, their mean.
    pub average_precision: Option<f64>,
    /// Average precision of all decisions together.
    pub average_precision_micro: Option<f64>,
    /// Mean average precision, weighted by the examples of the label.
    pub average_precision_weighted: Option<f64>,
    /// By id; null for a label without examples or with all.
    #[serde(default)]
    pub roc_auc_by_label: Vec<Option<f64>>,
    /// By id.
    #[serde(default)]
    pub average_precision_by_label: Vec<Option<f64>>,
    /// What `ece` is made of: bins of equal width.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
}

impl ProbabilityMetrics {
    /// What both tasks have alike.
    fn ranking<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>, reliability: Vec<ReliabilityBin>) -> Self {
        let (areas, precisions) = (roc_auc_by_label(scores), average_precision_by_label(scores));
        Self {
            log_loss: None,
            brier_score_loss: None,
            ece: finite(expected_calibration_error(&reliability)),
            roc_auc: Average::Macro.of_labels(&areas, scores),
            roc_auc_weighted: Average::Weighted.of_labels(&areas, scores),
            average_precision: Average::Macro.of_labels(&precisions, scores),
            average_precision_micro: micro_average_precision(scores),
            average_precision_weighted: Average::Weighted.of_labels(&precisions, scores),
            roc_auc_by_label: areas,
            average_precision_by_label: precisions,
            reliability,
        }
    }

    fn values(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("log_loss", self.log_loss),
            ("brier_score_loss", self.brier_score_loss),
            ("ece", self.ece),
            ("roc_auc", self.roc_auc),
            ("roc_auc_weighted", self.roc_auc_weighted),
            ("average_precision", self.average_precision),
            ("average_precision_micro", self.average_precision_micro),
            ("average_precision_weighted", self.average_precision_weighted),
        ]
    }
}

/// Measures of predicted numbers, null where undefined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionMetrics {
    /// Number of examples.
    pub examples: usize,
    /// Mean loss as the caller measured it.
    pub loss: Option<f64>,
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Its root, in the unit of the targets.
    pub rmse: Option<f64>,
    /// Mean absolute error, in the unit of the targets.
    pub mae: Option<f64>,
    /// Coefficient of determination.
    pub r2: Option<f64>,
    /// Linear correlation.
    pub pearson: Option<f64>,
    /// Rank correlation.
    pub spearman: Option<f64>,
}

impl Metrics {
    /// Measures single-label predictions given as class ids, with their probabilities where there are any.
    ///
    /// # Shapes
    /// `probabilities`: `[examples, labels]`, row by row.
    /// # Errors
    /// [`MetricsError`] if lengths differ or an id has no name.
    pub fn single_label(
        names: &[String],
        targets: &[u32],
        predictions: &[u32],
        probabilities: Option<&[f64]>,
        loss: Option<f64>,
    ) -> Result<Self, MetricsError> {
        let labels = names.len();
        let top_k = |k: usize| match probabilities.filter(|_| labels > k) {
            Some(probabilities) => top_k_accuracy(targets, probabilities, labels, k),
            None => Ok(None),
        };
        let one_vs_one = |average: Average| match probabilities {
            Some(probabilities) => roc_auc_one_vs_one(targets, probabilities, labels, average),
            None => Ok(None),
        };
        let confusion_matrix = ConfusionMatrix::new(names, targets, predictions)?;
        let classification_report = ClassificationReport::single_label(&confusion_matrix);
        let accuracy = accuracy(targets, predictions)?;
        Ok(Self::SingleLabel(SingleLabelMetrics {
            examples: targets.len(),
            loss: finite(loss),
            accuracy,
            macro_f1: f1_of(&classification_report, "macro avg", targets.len()),
            micro_f1: accuracy,
            weighted_f1: f1_of(&classification_report, "weighted avg", targets.len()),
            balanced_accuracy: balanced_accuracy(&confusion_matrix),
            matthews_corrcoef: matthews_corrcoef(&confusion_matrix),
            cohen_kappa: cohen_kappa(&confusion_matrix),
            top_3_accuracy: top_k(3)?,
            top_5_accuracy: top_k(5)?,
            probabilities: match probabilities {
                Some(probabilities) => of_classes(labels, targets, predictions, probabilities)?,
                None => ProbabilityMetrics::default(),
            },
            roc_auc_ovo: one_vs_one(Average::Macro)?,
            roc_auc_ovo_weighted: one_vs_one(Average::Weighted)?,
            classification_report,
            confusion_matrix,
        }))
    }

    /// Measures multi-label predictions given as sets of class ids, sorted and unique, with their probabilities where there are any.
    ///
    /// # Shapes
    /// `probabilities`: `[examples, labels]`, row by row.
    /// # Errors
    /// [`MetricsError`] if lengths differ or an id has no name.
    pub fn multi_label(
        names: &[String],
        targets: &[Vec<u32>],
        predictions: &[Vec<u32>],
        probabilities: Option<&[f64]>,
        loss: Option<f64>,
    ) -> Result<Self, MetricsError> {
        let confusion_matrix = LabelConfusions::new(names, targets, predictions)?;
        let jaccard = jaccard(&confusion_matrix, targets, predictions)?;
        let scores = probabilities
            .map(|probabilities| LabelScores::new(targets, probabilities, names.len()))
            .transpose()?;
        let classification_report = ClassificationReport::multi_label(&confusion_matrix, targets, predictions);
        let f1 = |average: &str| f1_of(&classification_report, average, targets.len());
        Ok(Self::MultiLabel(MultiLabelMetrics {
            examples: targets.len(),
            loss: finite(loss),
            accuracy: accuracy(targets, predictions)?,
            hamming_loss: hamming_loss(targets, predictions, names.len())?,
            macro_f1: f1("macro avg"),
            micro_f1: f1("micro avg"),
            weighted_f1: f1("weighted avg"),
            samples_f1: f1("samples avg"),
            macro_jaccard: jaccard.map(|jaccard| jaccard.macro_average),
            micro_jaccard: jaccard.map(|jaccard| jaccard.micro),
            weighted_jaccard: jaccard.map(|jaccard| jaccard.weighted),
            samples_jaccard: jaccard.map(|jaccard| jaccard.samples),
            label_ranking_average_precision: scores.as_ref().and_then(label_ranking_average_precision),
            label_ranking_loss: scores.as_ref().and_then(label_ranking_loss),
            probabilities: match &scores {
                Some(scores) => of_sets(scores)?,
                None => ProbabilityMetrics::default(),
            },
            classification_report,
            confusion_matrix,
        }))
    }

    /// Measures predicted numbers.
    ///
    /// # Errors
    /// [`MetricsError`] if lengths differ.
    pub fn regression(targets: &[f64], predictions: &[f64], loss: Option<f64>) -> Result<Self, MetricsError> {
        let mse = finite(mean_squared_error(targets, predictions)?);
        Ok(Self::Regression(RegressionMetrics {
            examples: targets.len(),
            loss: finite(loss),
            mse,
            rmse: mse.map(f64::sqrt),
            mae: finite(mean_absolute_error(targets, predictions)?),
            r2: finite(r2_score(targets, predictions)?),
            pearson: finite(pearson(targets, predictions)?),
            spearman: finite(spearman(targets, predictions)?),
        }))
    }

    /// A value by name (one of [`Metrics::values`]); `None` if this task has no such metric or it is undefined.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values()
            .into_iter()
            .find(|(known, _)| *known == name)
            .and_then(|(_, value)| value)
    }

    /// The names of [`Metrics::values`] for a task.
    pub fn names(task: Task) -> Vec<&'static str> {
        let empty = match task {
            Task::SingleLabel => Self::single_label(&[], &[], &[], None, None),
            Task::MultiLabel => Self::multi_label(&[], &[], &[], None, None),
            Task::Regression => Self::regression(&[], &[], None),
        };
        let values = empty.map(|metrics| metrics.values()).unwrap_or_default();
        values.into_iter().map(|(name, _)| name).collect()
    }

    /// The single numbers by name, in the order of `metrics.json`: what training may log, monitor and compare.
    pub fn values(&self) -> Vec<(&'static str, Option<f64>)> {
        match self {
            Self::SingleLabel(metrics) => {
                let mut values = vec![
                    ("loss", metrics.loss),
                    ("accuracy", metrics.accuracy),
                    ("macro_f1", metrics.macro_f1),
                    ("micro_f1", metrics.micro_f1),
                    ("weighted_f1", metrics.weighted_f1),
                    ("balanced_accuracy", metrics.balanced_accuracy),
                    ("matthews_corrcoef", metrics.matthews_corrcoef),
                    ("cohen_kappa", metrics.cohen_kappa),
                    ("top_3_accuracy", metrics.top_3_accuracy),
                    ("top_5_accuracy", metrics.top_5_accuracy),
                ];
                values.extend(metrics.probabilities.values());
                values.extend([
                    ("roc_auc_ovo", metrics.roc_auc_ovo),
                    ("roc_auc_ovo_weighted", metrics.roc_auc_ovo_weighted),
                ]);
                values
            }
            Self::MultiLabel(metrics) => {
                let mut values = vec![
                    ("loss", metrics.loss),
                    ("accuracy", metrics.accuracy),
                    ("hamming_loss", metrics.hamming_loss),
                    ("macro_f1", metrics.macro_f1),
                    ("micro_f1", metrics.micro_f1),
                    ("weighted_f1", metrics.weighted_f1),
                    ("samples_f1", metrics.samples_f1),
                    ("macro_jaccard", metrics.macro_jaccard),
                    ("micro_jaccard", metrics.micro_jaccard),
                    ("weighted_jaccard", metrics.weighted_jaccard),
                    ("samples_jaccard", metrics.samples_jaccard),
                    (
                        "label_ranking_average_precision",
                        metrics.label_ranking_average_precision,
                    ),
                    ("label_ranking_loss", metrics.label_ranking_loss),
                ];
                values.extend(metrics.probabilities.values());
                values
            }
            Self::Regression(metrics) => vec![
                ("loss", metrics.loss),
                ("mse", metrics.mse),
                ("rmse", metrics.rmse),
                ("mae", metrics.mae),
                ("r2", metrics.r2),
                ("pearson", metrics.pearson),
                ("spearman", metrics.spearman),
            ],
        }
    }

    /// Whether `name` is better when larger: false for losses and errors.
    pub fn larger_is_better(name: &str) -> bool {
        !(name.ends_with("loss") || matches!(name, "mse" | "rmse" | "mae" | "ece"))
    }

    /// A table for people: scikit-learn's printed report, or the values of a regression one a line.
    pub fn to_table(&self) -> String {
        match self {
            Self::SingleLabel(metrics) => table::table(&metrics.classification_report),
            Self::MultiLabel(metrics) => table::table(&metrics.classification_report),
            Self::Regression(_) => table::list(&self.values()),
        }
    }
}

/// Measures of the probabilities of classes.
fn of_classes(
    labels: usize,
    targets: &[u32],
    predictions: &[u32],
    probabilities: &[f64],
) -> Result<ProbabilityMetrics, MetricsError> {
    let sets: Vec<[u32; 1]> = targets.iter().map(|target| [*target]).collect();
    let scores = LabelScores::new(&sets, probabilities, labels)?;
    let came_true: Vec<bool> = targets
        .iter()
        .zip(predictions)
        .map(|(target, prediction)| target == prediction)
        .collect();
    let rows = probabilities.chunks_exact(labels.max(1));
    let confidences: Vec<f64> = predictions
        .iter()
        .zip(rows)
        .map(|(prediction, row)| row[*prediction as usize])
        .collect();
    Ok(ProbabilityMetrics {
        log_loss: finite(log_loss(targets, probabilities, labels)?),
        brier_score_loss: brier_score_loss(&scores),
        ..ProbabilityMetrics::ranking(&scores, reliability(&came_true, &confidences)?)
    })
}

/// Measures of the probabilities of sets of labels.
fn of_sets<Set: AsRef<[u32]> + Sync>(scores: &LabelScores<'_, Set>) -> Result<ProbabilityMetrics, MetricsError> {
    let (holds, probabilities) = scores.decisions();
    Ok(ProbabilityMetrics {
        log_loss: finite(multi_label_log_loss(scores)),
        brier_score_loss: multi_label_brier_score_loss(scores),
        ..ProbabilityMetrics::ranking(scores, reliability(&holds, &probabilities)?)
    })
}

/// JSON has no NaN: what is not a number is undefined.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

fn f1_of(report: &ClassificationReport, average: &str, examples: usize) -> Option<f64> {
    report
        .average_scores(average)
        .filter(|_| examples > 0)
        .map(|scores| scores.f1_score)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn names_are_those_of_the_values() {
        let names = |metrics: Metrics| metrics.values().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let labels = ["a".to_owned(), "b".to_owned()];
        let single = Metrics::single_label(&labels, &[0], &[1], Some(&[0.4, 0.6]), None).unwrap();
        let multi = Metrics::multi_label(&labels, &[vec![0]], &[vec![1]], Some(&[0.4, 0.6]), None).unwrap();
        let regression = Metrics::regression(&[0.0], &[1.0], None).unwrap();
        assert_eq!(names(single), Metrics::names(Task::SingleLabel));
        assert_eq!(names(multi), Metrics::names(Task::MultiLabel));
        assert_eq!(names(regression), Metrics::names(Task::Regression));
    }

    fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|id| format!("class {}", char::from(b'a' + id as u8)))
            .collect()
    }

    /// Every number of `seen` is that of `expected` to 1e-9; the keys and their order agree.
    fn assert_close(seen: &Value, expected: &Value, at: &str) {
        match (seen, expected) {
            (Value::Object(seen), Value::Object(expected)) => {
                assert_eq!(
                    seen.keys().collect::<Vec<_>>(),
                    expected.keys().collect::<Vec<_>>(),
                    "{at}"
                );
                seen.iter()
                    .for_each(|(key, value)| assert_close(value, &expected[key], &format!("{at}/{key}")));
            }
            (Value::Array(seen), Value::Array(expected)) => {
                assert_eq!(seen.len(), expected.len(), "{at}");
                seen.iter()
                    .zip(expected)
                    .for_each(|(seen, expected)| assert_close(seen, expected, at));
            }
            (Value::Number(_), Value::Number(_)) => {
                let (seen, expected) = (seen.as_f64().unwrap(), expected.as_f64().unwrap());
                assert!((seen - expected).abs() <= 1e-9, "{at}: {seen} is not {expected}");
            }
            _ => assert_eq!(seen, expected, "{at}"),
        }
    }

    /// `tests/reference/metrics.py` wrote what scikit-learn answers.
    #[test]
    fn equals_scikit_learn() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/reference/fixtures/metrics.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let reference: Value = serde_json::from_str(&text).unwrap();
        for (name, case) in reference["single_label"].as_object().unwrap() {
            let ids = |key: &str| serde_json::from_value::<Vec<u32>>(case[key].clone()).unwrap();
            let classes = case["classes"].as_u64().unwrap() as usize;
            let metrics = Metrics::single_label(&names(classes), &ids("true"), &ids("predicted"), None, None).unwrap();
            let json = serde_json::to_value(&metrics).unwrap();
            assert_close(&json["classification_report"], &case["classification_report"], name);
            assert_close(&json["confusion_matrix"]["counts"], &case["confusion_matrix"], name);
            assert_close(&json["accuracy"], &case["accuracy"], name);
            if let Some(expected) = case.get("log_loss") {
                let rows: Vec<Vec<f64>> = serde_json::from_value(case["probabilities"].clone()).unwrap();
                let loss = log_loss(&ids("true"), &rows.concat(), classes).unwrap();
                assert_close(&serde_json::json!(loss), expected, name);
            }
        }
        for (name, case) in reference["multi_label"].as_object().unwrap() {
            let sets = |key: &str| -> Vec<Vec<u32>> {
                let rows: Vec<Vec<u32>> = serde_json::from_value(case[key].clone()).unwrap();
                let ids = |row: &Vec<u32>| {
                    (0..)
                        .zip(row)
                        .filter(|(_, holds)| **holds == 1)
                        .map(|(id, _)| id)
                        .collect()
                };
                rows.iter().map(ids).collect()
            };
            let classes = case["classes"].as_u64().unwrap() as usize;
            let metrics = Metrics::multi_label(&names(classes), &sets("true"), &sets("predicted"), None, None).unwrap();
            let json = serde_json::to_value(&metrics).unwrap();
            assert_close(&json["classification_report"], &case["classification_report"], name);
            assert_close(&json["confusion_matrix"]["counts"], &case["confusion_matrices"], name);
            assert_close(&json["accuracy"], &case["accuracy"], name);
            assert_close(&json["hamming_loss"], &case["hamming_loss"], name);
        }
    }

    #[test]
    fn json_round_trips_with_nulls() {
        for metrics in [
            Metrics::single_label(&names(2), &[0, 1], &[0, 0], None, Some(0.5)).unwrap(),
            Metrics::single_label(&names(2), &[0, 1], &[0, 0], Some(&[0.9, 0.1, 0.6, 0.4]), Some(0.5)).unwrap(),
            Metrics::multi_label(&names(2), &[vec![0]], &[vec![0, 1]], None, None).unwrap(),
            Metrics::multi_label(&names(2), &[vec![0]], &[vec![0, 1]], Some(&[0.5, 0.75]), None).unwrap(),
            Metrics::regression(&[1.0, 1.0], &[1.0, 2.0], Some(f64::NAN)).unwrap(),
            Metrics::single_label(&names(2), &[], &[], Some(&[]), None).unwrap(),
        ] {
            let text = serde_json::to_string(&metrics).unwrap();
            assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), metrics, "{text}");
        }
        let constant = Metrics::regression(&[1.0, 1.0], &[1.0, 2.0], None).unwrap();
        assert!(serde_json::to_string(&constant).unwrap().contains(r#""pearson":null"#));
        assert_eq!(
            (
                constant.value("mse"),
                constant.value("pearson"),
                constant.value("accuracy")
            ),
            (Some(0.5), None, None)
        );
        assert!(Metrics::larger_is_better("macro_f1") && Metrics::larger_is_better("roc_auc"));
        assert!(
            ["loss", "ece", "brier_score_loss"]
                .iter()
                .all(|name| !Metrics::larger_is_better(name))
        );
        assert_eq!(
            Metrics::single_label(&names(2), &[], &[], None, None)
                .unwrap()
                .value("macro_f1"),
            None
        );
    }

    #[test]
    fn a_regression_is_a_list() {
        let table = Metrics::regression(&[1.0, 2.0], &[1.0, 1.0], None).unwrap().to_table();
        assert!(
            table.contains("     mse     0.5000\n") && table.contains(" pearson  undefined\n"),
            "{table}"
        );
    }

    proptest! {
        /// Sample order does not matter, micro-F1 is the accuracy, everything is in [0, 1].
        #[test]
        fn single_label_properties(pairs in prop::collection::vec((0u32..4, 0u32..4), 1..60), seed: u64) {
            let measure = |pairs: &[(u32, u32)]| {
                let (targets, predictions): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
                Metrics::single_label(&names(4), &targets, &predictions, None, None).unwrap()
            };
            let metrics = measure(&pairs);
            let mut turned = pairs.clone();
            turned.rotate_left(seed as usize % pairs.len());
            prop_assert_eq!(&metrics, &measure(&turned));
            let sets: Vec<(Vec<u32>, Vec<u32>)> = pairs.iter().map(|(target, prediction)| (vec![*target], vec![*prediction])).collect();
            let (targets, predictions): (Vec<_>, Vec<_>) = sets.into_iter().unzip();
            let as_sets = Metrics::multi_label(&names(4), &targets, &predictions, None, None).unwrap();
            for name in ["accuracy", "macro_f1", "micro_f1", "weighted_f1"] {
                let value = metrics.value(name).unwrap();
                prop_assert!((0.0..=1.0).contains(&value), "{name}: {value}");
                prop_assert!((value - as_sets.value(name).unwrap()).abs() < 1e-12, "{name}");
            }
        }

        /// As above for sets of labels.
        #[test]
        fn multi_label_properties(rows in prop::collection::vec((0u32..16, 0u32..16), 1..40)) {
            let set = |bits: u32| (0..4).filter(|id| bits >> id & 1 == 1).collect::<Vec<u32>>();
            let measure = |rows: &[(u32, u32)]| {
                let (targets, predictions): (Vec<_>, Vec<_>) = rows.iter().map(|(target, prediction)| (set(*target), set(*prediction))).unzip();
                Metrics::multi_label(&names(4), &targets, &predictions, None, None).unwrap()
            };
            let metrics = measure(&rows);
            let reversed = measure(&rows.iter().rev().copied().collect::<Vec<_>>());
            for (name, value) in metrics.values() {
                let Some(value) = value else { continue };
                prop_assert!((0.0..=1.0).contains(&value), "{name}: {value}");
                // Means over samples are sums in another order.
                prop_assert!((value - reversed.value(name).unwrap()).abs() < 1e-12, "{name}");
            }
        }
    }
}
