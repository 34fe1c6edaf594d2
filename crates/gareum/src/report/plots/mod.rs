//! The plots of reports: plain values that draw themselves.
//!
//! Every value is also told in words where one points at its mark. Pictures are 460 units wide, to be read on a telephone and set side by
//! side elsewhere; only where there is much in a picture is it wider.

mod bars;
mod heat_map;
mod histogram;
mod lines;
mod parallel_coordinates;
mod reliability;
mod scatter;

pub use bars::{Bar, BarChart, BarRow, ValueFormat};
pub use heat_map::HeatMap;
pub use histogram::{Histogram, HistogramBar, Mark, OnTop};
pub use lines::{Band, LineChart, MarkedPoint, Series};
pub use parallel_coordinates::{Axis, AxisKind, ParallelCoordinates, Trial};
pub use reliability::{Reliability, ReliabilityBin};
pub use scatter::{Point, PointGroup, Scatter};

use super::{Drawing, Language};

/// Width of a picture.
const WIDTH: f64 = 460.0;

/// Something that can be drawn.
pub trait Plot: std::fmt::Debug {
    /// The picture, with its words in a language.
    fn draw(&self, language: &Language<'_>) -> Drawing;
}

/// The smallest and the largest of values that are numbers; `None` without any.
fn extent(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |extent, value| match extent {
        None => Some([value, value]),
        Some([least, most]) => Some([value.min(least), value.max(most)]),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{data, words};
    use super::*;

    /// Every kind of plot with ordinary, extreme and absent values.
    fn plots() -> Vec<Box<dyn Plot>> {
        let values = [0.0, 1.0, 1e-9, 1e12, f64::NAN, -3.0];
        let bars = |values: &[f64]| values.iter().map(|value| Bar::of(*value)).collect();
        let rows = |count: usize| {
            let row = |number: usize| BarRow {
                name: data(format!("라벨 {number}")),
                bars: bars(&values[..count]),
            };
            (0..5).map(row).collect::<Vec<_>>()
        };
        let points: Vec<(f64, f64)> = (0..6).map(|step| (f64::from(step), values[step as usize])).collect();
        let line = LineChart {
            series: vec![Series {
                name: words("rows"),
                points: points.clone(),
                band: vec![
                    Band {
                        x: 0.0,
                        low: -1.0,
                        high: 2.0,
                    },
                    Band {
                        x: 5.0,
                        low: 0.0,
                        high: 1.0,
                    },
                ],
                is_dashed: true,
            }],
            ..LineChart::default()
        };
        let scatter = Scatter {
            groups: vec![PointGroup {
                name: data("a"),
                points: points
                    .iter()
                    .map(|(x, y)| Point {
                        x: *x,
                        y: *y,
                        tip: data("tip"),
                    })
                    .collect(),
            }],
            ..Scatter::default()
        };
        let heat_map = HeatMap {
            rows: vec![data("a"), data("b")],
            columns: vec![data("a"), data("b")],
            values: vec![vec![1.0, 0.0], vec![f64::NAN, 3.0]],
            format: ValueFormat::Percent,
            tips: Some(vec![vec![data("tip")]]),
            ..HeatMap::default()
        };
        let parallel = ParallelCoordinates {
            axes: vec![
                Axis {
                    name: words("rows"),
                    kind: AxisKind::Linear,
                },
                Axis {
                    name: words("rows"),
                    kind: AxisKind::Logarithmic,
                },
                Axis {
                    name: words("rows"),
                    kind: AxisKind::Categories(vec![data("x"), data("y")]),
                },
            ],
            trials: vec![
                Trial {
                    values: vec![Some(1.0), Some(1e-5), Some(0.0)],
                    quality: 0.2,
                    tip: data("1"),
                },
                Trial {
                    values: vec![Some(2.0), None, Some(1.0)],
                    quality: 0.9,
                    tip: data("2"),
                },
            ],
        };
        let bin = |share: f64| ReliabilityBin {
            confidence: share,
            accuracy: share / 2.0,
            share,
        };
        vec![
            Box::new(BarChart {
                rows: rows(1),
                ..BarChart::default()
            }),
            Box::new(BarChart {
                rows: rows(3),
                series: vec![data("a"), data("b"), data("c")],
                ..BarChart::default()
            }),
            Box::new(BarChart {
                rows: rows(3),
                series: vec![data("a"); 3],
                is_stacked: true,
                ..BarChart::default()
            }),
            Box::new(BarChart::default()),
            Box::new(Histogram::default()),
            Box::new(Histogram {
                bars: (0..9)
                    .map(|x| HistogramBar {
                        from: f64::from(x),
                        to: f64::from(x + 1),
                        count: f64::from(x),
                    })
                    .collect(),
                marks: vec![
                    Mark {
                        at: 3.0,
                        name: words("rows"),
                    },
                    Mark {
                        at: 99.0,
                        name: words("rows"),
                    },
                ],
                is_open: true,
                ..Histogram::default()
            }),
            Box::new(Histogram {
                bars: vec![HistogramBar {
                    from: 0.0,
                    to: 1.0,
                    count: 2.0,
                }],
                on_top: Some(OnTop {
                    names: [words("right"), words("wrong")],
                    counts: vec![1.0, 5.0],
                }),
                ..Histogram::default()
            }),
            Box::new(line),
            Box::new(LineChart::default()),
            Box::new(scatter),
            Box::new(Scatter::default()),
            Box::new(heat_map),
            Box::new(HeatMap::default()),
            Box::new(Reliability {
                bins: vec![bin(0.25), bin(0.75)],
            }),
            Box::new(Reliability { bins: Vec::new() }),
            Box::new(parallel),
            Box::new(ParallelCoordinates {
                axes: Vec::new(),
                trials: Vec::new(),
            }),
        ]
    }

    /// Drawings are well-formed and hold no number that no browser can draw.
    #[test]
    fn every_plot_can_be_drawn() {
        for plot in plots() {
            let file = plot.draw(&Language::ENGLISH).to_file();
            for odd in ["NaN", "inf", "=\"-0.0\" NaN"] {
                assert!(!file.contains(odd), "{odd}: {plot:?}\n{file}");
            }
            let open = file.matches("<text").count() + file.matches("<rect").count() + file.matches("<title").count();
            let closed = file.matches("</text>").count() + file.matches("/>").count() + file.matches("</rect>").count();
            assert!(open > 0 && closed > 0);
            assert_eq!(file.matches("<text").count(), file.matches("</text>").count());
            assert_eq!(file.matches("<title").count(), file.matches("</title>").count());
        }
    }

    #[test]
    fn extents_leave_out_what_is_no_number() {
        assert_eq!(extent([1.0, f64::NAN, -2.0].into_iter()), Some([-2.0, 1.0]));
        assert_eq!(extent([f64::NAN].into_iter()), None);
    }
}
