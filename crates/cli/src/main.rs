//! The `gareum` command line: one file a command under `commands/`, each parses, calls the library and renders.
//!
//! Data goes to standard output; progress, notes and errors to standard error. Exit codes: 0 done, 1 failed while running,
//! 2 wrong usage or input, 130 interrupted.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod failure;
mod language;
mod progress;

use std::process::ExitCode;

use arguments::Command;
use language::Language;

fn main() -> ExitCode {
    tensor::memory::give_back_large_blocks();
    let language = Language::choose(std::env::args_os());
    let arguments = language::help::parse(std::env::args_os(), language);
    if let Some(threads) = arguments.common.threads {
        // Fails only if a pool exists already, and this is the first use of one.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let result = match &arguments.command {
        Command::Quickstart(command) => commands::quickstart::run(command, &arguments.common),
        Command::Init(command) => commands::init::run(command, &arguments.common),
        Command::Train(command) => commands::train::run(command, &arguments.common),
        Command::Evaluate(command) => commands::evaluate::run(command, &arguments.common),
        Command::Predict(command) => commands::predict::run(command, &arguments.common),
        Command::Doctor => commands::doctor::run(&arguments.common),
    };
    result.unwrap_or_else(|error| failure::report(&error, language))
}
