//! A teacher that is a file: probabilities of each label as `gareum predict` or a language model wrote them, found by their texts.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::distillation::{TeacherError, of_names, other_labels};
use crate::data::{
    ColumnRequest, Input, InputColumns, LabelSchema, Place, ReadOptions, Record, Records, Task, listed, shortened,
};
use crate::settings::DataSettings;

/// The column of probabilities: an object, as JSON in csv, or columns of which this is the beginning.
const SCORES: &str = "scores";

/// Columns of a predicted number, the likeliest first.
const NUMBERS: [&str; 4] = ["score", "prediction", "predicted_label", "label"];

/// A probability is no nearer to 0 or 1 than this: a logit is to be finite.
const SURE: f64 = 1e-7;

/// A probability outside of 0 and 1 by this is a rounded one.
const ROUNDING: f64 = 1e-6;

/// The logits that a file says of `inputs`, a row after the other.
pub(super) fn read(
    path: &Path,
    inputs: &[&Input],
    schema: &LabelSchema,
    data: &DataSettings,
) -> Result<Vec<f32>, TeacherError> {
    let mut wanted: HashMap<String, Vec<usize>> = HashMap::with_capacity(inputs.len());
    for (row, input) in inputs.iter().enumerate() {
        wanted.entry(key(input)).or_default().push(row);
    }
    let mut records = Records::open(path, &ReadOptions::default())?;
    let mut known = data.columns();
    if known.text.len() > 1 {
        known.text.clear();
    }
    let texts = ColumnRequest::default()
        .or_known(&known, &records)
        .resolve_inputs(&records)?;
    let scores = Scores::find(path, &records, schema)?;
    let labels = schema.num_labels();
    let mut logits = vec![f32::NAN; inputs.len() * labels];
    while let Some(record) = records.next().transpose()? {
        let Some(text) = text(&texts, &record, &records, data)? else {
            continue;
        };
        // The first row with a text is the one that counts.
        let Some(rows) = wanted.remove(&key(&text)) else {
            continue;
        };
        let found = scores.logits(path, &record, &records, schema)?;
        for row in rows {
            logits[row * labels..][..labels].copy_from_slice(&found);
        }
    }
    match wanted.values().flatten().min() {
        None => Ok(logits),
        Some(&first) => Err(TeacherError::Missing {
            path: path.to_owned(),
            missing: wanted.values().map(Vec::len).sum(),
            rows: inputs.len(),
            first: shortened(&inputs[first].text),
        }),
    }
}

/// What two rows have in common whose texts differ in blanks at most.
fn key(input: &Input) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pair = input.text_pair.as_deref().map(words).unwrap_or_default();
    format!("{}\n{pair}", words(&input.text))
}

/// The text of a row, changed as those that are trained on are.
fn text(
    columns: &InputColumns,
    record: &Record,
    records: &Records,
    data: &DataSettings,
) -> Result<Option<Input>, TeacherError> {
    let input = columns.read(record, records)?;
    Ok(input.map(|input| input.normalized(&data.normalize)))
}

/// Where a file has its answers.
enum Scores {
    /// An object in this column.
    Object(usize),
    /// A column for each label, in the order of the labels.
    Each(Vec<usize>),
    /// A number in this column.
    Number(usize),
}

impl Scores {
    fn find(path: &Path, records: &Records, schema: &LabelSchema) -> Result<Self, TeacherError> {
        let names = records.columns();
        let position = |wanted: &str| names.iter().position(|name| name == wanted);
        let missing = |expected| TeacherError::NoScores {
            path: records.path().to_owned(),
            expected,
            columns: listed(names.iter().map(String::as_str)),
        };
        if schema.task == Task::Regression {
            let number = NUMBERS.iter().find_map(|name| position(name));
            return number.map(Self::Number).ok_or_else(|| missing(NUMBERS[0]));
        }
        if let Some(column) = position(SCORES) {
            return Ok(Self::Object(column));
        }
        let of_label = |name: &String| name.strip_prefix(SCORES)?.strip_prefix('.').map(str::to_owned);
        let found: Vec<String> = names.iter().filter_map(of_label).collect();
        if found.is_empty() {
            return Err(missing(SCORES));
        }
        check_labels(path, found.iter().map(String::as_str), schema)?;
        let columns = schema.names.iter().map(|name| position(&format!("{SCORES}.{name}")));
        columns
            .collect::<Option<Vec<usize>>>()
            .map(Self::Each)
            .ok_or_else(|| missing(SCORES))
    }

