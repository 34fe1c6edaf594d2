//! One file a command.

pub mod evaluate;
pub mod predict;
pub mod quickstart;
pub mod train;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gareum::train::PartReport;

use crate::failure::{INTERRUPTED, Usage};
use crate::progress::Display;

/// A flag that Ctrl-C (or a termination signal) sets; a second one ends the process at once. `last_act` is what is still
/// done after the first.
fn stop_flag(last_act: &'static str) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&flag);
    let installed = ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\n{last_act}; once more to stop at once");
    });
    if let Err(error) = installed {
        eprintln!("warning: Ctrl-C will stop at once: {error}");
    }
    flag
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

/// Says what was read from one file and what was left out.
fn describe_part(display: Display, part: &PartReport) {
    let (load, clean) = (&part.load, &part.clean);
    let pair = load
        .text_pair_column
        .as_ref()
        .map_or(String::new(), |column| format!(" and `{column}`"));
    let labels = load
        .label_columns
        .iter()
        .take(3)
        .map(|column| format!("`{column}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let more = if load.label_columns.len() > 3 { ", ..." } else { "" };
    display.note(format_args!(
        "{}: {} rows ({}), text `{}`{pair}, label {labels}{more}",
        load.path, load.rows_read, load.format, load.text_column
    ));
    let dropped = [
        (load.missing_text, "without text"),
        (load.missing_label, "without label"),
        (clean.dropped, "duplicates"),
    ];
    let dropped: Vec<String> = dropped
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !dropped.is_empty() {
        display.note(format_args!("  dropped {}", dropped.join(", ")));
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
