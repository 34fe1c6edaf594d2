//! Models as graphs: the second reading of what `model/` computes, from the same [`ModelConfig`], the same names and the same parameters. It says of
//! each part what the file of that name in `model/` says, without dropout, for padded batches instead of packed ones.

use std::ops::Range;

use tensor::ops::{Pooling, Window};

use super::ExportError;
use super::emitter::Emitter;
use super::file::ElementType;
use super::graph::{Attribute, Graph, Value};
use crate::model::{DecoderStart, LayerLayout, Model, ModelConfig, Positions};

/// The graph of a model: from `input_ids`, `attention_mask` and perhaps `token_type_ids` to `logits`.
pub(super) fn emit(model: &Model) -> Result<Graph<'_>, ExportError> {
    let config = model.config();
    if config.head.pooling == Pooling::Last {
        return Err(ExportError::Decoder(config.family));
    }
    let mut emitter = Emitter::new(config, &model.parameters);
    let ids = emitter.inputs.input_ids.clone();
    let mut hidden = emitter.encoder(config, &ids, None)?;
    if let Some((of_decoder, decoder)) = config.of_decoder().zip(config.decoder) {
        let ids = emitter.behind(decoder.start);
        hidden = emitter.encoder(&of_decoder, &ids, Some(&hidden))?;
    }
    let logits = emitter.head(config, &hidden)?;
    let mut graph = emitter.graph;
    graph.output("logits", &logits, model.schema().num_labels());
    Ok(graph)
}

