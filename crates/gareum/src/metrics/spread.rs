//! Mean and deviation of figures that vary from run to run.

use serde::Serialize;

use super::Metrics;

/// A figure of several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// The sample standard deviation, with n − 1; `None` for a single run.
    pub std: Option<f64>,
    /// Those of the runs in order.
    pub values: Vec<f64>,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, std, values })
    }

    /// Every figure that all runs have, by its name.
    pub fn of_metrics(runs: &[Metrics]) -> Vec<(&'static str, Self)> {
        let names = runs.first().map(Metrics::values).unwrap_or_default();
        let of_name = |(name, _): (&'static str, Option<f64>)| {
            let values: Option<Vec<f64>> = runs.iter().map(|metrics| metrics.value(name)).collect();
            Some((name, Self::of(values?)?))
        };
        names.into_iter().filter_map(of_name).collect()
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.std {
            Some(std) => write!(f, "{:.4} ± {std:.4}", self.mean),
            None => write!(f, "{:.4}", self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let spread = Spread::of(vec![1.0, 2.0, 4.0]).unwrap();
        assert!((spread.mean - 7.0 / 3.0).abs() < 1e-12);
        // statistics.stdev([1, 2, 4])
        assert!((spread.std.unwrap() - 1.527_525_231_651_946_8).abs() < 1e-12);
        assert_eq!(Spread::of(vec![3.0]).unwrap().to_string(), "3.0000");
        assert_eq!(Spread::of(Vec::new()), None);
        let runs = [[0, 1, 1], [0, 0, 1]].map(|found| {
            let names = ["a".to_owned(), "b".to_owned()];
            Metrics::single_label(&names, &[0, 0, 1], &found, None, None).unwrap()
        });
        let found = Spread::of_metrics(&runs);
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names[..4], ["accuracy", "macro_f1", "micro_f1", "weighted_f1"]);
        assert_eq!(found[0].1.values, [2.0 / 3.0, 1.0]);
    }
}
