//! Training within a limit of memory: the same run, and never more than the limit. One test, because memory is counted for
//! the whole process.

use std::sync::atomic::AtomicBool;

use gareum::data::{LabelSchema, Target, Task};
use gareum::head;
use gareum::machine::resident_memory_bytes;
use gareum::model::{Model, Noise};
use gareum::settings::{CheckpointActivations, MemorySize, TrainSettings};
use gareum::tokens::{Encoded, PackedBatch, Tokenizer, micro_batches};
use gareum::train::{EncodedExample, Event, MemoryEstimate, MemoryPlan, Passes, StepReport, TrainError, Trainer};
use serde_json::json;
use tensor::random::Sequence;
use tensor::{ParameterGradients, Tape, memory};

const BATCH: usize = 8;
const VOCABULARY: usize = 100;

/// Deep for its width: most of what it takes is kept by layers.
fn model() -> Model {
    let config = json!({
        "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 8,
        "num_attention_heads": 4, "intermediate_size": 256, "max_position_embeddings": 520, "initializer_range": 0.05,
    });
    let schema = LabelSchema {
        task: Task::SingleLabel,
        names: vec!["a".to_owned(), "b".to_owned()],
    };
    Model::from_config(config.as_object().unwrap().clone(), schema, 1).unwrap()
}

fn examples(count: usize) -> Vec<EncodedExample> {
    let mut random = Sequence::new(5, count as u64);
    let mut example = || {
        let length = 300 + random.below(213);
        let input_ids: Vec<u32> = (0..length).map(|_| random.below(VOCABULARY) as u32).collect();
        EncodedExample {
            target: Target::Class(input_ids[1] % 2),
            encoded: Encoded {
                token_type_ids: vec![0; length],
                full_length: length,
                input_ids,
            },
        }
    };
    (0..count).map(|_| example()).collect()
}

struct Run {
    plan: MemoryPlan,
    told: Option<MemoryPlan>,
    steps: Vec<StepReport>,
    peak_bytes: u64,
}

/// Trains for a few steps.
fn train(settings: &TrainSettings) -> Result<Run, TrainError> {
    let tokenizer = Tokenizer::train_wordpiece(["a b c a b c"].into_iter(), 30).unwrap();
    let (train, validation) = (examples(2 * BATCH), examples(3));
    let mut model = model();
    memory::release();
    memory::reset_peak();
    let trainer = Trainer {
        model: &mut model,
        tokenizer: &tokenizer,
        settings,
        max_length: 512,
        train: &train,
        lessons: None,
        validation: &validation,
        test: &[],
        checkpoints: None,
        resume: None,
        pause_after: None,
    };
    let (mut steps, mut told) = (Vec::new(), None);
    let mut observe = |event: Event<'_>| match event {
        Event::Step(report) => steps.push(report),
        Event::Planned { plan, .. } => told = Some(plan),
        _ => {}
    };
    let outcome = trainer.run(&mut observe, &AtomicBool::new(false))?;
    Ok(Run {
        plan: outcome.memory,
        told,
        steps,
        peak_bytes: memory::peak_bytes() as u64,
    })
}

/// The estimate of such a run.
fn estimate(settings: &TrainSettings, plan: MemoryPlan) -> u64 {
    let (train, validation, mut model) = (examples(2 * BATCH), examples(3), model());
    let tokenizer = Tokenizer::train_wordpiece(["a b c a b c"].into_iter(), 30).unwrap();
    let trainer = Trainer {
        model: &mut model,
        tokenizer: &tokenizer,
        settings,
        max_length: 512,
        train: &train,
        lessons: None,
        validation: &validation,
        test: &[],
        checkpoints: None,
        resume: None,
        pause_after: None,
    };
    let length = trainer.plan().unwrap();
    let passes = Passes::of_run(settings, &length, plan.micro_batch_tokens, &train, &[&validation]);
    MemoryEstimate::of_run(trainer.model, &passes, plan.checkpoint_activations, true, 0).tensor_bytes()
}

fn plan(micro_batch_tokens: usize, checkpoint_activations: bool) -> MemoryPlan {
    MemoryPlan {
        micro_batch_tokens,
        checkpoint_activations,
    }
}

/// The gradient of one batch.
fn gradients(model: &Model, examples: &[EncodedExample], plan: MemoryPlan) -> ParameterGradients {
    let lengths: Vec<usize> = examples.iter().map(|example| example.encoded.input_ids.len()).collect();
    let mut gradients = ParameterGradients::for_parameters(&model.parameters);
    let mut first_token = 0;
    for part in micro_batches(&lengths, plan.micro_batch_tokens) {
        let chosen = &examples[part.clone()];
        let batch = PackedBatch::new(chosen.iter().map(|example| &example.encoded), first_token, part.start);
        first_token += batch.tokens();
        let targets: Vec<&Target> = chosen.iter().map(|example| &example.target).collect();
        let tape = match plan.checkpoint_activations {
            true => Tape::recomputing(),
            false => Tape::recording(),
        };
        let logits = model.forward(&tape, &batch, Some(Noise { seed: 1, step: 2 })).unwrap();
        let loss = head::loss(&tape, &logits, &targets, model.schema(), examples.len()).unwrap();
        tape.backward(&loss, &mut gradients).unwrap();
    }
    gradients
}

