//! Element types, and the arithmetic that kernels written once for `f32` and `f64` need of them.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};
use std::sync::Arc;

pub use half::bf16;

use crate::buffer::Buffer;
use crate::cpu::{math, product};
use crate::tensor::Storage;

/// What a tensor's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point: what parameters are kept in.
    F32,
    /// bfloat16, the upper half of an `f32`: what activations are kept in where products are faster in it.
    BF16,
    /// 64-bit floating point: what gradients are checked in.
    F64,
    /// Ids and row numbers.
    U32,
    /// Sums of products of quantised numbers.
    I32,
    /// Quantised activations.
    U8,
    /// Quantised weights.
    I8,
    /// Frozen weights of 4 bits ([`Nf4`](crate::Nf4)): no [`Element`], because two share a byte.
    Nf4,
    /// Weights of 8 bits with a scale for each row ([`Int8Rows`](crate::Int8Rows)).
    Int8,
}

impl DType {
    /// Its name, as PyTorch and safetensors have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::BF16 => "bf16",
            Self::F64 => "f64",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::Nf4 => "nf4",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of an element, a half rounded up.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::BF16 => 2,
            Self::U8 | Self::I8 | Self::Nf4 | Self::Int8 => 1,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type that a tensor can hold: a plain number, of which every pattern of bits is one.
pub trait Element: sealed::Sealed + Copy + Default + Debug + PartialEq + Send + Sync + 'static {
    /// Its tag.
    const DTYPE: DType;
    /// The bits of an element of at most 32, from the lowest on.
    #[doc(hidden)]
    fn bits(self) -> u32;
    #[doc(hidden)]
    fn wrap(buffer: Arc<Buffer<Self>>) -> Storage;
    #[doc(hidden)]
    fn unwrap(storage: &Storage) -> Option<&Arc<Buffer<Self>>>;
    #[doc(hidden)]
    fn unwrap_mut(storage: &mut Storage) -> Option<&mut Arc<Buffer<Self>>>;
}

macro_rules! element {
    ($type:ty, $variant:ident, $bits:expr) => {
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            #[inline(always)]
            fn bits(self) -> u32 {
                let bits: fn(Self) -> u32 = $bits;
                bits(self)
            }
            fn wrap(buffer: Arc<Buffer<Self>>) -> Storage {
                Storage::$variant(buffer)
            }
            fn unwrap(storage: &Storage) -> Option<&Arc<Buffer<Self>>> {
                match storage {
                    Storage::$variant(buffer) => Some(buffer),
                    _ => None,
                }
            }
            fn unwrap_mut(storage: &mut Storage) -> Option<&mut Arc<Buffer<Self>>> {
                match storage {
                    Storage::$variant(buffer) => Some(buffer),
                    _ => None,
                }
            }
        }
    };
}

element!(f32, F32, f32::to_bits);
element!(bf16, BF16, |value| value.to_bits() as u32);
element!(f64, F64, |value| value.to_bits() as u32);
element!(u32, U32, |value| value);
element!(i32, I32, |value| value as u32);
element!(u8, U8, |value| value as u32);
element!(i8, I8, |value| value as u8 as u32);

/// A floating-point type that activations are kept in; kernels compute in [`Float::Real`].
pub trait Float: Element {
    /// What is computed in, and what parameters, their gradients, statistics and losses are.
    type Real: Real;
    /// How products of it are taken.
    type Dot: product::Dot<Left = Self, Right = Self, Sum = Self::Real>;
    /// Exact.
    fn widen(self) -> Self::Real;
    /// Rounds to the nearest, to the even one if two are.
    fn narrow(value: Self::Real) -> Self;
    /// The same for what is a number; what is none becomes anything.
    #[inline(always)]
    fn narrow_finite(value: Self::Real) -> Self {
        Self::narrow(value)
    }
}

macro_rules! computed_in_itself {
    ($type:ty, $dot:ty) => {
        impl Float for $type {
            type Real = Self;
            type Dot = $dot;
            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
            #[inline(always)]
            fn narrow(value: Self) -> Self {
                value
            }
        }
    };
}

computed_in_itself!(f32, product::F32);
computed_in_itself!(f64, product::F64);

impl Float for bf16 {
    type Real = f32;
    type Dot = product::Bf16;
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }
    /// `half`'s own conversion branches on NaN; this one vectorises.
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet = (bits >> 16) | 0x40;
        Self::from_bits(if value.is_nan() { quiet } else { rounded } as u16)
    }
    #[inline(always)]
    fn narrow_finite(value: f32) -> Self {
        let bits = value.to_bits();
        Self::from_bits((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
    }
}

/// A floating-point type that kernels compute in.
///
/// In `f32` the functions are vectorisable approximations with the stated error and products use the fast kernels; in
/// `f64` everything is the plain textbook path.
pub trait Real:
    Float<Real = Self>
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Rounds to this type.
    fn from_f64(value: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// e to the power of `self`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Gauss's error function.
    fn erf(self) -> Self;
    /// The larger of two.
    fn max(self, other: Self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn exp(self) -> Self {
        math::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f32::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        math::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        math::erf(self)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        libm::erf(self)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_as_half_does() {
        let patterns =
            (0..=u16::MAX as u32).flat_map(|high| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| high << 16 | low));
        for bits in patterns {
            let value = f32::from_bits(bits);
            let (found, expected) = (<bf16 as Float>::narrow(value), bf16::from_f32(value));
            assert!(
                found.to_bits() == expected.to_bits(),
                "{value:e} ({bits:x}): {found} instead of {expected}"
            );
            assert_eq!(found.widen().to_bits(), found.to_f32().to_bits());
        }
    }
}
