//! `gareum compress`, end to end.

use crate::workspace::{Workspace, csv, json_lines, reviews};
use serde_json::{Value, json};

/// The arguments of a command line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// With a model of the reviews that has learned.
fn trained() -> Workspace {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &["--epochs", "8"]);
    workspace
}

fn scores(workspace: &Workspace, model: &str) -> Vec<Value> {
    workspace.succeed(&[
        "predict",
        "--model",
        model,
        "--input",
        "reviews.csv",
        "--output",
        "out.jsonl",
    ]);
    json_lines(&workspace.text("out.jsonl"))
        .into_iter()
        .map(|row| row["scores"].clone())
        .collect()
}

#[test]
fn eight_bits_say_the_same() {
    let workspace = trained();
    let compress = [
        "compress", "--to", "int8", "--model", "model", "--output", "small", "--json",
    ];
    let report = workspace
        .succeed(&[&compress[..], &["--data", "reviews.csv"]].concat())
        .json();
    assert_eq!(workspace.json("small/compression.json"), report);
    assert_eq!(report["judgement"]["passed"], true);
    let standings = &report["comparison"]["contestants"];
    let bytes = |index: usize| number(&standings[index]["cost"]["disk_bytes"]);
    let on_disk = |model: &str| {
        std::fs::metadata(workspace.path(model).join("model.safetensors"))
            .unwrap()
            .len()
    };
    assert!(bytes(1) < 0.6 * bytes(0), "{standings}");
    // Headers are not counted.
    assert!((on_disk("small") as f64 - bytes(1)).abs() < 4096.0);

    // What was judged is what is read again, to the bit, and it is near the original.
    let evaluate = ["evaluate", "--data", "reviews.csv", "--json", "--model"];
    let again = workspace.succeed(&[&evaluate[..], &["small"]].concat()).json();
    for metric in ["accuracy", "macro_f1", "log_loss", "brier_score_loss"] {
        assert_eq!(again[metric], standings[1]["metrics"][metric], "{metric}");
    }
    let shift = |one: &Value, other: &Value| (number(&one["pos"]) - number(&other["pos"])).abs();
    let (before, after) = (scores(&workspace, "model"), scores(&workspace, "small"));
    let shifts: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(one, other)| shift(one, other))
        .collect();
    let mean = shifts.iter().sum::<f64>() / shifts.len() as f64;
    assert!(mean > 0.0 && mean < 0.02, "{mean}");
    assert!((mean - number(&report["judgement"]["shift"]["mean"])).abs() < 1e-9);

    // Its config says how it is to be read, and it can be compared and trained on.
    let config = workspace.json("small/config.json");
    assert_eq!(config["quantization_config"]["format"], "int-quantized");
    let described = &config["quantization_config"];
    let wide = ["bert.embeddings.token_type_embeddings", "classifier"];
    assert_eq!(
        (&described["quant_method"], &described["ignore"]),
        (&json!("gareum"), &json!(wide))
    );
    workspace.succeed(&words(
        "compress --to int8 --model model --output open --wide-embeddings --data reviews.csv",
    ));
    let described = &workspace.json("open/config.json")["quantization_config"];
    assert_eq!(described["quant_method"], "compressed-tensors");
    assert_eq!(described["config_groups"].as_object().unwrap().len(), 1);
    assert_eq!(described["ignore"].as_array().unwrap().len(), 4);
    workspace.succeed(&["compare", "model", "small", "--data", "reviews.csv"]);
    workspace.train("reviews.csv", "again", &["--model", "small", "--epochs", "1"]);
    assert_eq!(workspace.json("again/config.json")["quantization_config"], Value::Null);
    assert!(on_disk("again") > on_disk("small"));
}

/// Without AVX-512 there are other instructions, but the same integers.
#[test]
fn instructions_change_next_to_nothing() {
    let mut workspace = trained();
    workspace.succeed(&words(
        "compress --to int8 --model model --output small --data reviews.csv --precision f32",
    ));
    let best = scores(&workspace, "small");
    for instructions in ["avx2", "portable"] {
        workspace.environment = vec![("GAREUM_CPU", instructions.to_owned())];
        for (one, other) in best.iter().zip(&scores(&workspace, "small")) {
            let difference = (number(&one["pos"]) - number(&other["pos"])).abs();
            assert!(difference < 2e-3, "{instructions}: {difference}");
        }
    }
}

