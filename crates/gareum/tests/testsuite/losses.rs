//! The losses of training against PyTorch's; `tests/reference/losses.py` wrote what is compared with.

use std::path::PathBuf;

use gareum::data::{LabelSchema, Target, Task};
use gareum::head::{Distillation, LossOptions, Taught, WholeBatch, distillation_loss, hidden_loss, loss_with};
use serde_json::Value;
use tensor::{ParameterGradients, Parameters, Tape, Tensor};

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{what}: {found}, expected {expected}");
    }
}

fn fixture() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/losses.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The targets of the fixture's rows for each task.
fn targets(fixture: &Value) -> [(Task, &'static str, Vec<Target>); 3] {
    let rows = fixture["classes"].as_array().unwrap();
    let indicators = numbers(&fixture["indicators"]);
    let labels = indicators.len() / rows.len();
    let class = |class: &Value| Target::Class(class.as_u64().unwrap() as u32);
    let several = |row: &[f64]| {
        let classes = row.iter().zip(0..).filter(|(is_there, _)| **is_there > 0.0);
        Target::Classes(classes.map(|(_, class)| class).collect())
    };
    let values = numbers(&fixture["values"]);
    let values = values.iter().map(|value| Target::Value(*value as f32));
    [
        (Task::SingleLabel, "single_label", rows.iter().map(class).collect()),
        (
            Task::MultiLabel,
            "multi_label",
            indicators.chunks(labels).map(several).collect(),
        ),
        (Task::Regression, "regression", values.collect()),
    ]
}

fn schema(task: Task, labels: usize) -> LabelSchema {
    match task {
        Task::Regression => LabelSchema::regression(),
        _ => LabelSchema {
            task,
            names: (0..labels).map(|label| format!("label {label}")).collect(),
        },
    }
}

#[test]
fn losses_and_gradients_are_those_of_pytorch_however_a_batch_is_cut_up() {
    let fixture = fixture();
    let rows = fixture["classes"].as_array().unwrap();
    let logits = numbers(&fixture["logits"]);
    let labels = logits.len() / rows.len();
    for (task, name, targets) in targets(&fixture).into_iter().take(2) {
        let schema = schema(task, labels);
        for case in fixture["cases"].as_array().unwrap() {
            let options = LossOptions {
                class_weights: numbers(&case["class_weights"]),
                label_smoothing: case["label_smoothing"].as_f64().unwrap(),
                focal_gamma: case["focal_gamma"].as_f64().unwrap(),
            };
            let what = format!("{name} {options:?}");
            let normalizer = options.normalizer(&targets, &schema);
            for at_a_time in [rows.len(), 2] {
                let (mut loss, mut gradient) = (0.0, Vec::new());
                for (logits, targets) in logits.chunks(at_a_time * labels).zip(targets.chunks(at_a_time)) {
                    let mut parameters = Parameters::default();
                    let logits = Tensor::from_vec(logits.to_vec(), &[targets.len(), labels]).unwrap();
                    let logits = parameters.add("logits", logits);
                    let tape = Tape::recording();
                    let targets: Vec<&Target> = targets.iter().collect();
                    let part = tape.parameter(&parameters, logits);
                    let part = loss_with(&tape, &part, &targets, &schema, &options, normalizer).unwrap();
                    loss += part.value().to_f64_vec()[0];
                    let mut gradients = ParameterGradients::for_parameters(&parameters);
                    tape.backward(&part, &mut gradients).unwrap();
                    gradient.extend(gradients.get(logits).unwrap().to_f64_vec());
                }
                close(&[loss], &numbers(&case[name]["loss"]), &what);
                close(&gradient, &numbers(&case[name]["gradient"]), &what);
            }
        }
    }
}

#[test]
fn a_student_of_a_teacher_learns_as_in_pytorch_however_a_batch_is_cut_up() {
    let fixture = fixture();
    let count = fixture["classes"].as_array().unwrap().len();
    let all_labels = numbers(&fixture["logits"]).len() / count;
    for (task, name, targets) in targets(&fixture) {
        let schema = schema(task, all_labels);
        let labels = schema.num_labels();
        let of_labels = |values: Vec<f64>| -> Vec<f64> {
            values
                .chunks(all_labels)
                .flat_map(|row| row[..labels].to_vec())
                .collect()
        };
        let logits = of_labels(numbers(&fixture["logits"]));
        let teacher: Vec<f32> = of_labels(numbers(&fixture["teacher"]))
            .into_iter()
            .map(|value| value as f32)
            .collect();
        for case in fixture["taught"].as_array().unwrap() {
            let options = LossOptions {
                class_weights: match task {
                    Task::Regression => Vec::new(),
                    _ => numbers(&case["class_weights"]),
                },
                ..LossOptions::default()
            };
            let distillation = Distillation {
                temperature: case["temperature"].as_f64().unwrap(),
                weight: case["weight"].as_f64().unwrap(),
            };
            let labelled = case["labelled"].as_u64().unwrap() as usize;
            let whole = WholeBatch {
                rows: count,
                labelled,
                normalizer: options.normalizer(&targets[..labelled], &schema),
            };
            let row = |index: usize| Taught {
                target: (index < labelled).then(|| &targets[index]),
                teacher: &teacher[index * labels..][..labels],
            };
            for at_a_time in [count, 2] {
                let (mut loss, mut gradient) = (0.0, Vec::new());
                for (part, logits) in logits.chunks(at_a_time * labels).enumerate() {
                    let rows = logits.len() / labels;
                    let taught: Vec<Taught<'_>> = (0..rows).map(|index| row(part * at_a_time + index)).collect();
                    let mut parameters = Parameters::default();
                    let logits = Tensor::from_vec(logits.to_vec(), &[rows, labels]).unwrap();
                    let logits = parameters.add("logits", logits);
                    let tape = Tape::recording();
                    let part = tape.parameter(&parameters, logits);
                    let settings = (&options, distillation);
                    let part = distillation_loss(&tape, &part, &taught, &schema, settings, whole).unwrap();
                    loss += part.value().to_f64_vec()[0];
                    let mut gradients = ParameterGradients::for_parameters(&parameters);
                    tape.backward(&part, &mut gradients).unwrap();
                    gradient.extend(gradients.get(logits).unwrap().to_f64_vec());
                }
                let what = format!("{name} {distillation:?}, {labelled} labelled, {at_a_time} at a time");
                close(&[loss], &numbers(&case[name]["loss"]), &what);
                close(&gradient, &numbers(&case[name]["gradient"]), &what);
            }
        }
    }
}

#[test]
fn hidden_states_are_learnt_as_in_pytorch_however_a_batch_is_cut_up() {
    let fixture = fixture();
    let hidden = &fixture["hidden"];
    let rows = hidden["features"].as_array().unwrap().len();
    let [features, teacher] = ["features", "teacher"].map(|name| numbers(&hidden[name]));
    let columns = features.len() / rows;
    let teacher: Vec<f32> = teacher.iter().map(|&value| value as f32).collect();
    for at_a_time in [rows, 2] {
        let (mut loss, mut gradient) = (0.0, Vec::new());
        let parts = features.chunks(at_a_time * columns);
        for (features, teacher) in parts.zip(teacher.chunks(at_a_time * columns)) {
            let mut parameters = Parameters::default();
            let features = Tensor::from_vec(features.to_vec(), &[features.len() / columns, columns]).unwrap();
            let features = parameters.add("features", features);
            let tape = Tape::recording();
            let part = tape.parameter(&parameters, features);
            let part = hidden_loss(&tape, &part, teacher, hidden["weight"].as_f64().unwrap(), rows).unwrap();
            loss += part.value().to_f64_vec()[0];
            let mut gradients = ParameterGradients::for_parameters(&parameters);
            tape.backward(&part, &mut gradients).unwrap();
            gradient.extend(gradients.get(features).unwrap().to_f64_vec());
        }
        close(&[loss], &numbers(&hidden["loss"]), "loss");
        close(&gradient, &numbers(&hidden["gradient"]), "gradient");
    }
}
