//! What must hold of any run: the same weights from any number of threads, the same gradient from any split of a batch, and
//! a resumed run that is the uninterrupted one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use gareum::data::{LabelSchema, Target, Task};
use gareum::head::Distillation;
use gareum::model::Model;
use gareum::settings::{CheckpointActivations, TrainSettings};
use gareum::tokens::{Encoded, Tokenizer};
use gareum::train::{EncodedExample, Event, Lessons, Outcome, Trainer};
use serde_json::json;
use tensor::random::Sequence;

const LABELS: usize = 3;
const VOCABULARY: usize = 97;
const HIDDEN: usize = 96;

/// Wide enough for products and norms to be shared among threads.
fn model() -> Model {
    let config = json!({
        "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": 2,
        "num_attention_heads": 3, "intermediate_size": 200, "max_position_embeddings": 80, "initializer_range": 0.05,
    });
    let names = (0..LABELS).map(|label| label.to_string()).collect();
    let schema = LabelSchema {
        task: Task::SingleLabel,
        names,
    };
    Model::from_config(config.as_object().unwrap().clone(), schema, 1).unwrap()
}

/// Sequences whose label is a function of their second token.
fn examples(count: usize) -> Vec<EncodedExample> {
    let mut random = Sequence::new(5, 5);
    let mut example = || {
        let length = 2 + random.below(70);
        let input_ids: Vec<u32> = (0..length).map(|_| random.below(VOCABULARY) as u32).collect();
        let target = Target::Class(input_ids[1] % LABELS as u32);
        let encoded = Encoded {
            token_type_ids: vec![0; length],
            full_length: length,
            input_ids,
        };
        EncodedExample { encoded, target }
    };
    (0..count).map(|_| example()).collect()
}

fn settings(steps: u64) -> TrainSettings {
    TrainSettings {
        max_steps: Some(steps),
        batch_size: 24,
        learning_rate: 1e-3,
        eval_steps: Some(10),
        logging_steps: 5,
        save_total_limit: 2,
        ..TrainSettings::default()
    }
}

/// Trains and returns the weights and the outcome; the run is told to stop after `stop_after` steps.
fn train(
    settings: &TrainSettings,
    checkpoints: Option<&Path>,
    resume: Option<&Path>,
    stop_after: Option<u64>,
) -> (Vec<Vec<f32>>, Outcome, Vec<f64>) {
    train_with(settings, None, checkpoints, resume, stop_after)
}

/// A teacher of the examples, of which the last have no labels but its own.
fn lessons() -> Lessons {
    let mut random = Sequence::new(6, 6);
    let logits = (0..150 * LABELS).map(|_| 2.0 * random.normal() as f32).collect();
    let distillation = Distillation {
        temperature: 2.0,
        weight: 0.7,
    };
    let hidden = (0..150 * HIDDEN).map(|_| random.normal() as f32).collect();
    let lessons = Lessons::new(logits, LABELS, 110, distillation).unwrap();
    lessons.with_hidden(hidden, 0.3).unwrap()
}

/// As [`train`] beside a teacher.
fn train_with(
    settings: &TrainSettings,
    lessons: Option<&Lessons>,
    checkpoints: Option<&Path>,
    resume: Option<&Path>,
    stop_after: Option<u64>,
) -> (Vec<Vec<f32>>, Outcome, Vec<f64>) {
    let mut model = model();
    let tokenizer = Tokenizer::train_wordpiece(["a b c a b c"].into_iter(), 30).unwrap();
    let (train, validation) = (examples(150), examples(40));
    let stop = AtomicBool::new(false);
    let mut losses = Vec::new();
    let trainer = Trainer {
        model: &mut model,
        tokenizer: &tokenizer,
        settings,
        max_length: 80,
        train: &train,
        lessons,
        validation: &validation,
        test: &[],
        checkpoints,
        resume,
        pause_after: None,
    };
    let mut observe = |event: Event<'_>| {
        if let Event::Step(report) = event {
            losses.push(report.loss);
            if Some(report.step) == stop_after {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    let outcome = trainer.run(&mut observe, &stop).unwrap();
    let weights = model
        .parameters
        .iter()
        .map(|(_, _, value)| value.to_f32_vec())
        .collect();
    (weights, outcome, losses)
}

fn assert_same_bits(first: &[Vec<f32>], second: &[Vec<f32>]) {
    let bits = |weights: &[Vec<f32>]| -> Vec<u32> { weights.concat().iter().map(|value| value.to_bits()).collect() };
    let (first, second) = (bits(first), bits(second));
    let differing = first
        .iter()
        .zip(&second)
        .filter(|(first, second)| first != second)
        .count();
    assert!(
        first.len() == second.len() && differing == 0,
        "{differing} of {} weights differ",
        first.len()
    );
}

#[test]
fn any_number_of_threads_gives_the_same_weights_after_fifty_steps() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&settings(50), None, None, None))
    };
    let (one, outcome, losses) = run(1);
    assert_eq!(outcome.steps, 50);
    assert!(losses[49] < losses[0], "nothing was learnt: {losses:?}");
    for threads in [2, 3] {
        assert_same_bits(&one, &run(threads).0);
    }
}