/// A regression that fits its rows closely: any other weights fit them less well.
#[test]
fn a_gate_fails_closed_and_opens_for_what_is_kept() {
    let workspace = Workspace::with_base();
    let stars = |row: Vec<String>| vec![row[0].clone(), (if row[1] == "pos" { "4.5" } else { "0.5" }).to_owned()];
    let rows: Vec<Vec<String>> = reviews().into_iter().map(stars).collect();
    workspace.write("stars.csv", csv(&["text", "label"], &rows));
    workspace.train("stars.csv", "model", &["--epochs", "20", "--set", "task=regression"]);
    let compress = [
        "compress",
        "--to",
        "int8",
        "--model",
        "model",
        "--output",
        "small",
        "--data",
        "stars.csv",
        "--gate",
        "0,0",
        "--json",
    ];
    let refused = workspace.run(&compress);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let report = refused.json();
    assert_eq!(report["judgement"]["passed"], false);
    assert!(number(&report["judgement"]["drop"]) > 0.0, "{report}");
    assert!(refused.stderr.contains("nothing was written") && !workspace.path("small").exists());

    // Half of what all of them cost is allowed.
    let allowed = number(&report["judgement"]["drop"]) / 2.0;
    let gate = format!("{},0", 100.0 * allowed);
    let compress = compress.map(|argument| if argument == "0,0" { gate.as_str() } else { argument });
    let report = workspace.succeed(&[&compress[..], &["--auto"]].concat()).json();
    assert_eq!(report["judgement"]["passed"], true);
    assert!(number(&report["judgement"]["drop"]) <= allowed, "{report}");
    let kept = report["kept"].as_array().unwrap();
    let share = number(&report["share"]);
    assert!(!kept.is_empty() && share > 0.0 && share < 1.0, "{share}");
    // Read again, the same weights are wide.
    let config = workspace.json("small/config.json");
    let ignored = config["quantization_config"]["ignore"].as_array().unwrap();
    let module = |name: &Value| json!(name.as_str().unwrap().strip_suffix(".weight").unwrap());
    assert!(kept.iter().all(|name| ignored.contains(&module(name))), "{ignored:?}");
    let evaluate = ["evaluate", "--model", "small", "--data", "stars.csv", "--json"];
    let again = workspace.succeed(&evaluate).json();
    assert_eq!(again["rmse"], report["comparison"]["contestants"][1]["metrics"]["rmse"]);
}

