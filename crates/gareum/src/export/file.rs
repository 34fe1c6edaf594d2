//! ONNX files: a graph as the messages of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>), of which a model
//! needs a few fields. Constants are written one after another, straight from where they are.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::graph::{Argument, Attribute, Dimension, Graph, Node};
use super::initializer::Initializer;
use super::protobuf::Message;
use crate::files::{self, WriteError};

/// The version of the format that came with [`OPSET`].
const IR_VERSION: i64 = 8;

/// The version of the operators: the first with `LayerNormalization`, so that old runtimes open the file too.
pub(super) const OPSET: i64 = 17;

/// The largest message that readers of protocol buffers take, less some room for what is not counted.
pub(super) const LARGEST_FILE: u64 = (1 << 31) - (1 << 20);

/// Constants of at least so many bytes stand in the other file, if there is one.
const LEAST_EXTERNAL: u64 = 1024;

/// Where constants begin in the other file: so that they can be mapped into memory.
const ALIGNMENT: u64 = 4096;

/// What numbers are, by the number that `TensorProto.DataType` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Int64 = 7,
    Bool = 9,
}

impl ElementType {
    /// Bytes of one.
    pub fn size(self) -> u64 {
        match self {
            Self::Float => 4,
            Self::Uint8 | Self::Int8 | Self::Bool => 1,
            Self::Int64 => 8,
        }
    }
}

/// Writes a graph, under another name that is then changed. If the file would be larger than `largest`, large constants go to a file beside
/// it, with `_data` behind the name. Returns the bytes of both.
pub(super) fn write(graph: &Graph<'_>, path: &Path, largest: u64) -> Result<[u64; 2], WriteError> {
    let data_path = path.with_file_name(data_name(path));
    let encoded = Encoded::new(graph, None);
    if encoded.len() <= largest {
        files::replace_atomically(path, |temporary| encoded.write(temporary))?;
        remove_file(&data_path)?;
        return Ok([encoded.len(), 0]);
    }
    let name = data_name(path);
    let encoded = Encoded::new(graph, Some(&name));
    files::replace_atomically(&data_path, |temporary| encoded.write_data(temporary))?;
    files::replace_atomically(path, |temporary| encoded.write(temporary))?;
    Ok([encoded.len(), encoded.data_length])
}

/// Removes what was written under a name, if anything was.
pub(super) fn remove(path: &Path) -> Result<(), WriteError> {
    remove_file(path)?;
    remove_file(&path.with_file_name(data_name(path)))
}

fn remove_file(path: &Path) -> Result<(), WriteError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WriteError::new(path, &error)),
        _ => Ok(()),
    }
}

/// The name of the file of constants beside another.
fn data_name(path: &Path) -> String {
    format!("{}_data", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Everything but the values of constants.
struct Encoded<'a> {
    /// What stands before the graph, its tag and length included.
    model: Message,
    /// The fields of the graph before its constants.
    nodes: Message,
    constants: Vec<Constant<'a>>,
    /// The fields of the graph behind them.
    arguments: Message,
    data_length: u64,
}

struct Constant<'a> {
    /// The fields of the tensor, down to the length of its values if these follow.
    head: Message,
    initializer: &'a Initializer<'a>,
    /// Where the values are in the other file.
    offset: Option<u64>,
}

impl Constant<'_> {
    /// Bytes of the tensor in this file.
    fn length(&self) -> u64 {
        match self.offset {
            None => self.head.len() + self.initializer.bytes(),
            Some(_) => self.head.len(),
        }
    }

    /// What stands before them.
    fn tag(&self) -> Message {
        let mut tag = Message::default();
        tag.begin(5, self.length());
        tag
    }
}

