//! Predictions from elsewhere: of another tool, of an LLM, of people.

use std::path::Path;

use serde_json::Value;

use super::{ComparisonError, Contestant, Kind};
use crate::data::{
    DataError, Example, LabelIndex, LabelSchema, Place, RawLabel, ReadOptions, Record, Records, Task, shortened,
};
use crate::decision::DEFAULT_THRESHOLD;
use crate::predict::Prediction;

/// What the column of the predicted label is called, the likeliest first. The truth may stand in `label` beside it.
const LABEL_COLUMNS: [&str; 8] = [
    "predicted_label",
    "predicted_labels",
    "prediction",
    "predictions",
    "predicted",
    "pred",
    "label",
    "labels",
];

/// What the column of probabilities is called: an object, or in csv an object as JSON.
const SCORE_COLUMNS: [&str; 4] = ["predicted_scores", "scores", "probabilities", "probs"];

/// A file with a prediction for each row of the data.
#[derive(Debug, Clone, Copy)]
pub struct PredictionsFile<'a> {
    /// The file, of any format that data can have.
    pub path: &'a Path,
    /// The column of the predicted label; `None` to find it.
    pub label: Option<&'a str>,
}

/// The data that predictions belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub schema: &'a LabelSchema,
    pub examples: &'a [Example],
    /// Rows in the file, with those that could not be used.
    pub rows: usize,
    /// The column of the text.
    pub text: Option<&'a str>,
}

impl PredictionsFile<'_> {
    /// Reads the predictions of the examples. The file has either a row for each row of the data, of which there are `rows`, or one for each
    /// example; where it has the column `text` too, texts must be the same.
    ///
    /// # Errors
    /// [`ComparisonError`] with file, row and column of what is wrong.
    pub fn read(
        &self,
        name: String,
        schema: &LabelSchema,
        examples: &[Example],
        rows: usize,
        text: Option<&str>,
    ) -> Result<Contestant, ComparisonError> {
        let data = Rows {
            schema,
            examples,
            rows,
            text,
        };
        Ok(Contestant {
            name,
            source: self.path.display().to_string(),
            kind: Kind::File,
            predictions: self.predictions(&data)?,
            cost: None,
        })
    }

    fn predictions(&self, data: &Rows<'_>) -> Result<Vec<Prediction>, ComparisonError> {
        let mut records = Records::open(self.path, &ReadOptions::default())?;
        let columns = self.columns(&records, data)?;
        let index = LabelIndex::new(data.schema, None, None);
        let (mut answers, mut texts) = (Vec::new(), Vec::new());
        while let Some(record) = records.next().transpose()? {
            answers.push(columns.answer(&record, &records, data.schema, &index)?);
            texts.push((record.line, columns.text(&record)));
        }
        // A row of the file for each example: by the rows of the data, or one after the other.
        let position = |(index, example): (usize, &Example)| match answers.len() {
            count if count == data.rows => Some(example.id as usize - 1),
            count if count == data.examples.len() => Some(index),
            _ => None,
        };
        let positions: Option<Vec<usize>> = data.examples.iter().enumerate().map(position).collect();
        let Some(positions) = positions else {
            return Err(ComparisonError::Rows {
                path: records.path().to_owned(),
                found: answers.len(),
                rows: data.rows,
                examples: data.examples.len(),
            });
        };
        for (&position, example) in positions.iter().zip(data.examples) {
            let (line, text) = &texts[position];
            if let Some(found) = text.as_ref().filter(|text| !same_text(text, &example.text)) {
                return Err(ComparisonError::OtherText {
                    place: Place::new(records.path(), *line, position as u64 + 1, data.text.map(str::to_owned)),
                    found: shortened(found),
                    expected: shortened(&example.text),
                });
            }
        }
        let mut predictions: Vec<Prediction> = positions.iter().map(|position| answers[*position].clone()).collect();
        // Probabilities of some rows would be measured as if they were of all.
        if predictions.iter().any(|prediction| prediction.scores.is_empty()) {
            predictions.iter_mut().for_each(|prediction| prediction.scores.clear());
        }
        Ok(predictions)
    }

    fn columns(&self, records: &Records, data: &Rows<'_>) -> Result<Columns, ComparisonError> {
        let names = records.columns();
        let position = |wanted: &str| names.iter().position(|name| name == wanted);
        let missing = |hint| ComparisonError::NoPredictions {
            path: records.path().to_owned(),
            columns: names.iter().map(|name| format!("`{name}`")).collect(),
            hint,
        };
        let label = match self.label {
            Some(name) => Some(position(name).ok_or_else(|| missing("name one of these with --prediction COLUMN"))?),
            None => LABEL_COLUMNS.iter().find_map(|name| position(name)),
        };
        let names_of_labels = &data.schema.names;
        let of_labels = |prefix: &str| -> Option<Vec<usize>> {
            let columns = names_of_labels.iter().map(|name| position(&format!("{prefix}{name}")));
            columns.collect()
        };
        let scores = match data.schema.task {
            Task::Regression => None,
            _ => SCORE_COLUMNS
                .iter()
                .find_map(|name| {
                    let object = position(name).map(ScoreColumns::Object);
                    object.or_else(|| of_labels(&format!("{name}.")).map(ScoreColumns::Each))
                })
                .or_else(|| of_labels("").map(ScoreColumns::Each)),
        };
        if label.is_none() && scores.is_none() {
            return Err(missing(
                "the predicted label stands in a column `predicted_label`, `prediction` or `label`; name another with --prediction COLUMN",
            ));
        }
        Ok(Columns {
            label,
            scores,
            text: data.text.and_then(position),
        })
    }
}

