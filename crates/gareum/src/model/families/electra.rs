//! ELECTRA (Clark et al. 2020, <https://arxiv.org/abs/2003.10555>): BERT with embeddings that may be narrower than the
//! hidden states, and a GELU in the head.

use tensor::Activation;

use super::{BERT, Family, HeadShape, Names};
use crate::model::ModelError;
use crate::model::config::{Keys, ModelConfig};

pub(super) const NAMES: Names = Names {
    prefix: "electra",
    head_dense: "classifier.dense",
    classifier: "classifier.out_proj",
    ..BERT
};

pub(super) const HEAD: HeadShape = HeadShape {
    input_dropout: true,
    activation: Activation::Gelu,
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let config = ModelConfig::base(keys, Family::Electra)?;
    Ok(ModelConfig {
        embedding_size: keys.size_or("embedding_size", 128)?,
        ..config
    })
}
