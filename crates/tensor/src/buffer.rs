//! Storage that is handed back to a pool instead of to the system: a training step asks for the same sizes again and
//! again, and fresh pages cost more than the arithmetic done in them.
//!
//! What stays for the whole run (weights, their gradients and moments) is not from the pool: it is exactly as long as it
//! must be, and no part of the slack that the pool is allowed.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Element, memory};

/// What storage consists of: as many bytes as a cache line and the widest register have, and placed where one begins.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read as the elements of a buffer")] [u8; LINE_BYTES]);

const LINE_BYTES: usize = 64;

/// Shorter buffers (in bytes) are left to the allocator, which serves them from its own free lists.
const POOLED_FROM: usize = 1 << 14;

/// Free storage, whatever it held.
static POOL: Pool<Line> = Pool::new();

/// Storage may be larger than what was asked for, as long as all of it together is larger by at most this part of the most
/// that was asked for. Without any such slack, steps whose lengths differ a little would share no storage, and fresh pages
/// would cost 7 % of the time with small batches; without a limit, peaks were up to 40 % higher than they had to be.
pub const SLACK_SHARE: usize = 8;

/// Free storage.
///
/// What is free and what is in use together never exceed the most that was in use at one time: before new storage is
/// allocated, free storage that nobody could use gives way. Lengths that vary from step to step therefore cost no memory.
/// What is in use exceeds what was asked for by at most one part in [`SLACK_SHARE`] of the most that was asked for.
struct Pool<T>(Mutex<Shelves<T>>);

struct Shelves<T> {
    /// Free storage by its length.
    free: BTreeMap<usize, Vec<Vec<T>>>,
    free_elements: usize,
    /// Elements of the storage in use, and of what was asked for.
    used_elements: usize,
    asked_elements: usize,
    most_used: usize,
    most_asked: usize,
    /// How much more than that may be free.
    kept_elements: usize,
}

impl<T> Pool<T> {
    /// An empty pool.
    const fn new() -> Self {
        Self(Mutex::new(Shelves {
            free: BTreeMap::new(),
            free_elements: 0,
            used_elements: 0,
            asked_elements: 0,
            most_used: 0,
            most_asked: 0,
            kept_elements: 0,
        }))
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Storage of at least `class` elements and at most twice as many, or `None`: the caller then allocates `class`
    /// elements, which are counted as in use already.
    fn take(&self, class: usize) -> Option<Vec<T>> {
        let shelves = &mut *self.shelves();
        let slack = shelves.used_elements - shelves.asked_elements;
        shelves.asked_elements += class;
        shelves.most_asked = shelves.most_asked.max(shelves.asked_elements);
        let longest = class + class.min((shelves.most_asked / SLACK_SHARE).saturating_sub(slack));
        let fitting = shelves
            .free
            .range(class..=longest)
            .find(|(_, shelf)| !shelf.is_empty())
            .map(|(&len, _)| len);
        let found = fitting.and_then(|len| shelves.remove(len));
        shelves.used_elements += found.as_ref().map_or(class, Vec::len);
        shelves.most_used = shelves.most_used.max(shelves.used_elements);
        if found.is_none() {
            // Smallest first: a large one is more likely to be asked for as a whole again.
            let most = shelves.most_used + shelves.kept_elements;
            while shelves.used_elements + shelves.free_elements > most {
                let Some(len) = shelves
                    .free
                    .iter()
                    .find(|(_, shelf)| !shelf.is_empty())
                    .map(|(&len, _)| len)
                else {
                    break;
                };
                drop(shelves.remove(len));
            }
        }
        found
    }

    /// Takes back what served a request for `class` elements.
    fn give(&self, storage: Vec<T>, class: usize) {
        let shelves = &mut *self.shelves();
        shelves.asked_elements -= class;
        shelves.used_elements -= storage.len();
        shelves.free_elements += storage.len();
        shelves.free.entry(storage.len()).or_default().push(storage);
    }
}

/// Keeps so many bytes of free storage beyond what has been in use at one time. Prediction keeps nothing from one operation to
/// the next, so that its most is little, and what one operation frees would give way to what the next one takes.
pub fn keep_free(bytes: usize) {
    POOL.shelves().kept_elements = bytes / LINE_BYTES;
}

/// Bytes of storage that nobody uses.
pub fn free_bytes() -> usize {
    POOL.shelves().free_elements * LINE_BYTES
}

/// Frees what nobody uses and forgets how much was used at other times.
pub fn release() {
    let shelves = &mut *POOL.shelves();
    shelves.free.clear();
    shelves.free_elements = 0;
    shelves.most_used = shelves.used_elements;
    shelves.most_asked = shelves.asked_elements;
}

impl<T> Shelves<T> {
    fn remove(&mut self, len: usize) -> Option<Vec<T>> {
        let storage = self.free.get_mut(&len)?.pop()?;
        self.free_elements -= len;
        Some(storage)
    }
}

/// `len` elements out of storage rounded up to a size class, at the beginning of a cache line.
pub struct Buffer<T: Element> {
    storage: Vec<Line>,
    len: usize,
    /// Whether the storage goes back to the pool.
    pooled: bool,
    element: PhantomData<T>,
}

/// How many bytes storage for so many has: whole cache lines, and from some size on rounded up to one of eight steps between
/// two powers of two, so that at most an eighth is wasted and lengths that differ a little from step to step share storage.
pub fn stored_bytes(bytes: usize) -> usize {
    if bytes < POOLED_FROM {
        return bytes.next_multiple_of(LINE_BYTES);
    }
    bytes.next_multiple_of(1 << (bytes.ilog2() - 3))
}

/// Lines that serve a request for `len` elements, and whether they come from the pool.
fn class<T>(len: usize) -> (usize, bool) {
    let bytes = stored_bytes(len * size_of::<T>());
    (bytes / LINE_BYTES, bytes >= POOLED_FROM)
}

impl<T: Element> Buffer<T> {
    /// `len` elements whose values are whatever the last user left: the caller writes all of them.
    pub fn scratch(len: usize) -> Self {
        let (lines, pooled) = class::<T>(len);
        let storage = if pooled { POOL.take(lines) } else { None };
        Self::counted(
            storage.unwrap_or_else(|| vec![Line([0; LINE_BYTES]); lines]),
            len,
            pooled,
        )
    }

