//! DistilBERT (Sanh et al. 2019, <https://arxiv.org/abs/1910.01108>): half of BERT's layers under other names, without
//! token types, and with a ReLU in the head.

use tensor::Activation;

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{HeadShape, Keys, ModelConfig, Sizes};

pub(super) const NAMES: Names = Names {
    prefix: "distilbert",
    layer: "transformer.layer",
    query_key_value: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: &["ffn.lin1"],
    output: "ffn.lin2",
    feed_forward_norm: "output_layer_norm",
    head_dense: "pre_classifier",
    classifier: "classifier",
    ..BERT
};

/// The output of the attention half is not dropped out.
pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let sizes = Sizes {
        vocab_size: keys.size("vocab_size")?,
        hidden_size: keys.size("dim")?,
        num_hidden_layers: keys.size("n_layers")?,
        num_attention_heads: keys.size("n_heads")?,
        intermediate_size: keys.size("hidden_dim")?,
        hidden_act: keys.activation_or("activation", Activation::Gelu)?,
        max_position_embeddings: keys.size("max_position_embeddings")?,
    };
    let dropout = keys.rate_or("dropout", 0.1)?;
    let head = HeadShape::of_first_token(Activation::Relu);
    Ok(ModelConfig {
        initializer_range: keys.number_or("initializer_range", 0.02)?,
        embedding_dropout: dropout,
        attention_dropout: keys.rate_or("attention_dropout", 0.1)?,
        output_dropout: dropout,
        classifier_dropout: keys.rate_or("seq_classif_dropout", 0.2)?,
        ..ModelConfig::of_sizes(Family::DistilBert, sizes, head)
    })
}
