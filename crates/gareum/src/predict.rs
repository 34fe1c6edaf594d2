//! A saved model on new texts: all that serving needs.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tensor::{DType, Tape};

use crate::data::{ColumnRequest, Input, LabelSchema, NormalizeStep, Task};
use crate::decision::Decision;
use crate::files::{self, WriteError};
use crate::model::{Adapter, AdapterFiles, EncoderFolder, HeadSource, Model, ModelError, Precision};
use crate::settings::{PrecisionSetting, QuantizeBase, Settings};
use crate::tokens::{Encoded, PackedBatch, Tokenizer, TokenizerError, Truncation, token_budget_batches};

/// Tokens that go through the model at a time, in all threads together.
const MAX_TOKENS: usize = 4096;

/// A batch of more tokens is no faster.
const BATCH_TOKENS: usize = 1024;

/// Batches of each thread between two reports of progress.
const BATCHES_PER_THREAD: usize = 8;

/// Smaller batches are not worth reading all weights for: threads rather share one.
const LEAST_BATCH_TOKENS: usize = 256;

/// Why a saved model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The weights or their description.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// `gareum.json` is damaged.
    #[error("{}: {reason}\nhint: train again, or remove the file: texts are then cut at the default length", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Tensors do not fit each other.
    #[error(transparent)]
    Tensor(#[from] tensor::Error),
}

/// What the model makes of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// One number for each label (or the predicted number), before softmax or sigmoid.
    pub logits: Vec<f32>,
    /// Probability of each label; the predicted number itself for regression.
    pub scores: Vec<f64>,
    /// The chosen classes: one; or those whose probability reaches their threshold; or none for regression.
    pub classes: Vec<u32>,
    /// Whether the model would rather not say: the classes are then its guess. Always false unless [`Decision::abstain`] is set.
    pub abstained: bool,
}

impl Prediction {
    /// The labels with their scores, best first.
    pub fn ranked<'a>(&self, schema: &'a LabelSchema) -> Vec<(&'a str, f64)> {
        let mut ranked: Vec<_> = schema
            .names
            .iter()
            .map(String::as_str)
            .zip(self.scores.iter().copied())
            .collect();
        ranked.sort_by(|first, second| second.1.total_cmp(&first.1));
        ranked
    }

    /// The columns of a predictions file: `label` (a name; a list of names; the number of a regression; null where the model abstained),
    /// `score` (the chosen label's; the smallest among several; the predicted number) and `scores` (all labels; with `top_k`, the best).
    pub fn columns(&self, schema: &LabelSchema, top_k: Option<usize>) -> PredictionColumns {
        let name = |id: &u32| schema.name_of(*id).unwrap_or_default();
        let score = |id: &u32| self.scores.get(*id as usize).copied();
        let (label, score) = match schema.task {
            Task::SingleLabel => (
                json!(self.classes.first().map(name)),
                self.classes.first().and_then(score),
            ),
            Task::MultiLabel => {
                let lowest = self.classes.iter().filter_map(score).reduce(f64::min);
                (json!(self.classes.iter().map(name).collect::<Vec<_>>()), lowest)
            }
            Task::Regression => (json!(self.scores.first()), self.scores.first().copied()),
        };
        let scores: Map<String, Value> = match top_k {
            None => schema
                .names
                .iter()
                .zip(&self.scores)
                .map(|(name, score)| (name.clone(), json!(score)))
                .collect(),
            Some(k) => {
                let best = self.ranked(schema).into_iter().take(k);
                best.map(|(name, score)| (name.to_owned(), json!(score))).collect()
            }
        };
        PredictionColumns {
            label: if self.abstained { Value::Null } else { label },
            score,
            scores,
        }
    }
}

/// What a model makes of a text before anything is decided.
pub(crate) struct Answer {
    /// One for each label.
    pub logits: Vec<f32>,
    /// See [`Model::features`].
    pub features: Vec<f32>,
}

/// See [`Prediction::columns`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictionColumns {
    /// The chosen label or labels.
    pub label: Value,
    /// How sure the model is of them.
    pub score: Option<f64>,
    /// Probability of each label.
    pub scores: Map<String, Value>,
}

