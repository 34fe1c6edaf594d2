//! Decoders as classifiers: Llama (Touvron et al. 2023, <https://arxiv.org/abs/2302.13971>) and its relatives Mistral
//! (<https://arxiv.org/abs/2310.06825>), Qwen2 (<https://arxiv.org/abs/2407.10671>) and Qwen3 (<https://arxiv.org/abs/2505.09388>). They differ in
//! which products have biases, in windows and in norms of queries and keys.
//!
//! A text is classified by its last token, whatever that is: there is no padding, so no padding token is needed.

use tensor::Activation;
use tensor::ops::{NormKind, Window};

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{Biases, HeadShape, Keys, LayerAttention, LayerLayout, ModelConfig, Positions, Sizes};
use crate::model::rotary::{Rotary, RotaryShape};

pub(super) const NAMES: Names = Names {
    prefix: "model",
    word_embeddings: "embed_tokens",
    layer: "layers",
    query_key_value: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    query_norm: "self_attn.q_norm",
    key_norm: "self_attn.k_norm",
    attention_output: "self_attn.o_proj",
    attention_norm: "input_layernorm",
    intermediate: &["mlp.gate_proj", "mlp.up_proj"],
    output: "mlp.down_proj",
    feed_forward_norm: "post_attention_layernorm",
    output_norm: "norm",
    classifier: "score",
    ..BERT
};

/// How far Mistral's tokens see where `config.json` does not say.
const DEFAULT_SLIDING_WINDOW: usize = 4096;

pub(super) fn read(keys: &Keys<'_>, family: Family) -> Result<ModelConfig, ModelError> {
    let sizes = Sizes::read(keys, "hidden_act", Activation::Silu)?;
    let (layers, heads, limit) = (
        sizes.num_hidden_layers,
        sizes.num_attention_heads,
        sizes.max_position_embeddings,
    );
    let head_dim = match family {
        Family::Qwen3 => keys.size_or("head_dim", 128)?,
        _ => keys.size_or("head_dim", sizes.hidden_size / heads)?,
    };
    let num_key_value_heads = match family {
        Family::Mistral if !keys.mentions("num_key_value_heads") => 8,
        _ => keys.size_or("num_key_value_heads", heads)?,
    };
    let biases = match family {
        Family::Qwen2 => Biases {
            query_key_value: true,
            ..Biases::all(false)
        },
        Family::Mistral => Biases::all(false),
        _ => Biases {
            feed_forward: family == Family::Llama && keys.flag_or("mlp_bias", false)?,
            ..Biases::all(keys.flag_or("attention_bias", false)?)
        },
    };
    let windows = windows(keys, family, layers)?;
    let attention = windows.into_iter().map(|window| LayerAttention { window, rotary: 0 });
    Ok(ModelConfig {
        num_key_value_heads,
        head_dim,
        norms_queries_and_keys: family == Family::Qwen3,
        is_gated: true,
        positions: Positions::Rotary(vec![rotary(keys, head_dim, 1.0, limit)?]),
        layer_attention: attention.collect(),
        norm: NormKind::Rms,
        layer_norm_eps: keys.number_or("rms_norm_eps", 1e-6)?,
        layer_layout: LayerLayout::PreNorm,
        norms_embeddings: false,
        norms_output: true,
        biases,
        initializer_range: keys.number_or("initializer_range", 0.02)?,
        attention_dropout: keys.rate_or("attention_dropout", 0.0)?,
        ..ModelConfig::of_sizes(family, sizes, HeadShape::OF_LAST_TOKEN)
    })
}

/// How far tokens see in each layer. A sliding window of n holds the token itself and n − 1 before it.
fn windows(keys: &Keys<'_>, family: Family, layers: usize) -> Result<Vec<Window>, ModelError> {
    let sliding = |size: usize| Window {
        left: size - 1,
        right: 0,
    };
    match family {
        Family::Llama => Ok(vec![Window::CAUSAL; layers]),
        Family::Mistral => {
            let window = match keys.present("sliding_window") {
                None if keys.mentions("sliding_window") => Window::CAUSAL,
                _ => sliding(keys.size_or("sliding_window", DEFAULT_SLIDING_WINDOW)?),
            };
            Ok(vec![window; layers])
        }
        _ => {
            if !keys.flag_or("use_sliding_window", false)? || keys.present("sliding_window").is_none() {
                return Ok(vec![Window::CAUSAL; layers]);
            }
            let window = sliding(keys.size("sliding_window")?);
            let first = keys.count_or("max_window_layers", 28)?;
            let local = match keys.local_layers(layers)? {
                Some(local) => local,
                None => (0..layers).map(|layer| layer >= first).collect(),
            };
            let of_layer = |is_local| if is_local { window } else { Window::CAUSAL };
            Ok(local.into_iter().map(of_layer).collect())
        }
    }
}

/// How positions turn `partial` of each head: `rope_parameters`, or `rope_scaling` beside `rope_theta`.
pub(super) fn rotary(keys: &Keys<'_>, head_dim: usize, partial: f64, limit: usize) -> Result<Rotary, ModelError> {
    let scaling = match keys.inside("rope_scaling")? {
        None => keys.inside("rope_parameters")?,
        scaling => scaling,
    };
    let shape = RotaryShape {
        head_dim,
        partial,
        theta: keys.number_or("rope_theta", 10_000.0)?,
        max_position_embeddings: limit,
    };
    let rotary = Rotary::read(scaling.as_ref(), &shape)?;
    if rotary.columns() > head_dim {
        return Err(keys.error("head_dim", "an even width"));
    }
    Ok(rotary)
}
