//! Chains: `train` on a `chain.toml`, `evaluate` on what comes out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use gareum::chain::{self, Chain, ChainEvaluation};
use gareum::data::SchemaSource;
use gareum::files;
use gareum::metrics::{AspectMetrics, Interval};
use gareum::settings::{ChainSettings, OutputSettings, PrecisionSetting};
use gareum::train::RunOptions;
use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::predictions::Output;
use super::scorer::ASPECT_COLUMNS;
use super::{check_output, hub, labelled, say_precision, stop_flag, train as runs};
use crate::arguments::{Common, Compress, Evaluate, Train};
use crate::failure::{INTERRUPTED, Usage};
use crate::progress::{Display, TrainingProgress, blanks};

/// Columns of a figure in a table.
const COLUMN: usize = 10;

/// The split of a dataset on the hub that is read where the name says none.
const SPLIT: &str = "test";

/// Trains the models of a chain, one after the other, and measures them together.
pub fn train(command: &Train, settings: &ChainSettings, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let single = [
        (command.dry_run, "--dry-run"),
        (command.seeds.is_some(), "--seeds"),
        (command.pause_after.is_some(), "--pause-after"),
    ];
    if let Some((_, flag)) = single.into_iter().find(|(is_given, _)| *is_given) {
        bail!(Usage(format!(
            "{flag} is for single models, and this is a chain\nhint: train the chain once, then its models by themselves on the files in {}",
            settings.output.dir.join("data").display()
        )));
    }
    let output = &settings.output.dir;
    check_output(output)?;
    let prepared = chain::prepare(settings)?;
    runs::describe(display, &prepared.rows);
    display.note(format_args!(
        "{} keywords: {}; sentiments: {}",
        prepared.schema.keywords.len(),
        prepared.schema.keywords.join(", "),
        prepared.schema.sentiments.join(", ")
    ));
    let from = command.resume.as_ref().and_then(Option::as_deref);
    if let Some(from) = from {
        check_resumed(from, output)?;
    }
    let parts = prepared.begin(settings, command.resume.is_some())?;
    for part in &parts {
        hub::fetch(&part.settings, common)?;
    }
    let stop = stop_flag(display, runs::last_act(&settings.keyword));
    for part in &parts {
        if stop.load(Ordering::Relaxed) {
            let command = runs::resume_command(output);
            display.note(format_args!("interrupted; go on with: {command}"));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let directory = &part.settings.output.dir;
        let rows = gareum::train::prepare(&part.settings)?;
        if command.resume.is_some() && part.is_done(&rows) {
            display.note(format_args!(
                "{} model: trained already, in {}",
                part.part.name(),
                directory.display()
            ));
            continue;
        }
        display.note(format_args!("{} model:", part.part.name()));
        runs::describe(display, &rows);
        let named = from.filter(|from| from.starts_with(directory));
        let begun = (command.resume.is_some() && part.has_begun()).then_some(directory.as_path());
        let options = RunOptions {
            resume: named.or(begun),
            stop: &stop,
            pause_after: None,
        };
        let mut progress = TrainingProgress::new(display);
        let report = gareum::train::run(&part.settings, &rows, &options, &mut |event| progress.observe(event));
        progress.finish();
        let report = report?;
        let code = runs::conclude(display, &report)?;
        if report.outcome.interrupted {
            return Ok(code);
        }
        part.finish(&rows)?;
    }
    // What the directory says is needed to load it; the figures follow.
    chain::save(settings, None)?;
    let parts = &prepared.rows.parts;
    let measured = match (parts.test.as_slice(), parts.validation.as_slice()) {
        ([], []) => None,
        ([], validation) => Some(("validation", validation)),
        (test, _) => Some(("test", test)),
    };
    if let Some((name, examples)) = measured {
        let chain = Chain::load(output, PrecisionSetting::Auto)?;
        let examples = prepared.relabelled(examples, &chain.schema().labels());
        let bar = display.rows(Some(examples.len() as u64));
        let evaluation = chain.evaluate(&examples, &mut |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        let metrics = json!({ name: evaluation });
        chain::save(settings, Some(&metrics))?;
        match common.json {
            true => println!("{}", serde_json::to_string_pretty(&metrics).context("metrics")?),
            false => print(display, &evaluation.metrics),
        }
    }
    display.note(format_args!("saved to {}", output.display()));
    Ok(ExitCode::SUCCESS)
}

/// Refuses a place to go on from that is none of this chain's.
fn check_resumed(from: &Path, output: &Path) -> Result<(), Usage> {
    match from.starts_with(output) && from.is_dir() {
        true => Ok(()),
        false => Err(Usage(format!(
            "--resume {}: no directory of the chain in {}\nhint: --resume alone goes on with what is there",
            from.display(),
            output.display()
        ))),
    }
}

/// Measures a chain on annotated rows.
pub fn evaluate(command: &Evaluate, model: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    if !command.slice.is_empty() {
        bail!(Usage("--slice is for single models, and this is a chain".to_owned()));
    }
    let chain = Chain::load(model, command.precision.into())?;
    let labels = chain.schema().labels();
    let mut records = labelled::open(&command.data, &command.columns, SPLIT)?;
    let columns = records.columns().to_vec();
    let dataset = labelled::read_plain(
        records,
        &command.columns,
        &chain.known_columns(),
        SchemaSource::Fixed(&labels),
        display,
    )?;
    say_precision(display, chain.first());
    let bar = display.rows(Some(dataset.examples.len() as u64));
    let ChainEvaluation { metrics, predictions } =
        chain.evaluate(&dataset.examples, &mut |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let json = serde_json::to_string_pretty(&metrics).context("metrics")? + "\n";
    if let Some(directory) = &command.report {
        files::create_directory(directory)?;
        files::write_atomically(&directory.join("metrics.json"), json.as_bytes())?;
        let mut output = Output::open(&directory.join("predictions.jsonl"), &columns, &ASPECT_COLUMNS, display)?;
        records = labelled::open(&command.data, &command.columns, SPLIT)?;
        let mut rows = dataset.examples.iter().zip(&predictions).peekable();
        while let Some(record) = records.next().transpose()? {
            while let Some((_, prediction)) = rows.next_if(|(example, _)| example.id == record.row) {
                let added = chain.columns(prediction);
                output.write(
                    &record.values,
                    &[added.label.into(), added.aspects.into(), added.keywords.into()],
                )?;
            }
        }
        output.finish()?;
    }
    match common.json {
        true => print!("{json}"),
        false => print(display, &metrics),
    }
    Ok(ExitCode::SUCCESS)
}

/// Compresses each model of a chain behind its own gate, on the validation rows of its run.
pub fn compress(command: &Compress, model: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let refused = [(command.data.is_some(), "--data"), (common.json, "--json")];
    if let Some((_, flag)) = refused.into_iter().find(|(is_given, _)| *is_given) {
        bail!(Usage(format!(
            "{flag} is for single models, and this is a chain\nhint: leave it out: each model is judged on the validation rows of its run, and its compression.json has the figures"
        )));
    }
    let settings = ChainSettings::of_model(model)?;
    let parts = settings.kind.parts();
    let directories = parts.iter().map(|part| command.output.join(part.name()));
    let new: Vec<PathBuf> = directories.filter(|directory| !directory.exists()).collect();
    for part in parts {
        display.note(format_args!("{} model:", part.name()));
        let of_part = Compress {
            model: settings.parts.path(*part).to_owned(),
            output: command.output.join(part.name()),
            ..command.clone()
        };
        if let Err(error) = super::compress::run(&of_part, common) {
            // Half a chain is none. What cannot be removed changes nothing about the error to report.
            for directory in &new {
                let _ = std::fs::remove_dir_all(directory);
            }
            let _ = std::fs::remove_dir(&command.output);
            return Err(error);
        }
    }
    let settings = ChainSettings {
        output: OutputSettings {
            dir: command.output.clone(),
        },
        ..settings
    };
    chain::save(&settings, None)?;
    display.note(format_args!("saved to {}", command.output.display()));
    Ok(ExitCode::SUCCESS)
}

/// The figures for people: each keyword, then all.
fn print(display: Display, metrics: &AspectMetrics) {
    let names = metrics.by_keyword.iter().map(|row| row.keyword.as_str());
    let title = display.text("keyword");
    let width = names.chain([&*title]).map(UnicodeWidthStr::width).max().unwrap_or(0);
    let titles = ["texts", "precision", "recall", "f1", "sentiment", "pair f1"];
    let titles = titles.map(|title| display.right(title, COLUMN));
    println!("{}  {}", display.left("keyword", width), titles.join("  "));
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    for row in &metrics.by_keyword {
        let scores = &row.scores;
        let cells = [
            scores.support.to_string(),
            number(Some(scores.precision)),
            number(Some(scores.recall)),
            number(Some(scores.f1_score)),
            number(row.sentiment_accuracy),
            number(Some(row.pair_f1)),
        ];
        let name = format!("{}{}", row.keyword, blanks(&row.keyword, width));
        println!("{name}  {}", cells.map(|cell| format!("{cell:>COLUMN$}")).join("  "));
    }
    println!();
    let line = |text: String, name: &str| {
        let interval: Option<Interval> = metrics.confidence_intervals.of(name);
        let interval = interval.map_or(String::new(), |it| format!("  [{:.4}, {:.4}]", it.low, it.high));
        println!("{}{interval}", display.text(&text));
    };
    line(format!("keywords, micro F1: {:.4}", metrics.keyword_f1), "keyword_f1");
    line(
        format!("keywords, macro F1: {:.4}", metrics.keyword_macro_f1),
        "keyword_macro_f1",
    );
    display.print(format_args!(
        "sentiments, accuracy given the true keywords: {}",
        number(metrics.sentiment_accuracy)
    ));
    display.print(format_args!(
        "sentiments, accuracy of the keywords that were found: {}",
        number(metrics.sentiment_accuracy_of_found)
    ));
    line(
        format!("keywords with their sentiment, micro F1: {:.4}", metrics.pair_f1),
        "pair_f1",
    );
    line(
        format!("texts with all of it right: {:.4}", metrics.exact_match),
        "exact_match",
    );
}
