//! Files of predictions: the columns of the input with the predicted ones behind them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use gareum::files::temporary_name;
use gareum::predict::{Prediction, Predictor};
use serde_json::{Map, Value};

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
    /// The name it is written under and the one it gets; `None` for standard output.
    names: Option<(PathBuf, PathBuf)>,
}

enum Format {
    JsonLines(Box<dyn Write>),
    Csv(Box<csv::Writer<Box<dyn Write>>>),
}

impl Output {
    /// `columns` are those of the input; what is `added` gets another name where that is taken.
    pub fn open(path: &Path, columns: &[String], added: &[&str], display: Display) -> anyhow::Result<Self> {
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
            return Ok(Self {
                header,
                format: Format::JsonLines(stdout),
                names: None,
            });
        }
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        let is_csv = match extension.as_deref() {
            Some("csv") => true,
            Some("jsonl" | "ndjson" | "json") => false,
            _ => {
                let hint = "name a .jsonl or .csv file, or - for JSON lines on standard output";
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
        let temporary = temporary_name(path);
        remove_when_interrupted(temporary.clone(), display);
        let file = File::create(&temporary).map_err(|error| refused(&error))?;
        let file: Box<dyn Write> = Box::new(BufWriter::new(file));
        let format = match is_csv {
            true => {
                let mut writer = csv::Writer::from_writer(file);
                writer.write_record(&header)?;
                Format::Csv(Box::new(writer))
            }
            false => Format::JsonLines(file),
        };
        Ok(Self {
            header,
            format,
            names: Some((temporary, path.to_owned())),
        })
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

    pub fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.format {
            Format::JsonLines(file) => file.flush()?,
            Format::Csv(writer) => writer.flush()?,
        }
        Ok(())
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        if let Some((temporary, path)) = self.names.take()
            && let Err(error) = std::fs::rename(&temporary, &path)
        {
            bail!("{}: cannot write: {error}", path.display());
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.names {
            // Not finished: the error that led here is reported, and nothing half-written stays.
            let _ = std::fs::remove_file(temporary);
        }
    }
}
