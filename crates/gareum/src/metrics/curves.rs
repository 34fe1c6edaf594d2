//! Curves to look at: a long one in few points, the mean of several, and what a threshold or a refusal to answer changes.
//!
//! Not here: the curves of one label themselves (`roc.rs`, `precision_recall.rs`).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::error::same_length;
use super::roc::cuts;
use super::{MetricsError, PrecisionRecallPoint, RocPoint};

/// Points of a curve that is drawn: more cannot be told apart on a picture some hundred units wide.
pub const DRAWN_POINTS: usize = 200;

/// A place of a curve: across and up.
pub type Place = (f64, f64);

impl From<RocPoint> for Place {
    fn from(point: RocPoint) -> Self {
        (point.false_positive_rate, point.true_positive_rate)
    }
}

impl From<PrecisionRecallPoint> for Place {
    fn from(point: PrecisionRecallPoint) -> Self {
        (point.recall, point.precision)
    }
}

/// At most `most` points of a curve, its ends among them: time and again the point goes that makes the smallest triangle with its
/// neighbours (Visvalingam and Whyatt 1993, <https://doi.org/10.1179/000870493786962263>). The others stay where they are, so that the area
/// below the curve hardly changes. Fewer than two are never left of a curve that has them.
pub fn thinned(points: &[Place], most: usize) -> Vec<Place> {
    let count = points.len();
    let most = most.max(2);
    if count <= most {
        return points.to_vec();
    }
    let mut before: Vec<usize> = (0..count).map(|point| point.saturating_sub(1)).collect();
    let mut after: Vec<usize> = (1..=count).collect();
    let area = |first: usize, point: usize, last: usize| {
        let [(x0, y0), (x1, y1), (x2, y2)] = [first, point, last].map(|index| points[index]);
        Area((x0 * (y1 - y2) + x1 * (y2 - y0) + x2 * (y0 - y1)).abs() / 2.0)
    };
    let mut areas: Vec<Area> = (0..count)
        .map(|point| match point {
            0 => Area(f64::INFINITY),
            point if point + 1 == count => Area(f64::INFINITY),
            point => area(point - 1, point, point + 1),
        })
        .collect();
    let mut smallest: BinaryHeap<Reverse<(Area, usize)>> =
        (1..count - 1).map(|point| Reverse((areas[point], point))).collect();
    let mut is_kept = vec![true; count];
    let mut left = count;
    while left > most
        && let Some(Reverse((of, point))) = smallest.pop()
    {
        // An entry of before a neighbour went.
        if !is_kept[point] || of != areas[point] {
            continue;
        }
        is_kept[point] = false;
        left -= 1;
        let (first, last) = (before[point], after[point]);
        after[first] = last;
        before[last] = first;
        for neighbour in [first, last] {
            if neighbour > 0 && neighbour + 1 < count {
                // Never less than what went, or a curve would be eaten from one end.
                areas[neighbour] = area(before[neighbour], neighbour, after[neighbour]).max(of);
                smallest.push(Reverse((areas[neighbour], neighbour)));
            }
        }
    }
    points
        .iter()
        .zip(is_kept)
        .filter(|(_, is_kept)| *is_kept)
        .map(|(point, _)| *point)
        .collect()
}

/// An area, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Area(f64);

impl Eq for Area {}

impl PartialOrd for Area {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Area {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// How high a curve is at `x`, on a straight line between its points; of several points at one `x`, the last counts, and beyond an end the
/// end does, as in NumPy's `interp`. `None` for a curve without points.
pub fn height_at(curve: &[Place], x: f64) -> Option<f64> {
    let after = curve.partition_point(|(place, _)| *place <= x);
    let Some(&(x1, y1)) = curve.get(after) else {
        return curve.last().map(|(_, y)| *y);
    };
    let Some(&(x0, y0)) = after.checked_sub(1).map(|before| &curve[before]) else {
        return Some(y1);
    };
    Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
}

/// The mean of curves at each of `places`; curves without points do not count. Empty if none has any.
pub fn mean_curve(curves: &[Vec<Place>], places: &[f64]) -> Vec<Place> {
    let curves: Vec<&Vec<Place>> = curves.iter().filter(|curve| !curve.is_empty()).collect();
    if curves.is_empty() {
        return Vec::new();
    }
    let mean = |x: f64| curves.iter().filter_map(|curve| height_at(curve, x)).sum::<f64>() / curves.len() as f64;
    places.iter().map(|x| (*x, mean(*x))).collect()
}

/// What a label's F1 is if it is given from a score on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ThresholdPoint {
    /// The score.
    pub threshold: f64,
    /// F1 of the label.
    pub f1: f64,
}

/// F1 at every score that occurs, from the lowest up. Empty without positives.
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn f1_by_threshold(is_positive: &[bool], scores: &[f64]) -> Result<Vec<ThresholdPoint>, MetricsError> {
    same_length(is_positive.len(), scores.len())?;
    let cuts = cuts(is_positive, scores);
    let Some(all) = cuts.last().map(|all| all.true_positives).filter(|all| *all > 0) else {
        return Ok(Vec::new());
    };
    let points = cuts.iter().rev().map(|cut| ThresholdPoint {
        threshold: cut.threshold,
        f1: 2.0 * cut.true_positives as f64 / (cut.true_positives + cut.false_positives + all) as f64,
    });
    Ok(points.collect())
}

/// What is right if only the surest are answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoveragePoint {
    /// The share that is answered.
    pub coverage: f64,
    /// The share of right ones among them; 1 minus what is called risk.
    pub accuracy: f64,
    /// The confidence from which on there is an answer.
    pub threshold: f64,
}

