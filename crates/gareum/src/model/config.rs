//! The sizes and rates of an encoder, read from a `config.json`.

use std::path::Path;

use serde_json::{Map, Value};
use tensor::Activation;
use tensor::ops::{Heads, NormKind, Pooling, Window};

use super::families::Names;
use super::quantization;
use super::relative_positions::RelativeAttention;
use super::rotary::Rotary;
use super::{Family, ModelError};
use crate::data::{LabelSchema, Task};
use crate::tokens::PackedBatch;

/// What a `config.json` says, in one vocabulary for all families: every difference between them but names is a value here.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Whose names the checkpoint has.
    pub family: Family,
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of the word embedding; where it is not `hidden_size`, a projection follows (ELECTRA small).
    pub embedding_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of queries of each attention.
    pub num_attention_heads: usize,
    /// Heads of keys and values, a divisor of those of queries.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Whether query, key and value of one head are neighbours in a fused weight (GPT-NeoX).
    pub interleaves_heads: bool,
    /// Whether queries and keys are normed head by head (Qwen3).
    pub norms_queries_and_keys: bool,
    /// Width inside of the feed-forward half.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward half.
    pub hidden_act: Activation,
    /// Whether the non-linearity is of one product and multiplied with another (SwiGLU, GeGLU).
    pub is_gated: bool,
    /// Rows of the position embedding, or the longest sequence that rotary positions are for.
    pub max_position_embeddings: usize,
    /// How tokens know their places.
    pub positions: Positions,
    /// How attention depends on the distance of tokens, if it does (DeBERTa).
    pub relative: Option<RelativeAttention>,
    /// What products of queries and keys are multiplied by without relative attention; 1 / √head_dim if not given.
    pub score_scale: Option<f64>,
    /// What stands beside the first layer, if anything (DeBERTa-v2).
    pub convolution: Option<Convolution>,
    /// The decoder behind the encoder, if there is one (BART).
    pub decoder: Option<Decoder>,
    /// Whether this is such a decoder ([`Self::of_decoder`]): its layers also look at the encoder's output.
    pub is_decoder: bool,
    /// What word embeddings are multiplied by.
    pub embedding_scale: f64,
    /// What the attention of each layer sees.
    pub layer_attention: Vec<LayerAttention>,
    /// Rows of the token type embedding; 0 if the family has none.
    pub type_vocab_size: usize,
    /// Which norm there is.
    pub norm: NormKind,
    /// Whether norms add a bias.
    pub has_norm_bias: bool,
    /// ε of every norm.
    pub layer_norm_eps: f64,
    /// Where the norms of a layer are.
    pub layer_layout: LayerLayout,
    /// Whether the sum of the embeddings is normed.
    pub norms_embeddings: bool,
    /// Whether the first layer norms its input, where layers do (ModernBERT's does not).
    pub norms_first_input: bool,
    /// Whether the last hidden states are normed.
    pub norms_output: bool,
    /// Which products of a layer add a bias.
    pub biases: Biases,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Dropout rate of the embeddings.
    pub embedding_dropout: f64,
    /// Dropout rate of attention probabilities.
    pub attention_dropout: f64,
    /// Dropout rate of the output of the attention half.
    pub attention_output_dropout: f64,
    /// Dropout rate inside of the feed-forward half.
    pub inner_dropout: f64,
    /// Dropout rate of the output of the feed-forward half.
    pub output_dropout: f64,
    /// Dropout rate inside of the head.
    pub classifier_dropout: f64,
    /// Dropout rate of what goes into the head, where that is another.
    pub pooler_dropout: Option<f64>,
    /// What stands between the last hidden states and the logits.
    pub head: HeadShape,
    /// `id2label` in order of the ids, if there is one.
    pub(super) id2label: Option<Vec<String>>,
    pub(super) problem_type: Option<String>,
}

/// How tokens know their places.
#[derive(Debug, Clone)]
pub enum Positions {
    /// They do not, or from relative attention alone.
    None,
    /// A trained row for each place, added to the embeddings.
    Learned {
        /// The position of a sequence's first token: 0, or RoBERTa's `pad_token_id + 1`.
        offset: usize,
    },
    /// Queries and keys are turned, in ways that [`LayerAttention::rotary`] chooses from.
    Rotary(Vec<Rotary>),
}

/// A convolution over the embeddings of neighbouring tokens. It is added to what the first layer makes of them, and normed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convolution {
    /// Tokens that an output depends on: an odd number.
    pub width: usize,
    /// The non-linearity behind it.
    pub activation: Activation,
}

