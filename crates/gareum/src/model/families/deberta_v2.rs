//! DeBERTa-v2 and -v3 (He et al. 2021, <https://arxiv.org/abs/2006.03654>, <https://arxiv.org/abs/2111.09543>): BERT whose
//! attention knows how far tokens are apart, with a convolution beside the first layer in the largest models.

use serde_json::Value;
use tensor::Activation;
use tensor::ops::disentangled_scale;

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{Convolution, HeadShape, Keys, ModelConfig, Positions};
use crate::model::relative_positions::{Distances, RelativeAttention};

pub(super) const NAMES: Names = Names {
    prefix: "deberta",
    query_key_value: &[
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
    ],
    position_key_query: ["attention.self.pos_key_proj", "attention.self.pos_query_proj"],
    relative_positions: "encoder.rel_embeddings",
    relative_norm: "encoder.LayerNorm",
    convolution: "encoder.conv.conv",
    convolution_norm: "encoder.conv.LayerNorm",
    head_dense: "pooler.dense",
    ..BERT
};

pub(super) fn read(keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
    let head = HeadShape {
        input_dropout: true,
        ..HeadShape::of_first_token(keys.activation_or("pooler_hidden_act", Activation::Gelu)?)
    };
    let config = ModelConfig::base(keys, Family::DebertaV2, head)?;
    for (key, value) in [
        ("embedding_size", config.hidden_size),
        ("pooler_hidden_size", config.hidden_size),
        ("attention_head_size", config.head_dim),
        ("conv_groups", 1),
    ] {
        keys.must_be(key, &Value::from(value))?;
    }
    Ok(ModelConfig {
        positions: match keys.flag_or("position_biased_input", true)? {
            false => Positions::None,
            true => Positions::Learned { offset: 0 },
        },
        relative: relative(keys, config.max_position_embeddings)?,
        score_scale: Some(disentangled_scale(config.head_dim, 1)),
        convolution: match keys.count_or("conv_kernel_size", 0)? {
            0 => None,
            width if width % 2 == 0 => return Err(keys.error("conv_kernel_size", "an odd number")),
            width => Some(Convolution {
                width,
                activation: keys.activation_or("conv_act", Activation::Tanh)?,
            }),
        },
        type_vocab_size: keys.count_or("type_vocab_size", 0)?,
        layer_norm_eps: keys.number_or("layer_norm_eps", 1e-7)?,
        classifier_dropout: keys.rate_or("cls_dropout", config.output_dropout)?,
        pooler_dropout: Some(keys.rate_or("pooler_dropout", 0.0)?),
        ..config
    })
}

fn relative(keys: &Keys<'_>, max_position_embeddings: usize) -> Result<Option<RelativeAttention>, ModelError> {
    if !keys.flag_or("relative_attention", false)? {
        return Ok(None);
    }
    // Either a list or one text with bars between the names.
    let kinds = match keys.present("pos_att_type") {
        Some(Value::String(kinds)) => kinds
            .to_lowercase()
            .split('|')
            .map(|kind| kind.trim().to_owned())
            .collect(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if kinds.is_empty() || kinds.iter().any(|kind| kind != "c2p" && kind != "p2c") {
        return Err(keys.error("pos_att_type", "\"c2p\", \"p2c\" or \"c2p|p2c\""));
    }
    let has = |kind: &str| kinds.iter().any(|other| other == kind);
    // −1 stands for a value that is not given.
    let given = |key: &str| {
        keys.present(key)
            .and_then(Value::as_i64)
            .filter(|&value| value > 0)
            .map(|value| value as usize)
    };
    let max_distance = given("max_relative_positions").unwrap_or(max_position_embeddings);
    let buckets = given("position_buckets");
    if buckets.is_some_and(|buckets| buckets < 2 || max_distance <= buckets / 2 + 1) {
        let expected = format!(
            "at least 2, and half of it below the largest distance, {}",
            max_distance - 1
        );
        return Err(keys.error("position_buckets", &expected));
    }
    let norms = keys
        .present("norm_rel_ebd")
        .and_then(Value::as_str)
        .unwrap_or("none")
        .to_lowercase();
    Ok(Some(RelativeAttention {
        distances: Distances {
            span: buckets.unwrap_or(max_distance),
            max_distance: buckets.map(|_| max_distance),
        },
        has_keys: has("c2p"),
        has_queries: has("p2c"),
        shares_projections: keys.flag_or("share_att_key", false)?,
        has_norm: norms.split('|').any(|norm| norm.trim() == "layer_norm"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::model::{Distances, ModelConfig, ModelError};

    fn read(more: Value) -> Result<ModelConfig, ModelError> {
        let mut config = json!({
            "model_type": "deberta-v2", "vocab_size": 128_100, "hidden_size": 768, "num_hidden_layers": 12,
            "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512, "type_vocab_size": 0,
            "relative_attention": true, "pos_att_type": "p2c|c2p", "max_relative_positions": -1,
        });
        let (all, more) = (config.as_object_mut().unwrap(), more.as_object().unwrap().clone());
        all.extend(more);
        ModelConfig::from_json(all, "config.json")
    }

    #[test]
    fn relative_positions() {
        let relative = |more: Value| read(more).unwrap().relative.unwrap();
        let plain = relative(json!({}));
        assert!(plain.has_keys && plain.has_queries && !plain.shares_projections && !plain.has_norm);
        assert_eq!((plain.distances.span, plain.distances.max_distance), (512, None));
        let of_v3 = relative(json!({"position_buckets": 256, "share_att_key": true, "norm_rel_ebd": "layer_norm"}));
        assert!(of_v3.shares_projections && of_v3.has_norm);
        let expected = Distances {
            span: 256,
            max_distance: Some(512),
        };
        assert_eq!(of_v3.distances, expected);
        let one = relative(json!({"pos_att_type": ["c2p"], "max_relative_positions": 128}));
        assert!(one.has_keys && !one.has_queries && one.distances.span == 128);
        assert!(read(json!({"relative_attention": false})).unwrap().relative.is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (key, value, message) in [
            (
                "pos_att_type",
                json!("p2p"),
                "config.json: `pos_att_type` is \"p2p\", expected \"c2p\", \"p2c\" or \"c2p|p2c\"",
            ),
            (
                "position_buckets",
                json!(1),
                "config.json: `position_buckets` is 1, expected at least 2, and half of it below the largest distance, 511",
            ),
            (
                "conv_kernel_size",
                json!(4),
                "config.json: `conv_kernel_size` is 4, expected an odd number",
            ),
            (
                "embedding_size",
                json!(64),
                "config.json: `embedding_size` is 64, expected 768 or nothing",
            ),
        ] {
            assert_eq!(read(json!({ key: value })).unwrap_err().to_string(), message);
        }
    }
}
