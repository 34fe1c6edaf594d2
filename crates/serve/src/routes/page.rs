//! The page, whose files are in the binary.

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::failure::Failure;

/// What the page may load: nothing but itself.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                          frame-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a report may: it is one file with its style and script in it, and reaches nothing else.
pub const REPORT_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                                 base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts";

const INDEX: &str = include_str!("../page/index.html");

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_bytes!(concat!("../page/", $name)))
    };
}

/// The other files of the page, with their types.
const ASSETS: &[(&str, &str, &[u8])] = &[
    asset!("api.js", JS),
    asset!("app.js", JS),
    asset!("dom.js", JS),
    asset!("export.js", JS),
    asset!("file.js", JS),
    asset!("highlight.js", JS),
    asset!("icon.svg", SVG),
    asset!("language.js", JS),
    asset!("live.js", JS),
    asset!("markdown.js", JS),
    asset!("marks.js", JS),
    asset!("model.js", JS),
    asset!("rows.js", JS),
    asset!("score.js", JS),
    asset!("strings.js", JS),
    asset!("style.css", CSS),
    asset!("theme.js", JS),
    asset!("try.js", JS),
    asset!("virtual.js", JS),
];

pub async fn index() -> Response {
    file("text/html; charset=utf-8", INDEX.as_bytes())
}

pub async fn asset(Path(name): Path<String>) -> Result<Response, Failure> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let (_, kind, contents) = found.ok_or_else(|| Failure::NotFound(format!("`/assets/{name}`")))?;
    Ok(file(kind, contents))
}

fn file(kind: &'static str, contents: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, contents).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: BTreeSet<String> = files.collect();
        assert!(files.remove("index.html"));
        let served: BTreeSet<String> = ASSETS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(files, served);
    }
}
