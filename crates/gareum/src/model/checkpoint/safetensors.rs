//! The header of a safetensors file.

use std::io::Read;
use std::sync::Arc;

use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError};

use super::stored::{Element, Stored, WeightsFile};
use crate::model::ModelError;

/// A longer header is a damaged one, as for `safetensors` itself.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The tensors of a file, by name.
pub(super) fn tensors(file: &Arc<WeightsFile>) -> Result<Vec<(String, Stored)>, ModelError> {
    let (values_start, metadata) = match read_header(file) {
        Ok(read) => read,
        Err(SafeTensorError::IoError(error)) => return Err(file.failed(error)),
        Err(error) => {
            let reason = format!("not a complete safetensors file ({} bytes): {error}", file.length);
            let is_pointer = file
                .start(64)
                .is_ok_and(|start| start.starts_with(b"version https://git-lfs"));
            let hint = match is_pointer {
                true => "this is a pointer of Git LFS; `git lfs pull` brings the file itself",
                false => "copy or download the file again",
            };
            return Err(ModelError::Weights {
                path: file.path.clone(),
                reason,
                hint: hint.to_owned(),
            });
        }
    };
    let stored = |name: String| {
        let info = metadata.info(&name)?;
        let stored = Stored {
            file: Arc::clone(file),
            element: element(info.dtype),
            shape: info.shape.clone(),
            start: values_start + info.data_offsets.0 as u64,
            strides: None,
        };
        Some((name, stored))
    };
    Ok(metadata.offset_keys().into_iter().filter_map(stored).collect())
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::I64 => Element::Other("I64"),
        Dtype::I32 => Element::Other("I32"),
        Dtype::I16 => Element::Other("I16"),
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Other("BOOL"),
        _ => Element::Other("numbers of another kind"),
    }
}

/// Reads what stands before the values: where they start, and what they are. They must fill the file.
fn read_header(weights: &WeightsFile) -> Result<(u64, Metadata), SafeTensorError> {
    let length = weights.length;
    if length < 8 {
        return Err(SafeTensorError::HeaderTooSmall);
    }
    let mut file = weights.rewound()?;
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
