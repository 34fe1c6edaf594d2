//! A tokenizer with fewer tokens, which cuts the texts that these were chosen for as before.
//!
//! WordPiece takes the longest token that fits, unigram the likeliest pieces: leaving out what they did not take changes nothing. BPE merges pairs in
//! the order of its list: kept are all merges that made a kept token on their way, which are all that ever happened in those texts.
//!
//! Other texts must not become unknown: kept are also all tokens of one character in the scripts of those texts, of ASCII and of punctuation, and all bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{Tokenizer, TokenizerError};

/// What a tokenizer with fewer tokens is, and where its tokens were.
#[derive(Debug, Clone)]
pub struct Trimmed {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// For each of its ids the one that the token had, in ascending order.
    pub kept: Vec<u32>,
}

impl Trimmed {
    /// The id that a token of the original has now.
    pub fn id_of(&self, original: u32) -> Option<u32> {
        self.kept.binary_search(&original).ok().map(|index| index as u32)
    }
}

impl Tokenizer {
    /// Keeps the tokens with these ids, and those that are needed beside them: special and added ones, what `used` ones are merged of, single
    /// characters and bytes.
    ///
    /// # Errors
    /// [`TokenizerError::Trim`] if it is of a kind of which that is not known.
    pub fn trimmed(&self, used: &BTreeSet<u32>) -> Result<Trimmed, TokenizerError> {
        let failed = |reason: String| TokenizerError::Trim { reason };
        if self.cutter.is_some() {
            // Pieces that it takes on the way are in no text.
            return Err(failed("it is KoBERT's, which cuts pieces once more".to_owned()));
        }
        let written = self.inner.to_string(false).map_err(|error| failed(error.to_string()))?;
        let mut file: Value = serde_json::from_str(&written).map_err(|error| failed(error.to_string()))?;
        let tokens: BTreeMap<u32, String> = self
            .inner
            .get_vocab(true)
            .into_iter()
            .map(|(token, id)| (id, token))
            .collect();
        let added = || file["added_tokens"].as_array().into_iter().flatten();
        let mut kept: BTreeSet<u32> = used.iter().copied().filter(|id| tokens.contains_key(id)).collect();
        kept.extend(added().filter_map(|token| token["id"].as_u64()).map(|id| id as u32));
        kept.extend(self.unknown_token());
        let scripts: HashSet<u32> = kept.iter().flat_map(|id| tokens[id].chars()).map(script).collect();
        let model = &file["model"];
        let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
        let is_byte_level = written.contains(r#""type":"ByteLevel""#);
        let is_safe = |token: &str| {
            let bare = token.strip_prefix(prefix).unwrap_or(token).trim_start_matches('▁');
            let mut characters = bare.chars();
            match (characters.next(), characters.next()) {
                (Some(only), None) => is_byte_level || script(only) == COMMON || scripts.contains(&script(only)),
                (None, _) => true,
                _ => bare.starts_with("<0x") && bare.len() == 6,
            }
        };
        kept.extend(tokens.iter().filter(|(_, token)| is_safe(token)).map(|(id, _)| *id));
        match model["type"].as_str() {
            Some("WordPiece" | "WordLevel") => {}
            Some("Unigram") => kept.extend(unlikeliest(model)),
            Some("BPE") => {
                let merges = Merges::of(model).map_err(failed)?;
                let happened = merges.of_tokens(kept.iter().map(|id| tokens[id].as_str()));
                let ids: HashMap<&str, u32> = tokens.iter().map(|(id, token)| (token.as_str(), *id)).collect();
                let parts = happened.iter().flat_map(|&rank| merges.tokens(rank));
                kept.extend(parts.filter_map(|token| ids.get(token.as_str()).copied()));
                file["model"]["merges"] = merges.written(&happened);
            }
            found => {
                let found = found.unwrap_or("unknown");
                return Err(failed(format!("it is a {found} model")));
            }
        }
        let trimmed = Trimmed {
            tokenizer: self.clone(),
            kept: kept.into_iter().collect(),
        };
        let new_id = |id: &Value| -> Option<Value> {
            let id = u32::try_from(id.as_u64()?).ok()?;
            trimmed.id_of(id).map(|id| json!(id))
        };
        renumber_vocabulary(&mut file["model"], &trimmed.kept, &new_id);
        for token in file["added_tokens"].as_array_mut().into_iter().flatten() {
            renumber(&mut token["id"], &new_id);
        }
        renumber_frame(&mut file["post_processor"], &new_id);
        let inner: tokenizers::Tokenizer = serde_json::from_value(file).map_err(|error| failed(error.to_string()))?;
        let mut config = self.config.clone();
        if let Some(Value::Object(added)) = config.get_mut("added_tokens_decoder") {
            let renumbered = std::mem::take(added).into_iter().filter_map(|(id, token)| {
                let id = trimmed.id_of(id.parse().ok()?)?;
                Some((id.to_string(), token))
            });
            *added = renumbered.collect::<Map<String, Value>>();
        }
        let tokenizer = Self {
            inner,
            config,
            cutter: None,
        };
        Ok(Trimmed { tokenizer, ..trimmed })
    }
}

/// ASCII and the punctuation of most languages.
const COMMON: u32 = 0;

/// A character's script, roughly: what is written together is told apart from the rest by blocks.
fn script(character: char) -> u32 {
    let code = u32::from(character);
    match code {
        0..0xc0 | 0x2000..0x2070 => COMMON,
        0xc0..0x250 | 0x1e00..0x1f00 => 1,
        0x1100..0x1200 | 0x3130..0x3190 | 0xa960..0xa980 | 0xac00..0xd800 => 2,
        0x3000..0x3040 | 0xff00..0xffef => 3,
        0x3040..0x3100 | 0x31f0..0x3200 => 4,
        0x3400..0xa000 | 0xf900..0xfb00 | 0x20000..0x32000 => 5,
        0x400..0x530 => 6,
        0x370..0x400 | 0x1f00..0x2000 => 7,
        0x2190..0x2c00 | 0x1f000..0x20000 => 8,
        _ => code >> 8,
    }
}

/// The piece of the lowest score: what unknown characters cost is counted from it.
fn unlikeliest(model: &Value) -> Option<u32> {
    let score = |piece: &Value| piece[1].as_f64().unwrap_or(0.0);
    let pieces = model["vocab"].as_array()?.iter().zip(0u32..);
    let worst = pieces.min_by(|(one, _), (other, _)| score(one).total_cmp(&score(other)));
    worst.map(|(_, id)| id)
}

/// The merges of a BPE model.
struct Merges {
    pairs: Vec<[String; 2]>,
    ranks: HashMap<[String; 2], usize>,
    /// Whether the file has a pair as one text.
    are_joined: bool,
}

impl Merges {
    fn of(model: &Value) -> Result<Self, String> {
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model[key].as_str().is_some_and(|text| !text.is_empty()) {
                return Err(format!("it is a BPE model with a `{key}`"));
            }
        }
        let merges = model["merges"].as_array().map(Vec::as_slice).unwrap_or_default();
        let pair = |merge: &Value| -> Option<[String; 2]> {
            let (one, other) = match merge {
                Value::String(text) => text.split_once(' ')?,
                _ => (merge[0].as_str()?, merge[1].as_str()?),
            };
            Some([one.to_owned(), other.to_owned()])
        };
        let pairs: Option<Vec<[String; 2]>> = merges.iter().map(pair).collect();
        let pairs = pairs.ok_or("its merges are not pairs")?;
        Ok(Self {
            ranks: pairs.iter().cloned().zip(0..).collect(),
            are_joined: merges.first().is_some_and(Value::is_string),
            pairs,
        })
    }

