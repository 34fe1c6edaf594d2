//! `gareum init`: a project folder with settings, sample data and a README, ready for `gareum train`. `quickstart` works in one too.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use gareum::files;
use gareum::settings::Settings;

use super::check_output;
use crate::arguments::{Common, Init};
use crate::failure::Usage;
use crate::language::Language;
use crate::progress::Display;

/// What a project begins with. `samples/README.md` says where the rows come from.
pub struct Sample {
    /// What the data is.
    pub title: &'static str,
    /// What the test part is.
    pub test: &'static str,
    /// A text to try the model on.
    pub text: &'static str,
    /// Columns `text`, `label` and `split`.
    rows: &'static str,
    settings: &'static str,
    readme: &'static str,
}

const ENGLISH: Sample = Sample {
    title: "customer-support requests, 27 intents",
    test: "sentences whose templates the training part does not have",
    text: "where is my refund?",
    rows: include_str!("../../samples/customer_support.csv"),
    settings: include_str!("../../samples/project/gareum.en.toml"),
    readme: include_str!("../../samples/project/README.en.md"),
};

const KOREAN: Sample = Sample {
    title: "Korean film reviews, positive or negative",
    test: "film reviews that the training part does not have",
    text: "배우들 연기가 정말 좋았어요",
    rows: include_str!("../../samples/movie_reviews_ko.csv"),
    settings: include_str!("../../samples/project/gareum.ko.toml"),
    readme: include_str!("../../samples/project/README.ko.md"),
};

impl Sample {
    /// The sample in a language.
    pub fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Korean => &KOREAN,
        }
    }

    /// Writes settings, README and the three parts of the data.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let data = directory.join("data");
        files::create_directory(&data)?;
        for part in ["train", "validation", "test"] {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["text", "label"])?;
            for row in csv::Reader::from_reader(self.rows.as_bytes()).records() {
                let row = row.context("the embedded sample")?;
                if &row[2] == part {
                    writer.write_record([&row[0], &row[1]])?;
                }
            }
            files::write_atomically(&data.join(format!("{part}.csv")), &writer.into_inner()?)?;
        }
        files::write_atomically(&directory.join("gareum.toml"), self.settings.as_bytes())?;
        files::write_atomically(&directory.join("README.md"), self.readme.as_bytes())?;
        Ok(())
    }
}

pub fn run(command: &Init, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    let directory = &command.directory;
    check_output(directory)?;
    if let Some(ini) = &command.from {
        return from_ini(ini, directory, display);
    }
    let is_used = std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        let hint = "name a new or an empty directory";
        bail!(Usage(format!(
            "{}: the directory is not empty\nhint: {hint}",
            directory.display()
        )));
    }
    let sample = Sample::of(common.lang);
    sample.write(directory)?;
    display.note(format_args!("{}: a project with {}", directory.display(), sample.title));
    display.note("the settings are in gareum.toml, what to do next in README.md; to begin with:");
    display.note(format_args!("  cd {} && gareum train", directory.display()));
    Ok(ExitCode::SUCCESS)
}

/// Settings of an ini file; what it says of data and models stays where it is.
fn from_ini(ini: &Path, directory: &Path, display: Display) -> anyhow::Result<ExitCode> {
    let file = directory.join("gareum.toml");
    if file.exists() {
        bail!(Usage(format!(
            "{}: there are settings already\nhint: name another directory",
            file.display()
        )));
    }
    let made = Settings::from_ini(ini, directory)?;
    files::create_directory(directory)?;
    files::write_atomically(&file, made.text.as_bytes())?;
    Settings::load(Some(&file), &[]).context("the settings just written")?;
    display.note(format_args!(
        "{}: {} values of {}",
        file.display(),
        made.taken,
        ini.display()
    ));
    made.notes.iter().for_each(|note| display.note(note));
    display.note(format_args!("  gareum train {}", file.display()));
    Ok(ExitCode::SUCCESS)
}
