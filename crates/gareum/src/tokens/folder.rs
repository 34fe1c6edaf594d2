//! Which tokenizer a directory holds: by the files that are there, and where those leave it open by the class that the settings name or
//! that the type of the model goes with.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::TokenizerError;
use super::byte_level::{self, ByteLevelKind};
use super::sentencepiece::kobert::{self, Cutter};
use super::sentencepiece::{self, SentencePieceKind};
use super::settings::Settings;
use super::wordpiece;

/// What was read from a directory.
pub(super) struct Opened {
    pub inner: tokenizers::Tokenizer,
    /// `tokenizer_config.json`, with what a tokenizer that was put together here needs to be read again.
    pub config: Map<String, Value>,
    /// What cuts texts instead, in KoBERT's tokenizers.
    pub cutter: Option<Cutter>,
}

/// The names under which checkpoints have a sentencepiece model.
const MODEL_FILES: [&str; 6] = [
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "sentencepiece.model",
    "tokenizer_78b3253a26.model",
];

/// Whether there is a file that a tokenizer is read from.
pub(super) fn is_in(directory: &Path) -> bool {
    let others = ["tokenizer.json", "vocab.txt", "vocab.json"];
    let mut names = others.iter().chain(&MODEL_FILES);
    names.any(|name| directory.join(name).exists())
}

/// Reads a directory: `tokenizer.json` if there is one, else what the checkpoint was made with.
pub(super) fn open(directory: &Path) -> Result<Opened, TokenizerError> {
    let settings = Settings::read(directory)?;
    let at = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
    if let Some(path) = at("tokenizer.json") {
        return open_json(&path, settings);
    }
    let class = class(&settings);
    let unsupported = |class: &str, file: &str| TokenizerError::Class {
        directory: directory.to_owned(),
        class: class.to_owned(),
        file: file.to_owned(),
    };
    let unnamed = |file: &str| TokenizerError::Unnamed {
        directory: directory.to_owned(),
        file: file.to_owned(),
    };
    let vocabulary = at("vocab.txt");
    if let Some(path) = model_file(directory)? {
        let name = file_name(&path);
        let is_bert = matches!(settings.model_type.as_deref(), Some("bert" | "distilbert"));
        let is_kobert = match class.as_deref() {
            Some("KoBERTTokenizer" | "KoBertTokenizer" | "BertTokenizer") => true,
            Some("XLNetTokenizer") => is_bert || vocabulary.is_some(),
            Some(class) => sentencepiece_kind(class).is_none() && vocabulary.is_some(),
            None => vocabulary.is_some(),
        };
        if is_kobert {
            return open_kobert(&path, vocabulary.as_deref(), settings);
        }
        let class = class.ok_or_else(|| unnamed(&name))?;
        let kind = sentencepiece_kind(&class).ok_or_else(|| unsupported(&class, &name))?;
        let inner = sentencepiece::from_model(&path, &settings, kind)?;
        return Ok(built(inner, settings, &class));
    }
    if let Some(path) = at("vocab.json") {
        if at("merges.txt").is_none() {
            return Err(TokenizerError::Read {
                path,
                reason: "there is no merges.txt beside it".to_owned(),
            });
        }
        let class = class.ok_or_else(|| unnamed("vocab.json"))?;
        let kind = byte_level_kind(&class).ok_or_else(|| unsupported(&class, "vocab.json"))?;
        let inner = byte_level::from_directory(directory, &settings, kind)?;
        return Ok(built(inner, settings, &class));
    }
    let path = vocabulary.ok_or_else(|| TokenizerError::Missing {
        directory: directory.to_owned(),
    })?;
    // RoBERTa's own class would be that of the model's type; a `vocab.txt` is no file of its.
    let written = settings
        .class()
        .filter(|class| byte_level_kind(class).is_none() && *class != "PreTrainedTokenizer");
    if let Some(class) = written.filter(|class| !is_wordpiece(class)) {
        return Err(unsupported(class, "vocab.txt"));
    }
    let (inner, lower_case) = wordpiece::from_vocabulary(&path, &settings)?;
    let mut opened = built(inner, settings, "BertTokenizer");
    // Not left to a default, which lower-cases every vocabulary.
    opened.config.entry("do_lower_case").or_insert(json!(lower_case));
    Ok(opened)
}

fn open_json(path: &Path, settings: Settings) -> Result<Opened, TokenizerError> {
    let failed = |reason: String| TokenizerError::Read {
        path: path.to_owned(),
        reason: format!("not a tokenizer: {reason}"),
    };
    let inner = tokenizers::Tokenizer::from_file(path).map_err(|error| failed(error.to_string()))?;
    let cutter = settings
        .config
        .get(kobert::KEY)
        .map(|written| Cutter::new(&inner, written));
    let cutter = cutter.transpose().map_err(|reason| TokenizerError::Read {
        path: path.with_file_name("tokenizer_config.json"),
        reason,
    })?;
    Ok(Opened {
        inner,
        config: settings.config,
        cutter,
    })
}

