//! A server on this machine that answers as the hub does: lists of files, small files, redirections to large ones, and its errors.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Larger files come from another host.
const LARGE_BYTES: usize = 2000;

/// Who may read a repository.
#[derive(Clone, PartialEq)]
pub enum Access {
    Everybody,
    /// Who sends this token.
    Token(&'static str),
    /// Nobody before conditions were accepted.
    Gated,
}

#[derive(Clone)]
struct Repository {
    /// `models/owner/name` or `datasets/owner/name`.
    path: String,
    access: Access,
    revisions: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct State {
    repositories: Vec<Repository>,
    requests: Vec<String>,
    /// Cut the answer of so many large files off in the middle.
    breaks: usize,
}

pub struct HubServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that went away is none of a test's business.
                let _ = answer(stream, &shared, port);
            }
        });
        Self { port, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds a repository.
    pub fn add(&self, path: &str, access: Access, files: &[(&str, Vec<u8>)]) {
        self.state.lock().unwrap().repositories.push(Repository {
            path: path.to_owned(),
            access,
            revisions: vec!["main".to_owned(), COMMIT.to_owned()],
            files: files
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), bytes.clone()))
                .collect(),
        });
    }

    /// Gives the last repository another branch.
    pub fn branch(&self, revision: &str) {
        let mut state = self.state.lock().unwrap();
        state
            .repositories
            .last_mut()
            .unwrap()
            .revisions
            .push(revision.to_owned());
    }

    pub fn break_next(&self, count: usize) {
        self.state.lock().unwrap().breaks = count;
    }

    /// What was asked for since the last time: paths, with what range and whether with a token.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

struct Request {
    path: String,
    host: String,
    token: Option<String>,
    from: Option<usize>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.take(1 << 16)).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        host: String::new(),
        token: None,
        from: None,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_lowercase().as_str() {
            "host" => value.clone_into(&mut request.host),
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "range" => {
                let start = value.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
                request.from = start.and_then(|start| start.parse().ok());
            }
            _ => {}
        }
    }
    Ok(request)
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, port: u16) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let mut state = state.lock().unwrap();
    let mut told = request.path.clone();
    if let Some(from) = request.from {
        told += &format!(" from {from}");
    }
    if request.token.is_some() {
        told += " with token";
    }
    state.requests.push(told);
    let (status, headers, body, cut) = respond(&request, &mut state, port);
    drop(state);
    let length = body.len();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    )?;
    stream.write_all(if cut { &body[..length / 2] } else { &body })?;
    stream.flush()
}

type Response = (u16, Vec<(&'static str, String)>, Vec<u8>, bool);

fn failure(status: u16, code: &str) -> Response {
    let code = (!code.is_empty()).then(|| ("X-Error-Code", code.to_owned()));
    (status, code.into_iter().collect(), b"{}".to_vec(), false)
}

fn respond(request: &Request, state: &mut State, port: u16) -> Response {
    let path = request.path.replace("%2F", "/").replace("%20", " ");
    if let Some(path) = path.strip_prefix("/large/") {
        assert!(request.host.starts_with("localhost"), "large files are on another host");
        let cut = state.breaks > 0;
        state.breaks = state.breaks.saturating_sub(1);
        let file = state.repositories.iter().find_map(|repository| {
            let name = path.strip_prefix(&repository.path)?.strip_prefix('/')?;
            repository.files.get(name)
        });
        return match file {
            Some(bytes) => part(bytes, request.from, Vec::new(), cut),
            None => failure(404, ""),
        };
    }
    let (is_list, rest) = match path.strip_prefix("/api/") {
        Some(rest) => (true, rest.to_owned()),
        None if path.starts_with("/datasets/") => (false, path[1..].to_owned()),
        None => (false, format!("models{path}")),
    };
    let separator = if is_list { "/revision/" } else { "/resolve/" };
    let Some((name, rest)) = rest.split_once(separator) else {
        return failure(400, "");
    };
    let Some(repository) = state.repositories.iter().find(|repository| repository.path == name) else {
        // Strangers are not told that there is nothing.
        return failure(if request.token.is_some() { 404 } else { 401 }, "RepoNotFound");
    };
    match &repository.access {
        Access::Token(token) if request.token.as_deref() == Some(token) => {}
        Access::Token(_) if request.token.is_some() => return failure(401, ""),
        Access::Token(_) => return failure(401, "RepoNotFound"),
        Access::Gated if !is_list => return failure(403, "GatedRepo"),
        _ => {}
    }
    let revision = repository.revisions.iter().find(|revision| {
        rest == revision.as_str()
            || rest
                .strip_prefix(revision.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
    });
    let Some(revision) = revision else {
        return failure(404, "RevisionNotFound");
    };
    if is_list {
        let siblings: Vec<_> = repository
            .files
            .keys()
            .map(|name| serde_json::json!({"rfilename": name}))
            .collect();
        let list = serde_json::json!({"id": name, "sha": COMMIT, "private": false, "siblings": siblings});
        return (200, Vec::new(), list.to_string().into_bytes(), false);
    }
    let file = rest[revision.len()..].trim_start_matches('/').to_owned();
    let Some(bytes) = repository.files.get(&file) else {
        return failure(404, "EntryNotFound");
    };
    let etag = format!(
        "{:x}",
        bytes
            .iter()
            .fold(7u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte))
    );
    let commit = ("X-Repo-Commit", COMMIT.to_owned());
    if bytes.len() < LARGE_BYTES {
        return part(
            bytes,
            request.from,
            vec![commit, ("ETag", format!("\"{etag}\""))],
            false,
        );
    }
    let headers = vec![
        commit,
        ("X-Linked-Etag", format!("\"{etag}\"")),
        ("X-Linked-Size", bytes.len().to_string()),
        ("ETag", "\"of-the-redirection\"".to_owned()),
        ("Location", format!("http://localhost:{port}/large/{name}/{file}")),
    ];
    (302, headers, Vec::new(), false)
}

fn part(bytes: &[u8], from: Option<usize>, headers: Vec<(&'static str, String)>, cut: bool) -> Response {
    match from {
        None => (200, headers, bytes.to_vec(), cut),
        Some(from) if from < bytes.len() => (206, headers, bytes[from..].to_vec(), cut),
        Some(_) => failure(416, ""),
    }
}
