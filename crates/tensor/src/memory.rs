//! How many bytes the storage of tensors takes: counted here by [`crate::buffer`], read by who plans or measures memory.
//!
//! Counted is whatever belongs to a tensor or is scratch space of an operation, rounded up as it is stored; storage that
//! the pool keeps for later is not, but never takes more than the difference between peak and use.

use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::buffer::{SLACK_SHARE, free_bytes as bytes_kept, release, stored_bytes};
pub use crate::cpu::give_back_large_blocks;

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

/// Starts a new measurement of [`peak_bytes`] at what is in use now.
pub fn reset_peak() {
    PEAK.store(bytes_in_use(), Ordering::Relaxed);
}

pub(crate) fn count(bytes: usize) {
    let now = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

pub(crate) fn discount(bytes: usize) {
    IN_USE.fetch_sub(bytes, Ordering::Relaxed);
}
