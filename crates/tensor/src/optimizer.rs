//! AdamW and gradient clipping over a set of parameters, as PyTorch computes them.

use std::ops::Range;

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::cpu::vectorised;
use crate::ops::with_real;
use crate::{ParameterGradients, ParameterId, Parameters, Real, Result, Tensor};

/// How many elements one task updates: a fixed number, so that results do not depend on the number of threads.
const TASK_ELEMENTS: usize = 1 << 15;

/// The numbers of AdamW that stay the same for a whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Decay rate of the first moment. Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment. Default 0.999.
    pub beta2: f64,
    /// Added to the denominator. Default 1e-8.
    pub epsilon: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>), in the order of
/// operations of `torch.optim.AdamW`:
///
/// θ ← θ (1 − lr λ); m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; θ ← θ − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
#[derive(Debug, Clone)]
pub struct AdamW {
    options: AdamWOptions,
    /// t above: how many steps have been taken.
    step: u64,
    /// m and v of each parameter, created when its first gradient arrives.
    moments: Vec<Option<[Tensor; 2]>>,
    /// λ of each parameter.
    weight_decay: Vec<f64>,
    /// What the learning rate of each parameter is multiplied by.
    rate_scale: Vec<f64>,
}

impl AdamW {
    /// An optimiser for `parameters`; `weight_decay` gives λ by name and value.
    pub fn new(parameters: &Parameters, options: AdamWOptions, weight_decay: impl Fn(&str, &Tensor) -> f64) -> Self {
        Self {
            options,
            step: 0,
            moments: vec![None; parameters.len()],
            weight_decay: parameters
                .iter()
                .map(|(_, name, value)| weight_decay(name, value))
                .collect(),
            rate_scale: vec![1.0; parameters.len()],
        }
    }

    /// Multiplies the learning rate of a parameter.
    pub fn scale_rate(&mut self, id: ParameterId, factor: f64) {
        self.rate_scale[id.0] *= factor;
    }

    /// How many steps have been taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The first and second moments of a parameter, if it has had a gradient.
    pub fn moments(&self, id: ParameterId) -> Option<&[Tensor; 2]> {
        self.moments[id.0].as_ref()
    }

    /// Takes up where another run left off.
    pub fn restore(&mut self, steps: u64, moments: impl IntoIterator<Item = (ParameterId, [Tensor; 2])>) {
        self.step = steps;
        for (id, pair) in moments {
            self.moments[id.0] = Some(pair);
        }
    }

    /// Takes one step with the gradients times `factor` (see [`clip_factor`]; in the same sweep, because it is as slow as
    /// memory is). Parameters without a gradient stay as they are.
    ///
    /// # Errors
    /// [`crate::Error::DType`] if a parameter is not floating point.
    pub fn step(
        &mut self,
        parameters: &mut Parameters,
        gradients: &ParameterGradients,
        factor: f64,
        learning_rate: f64,
    ) -> Result<()> {
        self.step += 1;
        for (id, gradient) in gradients.iter() {
            let value = parameters.get_mut(id);
            with_real!("adamw", value, T => self.update::<T>(id, value, gradient, factor, learning_rate))?;
        }
        Ok(())
    }

    fn update<T: Real>(
        &mut self,
        id: ParameterId,
        value: &mut Tensor,
        gradient: &Tensor,
        factor: f64,
        learning_rate: f64,
    ) -> Result<()> {
        let AdamWOptions { beta1, beta2, epsilon } = self.options;
        let learning_rate = learning_rate * self.rate_scale[id.0];
        let correction1 = 1.0 - beta1.powi(self.step as i32);
        let correction2 = 1.0 - beta2.powi(self.step as i32);
        let numbers = Numbers {
            factor: T::from_f64(factor),
            keep: T::from_f64(1.0 - learning_rate * self.weight_decay[id.0]),
            rest1: T::from_f64(1.0 - beta1),
            beta2: T::from_f64(beta2),
            rest2: T::from_f64(1.0 - beta2),
            root2: T::from_f64(correction2.sqrt()),
            epsilon: T::from_f64(epsilon),
            rate: T::from_f64(learning_rate / correction1),
        };
        let shape = value.shape().to_vec();
        let zeros = || Tensor::from_buffer(Buffer::<T>::lasting_zeros(gradient.len()), &shape);
        let moments = self.moments[id.0].get_or_insert_with(|| [zeros(), zeros()]);
        let [first, second] = moments;
        let gradient = gradient.slice::<T>("adamw", "gradient")?;
        let slices = [value, first, second].map(|tensor| {
            tensor
                .as_mut_slice::<T>()
                .unwrap_or_default()
                .par_chunks_mut(TASK_ELEMENTS)
        });
        let [value, first, second] = slices;
        value
            .zip(first)
            .zip(second)
            .zip(gradient.par_chunks(TASK_ELEMENTS))
            .for_each(|(((value, first), second), g)| {
                vectorised(
                    #[inline(always)]
                    || numbers.update(value, first, second, g),
                );
            });
        Ok(())
    }
}