#[test]
fn four_bits_say_nearly_the_same() {
    let workspace = trained();
    let compress = |more: &[&str]| {
        let usual = [
            "compress",
            "--to",
            "nf4",
            "--model",
            "model",
            "--data",
            "reviews.csv",
            "--gate",
            "5,5",
            "--json",
        ];
        workspace.succeed(&[&usual[..], more].concat()).json()
    };
    let report = compress(&["--output", "small"]);
    let standings = &report["comparison"]["contestants"];
    let (before, after) = (&standings[0]["cost"], &standings[1]["cost"]);
    // On disk, each weight of so small a model has a table of more bytes than its own.
    for (bytes, share) in [("disk_bytes", 0.9), ("memory_bytes", 0.6)] {
        assert!(number(&after[bytes]) < share * number(&before[bytes]), "{standings}");
    }
    let moved = &standings[1]["moved"];
    assert_eq!(moved["shift"], report["judgement"]["shift"]);
    assert!(number(&moved["shift"]["mean"]) < 0.05, "{moved}");
    let evaluate = ["evaluate", "--data", "reviews.csv", "--json", "--model", "small"];
    let again = workspace.succeed(&evaluate).json();
    assert_eq!(again["log_loss"], standings[1]["metrics"]["log_loss"]);
    let described = &workspace.json("small/config.json")["quantization_config"];
    assert_eq!(
        (&described["quant_method"], &described["format"]),
        (&json!("gareum"), &json!("nf4"))
    );
    assert!(workspace.text("small/compression.html").contains("<svg"));

    // As bitsandbytes has it.
    compress(&["--output", "open", "--wide-embeddings"]);
    let described = &workspace.json("open/config.json")["quantization_config"];
    assert_eq!(described["quant_method"], "bitsandbytes");
    workspace.succeed(&["compare", "model", "small", "open", "--data", "reviews.csv"]);

    // It can be trained on: as a whole, or beside the weights of 4 bits as they are.
    workspace.train("reviews.csv", "again", &["--model", "open", "--epochs", "1"]);
    assert_eq!(workspace.json("again/config.json")["quantization_config"], Value::Null);
    let qlora = ["--set", "lora.rank=2", "--set", "lora.quantize_base=nf4"];
    workspace.train(
        "reviews.csv",
        "qlora",
        &[&["--model", "open", "--epochs", "1"], &qlora[..]].concat(),
    );
    scores(&workspace, "qlora");

    // Nothing to keep wide where all is rounded alike.
    for (width, dtype) in [("bf16", "bfloat16"), ("f16", "float16")] {
        let arguments = [
            "compress",
            "--to",
            width,
            "--model",
            "model",
            "--data",
            "reviews.csv",
            "--json",
        ];
        let report = workspace
            .succeed(&[&arguments[..], &["--output", width, "--gate", "5,5"]].concat())
            .json();
        let standings = &report["comparison"]["contestants"];
        let bytes = |index: usize| number(&standings[index]["cost"]["disk_bytes"]);
        assert_eq!(bytes(0), 2.0 * bytes(1));
        assert_eq!(workspace.json(&format!("{width}/config.json"))["dtype"], dtype);
        let evaluate = ["evaluate", "--data", "reviews.csv", "--json", "--model", width];
        let again = workspace.succeed(&evaluate).json();
        assert_eq!(again["log_loss"], standings[1]["metrics"]["log_loss"], "{width}");
    }
}

