//! `gareum sweep`: plans trials, has them trained (`sweep/runner.rs`) and says what came of them (`sweep/results.rs`).

mod results;
mod runner;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::bail;
use gareum::machine::{self, readable_bytes};
use gareum::metrics::Metrics;
use gareum::settings::{Candidates, Jobs, Parameters, SearchMethod, Settings};
use gareum::sweep::{Lock, Plan, STATE_FILE, Sweep, SweepError, Trial, shown_value};
use gareum::train::Prepared;
use serde_json::json;
use toml::Value;

use super::train::{describe, overrides, settings_file};
use super::{check_output, hub, same_command, stop_flag};
use crate::arguments::{self, Common, Method};
use crate::failure::INTERRUPTED;
use crate::progress::Display;
use results::Results;
use runner::{Runner, Shares};

/// Threads from which on another trial at a time is worth its memory: a step of few texts does not keep many busy.
const THREADS_EACH: usize = 4;

pub fn run(command: &arguments::Sweep, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let settings = settings(command, display)?;
    let mut plan = Plan::new(&settings)?;
    let directory = command.output.as_path();
    check_output(directory)?;
    let mut fetched = Vec::new();
    for Trial { settings, .. } in &plan.trials {
        let (model, data) = (&settings.model, &settings.data);
        let named = (&model.base, &model.revision, &data.train, &data.validation, &data.test);
        if !fetched.contains(&named) {
            hub::fetch(settings, common)?;
            fetched.push(named);
        }
    }
    // Data may be a parameter too; the first trial's has the labels and stands for all.
    let mut first = plan.trials[0].settings.clone();
    first.data.train_share = 1.0;
    let prepared = gareum::train::prepare(&first)?;
    describe(display, &prepared);
    if prepared.parts.validation.is_empty() {
        bail!(SweepError::NoValidation);
    }
    let task = prepared.schema.task;
    plan.choose_monitor(task)?;
    let shares = shares(&plan, &prepared, common)?;
    if command.dry_run {
        print_plan(display, &plan, &shares, common.json);
        return Ok(ExitCode::SUCCESS);
    }
    if !command.resume {
        check_models(&plan, &prepared)?;
    }
    let identity = plan.identity(directory, &prepared.fingerprint());
    drop(prepared);
    if command.resume && !directory.join(STATE_FILE).exists() {
        bail!(SweepError::Absent {
            path: directory.to_owned()
        });
    }
    let _lock = Lock::take(directory)?;
    let mut sweep = match command.resume {
        true => Sweep::resume(directory, &plan, &identity)?,
        false => Sweep::begin(directory, &plan, identity)?,
    };
    let shares = shares.taking_up(&sweep);
    sweep.trial_memory_bytes = shares.memory_bytes;
    sweep.save(directory)?;
    tell_plan(display, &plan, &shares);
    let stop = stop_flag(display, "the trials that run finish their step and write a checkpoint");
    let runner = Runner {
        plan: &plan,
        directory,
        shares,
        common,
        display,
        stop: &stop,
    };
    runner.run(&mut sweep)?;
    if sweep.trials.iter().any(|trial| !trial.state.is_final()) && stop.load(Ordering::Relaxed) {
        let resume = same_command(&[("--resume", false)], &["--resume".to_owned()]);
        display.note(format_args!("interrupted; go on with: {resume}"));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let results = Results::new(&plan, &sweep, directory, task);
    results.write(display)?;
    results.print(display, common.json)
}

/// The settings of the file and the flags.
fn settings(command: &arguments::Sweep, display: Display) -> anyhow::Result<Settings> {
    let file = settings_file(&command.run, &["sweep.toml", "gareum.toml"], display);
    let mut overrides = overrides(&command.run)?;
    for parameter in &command.parameter {
        overrides.push(Parameters::parse(parameter)?);
    }
    let mut set = |key: &str, value: Option<Value>| overrides.extend(value.map(|value| (key.to_owned(), value)));
    let name = |method| match method {
        Method::Grid => SearchMethod::Grid.name(),
        Method::Random => SearchMethod::Random.name(),
    };
    set(
        "sweep.method",
        command.method.map(|method| Value::String(name(method).to_owned())),
    );
    set(
        "sweep.trials",
        command.trials.map(|trials| Value::Integer(trials as i64)),
    );
    let jobs = |text: &String| {
        text.parse()
            .map_or_else(|_| Value::String(text.clone()), Value::Integer)
    };
    set("sweep.jobs", command.jobs.as_ref().map(jobs));
    Ok(Settings::load(file.as_deref(), &overrides)?)
}

/// How many trials run at a time, and what each gets.
fn shares(plan: &Plan, prepared: &Prepared, common: &Common) -> anyhow::Result<Shares> {
    let threads = common.threads.unwrap_or_else(rayon::current_num_threads);
    let given = plan.settings.train.memory.map(|size| size.bytes);
    let free = || machine::available_memory_bytes().map(|bytes| bytes - bytes / 16);
    let jobs = match plan.sweep.jobs {
        Jobs::Number(jobs) => jobs,
        Jobs::Auto => {
            let most = (threads / THREADS_EACH).clamp(1, plan.trials.len().max(1));
            match given.or_else(free).filter(|_| most > 1) {
                None => 1,
                Some(limit) => {
                    let needed = memory_of_largest(plan, prepared)?;
                    ((limit / needed.max(1)) as usize).clamp(1, most)
                }
            }
        }
    };
    let jobs = jobs.min(plan.trials.len()).max(1);
    let divided = given
        .or_else(free)
        .filter(|_| jobs > 1)
        .map(|bytes| bytes / jobs as u64);
    Ok(Shares {
        jobs,
        threads: (threads / jobs).max(1),
        memory_bytes: divided.or(given),
    })
}

/// Bytes that the trial takes which takes most.
fn memory_of_largest(plan: &Plan, prepared: &Prepared) -> anyhow::Result<u64> {
    let mut seen: Vec<Settings> = Vec::new();
    let mut largest = 0;
    for trial in &plan.trials {
        // Rates and lengths of the schedule take no memory.
        let mut settings = trial.settings.clone();
        let usual = Settings::default();
        let (train, usual_train) = (&mut settings.train, usual.train);
        train.learning_rate = usual_train.learning_rate;
        train.layer_decay = usual_train.layer_decay;
        train.weight_decay = usual_train.weight_decay;
        train.warmup_ratio = usual_train.warmup_ratio;
        train.schedule = usual_train.schedule;
        train.class_weights = usual_train.class_weights;
        train.label_smoothing = usual_train.label_smoothing;
        train.focal_gamma = usual_train.focal_gamma;
        train.max_grad_norm = usual_train.max_grad_norm;
        train.seed = usual_train.seed;
        train.epochs = usual_train.epochs;
        train.early_stopping = usual_train.early_stopping;
        train.memory = None;
        settings.data = usual.data;
        settings.decision = usual.decision;
        if !seen.contains(&settings) {
            largest = largest.max(gareum::train::memory_needed(&settings, prepared)?.peak_bytes);
            seen.push(settings);
        }
    }
    Ok(largest)
}

/// Opens every model once, with all the data: what no trial could do, or none with that model, is refused before one starts.
fn check_models(plan: &Plan, prepared: &Prepared) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    for Trial { settings, .. } in &plan.trials {
        if !seen.contains(&&settings.model) {
            gareum::train::memory_needed(settings, prepared)?;
            seen.push(&settings.model);
        }
    }
    Ok(())
}

