//! `gareum train`, `evaluate` and what they say and write, end to end.

use crate::workspace::{Workspace, assert_page, csv, json_lines, reviews, training};
use gareum::data::{Input, Task};
use gareum::predict::{Description, Predictor};
use gareum::settings::PrecisionSetting;
use serde_json::{Value, json};

const MODEL_FILES: [&str; 9] = [
    "README.md",
    "config.json",
    "gareum.json",
    "metrics.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
];

fn assert_is_model(workspace: &Workspace, name: &str) {
    for file in MODEL_FILES {
        assert!(!workspace.bytes(&format!("{name}/{file}")).is_empty(), "{file}");
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn a_csv_is_split_learned_saved_and_measured_again() {
    let workspace = Workspace::with_base();
    let report = workspace
        .train("reviews.csv", "model", &["--epochs", "10", "--json"])
        .json();
    assert_is_model(&workspace, "model");
    assert_eq!(report["model"], "model");
    assert!(number(&report["test"]["accuracy"]) > 0.9, "{report}");

    let config = workspace.json("model/config.json");
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(config["problem_type"], "single_label_classification");
    assert_eq!(config["id2label"], json!({"0": "neg", "1": "pos"}));
    assert_eq!(config["label2id"], json!({"neg": 0, "pos": 1}));
    let description = workspace.json("model/gareum.json");
    assert_eq!(
        description["data"]["rows"],
        json!({"train": 86, "validation": 29, "test": 29})
    );
    assert_eq!(description["settings"]["train"]["batch_size"], 8);
    assert_eq!(description["settings"]["train"]["warmup_ratio"], 0.1);
    let state = workspace.json("model/trainer_state.json");
    assert_eq!(state["max_steps"], 110);
    let history = state["log_history"].as_array().unwrap();
    assert!(history.iter().any(|entry| entry["eval_macro_f1"].is_f64()), "{state}");
    let card = workspace.text("model/README.md");
    assert!(card.contains("pipeline_tag: text-classification"), "{card}");

    // The model scored again on the same rows gives the numbers that training wrote.
    let metrics = workspace.json("model/metrics.json");
    workspace.write("all.csv", csv(&["text", "label"], &reviews()));
    let evaluation = workspace
        .succeed(&[
            "evaluate", "--quiet", "--json", "--model", "model", "--data", "all.csv", "--report", "report",
        ])
        .json();
    assert_eq!(workspace.json("report/metrics.json"), evaluation);
    assert_eq!(evaluation["classification_report"]["pos"]["support"], 72.0);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let measured = keys(&metrics["test"]);
    assert_eq!(keys(&evaluation)[..measured.len()], measured);
}

#[test]
fn files_of_their_own_for_validation_and_test() {
    let workspace = Workspace::with_base();
    let (test, train) = reviews()
        .into_iter()
        .enumerate()
        .partition::<Vec<_>, _>(|(row, _)| row % 4 == 0);
    let rows = |part: Vec<(usize, Vec<String>)>| part.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    workspace.write("train.csv", csv(&["text", "label"], &rows(train)));
    workspace.write("test.csv", csv(&["text", "label"], &rows(test)));
    workspace.train(
        "train.csv",
        "model",
        &["--validation", "test.csv", "--test", "test.csv"],
    );
    let rows = &workspace.json("model/gareum.json")["data"]["rows"];
    assert_eq!(rows, &json!({"train": 108, "validation": 36, "test": 36}));
    let metrics = workspace.json("model/metrics.json");
    assert_eq!(metrics["validation"], metrics["test"]);
    let evaluation = workspace.succeed(&["evaluate", "--json", "--model", "model", "--data", "test.csv"]);
    for (name, value) in metrics["test"].as_object().unwrap() {
        assert_eq!(&evaluation.json()[name], value, "{name}");
    }
    assert!(evaluation.stderr.contains("test.csv: 36 rows"), "{}", evaluation.stderr);
    let table = workspace.succeed(&["evaluate", "--quiet", "--model", "model", "--data", "test.csv"]);
    assert!(table.stdout.contains("macro avg"), "{}", table.stdout);
    assert_eq!(table.stderr, "");
}

#[test]
fn training_says_what_it_reads_and_does() {
    let workspace = Workspace::with_base();
    let mut rows = reviews();
    rows.push(rows[0].clone());
    rows.push(vec![String::new(), "pos".to_owned()]);
    rows.push(vec!["the food was fine".to_owned(), String::new()]);
    rows.push(vec![rows[1][0].clone(), "neg".to_owned()]);
    workspace.write("reviews.csv", csv(&["text", "label"], &rows));
    let mut arguments = training(
        "reviews.csv",
        "model",
        &["--epochs", "1", "--set", "model.max_length=6"],
    );
    arguments.retain(|argument| *argument != "--quiet");
    let finished = workspace.succeed(&arguments);
    for expected in [
        "reviews.csv: 148 rows (delimited text, `,`, quoted), text `text`, label `label`",
        "rows dropped: 1 without text, 1 without label, 1 repeated or contradictory",
        "texts that occur with different labels: 1, for example rows 2 and 148",
        "single_label: 2 labels; 86 training, 29 validation, 30 test rows",
        "epoch 1.0 (step 11)  validation",
        "the head was trained from random weights: classifier.weight, classifier.bias",
        "86 of 86 training texts were cut at model.max_length",
        "11 steps in",
        "saved to model",
    ] {
        assert!(finished.stderr.contains(expected), "{expected}\n{}", finished.stderr);
    }
    assert!(finished.stdout.contains("accuracy"), "{}", finished.stdout);
}

#[test]
fn several_labels_as_lists_and_as_joined_numbers() {
    let workspace = Workspace::with_base();
    let list = |row: usize| match row % 4 {
        0 => json!([]),
        1 => json!(["food"]),
        2 => json!(["price"]),
        _ => json!(["price", "food"]),
    };
    let lines: String = reviews()
        .iter()
        .enumerate()
        .map(|(row, fields)| format!("{}\n", json!({"text": fields[0], "labels": list(row)})))
        .collect();
    workspace.write("lists.jsonl", lines);
    let report = workspace.train("lists.jsonl", "lists", &["--json"]).json();
    assert!(report["test"]["macro_f1"].is_f64(), "{report}");
    let config = workspace.json("lists/config.json");
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"], json!({"0": "food", "1": "price"}));

    let joined: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(row, fields)| vec![fields[0].clone(), ["2", "3", "2,3"][row % 3].to_owned()])
        .collect();
    workspace.write("joined.csv", csv(&["text", "label"], &joined));
    workspace.train("joined.csv", "joined", &[]);
    let config = workspace.json("joined/config.json");
    assert_eq!(config["id2label"], json!({"0": "2", "1": "3"}));
    let evaluated = workspace
        .succeed(&[
            "evaluate",
            "--quiet",
            "--json",
            "--model",
            "joined",
            "--data",
            "joined.csv",
        ])
        .json();
    assert_eq!(evaluated["classification_report"]["2"]["support"], 96.0);

    let indicators: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(row, fields)| vec![fields[0].clone(), (row % 2).to_string(), (row / 2 % 2).to_string()])
        .collect();
    workspace.write("indicators.csv", csv(&["text", "joy", "anger"], &indicators));
    workspace.train("indicators.csv", "indicators", &["--label", "joy", "--label", "anger"]);
    let config = workspace.json("indicators/config.json");
    assert_eq!(config["id2label"], json!({"0": "joy", "1": "anger"}));
}

