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
    /// - a delimited file of two columns, the label and its name (a header does no harm: it is one more pair that no row uses);
    /// - a text file of one name a line, for the labels 0, 1, 2, ...;
    /// - a JSON object `{"0": "negative"}`, or the other way round with lists, `{"joy": ["amusement", "love"]}`.
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
    pub(super) fn from_names(names: &[String]) -> Self {
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
        let mut map = Self::default();
        let mut records = Records::open(path, &options)?;
        let mut line_number = 0;
        while let Some(record) = records.next().transpose()? {
            let place = || Place::new(records.path(), record.line, record.row, None);
            let fields: Vec<&str> = record
                .values
                .iter()
                .map(|value| value.as_str().unwrap_or_default().trim())
                .collect();
            match fields.as_slice() {
                [name] if !name.is_empty() => map.add(&line_number.to_string(), name, place)?,
                [label, name] if !label.is_empty() && !name.is_empty() => map.add(label, name, place)?,
                _ => {
                    return Err(DataError::BadLabelMap {
                        place: place(),
                        found: format!("{} fields, or an empty one", fields.len()),
                    });
                }
            }
            line_number += 1;
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
        check("m.json", r#"{"0": "부정", "1": "긍정"}"#, &two);
        check(
            "m.json",
            r#"{"joy": ["love", 3], "fear": ["panic"]}"#,
            &[("3", "joy"), ("panic", "fear")],
        );
        assert_eq!(open("m.txt", "b\na\n").unwrap().names(), ["b", "a"]);
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
            ("m.json", r#"{"a": 1}"#, "column `a`: found `1`"),
        ] {
            let message = open(name, content).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
