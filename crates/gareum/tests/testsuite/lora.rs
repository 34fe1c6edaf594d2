//! Adapters against PyTorch and `peft`: logits, loss, every gradient, ten AdamW steps; merged and several over one base; what is
//! saved is what was read. `tests/reference/lora.py` wrote what is compared with, in float64.

use std::path::{Path, PathBuf};

use gareum::data::{LabelSchema, Target, Task};
use gareum::head;
use gareum::model::{Adapter, AdapterFiles, HeadSource, LoadedWeights, Model, Noise, Precision};
use gareum::settings::{LoraBias, LoraSettings, LoraTargets, NamedTargets, Pattern, QuantizeBase};
use gareum::tokens::{Encoded, PackedBatch};
use gareum::train::{Schedule, has_weight_decay};
use serde_json::Value;
use tensor::optimizer::{AdamW, AdamWOptions, clip_factor, global_norm};
use tensor::{DType, ParameterGradients, Tape};

const ADAPTERS: [&str; 17] = [
    "bert",
    "bert-all",
    "roberta",
    "electra",
    "distilbert",
    "deberta-v2",
    "deberta-v2-conv",
    "bart",
    "modernbert",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt_neox",
    "bert-nf4",
    "deberta-v2-nf4",
    "qwen2-nf4",
];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures")
}

struct Fixture {
    directory: PathBuf,
    json: Value,
    tensors: LoadedWeights,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let directory = fixtures().join("lora").join(name);
        let json = serde_json::from_slice(&std::fs::read(directory.join("reference.json")).unwrap()).unwrap();
        let tensors = LoadedWeights::open(directory.join("reference.safetensors")).unwrap();
        Self {
            directory,
            json,
            tensors,
        }
    }

    fn get(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensors.get(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        tensor.to_f64_vec()
    }

    fn model(&self, dtype: DType) -> Model {
        let quantize_base = match self.json["nf4"] == true {
            true => QuantizeBase::Nf4,
            false => QuantizeBase::None,
        };
        let model = Model::load_with_adapter(&self.directory, None, quantize_base).unwrap();
        let narrow = model
            .parameters
            .iter()
            .filter(|(_, _, value)| value.dtype() == DType::Nf4);
        assert_eq!(narrow.count() > 0, quantize_base == QuantizeBase::Nf4);
        match dtype {
            DType::F64 => model.to_dtype(dtype),
            _ => model,
        }
    }

    fn base(&self) -> PathBuf {
        fixtures().join(self.json["family"].as_str().unwrap())
    }
}

fn sequences(batch: &Value) -> Vec<Encoded> {
    let ids = |value: &Value| -> Vec<Vec<u32>> { serde_json::from_value(value.clone()).unwrap() };
    let input_ids = ids(&batch["input_ids"]);
    let types = match &batch["token_type_ids"] {
        Value::Null => input_ids.iter().map(|ids| vec![0; ids.len()]).collect(),
        types => ids(types),
    };
    let encode = |(input_ids, token_type_ids): (Vec<u32>, Vec<u32>)| Encoded {
        full_length: input_ids.len(),
        input_ids,
        token_type_ids,
    };
    input_ids.into_iter().zip(types).map(encode).collect()
}

/// Runs a batch in parts of at most `max_tokens` and returns logits, loss and gradients.
fn run(
    model: &Model,
    batch: &Value,
    noise: Option<Noise>,
    max_tokens: usize,
    recomputes: bool,
) -> (Vec<f64>, f64, ParameterGradients) {
    let sequences = sequences(batch);
    let labels = batch["labels"].as_array().unwrap().iter();
    let targets: Vec<Target> = labels
        .map(|label| Target::Class(label.as_u64().unwrap() as u32))
        .collect();
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.input_ids.len()).collect();
    let mut gradients = ParameterGradients::for_parameters(&model.parameters);
    let (mut logits, mut loss) = (Vec::new(), 0.0);
    for part in gareum::tokens::micro_batches(&lengths, max_tokens) {
        let first_token = lengths[..part.start].iter().sum();
        let packed = PackedBatch::new(&sequences[part.clone()], first_token, part.start);
        let tape = match recomputes {
            true => Tape::recomputing(),
            false => Tape::recording(),
        };
        let output = model.forward(&tape, &packed, noise).unwrap();
        let targets: Vec<&Target> = targets[part].iter().collect();
        let part_loss = head::loss(&tape, &output, &targets, model.schema(), sequences.len()).unwrap();
        logits.extend(output.value().to_f64_vec());
        loss += part_loss.value().to_f64_vec()[0];
        tape.backward(&part_loss, &mut gradients).unwrap();
    }
    (logits, loss, gradients)
}

