//! Predicted numbers beside true ones.

use super::super::{Judged, number};
use crate::data::Task;
use crate::report::plots::{Histogram, HistogramBar, Mark, Point, PointGroup, Scatter};
use crate::report::{Block, Figure, Section, data, shown_number, words};

/// Points that are drawn: more lie on top of each other.
const MOST_POINTS: usize = 1500;

/// Bars of the histogram of errors.
const BARS: usize = 30;

pub(crate) fn section(judged: &Judged<'_>) -> Option<Section> {
    if judged.schema.task != Task::Regression {
        return None;
    }
    let predicted = |index: usize| judged.predictions[index].scores.first().copied().unwrap_or(f64::NAN);
    let pairs: Vec<(u64, f64, f64)> = (0..judged.examples.len())
        .map(|index| {
            let example = &judged.examples[index];
            (example.id, number(&example.target), predicted(index))
        })
        .filter(|(_, truth, predicted)| truth.is_finite() && predicted.is_finite())
        .collect();
    let every = pairs.len().div_ceil(MOST_POINTS).max(1);
    let points = pairs.iter().step_by(every).map(|(row, truth, predicted)| Point {
        x: *truth,
        y: *predicted,
        tip: data(row.to_string()),
    });
    let caption = match every {
        1 => "the broken line is where both are equal".to_owned(),
        every => format!("one row in {every}; the broken line is where both are equal"),
    };
    let mut figures = vec![Figure {
        title: words("Predicted and true numbers"),
        caption: Some(words(caption)),
        plot: Box::new(Scatter {
            groups: vec![PointGroup {
                name: words("row"),
                points: points.collect(),
            }],
            x_title: Some(words("true")),
            y_title: Some(words("predicted")),
            has_diagonal: true,
            ..Scatter::default()
        }),
    }];
    figures.extend(errors_figure(&pairs));
    Some(Section {
        title: words("Numbers"),
        blocks: vec![Block::Figures(figures)],
    })
}

fn errors_figure(pairs: &[(u64, f64, f64)]) -> Option<Figure> {
    let errors: Vec<f64> = pairs.iter().map(|(_, truth, predicted)| predicted - truth).collect();
    let (least, most) = errors
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), error| {
            (least.min(*error), most.max(*error))
        });
    if !least.is_finite() {
        return None;
    }
    let width = ((most - least) / BARS as f64).max(1e-9);
    let mut counts = [0u64; BARS];
    errors
        .iter()
        .for_each(|error| counts[(((error - least) / width) as usize).min(BARS - 1)] += 1);
    let bars = counts.iter().enumerate().map(|(bar, count)| HistogramBar {
        from: least + bar as f64 * width,
        to: least + (bar + 1) as f64 * width,
        count: *count as f64,
    });
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    Some(Figure {
        title: words("Errors"),
        caption: Some(words(
            "predicted minus true number; what lies at the left was predicted too low",
        )),
        plot: Box::new(Histogram {
            bars: bars.collect(),
            marks: vec![Mark {
                at: mean,
                name: words(format!("mean {}", shown_number(mean))),
            }],
            x_title: Some(words("error")),
            y_title: Some(words("rows")),
            ..Histogram::default()
        }),
    })
}
