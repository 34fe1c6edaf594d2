//! `[sweep]`: which settings are tried out, and how.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::{Table, Value};

use super::SettingsError;
use super::insert;

/// `[sweep]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SweepSettings {
    /// How trials are chosen. Default: `grid` if every parameter is a list and `trials` is not given, else `random`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<SearchMethod>,
    /// Trials of a random search. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<usize>,
    /// Seed of a random search. Default 0.
    pub seed: u64,
    /// The metric that trials are compared by, a name from `metrics.json`. Default: that of `train.early_stopping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// Trials at a time. Default `auto`: as many as get four threads each and fit into memory, at least one.
    pub jobs: Jobs,
    /// Which trained models are left. Default `best`.
    pub keep: Keep,
    /// Give trials that look bad after few epochs no more. Default: train all to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halving: Option<HalvingSettings>,
    /// What is tried out, by the keys of the settings.
    pub parameters: Parameters,
}

/// `sweep.method`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchMethod {
    /// Every combination of the values.
    Grid,
    /// Values drawn at random, each parameter by itself (Bergstra and Bengio 2012, <https://jmlr.org/papers/v13/bergstra12a.html>).
    Random,
}

impl SearchMethod {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random => "random",
        }
    }
}

/// `sweep.keep`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The model of the best trial.
    #[default]
    Best,
    /// Those of all trials that were trained to the end.
    All,
}

/// `[sweep.halving]`: successive halving (Jamieson and Talwalkar 2016, <https://arxiv.org/abs/1502.07943>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HalvingSettings {
    /// One of so many trials goes on, for so many times the epochs. Default 3.
    pub factor: u64,
    /// Epochs that every trial gets. Default 1.
    pub first: u64,
}

impl Default for HalvingSettings {
    fn default() -> Self {
        Self { factor: 3, first: 1 }
    }
}

/// `sweep.jobs`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Jobs {
    /// What threads and memory allow.
    #[default]
    Auto,
    /// So many.
    Number(usize),
}

impl Serialize for Jobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Number(number) => number.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Jobs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`auto` or a whole number of at least 1")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Jobs, E> {
                match text {
                    "auto" => Ok(Jobs::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Jobs, E> {
                match usize::try_from(number) {
                    Ok(number) if number > 0 => Ok(Jobs::Number(number)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Jobs, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(0))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `[sweep.parameters]`: what is tried out, by the dotted keys of the settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(pub BTreeMap<String, Candidates>);

/// The values of a setting that are tried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Candidates {
    /// `[1e-5, 3e-5]`
    Values(Vec<Value>),
    /// `{ min = 1e-5, max = 1e-4, scale = "log" }`
    Range(Range),
}

/// A stretch of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How likely each is.
    pub scale: RangeScale,
    /// Whether only whole numbers are meant: both ends are written as such.
    pub is_whole: bool,
}

/// `scale` of a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeScale {
    /// Each number alike.
    #[default]
    Linear,
    /// Each order of magnitude alike.
    Log,
}

/// A range as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRange {
    min: Value,
    max: Value,
    #[serde(default)]
    scale: RangeScale,
}

impl Range {
    fn read(written: Table) -> Result<Self, String> {
        let written: WrittenRange = Value::Table(written)
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        let number = |value: &Value| match value {
            Value::Integer(number) => Ok(*number as f64),
            Value::Float(number) if number.is_finite() => Ok(*number),
            other => Err(format!("an end of the range is {other}, expected a number")),
        };
        let range = Self {
            min: number(&written.min)?,
            max: number(&written.max)?,
            scale: written.scale,
            is_whole: written.min.is_integer() && written.max.is_integer(),
        };
        if range.min >= range.max {
            return Err(format!(
                "min is {}, expected a number below max, which is {}",
                written.min, written.max
            ));
        }
        if range.scale == RangeScale::Log && range.min <= 0.0 {
            return Err(format!(
                "min is {}, expected a number above 0 with scale = \"log\"",
                written.min
            ));
        }
        Ok(range)
    }

    /// A number of the range as settings have it.
    pub fn value(&self, number: f64) -> Value {
        match self.is_whole {
            true => Value::Integer(number as i64),
            false => Value::Float(number),
        }
    }

    fn write(&self) -> Value {
        let mut table = Table::new();
        table.insert("min".to_owned(), self.value(self.min));
        table.insert("max".to_owned(), self.value(self.max));
        let scale = match self.scale {
            RangeScale::Linear => "linear",
            RangeScale::Log => "log",
        };
        table.insert("scale".to_owned(), Value::String(scale.to_owned()));
        Value::Table(table)
    }
}

impl Parameters {
    /// Reads `KEY=V1,V2,...`, `KEY=[...]` or `KEY={ min = ..., max = ... }` into a key of the settings and a value for it.
    ///
    /// # Errors
    /// [`SettingsError::Parameter`] if there is no `=` or nothing behind it.
    pub fn parse(text: &str) -> Result<(String, Value), SettingsError> {
        let nothing = || SettingsError::Parameter { found: text.to_owned() };
        let (key, values) = text.split_once('=').ok_or_else(nothing)?;
        let (key, values) = (key.trim(), values.trim());
        if key.is_empty() || values.is_empty() {
            return Err(nothing());
        }
        let read = |text: &str| {
            let mut table = toml::from_str::<Table>(&format!("value = {text}")).ok()?;
            table.remove("value")
        };
        let whole = read(values).filter(|value| value.is_array() || value.is_table());
        let values = whole.or_else(|| read(&format!("[{values}]"))).unwrap_or_else(|| {
            // Words need no quotes.
            let value = |text: &str| read(text.trim()).unwrap_or_else(|| Value::String(text.trim().to_owned()));
            Value::Array(values.split(',').map(value).collect())
        });
        Ok((format!("sweep.parameters.{key}"), values))
    }

