//! Checkpoints, Ctrl-C and `--resume`: a run that was cut in two gives the bytes of one that was not.

use crate::workspace::{Workspace, training};
use serde_json::Value;

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

#[test]
fn other_micro_batches_are_told() {
    let workspace = Workspace::with_base();
    workspace.train(
        "reviews.csv",
        "model",
        &["--set", "train.save_steps=5", "--set", "train.save_total_limit=9"],
    );
    let other = ["--resume", "model/checkpoint-5", "--set", "train.micro_batch_tokens=30"];
    let mut arguments = training("reviews.csv", "other", &other);
    arguments.retain(|argument| *argument != "--quiet");
    let told = workspace.succeed(&arguments).stderr;
    assert!(
        told.contains("train.micro_batch_tokens was 8192 and is 30 now"),
        "{told}"
    );
}

/// What happens to a run from outside: signals, a full disk.
#[cfg(unix)]
mod from_outside {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    const ENDLESS: [&str; 6] = [
        "--set",
        "train.epochs=150",
        "--set",
        "train.early_stopping.enabled=false",
        "--set",
        "train.save_steps=100000",
    ];

    fn gareum(workspace: &Workspace) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gareum"));
        command
            .current_dir(workspace.path(""))
            .envs(crate::workspace::ENVIRONMENT);
        command.stdout(Stdio::null());
        command
    }

    fn signal(child: &Child, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The run says how to go on; the command that it names does so.
    fn interrupted_by(name: &str) {
        let workspace = Workspace::with_base();
        workspace.train("reviews.csv", "whole", &ENDLESS);
        let mut arguments = training("reviews.csv", "cut in two", &ENDLESS);
        arguments.retain(|argument| *argument != "--quiet");
        let mut child = gareum(&workspace)
            .args(&arguments)
            .stderr(Stdio::piped())
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
        signal(&child, name);
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

        let (_, resume) = rest
            .split_once("interrupted; go on with: ")
            .unwrap_or_else(|| panic!("{rest}"));
        assert!(resume.contains(" --resume 'cut in two/checkpoint-"), "{resume}");
        let mut shell = Command::new("sh");
        shell
            .current_dir(workspace.path(""))
            .envs(crate::workspace::ENVIRONMENT);
        let resumed = shell.args(["-c", resume]).output().unwrap();
        assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
        assert_same(&workspace, "whole", "cut in two");
    }

    #[test]
    fn ctrl_c_says_how_to_go_on() {
        interrupted_by("INT");
    }

    #[test]
    fn a_termination_signal_does_so_too() {
        interrupted_by("TERM");
    }

    /// Twenty runs are killed, six of them while they write a checkpoint, and taken up again from what is there.
    #[test]
    fn a_killed_run_comes_to_the_same_end() {
        let workspace = Workspace::with_base();
        let settings = ["--set", "train.epochs=8", "--set", "train.save_steps=3"];
        let start = Instant::now();
        workspace.train("reviews.csv", "whole", &settings);
        let whole = start.elapsed();
        let (mut without_checkpoint, mut while_writing) = (0, 0);
        for attempt in 0u32..20 {
            let output = format!("killed-{attempt}");
            let mut child = gareum(&workspace)
                .args(training("reviews.csv", &output, &settings))
                .spawn()
                .unwrap();
            if attempt % 10 < 7 {
                // Spread over the run; the machine's own unrest makes the moment random.
                std::thread::sleep(whole * (6 + attempt * 7 % 15) / 22);
            } else {
                wait_for_a_half_written_checkpoint(&workspace, &output, &mut child);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let files = workspace.files();
            let is_there = |end: &str| {
                files
                    .iter()
                    .any(|name| name.starts_with(&format!("{output}/checkpoint-")) && name.ends_with(end))
            };
            while_writing += u32::from(is_there(".tmp"));
            let resume: &[&str] = if is_there("/gareum_state.json") && has_whole_checkpoint(&workspace, &output) {
                &["--resume"]
            } else {
                without_checkpoint += 1;
                &[]
            };
            workspace.train("reviews.csv", &output, &[&settings[..], resume].concat());
            assert_same(&workspace, "whole", &output);
        }
        println!("killed before the first checkpoint: {without_checkpoint}, while writing one: {while_writing}, of 20");
        assert!(while_writing > 0, "no kill met a checkpoint being written");
    }

    fn has_whole_checkpoint(workspace: &Workspace, output: &str) -> bool {
        let names = std::fs::read_dir(workspace.path(output)).unwrap();
        names.flatten().any(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("checkpoint-") && !name.contains(".tmp")
        })
    }

    fn wait_for_a_half_written_checkpoint(workspace: &Workspace, output: &str, child: &mut Child) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            let names = std::fs::read_dir(workspace.path(output))
                .into_iter()
                .flatten()
                .flatten();
            let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
            if names.any(|name| name.starts_with("checkpoint-") && name.ends_with(".tmp")) {
                return;
            }
        }
    }

    /// A disk that takes no more is played by a limit on the size of files, which the system reports to the writer alike.
    #[test]
    fn a_full_disk_leaves_the_last_good_checkpoint() {
        let workspace = Workspace::with_base();
        let settings = ["--set", "train.save_steps=4"];
        workspace.train("reviews.csv", "whole", &settings);
        let stop = ["--set", "train.max_steps=4", "--set", "train.warmup_ratio=0.5"];
        workspace.train("reviews.csv", "full", &[&settings[..], &stop].concat());
        assert!(workspace.path("full/checkpoint-4").exists());
        let before = workspace.bytes("full/checkpoint-4/optimizer.safetensors");

        let mut arguments = training("reviews.csv", "full", &settings);
        arguments.push("--resume");
        let mut shell = Command::new("sh");
        shell
            .current_dir(workspace.path(""))
            .envs(crate::workspace::ENVIRONMENT);
        let limited = "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\"";
        let finished = shell
            .args(["-c", limited, env!("CARGO_BIN_EXE_gareum")])
            .args(&arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&finished.stderr);
        assert_eq!(finished.status.code(), Some(1), "{said}");
        assert!(
            said.contains("error: full/checkpoint-8.") && said.contains("cannot write") && said.contains("--resume"),
            "{said}"
        );
        let files = workspace.files();
        assert!(
            !files
                .iter()
                .any(|name| name.contains(".tmp") || name.starts_with("full/checkpoint-8")),
            "{files:?}"
        );
        assert!(before == workspace.bytes("full/checkpoint-4/optimizer.safetensors"));
    }
}
