//! `gareum calibrate`

use std::process::ExitCode;

use anyhow::{Context, bail};
use gareum::data::{Target, Task};
use gareum::decision::Decision;
use gareum::predict::{Description, Predictor};
use gareum::settings::Settings;
use gareum::train::{encode_examples, evaluate};

use super::evaluate::MAX_TOKENS;
use super::{hub, labelled, say_precision};
use crate::arguments::{Calibrate, Common};
use crate::failure::Usage;
use crate::progress::{Display, decision_lines};

/// The split of a dataset on the hub that is read where the name says none.
const SPLIT: &str = "validation";

/// What `--set` may change.
const SECTION: &str = "decision.";

pub fn run(command: &Calibrate, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let directory = &command.model;
    if !directory.is_dir() {
        bail!(Usage(format!(
            "{}: no such directory, and only a model of one's own can be changed\nhint: name a directory that `gareum train` wrote",
            directory.display()
        )));
    }
    let mut overrides = Vec::new();
    for assignment in &command.set {
        let (key, value) = Settings::parse_assignment(assignment)?;
        if !key.starts_with(SECTION) {
            bail!(Usage(format!(
                "--set {key}: expected a key of [decision]\nhint: such as --set decision.thresholds=micro_f1"
            )));
        }
        overrides.push((key, value));
    }
    hub::dataset(&command.data, SPLIT, common)?;
    hub::model_with_base(directory, command.base.as_deref(), common)?;
    let mut description = Description::read(directory)?.unwrap_or_default();
    let settings = description.settings.with(&overrides)?;
    let predictor = Predictor::load_with_base(directory, command.base.as_deref(), command.precision.into())?;
    let schema = predictor.schema();
    if schema.task == Task::Regression {
        bail!(Usage(format!(
            "{}: a regression has neither scores nor labels to decide by",
            directory.display()
        )));
    }
    let records = labelled::open(&command.data, &command.columns, SPLIT)?;
    let dataset = labelled::read(records, &command.columns, &predictor, display)?;
    say_precision(display, &predictor);
    let encoded = encode_examples(predictor.tokenizer(), &dataset.examples, predictor.truncation())?;
    let bar = display.rows(Some(encoded.len() as u64));
    let plain = Decision::default();
    let evaluation = evaluate(predictor.model(), &plain, &encoded, MAX_TOKENS, &mut |done| {
        bar.set_position(done as u64)
    })?;
    bar.finish_and_clear();
    let targets: Vec<&Target> = dataset.examples.iter().map(|example| &example.target).collect();
    let decision = Decision::fit(&settings.decision, schema, &targets, &evaluation.predictions)?;
    description.settings = settings;
    description.decision = decision;
    description.write(directory)?;
    if common.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&description.decision).context("decision")?
        );
    } else {
        decision_lines(&description.decision)
            .iter()
            .for_each(|line| display.print(line));
    }
    display.note(format_args!("saved to {}", directory.join(Description::FILE).display()));
    Ok(ExitCode::SUCCESS)
}
