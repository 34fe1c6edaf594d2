//! Several models on the same rows: which is better, whether that is more than chance, and on which rows they differ.
//!
//! A [`Contestant`] is a model that was scored here (`contestant.rs`) or a file of predictions from elsewhere (`file.rs`). [`Comparison::new`]
//! puts them side by side: figures with intervals, tests of each pair on the same draws, F1 label by label, and what each of the later ones
//! gets right that the first does not, and the other way round (`changes.rs`). As a page it is in `page.rs`.
//!
//! Not here: the figures themselves (`metrics/`).

mod changes;
mod contestant;
mod error;
mod file;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::{Example, LabelSchema, Target, Task};
use crate::evaluation::{is_right, measure, resampled, sets};
use crate::metrics::{Bootstrap, Difference, Intervals, Metrics, MetricsError, Resampled, holm, mcnemar};
use crate::predict::Prediction;

pub use changes::{Change, Changes};
pub use contestant::{Answer, Contestant, Cost, Kind, Latency};
pub use error::ComparisonError;
pub use file::PredictionsFile;

/// From here on a difference is called one.
pub const SIGNIFICANT: f64 = 0.05;

/// Contestants side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What is predicted.
    pub task: Task,
    /// Rows that all were measured on.
    pub examples: usize,
    /// What contestants are ranked by: `macro_f1`, of numbers `rmse`.
    pub metric: &'static str,
    /// The contestants, as they were named. The first is what the others are measured against.
    pub contestants: Vec<Standing>,
    /// Each two of them.
    pub pairs: Vec<Pair>,
    /// F1 of each label, those first that changed most; empty for regression.
    pub labels: Vec<LabelStanding>,
    /// What changed from the first to each of the others.
    pub changes: Vec<Changes>,
}

/// The figures of a contestant.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// What it is called.
    pub name: String,
    /// Where it was read from.
    pub source: String,
    /// What it is.
    pub kind: Kind,
    /// Its figures by name; null where undefined, as those of probabilities are without any.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// How sure some of them are.
    pub confidence_intervals: Intervals,
    /// What it costs; null for a file.
    pub cost: Option<Cost>,
    /// How far it says something else than the first one; null for that one.
    pub moved: Option<Moved>,
}

/// How far a contestant says something else than another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Moved {
    /// The share of rows whose labels differ; 0 for numbers.
    pub flipped: f64,
    /// How far probabilities differ; null where one of them has none.
    pub shift: Option<Shift>,
}

/// How far probabilities moved: on each row, that of the label that moved most; predicted numbers themselves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shift {
    /// The mean over rows.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

impl Moved {
    fn between(task: Task, before: &Contestant, after: &Contestant) -> Self {
        let rows = || before.predictions.iter().zip(&after.predictions);
        let count = before.predictions.len().max(1) as f64;
        let is_flip = |(before, after): &(&Prediction, &Prediction)| before.classes != after.classes;
        let has_scores = |(before, after): (&Prediction, &Prediction)| {
            !before.scores.is_empty() && before.scores.len() == after.scores.len()
        };
        let shifts = || rows().map(|(before, after)| shift(before, after));
        Self {
            flipped: match task {
                Task::Regression => 0.0,
                _ => rows().filter(is_flip).count() as f64 / count,
            },
            shift: rows().all(has_scores).then(|| Shift {
                mean: shifts().sum::<f64>() / count,
                max: shifts().fold(0.0, f64::max),
            }),
        }
    }
}

/// How far the score moved that moved most.
pub(crate) fn shift(before: &Prediction, after: &Prediction) -> f64 {
    let scores = before.scores.iter().zip(&after.scores);
    scores.map(|(before, after)| (before - after).abs()).fold(0.0, f64::max)
}

/// Two contestants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// The earlier one.
    pub first: String,
    /// The later one.
    pub second: String,
    /// How much larger figures of the second are, by name; null where a draw leaves one undefined.
    pub differences: BTreeMap<String, Option<Difference>>,
    /// The p-value of the ranking figure's difference, corrected by Holm's method for the number of pairs.
    pub corrected_p_value: Option<f64>,
    /// Rows that one of them gets right; null for regression.
    pub mcnemar: Option<McNemar>,
}