/// What a decoder has of its own, beside an encoder with the same tokens, one place further right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoder {
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width inside of the feed-forward half.
    pub intermediate_size: usize,
    /// What stands in front.
    pub start: DecoderStart,
}

/// What a decoder's first token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderStart {
    /// The same for every sequence.
    Token(u32),
    /// The sequence's last token (mBART, where it names the language).
    LastToken,
}

/// What the attention of a layer sees, and how it is told places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerAttention {
    /// How far a token sees.
    pub window: Window,
    /// Which of [`Positions::Rotary`] is used; without meaning for others.
    pub rotary: usize,
}

/// Where the norms of a layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerLayout {
    /// Behind the residual sum of each half (BERT).
    PostNorm,
    /// Before the products of each half.
    PreNorm,
    /// Before the products of each half, and both halves read the layer's input (GPT-NeoX).
    Parallel,
}

impl DecoderStart {
    /// The batch with one more token in front of every sequence and without its last.
    pub(super) fn in_front_of(self, batch: &PackedBatch) -> PackedBatch {
        let mut shifted = batch.clone();
        for pair in batch.sequence_starts.windows(2) {
            let ids = &mut shifted.input_ids[pair[0] as usize..pair[1] as usize];
            let Some(&last) = ids.last() else { continue };
            ids.rotate_right(1);
            ids[0] = match self {
                Self::Token(id) => id,
                Self::LastToken => last,
            };
        }
        shifted
    }
}

/// Which products of a layer add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub query_key_value: bool,
    /// The output of attention.
    pub attention_output: bool,
    /// The products of the feed-forward half.
    pub feed_forward: bool,
}

impl Biases {
    /// All or none of them.
    pub(super) fn all(present: bool) -> Self {
        Self {
            query_key_value: present,
            attention_output: present,
            feed_forward: present,
        }
    }
}

/// A head is: pooled hidden state → dropout → dense → activation → norm → dropout → classifier, some of which a family lacks.
#[derive(Debug, Clone, Copy)]
pub struct HeadShape {
    /// What of a sequence is classified.
    pub pooling: Pooling,
    /// The last token with this id instead, which every sequence must have: the end of its sentence (BART).
    pub last_of: Option<u32>,
    /// Whether that is dropped out before anything else.
    pub input_dropout: bool,
    /// The hidden product, if there is one.
    pub dense: Option<HeadDense>,
    /// Whether the classifier adds a bias.
    pub classifier_bias: bool,
}

/// The hidden product of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadDense {
    /// What follows it.
    pub activation: Activation,
    /// Whether it adds a bias.
    pub bias: bool,
    /// Whether a norm follows the activation.
    pub norm: bool,
    /// Whether it was trained before and with the encoder, so that a checkpoint's own is used (BERT's pooler).
    pub is_pretrained: bool,
}

impl HeadShape {
    /// First token → dense → activation → dropout → classifier, all with biases.
    pub(super) const fn of_first_token(activation: Activation) -> Self {
        Self {
            pooling: Pooling::First,
            last_of: None,
            input_dropout: false,
            dense: Some(HeadDense {
                activation,
                bias: true,
                norm: false,
                is_pretrained: false,
            }),
            classifier_bias: true,
        }
    }

    /// Last token → classifier without a bias, as decoders have it.
    pub(super) const OF_LAST_TOKEN: Self = Self {
        pooling: Pooling::Last,
        last_of: None,
        input_dropout: false,
        dense: None,
        classifier_bias: false,
    };
}

/// The sizes that no family lacks.
pub(super) struct Sizes {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: Activation,
    pub max_position_embeddings: usize,
}

impl Sizes {
    /// Those of a config with BERT's names.
    pub fn read(keys: &Keys<'_>, activation_key: &str, activation: Activation) -> Result<Self, ModelError> {
        Ok(Self {
            vocab_size: keys.size("vocab_size")?,
            hidden_size: keys.size("hidden_size")?,
            num_hidden_layers: keys.size("num_hidden_layers")?,
            num_attention_heads: keys.size("num_attention_heads")?,
            intermediate_size: keys.size("intermediate_size")?,
            hidden_act: keys.activation_or(activation_key, activation)?,
            max_position_embeddings: keys.size("max_position_embeddings")?,
        })
    }
}

/// Reads keys of one `config.json` and makes errors that name it.
pub(super) struct Keys<'a> {
    config: &'a Map<String, Value>,
    path: &'a str,
    /// Where `config` stands in the file, with a dot behind it.
    within: String,
}

