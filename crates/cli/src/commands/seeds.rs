//! `gareum train --seeds N`: the same run with several seeds, and how much its figures vary.

use std::path::Path;
use std::process::ExitCode;

use gareum::files::write_atomically;
use gareum::metrics::{Metrics, Spread};
use gareum::settings::Settings;
use gareum::train::{Prepared, RunOptions};
use serde_json::{Value, json};

use super::train::{finish, write_page};
use crate::arguments::Common;
use crate::failure::Usage;
use crate::progress::{Display, TrainingProgress};

pub fn run(
    settings: &Settings,
    prepared: &Prepared,
    seeds: usize,
    options: &RunOptions<'_>,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let output = &settings.output.dir;
    if options.resume.is_some_and(|path| path != output) {
        anyhow::bail!(Usage(
            "--resume names a directory, but each seed has its own\nhint: give --resume without a value".to_owned()
        ));
    }
    let chosen: Vec<u64> = (0..seeds as u64)
        .map(|index| settings.train.seed.wrapping_add(index))
        .collect();
    let (mut validation, mut test) = (Vec::new(), Vec::new());
    for &seed in &chosen {
        let directory = output.join(format!("seed-{seed}"));
        let metrics = directory.join("metrics.json");
        display.note(format_args!("seed {seed}: {}", directory.display()));
        // A model is the last thing that a run writes.
        let is_done = ["model.safetensors", "adapter_model.safetensors"]
            .iter()
            .any(|file| directory.join(file).exists());
        if options.resume.is_some() && is_done {
            display.note("this run is done");
        } else {
            let mut settings = settings.clone();
            settings.train.seed = seed;
            settings.output.dir.clone_from(&directory);
            let options = RunOptions {
                resume: options
                    .resume
                    .and_then(|_| has_checkpoint(&directory).then_some(directory.as_path())),
                stop: options.stop,
                pause_after: None,
            };
            let mut progress = TrainingProgress::new(display);
            let result = gareum::train::run(&settings, prepared, &options, &mut |event| progress.observe(event));
            progress.finish();
            let report = result?;
            if report.outcome.interrupted {
                return finish(display, common, &report);
            }
            write_page(display, &report)?;
        }
        let damaged = |error: serde_json::Error| anyhow::anyhow!("{}: {error}", metrics.display());
        let mut figures: Value = serde_json::from_slice(&std::fs::read(&metrics)?).map_err(damaged)?;
        for (part, all) in [("validation", &mut validation), ("test", &mut test)] {
            let figures: Option<Metrics> = serde_json::from_value(figures[part].take()).map_err(damaged)?;
            all.extend(figures);
        }
    }
    let parts = [
        ("validation", Spread::of_metrics(&validation)),
        ("test", Spread::of_metrics(&test)),
    ];
    let numbers = |spreads: &[(&str, Spread)]| -> Value {
        spreads
            .iter()
            .map(|(name, spread)| ((*name).to_owned(), json!(spread)))
            .collect()
    };
    let summary = json!({ "seeds": chosen, "validation": numbers(&parts[0].1), "test": numbers(&parts[1].1) });
    write_atomically(&output.join("seeds.json"), format!("{summary:#}\n").as_bytes())?;
    if common.json {
        println!("{summary}");
        return Ok(ExitCode::SUCCESS);
    }
    for (part, spreads) in parts.iter().filter(|(_, spreads)| !spreads.is_empty()) {
        display.print(format_args!("{part}, {seeds} seeds: mean ± standard deviation"));
        let width = spreads.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, spread) in spreads {
            println!("{name:>width$}  {spread}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a run that was stopped can be taken up.
fn has_checkpoint(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("checkpoint-"))
        .any(|entry| entry.path().join("optimizer.safetensors").exists())
}
