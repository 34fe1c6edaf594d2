//! The entries of a zip archive, as `torch.save` writes it: stored, not compressed, so that values are read where they stand.
//!
//! Not here: decompression, encryption, checksums; an entry that needs the first two is refused by name.

use std::collections::HashMap;
use std::io::Read;

use super::stored::WeightsFile;

/// What opens an archive, and each entry.
pub(super) const SIGNATURE: &[u8; 4] = b"PK\x03\x04";
const DIRECTORY_ENTRY: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const WIDE_END: &[u8; 4] = b"PK\x06\x06";
const WIDE_END_LOCATOR: &[u8; 4] = b"PK\x06\x07";

const END_BYTES: usize = 22;
const LOCATOR_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// A comment may stand behind the end.
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;
/// Some hundred thousand entries; a longer directory is a damaged one.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("the zip archive is damaged or cut off: {0}")]
    Damaged(&'static str),
    #[error("the archive has no entry `{0}`")]
    Missing(String),
    #[error("the entry `{0}` is compressed or encrypted, which torch.save does not do")]
    Compressed(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// An archive's directory.
pub(super) struct Archive<'a> {
    file: &'a WeightsFile,
    entries: HashMap<String, Entry>,
}

struct Entry {
    header: u64,
    length: u64,
    is_stored: bool,
}

/// Where an entry's bytes are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub start: u64,
    pub length: u64,
}

impl<'a> Archive<'a> {
    pub fn open(file: &'a WeightsFile) -> Result<Self, ArchiveError> {
        let (start, length) = directory(file)?;
        if length > MAX_DIRECTORY_BYTES || start.checked_add(length).is_none_or(|end| end > file.length) {
            return Err(ArchiveError::Damaged("its directory is not within the file"));
        }
        let bytes = read(file, start, length as usize)?;
        let mut rest = bytes.as_slice();
        let mut entries = HashMap::new();
        while rest.starts_with(DIRECTORY_ENTRY) && rest.len() >= ENTRY_BYTES {
            let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(rest, at) as usize);
            let end = ENTRY_BYTES + name + extra + comment;
            if rest.len() < end {
                return Err(ArchiveError::Damaged("an entry of its directory is cut off"));
            }
            let is_encrypted = u16_at(rest, 8) & 1 == 1;
            let method = u16_at(rest, 10);
            let sizes = [20, 24, 42].map(|at| u32_at(rest, at));
            let wide = &rest[ENTRY_BYTES + name..][..extra];
            let [compressed, length, header] = widened(sizes, wide)?;
            let entry = Entry {
                header,
                length,
                is_stored: method == 0 && compressed == length && !is_encrypted,
            };
            let name = String::from_utf8_lossy(&rest[ENTRY_BYTES..][..name]).into_owned();
            entries.insert(name, entry);
            rest = &rest[end..];
        }
        Ok(Self { file, entries })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Where the bytes of an entry are.
    pub fn locate(&self, name: &str) -> Result<Extent, ArchiveError> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| ArchiveError::Missing(name.to_owned()))?;
        if !entry.is_stored {
            return Err(ArchiveError::Compressed(name.to_owned()));
        }
        let local = read(self.file, entry.header, LOCAL_BYTES)?;
        if !local.starts_with(SIGNATURE) {
            return Err(ArchiveError::Damaged("its directory points to something else"));
        }
        // The lengths of name and extra field: torch.save aligns values by the latter.
        let before = LOCAL_BYTES as u64 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        let start = entry.header.checked_add(before);
        let is_within = |start: u64| {
            start
                .checked_add(entry.length)
                .is_some_and(|end| end <= self.file.length)
        };
        match start.filter(|start| is_within(*start)) {
            Some(start) => Ok(Extent {
                start,
                length: entry.length,
            }),
            None => Err(ArchiveError::Damaged("an entry is not within the file")),
        }
    }
}

/// Where the directory is, and how long.
fn directory(file: &WeightsFile) -> Result<(u64, u64), ArchiveError> {
    let tail = (MAX_COMMENT_BYTES + END_BYTES + LOCATOR_BYTES).min(usize::try_from(file.length).unwrap_or(usize::MAX));
    let tail_start = file.length - tail as u64;
    let bytes = read(file, tail_start, tail)?;
    let is_end = |at: &usize| bytes[*at..].starts_with(END);
    let end = (0..=bytes.len().saturating_sub(END_BYTES)).rev().find(is_end);
    let end = end.filter(|at| at + END_BYTES <= bytes.len());
    let end = end.ok_or(ArchiveError::Damaged("its end is missing"))?;
    let locator = end.checked_sub(LOCATOR_BYTES).map(|at| &bytes[at..end]);
    match locator.filter(|locator| locator.starts_with(WIDE_END_LOCATOR)) {
        Some(locator) => {
            let wide = read(file, u64_at(locator, 8), 56)?;
            if !wide.starts_with(WIDE_END) {
                return Err(ArchiveError::Damaged("its end points to something else"));
            }
            Ok((u64_at(&wide, 48), u64_at(&wide, 40)))
        }
        None => {
            let end = &bytes[end..];
            Ok((u32_at(end, 16).into(), u32_at(end, 12).into()))
        }
    }
}

/// Sizes and position of an entry: where they do not fit into 32 bits, they stand in the extra field numbered 1, in this order but for
/// the uncompressed size, which comes first.
fn widened([compressed, length, header]: [u32; 3], mut extra: &[u8]) -> Result<[u64; 3], ArchiveError> {
    let mut wide: &[u8] = &[];
    while extra.len() >= 4 {
        let size = u16_at(extra, 2) as usize;
        let Some(field) = extra.get(4..4 + size) else { break };
        if u16_at(extra, 0) == 1 {
            wide = field;
        }
        extra = &extra[4 + size..];
    }
    let mut next = |narrow: u32| {
        if narrow != u32::MAX {
            return Some(narrow.into());
        }
        let (first, rest) = wide.split_first_chunk::<8>()?;
        wide = rest;
        Some(u64::from_le_bytes(*first))
    };
    let [length, compressed, header] = [length, compressed, header].map(&mut next);
    match (compressed, length, header) {
        (Some(compressed), Some(length), Some(header)) => Ok([compressed, length, header]),
        _ => Err(ArchiveError::Damaged("the size of a large entry is missing")),
    }
}

fn read(file: &WeightsFile, start: u64, length: usize) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    file.at(start)?.take(length as u64).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(ArchiveError::Damaged("it ends too early")),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    number(bytes, at, 2) as u16
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    number(bytes, at, 4) as u32
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number(bytes, at, 8)
}

/// A little-endian number; bytes that are not there count as zeros.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let bytes = bytes.iter().skip(at).take(size);
    bytes.rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
