//! The named tensors that training changes.

use std::collections::HashMap;

use crate::{DType, Tensor};

/// Points at one tensor of a [`Parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub(crate) usize);

/// Named tensors, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    names: Vec<String>,
    values: Vec<Tensor>,
    by_name: HashMap<String, usize>,
}

impl Parameters {
    /// Adds a tensor; a name that is there already is replaced and keeps its id.
    pub fn add(&mut self, name: impl Into<String>, value: Tensor) -> ParameterId {
        let name = name.into();
        if let Some(&index) = self.by_name.get(&name) {
            self.values[index] = value;
            return ParameterId(index);
        }
        let index = self.values.len();
        self.by_name.insert(name.clone(), index);
        self.names.push(name);
        self.values.push(value);
        ParameterId(index)
    }

    /// The id behind a name.
    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.by_name.get(name).copied().map(ParameterId)
    }

    /// The name behind an id.
    pub fn name(&self, id: ParameterId) -> &str {
        &self.names[id.0]
    }

    /// The tensor behind an id.
    pub fn get(&self, id: ParameterId) -> &Tensor {
        &self.values[id.0]
    }

    /// The tensor behind an id, for writing.
    pub fn get_mut(&mut self, id: ParameterId) -> &mut Tensor {
        &mut self.values[id.0]
    }

    /// Every parameter in order.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &str, &Tensor)> {
        self.names
            .iter()
            .zip(&self.values)
            .enumerate()
            .map(|(index, (name, value))| (ParameterId(index), name.as_str(), value))
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many numbers all tensors hold together.
    pub fn element_count(&self) -> usize {
        self.values.iter().map(Tensor::len).sum()
    }

    /// The same parameters, under the same ids, in another floating-point type.
    pub fn to_dtype(&self, dtype: DType) -> Self {
        Self {
            values: self.values.iter().map(|value| value.to_dtype(dtype)).collect(),
            ..self.clone()
        }
    }
}
