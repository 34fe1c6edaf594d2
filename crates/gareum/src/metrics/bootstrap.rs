//! How sure a figure is: intervals by drawing the rows again.
//!
//! The percentile bootstrap (Efron 1979; Efron and Tibshirani 1993, chapter 13): as many rows as there are, drawn with replacement, are
//! measured, many times over; an interval at 95 % holds the middle 95 % of what comes out. A draw is a function of the seed, its number and the
//! number of rows, so that whatever else is measured on the same rows (another model) is measured on the same draws, and neither threads nor
//! the machine change an interval.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tensor::random::{Sequence, combine};

use super::agreement::{balanced_of, kappa_of, matthews_of};
use super::error::{known_ids, same_length};
use super::report::{Outcomes, averaged_by};
use super::{MetricsError, pearson, r2_score};

/// Sets these draws apart from whatever else a seed is for.
const PURPOSE: u64 = 0x626f_6f74;

/// The method with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The share of draws within an interval. Default 0.95.
    pub level: f64,
    /// Draws. Default 1000, which Efron and Tibshirani 1993 recommend for percentiles.
    pub resamples: usize,
    /// Default 0.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            level: 0.95,
            resamples: 1000,
            seed: 0,
        }
    }
}

/// Where a figure lies if the rows are drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Intervals of some figures, and how they were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// How.
    #[serde(flatten)]
    pub method: Bootstrap,
    /// By the names of [`super::Metrics::values`]; null if a draw leaves the figure undefined.
    pub values: BTreeMap<String, Option<Interval>>,
}

/// How much a figure of one is above that of another, measured on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference on the rows as they are.
    pub value: f64,
    /// Where it lies if the rows are drawn again.
    #[serde(flatten)]
    pub interval: Interval,
    /// How often draws would disagree on the sign, were there no difference: two-sided.
    pub p_value: f64,
}

impl Intervals {
    /// The interval of a figure.
    pub fn of(&self, name: &str) -> Option<Interval> {
        self.values.get(name).copied().flatten()
    }
}

/// Some figures of all rows and of each draw.
#[derive(Debug, Clone)]
pub struct Resampled {
    method: Bootstrap,
    names: Vec<String>,
    rows: usize,
    values: Vec<Option<f64>>,
    draws: Vec<Vec<Option<f64>>>,
}

impl Resampled {
    /// A figure of all rows.
    pub fn value(&self, name: &str) -> Option<f64> {
        let figure = self.names.iter().position(|known| known == name)?;
        self.values[figure]
    }

    /// The interval of each figure.
    pub fn intervals(&self) -> Intervals {
        let interval = |figure: usize| self.method.middle(column(&self.draws, figure)?);
        let figures = self.names.iter().enumerate();
        Intervals {
            method: self.method,
            values: figures.map(|(figure, name)| (name.clone(), interval(figure))).collect(),
        }
    }

    /// How much each figure is above that of others that were drawn of the same rows in the same way: the paired bootstrap. `None` for a
    /// figure that some draw leaves undefined.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if the numbers of rows differ.
    pub fn above(&self, other: &Self) -> Result<BTreeMap<String, Option<Difference>>, MetricsError> {
        same_length(self.rows, other.rows)?;
        let less = |ours: &[Option<f64>], others: &[Option<f64>]| -> Vec<Option<f64>> {
            let both = ours.iter().zip(others);
            both.map(|(ours, others)| Some((*ours)? - (*others)?)).collect()
        };
        let values = less(&self.values, &other.values);
        let draws: Vec<Vec<Option<f64>>> = self
            .draws
            .iter()
            .zip(&other.draws)
            .map(|(ours, others)| less(ours, others))
            .collect();
        let difference = |figure: usize| {
            let drawn = column(&draws, figure)?;
            Some(Difference {
                value: values[figure]?,
                p_value: two_sided(&drawn),
                interval: self.method.middle(drawn)?,
            })
        };
        let figures = self.names.iter().enumerate();
        Ok(figures
            .map(|(figure, name)| (name.clone(), difference(figure)))
            .collect())
    }
}

impl Bootstrap {
    /// What `statistic` makes of all rows and of each draw, given by the numbers of the rows; a row may be drawn several times. Without rows
    /// nothing is defined.
    fn resample(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
        rows: usize,
        statistic: impl Fn(&[u32]) -> Vec<Option<f64>> + Sync,
    ) -> Resampled {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let key = combine(self.seed, PURPOSE);
        let draw = |number: usize| {
            let mut random = Sequence::new(key, number as u64);
            let drawn: Vec<u32> = (0..rows).map(|_| random.below(rows) as u32).collect();
            statistic(&drawn)
        };
        let all: Vec<u32> = (0..rows as u32).collect();
        let (values, draws) = match rows {
            0 => (vec![None; names.len()], Vec::new()),
            _ => (statistic(&all), (0..self.resamples).into_par_iter().map(draw).collect()),
        };
        Resampled {
            method: *self,
            names,
            rows,
            values,
            draws,
        }
    }

