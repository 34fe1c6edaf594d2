//! Embeddings, layers and the norm behind them. A decoder is the same with a second attention in each layer.
//!
//! On a tape that recomputes, each layer is one entry that keeps the layer's input.

use std::rc::Rc;

use tensor::{Activation, ParameterId, Parameters, Var, ops};

use super::attention::{Attention, CrossAttention};
use super::config::LayerLayout;
use super::convolution::Convolution;
use super::embeddings::Embeddings;
use super::feed_forward::FeedForward;
use super::relative_positions::{PositionRows, Positions, RelativePositions};
use super::trained::ProductRanks;
use super::{Builder, Linear, ModelConfig, ModelError, Norm, PackedLinears, Pass, sites};

#[derive(Debug, Clone)]
pub(super) struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    norm: Option<Norm>,
    relative_positions: Option<RelativePositions>,
    /// Beside the first layer.
    convolution: Option<Convolution>,
}

#[derive(Debug, Clone)]
struct Layer {
    layout: LayerLayout,
    attention: Attention,
    /// Absent in a first layer whose input is normed already.
    attention_norm: Option<Norm>,
    /// Of a decoder.
    cross: Option<Cross>,
    feed_forward: FeedForward,
    feed_forward_norm: Norm,
    attention_dropout: f64,
    feed_forward_dropout: f64,
    /// The first dropout site.
    site: usize,
}

/// The part of a decoder's layer that looks at the encoder.
#[derive(Debug, Clone)]
struct Cross {
    attention: CrossAttention,
    norm: Norm,
}

/// What layers get beside the hidden states: nothing, for most families.
#[derive(Clone, Default)]
struct Context {
    /// The last hidden states of the encoder.
    encoded: Option<Var>,
    positions: Option<Positions>,
}

/// What of it is no tensor.
#[derive(Clone)]
struct ContextShape {
    is_decoder: bool,
    rows: Option<PositionRows>,
}

impl Context {
    fn tensors(&self) -> impl Iterator<Item = &Var> {
        let positions = self.positions.as_ref().map(|positions| &positions.hidden);
        self.encoded.iter().chain(positions)
    }

    fn shape(&self) -> ContextShape {
        ContextShape {
            is_decoder: self.encoded.is_some(),
            rows: self.positions.as_ref().map(|positions| positions.rows.clone()),
        }
    }
}

impl ContextShape {
    /// The context with these tensors.
    fn with(&self, tensors: &[Var]) -> Context {
        let mut tensors = tensors.iter().cloned();
        Context {
            encoded: if self.is_decoder { tensors.next() } else { None },
            positions: self
                .rows
                .clone()
                .zip(tensors.next())
                .map(|(rows, hidden)| Positions { hidden, rows }),
        }
    }
}

impl Encoder {
    /// One whose layers are counted from `first_layer` on where dropout sites are concerned.
    pub fn build(config: &ModelConfig, first_layer: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let embeddings = Embeddings::build(config, builder)?;
        let layers = (0..config.num_hidden_layers)
            .map(|number| Layer::build(config, number, first_layer, builder))
            .collect::<Result<_, ModelError>>()?;
        let norm = match config.norms_output {
            false => None,
            true => Some(builder.norm(config, config.names().output_norm, config.hidden_size)?),
        };
        let relative_positions = match &config.relative {
            None => None,
            Some(relative) => Some(RelativePositions::build(config, relative, builder)?),
        };
        let convolution = match config.convolution {
            None => None,
            Some(convolution) => Some(Convolution::build(config, convolution, builder)?),
        };
        Ok(Self {
            embeddings,
            layers,
            norm,
            relative_positions,
            convolution,
        })
    }

    /// `[tokens, hidden_size]`. A decoder gets those of the encoder, which has as many tokens.
    pub fn forward(&self, pass: &Pass<'_>, encoded: Option<Var>) -> tensor::Result<Var> {
        let hidden = self.embeddings.forward(pass)?;
        self.run(pass, hidden, encoded)
    }

    /// What tokens start from: `[tokens, embedding_size]`.
    pub fn embed(&self, pass: &Pass<'_>) -> tensor::Result<Var> {
        self.embeddings.embed(pass)
    }

    /// As [`Self::forward`], for tokens that start from something else than [`Self::embed`] gives.
    pub fn forward_from(&self, pass: &Pass<'_>, embedded: &Var, encoded: Option<Var>) -> tensor::Result<Var> {
        let hidden = self.embeddings.forward_from(pass, embedded)?;
        self.run(pass, hidden, encoded)
    }

