//! Which labels are given for which, and the mistakes that a model is most sure of.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Judged, number};
use crate::data::{Example, Task};
use crate::predict::Prediction;

/// Pairs that are listed.
const MOST_CONFUSED: usize = 10;

/// Examples of each pair.
const EXAMPLES_OF_PAIR: usize = 3;

/// Mistakes that are listed.
const MOST_MISTAKES: usize = 20;

/// Examples of one label that got another; of several labels, those that miss the first and wrongly have the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confused {
    /// What they are.
    pub label: String,
    /// What they are taken for.
    pub predicted: String,
    /// How many.
    pub count: usize,
    /// The share of the examples with the label.
    pub share: f64,
    /// Some of them, the most confident first.
    pub examples: Vec<ExampleShown>,
}

/// An example to look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExampleShown {
    /// Row of the file, from 1.
    pub row: u64,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// Score of what was predicted.
    pub score: f64,
}

/// A wrong prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mistake {
    /// The example; its score is that of the wrong label, or for regression the predicted number.
    #[serde(flatten)]
    pub example: ExampleShown,
    /// The true label, labels, or number.
    pub truth: Value,
    /// The predicted one.
    pub predicted: Value,
    /// Of several labels: which one is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How sure the model is of what is wrong: the probability that it gives to that; for regression the size of the error.
    pub confidence: f64,
}

pub(super) fn confused(judged: &Judged<'_>) -> Vec<Confused> {
    let mut pairs: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    let mut supports = vec![0usize; judged.schema.num_labels()];
    for (index, (example, prediction)) in judged.examples.iter().zip(judged.predictions).enumerate() {
        let truth = example.target.ids();
        truth.iter().for_each(|id| supports[*id as usize] += 1);
        for missed in truth.iter().filter(|id| !prediction.classes.contains(id)) {
            for given in prediction.classes.iter().filter(|id| !truth.contains(id)) {
                pairs.entry((*missed, *given)).or_default().push(index);
            }
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    // Of equally many, in the order of the labels.
    pairs.sort_by_key(|(_, indices)| std::cmp::Reverse(indices.len()));
    pairs
        .into_iter()
        .take(MOST_CONFUSED)
        .map(|((missed, given), mut indices)| {
            let score = |index: usize| judged.predictions[index].scores[given as usize];
            let count = indices.len();
            indices.sort_by(|first, second| score(*second).total_cmp(&score(*first)));
            let shown = indices.iter().take(EXAMPLES_OF_PAIR);
            Confused {
                label: judged.schema.names[missed as usize].clone(),
                predicted: judged.schema.names[given as usize].clone(),
                count,
                share: count as f64 / supports[missed as usize] as f64,
                examples: shown
                    .map(|index| show(&judged.examples[*index], score(*index)))
                    .collect(),
            }
        })
        .collect()
}

pub(super) fn mistakes(judged: &Judged<'_>) -> Vec<Mistake> {
    let rows = judged.examples.iter().zip(judged.predictions).enumerate();
    let mut wrong: Vec<Wrong> = rows
        .flat_map(|(index, (example, prediction))| wrong(index, example, prediction, judged.schema.task))
        .collect();
    wrong.sort_by(|first, second| second.confidence.total_cmp(&first.confidence));
    wrong.truncate(MOST_MISTAKES);
    wrong.into_iter().map(|wrong| wrong.mistake(judged)).collect()
}

/// A wrong decision, not yet put into words.
struct Wrong {
    index: usize,
    /// Of several labels, the one.
    label: Option<u32>,
    score: f64,
    confidence: f64,
}

fn wrong(index: usize, example: &Example, prediction: &Prediction, task: Task) -> Vec<Wrong> {
    let truth = example.target.ids();
    match task {
        Task::Regression => {
            let score = prediction.scores.first().copied().unwrap_or(f64::NAN);
            vec![Wrong {
                index,
                label: None,
                score,
                confidence: (score - number(&example.target)).abs(),
            }]
        }
        Task::SingleLabel => {
            let given = prediction.classes.first().filter(|id| !truth.contains(id));
            let wrong = |id: &u32| {
                let score = prediction.scores[*id as usize];
                Wrong {
                    index,
                    label: None,
                    score,
                    confidence: score,
                }
            };
            given.map(wrong).into_iter().collect()
        }
        Task::MultiLabel => (0..)
            .zip(&prediction.scores)
            .filter(|(id, _)| truth.contains(id) != prediction.classes.contains(id))
            .map(|(id, &score)| Wrong {
                index,
                label: Some(id),
                score,
                confidence: if truth.contains(&id) { 1.0 - score } else { score },
            })
            .collect(),
    }
}

impl Wrong {
    fn mistake(self, judged: &Judged<'_>) -> Mistake {
        let schema = judged.schema;
        let (example, prediction) = (&judged.examples[self.index], &judged.predictions[self.index]);
        let name = |id: &u32| schema.names[*id as usize].clone();
        let said = |ids: &[u32]| match schema.task {
            Task::MultiLabel => json!(ids.iter().map(name).collect::<Vec<_>>()),
            _ => json!(ids.first().map(name)),
        };
        let (truth, predicted) = match schema.task {
            Task::Regression => (json!(number(&example.target)), json!(self.score)),
            _ => (said(example.target.ids()), said(&prediction.classes)),
        };
        Mistake {
            example: show(example, self.score),
            truth,
            predicted,
            label: self.label.as_ref().map(name),
            confidence: self.confidence,
        }
    }
}

fn show(example: &Example, score: f64) -> ExampleShown {
    ExampleShown {
        row: example.id,
        text: example.text.clone(),
        text_pair: example.text_pair.clone(),
        score,
    }
}