    fn middle(&self, mut values: Vec<f64>) -> Option<Interval> {
        values.sort_unstable_by(f64::total_cmp);
        let outside = (1.0 - self.level) / 2.0;
        Some(Interval {
            low: percentile(&values, outside)?,
            high: percentile(&values, 1.0 - outside)?,
        })
    }

    /// Draws of single-label predictions.
    ///
    /// # Errors
    /// [`MetricsError`] if the slices do not belong together.
    pub fn single_label(&self, labels: usize, targets: &[u32], predictions: &[u32]) -> Result<Resampled, MetricsError> {
        same_length(targets.len(), predictions.len())?;
        known_ids(targets.iter().chain(predictions).map(std::slice::from_ref), labels)?;
        let statistic = |drawn: &[u32]| {
            let mut outcomes = vec![Outcomes::default(); labels];
            for &row in drawn {
                let (target, prediction) = (targets[row as usize] as usize, predictions[row as usize] as usize);
                outcomes[target].positive += 1;
                outcomes[prediction].predicted += 1;
                outcomes[target].hits += u64::from(target == prediction);
            }
            let accuracy = Outcomes::sum(&outcomes).hits as f64 / drawn.len() as f64;
            vec![
                Some(accuracy),
                Some(averaged_by(&outcomes, Outcomes::f1, |_| 1.0)),
                Some(accuracy),
                Some(averaged_by(&outcomes, Outcomes::f1, |one| one.positive as f64)),
                balanced_of(&outcomes),
                matthews_of(&outcomes),
                kappa_of(&outcomes),
            ]
        };
        let names = [
            "accuracy",
            "macro_f1",
            "micro_f1",
            "weighted_f1",
            "balanced_accuracy",
            "matthews_corrcoef",
            "cohen_kappa",
        ];
        Ok(self.resample(names, targets.len(), statistic))
    }

    /// Draws of multi-label predictions.
    ///
    /// # Errors
    /// [`MetricsError`] if the slices do not belong together.
    pub fn multi_label(
        &self,
        labels: usize,
        targets: &[Vec<u32>],
        predictions: &[Vec<u32>],
    ) -> Result<Resampled, MetricsError> {
        same_length(targets.len(), predictions.len())?;
        known_ids(targets.iter().chain(predictions).map(Vec::as_slice), labels)?;
        let rows: Vec<Outcomes> = targets
            .iter()
            .zip(predictions)
            .map(|(target, prediction)| Outcomes::of_sets(target, prediction))
            .collect();
        let statistic = |drawn: &[u32]| {
            let (mut exact, mut samples_f1, mut samples_jaccard) = (0u64, 0.0, 0.0);
            for &row in drawn {
                let counts = &rows[row as usize];
                exact += u64::from(counts.hits == counts.predicted && counts.hits == counts.positive);
                samples_f1 += counts.f1();
                samples_jaccard += counts.jaccard();
            }
            let outcomes = outcomes_of(labels, targets, predictions, drawn);
            let all = Outcomes::sum(&outcomes);
            let (examples, wrong) = (drawn.len() as f64, all.predicted + all.positive - 2 * all.hits);
            vec![
                Some(exact as f64 / examples),
                Some(wrong as f64 / (examples * labels as f64)),
                Some(averaged_by(&outcomes, Outcomes::f1, |_| 1.0)),
                Some(all.f1()),
                Some(averaged_by(&outcomes, Outcomes::f1, |one| one.positive as f64)),
                Some(samples_f1 / examples),
                Some(samples_jaccard / examples),
            ]
        };
        let names = [
            "accuracy",
            "hamming_loss",
            "macro_f1",
            "micro_f1",
            "weighted_f1",
            "samples_f1",
            "samples_jaccard",
        ];
        Ok(self.resample(names, targets.len(), statistic))
    }

    /// Draws of the F1 of each label, by its name. Sets of one are single labels.
    ///
    /// # Errors
    /// [`MetricsError`] if the slices do not belong together.
    pub fn label_f1(
        &self,
        names: &[String],
        targets: &[Vec<u32>],
        predictions: &[Vec<u32>],
    ) -> Result<Resampled, MetricsError> {
        same_length(targets.len(), predictions.len())?;
        known_ids(targets.iter().chain(predictions).map(Vec::as_slice), names.len())?;
        let statistic = |drawn: &[u32]| {
            let outcomes = outcomes_of(names.len(), targets, predictions, drawn);
            outcomes.iter().map(|outcomes| Some(outcomes.f1())).collect()
        };
        Ok(self.resample(names, targets.len(), statistic))
    }

