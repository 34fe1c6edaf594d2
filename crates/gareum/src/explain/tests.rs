//! Tiny models with random weights, and what Captum says of them.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::data::{NormalizeStep, Task};
use crate::model::Model;
use crate::predict::Description;
use crate::settings::{PrecisionSetting, Settings};
use crate::tokens::{Encoded, TruncationStrategy};

const VOCABULARY: &str = "[PAD] [UNK] [CLS] [SEP] [MASK] the movie was very good bad a ##a b ##b c ##c d ##d e ##e 배송 ##은 배송은 \
                          빨라 ##요 디자인 ##이 한 ##글 좋아 ! . , ㅋ ##ㅋ";

/// A directory with a BERT of random weights.
struct Directory(TempDir);

impl Directory {
    fn new(task: Task, settings: &Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = json!({
            "model_type": "bert", "vocab_size": VOCABULARY.split_whitespace().count(), "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 48, "initializer_range": 0.5,
        });
        let schema = match task {
            Task::Regression => LabelSchema::regression(),
            _ => LabelSchema {
                task,
                names: ["a", "b", "c"].map(str::to_owned).to_vec(),
            },
        };
        let model = Model::from_config(config.as_object().unwrap().clone(), schema, 3).unwrap();
        model.save(directory.path()).unwrap();
        let words: Vec<&str> = VOCABULARY.split_whitespace().collect();
        std::fs::write(directory.path().join("vocab.txt"), words.join("\n") + "\n").unwrap();
        let description = Description {
            settings: settings.clone(),
            ..Description::default()
        };
        description.write(directory.path()).unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn packed(&self) -> Predictor {
        Predictor::load(self.path(), PrecisionSetting::F32).unwrap()
    }

    fn for_gradients(&self) -> Predictor {
        Predictor::load_for_gradients(self.path(), None).unwrap()
    }
}

fn settings(max_length: usize) -> Settings {
    let mut settings = Settings::default();
    settings.model.max_length = max_length;
    settings
}

fn input(text: &str) -> Input {
    Input {
        text: text.to_owned(),
        text_pair: None,
    }
}

fn pair(text: &str, text_pair: &str) -> Input {
    Input {
        text_pair: Some(text_pair.to_owned()),
        ..input(text)
    }
}

fn method(method: Method) -> Options {
    Options {
        method,
        ..Options::default()
    }
}

/// The characters of a text from one number on to another.
fn slice(text: &str, start: usize, end: usize) -> String {
    text.chars().skip(start).take(end - start).collect()
}

fn inputs() -> Vec<Input> {
    vec![
        input("the movie was very good !"),
        input("good"),
        input(""),
        input(" \t\n"),
        input("배송은 빨라요 디자인이 좋아, abcd"),
        input("the 🙂🙂 was é e\u{301}a \u{301}  good.\n"),
        input(&"the movie was bad . ".repeat(30)),
        pair("the movie was very good", "배송은 빨라요"),
        pair("", "good"),
        pair("bad", ""),
        pair(&"very ".repeat(40), &"good bad ".repeat(30)),
        input("xyz 👩\u{200D}👧 q"),
    ]
}

/// The ids of a text without the tokens of each word, one text at a time and by what the tokenizer alone says.
fn naive(predictor: &Predictor, explanation: &Explanation, word: &Word, mask: Option<u32>) -> Encoded {
    let located = predictor
        .tokenizer()
        .encode_located(
            &explanation.text,
            explanation.text_pair.as_deref(),
            predictor.truncation(),
        )
        .unwrap();
    let text = match word.pair {
        false => &explanation.text,
        true => explanation.text_pair.as_ref().unwrap(),
    };
    let byte = |number: usize| text.char_indices().nth(number).map_or(text.len(), |(byte, _)| byte);
    let (start, end) = (byte(word.start), byte(word.end));
    let mut encoded = located.encoded.clone();
    let mut kept = Vec::new();
    for (token, span) in located.spans.iter().enumerate() {
        let is_of = span.as_ref().is_some_and(|span| {
            span.text == usize::from(word.pair) && span.bytes.start < end && start < span.bytes.end
        });
        match mask {
            Some(mask) if is_of => encoded.input_ids[token] = mask,
            _ => {}
        }
        if !is_of {
            kept.push(token);
        }
    }
    if mask.is_none() {
        encoded.input_ids = kept.iter().map(|&token| encoded.input_ids[token]).collect();
        encoded.token_type_ids = kept.iter().map(|&token| encoded.token_type_ids[token]).collect();
    }
    encoded
}

#[test]
fn occlusion_is_what_one_text_at_a_time_gives() {
    for (drop, strategy) in [
        (false, TruncationStrategy::Head),
        (true, TruncationStrategy::Head),
        (false, TruncationStrategy::HeadTail),
    ] {
        let mut settings = settings(24);
        settings.model.truncation = strategy;
        let directory = Directory::new(Task::SingleLabel, &settings);
        let predictor = directory.packed();
        let options = Options {
            drop,
            labels: Labels::Named(vec!["b".to_owned(), "c".to_owned()]),
            ..Options::default()
        };
        let inputs = inputs();
        let explanations = explain(&predictor, &inputs, &options).unwrap();
        let mut largest: f64 = 0.0;
        for (input, explanation) in inputs.iter().zip(&explanations) {
            let whole = &predictor.predict(std::slice::from_ref(input), &mut |_| ()).unwrap()[0];
            assert_eq!(explanation.maps.len(), 2);
            for (map, label) in explanation.maps.iter().zip([1, 2]) {
                assert!((map.probability - whole.scores[label]).abs() < 1e-5);
                for word in &map.words {
                    let mask = (!drop).then_some(4);
                    let without = naive(&predictor, explanation, word, mask);
                    let naive = predictor.predict_encoded(&[without], &mut |_| ()).unwrap()[0].scores[label];
                    assert!((word.probability.unwrap() - naive).abs() < 1e-5, "{input:?} {word:?}");
                    assert!((word.score - (whole.scores[label] - naive)).abs() < 1e-5);
                    largest = largest.max(word.score.abs());
                }
            }
        }
        assert!(largest > 0.05, "{largest}");
    }
}

#[test]
fn words_stand_where_they_say() {
    let directory = Directory::new(Task::SingleLabel, &settings(24));
    let predictor = directory.packed();
    for units in [Units::Words, Units::Particles] {
        let options = Options {
            units,
            ..Options::default()
        };
        for explanation in explain(&predictor, &inputs(), &options).unwrap() {
            let words = &explanation.maps[0].words;
            for word in words {
                let text = match word.pair {
                    false => &explanation.text,
                    true => explanation.text_pair.as_ref().unwrap(),
                };
                assert_eq!(slice(text, word.start, word.end), word.text);
                assert!(!word.text.is_empty() && !word.text.contains(char::is_whitespace));
            }
            let ordered = |pair: &[Word]| (pair[0].pair, pair[0].end) <= (pair[1].pair, pair[1].start);
            assert!(words.windows(2).all(ordered));
            if units == Units::Words && explanation.unread.is_none() {
                let texts = explanation.text.split_whitespace();
                assert!(
                    words
                        .iter()
                        .filter(|word| !word.pair)
                        .map(|word| word.text.as_str())
                        .eq(texts)
                );
            }
        }
    }
}

fn words_of(explanation: &Explanation) -> Vec<&str> {
    explanation.maps[0]
        .words
        .iter()
        .map(|word| word.text.as_str())
        .collect()
}

#[test]
fn what_is_cut_off_is_told() {
    let text = "the movie was very good the movie was very bad";
    let read = |max_length, strategy, input: Input| {
        let mut settings = settings(max_length);
        settings.model.truncation = strategy;
        let directory = Directory::new(Task::SingleLabel, &settings);
        explain(&directory.packed(), &[input], &Options::default())
            .unwrap()
            .remove(0)
    };
    let whole = read(12, TruncationStrategy::Head, input(text));
    assert_eq!((whole.unread, whole.maps[0].words.len()), (None, 10));
    let head = read(6, TruncationStrategy::Head, input(text));
    assert_eq!(words_of(&head), ["the", "movie", "was", "very"]);
    let unread = head.unread.unwrap();
    assert_eq!(slice(text, unread.start, unread.end), "good the movie was very bad");
    let both = read(6, TruncationStrategy::HeadTail, input(text));
    assert_eq!(words_of(&both), ["the", "was", "very", "bad"]);
    let unread = both.unread.unwrap();
    assert_eq!(slice(text, unread.start, unread.end), "movie was very good the movie");
    // A word that is read in part is told, with what was read of it.
    let part = read(5, TruncationStrategy::Head, input("good abcde"));
    assert_eq!(words_of(&part), ["good", "abcde"]);
    assert_eq!(part.unread, Some(Characters { start: 7, end: 10 }));
    let pair = read(
        9,
        TruncationStrategy::Head,
        pair("good", "very very very very very very"),
    );
    assert_eq!((pair.unread, pair.unread_pair.is_some()), (None, true));
    assert!(pair.maps[0].words.iter().filter(|word| word.pair).count() == 5);
    // Nothing is left of it but the frame.
    let nothing = read(2, TruncationStrategy::Head, input("good bad"));
    assert_eq!((words_of(&nothing).len(), nothing.maps[0].best), (0, None));
    assert_eq!(nothing.unread, Some(Characters { start: 0, end: 8 }));
}

#[test]
fn offsets_are_those_of_the_text_as_it_was_given() {
    let mut settings = settings(32);
    settings.data.normalize = vec![NormalizeStep::Nfc, NormalizeStep::Control, NormalizeStep::Repeats];
    let directory = Directory::new(Task::SingleLabel, &settings);
    // Letters of 한 apart, characters without width, a repeat.
    let text = "\u{1112}\u{1161}\u{11AB}글 \u{200B}good\u{200B} ㅋㅋㅋㅋㅋ  bad";
    let explanation = explain(&directory.packed(), &[input(text)], &Options::default())
        .unwrap()
        .remove(0);
    let words = &explanation.maps[0].words;
    assert_eq!(words_of(&explanation), text.split_whitespace().collect::<Vec<_>>());
    assert!(words.iter().all(|word| slice(text, word.start, word.end) == word.text));
    // The model sees them: hiding one changes something.
    assert!(words.iter().all(|word| word.score != 0.0), "{words:?}");
    let plain = explain(&directory.packed(), &[input("한글 good ㅋㅋ bad")], &Options::default()).unwrap();
    let scores = |explanation: &Explanation| {
        explanation.maps[0]
            .words
            .iter()
            .map(|word| word.score)
            .collect::<Vec<_>>()
    };
    assert_eq!(scores(&explanation), scores(&plain[0]));
}

#[test]
fn words_of_one_token_share_it() {
    let directory = Directory::new(Task::SingleLabel, &settings(24));
    let options = |method| Options {
        method,
        units: Units::Particles,
        labels: Labels::Named(vec!["a".to_owned()]),
        ..Options::default()
    };
    // The vocabulary has 배송은 as a whole; 은 stands alone behind 디자인 in the other.
    let text = [input("배송은 good")];
    let occluded = explain(&directory.packed(), &text, &options(Method::Occlusion)).unwrap();
    let words = &occluded[0].maps[0].words;
    assert_eq!(words_of(&occluded[0]), ["배송", "은", "good"]);
    assert_eq!(words[0].score, words[1].score);
    assert!(words[0].score != 0.0);
    let gradients = explain(&directory.for_gradients(), &text, &options(Method::IntegratedGradients)).unwrap();
    let scores: Vec<f64> = gradients[0].maps[0].words.iter().map(|word| word.score).collect();
    assert!((scores[0] - 2.0 * scores[1]).abs() < 1e-9, "by characters: {scores:?}");
    let sum = gradients[0].maps[0].completeness.unwrap().sum;
    assert!((scores.iter().sum::<f64>() - sum).abs() < 1e-9);
}

#[test]
fn every_task_has_its_maps() {
    let texts = [input("the movie was good"), input("bad 배송"), input("")];
    for method_of in [Method::Occlusion, Method::GradientInput, Method::IntegratedGradients] {
        let run = |task, options: &Options| {
            let directory = Directory::new(task, &settings(24));
            explain(&directory.for_gradients(), &texts, options).unwrap()
        };
        for explanation in run(Task::SingleLabel, &method(method_of)) {
            let [map] = &explanation.maps[..] else {
                panic!("one map")
            };
            assert_eq!(explanation.label, json!(map.label));
            assert_eq!(explanation.scores[&map.label], json!(map.probability));
        }
        for explanation in run(Task::MultiLabel, &method(method_of)) {
            let labels: Vec<&str> = explanation.maps.iter().map(|map| map.label.as_str()).collect();
            assert_eq!(explanation.label, json!(labels));
        }
        for explanation in run(Task::Regression, &method(method_of)) {
            assert_eq!(explanation.maps.len(), 1);
            assert_eq!(explanation.label, json!(explanation.maps[0].probability));
        }
    }
}

#[test]
fn a_window_smooths_and_the_best_span_follows() {
    let directory = Directory::new(Task::SingleLabel, &settings(24));
    let options = Options {
        window: 3,
        ..Options::default()
    };
    let input = [pair("the movie was very good", "bad 배송 good")];
    let map = &explain(&directory.packed(), &input, &options).unwrap()[0].maps[0];
    let words = &map.words;
    let mean = (words[0].score + words[1].score + words[2].score) / 3.0;
    assert!((words[1].smoothed.unwrap() - mean).abs() < 1e-12);
    // The pair's first word has no neighbour in the first text.
    let mean = f64::midpoint(words[5].score, words[6].score);
    assert!(words[5].pair && (words[5].smoothed.unwrap() - mean).abs() < 1e-12);
    if let Some(best) = map.best {
        let inside = words
            .iter()
            .filter(|word| word.pair == best.pair && word.start >= best.start && word.end <= best.end);
        assert!((inside.map(Word::shown_score).sum::<f64>() - best.score).abs() < 1e-12);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let directory = Directory::new(Task::SingleLabel, &settings(24));
    let predictor = directory.packed();
    let message = |options: &Options| explain(&predictor, &[], options).unwrap_err().to_string();
    let gradients = message(&method(Method::IntegratedGradients));
    assert_eq!(
        gradients,
        "integrated_gradients needs a model whose weights are not packed for prediction\nhint: load it by Predictor::load_for_gradients"
    );
    let named = Options {
        labels: Labels::Named(vec!["d".to_owned()]),
        ..Options::default()
    };
    assert_eq!(
        message(&named),
        "`d` is no label of the model\nhint: its labels are `a`, `b`, `c`"
    );
    let windowless = Options {
        window: 0,
        ..Options::default()
    };
    assert_eq!(message(&windowless), "window is 0, expected a number from 1 to 1000");
    assert_eq!(explain(&predictor, &[], &Options::default()).unwrap(), []);
}

#[test]
fn options_are_read_from_json() {
    let read = |json: Value| serde_json::from_value::<Options>(json).map_err(|error| error.to_string());
    assert_eq!(read(json!({})), Ok(Options::default()));
    let options = read(json!({
        "method": "integrated_gradients", "steps": 20, "labels": ["a"], "drop": true, "units": "particles", "window": 3,
    }));
    let options = options.unwrap();
    assert_eq!((options.method, options.steps), (Method::IntegratedGradients, 20));
    assert_eq!(options.labels, Labels::Named(vec!["a".to_owned()]));
    assert_eq!(serde_json::from_value::<Options>(json!(options)).unwrap(), options);
    assert_eq!(read(json!({"labels": "predicted"})), Ok(Options::default()));
    assert!(
        read(json!({"labels": "all"}))
            .unwrap_err()
            .contains("expected \"predicted\"")
    );
    assert!(read(json!({"metod": "occlusion"})).is_err());
    assert!(read(json!({"method": "shap"})).is_err());
}

#[test]
fn an_explanation_is_json() {
    let directory = Directory::new(Task::SingleLabel, &settings(24));
    let explanations = explain(&directory.packed(), &[input("good bad")], &Options::default()).unwrap();
    let json = serde_json::to_value(&explanations[0]).unwrap();
    let keys = |json: &Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&json), "text text_pair label scores method maps unread");
    assert_eq!(keys(&json["maps"][0]), "label probability words best");
    assert_eq!(keys(&json["maps"][0]["words"][1]), "start end text score probability");
    assert_eq!((&json["text_pair"], &json["unread"]), (&Value::Null, &Value::Null));
}

