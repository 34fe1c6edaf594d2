//! What a labelled file is like before anything is trained on it: columns, labels, lengths, repeats, leaks, dirt.
//!
//! [`inspect`] reads each file once ([`scan`]) and keeps a few numbers of each row, never its text, so that a million rows take some hundred
//! MiB. What is found is plain data ([`Inspection`]); what it means for training is said in [`findings`]. Not here: showing it (the command
//! line), and changing data (`data::clean`).

mod columns;
mod examples;
mod figures;
mod findings;
mod labels;
mod lengths;
mod meaning;
#[cfg(test)]
mod real_data;
mod repeats;
mod report;
mod scan;
mod sketch;
mod traits;
mod vocabulary;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use columns::{ColumnKind, ColumnReport, ColumnRole, Tells};
pub use findings::{Finding, FindingKind, GIVES_AWAY, Severity, percent};
pub use labels::{Combination, Combinations, LabelReport, LabelShare, ValueBin, Values};
pub use lengths::{Bin, Cut, Distribution, Truncated};
pub use repeats::{Equal, Leakage, NEAR, Near, Pair, Repeats};
pub use traits::{TextTrait, TraitCount};
pub use vocabulary::{LabelWord, LabelWords};

use crate::data::{
    ColumnRequest, DataError, FileFormat, FoundColumns, LabelMap, LabelSchema, ReadOptions, Records, Target, Task,
};
use crate::tokens::{Tokenizer, TokenizerError};
use examples::Examples;
use meaning::{Meaning, meanings, similar};
use repeats::{Compared, Neighbours};
use scan::{Counts, DistinctLabels, Scan};

/// Pieces of texts that a tokenizer does not know: how many are told.
const SHOWN_UNKNOWN: usize = 10;
/// Rows that are named for a finding.
const SHOWN_ROWS: usize = 3;
/// Fewer rows say too little about whether a column is an identifier or a text.
const ROWS_TO_JUDGE: u64 = 50;

/// Why files could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file cannot be read or understood.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The tokenizer fails on a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A file to look at.
#[derive(Clone, Debug)]
pub struct InspectedFile {
    /// What it is called: `train`, `test`, or its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The split of a dataset on the hub where its name says none.
    pub split: Option<String>,
    /// Whether its labels are those of the first file by intent: validation and test files.
    pub is_measured_on: bool,
}

/// How files are looked at.
#[derive(Clone, Debug, Default)]
pub struct InspectOptions<'a> {
    /// How they are read.
    pub read: ReadOptions,
    /// Their columns; what is not named is detected in each file.
    pub columns: ColumnRequest,
    /// What is predicted. Default: inferred from the labels.
    pub task: Option<Task>,
    /// Other names for the labels.
    pub label_map: Option<&'a LabelMap>,
    /// What cuts texts into tokens; without one nothing is said of tokens.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The most tokens that the model takes.
    pub max_tokens: Option<usize>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// What it means, the worst first.
    pub findings: Vec<Finding>,
    /// Each file.
    pub files: Vec<FileReport>,
    /// Texts that stand in two files.
    pub leakage: Vec<Leakage>,
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileReport {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// What it turned out to be.
    pub format: FileFormat,
    /// Rows.
    pub rows: u64,
    /// Texts (or pairs): rows without one are not counted, rows of stacked texts several times.
    pub texts: u64,
    /// Rows without a text.
    pub missing_text: u64,
    /// Rows without a label, where there is a label column.
    pub missing_label: u64,
    /// Every column.
    pub columns: Vec<ColumnReport>,
    /// What joins the labels of a row in one value, where something does.
    pub label_separator: Option<String>,
    /// Empty fields beyond the last column.
    pub surplus_fields: u64,
    /// Rows whose text held the delimiter, without quotes, and was put together again.
    pub rejoined_rows: u64,
    /// Values of JSON keys that first appear late and are left out.
    pub ignored_keys: u64,
    /// Rows whose label has blanks around it.
    pub untrimmed_labels: u64,
    /// Labels that differ in case or blanks only.
    pub similar_labels: Vec<Vec<String>>,
    /// Labels that the first file, or the map, has not.
    pub unknown_labels: Vec<UnknownLabel>,
    /// The labels; `None` where there are none, or what is called so cannot be labels.
    pub labels: Option<LabelReport>,
    /// Lengths in characters.
    pub characters: Option<Distribution>,
    /// Tokens, where a tokenizer was given.
    pub tokens: Option<TokenReport>,
    /// Letters by script.
    pub scripts: Scripts,
    /// Oddities of the texts.
    pub traits: Vec<TraitCount>,
    /// Texts that stand more than once.
    pub repeats: Repeats,
    /// How much the position in the file tells of the label: much where rows are sorted by it.
    pub position_tells: Option<Tells>,
    /// How much the length of the text tells of the label.
    pub length_tells: Option<Tells>,
    /// Words of each label, of the first file that has labels.
    pub vocabulary: Vec<LabelWords>,
    /// Rows named for some of the findings.
    #[serde(skip)]
    rows_of: RowsOf,
}

