//! How long work is shown: bars on a terminal, plain lines elsewhere, nothing with `--quiet`. All on standard error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use gareum::decision::Decision;
use gareum::machine::readable_bytes;
use gareum::model::LoadNotes;
use gareum::report;
use gareum::train::{Event, Plan};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

use crate::arguments::Common;
use crate::chart::{Chart, LEAST_WIDTH, Line, beside};
use crate::language::Language;

/// Where notes and progress go, and in which language.
#[derive(Clone, Copy)]
pub struct Display {
    shown: Shown,
    language: Language,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// `--quiet`
    Nothing,
    /// Standard error is a file or a pipe.
    Lines,
    /// Standard error is a terminal.
    Bars,
}

impl Display {
    pub fn new(common: &Common) -> Self {
        let shown = match (common.quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Bars,
            (false, false) => Shown::Lines,
        };
        Self {
            shown,
            language: common.lang,
        }
    }

    /// Prints a note.
    pub fn note(self, text: impl std::fmt::Display) {
        if self.shown != Shown::Nothing {
            self.warn(text);
        }
    }

    /// Prints what is to be known even with `--quiet`.
    pub fn warn(self, text: impl std::fmt::Display) {
        eprintln!("{}", self.language.translate(&text.to_string()));
    }

    /// Prints a result that is meant for people, on standard output.
    pub fn print(self, text: impl std::fmt::Display) {
        println!("{}", self.language.translate(&text.to_string()));
    }

    /// The text in the language that is spoken.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        self.language.translate(text)
    }

    /// The language that is spoken, for a report; `translate` is [`Display::text`].
    pub fn report_language<'a>(self, translate: &'a dyn Fn(&str) -> String) -> report::Language<'a> {
        report::Language {
            code: self.language.code(),
            translate,
        }
    }

    /// A cell of a table: the text in the language that is spoken, with blanks after it. A Hangul syllable takes two columns.
    pub fn left(self, text: &str, width: usize) -> String {
        let text = self.text(text);
        format!("{text}{}", blanks(&text, width))
    }

    /// As [`Display::left`], with the blanks before it.
    pub fn right(self, text: &str, width: usize) -> String {
        let text = self.text(text);
        format!("{}{text}", blanks(&text, width))
    }

    fn bar(self, template: &str, length: u64) -> ProgressBar {
        match self.shown {
            Shown::Bars => ProgressBar::new(length).with_style(self.style(template)),
            _ => ProgressBar::hidden(),
        }
    }

    fn style(self, template: &str) -> ProgressStyle {
        let template = self.language.translate(template);
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        style.progress_chars("█▉▊▋▌▍▎▏ ")
    }

    /// A bar over the bytes of a download.
    pub fn bytes(self, total: u64) -> ProgressBar {
        self.bar("{bytes}/{total_bytes} {bar:30} {bytes_per_sec}, {eta} left", total)
    }

    /// A bar over the trials of a sweep.
    pub fn trials(self, total: u64) -> ProgressBar {
        self.bar("{msg} {bar:24} {pos}/{len} trials, {elapsed}", total)
    }

    /// A bar over rows, of which there may be an unknown number.
    pub fn rows(self, total: Option<u64>) -> ProgressBar {
        match total {
            Some(total) => self.bar("{pos}/{len} rows {bar:30} {per_sec}, {eta} left", total),
            None => self.bar("{pos} rows, {per_sec}", 0),
        }
    }
}

/// What fills a text up to a width.
pub fn blanks(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.width()))
}

