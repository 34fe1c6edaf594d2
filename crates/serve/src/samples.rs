//! Texts of which the model was not sure, kept in a file for people to label: only if asked for, and only up to a size.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use gareum::data::{Input, Task};
use gareum::predict::{Prediction, Predictor};
use serde_json::json;

use crate::error::ServeError;
use crate::model::rfc3339;
use crate::settings::SampleSettings;

/// The file.
pub struct Samples {
    margin: f64,
    open: Option<Mutex<Open>>,
}

struct Open {
    file: File,
    bytes: u64,
    max_bytes: u64,
    is_told: bool,
}

impl Samples {
    /// As the settings say; what is in the file stays.
    ///
    /// # Errors
    /// [`ServeError::Samples`] if it cannot be opened.
    pub fn open(settings: &SampleSettings) -> Result<Self, ServeError> {
        let open = |path: &std::path::PathBuf| -> std::io::Result<Mutex<Open>> {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            Ok(Mutex::new(Open {
                bytes: file.metadata()?.len(),
                file,
                max_bytes: settings.max_bytes,
                is_told: false,
            }))
        };
        let opened = settings.file.as_ref().map(|path| {
            open(path).map_err(|error| ServeError::Samples {
                path: path.clone(),
                reason: error.to_string(),
            })
        });
        Ok(Self {
            margin: settings.margin,
            open: opened.transpose()?,
        })
    }

    /// Adds a text if `predictor` was not sure of it; requests call it `model`. That it could not be written is logged and harms no answer.
    pub fn consider(&self, model: &str, predictor: &Predictor, input: &Input, prediction: &Prediction) {
        let Some(open) = &self.open else { return };
        let thresholds = |id: usize| predictor.decision().threshold(id as u32);
        let Some(margin) = margin(prediction, predictor.schema().task, &thresholds).filter(|it| *it < self.margin)
        else {
            return;
        };
        let columns = prediction.columns(predictor.schema(), None);
        let mut line = json!({
            "text": input.text,
            "label": columns.label,
            "margin": margin,
            "scores": columns.scores,
            "model": model,
            "time": rfc3339(SystemTime::now()),
        });
        if let Some(pair) = &input.text_pair {
            line["text_pair"] = json!(pair);
        }
        let line = format!("{line}\n");
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes + line.len() as u64 > open.max_bytes {
            if !open.is_told {
                tracing::warn!(bytes = open.bytes, "the file of samples is full; no more are added");
                open.is_told = true;
            }
            return;
        }
        match open.file.write_all(line.as_bytes()) {
            Ok(()) => open.bytes += line.len() as u64,
            Err(error) => tracing::error!(error = %error, "a sample could not be written"),
        }
    }
}

/// How far the model was from saying something else; `None` for numbers.
fn margin(prediction: &Prediction, task: Task, threshold: &dyn Fn(usize) -> f64) -> Option<f64> {
    let scores = &prediction.scores;
    match task {
        Task::Regression => None,
        Task::MultiLabel => {
            let distances = scores
                .iter()
                .enumerate()
                .map(|(id, score)| (score - threshold(id)).abs());
            distances.reduce(f64::min)
        }
        Task::SingleLabel => {
            let mut sorted = scores.clone();
            sorted.sort_by(|one, other| other.total_cmp(one));
            Some(sorted.first()? - sorted.get(1)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_leads_or_distances() {
        let prediction = |scores: &[f64]| Prediction {
            logits: Vec::new(),
            scores: scores.to_vec(),
            classes: Vec::new(),
            abstained: false,
        };
        let near = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}");
        near(margin(&prediction(&[0.2, 0.5, 0.3]), Task::SingleLabel, &|_| 0.5), 0.2);
        near(
            margin(&prediction(&[0.1, 0.95]), Task::MultiLabel, &|id| [0.3, 0.5][id]),
            0.2,
        );
        assert_eq!(margin(&prediction(&[3.0]), Task::Regression, &|_| 0.5), None);
        assert_eq!(margin(&prediction(&[1.0]), Task::SingleLabel, &|_| 0.5), None);
    }
}
