//! A checkpoint's tokenizer: reading it, encoding with our own truncation, and writing it beside the model.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokenizers::processors::sequence::Sequence;
use tokenizers::{EncodeInput, ModelWrapper, PostProcessor, PostProcessorWrapper};

use super::folder::{self, Opened};
use super::sentencepiece::kobert::{Cut, Cutter};
use super::{TokenizerError, pipeline, wordpiece};
use crate::data::Input;
use crate::files::{WriteError, write_atomically};

/// Which tokens of a text that is too long are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncationStrategy {
    /// The first ones.
    #[default]
    Head,
    /// The first quarter and the last three quarters of the room there is (Sun et al. 2019, section 5.3.1,
    /// <https://arxiv.org/abs/1905.05583>).
    HeadTail,
    /// The last ones.
    Tail,
}

/// How long an encoded text may be.
#[derive(Debug, Clone, Copy)]
pub struct Truncation {
    /// Tokens, special ones included.
    pub max_length: usize,
    /// Which of them.
    pub strategy: TruncationStrategy,
}

/// The tokens of one text or pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Ids, special tokens included.
    pub input_ids: Vec<u32>,
    /// 0 for the first text, 1 for the second, as the checkpoint's tokenizer assigns them.
    pub token_type_ids: Vec<u32>,
    /// How many tokens there were before truncation.
    pub full_length: usize,
}

/// The tokens of one text or pair with the places in the texts that they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The tokens.
    pub encoded: Encoded,
    /// For each token its place; `None` for special tokens around the texts.
    pub spans: Vec<Option<TokenSpan>>,
    /// For each text the bytes that only tokens stand for which were cut off, if any were.
    pub unread: [Option<Range<usize>>; 2],
}

/// The part of a text that a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpan {
    /// 0 for the first text, 1 for the second.
    pub text: usize,
    /// Bytes of it, beginning and ending between characters. Tokens for parts of a character all have the whole of it; a token that
    /// stands for nothing in the text, like a blank put before it, has an empty range.
    pub bytes: Range<usize>,
}

