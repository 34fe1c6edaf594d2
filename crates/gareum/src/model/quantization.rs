//! Models whose weights are of 8 bits: which weights, and how `config.json` says so.
//!
//! On disk they are in the format of compressed-tensors (`int-quantized`): `NAME.weight` holds integers, `NAME.weight_scale` a scale for
//! each of its rows. Without tables of embeddings among them, `transformers` opens such a model with that package. Inputs of products are
//! quantised when they come (`tensor::int8`).
//!
//! Not here: which weights should stay wide (`compress/`), reading and writing of tensors (`checkpoint/`, `weights.rs`).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tensor::{DType, ParameterId};

use super::{Linear, Model};

/// The key of `config.json`.
pub(super) const KEY: &str = "quantization_config";
/// What stands behind the name of a weight in that of its scales.
pub(super) const SCALE: &str = "_scale";
/// The end of the name of a weight.
const WEIGHT: &str = ".weight";
/// The way in which integers are stored.
const FORMAT: &str = "int-quantized";
/// What reads a model whose tables of embeddings are of 8 bits too.
const OWN: &str = "gareum";

/// Weights that are quantised together or not at all: those of one product, or a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantizable {
    /// Their names.
    pub names: Vec<String>,
    /// Numbers in them.
    pub elements: usize,
    /// Whether it is a table of embeddings.
    pub is_table: bool,
}

impl Model {
    /// What can be of 8 bits, in the order of the layers: tables of embeddings, then products. Norms, biases, convolutions, relative positions
    /// and the head stay as they are: they are small.
    pub fn quantizable(&self) -> Vec<Quantizable> {
        let of = |ids: Vec<ParameterId>, is_table: bool| Quantizable {
            names: ids.iter().map(|id| self.parameters.name(*id).to_owned()).collect(),
            elements: ids.iter().map(|id| self.parameters.get(*id).len()).sum(),
            is_table,
        };
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        let encoders = || std::iter::once(&self.encoder).chain(&self.decoder);
        for table in encoders().flat_map(|encoder| encoder.tables()) {
            all.push(of(vec![table], true));
        }
        for linear in encoders().flat_map(|encoder| encoder.linears()) {
            all.push(of(Linear::weights(linear).collect(), false));
        }
        all.retain(|group| seen.insert(group.names.clone()));
        all
    }

    /// The same model with weights of 8 bits, but for those whose names `is_kept`. An adapter must have been merged.
    pub fn to_int8(&self, is_kept: &dyn Fn(&str) -> bool) -> Self {
        let mut model = self.clone();
        let mut has_tables = false;
        for group in self.quantizable() {
            if group.names.iter().any(|name| is_kept(name)) {
                continue;
            }
            has_tables |= group.is_table;
            for id in group.names.iter().filter_map(|name| self.parameters.find(name)) {
                let value = model.parameters.get(id).to_dtype(DType::Int8);
                *model.parameters.get_mut(id) = value;
            }
        }
        let wide = model.parameters.iter().filter(|(_, name, value)| {
            name.ends_with(WEIGHT) && value.shape().len() == 2 && value.dtype() != DType::Int8
        });
        let modules = wide
            .filter_map(|(_, name, _)| name.strip_suffix(WEIGHT))
            .collect::<Vec<_>>();
        let description = description(has_tables, &modules);
        model.raw_config.insert(KEY.to_owned(), description);
        model
    }

    /// Whether any weight is of 8 bits.
    pub fn is_int8(&self) -> bool {
        self.parameters.iter().any(|(_, _, value)| value.dtype() == DType::Int8)
    }

    /// Makes all weights `f32`, so that they can be trained.
    pub(crate) fn dequantize(&mut self) {
        self.parameters.dequantize(DType::Int8);
        self.raw_config.remove(KEY);
    }
}

/// What compressed-tensors reads: products with weights of 8 bits by channel and inputs of 8 bits by token; `wide` are the modules that have
/// neither. It has no tables of 8 bits: models with such are our own, and say so.
fn description(has_tables: bool, wide: &[&str]) -> Value {
    let weights = json!({
        "num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel", "dynamic": false, "observer": "minmax",
    });
    let inputs = json!({
        "num_bits": 8, "type": "int", "symmetric": false, "strategy": "token", "dynamic": true, "observer": null,
    });
    let mut groups = json!({
        "group_0": { "targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": null },
    });
    if has_tables {
        groups["group_1"] = json!({ "targets": ["Embedding"], "weights": weights, "input_activations": null, "output_activations": null });
    }
    json!({
        "quant_method": if has_tables { OWN } else { "compressed-tensors" },
        "format": FORMAT,
        "quantization_status": "compressed",
        "global_compression_ratio": null,
        "kv_cache_scheme": null,
        "config_groups": groups,
        "ignore": wide,
    })
}

/// Whether a description is one whose weights are read.
pub(super) fn is_known(description: &Value) -> bool {
    let method = &description["quant_method"];
    (method == "compressed-tensors" || method == OWN) && description["format"] == FORMAT
}

/// What is read, in words.
pub(super) const EXPECTED: &str =
    "compressed-tensors in the format int-quantized (others are not read: take the model that they were made of)";

/// A description in short.
pub(super) fn shown(description: &Value) -> String {
    let word = |key: &str| description[key].as_str().unwrap_or("(none)").to_owned();
    match description.get("format") {
        Some(_) => format!("{} in the format {}", word("quant_method"), word("format")),
        None => word("quant_method"),
    }
}
