//! Rows of a file, whatever its format, in bounded memory: csv, tsv, txt, json, jsonl, each also as gzip or zstd, parquet, sheets of xlsx
//! workbooks, and lines of standard input.
//!
//! How the bytes become rows is in `csv.rs`, `json.rs`, `parquet.rs` and `xlsx.rs`; what the columns mean is in `columns.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DataError;
use super::csv::{DelimitedReader, FieldWidths, Fields, Sniffed, sniff};
use super::encoding::encoding_of;
use super::error::{Place, shown};
use super::json::{JsonReader, Object};
use super::parquet::{ParquetReader, is_parquet};
use super::source::{Compression, Source, without_break};
use super::xlsx::{Sheet, SheetName};
use crate::hub::{DatasetName, local_dataset};

/// JSON objects looked at to learn the columns.
const JSON_HEAD_ROWS: usize = 100;

/// How to read a file; the default decides everything from its name and first bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    /// Whether the first row of a delimited file names the columns. Default: it does; with `false` they are called `0`, `1`, ...
    pub header: Option<bool>,
    /// The character between two fields. Default: a tab for tsv; else the one that splits the first lines evenly, for csv first of all `,`.
    pub delimiter: Option<char>,
    /// Whether `"` encloses fields. Default: yes for `,` and `;`; otherwise only if the first 4 MiB hold properly quoted fields and no others.
    pub quoting: Option<bool>,
    /// The format. Default: by extension; a txt that no delimiter splits evenly is one text a line.
    pub kind: Option<FileKind>,
    /// The encoding, by a name such as `cp949`. Default: detected; UTF-8 unless something else is certain.
    pub encoding: Option<String>,
    /// The split of a dataset on the hub where its name says none and there are several. Default: an error.
    pub split: Option<String>,
}

/// The formats that [`Records`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Fields between delimiters: csv, tsv, txt.
    Delimited,
    /// A JSON array of objects, or objects one after the other; streamed, not read whole.
    Json,
    /// One JSON object a line.
    JsonLines,
    /// One text a line, the only column being `text`.
    Lines,
    /// Parquet, which is known by its first bytes.
    Parquet,
    /// A sheet of an xlsx workbook: `file.xlsx#Sheet`.
    Xlsx,
}

/// What a file turned out to be; its `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFormat {
    /// The format.
    pub kind: FileKind,
    /// How the bytes are compressed.
    pub compression: Option<Compression>,
    /// Whether a byte order mark was skipped.
    pub byte_order_mark: bool,
    /// The encoding, if it is not UTF-8.
    pub encoding: Option<String>,
    /// The delimiter of a delimited file.
    pub delimiter: Option<char>,
    /// Whether quotes enclose fields, of a delimited file.
    pub quoting: Option<bool>,
    /// Whether the first row was taken for column names, of a delimited file.
    pub header: Option<bool>,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileKind::Delimited => formatter.write_str("delimited text")?,
            FileKind::Json => formatter.write_str("JSON")?,
            FileKind::JsonLines => formatter.write_str("JSON lines")?,
            FileKind::Lines => formatter.write_str("one text a line")?,
            FileKind::Parquet => formatter.write_str("parquet")?,
            FileKind::Xlsx => formatter.write_str("a sheet of a workbook")?,
        }
        match self.delimiter {
            Some('\t') => formatter.write_str(", tabs")?,
            Some(delimiter) => write!(formatter, ", `{delimiter}`")?,
            None => {}
        }
        let choices = [
            (self.quoting == Some(true), ", quoted"),
            (self.quoting == Some(false), ", no quoting"),
            (self.header == Some(false), ", no header"),
            (self.compression == Some(Compression::Gzip), ", gzip"),
            (self.compression == Some(Compression::Zstd), ", zstd"),
            (self.byte_order_mark, ", byte order mark"),
        ];
        choices
            .iter()
            .filter(|(holds, _)| *holds)
            .try_for_each(|(_, words)| formatter.write_str(words))?;
        match &self.encoding {
            Some(encoding) => write!(formatter, ", {encoding}"),
            None => Ok(()),
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// 1-based number of the data row; neither the header nor blank lines count.
    pub row: u64,
    /// 1-based physical line of the (decompressed) file on which the row starts; 0 where there are no lines.
    pub line: u64,
    /// One value a column; always strings in delimited files, null where a JSON object lacks the key.
    pub values: Vec<Value>,
}

