//! Exported graphs, read and run here: their logits beside those of `transformers` (`tests/reference/encoders.py`), and those with weights of 8 bits beside
//! gareum's own. That ONNX Runtime answers the same is checked by `tests/reference/onnx_reference.py`.

mod reader;
mod runner;

use std::path::{Path, PathBuf};

use gareum::export::{self, ExportError, OnnxOptions};
use gareum::model::{HeadSource, LoadedWeights, Model, Precision};
use gareum::tokens::{Encoded, PackedBatch};
use reader::{Array, Onnx};
use serde_json::Value;
use tempfile::TempDir;
use tensor::Tape;

const ENCODERS: [&str; 13] = [
    "bert",
    "roberta",
    "electra",
    "distilbert",
    "deberta-v2",
    "deberta-v2-conv",
    "deberta-v2-c2p",
    "deberta-v2-p2c",
    "deberta-v2-plain",
    "bart",
    "mbart",
    "modernbert",
    "modernbert_mean",
];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/reference/fixtures")
        .join(name)
}

/// A fixture with a vocabulary of letters.
fn model(name: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture(name).join(file), directory.path().join(file)).unwrap();
    }
    let config = json(&directory.path().join("config.json"));
    let letters = ('a'..='z').map(String::from);
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .map(str::to_owned)
        .into_iter()
        .chain(letters);
    let words: Vec<String> = words.take(config["vocab_size"].as_u64().unwrap() as usize).collect();
    std::fs::write(directory.path().join("vocab.txt"), words.join("\n") + "\n").unwrap();
    directory
}

const BOTH: OnnxOptions = OnnxOptions {
    is_int8: true,
    largest_file: u64::MAX,
};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn lists(value: &Value) -> Option<Vec<Vec<u32>>> {
    let list = |value: &Value| {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect()
    };
    Some(value.as_array()?.iter().map(list).collect())
}

/// The logits of sequences, padded by a token that must not matter.
fn logits(onnx: &Onnx, ids: &[Vec<u32>], types: Option<&[Vec<u32>]>) -> Vec<f64> {
    let length = ids.iter().map(Vec::len).max().unwrap();
    let padded = |rows: &[Vec<u32>], filler: u32| {
        let row = |row: &Vec<u32>| {
            let filler = std::iter::repeat_n(filler, length - row.len());
            row.iter().copied().chain(filler).map(f64::from).collect::<Vec<f64>>()
        };
        Array::new(&[rows.len(), length], rows.iter().flat_map(row).collect())
    };
    let ones: Vec<Vec<u32>> = ids.iter().map(|row| vec![1; row.len()]).collect();
    let zeros: Vec<Vec<u32>> = ids.iter().map(|row| vec![0; row.len()]).collect();
    let inputs = [
        ("input_ids", padded(ids, 4)),
        ("attention_mask", padded(&ones, 0)),
        ("token_type_ids", padded(types.unwrap_or(&zeros), 0)),
    ];
    runner::run(onnx, &inputs).remove("logits").unwrap().values
}

fn largest_difference(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter()
        .zip(other)
        .map(|(one, other)| (one - other).abs())
        .fold(0.0, f64::max)
}

#[test]
fn graphs_answer_as_the_models_do() {
    for name in ENCODERS {
        let directory = model(name);
        let output = directory.path().join("exported");
        let exported = export::onnx(directory.path(), None, &output, BOTH).unwrap();
        let [wide, narrow] =
            ["model.onnx", "model_quantized.onnx"].map(|file| Onnx::open(&output.join("onnx").join(file)));
        let has_types = json(&output.join("config.json"))["type_vocab_size"]
            .as_u64()
            .unwrap_or(0)
            > 1;
        assert_eq!(exported.inputs.contains(&"token_type_ids"), has_types, "{name}");
        for onnx in [&wide, &narrow] {
            assert_eq!((onnx.opset, onnx.domains.concat()), (17, String::new()));
            for (input, (found, kind, shape)) in exported.inputs.iter().zip(&onnx.inputs) {
                assert_eq!(
                    (input, *kind, shape.join(" ")),
                    (&found.as_str(), 7, "batch_size sequence_length".to_owned())
                );
            }
            let [(output, kind, shape)] = onnx.outputs.as_slice() else {
                panic!("{name}")
            };
            assert_eq!(
                (output.as_str(), *kind, shape.join(" ")),
                ("logits", 1, "batch_size 3".to_owned())
            );
        }
        let reference = json(&fixture(name).join("reference.json"));
        let expected = LoadedWeights::open(fixture(name).join("reference.safetensors")).unwrap();
        for (case, described) in reference["cases"].as_object().unwrap() {
            let ids = lists(&described["batch"]["input_ids"]).unwrap();
            let types = lists(&described["batch"]["token_type_ids"]);
            let found = logits(&wide, &ids, types.as_deref());
            let expected = expected.get(&format!("{case}.logits")).unwrap().to_f64_vec();
            let difference = largest_difference(&found, &expected);
            // Computed in f64; a few constants and the weights of rotations are f32.
            assert!(difference < 2e-6, "{name}, {case}: {difference}");
            let alone: Vec<f64> = (0..ids.len())
                .flat_map(|row| logits(&wide, &ids[row..=row], types.as_ref().map(|types| &types[row..=row])))
                .collect();
            assert!(largest_difference(&found, &alone) < 1e-12, "{name}, {case}");
            eight_bits(name, directory.path(), &narrow, &ids, types.as_deref());
        }
    }
}

