//! Putting a `tokenizers` pipeline together: normaliser, pre-tokenizer and decoder are written as they stand in a `tokenizer.json`,
//! which is what most of what there is to know about them is written in.

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{NormalizerWrapper, Sequence};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{DecoderWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer};

use super::settings::{Settings, SpecialTokens};

/// What comes before and behind the vocabulary; `null` is nothing.
pub(super) struct Pipeline {
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: Value,
    pub decoder: Value,
}

/// The tokens around a text or pair.
pub(super) enum Frame {
    /// One list for a single text, one for a pair, as in a template: `$A` and `$B` stand for the texts, `:1` behind a word for its
    /// token type.
    Template(Vec<String>, Vec<String>),
    /// `add_bos_token` and `add_eos_token` of the settings say what stands around each text.
    BosEos { bos: bool, eos: bool },
    /// As in a `tokenizer.json`.
    Written(Value),
}

impl Frame {
    pub fn template(single: &str, pair: &str) -> Self {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        Self::Template(words(single), words(pair))
    }

    pub fn bos_eos(settings: &Settings) -> Self {
        let flag = |key| settings.flag(key).unwrap_or(false);
        Self::BosEos {
            bos: flag("add_bos_token"),
            eos: flag("add_eos_token"),
        }
    }
}

impl Pipeline {
    /// The tokenizer with its special tokens. The error is what is wrong, without a file's name.
    pub fn assemble(
        self,
        model: impl Into<ModelWrapper>,
        special: &SpecialTokens,
        frame: Frame,
    ) -> Result<Tokenizer, String> {
        let text = |error: tokenizers::Error| error.to_string();
        let mut tokenizer = Tokenizer::new(model);
        tokenizer
            .with_normalizer(self.normalizer)
            .map_err(text)?
            .with_pre_tokenizer(part::<PreTokenizerWrapper>(self.pre_tokenizer)?)
            .with_decoder(part::<DecoderWrapper>(self.decoder)?);
        special.add_to(&mut tokenizer)?;
        let frame = match frame {
            Frame::Written(value) => part(value)?,
            Frame::Template(single, pair) => Some(template(&tokenizer, &single, &pair)?),
            Frame::BosEos { bos, eos } => {
                let around = |key: &str, wanted: bool| special.get(key).filter(|_| wanted).map(str::to_owned);
                let (bos, eos) = (around("bos_token", bos), around("eos_token", eos));
                let around = |text: &str, kind: &str| {
                    let typed = |token: &String| format!("{token}{kind}");
                    let words = [
                        bos.as_ref().map(typed),
                        Some(format!("{text}{kind}")),
                        eos.as_ref().map(typed),
                    ];
                    words.into_iter().flatten().collect::<Vec<String>>()
                };
                let (first, second) = (around("$A", ":0"), around("$B", ":1"));
                let pair: Vec<String> = first.iter().chain(&second).cloned().collect();
                Some(template(&tokenizer, &first, &pair)?)
            }
        };
        tokenizer.with_post_processor(frame);
        Ok(tokenizer)
    }
}

/// A part of a pipeline from its form in a `tokenizer.json`.
fn part<T: serde::de::DeserializeOwned>(value: Value) -> Result<Option<T>, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Normalisers one after another.
pub(super) fn normalizers(parts: impl IntoIterator<Item = Normalization>) -> Result<Option<NormalizerWrapper>, String> {
    let parts = parts.into_iter().map(|part| match part {
        Normalization::Ready(part) => Ok(part),
        Normalization::Written(value) => serde_json::from_value(value).map_err(|error| error.to_string()),
    });
    let mut parts: Vec<NormalizerWrapper> = parts.collect::<Result<_, _>>()?;
    Ok(match parts.len() {
        0 | 1 => parts.pop(),
        _ => Some(NormalizerWrapper::Sequence(Sequence::new(parts))),
    })
}

/// One step of normalisation.
pub(super) enum Normalization {
    Ready(NormalizerWrapper),
    Written(Value),
}

impl Normalization {
    /// A step without options.
    pub fn named(kind: &str) -> Self {
        Self::Written(json!({ "type": kind }))
    }

    pub fn replace(text: &str, by: &str) -> Self {
        Self::Written(json!({ "type": "Replace", "pattern": { "String": text }, "content": by }))
    }

    pub fn replace_matches(regex: &str, by: &str) -> Self {
        Self::Written(json!({ "type": "Replace", "pattern": { "Regex": regex }, "content": by }))
    }
}

/// A frame whose words other than `$A` and `$B` are tokens of the vocabulary.
pub(super) fn template(
    tokenizer: &Tokenizer,
    single: &[String],
    pair: &[String],
) -> Result<PostProcessorWrapper, String> {
    let token = |word: &String| {
        word.rsplit_once(':')
            .map_or(word.as_str(), |(token, _)| token)
            .to_owned()
    };
    let mut tokens: Vec<(String, u32)> = Vec::new();
    for token in pair.iter().map(token).filter(|token| !token.starts_with('$')) {
        let id = tokenizer
            .token_to_id(&token)
            .ok_or_else(|| format!("the vocabulary has no `{token}`"))?;
        if !tokens.iter().any(|(known, _)| *known == token) {
            tokens.push((token, id));
        }
    }
    let frame = TemplateProcessing::builder()
        .try_single(single.iter().map(String::as_str).collect::<Vec<_>>())?
        .try_pair(pair.iter().map(String::as_str).collect::<Vec<_>>())?
        .special_tokens(tokens)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(PostProcessorWrapper::Template(frame))
}
