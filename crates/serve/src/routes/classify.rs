//! `POST /classify`: the model's own decision, with the scores of all labels.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use gareum::data::Input;
use gareum::explain::{LabelMap, Options, Word};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Cost, explain, open};
use crate::app::App;
use crate::failure::Failure;
use crate::json_response;
use crate::model::{Kind, Served, ServedChain};
use crate::request::own_inputs;
use crate::scoring::{Cut, Scored, score, score_by};

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
    let (scored, mut results) = match &served.kind {
        Kind::Classifier(engine) => {
            let scored = score(app, &caller, &served, inputs, cut).await?;
            let schema = engine.predictor.schema();
            let results = scored.iter().map(|scored| {
                let columns = scored.prediction.columns(schema, body.top_k);
                described(
                    scored,
                    json!({"label": columns.label, "score": columns.score, "scores": columns.scores}),
                )
            });
            let results: Vec<Value> = results.collect();
            (scored, results)
        }
        Kind::Chain(chain) => {
            let scored = score(app, &caller, &served, inputs.clone(), cut).await?;
            let results = aspects(app, &served, chain, &inputs, &scored).await?;
            (scored, results)
        }
    };
    if let Some((explainer, inputs, options)) = explained {
        let explanations = explain::explain_all(app, &explainer, inputs, &options).await?;
        for (result, explanation) in results.iter_mut().zip(explanations) {
            let highlights: Vec<Value> = explanation.maps.iter().map(highlight).collect();
            match result.get_mut("aspects").and_then(Value::as_array_mut) {
                None => result["highlights"] = highlights.into(),
                // In the order of the aspects, unless others were asked for by name.
                Some(aspects) => {
                    for (aspect, label) in aspects
                        .iter_mut()
                        .zip(explanation.label.as_array().into_iter().flatten())
                    {
                        let of_aspect = highlights.iter().filter(|map| map["label"] == *label);
                        aspect["highlights"] = of_aspect.cloned().collect();
                    }
                }
            }
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

/// What every answer has, and what is special.
fn described(scored: &Scored, mut special: Value) -> Value {
    special["abstained"] = json!(scored.prediction.abstained);
    special["tokens"] = json!(scored.tokens);
    special["truncated"] = json!(scored.full_length > scored.tokens);
    special
}

/// What a chain says of texts whose keywords are known: the questions about all of them go through the queue together.
async fn aspects(
    app: &App,
    served: &Served,
    served_chain: &ServedChain,
    inputs: &[Input],
    scored: &[Scored],
) -> Result<Vec<Value>, Failure> {
    let ServedChain { chain, second, .. } = served_chain;
    let asked = inputs.iter().zip(scored);
    let questions: Vec<Input> = asked
        .flat_map(|(input, scored)| chain.questions(input, &scored.prediction))
        .collect();
    let answers = match second {
        Some(second) if !questions.is_empty() => score_by(app, &served.name, second, questions, Cut::default()).await?,
        _ => Vec::new(),
    };
    let mut answers = answers.into_iter().map(|answer| answer.prediction);
    let described = scored.iter().map(|scored| {
        let columns = chain.columns(&chain.combine(scored.prediction.clone(), &mut answers));
        described(
            scored,
            json!({"label": columns.label, "aspects": columns.aspects, "keywords": columns.keywords}),
        )
    });
    Ok(described.collect())
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
