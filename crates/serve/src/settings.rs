//! What `serve.toml`, the environment and flags say. A flag is stronger than the environment, that than the file, and that than the default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gareum::settings::{PrecisionSetting, SettingsError, insert};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::ServeError;

/// What the names of variables begin with; the rest is the key in capitals, its section first: `GAREUM_SERVE_QUEUE_MAX_TOKENS`.
pub const VARIABLES: &str = "GAREUM_SERVE_";

/// Variables that are no keys of the file: models as `NAME=DIR,...`, API keys as `[NAME=]KEY,...`.
const MODELS: &str = "GAREUM_SERVE_MODELS";
const API_KEYS: &str = "GAREUM_SERVE_API_KEYS";

/// How a server is to behave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeSettings {
    /// Address to listen at. Default 127.0.0.1: only this machine.
    pub host: String,
    /// Port to listen at; 0 takes a free one. Default 8080.
    pub port: u16,
    /// What is computed in. Default auto: what each model was trained in, if the processor is fast in it.
    pub precision: PrecisionSetting,
    /// What is served; the first answers where a request names none.
    #[serde(rename = "model")]
    pub models: Vec<ModelSettings>,
    /// How texts are put together.
    pub batch: BatchSettings,
    /// What waits.
    pub queue: QueueSettings,
    /// What one request, or one connection, may cost.
    pub limits: LimitSettings,
    /// Who may ask, and how often.
    pub access: AccessSettings,
    /// TLS.
    pub tls: TlsSettings,
    /// What is written to standard error.
    pub log: LogSettings,
    /// Which words made a model say what it says.
    pub explain: ExplainSettings,
    /// Answers that are kept.
    pub cache: CacheSettings,
    /// Models that change on the disk.
    pub reload: ReloadSettings,
    /// Texts kept for labelling.
    pub samples: SampleSettings,
    /// The end.
    pub shutdown: ShutdownSettings,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            precision: PrecisionSetting::Auto,
            models: Vec::new(),
            batch: BatchSettings::default(),
            queue: QueueSettings::default(),
            limits: LimitSettings::default(),
            access: AccessSettings::default(),
            tls: TlsSettings::default(),
            log: LogSettings::default(),
            explain: ExplainSettings::default(),
            cache: CacheSettings::default(),
            reload: ReloadSettings::default(),
            samples: SampleSettings::default(),
            shutdown: ShutdownSettings::default(),
        }
    }
}

/// `[[model]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// What requests call it. Default: the name of its directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The model directory.
    pub path: PathBuf,
    /// The model that an adapter belongs to. Adapters that name the same one here share its weights in memory; without it, each is merged into
    /// a model of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
}

/// `[batch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Tokens of a batch at most. Default 8192: more is no faster.
    pub max_tokens: usize,
    /// Milliseconds that a batch should take at most, by how fast those before it were. Default 1000.
    pub max_ms: u64,
    /// Milliseconds that the first text waits for others when nothing is being computed. Default 0: batches grow while the one before is computed.
    pub wait_ms: u64,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            max_tokens: 8192,
            max_ms: 1000,
            wait_ms: 0,
        }
    }
}

/// `[queue]`: what is beyond it is refused with 429.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Requests that wait or are being computed. Default 512, as in text-embeddings-inference.
    pub max_requests: usize,
    /// Their tokens. Default 262144.
    pub max_tokens: usize,
    /// Milliseconds that a text would have to wait, by how fast texts were computed. Default 5000.
    pub max_wait_ms: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_requests: 512,
            max_tokens: 262_144,
            max_wait_ms: 5000,
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Bytes of a request's body. Default 2000000, as in text-embeddings-inference.
    pub body_bytes: usize,
    /// Texts of a request. Default 1024.
    pub texts: usize,
    /// Characters of a text. Default 200000.
    pub characters: usize,
    /// Whether texts that are too long are cut where a request does not say. Default true.
    pub auto_truncate: bool,
    /// Connections at a time; further ones are answered 503. Default 1024, or what the limit of open files leaves.
    pub connections: usize,
    /// Seconds within which a request's head must have come, also the next one of a connection. Default 30.
    pub header_seconds: f64,
    /// Seconds within which a request's body must have come, and an answer been taken. Default 30.
    pub body_seconds: f64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            body_bytes: 2_000_000,
            texts: 1024,
            characters: 200_000,
            auto_truncate: true,
            connections: 1024,
            header_seconds: 30.0,
            body_seconds: 30.0,
        }
    }
}

