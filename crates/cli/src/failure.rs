//! Errors for people, and the exit code that goes with each.

use std::process::ExitCode;

use gareum::bench::BenchError;
use gareum::chain::ChainError;
use gareum::comparison::ComparisonError;
use gareum::compress::CompressError;
use gareum::data::DataError;
use gareum::explain::ExplainError;
use gareum::export::ExportError;
use gareum::hub::HubError;
use gareum::inspect::InspectError;
use gareum::model::ModelError;
use gareum::predict::PredictError;
use gareum::settings::{IniError, SettingsError};
use gareum::sweep::SweepError;
use gareum::tokens::TokenizerError;
use gareum::train::TrainError;
use serve::ServeError;

use crate::language::Language;

/// Failed while running.
const FAILED: u8 = 1;
/// Wrong usage or input.
const WRONG_INPUT: u8 = 2;
/// Stopped by Ctrl-C, as shells count it.
pub const INTERRUPTED: u8 = 130;

/// What was typed cannot be done; the text says why.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints an error and returns its exit code.
pub fn report(error: &anyhow::Error, language: Language) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output has had enough, as `head` does.
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", language.translate(&format!("error: {}", message(error))));
    ExitCode::from(if is_input(error) { WRONG_INPUT } else { FAILED })
}

/// The error and its causes, but for those that the error has told of itself.
fn message(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    let message = causes.reduce(|told, cause| match told.contains(&cause) {
        true => told,
        false => format!("{told}: {cause}"),
    });
    message.unwrap_or_default()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| Some(cause.downcast_ref::<std::io::Error>()?.kind());
    error
        .chain()
        .any(|cause| kind(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

/// Whether what was given is to blame, and not what happened on the way.
fn is_input(error: &anyhow::Error) -> bool {
    let is_model_input = |error: &ModelError| !matches!(error, ModelError::Write { .. } | ModelError::Tensor(_));
    let is_data_input = |error: &DataError| match error {
        DataError::Hub(error) => error.is_input(),
        _ => true,
    };
    let is_train_input = |error: &TrainError| match error {
        TrainError::Model(error) => is_model_input(error),
        TrainError::Hub(error) => error.is_input(),
        TrainError::Data(error) => is_data_input(error),
        TrainError::NotFinite { .. } | TrainError::Write(_) | TrainError::Tensor(_) | TrainError::Metrics(_) => false,
        _ => true,
    };
    let is_predict_input = |error: &PredictError| match error {
        PredictError::Model(error) => is_model_input(error),
        PredictError::Tensor(_) => false,
        _ => true,
    };
    let is_comparison_input = |error: &ComparisonError| match error {
        ComparisonError::Predict(error) => is_predict_input(error),
        ComparisonError::Model(error) => is_model_input(error),
        ComparisonError::Data(error) => is_data_input(error),
        ComparisonError::Metrics(_) => false,
        _ => true,
    };
    let is_explain_input = |error: &ExplainError| match error {
        ExplainError::Predict(error) => is_predict_input(error),
        _ => true,
    };
    let is_chain_input = |error: &ChainError| match error {
        ChainError::Train(error) => is_train_input(error),
        ChainError::Predict(error) => is_predict_input(error),
        ChainError::Data(error) => is_data_input(error),
        ChainError::Explain(error) => is_explain_input(error),
        ChainError::Metrics(_) | ChainError::Write(_) => false,
        _ => true,
    };
    error.chain().any(|cause| {
        if let Some(error) = cause.downcast_ref::<TrainError>() {
            return is_train_input(error);
        }
        if let Some(error) = cause.downcast_ref::<PredictError>() {
            return is_predict_input(error);
        }
        if let Some(error) = cause.downcast_ref::<InspectError>() {
            return match error {
                InspectError::Data(error) => is_data_input(error),
                InspectError::Tokenizer(_) => true,
            };
        }
        if let Some(error) = cause.downcast_ref::<ComparisonError>() {
            return is_comparison_input(error);
        }
        if let Some(error) = cause.downcast_ref::<CompressError>() {
            return match error {
                CompressError::Predict(error) => is_predict_input(error),
                CompressError::Comparison(error) => is_comparison_input(error),
                _ => true,
            };
        }
        if let Some(error) = cause.downcast_ref::<ExplainError>() {
            return is_explain_input(error);
        }
        if let Some(error) = cause.downcast_ref::<ChainError>() {
            return is_chain_input(error);
        }
        if let Some(error) = cause.downcast_ref::<ExportError>() {
            return match error {
                ExportError::Predict(error) => is_predict_input(error),
                ExportError::Decoder(_) => true,
                _ => false,
            };
        }
        if let Some(error) = cause.downcast_ref::<ServeError>() {
            return match error {
                ServeError::Model { source, .. } => is_chain_input(source),
                ServeError::System(_) | ServeError::CutOff { .. } => false,
                _ => true,
            };
        }
        if let Some(error) = cause.downcast_ref::<BenchError>() {
            return match error {
                BenchError::Train(error) => is_train_input(error),
                BenchError::Predict(error) => is_predict_input(error),
                _ => true,
            };
        }
        cause.is::<Usage>()
            || cause.downcast_ref::<DataError>().is_some_and(is_data_input)
            || cause.downcast_ref::<HubError>().is_some_and(HubError::is_input)
            || cause.downcast_ref::<SweepError>().is_some_and(SweepError::is_input)
            || cause.is::<IniError>()
            || cause.is::<SettingsError>()
            || cause.is::<TokenizerError>()
            || cause.downcast_ref::<ModelError>().is_some_and(is_model_input)
    })
}
