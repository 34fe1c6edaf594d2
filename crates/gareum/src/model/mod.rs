//! One transformer with a classification head. Families (`families/`) differ in values (`config.rs`): the names in their
//! checkpoints, where norms stand, how tokens know their places, what each sees. They have no layers of their own.
//!
//! Not here: kernels and gradients (`tensor`), losses (`head/`), loops over data (`train/`, `predict.rs`). Read `encoder.rs`
//! next.

mod adapter;
mod attention;
mod bitsandbytes;
mod checkpoint;
mod config;
mod convolution;
mod embeddings;
mod encoder;
mod error;
pub mod families;
mod feed_forward;
mod layers;
mod lora;
mod operations;
mod parameter;
mod pruning;
mod quantization;
mod relative_positions;
mod rotary;
pub(crate) mod sites;
mod trained;
mod weights;
mod words;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tensor::ops::{Pooling, Rotations};
use tensor::{DType, Dropout, ParameterId, Parameters, Tape, Var};

use crate::data::{LabelSchema, Task};
use crate::head::Head;
use crate::settings::QuantizeBase;
use crate::tokens::{PackedBatch, Tokenizer, TokenizerError};

pub use adapter::AdapterFiles;
pub use checkpoint::{EncoderFolder, LoadOptions, LoadedWeights};
pub(crate) use checkpoint::{FOREIGN, WEIGHTS, conversion, transformer_folder};
pub use config::{
    Biases, Convolution, Decoder, DecoderStart, HeadDense, HeadShape, LayerAttention, LayerLayout, ModelConfig,
    Positions,
};
use encoder::Encoder;
pub use error::ModelError;
pub use families::Family;
pub use lora::Adapter;
pub(crate) use parameter::{Builder, Linear, Norm, PackedLinears};
pub use pruning::{HalfImportance, LayerPruning};
pub use quantization::{Quantizable, QuantizableKind};
pub use relative_positions::{Distances, RelativeAttention};
pub use rotary::Rotary;
pub use trained::Freezing;
pub(crate) use trained::TrainedStack;
pub use weights::{Width, save_tensors};

/// What makes dropout masks: absent when nothing is to be dropped.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// The run's seed.
    pub seed: u64,
    /// The number of the optimiser step, from 0.
    pub step: u64,
}

/// One forward pass: what every layer needs beside its own weights.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub tape: &'a Tape,
    pub parameters: &'a Parameters,
    pub batch: &'a PackedBatch,
    pub noise: Option<Noise>,
    /// What hidden states are kept and multiplied in.
    pub dtype: DType,
    /// How positions turn queries and keys, in the order of the config.
    pub rotations: &'a [Rotations],
    pub packed: Option<&'a PackedLinears>,
}

/// What a pass is made of, for work that outlives it because it is done again on the way back. Cheap beside a layer: the
/// parameters share their storage with the model's.
pub(crate) struct SharedPass {
    parameters: Parameters,
    batch: PackedBatch,
    noise: Option<Noise>,
    dtype: DType,
    rotations: Vec<Rotations>,
}

impl SharedPass {
    /// The pass on another tape.
    pub fn on<'a>(&'a self, tape: &'a Tape) -> Pass<'a> {
        Pass {
            tape,
            parameters: &self.parameters,
            batch: &self.batch,
            noise: self.noise,
            dtype: self.dtype,
            rotations: &self.rotations,
            packed: None,
        }
    }
}

impl Pass<'_> {
    /// All of it but the tape.
    pub fn share(&self) -> SharedPass {
        SharedPass {
            parameters: self.parameters.clone(),
            batch: self.batch.clone(),
            noise: self.noise,
            dtype: self.dtype,
            rotations: self.rotations.to_vec(),
        }
    }

    /// A trainable tensor on the tape.
    pub fn parameter(&self, id: ParameterId) -> Var {
        self.tape.parameter(self.parameters, id)
    }

    /// The dropout of a site whose rows are the tokens of the batch.
    pub fn token_mask(&self, probability: f64, site: usize) -> Option<Dropout> {
        self.mask(probability, site, self.batch.first_token)
    }

    /// The dropout of a site whose rows are the examples of the batch.
    pub fn example_mask(&self, probability: f64, site: usize) -> Option<Dropout> {
        self.mask(probability, site, self.batch.first_example)
    }

    /// The dropout of a site whose rows are counted from `first_row` on.
    pub fn mask(&self, probability: f64, site: usize, first_row: u64) -> Option<Dropout> {
        let Noise { seed, step } = self.noise?;
        Dropout::new(probability, seed, step, site as u64, first_row)
    }
}

