//! Pairs of templates, and the search for the one that a finished line was made from.
//!
//! A placeholder stands for one or more characters of a line. What it caught is translated in turn, unless the placeholder's
//! name says that it is a value ([`VALUES`]): a file may well be called `interrupted`.

use std::borrow::Cow;
use std::collections::HashMap;

/// Names of placeholders whose text is never translated; a digit may follow. A `number` holds no
/// blank and no letter, a `name` no backquote.
const VALUES: [&str; 5] = ["path", "name", "value", "number", "command"];

/// What is known in one language.
pub struct Catalogue {
    /// Lines without placeholders.
    whole: HashMap<&'static str, &'static str>,
    /// The others, in the order in which they are tried.
    patterns: Vec<Pattern>,
}

/// A line with placeholders and its translation.
struct Pattern {
    source: Vec<Piece>,
    target: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Text(&'static str),
    Placeholder(&'static str),
}

impl Catalogue {
    /// Reads entries of two lines, English and its translation, separated by blank lines; `#` opens a comment.
    pub fn parse(text: &'static str) -> Self {
        let mut catalogue = Self {
            whole: HashMap::new(),
            patterns: Vec::new(),
        };
        for (source, target) in entries(text) {
            let pattern = Pattern {
                source: pieces(source),
                target: pieces(target),
            };
            if pattern.source.iter().all(|piece| matches!(piece, Piece::Text(_))) {
                catalogue.whole.insert(source, target);
            } else {
                catalogue.patterns.push(pattern);
            }
        }
        // What opens a line and ends in a colon is the surest sign, then the most text.
        catalogue
            .patterns
            .sort_by_key(|pattern| std::cmp::Reverse((pattern.is_opening(), pattern.text_length())));
        catalogue
    }

    /// Translates line by line.
    pub fn translate<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.translate_noting(text, &mut |_| ())
    }

    /// As [`Catalogue::translate`]; `unknown` is told of every piece that stayed as it is.
    pub fn translate_noting<'t>(&self, text: &'t str, unknown: &mut dyn FnMut(&'t str)) -> Cow<'t, str> {
        if !text.contains('\n') {
            return self.line(text, unknown);
        }
        let lines: Vec<Cow<str>> = text.split('\n').map(|line| self.line(line, unknown)).collect();
        Cow::Owned(lines.join("\n"))
    }

    /// Blanks around a line are kept.
    fn line<'t>(&self, line: &'t str, unknown: &mut dyn FnMut(&'t str)) -> Cow<'t, str> {
        let core = line.trim();
        if core.is_empty() {
            return Cow::Borrowed(line);
        }
        let (before, after) = (
            &line[..line.len() - line.trim_start().len()],
            &line[line.trim_end().len()..],
        );
        if let Some(target) = self.whole.get(core) {
            return Cow::Owned(format!("{before}{target}{after}"));
        }
        for pattern in &self.patterns {
            if let Some(values) = capture(&pattern.source, core) {
                return Cow::Owned(format!("{before}{}{after}", self.fill(pattern, &values, unknown)));
            }
        }
        unknown(core);
        Cow::Borrowed(line)
    }

    fn fill<'t>(&self, pattern: &Pattern, values: &[(&str, &'t str)], unknown: &mut dyn FnMut(&'t str)) -> String {
        let mut filled = String::new();
        for piece in &pattern.target {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) => {
                    let value = values.iter().find(|(known, _)| known == name);
                    let value = value.map_or("", |(_, value)| value);
                    match is_value(name) {
                        true => filled.push_str(value),
                        false => filled.push_str(&self.line(value, unknown)),
                    }
                }
            }
        }
        filled
    }
}

impl Pattern {
    /// `hint: {hint}`: known text up to a colon, then anything.
    fn is_opening(&self) -> bool {
        matches!(self.source[..], [Piece::Text(text), Piece::Placeholder(_)] if text.ends_with(": "))
    }

