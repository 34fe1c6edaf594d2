//! Rows of a sheet of an xlsx workbook. A thread of its own reads the sheet's cells as they come, so that no more than the workbook's
//! shared strings and a few rows are in memory at a time.
//!
//! The first row with a value is the header; its first and last named cells bound the table. Numbers, dates and truth values are taken for
//! what they are; a formula counts as its last result, an error such as `#N/A` as a missing value.

use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};
use serde_json::{Number, Value};

use super::DataError;
use super::error::{Place, listed, nearest, shown};

/// Rows that are read ahead.
const AHEAD: usize = 256;

/// A workbook and, where it is named, the sheet: `file.xlsx#Sheet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SheetName {
    path: PathBuf,
    sheet: Option<String>,
}

impl SheetName {
    /// `None` if the path is not that of a workbook, by its ending or because it `is_asked` for.
    pub fn parse(path: &Path, is_asked: bool) -> Option<Self> {
        let is_workbook = |path: &Path| {
            let extension = path
                .extension()
                .map(|extension| extension.to_string_lossy().to_lowercase());
            matches!(extension.as_deref(), Some("xlsx" | "xlsm"))
        };
        if is_workbook(path) || is_asked && path.exists() {
            return Some(Self {
                path: path.to_owned(),
                sheet: None,
            });
        }
        let name = path.to_str()?;
        let (workbook, sheet) = name.rsplit_once('#')?;
        let workbook = Path::new(workbook);
        (!path.exists() && (is_workbook(workbook) || is_asked)).then(|| Self {
            path: workbook.to_owned(),
            sheet: Some(sheet.to_owned()),
        })
    }
}

/// A sheet being read.
pub(super) struct Sheet {
    path: String,
    rows: Receiver<Result<SheetRow, DataError>>,
    /// The first row, until it was asked for.
    first: Option<SheetRow>,
    /// Columns of the table: the first one, and one behind the last.
    columns: (usize, usize),
    /// Data rows so far.
    row: u64,
}

/// The number of a row in the sheet, counted from 1, and its cells up to the last one with a value.
type SheetRow = (u64, Vec<Value>);

impl Sheet {
    pub fn open(name: &SheetName) -> Result<Self, DataError> {
        let path = match &name.sheet {
            Some(sheet) => format!("{}#{sheet}", shown(&name.path)),
            None => shown(&name.path),
        };
        let (sender, rows) = sync_channel(AHEAD);
        let (name, shown_path) = (name.clone(), path.clone());
        std::thread::spawn(move || {
            let damaged = |found: String| DataError::Workbook {
                path: shown_path.clone(),
                found,
            };
            // What a damaged file might make the reader of the format panic at.
            let read = catch_unwind(AssertUnwindSafe(|| send_rows(&name, &shown_path, &sender)));
            let result = read.unwrap_or_else(|_| Err(damaged("its parts contradict each other".to_owned())));
            if let Err(error) = result {
                // Nobody wants it where this fails.
                let _ = sender.send(Err(error));
            }
        });
        let mut sheet = Self {
            path,
            rows,
            first: None,
            columns: (0, 0),
            row: 0,
        };
        let Some(first) = sheet.receive()? else {
            return Err(DataError::Empty { path: sheet.path });
        };
        let start = first.1.iter().position(|value| !value.is_null()).unwrap_or(0);
        sheet.columns = (start, first.1.len());
        sheet.first = Some(first);
        Ok(sheet)
    }

    /// The sheet as messages show it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The names in the first row.
    pub fn header(&mut self) -> Vec<String> {
        let (_, values) = self.first.take().unwrap_or_default();
        let name = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        values.iter().skip(self.columns.0).map(name).collect()
    }

    /// Columns of the table.
    pub fn width(&self) -> usize {
        self.columns.1 - self.columns.0
    }