#[test]
fn numbers_are_a_regression() {
    let workspace = Workspace::with_base();
    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .map(|row| vec![row[0].clone(), if row[1] == "pos" { "4.5" } else { "1.5" }.to_owned()])
        .collect();
    workspace.write("stars.csv", csv(&["text", "stars"], &rows));
    let report = workspace
        .train("stars.csv", "model", &["--epochs", "20", "--json"])
        .json();
    assert!(number(&report["test"]["mse"]) < 1.0, "{report}");
    assert_eq!(workspace.json("model/config.json")["problem_type"], "regression");
    let predicted = workspace.run_with_input(&["predict", "--quiet", "--model", "model"], "the food was very good\n");
    let row = &predicted.json_lines()[0];
    assert_eq!((&row["label"], &row["scores"]["score"]), (&row["score"], &row["score"]));
    assert!(number(&row["score"]) > 3.0, "{row}");
}

#[test]
fn pairs_are_told_apart() {
    let workspace = Workspace::with_base();
    let mut rows = Vec::new();
    for review in reviews().iter().step_by(3) {
        for (opinion, label) in [("good", "pos"), ("bad", "neg")] {
            let is_same = if review[1] == label { "same" } else { "different" };
            rows.push(vec![review[0].clone(), format!("it is {opinion}"), is_same.to_owned()]);
        }
    }
    workspace.write("pairs.csv", csv(&["premise", "hypothesis", "label"], &rows));
    workspace.train("pairs.csv", "model", &[]);
    let data = &workspace.json("model/gareum.json")["data"]["files"][0]["load"];
    assert_eq!(
        (&data["text_columns"], &data["text_pair_column"]),
        (&json!(["premise"]), &json!("hypothesis"))
    );
    let predictor = Predictor::load(&workspace.path("model"), PrecisionSetting::Auto).unwrap();
    let input = |text: &str, pair: &str| Input {
        text: text.to_owned(),
        text_pair: Some(pair.to_owned()),
    };
    let inputs = [input("the food was good", "bad"), input("bad", "the food was good")];
    let expected = predictor.predict(&inputs, &mut |_| ()).unwrap();
    assert_ne!(expected[0], expected[1]);
    workspace.write("new.csv", "b,a\nbad,the food was good\nthe food was good,bad\n");
    let rows = workspace
        .succeed(&[
            "predict",
            "--model",
            "model",
            "--input",
            "new.csv",
            "--text",
            "a",
            "--text-pair",
            "b",
        ])
        .json_lines();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(number(&row["scores"]["same"]), expected.scores[1]);
    }
}

