//! `gareum compress`

use std::process::ExitCode;

use anyhow::bail;
use gareum::compress::{Event, Gate, Int8Options, Judgement, Report, Source, to_int8};
use gareum::data::{Dataset, Example};
use gareum::files;
use gareum::machine::readable_bytes;
use gareum::predict::{Description, Predictor};

use super::report::{said, shortened};
use super::{check_output, hub, labelled};
use crate::arguments::{Common, Compress};
use crate::failure::Usage;
use crate::progress::Display;

/// The split of a dataset on the hub that is read where the name says none.
const SPLIT: &str = "validation";

/// Flipped rows that are shown; a report has more.
const MOST_SHOWN: usize = 5;

/// The file with what the gate said, in the directory of the model.
const REPORT: &str = "compression.json";

pub fn run(command: &Compress, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    check_output(&command.output)?;
    let directory = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    if command.output == directory {
        bail!(Usage(format!(
            "{}: the compressed model would take the place of the original\nhint: name another directory with --output",
            directory.display()
        )));
    }
    let gate = gate(command.gate.as_deref())?;
    let examples = examples(command, &directory, common, display)?;
    let source = Source::open(directory, command.base.as_deref(), &examples)?;
    let bar = display.rows(Some(examples.len() as u64));
    let mut observe = |event: Event<'_>| match event {
        Event::Rows(done, _) => bar.set_position(done as u64),
        Event::Judged(judgement, kept) => bar.suspend(|| {
            let (drop, flipped) = (-100.0 * judgement.drop, 100.0 * judgement.flipped);
            display.note(format_args!(
                "{kept} groups of weights left wide: {drop:+.2} points, {flipped:.2} % of labels changed"
            ));
            display.note(match judgement.passed {
                true => "the gate is passed",
                false => "the gate is not passed",
            });
        }),
    };
    let options = Int8Options {
        precision: command.precision.into(),
        gate,
        is_automatic: command.auto,
        keeps_embeddings: command.wide_embeddings,
    };
    let compressed = to_int8(&source, &options, &mut observe)?;
    bar.finish_and_clear();
    let json = serde_json::to_string_pretty(&compressed.report)?;
    if compressed.report.judgement.passed {
        source.save(&compressed, &command.output)?;
        files::write_atomically(&command.output.join(REPORT), (json.clone() + "\n").as_bytes())?;
    }
    match common.json {
        true => println!("{json}"),
        false => print(display, &compressed.report),
    }
    if !compressed.report.judgement.passed {
        bail!(
            "the gate did not let the compressed model pass; nothing was written\nhint: --auto keeps the weights wide that matter most; --gate POINTS,PERCENT allows more"
        );
    }
    display.note(format_args!("saved to {}", command.output.display()));
    Ok(ExitCode::SUCCESS)
}

/// The rows to judge by: those given, or the validation rows of the model's own run.
fn examples(
    command: &Compress,
    directory: &std::path::Path,
    common: &Common,
    display: Display,
) -> anyhow::Result<Vec<Example>> {
    if let Some(data) = &command.data {
        hub::dataset(data, SPLIT, common)?;
        let predictor = Predictor::load_with_base(directory, command.base.as_deref(), command.precision.into())?;
        let records = labelled::open(data, &command.columns, SPLIT)?;
        let schema = gareum::data::SchemaSource::Fixed(predictor.schema());
        let dataset: Dataset =
            labelled::read_plain(records, &command.columns, &predictor.known_columns(), schema, display)?;
        return Ok(dataset.examples);
    }
    let none = || {
        Usage(format!(
            "{}: the model does not say which rows it was validated on\nhint: name labelled rows with --data",
            directory.display()
        ))
    };
    let description = Description::read(directory)?.ok_or_else(none)?;
    if description.settings.data.train.is_none() {
        bail!(none());
    }
    hub::fetch(&description.settings, common)?;
    let prepared = gareum::train::prepare(&description.settings)?;
    if prepared.parts.validation.is_empty() {
        bail!(none());
    }
    display.note(format_args!(
        "judged on the {} validation rows of the model's own run",
        prepared.parts.validation.len()
    ));
    Ok(prepared.parts.validation)
}

/// `POINTS,PERCENT`
fn gate(text: Option<&str>) -> Result<Gate, Usage> {
    let Some(text) = text else {
        return Ok(Gate::default());
    };
    let numbers: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|number: &f64| *number >= 0.0))
        .collect();
    match numbers.as_deref() {
        Some(&[points, percent]) => Ok(Gate {
            max_drop: points / 100.0,
            max_flips: percent / 100.0,
        }),
        _ => Err(Usage(format!(
            "--gate {text}: expected two numbers\nhint: such as --gate 0.5,1 for at most half a point of macro-F1 and 1 % of labels"
        ))),
    }
}

fn print(display: Display, report: &Report) {
    let standings = &report.comparison.contestants;
    let metric = report.comparison.metric;
    println!(
        "{:<10}  {:>10}  {:>6}  {:>8}  {:>6}  {:>8}  {:>8}  {:>8}",
        "", "size", "×", "texts/s", "×", "p50 ms", "p99 ms", metric
    );
    let costs = standings.first().and_then(|standing| standing.cost);
    for standing in standings {
        let (Some(cost), Some(first)) = (standing.cost, costs) else {
            continue;
        };
        let latency = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        println!(
            "{:<10}  {:>10}  {:>6.3}  {:>8.1}  {:>6.2}  {:>8}  {:>8}  {:>8.4}",
            standing.name,
            readable_bytes(cost.disk_bytes),
            cost.disk_bytes as f64 / first.disk_bytes.max(1) as f64,
            cost.texts_per_second,
            cost.texts_per_second / first.texts_per_second.max(1e-9),
            latency(cost.latency.map(|latency| latency.p50_ms)),
            latency(cost.latency.map(|latency| latency.p99_ms)),
            standing.metrics.get(metric).copied().flatten().unwrap_or(f64::NAN)
        );
    }
    let &Judgement { shift, flipped, .. } = &report.judgement;
    display.print(format_args!(
        "\nprobabilities moved by {:.4} on average, {:.4} at most; {:.2} % of rows have another label",
        shift.mean,
        shift.max,
        100.0 * flipped
    ));
    if !report.kept.is_empty() {
        display.print(format_args!(
            "{} weights were kept as they are; {:.1} % of all numbers are of 8 bits",
            report.kept.len(),
            100.0 * report.share
        ));
    }
    for flip in report.judgement.flips.iter().take(MOST_SHOWN) {
        println!(
            "    {} → {} ({}): {}",
            said(&flip.before),
            said(&flip.after),
            said(&flip.truth),
            shortened(&flip.text)
        );
    }
}
