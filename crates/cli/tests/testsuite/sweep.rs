//! `gareum sweep` end to end: what it tries, what it says and writes, and what becomes of it when something goes wrong.

use crate::workspace::{Finished, Workspace, csv, reviews};
use serde_json::{Value, json};

/// Settings for trials that take no time, with an encoder from random weights.
const SETTINGS: &str = r#"
    [model]
    max_length = 16
    [model.scratch]
    vocab_size = 200
    hidden_size = 16
    num_hidden_layers = 1
    num_attention_heads = 2
    intermediate_size = 16
    hidden_dropout_prob = 0.1
    [data]
    train = "reviews.csv"
    [train]
    epochs = 2
    batch_size = 16
    learning_rate = 0.01
    precision = "f32"
    early_stopping = { patience = 20 }
"#;

fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("reviews.csv", csv(&["text", "label"], &reviews()));
    workspace.write("sweep.toml", SETTINGS);
    workspace
}

/// Runs a sweep that should succeed.
fn sweep(workspace: &Workspace, more: &[&str]) -> Finished {
    workspace.succeed(&[&["sweep", "--threads", "1"], more].concat())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn states(workspace: &Workspace, directory: &str) -> Vec<String> {
    let state = workspace.json(&format!("{directory}/sweep.json"));
    let trials = state["trials"].as_array().unwrap().iter();
    trials
        .map(|trial| trial["state"].as_str().unwrap().to_owned())
        .collect()
}

/// What a sweep came to, without what no two runs share.
fn results(workspace: &Workspace, directory: &str) -> Value {
    let mut state = workspace.json(&format!("{directory}/sweep.json"));
    for trial in state["trials"].as_array_mut().unwrap() {
        trial["seconds"] = Value::Null;
    }
    json!([state, workspace.text(&format!("{directory}/best.toml"))])
}

fn models(workspace: &Workspace, directory: &str) -> Vec<String> {
    let start = format!("{directory}/trials/");
    let files = workspace.files().into_iter();
    files
        .filter(|file| file.starts_with(&start) && file.ends_with("model.safetensors"))
        .collect()
}

#[test]
fn a_grid_is_trained_ranked_and_reported() {
    let workspace = workspace();
    let parameters = [
        "--parameter",
        "train.learning_rate=0.001,0.01",
        "-p",
        "train.schedule=linear,constant",
    ];
    let told = sweep(&workspace, &parameters);
    for expected in [
        "settings: sweep.toml",
        "grid search, 4 trials, compared by macro_f1",
        "trial 1 (train.learning_rate = 0.001, train.schedule = linear): macro_f1 ",
        "the best model: sweep/trials/00",
        "the best settings: sweep/best.toml",
        "report: sweep/report.html",
    ] {
        assert!(told.stderr.contains(expected), "{expected}: {}", told.stderr);
    }
    let header: Vec<&str> = told.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        header[..5],
        ["rank", "trial", "train.learning_rate", "train.schedule", "macro_f1"]
    );
    assert!(
        told.stdout.contains("the best on the test rows: macro_f1 "),
        "{}",
        told.stdout
    );

    let state = workspace.json("sweep/sweep.json");
    let trials = state["trials"].as_array().unwrap();
    assert_eq!(states(&workspace, "sweep"), ["done"; 4]);
    let best = trials
        .iter()
        .max_by(|one, other| number(&one["value"]).total_cmp(&number(&other["value"])))
        .unwrap();
    // The first of equals is the best.
    let best = trials.iter().find(|trial| trial["value"] == best["value"]).unwrap();
    let directory = format!("sweep/trials/{:03}", best["trial"].as_u64().unwrap());
    assert_eq!(models(&workspace, "sweep"), [format!("{directory}/model.safetensors")]);
    assert!(!workspace.files().iter().any(|file| file.contains("checkpoint-")));
    workspace.succeed(&["evaluate", "--quiet", "--model", &directory, "--data", "reviews.csv"]);

    let csv = workspace.text("sweep/sweep.csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("rank,trial,state,train.learning_rate,train.schedule,epochs,seconds,accuracy,"));
    assert!(lines[1].starts_with(&format!("1,{},done,", best["trial"])), "{csv}");
    assert_eq!(lines.len(), 5);

    let page = workspace.text("sweep/report.html");
    for expected in [
        "<h2 id=\"s2\">Parameters</h2>",
        "All parameters at once",
        "train.schedule",
        "trial 4",
        "Curves",
    ] {
        assert!(page.contains(expected), "{expected}");
    }

    // The settings that are written train the same model again.
    let text = workspace.text("sweep/best.toml");
    assert!(
        text.starts_with(&format!("# trial {} of 4: macro_f1 ", best["trial"])),
        "{text}"
    );
    workspace.succeed(&["train", "--quiet", "sweep/best.toml", "--output", "again"]);
    assert_eq!(
        workspace.bytes("again/model.safetensors"),
        workspace.bytes(&format!("{directory}/model.safetensors"))
    );
    assert!(workspace.text("sweep/best.toml").contains("dir = \"../model\""));

    // What is there is not overwritten, and what is over is told again.
    let message = workspace.fail(&[&["sweep"], &parameters[..]].concat());
    assert!(
        message.contains("error: sweep: there is a sweep already\nhint: go on with it with --resume"),
        "{message}"
    );
    let again = sweep(&workspace, &[&parameters[..], &["--resume", "--json"]].concat()).json();
    assert_eq!(again["best"]["trial"], best["trial"]);
    assert_eq!(again["trials"].as_array().unwrap().len(), 4);
    assert!(again["best"]["test"]["accuracy"].is_f64(), "{again}");
}

#[test]
fn random_trials_depend_on_the_seed_alone() {
    let workspace = workspace();
    let parameters = [
        "--trials",
        "3",
        "--epochs",
        "1",
        "-p",
        "train.learning_rate={ min = 1e-3, max = 1e-1, scale = \"log\" }",
        "-p",
        "train.batch_size={ min = 8, max = 32 }",
    ];
    sweep(
        &workspace,
        &[&parameters[..], &["--output", "one", "--jobs", "2"]].concat(),
    );
    sweep(&workspace, &[&parameters[..], &["--output", "two"]].concat());
    let [mut one, mut two] = ["one", "two"].map(|name| results(&workspace, name));
    // Two at a time have half of the memory each.
    for results in [&mut one, &mut two] {
        results[0]["trial_memory_bytes"] = Value::Null;
    }
    assert_eq!(one, two, "two at a time come to the same as one after the other");
    let planned = |seed: &str| {
        let arguments = ["sweep", "--quiet", "--dry-run", "--json", "--set", seed];
        workspace.succeed(&[&arguments, &parameters[..]].concat()).json()
    };
    assert_eq!(planned("sweep.seed=0"), planned("sweep.seed=0"));
    assert_ne!(planned("sweep.seed=0")["trials"], planned("sweep.seed=1")["trials"]);
    let trials = planned("sweep.seed=0")["trials"].clone();
    for (trial, planned) in one[0]["trials"]
        .as_array()
        .unwrap()
        .iter()
        .zip(trials.as_array().unwrap())
    {
        assert_eq!(trial["parameters"], planned["parameters"]);
        let rate = number(&planned["parameters"]["train.learning_rate"]);
        assert!((1e-3..=1e-1).contains(&rate) && planned["parameters"]["train.batch_size"].is_u64());
    }
}

#[test]
fn halving_gives_the_best_more_and_changes_nothing_about_them() {
    let workspace = workspace();
    let text = format!(
        "{SETTINGS}\n[sweep]\nhalving = {{ factor = 2, first = 1 }}\n[sweep.parameters]\ntrain.learning_rate = [1e-5, 0.01, 1e-4, 0.003]\n"
    );
    workspace.write("sweep.toml", text);
    let told = sweep(&workspace, &["--epochs", "4", "--output", "halved"]).stderr;
    assert!(
        told.contains("every trial gets epochs up to 1; each time one of 2 goes on, at 1, 2, 4 epochs"),
        "{told}"
    );
    assert!(
        told.contains("trials that dropped out: 2; those that go on to 2 epochs: 2"),
        "{told}"
    );
    let state = workspace.json("halved/sweep.json");
    let epochs: Vec<f64> = state["trials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trial| number(&trial["epochs"]))
        .collect();
    let mut sorted = epochs.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, [1.0, 1.0, 2.0, 4.0]);
    let winner = epochs.iter().position(|epochs| *epochs == 4.0).unwrap();
    assert!([1, 3].contains(&winner), "the lowest rates learn nothing: {state}");
    assert_eq!(
        states(&workspace, "halved")
            .iter()
            .filter(|state| *state == "out")
            .count(),
        3
    );
    assert!(!workspace.files().iter().any(|file| file.contains("checkpoint-")));

    // One that paused twice is the one that never did.
    let rate = ["1e-5", "0.01", "1e-4", "0.003"][winner];
    let rate = format!("train.learning_rate={rate}");
    workspace.succeed(&[
        "train",
        "--quiet",
        "sweep.toml",
        "--epochs",
        "4",
        "--set",
        &rate,
        "--output",
        "whole",
    ]);
    assert_eq!(
        workspace.bytes("whole/model.safetensors"),
        workspace.bytes(&format!("halved/trials/{:03}/model.safetensors", winner + 1))
    );
}

#[test]
fn a_paused_run_goes_on_as_if_it_had_not() {
    let workspace = workspace();
    let train = |more: &[&str]| workspace.succeed(&[&["train", "sweep.toml", "--epochs", "3"], more].concat());
    train(&["--output", "whole"]);
    let told = train(&["--output", "parts", "--pause-after", "1"]).stderr;
    assert!(told.contains("paused after 1 epochs; go on with: "), "{told}");
    assert!(told.contains("--output parts --resume parts/checkpoint-6"), "{told}");
    assert!(!workspace.path("parts/model.safetensors").exists());
    train(&["--output", "parts", "--resume", "--pause-after", "2"]);
    let report = train(&["--output", "parts", "--resume", "--json"]).json();
    assert_eq!(report["paused"], json!(false));
    for file in ["model.safetensors", "metrics.json", "gareum.json"] {
        let [whole, parts] = ["whole", "parts"].map(|name| workspace.text_lossy(&format!("{name}/{file}")));
        assert!(whole == parts.replace("\"parts\"", "\"whole\""), "{file}");
    }
    let refused = workspace.fail(&[
        "train",
        "sweep.toml",
        "--pause-after",
        "1",
        "--set",
        "train.save_total_limit=0",
    ]);
    assert!(
        refused.contains("--pause-after needs a checkpoint to go on from"),
        "{refused}"
    );
}

#[test]
fn one_trial_that_fails_is_not_the_end() {
    let workspace = workspace();
    // Only one trial finds out that its file is not there.
    workspace.write("names.csv", "neg,bad\npos,good\n");
    let parameters = ["-p", "data.label_map=names.csv,missing.csv", "-p", "train.max_steps=3"];
    let told = sweep(&workspace, &parameters);
    assert_eq!(states(&workspace, "sweep"), ["done", "failed"]);
    assert!(
        told.stderr
            .contains("trial 2 (data.label_map = missing.csv, train.max_steps = 3) failed:"),
        "{}",
        told.stderr
    );
    assert!(
        told.stderr.contains("warning: trials that failed: 2"),
        "{}",
        told.stderr
    );
    let error = workspace.json("sweep/sweep.json")["trials"][1]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.starts_with("error: ") && error.contains("missing.csv"), "{error}");
    let page = workspace.text("sweep/report.html");
    assert!(page.contains("Failed trials") && page.contains("missing.csv"), "{page}");
    assert!(workspace.text("sweep/sweep.csv").contains("missing.csv"));

    let all = [
        "-p",
        "train.learning_rate=1e30,1e31",
        "--output",
        "none",
        "--epochs",
        "1",
    ];
    let failed = workspace.run(&[&["sweep", "--threads", "1"], &all[..]].concat());
    assert_eq!(
        (failed.code, states(&workspace, "none")),
        (1, vec!["failed".to_owned(); 2])
    );
    assert!(
        failed.stderr.contains("error: every trial failed, the first with:"),
        "{}",
        failed.stderr
    );
}

