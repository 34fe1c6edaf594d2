//! `gareum bench`: how fast a model is here; `gareum bench cpu`: what processor and memory can reach.

use std::process::ExitCode;

use anyhow::{Context, bail};
use gareum::bench::{Bench, BenchError, BenchOptions, CpuBench, ModelBench, ProductRate, measure_cpu};
use gareum::data::{ColumnRequest, Input, ReadOptions, Records};

use super::{hub, say_precision};
use crate::arguments::{self, BenchMachine, Common};
use crate::failure::Usage;
use crate::progress::Display;
use gareum::machine::readable_bytes;

pub fn run(command: &arguments::Bench, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    match &command.machine {
        Some(_) if command.model.is_some() || command.input.is_some() => bail!(Usage(
            "a model or the processor can be measured, not both at once\nhint: leave out `cpu`, or --model and --input"
                .to_owned()
        )),
        Some(BenchMachine::Cpu(command)) => {
            display.note("measuring; other programs that are running make all of it slower");
            let report = measure_cpu(command.rounds);
            match common.json {
                true => println!("{}", serde_json::to_string_pretty(&report).context("report")?),
                false => print_cpu(display, &report),
            }
        }
        None => {
            let report = measure_model(command, common)?;
            match common.json {
                true => println!("{}", serde_json::to_string_pretty(&report).context("report")?),
                false => print_model(display, &report),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure_model(command: &arguments::Bench, common: &Common) -> anyhow::Result<ModelBench> {
    let display = Display::new(common);
    let Some(directory) = &command.model else {
        bail!(Usage(
            "name the model to measure with --model, or measure the processor with `gareum bench cpu`".to_owned()
        ));
    };
    let columns = &command.columns;
    if command.input.is_none() && (columns.text.is_some() || columns.text_pair.is_some() || columns.no_header) {
        bail!(Usage(
            "there are columns and no file\nhint: name the file of texts with --input".to_owned()
        ));
    }
    let options = BenchOptions {
        precision: command.precision.into(),
        batch_size: command.batch_size,
        latency_tokens: command.latency_tokens,
        rounds: command.rounds,
        steps: command.steps,
        training: command.training,
    };
    let base = command.base.as_deref();
    let bench = Bench::load(&hub::model_with_base(directory, base, common)?, base, options)?;
    let inputs = read_inputs(command, &bench)?;
    say_precision(display, bench.predictor());
    display.note("measuring; other programs that are running make all of it slower");
    Ok(bench.run(inputs.as_deref())?)
}

/// The texts of the file, rows without one left out.
fn read_inputs(command: &arguments::Bench, bench: &Bench) -> anyhow::Result<Option<Vec<Input>>> {
    let Some(path) = &command.input else {
        return Ok(None);
    };
    let read = ReadOptions {
        header: command.columns.no_header.then_some(false),
        ..ReadOptions::default()
    };
    let mut records = Records::open(path, &read)?;
    let request = ColumnRequest {
        text: command.columns.text.iter().cloned().collect(),
        text_pair: command.columns.text_pair.clone(),
        ..ColumnRequest::default()
    };
    let mut known = bench.predictor().known_columns();
    if known.text.len() > 1 {
        known.text.clear();
    }
    let columns = request.or_known(&known, &records).resolve_inputs(&records)?;
    let mut inputs = Vec::new();
    while let Some(record) = records.next().transpose()? {
        inputs.extend(columns.read(&record, &records)?);
    }
    if inputs.is_empty() {
        bail!(BenchError::NoText);
    }
    Ok(Some(inputs))
}

fn print_model(display: Display, report: &ModelBench) {
    let row = |name: &str, value: String| println!("{}{}", display.left(name, 14), display.text(&value));
    println!("{}{}", display.left("model", 14), report.model.display());
    row(
        "computed in",
        format!(
            "{} with {} instructions; threads used: {}",
            report.precision.name(),
            report.instructions,
            report.threads
        ),
    );
    if let Some(tokenization) = &report.tokenization {
        row(
            "tokenization",
            format!("{:.0} examples/s, not counted below", tokenization.examples_per_second),
        );
    }
    let prediction = &report.prediction;
    row(
        "prediction",
        format!(
            "{:.1} examples/s ({:.1} to {:.1} in {} rounds), {:.0} tokens/s",
            prediction.examples_per_second,
            prediction.examples_per_second_min,
            prediction.examples_per_second_max,
            prediction.rounds,
            prediction.tokens_per_second
        ),
    );
    row(
        "",
        format!(
            "{} texts of {:.1} tokens on average, sorted by length",
            prediction.examples,
            prediction.tokens as f64 / prediction.examples.max(1) as f64
        ),
    );
    row("", of_peak(prediction.share_of_peak, report.peak_gflops));
    let latency = &report.latency;
    row(
        "one text",
        format!(
            "{:.2} ms for {} tokens, 99 % within {:.2} ms (of {} times)",
            latency.p50_ms, latency.tokens, latency.p99_ms, latency.times
        ),
    );
    if let Some(peak) = report.peak_memory_bytes {
        row("memory", format!("{} at most until here", readable_bytes(peak)));
    }
    let Some(training) = &report.training else { return };
    row(
        "training",
        format!(
            "{:.1} examples/s, {:.0} tokens/s in {}",
            training.examples_per_second,
            training.tokens_per_second,
            training.precision.name()
        ),
    );
    row(
        "",
        format!(
            "{:.0} ms a step of {} texts (median of {} steps)",
            training.step_ms, training.batch_size, training.steps
        ),
    );
    row("", of_peak(training.share_of_peak, training.peak_gflops));
    let tensors = readable_bytes(training.peak_tensor_bytes as u64);
    match training.peak_memory_bytes.map(readable_bytes) {
        Some(process) => row("memory", format!("tensors {tensors}, process {process} at most")),
        None => row("memory", format!("tensors {tensors} at most")),
    }
}

fn of_peak(share: f64, peak: f64) -> String {
    format!(
        "{:.0} % of the {peak:.0} GFLOP/s that the processor reached meanwhile",
        100.0 * share
    )
}

fn print_cpu(display: Display, report: &CpuBench) {
    let say = |name: &str, text: &str| println!("{}{}", display.left(name, 16), display.text(text));
    match &report.processor {
        Some(processor) => println!("{}{processor}", display.left("processor", 16)),
        None => say("processor", "unknown"),
    }
    let kernels = match report.bf16_instructions {
        true => format!("{}; bf16 has instructions of its own", report.instructions),
        false => format!("{}; bf16 has no instructions of its own", report.instructions),
    };
    say("kernels", &kernels);
    say("", &format!("threads used: {}\n", report.threads));

    let row = |name: &str, unit: &str, one: f64, all: f64| {
        let [one, all] = [one, all].map(|rate| display.right(&format!("{rate:.1}"), 14));
        println!("{}{unit:>8}{one}{all}", display.left(name, 16));
    };
    let headings = ["one thread", "all threads"].map(|heading| display.right(heading, 14));
    println!("{}{:>8}{}", display.left("reachable", 16), "", headings.concat());
    for peak in &report.peaks {
        row(peak.kernel, "GFLOP/s", peak.one_thread_gflops, peak.all_threads_gflops);
    }
    for memory in &report.memory {
        let name = format!("memory {}", memory.sweep);
        row(
            &name,
            "GB/s",
            memory.one_thread_gb_per_second,
            memory.all_threads_gb_per_second,
        );
    }
    if report.products.is_empty() {
        return;
    }
    println!();
    let cells = [
        display.left("product", 12),
        display.left("", 17),
        display.left("", 20),
        display.left("", 6),
        display.right("GFLOP/s", 9),
        display.right("of peak", 9),
        display.right("from", 7),
        display.right("to", 7),
    ];
    println!("{}", cells.concat());
    for product in &report.products {
        print_product(display, product);
    }
}

fn print_product(display: Display, product: &ProductRate) {
    let shape = &product.shape;
    let share = product.share_of_peak;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let cells = [
        display.left(shape.model, 12),
        display.left(&shape.form.replace('_', " "), 17),
        display.left(&format!("{} x {} x {}", shape.rows, shape.inner, shape.columns), 20),
        display.left(product.kernel, 6),
        display.right(&format!("{:.1}", product.gflops.median), 9),
        display.right(&percent(share.median), 9),
        display.right(&percent(share.min), 7),
        display.right(&percent(share.max), 7),
    ];
    println!("{}", cells.concat());
}
