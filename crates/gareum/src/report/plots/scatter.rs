//! Points over two axes, of which the one across may be a row of names.

use super::super::scale::{Scale, shown_number};
use super::super::svg::{Frame, SERIES, cut, text_width};
use super::super::{Drawing, Language, Text};
use super::{Plot, WIDTH, extent};

/// More points than these are drawn small and pale, so that it is seen where they are many.
const MANY: usize = 200;

/// Points over two axes.
#[derive(Debug, Default)]
pub struct Scatter {
    /// Points by colour.
    pub groups: Vec<PointGroup>,
    /// What the values across are.
    pub x_title: Option<Text>,
    /// What the values up are.
    pub y_title: Option<Text>,
    /// Whether a factor is a distance across.
    pub is_logarithmic: bool,
    /// Whether the line of equal values is drawn.
    pub has_diagonal: bool,
    /// The values across that are written below. Default: round ones.
    pub ticks: Vec<f64>,
    /// Names for the values 0, 1, ... across. Default: they are numbers.
    pub categories: Vec<Text>,
    /// A line through means, say, with what it is.
    pub line: Option<(Text, Vec<(f64, f64)>)>,
}

/// Points of one colour.
#[derive(Debug)]
pub struct PointGroup {
    /// What they are.
    pub name: Text,
    /// The points.
    pub points: Vec<Point>,
}

/// A point.
#[derive(Debug)]
pub struct Point {
    /// Its value across.
    pub x: f64,
    /// Its value up.
    pub y: f64,
    /// What it is.
    pub tip: Text,
}

impl Plot for Scatter {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        let names: Vec<String> = self
            .groups
            .iter()
            .map(|group| language.say(&group.name).into_owned())
            .collect();
        let has_legend = names.len() > 1;
        let top = match has_legend {
            true => Drawing::new(WIDTH, 0.0, "").legend([0.0, 12.0], &names) + 6.0,
            false => 12.0,
        };
        let height = top + 280.0;
        let points = || self.groups.iter().flat_map(|group| &group.points);
        let mut x_range = match self.categories.len() {
            0 => around(extent(points().map(|point| point.x))),
            count => [-0.5, count as f64 - 0.5],
        };
        let mut y_range = around(extent(points().map(|point| point.y)));
        if self.has_diagonal {
            // What is compared is seen best on axes alike.
            let both = [x_range[0].min(y_range[0]), x_range[1].max(y_range[1])];
            (x_range, y_range) = (both, both);
        }
        let (radius, many) = match points().count() {
            0..=MANY => (4.0, ""),
            _ => (2.5, " many"),
        };
        // Points at the ends are shown whole.
        let y = Scale::linear(y_range, [height - 52.0, top + 8.0]);
        let rows: Vec<(f64, String)> = y
            .ticks(5)
            .iter()
            .map(|tick| (y.place(*tick), shown_number(*tick)))
            .collect();
        let widest = rows.iter().map(|(_, name)| text_width(name)).fold(0.0, f64::max);
        let frame = Frame {
            left: widest + if self.y_title.is_some() { 28.0 } else { 12.0 },
            top,
            right: WIDTH - 14.0,
            bottom: height - 44.0,
        };
        let across = [frame.left + 10.0, frame.right - 10.0];
        let x = match self.is_logarithmic {
            true => Scale::logarithmic(x_range, across),
            false => Scale::linear(x_range, across),
        };
        let mut drawing = Drawing::new(WIDTH, height, &names.join(", "));
        frame.rows(&mut drawing, &rows);
        let ticks = if self.ticks.is_empty() {
            x.ticks(6)
        } else {
            self.ticks.clone()
        };
        let columns: Vec<(f64, String)> = match self.categories.len() {
            0 => ticks.iter().map(|tick| (x.place(*tick), shown_number(*tick))).collect(),
            count => {
                let width = (across[1] - across[0]) / count as f64 - 4.0;
                let name = |name: &Text| cut(&language.say(name), width);
                let names = self.categories.iter().enumerate();
                names.map(|(place, text)| (x.place(place as f64), name(text))).collect()
            }
        };
        frame.columns(&mut drawing, &columns);
        frame.titles(&mut drawing, language, self.x_title.as_ref(), self.y_title.as_ref());
        if self.has_diagonal {
            let ends = [x_range[0].max(y_range[0]), x_range[1].min(y_range[1])];
            drawing.line(
                "mark",
                [x.place(ends[0]), y.place(ends[0]), x.place(ends[1]), y.place(ends[1])],
                "",
            );
        }
        if has_legend {
            drawing.legend([0.0, 12.0], &names);
        }
        if let Some((name, points)) = &self.line {
            let is_number = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
            let places = points
                .iter()
                .filter(is_number)
                .map(|(px, py)| [x.place(*px), y.place(*py)]);
            drawing.path("stroke s6", &places.collect::<Vec<_>>(), false, &language.say(name));
        }
        for (number, group) in self.groups.iter().enumerate() {
            let class = format!("dot s{}{many}", number % SERIES);
            for point in group
                .points
                .iter()
                .filter(|point| point.x.is_finite() && point.y.is_finite())
            {
                let tip = format!(
                    "{}: {}, {}",
                    language.say(&point.tip),
                    shown_number(point.x),
                    shown_number(point.y)
                );
                drawing.circle(&class, [x.place(point.x), y.place(point.y)], radius, &tip);
            }
        }
        drawing
    }
}

/// An axis for values between these; where all are the same, they stand in its middle.
fn around(extent: Option<[f64; 2]>) -> [f64; 2] {
    match extent.unwrap_or([0.0, 1.0]) {
        [least, most] if least == most => {
            let margin = if least == 0.0 { 0.5 } else { 0.05 * least.abs() };
            [least - margin, most + margin]
        }
        extent => extent,
    }
}
