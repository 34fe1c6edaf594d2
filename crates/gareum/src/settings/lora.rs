//! `[lora]`: training products of low rank beside the products of a frozen model.

use serde::{Deserialize, Serialize};

use super::SettingsError;
use super::check::range;

/// `[lora]`: with this section only small matrices beside the products of the checkpoint are trained (Hu et al. 2021,
/// <https://arxiv.org/abs/2106.09685>), and every module that the checkpoint does not have. What is saved is a PEFT adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraSettings {
    /// Rank of the matrices. Default 16.
    pub rank: usize,
    /// What the matrices add is multiplied by alpha / rank. Default 32.
    pub alpha: f64,
    /// Dropout rate of what the matrices get. Default 0.1.
    pub dropout: f64,
    /// Which products get them: `all-linear` (all of the encoder), `default` (those that `peft` chooses for the family), a list of names
    /// or ends of names, or `{ regex = "..." }` for whole names. Default `all-linear`.
    pub targets: LoraTargets,
    /// Multiply by alpha / √rank instead (Kalajdzievski 2023, <https://arxiv.org/abs/2312.03732>). Default false.
    pub rank_stabilized: bool,
    /// Whether the checkpoint's biases are trained too: `none` or `all`. Default `none`.
    pub bias: LoraBias,
    /// What the weights of the frozen products are kept in: `none` (as they are) or `nf4` (QLoRA, Dettmers et al. 2023,
    /// <https://arxiv.org/abs/2305.14314>: 4 bits and a little each, double quantisation as in bitsandbytes). Default `none`.
    pub quantize_base: QuantizeBase,
}

impl Default for LoraSettings {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.1,
            targets: LoraTargets::Named(NamedTargets::AllLinear),
            rank_stabilized: false,
            bias: LoraBias::None,
            quantize_base: QuantizeBase::None,
        }
    }
}

/// `lora.targets`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoraTargets {
    /// `"all-linear"` or `"default"`
    Named(NamedTargets),
    /// `["query", "value"]`
    Suffixes(Vec<String>),
    /// `{ regex = ".*\\.(query|value)" }`
    Pattern(Pattern),
}

/// Sets of products that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedTargets {
    /// Every product of the encoder that the checkpoint has.
    AllLinear,
    /// Queries and values, or where one weight makes queries, keys and values, that one.
    Default,
}

/// A regular expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Matches the whole name of a module.
    pub regex: String,
}

/// `lora.bias`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoraBias {
    /// Biases stay as they are.
    #[default]
    None,
    /// Every bias is trained.
    All,
}

/// `lora.quantize_base`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantizeBase {
    /// Weights stay as they are.
    #[default]
    None,
    /// Those of products are of 4 bits.
    Nf4,
}

impl LoraSettings {
    /// What the matrices' product is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Ranges that the types do not express.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        range(self.rank > 0, "lora.rank", self.rank.to_string(), "at least 1")?;
        range(
            self.alpha.is_finite() && self.alpha > 0.0,
            "lora.alpha",
            self.alpha.to_string(),
            "a number above 0",
        )?;
        range(
            (0.0..1.0).contains(&self.dropout),
            "lora.dropout",
            self.dropout.to_string(),
            "a rate in [0, 1)",
        )?;
        match &self.targets {
            LoraTargets::Suffixes(suffixes) => range(
                !suffixes.is_empty() && suffixes.iter().all(|suffix| !suffix.is_empty()),
                "lora.targets",
                format!("{suffixes:?}"),
                "names of products, such as `query`",
            ),
            LoraTargets::Pattern(pattern) => range(
                pattern.compiled().is_ok(),
                "lora.targets.regex",
                format!("`{}`", pattern.regex),
                "a regular expression",
            ),
            LoraTargets::Named(_) => Ok(()),
        }
    }
}

impl Pattern {
    /// The expression for whole names, as `re.fullmatch` has it.
    pub(crate) fn compiled(&self) -> Result<regex::Regex, regex::Error> {
        regex::Regex::new(&format!("^(?:{})$", self.regex))
    }
}
