//! The models: what they are, what is known of them, and reading one again.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::page::REPORT_POLICY;
use crate::app::App;
use crate::failure::Failure;
use crate::json_response;

pub async fn list(State(app): State<Arc<App>>) -> Response {
    let all = app.registry.all();
    let described: Vec<Value> = all.iter().map(|served| served.describe()).collect();
    let default = all.first().map(|served| served.name.clone());
    json_response(StatusCode::OK, &json!({"default": default, "models": described}))
}

pub async fn metrics(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Failure> {
    let served = app.registry.get(Some(&name))?;
    let nothing = || Failure::NotFound(format!("`{name}`: it has no metrics.json"));
    let metrics = served.metrics.as_ref().ok_or_else(nothing)?;
    Ok(json_response(StatusCode::OK, metrics))
}

pub async fn report(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Failure> {
    let served = app.registry.get(Some(&name))?;
    let nothing = || Failure::NotFound(format!("`{name}`: it has no report"));
    let path = served.report().ok_or_else(nothing)?;
    let page = tokio::fs::read(path).await.map_err(|_| nothing())?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY)),
    ];
    Ok((headers, page).into_response())
}

pub async fn reload(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Failure> {
    if !app.needs_keys() {
        // Everybody could keep the machine busy with it.
        return Err(Failure::Unauthorized);
    }
    let shared = Arc::clone(&app);
    let read = tokio::task::spawn_blocking(move || shared.registry.reload(&name, &shared.statistics)).await;
    let served = read.map_err(|error| Failure::Backend(error.to_string()))??;
    tracing::info!(model = served.name, "reloaded");
    Ok(json_response(StatusCode::OK, &served.describe()))
}