    /// The merges that make these tokens of single characters.
    fn of_tokens<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> BTreeSet<usize> {
        let mut happened = BTreeSet::new();
        for token in tokens {
            let mut symbols: Vec<String> = token.chars().map(String::from).collect();
            loop {
                let pairs = symbols.windows(2).enumerate();
                let ranked = pairs.filter_map(|(at, pair)| {
                    let rank = self.ranks.get(&[pair[0].clone(), pair[1].clone()])?;
                    Some((*rank, at))
                });
                let Some((rank, at)) = ranked.min() else { break };
                happened.insert(rank);
                let second = symbols.remove(at + 1);
                symbols[at] += &second;
            }
        }
        happened
    }

    /// What a merge takes and makes.
    fn tokens(&self, rank: usize) -> [String; 3] {
        let [one, other] = &self.pairs[rank];
        [one.clone(), other.clone(), format!("{one}{other}")]
    }

    fn written(&self, ranks: &BTreeSet<usize>) -> Value {
        let pair = |rank: &usize| {
            let [one, other] = &self.pairs[*rank];
            match self.are_joined {
                true => json!(format!("{one} {other}")),
                false => json!([one, other]),
            }
        };
        ranks.iter().map(pair).collect()
    }
}

fn renumber(id: &mut Value, new_id: &impl Fn(&Value) -> Option<Value>) {
    if let Some(new) = new_id(id) {
        *id = new;
    }
}

/// The vocabulary of a model: a map from tokens to ids, or a list of pieces.
fn renumber_vocabulary(model: &mut Value, kept: &[u32], new_id: &impl Fn(&Value) -> Option<Value>) {
    renumber(&mut model["unk_id"], new_id);
    if model["unk_id"].is_null()
        && let Value::Object(model) = model
        && model.get("type") != Some(&json!("Unigram"))
    {
        model.remove("unk_id");
    }
    match &mut model["vocab"] {
        Value::Array(pieces) => {
            let kept = kept.iter().filter_map(|id| pieces.get(*id as usize).cloned());
            *pieces = kept.collect();
        }
        Value::Object(tokens) => {
            let renumbered = std::mem::take(tokens)
                .into_iter()
                .filter_map(|(token, id)| Some((token, new_id(&id)?)));
            *tokens = renumbered.collect();
        }
        _ => {}
    }
}

