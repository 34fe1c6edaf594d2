//! Figures of parts of the rows.

use super::super::{LENGTH, Report, Slice, Slicing, headlines};
use super::{figure, figure_name};
use crate::data::Task;
use crate::report::plots::{Bar, BarChart, BarRow};
use crate::report::{Block, Column, Figure, Section, Table, Text, data, grouped, words};

/// Parts with bars.
const MOST_BARS: usize = 15;

/// Figures that have bars; tables have all headlines.
const FIGURES: usize = 2;

pub(crate) fn section(report: &Report, task: Task) -> Option<Section> {
    let mut blocks = Vec::new();
    let figures: Vec<Figure> = report.slices.iter().filter_map(|slicing| bars(slicing, task)).collect();
    if !figures.is_empty() {
        blocks.push(Block::Figures(figures));
    }
    for slicing in report.slices.iter().filter(|slicing| !slicing.slices.is_empty()) {
        let title = match slicing.by.as_str() {
            LENGTH => words("By length, all figures"),
            by => words(format!("By `{by}`, all figures")),
        };
        blocks.push(Block::Details(title, vec![Block::Table(table(slicing, task))]));
    }
    (!blocks.is_empty()).then(|| Section {
        title: words("Parts of the rows"),
        blocks,
    })
}

/// Names and values of columns stay as they are.
fn name(slicing: &Slicing, value: &str) -> Text {
    match slicing.by.as_str() {
        LENGTH => words(value),
        _ => data(value),
    }
}

fn value(slice: &Slice, name: &str) -> Option<f64> {
    slice.metrics.get(name).copied().flatten()
}

fn bars(slicing: &Slicing, task: Task) -> Option<Figure> {
    let names = &headlines(task)[..FIGURES];
    let bar = |slice: &Slice, name: &&str| Bar {
        value: value(slice, name).unwrap_or(f64::NAN),
        interval: slice
            .confidence_intervals
            .get(*name)
            .copied()
            .flatten()
            .map(|interval| [interval.low, interval.high]),
    };
    let row = |slice: &Slice| {
        let count = grouped(slice.examples as u64);
        BarRow {
            name: name(slicing, &format!("{} ({count})", slice.value)),
            bars: names.iter().map(|name| bar(slice, name)).collect(),
        }
    };
    let is_cut = slicing.slices.len() > MOST_BARS;
    let caption = match is_cut {
        true => format!(
            "the {MOST_BARS} largest parts of {}; in brackets their rows; thin lines are intervals",
            slicing.slices.len()
        ),
        false => "in brackets the rows of the part; thin lines are intervals".to_owned(),
    };
    (slicing.slices.len() > 1).then(|| Figure {
        title: match slicing.by.as_str() {
            LENGTH => words("By length in tokens"),
            by => words(format!("By `{by}`")),
        },
        caption: Some(words(caption)),
        plot: Box::new(BarChart {
            series: names.iter().map(|name| figure_name(name, task)).collect(),
            rows: slicing.slices.iter().take(MOST_BARS).map(row).collect(),
            maximum: (task != Task::Regression).then_some(1.0),
            ..BarChart::default()
        }),
    })
}

fn table(slicing: &Slicing, task: Task) -> Table {
    let names = headlines(task);
    let mut columns = vec![
        match slicing.by.as_str() {
            LENGTH => Column::Text(words("tokens")),
            by => Column::Text(data(by)),
        },
        Column::Number(words("rows")),
    ];
    columns.extend(names.iter().map(|name| Column::Number(figure_name(name, task))));
    let row = |slice: &Slice| {
        let mut row = vec![name(slicing, &slice.value), data(grouped(slice.examples as u64))];
        row.extend(names.iter().map(|name| figure(value(slice, name))));
        row
    };
    Table {
        caption: None,
        columns,
        rows: slicing.slices.iter().map(row).collect(),
    }
}
