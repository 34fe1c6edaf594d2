//! From annotated texts to the models of a chain: rows for each model are written to files, from which two runs like any other learn.
//!
//! The files stay beside the models: runs that are resumed, gates of compression and whoever wants to know read them again.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{AspectSchema, ChainError};
use crate::data::{Example, LabelSchema, Target, Task};
use crate::files::{self, WriteError};
use crate::settings::{ChainSettings, DataSettings, OutputSettings, Part, Parts, Settings};
use crate::train::{self, Prepared};

/// The directory of the files below that of the chain.
const DATA: &str = "data";

/// The figures of the whole.
const METRICS: &str = "metrics.json";

/// The annotated rows of a chain.
#[derive(Debug, Clone)]
pub struct PreparedChain {
    /// The rows; a label is a keyword with a sentiment.
    pub rows: Prepared,
    /// Keywords and sentiments.
    pub schema: AspectSchema,
    /// What each label consists of.
    aspects: Vec<(u32, u32)>,
}

/// A model that is to be trained.
#[derive(Debug, Clone)]
pub struct ChainPart {
    /// Which.
    pub part: Part,
    /// Its run.
    pub settings: Settings,
    /// Says, once the model is trained, from what: a model of an earlier run is not this one.
    record: PathBuf,
}

impl ChainPart {
    /// Whether the model is there, trained to its end on these rows with these settings.
    pub fn is_done(&self, rows: &Prepared) -> bool {
        let directory = &self.settings.output.dir;
        let is_there = ["config.json", "adapter_config.json"]
            .iter()
            .any(|file| directory.join(file).exists());
        is_there && std::fs::read_to_string(&self.record).is_ok_and(|found| found == self.identity(rows))
    }

    /// Writes down that the model is trained.
    ///
    /// # Errors
    /// [`WriteError`] if that cannot be written.
    pub fn finish(&self, rows: &Prepared) -> Result<(), WriteError> {
        files::write_atomically(&self.record, self.identity(rows).as_bytes())
    }

    fn identity(&self, rows: &Prepared) -> String {
        let mut settings = self.settings.clone();
        // A directory may have been moved.
        settings.output = OutputSettings::default();
        settings.data = DataSettings::default();
        format!("{:#}\n", json!({ "rows": rows.fingerprint(), "settings": settings }))
    }

    /// Whether a run has begun and left a checkpoint to go on from.
    pub fn has_begun(&self) -> bool {
        let entries = std::fs::read_dir(&self.settings.output.dir);
        let mut names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with("checkpoint-"))
    }
}

/// Reads, cleans and splits the annotated rows.
///
/// # Errors
/// [`ChainError`] names file, row and column of what is wrong, or the label that is no aspect.
pub fn prepare(settings: &ChainSettings) -> Result<PreparedChain, ChainError> {
    let mut run = Settings {
        task: Some(Task::MultiLabel),
        data: settings.data.clone(),
        ..Settings::default()
    };
    // Each model does that with what it reads.
    run.data.normalize.clear();
    let rows = train::prepare(&run)?;
    let place = settings
        .data
        .train
        .as_deref()
        .unwrap_or(Path::new(""))
        .display()
        .to_string();
    let (schema, aspects) = AspectSchema::of_labels(&rows.schema.names, &place)?;
    Ok(PreparedChain { rows, schema, aspects })
}

