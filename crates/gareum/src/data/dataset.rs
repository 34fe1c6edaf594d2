//! Examples with their labels: columns chosen, labels understood, unusable rows counted.
//!
//! Duplicates and contradictions are left in; see `clean.rs`. How raw labels are read is in `label_values.rs`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::listed;
use super::label_values::{LabelIndex, RawLabel, infer};
use super::{
    ColumnRequest, DataError, FileFormat, Input, LabelColumns, LabelMap, LabelSchema, NormalizeStep, Place,
    ReadOptions, Record, Records, Target, Task, invisible_characters, normalize,
};

/// One labelled text.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The 1-based row of the source file. Stacked texts of one row share it.
    pub id: u64,
    /// The text as it stands in the file.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
    /// The label.
    pub target: Target,
    /// Examples of the same group belong in the same part of a split: those with the same value in the group column, or stacked from one row.
    pub group: Option<u64>,
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
    /// Names of the text columns; several if texts are stacked.
    pub text_columns: Vec<String>,
    /// Name of the second text's column.
    pub text_pair_column: Option<String>,
    /// Names of the label column or columns.
    pub label_columns: Vec<String>,
    /// Name of the column that keeps rows together.
    pub group_column: Option<String>,
    /// What joins the labels of a row in one value, where something does.
    pub label_separator: Option<String>,
    /// Rows in the file.
    pub rows_read: u64,
    /// Examples that they make: fewer where some are dropped, more where texts are stacked.
    pub examples: u64,
    /// Rows without a text (or the second of a pair), dropped.
    pub missing_text: u64,
    /// Rows with a text and no label, dropped.
    pub missing_label: u64,
    /// Empty fields beyond the last column, dropped.
    pub surplus_fields: u64,
    /// Rows whose text held the delimiter, without quotes, and was put together again.
    pub rejoined_rows: u64,
    /// Examples whose text holds control characters or characters without width; they are kept as they are.
    pub invisible_characters: u64,
    /// JSON keys that first appear after 100 rows, dropped.
    pub ignored_keys: u64,
    /// Examples of each label, by id (after cleaning); for regression the single entry counts all.
    pub label_counts: Vec<(String, u64)>,
    /// How integer labels became ids, if those differ.
    pub mapping_note: Option<String>,
}

impl Dataset {
    /// Opens a labelled file and reads it, see [`Dataset::read`].
    ///
    /// # Errors
    /// As [`Records::open`] and [`Dataset::read`].
    pub fn load(
        path: &Path,
        read: &ReadOptions,
        request: &ColumnRequest,
        schema: SchemaSource<'_>,
    ) -> Result<Self, DataError> {
        Self::read(Records::open(path, read)?, request, schema, None)
    }

