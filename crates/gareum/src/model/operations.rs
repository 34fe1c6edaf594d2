//! How much there is to compute: what a measured time is compared with.

use super::ModelConfig;

impl ModelConfig {
    /// Floating-point operations of a forward pass over sequences of these lengths: those of the products and of attention,
    /// a multiplication and an addition being two. Norms, activations, softmax, positions and embeddings are left out, as they
    /// are where peaks are measured.
    ///
    /// With hidden size h, q columns of queries, k of keys and inner size i, a layer takes 2 (h (q + 2 k) + q h + 2 h i) for each
    /// token (3 h i if it is gated) and 4 q for each pair of tokens that see each other (scores and weighted values of all heads
    /// together). An embedding of another width e takes 2 e h for each token, and the head 2 (h² + h · labels) for each
    /// sequence, without h² if it has no hidden product.
    ///
    /// Each term of relative positions takes 2 q for a pair; what is done to positions once for a whole batch is left out. A
    /// convolution over w tokens takes 2 w h² for each. A decoder takes as much as an encoder of its layers, whose attention is
    /// there twice.
    ///
    /// A training step takes three times as many: each product has two more for its gradients. What is computed a second
    /// time to save memory is not counted.
    pub fn forward_operations(&self, lengths: impl IntoIterator<Item = usize>, labels: usize) -> f64 {
        let hidden = self.hidden_size as f64;
        let dense = if self.head.dense.is_some() {
            hidden * hidden
        } else {
            0.0
        };
        let of_sequence = 2.0 * (dense + hidden * labels as f64);
        let decoder = self.of_decoder();
        let of_length = |length: usize| {
            let decoder = decoder
                .as_ref()
                .map_or(0.0, |decoder| decoder.operations_of_layers(length));
            self.operations_of_layers(length) + decoder + of_sequence
        };
        lengths.into_iter().map(of_length).sum()
    }

    /// Those of the encoder's layers, or of the decoder's, for a sequence.
    fn operations_of_layers(&self, length: usize) -> f64 {
        let [hidden, inner, embedding, queries, keys] = [
            self.hidden_size,
            self.intermediate_size,
            self.embedding_size,
            self.query_size(),
            self.key_size(),
        ]
        .map(|n| n as f64);
        let layers = self.num_hidden_layers as f64;
        let projection = if self.embedding_size == self.hidden_size {
            0.0
        } else {
            2.0 * embedding * hidden
        };
        let convolution = self
            .convolution
            .map_or(0.0, |of| 2.0 * of.width as f64 * hidden * hidden);
        let attention = 2.0 * hidden * (queries + keys) * if self.is_decoder { 2.0 } else { 1.0 };
        let feed_forward = if self.is_gated { 3.0 } else { 2.0 } * hidden * inner;
        let of_token = projection + convolution + layers * 2.0 * (attention + feed_forward);
        let pairs = self
            .layer_attention
            .iter()
            .map(|attention| attention.window.pairs(length) as f64);
        let pairs: f64 = pairs.sum();
        let all_pairs = layers * (length * length) as f64;
        let of_positions = self
            .relative
            .map_or(0.0, |relative| 2.0 * relative.terms() as f64 * all_pairs);
        let of_encoder = if self.is_decoder { 4.0 * all_pairs } else { 0.0 };
        length as f64 * of_token + (4.0 * pairs + of_positions + of_encoder) * queries
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(more: serde_json::Value) -> ModelConfig {
        let mut config = json!({
            "model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
            "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512,
        });
        let (all, more) = (config.as_object_mut().unwrap(), more.as_object().unwrap().clone());
        all.extend(more);
        ModelConfig::from_json(all, "config.json").unwrap()
    }

    #[test]
    fn bert_base_takes_what_is_known_of_it() {
        // 85.05 million weights of products, each used once for a token.
        let found = config(json!({})).forward_operations([1], 2);
        let products = 2.0 * 12.0 * (4.0 * 768.0 * 768.0 + 2.0 * 768.0 * 3072.0);
        assert_eq!(
            found,
            products + 12.0 * 4.0 * 768.0 + 2.0 * (768.0 * 768.0 + 768.0 * 2.0)
        );
    }

    #[test]
    fn sequences_add_up_and_attention_is_quadratic() {
        let config = config(json!({}));
        let operations = |lengths: &[usize]| config.forward_operations(lengths.iter().copied(), 2);
        assert_eq!(operations(&[10, 20]), operations(&[10]) + operations(&[20]));
        let extra = operations(&[200]) - 2.0 * operations(&[100]) + operations(&[0]);
        assert_eq!(extra, 12.0 * 4.0 * 768.0 * (200.0 * 200.0 - 2.0 * 100.0 * 100.0));
    }

    #[test]
    fn a_narrow_embedding_is_projected() {
        let narrow = config(json!({"model_type": "electra", "embedding_size": 128}));
        let wide = config(json!({"model_type": "electra", "embedding_size": 768}));
        let difference = narrow.forward_operations([7], 2) - wide.forward_operations([7], 2);
        assert_eq!(difference, 7.0 * 2.0 * 128.0 * 768.0);
    }
}
