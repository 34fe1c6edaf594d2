//! ModernBERT (Warner et al. 2024, <https://arxiv.org/abs/2412.13663>): an encoder with norms before the products, gated feed-forward
//! halves, rotary positions, and local attention in most layers, whose positions turn at another speed.

use serde_json::Value;
use tensor::Activation;
use tensor::ops::{Pooling, Window};

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{
    Biases, HeadDense, HeadShape, Keys, LayerAttention, LayerLayout, ModelConfig, Positions, Sizes,
};
use crate::model::rotary::{Rotary, RotaryShape};

pub(super) const NAMES: Names = Names {
    prefix: "model",
    word_embeddings: "embeddings.tok_embeddings",
    embeddings_norm: "embeddings.norm",
    layer: "layers",
    query_key_value: &["attn.Wqkv"],
    attention_output: "attn.Wo",
    attention_norm: "attn_norm",
    intermediate: &["mlp.Wi"],
    output: "mlp.Wo",
    feed_forward_norm: "mlp_norm",
    output_norm: "final_norm",
    head_dense: "head.dense",
    head_norm: "head.norm",
    classifier: "classifier",
    ..BERT
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let sizes = Sizes::read(keys, "hidden_activation", Activation::Gelu)?;
    let layers = sizes.num_hidden_layers;
    // Half of the window lies on each side.
    let reach = keys.size_or("local_attention", 128)? / 2;
    let local = match keys.local_layers(layers)? {
        Some(local) => local,
        None => {
            let every = keys.size_or("global_attn_every_n_layers", 3)?;
            (0..layers).map(|layer| !layer.is_multiple_of(every)).collect()
        }
    };
    let attention = |is_local: bool| match is_local {
        false => LayerAttention {
            window: Window::ALL,
            rotary: GLOBAL,
        },
        true => LayerAttention {
            window: Window {
                left: reach,
                right: reach,
            },
            rotary: LOCAL,
        },
    };
    let attention_dropout = keys.rate_or("attention_dropout", 0.0)?;
    Ok(ModelConfig {
        is_gated: true,
        positions: Positions::Rotary(rotaries(keys, &sizes)?),
        layer_attention: local.into_iter().map(attention).collect(),
        has_norm_bias: keys.flag_or("norm_bias", false)?,
        layer_norm_eps: keys.number_or("norm_eps", 1e-5)?,
        layer_layout: LayerLayout::PreNorm,
        norms_first_input: false,
        norms_output: true,
        biases: Biases {
            feed_forward: keys.flag_or("mlp_bias", false)?,
            ..Biases::all(keys.flag_or("attention_bias", false)?)
        },
        initializer_range: keys.number_or("initializer_range", 0.02)?,
        embedding_dropout: keys.rate_or("embedding_dropout", 0.0)?,
        attention_dropout,
        attention_output_dropout: attention_dropout,
        inner_dropout: keys.rate_or("mlp_dropout", 0.0)?,
        classifier_dropout: keys.rate_or("classifier_dropout", 0.0)?,
        ..ModelConfig::of_sizes(Family::ModernBert, sizes, head(keys)?)
    })
}

/// The places of [`rotaries`].
const GLOBAL: usize = 0;
const LOCAL: usize = 1;

/// How positions turn heads where attention is global, and where it is local.
fn rotaries(keys: &Keys<'_>, sizes: &Sizes) -> Result<Vec<Rotary>, ModelError> {
    let parameters = keys.inside("rope_parameters")?;
    let global = keys.number_or("global_rope_theta", 160_000.0)?;
    let local = match keys.mentions("local_rope_theta") {
        // `null` is for the same as elsewhere.
        true => keys.number_or("local_rope_theta", global)?,
        false => 10_000.0,
    };
    let read = |layer_type: &str, theta: f64| {
        let of_type = match &parameters {
            None => None,
            Some(parameters) => parameters.inside(layer_type)?,
        };
        let shape = RotaryShape {
            head_dim: sizes.hidden_size / sizes.num_attention_heads,
            partial: 1.0,
            theta,
            max_position_embeddings: sizes.max_position_embeddings,
        };
        let rotary = Rotary::read(of_type.as_ref(), &shape)?;
        match rotary.columns() > shape.head_dim {
            true => Err(keys.error("num_attention_heads", "a number that leaves heads of an even width")),
            false => Ok(rotary),
        }
    };
    Ok(vec![read("full_attention", global)?, read("sliding_attention", local)?])
}

fn head(keys: &Keys<'_>) -> Result<HeadShape, ModelError> {
    let pooling = match keys.present("classifier_pooling").map(Value::as_str) {
        None | Some(Some("cls")) => Pooling::First,
        Some(Some("mean")) => Pooling::Mean,
        Some(_) => return Err(keys.error("classifier_pooling", "`cls` or `mean`")),
    };
    let activation = keys.activation_or("classifier_activation", Activation::Gelu)?;
    Ok(HeadShape {
        pooling,
        dense: Some(HeadDense {
            activation,
            bias: keys.flag_or("classifier_bias", false)?,
            norm: true,
            is_pretrained: true,
        }),
        ..HeadShape::of_first_token(activation)
    })
}
