//! Small charts for a terminal: lines of braille dots, of which a letter holds two by four.
//!
//! Not here: what is drawn of a training run and when (`progress.rs`).

use unicode_width::UnicodeWidthStr;

/// A chart of a few lines over one axis.
pub struct Chart<'a> {
    /// The lines; later ones are drawn over earlier ones.
    pub lines: Vec<Line<'a>>,
    /// The values across, from the left edge to the right one.
    pub across: [f64; 2],
    /// Letters that it may take across, with the numbers at its side.
    pub width: usize,
    /// Lines of letters, without the line of names.
    pub height: usize,
    /// Whether lines are told apart by colours; otherwise the later ones are broken up.
    pub has_colours: bool,
}

/// A line.
pub struct Line<'a> {
    /// What it is, with its last value.
    pub name: String,
    /// Its points from left to right.
    pub points: &'a [(f64, f64)],
}

/// Colours of lines: cyan, yellow, green.
const COLOURS: [&str; 3] = ["36", "33", "32"];

/// Dots of a letter, by place across and down.
const DOTS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Letters that numbers at the side take, with the blank after them.
const SIDE: usize = 8;

/// The narrowest chart.
pub const LEAST_WIDTH: usize = SIDE + 16;

impl Chart<'_> {
    /// The chart as lines of text of exactly its width, the first of which names what is drawn. Empty if nothing is.
    pub fn draw(&self) -> Vec<String> {
        let values = self.lines.iter().flat_map(|line| line.points).map(|(_, y)| *y);
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high || self.width < LEAST_WIDTH {
            return Vec::new();
        }
        let letters = self.width - SIDE;
        let mut cells = vec![vec![(0u32, 0usize); letters]; self.height];
        for (number, line) in self.lines.iter().enumerate() {
            let is_broken = number > 0 && !self.has_colours;
            let heights = self.heights(line.points, [low, high], letters);
            let mut last: Option<usize> = None;
            for (x, y) in heights.into_iter().enumerate() {
                let Some(y) = y else { continue };
                // A steep line leaves no gap between two columns.
                let (from, to) = match last {
                    Some(last) if last < y => (last + 1, y),
                    Some(last) if last > y => (y, last - 1),
                    _ => (y, y),
                };
                last = Some(y);
                if is_broken && x % 4 > 1 {
                    continue;
                }
                for y in from..=to {
                    let cell = &mut cells[y / 4][x / 2];
                    *cell = (cell.0 | DOTS[x % 2][y % 4], number);
                }
            }
        }
        let rows = cells.iter().enumerate().map(|(place, row)| {
            let side = match place {
                0 => number(high),
                place if place + 1 == self.height => number(low),
                _ => String::new(),
            };
            let mut text = format!("{side:>width$} ", width = SIDE - 1);
            for part in row.chunk_by(|one, other| one.1 == other.1) {
                let dots = part.iter().filter_map(|(dots, _)| char::from_u32(0x2800 + dots));
                text += &self.coloured(part[0].1, &dots.collect::<String>());
            }
            text
        });
        std::iter::once(self.names()).chain(rows).collect()
    }

    /// The names of the lines, as far as there is room.
    fn names(&self) -> String {
        let (mut names, mut used) = (" ".repeat(SIDE), SIDE);
        for (number, line) in self.lines.iter().enumerate() {
            let mark = if number > 0 && !self.has_colours { "╍" } else { "━" };
            let width = line.name.width() + 4;
            if used + width > self.width {
                break;
            }
            names += &format!("{} {}  ", self.coloured(number, mark), line.name);
            used += width;
        }
        names + &" ".repeat(self.width - used)
    }

    fn coloured(&self, line: usize, text: &str) -> String {
        match self.has_colours {
            true => format!("\u{1B}[{}m{text}\u{1B}[0m", COLOURS[line % COLOURS.len()]),
            false => text.to_owned(),
        }
    }

    /// For each column of dots how far down the line is, where it is; between its points on a straight line.
    fn heights(&self, points: &[(f64, f64)], [low, high]: [f64; 2], letters: usize) -> Vec<Option<usize>> {
        let columns = letters * 2;
        let [from, to] = self.across;
        let down = (self.height * 4 - 1) as f64;
        let column = |x: f64| ((x - from) / (to - from).max(f64::MIN_POSITIVE) * (columns - 1) as f64).round();
        let row = |y: f64| {
            ((high - y) / (high - low).max(f64::MIN_POSITIVE) * down)
                .round()
                .clamp(0.0, down) as usize
        };
        // Points of one column are one: their mean.
        let mut means: Vec<(usize, f64, f64)> = Vec::new();
        for (x, y) in points.iter().filter(|(_, y)| y.is_finite()) {
            let place = column(*x).clamp(0.0, (columns - 1) as f64) as usize;
            match means.last_mut() {
                Some((last, sum, count)) if *last == place => (*sum, *count) = (*sum + y, *count + 1.0),
                _ => means.push((place, *y, 1.0)),
            }
        }
        let means: Vec<(usize, f64)> = means
            .into_iter()
            .map(|(place, sum, count)| (place, sum / count))
            .collect();
        let mut heights = vec![None; columns];
        means.iter().for_each(|(place, y)| heights[*place] = Some(row(*y)));
        for pair in means.windows(2) {
            let [(start, y0), (end, y1)] = [pair[0], pair[1]];
            for (place, height) in heights.iter_mut().enumerate().take(end).skip(start) {
                let share = (place - start) as f64 / (end - start) as f64;
                *height = Some(row(y0 + (y1 - y0) * share));
            }
        }
        heights
    }
}

