//! Files of many rows, predicted: interrupted and gone on with, into parquet, with explanations.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::{ENVIRONMENT, Workspace, csv, reviews};
use gareum::data::{ReadOptions, Records};
use serde_json::Value;

/// With a model, and so many rows that reading them takes some chunks.
fn workspace() -> Workspace {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    let texts: Vec<String> = reviews().into_iter().map(|row| row[0].clone()).collect();
    let row = |i: usize| {
        vec![
            i.to_string(),
            format!("{} {} {}", texts[i % texts.len()], i % 7, texts[(i * 5) % texts.len()]),
        ]
    };
    let rows: Vec<Vec<String>> = (0..20_000).map(row).collect();
    workspace.write("many.csv", csv(&["id", "text"], &rows));
    workspace
}

fn predict<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &[
            "predict", "--quiet", "--model", "model", "--input", "many.csv", "--output", output,
        ],
        more,
    ]
    .concat()
}

#[test]
fn a_killed_prediction_is_gone_on_with() {
    let workspace = workspace();
    for name in ["whole.jsonl", "whole.csv", "whole.parquet"] {
        workspace.succeed(&predict(name, &[]));
        let cut = name.replace("whole", "cut");
        let mut child = Command::new(env!("CARGO_BIN_EXE_gareum"))
            .current_dir(workspace.path(""))
            .envs(ENVIRONMENT)
            .args(predict(&cut, &[]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (began, progress) = (Instant::now(), workspace.path(format!("{cut}.progress")));
        while !progress.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let resumed = workspace.run(&[&predict(&cut, &["--resume"])[..], &["--json"]].concat());
        // A quick machine may have come to the end before it was killed.
        if !workspace.path(&cut).exists() || resumed.code == 0 {
            assert_eq!(resumed.code, 0, "{}", resumed.stderr);
            assert_eq!(resumed.json()["rows"], 20_000);
        }
        assert!(workspace.bytes(name) == workspace.bytes(&cut), "{name}");
        assert!(!progress.exists() && !workspace.path(format!("{cut}.partial")).exists());
    }
    // The three say the same.
    let records = |name: &str| Records::open(&workspace.path(name), &ReadOptions::default()).unwrap();
    let (lines, parquet) = (records("whole.jsonl"), records("whole.parquet"));
    let position = |records: &Records, name: &str| records.columns().iter().position(|column| column == name).unwrap();
    let [of_lines, of_parquet] =
        [&lines, &parquet].map(|records| ["id", "text", "label", "score"].map(|name| position(records, name)));
    let mut count = 0;
    for (one, other) in lines.map(Result::unwrap).zip(parquet.map(Result::unwrap)) {
        for (from, to) in of_lines.iter().zip(of_parquet) {
            assert_eq!(one.values[*from], other.values[to]);
        }
        count += 1;
    }
    assert_eq!(count, 20_000);
}

#[test]
fn explanations_are_a_column() {
    let workspace = workspace();
    workspace.write(
        "few.csv",
        csv(
            &["text"],
            &[
                vec!["the food was good".to_owned()],
                vec![String::new()],
                vec!["awful".to_owned()],
            ],
        ),
    );
    let predict = ["predict", "--model", "model", "--input", "few.csv", "--explain"];
    let rows = workspace.succeed(&predict).json_lines();
    let explained = workspace
        .succeed(&["explain", "--model", "model", "--input", "few.csv", "--json"])
        .json_lines();
    assert_eq!(rows.len(), 3);
    for (row, explanation) in rows.iter().zip(&explained).filter(|(row, _)| !row["label"].is_null()) {
        assert_eq!(row["explanation"], explanation["maps"]);
        assert!(!explanation["maps"][0]["words"].as_array().unwrap().is_empty());
    }
    assert_eq!(rows[1]["explanation"], Value::Null);
}

#[test]
fn what_cannot_be_gone_on_with_is_named() {
    let workspace = workspace();
    let fail = |arguments: &[&str]| workspace.fail(arguments);
    insta::assert_snapshot!(fail(&["predict", "--model", "model", "--input", "many.csv", "--resume"]), @r"
    exit 2
    error: --resume needs a file to read and one to write
    hint: name them with --input and --output
    ");
    insta::assert_snapshot!(fail(&predict("new.jsonl", &["--resume"])), @r"
    exit 2
    error: new.jsonl.progress: there is nothing to go on with
    hint: leave out --resume to begin anew
    ");
    // As a run with other flags leaves it.
    workspace.write("new.jsonl.partial", "{}\n");
    let progress = |header: &str, top_k: &str| {
        let identity = format!("{{\"model\":\"model\",\"input\":\"many.csv\",\"top_k\":{top_k}}}");
        format!("{{\"identity\":{identity},\"header\":[{header}],\"rows\":1,\"bytes\":3}}")
    };
    workspace.write("new.jsonl.progress", progress("\"text\"", "null"));
    insta::assert_snapshot!(fail(&predict("new.jsonl", &["--resume"])), @r"
    exit 2
    error: new.jsonl.progress: the columns have changed
    hint: leave out --resume to begin anew
    ");
    workspace.write(
        "new.jsonl.progress",
        progress("\"id\",\"text\",\"label\",\"score\",\"scores\"", "3"),
    );
    insta::assert_snapshot!(fail(&predict("new.jsonl", &["--resume"])), @r"
    exit 2
    error: new.jsonl.progress: `top_k` was 3, now it is null
    hint: leave out --resume to begin anew
    ");
    workspace.write("new.jsonl.progress", "{");
    insta::assert_snapshot!(fail(&predict("new.jsonl", &["--resume"])), @r"
    exit 2
    error: new.jsonl.progress: it is damaged: EOF while parsing an object at line 1 column 1
    hint: leave out --resume to begin anew
    ");
}