/// Rows named for findings that have no list of their own.
#[derive(Clone, Debug, Default, PartialEq)]
struct RowsOf {
    untrimmed_labels: Vec<u64>,
    surplus_fields: Option<u64>,
    rejoined: Option<u64>,
}

/// A label that was not to be expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownLabel {
    /// The label as it is written.
    pub label: String,
    /// Rows that have it.
    pub rows: u64,
    /// The first of them.
    pub first_row: u64,
}

/// Letters by script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scripts {
    /// Hangul.
    pub hangul: u64,
    /// Latin letters.
    pub latin: u64,
    /// Chinese characters.
    pub han: u64,
    /// Japanese syllables.
    pub kana: u64,
    /// All others.
    pub other: u64,
}

/// Tokens of the texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenReport {
    /// Lengths in tokens, those that frame a text included.
    pub lengths: Distribution,
    /// What cutting loses.
    pub truncation: Truncated,
    /// Share of the tokens within texts that the tokenizer does not know.
    pub unknown: f64,
    /// Texts with such a token.
    pub texts_with_unknown: u64,
    /// What is unknown most often, with how often.
    pub unknown_pieces: Vec<(String, u64)>,
}

/// Looks at files. `progress` is told the name of the file and how many of its rows were read.
///
/// # Errors
/// [`InspectError`] with file, row and column if a file cannot be read to its end, or columns cannot be told.
pub fn inspect(
    files: &[InspectedFile],
    options: &InspectOptions<'_>,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Inspection, InspectError> {
    let mut scans: Vec<Scan> = Vec::new();
    for file in files {
        let records = open(file, options)?;
        let columns = resolve(&records, &options.columns, scans.is_empty())?;
        let has_words = scans.iter().any(|scan| scan.columns.label.is_some());
        let mut told = |rows| progress(&file.name, rows);
        scans.push(scan::scan(records, columns, options.tokenizer, !has_words, &mut told)?);
    }
    let meanings = meanings(files, &scans, options)?;
    let tables: Vec<_> = scans.iter().map(|scan| &scan.counts.table).collect();
    let neighbours = Neighbours::find(&tables);
    let compared = |file: usize, is_labelled: bool| Compared {
        rows: &scans[file].counts.table,
        meaning: match is_labelled {
            true => meanings[file].numbers.clone(),
            false => Vec::new(),
        },
    };
    let mut repeats: Vec<Repeats> = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let file = compared(number, true);
        repeats.push(Repeats {
            exact: repeats::equal(&file, &table.exact),
            same: repeats::equal(&file, &table.same),
            near: neighbours.within(number, &file),
        });
    }
    let mut leakage = Vec::new();
    for (from, into) in (0..files.len()).flat_map(|into| (0..into).map(move |from| (from, into))) {
        let same_labels = meanings[from].schema_of == meanings[into].schema_of;
        let found = repeats::leakage(
            (from, &files[from].name, &compared(from, same_labels)),
            (into, &files[into].name, &compared(into, same_labels)),
            &neighbours,
        );
        leakage.extend(found.map(|found| (from, into, found)));
    }
    drop(neighbours);
    let mut examples = Examples::new(files.len());
    for (number, repeats) in repeats.iter_mut().enumerate() {
        repeats.pairs_mut().for_each(|pair| examples.want(number, number, pair));
    }
    for (from, into, leakage) in &mut leakage {
        let pairs = leakage.examples.iter_mut().chain(&mut leakage.near_examples);
        pairs.for_each(|pair| examples.want(*from, *into, pair));
    }
    examples.read(files, options)?;
    for (number, repeats) in repeats.iter_mut().enumerate() {
        repeats.pairs_mut().for_each(|pair| examples.fill(number, number, pair));
    }
    for (from, into, leakage) in &mut leakage {
        let pairs = leakage.examples.iter_mut().chain(&mut leakage.near_examples);
        pairs.for_each(|pair| examples.fill(*from, *into, pair));
    }
    let reports = files.iter().zip(scans).zip(meanings).zip(repeats);
    let mut inspection = Inspection {
        findings: Vec::new(),
        files: reports
            .map(|(((file, scan), meaning), repeats)| report(file, scan, meaning, repeats, options))
            .collect(),
        leakage: leakage.into_iter().map(|(.., leakage)| leakage).collect(),
    };
    inspection.findings = findings::findings(&inspection);
    Ok(inspection)
}

