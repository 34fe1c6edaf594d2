//! The help of every command, and what clap says of wrong arguments.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, Error, FromArgMatches};

use super::Language;
use crate::arguments::Arguments;

/// Parses what was typed; help and errors are shown in `language`, and end the process.
pub fn parse(arguments: impl Iterator<Item = OsString>, language: Language) -> Arguments {
    let mut command = localised(Arguments::command(), language);
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    parsed.unwrap_or_else(|error| leave(&error, language))
}

/// Shows help on standard output with exit code 0, errors on standard error with 2.
fn leave(error: &Error, language: Language) -> ! {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_help || language == Language::English {
        error.exit();
    }
    eprint!("{}", language.translate(&error.render().to_string()));
    std::process::exit(error.exit_code());
}

/// The command with its help, and that of its subcommands, in `language`.
fn localised(mut command: Command, language: Language) -> Command {
    if language == Language::English {
        return command;
    }
    // Adds what clap says of itself: `--help`, `--version`, `help`.
    command.build();
    translated(command, language)
}

fn translated(mut command: Command, language: Language) -> Command {
    let told = |text: &StyledStr| language.translate(&text.to_string()).into_owned();
    if let Some(text) = command.get_about().map(told) {
        command = command.about(text);
    }
    if let Some(text) = command.get_long_about().map(told) {
        command = command.long_about(text);
    }
    if let Some(text) = command.get_before_help().map(told) {
        command = command.before_help(text);
    }
    if let Some(text) = command.get_after_help().map(told) {
        command = command.after_help(text);
    }
    if let Some(text) = command.get_after_long_help().map(told) {
        command = command.after_long_help(text);
    }
    let heading = command.get_subcommand_help_heading().unwrap_or("Commands");
    let heading = language.translate(heading).into_owned();
    let style = *command.get_styles().get_usage();
    let usage = language.translate("Usage:").into_owned();
    let usage = format!("{}{usage}{}", style.render(), style.render_reset());
    command
        .subcommand_help_heading(heading)
        // Clap's own template but for the word.
        .help_template(format!(
            "{{before-help}}{{about-with-newline}}\n{usage} {{usage}}\n\n{{all-args}}{{after-help}}"
        ))
        .mut_args(|argument| translated_argument(argument, language))
        .mut_subcommands(|command| translated(command, language))
}

fn translated_argument(mut argument: Arg, language: Language) -> Arg {
    let heading = match argument.get_help_heading() {
        Some(heading) => heading,
        None if argument.is_positional() => "Arguments",
        None => "Options",
    };
    let heading = language.translate(heading).into_owned();
    // What clap would add in English.
    let mut added = String::new();
    let mut add = |kind: &str, values: String| {
        if !values.is_empty() {
            added += &format!(" {}", language.translate(&format!("[{kind}: {values}]")));
        }
    };
    if argument.get_action().takes_values() && !argument.is_hide_default_value_set() {
        let defaults = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy());
        add("default", defaults.collect::<Vec<_>>().join(" "));
    }
    if !argument.is_hide_possible_values_set() {
        let values = argument.get_possible_values();
        let names = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| value.get_name());
        add("possible values", names.collect::<Vec<_>>().join(", "));
    }
    let told = |text: &StyledStr| format!("{}{added}", language.translate(&text.to_string()));
    if let Some(text) = argument.get_help().map(told) {
        argument = argument.help(text);
    }
    if let Some(text) = argument.get_long_help().map(told) {
        argument = argument.long_help(text);
    }
    argument
        .help_heading(heading)
        .hide_default_value(true)
        .hide_possible_values(true)
}
