//! Rows of a file, whatever its format, in bounded memory.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DataError;

/// How to read a file; the default decides everything from its name and first bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    /// Whether the first row of a delimited file names the columns. Default: it does; with `false` they are called `0`, `1`, ...
    pub header: Option<bool>,
    /// The character between two fields. Default: by extension and content.
    pub delimiter: Option<char>,
    /// Whether `"` encloses fields. Default: yes for `,`, otherwise decided on the first lines.
    pub quoting: Option<bool>,
    /// The format. Default: by extension.
    pub kind: Option<FileKind>,
}

/// The formats that [`Records`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Fields between delimiters: csv, tsv, txt.
    Delimited,
    /// A JSON array of objects (or objects one after the other).
    Json,
    /// One JSON object a line.
    JsonLines,
    /// One text a line, the only column being `text`.
    Lines,
}

/// What a file turned out to be; its `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFormat {
    /// The format.
    pub kind: FileKind,
    /// Whether the bytes are gzip.
    pub gzip: bool,
    /// Whether a byte order mark was skipped.
    pub byte_order_mark: bool,
    /// The delimiter of a delimited file.
    pub delimiter: Option<char>,
    /// Whether quotes enclose fields, of a delimited file.
    pub quoting: Option<bool>,
    /// Whether the first row was taken for column names, of a delimited file.
    pub header: Option<bool>,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// 1-based number of the data row; the header does not count.
    pub row: u64,
    /// 1-based physical line of the (decompressed) file on which the row starts.
    pub line: u64,
    /// One value a column; always strings in delimited files, null where a JSON object lacks the key.
    pub values: Vec<Value>,
}

/// An iterator over the rows of a file. It ends after the first error.
pub struct Records {
    format: FileFormat,
}

impl Records {
    /// Opens a file.
    ///
    /// # Errors
    /// [`DataError`] if it cannot be read, is empty, binary or of an unknown format.
    pub fn open(_path: &Path, _options: &ReadOptions) -> Result<Self, DataError> {
        todo!()
    }

    /// Each line of `reader` (standard input) is one text in the column `text`; empty lines count, so that outputs stay aligned with inputs.
    pub fn from_lines(_reader: impl std::io::Read + Send + 'static) -> Self {
        todo!()
    }

    /// The column names.
    pub fn columns(&self) -> &[String] {
        todo!()
    }

    /// What the file turned out to be.
    pub fn format(&self) -> &FileFormat {
        &self.format
    }
}

impl Iterator for Records {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
