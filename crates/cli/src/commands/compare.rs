//! `gareum compare`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use gareum::comparison::{Change, Comparison, Contestant, Cost, PredictionsFile, Standing};
use gareum::data::{ColumnRequest, Dataset, LabelSchema, SchemaSource, Task};
use gareum::evaluation::headlines;
use gareum::files;
use gareum::machine::readable_bytes;
use gareum::metrics::Bootstrap;
use gareum::model::ModelError;
use gareum::predict::{PredictError, Predictor};
use serde_json::{Value, json};

use super::report::{columns, said, shortened};
use super::{check_output, hub, labelled, write_report};
use crate::arguments::{Common, Compare};
use crate::failure::Usage;
use crate::progress::Display;

/// The split of a dataset on the hub that is read where the name says none.
const SPLIT: &str = "test";

/// Rows and labels that are shown of each kind; a report has more.
const MOST_SHOWN: usize = 3;

/// What was named, before it is read.
struct Named {
    name: String,
    path: PathBuf,
    is_file: bool,
}

pub fn run(command: &Compare, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    if let Some(directory) = &command.report {
        check_output(directory)?;
    }
    hub::dataset(&command.data, SPLIT, common)?;
    let named = named(command, common)?;
    let known = known_labels(command, &named)?;
    let (request, schema) = match &known {
        Some((request, schema)) => (request.clone(), SchemaSource::Fixed(schema)),
        None => (ColumnRequest::default(), SchemaSource::Infer { task: None }),
    };
    let records = labelled::open(&command.data, &command.columns, SPLIT)?;
    let dataset = labelled::read_plain(records, &command.columns, &request, schema, display)?;
    // Files first: what is wrong with them is known at once.
    let mut order: Vec<usize> = (0..named.len()).collect();
    order.sort_by_key(|index| !named[*index].is_file);
    let mut contestants = Vec::with_capacity(named.len());
    for index in order {
        contestants.push((index, contestant(command, &named[index], &dataset, display)?));
    }
    contestants.sort_by_key(|(index, _)| *index);
    let contestants: Vec<Contestant> = contestants.into_iter().map(|(_, contestant)| contestant).collect();
    let comparison = Comparison::new(&dataset.schema, &dataset.examples, &contestants, &Bootstrap::default())?;
    let json = serde_json::to_string_pretty(&comparison)?;
    if let Some(directory) = &command.report {
        let page = comparison.to_page();
        write_report(&page, &directory.join("index.html"), display)?;
        let translate = |text: &str| display.text(text).into_owned();
        let markdown = page.to_markdown(&display.report_language(&translate));
        files::write_atomically(&directory.join("comparison.md"), markdown.as_bytes())?;
        files::write_atomically(&directory.join("comparison.json"), (json.clone() + "\n").as_bytes())?;
        files::write_atomically(&directory.join("rows.csv"), &rows(&dataset, &contestants)?)?;
    }
    match common.json {
        true => println!("{json}"),
        false => print(display, &comparison),
    }
    Ok(ExitCode::SUCCESS)
}

/// What takes part, with names of which no two are the same.
fn named(command: &Compare, common: &Common) -> anyhow::Result<Vec<Named>> {
    let mut all = Vec::with_capacity(command.contestants.len());
    for argument in &command.contestants {
        let (name, path) = match argument.split_once('=') {
            Some((name, path)) if !name.is_empty() && !Path::new(argument).exists() => (Some(name), path),
            _ => (None, argument.as_str()),
        };
        let is_file = Path::new(path).is_file();
        let path = match is_file {
            true => PathBuf::from(path),
            false => hub::model_with_base(Path::new(path), None, common)?,
        };
        let own = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = name.map(str::to_owned).or_else(|| match is_file {
            true => own(),
            false => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        });
        all.push(Named {
            name: name.unwrap_or_else(|| argument.clone()),
            path,
            is_file,
        });
    }
    let is_taken = |name: &String| all.iter().filter(|other| other.name == *name).count() > 1;
    let twice: Vec<bool> = all.iter().map(|named| is_taken(&named.name)).collect();
    for (named, twice) in all.iter_mut().zip(twice) {
        if twice {
            named.name = named.path.display().to_string();
        }
    }
    let mut names = BTreeSet::new();
    if let Some(again) = all.iter().find(|named| !names.insert(named.name.clone())) {
        bail!(Usage(format!(
            "`{}` is named twice\nhint: NAME=PATH gives each a name of its own",
            again.name
        )));
    }
    Ok(all)
}

