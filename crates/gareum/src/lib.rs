#![forbid(unsafe_code)]
//! From labelled text to a classifier.
