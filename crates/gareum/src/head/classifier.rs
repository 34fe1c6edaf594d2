//! The classification head of `transformers`' `…ForSequenceClassification`: first token → dropout → dense → activation →
//! dropout → classifier. Families differ in the activation, the first dropout and the names (`model/families/`).

use tensor::{Activation, Parameters, Tape, Var, ops};

use crate::model::{Builder, Linear, ModelConfig, ModelError, Noise, mask};
use crate::tokens::PackedBatch;

#[derive(Debug, Clone)]
pub(crate) struct Head {
    dense: Linear,
    activation: Activation,
    classifier: Linear,
    input_dropout: f64,
    hidden_dropout: f64,
    /// Dropout site of the input; that of the hidden vector is the next (`model/encoder.rs`).
    site: usize,
}

impl Head {
    pub fn build(config: &ModelConfig, labels: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let (names, shape, size) = (config.family.names(), config.family.head(), config.hidden_size);
        Ok(Self {
            dense: builder.head(names.prefix, names.head_dense, size, size)?,
            activation: shape.activation,
            classifier: builder.head(names.prefix, names.classifier, size, labels)?,
            input_dropout: if shape.input_dropout {
                config.classifier_dropout
            } else {
                0.0
            },
            hidden_dropout: config.classifier_dropout,
            site: 3 * config.num_hidden_layers + 1,
        })
    }

    /// `[tokens, hidden_size]` to `[batch, labels]`.
    pub fn forward(
        &self,
        tape: &Tape,
        parameters: &Parameters,
        hidden: &Var,
        batch: &PackedBatch,
        noise: Option<Noise>,
    ) -> tensor::Result<Var> {
        let pooled = ops::pool_first(tape, hidden, &batch.sequence_starts)?;
        let pooled = ops::dropout(
            tape,
            &pooled,
            mask(noise, self.input_dropout, self.site, batch.first_example),
        )?;
        let dense = self.dense.forward(tape, parameters, &pooled, self.activation)?;
        let dense = ops::dropout(
            tape,
            &dense,
            mask(noise, self.hidden_dropout, self.site + 1, batch.first_example),
        )?;
        self.classifier.forward(tape, parameters, &dense, Activation::Identity)
    }
}