fn open(file: &InspectedFile, options: &InspectOptions<'_>) -> Result<Records, DataError> {
    let read = ReadOptions {
        split: file.split.clone(),
        ..options.read.clone()
    };
    Records::open(&file.path, &read)
}

/// The columns of a file. Only the first must have the label column that was named.
fn resolve(records: &Records, request: &ColumnRequest, is_first: bool) -> Result<FoundColumns, DataError> {
    match request.resolve_if_labelled(records) {
        Err(DataError::UnknownColumn { role: "label", .. }) if !is_first => {
            let unlabelled = ColumnRequest {
                label: Vec::new(),
                ..request.clone()
            };
            let found = unlabelled.resolve_if_labelled(records)?;
            Ok(FoundColumns { label: None, ..found })
        }
        found => found,
    }
}

fn report(
    file: &InspectedFile,
    scan: Scan,
    meaning: Meaning,
    repeats: Repeats,
    options: &InspectOptions<'_>,
) -> FileReport {
    let Scan {
        records,
        columns,
        counts,
    } = scan;
    let [surplus_fields, rejoined] = records.repaired_rows();
    let roles = scan::roles(&columns, records.columns().len());
    let Counts {
        rows_read,
        missing_text,
        missing_label,
        mut untrimmed_labels,
        table,
        labels,
        columns: tallies,
        characters,
        tokens,
        traits,
        scripts,
        words,
        positions,
        sizes,
    } = counts;
    let is_numeric = meaning
        .schema
        .as_ref()
        .is_some_and(|schema| schema.task == Task::Regression)
        || labels.labels.len() > columns::MOST_LABELS;
    let label_report = meaning
        .schema
        .as_ref()
        .filter(|schema| options.task.is_some() || can_be_labels(schema, rows_read - missing_label))
        .map(|schema| labels_of(schema, &meaning.targets, &labels));
    let ids: Vec<Vec<u32>> = meaning
        .targets
        .iter()
        .map(|target| target.as_ref().map_or(Vec::new(), |target| target.ids().to_vec()))
        .collect();
    let vocabulary = match (words, &meaning.schema, &label_report) {
        (Some(words), Some(schema), Some(labels)) if schema.task != Task::Regression => {
            let mut vocabulary = words.report(&schema.names, &ids);
            let rows_of = |label: &LabelWords| {
                let share = labels.shares.iter().find(|share| share.label == label.label);
                std::cmp::Reverse(share.map_or(0, |share| share.rows))
            };
            if vocabulary.len() > vocabulary::MOST_LABELS {
                vocabulary.sort_by_key(rows_of);
                vocabulary.truncate(vocabulary::MOST_LABELS);
            }
            vocabulary
        }
        _ => Vec::new(),
    };
    let unknown = labels
        .labels
        .iter()
        .zip(&meaning.targets)
        .zip(labels.rows.iter().zip(&labels.first_row));
    let unknown = unknown.filter(|((_, target), _)| target.is_none() && label_report.is_some());
    let tells = |sample: columns::NumberSample| match label_report {
        Some(_) => sample.tells(is_numeric),
        None => None,
    };
    let names = records.columns();
    let column_reports = tallies.into_iter().zip(names).zip(roles).map(|((tally, name), role)| {
        let mut report = tally.report(name, role, is_numeric);
        report.tells = report.tells.filter(|_| label_report.is_some());
        report
    });
    FileReport {
        name: file.name.clone(),
        path: records.path().to_owned(),
        format: records.format().clone(),
        rows: rows_read,
        texts: table.len() as u64,
        missing_text,
        missing_label: if columns.label.is_some() { missing_label } else { 0 },
        columns: column_reports.collect(),
        label_separator: meaning.separator,
        surplus_fields: records.surplus_fields(),
        rejoined_rows: records.rejoined_rows(),
        ignored_keys: records.ignored_keys(),
        untrimmed_labels: untrimmed_labels.len() as u64,
        similar_labels: similar(&labels),
        unknown_labels: unknown
            .map(|((label, _), (rows, first_row))| UnknownLabel {
                label: label.shown(),
                rows: *rows,
                first_row: *first_row,
            })
            .collect(),
        characters: characters.distribution(),
        tokens: tokens.and_then(|tokens| token_report(tokens, options.max_tokens)),
        scripts,
        traits: traits.report(),
        repeats,
        position_tells: tells(positions),
        length_tells: tells(sizes),
        vocabulary,
        labels: label_report,
        rows_of: RowsOf {
            surplus_fields,
            rejoined,
            untrimmed_labels: {
                untrimmed_labels.truncate(SHOWN_ROWS);
                untrimmed_labels
            },
        },
    }
}