/// The accuracy at every coverage, from the surest on; equally sure ones are answered together (El-Yaniv and Wiener 2010).
///
/// # Errors
/// [`MetricsError::Length`] if the slices differ in length.
pub fn accuracy_by_coverage(is_right: &[bool], confidences: &[f64]) -> Result<Vec<CoveragePoint>, MetricsError> {
    same_length(is_right.len(), confidences.len())?;
    let points = cuts(is_right, confidences).into_iter().map(|cut| {
        let answered = (cut.true_positives + cut.false_positives) as f64;
        CoveragePoint {
            coverage: answered / is_right.len() as f64,
            accuracy: cut.true_positives as f64 / answered,
            threshold: cut.threshold,
        }
    });
    Ok(points.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{precision_recall_curve, roc_auc, roc_curve};
    use super::*;

    fn area(points: &[Place]) -> f64 {
        let under = |pair: &[Place]| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0;
        points.windows(2).map(under).sum()
    }

    #[test]
    fn corners_stay_and_straight_lines_go() {
        let line: Vec<Place> = (0..=100).map(|x| (f64::from(x), f64::from(x.min(50)))).collect();
        assert_eq!(thinned(&line, 3), [(0.0, 0.0), (50.0, 50.0), (100.0, 50.0)]);
        assert_eq!(thinned(&line, 0), [(0.0, 0.0), (100.0, 50.0)]);
        assert_eq!(thinned(&line[..2], 5), line[..2]);
        assert_eq!(thinned(&[], 5), []);
    }

    #[test]
    fn a_mean_passes_over_curves_without_points() {
        let curves = [vec![(0.0, 0.0), (1.0, 1.0)], Vec::new(), vec![(0.0, 1.0), (1.0, 1.0)]];
        assert_eq!(mean_curve(&curves, &[0.0, 0.5]), [(0.0, 0.5), (0.5, 0.75)]);
        assert_eq!(mean_curve(&curves[1..2], &[0.5]), []);
    }

    #[test]
    fn the_surest_are_answered_first() {
        let curve = accuracy_by_coverage(&[true, false, true, false], &[0.9, 0.5, 0.5, 0.2]).unwrap();
        let told: Vec<(f64, f64)> = curve.iter().map(|point| (point.coverage, point.accuracy)).collect();
        assert_eq!(told, [(0.25, 1.0), (0.75, 2.0 / 3.0), (1.0, 0.5)]);
        assert!(accuracy_by_coverage(&[true], &[]).is_err());
        assert_eq!(accuracy_by_coverage(&[], &[]), Ok(Vec::new()));
    }

    #[test]
    fn nothing_to_find_has_no_threshold() {
        assert_eq!(f1_by_threshold(&[false], &[0.5]), Ok(Vec::new()));
        assert!(f1_by_threshold(&[true], &[]).is_err());
    }

    proptest! {
        /// Long curves keep their areas to a thousandth in 200 points, each of which is one of theirs.
        #[test]
        fn areas_hardly_change(seed in 0u64..1000, positives in 1usize..2000) {
            let score = |row: u64| (combine(seed, row) % 10_000) as f64 / 10_000.0;
            let is_positive: Vec<bool> = (0..4000).map(|row| row % 4000 < positives).collect();
            let scores: Vec<f64> = (0..4000u64).map(|row| score(row) + if is_positive[row as usize] { 0.3 } else { 0.0 }).collect();
            let curve: Vec<Place> = roc_curve(&is_positive, &scores).unwrap().into_iter().map(Place::from).collect();
            let few = thinned(&curve, DRAWN_POINTS);
            prop_assert!(few.len() <= DRAWN_POINTS && few.iter().all(|point| curve.contains(point)));
            prop_assert!((area(&few) - roc_auc(&is_positive, &scores).unwrap().unwrap()).abs() < 1e-3);
            let curve: Vec<Place> = precision_recall_curve(&is_positive, &scores).unwrap().into_iter().map(Place::from).collect();
            prop_assert!((area(&thinned(&curve, DRAWN_POINTS)) - area(&curve)).abs() < 1e-2);
        }
    }

    fn combine(seed: u64, row: u64) -> u64 {
        tensor::random::combine(seed, row)
    }
}
