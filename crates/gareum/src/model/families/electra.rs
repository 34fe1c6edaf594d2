//! ELECTRA (Clark et al. 2020, <https://arxiv.org/abs/2003.10555>): BERT with embeddings that may be narrower than the
//! hidden states, and a GELU in the head.

use serde_json::{Map, Value};
use tensor::Activation;

use super::{BERT, Family, Names};
use crate::model::config::{HeadShape, Keys, ModelConfig};
use crate::model::{LoadedWeights, ModelError};

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

/// Whether a checkpoint is the generator of a pair: the small model that only made the discriminator's task harder.
pub(super) fn is_generator(config: &Map<String, Value>, weights: &LoadedWeights) -> bool {
    let is_masked = |architecture: &Value| architecture == "ElectraForMaskedLM";
    let architectures = config.get("architectures").and_then(Value::as_array);
    let says_so = architectures.is_some_and(|architectures| architectures.iter().any(is_masked));
    says_so
        || ["generator_predictions.", "generator_lm_head."]
            .iter()
            .any(|start| weights.any_begins_with(start))
}
