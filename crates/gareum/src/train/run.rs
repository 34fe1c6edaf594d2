//! A whole run: from settings to data, model, training, test and a model directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::checkpoint;
use super::diagnosis::TRAIN_SAMPLE;
use super::evaluate::evaluate_predictions;
use super::logs::Logs;
use super::page::Source;
use super::saved::save;
use super::{Diagnosis, EncodedExample, Evaluation, Event, Lessons, Outcome, TrainError, Trainer, evaluate};
use crate::data::{
    CleanOptions, CleanReport, ColumnRequest, ConflictPolicy, Dataset, Example, Input, LabelMap, LabelSchema, Leak,
    LoadReport, ReadOptions, Records, SchemaSource, Split, SplitOptions, Target, clean, keep_together, label_counts,
    leaks, read_inputs, share_of, split,
};
use crate::decision::Decision;
use crate::evaluation::page::sections;
use crate::evaluation::{Judged, length_slices};
use crate::files::create_directory;
use crate::hub::local_model;
use crate::metrics::{Bootstrap, Metrics};
use crate::model::{EncoderFolder, Freezing, HeadSource, LoadNotes, Model, Precision};
use crate::report::Page;
use crate::settings::{ScratchSettings, Settings};
use crate::tokens::{Tokenizer, Truncation};

/// The examples of a run.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// To learn from.
    pub train: Vec<Example>,
    /// To choose the best weights by; may be empty.
    pub validation: Vec<Example>,
    /// To measure on; may be empty.
    pub test: Vec<Example>,
}

/// Where the examples of one part came from.
#[derive(Debug, Clone, Serialize)]
pub struct PartReport {
    /// What was read.
    pub load: LoadReport,
    /// What was dropped.
    pub clean: CleanReport,
}

/// Data ready for training.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The labels, from the training file.
    pub schema: LabelSchema,
    /// The examples.
    pub parts: Parts,
    /// One for each file read.
    pub reports: Vec<PartReport>,
    /// Texts that stand in more than one part.
    pub leaks: Vec<Leak>,
    /// Texts without labels to learn from what a teacher says of them (`distillation.unlabelled`).
    pub unlabelled: Vec<Input>,
}

impl Prepared {
    /// A number that other rows, labels or parts would hardly have: FNV-1a over all of them.
    pub fn fingerprint(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        self.schema.names.iter().for_each(|name| add(name.as_bytes()));
        let parts = &self.parts;
        for part in [&parts.train, &parts.validation, &parts.test] {
            add(&part.len().to_le_bytes());
            for example in part {
                add(example.text.as_bytes());
                add(example.text_pair.as_deref().unwrap_or_default().as_bytes());
                match &example.target {
                    Target::Value(value) => add(&value.to_bits().to_le_bytes()),
                    target => target.ids().iter().for_each(|id| add(&id.to_le_bytes())),
                }
            }
        }
        for input in &self.unlabelled {
            add(input.text.as_bytes());
            add(input.text_pair.as_deref().unwrap_or_default().as_bytes());
        }
        format!("{hash:016x}")
    }
}

