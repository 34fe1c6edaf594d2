//! The families of checkpoints: how each one's `config.json` is read and what its tensors are called.

mod bert;
mod distilbert;
mod electra;
mod roberta;

use tensor::Activation;

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
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub intermediate: &'static str,
    pub output: &'static str,
    pub output_norm: &'static str,
    /// The head's hidden product, with its prefix where it has one.
    pub head_dense: &'static str,
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
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
    head_dense: "bert.pooler.dense",
    classifier: "classifier",
};

/// A head is: pooled first token → dropout → dense → activation → dropout → classifier. This says which of the two
/// dropouts a family has, and its activation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadShape {
    pub input_dropout: bool,
    pub activation: Activation,
}

impl Family {
    /// `model_type` of `config.json` for each family.
    pub const MODEL_TYPES: [(&'static str, Self); 6] = [
        ("bert", Self::Bert),
        ("roberta", Self::Roberta),
        ("xlm-roberta", Self::XlmRoberta),
        ("camembert", Self::Camembert),
        ("electra", Self::Electra),
        ("distilbert", Self::DistilBert),
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
        }
    }

    pub(crate) fn names(self) -> &'static Names {
        match self {
            Self::Bert => &BERT,
            Self::Roberta | Self::XlmRoberta | Self::Camembert => &roberta::NAMES,
            Self::Electra => &electra::NAMES,
            Self::DistilBert => &distilbert::NAMES,
        }
    }

    pub(crate) fn head(self) -> HeadShape {
        match self {
            Self::Bert => bert::HEAD,
            Self::Roberta | Self::XlmRoberta | Self::Camembert => roberta::HEAD,
            Self::Electra => electra::HEAD,
            Self::DistilBert => distilbert::HEAD,
        }
    }

    /// The key of `config.json` for the dropout rate of the head.
    pub(crate) fn classifier_dropout_key(self) -> &'static str {
        if self == Self::DistilBert {
            "seq_classif_dropout"
        } else {
            "classifier_dropout"
        }
    }

    /// Whether the attention half's output is dropped out before the residual sum. DistilBERT's is not.
    pub(crate) fn drops_attention_output(self) -> bool {
        self != Self::DistilBert
    }

    pub(super) fn read(self, keys: &Keys<'_>) -> Result<ModelConfig, ModelError> {
        match self {
            Self::Bert => bert::read(keys),
            Self::Roberta | Self::XlmRoberta | Self::Camembert => roberta::read(keys, self),
            Self::Electra => electra::read(keys),
            Self::DistilBert => distilbert::read(keys),
        }
    }
}
