//! `gareum export`, end to end. What graphs compute is tested in `crates/gareum/tests/onnx`.

use std::path::Path;

use crate::workspace::Workspace;
use serde_json::Value;

/// With a model of the reviews.
fn trained(more: &[&str]) -> Workspace {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[&["--epochs", "2"], more].concat());
    workspace
}

const EXPORT: [&str; 6] = ["export", "onnx", "--model", "model", "--output", "exported"];

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_model_for_elsewhere() {
    let workspace = trained(&[]);
    let told = workspace.succeed(&EXPORT);
    assert!(told.stdout.contains("exported/onnx/model.onnx"), "{}", told.stdout);
    for part in [
        "input_ids, attention_mask, token_type_ids",
        "docs/onnx.md",
        "saved to exported",
    ] {
        assert!(told.stderr.contains(part), "{}", told.stderr);
    }
    assert!(!told.stderr.contains("8 bits"), "{}", told.stderr);

    let exported = workspace.succeed(&[&EXPORT[..], &["--int8", "--json"]].concat()).json();
    let bytes = |index: usize| exported["files"][index]["bytes"].as_u64().unwrap();
    for (index, name) in ["exported/onnx/model.onnx", "exported/onnx/model_quantized.onnx"]
        .iter()
        .enumerate()
    {
        assert_eq!(exported["files"][index]["path"], *name);
        assert_eq!(bytes(index), workspace.bytes(name).len() as u64);
    }
    let beside = workspace.at("exported").files();
    let mut expected = vec!["config.json", "gareum.json", "metrics.json", "onnx", "onnx/model.onnx"];
    expected.extend([
        "onnx/model_quantized.onnx",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]);
    assert_eq!(beside.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for file in ["config.json", "gareum.json", "tokenizer.json"] {
        assert_eq!(
            workspace.json(&format!("exported/{file}")),
            workspace.json(&format!("model/{file}"))
        );
    }
    // The weights are those of the model, a norm's as they stand there.
    let [weights, graph] = ["model/model.safetensors", "exported/onnx/model.onnx"].map(|file| workspace.bytes(file));
    let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + length]).unwrap();
    let place = &header["bert.embeddings.LayerNorm.weight"]["data_offsets"];
    let place = [0, 1].map(|end| 8 + length + place[end].as_u64().unwrap() as usize);
    assert!(holds(&graph, &weights[place[0]..place[1]]));
}

#[test]
fn integers_that_a_gate_let_through_are_exported_as_they_are() {
    let workspace = trained(&[]);
    let data = ["--data", "reviews.csv", "--gate", "100,100"];
    workspace.succeed(
        &[
            &["compress", "--to", "int8", "--model", "model", "--output", "small"],
            &data[..],
        ]
        .concat(),
    );
    let told = workspace.succeed(&[&EXPORT[..], &["--int8"]].concat());
    assert!(
        told.stderr.contains("gareum compress does that behind a gate"),
        "{}",
        told.stderr
    );
    let of_small = ["export", "onnx", "--int8", "--model", "small", "--output", "again"];
    let told = workspace.succeed(&of_small);
    assert!(!told.stderr.contains("behind a gate"), "{}", told.stderr);
    let graph = |directory: &str| workspace.bytes(&format!("{directory}/onnx/model_quantized.onnx"));
    assert_eq!(graph("again"), graph("exported"));
    // The wide graph beside it is a plain model's.
    assert_eq!(
        workspace.json("again/config.json"),
        workspace.json("exported/config.json")
    );
}

/// A graph holds the numbers that 4 bits stand for: other ones than before, and as many.
#[test]
fn weights_of_four_bits_are_exported_wide() {
    let workspace = trained(&[]);
    let data = ["--data", "reviews.csv", "--gate", "100,100"];
    let compress = ["compress", "--to", "nf4", "--model", "model", "--output", "small"];
    workspace.succeed(&[&compress[..], &data].concat());
    for (model, output) in [("model", "exported"), ("small", "again")] {
        workspace.succeed(&["export", "onnx", "--int8", "--model", model, "--output", output]);
    }
    let graph = |directory: &str| workspace.bytes(&format!("{directory}/onnx/model.onnx"));
    assert_eq!(graph("exported").len(), graph("again").len());
    assert_ne!(graph("exported"), graph("again"));
    // A table that was of 8 bits is so in the narrow graph as well.
    let narrow = |directory: &str| workspace.bytes(&format!("{directory}/onnx/model_quantized.onnx"));
    assert_eq!(narrow("exported").len(), narrow("again").len());
    assert_ne!(narrow("exported"), narrow("again"));
    assert_eq!(
        workspace.json("again/config.json"),
        workspace.json("exported/config.json")
    );
}

#[test]
fn adapters_are_merged_first() {
    let workspace = trained(&["--set", "lora.rank=2"]);
    workspace.succeed(&EXPORT);
    workspace.succeed(&["merge", "--model", "model", "--output", "merged"]);
    workspace.succeed(&["export", "onnx", "--model", "merged", "--output", "of-merged"]);
    let graph = |directory: &str| workspace.bytes(&format!("{directory}/onnx/model.onnx"));
    assert_eq!(graph("exported"), graph("of-merged"));
    assert!(!workspace.path("exported/adapter_config.json").exists());
}

#[test]
fn what_cannot_be_exported_is_named() {
    let workspace = trained(&[]);
    let fail = |model: &str, output: &str| {
        workspace.fail(&["export", "onnx", "--quiet", "--model", model, "--output", output])
    };
    assert_eq!(
        fail("nowhere", "exported").lines().nth(1),
        Some("error: nowhere/config.json: No such file or directory (os error 2)")
    );
    assert!(fail("base", "exported").contains("the checkpoint has no classification head"));
    assert!(fail("model", "reviews.csv").contains("reviews.csv is a file"));
    assert_eq!(
        fail("model", "model"),
        "exit 2\nerror: model: there is a model, whose config and tokenizer the export would replace\nhint: name another directory with --output\n"
    );
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/qwen2");
    std::fs::create_dir(workspace.path("qwen")).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(file), workspace.path("qwen").join(file)).unwrap();
    }
    workspace.write("qwen/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
    let error = fail("qwen", "exported");
    let expected =
        "exit 2\nerror: qwen2: decoders are not exported: transformers.js has no classifiers of this family\n";
    assert!(error.starts_with(expected), "{error}");
    assert!(!workspace.path("exported").exists());
}

#[test]
fn help_has_an_example() {
    let workspace = Workspace::new();
    let help = workspace.succeed(&["export", "onnx", "--help"]).stdout;
    assert!(
        help.contains("gareum export onnx --model models/reviews --output reviews-onnx --int8"),
        "{help}"
    );
    let korean = workspace.succeed(&["export", "onnx", "--help", "--lang", "ko"]).stdout;
    assert!(korean.contains("transformers.js가 읽는"), "{korean}");
}