impl PreparedChain {
    /// Begins a run: writes the rows of each model and says how it is trained. Until [`save`] the directory is no chain, whatever was there before;
    /// models that are there are kept for [`ChainPart::is_done`] if the run is `resumed`.
    ///
    /// # Errors
    /// [`ChainError::Write`] if a file cannot be written.
    pub fn begin(&self, settings: &ChainSettings, resumed: bool) -> Result<Vec<ChainPart>, ChainError> {
        let directory = settings.output.dir.join(DATA);
        files::create_directory(&directory)?;
        files::remove_leftovers(&settings.output.dir)?;
        files::remove_leftovers(&directory)?;
        for file in [ChainSettings::FILE, METRICS] {
            files::remove(&settings.output.dir.join(file))?;
        }
        let parts = &self.rows.parts;
        let mut chain = Vec::new();
        for &part in settings.kind.parts() {
            let write = |name: &str, examples: &[Example]| -> Result<Option<PathBuf>, ChainError> {
                if examples.is_empty() {
                    return Ok(None);
                }
                let path = directory.join(format!("{}-{name}.jsonl", part.name()));
                let lines = self.lines(part, settings, examples)?;
                files::write_atomically(&path, lines.as_bytes())?;
                Ok(Some(path))
            };
            let files = [
                write("train", &parts.train)?,
                write("validation", &parts.validation)?,
                write("test", &parts.test)?,
            ];
            let record = directory.join(format!("{}.json", part.name()));
            if !resumed {
                files::remove(&record)?;
            }
            let directory = settings.output.dir.join(part.name());
            chain.push(ChainPart {
                part,
                settings: settings.run_of(part, files, directory),
                record,
            });
        }
        Ok(chain)
    }

    /// Rows with labels that a chain knows under other ids. What it does not know is left out: no model could have said it.
    pub fn relabelled(&self, examples: &[Example], labels: &LabelSchema) -> Vec<Example> {
        let ids: Vec<Option<u32>> = self.rows.schema.names.iter().map(|name| labels.id_of(name)).collect();
        let relabelled = |example: &Example| {
            let mut known: Vec<u32> = example.target.ids().iter().filter_map(|id| ids[*id as usize]).collect();
            known.sort_unstable();
            Example {
                target: Target::Classes(known),
                ..example.clone()
            }
        };
        examples.iter().map(relabelled).collect()
    }

    fn lines(&self, part: Part, settings: &ChainSettings, examples: &[Example]) -> Result<String, ChainError> {
        let template = settings.filled_template()?;
        let mut lines = String::new();
        let mut line = |row: serde_json::Value| {
            lines.push_str(&row.to_string());
            lines.push('\n');
        };
        for example in examples {
            let aspects = example.target.ids().iter().map(|label| self.aspects[*label as usize]);
            let name = |(keyword, sentiment): (u32, u32)| {
                let (keyword, sentiment) = (keyword as usize, sentiment as usize);
                (&self.schema.keywords[keyword], &self.schema.sentiments[sentiment])
            };
            match part {
                Part::Keyword => {
                    let mut keywords: Vec<&String> = aspects.map(|aspect| name(aspect).0).collect();
                    keywords.dedup();
                    line(json!({ "id": example.id, "text": example.text, "label": keywords }));
                }
                Part::Pairs => {
                    let labels = example
                        .target
                        .ids()
                        .iter()
                        .map(|id| &self.rows.schema.names[*id as usize]);
                    line(json!({ "id": example.id, "text": example.text, "label": labels.collect::<Vec<_>>() }));
                }
                Part::Sentiment => aspects.map(name).for_each(|(keyword, sentiment)| {
                    let input = template.fill(&example.text, keyword);
                    let mut row = json!({ "id": example.id, "text": input.text, "label": sentiment });
                    if let Some(pair) = input.text_pair {
                        row["text_pair"] = json!(pair);
                    }
                    line(row);
                }),
            }
        }
        Ok(lines)
    }
}

/// Writes what makes the directory a chain, and figures where there are any; the models are there already.
///
/// # Errors
/// [`ChainError::Write`] if a file cannot be written.
pub fn save(settings: &ChainSettings, metrics: Option<&Value>) -> Result<(), ChainError> {
    let settings = ChainSettings {
        parts: Parts::default(),
        ..settings.clone()
    };
    let directory = &settings.output.dir;
    let written = |path: PathBuf, text: Result<String, String>| match text {
        Ok(text) => Ok(files::write_atomically(&path, text.as_bytes())?),
        Err(reason) => Err(ChainError::Write(WriteError { path, reason })),
    };
    if let Some(metrics) = metrics {
        let json = serde_json::to_string_pretty(metrics).map_err(|error| error.to_string());
        written(directory.join(METRICS), json.map(|json| json + "\n"))?;
    }
    let toml = toml::to_string(&settings).map_err(|error| error.to_string());
    written(directory.join(ChainSettings::FILE), toml)
}
