//! `trainer_state.json`, as `transformers` writes it: the log of a run and where it stands.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a run has logged. Keys of entries are those of `transformers`' `Trainer`: `loss`, `grad_norm`, `learning_rate`;
/// `eval_loss`, `eval_accuracy`, ...; each with `epoch` and `step`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// The step with the best evaluation.
    pub best_global_step: Option<u64>,
    /// The best value of the watched metric.
    pub best_metric: Option<f64>,
    /// The checkpoint of that step, if one was written.
    pub best_model_checkpoint: Option<String>,
    /// Epochs done, as a fraction.
    pub epoch: f64,
    /// Steps between two evaluations.
    pub eval_steps: u64,
    /// Optimiser steps done.
    pub global_step: u64,
    is_hyper_param_search: bool,
    is_local_process_zero: bool,
    is_world_process_zero: bool,
    /// The entries in order.
    pub log_history: Vec<Map<String, Value>>,
    /// Steps between two entries.
    pub logging_steps: u64,
    /// Optimiser steps of the whole run.
    pub max_steps: u64,
    /// Tokens that went through the model in training.
    pub num_input_tokens_seen: u64,
    /// Passes over the training rows.
    pub num_train_epochs: u64,
    /// Steps between two checkpoints.
    pub save_steps: u64,
    stateful_callbacks: Map<String, Value>,
    total_flos: f64,
    /// Examples of one step.
    pub train_batch_size: usize,
    trial_name: Option<String>,
    trial_params: Option<Value>,
}

impl TrainerState {
    /// Nothing done yet.
    pub fn new() -> Self {
        Self {
            is_local_process_zero: true,
            is_world_process_zero: true,
            ..Self::default()
        }
    }

    /// Adds an entry; `epoch` and `step` are filled in.
    pub fn log(&mut self, entry: impl IntoIterator<Item = (String, Value)>) {
        let mut entry: Map<String, Value> = entry.into_iter().collect();
        entry.insert("epoch".to_owned(), json!(self.epoch));
        entry.insert("step".to_owned(), json!(self.global_step));
        self.log_history.push(entry);
    }
}
