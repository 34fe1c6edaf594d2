//! The losses of training against PyTorch's; `tests/reference/losses.py` wrote what is compared with.

use std::path::PathBuf;

use gareum::data::{LabelSchema, Target, Task};
use gareum::head::{LossOptions, loss_with};
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

#[test]
fn losses_and_gradients_are_those_of_pytorch_however_a_batch_is_cut_up() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/losses.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = fixture["classes"].as_array().unwrap();
    let logits = numbers(&fixture["logits"]);
    let labels = logits.len() / rows.len();
    let indicators = numbers(&fixture["indicators"]);
    let several = |row: &[f64]| {
        let classes = row.iter().zip(0..).filter(|(is_there, _)| **is_there > 0.0);
        Target::Classes(classes.map(|(_, class)| class).collect())
    };
    for (task, name, targets) in [
        (
            Task::SingleLabel,
            "single_label",
            rows.iter()
                .map(|class| Target::Class(class.as_u64().unwrap() as u32))
                .collect::<Vec<_>>(),
        ),
        (
            Task::MultiLabel,
            "multi_label",
            indicators.chunks(labels).map(several).collect(),
        ),
    ] {
        let schema = LabelSchema {
            task,
            names: (0..labels).map(|label| format!("label {label}")).collect(),
        };
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
