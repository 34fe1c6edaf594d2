//! What every part of a model is emitted with: its parameters as constants, products and norms of them, and what is known of the sequences.

use std::collections::HashMap;
use std::ops::Range;

use tensor::ops::{NormKind, Window};
use tensor::{Parameters, Tensor};

use super::ExportError;
use super::file::ElementType;
use super::graph::{Attribute, Graph, Value};
use super::initializer::{Data, Rows};
use super::positions::RelativeRows;
use crate::model::ModelConfig;

/// Builds the graph of a model.
pub(super) struct Emitter<'a> {
    pub graph: Graph<'a>,
    parameters: &'a Parameters,
    pub inputs: Inputs,
    /// Inputs of products of integers: each is quantised once, however many products take it.
    quantized: HashMap<Value, Quantized>,
    /// What is added to scores, by what a token sees and whether padding is left out.
    masks: HashMap<(usize, usize, bool), Value>,
    places: Option<Value>,
    pub relative: Option<RelativeRows>,
}

/// Inputs of a product of integers.
#[derive(Debug, Clone)]
struct Quantized {
    /// `[rows, columns]`
    integers: Value,
    /// Of each row: `[rows]`.
    scale: Value,
    /// Of each row the scale times the zero point: `[rows, 1]`.
    offset: Value,
}

/// What a graph is given.
pub(super) struct Inputs {
    /// `[batch, sequence]`
    pub input_ids: Value,
    /// The same: 1 for tokens, 0 for padding behind them.
    pub attention_mask: Value,
    /// The same, where the model tells types of tokens apart.
    pub token_type_ids: Option<Value>,
    /// The tokens of a sequence, padding included: an array of one number.
    pub length: Value,
}

impl<'a> Emitter<'a> {
    pub fn new(config: &ModelConfig, parameters: &'a Parameters) -> Self {
        let mut graph = Graph::default();
        let input_ids = graph.input("input_ids");
        let attention_mask = graph.input("attention_mask");
        let token_type_ids = (config.type_vocab_size > 1).then(|| graph.input("token_type_ids"));
        let of_sequences = [("start", Attribute::Int(1)), ("end", Attribute::Int(2))];
        let length = graph.operation("Shape", &[&input_ids], &of_sequences);
        Self {
            graph,
            parameters,
            inputs: Inputs {
                input_ids,
                attention_mask,
                token_type_ids,
                length,
            },
            quantized: HashMap::new(),
            masks: HashMap::new(),
            places: None,
            relative: None,
        }
    }