/// What an encoder's hidden states are kept and multiplied in. Parameters, norms, softmax, losses and sums are in `f32` in any
/// case, and so is the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `f32`.
    #[default]
    F32,
    /// `bf16`: half the memory, and twice the speed where the processor has instructions for it
    /// ([`tensor::cpu::has_bf16`]).
    Bf16,
}

impl Precision {
    /// The fastest on this processor.
    pub fn fastest() -> Self {
        if tensor::cpu::has_bf16() { Self::Bf16 } else { Self::F32 }
    }

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The type of a hidden state's elements.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Free storage that prediction keeps: the outputs of a layer's operations for a batch of some thousand tokens.
const KEPT_FREE_BYTES: usize = 64 << 20;

/// A text classifier: encoder, head, their parameters and what its outputs mean.
#[derive(Debug, Clone)]
pub struct Model {
    config: ModelConfig,
    schema: LabelSchema,
    encoder: Encoder,
    /// Behind the encoder, if there is one.
    decoder: Option<Encoder>,
    head: Head,
    /// How many parameters are those of encoder and decoder, and of all but an adapter.
    body: usize,
    own_parameters: usize,
    /// What stands beside the checkpoint, if anything.
    adapter: Option<Adapter>,
    /// The tensors, under the names of the checkpoint; not all need be trainable.
    pub parameters: Parameters,
    /// What forward passes compute in; `f64` parameters make all of it `f64`.
    pub precision: Precision,
    /// The products' weights, if they were packed.
    packed: Option<Arc<PackedLinears>>,
    /// `config.json` as it was read, from which the saved one is made.
    raw_config: Map<String, Value>,
    /// What numbers are saved as.
    width: Width,
}

/// What to do with the head of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub enum HeadSource<'a> {
    /// Use the checkpoint's; it must have one.
    Checkpoint,
    /// For these labels: the checkpoint's if its labels are the same, a fresh one if it has none.
    Labels {
        /// The labels of the data.
        schema: &'a LabelSchema,
        /// Replace a head whose labels differ instead of refusing it.
        reset: bool,
        /// Seed of the fresh head's weights.
        seed: u64,
        /// Dropout rate of the head, instead of what `config.json` says.
        classifier_dropout: Option<f64>,
    },
}

/// What happened while a checkpoint was loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadNotes {
    /// Parameters that the checkpoint lacks and that were drawn at random: those of a fresh head.
    pub fresh: Vec<String>,
    /// Tensors of the checkpoint that this model has no use for, for example a masked-language-model head.
    pub unused: Vec<String>,
    /// Whether the encoder was taken out of a model of sentence-transformers.
    pub in_sentence_model: bool,
    /// Whether it is the generator of an ELECTRA pair.
    pub is_generator: bool,
    /// What now ends every text, because the head reads a sequence there and the checkpoint's tokenizer does not put it.
    pub appended_token: Option<String>,
}

impl Model {
    /// A model with random weights, as a family initialises them for training from scratch.
    ///
    /// # Errors
    /// [`ModelError`] if `config` (what a `config.json` holds) does not describe a supported encoder.
    pub fn from_config(config: Map<String, Value>, schema: LabelSchema, seed: u64) -> Result<Self, ModelError> {
        let parsed = ModelConfig::from_json(&config, "config.json")?;
        let mut builder = Builder::fresh(seed, parsed.initializer_range);
        Self::build(parsed, schema, config, &mut builder).map(|model| model.finish(builder))
    }

