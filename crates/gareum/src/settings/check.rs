//! Ranges of values that the types of the settings do not express.

use std::path::PathBuf;

use super::{ClassWeights, LayerChoice, OneOrMany, Settings, SettingsError};
use crate::data::encoding_of;

/// Refuses what was `found` at `key` unless it `holds`.
pub(super) fn range(
    holds: bool,
    key: &'static str,
    found: String,
    expected: &'static str,
) -> Result<(), SettingsError> {
    if holds {
        return Ok(());
    }
    Err(SettingsError::Range { key, found, expected })
}

impl Settings {
    /// Ranges that the types do not express.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let train = &self.train;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        range(train.epochs > 0, "train.epochs", train.epochs.to_string(), "at least 1")?;
        range(
            train.max_steps != Some(0),
            "train.max_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        range(
            train.batch_size > 0,
            "train.batch_size",
            train.batch_size.to_string(),
            "at least 1",
        )?;
        range(
            train.micro_batch_tokens > 0,
            "train.micro_batch_tokens",
            "0".to_owned(),
            "at least 1",
        )?;
        let rate = train.learning_rate;
        range(
            positive(rate),
            "train.learning_rate",
            rate.to_string(),
            "a number above 0",
        )?;
        let decay = train.weight_decay;
        range(
            not_negative(decay),
            "train.weight_decay",
            decay.to_string(),
            "a number of at least 0",
        )?;
        let warmup = train.warmup_ratio;
        range(
            (0.0..=1.0).contains(&warmup),
            "train.warmup_ratio",
            warmup.to_string(),
            "a fraction from 0 to 1",
        )?;
        if let ClassWeights::Given(weights) = &train.class_weights {
            for (label, &weight) in weights {
                let found = format!("{weight} for `{label}`");
                range(
                    not_negative(weight),
                    "train.class_weights",
                    found,
                    "numbers of at least 0",
                )?;
            }
        }
        range(
            (0.0..1.0).contains(&train.label_smoothing),
            "train.label_smoothing",
            train.label_smoothing.to_string(),
            "a rate in [0, 1)",
        )?;
        range(
            not_negative(train.focal_gamma),
            "train.focal_gamma",
            train.focal_gamma.to_string(),
            "a number of at least 0",
        )?;
        range(
            train.focal_gamma == 0.0 || train.label_smoothing == 0.0,
            "train.focal_gamma",
            train.focal_gamma.to_string(),
            "0 beside train.label_smoothing: the one makes a model surer than the other lets it become",
        )?;
        let norm = train.max_grad_norm;
        range(
            positive(norm),
            "train.max_grad_norm",
            norm.to_string(),
            "a number above 0",
        )?;
        range(
            train.logging_steps > 0,
            "train.logging_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        range(
            train.eval_steps != Some(0),
            "train.eval_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        range(
            train.save_steps != Some(0),
            "train.save_steps",
            "0".to_owned(),
            "at least 1",
        )?;
        let delta = train.early_stopping.min_delta;
        range(
            not_negative(delta),
            "train.early_stopping.min_delta",
            delta.to_string(),
            "a number of at least 0",
        )?;
        let texts = OneOrMany::names(self.data.text.as_ref()).len();
        range(
            texts < 2 || self.data.stack,
            "data.text",
            format!("a list of {texts} columns"),
            "one column, or also `stack = true`: each of them then makes an example of its own",
        )?;
        if let Some(name) = &self.data.encoding {
            let expected = "a name such as `utf-8`, `cp949`, `utf-16le` or `windows-1252`";
            range(encoding_of(name).is_some(), "data.encoding", name.clone(), expected)?;
        }
        let share = self.data.train_share;
        range(
            share > 0.0 && share <= 1.0,
            "data.train_share",
            share.to_string(),
            "a number above 0, at most 1",
        )?;
        let length = self.model.max_length;
        range(length >= 4, "model.max_length", length.to_string(), "at least 4 tokens")?;
        range(
            train.layer_decay > 0.0 && train.layer_decay <= 1.0,
            "train.layer_decay",
            train.layer_decay.to_string(),
            "a number above 0, at most 1",
        )?;
        match &self.model.layers {
            None => {}
            Some(LayerChoice::Count(count)) => {
                range(*count > 0, "model.layers", count.to_string(), "at least 1 layer")?;
            }
            Some(LayerChoice::Numbers(numbers)) => range(
                !numbers.is_empty() && numbers.is_sorted_by(|one, other| one < other),
                "model.layers",
                format!("{numbers:?}"),
                "different numbers of layers in order, such as [0, 5, 11]",
            )?,
        }
        self.decision.check()?;
        if let Some(distillation) = &self.distillation {
            distillation.check()?;
        }
        if let Some(sweep) = &self.sweep {
            range(sweep.trials != Some(0), "sweep.trials", "0".to_owned(), "at least 1")?;
            if let Some(halving) = &sweep.halving {
                let factor = halving.factor;
                range(factor > 1, "sweep.halving.factor", factor.to_string(), "at least 2")?;
                range(halving.first > 0, "sweep.halving.first", "0".to_owned(), "at least 1")?;
            }
        }
        if let Some(lora) = &self.lora {
            lora.check()?;
            for (key, is_given) in [
                ("train.freeze_embeddings", train.freeze_embeddings),
                ("train.freeze_layers", train.freeze_layers > 0),
                ("train.head_only", train.head_only),
            ] {
                let expected = "no such setting beside [lora], with which all of the checkpoint is frozen";
                range(!is_given, key, "given".to_owned(), expected)?;
            }
            range(
                self.model.layers.is_none(),
                "model.layers",
                "given".to_owned(),
                "no such setting beside [lora], whose adapter belongs to the whole of model.base",
            )?;
            range(
                self.model.base.as_ref() != Some(&self.output.dir),
                "output.dir",
                self.output.dir.display().to_string(),
                "another directory than model.base, to which the adapter belongs",
            )?;
            range(
                self.model.scratch.is_none(),
                "lora",
                "given".to_owned(),
                "no such section beside [model.scratch]: an encoder of random weights is trained as a whole",
            )?;
        }
        if let Some(scratch) = &self.model.scratch {
            range(
                self.model.layers.is_none(),
                "model.layers",
                "given".to_owned(),
                "no such setting beside [model.scratch], which has num_hidden_layers",
            )?;
            let dir = |base: &PathBuf| base.display().to_string();
            let base = self.model.base.as_ref().map(dir).unwrap_or_default();
            range(
                base.is_empty(),
                "model.base",
                base,
                "no checkpoint beside [model.scratch]: remove one of them",
            )?;
            let (hidden, heads) = (scratch.hidden_size, scratch.num_attention_heads);
            range(
                heads > 0 && hidden > 0 && hidden.is_multiple_of(heads),
                "model.scratch.hidden_size",
                hidden.to_string(),
                "a multiple of num_attention_heads",
            )?;
            let sizes = [
                ("model.scratch.vocab_size", scratch.vocab_size, 100),
                ("model.scratch.num_hidden_layers", scratch.num_hidden_layers, 1),
                ("model.scratch.intermediate_size", scratch.intermediate_size, 1),
            ];
            for (key, size, least) in sizes {
                let expected = if least == 1 { "at least 1" } else { "at least 100" };
                range(size >= least, key, size.to_string(), expected)?;
            }
            let rate = scratch.hidden_dropout_prob;
            range(
                (0.0..1.0).contains(&rate),
                "model.scratch.hidden_dropout_prob",
                rate.to_string(),
                "a rate in [0, 1)",
            )?;
        }
        if let Some(rate) = self.model.classifier_dropout {
            range(
                (0.0..1.0).contains(&rate),
                "model.classifier_dropout",
                rate.to_string(),
                "a rate in [0, 1)",
            )?;
        }
        Ok(())
    }
}
