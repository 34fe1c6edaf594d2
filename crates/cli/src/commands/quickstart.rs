//! `gareum quickstart`: the whole way on embedded data, with a small encoder trained from scratch.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use gareum::baseline::{Baseline, BaselineOptions};
use gareum::data::{Example, Input, Target};
use gareum::metrics::Metrics;
use gareum::predict::Predictor;
use gareum::settings::{PrecisionSetting, Settings};
use gareum::train::{Prepared, RunOptions};

use super::init::Sample;
use super::{check_output, stop_flag, train};
use crate::arguments::{Common, Quickstart};
use crate::failure::INTERRUPTED;
use crate::progress::{Display, TrainingProgress};

pub fn run(command: &Quickstart, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let sample = Sample::of(common.lang);
    check_output(&command.output)?;
    sample.write(&command.output)?;
    let settings = Settings::load(Some(&command.output.join("gareum.toml")), &[])?;
    display.note(format_args!(
        "gareum quickstart: {}; nothing is downloaded",
        sample.title
    ));
    let prepared = gareum::train::prepare(&settings)?;
    train::describe(display, &prepared);
    let baseline = baseline(&prepared)?;
    if let Some(scratch) = &settings.model.scratch {
        display.note(format_args!(
            "training an encoder from scratch: {} layers of {}, with a vocabulary of its own",
            scratch.num_hidden_layers, scratch.hidden_size
        ));
    }
    let mut progress = TrainingProgress::new(display);
    let stop = stop_flag(display, "finishing the step and writing a checkpoint");
    let options = RunOptions {
        resume: None,
        stop: &stop,
        pause_after: None,
    };
    let result = gareum::train::run(&settings, &prepared, &options, &mut |event| progress.observe(event));
    progress.finish();
    let report = result?;
    if report.outcome.interrupted {
        display.note("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let test = report.test.as_ref().context("the sample has a test part")?;
    let page = train::write_page(display, &report)?;
    if common.json {
        println!("{}", report.to_json());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", test.to_table());
    display.print(format_args!("On {} {}:", prepared.parts.test.len(), sample.test));
    print_scores(display, "encoder, trained from scratch", test);
    print_scores(display, "TF-IDF + logistic regression", &baseline);
    display.print(format_args!(
        "  (chance: accuracy {:.3}; a pretrained checkpoint does better, see `gareum train --help`)\n",
        chance(&prepared)
    ));
    if let Some(diagnosis) = &report.diagnosis {
        display.print(format_args!("Of the validation rows: {diagnosis}"));
        diagnosis.findings.iter().for_each(|finding| display.print(finding));
        println!();
    }
    print_examples(display, &report.directory, &prepared.parts.test)?;
    if let Some(page) = page {
        display.print(format_args!(
            "\nCurves, figures and mistakes, to be opened in a browser: {}",
            page.display()
        ));
    }
    let model = report.directory.display();
    display.print(format_args!("\nThe model is in {model}. Try it:"));
    println!("  echo \"{}\" | gareum predict --model {model}", sample.text);
    display.print(format_args!(
        "\nThe settings are in {}, to change and to train again: gareum train {0}",
        command.output.join("gareum.toml").display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn print_scores(display: Display, name: &str, metrics: &Metrics) {
    let value = |name: &str| metrics.value(name).unwrap_or(f64::NAN);
    display.print(format_args!(
        "  {name:<30} accuracy {:.3}   macro F1 {:.3}",
        value("accuracy"),
        value("macro_f1")
    ));
}

fn class(example: &Example) -> u32 {
    match example.target {
        Target::Class(class) => class,
        _ => 0,
    }
}

/// The share of the most frequent class.
fn chance(prepared: &Prepared) -> f64 {
    let mut counts = vec![0usize; prepared.schema.num_labels()];
    prepared
        .parts
        .test
        .iter()
        .for_each(|example| counts[class(example) as usize] += 1);
    counts.into_iter().max().unwrap_or(0) as f64 / prepared.parts.test.len().max(1) as f64
}

/// What a classical model gets on the same parts.
fn baseline(prepared: &Prepared) -> anyhow::Result<Metrics> {
    let split = |examples: &[Example]| -> (Vec<String>, Vec<u32>) {
        examples
            .iter()
            .map(|example| (example.text.clone(), class(example)))
            .unzip()
    };
    let (texts, classes) = split(&prepared.parts.train);
    let options = BaselineOptions::suited_to(&texts);
    let baseline = Baseline::fit(&texts, &classes, prepared.schema.num_labels(), &options)?;
    let (texts, classes) = split(&prepared.parts.test);
    let probabilities = baseline.predict_probabilities(&texts).concat();
    Ok(Metrics::single_label(
        &prepared.schema.names,
        &classes,
        &baseline.predict(&texts),
        Some(&probabilities),
        None,
    )?)
}

/// Loads the saved model and shows what it makes of three test sentences.
fn print_examples(display: Display, directory: &Path, test: &[Example]) -> anyhow::Result<()> {
    let predictor = Predictor::load(directory, PrecisionSetting::Auto)?;
    let picked = [test.len() / 6, test.len() / 2, test.len() * 5 / 6].map(|index| &test[index]);
    let inputs = picked.map(|example| Input {
        text: example.text.clone(),
        text_pair: None,
    });
    display.print("Three of them:");
    for (example, prediction) in picked.iter().zip(predictor.predict(&inputs, &mut |_| ())?) {
        let schema = predictor.schema();
        let ranked = prediction.ranked(schema);
        let truth = schema.name_of(class(example)).unwrap_or_default();
        let (label, score) = ranked.first().copied().unwrap_or_default();
        let verdict = if label == truth {
            "right".to_owned()
        } else {
            format!("wrong, it is {truth}")
        };
        println!("  \"{}\"", example.text);
        display.print(format_args!("    -> {label} ({:.0} %), {verdict}", score * 100.0));
    }
    Ok(())
}
