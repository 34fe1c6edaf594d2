//! The families of checkpoints: how each one's `config.json` is read and what its tensors are called.

mod bart;
mod bert;
mod deberta_v2;
mod decoder;
mod distilbert;
mod electra;
mod gpt_neox;
mod modernbert;
mod roberta;

use super::ModelError;
use super::config::{Keys, ModelConfig};

/// Whose names and head a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// BERT, KoBERT, MiniLM.
    Bert,
    /// RoBERTa, klue/roberta.
    Roberta,
    /// XLM-RoBERTa: RoBERTa under another name.
    XlmRoberta,
    /// CamemBERT: RoBERTa under another name.
    Camembert,
    /// ELECTRA discriminators, KoELECTRA, KcELECTRA.
    Electra,
    /// DistilBERT.
    DistilBert,
    /// ModernBERT.
    ModernBert,
    /// Llama, and what is built like it.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2, Qwen2.5.
    Qwen2,
    /// Qwen3.
    Qwen3,
    /// GPT-NeoX, Pythia, polyglot-ko, KoAlpaca.
    GptNeox,
    /// DeBERTa-v2 and -v3.
    DebertaV2,
    /// BART, KoBART.
    Bart,
    /// mBART.
    Mbart,
}

/// What a family calls its tensors. Every name but the head's stands behind `prefix` and a dot; a layer's names stand
/// behind `layer`, a dot, the layer's number and another dot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub prefix: &'static str,
    pub word_embeddings: &'static str,
    pub position_embeddings: &'static str,
    pub token_type_embeddings: &'static str,
    pub embeddings_norm: &'static str,
    pub embeddings_project: &'static str,
    pub layer: &'static str,
    /// One weight for queries, keys and values, or one each.
    pub query_key_value: &'static [&'static str],
    pub query_norm: &'static str,
    pub key_norm: &'static str,
    /// Keys and queries of relative positions.
    pub position_key_query: [&'static str; 2],
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    /// Attention of a decoder to the encoder.
    pub cross_query_key_value: [&'static str; 3],
    pub cross_output: &'static str,
    pub cross_norm: &'static str,
    /// One weight, or two of a gated half: what is activated, and what it is multiplied with.
    pub intermediate: &'static [&'static str],
    pub output: &'static str,
    pub feed_forward_norm: &'static str,
    /// The norm behind the last layer.
    pub output_norm: &'static str,
    pub relative_positions: &'static str,
    pub relative_norm: &'static str,
    pub convolution: &'static str,
    pub convolution_norm: &'static str,
    /// The head's hidden product, with its prefix where it has one.
    pub head_dense: &'static str,
    /// The norm behind it.
    pub head_norm: &'static str,
    /// The head's last product.
    pub classifier: &'static str,
}

/// BERT's names; its relatives start from these.
const BERT: Names = Names {
    prefix: "bert",
    word_embeddings: "embeddings.word_embeddings",
    position_embeddings: "embeddings.position_embeddings",
    token_type_embeddings: "embeddings.token_type_embeddings",
    embeddings_norm: "embeddings.LayerNorm",
    embeddings_project: "embeddings_project",
    layer: "encoder.layer",
    query_key_value: &["attention.self.query", "attention.self.key", "attention.self.value"],
    query_norm: "",
    key_norm: "",
    position_key_query: ["", ""],
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    cross_query_key_value: ["", "", ""],
    cross_output: "",
    cross_norm: "",
    intermediate: &["intermediate.dense"],
    output: "output.dense",
    feed_forward_norm: "output.LayerNorm",
    output_norm: "",
    relative_positions: "",
    relative_norm: "",
    convolution: "",
    convolution_norm: "",
    head_dense: "bert.pooler.dense",
    head_norm: "",
    classifier: "classifier",
};

impl Family {
    /// `model_type` of `config.json` for each family.
    pub const MODEL_TYPES: [(&'static str, Self); 15] = [
        ("bert", Self::Bert),
        ("roberta", Self::Roberta),
        ("xlm-roberta", Self::XlmRoberta),
        ("camembert", Self::Camembert),
        ("electra", Self::Electra),
        ("distilbert", Self::DistilBert),
        ("modernbert", Self::ModernBert),
        ("llama", Self::Llama),
        ("mistral", Self::Mistral),
        ("qwen2", Self::Qwen2),
        ("qwen3", Self::Qwen3),
        ("gpt_neox", Self::GptNeox),
        ("deberta-v2", Self::DebertaV2),
        ("bart", Self::Bart),
        ("mbart", Self::Mbart),
    ];

    /// The family that a `model_type` names.
    pub fn from_model_type(name: &str) -> Option<Self> {
        Self::MODEL_TYPES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, family)| *family)
    }

    /// The class of `transformers` that opens what is saved.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Bert => "BertForSequenceClassification",
            Self::Roberta => "RobertaForSequenceClassification",
            Self::XlmRoberta => "XLMRobertaForSequenceClassification",
            Self::Camembert => "CamembertForSequenceClassification",
            Self::Electra => "ElectraForSequenceClassification",
            Self::DistilBert => "DistilBertForSequenceClassification",
            Self::ModernBert => "ModernBertForSequenceClassification",
            Self::Llama => "LlamaForSequenceClassification",
            Self::Mistral => "MistralForSequenceClassification",
            Self::Qwen2 => "Qwen2ForSequenceClassification",
            Self::Qwen3 => "Qwen3ForSequenceClassification",
            Self::GptNeox => "GPTNeoXForSequenceClassification",
            Self::DebertaV2 => "DebertaV2ForSequenceClassification",
            Self::Bart => "BartForSequenceClassification",
            Self::Mbart => "MBartForSequenceClassification",
        }
    }

    pub(crate) fn names(self) -> &'static Names {
        match self {
            Self::Bert => &BERT,
            Self::Roberta | Self::XlmRoberta | Self::Camembert => &roberta::NAMES,
            Self::Electra => &electra::NAMES,
            Self::DistilBert => &distilbert::NAMES,
            Self::ModernBert => &modernbert::NAMES,
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3 => &decoder::NAMES,
            Self::GptNeox => &gpt_neox::NAMES,
            Self::DebertaV2 => &deberta_v2::NAMES,
            Self::Bart | Self::Mbart => &bart::NAMES,
        }
    }

    /// Those of the decoder, where a family has one.
    pub(crate) fn decoder_names(self) -> &'static Names {
        match self {
            Self::Bart | Self::Mbart => &bart::DECODER_NAMES,
            _ => self.names(),
        }
    }

    /// The key of `config.json` for the dropout rate of the head.
    pub(crate) fn classifier_dropout_key(self) -> &'static str {
        match self {
            Self::DistilBert => "seq_classif_dropout",
            Self::DebertaV2 => "cls_dropout",
            _ => "classifier_dropout",
        }
    }

    pub(super) fn read(self, keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
        match self {
            Self::Bert => bert::read(keys),
            Self::Roberta | Self::XlmRoberta | Self::Camembert => roberta::read(keys, self),
            Self::Electra => electra::read(keys),
            Self::DistilBert => distilbert::read(keys),
            Self::ModernBert => modernbert::read(keys),
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3 => decoder::read(keys, self),
            Self::GptNeox => gpt_neox::read(keys),
            Self::DebertaV2 => deberta_v2::read(keys),
            Self::Bart | Self::Mbart => bart::read(keys, self),
        }
    }
}
