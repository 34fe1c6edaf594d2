//! Every family against PyTorch: logits, loss, every gradient, ten AdamW steps, and one step under given dropout masks.
//! `tests/reference/encoders.py` wrote what is compared with, in float64.

use std::path::PathBuf;

use gareum::data::{LabelSchema, Target, Task};
use gareum::head;
use gareum::model::{HeadSource, LoadedWeights, Model, Noise, Precision};
use gareum::tokens::{Encoded, PackedBatch};
use gareum::train::{Schedule, has_weight_decay};
use serde_json::{Map, Value};
use tensor::optimizer::{AdamW, AdamWOptions, clip_factor, global_norm};
use tensor::{DType, ParameterGradients, Tape};

const FAMILIES: [&str; 17] = [
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
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt_neox",
];

/// Other values of the families' axes: one case, no steps, no dropout.
const VARIANTS: [&str; 8] = [
    "qwen2_sliding",
    "qwen3_biases",
    "mistral_global",
    "llama_linear",
    "llama_llama3",
    "llama_yarn",
    "gpt_neox_sequential",
    "modernbert_mean",
];

struct Fixture {
    directory: PathBuf,
    json: Value,
    tensors: LoadedWeights,
}

impl Fixture {
    fn open(family: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/reference/fixtures")
            .join(family);
        let json = serde_json::from_slice(&std::fs::read(directory.join("reference.json")).unwrap()).unwrap();
        let tensors = LoadedWeights::open(directory.join("reference.safetensors")).unwrap();
        Self {
            directory,
            json,
            tensors,
        }
    }

    fn get(&self, name: &str) -> Vec<f64> {
        self.tensors
            .get(name)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .to_f64_vec()
    }

    fn schema(&self, task: Task) -> LabelSchema {
        LabelSchema {
            task,
            names: (0..3).map(|label| format!("LABEL_{label}")).collect(),
        }
    }

    /// The tiny model, with the head's meaning changed to `task` (the weights are the same).
    fn model(&self, task: Task, dtype: DType, overrides: &Map<String, Value>) -> Model {
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(
            self.directory.join("model.safetensors"),
            directory.path().join("model.safetensors"),
        )
        .unwrap();
        let config = std::fs::read(self.directory.join("config.json")).unwrap();
        let mut config: Map<String, Value> = serde_json::from_slice(&config).unwrap();
        config.extend(overrides.clone());
        let problem_type = match task {
            Task::SingleLabel => "single_label_classification",
            Task::MultiLabel => "multi_label_classification",
            Task::Regression => "regression",
        };
        config.insert("problem_type".to_owned(), problem_type.into());
        std::fs::write(directory.path().join("config.json"), Value::Object(config).to_string()).unwrap();
        let schema = self.schema(task);
        let head = HeadSource::Labels {
            schema: &schema,
            reset: false,
            seed: 0,
            classifier_dropout: None,
        };
        let (model, notes) = Model::load(directory.path(), head).unwrap();
        assert!(notes.fresh.is_empty() && notes.unused.is_empty(), "{notes:?}");
        model.to_dtype(dtype)
    }
}

