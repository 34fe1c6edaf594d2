//! `chain.toml`: two models one behind the other, the keywords of a text and what it feels about each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::load::{insert, parse_error, read};
use super::{DataSettings, OutputSettings, Settings, SettingsError};
use crate::chain::Template;
use crate::data::Task;
use crate::tokens::TruncationStrategy;

/// The sections of a chain of its own; all others are for both models.
const OWN: [&str; 8] = [
    "kind",
    "template",
    "template_pair",
    "data",
    "output",
    "parts",
    "keyword",
    "sentiment",
];

/// Those for both models.
const SHARED: [&str; 5] = ["model", "train", "lora", "distillation", "decision"];

fn default_template() -> String {
    "###입력: {text} \n###키워드: {keyword}".to_owned()
}

/// Everything that a chain depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainSettings {
    /// Default `chain`.
    pub kind: ChainKind,
    /// What the sentiment model reads of a text and a keyword, with `{text}` and `{keyword}` in it. Default `###입력: {text} \n###키워드: {keyword}`.
    pub template: String,
    /// A second text, if the sentiment model is to read a pair: the keyword then stands here, or the text does. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_pair: Option<String>,
    /// Annotated texts: a column of aspects (a list of objects with a `keyword` and a `sentiment`, or a string such as `디자인 1, 배송 -1`), or with
    /// `polarities` one column for each keyword.
    pub data: DataSettings,
    /// Where the models are, for a chain of models that were trained by themselves: beside this file by default.
    #[serde(skip_serializing_if = "Parts::is_default")]
    pub parts: Parts,
    /// The run that trains the keyword model, without its data and output.
    pub keyword: Settings,
    /// The run that trains the sentiment model, likewise.
    pub sentiment: Settings,
    /// Where the chain goes.
    pub output: OutputSettings,
}

/// How many models there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainKind {
    /// One for keywords, and one for the sentiment of each.
    #[default]
    Chain,
    /// One, whose labels are keywords with a sentiment: a single pass, and less to learn from for each label.
    Pairs,
}

/// `[parts]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// The keyword model. Default `keyword`.
    pub keyword: PathBuf,
    /// The sentiment model. Default `sentiment`.
    pub sentiment: PathBuf,
    /// The model of `kind = "pairs"`. Default `pairs`.
    pub pairs: PathBuf,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            keyword: "keyword".into(),
            sentiment: "sentiment".into(),
            pairs: "pairs".into(),
        }
    }
}

impl Parts {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for ChainSettings {
    fn default() -> Self {
        Self {
            kind: ChainKind::default(),
            template: default_template(),
            template_pair: None,
            data: DataSettings::default(),
            parts: Parts::default(),
            keyword: Settings::default(),
            sentiment: Settings::default(),
            output: OutputSettings::default(),
        }
    }
}

impl ChainSettings {
    /// The name of the file, in a project as in a directory of a chain.
    pub const FILE: &'static str = "chain.toml";

    /// Whether a settings file is one of a chain: by its name, or by what it says.
    pub fn is_chain(path: &Path) -> bool {
        let is_named_so = path.file_name().is_some_and(|name| name == Self::FILE);
        let says_so = || {
            let table: Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
            Some(
                ["template", "keyword", "sentiment", "parts"]
                    .iter()
                    .any(|key| table.contains_key(*key)),
            )
        };
        is_named_so || says_so().unwrap_or(false)
    }

    /// Reads a file and applies overrides, each a dotted key with a value. What stands outside of `[keyword]` and
    /// `[sentiment]`, in the file or in an override, is for both models.
    ///
    /// # Errors
    /// [`SettingsError`] names file, key, value and the nearest known key.
    pub fn load(path: &Path, overrides: &[(String, Value)]) -> Result<Self, SettingsError> {
        let mut runs: BTreeMap<&str, Table> = [("keyword", Table::new()), ("sentiment", Table::new())].into();
        let place = path.display().to_string();
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let (shared, mut own) = read::<Table>(path)?
            .into_iter()
            .partition::<Table, _>(|(key, _)| !OWN.contains(&key.as_str()));
        if let Some(unknown) = shared.keys().find(|key| !SHARED.contains(&key.as_str())) {
            let known: Vec<String> = OWN.iter().chain(&SHARED).map(|key| format!("`{key}`")).collect();
            let message = format!("unknown field `{unknown}`, expected one of {}", known.join(", "));
            return Err(parse_error(place, &message));
        }
        for (name, run) in &mut runs {
            *run = shared.clone();
            match own.remove(*name) {
                None => {}
                Some(Value::Table(section)) => merge(run, section),
                Some(other) => {
                    let message = format!("`{name}` is {other}, expected a section [{name}]");
                    return Err(parse_error(place, &message));
                }
            }
        }
        // Paths of a file are taken from where it is, those of overrides from here: the file is understood first.
        let parsed = |run: &Table| Settings::from_table(run.clone(), &place).map(|run| run.relative_to(&directory));
        for run in runs.values_mut() {
            *run = parsed(run)?.to_table()?;
        }
        let of_data = |own: &Table| {
            let pick = |key: &str| Some((key.to_owned(), own.get(key)?.clone()));
            ["data", "output"].into_iter().filter_map(pick).collect::<Table>()
        };
        let mut data = parsed(&of_data(&own))?.to_table()?;
        for (key, value) in overrides {
            let (section, rest) = key.split_once('.').unwrap_or((key, ""));
            match section {
                "keyword" | "sentiment" if !rest.is_empty() => {
                    if let Some(run) = runs.get_mut(section) {
                        set(run, rest, value);
                    }
                }
                "data" | "output" => insert(&mut data, key, value.clone()),
                _ if OWN.contains(&section) => insert(&mut own, key, value.clone()),
                _ => runs.values_mut().for_each(|run| set(run, key, value)),
            }
        }
        for key in ["data", "output"] {
            own.extend(data.remove(key).map(|value| (key.to_owned(), value)));
        }
        // Each is looked at by itself, so that a message can name its section.
        for (name, run) in runs {
            Settings::from_table(run.clone(), &format!("{place} [{name}]"))?;
            own.insert(name.to_owned(), Value::Table(run));
        }
        let mut settings = Self::deserialize(Value::Table(own)).map_err(|error| parse_error(place, error.message()))?;
        settings.parts = settings.parts.relative_to(&directory);
        settings.check()?;
        Ok(settings)
    }

