//! From texts to predictions: limits, kept answers, tokens, the queue. The same for every route.

use std::sync::Arc;

use gareum::data::{Input, normalize};
use gareum::predict::Prediction;
use gareum::tokens::{Encoded, Truncation, TruncationStrategy};

use crate::access::Caller;
use crate::app::App;
use crate::batcher::Engine;
use crate::cache::{Kept, Key};
use crate::failure::Failure;
use crate::model::Served;
use crate::settings::LimitSettings;

/// Bytes of texts that are tokenized where the request is handled; more would hold up other requests.
const SMALL_BYTES: usize = 4096;

/// How texts that are too long are treated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    /// Refused instead of cut.
    pub never: bool,
    /// The end is kept instead of what the model's settings keep.
    pub keeps_end: bool,
}

/// What there is to say of one text.
pub type Scored = Kept;

/// Checks what can be checked before anything is computed.
///
/// # Errors
/// [`Failure`] says what is too much.
pub fn check(inputs: &[Input], limits: &LimitSettings) -> Result<(), Failure> {
    let (most, given) = (limits.texts, inputs.len());
    if given > most {
        return Err(Failure::TooManyTexts { most, given });
    }
    if inputs.is_empty() {
        return Err(Failure::Empty);
    }
    for input in inputs {
        let pair = input.text_pair.as_deref().unwrap_or_default();
        if input.text.is_empty() && pair.is_empty() {
            return Err(Failure::Empty);
        }
        let most = limits.characters;
        // Not counted where there cannot be as many.
        if input.text.len() + pair.len() > most {
            let given = input.text.chars().count() + pair.chars().count();
            if given > most {
                return Err(Failure::TooManyCharacters { most, given });
            }
        }
    }
    Ok(())
}

/// Predicts texts, in order.
///
/// # Errors
/// [`Failure`] says why not.
pub async fn score(
    app: &App,
    caller: &Caller,
    served: &Served,
    inputs: Vec<Input>,
    cut: Cut,
) -> Result<Vec<Scored>, Failure> {
    check(&inputs, &app.settings.limits)?;
    app.rates.take(caller, inputs.len())?;
    let texts = inputs.len();
    let scored = score_by(app, &served.name, served.engine(), inputs, cut).await?;
    app.statistics.texts(&served.name, texts);
    Ok(scored)
}

/// As [`score`] by one of the models of what requests call `name`, for what was checked and is counted already.
///
/// # Errors
/// As [`score`].
pub async fn score_by(
    app: &App,
    name: &str,
    engine: &Arc<Engine>,
    inputs: Vec<Input>,
    cut: Cut,
) -> Result<Vec<Scored>, Failure> {
    app.batcher.check(engine)?;
    let total = inputs.len();
    let mut scored: Vec<Option<Scored>> = vec![None; total];
    let mut keys = Vec::new();
    if !app.cache.is_off() {
        keys = inputs
            .iter()
            .map(|input| Key::new(engine.generation, cut.keeps_end, input))
            .collect();
        for (slot, key) in scored.iter_mut().zip(&keys) {
            *slot = app.cache.get(key);
        }
        let hits = scored.iter().flatten().count();
        app.statistics.cache(hits, total - hits);
    }
    let missing: Vec<usize> = (0..total).filter(|&index| scored[index].is_none()).collect();
    if !missing.is_empty() {
        let inputs = Arc::new(inputs);
        let encoded = tokenize(engine, &inputs, &missing, cut).await?;
        let lengths: Vec<(usize, usize)> = encoded
            .iter()
            .map(|encoded| (encoded.input_ids.len(), encoded.full_length))
            .collect();
        if cut.never
            && let Some(&(most, given)) = lengths.iter().find(|(tokens, full)| full > tokens)
        {
            return Err(Failure::TooLong { most, given });
        }
        let predictions = app.batcher.predict(engine, encoded).await?;
        for ((&index, prediction), (tokens, full_length)) in missing.iter().zip(predictions).zip(lengths) {
            if prediction.logits.iter().any(|logit| logit.is_nan()) {
                return Err(Failure::Backend("score is NaN".to_owned()));
            }
            app.samples
                .consider(name, &engine.predictor, &inputs[index], &prediction);
            let new = Scored {
                prediction,
                tokens,
                full_length,
            };
            if !app.cache.is_off() {
                app.cache.insert(keys[index].clone(), new.clone());
            }
            scored[index] = Some(new);
        }
    }
    let scored: Vec<Scored> = scored.into_iter().flatten().collect();
    if cut.never
        && let Some(kept) = scored.iter().find(|kept| kept.full_length > kept.tokens)
    {
        let (most, given) = (kept.tokens, kept.full_length);
        return Err(Failure::TooLong { most, given });
    }
    if scored.len() != total {
        return Err(Failure::Backend(
            "the model answered fewer texts than it was given".to_owned(),
        ));
    }
    Ok(scored)
}

/// Tokens of some of the texts; of many on a thread of its own. One text after another: rayon's threads are busy with the batch before.
async fn tokenize(
    engine: &Arc<Engine>,
    inputs: &Arc<Vec<Input>>,
    which: &[usize],
    cut: Cut,
) -> Result<Vec<Encoded>, Failure> {
    let length = |input: &Input| input.text.len() + input.text_pair.as_ref().map_or(0, String::len);
    if which.iter().map(|&index| length(&inputs[index])).sum::<usize>() <= SMALL_BYTES {
        return which.iter().map(|&index| encode(engine, &inputs[index], cut)).collect();
    }
    let (engine, inputs, which) = (Arc::clone(engine), Arc::clone(inputs), which.to_vec());
    let encode_all = move || {
        which
            .iter()
            .map(|&index| encode(&engine, &inputs[index], cut))
            .collect()
    };
    let encoded = tokio::task::spawn_blocking(encode_all).await;
    encoded.unwrap_or_else(|error| Err(Failure::Tokenizer(error.to_string())))
}

fn encode(engine: &Engine, input: &Input, cut: Cut) -> Result<Encoded, Failure> {
    let predictor = &engine.predictor;
    let mut truncation = predictor.truncation();
    if cut.keeps_end {
        truncation = Truncation {
            strategy: TruncationStrategy::Tail,
            ..truncation
        };
    }
    let steps = predictor.normalize_steps();
    let text = normalize(&input.text, steps);
    let pair = input.text_pair.as_ref().map(|pair| normalize(pair, steps));
    let encoded = predictor.tokenizer().encode(&text, pair.as_deref(), truncation);
    encoded.map_err(|error| Failure::Tokenizer(error.to_string()))
}

/// The scores of a prediction with their labels, best first: of regression the number itself.
pub fn ranked(served: &Served, prediction: &Prediction, raw: bool) -> Vec<(String, f64)> {
    let schema = served.engine().predictor.schema();
    let values: Vec<f64> = match raw {
        true => prediction.logits.iter().map(|&logit| f64::from(logit)).collect(),
        false => prediction.scores.clone(),
    };
    let mut ranked: Vec<(String, f64)> = schema.names.iter().cloned().zip(values).collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
    ranked
}