#[test]
fn a_trained_model_is_a_base_for_the_same_labels_only() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "first", &["--epochs", "1"]);
    let again = workspace.train("reviews.csv", "second", &["--model", "first", "--json"]);
    assert_is_model(&workspace, "second");
    assert_ne!(
        workspace.bytes("first/model.safetensors"),
        workspace.bytes("second/model.safetensors")
    );
    assert_eq!(again.stderr, "");

    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(row, fields)| vec![fields[0].clone(), ["fine", "neg", "pos"][row % 3].to_owned()])
        .collect();
    workspace.write("three.csv", csv(&["text", "label"], &rows));
    insta::assert_snapshot!(workspace.fail(&training("three.csv", "third", &["--model", "first"])), @"
        exit 2
        error: first: the checkpoint classifies into 2 labels (`neg`, `pos`), the data into 3 labels (`fine`, `neg`, `pos`)
        hint: `--reset-head` trains a fresh head for the labels of the data
        ");
    assert!(!workspace.path("third").exists());
    workspace.train("three.csv", "third", &["--model", "first", "--reset-head"]);
    let names = &Predictor::load(&workspace.path("third"), PrecisionSetting::Auto)
        .unwrap()
        .schema()
        .names
        .clone();
    assert_eq!(names, &["fine", "neg", "pos"]);
}

#[test]
fn a_model_that_says_nothing_of_its_settings_is_used_too() {
    let workspace = Workspace::with_base();
    // What it was trained in is a setting too, and so is a temperature.
    workspace.train("reviews.csv", "model", &["--set", "decision.temperature=false"]);
    let predict = ["predict", "--model", "model", "--precision", "f32"];
    let described = workspace.run_with_input(&predict, "the food was good\n").stdout;
    for file in [Description::FILE, "metrics.json", "trainer_state.json"] {
        std::fs::remove_file(workspace.path("model").join(file)).unwrap();
    }
    let plain = workspace.run_with_input(&predict, "the food was good\n").stdout;
    assert_eq!(plain, described);
}

#[test]
fn settings_come_from_a_file_and_flags_override_them() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.path("project")).unwrap();
    workspace.base("project/base");
    workspace.write("project/reviews.csv", csv(&["body", "label"], &reviews()));
    workspace.write(
        "project/gareum.toml",
        r#"
            task = "single_label"
            [model]
            base = "base"
            max_length = 16
            [data]
            train = "reviews.csv"
            text = "body"
            split = [0.5, 0.25, 0.25]
            [train]
            epochs = 1
            batch_size = 16
            early_stopping = { monitor = "accuracy", patience = 3 }
            [output]
            dir = "model"
        "#,
    );
    // Paths are those of the file, whatever directory the command runs in.
    workspace.succeed(&["train", "--quiet", "project/gareum.toml"]);
    assert_is_model(&workspace, "project/model");
    let settings = &workspace.json("project/model/gareum.json")["settings"];
    assert_eq!(settings["train"]["batch_size"], 16);
    assert_eq!(settings["train"]["early_stopping"]["monitor"], "accuracy");
    assert_eq!(settings["train"]["early_stopping"]["min_delta"], 0.001);
    assert_eq!(settings["output"]["dir"], "project/model");

    // Those of flags are of the directory that the command runs in.
    let overrides = [
        "--set",
        "train.batch_size=32",
        "--epochs",
        "2",
        "--output",
        "here",
        "--set",
        "data.seed=7",
    ];
    workspace.succeed(&[&["train", "--quiet", "project/gareum.toml"], &overrides[..]].concat());
    assert_is_model(&workspace, "here");
    let settings = &workspace.json("here/gareum.json")["settings"];
    assert_eq!(settings["train"]["batch_size"], 32);
    assert_eq!(settings["train"]["epochs"], 2);
    assert_eq!(settings["data"]["seed"], 7);
    assert_eq!(settings["data"]["split"], json!([0.5, 0.25, 0.25]));
    assert_eq!(workspace.json("here/trainer_state.json")["max_steps"], 6);
}

