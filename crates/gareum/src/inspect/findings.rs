//! What was found in words: what is wrong or worth knowing, how much of it there is, and what to do.

use serde::Serialize;

use super::{ColumnKind, ColumnRole, FileReport, Inspection, Pair, TextTrait};
use crate::data::{Task, listed};

/// From this share on a column gives the label away.
pub const GIVES_AWAY: f64 = 0.5;
/// From this share on it is worth a word.
const TELLS_SOMETHING: f64 = 0.1;
/// From this share on rows are called sorted by label, and labels told by the length of the text.
const SORTED: f64 = 0.5;
const LENGTH_TELLS: f64 = 0.3;
/// Rows of a label below which little can be learnt, and hardly anything be measured.
const FEW_ROWS: u64 = 20;
/// The most frequent label may have so many times the rows of the rarest without a word.
const IMBALANCE: f64 = 10.0;
/// Half the sum of the differences of shares from which on labels are distributed otherwise.
const DRIFT: f64 = 0.1;
/// Share of unknown tokens from which on a tokenizer does not fit.
const MANY_UNKNOWN: f64 = 0.01;
/// A text that is so many times as long as nearly all others, and so long, is likely several that lost their ends.
const FAR_LONGER: u32 = 20;
const VERY_LONG: u32 = 10_000;
/// A column with values in a smaller share of the rows is worth a word.
const MOSTLY_EMPTY: f64 = 0.5;
/// Rows that are named.
const SHOWN_ROWS: usize = 3;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Results will be wrong or there will be none.
    Problem,
    /// Results may suffer.
    Warning,
    /// Worth knowing.
    Note,
}

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the message of each says it")]
pub enum FindingKind {
    ConstantLabel,
    NotLabels,
    NoLabel,
    UnknownLabels,
    Leakage,
    NearLeakage,
    GivesLabelAway,
    TellsOfLabel,
    SortedByLabel,
    LengthTellsLabel,
    Conflicts,
    NearConflicts,
    Duplicates,
    NearDuplicates,
    MissingText,
    MissingLabel,
    Imbalance,
    RareLabels,
    AbsentLabels,
    LabelDrift,
    SimilarLabels,
    UntrimmedLabels,
    RareCombinations,
    ExclusiveLabel,
    WithoutLabels,
    TextTrait,
    LongText,
    SurplusFields,
    RejoinedRows,
    IgnoredKeys,
    Encoding,
    EmptyColumns,
    ColumnsDiffer,
    MaxLength,
    UnknownTokens,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// How many rows (texts, labels, columns) it is about.
    pub count: u64,
    /// What it is, in words.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Some of the rows.
    pub rows: Vec<u64>,
}

/// What was found, the worst first.
pub(super) fn findings(inspection: &Inspection) -> Vec<Finding> {
    let mut found = Vec::new();
    let first = inspection.files.first();
    for file in &inspection.files {
        let mut list = List {
            file: &file.name,
            found: &mut found,
        };
        labels(file, first.filter(|first| first.name != file.name), &mut list);
        columns(file, first.filter(|first| first.name != file.name), &mut list);
        repeats(file, &mut list);
        texts(
            file,
            inspection.files.len() == 1 || first.is_some_and(|first| first.name == file.name),
            &mut list,
        );
        reading(file, &mut list);
    }
    leakage(inspection, &mut found);
    found.sort_by_key(|finding| finding.severity);
    found
}

struct List<'a> {
    file: &'a str,
    found: &'a mut Vec<Finding>,
}

impl List<'_> {
    /// Adds a finding about `count` things if there are any.
    fn add(&mut self, severity: Severity, kind: FindingKind, count: u64, message: String, hint: &str) -> &mut Self {
        if count > 0 {
            self.found.push(Finding {
                kind,
                severity,
                file: self.file.to_owned(),
                count,
                message,
                hint: (!hint.is_empty()).then(|| hint.to_owned()),
                rows: Vec::new(),
            });
        }
        self
    }

    /// Names rows of what was added last.
    fn rows(&mut self, kind: FindingKind, rows: impl IntoIterator<Item = u64>) {
        if let Some(last) = self
            .found
            .last_mut()
            .filter(|last| last.kind == kind && last.file == self.file)
        {
            last.rows = rows.into_iter().take(SHOWN_ROWS).collect();
        }
    }
}

