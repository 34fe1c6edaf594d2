//! Counter-based random numbers: a value is a function of (seed, step, site, row, element) and of nothing else, so
//! dropout masks are made again in the backward pass instead of being stored, a resumed run draws what the
//! uninterrupted one would have drawn, and neither threads nor the split of a batch change a mask.
//!
//! The mixers are the finaliser of SplitMix64 (Steele, Lea, Flood 2014) for the keys and a keyed variant of the 32-bit
//! `lowbias32` (Wellons 2018) for the elements, chosen because it vectorises. They pass for dropout and shuffling, not for
//! cryptography. `tests/reference/dropout.py` is the same in NumPy.

use crate::Real;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection that spreads every input bit over all output bits.
pub fn mix64(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Derives a key from a key and a number.
pub fn combine(key: u64, number: u64) -> u64 {
    mix64((key ^ number).wrapping_add(GOLDEN))
}

/// A sequence of numbers drawn one after another, for shuffles and initial weights.
#[derive(Debug, Clone)]
pub struct Sequence {
    key: u64,
    drawn: u64,
}

impl Sequence {
    /// The sequence that belongs to a seed and a purpose.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self {
            key: combine(mix64(seed), purpose),
            drawn: 0,
        }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.drawn += 1;
        combine(self.key, self.drawn)
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller 1958; the second value is thrown away).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Uniform in `0..bound` (Lemire 2019 without the rejection: the bias is below `bound / 2^64`).
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.next_u64() as u128 * bound as u128) >> 64) as usize
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Where and how strongly to drop: everything that determines a mask.
///
/// Kept values are multiplied by `1 / (1 - probability)`, as PyTorch's `Dropout` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    threshold: u32,
    scale: f64,
    stream: u64,
    first_row: u64,
}

impl Dropout {
    /// The mask of one `site` (place in the model) in one training `step`. `first_row` is the number that the first row of
    /// the operand has in the whole batch, so that parts of a batch draw the same mask as the whole.
    ///
    /// `None` if nothing would be dropped.
    pub fn new(probability: f64, seed: u64, step: u64, site: u64, first_row: u64) -> Option<Self> {
        (probability > 0.0).then(|| Self {
            threshold: (probability * 4_294_967_296.0).round().min(u32::MAX as f64) as u32,
            scale: 1.0 / (1.0 - probability),
            stream: combine(combine(mix64(seed), step), site),
            first_row,
        })
    }

    /// What kept values are multiplied by.
    pub fn scale<T: Real>(&self) -> T {
        T::from_f64(self.scale)
    }

    /// The mask of one row of the operand.
    #[inline(always)]
    pub fn row(&self, row: usize) -> MaskRow {
        let key = combine(self.stream, self.first_row.wrapping_add(row as u64));
        MaskRow {
            low: key as u32,
            high: (key >> 32) as u32,
            threshold: self.threshold,
        }
    }

    /// The same mask for an operand with `factor` rows where this has one: attention probabilities have a row for each
    /// token and head.
    pub fn with_rows_per_token(self, factor: usize) -> Self {
        Self {
            first_row: self.first_row * factor as u64,
            ..self
        }
    }

    /// Multiplies every kept value of a row by the scale and sets the others to zero.
    #[inline(always)]
    pub fn apply_row<T: Real>(&self, row: usize, values: &mut [T]) {
        self.apply_part(row, 0, values);
    }

    /// As [`Self::apply_row`] for the values of a row from element `first` on.
    #[inline(always)]
    pub fn apply_part<T: Real>(&self, row: usize, first: usize, values: &mut [T]) {
        let mask = self.row(row);
        let scale = self.scale::<T>();
        for (element, value) in values.iter_mut().enumerate() {
            *value = if mask.keeps((first + element) as u32) {
                *value * scale
            } else {
                T::ZERO
            };
        }
    }
}

/// One row of a dropout mask.
#[derive(Debug, Clone, Copy)]
pub struct MaskRow {
    low: u32,
    high: u32,
    threshold: u32,
}

impl MaskRow {
    /// Whether an element survives.
    #[inline(always)]
    pub fn keeps(&self, element: u32) -> bool {
        let mut bits = element.wrapping_mul(0x9e37_79b9).wrapping_add(self.low);
        bits ^= bits >> 16;
        bits = bits.wrapping_mul(0x7feb_352d);
        bits ^= self.high;
        bits ^= bits >> 15;
        bits = bits.wrapping_mul(0x846c_a68b);
        bits ^= bits >> 16;
        bits >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_rate_and_scale() {
        for probability in [0.1, 0.5, 0.9] {
            let dropout = Dropout::new(probability, 1, 2, 3, 0).unwrap();
            let mut kept = 0;
            for row in 0..1000 {
                let mut values = vec![1.0f64; 100];
                dropout.apply_row(row, &mut values);
                kept += values.iter().filter(|&&value| value != 0.0).count();
                assert!(
                    values
                        .iter()
                        .all(|&value| value == 0.0 || value == 1.0 / (1.0 - probability))
                );
            }
            let rate = kept as f64 / 1e5;
            // Five standard deviations of a binomial with 100,000 draws.
            let allowed = 5.0 * (probability * (1.0 - probability) / 1e5).sqrt();
            assert!(
                (rate - (1.0 - probability)).abs() < allowed,
                "kept {rate} at probability {probability}"
            );
        }
    }

    #[test]
    fn masks_differ_by_seed_step_site_and_row_and_are_uncorrelated() {
        let bits = |seed, step, site, row| -> Vec<bool> {
            let mask = Dropout::new(0.5, seed, step, site, 0).unwrap().row(row);
            (0..4096).map(|element| mask.keeps(element)).collect()
        };
        let base = bits(1, 1, 1, 1);
        for other in [
            bits(2, 1, 1, 1),
            bits(1, 2, 1, 1),
            bits(1, 1, 2, 1),
            bits(1, 1, 1, 2),
            bits(2, 1, 1, 2),
        ] {
            let equal = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((1888..=2208).contains(&equal), "{equal} of 4096 bits are equal"); // five standard deviations
        }
    }

    #[test]
    fn a_part_of_a_batch_draws_the_mask_of_the_whole() {
        let whole = Dropout::new(0.3, 5, 6, 7, 0).unwrap();
        let part = Dropout::new(0.3, 5, 6, 7, 40).unwrap();
        assert!((0..200).all(|element| whole.row(43).keeps(element) == part.row(3).keeps(element)));
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut sequence = Sequence::new(3, 0);
        let values: Vec<f64> = (0..100_000).map(|_| sequence.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / 1e5 - mean * mean;
        assert!(
            mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023,
            "mean {mean}, variance {variance}"
        );
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..1000).collect();
        Sequence::new(1, 2).shuffle(&mut items);
        assert!(items.windows(2).any(|pair| pair[0] > pair[1]));
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..1000));
    }
}