fn logits_of(model: &Model, batch: &Value) -> Vec<f64> {
    let packed = PackedBatch::new(&sequences(batch), 0, 0);
    model
        .forward(&Tape::inference(), &packed, None)
        .unwrap()
        .value()
        .to_f64_vec()
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

/// Whether a bias of keys adds the same to a whole row of scores: its true gradient is zero.
fn is_key_bias(name: &str) -> bool {
    name.ends_with("key.bias")
}

#[test]
fn logits_losses_and_gradients_are_those_of_peft() {
    for name in ADAPTERS {
        let fixture = Fixture::open(name);
        let batch = &fixture.json["pair"]["batch"];
        for (dtype, tolerance, max_tokens, recomputes) in [
            (DType::F64, 1e-10, usize::MAX, false),
            (DType::F32, 1e-5, usize::MAX, false),
            (DType::F32, 1e-5, 12, false),
            (DType::F64, 1e-10, 12, true),
        ] {
            let model = fixture.model(dtype);
            let (logits, loss, gradients) = run(&model, batch, None, max_tokens, recomputes);
            let expected = fixture.get("pair.logits");
            let error = worst(&logits, &expected) / largest(&expected).max(1.0);
            assert!(error <= tolerance, "{name} {dtype:?}: logits are off by {error:e}");
            let expected = fixture.get("pair.loss")[0];
            assert!(
                (loss - expected).abs() <= tolerance * expected.abs().max(1.0),
                "{name}: {loss}"
            );
            let parameters = &model.parameters;
            let expected = |name: &str| fixture.get(&format!("pair.gradient.{name}"));
            let trained = || parameters.iter().filter(|(id, _, _)| parameters.is_trainable(*id));
            let overall = trained()
                .map(|(_, name, _)| largest(&expected(name)))
                .fold(0.0, f64::max);
            for (id, parameter, value) in parameters.iter() {
                let found = gradients.get(id).map(|gradient| gradient.to_f64_vec());
                if !parameters.is_trainable(id) {
                    assert!(found.is_none(), "{name} {parameter} is frozen");
                    continue;
                }
                let (expected, found) = (expected(parameter), found.unwrap_or(vec![0.0; value.len()]));
                let floor = if is_key_bias(parameter) { 1e-2 } else { 1e-3 };
                let allowed = tolerance * largest(&expected).max(floor * overall);
                let error = worst(&found, &expected);
                assert!(
                    error <= allowed,
                    "{name} {parameter}: off by {error:e}, allowed {allowed:e}"
                );
            }
            let stored = fixture
                .tensors
                .names()
                .filter(|name| name.starts_with("pair.gradient."));
            assert_eq!(stored.count(), trained().count(), "{name}");
        }
    }
}

#[test]
fn ten_optimizer_steps() {
    for name in ADAPTERS {
        let fixture = Fixture::open(name);
        let steps = &fixture.json["ten_steps"];
        let number = |key: &str| steps[key].as_f64().unwrap();
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
            let mut model = fixture.model(dtype);
            let decay = number("weight_decay");
            let mut optimizer = AdamW::new(&model.parameters, AdamWOptions::default(), |_, value| {
                if has_weight_decay(value.shape()) { decay } else { 0.0 }
            });
            for step in 0..10 {
                let batch = &steps["batches"][steps["batch_of_step"][step].as_u64().unwrap() as usize];
                let (_, loss, gradients) = run(&model, batch, None, usize::MAX, false);
                let norm = global_norm(&gradients);
                let factor = clip_factor(norm, number("max_grad_norm"));
                let rate = Schedule::Linear.learning_rate(number("learning_rate"), step as u64, 3, 10);
                optimizer.step(&mut model.parameters, &gradients, factor, rate).unwrap();
                for (what, found) in [("losses", loss), ("gradient_norms", norm)] {
                    let expected = fixture.get(&format!("ten_steps.{what}"))[step];
                    let error = (found - expected).abs();
                    assert!(
                        error <= tolerance * expected.abs().max(1e-3),
                        "{name} step {step} {what}: {found}"
                    );
                }
            }
            let before = fixture.model(dtype);
            for (id, parameter, value) in model.parameters.iter() {
                // A third of GPT-NeoX's biases are such.
                let has_key_biases = dtype == DType::F32 && parameter.ends_with("query_key_value.bias");
                if !model.parameters.is_trainable(id) {
                    assert!(optimizer.moments(id).is_none());
                    assert_eq!(value.to_f64_vec(), before.parameters.get(id).to_f64_vec());
                } else if !is_key_bias(parameter) && !has_key_biases {
                    let expected = fixture.get(&format!("ten_steps.after.{parameter}"));
                    let error = worst(&value.to_f64_vec(), &expected);
                    assert!(error <= tolerance, "{name} {dtype:?} {parameter}: off by {error:e}");
                }
            }
        }
    }
}

