//! `gareum predict`: rows stream through in chunks, so that memory stays bounded whatever the size of the file. One thread
//! reads and tokenizes a chunk while the one before is predicted and written.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use gareum::data::{ColumnRequest, Input, InputColumns, ReadOptions, Record, Records};
use gareum::explain::Options;
use serde_json::json;

use super::predictions::{Output, Resumable};
use super::scorer::{Scorer, Texts};
use super::{hub, say_precision};
use crate::arguments::{Common, Predict};
use crate::failure::Usage;
use crate::progress::Display;

/// Rows that are read, predicted and written at a time.
const CHUNK_ROWS: usize = 1024;

/// The column of `--explain`.
const EXPLANATION: &str = "explanation";

pub fn run(command: &Predict, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    hub::dataset(&command.input, "test", common)?;
    let model = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    let scorer = Arc::new(Scorer::load(&model, command.base.as_deref(), command.precision)?);
    let read = ReadOptions {
        header: command.columns.no_header.then_some(false),
        split: Some("test".to_owned()),
        ..ReadOptions::default()
    };
    let mut records = match command.input.as_os_str() == "-" {
        true => Records::from_lines(std::io::stdin()),
        false => Records::open(&command.input, &read)?,
    };
    let request = ColumnRequest {
        text: command.columns.text.iter().cloned().collect(),
        text_pair: command.columns.text_pair.clone(),
        ..ColumnRequest::default()
    };
    let known = scorer.known_columns().of_one_text();
    let columns = request.or_known(&known, &records).resolve_inputs(&records)?;
    let mut added = scorer.added_columns().to_vec();
    if command.explain {
        added.push(EXPLANATION);
        scorer.check(&Options::default())?;
    }
    let resumable = resumable(command, &model)?;
    let (mut output, there) = Output::begin(&command.output, records.columns(), &added, resumable, display)?;
    say_precision(display, scorer.first());
    for _ in 0..there {
        if records.next().transpose()?.is_none() {
            bail!(Usage(format!(
                "{}: there are fewer rows than were predicted\nhint: leave out --resume to begin anew",
                command.input.display()
            )));
        }
    }
    if there > 0 {
        display.note(format_args!("{there} rows are there already"));
    }
    let bar = display.rows(None);
    let (mut done, mut missing, mut abstained) = (there, 0u64, 0u64);
    let (chunks, reader) = read_ahead(records, columns, Arc::clone(&scorer));
    for chunk in chunks {
        let Chunk { rows, texts } = chunk?;
        let mut scored = scorer.score(&texts, command.top_k)?;
        if command.explain {
            for (scored, explanation) in scored
                .iter_mut()
                .zip(scorer.explain(&texts.inputs, &Options::default())?)
            {
                scored.added.push(serde_json::to_value(explanation.maps)?);
            }
        }
        let mut scored = scored.into_iter();
        done += rows.len() as u64;
        for Row { record, has_text } in &rows {
            // A row without text stays in its place, without a label.
            let scored = has_text.then(|| scored.next()).flatten();
            missing += u64::from(scored.is_none());
            abstained += u64::from(scored.as_ref().is_some_and(|scored| scored.abstained));
            let added = scored.map_or(Vec::new(), |scored| scored.added);
            output.write(&record.values, &added)?;
        }
        output.flush(done)?;
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
    if abstained > 0 {
        display.note(format_args!("the model abstains on {abstained} of {done} rows"));
    }
    if command.output.as_os_str() != "-" {
        display.note(format_args!("{done} rows written to {}", command.output.display()));
        if common.json {
            let report = json!({
                "model": command.model,
                "output": command.output,
                "rows": done,
                "rows_without_text": missing,
                "rows_abstained": abstained,
                "precision": scorer.first().precision(),
            });
            println!("{}", serde_json::to_string_pretty(&report).context("report")?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a run must agree in with the one that it goes on with; nothing for standard output.
fn resumable(command: &Predict, model: &Path) -> anyhow::Result<Option<Resumable>> {
    let is_stream = [&command.input, &command.output]
        .into_iter()
        .any(|path| path.as_os_str() == "-");
    if is_stream {
        if command.resume {
            bail!(Usage(
                "--resume needs a file to read and one to write\nhint: name them with --input and --output".to_owned()
            ));
        }
        return Ok(None);
    }
    let bytes = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
    // When the model was written: a run with another of the same name is another run.
    let written = |file: &str| {
        let written = std::fs::metadata(model.join(file))
            .and_then(|file| file.modified())
            .ok()?;
        Some(written.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    };
    let written = ["config.json", "adapter_config.json", "chain.toml"].map(written);
    Ok(Some(Resumable {
        resume: command.resume,
        identity: json!({
            "top_k": command.top_k,
            "precision": format!("{:?}", command.precision).to_lowercase(),
            "text": command.columns.text,
            "text_pair": command.columns.text_pair,
            "model": model,
            "input": command.input,
            "model_written": written.into_iter().flatten().max(),
            "input_bytes": bytes(&command.input),
        }),
    }))
}

/// Rows that are predicted and written together.
struct Chunk {
    rows: Vec<Row>,
    /// The rows with text.
    texts: Texts,
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
    scorer: Arc<Scorer>,
) -> (Receiver<anyhow::Result<Chunk>>, JoinHandle<()>) {
    let (sender, receiver) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        loop {
            let chunk = read_chunk(&mut records, &columns, &scorer);
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
fn read_chunk(records: &mut Records, columns: &InputColumns, scorer: &Scorer) -> anyhow::Result<Option<Chunk>> {
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
    let texts = scorer.prepare(inputs)?;
    Ok(Some(Chunk { rows, texts }))
}