    /// Draws of predicted numbers.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if the slices differ in length.
    pub fn regression(&self, targets: &[f64], predictions: &[f64]) -> Result<Resampled, MetricsError> {
        same_length(targets.len(), predictions.len())?;
        let statistic = |drawn: &[u32]| {
            let pick = |values: &[f64]| -> Vec<f64> { drawn.iter().map(|row| values[*row as usize]).collect() };
            let (targets, predictions) = (pick(targets), pick(predictions));
            let mean = |error: fn(f64) -> f64| {
                let errors = targets
                    .iter()
                    .zip(&predictions)
                    .map(|(target, prediction)| error(target - prediction));
                errors.sum::<f64>() / drawn.len() as f64
            };
            let mse = mean(|error| error * error);
            // Both are of one length.
            let defined = |value: Result<Option<f64>, MetricsError>| value.ok().flatten();
            vec![
                Some(mse),
                Some(mse.sqrt()),
                Some(mean(f64::abs)),
                defined(r2_score(&targets, &predictions)),
                defined(pearson(&targets, &predictions)),
            ]
        };
        Ok(self.resample(["mse", "rmse", "mae", "r2", "pearson"], targets.len(), statistic))
    }
}

/// The values of one figure; `None` if one is undefined, or there are none.
fn column(draws: &[Vec<Option<f64>>], figure: usize) -> Option<Vec<f64>> {
    let value = |draw: &Vec<Option<f64>>| draw[figure].filter(|value| !value.is_nan());
    draws.iter().map(value).collect()
}

/// What each label gets in drawn rows.
fn outcomes_of(labels: usize, targets: &[Vec<u32>], predictions: &[Vec<u32>], drawn: &[u32]) -> Vec<Outcomes> {
    let mut outcomes = vec![Outcomes::default(); labels];
    for &row in drawn {
        let (target, prediction) = (&targets[row as usize], &predictions[row as usize]);
        for &id in target {
            outcomes[id as usize].positive += 1;
            outcomes[id as usize].hits += u64::from(prediction.contains(&id));
        }
        prediction.iter().for_each(|id| outcomes[*id as usize].predicted += 1);
    }
    outcomes
}

/// Twice the share of draws on the rarer side of 0, those at 0 counting for both, and one more for the rows as they are (Davison and Hinkley
/// 1997, section 4.2.5): below 0.05, give or take a draw, where an interval at 95 % leaves 0 out.
fn two_sided(differences: &[f64]) -> f64 {
    let count = |is_wanted: fn(&f64) -> bool| differences.iter().filter(|difference| is_wanted(difference)).count();
    let rarer = count(|difference| *difference <= 0.0).min(count(|difference| *difference >= 0.0));
    (2.0 * (rarer + 1) as f64 / (differences.len() + 1) as f64).min(1.0)
}

