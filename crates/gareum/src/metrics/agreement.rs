//! Agreement of predicted with true classes beyond what chance would give, and accuracy in which every class counts the same.

use super::ConfusionMatrix;
use super::report::Outcomes;

/// Matthews' correlation of several classes, `(c s − Σ pₖ tₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²))` with `s` examples, `c` right ones, and `pₖ`
/// predicted and `tₖ` true ones of class `k` (Gorodkin 2004). 0 if all examples are of one class, or all predictions; `None` without examples.
pub fn matthews_corrcoef(matrix: &ConfusionMatrix) -> Option<f64> {
    matthews_of(&matrix.outcomes())
}

/// Cohen's kappa, `(pₒ − pₑ) / (1 − pₑ)` with the observed agreement and that of chance (Cohen 1960). `None` where chance agrees always: if
/// truth and predictions are all of one and the same class.
pub fn cohen_kappa(matrix: &ConfusionMatrix) -> Option<f64> {
    kappa_of(&matrix.outcomes())
}

/// Mean recall of the classes that have examples. `None` without examples.
pub fn balanced_accuracy(matrix: &ConfusionMatrix) -> Option<f64> {
    balanced_of(&matrix.outcomes())
}

pub(super) fn matthews_of(outcomes: &[Outcomes]) -> Option<f64> {
    let Totals { examples, hits, chance } = Totals::of(outcomes)?;
    let spread = |count: fn(&Outcomes) -> u64| {
        let squares: f64 = outcomes.iter().map(|one| (count(one) as f64).powi(2)).sum();
        examples * examples - squares
    };
    let scale = spread(|one| one.predicted) * spread(|one| one.positive);
    Some(if scale > 0.0 {
        (hits * examples - chance) / scale.sqrt()
    } else {
        0.0
    })
}

pub(super) fn kappa_of(outcomes: &[Outcomes]) -> Option<f64> {
    let Totals { examples, hits, chance } = Totals::of(outcomes)?;
    let most = examples * examples;
    // Both products are whole numbers.
    (chance < most).then(|| (hits * examples - chance) / (most - chance))
}

pub(super) fn balanced_of(outcomes: &[Outcomes]) -> Option<f64> {
    let recalls: Vec<f64> = outcomes
        .iter()
        .filter(|one| one.positive > 0)
        .map(|one| one.hits as f64 / one.positive as f64)
        .collect();
    (!recalls.is_empty()).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
}

struct Totals {
    examples: f64,
    hits: f64,
    /// `Σ pₖ tₖ`
    chance: f64,
}

impl Totals {
    fn of(outcomes: &[Outcomes]) -> Option<Self> {
        let sum = |value: fn(&Outcomes) -> f64| outcomes.iter().map(value).sum::<f64>();
        let totals = Self {
            examples: sum(|one| one.positive as f64),
            hits: sum(|one| one.hits as f64),
            chance: sum(|one| one.predicted as f64 * one.positive as f64),
        };
        (totals.examples > 0.0).then_some(totals)
    }
}