fn rows_of(pairs: &[Pair]) -> impl Iterator<Item = u64> {
    pairs.iter().take(1).flat_map(|pair| [pair.first, pair.second])
}

/// A share as people write it, in per cent: `0.3`, `12`, `<0.01`.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent == 0.0 => "0".to_owned(),
        _ if percent < 0.005 => "<0.01".to_owned(),
        _ if percent < 0.095 || percent >= 99.5 && share < 1.0 => format!("{percent:.2}"),
        _ if percent < 9.95 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

fn labels(file: &FileReport, first: Option<&FileReport>, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Problem, Warning};
    let label_columns: Vec<&str> = file
        .columns
        .iter()
        .filter(|column| column.role == ColumnRole::Label)
        .map(|column| column.name.as_str())
        .collect();
    list.add(
        Warning,
        Kind::MissingLabel,
        file.missing_label,
        format!("rows without a label: {}", file.missing_label),
        "they are left out of training",
    );
    let Some(labels) = &file.labels else {
        match label_columns.as_slice() {
            [] => list.add(
                Note,
                Kind::NoLabel,
                1,
                "no column was recognised as the label, only texts were looked at".to_owned(),
                "name it with `--label NAME` if there is one",
            ),
            columns => {
                let distinct: u64 = file
                    .columns
                    .iter()
                    .filter(|c| c.role == ColumnRole::Label)
                    .map(|c| c.distinct)
                    .sum();
                list.add(
                    if file.rows > file.missing_label { Problem } else { Note },
                    Kind::NotLabels,
                    1,
                    match file.rows == file.missing_label {
                        true => format!("the label column `{}` is empty", columns.join("`, `")),
                        false => format!(
                            "column `{}` has {distinct} different values in {} rows, which does not look like labels",
                            columns.join("`, `"),
                            file.rows - file.missing_label
                        ),
                    },
                    "name another column with `--label NAME`",
                )
            }
        };
        return;
    };
    let present: Vec<_> = labels.shares.iter().filter(|share| share.rows > 0).collect();
    let is_constant_number = labels.values.as_ref().is_some_and(|values| values.distinct == 1);
    if let [only] = present.as_slice()
        && labels.task == Task::SingleLabel
    {
        list.add(
            Problem,
            Kind::ConstantLabel,
            labels.rows,
            format!("all {} labelled rows have the label `{}`", labels.rows, only.label),
            "the column says nothing: it may be a filler; name another with `--label NAME`, or use the file as one without labels",
        );
        return;
    }
    if is_constant_number {
        list.add(
            Problem,
            Kind::ConstantLabel,
            labels.rows,
            format!("all {} labelled rows have the same number as a label", labels.rows),
            "the column says nothing: it may be a filler; name another with `--label NAME`, or use the file as one without labels",
        );
    }
    let unknown: u64 = file.unknown_labels.iter().map(|label| label.rows).sum();
    let names = listed(file.unknown_labels.iter().map(|label| label.label.as_str()));
    list.add(
        Problem,
        Kind::UnknownLabels,
        unknown,
        format!("rows whose label is not among those that are known: {unknown} ({names})"),
        "correct them, add them to the label map, or add such rows to the first file",
    )
    .rows(
        Kind::UnknownLabels,
        file.unknown_labels.iter().map(|label| label.first_row),
    );
    for group in &file.similar_labels {
        let names = listed(group.iter().map(String::as_str));
        list.add(
            Warning,
            Kind::SimilarLabels,
            group.len() as u64,
            format!("labels that differ in case or blanks only: {names}"),
            "they count as different labels; write them alike, or join them with a label map",
        );
    }
    list.add(
        Note,
        Kind::UntrimmedLabels,
        file.untrimmed_labels,
        format!("labels with blanks around them: {}", file.untrimmed_labels),
        "the blanks are left out",
    )
    .rows(Kind::UntrimmedLabels, file.rows_of.untrimmed_labels.iter().copied());
    if let Some(imbalance) = labels.imbalance.filter(|imbalance| *imbalance >= IMBALANCE) {
        let by_rows = |share: &&&super::LabelShare| share.rows;
        if let (Some(most), Some(fewest)) = (present.iter().max_by_key(by_rows), present.iter().min_by_key(by_rows)) {
            list.add(
                Warning,
                Kind::Imbalance,
                1,
                format!(
                    "label `{}` has {imbalance:.0} times as many rows as label `{}` ({} and {})",
                    most.label, fewest.label, most.rows, fewest.rows
                ),
                "go by macro F1 rather than accuracy, and look for more rows of the rare labels",
            );
        }
    }
    let is_first = first.is_none();
    let rare: Vec<&str> = present
        .iter()
        .filter(|share| share.rows < FEW_ROWS && is_first)
        .map(|share| share.label.as_str())
        .collect();
    list.add(
        Warning,
        Kind::RareLabels,
        rare.len() as u64,
        format!("labels with fewer than {FEW_ROWS} rows: {} ({})", rare.len(), listed(rare.iter().copied())),
        "so few rows can hardly be learnt from, and their scores are mostly chance: add rows, join labels, or leave them out",
    );
    let absent: Vec<&str> = labels
        .shares
        .iter()
        .filter(|share| share.rows == 0)
        .map(|share| share.label.as_str())
        .collect();
    list.add(
        Note,
        Kind::AbsentLabels,
        absent.len() as u64,
        format!(
            "labels without a row here: {} ({})",
            absent.len(),
            listed(absent.iter().copied())
        ),
        "their scores in this file are undefined",
    );
    if let Some(combinations) = &labels.combinations {
        list.add(
            Note,
            Kind::RareCombinations,
            combinations.seen_once,
            format!(
                "combinations of labels that one row has: {} of {}",
                combinations.seen_once, combinations.distinct
            ),
            "splits are stratified by label and not by combination, so this does no harm",
        );
        list.add(
            Note,
            Kind::WithoutLabels,
            combinations.without,
            format!("rows that have none of the labels: {}", combinations.without),
            "",
        );
        for label in &combinations.always_alone {
            list.add(
                Note,
                Kind::ExclusiveLabel,
                1,
                format!("label `{label}` never stands beside another one"),
                "it means that there is none; a model may still predict it beside others",
            );
        }
    }
    let shares_first = |first: &&FileReport| first.labels.as_ref().is_some_and(|other| same_labels(labels, other));
    if let Some((first, other)) = first
        .filter(shares_first)
        .and_then(|first| Some((first, first.labels.as_ref()?)))
    {
        let distances = labels
            .shares
            .iter()
            .zip(&other.shares)
            .map(|(own, other)| (own.share - other.share).abs());
        let (sum, largest) = distances.fold((0.0, 0.0f64), |(sum, largest), d| (sum + d, largest.max(d)));
        // With several labels a row the shares do not sum to one; then the largest difference counts.
        let drift = if labels.task == Task::MultiLabel {
            largest
        } else {
            sum / 2.0
        };
        list.add(
            Warning,
            Kind::LabelDrift,
            u64::from(drift >= DRIFT),
            format!(
                "labels are distributed otherwise than in {}: {} % of the rows would have to change",
                first.name,
                percent(drift)
            ),
            "what is measured here is not what is trained for; make sure that this is meant",
        );
    }
    if let Some(tells) = file.position_tells.filter(|tells| is_first && tells.share >= SORTED) {
        list.add(
            Warning,
            Kind::SortedByLabel,
            1,
            format!(
                "rows are sorted by label, or nearly: the position tells {} % of it",
                percent(tells.share)
            ),
            "training shuffles them; do not take the first rows as a sample or cut the file at a place",
        );
    }
    if let Some(tells) = file
        .length_tells
        .filter(|tells| is_first && tells.share >= LENGTH_TELLS)
    {
        list.add(
            Warning,
            Kind::LengthTellsLabel,
            1,
            format!("the length of the text tells {} % of the label", percent(tells.share)),
            "a model may learn lengths instead of contents; check where the texts of each label come from",
        );
    }
}

