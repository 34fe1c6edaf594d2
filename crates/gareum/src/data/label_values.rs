//! Labels as they stand in a file, the schema they imply, and the ids they get.
//!
//! A value is a string, an integer, a float, a boolean, a list of these or of aspects (see [`aspect`]), or a row of 0/1 columns or of polarities. Blanks around labels are trimmed. Null, the
//! empty string and `NaN` mean that the label is missing.
//!
//! The task, where none is asked for: lists and 0/1 columns are multi-label; a column of integers (also written `1.0`) is single-label; a
//! column of other numbers is regression; strings are single-label unless they are joined labels, see [`joined_by`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::error::{Place, listed, nearest, shortened};
use super::{DataError, LabelMap, LabelSchema, Target, Task};

/// Separators that are tried where none is given.
const SEPARATORS: [&str; 3] = [",", "|", ";"];

/// The label of a row before it has an id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawLabel {
    One(Atom),
    /// A list, or the names of the 0/1 columns that hold 1.
    Many(Vec<Atom>),
}

/// One label as written, and as a number if it is one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Atom {
    text: String,
    number: Option<f64>,
}

impl Atom {
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self {
            text: text.to_owned(),
            number: number_of(text),
        }
    }

    /// `2` for `2`, `2.0` and `2.`: integers have one name however they are written.
    pub fn integer(&self) -> Option<i64> {
        self.number
            .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
            .map(|number| number as i64)
    }

    /// The text, integers in one spelling.
    pub fn canonical(&self) -> String {
        self.integer()
            .map_or_else(|| self.text.clone(), |integer| integer.to_string())
    }

    /// The name that a map gives this label.
    fn mapped(&self, map: Option<&LabelMap>) -> Option<Self> {
        match map {
            None => Some(self.clone()),
            // A name is a name, even if it looks like a number.
            Some(map) => map.name(&self.canonical()).map(|name| Self {
                text: name.to_owned(),
                number: None,
            }),
        }
    }
}

