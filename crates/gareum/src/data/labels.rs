//! What a label is, and which number it has.

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

/// The labels of a task; the position of a name is its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSchema {
    /// What is predicted.
    pub task: Task,
    /// Label names by id. Inferred ones are sorted: integers by value, everything else by Unicode code point. `["score"]` for regression.
    pub names: Vec<String>,
}

impl LabelSchema {
    /// The id of a label name.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.names.iter().position(|known| known == name).map(|id| id as u32)
    }

    /// The number of outputs a head needs: one for regression.
    pub fn num_labels(&self) -> usize {
        self.names.len()
    }

    /// How integer labels became ids, if not trivially: `-1→0, 0→1, 1→2`.
    pub fn mapping_note(&self) -> Option<String> {
        todo!()
    }
}

/// The label of one example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// The id of the class.
    Class(u32),
    /// The ids of the classes, sorted and unique; may be empty.
    Classes(Vec<u32>),
    /// The number.
    Value(f32),
}
