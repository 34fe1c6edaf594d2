//! `gareum evaluate`

use std::process::ExitCode;

use anyhow::Context;
use gareum::data::{CleanOptions, ColumnRequest, Dataset, LabelMap, ReadOptions, Records, SchemaSource, clean};
use gareum::files;
use gareum::predict::Predictor;
use gareum::train::{PartReport, encode_examples, evaluate};

use super::{check_output, check_stack, describe_part, hub, say_precision};
use crate::arguments::{Common, Evaluate};
use crate::progress::Display;

/// Tokens that go through the model at a time.
const MAX_TOKENS: usize = 4096;

pub fn run(command: &Evaluate, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    if let Some(directory) = &command.report {
        check_output(directory)?;
    }
    hub::dataset(&command.data, "test", common)?;
    let model = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    let predictor = Predictor::load_with_base(&model, command.base.as_deref(), command.precision.into())?;
    let read = ReadOptions {
        header: command.columns.no_header.then_some(false),
        split: Some("test".to_owned()),
        ..ReadOptions::default()
    };
    let records = Records::open(&command.data, &read)?;
    let columns = ColumnRequest {
        text: command.columns.text.clone(),
        text_pair: command.columns.text_pair.clone(),
        label: command.columns.label.clone(),
        ..ColumnRequest::default()
    };
    check_stack(&columns.text, command.columns.stack)?;
    let columns = columns.or_known(&predictor.known_columns(), &records);
    let map = command.columns.label_map.as_deref().map(LabelMap::open).transpose()?;
    let schema = SchemaSource::Fixed(predictor.schema());
    let mut dataset = Dataset::read(records, &columns, schema, map.as_ref())?;
    dataset.normalize(predictor.normalize_steps());
    let whole = CleanOptions {
        drop_duplicates: false,
        ..CleanOptions::default()
    };
    let clean = clean(&mut dataset, &whole);
    describe_part(
        display,
        &PartReport {
            load: dataset.report,
            clean,
        },
    );
    say_precision(display, &predictor);
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