/// Between the two nearest of sorted values, by where the share falls between them (NumPy's `linear`). `None` without values.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = share * (sorted.len().checked_sub(1)?) as f64;
    let (below, part) = (sorted[position as usize], position.fract());
    let above = sorted[(position.ceil() as usize).min(sorted.len() - 1)];
    Some(below + part * (above - below))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (share, expected) in [(0.0, 1.0), (0.025, 1.1), (0.5, 4.0), (0.975, 15.2), (1.0, 16.0)] {
            assert!(
                (percentile(&values, share).unwrap() - expected).abs() < 1e-12,
                "{share}"
            );
        }
        assert_eq!(percentile(&[], 0.5), None);
    }

    /// `tests/reference/metrics.py` drew the same rows and asked scikit-learn about each draw.
    #[test]
    fn equals_scikit_learn_on_the_same_draws() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/reference/fixtures/metrics_bootstrap.json"
        );
        let reference: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (name, case) in reference["single_label"].as_object().unwrap() {
            let ids = |key: &str| serde_json::from_value::<Vec<u32>>(case[key].clone()).unwrap();
            let bootstrap = Bootstrap {
                resamples: case["resamples"].as_u64().unwrap() as usize,
                seed: case["seed"].as_u64().unwrap(),
                ..Bootstrap::default()
            };
            let classes = case["classes"].as_u64().unwrap() as usize;
            let seen = bootstrap
                .single_label(classes, &ids("true"), &ids("predicted"))
                .unwrap()
                .intervals();
            for (figure, expected) in case["intervals"].as_object().unwrap() {
                let interval = seen.of(figure).unwrap();
                for (seen, expected) in [interval.low, interval.high].iter().zip(expected.as_array().unwrap()) {
                    let expected = expected.as_f64().unwrap();
                    assert!(
                        (seen - expected).abs() < 1e-9,
                        "{name} {figure}: {seen} is not {expected}"
                    );
                }
            }
        }
    }

    /// `tests/reference/significance.py` asked scikit-learn about both on each draw.
    #[test]
    fn differences_equal_scikit_learn_on_the_same_draws() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/reference/fixtures/significance.json"
        );
        let reference: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let cases = reference["differences"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let bootstrap = Bootstrap {
                resamples: case["resamples"].as_u64().unwrap() as usize,
                seed: case["seed"].as_u64().unwrap(),
                ..Bootstrap::default()
            };
            let ids = |key: &str| serde_json::from_value::<Vec<u32>>(case[key].clone()).unwrap();
            let classes = case["classes"].as_u64().unwrap() as usize;
            let [first, second] =
                ["first", "second"].map(|side| bootstrap.single_label(classes, &ids("true"), &ids(side)).unwrap());
            let seen = second.above(&first).unwrap();
            for (figure, expected) in case["expected"].as_object().unwrap() {
                let seen = seen[figure].unwrap();
                let values = [seen.value, seen.interval.low, seen.interval.high, seen.p_value];
                for (seen, key) in values.iter().zip(["value", "low", "high", "p_value"]) {
                    let expected = expected[key].as_f64().unwrap();
                    assert!(
                        (seen - expected).abs() < 1e-9,
                        "{figure} {key}: {seen} is not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_is_above_itself() {
        let bootstrap = Bootstrap::default();
        let one = bootstrap.single_label(2, &[0, 1, 1, 0], &[0, 1, 0, 0]).unwrap();
        let difference = one.above(&one).unwrap()["accuracy"].unwrap();
        assert_eq!((difference.value, difference.p_value), (0.0, 1.0));
        let shorter = bootstrap.single_label(2, &[0, 1], &[0, 1]).unwrap();
        assert!(one.above(&shorter).is_err());
    }

    /// Wald's interval is right for shares that are not near 0 or 1.
    #[test]
    fn an_accuracy_has_the_interval_of_a_share() {
        let targets: Vec<u32> = vec![0; 10_000];
        let predictions: Vec<u32> = (0..10_000).map(|row| u32::from(row % 5 == 0)).collect();
        let bootstrap = Bootstrap::default();
        let interval = bootstrap
            .single_label(2, &targets, &predictions)
            .unwrap()
            .intervals()
            .of("accuracy")
            .unwrap();
        let half = 1.96 * (0.8f64 * 0.2 / 10_000.0).sqrt();
        assert!((interval.low - (0.8 - half)).abs() < 0.1 * half, "{interval:?}");
        assert!((interval.high - (0.8 + half)).abs() < 0.1 * half, "{interval:?}");
        let other = Bootstrap { seed: 1, ..bootstrap };
        let other = other.single_label(2, &targets, &predictions).unwrap().intervals();
        assert_ne!(other.of("accuracy"), Some(interval));
    }

    #[test]
    fn threads_change_nothing() {
        let targets: Vec<f64> = (0..100).map(f64::from).collect();
        let predictions: Vec<f64> = targets.iter().map(|value| value + (value * 7.0).sin()).collect();
        let measure = || {
            Bootstrap::default()
                .regression(&targets, &predictions)
                .unwrap()
                .intervals()
        };
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(alone.install(measure), measure());
    }

    #[test]
    fn what_a_draw_leaves_undefined_has_no_interval() {
        let intervals = Bootstrap::default()
            .single_label(2, &[0, 1], &[0, 1])
            .unwrap()
            .intervals();
        // Half of the draws have one class only.
        assert_eq!(intervals.of("cohen_kappa"), None);
        assert_eq!(intervals.of("accuracy"), Some(Interval { low: 1.0, high: 1.0 }));
        let nothing = Bootstrap::default().multi_label(2, &[], &[]).unwrap().intervals();
        assert_eq!(nothing.of("accuracy"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        /// Sets of one label have the intervals of single labels; ends are in order and are shares.
        #[test]
        fn sets_of_one_are_single_labels(pairs in prop::collection::vec((0u32..3, 0u32..3), 1..40), seed: u64) {
            let bootstrap = Bootstrap { resamples: 50, seed, ..Bootstrap::default() };
            let (targets, predictions): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
            let sets = |ids: &[u32]| -> Vec<Vec<u32>> { ids.iter().map(|id| vec![*id]).collect() };
            let single = bootstrap.single_label(3, &targets, &predictions).unwrap().intervals();
            let multi = bootstrap.multi_label(3, &sets(&targets), &sets(&predictions)).unwrap().intervals();
            for name in ["accuracy", "macro_f1", "micro_f1", "weighted_f1"] {
                let (one, other) = (single.of(name).unwrap(), multi.of(name).unwrap());
                prop_assert!((one.low - other.low).abs() < 1e-12 && (one.high - other.high).abs() < 1e-12, "{}", name);
                prop_assert!(0.0 <= one.low && one.low <= one.high && one.high <= 1.0);
            }
        }
    }
}
