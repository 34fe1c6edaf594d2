//! Where a tensor's values are in a file, and reading them: in pieces, so that no tensor is in memory twice.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use tensor::{Int8Rows, Tensor};

use crate::model::ModelError;

/// Values are read so many at a time.
const CHUNK: usize = 1 << 16;

/// An open file of weights.
#[derive(Debug)]
pub(super) struct WeightsFile {
    pub path: PathBuf,
    file: File,
    pub length: u64,
}

impl WeightsFile {
    pub fn open(path: &Path) -> Result<Arc<Self>, ModelError> {
        let failed = |error: std::io::Error| ModelError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Arc::new(Self {
            path: path.to_owned(),
            file,
            length,
        }))
    }

    /// The file, from its first byte.
    pub fn rewound(&self) -> std::io::Result<&File> {
        self.at(0)
    }

    /// The file, from a byte on.
    pub fn at(&self, start: u64) -> std::io::Result<&File> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }

    /// The first bytes, fewer if the file is shorter.
    pub fn start(&self, count: u64) -> std::io::Result<Vec<u8>> {
        let mut start = Vec::new();
        self.rewound()?.take(count).read_to_end(&mut start)?;
        Ok(start)
    }

    pub fn failed(&self, reason: impl ToString) -> ModelError {
        ModelError::Read {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

/// What a tensor's values are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    BF16,
    /// Integers, with a scale for each row in a tensor of its own.
    I8,
    /// Two numbers of 4 bits each, with what makes numbers of them in tensors of their own; or text.
    U8,
    /// Nothing that a model computes with.
    Other(&'static str),
}

impl Element {
    /// As safetensors have it.
    fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Other(found) => found,
        }
    }
}

/// A tensor in a file. It has been checked that its values are within the file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub file: Arc<WeightsFile>,
    pub element: Element,
    pub shape: Vec<usize>,
    /// Where in the file the first value is.
    pub start: u64,
    /// From one value to the next in each dimension, in values; `None` if they stand in order without gaps.
    pub strides: Option<Vec<usize>>,
}

impl Stored {
    /// The values in `f32`, or in `f64` if they are stored so. `name` is for messages.
    pub fn read(&self, name: &str) -> Result<Tensor, ModelError> {
        let failed = |error: std::io::Error| self.file.failed(error);
        let shape = &self.shape;
        Ok(match self.element {
            Element::F32 => Tensor::from_vec(self.values(f32::from_le_bytes).map_err(failed)?, shape)?,
            Element::F16 => Tensor::from_vec(
                self.values(|bytes| f16::from_le_bytes(bytes).to_f32())
                    .map_err(failed)?,
                shape,
            )?,
            Element::BF16 => Tensor::from_vec(
                self.values(|bytes| bf16::from_le_bytes(bytes).to_f32())
                    .map_err(failed)?,
                shape,
            )?,
            Element::F64 => Tensor::from_vec(self.values(f64::from_le_bytes).map_err(failed)?, shape)?,
            Element::I8 | Element::U8 | Element::Other(_) => {
                let found = self.element.name();
                let reason = format!("`{name}` holds {found}, expected F32, F16, BF16 or F64");
                return Err(self.file.failed(reason));
            }
        })
    }

    /// Integers of 8 bits whose rows are multiplied by `scales`.
    pub fn read_int8(&self, name: &str, scales: &Self) -> Result<Tensor, ModelError> {
        let failed = |reason: String| self.file.failed(reason);
        let &[rows, columns] = self.shape.as_slice() else {
            return Err(failed(format!(
                "`{name}` holds I8 and has shape {:?}, expected a matrix",
                self.shape
            )));
        };
        let values = self
            .values(i8::from_le_bytes)
            .map_err(|error| failed(error.to_string()))?;
        let scales = scales.read(&format!("{name}_scale"))?.to_f32_vec();
        let is_scale = |scale: &f32| scale.is_finite() && *scale >= 0.0;
        if scales.len() != rows || !scales.iter().all(is_scale) {
            return Err(failed(format!(
                "`{name}_scale` does not hold {rows} positive numbers, one for each row of `{name}`"
            )));
        }
        let read = Int8Rows::from_parts(values, scales, columns);
        read.map(Tensor::from_int8)
            .ok_or_else(|| failed(format!("`{name}` and `{name}_scale` do not fit each other")))
    }

    /// Plain bytes.
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        if self.element != Element::U8 {
            let found = self.element.name();
            return Err(self.file.failed(format!("`{name}` holds {found}, expected U8")));
        }
        self.values(u8::from_le_bytes).map_err(|error| self.file.failed(error))
    }

    fn values<const N: usize, T: Copy>(&self, convert: impl Fn([u8; N]) -> T) -> std::io::Result<Vec<T>> {
        let count = self.shape.iter().product();
        let Some(strides) = self.strides.as_ref().filter(|_| count > 0) else {
            return self.in_order(count, convert);
        };
        // Such as a transposed weight: what it spans is read in order and then picked from.
        let last: usize = self
            .shape
            .iter()
            .zip(strides)
            .map(|(size, stride)| (size - 1) * stride)
            .sum();
        let spanned = self.in_order(last + 1, convert)?;
        let mut index = vec![0; self.shape.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let position: usize = index.iter().zip(strides).map(|(index, stride)| index * stride).sum();
            values.push(spanned[position]);
            for (index, size) in index.iter_mut().zip(&self.shape).rev() {
                *index += 1;
                if *index < *size {
                    break;
                }
                *index = 0;
            }
        }
        Ok(values)
    }

    fn in_order<const N: usize, T>(&self, count: usize, convert: impl Fn([u8; N]) -> T) -> std::io::Result<Vec<T>> {
        let mut file = self.file.at(self.start)?;
        let mut values = Vec::with_capacity(count);
        let mut bytes = vec![0; count.min(CHUNK) * N];
        while values.len() < count {
            let bytes = &mut bytes[..(count - values.len()).min(CHUNK) * N];
            file.read_exact(bytes)?;
            values.extend(bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)));
        }
        Ok(values)
    }
}
