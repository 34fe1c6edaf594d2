//! The feed-forward half of a layer with the residual sum and norm that close it.

use tensor::{Activation, Parameters, Tape, Var};

use super::{Builder, Linear, ModelConfig, ModelError, Noise, Norm, mask};
use crate::tokens::PackedBatch;

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
    pub fn forward(
        &self,
        tape: &Tape,
        parameters: &Parameters,
        hidden: &Var,
        batch: &PackedBatch,
        noise: Option<Noise>,
    ) -> tensor::Result<Var> {
        let inner = self.intermediate.forward(tape, parameters, hidden, self.activation)?;
        let output = self.output.forward(tape, parameters, &inner, Activation::Identity)?;
        let dropout = mask(noise, self.dropout, self.site, batch.first_token);
        self.norm.forward_residual(tape, parameters, &output, hidden, dropout)
    }
}
