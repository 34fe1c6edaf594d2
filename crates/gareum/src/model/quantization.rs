//! Models whose weights are of 8 or 4 bits: which weights, and how `config.json` says so.
//!
//! Weights of 8 bits are on disk in the format of compressed-tensors (`int-quantized`): `NAME.weight` holds integers, `NAME.weight_scale` a
//! scale for each of its rows; those of 4 bits in that of bitsandbytes (`bitsandbytes.rs`). Without tables of embeddings among them,
//! `transformers` opens such a model with that package. Inputs of products are quantised when they come (`tensor::int8`).
//!
//! Not here: which weights should stay wide (`compress/`), reading and writing of tensors (`checkpoint/`, `weights.rs`).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tensor::{DType, ParameterId};

use super::{Linear, Model, ModelError, bitsandbytes};

/// The key of `config.json`.
pub(super) const KEY: &str = "quantization_config";
/// What stands behind the name of a weight in that of its scales.
pub(super) const SCALE: &str = "_scale";
/// The end of the name of a weight.
const WEIGHT: &str = ".weight";
/// The way in which integers of 8 bits are stored.
const INT8_FORMAT: &str = "int-quantized";
/// The way in which numbers of 4 bits are stored, where tables are of 8.
const NF4_FORMAT: &str = "nf4";
/// What reads a model whose tables of embeddings are of 8 bits too.
const OWN: &str = "gareum";

/// Weights that are quantised together or not at all: those of one product, or a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantizable {
    /// Their names.
    pub names: Vec<String>,
    /// Numbers in them.
    pub elements: usize,
    /// What they are.
    pub kind: QuantizableKind,
}

/// What a group of weights is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantizableKind {
    /// A table of embeddings.
    Table,
    /// A product.
    Product,
    /// The product that a head has before its classifier.
    HeadProduct,
}

impl Model {
    /// What can be narrow, in the order of the layers: tables of embeddings, then products. The last is what a head has
    /// before its classifier. Norms, biases, convolutions, relative positions and the classifier stay as they are: they are small.
    pub fn quantizable(&self) -> Vec<Quantizable> {
        let of = |ids: Vec<ParameterId>, kind: QuantizableKind| Quantizable {
            names: ids.iter().map(|id| self.parameters.name(*id).to_owned()).collect(),
            elements: ids.iter().map(|id| self.parameters.get(*id).len()).sum(),
            kind,
        };
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        let encoders = || std::iter::once(&self.encoder).chain(&self.decoder);
        for table in encoders().flat_map(|encoder| encoder.tables()) {
            all.push(of(vec![table], QuantizableKind::Table));
        }
        for linear in encoders().flat_map(|encoder| encoder.linears()) {
            all.push(of(Linear::weights(linear).collect(), QuantizableKind::Product));
        }
        let dense = self.head.dense();
        all.extend(dense.map(|dense| of(dense.weights().collect(), QuantizableKind::HeadProduct)));
        all.retain(|group| seen.insert(group.names.clone()));
        all
    }

    /// The same model with each group of weights in the type that `dtype_of` answers ([`DType::Int8`], or [`DType::Nf4`] but for tables), `None`
    /// for as it is. An adapter must have been merged.
    pub fn quantized(&self, dtype_of: &dyn Fn(&Quantizable) -> Option<DType>) -> Self {
        let mut model = self.clone();
        let (mut has_tables, mut has_nf4) = (false, false);
        for group in self.quantizable() {
            let Some(dtype) = dtype_of(&group) else {
                continue;
            };
            has_tables |= group.kind == QuantizableKind::Table;
            has_nf4 |= dtype == DType::Nf4;
            for id in group.names.iter().filter_map(|name| self.parameters.find(name)) {
                let value = model.parameters.get(id).to_dtype(dtype);
                *model.parameters.get_mut(id) = value;
            }
        }
        let wide = model
            .parameters
            .iter()
            .filter(|(_, name, value)| name.ends_with(WEIGHT) && value.shape().len() == 2 && !is_narrow(value.dtype()));
        let modules = wide
            .filter_map(|(_, name, _)| name.strip_suffix(WEIGHT))
            .collect::<Vec<_>>();
        let has_int8 = model
            .parameters
            .iter()
            .any(|(_, _, value)| value.dtype() == DType::Int8);
        let description = match (has_nf4, has_int8) {
            (true, false) => bitsandbytes::description(&modules),
            (true, true) => json!({ "quant_method": OWN, "format": NF4_FORMAT, "ignore": modules }),
            (false, true) => int8_description(has_tables, &modules),
            (false, false) => return model,
        };
        model.raw_config.insert(KEY.to_owned(), description);
        model
    }

