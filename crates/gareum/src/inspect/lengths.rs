//! How long texts are, in characters and in tokens, and what is lost where they are cut.

use std::collections::BTreeMap;

use serde::Serialize;

/// Bars of a histogram.
const BINS: u32 = 30;
/// Lengths at which texts may be cut that are always told.
const LIMITS: [u32; 4] = [64, 128, 256, 512];
/// What is taken where the model does not say how long a text may be: what BERT and most of its kind were trained with.
const USUAL_LIMIT: u32 = 512;
/// A recommended length is a multiple of this.
const STEP: u32 = 16;
/// Lengths at which the loss is drawn.
const CURVE: u32 = 32;
/// The most of the texts and of the tokens that a recommended length cuts.
const MOST_CUT: f64 = 0.01;

/// How many texts there are of each length.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths(BTreeMap<u32, u64>);

impl Lengths {
    pub fn add(&mut self, length: u32) {
        *self.0.entry(length).or_default() += 1;
    }

    fn texts(&self) -> u64 {
        self.0.values().sum()
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|(length, count)| u64::from(*length) * count).sum()
    }

    /// The smallest length that at least this share of the texts does not exceed.
    fn quantile(&self, share: f64) -> u32 {
        let wanted = (share * self.texts() as f64).ceil() as u64;
        let mut seen = 0;
        let reaches = |(_, count): &(&u32, &u64)| {
            seen += **count;
            seen >= wanted
        };
        self.0.iter().find(reaches).map_or(0, |(length, _)| *length)
    }

    /// What the lengths are like; `None` without texts.
    pub fn distribution(&self) -> Option<Distribution> {
        let (min, max) = (*self.0.keys().next()?, *self.0.keys().next_back()?);
        // The longest texts would squeeze the others into one bar: they share the last one.
        let shown = self.quantile(0.99).max(min);
        let width = ((shown - min) / BINS + 1).max(1);
        let mut bins: Vec<Bin> = (0..=(shown - min) / width)
            .map(|bin| Bin {
                from: min + bin * width,
                to: min + (bin + 1) * width - 1,
                count: 0,
            })
            .collect();
        for (length, count) in &self.0 {
            let bin = (((length - min) / width) as usize).min(bins.len() - 1);
            bins[bin].count += count;
        }
        if let Some(last) = bins.last_mut() {
            last.to = last.to.max(max);
        }
        Some(Distribution {
            texts: self.texts(),
            mean: self.sum() as f64 / self.texts() as f64,
            min,
            median: self.quantile(0.5),
            p90: self.quantile(0.9),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
            max,
            histogram: bins,
        })
    }

    /// What is lost at a length.
    pub fn cut_at(&self, max_length: u32) -> Cut {
        let longer = || self.0.range(max_length + 1..);
        let lost: u64 = longer()
            .map(|(length, count)| u64::from(length - max_length) * count)
            .sum();
        Cut {
            max_length,
            texts: longer().map(|(_, count)| count).sum::<u64>() as f64 / self.texts().max(1) as f64,
            tokens: lost as f64 / self.sum().max(1) as f64,
        }
    }

    /// What is lost at the usual lengths, and the length to take; `None` without texts.
    pub fn truncation(&self, model_limit: Option<u32>) -> Option<Truncated> {
        let longest = *self.0.keys().next_back()?;
        let limit = model_limit.unwrap_or(USUAL_LIMIT);
        let is_enough = |cut: &Cut| cut.texts <= MOST_CUT && cut.tokens <= MOST_CUT;
        let lengths = (1..).map(|step| step * STEP).take_while(|length| *length <= limit);
        let found = lengths.map(|length| self.cut_at(length)).find(is_enough);
        let curve = (1..=CURVE).map(|step| (longest.min(limit) * step).div_ceil(CURVE));
        let mut curve: Vec<u32> = curve.collect();
        curve.dedup();
        Some(Truncated {
            curve: curve.into_iter().map(|length| self.cut_at(length)).collect(),
            cuts: LIMITS.into_iter().map(|limit| self.cut_at(limit)).collect(),
            recommended: found.unwrap_or_else(|| self.cut_at(limit)),
            suffices: found.is_some(),
            longest,
            model_limit,
        })
    }
}

