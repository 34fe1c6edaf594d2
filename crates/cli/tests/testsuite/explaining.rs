//! `gareum explain`, end to end.

use crate::workspace::{Workspace, assert_korean, csv, json_lines};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// With the trained `model`, whose probabilities depend on the words of [`crate::workspace::reviews`].
fn trained() -> Workspace {
    let workspace = Workspace::with_base();
    let more = ["--set", "train.epochs=8", "--set", "train.precision=f32"];
    workspace.train("reviews.csv", "model", &more);
    workspace
}

fn explain<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["explain", "--quiet", "--model", "model"], more].concat()
}

/// The word of a map that changes most. (Which way is open: a mask token, which these models never saw in training, speaks for a label too.)
fn strongest(map: &Value) -> &str {
    let words = map["words"].as_array().unwrap();
    let strongest = words.iter().max_by(|first, second| {
        let score = |word: &Value| word["score"].as_f64().unwrap().abs();
        score(first).total_cmp(&score(second))
    });
    strongest.unwrap()["text"].as_str().unwrap()
}

#[test]
fn the_word_that_makes_the_label_is_found_by_every_method() {
    let workspace = trained();
    for method in ["occlusion", "integrated-gradients"] {
        for (text, label, word) in [
            ("the food was very awful", "neg", "awful"),
            ("the service was quite lovely", "pos", "lovely"),
        ] {
            let finished = workspace.succeed(&explain(&["--text", text, "--method", method, "--json"]));
            let explanation = finished.json();
            assert_eq!(explanation["label"], label, "{explanation}");
            assert_eq!(explanation["method"], method.replace('-', "_"));
            assert_eq!(explanation["maps"][0]["label"], label);
            assert_eq!(strongest(&explanation["maps"][0]), word, "{method} {explanation}");
            let words = explanation["maps"][0]["words"].as_array().unwrap();
            for word in words {
                let [start, end] = ["start", "end"].map(|key| word[key].as_u64().unwrap() as usize);
                assert_eq!(text[start..end], *word["text"].as_str().unwrap());
            }
        }
    }
    // Every option is taken.
    let finished = workspace.succeed(&explain(&[
        "--text",
        "the book was fine",
        "--text-pair",
        "영화는 좋아요",
        "--method",
        "gradient-input",
        "--labels",
        "neg",
        "--labels",
        "pos",
        "--units",
        "particles",
        "--window",
        "3",
        "--json",
    ]));
    let explanation = finished.json();
    let labels: Vec<&Value> = explanation["maps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|map| &map["label"])
        .collect();
    assert_eq!(labels, ["neg", "pos"]);
    let words = explanation["maps"][0]["words"].as_array().unwrap();
    let words: Vec<(&str, bool)> = words
        .iter()
        .map(|word| (word["text"].as_str().unwrap(), word["pair"] == true))
        .collect();
    assert_eq!(
        words,
        [
            ("the", false),
            ("book", false),
            ("was", false),
            ("fine", false),
            ("영화", true),
            ("는", true),
            ("좋아요", true)
        ]
    );
    assert!(explanation["maps"][0]["words"][0]["smoothed"].is_number());
}

#[test]
fn rows_stay_in_their_places() {
    let workspace = trained();
    let rows = ["the food was bad", "", "the book was good"].map(|text| vec!["x".to_owned(), text.to_owned()]);
    workspace.write("new.csv", csv(&["note", "body"], &rows));
    let arguments = [
        "explain",
        "--model",
        "model",
        "--input",
        "new.csv",
        "--text-column",
        "body",
        "--output",
        "out.jsonl",
        "--json",
    ];
    let finished = workspace.succeed(&arguments);
    assert_snapshot!(finished.stderr, @"
    computing in f32
    1 of 3 rows have no text and got no label
    2 explanations written to out.jsonl
    ");
    let mut report = finished.json();
    assert!(report["seconds"].take().as_f64().unwrap() > 0.0);
    assert_eq!(
        report,
        json!({
            "model": "model", "output": "out.jsonl", "rows": 3, "rows_without_text": 1, "rows_cut": 0, "method": "occlusion",
            "precision": "f32", "seconds": null,
        })
    );
    let rows = json_lines(&workspace.text("out.jsonl"));
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[1],
        json!({"text": "", "text_pair": null, "label": null, "scores": {}, "method": "occlusion", "maps": [], "unread": null})
    );
    assert_eq!(
        (&rows[0]["text"], &rows[2]["text"]),
        (&json!("the food was bad"), &json!("the book was good"))
    );
    // The same from standard input, one text a line.
    let input = "the food was bad\n\nthe book was good\n";
    let streamed = workspace.run_with_input(&explain(&["--input", "-", "--output", "-"]), input);
    assert_eq!(streamed.json_lines(), rows);
    // The probabilities are those of predict.
    let predicted = workspace
        .run_with_input(&["predict", "--quiet", "--model", "model"], input)
        .json_lines();
    for (row, prediction) in rows.iter().zip(&predicted).filter(|(row, _)| !row["label"].is_null()) {
        assert_eq!(row["label"], prediction["label"]);
        let [said, predicted] = [row, prediction].map(|row| row["scores"]["pos"].as_f64().unwrap());
        assert!((said - predicted).abs() < 1e-6, "{said} {predicted}");
    }
}

#[test]
fn without_a_terminal_words_have_signs() {
    let workspace = trained();
    let shown = |more: &[&str]| {
        let finished = workspace.succeed(&explain(more));
        assert!(!finished.stdout.contains('\x1b'));
        finished.stdout
    };
    let text = shown(&["--text", "the food was very lovely", "--top-k", "2"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("pos 0."), "{text}");
    assert!(lines[1].contains("lovely[+++]"), "{text}");
    assert!(
        lines[2].starts_with("    +0.") && lines[2].contains("++++++++++ lovely"),
        "{text}"
    );
    assert!(lines[2].ends_with(" without it"), "{text}");
    assert!(
        lines[4].starts_with("  together +") && lines[4].contains("lovely"),
        "{text}"
    );
    assert_eq!(lines.len(), 6, "{text}");
    let text = shown(&[
        "--text",
        "the food was very awful",
        "--method",
        "integrated-gradients",
        "--lang",
        "ko",
    ]);
    assert!(text.contains("점수의 합"), "{text}");
    // Nothing in a text tells the terminal what to do, and what was cut off stands apart.
    let long = format!("bad \x1b[31m {}", "very ".repeat(30));
    assert!(shown(&["--text", &long]).contains('⟦'));
    assert_eq!(shown(&["--text", ""]).lines().count(), 3);
}

#[test]
fn a_page_needs_nothing_else() {
    let workspace = trained();
    let rows = [
        "the food was <b>bad</b> & awful",
        "the book was good",
        "영화 좋아요",
        "very very very very very very very very very very very very very very bad",
    ];
    workspace.write("texts.txt", rows.join("\n"));
    for (language, words) in [("en", "How to read it"), ("ko", "읽는 법")] {
        let arguments = [
            "--input",
            "texts.txt",
            "--output",
            "page/words.html",
            "--lang",
            language,
        ];
        workspace.succeed(&explain(&arguments));
        let page = workspace.text("page/words.html");
        assert!(
            page.starts_with("<!DOCTYPE html>") && page.contains(words),
            "{language}"
        );
        assert!(page.contains("&lt;b&gt;bad&lt;/b&gt;") && !page.contains("<b>bad"));
        assert!(page.matches("<mark class=\"for\"").count() > 4 && page.contains("<mark class=\"against\""));
        assert!(page.contains("<del>bad</del>"));
        for network in ["http://", "https://", "src=\"", "@import", "url(", "NaN"] {
            assert!(!page.contains(network), "{network}");
        }
        for element in ["mark", "span", "del", "details", "div", "table"] {
            let open = page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(open, page.matches(&format!("</{element}>")).count(), "{element}");
        }
    }
}

#[test]
fn several_labels_have_a_map_each() {
    let workspace = Workspace::with_base();
    let rows: Vec<Vec<String>> = crate::workspace::reviews()
        .into_iter()
        .map(|row| {
            let number = |is_there: bool| u8::from(is_there).to_string();
            vec![row[0].clone(), number(row[1] == "pos"), number(row[0].contains("food"))]
        })
        .collect();
    workspace.write("many.csv", csv(&["text", "pos", "food"], &rows));
    let more = ["--label", "pos", "--label", "food", "--set", "train.epochs=20"];
    workspace.train("many.csv", "model", &more);
    let text = "the food was very lovely";
    let asked = ["--text", text, "--labels", "pos", "--labels", "food", "--json"];
    let explanation = workspace.succeed(&explain(&asked)).json();
    let maps = explanation["maps"].as_array().unwrap();
    assert_eq!((&maps[0]["label"], &maps[1]["label"]), (&json!("pos"), &json!("food")));
    assert_eq!(strongest(&maps[0]), "lovely", "{explanation}");
    assert_ne!(maps[0]["words"], maps[1]["words"]);
    let predicted = workspace.succeed(&explain(&["--text", text, "--json"])).json();
    let labels: Vec<&Value> = predicted["maps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|map| &map["label"])
        .collect();
    assert_eq!(json!(labels), predicted["label"]);
}

#[test]
fn help_is_korean_too() {
    let workspace = Workspace::new();
    let help = workspace.succeed(&["explain", "--help", "--lang", "ko"]).stdout;
    let spoken: Vec<&str> = help
        .lines()
        .filter(|line| !line.contains("gareum") && !line.contains("possible"))
        .collect();
    assert!(spoken.iter().any(|line| line.contains("설명할 텍스트")), "{help}");
    assert_korean("설명할 텍스트", &[]);
}