/// Predicts encoded texts in batches of at most `max_tokens` tokens (or one text), one after another, and decides by `decision`;
/// results are in the order of the inputs. `progress` gets the number of texts done.
///
/// # Errors
/// [`tensor::Error`] if ids are outside of the vocabulary or a text is longer than the model's positions.
pub fn predict_encoded(
    model: &Model,
    decision: &Decision,
    encoded: &[&Encoded],
    max_tokens: usize,
    progress: &mut dyn FnMut(usize),
) -> tensor::Result<Vec<Prediction>> {
    predict_batches(model, decision, encoded, (max_tokens, 1), progress)
}

fn predict_batches(
    model: &Model,
    decision: &Decision,
    encoded: &[&Encoded],
    batches: (usize, usize),
    progress: &mut dyn FnMut(usize),
) -> tensor::Result<Vec<Prediction>> {
    let predict = |packed: &PackedBatch| -> tensor::Result<Vec<Prediction>> {
        let logits = model.forward(&Tape::inference(), packed, None)?.value().to_f32_vec();
        let logits = logits.chunks_exact(model.schema().num_labels());
        let predictions = logits.map(|logits| decision.decide(logits.to_vec(), model.schema().task));
        Ok(predictions.collect())
    };
    in_batches(encoded, batches, progress, predict)
}

/// What `act` makes of each text, in batches of at most so many tokens (or one text), of which so many `at_once` are shared among the threads: none then
/// waits for others after every operation, and those that find no batch left help with the operations of the rest. In the order of the texts.
fn in_batches<T: Send>(
    encoded: &[&Encoded],
    (batch_tokens, at_once): (usize, usize),
    progress: &mut dyn FnMut(usize),
    act: impl Fn(&PackedBatch) -> tensor::Result<Vec<T>> + Sync,
) -> tensor::Result<Vec<T>> {
    let lengths: Vec<usize> = encoded.iter().map(|encoded| encoded.input_ids.len()).collect();
    let act = |batch: &Vec<usize>| -> tensor::Result<Vec<(usize, T)>> {
        let packed = PackedBatch::new(batch.iter().map(|&index| encoded[index]), 0, 0);
        Ok(batch.iter().copied().zip(act(&packed)?).collect())
    };
    let mut all = Vec::with_capacity(encoded.len());
    for batches in token_budget_batches(&lengths, batch_tokens).chunks(at_once) {
        let done: tensor::Result<Vec<_>> = batches.par_iter().with_max_len(1).map(act).collect();
        all.extend(done?.into_iter().flatten());
        progress(all.len());
    }
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, made)| made).collect())
}

/// Tokens of a batch, and how many batches are shared among the threads: those of one for each thread hold at most
/// [`MAX_TOKENS`] together.
fn batches_of_threads<'a>(encoded: impl Iterator<Item = &'a Encoded> + Clone) -> (usize, usize) {
    let lengths = encoded.map(|encoded| encoded.input_ids.len());
    let threads = rayon::current_num_threads();
    let (share, longest) = (MAX_TOKENS / threads, lengths.clone().max().unwrap_or(0));
    if share < LEAST_BATCH_TOKENS || share < longest {
        return (MAX_TOKENS, 1);
    }
    // Threads get equally many batches, unless there is too little for that.
    let tokens: usize = lengths.sum();
    let batches = tokens.div_ceil(BATCH_TOKENS).next_multiple_of(threads).max(1);
    let batch_tokens = (tokens.div_ceil(batches) + longest).clamp(LEAST_BATCH_TOKENS, share);
    (batch_tokens, BATCHES_PER_THREAD * threads)
}

/// What `gareum.json` of a model directory holds.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub struct Description {
    /// The version of gareum that wrote it.
    pub gareum: String,
    /// The settings of the run, with every default.
    pub settings: Settings,
    /// How logits become labels.
    #[serde(default)]
    pub decision: Decision,
    /// Where the data came from and what was done to it.
    #[serde(default)]
    pub data: Value,
}

impl Default for Description {
    /// What goes without saying where there is no file.
    fn default() -> Self {
        Self {
            gareum: env!("CARGO_PKG_VERSION").to_owned(),
            settings: Settings::default(),
            decision: Decision::default(),
            data: Value::Null,
        }
    }
}

impl Description {
    /// The name of the file.
    pub const FILE: &'static str = "gareum.json";

