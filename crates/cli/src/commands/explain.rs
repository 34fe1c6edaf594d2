//! `gareum explain`: which words made a model say what it says, for one text or for a file of them.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use gareum::data::{ColumnRequest, Input, InputColumns, ReadOptions, Record, Records};
use gareum::explain::{self, Explanation, LabelMap, Labels, Options, PageInfo, Word};
use gareum::files::temporary_name;
use gareum::predict::Predictor;
use gareum::report::{PieceKind, Text};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use super::predictions::remove_when_interrupted;
use super::scorer::Scorer;
use super::{check_output, hub, say_precision, write_report};
use crate::arguments::{Common, Explain, Precision};
use crate::failure::Usage;
use crate::progress::Display;

/// Rows that are read and explained at a time.
const CHUNK_ROWS: usize = 64;

/// Letters of the longest bar.
const BAR: usize = 10;

pub fn run(command: &Explain, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let format = Format::of(command, common)?;
    let options = options(command);
    if let Some(input) = &command.input {
        hub::dataset(input, "test", common)?;
    }
    let model = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    let base = command.base.as_deref();
    let scorer = match options.method.needs_gradients() {
        false => Scorer::load(&model, base, command.precision)?,
        true if matches!(command.precision, Precision::Bf16) => {
            bail!(Usage(
                "--precision bf16 is for occlusion\nhint: gradients are computed in f32; leave it out".to_owned()
            ))
        }
        true => Scorer::load_for_gradients(&model, base)?,
    };
    scorer.check(&options)?;
    let predictor = scorer.explained();
    let mut source = Source::open(command, &scorer)?;
    let mut output = Output::open(format, command, display)?;
    say_precision(display, predictor);
    if predictor.tokenizer().mask_token().is_none() && !options.method.needs_gradients() && !options.drop {
        display.note("the tokenizer has no mask token: words are left out instead");
    }
    let bar = match &command.input {
        Some(_) => display.rows(None),
        None => ProgressBar::hidden(),
    };
    let (mut rows, mut missing, mut cut, mut spent) = (0u64, 0u64, 0u64, Duration::ZERO);
    while let Some(chunk) = source.next_chunk()? {
        let inputs: Vec<Input> = chunk.iter().flatten().cloned().collect();
        let started = Instant::now();
        let mut explanations = scorer.explain(&inputs, &options)?.into_iter();
        spent += started.elapsed();
        for input in &chunk {
            // A row without text stays in its place, without a label.
            let explanation = match input {
                Some(_) => explanations.next(),
                None => None,
            };
            missing += u64::from(explanation.is_none());
            let is_cut = |it: &Explanation| it.unread.is_some() || it.unread_pair.is_some();
            cut += u64::from(explanation.as_ref().is_some_and(is_cut));
            output.take(explanation, &options)?;
        }
        rows += chunk.len() as u64;
        bar.set_position(rows);
    }
    bar.finish_and_clear();
    if missing > 0 {
        display.note(format_args!("{missing} of {rows} rows have no text and got no label"));
    }
    if cut > 0 {
        display.note(format_args!(
            "{cut} of {rows} texts are longer than the model reads: the rest is not explained"
        ));
    }
    output.finish(predictor, &options, rows - missing)?;
    if common.json
        && let Some(path) = command.output.as_ref().filter(|path| path.as_os_str() != "-")
    {
        let report = json!({
            "model": command.model,
            "output": path,
            "rows": rows,
            "rows_without_text": missing,
            "rows_cut": cut,
            "method": options.method,
            "precision": predictor.precision(),
            // What explaining took, without reading the model and the rows, and writing.
            "seconds": spent.as_secs_f64(),
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn options(command: &Explain) -> Options {
    Options {
        method: command.method.into(),
        labels: match command.labels.is_empty() {
            true => Labels::Predicted,
            false => Labels::Named(command.labels.clone()),
        },
        drop: command.drop,
        units: command.units.into(),
        window: command.window,
        steps: command.steps,
    }
}

/// What stands for a row without text.
fn nothing(options: &Options) -> Explanation {
    Explanation {
        text: String::new(),
        text_pair: None,
        label: Value::Null,
        scores: Map::new(),
        method: options.method,
        maps: Vec::new(),
        unread: None,
        unread_pair: None,
    }
}

/// Where texts come from.
enum Source {
    /// The command line.
    Text(Option<Input>),
    /// A file.
    Rows(Box<(Records, InputColumns)>),
}

impl Source {
    fn open(command: &Explain, scorer: &Scorer) -> anyhow::Result<Self> {
        let Some(path) = &command.input else {
            return Ok(Self::Text(Some(Input {
                text: command.text.clone().unwrap_or_default(),
                text_pair: command.text_pair.clone(),
            })));
        };
        let read = ReadOptions {
            header: command.no_header.then_some(false),
            split: Some("test".to_owned()),
            ..ReadOptions::default()
        };
        let records = match path.as_os_str() == "-" {
            true => Records::from_lines(std::io::stdin()),
            false => Records::open(path, &read)?,
        };
        let request = ColumnRequest {
            text: command.text_column.iter().cloned().collect(),
            text_pair: command.text_pair_column.clone(),
            ..ColumnRequest::default()
        };
        let known = scorer.known_columns().of_one_text();
        let columns = request.or_known(&known, &records).resolve_inputs(&records)?;
        Ok(Self::Rows(Box::new((records, columns))))
    }

    /// The next texts, `None` for rows without; nothing at the end.
    fn next_chunk(&mut self) -> anyhow::Result<Option<Vec<Option<Input>>>> {
        match self {
            Self::Text(input) => Ok(input.take().map(|input| vec![Some(input)])),
            Self::Rows(rows) => {
                let (records, columns) = rows.as_mut();
                let chunk = records.by_ref().take(CHUNK_ROWS).collect::<Result<Vec<Record>, _>>()?;
                let inputs = chunk.iter().map(|record| columns.read(record, records));
                let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
                Ok((!inputs.is_empty()).then_some(inputs))
            }
        }
    }
}

/// What is written.
enum Format {
    /// For people, on standard output.
    Shown,
    /// JSON lines, on standard output if there is no file.
    JsonLines(Option<PathBuf>),
    /// A page.
    Page(PathBuf),
}

impl Format {
    fn of(command: &Explain, common: &Common) -> anyhow::Result<Self> {
        let Some(path) = command.output.as_ref().filter(|path| path.as_os_str() != "-") else {
            let is_json = common.json || command.output.is_some();
            return Ok(if is_json { Self::JsonLines(None) } else { Self::Shown });
        };
        let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase());
        let format = match extension.as_deref() {
            Some("jsonl" | "ndjson" | "json") => Self::JsonLines(Some(path.clone())),
            Some("html" | "htm") => Self::Page(path.clone()),
            _ => bail!(Usage(format!(
                "{}: the name does not say in which format to write\nhint: name a .jsonl or .html file, or - for JSON lines on standard output",
                path.display()
            ))),
        };
        if path.is_dir() {
            bail!(Usage(format!(
                "{}: cannot write: it is a directory\nhint: name a file in a directory that exists",
                path.display()
            )));
        }
        check_output(path.parent().unwrap_or(Path::new("")))?;
        Ok(format)
    }
}

/// Takes explanations one after another.
struct Output<'a> {
    command: &'a Explain,
    display: Display,
    sink: Sink,
}

enum Sink {
    Terminal(Painter),
    /// With the name it is written under and the one it gets.
    Lines(Box<dyn Write>, Option<(PathBuf, PathBuf)>),
    Page(PathBuf, Vec<Explanation>),
}

impl<'a> Output<'a> {
    fn open(format: Format, command: &'a Explain, display: Display) -> anyhow::Result<Self> {
        let sink = match format {
            Format::Shown => Sink::Terminal(Painter {
                display,
                top_k: command.top_k,
                has_colours: has_colours(),
            }),
            Format::Page(path) => Sink::Page(path, Vec::new()),
            Format::JsonLines(None) => Sink::Lines(Box::new(BufWriter::new(std::io::stdout())), None),
            Format::JsonLines(Some(path)) => {
                let temporary = temporary_name(&path);
                remove_when_interrupted(temporary.clone(), display);
                let file = File::create(&temporary).map_err(|error| {
                    Usage(format!(
                        "{}: cannot write: {error}\nhint: name a file in a directory that exists",
                        path.display()
                    ))
                })?;
                Sink::Lines(Box::new(BufWriter::new(file)), Some((temporary, path)))
            }
        };
        Ok(Self { command, display, sink })
    }

    /// Takes the next one; `None` stands for a row without text.
    fn take(&mut self, explanation: Option<Explanation>, options: &Options) -> anyhow::Result<()> {
        match (&mut self.sink, explanation) {
            (Sink::Lines(file, _), explanation) => {
                let explanation = explanation.unwrap_or_else(|| nothing(options));
                // As an `io::Error`, by which a closed pipe is known.
                serde_json::to_writer(&mut *file, &explanation).map_err(std::io::Error::from)?;
                file.write_all(b"\n")?;
            }
            (Sink::Terminal(painter), Some(explanation)) => painter.print(&explanation)?,
            (Sink::Page(_, kept), Some(explanation)) if kept.len() < explain::MOST_TEXTS => kept.push(explanation),
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self, predictor: &Predictor, options: &Options, texts: u64) -> anyhow::Result<()> {
        match &mut self.sink {
            Sink::Terminal(_) => {}
            Sink::Lines(file, names) => {
                file.flush()?;
                if let Some((temporary, path)) = names.take() {
                    if let Err(error) = std::fs::rename(&temporary, &path) {
                        bail!("{}: cannot write: {error}", path.display());
                    }
                    self.display
                        .note(format_args!("{texts} explanations written to {}", path.display()));
                }
            }
            Sink::Page(path, explanations) => {
                let model = self.command.model.display().to_string();
                let page = explain::page(
                    explanations,
                    &PageInfo {
                        model,
                        drops: options.drop || predictor.tokenizer().mask_token().is_none(),
                        texts: usize::try_from(texts)?,
                    },
                );
                write_report(&page, path, self.display)?;
            }
        }
        Ok(())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if let Sink::Lines(_, Some((temporary, _))) = &self.sink {
            // Not finished: the error that led here is reported, and nothing half-written stays.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Whether standard output shows colours and nobody has said no.
fn has_colours() -> bool {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    std::io::stdout().is_terminal() && !is_plain && !is_dumb
}

/// Shows explanations to people.
struct Painter {
    display: Display,
    top_k: usize,
    has_colours: bool,
}

/// Backgrounds for words that speak for a label, weak ones first, and against it, from the 256 colours of terminals.
const FOR: [u8; 4] = [224, 217, 210, 203];
const AGAINST: [u8; 4] = [195, 153, 111, 75];

impl Painter {
    fn print(&self, explanation: &Explanation) -> anyhow::Result<()> {
        let mut out = String::new();
        if explanation.maps.is_empty() {
            self.line(&mut out, "no label");
            self.text(&mut out, explanation, None);
        }
        for map in &explanation.maps {
            let label = visible(&map.label);
            let heading = format!("{label} {:.4}", map.probability);
            out.push_str(&if self.has_colours {
                format!("\x1b[1m{heading}\x1b[0m")
            } else {
                heading
            });
            out.push('\n');
            self.text(&mut out, explanation, Some(map));
            self.words(&mut out, map);
            if let Some(best) = map.best {
                let text = match best.pair {
                    false => &explanation.text,
                    true => explanation.text_pair.as_ref().unwrap_or(&explanation.text),
                };
                let text: String = text.chars().skip(best.start).take(best.end - best.start).collect();
                let text = format!("together {:+.4}: {}", best.score, visible(&text));
                self.line(&mut out, &format!("  {}", self.display.text(&text)));
            }
            if let Some(complete) = map.completeness {
                let text = format!(
                    "scores add up to {:+.4}; logit {:.4} minus baseline {:.4} is {:+.4}",
                    complete.sum,
                    complete.logit,
                    complete.baseline,
                    complete.logit - complete.baseline
                );
                self.line(&mut out, &format!("  {}", self.display.text(&text)));
            }
        }
        out.push('\n');
        // Not `println!`, which panics where nobody reads any more.
        std::io::stdout().write_all(out.as_bytes())?;
        Ok(())
    }

    fn line(&self, out: &mut String, text: &str) {
        out.push_str(&self.display.text(text));
        out.push('\n');
    }

    /// The texts, with colours or with signs behind words.
    fn text(&self, out: &mut String, explanation: &Explanation, map: Option<&LabelMap>) {
        out.push_str("  ");
        for piece in explain::pieces(explanation, map) {
            let (Text::Words(text) | Text::Data(text)) = &piece.text;
            let text = visible(text);
            let text = match piece.kind {
                PieceKind::Plain => text,
                PieceKind::Break => "\n  | ".to_owned(),
                PieceKind::Faint if self.has_colours => format!("\x1b[9;2m{text}\x1b[0m"),
                PieceKind::Faint => format!("⟦{text}⟧"),
                PieceKind::Marked { weight, .. } => self.word(text, weight, piece.is_framed),
            };
            out.push_str(&text);
        }
        out.push('\n');
    }

    /// A word in the text: shaded, and underlined in the best span; or with up to three signs.
    fn word(&self, text: String, weight: f64, is_framed: bool) -> String {
        if !self.has_colours {
            let sign = if weight > 0.0 { "+" } else { "-" };
            return match step(weight.abs(), 3) {
                None => text,
                Some(step) => format!("{text}[{}]", sign.repeat(step + 1)),
            };
        }
        let line = if is_framed { "\x1b[4m" } else { "" };
        let colours = if weight > 0.0 { FOR } else { AGAINST };
        match step(weight.abs(), FOR.len()) {
            None => format!("{line}{text}\x1b[0m"),
            Some(step) => format!("{line}\x1b[48;5;{};38;5;16m{text}\x1b[0m", colours[step]),
        }
    }

    /// The words with the strongest scores, with bars.
    fn words(&self, out: &mut String, map: &LabelMap) {
        let strongest = explain::strongest(map);
        let mut words: Vec<&Word> = map.words.iter().collect();
        words.sort_by(|first, second| second.shown_score().abs().total_cmp(&first.shown_score().abs()));
        words.truncate(self.top_k);
        let width = words
            .iter()
            .map(|word| visible(&word.text).width())
            .max()
            .unwrap_or(0)
            .min(30);
        for word in words {
            let score = word.shown_score();
            let length = ((score.abs() / strongest * BAR as f64).round() as usize).min(BAR);
            let (letter, colour) = if score > 0.0 { ("+", "31") } else { ("-", "34") };
            let bar = letter.repeat(length);
            let gap = " ".repeat(BAR - length);
            let bar = match self.has_colours {
                true => format!("\x1b[{colour}m{}\x1b[0m", "█".repeat(length)),
                false => bar,
            };
            let text = visible(&word.text);
            let blanks = " ".repeat(width.saturating_sub(text.width()));
            let without = match word.probability {
                None => String::new(),
                Some(without) => format!("  {}", self.display.text(&format!("{without:.4} without it"))),
            };
            out.push_str(format!("    {score:+.4} {bar}{gap} {text}{blanks}{without}").trim_end());
            out.push('\n');
        }
    }
}

/// The shade of a share of the strongest score; none for what is next to nothing.
fn step(share: f64, steps: usize) -> Option<usize> {
    (share >= 0.1).then(|| ((share * steps as f64).ceil() as usize).clamp(1, steps) - 1)
}

/// A text in one line, in which nothing tells the terminal what to do.
fn visible(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' | '\r' => ' ',
            other if other.is_control() => '\u{FFFD}',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_are_by_strength() {
        let steps = [0.0, 0.09, 0.1, 0.33, 0.34, 0.7, 1.0, 1.5].map(|share| step(share, 3));
        assert_eq!(
            steps,
            [None, None, Some(0), Some(0), Some(1), Some(2), Some(2), Some(2)]
        );
    }

    #[test]
    fn nothing_in_a_text_tells_the_terminal_what_to_do() {
        assert_eq!(visible("a\x1b[31mb\nc\u{9b}d"), "a\u{FFFD}[31mb c\u{FFFD}d");
    }
}
