//! Findings about labels.

use super::{FindingKind, List, Severity, percent};
use crate::data::{Task, listed};
use crate::inspect::{ColumnRole, FileReport, LabelReport, LabelShare};

/// Rows of a label below which little can be learnt, and hardly anything be measured.
const FEW_ROWS: u64 = 20;
/// The most frequent label may have so many times the rows of the rarest without a word.
const IMBALANCE: f64 = 10.0;
/// Half the sum of the differences of shares from which on labels are distributed otherwise.
const DRIFT: f64 = 0.1;
/// From this share on rows are called sorted by label, and labels told by the length of the text.
const SORTED: f64 = 0.5;
const LENGTH_TELLS: f64 = 0.3;

/// What is wrong with the labels.
pub(super) fn labels(file: &FileReport, first: Option<&FileReport>, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Problem, Warning};
    list.add(
        Warning,
        Kind::MissingLabel,
        file.missing_label,
        format!("rows without a label: {}", file.missing_label),
        "they are left out of training",
    );
    let Some(labels) = &file.labels else {
        unlabelled(file, list);
        return;
    };
    let present: Vec<_> = labels.shares.iter().filter(|share| share.rows > 0).collect();
    let is_constant_number = labels.values.as_ref().is_some_and(|values| values.distinct == 1);
    if let [only] = present.as_slice()
        && labels.task == Task::SingleLabel
    {
        list.add(
            Problem,
            Kind::ConstantLabel,
            labels.rows,
            format!("all {} labelled rows have the label `{}`", labels.rows, only.label),
            "the column says nothing: it may be a filler; name another with `--label NAME`, or use the file as one without labels",
        );
        return;
    }
    if is_constant_number {
        list.add(
            Problem,
            Kind::ConstantLabel,
            labels.rows,
            format!("all {} labelled rows have the same number as a label", labels.rows),
            "the column says nothing: it may be a filler; name another with `--label NAME`, or use the file as one without labels",
        );
    }
    let is_first = first.is_none();
    names(file, list);
    shares(labels, is_first, list);
    combinations(labels, list);
    if let Some(first) = first {
        drift(labels, first, list);
    }
    if is_first {
        tells(file, list);
    }
}

/// Why there are no labels.
fn unlabelled(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Problem};
    let label_columns: Vec<&str> = file
        .columns
        .iter()
        .filter(|column| column.role == ColumnRole::Label)
        .map(|column| column.name.as_str())
        .collect();
    match label_columns.as_slice() {
        [] => list.add(
            Note,
            Kind::NoLabel,
            1,
            "no column was recognised as the label, only texts were looked at".to_owned(),
            "name it with `--label NAME` if there is one",
        ),
        columns => {
            let distinct: u64 = file
                .columns
                .iter()
                .filter(|c| c.role == ColumnRole::Label)
                .map(|c| c.distinct)
                .sum();
            list.add(
                if file.rows > file.missing_label { Problem } else { Note },
                Kind::NotLabels,
                1,
                match file.rows == file.missing_label {
                    true => format!("the label column `{}` is empty", columns.join("`, `")),
                    false => format!(
                        "column `{}` has {distinct} different values in {} rows, which does not look like labels",
                        columns.join("`, `"),
                        file.rows - file.missing_label
                    ),
                },
                "name another column with `--label NAME`",
            )
        }
    };
}

/// How labels are written.
fn names(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Problem, Warning};
    let unknown: u64 = file.unknown_labels.iter().map(|label| label.rows).sum();
    let names = listed(file.unknown_labels.iter().map(|label| label.label.as_str()));
    list.add(
        Problem,
        Kind::UnknownLabels,
        unknown,
        format!("rows whose label is not among those that are known: {unknown} ({names})"),
        "correct them, add them to the label map, or add such rows to the first file",
    )
    .rows(
        Kind::UnknownLabels,
        file.unknown_labels.iter().map(|label| label.first_row),
    );
    for group in &file.similar_labels {
        let names = listed(group.iter().map(String::as_str));
        list.add(
            Warning,
            Kind::SimilarLabels,
            group.len() as u64,
            format!("labels that differ in case or blanks only: {names}"),
            "they count as different labels; write them alike, or join them with a label map",
        );
    }
    list.add(
        Note,
        Kind::UntrimmedLabels,
        file.untrimmed_labels,
        format!("labels with blanks around them: {}", file.untrimmed_labels),
        "the blanks are left out",
    )
    .rows(Kind::UntrimmedLabels, file.rows_of.untrimmed_labels.iter().copied());
}

