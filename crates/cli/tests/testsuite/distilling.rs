//! `[distillation]` and `model.layers`, end to end.

use crate::workspace::{Workspace, csv, encoder, json_lines, reviews};
use gareum::model::LoadedWeights;
use serde_json::{Value, json};

/// With a teacher of three layers.
fn taught() -> Workspace {
    let workspace = Workspace::with_base();
    let mut config = encoder();
    config.insert("num_hidden_layers".to_owned(), json!(3));
    workspace.base_of("deep", config);
    let settings = [
        "--model",
        "deep",
        "--epochs",
        "6",
        "--set",
        "decision.temperature=false",
    ];
    workspace.train("reviews.csv", "teacher", &settings);
    workspace
}

const STUDENT: [&str; 6] = [
    "--model",
    "teacher",
    "--set",
    "model.layers=1",
    "--set",
    "distillation.teacher=teacher",
];

/// What the teacher's head gets is learnt too.
const HIDDEN: [&str; 2] = ["--set", "distillation.hidden_weight=0.5"];

fn losses(workspace: &Workspace, model: &str) -> Vec<f64> {
    let state = workspace.json(&format!("{model}/trainer_state.json"));
    let history = state["log_history"].as_array().unwrap();
    history.iter().filter_map(|entry| entry["loss"].as_f64()).collect()
}

