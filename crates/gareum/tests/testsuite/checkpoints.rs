//! One model in all the forms that checkpoints come in (`tests/reference/checkpoints.py` wrote them): the same bits from each.

use std::path::{Path, PathBuf};

use gareum::data::{LabelSchema, Task};
use gareum::model::{HeadSource, LoadNotes, LoadOptions, Model, ModelError};
use gareum::tokens::{Encoded, PackedBatch};
use tempfile::TempDir;
use tensor::Tape;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/checkpoints")
}

/// A model directory with `config.json` and these files of the fixtures, each under another name.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in [("config.json", "config.json")].iter().chain(files) {
        let to = directory.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(fixtures().join(from), to).unwrap();
    }
    directory
}

fn load(directory: &TempDir, options: &LoadOptions) -> Result<(Model, LoadNotes), ModelError> {
    Model::load_with(directory.path(), HeadSource::Checkpoint, options)
}

/// Loads, and compares with the reference bit by bit.
fn check(directory: &TempDir, options: &LoadOptions) -> LoadNotes {
    let (model, notes) = load(directory, options).unwrap();
    let (reference, _) = Model::load(&fixtures(), HeadSource::Checkpoint).unwrap();
    assert_eq!(model.parameters.len(), reference.parameters.len());
    for ((_, name, value), (_, other, expected)) in model.parameters.iter().zip(reference.parameters.iter()) {
        assert_eq!(name, other);
        assert_eq!(value.shape(), expected.shape(), "{name}");
        assert_eq!(value.to_f32_vec(), expected.to_f32_vec(), "{name}");
    }
    assert!(notes.fresh.is_empty(), "{notes:?}");
    notes
}

fn refused(files: &[(&str, &str)], options: &LoadOptions) -> String {
    let directory = directory(files);
    let error = load(&directory, options).err().unwrap().to_string();
    error.replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn every_form_gives_the_same_bits() {
    for file in [
        "plain.bin",
        "protocol4.bin",
        "before-1.6.bin",
        "parameters.bin",
        "types.bin",
        "views.bin",
        "parallel.pt",
        "old-names.bin",
    ] {
        let notes = check(&directory(&[(file, "pytorch_model.bin")]), &LoadOptions::default());
        assert!(notes.unused.is_empty(), "{file}: {notes:?}");
    }
}

#[test]
fn parts_are_joined() {
    for (folder, first, second, index) in [
        (
            "shards-safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        ),
        (
            "shards-bin",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
        ),
    ] {
        let paths = [first, second, index].map(|name| (format!("{folder}/{name}"), name));
        let files: Vec<_> = paths.iter().map(|(from, to)| (from.as_str(), *to)).collect();
        let directory = directory(&files);
        check(&directory, &LoadOptions::default());
        let index = directory.path().join(index);
        let text = std::fs::read_to_string(&index).unwrap();
        let with = |changed: String| {
            std::fs::write(&index, changed).unwrap();
            load(&directory, &LoadOptions::default()).err().unwrap().to_string()
        };
        let error = with(text.replace(&format!("\"{second}\""), "\"absent.bin\""));
        assert!(error.contains("the part `absent.bin` is missing"), "{error}");
        let error = with(text.replace(&format!("\"{second}\""), &format!("\"{first}\"")));
        assert!(
            error.contains(&format!("is not in `{first}`, where it should be")),
            "{error}"
        );
        let error = with(text.replace(&format!("\"{second}\""), "\"../secret.bin\""));
        assert!(error.contains("and that is no file beside it"), "{error}");
        for damaged in ["{\"weight_map\": 3}", "{\"weight_map\": {}}", "[]"] {
            let error = with(damaged.to_owned());
            assert!(error.contains("there is no `weight_map`"), "{error}");
        }
        let error = with(text[..100].to_owned());
        assert!(error.contains("not JSON"), "{error}");
    }
}

#[test]
fn weights_of_ones_own_class() {
    let directory = directory(&[("own-class.pt", "best.pt")]);
    let named = |pairs: &[(&str, &str)]| LoadOptions {
        weights: Some("best.pt".into()),
        prefix_map: pairs
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect(),
        ..LoadOptions::default()
    };
    let map = [("net.encoder.", "bert."), ("net.fc.", "classifier.")];
    check(&directory, &named(&map));
    let by_path = LoadOptions {
        weights: Some(directory.path().join("best.pt")),
        ..named(&map)
    };
    check(&directory, &by_path);
    let error = |pairs: &[(&str, &str)]| load(&directory, &named(pairs)).err().unwrap().to_string();
    let message = error(&[("net.fc.", "classifier.")]);
    assert!(
        message.contains("tensors are missing: `bert.embeddings.word_embeddings.weight`"),
        "{message}"
    );
    let hint = "under [model] in gareum.toml: prefix_map = { \"net.encoder.\" = \"bert.\" }";
    assert!(message.contains(hint), "{message}");
    let message = error(&[("encoder.", "bert.")]);
    assert!(
        message.contains("no tensor begins with `encoder.`; there are `net.`"),
        "{message}"
    );
    let message = error(&[("net.encoder.", "bert."), ("net.fc.", "bert.pooler.dense.")]);
    assert!(message.contains("would both be `bert.pooler.dense."), "{message}");
}

#[test]
fn what_is_refused_is_named() {
    let check = |file: &str, expected: &[&str]| {
        let message = refused(&[(file, "pytorch_model.bin")], &LoadOptions::default());
        for expected in expected {
            assert!(message.contains(expected), "{file}: {message}");
        }
        assert!(message.starts_with("DIR/pytorch_model.bin: "), "{message}");
    };
    let save = "hint: save the tensors alone: `torch.save(model.state_dict(), FILE)`";
    check("refused-call.bin", &["it wants to call `posix.system`", save]);
    check("refused-object.bin", &["`torch.nn.modules.linear.Linear`", save]);
    check("refused-sparse.bin", &["`torch._utils._rebuild_sparse_tensor`", save]);
    check("refused-list.bin", &["it holds no tensors with names, but a list"]);
    check("refused-script.pt", &["a TorchScript program, not weights"]);
    check("refused-big-endian.bin", &["big-endian", "save_file("]);
}

#[test]
fn foreign_weights_are_refused_with_the_command() {
    let directory = directory(&[]);
    let error = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, "").unwrap();
        let error = load(&directory, &LoadOptions::default()).err().unwrap().to_string();
        std::fs::remove_file(path).unwrap();
        error
    };
    let message = error("tf_model.h5");
    for expected in [
        "those of TensorFlow",
        "transformers<5",
        "AutoModelForSequenceClassification",
        "from_tf=True",
    ] {
        assert!(message.contains(expected), "{message}");
    }
    assert!(error("flax_model.msgpack").contains("from_flax=True"));
}

