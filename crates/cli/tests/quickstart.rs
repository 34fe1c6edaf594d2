//! `gareum quickstart`, end to end: the whole of it, on its own data.

mod workspace;

use serde_json::Value;
use workspace::Workspace;

#[test]
fn quickstart_trains_measures_and_leaves_a_model() {
    let workspace = Workspace::new();
    let finished = workspace.succeed(&["quickstart"]);
    for expected in [
        "On 661 test sentences whose templates the training part does not have:",
        "encoder, trained from scratch",
        "TF-IDF + logistic regression",
        "gareum predict --model gareum-quickstart/model",
    ] {
        assert!(finished.stdout.contains(expected), "{expected}\n{}", finished.stdout);
    }
    let metrics = workspace.json("gareum-quickstart/model/metrics.json");
    let accuracy = metrics["test"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.7, "{accuracy}");

    let predicted = workspace.run_with_input(
        &["predict", "--quiet", "--model", "gareum-quickstart/model"],
        "where is my refund?\nI want to cancel my order\n",
    );
    let labels: Vec<Value> = predicted
        .json_lines()
        .into_iter()
        .map(|row| row["label"].clone())
        .collect();
    assert!(labels[0].as_str().unwrap().contains("refund"), "{labels:?}");
    assert_eq!(labels[1], "cancel_order");
}
