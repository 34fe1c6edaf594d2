//! The classification head of `transformers`' `…ForSequenceClassification`: first token → dropout → dense → activation →
//! dropout → classifier. Families differ in the activation, the first dropout and the names (`model/families/`).

use tensor::{Activation, Var, ops};

use crate::model::{Builder, Linear, ModelConfig, ModelError, Pass};

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
    pub fn forward(&self, pass: &Pass<'_>, hidden: &Var) -> tensor::Result<Var> {
        let pooled = ops::pool_first(pass.tape, hidden, &pass.batch.sequence_starts)?;
        let pooled = ops::dropout(pass.tape, &pooled, pass.example_mask(self.input_dropout, self.site))?;
        let dense = self.dense.forward(pass, &pooled, Activation::Identity)?;
        let dense = ops::activate(pass.tape, &dense, self.activation)?;
        let dense = ops::dropout(pass.tape, &dense, pass.example_mask(self.hidden_dropout, self.site + 1))?;
        self.classifier.forward(pass, &dense, Activation::Identity)
    }
}
