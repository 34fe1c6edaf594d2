//! Tensors, a reverse-mode tape and every kernel of gareum.
//!
//! Not here: texts, tokens, labels, files of settings. A batch reaches this crate as packed rows: `[tokens, hidden_size]`
//! beside `sequence_starts: [batch + 1]`, so no operation ever sees a padding token.
//!
//! - [`Tensor`]: values with a shape; [`Parameters`]: the named, trainable ones.
//! - [`Tape`], [`Var`], [`Gradients`]: record a forward pass, run it backwards (`autograd.rs`).
//! - [`ops`]: the differentiable operations, each file with its formula, forward, gradient and tests.
//! - [`optimizer`]: AdamW and gradient clipping as PyTorch computes them.
//! - [`random`]: counter-based random numbers, from which dropout masks are made and never stored.
//! - [`cpu`]: which instructions are used, and the matrix product.
//!
//! Every operation runs in `f64` too, through a plain path: that is what gradients are checked with.
//!
//! ```
//! use tensor::ops::{self, Affine};
//! use tensor::{Activation, Parameters, Tape, Tensor};
//!
//! let mut parameters = Parameters::default();
//! let weight = parameters.add("weight", Tensor::from_vec(vec![1.0f32, -2.0], &[1, 2])?);
//! let tape = Tape::recording();
//! let input = tape.constant(Tensor::from_vec(vec![3.0f32, 1.0], &[1, 2])?);
//! let weight_of = tape.parameter(&parameters, weight);
//! let parts = [Affine { weight: &weight_of, bias: None }];
//! let output = ops::linear(&tape, &input, Activation::Identity, &parts)?;
//! let loss = ops::mean_squared_error(&tape, &output, &[0.0], 1.0)?;
//! assert_eq!(loss.value().to_f64_vec(), [1.0]); // (3 - 2)²
//! let mut gradients = tensor::ParameterGradients::for_parameters(&parameters);
//! tape.backward(&loss, &mut gradients)?;
//! assert_eq!(gradients.get(weight).map(Tensor::to_f64_vec), Some(vec![6.0, 2.0])); // 2 · (3 - 2) · input
//! # Ok::<(), tensor::Error>(())
//! ```

mod autograd;
mod buffer;
pub mod cpu;
mod dtype;
mod error;
mod int8;
pub mod memory;
mod nf4;
pub mod ops;
pub mod optimizer;
mod parameters;
pub mod random;
mod tensor;

pub use autograd::{Gradients, ParameterGradients, Tape, Var};
pub use dtype::{DType, Element, Float, Real, bf16};
pub use error::Error;
pub use int8::Int8Rows;
pub use nf4::Nf4;
pub use ops::activation::Activation;
pub use parameters::{ParameterId, Parameters};
pub use random::Dropout;
pub use tensor::Tensor;

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;
