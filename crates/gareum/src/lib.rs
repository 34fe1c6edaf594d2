#![forbid(unsafe_code)]
//! From labelled text to a classifier.
pub mod data;
pub mod metrics;
