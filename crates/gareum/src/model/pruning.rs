//! Models without some of their heads and without some columns of their feed-forward halves.
//!
//! Columns are gone from the file: `intermediate_size` is smaller. Heads are not, since `transformers` has as many in each layer as there is
//! room for: all that belongs to a pruned one is zero, so it adds nothing, gets no gradient and stays zero in training. A model that is
//! packed for prediction leaves it out.
//!
//! Not here: which of them matter (`compress/pruned.rs`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tensor::{DType, Int8Rows, ParameterGradients, ParameterId, Tensor};

use super::attention::Attention;
use super::{Family, Linear, Model, ModelError};

/// What a loss would change, to first order, if a part of a layer were taken away: Σ weight · gradient over what the output product
/// reads of it, which is the derivative by a factor on that part (Michel et al. 2019, <https://arxiv.org/abs/1905.10650>; Molchanov et al.
/// 2019, <https://arxiv.org/abs/1906.10771>).
#[derive(Debug, Clone, PartialEq)]
pub struct HalfImportance {
    /// Of each head.
    pub heads: Vec<f64>,
    /// Of each column of the feed-forward half.
    pub columns: Vec<f64>,
}

/// What is left of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPruning {
    /// Its heads, by their numbers.
    pub heads: Vec<usize>,
    /// Columns of its feed-forward half: as many in each layer.
    pub columns: Vec<usize>,
}

