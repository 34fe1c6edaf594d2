//! The estimate of memory against what tensors really take. One test, because that is counted for the whole process.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use gareum::data::{LabelSchema, Target, Task};
use gareum::model::{Freezing, HeadSource, LoadOptions, Model, Precision};
use gareum::settings::{CheckpointActivations, LoraSettings, LoraTargets, NamedTargets, QuantizeBase, TrainSettings};
use gareum::tokens::{Encoded, Tokenizer};
use gareum::train::{EncodedExample, MemoryEstimate, Passes, Trainer};
use serde_json::{Value, json};
use tensor::memory;
use tensor::random::Sequence;

#[derive(Clone)]
struct Case {
    family: &'static str,
    hidden: usize,
    layers: usize,
    inner: usize,
    vocabulary: usize,
    embedding: usize,
    labels: usize,
    dropout: f64,
    lengths: std::ops::RangeInclusive<usize>,
    batch: usize,
    micro_batch_tokens: usize,
    recompute: bool,
    validation: usize,
    precision: Precision,
    /// Rank of an adapter; 0 for none.
    rank: usize,
    /// Whether it is for all products or the usual ones.
    all_linear: bool,
    /// What the frozen weights are kept in.
    quantize_base: QuantizeBase,
    /// Frozen layers, the embeddings with them.
    frozen: usize,
}

const CASE: Case = Case {
    family: "bert",
    hidden: 64,
    layers: 2,
    inner: 256,
    vocabulary: 100,
    embedding: 64,
    labels: 3,
    dropout: 0.1,
    lengths: 3..=40,
    batch: 16,
    micro_batch_tokens: 8192,
    recompute: false,
    validation: 40,
    precision: Precision::F32,
    rank: 0,
    all_linear: true,
    quantize_base: QuantizeBase::None,
    frozen: 0,
};

fn model(case: &Case) -> Model {
    let mut config = json!({
        "model_type": case.family, "vocab_size": case.vocabulary, "max_position_embeddings": 520, "pad_token_id": 0,
    });
    let set: Vec<(&str, Value)> = match case.family {
        "distilbert" => vec![
            ("dim", case.hidden.into()),
            ("n_layers", case.layers.into()),
            ("n_heads", (case.hidden / 16).into()),
            ("hidden_dim", case.inner.into()),
            ("dropout", case.dropout.into()),
            ("attention_dropout", case.dropout.into()),
        ],
        "bart" | "mbart" => vec![
            ("d_model", case.hidden.into()),
            ("encoder_layers", case.layers.into()),
            ("decoder_layers", case.layers.into()),
            ("encoder_attention_heads", (case.hidden / 16).into()),
            ("decoder_attention_heads", (case.hidden / 16).into()),
            ("encoder_ffn_dim", case.inner.into()),
            ("decoder_ffn_dim", case.inner.into()),
            ("dropout", case.dropout.into()),
            ("attention_dropout", case.dropout.into()),
            ("activation_dropout", case.dropout.into()),
        ],
        "llama" | "mistral" | "qwen2" | "qwen3" | "gpt_neox" | "modernbert" => vec![
            ("hidden_size", case.hidden.into()),
            ("num_hidden_layers", case.layers.into()),
            ("num_attention_heads", (case.hidden / 16).into()),
            ("num_key_value_heads", (case.hidden / 32).into()),
            ("head_dim", 16.into()),
            ("intermediate_size", case.inner.into()),
            ("sliding_window", 20.into()),
            ("local_attention", 20.into()),
            ("attention_dropout", case.dropout.into()),
            ("hidden_dropout", case.dropout.into()),
            ("embedding_dropout", case.dropout.into()),
            ("mlp_dropout", case.dropout.into()),
        ],
        _ => vec![
            ("hidden_size", case.hidden.into()),
            ("embedding_size", case.embedding.into()),
            ("num_hidden_layers", case.layers.into()),
            ("num_attention_heads", (case.hidden / 16).into()),
            ("intermediate_size", case.inner.into()),
            ("hidden_dropout_prob", case.dropout.into()),
            ("attention_probs_dropout_prob", case.dropout.into()),
        ],
    };
    for (key, value) in set {
        config[key] = value;
    }
    if case.family == "deberta-v2" {
        config["embedding_size"] = case.hidden.into();
        config["relative_attention"] = true.into();
        config["pos_att_type"] = "c2p|p2c".into();
        config["position_buckets"] = 32.into();
        config["position_biased_input"] = false.into();
        config["norm_rel_ebd"] = "layer_norm".into();
        // Both variants: as v3 has them, and as the largest models do.
        config["share_att_key"] = (case.layers.is_multiple_of(2)).into();
        config["conv_kernel_size"] = if case.layers.is_multiple_of(2) { 0 } else { 3 }.into();
    }
    let schema = LabelSchema {
        task: Task::SingleLabel,
        names: (0..case.labels).map(|label| label.to_string()).collect(),
    };
    Model::from_config(config.as_object().unwrap().clone(), schema, 1).unwrap()
}