/// Says what is about to be done.
fn tell_plan(display: Display, plan: &Plan, shares: &Shares) {
    let (trials, method) = (plan.trials.len(), plan.method.name());
    display.note(format_args!(
        "{method} search, {trials} trials, compared by {}",
        plan.monitor
    ));
    if plan.method == SearchMethod::Random
        && let Some(wanted) = plan.sweep.trials.filter(|wanted| *wanted > trials)
    {
        display.note(format_args!("there are only {trials} different trials, not {wanted}"));
    }
    if let [first, .., _] = plan.rungs.as_slice() {
        let factor = plan.sweep.halving.map_or(0, |halving| halving.factor);
        let rungs: Vec<String> = plan.rungs.iter().map(u64::to_string).collect();
        display.note(format_args!(
            "every trial gets epochs up to {first}; each time one of {factor} goes on, at {} epochs",
            rungs.join(", ")
        ));
    }
    if plan.has_different_validation() {
        display.warn(
            "warning: the validation rows differ between trials, so their figures differ by more than the settings",
        );
    }
    if shares.jobs > 1 {
        let memory = shares.memory_bytes.map_or("-".to_owned(), readable_bytes);
        display.note(format_args!(
            "{} trials at a time, threads of each: {}, memory of each: {memory}",
            shares.jobs, shares.threads
        ));
    }
}

/// `--dry-run`
fn print_plan(display: Display, plan: &Plan, shares: &Shares, as_json: bool) {
    if as_json {
        let trials = plan.trials.iter().map(|trial| {
            let values: serde_json::Map<_, _> = trial
                .values
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect();
            json!({ "trial": trial.number, "parameters": values })
        });
        let plan = json!({
            "method": plan.method,
            "monitor": plan.monitor,
            "larger_is_better": Metrics::larger_is_better(&plan.monitor),
            "epochs": plan.rungs,
            "jobs": shares.jobs,
            "threads": shares.threads,
            "memory_bytes": shares.memory_bytes,
            "trials": trials.collect::<Vec<_>>(),
        });
        println!("{plan}");
        return;
    }
    tell_plan(display, plan, shares);
    let keys = plan.keys();
    let rows = plan.trials.iter().map(|trial| {
        let values = trial.values.iter().map(|(_, value)| shown_value(&json!(value)));
        std::iter::once(trial.number.to_string()).chain(values).collect()
    });
    let header = std::iter::once(display.text("trial").into_owned()).chain(keys.into_iter().map(str::to_owned));
    results::print_table(&header.collect::<Vec<_>>(), &rows.collect::<Vec<_>>());
    let ranges = plan
        .sweep
        .parameters
        .0
        .values()
        .filter(|candidates| matches!(candidates, Candidates::Range(_)));
    if ranges.count() > 0 {
        let seed = plan.sweep.seed;
        display.print(format_args!("drawn with seed {seed} (--set sweep.seed=N for others)"));
    }
}

/// The name of a trial's settings file.
fn trial_settings(directory: &Path, trial: usize) -> std::path::PathBuf {
    Sweep::trial_directory(directory, trial).join("gareum.toml")
}