/// Each token is quantised alone, so padding matters as little as with wide weights, and gareum's integers are those of the graph.
fn eight_bits(name: &str, directory: &Path, narrow: &Onnx, ids: &[Vec<u32>], types: Option<&[Vec<u32>]>) {
    let model = Model::load(directory, HeadSource::Checkpoint).unwrap().0;
    let wide = model.clone();
    let model = model
        .quantized(&|_| Some(tensor::DType::Int8))
        .for_prediction(Precision::F32)
        .unwrap();
    let encoded: Vec<Encoded> = (0..ids.len())
        .map(|row| Encoded {
            input_ids: ids[row].clone(),
            token_type_ids: types.map_or(vec![0; ids[row].len()], |types| types[row].clone()),
            full_length: ids[row].len(),
        })
        .collect();
    let batch = PackedBatch::new(&encoded, 0, 0);
    let answer = |model: &Model| {
        model
            .forward(&Tape::inference(), &batch, None)
            .unwrap()
            .value()
            .to_f64_vec()
    };
    let (ours, wide) = (answer(&model), answer(&wide));
    let found = logits(narrow, ids, types);
    // A number half way between two integers may become either.
    let (difference, shift) = (largest_difference(&found, &ours), largest_difference(&found, &wide));
    assert!(difference < 1e-2 && shift > 1e-5, "{name}: {difference}, {shift}");
    let alone: Vec<f64> = (0..ids.len())
        .flat_map(|row| logits(narrow, &ids[row..=row], types.map(|types| &types[row..=row])))
        .collect();
    assert!(largest_difference(&found, &alone) < 1e-12, "{name}");
}

#[test]
fn weights_are_those_of_the_model() {
    let directory = model("bert");
    let output = directory.path().join("exported");
    export::onnx(directory.path(), None, &output, BOTH).unwrap();
    let weights = LoadedWeights::open(directory.path().join("model.safetensors")).unwrap();
    let [wide, narrow] = ["model.onnx", "model_quantized.onnx"].map(|file| Onnx::open(&output.join("onnx").join(file)));
    let name = "bert.encoder.layer.1.intermediate.dense.weight";
    let (expected, found) = (weights.get(name).unwrap().to_f64_vec(), &wide.constants[name]);
    let [inputs, outputs] = found.shape[..] else {
        panic!("{:?}", found.shape)
    };
    assert_eq!((inputs, outputs), (20, 33));
    let (integers, scales) = (&narrow.constants[name], &narrow.constants[&format!("{name}_scale")]);
    let sums = &narrow.constants[&format!("{name}_sum")];
    assert_eq!((narrow.types[name], integers.shape.as_slice()), (3, &[20, 33][..]));
    for output in 0..outputs {
        let mut sum = 0.0;
        for input in 0..inputs {
            let weight = expected[output * inputs + input];
            assert_eq!(found.values[input * outputs + output], weight);
            let integer = integers.values[input * outputs + output];
            sum += integer;
            assert!((integer * scales.values[output] - weight).abs() <= 0.5001 * scales.values[output]);
        }
        assert!((sums.values[output] + sum * scales.values[output]).abs() < 1e-6);
    }
    // Tables are narrow too, the head is not.
    let kind = |name: &str| (wide.types[name], narrow.types[name]);
    assert_eq!(kind("bert.embeddings.word_embeddings.weight"), (1, 3));
    assert_eq!(kind("classifier.weight"), (1, 1));
}

#[test]
fn a_smaller_export_leaves_nothing_of_a_larger_one() {
    let directory = model("bert");
    let output = directory.path().join("exported");
    let files = |is_int8: bool, largest_file: u64| {
        let options = OnnxOptions { is_int8, largest_file };
        let exported = export::onnx(directory.path(), None, &output, options).unwrap();
        for file in &exported.files {
            let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            let data = file
                .path
                .with_file_name(format!("{}_data", file.path.file_name().unwrap().display()));
            assert_eq!((file.bytes, file.data_bytes), (size(&file.path), size(&data)));
        }
        let names = std::fs::read_dir(output.join("onnx")).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(files(true, u64::MAX), ["model.onnx", "model_quantized.onnx"]);
    let inside = Onnx::open(&output.join("onnx/model.onnx"));
    let all = [
        "model.onnx",
        "model.onnx_data",
        "model_quantized.onnx",
        "model_quantized.onnx_data",
    ];
    assert_eq!(files(true, 0), all);
    let told = &json(&output.join("config.json"))["transformers.js_config"]["use_external_data_format"];
    assert_eq!(
        (&told["model.onnx"], &told["model_quantized.onnx"]),
        (&1.into(), &1.into())
    );
    // Constants are the same wherever they stand.
    let outside = Onnx::open(&output.join("onnx/model.onnx"));
    assert_eq!((outside.constants, outside.types), (inside.constants, inside.types));
    assert_eq!(files(false, u64::MAX), ["model.onnx"]);
    assert_eq!(json(&output.join("config.json"))["transformers.js_config"], Value::Null);
    let mut beside: Vec<String> = std::fs::read_dir(&output)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    beside.sort();
    let expected = [
        "config.json",
        "onnx",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(beside, expected);
}

#[test]
fn decoders_are_refused() {
    for name in ["qwen2", "llama", "gpt_neox"] {
        let directory = model(name);
        let output = directory.path().join("exported");
        let error = export::onnx(directory.path(), None, &output, OnnxOptions::default()).unwrap_err();
        assert!(matches!(error, ExportError::Decoder(_)), "{error}");
        assert!(!output.exists());
    }
}
