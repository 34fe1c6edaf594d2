//! Multi-head attention: queries, keys and values, what tells them their places, and the product behind. Keys and values of a
//! decoder's second attention are those of the encoder.
//!
//! Not here: the residual sum and the norms around it (`encoder.rs`).

use tensor::ops::{AttentionShape, Heads};
use tensor::{Activation, Parameters, Var, ops};

use super::relative_positions::{Positions, RelativeAttention};
use super::{Builder, Linear, ModelConfig, ModelError, Norm, Pass, sites};

#[derive(Debug, Clone)]
pub(super) struct Attention {
    query_key_value: Linear,
    relative: Option<PositionProjection>,
    /// The norms of each head of queries and of keys.
    head_norms: Option<[Norm; 2]>,
    /// Which of the pass's rotations are applied.
    rotary: Option<usize>,
    shape: AttentionShape,
    output: Linear,
    dropout: f64,
    /// Dropout site of the probabilities.
    site: usize,
}

impl Attention {
    /// That of the layer with this number, whose names begin with `name`.
    pub fn build(
        config: &ModelConfig,
        number: usize,
        name: &str,
        site: usize,
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let names = config.names();
        let (hidden, queries, keys) = (config.hidden_size, config.query_size(), config.key_size());
        let full = |part: &str| format!("{name}.{part}");
        let sizes: &[usize] = match names.query_key_value {
            [_] => &[queries + 2 * keys],
            _ => &[queries, keys, keys],
        };
        let mut parts = Vec::with_capacity(sizes.len());
        for (part, &size) in names.query_key_value.iter().zip(sizes) {
            let has_bias = config.biases.query_key_value;
            parts.push(builder.linear(names.prefix, &full(part), hidden, size, has_bias)?);
        }
        let relative = match config.relative {
            None => None,
            Some(relative) => Some(PositionProjection::build(
                config, relative, number, name, &parts, builder,
            )?),
        };
        let head_norms = match config.norms_queries_and_keys {
            false => None,
            true => Some([
                builder.norm(config, &full(names.query_norm), config.head_dim)?,
                builder.norm(config, &full(names.key_norm), config.head_dim)?,
            ]),
        };
        let has_bias = config.biases.attention_output;
        let attention = config.layer_attention[number];
        Ok(Self {
            query_key_value: Linear::side_by_side(parts),
            relative,
            head_norms,
            rotary: (!config.rotaries().is_empty()).then_some(attention.rotary),
            shape: AttentionShape {
                heads: config.heads(),
                window: attention.window,
                scale: config.score_scale,
            },
            output: builder.linear(names.prefix, &full(names.attention_output), queries, hidden, has_bias)?,
            dropout: config.attention_dropout,
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same.
    pub fn forward(&self, pass: &Pass<'_>, input: Var, positions: Option<&Positions>) -> tensor::Result<Var> {
        let mut query_key_value = self.query_key_value.forward(pass, &input, Activation::Identity)?;
        drop(input);
        let heads: Heads = self.shape.heads;
        if let Some([query, key]) = &self.head_norms {
            let ((query, epsilon), (key, _)) = (query.weight(pass), key.weight(pass));
            query_key_value = ops::head_norm(pass.tape, &query_key_value, heads, &query, &key, epsilon)?;
        }
        let starts = &pass.batch.sequence_starts;
        if let Some(rotations) = self.rotary.and_then(|rotary| pass.rotations.get(rotary)) {
            query_key_value = ops::rope(pass.tape, query_key_value, starts, heads, rotations)?;
        }
        let dropout = pass.token_mask(self.dropout, self.site);
        let context = match self.relative.as_ref().zip(positions) {
            None => ops::attention(pass.tape, &query_key_value, starts, self.shape, dropout)?,
            Some((relative, positions)) => {
                let (projections, row_of_distance) = relative.forward(pass, positions)?;
                let positions = ops::RelativePositions {
                    projections: &projections,
                    has_keys: relative.relative.has_keys,
                    has_queries: relative.relative.has_queries,
                    row_of_distance: &row_of_distance,
                };
                ops::disentangled_attention(pass.tape, &query_key_value, positions, starts, heads.queries, dropout)?
            }
        };
        self.output.forward(pass, &context, Activation::Identity)
    }

    /// The product of relative positions, and what it makes of them.
    pub fn projected_positions(&self, pass: &Pass<'_>, positions: &Var) -> tensor::Result<Option<(&Linear, Var)>> {
        let project = |PositionProjection { linear, .. }: &'_ PositionProjection| {
            linear.forward(pass, positions, Activation::Identity)
        };
        let projected = self.relative.as_ref().map(project).transpose()?;
        Ok(self.relative.as_ref().map(|relative| &relative.linear).zip(projected))
    }

    /// The products that are taken of tokens.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.query_key_value, &self.output]
    }

    /// Where queries, keys and values stand.
    pub fn heads(&self) -> Heads {
        self.shape.heads
    }

    /// Says that there are so many heads, where the weights of others were taken away.
    pub fn set_heads(&mut self, heads: usize, parameters: &Parameters) {
        self.shape.heads = Heads::equal(heads);
        self.linears_mut().for_each(|linear| linear.measure(parameters));
    }

    /// Those, and that of relative positions.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        let relative = self.relative.iter_mut().map(|relative| &mut relative.linear);
        [&mut self.query_key_value, &mut self.output]
            .into_iter()
            .chain(relative)
    }

