//! How layers get their parameters: from a checkpoint, or drawn at random.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use tensor::ops::{Affine, NormKind, PackedLinear};
use tensor::random::Sequence;
use tensor::{Activation, DType, ParameterId, Parameters, Tensor, Var, ops};

use super::lora::LowRank;
use super::{LoadNotes, LoadedWeights, ModelConfig, ModelError, Pass};
use crate::settings::QuantizeBase;

/// Collects the parameters of a model while its layers are built.
pub(crate) struct Builder {
    parameters: Parameters,
    /// `None`: everything is drawn at random.
    weights: Option<LoadedWeights>,
    /// Tensors of another model, which come first.
    tensors: BTreeMap<String, Tensor>,
    /// Whether the head comes from the checkpoint.
    keep_head: bool,
    seed: u64,
    initializer_range: f64,
    missing: Vec<String>,
    fresh: Vec<String>,
    quantize_base: QuantizeBase,
}

/// How a parameter looks before training.
#[derive(Clone, Copy, PartialEq)]
enum Initial {
    /// Normal with the model's `initializer_range`.
    Normal,
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
}

/// Where a parameter stands, which decides whether a checkpoint must have it.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// A checkpoint has it.
    Encoder,
    /// BERT's pooler, ModernBERT's prediction head: trained before and used as it is if it was saved, but not every encoder
    /// was saved with it.
    Pooler,
    /// A checkpoint has it if it was trained for a task, and it is kept only if that is ours.
    Head,
}

impl Part {
    fn of_head(is_pretrained: bool) -> Self {
        if is_pretrained { Self::Pooler } else { Self::Head }
    }
}

impl Builder {
    pub fn fresh(seed: u64, initializer_range: f64) -> Self {
        Self {
            parameters: Parameters::default(),
            weights: None,
            tensors: BTreeMap::new(),
            keep_head: false,
            seed,
            initializer_range,
            missing: Vec::new(),
            fresh: Vec::new(),
            quantize_base: QuantizeBase::None,
        }
    }

    /// One that makes weights of the encoder's products narrow as soon as they are read.
    pub fn quantizing(self, quantize_base: QuantizeBase) -> Self {
        Self { quantize_base, ..self }
    }

    pub fn from_weights(weights: LoadedWeights, seed: u64, initializer_range: f64, keep_head: bool) -> Self {
        Self {
            weights: Some(weights),
            keep_head,
            ..Self::fresh(seed, initializer_range)
        }
    }

    /// One that takes what there is from these tensors.
    pub fn from_tensors(tensors: BTreeMap<String, Tensor>, initializer_range: f64) -> Self {
        Self {
            tensors,
            ..Self::fresh(0, initializer_range)
        }
    }

    /// One that goes on where others were built, and draws what is new.
    pub fn onto(parameters: Parameters, initializer_range: f64) -> Self {
        Self {
            parameters,
            ..Self::fresh(0, initializer_range)
        }
    }

    /// How many parameters there are so far.
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// The parameter called `name`: from the checkpoint if it is to come from there, else drawn.
    fn parameter(
        &mut self,
        prefix: &str,
        name: String,
        shape: &[usize],
        initial: Initial,
        part: Part,
    ) -> Result<ParameterId, ModelError> {
        if let Some(id) = self.parameters.find(&name) {
            return Ok(id); // shared
        }
        if let Some(value) = self.tensors.remove(&name) {
            if value.shape() != shape {
                return Err(ModelError::Shape {
                    path: "config.json".into(),
                    name,
                    found: value.shape().to_vec(),
                    expected: shape.to_vec(),
                    hint: "the tensors belong to another config.json".to_owned(),
                });
            }
            return Ok(self.parameters.add(name, value));
        }
        let wanted = part != Part::Head || self.keep_head;
        let required = part == Part::Encoder || (part == Part::Head && self.keep_head);
        let found = match &mut self.weights {
            Some(weights) if wanted => weights.take(&name, prefix, shape)?,
            _ => None,
        };
        let value = match found {
            Some(value) => value,
            None => {
                if self.weights.is_some() {
                    let list = if required { &mut self.missing } else { &mut self.fresh };
                    list.push(name.clone());
                }
                self.draw(shape, initial)?
            }
        };
        Ok(self.parameters.add(name, value))
    }

    fn draw(&self, shape: &[usize], initial: Initial) -> Result<Tensor, ModelError> {
        let count = shape.iter().product();
        let values = match initial {
            Initial::Zeros => vec![0.0f32; count],
            Initial::Ones => vec![1.0; count],
            Initial::Normal => {
                // The number of the parameter makes its own sequence: adding one elsewhere changes no other.
                let mut random = Sequence::new(self.seed, 1_000 + self.parameters.len() as u64);
                (0..count)
                    .map(|_| (random.normal() * self.initializer_range) as f32)
                    .collect()
            }
        };
        Ok(Tensor::from_vec(values, shape)?)
    }

