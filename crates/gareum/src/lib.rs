//! From labelled text to a trained, measured and usable classifier: what the `gareum` command line is made of.
//!
//! Not here: kernels and gradients (`tensor`), arguments and printing (`cli`). The library prints nothing; long work reports
//! events.
//!
//! - [`data`]: files to labelled examples; [`inspect`]: what they are like; [`tokens`]: texts to packed batches of ids.
//! - [`model`]: encoder and head, read from and written to Hugging Face's formats; [`head`]: the losses.
//! - [`train`]: the loop, its checkpoints, and a whole run from settings to a model directory.
//! - [`predict`]: a saved model on new texts; [`decision`]: from its logits to labels.
//! - [`metrics`]: what is measured; [`evaluation`]: what a model gets right and wrong; [`baseline`]: the yardstick beside it.
//! - [`chain`]: keywords and the sentiment of each, by two models one behind the other.
//! - [`comparison`]: several models on the same rows.
//! - [`explain`]: which words made a model say what it says.
//! - [`compress`]: smaller models that do the same, behind a gate.
//! - [`export`]: models as ONNX files, for runtimes elsewhere.
//! - [`report`]: pages and plots.
//! - [`bench`]: how fast a model is here, beside what the machine can reach.
//! - [`hub`]: models and datasets by their names on the Hugging Face hub, and the cache they are kept in.
//! - [`settings`]: the contents of `gareum.toml`; [`sweep`]: trying out several of them.

#![forbid(unsafe_code)]

pub mod baseline;
pub mod bench;
pub mod chain;
pub mod comparison;
pub mod compress;
pub mod data;
pub mod decision;
pub mod evaluation;
pub mod explain;
pub mod export;
pub mod files;
pub mod head;
pub mod hub;
pub mod inspect;
pub mod machine;
pub mod metrics;
pub mod model;
pub mod predict;
pub mod report;
pub mod settings;
pub mod sweep;
pub mod tokens;
pub mod train;