/// Rows that only one of two gets right. Of several labels all must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct McNemar {
    /// Only the first does.
    pub only_first: u64,
    /// Only the second does.
    pub only_second: u64,
    /// How likely so uneven a split is if neither is better.
    pub p_value: f64,
}

/// A label's F1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelStanding {
    /// The label.
    pub label: String,
    /// Rows with it.
    pub support: u64,
    /// Of each contestant.
    pub f1: Vec<Option<f64>>,
    /// How much larger it is than the first one's, for each of the others.
    pub differences: Vec<Option<Difference>>,
}

/// What a pair comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The second is better.
    Better,
    /// The second is worse.
    Worse,
    /// These rows do not tell.
    Undecided,
}

impl Comparison {
    /// Puts contestants side by side, whose predictions are of these examples in their order.
    ///
    /// # Errors
    /// [`MetricsError`] if examples, predictions and labels do not belong together.
    pub fn new(
        schema: &LabelSchema,
        examples: &[Example],
        contestants: &[Contestant],
        bootstrap: &Bootstrap,
    ) -> Result<Self, MetricsError> {
        let targets: Vec<&Target> = examples.iter().map(|example| &example.target).collect();
        let metric = match schema.task {
            Task::Regression => "rmse",
            _ => "macro_f1",
        };
        let mut draws = Vec::with_capacity(contestants.len());
        let mut standings = Vec::with_capacity(contestants.len());
        for (index, contestant) in contestants.iter().enumerate() {
            let predictions: Vec<&Prediction> = contestant.predictions.iter().collect();
            let drawn = resampled(schema, &targets, &predictions, bootstrap)?;
            let metrics = measure(schema, &targets, &contestant.predictions, None)?;
            let values = metrics.values().into_iter().filter(|(name, _)| *name != "loss");
            standings.push(Standing {
                name: contestant.name.clone(),
                source: contestant.source.clone(),
                kind: contestant.kind,
                metrics: values.map(|(name, value)| (name.to_owned(), value)).collect(),
                confidence_intervals: drawn.intervals(),
                cost: contestant.cost,
                moved: (index > 0).then(|| Moved::between(schema.task, &contestants[0], contestant)),
            });
            draws.push(drawn);
        }
        Ok(Self {
            task: schema.task,
            examples: examples.len(),
            metric,
            contestants: standings,
            pairs: pairs(schema, &targets, contestants, &draws, metric)?,
            labels: match schema.task {
                Task::Regression => Vec::new(),
                _ => labels(schema, &targets, contestants, bootstrap)?,
            },
            changes: changes::changes(schema, examples, contestants),
        })
    }

    /// The pair of the first contestant and another.
    pub fn against_first(&self, name: &str) -> Option<&Pair> {
        let first = self.contestants.first()?;
        self.pairs
            .iter()
            .find(|pair| pair.first == first.name && pair.second == name)
    }

    /// The two that rank highest, if neither is the first that was named: whether they differ is said nowhere else.
    pub fn best_pair(&self) -> Option<&Pair> {
        let value = |standing: &&Standing| standing.metrics.get(self.metric).copied().flatten();
        let mut ranked: Vec<&Standing> = self
            .contestants
            .iter()
            .filter(|standing| value(standing).is_some())
            .collect();
        ranked.sort_by(|one, other| {
            let order = value(other)
                .partial_cmp(&value(one))
                .unwrap_or(std::cmp::Ordering::Equal);
            if Metrics::larger_is_better(self.metric) {
                order
            } else {
                order.reverse()
            }
        });
        let [best, next, ..] = ranked.as_slice() else {
            return None;
        };
        let first = &self.contestants.first()?.name;
        let is_either = |pair: &&Pair| {
            let names = [&pair.first, &pair.second];
            names.contains(&&best.name) && names.contains(&&next.name)
        };
        self.pairs.iter().find(is_either).filter(|pair| pair.first != *first)
    }