#[test]
fn saved_settings_train_the_same_model_again() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "first", &[]);
    let description: Description = serde_json::from_value(workspace.json("first/gareum.json")).unwrap();
    let mut settings = description.settings;
    assert_eq!(settings.task, None::<Task>);
    settings.output.dir = "second".into();
    workspace.write("gareum.toml", toml::to_string(&settings).unwrap());
    workspace.succeed(&["train", "--quiet", "--threads", "1", "gareum.toml"]);
    assert_eq!(
        workspace.bytes("first/model.safetensors"),
        workspace.bytes("second/model.safetensors")
    );
    assert_eq!(
        workspace.bytes("first/metrics.json"),
        workspace.bytes("second/metrics.json")
    );
}

#[test]
fn weights_of_classes_decide_what_is_learnt() {
    let workspace = Workspace::with_base();
    let found = |weights: &str| -> usize {
        let setting = format!("train.class_weights={weights}");
        workspace.train("reviews.csv", "weighted", &["--set", &setting, "--epochs", "1"]);
        let lines = workspace
            .succeed(&["predict", "--quiet", "--model", "weighted", "--input", "reviews.csv"])
            .json_lines();
        lines.iter().filter(|line| number(&line["scores"]["pos"]) > 0.5).count()
    };
    assert_eq!((found("{ pos = 0.0 }"), found("{ neg = 0.0 }")), (0, 144));
    let weights = ["--set", "train.class_weights={ good = 2.0 }"];
    let error = workspace.fail(&training("reviews.csv", "other", &weights));
    assert!(
        error.ends_with("error: train.class_weights: there is no label `good`\nhint: the labels are neg, pos\n"),
        "{error}"
    );
    let rows = reviews().into_iter().zip(0..);
    let rows: Vec<_> = rows
        .map(|(row, index)| vec![row[0].clone(), format!("{}.5", index % 7)])
        .collect();
    workspace.write("stars.csv", csv(&["text", "stars"], &rows));
    let error = workspace.fail(&training("stars.csv", "other", &["--set", "train.label_smoothing=0.1"]));
    assert!(
        error.contains("train.label_smoothing is given, but what is predicted are numbers"),
        "{error}"
    );
}

#[test]
fn a_run_is_logged_while_it_goes_on_and_diagnosed_at_its_end() {
    let workspace = Workspace::with_base();
    let settings = [
        "--epochs",
        "8",
        "--set",
        "train.logging_steps=5",
        "--set",
        "train.learning_rate=0.01",
    ];
    let mut arguments = training("reviews.csv", "model", &settings);
    arguments.retain(|argument| *argument != "--quiet");
    let told = workspace.succeed(&arguments).stderr;
    assert!(told.contains("with 2 labels: excellent"), "{told}");
    assert_eq!(workspace.json("model/metrics.json")["diagnosis"]["level"], "excellent");
    let history = workspace.json("model/trainer_state.json")["log_history"].clone();
    let lines = json_lines(&workspace.text("model/log.jsonl"));
    assert_eq!(&lines, history.as_array().unwrap());
    let events = workspace.bytes("model/runs/events.out.tfevents.gareum");
    let count = |name: &[u8]| events.windows(name.len()).filter(|bytes| bytes == &name).count();
    let of = |key: &str| lines.iter().filter(|entry| entry.get(key).is_some()).count();
    assert_eq!(
        (count(b"train/loss"), count(b"eval/macro_f1")),
        (of("loss"), of("eval_macro_f1"))
    );
    assert!(of("loss") > 2 && of("eval_macro_f1") > 2);

    // One that learns nothing hears so.
    arguments.extend(["--set", "train.learning_rate=1e-9"]);
    let told = workspace.succeed(&arguments).stderr;
    assert!(told.contains("every row gets the label"), "{told}");
}