    /// A parameter that must be there.
    pub fn parameter(&self, name: &str) -> Result<&'a Tensor, ExportError> {
        let id = self
            .parameters
            .find(name)
            .ok_or_else(|| ExportError::Parameter(name.to_owned()))?;
        Ok(self.parameters.get(id))
    }

    /// A parameter as a constant, if it is there.
    fn vector(&mut self, name: &str, rows: Option<&Range<usize>>) -> Option<Value> {
        let tensor = self.parameters.get(self.parameters.find(name)?);
        Some(match rows {
            None => self
                .graph
                .constant(name.to_owned(), tensor.shape().to_vec(), Data::Tensor(tensor)),
            Some(rows) => {
                let values = tensor.to_f32_vec()[rows.clone()].to_vec();
                self.graph
                    .constant(part_name(name, rows), vec![rows.len()], Data::F32(values))
            }
        })
    }

    /// A parameter as a constant, as it stands.
    pub fn tensor(&mut self, name: &str) -> Result<Value, ExportError> {
        self.vector(name, None)
            .ok_or_else(|| ExportError::Parameter(name.to_owned()))
    }

    /// x Wᵀ + b, where weights are called `name`.
    pub fn linear(&mut self, input: &Value, name: &str) -> Result<Value, ExportError> {
        self.linear_of(input, name, None)
    }

    /// As [`Self::linear`], of some of the outputs.
    pub fn linear_of(
        &mut self,
        input: &Value,
        name: &str,
        outputs: Option<Range<usize>>,
    ) -> Result<Value, ExportError> {
        let weight = format!("{name}.weight");
        let tensor = self.parameter(&weight)?;
        let all = Rows::all(tensor);
        let constant = outputs.as_ref().map_or(weight.clone(), |rows| part_name(&weight, rows));
        let matrix = match &outputs {
            None => all,
            Some(rows) => Rows {
                rows: rows.clone(),
                ..all
            },
        };
        let shape = vec![matrix.columns(), matrix.len()];
        let bias = self.vector(&format!("{name}.bias"), outputs.as_ref());
        if tensor.as_int8().is_some() {
            return Ok(self.product_of_integers(input, constant, matrix, bias.as_ref()));
        }
        let weight = self.graph.constant(constant, shape, Data::Turned(matrix));
        let product = self.graph.matmul(input, &weight);
        Ok(match bias {
            None => product,
            Some(bias) => self.graph.add(&product, &bias),
        })
    }

    /// x Wᵀ + b of a constant input, which is multiplied once, when the graph is loaded: weights of 8 bits are made wide for it.
    pub fn linear_of_constant(&mut self, input: &Value, name: &str) -> Result<Value, ExportError> {
        let weight = format!("{name}.weight");
        let tensor = self.parameter(&weight)?;
        if tensor.as_int8().is_none() {
            return self.linear(input, name);
        }
        let matrix = Rows::all(tensor);
        let (inputs, outputs) = (matrix.columns(), matrix.len());
        let scales = Data::Scales(matrix.clone());
        let scales = self.graph.constant(format!("{weight}_scale"), vec![outputs], scales);
        let integers = self
            .graph
            .constant(weight, vec![inputs, outputs], Data::TurnedIntegers(matrix));
        let wide = self.graph.cast(&integers, ElementType::Float);
        let wide = self.graph.mul(&wide, &scales);
        let product = self.graph.matmul(input, &wide);
        Ok(match self.vector(&format!("{name}.bias"), None) {
            None => product,
            Some(bias) => self.graph.add(&product, &bias),
        })
    }

    /// x Wᵀ + b with weights of 8 bits, as `tensor::int8` computes it: s t (Σ a w − z Σ w) + b, a row of inputs having the scale s and the zero point z,
    /// an output the scale t.
    fn product_of_integers(&mut self, input: &Value, name: String, matrix: Rows<'a>, bias: Option<&Value>) -> Value {
        let (inputs, outputs) = (matrix.columns(), matrix.len());
        let scale_name = format!("{name}_scale");
        let scales = self
            .graph
            .constant(scale_name, vec![outputs], Data::Scales(matrix.clone()));
        // −t Σ w
        let sums = self
            .graph
            .constant(format!("{name}_sum"), vec![1, outputs], Data::Sums(matrix.clone()));
        let weight = self
            .graph
            .constant(name, vec![inputs, outputs], Data::TurnedIntegers(matrix));
        let Quantized {
            integers,
            scale,
            offset,
        } = self.quantized(input, inputs);
        let products = self.graph.operation("MatMulInteger", &[&integers, &weight], &[]);
        let by_rows = [("axis", Attribute::Int(0))];
        let products = self.graph.operation("DequantizeLinear", &[&products, &scale], &by_rows);
        let products = self.graph.mul(&products, &scales);
        let rest: Vec<&Value> = [&offset, &sums].into_iter().chain(bias).collect();
        let rest = self.graph.operation("Gemm", &rest, &[]);
        let output = self.graph.add(&products, &rest);
        // The extents of the input but the last.
        let of_rows = [("start", Attribute::Int(0)), ("end", Attribute::Int(-1))];
        let rows = self.graph.operation("Shape", &[input], &of_rows);
        let columns = self.graph.ints(&[outputs as i64]);
        let shape = self.graph.concat(&[&rows, &columns], 0);
        self.graph.operation("Reshape", &[&output, &shape], &[])
    }

    /// Rows of inputs as 0 ... 255, each with a scale and a zero point of its own: what a token becomes does not depend on those beside it, padding
    /// included.
    fn quantized(&mut self, input: &Value, columns: usize) -> Quantized {
        if let Some(known) = self.quantized.get(input) {
            return known.clone();
        }
        let rows = self.graph.reshape(input, &[-1, columns as i64]);
        let numbers = [0.0, 255.0, f32::MIN_POSITIVE];
        let [zero, steps, tiny] = numbers.map(|number| self.graph.float(number));
        let mut extreme = |reduce: &'static str, choose: &'static str| {
            let attributes = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
            let found = self.graph.operation(reduce, &[&rows], &attributes);
            self.graph.operation(choose, &[&found, &zero], &[])
        };
        let (most, least) = (extreme("ReduceMax", "Max"), extreme("ReduceMin", "Min"));
        let range = self.graph.sub(&most, &least);
        let range = self.graph.operation("Max", &[&range, &tiny], &[]);
        let scale = self.graph.div(&range, &steps);
        let below = self.graph.operation("Neg", &[&least], &[]);
        let zero_point = self.graph.div(&below, &scale);
        let zero_point = self.graph.operation("Round", &[&zero_point], &[]);
        let narrow = self.graph.cast(&zero_point, ElementType::Uint8);
        let by_rows = [("axis", Attribute::Int(0))];
        let integers = self
            .graph
            .operation("QuantizeLinear", &[&rows, &scale, &narrow], &by_rows);
        let offset = self.graph.mul(&zero_point, &scale);
        let quantized = Quantized {
            integers,
            scale,
            offset: self.graph.unsqueeze(&offset, &[1]),
        };
        self.quantized.insert(input.clone(), quantized.clone());
        quantized
    }

    /// The norm that is called `name`.
    pub fn norm(&mut self, config: &ModelConfig, input: &Value, name: &str) -> Result<Value, ExportError> {
        let weight = self.tensor(&format!("{name}.weight"))?;
        let bias = self.vector(&format!("{name}.bias"), None);
        if config.norm != NormKind::Layer {
            return Err(ExportError::Decoder(config.family));
        }
        let inputs: Vec<&Value> = [input, &weight].into_iter().chain(&bias).collect();
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(config.layer_norm_eps as f32)),
        ];
        Ok(self.graph.operation("LayerNormalization", &inputs, &attributes))
    }

    /// The rows of the table called `name` that `ids` say.
    pub fn lookup(&mut self, name: &str, ids: &Value) -> Result<Value, ExportError> {
        self.taken(name, |graph, table| graph.gather(table, ids, 0))
    }

    /// As many rows of a table as a sequence has tokens, from `first` on.
    pub fn first_rows(&mut self, name: &str, first: usize) -> Result<Value, ExportError> {
        let start = self.graph.ints(&[first as i64]);
        let end = match first {
            0 => self.inputs.length.clone(),
            _ => self.graph.add(&self.inputs.length, &start),
        };
        self.taken(name, |graph, table| graph.slice(table, &start, &end, 0))
    }

    /// What `take` takes of a table; of one of integers, times what it takes of their scales.
    fn taken(&mut self, name: &str, take: impl Fn(&mut Graph<'a>, &Value) -> Value) -> Result<Value, ExportError> {
        let tensor = self.parameter(name)?;
        if tensor.as_int8().is_none() {
            let table = self.tensor(name)?;
            return Ok(take(&mut self.graph, &table));
        }
        let all = Rows::all(tensor);
        let table = self
            .graph
            .constant(name.to_owned(), tensor.shape().to_vec(), Data::Integers(tensor));
        let scales = self
            .graph
            .constant(format!("{name}_scale"), vec![all.len(), 1], Data::Scales(all));
        let integers = take(&mut self.graph, &table);
        let integers = self.graph.cast(&integers, ElementType::Float);
        let scales = take(&mut self.graph, &scales);
        Ok(self.graph.mul(&integers, &scales))
    }

    /// 0, 1, 2, ... for the tokens of a sequence.
    pub fn places(&mut self) -> Value {
        if let Some(places) = &self.places {
            return places.clone();
        }
        let (zero, one) = (self.graph.int(0), self.graph.int(1));
        let length = self.graph.gather(&self.inputs.length, &zero, 0);
        let places = self.graph.operation("Range", &[&zero, &length, &one], &[]);
        self.places = Some(places.clone());
        places
    }

    /// What is added to scores: 0 for the keys that a query sees, the least number for others. Never −∞: a query that sees nothing, as
    /// there are in padding, would make it no number. `skips_padding` is not needed where no token sees what is behind it.
    pub fn mask(&mut self, window: Window, skips_padding: bool) -> Value {
        let key = (window.left, window.right, skips_padding);
        if let Some(mask) = self.masks.get(&key) {
            return mask.clone();
        }
        let (one, least) = (self.graph.float(1.0), self.graph.float(f32::MIN));
        let mask = if window == Window::ALL {
            // In the form of `transformers`' BERT, which ONNX Runtime knows.
            let rows = self.graph.unsqueeze(&self.inputs.attention_mask, &[1]);
            let rows = self.graph.unsqueeze(&rows, &[2]);
            let rows = self.graph.cast(&rows, ElementType::Float);
            let hidden = self.graph.sub(&one, &rows);
            self.graph.mul(&hidden, &least)
        } else {
            let seen = self.seen(window);
            let seen = match skips_padding {
                false => seen,
                true => {
                    let tokens = self.graph.unsqueeze(&self.inputs.attention_mask, &[1, 2]);
                    let tokens = self.graph.cast(&tokens, ElementType::Bool);
                    self.graph.operation("And", &[&seen, &tokens], &[])
                }
            };
            let zero = self.graph.float(0.0);
            self.graph.operation("Where", &[&seen, &zero, &least], &[])
        };
        self.masks.insert(key, mask.clone());
        mask
    }

    /// Which keys a query sees: `[sequence, sequence]`.
    fn seen(&mut self, window: Window) -> Value {
        let places = self.places();
        let (queries, keys) = (self.graph.unsqueeze(&places, &[1]), self.graph.unsqueeze(&places, &[0]));
        let ahead = self.graph.sub(&keys, &queries);
        let mut seen = Vec::new();
        if window.right != usize::MAX {
            let right = self.graph.int(window.right as i64);
            seen.push(self.graph.operation("LessOrEqual", &[&ahead, &right], &[]));
        }
        if window.left != usize::MAX {
            let left = self.graph.int(-(window.left as i64));
            seen.push(self.graph.operation("GreaterOrEqual", &[&ahead, &left], &[]));
        }
        match seen.as_slice() {
            [one, other] => self.graph.operation("And", &[one, other], &[]),
            [one, ..] => one.clone(),
            [] => ahead,
        }
    }

    /// 1 for tokens and 0 for padding, as numbers: `[batch, sequence, 1]`.
    pub fn token_weights(&mut self) -> Value {
        let weights = self.graph.unsqueeze(&self.inputs.attention_mask, &[2]);
        self.graph.cast(&weights, ElementType::Float)
    }

    /// Of each sequence without its padding how many tokens there are: `[batch, 1]`.
    pub fn token_counts(&mut self) -> Value {
        let axes = self.graph.ints(&[1]);
        self.graph
            .operation("ReduceSum", &[&self.inputs.attention_mask.clone(), &axes], &[])
    }
}

/// The name of a part of a constant.
fn part_name(name: &str, rows: &Range<usize>) -> String {
    format!("{name}[{}:{}]", rows.start, rows.end)
}
