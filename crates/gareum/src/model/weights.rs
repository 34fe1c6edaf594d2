//! Writing `model.safetensors`. Reading is in `checkpoint/`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tensor::{Parameters, Tensor};

use super::ModelError;

/// Values are written so many at a time: no tensor is in memory twice.
const CHUNK: usize = 1 << 16;

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
