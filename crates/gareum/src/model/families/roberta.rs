//! RoBERTa (Liu et al. 2019, <https://arxiv.org/abs/1907.11692>): BERT whose positions start behind the padding id.

use tensor::Activation;

use super::{BERT, Family, HeadShape, Names};
use crate::model::ModelError;
use crate::model::config::{Keys, ModelConfig};

pub(super) const NAMES: Names = Names {
    prefix: "roberta",
    head_dense: "classifier.dense",
    classifier: "classifier.out_proj",
    ..BERT
};

pub(super) const HEAD: HeadShape = HeadShape {
    input_dropout: true,
    activation: Activation::Tanh,
};

pub(super) fn read(keys: &Keys<'_>, family: Family) -> Result<ModelConfig, ModelError> {
    let config = ModelConfig::base(keys, family)?;
    Ok(ModelConfig {
        position_offset: keys.count_or("pad_token_id", 1)? + 1,
        ..config
    })
}