fn same_labels(one: &super::LabelReport, other: &super::LabelReport) -> bool {
    let names = |report: &super::LabelReport| {
        report
            .shares
            .iter()
            .map(|share| share.label.clone())
            .collect::<Vec<_>>()
    };
    one.task == other.task && !one.shares.is_empty() && names(one) == names(other)
}

fn columns(file: &FileReport, first: Option<&FileReport>, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Problem, Warning};
    for column in &file.columns {
        let Some(tells) = column.tells else { continue };
        let (name, share) = (&column.name, percent(tells.share));
        if tells.share >= GIVES_AWAY {
            let message = match (tells.accuracy, tells.chance) {
                (Some(accuracy), Some(chance)) => format!(
                    "column `{name}` gives the label away: by it alone {} % of the labels are right, by chance {} %",
                    percent(accuracy),
                    percent(chance)
                ),
                _ => format!("column `{name}` gives the label away: it tells {share} % of it"),
            };
            let hint = "keep it out of the text, and make sure that it is known when new texts come before you use it";
            list.add(Problem, Kind::GivesLabelAway, 1, message, hint);
        } else if tells.share >= TELLS_SOMETHING {
            let message = format!("column `{name}` tells {share} % of the label");
            let hint = "rows of one value may belong together: `--group` keeps them in one part";
            list.add(Note, Kind::TellsOfLabel, 1, message, hint);
        }
    }
    let unused = || file.columns.iter().filter(|column| column.role == ColumnRole::Unused);
    let names = |columns: &[&super::ColumnReport]| listed(columns.iter().map(|column| column.name.as_str()));
    let empty: Vec<_> = unused().filter(|column| column.kind == ColumnKind::Empty).collect();
    list.add(
        Note,
        Kind::EmptyColumns,
        empty.len() as u64,
        format!("columns without a value: {}", names(&empty)),
        "",
    );
    let is_mostly_empty = |column: &&super::ColumnReport| {
        let present = (file.rows - column.missing) as f64;
        column.kind != ColumnKind::Empty && present < MOSTLY_EMPTY * file.rows as f64
    };
    for column in unused().filter(is_mostly_empty) {
        let present = file.rows - column.missing;
        list.add(
            Note,
            Kind::EmptyColumns,
            1,
            format!(
                "column `{}` has a value in {present} of {} rows",
                column.name, file.rows
            ),
            "",
        )
        .rows(Kind::EmptyColumns, column.first_row);
    }
    if let Some(first) = first {
        let lacks = |one: &FileReport, other: &FileReport| {
            let has = |name: &str| other.columns.iter().any(|column| column.name == name);
            let names = one.columns.iter().map(|column| column.name.as_str());
            names.filter(|name| !has(name)).map(str::to_owned).collect::<Vec<_>>()
        };
        let (more, fewer) = (lacks(file, first), lacks(first, file));
        let shown = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => listed(names.iter().map(String::as_str)),
        };
        list.add(
            Note,
            Kind::ColumnsDiffer,
            (more.len() + fewer.len()) as u64,
            format!(
                "the columns are not those of {}: here only {}; there only {}",
                first.name,
                shown(&more),
                shown(&fewer)
            ),
            "",
        );
    }
    list.add(
        Warning,
        Kind::MissingText,
        file.missing_text,
        format!("rows without a text: {}", file.missing_text),
        "they are left out of training",
    );
}

