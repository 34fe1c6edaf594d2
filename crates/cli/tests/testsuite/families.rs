//! Every family, from a checkpoint that `transformers` wrote: loaded, trained in each way, saved and read again. The table of families
//! in the README is what comes of it; `GAREUM_WRITE=1` writes it anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::workspace::{Workspace, vocabulary};
use serde_json::Value;

/// What a `model_type` is called, the fixture that has its weights, and the models that people know it by.
const FAMILIES: [(&str, &str, &str); 15] = [
    ("bert", "bert", "BERT, KLUE-BERT, KoBERT, MiniLM"),
    ("roberta", "roberta", "RoBERTa, KLUE-RoBERTa"),
    ("xlm-roberta", "roberta", "XLM-RoBERTa"),
    ("camembert", "roberta", "CamemBERT"),
    ("electra", "electra", "ELECTRA, KoELECTRA, KcELECTRA"),
    ("distilbert", "distilbert", "DistilBERT, DistilKoBERT"),
    ("deberta-v2", "deberta-v2-conv", "DeBERTa-v2, DeBERTa-v3"),
    ("bart", "bart", "BART, KoBART"),
    ("mbart", "mbart", "mBART"),
    ("modernbert", "modernbert", "ModernBERT"),
    ("llama", "llama", "Llama"),
    ("mistral", "mistral", "Mistral"),
    ("qwen2", "qwen2", "Qwen2, Qwen2.5"),
    ("qwen3", "qwen3", "Qwen3"),
    ("gpt_neox", "gpt_neox", "GPT-NeoX, Pythia, polyglot-ko, KoAlpaca"),
];

/// What is done with each, as the columns of the table have it.
const DONE: [&str; 8] = ["load", "train", "LoRA", "QLoRA", "save", "int8", "nf4", "ONNX"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The fixture of a family with a tokenizer for the reviews.
fn checkpoint(workspace: &Workspace, model_type: &str, fixture: &str) {
    let directory = workspace.path(model_type);
    std::fs::create_dir(&directory).unwrap();
    let fixture = root().join("tests/reference/fixtures").join(fixture);
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(file), directory.join(file)).unwrap();
    }
    workspace.configure(model_type, "model_type", model_type.into());
    let config = workspace.json(&format!("{model_type}/config.json"));
    let words = vocabulary();
    let known = words.len().min(config["vocab_size"].as_u64().unwrap() as usize);
    workspace.write(&format!("{model_type}/vocab.txt"), words[..known].join("\n") + "\n");
}

/// The scores of the reviews, of which each has as many as there are labels.
fn scores(workspace: &Workspace, model: &str, labels: usize) -> Vec<Vec<f64>> {
    let arguments = [
        "predict",
        "--quiet",
        "--input",
        "reviews.csv",
        "--text",
        "text",
        "--model",
        model,
    ];
    let lines = workspace.succeed(&arguments).json_lines();
    let of_line = |line: &Value| -> Vec<f64> {
        let scores = line["scores"].as_object().unwrap();
        scores.values().map(|score| score.as_f64().unwrap()).collect()
    };
    let scores: Vec<Vec<f64>> = lines.iter().map(of_line).collect();
    for scores in &scores {
        assert_eq!(scores.len(), labels, "{model}");
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{model}: {scores:?}");
    }
    assert!(scores.iter().any(|one| one != &scores[0]), "{model} sees no text");
    scores
}

