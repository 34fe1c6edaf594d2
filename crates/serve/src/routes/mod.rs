//! The routes, one file each or a few that belong together, and what is done around all of them.

mod classify;
mod explain;
mod info;
mod models;
mod page;
mod predict;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::Caller;
use crate::app::App;
use crate::failure::Failure;
use crate::request::read_json;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's identifier of more characters is replaced.
const LONGEST_ID: usize = 128;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What a request was about, for its line in the log.
#[derive(Debug, Clone, Default)]
struct Cost {
    model: String,
    texts: usize,
    tokens: usize,
    /// The texts themselves, where they are to be logged.
    logged: Option<String>,
}

/// All routes. Open to everybody is nothing that costs, and nothing about the models but what `/metrics` counts.
pub fn router(app: Arc<App>) -> Router {
    let open = Router::new()
        .route("/", get(page::index))
        .route("/assets/{file}", get(page::asset))
        .route("/health", get(info::health))
        .route("/ready", get(info::ready))
        .route("/metrics", get(info::metrics))
        .route("/openapi.json", get(info::openapi));
    let closed = Router::new()
        .route("/predict", post(predict::predict))
        .route("/classify", post(classify::classify))
        .route("/explain", post(explain::explain))
        .route("/info", get(info::info))
        .route("/stats", get(info::stats))
        .route("/models", get(models::list))
        .route("/models/{name}/report", get(models::report))
        .route("/models/{name}/metrics", get(models::metrics))
        .route("/models/{name}/reload", post(models::reload))
        .layer(from_fn_with_state(Arc::clone(&app), authorise));
    open.merge(closed)
        .fallback(async |request: Request<Body>| Failure::NotFound(shown_path(&request)))
        .method_not_allowed_fallback(async |request: Request<Body>| Failure::Method(shown_path(&request)))
        .layer(cors(&app.settings.access.cors))
        .layer(from_fn(protect))
        .layer(from_fn_with_state(Arc::clone(&app), observe))
        .with_state(app)
}

fn shown_path(request: &Request<Body>) -> String {
    let path = request.uri().path();
    match path.char_indices().nth(100) {
        Some((end, _)) => format!("`{}...`", &path[..end]),
        None => format!("`{path}`"),
    }
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, REQUEST_ID])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
}

/// Lets in who has a key, if keys are needed.
async fn authorise(State(app): State<Arc<App>>, mut request: Request<Body>, next: Next) -> Response {
    let caller = match app.keys.are_needed() {
        true => match app.keys.name_of(request.headers()) {
            Some(name) => Caller::Key(name.to_owned()),
            None if request.uri().path() == "/predict" => return Failure::Unauthorized.as_tei(),
            None => return Failure::Unauthorized.into_response(),
        },
        false => {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
            let behind_proxy = app.settings.access.behind_proxy;
            let forwarded = behind_proxy.then(|| Caller::forwarded(request.headers())).flatten();
            match forwarded.or(peer) {
                Some(address) => Caller::of_address(address),
                None => Caller::Key(String::new()),
            }
        }
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Headers that tell browsers to be careful. A route's own come first.
async fn protect(request: Request<Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Counts, times and logs a request, and gives it an identifier.
async fn observe(State(app): State<Arc<App>>, request: Request<Body>, next: Next) -> Response {
    let begin = Instant::now();
    let _in_flight = InFlight::new(&app);
    let given = request.headers().get(&REQUEST_ID).filter(|id| is_id(id)).cloned();
    let id = given.unwrap_or_else(new_id);
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("other".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string());
    let mut response = next.run(request).await;
    let took = begin.elapsed();
    let status = response.status().as_u16();
    app.statistics.request(&route, status, took);
    let cost = response.extensions_mut().remove::<Cost>().unwrap_or_default();
    let shown = id.to_str().unwrap_or_default();
    let (ms, peer) = (took.as_secs_f64() * 1e3, peer.unwrap_or_default());
    let Cost {
        model,
        texts,
        tokens,
        logged,
    } = cost;
    match logged {
        Some(logged) => {
            tracing::info!(id = shown, %method, route, status, ms, peer, model, texts, tokens, inputs = logged, "request");
        }
        None => tracing::info!(id = shown, %method, route, status, ms, peer, model, texts, tokens, "request"),
    }
    response.headers_mut().insert(REQUEST_ID, id);
    if app.is_ending.load(Relaxed) {
        // The client is to come again on another connection, which somebody else may answer.
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

struct InFlight(Arc<App>);

impl InFlight {
    fn new(app: &Arc<App>) -> Self {
        app.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(app))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What is safe in a log and a header.
fn is_id(id: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    let bytes = id.as_bytes();
    (1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(is_plain)
}

/// Different for each request of this process, and hardly the same in another.
fn new_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let id = format!(
        "{:x}-{:x}-{:x}",
        since.as_micros(),
        std::process::id(),
        NEXT.fetch_add(1, Relaxed)
    );
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
}

/// The body of a request, and who asks.
async fn open<T: serde::de::DeserializeOwned>(app: &App, request: Request<Body>) -> Result<(T, Caller), Failure> {
    let caller = request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or(Failure::Unauthorized)?;
    let body = read_json(request, &app.settings.limits).await?;
    Ok((body, caller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The description has the routes that there are, no more and no fewer, and says which need a key.
    #[test]
    fn every_route_is_described() {
        let source = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap();
        let (open, closed) = source.split_once("let closed").unwrap();
        let routes = |source: &str, needs_key: bool| -> BTreeSet<(String, String, bool)> {
            let routes = source.split(".route(\"").skip(1).map(|rest| {
                let (path, rest) = rest.split_once("\", ").unwrap();
                let (method, _) = rest.split_once('(').unwrap();
                (path.to_owned(), method.to_owned(), needs_key)
            });
            routes.collect()
        };
        let there: BTreeSet<_> = routes(open, false).union(&routes(closed, true)).cloned().collect();
        assert!(there.len() > 10);
        let described: Value = serde_json::from_str(info::OPENAPI).unwrap();
        let mut told = BTreeSet::new();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for (method, operation) in methods
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, _)| *key != "parameters")
            {
                let needs_key = operation.get("security").is_some();
                assert_eq!(needs_key, operation["responses"].get("401").is_some(), "{path}");
                told.insert((path.clone(), method.clone(), needs_key));
            }
        }
        assert_eq!(there, told);
    }

    #[test]
    fn identifiers_are_plain() {
        for (id, expected) in [
            ("abc-1.2_3:/+=", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (&"a".repeat(200), false),
        ] {
            assert_eq!(is_id(&HeaderValue::from_str(id).unwrap()), expected, "{id}");
        }
        assert_ne!(new_id(), new_id());
    }
}
