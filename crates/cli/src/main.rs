//! The `gareum` command line: one file a command under `commands/`, each parses, calls the library and renders.
//!
//! Data goes to standard output; progress, notes and errors to standard error. Exit codes: 0 done, 1 failed while running,
//! 2 wrong usage or input, 130 interrupted.

#![forbid(unsafe_code)]

mod arguments;
mod chart;
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
    // This thread is one of the pool's: it works instead of waiting for another to wake up, hundreds of times a step. Zero is
    // rayon's own choice (`RAYON_NUM_THREADS`, or one for each core).
    let pool = rayon::ThreadPoolBuilder::new().use_current_thread();
    // Fails only if a pool exists already, and this is the first use of one.
    let _ = pool.num_threads(arguments.common.threads.unwrap_or(0)).build_global();
    let result = match &arguments.command {
        Command::Quickstart(command) => commands::quickstart::run(command, &arguments.common),
        Command::Init(command) => commands::init::run(command, &arguments.common),
        Command::Inspect(command) => commands::inspect::run(command, &arguments.common),
        Command::Train(command) => commands::train::run(command, &arguments.common),
        Command::Sweep(command) => commands::sweep::run(command, &arguments.common),
        Command::Evaluate(command) => commands::evaluate::run(command, &arguments.common),
        Command::Compare(command) => commands::compare::run(command, &arguments.common),
        Command::Compress(command) => commands::compress::run(command, &arguments.common),
        Command::Export(command) => commands::export::run(command, &arguments.common),
        Command::Calibrate(command) => commands::calibrate::run(command, &arguments.common),
        Command::Predict(command) => commands::predict::run(command, &arguments.common),
        Command::Explain(command) => commands::explain::run(command, &arguments.common),
        Command::Serve(command) => commands::serve::run(command, &arguments.common),
        Command::Merge(command) => commands::merge::run(command, &arguments.common),
        Command::Bench(command) => commands::bench::run(command, &arguments.common),
        Command::Doctor => commands::doctor::run(&arguments.common),
    };
    result.unwrap_or_else(|error| failure::report(&error, language))
}
