//! The plots and tables of an inspection's report.

use super::{
    ColumnKind, ColumnReport, ColumnRole, Cut, Distribution, FileReport, GIVES_AWAY, LabelReport, Pair, Tells, percent,
};
use crate::report::plots::{Bar, BarChart, BarRow, Histogram, HistogramBar, LineChart, Mark, Series, ValueFormat};
use crate::report::{Block, Column, Figure, Table, Text, data, grouped, shown_number, words};

/// Labels with a bar of their own.
const MOST_BARS: usize = 80;
/// From this share on it is shown how much of the label something tells.
const WORTH_SHOWING: f64 = 0.01;
/// Columns that are shown.
const MOST_COLUMNS: usize = 100;

pub(super) fn shares_figure(files: &[&(&FileReport, &LabelReport)]) -> Figure {
    let shares = files.first().map_or(&[][..], |(_, labels)| &labels.shares);
    let mut order: Vec<usize> = (0..shares.len()).collect();
    if shares.len() > MOST_BARS {
        order.sort_by_key(|place| std::cmp::Reverse(shares[*place].rows));
        order.truncate(MOST_BARS);
    }
    let is_one = files.len() == 1;
    let bar = |labels: &LabelReport, place: usize| {
        let share = &labels.shares[place];
        Bar::of(if is_one { share.rows as f64 } else { share.share })
    };
    let row = |place: usize| BarRow {
        name: data(&shares[place].label),
        bars: files.iter().map(|(_, labels)| bar(labels, place)).collect(),
    };
    let caption = match (is_one, shares.len() > MOST_BARS) {
        (_, true) => Some(words(format!("the {MOST_BARS} most frequent of {}", shares.len()))),
        (true, false) => None,
        (false, false) => Some(words("shares of the rows with a label")),
    };
    Figure {
        title: match files {
            [(file, _)] => data(&file.name),
            _ => words("Rows of each label"),
        },
        caption,
        plot: Box::new(BarChart {
            series: files.iter().map(|(file, _)| data(&file.name)).collect(),
            rows: order.into_iter().map(row).collect(),
            format: if is_one {
                ValueFormat::Count
            } else {
                ValueFormat::Percent
            },
            ..BarChart::default()
        }),
    }
}

pub(super) fn values_figure(file: &FileReport, labels: &LabelReport) -> Option<Figure> {
    let values = labels.values.as_ref()?;
    // Single values get a bar as wide as their distance.
    let mut bars: Vec<HistogramBar> = Vec::new();
    let bins = &values.histogram;
    let distance = bins
        .windows(2)
        .map(|pair| pair[1].from - pair[0].from)
        .fold(f64::INFINITY, f64::min);
    for bin in bins {
        let is_single = bin.from == bin.to;
        let half = if is_single && distance.is_finite() {
            distance / 2.0
        } else {
            0.0
        };
        bars.push(HistogramBar {
            from: bin.from - half,
            to: if is_single {
                bin.from + half.max(f64::MIN_POSITIVE)
            } else {
                bin.to
            },
            count: bin.count as f64,
        });
    }
    Some(Figure {
        title: data(&file.name),
        caption: Some(words(format!(
            "mean {}, standard deviation {}",
            shown_number(values.mean),
            shown_number(values.deviation)
        ))),
        plot: Box::new(Histogram {
            bars,
            x_title: Some(words("label")),
            y_title: Some(words("rows")),
            ..Histogram::default()
        }),
    })
}

pub(super) fn lengths_figure(lengths: &Distribution, title: &str, unit: &str, mut marks: Vec<Mark>) -> Figure {
    let bars = lengths.histogram.iter().map(|bin| HistogramBar {
        from: f64::from(bin.from),
        to: f64::from(bin.to) + 1.0,
        count: bin.count as f64,
    });
    let mut bars: Vec<HistogramBar> = bars.collect();
    // The last bar holds the longest texts too, and is drawn as wide as the others.
    let width = bars.first().map_or(1.0, |bar| bar.to - bar.from);
    let is_open = bars.last().is_some_and(|last| last.to > last.from + width);
    if let Some(last) = bars.last_mut() {
        last.to = last.from + width;
    }
    marks.insert(
        0,
        Mark {
            at: f64::from(lengths.median),
            name: words(format!("median {}", lengths.median)),
        },
    );
    Figure {
        title: words(title),
        caption: Some(words(format!(
            "mean {:.1}, median {}, 95 of 100 at most {}, longest {}",
            lengths.mean, lengths.median, lengths.p95, lengths.max
        ))),
        plot: Box::new(Histogram {
            bars,
            is_open,
            marks,
            x_title: Some(words(unit)),
            y_title: Some(words("texts")),
            ..Histogram::default()
        }),
    }
}

