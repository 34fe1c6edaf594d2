//! Embeddings, layers and the norm behind them.
//!
//! Dropout sites are numbered so that masks stay the same when code moves: embeddings 0; layer l: attention probabilities
//! 3l + 1, attention output 3l + 2, feed-forward output (or, where that is what is dropped out, its inner values) 3l + 3; head:
//! input 3L + 1, hidden 3L + 2.
//!
//! On a tape that recomputes, each layer is one entry that keeps the layer's input.

use std::rc::Rc;

use tensor::{Var, ops};

use super::attention::Attention;
use super::config::LayerLayout;
use super::embeddings::Embeddings;
use super::feed_forward::FeedForward;
use super::{Builder, Linear, ModelConfig, ModelError, Norm, Pass};

#[derive(Debug, Clone)]
pub(super) struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    norm: Option<Norm>,
}

#[derive(Debug, Clone)]
struct Layer {
    layout: LayerLayout,
    attention: Attention,
    /// Absent in a first layer whose input is normed already.
    attention_norm: Option<Norm>,
    feed_forward: FeedForward,
    feed_forward_norm: Norm,
    attention_dropout: f64,
    feed_forward_dropout: f64,
    /// The first dropout site.
    site: usize,
}

impl Encoder {
    pub fn build(config: &ModelConfig, builder: &mut Builder) -> Result<Self, ModelError> {
        let embeddings = Embeddings::build(config, builder)?;
        let layers = (0..config.num_hidden_layers)
            .map(|number| Layer::build(config, number, builder))
            .collect::<Result<_, ModelError>>()?;
        let norm = match config.norms_output {
            false => None,
            true => Some(builder.norm(config, config.family.names().output_norm, config.hidden_size)?),
        };
        Ok(Self {
            embeddings,
            layers,
            norm,
        })
    }

    /// `[tokens, hidden_size]`
    pub fn forward(&self, pass: &Pass<'_>) -> tensor::Result<Var> {
        let mut hidden = self.embeddings.forward(pass)?;
        let shared = pass.tape.recomputes().then(|| Rc::new(pass.share()));
        for layer in &self.layers {
            hidden = match &shared {
                None => layer.forward(pass, hidden)?,
                Some(shared) => {
                    let (layer, shared) = (layer.clone(), Rc::clone(shared));
                    pass.tape.recomputed(&[&hidden], move |tape, inputs| {
                        layer.forward(&shared.on(tape), inputs[0].clone())
                    })?
                }
            };
        }
        match &self.norm {
            None => Ok(hidden),
            Some(norm) => norm.forward(pass, &hidden),
        }
    }

    /// The products.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        fn of_layer(layer: &Layer) -> impl Iterator<Item = &Linear> {
            layer
                .attention
                .linears()
                .into_iter()
                .chain(layer.feed_forward.linears())
        }
        self.embeddings
            .linears()
            .into_iter()
            .chain(self.layers.iter().flat_map(of_layer))
    }
}

impl Layer {
    fn build(config: &ModelConfig, number: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let (names, size) = (config.family.names(), config.hidden_size);
        let (name, site) = (format!("{}.{number}", names.layer), 3 * number + 1);
        let attention = Attention::build(config, number, &name, site, builder)?;
        let attention_norm = match number > 0 || config.norms_first_input {
            false => None,
            true => Some(builder.norm(config, &format!("{name}.{}", names.attention_norm), size)?),
        };
        Ok(Self {
            layout: config.layer_layout,
            attention,
            attention_norm,
            feed_forward: FeedForward::build(config, &name, site + 2, builder)?,
            feed_forward_norm: builder.norm(config, &format!("{name}.{}", names.feed_forward_norm), size)?,
            attention_dropout: config.attention_output_dropout,
            feed_forward_dropout: config.output_dropout,
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same. Where nothing is recorded, hidden states are freed as soon as they are not needed.
    fn forward(&self, pass: &Pass<'_>, mut hidden: Var) -> tensor::Result<Var> {
        let attention_mask = pass.token_mask(self.attention_dropout, self.site + 1);
        let feed_forward_mask = pass.token_mask(self.feed_forward_dropout, self.site + 2);
        let normed = |norm: &Option<Norm>, hidden: &Var| match norm {
            None => Ok(hidden.clone()),
            Some(norm) => norm.forward(pass, hidden),
        };
        match self.layout {
            LayerLayout::PostNorm => {
                let output = self.attention.forward(pass, hidden.clone())?;
                hidden = match &self.attention_norm {
                    Some(norm) => norm.forward_residual(pass, output, &hidden, attention_mask)?,
                    None => ops::residual_dropout(pass.tape, output, &hidden, attention_mask)?,
                };
                let output = self.feed_forward.forward(pass, hidden.clone())?;
                self.feed_forward_norm
                    .forward_residual(pass, output, &hidden, feed_forward_mask)
            }
            LayerLayout::PreNorm => {
                let output = self.attention.forward(pass, normed(&self.attention_norm, &hidden)?)?;
                hidden = ops::residual_dropout(pass.tape, output, &hidden, attention_mask)?;
                let output = self
                    .feed_forward
                    .forward(pass, self.feed_forward_norm.forward(pass, &hidden)?)?;
                ops::residual_dropout(pass.tape, output, &hidden, feed_forward_mask)
            }
            LayerLayout::Parallel => {
                let output = self.attention.forward(pass, normed(&self.attention_norm, &hidden)?)?;
                let sum = ops::residual_dropout(pass.tape, output, &hidden, attention_mask)?;
                let output = self
                    .feed_forward
                    .forward(pass, self.feed_forward_norm.forward(pass, &hidden)?)?;
                drop(hidden);
                ops::residual_dropout(pass.tape, output, &sum, feed_forward_mask)
            }
        }
    }
}
