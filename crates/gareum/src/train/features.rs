//! What a frozen encoder makes of each text: computed when it is needed for the first time, and kept. Then a step trains the head
//! alone, and an evaluation is no more than that of the head.

use tensor::{Tape, Tensor};

use super::EncodedExample;
use crate::decision::Decision;
use crate::model::Model;
use crate::predict::Prediction;
use crate::tokens::{PackedBatch, micro_batches};

/// Kept vectors of the examples of one part of the data.
#[derive(Debug, Default)]
pub(super) struct Features {
    rows: Vec<Option<Box<[f32]>>>,
}

/// Examples that are scored at a time.
const BATCH: usize = 1024;

impl Features {
    /// The vectors of some examples, from passes of at most `max_tokens` tokens where they are not there yet.
    pub fn of(
        &mut self,
        model: &Model,
        examples: &[EncodedExample],
        indices: &[usize],
        max_tokens: usize,
    ) -> tensor::Result<Tensor> {
        self.rows.resize(examples.len(), None);
        let missing: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|&index| self.rows[index].is_none())
            .collect();
        let length = |&index: &usize| examples[index].encoded.input_ids.len();
        let lengths: Vec<usize> = missing.iter().map(length).collect();
        let columns = model.config().hidden_size;
        for part in micro_batches(&lengths, max_tokens) {
            let part = &missing[part];
            let batch = PackedBatch::new(part.iter().map(|&index| &examples[index].encoded), 0, 0);
            let features = model
                .features(&Tape::inference(), &batch, None)?
                .into_value()
                .to_f32_vec();
            for (&index, row) in part.iter().zip(features.chunks_exact(columns)) {
                self.rows[index] = Some(row.into());
            }
        }
        let rows = indices.iter().filter_map(|&index| self.rows[index].as_deref());
        Tensor::from_vec(rows.flatten().copied().collect::<Vec<f32>>(), &[indices.len(), columns])
    }

    /// Predictions for all examples. `progress` gets the number of those done.
    pub fn predict(
        &mut self,
        model: &Model,
        examples: &[EncodedExample],
        max_tokens: usize,
        progress: &mut dyn FnMut(usize),
    ) -> tensor::Result<Vec<Prediction>> {
        let decision = Decision::default();
        let mut predictions = Vec::with_capacity(examples.len());
        let all: Vec<usize> = (0..examples.len()).collect();
        for indices in all.chunks(BATCH) {
            let features = self.of(model, examples, indices, max_tokens)?;
            let tape = Tape::inference();
            let logits = model
                .classify(&tape, tape.constant(features), 0, None)?
                .value()
                .to_f32_vec();
            let logits = logits.chunks_exact(model.schema().num_labels());
            predictions.extend(logits.map(|logits| decision.decide(logits.to_vec(), model.schema().task)));
            progress(predictions.len());
        }
        Ok(predictions)
    }
}