/// The number that `text` is. Not one: `007` or `1_000`, which are names, and `inf`.
fn number_of(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_plain = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let is_padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if !is_plain || is_padded {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

impl RawLabel {
    /// The label in one value; `Ok(None)` if it is missing.
    pub fn read(value: &Value) -> Result<Option<Self>, &'static str> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) => {
                let text = text.trim();
                Ok((!is_missing(text)).then(|| list_in(text).unwrap_or_else(|| Self::One(Atom::new(text)))))
            }
            Value::Bool(_) | Value::Number(_) => Ok(Some(Self::One(Atom::new(&value.to_string())))),
            Value::Array(items) => Ok(Some(Self::Many(items.iter().map(atom_of).collect::<Result<_, _>>()?))),
            Value::Object(_) => Err("a label or a list of labels"),
        }
    }

    /// The label in a row of 0/1 values, each with the position of its column; `Ok(None)` if one is missing. `Err` holds the position.
    pub fn read_indicators<'a>(
        cells: impl Iterator<Item = (usize, &'a Value)>,
        name_of: impl Fn(usize) -> String,
    ) -> Result<Option<Self>, usize> {
        let mut names = Vec::new();
        let mut missing = false;
        for (position, value) in cells {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.trim().to_lowercase(),
                other => other.to_string(),
            };
            match text.as_str() {
                // Not a number even if the column's name is one: column `1` is not column `1.0`.
                "1" | "1.0" | "true" => names.push(Atom {
                    text: name_of(position),
                    number: None,
                }),
                "0" | "0.0" | "false" => {}
                text if is_missing(text) => missing = true,
                _ => return Err(position),
            }
        }
        Ok((!missing).then_some(Self::Many(names)))
    }

    /// The labels in a list of keywords and one of the sentiment of each; `Ok(None)` if they are missing.
    pub fn read_aspects(keywords: &Value, sentiments: &Value) -> Result<Option<Self>, &'static str> {
        const EXPECTED: &str = "as many sentiments as keywords, each a name or a number";
        let atoms = |value: &Value| match value {
            Value::Null => Ok(None),
            Value::Array(items) => items.iter().map(atom_of).collect::<Result<Vec<_>, _>>().map(Some),
            value => Ok(Some(vec![atom_of(value)?])),
        };
        match (
            atoms(keywords).map_err(|_| EXPECTED)?,
            atoms(sentiments).map_err(|_| EXPECTED)?,
        ) {
            (None, None) => Ok(None),
            (Some(keywords), Some(sentiments)) if keywords.len() == sentiments.len() => {
                let aspects = keywords.iter().zip(&sentiments);
                let label = |(keyword, sentiment): (&Atom, &Atom)| {
                    let (keyword, sentiment) = (keyword.canonical(), sentiment.canonical());
                    (!keyword.is_empty() && !sentiment.is_empty()).then(|| Atom::new(&aspect(&keyword, &sentiment)))
                };
                let labels: Option<Vec<Atom>> = aspects.map(label).collect();
                labels.map(|labels| Some(Self::Many(labels))).ok_or(EXPECTED)
            }
            _ => Err(EXPECTED),
        }
    }

    /// The labels in a row of polarities, each with the position of its column; `Err` holds the position of what is none.
    pub fn read_polarities<'a>(
        cells: impl Iterator<Item = (usize, &'a Value)>,
        name_of: impl Fn(usize) -> String,
    ) -> Result<Self, usize> {
        let mut aspects = Vec::new();
        for (position, value) in cells {
            let polarity = match value {
                Value::Null => continue,
                Value::Array(_) | Value::Object(_) => return Err(position),
                Value::String(text) => Atom::new(text),
                other => Atom::new(&other.to_string()),
            };
            if !is_missing(&polarity.text) && polarity.number != Some(0.0) {
                aspects.push(Atom::new(&aspect(&name_of(position), &polarity.canonical())));
            }
        }
        Ok(Self::Many(aspects))
    }

    /// The number that a single label is.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::One(atom) => atom.number,
            Self::Many(_) => None,
        }
    }

    /// A text that is the same for equal labels only.
    pub fn key(&self) -> String {
        match self {
            Self::One(atom) => atom.canonical(),
            Self::Many(atoms) => {
                let names = atoms.iter().map(|atom| format!("\u{1F}{}", atom.canonical()));
                format!("\u{1E}{}", names.collect::<String>())
            }
        }
    }

    /// The labels as they stand in the row, those of a list joined by commas.
    pub fn shown(&self) -> String {
        let atoms: Vec<&str> = self.atoms().iter().map(|atom| atom.text.as_str()).collect();
        atoms.join(", ")
    }

    fn atoms(&self) -> &[Atom] {
        match self {
            Self::One(atom) => std::slice::from_ref(atom),
            Self::Many(atoms) => atoms,
        }
    }

    fn contains(&self, separator: &str) -> bool {
        matches!(self, Self::One(atom) if atom.text.contains(separator))
    }
}

fn is_missing(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("nan")
}

fn atom_of(value: &Value) -> Result<Atom, &'static str> {
    match value {
        Value::String(text) => Ok(Atom::new(text)),
        Value::Bool(_) | Value::Number(_) => Ok(Atom::new(&value.to_string())),
        Value::Object(keys) => {
            let atom = |names: [&str; 5]| {
                let value = names.iter().find_map(|name| keys.get(*name))?;
                (!value.is_array() && !value.is_object() && !value.is_null()).then(|| atom_of(value).ok())?
            };
            match (atom(KEYWORD_KEYS), atom(POLARITY_KEYS)) {
                (Some(keyword), Some(polarity)) if !keyword.text.is_empty() && !polarity.text.is_empty() => {
                    Ok(Atom::new(&aspect(&keyword.text, &polarity.canonical())))
                }
                _ => Err("objects with a `keyword` (or `category`) and a `sentiment` (or `polarity`)"),
            }
        }
        _ => Err("names or numbers in the list"),
    }
}

/// What the keys of an aspect are called.
pub(super) const KEYWORD_KEYS: [&str; 5] = ["keyword", "category", "aspect", "키워드", "속성"];
pub(super) const POLARITY_KEYS: [&str; 5] = ["sentiment", "polarity", "label", "감정", "극성"];

