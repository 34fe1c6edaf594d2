//! `[distillation]`: training beside a teacher.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SettingsError;
use super::check::range;
use crate::data::is_data_file;

/// `[distillation]`: with this section a model learns from labels and from what a teacher says of the same rows (Hinton et al. 2015,
/// <https://arxiv.org/abs/1503.02531>).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillationSettings {
    /// A model directory, the name of a model on the hub, or a file of predictions with `scores` as `gareum predict` writes it, whose rows
    /// are found by their texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// What logits of both are divided by before they are compared: more makes labels count that the teacher thinks unlikely. Without
    /// meaning for numbers. Default 2.
    pub temperature: f64,
    /// The share of the teacher in the loss; the rest is the labels'. Default 0.5.
    pub weight: f64,
    /// What the mean squared difference between what the heads of both get of a text (one vector, `hidden_size` numbers) counts in the loss, beside
    /// the rest. The teacher must be a model of the same width. Default 0.
    pub hidden_weight: f64,
    /// Texts without labels to learn from beside the training rows, from what the teacher says of them alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<PathBuf>,
}

impl Default for DistillationSettings {
    fn default() -> Self {
        Self {
            teacher: None,
            temperature: 2.0,
            weight: 0.5,
            hidden_weight: 0.0,
            unlabelled: None,
        }
    }
}

impl DistillationSettings {
    /// The teacher, if it is a model: a directory or a name on the hub.
    pub fn teacher_model(&self) -> Option<&Path> {
        let teacher = self.teacher.as_deref()?;
        (!is_file_of_predictions(teacher)).then_some(teacher)
    }

    /// The teacher, if it is a file of predictions.
    pub fn teacher_file(&self) -> Option<&Path> {
        let teacher = self.teacher.as_deref()?;
        is_file_of_predictions(teacher).then_some(teacher)
    }

    /// Ranges that the types do not express.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        range(
            self.teacher.is_some(),
            "distillation.teacher",
            "absent".to_owned(),
            "a model directory, the name of a model on the hub, or a file of predictions with `scores`",
        )?;
        let temperature = self.temperature;
        range(
            temperature.is_finite() && temperature > 0.0,
            "distillation.temperature",
            temperature.to_string(),
            "a number above 0",
        )?;
        let weight = self.weight;
        range(
            weight > 0.0 && weight <= 1.0,
            "distillation.weight",
            weight.to_string(),
            "a number above 0, at most 1",
        )?;
        let hidden_weight = self.hidden_weight;
        range(
            hidden_weight.is_finite() && hidden_weight >= 0.0,
            "distillation.hidden_weight",
            hidden_weight.to_string(),
            "0 or a number above it",
        )?;
        range(
            hidden_weight == 0.0 || self.teacher_file().is_none(),
            "distillation.hidden_weight",
            hidden_weight.to_string(),
            "0, as the teacher is a file: only a model has hidden states",
        )
    }
}

/// What is no directory and called as data is.
fn is_file_of_predictions(teacher: &Path) -> bool {
    teacher.is_file() || (!teacher.is_dir() && is_data_file(teacher))
}