    /// The next row with a value: its number among the data rows, its number in the sheet, its values.
    pub fn next_row(&mut self) -> Result<Option<(u64, u64, Vec<Value>)>, DataError> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.receive()?,
        };
        let Some((line, mut values)) = next else {
            return Ok(None);
        };
        self.row += 1;
        let (start, end) = self.columns;
        if values.len() > end {
            return Err(DataError::FieldCount {
                place: Place::new(&self.path, line, self.row, None),
                found: values.len() - start,
                expected: end - start,
                hint: "give every column a name in the first row, or empty the cells beside the table".to_owned(),
            });
        }
        values.resize(end, Value::Null);
        values.drain(..start);
        Ok(Some((self.row, line, values)))
    }

    /// The next row with a value.
    fn receive(&mut self) -> Result<Option<SheetRow>, DataError> {
        self.rows.recv().ok().transpose()
    }
}

/// Reads a sheet to its end, or until nobody listens any more.
fn send_rows(name: &SheetName, path: &str, sender: &SyncSender<Result<SheetRow, DataError>>) -> Result<(), DataError> {
    let file = File::open(&name.path).map_err(|error| DataError::io(&shown(&name.path), error))?;
    let is_folder = file.metadata().is_ok_and(|metadata| metadata.is_dir());
    if is_folder {
        let error = std::io::Error::from(std::io::ErrorKind::IsADirectory);
        return Err(DataError::io(&shown(&name.path), error));
    }
    let damaged = |error: XlsxError| DataError::Workbook {
        path: path.to_owned(),
        found: format!("`{error}`"),
    };
    let mut workbook = Xlsx::new(BufReader::new(file)).map_err(damaged)?;
    let sheet = choose(&workbook, name)?;
    let mut cells = workbook.worksheet_cells_reader(&sheet).map_err(damaged)?;
    let mut row: Option<SheetRow> = None;
    while let Some(cell) = cells.next_cell().map_err(damaged)? {
        let (line, column) = cell.get_position();
        let (line, column) = (u64::from(line) + 1, column as usize);
        let value = value_of(cell.get_value());
        if value.is_null() {
            continue;
        }
        if let Some(done) = row.take_if(|(current, _)| *current != line)
            && sender.send(Ok(done)).is_err()
        {
            return Ok(());
        }
        let (_, values) = row.get_or_insert_with(|| (line, Vec::new()));
        values.resize(values.len().max(column + 1), Value::Null);
        values[column] = value;
    }
    if let Some(last) = row {
        // Nobody wants it where this fails.
        let _ = sender.send(Ok(last));
    }
    Ok(())
}

/// The sheet that is named, or the only one that can be seen.
fn choose(workbook: &Xlsx<BufReader<File>>, name: &SheetName) -> Result<String, DataError> {
    let sheets: Vec<&str> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.typ == SheetType::WorkSheet)
        .filter(|sheet| sheet.visible == SheetVisible::Visible || name.sheet.as_ref() == Some(&sheet.name))
        .map(|sheet| sheet.name.as_str())
        .collect();
    let problem = match (&name.sheet, sheets.as_slice()) {
        (None, [only]) => return Ok((*only).to_owned()),
        (Some(asked), _) if sheets.contains(&asked.as_str()) => return Ok(asked.clone()),
        (None, _) => format!("the workbook has {} sheets", sheets.len()),
        (Some(asked), _) => format!("no sheet `{asked}`"),
    };
    let asked = name.sheet.as_deref().unwrap_or_default();
    let example = nearest(asked, sheets.iter().copied()).or(sheets.first().copied());
    let path = shown(&name.path);
    Err(DataError::Sheet {
        problem,
        sheets: listed(sheets.iter().copied()),
        example: format!("{path}#{}", example.unwrap_or_default()),
        path,
    })
}