/// Reads, cleans and splits the files of the settings.
///
/// # Errors
/// [`TrainError::Data`] names file, row and column of what is wrong.
pub fn prepare(settings: &Settings) -> Result<Prepared, TrainError> {
    let data = &settings.data;
    let Some(train) = &data.train else {
        let hint = "gareum train --train DATA.csv, or `train = \"DATA.csv\"` under [data] in gareum.toml";
        return Err(TrainError::Missing {
            what: "training data",
            hint,
        });
    };
    let map = data.label_map.as_deref().map(LabelMap::open).transpose()?;
    let mut reports = Vec::new();
    let mut load = |path: &Path, split: &str, schema: SchemaSource<'_>, options: &CleanOptions| {
        let read = ReadOptions {
            split: Some(split.to_owned()),
            ..data.read_options()
        };
        let records = Records::open(path, &read)?;
        let mut dataset = Dataset::read(records, &data.columns(), schema, map.as_ref())?;
        dataset.normalize(&data.normalize);
        let report = clean(&mut dataset, options);
        reports.push(PartReport {
            load: dataset.report.clone(),
            clean: report,
        });
        Ok::<Dataset, TrainError>(dataset)
    };
    let train = load(
        train,
        "train",
        SchemaSource::Infer { task: settings.task },
        &data.clean_options(),
    )?;
    // What is measured on is not touched: published figures are about whole test files.
    let whole = CleanOptions {
        drop_duplicates: false,
        conflicts: ConflictPolicy::Keep,
    };
    let mut other = |path: &Option<PathBuf>, split: &str| -> Result<Option<Vec<Example>>, TrainError> {
        path.as_ref()
            .map(|path| Ok(load(path, split, SchemaSource::Fixed(&train.schema), &whole)?.examples))
            .transpose()
    };
    let validation = other(&data.validation, "validation")?;
    let test = other(&data.test, "test")?;
    let groups: Option<Vec<u64>> = train.examples.iter().map(|example| example.group).collect();
    let options = SplitOptions {
        groups: groups.as_deref(),
        ..data.split_options()
    };
    let mut chosen = split(&train.examples, &train.schema, &options)?;
    if groups.is_none() {
        keep_together(&train.examples, &mut chosen);
    }
    let Split {
        train: chosen,
        validation: split_validation,
        test: split_test,
    } = chosen;
    let chosen = match data.train_share < 1.0 {
        true => share_of(&train.examples, &chosen, data.stratify, data.train_share, data.seed),
        false => chosen,
    };
    let pick = |positions: &[usize]| {
        positions
            .iter()
            .map(|&position| train.examples[position].clone())
            .collect()
    };
    let parts = Parts {
        train: pick(&chosen),
        validation: validation.unwrap_or_else(|| pick(&split_validation)),
        test: test.unwrap_or_else(|| pick(&split_test)),
    };
    let unlabelled = match settings.distillation.as_ref().and_then(|it| it.unlabelled.as_deref()) {
        None => Vec::new(),
        Some(path) => {
            let read = ReadOptions {
                split: Some("train".to_owned()),
                ..data.read_options()
            };
            let inputs = read_inputs(path, &read, ColumnRequest::default(), &data.columns().of_one_text())?;
            inputs.iter().map(|input| input.normalized(&data.normalize)).collect()
        }
    };
    let leaks = leaks(&[
        ("train", &parts.train),
        ("validation", &parts.validation),
        ("test", &parts.test),
    ]);
    Ok(Prepared {
        schema: train.schema,
        parts,
        reports,
        leaks,
        unlabelled,
    })
}

/// Tokenizes examples.
///
/// # Errors
/// [`TrainError::Tokenizer`] if a text cannot be tokenized.
pub fn encode_examples(
    tokenizer: &Tokenizer,
    examples: &[Example],
    truncation: Truncation,
) -> Result<Vec<EncodedExample>, TrainError> {
    let inputs: Vec<Input> = examples.iter().map(Input::from).collect();
    let encoded = tokenizer.encode_all(&inputs, truncation)?;
    let targets = examples.iter().map(|example| example.target.clone());
    Ok(encoded
        .into_iter()
        .zip(targets)
        .map(|(encoded, target)| EncodedExample { encoded, target })
        .collect())
}

/// How a run came out.
#[derive(Debug)]
pub struct RunReport {
    /// The loop's end.
    pub outcome: Outcome,
    /// Metrics of the validation part with the weights and the decision that were saved; `None` if there is none or the run was cut short.
    /// They were chosen by it, so the test part is what to believe.
    pub validation: Option<Metrics>,
    /// How logits become labels.
    pub decision: Decision,
    /// Metrics of the test part with the weights that were saved; `None` if there is none or the run was cut short.
    pub test: Option<Metrics>,
    /// Texts of the training part that were cut at `max_length`, and all of them.
    pub truncated: (usize, usize),
    /// What was drawn at random or left unused of the checkpoint.
    pub notes: LoadNotes,
    /// What the figures mean; `None` without validation and test rows, and for other tasks than single labels.
    pub diagnosis: Option<Diagnosis>,
    /// All of it to be looked at, with the curves of learning and an evaluation of the test part, or of the validation part without one;
    /// `None` if the run was interrupted. It is not written yet: that takes a language, see [`Page::write`].
    pub page: Option<Page>,
    /// The model directory.
    pub directory: PathBuf,
}

/// How to run, beside the settings.
pub struct RunOptions<'a> {
    /// Take up this checkpoint, or the latest in the output directory if it is that directory.
    pub resume: Option<&'a Path>,
    /// Set to stop after the current step.
    pub stop: &'a AtomicBool,
    /// Stop after so many epochs with a checkpoint from which the run goes on; the schedule stays that of the whole run.
    pub pause_after: Option<u64>,
}