/// What of [`DONE`] works.
fn tried(workspace: &Workspace, model_type: &str, fixture: &str) -> BTreeSet<&'static str> {
    checkpoint(workspace, model_type, fixture);
    scores(workspace, model_type, 3);
    let mut works = BTreeSet::from(["load"]);
    let usual = [
        "--model",
        model_type,
        "--epochs",
        "1",
        "--set",
        "model.reset_head=true",
        "--set",
        "train.precision=f32",
    ];
    for (way, settings) in [
        ("train", &[][..]),
        ("LoRA", &["--set", "lora.rank=2"]),
        ("QLoRA", &["--set", "lora.rank=2", "--set", "lora.quantize_base=nf4"]),
    ] {
        let output = format!("{model_type}-{way}");
        workspace.train("reviews.csv", &output, &[&usual, settings].concat());
        let saved = scores(workspace, &output, 2);
        works.insert(way);
        if way != "train" {
            let merged = format!("{output}-merged");
            workspace.succeed(&["merge", "--quiet", "--model", &output, "--output", &merged]);
            assert_eq!(scores(workspace, &merged, 2), saved, "{merged}");
            continue;
        }
        let config = workspace.json(&format!("{output}/config.json"));
        assert_eq!(config["model_type"], model_type);
        assert_eq!(config["id2label"]["1"], "pos");
        let evaluation = [
            "evaluate",
            "--quiet",
            "--json",
            "--model",
            &output,
            "--data",
            "reviews.csv",
        ];
        let loss = workspace.succeed(&evaluation).json()["loss"].as_f64().unwrap();
        assert!(loss.is_finite() && loss > 0.0, "{output}: {loss}");
        works.insert("save");
        for narrow in ["int8", "nf4"] {
            let small = format!("{output}-{narrow}");
            let compress = [
                "compress",
                "--quiet",
                "--json",
                "--gate",
                "100,100",
                "--data",
                "reviews.csv",
                "--to",
                narrow,
                "--model",
                &output,
                "--output",
                &small,
            ];
            let report = workspace.succeed(&compress).json();
            let shift = &report["judgement"]["shift"];
            let mean = shift["mean"].as_f64().unwrap();
            assert!(mean > 0.0 && mean < 0.1, "{small}: {shift}");
            // What was judged is what is read again.
            let again = scores(workspace, &small, 2);
            let moved = again.iter().zip(&saved).map(|(one, other)| (one[0] - other[0]).abs());
            let again = moved.sum::<f64>() / saved.len() as f64;
            assert!((again - mean).abs() < 1e-9, "{small}: {again} instead of {mean}");
            works.insert(narrow);
        }
        let graphs = format!("{output}-onnx");
        let export = workspace.run(&["export", "onnx", "--quiet", "--model", &output, "--output", &graphs]);
        match export.code {
            0 => assert!(workspace.path(&graphs).join("onnx/model.onnx").exists() && works.insert("ONNX")),
            // Refused with the reason, and nothing is left.
            code => assert!(
                code == 2 && export.stderr.contains("decoders") && !workspace.path(&graphs).exists(),
                "{}",
                export.stderr
            ),
        }
    }
    works
}

#[test]
fn every_family_does_what_the_readme_says() {
    let workspace = Workspace::with_base();
    // Those that there are, by the message about one that there is not.
    workspace.configure("base", "model_type", "none".into());
    let error = workspace.fail(&["predict", "--model", "base", "--input", "reviews.csv"]);
    for (model_type, ..) in FAMILIES {
        assert!(error.contains(model_type), "{error}");
    }
    let named = error
        .split(['`', ',', ';', ' ', '\n'])
        .filter(|word| FAMILIES.iter().any(|(name, ..)| name == word));
    assert_eq!(named.collect::<BTreeSet<_>>().len(), FAMILIES.len(), "{error}");

    let mut rows = Vec::new();
    for (model_type, fixture, models) in FAMILIES {
        let works = tried(&workspace, model_type, fixture);
        let mark = |done: &&str| if works.contains(done) { "yes" } else { "no" };
        let marks: Vec<&str> = DONE.iter().map(mark).collect();
        rows.push(format!("| `{model_type}` | {models} | {} |", marks.join(" | ")));
    }
    let table = |header: &str| {
        format!(
            "{header}\n|---|---|---|---|---|---|---|---|---|---|\n{}\n",
            rows.join("\n")
        )
    };
    for (file, header) in [
        (
            "README.md",
            "| `model_type` | models | load | train | LoRA | QLoRA | save | int8 | nf4 | ONNX |",
        ),
        (
            "README.ko.md",
            "| `model_type` | 모델 | 불러오기 | 학습 | LoRA | QLoRA | 저장 | int8 | nf4 | ONNX |",
        ),
    ] {
        let table = match file {
            "README.md" => table(header),
            _ => table(header).replace("yes", "예").replace("| no ", "| 아니오 "),
        };
        let path = root().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- families -->\n", "<!-- end of families -->");
        let (before, rest) = text
            .split_once(begin)
            .unwrap_or_else(|| panic!("{file} has no {begin}"));
        let (found, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no {end}"));
        if std::env::var_os("GAREUM_WRITE").is_some() {
            std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        } else {
            assert_eq!(found, table, "{file}: write its table anew with GAREUM_WRITE=1");
        }
    }
}
