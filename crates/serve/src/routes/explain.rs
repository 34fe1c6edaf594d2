//! `POST /explain`: which words made the model say what it says.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use gareum::chain::ChainError;
use gareum::data::Input;
use gareum::explain::{ExplainError, Explanation, Method, Options};
use gareum::predict::PredictError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Cost, open};
use crate::app::App;
use crate::failure::Failure;
use crate::json_response;
use crate::model::{Explainer, Served};
use crate::request::own_inputs;
use crate::scoring;

#[derive(Deserialize)]
struct ExplainRequest {
    inputs: Value,
    #[serde(default)]
    model: Option<String>,
    /// The options of [`Options`], which refuses what it does not know.
    #[serde(flatten)]
    options: Map<String, Value>,
}

pub async fn explain(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match answer(&app, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn answer(app: &App, request: Request<Body>) -> Result<Response, Failure> {
    let (body, caller): (ExplainRequest, _) = open(app, request).await?;
    let served = app.registry.get(body.model.as_deref())?;
    let options: Options =
        serde_json::from_value(Value::Object(body.options)).map_err(|error| Failure::Shape(error.to_string()))?;
    let logged = app.settings.log.texts.then(|| body.inputs.to_string());
    let inputs = own_inputs(body.inputs)?;
    scoring::check(&inputs, &app.settings.limits)?;
    let explainer = check(app, &served, &inputs, &options).await?;
    app.rates.take(&caller, inputs.len())?;
    let texts = inputs.len();
    let explanations = explain_all(app, &explainer, inputs, &options).await?;
    app.statistics.texts(&served.name, texts);
    let mut response = json_response(StatusCode::OK, &json!({"model": served.name, "results": explanations}));
    response.extensions_mut().insert(Cost {
        model: served.name.clone(),
        texts,
        tokens: 0,
        logged,
    });
    Ok(response)
}

/// Fails where explaining would; gives the model that explains.
pub async fn check(app: &App, served: &Arc<Served>, inputs: &[Input], options: &Options) -> Result<Explainer, Failure> {
    let (most, given) = (app.settings.explain.texts, inputs.len());
    if given > most {
        return Err(Failure::TooManyTexts { most, given });
    }
    let explainer = match options.method {
        Method::Occlusion => served.explainer(),
        _ if !app.settings.explain.gradients => {
            return Err(Failure::Unfit(format!(
                "this server answers `{}` only; explain.gradients lets it answer `{}`",
                Method::Occlusion.name(),
                options.method.name()
            )));
        }
        _ => {
            let served = Arc::clone(served);
            let read = tokio::task::spawn_blocking(move || served.for_gradients()).await;
            let read = read.map_err(|error| Failure::Backend(error.to_string()))?;
            read.map_err(|error| Failure::Backend(error.to_string()))?
        }
    };
    explainer.check(options).map_err(failure)?;
    Ok(explainer)
}

/// Explains texts, in order, each between two batches, so that others are not kept waiting for all of them.
pub async fn explain_all(
    app: &App,
    explainer: &Explainer,
    inputs: Vec<Input>,
    options: &Options,
) -> Result<Vec<Explanation>, Failure> {
    let engine = explainer.engine();
    let longest = engine.predictor.truncation().max_length;
    let mut explanations = Vec::with_capacity(inputs.len());
    for input in inputs {
        let pair = input.text_pair.as_deref().unwrap_or_default();
        let words = input.text.split_whitespace().chain(pair.split_whitespace()).count();
        // About one text without each of its words.
        let tokens = (words.min(longest) + 1) * (2 * words).clamp(1, longest);
        let (shared, options) = (explainer.clone(), options.clone());
        let act = move || shared.explain(&[input], &options).map_err(failure);
        explanations.extend(app.batcher.run(engine, tokens, act).await?);
    }
    Ok(explanations)
}

fn failure(error: ChainError) -> Failure {
    let of_model = |error: &PredictError| match error {
        PredictError::Tokenizer(error) => Failure::Tokenizer(error.to_string()),
        error => Failure::Backend(error.to_string()),
    };
    match &error {
        ChainError::Predict(error) => of_model(error),
        ChainError::Explain(explain) => match &**explain {
            ExplainError::Predict(error) => of_model(error),
            error => Failure::Unfit(error.to_string()),
        },
        error => Failure::Unfit(error.to_string()),
    }
}
