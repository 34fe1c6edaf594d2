//! Files as they come: stacked columns, label maps, groups, other encodings, leaks. What was found is told, and kept in `gareum.json`.

use crate::workspace::{Workspace, csv, reviews, training};
use serde_json::{Value, json};

/// What a run says on standard error.
fn told(workspace: &Workspace, data: &str, more: &[&str]) -> String {
    let mut arguments = training(data, "model", more);
    arguments.retain(|argument| *argument != "--quiet");
    workspace.succeed(&arguments).stderr
}

fn assert_told(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "no {line:?} in:\n{text}"
        );
    }
}

fn rows(workspace: &Workspace) -> Value {
    workspace.json("model/gareum.json")["data"]["rows"].clone()
}

/// Each review with a second one of the same label beside it.
fn two_texts() -> String {
    let reviews = reviews();
    let other = |row: usize| {
        reviews[(row * 7 + 3) % (reviews.len() / 2) + row / (reviews.len() / 2) * (reviews.len() / 2)][0].clone()
    };
    let pairs: Vec<Vec<String>> = (0..reviews.len())
        .map(|row| vec![reviews[row][0].clone(), other(row), reviews[row][1].clone()])
        .collect();
    csv(&["first", "second", "label"], &pairs)
}

#[test]
fn stacked_texts_are_examples_that_stay_together() {
    let workspace = Workspace::with_base();
    workspace.write("two.csv", two_texts());
    let columns = [
        "--text",
        "first",
        "--text",
        "second",
        "--stack",
        "--set",
        "data.drop_duplicates=false",
    ];
    let said = told(&workspace, "two.csv", &columns);
    assert_told(
        &said,
        &[
            "two.csv: 144 rows (delimited text, `,`, quoted), text `first`, `second`, label `label`",
            "  each text column makes an example of its own: 288",
        ],
    );
    let rows = rows(&workspace);
    let count = |part: &str| rows[part].as_u64().unwrap();
    assert_eq!(count("train") + count("validation") + count("test"), 288);
    // Whole rows: two examples each.
    assert!(
        ["train", "validation", "test"].iter().all(|part| count(part) % 2 == 0),
        "{rows}"
    );

    // The model knows its columns: nothing needs to be said again.
    let again = workspace.succeed(&["evaluate", "--model", "model", "--data", "two.csv"]);
    assert_told(&again.stderr, &["  each text column makes an example of its own: 288"]);
    let predict = ["predict", "--quiet", "--model", "model", "--input", "two.csv"];
    assert!(
        workspace
            .fail(&predict)
            .contains("cannot tell which column is the text")
    );
    let second = workspace.succeed(&[&predict[..], &["--text", "second"]].concat());
    assert_eq!(second.json_lines().len(), 144);
}

#[test]
fn groups_are_not_divided() {
    let workspace = Workspace::with_base();
    let rows_of_users: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(row, review)| vec![review[0].clone(), review[1].clone(), format!("user {}", row % 12)])
        .collect();
    workspace.write("users.csv", csv(&["text", "label", "user"], &rows_of_users));
    workspace.train("users.csv", "model", &["--group", "user"]);
    let rows = rows(&workspace);
    for part in ["train", "validation", "test"] {
        assert_eq!(rows[part].as_u64().unwrap() % 12, 0, "{rows}");
    }
}

#[test]
fn labels_get_their_names_from_a_second_file() {
    let workspace = Workspace::with_base();
    let numbered = |review: Vec<String>| {
        vec![
            review[0].clone(),
            if review[1] == "pos" { "1   " } else { "0" }.to_owned(),
        ]
    };
    workspace.write(
        "numbers.csv",
        csv(
            &["text", "label"],
            &reviews().into_iter().map(numbered).collect::<Vec<_>>(),
        ),
    );
    workspace.write("map.csv", "id,name\n1,좋아요\n0,싫어요\n");
    workspace.train("numbers.csv", "model", &["--label-map", "map.csv"]);
    assert_eq!(
        workspace.json("model/config.json")["id2label"],
        json!({"0": "좋아요", "1": "싫어요"})
    );
    let evaluate = [
        "evaluate",
        "--quiet",
        "--model",
        "model",
        "--data",
        "numbers.csv",
        "--json",
    ];
    let message = workspace.fail(&evaluate);
    assert!(
        message.contains("the file numbers its labels, these have names"),
        "{message}"
    );
    let metrics = workspace
        .succeed(&[&evaluate[..], &["--label-map", "map.csv"]].concat())
        .json();
    assert!(metrics["accuracy"].as_f64().unwrap() > 0.5, "{metrics}");
}

