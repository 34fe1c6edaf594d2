//! How often a model is right beside how sure it is (DeGroot and Fienberg 1983, <https://doi.org/10.2307/2987588>).

use super::super::scale::{Scale, shown_number};
use super::super::svg::Frame;
use super::super::{Drawing, Language, words};
use super::{Plot, ValueFormat};

/// How often a model is right beside how sure it is.
#[derive(Debug)]
pub struct Reliability {
    /// Groups of predictions of about equal certainty.
    pub bins: Vec<ReliabilityBin>,
}

/// Predictions of about equal certainty.
#[derive(Clone, Copy, Debug)]
pub struct ReliabilityBin {
    /// Mean probability that the model gave its choice.
    pub confidence: f64,
    /// Share of right choices.
    pub accuracy: f64,
    /// Share of all predictions that are in the group.
    pub share: f64,
}

impl Plot for Reliability {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        const SIDE: f64 = 400.0;
        const HEIGHT: f64 = 380.0;
        let frame = Frame {
            left: 52.0,
            top: 12.0,
            right: SIDE - 12.0,
            bottom: 270.0,
        };
        let x = Scale::linear([0.0, 1.0], [frame.left, frame.right]);
        let y = Scale::linear([0.0, 1.0], [frame.bottom, frame.top]);
        let (confidence, accuracy) = (words("confidence"), words("accuracy"));
        let label = language.say(&accuracy).into_owned();
        let mut drawing = Drawing::new(SIDE, HEIGHT, &label);
        let ticks: Vec<f64> = x.ticks(5);
        let rows: Vec<(f64, String)> = ticks.iter().map(|tick| (y.place(*tick), shown_number(*tick))).collect();
        let columns: Vec<(f64, String)> = ticks.iter().map(|tick| (x.place(*tick), shown_number(*tick))).collect();
        frame.rows(&mut drawing, &rows);
        frame.columns(&mut drawing, &columns);
        frame.titles(&mut drawing, language, Some(&confidence), Some(&accuracy));
        drawing.line("mark", [x.place(0.0), y.place(0.0), x.place(1.0), y.place(1.0)], "");
        let bins = self
            .bins
            .iter()
            .filter(|bin| bin.share > 0.0 && bin.accuracy.is_finite());
        let places: Vec<[f64; 2]> = bins
            .clone()
            .map(|bin| [x.place(bin.confidence), y.place(bin.accuracy)])
            .collect();
        drawing.path("stroke s0", &places, false, "");
        // Below: how many predictions there are of each certainty.
        let most = self
            .bins
            .iter()
            .map(|bin| bin.share)
            .fold(0.0, f64::max)
            .max(f64::MIN_POSITIVE);
        let share_of = Scale::linear([0.0, most], [HEIGHT - 4.0, 318.0]);
        let percent = |share: f64| ValueFormat::Percent.show(share);
        for (bin, place) in bins.zip(&places) {
            let tip = format!(
                "{} {} → {} {} ({})",
                language.say(&confidence),
                percent(bin.confidence),
                language.say(&accuracy),
                percent(bin.accuracy),
                percent(bin.share)
            );
            drawing.circle("dot s0", *place, 4.5, &tip);
            let top = share_of.place(bin.share);
            drawing.rectangle("fill s6", [place[0] - 5.0, top, 10.0, HEIGHT - 4.0 - top], &tip);
        }
        drawing
    }
}