    /// Makes a tokenizer end texts where the head reads them (see [`Tokenizer::end_with`]); returns the token that this took. A decoder's
    /// config without a padding token gets the tokenizer's: `transformers` classifies no batch without.
    pub(crate) fn fit_tokenizer(&mut self, tokenizer: &mut Tokenizer) -> Result<Option<String>, TokenizerError> {
        if self.config.head.pooling == Pooling::Last
            && self.raw_config.get("pad_token_id").is_none_or(Value::is_null)
            && let Some(id) = tokenizer.special_id("pad_token")
        {
            self.raw_config.insert("pad_token_id".to_owned(), json!(id));
        }
        match self.config.head.last_of {
            Some(eos) => tokenizer.end_with(eos),
            None => Ok(None),
        }
    }

    /// Reads `config.json` and the weights of a directory. An adapter is read with the model that it belongs to, and
    /// only as it is.
    ///
    /// # Errors
    /// [`ModelError`] names the file and what is wrong with it.
    pub fn load(directory: &Path, head: HeadSource<'_>) -> Result<(Self, LoadNotes), ModelError> {
        Self::load_with(directory, head, &LoadOptions::default())
    }

    /// As [`Model::load`], for a checkpoint that is not as `transformers` leaves it.
    ///
    /// # Errors
    /// As there.
    pub fn load_with(
        directory: &Path,
        head: HeadSource<'_>,
        options: &LoadOptions,
    ) -> Result<(Self, LoadNotes), ModelError> {
        if Adapter::is_in(directory) {
            return match head {
                HeadSource::Checkpoint => {
                    let model = Self::load_with_adapter(directory, None, options.quantize_base)?;
                    Ok((model, LoadNotes::default()))
                }
                HeadSource::Labels { .. } => Err(ModelError::IsAdapter {
                    directory: directory.into(),
                }),
            };
        }
        let EncoderFolder {
            directory,
            in_sentence_model,
        } = EncoderFolder::of(directory)?;
        let directory = directory.as_path();
        let (mut raw_config, mut config) = ModelConfig::read(directory)?;
        if let HeadSource::Labels {
            classifier_dropout: Some(rate),
            ..
        } = head
        {
            raw_config.insert(config.family.classifier_dropout_key().to_owned(), json!(rate));
            config = ModelConfig::from_json(&raw_config, "config.json")?;
        }
        let weights = LoadedWeights::read_with(directory, options)?;
        let is_generator = families::is_generator(config.family, &raw_config, &weights);
        if is_generator && !options.allow_generator {
            return Err(ModelError::Generator {
                directory: directory.into(),
            });
        }
        let has_head = weights.contains(&format!("{}.weight", config.names().classifier));
        let (schema, seed, keep_head) = match head {
            HeadSource::Checkpoint if !has_head => {
                return Err(ModelError::NoHead {
                    directory: directory.into(),
                });
            }
            HeadSource::Checkpoint => (config.schema()?, 0, true),
            HeadSource::Labels {
                schema, reset, seed, ..
            } => {
                let keep = has_head && !reset;
                if keep && !config.labels_agree(schema) {
                    return Err(ModelError::Labels {
                        directory: directory.into(),
                        checkpoint: config.schema()?.names,
                        data: schema.names.clone(),
                    });
                }
                (schema.clone(), seed, keep)
            }
        };
        let mut builder =
            Builder::from_weights(weights, seed, config.initializer_range, keep_head).quantizing(options.quantize_base);
        let model = Self::build(config, schema, raw_config, &mut builder)?;
        let for_training = matches!(head, HeadSource::Labels { .. });
        let notes = LoadNotes {
            in_sentence_model,
            is_generator,
            ..builder.notes(directory)?
        };
        let mut model = model.finish(builder);
        if options.quantize_base == QuantizeBase::None {
            model.check_quantization(directory)?;
        }
        if for_training && model.is_quantized() {
            model.dequantize(options.quantize_base == QuantizeBase::Nf4);
        }
        if let Some(choice) = &options.layers {
            model = model.keep_layers(choice)?;
        }
        Ok((model, notes))
    }

