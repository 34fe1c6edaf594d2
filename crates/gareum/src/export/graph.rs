//! A graph of ONNX operators while it is built: every operation gives a named value, constants are added once.
//!
//! Not here: which operations a model consists of (`encoder.rs`), and how a graph is written (`file.rs`).

use std::collections::HashSet;

use tensor::Activation;

use super::file::ElementType;
use super::initializer::{Data, Initializer};

/// What an operation gives, or a constant or an input, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Value(String);

/// An operation.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub name: String,
    pub operator: &'static str,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// What an operation is told beside its inputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
}

/// An input or output of the graph.
#[derive(Debug, Clone)]
pub(super) struct Argument {
    pub name: &'static str,
    pub element_type: ElementType,
    pub shape: Vec<Dimension>,
}

/// The extent of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dimension {
    Fixed(usize),
    /// One that is known when the graph is run.
    Named(&'static str),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    nodes: Vec<Node>,
    initializers: Vec<Initializer<'a>>,
    known: HashSet<String>,
    inputs: Vec<Argument>,
    outputs: Vec<Argument>,
    /// What the names of operations begin with.
    scope: String,
}

impl<'a> Graph<'a> {
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn initializers(&self) -> &[Initializer<'a>] {
        &self.initializers
    }

    pub fn inputs(&self) -> &[Argument] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[Argument] {
        &self.outputs
    }

    /// Makes the names of operations from here on begin with `scope`.
    pub fn enter(&mut self, scope: &str) {
        scope.clone_into(&mut self.scope);
    }

    /// An input of whole numbers, `[batch, sequence]`.
    pub fn input(&mut self, name: &'static str) -> Value {
        self.inputs.push(Argument {
            name,
            element_type: ElementType::Int64,
            shape: vec![Dimension::Named("batch_size"), Dimension::Named("sequence_length")],
        });
        Value(name.to_owned())
    }

    /// Makes a value the output `[batch, columns]`.
    pub fn output(&mut self, name: &'static str, value: &Value, columns: usize) {
        self.nodes.push(Node {
            name: format!("/{name}"),
            operator: "Identity",
            inputs: vec![value.0.clone()],
            outputs: vec![name.to_owned()],
            attributes: Vec::new(),
        });
        self.outputs.push(Argument {
            name,
            element_type: ElementType::Float,
            shape: vec![Dimension::Named("batch_size"), Dimension::Fixed(columns)],
        });
    }

    /// Adds a constant; one of a name is added once.
    pub fn constant(&mut self, name: String, shape: Vec<usize>, data: Data<'a>) -> Value {
        if self.known.insert(name.clone()) {
            self.initializers.push(Initializer {
                name: name.clone(),
                shape,
                data,
            });
        }
        Value(name)
    }

