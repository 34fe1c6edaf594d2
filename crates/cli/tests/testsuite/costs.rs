//! What is said before anything is done: `train --dry-run` and `doctor`.

use crate::workspace::{ENVIRONMENT, Workspace, encoder, training};
use assert_cmd::Command;
use gareum::settings::{CheckpointActivations, MemorySize, PrecisionSetting, Settings};
use gareum::train::{DryRun, DryRunOptions, dry_run, prepare};
use serde_json::{Value, json};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn a_dry_run_says_what_a_run_would_cost_and_writes_nothing() {
    let workspace = Workspace::with_base();
    let files = workspace.files();
    let report = workspace
        .succeed(&training("reviews.csv", "model", &["--dry-run", "--json"]))
        .json();
    assert_eq!(workspace.files(), files);

    assert_eq!(report["rows"], json!({"train": 86, "validation": 29, "test": 29}));
    assert_eq!(report["cut_rows"], json!({"train": 0, "validation": 0, "test": 0}));
    assert_eq!(report["text_tokens"], json!({"median": 7, "p95": 7, "max": 7}));
    let steps = &report["steps"];
    assert_eq!(
        (&steps["per_epoch"], &steps["total"], &steps["evaluations"]),
        (&json!(11), &json!(22), &json!(2))
    );
    assert_eq!(
        (&steps["largest_batch_tokens"], &steps["micro_batches"]),
        (&json!(56), &json!(1))
    );
    let memory = &report["memory"][0];
    let parts = ["weights", "gradients", "optimizer", "best_weights", "activations"];
    let tensors: f64 = parts.iter().map(|part| number(&memory[format!("{part}_bytes")])).sum();
    assert_eq!(memory["method"], "full");
    assert_eq!(number(&memory["peak_bytes"]), tensors + number(&memory["other_bytes"]));
    assert_eq!(report["fits"], true);
    assert!(number(&report["limit_bytes"]) >= number(&memory["peak_bytes"]));

    let measured = &report["measured"];
    let taken = number(&measured["peak_tensor_bytes"]);
    assert!(taken <= tensors && tensors <= 1.25 * taken, "{tensors} for {taken}");
    for rate in [
        "step_ms",
        "examples_per_second",
        "tokens_per_second",
        "evaluation_examples_per_second",
    ] {
        assert!(number(&measured[rate]) > 0.0, "{rate}: {measured}");
    }
    let seconds = number(&measured["step_ms"]) / 1000.0 * 22.0;
    assert!(
        (number(&measured["training_seconds"]) / seconds - 1.0).abs() < 1e-6,
        "{measured}"
    );

    let text = workspace
        .succeed(&training("reviews.csv", "model", &["--dry-run"]))
        .stdout;
    for words in ["training            86", "fits: the limit is", "ms a step", "about"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn a_dry_run_fails_as_the_run_would() {
    let workspace = Workspace::with_base();
    for more in [
        &["--set", "model.max_length=99"][..],
        &["--model", "nothing"],
        &["--set", "train.early_stopping.monitor=rmse"],
        &["--label", "nothing"],
        &["--resume"],
    ] {
        let real = workspace.fail(&training("reviews.csv", "model", more));
        let dry = workspace.fail(&training("reviews.csv", "dry-model", &[more, &["--dry-run"]].concat()));
        assert_eq!(dry.replace("dry-model", "model"), real);
        assert!(!workspace.path("dry-model").exists());
    }
}

#[test]
fn a_dry_run_of_a_resumed_run_counts_what_is_left() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    let more = ["--dry-run", "--json", "--resume", "--epochs", "4"];
    let report = workspace.succeed(&training("reviews.csv", "model", &more)).json();
    let steps = &report["steps"];
    assert_eq!((&steps["total"], &steps["done"]), (&json!(44), &json!(22)));
    assert_eq!(steps["evaluations"], 2);
}

#[test]
fn what_does_not_fit_is_not_tried_and_batches_are_cut_up_to_fit() {
    let workspace = Workspace::with_base();
    let mut config = encoder();
    config.insert("hidden_size".to_owned(), 128.into());
    config.insert("intermediate_size".to_owned(), 512.into());
    config.insert("num_hidden_layers".to_owned(), 4.into());
    workspace.base_of("wide", config);
    let mut settings = Settings::default();
    settings.model.base = Some(workspace.path("wide"));
    settings.model.max_length = 16;
    settings.data.train = Some(workspace.path("reviews.csv"));
    settings.train.batch_size = 86;
    settings.train.precision = PrecisionSetting::F32;
    settings.output.dir = workspace.path("model");
    let prepared = prepare(&settings).unwrap();
    settings.train.checkpoint_activations = CheckpointActivations::Never;
    let ask = |limit: Option<u64>| -> DryRun {
        let mut settings = settings.clone();
        settings.train.memory = limit.map(|bytes| MemorySize { bytes });
        dry_run(&settings, &prepared, &DryRunOptions::default()).unwrap()
    };

    tensor::memory::give_back_large_blocks();
    let whole = ask(None);
    assert_eq!((whole.fits, whole.plan.micro_batch_tokens), (true, 8192));
    let hopeless = ask(Some(1));
    assert!(!hopeless.fits && hopeless.measured.is_none());
    assert_eq!(hopeless.plan.micro_batch_tokens, 1);
    assert!(hopeless.memory[0].activations_bytes < whole.memory[0].activations_bytes / 10);

    // Asked again, because the process has grown beside tensors.
    let whole = ask(None);
    let limit = whole.memory[0].peak_bytes - whole.memory[0].activations_bytes / 2;
    let tight = ask(Some(limit));
    assert!(tight.fits && tight.memory[0].peak_bytes <= limit, "{tight:?}");
    // How many exactly depends on what this process has beside tensors, which is not the same each time.
    assert!((1..602).contains(&tight.plan.micro_batch_tokens), "{tight:?}");
    assert_eq!(tight.steps.micro_batch_tokens, tight.plan.micro_batch_tokens);
    let measured = tight.measured.unwrap();
    assert!(
        measured.peak_tensor_bytes <= tight.memory[0].tensor_bytes(),
        "{tight:?}"
    );
    assert!(!settings.output.dir.exists());
}

fn doctor(workspace: &Workspace, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gareum"))
        .current_dir(workspace.path(""))
        .envs(ENVIRONMENT)
        .env_remove("GAREUM_CPU")
        .env("HF_HUB_CACHE", workspace.path("hub"))
        .envs(variables.iter().copied())
        .arg("doctor")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn doctor_says_what_the_machine_is() {
    let workspace = Workspace::with_base();
    std::fs::create_dir_all(workspace.path("hub/models--someone--tiny/snapshots")).unwrap();
    std::fs::rename(
        workspace.path("base"),
        workspace.path("hub/models--someone--tiny/snapshots/1"),
    )
    .unwrap();
    let report: Value = serde_json::from_str(&doctor(&workspace, &[], &["--json"])).unwrap();
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "version",
            "os",
            "architecture",
            "optimised_build",
            "processor",
            "memory",
            "gpu",
            "hugging_face_cache",
            "advice"
        ]
    );
    let processor = &report["processor"];
    assert_eq!(processor["instructions_used"], processor["instructions_available"]);
    for precision in ["f32", "bf16"] {
        assert!(number(&processor["product_gflops"][precision]) > 0.0);
    }
    assert!(number(&processor["threads_used"]) >= 1.0);
    assert_eq!(report["gpu"]["used"], false);
    let model = &report["hugging_face_cache"]["models"][0];
    assert_eq!(
        (&model["name"], &model["missing"]),
        (&json!("someone/tiny"), &json!([]))
    );
    let directory = model["directory"].as_str().unwrap();
    assert!(directory.ends_with("snapshots/1"), "{directory}");

    let text = doctor(&workspace, &[], &[]);
    assert!(text.contains("gareum computes on the CPU only so far"), "{text}");
    assert!(text.contains("someone/tiny: --model"), "{text}");
}

#[test]
fn doctor_honours_and_reports_what_holds_gareum_back() {
    let workspace = Workspace::new();
    let report = doctor(&workspace, &[("GAREUM_CPU", "portable")], &["--json", "--threads", "1"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let processor = &report["processor"];
    assert_eq!(
        (
            &processor["instructions_used"],
            &processor["bf16_instructions"],
            &processor["threads_used"]
        ),
        (&json!("portable"), &json!(false), &json!(1))
    );
    let advice = report["advice"].to_string();
    assert!(advice.contains("GAREUM_CPU=portable"), "{advice}");
    assert_eq!(
        advice.contains("of memory is little"),
        number(&report["memory"]["limit_bytes"]) < (2u64 << 30) as f64
    );

    let report = doctor(&workspace, &[("GAREUM_CPU", "fast")], &["--json"]);
    assert!(report.contains("GAREUM_CPU is `fast`"), "{report}");
}
