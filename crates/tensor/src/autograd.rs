//! The reverse-mode tape: operations record what undoes them, [`Tape::backward`] plays the recording backwards.
//!
//! A tape holds about fifteen entries for each layer, because operations are coarse (`ops/`). What an operation needs for
//! its gradient lives in its entry and is freed as soon as that entry has been played.

use std::cell::RefCell;

use crate::buffer::Buffer;
use crate::cpu::{for_each_rows, reduce};
use crate::{DType, Error, Float, ParameterId, Parameters, Result, Tensor};

/// What an operation left on the tape: takes the gradient of its output and passes gradients on to its inputs.
type Backward = Box<dyn FnOnce(Tensor, &mut Gradients<'_>) -> Result<()>>;

/// Where a value came from, which is where its gradient goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// No gradient is wanted.
    Constant,
    /// The output of the entry with this number.
    Entry(usize),
    /// A trainable tensor.
    Parameter(ParameterId),
}

/// A tensor that a tape knows the origin of.
#[derive(Debug, Clone)]
pub struct Var {
    value: Tensor,
    source: Source,
}

impl Var {
    /// The tensor.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// Gives the tensor away.
    pub fn into_value(self) -> Tensor {
        self.value
    }

    /// Extents and, by their names, errors of a matrix.
    pub(crate) fn dims2(&self, operation: &'static str, what: &'static str) -> Result<[usize; 2]> {
        self.value.dims2(operation, what)
    }

    /// Whether a gradient is wanted for this value.
    pub(crate) fn needs_gradient(&self) -> bool {
        self.source != Source::Constant
    }

    /// Where its gradient goes: what an operation keeps of an input whose values it needs no more.
    pub(crate) fn destination(&self) -> Destination {
        Destination {
            source: self.source,
            shape: self.value.shape().to_vec(),
        }
    }
}

/// Where the gradient of a value goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    source: Source,
    shape: Vec<usize>,
}

impl Destination {
    /// Whether a gradient is wanted.
    pub fn is_wanted(&self) -> bool {
        self.source != Source::Constant
    }
}

/// Records operations. One tape belongs to one forward pass.
#[derive(Default)]
pub struct Tape {
    /// `None`: predict only, record nothing.
    entries: Option<RefCell<Vec<Backward>>>,
}

impl Tape {
    /// A tape for training.
    pub fn recording() -> Self {
        Self {
            entries: Some(RefCell::default()),
        }
    }

    /// A tape for prediction: values are freed as soon as the model lets go of them.
    pub fn inference() -> Self {
        Self { entries: None }
    }

    /// A value without a gradient.
    pub fn constant(&self, value: Tensor) -> Var {
        Var {
            value,
            source: Source::Constant,
        }
    }

    /// A trainable value.
    pub fn parameter(&self, parameters: &Parameters, id: ParameterId) -> Var {
        let source = if self.entries.is_some() {
            Source::Parameter(id)
        } else {
            Source::Constant
        };
        Var {
            value: parameters.get(id).clone(),
            source,
        }
    }

    /// Takes the result of an operation on `inputs`. `backward` is asked for only if one of them needs a gradient, so what
    /// it would keep alive is kept only then.
    pub(crate) fn push<F>(&self, value: Tensor, inputs: &[&Var], backward: impl FnOnce() -> F) -> Var
    where
        F: FnOnce(Tensor, &mut Gradients<'_>) -> Result<()> + 'static,
    {
        let source = match &self.entries {
            Some(entries) if inputs.iter().any(|input| input.needs_gradient()) => {
                let mut entries = entries.borrow_mut();
                entries.push(Box::new(backward()));
                Source::Entry(entries.len() - 1)
            }
            _ => Source::Constant,
        };
        Var { value, source }
    }

    /// Adds the gradient of `loss` (one element) with respect to every parameter to `parameters`.
    ///
    /// # Errors
    /// [`Error::NothingRecorded`] if `loss` depends on no parameter.
    pub fn backward(self, loss: &Var, parameters: &mut ParameterGradients) -> Result<()> {
        let (Some(entries), Source::Entry(last)) = (self.entries, loss.source) else {
            return Err(Error::NothingRecorded);
        };
        let seed = match loss.value.dtype() {
            DType::F64 => Tensor::scalar(1.0f64),
            _ => Tensor::scalar(1.0f32),
        };
        let mut entries = entries.into_inner();
        entries.truncate(last + 1);
        let mut gradients = Gradients {
            entries: vec![None; last + 1],
            parameters,
        };
        gradients.entries[last] = Some(seed);
        while let Some(backward) = entries.pop() {
            if let Some(gradient) = gradients.entries[entries.len()].take() {
                backward(gradient, &mut gradients)?;
            }
        }
        Ok(())
    }
}

/// The gradients that are on their way back.
pub struct Gradients<'a> {
    entries: Vec<Option<Tensor>>,
    parameters: &'a mut ParameterGradients,
}

