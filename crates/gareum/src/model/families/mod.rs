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

use serde_json::{Map, Value};

use super::config::{Keys, ModelConfig};
use super::{LoadedWeights, ModelError};

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

    /// What `config.json` calls it.
    pub fn model_type(self) -> &'static str {
        let mut named = Self::MODEL_TYPES.iter().filter(|(_, family)| *family == self);
        named.next().map_or("", |(name, _)| name)
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

/// Whether a checkpoint is the generator of an ELECTRA pair.
pub(super) fn is_generator(family: Family, config: &Map<String, Value>, weights: &LoadedWeights) -> bool {
    family == Family::Electra && electra::is_generator(config, weights)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tensor::ops::Window;

    use super::*;

    const SIZES: [(&str, usize); 6] = [
        ("vocab_size", 30),
        ("hidden_size", 24),
        ("num_hidden_layers", 4),
        ("num_attention_heads", 4),
        ("intermediate_size", 32),
        ("max_position_embeddings", 64),
    ];

    fn read(model_type: &str, keys: Value) -> Result<ModelConfig, ModelError> {
        let mut config = keys.as_object().unwrap().clone();
        config.insert("model_type".to_owned(), json!(model_type));
        config.extend(SIZES.map(|(key, size)| (key.to_owned(), json!(size))));
        ModelConfig::from_json(&config, "config.json")
    }

    #[test]
    fn configs_of_both_generations_of_transformers_say_the_same() {
        let default = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
        let types = [
            "full_attention",
            "sliding_attention",
            "sliding_attention",
            "full_attention",
        ];
        let linear = json!({"type": "linear", "factor": 2.0});
        let cases = [
            (
                "qwen2",
                json!({"rope_theta": 1e6, "rope_scaling": null, "use_sliding_window": false, "sliding_window": 32768}),
                json!({"rope_parameters": default(1e6), "sliding_window": null, "layer_types": vec!["full_attention"; 4]}),
            ),
            (
                "llama",
                json!({"rope_theta": 5e5, "rope_scaling": linear}),
                json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}}),
            ),
            (
                "gpt_neox",
                json!({"rotary_pct": 0.5, "rotary_emb_base": 500}),
                json!({"rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.5}}),
            ),
            (
                "modernbert",
                json!({"global_rope_theta": 1e5, "local_rope_theta": 1e3, "global_attn_every_n_layers": 3}),
                json!({
                    "rope_parameters": {"full_attention": default(1e5), "sliding_attention": default(1e3)},
                    "layer_types": types,
                }),
            ),
            (
                "modernbert",
                json!({}),
                json!({"global_rope_theta": 160000.0, "local_rope_theta": 10000.0}),
            ),
        ];
        for (model_type, old, new) in cases {
            let [old, new] = [old, new].map(|keys| format!("{:?}", read(model_type, keys).unwrap()));
            assert_eq!(old, new, "{model_type}");
        }
    }

    #[test]
    fn windows_of_layers() {
        let windows = |model_type, keys: Value| {
            let config = read(model_type, keys).unwrap();
            let lefts = config.layer_attention.iter().map(|attention| attention.window.left);
            lefts.collect::<Vec<_>>()
        };
        let all = usize::MAX;
        assert_eq!(windows("mistral", json!({"num_key_value_heads": 2})), [4095; 4]);
        let unlimited = json!({"num_key_value_heads": 2, "sliding_window": null});
        assert_eq!(windows("mistral", unlimited), [all; 4]);
        let late = json!({"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 3});
        assert_eq!(windows("qwen3", late), [all, all, all, 7]);
        assert_eq!(windows("modernbert", json!({"local_attention": 10})), [all, 5, 5, all]);
        assert_eq!(
            read("llama", json!({})).unwrap().layer_attention[0].window,
            Window::CAUSAL
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_key() {
        let message = |model_type, keys| read(model_type, keys).unwrap_err().to_string();
        assert_eq!(
            message("llama", json!({"rope_scaling": {"type": "longrope"}})),
            "config.json: `rope_scaling.type` is \"longrope\", expected `default`, `linear`, `dynamic`, `llama3` or `yarn`"
        );
        assert_eq!(
            message("qwen2", json!({"num_key_value_heads": 3})),
            "config.json: `num_key_value_heads` is 3, expected a divisor of the attention heads, 4"
        );
        assert_eq!(
            message("modernbert", json!({"classifier_pooling": "max"})),
            "config.json: `classifier_pooling` is \"max\", expected `cls` or `mean`"
        );
        assert_eq!(
            message("modernbert", json!({"layer_types": ["full_attention"]})),
            "config.json: `layer_types` is [\"full_attention\"], expected `full_attention` or `sliding_attention` for each of the 4 layers"
        );
    }
}