impl<'a> Keys<'a> {
    pub fn new(config: &'a Map<String, Value>, path: &'a str) -> Self {
        Self {
            config,
            path,
            within: String::new(),
        }
    }

    pub fn error(&self, key: &str, expected: &str) -> ModelError {
        let found = self.config.get(key).map_or("missing".to_owned(), Value::to_string);
        ModelError::Config {
            path: self.path.to_owned(),
            key: format!("{}{key}", self.within),
            found,
            expected: expected.to_owned(),
        }
    }

    pub fn present(&self, key: &str) -> Option<&'a Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, be it `null`.
    pub fn mentions(&self, key: &str) -> bool {
        self.config.contains_key(key)
    }

    /// The keys of an object inside, if it is there.
    pub fn inside(&self, key: &str) -> Result<Option<Self>, ModelError> {
        let Some(value) = self.present(key) else {
            return Ok(None);
        };
        let config = value.as_object().ok_or_else(|| self.error(key, "an object"))?;
        Ok(Some(Self {
            config,
            path: self.path,
            within: format!("{}{key}.", self.within),
        }))
    }

    /// Yes or no, with a default where the key is absent.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        match self.present(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.error(key, "true or false")),
        }
    }

    /// For each layer whether its attention is local, from `layer_types`, if that is there.
    pub fn local_layers(&self, layers: usize) -> Result<Option<Vec<bool>>, ModelError> {
        let Some(value) = self.present("layer_types") else {
            return Ok(None);
        };
        let is_local = |value: &Value| match value.as_str() {
            Some("sliding_attention") => Some(true),
            Some("full_attention") => Some(false),
            _ => None,
        };
        let local = value
            .as_array()
            .and_then(|types| types.iter().map(is_local).collect::<Option<Vec<bool>>>());
        let local = local.filter(|local| local.len() == layers).ok_or_else(|| {
            let expected = format!("`full_attention` or `sliding_attention` for each of the {layers} layers");
            self.error("layer_types", &expected)
        })?;
        Ok(Some(local))
    }

    /// A whole number of at least 1.
    pub fn size(&self, key: &str) -> Result<usize, ModelError> {
        let value = self
            .present(key)
            .and_then(Value::as_u64)
            .filter(|&value| value > 0 && value <= u32::MAX as u64);
        value
            .map(|value| value as usize)
            .ok_or_else(|| self.error(key, "a whole number of at least 1"))
    }

    /// A whole number of at least 1, with a default where the key is absent.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        if self.present(key).is_none() {
            Ok(default)
        } else {
            self.size(key)
        }
    }

    /// A whole number of at least 0.
    pub fn count_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        match self.present(key) {
            None => Ok(default),
            Some(value) => value
                .as_u64()
                .filter(|&value| value <= u32::MAX as u64)
                .map(|value| value as usize)
                .ok_or_else(|| self.error(key, "a whole number of at least 0")),
        }
    }

    /// A finite number of at least 0.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        match self.present(key) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|value| value.is_finite() && *value >= 0.0)
                .ok_or_else(|| self.error(key, "a number of at least 0")),
        }
    }

    /// A probability below 1; `null` counts as absent.
    pub fn rate_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        let rate = self.number_or(key, default)?;
        if rate < 1.0 {
            Ok(rate)
        } else {
            Err(self.error(key, "a dropout rate in [0, 1)"))
        }
    }

    /// An activation by name.
    pub fn activation_or(&self, key: &str, default: Activation) -> Result<Activation, ModelError> {
        match self.present(key) {
            None => Ok(default),
            Some(value) => value
                .as_str()
                .and_then(Activation::from_name)
                .ok_or_else(|| self.error(key, &format!("one of {}", Activation::NAMES.join(", ")))),
        }
    }

    /// Refuses a key whose value changes what the model computes into something we do not.
    pub fn must_be(&self, key: &str, allowed: &Value) -> Result<(), ModelError> {
        match self.present(key) {
            Some(value) if value != allowed => Err(self.error(key, &format!("{allowed} or nothing"))),
            _ => Ok(()),
        }
    }
}

impl ModelConfig {
    /// Reads `config.json` of a model directory; also returns it as it stands.
    pub(super) fn read(directory: &Path) -> Result<(Map<String, Value>, Self), ModelError> {
        let path = directory.join("config.json");
        let failed = |reason: String| ModelError::Read {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let config: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| failed(format!("not a JSON object: {error}")))?;
        let parsed = Self::from_json(&config, &path.display().to_string())?;
        Ok((config, parsed))
    }

