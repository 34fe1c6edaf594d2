//! Answers to texts that come again: two maps, of which the older is thrown away when the newer is half of what is allowed. What is found in
//! the older moves to the newer, so what is asked for often stays.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use gareum::data::Input;
use gareum::predict::Prediction;

/// What a text is besides itself: the model that answers, and how it is cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// [`crate::batcher::Engine::generation`].
    pub generation: u64,
    /// Whether the end of a long text is kept instead of its beginning.
    pub keeps_end: bool,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
}

impl Key {
    /// Of a text for a model.
    pub fn new(generation: u64, keeps_end: bool, input: &Input) -> Self {
        Self {
            generation,
            keeps_end,
            text: input.text.clone(),
            text_pair: input.text_pair.clone(),
        }
    }
}

/// What is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The answer.
    pub prediction: Prediction,
    /// Tokens that the model read.
    pub tokens: usize,
    /// Tokens of the whole text.
    pub full_length: usize,
}

/// Kept answers.
#[derive(Debug)]
pub struct Cache {
    max_bytes: usize,
    maps: Mutex<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    new: HashMap<Key, Kept>,
    old: HashMap<Key, Kept>,
    new_bytes: usize,
    old_bytes: usize,
}

impl Cache {
    /// Of at most so many bytes; 0 keeps nothing.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            maps: Mutex::default(),
        }
    }

    /// Whether nothing is kept.
    pub fn is_off(&self) -> bool {
        self.max_bytes == 0
    }

    /// What was kept of a text.
    pub fn get(&self, key: &Key) -> Option<Kept> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = maps.new.get(key) {
            return Some(kept.clone());
        }
        let (key, kept) = maps.old.remove_entry(key)?;
        maps.old_bytes -= bytes(&key, &kept);
        self.put(&mut maps, key, kept.clone());
        Some(kept)
    }

    /// Keeps an answer.
    pub fn insert(&self, key: Key, kept: Kept) {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(&mut maps, key, kept);
    }

    fn put(&self, maps: &mut Maps, key: Key, kept: Kept) {
        let more = bytes(&key, &kept);
        if more > self.max_bytes / 2 {
            return;
        }
        if maps.new_bytes + more > self.max_bytes / 2 {
            maps.old = std::mem::take(&mut maps.new);
            (maps.old_bytes, maps.new_bytes) = (maps.new_bytes, 0);
        }
        maps.new_bytes += more;
        if let Some(before) = maps.new.insert(key, kept.clone()) {
            // Asked for twice at the same time: counted once. Equal texts have answers of equal size.
            maps.new_bytes -= more;
            debug_assert_eq!(before.prediction.scores.len(), kept.prediction.scores.len());
        }
    }

    /// About how much is kept.
    pub fn bytes(&self) -> usize {
        let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.new_bytes + maps.old_bytes
    }
}

/// With what maps and allocations add.
fn bytes(key: &Key, kept: &Kept) -> usize {
    let prediction = &kept.prediction;
    let values = 4 * prediction.logits.len() + 8 * prediction.scores.len() + 4 * prediction.classes.len();
    let texts = key.text.len() + key.text_pair.as_ref().map_or(0, String::len);
    2 * (size_of::<Key>() + size_of::<Kept>()) + values + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: usize) -> Key {
        let text = format!("text {text:06}");
        Key::new(0, false, &Input { text, text_pair: None })
    }

    fn kept() -> Kept {
        Kept {
            prediction: Prediction {
                logits: vec![0.0; 4],
                scores: vec![0.25; 4],
                classes: vec![0],
                abstained: false,
            },
            tokens: 3,
            full_length: 3,
        }
    }

    #[test]
    fn it_never_grows_beyond_its_bytes() {
        let cache = Cache::new(50_000);
        for text in 0..2000 {
            cache.insert(key(text), kept());
            assert_eq!(cache.get(&key(0)), Some(kept()), "asked for after each of {text}");
            assert!(cache.bytes() <= 50_000);
        }
        assert_eq!(cache.get(&key(5)), None, "not asked for since");
        assert_eq!(cache.get(&key(1999)), Some(kept()));
        assert_eq!(
            cache.get(&Key {
                generation: 1,
                ..key(1999)
            }),
            None,
            "of another model"
        );
        let maps = cache.maps.lock().unwrap();
        let sum = |map: &HashMap<Key, Kept>| map.iter().map(|(key, kept)| bytes(key, kept)).sum::<usize>();
        assert_eq!((sum(&maps.new), sum(&maps.old)), (maps.new_bytes, maps.old_bytes));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let cache = Cache::new(100);
        cache.insert(key(1), kept());
        assert_eq!((cache.get(&key(1)), cache.bytes()), (None, 0));
    }
}
