//! `gareum doctor`: the machine, how gareum uses it, and what could be better.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use gareum::hub::cache::{self as hub_cache, CachedModel};
use gareum::machine::{Gpus, Memory, processor_name};
use serde_json::{Value, json};
use tensor::cpu::{self, Instructions};
use tensor::ops::PackedLinear;
use tensor::{Activation, DType, Tape, Tensor, ops};

use crate::arguments::Common;
use crate::progress::Display;
use gareum::machine::readable_bytes as bytes;

/// Rows, inputs and outputs of the product that is timed: 512 tokens in the feed-forward half of a MiniLM.
const PRODUCT: [usize; 3] = [512, 384, 1536];

/// How long it is repeated.
const MEASURE_FOR: Duration = Duration::from_millis(500);

/// Less memory than this is tight even for a small model.
const LITTLE_MEMORY: u64 = 2 << 30;

struct Findings {
    processor: Option<String>,
    /// Cores that this process may use.
    cores: usize,
    threads: usize,
    /// `GAREUM_CPU`, if set.
    asked: Option<String>,
    /// Of products in `f32` and `bf16`.
    gflops: [f64; 2],
    memory: Memory,
    gpus: Gpus,
    cache: Option<PathBuf>,
    models: Vec<CachedModel>,
}

pub fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = hub_cache::directory(variable);
    let findings = Findings {
        processor: processor_name(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        threads: rayon::current_num_threads(),
        asked: std::env::var("GAREUM_CPU").ok().filter(|value| !value.is_empty()),
        gflops: [measure_product(DType::F32)?, measure_product(DType::BF16)?],
        memory: Memory::of_machine(),
        gpus: Gpus::of_machine(),
        models: cache.as_deref().map(hub_cache::models).unwrap_or_default(),
        cache,
    };
    if common.json {
        let text = serde_json::to_string_pretty(&findings.to_json()).context("findings")?;
        println!("{text}");
    } else {
        findings.print(Display::new(common));
    }
    Ok(ExitCode::SUCCESS)
}

/// Billions of floating-point operations a second in a product of a model's size.
fn measure_product(dtype: DType) -> anyhow::Result<f64> {
    let [rows, inputs, outputs] = PRODUCT;
    let tape = Tape::inference();
    let values = |count: usize| (0..count).map(|index| (index % 7) as f32 - 3.0).collect();
    let input = tape.constant(Tensor::from_vec(values(rows * inputs), &[rows, inputs])?.to_dtype(dtype));
    let weight = Tensor::from_vec(values(outputs * inputs), &[outputs, inputs])?;
    let weight = PackedLinear::new(&[(&weight, None)], dtype)?;
    let multiply = || ops::linear_packed(&tape, &input, Activation::Identity, &weight);
    multiply()?;
    let (start, mut times) = (Instant::now(), 0u32);
    while times == 0 || start.elapsed() < MEASURE_FOR {
        multiply()?;
        times += 1;
    }
    let operations = 2.0 * (rows * inputs * outputs) as f64 * f64::from(times);
    Ok(operations / start.elapsed().as_secs_f64().max(1e-9) / 1e9)
}