    /// Reads `config.json` of a model directory.
    ///
    /// # Errors
    /// [`ModelError::Read`] if it cannot be read; else as [`Self::from_json`].
    pub fn from_directory(directory: &Path) -> Result<Self, ModelError> {
        Ok(Self::read(directory)?.1)
    }

    /// Understands the contents of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`ModelError::Family`] or [`ModelError::Config`] name what is not understood.
    pub fn from_json(config: &Map<String, Value>, path: &str) -> Result<Self, ModelError> {
        let keys = Keys::new(config, path);
        let model_type = keys.present("model_type").and_then(Value::as_str).unwrap_or("(none)");
        let family = Family::from_model_type(model_type).ok_or_else(|| ModelError::Family {
            path: path.to_owned(),
            found: model_type.to_owned(),
            supported: Family::MODEL_TYPES.map(|(name, _)| name).join(", "),
        })?;
        if let Some(found) = keys.present(quantization::KEY)
            && !quantization::is_known(found)
        {
            return Err(ModelError::Config {
                path: path.to_owned(),
                key: quantization::KEY.to_owned(),
                found: quantization::shown(found),
                expected: quantization::EXPECTED.to_owned(),
            });
        }
        let mut parsed = family.read(&keys)?;
        let heads = parsed.num_attention_heads;
        if keys.present("head_dim").is_none() && !parsed.hidden_size.is_multiple_of(heads) {
            let expected = format!("a multiple of the number of attention heads, {heads}");
            return Err(keys.error("hidden_size", &expected));
        }
        if !heads.is_multiple_of(parsed.num_key_value_heads) {
            return Err(keys.error(
                "num_key_value_heads",
                &format!("a divisor of the attention heads, {heads}"),
            ));
        }
        if let Positions::Learned { offset } = parsed.positions
            && parsed.max_position_embeddings <= offset
        {
            return Err(keys.error("max_position_embeddings", &format!("more than {offset}")));
        }
        parsed.id2label = id2label(&keys)?;
        parsed.problem_type = keys.present("problem_type").and_then(Value::as_str).map(str::to_owned);
        Ok(parsed)
    }

    /// A config with BERT's keys; its relatives override the rest.
    pub(super) fn base(keys: &Keys<'_>, family: Family, head: HeadShape) -> Result<Self, ModelError> {
        keys.must_be("position_embedding_type", &Value::from("absolute"))?;
        keys.must_be("is_decoder", &Value::from(false))?;
        let dropout = keys.rate_or("hidden_dropout_prob", 0.1)?;
        Ok(Self {
            type_vocab_size: keys.count_or("type_vocab_size", 2)?,
            layer_norm_eps: keys.number_or("layer_norm_eps", 1e-12)?,
            initializer_range: keys.number_or("initializer_range", 0.02)?,
            embedding_dropout: dropout,
            attention_dropout: keys.rate_or("attention_probs_dropout_prob", 0.1)?,
            attention_output_dropout: dropout,
            output_dropout: dropout,
            classifier_dropout: keys.rate_or("classifier_dropout", dropout)?,
            ..Self::of_sizes(family, Sizes::read(keys, "hidden_act", Activation::Gelu)?, head)
        })
    }

    /// BERT's axes with explicit sizes, without token types and dropout.
    pub(super) fn of_sizes(family: Family, sizes: Sizes, head: HeadShape) -> Self {
        let attention = LayerAttention {
            window: Window::ALL,
            rotary: 0,
        };
        Self {
            family,
            vocab_size: sizes.vocab_size,
            embedding_size: sizes.hidden_size,
            hidden_size: sizes.hidden_size,
            num_hidden_layers: sizes.num_hidden_layers,
            num_attention_heads: sizes.num_attention_heads,
            num_key_value_heads: sizes.num_attention_heads,
            head_dim: sizes.hidden_size / sizes.num_attention_heads,
            interleaves_heads: false,
            norms_queries_and_keys: false,
            intermediate_size: sizes.intermediate_size,
            hidden_act: sizes.hidden_act,
            is_gated: false,
            max_position_embeddings: sizes.max_position_embeddings,
            positions: Positions::Learned { offset: 0 },
            relative: None,
            score_scale: None,
            convolution: None,
            decoder: None,
            is_decoder: false,
            embedding_scale: 1.0,
            layer_attention: vec![attention; sizes.num_hidden_layers],
            type_vocab_size: 0,
            norm: NormKind::Layer,
            has_norm_bias: true,
            layer_norm_eps: 1e-12,
            layer_layout: LayerLayout::PostNorm,
            norms_embeddings: true,
            norms_first_input: true,
            norms_output: false,
            biases: Biases::all(true),
            initializer_range: 0.02,
            embedding_dropout: 0.0,
            attention_dropout: 0.0,
            attention_output_dropout: 0.0,
            inner_dropout: 0.0,
            output_dropout: 0.0,
            classifier_dropout: 0.0,
            pooler_dropout: None,
            head,
            id2label: None,
            problem_type: None,
        }
    }