    /// Reads labelled rows whole.
    ///
    /// A row without text or label is dropped and counted. The word `nan` is a missing label (pandas writes it) but an ordinary text.
    /// Where `schema` is to be inferred: lists, several label columns and evidently joined labels (`2,3`) are multi-label, integers and names
    /// single-label, other numbers regression. `map` gives the labels other names first.
    ///
    /// # Errors
    /// [`DataError`] with file, row and column of the first thing that is wrong; also if no row is left, or a single-label column has one
    /// class only, or nearly as many values as rows while no task was asked for.
    pub fn read(
        mut records: Records,
        request: &ColumnRequest,
        schema: SchemaSource<'_>,
        map: Option<&LabelMap>,
    ) -> Result<Self, DataError> {
        let columns = request.resolve(&records)?;
        let named_classes = match &columns.label {
            LabelColumns::Single(column) => records.class_names(*column).map(LabelMap::from_names),
            _ => None,
        };
        let map = map.or(named_classes.as_ref());
        let mut rows = Rows::default();
        let mut groups = Groups::default();
        while let Some(record) = records.next().transpose()? {
            rows.read += 1;
            let mut inputs = Vec::with_capacity(1);
            for position in &columns.inputs {
                inputs.extend(position.read(&record, &records)?);
            }
            match raw_label(&record, &columns.label, &records)? {
                _ if inputs.is_empty() => rows.missing_text += 1,
                None => rows.missing_label += 1,
                Some(label) => {
                    let group = match columns.group {
                        Some(position) => Some(groups.number(record.values.get(position))),
                        None => (columns.inputs.len() > 1).then_some(record.row),
                    };
                    rows.usable.extend(inputs.into_iter().map(|input| Row {
                        number: record.row,
                        line: record.line,
                        input,
                        label: label.clone(),
                        group,
                    }));
                }
            }
        }
        let named = |position: usize| records.columns()[position].clone();
        let text_columns: Vec<String> = columns.inputs.iter().map(|inputs| named(inputs.text)).collect();
        let label_columns: Vec<String> = columns.label.positions().iter().copied().map(named).collect();
        if rows.usable.is_empty() {
            return Err(DataError::NoExamples {
                path: records.path().to_owned(),
                rows: rows.read,
                missing_text: rows.missing_text,
                missing_label: rows.missing_label,
                text: text_columns.join("`, `"),
                label: label_columns.join("`, `"),
            });
        }
        let separator = request.label_separator.as_deref();
        let (schema, separator) = match schema {
            SchemaSource::Fixed(schema) => (schema.clone(), separator.map(str::to_owned)),
            SchemaSource::Infer { task } => {
                let inference = Inference {
                    task,
                    separator,
                    map,
                    columns: &columns.label,
                    names: &label_columns,
                    path: records.path(),
                };
                rows.infer(&inference)?
            }
        };
        let label_column = match &columns.label {
            LabelColumns::Single(_) => label_columns.first().cloned(),
            _ => None,
        };
        let index = LabelIndex::new(&schema, separator.as_deref(), map);
        if let Some(map) = map {
            rows.check_mapped(&index, map, records.path(), label_column.clone())?;
        }
        let examples = rows.examples(&index, records.path(), label_column)?;
        let is_invisible = |example: &&Example| {
            let texts = std::iter::once(example.text.as_str()).chain(example.text_pair.as_deref());
            texts.into_iter().any(invisible_characters)
        };
        let report = LoadReport {
            path: records.path().to_owned(),
            format: records.format().clone(),
            text_columns,
            text_pair_column: columns.inputs.first().and_then(|inputs| inputs.text_pair).map(named),
            label_columns,
            group_column: columns.group.map(named),
            label_separator: separator,
            rows_read: rows.read,
            examples: examples.len() as u64,
            missing_text: rows.missing_text,
            missing_label: rows.missing_label,
            surplus_fields: records.surplus_fields(),
            rejoined_rows: records.rejoined_rows(),
            invisible_characters: examples.iter().filter(is_invisible).count() as u64,
            ignored_keys: records.ignored_keys(),
            label_counts: label_counts(&examples, &schema),
            mapping_note: schema.mapping_note(),
        };
        Ok(Self {
            examples,
            schema,
            report,
        })
    }
}

impl Dataset {
    /// Changes every text by these steps. Texts of which nothing is left are dropped and counted as missing.
    pub fn normalize(&mut self, steps: &[NormalizeStep]) {
        for example in &mut self.examples {
            for text in std::iter::once(&mut example.text).chain(&mut example.text_pair) {
                if let Cow::Owned(changed) = normalize(text, steps) {
                    *text = changed;
                }
            }
        }
        let before = self.examples.len();
        self.examples.retain(|example| {
            let mut texts = std::iter::once(&example.text).chain(&example.text_pair);
            texts.all(|text| !text.trim().is_empty())
        });
        self.report.missing_text += (before - self.examples.len()) as u64;
        self.report.examples = self.examples.len() as u64;
        self.report.label_counts = label_counts(&self.examples, &self.schema);
    }
}

/// Numbers for the values of the group column.
#[derive(Default)]
struct Groups {
    numbers: HashMap<String, u64>,
    /// Groups so far, those of rows without a value included: each of these is one.
    count: u64,
}

impl Groups {
    fn number(&mut self, value: Option<&Value>) -> u64 {
        let value = match value {
            Some(Value::String(text)) => text.trim().to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        let next = self.count;
        let number = if value.is_empty() {
            next
        } else {
            *self.numbers.entry(value).or_insert(next)
        };
        self.count += u64::from(number == next);
        number
    }
}

/// Rows on their way to examples.
#[derive(Default)]
struct Rows {
    read: u64,
    missing_text: u64,
    missing_label: u64,
    usable: Vec<Row>,
}

struct Row {
    number: u64,
    line: u64,
    input: Input,
    label: RawLabel,
    group: Option<u64>,
}

/// What labels are inferred from, beside the rows.
struct Inference<'a> {
    task: Option<Task>,
    separator: Option<&'a str>,
    map: Option<&'a LabelMap>,
    columns: &'a LabelColumns,
    names: &'a [String],
    path: &'a str,
}

