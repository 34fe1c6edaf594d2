//! `model.safetensors`: reading with the variants that checkpoints come in, and writing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use tensor::{Parameters, Tensor};

use super::ModelError;

/// A longer header is a damaged one, as for `safetensors` itself.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Values are read and written so many at a time: no tensor is in memory twice.
const CHUNK: usize = 1 << 16;

/// The tensors of a checkpoint, and which of them have been used. Each is read from the file when it is asked for.
pub struct LoadedWeights {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the values start in the file.
    values_start: u64,
    names: BTreeSet<String>,
    used: BTreeSet<String>,
}

impl LoadedWeights {
    /// Reads `model.safetensors` of a directory.
    ///
    /// # Errors
    /// [`ModelError::Read`] if there is none, [`ModelError::Weights`] if it is damaged or in another format.
    pub fn read(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join("model.safetensors");
        let is_there = |name: &str| directory.join(name).exists();
        if !path.exists() && (is_there("pytorch_model.bin") || is_there("model.safetensors.index.json")) {
            return Err(ModelError::Weights {
                path,
                reason: "there are weights, but not in this form".to_owned(),
                hint: "load them with `transformers` and save them as one file: save_pretrained(DIR, max_shard_size=\"100GB\")",
            });
        }
        Self::open(path)
    }

    /// Reads any safetensors file.
    ///
    /// # Errors
    /// [`ModelError::Read`] if there is none, [`ModelError::Weights`] if it is truncated or damaged.
    pub fn open(path: PathBuf) -> Result<Self, ModelError> {
        let failed = |error: std::io::Error| ModelError::Read {
            path: path.clone(),
            reason: error.to_string(),
        };
        let file = File::open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let (values_start, metadata) = match read_header(&file, length) {
            Ok(read) => read,
            Err(SafeTensorError::IoError(error)) => return Err(failed(error)),
            Err(error) => {
                let reason = format!("not a complete safetensors file ({length} bytes): {error}");
                let mut start = Vec::new();
                let read = (&file).rewind().and_then(|()| (&file).take(64).read_to_end(&mut start));
                let hint = match read.is_ok() && start.starts_with(b"version https://git-lfs") {
                    true => "this is a pointer of Git LFS; `git lfs pull` brings the file itself",
                    false => "copy or download the file again",
                };
                return Err(ModelError::Weights { path, reason, hint });
            }
        };
        Ok(Self {
            path,
            file,
            values_start,
            names: metadata.offset_keys().into_iter().collect(),
            metadata,
            used: BTreeSet::new(),
        })
    }

    /// Whether there is a tensor of this very name.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The tensor `name` in `f32`, also if it is stored without the encoder's `prefix` (a bare encoder was saved) or with
    /// the old names of layer norms (`gamma`, `beta`).
    ///
    /// # Errors
    /// [`ModelError::Shape`] if it has another shape, [`ModelError::Read`] if its element type is not floating point.
    pub fn take(&mut self, name: &str, prefix: &str, shape: &[usize]) -> Result<Option<Tensor>, ModelError> {
        let bare = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(name);
        let old = |name: &str| {
            let renamed = |from: &str, to: &str| Some(format!("{}{to}", name.strip_suffix(from)?));
            name.contains("LayerNorm.")
                .then(|| renamed(".weight", ".gamma").or_else(|| renamed(".bias", ".beta")))
                .flatten()
        };
        let candidates = [Some(name.to_owned()), Some(bare.to_owned()), old(name), old(bare)];
        let Some(stored) = candidates
            .into_iter()
            .flatten()
            .find(|candidate| self.names.contains(candidate))
        else {
            return Ok(None);
        };
        let tensor = self.get(&stored)?;
        if tensor.shape() != shape {
            let hint = "the weights belong to another config.json".to_owned();
            let (path, found, expected) = (self.path.clone(), tensor.shape().to_vec(), shape.to_vec());
            return Err(ModelError::Shape {
                path,
                name: stored,
                found,
                expected,
                hint,
            });
        }
        self.used.insert(stored);
        Ok(Some(tensor))
    }

