//! ELECTRA (Clark et al. 2020, <https://arxiv.org/abs/2003.10555>): BERT with embeddings that may be narrower than the
//! hidden states, and a GELU in the head.

use tensor::Activation;

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{HeadShape, Keys, ModelConfig};

pub(super) const NAMES: Names = Names {
    prefix: "electra",
    head_dense: "classifier.dense",
    classifier: "classifier.out_proj",
    ..BERT
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let head = HeadShape {
        input_dropout: true,
        ..HeadShape::of_first_token(Activation::Gelu)
    };
    Ok(ModelConfig {
        embedding_size: keys.size_or("embedding_size", 128)?,
        ..ModelConfig::base(keys, Family::Electra, head)?
    })
}
