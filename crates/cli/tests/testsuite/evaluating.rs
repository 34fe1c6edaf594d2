//! `gareum evaluate` beyond the figures, and what decides about labels, end to end.

use crate::workspace::{Workspace, assert_page, csv, json_lines, reviews};
use serde_json::{Value, json};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// Reviews with what they are about; every seventh label is wrong.
fn noisy() -> Vec<Vec<String>> {
    let flipped = |label: &str| if label == "pos" { "neg" } else { "pos" };
    let row = |(number, fields): (usize, Vec<String>)| {
        let subject = fields[0].split(' ').nth(1).unwrap().to_owned();
        let label = if number % 7 == 0 {
            flipped(&fields[1])
        } else {
            &fields[1]
        };
        vec![fields[0].clone(), label.to_owned(), subject]
    };
    reviews().into_iter().enumerate().map(row).collect()
}

/// With `noisy.csv` and a model of it.
fn trained(more: &[&str]) -> Workspace {
    let workspace = Workspace::with_base();
    workspace.write("noisy.csv", csv(&["text", "label", "subject"], &noisy()));
    workspace.train("noisy.csv", "model", more);
    workspace
}

#[test]
fn a_report_says_how_sure_it_is_and_shows_mistakes() {
    let workspace = trained(&["--epochs", "8"]);
    let evaluate = [
        "evaluate",
        "--model",
        "model",
        "--data",
        "noisy.csv",
        "--slice",
        "subject",
    ];
    let finished = workspace.succeed(&[&evaluate[..], &["--json", "--report", "report"]].concat());
    let report = finished.json();
    assert_eq!(workspace.json("report/metrics.json"), report);
    let accuracy = number(&report["accuracy"]);
    let interval = &report["confidence_intervals"]["values"]["accuracy"];
    assert!(
        number(&interval["low"]) < accuracy && accuracy < number(&interval["high"]),
        "{interval}"
    );
    assert_eq!(report["confidence_intervals"]["resamples"], 1000);
    for name in [
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier_score_loss",
        "ece",
        "matthews_corrcoef",
    ] {
        assert!(report[name].is_f64(), "{name}: {}", report[name]);
    }
    assert_eq!(report["top_3_accuracy"], Value::Null);
    assert_eq!(report["reliability"].as_array().unwrap().len(), 15);

    // Slices: 24 rows of each subject, all of few tokens; their accuracies make up the whole.
    let slices = |index: usize| report["slices"][index]["slices"].as_array().unwrap();
    assert_eq!(
        (&report["slices"][0]["by"], &report["slices"][1]["by"]),
        (&json!("subject"), &json!("tokens"))
    );
    assert_eq!(slices(0).len(), 6);
    assert!(slices(0).iter().all(|slice| slice["examples"] == 24));
    let mean = slices(0)
        .iter()
        .map(|slice| number(&slice["metrics"]["accuracy"]))
        .sum::<f64>()
        / 6.0;
    assert!((mean - accuracy).abs() < 1e-12);
    assert_eq!(slices(1)[0]["value"], "1-16");

    // The predictions file holds the rows, the truth and what was made of them.
    let rows = json_lines(&workspace.text("report/predictions.jsonl"));
    assert_eq!(rows.len(), 144);
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "text",
            "label",
            "subject",
            "true_label",
            "predicted_label",
            "score",
            "scores"
        ]
    );
    let right = rows.iter().filter(|row| row["true_label"] == row["predicted_label"]);
    assert!((right.count() as f64 / 144.0 - accuracy).abs() < 1e-12);

    // The most confident mistake is the wrong row with the highest score.
    let wrong = rows.iter().filter(|row| row["true_label"] != row["predicted_label"]);
    let surest = wrong.map(|row| number(&row["score"])).fold(0.0, f64::max);
    let mistake = &report["mistakes"][0];
    assert!((number(&mistake["confidence"]) - surest).abs() < 1e-12);
    let row = number(&mistake["row"]) as usize;
    assert_eq!(
        (&mistake["text"], &mistake["truth"]),
        (&rows[row - 1]["text"], &rows[row - 1]["true_label"])
    );
    let pair = &report["confused"][0];
    assert!(
        number(&pair["count"]) >= 1.0 && pair["examples"][0]["text"].is_string(),
        "{pair}"
    );
    assert!(number(&report["label_drift"]) < 0.1);
    let support = number(&report["classification_report"]["neg"]["support"]);
    assert_eq!(number(&report["label_shares"][0]["support"]), support);

    let told = workspace.succeed(&evaluate).stdout;
    for words in [
        "macro avg",
        "With intervals at 95 % (bootstrap, 1000 draws of the rows):",
        "Shares of the labels differ from those in training by",
        "Most confused:",
        " taken for ",
        "Most confident mistakes:",
        "  subject",
        "  tokens",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let message = workspace.fail(&[
        "evaluate",
        "--quiet",
        "--model",
        "model",
        "--data",
        "noisy.csv",
        "--slice",
        "topic",
    ]);
    assert!(
        message
            .starts_with("exit 2\nerror: noisy.csv: no column `topic` for --slice; found `text`, `label`, `subject`\n"),
        "{message}"
    );
}

