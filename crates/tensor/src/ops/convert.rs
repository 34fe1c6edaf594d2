//! `to_dtype`: the same values in another floating-point type, rounded where it is narrower. The gradient is converted back.

use crate::buffer::Buffer;
use crate::cpu::for_each_rows;
use crate::ops::with_float;
use crate::{DType, Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "to_dtype";

/// `input` in `dtype`; itself if it is that already.
///
/// # Shapes
/// `input`: any; returns the same.
///
/// # Errors
/// [`crate::Error::DType`] if one of the two is not floating point.
pub fn to_dtype(tape: &Tape, input: &Var, dtype: DType) -> Result<Var> {
    if input.value().dtype() == dtype {
        return Ok(input.clone());
    }
    with_float!(NAME, input.value(), S => with_float!(NAME, Target(dtype), T => run::<S, T>(tape, input)))
}

/// The type to convert to, asked as a tensor is.
struct Target(DType);

impl Target {
    fn dtype(&self) -> DType {
        self.0
    }
}

fn run<S: Float, T: Float>(tape: &Tape, input: &Var) -> Result<Var> {
    let output = converted::<S, T>(input.value())?;
    Ok(tape.push(output, &[input], || {
        let input = input.destination();
        move |gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
            gradients.add::<S>(&input, converted::<T, S>(&gradient)?);
            Ok(())
        }
    }))
}

fn converted<S: Float, T: Float>(values: &Tensor) -> Result<Tensor> {
    let input = values.slice::<S>(NAME, "input")?;
    let mut output = Buffer::<T>::scratch(input.len());
    for_each_rows(
        &mut output,
        1,
        #[inline(always)]
        |first, block| {
            for (output, input) in block.iter_mut().zip(&input[first..]) {
                *output = T::narrow(T::Real::from_f64(input.widen().to_f64()));
            }
        },
    );
    Ok(Tensor::from_buffer(output, values.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::normal;
    use crate::{ParameterGradients, Parameters, bf16, ops};

    #[test]
    fn there_and_back() {
        let mut parameters = Parameters::default();
        let id = parameters.add("x", normal(1, &[3, 4]).to_dtype(DType::F32));
        let tape = Tape::recording();
        let narrow = to_dtype(&tape, &tape.parameter(&parameters, id), DType::BF16).unwrap();
        let exact: Vec<f64> = parameters
            .get(id)
            .to_f32_vec()
            .iter()
            .map(|&x| bf16::from_f32(x).to_f64())
            .collect();
        assert_eq!(narrow.value().to_f64_vec(), exact);
        let wide = to_dtype(&tape, &narrow, DType::F32).unwrap();
        let loss = ops::mean_squared_error(&tape, &wide, &[0.0; 12], 2.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        tape.backward(&loss, &mut gradients).unwrap();
        assert_eq!(gradients.get(id).unwrap().to_f64_vec(), exact);
    }
}
