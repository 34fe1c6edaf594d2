//! What can be wrong with data: each message says where, what was found, what was expected, and ends in a hint.

use std::fmt;
use std::path::Path;

use super::encoding::Undecodable;
use crate::hub::HubError;

/// Where in a file something is wrong. Shown as `train.csv:5: row 4, column `label``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: String,
    /// 1-based physical line of the decompressed file on which the row starts; 0 where there are no lines.
    pub line: u64,
    /// 1-based data row; the header does not count.
    pub row: u64,
    /// The column, where a single one is meant.
    pub column: Option<String>,
}

impl Place {
    /// Boxed, since errors should be small to return.
    pub(crate) fn new(path: &str, line: u64, row: u64, column: Option<String>) -> Box<Self> {
        Box::new(Self {
            path: path.to_owned(),
            line,
            row,
            column,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: row {}", self.path, self.row)?,
            line => write!(formatter, "{}:{line}: row {}", self.path, self.row)?,
        }
        match &self.column {
            Some(column) => write!(formatter, ", column `{column}`"),
            None => Ok(()),
        }
    }
}

/// Why data could not be read, understood or split.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused, or compressed data is damaged.
    #[error("{path}: {source}\nhint: {hint}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// There is nothing in the file.
    #[error(
        "{path}: the file is empty, expected rows of text\nhint: check that it was written or downloaded completely"
    )]
    Empty {
        /// The file.
        path: String,
    },
    /// The bytes are not text.
    #[error("{path}: the content seems to be {found}, expected UTF-8 text\nhint: {hint}")]
    NotText {
        /// The file.
        path: String,
        /// What the first bytes look like.
        found: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A parquet file that cannot be read.
    #[error(
        "{path}: not parquet that could be read: {found}\nhint: fetch the file again, or write it with the compression snappy, gzip or zstd"
    )]
    Parquet {
        /// The file.
        path: String,
        /// What the reader says.
        found: String,
    },
    /// A workbook that cannot be read.
    #[error(
        "{path}: not an xlsx workbook that could be read: {found}\nhint: open it and save it again as xlsx, or save the sheet as csv (UTF-8)"
    )]
    Workbook {
        /// The file.
        path: String,
        /// What the reader says.
        found: String,
    },
    /// A sheet that there is not, or several of which none is named.
    #[error("{path}: {problem}; the sheets are {sheets}\nhint: name one of them: `{example}`")]
    Sheet {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
        /// The sheets there are.
        sheets: String,
        /// How to name one.
        example: String,
    },
    /// A file of a table that has other columns.
    #[error("{path}: the columns are `{found}`, those of the first file `{expected}`\nhint: name the files one by one")]
    OtherColumns {
        /// The file.
        path: String,
        /// Its columns.
        found: String,
        /// Those of the first file.
        expected: String,
    },
    /// A split of several files that are not read together.
    #[error(
        "{path}: the split has {files} files, and only those of parquet are read together\nhint: name one of them: {folder}/FILE"
    )]
    SeveralFiles {
        /// The dataset.
        path: String,
        /// How many.
        files: usize,
        /// Where they are.
        folder: String,
    },
    /// A dataset of the hub.
    #[error(transparent)]
    Hub(#[from] Box<HubError>),
    /// The name of an encoding that there is not.
    #[error("{path}: unknown encoding `{found}`\nhint: for example `utf-8`, `cp949`, `utf-16le` or `windows-1252`")]
    UnknownEncoding {
        /// The file.
        path: String,
        /// The name asked for.
        found: String,
    },
    /// The text is in another encoding, or damaged.
    #[error(
        "{path}:{line}: byte {byte:#04x} at offset {offset} is not UTF-8\nhint: correct the damaged place, or name the encoding of the file, as in `--set data.encoding=cp949`"
    )]
    NotUtf8 {
        /// The file.
        path: String,
        /// 1-based line of the byte.
        line: u64,
        /// 0-based offset in the decompressed file.
        offset: u64,
        /// The byte.
        byte: u8,
    },
    /// The extension says nothing.
    #[error(
        "{path}: unknown format `{extension}`, expected csv, tsv, txt, json, jsonl or ndjson, each also with .gz or .zst, parquet or xlsx\nhint: rename the file, or name its format"
    )]
    UnknownFormat {
        /// The file.
        path: String,
        /// Its extension.
        extension: String,
    },
    /// A delimiter that cannot be one.
    #[error("{path}: `{found}` cannot separate fields\nhint: use `,`, a tab, `|` or `;`")]
    Delimiter {
        /// The file.
        path: String,
        /// The delimiter asked for.
        found: char,
    },
    /// A row has too many or too few fields.
    #[error("{place}: found {found} {}, expected {expected}\nhint: {hint}", plural(*found, "field"))]
    FieldCount {
        /// Where.
        place: Box<Place>,
        /// Fields of the row.
        found: usize,
        /// Fields of the header, or of the first row.
        expected: usize,
        /// What to do.
        hint: String,
    },
    /// A quoted field has no end.
    #[error(
        "{place}: a `\"` opens a field and is never closed\nhint: double quotes inside quoted fields (`\"\"`), or turn quoting off (`--set data.quoting=false`) if quotes are plain characters here"
    )]
    UnclosedQuote {
        /// Where the row starts.
        place: Box<Place>,
    },
    /// The JSON is malformed.
    #[error("{place}: malformed JSON: {found}\nhint: {hint}")]
    Json {
        /// Where.
        place: Box<Place>,
        /// What the parser said.
        found: String,
        /// What to do.
        hint: String,
    },
    /// A column was named that is not there.
    #[error("{path}: no column `{name}` for the {role}; found {columns}\nhint: {hint}")]
    UnknownColumn {
        /// The file.
        path: String,
        /// What the column is for.
        role: &'static str,
        /// The name asked for.
        name: String,
        /// The columns there are.
        columns: String,
        /// What to do.
        hint: String,
    },
    /// No column has a known name.
    #[error("{path}: cannot tell which column is the {role}; found {columns}\nhint: {hint}")]
    UndetectedColumn {
        /// The file.
        path: String,
        /// What the column is for.
        role: &'static str,
        /// The columns there are.
        columns: String,
        /// What to do.
        hint: String,
    },
    /// Several columns could be meant.
    #[error("{path}: the {role} could be any of {candidates}\nhint: {hint}")]
    AmbiguousColumn {
        /// The file.
        path: String,
        /// What the column is for.
        role: &'static str,
        /// The columns that fit.
        candidates: String,
        /// What to do.
        hint: String,
    },
    /// One column was named for two purposes.
    #[error("{path}: column `{name}` is named for two purposes\nhint: text, text pair and label need a column each")]
    SharedColumn {
        /// The file.
        path: String,
        /// The column.
        name: String,
    },
    /// A text that is none.
    #[error("{place}: found {found}, expected a text\nhint: name another column with `--text NAME`")]
    BadText {
        /// Where.
        place: Box<Place>,
        /// The value.
        found: String,
    },
    /// A label of the wrong kind.
    #[error("{place}: found {found}, expected {expected}\nhint: {hint}")]
    BadLabel {
        /// Where.
        place: Box<Place>,
        /// The value.
        found: String,
        /// What fits the task.
        expected: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A label map that maps nothing.
    #[error(
        "{place}: found {found}, expected a label and its name\nhint: a label map has rows such as `0,negative`, or one name a line for the labels 0, 1, 2, ..."
    )]
    BadLabelMap {
        /// Where in the map.
        place: Box<Place>,
        /// The value.
        found: String,
    },
    /// Labels that the label map lacks.
    #[error(
        "{place}: the label map has no {found}; it has {known}\nhint: add these labels and their names to the map, or correct the rows"
    )]
    UnmappedLabels {
        /// Where in the data the first of them is.
        place: Box<Place>,
        /// All labels that the map lacks.
        found: String,
        /// The labels of the map.
        known: String,
    },
    /// A label that the schema lacks.
    #[error("{place}: label `{found}` is not one of {known}\nhint: {hint}")]
    UnknownLabel {
        /// Where.
        place: Box<Place>,
        /// The label.
        found: String,
        /// The labels there are.
        known: String,
        /// What to do.
        hint: String,
    },
    /// All rows have the same label.
    #[error(
        "{path}: all {rows} labelled rows have the label `{label}`, expected at least two classes\nhint: check the label column `{column}`, or add rows of other classes"
    )]
    SingleClass {
        /// The file.
        path: String,
        /// The label column.
        column: String,
        /// The only label.
        label: String,
        /// Labelled rows.
        rows: usize,
    },
    /// Nearly every row has a label of its own: most likely the wrong column.
    #[error(
        "{path}: column `{column}` has {classes} distinct values in {rows} rows, which does not look like labels\nhint: name another column with `--label NAME`, or name the task (`single_label`, `regression`) if it is right"
    )]
    TooManyClasses {
        /// The file.
        path: String,
        /// The label column.
        column: String,
        /// Distinct values.
        classes: usize,
        /// Labelled rows.
        rows: usize,
    },
    /// No usable row.
    #[error(
        "{path}: no row can be used, of {rows} ({missing_text} without text, {missing_label} without label)\nhint: check the columns `{text}` and `{label}`"
    )]
    NoExamples {
        /// The file.
        path: String,
        /// Rows read.
        rows: u64,
        /// Rows without text.
        missing_text: u64,
        /// Rows without label.
        missing_label: u64,
        /// The text column.
        text: String,
        /// The label column or columns.
        label: String,
    },
    /// Ratios that make no split.
    #[error(
        "split {found:?} is impossible: {reason}\nhint: give fractions for training, validation and test that sum to 1, such as [0.8, 0.1, 0.1]"
    )]
    Ratios {
        /// The ratios.
        found: [f64; 3],
        /// What is wrong with them.
        reason: &'static str,
    },
    /// Too little data for a part.
    #[error(
        "the {part} part ({ratio} of {units} {unit}) would be empty\nhint: give it a larger share, add data, or set its share to 0"
    )]
    EmptyPart {
        /// The part.
        part: &'static str,
        /// Its share.
        ratio: f64,
        /// How many things there are to divide.
        units: usize,
        /// What they are: examples or groups.
        unit: &'static str,
    },
    /// Groups and examples differ in number.
    #[error("{groups} group numbers for {examples} examples\nhint: give one for each")]
    Groups {
        /// Group numbers given.
        groups: usize,
        /// Examples given.
        examples: usize,
    },
}

