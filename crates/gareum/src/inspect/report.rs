//! The report of an inspection: a page with plots.

use super::{
    ColumnKind, ColumnRole, Distribution, FileReport, Finding, GIVES_AWAY, Inspection, LabelReport, Pair, Severity,
    Tells, TokenReport, percent,
};
use crate::data::Task;
use crate::report::plots::{
    Bar, BarChart, BarRow, HeatMap, Histogram, HistogramBar, LineChart, Mark, Series, ValueFormat,
};
use crate::report::{
    Block, Column, Figure, Level, Notice, Page, Section, Table, Text, Tile, data, grouped, shown_number, words,
};

/// Labels with a bar of their own.
const MOST_BARS: usize = 80;
/// Labels whose words are shown.
const MOST_LABELS_WITH_WORDS: usize = 60;
/// From this share on it is shown how much of the label something tells.
const WORTH_SHOWING: f64 = 0.01;
/// Columns that are shown.
const MOST_COLUMNS: usize = 100;

impl Inspection {
    /// What was found as a page.
    pub fn to_page(&self) -> Page {
        let names: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        let mut sections = vec![self.overview()];
        sections.extend(self.labels());
        sections.extend(self.lengths());
        sections.extend(self.columns());
        sections.extend(self.repeats());
        sections.extend(self.texts());
        sections.extend(self.vocabulary());
        Page {
            title: words("What the data is like"),
            subtitle: Some(data(names.join(" · "))),
            sections,
        }
    }

    /// A heading with the file's name, where there are several.
    fn heading(&self, file: &FileReport) -> Option<Block> {
        (self.files.len() > 1).then(|| Block::Heading(data(&file.name)))
    }

    fn overview(&self) -> Section {
        let mut blocks = Vec::new();
        for file in &self.files {
            blocks.extend(self.heading(file));
            blocks.push(Block::Paragraph(words(file.format.to_string())));
            blocks.push(Block::Tiles(tiles(file)));
        }
        let notices = |is_note: bool| {
            let is_wanted = move |finding: &&Finding| (finding.severity == Severity::Note) == is_note;
            self.findings
                .iter()
                .filter(is_wanted)
                .map(|finding| self.notice(finding))
                .collect::<Vec<_>>()
        };
        let (serious, notes) = (notices(false), notices(true));
        let serious = match serious.is_empty() {
            true => vec![Notice {
                level: Level::Good,
                about: None,
                text: words("nothing that would harm training was found"),
                hint: None,
            }],
            false => serious,
        };
        blocks.push(Block::Notices(serious));
        if !notes.is_empty() {
            let summary = format!("worth knowing: {}", notes.len());
            blocks.push(Block::Details(words(summary), vec![Block::Notices(notes)]));
        }
        Section {
            title: words("Findings"),
            blocks,
        }
    }

    fn notice(&self, finding: &Finding) -> Notice {
        Notice {
            level: match finding.severity {
                Severity::Problem => Level::Problem,
                Severity::Warning => Level::Warning,
                Severity::Note => Level::Note,
            },
            about: (self.files.len() > 1).then(|| data(&finding.file)),
            text: words(&finding.message),
            hint: finding.hint.as_ref().map(words),
        }
    }