/// Loads the base model of the settings (or makes one from scratch), trains it on `prepared`, tests it and writes the model directory.
///
/// # Errors
/// [`TrainError`] says what is wrong and what to do.
pub fn run(
    settings: &Settings,
    prepared: &Prepared,
    options: &RunOptions<'_>,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<RunReport, TrainError> {
    // Before the student is read, so that both are never in memory.
    let lessons = Lessons::of(settings, prepared, observe)?;
    let (model, tokenizer, notes) = start(settings, prepared)?;
    observe(Event::Loaded(&notes));
    // What `auto` means on this machine is part of how the model came about.
    let mut settings = settings.clone();
    settings.train.precision = model.precision.into();
    let with = (model, &tokenizer, lessons.as_ref());
    let mut report = train_with(with, &settings, prepared, options, observe)?;
    report.notes = notes;
    Ok(report)
}

/// The model that a run starts with: of the checkpoint, or new.
pub(super) fn start(settings: &Settings, prepared: &Prepared) -> Result<(Model, Tokenizer, LoadNotes), TrainError> {
    let (mut model, tokenizer, notes) = load_base(settings, prepared)?;
    if let (Some(lora), Some(base)) = (&settings.lora, settings.model.pinned_base()) {
        model.add_lora(lora, &notes.fresh, &base, settings.train.seed)?;
    }
    let (found, most) = (settings.train.freeze_layers, model.config().all_layers());
    if found > most {
        return Err(TrainError::FreezeLayers { found, most });
    }
    model.freeze(Freezing {
        embeddings: settings.train.freeze_embeddings,
        layers: found,
        body: settings.train.head_only,
    });
    model.precision = settings.train.precision.resolve();
    Ok((model, tokenizer, notes))
}

fn load_base(settings: &Settings, prepared: &Prepared) -> Result<(Model, Tokenizer, LoadNotes), TrainError> {
    let Some(base) = &settings.model.base else {
        let Some(scratch) = &settings.model.scratch else {
            let hint = "gareum train --model DIRECTORY, or `base = \"DIRECTORY\"` under [model] in gareum.toml";
            return Err(TrainError::Missing {
                what: "the base model",
                hint,
            });
        };
        let texts = prepared.parts.train.iter();
        let texts = texts.flat_map(|example| std::iter::once(&example.text).chain(&example.text_pair));
        let tokenizer = Tokenizer::train_wordpiece(texts.map(String::as_str), scratch.vocab_size)?;
        let config = scratch_config(scratch, tokenizer.vocab_size(), settings.model.max_length);
        let model = Model::from_config(config, prepared.schema.clone(), settings.train.seed)?;
        return Ok((model, tokenizer, LoadNotes::default()));
    };
    let head = HeadSource::Labels {
        schema: &prepared.schema,
        reset: settings.model.reset_head,
        seed: settings.train.seed,
        classifier_dropout: settings.model.classifier_dropout,
    };
    let base = &local_model(base, settings.model.revision.as_deref())?;
    let (mut model, mut notes) = Model::load_with(base, head, &settings.load_options())?;
    let mut tokenizer = Tokenizer::from_directory(&EncoderFolder::of(base)?.directory)?;
    notes.appended_token = model.fit_tokenizer(&mut tokenizer)?;
    Ok((model, tokenizer, notes))
}

/// `config.json` of an encoder that starts from random weights.
fn scratch_config(scratch: &ScratchSettings, vocab_size: usize, max_length: usize) -> Map<String, Value> {
    let config = json!({
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": scratch.hidden_size,
        "num_hidden_layers": scratch.num_hidden_layers,
        "num_attention_heads": scratch.num_attention_heads,
        "intermediate_size": scratch.intermediate_size,
        "max_position_embeddings": max_length,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": scratch.hidden_dropout_prob,
        "attention_probs_dropout_prob": 0.1,
        // Wider than BERT's 0.02: there is no pre-training to grow the weights.
        "initializer_range": 0.05,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    });
    config.as_object().cloned().unwrap_or_default()
}

/// The parts of the data, ready for the model.
pub(super) struct EncodedParts {
    /// Texts without labels come last.
    pub train: Vec<EncodedExample>,
    pub validation: Vec<EncodedExample>,
    pub test: Vec<EncodedExample>,
}

