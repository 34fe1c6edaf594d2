//! Curves of each label against the rest: ROC, precision and recall, and F1 by threshold.

use rayon::prelude::*;

use super::super::{Judged, Report};
use super::{ordered, probabilities};
use crate::data::{Target, Task};
use crate::decision::{DEFAULT_THRESHOLD, Decision};
use crate::metrics::{
    DRAWN_POINTS, LabelScores, Place, f1_by_threshold, height_at, mean_curve, precision_recall_curve, roc_curve,
    thinned,
};
use crate::report::plots::{LineChart, MarkedPoint, Series};
use crate::report::{Block, Figure, Section, data, words};

/// Labels with a curve of their own, beside the mean of all.
const MOST_CURVES: usize = 5;

type Scores<'a> = LabelScores<'a, &'a [u32]>;

pub(crate) fn section(judged: &Judged<'_>, report: &Report, decision: &Decision) -> Option<Section> {
    let of_probabilities = probabilities(&report.metrics)?;
    let labels = judged.schema.num_labels();
    let targets: Vec<&[u32]> = judged
        .examples
        .iter()
        .map(|example| &example.target)
        .map(Target::ids)
        .collect();
    let scores = judged.predictions.iter().flat_map(|prediction| &prediction.scores);
    let scores: Vec<f64> = scores.copied().collect();
    let scores = LabelScores::new(&targets, &scores, labels).ok()?;
    let roc = Kind {
        title: "ROC curves",
        caption: "how many of the label's rows are found, by how many others come along; in brackets the area, 0.5 is chance",
        axes: ["false positive rate", "true positive rate"],
        of_label: |scores, id| {
            let (is_positive, scores) = scores.label(id);
            // Both are of one length.
            roc_curve(&is_positive, &scores)
                .unwrap_or_default()
                .into_iter()
                .map(Place::from)
                .collect()
        },
        values: &of_probabilities.roc_auc_by_label,
        mean: of_probabilities.roc_auc,
        // The start of a ROC curve rises steeply.
        bend: 2,
        is_roc: true,
    };
    let precision_recall = Kind {
        title: "Precision and recall",
        caption: "how many of those found are right, by how many are found; in brackets the average precision",
        axes: ["recall", "precision"],
        of_label: |scores, id| {
            let (is_positive, scores) = scores.label(id);
            // Both are of one length.
            let curve = precision_recall_curve(&is_positive, &scores).unwrap_or_default();
            curve.into_iter().map(Place::from).collect()
        },
        values: &of_probabilities.average_precision_by_label,
        mean: of_probabilities.average_precision,
        bend: 1,
        is_roc: false,
    };
    let names = &judged.schema.names;
    let mut figures: Vec<Figure> = [roc, precision_recall]
        .iter()
        .filter_map(|kind| kind.figure(names, &scores))
        .collect();
    if judged.schema.task == Task::MultiLabel {
        figures.extend(thresholds_figure(judged, report, &scores, decision));
    }
    (!figures.is_empty()).then(|| Section {
        title: words("Curves"),
        blocks: vec![Block::Figures(figures)],
    })
}

