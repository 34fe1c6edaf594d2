//! What a training run tells whoever watches it.

use std::path::Path;

use serde_json::{Map, Value};

use super::memory::MemoryPlan;
use super::trainer::{Plan, StepReport};
use crate::decision::Decision;
use crate::metrics::Metrics;
use crate::model::{LoadNotes, Precision};

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// The checkpoint was read.
    Loaded(&'a LoadNotes),
    /// The teacher has scored some of the training rows.
    Teaching {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The first step is about to be taken.
    Started(Plan),
    /// What the model computes in.
    Computing(Precision),
    /// Some parameters are not trained.
    Frozen {
        /// How many numbers are.
        trained: usize,
        /// Of how many.
        all: usize,
    },
    /// A step was taken.
    Step(StepReport),
    /// Some of the validation examples have been scored.
    Evaluating {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The validation examples were scored.
    Evaluated {
        /// After this many steps.
        step: u64,
        /// Epochs done, as a fraction.
        epoch: f64,
        /// The result.
        metrics: &'a Metrics,
        /// Whether it is the best so far.
        is_best: bool,
    },
    /// Memory is too short for `train.micro_batch_tokens`: batches are cut up more, with the same result but for rounding.
    Planned {
        /// What the process may take.
        limit_bytes: u64,
        /// How the run stays within it.
        plan: MemoryPlan,
    },
    /// A resumed run cuts its batches up otherwise than before: the sums are the same, but for rounding.
    Resplit {
        /// The most tokens at a time when the checkpoint was written.
        before: usize,
        /// Those from here on.
        now: usize,
    },
    /// After training in less than `f32`, validation (or test) examples were scored in `f32` too.
    PrecisionCompared {
        /// What was trained in.
        precision: Precision,
        /// How many examples.
        examples: usize,
        /// How many of them got other labels.
        differing: usize,
    },
    /// The log has new entries at its end; of a resumed run first those of before.
    Logged(&'a [Map<String, Value>]),
    /// A decision was fitted on the validation examples.
    Decided(&'a Decision),
    /// A checkpoint was written.
    Saved(&'a Path),
    /// No gain for longer than patience lasts.
    StoppedEarly {
        /// After this many steps.
        step: u64,
        /// The watched metric.
        monitor: &'a str,
    },
}