/// Tokenizes the data, once it is sure that the model can take it.
pub(super) fn encode_parts(
    model: &Model,
    tokenizer: &Tokenizer,
    settings: &Settings,
    prepared: &Prepared,
) -> Result<EncodedParts, TrainError> {
    let (length, most) = (settings.model.max_length, model.config().max_tokens());
    if length > most {
        return Err(TrainError::MaxLength { found: length, most });
    }
    tokenizer.check_fits(model.config().vocab_size)?;
    let encode = |examples: &[Example]| encode_examples(tokenizer, examples, settings.truncation());
    let mut train = encode(&prepared.parts.train)?;
    let unlabelled = tokenizer.encode_all(&prepared.unlabelled, settings.truncation())?;
    train.extend(unlabelled.into_iter().map(|encoded| EncodedExample {
        encoded,
        // Nobody looks at it.
        target: Target::Classes(Vec::new()),
    }));
    Ok(EncodedParts {
        train,
        validation: encode(&prepared.parts.validation)?,
        test: encode(&prepared.parts.test)?,
    })
}

/// As [`run`], with a model and tokenizer that are there already.
///
/// # Errors
/// As [`run`].
pub fn train_and_save(
    model: Model,
    tokenizer: &Tokenizer,
    settings: &Settings,
    prepared: &Prepared,
    options: &RunOptions<'_>,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<RunReport, TrainError> {
    let lessons = Lessons::of(settings, prepared, observe)?;
    train_with(
        (model, tokenizer, lessons.as_ref()),
        settings,
        prepared,
        options,
        observe,
    )
}

fn train_with(
    (mut model, tokenizer, lessons): (Model, &Tokenizer, Option<&Lessons>),
    settings: &Settings,
    prepared: &Prepared,
    options: &RunOptions<'_>,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<RunReport, TrainError> {
    let EncodedParts {
        train,
        validation,
        test,
    } = encode_parts(&model, tokenizer, settings, prepared)?;
    if let (Some(lessons), Some(distillation)) = (lessons, &settings.distillation) {
        lessons.check(&model, distillation)?;
    }
    let directory = settings.output.dir.clone();
    create_directory(&directory)?;
    let resume = options.resume.map(resolve_checkpoint).transpose()?;
    let cut = [&train, &validation, &test].map(|part| {
        let is_cut = |example: &&EncodedExample| example.encoded.full_length > settings.model.max_length;
        part.iter().filter(is_cut).count()
    });

    let trainer = Trainer {
        model: &mut model,
        tokenizer,
        settings: &settings.train,
        max_length: settings.model.max_length,
        train: &train,
        lessons,
        validation: &validation,
        test: &test,
        checkpoints: (settings.train.save_total_limit > 0).then_some(directory.as_path()),
        resume: resume.as_deref(),
        pause_after: options.pause_after,
    };
    let mut logs = Logs::create(&directory)?;
    let mut unlogged = None;
    let mut follow = |event: Event<'_>| {
        if let Event::Logged(history) = event
            && unlogged.is_none()
        {
            // A log that cannot be written is told once the model is saved.
            unlogged = logs.follow(history).err();
        }
        observe(event);
    };
    let outcome = trainer.run(&mut follow, options.stop)?;
    let mut report = RunReport {
        outcome,
        validation: None,
        decision: Decision {
            abstain: settings.decision.abstain,
            ..Decision::default()
        },
        test: None,
        truncated: (cut[0], train.len()),
        notes: LoadNotes::default(),
        diagnosis: None,
        page: None,
        directory: directory.clone(),
    };
    if report.outcome.interrupted || report.outcome.paused {
        return Ok(report);
    }
    let max_tokens = report.outcome.memory.micro_batch_tokens;
    // The part that tells most, and what the model makes of it.
    let mut judged = None;
    if validation.is_empty() {
        compare_precisions(&mut model, &report.decision, &test, max_tokens, observe)?;
    } else {
        let plain = score(&model, &Decision::default(), &validation, max_tokens, observe)?;
        let targets: Vec<&Target> = validation.iter().map(|example| &example.target).collect();
        report.decision = Decision::fit(&settings.decision, model.schema(), &targets, &plain.predictions)?;
        let decided = report.decision.again(&plain.predictions, model.schema().task).collect();
        let evaluation = evaluate_predictions(&model, &validation, decided)?;
        report.validation = Some(evaluation.metrics.clone());
        judged = Some(("validation", &prepared.parts.validation, &validation, evaluation));
        if report.decision.fitted.is_some() {
            observe(Event::Decided(&report.decision));
        }
        compare_precisions(&mut model, &report.decision, &validation, max_tokens, observe)?;
    }
    if !test.is_empty() {
        let evaluation = score(&model, &report.decision, &test, max_tokens, observe)?;
        report.test = Some(evaluation.metrics.clone());
        judged = Some(("test", &prepared.parts.test, &test, evaluation));
    }
    if let Some(unseen) = report.validation.as_ref().or(report.test.as_ref()) {
        let labelled = &train[..prepared.parts.train.len()];
        let sample: Vec<EncodedExample> = sample_of(labelled, TRAIN_SAMPLE);
        let seen = score(&model, &report.decision, &sample, max_tokens, observe)?;
        report.diagnosis = Diagnosis::new(model.schema(), &sample, &seen, unseen, settings.train.learning_rate);
    }
    save(&directory, &model, tokenizer, settings, prepared, &report)?;
    let evaluated = judged.map(|(part, examples, encoded, Evaluation { metrics, predictions })| {
        let lengths: Vec<usize> = encoded.iter().map(|example| example.encoded.full_length).collect();
        let judged = Judged {
            schema: model.schema(),
            examples,
            predictions: &predictions,
        };
        let train = label_counts(&prepared.parts.train, model.schema());
        let counts: Vec<u64> = train.into_iter().map(|(_, count)| count).collect();
        let by_length = length_slices(&lengths, settings.model.max_length);
        let of_part = judged.report(metrics, Some(&counts), &[by_length], &Bootstrap::default())?;
        Ok::<_, TrainError>((part, sections(&judged, &of_part, &report.decision)))
    });
    let source = Source {
        report: &report,
        cut,
        evaluated: evaluated.transpose()?,
    };
    report.page = Some(source.page(settings, prepared));
    match unlogged {
        Some(error) => Err(error.into()),
        None => Ok(report),
    }
}

