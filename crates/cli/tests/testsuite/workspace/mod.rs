//! A temporary directory in which the real binary runs, with a tiny encoder and made-up reviews.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use gareum::data::{LabelSchema, Task};
use gareum::model::{Model, save_tensors};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Every word of [`reviews`], and letters for what else a test may say.
const WORDS: &str = "[PAD] [UNK] [CLS] [SEP] [MASK] the movie book food service delivery price was is very quite really not \
                     a good great lovely fine bad awful poor boring 영화 배송 좋아요 싫어요 . , ? ! 0 1 2 3 4 5 a ##a b ##b c ##c \
                     d ##d e ##e f ##f g ##g";

const SUBJECTS: [&str; 6] = ["movie", "book", "food", "service", "delivery", "price"];
const DEGREES: [&str; 3] = ["very", "quite", "really"];
const GOOD: [&str; 4] = ["good", "great", "lovely", "fine"];
const BAD: [&str; 4] = ["bad", "awful", "poor", "boring"];

/// Where commands run.
pub struct Workspace {
    directory: PathBuf,
    /// Variables of commands, beside [`ENVIRONMENT`]; of two of a name, the later.
    pub environment: Vec<(&'static str, String)>,
    /// Removes the directory at the end; a workspace within another leaves that to it.
    _owner: Option<TempDir>,
}

/// What a command left behind.
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Standard output, which is one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Standard output, which is JSON lines.
    pub fn json_lines(&self) -> Vec<Value> {
        json_lines(&self.stdout)
    }
}

/// The environment in which commands run: no backtraces, no colours, English, help of one width, no network.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("HF_HUB_OFFLINE", "1"),
    ("RUST_BACKTRACE", "0"),
    ("NO_COLOR", "1"),
    ("LC_ALL", "C"),
    ("COLUMNS", "100"),
];

impl Workspace {
    pub fn new() -> Self {
        let owner = tempfile::tempdir().unwrap();
        Self {
            directory: owner.path().to_owned(),
            environment: Vec::new(),
            _owner: Some(owner),
        }
    }

    /// A directory of this workspace as one of its own.
    pub fn at(&self, name: &str) -> Self {
        Self {
            directory: self.path(name),
            environment: self.environment.clone(),
            _owner: None,
        }
    }

    /// With the encoder `base`, the labelled reviews `reviews.csv` and settings for a short run, `tiny.toml`.
    pub fn with_base() -> Self {
        let workspace = Self::new();
        workspace.base("base");
        workspace.write("reviews.csv", csv(&["text", "label"], &reviews()));
        workspace.write("tiny.toml", SETTINGS);
        workspace
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    /// A file that need not be text.
    pub fn text_lossy(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a bare encoder with its vocabulary, as a pretrained checkpoint is.
    pub fn base(&self, name: &str) {
        self.base_of(name, encoder());
    }

    /// As [`Workspace::base`] with the sizes of `config`.
    pub fn base_of(&self, name: &str, config: Map<String, Value>) {
        let directory = self.path(name);
        std::fs::create_dir(&directory).unwrap();
        let schema = LabelSchema {
            task: Task::SingleLabel,
            names: vec!["neg".to_owned(), "pos".to_owned()],
        };
        let model = Model::from_config(config.clone(), schema, 1).unwrap();
        let is_head = |name: &str| name.contains("classifier");
        let encoder = model.parameters.iter().filter(|(_, name, _)| !is_head(name));
        let encoder = encoder.map(|(_, name, value)| (name.to_owned(), value));
        save_tensors(&directory.join("model.safetensors"), encoder).unwrap();
        std::fs::write(directory.join("config.json"), Value::Object(config).to_string()).unwrap();
        std::fs::write(directory.join("vocab.txt"), vocabulary().join("\n") + "\n").unwrap();
    }

    /// Changes one key of a directory's `config.json`.
    pub fn configure(&self, directory: &str, key: &str, value: Value) {
        let path = format!("{directory}/config.json");
        let mut config = self.json(&path);
        config[key] = value;
        self.write(&path, config.to_string());
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "")
    }

    pub fn run_with_input(&self, arguments: &[&str], stdin: &str) -> Finished {
        let output = Command::new(env!("CARGO_BIN_EXE_gareum"))
            .current_dir(&self.directory)
            .envs(ENVIRONMENT)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .args(arguments)
            .write_stdin(stdin)
            .output()
            .unwrap();
        let shown = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.replace(&self.directory.display().to_string(), "[DIR]")
        };
        let finished = Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: shown(&output.stdout),
            stderr: shown(&output.stderr),
        };
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        let half_written = self.files().into_iter().filter(|name| name.contains(".tmp"));
        assert_eq!(half_written.collect::<Vec<_>>(), [""; 0], "{arguments:?}");
        finished
    }

    /// Runs a command that should succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Finished {
        let finished = self.run(arguments);
        assert_eq!(finished.code, 0, "{arguments:?}\n{}", finished.stderr);
        finished
    }

    /// Runs a command that should fail: exit code and messages as one text for a snapshot. It must fail in Korean too.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.run(arguments);
        assert_ne!(code, 0, "{arguments:?} succeeded:\n{stdout}");
        assert_eq!(stdout, "", "{arguments:?}");
        let korean = self.run(&[arguments, &["--lang", "ko"]].concat());
        assert_eq!(korean.code, code, "{arguments:?}\n{}", korean.stderr);
        assert_korean(&korean.stderr, arguments);
        format!("exit {code}\n{stderr}")
    }

    /// Trains `output` from `base` on `data` for a few steps; `more` overrides the settings of `tiny.toml`.
    pub fn train(&self, data: &str, output: &str, more: &[&str]) -> Finished {
        self.succeed(&training(data, output, more))
    }

    /// All files below the directory, by their relative paths.
    pub fn files(&self) -> BTreeSet<String> {
        fn collect(directory: &Path, root: &Path, into: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                into.insert(path.strip_prefix(root).unwrap().display().to_string());
                if path.is_dir() {
                    collect(&path, root, into);
                }
            }
        }
        let mut files = BTreeSet::new();
        collect(&self.directory, &self.directory, &mut files);
        files
    }
}

