//! Models behind HTTP: the API, the page, and everything that a server needs around them.
//!
//! Not here: what models compute (`gareum::predict`) and flags (`cli`). `app.rs` puts the parts together; `listen.rs` runs them on a port.

#![forbid(unsafe_code)]

mod access;
mod app;
mod batcher;
mod cache;
mod error;
mod failure;
mod listen;
mod logging;
mod model;
mod registry;
mod request;
mod routes;
mod samples;
mod scoring;
mod settings;
mod statistics;
mod tls;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

pub use app::{App, app};
pub use batcher::Worker;
pub use error::ServeError;
pub use failure::Failure;
pub use listen::{Bound, serve};
pub use logging::start as start_logging;
pub use settings::*;

fn json_response(status: StatusCode, body: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response()
}

/// Threads that read requests and write answers: few, because those that compute want the cores.
fn runtime_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 8))
}