impl Rows {
    fn infer(&self, inference: &Inference<'_>) -> Result<(LabelSchema, Option<String>), DataError> {
        let Inference {
            task,
            separator,
            map,
            columns,
            names,
            path,
        } = *inference;
        let task = match columns {
            LabelColumns::Indicators(_) => {
                let schema = LabelSchema {
                    task: Task::MultiLabel,
                    names: names.to_vec(),
                };
                return match task {
                    None | Some(Task::MultiLabel) => Ok((schema, None)),
                    Some(_) => Err(self.refuse_indicators(path)),
                };
            }
            _ => task,
        };
        let labels: Vec<&RawLabel> = self.usable.iter().map(|row| &row.label).collect();
        let (schema, separator) = infer(&labels, task, separator, map);
        if schema.task != Task::SingleLabel {
            return Ok((schema, separator));
        }
        let (classes, rows) = (schema.names.len(), self.usable.len());
        let column = || names.first().cloned().unwrap_or_default();
        if classes == 0 {
            // The map knows none of the labels: the first row says so.
            return Ok((schema, separator));
        }
        if let [label] = schema.names.as_slice() {
            return Err(DataError::SingleClass {
                path: path.to_owned(),
                column: column(),
                label: label.clone(),
                rows,
            });
        }
        // Fewer rows say too little about whether the column is an identifier or a text.
        const ROWS_TO_JUDGE: usize = 50;
        if task.is_none() && rows >= ROWS_TO_JUDGE && classes * 2 > rows {
            return Err(DataError::TooManyClasses {
                path: path.to_owned(),
                column: column(),
                classes,
                rows,
            });
        }
        Ok((schema, separator))
    }

    /// Refuses labels that the map lacks, all at once: they are a typo each, or the map is of other data.
    fn check_mapped(
        &self,
        index: &LabelIndex<'_>,
        map: &LabelMap,
        path: &str,
        column: Option<String>,
    ) -> Result<(), DataError> {
        let mut unmapped: Vec<String> = Vec::new();
        let mut first = None;
        for row in &self.usable {
            for label in index.unmapped(&row.label) {
                first.get_or_insert(row);
                if !unmapped.contains(&label) {
                    unmapped.push(label);
                }
            }
        }
        let Some(first) = first else { return Ok(()) };
        let mut known: Vec<&str> = map.labels().collect();
        known.sort_unstable();
        Err(DataError::UnmappedLabels {
            place: Place::new(path, first.line, first.number, column),
            found: listed(unmapped.iter().map(String::as_str)),
            known: listed(known.into_iter()),
        })
    }

    fn refuse_indicators(&self, path: &str) -> DataError {
        let (row, line) = self.usable.first().map_or((1, 1), |row| (row.number, row.line));
        DataError::BadLabel {
            place: Place::new(path, line, row, None),
            found: "several label columns".to_owned(),
            expected: "one",
            hint: "one column for each label is `task = \"multi_label\"`",
        }
    }

    fn examples(
        &mut self,
        index: &LabelIndex<'_>,
        path: &str,
        column: Option<String>,
    ) -> Result<Vec<Example>, DataError> {
        let to_example = |row: Row| {
            let place = || Place::new(path, row.line, row.number, column.clone());
            let target = index.target(&row.label, place)?;
            Ok(Example {
                id: row.number,
                text: row.input.text,
                text_pair: row.input.text_pair,
                target,
                group: row.group,
            })
        };
        std::mem::take(&mut self.usable).into_iter().map(to_example).collect()
    }
}

