//! `gareum train --memory`: batches are cut up to fit, with the same result, or the run is refused before it begins.

use crate::workspace::{Workspace, encoder, training};
use serde_json::Value;

/// An encoder whose activations are more than its weights.
fn workspace() -> Workspace {
    let workspace = Workspace::with_base();
    let mut config = encoder();
    config.insert("hidden_size".to_owned(), 128.into());
    config.insert("intermediate_size".to_owned(), 1024.into());
    config.insert("num_hidden_layers".to_owned(), 6.into());
    config.insert("initializer_range".to_owned(), 0.05.into());
    workspace.base_of("deep", config);
    workspace
}

const DEEP: [&str; 8] = [
    "--model",
    "deep",
    "--json",
    "--set",
    "train.batch_size=86",
    "--set",
    "train.learning_rate=1e-3",
    "--threads=2",
];

fn losses(workspace: &Workspace, model: &str) -> Vec<f64> {
    let state = workspace.json(&format!("{model}/trainer_state.json"));
    let entries = state["log_history"].as_array().unwrap();
    let losses = entries.iter().flat_map(|entry| [&entry["loss"], &entry["eval_loss"]]);
    losses.filter_map(Value::as_f64).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn a_limit_is_kept_and_a_resumed_run_keeps_its_plan() {
    let workspace = workspace();
    let more = |more: &[&'static str]| [&DEEP, more].concat();
    let whole = workspace.train("reviews.csv", "whole", &DEEP).json();
    assert_eq!(
        (number(&whole["micro_batch_tokens"]), &whole["checkpoint_activations"]),
        (8192, &false.into())
    );

    let dry = workspace
        .succeed(&training("reviews.csv", "dry", &more(&["--dry-run"])))
        .json();
    let estimate = &dry["memory"][0];
    let limit = number(&estimate["peak_bytes"]) - number(&estimate["activations_bytes"]) / 2;
    let memory = format!("--memory={limit}");
    let dry = [&DEEP[..], &["--dry-run", &memory]].concat();
    let dry = workspace.succeed(&training("reviews.csv", "dry", &dry)).json();
    assert_eq!((number(&dry["limit_bytes"]), &dry["fits"]), (limit, &true.into()));
    assert!(number(&dry["plan"]["micro_batch_tokens"]) < 602, "{dry}");

    let split = workspace
        .train("reviews.csv", "split", &[&DEEP[..], &[&memory]].concat())
        .json();
    let tokens = number(&split["micro_batch_tokens"]);
    assert!((16..602).contains(&tokens), "{split}");
    assert!(number(&split["peak_memory_bytes"]) <= limit, "{split}, limit {limit}");
    let (whole, split) = (losses(&workspace, "whole"), losses(&workspace, "split"));
    assert!(!whole.is_empty() && whole.len() == split.len());
    for (whole, split) in whole.iter().zip(&split) {
        assert!((whole - split).abs() < 1e-4 * whole, "{whole} {split}");
    }

    // Without the limit there would be room for more at a time; but then the run would not go on to the bit.
    let resumed = workspace
        .train("reviews.csv", "split", &more(&["--resume", "--epochs", "3"]))
        .json();
    assert_eq!(number(&resumed["micro_batch_tokens"]), tokens);
}

#[test]
fn too_little_is_refused_with_what_is_needed() {
    let workspace = workspace();
    let refused = workspace.fail(&training("reviews.csv", "model", &["--memory", "1MiB"]));
    for expected in [
        "exit 2",
        "even with one text at a time and layers computed again, the limit is 1.0 MiB",
        "weights ",
        "hint: raise --memory (train.memory)",
    ] {
        assert!(refused.contains(expected), "{refused}");
    }
    let set = ["--memory", "1MiB", "--set", "train.checkpoint_activations=false"];
    let refused = workspace.fail(&training("reviews.csv", "model", &set));
    assert!(
        refused.contains("train.checkpoint_activations=auto takes less"),
        "{refused}"
    );

    let dry = workspace.succeed(&training("reviews.csv", "model", &["--dry-run", "--memory=1MiB"]));
    assert!(dry.stdout.contains("does not fit: the run takes"), "{}", dry.stdout);
    assert!(dry.stdout.contains("layers are computed again"), "{}", dry.stdout);

    let set = ["--set", "train.checkpoint_activations=maybe"];
    let refused = workspace.fail(&training("reviews.csv", "model", &set));
    assert!(refused.contains("expected `auto`, true or false"), "{refused}");
    let refused = workspace.fail(&training("reviews.csv", "model", &["--memory", "2 gigs"]));
    assert_eq!(
        refused,
        "exit 2\nerror: train.memory = \"2 gigs\": `2 gigs` cannot be read as an amount of memory; write a number with bytes, KB, \
         MB, GB, KiB, MiB or GiB, such as 2.5GiB\n"
    );
}