/// The labels of the first model that has any, and the columns that it was trained on.
fn known_labels(command: &Compare, named: &[Named]) -> Result<Option<(ColumnRequest, LabelSchema)>, PredictError> {
    for named in named.iter().filter(|named| !named.is_file) {
        match Predictor::load(&named.path, command.precision.into()) {
            Err(PredictError::Model(ModelError::NoHead { .. })) => {}
            loaded => {
                let predictor = loaded?;
                return Ok(Some((predictor.known_columns(), predictor.schema().clone())));
            }
        }
    }
    Ok(None)
}

fn contestant(command: &Compare, named: &Named, dataset: &Dataset, display: Display) -> anyhow::Result<Contestant> {
    display.note(format_args!("{}: {}", named.name, named.path.display()));
    if named.is_file {
        let file = PredictionsFile {
            path: &named.path,
            label: command.prediction.as_deref(),
        };
        let text = match dataset.report.text_columns.as_slice() {
            [column] => Some(column.as_str()),
            _ => None,
        };
        let rows = dataset.report.rows_read as usize;
        return Ok(file.read(named.name.clone(), &dataset.schema, &dataset.examples, rows, text)?);
    }
    let bar = display.rows(Some(dataset.examples.len() as u64));
    let contestant = Contestant::score(
        named.name.clone(),
        &named.path,
        command.precision.into(),
        &dataset.schema,
        &dataset.examples,
        &mut |done| bar.set_position(done as u64),
    );
    bar.finish_and_clear();
    Ok(contestant?)
}

/// Every row with what each makes of it, as csv.
fn rows(dataset: &Dataset, contestants: &[Contestant]) -> anyhow::Result<Vec<u8>> {
    let has_pairs = dataset.examples.iter().any(|example| example.text_pair.is_some());
    let mut header = vec!["row".to_owned(), "text".to_owned()];
    header.extend(has_pairs.then(|| "text_pair".to_owned()));
    header.push("label".to_owned());
    for contestant in contestants {
        let name = &contestant.name;
        header.push(name.clone());
        if dataset.schema.task != Task::Regression {
            header.extend([format!("{name} score"), format!("{name} right")]);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header)?;
    for (index, example) in dataset.examples.iter().enumerate() {
        let mut row = vec![example.id.to_string(), example.text.clone()];
        row.extend(has_pairs.then(|| example.text_pair.clone().unwrap_or_default()));
        row.push(cell(&Contestant::truth(&dataset.schema, example)));
        for contestant in contestants {
            let answer = contestant.answer(&dataset.schema, example, index);
            row.push(cell(&answer.label));
            if dataset.schema.task != Task::Regression {
                row.push(answer.score.map_or(String::new(), |score| score.to_string()));
                row.push(u8::from(answer.is_right).to_string());
            }
        }
        writer.write_record(&row)?;
    }
    Ok(writer.into_inner()?)
}

/// A label or number as it is, several labels as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn print(display: Display, comparison: &Comparison) {
    print_figures(display, comparison);
    println!();
    print_costs(display, comparison);
    println!();
    let others = comparison.contestants.iter().skip(1);
    let pairs = others.filter_map(|standing| comparison.against_first(&standing.name));
    for pair in pairs.chain(comparison.best_pair()) {
        display.print(comparison.sentence(pair));
    }
    print_labels(display, comparison);
    let first = comparison
        .contestants
        .first()
        .map_or("", |standing| standing.name.as_str());
    for changes in &comparison.changes {
        println!("\n{first} → {}", changes.name);
        let (fixed, broken) = (changes.fixed, changes.broken);
        match comparison.task {
            Task::Regression => display.print(format_args!(
                "  {fixed} rows nearer to the truth, {broken} farther from it"
            )),
            _ => display.print(format_args!(
                "  {fixed} rows fixed, {broken} broken; {} right in both, {} wrong in both",
                changes.both_right, changes.both_wrong
            )),
        }
        print_changes(display, "  fixed:", &changes.fixed_rows);
        print_changes(display, "  broken:", &changes.broken_rows);
    }
}

