//! `gareum train`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use gareum::settings::{ChainSettings, Settings};
use gareum::train::{Prepared, RunOptions, RunReport};
use toml::Value;

use super::{check_output, describe_leak, describe_part, hub, same_command, stop_flag, write_pages};
use crate::arguments::{Common, Train, TrainingSettings};
use crate::failure::{INTERRUPTED, Usage};
use crate::progress::{Display, TrainingProgress};

/// What a sweep writes to the standard input of a trial that is to finish its step, write a checkpoint and end.
pub const STOP: &str = "stop";

pub fn run(command: &Train, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let stop = command.supervised.then(|| {
        let stop = stop_flag(display, "finishing the step and writing a checkpoint");
        obey_standard_input(Arc::clone(&stop));
        stop
    });
    let file = settings_file(&command.run, &["gareum.toml", ChainSettings::FILE], display);
    let mut overrides = overrides(&command.run)?;
    let output = command.output.as_ref().map(|path| path.display().to_string());
    overrides.extend(output.map(|path| ("output.dir".to_owned(), Value::String(path))));
    if let Some(file) = file.as_deref().filter(|file| ChainSettings::is_chain(file)) {
        return super::chain::train(command, &ChainSettings::load(file, &overrides)?, common);
    }
    let mut settings = Settings::load(file.as_deref(), &overrides)?;
    if settings.sweep.take().is_some() {
        display.note("the section [sweep] is for `gareum sweep`; this trains the settings beside it");
    }
    if command.pause_after.is_some() && settings.train.save_total_limit == 0 {
        bail!(Usage(
            "--pause-after needs a checkpoint to go on from, but train.save_total_limit is 0".to_owned()
        ));
    }
    let resume = command
        .resume
        .as_ref()
        .map(|path| path.as_ref().unwrap_or(&settings.output.dir));
    check_output(&settings.output.dir)?;
    hub::fetch(&settings, common)?;
    let prepared = gareum::train::prepare(&settings)?;
    describe(display, &prepared);
    if settings.data.train_share < 1.0 {
        let share = settings.data.train_share;
        display.note(format_args!(
            "the training rows are a share of {share} of all (data.train_share)"
        ));
    }
    if command.dry_run {
        return super::dry_run::run(&settings, &prepared, resume.map(PathBuf::as_path), common);
    }
    let mut progress = TrainingProgress::new(display);
    let stop = stop.unwrap_or_else(|| stop_flag(display, last_act(&settings)));
    let options = RunOptions {
        resume: resume.map(PathBuf::as_path),
        stop: &stop,
        pause_after: command.pause_after.map(|epochs| epochs as u64),
    };
    if let Some(seeds) = command.seeds {
        return super::seeds::run(&settings, &prepared, seeds, &options, common);
    }
    let result = gareum::train::run(&settings, &prepared, &options, &mut |event| progress.observe(event));
    progress.finish();
    let report = result?;
    finish(display, common, &report)
}

/// What is still done after Ctrl-C.
pub fn last_act(settings: &Settings) -> &'static str {
    match settings.train.save_total_limit {
        0 => "finishing the step; no checkpoint, as train.save_total_limit is 0",
        _ => "finishing the step and writing a checkpoint",
    }
}

/// The settings file that is named, or the first of `names` that is here.
pub fn settings_file(run: &TrainingSettings, names: &[&str], display: Display) -> Option<PathBuf> {
    let here = names
        .iter()
        .map(Path::new)
        .find(|path| run.settings.is_none() && path.exists());
    if let Some(path) = here {
        display.note(format_args!("settings: {}", path.display()));
    }
    run.settings.clone().or_else(|| here.map(Path::to_owned))
}

/// Does what a sweep says on standard input, and ends with it.
fn obey_standard_input(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if line == STOP {
                stop.store(true, Ordering::Relaxed);
            }
        }
        // Nobody is there any more to take what this process would come to.
        std::process::exit(INTERRUPTED.into());
    });
}

/// Says what the data is.
pub fn describe(display: Display, prepared: &Prepared) {
    prepared.reports.iter().for_each(|part| describe_part(display, part));
    prepared.leaks.iter().for_each(|leak| describe_leak(display, leak));
    let parts = &prepared.parts;
    display.note(format_args!(
        "{}: {} labels; {} training, {} validation, {} test rows",
        prepared.schema.task,
        prepared.schema.num_labels(),
        parts.train.len(),
        parts.validation.len(),
        parts.test.len()
    ));
}

