//! The convolution beside the first layer of DeBERTa-v2's largest models: norm(layer's output + f(dropout(convolution(layer's
//! input)))).

use tensor::{Activation, ParameterId, Var, ops};

use super::{Builder, ModelConfig, ModelError, Norm, Pass, config, sites};

#[derive(Debug, Clone)]
pub(super) struct Convolution {
    weight: ParameterId,
    bias: ParameterId,
    norm: Norm,
    activation: Activation,
    dropout: f64,
}

impl Convolution {
    pub fn build(
        config: &ModelConfig,
        convolution: config::Convolution,
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let (names, size) = (config.names(), config.hidden_size);
        let [weight, bias] = builder.convolution(names.prefix, names.convolution, size, convolution.width)?;
        Ok(Self {
            weight,
            bias,
            norm: builder.norm(config, names.convolution_norm, size)?,
            activation: convolution.activation,
            dropout: config.embedding_dropout,
        })
    }

    /// `[tokens, hidden_size]`, of what went into the first layer and what came out of it.
    pub fn forward(&self, pass: &Pass<'_>, input: &Var, output: &Var) -> tensor::Result<Var> {
        let (weight, bias) = (pass.parameter(self.weight), pass.parameter(self.bias));
        let local = ops::convolution(pass.tape, input, &weight, &bias, &pass.batch.sequence_starts)?;
        let local = ops::dropout(pass.tape, &local, pass.token_mask(self.dropout, sites::CONVOLUTION))?;
        let local = ops::activate(pass.tape, &local, self.activation)?;
        self.norm.forward_residual(pass, local, output, None)
    }
}
