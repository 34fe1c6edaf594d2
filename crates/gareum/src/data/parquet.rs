//! Rows of parquet files, one after the other, in bounded memory. What the columns mean is in `columns.rs`.
//!
//! Structures become columns `outer.inner`, as objects of JSON do. The numbers of a column of classes keep what they are called
//! (`class_names`); a negative number, as the hub writes it for rows without label, is no class.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::ConvertedType;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::{Number, Value};

use super::DataError;
use super::error::shown;

/// What a parquet file begins with.
pub(super) const SIGNATURE: &[u8] = b"PAR1";
/// Where the `datasets` library keeps what it knows of the columns.
const FEATURES: &str = "huggingface";

/// The files of one table.
pub(super) struct ParquetReader {
    /// Those that were not begun.
    waiting: VecDeque<PathBuf>,
    path: String,
    rows: Option<RowIter<'static>>,
    pub columns: Vec<String>,
    /// What the numbers of a column mean, by its name.
    pub class_names: BTreeMap<String, Vec<String>>,
    /// Which columns those are.
    is_class: Vec<bool>,
    /// Rows read.
    row: u64,
}

impl ParquetReader {
    /// Opens the first of the files; the others must have the same columns.
    pub fn open(paths: &[PathBuf]) -> Result<Self, DataError> {
        let mut reader = Self {
            waiting: paths.iter().cloned().collect(),
            path: String::new(),
            rows: None,
            columns: Vec::new(),
            class_names: BTreeMap::new(),
            is_class: Vec::new(),
            row: 0,
        };
        reader.open_next()?;
        Ok(reader)
    }

    /// What else is known of the columns.
    pub fn name_classes(&mut self, names: &BTreeMap<String, Vec<String>>) {
        let known = names.iter().filter(|(column, _)| self.columns.contains(column));
        self.class_names
            .extend(known.map(|(column, names)| (column.clone(), names.clone())));
        self.is_class = self
            .columns
            .iter()
            .map(|column| self.class_names.contains_key(column))
            .collect();
    }

    /// The next row and its number.
    pub fn next_row(&mut self) -> Result<Option<(u64, Vec<Value>)>, DataError> {
        loop {
            let Some(rows) = &mut self.rows else { return Ok(None) };
            let Some(row) = guarded(&self.path, || rows.next().transpose())? else {
                self.open_next()?;
                continue;
            };
            self.row += 1;
            let mut values = Vec::with_capacity(self.columns.len());
            row.get_column_iter().for_each(|(_, field)| flatten(field, &mut values));
            // Structures that are absent as a whole have no inner values.
            if values.len() != self.columns.len() {
                values = by_name(&row, &self.columns);
            }
            for (value, _) in values.iter_mut().zip(&self.is_class).filter(|(_, is_class)| **is_class) {
                if value.as_i64().is_some_and(|number| number < 0) {
                    *value = Value::Null;
                }
            }
            return Ok(Some((self.row, values)));
        }
    }

    fn open_next(&mut self) -> Result<(), DataError> {
        self.rows = None;
        let Some(path) = self.waiting.pop_front() else {
            return Ok(());
        };
        self.path = shown(&path);
        let file = File::open(&path).map_err(|error| DataError::io(&self.path, error))?;
        let opened = guarded(&self.path, || {
            let reader = SerializedFileReader::new(file)?;
            let metadata = reader.metadata().file_metadata();
            let mut columns = Vec::new();
            for field in metadata.schema().get_fields() {
                names(field, "", &mut columns);
            }
            let features = metadata.key_value_metadata().into_iter().flatten();
            let features = features
                .filter(|entry| entry.key == FEATURES)
                .find_map(|entry| entry.value.clone());
            Ok((columns, features, RowIter::from_file_into(Box::new(reader))))
        })?;
        let (columns, features, rows) = opened;
        if self.columns.is_empty() {
            self.columns = columns;
            self.name_classes(&classes_of(features.as_deref().unwrap_or_default()));
        } else if self.columns != columns {
            return Err(DataError::OtherColumns {
                path: self.path.clone(),
                found: columns.join("`, `"),
                expected: self.columns.join("`, `"),
            });
        }
        self.rows = Some(rows);
        Ok(())
    }
}

