//! Where dropout acts. Every place has a number of its own, so that masks stay the same when code moves.
//!
//! Embeddings 0; layer l (a decoder's are counted on from the encoder's): attention probabilities 3l + 1, attention output
//! 3l + 2, feed-forward output (or, where that is what is dropped out, its gated inner values) 3l + 3; head, with L layers in all:
//! input 3L + 1, hidden 3L + 2. What few families have stands in blocks beyond.

/// The embeddings.
pub const EMBEDDINGS: usize = 0;

/// Relative positions; that of layer l has l added.
pub const POSITIONS: usize = 1 << 16;

/// The convolution beside the first layer.
pub const CONVOLUTION: usize = 2 << 16;

/// The embeddings of a decoder.
pub const DECODER_EMBEDDINGS: usize = 3 << 16;

/// The probabilities of a decoder's attention to the encoder, and one further its output; that of the decoder's layer l has 2l
/// added.
pub const CROSS_ATTENTION: usize = 4 << 16;

/// What is inside of a feed-forward half that is not gated; that of layer l has l added.
pub const INNER: usize = 5 << 16;

/// What goes into products of low rank; that of the n-th product has n added.
pub const LOW_RANK: usize = 6 << 16;

/// The first site of a layer.
pub fn of_layer(layer: usize) -> usize {
    3 * layer + 1
}

/// The first site of the head behind so many layers.
pub fn of_head(layers: usize) -> usize {
    3 * layers + 1
}