/// `[access]`
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSettings {
    /// File with an API key a line, a name and `=` before it or not. Default: everybody may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// Keys from the environment, `[NAME=]KEY`.
    #[serde(skip)]
    pub keys: Vec<String>,
    /// Texts a second for each key, or each address where there are no keys. Default 0: no limit.
    pub texts_per_second: f64,
    /// Texts that may come at once before the rate counts. Default 0: those of ten seconds, at least those of one request.
    pub burst: f64,
    /// Whether the last address of `X-Forwarded-For` is the client's: only behind a proxy that sets it. Default false.
    pub behind_proxy: bool,
    /// Origins whose pages may ask, or `*`. Default: none but the server's own.
    pub cors: Vec<String>,
}

impl std::fmt::Debug for AccessSettings {
    /// Without the keys.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AccessSettings")
            .field("keys_file", &self.keys_file)
            .field("keys", &self.keys.len())
            .field("texts_per_second", &self.texts_per_second)
            .finish_non_exhaustive()
    }
}

/// `[tls]`: both or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM file of the certificate and those that it is signed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// `log.format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line to read.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// `log.level`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed here.
    Error,
    /// Also what was odd.
    Warn,
    /// Also a line for each request.
    #[default]
    Info,
    /// Also batches and connections.
    Debug,
}

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `text` or `json`. Default text.
    pub format: LogFormat,
    /// `off`, `error`, `warn`, `info` or `debug`. Default info.
    pub level: LogLevel,
    /// Whether the texts of requests are logged. Default false.
    pub texts: bool,
}

/// `[explain]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainSettings {
    /// Texts of a request that are explained: each costs as much as about as many texts as it has words. Default 16.
    pub texts: usize,
    /// Whether methods of gradients are answered too, for which a model is read a second time when they are first asked for. Default false.
    pub gradients: bool,
}

impl Default for ExplainSettings {
    fn default() -> Self {
        Self {
            texts: 16,
            gradients: false,
        }
    }
}

/// `[cache]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSettings {
    /// Bytes of texts and answers that are kept for texts that come again. Default 0: none.
    pub max_bytes: usize,
}

/// `[reload]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadSettings {
    /// Seconds between two looks at the files of models; 0 looks never. Default 2.
    pub seconds: f64,
}

impl Default for ReloadSettings {
    fn default() -> Self {
        Self { seconds: 2.0 }
    }
}

/// `[samples]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SampleSettings {
    /// JSON lines file that texts are added to of which the model was not sure, with what it said. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The lead of the best label over the next (of several labels: the distance of a score from its threshold) below which a text is kept. Default 0.2.
    pub margin: f64,
    /// Bytes of the file; then no more is added. Default 10000000.
    pub max_bytes: u64,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self {
            file: None,
            margin: 0.2,
            max_bytes: 10_000_000,
        }
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSettings {
    /// Seconds that requests may still take when the server is told to end. Default 30.
    pub seconds: f64,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { seconds: 30.0 }
    }
}