fn open_kobert(path: &Path, vocabulary: Option<&Path>, settings: Settings) -> Result<Opened, TokenizerError> {
    let kobert = kobert::from_model(path, vocabulary, &settings)?;
    let cutter = Cutter::new(&kobert.tokenizer, &kobert.settings).map_err(|reason| TokenizerError::Read {
        path: path.to_owned(),
        reason,
    })?;
    // `transformers` has no class for it. This one takes a `tokenizer.json` as it is.
    let class = "PreTrainedTokenizerFast";
    let mut opened = built(kobert.tokenizer, settings, class);
    opened.config.insert("tokenizer_class".to_owned(), json!(class));
    opened.config.insert(kobert::KEY.to_owned(), kobert.settings);
    Ok(Opened {
        cutter: Some(cutter),
        ..opened
    })
}

/// A tokenizer that will be saved as a `tokenizer.json`, which says nothing of its class and of the names of special tokens.
fn built(inner: tokenizers::Tokenizer, settings: Settings, class: &str) -> Opened {
    let special = settings.overriding();
    let mut config = settings.config;
    config.extend(special);
    config.entry("tokenizer_class").or_insert(json!(class));
    Opened {
        inner,
        config,
        cutter: None,
    }
}

/// The sentencepiece model of a directory.
fn model_file(directory: &Path) -> Result<Option<PathBuf>, TokenizerError> {
    if let Some(known) = MODEL_FILES
        .iter()
        .map(|name| directory.join(name))
        .find(|path| path.exists())
    {
        return Ok(Some(known));
    }
    let failed = |error: std::io::Error| TokenizerError::Read {
        path: directory.to_owned(),
        reason: error.to_string(),
    };
    let mut found = Vec::new();
    if directory.is_dir() {
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "model") {
                found.push(path);
            }
        }
    }
    found.sort();
    match found.as_slice() {
        [] => Ok(None),
        [path] => Ok(Some(path.clone())),
        [first, second, ..] => Err(TokenizerError::Read {
            path: directory.to_owned(),
            reason: format!("which tokenizer is it, {} or {}?", file_name(first), file_name(second)),
        }),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The class that `transformers` takes: the one that is named, unless the type of the model is known for naming the wrong one; else that of
/// the type.
fn class(settings: &Settings) -> Option<String> {
    let of_type = match settings.model_type.as_deref() {
        Some("bert" | "distilbert" | "electra") => Some("BertTokenizer"),
        Some("roberta" | "bart") => Some("RobertaTokenizer"),
        Some("xlm-roberta") => Some("XLMRobertaTokenizer"),
        Some("camembert") => Some("CamembertTokenizer"),
        Some("deberta-v2") => Some("DebertaV2Tokenizer"),
        Some("albert") => Some("AlbertTokenizer"),
        Some("xlnet") => Some("XLNetTokenizer"),
        Some("t5" | "mt5") => Some("T5Tokenizer"),
        Some("mbart") => Some("MBartTokenizer"),
        Some("gpt2") => Some("GPT2Tokenizer"),
        Some("gpt_neox") => Some("GPTNeoXTokenizer"),
        Some("qwen2" | "qwen3") => Some("Qwen2Tokenizer"),
        Some("llama") => Some("LlamaTokenizer"),
        Some("mistral" | "modernbert") => Some("TokenizersBackend"),
        _ => None,
    };
    let overrides = matches!(settings.model_type.as_deref(), Some("qwen2" | "mistral" | "modernbert"));
    let named = settings.class().filter(|_| !overrides);
    named.or(of_type).or(settings.class()).map(str::to_owned)
}

fn sentencepiece_kind(class: &str) -> Option<SentencePieceKind> {
    Some(match class {
        "XLMRobertaTokenizer" => SentencePieceKind::XlmRoberta,
        "CamembertTokenizer" => SentencePieceKind::Camembert,
        "DebertaV2Tokenizer" => SentencePieceKind::DebertaV2,
        "AlbertTokenizer" => SentencePieceKind::Albert,
        "XLNetTokenizer" => SentencePieceKind::XlNet,
        "T5Tokenizer" | "MT5Tokenizer" => SentencePieceKind::T5,
        "MBartTokenizer" => SentencePieceKind::MBart,
        "MBart50Tokenizer" => SentencePieceKind::MBart50,
        "LlamaTokenizer" => SentencePieceKind::Llama,
        "TokenizersBackend" | "PreTrainedTokenizer" => SentencePieceKind::Plain,
        _ => return None,
    })
}

fn byte_level_kind(class: &str) -> Option<ByteLevelKind> {
    Some(match class {
        "GPT2Tokenizer" => ByteLevelKind::Gpt2,
        "RobertaTokenizer" | "BartTokenizer" => ByteLevelKind::Roberta,
        "Qwen2Tokenizer" => ByteLevelKind::Qwen2,
        "GPTNeoXTokenizer" => ByteLevelKind::GptNeoX,
        _ => return None,
    })
}

fn is_wordpiece(class: &str) -> bool {
    matches!(
        class,
        "BertTokenizer"
            | "ElectraTokenizer"
            | "DistilBertTokenizer"
            | "ConvBertTokenizer"
            | "MobileBertTokenizer"
            | "TokenizersBackend"
    )
}