    /// Fails if the encoder is incomplete.
    pub fn notes(&self, directory: &Path) -> Result<LoadNotes, ModelError> {
        if !self.missing.is_empty() {
            let weights = self.weights.as_ref();
            return Err(ModelError::Missing {
                path: weights.map_or(directory, LoadedWeights::path).to_owned(),
                names: self.missing.clone(),
                hint: weights.map_or(String::new(), |weights| weights.hint_for_missing(&self.missing)),
            });
        }
        let unused = self.weights.as_ref().map(LoadedWeights::unused).unwrap_or_default();
        Ok(LoadNotes {
            fresh: self.fresh.clone(),
            unused,
            ..LoadNotes::default()
        })
    }

    pub fn into_parameters(self) -> Parameters {
        self.parameters
    }

    /// A table: `{prefix}.{name}.weight`.
    pub fn table(&mut self, prefix: &str, name: &str, rows: usize, columns: usize) -> Result<ParameterId, ModelError> {
        self.parameter(
            prefix,
            format!("{prefix}.{name}.weight"),
            &[rows, columns],
            Initial::Normal,
            Part::Encoder,
        )
    }

    /// A product of the encoder: `{prefix}.{name}.weight` and, if it has one, `.bias`.
    pub fn linear(
        &mut self,
        prefix: &str,
        name: &str,
        inputs: usize,
        outputs: usize,
        has_bias: bool,
    ) -> Result<Linear, ModelError> {
        let name = format!("{prefix}.{name}");
        self.affine(prefix, &name, [inputs, outputs], has_bias, Part::Encoder)
    }

    /// A product of the head: `{name}.weight` and, if it has one, `.bias`.
    pub fn head(
        &mut self,
        prefix: &str,
        name: &str,
        sizes: [usize; 2],
        has_bias: bool,
        is_pretrained: bool,
    ) -> Result<Linear, ModelError> {
        self.affine(prefix, name, sizes, has_bias, Part::of_head(is_pretrained))
    }

    fn affine(
        &mut self,
        prefix: &str,
        name: &str,
        [inputs, outputs]: [usize; 2],
        has_bias: bool,
        part: Part,
    ) -> Result<Linear, ModelError> {
        let shape = [outputs, inputs];
        let weight = self.parameter(prefix, format!("{name}.weight"), &shape, Initial::Normal, part)?;
        if part == Part::Encoder && self.quantize_base == QuantizeBase::Nf4 {
            let value = self.parameters.get_mut(weight);
            *value = value.to_dtype(DType::Nf4);
        }
        let bias = match has_bias {
            false => None,
            true => Some(self.parameter(prefix, format!("{name}.bias"), &[outputs], Initial::Zeros, part)?),
        };
        Ok(Linear {
            parts: vec![LinearPart {
                weight,
                bias,
                sizes: [inputs, outputs],
                low_rank: None,
            }],
            low_rank_dropout: None,
        })
    }

    /// A convolution with as many outputs as inputs: `{prefix}.{name}.{weight,bias}`.
    pub fn convolution(
        &mut self,
        prefix: &str,
        name: &str,
        size: usize,
        width: usize,
    ) -> Result<[ParameterId; 2], ModelError> {
        let name = |end: &str| format!("{prefix}.{name}.{end}");
        let shape = [size, size, width];
        let weight = self.parameter(prefix, name("weight"), &shape, Initial::Normal, Part::Encoder)?;
        let bias = self.parameter(prefix, name("bias"), &[size], Initial::Zeros, Part::Encoder)?;
        Ok([weight, bias])
    }

    /// A norm of the encoder: `{prefix}.{name}.weight` and, if it has one, `.bias`.
    pub fn norm(&mut self, config: &ModelConfig, name: &str, size: usize) -> Result<Norm, ModelError> {
        let prefix = config.names().prefix;
        self.norm_of(config, &format!("{prefix}.{name}"), size, Part::Encoder)
    }

    /// A norm of the head: `{name}.weight` and, if it has one, `.bias`.
    pub fn head_norm(&mut self, config: &ModelConfig, name: &str, is_pretrained: bool) -> Result<Norm, ModelError> {
        self.norm_of(config, name, config.hidden_size, Part::of_head(is_pretrained))
    }

