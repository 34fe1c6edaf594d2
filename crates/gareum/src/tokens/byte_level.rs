//! Byte-level BPE from `vocab.json` and `merges.txt`: GPT-2, RoBERTa and BART, Qwen2, GPT-NeoX. A text is split by a regular
//! expression, its bytes become letters, and merges join those (Radford et al. 2019, section 2.2).

use std::path::Path;

use ahash::AHashMap;
use serde_json::{Value, json};
use tokenizers::models::bpe::BPE;

use super::TokenizerError;
use super::pipeline::{Frame, Normalization, Pipeline, normalizers};
use super::settings::Settings;

/// Whose pre-tokenizer and frame it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteLevelKind {
    Gpt2,
    Roberta,
    Qwen2,
    GptNeoX,
}

/// How Qwen2 splits: digits one by one, letters with one sign before them, runs of line breaks.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What stands between texts in training, and for all special tokens of GPT-2.
const END: &str = "<|endoftext|>";

/// Reads both files of a directory.
pub(super) fn from_directory(
    directory: &Path,
    settings: &Settings,
    kind: ByteLevelKind,
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let vocabulary_path = directory.join("vocab.json");
    let vocabulary = read_vocabulary(&vocabulary_path)?;
    let merges = read_merges(&directory.join("merges.txt"), &vocabulary)?;
    let failed = |reason: String| TokenizerError::Read {
        path: vocabulary_path.clone(),
        reason,
    };
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(String::new())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    assemble(model, settings, kind).map_err(failed)
}

fn assemble(model: BPE, settings: &Settings, kind: ByteLevelKind) -> Result<tokenizers::Tokenizer, String> {
    let add_prefix_space = settings.flag("add_prefix_space").unwrap_or(false);
    let trim_offsets = settings.flag("trim_offsets").unwrap_or(true);
    let byte_level = |prefix: bool, trim: bool, regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex });
    let pre_tokenizer = match kind {
        ByteLevelKind::Gpt2 | ByteLevelKind::Roberta | ByteLevelKind::GptNeoX => {
            byte_level(add_prefix_space, kind != ByteLevelKind::GptNeoX || trim_offsets, true)
        }
        ByteLevelKind::Qwen2 => json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": QWEN2 }, "behavior": "Isolated", "invert": false },
            byte_level(add_prefix_space, true, false),
        ] }),
    };
    let normalizer = match kind {
        ByteLevelKind::Gpt2 | ByteLevelKind::Roberta => None,
        ByteLevelKind::Qwen2 | ByteLevelKind::GptNeoX => normalizers([Normalization::named("NFC")])?,
    };
    let special = settings.special_tokens(match kind {
        ByteLevelKind::Gpt2 => &[("unk_token", END), ("bos_token", END), ("eos_token", END)],
        ByteLevelKind::Roberta => &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("sep_token", "</s>"),
            ("cls_token", "<s>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
        ByteLevelKind::Qwen2 => &[("unk_token", END), ("eos_token", END), ("pad_token", END)],
        ByteLevelKind::GptNeoX => &[
            ("unk_token", END),
            ("bos_token", END),
            ("eos_token", END),
            ("pad_token", "<|padding|>"),
        ],
    });
    let pipeline = Pipeline {
        normalizer,
        pre_tokenizer,
        decoder: byte_level(true, true, true),
    };
    if kind != ByteLevelKind::Roberta {
        return pipeline.assemble(model, &special, Frame::bos_eos(settings));
    }
    // The ids of the frame are known once the special tokens are in the vocabulary.
    let mut tokenizer = pipeline.assemble(model, &special, Frame::Written(Value::Null))?;
    let token = |key: &str| {
        let token = special.spelled(key);
        let id = tokenizer.token_to_id(token);
        Ok::<_, String>((
            token.to_owned(),
            id.ok_or_else(|| format!("the vocabulary has no `{token}`"))?,
        ))
    };
    let frame = tokenizers::processors::roberta::RobertaProcessing::new(token("sep_token")?, token("cls_token")?)
        .trim_offsets(trim_offsets)
        .add_prefix_space(add_prefix_space);
    tokenizer.with_post_processor(Some(frame));
    Ok(tokenizer)
}

/// `vocab.json`: an object of tokens with their ids.
fn read_vocabulary(path: &Path) -> Result<AHashMap<String, u32>, TokenizerError> {
    let mut tokens: AHashMap<u32, String> = AHashMap::new();
    let mut vocabulary = AHashMap::new();
    for (token, id) in super::settings::read_object(path)? {
        let failed = |reason: String| TokenizerError::Read {
            path: path.to_owned(),
            reason,
        };
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = number.ok_or_else(|| failed(format!("`{token}` should have an id, found {id}")))?;
        if let Some(other) = tokens.insert(id, token.clone()) {
            return Err(failed(format!("`{other}` and `{token}` both have the id {id}")));
        }
        vocabulary.insert(token, id);
    }
    Ok(vocabulary)
}

/// `merges.txt`: two tokens a line, what is merged first stands first; lines that begin with `#version` say nothing.
fn read_merges(path: &Path, vocabulary: &AHashMap<String, u32>) -> Result<Vec<(String, String)>, TokenizerError> {
    let text = std::fs::read_to_string(path).map_err(|error| TokenizerError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let mut merges = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with("#version") {
            continue;
        }
        let failed = |reason: String| TokenizerError::Merge {
            path: path.to_owned(),
            line: number,
            reason,
        };
        let (left, right) = line
            .split_once(' ')
            .filter(|(_, right)| !right.contains(' '))
            .ok_or_else(|| failed(format!("`{line}` should be two tokens with a blank between them")))?;
        // The `tokenizers` crate takes for granted that what comes of a merge is there.
        for token in [left, right, &format!("{left}{right}")] {
            if !vocabulary.contains_key(token) {
                return Err(failed(format!("vocab.json has no `{token}`, which `{line}` needs")));
            }
        }
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}
