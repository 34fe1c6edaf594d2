//! Fitting a decision on rows that the model was not trained on.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_THRESHOLD, Decision, LabelThreshold};
use crate::data::{LabelSchema, Target, Task};
use crate::evaluation::measure;
use crate::metrics::{LabelScores, Metrics, MetricsError, cuts};
use crate::predict::Prediction;
use crate::settings::{DecisionSettings, ThresholdObjective};

/// The most that logits are scaled by, up or down. A minimum beyond is none: the rows are too few or too well told apart to say.
const MOST_TEMPERATURE: f64 = 10.0;

/// Halvings of the logarithm of the temperature: to the last digits that count.
const HALVINGS: usize = 40;

/// Rows that are summed together, so that sums do not depend on the number of threads.
const CHUNK_ROWS: usize = 256;

/// The figures of [`Fitted`], as far as the task has them.
const FIGURES: [&str; 5] = ["log_loss", "ece", "accuracy", "macro_f1", "micro_f1"];

/// What fitting did on the rows it was done on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// How many examples.
    pub examples: u64,
    /// Figures at temperature 1 and thresholds of 0.5, by their names in `metrics.json`.
    pub before: BTreeMap<String, Option<f64>>,
    /// Those of the fitted decision.
    pub after: BTreeMap<String, Option<f64>>,
}

impl Decision {
    /// Fits temperature and thresholds on predictions whose truth is known; only their logits are looked at. A regression has neither.
    ///
    /// # Errors
    /// [`MetricsError`] if targets and predictions do not belong together.
    pub fn fit(
        settings: &DecisionSettings,
        schema: &LabelSchema,
        targets: &[&Target],
        predictions: &[Prediction],
    ) -> Result<Self, MetricsError> {
        let mut decision = Self {
            abstain: settings.abstain,
            ..Self::default()
        };
        if schema.task == Task::Regression || targets.is_empty() {
            return Ok(decision);
        }
        let rows: Vec<Row<'_>> = targets
            .iter()
            .zip(predictions)
            .map(|(target, prediction)| (target.ids(), prediction.logits.as_slice()))
            .collect();
        if settings.temperature {
            decision.temperature = temperature(&rows, schema.task);
        }
        if schema.task == Task::MultiLabel && settings.thresholds != ThresholdObjective::Fixed {
            let scores: Vec<f64> = decision
                .again(predictions, schema.task)
                .flat_map(|prediction| prediction.scores)
                .collect();
            let sets: Vec<&[u32]> = targets.iter().map(|target| target.ids()).collect();
            let scores = LabelScores::new(&sets, &scores, schema.num_labels())?;
            decision.thresholds = thresholds(&scores, schema, settings);
        }
        let figures = |decision: &Self| -> Result<BTreeMap<String, Option<f64>>, MetricsError> {
            let predictions: Vec<Prediction> = decision.again(predictions, schema.task).collect();
            let metrics = measure(schema, targets, &predictions, None)?;
            Ok(chosen_figures(&metrics))
        };
        decision.fitted = Some(Fitted {
            examples: targets.len() as u64,
            before: figures(&Self::default())?,
            after: figures(&decision)?,
        });
        Ok(decision)
    }

    /// What this decision makes of the logits of predictions that another one made.
    pub fn again<'a>(&'a self, predictions: &'a [Prediction], task: Task) -> impl Iterator<Item = Prediction> + 'a {
        predictions
            .iter()
            .map(move |prediction| self.decide(prediction.logits.clone(), task))
    }
}