fn repeats(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    let (exact, same, near) = (&file.repeats.exact, &file.repeats.same, &file.repeats.near);
    let more = same.conflicting_texts.saturating_sub(exact.conflicting_texts);
    list.add(
        Warning,
        Kind::Conflicts,
        same.conflicting_texts,
        match more {
            0 => format!(
                "texts that stand with more than one label: {} in {} rows",
                exact.conflicting_texts, exact.conflicting_rows
            ),
            more => format!(
                "texts that stand with more than one label: {} in {} rows, and {more} more that differ in case, blanks or invisible characters",
                exact.conflicting_texts, exact.conflicting_rows
            ),
        },
        "decide which label is right; `--set data.conflicts=drop` leaves these texts out of training",
    )
    .rows(
        Kind::Conflicts,
        rows_of(if exact.conflicts.is_empty() { &same.conflicts } else { &exact.conflicts }),
    );
    let more = same.rows - exact.rows;
    list.add(
        Warning,
        Kind::Duplicates,
        same.rows,
        match (exact.rows, more, file.labels.is_some()) {
            (0, more, _) => {
                format!("rows whose text differs from an earlier one in case, blanks or invisible characters only: {more}")
            }
            (rows, 0, false) => format!("rows that repeat the text of an earlier one: {rows}"),
            (rows, 0, true) => format!(
                "rows that repeat the text of an earlier one: {rows}, {} of them its label too",
                exact.rows_with_same_label
            ),
            (rows, more, false) => format!(
                "rows that repeat the text of an earlier one: {rows}; {more} more differ in case, blanks or invisible characters"
            ),
            (rows, more, true) => format!(
                "rows that repeat the text of an earlier one: {rows}, {} of them its label too; {more} more differ in case, blanks or invisible characters",
                exact.rows_with_same_label
            ),
        },
        "training leaves out rows that repeat text and label; a split keeps equal texts in one part",
    )
    .rows(
        Kind::Duplicates,
        rows_of(if exact.examples.is_empty() { &same.examples } else { &exact.examples }),
    );
    list.add(
        Warning,
        Kind::NearConflicts,
        near.conflicting_rows,
        format!(
            "rows that are nearly the same as an earlier one, with another label: {}",
            near.conflicting_rows
        ),
        "some of these labels are likely wrong",
    )
    .rows(Kind::NearConflicts, rows_of(&near.conflicts));
    list.add(
        Note,
        Kind::NearDuplicates,
        near.rows,
        format!(
            "rows that are nearly the same as an earlier one: {} ({} %)",
            near.rows,
            percent(near.rows as f64 / file.texts.max(1) as f64)
        ),
        "",
    )
    .rows(Kind::NearDuplicates, rows_of(&near.examples));
}

