//! How labels are distributed: shares, combinations, values.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::data::{LabelSchema, Task};

/// Labels up to which it is counted how often two of them stand together.
const MOST_TOGETHER: usize = 60;
/// Combinations that are told.
const SHOWN_COMBINATIONS: usize = 10;
/// Bars of a histogram of numbers.
const BINS: usize = 20;
/// Values up to which each has its own bar.
const FEW_VALUES: usize = 40;
/// Rows of a label from which on it is worth a word that it stands with no other.
const ENOUGH: u64 = 20;

/// The labels of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelReport {
    /// What they are good for.
    pub task: Task,
    /// Rows with a label.
    pub rows: u64,
    /// Rows of each label in the order of the ids; empty for numbers.
    pub shares: Vec<LabelShare>,
    /// Most rows of a label divided by fewest; labels without rows do not count.
    pub imbalance: Option<f64>,
    /// Several labels a row: which stand together.
    pub combinations: Option<Combinations>,
    /// What the numbers are like, where they are the labels.
    pub values: Option<Values>,
}

/// Rows of a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelShare {
    /// The label.
    pub label: String,
    /// Rows that have it.
    pub rows: u64,
    /// The same as a share of the rows with a label.
    pub share: f64,
}

/// Which labels stand together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Combinations {
    /// Different sets of labels.
    pub distinct: u64,
    /// Those that one row has.
    pub seen_once: u64,
    /// Rows that have no label at all.
    pub without: u64,
    /// Mean number of labels of a row.
    pub labels_per_row: f64,
    /// Rows by their number of labels, from 0.
    pub rows_by_labels: Vec<u64>,
    /// The most frequent sets of two labels or more.
    pub frequent: Vec<Combination>,
    /// Rows that have both labels, by ids; on the diagonal those that have the one. Only for up to 60 labels.
    pub together: Option<Vec<Vec<u64>>>,
    /// Labels of many rows that always stand alone while others do not.
    pub always_alone: Vec<String>,
}

/// A set of labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Combination {
    /// The labels.
    pub labels: Vec<String>,
    /// Rows that have exactly these.
    pub rows: u64,
}

/// Numbers as labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Values {
    /// Different numbers.
    pub distinct: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Rows by value: of each value where there are few, else in bars of equal width.
    pub histogram: Vec<ValueBin>,
}

/// A bar of a histogram of numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueBin {
    /// The smallest value.
    pub from: f64,
    /// The largest value; excluded, but for the last bar and where it equals `from`.
    pub to: f64,
    /// Rows.
    pub count: u64,
}

/// Rows of each different set of label ids.
pub(super) fn classes(schema: &LabelSchema, sets: &[(&[u32], u64)]) -> LabelReport {
    let rows: u64 = sets.iter().map(|(_, rows)| rows).sum();
    let mut counts = vec![0; schema.names.len()];
    for (ids, rows) in sets {
        ids.iter().for_each(|id| counts[*id as usize] += rows);
    }
    let shares = schema.names.iter().zip(&counts).map(|(label, count)| LabelShare {
        label: label.clone(),
        rows: *count,
        share: *count as f64 / rows.max(1) as f64,
    });
    let present = counts.iter().filter(|count| **count > 0);
    let imbalance = present.clone().max().zip(present.min());
    LabelReport {
        task: schema.task,
        rows,
        shares: shares.collect(),
        imbalance: imbalance.map(|(most, fewest)| *most as f64 / *fewest as f64),
        combinations: (schema.task == Task::MultiLabel).then(|| combinations(schema, sets, &counts, rows)),
        values: None,
    }
}

fn combinations(schema: &LabelSchema, sets: &[(&[u32], u64)], counts: &[u64], rows: u64) -> Combinations {
    let mut merged = HashMap::<&[u32], u64>::new();
    for (ids, rows) in sets {
        *merged.entry(ids).or_default() += rows;
    }
    let mut sets: Vec<(&[u32], u64)> = merged.into_iter().collect();
    sets.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let labels = schema.names.len();
    let mut by_labels = BTreeMap::<usize, u64>::new();
    let mut alone = vec![0; labels];
    let mut together = (labels <= MOST_TOGETHER).then(|| vec![vec![0; labels]; labels]);
    for (ids, rows) in &sets {
        *by_labels.entry(ids.len()).or_default() += rows;
        if let [id] = ids {
            alone[*id as usize] += rows;
        }
        if let Some(together) = &mut together {
            for (one, other) in ids.iter().flat_map(|one| ids.iter().map(move |other| (*one, *other))) {
                together[one as usize][other as usize] += rows;
            }
        }
    }
    let has_several = by_labels.keys().any(|count| *count > 1);
    let is_always_alone = |id: &usize| counts[*id] >= ENOUGH && alone[*id] == counts[*id];
    let frequent = sets.iter().filter(|(ids, _)| ids.len() > 1).take(SHOWN_COMBINATIONS);
    let name = |id: usize| schema.names[id].clone();
    Combinations {
        distinct: sets.len() as u64,
        seen_once: sets.iter().filter(|(_, rows)| *rows == 1).count() as u64,
        without: by_labels.get(&0).copied().unwrap_or(0),
        labels_per_row: counts.iter().sum::<u64>() as f64 / rows.max(1) as f64,
        rows_by_labels: (0..=by_labels.keys().next_back().copied().unwrap_or(0))
            .map(|count| by_labels.get(&count).copied().unwrap_or(0))
            .collect(),
        frequent: frequent
            .map(|(ids, rows)| Combination {
                labels: ids.iter().map(|id| name(*id as usize)).collect(),
                rows: *rows,
            })
            .collect(),
        together,
        always_alone: (0..labels)
            .filter(|id| has_several && is_always_alone(id))
            .map(name)
            .collect(),
    }
}

