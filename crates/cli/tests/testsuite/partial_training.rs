//! `train.freeze_embeddings`, `freeze_layers`, `head_only` and `layer_decay`, by what they leave of the base model.

use std::collections::BTreeMap;

use crate::workspace::{Workspace, encoder};
use gareum::model::LoadedWeights;
use serde_json::json;

/// Reviews, and an encoder of three layers without dropout.
fn workspace() -> Workspace {
    let workspace = Workspace::with_base();
    let mut config = encoder();
    for (key, value) in [
        ("num_hidden_layers", json!(3)),
        ("hidden_dropout_prob", json!(0.0)),
        ("attention_probs_dropout_prob", json!(0.0)),
    ] {
        config.insert(key.to_owned(), value);
    }
    workspace.base_of("deep", config);
    workspace
}

/// The largest change of each tensor that the base model has.
fn changes(workspace: &Workspace, output: &str) -> BTreeMap<String, f64> {
    let open = |model: &str| LoadedWeights::open(workspace.path(model).join("model.safetensors")).unwrap();
    let (before, after) = (open("deep"), open(output));
    let change = |name: &str| {
        let [before, after] = [&before, &after].map(|weights| weights.get(name).unwrap().to_f64_vec());
        let differences = before.iter().zip(&after).map(|(before, after)| (before - after).abs());
        differences.fold(0.0, f64::max)
    };
    before.names().map(|name| (name.to_owned(), change(name))).collect()
}

fn train(workspace: &Workspace, output: &str, settings: &[&str]) {
    let mut more = vec!["--model", "deep", "--set", "train.precision=f32"];
    more.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    workspace.train("reviews.csv", output, &more);
}

#[test]
fn what_is_frozen_stays_as_it_was() {
    let workspace = workspace();
    train(
        &workspace,
        "model",
        &["train.freeze_embeddings=true", "train.freeze_layers=2"],
    );
    for (name, change) in changes(&workspace, "model") {
        let is_frozen = name.contains("embeddings") || name.contains("layer.0.") || name.contains("layer.1.");
        // Biases of keys have no gradient but rounding.
        if is_frozen || !name.ends_with("key.bias") {
            assert_eq!(change == 0.0, is_frozen, "{name} changed by {change}");
        }
    }
    let arguments = crate::workspace::training(
        "reviews.csv",
        "other",
        &["--model", "deep", "--set", "train.freeze_layers=4"],
    );
    let error = workspace.fail(&arguments);
    assert!(
        error.contains("train.freeze_layers is 4, the model has 3 layers"),
        "{error}"
    );
}

/// Features are computed once and give what computing them in every step gives.
#[test]
fn the_head_alone_is_trained_as_beside_a_frozen_encoder() {
    let workspace = workspace();
    let same = ["train.epochs=3", "train.learning_rate=0.05", "train.logging_steps=1"];
    train(&workspace, "head", &[&same[..], &["train.head_only=true"]].concat());
    let frozen = ["train.freeze_embeddings=true", "train.freeze_layers=3"];
    train(&workspace, "frozen", &[&same[..], &frozen].concat());
    let losses = |model: &str| -> Vec<f64> {
        let state = workspace.json(&format!("{model}/trainer_state.json"));
        let log = state["log_history"].as_array().unwrap();
        log.iter().filter_map(|entry| entry["loss"].as_f64()).collect()
    };
    // BERT's pooler belongs to the head.
    for (name, change) in changes(&workspace, "head") {
        assert_eq!(change == 0.0, !name.contains("pooler"), "{name} changed by {change}");
    }
    let (head, frozen) = (losses("head"), losses("frozen"));
    assert!(head.len() > 2 && head.len() == frozen.len());
    for (head, frozen) in head.iter().zip(&frozen) {
        assert!((head - frozen).abs() < 1e-5, "{head} beside {frozen}");
    }
    assert!(head.last().unwrap() < &(head[0] * 0.9), "it learns: {head:?}");
}

/// The first step of AdamW moves every number by its rate, whatever the gradient is.
#[test]
fn rates_fall_from_layer_to_layer() {
    let workspace = workspace();
    let settings = [
        "train.layer_decay=0.5",
        "train.max_steps=1",
        "train.warmup_ratio=0.0",
        "train.weight_decay=0.0",
    ];
    train(
        &workspace,
        "model",
        &[&settings[..], &["train.schedule=constant", "train.learning_rate=0.001"]].concat(),
    );
    let changes = changes(&workspace, "model");
    for (name, factor) in [
        ("bert.pooler.dense.weight", 1.0),
        ("bert.encoder.layer.2.output.dense.weight", 0.5),
        ("bert.encoder.layer.1.output.dense.weight", 0.25),
        ("bert.encoder.layer.0.output.dense.weight", 0.125),
        ("bert.embeddings.word_embeddings.weight", 0.0625),
    ] {
        let change = changes[name];
        assert!(
            (change / (0.001 * factor) - 1.0).abs() < 0.01,
            "{name} changed by {change}"
        );
    }
}
