//! Which labels are taken for which: the confusion matrix, or the part of it where most is confused.

use std::collections::BTreeMap;

use super::super::{Confused, ExampleShown, Judged, Report};
use super::excerpt;
use crate::data::Task;
use crate::report::plots::{HeatMap, ValueFormat};
use crate::report::{Block, Column, Figure, Section, Table, Text, data, grouped, words};

/// Labels of a matrix: the numbers in its cells can still be read.
const MOST_LABELS: usize = 20;

pub(crate) fn section(judged: &Judged<'_>, report: &Report) -> Option<Section> {
    if judged.schema.task == Task::Regression || judged.schema.num_labels() < 2 {
        return None;
    }
    let counts = Counts::new(judged);
    let mut blocks = Vec::new();
    if let Some(figure) = matrix_figure(judged, &counts) {
        blocks.push(Block::Figures(vec![figure]));
    }
    if !report.confused.is_empty() {
        blocks.push(Block::Table(pairs_table(&report.confused, judged.schema.task)));
    }
    (!blocks.is_empty()).then(|| Section {
        title: words("Which labels are confused"),
        blocks,
    })
}

/// How often which label stands for which. Of several labels, a missed one is confused with each that is wrongly given.
struct Counts {
    /// By the true and the given label.
    pairs: BTreeMap<(usize, usize), u64>,
    /// Rows of each label.
    supports: Vec<u64>,
}

impl Counts {
    fn new(judged: &Judged<'_>) -> Self {
        let mut pairs = BTreeMap::new();
        let mut supports = vec![0; judged.schema.num_labels()];
        for (example, prediction) in judged.examples.iter().zip(judged.predictions) {
            let (truth, given) = (example.target.ids(), &prediction.classes);
            for id in truth {
                supports[*id as usize] += 1;
                if given.contains(id) {
                    *pairs.entry((*id as usize, *id as usize)).or_default() += 1;
                    continue;
                }
                for other in given.iter().filter(|other| !truth.contains(other)) {
                    *pairs.entry((*id as usize, *other as usize)).or_default() += 1;
                }
            }
        }
        Self { pairs, supports }
    }

    fn of(&self, truth: usize, given: usize) -> u64 {
        self.pairs.get(&(truth, given)).copied().unwrap_or(0)
    }

    /// The labels of the most frequent confusions, in the order of the labels.
    fn most_confused(&self) -> Vec<usize> {
        let mut confusions: Vec<_> = self.pairs.iter().filter(|((truth, given), _)| truth != given).collect();
        confusions.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut chosen = Vec::new();
        for ((truth, given), _) in confusions {
            let new: Vec<usize> = [*truth, *given].into_iter().filter(|id| !chosen.contains(id)).collect();
            if chosen.len() + new.len() > MOST_LABELS {
                break;
            }
            chosen.extend(new);
        }
        chosen.sort_unstable();
        chosen
    }
}

/// `None` if there are many labels and none is confused.
fn matrix_figure(judged: &Judged<'_>, counts: &Counts) -> Option<Figure> {
    let names = &judged.schema.names;
    let is_cut = names.len() > MOST_LABELS;
    let shown = match is_cut {
        true => counts.most_confused(),
        false => (0..names.len()).collect(),
    };
    if shown.is_empty() {
        return None;
    }
    let share = |truth: usize, count: u64| match counts.supports[truth] {
        0 => f64::NAN,
        support => count as f64 / support as f64,
    };
    let row = |truth: usize| -> Vec<u64> {
        let row: Vec<u64> = shown.iter().map(|given| counts.of(truth, *given)).collect();
        let is_of_row = |((of, given), _): &(&(usize, usize), &u64)| *of == truth && !shown.contains(given);
        let others = counts.pairs.iter().filter(is_of_row).map(|(_, count)| count).sum();
        if is_cut { [row, vec![others]].concat() } else { row }
    };
    let rows: Vec<Vec<u64>> = shown.iter().map(|truth| row(*truth)).collect();
    let cells = |of: &dyn Fn(usize, u64) -> f64| -> Vec<Vec<f64>> {
        let row = |(truth, row): (&usize, &Vec<u64>)| row.iter().map(|count| of(*truth, *count)).collect();
        shown.iter().zip(&rows).map(row).collect()
    };
    let tip = |truth: usize, count: u64| {
        let support = counts.supports[truth];
        data(format!(
            "{} / {} ({})",
            grouped(count),
            grouped(support),
            ValueFormat::Percent.show(share(truth, count))
        ))
    };
    let tips = shown.iter().zip(&rows);
    let tips = tips.map(|(truth, row)| row.iter().map(|count| tip(*truth, *count)).collect());
    let label = |id: &usize| data(&names[*id]);
    let mut columns: Vec<Text> = shown.iter().map(label).collect();
    columns.extend(is_cut.then(|| words("other labels")));
    let is_single = judged.schema.task == Task::SingleLabel;
    Some(Figure {
        title: words(if is_single {
            "Confusion matrix"
        } else {
            "Missed labels and what was given instead"
        }),
        caption: Some(words(match is_cut {
            true => format!(
                "per cent of the rows with the label at the left; the {} labels of the most frequent confusions, of {}",
                shown.len(),
                names.len()
            ),
            false => "per cent of the rows with the label at the left".to_owned(),
        })),
        plot: Box::new(HeatMap {
            rows: shown.iter().map(label).collect(),
            columns,
            values: cells(&share),
            // By the root of the share: of what is confused, little would be seen beside what is right.
            strengths: Some(cells(&|truth, count| share(truth, count).sqrt())),
            format: ValueFormat::Percent,
            tips: Some(tips.collect()),
            row_title: Some(words("it is")),
            column_title: Some(words("predicted")),
        }),
    })
}

/// A row for each pair, and below it one for each of its examples: both in one column, or texts would not be seen on a narrow screen.
fn pairs_table(confused: &[Confused], task: Task) -> Table {
    let rows = confused.iter().flat_map(|pair| {
        let of_pair = vec![
            words(format!("`{}` → `{}`", pair.label, pair.predicted)),
            data(format!("{} ({:.1} %)", grouped(pair.count as u64), 100.0 * pair.share)),
            data(""),
            data(""),
        ];
        let of_example = |example: &ExampleShown| {
            vec![
                excerpt(&example.text, example.text_pair.as_deref()),
                data(""),
                data(format!("{:.3}", example.score)),
                data(grouped(example.row)),
            ]
        };
        std::iter::once(of_pair).chain(pair.examples.iter().map(of_example))
    });
    Table {
        caption: Some(words(match task {
            Task::MultiLabel => "The pairs that are confused most: the first label is missed, the second given instead",
            _ => "The pairs that are confused most, with the examples that the model is surest of",
        })),
        columns: vec![
            Column::Long(words("it is → predicted")),
            Column::Number(words("rows (of the label)")),
            Column::Number(words("score")),
            Column::Number(words("row")),
        ],
        rows: rows.collect(),
    }
}
