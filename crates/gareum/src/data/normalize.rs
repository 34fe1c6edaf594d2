//! Changes to texts before a model sees them: none unless asked for, and the same in training and prediction.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

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

fn without_repeats(text: &str) -> String {
    const KEPT: usize = 2;
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

    proptest! {
        #[test]
        fn twice_is_once(text in "(\\PC|[ㄱ-ㅎ\u{1100}-\u{11FF}\u{200B}\0]){0,40}") {
            let once = normalize(&text, &ALL).into_owned();
            prop_assert_eq!(normalize(&once, &ALL), once.as_str());
        }
    }
}