    /// The layers.
    fn run(&self, pass: &Pass<'_>, mut hidden: Var, encoded: Option<Var>) -> tensor::Result<Var> {
        let positions = self.relative_positions.as_ref();
        let positions = positions.map(|positions| positions.forward(pass)).transpose()?;
        let context = Context { encoded, positions };
        let shared = pass.tape.recomputes().then(|| Rc::new(pass.share()));
        for (number, layer) in self.layers.iter().enumerate() {
            let convolution = self.convolution.as_ref().filter(|_| number == 0);
            let input = convolution.map(|_| hidden.clone());
            hidden = match &shared {
                None => layer.forward(pass, hidden, &context)?,
                Some(shared) => {
                    let (layer, shared, shape) = (layer.clone(), Rc::clone(shared), context.shape());
                    let inputs: Vec<&Var> = std::iter::once(&hidden).chain(context.tensors()).collect();
                    pass.tape.recomputed(&inputs, move |tape, inputs| {
                        let context = shape.with(&inputs[1..]);
                        layer.forward(&shared.on(tape), inputs[0].clone(), &context)
                    })?
                }
            };
            if let Some((convolution, input)) = convolution.zip(input) {
                hidden = convolution.forward(pass, &input, &hidden)?;
            }
        }
        match &self.norm {
            None => Ok(hidden),
            Some(norm) => norm.forward(pass, &hidden),
        }
    }

    /// The products of relative positions, and what they make of them, which is the same in every pass without dropout.
    pub fn projected_positions(&self, pass: &Pass<'_>) -> tensor::Result<Vec<(&Linear, Var)>> {
        let Some(positions) = &self.relative_positions else {
            return Ok(Vec::new());
        };
        let positions = positions.all(pass)?;
        let mut all = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            all.extend(layer.attention.projected_positions(pass, &positions)?);
        }
        Ok(all)
    }

    /// The products that are taken of tokens.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        fn of_layer(layer: &Layer) -> impl Iterator<Item = &Linear> {
            let cross = layer.cross.iter().flat_map(|cross| cross.attention.linears());
            let attention = layer.attention.linears().into_iter();
            attention.chain(cross).chain(layer.feed_forward.linears())
        }
        self.embeddings
            .linears()
            .into_iter()
            .chain(self.layers.iter().flat_map(of_layer))
    }

    /// The table of words.
    pub fn words(&self) -> ParameterId {
        self.embeddings.words()
    }

    /// The halves of each layer that can be pruned.
    pub fn halves(&self) -> impl Iterator<Item = (&Attention, &FeedForward)> {
        self.layers.iter().map(|layer| (&layer.attention, &layer.feed_forward))
    }

    /// The attention of each layer.
    pub fn attentions_mut(&mut self) -> impl Iterator<Item = &mut Attention> {
        self.layers.iter_mut().map(|layer| &mut layer.attention)
    }

    /// The tables whose rows are summed up for each token.
    pub fn tables(&self) -> impl Iterator<Item = ParameterId> {
        self.embeddings.tables()
    }

    /// The products that are taken of relative positions.
    pub fn position_linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().filter_map(|layer| layer.attention.positions())
    }

    /// The largest ranks of what is added to each product.
    pub fn ranks(&self, parameters: &Parameters) -> ProductRanks {
        let mut ranks = ProductRanks::default();
        let raise = |rank: &mut usize, linear: &Linear| *rank = (*rank).max(linear.ranks(parameters));
        self.embeddings
            .linears()
            .iter()
            .for_each(|linear| raise(&mut ranks.projection, linear));
        for layer in &self.layers {
            let ([query_key_value, output], [first, second]) =
                (layer.attention.linears(), layer.feed_forward.linears());
            raise(&mut ranks.query_key_value, query_key_value);
            raise(&mut ranks.attention_output, output);
            raise(&mut ranks.first, first);
            raise(&mut ranks.second, second);
            layer
                .attention
                .positions()
                .iter()
                .for_each(|linear| raise(&mut ranks.positions, linear));
            if let Some(cross) = &layer.cross {
                let [query, key_value, output] = cross.attention.linears();
                raise(&mut ranks.cross_query, query);
                raise(&mut ranks.cross_key_value, key_value);
                raise(&mut ranks.attention_output, output);
            }
        }
        ranks
    }

    /// All products, those of relative positions included.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        fn of_layer(layer: &mut Layer) -> impl Iterator<Item = &mut Linear> {
            let cross = layer.cross.iter_mut().flat_map(|cross| cross.attention.linears_mut());
            let attention = layer.attention.linears_mut();
            attention.chain(cross).chain(layer.feed_forward.linears_mut())
        }
        let embeddings = self.embeddings.linears_mut().into_iter();
        embeddings.chain(self.layers.iter_mut().flat_map(of_layer))
    }

    /// What the products of low rank add to those of relative positions that are the same in every pass.
    pub fn add_to_kept_positions(&self, pass: &Pass<'_>, packed: &mut PackedLinears) -> tensor::Result<()> {
        let Some(positions) = &self.relative_positions else {
            return Ok(());
        };
        let positions = positions.all(pass)?;
        for linear in self.position_linears().filter(|linear| linear.is_adapted()) {
            if let Some(kept) = packed.kept(linear).cloned() {
                let kept = pass.tape.constant(kept);
                let output = linear.add_low_rank(pass, kept, &positions, Activation::Identity, 0)?;
                packed.keep(linear, output.into_value());
            }
        }
        Ok(())
    }
}