impl Findings {
    /// What to install or change; only what applies.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if cfg!(debug_assertions) {
            advice.push("this is an unoptimised build: use `cargo build --release`".to_owned());
        }
        match &self.asked {
            Some(asked) if !["portable", "avx2", "avx512"].contains(&asked.as_str()) => advice.push(format!(
                "GAREUM_CPU is `{asked}`, which is none of portable, avx2 and avx512 and changes nothing: unset it"
            )),
            Some(asked) if cpu::instructions() < cpu::available() => advice.push(format!(
                "GAREUM_CPU={asked} holds gareum to slower instructions than this processor has: unset it"
            )),
            Some(asked) => advice.push(format!("GAREUM_CPU={asked} is set and changes nothing here")),
            None => {}
        }
        if cpu::available() == Instructions::Portable {
            advice.push("this processor has neither AVX2 nor AVX-512: expect training to be slow".to_owned());
        }
        if self.threads < self.cores {
            advice.push(format!(
                "threads used: {}, cores: {}; leave out --threads, and RAYON_NUM_THREADS if it is set",
                self.threads, self.cores
            ));
        }
        if let Some(limit) = self.memory.limit_bytes.filter(|&limit| limit < LITTLE_MEMORY) {
            advice.push(format!(
                "{} of memory is little: batches are cut up to fit, but take small models; `gareum train --dry-run` says \
                 what fits",
                bytes(limit)
            ));
        }
        if !self.gpus.devices.is_empty() {
            advice.push("the GPU stays unused: gareum computes on the CPU only so far".to_owned());
        }
        advice
    }

    fn to_json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "os": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "optimised_build": !cfg!(debug_assertions),
            "processor": {
                "name": self.processor,
                "cores": self.cores,
                "threads_used": self.threads,
                "features": cpu::features(),
                "instructions_available": cpu::available().name(),
                "instructions_used": cpu::instructions().name(),
                "gareum_cpu": self.asked,
                "bf16_instructions": cpu::has_bf16(),
                "product_gflops": { "f32": self.gflops[0], "bf16": self.gflops[1] },
            },
            "memory": self.memory,
            "gpu": { "devices": self.gpus.devices, "driver": self.gpus.driver, "used": false },
            "hugging_face_cache": { "directory": self.cache, "models": self.models },
            "advice": self.advice(),
        })
    }

    fn print(&self, display: Display) {
        let row = |name: &str, value: &str| println!("{}{value}", display.left(name, 14));
        let say = |name: &str, text: &str| row(name, &display.text(text));
        let unknown = || "unknown".to_owned();
        let size = |value: Option<u64>| value.map_or_else(unknown, bytes);
        let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        say("version", &format!("{} on {system}", env!("CARGO_PKG_VERSION")));
        match &self.processor {
            Some(processor) => row("processor", processor),
            None => say("processor", "unknown"),
        }
        say("cores", &format!("{}; threads used: {}", self.cores, self.threads));
        row("instructions", &cpu::features().join(" "));
        let (used, best) = (cpu::instructions().name(), cpu::available().name());
        say("kernels", &format!("{used} (best here: {best})"));
        let [rows, inputs, outputs] = PRODUCT;
        for (name, gflops) in ["f32 product", "bf16 product"].iter().zip(self.gflops) {
            row(name, &format!("{gflops:.0} GFLOP/s ({rows} x {inputs} x {outputs})"));
        }
        let memory = &self.memory;
        say("memory", &format!("{} built in", size(memory.physical_bytes)));
        match memory.control_group_bytes {
            Some(limit) => say("", &format!("{} allowed by the control group", bytes(limit))),
            None => say("", "not limited by a control group"),
        }
        say("", &format!("{} free now", size(memory.available_bytes)));
        say("", &format!("gareum goes by {}", size(memory.limit_bytes)));
        let devices = match self.gpus.devices.is_empty() {
            true => "no NVIDIA device".to_owned(),
            false => self.gpus.devices.join(", "),
        };
        let gpu = match &self.gpus.driver {
            Some(driver) => format!("{devices}; driver {driver}; gareum computes on the CPU only so far"),
            None => format!("{devices}; gareum computes on the CPU only so far"),
        };
        say("GPU", &gpu);
        match &self.cache {
            Some(directory) => row("model cache", &directory.display().to_string()),
            None => say("model cache", "unknown"),
        }
        if self.models.is_empty() {
            say("", "no models in it");
        }
        for model in &self.models {
            let missing: Vec<_> = model.missing.iter().map(|file| display.text(file)).collect();
            match missing.is_empty() {
                true => row("", &format!("{}: --model {}", model.name, model.directory.display())),
                false => say("", &format!("{}: lacks {}", model.name, missing.join(", "))),
            }
        }
        let advice = self.advice();
        if advice.is_empty() {
            say("advice", "nothing to change");
        }
        for (index, advice) in advice.iter().enumerate() {
            say(if index == 0 { "advice" } else { "" }, advice);
        }
    }
}
