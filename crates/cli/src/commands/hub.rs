//! What is named by its name on the hub is fetched before work begins, so that nothing waits for the network later.

use std::path::{Path, PathBuf};

use gareum::hub::{DatasetName, Hub, HubError, HubEvent, Repository, Transfer};
use gareum::machine::readable_bytes;
use gareum::model::{Adapter, AdapterFiles};
use gareum::settings::Settings;
use indicatif::ProgressBar;

use crate::arguments::Common;
use crate::progress::Display;

/// Fetches the model and the data of a run.
pub fn fetch(settings: &Settings, common: &Common) -> Result<(), HubError> {
    if let Some(base) = &settings.model.base {
        model(base, settings.model.revision.as_deref(), common)?;
    }
    if let Some(distillation) = &settings.distillation {
        if let Some(teacher) = distillation.teacher_model() {
            model(teacher, None, common)?;
        }
        if let Some(path) = &distillation.unlabelled {
            dataset(path, "train", common)?;
        }
    }
    let data = &settings.data;
    for (path, split) in [
        (&data.train, "train"),
        (&data.validation, "validation"),
        (&data.test, "test"),
    ] {
        if let Some(path) = path {
            dataset(path, split, common)?;
        }
    }
    Ok(())
}

/// The directory of a model.
pub fn model(base: &Path, revision: Option<&str>, common: &Common) -> Result<PathBuf, HubError> {
    let Some(repository) = Repository::model(base, revision)? else {
        return Ok(base.to_owned());
    };
    let mut progress = Downloads::new(common);
    let fetched = Hub::from_environment(common.offline)?.fetch_model(&repository, &mut |event| progress.observe(event));
    progress.finish();
    fetched
}

/// The directory of a model or an adapter; fetches what an adapter belongs to: `base`, or what it names, if that is not here.
pub fn model_with_base(model: &Path, base: Option<&Path>, common: &Common) -> anyhow::Result<PathBuf> {
    let directory = self::model(model, None, common)?;
    if Adapter::is_in(&directory) {
        let files = AdapterFiles::open(&directory)?;
        if let Some(base) = base {
            self::model(base, None, common)?;
        } else if files.base(None).is_err() {
            let (named, revision) = files.named_base();
            self::model(Path::new(named), revision, common)?;
        }
    }
    Ok(directory)
}

/// Fetches the split of a dataset, if the path names one.
pub fn dataset(path: &Path, default_split: &str, common: &Common) -> Result<(), HubError> {
    let Some(name) = DatasetName::parse(path)? else {
        return Ok(());
    };
    let mut progress = Downloads::new(common);
    let hub = Hub::from_environment(common.offline)?;
    let fetched = hub.fetch_dataset(&name, Some(default_split), &mut |event| progress.observe(event));
    progress.finish();
    let fetched = fetched?;
    if let [_, _, ..] = fetched.splits.as_slice() {
        let others: Vec<String> = fetched.splits.iter().map(|split| format!("`{split}`")).collect();
        Display::new(common).note(format_args!(
            "{}: split `{}`; there are {}",
            path.display(),
            fetched.split,
            others.join(", ")
        ));
    }
    Ok(())
}

/// Shows what is fetched: a bar for each file on a terminal, a line elsewhere.
struct Downloads {
    display: Display,
    bar: ProgressBar,
    file: String,
}

/// Smaller files are there before they could be shown.
const SHOWN_BYTES: u64 = 1 << 20;

impl Downloads {
    fn new(common: &Common) -> Self {
        Self {
            display: Display::new(common),
            bar: ProgressBar::hidden(),
            file: String::new(),
        }
    }

    fn observe(&mut self, event: HubEvent<'_>) {
        match event {
            HubEvent::Unreachable(_) => {
                self.display
                    .note("the hub cannot be reached; what was fetched before is used");
            }
            HubEvent::Transfer(Transfer { file, done, total }) => {
                let total = total.unwrap_or(0);
                if self.file != file {
                    self.finish();
                    file.clone_into(&mut self.file);
                    if total >= SHOWN_BYTES {
                        self.display
                            .note(format_args!("fetching {file} ({})", readable_bytes(total)));
                        self.bar = self.display.bytes(total);
                    }
                }
                self.bar.set_position(done);
            }
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