/// The numbers of one step, in the parameter's type.
#[derive(Clone, Copy)]
struct Numbers<T> {
    factor: T,
    keep: T,
    rest1: T,
    beta2: T,
    rest2: T,
    root2: T,
    epsilon: T,
    rate: T,
}

impl<T: Real> Numbers<T> {
    #[inline(always)]
    fn update(&self, value: &mut [T], first: &mut [T], second: &mut [T], gradient: &[T]) {
        for (((value, m), v), &g) in value.iter_mut().zip(first).zip(second).zip(gradient) {
            let g = g * self.factor;
            *m += (g - *m) * self.rest1;
            *v = *v * self.beta2 + g * g * self.rest2;
            *value = *value * self.keep - self.rate * *m / ((*v).sqrt() / self.root2 + self.epsilon);
        }
    }
}

/// The Euclidean norm of all gradients together, summed in f64.
pub fn global_norm(gradients: &ParameterGradients) -> f64 {
    fn squares<T: Real>(values: &[T]) -> f64 {
        vectorised(
            #[inline(always)]
            || {
                let mut lanes = [0.0f64; 16];
                let (chunks, rest) = values.as_chunks::<16>();
                for chunk in chunks {
                    for (lane, value) in lanes.iter_mut().zip(chunk) {
                        *lane += value.to_f64() * value.to_f64();
                    }
                }
                for (lane, value) in lanes.iter_mut().zip(rest) {
                    *lane += value.to_f64() * value.to_f64();
                }
                lanes.iter().sum::<f64>()
            },
        )
    }
    let sum_of = |(id, gradient): (ParameterId, &Tensor)| {
        // Partial sums in the order of the parts: the result does not depend on the number of threads.
        let parts = gradients.nonzero(id).into_iter();
        let parts: Vec<Range<usize>> = parts
            .flat_map(|range| {
                let end = range.end;
                range
                    .step_by(TASK_ELEMENTS)
                    .map(move |first| first..end.min(first + TASK_ELEMENTS))
            })
            .collect();
        let squares = |part: &Range<usize>| match (gradient.as_slice::<f32>(), gradient.as_slice::<f64>()) {
            (Some(values), _) => squares(&values[part.clone()]),
            (_, Some(values)) => squares(&values[part.clone()]),
            _ => 0.0,
        };
        parts
            .par_iter()
            .map(squares)
            .collect::<Vec<f64>>()
            .into_iter()
            .sum::<f64>()
    };
    gradients.iter().map(sum_of).sum::<f64>().sqrt()
}

