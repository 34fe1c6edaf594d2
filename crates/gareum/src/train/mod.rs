//! Training: the loop, its optimiser settings, checkpoints and early stopping.

mod schedule;

pub use schedule::Schedule;

/// Whether weight decay applies to a parameter: not to biases and norms, which are the ones with a single dimension.
pub fn has_weight_decay(_name: &str, shape: &[usize]) -> bool {
    shape.len() > 1
}
