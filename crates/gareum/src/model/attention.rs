//! Multi-head self-attention with the residual sum and norm that close it.

use tensor::{Activation, Var, ops};

use super::{Builder, Linear, ModelConfig, ModelError, Norm, Pass};

#[derive(Debug, Clone)]
pub(super) struct Attention {
    query_key_value: Linear,
    output: Linear,
    norm: Norm,
    heads: usize,
    probability_dropout: f64,
    output_dropout: f64,
    /// Dropout site of the probabilities; the output's is the next.
    site: usize,
}

impl Attention {
    pub fn build(config: &ModelConfig, layer: &str, site: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let names = config.family.names();
        let size = config.hidden_size;
        let mut linear = |name: &str| builder.linear(names.prefix, &format!("{layer}.{name}"), size, size);
        Ok(Self {
            query_key_value: Linear::side_by_side([linear(names.query)?, linear(names.key)?, linear(names.value)?]),
            output: linear(names.attention_output)?,
            norm: builder.norm(
                names.prefix,
                &format!("{layer}.{}", names.attention_norm),
                size,
                config.layer_norm_eps,
            )?,
            heads: config.num_attention_heads,
            probability_dropout: config.attention_dropout,
            output_dropout: if config.family.drops_attention_output() {
                config.hidden_dropout
            } else {
                0.0
            },
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same.
    pub fn forward(&self, pass: &Pass<'_>, hidden: &Var) -> tensor::Result<Var> {
        let query_key_value = self.query_key_value.forward(pass, hidden, Activation::Identity)?;
        let dropout = pass.token_mask(self.probability_dropout, self.site);
        let starts = &pass.batch.sequence_starts;
        let context = ops::attention(pass.tape, &query_key_value, starts, self.heads, dropout)?;
        let output = self.output.forward(pass, &context, Activation::Identity)?;
        let dropout = pass.token_mask(self.output_dropout, self.site + 1);
        self.norm.forward_residual(pass, &output, hidden, dropout)
    }

    /// The products.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.query_key_value, &self.output]
    }
}
