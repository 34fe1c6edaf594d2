//! `[lora]`: from training to an adapter, its use with the model that it belongs to, and `merge`.

use crate::workspace::{Workspace, encoder, training};
use serde_json::Value;

/// Trains an adapter with a rate at which it learns.
const LORA: [&str; 6] = [
    "--set",
    "lora.rank=4",
    "--set",
    "train.learning_rate=0.03",
    "--set",
    "train.precision=f32",
];

fn scores(workspace: &Workspace, arguments: &[&str]) -> Vec<f64> {
    let common = ["predict", "--quiet", "--input", "reviews.csv", "--text", "text"];
    let lines = workspace.succeed(&[&common[..], arguments].concat()).json_lines();
    lines
        .iter()
        .map(|line| line["scores"]["pos"].as_f64().unwrap())
        .collect()
}

#[test]
fn an_adapter_is_trained_used_and_merged() {
    let workspace = Workspace::with_base();
    // A frozen encoder of random weights takes longer.
    let longer = [&LORA[..], &["--set", "train.epochs=16"]].concat();
    let mut arguments = training("reviews.csv", "adapter", &longer);
    arguments.retain(|argument| *argument != "--quiet");
    let told = workspace.succeed(&arguments).stderr;
    assert!(told.contains("numbers ("), "{told}");
    for file in [
        "adapter_config.json",
        "adapter_model.safetensors",
        "config.json",
        "gareum.json",
        "tokenizer.json",
    ] {
        assert!(workspace.path("adapter").join(file).exists(), "{file}");
    }
    assert!(!workspace.path("adapter/model.safetensors").exists());
    let config = workspace.json("adapter/adapter_config.json");
    assert_eq!(
        config["base_model_name_or_path"],
        workspace.path("base").canonicalize().unwrap().display().to_string()
    );
    assert_eq!((&config["r"], &config["lora_alpha"]), (&4.into(), &32.into()));
    assert!(
        config["modules_to_save"]
            .as_array()
            .unwrap()
            .contains(&"classifier".into())
    );

    let evaluate = |model: &str| {
        let arguments = [
            "evaluate",
            "--quiet",
            "--json",
            "--model",
            model,
            "--data",
            "reviews.csv",
        ];
        workspace.succeed(&arguments).json()["accuracy"].as_f64().unwrap()
    };
    let accuracy = evaluate("adapter");
    assert!(accuracy > 0.9, "it learns: {accuracy}");
    let alone = scores(&workspace, &["--model", "adapter"]);
    workspace.succeed(&["merge", "--model", "adapter", "--output", "plain"]);
    assert_eq!(scores(&workspace, &["--model", "plain"]), alone);
    assert!(!workspace.path("plain/adapter_config.json").exists());

    // The model that it belongs to is somewhere else now.
    std::fs::rename(workspace.path("base"), workspace.path("moved")).unwrap();
    let error = workspace.fail(&["predict", "--model", "adapter", "--input", "reviews.csv"]);
    assert!(error.contains("hint: name its directory: --base DIR"), "{error}");
    assert_eq!(scores(&workspace, &["--model", "adapter", "--base", "moved"]), alone);
}

/// What was learnt beside weights of 4 bits is predicted with, evaluated and merged beside those.
#[test]
fn an_adapter_beside_weights_of_four_bits() {
    let workspace = Workspace::with_base();
    let settings = [&LORA[..], &["--set", "lora.quantize_base=nf4"]].concat();
    workspace.train("reviews.csv", "adapter", &settings);
    let alone = scores(&workspace, &["--model", "adapter"]);
    workspace.succeed(&["merge", "--model", "adapter", "--output", "plain"]);
    assert_eq!(scores(&workspace, &["--model", "plain"]), alone);
    workspace.train("reviews.csv", "wide", &LORA);
    assert_ne!(scores(&workspace, &["--model", "wide"]), alone);
    let evaluation = [
        "evaluate",
        "--quiet",
        "--json",
        "--model",
        "adapter",
        "--data",
        "reviews.csv",
    ];
    let plain = [
        "evaluate",
        "--quiet",
        "--json",
        "--model",
        "plain",
        "--data",
        "reviews.csv",
    ];
    let [adapter, plain] = [evaluation, plain].map(|arguments| workspace.succeed(&arguments).json()["loss"].clone());
    assert_eq!(adapter, plain);
}

