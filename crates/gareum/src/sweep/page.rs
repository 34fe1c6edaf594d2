//! A sweep as a report: the trials in order, the metric against each parameter, all parameters at once, the curves.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{Outlook, Plan, Ranked, Sweep, TrialRecord, TrialState, outlook, ranking, shown_value};
use crate::metrics::Spread;
use crate::report::plots::{
    Axis, AxisKind, LineChart, ParallelCoordinates, Point, PointGroup, Scatter, Series, Trial as Line,
};
use crate::report::{
    Block, Column, Figure, Level, Notice, Page, Section, Table, Text, Tile, data, shown_number, words,
};
use crate::settings::{Candidates, RangeScale};

/// Curves that have a colour.
const COLOURED: usize = 6;

/// Rows of the table that are shown at once.
const MOST_ROWS: usize = 30;

/// From this factor between the largest and the smallest value on, a list of numbers lies on a logarithmic axis.
const WIDE: f64 = 4.0;

/// Ticks that have room.
const MOST_TICKS: usize = 8;

/// Metrics in the table beside the monitored one.
const MOST_METRICS: usize = 3;

/// The report of a sweep that may be over or not. `headlines` are the metrics that are shown beside the monitored one, `test` those of the
/// best trial on the test rows.
pub fn page(plan: &Plan, sweep: &Sweep, headlines: &[&str], test: &[(String, f64)]) -> Page {
    let report = Report {
        plan,
        sweep,
        ranking: ranking(sweep),
        outlook: outlook(sweep),
    };
    let sections = [
        Some(report.summary(test)),
        Some(report.trials(headlines)),
        report.parameters(),
        report.curves(),
        report.failures(),
    ];
    Page {
        title: words("Sweep"),
        subtitle: Some(words(format!(
            "{} trials, compared by {} on the validation rows",
            sweep.trials.len(),
            sweep.monitor
        ))),
        sections: sections.into_iter().flatten().collect(),
    }
}

struct Report<'a> {
    plan: &'a Plan,
    sweep: &'a Sweep,
    ranking: Vec<Ranked<'a>>,
    outlook: Option<Outlook>,
}

/// Where the values of a parameter lie.
struct Positions {
    kind: AxisKind,
    /// Of each trial.
    of_trials: Vec<f64>,
}

impl Positions {
    /// A few values of a list stand in order at equal distances.
    fn of_few(self, is_list: bool) -> Self {
        let mut places = self.of_trials.clone();
        places.sort_by(f64::total_cmp);
        places.dedup();
        if !is_list || places.len() > MOST_TICKS || matches!(self.kind, AxisKind::Categories(_)) {
            return self;
        }
        let rank = |value: &f64| places.iter().position(|place| place == value).unwrap_or(0) as f64;
        Self {
            of_trials: self.of_trials.iter().map(rank).collect(),
            kind: AxisKind::Categories(places.iter().map(|place| data(shown_number(*place))).collect()),
        }
    }
}