/// The label of a row as it is written.
pub(crate) fn raw_label(
    record: &Record,
    columns: &LabelColumns,
    records: &Records,
) -> Result<Option<RawLabel>, DataError> {
    const NULL: &Value = &Value::Null;
    let value = |position: usize| record.values.get(position).unwrap_or(NULL);
    let bad = |position: usize, expected, hint| DataError::BadLabel {
        place: records.place(record, position),
        found: format!("`{}`", super::error::shortened(&value(position).to_string())),
        expected,
        hint,
    };
    match columns {
        LabelColumns::Single(position) => RawLabel::read(value(*position)).map_err(|expected| {
            bad(
                *position,
                expected,
                "name another column with `--label NAME`; values of inner objects are `outer.inner`",
            )
        }),
        LabelColumns::Aspects([keywords, sentiments]) => RawLabel::read_aspects(value(*keywords), value(*sentiments))
            .map_err(|expected| bad(*keywords, expected, "each object needs a keyword and a sentiment")),
        LabelColumns::Polarities(positions) => {
            let cells = positions.iter().map(|position| (*position, value(*position)));
            let label = RawLabel::read_polarities(cells, |position| records.columns()[position].clone());
            label.map(Some).map_err(|position| {
                bad(
                    position,
                    "a polarity",
                    "each of these columns says what a row feels about its keyword, or nothing",
                )
            })
        }
        LabelColumns::Indicators(positions) => {
            let cells = positions.iter().map(|position| (*position, value(*position)));
            RawLabel::read_indicators(cells, |position| records.columns()[position].clone()).map_err(|position| {
                bad(
                    position,
                    "0 or 1",
                    "with several label columns each says whether its label holds",
                )
            })
        }
    }
}

