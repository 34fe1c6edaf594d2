//! A reader of pickles that can only ever build tensors, and what holds them: numbers, texts, tuples, lists and dictionaries.
//!
//! A pickle is a program for a small machine with a stack. Here, the machine knows only the few functions with which PyTorch describes
//! tensors; every other one is refused by its name before anything is done with it. Nothing is ever called, imported or executed. Values
//! stand in one list and refer to each other by position, so deep nesting costs no stack, and amounts are bounded whatever a file claims.
//!
//! Which files hold pickles, and where the numbers are, is in `torch.rs`.

use std::collections::HashMap;
use std::io::Read;

use super::stored::Element;

/// The descriptions of some hundred thousand tensors; models have some hundred.
const MAX_BYTES: u64 = 32 << 20;
const MAX_VALUES: usize = 1 << 20;
/// The name of a function is not longer.
const MAX_LINE_BYTES: usize = 1 << 10;

/// Why a pickle is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum PickleError {
    #[error("it wants to call `{0}`, and gareum only reads tensors")]
    Global(String),
    #[error("it holds an object of `{0}`, and gareum only reads tensors")]
    Object(String),
    #[error("damaged: the description of the tensors has an unknown instruction, {0:#04x}")]
    Instruction(u8),
    #[error("damaged: the description of the tensors makes no sense: {0}")]
    Malformed(&'static str),
    #[error("the description of the tensors is too large to be one")]
    TooLarge,
    #[error("damaged: the description of the tensors cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// The position of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

/// What a pickle can make here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    /// A whole number or truth value.
    Int(i64),
    /// Numbers that no tensor is described by: fractions, huge ones, bytes.
    Ignored,
    Text(Box<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(TensorInfo),
}

/// The functions and classes that tensors are described by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element, usize),
}

