//! Files of predictions: the columns of the input with the predicted ones behind them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use gareum::data::write_parquet;
use gareum::files::{self, temporary_name};
use gareum::predict::{Prediction, Predictor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::same_command;
use crate::failure::{INTERRUPTED, Usage};
use crate::progress::Display;

/// The columns that a model adds to those of the input.
pub fn added_columns(predictor: &Predictor) -> &'static [&'static str] {
    match predictor.decision().abstain.is_off() {
        true => &["label", "score", "scores"],
        false => &["label", "score", "scores", "abstained"],
    }
}

/// What stands in them.
pub fn added_values(predictor: &Predictor, prediction: &Prediction, top_k: Option<usize>) -> Vec<Value> {
    let columns = prediction.columns(predictor.schema(), top_k);
    let mut values = vec![columns.label, columns.score.into(), columns.scores.into()];
    if !predictor.decision().abstain.is_off() {
        values.push(prediction.abstained.into());
    }
    values
}

/// Makes Ctrl-C take the half-written file along.
pub fn remove_when_interrupted(temporary: PathBuf, display: Display) {
    let installed = ctrlc::set_handler(move || {
        // It is not there yet, or not any more, or it goes now.
        let _ = std::fs::remove_file(&temporary);
        std::process::exit(INTERRUPTED.into());
    });
    if let Err(error) = installed {
        display.warn(format_args!("warning: Ctrl-C will leave a half-written file: {error}"));
    }
}

/// Makes Ctrl-C say how to go on.
fn tell_when_interrupted(display: Display) {
    let installed = ctrlc::set_handler(move || {
        let command = same_command(&[("--resume", false)], &["--resume".to_owned()]);
        display.warn(format_args!("\ninterrupted; go on with: {command}"));
        std::process::exit(INTERRUPTED.into());
    });
    if let Err(error) = installed {
        display.warn(format_args!("warning: Ctrl-C will stop at once: {error}"));
    }
}

/// `name`, with `predicted_` before it until no column has it.
pub fn free_name(name: &str, columns: &[String]) -> String {
    let mut name = name.to_owned();
    while columns.contains(&name) {
        name.insert_str(0, "predicted_");
    }
    name
}

/// A predictions file being written, under another name until it is complete.
pub struct Output {
    header: Vec<String>,
    format: Format,
    /// `None` for standard output.
    file: Option<Written>,
}

enum Format {
    JsonLines(Box<dyn Write>),
    Csv(Box<csv::Writer<Box<dyn Write>>>),
}

/// Where rows go.
struct Written {
    /// The name they are written under.
    temporary: PathBuf,
    /// The name they get.
    path: PathBuf,
    is_parquet: bool,
    /// Beside it, what has been written, so that it can be gone on with.
    progress: Option<Progress>,
}

/// How far a file of predictions is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// What the rows were made of and by.
    identity: Value,
    header: Vec<String>,
    /// Whole rows, and the bytes that they take.
    rows: u64,
    bytes: u64,
}

/// How a file can be gone on with after an interruption.
pub struct Resumable {
    /// Whether there is one to go on with.
    pub resume: bool,
    /// What another run must agree in.
    pub identity: Value,
}

impl Output {
    /// `columns` are those of the input; what is `added` gets another name where that is taken.
    pub fn open(path: &Path, columns: &[String], added: &[&str], display: Display) -> anyhow::Result<Self> {
        Ok(Self::begin(path, columns, added, None, display)?.0)
    }

    /// As [`Output::open`]; with `resumable` what is written stays after an interruption, and the number of rows that are there already is returned.
    pub fn begin(
        path: &Path,
        columns: &[String],
        added: &[&str],
        resumable: Option<Resumable>,
        display: Display,
    ) -> anyhow::Result<(Self, u64)> {
        let mut header = columns.to_vec();
        for name in added {
            let free = free_name(name, columns);
            if free != *name {
                display.note(format_args!(
                    "the input has a column `{name}`; the predicted one is called `{free}`"
                ));
            }
            header.push(free);
        }
        if path.as_os_str() == "-" {
            let stdout: Box<dyn Write> = Box::new(BufWriter::new(std::io::stdout()));
            let output = Self {
                header,
                format: Format::JsonLines(stdout),
                file: None,
            };
            return Ok((output, 0));
        }
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        let (is_csv, is_parquet) = match extension.as_deref() {
            Some("csv") => (true, false),
            Some("jsonl" | "ndjson" | "json") => (false, false),
            Some("parquet") => (false, true),
            _ => {
                let hint = "name a .jsonl, .csv or .parquet file, or - for JSON lines on standard output";
                let path = path.display();
                bail!(Usage(format!(
                    "{path}: the name does not say in which format to write\nhint: {hint}"
                )));
            }
        };
        let refused = |reason: &dyn std::fmt::Display| {
            let hint = "name a file in a directory that exists";
            Usage(format!("{}: cannot write: {reason}\nhint: {hint}", path.display()))
        };
        if path.is_dir() {
            bail!(refused(&"it is a directory"));
        }
        let (temporary, progress) = match resumable {
            None => (temporary_name(path), None),
            Some(Resumable { resume, identity }) => {
                let temporary = beside(path, "partial");
                let fresh = Progress {
                    identity,
                    header: header.clone(),
                    rows: 0,
                    bytes: 0,
                };
                let progress = match resume {
                    true => Progress::read(path, &fresh)?,
                    false => fresh,
                };
                (temporary, Some(progress))
            }
        };
        match &progress {
            None => remove_when_interrupted(temporary.clone(), display),
            Some(_) => tell_when_interrupted(display),
        }
        let rows = progress.as_ref().map_or(0, |progress| progress.rows);
        let file = match rows {
            0 => File::create(&temporary),
            // Behind the last whole row there may be the beginning of another.
            _ => File::options().append(true).open(&temporary).and_then(|file| {
                file.set_len(progress.as_ref().map_or(0, |progress| progress.bytes))?;
                Ok(file)
            }),
        };
        let file: Box<dyn Write> = Box::new(BufWriter::new(file.map_err(|error| refused(&error))?));
        let format = match is_csv {
            true => {
                let mut writer = csv::Writer::from_writer(file);
                if rows == 0 {
                    writer.write_record(&header)?;
                }
                Format::Csv(Box::new(writer))
            }
            false => Format::JsonLines(file),
        };
        let written = Written {
            temporary,
            path: path.to_owned(),
            is_parquet,
            progress,
        };
        let output = Self {
            header,
            format,
            file: Some(written),
        };
        Ok((output, rows))
    }