    fn norm_of(&mut self, config: &ModelConfig, name: &str, size: usize, part: Part) -> Result<Norm, ModelError> {
        let prefix = config.names().prefix;
        let weight = self.parameter(prefix, format!("{name}.weight"), &[size], Initial::Ones, part)?;
        let bias = match config.norm == NormKind::Layer && config.has_norm_bias {
            false => None,
            true => Some(self.parameter(prefix, format!("{name}.bias"), &[size], Initial::Zeros, part)?),
        };
        Ok(Norm {
            kind: config.norm,
            weight,
            bias,
            epsilon: config.layer_norm_eps,
        })
    }
}

/// A product, with a bias or without, or several with the same input.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// Those whose outputs stand side by side.
    parts: Vec<LinearPart>,
    /// Dropout rate and site of what products of low rank get.
    low_rank_dropout: Option<(f64, usize)>,
}

/// A weight of a product.
#[derive(Debug, Clone)]
struct LinearPart {
    weight: ParameterId,
    bias: Option<ParameterId>,
    /// Inputs and outputs.
    sizes: [usize; 2],
    /// What is added to it.
    low_rank: Option<LowRank>,
}

impl LinearPart {
    fn ids(&self) -> (ParameterId, Option<ParameterId>) {
        (self.weight, self.bias)
    }
}

impl Linear {
    /// One product for several with the same input.
    pub fn side_by_side(linears: impl IntoIterator<Item = Self>) -> Self {
        Self {
            parts: linears.into_iter().flat_map(|linear| linear.parts).collect(),
            low_rank_dropout: None,
        }
    }

    /// f(x) Wᵀ + b: `[rows, inputs]` to `[rows, outputs]`, the rows being the tokens of the batch.
    pub fn forward(&self, pass: &Pass<'_>, input: &Var, activation: Activation) -> tensor::Result<Var> {
        self.forward_from(pass, input, activation, pass.batch.first_token)
    }

    /// As [`Self::forward`] for rows that are counted from `first_row` on.
    pub fn forward_from(
        &self,
        pass: &Pass<'_>,
        input: &Var,
        activation: Activation,
        first_row: u64,
    ) -> tensor::Result<Var> {
        let output = match pass.packed.and_then(|packed| packed.get(self)) {
            Some(packed) => ops::linear_packed(pass.tape, input, activation, packed)?,
            None => {
                let parts = self.parts.iter();
                let vars: Vec<_> = parts
                    .map(|part| (pass.parameter(part.weight), part.bias.map(|bias| pass.parameter(bias))))
                    .collect();
                let parts: Vec<_> = vars
                    .iter()
                    .map(|(weight, bias)| Affine {
                        weight,
                        bias: bias.as_ref(),
                    })
                    .collect();
                ops::linear(pass.tape, input, activation, &parts)?
            }
        };
        self.add_low_rank(pass, output, input, activation, first_row)
    }

    /// Adds the products of low rank to what the product of the checkpoint made.
    pub fn add_low_rank(
        &self,
        pass: &Pass<'_>,
        output: Var,
        input: &Var,
        activation: Activation,
        first_row: u64,
    ) -> tensor::Result<Var> {
        let Some((rate, site)) = self.low_rank_dropout else {
            return Ok(output);
        };
        let mut first_column = 0;
        let mut factors = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            if let Some(low_rank) = part.low_rank {
                let (down, up) = (pass.parameter(low_rank.down), pass.parameter(low_rank.up));
                factors.push((down, up, low_rank.scale, first_column));
            }
            first_column += part.sizes[1];
        }
        let parts = factors.iter().map(|(down, up, scale, first_column)| ops::LowRank {
            down,
            up,
            scale: *scale,
            first_column: *first_column,
        });
        let dropout = pass.mask(rate, site, first_row);
        ops::low_rank(
            pass.tape,
            output,
            input,
            activation,
            &parts.collect::<Vec<_>>(),
            dropout,
        )
    }

    /// Adds to each weight what `low_rank` answers for it and its inputs and outputs.
    pub fn adapt<E>(
        &mut self,
        dropout: (f64, usize),
        mut low_rank: impl FnMut(ParameterId, [usize; 2]) -> Result<Option<LowRank>, E>,
    ) -> Result<(), E> {
        for part in &mut self.parts {
            part.low_rank = low_rank(part.weight, part.sizes)?;
        }
        self.low_rank_dropout = self.is_adapted().then_some(dropout);
        Ok(())
    }

    /// Takes away what was added, and gives it with the weights that it was added to.
    pub fn restore(&mut self) -> impl Iterator<Item = (ParameterId, LowRank)> {
        self.low_rank_dropout = None;
        let parts = self.parts.iter_mut();
        parts.filter_map(|part| Some((part.weight, part.low_rank.take()?)))
    }

    /// Whether anything is added.
    pub fn is_adapted(&self) -> bool {
        self.parts.iter().any(|part| part.low_rank.is_some())
    }

    /// The sum of the ranks of what is added.
    pub fn ranks(&self, parameters: &Parameters) -> usize {
        let ranks = self.parts.iter().filter_map(|part| part.low_rank);
        ranks.map(|low_rank| parameters.get(low_rank.down).shape()[0]).sum()
    }

    /// The weights with their biases.
    pub fn ids(&self) -> impl Iterator<Item = (ParameterId, Option<ParameterId>)> {
        self.parts.iter().map(LinearPart::ids)
    }

    /// Says how many inputs and outputs each weight has, where some were taken away.
    pub fn measure(&mut self, parameters: &Parameters) {
        for part in &mut self.parts {
            if let &[outputs, inputs] = parameters.get(part.weight).shape() {
                part.sizes = [inputs, outputs];
            }
        }
    }

    /// The weights.
    pub fn weights(&self) -> impl Iterator<Item = ParameterId> {
        self.parts.iter().map(|part| part.weight)
    }
}

