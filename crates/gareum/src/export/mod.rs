//! Models as ONNX files, for runtimes elsewhere: ONNX Runtime, its JavaScript builds, transformers.js.
//!
//! A graph is a second emitter of the description that `model/` computes from: the same config, names and parameters. Read `encoder.rs` next.
//!
//! Not here: which weights can be of 8 bits (`model/quantization.rs`); running graphs (`tests/reference/onnx_reference.py` does, with ONNX Runtime).

mod emitter;
mod encoder;
mod file;
mod graph;
mod initializer;
mod positions;
mod protobuf;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tensor::DType;

use self::graph::Graph;
use crate::files::{self, WriteError};
use crate::model::{Family, Model, ModelError};
use crate::predict::{self, PredictError};

/// The directory of the graphs below that of the model.
const DIRECTORY: &str = "onnx";
/// The names that transformers.js looks for: with weights in `f32`, and of 8 bits.
const WIDE: &str = "model.onnx";
const NARROW: &str = "model_quantized.onnx";

/// The key of `config.json` that is for transformers.js alone.
const JAVASCRIPT: &str = "transformers.js_config";

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct OnnxOptions {
    /// A second graph whose weights are of 8 bits.
    pub is_int8: bool,
    /// Bytes above which the weights of a graph go to a file of their own. Default a little below 2 GiB, the most that readers of protocol buffers take.
    pub largest_file: u64,
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self {
            is_int8: false,
            largest_file: file::LARGEST_FILE,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The graphs.
    pub files: Vec<ExportedFile>,
    /// What a graph is given.
    pub inputs: Vec<&'static str>,
    /// The longest sequence that the model has positions for.
    pub max_tokens: usize,
    /// Whether weights of the model itself are of 8 bits.
    pub was_int8: bool,
}

/// A graph that was written.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedFile {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of the file of constants beside it; 0 if there is none.
    pub data_bytes: u64,
    /// Whether weights are of 8 bits.
    pub is_int8: bool,
}

/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The model cannot be read.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// A family that is not exported.
    #[error(
        "{}: decoders are not exported: transformers.js has no classifiers of this family\nhint: fine-tune an encoder for use elsewhere, or serve this model with gareum",
        .0.model_type()
    )]
    Decoder(Family),
    /// The parameters are not those that the config describes.
    #[error("the model has no parameter `{0}`")]
    Parameter(String),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A constant could not be made.
    #[error(transparent)]
    Tensor(#[from] tensor::Error),
}

impl From<ModelError> for ExportError {
    fn from(error: ModelError) -> Self {
        Self::Predict(error.into())
    }
}

/// Writes the model in `directory` to `output` as transformers.js wants it: graphs in `onnx/`, beside them `config.json` and tokenizer. An adapter is merged
/// with the model that it belongs to, at `base` or where it says. Weights of 8 bits are the model's own, if it is quantised already.
///
/// # Errors
/// [`ExportError`] says what is not exported or cannot be read or written.
pub fn onnx(
    directory: &Path,
    base: Option<&Path>,
    output: &Path,
    options: OnnxOptions,
) -> Result<Exported, ExportError> {
    let mut model = predict::load_model(directory, base)?;
    let tokenizer = predict::tokenizer_of(&mut model, directory)?;
    model.merge()?;
    let was_int8 = model.is_quantized();
    let narrow = options.is_int8.then(|| match was_int8 {
        true => {
            let mut narrow = model.clone();
            narrow.widen_nf4(DType::Int8);
            narrow
        }
        false => model.quantized(&|_| Some(DType::Int8)),
    });
    model.dequantize(false);
    let mut exported = Exported {
        files: Vec::new(),
        inputs: Vec::new(),
        max_tokens: model.config().max_tokens(),
        was_int8,
    };
    // Before anything is written: what cannot be exported leaves nothing.
    let wide = encoder::emit(&model)?;
    let narrow = narrow.as_ref().map(encoder::emit).transpose()?;
    exported.inputs = wide.inputs().iter().map(|input| input.name).collect();
    let folder = output.join(DIRECTORY);
    files::create_directory(&folder)?;
    let mut write = |name: &str, graph: &Graph<'_>, is_int8: bool| -> Result<(), ExportError> {
        let path = folder.join(name);
        let [bytes, data_bytes] = file::write(graph, &path, options.largest_file)?;
        exported.files.push(ExportedFile {
            path,
            bytes,
            data_bytes,
            is_int8,
        });
        Ok(())
    };
    write(WIDE, &wide, false)?;
    match &narrow {
        Some(narrow) => write(NARROW, narrow, true)?,
        // One that was written before is of another model.
        None => file::remove(&folder.join(NARROW))?,
    }
    predict::save_beside(&model, &tokenizer, directory, output)?;
    // Last, because its presence makes the directory a model.
    Model::save_config(output, &config(&model, &exported))?;
    Ok(exported)
}

/// `config.json` with what transformers.js wants to know of files of weights, and nothing that it was told of others.
fn config(model: &Model, exported: &Exported) -> Value {
    let mut config = model.saved_config();
    if let Some(config) = config.as_object_mut() {
        config.remove(JAVASCRIPT);
        let files = exported.files.iter().filter(|file| file.data_bytes > 0);
        let files: Map<String, Value> = files
            .filter_map(|file| Some((file.path.file_name()?.to_string_lossy().into_owned(), json!(1))))
            .collect();
        if !files.is_empty() {
            config.insert(JAVASCRIPT.to_owned(), json!({ "use_external_data_format": files }));
        }
    }
    config
}
