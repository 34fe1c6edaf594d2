//! Training steps one by one, to be timed: on made-up labels, and whatever they make of the model is thrown away.

use super::trainer::Progress;
use super::{EncodedExample, Plan, StepReport, TrainError, Trainer};
use crate::data::{LabelSchema, Target, Task};
use crate::model::Model;
use crate::settings::TrainSettings;
use crate::tokens::{Encoded, Tokenizer, shuffled_batches};

/// A run of which only steps are taken.
pub(crate) struct Steps<'a> {
    trainer: Trainer<'a>,
    progress: Progress,
    plan: Plan,
    batches: Vec<Vec<usize>>,
}

impl<'a> Steps<'a> {
    /// `settings.max_steps` is how many can be taken.
    pub fn new(
        model: &'a mut Model,
        tokenizer: &'a Tokenizer,
        settings: &'a TrainSettings,
        train: &'a [EncodedExample],
    ) -> Result<Self, TrainError> {
        let mut trainer = Trainer {
            model,
            tokenizer,
            settings,
            max_length: 0,
            train,
            lessons: None,
            validation: &[],
            test: &[],
            checkpoints: None,
            resume: None,
            pause_after: None,
        };
        let plan = trainer.plan()?;
        let progress = trainer.start(plan)?;
        let batches = shuffled_batches(train.len(), settings.batch_size, settings.seed, 0);
        Ok(Self {
            trainer,
            progress,
            plan,
            batches,
        })
    }

    /// The examples of a step, counted from 0.
    pub fn batch(&self, step: usize) -> &[usize] {
        &self.batches[step % self.batches.len()]
    }

    /// Takes a step.
    pub fn take(&mut self, step: usize) -> Result<StepReport, TrainError> {
        let batch = &self.batches[step % self.batches.len()];
        self.trainer.step(&mut self.progress, &self.plan, batch)
    }
}

/// Texts with labels of the schema that mean nothing.
pub(crate) fn with_made_up_labels(encoded: Vec<Encoded>, schema: &LabelSchema) -> Vec<EncodedExample> {
    let labels = schema.num_labels().max(1);
    let target = |index: usize| match schema.task {
        Task::SingleLabel => Target::Class((index % labels) as u32),
        Task::MultiLabel => Target::Classes(vec![(index % labels) as u32]),
        Task::Regression => Target::Value((index % 2) as f32),
    };
    encoded
        .into_iter()
        .enumerate()
        .map(|(index, encoded)| EncodedExample {
            encoded,
            target: target(index),
        })
        .collect()
}
