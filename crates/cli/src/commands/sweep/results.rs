//! What came of a sweep: `best.toml`, `sweep.csv`, `report.html`, and a table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use gareum::data::Task;
use gareum::evaluation::headlines;
use gareum::files::write_atomically;
use gareum::metrics::{Metrics, Spread};
use gareum::sweep::{Plan, Ranked, Sweep, TrialRecord, TrialState, outlook, page, ranking, shown_value};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::commands::write_report;
use crate::progress::Display;

/// Metrics that are shown beside the monitored one; sweep.csv has all.
const MOST_METRICS: usize = 3;

/// Rows of the table on a terminal; sweep.csv has all.
const MOST_ROWS: usize = 20;

/// A finished sweep.
pub struct Results<'a> {
    plan: &'a Plan,
    sweep: &'a Sweep,
    directory: &'a Path,
    /// Metrics that are shown.
    names: Vec<&'static str>,
    ranking: Vec<Ranked<'a>>,
}

impl<'a> Results<'a> {
    pub fn new(plan: &'a Plan, sweep: &'a Sweep, directory: &'a Path, task: Task) -> Self {
        let names = std::iter::once("loss").chain(headlines(task).iter().copied());
        Self {
            plan,
            sweep,
            directory,
            names: names.filter(|name| *name != sweep.monitor).take(MOST_METRICS).collect(),
            ranking: ranking(sweep),
        }
    }

