#![forbid(unsafe_code)]
//! The `gareum` command line.
fn main() {}