#[test]
fn a_merged_model_computes_the_same_and_is_a_plain_one() {
    for name in ADAPTERS {
        let fixture = Fixture::open(name);
        let batch = &fixture.json["pair"]["batch"];
        let mut model = fixture.model(DType::F64);
        let expected = logits_of(&model, batch);
        model.merge().unwrap();
        assert!(model.adapter().is_none());
        let error = worst(&logits_of(&model, batch), &expected);
        assert!(error < 1e-10, "{name}: {error:e}");
        let directory = tempfile::tempdir().unwrap();
        model.to_dtype(DType::F32).save(directory.path()).unwrap();
        assert!(!Adapter::is_in(directory.path()));
        let (again, notes) = Model::load(directory.path(), HeadSource::Checkpoint).unwrap();
        assert!(notes.fresh.is_empty() && notes.unused.is_empty(), "{notes:?}");
        assert!(worst(&logits_of(&again, batch), &expected) < 1e-4, "{name}");
    }
}

#[test]
fn several_adapters_share_one_packed_base() {
    for family in ["bert", "electra", "deberta-v2", "deberta-v2-conv", "bart"] {
        let fixture = Fixture::open(family);
        let (base, fresh) = Model::load_base(&fixture.base(), QuantizeBase::None).unwrap();
        let base = base.for_prediction(Precision::F32).unwrap();
        let open = |directory: &Path| {
            let files = AdapterFiles::open(directory).unwrap();
            base.with_adapter(files, &fresh, &fixture.base())
        };
        // Another one beside it, for two labels instead of three.
        let directory = tempfile::tempdir().unwrap();
        let mut other = adapted(family, &LoraSettings::default());
        change(&mut other);
        other.save(directory.path()).unwrap();
        let batch = &fixture.json["pair"]["batch"];
        let models = [fixture.directory.as_path(), directory.path()].map(|directory| open(directory).unwrap());
        let expected = [fixture.get("pair.logits"), logits_of(&other, batch)];
        for (model, expected) in models.iter().zip(expected) {
            let error = worst(&logits_of(model, batch), &expected);
            assert!(error < 1e-5 * largest(&expected).max(1.0), "{family}: {error:e}");
        }
    }
    let (base, fresh) = Model::load_base(&fixtures().join("bert"), QuantizeBase::None).unwrap();
    let base = base.for_prediction(Precision::F32).unwrap();
    let files = AdapterFiles::open(&fixtures().join("lora/bert-all")).unwrap();
    let error = error(base.with_adapter(files, &fresh, &fixtures().join("bert")));
    assert!(error.contains("the adapter has biases of its own, so it cannot share a base with others"));
}