fn chosen_figures(metrics: &Metrics) -> BTreeMap<String, Option<f64>> {
    let values = metrics.values().into_iter();
    let chosen = values.filter(|(name, _)| FIGURES.contains(name));
    chosen.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// True labels and logits of an example.
type Row<'a> = (&'a [u32], &'a [f32]);

/// The temperature at which the rows have the least loss, 1 unless that is less than it was.
///
/// With `β = 1 / temperature`, the loss is convex in β, so its slope is 0 at one place: `Σ (E[z] − z_y)` for softmax, `Σ (σ(βz) − y) z` for
/// sigmoids.
fn temperature(rows: &[Row<'_>], task: Task) -> f64 {
    let sum = |term: &(dyn Fn(&Row<'_>) -> f64 + Sync)| -> f64 {
        let chunk = |rows: &[Row<'_>]| rows.iter().map(term).sum::<f64>();
        let chunks: Vec<f64> = rows.par_chunks(CHUNK_ROWS).map(chunk).collect();
        chunks.into_iter().sum()
    };
    let slope = |beta: f64| match task {
        Task::MultiLabel => sum(&|row| sigmoid_slope(row, beta)),
        _ => sum(&|row| softmax_loss_and_slope(row, beta).1),
    };
    let loss = |beta: f64| match task {
        Task::MultiLabel => sum(&|row| sigmoid_loss(row, beta)),
        _ => sum(&|row| softmax_loss_and_slope(row, beta).0),
    };
    let (mut low, mut high) = (1.0 / MOST_TEMPERATURE, MOST_TEMPERATURE);
    // Also where a logit is not a number.
    if !(slope(low) < 0.0 && slope(high) > 0.0) {
        return 1.0;
    }
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        match slope(middle) > 0.0 {
            true => high = middle,
            false => low = middle,
        }
    }
    let beta = (low * high).sqrt();
    if loss(beta) < loss(1.0) { 1.0 / beta } else { 1.0 }
}

fn softmax_loss_and_slope((ids, logits): &Row<'_>, beta: f64) -> (f64, f64) {
    let truth = ids.first().map_or(f64::NAN, |id| f64::from(logits[*id as usize]));
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut mean) = (0.0, 0.0);
    for &logit in *logits {
        let weight = (beta * f64::from(logit - largest)).exp();
        sum += weight;
        mean += weight * f64::from(logit);
    }
    (sum.ln() - beta * (truth - f64::from(largest)), mean / sum - truth)
}

fn sigmoid_slope((ids, logits): &Row<'_>, beta: f64) -> f64 {
    let term = |(id, &logit): (u32, &f32)| {
        let (logit, holds) = (f64::from(logit), f64::from(u8::from(ids.contains(&id))));
        (1.0 / (1.0 + (-beta * logit).exp()) - holds) * logit
    };
    (0..).zip(*logits).map(term).sum()
}

fn sigmoid_loss((ids, logits): &Row<'_>, beta: f64) -> f64 {
    let term = |(id, &logit): (u32, &f32)| {
        // ln(1 + e^−z) of the logit towards the truth.
        let towards = beta * f64::from(if ids.contains(&id) { logit } else { -logit });
        (-towards.abs()).exp().ln_1p() + (-towards).max(0.0)
    };
    (0..).zip(*logits).map(term).sum()
}

/// What a label gains and loses by one threshold.
#[derive(Debug, Clone, Copy)]
struct Choice {
    threshold: f64,
    /// The lowest score that reaches it.
    lowest: f64,
    true_positives: f64,
    predicted: f64,
    positives: f64,
}

impl Choice {
    /// Every choice that makes a difference: between two scores that occur, above the highest and below the lowest.
    fn all(is_positive: &[bool], scores: &[f64]) -> Vec<Self> {
        let cuts = cuts(is_positive, scores);
        let positives = cuts.last().map_or(0, |all| all.true_positives) as f64;
        let highest = cuts.first().map_or(1.0, |first| first.threshold);
        let nothing = Self {
            threshold: (highest + 1.0) / 2.0,
            lowest: f64::INFINITY,
            true_positives: 0.0,
            predicted: 0.0,
            positives,
        };
        let below = cuts.iter().skip(1).map(|cut| cut.threshold).chain([0.0]);
        let choices = cuts.iter().zip(below).map(|(cut, below)| Self {
            threshold: (cut.threshold + below) / 2.0,
            lowest: cut.threshold,
            true_positives: cut.true_positives as f64,
            predicted: (cut.true_positives + cut.false_positives) as f64,
            positives,
        });
        // Not above a score that is 1 to the last digit, and not where scores are no numbers.
        std::iter::once(nothing)
            .filter(|nothing| nothing.threshold > highest)
            .chain(choices)
            .filter(|choice| choice.threshold.is_finite())
            .collect()
    }

    fn f1(&self) -> f64 {
        ratio(2.0 * self.true_positives, self.predicted + self.positives)
    }

    fn precision(&self) -> f64 {
        ratio(self.true_positives, self.predicted)
    }

    fn recall(&self) -> f64 {
        ratio(self.true_positives, self.positives)
    }

    /// How good it is for an objective of labels one by one; `None` if it does not reach the target.
    fn utility(&self, settings: &DecisionSettings) -> Option<f64> {
        let target = settings.target.unwrap_or_default();
        match settings.thresholds {
            ThresholdObjective::PrecisionAtRecall => (self.recall() >= target).then(|| self.precision()),
            ThresholdObjective::RecallAtPrecision => {
                (self.predicted > 0.0 && self.precision() >= target).then(|| self.recall())
            }
            _ => Some(self.f1()),
        }
    }

    /// The best by a utility; of equal ones the nearest to 0.5.
    fn best(choices: &[Self], utility: impl Fn(&Self) -> Option<f64>) -> Option<Self> {
        let rank = |choice: &Self| Some((utility(choice)?, -(choice.threshold - DEFAULT_THRESHOLD).abs()));
        let ranked = choices.iter().filter_map(|choice| Some((rank(choice)?, *choice)));
        let best = ranked.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, choice)| choice)
    }

    /// What another threshold makes of the same scores.
    fn at(choices: &[Self], threshold: f64) -> Option<Self> {
        let reached = choices.iter().rev().find(|choice| choice.lowest >= threshold).copied();
        reached.or(choices.first().map(|first| Self {
            true_positives: 0.0,
            predicted: 0.0,
            ..*first
        }))
    }
}