    fn logits(
        &self,
        path: &Path,
        record: &Record,
        records: &Records,
        schema: &LabelSchema,
    ) -> Result<Vec<f32>, TeacherError> {
        let bad = |column: usize, found: String, expected| TeacherError::BadScore {
            place: Place::new(
                records.path(),
                record.line,
                record.row,
                records.columns().get(column).cloned(),
            ),
            found,
            expected,
        };
        let number = |column: usize, value: &Value| {
            match value {
                Value::String(text) => text.trim().parse().ok(),
                other => other.as_f64(),
            }
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| bad(column, format!("`{}`", shortened(&value.to_string())), "a number"))
        };
        let probability = |column: usize, value: &Value| {
            let probability = number(column, value)?;
            match (-ROUNDING..=1.0 + ROUNDING).contains(&probability) {
                true => Ok(logit(probability, schema.task)),
                false => Err(bad(column, probability.to_string(), "a probability from 0 to 1")),
            }
        };
        match self {
            Self::Number(column) => Ok(vec![number(*column, &record.values[*column])? as f32]),
            Self::Each(columns) => {
                let each = columns.iter();
                each.map(|&column| probability(column, &record.values[column]))
                    .collect()
            }
            Self::Object(column) => {
                let value = &record.values[*column];
                let parsed = match value {
                    Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
                    other => other.clone(),
                };
                let Value::Object(object) = &parsed else {
                    let found = format!("`{}`", shortened(&value.to_string()));
                    return Err(bad(*column, found, "an object of labels and probabilities"));
                };
                check_labels(path, object.keys().map(String::as_str), schema)?;
                let each = schema.names.iter();
                each.map(|name| probability(*column, &object[name])).collect()
            }
        }
    }
}

/// Fails unless these are the labels of the data.
fn check_labels<'a>(
    path: &Path,
    found: impl Iterator<Item = &'a str> + Clone,
    schema: &LabelSchema,
) -> Result<(), TeacherError> {
    let is_known = |name: &str| schema.names.iter().any(|known| known == name);
    match found.clone().count() == schema.num_labels() && found.clone().all(is_known) {
        true => Ok(()),
        false => Err(other_labels(path, &of_names(found), schema)),
    }
}

/// A logit of which softmax or sigmoid makes the probability.
fn logit(probability: f64, task: Task) -> f32 {
    let probability = probability.clamp(SURE, 1.0 - SURE);
    let logit = match task {
        Task::MultiLabel => (probability / (1.0 - probability)).ln(),
        _ => probability.ln(),
    };
    logit as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(task: Task) -> LabelSchema {
        LabelSchema {
            task,
            names: vec!["neg".to_owned(), "pos".to_owned()],
        }
    }

    fn taught(name: &str, contents: &str, schema: &LabelSchema) -> Result<Vec<f32>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let inputs = ["good food", "bad  food", "good food"].map(|text| Input {
            text: text.to_owned(),
            text_pair: None,
        });
        let inputs: Vec<&Input> = inputs.iter().collect();
        read(&path, &inputs, schema, &DataSettings::default()).map_err(|error| {
            error
                .to_string()
                .replace(&directory.path().display().to_string(), "[DIR]")
        })
    }

    const JSON_LINES: &str = "{\"text\": \"bad food\", \"scores\": {\"pos\": 0.25, \"neg\": 0.75}}\n\
                              {\"text\": \"something else\", \"scores\": {\"pos\": 0.5, \"neg\": 0.5}}\n\
                              {\"text\": \"good food\", \"scores\": {\"pos\": 1.0, \"neg\": 0.0}}\n";

    #[test]
    fn probabilities_become_logits_in_the_order_of_the_rows() {
        let single = schema(Task::SingleLabel);
        let ln = |p: f64| p.ln() as f32;
        let sure = [ln(SURE), ln(1.0 - SURE)];
        let expected = [sure, [ln(0.75), ln(0.25)], sure].concat();
        assert_eq!(taught("scores.jsonl", JSON_LINES, &single).unwrap(), expected);
        let csv = "text,scores\ngood food,\"{\"\"neg\"\": 0.0, \"\"pos\"\": 1}\"\nbad food,\"{\"\"neg\"\": 0.75, \"\"pos\"\": 0.25}\"\n";
        assert_eq!(taught("scores.csv", csv, &single).unwrap(), expected);
        let several = taught("scores.jsonl", JSON_LINES, &schema(Task::MultiLabel)).unwrap();
        assert!((several[2] - 3f32.ln()).abs() < 1e-6 && (several[3] + 3f32.ln()).abs() < 1e-6);
        let numbers = "text,label,score\ngood food,1,4.5\nbad food,2,-1\n";
        let numbers = taught("numbers.csv", numbers, &LabelSchema::regression());
        assert_eq!(numbers.unwrap(), [4.5, -1.0, 4.5]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let single = schema(Task::SingleLabel);
        let fail = |name: &str, contents: &str| taught(name, contents, &single).unwrap_err();
        let third = JSON_LINES.rfind("{\"text\"").unwrap();
        assert_eq!(
            fail("scores.jsonl", &JSON_LINES[..third]),
            "[DIR]/scores.jsonl: 2 of 3 rows to train on are not in the file, the first is `good food`\n\
             hint: let the teacher predict the training file itself"
        );
        let labels = fail("scores.jsonl", &JSON_LINES.replace("neg", "negative"));
        assert!(
            labels.starts_with("[DIR]/scores.jsonl: the teacher knows 2 labels (`negative`, `pos`), the data has 2 labels (`neg`, `pos`)"),
            "{labels}"
        );
        assert!(fail("scores.jsonl", &JSON_LINES.replace("0.25", "2.5")).starts_with(
            "[DIR]/scores.jsonl:1: row 1, column `scores.pos`: found 2.5, expected a probability from 0 to 1"
        ));
        assert!(
            fail("plain.csv", "text,label\ngood food,pos\n")
                .starts_with("[DIR]/plain.csv: there is no column `scores`, only `text`, `label`")
        );
        assert!(fail("plain.csv", "text,scores\ngood food,0.5\n").contains("expected an object of labels"));
    }
}