    /// A tensor by its stored name, in `f32` (or `f64` if it is stored so).
    ///
    /// # Errors
    /// [`ModelError::Read`] if it is not there or not floating point.
    pub fn get(&self, name: &str) -> Result<Tensor, ModelError> {
        let failed = |reason: String| ModelError::Read {
            path: self.path.clone(),
            reason,
        };
        let info = self
            .metadata
            .info(name)
            .ok_or_else(|| failed(format!("there is no tensor `{name}`")))?;
        let values = Values {
            file: &self.file,
            start: self.values_start + info.data_offsets.0 as u64,
            count: info.shape.iter().product(),
        };
        let unreadable = |error: std::io::Error| failed(error.to_string());
        let shape = &info.shape;
        Ok(match info.dtype {
            Dtype::F32 => Tensor::from_vec(values.read(f32::from_le_bytes).map_err(unreadable)?, shape)?,
            Dtype::F16 => Tensor::from_vec(
                values.read(|b| f16::from_le_bytes(b).to_f32()).map_err(unreadable)?,
                shape,
            )?,
            Dtype::BF16 => Tensor::from_vec(
                values.read(|b| bf16::from_le_bytes(b).to_f32()).map_err(unreadable)?,
                shape,
            )?,
            Dtype::F64 => Tensor::from_vec(values.read(f64::from_le_bytes).map_err(unreadable)?, shape)?,
            other => {
                return Err(failed(format!(
                    "`{name}` holds {other:?}, expected F32, F16, BF16 or F64"
                )));
            }
        })
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Names of the tensors that nothing asked for. Buffers that older versions of `transformers` saved are left out.
    pub fn unused(&self) -> Vec<String> {
        const BUFFERS: [&str; 6] = [
            "embeddings.position_ids",
            "rotary_emb.inv_freq",
            "attention.bias",
            "attention.masked_bias",
            // Copies of the shared one.
            "encoder.embed_tokens.weight",
            "decoder.embed_tokens.weight",
        ];
        let is_buffer = |name: &&String| BUFFERS.iter().any(|buffer| name.ends_with(buffer));
        self.names
            .difference(&self.used)
            .filter(|name| !is_buffer(name))
            .cloned()
            .collect()
    }
}

/// Reads what stands before the values (see [`header`]): where they start, and what they are. They must fill the file.
fn read_header(mut file: &File, length: u64) -> Result<(u64, Metadata), SafeTensorError> {
    if length < 8 {
        return Err(SafeTensorError::HeaderTooSmall);
    }
    let mut size = [0; 8];
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER_BYTES {
        return Err(SafeTensorError::HeaderTooLarge);
    }
    if size > length - 8 {
        return Err(SafeTensorError::InvalidHeaderLength);
    }
    let mut description = vec![0; size as usize];
    file.read_exact(&mut description)?;
    let description = str::from_utf8(&description).map_err(SafeTensorError::InvalidHeader)?;
    let metadata: Metadata =
        serde_json::from_str(description).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    if 8 + size + metadata.data_len() as u64 != length {
        return Err(SafeTensorError::MetadataIncompleteBuffer);
    }
    Ok((8 + size, metadata))
}

/// Values in a file.
struct Values<'a> {
    file: &'a File,
    start: u64,
    count: usize,
}

impl Values<'_> {
    fn read<const N: usize, T>(&self, convert: impl Fn([u8; N]) -> T) -> std::io::Result<Vec<T>> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.start))?;
        let (mut values, mut bytes) = (Vec::with_capacity(self.count), vec![0; CHUNK * N]);
        while values.len() < self.count {
            let bytes = &mut bytes[..(self.count - values.len()).min(CHUNK) * N];
            file.read_exact(bytes)?;
            values.extend(bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)));
        }
        Ok(values)
    }
}

/// Writes parameters in `f32`, as `save_pretrained` of `transformers` does.
///
/// # Errors
/// [`ModelError::Write`] if the file cannot be written; nothing half-written is left.
pub fn save(path: &Path, parameters: &Parameters) -> Result<(), ModelError> {
    save_tensors(path, parameters.iter().map(|(_, name, value)| (name.to_owned(), value)))
}

/// Writes named tensors in `f32`.
///
/// # Errors
/// As [`save`].
pub fn save_tensors<'a>(path: &Path, tensors: impl Iterator<Item = (String, &'a Tensor)>) -> Result<(), ModelError> {
    let tensors: BTreeMap<String, &Tensor> = tensors.collect();
    let write = |temporary: &Path| {
        let mut file = BufWriter::new(File::create(temporary)?);
        file.write_all(&header(&tensors)?)?;
        // A checkpoint should not need the memory of a second model.
        for tensor in tensors.values() {
            match tensor.as_slice::<f32>() {
                Some(values) => write_values(&mut file, values)?,
                None => write_values(&mut file, &tensor.to_f32_vec())?,
            }
        }
        file.flush()
    };
    Ok(crate::files::replace_atomically(path, write)?)
}

fn write_values(file: &mut impl Write, values: &[f32]) -> std::io::Result<()> {
    for chunk in values.chunks(CHUNK) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// What stands before the values: its own length and a description, filled up to eight bytes. (The crate's own writer to files makes them
/// readable for their owner only.)
fn header(tensors: &BTreeMap<String, &Tensor>) -> std::io::Result<Vec<u8>> {
    let mut offset = 0;
    let described = tensors.iter().map(|(name, tensor)| {
        let start = offset;
        offset += tensor.shape().iter().product::<usize>() * size_of::<f32>();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.shape().to_vec(),
            data_offsets: (start, offset),
        };
        (name.clone(), info)
    });
    let format = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    let metadata = Metadata::new(Some(format), described.collect()).map_err(std::io::Error::other)?;
    let mut description = serde_json::to_vec(&metadata)?;
    description.resize(description.len().next_multiple_of(8), b' ');
    let mut header = (description.len() as u64).to_le_bytes().to_vec();
    header.append(&mut description);
    Ok(header)
}
