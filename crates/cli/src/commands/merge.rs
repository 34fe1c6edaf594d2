//! `gareum merge`

use std::process::ExitCode;

use anyhow::bail;
use gareum::model::Adapter;
use serde_json::json;

use super::{check_output, hub};
use crate::arguments::{Common, Merge};
use crate::failure::Usage;
use crate::progress::Display;

pub fn run(command: &Merge, common: &Common) -> anyhow::Result<ExitCode> {
    let display = Display::new(common);
    check_output(&command.output)?;
    let model = hub::model_with_base(&command.model, command.base.as_deref(), common)?;
    if !Adapter::is_in(&model) {
        bail!(Usage(format!(
            "{}: there is no adapter\nhint: a directory with adapter_config.json is one, such as `gareum train` writes with [lora]",
            command.model.display()
        )));
    }
    if Adapter::is_in(&command.output) {
        bail!(Usage(format!(
            "{}: there is an adapter, whose place the model would take\nhint: name another directory",
            command.output.display()
        )));
    }
    gareum::predict::merge(&model, command.base.as_deref(), &command.output)?;
    if common.json {
        println!("{}", json!({ "model": command.output }));
    }
    display.note(format_args!("saved to {}", command.output.display()));
    Ok(ExitCode::SUCCESS)
}
