//! The report of an inspection: a page with plots.

use super::figures::{
    columns_table, cuts_figure, lengths_figure, pairs_table, scripts_figure, shares_figure, tells_figure, values_figure,
};
use super::{Cut, FileReport, Finding, Inspection, LabelReport, Pair, Severity, TokenReport, percent};
use crate::data::Task;
use crate::report::plots::{Bar, BarChart, BarRow, HeatMap, Mark, ValueFormat};
use crate::report::{Block, Column, Figure, Level, Notice, Page, Section, Table, Text, Tile, data, grouped, words};

/// Labels whose words are shown.
const MOST_LABELS_WITH_WORDS: usize = 60;

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
                let row = |cut: &Cut| {
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