/// An iterator over the rows of a file. It ends after the first error.
///
/// The columns of JSON are the keys of the first 100 objects, in order of appearance, with the keys of inner objects as `outer.inner`.
/// A key that first appears later is no column; [`Records::ignored_keys`] counts its occurrences.
pub struct Records {
    path: String,
    columns: Vec<String>,
    format: FileFormat,
    reader: Reader,
    /// Rows that had to be read to learn the columns.
    pending: VecDeque<Record>,
    ignored_keys: u64,
    ended: bool,
    class_names: BTreeMap<String, Vec<String>>,
}

enum Reader {
    Delimited(DelimitedReader),
    Json(JsonReader),
    /// With a buffer for the line, and the row last read.
    Lines(Source, Vec<u8>, u64),
    Parquet(Box<ParquetReader>),
    Sheet(Sheet),
}

impl Records {
    /// Opens a file, or a dataset of the hub that was fetched (`hf://owner/name/subset/split`).
    ///
    /// # Errors
    /// [`DataError`] if it cannot be read, is empty, binary or of an unknown format.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, DataError> {
        if let Some(name) = DatasetName::parse(path)? {
            return Self::open_dataset(&name, &shown(path), options);
        }
        if options.kind == Some(FileKind::Parquet) || is_parquet(path) {
            return Self::open_parquet(&[path.to_owned()], &shown(path), &BTreeMap::new());
        }
        if let Some(name) = SheetName::parse(path, options.kind == Some(FileKind::Xlsx)) {
            return Self::open_sheet(&name, options);
        }
        let by_name = kind_of(path);
        let encoding = match options.encoding.as_deref() {
            None => None,
            Some(name) => Some(encoding_of(name).ok_or_else(|| DataError::UnknownEncoding {
                path: shown(path),
                found: name.to_owned(),
            })?),
        };
        let (source, head) = Source::open(path, encoding)?;
        let (kind, preferred) = match (options.kind, by_name) {
            (Some(kind), by_name) => (kind, by_name.map_or(Some(','), |(_, preferred)| preferred)),
            (None, by_name) => by_name?,
        };
        match kind {
            FileKind::Delimited => Self::open_delimited(source, &head, options, preferred),
            FileKind::Json => Self::open_json(JsonReader::array(source), kind),
            FileKind::JsonLines => Self::open_json(JsonReader::lines(source), kind),
            FileKind::Lines => Ok(Self::open_lines(source)),
            // Only what is called so and is none comes here.
            FileKind::Parquet | FileKind::Xlsx => Err(DataError::Parquet {
                path: source.path,
                found: "it does not begin as parquet does".to_owned(),
            }),
        }
    }

    fn open_dataset(name: &DatasetName, path: &str, options: &ReadOptions) -> Result<Self, DataError> {
        let found = local_dataset(name, options.split.as_deref())?;
        match found.files.as_slice() {
            files if files.iter().all(|file| is_parquet(file)) => Self::open_parquet(files, path, &found.class_names),
            [file] => {
                let mut records = Self::open(file, options)?;
                records.path = path.to_owned();
                records.class_names = found.class_names;
                Ok(records)
            }
            files => Err(DataError::SeveralFiles {
                path: path.to_owned(),
                files: files.len(),
                folder: format!("hf://datasets/{}", name.repository.id),
            }),
        }
    }

    fn open_parquet(
        files: &[PathBuf],
        path: &str,
        class_names: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, DataError> {
        let mut reader = ParquetReader::open(files)?;
        // What stands in the file itself was written with it.
        let mut known = class_names.clone();
        known.extend(reader.class_names.clone());
        reader.name_classes(&known);
        Ok(Self {
            path: path.to_owned(),
            columns: reader.columns.clone(),
            class_names: reader.class_names.clone(),
            ..Self::new(FileKind::Parquet, Reader::Parquet(Box::new(reader)))
        })
    }

    fn open_sheet(name: &SheetName, options: &ReadOptions) -> Result<Self, DataError> {
        let mut sheet = Sheet::open(name)?;
        let has_header = options.header.unwrap_or(true);
        let columns = match has_header {
            true => column_names(sheet.header()),
            false => (0..sheet.width()).map(|position| position.to_string()).collect(),
        };
        let mut records = Self {
            path: sheet.path().to_owned(),
            columns,
            ..Self::new(FileKind::Xlsx, Reader::Sheet(sheet))
        };
        records.format.header = Some(has_header);
        Ok(records)
    }

    /// Each line of `reader` (standard input) is one text in the column `text`; empty lines count, so that outputs stay aligned with inputs.
    pub fn from_lines(reader: impl Read + Send + 'static) -> Self {
        Self::open_lines(Source::from_reader(reader, "<stdin>"))
    }

    /// The file as messages show it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The column names. A nameless column is called by its position, counted from 0.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What the file turned out to be.
    pub fn format(&self) -> &FileFormat {
        &self.format
    }

    /// Empty fields beyond the last column, dropped so far.
    pub fn surplus_fields(&self) -> u64 {
        match &self.reader {
            Reader::Delimited(reader) => reader.surplus_fields,
            _ => 0,
        }
    }

    /// Rows so far whose longest field held the delimiter, without quotes, and was put together again.
    pub fn rejoined_rows(&self) -> u64 {
        match &self.reader {
            Reader::Delimited(reader) => reader.rejoined_rows,
            _ => 0,
        }
    }

    /// The first row with surplus fields, and the first one that was put together again.
    pub(crate) fn repaired_rows(&self) -> [Option<u64>; 2] {
        match &self.reader {
            Reader::Delimited(reader) => [reader.surplus_row, reader.rejoined_row],
            _ => [None; 2],
        }
    }

    /// Occurrences so far of JSON keys that are no column because they first appear late.
    pub fn ignored_keys(&self) -> u64 {
        self.ignored_keys
    }

    /// What the numbers of a column of classes mean, where the file or the dataset's card says it.
    pub fn class_names(&self, column: usize) -> Option<&[String]> {
        let names = self.class_names.get(self.columns.get(column)?)?;
        Some(names.as_slice())
    }

    /// Where a value is, for messages.
    pub(super) fn place(&self, record: &Record, column: usize) -> Box<Place> {
        Place::new(&self.path, record.line, record.row, self.columns.get(column).cloned())
    }

    fn new(kind: FileKind, reader: Reader) -> Self {
        let source = match &reader {
            Reader::Delimited(reader) => Some(&reader.source),
            Reader::Json(reader) => Some(&reader.source),
            Reader::Lines(source, ..) => Some(source),
            Reader::Parquet(_) | Reader::Sheet(_) => None,
        };
        let path = source.map(|source| source.path.clone()).unwrap_or_default();
        let compression = source.and_then(|source| source.compression);
        let byte_order_mark = source.is_some_and(|source| source.byte_order_mark);
        let encoding = source.and_then(|source| source.encoding).map(str::to_owned);
        let format = FileFormat {
            kind,
            compression,
            byte_order_mark,
            encoding,
            delimiter: None,
            quoting: None,
            header: None,
        };
        Self {
            path,
            columns: Vec::new(),
            format,
            reader,
            pending: VecDeque::new(),
            ignored_keys: 0,
            ended: false,
            class_names: BTreeMap::new(),
        }
    }

    fn open_lines(source: Source) -> Self {
        let mut records = Self::new(FileKind::Lines, Reader::Lines(source, Vec::new(), 0));
        records.columns.push("text".to_owned());
        records
    }

    fn open_delimited(
        source: Source,
        head: &[u8],
        options: &ReadOptions,
        preferred: Option<char>,
    ) -> Result<Self, DataError> {
        if let Some(found) = options
            .delimiter
            .filter(|delimiter| matches!(delimiter, '"' | '\r' | '\n'))
        {
            return Err(DataError::Delimiter {
                path: source.path,
                found,
            });
        }
        let asked = options.delimiter.or(preferred.filter(|preferred| *preferred == '\t'));
        let Sniffed { delimiter, quoting } = match sniff(whole_lines(head), asked, options.quoting, preferred) {
            Some(sniffed) => sniffed,
            // A csv of one column has no delimiter to be found; any other file without one holds plain lines.
            None if preferred.is_some() => Sniffed {
                delimiter: ',',
                quoting: options.quoting.unwrap_or(true),
            },
            None => return Ok(Self::open_lines(source)),
        };
        let header = options.header.unwrap_or(true);
        let widths = FieldWidths::measure(whole_lines(head), delimiter, quoting);
        let mut reader = DelimitedReader::new(source, delimiter, quoting, widths);
        let mut pending = VecDeque::new();
        let columns = if header {
            let names = reader.header()?.map(|(_, names)| names).unwrap_or_default();
            column_names(names)
        } else {
            let first = reader.next_row()?;
            let width = first.as_ref().map_or(0, |(_, (_, fields))| fields.len());
            pending.extend(first.map(delimited_record));
            (0..width).map(|position| position.to_string()).collect()
        };
        let mut records = Self {
            columns,
            pending,
            ..Self::new(FileKind::Delimited, Reader::Delimited(reader))
        };
        records.format.delimiter = Some(delimiter);
        records.format.quoting = Some(quoting);
        records.format.header = Some(header);
        Ok(records)
    }

    fn open_json(mut reader: JsonReader, kind: FileKind) -> Result<Self, DataError> {
        let mut columns: Vec<String> = Vec::new();
        let mut head = Vec::new();
        while head.len() < JSON_HEAD_ROWS
            && let Some(object) = reader.next_object()?
        {
            for key in object.fields.keys() {
                if !columns.contains(key) {
                    columns.push(key.clone());
                }
            }
            head.push(object);
        }
        // An empty list of objects has no keys; where other rows have some, `list` is no column beside `list.key`.
        let is_list_of_objects = |column: &String| columns.iter().any(|other| is_key_of(other, column));
        let lists: Vec<String> = columns
            .iter()
            .filter(|column| is_list_of_objects(column))
            .cloned()
            .collect();
        columns.retain(|column| !lists.contains(column));
        let mut records = Self {
            columns,
            ..Self::new(kind, Reader::Json(reader))
        };
        for object in head {
            let record = records.json_record(object);
            records.pending.push_back(record);
        }
        Ok(records)
    }

    fn json_record(&mut self, mut object: Object) -> Record {
        let empty_lists: Vec<String> = object
            .fields
            .iter()
            .filter(|(key, value)| is_empty_list(value) && !self.columns.contains(key))
            .map(|(key, _)| key.clone())
            .collect();
        object.fields.retain(|key, _| !empty_lists.contains(key));
        let absent = |column: &String| match empty_lists.iter().any(|list| is_key_of(column, list)) {
            true => Value::Array(Vec::new()),
            false => Value::Null,
        };
        let values = self
            .columns
            .iter()
            .map(|column| object.fields.remove(column).unwrap_or_else(|| absent(column)))
            .collect();
        self.ignored_keys += object.fields.len() as u64;
        Record {
            row: object.row,
            line: object.line,
            values,
        }
    }

    fn read(&mut self) -> Result<Option<Record>, DataError> {
        match &mut self.reader {
            Reader::Delimited(reader) => Ok(reader.next_row()?.map(delimited_record)),
            Reader::Json(reader) => {
                let object = reader.next_object()?;
                Ok(object.map(|object| self.json_record(object)))
            }
            Reader::Parquet(reader) => {
                let row = reader.next_row()?;
                Ok(row.map(|(row, values)| Record { row, line: 0, values }))
            }
            Reader::Sheet(sheet) => {
                let row = sheet.next_row()?;
                Ok(row.map(|(row, line, values)| Record { row, line, values }))
            }
            Reader::Lines(source, buffer, row) => {
                let Some(text) = source.next_line(buffer)? else {
                    return Ok(None);
                };
                *row += 1;
                let values = vec![Value::String(without_break(text).to_owned())];
                Ok(Some(Record {
                    row: *row,
                    line: source.line,
                    values,
                }))
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.pending.pop_front() {
            return Some(Ok(record));
        }
        if self.ended {
            return None;
        }
        let record = self.read().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

/// The header's names; a nameless column is called by its position, a repeated name gets a number: `text`, `text.2`.
fn column_names(header: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (position, name) in header.iter().enumerate() {
        let name = match name.trim() {
            "" => position.to_string(),
            name => name.to_owned(),
        };
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !names.contains(name));
        names.push(free.unwrap_or(name));
    }
    names
}

fn delimited_record((row, (line, fields)): (u64, Fields)) -> Record {
    Record {
        row,
        line,
        values: fields.into_iter().map(Value::String).collect(),
    }
}

/// Whether `column` is called `outer.key`.
fn is_key_of(column: &str, outer: &str) -> bool {
    column.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// The format that a file name promises, with the delimiter to try first.
fn kind_of(path: &Path) -> Result<(FileKind, Option<char>), DataError> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let name = [".gz", ".zst"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name);
    match name
        .rsplit_once('.')
        .map(|(_, extension)| extension)
        .unwrap_or_default()
    {
        "csv" => Ok((FileKind::Delimited, Some(','))),
        "tsv" => Ok((FileKind::Delimited, Some('\t'))),
        "txt" => Ok((FileKind::Delimited, None)),
        "json" => Ok((FileKind::Json, None)),
        "jsonl" | "ndjson" => Ok((FileKind::JsonLines, None)),
        "parquet" => Ok((FileKind::Parquet, None)),
        extension => Err(DataError::UnknownFormat {
            path: shown(path),
            extension: extension.to_owned(),
        }),
    }
}

/// Whether a file is called as files of rows are.
pub(crate) fn is_data_file(path: &Path) -> bool {
    kind_of(path).is_ok() || SheetName::parse(path, false).is_some()
}

/// The head of a file up to its last line break, or all of it if it has none; ends before the first byte that is not UTF-8.
fn whole_lines(head: &[u8]) -> &str {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    text.rfind('\n').map_or(text, |end| &text[..=end])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn open(name: &str, content: &[u8], options: &ReadOptions) -> Result<Records, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Records::open(&path, options)
    }

    fn check(name: &str, content: &str, options: &ReadOptions, format: &str, expected: &[&str]) {
        let records = open(name, content.as_bytes(), options).unwrap();
        assert_eq!(records.format().to_string(), format, "{name}");
        let columns = records.columns().join(",");
        let rows = records.map(|record| {
            let record = record.unwrap();
            format!("{}@{} {}", record.row, record.line, Value::Array(record.values))
        });
        assert_eq!(
            std::iter::once(columns).chain(rows).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
    }

    #[test]
    fn every_format_gives_rows() {
        let default = ReadOptions::default();
        let no_header = ReadOptions {
            header: Some(false),
            ..ReadOptions::default()
        };
        check(
            "a.csv",
            "t,\r\n가,1\r\n",
            &default,
            "delimited text, `,`, quoted",
            &["t,1", r#"1@2 ["가","1"]"#],
        );
        check(
            "a.csv",
            "text\n\na\n",
            &default,
            "delimited text, `,`, quoted",
            &["text", r#"1@3 ["a"]"#],
        );
        check(
            "a.csv",
            "x;y\n1,5;2\n",
            &default,
            "delimited text, `;`, quoted",
            &["x,y", r#"1@2 ["1,5","2"]"#],
        );
        check(
            "a.tsv",
            "\u{FEFF}x\ty\n",
            &no_header,
            "delimited text, tabs, no quoting, no header, byte order mark",
            &["0,1", r#"1@1 ["x","y"]"#],
        );
        check(
            "a.txt",
            "one\n\ntwo",
            &default,
            "one text a line",
            &["text", r#"1@1 ["one"]"#, r#"2@2 [""]"#, r#"3@3 ["two"]"#],
        );
        let objects = "{\"t\": \"a\", \"l\": 1}\n{\"l\": null, \"m\": [2]}\n";
        let rows = ["t,l,m", r#"1@1 ["a",1,null]"#, r#"2@2 [null,null,[2]]"#];
        check("a.jsonl", objects, &default, "JSON lines", &rows);
        check("a.json", objects, &default, "JSON", &rows);
    }

    #[test]
    fn lists_of_objects_become_lists() {
        let objects = "{\"t\": \"a\", \"aspects\": []}\n{\"t\": \"b\", \"aspects\": [{\"c\": \"x\", \"p\": 1}, {\"c\": \"y\"}]}\n";
        let rows = [
            "t,aspects.c,aspects.p",
            r#"1@1 ["a",[],[]]"#,
            r#"2@2 ["b",["x","y"],[1,null]]"#,
        ];
        check("a.jsonl", objects, &ReadOptions::default(), "JSON lines", &rows);
        let empty = "{\"t\": \"a\", \"l\": []}\n";
        check(
            "a.jsonl",
            empty,
            &ReadOptions::default(),
            "JSON lines",
            &["t,l", r#"1@1 ["a",[]]"#],
        );
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let rows = ["text,1,text.2,text.2.2", r#"1@2 ["a","b","c","d"]"#];
        check(
            "a.csv",
            "text,,text,text.2\na,b,c,d\n",
            &ReadOptions::default(),
            "delimited text, `,`, quoted",
            &rows,
        );
    }

    #[test]
    fn encodings_are_named_or_detected() {
        let content = b"text,label\n\xC1\xC1\xBE\xC6,1\n";
        for encoding in [None, Some("cp949"), Some("EUC-KR")] {
            let options = ReadOptions {
                encoding: encoding.map(str::to_owned),
                ..ReadOptions::default()
            };
            let mut records = open("a.csv", content, &options).unwrap();
            assert_eq!(records.format().to_string(), "delimited text, `,`, quoted, CP949");
            assert_eq!(records.next().unwrap().unwrap().values[0], "좋아");
        }
        let options = |name: &str| ReadOptions {
            encoding: Some(name.to_owned()),
            ..ReadOptions::default()
        };
        let message = open("a.csv", content, &options("cp9494")).err().unwrap().to_string();
        assert!(message.contains("unknown encoding `cp9494`"), "{message}");
        let error = open("a.csv", content, &options("utf-8")).and_then(|mut records| records.next().transpose());
        assert!(error.unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn gzip_is_recognised_by_content() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"a,b\n1,2\n").unwrap();
        let bytes = encoder.finish().unwrap();
        for name in ["x.csv.gz", "x.csv"] {
            let records = open(name, &bytes, &ReadOptions::default()).unwrap();
            assert_eq!(records.format().to_string(), "delimited text, `,`, quoted, gzip");
            assert_eq!(records.count(), 1);
        }
        let mut records = open("x.csv.gz", &bytes[..bytes.len() - 6], &ReadOptions::default());
        let message = match &mut records {
            Ok(records) => records.find_map(Result::err).unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(message.contains("cut off"), "{message}");
    }

    #[test]
    fn zstd_is_recognised_by_content() {
        let bytes = zstd::encode_all(&b"a,b\n1,2\n"[..], 0).unwrap();
        for name in ["x.csv.zst", "x.csv"] {
            let records = open(name, &bytes, &ReadOptions::default()).unwrap();
            assert_eq!(records.format().to_string(), "delimited text, `,`, quoted, zstd");
            assert_eq!(records.count(), 1);
        }
        let mut records = open("x.csv.zst", &bytes[..bytes.len() - 4], &ReadOptions::default());
        let message = match &mut records {
            Ok(records) => records.find_map(Result::err).unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(message.contains("cut off"), "{message}");
    }

    #[test]
    fn late_keys_are_counted_and_errors_end_the_rows() {
        let mut content = "{\"t\":1}\n".repeat(JSON_HEAD_ROWS);
        content.push_str("{\"t\":1,\"late\":2}\nbroken\n{\"t\":1}\n");
        let mut records = open("a.jsonl", content.as_bytes(), &ReadOptions::default()).unwrap();
        assert_eq!(records.by_ref().filter(Result::is_err).count(), 1);
        assert_eq!(records.ignored_keys(), 1);
        assert!(records.next().is_none());
    }

    #[test]
    fn unknown_formats_are_refused() {
        let message = open("a.docx", b"x", &ReadOptions::default()).err().unwrap().to_string();
        assert!(message.contains("unknown format `docx`"), "{message}");
        let records = Records::from_lines("하나\n둘\n".as_bytes());
        assert_eq!(records.columns(), ["text"]);
        assert_eq!(records.count(), 2);
    }

    /// Bytes that look like a table and are none.
    fn torn_table() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[a-c,\"\n\r\t|; {}\\[\\]:가0-9.]{0,12}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..4),
            Just(b"text,label\n".to_vec()),
            Just(b"{\"text\":\"a\",\"aspects\":[{\"keyword\":\"b\"}]}\n".to_vec()),
            Just("\u{FEFF}\"a\"\"b\",".as_bytes().to_vec()),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Whatever stands in a file, it is read or refused in words, row by row. `PROPTEST_CASES=1000000 cargo test --release any_bytes` looks longer.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in torn_table(), kind in 0..4usize) {
            let name = ["t.csv", "t.tsv", "t.jsonl", "t.json"][kind];
            match open(name, &bytes, &ReadOptions::default()) {
                Err(error) => prop_assert!(error.to_string().contains(name), "{error}"),
                Ok(mut records) => {
                    let columns = records.columns().len();
                    for record in records.by_ref() {
                        match record {
                            Ok(record) => prop_assert_eq!(record.values.len(), columns),
                            Err(error) => {
                                prop_assert!(error.to_string().contains(name), "{error}");
                                break;
                            }
                        }
                    }
                }
            }
        }
    }
}
