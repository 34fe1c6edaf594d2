//! Element-wise non-linearities: as an operation, and as what `linear` applies to its input.

use crate::buffer::Buffer;
use crate::cpu::for_each_rows;
use crate::ops::with_float;
use crate::{Float, Real, Result, Tape, Tensor, Var};

const NAME: &str = "activate";

/// A non-linearity, named as `hidden_act` of a `config.json` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// x Φ(x), with the error function (Hendrycks and Gimpel 2016, <https://arxiv.org/abs/1606.08415>); `gelu`.
    Gelu,
    /// Its approximation ½x(1 + tanh(√(2/π)(x + 0.044715x³))); `gelu_new` and `gelu_pytorch_tanh`.
    GeluTanh,
    /// max(x, 0); `relu`.
    Relu,
    /// x σ(x); `silu` and `swish`.
    Silu,
    /// tanh x; `tanh`.
    Tanh,
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044_715;

#[inline(always)]
fn half<T: Real>() -> T {
    T::from_f64(0.5)
}

#[inline(always)]
fn normal_cdf<T: Real>(x: T) -> T {
    half::<T>() * (T::ONE + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

#[inline(always)]
fn gelu_tanh_inner<T: Real>(x: T) -> T {
    (T::from_f64(SQRT_2_OVER_PI) * (x + T::from_f64(CUBIC) * x * x * x)).tanh()
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

impl Activation {
    /// The function that a `config.json` names, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "linear" => Self::Identity,
            "gelu" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            _ => return None,
        })
    }

    /// The names [`Self::from_name`] knows.
    pub const NAMES: [&str; 9] = [
        "linear",
        "gelu",
        "gelu_new",
        "gelu_pytorch_tanh",
        "gelu_fast",
        "relu",
        "silu",
        "swish",
        "tanh",
    ];
}

/// A non-linearity that kernels are compiled for.
pub(crate) trait Function {
    /// f(x)
    fn value<T: Real>(x: T) -> T;
    /// f′(x)
    fn derivative<T: Real>(x: T) -> T;
    /// f(x) for a number that is to be one of 8 bits: to 1e-4 and 5e-5 of |x|, where that is cheaper.
    #[inline(always)]
    fn coarse(x: f32) -> f32 {
        Self::value(x)
    }
}

/// One type for each [`Activation`].
pub(crate) mod functions {
    pub(crate) struct Identity;
    pub(crate) struct Gelu;
    pub(crate) struct GeluTanh;
    pub(crate) struct Relu;
    pub(crate) struct Silu;
    pub(crate) struct Tanh;
}

impl Function for functions::Identity {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x
    }
    #[inline(always)]
    fn derivative<T: Real>(x: T) -> T {
        let _ = x;
        T::ONE
    }
}

impl Function for functions::Gelu {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x * normal_cdf(x)
    }
    #[inline(always)]
    fn derivative<T: Real>(x: T) -> T {
        let density = T::from_f64(0.398_942_280_401_432_7) * (-half::<T>() * x * x).exp();
        normal_cdf(x) + x * density
    }
    /// Φ(x) = ½ + x P(x²) for |x| ≤ 4, P being the polynomial of degree 7 for which x Φ(x) errs least.
    #[inline(always)]
    fn coarse(x: f32) -> f32 {
        let clamped = if x < -4.0 { -4.0 } else { x };
        let clamped = if clamped > 4.0 { 4.0 } else { clamped };
        let square = clamped * clamped;
        let p = -1.301_271_8e-9;
        let p = p * square + 1.041_945_4e-7;
        let p = p * square - 3.657_091_4e-6;
        let p = p * square + 7.485_443e-5;
        let p = p * square - 1.006_485_1e-3;
        let p = p * square + 9.505_372_5e-3;
        let p = p * square - 6.588_778e-2;
        let p = p * square + 0.398_673_33;
        x * (0.5 + clamped * p)
    }
}

impl Function for functions::GeluTanh {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        half::<T>() * x * (T::ONE + gelu_tanh_inner(x))
    }
    #[inline(always)]
    fn derivative<T: Real>(x: T) -> T {
        let tanh = gelu_tanh_inner(x);
        let inner = T::from_f64(SQRT_2_OVER_PI) * (T::ONE + T::from_f64(3.0 * CUBIC) * x * x);
        half::<T>() * (T::ONE + tanh) + half::<T>() * x * (T::ONE - tanh * tanh) * inner
    }
}

impl Function for functions::Relu {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        if x > T::ZERO { x } else { T::ZERO }
    }
    #[inline(always)]
    fn derivative<T: Real>(x: T) -> T {
        if x > T::ZERO { T::ONE } else { T::ZERO }
    }
}

