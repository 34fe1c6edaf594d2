//! Trying out settings: which trials there are (`plan.rs`), who of them goes on (`halving.rs`), what is known of them and how it outlives a
//! kill (`state.rs`), who is best (`ranking.rs`), and the report (`page.rs`).
//!
//! Not here: running trials. Each is a training run in a process of its own, which is the command line's to start; here nothing runs.

mod error;
mod halving;
mod page;
mod plan;
mod ranking;
mod state;

pub use error::SweepError;
pub use halving::{Leg, Standing, rungs, standing};
pub use page::page;
pub use plan::{Plan, Trial, shown_value};
pub use ranking::{Outlook, Ranked, outlook, ranking};
pub use state::{Lock, STATE_FILE, Sweep, TrialRecord, TrialState};
