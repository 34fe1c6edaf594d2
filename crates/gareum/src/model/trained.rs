//! Which parts of a model training changes: what memory and steps depend on.

use tensor::{ParameterId, Parameters};

use super::families::Names;
use super::{Encoder, Model, ModelConfig};

/// What training changes, as far as a pass forward and back depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrainedParts {
    /// Of the encoder.
    pub encoder: TrainedStack,
    /// Of the decoder, if there is one.
    pub decoder: TrainedStack,
}

/// What training changes of an encoder or a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrainedStack {
    /// Whether anything before the layers is trained.
    pub embeddings: bool,
    /// Whether weights of the checkpoint's products are.
    pub weights: bool,
    /// Layers before this one get no gradient.
    pub first_layer: usize,
    /// What is added to products.
    pub ranks: ProductRanks,
}

/// The sum of the ranks of what is added to each product, in the layer where it is the largest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProductRanks {
    pub projection: usize,
    pub query_key_value: usize,
    pub attention_output: usize,
    pub first: usize,
    pub second: usize,
    pub positions: usize,
    pub cross_query: usize,
    pub cross_key_value: usize,
}

/// What of a checkpoint is left as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freezing {
    /// Everything before the layers.
    pub embeddings: bool,
    /// So many layers, the first ones; a decoder's are counted on from the encoder's.
    pub layers: usize,
    /// Everything but the head.
    pub body: bool,
}

impl Model {
    /// Leaves parts of the checkpoint as they are; what is left trainable stays so.
    pub fn freeze(&mut self, freezing: Freezing) {
        let head = self.config.all_layers() + 1;
        let frozen: Vec<_> = self
            .depths()
            .filter(|&(_, depth)| match depth {
                0 => freezing.embeddings || freezing.body,
                _ if depth == head => false,
                _ => depth <= freezing.layers || freezing.body,
            })
            .map(|(id, _)| id)
            .collect();
        frozen
            .into_iter()
            .for_each(|id| self.parameters.set_trainable(id, false));
    }

    /// How far up each parameter stands: 0 before the layers, 1 in the first layer and so on (a decoder's are counted on), and one
    /// more than the last layer in the head.
    pub(crate) fn depths(&self) -> impl Iterator<Item = (ParameterId, usize)> {
        let (encoder, decoder) = (self.config.family.names(), self.config.family.decoder_names());
        let layers = self.config.num_hidden_layers;
        let all = self.config.all_layers();
        let number = |name: &str, of: &Names| -> Option<usize> {
            let rest = name
                .strip_prefix(of.prefix)?
                .strip_prefix('.')?
                .strip_prefix(of.layer)?;
            rest.strip_prefix('.')?.split('.').next()?.parse().ok()
        };
        let is_norm = |name: &str, of: &Names| {
            let rest = name.strip_prefix(of.prefix).and_then(|rest| rest.strip_prefix('.'));
            !of.output_norm.is_empty() && rest.is_some_and(|rest| rest.starts_with(of.output_norm))
        };
        let parameters = self.parameters.iter().enumerate();
        parameters.map(move |(index, (id, name, _))| {
            let depth = if (self.body..self.own_parameters).contains(&index) {
                all + 1
            } else if let Some(number) = number(name, encoder) {
                number + 1
            } else if let Some(number) = number(name, decoder) {
                layers + number + 1
            } else if is_norm(name, encoder) {
                layers
            } else if is_norm(name, decoder) {
                all
            } else {
                0
            };
            (id, depth)
        })
    }

    pub(crate) fn trained_parts(&self) -> TrainedParts {
        let encoder = self.trained_stack(&self.config, Some(&self.encoder));
        let decoder = self.config.of_decoder();
        let mut decoder = self.trained_stack(decoder.as_ref().unwrap_or(&self.config), self.decoder.as_ref());
        if encoder.embeddings || encoder.first_layer < self.config.num_hidden_layers {
            // Every layer of a decoder looks at the encoder.
            decoder.first_layer = 0;
        }
        TrainedParts { encoder, decoder }
    }

    fn trained_stack(&self, config: &ModelConfig, stack: Option<&Encoder>) -> TrainedStack {
        let names = config.names();
        let (layers, output_norm) = (
            format!("{}.{}.", names.prefix, names.layer),
            format!("{}.{}.", names.prefix, names.output_norm),
        );
        let other_layers = match config.is_decoder {
            true => config.family.names(),
            false => config.family.decoder_names(),
        };
        let other_layers = format!("{}.{}.", names.prefix, other_layers.layer);
        let mut trained = TrainedStack {
            embeddings: false,
            weights: false,
            first_layer: config.num_hidden_layers,
            ranks: stack.map(|stack| stack.ranks(&self.parameters)).unwrap_or_default(),
        };
        for (index, name) in trained_names(&self.parameters) {
            if (self.body..self.own_parameters).contains(&index) {
                continue; // the head's
            }
            if let Some(rest) = name.strip_prefix(&layers) {
                let number = rest.split('.').next().and_then(|number| number.parse().ok());
                trained.first_layer = trained.first_layer.min(number.unwrap_or(0));
                trained.weights |= index < self.body && name.ends_with("weight");
            } else if !name.starts_with(&other_layers) && !name.starts_with(&output_norm) {
                trained.embeddings = true;
                trained.first_layer = 0;
            }
        }
        trained
    }
}

/// The names of trained parameters, with their numbers.
fn trained_names(parameters: &Parameters) -> impl Iterator<Item = (usize, &str)> {
    let all = parameters.iter().enumerate();
    all.filter(|(_, (id, _, _))| parameters.is_trainable(*id))
        .map(|(index, (_, name, _))| (index, name))
}
