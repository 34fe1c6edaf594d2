//! `gareum compress --to pruned`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use gareum::compress::{Event, PruneOptions, PruneReport, Remains, Source, judge_pruned, prune, recover};
use gareum::files;
use gareum::model::{HeadSource, Model};
use gareum::predict::Description;

use super::compress::{self, PAGE, REPORT};
use super::{hub, stop_flag, write_pages, write_report};
use crate::arguments::{Common, Compress, CompressTo};
use crate::failure::{INTERRUPTED, Usage};
use crate::progress::{Display, TrainingProgress};

/// What the flags ask for, if it is pruning.
pub fn options(command: &Compress) -> Result<Option<PruneOptions>, Usage> {
    let of_pruning = [
        ("--heads", command.heads.is_some()),
        ("--feed-forward", command.feed_forward.is_some()),
        ("--layers", command.layers.is_some()),
        ("--recover-epochs", command.recover_epochs.is_some()),
    ];
    let of_others = [("--auto", command.auto), ("--wide-embeddings", command.wide_embeddings)];
    let given = |flags: &[(&'static str, bool)]| flags.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag);
    if !matches!(command.to, CompressTo::Pruned) {
        return match given(&of_pruning) {
            None => Ok(None),
            Some(flag) => Err(Usage(format!(
                "{flag} is for --to pruned\nhint: leave it out, or prune the model first"
            ))),
        };
    }
    if let Some(flag) = given(&of_others) {
        return Err(Usage(format!(
            "{flag} is for weights of 8 and 4 bits\nhint: leave it out"
        )));
    }
    if command.heads.is_none() && command.feed_forward.is_none() && command.layers.is_none() {
        return Err(nothing());
    }
    let share = |flag: &str, value: Option<f64>| match value.unwrap_or(0.0) {
        share if (0.0..1.0).contains(&share) => Ok(share),
        share => Err(Usage(format!(
            "{flag} {share}: expected the share to take away, from 0 to below 1"
        ))),
    };
    Ok(Some(PruneOptions {
        heads: share("--heads", command.heads)?,
        feed_forward: share("--feed-forward", command.feed_forward)?,
        layers: command.layers,
    }))
}

/// What is said where no flag names a part.
pub fn nothing() -> Usage {
    Usage(
        "--to pruned: nothing is to be pruned\nhint: name what: --heads 0.5, --feed-forward 0.5, --layers 6".to_owned(),
    )
}

/// Prunes, trains what is left again if that is asked for, and writes it if the gate lets it pass.
pub fn run(
    command: &Compress,
    options: &PruneOptions,
    source: &Source<'_>,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let gate = compress::gate(command.gate.as_deref())?;
    let epochs = command.recover_epochs.unwrap_or(0) as u64;
    // Before anything is computed: what is missing for training is told at once.
    let settings = (epochs > 0).then(|| source.recovery_settings()).transpose()?;
    let bar = display.rows(None);
    let mut observe = |event: Event<'_>| {
        if let Event::Rows(done, total) = event {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
    };
    let (mut model, remains) = prune(source, options, &mut observe)?;
    bar.suspend(|| say(display, &remains));
    let (mut directory, mut page) = (source.directory.clone(), None);
    let recovered = Recovered::beside(&command.output);
    if let Some(settings) = settings {
        hub::fetch(&settings, common)?;
        let prepared = gareum::train::prepare(&settings)?;
        let mut progress = TrainingProgress::new(display);
        let stop = stop_flag(display, "finishing the step");
        let report = recover(
            source,
            model,
            (&settings, &prepared),
            (epochs, &recovered.0),
            &stop,
            &mut |event| progress.observe(event),
        );
        progress.finish();
        let report = report?;
        if report.outcome.interrupted {
            display.note("interrupted; nothing was written");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        page = report.page;
        directory.clone_from(&recovered.0);
        model = Model::load(&directory, HeadSource::Checkpoint)?.0;
    }
    let judged = judge_pruned(
        source,
        &model,
        &directory,
        (command.precision.into(), gate),
        &mut observe,
    );
    bar.finish_and_clear();
    let (comparison, judgement) = judged?;
    let report = PruneReport {
        remains,
        recover_epochs: epochs,
        comparison,
        judgement,
    };
    let json = serde_json::to_string_pretty(&report)?;
    match common.json {
        true => println!("{json}"),
        false => {
            compress::print_shift(display, &report.comparison, &report.judgement);
            compress::print_flips(&report.judgement);
        }
    }
    if !report.judgement.passed {
        bail!(
            "the gate did not let the pruned model pass; nothing was written\nhint: --recover-epochs trains what is left again; prune less; --gate POINTS,PERCENT allows more"
        );
    }
    match epochs {
        0 => source.save(&model, &source.tokenizer, &command.output)?,
        _ => recovered.move_to(&command.output)?,
    }
    if let Some(page) = &page {
        write_pages(page, &command.output.join("report"), display)?;
    }
    write_report(&report.comparison.to_page(), &command.output.join(PAGE), display)?;
    files::write_atomically(&command.output.join(REPORT), (json + "\n").as_bytes())?;
    display.note(format_args!("saved to {}", command.output.display()));
    Ok(ExitCode::SUCCESS)
}

/// Says what is left.
fn say(display: Display, remains: &Remains) {
    let &Remains {
        num_attention_heads,
        intermediate_size,
        whole_intermediate_size,
        ..
    } = remains;
    let listed = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    display.note(format_args!("layers that are left: {}", listed(&remains.layers)));
    display.note(format_args!(
        "heads that are left in each of them, of {num_attention_heads}: {}",
        listed(&remains.heads)
    ));
    display.note(format_args!(
        "columns that are left of each feed-forward half: {intermediate_size} of {whole_intermediate_size}"
    ));
}

/// Where a model is trained before it is known whether it may be written: removed in the end, whatever happens.
struct Recovered(PathBuf);

impl Recovered {
    fn beside(output: &Path) -> Self {
        Self(files::temporary_name(output))
    }

    /// Puts all of it into a directory, in the place of what is called the same there.
    fn move_to(&self, output: &Path) -> anyhow::Result<()> {
        files::create_directory(output)?;
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let target = output.join(entry.file_name());
            if target.is_dir() {
                std::fs::remove_dir_all(&target)?;
            }
            std::fs::rename(entry.path(), target)?;
        }
        if let Some(mut description) = Description::read(output)? {
            description.settings.output.dir = output.to_owned();
            description.write(output)?;
        }
        Ok(())
    }
}

impl Drop for Recovered {
    fn drop(&mut self) {
        // What cannot be removed is left to be seen.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