#[test]
fn a_resumed_run_is_the_whole_run() {
    resume(&[]);
}

#[test]
fn a_resumed_run_beside_weights_of_four_bits_is_the_whole_run() {
    resume(&["--set", "lora.quantize_base=nf4"]);
}

fn resume(more: &[&str]) {
    let workspace = Workspace::with_base();
    let settings = [
        &LORA[..],
        &["--set", "train.save_steps=4", "--set", "train.save_total_limit=9"],
        more,
    ]
    .concat();
    workspace.train("reviews.csv", "whole", &settings);
    let checkpoint = workspace.path("whole/checkpoint-12");
    for file in ["adapter_model.safetensors", "optimizer.safetensors"] {
        assert!(checkpoint.join(file).exists(), "{file}");
    }
    assert!(
        !checkpoint.join("model.safetensors").exists(),
        "only what is trained is written"
    );
    for step in [4, 12] {
        let (checkpoint, output) = (format!("whole/checkpoint-{step}"), format!("from-{step}"));
        let resume = [&settings[..], &["--resume", &checkpoint]].concat();
        workspace.train("reviews.csv", &output, &resume);
        for file in ["adapter_model.safetensors", "metrics.json"] {
            let [one, other] = ["whole", output.as_str()].map(|model| workspace.bytes(&format!("{model}/{file}")));
            assert!(one == other, "{file} differs from step {step} on");
        }
    }
    let other = [
        &settings[..],
        &["--set", "lora.rank=8", "--resume", "whole/checkpoint-4"],
    ]
    .concat();
    let error = workspace.fail(&training("reviews.csv", "other", &other));
    assert!(error.contains("the trained part is LoRA (rank 8, scale 4, "), "{error}");
    if more.is_empty() {
        let other = [
            &settings[..],
            &["--set", "lora.quantize_base=nf4", "--resume", "whole/checkpoint-4"],
        ]
        .concat();
        let error = workspace.fail(&training("reviews.csv", "other", &other));
        assert!(error.contains("quantize_base nf4"), "{error}");
    }
}

#[test]
fn a_dry_run_shows_what_an_adapter_saves() {
    let workspace = Workspace::with_base();
    std::fs::remove_dir_all(workspace.path("base")).unwrap();
    let mut config = encoder();
    config.insert("hidden_size".to_owned(), 128.into());
    workspace.base_of("base", config);
    let memory = |settings: &[&str]| -> Vec<Value> {
        let mut arguments = training("reviews.csv", "model", &[settings, &["--dry-run", "--json"]].concat());
        arguments.retain(|argument| *argument != "--quiet");
        let report = workspace.succeed(&arguments).json();
        report["memory"].as_array().unwrap().clone()
    };
    let qlora = [&LORA[..], &["--set", "lora.quantize_base=nf4"]].concat();
    for (settings, methods) in [
        (&LORA[..], ["lora", "full", "qlora"]),
        (&[], ["full", "lora", "qlora"]),
        (&qlora, ["qlora", "full", "lora"]),
    ] {
        let memory = memory(settings);
        let method = |row: &Value| row["method"].as_str().unwrap().to_owned();
        assert_eq!(memory.iter().map(method).collect::<Vec<_>>(), methods);
        let bytes = |name: &str, of: &str| {
            let row = memory.iter().find(|row| row["method"] == name).unwrap();
            row[of].as_u64().unwrap()
        };
        assert!(bytes("lora", "optimizer_bytes") < bytes("full", "optimizer_bytes"));
        assert!(bytes("qlora", "weights_bytes") < bytes("lora", "weights_bytes"));
    }
}