impl Model {
    /// Why heads of this model cannot be pruned, if so.
    pub(crate) fn heads_are_fixed(&self) -> Option<&'static str> {
        match self.config.heads() {
            _ if self.decoder.is_some() => Some("the decoder looks at the encoder with heads of its own"),
            heads if heads.interleaved => Some("query, key and value of a head are neighbours in one weight"),
            heads if heads.queries != heads.keys => Some("several heads of queries share one of keys and values"),
            _ => None,
        }
    }

    /// Why columns of the feed-forward halves cannot be pruned, if so.
    pub(crate) fn columns_are_fixed(&self) -> Option<&'static str> {
        let has_decoder = self.decoder.is_some();
        has_decoder.then_some("there are an encoder and a decoder, whose sizes differ")
    }

    /// Trains nothing but what [`Model::importance`] reads the gradients of.
    pub(crate) fn freeze_for_importance(&mut self) {
        let read: BTreeSet<ParameterId> = self.output_weights().into_iter().flatten().collect();
        let ids: Vec<ParameterId> = self.parameters.iter().map(|(id, _, _)| id).collect();
        for id in ids {
            self.parameters.set_trainable(id, read.contains(&id));
        }
    }

    /// What each part of each layer does to the loss whose gradients these are.
    pub(crate) fn importance(&self, gradients: &ParameterGradients) -> Vec<HalfImportance> {
        let of_weight = |id: ParameterId| -> Vec<f64> {
            let value = self.parameters.get(id);
            let columns = value.shape().last().copied().unwrap_or(1).max(1);
            let mut sums = vec![0.0; columns];
            let (Some(weights), Some(gradient)) = (value.as_slice::<f32>(), gradients.get(id)) else {
                return sums;
            };
            let Some(slopes) = gradient.as_slice::<f32>() else {
                return sums;
            };
            for (weights, slopes) in weights.chunks_exact(columns).zip(slopes.chunks_exact(columns)) {
                for ((sum, weight), slope) in sums.iter_mut().zip(weights).zip(slopes) {
                    *sum += f64::from(*weight) * f64::from(*slope);
                }
            }
            sums
        };
        let head_dim = self.config.head_dim;
        let halves = self.output_weights().into_iter();
        halves
            .map(|[attention, feed_forward]| HalfImportance {
                heads: of_weight(attention)
                    .chunks_exact(head_dim)
                    .map(|head| head.iter().sum())
                    .collect(),
                columns: of_weight(feed_forward),
            })
            .collect()
    }

    /// The weights behind attention and within the feed-forward half, of each layer.
    fn output_weights(&self) -> Vec<[ParameterId; 2]> {
        let first = |linear: &Linear| linear.weights().next();
        let of_layer = |(attention, feed_forward): (&Attention, &super::feed_forward::FeedForward)| {
            let ([_, output], [_, second]) = (attention.linears(), feed_forward.linears());
            Some([first(output)?, first(second)?])
        };
        self.encoder.halves().filter_map(of_layer).collect()
    }

    /// The model with these parts of its layers. An adapter must have been merged, and weights be wide.
    ///
    /// # Errors
    /// [`ModelError`] if not as many columns are left in each layer.
    pub(crate) fn pruned(&self, layers: &[LayerPruning]) -> Result<Self, ModelError> {
        let inner = self.config.intermediate_size;
        let mut model = self.clone();
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for ((attention, feed_forward), left) in self.encoder.halves().zip(layers) {
            model.silence_heads(attention, &left.heads)?;
            if left.columns.len() == inner {
                continue;
            }
            let [first, second] = feed_forward.linears();
            for (weight, bias) in first.ids() {
                for id in std::iter::once(weight).chain(bias) {
                    let value = self.parameters.get(id);
                    // One weight or two of a gated half.
                    let blocks = value.shape()[0] / inner.max(1);
                    let rows: Vec<usize> = (0..blocks)
                        .flat_map(|block| left.columns.iter().map(move |column| block * inner + column))
                        .collect();
                    tensors.insert(self.parameters.name(id).to_owned(), rows_of(value, &rows)?);
                }
            }
            for weight in second.weights() {
                let value = columns_of(self.parameters.get(weight), &left.columns)?;
                tensors.insert(self.parameters.name(weight).to_owned(), value);
            }
        }
        if tensors.is_empty() {
            return Ok(model);
        }
        for (_, name, value) in model.parameters.iter() {
            tensors.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
        let mut raw_config = self.raw_config.clone();
        let columns = layers.first().map_or(inner, |layer| layer.columns.len());
        raw_config.insert(self.config.family.intermediate_key().to_owned(), json!(columns));
        self.rebuilt(raw_config, tensors)
    }

    /// Makes all zero that belongs to heads of an attention but those that are kept.
    fn silence_heads(&mut self, attention: &Attention, kept: &[usize]) -> Result<(), ModelError> {
        let (heads, head_dim) = (attention.heads().queries, self.config.head_dim);
        let gone: Vec<usize> = (0..heads).filter(|head| !kept.contains(head)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        for id in made_of_heads(attention) {
            let width = row_length(self.parameters.get(id));
            let all = numbers(self.parameters.get_mut(id))?;
            for block in all.chunks_exact_mut(heads * head_dim * width) {
                for head in &gone {
                    block[head * head_dim * width..][..head_dim * width].fill(0.0);
                }
            }
        }
        let [_, output] = attention.linears();
        for weight in output.weights() {
            for row in numbers(self.parameters.get_mut(weight))?.chunks_exact_mut(heads * head_dim) {
                for head in &gone {
                    row[head * head_dim..][..head_dim].fill(0.0);
                }
            }
        }
        Ok(())
    }

    /// Leaves out heads that add nothing, because the product behind them is zero where it reads them: the same sums are computed without
    /// them. Each layer keeps one at least. For prediction only, since a saved model has room for all.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a weight is there no more.
    pub(crate) fn drop_zero_heads(&mut self) -> Result<(), ModelError> {
        if self.heads_are_fixed().is_some() || self.adapter.is_some() {
            return Ok(());
        }
        let head_dim = self.config.head_dim;
        let Self {
            encoder, parameters, ..
        } = self;
        let mut done = BTreeSet::new();
        for attention in encoder.attentions_mut() {
            let heads = attention.heads().queries;
            let [_, output] = attention.linears();
            let Some(weight) = output.weights().next() else {
                continue;
            };
            let mut kept = heads_that_add(parameters.get(weight), heads, head_dim);
            if kept.is_empty() {
                kept.push(0);
            }
            if kept.len() == heads {
                continue;
            }
            let columns: Vec<usize> = kept
                .iter()
                .flat_map(|head| head * head_dim..(head + 1) * head_dim)
                .collect();
            let narrow = columns_of(parameters.get(weight), &columns)?;
            *parameters.get_mut(weight) = narrow;
            for id in made_of_heads(attention) {
                // Layers may share what they make of relative positions.
                if !done.insert(id) {
                    continue;
                }
                let value = parameters.get(id);
                let blocks = value.shape()[0] / (heads * head_dim).max(1);
                let rows: Vec<usize> = (0..blocks)
                    .flat_map(|block| columns.iter().map(move |column| block * heads * head_dim + column))
                    .collect();
                let narrow = rows_of(value, &rows)?;
                *parameters.get_mut(id) = narrow;
            }
            attention.set_heads(kept.len(), parameters);
        }
        Ok(())
    }

    /// How many heads of each layer add anything.
    pub fn heads_in_use(&self) -> Vec<usize> {
        let heads = self.config.num_attention_heads;
        let of_layer = |[attention, _]: [ParameterId; 2]| {
            heads_that_add(self.parameters.get(attention), heads, self.config.head_dim).len()
        };
        self.output_weights().into_iter().map(of_layer).collect()
    }
}

impl Family {
    /// The key of `config.json` for the width inside of the feed-forward half.
    fn intermediate_key(self) -> &'static str {
        match self {
            Self::DistilBert => "hidden_dim",
            _ => "intermediate_size",
        }
    }
}

