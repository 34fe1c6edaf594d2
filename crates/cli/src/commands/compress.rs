//! `gareum compress`

use std::process::ExitCode;

use anyhow::bail;
use gareum::chain::Chain;
use gareum::comparison::Comparison;
use gareum::compress::{
    Compressed, Event, Gate, Judgement, QuantizeOptions, Quantized, Report, Source, quantize, to_half, trim_vocabulary,
};
use gareum::data::{Dataset, Example, Input};
use gareum::files;
use gareum::model::Width;
use gareum::predict::{Description, Predictor};

use super::compare::print_costs;
use super::report::{said, shortened};
use super::{check_output, corpus, hub, labelled, prune, write_report};
use crate::arguments::{Common, Compress, CompressTo};
use crate::failure::Usage;
use crate::progress::Display;

/// The split of a dataset on the hub that is read where the name says none.
const SPLIT: &str = "validation";

/// Flipped rows that are shown; a report has more.
const MOST_SHOWN: usize = 5;

/// The file with what the gate said, in the directory of the model.
pub const REPORT: &str = "compression.json";

/// The same to be looked at.
pub const PAGE: &str = "compression.html";

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
    if Chain::is_at(&directory) {
        return super::chain::compress(command, &directory, common);
    }
    let gate = gate(command.gate.as_deref())?;
    let pruning = prune::options(command)?;
    let examples = examples(command, &directory, common, display)?;
    let corpus = match command.to {
        CompressTo::Trimmed => corpus::texts(command, &directory, common, display)?,
        _ if command.corpus.is_empty() => Vec::new(),
        _ => bail!(Usage("--corpus is for --to trimmed".to_owned())),
    };
    let source = Source::open(directory, command.base.as_deref(), &examples)?;
    if let Some(options) = pruning {
        return prune::run(command, &options, &source, common);
    }
    let bar = display.rows(Some(examples.len() as u64));
    let mut observe = |event: Event<'_>| match event {
        Event::Rows(done, _) => bar.set_position(done as u64),
        Event::Judged(judgement, kept) => bar.suspend(|| {
            let (drop, flipped) = (-100.0 * judgement.drop, 100.0 * judgement.flipped);
            // No minus before nothing.
            let drop = if drop == 0.0 { 0.0 } else { drop };
            if kept > 0 {
                display.note(format_args!("{kept} groups of weights left wide"));
            }
            display.note(format_args!("{drop:+.2} points, {flipped:.2} % of labels changed"));
            display.note(match judgement.passed {
                true => "the gate is passed",
                false => "the gate is not passed",
            });
        }),
    };
    let compressed = compress(command, gate, &source, corpus, &mut observe)?;
    bar.finish_and_clear();
    let json = serde_json::to_string_pretty(&compressed.report)?;
    if compressed.report.judgement.passed {
        source.save(&compressed.model, &compressed.tokenizer, &command.output)?;
        files::write_atomically(&command.output.join(REPORT), (json.clone() + "\n").as_bytes())?;
        let page = compressed.report.comparison.to_page();
        write_report(&page, &command.output.join(PAGE), display)?;
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

fn compress(
    command: &Compress,
    gate: Gate,
    source: &Source<'_>,
    corpus: Vec<Input>,
    observe: &mut dyn FnMut(Event<'_>),
) -> anyhow::Result<Compressed> {
    let precision = command.precision.into();
    let quantized = |to: Quantized, observe: &mut dyn FnMut(Event<'_>)| {
        let options = QuantizeOptions {
            to,
            precision,
            gate,
            is_automatic: command.auto,
            keeps_embeddings: command.wide_embeddings,
        };
        quantize(source, &options, observe)
    };
    let only_narrow = [(command.auto, "--auto"), (command.wide_embeddings, "--wide-embeddings")];
    if let Some((_, flag)) = only_narrow.into_iter().find(|(is_given, _)| *is_given)
        && !matches!(command.to, CompressTo::Int8 | CompressTo::Nf4)
    {
        bail!(Usage(format!(
            "{flag} is for weights of 8 and 4 bits\nhint: leave it out, or take --to int8 or --to nf4"
        )));
    }
    let by = (precision, gate);
    Ok(match command.to {
        CompressTo::Int8 => quantized(Quantized::Int8, observe)?,
        CompressTo::Nf4 => quantized(Quantized::Nf4, observe)?,
        CompressTo::Bf16 => to_half(source, Width::BF16, by, observe)?,
        CompressTo::F16 => to_half(source, Width::F16, by, observe)?,
        CompressTo::Trimmed => trim_vocabulary(source, corpus, by, observe)?,
        CompressTo::Pruned => bail!(prune::nothing()),
    })
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
pub fn gate(text: Option<&str>) -> Result<Gate, Usage> {
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
    print_shift(display, &report.comparison, &report.judgement);
    if let Some([before, after]) = report.vocabulary {
        display.print(format_args!("{after} of {before} words are left"));
    }
    if !report.kept.is_empty() {
        display.print(format_args!("{} weights were kept wider", report.kept.len()));
    }
    if let Some(share) = report.share {
        display.print(format_args!(
            "{:.1} % of all numbers are of {}",
            100.0 * share,
            report.to
        ));
    }
    print_flips(&report.judgement);
}

/// What both models cost and say, and how far probabilities moved.
pub fn print_shift(display: Display, comparison: &Comparison, judgement: &Judgement) {
    print_costs(display, comparison);
    let Judgement { shift, flipped, .. } = judgement;
    if let Some(shift) = shift {
        display.print(format_args!(
            "\nprobabilities moved by {:.4} on average, {:.4} at most; {:.2} % of rows have another label",
            shift.mean,
            shift.max,
            100.0 * flipped
        ));
    }
}

/// Rows whose labels changed most.
pub fn print_flips(judgement: &Judgement) {
    for flip in judgement.flips.iter().take(MOST_SHOWN) {
        println!(
            "    {} → {} ({}): {}",
            said(&flip.before),
            said(&flip.after),
            said(&flip.truth),
            shortened(&flip.text)
        );
    }
}
