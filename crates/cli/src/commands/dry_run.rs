//! `gareum train --dry-run`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use gareum::settings::Settings;
use gareum::train::{DryRun, DryRunOptions, Measured, MemoryShortage, Prepared};

use crate::arguments::Common;
use crate::progress::Display;
use gareum::machine::readable_bytes as bytes;

pub fn run(
    settings: &Settings,
    prepared: &Prepared,
    resume: Option<&Path>,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    display.note("estimating; if memory suffices, a few steps are taken and forgotten");
    let options = DryRunOptions { resume };
    let report = gareum::train::dry_run(settings, prepared, &options)?;
    if common.json {
        println!("{}", serde_json::to_string_pretty(&report).context("report")?);
    } else {
        data(display, &report);
        steps(display, &report);
        memory(display, &report);
        if let Some(measured) = &report.measured {
            time(display, &report, measured);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn data(display: Display, report: &DryRun) {
    let row = |name: &str, rows: &str, cut: &str| {
        let (rows, cut) = (display.right(rows, 10), display.right(cut, 14));
        println!("{}{rows}{cut}", display.left(name, 12));
    };
    row("data", "rows", &format!("cut at {}", report.max_length));
    for (name, rows, cut) in [
        ("training", report.rows.train, report.cut_rows.train),
        ("validation", report.rows.validation, report.cut_rows.validation),
        ("test", report.rows.test, report.cut_rows.test),
    ] {
        row(name, &rows.to_string(), &cut.to_string());
    }
    let tokens = &report.text_tokens;
    display.print(format_args!(
        "tokens of a training text: median {}, 95 % at most {}, longest {}\n",
        tokens.median, tokens.p95, tokens.max
    ));
}

fn steps(display: Display, report: &DryRun) {
    let steps = &report.steps;
    let (per_epoch, total) = (steps.per_epoch, steps.total);
    match steps.done {
        0 => display.print(format_args!("steps: {per_epoch} an epoch, {total} in all")),
        done => display.print(format_args!("steps: {per_epoch} an epoch, {total} in all, {done} done")),
    }
    display.print(format_args!(
        "a step: texts {}, tokens {} on average and {} at most",
        steps.batch_size, steps.mean_batch_tokens, steps.largest_batch_tokens
    ));
    match steps.micro_batches {
        1 => display.print("the largest batch is computed at once\n"),
        parts => display.print(format_args!(
            "the largest batch is computed in {parts} parts of at most {} tokens\n",
            steps.micro_batch_tokens
        )),
    }
    if report.plan.checkpoint_activations {
        display.print("to save memory, layers are computed again on the way back, which takes about a third longer\n");
    }
}

fn memory(display: Display, report: &DryRun) {
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
    row(display, names.map(str::to_owned));
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
        row(display, cells);
    }
    match (report.limit_bytes, report.memory.first()) {
        (Some(limit_bytes), Some(&estimate)) if !report.fits => {
            let plan = report.plan;
            display.print(format_args!(
                "does not fit: {}",
                MemoryShortage {
                    limit_bytes,
                    plan,
                    estimate
                }
            ));
        }
        (Some(limit), _) => display.print(format_args!("fits: the limit is {}\n", bytes(limit))),
        (None, _) => display.print("this system does not say how much memory there is\n"),
    }
    if let (true, None, Some(available)) = (report.fits, &report.measured, report.available_bytes) {
        display.print(format_args!(
            "but only {} is free now, so no step was taken; end other programs to train",
            bytes(available)
        ));
    }
}

/// One row of the table of memory.
fn row(display: Display, cells: impl IntoIterator<Item = String>) {
    let cells = cells.into_iter().enumerate().map(|(index, cell)| match index {
        0 => display.left(&cell, 8),
        _ => display.right(&cell, 13),
    });
    println!("{}", cells.collect::<String>());
}

fn time(display: Display, report: &DryRun, measured: &Measured) {
    display.print(format_args!(
        "{:.0} ms a step (median of {}): {:.1} examples/s, {:.0} tokens/s",
        measured.step_ms, measured.steps, measured.examples_per_second, measured.tokens_per_second
    ));
    let total = duration(measured.total_seconds);
    match measured.evaluation_examples_per_second {
        None => display.print(format_args!("about {total} in all, without evaluations")),
        Some(rate) => display.print(format_args!(
            "about {total} in all: {} of steps and {} of evaluations ({rate:.0} examples/s)",
            duration(measured.training_seconds),
            duration(measured.evaluation_seconds)
        )),
    }
    display.print("checkpoints come on top, early stopping may save some");
    let estimate = report.memory.first();
    let tensors = bytes(estimate.map_or(0, |estimate| estimate.tensor_bytes()));
    let peak = bytes(estimate.map_or(0, |estimate| estimate.peak_bytes));
    let taken = bytes(measured.peak_tensor_bytes);
    match measured.peak_resident_bytes.map(bytes) {
        None => display.print(format_args!(
            "memory in these steps: tensors {taken} (estimated {tensors})"
        )),
        Some(resident) => display.print(format_args!(
            "memory in these steps: tensors {taken} (estimated {tensors}), process {resident} (estimated {peak})"
        )),
    }
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