    /// Reads it from a model directory; `None` if there is none, as in a checkpoint from elsewhere.
    ///
    /// # Errors
    /// [`PredictError::Description`] if it is damaged.
    pub fn read(directory: &Path) -> Result<Option<Self>, PredictError> {
        let path = directory.join(Self::FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|error| damaged(directory, error.to_string()))?;
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| damaged(directory, error.to_string()))
    }

    /// How many training examples have each label, by id; `None` if that is not known, or not of these labels.
    pub fn train_counts(&self, schema: &LabelSchema) -> Option<Vec<u64>> {
        let counts: Vec<(String, u64)> = serde_json::from_value(self.data["label_counts"]["train"].clone()).ok()?;
        let (names, counts): (Vec<String>, Vec<u64>) = counts.into_iter().unzip();
        (names == schema.names).then_some(counts)
    }

    /// Writes it into a model directory.
    ///
    /// # Errors
    /// [`PredictError::Model`] if it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), PredictError> {
        let json = serde_json::to_string_pretty(self).map_err(|error| damaged(directory, error.to_string()))?;
        let path = directory.join(Self::FILE);
        files::write_atomically(&path, (json + "\n").as_bytes()).map_err(|error| PredictError::Model(error.into()))
    }
}

fn damaged(directory: &Path, reason: String) -> PredictError {
    PredictError::Description {
        path: directory.join(Description::FILE),
        reason,
    }
}

/// A model with its tokenizer. Its weights are packed for products, so it can be neither trained nor saved.
#[derive(Debug, Clone)]
pub struct Predictor {
    model: Model,
    tokenizer: Tokenizer,
    truncation: Truncation,
    settings: Settings,
    decision: Decision,
}

impl Predictor {
    /// Reads a model directory: of gareum, or what `save_pretrained` of `transformers` wrote for a model and its tokenizer
    /// (texts are then cut at 128 tokens or at what the model has positions for).
    ///
    /// `precision` is what is computed in; `auto` is what the model was trained in where the processor has instructions for
    /// it, else `f32`: what was never rounded in training is not rounded here unasked.
    ///
    /// # Errors
    /// [`PredictError`] names the file and what is wrong with it.
    pub fn load(directory: &Path, precision: PrecisionSetting) -> Result<Self, PredictError> {
        Self::load_with_base(directory, None, precision)
    }

    /// As [`Predictor::load`]; if the directory holds an adapter, the model that it belongs to is read from `base` instead of
    /// from where the adapter says. The two are merged.
    ///
    /// # Errors
    /// As [`Predictor::load`].
    pub fn load_with_base(
        directory: &Path,
        base: Option<&Path>,
        precision: PrecisionSetting,
    ) -> Result<Self, PredictError> {
        Self::new(load_model(directory, base)?, directory, precision)
    }

    /// As [`Predictor::load_with_base`], for [`crate::explain`] with gradients: the weights are `f32`, whatever they are saved as, and not
    /// packed, since no gradient passes through packed ones. It predicts as well, but slower.
    ///
    /// # Errors
    /// As [`Predictor::load`].
    pub fn load_for_gradients(directory: &Path, base: Option<&Path>) -> Result<Self, PredictError> {
        let mut model = load_model(directory, base)?;
        let tokenizer = tokenizer_of(&mut model, directory)?;
        model.merge()?;
        Self::with_gradients(model, tokenizer, directory)
    }

    /// As [`Predictor::load_for_gradients`], with the plain model and its tokenizer.
    pub(crate) fn with_gradients(
        mut model: Model,
        tokenizer: Tokenizer,
        directory: &Path,
    ) -> Result<Self, PredictError> {
        model.dequantize(false);
        model.freeze_all();
        model.precision = Precision::F32;
        Self::with_tokenizer(model, tokenizer, directory, |model, _| Ok(model))
    }

    /// A checkpoint without a head, with one for these labels whose weights are random: what a model is before it is trained.
    ///
    /// # Errors
    /// As [`Predictor::load`]; also if the checkpoint has a head for other labels.
    pub fn untrained(
        directory: &Path,
        schema: &LabelSchema,
        precision: PrecisionSetting,
    ) -> Result<Self, PredictError> {
        let head = HeadSource::Labels {
            schema,
            reset: false,
            seed: Settings::default().train.seed,
            classifier_dropout: None,
        };
        Self::new(Model::load(directory, head)?.0, directory, precision)
    }