    fn read(table: Table, path: &str, into: &mut BTreeMap<String, Candidates>) -> Result<(), String> {
        for (name, value) in table {
            let key = match path {
                "" => name,
                path => format!("{path}.{name}"),
            };
            let candidates = match value {
                Value::Array(values) if values.is_empty() => Err("the list is empty".to_owned()),
                Value::Array(values) => Ok(Candidates::Values(values)),
                Value::Table(range) if range.contains_key("min") || range.contains_key("max") => {
                    Range::read(range).map(Candidates::Range)
                }
                Value::Table(inner) => {
                    Self::read(inner, &key, into)?;
                    continue;
                }
                other => Err(format!(
                    "{other} is a single value, expected a list, or a range such as {{ min = 1e-5, max = 1e-4, scale = \"log\" }}"
                )),
            };
            let candidates = candidates.map_err(|reason| format!("sweep.parameters.{key}: {reason}"))?;
            into.insert(key, candidates);
        }
        Ok(())
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Table::new();
        for (key, candidates) in &self.0 {
            let value = match candidates {
                Candidates::Values(values) => Value::Array(values.clone()),
                Candidates::Range(range) => range.write(),
            };
            insert(&mut table, key, value);
        }
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    /// Keys may be written in quotes (`"train.seed" = [1, 2]`) or without.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut parameters = BTreeMap::new();
        Self::read(Table::deserialize(deserializer)?, "", &mut parameters).map_err(de::Error::custom)?;
        Ok(Self(parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn read(text: &str) -> Result<SweepSettings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn parameters_are_lists_or_ranges_with_quotes_or_without() {
        let sweep = read(
            r#"
                trials = 4
                jobs = 2
                halving = { factor = 2 }
                [parameters]
                "train.seed" = [1, 2]
                train.learning_rate = { min = 1e-5, max = 1e-4, scale = "log" }
                train.batch_size = { min = 8, max = 64 }
            "#,
        )
        .unwrap();
        assert_eq!((sweep.jobs, sweep.trials), (Jobs::Number(2), Some(4)));
        assert_eq!(sweep.halving, Some(HalvingSettings { factor: 2, first: 1 }));
        let keys: Vec<&str> = sweep.parameters.0.keys().map(String::as_str).collect();
        assert_eq!(keys, ["train.batch_size", "train.learning_rate", "train.seed"]);
        let whole = Range {
            min: 8.0,
            max: 64.0,
            scale: RangeScale::Linear,
            is_whole: true,
        };
        assert_eq!(sweep.parameters.0["train.batch_size"], Candidates::Range(whole));
        let written = toml::to_string(&sweep).unwrap();
        assert_eq!(read(&written).unwrap(), sweep, "{written}");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("parameters = { a = [] }", "sweep.parameters.a: the list is empty"),
            ("parameters = { a = 3 }", "sweep.parameters.a: 3 is a single value"),
            (
                "parameters = { a = { min = 3, max = 2 } }",
                "min is 3, expected a number below max",
            ),
            (
                "parameters = { a = { min = 0, max = 2, scale = \"log\" } }",
                "expected a number above 0",
            ),
            ("parameters = { a = { min = 1 } }", "missing field `max`"),
            (
                "parameters = { a = { min = \"x\", max = 2 } }",
                "an end of the range is \"x\"",
            ),
            ("jobs = 0", "expected `auto` or a whole number of at least 1"),
            ("jobs = \"many\"", "expected `auto` or a whole number of at least 1"),
            ("trial = 3", "unknown field `trial`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn parameters_that_are_typed_take_the_place_of_those_in_the_file() {
        let typed = [
            "train.learning_rate=1e-5,3e-5",
            "model.base=klue/bert-base, klue/roberta-base",
            "data.split=[[0.8, 0.1, 0.1], [0.6, 0.2, 0.2]]",
            "train.weight_decay={ min = 0.0, max = 0.1 }",
            "train.learning_rate=[2e-5]",
            "train.schedule=linear",
        ];
        let overrides: Vec<_> = typed.iter().map(|text| Parameters::parse(text).unwrap()).collect();
        let settings = Settings::load(None, &overrides).unwrap();
        let parameters = settings.sweep.unwrap().parameters.0;
        let list = |key: &str| match &parameters[key] {
            Candidates::Values(values) => values.clone(),
            Candidates::Range(range) => panic!("{range:?}"),
        };
        assert_eq!(list("train.learning_rate"), [Value::Float(2e-5)]);
        assert_eq!(list("train.schedule"), [Value::String("linear".to_owned())]);
        assert_eq!(list("model.base")[1], Value::String("klue/roberta-base".to_owned()));
        assert_eq!(list("data.split").len(), 2);
        assert!(matches!(parameters["train.weight_decay"], Candidates::Range(_)));
        for wrong in ["train.seed", "=3", "train.seed="] {
            let error = Parameters::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("KEY=V1,V2"), "{error}");
        }
    }
}