    /// Whether the second of a pair is better, by the corrected p-value of the ranking figure.
    pub fn verdict(&self, pair: &Pair) -> Verdict {
        let difference = pair.differences.get(self.metric).copied().flatten();
        match (difference, pair.corrected_p_value) {
            (Some(difference), Some(p_value)) if p_value < SIGNIFICANT && difference.value != 0.0 => {
                match (difference.value > 0.0) == Metrics::larger_is_better(self.metric) {
                    true => Verdict::Better,
                    false => Verdict::Worse,
                }
            }
            _ => Verdict::Undecided,
        }
    }
}

fn pairs(
    schema: &LabelSchema,
    targets: &[&Target],
    contestants: &[Contestant],
    draws: &[Resampled],
    metric: &str,
) -> Result<Vec<Pair>, MetricsError> {
    let mut pairs = Vec::new();
    for second in 1..contestants.len() {
        for first in 0..second {
            pairs.push(Pair {
                first: contestants[first].name.clone(),
                second: contestants[second].name.clone(),
                differences: draws[second].above(&draws[first])?,
                corrected_p_value: None,
                mcnemar: (schema.task != Task::Regression)
                    .then(|| split(targets, &contestants[first], &contestants[second])),
            });
        }
    }
    pairs.sort_by_key(|pair| {
        let position = |name: &str| contestants.iter().position(|contestant| contestant.name == name);
        (position(&pair.first), position(&pair.second))
    });
    let of_pair = |pair: &Pair| Some(pair.differences.get(metric)?.as_ref()?.p_value);
    let known: Vec<f64> = pairs.iter().filter_map(of_pair).collect();
    let mut corrected = holm(&known).into_iter();
    for pair in &mut pairs {
        pair.corrected_p_value = of_pair(pair).and_then(|_| corrected.next());
    }
    Ok(pairs)
}

fn split(targets: &[&Target], first: &Contestant, second: &Contestant) -> McNemar {
    let (mut only_first, mut only_second) = (0, 0);
    for (target, (first, second)) in targets.iter().zip(first.predictions.iter().zip(&second.predictions)) {
        let (first, second) = (is_right(target, first), is_right(target, second));
        only_first += u64::from(first && !second);
        only_second += u64::from(second && !first);
    }
    McNemar {
        only_first,
        only_second,
        p_value: mcnemar(only_first, only_second),
    }
}

fn labels(
    schema: &LabelSchema,
    targets: &[&Target],
    contestants: &[Contestant],
    bootstrap: &Bootstrap,
) -> Result<Vec<LabelStanding>, MetricsError> {
    let mut draws = Vec::with_capacity(contestants.len());
    let mut support = vec![0; schema.num_labels()];
    targets
        .iter()
        .flat_map(|target| target.ids())
        .for_each(|id| support[*id as usize] += 1);
    for contestant in contestants {
        let predictions: Vec<&Prediction> = contestant.predictions.iter().collect();
        let (truth, found) = sets(targets, &predictions);
        draws.push(bootstrap.label_f1(&schema.names, &truth, &found)?);
    }
    let Some((first, others)) = draws.split_first() else {
        return Ok(Vec::new());
    };
    let above: Vec<_> = others
        .iter()
        .map(|other| other.above(first))
        .collect::<Result<_, _>>()?;
    let standing = |(name, support): (&String, u64)| LabelStanding {
        label: name.clone(),
        support,
        f1: draws.iter().map(|draws| draws.value(name)).collect(),
        differences: above.iter().map(|above| above.get(name).copied().flatten()).collect(),
    };
    let mut labels: Vec<LabelStanding> = schema.names.iter().zip(support).map(standing).collect();
    let change = |label: &LabelStanding| {
        let differences = label.differences.iter().flatten();
        differences.map(|difference| difference.value.abs()).fold(0.0, f64::max)
    };
    labels.sort_by(|one, other| change(other).total_cmp(&change(one)));
    Ok(labels)
}