fn texts(file: &FileReport, is_first: bool, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    for found in &file.traits {
        let is_harmful = matches!(
            found.kind,
            TextTrait::ReplacementCharacter
                | TextTrait::NotNfc
                | TextTrait::InvisibleCharacters
                | TextTrait::Markup
                | TextTrait::PersonalData
        );
        let hint = match found.kind {
            TextTrait::ReplacementCharacter => {
                "the characters are lost; correct the texts or read the file they came from anew"
            }
            TextTrait::NotNfc => "`--set data.normalize=[\"nfc\"]` composes them; no vocabulary has them as they are",
            TextTrait::InvisibleCharacters => "`--set data.normalize=[\"control\"]` removes them",
            TextTrait::Markup => "remove it, unless new texts will have it too",
            TextTrait::PersonalData => "mask them before the texts leave your hands",
            TextTrait::Repeats => "`--set data.normalize=[\"repeats\"]` shortens them",
            TextTrait::DoubledQuotes => "an earlier conversion to csv may have doubled them",
            _ => "",
        };
        let kind = if is_harmful { Warning } else { Note };
        let message = format!("texts with {}: {}", found.kind.words(), found.texts);
        list.add(kind, Kind::TextTrait, found.texts, message, hint)
            .rows(Kind::TextTrait, found.rows.iter().copied());
    }
    if let Some(characters) = &file.characters {
        let is_far_longer = characters.max >= FAR_LONGER * characters.p95.max(1);
        let is_odd = characters.max >= VERY_LONG && (is_far_longer || characters.texts == 1);
        list.add(
            Warning,
            Kind::LongText,
            u64::from(is_odd),
            format!(
                "the longest text has {} characters, 95 of 100 have at most {}",
                characters.max, characters.p95
            ),
            "line breaks may be lost there, or a quote is not closed",
        );
    }
    let Some(tokens) = &file.tokens else { return };
    let truncated = &tokens.truncation;
    let best = truncated.recommended;
    let loss = format!(
        "{} % of the texts are cut there and {} % of the tokens lost; the longest text has {}",
        percent(best.texts),
        percent(best.tokens),
        truncated.longest
    );
    let message = match (truncated.suffices, truncated.model_limit) {
        (true, _) => format!("take model.max_length = {}: {loss}", best.max_length),
        (false, Some(limit)) => format!("texts are longer than the {limit} tokens that the model takes: {loss}"),
        (false, None) => format!(
            "texts are longer than the {} tokens that most models take: {loss}",
            best.max_length
        ),
    };
    let (severity, hint) = match truncated.suffices {
        true => (
            Note,
            "longer limits cost nothing where texts are short, since nothing is padded",
        ),
        false => (
            Warning,
            "`--set model.truncation=head_tail` keeps beginning and end; or take a model for long texts, or split the texts",
        ),
    };
    list.add(severity, Kind::MaxLength, u64::from(is_first), message, hint);
    let pieces = listed(tokens.unknown_pieces.iter().map(|(piece, _)| piece.as_str()));
    list.add(
        if tokens.unknown >= MANY_UNKNOWN { Warning } else { Note },
        Kind::UnknownTokens,
        tokens.texts_with_unknown,
        format!(
            "tokens that the tokenizer does not know: {} %, in {} texts; most often {pieces}",
            percent(tokens.unknown),
            tokens.texts_with_unknown
        ),
        if tokens.unknown >= MANY_UNKNOWN {
            "the model sees none of this: take one whose vocabulary has it, or normalise the texts"
        } else {
            ""
        },
    );
}

