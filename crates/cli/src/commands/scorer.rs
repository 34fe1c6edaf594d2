//! What scores and explains texts: a model, or a chain of them.

use std::path::Path;

use gareum::chain::Chain;
use gareum::data::{ColumnRequest, Input};
use gareum::explain::{self, Explanation, Options};
use gareum::predict::Predictor;
use gareum::tokens::Encoded;
use serde_json::Value;

use super::predictions::{added_columns, added_values};
use crate::arguments::Precision;

/// The columns that a chain adds to those of the input.
pub const ASPECT_COLUMNS: [&str; 3] = ["label", "aspects", "keywords"];

pub enum Scorer {
    Model(Box<Predictor>),
    Chain(Box<Chain>),
}

/// Texts on their way.
pub struct Texts {
    pub inputs: Vec<Input>,
    /// Empty for a chain, whose second model reads other texts than the first.
    encoded: Vec<Encoded>,
}

/// What is written behind a row.
pub struct Scored {
    pub added: Vec<Value>,
    pub abstained: bool,
}

impl Scorer {
    pub fn load(model: &Path, base: Option<&Path>, precision: Precision) -> anyhow::Result<Self> {
        let precision = precision.into();
        Ok(match Chain::is_at(model) {
            true => Self::Chain(Box::new(Chain::load(model, precision)?)),
            false => Self::Model(Box::new(Predictor::load_with_base(model, base, precision)?)),
        })
    }

    pub fn load_for_gradients(model: &Path, base: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match Chain::is_at(model) {
            true => Self::Chain(Box::new(Chain::load_for_gradients(model)?)),
            false => Self::Model(Box::new(Predictor::load_for_gradients(model, base)?)),
        })
    }

    /// The model that reads texts as they are.
    pub fn first(&self) -> &Predictor {
        match self {
            Self::Model(predictor) => predictor,
            Self::Chain(chain) => chain.first(),
        }
    }

    /// The model whose words are explained.
    pub fn explained(&self) -> &Predictor {
        match self {
            Self::Model(predictor) => predictor,
            Self::Chain(chain) => chain.explained(),
        }
    }

    pub fn known_columns(&self) -> ColumnRequest {
        match self {
            Self::Model(predictor) => predictor.known_columns(),
            Self::Chain(chain) => chain.known_columns(),
        }
    }

    pub fn added_columns(&self) -> &'static [&'static str] {
        match self {
            Self::Model(predictor) => added_columns(predictor),
            Self::Chain(_) => &ASPECT_COLUMNS,
        }
    }

    pub fn prepare(&self, inputs: Vec<Input>) -> anyhow::Result<Texts> {
        let encoded = match self {
            Self::Model(predictor) => predictor.encode(&inputs)?,
            Self::Chain(_) => Vec::new(),
        };
        Ok(Texts { inputs, encoded })
    }

    pub fn score(&self, texts: &Texts, top_k: Option<usize>) -> anyhow::Result<Vec<Scored>> {
        Ok(match self {
            Self::Model(predictor) => {
                let predictions = predictor.predict_encoded(&texts.encoded, &mut |_| ())?;
                let scored = predictions.iter().map(|prediction| Scored {
                    added: added_values(predictor, prediction, top_k),
                    abstained: prediction.abstained,
                });
                scored.collect()
            }
            Self::Chain(chain) => {
                let predictions = chain.predict(&texts.inputs, &mut |_| ())?;
                let scored = predictions.iter().map(|prediction| {
                    let columns = chain.columns(prediction);
                    Scored {
                        added: vec![columns.label.into(), columns.aspects.into(), columns.keywords.into()],
                        abstained: prediction.keywords.abstained,
                    }
                });
                scored.collect()
            }
        })
    }

    pub fn check(&self, options: &Options) -> anyhow::Result<()> {
        match self {
            Self::Model(predictor) => explain::check(predictor, options)?,
            Self::Chain(chain) => chain.check(options)?,
        }
        Ok(())
    }

    pub fn explain(&self, inputs: &[Input], options: &Options) -> anyhow::Result<Vec<Explanation>> {
        Ok(match self {
            Self::Model(predictor) => explain::explain(predictor, inputs, options)?,
            Self::Chain(chain) => chain.explain(inputs, options)?,
        })
    }
}
