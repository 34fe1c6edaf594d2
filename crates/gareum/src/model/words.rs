//! Models with fewer words.

use serde_json::{Value, json};
use tensor::Tensor;

use super::config::Positions;
use super::{Model, ModelConfig, ModelError};

/// Ends of the keys of `config.json` that hold ids of tokens.
const TOKEN_IDS: [&str; 2] = ["_token_id", "_token_ids"];

/// Families count on ids up to this one where `config.json` does not name them.
const COUNTED_ON: u32 = 3;

impl Model {
    /// Ids of tokens that the config counts on, by name or by number.
    pub fn needed_tokens(&self) -> Vec<u32> {
        let named = self.raw_config.iter().filter(|(key, _)| is_token_id(key));
        let ids = named.flat_map(|(_, value)| match value {
            Value::Array(ids) => ids.clone(),
            id => vec![id.clone()],
        });
        let mut ids: Vec<u32> = ids.filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect();
        // RoBERTa's positions are counted from its padding token's id, which must stay the same.
        let padding = match self.config.positions {
            Positions::Learned { offset } => (offset as u32).saturating_sub(1),
            _ => 0,
        };
        ids.extend(0..=COUNTED_ON.max(padding));
        ids
    }

    /// The same model for words that had the ids `kept`, in ascending order, and have the numbers from 0 on now.
    ///
    /// # Errors
    /// [`ModelError`] if the config counts on a token that is not among them.
    pub(crate) fn with_words(&self, kept: &[u32]) -> Result<Self, ModelError> {
        let mut model = self.clone();
        let stacks = std::iter::once(&self.encoder).chain(&self.decoder);
        for table in stacks.map(|stack| stack.words()) {
            let value = self.parameters.get(table);
            // Shared by encoder and decoder, it has been seen to already.
            if model.parameters.get(table).shape() != value.shape() {
                continue;
            }
            let [_, width] = value.dims2("with_words", "word_embeddings")?;
            let values = value.to_f32_vec();
            let rows = kept.iter().flat_map(|id| &values[*id as usize * width..][..width]);
            let rows: Vec<f32> = rows.copied().collect();
            *model.parameters.get_mut(table) = Tensor::from_vec(rows, &[kept.len(), width])?;
        }
        for (key, value) in &mut model.raw_config {
            let ids = match value {
                _ if !is_token_id(key) => continue,
                Value::Array(ids) => ids.iter_mut().collect(),
                id => vec![id],
            };
            for id in ids {
                let Some(original) = id.as_u64() else { continue };
                let place = kept.binary_search_by_key(&original, |&other| other.into());
                *id = json!(place.map_err(|_| ModelError::Config {
                    path: "config.json".to_owned(),
                    key: key.clone(),
                    found: original.to_string(),
                    expected: "the id of a token that the tokenizer has".to_owned(),
                })?);
            }
        }
        model.raw_config.insert("vocab_size".to_owned(), json!(kept.len()));
        model.config = ModelConfig::from_json(&model.raw_config, "config.json")?;
        Ok(model)
    }
}

fn is_token_id(key: &str) -> bool {
    TOKEN_IDS.iter().any(|end| key.ends_with(end))
}
