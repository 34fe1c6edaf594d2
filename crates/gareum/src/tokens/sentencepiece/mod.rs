//! Tokenizers from a sentencepiece `.model`, with the conventions that model families put on top of it: which ids are shifted or added,
//! what is normalised, what stands around a text. They are those of the tokenizers that `transformers` 5 builds of the same file.
//!
//! `file.rs` reads the file, `kobert.rs` is KoBERT's own convention.

mod charsmap;
mod file;
pub(super) mod kobert;

use std::path::Path;

use ahash::AHashMap;
use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;

use self::file::{Algorithm, PieceKind, SentencePieceFile};
use super::TokenizerError;
use super::pipeline::{Frame, Normalization, Pipeline, normalizers};
use super::settings::{Settings, SpecialTokens};

/// A family's way with a sentencepiece model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentencePieceKind {
    XlmRoberta,
    Camembert,
    DebertaV2,
    Albert,
    XlNet,
    T5,
    MBart,
    MBart50,
    Llama,
    /// As the file says, with nothing of a family.
    Plain,
}

#[cfg(test)]
impl SentencePieceKind {
    pub(super) const ALL: [Self; 10] = [
        Self::XlmRoberta,
        Self::Camembert,
        Self::DebertaV2,
        Self::Albert,
        Self::XlNet,
        Self::T5,
        Self::MBart,
        Self::MBart50,
        Self::Llama,
        Self::Plain,
    ];
}

/// The languages of mBART, in the order of their ids.
const MBART_LANGUAGES: [&str; 25] = [
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN",
];

/// Those that mBART-50 has besides.
const MBART50_LANGUAGES: [&str; 27] = [
    "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN", "mn_MN",
    "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA", "ur_PK",
    "xh_ZA", "gl_ES", "sl_SI",
];

/// Reads a `.model`.
pub(super) fn from_model(
    path: &Path,
    settings: &Settings,
    kind: SentencePieceKind,
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let failed = |reason: String| TokenizerError::Read {
        path: path.to_owned(),
        reason,
    };
    convert(&read(path)?, settings, kind).map_err(failed)
}