    /// The longest sequence that has a position for every token.
    pub fn max_tokens(&self) -> usize {
        match self.positions {
            Positions::Learned { offset } => self.max_position_embeddings - offset,
            Positions::None | Positions::Rotary(_) => self.max_position_embeddings,
        }
    }

    /// What its tensors are called.
    pub(crate) fn names(&self) -> &'static Names {
        match self.is_decoder {
            false => self.family.names(),
            true => self.family.decoder_names(),
        }
    }

    /// The decoder, as if it were an encoder.
    pub(crate) fn of_decoder(&self) -> Option<Self> {
        let decoder = self.decoder?;
        let attention = LayerAttention {
            window: Window::CAUSAL,
            rotary: 0,
        };
        Some(Self {
            num_hidden_layers: decoder.num_hidden_layers,
            num_attention_heads: decoder.num_attention_heads,
            num_key_value_heads: decoder.num_attention_heads,
            head_dim: self.hidden_size / decoder.num_attention_heads,
            intermediate_size: decoder.intermediate_size,
            layer_attention: vec![attention; decoder.num_hidden_layers],
            decoder: None,
            is_decoder: true,
            ..self.clone()
        })
    }

    /// Layers of the encoder, and of the decoder if there is one.
    pub(crate) fn all_layers(&self) -> usize {
        self.num_hidden_layers + self.decoder.map_or(0, |decoder| decoder.num_hidden_layers)
    }

    /// Where queries, keys and values stand.
    pub fn heads(&self) -> Heads {
        Heads {
            queries: self.num_attention_heads,
            keys: self.num_key_value_heads,
            interleaved: self.interleaves_heads,
        }
    }

    /// Columns of queries, and of what attention makes of them.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Columns of keys, and of values.
    pub fn key_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Whether queries, keys and values are made by one weight.
    pub(crate) fn fuses_query_key_value(&self) -> bool {
        self.names().query_key_value.len() == 1
    }

    /// Whether the first products of a gated half are one weight.
    pub(crate) fn fuses_gate(&self) -> bool {
        self.names().intermediate.len() == 1
    }

    /// The ways in which positions turn queries and keys.
    pub(crate) fn rotaries(&self) -> &[Rotary] {
        match &self.positions {
            Positions::Rotary(rotaries) => rotaries,
            Positions::None | Positions::Learned { .. } => &[],
        }
    }

    /// The labels that the config names.
    pub(super) fn schema(&self) -> Result<LabelSchema, ModelError> {
        let names = self
            .id2label
            .clone()
            .unwrap_or_else(|| vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()]);
        let task = match self.problem_type.as_deref() {
            Some("multi_label_classification") => Task::MultiLabel,
            Some("regression") => Task::Regression,
            Some("single_label_classification") => Task::SingleLabel,
            // `transformers` decides by the number of labels.
            _ if names.len() == 1 => Task::Regression,
            _ => Task::SingleLabel,
        };
        Ok(LabelSchema { task, names })
    }

    /// Whether a head trained for this config's labels serves those of the data.
    pub(super) fn labels_agree(&self, data: &LabelSchema) -> bool {
        self.schema().is_ok_and(|own| {
            own.task == data.task
                && match data.task {
                    Task::Regression => own.num_labels() == data.num_labels(),
                    _ => own.names == data.names,
                }
        })
    }
}

/// `{"0": "neg", "1": "pos"}` as a list.
fn id2label(keys: &Keys<'_>) -> Result<Option<Vec<String>>, ModelError> {
    let Some(value) = keys.present("id2label") else {
        return Ok(None);
    };
    let parsed = value.as_object().and_then(|object| {
        (0..object.len())
            .map(|id| object.get(&id.to_string())?.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    });
    match parsed {
        Some(names) if !names.is_empty() => Ok(Some(names)),
        _ => Err(keys.error("id2label", "an object with a name for each of the ids 0, 1, 2, ...")),
    }
}