    /// As [`Predictor::load`], with the model of the directory.
    pub(crate) fn new(mut model: Model, directory: &Path, precision: PrecisionSetting) -> Result<Self, PredictError> {
        let tokenizer = tokenizer_of(&mut model, directory)?;
        model.merge()?;
        Self::with(model, tokenizer, directory, precision)
    }

    /// As [`Predictor::new`], with a plain model and its tokenizer.
    pub(crate) fn with(
        mut model: Model,
        tokenizer: Tokenizer,
        directory: &Path,
        precision: PrecisionSetting,
    ) -> Result<Self, PredictError> {
        // Who asks for f32 gets the products that the numbers of 4 bits stand for, others products of integers.
        if precision == PrecisionSetting::F32 || !model.is_quantized() {
            model.widen_nf4(DType::F32);
        }
        model.drop_zero_heads()?;
        let precision = |trained| prediction_precision(precision, trained);
        Self::with_tokenizer(model, tokenizer, directory, |model, trained| {
            Ok(model.for_prediction(precision(trained))?)
        })
    }

    fn with_tokenizer(
        model: Model,
        tokenizer: Tokenizer,
        directory: &Path,
        finish: impl FnOnce(Model, PrecisionSetting) -> Result<Model, PredictError>,
    ) -> Result<Self, PredictError> {
        tokenizer.check_fits(model.config().vocab_size)?;
        let (settings, decision) = Description::read(directory)?
            .map(|description| (description.settings, description.decision))
            .unwrap_or_default();
        let decision = decision
            .for_schema(model.schema())
            .map_err(|reason| damaged(directory, reason))?;
        let mut truncation = settings.truncation();
        truncation.max_length = truncation.max_length.min(model.config().max_tokens());
        Ok(Self {
            model: finish(model, settings.train.precision)?,
            tokenizer,
            truncation,
            settings,
            decision,
        })
    }

    /// Predicts texts, in order. `progress` gets the number of texts done.
    ///
    /// # Errors
    /// [`PredictError`] if a text cannot be tokenized.
    pub fn predict(&self, inputs: &[Input], progress: &mut dyn FnMut(usize)) -> Result<Vec<Prediction>, PredictError> {
        self.predict_encoded(&self.encode(inputs)?, progress)
    }

    /// Tokenizes texts for [`Predictor::predict_encoded`]: for who does one while the other goes on.
    ///
    /// # Errors
    /// [`PredictError`] if a text cannot be tokenized.
    pub fn encode(&self, inputs: &[Input]) -> Result<Vec<Encoded>, PredictError> {
        let steps = self.normalize_steps();
        if steps.is_empty() {
            return Ok(self.tokenizer.encode_all(inputs, self.truncation)?);
        }
        let inputs: Vec<Input> = inputs.iter().map(|input| input.normalized(steps)).collect();
        Ok(self.tokenizer.encode_all(&inputs, self.truncation)?)
    }

