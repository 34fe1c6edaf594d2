//! The sizes and rates of an encoder, read from a `config.json`.

use std::path::Path;

use serde_json::{Map, Value};
use tensor::Activation;

use super::{Family, ModelError};
use crate::data::{LabelSchema, Task};

/// What a `config.json` says, in one vocabulary for all families.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Whose names and head the checkpoint has.
    pub family: Family,
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of the word embedding; where it is not `hidden_size`, a projection follows (ELECTRA small).
    pub embedding_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside of the feed-forward half.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward half.
    pub hidden_act: Activation,
    /// Rows of the position embedding.
    pub max_position_embeddings: usize,
    /// The position of a sequence's first token: 0, or RoBERTa's `pad_token_id + 1`.
    pub position_offset: usize,
    /// Rows of the token type embedding; 0 if the family has none.
    pub type_vocab_size: usize,
    /// ε of every layer norm.
    pub layer_norm_eps: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Dropout rate of embeddings and of the two halves of a layer.
    pub hidden_dropout: f64,
    /// Dropout rate of attention probabilities.
    pub attention_dropout: f64,
    /// Dropout rate inside of the head.
    pub classifier_dropout: f64,
    /// `id2label` in order of the ids, if there is one.
    pub(super) id2label: Option<Vec<String>>,
    pub(super) problem_type: Option<String>,
}

/// Reads keys of one `config.json` and makes errors that name it.
pub(super) struct Keys<'a> {
    config: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Keys<'a> {
    fn error(&self, key: &str, expected: &str) -> ModelError {
        let found = self.config.get(key).map_or("missing".to_owned(), Value::to_string);
        ModelError::Config {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        }
    }

    fn present(&self, key: &str) -> Option<&'a Value> {
        self.config.get(key).filter(|value| !value.is_null())
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

    /// Understands the contents of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`ModelError::Family`] or [`ModelError::Config`] name what is not understood.
    pub fn from_json(config: &Map<String, Value>, path: &str) -> Result<Self, ModelError> {
        let keys = Keys { config, path };
        let model_type = keys.present("model_type").and_then(Value::as_str).unwrap_or("(none)");
        let family = Family::from_model_type(model_type).ok_or_else(|| ModelError::Family {
            path: path.to_owned(),
            found: model_type.to_owned(),
            supported: Family::MODEL_TYPES.map(|(name, _)| name).join(", "),
        })?;
        let mut parsed = family.read(&keys)?;
        if !parsed.hidden_size.is_multiple_of(parsed.num_attention_heads) {
            let expected = format!(
                "a multiple of the number of attention heads, {}",
                parsed.num_attention_heads
            );
            return Err(keys.error("hidden_size", &expected));
        }
        if parsed.max_position_embeddings <= parsed.position_offset {
            return Err(keys.error(
                "max_position_embeddings",
                &format!("more than {}", parsed.position_offset),
            ));
        }
        parsed.id2label = id2label(&keys)?;
        parsed.problem_type = keys.present("problem_type").and_then(Value::as_str).map(str::to_owned);
        Ok(parsed)
    }

    /// A config with sizes that all families share under BERT's names; families override the rest.
    pub(super) fn base(keys: &Keys<'_>, family: Family) -> Result<Self, ModelError> {
        keys.must_be("position_embedding_type", &Value::from("absolute"))?;
        keys.must_be("is_decoder", &Value::from(false))?;
        let hidden_size = keys.size("hidden_size")?;
        let hidden_dropout = keys.rate_or("hidden_dropout_prob", 0.1)?;
        Ok(Self {
            family,
            vocab_size: keys.size("vocab_size")?,
            embedding_size: hidden_size,
            hidden_size,
            num_hidden_layers: keys.size("num_hidden_layers")?,
            num_attention_heads: keys.size("num_attention_heads")?,
            intermediate_size: keys.size("intermediate_size")?,
            hidden_act: keys.activation_or("hidden_act", Activation::Gelu)?,
            max_position_embeddings: keys.size("max_position_embeddings")?,
            position_offset: 0,
            type_vocab_size: keys.size_or("type_vocab_size", 2)?,
            layer_norm_eps: keys.number_or("layer_norm_eps", 1e-12)?,
            initializer_range: keys.number_or("initializer_range", 0.02)?,
            hidden_dropout,
            attention_dropout: keys.rate_or("attention_probs_dropout_prob", 0.1)?,
            classifier_dropout: keys.rate_or("classifier_dropout", hidden_dropout)?,
            id2label: None,
            problem_type: None,
        })
    }

    /// A config with no head's labels, from explicit values.
    #[allow(
        clippy::too_many_arguments,
        reason = "one value for each size of another family's config"
    )]
    pub(super) fn from_sizes(
        family: Family,
        vocab_size: usize,
        hidden_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
        intermediate_size: usize,
        hidden_act: Activation,
        max_position_embeddings: usize,
    ) -> Self {
        Self {
            family,
            vocab_size,
            embedding_size: hidden_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            hidden_act,
            max_position_embeddings,
            position_offset: 0,
            type_vocab_size: 0,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            classifier_dropout: 0.1,
            id2label: None,
            problem_type: None,
        }
    }

    /// The longest sequence that has a position for every token.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings - self.position_offset
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