/// A tokenizer with the files that describe it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(super) inner: tokenizers::Tokenizer,
    /// `tokenizer_config.json`, kept as it was read.
    pub(super) config: Map<String, Value>,
    /// What cuts texts instead of `inner`, which then only normalises them: in KoBERT's tokenizers.
    pub(super) cutter: Option<Cutter>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model directory: `tokenizer.json`, or else a sentencepiece model, `vocab.json` with `merges.txt`, or BERT's
    /// `vocab.txt`, with the options of `tokenizer_config.json`, as `transformers` 5 reads them. Which conventions go with a sentencepiece
    /// model or byte-level BPE follows from `tokenizer_class` there, or from `model_type` in `config.json`; a sentencepiece model of a BERT
    /// is KoBERT's. Truncation and padding that a `tokenizer.json` asks for are ignored: the one is ours, the other never happens.
    ///
    /// A `vocab.txt` without `do_lower_case` in `tokenizer_config.json` is lower-cased, as `transformers` does, unless it
    /// holds words with capitals.
    ///
    /// # Errors
    /// [`TokenizerError`] names the file and what is wrong with it.
    pub fn from_directory(directory: &Path) -> Result<Self, TokenizerError> {
        let Opened {
            mut inner,
            config,
            cutter,
        } = folder::open(directory)?;
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Read {
                path: directory.to_owned(),
                reason: error.to_string(),
            })?
            .with_padding(None);
        Ok(Self { inner, config, cutter })
    }

    /// Trains a lower-casing WordPiece tokenizer on texts, for models trained from scratch.
    ///
    /// # Errors
    /// [`TokenizerError::Train`] if there is nothing to learn from.
    pub fn train_wordpiece<'a>(
        texts: impl Iterator<Item = &'a str>,
        vocab_size: usize,
    ) -> Result<Self, TokenizerError> {
        let inner = wordpiece::train(&texts.collect::<Vec<_>>(), vocab_size)?;
        let mut config = Map::new();
        config.insert("tokenizer_class".to_owned(), json!("BertTokenizer"));
        config.insert("do_lower_case".to_owned(), json!(true));
        config.insert("strip_accents".to_owned(), json!(false));
        Ok(Self {
            inner,
            config,
            cutter: None,
        })
    }

    /// One more than the largest id it can make.
    pub fn vocab_size(&self) -> usize {
        self.inner
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |&largest| largest as usize + 1)
    }

    /// Fails if it makes ids that a model with `vocab_size` word embeddings cannot take.
    ///
    /// # Errors
    /// [`TokenizerError::VocabularySize`].
    pub fn check_fits(&self, vocab_size: usize) -> Result<(), TokenizerError> {
        let tokenizer = self.vocab_size();
        if tokenizer <= vocab_size {
            return Ok(());
        }
        Err(TokenizerError::VocabularySize {
            tokenizer,
            model: vocab_size,
        })
    }

    /// The id of what stands for everything that the vocabulary lacks; `None` where nothing does, as with bytes.
    pub fn unknown_token(&self) -> Option<u32> {
        let token = match self.inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
            ModelWrapper::BPE(model) => model.unk_token.as_deref(),
            // It has one by number, which the crate keeps to itself; in every known file it is called so.
            ModelWrapper::Unigram(_) => return self.special_id("unk_token").or(self.inner.token_to_id("<unk>")),
        };
        token.and_then(|token| self.inner.token_to_id(token))
    }

    /// Whether a directory has a file that a tokenizer is read from.
    pub fn is_in(directory: &Path) -> bool {
        folder::is_in(directory)
    }

    /// Makes every sequence end with a token, if it does not: BART's classifier reads a sequence there, and KoBART's
    /// tokenizer does not put one. In a pair it then stands behind both texts. Returns the token if it had to be added, so that it can
    /// be told.
    ///
    /// # Errors
    /// [`TokenizerError::EndOfSequence`] if the tokenizer has no such token.
    pub fn end_with(&mut self, eos: u32) -> Result<Option<String>, TokenizerError> {
        let failed = |reason: String| TokenizerError::EndOfSequence { reason };
        let token = self.inner.id_to_token(eos);
        let eos = token.ok_or_else(|| failed(format!("its vocabulary has no token of the id {eos}")))?;
        let frame = |pair: Option<&str>| -> Result<Vec<String>, TokenizerError> {
            let input: EncodeInput<'_> = match pair {
                None => "a".into(),
                Some(pair) => ("a", pair).into(),
            };
            let encoding = self
                .inner
                .encode(input, true)
                .map_err(|error| failed(error.to_string()))?;
            let mut words: Vec<String> = Vec::new();
            let tokens = encoding.get_ids().iter().zip(encoding.get_type_ids());
            for ((id, kind), sequence) in tokens.zip(encoding.get_sequence_ids()) {
                let word = match sequence {
                    None => self.inner.id_to_token(*id).unwrap_or_default(),
                    Some(0) => "$A".to_owned(),
                    Some(_) => "$B".to_owned(),
                };
                let word = format!("{word}:{kind}");
                // A text of several tokens is one word of the frame.
                if sequence.is_none() || words.last() != Some(&word) {
                    words.push(word);
                }
            }
            Ok(words)
        };
        let ends = |text: &str, words: &[String]| {
            let after = words.iter().position(|word| word.starts_with(text)).map(|at| at + 1);
            after.is_some_and(|after| words[after..].iter().any(|word| word.starts_with(&format!("{eos}:"))))
        };
        let (mut single, mut pair) = (frame(None)?, frame(Some("a"))?);
        if ends("$A", &single) {
            return Ok(None);
        }
        single.push(format!("{eos}:0"));
        if let Some(second) = pair.iter().position(|word| word.starts_with("$B")) {
            let kind = pair[second].replacen("$B", "", 1);
            pair.push(format!("{eos}{kind}"));
            let first = pair.iter().position(|word| word.starts_with("$A")).unwrap_or(0);
            pair.insert(first + 1, format!("{eos}:0"));
        }
        let frame = pipeline::template(&self.inner, &single, &pair).map_err(failed)?;
        let frame = match self.inner.get_post_processor() {
            // What trims offsets goes on doing so.
            Some(trim @ PostProcessorWrapper::ByteLevel(_)) => {
                PostProcessorWrapper::Sequence(Sequence::new(vec![trim.clone(), frame]))
            }
            _ => frame,
        };
        self.inner.with_post_processor(Some(frame));
        Ok(Some(eos))
    }

    /// Encodes one text or pair.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the tokenizer fails on it.
    pub fn encode(
        &self,
        text: &str,
        text_pair: Option<&str>,
        truncation: Truncation,
    ) -> Result<Encoded, TokenizerError> {
        if self.cutter.is_some() {
            return Ok(self.encode_located(text, text_pair, truncation)?.encoded);
        }
        let encoding = self
            .inner
            .encode_fast(input(text, text_pair), true)
            .map_err(|error| failed_on(text, text_pair, &error))?;
        let sequences = encoding.get_sequence_ids();
        if sequences.is_empty() {
            return Ok(self.stand_in());
        }
        let kept = kept_positions(&sequences, truncation);
        let pick = |values: &[u32]| kept.iter().map(|&position| values[position]).collect();
        Ok(Encoded {
            input_ids: pick(encoding.get_ids()),
            token_type_ids: pick(encoding.get_type_ids()),
            full_length: sequences.len(),
        })
    }

    /// The id of the token that stands for a hidden word, if there is one: `[MASK]`, `<mask>`.
    pub fn mask_token(&self) -> Option<u32> {
        self.special_id_or("mask_token", ["[MASK]", "<mask>"])
    }

    /// The id of the token that stands for nothing, if there is one: `[PAD]`, `<pad>`.
    pub fn padding_token(&self) -> Option<u32> {
        self.special_id_or("pad_token", ["[PAD]", "<pad>"])
    }

    /// The id of a special token by its name in the settings, or of the first usual one that the vocabulary has.
    fn special_id_or(&self, name: &str, usual: [&str; 2]) -> Option<u32> {
        let usual = || usual.iter().find_map(|token| self.inner.token_to_id(token));
        self.special_id(name).or_else(usual)
    }

    /// The id of a special token by its name in the settings, such as `pad_token`.
    pub(crate) fn special_id(&self, name: &str) -> Option<u32> {
        let token = self.config.get(name)?;
        let token = token.as_str().or_else(|| token.get("content")?.as_str())?;
        self.inner.token_to_id(token)
    }

    /// What stands for a text without tokens, since a model needs one: the first special token that the tokenizer has. Tokenizers of
    /// decoders frame nothing.
    pub(crate) fn stand_in(&self) -> Encoded {
        let names = ["bos_token", "eos_token", "pad_token", "unk_token"];
        let id = names.iter().find_map(|name| self.special_id(name));
        Encoded {
            input_ids: vec![id.unwrap_or(0)],
            token_type_ids: vec![0],
            full_length: 1,
        }
    }

    /// Encodes one text or pair and says which part of the texts each token stands for. Takes longer than [`Self::encode`].
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the tokenizer fails on it.
    pub fn encode_located(
        &self,
        text: &str,
        text_pair: Option<&str>,
        truncation: Truncation,
    ) -> Result<Located, TokenizerError> {
        let encoding = self
            .inner
            .encode(input(text, text_pair), true)
            .map_err(|error| failed_on(text, text_pair, &error))?;
        let cuts = match &self.cutter {
            Some(cutter) => cutter.cut(&encoding, [text, text_pair.unwrap_or_default()]),
            None => {
                let tokens = encoding.get_ids().iter().zip(encoding.get_type_ids());
                let places = encoding.get_sequence_ids().into_iter().zip(encoding.get_offsets());
                let cut = |((&id, &type_id), (sequence, &(start, end)))| Cut {
                    id,
                    type_id,
                    sequence,
                    bytes: start..end,
                };
                tokens.zip(places).map(cut).collect::<Vec<_>>()
            }
        };
        if cuts.is_empty() {
            return Ok(Located {
                encoded: self.stand_in(),
                spans: vec![None],
                unread: [None, None],
            });
        }
        let sequences: Vec<Option<usize>> = cuts.iter().map(|cut| cut.sequence).collect();
        let kept = kept_positions(&sequences, truncation);
        let unread = unread(&cuts, &kept);
        let kept = || kept.iter().map(|&position| &cuts[position]);
        let span = |cut: &Cut| {
            let bytes = cut.bytes.clone();
            cut.sequence.map(|text| TokenSpan { text, bytes })
        };
        Ok(Located {
            encoded: Encoded {
                input_ids: kept().map(|cut| cut.id).collect(),
                token_type_ids: kept().map(|cut| cut.type_id).collect(),
                full_length: cuts.len(),
            },
            spans: kept().map(span).collect(),
            unread,
        })
    }

    /// Encodes many texts on all threads; results are in the order of the inputs.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] for the first text that fails.
    pub fn encode_all(&self, inputs: &[Input], truncation: Truncation) -> Result<Vec<Encoded>, TokenizerError> {
        inputs
            .par_iter()
            .map(|input| self.encode(&input.text, input.text_pair.as_deref(), truncation))
            .collect()
    }

    /// How many special tokens frame a text (or pair).
    pub fn special_tokens(&self, is_pair: bool) -> usize {
        self.inner
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(is_pair))
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.
    ///
    /// # Errors
    /// [`WriteError`] if a file cannot be written.
    pub fn save(&self, directory: &Path, max_length: usize) -> Result<(), WriteError> {
        let json = |name: &str, contents: String| write_atomically(&directory.join(name), contents.as_bytes());
        let failed = |reason: String| WriteError {
            path: directory.join("tokenizer.json"),
            reason,
        };
        let contents = self.inner.to_string(true).map_err(|error| failed(error.to_string()))?;
        json("tokenizer.json", contents)?;
        let mut config = self.config.clone();
        config.entry("model_max_length").or_insert_with(|| json!(max_length));
        for (key, token) in wordpiece::SPECIAL_TOKENS {
            if self.inner.token_to_id(token).is_some() {
                config.entry(key).or_insert_with(|| json!(token));
            }
        }
        let is_special = |key: &&String| key.ends_with("_token") && !key.starts_with("add_");
        let special: Map<String, Value> = config
            .keys()
            .filter(is_special)
            .map(|key| (key.clone(), config[key].clone()))
            .collect();
        json("tokenizer_config.json", format!("{:#}\n", Value::Object(config)))?;
        json("special_tokens_map.json", format!("{:#}\n", Value::Object(special)))
    }
}

