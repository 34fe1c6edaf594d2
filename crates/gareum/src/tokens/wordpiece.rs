//! BERT's tokenizer from a `vocab.txt`, or trained on texts: WordPiece behind BERT's normaliser.

use std::path::Path;

use ahash::AHashMap;
use serde_json::{Map, Value};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Model, Tokenizer};

use super::TokenizerError;

/// The special tokens of BERT, by the keys of `tokenizer_config.json`.
pub(super) const SPECIAL_TOKENS: [(&str, &str); 5] = [
    ("pad_token", "[PAD]"),
    ("unk_token", "[UNK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
    ("mask_token", "[MASK]"),
];

/// How BERT's normaliser treats a text.
#[derive(Debug, Clone, Copy)]
struct Normalisation {
    lowercase: bool,
    strip_accents: Option<bool>,
    handle_chinese_chars: bool,
}

/// Reads `vocab.txt`, a token a line, under the settings of `tokenizer_config.json`.
pub(super) fn from_vocabulary(path: &Path, config: &Map<String, Value>) -> Result<Tokenizer, TokenizerError> {
    let failed = |reason: String| TokenizerError::Read {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let lines = text
        .split_terminator('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line));
    // A token that stands twice has the id of its last line, as in `transformers`.
    let vocabulary: AHashMap<String, u32> = lines.zip(0..).map(|(token, id)| (token.to_owned(), id)).collect();
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let normalisation = Normalisation {
        lowercase: flag("do_lower_case").unwrap_or_else(|| !is_cased(&vocabulary)),
        strip_accents: flag("strip_accents"),
        handle_chinese_chars: flag("tokenize_chinese_chars").unwrap_or(true),
    };
    let special = special_tokens(config);
    if let Some(token) = special[..4].iter().find(|token| !vocabulary.contains_key(*token)) {
        return Err(TokenizerError::SpecialToken {
            path: path.to_owned(),
            token: token.clone(),
        });
    }
    let model = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(special[1].clone())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    assemble(model, normalisation, &special).map_err(failed)
}

/// The special tokens in the order of [`SPECIAL_TOKENS`], under the names that a config gives them.
fn special_tokens(config: &Map<String, Value>) -> Vec<String> {
    let named = |key: &str| {
        let value = config.get(key)?;
        value
            .as_str()
            .or_else(|| value.get("content")?.as_str())
            .map(str::to_owned)
    };
    SPECIAL_TOKENS
        .iter()
        .map(|(key, default)| named(key).unwrap_or_else(|| (*default).to_owned()))
        .collect()
}

/// Whether a vocabulary has words that lower-casing would make unreachable. `transformers` lower-cases whenever
/// `do_lower_case` is not written down. Asked of the result and not of `is_uppercase`: `ℝ`, which bert-base-uncased has, is
/// a capital without a small letter.
fn is_cased(vocabulary: &AHashMap<String, u32>) -> bool {
    let is_word = |token: &&String| !token.starts_with('[');
    vocabulary
        .keys()
        .filter(is_word)
        .any(|token| token.to_lowercase() != *token)
}

/// Puts normaliser, model and the `[CLS] A [SEP] B [SEP]` frame together.
fn assemble(model: WordPiece, normalisation: Normalisation, special: &[String]) -> Result<Tokenizer, String> {
    let text = |error: tokenizers::Error| error.to_string();
    let (cls, sep) = (&special[2], &special[3]);
    let id = |token: &str| {
        model
            .token_to_id(token)
            .ok_or_else(|| format!("the vocabulary has no `{token}`"))
    };
    let frame = TemplateProcessing::builder()
        .try_single(format!("{cls}:0 $A:0 {sep}:0"))?
        .try_pair(format!("{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1"))?
        .special_tokens(vec![(cls.clone(), id(cls)?), (sep.clone(), id(sep)?)])
        .build()
        .map_err(|error| error.to_string())?;
    let Normalisation {
        lowercase,
        strip_accents,
        handle_chinese_chars,
    } = normalisation;
    let known: Vec<AddedToken> = special
        .iter()
        .filter(|token| model.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token.clone(), true))
        .collect();
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(
            true,
            handle_chinese_chars,
            strip_accents,
            lowercase,
        )))
        .map_err(text)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(frame))
        .with_decoder(Some(WordPieceDecoder::default()));
    tokenizer.add_special_tokens(known).map_err(text)?;
    Ok(tokenizer)
}

/// Trains a lower-casing WordPiece vocabulary of at most `vocab_size` tokens.
pub(super) fn train<'a>(
    texts: impl Iterator<Item = &'a str> + Send,
    vocab_size: usize,
) -> Result<Tokenizer, TokenizerError> {
    let failed = |reason: String| TokenizerError::Train { reason };
    let special: Vec<String> = SPECIAL_TOKENS.iter().map(|(_, token)| (*token).to_owned()).collect();
    let added = special
        .iter()
        .map(|token| AddedToken::from(token.clone(), true))
        .collect();
    let trainer = WordPieceTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .special_tokens(added)
        .show_progress(false)
        .build();
    let empty: AHashMap<String, u32> = special.iter().cloned().zip(0..).collect();
    let model = WordPiece::builder()
        .vocab(empty)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let normalisation = Normalisation {
        lowercase: true,
        // Stripping accents would take Hangul syllables apart.
        strip_accents: Some(false),
        handle_chinese_chars: true,
    };
    let mut tokenizer = assemble(model, normalisation, &special).map_err(failed)?;
    tokenizer
        .train(&mut TrainerWrapper::from(trainer), texts)
        .map_err(|error| failed(error.to_string()))?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_is_cased_if_lower_casing_loses_words() {
        let cased = |tokens: &[&str]| is_cased(&tokens.iter().map(|token| (*token).to_owned()).zip(0..).collect());
        assert!(cased(&["[UNK]", "the", "The"]));
        assert!(!cased(&["[UNK]", "the", "##ℝ", "배송"]));
    }
}