fn value_of(cell: &DataRef<'_>) -> Value {
    match cell {
        DataRef::Int(number) => Value::from(*number),
        // Sheets have no whole numbers; up to here every one is exact.
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Value::from(*number as i64),
        DataRef::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        DataRef::String(text) if text.is_empty() => Value::Null,
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Value::String(text.clone()),
        DataRef::SharedString("") => Value::Null,
        DataRef::SharedString(text) => Value::String((*text).to_owned()),
        DataRef::Bool(value) => Value::Bool(*value),
        DataRef::DateTime(time) if time.is_duration() => Value::String(time.as_f64().to_string()),
        DataRef::DateTime(time) => {
            let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            Value::String(match (hour, minute, second) {
                (0, 0, 0) => date,
                _ => format!("{date} {hour:02}:{minute:02}:{second:02}"),
            })
        }
        DataRef::Error(_) | DataRef::Empty => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ColumnRequest, Dataset, ReadOptions, Records, SchemaSource};
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/reference/fixtures/xlsx")
            .join(name)
    }

    fn rows(name: &str, options: &ReadOptions) -> Result<(Vec<String>, Vec<String>), String> {
        let failed = |error: DataError| error.to_string().replace(&fixture("").display().to_string(), "");
        let records = Records::open(&fixture(name), options).map_err(failed)?;
        let columns = records.columns().to_vec();
        let row = |record: Result<super::super::Record, DataError>| {
            let record = record.map_err(failed)?;
            Ok(format!(
                "{}@{} {}",
                record.row,
                record.line,
                Value::Array(record.values)
            ))
        };
        Ok((columns, records.map(row).collect::<Result<_, String>>()?))
    }

    /// `tests/reference/xlsx.py` wrote them.
    #[test]
    fn a_sheet_gives_rows() {
        let default = ReadOptions::default();
        let (columns, found) = rows("reviews.xlsx#reviews", &default).unwrap();
        assert_eq!(columns, ["text", "label", "stars", "day", "checked"]);
        assert_eq!(
            found,
            [
                r#"1@2 ["배송이 빨라요",1,4.5,"2026-03-01",true]"#,
                r#"2@3 ["별로예요\n정말",0,1,"2026-03-02 13:30:00",false]"#,
                r#"3@5 ["보통",null,3,null,null]"#,
            ]
        );
        let (columns, found) = rows("reviews.xlsx#표 2", &default).unwrap();
        assert_eq!(
            (columns.join(","), found.join(" ")),
            ("이름,번호".to_owned(), r#"1@4 ["긍정",1] 2@5 ["부정",0]"#.to_owned())
        );
        let no_header = ReadOptions {
            header: Some(false),
            ..ReadOptions::default()
        };
        let (columns, found) = rows("reviews.xlsx#표 2", &no_header).unwrap();
        assert_eq!((columns, found.len()), (vec!["0".to_owned(), "1".to_owned()], 3));
        assert_eq!(
            rows("one.xlsx", &default).unwrap().1.len(),
            2,
            "a hidden sheet is not asked about"
        );
        assert!(rows("one.xlsx#hidden", &default).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let message = |name: &str| rows(name, &ReadOptions::default()).unwrap_err();
        assert_eq!(
            message("reviews.xlsx"),
            "reviews.xlsx: the workbook has 3 sheets; the sheets are `reviews`, `표 2`, `empty`\nhint: name one of them: `reviews.xlsx#reviews`"
        );
        assert!(message("reviews.xlsx#review").contains("no sheet `review`"));
        assert!(message("reviews.xlsx#empty").contains("the file is empty"));
        assert!(message("missing.xlsx").contains("No such file"));
        assert!(message("wide.xlsx").starts_with("wide.xlsx:3: row 2: found 3 fields, expected 2"));
    }

    #[test]
    fn labels_of_a_sheet_are_labels() {
        let infer = SchemaSource::Infer { task: None };
        let path = fixture("reviews.xlsx#reviews");
        let dataset = Dataset::load(&path, &ReadOptions::default(), &ColumnRequest::default(), infer).unwrap();
        assert_eq!(dataset.schema.names, ["0", "1"]);
        assert_eq!(dataset.report.missing_label, 1);
    }

    #[test]
    fn damaged_workbooks_are_errors() {
        let bytes = std::fs::read(fixture("one.xlsx")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.xlsx");
        for cut in [4, bytes.len() / 3, bytes.len() - 30] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let error = Records::open(&path, &ReadOptions::default()).err().unwrap();
            assert!(matches!(error, DataError::Workbook { .. }), "{error}");
        }
    }
}