/// Weights and biases whose rows belong to heads, each once.
fn made_of_heads(attention: &Attention) -> BTreeSet<ParameterId> {
    let [query_key_value, _] = attention.linears();
    let linears = std::iter::once(query_key_value).chain(attention.positions());
    let ids = linears.flat_map(Linear::ids);
    ids.flat_map(|(weight, bias)| std::iter::once(weight).chain(bias))
        .collect()
}

/// The heads that the product behind them reads with something else than zero.
fn heads_that_add(weight: &Tensor, heads: usize, head_dim: usize) -> Vec<usize> {
    let widened = weight.as_nf4().map(|values| values.to_f32_vec());
    let is_zero = |head: usize| {
        let of_head = head * head_dim..(head + 1) * head_dim;
        match weight.as_int8() {
            Some(rows) => (0..rows.scales().len()).all(|row| rows.row(row)[of_head.clone()].iter().all(|w| *w == 0)),
            None => widened.as_deref().or(weight.as_slice::<f32>()).is_some_and(|values| {
                let rows = values.chunks_exact(heads * head_dim);
                rows.into_iter()
                    .all(|row| row[of_head.clone()].iter().all(|w| *w == 0.0))
            }),
        }
    };
    (0..heads).filter(|head| !is_zero(*head)).collect()
}

/// Numbers of a row; a bias has one.
fn row_length(value: &Tensor) -> usize {
    value.shape().get(1).copied().unwrap_or(1)
}

fn numbers(value: &mut Tensor) -> Result<&mut [f32], ModelError> {
    let (shape, dtype) = (value.shape().to_vec(), value.dtype());
    let values = value.as_mut_slice::<f32>();
    values.ok_or_else(|| unfit(shape, format!("numbers of f32, not {dtype:?}")))
}

/// Some rows of a weight, or some elements of a bias.
fn rows_of(value: &Tensor, rows: &[usize]) -> Result<Tensor, ModelError> {
    let value = &in_rows(value);
    if let Some(int8) = value.as_int8() {
        let values = rows.iter().flat_map(|&row| int8.row(row)).copied().collect();
        let scales = rows.iter().map(|&row| int8.scales()[row]).collect();
        return int8_tensor(values, scales, int8.columns());
    }
    let width = row_length(value);
    let all = value.to_f32_vec();
    let kept: Vec<f32> = rows
        .iter()
        .flat_map(|row| &all[row * width..][..width])
        .copied()
        .collect();
    let shape = match value.shape() {
        [_, columns] => vec![rows.len(), *columns],
        _ => vec![rows.len()],
    };
    Ok(Tensor::from_vec(kept, &shape)?)
}

