//! Findings about columns, and about how the file was read.

use super::{FindingKind, List, Severity, percent};
use crate::data::listed;
use crate::inspect::{ColumnKind, ColumnReport, ColumnRole, FileReport};

/// From this share on a column gives the label away.
pub const GIVES_AWAY: f64 = 0.5;
/// From this share on it is worth a word.
const TELLS_SOMETHING: f64 = 0.1;
/// A column with values in a smaller share of the rows is worth a word.
const MOSTLY_EMPTY: f64 = 0.5;

/// What is wrong with columns.
pub(super) fn columns(file: &FileReport, first: Option<&FileReport>, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Problem, Warning};
    for column in &file.columns {
        let Some(tells) = column.tells else { continue };
        let (name, share) = (&column.name, percent(tells.share));
        if tells.share >= GIVES_AWAY {
            let message = match (tells.accuracy, tells.chance) {
                (Some(accuracy), Some(chance)) => format!(
                    "column `{name}` gives the label away: by it alone {} % of the labels are right, by chance {} %",
                    percent(accuracy),
                    percent(chance)
                ),
                _ => format!("column `{name}` gives the label away: it tells {share} % of it"),
            };
            let hint = "keep it out of the text, and make sure that it is known when new texts come before you use it";
            list.add(Problem, Kind::GivesLabelAway, 1, message, hint);
        } else if tells.share >= TELLS_SOMETHING {
            let message = format!("column `{name}` tells {share} % of the label");
            let hint = "rows of one value may belong together: `--group` keeps them in one part";
            list.add(Note, Kind::TellsOfLabel, 1, message, hint);
        }
    }
    let unused = || file.columns.iter().filter(|column| column.role == ColumnRole::Unused);
    let names = |columns: &[&ColumnReport]| listed(columns.iter().map(|column| column.name.as_str()));
    let empty: Vec<_> = unused().filter(|column| column.kind == ColumnKind::Empty).collect();
    list.add(
        Note,
        Kind::EmptyColumns,
        empty.len() as u64,
        format!("columns without a value: {}", names(&empty)),
        "",
    );
    let is_mostly_empty = |column: &&ColumnReport| {
        let present = (file.rows - column.missing) as f64;
        column.kind != ColumnKind::Empty && present < MOSTLY_EMPTY * file.rows as f64
    };
    for column in unused().filter(is_mostly_empty) {
        let present = file.rows - column.missing;
        list.add(
            Note,
            Kind::EmptyColumns,
            1,
            format!(
                "column `{}` has a value in {present} of {} rows",
                column.name, file.rows
            ),
            "",
        )
        .rows(Kind::EmptyColumns, column.first_row);
    }
    if let Some(first) = first {
        let lacks = |one: &FileReport, other: &FileReport| {
            let has = |name: &str| other.columns.iter().any(|column| column.name == name);
            let names = one.columns.iter().map(|column| column.name.as_str());
            names.filter(|name| !has(name)).map(str::to_owned).collect::<Vec<_>>()
        };
        let (more, fewer) = (lacks(file, first), lacks(first, file));
        let shown = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => listed(names.iter().map(String::as_str)),
        };
        list.add(
            Note,
            Kind::ColumnsDiffer,
            (more.len() + fewer.len()) as u64,
            format!(
                "the columns are not those of {}: here only {}; there only {}",
                first.name,
                shown(&more),
                shown(&fewer)
            ),
            "",
        );
    }
    list.add(
        Warning,
        Kind::MissingText,
        file.missing_text,
        format!("rows without a text: {}", file.missing_text),
        "they are left out of training",
    );
}

/// What was met on reading.
pub(super) fn reading(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    list.add(
        Note,
        Kind::SurplusFields,
        file.surplus_fields,
        format!("empty fields beyond the last column, left out: {}", file.surplus_fields),
        "",
    )
    .rows(Kind::SurplusFields, file.rows_of.surplus_fields);
    list.add(
        Note,
        Kind::RejoinedRows,
        file.rejoined_rows,
        format!(
            "rows whose text holds the delimiter, put together: {}",
            file.rejoined_rows
        ),
        "",
    )
    .rows(Kind::RejoinedRows, file.rows_of.rejoined);
    list.add(
        Warning,
        Kind::IgnoredKeys,
        file.ignored_keys,
        format!(
            "values of keys that first appear after row 100, left out: {}",
            file.ignored_keys
        ),
        "",
    );
    if let Some(encoding) = &file.format.encoding {
        let message = format!("the encoding is {encoding}, not UTF-8");
        list.add(Note, Kind::Encoding, 1, message, "it is converted while it is read");
    }
}
