//! GPT-NeoX (Black et al. 2022, <https://arxiv.org/abs/2204.06745>), polyglot-ko: a decoder whose two halves read the same input, whose
//! heads are turned in part only, and whose queries, keys and values are one weight, head by head.

use tensor::Activation;
use tensor::ops::Window;

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{Biases, HeadShape, Keys, LayerAttention, LayerLayout, ModelConfig, Positions, Sizes};
use crate::model::rotary::{Rotary, RotaryShape};

pub(super) const NAMES: Names = Names {
    prefix: "gpt_neox",
    word_embeddings: "embed_in",
    layer: "layers",
    query_key_value: &["attention.query_key_value"],
    attention_output: "attention.dense",
    attention_norm: "input_layernorm",
    intermediate: &["mlp.dense_h_to_4h"],
    output: "mlp.dense_4h_to_h",
    feed_forward_norm: "post_attention_layernorm",
    output_norm: "final_layer_norm",
    classifier: "score",
    ..BERT
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let sizes = Sizes::read(keys, "hidden_act", Activation::Gelu)?;
    let scaling = match keys.inside("rope_scaling")? {
        None => keys.inside("rope_parameters")?,
        scaling => scaling,
    };
    let inside = scaling
        .as_ref()
        .filter(|scaling| scaling.present("partial_rotary_factor").is_some());
    let partial = match inside {
        None => keys.number_or("rotary_pct", 0.25)?,
        Some(scaling) => scaling.number_or("partial_rotary_factor", 0.25)?,
    };
    let shape = RotaryShape {
        head_dim: sizes.hidden_size / sizes.num_attention_heads,
        partial,
        theta: keys.number_or("rotary_emb_base", 10_000.0)?,
        max_position_embeddings: sizes.max_position_embeddings,
    };
    let rotary = Rotary::read(scaling.as_ref(), &shape)?;
    if rotary.columns() > shape.head_dim || rotary.columns() == 0 {
        return Err(keys.error(
            "rotary_pct",
            &format!("a share of the {} columns of a head", shape.head_dim),
        ));
    }
    let attention = LayerAttention {
        window: Window::CAUSAL,
        rotary: 0,
    };
    let dropout = keys.rate_or("hidden_dropout", 0.0)?;
    let is_parallel = keys.flag_or("use_parallel_residual", true)?;
    Ok(ModelConfig {
        interleaves_heads: true,
        positions: Positions::Rotary(vec![rotary]),
        layer_attention: vec![attention; sizes.num_hidden_layers],
        layer_norm_eps: keys.number_or("layer_norm_eps", 1e-5)?,
        layer_layout: match is_parallel {
            true => LayerLayout::Parallel,
            false => LayerLayout::PreNorm,
        },
        norms_embeddings: false,
        norms_output: true,
        biases: Biases {
            feed_forward: true,
            ..Biases::all(keys.flag_or("attention_bias", true)?)
        },
        initializer_range: keys.number_or("initializer_range", 0.02)?,
        embedding_dropout: dropout,
        attention_dropout: keys.rate_or("attention_dropout", 0.0)?,
        attention_output_dropout: dropout,
        output_dropout: dropout,
        ..ModelConfig::of_sizes(Family::GptNeox, sizes, HeadShape::OF_LAST_TOKEN)
    })
}
