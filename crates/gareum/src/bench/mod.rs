//! How fast this machine is: a model of a directory (`model.rs`), and what processor and memory can reach, with the products of
//! well-known models beside it (`cpu.rs`).

mod cpu;
mod model;

pub use cpu::{CpuBench, MemoryRate, PeakRate, ProductRate, ProductShape, Spread, measure_cpu};
pub use model::{Bench, BenchError, BenchOptions, Latency, ModelBench, PredictionSpeed, Tokenization, TrainingSpeed};
