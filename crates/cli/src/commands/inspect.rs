//! `gareum inspect`: what files are like, on the terminal or as JSON.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use gareum::data::{LabelMap, Task};
use gareum::inspect::{
    ColumnKind, ColumnRole, Distribution, FileReport, Finding, InspectOptions, InspectedFile, Inspection, LabelReport,
    Severity, TokenReport, file_name, inspect, percent,
};
use gareum::model::{ModelConfig, ModelError};
use gareum::settings::Settings;
use gareum::tokens::Tokenizer;
use toml::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{check_stack, hub, report_file, write_report};
use crate::arguments::{Common, Inspect};
use crate::progress::Display;

/// Labels, columns and words of labels that are shown at most of each file; `--json` has all.
const MOST_LABELS: usize = 30;
const MOST_COLUMNS: usize = 30;
const MOST_LABELS_WITH_WORDS: usize = 12;
/// Columns of a bar.
const BAR: usize = 24;
/// Columns of a name.
const NAME: usize = 24;

pub fn run(command: &Inspect, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let report = command.report.as_deref().map(|path| report_file(path, "inspect.html"));
    let report = report.transpose()?;
    let settings = Settings::load(None, &overrides(command)?)?;
    check_stack(&command.columns.text, command.columns.stack)?;
    let files = files(command);
    for file in &files {
        hub::dataset(&file.path, file.split.as_deref().unwrap_or("train"), common)?;
    }
    let map = settings.data.label_map.as_deref().map(LabelMap::open).transpose()?;
    let (tokenizer, max_tokens) = match (&command.model, &command.tokenizer) {
        (Some(model), _) => {
            let directory = hub::model(model, None, common)?;
            (Some(Tokenizer::from_directory(&directory)?), max_tokens(&directory)?)
        }
        (None, Some(directory)) => (Some(Tokenizer::from_directory(directory)?), None),
        (None, None) => (None, None),
    };
    let options = InspectOptions {
        read: settings.data.read_options(),
        columns: settings.data.columns(),
        task: settings.task,
        label_map: map.as_ref(),
        tokenizer: tokenizer.as_ref(),
        max_tokens,
    };
    let bar = display.rows(None);
    let mut before = 0;
    let mut current = String::new();
    let inspection = inspect(&files, &options, &mut |file, rows| {
        if current != file {
            before = bar.position();
            file.clone_into(&mut current);
        }
        bar.set_position(before + rows);
    });
    bar.finish_and_clear();
    let inspection = inspection?;
    if common.json {
        println!("{}", serde_json::to_string_pretty(&inspection).context("inspection")?);
    } else {
        Summary::new(display, tokenizer.is_some()).print(&inspection);
    }
    if let Some(path) = report {
        write_report(&inspection.to_page(), &path, display)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files with what they are called: training data is called `train` where other parts stand beside it.
fn files(command: &Inspect) -> Vec<InspectedFile> {
    let has_parts = command.validation.is_some() || command.test.is_some();
    let is_train = has_parts && command.data.len() == 1;
    let names: Vec<String> = command.data.iter().map(|path| file_name(path)).collect();
    let name = |place: usize, path: &Path| match names.iter().filter(|name| **name == names[place]).count() {
        _ if is_train => "train".to_owned(),
        1 => names[place].clone(),
        _ => path.display().to_string(),
    };
    let data = command.data.iter().enumerate().map(|(place, path)| InspectedFile {
        name: name(place, path),
        path: path.clone(),
        split: Some("train".to_owned()),
        is_measured_on: false,
    });
    let parts = [("validation", &command.validation), ("test", &command.test)];
    let parts = parts.into_iter().filter_map(|(name, path)| {
        Some(InspectedFile {
            name: name.to_owned(),
            path: path.clone()?,
            split: Some(name.to_owned()),
            is_measured_on: true,
        })
    });
    data.chain(parts).collect()
}

/// The flags as settings.
fn overrides(command: &Inspect) -> anyhow::Result<Vec<(String, Value)>> {
    let columns = &command.columns;
    let list = |names: &[String]| names.iter().cloned().map(Value::String).collect::<Vec<_>>();
    let list = |names: &[String]| (!names.is_empty()).then(|| Value::Array(list(names)));
    let map = columns.label_map.as_ref().map(|path| path.display().to_string());
    let given = [
        ("data.text", list(&columns.text)),
        ("data.stack", columns.stack.then_some(Value::Boolean(true))),
        ("data.text_pair", columns.text_pair.clone().map(Value::String)),
        ("data.label", list(&columns.label)),
        ("data.label_map", map.map(Value::String)),
        ("data.header", columns.no_header.then_some(Value::Boolean(false))),
    ];
    let given = given
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let mut overrides: Vec<(String, Value)> = given.collect();
    for assignment in &command.set {
        overrides.push(Settings::parse_assignment(assignment)?);
    }
    Ok(overrides)
}

/// The most tokens that a model takes; `None` for an adapter, whose configuration is that of its base.
fn max_tokens(directory: &Path) -> Result<Option<usize>, ModelError> {
    if !directory.join("config.json").exists() {
        return Ok(None);
    }
    Ok(Some(ModelConfig::from_directory(directory)?.max_tokens()))
}

/// What is shown on the terminal.
struct Summary {
    display: Display,
    /// Standard output is a terminal: bars of blocks.
    has_blocks: bool,
    has_colours: bool,
    has_tokenizer: bool,
}

impl Summary {
    fn new(display: Display, has_tokenizer: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            display,
            has_blocks: is_terminal,
            has_colours: is_terminal && !is_plain,
            has_tokenizer,
        }
    }

    fn print(&self, inspection: &Inspection) {
        for file in &inspection.files {
            self.file(file);
        }
        self.heading("findings");
        if inspection.findings.is_empty() {
            self.say("  nothing that would need a word");
        }
        inspection.findings.iter().for_each(|finding| self.finding(finding));
        if !self.has_tokenizer {
            self.say("");
            self.say("tokens were not counted: name a tokenizer with --tokenizer or a model with --model");
        }
    }

    fn say(&self, text: &str) {
        self.display.print(text);
    }

    fn heading(&self, text: &str) {
        println!("{}", self.coloured("1", &self.display.text(text)));
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        match self.has_colours {
            true => format!("\u{1B}[{code}m{text}\u{1B}[0m"),
            false => text.to_owned(),
        }
    }

    fn file(&self, file: &FileReport) {
        println!("{}", self.coloured("1", &file.name));
        self.say(&format!("  {} rows, {}", file.rows, file.format));
        let names = |role: ColumnRole| {
            let columns = file.columns.iter().filter(|column| column.role == role);
            columns.map(|column| format!("`{}`", column.name)).collect::<Vec<_>>()
        };
        let texts = [names(ColumnRole::Text), names(ColumnRole::TextPair)].concat();
        self.say(&format!("  text {}", texts.join(", ")));
        let labels = names(ColumnRole::Label);
        if !labels.is_empty() {
            self.say(&format!("  label {}", labels.join(", ")));
        }
        println!();
        self.columns(file);
        if let Some(labels) = &file.labels {
            self.labels(labels);
        }
        self.lengths(file);
        if !file.vocabulary.is_empty() {
            self.say("  words by which labels differ from the others");
            for label in file.vocabulary.iter().take(MOST_LABELS_WITH_WORDS) {
                let words: Vec<&str> = label.words.iter().map(|word| word.word.as_str()).collect();
                println!("    {}  {}", padded(&label.label, NAME / 2), words.join(", "));
            }
            println!();
        }
    }

    fn columns(&self, file: &FileReport) {
        let shown = &file.columns[..file.columns.len().min(MOST_COLUMNS)];
        let width = shown
            .iter()
            .map(|column| column.name.width())
            .max()
            .unwrap_or(0)
            .clamp(6, NAME);
        let display = self.display;
        println!(
            "    {}  {}  {}  {}  {}",
            display.left("column", width),
            display.left("kind", 8),
            display.right("missing", 9),
            display.right("different", 9),
            display.text("examples")
        );
        for column in shown {
            let different = match column.distinct_is_at_least {
                true => format!("> {}", column.distinct),
                false => column.distinct.to_string(),
            };
            let kind = match column.kind {
                ColumnKind::Integer => "integer",
                ColumnKind::Number => "number",
                ColumnKind::Boolean => "boolean",
                ColumnKind::Text => "text",
                ColumnKind::List => "list",
                ColumnKind::Empty => "empty",
            };
            let examples = column.examples.join(" | ").replace(['\n', '\r', '\t'], " ");
            println!(
                "    {}  {}  {:>9}  {different:>9}  {}",
                padded(&column.name, width),
                display.left(kind, 8),
                column.missing,
                cut(&examples, 40)
            );
        }
        if file.columns.len() > MOST_COLUMNS {
            self.say(&format!("    and {} more", file.columns.len() - MOST_COLUMNS));
        }
        println!();
    }

    fn labels(&self, labels: &LabelReport) {
        self.say(&format!("  labels ({}), {} rows", labels.task, labels.rows));
        let bars: Vec<(String, u64, Option<f64>)> = match (&labels.values, labels.task) {
            (Some(values), _) => {
                self.say(&format!(
                    "    {} different numbers from {} to {}, mean {:.3}, standard deviation {:.3}",
                    values.distinct, values.min, values.max, values.mean, values.deviation
                ));
                let name = |bin: &gareum::inspect::ValueBin| match bin.from == bin.to {
                    true => bin.from.to_string(),
                    false => format!("{:.2} .. {:.2}", bin.from, bin.to),
                };
                values
                    .histogram
                    .iter()
                    .map(|bin| (name(bin), bin.count, None))
                    .collect()
            }
            (None, _) => {
                let mut shares: Vec<_> = labels.shares.iter().collect();
                if shares.len() > MOST_LABELS {
                    shares.sort_by_key(|share| std::cmp::Reverse(share.rows));
                }
                shares
                    .iter()
                    .take(MOST_LABELS)
                    .map(|share| (share.label.clone(), share.rows, Some(share.share)))
                    .collect()
            }
        };
        let most = bars.iter().map(|(_, rows, _)| *rows).max().unwrap_or(0);
        let width = bars.iter().map(|(name, ..)| name.width()).max().unwrap_or(0).min(NAME);
        for (name, rows, share) in &bars {
            let share = share.map_or(String::new(), |share| format!("{:>5} %", percent(share)));
            println!(
                "    {}  {rows:>9} {share}  {}",
                padded(name, width),
                self.bar(*rows, most)
            );
        }
        if labels.shares.len() > MOST_LABELS {
            let (more, rows) = (
                labels.shares.len() - MOST_LABELS,
                bars.last().map_or(0, |(_, rows, _)| *rows),
            );
            self.say(&format!("    and {more} more of at most {rows} rows"));
        }
        if let Some(combinations) = labels.combinations.as_ref().filter(|_| labels.task == Task::MultiLabel) {
            self.say(&format!(
                "    {:.2} labels a row; {} combinations, {} of them in one row",
                combinations.labels_per_row, combinations.distinct, combinations.seen_once
            ));
            for combination in combinations.frequent.iter().take(3) {
                println!("    {:>9}  {}", combination.rows, combination.labels.join(" + "));
            }
        }
        println!();
    }

    fn lengths(&self, file: &FileReport) {
        if let Some(characters) = &file.characters {
            self.say(&format!("  length in characters: {}", quantiles(characters)));
            println!("    {}", self.histogram(characters));
        }
        if let Some(TokenReport {
            lengths, truncation, ..
        }) = &file.tokens
        {
            self.say(&format!("  length in tokens: {}", quantiles(lengths)));
            println!("    {}", self.histogram(lengths));
            let display = self.display;
            println!(
                "    {}  {}  {}",
                display.right("max_length", 10),
                display.right("texts cut", 12),
                display.right("tokens lost", 12)
            );
            let mut cuts = truncation.cuts.clone();
            if cuts
                .iter()
                .all(|cut| cut.max_length != truncation.recommended.max_length)
            {
                cuts.push(truncation.recommended);
                cuts.sort_by_key(|cut| cut.max_length);
            }
            for cut in cuts {
                let (texts, tokens) = (percent(cut.texts), percent(cut.tokens));
                let is_recommended = cut.max_length == truncation.recommended.max_length;
                let mark = if is_recommended {
                    display.text("  <- recommended")
                } else {
                    "".into()
                };
                println!("    {:>10}  {texts:>10} %  {tokens:>10} %{mark}", cut.max_length);
            }
        }
        println!();
    }

    fn finding(&self, finding: &Finding) {
        let (mark, code) = match finding.severity {
            Severity::Problem => ("problem", "1;31"),
            Severity::Warning => ("warning", "33"),
            Severity::Note => ("note", "2"),
        };
        let mark = self.coloured(code, &self.display.left(mark, 8));
        let message = self.display.text(&finding.message);
        let rows: Vec<String> = finding.rows.iter().map(u64::to_string).collect();
        let rows = match rows.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.display.text(&format!("rows {}", rows.join(", ")))),
        };
        println!("  {mark} {}: {message}{rows}", finding.file);
        if let Some(hint) = &finding.hint {
            println!("           {}", self.coloured("2", &self.display.text(hint)));
        }
    }

    /// A bar of blocks on a terminal, of `#` elsewhere.
    fn bar(&self, count: u64, most: u64) -> String {
        const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        if most == 0 || count == 0 {
            return String::new();
        }
        let eighths = ((count as f64 / most as f64 * (BAR * 8) as f64).round() as usize).max(1);
        match self.has_blocks {
            true => self.coloured("36", &format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])),
            false => "#".repeat(eighths.div_ceil(8)),
        }
    }

    /// A line of bars.
    fn histogram(&self, distribution: &Distribution) -> String {
        const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const PLAIN: [char; 9] = [' ', '.', '.', ':', ':', '+', '*', '#', '#'];
        let levels = if self.has_blocks { BLOCKS } else { PLAIN };
        let most = distribution.histogram.iter().map(|bin| bin.count).max().unwrap_or(1);
        let level = |count: u64| (count as f64 / most as f64 * 8.0).ceil() as usize;
        let line: String = distribution
            .histogram
            .iter()
            .map(|bin| levels[level(bin.count).min(8)])
            .collect();
        let (from, to) = (
            distribution.histogram.first().map_or(0, |bin| bin.from),
            distribution.histogram.last().map_or(0, |bin| bin.from),
        );
        format!("{from} {} {to}+", self.coloured("36", &line))
    }
}

fn quantiles(lengths: &Distribution) -> String {
    format!(
        "mean {:.1}, median {}, 95 of 100 at most {}, longest {}",
        lengths.mean, lengths.median, lengths.p95, lengths.max
    )
}

/// A text cut to a width, in columns of the terminal.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        cut.push(character);
    }
    cut + "…"
}

/// A text of exactly a width.
fn padded(text: &str, width: usize) -> String {
    let text = cut(&text.replace(['\n', '\r', '\t'], " "), width);
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}
