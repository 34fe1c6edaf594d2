//! Whether the model knows when it is wrong: calibration, and what is right if only the surest are answered.

use super::super::{Judged, Report};
use super::{percent, probabilities, right};
use crate::data::Task;
use crate::decision::Decision;
use crate::metrics::{CoveragePoint, DRAWN_POINTS, accuracy_by_coverage, thinned};
use crate::report::plots::{Histogram, HistogramBar, LineChart, Mark, OnTop, Reliability, ReliabilityBin, Series};
use crate::report::{Block, Column, Figure, Section, Table, data, words};

/// Bars of the histogram of confidences.
const BARS: usize = 20;

/// Rows from which on a share of right ones says something.
const FEW: f64 = 30.0;

/// Shares that the table of answers tells of.
const SHARES: [f64; 6] = [1.0, 0.95, 0.9, 0.8, 0.7, 0.5];

pub(crate) fn section(judged: &Judged<'_>, report: &Report, decision: &Decision) -> Option<Section> {
    if judged.examples.is_empty() {
        return None;
    }
    let mut figures = vec![reliability_figure(report)?];
    figures.extend(confidence_figure(judged));
    // All are of one length.
    let curve = accuracy_by_coverage(&right(judged), &confidences(judged, decision)).ok()?;
    figures.push(coverage_figure(
        report,
        &curve,
        judged.examples.len(),
        judged.schema.task,
    ));
    let table = coverage_table(&curve, judged.schema.task);
    Some(Section {
        title: words("How far its confidence can be trusted"),
        blocks: vec![Block::Figures(figures), Block::Table(table)],
    })
}

pub(crate) fn reliability_figure(report: &Report) -> Option<Figure> {
    let of_probabilities = probabilities(&report.metrics)?;
    let all: u64 = of_probabilities.reliability.iter().map(|bin| bin.count).sum();
    let bins = of_probabilities.reliability.iter().filter_map(|bin| {
        Some(ReliabilityBin {
            confidence: bin.confidence?,
            accuracy: bin.accuracy?,
            share: bin.count as f64 / all.max(1) as f64,
        })
    });
    let error = of_probabilities.ece.unwrap_or(0.0);
    Some(Figure {
        title: words("Reliability"),
        caption: Some(words(format!(
            "calibration error {error:.4}; a point below the broken line: the model is too sure; bars below: how many rows"
        ))),
        plot: Box::new(Reliability { bins: bins.collect() }),
    })
}

/// How sure the model is of each label that it gives, and whether it is right.
fn confidence_figure(judged: &Judged<'_>) -> Option<Figure> {
    let (mut right, mut wrong) = (vec![0.0; BARS], vec![0.0; BARS]);
    for (example, prediction) in judged.examples.iter().zip(judged.predictions) {
        for id in &prediction.classes {
            let score = prediction.scores.get(*id as usize)?;
            let bar = ((score * BARS as f64) as usize).min(BARS - 1);
            let counts = if example.target.ids().contains(id) {
                &mut right
            } else {
                &mut wrong
            };
            counts[bar] += 1.0;
        }
    }
    // Scores below any that was given would leave half of the picture empty.
    let first = (0..BARS).find(|bar| right[*bar] + wrong[*bar] > 0.0)?;
    let edge = |bar: usize| bar as f64 / BARS as f64;
    let bars = (first..BARS).map(|bar| HistogramBar {
        from: edge(bar),
        to: edge(bar + 1),
        count: right[bar],
    });
    let is_single = judged.schema.task == Task::SingleLabel;
    Some(Figure {
        title: words("Confidence of right and wrong answers"),
        caption: Some(words(match is_single {
            true => "the score of the predicted label; a good model has its wrong answers at the left",
            false => "the scores of the labels that were given; a good model has the wrong ones at the left",
        })),
        plot: Box::new(Histogram {
            bars: bars.collect(),
            on_top: Some(OnTop {
                names: [words("right"), words("wrong")],
                counts: wrong.split_off(first),
            }),
            x_title: Some(words("score")),
            y_title: Some(words(if is_single { "rows" } else { "labels" })),
            ..Histogram::default()
        }),
    })
}

/// What an abstain band looks at: the best score; of several labels, how near the nearest score is to its threshold.
fn confidences(judged: &Judged<'_>, decision: &Decision) -> Vec<f64> {
    let of_row = |scores: &[f64]| match judged.schema.task {
        Task::SingleLabel => scores.iter().copied().fold(0.0, f64::max),
        _ => (0..)
            .zip(scores)
            .map(|(id, score)| (score - decision.threshold(id)).abs())
            .fold(f64::INFINITY, f64::min),
    };
    judged
        .predictions
        .iter()
        .map(|prediction| of_row(&prediction.scores))
        .collect()
}

fn coverage_figure(report: &Report, curve: &[CoveragePoint], rows: usize, task: Task) -> Figure {
    // Of a handful of rows the share jumps up and down.
    let few = (FEW / rows.max(1) as f64).min(0.05);
    let told = curve.iter().filter(|point| point.coverage >= few);
    let points: Vec<(f64, f64)> = told.map(|point| (point.coverage, point.accuracy)).collect();
    let marks = report.answered.as_ref().and_then(|answered| {
        Some(Mark {
            at: answered.coverage?,
            name: words("answered now"),
        })
    });
    Figure {
        title: words("If only the surest are answered"),
        caption: Some(words(match task {
            Task::MultiLabel => "rows with all labels right, by the share of rows that are answered, the surest first",
            _ => "share of right answers, by the share of rows that are answered, the surest first",
        })),
        plot: Box::new(LineChart {
            series: vec![Series {
                name: words("right"),
                points: thinned(&points, DRAWN_POINTS),
                band: Vec::new(),
                is_dashed: false,
            }],
            marks: marks.into_iter().collect(),
            x_title: Some(words("share answered")),
            y_title: Some(words("share of them that is right")),
            x_range: Some([0.0, 1.0]),
            is_plain: true,
            ..LineChart::default()
        }),
    }
}

fn coverage_table(curve: &[CoveragePoint], task: Task) -> Table {
    let mut rows = Vec::new();
    for share in SHARES {
        let Some(point) = curve.iter().rev().find(|point| point.coverage <= share + 1e-9) else {
            continue;
        };
        let row = vec![
            percent(Some(point.coverage)),
            percent(Some(point.accuracy)),
            data(format!("{:.4}", point.threshold)),
        ];
        // Where many rows are equally sure, two shares may come to the same.
        if rows.last() != Some(&row) {
            rows.push(row);
        }
    }
    Table {
        caption: Some(words("What it takes to be right more often, on these rows")),
        columns: vec![
            Column::Number(words("answered")),
            Column::Number(words("right among the answers")),
            Column::Number(words(match task {
                Task::SingleLabel => "`decision.abstain.min_score`",
                _ => "`decision.abstain.min_margin`",
            })),
        ],
        rows,
    }
}