    fn build(
        config: ModelConfig,
        schema: LabelSchema,
        raw_config: Map<String, Value>,
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let encoder = Encoder::build(&config, 0, builder)?;
        let decoder = match config.of_decoder() {
            None => None,
            Some(decoder) => Some(Encoder::build(&decoder, config.num_hidden_layers, builder)?),
        };
        let body = builder.len();
        let head = Head::build(&config, schema.num_labels(), builder)?;
        Ok(Self {
            body,
            own_parameters: builder.len(),
            adapter: None,
            config,
            schema,
            encoder,
            decoder,
            head,
            parameters: Parameters::default(),
            precision: Precision::default(),
            packed: None,
            raw_config,
            width: Width::F32,
        })
    }

    fn finish(mut self, builder: Builder) -> Self {
        self.parameters = builder.into_parameters();
        self
    }

    /// Logits of every sequence: what the softmax, the sigmoid or nothing (regression) is taken of.
    ///
    /// # Shapes
    /// Returns `[batch, labels]`.
    ///
    /// # Errors
    /// [`tensor::Error`] if the batch holds ids outside of the vocabulary or a sequence that is too long.
    pub fn forward(&self, tape: &Tape, batch: &PackedBatch, noise: Option<Noise>) -> tensor::Result<Var> {
        self.with_hidden(tape, batch, noise, |pass, hidden| self.head.forward(pass, hidden))
    }

    /// What the tokens of the encoder, and those of the decoder if there is one, start from before the first layer: word, position and type
    /// together, normed where the family norms them.
    ///
    /// # Shapes
    /// Each: `[tokens, embedding_size]`. The decoder's sequences stand one token further behind (see [`Decoder`]).
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn embed(&self, tape: &Tape, batch: &PackedBatch) -> tensor::Result<Vec<Var>> {
        self.with_pass(tape, batch, None, |pass| {
            let mut embedded = vec![self.encoder.embed(pass)?];
            if let (Some(decoder), Some(of_decoder)) = (&self.decoder, self.config.decoder) {
                let batch = of_decoder.start.in_front_of(batch);
                embedded.push(decoder.embed(&Pass { batch: &batch, ..*pass })?);
            }
            Ok(embedded)
        })
    }

