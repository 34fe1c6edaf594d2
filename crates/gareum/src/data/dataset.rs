//! Examples with their labels.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ColumnRequest, DataError, FileFormat, LabelSchema, ReadOptions, Target, Task};

/// One labelled text.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The 1-based row of the source file.
    pub id: u64,
    /// The text as it stands in the file.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
    /// The label.
    pub target: Target,
}

/// Examples, the meaning of their labels, and how they came about.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The examples in file order.
    pub examples: Vec<Example>,
    /// The labels.
    pub schema: LabelSchema,
    /// What was read and dropped.
    pub report: LoadReport,
}

/// Where the meaning of labels comes from.
#[derive(Clone, Copy, Debug)]
pub enum SchemaSource<'a> {
    /// From the rows themselves (training data). `task`: `None` to infer that too.
    Infer {
        /// The task asked for.
        task: Option<Task>,
    },
    /// From a model or the training data; an unknown label is an error.
    Fixed(&'a LabelSchema),
}

/// What [`Dataset::load`] read and dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// The file.
    pub path: String,
    /// Its format.
    pub format: FileFormat,
    /// Name of the text column.
    pub text_column: String,
    /// Name of the pair's column.
    pub text_pair_column: Option<String>,
    /// Names of the label column or columns.
    pub label_columns: Vec<String>,
    /// Rows in the file.
    pub rows_read: u64,
    /// Rows without a text (or the second of a pair), dropped.
    pub missing_text: u64,
    /// Rows without a label, dropped.
    pub missing_label: u64,
    /// Empty surplus fields at the ends of rows, dropped.
    pub surplus_fields: u64,
    /// Examples of each label, by id; for regression the single entry counts all.
    pub label_counts: Vec<(String, u64)>,
    /// How integer labels became ids, if not trivially.
    pub mapping_note: Option<String>,
}

impl Dataset {
    /// Reads a labelled file whole.
    ///
    /// # Errors
    /// [`DataError`] with file, row and column of the first thing that is wrong.
    pub fn load(
        _path: &Path,
        _read: &ReadOptions,
        _columns: &ColumnRequest,
        _schema: SchemaSource<'_>,
    ) -> Result<Self, DataError> {
        todo!()
    }
}