fn print_figures(display: Display, comparison: &Comparison) {
    let standings = &comparison.contestants;
    let width = standings
        .iter()
        .map(|standing| columns(&standing.name))
        .max()
        .unwrap_or(0);
    let shown = headlines(comparison.task);
    let mut header = display.left("model", width.max(columns(&display.text("model"))));
    let width = columns(&header);
    for name in shown {
        header += &format!("  {name:>23}");
    }
    println!("{header}");
    for standing in standings {
        let mut line = format!(
            "{}{}",
            standing.name,
            " ".repeat(width.saturating_sub(columns(&standing.name)))
        );
        for name in shown {
            line += &format!("  {:>23}", figure(standing, name));
        }
        println!("{line}");
    }
}

/// What models cost, and how far each says something else than the first.
pub fn print_costs(display: Display, comparison: &Comparison) {
    let measured: Vec<(&Standing, Cost)> = comparison
        .contestants
        .iter()
        .filter_map(|standing| Some((standing, standing.cost?)))
        .collect();
    let Some(&(_, first)) = measured.first() else {
        return;
    };
    let model = display.text("model");
    let names = measured.iter().map(|(standing, _)| columns(&standing.name));
    let width = names.chain([columns(&model)]).max().unwrap_or(0);
    let metric = comparison.metric;
    println!(
        "{}  {}  {:>5}  {}  {}  {:>5}  {:>7}  {:>7}  {metric:>8}  {}  {}",
        display.left("model", width),
        display.right("size", 10),
        "×",
        display.right("in memory", 10),
        display.right("texts/s", 8),
        "×",
        "p50 ms",
        "p99 ms",
        display.right("shift", 6),
        display.right("flips", 7),
    );
    for (standing, cost) in measured {
        let latency = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let moved = |value: Option<String>| value.unwrap_or("-".to_owned());
        let times = |value: f64, first: f64| format!("{:.2}", value / first.max(1e-9));
        println!(
            "{}{}  {:>10}  {:>5}  {:>10}  {:>8.1}  {:>5}  {:>7}  {:>7}  {:>8.4}  {:>6}  {:>7}",
            standing.name,
            " ".repeat(width.saturating_sub(columns(&standing.name))),
            readable_bytes(cost.disk_bytes),
            times(cost.disk_bytes as f64, first.disk_bytes as f64),
            readable_bytes(cost.memory_bytes),
            cost.texts_per_second,
            times(cost.texts_per_second, first.texts_per_second),
            latency(cost.latency.map(|latency| latency.p50_ms)),
            latency(cost.latency.map(|latency| latency.p99_ms)),
            standing.metrics.get(metric).copied().flatten().unwrap_or(f64::NAN),
            moved(
                standing
                    .moved
                    .and_then(|moved| Some(format!("{:.4}", moved.shift?.mean)))
            ),
            moved(standing.moved.map(|moved| format!("{:.2} %", 100.0 * moved.flipped))),
        );
    }
}

/// `0.9123 [0.9020, 0.9222]`
fn figure(standing: &Standing, name: &str) -> String {
    let Some(value) = standing.metrics.get(name).copied().flatten() else {
        return "-".to_owned();
    };
    match standing.confidence_intervals.of(name) {
        Some(interval) => format!("{value:.4} [{:.4}, {:.4}]", interval.low, interval.high),
        None => format!("{value:.4}"),
    }
}

fn print_labels(display: Display, comparison: &Comparison) {
    let labels = comparison.labels.iter().take(MOST_SHOWN);
    if labels.len() == 0 {
        return;
    }
    display.print("\nLabels whose F1 changed most:");
    for label in labels {
        let f1: Vec<String> = label
            .f1
            .iter()
            .map(|f1| f1.map_or("-".to_owned(), |f1| format!("{f1:.4}")))
            .collect();
        println!("  {}: {}", label.label, f1.join(" → "));
    }
}

fn print_changes(display: Display, title: &str, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    display.print(title);
    for change in changes.iter().take(MOST_SHOWN) {
        let pair = change
            .text_pair
            .as_ref()
            .map_or(String::new(), |pair| format!(" | {pair}"));
        let [truth, before, after] = [&change.truth, &change.before, &change.after].map(few);
        println!(
            "    {before} → {after} ({truth}): {}",
            shortened(&format!("{}{pair}", change.text))
        );
    }
}

/// A label, a number, or the first of several labels.
fn few(value: &Value) -> String {
    match value {
        Value::Array(labels) if labels.len() > MOST_SHOWN => {
            let rest = labels.len() - MOST_SHOWN;
            format!("[{} +{rest}]", said(&json!(labels[..MOST_SHOWN])))
        }
        Value::Array(_) => format!("[{}]", said(value)),
        _ => said(value),
    }
}
