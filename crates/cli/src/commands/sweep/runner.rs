//! Trials in processes of their own: what one of them does, or what becomes of it, harms no other.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use gareum::files::{create_directory, write_atomically};
use gareum::settings::Keep;
use gareum::sweep::{Leg, Plan, Standing, Sweep, TrialRecord, TrialState, shown_value, standing};
use indicatif::ProgressBar;

use super::trial_settings;
use crate::arguments::Common;
use crate::commands::train::STOP;
use crate::failure::INTERRUPTED;
use crate::progress::Display;

/// What a trial says is kept here.
const OUTPUT: &str = "output.log";

/// Time between two looks at the trials that run.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Characters of an error that are kept.
const MOST_OF_AN_ERROR: usize = 1500;

/// What the trials that run at a time get of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Trials at a time.
    pub jobs: usize,
    /// Threads of each.
    pub threads: usize,
    /// Bytes of each; `None` leaves it to the trial.
    pub memory_bytes: Option<u64>,
}

impl Shares {
    /// What a sweep began with holds to its end, unless there is less now: trials are then cut up alike.
    pub fn taking_up(self, sweep: &Sweep) -> Self {
        let memory_bytes = match (sweep.trial_memory_bytes, self.memory_bytes) {
            (Some(before), Some(now)) => Some(before.min(now)),
            (before, now) => before.or(now),
        };
        Self { memory_bytes, ..self }
    }
}

/// Runs a sweep.
pub struct Runner<'a> {
    pub plan: &'a Plan,
    pub directory: &'a Path,
    pub shares: Shares,
    pub common: &'a Common,
    pub display: Display,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
}

/// A trial that runs.
struct Running {
    leg: Leg,
    child: Child,
    start: Instant,
    /// Where its output begins.
    output_start: u64,
    /// It was told to stop.
    is_told: bool,
}

