//! Products of low rank beside those of a frozen checkpoint (LoRA): which get them, how they begin, and how they are merged
//! with the checkpoint's.
//!
//! Not here: what they compute (`tensor::ops::low_rank`), where it is added (`parameter.rs`), and their files (`adapter.rs`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tensor::random::Sequence;
use tensor::{DType, Nf4, ParameterId, Parameters, Tensor};

use super::parameter::Linear;
use super::{Encoder, Family, Model, ModelConfig, ModelError, sites};
use crate::settings::{LoraBias, LoraSettings, LoraTargets, NamedTargets, QuantizeBase};

/// What is added to a weight: scale · B A.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LowRank {
    /// A: `[rank, inputs]`
    pub down: ParameterId,
    /// B: `[outputs, rank]`
    pub up: ParameterId,
    pub scale: f64,
}

/// The names of A and B behind that of the module that they belong to.
pub(super) const DOWN: &str = "lora_A.weight";
pub(super) const UP: &str = "lora_B.weight";

/// What a model has beside a checkpoint.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// How it was made.
    pub settings: LoraSettings,
    /// The directory of the checkpoint, or its name on the hub (`owner/name@revision`).
    pub base: PathBuf,
    /// The products that something is added to, by the names of their modules.
    pub modules: Vec<String>,
    /// Modules that are trained as a whole, because the checkpoint does not have them.
    pub modules_to_save: Vec<String>,
}

impl Model {
    /// Freezes the checkpoint and puts fresh products of low rank beside its own. Modules that the checkpoint does not have
    /// (`fresh` names their parameters) and the classifier are trained as a whole. `base` is the checkpoint's directory, or its name on the hub.
    ///
    /// # Errors
    /// [`ModelError::LoraTargets`] if the settings name no product of the model.
    pub fn add_lora(
        &mut self,
        settings: &LoraSettings,
        fresh: &[String],
        base: &Path,
        seed: u64,
    ) -> Result<(), ModelError> {
        let whole = self.parameters_without_checkpoint(fresh);
        let candidates: Vec<String> = self.modules_of_products(&whole);
        let targets = Targets::new(&settings.targets, &self.config)?;
        let chosen: BTreeSet<&String> = candidates.iter().filter(|module| targets.contain(module)).collect();
        if chosen.is_empty() {
            return Err(ModelError::LoraTargets {
                found: targets.to_string(),
                known: last_names(&candidates),
            });
        }
        let mut modules = Vec::new();
        let mut number = 0;
        self.adapt_products(settings.dropout, |parameters, module, [inputs, outputs]| {
            number += 1;
            if !chosen.contains(&module.to_owned()) {
                return Ok(None);
            }
            if parameters.find(&format!("{module}.{DOWN}")).is_none() {
                // As `peft` draws them: Kaiming's uniform with a = √5.
                let bound = 1.0 / (inputs as f64).sqrt();
                let mut random = Sequence::new(seed, FIRST_SEQUENCE + number);
                let values = (0..settings.rank * inputs).map(|_| ((2.0 * random.uniform() - 1.0) * bound) as f32);
                let down = Tensor::from_vec(values.collect(), &[settings.rank, inputs])?;
                parameters.add(format!("{module}.{DOWN}"), down);
                parameters.add(
                    format!("{module}.{UP}"),
                    Tensor::zeros::<f32>(&[outputs, settings.rank]),
                );
                modules.push(module.to_owned());
            }
            Ok(Some(settings.scale()))
        })?;
        self.adapter = Some(Adapter {
            settings: settings.clone(),
            base: base.to_owned(),
            modules,
            modules_to_save: self.top_modules(&whole),
        });
        self.freeze_checkpoint(&whole);
        Ok(())
    }

    /// What the model has beside a checkpoint, if it has.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// What training changes, in words that tell two ways apart.
    pub(crate) fn trained(&self) -> String {
        let (all, trained) = (
            self.parameters.element_count(),
            self.parameters.trainable_element_count(),
        );
        match &self.adapter {
            None if trained == all => "everything".to_owned(),
            None => format!("{trained} / {all}"),
            Some(Adapter { settings, .. }) => format!(
                "LoRA (rank {}, scale {}, quantize_base {}, {trained} / {all})",
                settings.rank,
                settings.scale(),
                match settings.quantize_base {
                    QuantizeBase::None => "none",
                    QuantizeBase::Nf4 => "nf4",
                }
            ),
        }
    }