/// The name of a keyword with what is felt about it: `배송 부정`, as people write it into a column.
pub(crate) fn aspect(keyword: &str, polarity: &str) -> String {
    // The polarity is what stands behind the last blank.
    format!(
        "{} {}",
        keyword.trim(),
        polarity.trim().replace(char::is_whitespace, "_")
    )
}

/// Keyword and polarity of an [`aspect`].
pub(crate) fn keyword_and_polarity(aspect: &str) -> Option<(&str, &str)> {
    let (keyword, polarity) = aspect.rsplit_once(char::is_whitespace)?;
    let keyword = keyword.trim_end();
    (!keyword.is_empty() && !polarity.is_empty()).then_some((keyword, polarity))
}

/// A list written into a string, `["a", "b"]` or Python's `['a', 'b']`.
fn list_in(text: &str) -> Option<RawLabel> {
    if !(text.starts_with('[') && text.ends_with(']')) {
        return None;
    }
    let parsed = serde_json::from_str(text).or_else(|_| serde_json::from_str(&text.replace('\'', "\"")));
    let items: Vec<Value> = parsed.ok()?;
    Some(RawLabel::Many(
        items.iter().map(atom_of).collect::<Result<_, _>>().ok()?,
    ))
}

/// The task and labels that the rows of a training file imply, and what joins several labels in one value.
///
/// Multi-label values are split by `separator`; without one by the evident one (see [`joined_by`]); else, if the task was asked for, by the
/// first of `,`, `|` and `;` that occurs. Nothing is split in a column that has lists.
///
/// With a map the labels are its names, as far as they occur, in its order; labels that it lacks are met in [`LabelIndex::target`].
pub(crate) fn infer(
    labels: &[&RawLabel],
    task: Option<Task>,
    separator: Option<&str>,
    map: Option<&LabelMap>,
) -> (LabelSchema, Option<String>) {
    let has_lists = labels.iter().any(|label| matches!(label, RawLabel::Many(_)));
    // `[]` among joined labels is how a row says that it has none.
    let are_lists = labels
        .iter()
        .any(|label| matches!(label, RawLabel::Many(atoms) if !atoms.is_empty()));
    let evident = if are_lists {
        None
    } else {
        separator.or_else(|| joined_by(labels))
    };
    let task = task.unwrap_or_else(|| infer_task(labels, has_lists, evident));
    match task {
        Task::Regression => (LabelSchema::regression(), None),
        Task::SingleLabel => {
            let names = ordered_names(labels.iter().flat_map(|label| label.atoms()).cloned(), map);
            (LabelSchema { task, names }, None)
        }
        Task::MultiLabel => {
            let occurring = || {
                let occurs = |candidate: &&str| labels.iter().any(|label| label.contains(candidate));
                SEPARATORS.into_iter().find(occurs).filter(|_| !are_lists)
            };
            let separator = evident.or_else(occurring);
            let names = ordered_names(labels.iter().flat_map(|label| pieces(label, separator)), map);
            (LabelSchema { task, names }, separator.map(str::to_owned))
        }
    }
}

fn infer_task(labels: &[&RawLabel], has_lists: bool, separator: Option<&str>) -> Task {
    if has_lists {
        return Task::MultiLabel;
    }
    let mut atoms = labels.iter().flat_map(|label| label.atoms());
    if atoms.clone().all(|atom| atom.integer().is_some()) {
        Task::SingleLabel
    } else if atoms.clone().all(|atom| atom.number.is_some()) {
        Task::Regression
    } else if separator.is_some_and(|separator| atoms.any(|atom| atom.text.contains(separator))) {
        Task::MultiLabel
    } else {
        Task::SingleLabel
    }
}

/// The separator by which the labels of rows are evidently joined, as in `2,3`.
///
/// Cautious, since an intent name may hold a comma: of the labels that contain the separator, every piece must be an integer, or stand
/// alone as the whole label of some row; and no label may repeat a piece.
fn joined_by(labels: &[&RawLabel]) -> Option<&'static str> {
    let distinct: BTreeSet<&str> = labels
        .iter()
        .flat_map(|label| label.atoms())
        .map(|atom| atom.text.as_str())
        .collect();
    SEPARATORS.into_iter().find(|separator| {
        let mut joined = distinct.iter().filter(|label| label.contains(separator)).peekable();
        joined.peek().is_some()
            && joined.all(|label| {
                let pieces: Vec<&str> = label.split(separator).map(str::trim).collect();
                let unique: BTreeSet<&&str> = pieces.iter().collect();
                unique.len() == pieces.len()
                    && pieces
                        .iter()
                        .all(|piece| Atom::new(piece).integer().is_some() || distinct.contains(piece))
            })
    })
}

