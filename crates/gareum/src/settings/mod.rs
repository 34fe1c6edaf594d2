//! `gareum.toml`: one struct a concern, unknown keys refused, defaults written down. Flags and `--set` change the same
//! values (`load.rs`); what results is saved with the model.

mod chain;
mod check;
mod decision;
mod distillation;
mod file;
mod ini;
mod load;
mod lora;
mod memory_size;
mod sweep;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{CleanOptions, ColumnRequest, ConflictPolicy, NormalizeStep, ReadOptions, SplitOptions, Task};
use crate::model::{LoadOptions, Precision};
use crate::tokens::{Truncation, TruncationStrategy};
use crate::train::Schedule;

pub use chain::{ChainKind, ChainSettings, Part, Parts};
pub use decision::{DecisionSettings, ThresholdObjective};
pub use distillation::DistillationSettings;
pub use ini::{FromIni, IniError};
pub use load::{SettingsError, insert};
pub use lora::{LoraBias, LoraSettings, LoraTargets, NamedTargets, Pattern, QuantizeBase};
pub use memory_size::MemorySize;
pub use sweep::{Candidates, HalvingSettings, Jobs, Keep, Parameters, Range, RangeScale, SearchMethod, SweepSettings};

/// Everything a run depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `single_label`, `multi_label` or `regression`; inferred from the labels when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// What is trained.
    pub model: ModelSettings,
    /// What it is trained on.
    pub data: DataSettings,
    /// How.
    pub train: TrainSettings,
    /// Train products of low rank beside a frozen checkpoint. Default: train everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSettings>,
    /// Learn from a teacher too. Default: from labels alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<DistillationSettings>,
    /// What is fitted on validation rows at the end.
    pub decision: DecisionSettings,
    /// Where the result goes.
    pub output: OutputSettings,
    /// What a sweep tries out. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepSettings>,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// The checkpoint to start from: a directory, or the name of a repository on the hub, such as `klue/bert-base`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Branch, tag or commit of a repository on the hub. Default `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// File with the weights, such as `best.pt`, beside the settings or in the directory of the checkpoint. Default: the one that
    /// `transformers` would read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Beginnings of names in the weights, and what the family has there: `{ "encoder.bert." = "bert." }`. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prefix_map: BTreeMap<String, String>,
    /// Take the generator of an ELECTRA pair too, which classifies worse than the discriminator. Default false.
    pub allow_generator: bool,
    /// Keep some layers of `base` only: so many, evenly spaced from the first to the last (Sanh et al. 2019,
    /// <https://arxiv.org/abs/1910.01108>), or those of a list of numbers from 0 on. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerChoice>,
    /// Longest input in tokens, special ones included. Default 128: most short texts fit, and the cost grows with it.
    pub max_length: usize,
    /// Which part of a longer text is kept. Default `head`.
    pub truncation: TruncationStrategy,
    /// Dropout rate of the head. Default: what `config.json` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f64>,
    /// Replace a head that was trained for other labels. Default false.
    pub reset_head: bool,
    /// Train a small encoder from random weights instead of a checkpoint, with a vocabulary made from the training texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSettings>,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            base: None,
            revision: None,
            weights: None,
            prefix_map: BTreeMap::new(),
            allow_generator: false,
            layers: None,
            max_length: 128,
            truncation: TruncationStrategy::Head,
            classifier_dropout: None,
            reset_head: false,
            scratch: None,
        }
    }
}

/// `model.layers`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerChoice {
    /// `3`
    Count(usize),
    /// `[0, 5, 11]`
    Numbers(Vec<usize>),
}

/// `[model.scratch]`: the sizes of a BERT encoder, under the names that `config.json` has for them. The defaults learn from some thousand
/// short texts within a minute on two cores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScratchSettings {
    /// Pieces of the vocabulary, at most. Default 2000.
    pub vocab_size: usize,
    /// Width. Default 256.
    pub hidden_size: usize,
    /// Layers. Default 2.
    pub num_hidden_layers: usize,
    /// Heads of each layer; they divide the width. Default 8.
    pub num_attention_heads: usize,
    /// Width within the feed-forward part. Default 512.
    pub intermediate_size: usize,
    /// Dropout rate, high because nothing else keeps so small a set from being learnt by heart. Default 0.3.
    pub hidden_dropout_prob: f64,
}

