//! `gareum inspect` end to end: what it finds, how it shows it, and the report it writes.

use std::collections::BTreeSet;

use crate::workspace::{Workspace, assert_korean, csv, reviews};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// Reviews with everything that can be wrong, and a test file that shares some.
fn dirty() -> Workspace {
    let workspace = Workspace::with_base();
    let mut rows: Vec<Vec<String>> = reviews();
    let label = |row: &[String]| row[1].clone();
    let row = |text: &str, label: &str| vec![text.to_owned(), label.to_owned()];
    rows.push(rows[0].clone());
    rows.push(row(&rows[1][0].to_uppercase(), "neg"));
    rows.push(row("a &lt;b&gt; tag", "pos"));
    rows.push(row("", "pos"));
    rows.push(row("no label here", ""));
    let rating = |row: &[String], place: usize| match label(row).as_str() {
        "pos" => (9 + place % 2).to_string(),
        "neg" => (1 + place % 4).to_string(),
        _ => String::new(),
    };
    let with_columns: Vec<Vec<String>> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| vec![format!("r{place}"), row[0].clone(), rating(row, place), row[1].clone()])
        .collect();
    workspace.write("train.csv", csv(&["id", "text", "rating", "label"], &with_columns));
    let test = [
        row("the movie was very good", "pos"),
        row("The  movie was very GREAT", "neg"),
        row("quite another text", "neutral"),
        row("nothing of the kind", "neg"),
    ];
    workspace.write("test.csv", csv(&["text", "label"], &test));
    workspace
}

fn inspected(workspace: &Workspace, more: &[&str]) -> Value {
    workspace
        .succeed(&[&["inspect", "--quiet", "--json"], more].concat())
        .json()
}

/// The findings of a kind: file, severity, count, rows.
fn findings(inspection: &Value, kind: &str) -> Vec<Value> {
    let all = inspection["findings"].as_array().unwrap();
    let of_kind = all.iter().filter(|finding| finding["kind"] == kind);
    of_kind
        .map(|finding| json!([finding["file"], finding["severity"], finding["count"], finding["rows"]]))
        .collect()
}