impl Report<'_> {
    fn count(&self, state: TrialState) -> usize {
        self.sweep.trials.iter().filter(|trial| trial.state == state).count()
    }

    fn summary(&self, test: &[(String, f64)]) -> Section {
        let tile = |name: Text, value: Text| Tile {
            name,
            value,
            note: None,
        };
        let number = |number: usize| data(number.to_string());
        let monitor = &self.sweep.monitor;
        let best = self.ranking.first().filter(|entry| entry.spread.is_some());
        let mut tiles = Vec::new();
        if let Some(best) = best {
            let value = best.spread.as_ref().map_or(String::new(), Spread::to_string);
            tiles.push(tile(words(format!("best {monitor}")), data(value)));
            tiles.push(tile(words("best trial"), number(best.best.trial)));
        }
        tiles.push(tile(words("trained to the end"), number(self.count(TrialState::Done))));
        for (state, name) in [
            (TrialState::Out, "dropped out early"),
            (TrialState::Failed, "failed"),
            (TrialState::Waiting, "still to be run"),
            (TrialState::Paused, "waiting for the next turn"),
        ] {
            if self.count(state) > 0 {
                tiles.push(tile(words(name), number(self.count(state))));
            }
        }
        let seconds: f64 = self.sweep.trials.iter().map(|trial| trial.seconds).sum();
        let epochs: f64 = self.sweep.trials.iter().map(|trial| trial.epochs).sum();
        tiles.push(tile(
            words("epochs in all"),
            data(shown_number((epochs * 100.0).round() / 100.0)),
        ));
        tiles.push(tile(
            words("minutes of training"),
            data(format!("{:.1}", seconds / 60.0)),
        ));
        let mut blocks = vec![Block::Tiles(tiles), Block::Notices(self.notices())];
        if let Some(best) = best {
            blocks.push(Block::Table(Table {
                caption: Some(words("The best settings; best.toml has them all")),
                columns: vec![Column::Text(words("setting")), Column::Text(words("value"))],
                rows: best
                    .best
                    .parameters
                    .iter()
                    .map(|(key, value)| vec![data(key), data(shown_value(value))])
                    .collect(),
            }));
        }
        if !test.is_empty() {
            blocks.push(Block::Table(Table {
                caption: Some(words(
                    "The best trial on the test rows, by which nothing was chosen; of the others no such figures are told",
                )),
                columns: vec![Column::Text(words("metric")), Column::Number(words("test"))],
                rows: test
                    .iter()
                    .map(|(name, value)| vec![data(name), data(format!("{value:.4}"))])
                    .collect(),
            }));
        }
        Section {
            title: words("Result"),
            blocks,
        }
    }

    fn notices(&self) -> Vec<Notice> {
        let notice = |level, text: String, hint: Option<&str>| Notice {
            level,
            about: None,
            text: words(text),
            hint: hint.map(words),
        };
        let mut notices = Vec::new();
        let failed = self.count(TrialState::Failed);
        if failed > 0 {
            notices.push(notice(
                Level::Problem,
                format!(
                    "{failed} of {} trials failed; what they said is at the end",
                    self.sweep.trials.len()
                ),
                None,
            ));
        }
        if self.sweep.trials.iter().any(|trial| !trial.state.is_final()) {
            let hint = "gareum sweep --resume goes on with it";
            notices.push(notice(Level::Warning, "the sweep is not over".to_owned(), Some(hint)));
        }
        if self.plan.has_different_validation() {
            notices.push(notice(
                Level::Warning,
                "the validation rows differ between trials, so their figures differ by more than the settings"
                    .to_owned(),
                Some("a validation file of its own (data.validation) makes them comparable"),
            ));
        }
        for edge in self.at_an_end() {
            let text =
                format!("the best `{edge}` lies at the end of what was tried: values beyond it may be better still");
            notices.push(notice(Level::Note, text, None));
        }
        if let Some(outlook) = &self.outlook {
            let hint = "every share was trained for as many epochs, so smaller ones took fewer steps";
            notices.push(notice(Level::Note, outlook.to_string(), Some(hint)));
        }
        notices
    }

    /// Parameters of numbers whose best value is the smallest or the largest that was tried.
    fn at_an_end(&self) -> Vec<&str> {
        let Some(best) = self.ranking.first().filter(|entry| entry.spread.is_some()) else {
            return Vec::new();
        };
        let is_at_end = |key: &&str| {
            let numbers = self.sweep.trials.iter().map(|trial| number(trial, key));
            let numbers: Option<Vec<f64>> = numbers.collect();
            let (Some(numbers), Some(own)) = (numbers, number(best.best, key)) else {
                return false;
            };
            numbers.iter().all(|number| *number >= own) || numbers.iter().all(|number| *number <= own)
        };
        let is_meant = |key: &&str| {
            let is_other = Plan::is_seed(key) || *key == "data.train_share";
            !is_other && is_list(self.plan, key) && self.candidates_count(key) > 2
        };
        self.plan
            .keys()
            .into_iter()
            .filter(is_meant)
            .filter(is_at_end)
            .collect()
    }

    fn candidates_count(&self, key: &str) -> usize {
        let values: BTreeSet<String> = self
            .sweep
            .trials
            .iter()
            .filter_map(|trial| Some(trial.parameters.get(key)?.to_string()))
            .collect();
        values.len()
    }

    fn trials(&self, headlines: &[&str]) -> Section {
        let monitor = self.sweep.monitor.as_str();
        let others = headlines.iter().copied().filter(|name| *name != monitor);
        let shown: Vec<&str> = others.take(MOST_METRICS).collect();
        let has_seeds = self.ranking.iter().any(|entry| entry.trials.len() > 1);
        let keys: Vec<&str> = self
            .plan
            .keys()
            .into_iter()
            .filter(|key| !has_seeds || !Plan::is_seed(key))
            .collect();
        // The metric stands first, to be seen on a narrow screen.
        let mut columns = vec![
            Column::Number(words("rank")),
            Column::Number(words("trial")),
            Column::Number(data(monitor)),
        ];
        columns.extend(keys.iter().map(|key| match self.positions(key).kind {
            AxisKind::Categories(_) => Column::Text(data(*key)),
            _ => Column::Number(data(*key)),
        }));
        columns.extend([Column::Number(words("epochs")), Column::Text(words("state"))]);
        columns.extend(shown.iter().map(|name| Column::Number(data(*name))));
        columns.push(Column::Number(words("seconds")));
        let row = |entry: &Ranked<'_>| {
            let best = entry.best;
            let rank = entry.rank.map_or("–".to_owned(), |rank| rank.to_string());
            let numbers: Vec<String> = entry.trials.iter().map(|trial| trial.trial.to_string()).collect();
            let spread = entry.spread.as_ref().map_or("–".to_owned(), Spread::to_string);
            let mut row = vec![data(rank), data(numbers.join(", ")), data(spread)];
            row.extend(
                keys.iter()
                    .map(|key| data(best.parameters.get(*key).map_or(String::new(), shown_value))),
            );
            let epochs = shown_number((best.epochs * 100.0).round() / 100.0);
            row.extend([data(epochs), words(best.state.name())]);
            row.extend(shown.iter().map(|name| {
                let value = best.metrics.get(*name).copied().flatten();
                data(value.map_or("–".to_owned(), |value| format!("{value:.4}")))
            }));
            let seconds: f64 = entry.trials.iter().map(|trial| trial.seconds).sum();
            row.push(data(format!("{seconds:.0}")));
            row
        };
        let mut rows: Vec<Vec<Text>> = self.ranking.iter().map(row).collect();
        let rest = rows.split_off(rows.len().min(MOST_ROWS));
        let columns_again = || columns.iter().map(again).collect();
        let mut blocks = vec![Block::Table(Table {
            caption: Some(match has_seeds {
                true => words("Runs that differ only by their seed are one row, with mean and standard deviation"),
                false => words("Figures of the validation rows, at the best evaluation of each trial"),
            }),
            columns: columns_again(),
            rows,
        })];
        if !rest.is_empty() {
            let table = Table {
                caption: None,
                columns: columns_again(),
                rows: rest,
            };
            blocks.push(Block::Details(words("The other trials"), vec![Block::Table(table)]));
        }
        Section {
            title: words("Trials"),
            blocks,
        }
    }

    /// Where the values of a parameter lie on an axis.
    fn positions(&self, key: &str) -> Positions {
        let numbers: Vec<Option<f64>> = self.sweep.trials.iter().map(|trial| number(trial, key)).collect();
        let Some(numbers) = numbers.into_iter().collect::<Option<Vec<f64>>>() else {
            let shown: Vec<String> = self
                .sweep
                .trials
                .iter()
                .map(|trial| trial.parameters.get(key).map_or(String::new(), shown_value))
                .collect();
            let mut names: Vec<&String> = Vec::new();
            for name in &shown {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let place = |name: &String| names.iter().position(|known| *known == name).unwrap_or(0) as f64;
            return Positions {
                of_trials: shown.iter().map(place).collect(),
                kind: AxisKind::Categories(names.into_iter().map(data).collect()),
            };
        };
        let [least, most] = numbers
            .iter()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], number| {
                [number.min(least), number.max(most)]
            });
        let is_logarithmic = match self.plan.sweep.parameters.0.get(key) {
            Some(Candidates::Range(range)) => range.scale == RangeScale::Log,
            _ => least > 0.0 && most / least >= WIDE,
        };
        Positions {
            kind: if is_logarithmic {
                AxisKind::Logarithmic
            } else {
                AxisKind::Linear
            },
            of_trials: numbers,
        }
    }

    fn parameters(&self) -> Option<Section> {
        let has_values = self.sweep.trials.iter().any(|trial| trial.value.is_some());
        if !has_values {
            return None;
        }
        let keys: Vec<&str> = self
            .plan
            .keys()
            .into_iter()
            .filter(|key| self.candidates_count(key) > 1 && !Plan::is_seed(key))
            .collect();
        let mut blocks = vec![Block::Figures(keys.iter().map(|key| self.panel(key)).collect())];
        if keys.len() > 1 {
            blocks.push(Block::Figures(vec![self.parallel(&keys)]));
        }
        Some(Section {
            title: words("Parameters"),
            blocks,
        })
    }

    /// The metric against one parameter.
    fn panel(&self, key: &str) -> Figure {
        let Positions { kind, of_trials } = self.positions(key);
        let placed = || self.sweep.trials.iter().zip(of_trials.iter().copied());
        let points = |wanted: &dyn Fn(&TrialRecord) -> bool| -> Vec<Point> {
            let chosen = placed().filter(|(trial, _)| wanted(trial));
            chosen
                .filter_map(|(trial, x)| {
                    Some(Point {
                        x,
                        y: trial.value?,
                        tip: words(format!("trial {}", trial.trial)),
                    })
                })
                .collect()
        };
        let mut groups = vec![PointGroup {
            name: words("trained to the end"),
            points: points(&|trial| trial.state == TrialState::Done),
        }];
        let cut_short = points(&|trial| trial.state != TrialState::Done);
        let all_done = cut_short.is_empty();
        if !all_done {
            groups.push(PointGroup {
                name: words("cut short"),
                points: cut_short,
            });
        }
        // Means say something where several trials share a value.
        let mut places: Vec<f64> = of_trials.clone();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let mean = |place: f64| {
            let at = placed().filter(|(trial, x)| *x == place && trial.state == TrialState::Done);
            Some((
                place,
                Spread::of(at.filter_map(|(trial, _)| trial.value).collect())?.mean,
            ))
        };
        let line: Vec<(f64, f64)> = places.iter().filter_map(|place| mean(*place)).collect();
        let is_repeated = places.len() * 2 <= of_trials.len() || key == "data.train_share";
        let has_line = is_repeated && all_done && line.len() > 1 && !matches!(kind, AxisKind::Categories(_));
        let is_few = places.len() <= MOST_TICKS && is_list(self.plan, key);
        let monitor = &self.sweep.monitor;
        let caption = match (&self.outlook, has_line) {
            (Some(outlook), _) if key == "data.train_share" => Some(words(outlook.to_string())),
            (_, true) => Some(words("the line goes through the means")),
            (_, false) => None,
        };
        Figure {
            title: data(format!("{monitor} – {key}")),
            caption,
            plot: Box::new(Scatter {
                groups,
                x_title: Some(data(key)),
                y_title: Some(data(monitor)),
                is_logarithmic: matches!(kind, AxisKind::Logarithmic),
                ticks: if is_few { places } else { Vec::new() },
                line: has_line.then(|| (words("mean"), line)),
                categories: match kind {
                    AxisKind::Categories(names) => names,
                    _ => Vec::new(),
                },
                ..Scatter::default()
            }),
        }
    }

    /// All parameters at once.
    fn parallel(&self, keys: &[&str]) -> Figure {
        let mut axes = Vec::new();
        let mut columns = Vec::new();
        for key in keys {
            let Positions { kind, of_trials } = self.positions(key).of_few(is_list(self.plan, key));
            axes.push(Axis {
                name: data(key.rsplit('.').next().unwrap_or(key)),
                kind,
            });
            columns.push(of_trials);
        }
        axes.push(Axis {
            name: data(&self.sweep.monitor),
            kind: AxisKind::Linear,
        });
        let order: Vec<usize> = self
            .ranking
            .iter()
            .filter(|entry| entry.rank.is_some())
            .flat_map(|entry| &entry.trials)
            .map(|trial| trial.trial)
            .collect();
        let trials = self.sweep.trials.iter().enumerate();
        let trials = trials.filter(|(_, trial)| trial.value.is_some()).map(|(index, trial)| {
            let values = columns.iter().map(|column| Some(column[index]));
            let place = order
                .iter()
                .position(|number| *number == trial.trial)
                .unwrap_or(order.len());
            let value = trial.value.map_or(String::new(), |value| format!("{value:.4}"));
            Line {
                values: values.chain([trial.value]).collect(),
                quality: 1.0 - place as f64 / order.len().max(1) as f64,
                tip: words(format!("trial {}: {value}", trial.trial)),
            }
        });
        Figure {
            title: words("All parameters at once"),
            caption: Some(words("each line is a trial; the best quarter is coloured")),
            plot: Box::new(ParallelCoordinates {
                axes,
                trials: trials.collect(),
            }),
        }
    }

    fn curves(&self) -> Option<Section> {
        let order: Vec<&TrialRecord> = self.ranking.iter().map(|entry| entry.best).collect();
        let series = |trial: &TrialRecord| Series {
            name: words(format!("trial {}", trial.trial)),
            points: trial
                .curve
                .iter()
                .map(|(epoch, value)| (*epoch, value.unwrap_or(f64::NAN)))
                .collect(),
            band: Vec::new(),
            is_dashed: false,
        };
        let coloured: Vec<&TrialRecord> = order
            .into_iter()
            .filter(|trial| !trial.curve.is_empty())
            .take(COLOURED)
            .collect();
        if coloured.is_empty() {
            return None;
        }
        let is_other =
            |trial: &&TrialRecord| !coloured.iter().any(|known| known.trial == trial.trial) && !trial.curve.is_empty();
        let others: Vec<Series> = self.sweep.trials.iter().filter(is_other).map(series).collect();
        let most = self
            .sweep
            .trials
            .iter()
            .map(|trial| trial.epochs)
            .fold(0.0, f64::max)
            .floor() as u64;
        let ticks = (1..=most)
            .step_by((most as usize).div_ceil(MOST_TICKS).max(1))
            .map(|epoch| epoch as f64)
            .collect();
        let caption = match others.len() {
            0 => None,
            count => Some(words(format!("coloured are the best; {count} others are grey"))),
        };
        let figure = Figure {
            title: data(&self.sweep.monitor),
            caption,
            plot: Box::new(LineChart {
                series: coloured.iter().map(|trial| series(trial)).collect(),
                x_title: Some(words("epochs")),
                y_title: Some(data(&self.sweep.monitor)),
                ticks,
                others,
                ..LineChart::default()
            }),
        };
        Some(Section {
            title: words("Curves"),
            blocks: vec![Block::Figures(vec![figure])],
        })
    }

    fn failures(&self) -> Option<Section> {
        let failed = self
            .sweep
            .trials
            .iter()
            .filter(|trial| trial.state == TrialState::Failed);
        let rows: Vec<Vec<Text>> = failed
            .map(|trial| {
                let parameters: Vec<String> = trial
                    .parameters
                    .iter()
                    .map(|(key, value)| format!("{key} = {}", shown_value(value)))
                    .collect();
                let said = trial.error.clone().unwrap_or_default();
                vec![data(trial.trial.to_string()), data(parameters.join(", ")), data(said)]
            })
            .collect();
        (!rows.is_empty()).then(|| Section {
            title: words("Failed trials"),
            blocks: vec![Block::Table(Table {
                caption: None,
                columns: vec![
                    Column::Number(words("trial")),
                    Column::Long(words("settings")),
                    Column::Long(words("what it said")),
                ],
                rows,
            })],
        })
    }
}