impl Default for ScratchSettings {
    fn default() -> Self {
        Self {
            vocab_size: 2000,
            hidden_size: 256,
            num_hidden_layers: 2,
            num_attention_heads: 8,
            intermediate_size: 512,
            hidden_dropout_prob: 0.3,
        }
    }
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// Labelled rows to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// Labelled rows to choose the best weights by. Default: split off from `train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Labelled rows that are only measured on. Default: split off from `train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Column of the text; with `stack`, a list of columns. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<OneOrMany>,
    /// Make an example of each text column, with the label of the row; the examples of a row stay together in a split. Default false.
    pub stack: bool,
    /// Column of the second text. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// Column of the label, or a list of 0/1 columns. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<OneOrMany>,
    /// Whether the label columns hold polarities, one column for each keyword (`-1`, `positive`, ...; empty or 0 where a text does not speak of it): a
    /// label is then a keyword with its polarity, such as `배송 부정`. Default false.
    pub polarities: bool,
    /// What separates several labels in one value, such as `,` in `2,3`. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<String>,
    /// File with names for the labels: rows such as `0,negative`, one name a line, or a JSON object. Default: the labels are the names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_map: Option<PathBuf>,
    /// Column whose equal values (a user, a document) keep rows together in a split. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the first row names the columns; if not, they are called `0`, `1`, ... Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The character between two fields. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Whether `"` encloses fields. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoting: Option<bool>,
    /// The encoding of the files, such as `cp949`. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Changes to every text, in training and prediction: `nfc`, `control`, `repeats`. Default: none.
    pub normalize: Vec<NormalizeStep>,
    /// Fractions of training, validation and test, applied to the parts that have no file of their own.
    pub split: [f64; 3],
    /// Keep the shares of the labels equal in all parts. Default true.
    pub stratify: bool,
    /// The share of the training rows that is trained on, to see what more data is worth: of each label alike, and the rows of a smaller
    /// share are among those of a larger one. Validation and test parts are left whole. Default 1.
    pub train_share: f64,
    /// Drop training rows that repeat another one in text and label. Default true. Validation and test files are left whole.
    pub drop_duplicates: bool,
    /// What to do with training texts that occur with different labels. Default `keep`.
    pub conflicts: ConflictPolicy,
    /// Seed of the split.
    pub seed: u64,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            train: None,
            validation: None,
            test: None,
            text: None,
            stack: false,
            text_pair: None,
            label: None,
            polarities: false,
            label_separator: None,
            label_map: None,
            group: None,
            header: None,
            delimiter: None,
            quoting: None,
            encoding: None,
            normalize: Vec::new(),
            split: [0.6, 0.2, 0.2],
            stratify: true,
            train_share: 1.0,
            drop_duplicates: true,
            conflicts: ConflictPolicy::Keep,
            seed: 0,
        }
    }
}

/// A name or a list of names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `label = "category"`
    One(String),
    /// `label = ["joy", "anger"]`
    Many(Vec<String>),
}

impl OneOrMany {
    fn names(this: Option<&Self>) -> Vec<String> {
        match this {
            None => Vec::new(),
            Some(Self::One(name)) => vec![name.clone()],
            Some(Self::Many(names)) => names.clone(),
        }
    }
}

impl DataSettings {
    /// The columns these settings name.
    pub fn columns(&self) -> ColumnRequest {
        ColumnRequest {
            text: OneOrMany::names(self.text.as_ref()),
            text_pair: self.text_pair.clone(),
            label: OneOrMany::names(self.label.as_ref()),
            label_separator: self.label_separator.clone(),
            polarities: self.polarities,
            group: self.group.clone(),
        }
    }

