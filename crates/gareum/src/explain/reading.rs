//! A text as the model reads it: its words, and the tokens that stand for them.

use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use super::{ExplainError, Units, particles};
use crate::data::{Input, normalize_aligned};
use crate::predict::{PredictError, Predictor};
use crate::tokens::{Encoded, TokenSpan};

/// A part of a text, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Characters {
    /// Number of the first one.
    pub start: usize,
    /// Number of the one behind the last.
    pub end: usize,
}

impl Characters {
    /// How many characters both have.
    fn shared(self, other: Self) -> usize {
        self.end.min(other.end).saturating_sub(self.start.max(other.start))
    }

    /// What of it stands in `part`, counted from there.
    fn within(self, part: Self) -> Option<Self> {
        (self.shared(part) > 0).then(|| Self {
            start: self.start.max(part.start) - part.start,
            end: self.end.min(part.end) - part.start,
        })
    }
}

/// A text with its tokens and words.
pub(super) struct Reading<'a> {
    pub input: &'a Input,
    pub encoded: Encoded,
    /// For each token whether it stands for something of the texts, rather than framing them.
    pub is_text: Vec<bool>,
    /// Those that were read.
    pub words: Vec<ReadWord>,
    /// What was cut off of the first and of the second text.
    pub unread: [Option<Characters>; 2],
}

/// A word with its tokens.
pub(super) struct ReadWord {
    pub place: Characters,
    pub text: String,
    /// Whether it stands in the second text.
    pub pair: bool,
    /// Numbers of the tokens with anything of it, ascending, and which part of each token's characters in words is this word's.
    pub tokens: Vec<(usize, f64)>,
}

impl<'a> Reading<'a> {
    /// Reads texts on all threads.
    pub fn all(predictor: &Predictor, inputs: &'a [Input], units: Units) -> Result<Vec<Self>, ExplainError> {
        let read = |input| Self::of(predictor, input, units);
        inputs.par_iter().map(read).collect()
    }

    /// Keeps the words in a part of one text, as if it were the text.
    pub fn keep(&mut self, is_pair: bool, part: Characters) {
        let unread = self.unread[usize::from(is_pair)];
        self.unread = [unread.and_then(|unread| unread.within(part)), None];
        self.words.retain_mut(|word| {
            let Some(place) = word.place.within(part).filter(|_| word.pair == is_pair) else {
                return false;
            };
            let before = part.start.saturating_sub(word.place.start);
            word.text = word.text.chars().skip(before).take(place.end - place.start).collect();
            (word.place, word.pair) = (place, false);
            true
        });
    }

    fn of(predictor: &Predictor, input: &'a Input, units: Units) -> Result<Self, ExplainError> {
        let sources = [Some(&input.text), input.text_pair.as_ref()];
        let sources = sources.map(|text| text.map(|text| Source::new(text, predictor)));
        let [first, second] = &sources;
        let located = predictor
            .tokenizer()
            .encode_located(
                first.as_ref().map_or("", |source| source.text.as_str()),
                second.as_ref().map(|source| source.text.as_str()),
                predictor.truncation(),
            )
            .map_err(PredictError::from)?;
        let place = |text: usize, bytes: &Range<usize>| sources.get(text)?.as_ref()?.place(bytes);
        let unread = [0, 1].map(|text| place(text, located.unread[text].as_ref()?));
        let mut words: Vec<ReadWord> = Vec::new();
        for (pair, text) in [(false, Some(&input.text)), (true, input.text_pair.as_ref())] {
            words.extend(
                text.iter()
                    .flat_map(|text| split(text, units))
                    .map(|(place, text)| ReadWord {
                        place,
                        text,
                        pair,
                        tokens: Vec::new(),
                    }),
            );
        }
        for (number, span) in located.spans.iter().enumerate() {
            let Some(TokenSpan { text, bytes }) = span else {
                continue;
            };
            let Some(place) = place(*text, bytes) else { continue };
            let pair = *text == 1;
            let first = words.partition_point(|word| (word.pair, word.place.end) <= (pair, place.start));
            let touched = words[first..]
                .iter()
                .take_while(|word| word.pair == pair && word.place.start < place.end);
            let shares: Vec<usize> = touched.map(|word| word.place.shared(place)).collect();
            let all: usize = shares.iter().sum();
            for (word, share) in words[first..].iter_mut().zip(shares) {
                word.tokens.push((number, share as f64 / all as f64));
            }
        }
        // One of which nothing was read is not told. A word without tokens elsewhere is one that the tokenizer makes nothing of.
        words.retain(|word| {
            let unread = unread[usize::from(word.pair)];
            !word.tokens.is_empty() || unread.is_none_or(|unread| unread.shared(word.place) == 0)
        });
        Ok(Self {
            input,
            is_text: located.spans.iter().map(Option::is_some).collect(),
            encoded: located.encoded,
            words,
            unread,
        })
    }
}

/// A text as the tokenizer gets it, and where it comes from.
struct Source {
    text: String,
    /// For each byte the number of its character.
    characters: Vec<usize>,
    origins: Vec<Range<usize>>,
}

impl Source {
    fn new(text: &str, predictor: &Predictor) -> Self {
        let aligned = normalize_aligned(text, predictor.normalize_steps());
        let numbered = aligned.text.chars().enumerate();
        let characters = numbered.flat_map(|(number, character)| std::iter::repeat_n(number, character.len_utf8()));
        Self {
            characters: characters.collect(),
            text: aligned.text,
            origins: aligned.origins,
        }
    }

    /// The characters of the original that bytes of the text stand for; none for no bytes.
    fn place(&self, bytes: &Range<usize>) -> Option<Characters> {
        let last = bytes.end.min(self.characters.len()).checked_sub(1)?;
        if bytes.start > last {
            return None;
        }
        let [first, last] = [bytes.start, last].map(|byte| &self.origins[self.characters[byte]]);
        Some(Characters {
            start: first.start,
            end: last.end,
        })
    }
}

/// The words of a text, in order.
fn split(text: &str, units: Units) -> Vec<(Characters, String)> {
    let mut words = Vec::new();
    let mut word: Vec<char> = Vec::new();
    let mut end = 0;
    let mut finish = |word: &mut Vec<char>, end: usize| {
        let start = end - word.len();
        let cut = match units {
            Units::Words => word.len(),
            Units::Particles => particles::cut(word),
        };
        for range in [0..cut, cut..word.len()] {
            if !range.is_empty() {
                let place = Characters {
                    start: start + range.start,
                    end: start + range.end,
                };
                words.push((place, word[range].iter().collect()));
            }
        }
        word.clear();
    };
    for character in text.chars() {
        if character.is_whitespace() {
            finish(&mut word, end);
        } else {
            word.push(character);
        }
        end += 1;
    }
    finish(&mut word, end);
    words
}
