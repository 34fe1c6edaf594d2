//! Storage that is handed back to a pool instead of to the system: a training step asks for the same sizes again and
//! again, and fresh pages cost more than the arithmetic done in them.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use crate::Element;

/// Shorter buffers are left to the allocator, which serves them from its own free lists.
const POOLED_FROM: usize = 1 << 12;

/// Free storage of one element type, by size class.
pub struct Pool<T>(Mutex<Option<HashMap<usize, Vec<Vec<T>>>>>);

impl<T> Pool<T> {
    /// An empty pool.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn take(&self, class: usize) -> Option<Vec<T>> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.as_mut()?.get_mut(&class)?.pop()
    }

    fn give(&self, data: Vec<T>) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.get_or_insert_default().entry(data.len()).or_default().push(data);
    }
}

/// `len` elements out of storage rounded up to a size class.
pub struct Buffer<T: Element> {
    storage: Vec<T>,
    len: usize,
}

/// Rounds up to one of eight steps between two powers of two: at most an eighth is wasted, and lengths that differ a
/// little from step to step share storage.
fn size_class(len: usize) -> usize {
    if len < POOLED_FROM {
        return len;
    }
    let step = 1usize << (len.ilog2() - 3);
    len.div_ceil(step) * step
}

impl<T: Element> Buffer<T> {
    /// `len` elements whose values are whatever the last user left: the caller writes all of them.
    pub fn scratch(len: usize) -> Self {
        let class = size_class(len);
        let pooled = if class >= POOLED_FROM {
            T::pool().take(class)
        } else {
            None
        };
        Self {
            storage: pooled.unwrap_or_else(|| vec![T::default(); class]),
            len,
        }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::scratch(len);
        buffer.fill(T::default());
        buffer
    }
}

impl<T: Element> From<Vec<T>> for Buffer<T> {
    fn from(storage: Vec<T>) -> Self {
        let len = storage.len();
        Self { storage, len }
    }
}

impl<T: Element> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::scratch(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        let len = self.storage.len();
        if len >= POOLED_FROM && size_class(len) == len {
            T::pool().give(std::mem::take(&mut self.storage));
        }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.storage[..self.len]
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.storage[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_little_and_are_stable() {
        for len in [0, 1, 4095, 4096, 4097, 100_000, 1 << 20, (1 << 20) + 1] {
            let class = size_class(len);
            assert!(class >= len && class <= len + len / 8 + 1, "{len} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }

    #[test]
    fn zeros_are_zero_even_in_reused_storage() {
        for _ in 0..2 {
            let mut buffer = Buffer::<f32>::zeros(5000);
            assert!(buffer.iter().all(|&value| value == 0.0));
            buffer.fill(7.0);
        }
    }
}
