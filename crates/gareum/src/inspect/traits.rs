//! What is odd about a text: traces of other formats, encodings and keyboards that a person would stumble over.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use unicode_normalization::is_nfc;

use crate::data::invisible_characters;

/// Rows that are named for each trait.
const SHOWN_ROWS: usize = 3;
/// Times that a character must stand in a row to be told.
const REPEATS: usize = 5;

/// Something odd about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextTrait {
    /// U+FFFD stands where a character was lost in an earlier conversion.
    ReplacementCharacter,
    /// Not in Unicode normal form C: Hangul as separate letters, for example.
    NotNfc,
    /// Control characters, or characters without width.
    InvisibleCharacters,
    /// Tags or entities of HTML, also damaged ones such as `#39;`.
    Markup,
    /// Doubled quotes inside the text, as repeated conversions to csv leave them.
    DoubledQuotes,
    /// Backslashes.
    Backslashes,
    /// Line breaks.
    LineBreaks,
    /// Addresses of web pages.
    WebAddresses,
    /// E-mail addresses, telephone or resident registration numbers.
    PersonalData,
    /// Placeholders such as `[NAME]`.
    Placeholders,
    /// Chinese characters among Hangul.
    Hanja,
    /// A character that stands five times in a row or more.
    Repeats,
    /// No letter and no digit.
    NoWords,
    /// A single character.
    OneCharacter,
}

impl TextTrait {
    /// All of them, the most harmful first.
    pub const ALL: [Self; 14] = [
        Self::ReplacementCharacter,
        Self::NotNfc,
        Self::InvisibleCharacters,
        Self::Markup,
        Self::DoubledQuotes,
        Self::Backslashes,
        Self::LineBreaks,
        Self::WebAddresses,
        Self::PersonalData,
        Self::Placeholders,
        Self::Hanja,
        Self::Repeats,
        Self::NoWords,
        Self::OneCharacter,
    ];

    /// What the texts have, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ReplacementCharacter => "characters that were lost in an earlier conversion (U+FFFD)",
            Self::NotNfc => "characters that are not in Unicode normal form C",
            Self::InvisibleCharacters => "invisible characters",
            Self::Markup => "remains of HTML",
            Self::DoubledQuotes => "doubled quotes inside the text",
            Self::Backslashes => "backslashes",
            Self::LineBreaks => "line breaks",
            Self::WebAddresses => "web addresses",
            Self::PersonalData => "e-mail addresses, telephone or registration numbers",
            Self::Placeholders => "placeholders in brackets",
            Self::Hanja => "Chinese characters among Hangul",
            Self::Repeats => "a character five times in a row or more",
            Self::NoWords => "no letter and no digit",
            Self::OneCharacter => "a single character",
        }
    }

    fn is_in(self, text: &str) -> bool {
        static MARKUP: LazyLock<Option<Regex>> =
            LazyLock::new(|| pattern(r"</?[A-Za-z][^<>]{0,200}>|&#?\w{2,8};|#\d{2,4};"));
        static EMAIL: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"[\w.+-]+@[\w-]+\.[\w.-]+"));
        static NUMBER: LazyLock<Option<Regex>> =
            LazyLock::new(|| pattern(r"(?:^|\D)(?:01[016789][- .]?\d{3,4}[- .]?\d{4}|\d{6}-[1-4]\d{6})(?:\D|$)"));
        static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"\[[A-Z][A-Z_]+\]"));
        let matches = |regex: &LazyLock<Option<Regex>>| regex.as_ref().is_some_and(|regex| regex.is_match(text));
        match self {
            Self::ReplacementCharacter => text.contains('\u{FFFD}'),
            Self::NotNfc => !is_nfc(text),
            Self::InvisibleCharacters => invisible_characters(text),
            Self::Markup => text.contains(['<', ';']) && matches(&MARKUP),
            Self::DoubledQuotes => text.contains("\"\""),
            Self::Backslashes => text.contains('\\'),
            Self::LineBreaks => text.contains('\n'),
            Self::WebAddresses => ["http://", "https://", "www."].iter().any(|start| text.contains(start)),
            Self::PersonalData => text.contains('@') && matches(&EMAIL) || text.contains('0') && matches(&NUMBER),
            Self::Placeholders => text.contains('[') && matches(&PLACEHOLDER),
            Self::Hanja => text.chars().any(is_han) && text.chars().any(is_hangul),
            Self::Repeats => has_repeats(text),
            Self::NoWords => !text.chars().any(char::is_alphanumeric),
            Self::OneCharacter => {
                let mut characters = text.trim().chars();
                characters.next().is_some() && characters.next().is_none()
            }
        }
    }
}

