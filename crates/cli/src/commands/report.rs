//! An evaluation for people: the table of the labels, then what figures do not say.

use gareum::data::Task;
use gareum::evaluation::{ExampleShown, LENGTH, Report, Slicing, headlines};
use gareum::metrics::Interval;
use serde_json::Value;
use unicode_width::UnicodeWidthChar;

use crate::progress::Display;

/// Pairs, mistakes and slices that are shown; `--json` has more.
const MOST_SHOWN: usize = 5;

/// Columns of a text that are shown.
const TEXT_WIDTH: usize = 72;

/// What is told of probabilities, by the names in `metrics.json`.
const OF_PROBABILITIES: [&str; 6] = [
    "loss",
    "log_loss",
    "brier_score_loss",
    "ece",
    "roc_auc",
    "average_precision",
];

pub fn print(display: Display, report: &Report, task: Task) {
    println!("{}", report.metrics.to_table());
    let method = report.confidence_intervals.method;
    display.print(format_args!(
        "With intervals at {} % (bootstrap, {} draws of the rows):",
        100.0 * method.level,
        method.resamples
    ));
    for name in headlines(task) {
        let interval = interval(report.confidence_intervals.of(name));
        println!("  {name:<18} {}  {interval}", number(report.metrics.value(name)));
    }
    if task != Task::Regression {
        let values = OF_PROBABILITIES.map(|name| format!("{name} {}", number(report.metrics.value(name))));
        println!("  {}", values.join("  "));
    }
    if let Some(answered) = &report.answered {
        let share = 100.0 * answered.coverage.unwrap_or_default();
        display.print(format_args!(
            "\nThe model abstains on the unsure: {} rows ({share:.1} %) are answered, with accuracy {} and macro F1 {}",
            answered.examples,
            number(answered.accuracy),
            number(answered.macro_f1)
        ));
    }
    print_drift(display, report);
    print_confused(display, report);
    print_mistakes(display, report, task);
    report
        .slices
        .iter()
        .for_each(|slicing| print_slices(display, slicing, task));
}

fn print_drift(display: Display, report: &Report) {
    let Some(drift) = report.label_drift else { return };
    display.print(format_args!(
        "\nShares of the labels differ from those in training by {:.1} %; most of all:",
        100.0 * drift
    ));
    let difference = |share: Option<f64>, train: Option<f64>| (share.unwrap_or(0.0) - train.unwrap_or(0.0)).abs();
    let mut shares: Vec<_> = report.label_shares.iter().collect();
    shares.sort_by(|first, second| {
        let [first, second] = [first, second].map(|label| difference(label.share, label.train_share));
        second.total_cmp(&first)
    });
    for label in shares.iter().take(MOST_SHOWN) {
        let percent = |share: Option<f64>| 100.0 * share.unwrap_or(0.0);
        display.print(format_args!(
            "  {}: {} rows ({:.1} %), in training {} ({:.1} %)",
            label.label,
            label.support,
            percent(label.share),
            label.train_support.unwrap_or(0),
            percent(label.train_share)
        ));
    }
}

fn print_confused(display: Display, report: &Report) {
    if report.confused.is_empty() {
        return;
    }
    display.print("\nMost confused:");
    for pair in report.confused.iter().take(MOST_SHOWN) {
        display.print(format_args!(
            "  {} taken for {}: {} rows ({:.1} %)",
            pair.label,
            pair.predicted,
            pair.count,
            100.0 * pair.share
        ));
        if let Some(example) = pair.examples.first() {
            print_text(display, example);
        }
    }
}

fn print_mistakes(display: Display, report: &Report, task: Task) {
    if report.mistakes.is_empty() {
        return;
    }
    display.print(match task {
        Task::Regression => "\nLargest errors:",
        _ => "\nMost confident mistakes:",
    });
    for mistake in report.mistakes.iter().take(MOST_SHOWN) {
        let (truth, predicted) = (said(&mistake.truth), said(&mistake.predicted));
        match &mistake.label {
            None => display.print(format_args!(
                "  {:.3}: it is {truth}, predicted {predicted}",
                mistake.confidence
            )),
            Some(label) => display.print(format_args!(
                "  {:.3}: {label} is wrong; it is [{truth}], predicted [{predicted}]",
                mistake.confidence
            )),
        }
        print_text(display, &mistake.example);
    }
}

fn print_text(display: Display, example: &ExampleShown) {
    let pair = example
        .text_pair
        .as_ref()
        .map_or(String::new(), |pair| format!(" | {pair}"));
    let text = shortened(&format!("{}{pair}", example.text));
    display.print(format_args!("      row {}: {text}", example.row));
}

fn print_slices(display: Display, slicing: &Slicing, task: Task) {
    let is_length = slicing.by == LENGTH;
    // Names and values of columns stay as they are.
    let said = |text: &str| match is_length {
        true => display.text(text).into_owned(),
        false => text.to_owned(),
    };
    let first = said(&slicing.by);
    let width = slicing
        .slices
        .iter()
        .map(|slice| columns(&said(&slice.value)))
        .chain([columns(&first)])
        .max()
        .unwrap_or(0);
    let width = width.min(TEXT_WIDTH / 2);
    let padded = |text: &str| format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))));
    let names = headlines(task);
    let header: String = names.iter().map(|name| format!(" {name:>18}")).collect();
    println!("\n  {}  {}{header}", padded(&first), display.right("rows", 8));
    for slice in &slicing.slices {
        let value = |name: &&str| slice.metrics.get(*name).copied().flatten();
        let values: String = names
            .iter()
            .map(|name| format!(" {:>18}", number(value(name))))
            .collect();
        println!("  {}  {:>8}{values}", padded(&said(&slice.value)), slice.examples);
    }
}

/// A label, labels or a number.
pub fn said(value: &Value) -> String {
    match value {
        Value::String(label) => label.clone(),
        Value::Array(labels) => labels.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_f64().map_or(String::new(), |number| format!("{number:.3}")),
        _ => String::new(),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

fn interval(interval: Option<Interval>) -> String {
    interval.map_or(String::new(), |Interval { low, high }| format!("[{low:.4}, {high:.4}]"))
}

/// Columns of a terminal that a text takes.
pub fn columns(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// One line of at most so many columns.
pub fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if columns(&line) <= TEXT_WIDTH {
        return line;
    }
    let mut width = 1;
    let kept = line.chars().take_while(|character| {
        width += character.width().unwrap_or(0);
        width <= TEXT_WIDTH
    });
    kept.collect::<String>() + "…"
}