/// What all gradients are to be multiplied by so that their norm is at most `max_norm`, as `torch.nn.utils.clip_grad_norm_`
/// does: by `max_norm / (norm + 1e-6)` where that is below 1.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tape, ops};

    /// Parameter θ = (1, −2) with the loss Σ (θ − t)² / 2, whose gradient is θ − t.
    fn step_gradients(parameters: &Parameters) -> ParameterGradients {
        let tape = Tape::recording();
        let id = parameters.find("theta").unwrap();
        let loss = ops::mean_squared_error(&tape, &tape.parameter(parameters, id), &[0.5, 3.0], 2.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(parameters);
        tape.backward(&loss, &mut gradients).unwrap();
        gradients
    }

    #[test]
    fn the_first_step_has_the_size_of_the_learning_rate() {
        // m / (1 − β₁) = g and √v / √(1 − β₂) = |g|, so that θ moves by lr · sign(g) after the decay.
        let mut parameters = Parameters::default();
        let id = parameters.add("theta", Tensor::from_vec(vec![1.0f64, -2.0], &[2]).unwrap());
        let mut optimizer = AdamW::new(&parameters, AdamWOptions::default(), |_, _| 0.1);
        let gradients = step_gradients(&parameters);
        optimizer.step(&mut parameters, &gradients, 1.0, 0.01).unwrap();
        let values = parameters.get(id).to_f64_vec();
        assert!((values[0] - (1.0 * 0.999 - 0.01)).abs() < 1e-9 && (values[1] - (-2.0 * 0.999 + 0.01)).abs() < 1e-9);
    }

    #[test]
    fn rates_can_be_scaled() {
        let step = |factor: f64, learning_rate: f64| {
            let mut parameters = Parameters::default();
            let id = parameters.add("theta", Tensor::from_vec(vec![1.0f64, -2.0], &[2]).unwrap());
            let mut optimizer = AdamW::new(&parameters, AdamWOptions::default(), |_, _| 0.1);
            optimizer.scale_rate(id, factor);
            let gradients = step_gradients(&parameters);
            optimizer.step(&mut parameters, &gradients, 1.0, learning_rate).unwrap();
            parameters.get(id).to_f64_vec()
        };
        assert_eq!(step(0.25, 0.04), step(1.0, 0.01));
    }

    #[test]
    fn clipping_scales_to_the_norm_and_leaves_small_gradients() {
        let mut parameters = Parameters::default();
        parameters.add("theta", Tensor::from_vec(vec![3.5f32, 7.0], &[2]).unwrap());
        let gradients = step_gradients(&parameters); // (3, 4)
        let norm = global_norm(&gradients);
        assert!((norm - 5.0).abs() < 1e-6);
        assert_eq!(clip_factor(norm, 10.0), 1.0);
        assert!((clip_factor(norm, 1.0) * norm - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_frozen_parameter_gets_no_gradient_and_no_moments() {
        let weights = || Tensor::from_vec(vec![0.5f32, -0.25, 1.0, 2.0], &[2, 2]).unwrap();
        let mut parameters = Parameters::default();
        let ids = ["first", "frozen", "last"].map(|name| parameters.add(name, weights()));
        parameters.set_trainable(ids[1], false);
        assert_eq!(parameters.trainable_element_count(), 8);
        let mut optimizer = AdamW::new(&parameters, AdamWOptions::default(), |_, _| 0.1);
        let tape = Tape::recording();
        let mut hidden = tape.constant(weights());
        for id in ids {
            let weight = tape.parameter(&parameters, id);
            let part = ops::Affine {
                weight: &weight,
                bias: None,
            };
            hidden = ops::linear(&tape, &hidden, crate::Activation::Identity, &[part]).unwrap();
        }
        let loss = ops::mean_squared_error(&tape, &hidden, &[0.0; 4], 4.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        tape.backward(&loss, &mut gradients).unwrap();
        optimizer.step(&mut parameters, &gradients, 1.0, 0.01).unwrap();
        for (id, is_trained) in ids.into_iter().zip([true, false, true]) {
            assert_eq!(gradients.get(id).is_some(), is_trained);
            assert_eq!(optimizer.moments(id).is_some(), is_trained);
            assert_eq!(parameters.get(id).to_f64_vec() != weights().to_f64_vec(), is_trained);
        }
    }

    #[test]
    fn a_step_with_a_factor_is_one_with_smaller_gradients() {
        let run = |theta: [f64; 2], factor: f64| {
            let mut parameters = Parameters::default();
            let id = parameters.add("theta", Tensor::from_vec(theta.to_vec(), &[2]).unwrap());
            let mut optimizer = AdamW::new(
                &parameters,
                AdamWOptions {
                    epsilon: 0.5,
                    ..AdamWOptions::default()
                },
                |_, _| 0.0,
            );
            let gradients = step_gradients(&parameters);
            optimizer.step(&mut parameters, &gradients, factor, 0.01).unwrap();
            let moved = parameters.get(id).to_f64_vec();
            [moved[0] - theta[0], moved[1] - theta[1]]
        };
        // Gradients (2, 4) halved, and (1, 2).
        let (halved, small) = (run([2.5, 7.0], 0.5), run([1.5, 5.0], 1.0));
        assert!(
            halved
                .iter()
                .zip(small)
                .all(|(halved, small)| (halved - small).abs() < 1e-12)
        );
    }
}
