//! Checkpoints, Ctrl-C and `--resume`: a run that was cut in two gives the bytes of one that was not.

mod workspace;

use serde_json::Value;
use workspace::{Workspace, training};

/// The log without what the clock says.
fn log(workspace: &Workspace, model: &str) -> Vec<Value> {
    let state = workspace.json(&format!("{model}/trainer_state.json"));
    let mut history = state["log_history"].as_array().unwrap().clone();
    for entry in &mut history {
        let is_timed = |key: &String| key.ends_with("_runtime") || key.ends_with("_per_second");
        entry.as_object_mut().unwrap().retain(|key, _| !is_timed(key));
    }
    history
}

fn assert_same(workspace: &Workspace, one: &str, other: &str) {
    for file in ["model.safetensors", "metrics.json", "config.json", "tokenizer.json"] {
        let [one, other] = [one, other].map(|model| workspace.bytes(&format!("{model}/{file}")));
        assert!(one == other, "{file} differs");
    }
    assert_eq!(log(workspace, one), log(workspace, other));
}

#[test]
fn a_run_resumed_from_any_checkpoint_is_the_whole_run() {
    let workspace = Workspace::with_base();
    let settings = [
        "--set",
        "train.save_steps=4",
        "--set",
        "train.save_total_limit=9",
        "--set",
        "train.logging_steps=3",
    ];
    workspace.train("reviews.csv", "whole", &settings);
    // 11 steps an epoch: within the first, within the second, and after the last step.
    for step in [4, 12, 22] {
        let (checkpoint, output) = (format!("whole/checkpoint-{step}"), format!("from-{step}"));
        workspace.train(
            "reviews.csv",
            &output,
            &[&settings[..], &["--resume", &checkpoint]].concat(),
        );
        assert_same(&workspace, "whole", &output);
    }
    // The latest of a directory.
    workspace.train(
        "reviews.csv",
        "from-latest",
        &[&settings[..], &["--resume", "whole"]].concat(),
    );
    assert_same(&workspace, "whole", "from-latest");
}

#[test]
fn the_latest_checkpoint_is_the_one_written_last() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]); // leaves checkpoint-22
    let short = |steps: &str| format!("train.max_steps={steps}");
    workspace.train(
        "reviews.csv",
        "model",
        &["--set", &short("4"), "--set", "train.save_steps=2"],
    );
    // From 22 steps there would be none left to take, which is refused.
    workspace.train("reviews.csv", "model", &["--set", &short("6"), "--resume"]);
    assert_eq!(workspace.json("model/trainer_state.json")["global_step"], 6);
}

#[test]
fn a_checkpoint_is_a_model_too() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &["--set", "train.save_total_limit=9"]);
    for checkpoint in ["model/checkpoint-11", "model/checkpoint-22"] {
        workspace.succeed(&["evaluate", "--quiet", "--model", checkpoint, "--data", "reviews.csv"]);
    }
}

#[test]
fn as_many_checkpoints_are_kept_as_asked_for() {
    let workspace = Workspace::with_base();
    let checkpoints = |output: &str| {
        let files = workspace.files();
        let start = format!("{output}/checkpoint-");
        files
            .into_iter()
            .filter(|name| name.starts_with(&start) && name.matches('/').count() == 1)
            .collect::<Vec<_>>()
    };
    for (limit, expected) in [
        ("0", &[][..]),
        ("1", &["1/checkpoint-22"]),
        ("2", &["2/checkpoint-20", "2/checkpoint-22"]),
    ] {
        let limited = format!("train.save_total_limit={limit}");
        workspace.train(
            "reviews.csv",
            limit,
            &["--set", "train.save_steps=5", "--set", &limited],
        );
        assert_eq!(checkpoints(limit), expected);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_comes_to_the_same_end() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    let workspace = Workspace::with_base();
    let long = [
        "--set",
        "train.epochs=150",
        "--set",
        "train.early_stopping.enabled=false",
        "--set",
        "train.save_steps=100000",
    ];
    workspace.train("reviews.csv", "whole", &long);

    let mut arguments = training("reviews.csv", "cut in two", &long);
    arguments.retain(|argument| *argument != "--quiet");
    let gareum = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gareum"));
        command.current_dir(workspace.path("")).envs(workspace::ENVIRONMENT);
        command
    };
    let mut child = gareum()
        .args(&arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("epoch ") {
        line.clear();
        assert_ne!(
            stderr.read_line(&mut line).unwrap(),
            0,
            "ended before the first evaluation"
        );
    }
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(
        rest.contains("finishing the step and writing a checkpoint; once more to stop at once"),
        "{rest}"
    );
    let files = workspace.files();
    assert!(!files.contains("cut in two/model.safetensors"), "{files:?}");
    assert!(!files.iter().any(|name| name.contains(".tmp")), "{files:?}");

    // The command that it names does what it says.
    let (_, resume) = rest
        .split_once("interrupted; go on with: ")
        .unwrap_or_else(|| panic!("{rest}"));
    assert!(resume.contains(" --resume 'cut in two/checkpoint-"), "{resume}");
    let shell = Command::new("sh")
        .args(["-c", resume])
        .current_dir(workspace.path(""))
        .envs(workspace::ENVIRONMENT)
        .output()
        .unwrap();
    assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
    assert_same(&workspace, "whole", "cut in two");
}
