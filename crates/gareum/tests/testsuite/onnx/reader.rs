//! Reads ONNX files, knowing of the writer no more than the format.

use std::collections::HashMap;
use std::path::Path;

/// A field of a message: its number and its value.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed(f32),
}

/// The fields of a message, by their numbers.
struct Message<'a>(Vec<(u64, Field<'a>)>);

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0..10 {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than ten bytes");
}

impl<'a> Message<'a> {
    fn read(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(value)
                }
                5 => {
                    let (value, rest) = bytes.split_at(4);
                    bytes = rest;
                    Field::Fixed(f32::from_le_bytes(value.try_into().unwrap()))
                }
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = &Field<'a>> {
        self.0
            .iter()
            .filter(move |(other, _)| *other == number)
            .map(|(_, field)| field)
    }

    fn numbers(&self, number: u64) -> Vec<i64> {
        let value = |field: &Field<'_>| match field {
            Field::Number(value) => *value as i64,
            _ => panic!("field {number} is no number"),
        };
        self.all(number).map(value).collect()
    }

    fn bytes(&self, number: u64) -> Vec<&'a [u8]> {
        let value = |field: &Field<'a>| match field {
            Field::Bytes(value) => *value,
            _ => panic!("field {number} is no bytes"),
        };
        self.all(number).map(value).collect()
    }

    fn messages(&self, number: u64) -> Vec<Self> {
        self.bytes(number).into_iter().map(Self::read).collect()
    }

    fn texts(&self, number: u64) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.bytes(number).into_iter().map(text).collect()
    }

    fn text(&self, number: u64) -> String {
        self.texts(number).concat()
    }
}

/// Values of any type, as `f64`.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// What an operation is told.
#[derive(Debug, Clone)]
pub enum Attribute {
    Float(f64),
    Int(i64),
    Ints(Vec<i64>),
}

/// An operation.
#[derive(Debug)]
pub struct Node {
    pub operator: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: HashMap<String, Attribute>,
}

/// A file.
#[derive(Debug)]
pub struct Onnx {
    pub opset: i64,
    /// Domains of operators, all told.
    pub domains: Vec<String>,
    pub nodes: Vec<Node>,
    pub constants: HashMap<String, Array>,
    /// Number of `TensorProto.DataType`, of each constant.
    pub types: HashMap<String, i64>,
    /// Name, type and extents, the names of those that are not fixed.
    pub inputs: Vec<(String, i64, Vec<String>)>,
    pub outputs: Vec<(String, i64, Vec<String>)>,
}

impl Onnx {
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let model = Message::read(&bytes);
        let opsets = model.messages(8);
        let graph = &model.messages(7)[0];
        let mut onnx = Self {
            opset: opsets[0].numbers(2)[0],
            domains: opsets.iter().map(|opset| opset.text(1)).collect(),
            nodes: graph.messages(1).iter().map(node).collect(),
            constants: HashMap::new(),
            types: HashMap::new(),
            inputs: graph.messages(11).iter().map(argument).collect(),
            outputs: graph.messages(12).iter().map(argument).collect(),
        };
        onnx.domains
            .extend(graph.messages(1).iter().flat_map(|node| node.texts(7)));
        for tensor in graph.messages(5) {
            let (name, kind) = (tensor.text(8), tensor.numbers(2)[0]);
            let shape: Vec<usize> = tensor.numbers(1).iter().map(|&extent| extent as usize).collect();
            let values = match tensor.bytes(9).first() {
                Some(inside) => values(inside, kind),
                None => values(&outside(&tensor, path), kind),
            };
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
            assert!(
                onnx.constants.insert(name.clone(), Array { shape, values }).is_none(),
                "{name} twice"
            );
            onnx.types.insert(name, kind);
        }
        onnx
    }
}

fn node(message: &Message<'_>) -> Node {
    let attribute = |message: &Message<'_>| {
        let float = message.all(2).find_map(|field| match field {
            Field::Fixed(value) => Some(f64::from(*value)),
            _ => None,
        });
        let value = match (message.numbers(20)[0], float) {
            (1, Some(value)) => Attribute::Float(value),
            (2, _) => Attribute::Int(message.numbers(3)[0]),
            (7, _) => Attribute::Ints(message.numbers(8)),
            other => panic!("attribute of type {other:?}"),
        };
        (message.text(1), value)
    };
    Node {
        operator: message.text(4),
        inputs: message.texts(1),
        outputs: message.texts(2),
        attributes: message.messages(5).iter().map(attribute).collect(),
    }
}

fn argument(message: &Message<'_>) -> (String, i64, Vec<String>) {
    let tensor = &message.messages(2)[0].messages(1)[0];
    let extent = |extent: &Message<'_>| match extent.numbers(1).first() {
        Some(size) => size.to_string(),
        None => extent.text(2),
    };
    let shape = tensor.messages(2)[0].messages(1).iter().map(extent).collect();
    (message.text(1), tensor.numbers(1)[0], shape)
}

/// The values of a constant in the file beside.
fn outside(tensor: &Message<'_>, path: &Path) -> Vec<u8> {
    assert_eq!(tensor.numbers(14), [1]);
    let entries = tensor.messages(13);
    let entries: HashMap<String, String> = entries.iter().map(|entry| (entry.text(1), entry.text(2))).collect();
    let number = |key: &str| entries[key].parse::<usize>().unwrap();
    let (offset, length) = (number("offset"), number("length"));
    assert!(offset.is_multiple_of(4096), "{offset}");
    let bytes = std::fs::read(path.with_file_name(&entries["location"])).unwrap();
    bytes[offset..offset + length].to_vec()
}

fn values(bytes: &[u8], kind: i64) -> Vec<f64> {
    match kind {
        1 => bytes
            .chunks(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into())
            .collect(),
        3 => bytes.iter().map(|&byte| f64::from(byte as i8)).collect(),
        7 => bytes
            .chunks(8)
            .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f64)
            .collect(),
        other => panic!("type {other}"),
    }
}