/// A model with fresh products of low rank over a fixture's, and a fresh head for two labels.
fn adapted(family: &str, settings: &LoraSettings) -> Model {
    let base = fixtures().join(family);
    let schema = LabelSchema {
        task: Task::SingleLabel,
        names: vec!["no".to_owned(), "yes".to_owned()],
    };
    let head = HeadSource::Labels {
        schema: &schema,
        reset: true,
        seed: 3,
        classifier_dropout: None,
    };
    let (mut model, notes) = Model::load(&base, head).unwrap();
    model.add_lora(settings, &notes.fresh, &base, 3).unwrap();
    model
}

fn targets(suffixes: &[&str]) -> LoraTargets {
    LoraTargets::Suffixes(suffixes.iter().map(|suffix| (*suffix).to_owned()).collect())
}

#[test]
fn fresh_products_change_nothing_and_are_saved_as_peft_does() {
    let lora = LoraSettings::default();
    for (family, settings, modules, suffixes, whole) in [
        (
            "bert",
            lora.clone(),
            13,
            "query key value attention.output.dense intermediate.dense",
            "classifier",
        ),
        (
            "roberta",
            LoraSettings {
                targets: LoraTargets::Named(NamedTargets::Default),
                rank_stabilized: true,
                bias: LoraBias::All,
                ..lora.clone()
            },
            4,
            "query value",
            "classifier",
        ),
        (
            "distilbert",
            lora.clone(),
            18,
            "q_lin k_lin v_lin out_lin lin1 lin2",
            "pre_classifier classifier",
        ),
        (
            "deberta-v2",
            LoraSettings {
                targets: LoraTargets::Pattern(Pattern {
                    regex: r".*layer\.1\..*(query_proj|output\.dense)".to_owned(),
                }),
                ..lora.clone()
            },
            3,
            "1.attention.self.query_proj 1.attention.output.dense 1.output.dense",
            "pooler classifier",
        ),
        (
            "bart",
            LoraSettings {
                targets: targets(&["encoder_attn.out_proj", "fc1"]),
                ..lora.clone()
            },
            6,
            "fc1 encoder_attn.out_proj",
            "classification_head",
        ),
    ] {
        let model = adapted(family, &settings);
        let adapter = model.adapter().unwrap();
        assert_eq!(
            (adapter.modules.len(), adapter.modules_to_save.join(" ")),
            (modules, whole.to_owned()),
            "{family}"
        );
        let batch = &Fixture::open(family).json["pair"]["batch"];
        let expected = logits_of(&model, batch);
        let mut plain = model.clone();
        plain.merge().unwrap();
        assert_eq!(logits_of(&plain, batch), expected, "{family}: B begins with zeros");

        let directory = tempfile::tempdir().unwrap();
        let mut changed = model.clone();
        change(&mut changed);
        changed.save(directory.path()).unwrap();
        let config = std::fs::read(directory.path().join("adapter_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let named: Vec<&str> = config["target_modules"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        if family != "bert" {
            assert_eq!(named.join(" "), suffixes, "{family}");
        }
        assert!(!directory.path().join("model.safetensors").exists());
        let (again, _) = Model::load(directory.path(), HeadSource::Checkpoint).unwrap();
        assert_eq!(again.schema(), model.schema());
        assert_eq!(logits_of(&again, batch), logits_of(&changed, batch), "{family}");
        assert_ne!(logits_of(&again, batch), expected, "{family}");
    }
}

/// Changes everything that is trained.
fn change(model: &mut Model) {
    let trained: Vec<_> = model.parameters.iter().map(|(id, _, _)| id).collect();
    for id in trained
        .into_iter()
        .filter(|id| model.parameters.is_trainable(*id))
        .collect::<Vec<_>>()
    {
        let value = model.parameters.get_mut(id);
        for (index, value) in value.as_mut_slice::<f32>().unwrap().iter_mut().enumerate() {
            *value += ((index * 7) % 11) as f32 * 0.02 - 0.1;
        }
    }
}

#[test]
fn dropout_of_what_goes_in_does_not_depend_on_how_a_batch_is_cut_up() {
    let settings = LoraSettings {
        dropout: 0.5,
        rank: 4,
        ..LoraSettings::default()
    };
    let noise = Some(Noise { seed: 5, step: 2 });
    for family in ["bert", "deberta-v2"] {
        let mut model = adapted(family, &settings);
        change(&mut model);
        let model = model.to_dtype(DType::F64);
        let batch = serde_json::json!({
            "input_ids": [[3, 4, 5, 6], [7, 8], [9, 10, 11]], "token_type_ids": null, "labels": [0, 1, 1],
        });
        let (whole, _, gradients) = run(&model, &batch, noise, usize::MAX, false);
        let (parts, _, of_parts) = run(&model, &batch, noise, 4, true);
        assert!(worst(&whole, &parts) < 1e-12);
        for (id, gradient) in gradients.iter() {
            let name = model.parameters.name(id);
            let other = of_parts.get(id).unwrap_or_else(|| panic!("{name}"));
            assert!(worst(&gradient.to_f64_vec(), &other.to_f64_vec()) < 1e-10, "{name}");
        }
        assert!(
            worst(&whole, &run(&model, &batch, None, usize::MAX, false).0) > 1e-3,
            "nothing was dropped"
        );
    }
}

fn error(result: Result<Model, gareum::model::ModelError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_used_is_named() {
    let base = fixtures().join("bert");
    let (model, fresh) = Model::load_base(&base, QuantizeBase::None).unwrap();
    let settings = LoraSettings {
        targets: targets(&["q_proj"]),
        ..LoraSettings::default()
    };
    let found = model
        .clone()
        .add_lora(&settings, &fresh, &base, 1)
        .unwrap_err()
        .to_string();
    assert_eq!(
        found,
        "lora.targets: no product of the model is called `q_proj`\nhint: the names end in `query`, `key`, `value`, `dense`"
    );

    let directory = tempfile::tempdir().unwrap();
    let adapter = directory.path().join("adapter");
    let copy = |name: &str| std::fs::copy(fixtures().join("lora/bert").join(name), adapter.join(name)).unwrap();
    std::fs::create_dir(&adapter).unwrap();
    copy("adapter_config.json");
    copy("adapter_model.safetensors");
    let shown = |text: String| text.replace(&directory.path().display().to_string(), "DIR");
    assert_eq!(
        shown(error(Model::load_with_adapter(&adapter, None, QuantizeBase::None))),
        "DIR/adapter: the adapter belongs to the model `../../bert`, which is not there\nhint: name its directory: --base DIR"
    );
    assert!(Model::load_with_adapter(&adapter, Some(&base), QuantizeBase::None).is_ok());
    let other = error(Model::load_with_adapter(
        &adapter,
        Some(&fixtures().join("distilbert")),
        QuantizeBase::None,
    ));
    assert!(shown(other).starts_with("DIR/adapter/adapter_model.safetensors: 1 tensor is missing"));
    let path = Path::new("adapter_config.json");
    let config = std::fs::read_to_string(adapter.join(path)).unwrap();
    std::fs::write(
        adapter.join(path),
        config.replace("\"use_dora\": false", "\"use_dora\": true"),
    )
    .unwrap();
    assert_eq!(
        shown(error(Model::load_with_adapter(
            &adapter,
            Some(&base),
            QuantizeBase::None
        ))),
        "DIR/adapter/adapter_config.json: `use_dora` is true, expected false\nhint: merge the adapter with `peft` (merge_and_unload) and save the model"
    );
    let schema = model.schema().clone();
    let head = HeadSource::Labels {
        schema: &schema,
        reset: false,
        seed: 0,
        classifier_dropout: None,
    };
    let found = Model::load(&adapter, head).map(|(model, _)| model);
    assert_eq!(
        shown(error(found)),
        "DIR/adapter: this is an adapter, not a model\nhint: make a model of it: gareum merge --model DIR/adapter --output DIR"
    );
}
