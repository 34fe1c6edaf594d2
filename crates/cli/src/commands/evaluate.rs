//! `gareum evaluate`

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use gareum::chain::Chain;
use gareum::data::{Dataset, Records, Task};
use gareum::evaluation::{Judged, length_slices};
use gareum::files;
use gareum::metrics::Bootstrap;
use gareum::predict::{Description, Prediction, Predictor};
use gareum::train::{encode_examples, evaluate};
use serde_json::{Value, json};

use super::predictions::{Output, added_columns, added_values};
use super::{check_output, hub, labelled, report, say_precision, write_pages};
use crate::arguments::{Common, Evaluate};
use crate::failure::Usage;
use crate::progress::Display;

/// Tokens that go through the model at a time.
pub const MAX_TOKENS: usize = 4096;

/// The split of a dataset on the hub that is read where the name says none.
const SPLIT: &str = "test";

/// The column of the truth in the predictions file.
const TRUTH: &str = "true_label";

pub fn run(command: &Evaluate, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    if let Some(directory) = &command.report {
        check_output(directory)?;
    }
    hub::dataset(&command.data, SPLIT, common)?;
    let model = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    if Chain::is_at(&model) {
        return super::chain::evaluate(command, &model, common);
    }
    let predictor = Predictor::load_with_base(&model, command.base.as_deref(), command.precision.into())?;
    let records = labelled::open(&command.data, &command.columns, SPLIT)?;
    let slice_positions = slice_positions(command, &records)?;
    let dataset = labelled::read(records, &command.columns, &predictor, display)?;
    say_precision(display, &predictor);
    let encoded = encode_examples(predictor.tokenizer(), &dataset.examples, predictor.truncation())?;
    let bar = display.rows(Some(encoded.len() as u64));
    let decision = predictor.decision();
    let evaluation = evaluate(predictor.model(), decision, &encoded, MAX_TOKENS, &mut |done| {
        bar.set_position(done as u64)
    })?;
    bar.finish_and_clear();

    let predictions = match &command.report {
        None => None,
        Some(directory) => {
            files::create_directory(directory)?;
            Some(directory.join("predictions.jsonl"))
        }
    };
    let values = second_reading(
        command,
        &predictor,
        &dataset,
        &evaluation.predictions,
        (&slice_positions, predictions.as_deref()),
        display,
    )?;
    let lengths: Vec<usize> = encoded.iter().map(|example| example.encoded.full_length).collect();
    let mut slicings: Vec<(String, Vec<String>)> = command.slice.iter().cloned().zip(values).collect();
    slicings.push(length_slices(&lengths, predictor.truncation().max_length));
    let train_counts = Description::read(&model)?.and_then(|description| description.train_counts(predictor.schema()));
    let judged = Judged {
        schema: predictor.schema(),
        examples: &dataset.examples,
        predictions: &evaluation.predictions,
    };
    let bootstrap = Bootstrap::default();
    let report = judged.report(evaluation.metrics, train_counts.as_deref(), &slicings, &bootstrap)?;
    let json = serde_json::to_string_pretty(&report).context("metrics")?;
    if let Some(directory) = &command.report {
        files::write_atomically(&directory.join("metrics.json"), (json.clone() + "\n").as_bytes())?;
        let about = format!("{} · {}", command.model.display(), command.data.display());
        write_pages(&judged.to_page(&report, decision, &about), directory, display)?;
    }
    if common.json {
        println!("{json}");
    } else {
        report::print(display, &report, predictor.schema().task);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the columns of `--slice` are; said before any work is done.
fn slice_positions(command: &Evaluate, records: &Records) -> Result<Vec<usize>, Usage> {
    let position = |name: &String| {
        let position = records.columns().iter().position(|column| column == name);
        position.ok_or_else(|| {
            let columns: Vec<String> = records.columns().iter().map(|column| format!("`{column}`")).collect();
            Usage(format!(
                "{}: no column `{name}` for --slice; found {}\nhint: name one of these columns",
                command.data.display(),
                columns.join(", ")
            ))
        })
    };
    command.slice.iter().map(position).collect()
}

/// Reads the rows once more, for what examples do not keep: the values of the columns to slice by, one list for each, and all
/// columns for the predictions file.
fn second_reading(
    command: &Evaluate,
    predictor: &Predictor,
    dataset: &Dataset,
    predictions: &[Prediction],
    (positions, path): (&[usize], Option<&Path>),
    display: Display,
) -> anyhow::Result<Vec<Vec<String>>> {
    let mut values = vec![Vec::with_capacity(predictions.len()); positions.len()];
    if positions.is_empty() && path.is_none() {
        return Ok(values);
    }
    let mut records = labelled::open(&command.data, &command.columns, SPLIT)?;
    let mut columns = records.columns().to_vec();
    let truth = super::predictions::free_name(TRUTH, &columns);
    columns.push(truth);
    let mut output = path
        .map(|path| Output::open(path, &columns, added_columns(predictor), display))
        .transpose()?;
    let schema = predictor.schema();
    let mut rows = dataset.examples.iter().zip(predictions).peekable();
    while let Some(record) = records.next().transpose()? {
        while let Some((example, prediction)) = rows.next_if(|(example, _)| example.id == record.row) {
            for (position, values) in positions.iter().zip(&mut values) {
                values.push(cell(&record.values[*position]));
            }
            if let Some(output) = &mut output {
                let names = example.target.ids().iter().map(|id| schema.name_of(*id));
                let truth = match schema.task {
                    Task::SingleLabel => json!(names.flatten().next()),
                    Task::MultiLabel => json!(names.collect::<Vec<_>>()),
                    Task::Regression => json!(example.target.value()),
                };
                let row: Vec<Value> = record.values.iter().cloned().chain([truth]).collect();
                output.write(&row, &added_values(predictor, prediction, None))?;
            }
        }
    }
    if rows.next().is_some() {
        bail!("{}: the file has changed while it was read", command.data.display());
    }
    output.map(Output::finish).transpose()?;
    Ok(values)
}

/// A value as the name of a slice.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "(empty)".to_owned(),
        Value::String(text) if text.trim().is_empty() => "(empty)".to_owned(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}