impl From<HubError> for DataError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl DataError {
    /// Wraps an error of the system, with the remedy that fits its kind.
    pub(super) fn io(path: &str, source: std::io::Error) -> Self {
        let is_undecodable = source.get_ref().is_some_and(|error| error.is::<Undecodable>());
        let hint = match source.kind() {
            _ if is_undecodable => {
                "the file is damaged, or in another encoding: name it, as in `--set data.encoding=cp949`"
            }
            std::io::ErrorKind::NotFound => "check the path; relative paths start from the current folder",
            std::io::ErrorKind::PermissionDenied => "check who may read the file",
            std::io::ErrorKind::IsADirectory => "name a file inside the folder",
            // The last one is zstd's.
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::InvalidData
            | std::io::ErrorKind::InvalidInput
            | std::io::ErrorKind::Other => "the compressed data is damaged or cut off; fetch the file again",
            _ => "try again, or copy the file to a local disk",
        };
        Self::Io {
            path: path.to_owned(),
            source,
            hint,
        }
    }
}

/// `noun`, with an `s` unless there is one of it.
pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        noun.to_owned()
    } else {
        format!("{noun}s")
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Names in backquotes, at most twenty.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let total = names.len();
    let mut list = names
        .take(SHOWN)
        .map(|name| format!("`{}`", shortened(name)))
        .collect::<Vec<_>>()
        .join(", ");
    if total > SHOWN {
        list.push_str(&format!(" and {} more", total - SHOWN));
    }
    list
}

/// The start of a value that may be a whole review.
pub(crate) fn shortened(value: &str) -> String {
    const SHOWN: usize = 60;
    let mut characters = value.chars();
    let mut start: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}

/// The name nearest to `found`, if one is near enough to be a slip of the keyboard.
pub(super) fn nearest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = found.to_lowercase();
    names
        .map(|name| (strsim::jaro_winkler(&folded, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_only() {
        let names = ["positive", "negative", "중립"];
        assert_eq!(nearest("positve", names.into_iter()), Some("positive"));
        assert_eq!(nearest("Negative", names.into_iter()), Some("negative"));
        assert_eq!(nearest("xyz", names.into_iter()), None);
    }

    #[test]
    fn lists_are_bounded() {
        let names: Vec<String> = (0..23).map(|number| number.to_string()).collect();
        let list = listed(names.iter().map(String::as_str));
        assert!(list.starts_with("`0`, `1`"), "{list}");
        assert!(list.ends_with("`19` and 3 more"), "{list}");
        assert_eq!(shortened(&"가".repeat(70)).chars().count(), 61);
    }
}