    fn labels(&self) -> Option<Section> {
        let labelled: Vec<(&FileReport, &LabelReport)> = self
            .files
            .iter()
            .filter_map(|file| Some((file, file.labels.as_ref()?)))
            .collect();
        let (_, first) = labelled.first()?;
        let mut figures = Vec::new();
        let same: Vec<_> = labelled
            .iter()
            .filter(|(_, labels)| has_names_of(labels, first))
            .collect();
        if first.task == Task::Regression {
            figures.extend(labelled.iter().filter_map(|(file, labels)| values_figure(file, labels)));
        } else {
            figures.push(shares_figure(&same));
            let others = labelled.iter().filter(|(_, labels)| !has_names_of(labels, first));
            figures.extend(others.map(|other| shares_figure(&[other])));
        }
        let mut blocks = vec![Block::Figures(figures)];
        for (file, labels) in &labelled {
            let Some(combinations) = &labels.combinations else {
                continue;
            };
            blocks.extend(self.heading(file));
            let counts = combinations
                .rows_by_labels
                .iter()
                .enumerate()
                .map(|(count, rows)| BarRow {
                    name: data(count.to_string()),
                    bars: vec![Bar::of(*rows as f64)],
                });
            let mut figures = vec![Figure {
                title: words("Labels a row"),
                caption: Some(words(format!(
                    "{:.2} labels a row; {} combinations, {} of them in one row",
                    combinations.labels_per_row, combinations.distinct, combinations.seen_once
                ))),
                plot: Box::new(BarChart {
                    rows: counts.collect(),
                    format: ValueFormat::Count,
                    ..BarChart::default()
                }),
            }];
            if !combinations.frequent.is_empty() {
                let rows = combinations.frequent.iter().map(|combination| BarRow {
                    name: data(combination.labels.join(" + ")),
                    bars: vec![Bar::of(combination.rows as f64)],
                });
                figures.push(Figure {
                    title: words("Most frequent combinations"),
                    caption: None,
                    plot: Box::new(BarChart {
                        rows: rows.collect(),
                        format: ValueFormat::Count,
                        ..BarChart::default()
                    }),
                });
            }
            if let Some(together) = &combinations.together {
                let names = || labels.shares.iter().map(|share| data(&share.label)).collect::<Vec<_>>();
                // What stands on the diagonal is known from the bars and would pale all else.
                let values = |row: usize| {
                    let value =
                        move |(column, count): (usize, &u64)| if row == column { f64::NAN } else { *count as f64 };
                    together[row].iter().enumerate().map(value).collect::<Vec<_>>()
                };
                figures.push(Figure {
                    title: words("Which labels stand together"),
                    caption: Some(words(
                        "rows that have both labels; colours are shares of the row's largest number",
                    )),
                    plot: Box::new(HeatMap {
                        rows: names(),
                        columns: names(),
                        values: (0..together.len()).map(values).collect(),
                        ..HeatMap::default()
                    }),
                });
            }
            blocks.push(Block::Figures(figures));
        }
        Some(Section {
            title: words("Labels"),
            blocks,
        })
    }

    fn lengths(&self) -> Option<Section> {
        let mut blocks = Vec::new();
        for file in &self.files {
            let Some(characters) = &file.characters else { continue };
            blocks.extend(self.heading(file));
            let mut figures = Vec::new();
            if let Some(TokenReport {
                lengths, truncation, ..
            }) = &file.tokens
            {
                let recommended = truncation.recommended.max_length;
                let mark = Mark {
                    at: f64::from(recommended),
                    name: words(format!("max_length {recommended}")),
                };
                figures.push(lengths_figure(lengths, "Length in tokens", "tokens", vec![mark]));
                figures.push(cuts_figure(file));
            }
            figures.push(lengths_figure(
                characters,
                "Length in characters",
                "characters",
                Vec::new(),
            ));
            blocks.push(Block::Figures(figures));
            if let Some(TokenReport { truncation, .. }) = &file.tokens {
                let row = |cut: &super::Cut| {
                    let share = |share: f64| data(format!("{} %", percent(share)));
                    vec![data(cut.max_length.to_string()), share(cut.texts), share(cut.tokens)]
                };
                let mut rows: Vec<Vec<Text>> = truncation.cuts.iter().map(row).collect();
                rows.push(row(&truncation.recommended));
                blocks.push(Block::Table(Table {
                    caption: Some(words(
                        "What is lost where texts are cut; the last row is the recommended length",
                    )),
                    columns: vec![
                        Column::Number(words("max_length")),
                        Column::Number(words("texts cut")),
                        Column::Number(words("tokens lost")),
                    ],
                    rows,
                }));
            }
        }
        (!blocks.is_empty()).then(|| Section {
            title: words("Lengths"),
            blocks,
        })
    }

