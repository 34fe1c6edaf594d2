//! Points over two axes.

use super::super::scale::{Scale, shown_number};
use super::super::svg::{Frame, SERIES, text_width};
use super::super::{Drawing, Language, Text};
use super::{Plot, WIDTH, extent};

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
        let x_range = extent(points().map(|point| point.x)).unwrap_or([0.0, 1.0]);
        let y_range = extent(points().map(|point| point.y)).unwrap_or([0.0, 1.0]);
        let y = Scale::linear(y_range, [height - 44.0, top]);
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
        let across = [frame.left + 4.0, frame.right - 4.0];
        let x = match self.is_logarithmic {
            true => Scale::logarithmic(x_range, across),
            false => Scale::linear(x_range, across),
        };
        let mut drawing = Drawing::new(WIDTH, height, &names.join(", "));
        frame.rows(&mut drawing, &rows);
        let columns: Vec<(f64, String)> = x
            .ticks(6)
            .iter()
            .map(|tick| (x.place(*tick), shown_number(*tick)))
            .collect();
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
        for (number, group) in self.groups.iter().enumerate() {
            let class = format!("dot s{}", number % SERIES);
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
                drawing.circle(&class, [x.place(point.x), y.place(point.y)], 4.0, &tip);
            }
        }
        drawing
    }
}