    /// The settings in a directory of a chain, or the file itself.
    ///
    /// # Errors
    /// As [`ChainSettings::load`].
    pub fn of_model(path: &Path) -> Result<Self, SettingsError> {
        match path.is_dir() {
            true => Self::load(&path.join(Self::FILE), &[]),
            false => Self::load(path, &[]),
        }
    }

    /// What the sentiment model reads.
    ///
    /// # Errors
    /// [`SettingsError::Range`] if a place is missing, or there twice.
    pub fn filled_template(&self) -> Result<Template, SettingsError> {
        Template::of(self).ok_or_else(|| SettingsError::Range {
            key: "template",
            found: format!("`{}`", self.template.escape_debug()),
            expected: "{text} and {keyword}, each once, in it or in template_pair",
        })
    }

    /// The settings of the run that trains a part, on files that hold its rows.
    pub(crate) fn run_of(&self, part: Part, files: [Option<PathBuf>; 3], directory: PathBuf) -> Settings {
        let mut settings = match part {
            Part::Keyword | Part::Pairs => self.keyword.clone(),
            Part::Sentiment => self.sentiment.clone(),
        };
        settings.task = Some(match part {
            Part::Keyword | Part::Pairs => Task::MultiLabel,
            Part::Sentiment => Task::SingleLabel,
        });
        if part == Part::Sentiment && settings.model.truncation == TruncationStrategy::Head {
            // The keyword may stand behind the text, and must not be cut away with its end.
            settings.model.truncation = TruncationStrategy::HeadTail;
        }
        let [train, validation, test] = files;
        let text = |name: &str| Some(super::OneOrMany::One(name.to_owned()));
        settings.data = DataSettings {
            train,
            validation,
            test,
            text: text("text"),
            text_pair: (part == Part::Sentiment && self.template_pair.is_some()).then(|| "text_pair".to_owned()),
            label: text("label"),
            normalize: self.data.normalize.clone(),
            seed: self.data.seed,
            ..DataSettings::default()
        };
        settings.output.dir = directory;
        settings
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.filled_template()?;
        if let Some(column) = &self.data.text_pair {
            return Err(SettingsError::Range {
                key: "data.text_pair",
                found: format!("`{column}`"),
                expected: "no second text: a chain reads one text a row",
            });
        }
        for (key, run) in [("keyword.data", &self.keyword), ("sentiment.data", &self.sentiment)] {
            if run.data != DataSettings::default() {
                return Err(SettingsError::Range {
                    key,
                    found: "given".to_owned(),
                    expected: "[data] of the chain: both models learn from one file",
                });
            }
        }
        Ok(())
    }
}

/// A model of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The keywords of a text.
    Keyword,
    /// What a text feels about a keyword.
    Sentiment,
    /// Both in one.
    Pairs,
}

impl Part {
    /// The name of its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Sentiment => "sentiment",
            Self::Pairs => "pairs",
        }
    }
}

impl ChainKind {
    /// The models.
    pub fn parts(self) -> &'static [Part] {
        match self {
            Self::Chain => &[Part::Keyword, Part::Sentiment],
            Self::Pairs => &[Part::Pairs],
        }
    }
}

impl Parts {
    /// Where a model is.
    pub fn path(&self, part: Part) -> &Path {
        match part {
            Part::Keyword => &self.keyword,
            Part::Sentiment => &self.sentiment,
            Part::Pairs => &self.pairs,
        }
    }

    fn relative_to(self, directory: &Path) -> Self {
        Self {
            keyword: directory.join(self.keyword),
            sentiment: directory.join(self.sentiment),
            pairs: directory.join(self.pairs),
        }
    }
}

/// An override of a run: a checkpoint that is named takes the place of the encoder in the file.
fn set(run: &mut Table, key: &str, value: &Value) {
    if key == "model.base"
        && let Some(Value::Table(model)) = run.get_mut("model")
    {
        model.remove("scratch");
    }
    insert(run, key, value.clone());
}

/// Puts what a section says over what is said for both.
fn merge(table: &mut Table, section: Table) {
    for (key, value) in section {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
