//! What the columns of a file hold, and how much each one tells of the label.
//!
//! A column that tells the label is a trap: what was made of the label, or is not known when a new text comes. Each row's label is guessed
//! from the *other* rows of the same value, so that an identifier, which every row has for itself, tells nothing.

use std::collections::HashMap;

use ahash::RandomState;
use serde::Serialize;
use serde_json::Value;

use super::sketch::split_mix;
use crate::data::shortened;

/// Different values that are followed, in all columns together.
const MOST_VALUES: usize = 1 << 20;
/// Different values that are followed in one column.
const MOST_VALUES_OF_COLUMN: usize = 1 << 16;
/// Numbers of a column that are kept, drawn evenly from all of it.
const SAMPLE: usize = 8192;
/// Parts of about equal size into which numbers are cut to see whether their size tells the label.
const PARTS: usize = 32;
/// A column of numbers with more different values than this is also looked at by size.
const MANY_VALUES: usize = 100;
/// Values that are shown of a column.
const SHOWN_VALUES: usize = 3;
/// Different labels beyond which they are only looked at as numbers.
pub(super) const MOST_LABELS: usize = 1000;

/// What a column is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// The text.
    Text,
    /// The second text.
    TextPair,
    /// The label, or one of several label columns.
    Label,
    /// Rows of equal values belong together.
    Group,
    /// Nothing.
    Unused,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// `true` and `false`.
    Boolean,
    /// Anything else, or several kinds.
    Text,
    /// Lists.
    List,
    /// There are none.
    Empty,
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// What it is used for.
    pub role: ColumnRole,
    /// What its values are.
    pub kind: ColumnKind,
    /// Rows without a value.
    pub missing: u64,
    /// Different values.
    pub distinct: u64,
    /// Whether there are more than could be counted.
    pub distinct_is_at_least: bool,
    /// The first row with a value.
    pub first_row: Option<u64>,
    /// Up to three values.
    pub examples: Vec<String>,
    /// Smallest and largest, of numbers.
    pub range: Option<[f64; 2]>,
    /// How much it tells of the label, of a column that is not used.
    pub tells: Option<Tells>,
}

/// How much something tells of the label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tells {
    /// Share of what there is to know of the label, from 0 to 1: of its entropy, or of its variance where it is a number. Each row is
    /// judged by the others.
    pub share: f64,
    /// Rows whose label is the most frequent one among the other rows of the same value, as a share. None for numbers.
    pub accuracy: Option<f64>,
    /// Share of the most frequent label of all. None for numbers.
    pub chance: Option<f64>,
}

/// What is counted of a column.
pub(super) struct ColumnTally {
    rows: u64,
    missing: u64,
    kinds: [u64; 4],
    most: usize,
    groups: HashMap<u64, Group, RandomState>,
    is_beyond: bool,
    first_row: Option<u64>,
    examples: Vec<String>,
    range: Option<[f64; 2]>,
    sizes: NumberSample,
}

/// A value, as columns count it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    hash: u64,
    kind: ColumnKind,
    number: Option<f64>,
}

impl Cell {
    /// `None` for a missing value.
    pub fn of(value: &Value, hasher: &RandomState) -> Option<Self> {
        let shown;
        let (text, kind) = match value {
            Value::Null => return None,
            Value::String(text) => (text.trim(), ColumnKind::Text),
            Value::Bool(value) => (if *value { "true" } else { "false" }, ColumnKind::Boolean),
            Value::Array(_) | Value::Object(_) => {
                shown = value.to_string();
                (shown.as_str(), ColumnKind::List)
            }
            Value::Number(_) => {
                shown = value.to_string();
                (shown.as_str(), ColumnKind::Text)
            }
        };
        if text.is_empty() || text.eq_ignore_ascii_case("nan") {
            return None;
        }
        let starts_as_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        let number: Option<f64> = (kind == ColumnKind::Text && starts_as_number)
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number: &f64| number.is_finite());
        let kind = match number {
            Some(number) if number.fract() == 0.0 => ColumnKind::Integer,
            Some(_) => ColumnKind::Number,
            None if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => ColumnKind::Boolean,
            None => kind,
        };
        Some(Self {
            hash: hasher.hash_one(text),
            kind,
            number,
        })
    }
}

