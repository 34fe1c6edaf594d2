//! The bytes of a file: decompressed, checked to be text, converted to UTF-8 and handed out line by line with their position.
//! What the lines mean is decided in `csv.rs` and `json.rs`.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8};
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::encoding::{Decoding, detect, is_utf16, name_of};
use super::error::shown;

/// Bytes looked at before the first row, to decide delimiter and quoting.
const HEAD_BYTES: u64 = 4 << 20;
/// Binary files show themselves this early.
const BINARY_PROBE_BYTES: usize = 8 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How the bytes of a file are compressed; known by its first bytes, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Compression {
    fn of(start: &[u8]) -> Option<Self> {
        let signatures = [(Self::Gzip, &[0x1F, 0x8B][..]), (Self::Zstd, &[0x28, 0xB5, 0x2F, 0xFD])];
        let found = signatures
            .into_iter()
            .find(|(_, signature)| start.starts_with(signature));
        found.map(|(compression, _)| compression)
    }
}

/// A text file being read, and where the reading stands.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    /// The file as messages show it.
    pub path: String,
    /// How the file was compressed.
    pub compression: Option<Compression>,
    /// Whether a byte order mark was skipped.
    pub byte_order_mark: bool,
    /// The encoding of the file if it is not UTF-8. Offsets count converted bytes then.
    pub encoding: Option<&'static str>,
    /// 1-based number of the line last read.
    pub line: u64,
    /// Bytes of the decompressed file handed out so far.
    offset: u64,
}

impl Source {
    /// Opens a file, compressed or not, and returns it with its first bytes (as UTF-8), which will be read again.
    /// `encoding`: what to take the bytes for; else it is detected.
    pub fn open(path: &Path, encoding: Option<&'static Encoding>) -> Result<(Self, Vec<u8>), DataError> {
        let name = shown(path);
        let wrap = |source| DataError::io(&name, source);
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(wrap)?);
        let compression = Compression::of(file.fill_buf().map_err(wrap)?);
        let bytes: Box<dyn BufRead + Send> = match compression {
            Some(Compression::Gzip) => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
            Some(Compression::Zstd) => {
                let decoder = zstd::Decoder::with_buffer(file).map_err(wrap)?;
                Box::new(BufReader::with_capacity(1 << 16, decoder))
            }
            None => Box::new(file),
        };
        let (mut head, mut reader) = peeked(bytes).map_err(wrap)?;
        if let Some((found, hint)) = not_text(&head) {
            return Err(DataError::NotText {
                path: name,
                found,
                hint,
            });
        }
        let is_whole = (head.len() as u64) < HEAD_BYTES;
        let encoding = encoding.unwrap_or_else(|| detect(&head, is_whole));
        let mut byte_order_mark = Encoding::for_bom(&head).is_some_and(|(marked, _)| marked == encoding);
        if encoding != UTF_8 {
            let decoded = BufReader::with_capacity(1 << 16, Decoding::new(reader, encoding));
            (head, reader) = peeked(Box::new(decoded)).map_err(wrap)?;
        }
        let mut offset = 0;
        if head.starts_with(BYTE_ORDER_MARK) {
            byte_order_mark = true;
            head.drain(..BYTE_ORDER_MARK.len());
            reader.consume(BYTE_ORDER_MARK.len());
            offset = BYTE_ORDER_MARK.len() as u64;
        }
        if head.iter().all(u8::is_ascii_whitespace) && is_whole {
            return Err(DataError::Empty { path: name });
        }
        let source = Self {
            reader,
            path: name,
            compression,
            byte_order_mark,
            encoding: (encoding != UTF_8).then(|| name_of(encoding)),
            line: 0,
            offset,
        };
        Ok((source, head))
    }

    /// Reads from a stream of which nothing may be read ahead, such as standard input.
    pub fn from_reader(reader: impl Read + Send + 'static, name: &str) -> Self {
        let reader = Box::new(BufReader::new(reader));
        Self {
            reader,
            path: name.to_owned(),
            compression: None,
            byte_order_mark: false,
            encoding: None,
            line: 0,
            offset: 0,
        }
    }

    /// The next line with its line break, into `buffer`; `None` at the end. Only `\n` ends a line: a lone `\r` is a character like others,
    /// as it occurs inside real reviews.
    pub fn next_line<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<Option<&'a str>, DataError> {
        buffer.clear();
        let count = self
            .reader
            .read_until(b'\n', buffer)
            .map_err(|source| DataError::io(&self.path, source))?;
        if count == 0 {
            return Ok(None);
        }
        self.line += 1;
        let start = self.offset;
        self.offset += count as u64;
        let mut bytes = buffer.as_slice();
        if start == 0
            && let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK)
        {
            self.byte_order_mark = true;
            bytes = rest;
        }
        self.decode(bytes, self.line, start + (count - bytes.len()) as u64)
            .map(Some)
    }

    /// The next byte, not taken; `None` at the end.
    pub fn peek(&mut self) -> Result<Option<u8>, DataError> {
        let chunk = self
            .reader
            .fill_buf()
            .map_err(|source| DataError::io(&self.path, source))?;
        Ok(chunk.first().copied())
    }

    /// Takes the byte that [`Source::peek`] showed; counts lines as ends of lines passed, so `line` is the current one less 1.
    pub fn skip(&mut self, byte: u8) {
        self.reader.consume(1);
        self.offset += 1;
        self.line += u64::from(byte == b'\n');
    }

    /// Bytes of the decompressed file handed out so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// `bytes`, which begin on `line` at `offset`, as text.
    pub fn decode<'a>(&self, bytes: &'a [u8], line: u64, offset: u64) -> Result<&'a str, DataError> {
        std::str::from_utf8(bytes).map_err(|error| {
            let good = error.valid_up_to();
            let breaks = bytes[..good].iter().filter(|byte| **byte == b'\n').count() as u64;
            let byte = bytes.get(good).copied().unwrap_or_default();
            DataError::NotUtf8 {
                path: self.path.clone(),
                line: line + breaks,
                offset: offset + good as u64,
                byte,
            }
        })
    }
}