/// A threshold for each label. Those with fewer than `min_support` examples, and those that cannot reach the target, share the one that is
/// best for all labels together.
fn thresholds<Set: AsRef<[u32]> + Sync>(
    scores: &LabelScores<'_, Set>,
    schema: &LabelSchema,
    settings: &DecisionSettings,
) -> Vec<LabelThreshold> {
    let choices: Vec<Vec<Choice>> = (0..schema.num_labels() as u32)
        .into_par_iter()
        .map(|label| {
            let (is_positive, scores) = scores.label(label);
            Choice::all(&is_positive, &scores)
        })
        .collect();
    let (holds, pooled) = scores.decisions();
    let pooled = Choice::all(&holds, &pooled);
    let shared = Choice::best(&pooled, |choice| choice.utility(settings));
    let shared = shared.map_or(DEFAULT_THRESHOLD, |choice| choice.threshold);
    let supports = scores.supports();
    let has_support = |label: usize| supports[label] >= settings.min_support.max(1);
    let own = |utility: &dyn Fn(&Choice) -> Option<f64>| -> Vec<Option<Choice>> {
        let best = |label: usize| {
            has_support(label)
                .then(|| Choice::best(&choices[label], utility))
                .flatten()
        };
        (0..choices.len()).map(best).collect()
    };
    let chosen = match settings.thresholds {
        ThresholdObjective::MicroF1 => best_micro_f1(&choices, shared, own),
        _ => own(&|choice| choice.utility(settings)),
    };
    let named = schema.names.iter().zip(supports).zip(chosen);
    named
        .map(|((label, support), chosen)| LabelThreshold {
            label: label.clone(),
            threshold: chosen.map_or(shared, |choice| choice.threshold),
            support,
            shared: chosen.is_none(),
        })
        .collect()
}

/// The thresholds with the best F1 of all decisions together. That is a quotient of sums over labels, `Σ 2 tp / Σ (predicted + positives)`:
/// each label maximises `2 tp − F · predicted` for the `F` of the round before, until it grows no more (Dinkelbach 1967).
fn best_micro_f1(
    choices: &[Vec<Choice>],
    shared: f64,
    own: impl Fn(&dyn Fn(&Choice) -> Option<f64>) -> Vec<Option<Choice>>,
) -> Vec<Option<Choice>> {
    let f1 = |chosen: &[Option<Choice>]| {
        let labels = chosen.iter().zip(choices);
        let (hits, all) = labels
            .filter_map(|(chosen, choices)| chosen.or(Choice::at(choices, shared)))
            .fold((0.0, 0.0), |(hits, all), one| {
                (hits + 2.0 * one.true_positives, all + one.predicted + one.positives)
            });
        ratio(hits, all)
    };
    let mut best = own(&|choice| Some(choice.f1()));
    loop {
        let before = f1(&best);
        let next = own(&|choice| Some(2.0 * choice.true_positives - before * choice.predicted));
        if f1(&next) <= before {
            return best;
        }
        best = next;
    }
}

