//! `gareum serve`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use gareum::settings::Settings;
use serde_json::json;
use serve::{App, Bound, ModelSettings, ServeSettings};
use toml::Value;

use super::hub;
use crate::arguments::{Common, Serve};
use crate::failure::Usage;
use crate::progress::Display;

/// Read if it is there and no other file is named.
const CONFIG: &str = "serve.toml";

/// How long a check waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(command: &Serve, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let mut settings = settings(command)?;
    if let Some(url) = &command.check {
        return check(url, &settings, display);
    }
    for model in &mut settings.models {
        let name = model.name();
        model.path = hub::model_with_base(&model.path, model.base.as_deref(), common)?;
        if let Some(base) = &mut model.base {
            *base = hub::model(base, None, common)?;
        }
        // A directory in the hub's cache is called after a commit.
        model.name = Some(name);
    }
    serve::start_logging(&settings.log);
    let is_local = ["127.0.0.1", "localhost", "::1"].contains(&settings.host.as_str());
    let (shared, worker) = App::new(settings)?;
    for (name, directory) in shared.models() {
        display.note(format_args!("model `{name}`: {}", directory.display()));
    }
    if !is_local && !shared.needs_keys() {
        display.warn(format_args!(
            "warning: everybody who reaches this machine may ask; --api-keys names a file of keys"
        ));
    }
    let (is_json, models) = (common.json, shared.models());
    let started = move |Bound { address, is_tls }: Bound| {
        let scheme = if is_tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        display.note(format_args!(
            "listening at {url}; Ctrl-C ends it once all requests are answered"
        ));
        if is_json {
            let names: Vec<String> = models.into_iter().map(|(name, _)| name).collect();
            println!("{}", json!({"url": url, "models": names}));
        }
    };
    serve::serve(shared, worker, started)?;
    Ok(ExitCode::SUCCESS)
}

fn settings(command: &Serve) -> anyhow::Result<ServeSettings> {
    let mut overrides = Vec::new();
    let mut add = |key: &str, value: Option<Value>| overrides.extend(value.map(|value| (key.to_owned(), value)));
    let text = |path: &PathBuf| Value::String(path.to_string_lossy().into_owned());
    add("host", command.host.clone().map(Value::String));
    add("port", command.port.map(|port| Value::Integer(port.into())));
    add("access.keys_file", command.api_keys.as_ref().map(text));
    let precision = command
        .precision
        .map(|precision| Value::try_from(gareum::settings::PrecisionSetting::from(precision)));
    add("precision", precision.transpose()?);
    if !command.model.is_empty() {
        let models = command
            .model
            .iter()
            .map(|model| ModelSettings::parse(model, command.base.as_deref()));
        add("model", Some(Value::try_from(models.collect::<Vec<_>>())?));
    } else if command.base.is_some() {
        bail!(Usage(
            "--base is given without --model\nhint: in serve.toml, each [[model]] has a `base` of its own".to_owned()
        ));
    }
    for assignment in &command.set {
        overrides.push(Settings::parse_assignment(assignment)?);
    }
    let config = command.config.as_deref();
    let config = config.or_else(|| Some(Path::new(CONFIG)).filter(|path| path.exists()));
    Ok(ServeSettings::load(config, std::env::vars(), &overrides)?)
}

/// Asks a server whether it is ready.
fn check(url: &str, settings: &ServeSettings, display: Display) -> anyhow::Result<ExitCode> {
    let own = || {
        let host = match settings.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "[::1]",
            host => host,
        };
        format!("http://{host}:{}", settings.port)
    };
    let url = if url.is_empty() { own() } else { url.to_owned() };
    let Some(rest) = url.strip_prefix("http://") else {
        bail!(Usage(format!(
            "--check {url}: only http:// can be asked\nhint: behind TLS, a probe of the port will do"
        )));
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if path.is_empty() { "ready" } else { path };
    let address = if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let asked = ask(
        &address,
        &format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    );
    match asked {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
            display.note(format_args!("{url} is ready"));
            Ok(ExitCode::SUCCESS)
        }
        Ok(answer) => {
            let status = answer.lines().next().unwrap_or_default();
            bail!("{url} is not ready: {status}")
        }
        Err(error) => bail!("{url} does not answer: {error}"),
    }
}

fn ask(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