/// The ids of the tokens that frame a text, wherever they stand.
fn renumber_frame(frame: &mut Value, new_id: &impl Fn(&Value) -> Option<Value>) {
    match frame {
        Value::Array(parts) => parts.iter_mut().for_each(|part| renumber_frame(part, new_id)),
        Value::Object(parts) => {
            for (key, part) in parts {
                match (key.as_str(), part) {
                    // `"cls": ["[CLS]", 101]`
                    ("sep" | "cls", Value::Array(pair)) if pair.len() == 2 => renumber(&mut pair[1], new_id),
                    ("ids", Value::Array(ids)) => ids.iter_mut().for_each(|id| renumber(id, new_id)),
                    (_, part) => renumber_frame(part, new_id),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Truncation, TruncationStrategy};

    const TRUNCATION: Truncation = Truncation {
        max_length: 512,
        strategy: TruncationStrategy::Head,
    };

    fn directory_of(tokenizer: &Value) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        directory
    }

    fn trim(tokenizer: &Tokenizer, texts: &[&str]) -> Trimmed {
        let ids = |text: &&str| tokenizer.encode(text, None, TRUNCATION).unwrap().input_ids;
        let trimmed = tokenizer.trimmed(&texts.iter().flat_map(ids).collect()).unwrap();
        for text in texts {
            let found = trimmed.tokenizer.encode(text, None, TRUNCATION).unwrap();
            let original: Vec<u32> = found.input_ids.iter().map(|id| trimmed.kept[*id as usize]).collect();
            assert_eq!(original, ids(text), "{text}");
        }
        trimmed
    }

    #[test]
    fn merges_on_the_way_are_kept() {
        let vocab = json!({"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "cd": 5, "abc": 6, "abcd": 7, "bc": 8, "dd": 9, "</s>": 10});
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
            "added_tokens": [{"id": 10, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
            "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [10], "tokens": ["</s>"]}}},
            "model": {"type": "BPE", "vocab": vocab, "merges": ["a b", "c d", "ab c", "ab cd", "b c", "d d"]},
        });
        let directory = directory_of(&tokenizer);
        let tokenizer = Tokenizer::from_directory(directory.path()).unwrap();
        let trimmed = trim(&tokenizer, &["abcd ab", "abcd"]);
        // `abcd` is merged of `ab` and `cd`; `abc`, `bc` and `dd` never happened.
        assert_eq!(trimmed.kept, [0, 1, 2, 3, 4, 5, 7, 10]);
        assert_eq!(trimmed.id_of(10), Some(7));
        assert_eq!(trimmed.id_of(8), None);
        let other = trimmed.tokenizer.encode("dd", None, TRUNCATION).unwrap();
        assert_eq!(other.input_ids, [3, 3, 7]);
    }

    #[test]
    fn words_of_other_texts_fall_into_characters() {
        let texts = ["배송이 빨라요", "delivery was fast", "환불 요청", "refund the order"];
        let tokenizer = Tokenizer::train_wordpiece(texts.iter().copied().cycle().take(40), 300).unwrap();
        let trimmed = trim(&tokenizer, &["배송이 빨라요"]);
        assert!(trimmed.tokenizer.vocab_size() < tokenizer.vocab_size());
        let unknown = trimmed.tokenizer.unknown_token().unwrap();
        for text in ["환불 요청", "refund"] {
            let ids = trimmed.tokenizer.encode(text, None, TRUNCATION).unwrap().input_ids;
            assert!(!ids.contains(&unknown), "{text}: {ids:?}");
            assert!(ids.len() > 3, "{text}: {ids:?}");
        }
    }

    #[test]
    fn the_unlikeliest_piece_stays() {
        let vocab = json!([
            ["<unk>", 0.0],
            ["▁a", -1.0],
            ["ab", -2.0],
            ["b", -3.0],
            ["▁", -2.5],
            ["cc", -9.0],
            ["▁ab", -4.5],
            ["dd", -8.0]
        ]);
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [], "post_processor": null, "decoder": null,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false},
        });
        let directory = directory_of(&tokenizer);
        let tokenizer = Tokenizer::from_directory(directory.path()).unwrap();
        let trimmed = trim(&tokenizer, &["ab b", "axb"]);
        assert!(
            trimmed.kept.contains(&5) && !trimmed.kept.contains(&7),
            "{:?}",
            trimmed.kept
        );
    }
}