/// The weights of products in the order in which kernels read them, for prediction.
#[derive(Debug, Clone, Default)]
pub(crate) struct PackedLinears {
    /// By the first weight. Models with the same weights share them.
    linears: HashMap<ParameterId, Arc<PackedLinear>>,
    /// Outputs that are the same in every pass, by the first weight.
    kept: HashMap<ParameterId, Tensor>,
}

impl PackedLinears {
    /// Packs a product for inputs of type `dtype` and frees its weights, leaving empty ones.
    pub fn take(&mut self, linear: &Linear, parameters: &mut Parameters, dtype: DType) -> tensor::Result<()> {
        let tensors = |part: &LinearPart| {
            let (weight, bias) = part.ids();
            (parameters.get(weight), bias.map(|bias| parameters.get(bias)))
        };
        let packed = PackedLinear::new(&linear.parts.iter().map(tensors).collect::<Vec<_>>(), dtype)?;
        for weight in linear.weights() {
            *parameters.get_mut(weight) = Tensor::zeros::<f32>(&[0, 0]);
        }
        if let Some(first) = linear.weights().next() {
            self.linears.insert(first, Arc::new(packed));
        }
        Ok(())
    }

    /// Keeps the output of a product whose input is the same in every pass.
    pub fn keep(&mut self, linear: &Linear, output: Tensor) {
        if let Some(first) = linear.weights().next() {
            self.kept.insert(first, output);
        }
    }

    /// The output that was kept.
    pub fn kept(&self, linear: &Linear) -> Option<&Tensor> {
        self.kept.get(&linear.weights().next()?)
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> usize {
        let linears: usize = self.linears.values().map(|linear| linear.bytes()).sum();
        linears + self.kept.values().map(Tensor::bytes).sum::<usize>()
    }

    fn get(&self, linear: &Linear) -> Option<&PackedLinear> {
        self.linears.get(&linear.weights().next()?).map(Arc::as_ref)
    }
}

/// A norm: its kind, weight, perhaps bias, and ε.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm {
    kind: NormKind,
    weight: ParameterId,
    bias: Option<ParameterId>,
    epsilon: f64,
}

impl Norm {
    /// norm(input).
    pub fn forward(&self, pass: &Pass<'_>, input: &Var) -> tensor::Result<Var> {
        let (weight, bias) = (pass.parameter(self.weight), self.bias.map(|bias| pass.parameter(bias)));
        ops::norm(pass.tape, self.kind, input, &weight, bias.as_ref(), self.epsilon)
    }

    /// norm(dropout(input) + residual).
    pub fn forward_residual(
        &self,
        pass: &Pass<'_>,
        input: Var,
        residual: &Var,
        dropout: Option<tensor::Dropout>,
    ) -> tensor::Result<Var> {
        let weight = pass.parameter(self.weight);
        match (self.kind, self.bias.map(|bias| pass.parameter(bias))) {
            (NormKind::Layer, Some(bias)) => {
                ops::residual_dropout_norm(pass.tape, &input, residual, &weight, &bias, self.epsilon, dropout)
            }
            (_, bias) => {
                let sum = ops::residual_dropout(pass.tape, input, residual, dropout)?;
                ops::norm(pass.tape, self.kind, &sum, &weight, bias.as_ref(), self.epsilon)
            }
        }
    }

    /// The weight alone and ε, where heads are normed.
    pub fn weight(&self, pass: &Pass<'_>) -> (Var, f64) {
        (pass.parameter(self.weight), self.epsilon)
    }
}
