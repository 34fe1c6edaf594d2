//! The named tensors of a model: those that training changes, and those that are frozen.

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
    /// Of each whether training leaves it as it is.
    frozen: Vec<bool>,
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
        self.frozen.push(false);
        ParameterId(index)
    }

    /// Whether training changes a tensor. One that it does not gets no gradient, and so none of what an optimiser keeps.
    pub fn is_trainable(&self, id: ParameterId) -> bool {
        !self.frozen[id.0]
    }

    /// Makes training change a tensor, as it does unless told otherwise, or leave it as it is.
    pub fn set_trainable(&mut self, id: ParameterId, is_trainable: bool) {
        self.frozen[id.0] = !is_trainable;
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

    /// Forgets all but the first `len` tensors.
    pub fn truncate(&mut self, len: usize) {
        self.names.truncate(len);
        self.values.truncate(len);
        self.frozen.truncate(len);
        self.by_name.retain(|_, index| *index < len);
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

    /// How many numbers those that training changes hold together.
    pub fn trainable_element_count(&self) -> usize {
        let trainable = self.iter().filter(|(id, _, _)| self.is_trainable(*id));
        trainable.map(|(_, _, value)| value.len()).sum()
    }

    /// Widens those of a narrow type.
    pub fn dequantize(&mut self, dtype: DType) {
        let narrow = self.values.iter_mut().filter(|value| value.dtype() == dtype);
        narrow.for_each(|value| *value = value.to_dtype(DType::F32));
    }

    /// The same parameters, under the same ids, in another floating-point type.
    pub fn to_dtype(&self, dtype: DType) -> Self {
        Self {
            values: self.values.iter().map(|value| value.to_dtype(dtype)).collect(),
            ..self.clone()
        }
    }
}