impl Runner<'_> {
    /// Runs what is left, to the end or until it is stopped.
    pub fn run(&self, sweep: &mut Sweep) -> anyhow::Result<()> {
        let bar = self.display.trials(self.legs_in_all() as u64);
        let result = self.run_all(sweep, &bar);
        bar.finish_and_clear();
        result
    }

    fn run_all(&self, sweep: &mut Sweep, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut running: Vec<Running> = Vec::new();
        let mut done = 0;
        let mut now = self.settle(sweep, bar)?;
        loop {
            let is_stopping = self.stop.load(Ordering::Relaxed);
            let mut has_changed = false;
            let mut place = 0;
            while place < running.len() {
                if is_stopping && !running[place].is_told {
                    running[place].tell_to_stop();
                }
                match running[place].child.try_wait().context("a trial")? {
                    None => place += 1,
                    Some(status) => {
                        let ended = running.remove(place);
                        let line = self.record(sweep, &ended, status, is_stopping)?;
                        done += 1;
                        bar.set_position(done);
                        line.iter().for_each(|line| bar.suspend(|| self.display.note(line)));
                        has_changed = true;
                    }
                }
            }
            if has_changed {
                now = self.settle(sweep, bar)?;
            }
            let waiting = now
                .legs
                .iter()
                .filter(|leg| running.iter().all(|other| other.leg.index != leg.index));
            let free = self.shares.jobs.saturating_sub(running.len());
            let next: Vec<Leg> = waiting.copied().take(if is_stopping { 0 } else { free }).collect();
            for leg in next {
                // A run that ended when nobody looked any more is not run again.
                let trial = self.trial_directory(leg.index);
                if Sweep::is_trained(&trial) {
                    sweep.trials[leg.index].follow(&trial, &sweep.monitor.clone())?;
                    sweep.trials[leg.index].state = TrialState::Done;
                    sweep.save(self.directory)?;
                    now = self.settle(sweep, bar)?;
                    continue;
                }
                running.push(self.start(leg)?);
            }
            if running.is_empty() && (is_stopping || now.legs.is_empty()) {
                return Ok(());
            }
            let numbers: Vec<String> = running.iter().map(|trial| (trial.leg.index + 1).to_string()).collect();
            let text = format!("trial {}", numbers.join(", "));
            bar.set_message(self.display.text(&text).into_owned());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn trial_directory(&self, index: usize) -> PathBuf {
        Sweep::trial_directory(self.directory, index + 1)
    }

    /// Legs from the beginning, if none ends early.
    fn legs_in_all(&self) -> usize {
        let factor = self.plan.sweep.halving.map_or(1, |halving| halving.factor as usize);
        let entrants = std::iter::successors(Some(self.plan.trials.len()), |entrants| {
            Some((entrants / factor).max(1))
        });
        entrants.take(self.plan.rungs.len()).sum()
    }

    /// Decides who is out, writes that down and removes what is not needed any more.
    fn settle(&self, sweep: &mut Sweep, bar: &ProgressBar) -> anyhow::Result<Standing> {
        let factor = self.plan.sweep.halving.map_or(2, |halving| halving.factor);
        let now = standing(&sweep.trials, &self.plan.rungs, factor, sweep.larger_is_better());
        let mut leavers = 0;
        for index in &now.out {
            let trial = &mut sweep.trials[*index];
            if !trial.state.is_final() {
                trial.state = TrialState::Out;
                leavers += 1;
            }
        }
        sweep.save(self.directory)?;
        if leavers > 0 {
            let (entrants, epochs) = (now.entrants, self.plan.rungs[now.turn]);
            bar.suspend(|| {
                self.display.note(format_args!(
                    "trials that dropped out: {leavers}; those that go on to {epochs} epochs: {entrants}"
                ));
            });
        }
        let candidates = sweep.candidates();
        for trial in sweep.trials.iter().filter(|trial| trial.state.is_final()) {
            let is_kept = trial.state == TrialState::Done
                && (self.plan.sweep.keep == Keep::All || candidates.contains(&trial.trial));
            Sweep::clear(&Sweep::trial_directory(self.directory, trial.trial), is_kept)?;
        }
        Ok(now)
    }

    /// Has a trial trained.
    fn start(&self, leg: Leg) -> anyhow::Result<Running> {
        let trial = &self.plan.trials[leg.index];
        let directory = self.trial_directory(leg.index);
        create_directory(&directory)?;
        let mut settings = trial.settings.clone();
        settings.output.dir.clone_from(&directory);
        let file = trial_settings(self.directory, trial.number);
        write_atomically(&file, settings.to_file(&directory)?.as_bytes())?;
        let output = directory.join(OUTPUT);
        let log = File::options().create(true).append(true).open(&output);
        let log = log.with_context(|| output.display().to_string())?;
        let output_start = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = Command::new(own_program()?);
        command
            .arg("train")
            .arg(&file)
            .args(["--supervised", "--output"])
            .arg(&directory);
        command.args(["--lang", self.common.lang.code()]);
        command.args(["--threads", &self.shares.threads.to_string()]);
        if let Some(bytes) = self.shares.memory_bytes {
            command.args(["--memory", &bytes.to_string()]);
        }
        if self.common.offline {
            command.arg("--offline");
        }
        if let Some(epochs) = leg.pause_after {
            command.args(["--pause-after", &epochs.to_string()]);
        }
        if Sweep::has_checkpoint(&directory) {
            command.arg("--resume").arg(&directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().context("starting a trial")?;
        Ok(Running {
            leg,
            child,
            start: Instant::now(),
            output_start,
            is_told: false,
        })
    }

    /// Takes over what came of a trial; returns what is to be said of it.
    fn record(
        &self,
        sweep: &mut Sweep,
        ended: &Running,
        status: ExitStatus,
        is_stopping: bool,
    ) -> anyhow::Result<Option<String>> {
        let directory = self.trial_directory(ended.leg.index);
        let monitor = sweep.monitor.clone();
        let seconds = ended.start.elapsed().as_secs_f64();
        let before = self.best_value(sweep);
        let trial = &mut sweep.trials[ended.leg.index];
        trial.seconds += seconds;
        if status.success() {
            let is_trained = Sweep::is_trained(&directory);
            match trial.follow(&directory, &monitor) {
                Ok(()) => {
                    trial.state = if is_trained {
                        TrialState::Done
                    } else {
                        TrialState::Paused
                    }
                }
                Err(error) => fail(trial, error.to_string()),
            }
        } else if !is_stopping && !self.is_interrupted(status) {
            let said = last_error(&directory.join(OUTPUT), ended.output_start);
            fail(trial, reason(status, &said));
        }
        let trial = trial.clone();
        sweep.save(self.directory)?;
        let settings: Vec<String> = trial
            .parameters
            .iter()
            .map(|(key, value)| format!("{key} = {}", shown_value(value)))
            .collect();
        let (number, settings) = (trial.trial, settings.join(", "));
        let value = trial.value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        let epochs = (trial.epochs * 100.0).round() / 100.0;
        Ok(match trial.state {
            TrialState::Failed => {
                let error = trial.error.unwrap_or_default();
                Some(format!("trial {number} ({settings}) failed:\n{error}"))
            }
            TrialState::Paused if status.success() => Some(format!(
                "trial {number} ({settings}): {monitor} {value} after {epochs} epochs"
            )),
            TrialState::Done => {
                let is_best = trial.value.is_some() && self.best_value(sweep) != before;
                let best = if is_best { "  best so far" } else { "" };
                Some(format!(
                    "trial {number} ({settings}): {monitor} {value}, trained for {epochs} epochs in {:.1} s{best}",
                    trial.seconds
                ))
            }
            _ => None,
        })
    }

    /// Whether a trial ended by a Ctrl-C that is meant for the sweep too: the terminal sends it to both, and the trial's end may be seen first.
    fn is_interrupted(&self, status: ExitStatus) -> bool {
        const AT_MOST: Duration = Duration::from_millis(500);
        let is_signal = matches!(signal(status), Some(2 | 15)) || status.code() == Some(INTERRUPTED.into());
        let start = Instant::now();
        while is_signal && !self.stop.load(Ordering::Relaxed) && start.elapsed() < AT_MOST {
            std::thread::sleep(LOOK_EVERY);
        }
        is_signal && self.stop.load(Ordering::Relaxed)
    }

    fn best_value(&self, sweep: &Sweep) -> Option<f64> {
        let done = sweep.trials.iter().filter(|trial| trial.state == TrialState::Done);
        let larger_is_better = sweep.larger_is_better();
        done.filter_map(|trial| trial.value)
            .reduce(|best, value| match larger_is_better {
                true => best.max(value),
                false => best.min(value),
            })
    }
}

impl Running {
    fn tell_to_stop(&mut self) {
        self.is_told = true;
        if let Some(stdin) = &mut self.child.stdin {
            // One that has ended already does not listen, and need not.
            let _ = writeln!(stdin, "{STOP}").and_then(|()| stdin.flush());
        }
    }
}

fn fail(trial: &mut TrialRecord, reason: String) {
    trial.state = TrialState::Failed;
    trial.error = Some(reason);
}

/// This program. Its file may have been replaced by another version since the sweep began; Linux still has it under another name.
fn own_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the program's own file")?;
    let running = Path::new("/proc/self/exe");
    Ok(if !program.exists() && running.exists() {
        running.to_owned()
    } else {
        program
    })
}

/// The signal that ended a trial.
fn signal(status: ExitStatus) -> Option<i32> {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    None
}

/// Why a trial ended.
fn reason(status: ExitStatus, said: &str) -> String {
    let ended = match (signal(status), status.code()) {
        (Some(9), _) => "killed by the system (signal 9), perhaps because memory ran out".to_owned(),
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(code)) if said.is_empty() => format!("ended with exit code {code} and no message"),
        (None, _) => return said.to_owned(),
    };
    match said {
        "" => ended,
        said => format!("{ended}\n{said}"),
    }
}

/// The error at the end of what a trial said, or its last lines.
fn last_error(path: &Path, start: u64) -> String {
    const LAST_LINES: usize = 3;
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(())
    });
    if let Err(error) = read {
        return format!("{}: {error}", path.display());
    }
    let lines: Vec<&str> = text.lines().collect();
    let is_error =
        |line: &&str| line.starts_with("error:") || line.starts_with("오류:") || line.contains("panicked at");
    let from = lines
        .iter()
        .rposition(is_error)
        .unwrap_or(lines.len().saturating_sub(LAST_LINES));
    let error = lines[from..].join("\n");
    error.trim().chars().take(MOST_OF_AN_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_this_turn_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(OUTPUT);
        let before = "error: of an earlier turn\n";
        std::fs::write(&path, format!("{before}reading\nerror: a.csv: no\nhint: do\n")).unwrap();
        assert_eq!(last_error(&path, before.len() as u64), "error: a.csv: no\nhint: do");
        std::fs::write(&path, "1\n2\n3\n4\n").unwrap();
        assert_eq!(last_error(&path, 0), "2\n3\n4");
        std::fs::write(&path, "").unwrap();
        assert_eq!(last_error(&path, 0), "");
    }
}
