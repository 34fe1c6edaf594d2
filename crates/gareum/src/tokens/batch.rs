//! Packed batches: sequences one after another, no padding anywhere, and the plans that make them.

use std::ops::Range;

use tensor::random::Sequence;

use super::Encoded;

/// Some sequences of a batch, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    /// `[tokens]`
    pub input_ids: Vec<u32>,
    /// `[tokens]`
    pub token_type_ids: Vec<u32>,
    /// `[batch + 1]`: where each sequence starts; the last entry is the number of tokens.
    pub sequence_starts: Vec<u32>,
    /// Number of the first token within the whole batch, of which this may be a part: dropout masks go by it.
    pub first_token: u64,
    /// Number of the first example within the whole batch.
    pub first_example: u64,
}

impl PackedBatch {
    /// Packs `sequences`, which stand behind `first_example` sequences with `first_token` tokens in the whole batch.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a Encoded>, first_token: usize, first_example: usize) -> Self {
        let mut batch = Self {
            input_ids: Vec::new(),
            token_type_ids: Vec::new(),
            sequence_starts: vec![0],
            first_token: first_token as u64,
            first_example: first_example as u64,
        };
        for sequence in sequences {
            batch.input_ids.extend_from_slice(&sequence.input_ids);
            batch.token_type_ids.extend_from_slice(&sequence.token_type_ids);
            batch.sequence_starts.push(batch.input_ids.len() as u32);
        }
        batch
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.sequence_starts.len() - 1
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The batches of one epoch: all examples, shuffled, `batch_size` at a time. A pure function of its arguments.
///
/// Nothing is gained by grouping lengths here: a packed batch has no padding, and batches drawn at random hold about equally
/// many tokens, which keeps the peak of memory low.
pub fn shuffled_batches(examples: usize, batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples).collect();
    Sequence::new(seed, epoch).shuffle(&mut order);
    order.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect()
}

/// Cuts a batch into parts of at most `max_tokens` tokens (a longer sequence makes a part of its own), in order.
pub fn micro_batches(lengths: &[usize], max_tokens: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (index, &length) in lengths.iter().enumerate() {
        if index > start && tokens + length > max_tokens {
            parts.push(start..index);
            (start, tokens) = (index, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        parts.push(start..lengths.len());
    }
    parts
}

/// Batches for prediction: sequences sorted by length, longest first, cut by [`micro_batches`]. Equal lengths together
/// balance the work of threads; the caller puts the results back in order.
pub fn token_budget_batches(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let sorted: Vec<usize> = order.iter().map(|&index| lengths[index]).collect();
    micro_batches(&sorted, max_tokens)
        .into_iter()
        .map(|part| order[part].to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packing_keeps_order_and_starts() {
        let sequence = |ids: &[u32]| Encoded {
            input_ids: ids.to_vec(),
            token_type_ids: vec![0; ids.len()],
            full_length: ids.len(),
        };
        let batch = PackedBatch::new(&[sequence(&[5, 6]), sequence(&[7])], 10, 2);
        assert_eq!(
            (batch.input_ids.as_slice(), batch.sequence_starts.as_slice()),
            (&[5, 6, 7][..], &[0, 2, 3][..])
        );
        assert_eq!(
            (batch.tokens(), batch.len(), batch.first_token, batch.first_example),
            (3, 2, 10, 2)
        );
        assert!(PackedBatch::new(&[], 0, 0).is_empty());
    }

    #[test]
    fn epochs_differ_and_repeat() {
        assert_eq!(shuffled_batches(50, 8, 1, 0), shuffled_batches(50, 8, 1, 0));
        assert_ne!(shuffled_batches(50, 8, 1, 0), shuffled_batches(50, 8, 1, 1));
        assert_ne!(shuffled_batches(50, 8, 1, 0), shuffled_batches(50, 8, 2, 0));
    }

    proptest! {
        #[test]
        fn every_example_is_in_one_batch(examples in 0usize..200, batch_size in 1usize..40, seed: u64, epoch: u64) {
            let batches = shuffled_batches(examples, batch_size, seed, epoch);
            let mut all: Vec<usize> = batches.concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..examples));
        }

        #[test]
        fn parts_cover_the_batch_within_the_budget(lengths in prop::collection::vec(1usize..50, 0..60), budget in 1usize..120) {
            let parts = micro_batches(&lengths, budget);
            prop_assert!(parts.iter().cloned().flatten().eq(0..lengths.len()));
            for part in &parts {
                prop_assert!(part.len() == 1 || lengths[part.clone()].iter().sum::<usize>() <= budget);
            }
            let mut all = token_budget_batches(&lengths, budget).concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..lengths.len()));
        }
    }
}
