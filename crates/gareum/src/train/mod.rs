//! Training: the loop over batches (`trainer.rs`), what it writes (`checkpoint.rs`, `state.rs`) and tells (`event.rs`), when it stops
//! (`early_stopping.rs`), and a whole run from settings to a model directory (`run.rs`).

mod checkpoint;
mod diagnosis;
mod distillation;
mod dry_run;
mod early_stopping;
mod error;
mod evaluate;
mod event;
mod features;
mod logs;
mod memory;
mod page;
mod run;
mod saved;
mod schedule;
mod speed;
mod state;
mod teacher_file;
mod trainer;
mod walk;

pub use diagnosis::{Diagnosis, Finding, Level};
pub use distillation::{Lessons, TeacherError};
pub use dry_run::{DryRun, DryRunOptions, Measured, PartSizes, Quantiles, StepCounts, dry_run, memory_needed};
pub use early_stopping::{EarlyStopping, Verdict};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use event::Event;
pub use memory::{MemoryEstimate, MemoryPlan, MemoryShortage, Method, PassSize, Passes};
pub use run::{PartReport, Parts, Prepared, RunOptions, RunReport, encode_examples, prepare, run, train_and_save};
pub use schedule::Schedule;
pub(crate) use speed::{Steps, with_made_up_labels};
pub use state::TrainerState;
pub use trainer::{EncodedExample, Outcome, Plan, StepReport, Trainer};

/// Whether weight decay applies to a parameter: not to biases and norms, which are the ones with a single dimension.
pub fn has_weight_decay(shape: &[usize]) -> bool {
    shape.len() > 1
}