    /// The best settings; `None` if no trial was trained.
    fn best(&self) -> Option<&Ranked<'a>> {
        self.ranking
            .first()
            .filter(|entry| entry.rank.is_some() && entry.is_done())
    }

    fn trial_directory(&self, trial: &TrialRecord) -> PathBuf {
        Sweep::trial_directory(self.directory, trial.trial)
    }

    /// The best trial on the test rows.
    fn test(&self) -> anyhow::Result<Vec<(String, f64)>> {
        let Some(best) = self.best() else { return Ok(Vec::new()) };
        let path = self.trial_directory(best.best).join("metrics.json");
        let damaged = || path.display().to_string();
        let mut metrics: Value =
            serde_json::from_slice(&std::fs::read(&path).with_context(damaged)?).with_context(damaged)?;
        let test: Option<Metrics> = serde_json::from_value(metrics["test"].take()).with_context(damaged)?;
        let monitor = self.sweep.monitor.as_str();
        let value = |name: &str| Some((name.to_owned(), test.as_ref()?.value(name)?));
        Ok(std::iter::once(monitor)
            .chain(self.names.iter().copied())
            .filter_map(value)
            .collect())
    }

    /// Writes the files.
    pub fn write(&self, display: Display) -> anyhow::Result<()> {
        if let Some(best) = self.best() {
            let trial = &self.plan.trials[best.best.trial - 1];
            let value = best.spread.as_ref().map_or(String::new(), Spread::to_string);
            let text = format!(
                "# trial {} of {}: {} {value} (validation)\n{}",
                trial.number,
                self.plan.trials.len(),
                self.sweep.monitor,
                trial.settings.to_file(self.directory)?
            );
            write_atomically(&self.directory.join("best.toml"), text.as_bytes())?;
        }
        write_atomically(&self.directory.join("sweep.csv"), &self.csv()?)?;
        let page = page(self.plan, self.sweep, &self.names, &self.test()?);
        write_report(&page, &self.directory.join("report.html"), display)?;
        Ok(())
    }

    /// A row for each trial, the best first.
    fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let keys = self.plan.keys();
        let mut metrics: Vec<&String> = self
            .sweep
            .trials
            .iter()
            .flat_map(|trial| trial.metrics.keys())
            .collect();
        metrics.sort_unstable();
        metrics.dedup();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut header = vec!["rank", "trial", "state"];
        header.extend(&keys);
        header.extend(["epochs", "seconds"]);
        header.extend(metrics.iter().map(|name| name.as_str()));
        header.push("error");
        writer.write_record(&header)?;
        for entry in &self.ranking {
            for trial in &entry.trials {
                let rank = entry.rank.map_or(String::new(), |rank| rank.to_string());
                let mut row = vec![rank, trial.trial.to_string(), trial.state.name().to_owned()];
                row.extend(
                    keys.iter()
                        .map(|key| trial.parameters.get(*key).map_or(String::new(), shown_value)),
                );
                row.extend([trial.epochs.to_string(), format!("{:.1}", trial.seconds)]);
                let value = |name: &&String| trial.metrics.get(*name).copied().flatten();
                row.extend(
                    metrics
                        .iter()
                        .map(|name| value(name).map_or(String::new(), |value| value.to_string())),
                );
                row.push(trial.error.clone().unwrap_or_default());
                writer.write_record(&row)?;
            }
        }
        Ok(writer.into_inner()?)
    }

    /// Says what came out. A sweep of which every trial failed has failed.
    pub fn print(&self, display: Display, as_json: bool) -> anyhow::Result<ExitCode> {
        let test = self.test()?;
        if as_json {
            println!("{}", self.to_json(&test));
        } else {
            self.print_table(display);
        }
        let failed: Vec<&TrialRecord> = self
            .sweep
            .trials
            .iter()
            .filter(|trial| trial.state == TrialState::Failed)
            .collect();
        let Some(best) = self.best() else {
            let error = failed.first().and_then(|trial| trial.error.clone()).unwrap_or_default();
            bail!("every trial failed, the first with:\n{error}");
        };
        if !as_json {
            if !test.is_empty() {
                let values: Vec<String> = test.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
                display.print(format_args!("\nthe best on the test rows: {}", values.join("  ")));
            }
            if let Some(outlook) = outlook(self.sweep) {
                display.print(outlook);
            }
        }
        if !failed.is_empty() {
            let numbers: Vec<String> = failed.iter().map(|trial| trial.trial.to_string()).collect();
            display.warn(format_args!("warning: trials that failed: {}", numbers.join(", ")));
        }
        let model = self.trial_directory(best.best);
        display.note(format_args!("the best model: {}", model.display()));
        let file = self.directory.join("best.toml");
        display.note(format_args!("the best settings: {}", file.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn print_table(&self, display: Display) {
        let has_seeds = self.ranking.iter().any(|entry| entry.trials.len() > 1);
        let keys: Vec<&str> = self
            .plan
            .keys()
            .into_iter()
            .filter(|key| !has_seeds || !Plan::is_seed(key))
            .collect();
        let said = |text: &str| display.text(text).into_owned();
        let mut header = vec![said("rank"), said("trial")];
        header.extend(keys.iter().map(|key| (*key).to_owned()));
        header.push(self.sweep.monitor.clone());
        header.extend(self.names.iter().map(|name| (*name).to_owned()));
        header.extend(["epochs", "seconds", "state"].map(said));
        let row = |entry: &Ranked<'_>| {
            let best = entry.best;
            let numbers: Vec<String> = entry.trials.iter().map(|trial| trial.trial.to_string()).collect();
            let mut row = vec![
                entry.rank.map_or("-".to_owned(), |rank| rank.to_string()),
                numbers.join(","),
            ];
            row.extend(
                keys.iter()
                    .map(|key| best.parameters.get(*key).map_or(String::new(), shown_value)),
            );
            row.push(entry.spread.as_ref().map_or("-".to_owned(), Spread::to_string));
            let value = |name: &&&str| best.metrics.get(**name).copied().flatten();
            row.extend(
                self.names
                    .iter()
                    .map(|name| value(&name).map_or("-".to_owned(), |value| format!("{value:.4}"))),
            );
            let seconds: f64 = entry.trials.iter().map(|trial| trial.seconds).sum();
            let epochs = (best.epochs * 100.0).round() / 100.0;
            row.extend([epochs.to_string(), format!("{seconds:.1}"), said(best.state.name())]);
            row
        };
        let rows: Vec<Vec<String>> = self.ranking.iter().take(MOST_ROWS).map(row).collect();
        print_table(&header, &rows);
        let more = self.ranking.len().saturating_sub(MOST_ROWS);
        if more > 0 {
            let file = self.directory.join("sweep.csv");
            display.print(format_args!("and {more} more: {}", file.display()));
        }
    }

    fn to_json(&self, test: &[(String, f64)]) -> Value {
        let best = self.best().map(|entry| {
            json!({
                "trial": entry.best.trial,
                "parameters": entry.best.parameters,
                "value": entry.spread,
                "validation": entry.best.metrics,
                "test": test.iter().cloned().collect::<std::collections::BTreeMap<String, f64>>(),
                "model": self.trial_directory(entry.best),
                "settings": self.directory.join("best.toml"),
            })
        });
        let trials = self.ranking.iter().flat_map(|entry| {
            let rank = entry.rank;
            entry.trials.iter().map(move |trial| {
                let mut value = json!(trial);
                value["rank"] = json!(rank);
                value
            })
        });
        json!({
            "directory": self.directory,
            "monitor": self.sweep.monitor,
            "best": best,
            "trials": trials.collect::<Vec<Value>>(),
            "outlook": outlook(self.sweep).map(|outlook| json!({
                "shares": outlook.shares,
                "change": outlook.change,
                "expected_of_twice_the_rows": outlook.expected,
            })),
        })
    }
}

/// Columns as wide as they need be, numbers at the right.
pub fn print_table(header: &[String], rows: &[Vec<String>]) {
    let is_number = |column: usize| {
        rows.iter()
            .all(|row| row[column].starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.chain([header[column].width()]).max().unwrap_or(0)
    };
    let columns: Vec<(usize, bool)> = (0..header.len())
        .map(|column| (width(column), is_number(column)))
        .collect();
    for row in std::iter::once(header).chain(rows.iter().map(Vec::as_slice)) {
        let cells = row.iter().zip(&columns).map(|(cell, (width, is_number))| {
            let blanks = " ".repeat(width - cell.width());
            if *is_number {
                format!("{blanks}{cell}")
            } else {
                format!("{cell}{blanks}")
            }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
