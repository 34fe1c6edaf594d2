//! `POST /classify`: the model's own decision, with the scores of all labels.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use gareum::explain::{LabelMap, Options, Word};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Cost, explain, open};
use crate::app::App;
use crate::failure::Failure;
use crate::json_response;
use crate::request::own_inputs;
use crate::scoring::{Cut, score};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassifyRequest {
    inputs: Value,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    top_k: Option<usize>,
    #[serde(default)]
    truncate: Option<bool>,
    #[serde(default)]
    highlight: bool,
    /// How to highlight; alone, it asks for it.
    #[serde(default)]
    explain: Option<Options>,
}

pub async fn classify(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match answer(&app, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn answer(app: &App, request: Request<Body>) -> Result<Response, Failure> {
    let (body, caller): (ClassifyRequest, _) = open(app, request).await?;
    let served = app.registry.get(body.model.as_deref())?;
    let logged = app.settings.log.texts.then(|| body.inputs.to_string());
    let inputs = own_inputs(body.inputs)?;
    let cut = Cut {
        never: !body.truncate.unwrap_or(app.settings.limits.auto_truncate),
        keeps_end: false,
    };
    let wanted = body.highlight.then(Options::default);
    let explained = match body.explain.or(wanted) {
        None => None,
        Some(options) => {
            let check = explain::check(app, &served, &inputs, &options).await?;
            Some((check, inputs.clone(), options))
        }
    };
    let scored = score(app, &caller, &served, inputs, cut).await?;
    let schema = served.engine().predictor.schema();
    let mut results: Vec<Value> = scored
        .iter()
        .map(|scored| {
            let columns = scored.prediction.columns(schema, body.top_k);
            json!({
                "label": columns.label,
                "score": columns.score,
                "scores": columns.scores,
                "abstained": scored.prediction.abstained,
                "tokens": scored.tokens,
                "truncated": scored.full_length > scored.tokens,
            })
        })
        .collect();
    if let Some((engine, inputs, options)) = explained {
        let explanations = explain::explain_all(app, &engine, inputs, &options).await?;
        for (result, explanation) in results.iter_mut().zip(explanations) {
            result["highlights"] = explanation.maps.iter().map(highlight).collect();
        }
    }
    let mut response = json_response(StatusCode::OK, &json!({"model": served.name, "results": results}));
    response.extensions_mut().insert(Cost {
        model: served.name.clone(),
        texts: scored.len(),
        tokens: scored.iter().map(|scored| scored.tokens).sum(),
        logged,
    });
    Ok(response)
}

/// What is marked in a text for one label.
fn highlight(map: &LabelMap) -> Value {
    let span = |word: &Word| match word.pair {
        true => json!({"start": word.start, "end": word.end, "score": word.shown_score(), "pair": true}),
        false => json!({"start": word.start, "end": word.end, "score": word.shown_score()}),
    };
    json!({
        "label": map.label,
        "probability": map.probability,
        "spans": map.words.iter().map(span).collect::<Vec<_>>(),
        "best": map.best,
    })
}