/// What lengths are like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Texts.
    pub texts: u64,
    /// Mean length.
    pub mean: f64,
    /// The shortest.
    pub min: u32,
    /// Half of the texts are not longer.
    pub median: u32,
    /// Nine in ten are not longer.
    pub p90: u32,
    /// 95 in 100 are not longer.
    pub p95: u32,
    /// 99 in 100 are not longer.
    pub p99: u32,
    /// The longest.
    pub max: u32,
    /// Texts by length, in bars of equal width; the last one also holds all that are longer.
    pub histogram: Vec<Bin>,
}

/// A bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The shortest length of the bar.
    pub from: u32,
    /// The longest.
    pub to: u32,
    /// Texts.
    pub count: u64,
}

/// What is lost where texts are cut at a length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cut {
    /// Tokens that are kept, special ones included.
    pub max_length: u32,
    /// Share of the texts that are longer.
    pub texts: f64,
    /// Share of all tokens that are lost.
    pub tokens: f64,
}

/// What cutting loses, and where to cut.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Truncated {
    /// At 64, 128, 256 and 512 tokens.
    pub cuts: Vec<Cut>,
    /// At lengths in even steps up to that of the longest text, or what the model takes.
    pub curve: Vec<Cut>,
    /// The smallest multiple of 16 that cuts at most one text in a hundred and loses at most one token in a hundred; else the longest that
    /// the model takes.
    pub recommended: Cut,
    /// Whether it does.
    pub suffices: bool,
    /// Tokens of the longest text.
    pub longest: u32,
    /// Tokens that the model takes, where that is known; else 512 is gone by.
    pub model_limit: Option<u32>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(values: impl IntoIterator<Item = u32>) -> Lengths {
        let mut lengths = Lengths::default();
        values.into_iter().for_each(|value| lengths.add(value));
        lengths
    }

    #[test]
    fn quantiles_are_lengths_that_occur() {
        let distribution = lengths(1..=100).distribution().unwrap();
        assert_eq!(
            (
                distribution.min,
                distribution.median,
                distribution.p95,
                distribution.max
            ),
            (1, 50, 95, 100)
        );
        assert_eq!(distribution.mean, 50.5);
        assert_eq!(distribution.histogram.iter().map(|bin| bin.count).sum::<u64>(), 100);
        assert_eq!(distribution.histogram.last().unwrap().to, 100);
        assert_eq!(lengths([]).distribution(), None);
        let one = lengths([7]).distribution().unwrap();
        assert_eq!(
            one.histogram,
            [Bin {
                from: 7,
                to: 7,
                count: 1
            }]
        );
    }

    #[test]
    fn the_recommended_length_loses_little() {
        let mut values = vec![20; 990];
        values.extend([100; 10]);
        let truncated = lengths(values).truncation(None).unwrap();
        // A hundredth of the texts, but four hundredths of the tokens: 32 would lose 680 of 20,800.
        assert_eq!(truncated.recommended.max_length, 80);
        assert_eq!((truncated.recommended.texts, truncated.suffices), (0.01, true));
        assert_eq!(
            truncated.cuts[0],
            Cut {
                max_length: 64,
                texts: 0.01,
                tokens: 360.0 / 20_800.0
            }
        );
        let long = lengths([1000; 5]).truncation(Some(128)).unwrap();
        assert_eq!((long.recommended.max_length, long.suffices), (128, false));
    }

    proptest! {
        #[test]
        fn longer_limits_lose_less(values in prop::collection::vec(1u32..700, 1..50), limit in 1u32..700) {
            let lengths = lengths(values);
            let (one, next) = (lengths.cut_at(limit), lengths.cut_at(limit + 1));
            prop_assert!(next.texts <= one.texts && next.tokens <= one.tokens);
            prop_assert!((0.0..=1.0).contains(&one.texts) && (0.0..=1.0).contains(&one.tokens));
        }
    }
}