fn input<'a>(text: &'a str, text_pair: Option<&'a str>) -> EncodeInput<'a> {
    match text_pair {
        None => text.into(),
        Some(pair) => (text, pair).into(),
    }
}

fn failed_on(text: &str, text_pair: Option<&str>, error: &tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode {
        characters: text.chars().count() + text_pair.map_or(0, |pair| pair.chars().count()),
        reason: error.to_string(),
    }
}

/// The bytes of each text that tokens which do not stay stand for; `kept` is in ascending order. What they share with a neighbour that
/// stays, as tokens of one character do, has been read.
fn unread(cuts: &[Cut], kept: &[usize]) -> [Option<Range<usize>>; 2] {
    if kept.len() == cuts.len() {
        return [None, None];
    }
    [0, 1].map(|text| {
        let is_of = |position: &usize| cuts[*position].sequence == Some(text);
        let is_gone = |position: &usize| is_of(position) && kept.binary_search(position).is_err();
        let (first, last) = ((0..cuts.len()).find(is_gone)?, (0..cuts.len()).rfind(is_gone)?);
        let before = kept.iter().filter(|position| is_of(position) && **position < first);
        let behind = kept.iter().filter(|position| is_of(position) && **position > last);
        let start = before.map(|&position| cuts[position].bytes.end).max().unwrap_or(0);
        let end = behind.map(|&position| cuts[position].bytes.start).min();
        let start = start.max(cuts[first].bytes.start);
        let end = end.unwrap_or(usize::MAX).min(cuts[last].bytes.end);
        (start < end).then_some(start..end)
    })
}

