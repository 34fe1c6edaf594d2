//! Writing files so that a reader sees either the old or the new contents, never half of them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write: {reason}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub reason: String,
}

impl WriteError {
    /// What the system said of a file.
    pub fn new(path: &Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "\nhint: make room there; a training run then goes on with --resume"
            }
            _ => "",
        };
        Self {
            path: path.to_owned(),
            reason: format!("{error}{hint}"),
        }
    }
}

/// Values are written so many at a time.
const CHUNK: usize = 1 << 16;

/// Writes values as the bytes that `to_bytes` makes of each.
///
/// # Errors
/// What `out` says.
pub fn write_values<T: Copy, const BYTES: usize>(
    out: &mut (impl Write + ?Sized),
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; BYTES],
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(BYTES * CHUNK.min(values.len()));
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        chunk.iter().for_each(|&value| bytes.extend(to_bytes(value)));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// The name under which a file is written before it is renamed.
pub fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Writes `contents` beside `path`, flushes it to the disk and renames it.
///
/// # Errors
/// [`WriteError`] if any of this fails; `path` is then as it was.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), WriteError> {
    replace_atomically(path, |temporary| fs::write(temporary, contents))
}

/// Has a file written under another name beside `path`, flushes it to the disk and renames it.
///
/// # Errors
/// As [`write_atomically`].
pub fn replace_atomically(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), WriteError> {
    let temporary = temporary_name(path);
    let result = write(&temporary)
        .and_then(|()| File::options().write(true).open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    result.map_err(|error| {
        // The first error is the one to report; a temporary file that cannot be removed either changes nothing.
        let _ = fs::remove_file(&temporary);
        WriteError::new(path, &error)
    })
}

/// Makes sure that names in a directory survive a power failure.
///
/// # Errors
/// [`WriteError`] if the disk does not take them.
pub fn sync_directory(path: &Path) -> Result<(), WriteError> {
    // Directories can be opened only where the system treats them as files.
    if cfg!(unix) {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| WriteError::new(path, &error))?;
    }
    Ok(())
}

/// Creates a directory and everything above it.
///
/// # Errors
/// [`WriteError`] if it cannot be created.
pub fn create_directory(path: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(path).map_err(|error| WriteError::new(path, &error))
}

/// Removes a file, if there is one.
///
/// # Errors
/// [`WriteError`] if it stays.
pub(crate) fn remove(path: &Path) -> Result<(), WriteError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(WriteError::new(path, &error)),
        _ => Ok(()),
    }
}

/// Whether a file or directory has a name that is only used while it is written or removed.
fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some_and(|rest| {
        let rest = rest.strip_suffix(".old").unwrap_or(rest);
        rest.rsplit_once('.')
            .is_some_and(|(_, process)| !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Removes what killed runs left half-written or half-removed; nothing if the directory is not there.
///
/// # Errors
/// [`WriteError`] if something cannot be removed.
pub(crate) fn remove_leftovers(directory: &Path) -> Result<(), WriteError> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let removed = match path.file_name() {
            Some(name) if is_temporary(&name.to_string_lossy()) && path.is_dir() => fs::remove_dir_all(&path),
            Some(name) if is_temporary(&name.to_string_lossy()) => fs::remove_file(&path),
            _ => Ok(()),
        };
        removed.map_err(|error| WriteError::new(&path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_left_half_written_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let kept = ["notes.tmp", "report.final.tmp", "tokenizer.json", "checkpoint-3"];
        let removed = ["tokenizer.json.123.tmp", "config.json.9.old.tmp"];
        for name in kept.iter().chain(&removed) {
            fs::write(path(name), "x").unwrap();
        }
        for name in ["checkpoint-6.77.tmp", "checkpoint-3.77.old.tmp"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("x"), "x").unwrap();
        }
        remove_leftovers(directory.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["checkpoint-3", "notes.tmp", "report.final.tmp", "tokenizer.json"]
        );
    }

    #[test]
    fn the_old_contents_stay_when_writing_fails() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let error = write_atomically(&directory.path().join("missing/file"), b"x").unwrap_err();
        assert!(error.to_string().contains("missing/file: cannot write"), "{error}");
    }
}
