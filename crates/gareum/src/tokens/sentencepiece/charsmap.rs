//! The compiled rules of normalisation in a `.model`: a double array of units of 32 bits, preceded by its length in bytes, and a text
//! of replacements. The `tokenizers` crate follows it without looking where it leads; so it is looked through first.

use tokenizers::normalizers::{NormalizerWrapper, Precompiled};

/// Fails if following the rules could lead outside of them.
pub(super) fn check(charsmap: &[u8]) -> Result<(), String> {
    let damaged = || "its rules of normalisation are damaged".to_owned();
    let (length, rest) = charsmap.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (units, replacements) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let (units, remainder) = units.as_chunks();
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let replacements = std::str::from_utf8(replacements).map_err(|_| damaged())?;
    let reachable = || -> Option<()> {
        let root = units.first()?;
        let mut seen = vec![false; units.len()];
        let mut open = vec![offset(*root)];
        while let Some(node) = open.pop() {
            // The children of a node are within its block of 256 units.
            let block = units.get(node & !0xff..(node | 0xff) + 1)?;
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            for byte in 1..256 {
                let unit = block[(node ^ byte) & 0xff];
                // The label of a leaf has its highest bit set, so it is no byte.
                if (unit & (1 << 31 | 0xff)) as usize != byte {
                    continue;
                }
                let child = node ^ byte ^ offset(unit);
                if unit >> 8 & 1 == 1 {
                    let start = (units.get(child)? & !(1 << 31)) as usize;
                    replacements.get(start..)?;
                }
                open.push(child);
            }
        }
        Some(())
    };
    if !remainder.is_empty() {
        return Err(damaged());
    }
    reachable().ok_or_else(damaged)
}

/// Where the children of a unit are, relative to it.
fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}

/// The rules as a normaliser.
pub(super) fn normalizer(charsmap: &[u8]) -> Result<NormalizerWrapper, String> {
    Precompiled::from(charsmap)
        .map(NormalizerWrapper::Precompiled)
        .map_err(|error| error.to_string())
}