/// Whether the values of a column can be labels: not if nearly every row has one of its own.
fn can_be_labels(schema: &LabelSchema, rows: u64) -> bool {
    schema.task != Task::SingleLabel || rows < ROWS_TO_JUDGE || (schema.names.len() as u64) * 2 <= rows
}

fn labels_of(schema: &LabelSchema, targets: &[Option<Target>], labels: &DistinctLabels) -> LabelReport {
    let known = targets.iter().zip(&labels.rows);
    let known = known.filter_map(|(target, rows)| Some((target.as_ref()?, *rows)));
    match schema.task {
        Task::Regression => {
            let values = known.filter_map(|(target, rows)| match target {
                Target::Value(value) => Some((f64::from(*value), rows)),
                _ => None,
            });
            labels::numbers(schema, &values.collect::<Vec<_>>())
        }
        Task::SingleLabel | Task::MultiLabel => {
            let sets = known.map(|(target, rows)| (target.ids(), rows));
            labels::classes(schema, &sets.collect::<Vec<_>>())
        }
    }
}

fn token_report(tally: scan::TokenTally, max_tokens: Option<usize>) -> Option<TokenReport> {
    let mut pieces: Vec<(String, u64)> = tally.unknown_pieces.into_iter().collect();
    pieces.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
    pieces.truncate(SHOWN_UNKNOWN);
    let limit = max_tokens.and_then(|limit| u32::try_from(limit).ok());
    Some(TokenReport {
        lengths: tally.lengths.distribution()?,
        truncation: tally.lengths.truncation(limit)?,
        unknown: tally.unknown as f64 / tally.tokens.max(1) as f64,
        texts_with_unknown: tally.texts_with_unknown,
        unknown_pieces: pieces,
    })
}

/// What a file is called that is no part of a known kind: its name without the folders.
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}
