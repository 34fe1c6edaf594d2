//! `gareum evaluate`

use std::process::ExitCode;

use anyhow::Context;
use gareum::data::{ColumnRequest, Dataset, ReadOptions, SchemaSource};
use gareum::files;
use gareum::predict::Predictor;
use gareum::train::{encode_examples, evaluate};

use super::check_output;
use crate::arguments::{Common, Evaluate};
use crate::progress::Display;

/// Tokens that go through the model at a time.
const MAX_TOKENS: usize = 4096;

pub fn run(command: &Evaluate, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common.quiet);
    if let Some(directory) = &command.report {
        check_output(directory)?;
    }
    let predictor = Predictor::load(&command.model)?;
    let columns = ColumnRequest {
        text: command.columns.text.clone(),
        text_pair: command.columns.text_pair.clone(),
        label: command.label.clone(),
        label_separator: None,
    };
    let read = ReadOptions {
        header: command.columns.no_header.then_some(false),
        ..ReadOptions::default()
    };
    let dataset = Dataset::load(&command.data, &read, &columns, SchemaSource::Fixed(predictor.schema()))?;
    display.note(format_args!(
        "{}: {} rows",
        command.data.display(),
        dataset.examples.len()
    ));
    let examples = encode_examples(predictor.tokenizer(), &dataset.examples, predictor.truncation())?;
    let bar = display.rows(Some(examples.len() as u64));
    let evaluation = evaluate(predictor.model(), &examples, MAX_TOKENS, &mut |done| {
        bar.set_position(done as u64)
    })?;
    bar.finish_and_clear();
    let json = serde_json::to_string_pretty(&evaluation.metrics).context("metrics")?;
    if let Some(directory) = &command.report {
        files::create_directory(directory)?;
        files::write_atomically(&directory.join("metrics.json"), (json.clone() + "\n").as_bytes())?;
    }
    if common.json {
        println!("{json}");
    } else {
        println!("{}", evaluation.metrics.to_table());
    }
    Ok(ExitCode::SUCCESS)
}
