//! Objects of a JSON array, or one a line, read one at a time: memory is bounded by the largest object, not by the file.

use serde_json::{Map, Value};

use super::DataError;
use super::error::{Place, shortened};
use super::source::Source;

/// Reads objects.
pub(super) struct JsonReader {
    pub source: Source,
    layout: Layout,
    row: u64,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// One object a line; blank lines are skipped.
    Lines,
    /// An array, or objects one after the other, with any white space; not begun yet.
    Unknown,
    /// Inside an array.
    Array,
    /// Objects one after the other.
    Sequence,
    /// Behind the end.
    Ended,
}

/// An object, flattened, with its row and the line it starts on.
pub(super) struct Object {
    pub row: u64,
    pub line: u64,
    pub fields: Map<String, Value>,
    /// A key with a list of objects, if there is one.
    table: Option<String>,
}

impl JsonReader {
    pub fn lines(source: Source) -> Self {
        Self {
            source,
            layout: Layout::Lines,
            row: 0,
            buffer: Vec::new(),
        }
    }

    pub fn array(source: Source) -> Self {
        Self {
            layout: Layout::Unknown,
            ..Self::lines(source)
        }
    }

    pub fn next_object(&mut self) -> Result<Option<Object>, DataError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let object = match self.layout {
            Layout::Lines => self.line_object(&mut buffer),
            _ => self.array_object(&mut buffer),
        };
        self.buffer = buffer;
        object
    }

    fn line_object(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Object>, DataError> {
        loop {
            let Some(text) = self.source.next_line(buffer)? else {
                return Ok(None);
            };
            if !text.trim().is_empty() {
                self.row += 1;
                return self.parse(text, self.source.line).map(Some);
            }
        }
    }

    fn array_object(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Object>, DataError> {
        if !self.find_object()? {
            return Ok(None);
        }
        self.row += 1;
        let (line, offset) = (self.source.line + 1, self.source.offset());
        self.capture(buffer, line)?;
        let text = self.source.decode(buffer, line, offset)?;
        let object = self.parse(text, line)?;
        if self.row == 1 && self.layout == Layout::Sequence && !self.find_object()? {
            self.refuse_wrapper(&object)?;
        }
        Ok(Some(object))
    }

    /// Moves to the `{` of the next object; false at the end.
    fn find_object(&mut self) -> Result<bool, DataError> {
        while self.layout != Layout::Ended {
            let Some(byte) = self.source.peek()? else {
                if self.layout == Layout::Array {
                    return Err(self.malformed("the array is not closed", "the file seems to be cut off"));
                }
                self.layout = Layout::Ended;
                break;
            };
            match (byte, self.layout) {
                (b'{', Layout::Unknown) => {
                    self.layout = Layout::Sequence;
                    return Ok(true);
                }
                (b'{', _) => return Ok(true),
                (b'[', Layout::Unknown) => self.layout = Layout::Array,
                (b']', Layout::Array) => self.layout = Layout::Ended,
                (b',' | b' ' | b'\t' | b'\r' | b'\n', _) => {}
                _ => {
                    let found = format!(
                        "`{}` where an object `{{...}}` should begin",
                        char::from(byte).escape_default()
                    );
                    return Err(self.malformed(&found, "expected a list of objects, one a row"));
                }
            }
            self.source.skip(byte);
        }
        Ok(false)
    }

    /// Copies the object that begins here into `buffer`, up to its closing bracket.
    fn capture(&mut self, buffer: &mut Vec<u8>, line: u64) -> Result<(), DataError> {
        buffer.clear();
        let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
        loop {
            let Some(byte) = self.source.peek()? else {
                let place = Place::new(&self.source.path, line, self.row, None);
                let hint = "a bracket or a quote is missing, or the file is cut off".to_owned();
                return Err(DataError::Json {
                    place,
                    found: "the object is not closed".to_owned(),
                    hint,
                });
            };
            self.source.skip(byte);
            buffer.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    fn parse(&self, text: &str, line: u64) -> Result<Object, DataError> {
        let place = |line| Place::new(&self.source.path, line, self.row, None);
        let hint = || format!("check the text `{}`", shortened(text.trim()));
        let value: Value = serde_json::from_str(text.trim_end()).map_err(|error| {
            let line = line + (error.line() as u64).saturating_sub(1);
            let message = error.to_string();
            // serde counts lines within the object; the place counts them within the file.
            let what = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |(what, _)| what);
            DataError::Json {
                place: place(line),
                found: format!("{what} at column {}", error.column()),
                hint: hint(),
            }
        })?;
        let Value::Object(object) = value else {
            let found = "not an object `{...}`".to_owned();
            return Err(DataError::Json {
                place: place(line),
                found,
                hint: hint(),
            });
        };
        let is_table = |value: &Value| {
            value
                .as_array()
                .and_then(|list| list.first())
                .is_some_and(Value::is_object)
        };
        let table = object
            .iter()
            .find(|(_, value)| is_table(value))
            .map(|(key, _)| key.clone());
        let mut fields = Map::new();
        flatten(None, object, &mut fields);
        Ok(Object {
            row: self.row,
            line,
            fields,
            table,
        })
    }

    /// A whole data set wrapped in one object would otherwise pass for a single odd row.
    fn refuse_wrapper(&self, object: &Object) -> Result<(), DataError> {
        match &object.table {
            Some(key) => Err(DataError::Json {
                place: Place::new(&self.source.path, object.line, 1, Some(key.clone())),
                found: format!("the rows are wrapped in an object, under `{key}`"),
                hint: format!("save the list itself: `jq .{key} old > new`"),
            }),
            None => Ok(()),
        }
    }

    fn malformed(&self, found: &str, hint: &str) -> DataError {
        let place = Place::new(&self.source.path, self.source.line + 1, self.row + 1, None);
        DataError::Json {
            place,
            found: found.to_owned(),
            hint: hint.to_owned(),
        }
    }
}

/// Objects inside objects become columns `outer.inner`, as in KLUE-STS's `labels.real-label`; a list of objects becomes one list a key, with null
/// where an object lacks it.
fn flatten(prefix: Option<&str>, object: Map<String, Value>, into: &mut Map<String, Value>) {
    for (key, value) in object {
        let name = match prefix {
            Some(prefix) => format!("{prefix}.{key}"),
            None => key,
        };
        match value {
            Value::Object(inner) => flatten(Some(&name), inner, into),
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
                let objects: Vec<Map<String, Value>> = items
                    .into_iter()
                    .map(|item| {
                        let mut flat = Map::new();
                        if let Value::Object(inner) = item {
                            flatten(Some(&name), inner, &mut flat);
                        }
                        flat
                    })
                    .collect();
                for key in objects.iter().flat_map(Map::keys) {
                    if !into.contains_key(key) {
                        let values = objects
                            .iter()
                            .map(|object| object.get(key).cloned().unwrap_or(Value::Null));
                        into.insert(key.clone(), values.collect());
                    }
                }
            }
            value => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str, lines: bool) -> Result<Vec<(u64, u64, String)>, String> {
        let source = Source::from_reader(std::io::Cursor::new(content.as_bytes().to_vec()), "t.json");
        let mut reader = if lines {
            JsonReader::lines(source)
        } else {
            JsonReader::array(source)
        };
        let mut objects = Vec::new();
        loop {
            match reader.next_object() {
                Ok(Some(object)) => objects.push((object.row, object.line, Value::Object(object.fields).to_string())),
                Ok(None) => return Ok(objects),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn arrays_and_sequences_read_alike() {
        let expected = vec![
            (1, 2, r#"{"a":"]}\"{"}"#.to_owned()),
            (2, 3, r#"{"a":[1],"b.c":2}"#.to_owned()),
        ];
        let objects = "\n{\"a\": \"]}\\\"{\"},\n{\"a\": [1], \"b\": {\"c\": 2}}\n";
        assert_eq!(read(&format!("[{objects}]"), false).unwrap(), expected);
        assert_eq!(read(&objects.replace("},\n", "}\n"), false).unwrap(), expected);
        assert_eq!(read(&objects.replace("},\n", "}\n"), true).unwrap(), expected);
        assert_eq!(read("[]", false).unwrap(), []);
    }

    #[test]
    fn malformed_json_is_located() {
        let check = |content: &str, lines: bool, expected: &str| {
            let message = read(content, lines).unwrap_err();
            assert!(message.contains(expected), "{content:?} gave {message:?}");
        };
        // Half of a pair of surrogates is no character.
        check("{\"a\": \"x\"}\n{\"a\": \"\\ud83d\"}", true, "t.json:2");
        check("{\"a\": \"\\ud83d\"}", true, "unexpected end of hex escape");
        check("{\"a\": \"\\udc00\"}", true, "lone leading surrogate in hex escape");
        check(
            "[{\"a\": 1},\n {\"a\": }]",
            false,
            "t.json:2: row 2: malformed JSON: expected value",
        );
        check(
            "[{\"a\": 1},\n",
            false,
            "t.json:2: row 2: malformed JSON: the array is not closed",
        );
        check(
            "[{\"a\": \"1},\n",
            false,
            "t.json:1: row 1: malformed JSON: the object is not closed",
        );
        check("[1, 2]", false, "where an object `{...}` should begin");
        check(
            "{\"a\": 1}\n[1]\n",
            true,
            "t.json:2: row 2: malformed JSON: not an object",
        );
        check(
            "{\"version\": 1, \"data\": [{\"text\": \"a\"}]}",
            false,
            "wrapped in an object, under `data`",
        );
    }
}