fn examples(case: &Case, count: usize) -> Vec<EncodedExample> {
    let mut random = Sequence::new(5, count as u64);
    let (least, most) = (*case.lengths.start(), *case.lengths.end());
    let mut example = || {
        let length = least + random.below(most - least + 1);
        let mut input_ids: Vec<u32> = (0..length).map(|_| random.below(case.vocabulary) as u32).collect();
        input_ids[length - 1] = 2; // by which BART pools
        let encoded = Encoded {
            token_type_ids: vec![0; length],
            full_length: length,
            input_ids,
        };
        let target = Target::Class(random.below(case.labels) as u32);
        EncodedExample { encoded, target }
    };
    (0..count).map(|_| example()).collect()
}

/// Trains for a few steps; returns the estimate and what was taken.
fn measure(case: &Case) -> (MemoryEstimate, u64) {
    let settings = TrainSettings {
        max_steps: Some(4),
        batch_size: case.batch,
        eval_steps: Some(2),
        micro_batch_tokens: case.micro_batch_tokens,
        checkpoint_activations: match case.recompute {
            true => CheckpointActivations::Always,
            false => CheckpointActivations::Never,
        },
        ..TrainSettings::default()
    };
    let tokenizer = Tokenizer::train_wordpiece(["a b c a b c"].into_iter(), 30).unwrap();
    let (train, validation) = (examples(case, 3 * case.batch), examples(case, case.validation));
    assert_eq!(memory::bytes_in_use(), 0, "left over by the case before");
    memory::release();
    let mut model = model(case);
    if case.quantize_base != QuantizeBase::None {
        let directory = tempfile::tempdir().unwrap();
        model.save(directory.path()).unwrap();
        let options = LoadOptions {
            quantize_base: case.quantize_base,
            ..LoadOptions::default()
        };
        model = Model::load_with(directory.path(), HeadSource::Checkpoint, &options)
            .unwrap()
            .0;
        memory::release();
    }
    model.precision = case.precision;
    if case.rank > 0 {
        let fresh: Vec<String> = model.parameters.iter().map(|(_, name, _)| name.to_owned()).collect();
        let targets = match case.all_linear {
            true => NamedTargets::AllLinear,
            false => NamedTargets::Default,
        };
        let lora = LoraSettings {
            rank: case.rank,
            dropout: case.dropout,
            targets: LoraTargets::Named(targets),
            quantize_base: case.quantize_base,
            ..LoraSettings::default()
        };
        model.add_lora(&lora, &fresh, Path::new("base"), 1).unwrap();
    }
    if case.frozen > 0 {
        model.freeze(Freezing {
            embeddings: true,
            layers: case.frozen,
            body: false,
        });
    }
    memory::reset_peak();
    let trainer = Trainer {
        model: &mut model,
        tokenizer: &tokenizer,
        settings: &settings,
        max_length: 512,
        train: &train,
        lessons: None,
        validation: &validation,
        test: &[],
        checkpoints: None,
        resume: None,
        pause_after: None,
    };
    let plan = trainer.plan().unwrap();
    let passes = Passes::of_run(&settings, &plan, settings.micro_batch_tokens, &train, &[&validation]);
    let estimate = MemoryEstimate::of_run(trainer.model, &passes, case.recompute, !validation.is_empty(), 0);
    trainer.run(&mut |_| {}, &AtomicBool::new(false)).unwrap();
    (estimate, memory::peak_bytes() as u64)
}