/// Shares of texts and tokens that are lost, by length.
pub(super) fn cuts_figure(file: &FileReport) -> Figure {
    let curve = file.tokens.as_ref().map_or(&[][..], |tokens| &tokens.truncation.curve);
    let series = |name: &str, of: &dyn Fn(&Cut) -> f64| Series {
        name: words(name),
        points: curve
            .iter()
            .map(|cut| (f64::from(cut.max_length), 100.0 * of(cut)))
            .collect(),
        band: Vec::new(),
        is_dashed: false,
    };
    Figure {
        title: words("What is lost where texts are cut"),
        caption: Some(words("per cent of the texts and of the tokens, by max_length")),
        plot: Box::new(LineChart {
            series: vec![
                series("texts cut", &|cut| cut.texts),
                series("tokens lost", &|cut| cut.tokens),
            ],
            x_title: Some(words("max_length")),
            y_title: Some(words("%")),
            ..LineChart::default()
        }),
    }
}

pub(super) fn tells_figure(file: &FileReport) -> Option<Block> {
    let columns = file
        .columns
        .iter()
        .filter_map(|column| Some((data(&column.name), column.tells?)));
    let others = [
        ("length of the text", file.length_tells),
        ("position in the file", file.position_tells),
    ];
    let others = others
        .into_iter()
        .filter_map(|(name, tells)| Some((words(name), tells?)));
    let mut all: Vec<(Text, Tells)> = columns.chain(others).collect();
    if all.iter().all(|(_, tells)| tells.share < WORTH_SHOWING) {
        return None;
    }
    all.sort_by(|one, other| other.1.share.total_cmp(&one.1.share));
    all.truncate(30);
    let rows = all.into_iter().map(|(name, tells)| BarRow {
        name,
        bars: vec![Bar::of(tells.share)],
    });
    Some(Block::Figures(vec![Figure {
        title: words("What else tells the label"),
        caption: Some(words(format!(
            "share of what there is to know of it, each row judged by the others; from {:.0} % on it is given away",
            100.0 * GIVES_AWAY
        ))),
        plot: Box::new(BarChart {
            rows: rows.collect(),
            format: ValueFormat::Percent,
            maximum: Some(1.0),
            ..BarChart::default()
        }),
    }]))
}

pub(super) fn columns_table(file: &FileReport) -> Table {
    let kind = |kind: ColumnKind| match kind {
        ColumnKind::Integer => "integer",
        ColumnKind::Number => "number",
        ColumnKind::Boolean => "boolean",
        ColumnKind::Text => "text",
        ColumnKind::List => "list",
        ColumnKind::Empty => "empty",
    };
    let role = |role: ColumnRole| match role {
        ColumnRole::Text => "text",
        ColumnRole::TextPair => "second text",
        ColumnRole::Label => "label",
        ColumnRole::Group => "group",
        ColumnRole::Unused => "–",
    };
    let row = |column: &ColumnReport| {
        let distinct = grouped(column.distinct);
        vec![
            data(&column.name),
            words(role(column.role)),
            words(kind(column.kind)),
            data(grouped(column.missing)),
            data(if column.distinct_is_at_least {
                format!("> {distinct}")
            } else {
                distinct
            }),
            data(column.examples.join(" | ")),
        ]
    };
    Table {
        caption: None,
        columns: vec![
            Column::Text(words("column")),
            Column::Text(words("used as")),
            Column::Text(words("kind")),
            Column::Number(words("missing")),
            Column::Number(words("different")),
            Column::Long(words("examples")),
        ],
        rows: file.columns.iter().take(MOST_COLUMNS).map(row).collect(),
    }
}

pub(super) fn scripts_figure(file: &FileReport) -> Figure {
    let scripts = &file.scripts;
    let counts = [
        ("Hangul", scripts.hangul),
        ("Latin letters", scripts.latin),
        ("Chinese characters", scripts.han),
        ("Japanese syllables", scripts.kana),
        ("other letters", scripts.other),
    ];
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    let rows = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| BarRow {
            name: words(name),
            bars: vec![Bar::of(count as f64 / all.max(1) as f64)],
        });
    Figure {
        title: words("Letters by script"),
        caption: None,
        plot: Box::new(BarChart {
            rows: rows.collect(),
            format: ValueFormat::Percent,
            maximum: Some(1.0),
            ..BarChart::default()
        }),
    }
}

pub(super) fn pairs_table(caption: &str, pairs: &[Pair]) -> Table {
    let has_likeness = pairs.iter().any(|pair| pair.likeness.is_some());
    let row = |pair: &Pair| {
        let [one, other] = &pair.texts;
        let both = if one == other {
            data(one)
        } else {
            data(format!("{one}  ⟷  {other}"))
        };
        let [first, second] = &pair.labels;
        let labels = match (first == second, first.is_empty() && second.is_empty()) {
            (_, true) => String::new(),
            (true, _) => first.clone(),
            (false, _) => format!("{first} ⟷ {second}"),
        };
        let mut row = vec![data(format!("{}, {}", pair.first, pair.second)), data(labels), both];
        if has_likeness {
            row.push(data(
                pair.likeness
                    .map_or(String::new(), |likeness| format!("{} %", percent(likeness))),
            ));
        }
        row
    };
    let mut columns = vec![
        Column::Text(words("row numbers")),
        Column::Text(words("labels")),
        Column::Long(words("text")),
    ];
    if has_likeness {
        columns.push(Column::Number(words("in common")));
    }
    Table {
        caption: Some(words(caption)),
        columns,
        rows: pairs.iter().map(row).collect(),
    }
}
