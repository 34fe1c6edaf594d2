//! The learning rate over the steps of a run.

use serde::{Deserialize, Serialize};

/// How the learning rate moves between warm-up and end, as `transformers` names and computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// In a straight line to 0.
    #[default]
    Linear,
    /// Along half a cosine to 0.
    Cosine,
    /// It stays.
    Constant,
}

impl Schedule {
    /// The rate of a step, counted from 0. During the first `warmup_steps` it rises in a straight line from 0.
    pub fn learning_rate(self, peak: f64, step: u64, warmup_steps: u64, total_steps: u64) -> f64 {
        if step < warmup_steps {
            return peak * step as f64 / warmup_steps.max(1) as f64;
        }
        let progress = (step - warmup_steps) as f64 / total_steps.saturating_sub(warmup_steps).max(1) as f64;
        let progress = progress.min(1.0);
        match self {
            Self::Linear => peak * (1.0 - progress),
            Self::Cosine => peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Constant => peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_transformers() {
        // get_{linear,cosine,constant}_schedule_with_warmup with 2 warm-up steps of 6 and lr 1.
        let rates = |schedule: Schedule| -> Vec<f64> { (0..7).map(|s| schedule.learning_rate(1.0, s, 2, 6)).collect() };
        assert_eq!(rates(Schedule::Linear), [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
        assert_eq!(rates(Schedule::Constant), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let expected = [0.0, 0.5, 1.0, 0.853_553_39, 0.5, 0.146_446_61, 0.0];
        assert!(
            rates(Schedule::Cosine)
                .iter()
                .zip(expected)
                .all(|(rate, expected)| (rate - expected).abs() < 1e-8)
        );
        assert_eq!(Schedule::Linear.learning_rate(1.0, 0, 0, 0), 1.0);
    }
}