#[test]
fn a_student_has_some_layers_of_its_base_and_learns_from_a_teacher() {
    let workspace = taught();
    workspace.train(
        "reviews.csv",
        "start",
        &[
            &STUDENT[..4],
            &["--set", "train.max_steps=1", "--set", "train.learning_rate=1e-30"],
        ]
        .concat(),
    );
    let open = |model: &str| LoadedWeights::open(workspace.path(model).join("model.safetensors")).unwrap();
    let (teacher, student) = (open("teacher"), open("start"));
    let mut layers = 0;
    for name in student.names() {
        let [one, other] = [&teacher, &student].map(|weights| weights.get(name).unwrap().to_f64_vec());
        let difference = one.iter().zip(&other).map(|(one, other)| (one - other).abs());
        assert!(difference.fold(0.0, f64::max) < 1e-12, "{name}");
        layers += usize::from(name.contains("layer.0."));
        assert!(!name.contains("layer.1."));
    }
    assert_eq!(layers, 16);

    let finished = workspace.train(
        "reviews.csv",
        "student",
        &[&STUDENT[..], &HIDDEN, &["--epochs", "4"]].concat(),
    );
    assert_eq!(finished.stderr, "");
    assert_eq!(workspace.json("student/config.json")["num_hidden_layers"], 1);
    let description = &workspace.json("student/gareum.json");
    assert_eq!(
        description["settings"]["distillation"],
        json!({"teacher": "teacher", "temperature": 2.0, "weight": 0.5, "hidden_weight": 0.5})
    );
    assert_eq!(description["settings"]["model"]["layers"], 1);
    assert!(
        workspace
            .text("student/README.md")
            .contains("It learnt from a teacher too, `teacher`")
    );
    let evaluate = ["evaluate", "--model", "student", "--data", "reviews.csv", "--json"];
    let accuracy = workspace.succeed(&evaluate).json()["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn a_file_of_predictions_teaches_what_its_model_does() {
    let workspace = taught();
    workspace.write(
        "texts.csv",
        csv(
            &["text"],
            &[vec!["the movie is good".to_owned()], vec!["a poor book".to_owned()]],
        ),
    );
    let all: Vec<Vec<String>> = reviews().into_iter().map(|row| vec![row[0].clone()]).collect();
    let more = [vec!["the movie is good".to_owned()], vec!["a poor book".to_owned()]];
    workspace.write("all.csv", csv(&["text"], &[&all[..], &more].concat()));
    for output in ["teacher.jsonl", "teacher.csv"] {
        workspace.succeed(&[
            "predict", "--model", "teacher", "--input", "all.csv", "--output", output,
        ]);
    }
    let settings = ["--set", "train.logging_steps=1", "--set", "train.precision=f32"];
    let with = ["--set", "distillation.unlabelled=texts.csv"];
    workspace.train("reviews.csv", "of-model", &[&STUDENT[..], &settings, &with].concat());
    let (expected, rows) = (
        losses(&workspace, "of-model"),
        json_lines(&workspace.text("teacher.jsonl")),
    );
    assert!(rows.len() == 146 && expected.len() > 20);
    assert_eq!(workspace.json("of-model/gareum.json")["data"]["rows"]["unlabelled"], 2);
    assert!(workspace.text("of-model/README.md").contains("2 texts without labels"));
    for file in ["teacher.jsonl", "teacher.csv"] {
        let teacher = format!("distillation.teacher={file}");
        let student = [&STUDENT[..4], &["--set", &teacher], &settings, &with].concat();
        workspace.train("reviews.csv", "of-file", &student);
        let found = losses(&workspace, "of-file");
        assert_eq!(found.len(), expected.len());
        // The teacher itself computes in bf16 where there are instructions for it; probabilities have lost a digit at the ends.
        let close = found
            .iter()
            .zip(&expected)
            .filter(|(found, expected)| (*found - *expected).abs() < 2e-2);
        assert!(close.count() > expected.len() - 3, "{found:?} {expected:?}");
        assert_ne!(found[0], 0.0);
    }
    // What its head gets costs something too, which a file cannot say.
    workspace.train(
        "reviews.csv",
        "hidden",
        &[&STUDENT[..], &HIDDEN, &settings, &with].concat(),
    );
    let hidden = losses(&workspace, "hidden");
    assert!(hidden[0] > expected[0] + 1e-3, "{hidden:?} {expected:?}");
    assert!(hidden.last() < hidden.first(), "{hidden:?}");
    // Without its teacher it learns something else.
    workspace.train("reviews.csv", "alone", &[&STUDENT[..4], &settings].concat());
    assert!((losses(&workspace, "alone")[0] - expected[0]).abs() > 1e-3);
}

#[test]
fn a_resumed_student_is_the_uninterrupted_one() {
    let workspace = taught();
    let settings = ["--set", "train.save_steps=4", "--set", "train.save_total_limit=9"];
    let student = [&STUDENT[..], &HIDDEN, &settings].concat();
    workspace.train("reviews.csv", "whole", &student);
    workspace.train(
        "reviews.csv",
        "resumed",
        &[&student[..], &["--resume", "whole/checkpoint-12"]].concat(),
    );
    for file in ["model.safetensors", "metrics.json", "config.json"] {
        let [one, other] = ["whole", "resumed"].map(|model| workspace.bytes(&format!("{model}/{file}")));
        assert!(one == other, "{file} differs");
    }
    // Another teacher, or none, would make another run of it.
    let alone = [&STUDENT[..4], &settings, &["--resume", "whole/checkpoint-12"]].concat();
    let error = workspace
        .run(&crate::workspace::training("reviews.csv", "other", &alone))
        .stderr;
    assert!(
        error.contains("the hash of the teacher's answers is none now and was"),
        "{error}"
    );
    let dry = workspace.succeed(
        &[
            &crate::workspace::training("reviews.csv", "dry", &student)[..],
            &["--dry-run", "--json"],
        ]
        .concat(),
    );
    assert_eq!(dry.json()["fits"], json!(true));
}

#[test]
fn several_labels_and_numbers_are_taught_too() {
    let workspace = Workspace::with_base();
    let labels = |row: Vec<String>| {
        let subject = if row[0].contains("movie") { ",film" } else { "" };
        vec![row[0].clone(), format!("{}{subject}", row[1])]
    };
    let stars = |row: Vec<String>| vec![row[0].clone(), (if row[1] == "pos" { "4.5" } else { "0.5" }).to_owned()];
    let several: Vec<Vec<String>> = reviews().into_iter().map(labels).collect();
    let numbers: Vec<Vec<String>> = reviews().into_iter().map(stars).collect();
    for (task, rows) in [("multi_label", several), ("regression", numbers)] {
        let (data, task) = (format!("{task}.csv"), format!("task={task}"));
        workspace.write(&data, csv(&["text", "label"], &rows));
        workspace.train(&data, "teacher", &["--set", &task, "--epochs", "8"]);
        let student = [
            "--set",
            &task,
            "--set",
            "distillation.teacher=teacher",
            "--set",
            "distillation.weight=1.0",
        ];
        let finished = workspace.train(&data, "student", &[&student[..], &["--epochs", "8", "--json"]].concat());
        let test = &finished.json()["test"];
        let is_good = match task.as_str() {
            "task=regression" => test["pearson"].as_f64().unwrap() > 0.9,
            _ => test["micro_f1"].as_f64().unwrap() > 0.8,
        };
        assert!(is_good, "{task}: {test}");
    }
}

#[test]
fn what_cannot_be_taught_is_named() {
    let workspace = taught();
    let fail = |more: &[&str]| workspace.fail(&crate::workspace::training("reviews.csv", "student", more));
    insta::assert_snapshot!("distillation_no_teacher", fail(&["--set", "distillation.weight=0.5"]));
    insta::assert_snapshot!(
        "distillation_lora",
        fail(&["--set", "lora.rank=2", "--set", "model.layers=1"])
    );
    insta::assert_snapshot!(
        "distillation_layers",
        fail(&["--model", "deep", "--set", "model.layers=4"])
    );
    insta::assert_snapshot!("distillation_base", fail(&["--set", "distillation.teacher=base"]));
    insta::assert_snapshot!(
        "distillation_no_directory",
        fail(&["--set", "distillation.teacher=nowhere/at/all"])
    );
    let hidden = [
        "--set",
        "distillation.teacher=teacher",
        "--set",
        "distillation.hidden_weight=1",
    ];
    let mut narrow = encoder();
    narrow.insert("hidden_size".to_owned(), 8.into());
    workspace.base_of("narrow", narrow);
    insta::assert_snapshot!(
        "distillation_width",
        fail(&[&hidden[..], &["--model", "narrow"]].concat())
    );
    let of_file = [
        "--set",
        "distillation.teacher=x.csv",
        "--set",
        "distillation.hidden_weight=1",
    ];
    insta::assert_snapshot!("distillation_hidden_of_file", fail(&of_file));
    let rename = |row: Vec<String>| {
        vec![
            row[0].clone(),
            if row[1] == "pos" {
                "good".to_owned()
            } else {
                "bad".to_owned()
            },
        ]
    };
    let rows: Vec<Vec<String>> = reviews().into_iter().map(rename).collect();
    workspace.write("renamed.csv", csv(&["text", "label"], &rows));
    let renamed = crate::workspace::training("renamed.csv", "student", &["--set", "distillation.teacher=teacher"]);
    insta::assert_snapshot!("distillation_labels", workspace.fail(&renamed));
    let of_file = ["--set", "distillation.teacher=scores.jsonl"];
    let row = |scores: Value| json!({"text": "the movie was really good", "scores": scores}).to_string() + "\n";
    for (name, contents) in [
        ("rows", row(json!({"neg": 0.1, "pos": 0.9}))),
        ("other_labels", row(json!({"bad": 0.1, "pos": 0.9}))),
        ("probability", row(json!({"neg": 10, "pos": 90}))),
        (
            "scores",
            "{\"text\": \"the movie was really good\", \"label\": \"pos\"}\n".to_owned(),
        ),
    ] {
        workspace.write("scores.jsonl", contents);
        insta::assert_snapshot!(format!("distillation_file_{name}"), fail(&of_file));
    }
}