/// Says how the run came out.
pub fn finish(display: Display, common: &Common, report: &RunReport) -> anyhow::Result<ExitCode> {
    let outcome = &report.outcome;
    if !report.notes.fresh.is_empty() {
        display.note(format_args!(
            "the head was trained from random weights: {}",
            report.notes.fresh.join(", ")
        ));
    }
    let (cut, all) = report.truncated;
    if cut > 0 {
        display.note(format_args!(
            "{cut} of {all} training texts were cut at model.max_length"
        ));
    }
    if common.json {
        println!("{}", report.to_json());
    } else if let Some(metrics) = report.test.as_ref().or(outcome.best.as_ref()) {
        println!("{}", metrics.to_table());
    }
    conclude(display, report)
}

/// Says what the figures mean, what the run cost and where the model is.
pub fn conclude(display: Display, report: &RunReport) -> anyhow::Result<ExitCode> {
    let outcome = &report.outcome;
    if let Some(diagnosis) = &report.diagnosis {
        display.note(diagnosis);
        diagnosis.findings.iter().for_each(|finding| display.note(finding));
    }
    let seconds = outcome.step_time.as_secs_f64().max(1e-9);
    let memory = gareum::machine::peak_memory_bytes().map_or(String::new(), |bytes| {
        format!(", peak memory {:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
    });
    display.note(format_args!(
        "{} steps in {seconds:.1} s: {:.1} examples/s, {:.0} tokens/s{memory}",
        outcome.steps,
        outcome.examples as f64 / seconds,
        outcome.tokens as f64 / seconds
    ));
    if outcome.interrupted {
        display.note(match &outcome.checkpoint {
            Some(checkpoint) => format!("interrupted; go on with: {}", resume_command(checkpoint)),
            None => "interrupted".to_owned(),
        });
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if let (true, Some(checkpoint)) = (outcome.paused, &outcome.checkpoint) {
        let epochs = outcome.state.epoch;
        let command = resume_command(checkpoint);
        display.note(format_args!("paused after {epochs:.0} epochs; go on with: {command}"));
        return Ok(ExitCode::SUCCESS);
    }
    display.note(format_args!("saved to {}", report.directory.display()));
    write_page(display, report)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a run into `report/` of the model directory; returns where it is. An interrupted run has none.
pub fn write_page(display: Display, report: &RunReport) -> anyhow::Result<Option<PathBuf>> {
    let Some(page) = &report.page else { return Ok(None) };
    write_pages(page, &report.directory.join("report"), display).map(Some)
}

/// The same command with `--resume CHECKPOINT`, to the end.
pub fn resume_command(checkpoint: &Path) -> String {
    let resume = ["--resume".to_owned(), checkpoint.display().to_string()];
    same_command(&[("--resume", true), ("--pause-after", true)], &resume)
}

/// The flags as settings.
pub fn overrides(command: &TrainingSettings) -> anyhow::Result<Vec<(String, Value)>> {
    let mut overrides = Vec::new();
    let mut set = |key: &str, value: Option<Value>| overrides.extend(value.map(|value| (key.to_owned(), value)));
    let path = |path: &Option<PathBuf>| {
        path.as_deref()
            .map(|path: &Path| Value::String(path.display().to_string()))
    };
    let text = |text: &Option<String>| text.clone().map(Value::String);
    set("model.base", path(&command.model));
    set("model.revision", text(&command.revision));
    let allow = command.allow_generator.then_some(Value::Boolean(true));
    set("model.allow_generator", allow);
    set("data.train", path(&command.train));
    set("data.validation", path(&command.validation));
    set("data.test", path(&command.test));
    let list =
        |names: &[String]| (!names.is_empty()).then(|| names.iter().cloned().map(Value::String).collect::<Vec<_>>());
    set("data.text", list(&command.columns.text).map(Value::Array));
    set("data.stack", command.columns.stack.then_some(Value::Boolean(true)));
    set("data.text_pair", text(&command.columns.text_pair));
    set(
        "data.header",
        command.columns.no_header.then_some(Value::Boolean(false)),
    );
    set("data.label", list(&command.columns.label).map(Value::Array));
    set("data.label_map", path(&command.columns.label_map));
    set("data.group", text(&command.group));
    set(
        "train.epochs",
        command.epochs.map(|epochs| Value::Integer(epochs as i64)),
    );
    set("train.memory", text(&command.memory));
    set("model.reset_head", command.reset_head.then_some(Value::Boolean(true)));
    for assignment in &command.set {
        let (key, value) = Settings::parse_assignment(assignment)?;
        overrides.push((key, value));
    }
    Ok(overrides)
}