    /// Whether any weight is of 8 or 4 bits because its file has it so.
    pub fn is_quantized(&self) -> bool {
        self.raw_config.contains_key(KEY)
    }

    /// Refuses a model whose description and weights do not belong together.
    pub(super) fn check_quantization(&self, directory: &Path) -> Result<(), ModelError> {
        let mut narrow = self.parameters.iter().filter(|(_, _, value)| is_narrow(value.dtype()));
        let refused = |reason: String| ModelError::Weights {
            path: directory.join("config.json"),
            reason,
            hint: "config.json and the weights are of two models; take both from the same place".to_owned(),
        };
        match (narrow.next(), self.is_quantized()) {
            (Some((_, name, value)), false) => Err(refused(format!(
                "`{name}` is of {} in the file of weights, but there is no `{KEY}`",
                value.dtype().name()
            ))),
            (None, true) => Err(refused(format!(
                "there is a `{KEY}`, but no weight in the file is quantised"
            ))),
            _ => Ok(()),
        }
    }

    /// Makes weights `f32`, so that they can be trained; those of 4 bits only if they should not stay so.
    pub(crate) fn dequantize(&mut self, keeps_nf4: bool) {
        self.parameters.dequantize(DType::Int8);
        if !keeps_nf4 {
            self.parameters.dequantize(DType::Nf4);
        }
        self.raw_config.remove(KEY);
    }

    /// Makes weights of 4 bits wider ones. Of 8 bits, each row gets a scale of its own, and rounding is a small part of what 4 bits lost before.
    pub(crate) fn widen_nf4(&mut self, dtype: DType) {
        let narrow = |(id, _, value): (ParameterId, &str, &tensor::Tensor)| (value.dtype() == DType::Nf4).then_some(id);
        let ids: Vec<ParameterId> = self.parameters.iter().filter_map(narrow).collect();
        for id in ids {
            let value = self.parameters.get(id).to_dtype(dtype);
            *self.parameters.get_mut(id) = value;
        }
    }
}

fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::Int8 | DType::Nf4)
}

/// What compressed-tensors reads: products with weights of 8 bits by channel and inputs of 8 bits by token; `wide` are the modules that have
/// neither. It has no tables of 8 bits: models with such are our own, and say so.
fn int8_description(has_tables: bool, wide: &[&str]) -> Value {
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
        "format": INT8_FORMAT,
        "quantization_status": "compressed",
        "global_compression_ratio": null,
        "kv_cache_scheme": null,
        "config_groups": groups,
        "ignore": wide,
    })
}

/// Whether a description is one whose weights are read.
pub(super) fn is_known(description: &Value) -> bool {
    let (method, format) = (&description["quant_method"], &description["format"]);
    match method.as_str() {
        Some(OWN) => format == INT8_FORMAT || format == NF4_FORMAT,
        Some("compressed-tensors") => format == INT8_FORMAT,
        _ => bitsandbytes::is_known(description),
    }
}

/// What is read, in words.
pub(super) const EXPECTED: &str = "compressed-tensors in the format int-quantized, or bitsandbytes in nf4 with double quantisation (others are not read: take the model that they were made of)";

/// A description in short.
pub(super) fn shown(description: &Value) -> String {
    let word = |key: &str| description[key].as_str().unwrap_or("(none)").to_owned();
    match (description.get("format"), description.get("bnb_4bit_quant_type")) {
        (Some(_), _) => format!("{} in the format {}", word("quant_method"), word("format")),
        (_, Some(_)) => format!("{} in {}", word("quant_method"), word("bnb_4bit_quant_type")),
        _ => word("quant_method"),
    }
}