/// The labels of a row: what it is about, and `good` if it is.
fn several() -> String {
    let line = |fields: Vec<String>| {
        let mut labels = vec![fields[0].split(' ').nth(1).unwrap().to_owned()];
        labels.extend((fields[1] == "pos").then(|| "good".to_owned()));
        json!({"text": fields[0], "labels": labels}).to_string() + "\n"
    };
    reviews().into_iter().map(line).collect()
}

#[test]
fn thresholds_are_saved_and_used_alike() {
    let workspace = Workspace::with_base();
    workspace.write("several.jsonl", several());
    let train = |output: &str, more: &[&str]| {
        workspace.train(
            "several.jsonl",
            output,
            &[&["--epochs", "3", "--set", "decision.min_support=3"], more].concat(),
        )
    };
    train("model", &[]);
    let decision = workspace.json("model/gareum.json")["decision"].clone();
    let thresholds = decision["thresholds"].as_array().unwrap();
    let names: Vec<&str> = thresholds
        .iter()
        .map(|label| label["label"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["book", "delivery", "food", "good", "movie", "price", "service"]);
    let fitted = &decision["fitted"];
    assert!(
        number(&fitted["after"]["macro_f1"]) >= number(&fitted["before"]["macro_f1"]),
        "{fitted}"
    );
    assert!(
        number(&fitted["after"]["log_loss"]) <= number(&fitted["before"]["log_loss"]),
        "{fitted}"
    );

    // Prediction and evaluation give exactly the labels that reach their thresholds.
    workspace.succeed(&[
        "evaluate",
        "--quiet",
        "--model",
        "model",
        "--data",
        "several.jsonl",
        "--report",
        "report",
    ]);
    let evaluated = json_lines(&workspace.text("report/predictions.jsonl"));
    let predicted = workspace
        .succeed(&["predict", "--quiet", "--model", "model", "--input", "several.jsonl"])
        .json_lines();
    for (evaluated, predicted) in evaluated.iter().zip(&predicted) {
        assert_eq!(evaluated["label"], predicted["label"]);
        let reached = thresholds.iter().filter(|label| {
            number(&predicted["scores"][label["label"].as_str().unwrap()]) >= number(&label["threshold"])
        });
        assert_eq!(
            predicted["label"],
            reached.map(|label| label["label"].clone()).collect::<Value>()
        );
    }
    let metrics = workspace.json("model/metrics.json");
    assert_eq!(metrics["validation"]["macro_f1"], fitted["after"]["macro_f1"]);
    assert!(!workspace.text("model/config.json").contains("threshold"));

    // The same weights without thresholds.
    train(
        "fixed",
        &[
            "--set",
            "decision.thresholds=fixed",
            "--set",
            "decision.temperature=false",
        ],
    );
    assert_eq!(
        workspace.bytes("fixed/model.safetensors"),
        workspace.bytes("model/model.safetensors")
    );
    let decision = &workspace.json("fixed/gareum.json")["decision"];
    assert_eq!(
        (&decision["temperature"], &decision["thresholds"]),
        (&json!(1.0), &Value::Null)
    );

    // A label that the model does not have.
    let damaged = workspace
        .text("model/gareum.json")
        .replace("\"label\": \"book\"", "\"label\": \"film\"");
    workspace.write("model/gareum.json", damaged);
    let message = workspace.fail(&["predict", "--quiet", "--model", "model", "--input", "several.jsonl"]);
    assert!(
        message.contains("gareum.json: decision.thresholds names `film`, which is no label of the model"),
        "{message}"
    );
}

#[test]
fn a_model_is_calibrated_again_and_abstains() {
    let workspace = trained(&["--set", "decision.temperature=false"]);
    assert_eq!(workspace.json("model/gareum.json")["decision"]["temperature"], 1.0);
    let before = workspace.json("model/gareum.json");
    let files = |workspace: &Workspace| {
        let files = workspace
            .files()
            .into_iter()
            .filter(|name| name.starts_with("model/") && !name.ends_with("gareum.json"));
        let files = files.filter(|name| workspace.path(name).is_file());
        files
            .map(|name| (name.clone(), workspace.bytes(&name)))
            .collect::<Vec<_>>()
    };
    let others = files(&workspace);
    let calibrate = ["calibrate", "--model", "model", "--data", "noisy.csv"];
    let fitting = [
        "--set",
        "decision.temperature=true",
        "--set",
        "decision.abstain.min_score=0.9",
    ];
    let finished = workspace.succeed(&[&calibrate[..], &fitting].concat());
    assert!(finished.stdout.starts_with("temperature "), "{}", finished.stdout);
    let after = workspace.json("model/gareum.json");
    assert_eq!(
        (&after["data"], &after["settings"]["data"]),
        (&before["data"], &before["settings"]["data"])
    );
    assert_eq!(after["settings"]["decision"]["abstain"]["min_score"], 0.9);
    assert_eq!(files(&workspace), others);
    let decision = &after["decision"];
    assert_eq!(
        (&decision["abstain"]["min_score"], &decision["fitted"]["examples"]),
        (&json!(0.9), &json!(144))
    );

    // Noise of one in seven leaves many rows below 0.9.
    let predict = ["predict", "--quiet", "--model", "model", "--input", "noisy.csv"];
    let rows = workspace.succeed(&predict).json_lines();
    let abstained = rows.iter().filter(|row| row["abstained"] == true).count();
    assert!(abstained > 0, "{:?}", rows[0]);
    for row in &rows {
        let best = row["scores"]
            .as_object()
            .unwrap()
            .values()
            .map(number)
            .fold(0.0, f64::max);
        assert_eq!(row["abstained"], best < 0.9);
        assert_eq!(row["predicted_label"].is_null(), best < 0.9);
    }
    let report = workspace
        .succeed(&["evaluate", "--json", "--model", "model", "--data", "noisy.csv"])
        .json();
    assert_eq!(number(&report["answered"]["examples"]) as usize, 144 - abstained);
    let temperature = number(&decision["temperature"]);
    assert_eq!(
        report["log_loss"], decision["fitted"]["after"]["log_loss"],
        "{temperature}"
    );

    for (arguments, expected) in [
        (
            vec!["calibrate", "--quiet", "--model", "nowhere", "--data", "noisy.csv"],
            "exit 2\nerror: nowhere: no such directory, and only a model of one's own can be changed",
        ),
        (
            [&calibrate[..], &["--quiet", "--set", "train.epochs=3"]].concat(),
            "exit 2\nerror: --set train.epochs: expected a key of [decision]",
        ),
        (
            [&calibrate[..], &["--quiet", "--set", "decision.target=0.9"]].concat(),
            "exit 2\nerror: decision.target is given, expected no such setting unless decision.thresholds is",
        ),
    ] {
        let message = workspace.fail(&arguments);
        assert!(message.starts_with(expected), "{message}");
    }
}

/// Each figure of `metrics.json`, as the page has it.
fn assert_tells(page: &str, metrics: &Value, names: &[&str]) {
    for name in names {
        let value = format!("{:.4}", number(&metrics[*name]));
        let cells = format!("<td><code>{name}</code></td><td class=\"number\">{value}</td>");
        assert!(page.contains(&cells), "{cells}");
    }
}

#[test]
fn a_report_has_a_page_and_pictures() {
    let workspace = Workspace::with_base();
    let mut rows = noisy();
    rows.iter_mut().for_each(|row| row[0] += " <script>alert(1)</script>");
    let header = ["text", "label", "<subject>"];
    workspace.write("noisy.csv", csv(&header, &rows));
    workspace.train("noisy.csv", "model", &["--epochs", "8"]);
    let evaluate = [
        "evaluate",
        "--model",
        "model",
        "--data",
        "noisy.csv",
        "--slice",
        "<subject>",
    ];
    let finished = workspace.succeed(&[&evaluate[..], &["--report", "report"]].concat());
    assert!(
        finished.stderr.contains("report: report/index.html"),
        "{}",
        finished.stderr
    );
    let page = assert_page(&workspace, "report");
    let metrics = workspace.json("report/metrics.json");
    let names = [
        "accuracy",
        "macro_f1",
        "weighted_f1",
        "roc_auc",
        "ece",
        "matthews_corrcoef",
        "log_loss",
    ];
    assert_tells(&page, &metrics, &names);
    let interval = &metrics["confidence_intervals"]["values"]["accuracy"];
    let shown = format!("{:.3} – {:.3}", number(&interval["low"]), number(&interval["high"]));
    assert!(page.contains(&shown), "{shown}");
    for text in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "By <code>&lt;subject&gt;</code>",
        "Confusion matrix",
        "ROC curves",
        "Reliability",
        "Most confident mistakes",
        "Labels in training and here",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for picture in [
        "confusion-matrix",
        "roc-curves",
        "precision-and-recall",
        "reliability",
        "by-subject",
    ] {
        assert!(
            workspace.text(&format!("report/{picture}.svg")).contains("<style>"),
            "{picture}"
        );
    }
    workspace.succeed(&[&evaluate[..], &["--report", "korean", "--lang", "ko"]].concat());
    let korean = assert_page(&workspace, "korean");
    assert!(korean.contains("<html lang=\"ko\">"));
    assert_tells(&korean, &metrics, &names);
    for text in [
        "모델 성능",
        "혼동 행렬",
        "ROC 곡선",
        "신뢰 구간",
        "가장 확신한 오답",
        "정확도",
    ] {
        assert!(korean.contains(text), "{text}");
    }
    assert!(workspace.text("korean/confusion-matrix.svg").contains("예측"));
}

#[test]
fn a_report_of_several_labels_and_of_many() {
    let workspace = Workspace::with_base();
    let both = |(place, row): (usize, Vec<String>)| {
        let more = if place % 3 == 0 { ",third" } else { "" };
        vec![row[0].clone(), format!("{}{more}", row[1])]
    };
    let rows: Vec<Vec<String>> = reviews().into_iter().enumerate().map(both).collect();
    workspace.write("several.csv", csv(&["text", "label"], &rows));
    workspace.train("several.csv", "several", &["--set", "task=multi_label"]);
    workspace.succeed(&[
        "evaluate",
        "--model",
        "several",
        "--data",
        "several.csv",
        "--report",
        "report",
    ]);
    let page = assert_page(&workspace, "report");
    let names = ["accuracy", "macro_f1", "micro_f1", "hamming_loss", "samples_jaccard"];
    assert_tells(&page, &workspace.json("report/metrics.json"), &names);
    assert!(page.contains("F1 by threshold") && page.contains("decision.abstain.min_margin"));

    // As many labels as banking77 has, with names as long.
    let many = |(place, row): (usize, Vec<String>)| {
        vec![row[0].clone(), format!("a_rather_long_name_of_label_{}", place % 77)]
    };
    let rows: Vec<Vec<String>> = (0..8).flat_map(|_| reviews()).enumerate().map(many).collect();
    workspace.write("many.csv", csv(&["text", "label"], &rows));
    let more = [
        "--set",
        "data.drop_duplicates=false",
        "--set",
        "data.conflicts=keep",
        "--epochs",
        "1",
    ];
    workspace.train("many.csv", "many", &more);
    workspace.succeed(&[
        "evaluate",
        "--model",
        "many",
        "--data",
        "many.csv",
        "--report",
        "many-report",
    ]);
    let page = assert_page(&workspace, "many-report");
    assert!(page.contains("All 77 labels") && page.contains("the 14 labels with the lowest F1 of 77"));
}

#[test]
fn numbers_have_intervals_too() {
    let workspace = Workspace::with_base();
    let stars = |row: Vec<String>| vec![row[0].clone(), if row[1] == "pos" { "4.5" } else { "1.5" }.to_owned()];
    let rows: Vec<Vec<String>> = reviews().into_iter().map(stars).collect();
    workspace.write("stars.csv", csv(&["text", "stars"], &rows));
    workspace.train("stars.csv", "model", &["--label", "stars"]);
    let decision = &workspace.json("model/gareum.json")["decision"];
    assert_eq!(decision, &json!({"temperature": 1.0}));
    let evaluate = [
        "evaluate",
        "--quiet",
        "--model",
        "model",
        "--data",
        "stars.csv",
        "--report",
        "report",
    ];
    let told = workspace.succeed(&evaluate).stdout;
    assert!(told.contains("Largest errors:") && told.contains("rmse"), "{told}");
    let report = workspace.json("report/metrics.json");
    let interval = &report["confidence_intervals"]["values"]["rmse"];
    assert!(number(&interval["low"]) <= number(&report["rmse"]), "{interval}");
    let rows = json_lines(&workspace.text("report/predictions.jsonl"));
    assert_eq!((rows.len(), &rows[0]["true_label"]), (144, &json!(4.5)));
    let page = assert_page(&workspace, "report");
    assert_tells(&page, &report, &["rmse", "mae", "mse"]);
    assert!(page.contains("Predicted and true numbers") && page.contains("Largest errors"));
    let message = workspace.fail(&["calibrate", "--quiet", "--model", "model", "--data", "stars.csv"]);
    assert_eq!(
        message,
        "exit 2\nerror: model: a regression has neither scores nor labels to decide by\n"
    );
}
