//! Changes to texts before a model sees them: none unless asked for, and the same in training and prediction.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc, is_nfc_quick};

/// One change to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormalizeStep {
    /// Unicode normalisation form C: Hangul typed on some systems comes as separate letters, which no vocabulary has.
    Nfc,
    /// Removes control characters (but for tabs and line breaks) and characters without width.
    Control,
    /// Shortens a character that repeats to two: `ㅋㅋㅋㅋㅋ` to `ㅋㅋ`, `!!!!` to `!!`. Digits stay.
    Repeats,
}

/// Takes the steps in the order of [`NormalizeStep`], whatever the order in the list.
pub fn normalize<'a>(text: &'a str, steps: &[NormalizeStep]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    if steps.contains(&NormalizeStep::Nfc) && !is_nfc(&text) {
        text = text.nfc().collect::<String>().into();
    }
    if steps.contains(&NormalizeStep::Control) && invisible_characters(&text) {
        text = text
            .chars()
            .filter(|character| !is_invisible(*character))
            .collect::<String>()
            .into();
    }
    if steps.contains(&NormalizeStep::Repeats) {
        let shortened = without_repeats(&text);
        if shortened.len() < text.len() {
            text = shortened.into();
        }
    }
    text
}

/// A changed text, and where each of its characters comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// What [`normalize`] makes of the text.
    pub text: String,
    /// For each character the characters of the text as it was, by their numbers. They are in order.
    pub origins: Vec<Range<usize>>,
}

/// As [`normalize`], for those who point into the text as it was.
///
/// Form C is taken of one piece at a time, where a piece begins with a character that composes with nothing before it: that gives what form C
/// of the whole text gives, and says where it comes from. Characters that were removed belong to nothing, those of a repeat that was
/// shortened to the last that is left.
pub fn normalize_aligned(text: &str, steps: &[NormalizeStep]) -> Aligned {
    let mut characters: Vec<(char, Range<usize>)> = Vec::with_capacity(text.len());
    if steps.contains(&NormalizeStep::Nfc) && !is_nfc(text) {
        let mut pieces: Vec<(String, Range<usize>)> = Vec::new();
        for (number, character) in text.chars().enumerate() {
            match pieces.last_mut().filter(|_| !begins_piece(character)) {
                Some((piece, range)) => {
                    piece.push(character);
                    range.end = number + 1;
                }
                None => pieces.push((character.to_string(), number..number + 1)),
            }
        }
        for (piece, range) in pieces {
            let composed: Vec<char> = piece.nfc().collect();
            let is_same = composed.iter().copied().eq(piece.chars());
            characters.extend(
                composed
                    .into_iter()
                    .enumerate()
                    .map(|(number, character)| match is_same {
                        true => (character, range.start + number..range.start + number + 1),
                        false => (character, range.clone()),
                    }),
            );
        }
    } else {
        let numbered = text.chars().enumerate();
        characters.extend(numbered.map(|(number, character)| (character, number..number + 1)));
    }
    if steps.contains(&NormalizeStep::Control) {
        characters.retain(|(character, _)| !is_invisible(*character));
    }
    if steps.contains(&NormalizeStep::Repeats) {
        let mut kept: Vec<(char, Range<usize>)> = Vec::with_capacity(characters.len());
        let mut run = 0;
        for (character, origin) in characters {
            run = if kept.last().is_some_and(|(last, _)| *last == character) {
                run + 1
            } else {
                1
            };
            match kept.last_mut() {
                Some((_, last)) if run > KEPT && !character.is_ascii_digit() => last.end = origin.end,
                _ => kept.push((character, origin)),
            }
        }
        characters = kept;
    }
    let (text, origins) = characters.into_iter().unzip();
    Aligned { text, origins }
}

/// Whether form C never joins a character with what stands before it.
fn begins_piece(character: char) -> bool {
    let mut first = character;
    let mut is_first = true;
    decompose_canonical(character, |part| {
        if is_first {
            first = part;
            is_first = false;
        }
    });
    canonical_combining_class(first) == 0 && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}

/// Whether [`NormalizeStep::Control`] would change a text.
pub(crate) fn invisible_characters(text: &str) -> bool {
    text.chars().any(is_invisible)
}

/// The joiners U+200C and U+200D are left alone: emoji and some scripts are spelled with them.
fn is_invisible(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' => true,
        '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => true,
        other => other.is_control(),
    }
}

/// Characters that are left of a repeat.
const KEPT: usize = 2;

fn without_repeats(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut last, mut run) = (None, 0);
    for character in text.chars() {
        run = if last == Some(character) { run + 1 } else { 1 };
        last = Some(character);
        if run <= KEPT || character.is_ascii_digit() {
            kept.push(character);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [NormalizeStep; 3] = [NormalizeStep::Nfc, NormalizeStep::Control, NormalizeStep::Repeats];

    #[test]
    fn each_step_does_one_thing() {
        for (step, text, expected) in [
            (NormalizeStep::Nfc, "\u{1112}\u{1161}\u{11AB}글", "한글"),
            (NormalizeStep::Control, "a\0b\u{200B}c\td\n\u{FEFF}", "abc\td\n"),
            (NormalizeStep::Control, "👩\u{200D}👧", "👩\u{200D}👧"),
            (
                NormalizeStep::Repeats,
                "ㅋㅋㅋㅋㅋ 좋아요!!!! 10000원",
                "ㅋㅋ 좋아요!! 10000원",
            ),
        ] {
            assert_eq!(normalize(text, &[step]), expected);
            assert_eq!(normalize(text, &[]), text);
        }
        assert!(matches!(normalize("보통 글", &ALL), Cow::Borrowed(_)));
    }

    #[test]
    fn each_character_knows_its_origin() {
        let aligned = normalize_aligned("\u{1112}\u{1161}\u{11AB}글\0 ㅋㅋㅋㅋ", &ALL);
        assert_eq!(aligned.text, "한글 ㅋㅋ");
        assert_eq!(aligned.origins, [0..3, 3..4, 5..6, 6..7, 7..10]);
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "(\\PC|[ㄱ-ㅎ\u{1100}-\u{11FF}\u{200B}\0]){0,40}") {
            let once = normalize(&text, &ALL).into_owned();
            prop_assert_eq!(normalize(&once, &ALL), once.as_str());
        }

        #[test]
        fn an_aligned_text_is_the_same_text(
            text in "(\\PC|[ㄱ-ㅎ\u{1100}-\u{11FF}\u{200B}\0a]|[\u{300}-\u{36F}]|[\u{F71}-\u{F84}]|[각가e1]){0,30}",
            steps in prop::sample::subsequence(ALL.to_vec(), 0..=3),
        ) {
            let aligned = normalize_aligned(&text, &steps);
            prop_assert_eq!(aligned.text.as_str(), &*normalize(&text, &steps));
            prop_assert_eq!(aligned.text.chars().count(), aligned.origins.len());
            let mut last = 0..0;
            for origin in aligned.origins {
                prop_assert!(origin.start < origin.end && origin.start >= last.start && origin.end >= last.end);
                last = origin;
            }
            prop_assert!(last.end <= text.chars().count());
        }
    }
}
