//! `gareum train --dry-run`

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use gareum::settings::Settings;
use gareum::train::{DryRun, DryRunOptions, Measured, Prepared};

use super::bytes;
use crate::arguments::Common;
use crate::progress::Display;

pub fn run(
    settings: &Settings,
    prepared: &Prepared,
    resume: Option<&Path>,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    Display::new(common).note("estimating; if memory suffices, a few steps are taken and forgotten");
    let options = DryRunOptions {
        resume,
        ..DryRunOptions::default()
    };
    let report = gareum::train::dry_run(settings, prepared, &options)?;
    if common.json {
        println!("{}", serde_json::to_string_pretty(&report).context("report")?);
    } else {
        print!("{}", render(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn render(report: &DryRun) -> anyhow::Result<String> {
    let mut text = String::new();
    let out = &mut text;
    let cut = format!("cut at {}", report.max_length);
    writeln!(out, "{:<12}{:>10}{cut:>14}", "data", "rows")?;
    for (name, rows, cut) in [
        ("training", report.rows.train, report.cut_rows.train),
        ("validation", report.rows.validation, report.cut_rows.validation),
        ("test", report.rows.test, report.cut_rows.test),
    ] {
        writeln!(out, "{name:<12}{rows:>10}{cut:>14}")?;
    }
    let tokens = &report.text_tokens;
    writeln!(
        out,
        "tokens of a training text: median {}, 95 % at most {}, longest {}\n",
        tokens.median, tokens.p95, tokens.max
    )?;

    let steps = &report.steps;
    let done = match steps.done {
        0 => String::new(),
        done => format!(", {done} of them done"),
    };
    writeln!(
        out,
        "{} steps an epoch, {} in all{done}; {} texts a step, {} tokens on average",
        steps.per_epoch, steps.total, steps.batch_size, steps.mean_batch_tokens
    )?;
    let parts = if steps.micro_batches == 1 { "part" } else { "parts" };
    writeln!(
        out,
        "the largest batch has {} tokens and is computed in {} {parts} of at most {}\n",
        steps.largest_batch_tokens, steps.micro_batches, steps.micro_batch_tokens
    )?;

    memory(out, report)?;
    if let Some(measured) = &report.measured {
        time(out, report, measured)?;
    }
    Ok(text)
}

fn memory(out: &mut String, report: &DryRun) -> anyhow::Result<()> {
    let names = [
        "memory",
        "weights",
        "gradients",
        "optimizer",
        "best weights",
        "activations",
        "other",
        "peak",
    ];
    row(out, names.map(str::to_owned))?;
    for estimate in &report.memory {
        let numbers = [
            estimate.weights_bytes,
            estimate.gradients_bytes,
            estimate.optimizer_bytes,
            estimate.best_weights_bytes,
            estimate.activations_bytes,
            estimate.other_bytes,
            estimate.peak_bytes,
        ];
        let mut cells = vec![estimate.method.name().to_owned()];
        cells.extend(numbers.map(bytes));
        row(out, cells)?;
    }
    let peak = report.memory.first().map_or(0, |estimate| estimate.peak_bytes);
    match report.limit_bytes {
        None => writeln!(out, "this system does not say how much memory there is\n")?,
        Some(limit) if report.fits => writeln!(out, "fits: the limit is {}\n", bytes(limit))?,
        Some(limit) => {
            writeln!(out, "does not fit: {} of {}", bytes(peak), bytes(limit))?;
            let remedy = match report.micro_batch_tokens_that_fit {
                Some(tokens) => format!("--set train.micro_batch_tokens={tokens} would fit, with the same result"),
                None => {
                    "no train.micro_batch_tokens would fit: take a smaller model or model.max_length, or more memory"
                        .to_owned()
                }
            };
            writeln!(out, "hint: {remedy}")?;
        }
    }
    if let (true, None, Some(available)) = (report.fits, &report.measured, report.available_bytes) {
        writeln!(
            out,
            "but only {} are free now, so no step was taken; end other programs to train",
            bytes(available)
        )?;
    }
    Ok(())
}

/// One row of the table of memory.
fn row(out: &mut String, cells: impl IntoIterator<Item = String>) -> std::fmt::Result {
    for (index, cell) in cells.into_iter().enumerate() {
        if index == 0 {
            write!(out, "{cell:<8}")?;
        } else {
            write!(out, "{cell:>13}")?;
        }
    }
    writeln!(out)
}

fn time(out: &mut String, report: &DryRun, measured: &Measured) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:.0} ms a step (median of {}): {:.1} examples/s, {:.0} tokens/s",
        measured.step_ms, measured.steps, measured.examples_per_second, measured.tokens_per_second
    )?;
    let evaluations = match measured.evaluation_examples_per_second {
        None => String::new(),
        Some(rate) => format!(
            " + {} of evaluations ({rate:.0} examples/s)",
            duration(measured.evaluation_seconds)
        ),
    };
    writeln!(
        out,
        "about {} in all: {} of steps{evaluations}; checkpoints come on top, early stopping may save some",
        duration(measured.total_seconds),
        duration(measured.training_seconds)
    )?;
    let estimate = report.memory.first();
    let tensors = estimate.map_or(0, |estimate| estimate.tensor_bytes());
    let peak = estimate.map_or(0, |estimate| estimate.peak_bytes);
    let resident = measured.peak_resident_bytes.map_or(String::new(), |resident| {
        format!(", process {} of {}", bytes(resident), bytes(peak))
    });
    writeln!(
        out,
        "memory in these steps, of the estimate: tensors {} of {}{resident}",
        bytes(measured.peak_tensor_bytes),
        bytes(tensors)
    )?;
    Ok(())
}

/// Seconds for people, in the two units that say most.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let shown = [0.2, 59.4, 59.6, 104.0, 3600.0, 90_061.0].map(duration);
        assert_eq!(
            shown,
            ["0 s", "59 s", "1 min 0 s", "1 min 44 s", "1 h 0 min", "25 h 1 min"]
        );
    }
}