    /// Predicts tokenized texts, in order. `progress` gets the number of texts done.
    ///
    /// # Errors
    /// [`PredictError`] if they were not tokenized for this model.
    pub fn predict_encoded(
        &self,
        encoded: &[Encoded],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Prediction>, PredictError> {
        let batches = batches_of_threads(encoded.iter());
        let encoded: Vec<&Encoded> = encoded.iter().collect();
        Ok(predict_batches(
            &self.model,
            &self.decision,
            &encoded,
            batches,
            progress,
        )?)
    }

    /// Logits of texts and what they were made of, in order. `progress` gets the number of texts done.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub(crate) fn answers(
        &self,
        inputs: &[Input],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Answer>, PredictError> {
        let encoded = self.encode(inputs)?;
        let answer = |packed: &PackedBatch| -> tensor::Result<Vec<Answer>> {
            let tape = Tape::inference();
            let features = self.model.features(&tape, packed, None)?;
            let logits = self
                .model
                .classify(&tape, features.clone(), 0, None)?
                .value()
                .to_f32_vec();
            let features = features.value().to_f32_vec();
            let rows = logits.chunks_exact(self.schema().num_labels());
            let answers = rows.zip(features.chunks_exact(self.model.config().hidden_size));
            let answers = answers.map(|(logits, features)| Answer {
                logits: logits.to_vec(),
                features: features.to_vec(),
            });
            Ok(answers.collect())
        };
        let batches = batches_of_threads(encoded.iter());
        Ok(in_batches(
            &encoded.iter().collect::<Vec<_>>(),
            batches,
            progress,
            answer,
        )?)
    }

    /// What the outputs mean.
    pub fn schema(&self) -> &LabelSchema {
        self.model.schema()
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What is changed in every text, as in training.
    pub fn normalize_steps(&self) -> &[NormalizeStep] {
        &self.settings.data.normalize
    }

    /// The columns that the training data had, as far as they were named.
    pub fn known_columns(&self) -> ColumnRequest {
        self.settings.data.columns()
    }

    /// How logits become labels.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// How texts are cut.
    pub fn truncation(&self) -> Truncation {
        self.truncation
    }

    /// What is computed in.
    pub fn precision(&self) -> Precision {
        self.model.precision
    }
}

/// A model for several adapters, whose packed weights are in memory once.
///
/// ```no_run
/// # use std::path::Path;
/// # fn main() -> Result<(), gareum::predict::PredictError> {
/// use gareum::predict::SharedBase;
/// use gareum::settings::PrecisionSetting;
///
/// let base = SharedBase::load(Path::new("klue-bert-base"), PrecisionSetting::Auto)?;
/// let sentiment = base.adapter(Path::new("sentiment-adapter"))?;
/// let topic = base.adapter(Path::new("topic-adapter"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SharedBase {
    model: Model,
    /// Parameters that the checkpoint lacks.
    fresh: Vec<String>,
    directory: PathBuf,
}

impl SharedBase {
    /// Reads a model directory, with or without a head. `precision` is what is computed in; `auto` is `f32`.
    ///
    /// # Errors
    /// [`PredictError`] names the file and what is wrong with it.
    pub fn load(directory: &Path, precision: PrecisionSetting) -> Result<Self, PredictError> {
        let (model, fresh) = Model::load_base(directory, QuantizeBase::None)?;
        let precision = prediction_precision(precision, PrecisionSetting::Auto);
        Ok(Self {
            model: model.for_prediction(precision)?,
            fresh,
            directory: directory.to_owned(),
        })
    }

