//! Reports: pages of HTML that need nothing but themselves, and plots in SVG.
//!
//! A report is put together from typed parts ([`Page`], [`Table`], [`Figure`], the [`plots`]) and written by [`Page::render`]. Two things are
//! seen to there and nowhere else: all text is escaped, and words of ours ([`words`]) are translated while data ([`data`]) never is. Colours
//! are roles in `style.css`, by which a page is light or dark.
//!
//! Not here: what a report says, which stands beside what it is about (`inspect/report.rs`).

mod markdown;
mod marked;
mod page;
pub mod plots;
mod scale;
mod svg;

use std::borrow::Cow;

pub use marked::{Marked, Piece, PieceKind};
pub use page::{Block, Column, Figure, Level, Notice, Page, Section, Table, Tile};
pub use scale::{grouped, shown_number};
pub use svg::Drawing;

/// A text of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Said by us, in English; it is translated.
    Words(String),
    /// Taken from files; it is shown as it is.
    Data(String),
}

/// A text of ours, in English.
pub fn words(text: impl Into<String>) -> Text {
    Text::Words(text.into())
}

/// A text from outside.
pub fn data(text: impl Into<String>) -> Text {
    Text::Data(text.into())
}

/// The language of a report.
#[derive(Clone, Copy)]
pub struct Language<'a> {
    /// Its code in HTML: `en`, `ko`.
    pub code: &'a str,
    /// What gives the words in it.
    pub translate: &'a dyn Fn(&str) -> String,
}

impl Language<'_> {
    /// The words as they stand.
    pub const ENGLISH: Language<'static> = Language {
        code: "en",
        translate: &|text| text.to_owned(),
    };

    fn say<'t>(&self, text: &'t Text) -> Cow<'t, str> {
        match text {
            Text::Words(words) => Cow::Owned((self.translate)(words)),
            Text::Data(data) => Cow::Borrowed(data),
        }
    }

    fn say_words(&self, words: &str) -> String {
        (self.translate)(words)
    }
}

impl std::fmt::Debug for Language<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Language")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// A text in HTML, in which nothing of it is markup. Control characters, which no page may have, become U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            control if control.is_control() => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        let text = "<script>alert('x & \"y\"')</script>\u{0}";
        assert_eq!(
            escaped(text),
            "&lt;script&gt;alert(&#39;x &amp; &quot;y&quot;&#39;)&lt;/script&gt;\u{FFFD}"
        );
    }

    #[test]
    fn data_is_not_translated() {
        let language = Language {
            code: "ko",
            translate: &|text| text.replace("rows", "행"),
        };
        assert_eq!(language.say(&words("rows")), "행");
        assert_eq!(language.say(&data("rows")), "rows");
    }
}