#[test]
fn other_encodings_and_stray_characters_are_read_and_told() {
    let workspace = Workspace::with_base();
    let text = workspace.text("reviews.csv").replace("delivery", "\u{200B}delivery");
    let utf16: Vec<u8> = "\u{FEFF}"
        .encode_utf16()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    workspace.write("wide.csv", utf16);
    let said = told(&workspace, "wide.csv", &["--set", "data.normalize=[\"control\"]"]);
    assert_told(
        &said,
        &[
            "wide.csv: 144 rows (delimited text, `,`, quoted, byte order mark, UTF-16LE)",
            "  texts with invisible characters (`data.normalize` can remove them): 24",
        ],
    );
    // The change is made in prediction too.
    let prediction = |text: &str| {
        workspace
            .run_with_input(&["predict", "--quiet", "--model", "model"], text)
            .json()["scores"]
            .clone()
    };
    assert_eq!(
        prediction("the deliv\u{200B}ery was bad\n"),
        prediction("the delivery was bad\n")
    );

    // "좋아요" and "싫어요" in CP949.
    let line = |bytes: &[u8], label: &str| [bytes, b",", label.as_bytes(), b"\r\n"].concat();
    let (good, bad) = (b"\xC1\xC1\xBE\xC6\xBF\xE4", b"\xBD\xC8\xBE\xEE\xBF\xE4");
    let mut korean = b"text,label\r\n".to_vec();
    for number in 0..20 {
        let count = " .".repeat(number);
        korean.extend(line(&[&good[..], count.as_bytes()].concat(), "pos"));
        korean.extend(line(&[&bad[..], count.as_bytes()].concat(), "neg"));
    }
    workspace.write("korean.csv", korean);
    assert_told(
        &told(&workspace, "korean.csv", &[]),
        &["korean.csv: 40 rows (delimited text, `,`, quoted, CP949), text `text`, label `label`"],
    );
}

#[test]
fn repeats_and_contradictions_are_told_and_leaks_found() {
    let workspace = Workspace::with_base();
    let mut training_rows = reviews();
    training_rows.push(training_rows[0].clone());
    training_rows.push(vec![training_rows[1][0].clone(), "neg".to_owned()]);
    workspace.write("train.csv", csv(&["text", "label"], &training_rows));
    let mut test_rows: Vec<Vec<String>> = ["The movie was very GOOD", "a new text", "a new text"]
        .map(|text| vec![text.to_owned(), "pos".to_owned()])
        .to_vec();
    test_rows.push(vec!["something else".to_owned(), "neg".to_owned()]);
    workspace.write(
        "test.csv",
        csv(
            &["content", "id", "label"],
            &test_rows
                .iter()
                .map(|row| vec![row[0].clone(), "7".to_owned(), row[1].clone()])
                .collect::<Vec<_>>(),
        ),
    );
    let said = told(
        &workspace,
        "train.csv",
        &["--test", "test.csv", "--set", "data.split=[1, 0, 0]"],
    );
    assert_told(
        &said,
        &[
            "  rows dropped: 1 repeated or contradictory",
            "  texts that occur with different labels: 1, for example rows 2 and 146",
            "leakage: 1 of 4 test examples (25.00 %) have a text that stands in train too, for example rows 1 and 1",
        ],
    );
    let description = workspace.json("model/gareum.json");
    // The test file is left whole, repeats and all.
    assert_eq!(description["data"]["rows"]["test"], 4);
    assert_eq!(description["data"]["leaks"][0]["rows"], json!([[1, 1]]));

    let dropped = told(&workspace, "train.csv", &["--set", "data.conflicts=drop"]);
    assert_told(&dropped, &["  rows dropped: 3 repeated or contradictory"]);
    assert!(
        !dropped.contains("leakage"),
        "a split makes no leaks of its own:\n{dropped}"
    );
}
