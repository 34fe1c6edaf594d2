//! `gareum compress --to pruned`, end to end.

use crate::workspace::{Workspace, csv, encoder, reviews};
use serde_json::{Value, json};

/// With a model of two layers with four heads each that has learned the reviews.
fn trained() -> Workspace {
    let workspace = Workspace::with_base();
    let mut config = encoder();
    config.insert("num_hidden_layers".to_owned(), json!(2));
    config.insert("num_attention_heads".to_owned(), json!(4));
    workspace.base_of("deep", config);
    let settings = ["--model", "deep", "--epochs", "10", "--set", "train.learning_rate=0.01"];
    workspace.train("reviews.csv", "model", &settings);
    workspace
}

/// A regression that fits its rows closely, so that any part of it is missed.
fn stars(workspace: &Workspace) {
    let stars = |row: Vec<String>| vec![row[0].clone(), (if row[1] == "pos" { "4.5" } else { "0.5" }).to_owned()];
    let rows: Vec<Vec<String>> = reviews().into_iter().map(stars).collect();
    workspace.write("stars.csv", csv(&["text", "label"], &rows));
    workspace.train("stars.csv", "stars", &["--epochs", "20", "--set", "task=regression"]);
}

const PRUNE: [&str; 6] = ["compress", "--to", "pruned", "--model", "model", "--json"];
const DATA: [&str; 4] = ["--data", "reviews.csv", "--gate", "100,100"];

fn prune(workspace: &Workspace, output: &str, more: &[&str]) -> Value {
    let arguments = [&PRUNE[..], &["--output", output], &DATA, more].concat();
    let report = workspace.succeed(&arguments).json();
    assert_eq!(workspace.json(&format!("{output}/compression.json")), report);
    report
}

#[test]
fn half_of_the_heads_and_columns_is_gone_and_what_is_left_is_what_was_judged() {
    let workspace = trained();
    let report = prune(&workspace, "small", &["--heads", "0.5", "--feed-forward", "0.5"]);
    let remains = &report["remains"];
    let heads: Vec<u64> = remains["heads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|heads| heads.as_u64().unwrap())
        .collect();
    assert_eq!((heads.len(), heads.iter().sum::<u64>()), (2, 4));
    assert_eq!(
        (&remains["intermediate_size"], &remains["layers"]),
        (&json!(16), &json!([0, 1]))
    );
    assert_eq!(workspace.json("small/config.json")["intermediate_size"], 16);
    let again = workspace
        .succeed(&["evaluate", "--data", "reviews.csv", "--json", "--model", "small"])
        .json();
    let judged = &report["comparison"]["contestants"][1]["metrics"];
    for metric in ["accuracy", "macro_f1", "log_loss"] {
        assert_eq!(again[metric], judged[metric], "{metric}");
    }
    // What is written can be made narrow, compared and trained on, and heads stay away.
    workspace.succeed(&["compare", "model", "small", "--data", "reviews.csv"]);
    workspace.train("reviews.csv", "again", &["--model", "small", "--epochs", "2"]);
    let arguments = [
        &["compress", "--to", "int8", "--model", "again", "--output", "narrow"],
        &DATA[..],
    ]
    .concat();
    workspace.succeed(&arguments);
    let again = [
        &[
            "compress", "--to", "pruned", "--model", "again", "--json", "--output", "same", "--heads", "0",
        ],
        &DATA[..],
    ]
    .concat();
    assert_eq!(workspace.succeed(&again).json()["remains"]["heads"], remains["heads"]);
}

#[test]
fn nothing_taken_away_is_the_same_file() {
    let workspace = trained();
    let report = prune(&workspace, "same", &["--heads", "0", "--feed-forward", "0"]);
    assert_eq!(report["judgement"]["flipped"], 0.0);
    let [one, other] = ["model", "same"].map(|model| workspace.bytes(&format!("{model}/model.safetensors")));
    assert!(one == other);
}

#[test]
fn layers_that_matter_least_go_and_training_brings_back_what_was_lost() {
    let workspace = trained();
    let report = prune(&workspace, "shallow", &["--layers", "1", "--recover-epochs", "6"]);
    assert_eq!(
        (
            &report["recover_epochs"],
            &report["remains"]["layers"].as_array().unwrap().len()
        ),
        (&json!(6), &1)
    );
    assert_eq!(workspace.json("shallow/config.json")["num_hidden_layers"], 1);
    let settings = &workspace.json("shallow/gareum.json")["settings"];
    assert_eq!(
        (
            &settings["model"]["base"],
            &settings["distillation"]["teacher"],
            &settings["output"]["dir"]
        ),
        (&json!("model"), &json!("model"), &json!("shallow"))
    );
    assert_eq!(settings["train"]["epochs"], 6);
    let metrics = &report["comparison"]["contestants"];
    assert!(metrics[1]["metrics"]["macro_f1"].as_f64().unwrap() > 0.9, "{metrics}");
    // A gate that it does not pass leaves nothing behind.
    stars(&workspace);
    let arguments = [
        "compress",
        "--to",
        "pruned",
        "--model",
        "stars",
        "--output",
        "none",
        "--data",
        "stars.csv",
    ];
    let asked = ["--gate", "0,0", "--feed-forward", "0.9", "--heads", "0.5"];
    let refused = workspace.run(&[&arguments[..], &asked].concat());
    assert!(
        refused.code == 1 && refused.stderr.contains("nothing was written"),
        "{}",
        refused.stderr
    );
    assert!(!workspace.path("none").exists());
}

#[test]
fn what_cannot_be_pruned_is_named() {
    let workspace = trained();
    let fail = |more: &[&str]| {
        let arguments = ["compress", "--quiet", "--output", "small", "--data", "reviews.csv"];
        workspace.fail(&[&arguments[..], more].concat())
    };
    let pruned = ["--to", "pruned", "--model", "model"];
    insta::assert_snapshot!("prune_nothing", fail(&pruned));
    insta::assert_snapshot!("prune_share", fail(&[&pruned[..], &["--heads", "1.5"]].concat()));
    insta::assert_snapshot!("prune_layers", fail(&[&pruned[..], &["--layers", "9"]].concat()));
    insta::assert_snapshot!(
        "prune_auto",
        fail(&[&pruned[..], &["--heads", "0.5", "--auto"]].concat())
    );
    insta::assert_snapshot!(
        "prune_int8",
        fail(&["--to", "int8", "--model", "model", "--heads", "0.5"])
    );
    let mut config = encoder();
    config.insert("model_type".to_owned(), json!("gpt_neox"));
    workspace.base_of("neox", config);
    workspace.train(
        "reviews.csv",
        "decoder",
        &["--model", "neox", "--reset-head", "--epochs", "1"],
    );
    insta::assert_snapshot!(
        "prune_heads_of_neox",
        fail(&["--to", "pruned", "--model", "decoder", "--heads", "0.5"])
    );
    let columns = [
        "compress",
        "--to",
        "pruned",
        "--model",
        "decoder",
        "--output",
        "narrow",
        "--feed-forward",
        "0.5",
    ];
    workspace.succeed(&[&columns[..], &DATA].concat());
    assert_eq!(workspace.json("narrow/config.json")["intermediate_size"], 16);
    std::fs::remove_file(workspace.path("model/gareum.json")).unwrap();
    insta::assert_snapshot!(
        "prune_recover",
        fail(&[&pruned[..], &["--heads", "0.5", "--recover-epochs", "1"]].concat())
    );
}