/// Where a file has what.
struct Columns {
    label: Option<usize>,
    scores: Option<ScoreColumns>,
    text: Option<usize>,
}

enum ScoreColumns {
    /// A column with an object as JSON.
    Object(usize),
    /// A column for each label, in the order of the labels.
    Each(Vec<usize>),
}

impl Columns {
    fn text(&self, record: &Record) -> Option<String> {
        match record.values.get(self.text?)? {
            Value::String(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn answer(
        &self,
        record: &Record,
        records: &Records,
        schema: &LabelSchema,
        index: &LabelIndex<'_>,
    ) -> Result<Prediction, ComparisonError> {
        let place = |column: Option<usize>| {
            let name = column.map(|column| records.columns()[column].clone());
            Place::new(records.path(), record.line, record.row, name)
        };
        let scores = match &self.scores {
            Some(scores) => scores.read(record, schema, &place)?,
            None => Vec::new(),
        };
        let raw = match self.label {
            None => None,
            Some(column) => RawLabel::read(&record.values[column]).map_err(|expected| DataError::BadLabel {
                place: place(Some(column)),
                found: shortened(&record.values[column].to_string()),
                expected,
                hint: "a predicted label is a name, a number or a list of names",
            })?,
        };
        let target = raw.map(|raw| index.target(&raw, || place(self.label))).transpose()?;
        let (scores, classes) = match (schema.task, target) {
            (Task::Regression, Some(target)) => (target.value().map(f64::from).into_iter().collect(), Vec::new()),
            (Task::SingleLabel | Task::MultiLabel, Some(target)) => (scores, target.ids().to_vec()),
            // As scores have it where there is no label, such as where a model abstained.
            (Task::SingleLabel, None) if !scores.is_empty() => {
                let best = (0..)
                    .zip(&scores)
                    .reduce(|best, next| if next.1 > best.1 { next } else { best });
                let best = best.map(|(id, _)| id).into_iter().collect();
                (scores, best)
            }
            (Task::MultiLabel, None) => {
                let above = (0..).zip(&scores).filter(|(_, score)| **score >= DEFAULT_THRESHOLD);
                let above = above.map(|(id, _)| id).collect();
                (scores, above)
            }
            (Task::SingleLabel | Task::Regression, None) => return Err(ComparisonError::NoAnswer(place(self.label))),
        };
        Ok(Prediction {
            logits: Vec::new(),
            scores,
            classes,
            abstained: false,
        })
    }
}

impl ScoreColumns {
    /// A score for each label; none if some label has none, as where only the best are listed.
    fn read(
        &self,
        record: &Record,
        schema: &LabelSchema,
        place: &dyn Fn(Option<usize>) -> Box<Place>,
    ) -> Result<Vec<f64>, ComparisonError> {
        match self {
            Self::Each(columns) => {
                let scores: Result<Vec<Option<f64>>, _> = columns
                    .iter()
                    .map(|column| number(&record.values[*column], || place(Some(*column))))
                    .collect();
                Ok(scores?.into_iter().collect::<Option<_>>().unwrap_or_default())
            }
            Self::Object(column) => {
                let bad = |found: &str| ComparisonError::BadScore {
                    place: place(Some(*column)),
                    found: shortened(found),
                };
                let parsed: Value = match &record.values[*column] {
                    Value::Null => return Ok(Vec::new()),
                    Value::String(text) if text.trim().is_empty() => return Ok(Vec::new()),
                    Value::String(text) => serde_json::from_str(text).map_err(|_| bad(text))?,
                    other => other.clone(),
                };
                let Value::Object(object) = &parsed else {
                    return Err(bad(&parsed.to_string()));
                };
                let score = |name: &String| match object.get(name) {
                    None => Ok(None),
                    Some(value) => number(value, || place(Some(*column))),
                };
                let scores: Result<Vec<Option<f64>>, _> = schema.names.iter().map(score).collect();
                Ok(scores?.into_iter().collect::<Option<_>>().unwrap_or_default())
            }
        }
    }
}

/// `None` for an empty cell.
fn number(value: &Value, place: impl Fn() -> Box<Place>) -> Result<Option<f64>, ComparisonError> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    match number.filter(|number: &f64| number.is_finite()) {
        Some(number) => Ok(Some(number)),
        None => Err(ComparisonError::BadScore {
            place: place(),
            found: shortened(&value.to_string()),
        }),
    }
}

/// Blanks are written in many ways.
fn same_text(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}
