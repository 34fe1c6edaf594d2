//! Names for the labels of a file, from a second file: `0,negative` rows, one name a line, or a JSON object.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::{Place, shown};
use super::label_values::Atom;
use super::{DataError, ReadOptions, Records};

/// From labels as they stand in the data to the names they get.
///
/// Several labels may get one name (finer classes joined to coarser ones). A label that is a name of the map already is left as it is.
/// Ids follow the order in which the names first appear in the map.
#[derive(Clone, Debug, Default)]
pub struct LabelMap {
    names: Vec<String>,
    /// Position of the name of each label.
    name_of: HashMap<String, usize>,
}

impl LabelMap {
    /// Reads a map:
    /// - a delimited file or a sheet of two columns, the label and its name (a header does no harm: it is one more pair that no row uses);
    /// - the same the other way round, if the second column holds a whole number for each row and the first does not: names with their ids,
    ///   in whose order they come;
    /// - a text file of one name a line, for the labels 0, 1, 2, ...;
    /// - a JSON object `{"0": "negative"}`, or the other way round, `{"negative": 0}` or with lists, `{"joy": ["amusement", "love"]}`.
    ///
    /// # Errors
    /// [`DataError`] if the file cannot be read, is none of these, or gives one label two names.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let is_json = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if is_json {
            Self::from_json(path)
        } else {
            Self::from_rows(path)
        }
    }

    /// Names for the labels 0, 1, 2, ...
    pub(crate) fn from_names(names: &[String]) -> Self {
        let mut map = Self::default();
        for (number, name) in names.iter().enumerate() {
            let name = name.trim();
            let position = map.names.iter().position(|known| known == name).unwrap_or_else(|| {
                map.names.push(name.to_owned());
                map.names.len() - 1
            });
            map.name_of.insert(Atom::new(&number.to_string()).canonical(), position);
        }
        map
    }

    fn from_rows(path: &Path) -> Result<Self, DataError> {
        let options = ReadOptions {
            header: Some(false),
            ..ReadOptions::default()
        };
        let mut records = Records::open(path, &options)?;
        let mut rows: Vec<(Box<Place>, Vec<String>)> = Vec::new();
        while let Some(record) = records.next().transpose()? {
            let fields = record.values.iter().map(|value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.trim().to_owned(),
                other => other.to_string(),
            });
            let place = Place::new(records.path(), record.line, record.row, None);
            rows.push((place, fields.collect()));
        }
        if is_names_with_ids(&rows) {
            let id = |fields: &[String]| fields.get(1).and_then(|id| Atom::new(id).integer());
            rows.retain(|(_, fields)| id(fields).is_some());
            rows.sort_by_key(|(_, fields)| id(fields));
            rows.iter_mut().for_each(|(_, fields)| fields.swap(0, 1));
        }
        let mut map = Self::default();
        for (number, (place, fields)) in rows.iter().enumerate() {
            match fields.as_slice() {
                [name] if !name.is_empty() => map.add(&number.to_string(), name, || place.clone())?,
                [label, name] if !label.is_empty() && !name.is_empty() => map.add(label, name, || place.clone())?,
                fields => {
                    return Err(DataError::BadLabelMap {
                        place: place.clone(),
                        found: format!("{} fields, or an empty one", fields.len()),
                    });
                }
            }
        }
        Ok(map)
    }

    fn from_json(path: &Path) -> Result<Self, DataError> {
        let name = shown(path);
        let text = std::fs::read_to_string(path).map_err(|error| DataError::io(&name, error))?;
        let entries: Map<String, Value> = serde_json::from_str(&text).map_err(|error| DataError::Json {
            place: Place::new(&name, error.line() as u64, 1, None),
            found: error.to_string(),
            hint: "a label map is an object such as `{\"0\": \"negative\", \"1\": \"positive\"}`".to_owned(),
        })?;
        let mut map = Self::default();
        for (row, (key, value)) in (1..).zip(&entries) {
            let place = || Place::new(&name, 1, row, Some(key.clone()));
            match value {
                Value::String(value) => map.add(key, value, place)?,
                Value::Number(id) if id.is_i64() => map.add(&id.to_string(), key, place)?,
                Value::Array(labels) => {
                    for label in labels {
                        let label = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
                        map.add(&label, key, place)?;
                    }
                }
                other => {
                    return Err(DataError::BadLabelMap {
                        place: place(),
                        found: format!("`{other}`"),
                    });
                }
            }
        }
        Ok(map)
    }

    fn add(&mut self, label: &str, name: &str, place: impl Fn() -> Box<Place>) -> Result<(), DataError> {
        let name = name.trim();
        let position = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        match self.name_of.insert(Atom::new(label).canonical(), position) {
            Some(other) if other != position => Err(DataError::BadLabelMap {
                place: place(),
                found: format!(
                    "two names for label `{}`: `{}` and `{name}`",
                    label.trim(),
                    self.names[other]
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The name of a label, by its text with integers in one spelling; `None` if the map does not know it.
    pub(super) fn name(&self, label: &str) -> Option<&str> {
        let mapped = self.name_of.get(label).map(|position| self.names[*position].as_str());
        mapped.or_else(|| self.names.iter().map(String::as_str).find(|name| *name == label))
    }

    /// The names in the order of their ids.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The labels that have a name, in no order.
    pub(super) fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.name_of.keys().map(String::as_str)
    }
}

/// Whether rows are names, each with an id of its own, and not labels with their names. A header may stand before them.
fn is_names_with_ids(rows: &[(Box<Place>, Vec<String>)]) -> bool {
    let is_integer = |field: &String| Atom::new(field).integer().is_some();
    let is_header = |fields: &[String]| !fields.iter().any(is_integer);
    let has_header = rows.first().is_some_and(|(_, fields)| is_header(fields));
    let rows = &rows[usize::from(has_header)..];
    let mut ids = std::collections::HashSet::new();
    let has_id_of_its_own = |(_, fields): &(Box<Place>, Vec<String>)| match fields.as_slice() {
        [name, id] => !name.is_empty() && is_integer(id) && ids.insert(Atom::new(id).canonical()),
        _ => false,
    };
    !rows.is_empty() && rows.iter().all(has_id_of_its_own) && !rows.iter().all(|(_, fields)| is_integer(&fields[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str, content: &str) -> Result<LabelMap, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        LabelMap::open(&path).map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
    }

    fn check(name: &str, content: &str, pairs: &[(&str, &str)]) {
        let map = open(name, content).unwrap();
        for (label, expected) in pairs {
            assert_eq!(map.name(label), Some(*expected), "{name}: {label}");
        }
        assert_eq!(map.name("nothing"), None);
    }

    #[test]
    fn every_form_gives_names() {
        let two = [("0", "부정"), ("1", "긍정"), ("긍정", "긍정")];
        check("m.csv", "id,name\n0,부정\n1.0,긍정\n", &two);
        check("m.tsv", "0\t부정\n1\t긍정\n", &two);
        check("m.txt", "부정\n긍정\n", &two);
        check("m.csv", "name,id\n긍정,1\n부정,0\n", &two);
        check("m.csv", "긍정,1\n부정,0\n", &two);
        check("m.json", r#"{"긍정": 1, "부정": 0}"#, &two);
        assert_eq!(
            open("m.csv", "name,id\n긍정,1\n부정,0\n").unwrap().names(),
            ["부정", "긍정"]
        );
        // Finer labels with the number of a coarser one: several names of one id.
        check(
            "m.csv",
            "love,1\njoy,1\nfear,0\n",
            &[("love", "1"), ("joy", "1"), ("fear", "0")],
        );
        check("m.csv", "10,1\n20,0\n", &[("10", "1"), ("20", "0")]);
        check("m.json", r#"{"0": "부정", "1": "긍정"}"#, &two);
        check(
            "m.json",
            r#"{"joy": ["love", 3], "fear": ["panic"]}"#,
            &[("3", "joy"), ("panic", "fear")],
        );
        assert_eq!(open("m.txt", "b\na\n").unwrap().names(), ["b", "a"]);
    }

    #[test]
    fn a_sheet_is_a_map_too() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/xlsx/labeling.xlsx");
        let map = LabelMap::open(&path).unwrap();
        assert_eq!(map.names(), ["부정", "긍정", "중립"]);
        assert_eq!((map.name("2"), map.name("긍정")), (Some("중립"), Some("긍정")));
    }

    #[test]
    fn contradictions_are_refused() {
        for (name, content, expected) in [
            (
                "m.csv",
                "0,a\n0,b\n",
                "/m.csv:2: row 2: found two names for label `0`: `a` and `b`",
            ),
            ("m.csv", "0,a,x\n1,b,y\n", "found 3 fields"),
            ("m.json", "[1]", "malformed JSON"),
            ("m.json", r#"{"a": 1.5}"#, "column `a`: found `1.5`"),
        ] {
            let message = open(name, content).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
