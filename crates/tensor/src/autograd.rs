//! The reverse-mode tape: operations record what undoes them, [`Tape::backward`] plays the recording backwards.
//!
//! A tape holds about fifteen entries for each layer, because operations are coarse (`ops/`). What an operation needs for
//! its gradient lives in its entry and is freed as soon as that entry has been played. A whole piece of work can be one
//! entry that keeps only its inputs and is computed again when it is played: [`Tape::recomputed`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use crate::buffer::Buffer;
use crate::cpu::{for_each_rows, reduce};
use crate::ops::with_float;
use crate::{DType, Error, Float, ParameterId, Parameters, Real, Result, Tensor};

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

    /// The tensor, and where its gradient goes: for an operation that changes it in place. Nothing is copied if nobody else
    /// has the tensor.
    pub(crate) fn take(self) -> (Tensor, Destination) {
        let destination = self.destination();
        (self.value, destination)
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
    recomputes: bool,
    /// Records nothing, but knows which values would need a gradient.
    marks: bool,
}

impl Tape {
    /// A tape for training.
    pub fn recording() -> Self {
        Self {
            entries: Some(RefCell::default()),
            ..Self::default()
        }
    }

    /// A tape for training that keeps less and takes longer: what is run by [`Tape::recomputed`] is run again on the way
    /// back.
    pub fn recomputing() -> Self {
        Self {
            recomputes: true,
            ..Self::recording()
        }
    }

    /// A tape for prediction: values are freed as soon as the model lets go of them.
    pub fn inference() -> Self {
        Self::default()
    }