/// A number of at most seven letters.
fn number(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{value:.0e}"),
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// Charts side by side, with two blanks between them; they are of one height, or have no lines.
pub fn beside(left: Vec<String>, right: Vec<String>) -> Vec<String> {
    match (left.is_empty(), right.is_empty()) {
        (true, _) => right,
        (_, true) => left,
        _ => left
            .into_iter()
            .zip(right)
            .map(|(left, right)| format!("{left}  {right}"))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lines: &[&[(f64, f64)]], width: usize, has_colours: bool) -> Vec<String> {
        let line = |points| Line {
            name: "loss".to_owned(),
            points,
        };
        let chart = Chart {
            lines: lines.iter().copied().map(line).collect(),
            across: [0.0, 10.0],
            width,
            height: 3,
            has_colours,
        };
        chart.draw()
    }

    #[test]
    fn a_falling_line() {
        let lines = chart(&[&[(0.0, 1.0), (10.0, 0.0)]], LEAST_WIDTH, false);
        let [names, top, _, bottom] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        assert!(names.contains("━ loss"), "{names}");
        let ends = |line: &str| {
            let dots: Vec<char> = line.chars().skip(SIDE).collect();
            [dots[0], dots[dots.len() - 1]].map(|letter| letter != '\u{2800}')
        };
        assert!(
            top.starts_with("  1.000 ") && bottom.starts_with("  0.000 "),
            "{lines:?}"
        );
        assert_eq!((ends(top), ends(bottom)), ([true, false], [false, true]), "{lines:?}");
    }

    #[test]
    fn every_line_has_the_width() {
        let far = [(0.0, 1e9), (5.0, f64::NAN), (10.0, -1e-9), (99.0, 3.0)];
        for width in [LEAST_WIDTH, 31, 80] {
            for line in chart(&[&far, &far[..1]], width, false) {
                assert_eq!(line.width(), width, "{line}");
            }
        }
        assert_eq!(chart(&[&far], LEAST_WIDTH - 1, false), [""; 0]);
        assert_eq!(chart(&[&[]], 80, false), [""; 0]);
        assert_eq!(chart(&[&[(0.0, f64::NAN)]], 80, false), [""; 0]);
        assert_eq!(chart(&[&[(5.0, 2.0)]], 80, false).len(), 4, "one value alone");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let has_codes = |colours| {
            chart(&[&[(0.0, 1.0), (3.0, 2.0)]], 40, colours)
                .concat()
                .contains('\u{1B}')
        };
        assert!(has_codes(true) && !has_codes(false));
    }
}
