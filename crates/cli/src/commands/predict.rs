//! `gareum predict`: rows stream through in chunks, so that memory stays bounded whatever the size of the file. One thread
//! reads and tokenizes a chunk while the one before is predicted and written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use gareum::data::{ColumnRequest, Input, InputColumns, LabelSchema, ReadOptions, Record, Records};
use gareum::files::temporary_name;
use gareum::predict::{Prediction, PredictionColumns, Predictor};
use gareum::tokens::Encoded;
use serde_json::{Map, Value, json};

use super::{hub, say_precision};
use crate::arguments::{Common, Predict};
use crate::failure::{INTERRUPTED, Usage};
use crate::progress::Display;

/// Rows that are read, predicted and written at a time.
const CHUNK_ROWS: usize = 1024;

/// The columns that are added to those of the input.
const ADDED: [&str; 3] = ["label", "score", "scores"];

pub fn run(command: &Predict, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    hub::dataset(&command.input, "test", common)?;
    let model = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    let predictor = Predictor::load_with_base(&model, command.base.as_deref(), command.precision.into())?;
    let predictor = Arc::new(predictor);
    let read = ReadOptions {
        header: command.columns.no_header.then_some(false),
        split: Some("test".to_owned()),
        ..ReadOptions::default()
    };
    let records = match command.input.as_os_str() == "-" {
        true => Records::from_lines(std::io::stdin()),
        false => Records::open(&command.input, &read)?,
    };
    let request = ColumnRequest {
        text: command.columns.text.iter().cloned().collect(),
        text_pair: command.columns.text_pair.clone(),
        ..ColumnRequest::default()
    };
    let mut known = predictor.known_columns();
    if known.text.len() > 1 {
        known.text.clear();
    }
    let columns = request.or_known(&known, &records).resolve_inputs(&records)?;
    let added = ADDED.map(|name| free_name(name, records.columns()));
    for (name, added) in ADDED.iter().zip(&added).filter(|(name, added)| name != added) {
        display.note(format_args!(
            "the input has a column `{name}`; the predicted one is called `{added}`"
        ));
    }
    let header = records.columns().iter().cloned().chain(added).collect();
    let mut output = Output::open(&command.output, header, display)?;
    say_precision(display, &predictor);
    let bar = display.rows(None);
    let (mut done, mut missing) = (0u64, 0u64);
    let (chunks, reader) = read_ahead(records, columns, Arc::clone(&predictor));
    for chunk in chunks {
        let Chunk { rows, texts } = chunk?;
        let mut predictions = predictor.predict_encoded(&texts, &mut |_| ())?.into_iter();
        done += rows.len() as u64;
        for Row { record, has_text } in &rows {
            // A row without text stays in its place, without a label.
            let prediction = has_text.then(|| predictions.next()).flatten();
            missing += u64::from(prediction.is_none());
            output.write(record, prediction.as_ref(), predictor.schema(), command.top_k)?;
        }
        output.flush()?;
        bar.set_position(done);
    }
    if let Err(panic) = reader.join() {
        // Its message has been shown; what was read is not all there is.
        std::panic::resume_unwind(panic);
    }
    bar.finish_and_clear();
    output.finish()?;
    if missing > 0 {
        display.note(format_args!("{missing} of {done} rows have no text and got no label"));
    }
    if command.output.as_os_str() != "-" {
        display.note(format_args!("{done} rows written to {}", command.output.display()));
        if common.json {
            let report = json!({
                "model": command.model,
                "output": command.output,
                "rows": done,
                "rows_without_text": missing,
                "precision": predictor.precision(),
            });
            println!("{}", serde_json::to_string_pretty(&report).context("report")?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Rows that are predicted and written together.
struct Chunk {
    rows: Vec<Row>,
    /// The tokens of the rows with text.
    texts: Vec<Encoded>,
}

struct Row {
    record: Record,
    has_text: bool,
}

/// Reads and tokenizes on a thread of its own, one chunk ahead. The first error is the last thing that comes.
///
/// Where writing fails, the thread is not to be waited for: it may stand in a read of standard input that nobody ends.
fn read_ahead(
    mut records: Records,
    columns: InputColumns,
    predictor: Arc<Predictor>,
) -> (Receiver<anyhow::Result<Chunk>>, JoinHandle<()>) {
    let (sender, receiver) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        loop {
            let chunk = read_chunk(&mut records, &columns, &predictor);
            let is_last = !matches!(&chunk, Ok(Some(_)));
            let is_unwanted = chunk.transpose().is_some_and(|chunk| sender.send(chunk).is_err());
            if is_last || is_unwanted {
                break;
            }
        }
    });
    (receiver, thread)
}

/// `None` at the end.
fn read_chunk(records: &mut Records, columns: &InputColumns, predictor: &Predictor) -> anyhow::Result<Option<Chunk>> {
    let chunk = records.by_ref().take(CHUNK_ROWS).collect::<Result<Vec<Record>, _>>()?;
    if chunk.is_empty() {
        return Ok(None);
    }
    let (mut rows, mut inputs) = (Vec::with_capacity(chunk.len()), Vec::new());
    for record in chunk {
        let input: Option<Input> = columns.read(&record, records)?;
        rows.push(Row {
            record,
            has_text: input.is_some(),
        });
        inputs.extend(input);
    }
    let texts = predictor.encode(&inputs)?;
    Ok(Some(Chunk { rows, texts }))
}

/// Makes Ctrl-C take the half-written file along.
fn remove_when_interrupted(temporary: PathBuf, display: Display) {
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
fn free_name(name: &str, columns: &[String]) -> String {
    let mut name = name.to_owned();
    while columns.contains(&name) {
        name.insert_str(0, "predicted_");
    }
    name
}

/// A predictions file being written, under another name until it is complete.
struct Output {
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
    fn open(path: &Path, header: Vec<String>, display: Display) -> anyhow::Result<Self> {
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

    fn write(
        &mut self,
        record: &Record,
        prediction: Option<&Prediction>,
        schema: &LabelSchema,
        top_k: Option<usize>,
    ) -> anyhow::Result<()> {
        let added = match prediction.map(|prediction| prediction.columns(schema, top_k)) {
            None => [Value::Null, Value::Null, Value::Null],
            Some(PredictionColumns { label, score, scores }) => [label, score.into(), scores.into()],
        };
        let values = record.values.iter().chain(&added);
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

    fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.format {
            Format::JsonLines(file) => file.flush()?,
            Format::Csv(writer) => writer.flush()?,
        }
        Ok(())
    }

    /// Gives the file its name.
    fn finish(mut self) -> anyhow::Result<()> {
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