    /// The plain model that computes the same: what products of low rank add is added to the weights, which are wide again if they were
    /// of 4 bits.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a weight is there no more, because it is packed.
    pub fn merge(&mut self) -> Result<(), ModelError> {
        let mut merged = BTreeSet::new();
        for (weight, low_rank) in self.take_low_rank() {
            // A weight may be part of several products.
            if merged.insert(weight) {
                add_product(&mut self.parameters, weight, low_rank)?;
            }
        }
        if self.adapter.is_some() {
            self.dequantize(false);
            self.forget_adapter();
        }
        Ok(())
    }

    /// The model that the adapter stands beside, as it would be trained as a whole.
    pub(crate) fn without_adapter(mut self) -> Self {
        self.take_low_rank();
        self.forget_adapter();
        self
    }

    /// Bytes of all parameters. Counted is what they are as the settings have it, whether or not they are that yet.
    pub(crate) fn weights_bytes(&self) -> u64 {
        let quantizes = |adapter: &Adapter| adapter.settings.quantize_base == QuantizeBase::Nf4;
        let quantized = match self.adapter.as_ref().is_some_and(quantizes) {
            true => self.body_weights(),
            false => BTreeSet::new(),
        };
        let bytes = |(id, _, value): (ParameterId, &str, &Tensor)| match quantized.contains(&id) {
            true => Nf4::bytes_of(value.len()),
            false => value.len() * size_of::<f32>(),
        };
        self.parameters.iter().map(bytes).sum::<usize>() as u64
    }

    /// The weights of the products that are not the head's.
    fn body_weights(&self) -> BTreeSet<ParameterId> {
        let stacks = std::iter::once(&self.encoder).chain(&self.decoder);
        let linears = stacks.flat_map(|stack| stack.linears().chain(stack.position_linears()));
        linears.flat_map(Linear::weights).collect()
    }

    fn take_low_rank(&mut self) -> Vec<(ParameterId, LowRank)> {
        let Self {
            encoder, decoder, head, ..
        } = self;
        let linears = encoder
            .linears_mut()
            .chain(decoder.iter_mut().flat_map(Encoder::linears_mut));
        linears.chain(head.dense_mut()).flat_map(Linear::restore).collect()
    }

    fn forget_adapter(&mut self) {
        if self.adapter.take().is_some() {
            self.parameters.truncate(self.own_parameters);
        }
        let ids: Vec<ParameterId> = self.parameters.iter().map(|(id, _, _)| id).collect();
        ids.into_iter().for_each(|id| self.parameters.set_trainable(id, true));
    }

    /// Puts what `low_rank` says beside each product: it gets the parameters, the name of the module and the inputs and outputs,
    /// adds A and B to the parameters if they are not there, and answers with the scale, or with `None` if nothing is to be added.
    pub(super) fn adapt_products(
        &mut self,
        dropout: f64,
        mut scale: impl FnMut(&mut Parameters, &str, [usize; 2]) -> Result<Option<f64>, ModelError>,
    ) -> Result<(), ModelError> {
        let Self {
            encoder,
            decoder,
            head,
            parameters,
            ..
        } = self;
        let linears = encoder
            .linears_mut()
            .chain(decoder.iter_mut().flat_map(Encoder::linears_mut));
        for (number, linear) in linears.chain(head.dense_mut()).enumerate() {
            linear.adapt((dropout, sites::LOW_RANK + number), |weight, sizes| {
                let module = module_of(parameters.name(weight)).to_owned();
                let scale = scale(parameters, &module, sizes)?;
                let find = |end: &str| parameters.find(&format!("{module}.{end}"));
                Ok::<_, ModelError>(scale.and_then(|scale| {
                    Some(LowRank {
                        down: find(DOWN)?,
                        up: find(UP)?,
                        scale,
                    })
                }))
            })?;
        }
        Ok(())
    }

    /// Parameters of the head but for those of a hidden product that the checkpoint has.
    pub(super) fn parameters_without_checkpoint(&self, fresh: &[String]) -> Vec<ParameterId> {
        let names = self.config.names();
        let is_pretrained = self.config.head.dense.is_some_and(|dense| dense.is_pretrained);
        let is_hidden = |name: &str| [names.head_dense, names.head_norm].contains(&module_of(name));
        self.parameters_of_head()
            .filter(|(_, name)| !(is_pretrained && is_hidden(name)) || fresh.iter().any(|fresh| fresh == name))
            .map(|(id, _)| id)
            .collect()
    }

