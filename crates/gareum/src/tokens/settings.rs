//! What the JSON files beside a vocabulary say: the tokenizer's class and options, and its special and added tokens.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Model};

use super::TokenizerError;

/// The special tokens that `transformers` knows by name, in the order in which it adds them.
const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and the model type of `config.json`.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// `tokenizer_config.json` as it was read.
    pub config: Map<String, Value>,
    /// What `special_tokens_map.json` says instead.
    special_tokens_map: Map<String, Value>,
    /// Tokens beside the vocabulary, by id.
    added: BTreeMap<u32, AddedToken>,
    pub model_type: Option<String>,
    class: Option<String>,
}

impl Settings {
    /// Reads what there is of them in a directory.
    pub fn read(directory: &Path) -> Result<Self, TokenizerError> {
        let config = read_object(&directory.join("tokenizer_config.json"))?;
        let model = read_object(&directory.join("config.json"))?;
        let name = |object: &Map<String, Value>, key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut settings = Self {
            class: name(&config, "tokenizer_class").or_else(|| name(&model, "tokenizer_class")),
            model_type: name(&model, "model_type"),
            ..Self::default()
        };
        if let Some(listed) = config.get("added_tokens_decoder").and_then(Value::as_object) {
            for (id, token) in listed {
                let failed = || TokenizerError::Read {
                    path: directory.join("tokenizer_config.json"),
                    reason: format!("`added_tokens_decoder` has no token for `{id}`, but {token}"),
                };
                let id = id.parse().map_err(|_| failed())?;
                settings.added.insert(id, added_token(token, false).ok_or_else(failed)?);
            }
        } else {
            // Both files are from before `added_tokens_decoder`, which replaces them.
            settings.special_tokens_map = read_object(&directory.join("special_tokens_map.json"))?;
        }
        settings.config = config;
        if !settings.config.contains_key("added_tokens_decoder") {
            settings.read_added_tokens(&directory.join("added_tokens.json"))?;
        }
        Ok(settings)
    }

    fn read_added_tokens(&mut self, path: &Path) -> Result<(), TokenizerError> {
        let mut special: Vec<String> = NAMES.iter().filter_map(|name| self.name(name)).collect();
        special.extend(self.listed_extra().into_iter().flatten().map(|token| token.content));
        for (token, id) in read_object(path)? {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = number.ok_or_else(|| TokenizerError::Read {
                path: path.to_owned(),
                reason: format!("`{token}` should have an id, found {id}"),
            })?;
            let is_special = special.contains(&token);
            self.added.insert(id, AddedToken::from(token, is_special));
        }
        Ok(())
    }

    /// The class that reads the tokenizer in `transformers`, without `Fast`.
    pub fn class(&self) -> Option<&str> {
        let class = self.class.as_deref()?;
        Some(class.strip_suffix("Fast").unwrap_or(class))
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let value = self.special_tokens_map.get(key).or_else(|| self.config.get(key));
        value.filter(|value| !value.is_null())
    }

    /// An option that is on or off.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.config.get(key).and_then(Value::as_bool)
    }

    /// An option that is a word.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    /// How a special token is spelled here.
    pub fn name(&self, key: &str) -> Option<String> {
        Some(added_token(self.value(key)?, true)?.content)
    }

    /// The special tokens for a kind of tokenizer that has these by default.
    pub fn special_tokens(&self, defaults: &[(&str, &str)]) -> SpecialTokens {
        let default = |key: &str| defaults.iter().find(|(name, _)| *name == key).map(|(_, token)| *token);
        let named = NAMES.iter().filter_map(|key| {
            let value = self.value(key);
            let token = match value {
                // `null` takes a default away.
                None if self.config.get(*key).is_some_and(Value::is_null) => return None,
                None => AddedToken::from(default(key)?, true),
                Some(value) => {
                    let token = added_token(value, true)?;
                    let listed = self.added.values().find(|added| added.content == token.content);
                    listed.cloned().unwrap_or(token)
                }
            };
            Some(Named {
                key: (*key).to_owned(),
                token: token.special(true),
                is_default: value.is_none(),
                is_written_out: value.is_some_and(Value::is_object),
            })
        });
        let of_this_model = self.config.iter().filter(|(key, value)| {
            key.ends_with("_token") && !NAMES.contains(&key.as_str()) && value.is_string() && !key.starts_with("add_")
        });
        let of_this_model = of_this_model.filter_map(|(key, value)| {
            Some(Named {
                key: key.clone(),
                token: AddedToken::from(value.as_str()?, true),
                is_default: false,
                is_written_out: false,
            })
        });
        SpecialTokens {
            named: named.chain(of_this_model).collect(),
            listed_extra: self.listed_extra(),
            extra: Vec::new(),
            added: self.added.values().cloned().collect(),
        }
    }

    /// What `special_tokens_map.json` says, to be kept where `tokenizer_config.json` is all there is.
    pub fn overriding(&self) -> Map<String, Value> {
        self.special_tokens_map.clone()
    }

    /// Further special tokens, if the settings say anything about them.
    fn listed_extra(&self) -> Option<Vec<AddedToken>> {
        let (extra, additional) = ("extra_special_tokens", "additional_special_tokens");
        let value = [extra, additional]
            .iter()
            .find_map(|key| self.config.get(*key))
            .or_else(|| {
                [extra, additional]
                    .iter()
                    .find_map(|key| self.special_tokens_map.get(*key))
            })?;
        Some(match value {
            Value::Array(tokens) => tokens.iter().filter_map(|token| added_token(token, true)).collect(),
            Value::Object(tokens) => tokens.values().filter_map(|token| added_token(token, true)).collect(),
            _ => Vec::new(),
        })
    }
}