impl<'a> Encoded<'a> {
    fn new(graph: &'a Graph<'a>, data_name: Option<&str>) -> Self {
        let mut nodes = Message::default();
        for node in graph.nodes() {
            nodes.message(1, &node_message(node));
        }
        nodes.text(2, "classifier");
        let mut arguments = Message::default();
        graph
            .inputs()
            .iter()
            .for_each(|input| arguments.message(11, &argument_message(input)));
        graph
            .outputs()
            .iter()
            .for_each(|output| arguments.message(12, &argument_message(output)));
        let mut data_length: u64 = 0;
        let mut constants = Vec::new();
        for initializer in graph.initializers() {
            let (mut head, length) = (Message::default(), initializer.bytes());
            initializer.shape.iter().for_each(|&extent| head.int(1, extent as i64));
            head.int(2, initializer.element_type() as i64);
            head.text(8, &initializer.name);
            let offset = data_name.filter(|_| length >= LEAST_EXTERNAL).map(|name| {
                let offset = data_length.next_multiple_of(ALIGNMENT);
                for (key, value) in [
                    ("location", name.to_owned()),
                    ("offset", offset.to_string()),
                    ("length", length.to_string()),
                ] {
                    let mut entry = Message::default();
                    entry.text(1, key);
                    entry.text(2, &value);
                    head.message(13, &entry);
                }
                head.int(14, 1);
                data_length = offset + length;
                offset
            });
            if offset.is_none() {
                head.begin(9, length);
            }
            constants.push(Constant {
                head,
                initializer,
                offset,
            });
        }
        let mut encoded = Self {
            model: Message::default(),
            nodes,
            constants,
            arguments,
            data_length,
        };
        encoded.model = encoded.model();
        encoded
    }

    /// What stands before the graph.
    fn model(&self) -> Message {
        let mut model = Message::default();
        model.int(1, IR_VERSION);
        model.text(2, "gareum");
        model.text(3, env!("CARGO_PKG_VERSION"));
        let mut opset = Message::default();
        opset.int(2, OPSET);
        model.message(8, &opset);
        model.begin(7, self.graph_length());
        model
    }

    /// Bytes of the graph's fields.
    fn graph_length(&self) -> u64 {
        let of_constant = |constant: &Constant<'_>| constant.tag().len() + constant.length();
        let constants: u64 = self.constants.iter().map(of_constant).sum();
        self.nodes.len() + constants + self.arguments.len()
    }

    /// Bytes of the file.
    fn len(&self) -> u64 {
        self.model.len() + self.graph_length()
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(self.model.as_bytes())?;
        file.write_all(self.nodes.as_bytes())?;
        for constant in &self.constants {
            file.write_all(constant.tag().as_bytes())?;
            file.write_all(constant.head.as_bytes())?;
            if constant.offset.is_none() {
                constant.initializer.write(&mut file)?;
            }
        }
        file.write_all(self.arguments.as_bytes())?;
        file.flush()
    }

    fn write_data(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut written = 0;
        for constant in &self.constants {
            if let Some(offset) = constant.offset {
                io::copy(&mut io::Read::take(io::repeat(0), offset - written), &mut file)?;
                constant.initializer.write(&mut file)?;
                written = offset + constant.initializer.bytes();
            }
        }
        file.flush()
    }
}

/// A `NodeProto`.
fn node_message(node: &Node) -> Message {
    let mut message = Message::default();
    node.inputs.iter().for_each(|input| message.text(1, input));
    node.outputs.iter().for_each(|output| message.text(2, output));
    message.text(3, &node.name);
    message.text(4, node.operator);
    for (name, value) in &node.attributes {
        let mut attribute = Message::default();
        attribute.text(1, name);
        let kind = match value {
            Attribute::Float(value) => {
                attribute.float(2, *value);
                1
            }
            Attribute::Int(value) => {
                attribute.int(3, *value);
                2
            }
            Attribute::Ints(values) => {
                values.iter().for_each(|&value| attribute.int(8, value));
                7
            }
        };
        attribute.int(20, kind);
        message.message(5, &attribute);
    }
    message
}

/// A `ValueInfoProto`.
fn argument_message(argument: &Argument) -> Message {
    let mut shape = Message::default();
    for dimension in &argument.shape {
        let mut extent = Message::default();
        match dimension {
            Dimension::Fixed(size) => extent.int(1, *size as i64),
            Dimension::Named(name) => extent.text(2, name),
        }
        shape.message(1, &extent);
    }
    let mut tensor = Message::default();
    tensor.int(1, argument.element_type as i64);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut message = Message::default();
    message.text(1, argument.name);
    message.message(2, &kind);
    message
}
