//! `cross_entropy`: Σ over rows of what a row costs, over a normaliser.
//!
//! With p = softmax(x), class y, weights w, smoothing ε and K labels a row costs −(1 − ε) w_y ln p_y − ε / K Σ_c w_c ln p_c, as
//! PyTorch's `CrossEntropyLoss` has it; or, with focusing γ, −w_y (1 − p_y)^γ ln p_y (Lin et al. 2017, Focal Loss for Dense Object
//! Detection). Gradients: with a_c what −ln p_c is multiplied by, p_j Σ_c a_c − a_j; and w_y f′(p_y) p_y (1_{j=y} − p_j) for
//! f(p) = −(1 − p)^γ ln p.

use super::loss::loss_of;
use crate::ops::with_real;
use crate::{Error, Real, Result, Tape, Var};

const NAME: &str = "cross_entropy";

/// What classes count, and how sure a model is to become.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Emphasis<'a> {
    /// A factor for each label; empty: all are 1.
    pub weights: &'a [f64],
    /// ε: the part of a target that is spread over all labels. Not beside `focal_gamma`.
    pub label_smoothing: f64,
    /// γ: how much less examples count that are right already; 0: as much.
    pub focal_gamma: f64,
}

impl Emphasis<'_> {
    /// The weight of a label.
    pub fn weight(&self, label: usize) -> f64 {
        self.weights.get(label).copied().unwrap_or(1.0)
    }

    /// Refuses what is no emphasis for so many labels.
    pub(super) fn check(&self, operation: &'static str, labels: usize) -> Result<()> {
        let expected = match self.weights.len() {
            0 => return Ok(()),
            found if found == labels => return Ok(()),
            _ => format!("[{labels}]"),
        };
        Err(Error::shape(operation, "weights", &[self.weights.len()], expected))
    }
}

/// f(p) = −(1 − p)^γ ln p and f′(p) · p, from p and ln p.
pub(super) fn focal(p: f64, ln_p: f64, gamma: f64) -> [f64; 2] {
    let rest = 1.0 - p;
    let power = rest.powf(gamma);
    // (1 − p)^(γ − 1) at p = 1, where what it is multiplied by is 0.
    let steep = if rest > 0.0 {
        gamma * rest.powf(gamma - 1.0)
    } else {
        0.0
    };
    [-power * ln_p, steep * p * ln_p - power]
}

/// What classes cost under `emphasis`, divided by `normalizer`: for a mean the number of rows of the whole batch, or the sum of their
/// classes' weights, so that the losses of its parts add up.
///
/// # Shapes
/// `logits`: `[batch, labels]`; `classes`: `[batch]`. Returns one element.
///
/// # Errors
/// [`Error::Shape`] if the counts differ, [`Error::Id`] if a class is outside of the labels.
pub fn cross_entropy(
    tape: &Tape,
    logits: &Var,
    classes: &[u32],
    emphasis: Emphasis<'_>,
    normalizer: f64,
) -> Result<Var> {
    with_real!(NAME, logits.value(), T => run::<T>(tape, logits, classes, emphasis, normalizer))
}

fn run<T: Real>(tape: &Tape, logits: &Var, classes: &[u32], emphasis: Emphasis<'_>, normalizer: f64) -> Result<Var> {
    let [batch, labels] = logits.dims2(NAME, "logits")?;
    if classes.len() != batch {
        return Err(Error::shape(
            NAME,
            "classes",
            &[classes.len()],
            format_args!("[{batch}]"),
        ));
    }
    if let Some(position) = classes.iter().position(|&class| class as usize >= labels) {
        return Err(Error::Id {
            operation: NAME,
            id: classes[position],
            position,
            rows: labels,
        });
    }
    emphasis.check(NAME, labels)?;
    let mut slopes = logits.value().to_f64_vec();
    let loss: f64 = slopes
        .chunks_exact_mut(labels)
        .zip(classes)
        .map(|(row, &class)| cost(row, class as usize, emphasis))
        .sum();
    loss_of::<T>(tape, logits, loss, slopes, normalizer)
}

