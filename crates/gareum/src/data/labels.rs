//! What a label is, and which number it has.
//!
//! How labels are read out of files and how a schema is inferred from them is in `label_values.rs`.

use serde::{Deserialize, Serialize};

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Exactly one of several classes.
    SingleLabel,
    /// Any number of classes, also none.
    MultiLabel,
    /// A real number.
    Regression,
}

impl std::fmt::Display for Task {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::SingleLabel => "single_label",
            Self::MultiLabel => "multi_label",
            Self::Regression => "regression",
        })
    }
}

/// The labels of a task; the position of a name is its id.
///
/// Order of inferred names: integers by value, everything else by Unicode code point (so ids do not depend on the order of rows).
/// One 0/1 column for each label: the columns in the order in which they were named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSchema {
    /// What is predicted.
    pub task: Task,
    /// Label names by id; `["score"]` for regression.
    pub names: Vec<String>,
}

impl LabelSchema {
    /// The schema of a regression.
    pub fn regression() -> Self {
        Self {
            task: Task::Regression,
            names: vec!["score".to_owned()],
        }
    }

    /// The id of a label name.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.names
            .iter()
            .position(|known| known == name)
            .and_then(|id| u32::try_from(id).ok())
    }

    /// The name of a label id.
    pub fn name_of(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(String::as_str)
    }

    /// The number of outputs a head needs: one for regression.
    pub fn num_labels(&self) -> usize {
        self.names.len()
    }

    /// How integer labels became ids, if those differ: `-1→0, 0→1, 1→2` (at most twenty, then `...`).
    pub fn mapping_note(&self) -> Option<String> {
        const SHOWN: usize = 20;
        if self.task == Task::Regression {
            return None;
        }
        let values: Vec<i64> = self.names.iter().map(|name| name.parse().ok()).collect::<Option<_>>()?;
        if values.iter().zip(0..).all(|(value, id)| *value == id) {
            return None;
        }
        let mut parts: Vec<String> = values
            .iter()
            .zip(0..SHOWN)
            .map(|(value, id)| format!("{value}→{id}"))
            .collect();
        if values.len() > SHOWN {
            parts.push("...".to_owned());
        }
        Some(parts.join(", "))
    }
}

/// The label of one example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The id of the class.
    Class(u32),
    /// The ids of the classes, sorted and unique; may be empty.
    Classes(Vec<u32>),
    /// The number.
    Value(f32),
}

impl Target {
    /// The ids of all classes; none for a number.
    pub fn ids(&self) -> &[u32] {
        match self {
            Self::Class(id) => std::slice::from_ref(id),
            Self::Classes(ids) => ids,
            Self::Value(_) => &[],
        }
    }

    /// The number of a regression.
    pub fn value(&self) -> Option<f32> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Class(_) | Self::Classes(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_is_told_only_where_ids_differ() {
        let note = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            LabelSchema {
                task: Task::SingleLabel,
                names,
            }
            .mapping_note()
        };
        assert_eq!(note(&["-1", "0", "1"]).as_deref(), Some("-1→0, 0→1, 1→2"));
        assert_eq!(note(&["0", "1", "2"]), None);
        assert_eq!(note(&["neg", "pos"]), None);
        assert_eq!(LabelSchema::regression().mapping_note(), None);
    }
}