/// What a part can be taken of: blocks of 4 bits pay no heed to columns, and get 8 bits a row.
fn in_rows(value: &Tensor) -> Tensor {
    match value.dtype() {
        DType::Nf4 => value.to_dtype(DType::Int8),
        _ => value.clone(),
    }
}

/// Some columns of a weight.
fn columns_of(value: &Tensor, columns: &[usize]) -> Result<Tensor, ModelError> {
    let value = &in_rows(value);
    if let Some(int8) = value.as_int8() {
        let rows = 0..int8.scales().len();
        let values = rows.flat_map(|row| columns.iter().map(move |&column| int8.row(row)[column]));
        return int8_tensor(values.collect(), int8.scales().to_vec(), columns.len());
    }
    let width = row_length(value).max(1);
    let all = value.to_f32_vec();
    let kept: Vec<f32> = all
        .chunks_exact(width)
        .flat_map(|row| columns.iter().map(|&column| row[column]))
        .collect();
    Ok(Tensor::from_vec(kept, &[all.len() / width, columns.len()])?)
}

/// Rows of 8 bits as a tensor.
fn int8_tensor(values: Vec<i8>, scales: Vec<f32>, columns: usize) -> Result<Tensor, ModelError> {
    let shape = vec![scales.len(), columns];
    let rows = Int8Rows::from_parts(values, scales, columns);
    let rows = rows.ok_or_else(|| unfit(shape, "a scale for each row of 8 bits".to_owned()))?;
    Ok(Tensor::from_int8(rows))
}