    /// The product of relative positions.
    pub fn positions(&self) -> Option<&Linear> {
        self.relative.as_ref().map(|relative| &relative.linear)
    }
}

/// Makes keys and queries of relative positions.
#[derive(Debug, Clone)]
struct PositionProjection {
    linear: Linear,
    relative: RelativeAttention,
    dropout: f64,
    site: usize,
}

impl PositionProjection {
    /// Of `contents`, the products that make queries, keys and values of tokens, it shares those that it is told to.
    fn build(
        config: &ModelConfig,
        relative: RelativeAttention,
        number: usize,
        name: &str,
        contents: &[Linear],
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let (names, size) = (config.names(), config.hidden_size);
        let [key, query] = names.position_key_query;
        let mut parts = Vec::new();
        for (is_there, of_contents, part) in [
            (relative.has_keys, contents.get(1), key),
            (relative.has_queries, contents.first(), query),
        ] {
            match of_contents {
                _ if !is_there => {}
                Some(linear) if relative.shares_projections => parts.push(linear.clone()),
                _ => parts.push(builder.linear(names.prefix, &format!("{name}.{part}"), size, size, true)?),
            }
        }
        Ok(Self {
            linear: Linear::side_by_side(parts),
            relative,
            dropout: config.embedding_dropout,
            site: sites::POSITIONS + number,
        })
    }

    /// `[rows, hidden_size]` to `[rows, terms * hidden_size]`, and the row of each distance.
    fn forward(&self, pass: &Pass<'_>, positions: &Positions) -> tensor::Result<(Var, Vec<u32>)> {
        let rows = &positions.rows;
        if let Some(kept) = pass.packed.and_then(|packed| packed.kept(&self.linear)) {
            // Those of the whole table.
            let rows = rows.of_distance.iter().map(|row| row + rows.first as u32).collect();
            return Ok((pass.tape.constant(kept.clone()), rows));
        }
        let dropout = pass.mask(self.dropout, self.site, rows.first as u64);
        let hidden = ops::dropout(pass.tape, &positions.hidden, dropout)?;
        let first = rows.first as u64;
        let projections = self.linear.forward_from(pass, &hidden, Activation::Identity, first)?;
        Ok((projections, rows.of_distance.clone()))
    }
}

/// Attention of a decoder's tokens to those of the encoder.
#[derive(Debug, Clone)]
pub(super) struct CrossAttention {
    query: Linear,
    key_value: Linear,
    output: Linear,
    heads: usize,
    dropout: f64,
    /// Dropout site of the probabilities.
    site: usize,
}

impl CrossAttention {
    /// That of the layer whose names begin with `name`.
    pub fn build(config: &ModelConfig, name: &str, site: usize, builder: &mut Builder) -> Result<Self, ModelError> {
        let (names, size) = (config.names(), config.hidden_size);
        let mut linear = |part: &str| builder.linear(names.prefix, &format!("{name}.{part}"), size, size, true);
        let [query, key, value] = names.cross_query_key_value;
        Ok(Self {
            query: linear(query)?,
            key_value: Linear::side_by_side([linear(key)?, linear(value)?]),
            output: linear(names.cross_output)?,
            heads: config.num_attention_heads,
            dropout: config.attention_dropout,
            site,
        })
    }

    /// `[tokens, hidden_size]` to the same. `encoded` has the same tokens.
    pub fn forward(&self, pass: &Pass<'_>, input: Var, encoded: &Var) -> tensor::Result<Var> {
        let query = self.query.forward(pass, &input, Activation::Identity)?;
        drop(input);
        let key_value = self.key_value.forward(pass, encoded, Activation::Identity)?;
        let query_key_value = ops::side_by_side(pass.tape, &[&query, &key_value])?;
        drop((query, key_value));
        let dropout = pass.token_mask(self.dropout, self.site);
        let shape = AttentionShape::bidirectional(self.heads);
        let context = ops::attention(pass.tape, &query_key_value, &pass.batch.sequence_starts, shape, dropout)?;
        drop(query_key_value);
        self.output.forward(pass, &context, Activation::Identity)
    }

    /// Dropout site of what it gives.
    pub fn output_site(&self) -> usize {
        self.site + 1
    }

    /// The products.
    pub fn linears(&self) -> [&Linear; 3] {
        [&self.query, &self.key_value, &self.output]
    }

    /// The same.
    pub fn linears_mut(&mut self) -> [&mut Linear; 3] {
        [&mut self.query, &mut self.key_value, &mut self.output]
    }
}
