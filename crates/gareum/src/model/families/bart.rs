//! BART (Lewis et al. 2020, <https://arxiv.org/abs/1910.13461>) and mBART (Liu et al. 2020, <https://arxiv.org/abs/2001.08210>) as
//! classifiers: the decoder reads the tokens of the encoder one place further right, and its last end of a sentence is
//! classified.

use serde_json::Value;
use tensor::Activation;

use super::{BERT, Family, Names};
use crate::model::ModelError;
use crate::model::config::{Decoder, DecoderStart, HeadShape, Keys, LayerLayout, ModelConfig, Positions, Sizes};

/// Learned positions begin behind two rows that are never used.
const POSITION_OFFSET: usize = 2;

pub(super) const NAMES: Names = Names {
    prefix: "model",
    word_embeddings: "shared",
    position_embeddings: "encoder.embed_positions",
    embeddings_norm: "encoder.layernorm_embedding",
    layer: "encoder.layers",
    query_key_value: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    attention_output: "self_attn.out_proj",
    attention_norm: "self_attn_layer_norm",
    cross_query_key_value: ["encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj"],
    cross_output: "encoder_attn.out_proj",
    cross_norm: "encoder_attn_layer_norm",
    intermediate: &["fc1"],
    output: "fc2",
    feed_forward_norm: "final_layer_norm",
    output_norm: "encoder.layer_norm",
    head_dense: "classification_head.dense",
    classifier: "classification_head.out_proj",
    ..BERT
};

pub(super) const DECODER_NAMES: Names = Names {
    position_embeddings: "decoder.embed_positions",
    embeddings_norm: "decoder.layernorm_embedding",
    layer: "decoder.layers",
    output_norm: "decoder.layer_norm",
    ..NAMES
};

pub(super) fn read(keys: &Keys<'_>, family: Family) -> Result<ModelConfig, ModelError> {
    keys.must_be("is_encoder_decoder", &Value::from(true))?;
    keys.must_be("tie_word_embeddings", &Value::from(true))?;
    let hidden_size = keys.size("d_model")?;
    let sizes = Sizes {
        vocab_size: keys.size("vocab_size")?,
        hidden_size,
        num_hidden_layers: keys.size("encoder_layers")?,
        num_attention_heads: keys.size("encoder_attention_heads")?,
        intermediate_size: keys.size("encoder_ffn_dim")?,
        hidden_act: keys.activation_or("activation_function", Activation::Gelu)?,
        max_position_embeddings: keys.size("max_position_embeddings")? + POSITION_OFFSET,
    };
    for key in ["encoder_attention_heads", "decoder_attention_heads"] {
        if !hidden_size.is_multiple_of(keys.size(key)?) {
            return Err(keys.error(key, &format!("a divisor of d_model, {hidden_size}")));
        }
    }
    let is_mbart = family == Family::Mbart;
    let decoder = Decoder {
        num_hidden_layers: keys.size("decoder_layers")?,
        num_attention_heads: keys.size("decoder_attention_heads")?,
        intermediate_size: keys.size("decoder_ffn_dim")?,
        start: match is_mbart {
            false => DecoderStart::Token(keys.count_or("decoder_start_token_id", 2)? as u32),
            true => DecoderStart::LastToken,
        },
    };
    let head = HeadShape {
        last_of: Some(keys.count_or("eos_token_id", 2)? as u32),
        input_dropout: true,
        ..HeadShape::of_first_token(Activation::Tanh)
    };
    let dropout = keys.rate_or("dropout", 0.1)?;
    Ok(ModelConfig {
        positions: Positions::Learned {
            offset: POSITION_OFFSET,
        },
        decoder: Some(decoder),
        embedding_scale: match keys.flag_or("scale_embedding", false)? {
            false => 1.0,
            true => (hidden_size as f64).sqrt(),
        },
        layer_norm_eps: 1e-5,
        layer_layout: match is_mbart {
            false => LayerLayout::PostNorm,
            true => LayerLayout::PreNorm,
        },
        norms_output: is_mbart,
        initializer_range: keys.number_or("init_std", 0.02)?,
        embedding_dropout: dropout,
        attention_dropout: keys.rate_or("attention_dropout", 0.0)?,
        attention_output_dropout: dropout,
        inner_dropout: keys.rate_or("activation_dropout", 0.0)?,
        output_dropout: dropout,
        classifier_dropout: keys.rate_or("classifier_dropout", 0.0)?,
        ..ModelConfig::of_sizes(family, sizes, head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Encoded, PackedBatch};

    #[test]
    fn the_decoder_reads_the_tokens_one_place_further_right() {
        let encoded = [vec![5, 6, 2], vec![9], vec![7, 2, 8]].map(|input_ids| Encoded {
            token_type_ids: vec![0; input_ids.len()],
            full_length: input_ids.len(),
            input_ids,
        });
        let batch = PackedBatch::new(&encoded, 40, 3);
        let read = |start: DecoderStart| {
            let shifted = start.in_front_of(&batch);
            assert_eq!(
                (&shifted.sequence_starts, shifted.first_token),
                (&batch.sequence_starts, 40)
            );
            shifted.input_ids
        };
        assert_eq!(read(DecoderStart::Token(4)), [4, 5, 6, 4, 4, 7, 2]);
        assert_eq!(read(DecoderStart::LastToken), [2, 5, 6, 9, 8, 7, 2]);
    }
}
