//! Which columns hold the text, its pair and the label.

use serde::{Deserialize, Serialize};

use super::{DataError, Record, Records};

/// The columns asked for by name; what is absent is detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnRequest {
    /// The column of the text.
    pub text: Option<String>,
    /// The column of the second text of a pair. Detected only when `text` is.
    pub text_pair: Option<String>,
    /// Empty: detect; one name: that column; several: one 0/1 column for each label.
    pub label: Vec<String>,
    /// What separates the labels of one row, such as `,` in `2,3`. Default: detected.
    pub label_separator: Option<String>,
}

/// Indices of the columns of a labelled file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Index of the text.
    pub text: usize,
    /// Index of the second text.
    pub text_pair: Option<usize>,
    /// Where the labels are.
    pub label: LabelColumns,
}

/// Where the labels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelColumns {
    /// In one column.
    Single(usize),
    /// One 0/1 column for each label; the columns' names are the labels'.
    Indicators(Vec<usize>),
}

/// Indices of the columns of a file to predict on: no label needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputColumns {
    /// Index of the text.
    pub text: usize,
    /// Index of the second text.
    pub text_pair: Option<usize>,
}

/// What a model reads of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
}

impl ColumnRequest {
    /// Finds text, pair and label among the columns of `records`.
    ///
    /// # Errors
    /// [`DataError`] if a named column is absent, or detection finds none or several.
    pub fn resolve(&self, _records: &Records) -> Result<Columns, DataError> {
        todo!()
    }

    /// As [`ColumnRequest::resolve`] without a label; the only column of a file is its text whatever its name.
    ///
    /// # Errors
    /// As [`ColumnRequest::resolve`].
    pub fn resolve_inputs(&self, _records: &Records) -> Result<InputColumns, DataError> {
        todo!()
    }
}

impl InputColumns {
    /// The text (and pair) of a row; `None` if one of them is missing: null, empty or only blanks.
    ///
    /// # Errors
    /// [`DataError`] if a text is a list or an object.
    pub fn read(&self, _record: &Record, _records: &Records) -> Result<Option<Input>, DataError> {
        todo!()
    }
}
