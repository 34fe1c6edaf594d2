//! Figures of parts of the examples: by the values of a column, by length.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Judged, headlines, resampled};
use crate::data::{LabelSchema, Target, Task};
use crate::metrics::{Bootstrap, Interval, Metrics, MetricsError};
use crate::predict::Prediction;

/// Values of a column that are told apart; what is rarer is one slice.
const MOST_VALUES: usize = 50;

/// What the rarer values are called together.
const OTHER: &str = "(other)";

/// The first edge between short and longer texts; each further one is twice as far.
const SHORTEST: usize = 16;

/// The examples, parted by something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slicing {
    /// The column, or `tokens`.
    pub by: String,
    /// The parts, the largest first; those by length from the shortest.
    pub slices: Vec<Slice>,
}

/// The examples of one value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// The value.
    pub value: String,
    /// How many.
    pub examples: usize,
    /// The headline figures. Means over labels are of those that occur here, true or predicted.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Their intervals.
    pub confidence_intervals: BTreeMap<String, Option<Interval>>,
}

/// What [`length_slices`] part by.
pub const LENGTH: &str = "tokens";

/// A slicing by length: for each example, given by its tokens, the range that they fall in; what is longer than `max_length` was cut.
pub fn length_slices(tokens: &[usize], max_length: usize) -> (String, Vec<String>) {
    let range = |tokens: &usize| {
        if *tokens > max_length {
            return format!("over {max_length} (cut)");
        }
        let (mut lower, mut upper) = (1, SHORTEST);
        while *tokens > upper {
            (lower, upper) = (upper + 1, 2 * upper);
        }
        format!("{lower}-{}", upper.min(max_length))
    };
    (LENGTH.to_owned(), tokens.iter().map(range).collect())
}

pub(super) fn slicing(
    judged: &Judged<'_>,
    by: &str,
    values: &[String],
    bootstrap: &Bootstrap,
) -> Result<Slicing, MetricsError> {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, value) in values.iter().enumerate() {
        rows.entry(value.as_str()).or_default().push(index);
    }
    let mut rows: Vec<(&str, Vec<usize>)> = rows.into_iter().collect();
    match by {
        // By the number that they begin with; the texts that were cut have none.
        LENGTH => rows.sort_by_key(|(value, _)| {
            let lower = value.split('-').next().and_then(|lower| lower.parse().ok());
            lower.unwrap_or(usize::MAX)
        }),
        _ => rows.sort_by_key(|(_, indices)| std::cmp::Reverse(indices.len())),
    }
    if rows.len() > MOST_VALUES {
        let mut rest: Vec<usize> = rows
            .split_off(MOST_VALUES - 1)
            .into_iter()
            .flat_map(|(_, indices)| indices)
            .collect();
        rest.sort_unstable();
        rows.push((OTHER, rest));
    }
    let slice = |(value, indices): (&str, Vec<usize>)| {
        let part = Part::new(judged, &indices);
        let metrics = part.measure()?;
        let sure = resampled(&part.schema, &part.targets(), &part.predictions(), bootstrap)?.intervals();
        let headlines = || headlines(judged.schema.task).iter().copied();
        Ok(Slice {
            value: value.to_owned(),
            examples: indices.len(),
            metrics: headlines().map(|name| (name.to_owned(), metrics.value(name))).collect(),
            confidence_intervals: headlines().map(|name| (name.to_owned(), sure.of(name))).collect(),
        })
    };
    Ok(Slicing {
        by: by.to_owned(),
        slices: rows.into_iter().map(slice).collect::<Result<_, _>>()?,
    })
}

/// Figures of some examples, with means over the labels that occur among them; `None` if there are no examples.
pub(super) fn figures(judged: &Judged<'_>, indices: &[usize]) -> Result<Option<Metrics>, MetricsError> {
    match indices {
        [] => Ok(None),
        indices => Part::new(judged, indices).measure().map(Some),
    }
}

/// Some examples, with the labels that occur among them numbered anew.
struct Part {
    schema: LabelSchema,
    rows: Vec<(Target, Prediction)>,
}

impl Part {
    fn new(judged: &Judged<'_>, indices: &[usize]) -> Self {
        let pick = |&index: &usize| (judged.examples[index].target.clone(), judged.predictions[index].clone());
        let mut rows: Vec<(Target, Prediction)> = indices.iter().map(pick).collect();
        if judged.schema.task == Task::Regression {
            return Self {
                schema: judged.schema.clone(),
                rows,
            };
        }
        let mut occurs = vec![false; judged.schema.num_labels()];
        let ids = rows
            .iter()
            .flat_map(|(target, prediction)| target.ids().iter().chain(&prediction.classes));
        ids.for_each(|id| occurs[*id as usize] = true);
        let mut numbers = vec![0u32; occurs.len()];
        let mut names = Vec::new();
        for (id, name) in judged.schema.names.iter().enumerate().filter(|(id, _)| occurs[*id]) {
            numbers[id] = names.len() as u32;
            names.push(name.clone());
        }
        let number = |ids: &mut Vec<u32>| ids.iter_mut().for_each(|id| *id = numbers[*id as usize]);
        for (target, prediction) in &mut rows {
            match target {
                Target::Class(id) => *id = numbers[*id as usize],
                Target::Classes(ids) => number(ids),
                Target::Value(_) => {}
            }
            number(&mut prediction.classes);
        }
        Self {
            schema: LabelSchema {
                task: judged.schema.task,
                names,
            },
            rows,
        }
    }

    fn targets(&self) -> Vec<&Target> {
        self.rows.iter().map(|(target, _)| target).collect()
    }

    fn predictions(&self) -> Vec<&Prediction> {
        self.rows.iter().map(|(_, prediction)| prediction).collect()
    }

    /// Without the figures of probabilities, which are of all labels.
    fn measure(&self) -> Result<Metrics, MetricsError> {
        let (names, targets, predictions) = (&self.schema.names, self.targets(), self.predictions());
        match self.schema.task {
            Task::SingleLabel => {
                let (truth, found) = super::classes(&targets, &predictions);
                Metrics::single_label(names, &truth, &found, None, None)
            }
            Task::MultiLabel => {
                let (truth, found) = super::sets(&targets, &predictions);
                Metrics::multi_label(names, &truth, &found, None, None)
            }
            Task::Regression => {
                let (truth, found) = super::numbers(&targets, &predictions);
                Metrics::regression(&truth, &found, None)
            }
        }
    }
}
