//! A run as a page: what came of it, how it got there, what it learnt from, and how good it is on rows that it has not seen.
//!
//! The last part is that of an evaluation (`evaluation/page/`).

use std::time::Duration;

use serde_json::{Map, Value};

use super::run::{Prepared, RunReport};
use super::{Diagnosis, Level};
use crate::data::{Leak, Task};
use crate::evaluation::page::figure_name;
use crate::metrics::{DRAWN_POINTS, Place, thinned};
use crate::report::plots::{LineChart, Mark, Series};
use crate::report::{self, Block, Column, Figure, Notice, Page, Section, Table, Text, Tile, data, grouped, words};
use crate::settings::Settings;

/// From this many entries on, the loss is drawn smoothed too.
const SMOOTHED_FROM: usize = 20;

/// A smoothed loss is the mean of this part of the entries.
const WINDOW: usize = 20;

/// What the page of a run is made of, beside its settings and data.
pub(super) struct Source<'a> {
    pub report: &'a RunReport,
    /// Texts of training, validation and test part that were cut.
    pub cut: [usize; 3],
    /// The part that was measured, and what an evaluation says of it.
    pub evaluated: Option<(&'static str, Vec<Section>)>,
}

impl Source<'_> {
    /// The page.
    pub fn page(self, settings: &Settings, prepared: &Prepared) -> Page {
        let task = prepared.schema.task;
        let mut sections = vec![self.outcome(settings, task)];
        sections.extend(curves(
            &self.report.outcome.state.log_history,
            self.best_epoch(),
            settings,
            task,
        ));
        sections.push(self.data(settings, prepared));
        if let Some((part, mut evaluation)) = self.evaluated {
            if let Some(first) = evaluation.first_mut() {
                let told = match part {
                    "test" => "Of the test rows, with the weights and the decision that were saved.",
                    _ => {
                        "Of the validation rows, by which the weights and the decision were chosen: rows of their own would tell more."
                    }
                };
                first.blocks.insert(0, Block::Paragraph(words(told)));
            }
            sections.extend(evaluation);
        }
        Page {
            title: words("How training went"),
            subtitle: Some(data(self.report.directory.display().to_string())),
            sections,
        }
    }

    /// The epochs after which the weights were taken that were saved.
    fn best_epoch(&self) -> Option<f64> {
        let state = &self.report.outcome.state;
        let best = state.best_global_step?;
        let of_best = |entry: &&Map<String, Value>| entry.get("step").and_then(Value::as_u64) == Some(best);
        state.log_history.iter().find(of_best)?.get("epoch")?.as_f64()
    }

    fn outcome(&self, settings: &Settings, task: Task) -> Section {
        let outcome = &self.report.outcome;
        let state = &outcome.state;
        let tile = |name: &str, value: String, note: Option<Text>| Tile {
            name: words(name),
            value: data(value),
            note,
        };
        let mut tiles = vec![
            tile(
                "steps",
                grouped(state.global_step),
                Some(words(format!("{} were planned", grouped(state.max_steps)))),
            ),
            tile("epochs", format!("{:.1}", state.epoch), None),
        ];
        if let Some((best, value)) = state.best_global_step.zip(state.best_metric) {
            tiles.push(tile("best step", grouped(best), None));
            tiles.push(Tile {
                name: figure_name(&monitor(settings, task), task),
                value: data(format!("{value:.3}")),
                note: Some(words("of validation, at the best step")),
            });
        }
        let seconds = outcome.step_time.as_secs_f64();
        if seconds > 0.0 {
            let speed = format!("{:.0}", outcome.examples as f64 / seconds);
            tiles.push(tile(
                "time of the steps",
                duration(outcome.step_time),
                Some(words(format!("{speed} examples/s"))),
            ));
        }
        let mut notices = self.report.diagnosis.as_ref().map(diagnosis).unwrap_or_default();
        if outcome.stopped_early {
            let text = words(format!(
                "stopped early: {} has not improved any more",
                monitor(settings, task)
            ));
            notices.push(notice(report::Level::Note, text));
        }
        let mut blocks = vec![Block::Tiles(tiles)];
        if !notices.is_empty() {
            blocks.push(Block::Notices(notices));
        }
        blocks.push(Block::Details(
            words("All settings"),
            vec![Block::Table(settings_table(settings))],
        ));
        Section {
            title: words("The run"),
            blocks,
        }
    }

    fn data(&self, settings: &Settings, prepared: &Prepared) -> Section {
        let parts = &prepared.parts;
        let counted = [
            ("training", &parts.train),
            ("validation", &parts.validation),
            ("test", &parts.test),
        ];
        let rows = counted.iter().zip(self.cut).map(|((name, examples), cut)| {
            let share = 100.0 * cut as f64 / examples.len().max(1) as f64;
            vec![
                words(*name),
                data(grouped(examples.len() as u64)),
                data(format!("{} ({share:.1} %)", grouped(cut as u64))),
            ]
        });
        let mut blocks = vec![Block::Table(Table {
            caption: Some(words(match prepared.schema.task {
                Task::Regression => "numbers to predict".to_owned(),
                _ => format!("{} labels", prepared.schema.num_labels()),
            })),
            columns: vec![
                Column::Text(words("part")),
                Column::Number(words("rows")),
                Column::Number(words(format!("texts cut at {} tokens", settings.model.max_length))),
            ],
            rows: rows.collect(),
        })];
        let leaks: Vec<Notice> = prepared.leaks.iter().map(leak).collect();
        if !leaks.is_empty() {
            blocks.push(Block::Notices(leaks));
        }
        let files = prepared.reports.iter().map(|part| {
            let (load, clean) = (&part.load, &part.clean);
            vec![
                data(&load.path),
                data(grouped(load.rows_read)),
                data(grouped(load.missing_text + load.missing_label)),
                data(grouped(clean.dropped)),
                data(
                    load.text_columns
                        .iter()
                        .chain(&load.text_pair_column)
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(", "),
                ),
                data(load.label_columns.join(", ")),
            ]
        });
        blocks.push(Block::Table(Table {
            caption: Some(words("Files")),
            columns: vec![
                Column::Text(words("file")),
                Column::Number(words("rows")),
                Column::Number(words("without text or label")),
                Column::Number(words("repeated or contradictory")),
                Column::Text(words("text")),
                Column::Text(words("label")),
            ],
            rows: files.collect(),
        }));
        Section {
            title: words("Data"),
            blocks,
        }
    }
}

