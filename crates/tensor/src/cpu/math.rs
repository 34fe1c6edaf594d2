//! Elementary functions in `f32` that compilers can vectorise: no branches, no tables, no calls. The tests hold each to
//! its stated error against the double-precision function.

/// e^x, with a relative error of at most 2e-7 where the result is a normal number; 0 below -87.3, infinity above 88.7.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r by a polynomial of degree 6 (Cephes `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // NaN stays NaN: comparisons with it are false, so neither bound replaces it.
    let clamped = if x < -88.0 { -88.0 } else { x };
    let clamped = if clamped > 89.0 { 89.0 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    let power = p * r * r + r + 1.0;
    // 2^n in two factors, because 2^128 is not a number of this type.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let two_to = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let result = power * two_to(half) * two_to(n.wrapping_sub(half));
    if x < -87.336_54 { 0.0 } else { result }
}

/// Hyperbolic tangent, with an absolute and relative error of at most 5e-7.
///
/// A rational function of degree 13 over 6 on |x| ≤ 7.9, where the result rounds to ±1 (the minimax fit used by Eigen).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let limit = 7.905_311;
    let clamped = if x < -limit { -limit } else { x };
    let clamped = if clamped > limit { limit } else { clamped };
    let square = clamped * clamped;
    let p = -2.760_768_5e-16;
    let p = p * square + 2.000_188e-13;
    let p = p * square - 8.604_672e-11;
    let p = p * square + 5.122_297e-8;
    let p = p * square + 1.485_722_4e-5;
    let p = p * square + 6.372_619e-4;
    let p = p * square + 4.893_524_6e-3;
    let q = 1.198_258_4e-6;
    let q = q * square + 1.185_347_1e-4;
    let q = q * square + 2.268_434_6e-3;
    let q = q * square + 4.893_525e-3;
    clamped * p / q
}

/// Gauss's error function, with an absolute error of at most 5e-7 and a relative one of at most 6e-7.
///
/// A rational function of degree 13 over 8 on |x| ≤ 4, where the result rounds to ±1 (the minimax fit used by Eigen and
/// XLA).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let clamped = if x < -4.0 { -4.0 } else { x };
    let clamped = if clamped > 4.0 { 4.0 } else { clamped };
    let square = clamped * clamped;
    let p = -2.726_142_3e-10;
    let p = p * square + 2.770_681_5e-8;
    let p = p * square - 2.101_024e-6;
    let p = p * square - 5.692_506_6e-5;
    let p = p * square - 7.349_906e-4;
    let p = p * square - 2.954_6e-3;
    let p = p * square - 1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * square - 2.133_740_6e-4;
    let q = q * square - 1.682_827e-3;
    let q = q * square - 7.373_329e-3;
    let q = q * square - 1.426_474e-2;
    clamped * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sweeps `[from, to]` and returns the largest absolute and relative errors.
    fn worst(from: f64, to: f64, fast: fn(f32) -> f32, exact: fn(f64) -> f64) -> (f64, f64) {
        let steps = 2_000_000;
        (0..=steps).fold((0.0f64, 0.0f64), |(absolute, relative), step| {
            let x = (from + (to - from) * step as f64 / steps as f64) as f32;
            let expected = exact(x as f64);
            let error = (fast(x) as f64 - expected).abs();
            (absolute.max(error), relative.max(error / expected.abs().max(1e-30)))
        })
    }

    #[test]
    fn exp_is_accurate() {
        let (_, relative) = worst(-87.3, 88.7, exp, f64::exp);
        assert!(relative < 2e-7, "{relative:e}");
        assert_eq!((exp(-1000.0), exp(f32::NEG_INFINITY), exp(0.0)), (0.0, 0.0, 1.0));
        assert!(exp(f32::INFINITY).is_infinite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_accurate() {
        let (absolute, relative) = worst(-12.0, 12.0, tanh, f64::tanh);
        assert!(absolute < 5e-7 && relative < 5e-7, "{absolute:e} {relative:e}");
        assert!(tanh(f32::NAN).is_nan() && (tanh(1e30) - 1.0).abs() < 5e-7);
    }

    #[test]
    fn erf_is_accurate() {
        let (absolute, relative) = worst(-6.0, 6.0, erf, libm::erf);
        assert!(absolute < 5e-7 && relative < 6e-7, "{absolute:e} {relative:e}");
        assert!(erf(f32::NAN).is_nan());
    }
}
