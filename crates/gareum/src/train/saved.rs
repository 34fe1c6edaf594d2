//! What a run leaves behind: a model directory with its description, figures and a card.

use std::path::Path;

use serde_json::json;

use super::checkpoint::write_json;
use super::{Prepared, RunReport, TrainError};
use crate::data::label_counts;
use crate::hub::Repository;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::predict::Description;
use crate::settings::Settings;
use crate::tokens::Tokenizer;

/// Writes a model directory.
pub(super) fn save(
    directory: &Path,
    model: &Model,
    tokenizer: &Tokenizer,
    settings: &Settings,
    prepared: &Prepared,
    report: &RunReport,
) -> Result<(), TrainError> {
    let parts = &prepared.parts;
    let mut rows =
        json!({ "train": parts.train.len(), "validation": parts.validation.len(), "test": parts.test.len() });
    if !prepared.unlabelled.is_empty() {
        rows["unlabelled"] = json!(prepared.unlabelled.len());
    }
    let description = Description {
        gareum: env!("CARGO_PKG_VERSION").to_owned(),
        settings: settings.clone(),
        decision: report.decision.clone(),
        data: json!({
            "files": prepared.reports,
            "rows": rows,
            "leaks": prepared.leaks,
            "labels": prepared.schema,
            "label_counts": { "train": label_counts(&parts.train, &prepared.schema) },
        }),
    };
    let metrics = json!({ "validation": report.validation, "test": report.test, "diagnosis": report.diagnosis });
    tokenizer.save(directory, settings.model.max_length)?;
    write_json(&directory.join(Description::FILE), &description)?;
    write_json(&directory.join("metrics.json"), &metrics)?;
    write_json(&directory.join("trainer_state.json"), &report.outcome.state)?;
    let card = model_card(model, settings, prepared, report);
    crate::files::write_atomically(&directory.join("README.md"), card.as_bytes())?;
    // Last, because its presence makes the directory a model.
    model.save(directory)?;
    Ok(())
}

/// `README.md` of a model directory, with the header that the hub reads.
fn model_card(model: &Model, settings: &Settings, prepared: &Prepared, report: &RunReport) -> String {
    let parts = &prepared.parts;
    let name = |base: &Path| match Repository::model(base, None) {
        Ok(Some(repository)) => Some(repository.id),
        _ => Some(base.file_name()?.to_string_lossy().into_owned()),
    };
    let base = settings.model.base.as_deref().and_then(name);
    let names = &prepared.schema.names;
    let shown = names
        .iter()
        .take(30)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let more = if names.len() > 30 {
        format!(" and {} more", names.len() - 30)
    } else {
        String::new()
    };
    let table = |title: &str, metrics: &Metrics| {
        let rows = metrics
            .values()
            .into_iter()
            .filter_map(|(name, value)| Some(format!("| {name} | {:.4} |\n", value?)));
        format!(
            "\n### {title}\n\n| metric | value |\n|---|---|\n{}",
            rows.collect::<String>()
        )
    };
    let library = if model.adapter().is_some() {
        "peft"
    } else {
        "transformers"
    };
    let mut card = format!(
        "---\nlibrary_name: {library}\npipeline_tag: text-classification\n---\n\n# Text classifier\n\n\
         A `{}` model ({} parameters) {}, fine-tuned with gareum for {} ({shown}{more}).\n\n\
         Trained on {} rows, {} validation rows, {} test rows; inputs are cut at {} tokens.\n",
        model.config().family.architecture(),
        model.parameters.element_count(),
        base.map_or("trained from scratch".to_owned(), |base| format!("from `{base}`")),
        prepared.schema.task,
        parts.train.len(),
        parts.validation.len(),
        parts.test.len(),
        settings.model.max_length,
    );
    if let Some(distillation) = &settings.distillation {
        let teacher = distillation.teacher.as_deref().and_then(name).unwrap_or_default();
        card += &format!(
            "\nIt learnt from a teacher too, `{teacher}`, whose answers are {} of the loss, at temperature {}{}.\n",
            distillation.weight,
            distillation.temperature,
            match prepared.unlabelled.len() {
                0 => String::new(),
                texts => format!("; and from what the teacher says of {texts} texts without labels"),
            }
        );
    }
    if report.decision.temperature != 1.0 || !report.decision.thresholds.is_empty() {
        card += "\n`gareum.json` holds what was fitted on the validation rows: a temperature for the scores and, for several labels, thresholds. \
                 gareum applies them; `transformers` gives scores at temperature 1.\n";
    }
    if let Some(metrics) = &report.validation {
        card += &table("Validation", metrics);
    }
    if let Some(metrics) = &report.test {
        card += &table("Test", metrics);
    }
    card += "\n## Use\n\n```\ngareum predict --model DIR --input texts.csv --output predictions.csv\n```\n\n\
             It also opens in ";
    card += match model.adapter() {
        None => "`transformers`: `AutoModelForSequenceClassification.from_pretrained(DIR)`.\n",
        Some(_) => {
            "`peft`: `PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=...), DIR)`.\n"
        }
    };
    card
}
