//! `POST /predict`, as text-embeddings-inference answers it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Cost, open};
use crate::app::App;
use crate::failure::Failure;
use crate::json_response;
use crate::request::tei_inputs;
use crate::scoring::{Cut, ranked, score};

#[derive(Deserialize)]
struct PredictRequest {
    inputs: Value,
    #[serde(default)]
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    #[serde(default)]
    raw_scores: bool,
    /// Not of text-embeddings-inference, which has one model.
    #[serde(default)]
    model: Option<String>,
}

/// Which end of a text that is too long goes.
#[derive(Deserialize, Clone, Copy, PartialEq, Default)]
enum Direction {
    #[default]
    #[serde(alias = "right")]
    Right,
    #[serde(alias = "left")]
    Left,
}

pub async fn predict(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match answer(&app, request).await {
        Ok(response) => response,
        Err(failure) => failure.as_tei(),
    }
}

async fn answer(app: &App, request: Request<Body>) -> Result<Response, Failure> {
    let begin = Instant::now();
    let (body, caller): (PredictRequest, _) = open(app, request).await?;
    let served = app.registry.get(body.model.as_deref())?;
    let logged = app.settings.log.texts.then(|| body.inputs.to_string());
    let (inputs, is_one) = tei_inputs(body.inputs)?;
    let characters: usize = inputs
        .iter()
        .map(|input| input.text.chars().count() + input.text_pair.as_ref().map_or(0, |pair| pair.chars().count()))
        .sum();
    let cut = Cut {
        never: !body.truncate.unwrap_or(app.settings.limits.auto_truncate),
        keeps_end: body.truncation_direction == Direction::Left,
    };
    let scored = score(app, &caller, &served, inputs, cut).await?;
    let tokens: usize = scored.iter().map(|scored| scored.tokens).sum();
    let answers = scored.iter().map(|scored| {
        let ranked = ranked(&served, &scored.prediction, body.raw_scores);
        // In 32 bits, as it is computed.
        let one = |(label, score): (String, f64)| json!({"score": score as f32, "label": label});
        Value::Array(ranked.into_iter().map(one).collect())
    });
    let mut answers: Vec<Value> = answers.collect();
    let texts = answers.len();
    let answer = match is_one {
        true => answers.pop().unwrap_or_default(),
        false => Value::Array(answers),
    };
    let mut response = json_response(StatusCode::OK, &answer);
    for (name, value) in [
        ("x-compute-characters", characters),
        ("x-compute-tokens", tokens),
        ("x-total-time", begin.elapsed().as_millis() as usize),
    ] {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    response.extensions_mut().insert(Cost {
        model: served.name.clone(),
        texts,
        tokens,
        logged,
    });
    Ok(response)
}