fn notice(level: report::Level, text: Text) -> Notice {
    Notice {
        level,
        about: None,
        text,
        hint: None,
    }
}

/// How far the run got, and what looks wrong.
fn diagnosis(diagnosis: &Diagnosis) -> Vec<Notice> {
    let level = match diagnosis.level {
        Level::Untrained => report::Level::Problem,
        Level::Learning => report::Level::Warning,
        Level::Usable | Level::Excellent => report::Level::Good,
    };
    let findings = diagnosis.findings.iter();
    std::iter::once(notice(level, words(diagnosis.to_string())))
        .chain(findings.map(|finding| notice(report::Level::Warning, words(finding.to_string()))))
        .collect()
}

fn leak(leak: &Leak) -> Notice {
    let share = 100.0 * leak.examples as f64 / leak.of.max(1) as f64;
    let text = format!(
        "leakage: {} of {} {} examples ({share:.2} %) have a text that stands in {} too",
        leak.examples, leak.of, leak.into, leak.from
    );
    notice(report::Level::Warning, words(text))
}

fn monitor(settings: &Settings, task: Task) -> String {
    let default = if task == Task::Regression { "loss" } else { "macro_f1" };
    settings
        .train
        .early_stopping
        .monitor
        .clone()
        .unwrap_or_else(|| default.to_owned())
}