#[test]
fn fewer_words_say_the_same() {
    let workspace = trained();
    let size = workspace.json("model/config.json")["vocab_size"].as_u64().unwrap();
    let trim = [
        "compress", "--to", "trimmed", "--model", "model", "--gate", "0,0", "--json",
    ];
    // The words of its own run are all that there are.
    let whole = workspace.succeed(&[&trim[..], &["--output", "whole"]].concat()).json();
    assert_eq!(whole["vocabulary"][0], size);
    workspace.write("corpus.txt", "좋아요 good\n");
    let rows = csv(&["text", "label"], &reviews()[..6]);
    workspace.write("few.csv", rows);
    let few = ["--data", "few.csv", "--corpus", "corpus.txt", "--output", "small"];
    let report = workspace.succeed(&[&trim[..], &few].concat()).json();
    let left = report["vocabulary"][1].as_u64().unwrap();
    assert!(left < size, "{left} of {size}");
    let judgement = &report["judgement"];
    assert_eq!(
        (&judgement["shift"]["max"], &judgement["flipped"]),
        (&json!(0.0), &json!(0.0))
    );
    assert_eq!(workspace.json("small/config.json")["vocab_size"], left);
    let predict = |model: &str| {
        let arguments = [
            "predict", "--quiet", "--model", model, "--input", "few.csv", "--text", "text",
        ];
        json_lines(&workspace.succeed(&arguments).stdout)
            .into_iter()
            .map(|row| row["scores"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(predict("small"), predict("model"));
    workspace.succeed(&words(
        "compress --to int8 --model small --output smaller --data few.csv --gate 100,100",
    ));

    insta::assert_snapshot!(
        "compress_corpus",
        workspace.fail(&words(
            "compress --to int8 --model model --output o --corpus corpus.txt --quiet"
        ))
    );
    let nothing = [
        "compress", "--to", "trimmed", "--model", "base", "--output", "o", "--data", "few.csv", "--quiet",
    ];
    insta::assert_snapshot!("compress_no_corpus", workspace.fail(&nothing));
}

#[test]
fn damaged_weights_of_four_bits_are_refused() {
    let workspace = trained();
    workspace.succeed(&words(
        "compress --to nf4 --model model --output small --data reviews.csv --gate 5,5",
    ));
    let weights = workspace.bytes("small/model.safetensors");
    let place = |needle: &[u8]| weights.windows(needle.len()).position(|window| window == needle);
    let predict = || workspace.fail(&["predict", "--model", "small", "--input", "reviews.csv", "--quiet"]);
    for (name, from, to) in [
        (
            "compress_nf4_no_scales",
            &b"query.weight.absmax"[..],
            &b"query.weight.others"[..],
        ),
        (
            "compress_nf4_quant_type",
            b"\"quant_type\":\"nf4\"",
            b"\"quant_type\":\"fp4\"",
        ),
        (
            "compress_nf4_state",
            b"\"quant_type\":\"nf4\"",
            b"\"quant_type\":\"nf4\\",
        ),
        ("compress_nf4_shape", b"\"shape\":[16,16]", b"\"shape\":[16,32]"),
    ] {
        let mut damaged = weights.clone();
        let at = place(from).unwrap_or_else(|| panic!("{name}"));
        damaged[at..][..from.len()].copy_from_slice(to);
        workspace.write("small/model.safetensors", damaged);
        insta::assert_snapshot!(name, predict());
    }
    workspace.write("small/model.safetensors", &weights);
    // What belongs to other weights.
    let config = workspace.text("small/config.json");
    workspace.write("small/config.json", workspace.text("model/config.json"));
    insta::assert_snapshot!("compress_nf4_no_description", predict());
    workspace.write("small/config.json", config);
    workspace.write("small/model.safetensors", workspace.bytes("model/model.safetensors"));
    insta::assert_snapshot!("compress_nf4_no_weights", predict());
}

#[test]
fn the_rows_of_its_own_run_are_the_default() {
    let workspace = trained();
    let compress = ["compress", "--to", "int8", "--model", "model", "--output", "small"];
    let finished = workspace.succeed(&compress);
    assert!(
        finished.stderr.contains("validation rows of the model's own run"),
        "{}",
        finished.stderr
    );
}

#[test]
fn what_cannot_be_compressed_is_named() {
    let workspace = trained();
    let fail = |more: &[&str]| workspace.fail(&[&["compress", "--to", "int8", "--quiet"], more].concat());
    let data = ["--data", "reviews.csv"];
    insta::assert_snapshot!(
        "compress_gate",
        fail(&[&data[..], &["--model", "model", "--output", "small", "--gate", "half"]].concat())
    );
    insta::assert_snapshot!(
        "compress_half_auto",
        workspace.fail(&words(
            "compress --to f16 --quiet --auto --model model --output small --data reviews.csv"
        ))
    );
    insta::assert_snapshot!(
        "compress_in_place",
        fail(&[&data[..], &["--model", "model", "--output", "model"]].concat())
    );
    insta::assert_snapshot!(
        "compress_base",
        fail(&[&data[..], &["--model", "base", "--output", "small"]].concat())
    );
    workspace.succeed(&words(
        "compress --to int8 --model model --output small --data reviews.csv",
    ));
    insta::assert_snapshot!(
        "compress_twice",
        fail(&[&data[..], &["--model", "small", "--output", "smaller"]].concat())
    );
    // Integers whose scales are gone, or of which there are too few.
    let config = workspace.text("small/config.json");
    workspace.write("small/config.json", config.replace("int-quantized", "pack-quantized"));
    insta::assert_snapshot!(
        "compress_other_format",
        workspace.fail(&["predict", "--model", "small", "--input", "reviews.csv", "--quiet"])
    );
    workspace.write("small/config.json", config);
    let weights = workspace.bytes("small/model.safetensors");
    let needle = b"query.weight_scale";
    let place = weights
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap();
    let mut hidden = weights;
    hidden[place..][..needle.len()].copy_from_slice(b"query.weight_other");
    workspace.write("small/model.safetensors", hidden);
    insta::assert_snapshot!(
        "compress_no_scale",
        workspace.fail(&["predict", "--model", "small", "--input", "reviews.csv", "--quiet"])
    );
}
