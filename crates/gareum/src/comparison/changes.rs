//! Row by row: what a contestant gets right that the first one does not, and the other way round.

use serde::Serialize;
use serde_json::{Value, json};

use super::Contestant;
use crate::data::{Example, LabelSchema, Target, Task};
use crate::evaluation::is_right;
use crate::predict::Prediction;

/// Rows of each kind that are shown.
const MOST_SHOWN: usize = 20;

/// What changed from the first contestant to another. A row is right if all its labels are; a number is never right, and a row is then fixed or
/// broken if the number comes nearer to the truth or moves away.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changes {
    /// The other contestant.
    pub name: String,
    /// Rows that both get right.
    pub both_right: u64,
    /// Rows that both get wrong.
    pub both_wrong: u64,
    /// Those of them that the two get wrong in different ways.
    pub differently_wrong: u64,
    /// Rows that only the other gets right.
    pub fixed: u64,
    /// Rows that only the first gets right.
    pub broken: u64,
    /// Some of those, the largest changes of the scores first.
    pub fixed_rows: Vec<Change>,
    /// Some of those, the largest changes of the scores first.
    pub broken_rows: Vec<Change>,
}

/// A row on which two differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The 1-based row in the file.
    pub row: u64,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// What it is: a label, labels, or a number.
    pub truth: Value,
    /// What the first says.
    pub before: Value,
    /// What the other says.
    pub after: Value,
}

pub(super) fn changes(schema: &LabelSchema, examples: &[Example], contestants: &[Contestant]) -> Vec<Changes> {
    let Some((first, others)) = contestants.split_first() else {
        return Vec::new();
    };
    others
        .iter()
        .map(|other| between(schema, examples, first, other))
        .collect()
}

fn between(schema: &LabelSchema, examples: &[Example], first: &Contestant, other: &Contestant) -> Changes {
    let mut changes = Changes {
        name: other.name.clone(),
        both_right: 0,
        both_wrong: 0,
        differently_wrong: 0,
        fixed: 0,
        broken: 0,
        fixed_rows: Vec::new(),
        broken_rows: Vec::new(),
    };
    let (mut fixed, mut broken) = (Vec::new(), Vec::new());
    for (index, example) in examples.iter().enumerate() {
        let both = [&first.predictions[index], &other.predictions[index]];
        let [before, after] = both.map(|prediction| error(schema.task, &example.target, prediction));
        let right = match schema.task {
            // The nearer one.
            Task::Regression => [before < after, after < before],
            _ => both.map(|prediction| is_right(&example.target, prediction)),
        };
        match right {
            [true, true] => changes.both_right += 1,
            [false, false] => {
                changes.both_wrong += 1;
                changes.differently_wrong += u64::from(both[0].classes != both[1].classes);
            }
            [false, true] => fixed.push((before - after, index)),
            [true, false] => broken.push((after - before, index)),
        }
    }
    (changes.fixed, changes.broken) = (fixed.len() as u64, broken.len() as u64);
    let shown = |mut rows: Vec<(f64, usize)>| -> Vec<Change> {
        rows.sort_by(|one, next| next.0.total_cmp(&one.0));
        rows.truncate(MOST_SHOWN);
        let change = |(_, index): (f64, usize)| Change {
            row: examples[index].id,
            text: examples[index].text.clone(),
            text_pair: examples[index].text_pair.clone(),
            truth: truth(schema, &examples[index].target),
            before: answer(schema, &first.predictions[index]),
            after: answer(schema, &other.predictions[index]),
        };
        rows.into_iter().map(change).collect()
    };
    changes.fixed_rows = shown(fixed);
    changes.broken_rows = shown(broken);
    changes
}

/// How far a prediction is from the truth: 1 less the probability of the true class; the mean over the labels; the distance of numbers. Without
/// probabilities 0 or 1.
fn error(task: Task, target: &Target, prediction: &Prediction) -> f64 {
    let scores = &prediction.scores;
    match task {
        Task::Regression => {
            let truth = target.value().map_or(f64::NAN, f64::from);
            scores.first().map_or(f64::NAN, |score| (score - truth).abs())
        }
        _ if scores.is_empty() => f64::from(u8::from(!is_right(target, prediction))),
        Task::SingleLabel => {
            let truth = target.ids().first();
            truth.map_or(f64::NAN, |id| 1.0 - scores[*id as usize])
        }
        Task::MultiLabel => {
            let truth = target.ids();
            let distance = |(id, score): (u32, &f64)| if truth.contains(&id) { 1.0 - score } else { *score };
            (0..).zip(scores).map(distance).sum::<f64>() / scores.len() as f64
        }
    }
}

/// The truth as it is shown.
pub(super) fn truth(schema: &LabelSchema, target: &Target) -> Value {
    match schema.task {
        Task::Regression => json!(target.value()),
        _ => named(schema, target.ids()),
    }
}

/// A prediction as it is shown.
pub(super) fn answer(schema: &LabelSchema, prediction: &Prediction) -> Value {
    match schema.task {
        Task::Regression => json!(prediction.scores.first()),
        _ => named(schema, &prediction.classes),
    }
}

fn named(schema: &LabelSchema, ids: &[u32]) -> Value {
    let mut names = ids.iter().filter_map(|id| schema.name_of(*id));
    match schema.task {
        Task::MultiLabel => json!(names.collect::<Vec<_>>()),
        _ => json!(names.next()),
    }
}