fn ids(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn sequences(batch: &Value) -> Vec<Encoded> {
    let input_ids = ids(&batch["input_ids"]);
    let types = match &batch["token_type_ids"] {
        Value::Null => input_ids.iter().map(|ids| vec![0; ids.len()]).collect(),
        types => ids(types),
    };
    let encode = |(input_ids, token_type_ids): (Vec<u32>, Vec<u32>)| {
        let full_length = input_ids.len();
        Encoded {
            input_ids,
            token_type_ids,
            full_length,
        }
    };
    input_ids.into_iter().zip(types).map(encode).collect()
}

/// Targets of a batch; the regression fixture has three numbers for each example, which one-number targets cannot hold.
fn targets(batch: &Value, task: Task) -> Vec<Target> {
    let labels = batch["labels"].as_array().unwrap();
    let target = |label: &Value| match task {
        Task::SingleLabel => Target::Class(label.as_u64().unwrap() as u32),
        Task::MultiLabel => {
            let indicators = label.as_array().unwrap().iter().zip(0..);
            Target::Classes(
                indicators
                    .filter(|(value, _)| value.as_f64() == Some(1.0))
                    .map(|(_, id)| id)
                    .collect(),
            )
        }
        Task::Regression => unreachable!("handled by its own loss"),
    };
    labels.iter().map(target).collect()
}

/// Runs a batch in parts of at most `max_tokens` and returns logits, loss and gradients.
fn run(
    model: &Model,
    batch: &Value,
    task: Task,
    noise: Option<Noise>,
    max_tokens: usize,
) -> (Vec<f64>, f64, ParameterGradients) {
    let sequences = sequences(batch);
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.input_ids.len()).collect();
    let mut gradients = ParameterGradients::for_parameters(&model.parameters);
    let (mut logits, mut loss) = (Vec::new(), 0.0);
    for part in gareum::tokens::micro_batches(&lengths, max_tokens) {
        let first_token = lengths[..part.start].iter().sum();
        let packed = PackedBatch::new(&sequences[part.clone()], first_token, part.start);
        let tape = Tape::recording();
        let output = model.forward(&tape, &packed, noise).unwrap();
        let part_loss = match task {
            Task::Regression => {
                let values: Vec<Vec<f32>> = serde_json::from_value(batch["labels"].clone()).unwrap();
                let normalizer = values.concat().len() as f64;
                tensor::ops::mean_squared_error(&tape, &output, &values[part].concat(), normalizer)
            }
            _ => {
                let targets = targets(batch, task);
                let targets: Vec<&Target> = targets[part].iter().collect();
                head::loss(&tape, &output, &targets, model.schema(), sequences.len())
            }
        }
        .unwrap();
        logits.extend(output.value().to_f64_vec());
        loss += part_loss.value().to_f64_vec()[0];
        tape.backward(&part_loss, &mut gradients).unwrap();
    }
    (logits, loss, gradients)
}

/// Whether a bias of keys adds the same to a whole row of scores. It does not where keys are compared with positions too.
fn is_key_bias(model: &Model, name: &str) -> bool {
    let of_positions = name.ends_with("pos_key_proj.bias");
    let of_contents = ["key.bias", "k_lin.bias", "k_proj.bias", "key_proj.bias"];
    let compared = model.config().relative.is_some_and(|relative| relative.has_queries);
    of_positions || (!compared && of_contents.iter().any(|end| name.ends_with(end)))
}

fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .fold(0.0, |worst: f64, (found, expected)| worst.max((found - expected).abs()))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

/// `tolerance` is relative to the largest entry of each gradient, or to a thousandth of the largest of all.
fn check_gradients(
    fixture: &Fixture,
    model: &Model,
    gradients: &ParameterGradients,
    place: &str,
    case: &str,
    tolerance: f64,
) {
    let expected = |name: &str| fixture.get(&format!("{case}.gradient.{name}"));
    let overall = model
        .parameters
        .iter()
        .map(|(_, name, _)| largest(&expected(name)))
        .fold(0.0, f64::max);
    for (id, name, value) in model.parameters.iter() {
        let expected = expected(name);
        let found = gradients
            .get(id)
            .map_or(vec![0.0; value.len()], |gradient| gradient.to_f64_vec());
        // The true gradient of a key bias is zero (softmax ignores what is added to a whole row), so that all of what is
        // found is rounding: it is held to the precision of f32 at the size of the model's largest gradient.
        let floor = if is_key_bias(model, name) { 1e-2 } else { 1e-3 };
        let allowed = tolerance * largest(&expected).max(floor * overall);
        let error = worst(&found, &expected);
        assert!(
            error <= allowed,
            "{place} {name}: gradient is off by {error:e}, allowed {allowed:e}"
        );
    }
}

const CASES: [(&str, Task); 4] = [
    ("single", Task::SingleLabel),
    ("pair", Task::SingleLabel),
    ("multi_label", Task::MultiLabel),
    ("regression", Task::Regression),
];

/// The cases that a fixture has.
fn cases(fixture: &Fixture) -> impl Iterator<Item = (&'static str, Task)> {
    let cases = fixture.json["cases"].as_object().unwrap();
    assert!(cases.contains_key("single"));
    CASES.into_iter().filter(|(case, _)| cases.contains_key(*case))
}

