//! What a server says about itself.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::failure::Failure;
use crate::json_response;

/// What `/openapi.json` answers.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Alive: the process answers.
pub async fn health() -> Response {
    json_response(StatusCode::OK, &json!({"status": "ok"}))
}

/// Ready for requests: not while it ends.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.is_ending.load(Relaxed) {
        true => Failure::Ending.into_response(),
        false => json_response(StatusCode::OK, &json!({"status": "ready"})),
    }
}

/// The keys of text-embeddings-inference, and the names of all models.
pub async fn info(State(app): State<Arc<App>>) -> Response {
    let served = match app.registry.get(None) {
        Ok(served) => served,
        Err(failure) => return failure.into_response(),
    };
    let predictor = &served.engine().predictor;
    let names = &predictor.schema().names;
    let by_id: Map<String, Value> = (0..)
        .zip(names)
        .map(|(id, name): (u32, _)| (id.to_string(), json!(name)))
        .collect();
    let by_name: Map<String, Value> = (0..)
        .zip(names)
        .map(|(id, name): (u32, _)| (name.clone(), json!(id)))
        .collect();
    let settings = &app.settings;
    let kind = match names.len() {
        1 => "reranker",
        _ => "classifier",
    };
    let info = json!({
        "model_id": served.directory,
        "model_sha": null,
        "model_dtype": predictor.precision().name(),
        "served_model_name": served.name,
        "model_type": {kind: {"id2label": by_id, "label2id": by_name}},
        "max_concurrent_requests": settings.queue.max_requests,
        "max_input_length": predictor.truncation().max_length,
        "max_batch_tokens": settings.batch.max_tokens,
        "max_batch_requests": null,
        "max_client_batch_size": settings.limits.texts,
        "auto_truncate": settings.limits.auto_truncate,
        "tokenization_workers": crate::runtime_threads(),
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
        "models": app.registry.all().iter().map(|served| served.name.clone()).collect::<Vec<_>>(),
    });
    json_response(StatusCode::OK, &info)
}

pub async fn stats(State(app): State<Arc<App>>) -> Response {
    json_response(StatusCode::OK, &app.statistics.to_json(app.moment()))
}

pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (
        [(header::CONTENT_TYPE, kind)],
        app.statistics.to_prometheus(app.moment()),
    )
        .into_response()
}

pub async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], OPENAPI).into_response()
}