    fn text_length(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.chars().count(),
            Piece::Placeholder(_) => 0,
        };
        self.source.iter().map(length).sum()
    }
}

fn is_value(name: &str) -> bool {
    VALUES.contains(&without_digit(name))
}

fn without_digit(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Whether the placeholder of this name can stand for a text.
fn fits(name: &str, text: &str) -> bool {
    match without_digit(name) {
        "number" => !text.contains(|c: char| c.is_whitespace() || c.is_alphabetic() && c != 'e'),
        "name" => !text.contains('`'),
        _ => true,
    }
}

/// The entries of a catalogue's text, as they stand in it. An entry that lacks its translation is left out.
fn entries(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    std::iter::from_fn(move || {
        loop {
            let source = lines.by_ref().find(|line| !line.is_empty())?;
            match lines.next() {
                Some("") => continue,
                target => return Some((source, target?)),
            }
        }
    })
}

/// Splits a template at `{name}`; other braces are text.
fn pieces(template: &'static str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut text_start, mut searched) = (0, 0);
    while let Some(open) = template[searched..].find('{').map(|at| searched + at) {
        let length = template[open + 1..]
            .find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
            .unwrap_or(0);
        let close = open + 1 + length;
        searched = open + 1;
        if length > 0 && template[close..].starts_with('}') {
            if open > text_start {
                pieces.push(Piece::Text(&template[text_start..open]));
            }
            pieces.push(Piece::Placeholder(&template[open + 1..close]));
            (text_start, searched) = (close + 1, close + 1);
        }
    }
    if text_start < template.len() {
        pieces.push(Piece::Text(&template[text_start..]));
    }
    pieces
}

/// What each placeholder stands for if `text` as a whole is made by `pieces`.
///
/// Each placeholder takes as little as it can. As text always stands between two of them, the first place where that text is
/// found leaves the most for what follows, so that going back would find nothing more.
fn capture<'t>(pieces: &[Piece], text: &'t str) -> Option<Vec<(&'static str, &'t str)>> {
    let mut values = Vec::new();
    let mut rest = text;
    let mut pieces = pieces.iter();
    while let Some(piece) = pieces.next() {
        match *piece {
            Piece::Text(expected) => rest = rest.strip_prefix(expected)?,
            Piece::Placeholder(name) => {
                let first = rest.chars().next()?.len_utf8();
                let end = match pieces.as_slice() {
                    [] => rest.len(),
                    [Piece::Text(last)] => rest.strip_suffix(last)?.len(),
                    [Piece::Text(next), ..] => first + rest[first..].find(next)?,
                    [Piece::Placeholder(_), ..] => first,
                };
                if end < first || !fits(name, &rest[..end]) {
                    return None;
                }
                values.push((name, &rest[..end]));
                rest = &rest[end..];
            }
        }
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SAMPLE: &str = "\
# a comment
{path}: no column `{name}`; found {found}
{path}: 열 `{name}` 없음, 있는 열: {found}

hint: {hint}
도움말: {hint}

check it
확인하세요

{place}: found {number} fields, expected {number2}
{place}: 필드 {number2}개여야 하는데 {number}개

{path}:{number}: row {number2}
{path}:{number}: 행 {number2}

{path}: {reason}
{path}: {reason}

interrupted
중단되었습니다
";

    fn check(line: &str, expected: &str) {
        assert_eq!(Catalogue::parse(SAMPLE).translate(line), expected);
    }

    #[test]
    fn lines_are_made_again_in_the_other_language() {
        check("interrupted", "중단되었습니다");
        check("  interrupted ", "  중단되었습니다 ");
        check("hint: check it", "도움말: 확인하세요");
        check(
            "a.csv: no column `x`; found `a`, `b`",
            "a.csv: 열 `x` 없음, 있는 열: `a`, `b`",
        );
        check(
            "a.csv:3: row 2: found 3 fields, expected 2",
            "a.csv:3: 행 2: 필드 2개여야 하는데 3개",
        );
        check(
            "a.csv: interrupted\nhint: check it\n",
            "a.csv: 중단되었습니다\n도움말: 확인하세요\n",
        );
    }

    #[test]
    fn values_and_unknown_lines_stay() {
        check("", "");
        check("hint: ", "hint: ");
        check("something else", "something else");
        check("hint: something else", "도움말: something else");
        check("interrupted: interrupted", "interrupted: 중단되었습니다");
        check("a: found no fields, expected 2", "a: found no fields, expected 2");
        check(
            "a: b: no column `interrupted`; found interrupted",
            "a: b: 열 `interrupted` 없음, 있는 열: 중단되었습니다",
        );
        let catalogue = Catalogue::parse(SAMPLE);
        let mut unknown = Vec::new();
        catalogue.translate_noting("hint: check it\nhint: go away\na: b", &mut |piece| unknown.push(piece));
        assert_eq!(unknown, ["go away", "b"]);
    }

    #[test]
    fn placeholders_are_found_among_braces() {
        use Piece::{Placeholder, Text};
        let check = |template, expected: &[Piece]| assert_eq!(pieces(template), expected);
        check("{a} {b:2} {} {c", &[Placeholder("a"), Text(" {b:2} {} {c")]);
        check("x {a_1}", &[Text("x "), Placeholder("a_1")]);
        check("{{a}}", &[Text("{"), Placeholder("a"), Text("}")]);
    }

    /// The Korean file itself.
    mod korean {
        use super::*;

        const TEXT: &str = include_str!("ko.txt");

        fn placeholders(template: &'static str) -> Vec<&'static str> {
            let names = pieces(template).into_iter().filter_map(|piece| match piece {
                Piece::Placeholder(name) => Some(name),
                Piece::Text(_) => None,
            });
            names.collect()
        }

        #[test]
        fn every_entry_is_a_pair() {
            let blocks = TEXT.split("\n\n").map(|block| {
                let lines = block.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
                lines.collect::<Vec<_>>()
            });
            let odd: Vec<_> = blocks.filter(|lines| ![0, 2].contains(&lines.len())).collect();
            assert!(odd.is_empty(), "not pairs: {odd:#?}");
        }

        #[test]
        fn both_lines_hold_the_same_values() {
            let mut known = BTreeSet::new();
            for (source, target) in entries(TEXT) {
                assert!(known.insert(source), "twice: {source}");
                assert_eq!((source.trim(), target.trim()), (source, target), "blanks around");
                let mut names = placeholders(source);
                let mut others = placeholders(target);
                names.sort_unstable();
                others.sort_unstable();
                assert_eq!(names, others, "{source}\n{target}");
                names.dedup();
                assert_eq!(names.len(), others.len(), "a name twice: {source}");
                let adjacent = pieces(source);
                let adjacent = adjacent
                    .windows(2)
                    .any(|pair| matches!(pair, [Piece::Placeholder(_), Piece::Placeholder(_)]));
                assert!(!adjacent, "nothing between two placeholders: {source}");
            }
            assert!(known.len() > 100, "only {} entries", known.len());
        }

        /// Which of 은 and 는, 이 and 가, 을 and 를 is right depends on the value, which is not known here.
        #[test]
        fn no_particle_follows_a_value() {
            const PARTICLES: [&str; 18] = [
                "은", "는", "이", "가", "을", "를", "과", "와", "으로", "로", "이나", "나", "이란", "란", "이라", "라",
                "이며", "이고",
            ];
            for (_, target) in entries(TEXT) {
                for pair in pieces(target).windows(2) {
                    let [Piece::Placeholder(_), Piece::Text(after)] = pair else {
                        continue;
                    };
                    let after = after.trim_start_matches(['`', '"', '\'', ')', ']']);
                    let word: String = after.chars().take_while(|c| c.is_alphabetic()).collect();
                    assert!(!PARTICLES.contains(&word.as_str()), "`{word}` after a value: {target}");
                }
            }
        }
    }
}