/// A pattern of ours; that all of them can be read is tested.
fn pattern(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

pub(super) fn is_hangul(character: char) -> bool {
    matches!(character, '\u{AC00}'..='\u{D7A3}' | '\u{1100}'..='\u{11FF}' | '\u{3131}'..='\u{318E}')
}

pub(super) fn is_han(character: char) -> bool {
    matches!(character, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{F900}'..='\u{FAFF}')
}

fn has_repeats(text: &str) -> bool {
    let (mut last, mut run) = (None, 0);
    text.chars().any(|character| {
        run = if last == Some(character) { run + 1 } else { 1 };
        last = Some(character);
        run >= REPEATS && !character.is_whitespace()
    })
}

/// The traits of one text or pair, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits(u32);

impl Traits {
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let bits = texts.flat_map(|text| (0..).zip(TextTrait::ALL).filter(|(_, kind)| kind.is_in(text)));
        Self(bits.fold(0, |bits, (bit, _)| bits | 1 << bit))
    }

    fn has(self, bit: usize) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// How many texts have each trait.
#[derive(Clone, Debug, Default)]
pub(super) struct TraitTally {
    counts: [u64; TextTrait::ALL.len()],
    rows: [Vec<u64>; TextTrait::ALL.len()],
}

impl TraitTally {
    pub fn add(&mut self, traits: Traits, row: u64) {
        for bit in (0..TextTrait::ALL.len()).filter(|bit| traits.has(*bit)) {
            self.counts[bit] += 1;
            if self.rows[bit].len() < SHOWN_ROWS {
                self.rows[bit].push(row);
            }
        }
    }

    /// Those that occur.
    pub fn report(self) -> Vec<TraitCount> {
        let found = TextTrait::ALL.into_iter().zip(self.counts).zip(self.rows);
        found
            .filter(|((_, count), _)| *count > 0)
            .map(|((kind, texts), rows)| TraitCount { kind, texts, rows })
            .collect()
    }
}

/// Texts with a trait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraitCount {
    /// What they have.
    pub kind: TextTrait,
    /// How many.
    pub texts: u64,
    /// Up to three rows.
    pub rows: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trait_is_seen() {
        let check = |text: &str, expected: &[TextTrait]| {
            let found: Vec<TextTrait> = TextTrait::ALL.into_iter().filter(|kind| kind.is_in(text)).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("정말 좋은 영화였다. 3 < 5; a > b & c", &[]);
        check("문\u{FFFD}자", &[TextTrait::ReplacementCharacter]);
        check("좋\u{1100}\u{1161}", &[TextTrait::NotNfc]);
        check("a\u{200B}b", &[TextTrait::InvisibleCharacters]);
        for markup in ["a &lt;b&gt; c", "it #39;s", "<br/>next", "x</p>", "&#39;"] {
            check(markup, &[TextTrait::Markup]);
        }
        check("say \"\"yes\"\"", &[TextTrait::DoubledQuotes]);
        check("a\\b", &[TextTrait::Backslashes]);
        check("a\nb", &[TextTrait::LineBreaks]);
        check("see https://a.b", &[TextTrait::WebAddresses]);
        for personal in ["me@example.com", "010-1234-5678로 전화", "900101-1234567"] {
            check(personal, &[TextTrait::PersonalData]);
        }
        check("hi [NAME]", &[TextTrait::Placeholders]);
        check("美 대선", &[TextTrait::Hanja]);
        check("美國", &[]);
        check("ㅋㅋㅋㅋㅋ", &[TextTrait::Repeats]);
        check("??", &[TextTrait::NoWords]);
        check(" 굿 ", &[TextTrait::OneCharacter]);
    }

    #[test]
    fn counts_and_rows() {
        let mut tally = TraitTally::default();
        for row in 1..=5 {
            tally.add(Traits::of(["a\\b", "c"].into_iter()), row);
        }
        tally.add(Traits::of(["fine"].into_iter()), 6);
        assert_eq!(
            tally.report(),
            [
                TraitCount {
                    kind: TextTrait::Backslashes,
                    texts: 5,
                    rows: vec![1, 2, 3]
                },
                TraitCount {
                    kind: TextTrait::OneCharacter,
                    texts: 5,
                    rows: vec![1, 2, 3]
                }
            ]
        );
    }
}
