//! The products of a layer's feed-forward half, plain or gated.
//!
//! Not here: the residual sum and the norms around it (`encoder.rs`).

use tensor::{Activation, Var, ops};

use super::{Builder, Linear, ModelConfig, ModelError, Pass, sites};

#[derive(Debug, Clone)]
pub(super) struct FeedForward {
    /// To the inner width; gated, to twice that, what is activated first.
    intermediate: Linear,
    activation: Activation,
    is_gated: bool,
    output: Linear,
    inner_dropout: f64,
    /// Dropout site of the inner values.
    site: usize,
}

impl FeedForward {
    /// That of the layer whose names begin with `name`, which has this number where dropout sites are concerned.
    pub fn build(config: &ModelConfig, name: &str, layer: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let names = config.names();
        let (size, inner, has_bias) = (config.hidden_size, config.intermediate_size, config.biases.feed_forward);
        // The two products of a gated half may be one weight or two.
        let part_size = match (config.is_gated, names.intermediate) {
            (true, [_]) => 2 * inner,
            _ => inner,
        };
        let mut parts = Vec::with_capacity(names.intermediate.len());
        for part in names.intermediate {
            parts.push(builder.linear(names.prefix, &format!("{name}.{part}"), size, part_size, has_bias)?);
        }
        Ok(Self {
            intermediate: Linear::side_by_side(parts),
            activation: config.hidden_act,
            is_gated: config.is_gated,
            output: builder.linear(names.prefix, &format!("{name}.{}", names.output), inner, size, has_bias)?,
            inner_dropout: config.inner_dropout,
            site: match config.is_gated {
                false => sites::INNER + layer,
                true => sites::of_layer(layer) + 2,
            },
        })
    }

    /// `[tokens, hidden_size]` to the same.
    pub fn forward(&self, pass: &Pass<'_>, input: Var) -> tensor::Result<Var> {
        let inner = self.intermediate.forward(pass, &input, Activation::Identity)?;
        drop(input);
        let dropout = pass.token_mask(self.inner_dropout, self.site);
        if !self.is_gated {
            if dropout.is_none() {
                return self.output.forward(pass, &inner, self.activation);
            }
            let activated = ops::activate(pass.tape, &inner, self.activation)?;
            drop(inner);
            let dropped = ops::dropout(pass.tape, &activated, dropout)?;
            drop(activated);
            return self.output.forward(pass, &dropped, Activation::Identity);
        }
        let gated = ops::gated(pass.tape, &inner, self.activation, dropout)?;
        drop(inner);
        self.output.forward(pass, &gated, Activation::Identity)
    }

    /// The products.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.intermediate, &self.output]
    }

    /// The same.
    pub fn linears_mut(&mut self) -> [&mut Linear; 2] {
        [&mut self.intermediate, &mut self.output]
    }
}
