//! Weights of 4 bits as bitsandbytes stores them and `transformers` reads them: `NAME.weight` holds two numbers a byte, beside it stand the
//! scales of its blocks, the scales of those, both tables of numbers, and a description in JSON.
//!
//! Not here: the numbers themselves (`tensor::nf4`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tensor::{Nf4, Tensor};

/// Scales of blocks, of 8 bits.
const ABSMAX: &str = ".absmax";
/// The scales of those.
const NESTED_ABSMAX: &str = ".nested_absmax";
/// What 4 bits stand for.
const QUANT_MAP: &str = ".quant_map";
/// What the 8 bits of a scale stand for.
const NESTED_QUANT_MAP: &str = ".nested_quant_map";
/// The description.
const STATE: &str = ".quant_state.bitsandbytes__nf4";

/// What makes numbers of a weight's bytes; behind its name.
pub(super) const PARTS: [&str; 5] = [ABSMAX, NESTED_ABSMAX, QUANT_MAP, NESTED_QUANT_MAP, STATE];

/// What stands in [`STATE`].
#[derive(Debug, Serialize, Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    #[serde(default)]
    nested_blocksize: Option<usize>,
    #[serde(default)]
    nested_dtype: Option<String>,
    #[serde(default)]
    nested_offset: Option<f64>,
}

/// The values of one of the stored tensors.
pub(super) enum Values<'a> {
    Bytes(Cow<'a, [u8]>),
    Numbers(&'a [f32]),
}

/// What is stored for a weight: ends of names, shapes and values. The first is the weight itself.
pub(super) fn stored<'a>(values: &'a Nf4, shape: &[usize]) -> [(&'static str, Vec<usize>, Values<'a>); 6] {
    let state = State {
        quant_type: "nf4".to_owned(),
        blocksize: Nf4::BLOCK,
        dtype: "float32".to_owned(),
        shape: shape.to_vec(),
        nested_blocksize: Some(Nf4::NESTED_BLOCK),
        nested_dtype: Some("float32".to_owned()),
        nested_offset: Some(f64::from(values.offset())),
    };
    // Plain numbers and names always make JSON.
    let state = serde_json::to_vec(&state).unwrap_or_default();
    let of = |end: &'static str, bytes: Cow<'a, [u8]>| (end, vec![bytes.len()], Values::Bytes(bytes));
    let numbers = |end: &'static str, numbers: &'a [f32]| (end, vec![numbers.len()], Values::Numbers(numbers));
    [
        (
            "",
            vec![values.packed().len(), 1],
            Values::Bytes(values.packed().into()),
        ),
        of(ABSMAX, values.scales().into()),
        numbers(NESTED_ABSMAX, values.nested_scales()),
        numbers(QUANT_MAP, Nf4::code()),
        numbers(NESTED_QUANT_MAP, Nf4::nested_code()),
        of(STATE, state.into()),
    ]
}

/// What was read for a weight.
pub(super) struct Parts {
    pub packed: Vec<u8>,
    pub absmax: Vec<u8>,
    pub nested_absmax: Vec<f32>,
    pub quant_map: Vec<f32>,
    pub nested_quant_map: Vec<f32>,
    pub state: Vec<u8>,
}

impl Parts {
    /// The weight, which must have this shape; else what is wrong.
    pub fn into_tensor(self, shape: &[usize]) -> Result<Tensor, String> {
        let state: State =
            serde_json::from_slice(&self.state).map_err(|error| format!("`{STATE}` is damaged: {error}"))?;
        let blocks = (state.blocksize, state.nested_blocksize);
        if state.quant_type != "nf4" || blocks != (Nf4::BLOCK, Some(Nf4::NESTED_BLOCK)) {
            return Err(format!(
                "it is of `{}` in blocks of {}, nested {}, where nf4 has blocks of {}, nested {}",
                state.quant_type,
                state.blocksize,
                state.nested_blocksize.unwrap_or(0),
                Nf4::BLOCK,
                Nf4::NESTED_BLOCK
            ));
        }
        if state.shape != shape {
            return Err(format!("`{STATE}` says shape {:?}, expected {shape:?}", state.shape));
        }
        let is_table = |found: &[f32], expected: &[f32]| {
            let differs = |(one, other): (&f32, &f32)| (one - other).abs() > 1e-6;
            found.len() == expected.len() && !found.iter().zip(expected).any(differs)
        };
        if !is_table(&self.quant_map, Nf4::code()) || !is_table(&self.nested_quant_map, Nf4::nested_code()) {
            return Err("its tables of numbers are not those of nf4 with double quantisation".to_owned());
        }
        let offset = state.nested_offset.unwrap_or(0.0) as f32;
        if !self
            .nested_absmax
            .iter()
            .chain([&offset])
            .all(|scale| scale.is_finite())
        {
            return Err("a scale is not a number".to_owned());
        }
        let (bytes, scales) = (self.packed.len(), self.absmax.len());
        let values = Nf4::from_parts(
            shape.iter().product(),
            self.packed,
            self.absmax,
            self.nested_absmax,
            offset,
        );
        values
            .and_then(|values| Tensor::from_nf4(values, shape).ok())
            .ok_or_else(|| format!("{bytes} bytes with {scales} scales do not make shape `{shape:?}`"))
    }
}

/// What `transformers` reads; `wide` are the modules that are not narrow.
pub(super) fn description(wide: &[&str]) -> Value {
    json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": true,
        "load_in_8bit": false,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": true,
        "bnb_4bit_compute_dtype": "float32",
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": wide,
        "llm_int8_threshold": 6.0,
    })
}

/// Whether a description is one whose weights are read.
pub(super) fn is_known(description: &Value) -> bool {
    // Older ones do not name the method.
    let is_ours = matches!(description["quant_method"].as_str(), None | Some("bitsandbytes"));
    is_ours && description["load_in_4bit"] == true && description["bnb_4bit_quant_type"] == "nf4"
}