    /// How files are read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            header: self.header,
            delimiter: self.delimiter,
            quoting: self.quoting,
            encoding: self.encoding.clone(),
            kind: None,
            split: None,
        }
    }

    /// Which cleaning steps are taken.
    pub fn clean_options(&self) -> CleanOptions {
        CleanOptions {
            drop_duplicates: self.drop_duplicates,
            conflicts: self.conflicts,
        }
    }

    /// How the training file is split: parts with a file of their own get nothing, and the rest share by their ratios.
    pub fn split_options(&self) -> SplitOptions<'static> {
        let [train, validation, test] = self.split;
        let kept = [
            train,
            if self.validation.is_some() { 0.0 } else { validation },
            if self.test.is_some() { 0.0 } else { test },
        ];
        let sum: f64 = kept.iter().sum();
        // Fractions that do not sum to 1 are left as they are, for the splitter to refuse.
        let is_whole = (self.split.iter().sum::<f64>() - 1.0).abs() < 1e-6;
        let ratios = match is_whole && sum > 0.0 {
            true => kept.map(|ratio| ratio / sum),
            false => kept,
        };
        SplitOptions {
            ratios,
            stratify: self.stratify,
            seed: self.seed,
            groups: None,
        }
    }
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Passes over the training rows. Default 3.
    pub epochs: u64,
    /// Stop after this many optimiser steps. Default: no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Examples of one optimiser step. Default 64.
    pub batch_size: usize,
    /// The most tokens that go through the model at a time; a larger batch is cut up, with the same gradient. Where memory
    /// is short, it is fewer. Default 8192.
    pub micro_batch_tokens: usize,
    /// What the whole process may take, such as `2.5GiB`. Default: what is free when training begins, less a little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySize>,
    /// Whether layers are computed again on the way back instead of kept: the same gradient in less memory and a third more
    /// time. Default `auto`: where memory is too short for even one text at a time.
    pub checkpoint_activations: CheckpointActivations,
    /// Peak learning rate, reached at the end of warm-up. Default 2e-5, from the range searched by Devlin et al. 2019,
    /// appendix A.3.
    pub learning_rate: f64,
    /// What the learning rate of each layer is multiplied by once more than that of the layer behind it; the embeddings count as a
    /// layer before the first. Default 1; ELECTRA takes 0.8 (Clark et al. 2020, appendix B).
    pub layer_decay: f64,
    /// Leave the embeddings, and all else before the layers, as they are. Default false.
    pub freeze_embeddings: bool,
    /// Leave so many layers, the first ones, as they are. Default 0.
    pub freeze_layers: usize,
    /// Train the head alone: what the rest makes of each text is computed once and kept, without dropout. Default false.
    pub head_only: bool,
    /// AdamW's decay of weights (not of biases and norms). Default 0.01.
    pub weight_decay: f64,
    /// Fraction of all steps during which the learning rate rises from 0. Default 0.1.
    pub warmup_ratio: f64,
    /// What the learning rate does afterwards. Default `linear`.
    pub schedule: Schedule,
    /// What classes count in the loss of training: `none` (each example the same), `balanced` (each class the same, by how many training
    /// rows have it), or a table of labels and factors, `{ refund = 3.0 }`. Default `none`.
    pub class_weights: ClassWeights,
    /// The part of each target that is spread over all labels in training. Default 0.
    pub label_smoothing: f64,
    /// How much less examples count in training that are right already: (1 − p)^γ (Lin et al. 2017,
    /// <https://arxiv.org/abs/1708.02002>). Default 0: as much.
    pub focal_gamma: f64,
    /// Gradients are scaled down to this norm. Default 1.
    pub max_grad_norm: f64,
    /// What hidden states are kept and multiplied in. Default `auto`.
    pub precision: PrecisionSetting,
    /// Seed of shuffling, dropout and fresh weights. Default 42.
    pub seed: u64,
    /// Steps between two entries of the log. Default 50.
    pub logging_steps: u64,
    /// Steps between two evaluations. Default: at the end of each epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_steps: Option<u64>,
    /// Steps between two checkpoints. Default: at each evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<u64>,
    /// Checkpoints kept beside the best one; 0 writes none. Default 1.
    pub save_total_limit: usize,
    /// When to stop early, and which evaluation counts as the best.
    pub early_stopping: EarlyStoppingSettings,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: None,
            batch_size: 64,
            micro_batch_tokens: 8192,
            memory: None,
            checkpoint_activations: CheckpointActivations::Auto,
            learning_rate: 2e-5,
            layer_decay: 1.0,
            freeze_embeddings: false,
            freeze_layers: 0,
            head_only: false,
            weight_decay: 0.01,
            warmup_ratio: 0.1,
            schedule: Schedule::Linear,
            class_weights: ClassWeights::default(),
            label_smoothing: 0.0,
            focal_gamma: 0.0,
            max_grad_norm: 1.0,
            precision: PrecisionSetting::Auto,
            seed: 42,
            logging_steps: 50,
            eval_steps: None,
            save_steps: None,
            save_total_limit: 1,
            early_stopping: EarlyStoppingSettings::default(),
        }
    }
}

/// `train.class_weights`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// `"none"` or `"balanced"`
    Named(NamedWeights),
    /// Of each label that is named; the others count 1.
    Given(BTreeMap<String, f64>),
}