/// Does what a damaged file might make the reader of the format panic at.
fn guarded<T>(path: &str, work: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, DataError> {
    let damaged = |found: String| DataError::Parquet {
        path: path.to_owned(),
        found,
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(damaged(format!("`{error}`"))),
        Err(_) => Err(damaged("its parts contradict each other".to_owned())),
    }
}

/// Whether a group stands for one value: a list or a map.
fn is_one_value(field: &Type) -> bool {
    let info = field.get_basic_info();
    matches!(
        info.converted_type(),
        ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE
    ) || (info.has_repetition() && info.repetition() == parquet::basic::Repetition::REPEATED)
}

/// The columns of a field: its name, or those of the fields in it.
fn names(field: &Type, before: &str, columns: &mut Vec<String>) {
    let name = format!("{before}{}", field.name());
    match field.is_primitive() || is_one_value(field) {
        true => columns.push(name),
        false => field
            .get_fields()
            .iter()
            .for_each(|inner| names(inner, &format!("{name}."), columns)),
    }
}

fn flatten(field: &Field, values: &mut Vec<Value>) {
    match field {
        Field::Group(row) => row.get_column_iter().for_each(|(_, field)| flatten(field, values)),
        other => values.push(value_of(other)),
    }
}

/// The values of a row by the names of columns.
fn by_name(row: &parquet::record::Row, columns: &[String]) -> Vec<Value> {
    let find = |column: &String| {
        let mut parts = column.split('.').peekable();
        let mut fields: Vec<(&String, &Field)> = row.get_column_iter().collect();
        while let Some(part) = parts.next() {
            let (_, field) = fields.iter().find(|(name, _)| *name == part)?;
            match (*field, parts.peek()) {
                (Field::Group(inner), Some(_)) => fields = inner.get_column_iter().collect(),
                (field, None) => return Some(value_of(field)),
                _ => return None,
            }
        }
        None
    };
    columns.iter().map(|column| find(column).unwrap_or_default()).collect()
}

fn value_of(field: &Field) -> Value {
    let real = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(number) => Value::from(*number),
        Field::Short(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::UByte(number) => Value::from(*number),
        Field::UShort(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::ULong(number) => Value::from(*number),
        Field::Float16(number) => real(number.to_f64()),
        // As it is written, not as it is nearest in f64: 0.1, not 0.10000000149.
        Field::Float(number) => number.to_string().parse().map_or(Value::Null, real),
        Field::Double(number) => real(*number),
        Field::Str(text) => Value::String(text.clone()),
        // Some writers do not say that bytes are text.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::Null,
        },
        Field::ListInternal(list) => list.elements().iter().map(value_of).collect(),
        Field::Group(row) => row
            .get_column_iter()
            .map(|(name, field)| (name.clone(), value_of(field)))
            .collect(),
        // Times, decimals and maps: as they are shown.
        other => Value::String(other.to_string()),
    }
}

/// The names of classes, from what the `datasets` library wrote: `{"info": {"features": {"label": {"names": [...]}}}}`.
fn classes_of(features: &str) -> BTreeMap<String, Vec<String>> {
    let parsed: Value = serde_json::from_str(features).unwrap_or_default();
    let features = parsed["info"]["features"].as_object();
    let names = |feature: &Value| {
        let places = [feature, &feature["feature"]];
        let names = places.into_iter().find(|place| place["_type"] == "ClassLabel")?["names"].as_array()?;
        names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    };
    let named = features
        .into_iter()
        .flatten()
        .filter_map(|(column, feature)| Some((column.clone(), names(feature)?)));
    named.collect()
}

/// Whether a file is parquet, whatever it is called.
pub(super) fn is_parquet(path: &Path) -> bool {
    use std::io::Read;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SIGNATURE.len() as u64).read_to_end(&mut start));
    read.is_ok() && start == SIGNATURE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{ColumnRequest, Dataset, ReadOptions, Records, SchemaSource, Target};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/reference/fixtures/parquet")
            .join(name)
    }

    fn read(name: &str) -> (Vec<String>, Vec<Vec<Value>>) {
        let mut reader = ParquetReader::open(&[fixture(name)]).unwrap();
        let mut rows = Vec::new();
        while let Some((_, values)) = reader.next_row().unwrap() {
            rows.push(values);
        }
        (reader.columns, rows)
    }

    /// `tests/reference/parquet.py` wrote the same rows with every compression, and with lists and structures.
    #[test]
    fn every_compression_gives_the_same_rows() {
        let (columns, expected) = read("snappy.parquet");
        assert_eq!(columns, ["text", "label", "score"]);
        assert_eq!(expected.len(), 12);
        assert_eq!(
            expected[0],
            [Value::from("정말 좋아요 0"), Value::from(1), Value::from(0.1)]
        );
        assert_eq!(expected[2], [Value::Null, Value::Null, Value::Null]);
        for name in ["zstd.parquet", "gzip.parquet", "plain.parquet", "many-groups.parquet"] {
            assert_eq!(read(name).1, expected, "{name}");
        }
        let error = ParquetReader::open(&[fixture("brotli.parquet")]).and_then(|mut reader| reader.next_row());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("brotli.parquet"), "{message}");
    }

    #[test]
    fn lists_and_structures() {
        let (columns, rows) = read("nested.parquet");
        assert_eq!(columns, ["text", "tags", "aspects.category", "aspects.polarity", "day"]);
        assert_eq!(rows[0][1], serde_json::json!([0, 2]));
        assert_eq!(rows[0][2], "price");
        assert_eq!(
            rows[1],
            serde_json::json!(["b", [], null, null, null])
                .as_array()
                .unwrap()
                .as_slice()
        );
    }

    #[test]
    fn classes_get_their_names() {
        let records = Records::open(&fixture("classes.parquet"), &ReadOptions::default()).unwrap();
        let request = ColumnRequest::default();
        let dataset = Dataset::read(records, &request, SchemaSource::Infer { task: None }, None).unwrap();
        assert_eq!(dataset.schema.names, ["entailment", "neutral", "contradiction"]);
        assert_eq!(dataset.report.missing_label, 1, "a negative number is no class");
        assert_eq!(dataset.examples[0].target, Target::Class(2));
        assert_eq!(dataset.examples[0].text_pair.as_deref(), Some("hypothesis 0"));
    }

    #[test]
    fn several_files_are_one_table() {
        let paths = [fixture("snappy.parquet"), fixture("zstd.parquet")];
        let mut reader = ParquetReader::open(&paths).unwrap();
        let mut last = 0;
        while let Some((row, _)) = reader.next_row().unwrap() {
            last = row;
        }
        assert_eq!(last, 24);
        let mut reader = ParquetReader::open(&[fixture("snappy.parquet"), fixture("nested.parquet")]).unwrap();
        let error = std::iter::from_fn(|| reader.next_row().transpose())
            .find_map(Result::err)
            .unwrap();
        assert!(
            error
                .to_string()
                .contains("nested.parquet: the columns are `text`, `tags`"),
            "{error}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn damaged_files_are_errors(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = std::fs::read(fixture("classes.parquet")).unwrap();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            if let Ok(mut reader) = ParquetReader::open(&[file.path().to_owned()]) {
                for _ in 0..1000 {
                    if !matches!(reader.next_row(), Ok(Some(_))) {
                        break;
                    }
                }
            }
        }
    }
}