impl Function for functions::Silu {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x * sigmoid(x)
    }
    #[inline(always)]
    fn derivative<T: Real>(x: T) -> T {
        let sigmoid = sigmoid(x);
        sigmoid * (T::ONE + x * (T::ONE - sigmoid))
    }
}

impl Function for functions::Tanh {
    #[inline(always)]
    fn value<T: Real>(x: T) -> T {
        x.tanh()
    }
    #[inline(always)]
    fn derivative<T: Real>(x: T) -> T {
        let tanh = x.tanh();
        T::ONE - tanh * tanh
    }
}

/// Runs a body with `$function` standing for the [`Function`] of an activation, so that loops need not ask which it is.
macro_rules! with_activation {
    ($activation:expr, $function:ident => $body:expr) => {
        $crate::ops::activation::with_activation!(@ $activation, $function, $body, Identity Gelu GeluTanh Relu Silu Tanh)
    };
    (@ $activation:expr, $function:ident, $body:expr, $($name:ident)*) => {
        match $activation {
            $($crate::Activation::$name => {
                type $function = $crate::ops::activation::functions::$name;
                $body
            })*
        }
    };
}
pub(crate) use with_activation;

/// f(x) over all elements.
pub(super) fn activated<S: Float>(inputs: &[S], activation: Activation) -> Buffer<S> {
    let mut outputs = Buffer::<S>::scratch(inputs.len());
    with_activation!(activation, F => for_each_rows(
        &mut outputs,
        1,
        #[inline(always)]
        |first, block| {
            for (output, input) in block.iter_mut().zip(&inputs[first..]) {
                *output = S::narrow(F::value(input.widen()));
            }
        },
    ));
    outputs
}

/// y = f(x).
///
/// # Shapes
/// `input`: any; returns the same.
///
/// # Errors
/// [`crate::Error::DType`] if `input` is not floating point.
pub fn activate(tape: &Tape, input: &Var, activation: Activation) -> Result<Var> {
    with_float!(NAME, input.value(), S => run::<S>(tape, input, activation))
}

fn run<S: Float>(tape: &Tape, input: &Var, activation: Activation) -> Result<Var> {
    let output = activated(input.value().slice::<S>(NAME, "input")?, activation);
    Ok(
        tape.push(Tensor::from_buffer(output, input.value().shape()), &[input], || {
            let (input, destination) = (input.value().clone(), input.destination());
            move |mut gradient: Tensor, gradients: &mut crate::Gradients<'_>| {
                let x = input.slice::<S>(NAME, "input")?;
                let delta = gradient.as_mut_slice::<S>().unwrap_or_default();
                with_activation!(activation, F => for_each_rows(
                    delta,
                    1,
                    #[inline(always)]
                    |first, block| {
                        for (delta, x) in block.iter_mut().zip(&x[first..]) {
                            *delta = S::narrow(delta.widen() * F::derivative(x.widen()));
                        }
                    },
                ));
                gradients.add::<S>(&destination, gradient);
                Ok(())
            }
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, normal};

    #[test]
    fn gradients() {
        for name in Activation::NAMES {
            let activation = Activation::from_name(name).unwrap();
            check(vec![normal(1, &[3, 5])], |tape, inputs| {
                activate(tape, &inputs[0], activation)
            });
        }
    }

    #[test]
    fn known_values() {
        let check = |activation: Activation, x: f64, expected: f64| {
            let y = activated(&[x], activation)[0];
            assert!((y - expected).abs() < 1e-9, "{activation:?}({x}) = {y}");
        };
        // torch.nn.functional in float64.
        check(Activation::Gelu, 1.0, 0.841_344_746_068_542_9);
        check(Activation::GeluTanh, 1.0, 0.841_191_990_607_477_2);
        check(Activation::Relu, -1.0, 0.0);
        check(Activation::Silu, 1.0, 0.731_058_578_630_004_9);
        check(Activation::Tanh, 0.5, 0.462_117_157_260_009_8);
    }

    #[test]
    fn coarse_values_are_near_enough_for_eight_bits() {
        for step in -90_000..=90_000 {
            let x = step as f32 / 1e4;
            let error = (functions::Gelu::coarse(x) - functions::Gelu::value(x)).abs();
            assert!(error <= 1e-4 + 5e-5 * x.abs(), "{x}: {error}");
        }
        assert!(functions::Gelu::coarse(f32::NAN).is_nan());
    }

    #[test]
    fn every_listed_name_is_known() {
        assert!(
            Activation::NAMES
                .iter()
                .all(|name| Activation::from_name(name).is_some())
        );
        assert_eq!(Activation::from_name("mish"), None);
    }
}