/// What fitting a decision did.
pub fn decision_lines(decision: &Decision) -> Vec<String> {
    let Some(fitted) = &decision.fitted else {
        return Vec::new();
    };
    let change = |name: &str| {
        let value = |figures: &BTreeMap<String, Option<f64>>| match figures.get(name).copied().flatten() {
            Some(value) => format!("{value:.4}"),
            None => "-".to_owned(),
        };
        format!("{} -> {}", value(&fitted.before), value(&fitted.after))
    };
    let examples = fitted.examples;
    let mut lines = vec![match decision.temperature == 1.0 {
        true => format!("temperature 1: no other lowers the loss of the {examples} rows"),
        false => format!(
            "temperature {:.3}, fitted on {examples} rows: log loss {}, calibration error {}",
            decision.temperature,
            change("log_loss"),
            change("ece")
        ),
    }];
    if !decision.thresholds.is_empty() {
        let shared = decision.thresholds.iter().filter(|label| label.shared).count();
        lines.push(format!(
            "thresholds of {} labels, of which {shared} share one: macro F1 {}, micro F1 {}",
            decision.thresholds.len(),
            change("macro_f1"),
            change("micro_f1")
        ));
    }
    lines
}

/// Shows the events of a training run.
pub struct TrainingProgress {
    display: Display,
    bar: ProgressBar,
    plan: Option<Plan>,
    /// Smoothed loss and rates for the bar.
    smoothed: Option<Rates>,
    last_line: Instant,
    curves: Curves,
}

#[derive(Clone, Copy)]
struct Rates {
    loss: f64,
    examples: f64,
    tokens: f64,
}

/// The metrics of an evaluation's line, as far as the task has them.
const SHOWN: [&str; 5] = ["loss", "accuracy", "macro_f1", "rmse", "pearson"];

/// Names of tensors that are listed at most.
const MOST_NAMES: usize = 20;

/// The part of labels that may change with the precision before it is worth a warning.
const MOST_DIFFERING: f64 = 0.005;

