//! Writing `model.safetensors`. Reading is in `checkpoint/`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tensor::{Int8Rows, Parameters, Tensor};

use super::ModelError;
use super::quantization::SCALE;

/// Values are written so many at a time: no tensor is in memory twice.
const CHUNK: usize = 1 << 16;

/// Writes parameters in `f32`, as `save_pretrained` of `transformers` does; weights of 8 bits as they are, with their scales.
///
/// # Errors
/// [`ModelError::Write`] if the file cannot be written; nothing half-written is left.
pub fn save(path: &Path, parameters: &Parameters) -> Result<(), ModelError> {
    save_tensors(path, parameters.iter().map(|(_, name, value)| (name.to_owned(), value)))
}

/// Writes named tensors as [`save`] does.
///
/// # Errors
/// As [`save`].
pub fn save_tensors<'a>(path: &Path, tensors: impl Iterator<Item = (String, &'a Tensor)>) -> Result<(), ModelError> {
    let entries = entries(tensors);
    let write = |temporary: &Path| {
        let mut file = BufWriter::new(File::create(temporary)?);
        file.write_all(&header(&entries)?)?;
        // A checkpoint should not need the memory of a second model.
        for (_, entry) in &entries {
            entry.write(&mut file)?;
        }
        file.flush()
    };
    Ok(crate::files::replace_atomically(path, write)?)
}

/// Bytes that the values take in a file.
pub(crate) fn saved_bytes(parameters: &Parameters) -> u64 {
    let tensors = parameters.iter().map(|(_, name, value)| (name.to_owned(), value));
    entries(tensors).iter().map(|(_, entry)| entry.bytes() as u64).sum()
}

/// What is written, sorted by name; integers last, so that all numbers are where they may be read in place.
fn entries<'a>(tensors: impl Iterator<Item = (String, &'a Tensor)>) -> Vec<(String, Entry<'a>)> {
    let mut entries = Vec::new();
    for (name, tensor) in tensors {
        match tensor.as_int8() {
            None => entries.push((name, Entry::F32(tensor))),
            Some(rows) => {
                entries.push((format!("{name}{SCALE}"), Entry::Scales(rows)));
                entries.push((name, Entry::Int8(rows)));
            }
        }
    }
    entries.sort_by(|(one, of_one), (other, of_other)| {
        let is_last = |entry: &Entry<'_>| matches!(entry, Entry::Int8(_));
        (is_last(of_one), one).cmp(&(is_last(of_other), other))
    });
    entries
}

/// A tensor of a file.
enum Entry<'a> {
    F32(&'a Tensor),
    Int8(&'a Int8Rows),
    Scales(&'a Int8Rows),
}

impl Entry<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) | Self::Scales(_) => Dtype::F32,
            Self::Int8(_) => Dtype::I8,
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Self::F32(tensor) => tensor.shape().to_vec(),
            Self::Int8(rows) => vec![rows.scales().len(), rows.columns()],
            Self::Scales(rows) => vec![rows.scales().len(), 1],
        }
    }

    fn bytes(&self) -> usize {
        let size = match self {
            Self::F32(_) | Self::Scales(_) => size_of::<f32>(),
            Self::Int8(_) => size_of::<i8>(),
        };
        self.shape().iter().product::<usize>() * size
    }

    fn write(&self, file: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::F32(tensor) => match tensor.as_slice::<f32>() {
                Some(values) => write_values(file, values, f32::to_le_bytes),
                None => write_values(file, &tensor.to_f32_vec(), f32::to_le_bytes),
            },
            Self::Int8(rows) => write_values(file, rows.values(), i8::to_le_bytes),
            Self::Scales(rows) => write_values(file, rows.scales(), f32::to_le_bytes),
        }
    }
}

fn write_values<T: Copy, const N: usize>(
    file: &mut impl Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<()> {
    for chunk in values.chunks(CHUNK) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|value| bytes(*value)).collect();
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// What stands before the values: its own length and a description, filled up to eight bytes. (The crate's own writer to files makes them
/// readable for their owner only.)
fn header(entries: &[(String, Entry<'_>)]) -> std::io::Result<Vec<u8>> {
    let mut offset = 0;
    let described = entries.iter().map(|(name, entry)| {
        let start = offset;
        offset += entry.bytes();
        let info = TensorInfo {
            dtype: entry.dtype(),
            shape: entry.shape(),
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