/// Where numbers are: entry `key` of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub key: Box<str>,
    pub element: Element,
    /// Bytes of an element.
    pub size: usize,
    /// How many there are.
    pub count: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorInfo {
    /// A [`Value::Storage`].
    pub storage: Id,
    /// The first element, counted in elements.
    pub offset: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// What a pickle described.
#[derive(Debug)]
pub(super) struct Unpickled {
    values: Vec<Value>,
    pub root: Id,
}

impl Unpickled {
    pub fn get(&self, id: Id) -> &Value {
        // Ids come from `Machine::add` only.
        &self.values[id.0 as usize]
    }

    /// The value as a text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The storages that were described.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}

/// Reads one pickle and stops behind it.
pub(super) fn unpickle(reader: impl Read) -> Result<Unpickled, PickleError> {
    let mut machine = Machine {
        reader,
        read: 0,
        values: vec![Value::None, Value::Int(0), Value::Int(1)],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    Ok(Unpickled {
        values: machine.values,
        root,
    })
}

/// Values that every machine has.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

struct Machine<R> {
    reader: R,
    read: u64,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: Read> Machine<R> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            if self.stack.len().max(self.marks.len()) > 4 * MAX_VALUES {
                return Err(PickleError::TooLarge);
            }
            let [instruction] = self.bytes()?;
            match instruction {
                // PROTO
                0x80 => match self.bytes()? {
                    [2..=5] => {}
                    _ => return Err(PickleError::Malformed("another protocol than 2 to 5")),
                },
                // FRAME: its length tells nothing that is needed.
                0x95 => {
                    self.bytes::<8>()?;
                }
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => {
                    self.pop()?;
                }
                b'1' => {
                    self.pop_to_mark()?;
                }
                b'2' => {
                    let top = self.pop()?;
                    self.stack.extend([top, top]);
                }
                b'N' => self.stack.push(NONE),
                0x88 => self.stack.push(TRUE),
                0x89 => self.stack.push(FALSE),
                b'J' => {
                    let number = i32::from_le_bytes(self.bytes()?);
                    self.push(Value::Int(number.into()))?;
                }
                b'K' => {
                    let number = self.length::<1>()?;
                    self.push(Value::Int(number as i64))?;
                }
                b'M' => {
                    let number = self.length::<2>()?;
                    self.push(Value::Int(number as i64))?;
                }
                // LONG1, LONG4
                0x8A => {
                    let length = self.length::<1>()?;
                    self.long(length)?;
                }
                0x8B => {
                    let length = self.length::<4>()?;
                    self.long(length)?;
                }
                b'G' => {
                    self.bytes::<8>()?;
                    self.push(Value::Ignored)?;
                }
                // INT and LONG of protocol 0, which Python 2 mixed in.
                b'I' | b'L' => {
                    let line = self.line()?;
                    let number = line.trim_end_matches('L').parse();
                    self.push(number.map_or(Value::Ignored, Value::Int))?;
                }
                b'F' => {
                    self.line()?;
                    self.push(Value::Ignored)?;
                }
                // Texts, of Python 3 and 2.
                b'X' | b'T' => {
                    let length = self.length::<4>()?;
                    self.text(length)?;
                }
                0x8C | b'U' => {
                    let length = self.length::<1>()?;
                    self.text(length)?;
                }
                0x8D => {
                    let length = self.length::<8>()?;
                    self.text(length)?;
                }
                // Bytes
                b'B' => {
                    let length = self.length::<4>()?;
                    self.ignored(length)?;
                }
                b'C' => {
                    let length = self.length::<1>()?;
                    self.ignored(length)?;
                }
                0x8E | 0x96 => {
                    let length = self.length::<8>()?;
                    self.ignored(length)?;
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::List(items))?;
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    let pairs = pairs(&items)?;
                    self.push(Value::Dict(pairs))?;
                }
                // TUPLE1 to TUPLE3
                0x85..=0x87 => {
                    let count = usize::from(instruction - 0x84);
                    let from = self.free_height(count)?;
                    let items = self.stack.split_off(from);
                    self.push(Value::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[(key, value)])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&pairs(&items)?)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push_global(&module, &name)?;
                }
                // STACK_GLOBAL
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (self.value(module), self.value(name)) {
                        (Value::Text(module), Value::Text(name)) => {
                            let (module, name) = (module.clone(), name.clone());
                            self.push_global(&module, &name)?;
                        }
                        _ => return Err(PickleError::Malformed("a function whose name is no text")),
                    }
                }
                // REDUCE and NEWOBJ
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.call(function, arguments)?;
                }
                b'b' => {
                    // What hangs on a dictionary (`_metadata` of a state dictionary) is of no use.
                    self.pop()?;
                    let top = self.top()?;
                    if !matches!(self.value(top), Value::Dict(_)) {
                        return Err(PickleError::Malformed("a state for something other than a dictionary"));
                    }
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push_storage(id)?;
                }
                b'q' => {
                    let key = self.length::<1>()?;
                    self.remember(key as u32)?;
                }
                b'r' => {
                    let key = self.length::<4>()?;
                    self.remember(key as u32)?;
                }
                // MEMOIZE
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let key = self.length::<1>()?;
                    self.recall(key as u32)?;
                }
                b'j' => {
                    let key = self.length::<4>()?;
                    self.recall(key as u32)?;
                }
                // INST, OBJ, NEWOBJ_EX: objects of any class.
                b'i' => {
                    let (module, name) = (self.line()?, self.line()?);
                    return Err(PickleError::Object(format!("{module}.{name}")));
                }
                other => return Err(PickleError::Instruction(other)),
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.count(N as u64)?;
        Ok(bytes)
    }

    fn count(&mut self, bytes: u64) -> Result<(), PickleError> {
        self.read = self.read.saturating_add(bytes);
        if self.read > MAX_BYTES {
            return Err(PickleError::TooLarge);
        }
        Ok(())
    }

    /// A little-endian number of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<u64, PickleError> {
        let bytes = self.bytes::<N>()?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// So many bytes, kept only as far as they are there.
    fn many(&mut self, length: u64) -> Result<Vec<u8>, PickleError> {
        self.count(length)?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(PickleError::Malformed("a text that goes beyond the end")),
        }
    }

    fn text(&mut self, length: u64) -> Result<(), PickleError> {
        let bytes = self.many(length)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.push(Value::Text(text.into()))
    }

    fn ignored(&mut self, length: u64) -> Result<(), PickleError> {
        self.many(length)?;
        self.push(Value::Ignored)
    }

    /// A whole number of any length in two's complement.
    fn long(&mut self, length: u64) -> Result<(), PickleError> {
        let bytes = self.many(length)?;
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = [if negative { 0xFF } else { 0 }; 8];
        let value = match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(&bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Ignored,
        };
        self.push(value)
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let mut line = Vec::new();
        loop {
            match self.bytes()? {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                _ if line.len() >= MAX_LINE_BYTES => return Err(PickleError::Malformed("an endless name")),
                [byte] => line.push(byte),
            }
        }
    }

    fn value(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    fn add(&mut self, value: Value) -> Result<Id, PickleError> {
        if self.values.len() >= MAX_VALUES {
            return Err(PickleError::TooLarge);
        }
        self.values.push(value);
        Ok(Id(self.values.len() as u32 - 1))
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// Where the topmost `count` values begin; a mark is not passed.
    fn free_height(&self, count: usize) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or_default();
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= floor => Ok(from),
            _ => Err(PickleError::Malformed("a value is missing")),
        }
    }

    fn top(&self) -> Result<Id, PickleError> {
        let at = self.free_height(1)?;
        Ok(self.stack[at])
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::Malformed("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::List(list) => list.extend(items),
            _ => return Err(PickleError::Malformed("items for something other than a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[(Id, Id)]) -> Result<(), PickleError> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::Dict(dict) => dict.extend(items),
            _ => return Err(PickleError::Malformed("keys for something other than a dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), PickleError> {
        let top = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return Err(PickleError::TooLarge);
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), PickleError> {
        let id = self
            .memo
            .get(&key)
            .ok_or(PickleError::Malformed("nothing of this number"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
            ("torch" | "torch.storage", class) => {
                let (element, size) =
                    storage_class(class).ok_or_else(|| PickleError::Global(format!("{module}.{name}")))?;
                Global::Storage(element, size)
            }
            _ => return Err(PickleError::Global(format!("{module}.{name}"))),
        };
        self.push(Value::Global(global))
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<(), PickleError> {
        let Value::Global(global) = *self.value(function) else {
            return Err(PickleError::Malformed("a call of something other than a function"));
        };
        let Value::Tuple(arguments) = self.value(arguments) else {
            return Err(PickleError::Malformed("a call without arguments"));
        };
        // What follows these says nothing about numbers: gradients, hooks.
        let arguments: Vec<Id> = arguments.iter().take(4).copied().collect();
        match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Global::OrderedDict, [items]) => {
                let pair = |item: &Id| match self.value(*item) {
                    Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
                    _ => None,
                };
                let items = match self.value(*items) {
                    Value::List(items) | Value::Tuple(items) => items.iter().map(pair).collect(),
                    _ => None,
                };
                let items: Vec<_> =
                    items.ok_or(PickleError::Malformed("a dictionary of something other than pairs"))?;
                // One list may be named again and again.
                self.count(8 * items.len() as u64)?;
                self.push(Value::Dict(items))
            }
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                let tensor = TensorInfo {
                    storage: *storage,
                    offset: self.whole(*offset)?,
                    shape: self.sizes(*shape)?,
                    strides: self.sizes(*strides)?,
                };
                if !matches!(self.value(*storage), Value::Storage(_)) || tensor.shape.len() != tensor.strides.len() {
                    return Err(PickleError::Malformed("a tensor without numbers or sizes"));
                }
                self.push(Value::Tensor(tensor))
            }
            (Global::RebuildParameter, [tensor, ..]) => {
                self.stack.push(*tensor);
                Ok(())
            }
            _ => Err(PickleError::Malformed("a call with the wrong arguments")),
        }
    }

    /// `("storage", class, key, location, count)`; files of before PyTorch 1.6 add a view, which is nothing.
    fn push_storage(&mut self, id: Id) -> Result<(), PickleError> {
        let malformed = PickleError::Malformed("numbers of another kind than a storage");
        let Value::Tuple(parts) = self.value(id) else {
            return Err(malformed);
        };
        let (class, key, count) = match parts.as_slice() {
            [kind, class, key, _, count] if self.is_text(*kind, "storage") => (*class, *key, *count),
            [kind, class, key, _, count, NONE] if self.is_text(*kind, "storage") => (*class, *key, *count),
            _ => return Err(malformed),
        };
        let (Value::Global(Global::Storage(element, size)), Value::Text(key)) = (self.value(class), self.value(key))
        else {
            return Err(malformed);
        };
        let storage = Storage {
            key: key.clone(),
            element: *element,
            size: *size,
            count: self.whole(count)?,
        };
        self.push(Value::Storage(storage))
    }

    fn is_text(&self, id: Id, expected: &str) -> bool {
        matches!(self.value(id), Value::Text(text) if **text == *expected)
    }

    fn whole(&self, id: Id) -> Result<u64, PickleError> {
        match self.value(id) {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
        .ok_or(PickleError::Malformed("a size that is no whole number of at least 0"))
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, PickleError> {
        /// No weight has more.
        const MAX_DIMENSIONS: usize = 8;
        match self.value(id) {
            Value::Tuple(sizes) | Value::List(sizes) if sizes.len() <= MAX_DIMENSIONS => {
                let size = |id: &Id| Ok(self.whole(*id)? as usize);
                sizes.iter().map(size).collect()
            }
            _ => Err(PickleError::Malformed("a shape that is no list of sizes")),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(PickleError::Malformed("a key without a value")),
    }
}

/// What a class of storages holds, and the bytes of an element.
fn storage_class(name: &str) -> Option<(Element, usize)> {
    Some(match name {
        "DoubleStorage" => (Element::F64, 8),
        "FloatStorage" => (Element::F32, 4),
        "HalfStorage" => (Element::F16, 2),
        "BFloat16Storage" => (Element::BF16, 2),
        "LongStorage" => (Element::Other("I64"), 8),
        "IntStorage" => (Element::Other("I32"), 4),
        "ShortStorage" => (Element::Other("I16"), 2),
        "CharStorage" => (Element::Other("I8"), 1),
        "ByteStorage" | "UntypedStorage" => (Element::Other("U8"), 1),
        "BoolStorage" => (Element::Other("BOOL"), 1),
        "ComplexFloatStorage" => (Element::Other("complex numbers"), 8),
        "ComplexDoubleStorage" => (Element::Other("complex numbers"), 16),
        _ => return None,
    })
}