#[test]
fn seeds_are_averaged() {
    let workspace = workspace();
    let report = sweep(
        &workspace,
        &["-p", "train.seed=1,2", "-p", "train.learning_rate=1e-6,0.01", "--json"],
    )
    .json();
    let spread = &report["best"]["value"];
    assert_eq!(spread["values"].as_array().unwrap().len(), 2);
    assert!(spread["std"].is_f64(), "{spread}");
    assert_eq!(report["best"]["parameters"]["train.learning_rate"], 0.01);
    assert_eq!(models(&workspace, "sweep").len(), 1);
}

#[test]
fn a_learning_curve_by_the_amount_of_data() {
    let workspace = workspace();
    let told = sweep(&workspace, &["-p", "data.train_share=0.1,0.5,1", "--epochs", "1"]);
    assert!(
        told.stdout
            .contains("from a share of 0.5 to one of 1 of the training rows, macro_f1 changed by "),
        "{}",
        told.stdout
    );
    for (trial, rows) in [(1, 9), (2, 43), (3, 86)] {
        let description = workspace.json(&format!("sweep/trials/{trial:03}/gareum.json"));
        assert_eq!(
            description["data"]["rows"],
            json!({"train": rows, "validation": 29, "test": 29})
        );
        assert_eq!(description["data"]["labels"]["names"], json!(["neg", "pos"]));
    }
    let page = workspace.text("sweep/report.html");
    assert!(page.contains("of the training rows, macro_f1 changed by"), "{page}");
    let told = workspace
        .succeed(&["train", "sweep.toml", "--epochs", "1", "--set", "data.train_share=0.25"])
        .stderr;
    assert!(
        told.contains("the training rows are a share of 0.25 of all (data.train_share)"),
        "{told}"
    );
}