/// A value that is a number.
fn number(trial: &TrialRecord, key: &str) -> Option<f64> {
    trial.parameters.get(key).and_then(Json::as_f64)
}

fn is_list(plan: &Plan, key: &str) -> bool {
    matches!(plan.sweep.parameters.0.get(key), Some(Candidates::Values(_)))
}

/// A column of a second table.
fn again(column: &Column) -> Column {
    match column {
        Column::Text(name) => Column::Text(name.clone()),
        Column::Long(name) => Column::Long(name.clone()),
        Column::Number(name) => Column::Number(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::Task;
    use crate::report::Language;
    use crate::settings::{Parameters, Settings};

    /// A sweep with every kind of parameter and trial.
    #[test]
    fn whatever_happened_can_be_shown() {
        let parameters = [
            "train.learning_rate={ min = 1e-5, max = 1e-3, scale = \"log\" }",
            "train.batch_size=8,16,64",
            "train.schedule=linear,cosine",
            "data.label=<script>,b",
        ];
        let mut overrides: Vec<_> = parameters.iter().map(|text| Parameters::parse(text).unwrap()).collect();
        overrides.push(Settings::parse_assignment("sweep.trials=40").unwrap());
        let mut plan = Plan::new(&Settings::load(None, &overrides).unwrap()).unwrap();
        plan.choose_monitor(Task::SingleLabel).unwrap();
        let nothing = Sweep::new(&plan, Json::Null);
        let mut some = nothing.clone();
        for (number, trial) in some.trials.iter_mut().enumerate() {
            let value = [Some(0.5), Some(0.25), None, Some(0.1), Some(0.9)][number % 5];
            trial.value = value;
            trial.curve = vec![(1.0, value), (2.0, None), (3.0, Some(0.5))];
            trial.epochs = 3.0;
            trial.metrics.insert("accuracy".to_owned(), value);
            trial.state = [
                TrialState::Done,
                TrialState::Out,
                TrialState::Failed,
                TrialState::Paused,
            ][number % 4];
            trial.error = (trial.state == TrialState::Failed).then(|| "<b>no</b>".to_owned());
        }
        for sweep in [&nothing, &some] {
            let test = [("accuracy".to_owned(), 0.75)];
            let page = page(&plan, sweep, &["accuracy", "loss"], &test).render(&Language::ENGLISH);
            let pictures: String = page
                .split("<svg")
                .skip(1)
                .filter_map(|part| part.split("</svg>").next())
                .collect();
            assert!(!pictures.contains("NaN") && !pictures.contains("inf"), "{pictures}");
            assert!(!page.contains("<script>,") && !page.contains("<b>no</b>"));
            assert!(page.len() < 200_000, "{}", page.len());
        }
        let page = page(&plan, &some, &[], &[]).render(&Language::ENGLISH);
        for expected in [
            "The other trials",
            "Failed trials",
            "the sweep is not over",
            "&lt;b&gt;no",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        // The best value of a list that lies at its end.
        let parameter = Parameters::parse("train.batch_size=8,16,64").unwrap();
        let mut plan = Plan::new(&Settings::load(None, &[parameter]).unwrap()).unwrap();
        plan.choose_monitor(Task::SingleLabel).unwrap();
        let mut sweep = Sweep::new(&plan, Json::Null);
        for (trial, value) in sweep.trials.iter_mut().zip([0.1, 0.2, 0.3]) {
            trial.value = Some(value);
            trial.state = TrialState::Done;
        }
        let told = |sweep: &Sweep| super::page(&plan, sweep, &[], &[]).render(&Language::ENGLISH);
        assert!(told(&sweep).contains("lies at the end of what was tried"));
        sweep.trials[2].value = Some(0.15);
        assert!(!told(&sweep).contains("lies at the end of what was tried"));
        assert_eq!(sweep.trials[0].parameters["train.batch_size"], json!(8));
    }
}
