//! Rotary positions as `config.json` describes them: `rope_theta` with `rope_scaling`, or `rope_parameters` from `transformers` 5 on.
//!
//! Not here: turning (`tensor::ops::rope`).

use std::f64::consts::TAU;

use tensor::DType;
use tensor::ops::Rotations;

use super::ModelError;
use super::config::Keys;

/// How fast each pair of columns of a head turns from one token to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    frequencies: Vec<f64>,
    factor: f64,
}

/// What of a head is turned, if `config.json` says no more.
pub(super) struct RotaryShape {
    pub head_dim: usize,
    /// The share of a head's columns that is turned.
    pub partial: f64,
    pub theta: f64,
    pub max_position_embeddings: usize,
}

impl RotaryShape {
    /// The columns that are turned.
    fn columns(&self) -> usize {
        (self.head_dim as f64 * self.partial) as usize
    }

    /// Those of the original formula: θ^(−2i / columns).
    fn frequencies(&self, theta: f64) -> Vec<f64> {
        let columns = self.columns();
        (0..columns.div_ceil(2))
            .map(|pair| theta.powf(-2.0 * pair as f64 / columns as f64))
            .collect()
    }
}

impl Rotary {
    /// Reads what stands under `keys`: an object `rope_parameters` or `rope_scaling`, or nothing.
    pub(super) fn read(scaling: Option<&Keys<'_>>, shape: &RotaryShape) -> Result<Self, ModelError> {
        let plain = |theta: f64| Self {
            frequencies: shape.frequencies(theta),
            factor: 1.0,
        };
        let Some(keys) = scaling else {
            return Ok(plain(shape.theta));
        };
        let theta = keys.number_or("rope_theta", shape.theta)?;
        let key = if keys.mentions("rope_type") {
            "rope_type"
        } else {
            "type"
        };
        let kind = keys
            .present(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or("default");
        let plain = plain(theta);
        match kind {
            "default" => Ok(plain),
            // The base grows beyond the longest sequence that there are positions for, and there are no longer ones here.
            "dynamic" => Ok(plain),
            "linear" => {
                let factor = at_least(keys, "factor", 1.0)?;
                Ok(plain.scaled(|_, frequency| frequency / factor))
            }
            "llama3" => Self::llama3(keys, plain, shape),
            "yarn" => Self::yarn(keys, plain, theta, shape),
            _ => Err(keys.error(key, "`default`, `linear`, `dynamic`, `llama3` or `yarn`")),
        }
    }

    /// Long waves are stretched by a factor, short ones kept, those in between mixed (`transformers`, for Llama 3.1).
    fn llama3(keys: &Keys<'_>, plain: Self, shape: &RotaryShape) -> Result<Self, ModelError> {
        let factor = at_least(keys, "factor", 1.0)?;
        let (low, high) = (
            at_least(keys, "low_freq_factor", f64::MIN_POSITIVE)?,
            at_least(keys, "high_freq_factor", f64::MIN_POSITIVE)?,
        );
        let length = keys.size_or("original_max_position_embeddings", shape.max_position_embeddings)? as f64;
        Ok(plain.scaled(|_, frequency| {
            let wave = TAU / frequency;
            if wave > length / low {
                frequency / factor
            } else if wave < length / high {
                frequency
            } else {
                let smooth = (length / wave - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }))
    }

    /// YaRN (Peng et al. 2023, <https://arxiv.org/abs/2309.00071>).
    fn yarn(keys: &Keys<'_>, plain: Self, theta: f64, shape: &RotaryShape) -> Result<Self, ModelError> {
        let length = keys.size_or("original_max_position_embeddings", shape.max_position_embeddings)? as f64;
        let factor = match keys.present("factor") {
            None => shape.max_position_embeddings as f64 / length,
            Some(_) => at_least(keys, "factor", 1.0)?,
        };
        let magnitude = |scale: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * scale * factor.ln() + 1.0
            }
        };
        let stretch = match keys.present("attention_factor") {
            Some(_) => keys.number_or("attention_factor", 1.0)?,
            None => {
                let (scale, of_all) = (keys.number_or("mscale", 0.0)?, keys.number_or("mscale_all_dim", 0.0)?);
                if scale > 0.0 && of_all > 0.0 {
                    magnitude(scale) / magnitude(of_all)
                } else {
                    magnitude(1.0)
                }
            }
        };
        let columns = shape.columns() as f64;
        // The column whose wave turns so many times within the original length.
        let column = |turns: f64| columns * (length / (turns * TAU)).ln() / (2.0 * theta.ln());
        let or = |value: f64, default: f64| if value == 0.0 { default } else { value };
        let mut low = column(or(keys.number_or("beta_fast", 32.0)?, 32.0));
        let mut high = column(or(keys.number_or("beta_slow", 1.0)?, 1.0));
        if keys.flag_or("truncate", true)? {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(columns - 1.0));
        if low == high {
            high += 0.001;
        }
        let scaled = plain.scaled(|pair, frequency| {
            let ramp = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            frequency / factor * ramp + frequency * (1.0 - ramp)
        });
        Ok(Self {
            factor: stretch,
            ..scaled
        })
    }

    fn scaled(self, scale: impl Fn(usize, f64) -> f64) -> Self {
        let frequencies = self.frequencies.into_iter().enumerate();
        Self {
            frequencies: frequencies.map(|(pair, frequency)| scale(pair, frequency)).collect(),
            ..self
        }
    }

    /// Columns of a head that are turned.
    pub(crate) fn columns(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// The turns of so many positions.
    pub(crate) fn rotations(&self, positions: usize, dtype: DType) -> tensor::Result<Rotations> {
        Rotations::new(&self.frequencies, self.factor, positions, dtype)
    }
}

/// A number of at least `least` that must be there.
fn at_least(keys: &Keys<'_>, key: &str, least: f64) -> Result<f64, ModelError> {
    let value = keys.number_or(key, -1.0)?;
    match value >= least {
        true => Ok(value),
        false if least < 1.0 => Err(keys.error(key, "a number above 0")),
        false => Err(keys.error(key, &format!("a number of at least {least}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(scaling: serde_json::Value) -> Result<Rotary, ModelError> {
        let shape = RotaryShape {
            head_dim: 8,
            partial: 1.0,
            theta: 10_000.0,
            max_position_embeddings: 64,
        };
        let keys = Keys::new(scaling.as_object().unwrap(), "config.json");
        Rotary::read(Some(&keys), &shape)
    }

    #[test]
    fn frequencies_fall_from_one() {
        let plain = read(json!({})).unwrap();
        let expected = [1.0, 0.1, 0.01, 0.001];
        assert!(
            plain
                .frequencies
                .iter()
                .zip(expected)
                .all(|(found, expected)| (found - expected).abs() < 1e-15)
        );
        assert_eq!(
            read(json!({"type": "linear", "factor": 4.0})).unwrap().frequencies[0],
            0.25
        );
        assert_eq!(read(json!({"rope_type": "dynamic", "factor": 4.0})).unwrap(), plain);
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_key() {
        let message = |scaling| read(scaling).unwrap_err().to_string();
        assert_eq!(
            message(json!({"rope_type": "longrope"})),
            "config.json: `rope_type` is \"longrope\", expected `default`, `linear`, `dynamic`, `llama3` or `yarn`"
        );
        assert_eq!(
            message(json!({"rope_type": "linear"})),
            "config.json: `factor` is missing, expected a number of at least 1"
        );
    }
}
