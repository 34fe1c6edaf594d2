//! Texts whose words a model is to keep.

use std::path::Path;

use gareum::data::{ColumnRequest, Example, Input, ReadOptions, Records};
use gareum::predict::Description;
use gareum::train::{Parts, Prepared};

use super::hub;
use crate::arguments::{Common, Compress};
use crate::failure::Usage;
use crate::progress::Display;

/// The texts of the files that were named, or those of the model's own run.
pub fn texts(command: &Compress, directory: &Path, common: &Common, display: Display) -> anyhow::Result<Vec<Input>> {
    let description = Description::read(directory)?;
    let texts = match (command.corpus.as_slice(), description) {
        ([], Some(description)) if description.settings.data.train.is_some() => {
            hub::fetch(&description.settings, common)?;
            let Prepared { parts, .. } = gareum::train::prepare(&description.settings)?;
            let Parts {
                train,
                validation,
                test,
            } = parts;
            train.into_iter().chain(validation).chain(test).map(input).collect()
        }
        ([], _) => {
            return Err(Usage(format!(
                "{}: the model does not say which texts it was trained on\nhint: name files of texts with --corpus",
                directory.display()
            ))
            .into());
        }
        (files, description) => {
            let known = description.map(|description| description.settings.data.columns());
            let mut texts = Vec::new();
            for file in files {
                read(file, command, known.as_ref(), common, &mut texts)?;
            }
            texts
        }
    };
    display.note(format_args!("the words of {} texts are kept", texts.len()));
    Ok(texts)
}

fn input(example: Example) -> Input {
    Input {
        text: example.text,
        text_pair: example.text_pair,
    }
}

fn read(
    file: &Path,
    command: &Compress,
    known: Option<&ColumnRequest>,
    common: &Common,
    texts: &mut Vec<Input>,
) -> anyhow::Result<()> {
    hub::dataset(file, "train", common)?;
    let options = ReadOptions {
        header: command.columns.no_header.then_some(false),
        split: Some("train".to_owned()),
        ..ReadOptions::default()
    };
    let mut records = Records::open(file, &options)?;
    let mut request = ColumnRequest {
        text: command.columns.text.clone(),
        text_pair: command.columns.text_pair.clone(),
        ..ColumnRequest::default()
    };
    if let Some(known) = known.filter(|known| known.text.len() == 1) {
        request = request.or_known(known, &records);
    }
    let columns = request.resolve_inputs(&records)?;
    while let Some(record) = records.next().transpose()? {
        texts.extend(columns.read(&record, &records)?);
    }
    Ok(())
}
