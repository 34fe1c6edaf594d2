//! `gareum compare`, end to end: models, a checkpoint before training, and files of predictions.

use crate::workspace::{Workspace, csv, json_lines, reviews};
use serde_json::{Value, json};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// With two models of the reviews, one of which has hardly learned.
fn trained() -> Workspace {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "short", &["--set", "train.learning_rate=1e-6"]);
    workspace.train("reviews.csv", "long", &["--epochs", "8"]);
    workspace
}

#[test]
fn models_before_and_after_stand_side_by_side() {
    let workspace = trained();
    let compare = ["compare", "before=base", "short", "long", "--data", "reviews.csv"];
    let finished = workspace.succeed(&[&compare[..], &["--json", "--report", "report"]].concat());
    let comparison = finished.json();
    assert_eq!(workspace.json("report/comparison.json"), comparison);
    let standings = comparison["contestants"].as_array().unwrap();
    let names: Vec<(&Value, &Value)> = standings
        .iter()
        .map(|standing| (&standing["name"], &standing["kind"]))
        .collect();
    let [untrained, model] = [json!("untrained"), json!("model")];
    let expected = ["before", "short", "long"].map(|name| json!(name));
    assert_eq!(
        names,
        [
            (&expected[0], &untrained),
            (&expected[1], &model),
            (&expected[2], &model)
        ]
    );
    // Figures are those of evaluate.
    for (standing, model) in standings[1..].iter().zip(["short", "long"]) {
        let evaluated = workspace
            .succeed(&["evaluate", "--model", model, "--data", "reviews.csv", "--json"])
            .json();
        for metric in ["accuracy", "macro_f1", "ece", "roc_auc"] {
            assert_eq!(standing["metrics"][metric], evaluated[metric], "{model} {metric}");
        }
        assert_eq!(
            standing["confidence_intervals"]["values"],
            evaluated["confidence_intervals"]["values"]
        );
        let cost = &standing["cost"];
        let bytes = std::fs::metadata(workspace.path(model).join("model.safetensors"))
            .unwrap()
            .len();
        assert_eq!(cost["disk_bytes"], bytes);
        assert!(number(&cost["texts_per_second"]) > 0.0 && number(&cost["latency"]["p50_ms"]) > 0.0);
    }
    let pair = comparison["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|pair| pair["first"] == "short" && pair["second"] == "long")
        .unwrap();
    let difference = &pair["differences"]["accuracy"];
    let accuracies = [1, 2].map(|index| number(&standings[index]["metrics"]["accuracy"]));
    assert!((number(&difference["value"]) - (accuracies[1] - accuracies[0])).abs() < 1e-12);
    assert!(
        number(&difference["low"]) > 0.0 && number(&pair["mcnemar"]["p_value"]) < 0.001,
        "{pair}"
    );

    // Every row is in the table, and its rights make up the accuracy.
    let mut reader = csv::Reader::from_path(workspace.path("report/rows.csv")).unwrap();
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(
        header[..6],
        ["row", "text", "label", "before", "before score", "before right"]
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 144);
    let right = rows.iter().filter(|row| &row[11] == "1").count();
    assert!((right as f64 / 144.0 - accuracies[1]).abs() < 1e-12);

    let page = workspace.text("report/index.html");
    assert!(page.contains("<code>long</code> is better than <code>before</code>"));
    assert!(!page.contains("http:") && !page.contains("https:"), "no network");
    let markdown = workspace.text("report/comparison.md");
    assert!(markdown.starts_with("# Which model is better\n") && markdown.contains("`long` is better than `before`"));
}

#[test]
fn a_file_of_predictions_is_as_good_as_the_model() {
    let workspace = trained();
    workspace.succeed(&[
        "evaluate",
        "--model",
        "long",
        "--data",
        "reviews.csv",
        "--report",
        "evaluated",
    ]);
    // Of gareum, without scores, and of probabilities alone, in another order of columns.
    let rows = json_lines(&workspace.text("evaluated/predictions.jsonl"));
    let line = |row: &Value| {
        vec![
            row["text"].as_str().unwrap().to_owned(),
            row["predicted_label"].as_str().unwrap().to_owned(),
        ]
    };
    workspace.write(
        "answers.csv",
        csv(&["text", "prediction"], &rows.iter().map(line).collect::<Vec<_>>()),
    );
    let line = |row: &Value| vec![row["scores"]["pos"].to_string(), row["scores"]["neg"].to_string()];
    workspace.write(
        "scores.csv",
        csv(&["pos", "neg"], &rows.iter().map(line).collect::<Vec<_>>()),
    );
    let comparison = workspace
        .succeed(&[
            "compare",
            "long",
            "own=evaluated/predictions.jsonl",
            "answers.csv",
            "scores.csv",
            "--data",
            "reviews.csv",
            "--json",
        ])
        .json();
    let metric = |index: usize, name: &str| comparison["contestants"][index]["metrics"][name].clone();
    for index in 1..4 {
        assert_eq!(metric(index, "macro_f1"), metric(0, "macro_f1"));
        let changes = &comparison["changes"][index - 1];
        assert_eq!((&changes["fixed"], &changes["broken"]), (&json!(0), &json!(0)));
        assert_eq!(comparison["contestants"][index]["cost"], Value::Null);
    }
    assert_eq!(metric(1, "log_loss"), metric(0, "log_loss"));
    assert_eq!(metric(2, "log_loss"), Value::Null);
    assert_eq!(metric(3, "roc_auc"), metric(0, "roc_auc"));

    // Files alone can be compared: the labels are those of the data.
    let finished = workspace.succeed(&["compare", "answers.csv", "scores.csv", "--data", "reviews.csv"]);
    assert!(
        finished.stdout.contains("these rows do not tell whether"),
        "{}",
        finished.stdout
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let workspace = trained();
    let other: Vec<Vec<String>> = reviews()
        .into_iter()
        .map(|row| vec![row[0].clone(), row[1].replace("pos", "good")])
        .collect();
    workspace.write("other.csv", csv(&["text", "label"], &other));
    workspace.train("other.csv", "other", &[]);
    let rows: Vec<Vec<String>> = reviews();
    let header = ["text", "prediction"];
    workspace.write("few.csv", csv(&header, &rows[..3]));
    let mut swapped = rows.clone();
    swapped.swap(4, 5);
    workspace.write("swapped.csv", csv(&header, &swapped));
    let mut unknown = rows.clone();
    unknown[6][1] = "neutral".to_owned();
    workspace.write("unknown.csv", csv(&header, &unknown));
    let mut silent = rows.clone();
    silent[7][1] = String::new();
    workspace.write("silent.csv", csv(&header, &silent));
    workspace.write("nothing.csv", csv(&["text", "remark"], &rows));
    let scores = |text: &str| rows.iter().map(|_| vec![text.to_owned()]).collect::<Vec<_>>();
    workspace.write(
        "bad.csv",
        csv(&["scores"], &scores("{\"pos\": \"high\", \"neg\": 0.5}")),
    );
    for contestant in [
        "other",
        "few.csv",
        "swapped.csv",
        "unknown.csv",
        "silent.csv",
        "nothing.csv",
        "bad.csv",
        "nowhere",
        "long",
    ] {
        let failure = workspace.fail(&["compare", "long", contestant, "--data", "reviews.csv", "--quiet"]);
        insta::assert_snapshot!(format!("compare_{}", contestant.replace('.', "_")), failure);
    }
    insta::assert_snapshot!(
        "compare_alone",
        workspace.run(&["compare", "long", "--data", "reviews.csv"]).stderr
    );
    insta::assert_snapshot!(
        "compare_column",
        workspace.fail(&[
            "compare",
            "long",
            "swapped.csv",
            "--prediction",
            "answer",
            "--data",
            "reviews.csv",
            "--quiet"
        ])
    );
}

#[test]
fn numbers_are_compared_by_their_errors() {
    let workspace = Workspace::with_base();
    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(number, row)| vec![row[0].clone(), format!("{}", f64::from(number as u32 % 7) + 0.5)])
        .collect();
    workspace.write("stars.csv", csv(&["text", "label"], &rows));
    let guess = |by: f64| -> Vec<Vec<String>> {
        let off = |row: &Vec<String>| vec![(row[1].parse::<f64>().unwrap() + by).to_string()];
        rows.iter().map(off).collect()
    };
    workspace.write("far.csv", csv(&["prediction"], &guess(1.0)));
    workspace.write("near.csv", csv(&["prediction"], &guess(-0.25)));
    let finished = workspace.succeed(&[
        "compare",
        "far.csv",
        "near.csv",
        "--data",
        "stars.csv",
        "--report",
        "report",
    ]);
    assert!(
        finished
            .stdout
            .contains("144 rows nearer to the truth, 0 farther from it"),
        "{}",
        finished.stdout
    );
    let comparison = workspace.json("report/comparison.json");
    let rmse = |index: usize| number(&comparison["contestants"][index]["metrics"]["rmse"]);
    assert!((rmse(0) - 1.0).abs() < 1e-6 && (rmse(1) - 0.25).abs() < 1e-6);
}
