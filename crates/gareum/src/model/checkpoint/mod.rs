//! The tensors of a checkpoint, whatever it was saved as: safetensors, `torch.save`, one file or several.
//!
//! [`LoadedWeights`] knows all names from the start and reads each tensor when it is asked for, so that there is never a second copy of the
//! model. `folder.rs` finds the files, `index.rs` joins several, `names.rs` has the names that a tensor may be stored under,
//! `safetensors.rs` and `torch.rs` (with `archive.rs` and `pickle.rs`) say where values are, `stored.rs` reads them.
//!
//! Not here: writing (`weights.rs`), and what a model does with its tensors (`parameter.rs`).

mod archive;
mod folder;
mod index;
mod names;
mod pickle;
mod safetensors;
mod stored;
mod torch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ::tensor::Tensor;

use super::ModelError;
use super::bitsandbytes::{PARTS, Parts};
use super::quantization::SCALE;
use crate::settings::{LayerChoice, QuantizeBase};
pub use folder::EncoderFolder;
pub(crate) use folder::{FOREIGN, WEIGHTS, conversion, transformer_folder};
use stored::{Element, Stored, WeightsFile};

/// How a checkpoint is read that is not as `transformers` leaves it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadOptions {
    /// The file with the weights, by its path or by its name in the model directory. Default: the first of those that
    /// `transformers` writes.
    pub weights: Option<PathBuf>,
    /// Beginnings of stored names, and what stands there instead for this family: `encoder.bert.` → `bert.`.
    pub prefix_map: BTreeMap<String, String>,
    /// Take the generator of an ELECTRA pair too.
    pub allow_generator: bool,
    /// What the weights of products are kept in from the moment at which they are read.
    pub quantize_base: QuantizeBase,
    /// Keep these layers only.
    pub layers: Option<LayerChoice>,
}

/// Ends of the names of what is no parameter.
const BUFFERS: [&str; 6] = [
    "embeddings.position_ids",
    "rotary_emb.inv_freq",
    "attention.bias",
    "attention.masked_bias",
    // Copies of the shared one.
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
];

/// The tensors of a checkpoint, and which of them have been used. Each is read from its file when it is asked for.
pub struct LoadedWeights {
    path: PathBuf,
    /// By the name after `prefix_map`.
    tensors: BTreeMap<String, Named>,
    used: BTreeSet<String>,
}

struct Named {
    /// As it stands in the file.
    name: String,
    stored: Stored,
}

impl LoadedWeights {
    /// Finds the weights of a directory.
    ///
    /// # Errors
    /// [`ModelError::Read`] if there are none, [`ModelError::Weights`] if they are damaged or in another format.
    pub fn read(directory: &Path) -> Result<Self, ModelError> {
        Self::read_with(directory, &LoadOptions::default())
    }

    /// As [`LoadedWeights::read`], for a checkpoint that is not as `transformers` leaves it.
    ///
    /// # Errors
    /// As there, and [`ModelError::PrefixMap`] if names collide or a prefix fits none.
    pub fn read_with(directory: &Path, options: &LoadOptions) -> Result<Self, ModelError> {
        let path = match &options.weights {
            None => folder::weights_file(directory)?,
            Some(path) if path.exists() => path.clone(),
            Some(path) => directory.join(path),
        };
        Self::open_with(path, &options.prefix_map)
    }

    /// Opens a file of weights or an index of several.
    ///
    /// # Errors
    /// As [`LoadedWeights::read`].
    pub fn open(path: PathBuf) -> Result<Self, ModelError> {
        Self::open_with(path, &BTreeMap::new())
    }

    fn open_with(path: PathBuf, prefix_map: &BTreeMap<String, String>) -> Result<Self, ModelError> {
        let is_index = path.to_string_lossy().ends_with(".index.json");
        let stored = match is_index {
            true => index::tensors(&path)?,
            false => tensors_of_file(&path)?,
        };
        let refused = |reason: String| ModelError::PrefixMap {
            path: path.clone(),
            reason,
        };
        for from in prefix_map.keys() {
            if !stored.iter().any(|(name, _)| name.starts_with(from.as_str())) {
                return Err(refused(format!(
                    "no tensor begins with `{from}`; there are {}",
                    prefixes(stored.iter().map(|(name, _)| name.as_str()))
                )));
            }
        }
        let mut tensors: BTreeMap<String, Named> = BTreeMap::new();
        for (name, stored) in stored {
            let known = names::mapped(&name, prefix_map);
            match tensors.get(&known) {
                // In a dictionary of Python, the last one counts.
                Some(other) if other.name != name => {
                    return Err(refused(format!(
                        "`{}` and `{name}` would both be `{known}`",
                        other.name
                    )));
                }
                _ => tensors.insert(known, Named { name, stored }),
            };
        }
        Ok(Self {
            path,
            tensors,
            used: BTreeSet::new(),
        })
    }