fn pieces(label: &RawLabel, separator: Option<&str>) -> Vec<Atom> {
    match (label, separator) {
        (RawLabel::One(atom), Some(separator)) => atom
            .text
            .split(separator)
            .map(Atom::new)
            .filter(|piece| !piece.text.is_empty())
            .collect(),
        (label, _) => label.atoms().to_vec(),
    }
}

/// Unique names: in the order of the map; without one by value if all are integers, else by code point.
fn ordered_names(atoms: impl Iterator<Item = Atom>, map: Option<&LabelMap>) -> Vec<String> {
    if let Some(map) = map {
        let occurring: BTreeSet<String> = atoms.filter_map(|atom| Some(atom.mapped(Some(map))?.text)).collect();
        return map
            .names()
            .iter()
            .filter(|name| occurring.contains(*name))
            .cloned()
            .collect();
    }
    let distinct: BTreeMap<String, Option<i64>> = atoms.map(|atom| (atom.text.clone(), atom.integer())).collect();
    let integers: Option<BTreeSet<i64>> = distinct.values().copied().collect();
    match integers {
        Some(integers) => integers.into_iter().map(|integer| integer.to_string()).collect(),
        None => distinct.into_keys().collect(),
    }
}

/// Gives labels their ids.
pub(crate) struct LabelIndex<'a> {
    schema: &'a LabelSchema,
    ids: HashMap<&'a str, u32>,
    separator: Option<&'a str>,
    map: Option<&'a LabelMap>,
}

impl<'a> LabelIndex<'a> {
    pub fn new(schema: &'a LabelSchema, separator: Option<&'a str>, map: Option<&'a LabelMap>) -> Self {
        let ids = schema.names.iter().map(String::as_str).zip(0..).collect();
        Self {
            schema,
            ids,
            separator,
            map,
        }
    }

    /// The target that a label stands for.
    pub fn target(&self, label: &RawLabel, place: impl Fn() -> Box<Place>) -> Result<Target, DataError> {
        match (self.schema.task, label) {
            (Task::Regression, label) => self.value(label, place),
            (Task::SingleLabel, label) => match label.atoms() {
                [atom] => Ok(Target::Class(self.id(atom, &place)?)),
                several => Err(DataError::BadLabel {
                    place: place(),
                    found: format!("a list of {}", several.len()),
                    expected: "one label",
                    hint: "several labels a row need `task = \"multi_label\"`",
                }),
            },
            (Task::MultiLabel, label) => {
                let pieces = pieces(label, self.separator_in(label));
                let mut ids = pieces
                    .iter()
                    .map(|atom| self.id(atom, &place))
                    .collect::<Result<Vec<_>, _>>()?;
                ids.sort_unstable();
                ids.dedup();
                Ok(Target::Classes(ids))
            }
        }
    }

    /// The labels of a row that the map, if there is one, has no name for.
    pub fn unmapped(&self, label: &RawLabel) -> Vec<String> {
        let Some(map) = self.map.filter(|_| self.schema.task != Task::Regression) else {
            return Vec::new();
        };
        let separator = match self.schema.task {
            Task::MultiLabel => self.separator_in(label),
            _ => None,
        };
        let pieces = pieces(label, separator).into_iter();
        let unmapped = pieces.filter(|atom| self.find(atom).is_none() && map.name(&atom.canonical()).is_none());
        unmapped.map(|atom| atom.text).collect()
    }

    /// What joins the labels of this row: nothing if it is a known label as it stands.
    fn separator_in(&self, label: &RawLabel) -> Option<&str> {
        let RawLabel::One(atom) = label else {
            return None;
        };
        if self.find(atom).is_some() {
            return None;
        }
        self.separator
            .or_else(|| SEPARATORS.into_iter().find(|separator| atom.text.contains(separator)))
    }

