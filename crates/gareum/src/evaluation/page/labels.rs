//! Figures of each label, and how often it occurs here and in training.

use super::super::{LabelShare, Report};
use super::{figure, minus, ordered, percent, probabilities};
use crate::metrics::{ClassificationReport, Metrics, Summary};
use crate::report::plots::{Bar, BarChart, BarRow, ValueFormat};
use crate::report::{Block, Column, Figure, Section, Table, Text, data, grouped, words};

/// Labels with bars of their own.
const MOST_BARS: usize = 14;
/// Labels in a table; `metrics.json` has all.
const MOST_ROWS: usize = 2000;

pub(crate) fn section(report: &Report) -> Option<Section> {
    let of_labels = classification_report(&report.metrics)?;
    let mut figures = vec![scores_figure(of_labels)];
    figures.extend(shares_figure(report));
    let mut blocks = vec![Block::Figures(figures)];
    blocks.push(details(
        of_labels.classes.len(),
        scores_table(of_labels, &report.metrics),
    ));
    if report.label_drift.is_some() {
        blocks.push(Block::Details(
            words("How often each label occurs"),
            vec![Block::Table(shares_table(&report.label_shares))],
        ));
    }
    Some(Section {
        title: words("Labels"),
        blocks,
    })
}

pub(crate) fn classification_report(metrics: &Metrics) -> Option<&ClassificationReport> {
    match metrics {
        Metrics::SingleLabel(metrics) => Some(&metrics.classification_report),
        Metrics::MultiLabel(metrics) => Some(&metrics.classification_report),
        Metrics::Regression(_) => None,
    }
}

/// A table of all labels, folded up if it is long.
fn details(labels: usize, table: Table) -> Block {
    match labels {
        0..=MOST_BARS => Block::Table(table),
        _ => Block::Details(words(format!("All {labels} labels")), vec![Block::Table(table)]),
    }
}

/// Bars of the labels, or of those with the lowest F1 if there are many.
pub(crate) fn scores_figure(of_labels: &ClassificationReport) -> Figure {
    let classes = &of_labels.classes;
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let is_cut = classes.len() > MOST_BARS;
    if is_cut {
        // What no row has is not told by its F1.
        order = ordered(classes.len(), |id| classes[id].1.f1_score);
        order.retain(|id| classes[*id].1.support > 0.0);
        order.truncate(MOST_BARS);
    }
    let row = |id: usize| {
        let (name, scores) = &classes[id];
        BarRow {
            name: data(format!("{name} ({})", grouped(scores.support as u64))),
            bars: [scores.precision, scores.recall, scores.f1_score].map(Bar::of).to_vec(),
        }
    };
    Figure {
        title: words("Precision, recall and F1"),
        caption: Some(match is_cut {
            true => words(format!(
                "the {} labels with the lowest F1 of {}; in brackets the rows with the label",
                order.len(),
                classes.len()
            )),
            false => words("in brackets the rows with the label"),
        }),
        plot: Box::new(BarChart {
            series: vec![words("precision"), words("recall"), words("F1")],
            rows: order.into_iter().map(row).collect(),
            maximum: Some(1.0),
            ..BarChart::default()
        }),
    }
}

fn scores_table(of_labels: &ClassificationReport, metrics: &Metrics) -> Table {
    let areas = probabilities(metrics);
    let area = |values: Option<&Vec<Option<f64>>>, id: usize| figure(values.and_then(|values| *values.get(id)?));
    let cells = |name: Text, scores: &crate::metrics::Scores| {
        let [precision, recall, f1] =
            [scores.precision, scores.recall, scores.f1_score].map(|value| figure(Some(value)));
        vec![name, precision, recall, f1, data(grouped(scores.support as u64))]
    };
    let classes = of_labels.classes.iter().enumerate().take(MOST_ROWS);
    let mut rows: Vec<Vec<Text>> = classes
        .map(|(id, (name, scores))| {
            let mut row = cells(data(name), scores);
            row.push(area(areas.map(|areas| &areas.roc_auc_by_label), id));
            row.push(area(areas.map(|areas| &areas.average_precision_by_label), id));
            row
        })
        .collect();
    for (name, summary) in &of_labels.averages {
        if let Summary::Average(scores) = summary {
            let mut row = cells(words(name), scores);
            row.extend([data(""), data("")]);
            rows.push(row);
        }
    }
    Table {
        caption: None,
        columns: vec![
            Column::Text(words("label")),
            Column::Number(words("precision")),
            Column::Number(words("recall")),
            Column::Number(words("F1")),
            Column::Number(words("rows")),
            Column::Number(words("ROC AUC")),
            Column::Number(words("average precision")),
        ],
        rows,
    }
}

fn difference(label: &LabelShare) -> f64 {
    label.share.unwrap_or(0.0) - label.train_share.unwrap_or(0.0)
}

/// Shares here beside those in training, of the labels that differ most if there are many.
fn shares_figure(report: &Report) -> Option<Figure> {
    let drift = report.label_drift?;
    let shares = &report.label_shares;
    let mut order: Vec<usize> = (0..shares.len()).collect();
    let is_cut = shares.len() > MOST_BARS;
    if is_cut {
        order = ordered(shares.len(), |id| -difference(&shares[id]).abs());
        order.truncate(MOST_BARS);
    }
    let row = |id: usize| {
        let label = &shares[id];
        BarRow {
            name: data(&label.label),
            bars: [label.train_share, label.share]
                .map(|share| Bar::of(share.unwrap_or(0.0)))
                .to_vec(),
        }
    };
    let drift = format!("{:.1}", 100.0 * drift);
    Some(Figure {
        title: words("Labels in training and here"),
        caption: Some(words(match is_cut {
            true => format!("the {MOST_BARS} labels whose shares differ most; all shares together differ by {drift} %"),
            false => format!("shares of all labels that rows have; together they differ by {drift} %"),
        })),
        plot: Box::new(BarChart {
            series: vec![words("training"), words("here")],
            rows: order.into_iter().map(row).collect(),
            format: ValueFormat::Percent,
            ..BarChart::default()
        }),
    })
}

fn shares_table(shares: &[LabelShare]) -> Table {
    let row = |label: &LabelShare| {
        let difference = 100.0 * difference(label);
        vec![
            data(&label.label),
            data(label.train_support.map_or("–".to_owned(), grouped)),
            percent(label.train_share),
            data(grouped(label.support)),
            percent(label.share),
            data(minus(&format!("{difference:+.1} %"))),
        ]
    };
    Table {
        caption: None,
        columns: vec![
            Column::Text(words("label")),
            Column::Number(words("training rows")),
            Column::Number(words("share")),
            Column::Number(words("rows here")),
            Column::Number(words("share")),
            Column::Number(words("difference")),
        ],
        rows: shares.iter().take(MOST_ROWS).map(row).collect(),
    }
}
