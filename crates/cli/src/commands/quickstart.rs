//! `gareum quickstart`: the whole way on embedded data, with a small encoder trained from scratch.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use gareum::baseline::{Baseline, BaselineOptions};
use gareum::data::{Example, Input, Target};
use gareum::files;
use gareum::metrics::Metrics;
use gareum::model::Model;
use gareum::predict::Predictor;
use gareum::settings::Settings;
use gareum::tokens::Tokenizer;
use gareum::train::{Prepared, RunOptions};
use serde_json::{Map, Value, json};

use super::{check_output, stop_flag, train};
use crate::arguments::{Common, Quickstart};
use crate::failure::INTERRUPTED;
use crate::progress::{Display, TrainingProgress};

/// `samples/README.md` says where it comes from.
const SAMPLE: &str = include_str!("../../samples/customer_support.csv");

const VOCAB_SIZE: usize = 2000;

/// An encoder small enough to learn from four thousand sentences within a minute.
fn encoder(vocab_size: usize) -> Map<String, Value> {
    let config = json!({
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "intermediate_size": 512,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.3,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.05,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    });
    config.as_object().cloned().unwrap_or_default()
}

fn settings(directory: &Path) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    settings.model.max_length = 64;
    settings.data.train = Some(directory.join("data/train.csv"));
    settings.data.validation = Some(directory.join("data/validation.csv"));
    settings.data.test = Some(directory.join("data/test.csv"));
    settings.train.epochs = 15;
    settings.train.batch_size = 32;
    settings.train.learning_rate = 5e-4;
    settings.train.save_total_limit = 0;
    settings.train.early_stopping.patience = 3;
    settings.output.dir = directory.join("model");
    Ok(settings)
}

pub fn run(command: &Quickstart, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let settings = settings(&command.output)?;
    check_output(&command.output)?;
    write_sample(&command.output)?;
    display.note("gareum quickstart: customer-support requests, 27 intents; nothing is downloaded");
    let prepared = gareum::train::prepare(&settings)?;
    train::describe(display, &prepared);

    let baseline = baseline(&prepared)?;
    let texts = prepared.parts.train.iter().map(|example| example.text.as_str());
    let tokenizer = Tokenizer::train_wordpiece(texts, VOCAB_SIZE)?;
    let config = encoder(tokenizer.vocab_size());
    let model = Model::from_config(config, prepared.schema.clone(), settings.train.seed)?;
    display.note(format_args!(
        "training an encoder from scratch: {} layers of {}, {} parameters, its own tokenizer of {} pieces",
        model.config().num_hidden_layers,
        model.config().hidden_size,
        model.parameters.element_count(),
        tokenizer.vocab_size()
    ));
    let mut progress = TrainingProgress::new(display);
    let stop = stop_flag(display, "finishing the step");
    let options = RunOptions {
        resume: None,
        stop: &stop,
    };
    let result = gareum::train::train_and_save(model, &tokenizer, &settings, &prepared, &options, &mut |event| {
        progress.observe(event);
    });
    progress.finish();
    let report = result?;
    if report.outcome.interrupted {
        display.note("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let test = report.test.as_ref().context("the sample has a test part")?;
    if common.json {
        println!("{}", report.to_json());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", test.to_table());
    display.print(format_args!(
        "On {} test sentences whose templates the training part does not have:",
        prepared.parts.test.len()
    ));
    print_scores(display, "encoder, trained from scratch", test);
    print_scores(display, "TF-IDF + logistic regression", &baseline);
    display.print(format_args!(
        "  (chance: accuracy {:.3}; a pretrained checkpoint does better, see `gareum train --help`)\n",
        chance(&prepared)
    ));
    print_examples(display, &report.directory, &prepared.parts.test)?;
    display.print(format_args!(
        "\nThe model is in {}. Try it:",
        report.directory.display()
    ));
    println!(
        "  echo \"where is my refund?\" | gareum predict --model {}",
        report.directory.display()
    );
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

/// Writes the sample's three parts as files that `gareum train` reads.
fn write_sample(directory: &Path) -> anyhow::Result<()> {
    let data = directory.join("data");
    files::create_directory(&data)?;
    let mut parts: Map<String, Value> = Map::new();
    let mut reader = csv::Reader::from_reader(SAMPLE.as_bytes());
    for row in reader.records() {
        let row = row.context("the embedded sample")?;
        let (text, label, split) = (&row[0], &row[1], &row[2]);
        let rows = parts.entry(split.to_owned()).or_insert_with(|| json!([]));
        rows.as_array_mut()
            .context("the embedded sample")?
            .push(json!([text, label]));
    }
    for (split, rows) in &parts {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["text", "label"])?;
        for row in rows.as_array().into_iter().flatten() {
            writer.write_record([row[0].as_str(), row[1].as_str()].map(Option::unwrap_or_default))?;
        }
        files::write_atomically(&data.join(format!("{split}.csv")), &writer.into_inner()?)?;
    }
    Ok(())
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
    Ok(Metrics::single_label(
        &prepared.schema.names,
        &classes,
        &baseline.predict(&texts),
        None,
    )?)
}

/// Loads the saved model and shows what it makes of three test sentences.
fn print_examples(display: Display, directory: &Path, test: &[Example]) -> anyhow::Result<()> {
    let predictor = Predictor::load(directory)?;
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