/// Examples of each label, by id; for regression the single entry counts all.
pub(crate) fn label_counts(examples: &[Example], schema: &LabelSchema) -> Vec<(String, u64)> {
    if schema.task == Task::Regression {
        return schema
            .names
            .iter()
            .map(|name| (name.clone(), examples.len() as u64))
            .collect();
    }
    let mut counts: Vec<(String, u64)> = schema.names.iter().map(|name| (name.clone(), 0)).collect();
    for id in examples.iter().flat_map(|example| example.target.ids()) {
        if let Some((_, count)) = counts.get_mut(*id as usize) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, content: &str, request: &ColumnRequest, schema: SchemaSource<'_>) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Dataset::load(&path, &ReadOptions::default(), request, schema)
            .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
    }

    const INFER: SchemaSource<'static> = SchemaSource::Infer { task: None };

    #[test]
    fn unusable_rows_are_counted() {
        let content = "text,label\n좋다,1\n,0\n별로,\n나쁘다,0\nnan,NaN\n";
        let dataset = load("t.csv", content, &ColumnRequest::default(), INFER).unwrap();
        let report = &dataset.report;
        assert_eq!((report.rows_read, report.missing_text, report.missing_label), (5, 1, 2));
        assert_eq!(report.label_counts, [("0".to_owned(), 1), ("1".to_owned(), 1)]);
        let ids: Vec<u64> = dataset.examples.iter().map(|example| example.id).collect();
        assert_eq!(ids, [1, 4]);
        assert_eq!(dataset.examples[1].target, Target::Class(0));
    }

    #[test]
    fn one_column_a_label() {
        let request = ColumnRequest {
            label: vec!["joy".to_owned(), "fear".to_owned()],
            ..ColumnRequest::default()
        };
        let dataset = load("t.csv", "text,fear,joy\na,1,0\nb,0,0\nc,1,1\n", &request, INFER).unwrap();
        assert_eq!(dataset.schema.names, ["joy", "fear"]);
        let targets: Vec<&[u32]> = dataset.examples.iter().map(|example| example.target.ids()).collect();
        assert_eq!(targets, [[1].as_slice(), &[], &[0, 1]]);
        let message = load("t.csv", "text,fear,joy\na,1,2\n", &request, INFER).unwrap_err();
        assert!(
            message.starts_with("/t.csv:2: row 1, column `joy`: found `\"2\"`, expected 0 or 1"),
            "{message}"
        );
    }

    #[test]
    fn stacked_texts_stay_with_their_row() {
        let request = ColumnRequest {
            text: ["말1", "말2"].map(str::to_owned).to_vec(),
            ..ColumnRequest::default()
        };
        let dataset = load("t.csv", "말1,말2,label\n가,나,x\n,다,y\n,,x\n라,마,\n", &request, INFER).unwrap();
        let seen: Vec<(u64, &str, Option<u64>)> = dataset
            .examples
            .iter()
            .map(|example| (example.id, example.text.as_str(), example.group))
            .collect();
        assert_eq!(seen, [(1, "가", Some(1)), (1, "나", Some(1)), (2, "다", Some(2))]);
        let report = &dataset.report;
        assert_eq!((report.rows_read, report.missing_text, report.missing_label), (4, 1, 1));
        assert_eq!(report.text_columns, ["말1", "말2"]);
    }

    #[test]
    fn groups_are_numbered_by_their_values() {
        let request = ColumnRequest {
            group: Some("user".to_owned()),
            ..ColumnRequest::default()
        };
        let content = "text,user,label\na,kim,0\nb,,1\nc, kim ,0\nd,,1\ne,lee,1\n";
        let dataset = load("t.csv", content, &request, INFER).unwrap();
        let groups: Vec<Option<u64>> = dataset.examples.iter().map(|example| example.group).collect();
        assert_eq!(groups, [Some(0), Some(1), Some(0), Some(2), Some(3)]);
    }

    #[test]
    fn a_map_names_the_labels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.txt");
        std::fs::write(&path, "sad\nglad\nunused\n").unwrap();
        let map = LabelMap::open(&path).unwrap();
        let read = |content: &str, schema: SchemaSource<'_>| {
            let path = folder.path().join("t.csv");
            std::fs::write(&path, content).unwrap();
            let records = Records::open(&path, &ReadOptions::default()).unwrap();
            Dataset::read(records, &ColumnRequest::default(), schema, Some(&map))
        };
        let dataset = read("text,label\na,1\nb,0.0\nc,sad\n", INFER).unwrap();
        assert_eq!(dataset.schema.names, ["sad", "glad"]);
        let targets: Vec<&[u32]> = dataset.examples.iter().map(|example| example.target.ids()).collect();
        assert_eq!(targets, [[1], [0], [0]]);
        let joined = read("text,label\na,\"0,1\"\nb,1\nc,0\n", INFER).unwrap();
        assert_eq!(joined.schema.task, Task::MultiLabel);
        assert_eq!(joined.examples[0].target, Target::Classes(vec![0, 1]));
        let fixed = read("text,label\na,1\n", SchemaSource::Fixed(&dataset.schema)).unwrap();
        assert_eq!(fixed.examples[0].target, Target::Class(1));
        let message = read("text,label\na,1\nb,7\nc,0\n", INFER).unwrap_err().to_string();
        assert!(
            message.contains("t.csv:3: row 2, column `label`: the label map has no `7`; it has `0`, `1`, `2`"),
            "{message}"
        );
        assert!(
            read("text,label\na,8\nb,7\n", INFER)
                .unwrap_err()
                .to_string()
                .contains("the label map has no `8`, `7`; it has")
        );
    }

    #[test]
    fn a_fixed_schema_meets_the_unknown() {
        let schema = LabelSchema {
            task: Task::SingleLabel,
            names: vec!["neg".to_owned(), "pos".to_owned()],
        };
        let content = "text,label\na,pos\n\"b\nb\",neg\nc,neq\n";
        let message = load(
            "bad.csv",
            content,
            &ColumnRequest::default(),
            SchemaSource::Fixed(&schema),
        )
        .unwrap_err();
        assert_eq!(
            message,
            "/bad.csv:5: row 3, column `label`: label `neq` is not one of `neg`, `pos`\nhint: did you mean `neg`?"
        );
    }

    #[test]
    fn impossible_labels_are_refused() {
        let check = |content: &str, expected: &str| {
            let message = load("t.csv", content, &ColumnRequest::default(), INFER).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        check("text,label\na,x\nb,x\n", "all 2 labelled rows have the label `x`");
        check(
            "text,label\n,x\nb,\n",
            "no row can be used, of 2 (1 without text, 1 without label)",
        );
        check("text,label\n", "no row can be used, of 0");
        let rows: String = (0..60).map(|row| format!("t,id{row}\n")).collect();
        check(&format!("text,label\n{rows}"), "60 distinct values in 60 rows");
        check("text,label\na,1\n,2,3\n", "found 3 fields, expected 2");
    }
}