    /// Reads an adapter that was trained on this model. What it adds is added at each prediction, which is a little slower than
    /// an adapter that is loaded alone, because that is merged.
    ///
    /// # Errors
    /// [`PredictError`] names the file and what is wrong with it.
    pub fn adapter(&self, directory: &Path) -> Result<Predictor, PredictError> {
        let files = AdapterFiles::open(directory)?;
        let mut model = self.model.with_adapter(files, &self.fresh, &self.directory)?;
        let tokenizer = tokenizer_of(&mut model, directory)?;
        Predictor::with_tokenizer(model, tokenizer, directory, |model, _| Ok(model))
    }
}

/// Makes a plain model directory of an adapter's and the model that it belongs to, at `base` or where the adapter says.
///
/// # Errors
/// [`PredictError`] names the file and what is wrong with it.
pub fn merge(directory: &Path, base: Option<&Path>, output: &Path) -> Result<(), PredictError> {
    let mut model = load_model(directory, base)?;
    let tokenizer = tokenizer_of(&mut model, directory)?;
    model.merge()?;
    save_as(&model, &tokenizer, directory, output)
}

/// Writes a model that was made of the one in `directory`, with its tokenizer and what is known of it.
pub(crate) fn save_as(
    model: &Model,
    tokenizer: &Tokenizer,
    directory: &Path,
    output: &Path,
) -> Result<(), PredictError> {
    save_beside(model, tokenizer, directory, output)?;
    // Last, because its presence makes the directory a model.
    Ok(model.save(output)?)
}

/// Writes what stands beside config and weights: the tokenizer, and what is known of the model in `directory`.
pub(crate) fn save_beside(
    model: &Model,
    tokenizer: &Tokenizer,
    directory: &Path,
    output: &Path,
) -> Result<(), PredictError> {
    let description = Description::read(directory)?;
    let settings = description.as_ref().map(|description| description.settings.clone());
    let max_length = settings.unwrap_or_default().truncation().max_length;
    let written = |error: WriteError| PredictError::Model(error.into());
    files::create_directory(output).map_err(written)?;
    tokenizer
        .save(output, max_length.min(model.config().max_tokens()))
        .map_err(written)?;
    for file in [Description::FILE, "metrics.json"] {
        let path = directory.join(file);
        if path.exists() {
            let contents = std::fs::read(&path).map_err(|error| ModelError::Read {
                path,
                reason: error.to_string(),
            })?;
            files::write_atomically(&output.join(file), &contents).map_err(written)?;
        }
    }
    Ok(())
}

/// A model as it is in a directory, with its adapter if it has one.
pub(crate) fn load_model(directory: &Path, base: Option<&Path>) -> Result<Model, PredictError> {
    if !Adapter::is_in(directory) {
        return Ok(Model::load(directory, HeadSource::Checkpoint)?.0);
    }
    let description = Description::read(directory)?;
    let quantize_base = description.map(|description| description.settings.quantize_base());
    Ok(Model::load_with_adapter(
        directory,
        base,
        quantize_base.unwrap_or_default(),
    )?)
}

/// The tokenizer of a directory. An adapter that was saved by `peft` has none of its own.
pub(crate) fn tokenizer_of(model: &mut Model, directory: &Path) -> Result<Tokenizer, PredictError> {
    let directory = match model.adapter() {
        Some(adapter) if !Tokenizer::is_in(directory) => adapter.base.clone(),
        _ => directory.to_owned(),
    };
    let mut tokenizer = Tokenizer::from_directory(&EncoderFolder::of(&directory)?.directory)?;
    model.fit_tokenizer(&mut tokenizer)?;
    Ok(tokenizer)
}

/// See [`Predictor::load`].
fn prediction_precision(asked: PrecisionSetting, trained: PrecisionSetting) -> Precision {
    match (asked, trained) {
        (PrecisionSetting::Auto, PrecisionSetting::Bf16) => Precision::fastest(),
        (PrecisionSetting::Auto, _) => Precision::F32,
        (asked, _) => asked.resolve(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(task: Task) -> LabelSchema {
        LabelSchema {
            task,
            names: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        }
    }

    fn decide(logits: &[f32], task: Task) -> Prediction {
        Decision::default().decide(logits.to_vec(), task)
    }

    #[test]
    fn columns_of_a_class() {
        let columns = decide(&[1.0, 3.0, 3.0], Task::SingleLabel).columns(&schema(Task::SingleLabel), Some(2));
        assert_eq!((columns.label, columns.scores.len()), (json!("b"), 2));
        let unsure = Prediction {
            abstained: true,
            ..decide(&[1.0, 3.0, 3.0], Task::SingleLabel)
        };
        let columns = unsure.columns(&schema(Task::SingleLabel), None);
        assert_eq!((columns.label, columns.scores.len()), (Value::Null, 3));
    }

    #[test]
    fn columns_of_several_labels() {
        let columns = decide(&[0.0, -1.0, 2.0], Task::MultiLabel).columns(&schema(Task::MultiLabel), None);
        assert_eq!((columns.label, columns.score), (json!(["a", "c"]), Some(0.5)));
        let nothing = decide(&[-1.0; 3], Task::MultiLabel).columns(&schema(Task::MultiLabel), None);
        assert_eq!((nothing.label, nothing.score), (json!([]), None));
    }

    #[test]
    fn models_predict_in_what_they_were_trained_in() {
        use PrecisionSetting::{Auto, Bf16, F32};
        let cases = [
            (Auto, Bf16, Precision::fastest()),
            (Auto, F32, Precision::F32),
            (Auto, Auto, Precision::F32),
            (F32, Bf16, Precision::F32),
            (Bf16, F32, Precision::Bf16),
        ];
        for (asked, trained, expected) in cases {
            assert_eq!(prediction_precision(asked, trained), expected, "{asked:?} {trained:?}");
        }
    }

    #[test]
    fn regression_is_the_number_itself() {
        let columns = decide(&[-2.5], Task::Regression).columns(&LabelSchema::regression(), None);
        assert_eq!((columns.label, columns.score), (json!(-2.5), Some(-2.5)));
    }
}