/// Seconds between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl TrainingProgress {
    pub fn new(display: Display) -> Self {
        Self {
            display,
            bar: ProgressBar::hidden(),
            plan: None,
            smoothed: None,
            last_line: Instant::now(),
            curves: Curves::default(),
        }
    }

    pub fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Loaded(notes) => self.loaded(notes),
            Event::Started(plan) => {
                self.bar = self.display.bar(BAR, plan.total_steps);
                self.bar.set_position(plan.done_steps);
                self.bar.reset_eta();
                self.plan = Some(plan);
            }
            Event::Computing(precision) => self.line(format!("training in {}", precision.name())),
            Event::Frozen { trained, all } => self.line(format!(
                "trained are {trained} of {all} numbers ({:.2} %), the others are frozen",
                100.0 * trained as f64 / all as f64
            )),
            Event::Step(report) => {
                let seconds = report.duration.as_secs_f64().max(1e-9);
                let now = Rates {
                    loss: report.loss,
                    examples: report.examples as f64 / seconds,
                    tokens: report.tokens as f64 / seconds,
                };
                let smooth = |old: f64, new: f64| old + 0.1 * (new - old);
                let rates = self.smoothed.map_or(now, |old| Rates {
                    loss: smooth(old.loss, now.loss),
                    examples: smooth(old.examples, now.examples),
                    tokens: smooth(old.tokens, now.tokens),
                });
                self.smoothed = Some(rates);
                let epoch = self
                    .plan
                    .map_or(0.0, |plan| report.step as f64 / plan.steps_per_epoch as f64);
                let message = format!(
                    "epoch {epoch:.1}  loss {:.4}  lr {:.1e}  {:.0} examples/s  {:.0} tokens/s",
                    rates.loss, report.learning_rate, rates.examples, rates.tokens
                );
                self.bar.set_position(report.step);
                if self.display.shown == Shown::Lines && self.last_line.elapsed() >= LINE_EVERY {
                    self.last_line = Instant::now();
                    self.line(format!("{message}  step {}{}", report.step, self.remaining(&report)));
                }
                self.message(&message);
            }
            Event::Teaching { done, total } => self.teaching(done, total),
            Event::Evaluating { done, total } => self.message(&format!("evaluating {done}/{total}")),
            Event::Evaluated {
                step,
                epoch,
                metrics,
                is_best,
            } => {
                let shown = SHOWN
                    .iter()
                    .filter_map(|name| Some(format!("{name} {:.4}", metrics.value(name)?)));
                let best = if is_best { "  best so far" } else { "" };
                self.line(format!(
                    "epoch {epoch:.1} (step {step})  validation {}{best}",
                    shown.collect::<Vec<_>>().join("  ")
                ));
            }
            Event::Planned { limit_bytes, plan } => {
                let (limit, tokens) = (readable_bytes(limit_bytes), plan.micro_batch_tokens);
                self.line(match plan.checkpoint_activations {
                    false => format!("to stay within {limit}, at most {tokens} tokens go through the model at a time"),
                    true => format!(
                        "to stay within {limit}, at most {tokens} tokens go through the model at a time and layers are computed again"
                    ),
                });
            }
            Event::Resplit { before, now } => self.line(format!(
                "train.micro_batch_tokens was {before} and is {now} now: the run goes on equal but for rounding, not to the bit"
            )),
            Event::PrecisionCompared {
                precision,
                examples,
                differing,
            } => {
                let name = precision.name();
                let told = format!("{differing} of {examples} validation rows get another label in f32 than in {name}");
                match differing as f64 > MOST_DIFFERING * examples as f64 {
                    true => self.bar.suspend(|| self.display.warn(format!("{told}: train with --set train.precision=f32 if that matters"))),
                    false => self.line(told),
                }
            }
            Event::Decided(decision) => decision_lines(decision).into_iter().for_each(|line| self.line(line)),
            Event::Logged(history) => {
                self.curves.follow(history);
                self.draw_curves();
            }
            Event::Saved(_) => {}
            Event::StoppedEarly { monitor, .. } => {
                self.line(format!("stopped early: {monitor} has not improved any more"));
            }
        }
    }

    /// Shows how far the teacher is, before there are steps.
    fn teaching(&mut self, done: usize, total: usize) {
        if done == total {
            self.bar.finish_and_clear();
            self.line(format!("the teacher has scored the {total} texts to learn from"));
            return;
        }
        if self.bar.length() != Some(total as u64) {
            self.bar = self.display.rows(Some(total as u64));
        }
        self.bar.set_position(done as u64);
    }

    /// Says what is special about the checkpoint.
    fn loaded(&self, notes: &LoadNotes) {
        if notes.in_sentence_model {
            self.line(
                "a model of sentence-transformers: its encoder is used, its other modules are left out".to_owned(),
            );
        }
        if notes.is_generator {
            self.line("this is the generator of an ELECTRA pair; its discriminator would classify better".to_owned());
        }
        if let Some(token) = &notes.appended_token {
            self.line(format!(
                "the tokenizer ends no text with `{token}`, where the model reads it: it is put there"
            ));
        }
        if !notes.unused.is_empty() {
            let shown: Vec<String> = notes
                .unused
                .iter()
                .take(MOST_NAMES)
                .map(|name| format!("`{name}`"))
                .collect();
            let (count, shown) = (notes.unused.len(), shown.join(", "));
            self.line(match count > MOST_NAMES {
                false => format!("tensors of the checkpoint that are not used: {count} ({shown})"),
                true => format!(
                    "tensors of the checkpoint that are not used: {count} ({shown} and {} more)",
                    count - MOST_NAMES
                ),
            });
        }
    }

    fn remaining(&self, report: &gareum::train::StepReport) -> String {
        let Some(plan) = self.plan else { return String::new() };
        let left = report.duration.mul_f64((plan.total_steps - report.step) as f64);
        format!("/{}  {} left", plan.total_steps, HumanDuration(left))
    }

    fn line(&self, text: String) {
        self.bar.suspend(|| self.display.note(text));
    }

    /// Puts a text on the bar.
    fn message(&self, text: &str) {
        self.bar.set_message(self.display.language.translate(text).into_owned());
    }

    /// Puts the curves above the bar.
    fn draw_curves(&self) {
        let Some(plan) = self.plan.filter(|_| self.display.shown == Shown::Bars) else {
            return;
        };
        let lines = self.curves.draw(self.display, plan.total_steps);
        if !lines.is_empty() {
            if self.bar.prefix().is_empty() {
                self.bar.set_style(self.display.style(&format!("{{prefix}}\n{BAR}")));
            }
            self.bar.set_prefix(lines.join("\n"));
        }
    }

    /// Takes the bar away; on a terminal the curves stay.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if self.display.shown == Shown::Bars {
            let lines = self.curves.draw(self.display, self.curves.last_step());
            lines.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The bar of a run.
