//! How many bytes the storage of tensors takes: counted here by [`crate::buffer`], read by who plans or measures memory.
//!
//! Counted is whatever belongs to a tensor or is scratch space of an operation, rounded up as it is stored; storage that
//! the pool keeps for later is not, but never takes more than the difference between peak and use.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::DType;
use crate::buffer;
pub use crate::buffer::{SLACK_SHARE, free_bytes as bytes_kept, keep_free, stored_bytes};
pub use crate::cpu::give_back_large_blocks;
use crate::cpu::{give_back_free_pages, product};
use crate::ops::{attention_workspace_bytes, disentangled_attention_workspace_bytes};

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes in use now.
pub fn bytes_in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// The most bytes that have been in use at one time since the start or the last [`reset_peak`].
pub fn peak_bytes() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// Bytes of `columns` columns of `inner` elements, packed as the right factor of a product.
pub fn right_factor_bytes(columns: usize, inner: usize, dtype: DType) -> usize {
    packed_bytes(columns, inner, dtype, product::COLUMNS)
}

/// Bytes of `rows` rows of `inner` elements, packed as the left factor of a product.
pub fn left_factor_bytes(rows: usize, inner: usize, dtype: DType) -> usize {
    packed_bytes(rows, inner, dtype, product::ROWS)
}

fn packed_bytes(count: usize, inner: usize, dtype: DType, lanes: usize) -> usize {
    let group = if dtype == DType::BF16 { 2 } else { 1 };
    let lines = product::Lines { count, inner, group };
    stored_bytes(lines.packed(lanes) * dtype.size())
}

/// Bytes that a product with so many rows and columns works with beside its factors and what it writes.
pub fn product_bytes(rows: usize, columns: usize) -> usize {
    product::sums_bytes(rows, columns)
}

/// Bytes that attention works with beside what it reads and writes, for sequences of up to `longest` tokens: in the forward
/// pass, or `backward`.
pub fn attention_bytes(longest: usize, head_dim: usize, dtype: DType, backward: bool) -> usize {
    attention_workspace_bytes(longest, head_dim, dtype, backward)
}

/// As [`attention_bytes`] for [`ops::disentangled_attention`](crate::ops::disentangled_attention) with so many terms, 0 to 2.
pub fn disentangled_attention_bytes(
    longest: usize,
    head_dim: usize,
    terms: usize,
    dtype: DType,
    backward: bool,
) -> usize {
    disentangled_attention_workspace_bytes(longest, head_dim, terms, dtype, backward)
}

/// How many sums the gradient of positions is taken in there, each as large as the projections, for so many tokens.
pub fn position_sums(tokens: usize) -> usize {
    crate::ops::position_sums(tokens)
}

/// Starts a new measurement of [`peak_bytes`] at what is in use now.
pub fn reset_peak() {
    PEAK.store(bytes_in_use(), Ordering::Relaxed);
}

/// Frees the storage that is kept for later and forgets what was needed so far: for when one piece of work has ended and
/// another, perhaps smaller one begins. Other free memory of the process goes back to the system too.
pub fn release() {
    buffer::release();
    give_back_free_pages();
}

pub(crate) fn count(bytes: usize) {
    let now = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

pub(crate) fn discount(bytes: usize) {
    IN_USE.fetch_sub(bytes, Ordering::Relaxed);
}