impl Layer {
    fn build(
        config: &ModelConfig,
        number: usize,
        first_layer: usize,
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let (names, size) = (config.names(), config.hidden_size);
        let (name, site) = (
            format!("{}.{number}", names.layer),
            sites::of_layer(first_layer + number),
        );
        let attention = Attention::build(config, number, &name, site, builder)?;
        let attention_norm = match number > 0 || config.norms_first_input {
            false => None,
            true => Some(builder.norm(config, &format!("{name}.{}", names.attention_norm), size)?),
        };
        let cross = match config.is_decoder {
            false => None,
            true => Some(Cross {
                attention: CrossAttention::build(config, &name, sites::CROSS_ATTENTION + 2 * number, builder)?,
                norm: builder.norm(config, &format!("{name}.{}", names.cross_norm), size)?,
            }),
        };
        Ok(Self {
            layout: config.layer_layout,
            attention,
            attention_norm,
            cross,
            feed_forward: FeedForward::build(config, &name, first_layer + number, builder)?,
            feed_forward_norm: builder.norm(config, &format!("{name}.{}", names.feed_forward_norm), size)?,
            attention_dropout: config.attention_output_dropout,
            feed_forward_dropout: config.output_dropout,
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same. Where nothing is recorded, hidden states are freed as soon as they are not needed.
    fn forward(&self, pass: &Pass<'_>, mut hidden: Var, context: &Context) -> tensor::Result<Var> {
        let attention_mask = pass.token_mask(self.attention_dropout, self.site + 1);
        let feed_forward_mask = pass.token_mask(self.feed_forward_dropout, self.site + 2);
        let normed = |norm: &Option<Norm>, hidden: &Var| match norm {
            None => Ok(hidden.clone()),
            Some(norm) => norm.forward(pass, hidden),
        };
        let positions = context.positions.as_ref();
        match self.layout {
            LayerLayout::PostNorm => {
                let output = self.attention.forward(pass, hidden.clone(), positions)?;
                hidden = match &self.attention_norm {
                    Some(norm) => norm.forward_residual(pass, output, &hidden, attention_mask)?,
                    None => ops::residual_dropout(pass.tape, output, &hidden, attention_mask)?,
                };
                if let Some((cross, encoded)) = self.cross.as_ref().zip(context.encoded.as_ref()) {
                    let output = cross.attention.forward(pass, hidden.clone(), encoded)?;
                    hidden =
                        cross
                            .norm
                            .forward_residual(pass, output, &hidden, cross.mask(pass, self.attention_dropout))?;
                }
                let output = self.feed_forward.forward(pass, hidden.clone())?;
                self.feed_forward_norm
                    .forward_residual(pass, output, &hidden, feed_forward_mask)
            }
            LayerLayout::PreNorm => {
                let output = self
                    .attention
                    .forward(pass, normed(&self.attention_norm, &hidden)?, positions)?;
                hidden = ops::residual_dropout(pass.tape, output, &hidden, attention_mask)?;
                if let Some((cross, encoded)) = self.cross.as_ref().zip(context.encoded.as_ref()) {
                    let output = cross
                        .attention
                        .forward(pass, cross.norm.forward(pass, &hidden)?, encoded)?;
                    let mask = cross.mask(pass, self.attention_dropout);
                    hidden = ops::residual_dropout(pass.tape, output, &hidden, mask)?;
                }
                let output = self
                    .feed_forward
                    .forward(pass, self.feed_forward_norm.forward(pass, &hidden)?)?;
                ops::residual_dropout(pass.tape, output, &hidden, feed_forward_mask)
            }
            LayerLayout::Parallel => {
                let output = self
                    .attention
                    .forward(pass, normed(&self.attention_norm, &hidden)?, positions)?;
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

impl Cross {
    /// The dropout of its output.
    fn mask(&self, pass: &Pass<'_>, probability: f64) -> Option<tensor::Dropout> {
        pass.token_mask(probability, self.attention.output_site())
    }
}
