//! Bars that lie: names at the left, where long ones have room. One bar a row, several side by side, or several in one line.

use super::super::scale::{Scale, grouped, round_up, shown_number};
use super::super::svg::{Anchor, SERIES, cut, text_width};
use super::super::{Drawing, Language, Text};
use super::{Plot, WIDTH};

/// Bars with names.
#[derive(Debug, Default)]
pub struct BarChart {
    /// What the bars of a row are; a name each if there are several.
    pub series: Vec<Text>,
    /// The rows from top to bottom.
    pub rows: Vec<BarRow>,
    /// Whether the bars of a row stand one after the other.
    pub is_stacked: bool,
    /// How values are written.
    pub format: ValueFormat,
    /// The largest value that there can be. Default: the largest there is.
    pub maximum: Option<f64>,
}

/// A row of bars.
#[derive(Debug)]
pub struct BarRow {
    /// What it is of.
    pub name: Text,
    /// A bar for each series.
    pub bars: Vec<Bar>,
}

/// A bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// How long it is.
    pub value: f64,
    /// Between which values it likely is, if that is known.
    pub interval: Option<[f64; 2]>,
}

impl Bar {
    /// A bar of a value.
    pub fn of(value: f64) -> Self {
        Self { value, interval: None }
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueFormat {
    /// As a number.
    #[default]
    Number,
    /// As a count.
    Count,
    /// A fraction of one as a percentage.
    Percent,
}

impl ValueFormat {
    /// The value for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            _ if !value.is_finite() => "–".to_owned(),
            Self::Number => shown_number(value),
            Self::Count if value >= 0.0 => grouped(value.round() as u64),
            Self::Count => shown_number(value),
            Self::Percent => {
                let percent = 100.0 * value;
                let decimals = if percent == 0.0 || percent >= 9.95 { 0 } else { 1 };
                format!("{percent:.decimals$} %")
            }
        }
    }

    /// The value without its unit, where there is little room.
    pub(super) fn bare(self, value: f64) -> String {
        match self {
            Self::Percent => self.show(value).trim_end_matches(" %").to_owned(),
            _ => self.show(value),
        }
    }
}

impl Plot for BarChart {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        const TOP: f64 = 6.0;
        let series = self.rows.iter().map(|row| row.bars.len()).max().unwrap_or(0).max(1);
        let lines = if self.is_stacked { 1 } else { series };
        let (thick, gap) = match (lines, self.rows.len()) {
            (1, 31..) => (11.0, 5.0),
            (1, _) => (15.0, 7.0),
            _ => (13.0, 9.0),
        };
        let names: Vec<String> = self
            .rows
            .iter()
            .map(|row| language.say(&row.name).into_owned())
            .collect();
        let longest = names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let left = (longest + 10.0).min(WIDTH * 0.48);
        let total = |bars: &[Bar]| {
            bars.iter()
                .map(|bar| bar.value)
                .filter(|value| value.is_finite())
                .sum::<f64>()
        };
        let ends = self.rows.iter().flat_map(|row| {
            let ends = row
                .bars
                .iter()
                .map(|bar| bar.interval.map_or(bar.value, |[_, high]| high.max(bar.value)));
            let stacked = self.is_stacked.then(|| total(&row.bars));
            ends.filter(|value| value.is_finite()).chain(stacked)
        });
        let most = self
            .maximum
            .unwrap_or_else(|| round_up(ends.fold(0.0, f64::max)).max(f64::MIN_POSITIVE));
        let values = self
            .rows
            .iter()
            .flat_map(|row| &row.bars)
            .map(|bar| self.format.show(bar.value));
        let right = WIDTH - values.map(|value| text_width(&value)).fold(24.0, f64::max) - 8.0;
        let scale = Scale::linear([0.0, most], [left, right.max(left + 40.0)]);
        let has_legend = self.series.len() > 1;
        let series_names: Vec<String> = self.series.iter().map(|name| language.say(name).into_owned()).collect();
        let height_of_row = lines as f64 * thick + gap;
        let mut height = TOP * 2.0 + height_of_row * self.rows.len() as f64;
        let legend_height = if has_legend {
            Drawing::new(WIDTH, 0.0, "").legend([0.0, 12.0], &series_names)
        } else {
            0.0
        };
        height += legend_height;
        let mut drawing = Drawing::new(WIDTH, height, &names.join(", "));
        if has_legend {
            drawing.legend([0.0, 12.0], &series_names);
        }
        for (place, (row, name)) in self.rows.iter().zip(&names).enumerate() {
            let top = TOP + legend_height + place as f64 * height_of_row;
            let middle = top + lines as f64 * thick / 2.0;
            drawing.text("", [left - 7.0, middle + 4.0], Anchor::End, &cut(name, left - 8.0));
            let mut start = scale.place(0.0);
            for (number, bar) in row.bars.iter().enumerate() {
                let shown = self.format.show(bar.value);
                let tip = match series_names.get(number).filter(|_| has_legend) {
                    Some(series) => format!("{name}, {series}: {shown}"),
                    None => format!("{name}: {shown}"),
                };
                let tip = match bar.interval {
                    Some([low, high]) => format!("{tip} ({} – {})", self.format.show(low), self.format.show(high)),
                    None => tip,
                };
                let value = if bar.value.is_finite() {
                    bar.value.clamp(0.0, most)
                } else {
                    0.0
                };
                let length = scale.place(value) - scale.place(0.0);
                let y = if self.is_stacked {
                    top
                } else {
                    top + number as f64 * thick
                };
                let class = format!("fill s{}", number % SERIES);
                let thickness = if lines > 1 { thick - 1.0 } else { thick };
                drawing.rectangle(&class, [start, y, length, thickness], &tip);
                if let Some([low, high]) = bar.interval.filter(|ends| ends.iter().all(|end| end.is_finite())) {
                    let y = y + thickness / 2.0;
                    let ends = [scale.place(low.max(0.0)), y, scale.place(high.min(most)), y];
                    // A dark line is not seen on a dark bar.
                    drawing.line("halo", ends, "");
                    drawing.line("interval", ends, &tip);
                }
                if self.is_stacked {
                    start += length;
                } else {
                    let end = bar.interval.map_or(value, |[_, high]| {
                        if high.is_finite() {
                            high.min(most).max(value)
                        } else {
                            value
                        }
                    });
                    drawing.text(
                        "value",
                        [scale.place(end) + 6.0, y + thickness / 2.0 + 4.0],
                        Anchor::Start,
                        &shown,
                    );
                }
            }
            if self.is_stacked {
                let shown = self.format.show(total(&row.bars));
                drawing.text("value", [start + 6.0, middle + 4.0], Anchor::Start, &shown);
            }
        }
        drawing
    }
}