    /// Whether values are kept for gradients.
    pub fn records(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether [`Tape::recomputed`] runs its work again on the way back.
    pub fn recomputes(&self) -> bool {
        self.recomputes
    }

    /// A value without a gradient.
    pub fn constant(&self, value: Tensor) -> Var {
        Var {
            value,
            source: Source::Constant,
        }
    }

    /// A value that is no parameter and whose gradient is wanted all the same: [`Tape::backward_from`] leaves it in what is returned with
    /// it. On a tape that records nothing there never is one.
    pub fn variable(&self, value: Tensor) -> (Var, Rc<RefCell<Option<Tensor>>>) {
        let gradient = Rc::new(RefCell::new(None));
        let source = match &self.entries {
            None => Source::Constant,
            Some(entries) => {
                let mut entries = entries.borrow_mut();
                let kept = Rc::clone(&gradient);
                entries.push(Box::new(move |gradient, _| {
                    *kept.borrow_mut() = Some(gradient);
                    Ok(())
                }));
                Source::Entry(entries.len() - 1)
            }
        };
        (Var { value, source }, gradient)
    }

    /// A parameter; no gradient is taken of one that is frozen.
    pub fn parameter(&self, parameters: &Parameters, id: ParameterId) -> Var {
        let source = if (self.entries.is_some() || self.marks) && parameters.is_trainable(id) {
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
        self.push_if(inputs.iter().any(|input| input.needs_gradient()), value, backward)
    }

    /// As [`Tape::push`], told whether an input needs a gradient.
    pub(crate) fn push_if<F>(&self, is_wanted: bool, value: Tensor, backward: impl FnOnce() -> F) -> Var
    where
        F: FnOnce(Tensor, &mut Gradients<'_>) -> Result<()> + 'static,
    {
        let source = match &self.entries {
            Some(entries) if is_wanted => {
                let mut entries = entries.borrow_mut();
                entries.push(Box::new(backward()));
                Source::Entry(entries.len() - 1)
            }
            None if is_wanted && self.marks => Source::Entry(usize::MAX),
            _ => Source::Constant,
        };
        Var { value, source }
    }

    /// Runs `forward` on `inputs`. On a tape made by [`Tape::recomputing`], only the inputs are kept, and on the way back
    /// `forward` is run once more to get at its gradient (Chen et al. 2016, <https://arxiv.org/abs/1604.06174>): it must do
    /// the same each time. The gradients are those of any other tape, to the bit.
    ///
    /// # Errors
    /// Those of `forward`, and [`Error::NothingRecorded`] in [`Tape::backward`] if its result is no result of an operation.
    pub fn recomputed<F>(&self, inputs: &[&Var], forward: F) -> Result<Var>
    where
        F: Fn(&Self, &[Var]) -> Result<Var> + 'static,
    {
        let inputs: Vec<Var> = inputs.iter().map(|&input| input.clone()).collect();
        let Some(entries) = self.entries.as_ref().filter(|_| self.recomputes) else {
            return forward(self, &inputs);
        };
        // Parameters that only `forward` knows may need a gradient where no input does.
        let marking = Self {
            marks: true,
            ..Self::default()
        };
        let result = forward(&marking, &inputs)?;
        let needs_gradient = result.needs_gradient();
        let value = result.into_value();
        if !needs_gradient {
            return Ok(self.constant(value));
        }
        let mut entries = entries.borrow_mut();
        entries.push(Box::new(move |gradient, gradients| {
            let tape = Self::recording();
            let leaves: Vec<Var> = inputs.iter().map(|input| tape.leaf(input)).collect();
            // The result itself is of no use, and as large as an input.
            let source = forward(&tape, &leaves)?.source;
            drop(leaves);
            let Source::Entry(last) = source else {
                return Err(Error::NothingRecorded);
            };
            let passed_on = tape.play(last, gradient, gradients.parameters, inputs.len())?;
            for (input, gradient) in inputs.iter().zip(passed_on) {
                if let Some(gradient) = gradient {
                    with_float!("recomputed", gradient, S => { gradients.add::<S>(&input.destination(), gradient); Ok(()) })?;
                }
            }
            Ok(())
        }));
        let source = Source::Entry(entries.len() - 1);
        Ok(Var { value, source })
    }

    /// The input of work that is recorded again. It gets an entry that does nothing, in whose slot its gradient stays, if
    /// that is where its gradient goes.
    fn leaf(&self, input: &Var) -> Var {
        let mut leaf = input.clone();
        if let Some(entries) = &self.entries {
            let mut entries = entries.borrow_mut();
            entries.push(Box::new(|_, _| Ok(())));
            if let Source::Entry(index) = &mut leaf.source {
                *index = entries.len() - 1;
            }
        }
        leaf
    }

    /// Adds the gradient of `loss` (one element) with respect to every parameter to `parameters`.
    ///
    /// # Errors
    /// [`Error::NothingRecorded`] if `loss` depends on no parameter.
    pub fn backward(self, loss: &Var, parameters: &mut ParameterGradients) -> Result<()> {
        let Source::Entry(last) = loss.source else {
            return Err(Error::NothingRecorded);
        };
        let seed = match loss.value.dtype() {
            DType::F64 => Tensor::scalar(1.0f64),
            _ => Tensor::scalar(1.0f32),
        };
        self.play(last, seed, parameters, 0)?;
        Ok(())
    }

    /// As [`Tape::backward`] for a result of any shape, of which `gradient` is the gradient: what is differentiated is the sum of the
    /// products of both.
    ///
    /// # Errors
    /// As there, and [`Error::Shape`] or [`Error::DType`] if the two are not of the same.
    pub fn backward_from(self, result: &Var, gradient: Tensor, parameters: &mut ParameterGradients) -> Result<()> {
        const NAME: &str = "backward_from";
        let Source::Entry(last) = result.source else {
            return Err(Error::NothingRecorded);
        };
        if gradient.shape() != result.value.shape() {
            let expected = format_args!("{:?}", result.value.shape()).to_string();
            return Err(Error::shape(NAME, "gradient", gradient.shape(), expected));
        }
        with_float!(NAME, result.value, S => gradient.slice::<S>(NAME, "gradient").map(|_| ()))?;
        self.play(last, gradient, parameters, 0)?;
        Ok(())
    }

    /// Plays the entries from `last` back, without the first `leaves`, whose gradients are returned.
    fn play(
        self,
        last: usize,
        gradient: Tensor,
        parameters: &mut ParameterGradients,
        leaves: usize,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut entries = self.entries.map(RefCell::into_inner).unwrap_or_default();
        entries.truncate(last + 1);
        let mut gradients = Gradients {
            entries: vec![None; last + 1],
            parameters,
        };
        gradients.entries[last] = Some(gradient);
        while entries.len() > leaves
            && let Some(backward) = entries.pop()
        {
            if let Some(gradient) = gradients.entries[entries.len()].take() {
                backward(gradient, &mut gradients)?;
            }
        }
        Ok(gradients.entries)
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
            Source::Parameter(id) => {
                self.parameters.rows[id.0] = None;
                self.parameters.spare[id.0].take().map(|spare| spare.values)
            }
            _ => None,
        };
        let Some(slot) = self.slot(of) else { return };
        let fresh = slot.is_none();
        let sum = slot.get_or_insert_with(|| {
            let spare = spare.filter(|spare| spare.dtype() == S::DTYPE);
            spare.unwrap_or_else(|| {
                let len = shape.iter().product();
                let lasts = matches!(of.source, Source::Parameter(_));
                let storage = if lasts {
                    Buffer::<S>::lasting_zeros
                } else {
                    Buffer::scratch
                };
                Tensor::from_buffer(storage(len), shape)
            })
        });
        if let Some(sum) = sum.as_mut_slice::<S>() {
            kernel(sum, fresh);
        }
    }

    /// Adds to some rows of the gradient of `of`, a matrix: `kernel` gets all of it, zeros where nothing was added, and changes
    /// no other rows than these. Of a table with many rows, the others are then never touched.
    pub(crate) fn update_rows<R: Real>(&mut self, of: &Destination, rows: &[u32], kernel: impl FnOnce(&mut [R])) {
        if let Source::Parameter(id) = of.source
            && self.parameters.sums[id.0].is_none()
        {
            let zeros = self.parameters.spare[id.0].take().filter(|spare| spare.is_zero);
            let zeros = zeros
                .map(|spare| spare.values)
                .filter(|zeros| zeros.dtype() == R::DTYPE);
            let zeros = zeros.unwrap_or_else(|| {
                Tensor::from_buffer(Buffer::<R>::lasting_zeros(of.shape.iter().product()), &of.shape)
            });
            self.parameters.sums[id.0] = Some(zeros);
            self.parameters.rows[id.0] = Some(BTreeSet::new());
        }
        if let Source::Parameter(id) = of.source
            && let Some(touched) = &mut self.parameters.rows[id.0]
        {
            touched.extend(rows);
            if let Some(sum) = self.parameters.sums[id.0]
                .as_mut()
                .and_then(|sum| sum.as_mut_slice::<R>())
            {
                kernel(sum);
            }
            return;
        }
        self.update::<R>(of, |sum, fresh| {
            if fresh {
                sum.fill(R::ZERO);
            }
            kernel(sum);
        });
    }
}

/// The summed gradient of each parameter, kept between micro-batches.
#[derive(Debug, Default)]
pub struct ParameterGradients {
    sums: Vec<Option<Tensor>>,
    /// Rows outside of which a sum is zero, if it has been added to by rows only.
    rows: Vec<Option<BTreeSet<u32>>>,
    /// Storage of sums that were forgotten, for the next step.
    spare: Vec<Option<Spare>>,
}

#[derive(Debug)]
struct Spare {
    values: Tensor,
    is_zero: bool,
}

impl ParameterGradients {
    /// No gradients yet.
    pub fn for_parameters(parameters: &Parameters) -> Self {
        Self {
            sums: vec![None; parameters.len()],
            rows: vec![None; parameters.len()],
            spare: (0..parameters.len()).map(|_| None).collect(),
        }
    }

    /// The gradient of a parameter, or `None` if no loss depended on it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor> {
        self.sums[id.0].as_ref()
    }

    /// Every gradient that exists.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Tensor)> {
        self.sums
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((ParameterId(index), slot.as_ref()?)))
    }

    /// The parts of a gradient beside which it is zero, in order: ranges of its elements.
    pub(crate) fn nonzero(&self, id: ParameterId) -> Vec<Range<usize>> {
        let Some(sum) = &self.sums[id.0] else {
            return Vec::new();
        };
        match (&self.rows[id.0], sum.shape()) {
            (Some(rows), &[_, columns]) => rows
                .iter()
                .map(|&row| row as usize * columns..(row as usize + 1) * columns)
                .collect(),
            _ => std::iter::once(0..sum.len()).collect(),
        }
    }

    /// Forgets all gradients, before the next step.
    pub fn clear(&mut self) {
        fn clear_rows<R: Real>(sum: &mut Tensor, ranges: &[Range<usize>]) {
            let values = sum.as_mut_slice::<R>().unwrap_or_default();
            ranges.iter().for_each(|range| values[range.clone()].fill(R::ZERO));
        }
        for index in 0..self.sums.len() {
            let ranges = self.rows[index].is_some().then(|| self.nonzero(ParameterId(index)));
            self.rows[index] = None;
            let Some(mut values) = self.sums[index].take() else {
                continue;
            };
            if let Some(ranges) = &ranges {
                match values.dtype() {
                    DType::F64 => clear_rows::<f64>(&mut values, ranges),
                    _ => clear_rows::<f32>(&mut values, ranges),
                }
            }
            let is_zero = ranges.is_some();
            self.spare[index] = Some(Spare { values, is_zero });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Affine;
    use crate::ops::testing::normal;
    use crate::{Activation, Dropout, ops};

    /// Two parameters, used by every layer.
    fn parameters() -> (Parameters, [ParameterId; 2]) {
        let mut parameters = Parameters::default();
        let ids = [(1, "first"), (2, "second")].map(|(seed, name)| {
            let value = normal(seed, &[6, 6]).to_dtype(DType::F32);
            parameters.add(name, value)
        });
        (parameters, ids)
    }

    /// One layer, with a residual connection and a dropout mask of its own.
    fn layer(tape: &Tape, parameters: &Parameters, input: &Var, residual: &Var, site: u64) -> Result<Var> {
        let [first, second] = ["first", "second"]
            .map(|name| parameters.find(name).unwrap())
            .map(|id| tape.parameter(parameters, id));
        let inner = {
            let parts = [Affine {
                weight: &first,
                bias: None,
            }];
            ops::activate(
                tape,
                &ops::linear(tape, input, Activation::Identity, &parts)?,
                Activation::Gelu,
            )?
        };
        let inner = ops::dropout(tape, &inner, Dropout::new(0.3, 1, 2, site, 0))?;
        let output = ops::linear(
            tape,
            &inner,
            Activation::Tanh,
            &[Affine {
                weight: &second,
                bias: None,
            }],
        )?;
        let ones = tape.constant(Tensor::from_vec(vec![1.0f32; 6], &[6])?);
        let zeros = tape.constant(Tensor::zeros::<f32>(&[6]));
        ops::residual_dropout_norm(tape, &output, residual, &ones, &zeros, 1e-5, None)
    }

    /// The bits of the loss and of both gradients after three layers; the second takes its input twice, the third takes a
    /// parameter.
    fn run(tape: Tape) -> Vec<u32> {
        let (parameters, [first, second]) = parameters();
        let start = tape.parameter(&parameters, first);
        let constant = tape.constant(normal(3, &[6, 6]).to_dtype(DType::F32));
        let mut hidden = start.clone();
        for (site, residual) in [Some(&constant), None, Some(&start)].into_iter().enumerate() {
            let (residual, parameters) = (residual.unwrap_or(&hidden).clone(), parameters.clone());
            let forward =
                move |tape: &Tape, inputs: &[Var]| layer(tape, &parameters, &inputs[0], &inputs[1], site as u64);
            hidden = tape.recomputed(&[&hidden, &residual], forward).unwrap();
        }
        let loss = ops::mean_squared_error(&tape, &hidden, &[0.5; 36], 3.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        // As for the second part of a batch: there are gradients already.
        gradients.sums[second.0] = Some(normal(4, &[6, 6]).to_dtype(DType::F32));
        tape.backward(&loss, &mut gradients).unwrap();
        let tensors = [Some(loss.value()), gradients.get(first), gradients.get(second)];
        let bits = |tensor: Option<&Tensor>| tensor.unwrap().to_f32_vec().into_iter().map(f32::to_bits);
        tensors.into_iter().flat_map(bits).collect()
    }

    #[test]
    fn what_is_recomputed_has_the_same_gradients_to_the_bit() {
        let (kept, recomputed) = (run(Tape::recording()), run(Tape::recomputing()));
        assert!(kept.len() == 73 && kept == recomputed);
    }

    #[test]
    fn parameters_within_get_gradients_even_if_no_input_does() {
        let (parameters, [first, _]) = parameters();
        let tape = Tape::recomputing();
        let input = tape.constant(normal(3, &[6, 6]).to_dtype(DType::F32));
        let inner = parameters.clone();
        let output = tape
            .recomputed(&[&input], move |tape, inputs| {
                // Work within work.
                let inner = inner.clone();
                tape.recomputed(&[&inputs[0]], move |tape, inputs| {
                    layer(tape, &inner, &inputs[0], &inputs[0], 0)
                })
            })
            .unwrap();
        let loss = ops::mean_squared_error(&tape, &output, &[0.5; 36], 3.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        tape.backward(&loss, &mut gradients).unwrap();
        assert!(
            gradients
                .get(first)
                .unwrap()
                .to_f64_vec()
                .iter()
                .any(|&value| value != 0.0)
        );
    }

    #[test]
    fn work_that_hands_on_its_input_hands_on_the_gradient() {
        let (parameters, [first, _]) = parameters();
        let gradient = |tape: Tape| {
            let start = tape.parameter(&parameters, first);
            let hidden = ops::linear(
                &tape,
                &start,
                Activation::Tanh,
                &[Affine {
                    weight: &start,
                    bias: None,
                }],
            )
            .unwrap();
            let same = tape.recomputed(&[&hidden], |_, inputs| Ok(inputs[0].clone())).unwrap();
            let loss = ops::mean_squared_error(&tape, &same, &[0.5; 36], 3.0).unwrap();
            let mut gradients = ParameterGradients::for_parameters(&parameters);
            tape.backward(&loss, &mut gradients).unwrap();
            gradients.get(first).unwrap().to_f64_vec()
        };
        assert_eq!(gradient(Tape::recomputing()), gradient(Tape::recording()));
    }

    #[test]
    fn values_that_are_no_parameters_can_have_gradients() {
        let (mut parameters, [first, second]) = parameters();
        let value = normal(3, &[6, 6]).to_dtype(DType::F32);
        let weights = normal(5, &[6, 6]).to_dtype(DType::F32);
        let outputs = |tape: &Tape, parameters: &Parameters, input: &Var| {
            let hidden = layer(tape, parameters, input, input, 0).unwrap();
            layer(tape, parameters, &hidden, input, 1).unwrap()
        };
        // As a parameter.
        let input = parameters.add("input", value.clone());
        let tape = Tape::recording();
        let result = outputs(&tape, &parameters, &tape.parameter(&parameters, input));
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        tape.backward_from(&result, weights.clone(), &mut gradients).unwrap();
        let expected = gradients.get(input).unwrap().to_f32_vec();
        // As none, beside frozen ones.
        parameters.set_trainable(first, false);
        parameters.set_trainable(second, false);
        let tape = Tape::recording();
        let (input, gradient) = tape.variable(value.clone());
        let result = outputs(&tape, &parameters, &input);
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        tape.backward_from(&result, weights.clone(), &mut gradients).unwrap();
        assert_eq!(gradient.borrow().as_ref().unwrap().to_f32_vec(), expected);
        assert_eq!(gradients.iter().count(), 0);
        // Where nothing is recorded, or what is given does not fit.
        let tape = Tape::inference();
        let (input, gradient) = tape.variable(value.clone());
        let result = outputs(&tape, &parameters, &input);
        let refused = tape.backward_from(&result, weights.clone(), &mut gradients);
        assert_eq!(refused, Err(Error::NothingRecorded));
        assert!(gradient.borrow().is_none());
        for wrong in [Tensor::zeros::<f32>(&[6]), weights.to_dtype(DType::F64)] {
            let tape = Tape::recording();
            let (input, _) = tape.variable(value.clone());
            let result = outputs(&tape, &parameters, &input);
            assert!(tape.backward_from(&result, wrong, &mut gradients).is_err());
        }
    }

    #[test]
    fn work_whose_result_is_no_result_of_an_operation_is_refused() {
        let (parameters, _) = parameters();
        let tape = Tape::recomputing();
        let value = normal(3, &[6, 6]).to_dtype(DType::F32);
        let output = tape
            .recomputed(&[], move |tape, _| Ok(tape.constant(value.clone())))
            .unwrap();
        let loss = ops::mean_squared_error(&tape, &output, &[0.5; 36], 3.0).unwrap();
        let mut gradients = ParameterGradients::for_parameters(&parameters);
        assert_eq!(tape.backward(&loss, &mut gradients), Err(Error::NothingRecorded));
    }
}