    fn columns(&self) -> Option<Section> {
        let mut blocks = Vec::new();
        for file in &self.files {
            blocks.extend(self.heading(file));
            blocks.extend(tells_figure(file));
            blocks.push(Block::Table(columns_table(file)));
        }
        (!blocks.is_empty()).then(|| Section {
            title: words("Columns"),
            blocks,
        })
    }

    fn repeats(&self) -> Option<Section> {
        let mut blocks = Vec::new();
        for file in &self.files {
            let repeats = &file.repeats;
            let tables = [
                ("The same text with different labels", &repeats.exact.conflicts),
                (
                    "The same text but for case, blanks or invisible characters, with different labels",
                    &repeats.same.conflicts,
                ),
                ("Nearly the same text with different labels", &repeats.near.conflicts),
                ("The same text again", &repeats.exact.examples),
                ("Nearly the same text", &repeats.near.examples),
            ];
            // What is the same to the letter is shown once.
            let is_shown_already = |pairs: &Vec<Pair>| *pairs == repeats.exact.conflicts;
            let tables: Vec<Block> = tables
                .iter()
                .enumerate()
                .filter(|(place, (_, pairs))| !pairs.is_empty() && (*place != 1 || !is_shown_already(pairs)))
                .map(|(_, (caption, pairs))| Block::Table(pairs_table(caption, pairs)))
                .collect();
            if !tables.is_empty() {
                blocks.extend(self.heading(file));
                blocks.extend(tables);
            }
        }
        for leak in &self.leakage {
            blocks.push(Block::Heading(data(format!("{} → {}", leak.from, leak.into))));
            blocks.push(Block::Tiles(vec![
                tile("rows with a text of the other file", grouped(leak.rows)),
                tile("of them with another label", grouped(leak.conflicting_rows)),
                tile("rows with nearly a text of the other file", grouped(leak.near_rows)),
                tile("rows", grouped(leak.of)),
            ]));
            for (caption, pairs) in [
                ("Texts that stand in both files", &leak.examples),
                ("Texts that are nearly the same in both files", &leak.near_examples),
            ] {
                if !pairs.is_empty() {
                    blocks.push(Block::Table(pairs_table(caption, pairs)));
                }
            }
        }
        (!blocks.is_empty()).then(|| Section {
            title: words("Repeats and leaks"),
            blocks,
        })
    }

    fn texts(&self) -> Option<Section> {
        let mut blocks = Vec::new();
        for file in self.files.iter().filter(|file| file.texts > 0) {
            blocks.extend(self.heading(file));
            let traits = file.traits.iter().map(|found| {
                let rows: Vec<String> = found.rows.iter().map(u64::to_string).collect();
                let share = found.texts as f64 / file.texts.max(1) as f64;
                vec![
                    words(found.kind.words()),
                    data(grouped(found.texts)),
                    data(format!("{} %", percent(share))),
                    data(rows.join(", ")),
                ]
            });
            let rows: Vec<Vec<Text>> = traits.collect();
            let mut figures = vec![scripts_figure(file)];
            if let Some(tokens) = file.tokens.as_ref().filter(|tokens| !tokens.unknown_pieces.is_empty()) {
                let rows = tokens.unknown_pieces.iter().map(|(piece, count)| BarRow {
                    name: data(piece),
                    bars: vec![Bar::of(*count as f64)],
                });
                figures.push(Figure {
                    title: words("What the tokenizer does not know"),
                    caption: Some(words(format!(
                        "{} % of the tokens; the most frequent ones",
                        percent(tokens.unknown)
                    ))),
                    plot: Box::new(BarChart {
                        rows: rows.collect(),
                        format: ValueFormat::Count,
                        ..BarChart::default()
                    }),
                });
            }
            blocks.push(Block::Figures(figures));
            if !rows.is_empty() {
                blocks.push(Block::Table(Table {
                    caption: Some(words("Texts with something odd")),
                    columns: vec![
                        Column::Long(words("what")),
                        Column::Number(words("texts")),
                        Column::Number(words("share")),
                        Column::Text(words("row numbers")),
                    ],
                    rows,
                }));
            }
        }
        (!blocks.is_empty()).then(|| Section {
            title: words("Texts"),
            blocks,
        })
    }