#[test]
fn estimates_are_never_below_what_is_taken_and_not_far_above() {
    let cases = [
        CASE,
        Case {
            precision: Precision::Bf16,
            ..CASE
        },
        Case {
            precision: Precision::Bf16,
            family: "electra",
            embedding: 32,
            lengths: 100..=300,
            ..CASE
        },
        Case { dropout: 0.0, ..CASE },
        Case { validation: 0, ..CASE },
        Case {
            validation: 600,
            ..CASE
        },
        // Several parts a batch, and one sequence a part.
        Case {
            micro_batch_tokens: 150,
            ..CASE
        },
        Case {
            micro_batch_tokens: 1,
            dropout: 0.0,
            ..CASE
        },
        // One long sequence, several of them, many short ones.
        Case {
            lengths: 500..=512,
            batch: 1,
            validation: 1,
            ..CASE
        },
        Case {
            lengths: 300..=512,
            batch: 6,
            hidden: 32,
            inner: 64,
            layers: 1,
            ..CASE
        },
        Case {
            lengths: 3..=6,
            batch: 200,
            ..CASE
        },
        // Gradients of tables that are larger than all activations.
        Case {
            vocabulary: 20_000,
            validation: 4,
            ..CASE
        },
        Case {
            vocabulary: 20_000,
            validation: 0,
            layers: 1,
            lengths: 3..=12,
            batch: 4,
            ..CASE
        },
        Case {
            labels: 150,
            layers: 1,
            ..CASE
        },
        // Families, and the sizes of real models.
        Case {
            family: "roberta",
            layers: 1,
            hidden: 96,
            inner: 200,
            ..CASE
        },
        Case {
            family: "electra",
            embedding: 48,
            hidden: 128,
            inner: 512,
            ..CASE
        },
        Case {
            family: "electra",
            embedding: 128,
            hidden: 64,
            dropout: 0.0,
            ..CASE
        },
        Case {
            family: "distilbert",
            layers: 3,
            ..CASE
        },
        Case {
            family: "distilbert",
            dropout: 0.0,
            micro_batch_tokens: 200,
            ..CASE
        },
        Case {
            family: "deberta-v2",
            ..CASE
        },
        Case {
            family: "deberta-v2",
            layers: 3,
            lengths: 30..=200,
            ..CASE
        },
        Case {
            family: "deberta-v2",
            layers: 1,
            dropout: 0.0,
            precision: Precision::Bf16,
            ..CASE
        },
        Case {
            family: "deberta-v2",
            hidden: 128,
            inner: 512,
            lengths: 100..=300,
            precision: Precision::Bf16,
            ..CASE
        },
        Case { family: "bart", ..CASE },
        Case {
            family: "bart",
            dropout: 0.0,
            layers: 1,
            lengths: 100..=300,
            precision: Precision::Bf16,
            ..CASE
        },
        Case {
            family: "mbart",
            layers: 3,
            ..CASE
        },
        Case {
            family: "mbart",
            hidden: 128,
            inner: 512,
            micro_batch_tokens: 150,
            dropout: 0.0,
            ..CASE
        },
        Case {
            hidden: 128,
            inner: 512,
            layers: 6,
            ..CASE
        },
        // Norms before the products, gates, fewer heads of keys, windows, halves that read the same.
        Case {
            family: "llama",
            ..CASE
        },
        Case {
            family: "mistral",
            lengths: 100..=300,
            dropout: 0.0,
            ..CASE
        },
        Case {
            family: "qwen2",
            hidden: 128,
            inner: 300,
            precision: Precision::Bf16,
            ..CASE
        },
        Case {
            family: "qwen3",
            layers: 3,
            ..CASE
        },
        Case {
            family: "gpt_neox",
            dropout: 0.0,
            ..CASE
        },
        Case {
            family: "gpt_neox",
            layers: 3,
            micro_batch_tokens: 150,
            ..CASE
        },
        Case {
            family: "modernbert",
            layers: 4,
            inner: 96,
            lengths: 20..=200,
            ..CASE
        },
        Case {
            family: "modernbert",
            dropout: 0.0,
            precision: Precision::Bf16,
            ..CASE
        },
        Case {
            hidden: 384,
            inner: 1536,
            layers: 2,
            validation: 60,
            dropout: 0.0,
            ..CASE
        },
        Case {
            hidden: 256,
            inner: 512,
            layers: 2,
            batch: 32,
            vocabulary: 2000,
            ..CASE
        },
        // Adapters, and frozen layers.
        Case { rank: 4, ..CASE },
        Case {
            rank: 16,
            all_linear: false,
            precision: Precision::Bf16,
            vocabulary: 5000,
            ..CASE
        },
        Case {
            rank: 8,
            dropout: 0.0,
            hidden: 128,
            inner: 512,
            layers: 6,
            lengths: 30..=100,
            ..CASE
        },
        Case {
            rank: 4,
            family: "electra",
            embedding: 32,
            ..CASE
        },
        Case {
            rank: 4,
            family: "deberta-v2",
            layers: 4,
            ..CASE
        },
        Case {
            rank: 8,
            family: "bart",
            ..CASE
        },
        Case {
            rank: 4,
            hidden: 192,
            quantize_base: QuantizeBase::Nf4,
            ..CASE
        },
        Case {
            rank: 4,
            family: "qwen2",
            precision: Precision::Bf16,
            quantize_base: QuantizeBase::Nf4,
            ..CASE
        },
        Case {
            rank: 4,
            family: "deberta-v2",
            quantize_base: QuantizeBase::Nf4,
            ..CASE
        },
        Case {
            frozen: 2,
            layers: 4,
            ..CASE
        },
        Case {
            frozen: 2,
            precision: Precision::Bf16,
            ..CASE
        },
    ];
    let recomputed = cases.clone().map(|case| Case {
        recompute: true,
        ..case
    });
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().chain(&recomputed).enumerate() {
        let (estimate, taken) = measure(case);
        let ratio = estimate.tensor_bytes() as f64 / taken as f64;
        println!("case {index}: {ratio:.3} of {taken} bytes");
        if !(1.0..=1.25).contains(&ratio) {
            wrong.push(format!(
                "case {index}: {ratio:.3} times the {taken} bytes taken: {estimate:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
