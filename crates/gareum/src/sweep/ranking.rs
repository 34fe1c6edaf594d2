//! Which trial is best, and what more data would probably bring.

use std::fmt;

use serde_json::Value as Json;

use super::{Plan, Sweep, TrialRecord, TrialState};
use crate::metrics::Spread;

/// The share of the training rows, over which a sweep is a learning curve.
const TRAIN_SHARE: &str = "data.train_share";

/// Trials that differ by their seeds at most.
#[derive(Debug, Clone)]
pub struct Ranked<'a> {
    /// From 1; `None` if there is nothing to compare.
    pub rank: Option<usize>,
    /// The trials.
    pub trials: Vec<&'a TrialRecord>,
    /// The best of them.
    pub best: &'a TrialRecord,
    /// The monitored metric of those that were trained to the end, or else as far as the furthest.
    pub spread: Option<Spread>,
}

impl Ranked<'_> {
    /// Whether one of the trials was trained to the end.
    pub fn is_done(&self) -> bool {
        self.trials.iter().any(|trial| trial.state == TrialState::Done)
    }

    /// Whether nothing more is to come.
    pub fn is_final(&self) -> bool {
        self.trials.iter().all(|trial| trial.state.is_final())
    }

    fn value(&self) -> Option<f64> {
        self.spread.as_ref().map(|spread| spread.mean)
    }
}

/// The trials by their values, the best first: those that were trained to the end, then those that came furthest, at last those without a value.
/// Runs that differ only by a seed are one entry, with the mean of their values: the best of several seeds is luck.
pub fn ranking(sweep: &Sweep) -> Vec<Ranked<'_>> {
    let larger_is_better = sweep.larger_is_better();
    let better = |one: f64, other: f64| match larger_is_better {
        true => other.total_cmp(&one),
        false => one.total_cmp(&other),
    };
    let mut groups: Vec<(Vec<&Json>, Vec<&TrialRecord>)> = Vec::new();
    for trial in &sweep.trials {
        let parameters = trial.parameters.iter().filter(|(key, _)| !Plan::is_seed(key));
        let values: Vec<&Json> = parameters.map(|(_, value)| value).collect();
        match groups.iter_mut().find(|(known, _)| *known == values) {
            Some((_, trials)) => trials.push(trial),
            None => groups.push((values, vec![trial])),
        }
    }
    let mut ranked: Vec<Ranked<'_>> = groups
        .into_iter()
        .filter_map(|(_, trials)| {
            let is_done = trials.iter().any(|trial| trial.state == TrialState::Done);
            let counted = trials.iter().filter(|trial| match is_done {
                true => trial.state == TrialState::Done,
                false => trial.state != TrialState::Failed,
            });
            let valued: Vec<&TrialRecord> = counted.copied().filter(|trial| trial.value.is_some()).collect();
            let value = |trial: &TrialRecord| trial.value.unwrap_or(f64::NAN);
            let best = valued
                .iter()
                .copied()
                .min_by(|one, other| better(value(one), value(other)));
            Some(Ranked {
                rank: None,
                spread: Spread::of(valued.iter().map(|trial| value(trial)).collect()),
                best: best.or(trials.first().copied())?,
                trials,
            })
        })
        .collect();
    let distance = |ranked: &Ranked<'_>| (ranked.is_done(), ranked.best.epochs);
    ranked.sort_by(|one, other| {
        let ((one_done, one_epochs), (other_done, other_epochs)) = (distance(one), distance(other));
        let by_value = match (one.value(), other.value()) {
            (Some(one), Some(other)) => better(one, other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        let has_value = other.value().is_some().cmp(&one.value().is_some());
        let by_distance = other_done.cmp(&one_done).then(match one_done && other_done {
            true => std::cmp::Ordering::Equal,
            false => other_epochs.total_cmp(&one_epochs),
        });
        has_value
            .then(by_distance)
            .then(by_value)
            .then(one.best.trial.cmp(&other.best.trial))
    });
    for (place, entry) in ranked.iter_mut().enumerate() {
        entry.rank = entry.spread.is_some().then_some(place + 1);
    }
    ranked
}

impl Sweep {
    /// The trials whose models may still be the best one's: that of the best settings so far, and of settings of which some seeds are to come.
    pub fn candidates(&self) -> Vec<usize> {
        let ranking = ranking(self);
        let leader = ranking.iter().find(|entry| entry.is_final() && entry.is_done());
        let open = ranking.iter().filter(|entry| !entry.is_final() && entry.is_done());
        leader.into_iter().chain(open).map(|entry| entry.best.trial).collect()
    }
}

/// What more training rows would probably bring, from the shares that were tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The metric.
    pub monitor: String,
    /// The two largest shares.
    pub shares: [f64; 2],
    /// By how much the metric changed from the one to the other.
    pub change: f64,
    /// By how much it would probably change with twice the rows of the larger one.
    pub expected: f64,
    /// Whether that is less than can be told from chance.
    pub is_flat: bool,
}