    /// As [`Model::forward`] without noise, for tokens that start from something else than what [`Model::embed`] gives, in the same shapes.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_from(&self, tape: &Tape, batch: &PackedBatch, embedded: &[Var]) -> tensor::Result<Var> {
        self.with_pass(tape, batch, None, |pass| {
            let shape = |what| tensor::Error::Shape {
                operation: "forward_from",
                what,
                found: vec![embedded.len()],
                expected: "one for each stack of layers".to_owned(),
            };
            let first = embedded.first().ok_or_else(|| shape("embedded"))?;
            let mut hidden = self.encoder.forward_from(pass, first, None)?;
            if let (Some(decoder), Some(of_decoder)) = (&self.decoder, self.config.decoder) {
                let batch = of_decoder.start.in_front_of(batch);
                let pass = Pass { batch: &batch, ..*pass };
                let second = embedded.get(1).ok_or_else(|| shape("embedded"))?;
                hidden = decoder.forward_from(&pass, second, Some(hidden))?;
            }
            self.head.forward(pass, &hidden)
        })
    }

    /// What the head gets of each sequence, before its own dropout.
    ///
    /// # Shapes
    /// Returns `[batch, hidden_size]`.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn features(&self, tape: &Tape, batch: &PackedBatch, noise: Option<Noise>) -> tensor::Result<Var> {
        self.with_hidden(tape, batch, noise, |pass, hidden| self.head.pool(pass, hidden))
    }

    /// Logits of what [`Model::features`] gave for sequences of which the first has this number in the whole batch.
    ///
    /// # Errors
    /// [`tensor::Error`] if there are not as many columns.
    pub fn classify(
        &self,
        tape: &Tape,
        features: Var,
        first_example: usize,
        noise: Option<Noise>,
    ) -> tensor::Result<Var> {
        let pass = Pass {
            tape,
            parameters: &self.parameters,
            batch: &PackedBatch::new([], 0, first_example),
            noise,
            dtype: features.value().dtype(),
            rotations: &[],
            packed: self.packed.as_deref(),
        };
        self.head.classify(&pass, &features)
    }

    /// Runs the encoder, and the decoder if there is one, and `head` on the last hidden states.
    fn with_hidden(
        &self,
        tape: &Tape,
        batch: &PackedBatch,
        noise: Option<Noise>,
        head: impl FnOnce(&Pass<'_>, &Var) -> tensor::Result<Var>,
    ) -> tensor::Result<Var> {
        self.with_pass(tape, batch, noise, |pass| {
            let mut hidden = self.encoder.forward(pass, None)?;
            if let (Some(decoder), Some(of_decoder)) = (&self.decoder, self.config.decoder) {
                let batch = of_decoder.start.in_front_of(batch);
                let pass = Pass { batch: &batch, ..*pass };
                hidden = decoder.forward(&pass, Some(hidden))?;
            }
            head(pass, &hidden)
        })
    }

    /// Runs `forward` with what every layer needs.
    fn with_pass<T>(
        &self,
        tape: &Tape,
        batch: &PackedBatch,
        noise: Option<Noise>,
        forward: impl FnOnce(&Pass<'_>) -> tensor::Result<T>,
    ) -> tensor::Result<T> {
        let dtype = match self.parameters.iter().next() {
            Some((_, _, first)) if first.dtype() == DType::F64 => DType::F64,
            _ => self.precision.dtype(),
        };
        let lengths = batch
            .sequence_starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as usize);
        let longest = lengths.max().unwrap_or(0);
        if longest > self.config.max_tokens() {
            return Err(tensor::Error::Shape {
                operation: "forward",
                what: "sequence",
                found: vec![longest],
                expected: format!("at most {} tokens", self.config.max_tokens()),
            });
        }
        let rotaries = self.config.rotaries().iter();
        let rotations = rotaries
            .map(|rotary| rotary.rotations(longest, dtype))
            .collect::<tensor::Result<Vec<_>>>()?;
        let pass = Pass {
            tape,
            parameters: &self.parameters,
            batch,
            noise,
            dtype,
            rotations: &rotations,
            packed: self.packed.as_deref(),
        };
        forward(&pass)
    }

    /// Whether the weights are packed for prediction: no gradient passes through them.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Makes training leave every parameter as it is: gradients go through them alone.
    pub(crate) fn freeze_all(&mut self) {
        let ids: Vec<ParameterId> = self.parameters.iter().map(|(id, _, _)| id).collect();
        ids.into_iter().for_each(|id| self.parameters.set_trainable(id, false));
    }

    /// The model for prediction only: the encoder's weights are packed once for products in `precision`, which frees them,
    /// so it can be neither trained nor saved.
    ///
    /// # Errors
    /// [`tensor::Error`] if the parameters are not `f32`.
    pub fn for_prediction(mut self, precision: Precision) -> tensor::Result<Self> {
        tensor::memory::keep_free(KEPT_FREE_BYTES);
        let mut packed = PackedLinears::default();
        let nothing = PackedBatch::new([], 0, 0);
        let pass = Pass {
            tape: &Tape::inference(),
            parameters: &self.parameters,
            batch: &nothing,
            noise: None,
            dtype: precision.dtype(),
            rotations: &[],
            packed: None,
        };
        for (linear, output) in self.encoder.projected_positions(&pass)? {
            packed.keep(linear, output.into_value());
        }
        let decoder = self.decoder.iter().flat_map(Encoder::linears);
        for linear in self.encoder.linears().chain(decoder) {
            packed.take(linear, &mut self.parameters, precision.dtype())?;
        }
        // The head is computed in f32, of a row for each text; its weights are packed if products of integers need that.
        let is_narrow = |dense: &&Linear| {
            let mut dtypes = dense.weights().map(|id| self.parameters.get(id).dtype());
            dtypes.all(|dtype| matches!(dtype, DType::Int8 | DType::Nf4))
        };
        if let Some(dense) = self.head.dense().filter(is_narrow) {
            packed.take(dense, &mut self.parameters, DType::F32)?;
        }
        Ok(Self {
            precision,
            packed: Some(Arc::new(packed)),
            ..self
        })
    }

    /// The sizes and rates of the encoder.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What the outputs mean.
    pub fn schema(&self) -> &LabelSchema {
        &self.schema
    }

    /// The same model computing in another floating-point type; `f64` is for checking.
    pub fn to_dtype(&self, dtype: DType) -> Self {
        Self {
            parameters: self.parameters.to_dtype(dtype),
            ..self.clone()
        }
    }

    /// Writes `config.json` and `model.safetensors` into a directory that exists, as `save_pretrained` of `transformers`
    /// does; with an adapter, its files instead of the weights, as `peft` does.
    ///
    /// # Errors
    /// [`ModelError::Write`] if a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), ModelError> {
        Self::save_config(directory, &self.saved_config())?;
        match &self.adapter {
            None => {
                weights::save(&directory.join("model.safetensors"), &self.parameters, self.width)?;
                Adapter::remove_from(directory)
            }
            Some(adapter) => self.save_adapter(adapter, directory),
        }
    }

    /// The same model with numbers that another width can hold, in which it is then saved.
    ///
    /// # Errors
    /// The name and the value of one that is too large for it.
    pub(crate) fn to_width(&self, width: Width) -> Result<Self, (String, f32)> {
        let mut model = self.clone();
        model.width = width;
        let ids: Vec<ParameterId> = self.parameters.iter().map(|(id, _, _)| id).collect();
        for id in ids {
            let value = model.parameters.get_mut(id);
            for value in value.as_mut_slice::<f32>().into_iter().flatten() {
                let rounded = width.rounded(*value);
                if value.is_finite() && !rounded.is_finite() {
                    return Err((self.parameters.name(id).to_owned(), *value));
                }
                *value = rounded;
            }
        }
        Ok(model)
    }

    /// Bytes that the weights take in a file.
    pub(crate) fn saved_bytes(&self) -> u64 {
        weights::saved_bytes(&self.parameters, self.width)
    }

    /// Bytes that the weights take in memory.
    pub fn memory_bytes(&self) -> u64 {
        let parameters: usize = self.parameters.iter().map(|(_, _, value)| value.bytes()).sum();
        let packed = self.packed.as_ref().map_or(0, |packed| packed.bytes());
        (parameters + packed) as u64
    }

    /// Writes `config.json` alone.
    pub(crate) fn save_config(directory: &Path, config: &Value) -> Result<(), ModelError> {
        let config = serde_json::to_string_pretty(config).map_err(|error| ModelError::Write {
            path: directory.join("config.json"),
            reason: error.to_string(),
        })?;
        crate::files::write_atomically(&directory.join("config.json"), (config + "\n").as_bytes())?;
        Ok(())
    }

    /// `config.json` with this model's labels.
    pub(crate) fn saved_config(&self) -> Value {
        let names = self.schema.names.iter();
        let problem_type = match self.schema.task {
            Task::SingleLabel => "single_label_classification",
            Task::MultiLabel => "multi_label_classification",
            Task::Regression => "regression",
        };
        let mut config = self.raw_config.clone();
        let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
        set("architectures", json!([self.config.family.architecture()]));
        set(
            "id2label",
            names
                .clone()
                .enumerate()
                .map(|(id, name)| (id.to_string(), json!(name)))
                .collect(),
        );
        set(
            "label2id",
            names.enumerate().map(|(id, name)| (name.clone(), json!(id))).collect(),
        );
        set("problem_type", json!(problem_type));
        // `transformers` 4 reads `torch_dtype`, 5 reads `dtype`; both take the other's absence.
        config.remove("torch_dtype");
        config.insert("dtype".to_owned(), json!(self.width.name()));
        config.remove("num_labels");
        config.remove("_name_or_path");
        config.remove("_num_labels");
        Value::Object(config)
    }
}