    /// `len` zeros that are to stay, in storage of their own.
    pub fn lasting_zeros(len: usize) -> Self {
        let lines = (len * size_of::<T>()).div_ceil(LINE_BYTES);
        Self::counted(vec![Line([0; LINE_BYTES]); lines], len, false)
    }

    fn counted(storage: Vec<Line>, len: usize, pooled: bool) -> Self {
        memory::count(size_of_val(storage.as_slice()));
        Self {
            storage,
            len,
            pooled,
            element: PhantomData,
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
    fn from(values: Vec<T>) -> Self {
        let mut buffer = Self::lasting_zeros(values.len());
        buffer.copy_from_slice(&values);
        buffer
    }
}

impl<T: Element> Clone for Buffer<T> {
    /// A copy of what was to stay is to stay too.
    fn clone(&self) -> Self {
        let mut copy = if self.pooled {
            Self::scratch(self.len)
        } else {
            Self::lasting_zeros(self.len)
        };
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        memory::discount(size_of_val(self.storage.as_slice()));
        if self.pooled {
            let (lines, _) = class::<T>(self.len);
            POOL.give(std::mem::take(&mut self.storage), lines);
        }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the storage has at least `len` elements' bytes (`class`), all of them written when it was made, at an
        // address that suits every element type; elements are plain numbers, of which every pattern of bits is one
        // (`Element` is sealed).
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().cast(), self.len) }
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_little_and_are_stable() {
        for bytes in [0, 1, 64, 65, 16_383, 16_384, 16_385, 100_000, 1 << 20, (1 << 20) + 1] {
            let class = stored_bytes(bytes);
            assert!(
                class >= bytes && class <= bytes + (bytes / 8).max(63),
                "{bytes} -> {class}"
            );
            assert!(class.is_multiple_of(LINE_BYTES) && stored_bytes(class) == class);
        }
    }

    #[test]
    fn buffers_begin_with_a_cache_line() {
        for len in [1, 100, 5000] {
            assert!((Buffer::<f32>::scratch(len).as_ptr() as usize).is_multiple_of(LINE_BYTES));
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

    #[test]
    fn changing_lengths_do_not_pile_up() {
        // A pool of its own: those of the element types are shared with other tests.
        let pool = Pool::<f32>::new();
        for length in (5000..50_000).step_by(1000) {
            let taken: Vec<Vec<f32>> = (0..3)
                .map(|_| pool.take(length).unwrap_or_else(|| vec![0.0; length]))
                .collect();
            taken.into_iter().for_each(|storage| pool.give(storage, length));
            let shelves = pool.shelves();
            assert_eq!((shelves.used_elements, shelves.asked_elements), (0, 0));
            assert!(
                shelves.free_elements <= shelves.most_used,
                "{} free",
                shelves.free_elements
            );
            assert!(shelves.most_used <= 3 * length + 3 * length / SLACK_SHARE);
        }
    }

    #[test]
    fn storage_in_use_is_little_more_than_what_was_asked_for() {
        let pool = Pool::<f32>::new();
        let take = |class: usize| (pool.take(class).unwrap_or_else(|| vec![0.0; class]), class);
        let give =
            |taken: Vec<(Vec<f32>, usize)>| taken.into_iter().for_each(|(storage, class)| pool.give(storage, class));
        give((0..40).map(|_| take(10_000)).collect());
        let smaller: Vec<_> = (0..40).map(|_| take(8000)).collect();
        assert!(
            smaller.iter().any(|(storage, _)| storage.len() == 10_000),
            "nothing is shared"
        );
        let used = pool.shelves().used_elements;
        assert!(
            used > 40 * 8000 && used <= 40 * 8000 + 40 * 10_000 / SLACK_SHARE,
            "{used}"
        );
        give(smaller);
    }
}
