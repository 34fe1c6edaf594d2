//! BERT (Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>): the pooler is the head's dense layer.

use tensor::Activation;

use super::{Family, HeadShape};
use crate::model::ModelError;
use crate::model::config::{Keys, ModelConfig};

pub(super) const HEAD: HeadShape = HeadShape {
    input_dropout: false,
    activation: Activation::Tanh,
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    ModelConfig::base(keys, Family::Bert)
}
