//! Bars that stand, one beside the other: how often values lie where.

use super::super::scale::{Scale, grouped, round_up, shown_number};
use super::super::svg::{Anchor, Frame, text_width};
use super::super::{Drawing, Language, Text};
use super::{Plot, WIDTH};

/// How often values lie where.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The bars from left to right.
    pub bars: Vec<HistogramBar>,
    /// Whether the last bar also holds all that is larger.
    pub is_open: bool,
    /// Counts of another kind, which stand on the bars, and the names of both kinds. Default: there is one kind.
    pub on_top: Option<OnTop>,
    /// Values to be marked.
    pub marks: Vec<Mark>,
    /// What the values are.
    pub x_title: Option<Text>,
    /// What is counted.
    pub y_title: Option<Text>,
}

/// A bar.
#[derive(Clone, Copy, Debug)]
pub struct HistogramBar {
    /// The smallest value.
    pub from: f64,
    /// The value at which the next bar begins.
    pub to: f64,
    /// How many there are.
    pub count: f64,
}

/// Counts of another kind.
#[derive(Debug)]
pub struct OnTop {
    /// What the bars are, and what stands on them.
    pub names: [Text; 2],
    /// A count for each bar.
    pub counts: Vec<f64>,
}

/// A value that is marked.
#[derive(Debug)]
pub struct Mark {
    /// The value.
    pub at: f64,
    /// What it is.
    pub name: Text,
}

impl Plot for Histogram {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        let on_top = |place: usize| {
            let counts = self.on_top.as_ref().map_or(&[][..], |on_top| &on_top.counts);
            counts.get(place).copied().unwrap_or(0.0)
        };
        let names: Vec<String> = self
            .on_top
            .iter()
            .flat_map(|on_top| &on_top.names)
            .map(|name| language.say(name).into_owned())
            .collect();
        let legend_height = match names.is_empty() {
            true => 0.0,
            false => Drawing::new(WIDTH, 0.0, "").legend([0.0, 12.0], &names),
        };
        let height = legend_height + 230.0;
        let totals = self
            .bars
            .iter()
            .enumerate()
            .map(|(place, bar)| bar.count + on_top(place));
        let most = round_up(totals.fold(0.0, f64::max));
        let up = [
            height - 44.0,
            legend_height + if self.marks.is_empty() { 10.0 } else { 30.0 },
        ];
        let y = Scale::linear([0.0, most], up);
        let rows: Vec<(f64, String)> = y
            .ticks(4)
            .iter()
            .map(|tick| (y.place(*tick), shown_number(*tick)))
            .collect();
        let widest = rows.iter().map(|(_, name)| text_width(name)).fold(0.0, f64::max);
        let has_title = self.y_title.is_some();
        let frame = Frame {
            left: widest + if has_title { 28.0 } else { 12.0 },
            top: up[1],
            right: WIDTH - 14.0,
            bottom: up[0],
        };
        let range = match (self.bars.first(), self.bars.last()) {
            (Some(first), Some(last)) => [first.from, last.to],
            _ => [0.0, 1.0],
        };
        let x = Scale::linear(range, [frame.left, frame.right]);
        let label = self
            .x_title
            .as_ref()
            .map_or(String::new(), |title| language.say(title).into_owned());
        let mut drawing = Drawing::new(WIDTH, height, &label);
        drawing.legend([0.0, 12.0], &names);
        frame.rows(&mut drawing, &rows);
        for (place, bar) in self.bars.iter().enumerate() {
            let (left, right) = (x.place(bar.from), x.place(bar.to));
            let top = y.place(bar.count);
            let is_last = self.is_open && place + 1 == self.bars.len();
            let values = match is_last {
                true => format!("≥ {}", shown_number(bar.from)),
                false => format!("{} – {}", shown_number(bar.from), shown_number(bar.to)),
            };
            let count = |count: f64| grouped(count.max(0.0) as u64);
            let tip = match names.as_slice() {
                [below, above] => format!(
                    "{values}: {below} {}, {above} {}",
                    count(bar.count),
                    count(on_top(place))
                ),
                _ => format!("{values}: {}", count(bar.count)),
            };
            let width = (right - left - 1.0).max(1.0);
            drawing.rectangle("fill s0", [left + 0.5, top, width, frame.bottom - top], &tip);
            let upper = y.place(bar.count + on_top(place));
            if upper < top {
                drawing.rectangle("fill s1", [left + 0.5, upper, width, top - upper], &tip);
            }
        }
        for tick in x.ticks(6) {
            drawing.text(
                "tick",
                [x.place(tick), frame.bottom + 16.0],
                Anchor::Middle,
                &shown_number(tick),
            );
        }
        frame.titles(&mut drawing, language, self.x_title.as_ref(), self.y_title.as_ref());
        // Names of marks that stand close together go up and down.
        let mut ends = [f64::MIN; 2];
        for mark in &self.marks {
            let place = x.place(mark.at);
            if place > frame.right + 0.5 || place < frame.left {
                continue;
            }
            let name = language.say(&mark.name);
            let width = text_width(&name);
            let start = (place - width / 2.0).clamp(frame.left, frame.right - width);
            let line = if start > ends[0] + 6.0 { 0 } else { 1 };
            ends[line] = start + width;
            drawing.line("mark", [place, frame.top, place, frame.bottom], &name);
            drawing.text(
                "tick",
                [start, legend_height + 11.0 + 13.0 * line as f64],
                Anchor::Start,
                &name,
            );
        }
        drawing
    }
}