/// How many rows labels have.
fn shares(labels: &LabelReport, is_first: bool, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    let present: Vec<&LabelShare> = labels.shares.iter().filter(|share| share.rows > 0).collect();
    if let Some(imbalance) = labels.imbalance.filter(|imbalance| *imbalance >= IMBALANCE) {
        let by_rows = |share: &&&LabelShare| share.rows;
        if let (Some(most), Some(fewest)) = (present.iter().max_by_key(by_rows), present.iter().min_by_key(by_rows)) {
            list.add(
                Warning,
                Kind::Imbalance,
                1,
                format!(
                    "label `{}` has {imbalance:.0} times as many rows as label `{}` ({} and {})",
                    most.label, fewest.label, most.rows, fewest.rows
                ),
                "go by macro F1 rather than accuracy, and look for more rows of the rare labels",
            );
        }
    }
    let rare: Vec<&str> = present
        .iter()
        .filter(|share| share.rows < FEW_ROWS && is_first)
        .map(|share| share.label.as_str())
        .collect();
    list.add(
        Warning,
        Kind::RareLabels,
        rare.len() as u64,
        format!("labels with fewer than {FEW_ROWS} rows: {} ({})", rare.len(), listed(rare.iter().copied())),
        "so few rows can hardly be learnt from, and their scores are mostly chance: add rows, join labels, or leave them out",
    );
    let absent: Vec<&str> = labels
        .shares
        .iter()
        .filter(|share| share.rows == 0)
        .map(|share| share.label.as_str())
        .collect();
    list.add(
        Note,
        Kind::AbsentLabels,
        absent.len() as u64,
        format!(
            "labels without a row here: {} ({})",
            absent.len(),
            listed(absent.iter().copied())
        ),
        "their scores in this file are undefined",
    );
}

/// Which labels stand together.
fn combinations(labels: &LabelReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::Note;
    if let Some(combinations) = &labels.combinations {
        list.add(
            Note,
            Kind::RareCombinations,
            combinations.seen_once,
            format!(
                "combinations of labels that one row has: {} of {}",
                combinations.seen_once, combinations.distinct
            ),
            "splits are stratified by label and not by combination, so this does no harm",
        );
        list.add(
            Note,
            Kind::WithoutLabels,
            combinations.without,
            format!("rows that have none of the labels: {}", combinations.without),
            "",
        );
        for label in &combinations.always_alone {
            list.add(
                Note,
                Kind::ExclusiveLabel,
                1,
                format!("label `{label}` never stands beside another one"),
                "it means that there is none; a model may still predict it beside others",
            );
        }
    }
}

/// Whether labels are distributed as in the first file.
fn drift(labels: &LabelReport, first: &FileReport, list: &mut List<'_>) {
    let Some(other) = first.labels.as_ref().filter(|other| same_labels(labels, other)) else {
        return;
    };
    let distances = labels
        .shares
        .iter()
        .zip(&other.shares)
        .map(|(own, other)| (own.share - other.share).abs());
    let (sum, largest) = distances.fold((0.0, 0.0f64), |(sum, largest), d| (sum + d, largest.max(d)));
    // With several labels a row the shares do not sum to one; then the largest difference counts.
    let drift = if labels.task == Task::MultiLabel {
        largest
    } else {
        sum / 2.0
    };
    list.add(
        Severity::Warning,
        FindingKind::LabelDrift,
        u64::from(drift >= DRIFT),
        format!(
            "labels are distributed otherwise than in {}: {} % of the rows would have to change",
            first.name,
            percent(drift)
        ),
        "what is measured here is not what is trained for; make sure that this is meant",
    );
}

/// Whether something that is no content tells the label.
fn tells(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::Warning;
    if let Some(tells) = file.position_tells.filter(|tells| tells.share >= SORTED) {
        list.add(
            Warning,
            Kind::SortedByLabel,
            1,
            format!(
                "rows are sorted by label, or nearly: the position tells {} % of it",
                percent(tells.share)
            ),
            "training shuffles them; do not take the first rows as a sample or cut the file at a place",
        );
    }
    if let Some(tells) = file.length_tells.filter(|tells| tells.share >= LENGTH_TELLS) {
        list.add(
            Warning,
            Kind::LengthTellsLabel,
            1,
            format!("the length of the text tells {} % of the label", percent(tells.share)),
            "a model may learn lengths instead of contents; check where the texts of each label come from",
        );
    }
}

fn same_labels(one: &LabelReport, other: &LabelReport) -> bool {
    let names = |report: &LabelReport| {
        report
            .shares
            .iter()
            .map(|share| share.label.clone())
            .collect::<Vec<_>>()
    };
    one.task == other.task && !one.shares.is_empty() && names(one) == names(other)
}
