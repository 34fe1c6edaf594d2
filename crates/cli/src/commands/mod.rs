//! One file a command.

pub mod bench;
pub mod calibrate;
mod chain;
pub mod compare;
pub mod compress;
mod corpus;
pub mod doctor;
mod dry_run;
pub mod evaluate;
pub mod explain;
pub mod export;
mod hub;
pub mod init;
pub mod inspect;
mod labelled;
pub mod merge;
pub mod predict;
mod predictions;
mod prune;
pub mod quickstart;
mod report;
mod scorer;
mod seeds;
pub mod serve;
pub mod sweep;
pub mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gareum::data::Leak;
use gareum::files::{self, WriteError};
use gareum::predict::Predictor;
use gareum::report::Page;
use gareum::train::PartReport;

use crate::failure::{INTERRUPTED, Usage};
use crate::progress::Display;

/// A flag that Ctrl-C (or a termination signal) sets; a second one ends the process at once. `last_act` is what is still
/// done after the first.
fn stop_flag(display: Display, last_act: &'static str) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&flag);
    let installed = ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        display.warn(format_args!("\n{last_act}; once more to stop at once"));
    });
    if let Err(error) = installed {
        display.warn(format_args!("warning: Ctrl-C will stop at once: {error}"));
    }
    flag
}

/// The command that was typed without some of its flags (each with whether it takes a value), and with others at its end.
fn same_command(without: &[(&str, bool)], with: &[String]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut arguments = std::env::args().peekable();
    while let Some(argument) = arguments.next() {
        let name = argument.split('=').next().unwrap_or_default();
        match without.iter().find(|(flag, _)| *flag == name) {
            Some((_, true)) if name == argument => {
                arguments.next_if(|value| !value.starts_with('-'));
            }
            Some(_) => {}
            None => words.push(argument),
        }
    }
    words.extend_from_slice(with);
    let quote = |word: &String| match word.chars().all(|c| c.is_alphanumeric() || "-_./=:,".contains(c)) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Refuses an output directory in whose place, or above it, there is a file: before any work is done.
fn check_output(directory: &Path) -> Result<(), Usage> {
    match directory.ancestors().find(|path| path.exists()) {
        Some(found) if !found.is_dir() => Err(Usage(format!(
            "{}: cannot write there: {} is a file\nhint: name another directory",
            directory.display(),
            found.display()
        ))),
        _ => Ok(()),
    }
}

/// The file that a report is written to: the one named, or `name` in the directory named.
fn report_file(path: &Path, name: &str) -> Result<PathBuf, Usage> {
    let is_page = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
    match is_page && !path.is_dir() {
        true => {
            check_output(path.parent().unwrap_or(Path::new("")))?;
            Ok(path.to_owned())
        }
        false => {
            check_output(path)?;
            Ok(path.join(name))
        }
    }
}

/// Writes a report in the language that is spoken.
fn write_report(page: &Page, path: &Path, display: Display) -> Result<(), WriteError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        files::create_directory(directory)?;
    }
    files::write_atomically(
        path,
        page.render(&display.report_language(&|text| display.text(text).into_owned()))
            .as_bytes(),
    )?;
    display.note(format_args!("report: {}", path.display()));
    Ok(())
}

/// Writes a report and its pictures into a directory, in the language that is spoken; returns the page.
fn write_pages(page: &Page, directory: &Path, display: Display) -> anyhow::Result<PathBuf> {
    page.write(
        directory,
        &display.report_language(&|text| display.text(text).into_owned()),
    )?;
    let path = directory.join("index.html");
    display.note(format_args!("report: {}", path.display()));
    Ok(path)
}

/// Refuses several text columns without the word that says what they are.
fn check_stack(texts: &[String], stack: bool) -> Result<(), Usage> {
    if texts.len() < 2 || stack {
        return Ok(());
    }
    Err(Usage(format!(
        "--text is given {} times\nhint: with --stack each of these columns makes an example of its own",
        texts.len()
    )))
}

/// Says what a model computes in.
fn say_precision(display: Display, predictor: &Predictor) {
    display.note(format_args!("computing in {}", predictor.precision().name()));
}

/// Says what was read from one file and what was left out.
fn describe_part(display: Display, part: &PartReport) {
    let (load, clean) = (&part.load, &part.clean);
    let quoted = |names: &[String]| {
        let shown = names.iter().take(3).map(|name| format!("`{name}`"));
        let more = if names.len() > 3 { ", ..." } else { "" };
        shown.collect::<Vec<_>>().join(", ") + more
    };
    let pair = load.text_pair_column.as_ref();
    let pair = pair.map_or(String::new(), |column| format!(" and `{column}`"));
    display.note(format_args!(
        "{}: {} rows ({}), text {}{pair}, label {}",
        load.path,
        load.rows_read,
        load.format,
        quoted(&load.text_columns),
        quoted(&load.label_columns)
    ));
    if let [_, _, ..] = load.text_columns.as_slice() {
        display.note(format_args!(
            "  each text column makes an example of its own: {} examples",
            load.examples
        ));
    }
    let dropped = [
        (load.missing_text, "without text"),
        (load.missing_label, "without label"),
        (clean.dropped, "repeated or contradictory"),
    ];
    let dropped: Vec<String> = dropped
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !dropped.is_empty() {
        display.note(format_args!("  rows dropped: {}", dropped.join(", ")));
    }
    let seen = [
        (load.surplus_fields, "empty fields beyond the last column, left out"),
        (load.rejoined_rows, "rows whose text holds the delimiter, put together"),
        (
            load.invisible_characters,
            "texts with invisible characters (`data.normalize` can remove them)",
        ),
        (
            load.ignored_keys,
            "values of keys that first appear after row 100, left out",
        ),
    ];
    for (count, what) in seen.iter().filter(|(count, _)| *count > 0) {
        display.note(format_args!("  {what}: {count}"));
    }
    if clean.conflicting_texts > 0 {
        let example = clean.conflict_rows.first().map_or(String::new(), |(first, other)| {
            format!(", for example rows {first} and {other}")
        });
        display.note(format_args!(
            "  texts that occur with different labels: {}{example}",
            clean.conflicting_texts
        ));
    }
    if let Some(note) = &load.mapping_note {
        display.note(format_args!("  labels are numbered {note}"));
    }
}

/// Says how many texts of one part stand in an earlier one too.
fn describe_leak(display: Display, leak: &Leak) {
    let example = leak.rows.first().map_or(String::new(), |(first, again)| {
        format!(", for example rows {first} and {again}")
    });
    let share = 100.0 * leak.examples as f64 / leak.of.max(1) as f64;
    display.note(format_args!(
        "leakage: {} of {} {} examples ({share:.2} %) have a text that stands in {} too{example}",
        leak.examples, leak.of, leak.into, leak.from
    ));
}
