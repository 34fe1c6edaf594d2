//! DistilBERT (Sanh et al. 2019, <https://arxiv.org/abs/1910.01108>): half of BERT's layers under other names, without
//! token types, and with a ReLU in the head.

use tensor::Activation;

use super::{BERT, Family, HeadShape, Names};
use crate::model::ModelError;
use crate::model::config::{Keys, ModelConfig};

pub(super) const NAMES: Names = Names {
    prefix: "distilbert",
    layer: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
    head_dense: "pre_classifier",
    classifier: "classifier",
    ..BERT
};

pub(super) const HEAD: HeadShape = HeadShape {
    input_dropout: false,
    activation: Activation::Relu,
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let config = ModelConfig::from_sizes(
        Family::DistilBert,
        keys.size("vocab_size")?,
        keys.size("dim")?,
        keys.size("n_layers")?,
        keys.size("n_heads")?,
        keys.size("hidden_dim")?,
        keys.activation_or("activation", Activation::Gelu)?,
        keys.size("max_position_embeddings")?,
    );
    Ok(ModelConfig {
        initializer_range: keys.number_or("initializer_range", 0.02)?,
        hidden_dropout: keys.rate_or("dropout", 0.1)?,
        attention_dropout: keys.rate_or("attention_dropout", 0.1)?,
        classifier_dropout: keys.rate_or("seq_classif_dropout", 0.2)?,
        ..config
    })
}