fn reading(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    list.add(
        Note,
        Kind::SurplusFields,
        file.surplus_fields,
        format!("empty fields beyond the last column, left out: {}", file.surplus_fields),
        "",
    )
    .rows(Kind::SurplusFields, file.rows_of.surplus_fields);
    list.add(
        Note,
        Kind::RejoinedRows,
        file.rejoined_rows,
        format!(
            "rows whose text holds the delimiter, put together: {}",
            file.rejoined_rows
        ),
        "",
    )
    .rows(Kind::RejoinedRows, file.rows_of.rejoined);
    list.add(
        Warning,
        Kind::IgnoredKeys,
        file.ignored_keys,
        format!(
            "values of keys that first appear after row 100, left out: {}",
            file.ignored_keys
        ),
        "",
    );
    if let Some(encoding) = &file.format.encoding {
        let message = format!("the encoding is {encoding}, not UTF-8");
        list.add(Note, Kind::Encoding, 1, message, "it is converted while it is read");
    }
}

fn leakage(inspection: &Inspection, found: &mut Vec<Finding>) {
    use FindingKind as Kind;
    use Severity::{Problem, Warning};
    for leak in &inspection.leakage {
        let mut list = List {
            file: &leak.into,
            found,
        };
        let share = |rows: u64| percent(rows as f64 / leak.of.max(1) as f64);
        let (rows, of, from) = (leak.rows, leak.of, &leak.from);
        let message = match (leak.by_single_texts, leak.conflicting_rows) {
            (true, _) => format!(
                "{rows} of {of} rows ({} %) have a text that stands in {from} too, single texts and those of pairs compared",
                share(rows)
            ),
            (false, 0) => format!(
                "{rows} of {of} rows ({} %) have a text that stands in {from} too",
                share(rows)
            ),
            (false, other) => format!(
                "{rows} of {of} rows ({} %) have a text that stands in {from} too, {other} of them with another label",
                share(rows)
            ),
        };
        let hint = "leave them out of one of the files: a model has seen them, and scores are too good";
        list.add(Problem, Kind::Leakage, rows, message, hint)
            .rows(Kind::Leakage, rows_of(&leak.examples));
        let near = leak.near_rows;
        let message = format!(
            "{near} of {of} rows ({} %) have a text that is nearly one of {from}",
            share(near)
        );
        list.add(
            Warning,
            Kind::NearLeakage,
            near,
            message,
            "they are easier than new texts will be",
        )
        .rows(Kind::NearLeakage, rows_of(&leak.near_examples));
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_are_short() {
        for (share, expected) in [
            (0.0, "0"),
            (0.00001, "<0.01"),
            (0.0004, "0.04"),
            (0.0123, "1.2"),
            (0.5, "50"),
            (0.9999, "99.99"),
            (1.0, "100"),
        ] {
            assert_eq!(percent(share), expected);
        }
    }
}