fn unfit(found: Vec<usize>, expected: String) -> ModelError {
    ModelError::Tensor(tensor::Error::Shape {
        operation: "prune",
        what: "weight",
        found,
        expected,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tensor::Tape;
    use tensor::optimizer::{AdamW, AdamWOptions};
    use tensor::random::Sequence;

    use super::*;
    use crate::data::{LabelSchema, Target, Task};
    use crate::head;
    use crate::model::{Noise, Precision};
    use crate::tokens::{Encoded, PackedBatch};

    /// A small model of a family, with no number at 0.
    fn model(keys: Value) -> Model {
        let mut config = json!({
            "vocab_size": 30, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20,
            "max_position_embeddings": 64, "hidden_dim": 20, "dim": 24, "n_layers": 2, "n_heads": 4, "local_attention": 6,
            "type_vocab_size": 0,
        });
        let all = config.as_object_mut().unwrap();
        all.extend(keys.as_object().unwrap().clone());
        let schema = LabelSchema {
            task: Task::SingleLabel,
            names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        };
        let mut model = Model::from_config(all.clone(), schema, 3).unwrap();
        let ids: Vec<ParameterId> = model.parameters.iter().map(|(id, _, _)| id).collect();
        let mut random = Sequence::new(8, 8);
        for id in ids {
            let values = model.parameters.get_mut(id).as_mut_slice::<f32>().unwrap();
            values
                .iter_mut()
                .for_each(|value| *value += 0.2 * random.normal() as f32);
        }
        model
    }

    fn families() -> Vec<Value> {
        let relative = json!({
            "model_type": "deberta-v2", "relative_attention": true, "pos_att_type": "c2p|p2c", "position_buckets": 8,
            "max_relative_positions": 16, "position_biased_input": false,
        });
        let mut shared = relative.clone();
        shared["share_att_key"] = json!(true);
        vec![
            json!({"model_type": "bert"}),
            json!({"model_type": "distilbert"}),
            json!({"model_type": "modernbert", "attention_bias": true}),
            json!({"model_type": "qwen2"}),
            json!({"model_type": "qwen3", "head_dim": 6}),
            relative,
            shared,
        ]
    }

    fn batch() -> PackedBatch {
        let mut random = Sequence::new(9, 9);
        let encoded: Vec<Encoded> = [7, 12, 3]
            .iter()
            .map(|&length| Encoded {
                input_ids: (0..length).map(|_| random.below(30) as u32).collect(),
                token_type_ids: vec![0; length],
                full_length: length,
            })
            .collect();
        PackedBatch::new(&encoded, 0, 0)
    }

    fn logits(model: &Model) -> Vec<f32> {
        let tape = Tape::inference();
        model.forward(&tape, &batch(), None).unwrap().value().to_f32_vec()
    }

    fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        let scale = expected.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
        assert!(scale > 0.01, "{what}: nothing to compare: {expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(error < 1e-5 * scale.max(1.0), "{what}: {found}, expected {expected}");
        }
    }

    fn all_of(layers: &[(&[usize], &[usize])]) -> Vec<LayerPruning> {
        let layer = |(heads, columns): &(&[usize], &[usize])| LayerPruning {
            heads: heads.to_vec(),
            columns: columns.to_vec(),
        };
        layers.iter().map(layer).collect()
    }

    const COLUMNS: [usize; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

    fn bits(model: &Model) -> Vec<(String, Vec<u32>)> {
        let of = |value: &Tensor| value.to_f32_vec().iter().map(|value| value.to_bits()).collect();
        let all = model.parameters.iter();
        all.map(|(_, name, value)| (name.to_owned(), of(value))).collect()
    }

    #[test]
    fn nothing_pruned_is_the_same_model() {
        for keys in families() {
            let model = model(keys.clone());
            let same = model
                .pruned(&all_of(&[(&[0, 1, 2, 3], &COLUMNS), (&[0, 1, 2, 3], &COLUMNS)]))
                .unwrap();
            assert_eq!(bits(&model), bits(&same), "{keys}");
            let mut same = same;
            same.drop_zero_heads().unwrap();
            assert_eq!(bits(&model), bits(&same), "{keys}");
        }
    }

    #[test]
    fn heads_that_are_zero_are_left_out_and_nobody_can_tell() {
        for keys in families() {
            let whole = model(keys.clone());
            let pruned = whole
                .pruned(&all_of(&[(&[1], &COLUMNS), (&[0, 2, 3], &COLUMNS)]))
                .unwrap();
            assert_eq!(pruned.heads_in_use(), [1, 3], "{keys}");
            let expected = logits(&pruned);
            assert_ne!(expected, logits(&whole), "{keys}");
            let mut narrow = pruned.clone();
            narrow.drop_zero_heads().unwrap();
            let heads: Vec<usize> = narrow
                .encoder
                .halves()
                .map(|(attention, _)| attention.heads().queries)
                .collect();
            assert_eq!(heads, [1, 3], "{keys}");
            assert!(narrow.parameters.element_count() < pruned.parameters.element_count());
            assert_close(&logits(&narrow), &expected, &keys.to_string());
            let packed = narrow.for_prediction(Precision::F32).unwrap();
            assert_close(&logits(&packed), &expected, &keys.to_string());
        }
    }

    #[test]
    fn columns_are_gone_as_if_nothing_had_read_them() {
        let left: [&[usize]; 2] = [&[1, 4, 5, 19], &[0, 2, 3, 18]];
        for keys in families() {
            let mut whole = model(keys.clone());
            let pruned = whole
                .pruned(&all_of(&[(&[0, 1, 2, 3], left[0]), (&[0, 1, 2, 3], left[1])]))
                .unwrap();
            assert_eq!(pruned.config().intermediate_size, 4, "{keys}");
            let outputs: Vec<ParameterId> = whole.output_weights().into_iter().map(|[_, id]| id).collect();
            for (id, left) in outputs.into_iter().zip(left) {
                let rows = whole.parameters.get_mut(id).as_mut_slice::<f32>().unwrap();
                for row in rows.chunks_exact_mut(20) {
                    (0..20)
                        .filter(|column| !left.contains(column))
                        .for_each(|column| row[column] = 0.0);
                }
            }
            assert_close(&logits(&pruned), &logits(&whole), &keys.to_string());
        }
    }

    #[test]
    fn a_pruned_head_stays_so_in_training() {
        for keys in families() {
            let whole = model(keys.clone());
            let mut pruned = whole.pruned(&all_of(&[(&[1, 2], &COLUMNS), (&[3], &COLUMNS)])).unwrap();
            let before = pruned.clone();
            let mut optimizer = AdamW::new(&pruned.parameters, AdamWOptions::default(), |_, _| 0.1);
            for step in 0..3 {
                let mut gradients = ParameterGradients::for_parameters(&pruned.parameters);
                let tape = Tape::recording();
                let noise = Some(Noise { seed: 1, step });
                let logits = pruned.forward(&tape, &batch(), noise).unwrap();
                let targets = [Target::Class(0), Target::Class(2), Target::Class(1)];
                let targets: Vec<&Target> = targets.iter().collect();
                let loss = head::loss(&tape, &logits, &targets, pruned.schema(), 3).unwrap();
                tape.backward(&loss, &mut gradients).unwrap();
                optimizer.step(&mut pruned.parameters, &gradients, 1.0, 0.01).unwrap();
            }
            assert_ne!(bits(&before), bits(&pruned));
            assert_eq!(pruned.heads_in_use(), [2, 1], "{keys}");
            for (attention, _) in pruned.encoder.halves() {
                for id in made_of_heads(attention) {
                    let values = [&before, &pruned].map(|model| model.parameters.get(id).to_f32_vec());
                    let zeros = values.map(|values| values.iter().filter(|value| **value == 0.0).count());
                    assert!(zeros[0] > 0 && zeros[0] == zeros[1], "{keys}: {zeros:?}");
                }
            }
        }
    }

    #[test]
    fn importance_is_the_derivative_by_a_factor() {
        let model = model(json!({"model_type": "bert", "hidden_dropout_prob": 0.0}));
        let targets = [Target::Class(0), Target::Class(2), Target::Class(1)];
        let targets: Vec<&Target> = targets.iter().collect();
        let loss = |model: &Model, tape: &Tape| {
            let logits = model.forward(tape, &batch(), None).unwrap();
            head::loss(tape, &logits, &targets, model.schema(), 3).unwrap()
        };
        let mut frozen = model.clone();
        frozen.freeze_for_importance();
        let tape = Tape::recording();
        let found = loss(&frozen, &tape);
        let mut gradients = ParameterGradients::for_parameters(&frozen.parameters);
        tape.backward(&found, &mut gradients).unwrap();
        let importance = frozen.importance(&gradients);
        let wide = model.to_dtype(tensor::DType::F64);
        for (layer, [attention, feed_forward]) in model.output_weights().into_iter().enumerate() {
            for (id, width, importance) in [
                (attention, 6, &importance[layer].heads),
                (feed_forward, 1, &importance[layer].columns),
            ] {
                for (number, importance) in importance.iter().enumerate() {
                    let scaled = |factor: f64| {
                        let mut model = wide.clone();
                        let columns = model.parameters.get(id).shape()[1];
                        let values = model.parameters.get_mut(id).as_mut_slice::<f64>().unwrap();
                        for row in values.chunks_exact_mut(columns) {
                            row[number * width..][..width]
                                .iter_mut()
                                .for_each(|value| *value *= factor);
                        }
                        loss(&model, &Tape::inference()).value().to_f64_vec()[0]
                    };
                    let slope = (scaled(1.0 + 1e-5) - scaled(1.0 - 1e-5)) / 2e-5;
                    assert!(
                        (slope - importance).abs() < 1e-5,
                        "{layer} {number}: {importance}, expected {slope}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_pruned_says_why() {
        let fixed = |keys: Value| model(keys).heads_are_fixed().is_some();
        assert!(fixed(json!({"model_type": "gpt_neox"})));
        assert!(fixed(json!({"model_type": "llama", "num_key_value_heads": 2})));
        assert!(!fixed(json!({"model_type": "llama"})) && !fixed(json!({"model_type": "bert"})));
    }
}
