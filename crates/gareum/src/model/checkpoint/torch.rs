//! What `torch.save` writes: a zip archive with `data.pkl` and `data/0`, `data/1`, ..., or, before PyTorch 1.6, pickles followed by numbers.
//!
//! How a pickle is understood, and what is refused, is in `pickle.rs`.

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek};
use std::sync::Arc;

use super::archive::{Archive, ArchiveError, Extent, SIGNATURE};
use super::pickle::{Id, PickleError, Storage, TensorInfo, Unpickled, Value, unpickle};
use super::stored::{Stored, WeightsFile};
use crate::model::ModelError;

/// A pickle of the number by which PyTorch knew its files before 1.6.
const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const OLD_PROTOCOL: i64 = 1001;

/// Under what a file of more than weights keeps them.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// Whether `torch.save` wrote a file that begins like this.
pub(super) fn is_torch(start: &[u8]) -> bool {
    start.starts_with(SIGNATURE) || start.starts_with(b"\x80\x02") && start.get(2).is_some_and(|byte| *byte != 0)
}

/// The tensors of a file, by name.
pub(super) fn tensors(file: &Arc<WeightsFile>, start: &[u8]) -> Result<Vec<(String, Stored)>, ModelError> {
    let (unpickled, extents) = match start.starts_with(SIGNATURE) {
        true => read_archive(file),
        false => read_old(file),
    }
    .map_err(|error| error.told(file))?;
    let named = named_tensors(&unpickled).map_err(|error| error.told(file))?;
    let stored = named.into_iter().map(|(name, tensor)| {
        let stored = stored(file, &unpickled, tensor, &extents);
        let stored = stored.map_err(|reason| TorchError::Tensor(name.clone(), reason).told(file))?;
        Ok((name, stored))
    });
    stored.collect()
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
enum TorchError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Pickle(#[from] PickleError),
    #[error("a TorchScript program, not weights")]
    Script,
    #[error("not a file of torch.save: {0}")]
    Foreign(&'static str),
    #[error("its numbers are big-endian, and gareum reads little-endian ones")]
    BigEndian,
    #[error("it holds no tensors with names, but {0}")]
    NoTensors(String),
    #[error("damaged: `{0}` {1}")]
    Tensor(String, &'static str),
}

impl TorchError {
    fn told(&self, file: &WeightsFile) -> ModelError {
        const SAVE: &str = "save the tensors alone: `torch.save(model.state_dict(), FILE)`";
        const RESAVE: &str =
            "write it anew where PyTorch reads it: `torch.save(torch.load(FILE, weights_only=True), \"new.bin\")`";
        const SCRIPT: &str = "save its weights: `torch.save(torch.jit.load(FILE).state_dict(), \"new.bin\")`";
        const SAFETENSORS: &str = "convert it where PyTorch reads it: `from safetensors.torch import save_file; \
                                   save_file(torch.load(FILE, weights_only=True), \"model.safetensors\")`";
        let hint = match self {
            Self::Pickle(PickleError::Global(_) | PickleError::Object(_)) => SAVE,
            Self::Script => SCRIPT,
            Self::BigEndian => SAFETENSORS,
            Self::NoTensors(_) => {
                "expected is a state dictionary, or one under `state_dict`, `model_state_dict` or `model`"
            }
            Self::Archive(ArchiveError::Compressed(_)) => RESAVE,
            _ => "copy or download the file again",
        };
        ModelError::Weights {
            path: file.path.clone(),
            reason: self.to_string(),
            hint: hint.to_owned(),
        }
    }
}

/// Where the numbers of each storage are.
type Extents = HashMap<Box<str>, Extent>;

fn read_archive(file: &WeightsFile) -> Result<(Unpickled, Extents), TorchError> {
    let archive = Archive::open(file)?;
    // Everything is in one folder, called after the file that was written.
    let folder = archive
        .names()
        .find_map(|name| name.strip_suffix("data.pkl"))
        .map(str::to_owned);
    let Some(folder) = folder.filter(|folder| folder.is_empty() || folder.ends_with('/')) else {
        return Err(TorchError::Foreign("the archive has no `data.pkl`"));
    };
    if archive.contains(&format!("{folder}constants.pkl")) {
        return Err(TorchError::Script);
    }
    let order = format!("{folder}byteorder");
    if archive.contains(&order) {
        let extent = archive.locate(&order)?;
        let mut order = Vec::new();
        let mut bytes = file
            .at(extent.start)
            .map_err(ArchiveError::Io)?
            .take(extent.length.min(16));
        bytes.read_to_end(&mut order).map_err(ArchiveError::Io)?;
        if order.starts_with(b"big") {
            return Err(TorchError::BigEndian);
        }
    }
    let pickle = archive.locate(&format!("{folder}data.pkl"))?;
    let bytes = file.at(pickle.start).map_err(ArchiveError::Io)?.take(pickle.length);
    let unpickled = unpickle(BufReader::new(bytes))?;
    let mut extents = Extents::new();
    for storage in unpickled.storages() {
        if !extents.contains_key(&storage.key) {
            let extent = archive.locate(&format!("{folder}data/{}", storage.key))?;
            extents.insert(storage.key.clone(), extent);
        }
    }
    Ok((unpickled, extents))
}

/// A file of before PyTorch 1.6: its number, a version, the machine, the tensors, the keys of their storages, then for each of these a count
/// and the numbers.
fn read_old(file: &WeightsFile) -> Result<(Unpickled, Extents), TorchError> {
    let mut reader = BufReader::new(file.rewound().map_err(ArchiveError::Io)?);
    let mut magic = [0; OLD_MAGIC.len()];
    let read = reader.read_exact(&mut magic);
    if read.is_err() || magic != *OLD_MAGIC {
        return Err(TorchError::Foreign("a pickle of something else"));
    }
    let version = unpickle(&mut reader)?;
    if *version.get(version.root) != Value::Int(OLD_PROTOCOL) {
        return Err(TorchError::Foreign("an unknown version of the format"));
    }
    let machine = unpickle(&mut reader)?;
    if let Value::Dict(pairs) = machine.get(machine.root) {
        let little = pairs
            .iter()
            .find(|(key, _)| machine.text(*key) == Some("little_endian"));
        if little.is_some_and(|(_, value)| *machine.get(*value) == Value::Int(0)) {
            return Err(TorchError::BigEndian);
        }
    }
    let unpickled = unpickle(&mut reader)?;
    let keys = unpickle(&mut reader)?;
    let sizes: HashMap<&str, usize> = unpickled
        .storages()
        .map(|storage| (&*storage.key, storage.size))
        .collect();
    let Value::List(list) = keys.get(keys.root) else {
        return Err(TorchError::Foreign("it has no list of storages"));
    };
    let cut_off = || TorchError::Archive(ArchiveError::Damaged("it ends too early"));
    let mut extents = Extents::new();
    let mut position = reader.stream_position().map_err(ArchiveError::Io)?;
    for key in list {
        let key = keys
            .text(*key)
            .ok_or(TorchError::Foreign("it has no list of storages"))?;
        // Numbers of a storage that nothing uses cannot be skipped: their size is not known.
        let size = *sizes
            .get(key)
            .ok_or(TorchError::Foreign("a storage that no tensor uses"))?;
        let mut count = [0; 8];
        let mut bytes = file.at(position).map_err(ArchiveError::Io)?;
        bytes.read_exact(&mut count).map_err(|_| cut_off())?;
        let length = u64::from_le_bytes(count).checked_mul(size as u64);
        let start = position + count.len() as u64;
        let end = length
            .and_then(|length| start.checked_add(length))
            .filter(|end| *end <= file.length);
        position = end.ok_or_else(cut_off)?;
        extents.insert(
            key.into(),
            Extent {
                start,
                length: position - start,
            },
        );
    }
    Ok((unpickled, extents))
}

/// The tensors of the state dictionary, in order of the file; of a name that occurs twice, the last.
fn named_tensors(unpickled: &Unpickled) -> Result<Vec<(String, &TensorInfo)>, TorchError> {
    let mut id = unpickled.root;
    // A checkpoint of another trainer may wrap its wrapper, but not for ever.
    for _ in 0..=WRAPPERS.len() {
        let Value::Dict(pairs) = unpickled.get(id) else { break };
        let tensor = |(key, value): &(Id, Id)| match (unpickled.text(*key), unpickled.get(*value)) {
            (Some(name), Value::Tensor(tensor)) => Some((name.to_owned(), tensor)),
            _ => None,
        };
        let tensors: Vec<_> = pairs.iter().filter_map(tensor).collect();
        if !tensors.is_empty() {
            return Ok(tensors);
        }
        let inner = |name: &&str| {
            let under = |(key, _): &&(Id, Id)| unpickled.text(*key) == Some(name);
            Some(pairs.iter().rev().find(under)?.1)
        };
        match WRAPPERS.iter().find_map(inner) {
            Some(inner) => id = inner,
            None => break,
        }
    }
    let found = match unpickled.get(id) {
        Value::Dict(pairs) => {
            let keys: Vec<&str> = pairs
                .iter()
                .filter_map(|(key, _)| unpickled.text(*key))
                .take(20)
                .collect();
            match keys.is_empty() {
                true => "an empty dictionary".to_owned(),
                false => format!("a dictionary with `{}`", keys.join("`, `")),
            }
        }
        Value::Tensor(_) => "one tensor without a name".to_owned(),
        Value::List(_) | Value::Tuple(_) => "a list".to_owned(),
        _ => "a single value".to_owned(),
    };
    Err(TorchError::NoTensors(found))
}

/// Checks that a tensor's values are within its storage, and the storage within the file.
fn stored(
    file: &Arc<WeightsFile>,
    unpickled: &Unpickled,
    tensor: &TensorInfo,
    extents: &Extents,
) -> Result<Stored, &'static str> {
    let Value::Storage(Storage {
        key,
        element,
        size,
        count,
    }) = unpickled.get(tensor.storage)
    else {
        return Err("has no numbers");
    };
    let extent = extents.get(key).ok_or("has no numbers")?;
    let is_whole = count
        .checked_mul(*size as u64)
        .is_some_and(|bytes| bytes <= extent.length);
    if !is_whole {
        return Err("has fewer numbers than it should");
    }
    let too_large = "has an impossible shape";
    let values = tensor
        .shape
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    let values = values.ok_or(too_large)?;
    let last = tensor
        .shape
        .iter()
        .zip(&tensor.strides)
        .try_fold(0usize, |last, (size, stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        });
    let end = last.and_then(|last| (last as u64).checked_add(1)?.checked_add(tensor.offset));
    // A view that repeats numbers could be of any size; no weight is one.
    if values as u64 > *count || values > 0 && end.ok_or(too_large)? > *count {
        return Err(too_large);
    }
    let mut expected = 1usize;
    let mut in_order = true;
    for (size, stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        in_order &= *size == 1 || *stride == expected;
        expected = expected.saturating_mul(*size);
    }
    Ok(Stored {
        file: Arc::clone(file),
        element: *element,
        shape: tensor.shape.clone(),
        start: extent.start + tensor.offset.min(*count) * *size as u64,
        strides: (!in_order).then(|| tensor.strides.clone()),
    })
}