impl Gradients<'_> {
    fn slot(&mut self, of: &Destination) -> Option<&mut Option<Tensor>> {
        match of.source {
            Source::Constant => None,
            Source::Entry(index) => Some(&mut self.entries[index]),
            Source::Parameter(id) => Some(&mut self.parameters.sums[id.0]),
        }
    }

    /// Adds `gradient` to what `of` has so far.
    pub(crate) fn add<S: Float>(&mut self, of: &Destination, gradient: Tensor) {
        let Some(slot) = self.slot(of) else { return };
        match slot.as_mut().and_then(|sum| sum.as_mut_slice::<S>()) {
            None => *slot = Some(gradient),
            Some(sum) => {
                let gradient = gradient.as_slice::<S>().unwrap_or_default();
                for_each_rows(
                    sum,
                    1,
                    #[inline(always)]
                    |first, block| reduce::add(block, &gradient[first..]),
                );
            }
        }
    }

    /// Lets `kernel(sum, fresh)` write the gradient of `of` in place. If `fresh`, `sum` holds nothing of meaning and is to
    /// be overwritten; otherwise it is to be added to. Not called if `of` needs no gradient.
    pub(crate) fn update<S: Float>(&mut self, of: &Destination, kernel: impl FnOnce(&mut [S], bool)) {
        let shape = &of.shape;
        let spare = match of.source {
            Source::Parameter(id) => self.parameters.spare[id.0].take(),
            _ => None,
        };
        let Some(slot) = self.slot(of) else { return };
        let fresh = slot.is_none();
        let sum = slot.get_or_insert_with(|| {
            let spare = spare.filter(|spare| spare.dtype() == S::DTYPE);
            spare.unwrap_or_else(|| Tensor::from_buffer(Buffer::<S>::scratch(shape.iter().product()), shape))
        });
        if let Some(sum) = sum.as_mut_slice::<S>() {
            kernel(sum, fresh);
        }
    }
}

/// The summed gradient of each parameter, kept between micro-batches.
#[derive(Debug, Default)]
pub struct ParameterGradients {
    sums: Vec<Option<Tensor>>,
    /// Storage of sums that were forgotten. It stays apart from that of activations: else both would take each other's
    /// place in every step, and fresh pages cost more than the room that is saved.
    spare: Vec<Option<Tensor>>,
}

impl ParameterGradients {
    /// No gradients yet.
    pub fn for_parameters(parameters: &Parameters) -> Self {
        Self {
            sums: vec![None; parameters.len()],
            spare: vec![None; parameters.len()],
        }
    }

    /// The gradient of a parameter, or `None` if no loss depended on it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor> {
        self.sums[id.0].as_ref()
    }

    /// Every gradient that exists, for writing.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ParameterId, &mut Tensor)> {
        self.sums
            .iter_mut()
            .enumerate()
            .filter_map(|(index, slot)| Some((ParameterId(index), slot.as_mut()?)))
    }

    /// Every gradient that exists.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Tensor)> {
        self.sums
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((ParameterId(index), slot.as_ref()?)))
    }

    /// Forgets all gradients, before the next step.
    pub fn clear(&mut self) {
        for (sum, spare) in self.sums.iter_mut().zip(&mut self.spare) {
            if let Some(sum) = sum.take() {
                *spare = Some(sum);
            }
        }
    }
}
