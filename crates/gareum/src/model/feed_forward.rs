//! The feed-forward half of a layer with the residual sum and norm that close it.

use tensor::{Activation, Var};

use super::{Builder, Linear, ModelConfig, ModelError, Norm, Pass};

#[derive(Debug, Clone)]
pub(super) struct FeedForward {
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    norm: Norm,
    dropout: f64,
    site: usize,
}

impl FeedForward {
    pub fn build(config: &ModelConfig, layer: &str, site: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let names = config.family.names();
        let (size, inner) = (config.hidden_size, config.intermediate_size);
        let name = |name: &str| format!("{layer}.{name}");
        Ok(Self {
            intermediate: builder.linear(names.prefix, &name(names.intermediate), size, inner)?,
            activation: config.hidden_act,
            output: builder.linear(names.prefix, &name(names.output), inner, size)?,
            norm: builder.norm(names.prefix, &name(names.output_norm), size, config.layer_norm_eps)?,
            dropout: config.hidden_dropout,
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same.
    pub fn forward(&self, pass: &Pass<'_>, hidden: &Var) -> tensor::Result<Var> {
        let inner = self.intermediate.forward(pass, hidden, Activation::Identity)?;
        let output = self.output.forward(pass, &inner, self.activation)?;
        let dropout = pass.token_mask(self.dropout, self.site);
        self.norm.forward_residual(pass, &output, hidden, dropout)
    }

    /// The products.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.intermediate, &self.output]
    }
}
