//! The files of an adapter, in the layout of `peft`: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Which products something is added to is read from the names of the tensors, not from the config: they say the same,
//! whatever `target_modules` is (a list, an expression, a word).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tensor::{ParameterId, Parameters, Tape};

use super::lora::{Adapter, DOWN, UP, module_of, shortest_suffixes};
use super::{
    Builder, Encoder, HeadSource, LoadOptions, LoadedWeights, Model, ModelConfig, ModelError, PackedLinears, Pass,
    save_tensors,
};
use crate::head::Head;
use crate::hub::{self, Repository};
use crate::settings::{LoraBias, LoraSettings, LoraTargets, QuantizeBase};
use crate::tokens::PackedBatch;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What `peft` writes before the name of every module.
const PREFIX: &str = "base_model.model.";

impl Adapter {
    /// Whether a directory holds an adapter and not a whole model.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(CONFIG).exists()
    }

    /// Removes the files of an adapter that a plain model takes the place of.
    pub(super) fn remove_from(directory: &Path) -> Result<(), ModelError> {
        for file in [CONFIG, WEIGHTS] {
            let path = directory.join(file);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let reason = error.to_string();
                    return Err(ModelError::Write { path, reason });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The file of weights in an adapter's directory.
    pub(crate) fn weights_path(directory: &Path) -> PathBuf {
        directory.join(WEIGHTS)
    }

    /// The name that a parameter has in the file.
    pub(crate) fn stored_name(&self, name: &str) -> String {
        let (module, end) = name.rsplit_once('.').unwrap_or(("", name));
        match self.modules.iter().any(|other| other == module) {
            // Beside a product that something is added to, the checkpoint's own stands deeper.
            true => format!("{PREFIX}{module}.base_layer.{end}"),
            false => format!("{PREFIX}{name}"),
        }
    }
}

/// An adapter's files.
pub struct AdapterFiles {
    directory: PathBuf,
    config: Map<String, Value>,
    weights: LoadedWeights,
}

impl AdapterFiles {
    /// Reads the config and opens the weights.
    ///
    /// # Errors
    /// [`ModelError::Read`] if a file is missing or damaged, [`ModelError::Adapter`] if it is of a kind that is not known.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join(CONFIG);
        let failed = |reason: String| ModelError::Read {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let config: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| failed(format!("not a JSON object: {error}")))?;
        for (key, allowed) in [
            ("peft_type", json!("LORA")),
            ("use_dora", json!(false)),
            ("fan_in_fan_out", json!(false)),
            ("lora_bias", json!(false)),
            ("use_qalora", json!(false)),
            ("alpha_pattern", json!({})),
        ] {
            if let Some(found) = config.get(key).filter(|found| !found.is_null() && **found != allowed) {
                return Err(ModelError::Adapter {
                    path,
                    key: key.to_owned(),
                    found: found.to_string(),
                    expected: allowed.to_string(),
                });
            }
        }
        let weights = LoadedWeights::open(directory.join(WEIGHTS))?;
        Ok(Self {
            directory: directory.to_owned(),
            config,
            weights,
        })
    }

    /// What the config says of the model that the adapter belongs to: a directory, or a name on the hub, and its revision there.
    pub fn named_base(&self) -> (&str, Option<&str>) {
        let text = |key: &str| self.config.get(key).and_then(Value::as_str);
        (text("base_model_name_or_path").unwrap_or_default(), text("revision"))
    }

    /// The directory of the model that the adapter belongs to: `given`, or what the config names, as it is, beside the adapter, or
    /// fetched from the hub before.
    ///
    /// # Errors
    /// [`ModelError::AdapterBase`] names it if it is not there.
    pub fn base(&self, given: Option<&Path>) -> Result<PathBuf, ModelError> {
        let (named, revision) = match given {
            Some(given) => (given, None),
            None => (Path::new(self.named_base().0), self.named_base().1),
        };
        let beside = match given {
            Some(_) => None,
            None => Some(self.directory.join(named)),
        };
        let is_model = |path: &PathBuf| !named.as_os_str().is_empty() && path.join("config.json").exists();
        let local = std::iter::once(named.to_owned()).chain(beside).find(is_model);
        // Whatever keeps it from being found on the hub, it is not there.
        let fetched = || hub::local_model(named, revision).ok().filter(is_model);
        local.or_else(fetched).ok_or_else(|| ModelError::AdapterBase {
            directory: self.directory.clone(),
            base: named.display().to_string(),
        })
    }

    fn number(&self, key: &str, default: f64) -> f64 {
        self.config.get(key).and_then(Value::as_f64).unwrap_or(default)
    }

    fn flag(&self, key: &str) -> bool {
        self.config.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    fn settings(&self) -> LoraSettings {
        LoraSettings {
            rank: self.number("r", 8.0) as usize,
            alpha: self.number("lora_alpha", 8.0),
            dropout: self.number("lora_dropout", 0.0),
            targets: LoraTargets::Suffixes(Vec::new()),
            rank_stabilized: self.flag("use_rslora"),
            bias: match self.config.get("bias").and_then(Value::as_str) {
                None | Some("none") => LoraBias::None,
                Some(_) => LoraBias::All,
            },
            quantize_base: QuantizeBase::None,
        }
    }

    /// The name of a tensor in the file.
    fn stored(&self, name: &str) -> Option<String> {
        let (module, end) = name.rsplit_once('.')?;
        [
            format!("{PREFIX}{name}"),
            format!("{PREFIX}{module}.base_layer.{end}"),
            format!("{PREFIX}{module}.modules_to_save.{end}"),
        ]
        .into_iter()
        .find(|name| self.weights.contains(name))
    }

    fn config_of(&self, base: &Model) -> Result<(Map<String, Value>, ModelConfig), ModelError> {
        let mut raw = base.raw_config.clone();
        let own = self.directory.join("config.json");
        if own.exists() {
            let (own, _) = ModelConfig::read(&self.directory)?;
            let dropout = base.config.family.classifier_dropout_key();
            for key in ["id2label", "label2id", "problem_type", dropout] {
                match own.get(key) {
                    Some(value) => raw.insert(key.to_owned(), value.clone()),
                    None => raw.remove(key),
                };
            }
        } else if let Some(name) = self.stored(&format!("{}.weight", base.config.names().classifier)) {
            let labels = self.weights.get(&name)?.shape()[0];
            if labels != base.schema.num_labels() {
                // `peft` does not say what they are called.
                let names = (0..labels).map(|id| (id.to_string(), json!(format!("LABEL_{id}"))));
                raw.insert("id2label".to_owned(), Value::Object(names.collect()));
                raw.remove("label2id");
            }
        }
        let config = ModelConfig::from_json(&raw, &own.display().to_string())?;
        Ok((raw, config))
    }
}

/// Tensors that an adapter of this model would have.
fn missing(path: &Path, names: Vec<String>) -> ModelError {
    ModelError::Missing {
        path: path.to_owned(),
        names,
        hint: "the file is incomplete, or the adapter was trained on another model, which --base names".to_owned(),
    }
}

impl Model {
    /// Reads the model that an adapter belongs to.
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn load_base(directory: &Path, quantize_base: QuantizeBase) -> Result<(Self, Vec<String>), ModelError> {
        let (_, config) = ModelConfig::read(directory)?;
        let schema = config.schema()?;
        let head = HeadSource::Labels {
            schema: &schema,
            reset: false,
            seed: 0,
            classifier_dropout: None,
        };
        let options = LoadOptions {
            quantize_base,
            ..LoadOptions::default()
        };
        let (model, notes) = Self::load_with(directory, head, &options)?;
        Ok((model, notes.fresh))
    }

    /// Reads an adapter and the model that it belongs to, from `base` or from where the adapter's config says. An adapter that was
    /// trained beside weights of 4 bits computes what it learnt beside those.
    ///
    /// # Errors
    /// [`ModelError`] names the file and what is wrong with it.
    pub fn load_with_adapter(
        directory: &Path,
        base: Option<&Path>,
        quantize_base: QuantizeBase,
    ) -> Result<Self, ModelError> {
        let files = AdapterFiles::open(directory)?;
        let base = files.base(base)?;
        let (model, fresh) = Self::load_base(&base, quantize_base)?;
        let mut model = model.with_adapter(files, &fresh, &base)?;
        if let Some(adapter) = &mut model.adapter {
            adapter.settings.quantize_base = quantize_base;
        }
        Ok(model)
    }

    /// This model with an adapter beside it: their weights are shared as long as none is written to. `fresh` names the
    /// parameters that this model lacks.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::Shape`] or [`ModelError::Unused`] if the adapter does not belong to this model.
    pub fn with_adapter(&self, mut files: AdapterFiles, fresh: &[String], base: &Path) -> Result<Self, ModelError> {
        let (raw_config, config) = files.config_of(self)?;
        let schema = config.schema()?;
        let path = Adapter::weights_path(&files.directory);
        let mut model = self.clone();
        model.parameters.truncate(self.body);
        let mut builder = Builder::onto(std::mem::take(&mut model.parameters), config.initializer_range);
        model.head = Head::build(&config, schema.num_labels(), &mut builder)?;
        model.parameters = builder.into_parameters();
        (model.config, model.schema, model.raw_config) = (config, schema, raw_config);
        model.own_parameters = model.parameters.len();

        let settings = files.settings();
        let mut modules = Vec::new();
        model.adapt_products(settings.dropout, |parameters, module, [inputs, outputs]| {
            let rank = match files.stored(&format!("{module}.{DOWN}")) {
                None => return Ok(None),
                Some(stored) => files.weights.get(&stored)?.shape()[0],
            };
            for (end, shape) in [(DOWN, [rank, inputs]), (UP, [outputs, rank])] {
                let name = format!("{module}.{end}");
                let Some(value) = files.weights.take(&format!("{PREFIX}{name}"), "", &shape)? else {
                    return Err(missing(&path, vec![name]));
                };
                if parameters.find(&name).is_none() {
                    parameters.add(name, value);
                }
            }
            if !modules.iter().any(|other| other == module) {
                modules.push(module.to_owned());
            }
            let settings = LoraSettings {
                rank,
                ..settings.clone()
            };
            Ok(Some(settings.scale()))
        })?;
        if modules.is_empty() {
            return Err(missing(&path, vec![format!("{PREFIX}….{DOWN}")]));
        }
        model.read_whole(self, &mut files, fresh, &path)?;
        let whole = model.parameters_of_head().filter(|(_, name)| {
            files.stored(name).is_some() && !modules.iter().any(|module| module == module_of(name))
        });
        let whole: Vec<ParameterId> = whole.map(|(id, _)| id).collect();
        model.adapter = Some(Adapter {
            settings,
            base: base.to_owned(),
            modules,
            modules_to_save: model.top_modules(&whole),
        });
        model.freeze_checkpoint(&whole);
        model.add_to_kept_positions()?;
        Ok(model)
    }

    /// Takes the parameters that an adapter has as a whole from it, and the head's others from the model that it belongs to.
    fn read_whole(
        &mut self,
        base: &Self,
        files: &mut AdapterFiles,
        fresh: &[String],
        path: &Path,
    ) -> Result<(), ModelError> {
        let mut lacking = Vec::new();
        let names = self.parameters.iter().enumerate().take(self.own_parameters);
        let names: Vec<_> = names
            .map(|(index, (id, name, _))| (index, id, name.to_owned()))
            .collect();
        for (index, id, name) in names {
            let shape = self.parameters.get(id).shape().to_vec();
            if let Some(stored) = files.stored(&name) {
                if index < self.body && self.packed.is_some() {
                    // Biases are packed with the weights.
                    return Err(ModelError::AdapterBiases { path: path.to_owned() });
                }
                if let Some(value) = files.weights.take(&stored, "", &shape)? {
                    *self.parameters.get_mut(id) = value;
                }
                continue;
            }
            if index < self.body {
                continue;
            }
            let kept = base.parameters.find(&name).filter(|_| !fresh.contains(&name));
            match kept
                .map(|id| base.parameters.get(id))
                .filter(|value| value.shape() == shape)
            {
                Some(value) => *self.parameters.get_mut(id) = value.clone(),
                None => lacking.push(name),
            }
        }
        if !lacking.is_empty() {
            return Err(missing(path, lacking));
        }
        let unused = files.weights.unused();
        // With trained biases, `peft` saves those of the head thrice.
        let is_copy = |name: &String| name.contains(".original_module.") || name.contains(".modules_to_save.");
        let unused: Vec<String> = unused.into_iter().filter(|name| !is_copy(name)).collect();
        match unused.is_empty() {
            true => Ok(()),
            false => Err(ModelError::Unused {
                path: path.to_owned(),
                names: unused,
            }),
        }
    }

    /// Brings what is kept of relative positions in a packed model up to date with the adapter.
    fn add_to_kept_positions(&mut self) -> Result<(), ModelError> {
        let Some(packed) = &self.packed else { return Ok(()) };
        let mut packed = PackedLinears::clone(packed);
        let nothing = PackedBatch::new([], 0, 0);
        let pass = Pass {
            tape: &Tape::inference(),
            parameters: &self.parameters,
            batch: &nothing,
            noise: None,
            dtype: self.precision.dtype(),
            rotations: &[],
            packed: None,
        };
        for encoder in std::iter::once(&self.encoder).chain(&self.decoder) {
            Encoder::add_to_kept_positions(encoder, &pass, &mut packed)?;
        }
        self.packed = Some(packed.into());
        Ok(())
    }

    /// Writes the files of an adapter.
    pub(super) fn save_adapter(&self, adapter: &Adapter, directory: &Path) -> Result<(), ModelError> {
        let path = directory.join(CONFIG);
        let text = serde_json::to_string_pretty(&self.adapter_config(adapter)).map_err(|error| ModelError::Write {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        crate::files::write_atomically(&path, (text + "\n").as_bytes())?;
        let trained = self
            .parameters
            .iter()
            .filter(|(id, _, _)| self.parameters.is_trainable(*id));
        let trained = trained.map(|(_, name, value)| match name.ends_with(DOWN) || name.ends_with(UP) {
            true => (format!("{PREFIX}{name}"), value),
            false => (adapter.stored_name(name), value),
        });
        save_tensors(&Adapter::weights_path(directory), trained)
    }

    /// What `adapter_config.json` holds.
    fn adapter_config(&self, adapter: &Adapter) -> Value {
        let settings = &adapter.settings;
        let all: BTreeSet<&str> = self.parameters.iter().map(|(_, name, _)| module_of(name)).collect();
        let alpha = match settings.alpha.fract() == 0.0 {
            true => json!(settings.alpha as i64),
            false => json!(settings.alpha),
        };
        let (base, revision) = match Repository::model(&adapter.base, None) {
            Ok(Some(repository)) => (repository.id, Some(repository.revision)),
            // Paths are relative to nothing: who reads this may be anywhere.
            _ => {
                let base = std::fs::canonicalize(&adapter.base).unwrap_or_else(|_| adapter.base.clone());
                (base.display().to_string(), None)
            }
        };
        json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": base,
            "bias": match settings.bias { LoraBias::None => "none", LoraBias::All => "all" },
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": alpha,
            "lora_dropout": settings.dropout,
            "modules_to_save": adapter.modules_to_save,
            "peft_type": "LORA",
            "r": settings.rank,
            "rank_pattern": {},
            "revision": revision,
            "target_modules": shortest_suffixes(&adapter.modules, &all),
            "task_type": "SEQ_CLS",
            "use_dora": false,
            "use_rslora": settings.rank_stabilized,
        })
    }

    /// The tensors of a checkpoint of this model: all of them, or those of an adapter.
    pub(crate) fn read_saved(&self, directory: &Path) -> Result<Parameters, ModelError> {
        match &self.adapter {
            None => self.read_parameters(&directory.join("model.safetensors"), |_| true, str::to_owned),
            Some(adapter) => {
                let trainable = |id| self.parameters.is_trainable(id);
                self.read_parameters(&Adapter::weights_path(directory), trainable, |name| {
                    match name.ends_with(DOWN) || name.ends_with(UP) {
                        true => format!("{PREFIX}{name}"),
                        false => adapter.stored_name(name),
                    }
                })
            }
        }
    }

    /// This model's parameters with those that `is_wanted` says from a file, in which they have other names.
    pub(crate) fn read_parameters(
        &self,
        path: &Path,
        is_wanted: impl Fn(ParameterId) -> bool,
        stored_name: impl Fn(&str) -> String,
    ) -> Result<Parameters, ModelError> {
        let weights = LoadedWeights::open(path.to_owned())?;
        let mut parameters = self.parameters.clone();
        for (id, name, value) in self.parameters.iter().filter(|(id, _, _)| is_wanted(*id)) {
            let name = stored_name(name);
            let stored = weights.get(&name)?;
            if stored.shape() != value.shape() {
                let (found, expected) = (stored.shape().to_vec(), value.shape().to_vec());
                let hint = "the checkpoint belongs to another model or other labels".to_owned();
                return Err(ModelError::Shape {
                    path: path.to_owned(),
                    name,
                    found,
                    expected,
                    hint,
                });
            }
            *parameters.get_mut(id) = stored;
        }
        Ok(parameters)
    }
}