fn read(path: &Path) -> Result<SentencePieceFile, TokenizerError> {
    let failed = |reason: String| TokenizerError::Read {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    SentencePieceFile::parse(&bytes).map_err(failed)
}

fn convert(
    file: &SentencePieceFile,
    settings: &Settings,
    kind: SentencePieceKind,
) -> Result<tokenizers::Tokenizer, String> {
    let expected = match kind {
        SentencePieceKind::Plain => file.algorithm,
        SentencePieceKind::Llama => Algorithm::Bpe,
        _ => Algorithm::Unigram,
    };
    if file.algorithm != expected {
        return Err(format!(
            "it is a {:?} model; for {kind:?} tokenizers it should be {expected:?}",
            file.algorithm
        ));
    }
    match kind {
        SentencePieceKind::XlmRoberta => xlm_roberta(file, settings),
        SentencePieceKind::Camembert => camembert(file, settings),
        SentencePieceKind::DebertaV2 => deberta_v2(file, settings),
        SentencePieceKind::Albert => albert(file, settings),
        SentencePieceKind::XlNet => xlnet(file, settings),
        SentencePieceKind::T5 => t5(file, settings),
        SentencePieceKind::MBart => mbart(file, settings),
        SentencePieceKind::MBart50 => mbart50(file, settings),
        SentencePieceKind::Llama => llama(file, settings),
        SentencePieceKind::Plain => plain(file, settings),
    }
}

/// The special tokens of fairseq's models.
const FAIRSEQ: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("sep_token", "</s>"),
    ("cls_token", "<s>"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
    ("mask_token", "<mask>"),
];

/// The special tokens of models that are framed like BERT's.
const BERT_LIKE: [(&str, &str); 7] = [
    ("bos_token", "[CLS]"),
    ("eos_token", "[SEP]"),
    ("sep_token", "[SEP]"),
    ("cls_token", "[CLS]"),
    ("unk_token", "[UNK]"),
    ("pad_token", "[PAD]"),
    ("mask_token", "[MASK]"),
];

/// fairseq put `<s>`, `<pad>`, `</s>` and `<unk>` before the pieces, in place of the file's own three.
fn xlm_roberta(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut special = settings.special_tokens(&FAIRSEQ);
    special.extra_by_default(listed(file));
    let mut vocabulary = shifted(file, ["<s>", "<pad>", "</s>", "<unk>"], &special, "bos_token");
    vocabulary.push((special.spelled("mask_token").to_owned(), 0.0));
    let pipeline = Pipeline {
        normalizer: normalizers(rules(file)?)?,
        ..words(prefix(settings))
    };
    pipeline.assemble(unigram(vocabulary, 3)?, &special, bos_a_eos_eos_b(&special))
}

fn camembert(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut special = settings.special_tokens(&FAIRSEQ);
    special.mask_takes_blanks();
    special.extra_by_default(listed(file));
    let spelled = |key: &str| special.spelled(key).to_owned();
    let mut vocabulary = vec![
        ("<s>NOTUSED".to_owned(), 0.0),
        (spelled("pad_token"), 0.0),
        ("</s>NOTUSED".to_owned(), 0.0),
        (spelled("unk_token"), 0.0),
        ("<unk>NOTUSED".to_owned(), -100.0),
    ];
    vocabulary.extend(scored(file).skip(1));
    vocabulary.push((spelled("mask_token"), 0.0));
    let pipeline = Pipeline {
        normalizer: normalizers(rules(file)?)?,
        ..words(prefix(settings))
    };
    pipeline.assemble(unigram(vocabulary, 3)?, &special, bos_a_eos_eos_b(&special))
}

/// The rules of normalisation in the file are not used: `transformers` 5 composes (NFC) and joins blanks instead.
fn deberta_v2(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut special = settings.special_tokens(&BERT_LIKE);
    special.extra_by_default(listed(file));
    let vocabulary: Vec<(String, f64)> = scored(file).collect();
    let named = vocabulary
        .iter()
        .position(|(piece, score)| piece == special.spelled("unk_token") && *score == 0.0);
    let unk_id = named.unwrap_or(file.unk_id);
    let mut steps = Vec::new();
    if settings.flag("do_lower_case") == Some(true) {
        steps.push(Normalization::named("Lowercase"));
    }
    steps.extend([
        Normalization::replace_matches(r"\s{2,}|[\n\r\t]", " "),
        Normalization::named("NFC"),
        Normalization::Written(json!({ "type": "Strip", "strip_left": false, "strip_right": true })),
    ]);
    let scheme = if prefix(settings) == "always" {
        "always"
    } else {
        "first"
    };
    let mut splits = Vec::new();
    if settings.flag("split_by_punct") == Some(true) {
        splits.push(json!({ "type": "Punctuation", "behavior": "Isolated" }));
    }
    splits.push(metaspace(scheme, true));
    let pipeline = Pipeline {
        normalizer: normalizers(steps)?,
        pre_tokenizer: json!({ "type": "Sequence", "pretokenizers": splits }),
        decoder: metaspace(scheme, true),
    };
    pipeline.assemble(unigram(vocabulary, unk_id)?, &special, cls_a_sep_b_sep(&special))
}

fn albert(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut special = settings.special_tokens(&BERT_LIKE.map(|(key, token)| match key {
        "unk_token" => (key, "<unk>"),
        "pad_token" => (key, "<pad>"),
        _ => (key, token),
    }));
    special.extra_by_default(listed(file));
    let mut steps = quotes();
    if settings.flag("keep_accents") != Some(true) {
        steps.extend([Normalization::named("NFKD"), Normalization::named("StripAccents")]);
    }
    if settings.flag("do_lower_case") != Some(false) {
        steps.push(Normalization::named("Lowercase"));
    }
    steps.extend(rules(file)?);
    let pipeline = Pipeline {
        normalizer: normalizers(steps)?,
        ..words(prefix(settings))
    };
    pipeline.assemble(unigram(scored(file).collect(), 1)?, &special, cls_a_sep_b_sep(&special))
}

/// Accents are always stripped and Hangul always taken apart and put together again, as in `transformers` 5.
fn xlnet(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut special = settings.special_tokens(&[
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
        ("sep_token", "<sep>"),
        ("pad_token", "<pad>"),
        ("cls_token", "<cls>"),
        ("mask_token", "<mask>"),
    ]);
    special.mask_takes_blanks();
    special.extra_by_default(listed(file));
    let mut steps = quotes();
    steps.extend([Normalization::named("NFKD"), Normalization::named("StripAccents")]);
    if settings.flag("do_lower_case") == Some(true) {
        steps.push(Normalization::named("Lowercase"));
    }
    steps.extend(rules(file)?);
    let pipeline = Pipeline {
        normalizer: normalizers(steps)?,
        ..words("always")
    };
    let (sep, cls) = (special.spelled("sep_token"), special.spelled("cls_token"));
    let frame = Frame::template(
        &format!("$A:0 {sep}:0 {cls}:2"),
        &format!("$A:0 {sep}:0 $B:1 {sep}:1 {cls}:2"),
    );
    pipeline.assemble(unigram(scored(file).collect(), file.unk_id)?, &special, frame)
}

/// A hundred `<extra_id_…>` stand behind the pieces, the last of them first.
fn t5(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let extra_ids = settings.config.get("extra_ids").and_then(Value::as_u64).unwrap_or(100);
    let extra = |number: u64| format!("<extra_id_{number}>");
    let mut special = settings.special_tokens(&[("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")]);
    special.extra_by_default(listed(file));
    special.extra_by_default((0..extra_ids).map(|number| AddedToken::from(extra(number), true)));
    let vocabulary = scored(file).chain((0..extra_ids).rev().map(|number| (extra(number), 0.0)));
    let pipeline = Pipeline {
        normalizer: normalizers(rules(file)?)?,
        ..words("always")
    };
    let frame = Frame::template("$A </s>", "$A </s> $B </s>");
    pipeline.assemble(unigram(vocabulary.collect(), 2)?, &special, frame)
}

/// Ids as XLM-RoBERTa's, with the languages behind the pieces; a text ends with `</s>` and its language. The rules of normalisation in
/// the file are not used, as in `transformers` 5.
fn mbart(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let (special, vocabulary) = multilingual(file, settings, &MBART_LANGUAGES, "bos_token", true);
    let (eos, language) = (
        special.spelled("eos_token"),
        settings.word("src_lang").unwrap_or("en_XX"),
    );
    let frame = Frame::template(&format!("$A {eos} {language}"), &format!("$A $B {eos} {language}"));
    words("always").assemble(unigram(vocabulary, 3)?, &special, frame)
}

/// As mBART, but the language stands before a text.
fn mbart50(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let languages = [MBART_LANGUAGES.as_slice(), &MBART50_LANGUAGES].concat();
    let (special, vocabulary) = multilingual(file, settings, &languages, "cls_token", false);
    let (eos, language) = (
        special.spelled("eos_token"),
        settings.word("src_lang").unwrap_or("en_XX"),
    );
    let frame = Frame::template(&format!("{language} $A {eos}"), &format!("{language} $A $B {eos}"));
    let mut steps: Vec<Normalization> = rules(file)?.into_iter().collect();
    steps.push(Normalization::replace_matches(" {2,}", " "));
    let pipeline = Pipeline {
        normalizer: normalizers(steps)?,
        pre_tokenizer: metaspace("always", true),
        decoder: metaspace("always", true),
    };
    pipeline.assemble(unigram(vocabulary, 3)?, &special, frame)
}

fn multilingual(
    file: &SentencePieceFile,
    settings: &Settings,
    languages: &[&str],
    first: &str,
    languages_first: bool,
) -> (SpecialTokens, Vec<(String, f64)>) {
    let mut special = settings.special_tokens(&FAIRSEQ);
    special.mask_takes_blanks();
    let tokens = || languages.iter().map(|language| AddedToken::from(*language, true));
    if languages_first {
        special.extra_by_default(tokens());
        special.extra_by_default(listed(file));
    } else {
        special.extra_by_default(listed(file));
        special.extra_by_default(tokens());
    }
    let mut vocabulary = shifted(file, ["<s>", "<pad>", "</s>", "<unk>"], &special, first);
    vocabulary.extend(languages.iter().map(|language| ((*language).to_owned(), 0.0)));
    vocabulary.push((special.spelled("mask_token").to_owned(), 0.0));
    (special, vocabulary)
}

/// Bytes stand in for what is no piece. With `legacy`, a blank is put before each part between special tokens, otherwise before the
/// first only.
fn llama(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut special = settings.special_tokens(&[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")]);
    special.extra_by_default(listed(file));
    let model = merging(file).byte_fallback(true).build();
    let scheme = match (settings.flag("add_prefix_space"), settings.flag("legacy")) {
        (Some(false), _) => "never",
        (_, Some(true)) => "always",
        _ => "first",
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if scheme != "never" {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let pipeline = Pipeline {
        normalizer: None,
        pre_tokenizer: metaspace(scheme, false),
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
    };
    pipeline.assemble(
        model.map_err(|error| error.to_string())?,
        &special,
        Frame::bos_eos(settings),
    )
}

fn plain(file: &SentencePieceFile, settings: &Settings) -> Result<tokenizers::Tokenizer, String> {
    let mut defaults = vec![("unk_token", file.unk_piece.as_str())];
    defaults.extend(file.bos_id.map(|_| ("bos_token", file.bos_piece.as_str())));
    defaults.extend(file.eos_id.map(|_| ("eos_token", file.eos_piece.as_str())));
    let mut special = settings.special_tokens(&defaults);
    special.extra_by_default(listed(file));
    let mut steps: Vec<Normalization> = rules(file)?.into_iter().collect();
    steps.push(Normalization::replace(" ", "▁"));
    let blank = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
    let decoders = if file.byte_fallback {
        json!([blank, { "type": "ByteFallback" }, { "type": "Fuse" }])
    } else {
        json!([blank])
    };
    let pipeline = Pipeline {
        normalizer: normalizers(steps)?,
        pre_tokenizer: Value::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
    };
    let text = |error: tokenizers::Error| error.to_string();
    match file.algorithm {
        Algorithm::Unigram => {
            let model = Unigram::from(scored(file).collect(), Some(file.unk_id), file.byte_fallback);
            pipeline.assemble(model.map_err(text)?, &special, Frame::bos_eos(settings))
        }
        Algorithm::Bpe => {
            let model = merging(file)
                .byte_fallback(file.byte_fallback)
                .unk_token(file.unk_piece.clone());
            pipeline.assemble(model.build().map_err(text)?, &special, Frame::bos_eos(settings))
        }
    }
}

/// Pieces that are found before the others: control symbols, which are special, and symbols that a user defined.
fn listed(file: &SentencePieceFile) -> impl Iterator<Item = AddedToken> {
    file.pieces.iter().filter_map(|piece| {
        let special = match piece.kind {
            PieceKind::Control => true,
            PieceKind::UserDefined => false,
            _ => return None,
        };
        Some(AddedToken::from(piece.text.clone(), special).normalized(false))
    })
}

fn scored(file: &SentencePieceFile) -> impl Iterator<Item = (String, f64)> {
    file.pieces
        .iter()
        .map(|piece| (piece.text.clone(), f64::from(piece.score)))
}

/// Four tokens in place of the file's first three, then its pieces.
fn shifted(file: &SentencePieceFile, defaults: [&str; 4], special: &SpecialTokens, first: &str) -> Vec<(String, f64)> {
    let keys = [first, "pad_token", "eos_token", "unk_token"];
    let spelled = |(key, default): (&str, &str)| (special.get(key).unwrap_or(default).to_owned(), 0.0);
    keys.into_iter()
        .zip(defaults)
        .map(spelled)
        .chain(scored(file).skip(3))
        .collect()
}

fn unigram(vocabulary: Vec<(String, f64)>, unk_id: usize) -> Result<Unigram, String> {
    let pieces = vocabulary.len();
    Unigram::from(vocabulary, Some(unk_id), false)
        .map_err(|error| format!("its unknown token should have the id {unk_id} of {pieces}: {error}"))
}

/// A BPE model. The file has no merges, only what came of them: every way to put a piece together of two is one, and what stands first in
/// the vocabulary is merged first.
fn merging(file: &SentencePieceFile) -> tokenizers::models::bpe::BpeBuilder {
    let vocabulary: AHashMap<&str, u32> = file.pieces.iter().map(|piece| piece.text.as_str()).zip(0..).collect();
    let mut merges = Vec::new();
    for piece in &file.pieces {
        let halves = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        let known = halves.filter(|(left, right)| vocabulary.contains_key(left) && vocabulary.contains_key(right));
        merges.extend(known.map(|(left, right)| (left.to_owned(), right.to_owned())));
    }
    let vocabulary = vocabulary
        .into_iter()
        .map(|(piece, id)| (piece.to_owned(), id))
        .collect::<AHashMap<String, u32>>();
    BPE::builder().vocab_and_merges(vocabulary, merges).fuse_unk(true)
}

/// The file's own rules of normalisation, if it has any.
fn rules(file: &SentencePieceFile) -> Result<Option<Normalization>, String> {
    if file.precompiled_charsmap.is_empty() {
        return Ok(None);
    }
    Ok(Some(Normalization::Ready(charsmap::normalizer(
        &file.precompiled_charsmap,
    )?)))
}

fn quotes() -> Vec<Normalization> {
    vec![Normalization::replace("``", "\""), Normalization::replace("''", "\"")]
}

/// A blank is written `▁`, and texts are split before it.
fn metaspace(prepend_scheme: &str, split: bool) -> Value {
    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend_scheme, "split": split })
}

/// Words between blanks, with or without a `▁` before them.
fn words(prepend_scheme: &str) -> Pipeline {
    Pipeline {
        normalizer: None,
        pre_tokenizer: json!({
            "type": "Sequence",
            "pretokenizers": [{ "type": "WhitespaceSplit" }, metaspace(prepend_scheme, true)],
        }),
        decoder: metaspace(prepend_scheme, true),
    }
}

fn prefix(settings: &Settings) -> &'static str {
    match settings.flag("add_prefix_space") {
        Some(false) => "never",
        _ => "always",
    }
}

fn bos_a_eos_eos_b(special: &SpecialTokens) -> Frame {
    let (bos, eos) = (special.spelled("bos_token"), special.spelled("eos_token"));
    Frame::template(&format!("{bos} $A {eos}"), &format!("{bos} $A {eos} {eos} $B {eos}"))
}

fn cls_a_sep_b_sep(special: &SpecialTokens) -> Frame {
    let (cls, sep) = (special.spelled("cls_token"), special.spelled("sep_token"));
    Frame::template(
        &format!("{cls}:0 $A:0 {sep}:0"),
        &format!("{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1"),
    )
}