#[test]
fn logits_losses_and_gradients() {
    for family in FAMILIES.into_iter().chain(VARIANTS) {
        let fixture = Fixture::open(family);
        for (case, task) in cases(&fixture) {
            // In f64 the formulas are compared, in f32 what is used; whole and cut into parts.
            for (dtype, tolerance, max_tokens) in [
                (DType::F64, 1e-10, usize::MAX),
                (DType::F32, 1e-5, usize::MAX),
                (DType::F32, 1e-5, 12),
            ] {
                let model = fixture.model(task, dtype, &Map::new());
                let batch = &fixture.json["cases"][case]["batch"];
                let (logits, loss, gradients) = run(&model, batch, task, None, max_tokens);
                let expected = fixture.get(&format!("{case}.logits"));
                let error = worst(&logits, &expected) / largest(&expected).max(1.0);
                assert!(
                    error <= tolerance,
                    "{family} {case} {dtype:?}: logits are off by {error:e}"
                );
                let expected = fixture.get(&format!("{case}.loss"))[0];
                assert!(
                    (loss - expected).abs() <= tolerance * expected.abs().max(1.0),
                    "{family} {case}: loss {loss}"
                );
                check_gradients(
                    &fixture,
                    &model,
                    &gradients,
                    &format!("{family} {case}"),
                    case,
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn dropout_with_given_masks() {
    for family in FAMILIES {
        let fixture = Fixture::open(family);
        let dropout = &fixture.json["dropout"];
        let number = |key: &str| dropout[key].as_u64().unwrap();
        let noise = Some(Noise {
            seed: number("seed"),
            step: number("step"),
        });
        for (dtype, tolerance, max_tokens) in [
            (DType::F64, 1e-10, usize::MAX),
            (DType::F32, 1e-5, usize::MAX),
            (DType::F32, 1e-5, 12),
        ] {
            let model = fixture.model(Task::SingleLabel, dtype, dropout["config"].as_object().unwrap());
            let (logits, loss, gradients) = run(&model, &dropout["batch"], Task::SingleLabel, noise, max_tokens);
            let expected = fixture.get("dropout.logits");
            assert!(
                worst(&logits, &expected) <= tolerance * largest(&expected).max(1.0),
                "{family} {dtype:?}"
            );
            assert!(
                (loss - fixture.get("dropout.loss")[0]).abs() <= tolerance * loss.max(1.0),
                "{family} {dtype:?}"
            );
            let place = format!("{family} dropout");
            check_gradients(&fixture, &model, &gradients, &place, "dropout", tolerance);
        }
    }
}

#[test]
fn ten_optimizer_steps() {
    for family in FAMILIES {
        let fixture = Fixture::open(family);
        let steps = &fixture.json["ten_steps"];
        let number = |key: &str| steps[key].as_f64().unwrap();
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
            let mut model = fixture.model(Task::SingleLabel, dtype, &Map::new());
            let without: Vec<String> = serde_json::from_value(steps["no_weight_decay"].clone()).unwrap();
            for (_, name, value) in model.parameters.iter() {
                assert_eq!(
                    has_weight_decay(value.shape()),
                    !without.iter().any(|other| other == name),
                    "{name}"
                );
            }
            let decay = number("weight_decay");
            let mut optimizer = AdamW::new(&model.parameters, AdamWOptions::default(), |_, value| {
                if has_weight_decay(value.shape()) { decay } else { 0.0 }
            });
            for step in 0..10 {
                let batch = &steps["batches"][steps["batch_of_step"][step].as_u64().unwrap() as usize];
                let (_, loss, gradients) = run(&model, batch, Task::SingleLabel, None, usize::MAX);
                let norm = global_norm(&gradients);
                let factor = clip_factor(norm, number("max_grad_norm"));
                let rate = Schedule::Linear.learning_rate(number("learning_rate"), step as u64, 3, 10);
                optimizer.step(&mut model.parameters, &gradients, factor, rate).unwrap();
                for (name, found) in [("losses", loss), ("gradient_norms", norm), ("learning_rates", rate)] {
                    let expected = fixture.get(&format!("ten_steps.{name}"))[step];
                    let error = (found - expected).abs();
                    assert!(
                        error <= tolerance * expected.abs().max(1e-3),
                        "{family} step {step} {name}: {found}"
                    );
                }
            }
            for (_, name, value) in model.parameters.iter() {
                // AdamW normalises the rounding noise that stands in place of their gradient.
                let has_key_biases = dtype == DType::F32 && name.ends_with("query_key_value.bias");
                if is_key_bias(&model, name) || has_key_biases {
                    continue;
                }
                let expected = fixture.get(&format!("ten_steps.after.{name}"));
                let error = worst(&value.to_f64_vec(), &expected);
                assert!(
                    error <= tolerance,
                    "{family} {dtype:?} {name}: off by {error:e} after ten steps"
                );
            }
        }
    }
}

#[test]
fn what_is_saved_is_what_was_read() {
    for family in FAMILIES.into_iter().chain(VARIANTS) {
        let fixture = Fixture::open(family);
        let directory = tempfile::tempdir().unwrap();
        let model = fixture.model(Task::SingleLabel, DType::F32, &Map::new());
        model.save(directory.path()).unwrap();
        let [saved, read] = [directory.path(), &fixture.directory]
            .map(|directory| LoadedWeights::open(directory.join("model.safetensors")).unwrap());
        let names = |weights: &LoadedWeights| weights.names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&saved), names(&read), "{family}");
        for name in saved.names() {
            let [saved, read] = [&saved, &read].map(|weights| weights.get(name).unwrap());
            assert_eq!(saved.shape(), read.shape(), "{family} {name}");
            assert_eq!(saved.to_f64_vec(), read.to_f64_vec(), "{family} {name}");
        }
        let json = |directory: &std::path::Path| -> Map<String, Value> {
            serde_json::from_slice(&std::fs::read(directory.join("config.json")).unwrap()).unwrap()
        };
        let (saved, read) = (json(directory.path()), json(&fixture.directory));
        assert_eq!(saved["architectures"], read["architectures"], "{family}");
    }
}

/// A batch of the fixture, whole, on a tape for training, one that recomputes, or by packed weights.
#[test]
fn packed_weights_and_recomputed_layers_change_nothing() {
    for family in FAMILIES.into_iter().chain(VARIANTS) {
        let fixture = Fixture::open(family);
        let batch = &fixture.json["cases"]["single"]["batch"];
        let sequences = sequences(batch);
        let packed = PackedBatch::new(&sequences, 0, 0);
        let mut model = fixture.model(Task::SingleLabel, DType::F32, &Map::new());
        for (precision, tolerance) in [(Precision::F32, 1e-6), (Precision::Bf16, 0.08)] {
            model.precision = precision;
            let noise = Some(Noise { seed: 1, step: 2 });
            let pass = |tape: Tape| {
                let output = model.forward(&tape, &packed, noise).unwrap();
                let targets = targets(batch, Task::SingleLabel);
                let targets: Vec<&Target> = targets.iter().collect();
                let loss = head::loss(&tape, &output, &targets, model.schema(), sequences.len()).unwrap();
                let mut gradients = ParameterGradients::for_parameters(&model.parameters);
                tape.backward(&loss, &mut gradients).unwrap();
                let gradients: Vec<_> = gradients
                    .iter()
                    .map(|(id, gradient)| (id, gradient.to_f64_vec()))
                    .collect();
                (output.value().to_f64_vec(), gradients)
            };
            let (logits, gradients) = pass(Tape::recording());
            let again = pass(Tape::recomputing());
            assert!(logits == again.0, "{family} {precision:?}");
            // What several parts read (relative positions, the encoder's output, the convolution's input) gets a sum of gradients,
            // which is rounded otherwise where layers are taken one by one.
            let is_shared = family.starts_with("deberta") || family.contains("bart");
            let most = gradients
                .iter()
                .map(|(_, gradient)| largest(gradient))
                .fold(0.0, f64::max);
            for ((id, once), (_, again)) in gradients.iter().zip(&again.1) {
                let allowed = match (is_shared, precision) {
                    (false, _) => 0.0,
                    (true, Precision::F32) => 1e-6 * most,
                    (true, Precision::Bf16) => 0.02 * most,
                };
                assert!(worst(once, again) <= allowed, "{family} {precision:?} {id:?}");
            }
            let expected = fixture.get("single.logits");
            let prediction = model.clone().for_prediction(precision).unwrap();
            let predicted = prediction.forward(&Tape::inference(), &packed, None).unwrap();
            for found in [&logits, &predicted.value().to_f64_vec()] {
                let error = worst(found, &expected) / largest(&expected).max(1.0);
                assert!(
                    error <= tolerance,
                    "{family} {precision:?}: logits are off by {error:e}"
                );
            }
        }
    }
}
