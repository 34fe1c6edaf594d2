//! Texts whose words a model is to keep.

use std::path::Path;

use gareum::data::{ColumnRequest, Input, ReadOptions, read_inputs};
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
            train
                .into_iter()
                .chain(validation)
                .chain(test)
                .map(|example| Input::from(&example))
                .collect()
        }
        ([], _) => {
            return Err(Usage(format!(
                "{}: the model does not say which texts it was trained on\nhint: name files of texts with --corpus",
                directory.display()
            ))
            .into());
        }
        (files, description) => {
            let known = description.map(|description| description.settings.data.columns().of_one_text());
            let known = known.unwrap_or_default();
            let options = ReadOptions {
                header: command.columns.no_header.then_some(false),
                split: Some("train".to_owned()),
                ..ReadOptions::default()
            };
            let request = ColumnRequest {
                text: command.columns.text.clone(),
                text_pair: command.columns.text_pair.clone(),
                ..ColumnRequest::default()
            };
            let mut texts = Vec::new();
            for file in files {
                hub::dataset(file, "train", common)?;
                texts.extend(read_inputs(file, &options, request.clone(), &known)?);
            }
            texts
        }
    };
    display.note(format_args!("the words of {} texts are kept", texts.len()));
    Ok(texts)
}