/// The label of a row, as columns count it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowLabel {
    /// Which of the different labels.
    pub index: u32,
    /// The number that it is.
    pub number: Option<f64>,
}

/// Labels that go with a value.
#[derive(Clone, Debug, Default)]
struct Group {
    labels: Vec<(u32, u32)>,
    rows: f64,
    sum: f64,
    squares: f64,
}

impl Group {
    fn add(&mut self, label: Option<RowLabel>) {
        let Some(RowLabel { index, number }) = label else {
            return;
        };
        self.rows += 1.0;
        let number = number.unwrap_or(0.0);
        self.sum += number;
        self.squares += number * number;
        if (index as usize) < MOST_LABELS {
            match self.labels.iter_mut().find(|(known, _)| *known == index) {
                Some((_, count)) => *count += 1,
                None => self.labels.push((index, 1)),
            }
        }
    }
}

/// Numbers, each with the label of its row, drawn evenly (Vitter 1985, algorithm R, <https://doi.org/10.1145/3147.3165>).
#[derive(Default)]
pub(super) struct NumberSample {
    seen: u64,
    kept: Vec<(f64, RowLabel)>,
}

impl NumberSample {
    pub fn add(&mut self, number: f64, label: Option<RowLabel>) {
        let Some(label) = label else { return };
        self.seen += 1;
        if self.kept.len() < SAMPLE {
            self.kept.push((number, label));
            return;
        }
        // Any even draw will do, as long as it is the same each time.
        let place = split_mix(self.seen) % self.seen;
        if let Some(kept) = self.kept.get_mut(place as usize) {
            *kept = (number, label);
        }
    }

    /// How much the size of the numbers tells.
    pub fn tells(mut self, is_numeric: bool) -> Option<Tells> {
        self.kept.sort_by(|one, other| one.0.total_cmp(&other.0));
        let size = self.kept.len().div_ceil(PARTS).max(1);
        let mut groups: Vec<Group> = Vec::new();
        let mut last = None;
        for (place, (number, label)) in self.kept.iter().enumerate() {
            // Equal numbers stay together.
            if place / size >= groups.len() && last != Some(*number) || groups.is_empty() {
                groups.push(Group::default());
            }
            last = Some(*number);
            if let Some(group) = groups.last_mut() {
                group.add(Some(*label));
            }
        }
        tells(&groups.iter().collect::<Vec<_>>(), is_numeric)
    }
}

