//! Element-wise non-linearities. They are applied inside of `linear`, in the pass that adds the bias.

use crate::Real;

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

    /// y = f(x) over a slice.
    #[inline(always)]
    pub(crate) fn forward<T: Real>(self, inputs: &[T], outputs: &mut [T]) {
        match self {
            Self::Identity => outputs.copy_from_slice(inputs),
            Self::Gelu => map(inputs, outputs, |_, x| x * normal_cdf(x)),
            Self::GeluTanh => map(inputs, outputs, |_, x| half::<T>() * x * (T::ONE + gelu_tanh_inner(x))),
            Self::Relu => map(inputs, outputs, |_, x| if x > T::ZERO { x } else { T::ZERO }),
            Self::Silu => map(inputs, outputs, |_, x| x * sigmoid(x)),
            Self::Tanh => map(inputs, outputs, |_, x| x.tanh()),
        }
    }

    /// g ← g · f′(x) over a slice.
    #[inline(always)]
    pub(crate) fn backward<T: Real>(self, inputs: &[T], gradients: &mut [T]) {
        match self {
            Self::Identity => {}
            Self::Gelu => map(inputs, gradients, |g, x| {
                let density = T::from_f64(0.398_942_280_401_432_7) * (-half::<T>() * x * x).exp();
                g * (normal_cdf(x) + x * density)
            }),
            Self::GeluTanh => map(inputs, gradients, |g, x| {
                let tanh = gelu_tanh_inner(x);
                let inner = T::from_f64(SQRT_2_OVER_PI) * (T::ONE + T::from_f64(3.0 * CUBIC) * x * x);
                g * (half::<T>() * (T::ONE + tanh) + half::<T>() * x * (T::ONE - tanh * tanh) * inner)
            }),
            Self::Relu => map(inputs, gradients, |g, x| if x > T::ZERO { g } else { T::ZERO }),
            Self::Silu => map(inputs, gradients, |g, x| {
                let sigmoid = sigmoid(x);
                g * sigmoid * (T::ONE + x * (T::ONE - sigmoid))
            }),
            Self::Tanh => map(inputs, gradients, |g, x| {
                let tanh = x.tanh();
                g * (T::ONE - tanh * tanh)
            }),
        }
    }
}

/// v ← f(v, x) over two slices. A plain loop: iterator adapters are compiled apart from it, without vector instructions.
#[inline(always)]
fn map<T: Real>(inputs: &[T], values: &mut [T], f: impl Fn(T, T) -> T) {
    for (value, &x) in values.iter_mut().zip(inputs) {
        *value = f(*value, x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let check = |activation: Activation, x: f64, expected: f64| {
            let mut y = [0.0];
            activation.forward(&[x], &mut y);
            assert!((y[0] - expected).abs() < 1e-9, "{activation:?}({x}) = {}", y[0]);
        };
        // torch.nn.functional in float64.
        check(Activation::Gelu, 1.0, 0.841_344_746_068_542_9);
        check(Activation::GeluTanh, 1.0, 0.841_191_990_607_477_2);
        check(Activation::Relu, -1.0, 0.0);
        check(Activation::Silu, 1.0, 0.731_058_578_630_004_9);
        check(Activation::Tanh, 0.5, 0.462_117_157_260_009_8);
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
