//! BERT's tokenizer from a `vocab.txt`, or trained on texts: WordPiece behind BERT's normaliser.

use std::collections::BTreeSet;
use std::path::Path;

use ahash::AHashMap;
use serde_json::json;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    Tokenizer,
};

use super::TokenizerError;
use super::pipeline::{Frame, Pipeline};
use super::settings::{Settings, SpecialTokens};

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

/// Reads `vocab.txt`, a token a line. Also says whether texts are lower-cased.
pub(super) fn from_vocabulary(path: &Path, settings: &Settings) -> Result<(Tokenizer, bool), TokenizerError> {
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
    let normalisation = Normalisation {
        lowercase: settings.flag("do_lower_case").unwrap_or_else(|| !is_cased(&vocabulary)),
        strip_accents: settings.flag("strip_accents"),
        handle_chinese_chars: settings.flag("tokenize_chinese_chars").unwrap_or(true),
    };
    let special = settings.special_tokens(&SPECIAL_TOKENS);
    for key in ["pad_token", "unk_token", "cls_token", "sep_token"] {
        if !vocabulary.contains_key(special.spelled(key)) {
            return Err(TokenizerError::SpecialToken {
                path: path.to_owned(),
                token: special.spelled(key).to_owned(),
            });
        }
    }
    let model = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(special.spelled("unk_token").to_owned())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    Ok((
        assemble(model, normalisation, &special).map_err(failed)?,
        normalisation.lowercase,
    ))
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
fn assemble(model: WordPiece, normalisation: Normalisation, special: &SpecialTokens) -> Result<Tokenizer, String> {
    let (cls, sep) = (special.spelled("cls_token"), special.spelled("sep_token"));
    let frame = Frame::template(
        &format!("{cls}:0 $A:0 {sep}:0"),
        &format!("{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1"),
    );
    let Normalisation {
        lowercase,
        strip_accents,
        handle_chinese_chars,
    } = normalisation;
    let normalizer = BertNormalizer::new(true, handle_chinese_chars, strip_accents, lowercase);
    let pipeline = Pipeline {
        normalizer: Some(normalizer.into()),
        pre_tokenizer: json!({ "type": "BertPreTokenizer" }),
        decoder: json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
    };
    pipeline.assemble(model, special, frame)
}

/// Trains a lower-casing WordPiece vocabulary of at most `vocab_size` tokens. The same texts give the same vocabulary.
pub(super) fn train(texts: &[&str], vocab_size: usize) -> Result<Tokenizer, TokenizerError> {
    let failed = |reason: String| TokenizerError::Train { reason };
    let text = |error: tokenizers::Error| failed(error.to_string());
    let special: Vec<String> = SPECIAL_TOKENS.iter().map(|(_, token)| (*token).to_owned()).collect();
    let named = Settings::default().special_tokens(&SPECIAL_TOKENS);
    let normalisation = Normalisation {
        lowercase: true,
        // Stripping accents would take Hangul syllables apart.
        strip_accents: Some(false),
        handle_chinese_chars: true,
    };
    let with_vocabulary = |vocabulary: AHashMap<String, u32>| {
        let model = WordPiece::builder().vocab(vocabulary).build().map_err(text)?;
        assemble(model, normalisation, &named).map_err(failed)
    };
    let mut tokenizer = with_vocabulary(special.iter().cloned().zip(0..).collect())?;
    // The trainer breaks ties by the ids of pieces, and numbers those within words in the order of a hash map, which changes from run to
    // run. So they are given to it as special tokens, in order; the vocabulary that comes out is put into a tokenizer where they are not.
    let within = characters_within_words(&tokenizer, texts).map_err(text)?;
    let numbered = special
        .iter()
        .cloned()
        .chain(within.iter().map(|character| format!("##{character}")));
    let mut trainer = TrainerWrapper::from(
        WordPieceTrainer::builder()
            .vocab_size(vocab_size)
            .min_frequency(2)
            .special_tokens(numbered.map(|token| AddedToken::from(token, true)).collect())
            .show_progress(false)
            .build(),
    );
    tokenizer.train(&mut trainer, texts.iter().copied()).map_err(text)?;
    with_vocabulary(tokenizer.get_vocab(false).into_iter().collect())
}

/// The characters that stand in a word behind its first.
fn characters_within_words(tokenizer: &Tokenizer, texts: &[&str]) -> tokenizers::Result<BTreeSet<char>> {
    let mut characters = BTreeSet::new();
    for text in texts {
        let mut normalized = NormalizedString::from(*text);
        if let Some(normalizer) = tokenizer.get_normalizer() {
            normalizer.normalize(&mut normalized)?;
        }
        let mut words = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut words)?;
        }
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            characters.extend(word.chars().skip(1));
        }
    }
    Ok(characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_gives_the_same_vocabulary_every_time() {
        // Each word as often as every other: nothing but ties.
        let texts: Vec<String> = (0..60)
            .map(|number| format!("배송{number}이 delivery{number} 빨라요{number}"))
            .collect();
        let texts: Vec<&str> = texts.iter().chain(&texts).map(String::as_str).collect();
        let first = train(&texts, 100).unwrap();
        assert_eq!(first.get_vocab_size(true), 100);
        for _ in 0..5 {
            assert_eq!(train(&texts, 100).unwrap().get_vocab(true), first.get_vocab(true));
        }
        let encoded = first.encode("배송1이 빨라요", true).unwrap();
        assert!(
            !encoded.get_tokens().contains(&"[UNK]".to_owned()),
            "{:?}",
            encoded.get_tokens()
        );
        // A piece from within words is not a special token: as a text it is two signs and a syllable.
        let piece = first.encode("##이", false).unwrap();
        assert!(
            !piece.get_tokens().contains(&"##이".to_owned()),
            "{:?}",
            piece.get_tokens()
        );
    }

    #[test]
    fn a_vocabulary_is_cased_if_lower_casing_loses_words() {
        let cased = |tokens: &[&str]| is_cased(&tokens.iter().map(|token| (*token).to_owned()).zip(0..).collect());
        assert!(cased(&["[UNK]", "the", "The"]));
        assert!(!cased(&["[UNK]", "the", "##ℝ", "배송"]));
    }
}