    fn value(&self, label: &RawLabel, place: impl Fn() -> Box<Place>) -> Result<Target, DataError> {
        let number = match label.atoms() {
            [atom] => atom.number,
            _ => None,
        };
        number
            .map(|number| Target::Value(number as f32))
            .ok_or_else(|| DataError::BadLabel {
                place: place(),
                found: match label {
                    RawLabel::One(atom) => format!("`{}`", shortened(&atom.text)),
                    RawLabel::Many(_) => "a list".to_owned(),
                },
                expected: "a number",
                hint: "regression needs numeric labels; for names set `task = \"single_label\"`",
            })
    }

    fn find(&self, atom: &Atom) -> Option<u32> {
        let atom = atom.mapped(self.map)?;
        let by_name = self.ids.get(atom.text.as_str());
        by_name
            .or_else(|| self.ids.get(atom.integer()?.to_string().as_str()))
            .copied()
    }

    fn id(&self, atom: &Atom, place: &impl Fn() -> Box<Place>) -> Result<u32, DataError> {
        self.find(atom).ok_or_else(|| {
            let names = || self.schema.names.iter().map(String::as_str);
            let known_are_numbers = names().all(|name| name.parse::<i64>().is_ok());
            let slip = nearest(&atom.text, names()).filter(|_| !known_are_numbers);
            let hint = match (atom.integer(), slip) {
                (Some(_), _) if !known_are_numbers => {
                    "the file numbers its labels, these have names: replace the numbers first".to_owned()
                }
                (_, Some(name)) => format!("did you mean `{name}`?"),
                _ => "correct or remove the row, or train with rows of this label".to_owned(),
            };
            let (found, known) = (shortened(&atom.text), listed(names()));
            DataError::UnknownLabel {
                place: place(),
                found,
                known,
                hint,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn raw(values: &[Value]) -> Vec<RawLabel> {
        values
            .iter()
            .filter_map(|value| RawLabel::read(value).unwrap())
            .collect()
    }

    fn place() -> Box<Place> {
        Place::new("t.csv", 3, 2, Some("label".to_owned()))
    }

    /// `values` as a column: the schema it implies, and the targets.
    fn check(values: Value, task: Option<Task>, expected: &str) {
        let labels = raw(values.as_array().unwrap());
        let (schema, separator) = infer(&labels.iter().collect::<Vec<_>>(), task, None, None);
        let index = LabelIndex::new(&schema, separator.as_deref(), None);
        let targets: Vec<String> = labels
            .iter()
            .map(|label| match index.target(label, place).unwrap() {
                Target::Class(id) => id.to_string(),
                Target::Classes(ids) => format!("{ids:?}"),
                Target::Value(value) => format!("{value:?}"),
            })
            .collect();
        let seen = format!("{} {} {}", schema.task, schema.names.join("/"), targets.join(" "));
        assert_eq!(seen, expected, "{values}");
    }

    #[test]
    fn tasks_names_and_ids_are_inferred() {
        check(
            json!(["pos", "neg ", null, "", "NaN"]),
            None,
            "single_label neg/pos 1 0",
        );
        check(json!(["2   ", "0", "10", "1"]), None, "single_label 0/1/2/10 2 0 3 1");
        check(json!([1, -1, 0]), None, "single_label -1/0/1 2 0 1");
        check(json!(["1.0", "0.0", "1"]), None, "single_label 0/1 1 0 1");
        check(json!([true, false]), None, "single_label false/true 1 0");
        check(json!(["3.8", "5", "1e1"]), None, "regression score 3.8 5.0 10.0");
        check(
            json!([1, 10, 3]),
            Some(Task::Regression),
            "regression score 1.0 10.0 3.0",
        );
        check(json!(["007", "7"]), None, "single_label 007/7 0 1");
        check(json!(["8", "2,3", "2, 8"]), None, "multi_label 2/3/8 [2] [0, 1] [0, 2]");
        check(
            json!(["joy", "anger,joy", "anger"]),
            None,
            "multi_label anger/joy [1] [0, 1] [0]",
        );
        check(json!(["yes, please", "no"]), None, "single_label no/yes, please 1 0");
        check(
            json!(["yes, please", "no"]),
            Some(Task::MultiLabel),
            "multi_label no/please/yes [1, 2] [0]",
        );
        check(
            json!([["b", "a", "a"], [], "c"]),
            None,
            "multi_label a/b/c [0, 1] [] [2]",
        );
        check(
            json!(["['b', 'a']", "[]", "[\"b\"]"]),
            None,
            "multi_label a/b [0, 1] [] [1]",
        );
        check(json!([[2], [1]]), Some(Task::SingleLabel), "single_label 1/2 1 0");
        check(
            json!(["a|b", "b"]),
            Some(Task::MultiLabel),
            "multi_label a/b [0, 1] [1]",
        );
    }

    #[test]
    fn indicators_become_names() {
        let (one, zero, empty) = (json!("1"), json!(0), json!(""));
        let names = |joy: &Value, fear: &Value| {
            let label = RawLabel::read_indicators([(3, joy), (5, fear)].into_iter(), |position| position.to_string());
            label.map(|label| label.map(|label| label.atoms().iter().map(|atom| atom.text.clone()).collect::<Vec<_>>()))
        };
        assert_eq!(names(&one, &zero), Ok(Some(vec!["3".to_owned()])));
        assert_eq!(names(&zero, &zero), Ok(Some(vec![])));
        assert_eq!(names(&one, &empty), Ok(None));
        assert_eq!(names(&json!("2"), &zero), Err(3));
    }

    #[test]
    fn unknown_labels_are_named_with_the_nearest() {
        let message = |names: &[&str], found: Value| {
            let schema = LabelSchema {
                task: Task::SingleLabel,
                names: names.iter().map(|name| (*name).to_owned()).collect(),
            };
            let label = RawLabel::read(&found).unwrap().unwrap();
            LabelIndex::new(&schema, None, None)
                .target(&label, place)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&["negative", "positive"], json!("positiv")),
            "t.csv:3: row 2, column `label`: label `positiv` is not one of `negative`, `positive`\nhint: did you mean `positive`?"
        );
        assert!(message(&["negative", "positive"], json!(1)).contains("the file numbers its labels"));
        assert!(message(&["0", "1"], json!(2)).contains("correct or remove the row"));
        assert!(message(&["a", "b"], json!(["a", "b"])).contains("multi_label"));
    }

    proptest! {
        /// Every label comes back from its id under the name it had.
        #[test]
        fn names_survive_the_mapping(names in prop::collection::vec("[a-z가-힣]{1,4}( [a-z]{1,3})?", 1..20)) {
            let labels = raw(&names.iter().map(|name| json!(name)).collect::<Vec<_>>());
            prop_assume!(labels.len() == names.len());
            let (schema, _) = infer(&labels.iter().collect::<Vec<_>>(), None, None, None);
            prop_assert!(schema.names.is_sorted());
            let index = LabelIndex::new(&schema, None, None);
            for (name, label) in names.iter().zip(&labels) {
                let Target::Class(id) = index.target(label, place).unwrap() else { unreachable!() };
                prop_assert_eq!(schema.name_of(id), Some(name.as_str()));
                prop_assert_eq!(schema.id_of(name), Some(id));
            }
        }

        /// Integers, however many and whatever their gaps, keep their order.
        #[test]
        fn integers_keep_their_order(values in prop::collection::vec(-1000i64..1000, 1..50)) {
            let labels = raw(&values.iter().map(|value| json!(value)).collect::<Vec<_>>());
            let (schema, _) = infer(&labels.iter().collect::<Vec<_>>(), None, None, None);
            let index = LabelIndex::new(&schema, None, None);
            for (value, label) in values.iter().zip(&labels) {
                let Target::Class(id) = index.target(label, place).unwrap() else { unreachable!() };
                let name = schema.name_of(id).unwrap();
                prop_assert_eq!(name.parse::<i64>().unwrap(), *value);
            }
            prop_assert!(schema.names.iter().map(|name| name.parse::<i64>().unwrap()).is_sorted());
        }
    }
}