#[test]
fn nothing_starts_that_cannot_be() {
    let workspace = workspace();
    for (arguments, expected) in [
        (&[][..], "error: no parameter is given\nhint: gareum sweep --parameter"),
        (
            &["-p", "train.learning_rte=0.001"],
            "error: trial 1: train.learning_rte = 0.001: unknown field `learning_rte`",
        ),
        (
            &["-p", "train.learning_rte=0.001"],
            "hint: did you mean `learning_rate`?",
        ),
        (
            &["-p", "train.batch_size=8,16,many"],
            "error: trial 3: train.batch_size = \"many\": invalid type: string \"many\", expected a whole number",
        ),
        (
            &["-p", "train.batch_size=8,0"],
            "error: trial 2: train.batch_size is 0, expected at least 1",
        ),
        (
            &["-p", "output.dir=a,b"],
            "error: sweep.parameters.output.dir: each trial has a directory of its own",
        ),
        (
            &["-p", "train.seed"],
            "error: --parameter train.seed: expected KEY=V1,V2,...",
        ),
        (
            &["-p", "train.seed=1,2", "--set", "sweep.monitor=f1"],
            "error: sweep.monitor is `f1`, expected one of loss, accuracy, macro_f1",
        ),
        (
            &["-p", "train.seed=1,2", "--set", "data.split=[1.0, 0.0, 0.0]"],
            "error: there are no validation rows to compare trials by\nhint: give --validation FILE",
        ),
        (
            &["-p", "train.seed=1,2", "--model", "missing"],
            "missing/config.json: No such file or directory",
        ),
        (
            &["-p", "train.seed=1,2", "--set", "train.freeze_layers=9"],
            "error: train.freeze_layers is 9, the model has 1 layers",
        ),
        (&["-p", "train.seed=1,2", "--train", "missing.csv"], "missing.csv"),
        (
            &["-p", "train.seed=1,2", "--jobs", "0"],
            "expected `auto` or a whole number of at least 1",
        ),
        (
            &["-p", "train.weight_decay={ min = 0.1, max = 0.01 }"],
            "sweep.parameters.train.weight_decay: min is 0.1, expected a number below max, which is 0.01",
        ),
        (
            &["-p", "train.weight_decay={ min = 0.0, max = 0.1 }", "--method", "grid"],
            "error: sweep.parameters.train.weight_decay: a grid needs a list of values",
        ),
        (
            &["-p", "train.epochs=1,2", "--set", "sweep.halving.factor=2"],
            "error: sweep.parameters.train.epochs: with sweep.halving trials get their epochs by turns",
        ),
        (
            &["-p", "train.seed=1,2", "--resume"],
            "error: sweep: there is no sweep to go on with",
        ),
        (
            &["-p", "train.seed=1,2", "--output", "reviews.csv"],
            "reviews.csv is a file",
        ),
    ] {
        let message = workspace.fail(&[&["sweep", "--quiet"], arguments].concat());
        assert!(
            message.starts_with("exit 2\n") && message.contains(expected),
            "{expected}\n{message}"
        );
    }
    assert!(!workspace.path("sweep").exists());
    let planned = sweep(
        &workspace,
        &[
            "--dry-run",
            "-p",
            "train.seed=1,2",
            "-p",
            "train.schedule=linear,cosine",
        ],
    );
    assert!(!workspace.path("sweep").exists());
    assert_eq!(planned.stdout.lines().count(), 5, "{}", planned.stdout);
    let last: Vec<&str> = planned.stdout.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["4", "cosine", "2"]);
    assert!(
        workspace
            .run(&["train", "sweep.toml", "--set", "sweep.trials=3", "--epochs", "1"])
            .stderr
            .contains("the section [sweep] is for")
    );
}