/// Checks a page of a report and its pictures: well-formed, of less than 2 MB, without network and without markup of data. Returns the page.
pub fn assert_page(workspace: &Workspace, directory: &str) -> String {
    let page = workspace.text(&format!("{directory}/index.html"));
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    let network = ["http://", "https://", "src=\"", "@import", "url(", "NaN"];
    assert_eq!(network.iter().find(|odd| page.contains(**odd)), None);
    assert_eq!(page.matches("<script>").count(), 1, "the page's own");
    let balanced = |text: &str, element: &str| {
        let open = text.matches(&format!("<{element}>")).count() + text.matches(&format!("<{element} ")).count();
        assert_eq!(open, text.matches(&format!("</{element}>")).count(), "{element}");
    };
    for element in [
        "section", "table", "tr", "td", "th", "figure", "svg", "text", "details", "dl", "ul", "li", "p",
    ] {
        balanced(&page, element);
    }
    let in_directory = |name: &String| name.starts_with(directory) && name.ends_with(".svg");
    let pictures: Vec<String> = workspace.files().into_iter().filter(in_directory).collect();
    assert_eq!(pictures.len(), page.matches("<figure").count(), "{pictures:?}");
    for name in pictures {
        let picture = workspace.text(&name);
        assert!(picture.starts_with("<svg xmlns=") && !picture.contains("NaN"), "{name}");
        ["text", "title", "svg"]
            .iter()
            .for_each(|element| balanced(&picture, element));
    }
    page
}

/// Every line is Korean but for values: none is without Hangul, and no two English words follow each other.
pub fn assert_korean(text: &str, arguments: &[&str]) {
    let is_hangul = |c: char| ('가'..='힣').contains(&c);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(
            line.contains(is_hangul) || line.starts_with("--"),
            "not Korean: {line}\n{text}"
        );
        let mut spoken: String = line.split('`').step_by(2).collect();
        for value in arguments.iter().flat_map(|argument| argument.split('/')) {
            if value.contains(' ') {
                spoken = spoken.replace(value, "");
            }
        }
        let words: Vec<&str> = spoken
            .split(' ')
            .map(|word| word.trim_matches(['(', ')', ':']))
            .collect();
        let is_english = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase());
        let is_english = |pair: &&[&str]| is_english(pair[0]) && is_english(pair[1].trim_end_matches(','));
        // A command, and the number that the system gives its errors.
        let is_kept = |pair: &&[&str]| ["gareum", "os"].contains(&pair[0]);
        let english = words.windows(2).filter(is_english).find(|pair| !is_kept(pair));
        assert_eq!(english, None, "{line}");
    }
}

/// The arguments of [`Workspace::train`].
pub fn training<'a>(data: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["train", "--quiet", "tiny.toml", "--train", data, "--output", output];
    [&usual, more].concat()
}

/// The settings of [`Workspace::train`].
const SETTINGS: &str = r#"
    [model]
    base = "base"
    max_length = 16
    [train]
    epochs = 2
    batch_size = 8
    learning_rate = 0.03
    early_stopping = { patience = 20 }
"#;

/// `config.json` of an encoder that computes in no time.
pub fn encoder() -> Map<String, Value> {
    let config = json!({
        "model_type": "bert",
        "vocab_size": vocabulary().len(),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "initializer_range": 0.2,
    });
    config.as_object().unwrap().clone()
}

/// The words that reviews consist of, after BERT's special tokens.
pub fn vocabulary() -> Vec<&'static str> {
    let mut words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut seen = BTreeSet::new();
    words.retain(|word| seen.insert(*word));
    words
}

/// 144 different reviews, each with `pos` or `neg`.
pub fn reviews() -> Vec<Vec<String>> {
    let opinions = GOOD
        .map(|word| (word, "pos"))
        .into_iter()
        .chain(BAD.map(|word| (word, "neg")));
    let mut rows = Vec::new();
    for (opinion, label) in opinions {
        for subject in SUBJECTS {
            for degree in DEGREES {
                rows.push(vec![format!("the {subject} was {degree} {opinion}"), label.to_owned()]);
            }
        }
    }
    rows
}

/// A csv file with a header; fields are quoted.
pub fn csv(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |fields: Vec<String>| fields.join(",") + "\n";
    let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
    let rows = rows.iter().map(|row| line(row.iter().map(quoted).collect()));
    line(header.iter().map(|name| (*name).to_owned()).collect()) + &rows.collect::<String>()
}

pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