/// The special and added tokens of one tokenizer.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    named: Vec<Named>,
    listed_extra: Option<Vec<AddedToken>>,
    extra: Vec<AddedToken>,
    added: Vec<AddedToken>,
}

#[derive(Debug, Clone)]
struct Named {
    key: String,
    token: AddedToken,
    /// The settings say nothing of it.
    is_default: bool,
    /// The settings say how it is found, not only how it is spelled.
    is_written_out: bool,
}

impl SpecialTokens {
    /// How a token is spelled, if there is one of this name.
    pub fn get(&self, key: &str) -> Option<&str> {
        let named = self.named.iter().find(|named| named.key == key)?;
        Some(&named.token.content)
    }

    /// The same for a token that the defaults have; empty if the settings took it away.
    pub fn spelled(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// Blanks before `<mask>` belong to it, in tokenizers where it stands for a word with its blank.
    pub fn mask_takes_blanks(&mut self) {
        let mask = self.named.iter_mut().find(|named| named.key == "mask_token");
        if let Some(mask) = mask.filter(|mask| !mask.is_written_out) {
            mask.token = mask.token.clone().lstrip(true);
        }
    }

    /// Tokens that a kind of tokenizer has unless the settings list others.
    pub fn extra_by_default(&mut self, tokens: impl IntoIterator<Item = AddedToken>) {
        self.extra.extend(tokens);
    }

    /// Adds all of them, in the order in which `transformers` does: those that the vocabulary lacks get the ids behind it, one after
    /// another. Other than there, what the vocabulary lacks and no settings name is not made up: a model has no embedding for it.
    pub fn add_to(&self, tokenizer: &mut tokenizers::Tokenizer) -> Result<(), String> {
        let mut tokens = self.added.clone();
        let is_there = |named: &&Named| !named.is_default || tokenizer.token_to_id(&named.token.content).is_some();
        let named = self.named.iter().filter(is_there).map(|named| &named.token);
        let extra = self.listed_extra.as_ref().unwrap_or(&self.extra);
        for token in named.chain(extra) {
            let is_listed = self.added.iter().any(|added| added.content == token.content);
            if !is_listed && !tokens.contains(token) {
                tokens.push(token.clone());
            }
        }
        tokenizer
            .add_tokens(tokens.clone())
            .map_err(|error| error.to_string())?;
        // Ids behind the vocabulary are counted, so they are taken already if a token stands twice in it or an id is left out.
        let model = tokenizer.get_model();
        for token in tokens
            .iter()
            .filter(|token| model.token_to_id(&token.content).is_none())
        {
            let id = tokenizer.token_to_id(&token.content);
            if let Some((id, other)) = id.and_then(|id| Some((id, model.id_to_token(id)?))) {
                let content = &token.content;
                return Err(format!(
                    "`{content}` is not in the vocabulary and would get the id {id}, which `{other}` has"
                ));
            }
        }
        Ok(())
    }
}

/// A token from a string or an object with its properties.
fn added_token(value: &Value, special: bool) -> Option<AddedToken> {
    if let Some(content) = value.as_str() {
        return Some(AddedToken::from(content, special));
    }
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(special);
    let token = AddedToken::from(value.get("content")?.as_str()?, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false));
    Some(match flag("normalized") {
        None => token,
        Some(normalized) => token.normalized(normalized),
    })
}

/// The JSON object in a file, or an empty one if there is no such file.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, TokenizerError> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let failed = |reason: String| TokenizerError::Read {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(format!("not a JSON object: {error}")))
}
