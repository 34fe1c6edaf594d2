//! RoBERTa (Liu et al. 2019, <https://arxiv.org/abs/1907.11692>): BERT whose positions start behind the padding id.

use tensor::Activation;

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{HeadShape, Keys, ModelConfig, Positions};

pub(super) const NAMES: Names = Names {
    prefix: "roberta",
    head_dense: "classifier.dense",
    classifier: "classifier.out_proj",
    ..BERT
};

pub(super) fn read(keys: &Keys<'_>, family: Family) -> Result<ModelConfig, ModelError> {
    let head = HeadShape {
        input_dropout: true,
        ..HeadShape::of_first_token(Activation::Tanh)
    };
    Ok(ModelConfig {
        positions: Positions::Learned {
            offset: keys.count_or("pad_token_id", 1)? + 1,
        },
        ..ModelConfig::base(keys, family, head)?
    })
}