    /// The parameters of the head, with their names.
    pub(super) fn parameters_of_head(&self) -> impl Iterator<Item = (ParameterId, &str)> {
        let of_head = self.parameters.iter().take(self.own_parameters).skip(self.body);
        of_head.map(|(id, name, _)| (id, name))
    }

    /// Trains A and B and `whole`, with the settings' `bias = "all"` biases too, and nothing else.
    pub(super) fn freeze_checkpoint(&mut self, whole: &[ParameterId]) {
        let bias = self.adapter.as_ref().map(|adapter| adapter.settings.bias);
        let own = self.own_parameters;
        let parameters = self.parameters.iter().enumerate();
        let trained: Vec<(ParameterId, bool)> = parameters
            .map(|(index, (id, name, _))| {
                let is_bias = bias == Some(LoraBias::All) && name.ends_with("bias");
                (id, index >= own || is_bias || whole.contains(&id))
            })
            .collect();
        for (id, is_trained) in trained {
            self.parameters.set_trainable(id, is_trained);
        }
    }

    /// The modules of all products of the encoder, and of the head's if the checkpoint has it.
    fn modules_of_products(&mut self, whole: &[ParameterId]) -> Vec<String> {
        let Self {
            encoder,
            decoder,
            head,
            parameters,
            ..
        } = self;
        let linears = encoder
            .linears_mut()
            .chain(decoder.iter_mut().flat_map(Encoder::linears_mut));
        let mut modules: Vec<String> = Vec::new();
        for weight in linears.chain(head.dense_mut()).flat_map(|linear| linear.weights()) {
            let module = module_of(parameters.name(weight));
            if !whole.contains(&weight) && !modules.iter().any(|other| other == module) {
                modules.push(module.to_owned());
            }
        }
        modules
    }

    /// The modules that parameters of the head belong to, as far up as the family's own prefix: what `peft` is to save whole.
    pub(super) fn top_modules(&self, whole: &[ParameterId]) -> Vec<String> {
        let mut modules: Vec<String> = Vec::new();
        for &id in whole {
            let module = module_of(self.parameters.name(id));
            let bare = module.strip_prefix(self.config.names().prefix);
            let bare = bare.and_then(|rest| rest.strip_prefix('.')).unwrap_or(module);
            let top = bare.split('.').next().unwrap_or(bare);
            if !modules.iter().any(|other| other == top) {
                modules.push(top.to_owned());
            }
        }
        modules
    }
}

/// Random sequences of A's begin here; those of the model's own parameters are far below.
const FIRST_SEQUENCE: u64 = 1 << 32;

/// The module that a parameter belongs to.
pub(super) fn module_of(parameter: &str) -> &str {
    parameter.rsplit_once('.').map_or(parameter, |(module, _)| module)
}

/// The last parts of names, each once.
fn last_names(modules: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for module in modules {
        let last = module.rsplit('.').next().unwrap_or(module);
        if !names.iter().any(|name| name == last) {
            names.push(last.to_owned());
        }
    }
    names
}

/// W ← W + scale · B A
fn add_product(parameters: &mut Parameters, weight: ParameterId, low_rank: LowRank) -> tensor::Result<()> {
    let (down, up) = (
        parameters.get(low_rank.down).clone(),
        parameters.get(low_rank.up).clone(),
    );
    let inputs = down.shape()[1];
    let (down, up) = (down.to_f64_vec(), up.to_f64_vec());
    let value = parameters.get_mut(weight);
    let shape = value.shape().to_vec();
    if shape != [up.len() * inputs / down.len().max(1), inputs] {
        return Err(tensor::Error::Shape {
            operation: "merge",
            what: "weight",
            found: shape,
            expected: format!("[_, {inputs}]"),
        });
    }
    let rank = down.len() / inputs.max(1);
    let dtype = value.dtype();
    let mut values = value.to_f64_vec();
    values
        .par_chunks_mut(inputs.max(1))
        .zip(up.par_chunks(rank.max(1)))
        .for_each(|(row, up)| {
            for (up, down) in up.iter().zip(down.chunks_exact(inputs)) {
                let factor = low_rank.scale * up;
                row.iter_mut()
                    .zip(down)
                    .for_each(|(value, down)| *value += factor * down);
            }
        });
    *value = match dtype {
        DType::F64 => Tensor::from_vec(values, &shape)?,
        _ => Tensor::from_vec(values.into_iter().map(|value| value as f32).collect::<Vec<_>>(), &shape)?,
    };
    Ok(())
}

