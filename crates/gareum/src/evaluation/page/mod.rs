//! An evaluation as a page: what `metrics.json` holds, to be looked at, and the curves behind it.
//!
//! Each part of the page is a file; [`sections`] puts them in order, also for the page of a training run. Not here: the figures
//! themselves (`metrics/`), and how a page is written (`report/`).

pub(crate) mod confidence;
pub(crate) mod confusion;
pub(crate) mod curves;
pub(crate) mod labels;
pub(crate) mod mistakes;
pub(crate) mod numbers;
pub(crate) mod slices;
pub(crate) mod summary;

use super::{Judged, Report};
use crate::data::{Target, Task};
use crate::decision::Decision;
use crate::metrics::{Interval, Metrics, ProbabilityMetrics};
use crate::report::{Page, Section, Text, data, words};

/// Letters of a text that are shown: a page holds some fifty texts, and they may be as long as books.
const MOST_LETTERS: usize = 400;

impl Judged<'_> {
    /// The evaluation as a page. `report` was made of these predictions, which were decided by `decision`; `about` says of which model
    /// and which rows.
    pub fn to_page(&self, report: &Report, decision: &Decision, about: &str) -> Page {
        Page {
            title: words("How good the model is"),
            subtitle: Some(data(about)),
            sections: sections(self, report, decision),
        }
    }
}

/// All parts of an evaluation that there is something to say of.
pub(crate) fn sections(judged: &Judged<'_>, report: &Report, decision: &Decision) -> Vec<Section> {
    let parts = [
        Some(summary::section(judged, report)),
        numbers::section(judged),
        labels::section(report),
        confusion::section(judged, report),
        curves::section(judged, report, decision),
        confidence::section(judged, report, decision),
        slices::section(report, judged.schema.task),
        mistakes::section(report, judged.schema.task),
    ];
    parts.into_iter().flatten().collect()
}

/// The measures of probabilities, which a regression has none of.
fn probabilities(metrics: &Metrics) -> Option<&ProbabilityMetrics> {
    match metrics {
        Metrics::SingleLabel(metrics) => Some(&metrics.probabilities),
        Metrics::MultiLabel(metrics) => Some(&metrics.probabilities),
        Metrics::Regression(_) => None,
    }
}

/// Whether everything is right about each example.
fn right(judged: &Judged<'_>) -> Vec<bool> {
    let truth = judged.examples.iter().map(|example| &example.target).map(Target::ids);
    truth
        .zip(judged.predictions)
        .map(|(truth, prediction)| truth == prediction.classes)
        .collect()
}

/// The words for a figure, by its name in `metrics.json`.
pub(crate) fn figure_name(name: &str, task: Task) -> Text {
    words(match (name, task) {
        ("loss", _) => "loss",
        ("accuracy", Task::MultiLabel) => "all labels right",
        ("accuracy", _) => "accuracy",
        ("hamming_loss", _) => "wrong decisions (Hamming loss)",
        ("macro_f1", _) => "macro F1",
        ("micro_f1", _) => "micro F1",
        ("weighted_f1", _) => "weighted F1",
        ("samples_f1", _) => "F1 of the rows",
        ("macro_jaccard", _) => "macro Jaccard",
        ("micro_jaccard", _) => "micro Jaccard",
        ("weighted_jaccard", _) => "weighted Jaccard",
        ("samples_jaccard", _) => "Jaccard of the rows",
        ("balanced_accuracy", _) => "balanced accuracy",
        ("matthews_corrcoef", _) => "Matthews' correlation",
        ("cohen_kappa", _) => "Cohen's kappa",
        ("top_3_accuracy", _) => "right among the best 3",
        ("top_5_accuracy", _) => "right among the best 5",
        ("label_ranking_average_precision", _) => "label ranking average precision",
        ("label_ranking_loss", _) => "label ranking loss",
        ("log_loss", _) => "log loss",
        ("brier_score_loss", _) => "Brier score",
        ("ece", _) => "calibration error (ECE)",
        ("roc_auc", _) => "ROC AUC, one against the rest",
        ("roc_auc_weighted", _) => "ROC AUC, one against the rest, weighted",
        ("roc_auc_ovo", _) => "ROC AUC, one against one",
        ("roc_auc_ovo_weighted", _) => "ROC AUC, one against one, weighted",
        ("average_precision", _) => "average precision",
        ("average_precision_micro", _) => "average precision, micro",
        ("average_precision_weighted", _) => "average precision, weighted",
        ("mse", _) => "mean squared error",
        ("rmse", _) => "root mean squared error",
        ("mae", _) => "mean absolute error",
        ("r2", _) => "R²",
        ("pearson", _) => "Pearson's correlation",
        ("spearman", _) => "Spearman's correlation",
        (other, _) => return data(other),
    })
}

/// A figure as tables have it.
pub(crate) fn figure(value: Option<f64>) -> Text {
    data(value.map_or("–".to_owned(), |value| minus(&format!("{value:.4}"))))
}

/// A number with a sign as long as that of addition.
fn minus(number: &str) -> String {
    number.replace('-', "−")
}

pub(crate) fn interval(interval: Option<Interval>) -> Text {
    data(interval.map_or(String::new(), |Interval { low, high }| {
        minus(&format!("{low:.4} – {high:.4}"))
    }))
}

pub(crate) fn percent(share: Option<f64>) -> Text {
    data(share.map_or("–".to_owned(), |share| format!("{:.1} %", 100.0 * share)))
}

/// A text, cut where it is long.
pub(crate) fn excerpt(text: &str, pair: Option<&str>) -> Text {
    let all = pair.map_or(text.to_owned(), |pair| format!("{text}  |  {pair}"));
    match all.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => data(format!("{}…", &all[..end])),
        None => data(all),
    }
}

/// Positions in the order of their values, the smallest first; equal ones as they stand.
fn ordered(count: usize, value: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|first, second| value(*first).total_cmp(&value(*second)));
    order
}

#[cfg(test)]
mod tests;
