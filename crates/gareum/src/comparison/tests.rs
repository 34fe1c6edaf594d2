//! Comparisons of made-up predictions.

use serde_json::json;

use super::*;
use crate::decision::Decision;

fn schema(task: Task) -> LabelSchema {
    LabelSchema {
        task,
        names: ["a", "b", "c"].map(str::to_owned).to_vec(),
    }
}

fn examples(targets: impl IntoIterator<Item = Target>) -> Vec<Example> {
    let example = |(id, target)| Example {
        id,
        text: format!("text {id}"),
        text_pair: None,
        target,
        group: None,
    };
    (1..).zip(targets).map(example).collect()
}

fn contestant(name: &str, task: Task, logits: &[Vec<f32>]) -> Contestant {
    let decide = |logits: &Vec<f32>| Decision::default().decide(logits.clone(), task);
    Contestant {
        name: name.to_owned(),
        source: name.to_owned(),
        kind: Kind::Model,
        predictions: logits.iter().map(decide).collect(),
        cost: None,
    }
}

/// 60 rows of three classes; of each contestant, which rows it gets wrong.
fn classes(wrong: &[(&str, &dyn Fn(u32) -> bool)]) -> Comparison {
    let truth = |row: u32| row % 3;
    let rows = examples((0..60).map(|row| Target::Class(truth(row))));
    let contestants: Vec<Contestant> = wrong
        .iter()
        .map(|(name, is_wrong)| {
            let logits = |row: u32| {
                let given = if is_wrong(row) {
                    (truth(row) + 1) % 3
                } else {
                    truth(row)
                };
                (0..3).map(|id| if id == given { 2.0 } else { 0.0 }).collect()
            };
            contestant(name, Task::SingleLabel, &(0..60).map(logits).collect::<Vec<_>>())
        })
        .collect();
    Comparison::new(&schema(Task::SingleLabel), &rows, &contestants, &Bootstrap::default()).unwrap()
}

#[test]
fn a_better_one_is_told_from_one_that_only_looks_so() {
    let comparison = classes(&[
        ("poor", &|row| row % 4 == 0),
        ("good", &|row| row % 20 == 0),
        ("alike", &|row| row % 20 == 1),
    ]);
    assert_eq!(
        comparison
            .pairs
            .iter()
            .map(|pair| (pair.first.as_str(), pair.second.as_str()))
            .collect::<Vec<_>>(),
        [("poor", "good"), ("poor", "alike"), ("good", "alike")]
    );
    let [poor_good, _, good_alike] = &comparison.pairs[..] else {
        panic!("three pairs");
    };
    assert_eq!(comparison.verdict(poor_good), Verdict::Better);
    assert!(
        comparison
            .sentence(poor_good)
            .starts_with("`good` is better than `poor`: macro_f1 +0.")
    );
    assert_eq!(comparison.verdict(good_alike), Verdict::Undecided);
    assert!(comparison.sentence(good_alike).starts_with("these rows do not tell"));
    // Three of sixty are wrong in the good one, and all of them in the poor one too.
    assert_eq!(
        poor_good.mcnemar.map(|split| (split.only_first, split.only_second)),
        Some((0, 12))
    );
    assert!((poor_good.mcnemar.unwrap().p_value - 2.0 * 0.5f64.powi(12)).abs() < 1e-12);
    let corrected = poor_good.corrected_p_value.unwrap();
    assert!(corrected >= poor_good.differences["macro_f1"].unwrap().p_value);
    assert_eq!(comparison.against_first("alike"), Some(&comparison.pairs[1]));
}

#[test]
fn a_worse_one_is_called_worse() {
    let comparison = classes(&[("good", &|_| false), ("poor", &|row| row % 3 == 0)]);
    assert_eq!(comparison.verdict(&comparison.pairs[0]), Verdict::Worse);
    let changes = &comparison.changes[0];
    assert_eq!(
        (changes.fixed, changes.broken, changes.both_right, changes.both_wrong),
        (0, 20, 40, 0)
    );
    let row = &changes.broken_rows[0];
    assert_eq!(
        (row.row, &row.truth, &row.before, &row.after),
        (1, &json!("a"), &json!("a"), &json!("b"))
    );
    // The label that is never found comes first, then the one given for it.
    let labels: Vec<(&str, u64)> = comparison
        .labels
        .iter()
        .map(|label| (label.label.as_str(), label.support))
        .collect();
    assert_eq!(labels, [("a", 20), ("b", 20), ("c", 20)]);
    assert_eq!(comparison.labels[0].f1, [Some(1.0), Some(0.0)]);
    assert!(comparison.labels[0].differences[0].unwrap().p_value < 0.01);
    assert_eq!(comparison.labels[2].differences[0].unwrap().value, 0.0);
}

#[test]
fn several_labels_are_right_together() {
    let truth = [vec![0, 1], vec![2], vec![]];
    let rows = examples(truth.map(Target::Classes));
    let half = contestant(
        "half",
        Task::MultiLabel,
        &[vec![1.0, -1.0, -1.0], vec![-1.0, -1.0, 1.0], vec![-1.0; 3]],
    );
    let all = contestant(
        "all",
        Task::MultiLabel,
        &[vec![1.0, 1.0, -1.0], vec![-1.0, -1.0, 1.0], vec![-1.0; 3]],
    );
    let comparison = Comparison::new(&schema(Task::MultiLabel), &rows, &[half, all], &Bootstrap::default()).unwrap();
    let changes = &comparison.changes[0];
    assert_eq!((changes.fixed, changes.broken, changes.both_right), (1, 0, 2));
    assert_eq!(changes.fixed_rows[0].before, json!(["a"]));
    assert_eq!(changes.fixed_rows[0].after, json!(["a", "b"]));
}

#[test]
fn a_smaller_error_is_better() {
    let rows = examples((0..40).map(|row| Target::Value(row as f32)));
    let off = |by: f32| {
        (0..40)
            .map(|row| vec![row as f32 + by * (1.0 + (row % 3) as f32)])
            .collect::<Vec<_>>()
    };
    let contestants = [
        contestant("far", Task::Regression, &off(0.5)),
        contestant("near", Task::Regression, &off(-0.1)),
    ];
    let comparison = Comparison::new(&LabelSchema::regression(), &rows, &contestants, &Bootstrap::default()).unwrap();
    let pair = &comparison.pairs[0];
    assert_eq!((comparison.metric, pair.mcnemar), ("rmse", None));
    assert!(pair.differences["rmse"].unwrap().value < 0.0);
    assert_eq!(comparison.verdict(pair), Verdict::Better);
    assert_eq!((comparison.changes[0].fixed, comparison.changes[0].broken), (40, 0));
    assert!(comparison.labels.is_empty());
}

#[test]
fn without_rows_nothing_is_told() {
    let contestants = ["one", "other"].map(|name| contestant(name, Task::SingleLabel, &[]));
    let comparison = Comparison::new(&schema(Task::SingleLabel), &[], &contestants, &Bootstrap::default()).unwrap();
    assert_eq!(comparison.verdict(&comparison.pairs[0]), Verdict::Undecided);
    assert!(
        comparison
            .sentence(&comparison.pairs[0])
            .contains("cannot be told apart")
    );
    // It can be drawn and written all the same.
    let language = crate::report::Language::ENGLISH;
    let (html, markdown) = (
        comparison.to_page().render(&language),
        comparison.to_page().to_markdown(&language),
    );
    assert!(!html.contains("NaN") && !markdown.contains("NaN"));
}
