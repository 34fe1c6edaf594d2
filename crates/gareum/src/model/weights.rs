//! Writing `model.safetensors`. Reading is in `checkpoint/`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tensor::{Parameters, Tensor};

use super::quantization::SCALE;
use super::{ModelError, bitsandbytes};
use crate::files::write_values;

/// What numbers are written as that are not quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// 32 bits.
    #[default]
    F32,
    /// The upper half of those.
    BF16,
    /// 16 bits with a longer fraction, of numbers up to 65,504.
    F16,
}

impl Width {
    /// As `config.json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::BF16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    /// What is read again.
    pub(super) fn rounded(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::BF16 => bf16::from_f32(value).to_f32(),
            Self::F16 => f16::from_f32(value).to_f32(),
        }
    }
}

/// Writes parameters as `save_pretrained` of `transformers` does; weights of 8 and 4 bits as they are.
///
/// # Errors
/// [`ModelError::Write`] if the file cannot be written; nothing half-written is left.
pub(super) fn save(path: &Path, parameters: &Parameters, width: Width) -> Result<(), ModelError> {
    let tensors = parameters.iter().map(|(_, name, value)| (name.to_owned(), value));
    write(path, &entries(tensors, width))
}

/// Writes named tensors in `f32`, those of 8 and 4 bits as they are.
///
/// # Errors
/// As [`save`].
pub fn save_tensors<'a>(path: &Path, tensors: impl Iterator<Item = (String, &'a Tensor)>) -> Result<(), ModelError> {
    write(path, &entries(tensors, Width::F32))
}

fn write(path: &Path, entries: &[Entry<'_>]) -> Result<(), ModelError> {
    let write = |temporary: &Path| {
        let mut file = BufWriter::new(File::create(temporary)?);
        file.write_all(&header(entries)?)?;
        // A checkpoint should not need the memory of a second model.
        for entry in entries {
            entry.values.write(&mut file)?;
        }
        file.flush()
    };
    Ok(crate::files::replace_atomically(path, write)?)
}

/// Bytes that the values take in a file.
pub(super) fn saved_bytes(parameters: &Parameters, width: Width) -> u64 {
    let tensors = parameters.iter().map(|(_, name, value)| (name.to_owned(), value));
    entries(tensors, width).iter().map(|entry| entry.bytes() as u64).sum()
}

/// A tensor of a file.
struct Entry<'a> {
    name: String,
    shape: Vec<usize>,
    values: Values<'a>,
}

/// The values of a tensor, and what they are written as.
enum Values<'a> {
    Tensor(&'a Tensor, Width),
    Numbers(&'a [f32]),
    Integers(&'a [i8]),
    Bytes(Cow<'a, [u8]>),
}

/// What is written, sorted by name; integers last, so that all numbers are where they may be read in place.
fn entries<'a>(tensors: impl Iterator<Item = (String, &'a Tensor)>, width: Width) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, values: Values<'a>| entries.push(Entry { name, shape, values });
    for (name, tensor) in tensors {
        if let Some(rows) = tensor.as_int8() {
            let count = rows.scales().len();
            push(format!("{name}{SCALE}"), vec![count, 1], Values::Numbers(rows.scales()));
            push(name, vec![count, rows.columns()], Values::Integers(rows.values()));
        } else if let Some(values) = tensor.as_nf4() {
            for (end, shape, values) in bitsandbytes::stored(values, tensor.shape()) {
                let values = match values {
                    bitsandbytes::Values::Bytes(bytes) => Values::Bytes(bytes),
                    bitsandbytes::Values::Numbers(numbers) => Values::Numbers(numbers),
                };
                push(format!("{name}{end}"), shape, values);
            }
        } else {
            push(name, tensor.shape().to_vec(), Values::Tensor(tensor, width));
        }
    }
    entries.sort_by(|one, other| (one.values.is_integer(), &one.name).cmp(&(other.values.is_integer(), &other.name)));
    entries
}

impl Entry<'_> {
    fn bytes(&self) -> usize {
        let size = match self.values.dtype() {
            Dtype::F32 => 4,
            Dtype::BF16 | Dtype::F16 => 2,
            _ => 1,
        };
        self.shape.iter().product::<usize>() * size
    }
}

impl Values<'_> {
    fn is_integer(&self) -> bool {
        matches!(self, Self::Integers(_) | Self::Bytes(_))
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::Tensor(_, Width::BF16) => Dtype::BF16,
            Self::Tensor(_, Width::F16) => Dtype::F16,
            Self::Tensor(_, Width::F32) | Self::Numbers(_) => Dtype::F32,
            Self::Integers(_) => Dtype::I8,
            Self::Bytes(_) => Dtype::U8,
        }
    }

    fn write(&self, file: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::Tensor(tensor, width) => match tensor.as_slice::<f32>() {
                Some(values) => write_numbers(file, values, *width),
                None => write_numbers(file, &tensor.to_f32_vec(), *width),
            },
            Self::Numbers(values) => write_numbers(file, values, Width::F32),
            Self::Integers(values) => write_values(file, values, i8::to_le_bytes),
            Self::Bytes(values) => file.write_all(values),
        }
    }
}

fn write_numbers(file: &mut impl Write, values: &[f32], width: Width) -> std::io::Result<()> {
    match width {
        Width::F32 => write_values(file, values, f32::to_le_bytes),
        Width::BF16 => write_values(file, values, |value| bf16::from_f32(value).to_le_bytes()),
        Width::F16 => write_values(file, values, |value| f16::from_f32(value).to_le_bytes()),
    }
}

/// What stands before the values: its own length and a description, filled up to eight bytes. (The crate's own writer to files makes them
/// readable for their owner only.)
fn header(entries: &[Entry<'_>]) -> std::io::Result<Vec<u8>> {
    let mut offset = 0;
    let described = entries.iter().map(|entry| {
        let start = offset;
        offset += entry.bytes();
        let info = TensorInfo {
            dtype: entry.values.dtype(),
            shape: entry.shape.clone(),
            data_offsets: (start, offset),
        };
        (entry.name.clone(), info)
    });
    let format = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    let metadata = Metadata::new(Some(format), described.collect()).map_err(std::io::Error::other)?;
    let mut description = serde_json::to_vec(&metadata)?;
    description.resize(description.len().next_multiple_of(8), b' ');
    let mut header = (description.len() as u64).to_le_bytes().to_vec();
    header.append(&mut description);
    Ok(header)
}
