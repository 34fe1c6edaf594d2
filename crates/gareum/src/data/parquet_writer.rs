//! Rows of values as a parquet file.
//!
//! Columns of a parquet file have types, which only all rows together tell. So rows are written as JSON lines first (which also can be gone on with after an
//! interruption), and become parquet when the last one is there.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::files::{WriteError, replace_atomically};

/// Rows of a group: what is in memory at a time.
const GROUP_ROWS: usize = 16_384;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// None so far.
    Nothing,
    Bool,
    Integer,
    Number,
    /// Anything else; lists and objects as JSON.
    Text,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(_) => Self::Number,
            Value::String(_) | Value::Array(_) | Value::Object(_) => Self::Text,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Nothing, kind) | (kind, Self::Nothing) => kind,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}

/// Makes a parquet file of a file of JSON lines, each an object; `columns` says in which order its values stand. A value that a row lacks is null.
///
/// # Errors
/// [`WriteError`] if the lines cannot be read again or the file cannot be written; there is then none.
pub fn write_parquet(lines: &Path, columns: &[String], path: &Path) -> Result<(), WriteError> {
    let failed = |error: &io::Error| WriteError::new(path, error);
    let mut kinds = vec![Kind::Nothing; columns.len()];
    for row in rows(lines).map_err(|error| failed(&error))? {
        let row = row.map_err(|error| failed(&error))?;
        for (kind, column) in kinds.iter_mut().zip(columns) {
            *kind = kind.and(row.get(column).map_or(Kind::Nothing, Kind::of));
        }
    }
    replace_atomically(path, |temporary| {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("gareum ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = schema(columns, &kinds).map_err(io::Error::other)?;
        let mut writer = SerializedFileWriter::new(File::create(temporary)?, Arc::new(schema), Arc::new(properties))
            .map_err(io::Error::other)?;
        let mut rows = rows(lines)?;
        loop {
            let group = rows.by_ref().take(GROUP_ROWS).collect::<io::Result<Vec<_>>>()?;
            if group.is_empty() {
                break;
            }
            let write = |mut writer: SerializedRowGroupWriter<'_, File>| -> Result<(), ParquetError> {
                for (column, kind) in columns.iter().zip(&kinds) {
                    write_column(&mut writer, *kind, group.iter().map(|row| row.get(column)))?;
                }
                writer.close().map(|_| ())
            };
            writer.next_row_group().and_then(write).map_err(io::Error::other)?;
        }
        writer.close().map_err(io::Error::other)?;
        Ok(())
    })
}

fn rows(lines: &Path) -> io::Result<impl Iterator<Item = io::Result<Map<String, Value>>>> {
    let lines = BufReader::new(File::open(lines)?).lines();
    Ok(lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)))
}

fn schema(columns: &[String], kinds: &[Kind]) -> Result<Type, ParquetError> {
    let field = |(column, kind): (&String, &Kind)| {
        let (physical, logical) = match kind {
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Integer => (Physical::INT64, None),
            Kind::Number => (Physical::DOUBLE, None),
            Kind::Text | Kind::Nothing => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(column, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    };
    let fields = columns.iter().zip(kinds).map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("rows").with_fields(fields).build()
}

fn write_column<'a>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    kind: Kind,
    values: impl Iterator<Item = Option<&'a Value>>,
) -> Result<(), ParquetError> {
    match kind {
        Kind::Bool => write_values::<BoolType>(group, values, Value::as_bool),
        Kind::Integer => write_values::<Int64Type>(group, values, Value::as_i64),
        Kind::Number => write_values::<DoubleType>(group, values, Value::as_f64),
        Kind::Text | Kind::Nothing => write_values::<ByteArrayType>(group, values, |value| {
            Some(match value {
                Value::String(text) => ByteArray::from(text.as_str()),
                other => ByteArray::from(other.to_string().as_str()),
            })
        }),
    }
}

/// Writes a column; a null has level 0 and no value.
fn write_values<'a, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: impl Iterator<Item = Option<&'a Value>>,
    convert: impl Fn(&Value) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let converted: Vec<Option<T::T>> = values
        .map(|value| value.filter(|value| !value.is_null()).and_then(&convert))
        .collect();
    let levels: Vec<i16> = converted.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = converted.into_iter().flatten().collect();
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("more columns than the schema has".to_owned()));
    };
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::{ReadOptions, Records};

    /// What is written is read again, by types that all rows together have.
    #[test]
    fn rows_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let (lines, path) = (
            directory.path().join("rows.jsonl"),
            directory.path().join("rows.parquet"),
        );
        let columns = ["text", "n", "x", "yes", "odd", "list", "none"].map(str::to_owned);
        let row = |i: usize| {
            json!({
                "text": format!("글 {i}"), "n": i, "x": if i == 1 { json!(2) } else { json!(0.5) }, "yes": i.is_multiple_of(2),
                "odd": if i == 0 { json!("a") } else { json!(i) }, "list": ["a", i], "none": null,
            })
        };
        let rows: Vec<Value> = (0..GROUP_ROWS + 3).map(row).collect();
        let text: String = rows.iter().map(|row| row.to_string() + "\n").collect();
        std::fs::write(&lines, text).unwrap();
        write_parquet(&lines, &columns, &path).unwrap();
        let records = Records::open(&path, &ReadOptions::default()).unwrap();
        assert_eq!(records.columns(), columns);
        let mut count = 0;
        for (i, record) in records.map(Result::unwrap).enumerate() {
            let x = if i == 1 { 2.0 } else { 0.5 };
            let odd = if i == 0 { "a".to_owned() } else { i.to_string() };
            let list = format!("[\"a\",{i}]");
            let expected = [
                json!(format!("글 {i}")),
                json!(i),
                json!(x),
                json!(i % 2 == 0),
                json!(odd),
                json!(list),
                Value::Null,
            ];
            assert_eq!(record.values, expected);
            count += 1;
        }
        assert_eq!(count, rows.len());
    }

    #[test]
    fn no_rows_are_a_file_too() {
        let directory = tempfile::tempdir().unwrap();
        let (lines, path) = (
            directory.path().join("rows.jsonl"),
            directory.path().join("rows.parquet"),
        );
        std::fs::write(&lines, "").unwrap();
        write_parquet(&lines, &["text".to_owned()], &path).unwrap();
        assert!(path.exists());
        std::fs::write(&lines, "{\"text\":").unwrap();
        assert!(write_parquet(&lines, &["text".to_owned()], &path).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