impl ServeSettings {
    /// Reads a file (or starts from the defaults), then the variables of the environment, then `overrides`, each a dotted key with a value.
    ///
    /// Relative paths in the file are taken from the file's directory, others from the current one.
    ///
    /// # Errors
    /// [`ServeError`] names the place, what is wrong and the nearest known key.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        overrides: &[(String, Value)],
    ) -> Result<Self, ServeError> {
        let mut table = Table::new();
        if let Some(path) = path {
            let text = std::fs::read_to_string(path).map_err(|error| ServeError::Settings {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            let parsed: Self = toml::from_str(&text).map_err(|error| {
                let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
                let place = match line {
                    Some(line) => format!("{}:{line}", path.display()),
                    None => path.display().to_string(),
                };
                of_serde(place, error.message())
            })?;
            let parsed = parsed.relative_to(path.parent().unwrap_or(Path::new("")));
            table =
                Table::try_from(&parsed).map_err(|error| of_serde(path.display().to_string(), &error.to_string()))?;
        }
        let (mut api_keys, sections) = (Vec::new(), sections());
        let mut variables: Vec<(String, String)> = variables.into_iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(VARIABLES) else {
                continue;
            };
            if name == API_KEYS {
                api_keys = value.split(',').map(|key| key.trim().to_owned()).collect();
                api_keys.retain(|key| !key.is_empty());
            } else if name == MODELS {
                let models = value.split(',').map(|model| ModelSettings::parse(model.trim(), None));
                let models: Vec<ModelSettings> = models.collect();
                let models = Value::try_from(models).map_err(|error| of_serde(name.clone(), &error.to_string()))?;
                table.insert("model".to_owned(), models);
            } else {
                let rest = rest.to_lowercase();
                let section = sections.iter().find(|section| rest.starts_with(&format!("{section}_")));
                let key = match section {
                    Some(section) => format!("{section}.{}", &rest[section.len() + 1..]),
                    None => rest,
                };
                let (_, value) = gareum::settings::Settings::parse_assignment(&format!("{key}={value}"))?;
                insert(&mut table, &key, value);
                Self::deserialize(Value::Table(table.clone())).map_err(|error| of_serde(name, error.message()))?;
            }
        }
        for (key, value) in overrides {
            insert(&mut table, key, value.clone());
            // Checked one at a time, so that the message can name the one that is wrong.
            Self::deserialize(Value::Table(table.clone()))
                .map_err(|error| of_serde(format!("{key} = {value}"), error.message()))?;
        }
        let mut settings =
            Self::deserialize(Value::Table(table)).map_err(|error| of_serde("settings".to_owned(), error.message()))?;
        settings.access.keys = api_keys;
        settings.check()?;
        Ok(settings)
    }

    /// Ranges that the types do not express.
    fn check(&self) -> Result<(), ServeError> {
        let range = |holds: bool, key: &'static str, found: String, expected: &'static str| match holds {
            true => Ok(()),
            false => Err(ServeError::from(SettingsError::Range { key, found, expected })),
        };
        let at_least_one = [
            ("batch.max_tokens", self.batch.max_tokens),
            ("queue.max_requests", self.queue.max_requests),
            ("queue.max_tokens", self.queue.max_tokens),
            ("limits.body_bytes", self.limits.body_bytes),
            ("limits.texts", self.limits.texts),
            ("limits.characters", self.limits.characters),
            ("limits.connections", self.limits.connections),
            ("explain.texts", self.explain.texts),
        ];
        for (key, value) in at_least_one {
            range(value > 0, key, value.to_string(), "at least 1")?;
        }
        range(self.batch.max_ms > 0, "batch.max_ms", "0".to_owned(), "at least 1")?;
        // A day: what is longer is a mistake, and far longer is no duration at all.
        let seconds = [
            ("limits.header_seconds", self.limits.header_seconds, 0.01),
            ("limits.body_seconds", self.limits.body_seconds, 0.01),
            ("reload.seconds", self.reload.seconds, 0.0),
            ("shutdown.seconds", self.shutdown.seconds, 0.0),
        ];
        for (key, value, least) in seconds {
            range(
                (least..=86_400.0).contains(&value),
                key,
                value.to_string(),
                "seconds, at most a day",
            )?;
        }
        let numbers = [
            ("access.texts_per_second", self.access.texts_per_second),
            ("access.burst", self.access.burst),
            ("samples.margin", self.samples.margin),
        ];
        for (key, value) in numbers {
            let holds = value.is_finite() && value >= 0.0;
            range(holds, key, value.to_string(), "a number of at least 0")?;
        }
        let absent = match (&self.tls.certificate, &self.tls.key) {
            (Some(_), None) => Some("tls.key"),
            (None, Some(_)) => Some("tls.certificate"),
            _ => None,
        };
        if let Some(key) = absent {
            range(false, key, "absent".to_owned(), "a certificate and its key")?;
        }
        for origin in &self.access.cors {
            let holds = origin == "*" || origin.contains("://") && !origin.ends_with('/') && origin.is_ascii();
            range(
                holds,
                "access.cors",
                origin.clone(),
                "origins such as https://example.org, or *",
            )?;
        }
        let mut names = BTreeSet::new();
        for model in &self.models {
            let name = model.name();
            let holds = !name.is_empty() && !name.contains(['/', '?', '#', '%']) && !name.contains(char::is_control);
            range(holds, "model.name", name.clone(), "a name without / ? # %")?;
            if !names.insert(name.clone()) {
                return Err(ServeError::Twice { name });
            }
        }
        Ok(())
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        let models = self.models.iter_mut();
        let of_models = models.flat_map(|model| std::iter::once(&mut model.path).chain(&mut model.base));
        let files = [
            &mut self.access.keys_file,
            &mut self.tls.certificate,
            &mut self.tls.key,
            &mut self.samples.file,
        ];
        for path in of_models.chain(files.into_iter().flatten()) {
            // The name of a model on the hub, like `owner/name`, is no path unless there is one.
            let beside = directory.join(&*path);
            if path.is_relative() && (beside.exists() || !is_hub_name(path)) {
                *path = beside;
            }
        }
        self
    }
}

fn is_hub_name(path: &Path) -> bool {
    gareum::hub::Repository::model(path, None).is_ok_and(|found| found.is_some())
}