const BAR: &str = "{msg} {bar:24} {pos}/{len} steps, {eta} left";

/// Lines of a chart, without that of its names.
const CHART_HEIGHT: usize = 4;

/// The widest chart.
const CHART_WIDTH: usize = 72;

/// Lines that a terminal has at least where charts are drawn.
const LEAST_LINES: usize = 16;

/// Figures of validation of which one is drawn, the first that a task has.
const DRAWN: [&str; 3] = ["macro_f1", "pearson", "accuracy"];

/// What a run has logged so far, by step.
#[derive(Default)]
struct Curves {
    /// Entries that were looked at.
    seen: usize,
    loss: Vec<(f64, f64)>,
    validation_loss: Vec<(f64, f64)>,
    metric: Vec<(f64, f64)>,
    /// The name of the metric.
    name: Option<&'static str>,
}

impl Curves {
    /// Takes the entries that are new.
    fn follow(&mut self, history: &[Map<String, Value>]) {
        for entry in history.iter().skip(self.seen) {
            let number = |key: &str| entry.get(key).and_then(Value::as_f64);
            let Some(step) = number("step") else { continue };
            let drawn = |name: &&str| number(&format!("eval_{name}")).is_some();
            self.name = self.name.or_else(|| DRAWN.into_iter().find(drawn));
            let metric = self.name.and_then(|name| number(&format!("eval_{name}")));
            self.loss.extend(number("loss").map(|value| (step, value)));
            self.validation_loss
                .extend(number("eval_loss").map(|value| (step, value)));
            self.metric.extend(metric.map(|value| (step, value)));
        }
        self.seen = self.seen.max(history.len());
    }

    fn last_step(&self) -> u64 {
        let last = |points: &[(f64, f64)]| points.last().map_or(0.0, |(step, _)| *step);
        last(&self.loss).max(last(&self.validation_loss)) as u64
    }

    /// Charts of the losses and of the metric, side by side or, on a narrow terminal, of the losses alone; nothing on a tiny one.
    fn draw(&self, display: Display, steps: u64) -> Vec<String> {
        let Some((lines, columns)) = console::Term::stderr().size_checked() else {
            return Vec::new();
        };
        // A terminal may wrap a line that fills it.
        let columns = usize::from(columns).saturating_sub(1);
        if usize::from(lines) < LEAST_LINES || columns < LEAST_WIDTH || self.loss.len() < 2 {
            return Vec::new();
        }
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_metric = self.metric.len() > 1 && columns >= 2 * LEAST_WIDTH + 2;
        let width = if has_metric { (columns - 2) / 2 } else { columns };
        let draw = |lines: Vec<Line<'_>>| {
            let chart = Chart {
                lines,
                across: [0.0, steps as f64],
                width: width.min(CHART_WIDTH),
                height: CHART_HEIGHT,
                has_colours: !is_plain,
            };
            chart.draw()
        };
        let losses = [
            ("training loss", &self.loss),
            ("validation loss", &self.validation_loss),
        ];
        let losses = losses.map(|(name, points)| line(display.text(name).into_owned(), points));
        let losses = draw(losses.into_iter().flatten().collect());
        match self.name.filter(|_| has_metric) {
            Some(name) => {
                let name = format!("{} {name}", display.text("validation"));
                beside(losses, draw(line(name, &self.metric).into_iter().collect()))
            }
            None => losses,
        }
    }
}

/// A line with its last value in its name; `None` without points.
fn line(name: String, points: &[(f64, f64)]) -> Option<Line<'_>> {
    let (_, last) = points.last()?;
    Some(Line {
        name: format!("{name} {last:.3}"),
        points,
    })
}
