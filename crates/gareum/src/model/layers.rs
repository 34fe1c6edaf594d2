//! A model with some layers of another.
//!
//! Not here: which layers are worth keeping (`compress/`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tensor::Tensor;

use super::config::ModelConfig;
use super::{Builder, Family, Model, ModelError};
use crate::settings::LayerChoice;

impl LayerChoice {
    /// The layers that are kept, of so many; `None` if there are none of these numbers.
    pub(crate) fn of(&self, layers: usize) -> Option<Vec<usize>> {
        match self {
            Self::Count(count) => (1..=layers).contains(count).then(|| evenly_spaced(*count, layers)),
            Self::Numbers(numbers) => {
                let is_sound = numbers.is_sorted_by(|one, other| one < other) && !numbers.is_empty();
                (is_sound && numbers.iter().all(|number| *number < layers)).then(|| numbers.clone())
            }
        }
    }
}

/// So many of the layers, from the first to the last; the first alone.
fn evenly_spaced(count: usize, layers: usize) -> Vec<usize> {
    let gaps = (count - 1).max(1);
    (0..count)
        .map(|index| (2 * index * (layers - 1) + gaps) / (2 * gaps))
        .collect()
}

impl Model {
    /// The model with these of its layers, in order: everything else stays as it is.
    ///
    /// # Errors
    /// [`ModelError::Layers`] if there are no such layers, or not one stack of them.
    pub(crate) fn keep_layers(&self, choice: &LayerChoice) -> Result<Self, ModelError> {
        let layers = self.config.num_hidden_layers;
        let failed = |reason: String| ModelError::Layers { reason };
        if self.decoder.is_some() {
            let reason = "the model has two stacks of layers, an encoder and a decoder, which are kept whole";
            return Err(failed(reason.to_owned()));
        }
        let Some(kept) = choice.of(layers) else {
            let found = match choice {
                LayerChoice::Count(count) => count.to_string(),
                LayerChoice::Numbers(numbers) => format!("{numbers:?}"),
            };
            return Err(failed(format!(
                "{found} of the {layers} layers of the model, counted from 0"
            )));
        };
        let mut raw_config = self.raw_config.clone();
        raw_config.insert(self.config.family.layers_key().to_owned(), json!(kept.len()));
        self.config.write_layer_types(&kept, &mut raw_config);
        let names = self.config.names();
        let start = format!("{}.{}.", names.prefix, names.layer);
        let mut tensors = BTreeMap::new();
        for (_, name, value) in self.parameters.iter() {
            let Some((number, rest)) = name.strip_prefix(&start).and_then(|rest| rest.split_once('.')) else {
                tensors.insert(name.to_owned(), value.clone());
                continue;
            };
            let place = number
                .parse()
                .ok()
                .and_then(|number: usize| kept.iter().position(|kept| *kept == number));
            if let Some(place) = place {
                tensors.insert(format!("{start}{place}.{rest}"), value.clone());
            }
        }
        self.rebuilt(raw_config, tensors)
    }

    /// A model of another config with these tensors, of which those without a place are left out. An adapter must have been merged.
    pub(super) fn rebuilt(
        &self,
        raw_config: Map<String, Value>,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<Self, ModelError> {
        let config = ModelConfig::from_json(&raw_config, "config.json")?;
        let mut builder = Builder::from_tensors(tensors, config.initializer_range);
        let mut model = Self::build(config, self.schema.clone(), raw_config, &mut builder)?;
        (model.precision, model.width) = (self.precision, self.width);
        Ok(model.finish(builder))
    }
}

impl ModelConfig {
    /// Says of each kept layer whether its attention is local, where layers differ in that or the config says it already.
    fn write_layer_types(&self, kept: &[usize], raw_config: &mut Map<String, Value>) {
        const KEY: &str = "layer_types";
        let differ = self.layer_attention.windows(2).any(|pair| pair[0] != pair[1]);
        if !differ && raw_config.get(KEY).is_none_or(Value::is_null) {
            return;
        }
        let name = |number: &usize| match self.layer_attention[*number].window.left {
            usize::MAX => "full_attention",
            _ => "sliding_attention",
        };
        raw_config.insert(KEY.to_owned(), kept.iter().map(name).collect());
    }
}

impl Family {
    /// The key of `config.json` for the number of layers.
    fn layers_key(self) -> &'static str {
        match self {
            Self::DistilBert => "n_layers",
            _ => "num_hidden_layers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{LabelSchema, Task};

    #[test]
    fn layers_are_evenly_spaced() {
        let of = |count, layers| LayerChoice::Count(count).of(layers);
        // Those that DistilBERT began with.
        assert_eq!(of(6, 12), Some(vec![0, 2, 4, 7, 9, 11]));
        assert_eq!(of(3, 12), Some(vec![0, 6, 11]));
        assert_eq!(of(3, 6), Some(vec![0, 3, 5]));
        assert_eq!(of(1, 6), Some(vec![0]));
        assert_eq!(of(6, 6), Some(vec![0, 1, 2, 3, 4, 5]));
        assert_eq!((of(0, 6), of(7, 6)), (None, None));
        assert_eq!(LayerChoice::Numbers(vec![1, 5]).of(6), Some(vec![1, 5]));
        assert_eq!(LayerChoice::Numbers(vec![1, 6]).of(6), None);
    }

    fn model(config: Value) -> Model {
        let schema = LabelSchema {
            task: Task::SingleLabel,
            names: vec!["a".to_owned(), "b".to_owned()],
        };
        Model::from_config(config.as_object().unwrap().clone(), schema, 3).unwrap()
    }

    #[test]
    fn kept_layers_are_those_of_the_base() {
        let sizes = json!({
            "vocab_size": 30, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 32,
            "max_position_embeddings": 64, "hidden_dim": 32, "dim": 24, "n_layers": 4, "n_heads": 4, "local_attention": 8,
        });
        for model_type in ["bert", "distilbert", "modernbert", "gpt_neox", "deberta-v2"] {
            let mut config = sizes.clone();
            config["model_type"] = json!(model_type);
            let base = model(config);
            let kept = base.keep_layers(&LayerChoice::Numbers(vec![0, 3])).unwrap();
            assert_eq!(kept.config().num_hidden_layers, 2, "{model_type}");
            let attention = |model: &Model, layer: usize| model.config().layer_attention[layer];
            assert_eq!(attention(&kept, 1), attention(&base, 3), "{model_type}");
            let mut from_base = 0;
            for (_, name, value) in kept.parameters.iter() {
                let of_base = name.replace(&format!("{}.1.", base.config().names().layer), &{
                    format!("{}.3.", base.config().names().layer)
                });
                let id = base.parameters.find(&of_base).unwrap();
                assert_eq!(
                    value.to_f32_vec(),
                    base.parameters.get(id).to_f32_vec(),
                    "{model_type} {name}"
                );
                from_base += usize::from(of_base != name);
            }
            assert!(from_base > 5, "{model_type}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let base = model(json!({
            "model_type": "bert", "vocab_size": 30, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 32, "max_position_embeddings": 64,
        }));
        let error = base.keep_layers(&LayerChoice::Count(3)).unwrap_err().to_string();
        assert_eq!(
            error,
            "model.layers: 3 of the 2 layers of the model, counted from 0\nhint: take fewer layers, or leave the setting out"
        );
    }
}
