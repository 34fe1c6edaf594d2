//! `gareum predict`, end to end.

use crate::workspace::{Workspace, csv, json_lines, reviews};
use gareum::data::Input;
use gareum::predict::Predictor;
use gareum::settings::PrecisionSetting;
use serde_json::{Value, json};

/// With the trained `model`.
fn trained() -> Workspace {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    workspace
}

/// What the library makes of texts: label and both probabilities.
fn expected(workspace: &Workspace, texts: &[&str]) -> Vec<(Value, Value)> {
    let predictor = Predictor::load(&workspace.path("model"), PrecisionSetting::Auto).unwrap();
    let inputs: Vec<Input> = texts
        .iter()
        .map(|text| Input {
            text: (*text).to_owned(),
            text_pair: None,
        })
        .collect();
    let predictions = predictor.predict(&inputs, &mut |_| ()).unwrap();
    let columns = predictions
        .iter()
        .map(|prediction| prediction.columns(predictor.schema(), None));
    columns
        .map(|columns| (columns.label, Value::Object(columns.scores)))
        .collect()
}

#[test]
fn lines_of_standard_input_become_json_lines() {
    let workspace = trained();
    let texts = ["the food was very good", "영화 싫어요", "x, \"y\"\t🙂"];
    let input = format!("{}\n\n{}\r\n{}", texts[0], texts[1], texts[2]);
    let finished = workspace.run_with_input(&["predict", "--model", "model"], &input);
    let rows = finished.json_lines();
    let (precision, rest) = finished.stderr.split_once('\n').unwrap();
    assert!(precision.starts_with("computing in "), "{precision}");
    assert_eq!(rest, "1 of 4 rows have no text and got no label\n");
    assert_eq!(
        rows[1],
        json!({"text": "", "label": null, "score": null, "scores": null})
    );
    let labelled = [&rows[0], &rows[2], &rows[3]];
    for ((row, text), (label, scores)) in labelled.into_iter().zip(texts).zip(expected(&workspace, &texts)) {
        assert_eq!(row["text"], text);
        assert_eq!((&row["label"], &row["scores"]), (&label, &scores));
        assert_eq!(row["score"], scores[label.as_str().unwrap()]);
        let sum: f64 = scores
            .as_object()
            .unwrap()
            .values()
            .map(|score| score.as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_csv_keeps_its_rows_and_columns() {
    let workspace = trained();
    workspace.write(
        "new.csv",
        "id,text,note\n7,the food was bad,\"a \"\"b\"\", c\"\n8,  ,\n9,\"the book\nwas good\",좋아요\n",
    );
    workspace.succeed(&[
        "predict", "--quiet", "--model", "model", "--input", "new.csv", "--output", "out.csv",
    ]);
    let mut reader = csv_reader(&workspace, "out.csv");
    assert_eq!(reader.remove(0), ["id", "text", "note", "label", "score", "scores"]);
    assert_eq!(reader[0][..3], ["7", "the food was bad", "a \"b\", c"]);
    assert_eq!(reader[1], ["8", "  ", "", "", "", ""]);
    assert_eq!(reader[2][..3], ["9", "the book\nwas good", "좋아요"]);
    let expected = expected(&workspace, &["the food was bad", "the book\nwas good"]);
    for (row, (label, scores)) in [&reader[0], &reader[2]].into_iter().zip(expected) {
        assert_eq!(row[3], label.as_str().unwrap());
        assert_eq!(serde_json::from_str::<Value>(&row[4]).unwrap(), scores[&row[3]]);
        assert_eq!(serde_json::from_str::<Value>(&row[5]).unwrap(), scores);
    }
}

fn csv_reader(workspace: &Workspace, name: &str) -> Vec<Vec<String>> {
    let text = workspace.text(name);
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows = reader
        .records()
        .map(|row| row.unwrap().iter().map(str::to_owned).collect());
    rows.collect()
}

#[test]
fn json_lines_keep_the_types_of_their_values() {
    let workspace = trained();
    let rows = [
        json!({"id": 1, "text": "the food was bad", "tags": ["a", 2], "meta": {"stars": 1.5}}),
        json!({"id": 2, "text": null, "tags": [], "meta": {"stars": null}}),
        json!({"id": 3, "tags": null}),
    ];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    workspace.write("new.jsonl", lines);
    workspace.succeed(&[
        "predict",
        "--model",
        "model",
        "--input",
        "new.jsonl",
        "--output",
        "out.jsonl",
    ]);
    let rows = json_lines(&workspace.text("out.jsonl"));
    assert_eq!((&rows[0]["id"], &rows[0]["tags"]), (&json!(1), &json!(["a", 2])));
    assert_eq!(rows[0]["meta.stars"], 1.5);
    assert!(rows[0]["label"].is_string());
    assert_eq!((&rows[1]["id"], &rows[1]["label"]), (&json!(2), &Value::Null));
    assert_eq!((&rows[2]["id"], &rows[2]["text"]), (&json!(3), &Value::Null));
}

/// More rows than are predicted at a time, of all lengths.
#[test]
fn many_rows_stay_in_order() {
    let workspace = trained();
    let texts: Vec<String> = (0..1500)
        .map(|row| format!("{} good", "very ".repeat(row % 7)))
        .collect();
    let rows: Vec<Vec<String>> = texts
        .iter()
        .enumerate()
        .map(|(row, text)| vec![row.to_string(), text.clone()])
        .collect();
    workspace.write("new.csv", csv(&["row", "text"], &rows));
    let finished = workspace.succeed(&["predict", "--quiet", "--model", "model", "--input", "new.csv"]);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rows = finished.json_lines();
    assert_eq!(rows.len(), texts.len());
    for ((number, row), (label, scores)) in rows.iter().enumerate().zip(expected(&workspace, &texts)) {
        assert_eq!(row["row"], number.to_string());
        assert_eq!(row["label"], label, "row {number}");
        let score = |scores: &Value| scores["pos"].as_f64().unwrap();
        // Batches are made of other rows here, which moves the last digits.
        assert!((score(&row["scores"]) - score(&scores)).abs() < 1e-6, "row {number}");
    }
}

#[test]
fn the_precision_is_chosen_and_told() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &["--set", "train.precision=f32"]);
    let predict = |more: &[&str]| {
        let usual = [
            "predict",
            "--model",
            "model",
            "--input",
            "reviews.csv",
            "--text",
            "text",
        ];
        workspace.succeed(&[&usual, more].concat())
    };
    let auto = predict(&[]);
    assert!(auto.stderr.ends_with("\ncomputing in f32\n"), "{}", auto.stderr);
    assert_eq!(auto.stdout, predict(&["--precision", "f32"]).stdout);
    let narrow = predict(&["--precision", "bf16"]);
    assert!(narrow.stderr.ends_with("\ncomputing in bf16\n"), "{}", narrow.stderr);
    let score = |row: &Value| row["scores"]["pos"].as_f64().unwrap();
    let pairs: Vec<(f64, f64)> = auto
        .json_lines()
        .iter()
        .zip(&narrow.json_lines())
        .map(|(wide, narrow)| (score(wide), score(narrow)))
        .collect();
    assert_eq!(pairs.len(), 144);
    assert!(
        pairs.iter().all(|(wide, narrow)| (wide - narrow).abs() < 0.05),
        "{pairs:?}"
    );
    assert!(pairs.iter().any(|(wide, narrow)| wide != narrow), "nothing was rounded");

    let report = predict(&["--precision", "bf16", "--output", "out.csv", "--json"]).json();
    let expected = json!({
        "model": "model", "output": "out.csv", "rows": 144, "rows_without_text": 0, "rows_abstained": 0, "precision": "bf16"
    });
    assert_eq!(report, expected);
    let evaluate = [
        "evaluate",
        "--model",
        "model",
        "--data",
        "reviews.csv",
        "--precision",
        "bf16",
    ];
    let measured = workspace.succeed(&evaluate);
    assert!(measured.stderr.ends_with("computing in bf16\n"), "{}", measured.stderr);

    // What was trained in bf16 predicts in it where the processor has instructions for it.
    workspace.train("reviews.csv", "narrow", &["--set", "train.precision=bf16"]);
    let arguments = [
        "predict",
        "--model",
        "narrow",
        "--input",
        "reviews.csv",
        "--text",
        "text",
    ];
    let expected = if tensor::cpu::has_bf16() { "bf16" } else { "f32" };
    let said = workspace.succeed(&arguments).stderr;
    assert!(said.ends_with(&format!("\ncomputing in {expected}\n")), "{said}");
}

#[test]
fn top_k_is_the_best_first() {
    let workspace = Workspace::with_base();
    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(row, fields)| vec![fields[0].clone(), ["a", "b", "c", "d"][row % 4].to_owned()])
        .collect();
    workspace.write("four.csv", csv(&["text", "label"], &rows));
    workspace.train("four.csv", "model", &[]);
    let predict = |more: &[&str]| {
        let arguments = [&["predict", "--model", "model"], more].concat();
        workspace
            .run_with_input(&arguments, "the food was bad\n")
            .json_lines()
            .remove(0)
    };
    let names = |row: &Value| row["scores"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all = predict(&[]);
    assert_eq!(names(&all), ["a", "b", "c", "d"]);
    let best = predict(&["--top-k", "2"]);
    assert_eq!(
        (names(&best).len(), &names(&best)[0]),
        (2, &best["label"].as_str().unwrap().to_owned())
    );
    assert!(
        best["scores"]
            .as_object()
            .unwrap()
            .values()
            .is_sorted_by(|one, two| one.as_f64() >= two.as_f64())
    );
    assert_eq!(best["scores"][&names(&best)[1]], all["scores"][&names(&best)[1]]);
    assert_eq!(names(&predict(&["--top-k", "9"])).len(), 4);
}

/// The columns of a predictions file do not replace those of the input, however often it is predicted.
#[test]
fn columns_called_like_ours_are_kept() {
    let workspace = trained();
    workspace.write("first.csv", "text,label\nthe food was bad,mine\n");
    let predict = |input: &str, output: &str| {
        let arguments = ["predict", "--model", "model", "--input", input, "--output", output];
        workspace.succeed(&arguments).stderr
    };
    let note = predict("first.csv", "second.jsonl");
    assert!(note.contains("`label`") && note.contains("`predicted_label`"), "{note}");
    predict("second.jsonl", "third.jsonl");
    let second = json_lines(&workspace.text("second.jsonl")).remove(0);
    let third = json_lines(&workspace.text("third.jsonl")).remove(0);
    assert_eq!(second["label"], "mine");
    assert_eq!(
        (&third["label"], &third["predicted_label"]),
        (&second["label"], &second["predicted_label"])
    );
    let columns: Vec<&String> = third.as_object().unwrap().keys().collect();
    // The inner values of `scores` come back as columns of their own.
    let expected = [
        "text",
        "label",
        "predicted_label",
        "score",
        "scores.neg",
        "scores.pos",
        "predicted_predicted_label",
        "predicted_score",
        "scores",
    ];
    assert_eq!(columns, expected);
}

#[test]
fn several_labels_are_a_list() {
    let workspace = Workspace::with_base();
    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .map(|row| vec![row[0].clone(), if row[1] == "pos" { "2,3" } else { "8" }.to_owned()])
        .collect();
    workspace.write("several.csv", csv(&["text", "label"], &rows));
    workspace.train("several.csv", "model", &["--epochs", "15"]);
    let finished = workspace.run_with_input(
        &["predict", "--model", "model"],
        "the food was very good\nthe food was very bad\n",
    );
    let rows = finished.json_lines();
    assert_eq!(
        (&rows[0]["label"], &rows[1]["label"]),
        (&json!(["2", "3"]), &json!(["8"]))
    );
    let scores = &rows[0]["scores"];
    let lowest = scores["2"].as_f64().unwrap().min(scores["3"].as_f64().unwrap());
    assert_eq!(rows[0]["score"], lowest);
}

#[test]
fn files_without_a_header_are_named_by_position() {
    let workspace = trained();
    workspace.write("new.tsv", "1\tthe food was bad\n2\tthe food was good\n");
    let arguments = [
        "predict",
        "--model",
        "model",
        "--input",
        "new.tsv",
        "--no-header",
        "--text",
        "1",
    ];
    let rows = workspace.succeed(&arguments).json_lines();
    assert_eq!(
        (rows.len(), &rows[1]["0"], &rows[1]["1"]),
        (2, &json!("2"), &json!("the food was good"))
    );
}

/// A reader that stops reading, such as `head`, ends the command without a word.
#[test]
fn a_closed_pipe_is_no_error() {
    let workspace = trained();
    let lines = "the food was good\n".repeat(20_000);
    workspace.write("many.txt", lines);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_gareum"))
        .current_dir(workspace.path(""))
        .envs(crate::workspace::ENVIRONMENT)
        .args(["predict", "--quiet", "--model", "model", "--input", "many.txt"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn an_interrupted_prediction_leaves_nothing() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let workspace = trained();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gareum"))
        .current_dir(workspace.path(""))
        .args(["predict", "--model", "model", "--output", "out.csv"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"the food was good\n").unwrap();
    let half_written = || workspace.files().into_iter().any(|name| name.contains(".tmp"));
    while !half_written() {
        assert_eq!(child.try_wait().unwrap(), None, "ended before it was interrupted");
        std::thread::yield_now();
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!half_written() && !workspace.path("out.csv").exists());
}