#[test]
fn what_is_wrong_is_found() {
    let workspace = dirty();
    let found = inspected(&workspace, &["train.csv", "--test", "test.csv", "--model", "base"]);
    for (kind, expected) in [
        ("gives_label_away", json!([["train", "problem", 1, []]])),
        ("unknown_labels", json!([["test", "problem", 1, [3]]])),
        ("leakage", json!([["test", "problem", 2, [1, 1]]])),
        ("conflicts", json!([["train", "warning", 1, [2, 146]]])),
        ("duplicates", json!([["train", "warning", 2, [1, 145]]])),
        ("missing_text", json!([["train", "warning", 1, []]])),
        ("missing_label", json!([["train", "warning", 1, []]])),
        ("sorted_by_label", json!([["train", "warning", 1, []]])),
        ("text_trait", json!([["train", "warning", 1, [147]]])),
        ("constant_label", json!([])),
    ] {
        assert_eq!(Value::from(findings(&found, kind)), expected, "{kind}");
    }
    let leak = &found["leakage"][0];
    assert_eq!(
        (&leak["rows"], &leak["conflicting_rows"], &leak["of"]),
        (&json!(2), &json!(1), &json!(4))
    );
    assert_eq!(
        leak["examples"][0]["texts"],
        json!(["the movie was very good", "the movie was very good"])
    );
    let train = &found["files"][0];
    assert_eq!((&train["rows"], &train["texts"]), (&json!(149), &json!(148)));
    let rating = train["columns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|column| column["name"] == "rating")
        .unwrap();
    assert!(rating["tells"]["share"].as_f64().unwrap() > 0.9, "{rating}");
    let id = train["columns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|column| column["name"] == "id")
        .unwrap();
    assert!(
        id["tells"]["share"].as_f64().unwrap() < 0.05,
        "an identifier tells nothing: {id}"
    );
    // The model takes 32 tokens; every review has seven.
    assert_eq!(train["tokens"]["truncation"]["model_limit"], 32);
    assert_eq!(train["tokens"]["lengths"]["median"], 7);
    let words: BTreeSet<&str> = train["vocabulary"][1]["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word["word"].as_str().unwrap())
        .collect();
    assert_eq!(words, BTreeSet::from(["fine", "good", "great", "lovely"]));
}

#[test]
fn the_summary_is_readable() {
    let workspace = Workspace::with_base();
    workspace.write(
        "small.csv",
        "text,label\n좋아요,긍정\n별로예요,부정\n좋아요,긍정\n그냥 그래요,긍정\n",
    );
    let shown = workspace.succeed(&["inspect", "--quiet", "small.csv"]).stdout;
    assert_snapshot!(shown, @"
    small.csv
      4 rows, delimited text, `,`, quoted
      text `text`
      label `label`

        column  kind        missing  different  examples
        text    text              0          3  좋아요 | 별로예요 | 그냥 그래요
        label   text              0          2  긍정 | 부정

      labels (single_label), 4 rows
        긍정          3    75 %  ########################
        부정          1    25 %  ########

      length in characters: mean 4.0, median 3, 95 of 100 at most 6, longest 6
        3 #: : 6+

      words by which labels differ from the others
        긍정          
        부정          

    findings
      warning  small.csv: labels with fewer than 20 rows: 2 (`긍정`, `부정`)
               so few rows can hardly be learnt from, and their scores are mostly chance: add rows, join labels, or leave them out
      warning  small.csv: rows that repeat the text of an earlier one: 1, 1 of them its label too (rows 1, 3)
               training leaves out rows that repeat text and label; a split keeps equal texts in one part

    tokens were not counted: name a tokenizer with --tokenizer or a model with --model
    ");
    let korean = workspace
        .succeed(&["inspect", "--quiet", "small.csv", "--lang", "ko"])
        .stdout;
    assert_snapshot!(korean, @"
    small.csv
      4행, 구분자로 나뉜 텍스트, `,`, 따옴표 있음
      텍스트 `text`
      라벨 `label`

        열      종류           없음  서로 다름  예제
        text    텍스트            0          3  좋아요 | 별로예요 | 그냥 그래요
        label   텍스트            0          2  긍정 | 부정

      라벨 (single_label), 4행
        긍정          3    75 %  ########################
        부정          1    25 %  ########

      글자 수: 평균 4.0, 중앙값 3, 100개 중 95개는 6 이하, 최장 6
        3 #: : 6+

      라벨마다 두드러지는 단어
        긍정          
        부정          

    발견한 점
      경고     small.csv: 20행보다 적은 라벨: 2 (`긍정`, `부정`)
               이렇게 적으면 배우기 어렵고 점수도 우연에 가깝습니다. 행을 더하거나, 라벨을 합치거나, 빼세요
      경고     small.csv: 앞의 행과 텍스트가 같은 행: 1, 그중 라벨도 같은 행 1 (행 1, 3)
               텍스트와 라벨이 모두 같은 행은 학습에서 빠지고, 데이터를 나눌 때 같은 텍스트는 한쪽에 둡니다

    토큰은 세지 않았습니다. --tokenizer로 토크나이저를, 또는 --model로 모델을 지정하세요
    ");
}

#[test]
fn findings_and_reports_are_korean_too() {
    let workspace = dirty();
    let arguments = [
        "inspect",
        "--quiet",
        "train.csv",
        "--test",
        "test.csv",
        "--model",
        "base",
        "--lang",
        "ko",
    ];
    let shown = workspace.succeed(&arguments).stdout;
    let (_, said) = shown.split_once("발견한 점").unwrap();
    assert_korean(said, &arguments);
    workspace.succeed(&[&arguments[..], &["--report", "report"]].concat());
    let html = workspace.text("report/inspect.html");
    assert!(html.contains("<html lang=\"ko\">"));
    // Headings, captions and names of columns; data may be English.
    let (_, body) = html.split_once("<body>").unwrap();
    for (open, close) in [
        ("<h1>", "</h1>"),
        ("<h2", "</h2>"),
        ("<figcaption>", "</figcaption>"),
        ("<caption>", "</caption>"),
        ("<small>", "</small>"),
        ("<dt>", "</dt>"),
    ] {
        for piece in body.split(open).skip(1) {
            let text = piece.split_once(close).unwrap().0;
            let text: String = text
                .split('<')
                .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
                .collect();
            let is_data = ["train", "test", "train → test"].contains(&text.trim());
            assert!(
                is_data || text.contains(|c: char| ('가'..='힣').contains(&c)),
                "not Korean: {text}"
            );
        }
    }
}

#[test]
fn a_report_needs_nothing_else_and_holds_no_script_of_others() {
    let workspace = Workspace::with_base();
    let evil = "<script>alert(1)</script>";
    let rows: Vec<Vec<String>> = (0..40)
        .map(|row| {
            let label = if row % 2 == 0 {
                evil
            } else {
                "<img src=x onerror=alert(2)>"
            };
            vec![format!("{evil} {} 한국어", row % 15), label.to_owned(), evil.to_owned()]
        })
        .collect();
    workspace.write("evil.csv", csv(&["text", "label", evil], &rows));
    let said = workspace.succeed(&["inspect", "evil.csv", "--model", "base", "--report", "page.html"]);
    assert!(said.stderr.contains("report: page.html"), "{}", said.stderr);
    let html = workspace.text("page.html");
    assert_eq!(html.matches("<script").count(), 1, "the page's own");
    assert!(!html.contains("<img") && html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    for network in ["http://", "https://", "src=\"", "@import", "url("] {
        assert!(!html.contains(network), "{network}");
    }
    assert!(html.len() < 2 << 20, "{} bytes", html.len());
    assert!(html.contains("<svg ") && html.contains("한국어"));
}

#[test]
fn files_without_labels_are_inspected() {
    let workspace = Workspace::with_base();
    workspace.write("lines.txt", "first line\nsecond line\nfirst line\n");
    let found = inspected(&workspace, &["lines.txt"]);
    assert_eq!(findings(&found, "no_label").len(), 1);
    assert_eq!(found["files"][0]["repeats"]["exact"]["rows"], 1);
    assert!(found["files"][0]["labels"].is_null());
    // All rows have one label: told, not refused.
    workspace.write("constant.csv", "text,label\na b,0\nc d,0\ne f,0\n");
    let found = inspected(&workspace, &["constant.csv"]);
    assert_eq!(
        Value::from(findings(&found, "constant_label")),
        json!([["constant.csv", "problem", 3, []]])
    );
    let rows: String = (0..80).map(|row| format!("text {row},{row}x\n")).collect();
    workspace.write("ids.csv", format!("text,label\n{rows}"));
    let found = inspected(&workspace, &["ids.csv"]);
    assert_eq!(findings(&found, "not_labels").len(), 1);
}

#[test]
fn several_labels_a_row_and_numbers() {
    let workspace = Workspace::with_base();
    workspace.write(
        "several.csv",
        "text,label\na b c,\"x,y\"\nb c d,x\nc d e,y\nd e f,\"x,y\"\ne f g,z\n",
    );
    let found = inspected(&workspace, &["several.csv"]);
    let labels = &found["files"][0]["labels"];
    assert_eq!(labels["task"], "multi_label");
    assert_eq!(
        labels["combinations"]["together"],
        json!([[3, 2, 0], [2, 3, 0], [0, 0, 1]])
    );
    let rows: String = (0..60).map(|row| format!("text {row},{}.5\n", row % 6)).collect();
    workspace.write("numbers.csv", format!("text,score\n{rows}"));
    let found = inspected(&workspace, &["numbers.csv", "--report", "numbers.html"]);
    let values = &found["files"][0]["labels"]["values"];
    assert_eq!(
        (&values["distinct"], &values["mean"], &values["max"]),
        (&json!(6), &json!(3.0), &json!(5.5))
    );
}

#[test]
fn sheets_compressed_files_and_label_maps() {
    let workspace = Workspace::with_base();
    let fixture = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/xlsx");
        path.join(name).display().to_string()
    };
    let found = inspected(
        &workspace,
        &[
            &format!("{}#reviews", fixture("reviews.xlsx")),
            "--label-map",
            &fixture("labeling.xlsx"),
        ],
    );
    let labels: Vec<&str> = found["files"][0]["labels"]["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["부정", "긍정"]);
    assert_eq!(found["files"][0]["format"]["kind"], "xlsx");
    // Labels that the map lacks are listed.
    workspace.write("map.csv", "0,no\n");
    workspace.write("numbers.csv", "text,label\na,0\nb,7\nc,8\nd,7\n");
    let found = inspected(&workspace, &["numbers.csv", "--label-map", "map.csv"]);
    let unknown = &found["files"][0]["unknown_labels"];
    assert_eq!(
        unknown,
        &json!([{"label": "7", "rows": 2, "first_row": 2}, {"label": "8", "rows": 1, "first_row": 3}])
    );
}

#[test]
fn the_same_whatever_the_number_of_threads() {
    let workspace = dirty();
    let arguments = ["train.csv", "--test", "test.csv", "--model", "base"];
    let one = inspected(&workspace, &[&arguments[..], &["--threads", "1"]].concat());
    let three = inspected(&workspace, &[&arguments[..], &["--threads", "3"]].concat());
    assert_eq!(one, three);
}