/// Weights of classes that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedWeights {
    /// Each example counts the same.
    None,
    /// Each class counts the same.
    Balanced,
}

impl Default for ClassWeights {
    fn default() -> Self {
        Self::Named(NamedWeights::None)
    }
}

/// `train.checkpoint_activations`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "AutoOrBool", into = "AutoOrBool")]
pub enum CheckpointActivations {
    /// `"auto"`
    #[default]
    Auto,
    /// `true`
    Always,
    /// `false`
    Never,
}

/// How it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AutoOrBool {
    Auto(Auto),
    Bool(bool),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auto {
    Auto,
}

impl From<AutoOrBool> for CheckpointActivations {
    fn from(written: AutoOrBool) -> Self {
        match written {
            AutoOrBool::Auto(Auto::Auto) => Self::Auto,
            AutoOrBool::Bool(true) => Self::Always,
            AutoOrBool::Bool(false) => Self::Never,
        }
    }
}

impl From<CheckpointActivations> for AutoOrBool {
    fn from(setting: CheckpointActivations) -> Self {
        match setting {
            CheckpointActivations::Auto => Self::Auto(Auto::Auto),
            CheckpointActivations::Always => Self::Bool(true),
            CheckpointActivations::Never => Self::Bool(false),
        }
    }
}

/// `train.precision`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionSetting {
    /// `bf16` where the processor has instructions for it, else `f32`. What was chosen is saved with the model.
    #[default]
    Auto,
    /// 32-bit floating point throughout.
    F32,
    /// Hidden states and products in bfloat16, everything else in `f32`.
    Bf16,
}

impl PrecisionSetting {
    /// What it means on this processor.
    pub fn resolve(self) -> Precision {
        match self {
            Self::Auto => Precision::fastest(),
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl From<Precision> for PrecisionSetting {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// `train.early_stopping`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStoppingSettings {
    /// Whether to stop before the last epoch. The best evaluation is kept in any case. Default true.
    pub enabled: bool,
    /// The metric to watch, a name from `metrics.json`. Default `macro_f1`, for regression `loss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// A smaller gain than this is none. Default 0.001.
    pub min_delta: f64,
    /// Evaluations without gain that are put up with: 0 stops at the first. Default 1.
    pub patience: u64,
}

impl Default for EarlyStoppingSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            monitor: None,
            min_delta: 0.001,
            patience: 1,
        }
    }
}

/// `[output]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// Directory of the trained model. Default `model`.
    pub dir: PathBuf,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("model"),
        }
    }
}

impl Settings {
    /// How the checkpoint is read.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            weights: self.model.weights.clone(),
            prefix_map: self.model.prefix_map.clone(),
            allow_generator: self.model.allow_generator,
            quantize_base: self.quantize_base(),
            layers: self.model.layers.clone(),
        }
    }

    /// `lora.quantize_base`, if there is `[lora]`.
    pub(crate) fn quantize_base(&self) -> QuantizeBase {
        self.lora.as_ref().map(|lora| lora.quantize_base).unwrap_or_default()
    }
}

impl ModelSettings {
    /// The base model with its revision, as one name.
    pub(crate) fn pinned_base(&self) -> Option<PathBuf> {
        let base = self.base.as_ref()?;
        Some(match &self.revision {
            Some(revision) => PathBuf::from(format!("{}@{revision}", base.display())),
            None => base.clone(),
        })
    }
}

impl Settings {
    /// How texts are cut.
    pub fn truncation(&self) -> Truncation {
        Truncation {
            max_length: self.model.max_length,
            strategy: self.model.truncation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_with_a_file_of_their_own_take_nothing_of_the_split() {
        let mut data = DataSettings::default();
        assert_eq!(data.split_options().ratios, [0.6, 0.2, 0.2]);
        data.test = Some("test.csv".into());
        let ratios = data.split_options().ratios;
        assert!((ratios[0] - 0.75).abs() < 1e-12 && (ratios[1] - 0.25).abs() < 1e-12 && ratios[2] == 0.0);
        data.validation = Some("validation.csv".into());
        assert_eq!(data.split_options().ratios, [1.0, 0.0, 0.0]);
        let data = DataSettings {
            split: [0.5, 0.2, 0.2],
            ..DataSettings::default()
        };
        assert_eq!(
            data.split_options().ratios,
            data.split,
            "left for the splitter to refuse"
        );
    }
}
