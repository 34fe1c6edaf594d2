//! Duplicates and contradictions.

use serde::{Deserialize, Serialize};

use super::Dataset;

/// What to do with rows of the same text and different labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictPolicy {
    /// Keep them all; they are only reported.
    #[default]
    Keep,
    /// Drop every row of such a text.
    Drop,
}

/// Which cleaning steps to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CleanOptions {
    /// Keep only the first of rows equal in text, pair and label. Default true.
    pub drop_duplicates: bool,
    /// Default keep.
    pub conflicts: ConflictPolicy,
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self {
            drop_duplicates: true,
            conflicts: ConflictPolicy::Keep,
        }
    }
}

/// What [`clean`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanReport {
    /// Rows that repeat an earlier one.
    pub duplicates: u64,
    /// Up to five pairs (first row, repeated row).
    pub duplicate_rows: Vec<(u64, u64)>,
    /// Texts that occur with more than one label.
    pub conflicting_texts: u64,
    /// Rows of those texts (after dropping duplicates).
    pub conflicting_rows: u64,
    /// Up to five pairs of rows that contradict each other.
    pub conflict_rows: Vec<(u64, u64)>,
    /// Rows removed in all.
    pub dropped: u64,
}

/// Finds repeated and contradicting rows, and drops what the options say.
pub fn clean(_dataset: &mut Dataset, _options: &CleanOptions) -> CleanReport {
    todo!()
}
