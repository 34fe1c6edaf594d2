//! Requests to the hub: lists of files, and files into the cache. This is the only file of the library that opens a connection.
//!
//! Redirections are followed here and not by `ureq`, since what the hub says of a file (its commit, size and content) stands in the first
//! answer, while the bytes come from another host, which must not see the token.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::cache::CachedRepository;
use super::name::{Kind, Repository};
use super::{HubError, Transfer};
use crate::files::{WriteError, create_directory};

/// To make a connection, and between two pieces of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTIONS: usize = 10;
/// The list of a repository's files.
const MAX_LIST_BYTES: u64 = 256 << 20;
const CHUNK: usize = 1 << 18;

/// A hub and how to speak to it.
pub(super) struct Client {
    /// Without a slash at its end.
    endpoint: String,
    token: Option<String>,
    agent: Agent,
}

/// What a revision is.
pub(super) struct Listing {
    /// The commit.
    pub commit: String,
    /// All files.
    pub files: Vec<String>,
}

impl Client {
    pub fn new(endpoint: &str, token: Option<String>, certificates: Option<&Path>) -> Result<Self, HubError> {
        let roots = match certificates {
            None => RootCerts::WebPki,
            Some(path) => read_certificates(path)?,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("gareum/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            agent: config.into(),
        })
    }

    /// The host, for messages.
    pub fn host(&self) -> String {
        host_of(&self.endpoint).to_owned()
    }

    /// The page of a repository, for messages.
    pub fn page(&self, repository: &Repository) -> String {
        format!("{}/{}{}", self.endpoint, prefix(repository.kind), repository.id)
    }