/// Evenly spaced examples, at most so many.
fn sample_of(examples: &[EncodedExample], most: usize) -> Vec<EncodedExample> {
    let every = examples.len().div_ceil(most).max(1);
    examples.iter().step_by(every).cloned().collect()
}

/// Evaluates and tells how far that is.
fn score(
    model: &Model,
    decision: &Decision,
    examples: &[EncodedExample],
    max_tokens: usize,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Evaluation, TrainError> {
    let total = examples.len();
    let mut progress = |done: usize| observe(Event::Evaluating { done, total });
    evaluate(model, decision, examples, max_tokens, &mut progress)
}

/// Tells how many examples get other labels when a model that computes in less does so in `f32`.
fn compare_precisions(
    model: &mut Model,
    decision: &Decision,
    examples: &[EncodedExample],
    max_tokens: usize,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<(), TrainError> {
    if model.precision == Precision::F32 || examples.is_empty() {
        return Ok(());
    }
    let narrow = score(model, decision, examples, max_tokens, observe)?.predictions;
    let precision = std::mem::replace(&mut model.precision, Precision::F32);
    let wide = score(model, decision, examples, max_tokens, observe);
    model.precision = precision;
    let wide = wide?.predictions;
    let labels = narrow.iter().zip(&wide);
    observe(Event::PrecisionCompared {
        precision,
        examples: examples.len(),
        differing: labels.filter(|(narrow, wide)| narrow.classes != wide.classes).count(),
    });
    Ok(())
}

/// `--resume DIR`: a checkpoint itself, or the output directory that holds checkpoints.
pub(super) fn resolve_checkpoint(path: &Path) -> Result<PathBuf, TrainError> {
    if path.join("optimizer.safetensors").exists() {
        return Ok(path.to_owned());
    }
    checkpoint::latest(path).ok_or_else(|| TrainError::Resume {
        path: path.to_owned(),
        reason: "there is no checkpoint".to_owned(),
        hint: "name a checkpoint-N directory, or start again without --resume",
    })
}

impl RunReport {
    /// What `gareum train --json` prints.
    pub fn to_json(&self) -> Value {
        let outcome = &self.outcome;
        let seconds = outcome.step_time.as_secs_f64();
        let rate = |count: u64| {
            if seconds > 0.0 {
                Some(count as f64 / seconds)
            } else {
                None
            }
        };
        let numbers = |metrics: &Metrics| -> Value {
            metrics
                .values()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect()
        };
        json!({
            "model": self.directory,
            "interrupted": outcome.interrupted,
            "paused": outcome.paused,
            "stopped_early": outcome.stopped_early,
            "train_steps": outcome.steps,
            "train_runtime": seconds,
            "train_samples_per_second": rate(outcome.examples),
            "train_tokens_per_second": rate(outcome.tokens),
            "validation": self.validation.as_ref().or(outcome.best.as_ref()).map(numbers),
            "test": self.test.as_ref().map(numbers),
            "micro_batch_tokens": outcome.memory.micro_batch_tokens,
            "checkpoint_activations": outcome.memory.checkpoint_activations,
            "peak_memory_bytes": crate::machine::peak_memory_bytes(),
        })
    }
}
