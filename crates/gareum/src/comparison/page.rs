//! A comparison as a page, and the words for what it comes to.

use serde_json::Value;

use super::{Change, Changes, Comparison, Kind, LabelStanding, Moved, Pair, SIGNIFICANT, Standing, Verdict};
use crate::data::Task;
use crate::evaluation::headlines;
use crate::machine::readable_bytes;
use crate::metrics::{Difference, Interval};
use crate::report::plots::{Bar, BarChart, BarRow, HeatMap, Point, PointGroup, Scatter};
use crate::report::{Block, Column, Figure, Level, Notice, Page, Section, Table, Text, Tile, data, grouped, words};

/// Labels in the picture.
const MOST_BARS: usize = 16;
/// Labels in the open table.
const MOST_LABELS: usize = 10;
/// Figures of probabilities beside the headlines.
const OF_PROBABILITIES: [&str; 5] = ["log_loss", "brier_score_loss", "ece", "roc_auc", "average_precision"];

impl Comparison {
    /// What a pair comes to, in words.
    pub fn sentence(&self, pair: &Pair) -> String {
        let Pair { first, second, .. } = pair;
        let Some(difference) = self.difference(pair) else {
            return format!(
                "`{second}` and `{first}` cannot be told apart: {} is undefined for some draw of the rows",
                self.metric
            );
        };
        let p_value = pair.corrected_p_value.unwrap_or(difference.p_value);
        let figures = format!("{} {}, p {}", self.metric, signed(&difference), shown_p(p_value));
        match self.verdict(pair) {
            Verdict::Better => format!("`{second}` is better than `{first}`: {figures}"),
            Verdict::Worse => format!("`{second}` is worse than `{first}`: {figures}"),
            Verdict::Undecided => {
                format!("these rows do not tell whether `{second}` or `{first}` is better: {figures}")
            }
        }
    }

    /// The comparison as a page.
    pub fn to_page(&self) -> Page {
        let names: Vec<&str> = self.contestants.iter().map(|standing| standing.name.as_str()).collect();
        let mut sections = vec![self.verdicts(), self.figures()];
        sections.extend(self.pair_tests());
        sections.extend(self.label_section());
        sections.extend(self.rows());
        sections.extend(self.costs());
        Page {
            title: words("Which model is better"),
            subtitle: Some(data(names.join(" · "))),
            sections,
        }
    }

    fn difference(&self, pair: &Pair) -> Option<Difference> {
        pair.differences.get(self.metric).copied().flatten()
    }

    fn verdicts(&self) -> Section {
        let others = self.contestants.iter().skip(1);
        let pairs = others.filter_map(|standing| self.against_first(&standing.name));
        let notices = pairs.chain(self.best_pair()).map(|pair| Notice {
            level: match self.verdict(pair) {
                Verdict::Better => Level::Good,
                Verdict::Worse => Level::Warning,
                Verdict::Undecided => Level::Note,
            },
            about: None,
            text: words(self.sentence(pair)),
            hint: None,
        });
        let tile = |standing: &Standing| Tile {
            name: words(format!("{} of `{}`", self.metric, standing.name)),
            value: data(number(standing.metrics.get(self.metric).copied().flatten())),
            note: standing
                .confidence_intervals
                .of(self.metric)
                .map(|Interval { low, high }| data(format!("{low:.4} – {high:.4}"))),
        };
        let rows = Tile {
            name: words("rows"),
            value: data(grouped(self.examples as u64)),
            note: None,
        };
        let mut blocks = vec![
            Block::Tiles(std::iter::once(rows).chain(self.contestants.iter().map(tile)).collect()),
            Block::Notices(notices.collect()),
            Block::Paragraph(words(format!(
                "All are measured on the same rows, by {}. Intervals hold 95 % of draws of the rows (paired bootstrap); a difference is called one if p, corrected for the number of pairs, is below {SIGNIFICANT}.",
                self.metric
            ))),
        ];
        if self.contestants.iter().any(|standing| standing.kind == Kind::Untrained) {
            blocks.push(Block::Paragraph(words(
                "A checkpoint without a head for these labels has a random one, which shows what guessing comes to.",
            )));
        }
        Section {
            title: words("Verdict"),
            blocks,
        }
    }

