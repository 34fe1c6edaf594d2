//! The real binary serving a model of a [`Workspace`], and a client that can also say what no client should.

pub mod schema;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::workspace::{ENVIRONMENT, Workspace};

/// Longer than anything here takes, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
pub struct Server {
    child: Child,
    /// Its standard output after the first line.
    _stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
    pub url: String,
    log: std::path::PathBuf,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and body in a line.
    pub fn shown(&self) -> String {
        format!("{} {}", self.status, self.text())
    }
}

impl Server {
    /// Serves with these flags at a free port; with no `--model` among them, the workspace's `model`.
    pub fn start(workspace: &Workspace, flags: &[&str]) -> Self {
        Self::start_with(workspace, flags, &[])
    }

    pub fn start_with(workspace: &Workspace, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let names_models = flags.iter().any(|flag| ["--model", "--config"].contains(flag));
        let model: &[&str] = if names_models { &[] } else { &["--model", "model"] };
        let log = workspace.path(format!("serve-{:?}.log", Instant::now()).replace([' ', '{', '}', ':'], ""));
        let mut child = Command::new(env!("CARGO_BIN_EXE_gareum"))
            .current_dir(workspace.path(""))
            .args(["serve", "--port", "0", "--json", "--threads", "2"])
            .args(model)
            .args(flags)
            .envs(ENVIRONMENT)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error}: {line}\n{}", std::fs::read_to_string(&log).unwrap()));
        let url = started["url"].as_str().unwrap().to_owned();
        let address = url.split("://").nth(1).unwrap().parse().unwrap();
        Self {
            child,
            _stdout: stdout,
            address,
            url,
            log,
        }
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body)
    }

    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        self.ask("POST", path, &headers, body.to_string().as_bytes())
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = Connection::open(self.address);
        connection.send(method, path, &[headers, &[("Connection", "close")]].concat(), body);
        connection
            .read()
            .unwrap_or_else(|| panic!("{method} {path} was not answered\n{}", self.log()))
    }

    /// Sends bytes as they are, and reads what comes until the server closes.
    pub fn ask_raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may have closed before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end; the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still runs, and has never panicked.
    pub fn assert_alive(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended\n{}", self.log());
        assert_eq!(self.get("/health").status, 200);
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            assert!(!self.log().contains("panicked"), "{}", self.log());
        }
    }
}

/// A connection that can be kept.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a request; whether it could be sent whole.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = match method {
            "GET" | "OPTIONS" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}{length}\r\n");
        self.stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())
            .is_ok()
    }

    /// An answer; `None` if the connection was closed before it came whole.
    pub fn read(&mut self) -> Option<Answer> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        let length = answer.header("content-length")?.parse().ok()?;
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body).ok()?;
        Some(answer)
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Option<Answer> {
        let headers = [("Content-Type", "application/json")];
        self.send("POST", path, &headers, body.to_string().as_bytes())
            .then(|| self.read())?
    }
}

/// A body of `/predict` or `/classify`.
pub fn inputs(inputs: impl Into<Value>) -> Value {
    json!({"inputs": inputs.into()})
}