/// The gradients as vectors, but for those of keys' biases, which are 0 but for rounding.
fn vectors(model: &Model, gradients: &ParameterGradients) -> Vec<(String, Vec<f64>)> {
    let named = model
        .parameters
        .iter()
        .filter(|(_, name, _)| !name.ends_with("key.bias"));
    named
        .map(|(id, name, _)| (name.to_owned(), gradients.get(id).unwrap().to_f64_vec()))
        .collect()
}

fn norm(vector: impl Iterator<Item = f64>) -> f64 {
    vector.map(|value| value * value).sum::<f64>().sqrt()
}

fn gradients_are_those_of_the_whole_batch() {
    let (model, batch) = (model(), examples(BATCH));
    let whole = vectors(&model, &gradients(&model, &batch, plan(100_000, false)));
    assert_eq!(
        whole,
        vectors(&model, &gradients(&model, &batch, plan(100_000, true))),
        "what is computed again is the same to the bit"
    );
    for plan in [plan(1, false), plan(1000, true)] {
        for ((name, whole), (_, parts)) in whole.iter().zip(vectors(&model, &gradients(&model, &batch, plan))) {
            let difference = norm(whole.iter().zip(&parts).map(|(whole, part)| whole - part));
            let relative = difference / norm(whole.iter().copied());
            assert!(relative < 1e-6, "{name}, {plan:?}: {relative:e}");
        }
    }
}

#[test]
fn a_limit_is_kept_and_changes_no_loss() {
    memory::give_back_large_blocks();
    gradients_are_those_of_the_whole_batch();

    let settings = TrainSettings {
        max_steps: Some(2),
        batch_size: BATCH,
        learning_rate: 1e-3,
        eval_steps: Some(1),
        ..TrainSettings::default()
    };
    let whole = train(&settings).unwrap();
    assert_eq!((whole.plan, whole.told), (plan(8192, false), None));

    let tensors = |tokens, again| estimate(&settings, plan(tokens, again));
    let (whole_bytes, one, one_again) = (tensors(8192, false), tensors(1, false), tensors(1, true));
    assert!(
        one < whole_bytes / 3 && one_again < one * 2 / 3,
        "{whole_bytes} {one} {one_again}"
    );
    assert!(whole.peak_bytes > 3 * one_again, "{}", whole.peak_bytes);

    // What the process has beside tensors, and what the plan keeps free, is not known to the byte: the limits lie in the
    // middle between two plans.
    let other = |()| {
        resident_memory_bytes()
            .unwrap_or(0)
            .saturating_sub(memory::bytes_kept() as u64)
    };
    let reserve = 16 << 20;
    let mut split_least = usize::MAX;
    for (tensor_bytes, again) in [
        ((whole_bytes + one) / 2, false),
        ((whole_bytes + 3 * one) / 4, false),
        ((one + one_again) / 2, true),
    ] {
        memory::release();
        let other = other(());
        let limit = other + reserve + tensor_bytes;
        let limited = TrainSettings {
            memory: Some(MemorySize { bytes: limit }),
            ..settings.clone()
        };
        let run = train(&limited).unwrap();
        let tokens = run.plan.micro_batch_tokens;
        assert!(
            run.plan.checkpoint_activations == again && tokens < 8192,
            "{:?}",
            run.plan
        );
        assert!(again || tokens < split_least, "{tokens} after {split_least}");
        split_least = tokens;
        assert_eq!(run.told, Some(run.plan));
        assert!(
            run.peak_bytes + other <= limit,
            "{} and {other} of {limit}",
            run.peak_bytes
        );
        println!("{:?}: {} of {tensor_bytes} bytes", run.plan, run.peak_bytes);
        for (whole, part) in whole.steps.iter().zip(&run.steps) {
            let close = |whole: f64, part: f64| (whole - part).abs() < 1e-5 * whole.abs();
            assert!(
                close(whole.loss, part.loss) && close(whole.grad_norm, part.grad_norm),
                "{whole:?} {part:?}"
            );
        }
    }

    let shortage = |checkpoint_activations| {
        let limited = TrainSettings {
            memory: Some(MemorySize { bytes: 1 << 20 }),
            checkpoint_activations,
            ..settings.clone()
        };
        match train(&limited) {
            Err(error @ TrainError::Memory(_)) => error.to_string(),
            other => panic!("{:?}", other.map(|run| run.plan)),
        }
    };
    let again = shortage(CheckpointActivations::Auto);
    assert!(
        again.contains("even with one text at a time and layers computed again, the limit is 1.0 MiB"),
        "{again}"
    );
    let kept = shortage(CheckpointActivations::Never);
    assert!(
        kept.contains("hint: --set train.checkpoint_activations=auto takes less"),
        "{kept}"
    );
}