    fn figures(&self) -> Section {
        let figure = |name: &'static str| Figure {
            title: data(name),
            caption: None,
            plot: Box::new(BarChart {
                rows: self
                    .contestants
                    .iter()
                    .map(|standing| BarRow {
                        name: data(&standing.name),
                        bars: vec![Bar {
                            value: standing.metrics.get(name).copied().flatten().unwrap_or(f64::NAN),
                            interval: standing
                                .confidence_intervals
                                .of(name)
                                .map(|Interval { low, high }| [low, high]),
                        }],
                    })
                    .collect(),
                maximum: (self.task != Task::Regression).then_some(1.0),
                ..BarChart::default()
            }),
        };
        let shown = headlines(self.task);
        let columns = std::iter::once(Column::Text(words("figure"))).chain(
            self.contestants
                .iter()
                .map(|standing| Column::Number(data(&standing.name))),
        );
        let with_interval = |standing: &Standing, name: &str| {
            let value = number(standing.metrics.get(name).copied().flatten());
            match standing.confidence_intervals.of(name) {
                Some(Interval { low, high }) => data(format!("{value} [{low:.4}, {high:.4}]")),
                None => data(value),
            }
        };
        let mut names: Vec<&str> = shown.to_vec();
        if self.task != Task::Regression {
            names.extend(OF_PROBABILITIES);
        }
        let rows = names.iter().map(|name| {
            std::iter::once(data(*name))
                .chain(self.contestants.iter().map(|standing| with_interval(standing, name)))
                .collect()
        });
        Section {
            title: words("Figures"),
            blocks: vec![
                Block::Figures(shown[..2].iter().map(|name| figure(name)).collect()),
                Block::Table(Table {
                    caption: None,
                    columns: columns.collect(),
                    rows: rows.collect(),
                }),
            ],
        }
    }

    fn pair_tests(&self) -> Option<Section> {
        if self.pairs.is_empty() {
            return None;
        }
        let mut columns = vec![
            Column::Text(words("model")),
            Column::Text(words("against")),
            Column::Number(data(self.metric)),
            Column::Number(data("p")),
            Column::Number(words("corrected p")),
        ];
        let has_split = self.task != Task::Regression;
        if has_split {
            columns.extend([
                Column::Number(words("only the model right")),
                Column::Number(words("only the other right")),
                Column::Number(data("p (McNemar)")),
            ]);
        }
        let row = |pair: &Pair| {
            let difference = self.difference(pair);
            let mut cells = vec![
                data(&pair.second),
                data(&pair.first),
                data(difference.as_ref().map_or("–".to_owned(), signed)),
                data(difference.map_or("–".to_owned(), |difference| shown_p(difference.p_value))),
                data(pair.corrected_p_value.map_or("–".to_owned(), shown_p)),
            ];
            cells.extend(pair.mcnemar.into_iter().flat_map(|split| {
                [
                    grouped(split.only_second),
                    grouped(split.only_first),
                    shown_p(split.p_value),
                ]
                .map(data)
            }));
            cells
        };
        let mut blocks = vec![Block::Table(Table {
            caption: None,
            columns,
            rows: self.pairs.iter().map(row).collect(),
        })];
        if self.contestants.len() > 2 {
            blocks.push(Block::Figures(vec![self.heat_map()]));
        }
        Some(Section {
            title: words("Each two of them"),
            blocks,
        })
    }

    /// Differences of all pairs, dark where they are more than chance.
    fn heat_map(&self) -> Figure {
        let names = || {
            self.contestants
                .iter()
                .map(|standing| data(&standing.name))
                .collect::<Vec<_>>()
        };
        let pair = |row: &Standing, column: &Standing| {
            let found = |first: &str, second: &str| {
                self.pairs
                    .iter()
                    .find(|pair| pair.first == first && pair.second == second)
            };
            let value = |pair: &Pair| {
                let difference = self.difference(pair)?;
                let strength = match self.verdict(pair) {
                    Verdict::Undecided => 0.1,
                    _ => 0.8,
                };
                Some((difference.value, strength))
            };
            found(&column.name, &row.name)
                .and_then(value)
                .or_else(|| {
                    found(&row.name, &column.name)
                        .and_then(value)
                        .map(|(value, strength)| (-value, strength))
                })
                .unwrap_or((f64::NAN, 0.0))
        };
        let cells: Vec<Vec<(f64, f64)>> = self
            .contestants
            .iter()
            .map(|row| self.contestants.iter().map(|column| pair(row, column)).collect())
            .collect();
        let part = |pick: fn(&(f64, f64)) -> f64| cells.iter().map(|row| row.iter().map(pick).collect()).collect();
        Figure {
            title: words(format!(
                "How much higher {} of the row is than of the column",
                self.metric
            )),
            caption: Some(words("dark: more than chance")),
            plot: Box::new(HeatMap {
                rows: names(),
                columns: names(),
                values: part(|(value, _)| (value * 1e4).round() / 1e4),
                strengths: Some(part(|(_, strength)| *strength)),
                ..HeatMap::default()
            }),
        }
    }

    fn label_section(&self) -> Option<Section> {
        if self.labels.is_empty() {
            return None;
        }
        let bars = |label: &LabelStanding| BarRow {
            name: data(&label.label),
            bars: label.f1.iter().map(|f1| Bar::of(f1.unwrap_or(f64::NAN))).collect(),
        };
        let plot = BarChart {
            series: self.contestants.iter().map(|standing| data(&standing.name)).collect(),
            rows: self.labels.iter().take(MOST_BARS).map(bars).collect(),
            maximum: Some(1.0),
            ..BarChart::default()
        };
        let mut columns = vec![Column::Text(words("label")), Column::Number(words("rows"))];
        columns.extend(
            self.contestants
                .iter()
                .map(|standing| Column::Number(data(&standing.name))),
        );
        let others = self.contestants.iter().skip(1);
        columns.extend(others.map(|standing| Column::Number(words(format!("difference of `{}`", standing.name)))));
        let row = |label: &LabelStanding| {
            let f1 = label.f1.iter().map(|f1| data(number(*f1)));
            let differences = label.differences.iter().map(|difference| match difference {
                Some(difference) if difference.p_value < SIGNIFICANT => data(format!("{} *", signed(difference))),
                Some(difference) => data(signed(difference)),
                None => data("–"),
            });
            [data(&label.label), data(grouped(label.support))]
                .into_iter()
                .chain(f1)
                .chain(differences)
                .collect()
        };
        let first = &self.contestants.first()?.name;
        let mut blocks = vec![Block::Figures(vec![Figure {
            title: words("F1 of the labels that changed most"),
            caption: None,
            plot: Box::new(plot),
        }])];
        let table = |labels: &[LabelStanding], columns: Vec<Column>| {
            Block::Table(Table {
                caption: Some(words(format!(
                    "F1, and how much higher it is than with `{first}`; * marks intervals without 0, not corrected for the number of labels"
                ))),
                columns,
                rows: labels.iter().map(row).collect(),
            })
        };
        if self.labels.len() > MOST_LABELS {
            let summary = words(format!("all {} labels", self.labels.len()));
            blocks.push(Block::Details(summary, vec![table(&self.labels, columns)]));
        } else {
            blocks.push(table(&self.labels, columns));
        }
        Some(Section {
            title: words("Labels"),
            blocks,
        })
    }

    fn rows(&self) -> Option<Section> {
        let first = &self.contestants.first()?.name;
        let mut blocks = Vec::new();
        for changes in &self.changes {
            blocks.push(Block::Heading(data(format!("{first} → {}", changes.name))));
            blocks.push(Block::Tiles(self.change_tiles(changes)));
            let [fixed, broken] = match self.task {
                Task::Regression => ["rows that come nearer to the truth", "rows that move away from it"],
                _ => [
                    "rows that only the latter gets right",
                    "rows that only the former gets right",
                ],
            };
            for (title, rows) in [(fixed, &changes.fixed_rows), (broken, &changes.broken_rows)] {
                if !rows.is_empty() {
                    blocks.push(Block::Details(
                        words(title),
                        vec![Block::Table(change_table(first, &changes.name, rows))],
                    ));
                }
            }
        }
        (!blocks.is_empty()).then(|| Section {
            title: words("Rows that changed"),
            blocks,
        })
    }

    fn change_tiles(&self, changes: &Changes) -> Vec<Tile> {
        let tiles: &[(&str, u64)] = match self.task {
            Task::Regression => &[("nearer", changes.fixed), ("farther", changes.broken)],
            _ => &[
                ("fixed", changes.fixed),
                ("broken", changes.broken),
                ("right in both", changes.both_right),
                ("wrong in both", changes.both_wrong),
            ],
        };
        let tile = |(name, count): &(&str, u64)| Tile {
            name: words(*name),
            value: data(grouped(*count)),
            note: None,
        };
        tiles.iter().map(tile).collect()
    }

    /// How far each says something else than the first.
    fn moved(&self) -> Option<Block> {
        let moved = self
            .contestants
            .iter()
            .filter_map(|standing| Some((standing, standing.moved?)));
        let shown = |value: Option<f64>| data(value.map_or("–".to_owned(), |value| format!("{value:.4}")));
        let row = |(standing, moved): (&Standing, Moved)| {
            vec![
                data(&standing.name),
                data(number(standing.metrics.get(self.metric).copied().flatten())),
                shown(moved.shift.map(|shift| shift.mean)),
                shown(moved.shift.map(|shift| shift.max)),
                data(format!("{:.2} %", 100.0 * moved.flipped)),
            ]
        };
        let rows: Vec<_> = moved.map(row).collect();
        let table = Table {
            caption: Some(words(
                "How far probabilities moved from the first, on each row that of the label that moved most, and rows with another label.",
            )),
            columns: vec![
                Column::Text(words("model")),
                Column::Number(data(self.metric)),
                Column::Number(words("mean shift")),
                Column::Number(words("largest shift")),
                Column::Number(words("other labels")),
            ],
            rows,
        };
        (!table.rows.is_empty()).then_some(Block::Table(table))
    }

    fn costs(&self) -> Option<Section> {
        let measured: Vec<_> = self
            .contestants
            .iter()
            .filter_map(|standing| Some((standing, standing.cost?)))
            .collect();
        if measured.is_empty() {
            return None;
        }
        let columns = vec![
            Column::Text(words("model")),
            Column::Number(words("size on disk")),
            Column::Number(data("×")),
            Column::Number(words("weights in memory")),
            Column::Text(words("computed in")),
            Column::Number(words("texts a second")),
            Column::Number(data("×")),
            Column::Number(words("one text, median (ms)")),
            Column::Number(words("one text, 99 % (ms)")),
        ];
        let first = measured[0].1;
        let times = |value: f64, first: f64| data(format!("{:.2}", value / first));
        let rows = measured.iter().map(|(standing, cost)| {
            let milliseconds = |value: Option<f64>| data(value.map_or("–".to_owned(), |value| format!("{value:.2}")));
            vec![
                data(&standing.name),
                data(readable_bytes(cost.disk_bytes)),
                times(cost.disk_bytes as f64, first.disk_bytes as f64),
                data(readable_bytes(cost.memory_bytes)),
                data(cost.precision.name()),
                data(format!("{:.1}", cost.texts_per_second)),
                times(cost.texts_per_second, first.texts_per_second),
                milliseconds(cost.latency.map(|latency| latency.p50_ms)),
                milliseconds(cost.latency.map(|latency| latency.p99_ms)),
            ]
        });
        let mut blocks = vec![Block::Table(Table {
            caption: Some(words(
                "Measured one after the other on this machine, tokenization included; × is against the first of them.",
            )),
            columns,
            rows: rows.collect(),
        })];
        blocks.extend(self.moved());
        let points: Vec<PointGroup> = measured
            .iter()
            .filter_map(|(standing, cost)| {
                Some(PointGroup {
                    name: data(&standing.name),
                    points: vec![Point {
                        x: cost.texts_per_second,
                        y: standing.metrics.get(self.metric).copied().flatten()?,
                        tip: data(&standing.name),
                    }],
                })
            })
            .collect();
        if points.len() > 1 {
            blocks.push(Block::Figures(vec![Figure {
                title: words("Quality and speed"),
                caption: None,
                plot: Box::new(Scatter {
                    groups: points,
                    x_title: Some(words("texts a second")),
                    y_title: Some(data(self.metric)),
                    ..Scatter::default()
                }),
            }]));
        }
        Some(Section {
            title: words("What they cost"),
            blocks,
        })
    }
}

