//! What can be wrong with a request: programs read the status and the `kind`, people the message, in English.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::json_response;

/// Why a request is not answered as it wished. Each has a status, a `kind` for our own routes and an `error_type` for those of
/// text-embeddings-inference.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// A text is empty.
    #[error("`inputs` cannot be empty")]
    Empty,
    /// A text has too many tokens and is not to be cut.
    #[error("`inputs` must have less than {most} tokens. Given: {given}")]
    TooLong {
        /// What the model takes.
        most: usize,
        /// What there is.
        given: usize,
    },
    /// A text has too many characters.
    #[error("`inputs` must have less than {most} characters. Given: {given}")]
    TooManyCharacters {
        /// The limit.
        most: usize,
        /// What there is.
        given: usize,
    },
    /// There are too many texts.
    #[error("batch size {given} > maximum allowed batch size {most}")]
    TooManyTexts {
        /// The limit.
        most: usize,
        /// What there is.
        given: usize,
    },
    /// The body is too large.
    #[error("the body has more than {most} bytes")]
    BodyTooLarge {
        /// The limit.
        most: usize,
    },
    /// The body did not come in time.
    #[error("the body did not come within {seconds} s")]
    BodyTooSlow {
        /// The limit.
        seconds: f64,
    },
    /// The body broke off.
    #[error("the body could not be read: {0}")]
    BodyBroken(String),
    /// The body does not say that it is JSON.
    #[error("expected a request with `Content-Type: application/json`")]
    NotJson,
    /// The body is no JSON.
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    /// The body is JSON of another shape.
    #[error("the body does not fit: {0}")]
    Shape(String),
    /// What is asked for does not go with the model.
    #[error("{0}")]
    Unfit(String),
    /// No model has the name.
    #[error("there is no model `{name}`; there are: {known}")]
    UnknownModel {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// There is nothing at the path.
    #[error("there is nothing at {0}")]
    NotFound(String),
    /// The path takes another method.
    #[error("{0} is not answered here with another method")]
    Method(String),
    /// No key, or a wrong one.
    #[error("an API key is needed: `Authorization: Bearer KEY`")]
    Unauthorized,
    /// More waits than can be computed in time.
    #[error("Model is overloaded")]
    Overloaded {
        /// When to come again.
        retry_after: Duration,
    },
    /// The caller asks too often.
    #[error("too many texts: {rate} a second are allowed")]
    RateLimited {
        /// Texts a second.
        rate: f64,
        /// When to come again.
        retry_after: Duration,
    },
    /// A text could not be tokenized.
    #[error("tokenizer error {0}")]
    Tokenizer(String),
    /// The model failed.
    #[error("Backend error: {0}")]
    Backend(String),
    /// The server is going to end.
    #[error("the server is ending")]
    Ending,
}

impl Failure {
    /// The status, and the stable names: our `kind`, and the `error_type` of text-embeddings-inference.
    fn names(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Empty => (S::BAD_REQUEST, "empty", "Empty"),
            Self::TooLong { .. } => (S::PAYLOAD_TOO_LARGE, "too_long", "Validation"),
            Self::TooManyCharacters { .. } => (S::PAYLOAD_TOO_LARGE, "too_long", "Validation"),
            Self::TooManyTexts { .. } => (S::PAYLOAD_TOO_LARGE, "too_many_texts", "Validation"),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body_too_large", "Validation"),
            Self::BodyTooSlow { .. } => (S::REQUEST_TIMEOUT, "body_too_slow", "Validation"),
            Self::BodyBroken(_) => (S::BAD_REQUEST, "body_broken", "Validation"),
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "not_json", "Validation"),
            Self::Syntax(_) => (S::BAD_REQUEST, "syntax", "Validation"),
            Self::Shape(_) => (S::UNPROCESSABLE_ENTITY, "shape", "Validation"),
            Self::Unfit(_) => (S::UNPROCESSABLE_ENTITY, "unfit", "Validation"),
            Self::UnknownModel { .. } => (S::NOT_FOUND, "unknown_model", "Validation"),
            Self::NotFound(_) => (S::NOT_FOUND, "not_found", "Validation"),
            Self::Method(_) => (S::METHOD_NOT_ALLOWED, "method_not_allowed", "Validation"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "Validation"),
            Self::Overloaded { .. } => (S::TOO_MANY_REQUESTS, "overloaded", "Overloaded"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate_limited", "Overloaded"),
            Self::Tokenizer(_) => (S::UNPROCESSABLE_ENTITY, "tokenizer", "Tokenizer"),
            Self::Backend(_) => (S::FAILED_DEPENDENCY, "backend", "Backend"),
            Self::Ending => (S::SERVICE_UNAVAILABLE, "ending", "Unhealthy"),
        }
    }

    /// The stable name of our own routes.
    pub fn kind(&self) -> &'static str {
        self.names().1
    }

    /// As text-embeddings-inference answers it: `{error, error_type}`.
    pub fn as_tei(&self) -> Response {
        let (status, _, error_type) = self.names();
        self.answer(status, &json!({"error": self.to_string(), "error_type": error_type}))
    }

    fn answer(&self, status: StatusCode, body: &serde_json::Value) -> Response {
        let mut response = json_response(status, body);
        let headers = response.headers_mut();
        match self {
            Self::Overloaded { retry_after } | Self::RateLimited { retry_after, .. } => {
                let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u64;
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of such a body would be taken for the next request.
            Self::BodyTooLarge { .. } | Self::BodyTooSlow { .. } | Self::BodyBroken(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for Failure {
    /// As our own routes answer it: `{error, kind}`.
    fn into_response(self) -> Response {
        let (status, kind, _) = self.names();
        self.answer(status, &json!({"error": self.to_string(), "kind": kind}))
    }
}