/// Rows of each different number.
pub(super) fn numbers(schema: &LabelSchema, values: &[(f64, u64)]) -> LabelReport {
    let mut values = values.to_vec();
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    values.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        kept.1 += if is_same { next.1 } else { 0 };
        is_same
    });
    let rows: u64 = values.iter().map(|(_, rows)| rows).sum();
    let weighted = |of: &dyn Fn(f64) -> f64| {
        values
            .iter()
            .map(|(value, rows)| of(*value) * *rows as f64)
            .sum::<f64>()
    };
    let mean = weighted(&|value| value) / rows.max(1) as f64;
    let deviation = (weighted(&|value| (value - mean).powi(2)) / rows.max(1) as f64).sqrt();
    let (min, max) = match (values.first(), values.last()) {
        (Some(first), Some(last)) => (first.0, last.0),
        _ => (0.0, 0.0),
    };
    let histogram = if values.len() <= FEW_VALUES {
        let bar = |(value, count): &(f64, u64)| ValueBin {
            from: *value,
            to: *value,
            count: *count,
        };
        values.iter().map(bar).collect()
    } else {
        let width = (max - min) / BINS as f64;
        let edge = |bin: usize| if bin == BINS { max } else { min + width * bin as f64 };
        let mut bins: Vec<ValueBin> = (0..BINS)
            .map(|bin| ValueBin {
                from: edge(bin),
                to: edge(bin + 1),
                count: 0,
            })
            .collect();
        for (value, rows) in &values {
            bins[(((value - min) / width) as usize).min(BINS - 1)].count += rows;
        }
        bins
    };
    LabelReport {
        task: schema.task,
        rows,
        shares: Vec::new(),
        imbalance: None,
        combinations: None,
        values: Some(Values {
            distinct: values.len() as u64,
            mean,
            deviation,
            min,
            max,
            histogram,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_counted() {
        let schema = LabelSchema {
            task: Task::MultiLabel,
            names: ["a", "b", "none"].map(str::to_owned).to_vec(),
        };
        let sets: [(&[u32], u64); 6] = [(&[0], 5), (&[0, 1], 3), (&[2], 20), (&[1], 1), (&[], 2), (&[0, 1], 1)];
        let report = classes(&schema, &sets);
        assert_eq!(
            report.shares.iter().map(|share| share.rows).collect::<Vec<_>>(),
            [9, 5, 20]
        );
        assert_eq!((report.rows, report.imbalance), (32, Some(4.0)));
        let combinations = report.combinations.unwrap();
        assert_eq!(
            (combinations.distinct, combinations.seen_once, combinations.without),
            (5, 1, 2)
        );
        assert_eq!(combinations.rows_by_labels, [2, 26, 4]);
        assert_eq!(combinations.together.unwrap(), [[9, 4, 0], [4, 5, 0], [0, 0, 20]]);
        assert_eq!(combinations.always_alone, ["none"]);
        assert_eq!((combinations.frequent.len(), combinations.frequent[0].rows), (1, 4));
    }

    #[test]
    fn numbers_have_bars() {
        let schema = LabelSchema::regression();
        let few = numbers(&schema, &[(1.0, 2), (0.0, 1), (1.0, 1)]).values.unwrap();
        assert_eq!((few.distinct, few.mean, few.min, few.max), (2, 0.75, 0.0, 1.0));
        assert_eq!(few.histogram.iter().map(|bin| bin.count).collect::<Vec<_>>(), [1, 3]);
        let many: Vec<(f64, u64)> = (0..=1000).map(|value| (f64::from(value) / 10.0, 1)).collect();
        let many = numbers(&schema, &many).values.unwrap();
        assert_eq!(many.histogram.len(), BINS);
        assert_eq!(many.histogram.iter().map(|bin| bin.count).sum::<u64>(), 1001);
    }
}