/// 0 / 0 = 0
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tensor::random::Sequence;

    use super::*;
    use crate::settings::DecisionSettings;

    fn schema(task: Task, labels: usize) -> LabelSchema {
        LabelSchema {
            task,
            names: (0..labels).map(|id| id.to_string()).collect(),
        }
    }

    fn fit(settings: &DecisionSettings, task: Task, rows: &[(Target, Vec<f32>)]) -> Decision {
        let labels = rows.first().map_or(0, |(_, logits)| logits.len());
        let targets: Vec<&Target> = rows.iter().map(|(target, _)| target).collect();
        let decide = |(_, logits): &(Target, Vec<f32>)| Decision::default().decide(logits.clone(), task);
        let predictions: Vec<Prediction> = rows.iter().map(decide).collect();
        Decision::fit(settings, &schema(task, labels), &targets, &predictions).unwrap()
    }

    fn settings(thresholds: ThresholdObjective, target: Option<f64>) -> DecisionSettings {
        DecisionSettings {
            temperature: false,
            thresholds,
            target,
            min_support: 1,
            ..DecisionSettings::default()
        }
    }

    /// Classes drawn by the softmax of logits, or labels by their sigmoids; the rows have the logits times `factor`.
    fn drawn(task: Task, count: usize, factor: f32) -> Vec<(Target, Vec<f32>)> {
        let mut random = Sequence::new(11, 3);
        let row = |_| {
            let logits: Vec<f32> = (0..4).map(|_| 2.0 * random.normal() as f32).collect();
            let scores = Decision::default().decide(logits.clone(), task).scores;
            let target = match task {
                Task::MultiLabel => {
                    let holds = (0..).zip(&scores).filter(|(_, score)| random.uniform() < **score);
                    Target::Classes(holds.map(|(id, _)| id).collect())
                }
                _ => {
                    let mut left = random.uniform();
                    let class = scores.iter().position(|score| {
                        left -= score;
                        left < 0.0
                    });
                    Target::Class(class.unwrap_or(0) as u32)
                }
            };
            (target, logits.into_iter().map(|logit| factor * logit).collect())
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn a_temperature_is_found_again() {
        for task in [Task::SingleLabel, Task::MultiLabel] {
            for factor in [0.4, 1.0, 3.0] {
                let settings = DecisionSettings {
                    thresholds: ThresholdObjective::Fixed,
                    ..DecisionSettings::default()
                };
                let decision = fit(&settings, task, &drawn(task, 4000, factor));
                let found = decision.temperature / f64::from(factor);
                assert!((found - 1.0).abs() < 0.05, "{task} {factor}: {}", decision.temperature);
                let Fitted { before, after, .. } = decision.fitted.unwrap();
                assert!(after["log_loss"].unwrap() <= before["log_loss"].unwrap());
                assert_eq!(after["accuracy"], before["accuracy"]);
                if factor != 1.0 {
                    assert!(
                        after["ece"].unwrap() < 0.03 && before["ece"].unwrap() > 0.05,
                        "{task} {factor}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_without_a_mistake_say_nothing_of_a_temperature() {
        let rows = [(Target::Class(0), vec![1.0, 0.0]), (Target::Class(1), vec![0.0, 0.1])];
        assert_eq!(
            fit(&DecisionSettings::default(), Task::SingleLabel, &rows).temperature,
            1.0
        );
        let nothing = fit(&DecisionSettings::default(), Task::SingleLabel, &[]);
        assert_eq!(nothing, Decision::default());
        let numbers = [(Target::Value(1.0), vec![3.0])];
        assert_eq!(
            fit(&DecisionSettings::default(), Task::Regression, &numbers),
            Decision::default()
        );
        let lost = [(Target::Class(0), vec![f32::NAN, 0.0])];
        assert_eq!(
            fit(&DecisionSettings::default(), Task::SingleLabel, &lost).temperature,
            1.0
        );
    }

    /// One label; its logits, and whether it holds.
    fn one_label(rows: &[(bool, f32)]) -> Vec<(Target, Vec<f32>)> {
        let row = |(holds, logit): &(bool, f32)| (Target::Classes(if *holds { vec![0] } else { vec![] }), vec![*logit]);
        rows.iter().map(row).collect()
    }

    #[test]
    fn objectives_reach_their_targets() {
        // Scores from high to low: + + - + - -
        let rows = one_label(&[
            (true, 3.0),
            (true, 2.0),
            (false, 1.0),
            (true, 0.0),
            (false, -1.0),
            (false, -2.0),
        ]);
        let found = |objective, target| {
            let decision = fit(&settings(objective, target), Task::MultiLabel, &rows);
            let label = &decision.thresholds[0];
            let found = rows.iter().filter(|(_, logits)| {
                Decision::default().decide(logits.clone(), Task::MultiLabel).scores[0] >= label.threshold
            });
            (found.count(), label.shared)
        };
        assert_eq!(found(ThresholdObjective::MacroF1, None), (4, false));
        assert_eq!(found(ThresholdObjective::MicroF1, None), (4, false));
        assert_eq!(found(ThresholdObjective::PrecisionAtRecall, Some(0.6)), (2, false));
        assert_eq!(found(ThresholdObjective::PrecisionAtRecall, Some(0.7)), (4, false));
        assert_eq!(found(ThresholdObjective::RecallAtPrecision, Some(1.0)), (2, false));
        assert_eq!(found(ThresholdObjective::RecallAtPrecision, Some(0.75)), (4, false));
        // What cannot be reached is left at 0.5: logits from 0 on.
        let wrong = one_label(&[(false, 3.0), (true, 2.0)]);
        let decision = fit(
            &settings(ThresholdObjective::RecallAtPrecision, Some(0.9)),
            Task::MultiLabel,
            &wrong,
        );
        assert_eq!(
            (decision.thresholds[0].threshold, decision.thresholds[0].shared),
            (DEFAULT_THRESHOLD, true)
        );
    }

    #[test]
    fn rare_labels_share_a_threshold() {
        let rows: Vec<(Target, Vec<f32>)> = (0..20)
            .map(|row| match row {
                0 => (Target::Classes(vec![1]), vec![-3.0, 4.0]),
                row if row % 2 == 0 => (Target::Classes(vec![0]), vec![-1.0, -4.0]),
                _ => (Target::Classes(vec![]), vec![-2.0, -4.0]),
            })
            .collect();
        let rare = DecisionSettings {
            min_support: 5,
            ..settings(ThresholdObjective::MacroF1, None)
        };
        let thresholds = fit(&rare, Task::MultiLabel, &rows).thresholds;
        assert_eq!(
            thresholds
                .iter()
                .map(|label| (label.support, label.shared))
                .collect::<Vec<_>>(),
            [(9, false), (1, true)]
        );
        // Between the scores of -1 and -2, as is best for all decisions together.
        let score = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        assert!((thresholds[1].threshold - (score(-1.0) + score(-2.0)) / 2.0).abs() < 1e-6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// No other thresholds do better on the rows they were chosen on: every pair of them is tried.
        #[test]
        fn thresholds_are_the_best(rows in prop::collection::vec((0u32..4, -3i8..=3, -3i8..=3), 1..14)) {
            let set = |bits: u32| (0..2).filter(|id| bits >> id & 1 == 1).collect::<Vec<u32>>();
            let rows: Vec<(Target, Vec<f32>)> = rows
                .iter()
                .map(|(bits, first, second)| (Target::Classes(set(*bits)), vec![f32::from(*first), f32::from(*second)]))
                .collect();
            let targets: Vec<&Target> = rows.iter().map(|(target, _)| target).collect();
            let measured = |decision: &Decision| {
                let predictions: Vec<Prediction> = rows.iter().map(|(_, logits)| decision.decide(logits.clone(), Task::MultiLabel)).collect();
                measure(&schema(Task::MultiLabel, 2), &targets, &predictions, None).unwrap()
            };
            let all_have_support = (0..2).all(|id| targets.iter().any(|target| target.ids().contains(&id)));
            prop_assume!(all_have_support);
            let fitted = |objective| measured(&fit(&settings(objective, None), Task::MultiLabel, &rows));
            let best = [
                ("macro_f1", fitted(ThresholdObjective::MacroF1).value("macro_f1").unwrap()),
                ("micro_f1", fitted(ThresholdObjective::MicroF1).value("micro_f1").unwrap()),
            ];
            // Between all logits.
            for first in -4..=3 {
                for second in -4..=3 {
                    let between = |logit: i32| 1.0 / (1.0 + (-(f64::from(logit) + 0.5)).exp());
                    let threshold = |id: usize, logit: i32| LabelThreshold {
                        label: id.to_string(), threshold: between(logit), support: 0, shared: false,
                    };
                    let other = Decision { thresholds: vec![threshold(0, first), threshold(1, second)], ..Decision::default() };
                    let other = measured(&other);
                    for (name, best) in best {
                        let value = other.value(name).unwrap();
                        prop_assert!(value <= best + 1e-12, "{} {} is above {}", name, value, best);
                    }
                }
            }
        }

        /// A temperature is kept only if it lowers the loss, and changes no order.
        #[test]
        fn a_temperature_does_no_harm(rows in prop::collection::vec((0u32..3, prop::array::uniform3(-8i8..=8)), 1..30)) {
            let rows: Vec<(Target, Vec<f32>)> = rows
                .iter()
                .map(|(class, logits)| (Target::Class(*class), logits.iter().map(|logit| f32::from(*logit)).collect()))
                .collect();
            let decision = fit(&DecisionSettings::default(), Task::SingleLabel, &rows);
            prop_assert!((1.0 / MOST_TEMPERATURE..=MOST_TEMPERATURE).contains(&decision.temperature));
            let Fitted { before, after, .. } = decision.fitted.unwrap();
            // Probabilities are cut off in the log loss, but not where the temperature is fitted.
            prop_assert!(after["log_loss"].unwrap() <= before["log_loss"].unwrap() + 1e-9);
            prop_assert_eq!(after["accuracy"], before["accuracy"]);
        }
    }
}
