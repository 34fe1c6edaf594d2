//! Multi-head self-attention: queries, keys and values, what tells them their places, and the product behind.
//!
//! Not here: the residual sum and the norms around it (`encoder.rs`).

use tensor::ops::{AttentionShape, Heads};
use tensor::{Activation, Var, ops};

use super::{Builder, Linear, ModelConfig, ModelError, Norm, Pass};

#[derive(Debug, Clone)]
pub(super) struct Attention {
    query_key_value: Linear,
    /// The norms of each head of queries and of keys.
    head_norms: Option<[Norm; 2]>,
    /// Which of the pass's rotations are applied.
    rotary: Option<usize>,
    shape: AttentionShape,
    output: Linear,
    dropout: f64,
    /// Dropout site of the probabilities.
    site: usize,
}

impl Attention {
    /// That of the layer with this number, whose names begin with `name`.
    pub fn build(
        config: &ModelConfig,
        number: usize,
        name: &str,
        site: usize,
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let names = config.family.names();
        let (hidden, queries, keys) = (config.hidden_size, config.query_size(), config.key_size());
        let full = |part: &str| format!("{name}.{part}");
        let sizes: &[usize] = match names.query_key_value {
            [_] => &[queries + 2 * keys],
            _ => &[queries, keys, keys],
        };
        let mut parts = Vec::with_capacity(sizes.len());
        for (part, &size) in names.query_key_value.iter().zip(sizes) {
            let has_bias = config.biases.query_key_value;
            parts.push(builder.linear(names.prefix, &full(part), hidden, size, has_bias)?);
        }
        let head_norms = match config.norms_queries_and_keys {
            false => None,
            true => Some([
                builder.norm(config, &full(names.query_norm), config.head_dim)?,
                builder.norm(config, &full(names.key_norm), config.head_dim)?,
            ]),
        };
        let has_bias = config.biases.attention_output;
        let attention = config.layer_attention[number];
        Ok(Self {
            query_key_value: Linear::side_by_side(parts),
            head_norms,
            rotary: (!config.rotaries().is_empty()).then_some(attention.rotary),
            shape: AttentionShape {
                heads: config.heads(),
                window: attention.window,
                scale: None,
            },
            output: builder.linear(names.prefix, &full(names.attention_output), queries, hidden, has_bias)?,
            dropout: config.attention_dropout,
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same.
    pub fn forward(&self, pass: &Pass<'_>, input: Var) -> tensor::Result<Var> {
        let mut query_key_value = self.query_key_value.forward(pass, &input, Activation::Identity)?;
        drop(input);
        let heads: Heads = self.shape.heads;
        if let Some([query, key]) = &self.head_norms {
            let ((query, epsilon), (key, _)) = (query.weight(pass), key.weight(pass));
            query_key_value = ops::head_norm(pass.tape, &query_key_value, heads, &query, &key, epsilon)?;
        }
        let starts = &pass.batch.sequence_starts;
        if let Some(rotations) = self.rotary.and_then(|rotary| pass.rotations.get(rotary)) {
            query_key_value = ops::rope(pass.tape, query_key_value, starts, heads, rotations)?;
        }
        let dropout = pass.token_mask(self.dropout, self.site);
        let context = ops::attention(pass.tape, &query_key_value, starts, self.shape, dropout)?;
        self.output.forward(pass, &context, Activation::Identity)
    }

    /// The products.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.query_key_value, &self.output]
    }
}
