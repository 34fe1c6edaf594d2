//! The classification head of `transformers`' `…ForSequenceClassification`: pooled hidden state → dropout → dense → activation →
//! norm → dropout → classifier. Families lack some of these ([`crate::model::HeadShape`]) and differ in names.

use tensor::ops::Pooling;
use tensor::{Activation, Var, ops};

use crate::model::{Builder, Linear, ModelConfig, ModelError, Norm, Pass, sites};

#[derive(Debug, Clone)]
pub(crate) struct Head {
    pooling: Pooling,
    last_of: Option<u32>,
    input_dropout: f64,
    dense: Option<Dense>,
    classifier: Linear,
    /// Dropout site of the input; that of the hidden vector is the next (`model/sites.rs`).
    site: usize,
}

#[derive(Debug, Clone)]
struct Dense {
    linear: Linear,
    activation: Activation,
    norm: Option<Norm>,
    dropout: f64,
}

impl Head {
    pub fn build(config: &ModelConfig, labels: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let (names, shape, size) = (config.names(), config.head, config.hidden_size);
        let dense = match shape.dense {
            None => None,
            Some(dense) => Some(Dense {
                linear: builder.head(
                    names.prefix,
                    names.head_dense,
                    [size, size],
                    dense.bias,
                    dense.is_pretrained,
                )?,
                activation: dense.activation,
                norm: match dense.norm {
                    false => None,
                    true => Some(builder.head_norm(config, names.head_norm, dense.is_pretrained)?),
                },
                dropout: config.classifier_dropout,
            }),
        };
        Ok(Self {
            pooling: shape.pooling,
            last_of: shape.last_of,
            input_dropout: if shape.input_dropout {
                config.pooler_dropout.unwrap_or(config.classifier_dropout)
            } else {
                0.0
            },
            dense,
            classifier: builder.head(
                names.prefix,
                names.classifier,
                [size, labels],
                shape.classifier_bias,
                false,
            )?,
            site: sites::of_head(config.all_layers()),
        })
    }

    /// `[tokens, hidden_size]` to `[batch, labels]`.
    pub fn forward(&self, pass: &Pass<'_>, hidden: &Var) -> tensor::Result<Var> {
        let pooled = self.pool(pass, hidden)?;
        self.classify(pass, &pooled)
    }

    /// What of each sequence is classified: `[tokens, hidden_size]` to `[batch, hidden_size]`.
    pub fn pool(&self, pass: &Pass<'_>, hidden: &Var) -> tensor::Result<Var> {
        let (starts, ids) = (&pass.batch.sequence_starts, &pass.batch.input_ids);
        match self.last_of {
            None => ops::pool(pass.tape, hidden, starts, self.pooling),
            Some(id) => ops::pool_last_of(pass.tape, hidden, starts, ids, id),
        }
    }

    /// `[batch, hidden_size]` to `[batch, labels]`.
    pub fn classify(&self, pass: &Pass<'_>, pooled: &Var) -> tensor::Result<Var> {
        let mut pooled = ops::dropout(pass.tape, pooled, pass.example_mask(self.input_dropout, self.site))?;
        if let Some(dense) = &self.dense {
            let first = pass.batch.first_example;
            pooled = dense.linear.forward_from(pass, &pooled, Activation::Identity, first)?;
            pooled = ops::activate(pass.tape, &pooled, dense.activation)?;
            if let Some(norm) = &dense.norm {
                pooled = norm.forward(pass, &pooled)?;
            }
            pooled = ops::dropout(pass.tape, &pooled, pass.example_mask(dense.dropout, self.site + 1))?;
        }
        self.classifier.forward(pass, &pooled, Activation::Identity)
    }

    /// The hidden product.
    pub fn dense(&self) -> Option<&Linear> {
        self.dense.as_ref().map(|dense| &dense.linear)
    }

    /// As [`Self::dense`], to be changed.
    pub fn dense_mut(&mut self) -> Option<&mut Linear> {
        self.dense.as_mut().map(|dense| &mut dense.linear)
    }
}
