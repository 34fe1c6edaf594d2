//! Successive halving, in step (Jamieson and Talwalkar 2016, <https://arxiv.org/abs/1502.07943>): all trials get a few epochs, the best of
//! them some times as many, and so on. A turn begins when the one before is over, so that who goes on does not depend on who was faster.

use super::state::{TrialRecord, TrialState};

/// Epochs after which trials are compared: `first`, `first * factor`, ..., and at last all `epochs`.
pub fn rungs(first: u64, factor: u64, epochs: u64) -> Vec<u64> {
    let turns = std::iter::successors(Some(first), |epochs| epochs.checked_mul(factor.max(2)));
    turns.take_while(|turn| *turn < epochs).chain([epochs]).collect()
}

/// A piece of a trial that is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The place of the trial in the list.
    pub index: usize,
    /// Epochs after which it pauses; `None` for the whole run.
    pub pause_after: Option<u64>,
}

/// Where a sweep stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What can be run now, in order. Empty if the sweep is over.
    pub legs: Vec<Leg>,
    /// Trials that have dropped out.
    pub out: Vec<usize>,
    /// The turn, counted from 0.
    pub turn: usize,
    /// Trials of this turn.
    pub entrants: usize,
}

/// What is to be done next, from what is known of the trials.
pub fn standing(records: &[TrialRecord], rungs: &[u64], factor: u64, larger_is_better: bool) -> Standing {
    let mut entrants: Vec<usize> = (0..records.len()).collect();
    let mut out = Vec::new();
    for (turn, &epochs) in rungs.iter().enumerate() {
        let is_last = turn + 1 == rungs.len();
        let has_come = |index: &usize| {
            let record = &records[*index];
            record.state.is_final() || !is_last && record.epochs >= epochs as f64
        };
        let leg = |index: usize| Leg {
            index,
            pause_after: (!is_last).then_some(epochs),
        };
        let legs: Vec<Leg> = entrants
            .iter()
            .copied()
            .filter(|index| !has_come(index))
            .map(leg)
            .collect();
        if !legs.is_empty() || is_last {
            return Standing {
                legs,
                out,
                turn,
                entrants: entrants.len(),
            };
        }
        let keep = (entrants.len() / factor.max(2) as usize).max(1);
        let mut best: Vec<usize> = entrants
            .iter()
            .copied()
            .filter(|index| records[*index].state != TrialState::Failed)
            .collect();
        // A trial that ended early has come as far as it ever will; the order of equals is that of the list.
        let value = |index: usize| records[index].best_until(epochs as f64, larger_is_better);
        best.sort_by(|one, other| {
            let badness = |index: usize| match value(index) {
                Some(value) if larger_is_better => -value,
                Some(value) => value,
                None => f64::INFINITY,
            };
            badness(*one).total_cmp(&badness(*other)).then(one.cmp(other))
        });
        best.truncate(keep);
        best.sort_unstable();
        out.extend(entrants.iter().copied().filter(|index| !best.contains(index)));
        entrants = best;
    }
    Standing {
        out,
        ..Standing::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_grow_by_the_factor_and_end_with_the_run() {
        assert_eq!(rungs(1, 3, 9), [1, 3, 9]);
        assert_eq!(rungs(1, 3, 10), [1, 3, 9, 10]);
        assert_eq!(rungs(2, 2, 5), [2, 4, 5]);
        assert_eq!(rungs(5, 2, 3), [3]);
        assert_eq!(rungs(1, u64::MAX, 3), [1, 3]);
    }

    /// A sweep in which trial `n` reaches `values[n]` after every epoch; `None` fails at once.
    fn run(values: &[Option<f64>], rung: &[u64], factor: u64, larger: bool) -> (Vec<Vec<usize>>, Vec<usize>) {
        let mut records: Vec<TrialRecord> = (1..=values.len()).map(|number| TrialRecord::new(number, &[])).collect();
        let mut turns = Vec::new();
        loop {
            let standing = standing(&records, rung, factor, larger);
            if standing.legs.is_empty() {
                return (turns, standing.out);
            }
            turns.push(standing.legs.iter().map(|leg| leg.index).collect());
            for leg in standing.legs {
                let record = &mut records[leg.index];
                let Some(value) = values[leg.index] else {
                    record.state = TrialState::Failed;
                    continue;
                };
                let until = leg.pause_after.unwrap_or(*rung.last().unwrap());
                record.curve = (1..=until).map(|epoch| (epoch as f64, Some(value))).collect();
                record.epochs = until as f64;
                record.state = if leg.pause_after.is_some() {
                    TrialState::Paused
                } else {
                    TrialState::Done
                };
            }
        }
    }

    #[test]
    fn the_best_go_on() {
        let values = [0.1, 0.9, 0.5, 0.7, 0.2, 0.8, 0.3].map(Some);
        let (turns, out) = run(&values, &[1, 3, 9], 3, true);
        assert_eq!(turns, [vec![0, 1, 2, 3, 4, 5, 6], vec![1, 5], vec![1]]);
        assert_eq!(out, [0, 2, 3, 4, 6, 5]);
        let (turns, _) = run(&values, &[1, 3, 9], 3, false);
        assert_eq!(turns[1..], [vec![0, 4], vec![0]]);
        let (turns, _) = run(&values, &[9], 3, true);
        assert_eq!(turns.len(), 1, "without halving there is one turn");
    }

    #[test]
    fn equals_go_by_their_number_and_the_failed_are_out() {
        let (turns, _) = run(&[Some(0.5); 4], &[1, 2], 2, true);
        assert_eq!(turns[1], [0, 1]);
        let (turns, out) = run(&[None, Some(0.1), None, Some(0.2)], &[1, 2], 2, true);
        assert_eq!(turns[1], [1, 3]);
        assert_eq!(out, [0, 2]);
        let (turns, _) = run(&[None, None], &[1, 2], 2, true);
        assert_eq!(turns.len(), 1);
    }

    #[test]
    fn one_that_ended_early_is_compared_by_what_it_reached() {
        let mut records: Vec<TrialRecord> = (1..=2).map(|number| TrialRecord::new(number, &[])).collect();
        records[0].state = TrialState::Done;
        records[0].epochs = 1.0;
        records[0].curve = vec![(1.0, Some(0.9))];
        records[1].state = TrialState::Paused;
        records[1].epochs = 2.0;
        records[1].curve = vec![(1.0, Some(0.1)), (2.0, Some(0.3))];
        let now = standing(&records, &[2, 4], 2, true);
        assert_eq!((now.legs, now.out), (Vec::new(), vec![1]));
        // What the second reaches later says nothing about a turn that is over.
        records[1].curve.push((3.0, Some(1.0)));
        assert_eq!(standing(&records, &[2, 4], 2, true).out, [1]);
    }
}