/// Which modules are meant.
enum Targets {
    All,
    Suffixes(Vec<String>),
    Pattern(regex::Regex),
}

impl Targets {
    fn new(targets: &LoraTargets, config: &ModelConfig) -> Result<Self, ModelError> {
        Ok(match targets {
            LoraTargets::Named(NamedTargets::AllLinear) => Self::All,
            LoraTargets::Named(NamedTargets::Default) => Self::Suffixes(default_targets(config.family)),
            LoraTargets::Suffixes(suffixes) => Self::Suffixes(suffixes.clone()),
            LoraTargets::Pattern(pattern) => {
                Self::Pattern(pattern.compiled().map_err(|_| ModelError::LoraTargets {
                    found: format!("`{}`", pattern.regex),
                    known: Vec::new(),
                })?)
            }
        })
    }

    fn contain(&self, module: &str) -> bool {
        match self {
            Self::All => true,
            Self::Suffixes(suffixes) => suffixes.iter().any(|suffix| ends_with(module, suffix)),
            Self::Pattern(pattern) => pattern.is_match(module),
        }
    }
}

impl std::fmt::Display for Targets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => formatter.write_str("`all-linear`"),
            Self::Suffixes(suffixes) => {
                let suffixes: Vec<String> = suffixes.iter().map(|suffix| format!("`{suffix}`")).collect();
                formatter.write_str(&suffixes.join(", "))
            }
            Self::Pattern(pattern) => write!(formatter, "`{pattern}`"),
        }
    }
}

/// Whether `suffix` is the name of a module or stands at its end behind a dot.
fn ends_with(module: &str, suffix: &str) -> bool {
    module
        .strip_suffix(suffix)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Queries and values, as `peft` has it for the families that it knows, or the weight that makes both.
fn default_targets(family: Family) -> Vec<String> {
    let last = |name: &&str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let parts = family.names().query_key_value;
    match parts {
        [query, _, value] => vec![last(query), last(value)],
        _ => parts.iter().map(last).collect(),
    }
}

/// The shortest ends of names that mean exactly `chosen` among all modules of a model.
pub(super) fn shortest_suffixes(chosen: &[String], all: &BTreeSet<&str>) -> Vec<String> {
    let is_chosen = |module: &str| chosen.iter().any(|other| other == module);
    let mut suffixes: Vec<String> = Vec::new();
    for module in chosen {
        if suffixes.iter().any(|suffix| ends_with(module, suffix)) {
            continue;
        }
        let ends = module.match_indices('.').map(|(index, _)| &module[index + 1..]);
        let ends: Vec<&str> = std::iter::once(module.as_str()).chain(ends).collect();
        let means_more = |end: &str| all.iter().any(|other| ends_with(other, end) && !is_chosen(other));
        let shortest = ends.into_iter().rev().find(|end| !means_more(end));
        suffixes.push(shortest.unwrap_or(module).to_owned());
    }
    suffixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_targets_are_those_of_peft() {
        let names = |family: Family| default_targets(family).join(" ");
        for (family, expected) in [
            (Family::Bert, "query value"),
            (Family::Roberta, "query value"),
            (Family::Electra, "query value"),
            (Family::DistilBert, "q_lin v_lin"),
            (Family::DebertaV2, "query_proj value_proj"),
            (Family::Bart, "q_proj v_proj"),
            (Family::ModernBert, "Wqkv"),
            (Family::Qwen2, "q_proj v_proj"),
            (Family::Mistral, "q_proj v_proj"),
            (Family::GptNeox, "query_key_value"),
        ] {
            assert_eq!(names(family), expected, "{family:?}");
        }
    }

    #[test]
    fn suffixes_mean_what_was_chosen_and_nothing_else() {
        let all: BTreeSet<&str> = [
            "a.0.query",
            "a.0.output.dense",
            "a.0.attention.output.dense",
            "pooler.dense",
        ]
        .into();
        let shortest = |chosen: &[&str]| {
            let chosen: Vec<String> = chosen.iter().map(|name| (*name).to_owned()).collect();
            shortest_suffixes(&chosen, &all).join(" ")
        };
        assert_eq!(shortest(&["a.0.query"]), "query");
        assert_eq!(shortest(&["a.0.output.dense"]), "0.output.dense");
        assert_eq!(
            shortest(&["a.0.output.dense", "a.0.attention.output.dense"]),
            "output.dense"
        );
        assert!(ends_with("x.query", "query") && ends_with("query", "query") && !ends_with("x.subquery", "query"));
    }
}
