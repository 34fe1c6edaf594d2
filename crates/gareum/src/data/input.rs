//! What a model reads: texts without labels.

use std::path::Path;

use super::{ColumnRequest, DataError, Example, NormalizeStep, ReadOptions, Records, normalize};

/// What a model reads of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The text as it stands in the file.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
}

impl Input {
    /// It with every text changed by these steps.
    pub fn normalized(&self, steps: &[NormalizeStep]) -> Self {
        let changed = |text: &String| normalize(text, steps).into_owned();
        Self {
            text: changed(&self.text),
            text_pair: self.text_pair.as_ref().map(changed),
        }
    }
}

impl From<&Example> for Input {
    fn from(example: &Example) -> Self {
        Self {
            text: example.text.clone(),
            text_pair: example.text_pair.clone(),
        }
    }
}

/// The texts of a file without labels, from the columns that were asked for, or those of `known` if the file has them.
///
/// # Errors
/// [`DataError`] if the file cannot be read or has no such columns.
pub fn read_inputs(
    path: &Path,
    options: &ReadOptions,
    request: ColumnRequest,
    known: &ColumnRequest,
) -> Result<Vec<Input>, DataError> {
    let mut records = Records::open(path, options)?;
    let columns = request.or_known(known, &records).resolve_inputs(&records)?;
    let mut inputs = Vec::new();
    while let Some(record) = records.next().transpose()? {
        inputs.extend(columns.read(&record, &records)?);
    }
    Ok(inputs)
}
