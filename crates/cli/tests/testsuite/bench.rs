//! `gareum bench`, end to end: what is said, not how fast it is.

use crate::workspace::{Workspace, assert_korean};
use serde_json::{Value, json};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[test]
fn a_trained_model_is_measured_with_the_texts_of_a_file() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    let files = workspace.files();
    let bench = [
        "bench",
        "--model",
        "model",
        "--input",
        "reviews.csv",
        "--text",
        "text",
        "--rounds",
        "2",
    ];
    let options = [
        "--precision",
        "f32",
        "--batch-size",
        "32",
        "--latency-tokens",
        "7",
        "--threads",
        "2",
    ];
    let arguments = [&bench[..], &options, &["--training", "--json"]].concat();
    let report = workspace.succeed(&arguments).json();
    assert_eq!(workspace.files(), files);
    assert_eq!(
        keys(&report),
        [
            "model",
            "precision",
            "instructions",
            "threads",
            "tokenization",
            "prediction",
            "latency",
            "training",
            "peak_memory_bytes",
            "peak_gflops"
        ]
    );
    assert_eq!(
        (&report["model"], &report["precision"], &report["threads"]),
        (&json!("model"), &json!("f32"), &json!(2))
    );
    let prediction = &report["prediction"];
    assert_eq!(
        (&prediction["examples"], &prediction["rounds"]),
        (&json!(144), &json!(2))
    );
    assert_eq!(prediction["tokens"], 144 * 7);
    let rate = number(&prediction["examples_per_second"]);
    assert!(
        (rate * number(&prediction["seconds"]) / 144.0 - 1.0).abs() < 1e-9,
        "{prediction}"
    );
    assert!(
        (number(&prediction["tokens_per_second"]) / rate / 7.0 - 1.0).abs() < 1e-9,
        "{prediction}"
    );
    assert!(number(&prediction["examples_per_second_min"]) <= rate, "{prediction}");
    assert!(number(&prediction["examples_per_second_max"]) >= rate, "{prediction}");
    let latency = &report["latency"];
    assert_eq!(latency["tokens"], 7);
    assert!(number(&latency["p50_ms"]) <= number(&latency["p99_ms"]), "{latency}");
    let training = &report["training"];
    assert_eq!(
        (&training["precision"], &training["batch_size"]),
        (&json!("f32"), &json!(32))
    );
    for share in [&prediction["share_of_peak"], &training["share_of_peak"]] {
        assert!(number(share) > 0.0 && number(share) < 1.0, "{share}");
    }
    for value in [
        &training["examples_per_second"],
        &training["peak_tensor_bytes"],
        &report["peak_gflops"],
    ] {
        assert!(number(value) > 0.0, "{report}");
    }

    let text = workspace.succeed(&[&bench[..], &["--training"]].concat()).stdout;
    for words in [
        "model         model\n",
        "144 texts of 7.0 tokens on average, sorted by length",
        "ms for 28 tokens",
        "ms a step of 32 texts",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let korean = workspace.succeed(&[&bench[..], &["--training", "--lang", "ko"]].concat());
    assert_korean(&(korean.stdout + &korean.stderr), &[]);
}

/// A pretrained encoder can be measured before it is trained.
#[test]
fn a_bare_encoder_is_measured_with_made_up_texts() {
    let workspace = Workspace::with_base();
    let arguments = [
        "bench",
        "--model",
        "base",
        "--rounds",
        "1",
        "--precision",
        "bf16",
        "--json",
    ];
    let report = workspace.succeed(&arguments).json();
    assert_eq!(
        (&report["precision"], &report["tokenization"]),
        (&json!("bf16"), &json!(null))
    );
    assert_eq!(report["prediction"]["examples"], 512);
    // The encoder has 32 positions, so the mean of 29 tokens is reached only near that.
    let mean = number(&report["prediction"]["tokens"]) / 512.0;
    assert!((5.0..=32.0).contains(&mean), "{mean}");
    assert_eq!(
        (&report["latency"]["tokens"], report.get("training")),
        (&json!(28), None)
    );
}

#[test]
fn the_processor_is_measured() {
    let workspace = Workspace::new();
    let report = workspace.succeed(&["bench", "cpu", "--rounds", "1", "--json"]).json();
    assert_eq!(
        keys(&report),
        [
            "processor",
            "instructions",
            "bf16_instructions",
            "threads",
            "peaks",
            "memory",
            "products"
        ]
    );
    let names = |list: &str, key: &str| -> Vec<Value> {
        let list = report[list].as_array().unwrap().iter();
        list.map(|entry| entry[key].clone()).collect()
    };
    assert_eq!(names("peaks", "kernel"), ["f32", "bf16"]);
    assert_eq!(names("memory", "sweep"), ["read", "update"]);
    let products = report["products"].as_array().unwrap();
    let is = |product: &&Value, form: &str, extents: [usize; 3]| {
        let found = ["rows", "inner", "columns"].map(|key| product[key].clone());
        product["form"] == form && found == extents.map(|extent| json!(extent))
    };
    for (form, extents) in [
        ("forward", [4096, 768, 2304]),
        ("forward", [4096, 3072, 768]),
        ("forward", [28, 384, 384]),
        ("weight_gradient", [3072, 4096, 768]),
    ] {
        let found = products.iter().filter(|product| is(product, form, extents));
        assert_eq!(found.count(), 2, "{form} {extents:?}");
    }
    for product in products {
        for value in ["gflops", "peak_gflops", "share_of_peak"] {
            let [median, min, max] = ["median", "min", "max"].map(|key| number(&product[value][key]));
            assert!(0.0 < min && min <= median && median <= max, "{product}");
        }
    }

    let korean = workspace.succeed(&["bench", "cpu", "--rounds", "0", "--lang", "ko"]);
    for words in ["모든 스레드", "메모리 읽기", "GB/s", "사용하는 스레드"] {
        assert!(korean.stdout.contains(words), "{words} in\n{}", korean.stdout);
    }
}