impl ColumnTally {
    /// For one of so many columns.
    pub fn new(columns: usize) -> Self {
        Self {
            rows: 0,
            missing: 0,
            kinds: [0; 4],
            most: (MOST_VALUES / columns.max(1)).clamp(1024, MOST_VALUES_OF_COLUMN),
            groups: HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4)),
            is_beyond: false,
            first_row: None,
            examples: Vec::new(),
            range: None,
            sizes: NumberSample::default(),
        }
    }

    pub fn add(&mut self, value: &Value, cell: Option<Cell>, label: Option<RowLabel>) {
        self.rows += 1;
        let Some(cell) = cell else {
            self.missing += 1;
            return;
        };
        self.first_row.get_or_insert(self.rows);
        let kind = match cell.kind {
            ColumnKind::Integer => 0,
            ColumnKind::Number => 1,
            ColumnKind::Boolean => 2,
            ColumnKind::List => 3,
            ColumnKind::Text | ColumnKind::Empty => 4,
        };
        if let Some(count) = self.kinds.get_mut(kind) {
            *count += 1;
        }
        if let Some(number) = cell.number {
            let [min, max] = self.range.unwrap_or([number; 2]);
            self.range = Some([min.min(number), max.max(number)]);
            self.sizes.add(number, label);
        }
        if let Some(group) = self.groups.get_mut(&cell.hash) {
            group.add(label);
        } else if self.groups.len() < self.most {
            if self.examples.len() < SHOWN_VALUES {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), |text| text.trim().to_owned());
                self.examples.push(shortened(&text));
            }
            let mut group = Group::default();
            group.add(label);
            self.groups.insert(cell.hash, group);
        } else {
            self.is_beyond = true;
        }
    }

    pub fn report(self, name: &str, role: ColumnRole, is_numeric: bool) -> ColumnReport {
        let present = self.rows - self.missing;
        let [integers, numbers, booleans, lists] = self.kinds;
        let kind = match () {
            () if present == 0 => ColumnKind::Empty,
            () if integers == present => ColumnKind::Integer,
            () if integers + numbers == present => ColumnKind::Number,
            () if booleans == present => ColumnKind::Boolean,
            () if lists == present => ColumnKind::List,
            () => ColumnKind::Text,
        };
        let is_number = matches!(kind, ColumnKind::Integer | ColumnKind::Number);
        let tells = (role == ColumnRole::Unused && self.groups.len() > 1).then(|| {
            let by_value = tells(&self.groups.values().collect::<Vec<_>>(), is_numeric);
            let by_size = (is_number && self.groups.len() > MANY_VALUES).then(|| self.sizes.tells(is_numeric));
            let candidates = [by_value, by_size.flatten()].into_iter().flatten();
            candidates.max_by(|one, other| one.share.total_cmp(&other.share))
        });
        ColumnReport {
            name: name.to_owned(),
            role,
            kind,
            missing: self.missing,
            distinct: self.groups.len() as u64,
            distinct_is_at_least: self.is_beyond,
            first_row: self.first_row,
            examples: self.examples,
            range: self.range.filter(|_| is_number),
            tells: tells.flatten(),
        }
    }
}

/// How much it tells of a row's label in which group it is. `None` if there is nothing to know.
fn tells(groups: &[&Group], is_numeric: bool) -> Option<Tells> {
    let rows: f64 = groups.iter().map(|group| group.rows).sum();
    if is_numeric {
        return tells_number(groups, rows);
    }
    let mut totals = HashMap::<u32, f64>::new();
    for (label, count) in groups.iter().flat_map(|group| &group.labels) {
        *totals.entry(*label).or_default() += f64::from(*count);
    }
    let rows: f64 = rows.min(totals.values().sum());
    let (most_frequent, chance) = totals
        .iter()
        .map(|(label, count)| (*label, count / rows))
        .max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)))?;
    let entropy: f64 = totals.values().map(|count| -count * (count / rows).ln()).sum();
    if entropy <= 0.0 {
        return None;
    }
    let (mut left, mut right) = (0.0, 0.0);
    for group in groups {
        let all: f64 = group.labels.iter().map(|(_, count)| f64::from(*count)).sum();
        for (label, count) in &group.labels {
            let (own, others) = (f64::from(*count), all - 1.0);
            // The other rows of the group, and one row that is like all.
            let probability = (own - 1.0 + totals[label] / rows) / (others + 1.0);
            left -= own * probability.ln();
            let rival = group.labels.iter().filter(|(other, _)| other != label);
            let rival = rival.map(|(_, count)| f64::from(*count)).fold(0.0, f64::max);
            let is_guessed = match own - 1.0 {
                0.0 if rival == 0.0 => *label == most_frequent,
                remaining => remaining > rival,
            };
            right += if is_guessed { own } else { 0.0 };
        }
    }
    Some(Tells {
        share: (1.0 - left / entropy).max(0.0),
        accuracy: Some(right / rows),
        chance: Some(chance),
    })
}