    /// A constant array of whole numbers.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let name = values.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        self.constant(format!("ints[{name}]"), vec![values.len()], Data::I64(values.to_vec()))
    }

    /// A constant whole number.
    pub fn int(&mut self, value: i64) -> Value {
        self.constant(format!("int[{value}]"), vec![], Data::I64(vec![value]))
    }

    /// A constant number.
    pub fn float(&mut self, value: f32) -> Value {
        self.constant(format!("float[{value:e}]"), vec![], Data::F32(vec![value]))
    }

    /// An operation with one output.
    pub fn operation(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let [output] = self.operation_with(operator, inputs, attributes, [""]);
        output
    }

    /// An operation with several outputs, whose names end in these.
    pub fn operation_with<const OUTPUTS: usize>(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
        outputs: [&str; OUTPUTS],
    ) -> [Value; OUTPUTS] {
        let name = format!("{}/{operator}_{}", self.scope, self.nodes.len());
        let outputs = outputs.map(|output| format!("{name}_output{output}"));
        self.nodes.push(Node {
            name,
            operator,
            inputs: inputs.iter().map(|value| value.0.clone()).collect(),
            outputs: outputs.to_vec(),
            attributes: attributes.to_vec(),
        });
        outputs.map(Value)
    }

    pub fn add(&mut self, one: &Value, other: &Value) -> Value {
        self.operation("Add", &[one, other], &[])
    }

    pub fn sub(&mut self, one: &Value, other: &Value) -> Value {
        self.operation("Sub", &[one, other], &[])
    }

    pub fn mul(&mut self, one: &Value, other: &Value) -> Value {
        self.operation("Mul", &[one, other], &[])
    }

    pub fn div(&mut self, one: &Value, other: &Value) -> Value {
        self.operation("Div", &[one, other], &[])
    }

    pub fn matmul(&mut self, one: &Value, other: &Value) -> Value {
        self.operation("MatMul", &[one, other], &[])
    }

    pub fn cast(&mut self, value: &Value, to: ElementType) -> Value {
        self.operation("Cast", &[value], &[("to", Attribute::Int(to as i64))])
    }

    /// The same values under another shape: 0 keeps an extent, −1 stands for what is left.
    pub fn reshape(&mut self, value: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.operation("Reshape", &[value, &shape], &[])
    }

    pub fn transpose(&mut self, value: &Value, order: &[i64]) -> Value {
        self.operation("Transpose", &[value], &[("perm", Attribute::Ints(order.to_vec()))])
    }

    pub fn unsqueeze(&mut self, value: &Value, axes: &[i64]) -> Value {
        let axes = self.ints(axes);
        self.operation("Unsqueeze", &[value, &axes], &[])
    }

    pub fn concat(&mut self, values: &[&Value], axis: i64) -> Value {
        self.operation("Concat", values, &[("axis", Attribute::Int(axis))])
    }

    /// The rows of a table, or with another axis, its columns.
    pub fn gather(&mut self, table: &Value, indices: &Value, axis: i64) -> Value {
        self.operation("Gather", &[table, indices], &[("axis", Attribute::Int(axis))])
    }

    /// What lies between two indices along an axis; both are arrays of one number.
    pub fn slice(&mut self, value: &Value, start: &Value, end: &Value, axis: i64) -> Value {
        let axes = self.ints(&[axis]);
        self.operation("Slice", &[value, start, end, &axes], &[])
    }

    /// As [`Self::slice`], with numbers that are known.
    pub fn slice_at(&mut self, value: &Value, start: i64, end: i64, axis: i64) -> Value {
        let (start, end) = (self.ints(&[start]), self.ints(&[end]));
        self.slice(value, &start, &end, axis)
    }

    /// A non-linearity, in the form in which ONNX Runtime finds it to make one operation of it.
    pub fn activate(&mut self, value: &Value, activation: Activation) -> Value {
        match activation {
            Activation::Identity => value.clone(),
            Activation::Relu => self.operation("Relu", &[value], &[]),
            Activation::Tanh => self.operation("Tanh", &[value], &[]),
            Activation::Silu => {
                let sigmoid = self.operation("Sigmoid", &[value], &[]);
                self.mul(value, &sigmoid)
            }
            Activation::Gelu => {
                let (root, one, half) = (self.float(std::f32::consts::SQRT_2), self.float(1.0), self.float(0.5));
                let scaled = self.div(value, &root);
                let erf = self.operation("Erf", &[&scaled], &[]);
                let sum = self.add(&erf, &one);
                let product = self.mul(value, &sum);
                self.mul(&product, &half)
            }
            Activation::GeluTanh => {
                let numbers = [3.0, 0.044_715, 0.797_884_6, 1.0, 0.5];
                let [three, cubic, root, one, half] = numbers.map(|number| self.float(number));
                let cube = self.operation("Pow", &[value, &three], &[]);
                let cube = self.mul(&cube, &cubic);
                let sum = self.add(value, &cube);
                let scaled = self.mul(&sum, &root);
                let tanh = self.operation("Tanh", &[&scaled], &[]);
                let sum = self.add(&tanh, &one);
                let halved = self.mul(value, &half);
                self.mul(&halved, &sum)
            }
        }
    }
}