    /// The file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a tensor of this name, also if something stands before it.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name, "").is_some()
    }

    /// Whether the name of a tensor begins so.
    pub fn any_begins_with(&self, start: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(start))
    }

    /// The tensor `name` in `f32`, also if it is stored under another of the names that checkpoints use: without the encoder's
    /// `prefix`, with a wrapper's prefix, with the old names of layer norms, or as the tensor that it is tied to.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if it has another shape, [`ModelError::Read`] if its element type is not floating point.
    pub fn take(&mut self, name: &str, prefix: &str, shape: &[usize]) -> Result<Option<Tensor>, ModelError> {
        let Some(known) = self.find(name, prefix) else {
            return Ok(None);
        };
        let Some(Named { name, stored }) = self.tensors.get(&known) else {
            return Ok(None);
        };
        let is_nf4 = stored.element == Element::U8
            && PARTS
                .iter()
                .any(|part| self.tensors.contains_key(&format!("{known}{part}")));
        if stored.shape != shape && !is_nf4 {
            return Err(ModelError::Shape {
                path: stored.file.path.clone(),
                name: name.clone(),
                found: stored.shape.clone(),
                expected: shape.to_vec(),
                hint: "the weights belong to another config.json".to_owned(),
            });
        }
        let tensor = match stored.element {
            Element::I8 => {
                let scale = format!("{known}{SCALE}");
                let Some(scales) = self.tensors.get(&scale) else {
                    return Err(stored
                        .file
                        .failed(format!("`{name}` holds I8, but there is no `{name}{SCALE}`")));
                };
                let tensor = stored.read_int8(name, &scales.stored)?;
                self.used.insert(scale);
                tensor
            }
            _ if is_nf4 => {
                let tensor = self.read_nf4(&known, name, stored, shape)?;
                self.used.extend(PARTS.map(|part| format!("{known}{part}")));
                tensor
            }
            _ => stored.read(name)?,
        };
        self.used.insert(known);
        Ok(Some(tensor))
    }

    /// A weight of 4 bits, of what stands beside it.
    fn read_nf4(&self, known: &str, name: &str, packed: &Stored, shape: &[usize]) -> Result<Tensor, ModelError> {
        let part = |end: &str| match self.tensors.get(&format!("{known}{end}")) {
            Some(named) => Ok(&named.stored),
            None => Err(packed
                .file
                .failed(format!("`{name}` holds U8, but there is no `{name}{end}`"))),
        };
        let bytes = |end: &str| part(end)?.read_bytes(&format!("{name}{end}"));
        let numbers = |end: &str| Ok::<_, ModelError>(part(end)?.read(&format!("{name}{end}"))?.to_f32_vec());
        let [absmax, nested_absmax, quant_map, nested_quant_map, state] = PARTS;
        let parts = Parts {
            packed: packed.read_bytes(name)?,
            absmax: bytes(absmax)?,
            nested_absmax: numbers(nested_absmax)?,
            quant_map: numbers(quant_map)?,
            nested_quant_map: numbers(nested_quant_map)?,
            state: bytes(state)?,
        };
        parts
            .into_tensor(shape)
            .map_err(|reason| packed.file.failed(format!("`{name}`: {reason}")))
    }

    /// A tensor by its very name, in `f32` (or `f64` if it is stored so).
    ///
    /// # Errors
    /// [`ModelError::Read`] if it is not there or not floating point.
    pub fn get(&self, name: &str) -> Result<Tensor, ModelError> {
        match self.tensors.get(name) {
            Some(named) => named.stored.read(name),
            None => Err(ModelError::Read {
                path: self.path.clone(),
                reason: format!("there is no tensor `{name}`"),
            }),
        }
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Names, as they stand in the file, of the tensors that nothing asked for. Left out are buffers that older versions of
    /// `transformers` saved, and second names of values that were used.
    pub fn unused(&self) -> Vec<String> {
        let place = |stored: &Stored| (stored.file.path.clone(), stored.start);
        let used: BTreeSet<_> = self
            .used
            .iter()
            .filter_map(|name| Some(place(&self.tensors.get(name)?.stored)))
            .collect();
        let is_buffer = |name: &str| BUFFERS.iter().any(|buffer| name.ends_with(buffer));
        self.tensors
            .iter()
            .filter(|(known, named)| {
                !self.used.contains(*known) && !is_buffer(&named.name) && !used.contains(&place(&named.stored))
            })
            .map(|(_, named)| named.name.clone())
            .collect()
    }

    /// What to do about tensors that are missing.
    pub(crate) fn hint_for_missing(&self, missing: &[String]) -> String {
        let unused = self.unused();
        let suggested = missing
            .iter()
            .find_map(|name| names::suggestion(name, unused.iter().map(String::as_str)));
        match suggested {
            Some(map) => format!("there are such tensors behind another prefix; under [model] in gareum.toml: {map}"),
            None => "the file is incomplete or belongs to another config.json".to_owned(),
        }
    }

    /// The name under which a tensor is known, of those that it may have.
    fn find(&self, name: &str, prefix: &str) -> Option<String> {
        names::candidates(name, prefix).find(|candidate| self.tensors.contains_key(candidate))
    }
}

/// The tensors of one file, by what its first bytes say it is.
fn tensors_of_file(path: &Path) -> Result<Vec<(String, Stored)>, ModelError> {
    let file = WeightsFile::open(path)?;
    let start = file.start(16).map_err(|error| file.failed(error))?;
    if start.starts_with(b"\x89HDF") {
        return Err(ModelError::Weights {
            path: path.to_owned(),
            reason: "the only weights here are those of TensorFlow, which are not read".to_owned(),
            hint: folder::conversion("DIR", &serde_json::Value::Null, "from_tf"),
        });
    }
    match torch::is_torch(&start) {
        true => torch::tensors(&file, &start),
        false => safetensors::tensors(&file),
    }
}

/// The different beginnings of names, up to the first dot.
fn prefixes<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let first = |name: &'a str| name.find('.').map_or(name, |dot| &name[..=dot]);
    let found: BTreeSet<&str> = names.map(first).collect();
    let shown: Vec<String> = found.iter().take(20).map(|start| format!("`{start}`")).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests;