#[test]
fn seeds_are_told_with_their_mean_and_deviation_and_taken_up() {
    let workspace = Workspace::with_base();
    let told = workspace.train("reviews.csv", "models", &["--seeds", "2", "--set", "train.seed=7"]);
    assert!(
        told.stdout.contains("test, 2 seeds: mean ± standard deviation"),
        "{}",
        told.stdout
    );
    let summary = workspace.json("models/seeds.json");
    assert_eq!(summary["seeds"], json!([7, 8]));
    let values: Vec<f64> = [7, 8]
        .iter()
        .map(|seed| number(&workspace.json(format!("models/seed-{seed}/metrics.json").as_str())["test"]["loss"]))
        .collect();
    let spread = &summary["test"]["loss"];
    assert_eq!(spread["values"], json!(values));
    assert!((number(&spread["mean"]) - (values[0] + values[1]) / 2.0).abs() < 1e-12);

    // The second was killed before its end.
    let before = workspace.bytes("models/seed-8/model.safetensors");
    for file in ["model.safetensors", "metrics.json"] {
        std::fs::remove_file(workspace.path("models/seed-8").join(file)).unwrap();
    }
    std::fs::remove_file(workspace.path("models/seeds.json")).unwrap();
    workspace.train(
        "reviews.csv",
        "models",
        &["--seeds", "2", "--set", "train.seed=7", "--resume"],
    );
    assert_eq!(workspace.bytes("models/seed-8/model.safetensors"), before);
    assert_eq!(workspace.json("models/seeds.json"), summary);
    let other = training("reviews.csv", "models", &["--seeds", "2", "--resume", "elsewhere"]);
    assert!(workspace.fail(&other).contains("give --resume without a value"));
}

#[test]
fn a_run_leaves_a_page_of_itself() {
    let workspace = Workspace::with_base();
    workspace.train(
        "reviews.csv",
        "model",
        &["--epochs", "6", "--set", "train.logging_steps=1"],
    );
    let page = assert_page(&workspace, "model/report");
    let metrics = workspace.json("model/metrics.json");
    for name in ["loss", "accuracy", "macro_f1", "roc_auc"] {
        let value = format!("{:.4}", number(&metrics["test"][name]));
        let cells = format!("<td><code>{name}</code></td><td class=\"number\">{value}</td>");
        assert!(page.contains(&cells), "{cells}");
    }
    for text in [
        "How training went",
        "Learning curves",
        "Of the test rows, with the weights and the decision that were saved.",
        "texts cut at 16 tokens",
        "train.learning_rate",
        "with 2 labels: ",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for picture in ["loss", "figures-of-validation", "learning-rate", "confusion-matrix"] {
        assert!(!workspace.bytes(&format!("model/report/{picture}.svg")).is_empty());
    }

    // Without test rows it is about the validation rows; in Korean it is so throughout.
    let split = ["--set", "data.split=[0.7, 0.3, 0.0]", "--lang", "ko"];
    workspace.train("reviews.csv", "korean", &split);
    let page = assert_page(&workspace, "korean/report");
    for text in ["학습 결과", "학습 곡선", "검증 데이터를 잰 결과입니다", "모든 설정"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn without_a_terminal_there_are_no_charts() {
    let workspace = Workspace::with_base();
    let mut arguments = training("reviews.csv", "model", &["--set", "train.logging_steps=1"]);
    arguments.retain(|argument| *argument != "--quiet");
    let said = workspace.succeed(&arguments).stderr;
    assert!(said.contains("report: model/report/index.html"), "{said}");
    assert!(
        !said.contains('\u{1B}') && !said.chars().any(|c| ('\u{2800}'..='\u{28FF}').contains(&c)),
        "{said}"
    );
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let workspace = Workspace::with_base();
    std::fs::create_dir(workspace.path("model")).unwrap();
    workspace.write("model/report", "a file");
    let finished = workspace.run(&training("reviews.csv", "model", &[]));
    assert_eq!(finished.code, 1, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("model/report: cannot write"),
        "{}",
        finished.stderr
    );
    assert_is_model(&workspace, "model");
}