fn change_table(first: &str, other: &str, rows: &[Change]) -> Table {
    let row = |change: &Change| {
        let pair = change
            .text_pair
            .as_ref()
            .map_or(String::new(), |pair| format!(" | {pair}"));
        vec![
            data(change.row.to_string()),
            data(format!("{}{pair}", change.text)),
            value_text(&change.truth),
            value_text(&change.before),
            value_text(&change.after),
        ]
    };
    Table {
        caption: None,
        columns: vec![
            Column::Number(words("row")),
            Column::Long(words("text")),
            Column::Text(words("truth")),
            Column::Text(data(first)),
            Column::Text(data(other)),
        ],
        rows: rows.iter().map(row).collect(),
    }
}

/// A label, labels or a number.
fn value_text(value: &Value) -> Text {
    data(shown_value(value))
}

/// A label, labels or a number.
pub(super) fn shown_value(value: &Value) -> String {
    match value {
        Value::String(label) => label.clone(),
        Value::Array(labels) => labels.iter().map(shown_value).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_f64().map_or(String::new(), |number| format!("{number:.3}")),
        _ => String::new(),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.4}"))
}

/// `+0.0123 [+0.0040, +0.0210]`
fn signed(difference: &Difference) -> String {
    let Interval { low, high } = difference.interval;
    format!("{:+.4} [{low:+.4}, {high:+.4}]", difference.value)
}

/// Exact to where it matters.
fn shown_p(p_value: f64) -> String {
    match p_value {
        p_value if p_value < 0.001 => "< 0.001".to_owned(),
        p_value => format!("{p_value:.3}"),
    }
}
