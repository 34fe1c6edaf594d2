//! The differentiable operations. Each file says what it computes and how its gradient follows.
//!
//! Operations are coarse: one call does what one pass over memory can do. They check shapes and element types, choose the
//! kernel, and record their gradient on the tape.

pub mod activation;
mod attention;
mod binary_cross_entropy;
mod convert;
mod convolution;
mod cross_entropy;
mod disentangled_attention;
mod dropout;
mod embedding_sum;
mod gated;
mod head_norm;
mod heads;
mod kl_divergence;
mod linear;
mod loss;
mod low_rank;
mod mean_squared_error;
mod norm;
mod packed_linear;
mod pool;
mod residual_dropout;
mod residual_dropout_norm;
mod rope;
mod rows;
mod side_by_side;
mod sum;

pub use activation::activate;
pub(crate) use attention::workspace_bytes as attention_workspace_bytes;
pub use attention::{AttentionShape, attention};
pub use binary_cross_entropy::binary_cross_entropy_with_logits;
pub use convert::to_dtype;
pub use convolution::convolution;
pub use cross_entropy::{Emphasis, cross_entropy};
pub use disentangled_attention::{RelativePositions, disentangled_attention, disentangled_scale};
pub(crate) use disentangled_attention::{position_sums, workspace_bytes as disentangled_attention_workspace_bytes};
pub use dropout::dropout;
pub use embedding_sum::embedding_sum;
pub use gated::gated;
pub use head_norm::head_norm;
pub use heads::{Heads, Window};
pub use kl_divergence::{kl_divergence, soft_binary_cross_entropy};
pub use linear::{Affine, linear};
pub use low_rank::{LowRank, low_rank};
pub use mean_squared_error::mean_squared_error;
pub use norm::{NormKind, norm};
pub use packed_linear::{PackedLinear, linear_packed};
pub use pool::{Pooling, pool, pool_last_of};
pub use residual_dropout::residual_dropout;
pub use residual_dropout_norm::{layer_norm, residual_dropout_norm};
pub use rope::{Rotations, rope};
pub use rows::rows;
pub use side_by_side::side_by_side;
pub use sum::sum;

/// Runs a body with `$float` standing for the element type, one of those listed, or refuses what is not listed.
macro_rules! with_float {
    ($operation:expr, $tensor:expr, $float:ident => $body:expr) => {
        $crate::ops::with_float!(@ $operation, $tensor, "f32, bf16 or f64", $float, $body, F32 f32 BF16 $crate::bf16 F64 f64)
    };
    (@ $operation:expr, $tensor:expr, $expected:literal, $float:ident, $body:expr, $($dtype:ident $type:ty)*) => {
        match $tensor.dtype() {
            $($crate::DType::$dtype => {
                type $float = $type;
                $body
            })*
            found => Err($crate::Error::DType {
                operation: $operation,
                what: "input",
                found,
                expected: $expected,
            }),
        }
    };
}
pub(crate) use with_float;

/// As [`with_float`] for the types that are computed in: those of parameters, logits and losses.
macro_rules! with_real {
    ($operation:expr, $tensor:expr, $real:ident => $body:expr) => {
        $crate::ops::with_float!(@ $operation, $tensor, "f32 or f64", $real, $body, F32 f32 F64 f64)
    };
}
pub(crate) use with_real;

#[cfg(test)]
pub(crate) mod testing {
    //! How every operation is checked: its gradient against finite differences in f64, and f32 against f64.

    use crate::random::Sequence;
    use crate::{DType, ParameterGradients, Parameters, Result, Tape, Tensor, Var, ops};

    /// Normal values, the same for the same seed.
    pub fn normal(seed: u64, shape: &[usize]) -> Tensor {
        let mut random = Sequence::new(seed, 99);
        Tensor::from_vec((0..shape.iter().product()).map(|_| random.normal()).collect(), shape).unwrap()
    }

    fn run(parameters: &Parameters, forward: &impl Fn(&Tape, &[Var]) -> Result<Var>) -> (f64, Vec<f64>, Vec<Vec<f64>>) {
        let tape = Tape::recording();
        let inputs: Vec<Var> = parameters
            .iter()
            .map(|(id, _, _)| tape.parameter(parameters, id))
            .collect();
        let output = forward(&tape, &inputs).unwrap();
        let values = output.value().to_f64_vec();
        // A loss whose gradient differs from element to element.
        let targets: Vec<f32> = (0..values.len()).map(|i| ((i * 7) % 5) as f32 - 2.5).collect();
        let loss = ops::mean_squared_error(&tape, &output, &targets, 3.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(parameters);
        tape.backward(&loss, &mut gradients).unwrap();
        let gradients = parameters
            .iter()
            .map(|(id, _, value)| gradients.get(id).map_or(vec![0.0; value.len()], Tensor::to_f64_vec))
            .collect();
        (loss.value().to_f64_vec()[0], values, gradients)
    }

    fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
        let scale = expected.iter().fold(1e-3f64, |scale, value| scale.max(value.abs()));
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * scale,
                "{what}[{index}]: {found} instead of {expected} (scale {scale})"
            );
        }
    }

    /// Checks `forward` at the given f64 inputs.
    pub fn check(inputs: Vec<Tensor>, forward: impl Fn(&Tape, &[Var]) -> Result<Var>) {
        let mut parameters = Parameters::default();
        for (index, input) in inputs.into_iter().enumerate() {
            parameters.add(index.to_string(), input);
        }
        let (_, values, gradients) = run(&parameters, &forward);
        let step = 1e-5;
        for (index, gradient) in gradients.iter().enumerate() {
            let id = parameters.find(&index.to_string()).unwrap();
            let differences: Vec<f64> = (0..gradient.len())
                .map(|element| {
                    let shifted = |by: f64| {
                        let mut parameters = parameters.clone();
                        parameters.get_mut(id).as_mut_slice::<f64>().unwrap()[element] += by;
                        run(&parameters, &forward).0
                    };
                    (shifted(step) - shifted(-step)) / (2.0 * step)
                })
                .collect();
            assert_close(gradient, &differences, 1e-7, &format!("gradient of input {index}"));
        }
        let (_, narrow_values, narrow_gradients) = run(&parameters.to_dtype(DType::F32), &forward);
        assert_close(&narrow_values, &values, 3e-6, "f32 output");
        for (index, (narrow, wide)) in narrow_gradients.iter().zip(&gradients).enumerate() {
            assert_close(narrow, wide, 2e-5, &format!("f32 gradient of input {index}"));
        }
        let predicted = forward(
            &Tape::inference(),
            &parameters
                .iter()
                .map(|(_, _, value)| Tape::inference().constant(value.clone()))
                .collect::<Vec<_>>(),
        );
        assert_eq!(
            predicted.unwrap().value().to_f64_vec(),
            values,
            "prediction differs from training's forward pass"
        );
    }
}
