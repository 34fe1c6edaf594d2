//! The figures that say most, and all of them.

use super::super::{Judged, Report, headlines};
use super::{figure, figure_name, interval, minus, percent};
use crate::data::Task;
use crate::metrics::{Intervals, Metrics};
use crate::report::{Block, Column, Level, Notice, Section, Table, Tile, data, grouped, words};

/// From this difference of the label shares on, the rows are others than those of training.
const DRIFTED: f64 = 0.1;

/// Shown beside the headlines, by their names in [`Metrics::values`].
const OF_PROBABILITIES: [&str; 2] = ["roc_auc", "ece"];

pub(crate) fn section(judged: &Judged<'_>, report: &Report) -> Section {
    let task = judged.schema.task;
    let mut tiles = vec![Tile {
        name: words("rows"),
        value: data(grouped(judged.examples.len() as u64)),
        note: None,
    }];
    tiles.extend(headline_tiles(&report.metrics, &report.confidence_intervals, task));
    if let Some(answered) = &report.answered {
        let tile = |name: &str, share: Option<f64>| Tile {
            name: words(name),
            value: percent(share),
            note: None,
        };
        tiles.push(tile("answered", answered.coverage));
        tiles.push(tile("right among the answers", answered.accuracy));
    }
    let mut blocks = vec![Block::Tiles(tiles)];
    let notices = notices(report);
    if !notices.is_empty() {
        blocks.push(Block::Notices(notices));
    }
    let method = report.confidence_intervals.method;
    blocks.push(Block::Paragraph(words(format!(
        "Small numbers are intervals at {} %: where a figure lies if rows like these are drawn again (bootstrap, {} draws).",
        100.0 * method.level,
        method.resamples
    ))));
    let table = figures_table(&report.metrics, Some(&report.confidence_intervals), task);
    blocks.push(Block::Details(words("All figures"), vec![Block::Table(table)]));
    Section {
        title: words("In short"),
        blocks,
    }
}

/// Tiles of the figures that are shown first, with their intervals.
pub(crate) fn headline_tiles(metrics: &Metrics, intervals: &Intervals, task: Task) -> Vec<Tile> {
    let others: &[&str] = match task {
        Task::Regression => &[],
        _ => &OF_PROBABILITIES,
    };
    let tile = |name: &&str| {
        let value = metrics.value(name)?;
        Some(Tile {
            name: figure_name(name, task),
            value: data(minus(&format!("{value:.3}"))),
            note: intervals
                .of(name)
                .map(|of| data(minus(&format!("{:.3} – {:.3}", of.low, of.high)))),
        })
    };
    headlines(task).iter().chain(others).filter_map(tile).collect()
}

/// All figures by name, with intervals where there are any.
pub(crate) fn figures_table(metrics: &Metrics, intervals: Option<&Intervals>, task: Task) -> Table {
    let row = |(name, value): (&'static str, Option<f64>)| {
        let mut row = vec![figure_name(name, task), words(format!("`{name}`")), figure(value)];
        row.extend(intervals.map(|intervals| interval(intervals.of(name))));
        row
    };
    let mut columns = vec![
        Column::Text(words("figure")),
        Column::Text(words("in metrics.json")),
        Column::Number(words("value")),
    ];
    columns.extend(intervals.map(|_| Column::Number(words("interval"))));
    Table {
        caption: None,
        columns,
        rows: metrics.values().into_iter().map(row).collect(),
    }
}

fn notices(report: &Report) -> Vec<Notice> {
    let mut notices = Vec::new();
    let notice = |level, text: String, hint: &str| Notice {
        level,
        about: None,
        text: words(text),
        hint: Some(words(hint)),
    };
    if let Some(drift) = report.label_drift.filter(|drift| *drift > DRIFTED) {
        notices.push(notice(
            Level::Warning,
            format!(
                "the shares of the labels differ from those in training by {:.1} %",
                100.0 * drift
            ),
            "see which labels below; a model expects the labels as often as it has seen them",
        ));
    }
    let absent: Vec<&str> = report
        .label_shares
        .iter()
        .filter(|share| share.support == 0)
        .map(|share| share.label.as_str())
        .collect();
    if let Some(first) = absent.first() {
        notices.push(notice(
            Level::Note,
            format!("labels that no row has: {} (`{first}` is one)", absent.len()),
            "their F1 is 0, which lowers the macro F1, and areas under curves are undefined",
        ));
    }
    notices
}