/// The first bytes of a stream, and the stream with these bytes still in it.
fn peeked(mut reader: Box<dyn BufRead + Send>) -> std::io::Result<(Vec<u8>, Box<dyn BufRead + Send>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let whole = Box::new(Cursor::new(head.clone()).chain(reader));
    Ok((head, whole))
}

/// A line without its line break.
pub(super) fn without_break(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// What the first bytes look like if not like UTF-8 text, and the remedy.
fn not_text(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str = "convert it to csv or jsonl first";
    let signatures: [(&[u8], &str, &str); 5] = [
        (b"PK\x03\x04", "a zip archive", "unpack it"),
        (b"PAR1", "parquet", CONVERT),
        (b"ARROW1", "an Arrow file", CONVERT),
        (
            b"\xD0\xCF\x11\xE0",
            "an old Excel workbook",
            "save it as xlsx, or the sheet as csv (UTF-8)",
        ),
        (b"%PDF", "a PDF", CONVERT),
    ];
    let known = signatures.iter().find(|(signature, ..)| head.starts_with(signature));
    if let Some((_, found, hint)) = known {
        return Some((found, hint));
    }
    if Encoding::for_bom(head).is_some() || is_utf16(head).is_some() {
        return None;
    }
    // A stray NUL does occur in real texts; in binary data control characters are everywhere.
    let probe = &head[..head.len().min(BINARY_PROBE_BYTES)];
    let is_control = |byte: &&u8| matches!(**byte, 0..=8 | 14..=26 | 28..=31);
    (probe.iter().filter(is_control).count() * 20 > probe.len())
        .then_some(("binary (it holds many control characters)", "name a text file"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn opened(content: &[u8]) -> Result<(Source, Vec<u8>), DataError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        Source::open(file.path(), None)
    }

    #[test]
    fn binary_and_empty_files_are_named() {
        for (content, expected) in [
            (b"".as_slice(), "the file is empty"),
            (b"\xEF\xBB\xBF", "the file is empty"),
            (b" \n\n", "the file is empty"),
            (b"PAR1....", "parquet"),
            (b"PK\x03\x04....", "a zip archive"),
            (b"text\0", "binary"),
            (b"\x1F\x8B broken", "compressed data is damaged"),
            (b"\x28\xB5\x2F\xFD broken", "compressed data is damaged"),
        ] {
            let message = opened(content).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(expected), "{content:?} gave {message:?}");
        }
    }

    #[test]
    fn other_encodings_become_utf8() {
        let lines = |content: &[u8]| {
            let (mut source, _) = opened(content).unwrap();
            let (mut buffer, mut lines) = (Vec::new(), Vec::new());
            while let Some(line) = source.next_line(&mut buffer).unwrap() {
                lines.push(line.to_owned());
            }
            (source.encoding, source.byte_order_mark, lines.concat())
        };
        assert_eq!(
            lines(b"\xC1\xC1\xBE\xC6\n"),
            (Some("CP949"), false, "좋아\n".to_owned())
        );
        assert_eq!(lines(b"\xFF\xFEa\0\x0A\0"), (Some("UTF-16LE"), true, "a\n".to_owned()));
        assert_eq!(lines(b"\xFE\xFF\0a\0\x0A"), (Some("UTF-16BE"), true, "a\n".to_owned()));
        assert_eq!(lines(b"a\0,\0b\0\x0A\0"), (Some("UTF-16LE"), false, "a,b\n".to_owned()));
        assert_eq!(lines(b"\xEF\xBB\xBFa\n"), (None, true, "a\n".to_owned()));
        let text = format!("a stray \0 in a text{}\n", " and more of it".repeat(9));
        assert_eq!(lines(text.as_bytes()), (None, false, text.clone()));
    }

    #[test]
    fn invalid_utf8_is_located() {
        let (mut source, _) = opened(b"\xEF\xBB\xBFok\nbad \xB0\xA1\n").unwrap();
        let mut buffer = Vec::new();
        assert_eq!(source.next_line(&mut buffer).unwrap(), Some("ok\n"));
        let error = source.next_line(&mut buffer).unwrap_err();
        assert!(
            matches!(
                error,
                DataError::NotUtf8 {
                    line: 2,
                    offset: 10,
                    byte: 0xB0,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn streams_skip_the_mark_too() {
        let mut source = Source::from_reader(b"\xEF\xBB\xBFa\r\nb".as_slice(), "<stdin>");
        let mut buffer = Vec::new();
        assert_eq!(source.next_line(&mut buffer).unwrap().map(without_break), Some("a"));
        assert_eq!(source.next_line(&mut buffer).unwrap().map(without_break), Some("b"));
        assert_eq!(source.next_line(&mut buffer).unwrap(), None);
    }
}