    /// Writes a row: the values of the input and those added, nothing for a row without text.
    pub fn write(&mut self, values: &[Value], added: &[Value]) -> anyhow::Result<()> {
        let values = values.iter().chain(added).chain(std::iter::repeat(&Value::Null));
        let values = values.take(self.header.len());
        match &mut self.format {
            Format::JsonLines(file) => {
                let row: Map<String, Value> = self.header.iter().cloned().zip(values.cloned()).collect();
                // As an `io::Error`, by which a closed pipe is known.
                serde_json::to_writer(&mut *file, &row).map_err(std::io::Error::from)?;
                file.write_all(b"\n")?;
            }
            Format::Csv(writer) => {
                let cell = |value: &Value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                writer.write_record(values.map(cell))?;
            }
        }
        Ok(())
    }

    /// Hands on what was written; `rows` are there now.
    pub fn flush(&mut self, rows: u64) -> anyhow::Result<()> {
        match &mut self.format {
            Format::JsonLines(file) => file.flush()?,
            Format::Csv(writer) => writer.flush()?,
        }
        if let Some(Written {
            temporary,
            path,
            progress: Some(progress),
            ..
        }) = &mut self.file
        {
            (progress.rows, progress.bytes) = (rows, std::fs::metadata(&*temporary)?.len());
            files::write_atomically(&Progress::path(path), &serde_json::to_vec(progress)?)?;
        }
        Ok(())
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> anyhow::Result<()> {
        match &mut self.format {
            Format::JsonLines(file) => file.flush()?,
            Format::Csv(writer) => writer.flush()?,
        }
        if let Some(written) = self.file.take() {
            let Written { temporary, path, .. } = &written;
            let failed = |error: std::io::Error| anyhow::anyhow!("{}: cannot write: {error}", path.display());
            match written.is_parquet {
                true => {
                    write_parquet(temporary, &self.header, path)?;
                    std::fs::remove_file(temporary).map_err(failed)?;
                }
                false => std::fs::rename(temporary, path).map_err(failed)?,
            }
            if written.progress.is_some() {
                std::fs::remove_file(Progress::path(path)).or_else(|error| match error.kind() {
                    // Nothing was written: there were no rows.
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(failed(error)),
                })?;
            }
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(written) = &self.file
            && written.progress.as_ref().is_none_or(|progress| progress.rows == 0)
        {
            // Not finished: the error that led here is reported, and nothing half-written stays, unless it can be gone on with.
            let _ = std::fs::remove_file(&written.temporary);
        }
    }
}

impl Progress {
    fn path(output: &Path) -> PathBuf {
        beside(output, "progress")
    }

    /// What was left of an interrupted run that agrees with `expected`.
    fn read(output: &Path, expected: &Self) -> anyhow::Result<Self> {
        let path = Self::path(output);
        let refused = |reason: String| {
            Usage(format!(
                "{}: {reason}\nhint: leave out --resume to begin anew",
                path.display()
            ))
        };
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!(refused("there is nothing to go on with".to_owned()))
            }
            text => text?,
        };
        let found: Self = serde_json::from_str(&text).map_err(|error| refused(format!("it is damaged: {error}")))?;
        if found.header != expected.header {
            bail!(refused("the columns have changed".to_owned()));
        }
        let keys = expected.identity.as_object().into_iter().flatten();
        for (key, value) in keys {
            if found.identity[key] != *value {
                bail!(refused(format!(
                    "`{key}` was {}, now it is {value}",
                    found.identity[key]
                )));
            }
        }
        let there = std::fs::metadata(beside(output, "partial")).map_or(0, |file| file.len());
        if there < found.bytes {
            bail!(refused(format!("of {} bytes {there} are there", found.bytes)));
        }
        Ok(found)
    }
}

/// The name of a file beside another.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    path.with_file_name(name)
}
