//! Embeddings and layers.
//!
//! Dropout sites are numbered so that masks stay the same when code moves: embeddings 0; layer l: attention probabilities
//! 3l + 1, attention output 3l + 2, feed-forward output 3l + 3; head: input 3L + 1, hidden 3L + 2.
//!
//! On a tape that recomputes, each layer is one entry that keeps the layer's input.

use std::rc::Rc;

use tensor::Var;

use super::attention::Attention;
use super::embeddings::Embeddings;
use super::feed_forward::FeedForward;
use super::{Builder, Linear, ModelConfig, ModelError, Pass};

#[derive(Debug, Clone)]
pub(super) struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
}

impl Encoder {
    pub fn build(config: &ModelConfig, builder: &mut Builder) -> Result<Self, ModelError> {
        let embeddings = Embeddings::build(config, builder)?;
        let layer = |index: usize| {
            let name = format!("{}.{index}", config.family.names().layer);
            Ok(Layer {
                attention: Attention::build(config, &name, 3 * index + 1, builder)?,
                feed_forward: FeedForward::build(config, &name, 3 * index + 3, builder)?,
            })
        };
        let layers = (0..config.num_hidden_layers)
            .map(layer)
            .collect::<Result<_, ModelError>>()?;
        Ok(Self { embeddings, layers })
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
        Ok(hidden)
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
    /// `[tokens, hidden_size]` to the same.
    fn forward(&self, pass: &Pass<'_>, mut hidden: Var) -> tensor::Result<Var> {
        // Where nothing is recorded, this frees the layer's input.
        hidden = self.attention.forward(pass, &hidden)?;
        self.feed_forward.forward(pass, &hidden)
    }
}