impl ModelSettings {
    /// `[NAME=]DIR`
    pub fn parse(text: &str, base: Option<&Path>) -> Self {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !Path::new(text).exists() => (Some(name.to_owned()), path),
            _ => (None, text),
        };
        Self {
            name,
            path: path.into(),
            base: base.map(Path::to_owned),
        }
    }

    /// What requests call it.
    pub fn name(&self) -> String {
        let own = || {
            let path = self.path.canonicalize();
            let path = path.as_deref().unwrap_or(&self.path);
            path.file_name().map(|name| name.to_string_lossy().into_owned())
        };
        self.name.clone().or_else(own).unwrap_or_default()
    }
}

/// A duration of some seconds that were checked.
pub fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

fn of_serde(place: String, message: &str) -> ServeError {
    let error = SettingsError::of_serde(place, message, &|| Table::try_from(ServeSettings::default()).ok());
    ServeError::Setting(error)
}

/// The names of the tables.
fn sections() -> Vec<String> {
    let table = Table::try_from(ServeSettings::default()).unwrap_or_default();
    let tables = table.into_iter().filter(|(_, value)| value.is_table());
    tables.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)], overrides: &[(&str, &str)]) -> Result<ServeSettings, ServeError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serve.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let overrides: Vec<_> = overrides
            .iter()
            .map(|(key, value)| gareum::settings::Settings::parse_assignment(&format!("{key}={value}")).unwrap())
            .collect();
        ServeSettings::load(Some(&path), variables, &overrides)
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file =
            "port = 1\nhost = \"0.0.0.0\"\n[queue]\nmax_tokens = 10\nmax_requests = 3\n[[model]]\npath = \"m\"\n";
        let settings = load(
            file,
            &[
                ("GAREUM_SERVE_PORT", "2"),
                ("GAREUM_SERVE_QUEUE_MAX_TOKENS", "20"),
                ("GAREUM_SERVE_API_KEYS", "ann=k1, k2"),
                ("HOME", "/"),
            ],
            &[("port", "3")],
        )
        .unwrap();
        assert_eq!((settings.port, settings.host.as_str()), (3, "0.0.0.0"));
        assert_eq!((settings.queue.max_tokens, settings.queue.max_requests), (20, 3));
        assert_eq!(settings.access.keys, ["ann=k1", "k2"]);
        assert!(settings.models[0].path.is_absolute());
        assert_eq!(settings.models[0].name(), "m");
        assert!(!format!("{settings:?}").contains("k2"), "keys are not shown");
    }

    #[test]
    fn models_of_the_environment_take_the_place_of_the_files() {
        let variables = [("GAREUM_SERVE_MODELS", "a=/m/one,/m/two")];
        let settings = load("[[model]]\npath = \"m\"\n", &variables, &[]).unwrap();
        let names: Vec<String> = settings.models.iter().map(ModelSettings::name).collect();
        assert_eq!(names, ["a", "two"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (file, variables, overrides, expected) in [
            ("prot = 1", vec![], vec![], "serve.toml:1: unknown field `prot`"),
            ("prot = 1", vec![], vec![], "hint: did you mean `port`?"),
            (
                "[queue]\nmax_token = 1",
                vec![],
                vec![],
                "hint: did you mean `max_tokens`?",
            ),
            (
                "",
                vec![("GAREUM_SERVE_QUEUE_MAX_TOKEN", "1")],
                vec![],
                "GAREUM_SERVE_QUEUE_MAX_TOKEN: unknown field",
            ),
            ("", vec![], vec![("port", "x")], "port = \"x\": invalid type"),
            (
                "",
                vec![],
                vec![("max_wait_ms", "1")],
                "hint: did you mean `queue.max_wait_ms`?",
            ),
            (
                "",
                vec![],
                vec![("limits.texts", "0")],
                "limits.texts is 0, expected at least 1",
            ),
            (
                "",
                vec![],
                vec![("shutdown.seconds", "1e300")],
                "expected seconds, at most a day",
            ),
            (
                "",
                vec![],
                vec![("tls.key", "k.pem")],
                "tls.certificate is absent, expected a certificate and its key",
            ),
            (
                "",
                vec![],
                vec![("access.cors", "[\"example.org\"]")],
                "access.cors is example.org, expected origins",
            ),
            (
                "[[model]]\npath = \"a/m\"\n[[model]]\npath = \"b/m\"",
                vec![],
                vec![],
                "two models are called `m`",
            ),
        ] {
            let error = load(file, &variables, &overrides).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
