//! Drawings: a few kinds of marks as SVG. What they look like is in `style.css`, by their class.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use super::{Language, escaped};

/// Size of letters in a drawing.
pub(super) const LETTERS: f64 = 12.0;
/// Colours for series, one after the other; then they come again.
pub(super) const SERIES: usize = 7;
const STYLE: &str = include_str!("style.css");

/// A finished or growing picture.
#[derive(Clone, Debug)]
pub struct Drawing {
    width: f64,
    height: f64,
    marks: String,
    label: String,
}

/// How a text stands to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    /// An empty picture; `label` says in words what it shows.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        Self {
            width,
            height,
            marks: String::new(),
            label: label.to_owned(),
        }
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    fn push(&mut self, mark: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.marks.write_fmt(mark);
    }

    /// A closed mark, with what is said when one points at it.
    fn close(&mut self, name: &str, tip: &str) {
        match tip {
            "" => self.marks.push_str("/>"),
            tip => self.push(format_args!("><title>{}</title></{name}>", escaped(tip))),
        }
    }

    pub(super) fn rectangle(&mut self, class: &str, [x, y, width, height]: [f64; 4], tip: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.push(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}""#
        ));
        self.close("rect", tip);
    }

    /// A cell of a heat map: the stronger the more colour, from 0 to 1.
    pub(super) fn cell(&mut self, [x, y, width, height]: [f64; 4], strength: f64, tip: &str) {
        let strength = strength.clamp(0.0, 1.0);
        self.push(format_args!(
            r#"<rect class="cell" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill-opacity="{strength:.3}""#
        ));
        self.close("rect", tip);
    }

    pub(super) fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4], tip: &str) {
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}""#
        ));
        self.close("line", tip);
    }

    pub(super) fn circle(&mut self, class: &str, [x, y]: [f64; 2], radius: f64, tip: &str) {
        self.push(format_args!(
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}""#
        ));
        self.close("circle", tip);
    }

    pub(super) fn path(&mut self, class: &str, points: &[[f64; 2]], is_closed: bool, tip: &str) {
        if points.is_empty() {
            return;
        }
        self.push(format_args!(r#"<path class="{class}" d=""#));
        for (place, [x, y]) in points.iter().enumerate() {
            let letter = if place == 0 { 'M' } else { 'L' };
            self.push(format_args!("{letter}{x:.1} {y:.1}"));
        }
        self.marks.push_str(if is_closed { "Z\"" } else { "\"" });
        self.close("path", tip);
    }

    pub(super) fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = anchor_name(anchor);
        self.push(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        ));
    }

    /// A text that runs upwards, around `[x, y]`.
    pub(super) fn text_upwards(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = anchor_name(anchor);
        self.push(format_args!(
            r#"<text class="{class}" transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        ));
    }

    /// Names of series with their colours, from `[x, y]` on, in as many lines as it takes; returns where they end.
    pub(super) fn legend(&mut self, [left, top]: [f64; 2], names: &[String]) -> f64 {
        let (mut x, mut y) = (left, top);
        for (series, name) in names.iter().enumerate() {
            let name = cut(name, self.width - left - 24.0);
            let width = text_width(&name) + 30.0;
            if x > left && x + width > self.width {
                (x, y) = (left, y + 18.0);
            }
            self.rectangle(&format!("fill s{}", series % SERIES), [x, y - 9.0, 10.0, 10.0], "");
            self.text("", [x + 15.0, y], Anchor::Start, &name);
            x += width;
        }
        y + 10.0
    }

    /// The picture as a part of a page.
    pub(super) fn inline(&self) -> String {
        let (width, height) = (self.width, self.height);
        // Wide pictures are moved sideways on a narrow screen instead of becoming too small to read.
        let least = if width > 500.0 {
            format!("min-width:{width:.0}px;")
        } else {
            String::new()
        };
        format!(
            r#"<svg viewBox="0 0 {width:.0} {height:.0}" style="{least}max-width:{:.0}px" role="img" aria-label="{}">{}</svg>"#,
            width * 1.2,
            escaped(&self.label),
            self.marks
        )
    }

    /// The picture as a file of its own.
    pub fn to_file(&self) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" class="file" role="img" aria-label="{}"><style>{STYLE}</style><rect class="paper" width="100%" height="100%"/>{}</svg>
"#,
            escaped(&self.label),
            self.marks
        )
    }
}

fn anchor_name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    }
}

fn letter_width(letter: char) -> f64 {
    match letter.width().unwrap_or(0) {
        0 => 0.0,
        1 => 0.57 * LETTERS,
        _ => LETTERS,
    }
}

/// About how wide a text is, which no browser has measured yet.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().map(letter_width).sum()
}

/// A text cut to a width.
pub(super) fn cut(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let mut used = letter_width('…');
    let fits = |letter: &char| {
        used += letter_width(*letter);
        used <= width
    };
    text.chars().take_while(fits).collect::<String>() + "…"
}

/// A part of the picture with axes at its left and its bottom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Frame {
    /// Lines across at `values` of the upward axis, with their names.
    pub fn rows(&self, drawing: &mut Drawing, values: &[(f64, String)]) {
        for (y, name) in values {
            drawing.line("grid", [self.left, *y, self.right, *y], "");
            drawing.text("tick", [self.left - 6.0, y + 4.0], Anchor::End, name);
        }
    }

    /// Names below the frame, with lines up.
    pub fn columns(&self, drawing: &mut Drawing, values: &[(f64, String)]) {
        for (x, name) in values {
            drawing.line("grid", [*x, self.top, *x, self.bottom], "");
            drawing.text("tick", [*x, self.bottom + 16.0], Anchor::Middle, name);
        }
    }

    /// What the axes mean, and the line at the bottom.
    pub fn titles(
        &self,
        drawing: &mut Drawing,
        language: &Language<'_>,
        x: Option<&super::Text>,
        y: Option<&super::Text>,
    ) {
        drawing.line("axis", [self.left, self.bottom, self.right, self.bottom], "");
        if let Some(x) = x {
            let middle = (self.left + self.right) / 2.0;
            drawing.text("title", [middle, self.bottom + 34.0], Anchor::Middle, &language.say(x));
        }
        if let Some(y) = y {
            let middle = (self.top + self.bottom) / 2.0;
            drawing.text_upwards("title", [12.0, middle], Anchor::Middle, &language.say(y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_width() {
        assert_eq!(cut("short", 100.0), "short");
        let cut = cut("아주 긴 한국어 라벨 이름입니다", 80.0);
        assert!(cut.ends_with('…') && text_width(&cut) <= 80.0, "{cut}");
        assert!(text_width("가나") > text_width("ab"));
    }

    #[test]
    fn marks_are_escaped() {
        let mut drawing = Drawing::new(100.0, 50.0, "a \"b\"");
        drawing.rectangle("fill s0", [0.0, 0.0, -3.0, 5.0], "<b>");
        drawing.text("", [1.0, 2.0], Anchor::Start, "<script>");
        let page = drawing.inline();
        assert!(
            page.contains("<title>&lt;b&gt;</title>") && page.contains("width=\"0.0\""),
            "{page}"
        );
        assert!(!page.contains("<script>"), "{page}");
        assert!(drawing.to_file().starts_with("<svg xmlns="));
    }
}
