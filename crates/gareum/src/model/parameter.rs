//! How layers get their parameters: from a checkpoint, or drawn at random.

use std::collections::HashMap;
use std::path::Path;

use tensor::ops::{Affine, NormKind, PackedLinear};
use tensor::random::Sequence;
use tensor::{Activation, DType, ParameterId, Parameters, Tensor, Var, ops};

use super::{LoadNotes, LoadedWeights, ModelConfig, ModelError, Pass};

/// Collects the parameters of a model while its layers are built.
pub(crate) struct Builder {
    parameters: Parameters,
    /// `None`: everything is drawn at random.
    weights: Option<LoadedWeights>,
    /// Whether the head comes from the checkpoint.
    keep_head: bool,
    seed: u64,
    initializer_range: f64,
    missing: Vec<String>,
    fresh: Vec<String>,
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
            keep_head: false,
            seed,
            initializer_range,
            missing: Vec::new(),
            fresh: Vec::new(),
        }
    }

    pub fn from_weights(weights: LoadedWeights, seed: u64, initializer_range: f64, keep_head: bool) -> Self {
        Self {
            weights: Some(weights),
            keep_head,
            ..Self::fresh(seed, initializer_range)
        }
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
        let bias = match has_bias {
            false => None,
            true => Some(self.parameter(prefix, format!("{name}.bias"), &[outputs], Initial::Zeros, part)?),
        };
        Ok(Linear {
            parts: vec![(weight, bias)],
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
    /// Weight and bias of each, whose outputs stand side by side.
    parts: Vec<(ParameterId, Option<ParameterId>)>,
}

impl Linear {
    /// One product for several with the same input.
    pub fn side_by_side(linears: impl IntoIterator<Item = Self>) -> Self {
        Self {
            parts: linears.into_iter().flat_map(|linear| linear.parts).collect(),
        }
    }

    /// f(x) Wᵀ + b: `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, pass: &Pass<'_>, input: &Var, activation: Activation) -> tensor::Result<Var> {
        if let Some(packed) = pass.packed.and_then(|packed| packed.get(self)) {
            return ops::linear_packed(pass.tape, input, activation, packed);
        }
        let parts = self.parts.iter();
        let vars: Vec<_> = parts
            .map(|&(weight, bias)| (pass.parameter(weight), bias.map(|bias| pass.parameter(bias))))
            .collect();
        let parts: Vec<_> = vars
            .iter()
            .map(|(weight, bias)| Affine {
                weight,
                bias: bias.as_ref(),
            })
            .collect();
        ops::linear(pass.tape, input, activation, &parts)
    }
}

/// The weights of products in the order in which kernels read them, for prediction.
#[derive(Debug, Default)]
pub(crate) struct PackedLinears {
    /// By the first weight.
    linears: HashMap<ParameterId, PackedLinear>,
    /// Outputs that are the same in every pass, by the first weight.
    kept: HashMap<ParameterId, Tensor>,
}

impl PackedLinears {
    /// Packs a product for inputs of type `dtype` and frees its weights, leaving empty ones.
    pub fn take(&mut self, linear: &Linear, parameters: &mut Parameters, dtype: DType) -> tensor::Result<()> {
        let tensors = |&(weight, bias): &(ParameterId, Option<ParameterId>)| {
            (parameters.get(weight), bias.map(|bias| parameters.get(bias)))
        };
        let packed = PackedLinear::new(&linear.parts.iter().map(tensors).collect::<Vec<_>>(), dtype)?;
        for &(weight, _) in &linear.parts {
            *parameters.get_mut(weight) = Tensor::zeros::<f32>(&[0, 0]);
        }
        if let Some(&(first, _)) = linear.parts.first() {
            self.linears.insert(first, packed);
        }
        Ok(())
    }

    /// Keeps the output of a product whose input is the same in every pass.
    pub fn keep(&mut self, linear: &Linear, output: Tensor) {
        if let Some(&(first, _)) = linear.parts.first() {
            self.kept.insert(first, output);
        }
    }

    /// The output that was kept.
    pub fn kept(&self, linear: &Linear) -> Option<&Tensor> {
        self.kept.get(&linear.parts.first()?.0)
    }

    fn get(&self, linear: &Linear) -> Option<&PackedLinear> {
        self.linears.get(&linear.parts.first()?.0)
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
