//! What was found in words: what is wrong or worth knowing, how much of it there is, and what to do. Of labels in `labels.rs`, of columns and
//! of reading the file in `columns.rs`, of texts and of leaks in `texts.rs`.

mod columns;
mod labels;
mod texts;

use serde::Serialize;

pub use columns::GIVES_AWAY;

use super::Inspection;

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
        let first = first.filter(|first| first.name != file.name);
        labels::labels(file, first, &mut list);
        columns::columns(file, first, &mut list);
        texts::repeats(file, &mut list);
        texts::texts(file, first.is_none(), &mut list);
        columns::reading(file, &mut list);
    }
    texts::leakage(inspection, &mut found);
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
