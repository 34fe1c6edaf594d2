//! Reports of made-up predictions.

use serde_json::json;

use super::*;
use crate::decision::{Abstain, Decision};

fn schema(task: Task) -> LabelSchema {
    LabelSchema {
        task,
        names: ["a", "b", "c"].map(str::to_owned).to_vec(),
    }
}

fn example(id: u64, target: Target) -> Example {
    Example {
        id,
        text: format!("text {id}"),
        text_pair: None,
        target,
        group: None,
    }
}

/// Classes and logits; the report with a slicing by the parity of the row.
fn single(rows: &[(u32, [f32; 3])], decision: &Decision, train_counts: Option<&[u64]>) -> Report {
    let schema = schema(Task::SingleLabel);
    let examples: Vec<Example> = (1..)
        .zip(rows)
        .map(|(id, (class, _))| example(id, Target::Class(*class)))
        .collect();
    let predictions: Vec<Prediction> = rows
        .iter()
        .map(|(_, logits)| decision.decide(logits.to_vec(), schema.task))
        .collect();
    report(&schema, &examples, &predictions, train_counts)
}

fn report(
    schema: &LabelSchema,
    examples: &[Example],
    predictions: &[Prediction],
    train_counts: Option<&[u64]>,
) -> Report {
    let targets: Vec<&Target> = examples.iter().map(|example| &example.target).collect();
    let metrics = measure(schema, &targets, predictions, None).unwrap();
    let parity = examples
        .iter()
        .map(|example| ["even", "odd"][example.id as usize % 2].to_owned())
        .collect();
    let judged = Judged {
        schema,
        examples,
        predictions,
    };
    let bootstrap = Bootstrap {
        resamples: 50,
        ..Bootstrap::default()
    };
    judged
        .report(metrics, train_counts, &[("parity".to_owned(), parity)], &bootstrap)
        .unwrap()
}

const ROWS: [(u32, [f32; 3]); 6] = [
    (0, [2.0, 0.0, 0.0]),
    (0, [0.0, 1.0, 0.0]),
    (0, [0.0, 3.0, 0.0]),
    (1, [0.0, 2.0, 0.0]),
    (2, [4.0, 0.0, 0.0]),
    (2, [0.0, 0.0, 0.1]),
];

#[test]
fn mistakes_of_single_labels() {
    let report = single(&ROWS, &Decision::default(), Some(&[1, 1, 2]));
    let pair = &report.confused[0];
    assert_eq!(
        (pair.label.as_str(), pair.predicted.as_str(), pair.count),
        ("a", "b", 2)
    );
    assert!((pair.share - 2.0 / 3.0).abs() < 1e-12);
    let rows = |examples: &[ExampleShown]| examples.iter().map(|example| example.row).collect::<Vec<_>>();
    assert_eq!(rows(&pair.examples), [3, 2]);
    assert_eq!(report.confused.len(), 2);
    let order: Vec<u64> = report.mistakes.iter().map(|mistake| mistake.example.row).collect();
    assert_eq!(order, [5, 3, 2]);
    assert_eq!(
        (&report.mistakes[0].truth, &report.mistakes[0].predicted),
        (&json!("c"), &json!("a"))
    );
    // Shares of 3/6, 1/6, 2/6 against 1/4, 1/4, 2/4.
    assert!((report.label_drift.unwrap() - 0.25).abs() < 1e-12);
    assert_eq!(report.label_shares[0].train_share, Some(0.25));
    assert!(report.answered.is_none());
    assert!(report.confidence_intervals.of("accuracy").is_some());
}

/// A mean over labels is of those that occur.
#[test]
fn slices_have_labels_of_their_own() {
    let report = single(&ROWS, &Decision::default(), None);
    assert_eq!(report.label_drift, None);
    let slices = &report.slices[0];
    assert_eq!(slices.by, "parity");
    let values: Vec<(&str, usize)> = slices
        .slices
        .iter()
        .map(|slice| (slice.value.as_str(), slice.examples))
        .collect();
    assert_eq!(values, [("even", 3), ("odd", 3)]);
    // Rows 2, 4 and 6: a as b, b, c. F1 of a, b, c: 0, 2/3, 1.
    let even = &slices.slices[0];
    assert!((even.metrics["macro_f1"].unwrap() - 5.0 / 9.0).abs() < 1e-12);
    assert!((even.metrics["accuracy"].unwrap() - 2.0 / 3.0).abs() < 1e-12);
    assert!(even.confidence_intervals["accuracy"].is_some());
    // Rows 1, 3 and 5: a, a as b, c as a.
    assert!((slices.slices[1].metrics["macro_f1"].unwrap() - 0.5 / 3.0).abs() < 1e-12);
}

#[test]
fn what_is_answered() {
    let decision = Decision {
        abstain: Abstain {
            min_score: Some(0.6),
            ..Abstain::default()
        },
        ..Decision::default()
    };
    let answered = single(&ROWS, &decision, None).answered.unwrap();
    // Rows 2 and 6 are too unsure; of the others, 1 and 4 are right.
    assert_eq!((answered.examples, answered.accuracy), (4, Some(0.5)));
    assert!((answered.coverage.unwrap() - 4.0 / 6.0).abs() < 1e-12);
}

#[test]
fn mistakes_of_several_labels() {
    let schema = schema(Task::MultiLabel);
    let examples = [
        example(1, Target::Classes(vec![0, 1])),
        example(2, Target::Classes(vec![])),
    ];
    let decide = |logits: [f32; 3]| Decision::default().decide(logits.to_vec(), schema.task);
    let predictions = [decide([2.0, -3.0, 1.0]), decide([-1.0, -1.0, -1.0])];
    let report = report(&schema, &examples, &predictions, None);
    let pairs: Vec<(&str, &str)> = report
        .confused
        .iter()
        .map(|pair| (pair.label.as_str(), pair.predicted.as_str()))
        .collect();
    assert_eq!(pairs, [("b", "c")]);
    let mistakes: Vec<Option<&str>> = report.mistakes.iter().map(|mistake| mistake.label.as_deref()).collect();
    assert_eq!(mistakes, [Some("b"), Some("c")]);
    assert!(report.mistakes[0].confidence > 0.95 && report.mistakes[0].example.score < 0.05);
    assert_eq!(report.mistakes[0].truth, json!(["a", "b"]));
}

#[test]
fn numbers_have_errors() {
    let schema = LabelSchema::regression();
    let examples = [1.0, 2.0, 3.0].map(|value| example(value as u64, Target::Value(value)));
    let predictions = [1.5f32, 2.0, 1.0].map(|logit| Decision::default().decide(vec![logit], Task::Regression));
    let report = report(&schema, &examples, &predictions, None);
    assert!(report.confused.is_empty() && report.label_shares.is_empty());
    assert_eq!(
        (report.mistakes[0].confidence, &report.mistakes[0].truth),
        (2.0, &json!(3.0))
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["task"], &json["mae"]), (&json!("regression"), &json!(2.5 / 3.0)));
    assert!(json["confidence_intervals"]["values"]["mae"]["low"].is_number());
}

#[test]
fn lengths_fall_into_ranges() {
    let (by, ranges) = length_slices(&[1, 16, 17, 100, 129, 64], 120);
    assert_eq!(by, "tokens");
    assert_eq!(ranges, ["1-16", "1-16", "17-32", "65-120", "over 120 (cut)", "33-64"]);
}
