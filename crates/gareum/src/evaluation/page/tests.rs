//! Pages of made-up predictions: they can be made of anything, and tell what `metrics.json` does.

use super::super::{measure, slices::length_slices};
use super::*;
use crate::data::{Example, LabelSchema};
use crate::decision::Abstain;
use crate::metrics::Bootstrap;
use crate::report::Language;

/// `labels` labels, each with `each` rows; of these, the logits of the right label are `lead` above the others, and every fifth row is wrong.
fn judge(task: Task, labels: u32, each: u32, decision: &Decision) -> (Report, Page) {
    let names = (0..labels).map(|id| format!("<라벨 {id}>")).collect();
    let schema = LabelSchema { task, names };
    let target = |row: u32| match task {
        Task::SingleLabel => Target::Class(row % labels),
        Task::MultiLabel if row.is_multiple_of(7) => Target::Classes(Vec::new()),
        Task::MultiLabel => Target::Classes(vec![row % labels]),
        Task::Regression => Target::Value((row % 5) as f32),
    };
    let example = |row: u32| Example {
        id: u64::from(row + 1),
        text: format!("<b>text</b> {row}"),
        text_pair: row.is_multiple_of(2).then(|| "<i>pair</i>".to_owned()),
        target: target(row),
        group: None,
    };
    let logits = |row: u32| -> Vec<f32> {
        let given = if row % 5 == 4 { row + 1 } else { row } % labels.max(1);
        let logit = |id: u32| if id == given { 1.0 + (row % 3) as f32 } else { -1.0 };
        match task {
            Task::Regression => vec![(row % 4) as f32],
            _ => (0..labels).map(logit).collect(),
        }
    };
    let rows = labels.max(1) * each;
    let examples: Vec<Example> = (0..rows).map(example).collect();
    let predictions: Vec<_> = (0..rows).map(|row| decision.decide(logits(row), task)).collect();
    let targets: Vec<&Target> = examples.iter().map(|example| &example.target).collect();
    let metrics = measure(&schema, &targets, &predictions, Some(0.25)).unwrap();
    let judged = Judged {
        schema: &schema,
        examples: &examples,
        predictions: &predictions,
    };
    let lengths: Vec<usize> = (0..rows as usize).map(|row| 1 + row % 40).collect();
    let parity = (0..rows)
        .map(|row| ["<even>", "odd"][row as usize % 2].to_owned())
        .collect();
    let slicings = [("<column>".to_owned(), parity), length_slices(&lengths, 32)];
    let bootstrap = Bootstrap {
        resamples: 20,
        ..Bootstrap::default()
    };
    let counts = vec![7; labels as usize];
    let report = judged.report(metrics, Some(&counts), &slicings, &bootstrap).unwrap();
    let page = judged.to_page(&report, decision, "<model>");
    (report, page)
}

/// Well-formed, with nothing of the data as markup and no number that no browser can draw.
fn check(task: Task, labels: u32, each: u32, decision: &Decision) -> String {
    let (_, page) = judge(task, labels, each, decision);
    let html = page.render(&Language::ENGLISH);
    let at = format!("{task}, {labels} labels, {each} rows each");
    for markup in [
        "<라벨", "<b>text", "<i>pair", "<even>", "<column>", "<model>", "NaN", "inf\"",
    ] {
        assert!(!html.contains(markup), "{at}: {markup}");
    }
    for element in ["section", "table", "figure", "details", "svg", "tr", "td", "th", "text"] {
        let (open, closed) = (
            html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count(),
            html.matches(&format!("</{element}>")).count(),
        );
        assert_eq!(open, closed, "{at}: {element}");
    }
    for (name, drawing) in page.drawings(&Language::ENGLISH) {
        assert!(!drawing.contains("NaN"), "{at}: {name}");
    }
    html
}

#[test]
fn everything_can_be_shown() {
    for task in [Task::SingleLabel, Task::MultiLabel] {
        for (labels, each) in [(1, 3), (2, 1), (2, 20), (3, 0), (9, 4), (40, 3)] {
            check(task, labels, each, &Decision::default());
        }
    }
    for rows in [0, 1, 20, 2000] {
        check(Task::Regression, 1, rows, &Decision::default());
    }
}

#[test]
fn what_is_shown_is_what_was_measured() {
    for task in [Task::SingleLabel, Task::MultiLabel, Task::Regression] {
        let (report, page) = judge(
            task,
            if task == Task::Regression { 1 } else { 3 },
            30,
            &Decision::default(),
        );
        let html = page.render(&Language::ENGLISH);
        for (name, value) in report.metrics.values() {
            let shown = minus(&value.map_or("–".to_owned(), |value| format!("{value:.4}")));
            let cells = format!("<td><code>{name}</code></td><td class=\"number\">{shown}</td>");
            assert!(html.contains(&cells), "{task}: {cells}");
        }
    }
}

#[test]
fn of_many_labels_the_most_telling_are_shown() {
    let html = check(Task::SingleLabel, 40, 5, &Decision::default());
    assert!(html.contains("the 14 labels with the lowest F1 of 40"));
    // Eight labels are taken for the next one.
    assert!(html.contains("the 16 labels of the most frequent confusions, of 40"));
    assert!(html.contains("the 5 labels with the lowest value of 40"));
    assert!(html.contains("mean of the labels ("));
    assert!(html.contains("All 40 labels"));
}

#[test]
fn an_abstain_band_is_marked() {
    let decision = Decision {
        abstain: Abstain {
            min_score: Some(0.8),
            min_margin: None,
        },
        ..Decision::default()
    };
    let html = check(Task::SingleLabel, 3, 30, &decision);
    assert!(html.contains("answered now") && html.contains("<dt>answered</dt>"));
    assert!(!check(Task::SingleLabel, 3, 30, &Decision::default()).contains("answered now"));
}

#[test]
fn long_texts_are_cut() {
    let Text::Data(text) = excerpt(&"가".repeat(1000), Some("pair")) else {
        unreachable!()
    };
    assert_eq!(text.chars().count(), MOST_LETTERS + 1);
    assert_eq!(excerpt("one", Some("two")), data("one  |  two"));
}
