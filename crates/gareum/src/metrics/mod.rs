//! Measures of predictions: plain functions over slices in f64, equal to scikit-learn's with `zero_division=0`.
//!
//! [`Metrics`] bundles what `metrics.json` holds.

use serde::{Deserialize, Serialize};

mod accuracy;
mod confusion_matrix;
mod error;
mod loss;
mod regression;
mod report;

pub use error::MetricsError;

/// Everything measured on one set of predictions: the content of `metrics.json`. Undefined values are `None`, written as null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Metrics {
    /// One class an example.
    SingleLabel(SingleLabelMetrics),
    /// Any number of classes an example.
    MultiLabel(MultiLabelMetrics),
    /// A number an example.
    Regression(RegressionMetrics),
}

/// See [`Metrics`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SingleLabelMetrics {
    /// Mean loss, as given.
    pub loss: Option<f64>,
}

/// See [`Metrics`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiLabelMetrics {
    /// Mean loss, as given.
    pub loss: Option<f64>,
}

/// See [`Metrics`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionMetrics {
    /// Mean loss, as given.
    pub loss: Option<f64>,
}

impl Metrics {
    /// Measures single-label predictions given as class ids.
    ///
    /// # Errors
    /// [`MetricsError`] if lengths differ or an id has no name.
    pub fn single_label(
        _names: &[String],
        _targets: &[u32],
        _predictions: &[u32],
        _loss: Option<f64>,
    ) -> Result<Self, MetricsError> {
        todo!()
    }

    /// Measures multi-label predictions given as sets of class ids.
    ///
    /// # Errors
    /// [`MetricsError`] if lengths differ or an id has no name.
    pub fn multi_label(
        _names: &[String],
        _targets: &[Vec<u32>],
        _predictions: &[Vec<u32>],
        _loss: Option<f64>,
    ) -> Result<Self, MetricsError> {
        todo!()
    }

    /// Measures predicted numbers.
    ///
    /// # Errors
    /// [`MetricsError`] if lengths differ.
    pub fn regression(_targets: &[f64], _predictions: &[f64], _loss: Option<f64>) -> Result<Self, MetricsError> {
        todo!()
    }

    /// A value by name (`loss`, `accuracy`, `macro_f1`, `rmse`, ...); `None` if this task has no such metric or it is undefined.
    pub fn value(&self, _name: &str) -> Option<f64> {
        todo!()
    }

    /// Whether `name` is better when larger: false for losses and errors.
    pub fn larger_is_better(name: &str) -> bool {
        !(name.ends_with("loss") || matches!(name, "mse" | "rmse" | "mae"))
    }

    /// A table for people, laid out as scikit-learn prints its report.
    pub fn to_table(&self) -> String {
        todo!()
    }
}