/// A kind of curve.
struct Kind<'a> {
    title: &'static str,
    caption: &'static str,
    axes: [&'static str; 2],
    of_label: fn(&Scores<'_>, u32) -> Vec<Place>,
    /// What the curve of each label comes to.
    values: &'a [Option<f64>],
    mean: Option<f64>,
    /// The places of the mean are powers of even steps.
    bend: i32,
    is_roc: bool,
}

impl Kind<'_> {
    /// Curves of all labels, or of those that are worst and the mean of all.
    fn figure(&self, names: &[String], scores: &Scores<'_>) -> Option<Figure> {
        let all: Vec<Vec<Place>> = (0..names.len() as u32)
            .into_par_iter()
            .map(|id| (self.of_label)(scores, id))
            .collect();
        let value = |id: usize| self.values.get(id).copied().flatten();
        let mut order: Vec<usize> = (0..names.len()).filter(|id| !all[*id].is_empty()).collect();
        let is_cut = order.len() > MOST_CURVES;
        let mut series = Vec::new();
        let named = |name: &str, value: Option<f64>| match value {
            Some(value) => format!("{name} ({value:.3})"),
            None => name.to_owned(),
        };
        if is_cut {
            let worst = ordered(order.len(), |place| value(order[place]).unwrap_or(f64::INFINITY));
            order = worst.into_iter().take(MOST_CURVES).map(|place| order[place]).collect();
            let places: Vec<f64> = (0..=2 * DRAWN_POINTS)
                .map(|step| (step as f64 / (2 * DRAWN_POINTS) as f64).powi(self.bend))
                .collect();
            let mut mean = mean_curve(&all, &places);
            if self.is_roc {
                mean.insert(0, (0.0, 0.0));
            }
            series.push(Series {
                name: words(named("mean of the labels", self.mean)),
                points: thinned(&mean, DRAWN_POINTS),
                band: Vec::new(),
                is_dashed: true,
            });
        }
        series.extend(order.iter().map(|id| Series {
            name: data(named(&names[*id], value(*id))),
            points: thinned(&all[*id], DRAWN_POINTS),
            band: Vec::new(),
            is_dashed: false,
        }));
        let caption = match is_cut {
            true => format!(
                "the {MOST_CURVES} labels with the lowest value of {}: {}",
                names.len(),
                self.caption
            ),
            false => self.caption.to_owned(),
        };
        let [across, up] = self.axes;
        (!series.is_empty()).then(|| Figure {
            title: words(self.title),
            caption: Some(words(caption)),
            plot: Box::new(LineChart {
                series,
                x_title: Some(words(across)),
                y_title: Some(words(up)),
                x_range: Some([0.0, 1.0]),
                y_range: Some([0.0, 1.0]),
                has_diagonal: self.is_roc,
                is_plain: true,
                ..LineChart::default()
            }),
        })
    }
}

/// F1 by threshold, of the labels that gain most by a threshold of their own if there are many.
fn thresholds_figure(judged: &Judged<'_>, report: &Report, scores: &Scores<'_>, decision: &Decision) -> Option<Figure> {
    let names = &judged.schema.names;
    let curve = |id: usize| -> Vec<Place> {
        let (is_positive, scores) = scores.label(id as u32);
        // Both are of one length.
        let curve = f1_by_threshold(&is_positive, &scores).unwrap_or_default();
        curve.into_iter().map(|point| (point.threshold, point.f1)).collect()
    };
    let curves: Vec<Vec<Place>> = (0..names.len()).map(curve).collect();
    let there: Vec<usize> = (0..names.len()).filter(|id| !curves[*id].is_empty()).collect();
    let gap = |id: usize| (decision.threshold(id as u32) - DEFAULT_THRESHOLD).abs();
    let support = |id: usize| report.label_shares.get(id).map_or(0, |share| share.support);
    let order = ordered(there.len(), |place| -gap(there[place]) * support(there[place]) as f64);
    let shown: Vec<usize> = order.iter().take(MOST_CURVES + 1).map(|place| there[*place]).collect();
    if shown.is_empty() {
        return None;
    }
    let series = shown.iter().map(|id| Series {
        name: data(&names[*id]),
        points: thinned(&curves[*id], DRAWN_POINTS),
        band: Vec::new(),
        is_dashed: false,
    });
    let points = shown.iter().enumerate().filter_map(|(place, id)| {
        let threshold = decision.threshold(*id as u32);
        Some(MarkedPoint {
            series: place,
            x: threshold,
            y: height_at(&curves[*id], threshold)?,
            name: data(&names[*id]),
        })
    });
    let caption = match shown.len() < names.len() {
        true => format!(
            "the {} labels with many rows whose thresholds are farthest from {DEFAULT_THRESHOLD}, of {}; dots are the thresholds of the model",
            shown.len(),
            names.len()
        ),
        false => "dots are the thresholds of the model".to_owned(),
    };
    Some(Figure {
        title: words("F1 by threshold"),
        caption: Some(words(caption)),
        plot: Box::new(LineChart {
            series: series.collect(),
            points: points.collect(),
            x_title: Some(words("threshold")),
            y_title: Some(words("F1")),
            is_plain: true,
            x_range: Some([0.0, 1.0]),
            y_range: Some([0.0, 1.0]),
            ..LineChart::default()
        }),
    })
}