// Against Captum

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures")
}

/// The model of a fixture with a tokenizer that reads `t5` as the id 5, within a frame.
fn fixture(family: &str, padding: u64, frame: &[u64]) -> (TempDir, Predictor) {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures().join(family).join(file), directory.path().join(file)).unwrap();
    }
    let config: Value = serde_json::from_slice(&std::fs::read(directory.path().join("config.json")).unwrap()).unwrap();
    let ids = 0..config["vocab_size"].as_u64().unwrap();
    let vocabulary: Map<String, Value> = ids.clone().map(|id| (format!("t{id}"), json!(id))).collect();
    let special = |id: &u64| {
        let name = format!("t{id}");
        (name.clone(), json!({"id": name, "ids": [id], "tokens": [name]}))
    };
    let template = |text: &str| {
        let framed = |id: &u64| json!({"SpecialToken": {"id": format!("t{id}"), "type_id": 0}});
        let mut template: Vec<Value> = frame.iter().map(framed).collect();
        template.insert(1.min(frame.len()), json!({"Sequence": {"id": text, "type_id": 0}}));
        template
    };
    let pair = [template("A"), template("B")].concat();
    let processor = json!({
        "type": "TemplateProcessing", "single": template("A"), "pair": pair,
        "special_tokens": frame.iter().map(special).collect::<Map<_, _>>(),
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": processor, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    });
    std::fs::write(directory.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let settings = json!({"pad_token": format!("t{padding}")});
    std::fs::write(directory.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    let predictor = Predictor::load_for_gradients(directory.path(), None).unwrap();
    (directory, predictor)
}

#[test]
fn attributions_are_those_of_captum() {
    let reference: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("attributions.json")).unwrap()).unwrap();
    let label = reference["label"].as_u64().unwrap();
    let frame: Vec<u64> = serde_json::from_value(reference["frame"].clone()).unwrap();
    let numbers = |json: &Value| serde_json::from_value::<Vec<f64>>(json.clone()).unwrap();
    for (family, expected) in reference["families"].as_object().unwrap() {
        let (_directory, predictor) = fixture(family, expected["padding"].as_u64().unwrap(), &frame);
        let words: Vec<u64> = serde_json::from_value(expected["words"].clone()).unwrap();
        let text = words.iter().map(|id| format!("t{id}")).collect::<Vec<_>>().join(" ");
        let attribute = |method, steps| {
            let options = Options {
                method,
                steps,
                labels: Labels::Named(vec![format!("LABEL_{label}")]),
                ..Options::default()
            };
            explain(&predictor, &[input(&text)], &options).unwrap()[0].maps[0].clone()
        };
        let check = |map: &LabelMap, expected: &[f64], what: &str| {
            // The frame belongs to no word.
            let expected = &expected[1..expected.len() - 1];
            assert_eq!(map.words.len(), expected.len());
            let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for (word, expected) in map.words.iter().zip(expected) {
                let difference = (word.score - expected).abs();
                assert!(
                    difference < 2e-5 * largest.max(0.05),
                    "{family} {what}: {} is not {expected}",
                    word.score
                );
            }
        };
        for (steps, expected) in expected["integrated_gradients"].as_object().unwrap() {
            let map = attribute(Method::IntegratedGradients, steps.parse().unwrap());
            check(&map, &numbers(expected), steps);
        }
        let map = attribute(Method::GradientInput, 1);
        check(&map, &numbers(&expected["gradient_input"]), "gradient_input");
        let complete = attribute(Method::IntegratedGradients, 50).completeness.unwrap();
        let number = |key: &str| expected[key].as_f64().unwrap();
        assert!((complete.logit - number("logit")).abs() < 1e-5);
        assert!((complete.baseline - number("baseline")).abs() < 1e-5);
    }
}

#[test]
fn attributions_of_every_family_add_up() {
    for family in [
        "bert",
        "roberta",
        "electra",
        "deberta-v2",
        "deberta-v2-p2c",
        "bart",
        "mbart",
        "modernbert_mean",
        "qwen3",
        "llama",
        "mistral",
    ] {
        // BART reads a text at its end.
        let (_directory, predictor) = fixture(family, 0, &[1, 2]);
        let options = Options {
            steps: 200,
            ..method(Method::IntegratedGradients)
        };
        let map = &explain(&predictor, &[input("t9 t4 t23 t11 t4 t17")], &options).unwrap()[0].maps[0];
        let complete = map.completeness.unwrap();
        let difference = complete.logit - complete.baseline;
        assert!(complete.error.abs() < 2e-4, "{family}: {complete:?}");
        assert!(difference.abs() > 0.001, "{family}: {complete:?}");
        // What stands in the frame is the same in text and baseline.
        let words: f64 = map.words.iter().map(|word| word.score).sum();
        assert!((words - complete.sum).abs() < 1e-6, "{family}: {words} {complete:?}");
    }
}

#[test]
fn a_text_of_many_steps_is_that_of_few_at_a_time() {
    // More points than go through the model at once.
    let directory = Directory::new(Task::SingleLabel, &settings(48));
    let predictor = directory.for_gradients();
    let text = [input(&"the movie was very good . ".repeat(7)), input("")];
    let run = |steps| {
        let options = Options {
            steps,
            ..method(Method::IntegratedGradients)
        };
        explain(&predictor, &text, &options).unwrap()
    };
    let map = &run(120)[0].maps[0];
    assert!(map.completeness.unwrap().error.abs() < 1e-3, "{:?}", map.completeness);
    assert!(run(3)[1].maps[0].completeness.unwrap().error.abs() < 1e-6);
}
