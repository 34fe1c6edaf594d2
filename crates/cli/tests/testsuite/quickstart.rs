//! `gareum quickstart`, end to end: the whole of it, on its own data, in both languages.

use crate::workspace::Workspace;
use serde_json::Value;

/// Runs it and returns what it said on both streams, the test accuracy and the labels that its model gives to two texts.
fn quickstart(language: &str, texts: &str) -> (String, f64, Vec<Value>) {
    let workspace = Workspace::new();
    let finished = workspace.succeed(&["quickstart", "--lang", language]);
    let metrics = workspace.json("gareum-quickstart/model/metrics.json");
    let arguments = ["predict", "--quiet", "--model", "gareum-quickstart/model"];
    let predicted = workspace.run_with_input(&arguments, texts);
    let labels = predicted
        .json_lines()
        .into_iter()
        .map(|row| row["label"].clone())
        .collect();
    (
        finished.stdout + &finished.stderr,
        metrics["test"]["accuracy"].as_f64().unwrap(),
        labels,
    )
}

fn assert_said(stdout: &str, expected: &[&str]) {
    for expected in expected {
        assert!(stdout.contains(expected), "{expected}\n{stdout}");
    }
}

#[test]
fn it_trains_measures_and_leaves_a_model() {
    let (stdout, accuracy, labels) = quickstart("en", "where is my refund?\nI want to cancel my order\n");
    assert_said(
        &stdout,
        &[
            "On 661 sentences whose templates the training part does not have:",
            "encoder, trained from scratch",
            "TF-IDF + logistic regression",
            "gareum predict --model gareum-quickstart/model",
            "gareum train gareum-quickstart/gareum.toml",
            "with 27 labels: ",
            "gareum-quickstart/model/report/index.html",
        ],
    );
    assert!(accuracy > 0.7, "{accuracy}");
    assert!(labels[0].as_str().unwrap().contains("refund"), "{labels:?}");
    assert_eq!(labels[1], "cancel_order");
}

#[test]
fn it_does_so_in_korean() {
    let (stdout, accuracy, labels) = quickstart("ko", "정말 감동적인 최고의 영화\n돈과 시간이 아까운 최악의 영화\n");
    assert_said(
        &stdout,
        &[
            "학습 데이터에 없는 영화 감상평 1000개의 결과:",
            "처음부터 학습한 인코더",
            "gareum predict --model gareum-quickstart/model",
        ],
    );
    assert!(accuracy > 0.72, "{accuracy}");
    assert_eq!(labels, ["긍정", "부정"]);
}
