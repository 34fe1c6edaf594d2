//! `gareum export`

use std::process::ExitCode;

use anyhow::bail;
use gareum::export::{Exported, OnnxOptions, onnx};
use gareum::machine::readable_bytes;
use gareum::model::Adapter;

use super::{check_output, hub};
use crate::arguments::{Common, Export, ExportOnnx};
use crate::failure::Usage;
use crate::progress::Display;

/// Files that hold the weights of a model, in whose place an export would be.
const WEIGHTS: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];

pub fn run(command: &Export, common: &Common) -> anyhow::Result<ExitCode> {
    match command {
        Export::Onnx(command) => run_onnx(command, common),
    }
}

fn run_onnx(command: &ExportOnnx, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    check_output(&command.output)?;
    if Adapter::is_in(&command.output) || WEIGHTS.iter().any(|file| command.output.join(file).exists()) {
        bail!(Usage(format!(
            "{}: there is a model, whose config and tokenizer the export would replace\nhint: name another directory with --output",
            command.output.display()
        )));
    }
    let directory = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    let options = OnnxOptions {
        is_int8: command.int8,
        ..OnnxOptions::default()
    };
    let exported = onnx(&directory, command.base.as_deref(), &command.output, options)?;
    match common.json {
        true => println!("{}", serde_json::to_string_pretty(&exported)?),
        false => print(display, &exported),
    }
    display.note(format_args!("saved to {}", command.output.display()));
    Ok(ExitCode::SUCCESS)
}

fn print(display: Display, exported: &Exported) {
    for file in &exported.files {
        let bytes = readable_bytes(file.bytes + file.data_bytes);
        println!("{:>10}  {}", bytes, file.path.display());
    }
    display.note(format_args!(
        "inputs: {}, padded behind the tokens, at most {} of them; output: logits",
        exported.inputs.join(", "),
        exported.max_tokens
    ));
    if exported.files.iter().any(|file| file.data_bytes > 0) {
        display.note("constants stand in a file of their own, which must stay beside its graph");
    }
    if exported.files.iter().any(|file| file.is_int8) && !exported.was_int8 {
        display.note("the weights of 8 bits were not compared with the others: gareum compress does that behind a gate, and what it writes is exported with the same integers");
    }
    display.note(
        "opened by ONNX Runtime and transformers.js; docs/onnx.md shows how, and how to check it on your own rows",
    );
}
