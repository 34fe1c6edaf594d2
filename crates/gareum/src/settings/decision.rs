//! `[decision]`: what is fitted on validation rows when training ends, and when no answer is given.

use serde::{Deserialize, Serialize};

use super::SettingsError;
use crate::decision::Abstain;

/// `[decision]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionSettings {
    /// Whether a temperature is fitted, by which logits are divided. It is kept only if it lowers the loss. Default true.
    pub temperature: bool,
    /// What the threshold of each label is chosen by, if there may be several labels. Default `macro_f1`.
    pub thresholds: ThresholdObjective,
    /// The recall that `precision_at_recall`, or the precision that `recall_at_precision` must reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Labels with fewer examples share a threshold that is chosen for all labels together. Default 10: of fewer, a threshold is chance.
    pub min_support: u64,
    /// When no answer is given. Default: always one.
    #[serde(skip_serializing_if = "Abstain::is_off")]
    pub abstain: Abstain,
}

impl Default for DecisionSettings {
    fn default() -> Self {
        Self {
            temperature: true,
            thresholds: ThresholdObjective::MacroF1,
            target: None,
            min_support: 10,
            abstain: Abstain::default(),
        }
    }
}

/// `decision.thresholds`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdObjective {
    /// 0.5 for every label.
    Fixed,
    /// The best F1 of each label, hence of their mean.
    #[default]
    MacroF1,
    /// The best F1 of all decisions together.
    MicroF1,
    /// The best precision of each label with a recall of at least `target`.
    PrecisionAtRecall,
    /// The best recall of each label with a precision of at least `target`.
    RecallAtPrecision,
}

impl DecisionSettings {
    /// Ranges that the types do not express.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        use ThresholdObjective::{PrecisionAtRecall, RecallAtPrecision};
        let share = |key: &'static str, value: Option<f64>| match value {
            Some(value) if !(value > 0.0 && value <= 1.0) => Err(SettingsError::Range {
                key,
                found: value.to_string(),
                expected: "a number above 0, at most 1",
            }),
            _ => Ok(()),
        };
        share("decision.target", self.target)?;
        share("decision.abstain.min_score", self.abstain.min_score)?;
        share("decision.abstain.min_margin", self.abstain.min_margin)?;
        let (found, expected) = match (self.thresholds, self.target) {
            (PrecisionAtRecall | RecallAtPrecision, None) => {
                ("absent", "the recall or precision to reach, such as 0.9")
            }
            (PrecisionAtRecall | RecallAtPrecision, Some(_)) | (_, None) => return Ok(()),
            (_, Some(_)) => (
                "given",
                "no such setting unless decision.thresholds is precision_at_recall or recall_at_precision",
            ),
        };
        Err(SettingsError::Range {
            key: "decision.target",
            found: found.to_owned(),
            expected,
        })
    }
}
