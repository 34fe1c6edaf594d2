//! From hidden states to logits, and from logits to a loss.

mod classifier;
mod distillation;
mod loss;

pub(crate) use classifier::Head;
pub use distillation::{Distillation, Taught, WholeBatch, distillation_loss, hidden_loss};
pub use loss::{LossOptions, balanced_weights, loss, loss_with};
