//! Duplicates and contradictions among examples: found exactly, dropped as asked, always counted.
//!
//! Two examples are the same text if text and pair agree after trimming blanks. Changing the text itself is not done here.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::dataset::label_counts;
use super::{Dataset, Example};

/// Pairs of rows that a report names.
const SHOWN_PAIRS: usize = 5;

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
    /// Rows that repeat an earlier one in text, pair and label.
    pub duplicates: u64,
    /// Up to five pairs (first row, repeated row).
    pub duplicate_rows: Vec<(u64, u64)>,
    /// Texts that occur with more than one label.
    pub conflicting_texts: u64,
    /// Rows of those texts, repeated ones not counted.
    pub conflicting_rows: u64,
    /// Up to five pairs (first row, first row of that text with another label).
    pub conflict_rows: Vec<(u64, u64)>,
    /// Rows removed in all.
    pub dropped: u64,
}

/// Finds repeated and contradicting rows, drops what the options say and keeps `label_counts` of the report in step.
pub fn clean(dataset: &mut Dataset, options: &CleanOptions) -> CleanReport {
    let mut report = CleanReport::default();
    let examples = &dataset.examples;
    let mut keep = vec![true; examples.len()];
    for rows in same_texts(examples) {
        // Positions of the first row with each label.
        let mut distinct: Vec<usize> = Vec::new();
        for position in &rows {
            match distinct
                .iter()
                .find(|first| examples[**first].target == examples[*position].target)
            {
                Some(first) => {
                    report.duplicates += 1;
                    remember(&mut report.duplicate_rows, &examples[*first], &examples[*position]);
                    keep[*position] = !options.drop_duplicates;
                }
                None => distinct.push(*position),
            }
        }
        if let [first, second, ..] = distinct.as_slice() {
            report.conflicting_texts += 1;
            report.conflicting_rows += distinct.len() as u64;
            remember(&mut report.conflict_rows, &examples[*first], &examples[*second]);
            if options.conflicts == ConflictPolicy::Drop {
                rows.iter().for_each(|position| keep[*position] = false);
            }
        }
    }
    let mut kept = keep.into_iter();
    let before = dataset.examples.len();
    dataset.examples.retain(|_| kept.next().unwrap_or(true));
    report.dropped = (before - dataset.examples.len()) as u64;
    dataset.report.label_counts = label_counts(&dataset.examples, &dataset.schema);
    report
}

fn remember(pairs: &mut Vec<(u64, u64)>, first: &Example, second: &Example) {
    if pairs.len() < SHOWN_PAIRS {
        pairs.push((first.id, second.id));
    }
}

/// Positions of the examples of each text that occurs more than once, in order of first occurrence.
fn same_texts(examples: &[Example]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<(&str, Option<&str>), usize> = HashMap::with_capacity(examples.len());
    for (position, example) in examples.iter().enumerate() {
        let key = (example.text.trim(), example.text_pair.as_deref().map(str::trim));
        let group = *group_of.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(position);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::super::{ColumnRequest, ReadOptions, SchemaSource};
    use super::*;

    const CONTENT: &str = "text,label\na,0\nb,1\n a ,0\na,1\na,0\nc,1\nb,1\n";

    fn check(options: &CleanOptions, kept: &[u64], counts: [u64; 2]) -> CleanReport {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, CONTENT).unwrap();
        let infer = SchemaSource::Infer { task: None };
        let mut dataset = Dataset::load(&path, &ReadOptions::default(), &ColumnRequest::default(), infer).unwrap();
        let report = clean(&mut dataset, options);
        let ids: Vec<u64> = dataset.examples.iter().map(|example| example.id).collect();
        assert_eq!(ids, kept);
        assert_eq!(report.dropped, 7 - kept.len() as u64);
        let seen: Vec<u64> = dataset.report.label_counts.iter().map(|(_, count)| *count).collect();
        assert_eq!(seen, counts);
        report
    }

    #[test]
    fn repeats_go_and_contradictions_follow_the_option() {
        let report = check(&CleanOptions::default(), &[1, 2, 4, 6], [1, 3]);
        assert_eq!(
            (report.duplicates, report.duplicate_rows),
            (3, vec![(1, 3), (1, 5), (2, 7)])
        );
        assert_eq!((report.conflicting_texts, report.conflicting_rows), (1, 2));
        assert_eq!(report.conflict_rows, [(1, 4)]);
        check(
            &CleanOptions {
                conflicts: ConflictPolicy::Drop,
                ..CleanOptions::default()
            },
            &[2, 6],
            [0, 2],
        );
        check(
            &CleanOptions {
                drop_duplicates: false,
                conflicts: ConflictPolicy::Drop,
            },
            &[2, 6, 7],
            [0, 3],
        );
        check(
            &CleanOptions {
                drop_duplicates: false,
                conflicts: ConflictPolicy::Keep,
            },
            &[1, 2, 3, 4, 5, 6, 7],
            [3, 4],
        );
    }
}