impl Emitter<'_> {
    /// Embeddings, layers and the norm behind them: `[batch, sequence, hidden_size]`.
    fn encoder(&mut self, config: &ModelConfig, ids: &Value, encoded: Option<&Value>) -> Result<Value, ExportError> {
        let names = config.names();
        self.graph.enter(&format!("/{}/embeddings", names.prefix));
        let mut hidden = self.embeddings(config, ids)?;
        self.prepare_relative_positions(config)?;
        for number in 0..config.num_hidden_layers {
            let name = format!("{}.{}.{number}", names.prefix, names.layer);
            self.graph.enter(&format!("/{}", name.replace('.', "/")));
            let input = hidden.clone();
            hidden = self.layer(config, number, &name, &hidden, encoded)?;
            if number == 0 && config.convolution.is_some() {
                hidden = self.convolution(config, &input, &hidden)?;
            }
        }
        match config.norms_output {
            false => Ok(hidden),
            true => self.norm(config, &hidden, &format!("{}.{}", names.prefix, names.output_norm)),
        }
    }

    fn embeddings(&mut self, config: &ModelConfig, ids: &Value) -> Result<Value, ExportError> {
        let names = config.names();
        let full = |part: &str| format!("{}.{part}", names.prefix);
        let table = |part: &str| format!("{}.{part}.weight", names.prefix);
        let mut sum = self.lookup(&table(names.word_embeddings), ids)?;
        if config.embedding_scale != 1.0 {
            let scale = self.graph.float(config.embedding_scale as f32);
            sum = self.graph.mul(&sum, &scale);
        }
        if config.type_vocab_size > 0 {
            let name = table(names.token_type_embeddings);
            let rows = match self.inputs.token_type_ids.clone() {
                Some(types) => self.lookup(&name, &types)?,
                None => {
                    let first = self.graph.int(0);
                    self.lookup(&name, &first)?
                }
            };
            sum = self.graph.add(&sum, &rows);
        }
        if let Positions::Learned { offset } = config.positions {
            let rows = self.first_rows(&table(names.position_embeddings), offset)?;
            sum = self.graph.add(&sum, &rows);
        }
        if config.norms_embeddings {
            sum = self.norm(config, &sum, &full(names.embeddings_norm))?;
        }
        match config.embedding_size == config.hidden_size {
            true => Ok(sum),
            false => self.linear(&sum, &full(names.embeddings_project)),
        }
    }

    /// `encoded` are the last hidden states of the encoder, if this is the layer of a decoder.
    fn layer(
        &mut self,
        config: &ModelConfig,
        number: usize,
        name: &str,
        hidden: &Value,
        encoded: Option<&Value>,
    ) -> Result<Value, ExportError> {
        let names = config.names();
        let full = |part: &str| format!("{name}.{part}");
        let (attention_norm, cross_norm) = (full(names.attention_norm), full(names.cross_norm));
        let feed_forward_norm = full(names.feed_forward_norm);
        let has_norm = number > 0 || config.norms_first_input;
        let normed = |emitter: &mut Self, value: &Value, norm: &str, is_there: bool| match is_there {
            false => Ok(value.clone()),
            true => emitter.norm(config, value, norm),
        };
        match config.layer_layout {
            LayerLayout::PostNorm => {
                let output = self.attention(config, number, name, hidden)?;
                let sum = self.graph.add(&output, hidden);
                let mut hidden = normed(self, &sum, &attention_norm, has_norm)?;
                if let Some(encoded) = encoded {
                    let output = self.cross_attention(config, name, &hidden, encoded)?;
                    let sum = self.graph.add(&output, &hidden);
                    hidden = self.norm(config, &sum, &cross_norm)?;
                }
                let output = self.feed_forward(config, name, &hidden)?;
                let sum = self.graph.add(&output, &hidden);
                self.norm(config, &sum, &feed_forward_norm)
            }
            LayerLayout::PreNorm => {
                let input = normed(self, hidden, &attention_norm, has_norm)?;
                let output = self.attention(config, number, name, &input)?;
                let mut hidden = self.graph.add(&output, hidden);
                if let Some(encoded) = encoded {
                    let input = self.norm(config, &hidden, &cross_norm)?;
                    let output = self.cross_attention(config, name, &input, encoded)?;
                    hidden = self.graph.add(&output, &hidden);
                }
                let input = self.norm(config, &hidden, &feed_forward_norm)?;
                let output = self.feed_forward(config, name, &input)?;
                Ok(self.graph.add(&output, &hidden))
            }
            LayerLayout::Parallel => Err(ExportError::Decoder(config.family)),
        }
    }

    fn attention(
        &mut self,
        config: &ModelConfig,
        number: usize,
        name: &str,
        input: &Value,
    ) -> Result<Value, ExportError> {
        let (names, attention) = (config.names(), config.layer_attention[number]);
        let parts = match names.query_key_value {
            [fused] => {
                let size = config.query_size();
                let rows = |part: usize| Some(part * size..(part + 1) * size);
                [0, 1, 2].map(|part| (format!("{name}.{fused}"), rows(part)))
            }
            separate => [0, 1, 2].map(|part| (format!("{name}.{}", separate[part]), None)),
        };
        let made = |emitter: &mut Self, (name, rows): &(String, Option<Range<usize>>)| {
            let product = emitter.linear_of(input, name, rows.clone())?;
            Ok::<Value, ExportError>(emitter.heads(config, &product))
        };
        let queries = made(self, &parts[0])?;
        let queries = self.turned(config, &queries, attention.rotary)?;
        let keys = made(self, &parts[1])?;
        let keys = self.turned(config, &keys, attention.rotary)?;
        let values = made(self, &parts[2])?;
        let mask = self.mask(attention.window, !config.is_decoder);
        let context = match config.relative {
            None => {
                let scale = config.score_scale.unwrap_or(1.0 / (config.head_dim as f64).sqrt());
                let (queries, keys) = (self.before(&queries), self.graph.transpose(&keys, &[0, 2, 3, 1]));
                let scores = self.graph.matmul(&queries, &keys);
                self.context(config, &scores, scale, &mask, &values)
            }
            Some(relative) => {
                let positions = match relative.shares_projections {
                    true => [parts[1].0.clone(), parts[0].0.clone()],
                    false => names.position_key_query.map(|part| format!("{name}.{part}")),
                };
                let turned_keys = self.graph.transpose(&keys, &[0, 2, 3, 1]);
                let (queries, keys) = (self.before(&queries), self.before(&keys));
                let mut scores = self.graph.matmul(&queries, &turned_keys);
                let positions = [positions[0].as_str(), positions[1].as_str()];
                for term in self.relative_scores(config, relative, [&queries, &keys], positions)? {
                    scores = self.graph.add(&scores, &term);
                }
                let scale = tensor::ops::disentangled_scale(config.head_dim, 1 + relative.terms());
                self.context(config, &scores, scale, &mask, &values)
            }
        };
        self.linear(&context, &format!("{name}.{}", names.attention_output))
    }

    /// Attention of a decoder's tokens to those of the encoder.
    fn cross_attention(
        &mut self,
        config: &ModelConfig,
        name: &str,
        input: &Value,
        encoded: &Value,
    ) -> Result<Value, ExportError> {
        let names = config.names();
        let [query, key, value] = names.cross_query_key_value.map(|part| format!("{name}.{part}"));
        let made = |emitter: &mut Self, input: &Value, name: &str| {
            let product = emitter.linear(input, name)?;
            Ok::<Value, ExportError>(emitter.heads(config, &product))
        };
        let queries = made(self, input, &query)?;
        let keys = made(self, encoded, &key)?;
        let values = made(self, encoded, &value)?;
        let mask = self.mask(Window::ALL, true);
        let (queries, keys) = (self.before(&queries), self.graph.transpose(&keys, &[0, 2, 3, 1]));
        let scores = self.graph.matmul(&queries, &keys);
        let scale = 1.0 / (config.head_dim as f64).sqrt();
        let context = self.context(config, &scores, scale, &mask, &values);
        self.linear(&context, &format!("{name}.{}", names.cross_output))
    }

    /// `[batch, sequence, heads * head_dim]` to `[batch, sequence, heads, head_dim]`
    fn heads(&mut self, config: &ModelConfig, value: &Value) -> Value {
        let shape = [0, 0, config.num_attention_heads as i64, config.head_dim as i64];
        self.graph.reshape(value, &shape)
    }

    /// Heads before tokens.
    fn before(&mut self, heads: &Value) -> Value {
        self.graph.transpose(heads, &[0, 2, 1, 3])
    }

    /// softmax(scale scores + mask) v, heads side by side.
    fn context(&mut self, config: &ModelConfig, scores: &Value, scale: f64, mask: &Value, values: &Value) -> Value {
        let divisor = self.graph.float((1.0 / scale) as f32);
        let scores = self.graph.div(scores, &divisor);
        let scores = self.graph.add(&scores, mask);
        let probabilities = self
            .graph
            .operation("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let values = self.before(values);
        let context = self.graph.matmul(&probabilities, &values);
        let context = self.graph.transpose(&context, &[0, 2, 1, 3]);
        self.graph.reshape(&context, &[0, 0, config.query_size() as i64])
    }

    fn feed_forward(&mut self, config: &ModelConfig, name: &str, input: &Value) -> Result<Value, ExportError> {
        let (names, size) = (config.names(), config.intermediate_size);
        let full = |part: &str| format!("{name}.{part}");
        let inner = match (config.is_gated, names.intermediate) {
            (false, parts) => {
                let inner = self.linear(input, &full(parts[0]))?;
                self.graph.activate(&inner, config.hidden_act)
            }
            (true, parts) => {
                let (gate, up) = match parts {
                    [fused] => (
                        self.linear_of(input, &full(fused), Some(0..size))?,
                        self.linear_of(input, &full(fused), Some(size..2 * size))?,
                    ),
                    separate => (
                        self.linear(input, &full(separate[0]))?,
                        self.linear(input, &full(separate[1]))?,
                    ),
                };
                let gate = self.graph.activate(&gate, config.hidden_act);
                self.graph.mul(&gate, &up)
            }
        };
        self.linear(&inner, &full(names.output))
    }

    /// What stands beside the first layer.
    fn convolution(&mut self, config: &ModelConfig, input: &Value, output: &Value) -> Result<Value, ExportError> {
        let (names, Some(convolution)) = (config.names(), config.convolution) else {
            return Ok(output.clone());
        };
        let name = format!("{}.{}", names.prefix, names.convolution);
        let weight = self.tensor(&format!("{name}.weight"))?;
        let bias = self.tensor(&format!("{name}.bias"))?;
        // Beyond the ends of a sequence there are zeros, not padding.
        let tokens = self.token_weights();
        let input = self.graph.mul(input, &tokens);
        let input = self.graph.transpose(&input, &[0, 2, 1]);
        let reach = (convolution.width / 2) as i64;
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![convolution.width as i64])),
            ("pads", Attribute::Ints(vec![reach, reach])),
        ];
        let local = self.graph.operation("Conv", &[&input, &weight, &bias], &attributes);
        let local = self.graph.transpose(&local, &[0, 2, 1]);
        let local = self.graph.activate(&local, convolution.activation);
        let sum = self.graph.add(&local, output);
        self.norm(config, &sum, &format!("{}.{}", names.prefix, names.convolution_norm))
    }

    /// The tokens one place further right, with what a decoder starts from in front.
    fn behind(&mut self, start: DecoderStart) -> Value {
        let ids = self.inputs.input_ids.clone();
        let first = match start {
            DecoderStart::Token(id) => {
                let (zero, id) = (self.graph.int(0), self.graph.int(id.into()));
                let column = self.graph.slice_at(&ids, 0, 1, 1);
                let column = self.graph.mul(&column, &zero);
                self.graph.add(&column, &id)
            }
            DecoderStart::LastToken => {
                let (counts, one) = (self.token_counts(), self.graph.int(1));
                let last = self.graph.sub(&counts, &one);
                self.graph
                    .operation("GatherElements", &[&ids, &last], &[("axis", Attribute::Int(1))])
            }
        };
        let rest = self.graph.slice_at(&ids, 0, -1, 1);
        self.graph.concat(&[&first, &rest], 1)
    }

    /// `[batch, sequence, hidden_size]` to `[batch, labels]`.
    fn head(&mut self, config: &ModelConfig, hidden: &Value) -> Result<Value, ExportError> {
        self.graph.enter("/head");
        let (names, shape) = (config.names(), config.head);
        let mut pooled = self.pooled(config, hidden);
        if let Some(dense) = shape.dense {
            pooled = self.linear(&pooled, names.head_dense)?;
            pooled = self.graph.activate(&pooled, dense.activation);
            if dense.norm {
                pooled = self.norm(config, &pooled, names.head_norm)?;
            }
        }
        self.linear(&pooled, names.classifier)
    }

    /// What of each sequence is classified.
    fn pooled(&mut self, config: &ModelConfig, hidden: &Value) -> Value {
        if let Some(id) = config.head.last_of {
            let (ids, tokens) = (self.inputs.input_ids.clone(), self.inputs.attention_mask.clone());
            let id = self.graph.int(id.into());
            let found = self.graph.operation("Equal", &[&ids, &id], &[]);
            let found = self.graph.cast(&found, ElementType::Int64);
            let found = self.graph.mul(&found, &tokens);
            let places = self.places();
            let found = self.graph.mul(&found, &places);
            let last = self
                .graph
                .operation("ReduceMax", &[&found], &[("axes", Attribute::Ints(vec![1]))]);
            return self
                .graph
                .operation("GatherND", &[hidden, &last], &[("batch_dims", Attribute::Int(1))]);
        }
        match config.head.pooling {
            Pooling::Mean => {
                let (weights, axes) = (self.token_weights(), self.graph.ints(&[1]));
                let weighted = self.graph.mul(hidden, &weights);
                let attributes = [("keepdims", Attribute::Int(0))];
                let sum = self.graph.operation("ReduceSum", &[&weighted, &axes], &attributes);
                let count = self.graph.operation("ReduceSum", &[&weights, &axes], &attributes);
                self.graph.div(&sum, &count)
            }
            Pooling::First | Pooling::Last => {
                let first = self.graph.int(0);
                self.graph.gather(hidden, &first, 1)
            }
        }
    }
}
