//! Many settings and what came of them: an upright axis for each setting, a line for each trial (Inselberg 1985,
//! <https://doi.org/10.1007/BF01898350>).

use super::super::scale::{Scale, shown_number};
use super::super::svg::{Anchor, cut};
use super::super::{Drawing, Language, Text};
use super::{Plot, extent};

/// Lines across upright axes.
#[derive(Debug)]
pub struct ParallelCoordinates {
    /// The axes from left to right.
    pub axes: Vec<Axis>,
    /// The lines.
    pub trials: Vec<Trial>,
}

/// An upright axis.
#[derive(Debug)]
pub struct Axis {
    /// What its values are.
    pub name: Text,
    /// How they lie on it.
    pub kind: AxisKind,
}

/// How values lie on an axis.
#[derive(Debug)]
pub enum AxisKind {
    /// A difference is a distance.
    Linear,
    /// A factor is a distance.
    Logarithmic,
    /// Values are the places of these names.
    Categories(Vec<Text>),
}

/// A line.
#[derive(Debug)]
pub struct Trial {
    /// Its value on each axis.
    pub values: Vec<Option<f64>>,
    /// How good it is, from 0 to 1: the best are drawn last and strongest.
    pub quality: f64,
    /// What it is.
    pub tip: Text,
}

impl Plot for ParallelCoordinates {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        const HEIGHT: f64 = 300.0;
        let names: Vec<String> = self
            .axes
            .iter()
            .map(|axis| language.say(&axis.name).into_owned())
            .collect();
        let between = (760.0 / self.axes.len().max(2) as f64).clamp(110.0, 200.0);
        let width = between * self.axes.len().max(1) as f64;
        let (top, bottom) = (34.0, HEIGHT - 14.0);
        let mut drawing = Drawing::new(width, HEIGHT, &names.join(", "));
        let mut scales = Vec::with_capacity(self.axes.len());
        let mut names_of_values = Vec::new();
        for (place, (axis, name)) in self.axes.iter().zip(&names).enumerate() {
            let x = between * (place as f64 + 0.5);
            let values = self
                .trials
                .iter()
                .filter_map(|trial| trial.values.get(place).copied().flatten());
            let range = extent(values).unwrap_or([0.0, 1.0]);
            let (scale, ticks) = match &axis.kind {
                AxisKind::Linear => {
                    let scale = Scale::linear(range, [bottom, top]);
                    let ticks = scale.ticks(5).into_iter().map(|tick| (tick, shown_number(tick)));
                    (scale, ticks.collect::<Vec<_>>())
                }
                AxisKind::Logarithmic => {
                    let scale = Scale::logarithmic(range, [bottom, top]);
                    let ticks = scale.ticks(5).into_iter().map(|tick| (tick, shown_number(tick)));
                    (scale, ticks.collect())
                }
                AxisKind::Categories(names) => {
                    let scale = Scale::linear([0.0, names.len().saturating_sub(1) as f64], [bottom, top]);
                    let ticks = names.iter().enumerate();
                    let ticks = ticks.map(|(place, name)| (place as f64, language.say(name).into_owned()));
                    (scale, ticks.collect())
                }
            };
            drawing.text("title", [x, 16.0], Anchor::Middle, &cut(name, between - 8.0));
            drawing.line("axis", [x, top, x, bottom], "");
            for (value, name) in ticks {
                let place = [x - 6.0, scale.place(value) + 4.0];
                names_of_values.push((place, cut(&name, between / 2.0 - 8.0)));
            }
            scales.push((x, scale));
        }
        let mut trials: Vec<&Trial> = self.trials.iter().collect();
        trials.sort_by(|one, other| one.quality.total_cmp(&other.quality));
        for trial in trials {
            let points: Vec<[f64; 2]> = trial
                .values
                .iter()
                .zip(&scales)
                .filter_map(|(value, (x, scale))| Some([*x, scale.place((*value)?)]))
                .collect();
            let series = if trial.quality >= 0.75 { 0 } else { 6 };
            drawing.path(
                &format!("stroke thin s{series}"),
                &points,
                false,
                &language.say(&trial.tip),
            );
        }
        for (place, name) in names_of_values {
            drawing.text("tick halo", place, Anchor::End, &name);
        }
        drawing
    }
}
