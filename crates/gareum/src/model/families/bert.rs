//! BERT (Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>): the pooler is the head's dense layer.

use tensor::Activation;

use super::Family;
use crate::model::ModelError;
use crate::model::config::{HeadDense, HeadShape, Keys, ModelConfig};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let head = HeadShape::of_first_token(Activation::Tanh);
    let dense = head.dense.map(|dense| HeadDense {
        is_pretrained: true,
        ..dense
    });
    ModelConfig::base(keys, Family::Bert, HeadShape { dense, ..head })
}