fn tells_number(groups: &[&Group], rows: f64) -> Option<Tells> {
    let (sum, squares) = groups.iter().fold((0.0, 0.0), |(sum, squares), group| {
        (sum + group.sum, squares + group.squares)
    });
    let mean = sum / rows;
    let variation = squares - rows * mean * mean;
    if variation.is_nan() || variation <= 1e-9 * squares {
        return None;
    }
    // The distance from the mean of the others is n / (n - 1) times that from the mean of all n.
    let left = groups.iter().filter(|group| group.rows > 0.0).map(|group| {
        let own = group.sum / group.rows;
        match group.rows {
            1.0 => (own - mean).powi(2),
            rows => (group.squares - rows * own * own).max(0.0) * (rows / (rows - 1.0)).powi(2),
        }
    });
    Some(Tells {
        share: (1.0 - left.sum::<f64>() / variation).max(0.0),
        accuracy: None,
        chance: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: impl Iterator<Item = (Value, u32)>, is_numeric: bool) -> ColumnReport {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let mut tally = ColumnTally::new(3);
        for (value, label) in rows {
            let label = RowLabel {
                index: label,
                number: Some(f64::from(label)),
            };
            tally.add(&value, Cell::of(&value, &hasher), Some(label));
        }
        tally.report("x", ColumnRole::Unused, is_numeric)
    }

    fn share(rows: impl Iterator<Item = (Value, u32)>) -> f64 {
        report(rows, false).tells.unwrap().share
    }

    #[test]
    fn values_of_the_label_tell_it_and_identifiers_do_not() {
        let label = |row: u32| row * 7 % 3 % 2;
        let rating = |row: u32| if label(row) == 0 { row % 4 + 1 } else { 9 + row % 2 };
        assert!(share((0..300).map(|row| (rating(row).into(), label(row)))) > 0.95);
        let random = |row: u32| Value::from(row.wrapping_mul(2_654_435_761) >> 8);
        let identifier = share((0..300).map(|row| (random(row), label(row))));
        assert!(identifier < 0.05, "{identifier}");
        let named = share((0..300).map(|row| (format!("id{row}").into(), label(row))));
        assert!(named < 1e-9, "{named}");
        let weekday = share((0..300).map(|row| (Value::from(row / 3 % 7), label(row))));
        assert!(weekday < 0.05, "{weekday}");
        assert_eq!(
            report((0..9).map(|row| (row.into(), 1)), false).tells,
            None,
            "one label only"
        );
    }

    #[test]
    fn numbers_tell_by_their_size() {
        // No number occurs twice, but the small ones have one label.
        let rows = || (0..3000).map(|row| (Value::from(f64::from(row) * 0.37), u32::from(row > 1000)));
        let tells = report(rows(), false).tells.unwrap();
        assert!(tells.share > 0.9 && tells.accuracy.unwrap() > 0.95, "{tells:?}");
        let tells = report(rows().map(|(value, label)| (value, label * 5)), true)
            .tells
            .unwrap();
        assert!(tells.share > 0.9, "{tells:?}");
        let constant = report((0..30).map(|row| (Value::from(row % 2), row % 2)), true);
        assert!(constant.tells.unwrap().share > 0.999);
    }

    #[test]
    fn kinds_and_missing_values() {
        let check = |values: &[&str], kind: ColumnKind, missing: u64, distinct: u64| {
            let report = report(values.iter().map(|value| ((*value).into(), 0)), false);
            assert_eq!(
                (report.kind, report.missing, report.distinct),
                (kind, missing, distinct),
                "{values:?}"
            );
        };
        check(&["1", "2", "-3", "1.0"], ColumnKind::Integer, 0, 4);
        check(&["1.5", "2", ""], ColumnKind::Number, 1, 2);
        check(&["True", "false", "NaN"], ColumnKind::Boolean, 1, 2);
        check(&["1", "one"], ColumnKind::Text, 0, 2);
        check(&["", " "], ColumnKind::Empty, 2, 0);
        let many = report((0..100_000).map(|row| (format!("v{row}").into(), 0)), false);
        assert!(many.distinct_is_at_least && many.distinct == MOST_VALUES_OF_COLUMN as u64);
        assert_eq!(many.examples, ["v0", "v1", "v2"]);
    }
}
