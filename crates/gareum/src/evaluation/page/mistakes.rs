//! The mistakes that the model is surest of: the first place to look for wrong labels.

use serde_json::Value;

use super::super::{Mistake, Report};
use super::excerpt;
use crate::data::Task;
use crate::report::{Block, Column, Section, Table, data, grouped, shown_number, words};

pub(crate) fn section(report: &Report, task: Task) -> Option<Section> {
    if report.mistakes.is_empty() {
        return None;
    }
    let (title, first) = match task {
        Task::Regression => ("Largest errors", "error"),
        _ => ("Most confident mistakes", "confidence"),
    };
    let is_multi = task == Task::MultiLabel;
    let row = |mistake: &Mistake| {
        let mut row = vec![
            data(grouped(mistake.example.row)),
            excerpt(&mistake.example.text, mistake.example.text_pair.as_deref()),
            data(format!("{:.3}", mistake.confidence)),
        ];
        row.extend(is_multi.then(|| data(mistake.label.clone().unwrap_or_default())));
        row.extend([data(said(&mistake.truth)), data(said(&mistake.predicted))]);
        row
    };
    let mut columns = vec![
        Column::Number(words("row")),
        Column::Long(words("text")),
        Column::Number(words(first)),
    ];
    columns.extend(is_multi.then(|| Column::Text(words("wrong label"))));
    columns.extend([Column::Text(words("it is")), Column::Text(words("predicted"))]);
    let note = match task {
        Task::Regression => "Where the predicted number is farthest from the true one.",
        _ => "Where the model is sure and wrong, the label in the data is worth a second look.",
    };
    Some(Section {
        title: words(title),
        blocks: vec![
            Block::Paragraph(words(note)),
            Block::Table(Table {
                caption: None,
                columns,
                rows: report.mistakes.iter().map(row).collect(),
            }),
        ],
    })
}

/// A label, labels or a number.
fn said(value: &Value) -> String {
    match value {
        Value::String(label) => label.clone(),
        Value::Array(labels) if labels.is_empty() => "–".to_owned(),
        Value::Array(labels) => labels.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_f64().map_or(String::new(), shown_number),
        _ => "–".to_owned(),
    }
}