/// Which positions of an encoding stay. Special tokens always do; the rest of the room is shared by the texts as
/// `longest_first` of the `tokenizers` crate shares it.
fn kept_positions(sequences: &[Option<usize>], truncation: Truncation) -> Vec<usize> {
    let length = |text: usize| sequences.iter().filter(|sequence| **sequence == Some(text)).count();
    let lengths = [length(0), length(1)];
    let special = sequences.len() - lengths[0] - lengths[1];
    let room = share(lengths, truncation.max_length.saturating_sub(special));
    let mut seen = [0, 0];
    let stays = |sequence: &Option<usize>| {
        let Some(text) = *sequence else { return true };
        let index = seen[text];
        seen[text] += 1;
        let head = match truncation.strategy {
            TruncationStrategy::Head => room[text],
            TruncationStrategy::HeadTail if room[text] < lengths[text] => room[text] / 4,
            TruncationStrategy::HeadTail => room[text],
            TruncationStrategy::Tail => 0,
        };
        index < head || lengths[text] - index <= room[text] - head
    };
    let stays: Vec<bool> = sequences.iter().map(stays).collect();
    (0..sequences.len()).filter(|&position| stays[position]).collect()
}

/// How many tokens of two texts fit into `room`: the longer one gives way first.
fn share([first, second]: [usize; 2], room: usize) -> [usize; 2] {
    if first + second <= room {
        return [first, second];
    }
    let (short, swapped) = (first.min(second), first > second);
    // The longer text gets what the shorter leaves, but no less than the shorter's own length; if both are still too long,
    // each gets half.
    let mut shares = if short > room {
        [short, short]
    } else {
        [short, short.max(room - short)]
    };
    if shares[0] + shares[1] > room {
        shares = [room / 2, room / 2 + room % 2];
    }
    if swapped { [shares[1], shares[0]] } else { shares }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_tokens_is_a_special_one() {
        let directory = tempfile::tempdir().unwrap();
        let model = json!({"type": "WordLevel", "vocab": {"a": 0, "b": 1, "<s>": 2}, "unk_token": "a"});
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null, "model": model,
        });
        let ids = |config: Value| {
            std::fs::write(directory.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
            std::fs::write(directory.path().join("tokenizer_config.json"), config.to_string()).unwrap();
            let tokenizer = Tokenizer::from_directory(directory.path()).unwrap();
            let truncation = Truncation {
                max_length: 8,
                strategy: TruncationStrategy::Head,
            };
            ["", " ", "b a"].map(|text| tokenizer.encode(text, None, truncation).unwrap().input_ids)
        };
        let with = ids(json!({"bos_token": null, "eos_token": {"content": "<s>"}}));
        assert_eq!(with, [vec![2], vec![2], vec![1, 0]]);
        assert_eq!(ids(json!({}))[0], [0]);
    }

    #[test]
    fn texts_share_the_room() {
        for (lengths, room, expected) in [
            ([3, 4], 10, [3, 4]),
            ([12, 0], 10, [10, 0]),
            ([2, 30], 10, [2, 8]),
            ([30, 2], 10, [8, 2]),
            ([30, 30], 11, [5, 6]),
            ([31, 30], 11, [6, 5]),
            ([6, 7], 10, [5, 5]),
            ([5, 5], 0, [0, 0]),
        ] {
            assert_eq!(share(lengths, room), expected, "{lengths:?} in {room}");
        }
    }

    #[test]
    fn head_and_tail() {
        // [CLS] ten tokens [SEP]
        let mut sequences = vec![Some(0); 12];
        sequences[0] = None;
        sequences[11] = None;
        let keep = |max_length, strategy| kept_positions(&sequences, Truncation { max_length, strategy });
        assert_eq!(keep(6, TruncationStrategy::Head), [0, 1, 2, 3, 4, 11]);
        assert_eq!(keep(6, TruncationStrategy::HeadTail), [0, 1, 8, 9, 10, 11]);
        assert_eq!(keep(12, TruncationStrategy::HeadTail).len(), 12);
        assert_eq!(keep(1, TruncationStrategy::Head), [0, 11]);
    }

    #[test]
    fn a_trained_tokenizer_covers_its_texts() {
        let texts = [
            "how can I cancel my order",
            "cancel the order please",
            "where is my refund",
        ];
        let tokenizer = Tokenizer::train_wordpiece(texts.iter().copied().cycle().take(9), 200).unwrap();
        let truncation = Truncation {
            max_length: 64,
            strategy: TruncationStrategy::Head,
        };
        let encoded = tokenizer.encode("Cancel my ORDER", Some("refund"), truncation).unwrap();
        assert_eq!(encoded.input_ids[0], 2);
        assert!(
            !encoded.input_ids.contains(&1),
            "unknown token in {:?}",
            encoded.input_ids
        );
        assert_eq!(encoded.token_type_ids.last(), Some(&1));
        assert_eq!(
            (tokenizer.special_tokens(false), tokenizer.special_tokens(true)),
            (2, 3)
        );
    }

    #[test]
    fn a_directory_without_tokenizer_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Tokenizer::from_directory(directory.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no tokenizer found\nhint: put tokenizer.json there, or vocab.txt"),
            "{error}"
        );
    }
}