/// Curves of learning against epochs; `None` if nothing was logged.
fn curves(history: &[Map<String, Value>], best: Option<f64>, settings: &Settings, task: Task) -> Option<Section> {
    let values = |key: &str| -> Vec<Place> {
        let value = |entry: &Map<String, Value>| Some((entry.get("epoch")?.as_f64()?, entry.get(key)?.as_f64()?));
        history.iter().filter_map(value).collect()
    };
    let series = |name: Text, points: Vec<Place>| Series {
        name,
        points,
        band: Vec::new(),
        is_dashed: false,
    };
    let figure = |title: Text, series: Vec<Series>, behind: Vec<Vec<Place>>, caption: Option<&str>| Figure {
        title,
        caption: caption.map(words),
        plot: Box::new(LineChart {
            series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
            behind,
            marks: best
                .map(|at| Mark {
                    at,
                    name: words("best"),
                })
                .into_iter()
                .collect(),
            x_title: Some(words("epochs")),
            ..LineChart::default()
        }),
    };
    let train = values("loss");
    if train.is_empty() {
        return None;
    }
    let steps = grouped(settings.train.logging_steps);
    let (smooth, behind) = match train.len() < SMOOTHED_FROM {
        true => (train, Vec::new()),
        false => (smoothed(&train), vec![thinned(&train, 2 * DRAWN_POINTS)]),
    };
    let caption = match behind.is_empty() {
        true => format!("of training, the mean of {steps} steps each"),
        false => format!("of training, the mean of {steps} steps each: thin as it is, thick smoothed"),
    };
    let mut figures = vec![figure(
        words("Loss"),
        vec![
            series(words("training"), thinned(&smooth, DRAWN_POINTS)),
            series(words("validation"), thinned(&values("eval_loss"), DRAWN_POINTS)),
        ],
        behind,
        Some(&caption),
    )];
    let mut names = match task {
        Task::Regression => vec!["pearson".to_owned(), "r2".to_owned()],
        _ => vec!["accuracy".to_owned(), "macro_f1".to_owned()],
    };
    let monitor = monitor(settings, task);
    if monitor != "loss" && !names.contains(&monitor) {
        names.push(monitor);
    }
    let watched = names.iter().map(|name| {
        let points = thinned(&values(&format!("eval_{name}")), DRAWN_POINTS);
        series(figure_name(name, task), points)
    });
    let watched: Vec<Series> = watched.collect();
    if watched.iter().any(|series| !series.points.is_empty()) {
        figures.push(figure(words("Figures of validation"), watched, Vec::new(), None));
    }
    for (title, key) in [
        ("Learning rate", "learning_rate"),
        ("Norm of the gradient", "grad_norm"),
    ] {
        let points = thinned(&values(key), DRAWN_POINTS);
        figures.push(figure(
            words(title),
            vec![series(words(title), points)],
            Vec::new(),
            None,
        ));
    }
    Some(Section {
        title: words("Learning curves"),
        blocks: vec![Block::Figures(figures)],
    })
}

/// The mean of each point and its neighbours; near the ends, of fewer.
fn smoothed(points: &[Place]) -> Vec<Place> {
    let half = (points.len() / WINDOW / 2).max(1);
    let mean = |(place, (x, _)): (usize, &Place)| {
        // As many before as after, or the ends would be pulled to the middle.
        let reach = half.min(place).min(points.len() - 1 - place);
        let near = &points[place - reach..=place + reach];
        (*x, near.iter().map(|(_, y)| y).sum::<f64>() / near.len() as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

/// `1:02:03` or `2:03` or `3.5 s`.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Each setting by its name, as in `gareum.toml`.
fn settings_table(settings: &Settings) -> Table {
    fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<Text>>) {
        match value {
            Value::Object(values) if !values.is_empty() => {
                for (key, value) in values {
                    let name = if name.is_empty() {
                        key.clone()
                    } else {
                        format!("{name}.{key}")
                    };
                    flatten(&name, value, rows);
                }
            }
            Value::Null => {}
            Value::String(text) => rows.push(vec![data(name), data(text)]),
            other => rows.push(vec![data(name), data(other.to_string())]),
        }
    }
    let mut rows = Vec::new();
    // Settings are tables of plain values, which JSON holds all of.
    flatten("", &serde_json::to_value(settings).unwrap_or_default(), &mut rows);
    Table {
        caption: None,
        columns: vec![Column::Text(words("setting")), Column::Long(words("value"))],
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_stay_where_a_curve_is_smoothed() {
        let points: Vec<Place> = (0..100).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        let smooth = smoothed(&points);
        assert_eq!((smooth[0], smooth[99]), (points[0], points[99]));
        assert!(smooth[10..90].iter().all(|(_, y)| (0.2..0.8).contains(y)), "{smooth:?}");
        assert_eq!(smoothed(&points[..1]), points[..1]);
    }

    #[test]
    fn durations_for_people() {
        let told = [3.52, 62.0, 3723.9].map(|seconds| duration(Duration::from_secs_f64(seconds)));
        assert_eq!(told, ["3.5 s", "1:02", "1:02:03"]);
    }
}