/// What a row costs; its logits are replaced by the gradient.
fn cost(row: &mut [f64], class: usize, emphasis: Emphasis<'_>) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|value| *value -= largest);
    let chosen = row[class];
    let logits_sum = |row: &[f64]| -> f64 {
        let weighted = row.iter().enumerate();
        weighted.map(|(label, value)| emphasis.weight(label) * value).sum()
    };
    let smoothed = if emphasis.label_smoothing > 0.0 {
        logits_sum(row)
    } else {
        0.0
    };
    row.iter_mut().for_each(|value| *value = value.exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
    let log_sum = sum.ln();
    let weight = emphasis.weight(class);
    if emphasis.focal_gamma > 0.0 {
        let [loss, slope] = focal(row[class], chosen - log_sum, emphasis.focal_gamma);
        row.iter_mut().for_each(|value| *value *= -weight * slope);
        row[class] += weight * slope;
        return weight * loss;
    }
    let spread = emphasis.label_smoothing / row.len() as f64;
    let own = (1.0 - emphasis.label_smoothing) * weight;
    let mut all = own;
    let mut loss = own * (log_sum - chosen);
    if spread > 0.0 {
        let weights: f64 = (0..row.len()).map(|label| emphasis.weight(label)).sum();
        all += spread * weights;
        loss += spread * (weights * log_sum - smoothed);
    }
    for (label, value) in row.iter_mut().enumerate() {
        *value = *value * all
            - if spread > 0.0 {
                spread * emphasis.weight(label)
            } else {
                0.0
            };
    }
    row[class] -= own;
    loss
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        check(vec![normal(1, &[4, 3])], |tape, inputs| {
            cross_entropy(tape, &inputs[0], &[2, 0, 1, 2], Emphasis::default(), 4.0)
        });
        let weights = [0.5, 3.0, 1.5];
        for (label_smoothing, focal_gamma) in [(0.0, 0.0), (0.1, 0.0), (0.0, 2.0), (0.0, 0.5)] {
            let emphasis = Emphasis {
                weights: &weights,
                label_smoothing,
                focal_gamma,
            };
            check(vec![normal(1, &[4, 3])], |tape, inputs| {
                cross_entropy(tape, &inputs[0], &[2, 0, 1, 2], emphasis, 4.0)
            });
        }
    }

    #[test]
    fn huge_logits_stay_finite() {
        let tape = Tape::inference();
        let logits = tape.constant(Tensor::from_vec(vec![1e30f32, -1e30, 0.0, 0.0], &[2, 2]).unwrap());
        let loss = cross_entropy(&tape, &logits, &[0, 1], Emphasis::default(), 2.0).unwrap();
        assert!((loss.value().to_f64_vec()[0] - 0.5 * 2f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn a_sure_model_costs_nothing_however_it_is_emphasised() {
        let tape = Tape::recording();
        let mut parameters = crate::Parameters::default();
        let logits = parameters.add("logits", Tensor::from_vec(vec![1e4f32, -1e4], &[1, 2]).unwrap());
        let emphasis = Emphasis {
            focal_gamma: 0.5,
            ..Emphasis::default()
        };
        let loss = cross_entropy(&tape, &tape.parameter(&parameters, logits), &[0], emphasis, 1.0).unwrap();
        let mut gradients = crate::ParameterGradients::for_parameters(&parameters);
        tape.backward(&loss, &mut gradients).unwrap();
        assert_eq!(loss.value().to_f64_vec(), [0.0]);
        assert_eq!(gradients.get(logits).unwrap().to_f64_vec(), [0.0, 0.0]);
    }

    #[test]
    fn a_class_outside_of_the_labels_is_named() {
        let tape = Tape::inference();
        let logits = tape.constant(Tensor::zeros::<f32>(&[1, 3]));
        let error = cross_entropy(&tape, &logits, &[3], Emphasis::default(), 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cross_entropy: id 3 at position 0 is outside of a table of 3 rows"
        );
    }
}