    fn vocabulary(&self) -> Option<Section> {
        let file = self.files.iter().find(|file| !file.vocabulary.is_empty())?;
        let rows = file.vocabulary.iter().take(MOST_LABELS_WITH_WORDS).map(|label| {
            let words: Vec<String> = label
                .words
                .iter()
                .map(|word| format!("{} ({})", word.word, word.texts))
                .collect();
            vec![data(&label.label), data(words.join(", "))]
        });
        Some(Section {
            title: words("Words of the labels"),
            blocks: vec![
                Block::Paragraph(words(
                    "Words by which the texts of a label differ most from all others, by log-odds with an informative Dirichlet \
                     prior (Monroe et al. 2008); in brackets how many texts of the label have the word. A word that should say \
                     nothing of the label is a trace of where its texts come from.",
                )),
                Block::Table(Table {
                    caption: None,
                    columns: vec![Column::Text(words("label")), Column::Long(words("words"))],
                    rows: rows.collect(),
                }),
            ],
        })
    }
}

fn tile(name: &str, value: String) -> Tile {
    Tile {
        name: words(name),
        value: data(value),
        note: None,
    }
}

fn tiles(file: &FileReport) -> Vec<Tile> {
    let mut tiles = vec![tile("rows", grouped(file.rows))];
    if let Some(labels) = &file.labels {
        match &labels.values {
            Some(values) => tiles.push(tile("different numbers", grouped(values.distinct))),
            None => tiles.push(tile("labels", grouped(labels.shares.len() as u64))),
        }
    }
    if file.missing_text + file.missing_label > 0 {
        tiles.push(tile("without text", grouped(file.missing_text)));
        tiles.push(tile("without label", grouped(file.missing_label)));
    }
    tiles.push(tile("repeated texts", grouped(file.repeats.same.rows)));
    if file.labels.is_some() {
        tiles.push(tile(
            "contradicting texts",
            grouped(file.repeats.same.conflicting_texts),
        ));
    }
    if let Some(tokens) = &file.tokens {
        tiles.push(tile("tokens, median", grouped(tokens.lengths.median.into())));
        tiles.push(tile(
            "recommended max_length",
            grouped(tokens.truncation.recommended.max_length.into()),
        ));
    } else if let Some(characters) = &file.characters {
        tiles.push(tile("characters, median", grouped(characters.median.into())));
    }
    tiles
}

fn has_names_of(labels: &LabelReport, other: &LabelReport) -> bool {
    let names = |report: &LabelReport| {
        report
            .shares
            .iter()
            .map(|share| share.label.clone())
            .collect::<Vec<_>>()
    };
    labels.task == other.task && names(labels) == names(other)
}

fn shares_figure(files: &[&(&FileReport, &LabelReport)]) -> Figure {
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

fn values_figure(file: &FileReport, labels: &LabelReport) -> Option<Figure> {
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

fn lengths_figure(lengths: &Distribution, title: &str, unit: &str, mut marks: Vec<Mark>) -> Figure {
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
fn cuts_figure(file: &FileReport) -> Figure {
    let curve = file.tokens.as_ref().map_or(&[][..], |tokens| &tokens.truncation.curve);
    let series = |name: &str, of: &dyn Fn(&super::Cut) -> f64| Series {
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

fn tells_figure(file: &FileReport) -> Option<Block> {
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

fn columns_table(file: &FileReport) -> Table {
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
    let row = |column: &super::ColumnReport| {
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

fn scripts_figure(file: &FileReport) -> Figure {
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

fn pairs_table(caption: &str, pairs: &[Pair]) -> Table {
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
