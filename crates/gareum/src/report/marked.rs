//! Texts in which words are marked by how much they speak for something or against it.

use super::{Language, Text, escaped};

/// A text with marks, and what they are about.
#[derive(Debug)]
pub struct Marked {
    /// What the marks are about.
    pub title: Text,
    /// What stands beside it.
    pub note: Option<Text>,
    /// The text in pieces.
    pub pieces: Vec<Piece>,
}

/// A piece of a marked text.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The characters.
    pub text: Text,
    /// How it is shown.
    pub kind: PieceKind,
    /// Whether it belongs to what is framed.
    pub is_framed: bool,
}

/// How a piece is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum PieceKind {
    /// As it is.
    Plain,
    /// With a shade: from -1 (against) to 1 (for).
    Marked {
        /// How strong it is.
        weight: f64,
        /// What is said where one points at it.
        tip: String,
    },
    /// As what was left out.
    Faint,
    /// A line between two texts.
    Break,
}

impl Marked {
    /// The pieces in HTML, without what stands above them.
    pub(super) fn inline(&self, language: &Language<'_>) -> String {
        let mut html = String::new();
        let mut is_framed = false;
        for piece in &self.pieces {
            if piece.is_framed != is_framed {
                html.push_str(if is_framed {
                    "</span>"
                } else {
                    "<span class=\"framed\">"
                });
                is_framed = piece.is_framed;
            }
            let text = with_lines(&language.say(&piece.text));
            match &piece.kind {
                PieceKind::Plain => html.push_str(&text),
                PieceKind::Faint => html.push_str(&format!("<del>{text}</del>")),
                PieceKind::Break => html.push_str("<hr>"),
                PieceKind::Marked { weight, tip } => {
                    let side = if *weight < 0.0 { "against" } else { "for" };
                    let share = 100.0 * weight.abs().min(1.0);
                    let tip = match tip.is_empty() {
                        true => String::new(),
                        false => format!(" data-tip=\"{}\"", escaped(tip)),
                    };
                    html.push_str(&format!(
                        "<mark class=\"{side}\" style=\"--w:{share:.0}%\"{tip}>{text}</mark>"
                    ));
                }
            }
        }
        if is_framed {
            html.push_str("</span>");
        }
        html
    }
}

/// A text in HTML whose lines stay lines.
fn with_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("<br>")
}

#[cfg(test)]
mod tests {
    use super::super::data;
    use super::*;

    #[test]
    fn pieces_are_markup_and_texts_are_not() {
        let piece = |text: &str, kind, is_framed| Piece {
            text: data(text),
            kind,
            is_framed,
        };
        let marked = |weight| PieceKind::Marked {
            weight,
            tip: "\"<1".to_owned(),
        };
        let text = Marked {
            title: data("x"),
            note: None,
            pieces: vec![
                piece("<a", marked(0.5), true),
                piece(" ", PieceKind::Plain, true),
                piece("b", marked(-2.0), true),
                piece("\nc", PieceKind::Plain, false),
                piece("", PieceKind::Break, false),
                piece("d", PieceKind::Faint, true),
            ],
        };
        assert_eq!(
            text.inline(&Language::ENGLISH),
            "<span class=\"framed\"><mark class=\"for\" style=\"--w:50%\" data-tip=\"&quot;&lt;1\">&lt;a</mark> \
             <mark class=\"against\" style=\"--w:100%\" data-tip=\"&quot;&lt;1\">b</mark></span><br>c<hr>\
             <span class=\"framed\"><del>d</del></span>"
        );
    }
}
