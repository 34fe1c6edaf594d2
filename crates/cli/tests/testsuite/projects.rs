//! `gareum init`: the folder it makes can be trained in at once, in both languages.

use crate::workspace::Workspace;
use serde_json::json;

/// An encoder that computes in no time, for a few steps.
const SHORT: [&str; 12] = [
    "--set",
    "model.scratch.hidden_size=16",
    "--set",
    "model.scratch.intermediate_size=16",
    "--set",
    "model.scratch.vocab_size=1500",
    "--set",
    "train.max_steps=6",
    "--set",
    "train.save_steps=3",
    "--set",
    "train.save_total_limit=9",
];

fn check(language: &str, labels: usize, test_rows: u64) {
    let workspace = Workspace::new();
    workspace.succeed(&["init", "project", "--lang", language]);
    let project = workspace.at("project");
    let finished = project.succeed(&[&["train", "--json"], &SHORT[..]].concat());
    assert!(finished.stderr.contains("settings: gareum.toml"), "{}", finished.stderr);
    let description = project.json("model/gareum.json");
    assert_eq!(description["data"]["labels"]["names"].as_array().unwrap().len(), labels);
    assert_eq!(description["data"]["rows"]["test"], test_rows);
    assert_eq!(description["data"]["leaks"], json!([]));
    assert_eq!(description["settings"]["train"]["warmup_ratio"], 0.1);

    // The vocabulary is made anew on resume, and is the same: so are the weights.
    let from_the_middle = ["--resume", "model/checkpoint-3", "--output", "again"];
    project.succeed(&[&["train", "--quiet", "gareum.toml"], &SHORT[..], &from_the_middle].concat());
    for file in ["tokenizer.json", "model.safetensors"] {
        assert!(
            project.bytes(&format!("model/{file}")) == project.bytes(&format!("again/{file}")),
            "{file}"
        );
    }

    let readme = project.text("README.md");
    assert!(
        readme.contains("gareum evaluate --model model --data data/test.csv"),
        "{readme}"
    );
    project.succeed(&["evaluate", "--quiet", "--model", "model", "--data", "data/test.csv"]);
}

#[test]
fn an_english_project_trains() {
    check("en", 27, 661);
}

#[test]
fn a_korean_project_trains() {
    check("ko", 2, 1000);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let workspace = Workspace::new();
    workspace.write("notes.txt", "mine");
    let message = workspace.fail(&["init", "."]);
    assert!(
        message.starts_with("exit 2\nerror: .: the directory is not empty\nhint: "),
        "{message}"
    );
    let message = workspace.fail(&["init", "notes.txt/project"]);
    assert!(message.contains("notes.txt is a file"), "{message}");
    assert_eq!(workspace.files().len(), 1);
}

#[test]
fn a_checkpoint_takes_the_place_of_the_small_encoder() {
    let workspace = Workspace::with_base();
    workspace.succeed(&["init", "project"]);
    let toml = "project/gareum.toml";
    workspace.succeed(&[
        "train",
        "--quiet",
        toml,
        "--model",
        "base",
        "--output",
        "model",
        "--set",
        "train.max_steps=1",
        "--set",
        "model.max_length=32",
    ]);
    assert_eq!(workspace.json("model/config.json")["hidden_size"], 16);
    let settings = workspace.text(toml).replace("# base =", "base =");
    workspace.write(toml, settings);
    let message = workspace.fail(&["train", toml]);
    assert!(
        message.contains("expected no checkpoint beside [model.scratch]: remove one of them"),
        "{message}"
    );
}

#[test]
fn settings_are_made_of_an_ini_file() {
    let workspace = Workspace::with_base();
    std::fs::create_dir(workspace.path("old")).unwrap();
    let rows = workspace.bytes("reviews.csv");
    workspace.write("old/train.csv", &rows);
    workspace.write("old/valid.csv", &rows);
    workspace.write(
        "old/config.ini",
        "; settings of before\n[PATH]\nModel_Name = base\ntrain_file = train.csv\nvalid_file: valid.csv\noutput_dir = out\n\
         checkpoint_dir = ckpt\n[hyperparameters]\nnum_labels = 2\nmax_seq_length = 16\nbatch_size = 16  # small\n\
         learning_rate = 3e-2\nepochs = 1\nseed = 7\nsplit_ratio = 0.8\nfp16 = true\n",
    );
    let told = workspace
        .succeed(&["init", "project", "--from", "old/config.ini"])
        .stderr;
    for expected in [
        "project/gareum.toml: 10 values of old/config.ini",
        "old/config.ini:7: checkpoint_dir = ckpt: not needed; checkpoints are written to the output directory",
        "old/config.ini:9: num_labels = 2: not needed; the labels are found in the data",
        "old/config.ini:16: [hyperparameters] fp16 = true: not taken over, gareum has no such key",
        "gareum train project/gareum.toml",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!(
        workspace
            .files()
            .iter()
            .filter(|file| file.starts_with("project/"))
            .count(),
        1
    );
    workspace.succeed(&["train", "--quiet", "project/gareum.toml"]);
    let settings = &workspace.json("old/out/gareum.json")["settings"];
    assert_eq!(settings["train"]["batch_size"], 16);
    assert_eq!(
        (&settings["train"]["seed"], &settings["data"]["seed"]),
        (&json!(7), &json!(7))
    );
    assert_eq!(settings["data"]["split"], json!([0.8, 0.2, 0.0]));

    let message = workspace.fail(&["init", "project", "--from", "old/config.ini"]);
    assert!(
        message.contains("project/gareum.toml: there are settings already"),
        "{message}"
    );
    for (line, expected) in [
        ("epochs = many", "error: config.ini:2: epochs = many: expected a number"),
        ("epochs = 0", "error: config.ini:2: epochs = 0: expected at least 1"),
        (
            "epochs 3",
            "error: config.ini:2: `epochs 3` is no [section], no `key = value` and no comment",
        ),
        ("colour = red", "error: config.ini: there is no key that gareum knows"),
        (
            "split_ratio = most",
            "expected a share such as 0.8, or parts such as 8:1:1",
        ),
    ] {
        workspace.write("config.ini", format!("[Hyperparameters]\n{line}\n"));
        let message = workspace.fail(&["init", "other", "--from", "config.ini"]);
        assert!(
            message.starts_with("exit 2\n") && message.contains(expected),
            "{message}"
        );
    }
    assert!(
        workspace
            .fail(&["init", "other", "--from", "no.ini"])
            .contains("no.ini: ")
    );
    assert!(!workspace.path("other").exists());
}
