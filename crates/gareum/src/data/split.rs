//! Training, validation and test parts.

use super::{DataError, Example, LabelSchema};

/// How to split.
#[derive(Clone, Debug)]
pub struct SplitOptions<'a> {
    /// Fractions of training, validation and test; they sum to 1, any may be 0.
    pub ratios: [f64; 3],
    /// Keep the share of each label equal in all parts.
    pub stratify: bool,
    /// The same seed gives the same split.
    pub seed: u64,
    /// One group an example: a group is never divided between parts.
    pub groups: Option<&'a [u64]>,
}

/// Indices of the examples of each part, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Training part.
    pub train: Vec<usize>,
    /// Validation part.
    pub validation: Vec<usize>,
    /// Test part.
    pub test: Vec<usize>,
}

/// Splits examples.
///
/// # Errors
/// [`DataError`] if the ratios are impossible or a part would be empty.
pub fn split(_examples: &[Example], _schema: &LabelSchema, _options: &SplitOptions<'_>) -> Result<Split, DataError> {
    todo!()
}
