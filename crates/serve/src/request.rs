//! Bodies of requests: read within limits, then JSON of a known shape.

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use gareum::data::Input;
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use crate::failure::Failure;
use crate::settings::{LimitSettings, seconds};

/// Reads the body as JSON.
///
/// # Errors
/// [`Failure`] says what is wrong with it.
pub async fn read_json<T: DeserializeOwned>(request: Request<Body>, limits: &LimitSettings) -> Result<T, Failure> {
    if !is_json(request.headers()) {
        return Err(Failure::NotJson);
    }
    let most = limits.body_bytes;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(Failure::BodyTooLarge { most });
    }
    let read = axum::body::to_bytes(request.into_body(), most);
    let bytes = match tokio::time::timeout(seconds(limits.body_seconds), read).await {
        Err(_) => {
            let seconds = limits.body_seconds;
            return Err(Failure::BodyTooSlow { seconds });
        }
        Ok(Err(error)) => {
            let is_length = std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>());
            return Err(match is_length {
                true => Failure::BodyTooLarge { most },
                false => Failure::BodyBroken(error.to_string()),
            });
        }
        Ok(Ok(bytes)) => bytes,
    };
    parse(&bytes)
}

/// JSON of a known shape.
///
/// # Errors
/// [`Failure::Syntax`] if it is none, [`Failure::Shape`] if it is of another shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Failure::Shape(error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => Failure::Syntax(error.to_string()),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// Texts as text-embeddings-inference takes them, and whether they were one.
///
/// # Errors
/// [`Failure::Shape`].
pub fn tei_inputs(inputs: Value) -> Result<(Vec<Input>, bool), Failure> {
    const EXPECTED: &str = "`inputs` must be a string, a pair of strings [string, string] or a batch of mixed strings and pairs \
                            [[string], [string, string], ...]";
    let wrong = || Failure::Shape(EXPECTED.to_owned());
    let sequence = |texts: Vec<Value>| -> Result<Input, Failure> {
        let texts: Option<Vec<String>> = texts.into_iter().map(text_of).collect();
        let mut texts = texts.ok_or_else(wrong)?.into_iter();
        match (texts.next(), texts.next(), texts.next()) {
            (Some(text), text_pair, None) => Ok(Input { text, text_pair }),
            _ => Err(wrong()),
        }
    };
    match inputs {
        Value::String(text) => Ok((vec![Input { text, text_pair: None }], true)),
        Value::Array(items) if items.first().is_some_and(Value::is_string) => Ok((vec![sequence(items)?], true)),
        Value::Array(items) if !items.is_empty() => {
            let batch = items.into_iter().map(|item| match item {
                Value::Array(texts) => sequence(texts),
                _ => Err(wrong()),
            });
            Ok((batch.collect::<Result<_, _>>()?, false))
        }
        _ => Err(wrong()),
    }
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Texts as our own routes take them: always a list in the end.
///
/// # Errors
/// [`Failure::Shape`].
pub fn own_inputs(inputs: Value) -> Result<Vec<Input>, Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        text: String,
        #[serde(default)]
        text_pair: Option<String>,
    }
    let one = |value: Value| match value {
        Value::String(text) => Ok(Input { text, text_pair: None }),
        value @ Value::Object(_) => {
            let Pair { text, text_pair } =
                serde_json::from_value(value).map_err(|error| Failure::Shape(format!("`inputs`: {error}")))?;
            Ok(Input { text, text_pair })
        }
        _ => Err(Failure::Shape(
            "`inputs` must be a text, {\"text\": ..., \"text_pair\": ...}, or a list of these".to_owned(),
        )),
    };
    match inputs {
        Value::Array(items) => items.into_iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shown(inputs: &[Input]) -> Vec<(&str, Option<&str>)> {
        let shown = inputs
            .iter()
            .map(|input| (input.text.as_str(), input.text_pair.as_deref()));
        shown.collect()
    }

    #[test]
    fn inputs_of_tei() {
        for (given, expected, is_one) in [
            (json!("a"), vec![("a", None)], true),
            (json!(["a"]), vec![("a", None)], true),
            (json!(["a", "b"]), vec![("a", Some("b"))], true),
            (json!([["a"]]), vec![("a", None)], false),
            (json!([["a", "b"], ["c"]]), vec![("a", Some("b")), ("c", None)], false),
        ] {
            let (found, one) = tei_inputs(given.clone()).unwrap();
            assert_eq!((shown(&found), one), (expected, is_one), "{given}");
        }
        for wrong in [
            json!([]),
            json!([[]]),
            json!(["a", "b", "c"]),
            json!(["a", ["b"]]),
            json!([["a"], "b"]),
            json!([["a", "b", "c"]]),
            json!(["a", null]),
            json!([["a", 1]]),
            json!(1),
            json!(null),
            json!({"text": "a"}),
        ] {
            assert!(matches!(tei_inputs(wrong.clone()), Err(Failure::Shape(_))), "{wrong}");
        }
    }

    #[test]
    fn inputs_of_our_own() {
        for (given, expected) in [
            (json!("a"), vec![("a", None)]),
            (json!(["a", "b"]), vec![("a", None), ("b", None)]),
            (json!({"text": "a", "text_pair": "b"}), vec![("a", Some("b"))]),
            (json!([{"text": "a"}, "b"]), vec![("a", None), ("b", None)]),
            (json!([]), vec![]),
        ] {
            assert_eq!(shown(&own_inputs(given.clone()).unwrap()), expected, "{given}");
        }
        for wrong in [
            json!([["a"]]),
            json!({"txt": "a"}),
            json!({}),
            json!(null),
            json!({"text": 1}),
        ] {
            assert!(matches!(own_inputs(wrong.clone()), Err(Failure::Shape(_))), "{wrong}");
        }
    }

    #[test]
    fn bodies_that_are_no_json_are_told_from_those_of_another_shape() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for bytes in [
            &b""[..],
            b"{",
            b"{\"a\":\"\xff\"}",
            b"nul",
            b"[1]]",
            &deep,
            b"{\"a\":\"\\ud800\"}",
        ] {
            assert!(matches!(parse::<Value>(bytes), Err(Failure::Syntax(_))));
        }
        assert!(matches!(parse::<Vec<u8>>(b"{}"), Err(Failure::Shape(_))));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("text|text_pair|[a-z]{1,3}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_taken_or_refused(value in any_json()) {
            if let Ok((inputs, is_one)) = tei_inputs(value.clone()) {
                prop_assert!(!inputs.is_empty() && (!is_one || inputs.len() == 1));
            }
            let _ = own_inputs(value);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<Value>(&bytes);
        }
    }
}