/// `modules.json` of sentence-transformers, of today and of before.
#[test]
fn the_encoder_of_a_sentence_model() {
    let modules = |folder: &str| {
        format!(
            r#"[{{"idx": 0, "name": "0", "path": "{folder}", "type": "sentence_transformers.models.Transformer"}},
                {{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}}]"#
        )
    };
    for (folder, prefix) in [("", ""), ("0_Transformer", "0_Transformer/")] {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(prefix)).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(fixtures().join(file), root.path().join(format!("{prefix}{file}"))).unwrap();
        }
        std::fs::write(root.path().join("modules.json"), modules(folder)).unwrap();
        assert!(check(&root, &LoadOptions::default()).in_sentence_model);
    }
    let root = tempfile::tempdir().unwrap();
    let error = |text: &str| {
        std::fs::write(root.path().join("modules.json"), text).unwrap();
        load(&root, &LoadOptions::default()).err().unwrap().to_string()
    };
    assert!(error("{}").contains("it names no modules"));
    assert!(error(r#"[{"type": "x.Pooling"}]"#).contains("no module is a transformer, but `x.Pooling`"));
    assert!(error(&modules("../elsewhere")).contains("`../elsewhere` is not a folder of the model"));
    assert!(error("[").contains("not JSON"));
}

#[test]
fn generators_are_refused_unless_allowed() {
    let root = tempfile::tempdir().unwrap();
    let electra = fixtures().join("../electra");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(electra.join(file), root.path().join(file)).unwrap();
    }
    let path = root.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("ElectraForSequenceClassification", "ElectraForMaskedLM"),
    )
    .unwrap();
    let error = load(&root, &LoadOptions::default()).err().unwrap();
    assert!(matches!(error, ModelError::Generator { .. }), "{error}");
    let allowed = LoadOptions {
        allow_generator: true,
        ..LoadOptions::default()
    };
    assert!(load(&root, &allowed).unwrap().1.is_generator);
}

/// klue/roberta has one token type, and a tokenizer that says 1 for the second text of a pair.
#[test]
fn a_single_token_type_is_taken_for_both_texts() {
    let config = serde_json::json!({
        "model_type": "roberta", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 6, "max_position_embeddings": 12, "type_vocab_size": 1, "pad_token_id": 1,
    });
    let schema = LabelSchema {
        task: Task::SingleLabel,
        names: vec!["no".to_owned(), "yes".to_owned()],
    };
    let model = Model::from_config(config.as_object().unwrap().clone(), schema, 1).unwrap();
    let logits = |token_type_ids: Vec<u32>| {
        let pair = Encoded {
            input_ids: vec![2, 5, 3, 7, 3],
            token_type_ids,
            full_length: 5,
        };
        let batch = PackedBatch::new([&pair], 0, 0);
        model
            .forward(&Tape::inference(), &batch, None)
            .unwrap()
            .value()
            .to_f32_vec()
    };
    assert_eq!(logits(vec![0, 0, 0, 1, 1]), logits(vec![0; 5]));
}