#[test]
fn parts_of_a_batch_add_up_to_the_whole() {
    let whole = TrainSettings {
        micro_batch_tokens: 1_000_000,
        ..settings(10)
    };
    let parts = TrainSettings {
        micro_batch_tokens: 100,
        ..settings(10)
    };
    let ((_, _, whole), (_, _, parts)) = (train(&whole, None, None, None), train(&parts, None, None, None));
    for (step, (whole, parts)) in whole.iter().zip(&parts).enumerate() {
        assert!(
            (whole - parts).abs() < 1e-5,
            "step {step}: loss {whole} in one part, {parts} in several"
        );
    }
}

#[test]
fn a_student_learns_the_same_from_parts_of_a_batch_and_after_a_pause() {
    let lessons = lessons();
    let settings = TrainSettings {
        class_weights: toml::Value::from("balanced").try_into().unwrap(),
        ..settings(17)
    };
    let run = |settings: &TrainSettings, checkpoints: Option<&Path>, resume: Option<&Path>, stop_after| {
        train_with(settings, Some(&lessons), checkpoints, resume, stop_after)
    };
    let (expected, _, whole) = run(&settings, None, None, None);
    assert_ne!(whole[0], train(&settings, None, None, None).2[0]);
    let small = TrainSettings {
        micro_batch_tokens: 100,
        ..settings.clone()
    };
    for (step, (whole, parts)) in whole.iter().zip(run(&small, None, None, None).2).enumerate() {
        assert!(
            (whole - parts).abs() < 1e-5,
            "step {step}: loss {whole} in one part, {parts} in several"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    run(&settings, Some(directory.path()), None, Some(8));
    let checkpoint = directory.path().join("checkpoint-8");
    assert_same_bits(&expected, &run(&settings, None, Some(&checkpoint), None).0);
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let (expected, uninterrupted, _) = train(&settings(37), None, None, None);
    // 10 is at an evaluation, 23 between two of them and within the fourth epoch.
    for stop_after in [1, 10, 23] {
        let directory = tempfile::tempdir().unwrap();
        let (_, outcome, _) = train(&settings(37), Some(directory.path()), None, Some(stop_after));
        assert!(outcome.interrupted);
        let checkpoint = directory.path().join(format!("checkpoint-{stop_after}"));
        let (weights, resumed, losses) = train(&settings(37), None, Some(&checkpoint), None);
        assert_eq!(
            (resumed.steps, losses.len()),
            (37 - stop_after, 37 - stop_after as usize)
        );
        assert_same_bits(&expected, &weights);
        assert_eq!(resumed.state.best_metric, uninterrupted.state.best_metric);
        assert_eq!(resumed.state.best_global_step, uninterrupted.state.best_global_step);
        assert_eq!(resumed.best, uninterrupted.best);
        assert_eq!(
            resumed.state.num_input_tokens_seen,
            uninterrupted.state.num_input_tokens_seen
        );
    }
}

#[test]
fn a_run_resumed_with_other_micro_batches_is_the_same_but_for_rounding() {
    let (expected, _, expected_losses) = train(&settings(37), None, None, None);
    let directory = tempfile::tempdir().unwrap();
    train(&settings(37), Some(directory.path()), None, Some(30));
    let checkpoint = directory.path().join("checkpoint-30");
    let smaller = TrainSettings {
        micro_batch_tokens: 200,
        ..settings(37)
    };
    assert_ne!(smaller.micro_batch_tokens, settings(37).micro_batch_tokens);
    let (weights, resumed, losses) = train(&smaller, None, Some(&checkpoint), None);
    for (one, other) in expected_losses[30..].iter().zip(&losses) {
        assert!((one - other).abs() < 1e-6, "{one} {other}");
    }
    // The true gradient of a key's bias is 0: it moves by rounding alone, whichever way the batches are cut.
    let names = model()
        .parameters
        .iter()
        .map(|(_, name, _)| name.to_owned())
        .collect::<Vec<_>>();
    let parameters = names.iter().zip(expected.iter().zip(&weights));
    let compared = parameters.filter(|(name, _)| !name.ends_with("key.bias"));
    let differences =
        compared.flat_map(|(_, (one, other))| one.iter().zip(other).map(|(one, other)| (one - other).abs()));
    let largest = differences.fold(0.0, f32::max);
    assert!(largest > 0.0 && largest < 1e-6, "{largest:e}");
    let entries = &resumed.state.log_history;
    let entry = entries
        .iter()
        .find(|entry| entry.contains_key("micro_batch_tokens_before"));
    assert_eq!(entry.unwrap()["micro_batch_tokens"], 200);
}

#[test]
fn a_resumed_run_keeps_its_micro_batches_unless_fewer_tokens_are_asked_for() {
    let smaller = TrainSettings {
        micro_batch_tokens: 200,
        ..settings(20)
    };
    let (expected, ..) = train(&smaller, None, None, None);
    let directory = tempfile::tempdir().unwrap();
    train(&smaller, Some(directory.path()), None, Some(12));
    let checkpoint = directory.path().join("checkpoint-12");
    for checkpoint_activations in [CheckpointActivations::Auto, CheckpointActivations::Always] {
        let settings = TrainSettings {
            checkpoint_activations,
            ..settings(20)
        };
        let (weights, resumed, _) = train(&settings, None, Some(&checkpoint), None);
        assert_eq!(resumed.memory.micro_batch_tokens, 200);
        assert_same_bits(&expected, &weights);
    }
}

#[test]
fn checkpoints_are_rotated_and_the_last_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    train(&settings(37), Some(directory.path()), None, None);
    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["checkpoint-30", "checkpoint-37"]);
}
