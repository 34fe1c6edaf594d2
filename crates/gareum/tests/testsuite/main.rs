//! The library against its references. One test binary of all files but `memory.rs` and `memory_limit.rs`, which count the memory
//! of their process.

mod checkpoints;
mod lora;
mod losses;
mod onnx;
mod parity;
mod tokenizer_kinds;
mod tokenizers;
mod training;