    /// Asks what a revision is and which files it has.
    pub fn list(&self, repository: &Repository) -> Result<Listing, HubError> {
        let (folder, id) = (repository.kind.folder(), &repository.id);
        let revision = repository.revision.replace('/', "%2F");
        let url = format!("{}/api/{folder}/{id}/revision/{revision}", self.endpoint);
        let answer = self.get(repository, &url, None)?;
        let mut body = self.accepted(repository, None, answer.response)?.into_body();
        let bytes = body.with_config().limit(MAX_LIST_BYTES).read_to_vec();
        let bytes = bytes.map_err(|error| self.unreachable(repository, &url, &format!("`{error}`")))?;
        let wrong = |reason: &str| HubError::Answer {
            name: id.clone(),
            host: self.host(),
            reason: reason.to_owned(),
        };
        let list: Value = serde_json::from_slice(&bytes).map_err(|_| wrong("the list of files is not JSON"))?;
        let is_commit = |commit: &&str| commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
        let commit = list["sha"].as_str().filter(is_commit);
        let commit = commit.ok_or_else(|| wrong("the list of files names no commit"))?;
        let siblings = list["siblings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let files = siblings.iter().filter_map(|file| file["rfilename"].as_str());
        Ok(Listing {
            commit: commit.to_owned(),
            // A name that leads elsewhere is no file of the repository.
            files: files.filter(|file| is_inside(file)).map(str::to_owned).collect(),
        })
    }

    /// Brings a file of a commit into the cache, unless it is there.
    pub fn fetch(
        &self,
        repository: &Repository,
        cached: &CachedRepository,
        commit: &str,
        file: &str,
        observe: &mut dyn FnMut(Transfer<'_>),
    ) -> Result<PathBuf, HubError> {
        let path = cached.snapshot(commit).join(file);
        if path.exists() {
            return Ok(path);
        }
        let url = format!(
            "{}/{}{}/resolve/{commit}/{}",
            self.endpoint,
            prefix(repository.kind),
            repository.id,
            encoded(file)
        );
        // What came before the connection broke is kept, so each further attempt is about the rest only.
        let mut before = None;
        loop {
            match self.attempt(repository, cached, commit, file, &url, observe) {
                Err(Attempt::Broken { done, error }) => match before {
                    Some(before) if done <= before => return Err(error),
                    _ => before = Some(done),
                },
                Err(Attempt::Failed(error)) => return Err(error),
                Ok(path) => return Ok(path),
            }
        }
    }

    fn attempt(
        &self,
        repository: &Repository,
        cached: &CachedRepository,
        commit: &str,
        file: &str,
        url: &str,
        observe: &mut dyn FnMut(Transfer<'_>),
    ) -> Result<PathBuf, Attempt> {
        let first = self.get(repository, url, None)?;
        let blob = cached.blob(&first.content_name(commit, file));
        let (size, last_url) = (first.size, first.url);
        let mut response = self.accepted(repository, Some(file), first.response)?;
        if blob.exists() {
            return Ok(cached.link(&blob, commit, file)?);
        }
        let mut name = blob.file_name().unwrap_or_default().to_owned();
        name.push(".incomplete");
        let partial = blob.with_file_name(name);
        create_directory(partial.parent().unwrap_or(Path::new("")))?;
        let failed = |error: std::io::Error| Attempt::from(WriteError::new(&partial, &error));
        let mut options = File::options();
        let mut output = options.create(true).append(true).open(&partial).map_err(failed)?;
        // Another process may be at the same file; it is done when the lock is free.
        output.lock().map_err(failed)?;
        if blob.exists() {
            return Ok(cached.link(&blob, commit, file)?);
        }
        let mut done = output.seek(SeekFrom::End(0)).map_err(failed)?;
        // More than there is would be of something else.
        if done > 0 && size.is_none_or(|size| done <= size) {
            let rest = self.get(repository, &last_url, Some(done))?.response;
            // Where nothing is left, all of it comes again.
            if rest.status() != StatusCode::RANGE_NOT_SATISFIABLE {
                response = self.accepted(repository, Some(file), rest)?;
            }
        }
        if response.status() != StatusCode::PARTIAL_CONTENT {
            output.set_len(0).map_err(failed)?;
            done = 0;
        }
        let total = size.or_else(|| Some(done + number(&response, "content-length")?));
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK];
        observe(Transfer { file, done, total });
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    output.write_all(&buffer[..count]).map_err(failed)?;
                    done += count as u64;
                    observe(Transfer { file, done, total });
                }
                Err(error) => {
                    let error = self.unreachable(repository, &last_url, &format!("`{error}`"));
                    return Err(Attempt::Broken { done, error });
                }
            }
        }
        if let Some(total) = total.filter(|total| *total != done) {
            let reason = format!("`{file}` ended after {done} of {total} bytes");
            let error = self.unreachable(repository, &last_url, &reason);
            return Err(Attempt::Broken { done, error });
        }
        output.sync_all().map_err(failed)?;
        std::fs::rename(&partial, &blob).map_err(failed)?;
        Ok(cached.link(&blob, commit, file)?)
    }

    /// A request and where it led: through redirections, the token staying with the hub.
    fn get(&self, repository: &Repository, url: &str, from: Option<u64>) -> Result<Answer, HubError> {
        let mut answer = Answer::default_for(url);
        for _ in 0..=MAX_REDIRECTIONS {
            let mut request = self.agent.get(&answer.url);
            if let Some(token) = self
                .token
                .as_ref()
                .filter(|_| origin_of(&answer.url) == origin_of(&self.endpoint))
            {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if let Some(from) = from {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let response = request
                .call()
                .map_err(|error| self.unreachable(repository, &answer.url, &format!("`{error}`")))?;
            let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            answer.etag = answer.etag.or(text("x-linked-etag").map(str::to_owned));
            answer.size = answer.size.or(text("x-linked-size").and_then(|size| size.parse().ok()));
            let location = text("location").filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                answer.etag = answer.etag.or(text("etag").map(str::to_owned));
                answer.response = response;
                return Ok(answer);
            };
            answer.url = match location.starts_with('/') {
                true => format!("{}{location}", origin_of(&answer.url)),
                false => location.to_owned(),
            };
        }
        Err(HubError::Answer {
            name: repository.id.clone(),
            host: self.host(),
            reason: "redirections without end".to_owned(),
        })
    }

    /// The answer, if it is a good one.
    fn accepted(
        &self,
        repository: &Repository,
        file: Option<&str>,
        response: Response<Body>,
    ) -> Result<Response<Body>, HubError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let code = response
            .headers()
            .get("x-error-code")
            .and_then(|code| code.to_str().ok());
        let (name, host) = (repository.id.clone(), self.host());
        let kind = repository.kind.word();
        Err(match (status.as_u16(), code, file) {
            (_, Some("GatedRepo"), _) => HubError::Gated {
                name,
                page: self.page(repository),
            },
            (404, Some("RevisionNotFound"), _) => HubError::Revision {
                name,
                revision: repository.revision.clone(),
            },
            (404, _, Some(file)) => HubError::File {
                name,
                file: file.to_owned(),
                page: self.page(repository),
            },
            // The hub does not tell strangers what is private.
            (401 | 404, _, _) if self.token.is_none() || code == Some("RepoNotFound") || status == 404 => {
                HubError::NotFound { name, kind, host }
            }
            (401, ..) => HubError::Token { name, host },
            (403, ..) => HubError::Gated {
                name,
                page: self.page(repository),
            },
            (429, ..) => HubError::Status {
                name,
                host,
                status: 429,
                hint: "too many requests: wait some minutes, or put a token into HF_TOKEN",
            },
            (status, ..) => HubError::Status {
                name,
                host,
                status,
                hint: "try again later",
            },
        })
    }

    fn unreachable(&self, repository: &Repository, url: &str, reason: &str) -> HubError {
        HubError::Network {
            name: repository.id.clone(),
            host: host_of(url).to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// An answer and what was learnt on the way to it.
struct Answer {
    response: Response<Body>,
    /// Where it came from.
    url: String,
    etag: Option<String>,
    size: Option<u64>,
}

impl Answer {
    fn default_for(url: &str) -> Self {
        Self {
            response: Response::new(Body::builder().data(Vec::new())),
            url: url.to_owned(),
            etag: None,
            size: None,
        }
    }

    /// What the file is called among the blobs: what the hub calls its content, as other tools do.
    fn content_name(&self, commit: &str, file: &str) -> String {
        let etag = self.etag.as_deref().unwrap_or_default();
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        let is_plain =
            !etag.is_empty() && etag.len() <= 128 && etag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        match is_plain {
            true => etag.to_owned(),
            false => format!("{commit}-{}", file.replace('/', "--")),
        }
    }
}

/// How an attempt at a file ended.
enum Attempt {
    /// The connection broke after so many bytes.
    Broken {
        done: u64,
        error: HubError,
    },
    Failed(HubError),
}

impl From<HubError> for Attempt {
    fn from(error: HubError) -> Self {
        Self::Failed(error)
    }
}

impl From<WriteError> for Attempt {
    fn from(error: WriteError) -> Self {
        Self::Failed(error.into())
    }
}

fn read_certificates(path: &Path) -> Result<RootCerts, HubError> {
    let failed = |reason: String| HubError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let certificates: Vec<_> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(failed("it is not PEM".to_owned())),
        false => Ok(RootCerts::Specific(Arc::new(certificates))),
    }
}

fn number(response: &Response<Body>, header: &str) -> Option<u64> {
    response.headers().get(header)?.to_str().ok()?.parse().ok()
}

/// Datasets stand behind a word of their own, models do not.
fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "",
        Kind::Dataset => "datasets/",
    }
}

/// `https://host:port`
fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    &url[..end]
}

fn host_of(url: &str) -> &str {
    let origin = origin_of(url);
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// Whether a name of a file stays within its repository.
pub(super) fn is_inside(file: &str) -> bool {
    !file.is_empty()
        && Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// A path as a URL has it.
fn encoded(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let shown = |byte: u8| match keep(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(origin_of("https://hub.co:8080/a/b?c"), "https://hub.co:8080");
        assert_eq!(origin_of("http://hub.co"), "http://hub.co");
        assert_eq!(host_of("http://127.0.0.1:80/x"), "127.0.0.1:80");
        assert_eq!(encoded("a b/한.parquet"), "a%20b/%ED%95%9C.parquet");
        assert!(is_inside("a/b.c") && !is_inside("../b") && !is_inside("/a") && !is_inside(""));
    }
}
