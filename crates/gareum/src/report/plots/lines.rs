//! Lines through points, with bands around them: curves of learning, ROC, precision and recall.

use super::super::scale::{Scale, rounded, shown_number};
use super::super::svg::{Anchor, Frame, SERIES, text_width};
use super::super::{Drawing, Language, Text};
use super::{Mark, Plot, WIDTH, extent};

/// Lines over one axis.
#[derive(Debug, Default)]
pub struct LineChart {
    /// The lines.
    pub series: Vec<Series>,
    /// What the lines were smoothed from, in their order: drawn thin behind them, in their colours.
    pub behind: Vec<Vec<(f64, f64)>>,
    /// Values across to be marked.
    pub marks: Vec<Mark>,
    /// Points of lines to be marked.
    pub points: Vec<MarkedPoint>,
    /// What the values across are.
    pub x_title: Option<Text>,
    /// What the values up are.
    pub y_title: Option<Text>,
    /// The values across that are shown. Default: all there are.
    pub x_range: Option<[f64; 2]>,
    /// The values up that are shown. Default: all there are, from one round value to another.
    pub y_range: Option<[f64; 2]>,
    /// Whether a factor is a distance across.
    pub is_logarithmic: bool,
    /// Whether the line of equal values is drawn.
    pub has_diagonal: bool,
    /// The values across that are written below. Default: round ones.
    pub ticks: Vec<f64>,
    /// Lines behind the others, without a colour and a name of their own.
    pub others: Vec<Series>,
    /// Whether lines are left without dots even where their points are few.
    pub is_plain: bool,
}

/// A line.
#[derive(Debug)]
pub struct Series {
    /// What it is.
    pub name: Text,
    /// Its points from left to right; what is no number leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Where it may as well be; empty for none.
    pub band: Vec<Band>,
    /// Whether it is broken up, as what is only for comparison.
    pub is_dashed: bool,
}

/// A point of a line that is marked.
#[derive(Debug)]
pub struct MarkedPoint {
    /// Which line it is on.
    pub series: usize,
    /// Its value across.
    pub x: f64,
    /// Its value up.
    pub y: f64,
    /// What it is.
    pub name: Text,
}

/// Between which values a line is at a place.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    /// The place.
    pub x: f64,
    /// The smallest value.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Plot for LineChart {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        let names: Vec<String> = self
            .series
            .iter()
            .map(|series| language.say(&series.name).into_owned())
            .collect();
        let has_legend = names.len() > 1;
        let legend_height = match has_legend {
            true => Drawing::new(WIDTH, 0.0, "").legend([0.0, 12.0], &names) + 6.0,
            false => 12.0,
        };
        let top = legend_height + if self.marks.is_empty() { 0.0 } else { 16.0 };
        let height = top + 260.0;
        let points = || {
            let series = self.series.iter().chain(&self.others).map(|series| &series.points);
            series.chain(&self.behind).flatten()
        };
        let bands = || self.series.iter().flat_map(|series| &series.band);
        let x_range = self
            .x_range
            .or_else(|| extent(points().map(|(x, _)| *x)))
            .unwrap_or([0.0, 1.0]);
        let ends = points()
            .map(|(_, y)| *y)
            .chain(bands().flat_map(|band| [band.low, band.high]));
        let y_range = self.y_range.or_else(|| extent(ends).map(rounded)).unwrap_or([0.0, 1.0]);
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
        let across = [frame.left, frame.right];
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
        for tick in ticks {
            drawing.text(
                "tick",
                [x.place(tick), frame.bottom + 16.0],
                Anchor::Middle,
                &shown_number(tick),
            );
        }
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
        let is_number = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let places = |part: &[(f64, f64)]| -> Vec<[f64; 2]> {
            part.iter().map(|(px, py)| [x.place(*px), y.place(*py)]).collect()
        };
        for (number, points) in self.behind.iter().enumerate() {
            for part in points.split(|point| !is_number(point)) {
                drawing.path(&format!("stroke faint s{}", number % SERIES), &places(part), false, "");
            }
        }
        for mark in &self.marks {
            let place = x.place(mark.at);
            if (frame.left - 0.5..=frame.right + 0.5).contains(&place) {
                let name = language.say(&mark.name);
                let half = text_width(&name) / 2.0;
                let middle = place.max(frame.left + half).min(frame.right - half);
                drawing.line("mark", [place, frame.top, place, frame.bottom], &name);
                drawing.text("tick", [middle, frame.top - 5.0], Anchor::Middle, &name);
            }
        }
        for (number, series) in self.series.iter().enumerate() {
            let band = series
                .band
                .iter()
                .filter(|band| band.low.is_finite() && band.high.is_finite());
            let above = band.clone().map(|band| [x.place(band.x), y.place(band.high)]);
            let below = band.rev().map(|band| [x.place(band.x), y.place(band.low)]);
            let outline: Vec<[f64; 2]> = above.chain(below).collect();
            drawing.path(&format!("band s{}", number % SERIES), &outline, true, "");
        }
        for series in &self.others {
            let is_number = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
            let places = series
                .points
                .iter()
                .filter(is_number)
                .map(|(px, py)| [x.place(*px), y.place(*py)]);
            let name = language.say(&series.name);
            drawing.path("stroke thin s6", &places.collect::<Vec<_>>(), false, &name);
        }
        for ((number, series), name) in self.series.iter().enumerate().zip(&names) {
            let dashed = if series.is_dashed { " dashed" } else { "" };
            let class = format!("stroke s{}{dashed}", number % SERIES);
            for part in series.points.split(|point| !is_number(point)) {
                drawing.path(&class, &places(part), false, name);
            }
            // Few points can be pointed at.
            const FEW: usize = 30;
            if series.points.len() <= FEW && !self.is_plain {
                let class = format!("dot s{}", number % SERIES);
                for (px, py) in series.points.iter().filter(|point| is_number(point)) {
                    let tip = format!("{name}: {} → {}", shown_number(*px), shown_number(*py));
                    drawing.circle(&class, [x.place(*px), y.place(*py)], 3.0, &tip);
                }
            }
        }
        for point in self.points.iter().filter(|point| is_number(&(point.x, point.y))) {
            let class = format!("dot s{}", point.series % SERIES);
            let tip = format!(
                "{}: {} → {}",
                language.say(&point.name),
                shown_number(point.x),
                shown_number(point.y)
            );
            drawing.circle(&class, [x.place(point.x), y.place(point.y)], 5.0, &tip);
        }
        drawing
    }
}