/// From the values at the two largest shares: what a doubling brings, less what that has shrunk by from the doubling before, if that is known.
/// Of several settings with a share the best counts. `None` unless two shares were tried.
pub fn outlook(sweep: &Sweep) -> Option<Outlook> {
    let larger_is_better = sweep.larger_is_better();
    // Share, value, deviation.
    let mut points: Vec<(f64, f64, Option<f64>)> = Vec::new();
    for entry in ranking(sweep) {
        let share = entry.best.parameters.get(TRAIN_SHARE).and_then(Json::as_f64);
        let (Some(share), Some(spread), true) = (share, &entry.spread, entry.is_done()) else {
            continue;
        };
        // The ranking begins with the best.
        if points.iter().all(|(known, ..)| *known != share) {
            points.push((share, spread.mean, spread.std));
        }
    }
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let slope = |(from, start, _): (f64, f64, Option<f64>), (to, end, _): (f64, f64, Option<f64>)| {
        (end - start) / (to / from).log2()
    };
    let [.., first, second] = points.as_slice() else {
        return None;
    };
    let last = slope(*first, *second);
    // Learning curves are near to power laws, whose gains shrink by the same factor with every doubling.
    let shrinks = match points.as_slice() {
        [.., before, first, _] => {
            let earlier = slope(*before, *first);
            if earlier.abs() > f64::EPSILON {
                (last / earlier).clamp(0.0, 1.0)
            } else {
                1.0
            }
        }
        _ => 1.0,
    };
    let expected = last * shrinks;
    let gain = if larger_is_better { expected } else { -expected };
    let chance = second.2.unwrap_or(0.0).max(0.002 * second.1.abs().max(1.0));
    Some(Outlook {
        monitor: sweep.monitor.clone(),
        shares: [first.0, second.0],
        change: second.1 - first.1,
        expected,
        is_flat: gain < chance,
    })
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            monitor,
            shares: [from, to],
            change,
            expected,
            ..
        } = self;
        match self.is_flat {
            true => write!(
                f,
                "from a share of {from} to one of {to} of the training rows, {monitor} changed by {change:+.4}: twice as many rows would \
                 probably bring about {expected:+.4}, no more than chance"
            ),
            false => write!(
                f,
                "from a share of {from} to one of {to} of the training rows, {monitor} changed by {change:+.4}: twice as many rows would \
                 probably bring about {expected:+.4}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(trial: usize, parameters: Json, state: TrialState, epochs: f64, value: Option<f64>) -> TrialRecord {
        TrialRecord {
            parameters: parameters.as_object().cloned().unwrap(),
            state,
            epochs,
            value,
            ..TrialRecord::new(trial, &[])
        }
    }

    fn sweep(monitor: &str, trials: Vec<TrialRecord>) -> Sweep {
        Sweep {
            gareum: String::new(),
            plan: Json::Null,
            monitor: monitor.to_owned(),
            trial_memory_bytes: None,
            trials,
        }
    }

    fn order(sweep: &Sweep) -> Vec<(Option<usize>, usize)> {
        ranking(sweep)
            .iter()
            .map(|entry| (entry.rank, entry.best.trial))
            .collect()
    }

    #[test]
    fn who_came_further_comes_first_then_who_is_better() {
        use TrialState::{Done, Failed, Out};
        let trials = vec![
            record(1, json!({"a": 1}), Out, 1.0, Some(0.95)),
            record(2, json!({"a": 2}), Done, 9.0, Some(0.8)),
            record(3, json!({"a": 3}), Failed, 0.0, None),
            record(4, json!({"a": 4}), Done, 4.0, Some(0.9)),
            record(5, json!({"a": 5}), Out, 3.0, Some(0.7)),
            record(6, json!({"a": 6}), Done, 9.0, Some(0.9)),
        ];
        let sweep = sweep("accuracy", trials);
        let expected = [
            (Some(1), 4),
            (Some(2), 6),
            (Some(3), 2),
            (Some(4), 5),
            (Some(5), 1),
            (None, 3),
        ];
        assert_eq!(order(&sweep), expected);
        assert_eq!(sweep.candidates(), [4]);
        let by_loss = Sweep {
            monitor: "loss".to_owned(),
            ..sweep
        };
        assert_eq!(order(&by_loss)[0], (Some(1), 2));
    }

    #[test]
    fn seeds_are_put_together() {
        use TrialState::{Done, Waiting};
        let trial = |number, a: u64, seed: u64, value: f64| {
            record(number, json!({"a": a, "train.seed": seed}), Done, 3.0, Some(value))
        };
        let mut trials = vec![
            trial(1, 1, 1, 0.99),
            trial(2, 1, 2, 0.5),
            trial(3, 2, 1, 0.8),
            trial(4, 2, 2, 0.9),
        ];
        let whole = sweep("accuracy", trials.clone());
        assert_eq!(
            order(&whole),
            [(Some(1), 4), (Some(2), 1)],
            "0.85 on average is more than 0.745"
        );
        let spread = ranking(&whole)[0].spread.clone().unwrap();
        assert_eq!(spread.to_string(), "0.8500 ± 0.0707");
        assert_eq!(whole.candidates(), [4]);
        trials[3].state = Waiting;
        trials[3].value = None;
        assert_eq!(
            sweep("accuracy", trials).candidates(),
            [1, 3],
            "the last seed may change who is best"
        );
    }

    #[test]
    fn what_more_rows_would_bring() {
        let done = |(number, (share, value)): (usize, &(f64, f64))| {
            record(
                number + 1,
                json!({"data.train_share": share}),
                TrialState::Done,
                3.0,
                Some(*value),
            )
        };
        let of = |monitor: &str, points: &[(f64, f64)]| {
            outlook(&sweep(monitor, points.iter().enumerate().map(done).collect()))
        };
        let rising = of("macro_f1", &[(1.0, 0.86), (0.25, 0.7), (0.5, 0.8)]).unwrap();
        assert_eq!(rising.shares, [0.5, 1.0]);
        assert!((rising.expected - 0.036).abs() < 1e-9 && !rising.is_flat, "{rising:?}");
        assert_eq!(
            rising.to_string(),
            "from a share of 0.5 to one of 1 of the training rows, macro_f1 changed by +0.0600: twice as many rows would probably bring about \
             +0.0360"
        );
        assert!(of("macro_f1", &[(0.5, 0.8), (1.0, 0.8005)]).unwrap().is_flat);
        assert!(!of("loss", &[(0.5, 0.8), (1.0, 0.7)]).unwrap().is_flat);
        assert!(of("loss", &[(0.5, 0.7), (1.0, 0.8)]).unwrap().is_flat);
        assert_eq!(of("loss", &[(1.0, 0.8)]), None);
    }
}