#[test]
fn another_sweep_is_told_apart() {
    let workspace = workspace();
    let parameters = ["-p", "train.seed=1,2", "--epochs", "1"];
    sweep(&workspace, &parameters);
    let with = |more: &[&str]| workspace.fail(&[&["sweep", "--resume"], &parameters[..], more].concat());
    let message = with(&["--set", "train.batch_size=8", "-p", "train.seed=1,3"]);
    for expected in [
        "exit 2\n",
        "error: sweep: this is another sweep than the one that was begun here:",
        "train.batch_size is 8 now and was 16",
        "sweep.parameters.train.seed is [1,3] now and was [1,2]",
        "hint: give the settings of before",
    ] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let mut rows = reviews();
    rows[0][0].push_str(" indeed");
    workspace.write("reviews.csv", csv(&["text", "label"], &rows));
    let message = with(&[]);
    assert!(message.contains("the fingerprint of the data is "), "{message}");
}

/// Kills and signals.
#[cfg(target_os = "linux")]
mod from_outside {
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn start(workspace: &Workspace, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gareum"));
        command
            .current_dir(workspace.path(""))
            .envs(crate::workspace::ENVIRONMENT);
        command.args(["sweep", "--threads", "1"]).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a trial has a checkpoint, one of those named or any.
    fn wait_for_checkpoint(workspace: &Workspace, child: &mut Child, trials: &[&str], name: Option<&str>) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_whole = |path: &Path| {
            let own = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_it = name.map_or(own.starts_with("checkpoint-") && !own.contains(".tmp"), |name| {
                own == name
            });
            is_it && path.join("optimizer.safetensors").exists()
        };
        let has_one = |trial: &&str| {
            let entries = std::fs::read_dir(workspace.path(trial)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(|path| is_whole(&path))
        };
        while !trials.iter().any(&has_one) {
            assert!(
                child.try_wait().unwrap().is_none(),
                "ended before a checkpoint of {trials:?}"
            );
            assert!(Instant::now() < deadline, "no checkpoint of {trials:?}");
        }
    }

    /// The processes for which this holds, by what `/proc` says of them.
    fn processes(holds: impl Fn(&Path) -> bool) -> Vec<String> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        all.filter(|entry| is_number(&entry.file_name().to_string_lossy()) && holds(&entry.path()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    const SETTINGS: [&str; 10] = [
        "-p",
        "train.learning_rate=1e-5,0.01,0.003,1e-4",
        "--epochs",
        "6",
        "--set",
        "sweep.halving={ factor = 2, first = 2 }",
        "--set",
        "train.save_steps=2",
        "--set",
        "train.save_total_limit=9",
    ];

    #[test]
    fn killed_sweeps_come_to_the_same_end() {
        let workspace = workspace();
        sweep(&workspace, &[&SETTINGS[..], &["--output", "whole"]].concat());
        let whole = results(&workspace, "whole");
        // In the first trial, in a later one, and in its last turn.
        for (name, trials, checkpoint) in [
            ("first", &["001"][..], Some("checkpoint-2")),
            ("middle", &["003"], None),
            ("last", &["001", "002", "003", "004"], Some("checkpoint-30")),
        ] {
            let arguments = [&SETTINGS[..], &["--output", name]].concat();
            let mut child = start(&workspace, &arguments);
            let trials: Vec<String> = trials.iter().map(|trial| format!("{name}/trials/{trial}")).collect();
            let trials: Vec<&str> = trials.iter().map(String::as_str).collect();
            wait_for_checkpoint(&workspace, &mut child, &trials, checkpoint);
            child.kill().unwrap();
            child.wait().unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            let here = workspace.path("").canonicalize().unwrap();
            let is_here = |process: &Path| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == here);
            while !processes(is_here).is_empty() {
                assert!(Instant::now() < deadline, "a trial outlives its sweep");
            }
            assert!(
                states(&workspace, name)
                    .iter()
                    .any(|state| ["waiting", "paused"].contains(&state.as_str()))
            );
            sweep(&workspace, &[&arguments[..], &["--resume"]].concat());
            assert_eq!(results(&workspace, name), whole, "{name}");
            let [one, other] = [name, "whole"].map(|name| models(&workspace, name));
            assert_eq!(one.len(), 1);
            assert_eq!(workspace.bytes(&one[0]), workspace.bytes(&other[0]));
        }
    }

    #[test]
    fn a_termination_signal_says_how_to_go_on_and_nobody_else_may_meanwhile() {
        let workspace = workspace();
        let arguments = [
            "-p",
            "train.learning_rate=0.01,0.003",
            "--epochs",
            "60",
            "--jobs",
            "2",
            "--set",
            "train.early_stopping.enabled=false",
        ];
        sweep(&workspace, &[&arguments[..], &["--output", "whole"]].concat());
        let arguments = [&arguments[..], &["--output", "cut in two"]].concat();
        let mut child = start(&workspace, &arguments);
        wait_for_checkpoint(&workspace, &mut child, &["cut in two/trials/002"], None);
        let second = start(&workspace, &arguments).wait_with_output().unwrap();
        let message = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(2), "{message}");
        assert!(
            message.contains("error: cut in two: another sweep is running in this directory"),
            "{message}"
        );
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(
            said.contains("the trials that run finish their step and write a checkpoint; once more to stop at once"),
            "{said}"
        );
        let (_, resume) = said
            .split_once("interrupted; go on with: ")
            .unwrap_or_else(|| panic!("{said}"));
        assert!(
            resume.trim_end().ends_with("--output 'cut in two' --resume"),
            "{resume}"
        );
        let mut shell = Command::new("sh");
        shell
            .current_dir(workspace.path(""))
            .envs(crate::workspace::ENVIRONMENT);
        let resumed = shell.args(["-c", resume]).output().unwrap();
        assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
        let [mut cut, mut whole] = ["cut in two", "whole"].map(|name| results(&workspace, name));
        // What was free differs.
        for results in [&mut cut, &mut whole] {
            results[0]["trial_memory_bytes"] = Value::Null;
        }
        assert_eq!(cut, whole);
    }

    #[test]
    fn a_trial_that_is_killed_has_failed() {
        let workspace = workspace();
        let arguments = [
            "-p",
            "train.seed=1,2",
            "--epochs",
            "40",
            "--set",
            "train.early_stopping.enabled=false",
        ];
        let mut child = start(&workspace, &arguments);
        wait_for_checkpoint(&workspace, &mut child, &["sweep/trials/001"], None);
        let parent = format!("PPid:\t{}\n", child.id());
        let is_child =
            |process: &Path| std::fs::read_to_string(process.join("status")).is_ok_and(|text| text.contains(&parent));
        let trials = processes(is_child);
        assert_eq!(trials.len(), 1, "{trials:?}");
        assert!(
            Command::new("kill")
                .args(["-KILL", &trials[0]])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(states(&workspace, "sweep"), ["failed", "done"]);
        let error = &workspace.json("sweep/sweep.json")["trials"][0]["error"];
        assert!(
            error.as_str().unwrap().starts_with("killed by the system (signal 9)"),
            "{error}"
        );
    }
}
