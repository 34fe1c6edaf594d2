//! The loader against real public data sets with their real dirt. The folder is `GAREUM_TEST_DATA`, by default `../shared/data` beside the
//! workspace; a set that is missing is skipped with a word, so that the tests pass on a machine without it.

use std::path::{Path, PathBuf};

use super::*;

const INFER: SchemaSource<'static> = SchemaSource::Infer { task: None };

/// The path of a file of the test data; `None`, with a word, where it is missing.
pub(crate) fn found(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("GAREUM_TEST_DATA")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if !path.exists() {
        eprintln!(
            "skipped: no {}; set GAREUM_TEST_DATA to the folder of test data",
            path.display()
        );
        return None;
    }
    Some(path)
}

fn request(text: &str, label: &str) -> ColumnRequest {
    let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    ColumnRequest {
        text: given(text).into_iter().collect(),
        label: given(label).into_iter().collect(),
        ..ColumnRequest::default()
    }
}

fn load(name: &str, read: &ReadOptions, columns: &ColumnRequest, schema: SchemaSource<'_>) -> Option<Dataset> {
    let path = found(name)?;
    Some(Dataset::load(&path, read, columns, schema).unwrap_or_else(|error| panic!("{error}")))
}

/// One line that says what a file turned out to be, for comparison with what is known about the set.
fn summary(dataset: &Dataset) -> String {
    let report = &dataset.report;
    let pair = report
        .text_pair_column
        .as_ref()
        .map(|pair| format!("+{pair}"))
        .unwrap_or_default();
    let labels = report.label_columns.join("+");
    let dropped = report.missing_text + report.missing_label;
    format!(
        "{} | {}{pair} -> {labels} | {} {} | {} of {} rows, {dropped} dropped",
        report.format,
        report.text_columns.join("|"),
        dataset.schema.task,
        dataset.schema.num_labels(),
        dataset.examples.len(),
        report.rows_read
    )
}

fn counts(dataset: &Dataset) -> Vec<u64> {
    dataset.report.label_counts.iter().map(|(_, count)| *count).collect()
}

fn check(name: &str, read: &ReadOptions, columns: &ColumnRequest, expected: &str, label_counts: &[u64]) {
    let Some(dataset) = load(name, read, columns, INFER) else {
        return;
    };
    assert_eq!(summary(&dataset), expected, "{name}");
    if !label_counts.is_empty() {
        assert_eq!(counts(&dataset), label_counts, "{name}");
    }
}

#[test]
fn banking77_has_line_breaks_inside_fields() {
    let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
    let Some(mut train) = load("banking77/train.csv", &read, &columns, INFER) else {
        return;
    };
    let expected = "delimited text, `,`, quoted | text -> category | single_label 77 | 10003 of 10003 rows, 0 dropped";
    assert_eq!(summary(&train), expected);
    assert_eq!(
        (counts(&train).iter().min(), counts(&train).iter().max()),
        (Some(&35), Some(&187))
    );
    let Some(test) = load(
        "banking77/test.csv",
        &read,
        &columns,
        SchemaSource::Fixed(&train.schema),
    ) else {
        return;
    };
    assert_eq!(
        (test.examples.len(), counts(&test).iter().all(|count| *count == 40)),
        (3080, true)
    );

    let parts = [0.8, 0.1, 0.1];
    let options = SplitOptions {
        ratios: parts,
        stratify: true,
        seed: 0,
        groups: None,
    };
    let split = split(&train.examples, &train.schema, &options).unwrap();
    for (part, ratio) in [&split.train, &split.validation, &split.test].into_iter().zip(parts) {
        assert!((part.len() as f64 - ratio * 10003.0).abs() < 2.0, "{}", part.len());
        let mut seen = [0u64; 77];
        part.iter()
            .flat_map(|position| train.examples[*position].target.ids())
            .for_each(|id| seen[*id as usize] += 1);
        for (count, total) in seen.iter().zip(counts(&train)) {
            assert!((*count as f64 - ratio * total as f64).abs() < 1.0 + 1e-6);
        }
    }
    let report = clean(&mut train, &CleanOptions::default());
    assert_eq!((report.duplicates, report.conflicting_texts), (4, 0));
}

#[test]
fn nsmc_is_read_whole_from_gzip() {
    let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
    let Some(mut train) = load("nsmc/ratings_train_rebuilt.tsv.gz", &read, &columns, INFER) else {
        return;
    };
    let expected = "delimited text, tabs, no quoting, gzip | document -> label | single_label 2 | 150000 of 150000 rows, 0 dropped";
    assert_eq!(summary(&train), expected);
    assert_eq!(counts(&train), [75_178, 74_822]);
    let report = clean(&mut train, &CleanOptions::default());
    assert_eq!(
        (report.duplicates, report.conflicting_texts, report.dropped),
        (1362, 76, 1362)
    );
    assert_eq!(train.examples.len(), 150_000 - 1362);
    let Some(test) = load(
        "nsmc/ratings_test_rebuilt.tsv.gz",
        &read,
        &columns,
        SchemaSource::Fixed(&train.schema),
    ) else {
        return;
    };
    assert_eq!((test.examples.len(), counts(&test)), (50_000, vec![24_822, 25_178]));
}

#[test]
fn damaged_quotes_lose_no_row() {
    let expected = "delimited text, tabs, quoted | document -> label | single_label 2 | 29999 of 29999 rows, 0 dropped";
    let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
    check(
        "nsmc/official_train_subset_30k.txt",
        &read,
        &columns,
        expected,
        &[15_088, 14_911],
    );
}

#[test]
fn stars_are_classes_or_numbers() {
    let (read, columns) = (ReadOptions::default(), request("document", "rating"));
    let Some(classes) = load("nsmc/ratings_ordinal_1to10.tsv", &read, &columns, INFER) else {
        return;
    };
    assert_eq!(
        classes.schema.names,
        ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]
    );
    assert!(
        classes
            .report
            .mapping_note
            .as_deref()
            .is_some_and(|note| note.starts_with("1→0, 2→1"))
    );
    let regression = SchemaSource::Infer {
        task: Some(Task::Regression),
    };
    let Some(numbers) = load("nsmc/ratings_ordinal_1to10.tsv", &read, &columns, regression) else {
        return;
    };
    assert_eq!((numbers.examples.len(), numbers.schema.num_labels()), (16_253, 1));
    assert!(
        numbers
            .examples
            .iter()
            .all(|example| matches!(example.target, Target::Value(stars) if stars >= 1.0))
    );
}

#[test]
fn joined_labels_are_multi_label() {
    let no_header = ReadOptions {
        header: Some(false),
        ..ReadOptions::default()
    };
    let expected = "delimited text, tabs, quoted, no header | 0 -> 1 | multi_label 28 | 43410 of 43410 rows, 0 dropped";
    let Some(train) = load("goemotions/train.tsv", &no_header, &request("0", "1"), INFER) else {
        return;
    };
    assert_eq!(summary(&train), expected);
    assert_eq!((counts(&train)[16], counts(&train)[27]), (77, 14_219));
    let options = SplitOptions {
        ratios: [0.8, 0.1, 0.1],
        stratify: true,
        seed: 3,
        groups: None,
    };
    let split = split(&train.examples, &train.schema, &options).unwrap();
    for (part, ratio) in [(&split.train, 0.8), (&split.validation, 0.1), (&split.test, 0.1)] {
        let ids = || part.iter().flat_map(|position| train.examples[*position].target.ids());
        let grief = ids().filter(|id| **id == 16).count() as f64;
        assert!((grief - 77.0 * ratio).abs() <= 2.0, "grief: {grief} at {ratio}");
        assert!((part.len() as f64 - 43_410.0 * ratio).abs() <= 50.0, "{}", part.len());
    }

    let expected = "delimited text, tabs, quoted | document -> label | multi_label 9 | 8776 of 8776 rows, 0 dropped";
    check(
        "k_mhas/kmhas_valid.txt",
        &ReadOptions::default(),
        &ColumnRequest::default(),
        expected,
        &[],
    );
    let Some(path) = found("goemotions/dev.tsv") else {
        return;
    };
    let message = Dataset::load(&path, &ReadOptions::default(), &ColumnRequest::default(), INFER)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("cannot tell which column is the text") && message.contains("header = false"),
        "{message}"
    );
}

#[test]
fn pairs_are_recognised() {
    let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
    let expected = "JSON | premise+hypothesis -> gold_label | single_label 3 | 3000 of 3000 rows, 0 dropped";
    check(
        "klue_nli/klue-nli-v1.1_dev.json",
        &read,
        &columns,
        expected,
        &[1000, 1000, 1000],
    );
    let expected =
        "delimited text, tabs, no quoting | sentence1+sentence2 -> score | regression 1 | 5749 of 5749 rows, 0 dropped";
    check("korsts/sts-train.tsv", &read, &columns, expected, &[5749]);
    let expected = "delimited text, `,`, quoted, byte order mark | question1+question2 -> is_duplicate | single_label 2 | 6888 of 6888 rows, 0 dropped";
    check(
        "question_pair_ko/kor_pair_train.csv",
        &read,
        &columns,
        expected,
        &[4750, 2138],
    );
    let expected = "delimited text, `,`, quoted, byte order mark | question1+question2 -> is_duplicate | single_label 2 | 688 of 688 rows, 0 dropped";
    check(
        "question_pair_ko/kor_Pair_test.csv",
        &read,
        &columns,
        expected,
        &[359, 329],
    );
    let expected = "JSON | sentence1+sentence2 -> labels.binary-label | single_label 2 | 519 of 519 rows, 0 dropped";
    check(
        "klue_sts/klue-sts-v1.1_dev.json",
        &read,
        &request("", "labels.binary-label"),
        expected,
        &[299, 220],
    );
}

#[test]
fn dirt_is_met_as_documented() {
    let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
    let expected = "delimited text, `,`, quoted | Q -> label | single_label 3 | 11823 of 11823 rows, 0 dropped";
    check(
        "chatbot_ko/ChatbotData.csv",
        &read,
        &request("Q", ""),
        expected,
        &[5290, 3570, 2963],
    );

    let Some(ynat) = load("klue_ynat_dacon/train_data.tsv", &read, &columns, INFER) else {
        return;
    };
    let expected = "delimited text, tabs, no quoting, byte order mark | title -> topic_idx | single_label 7 | 45654 of 45654 rows, 0 dropped";
    assert_eq!(summary(&ynat), expected);
    assert_eq!(ynat.report.surplus_fields, 1);
    assert_eq!(counts(&ynat), [4824, 6222, 7362, 5933, 7629, 6933, 6751]);
}

#[test]
fn english_service_data_is_read() {
    let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
    let expected =
        "delimited text, `,`, quoted | utterance -> category | single_label 11 | 6480 of 6480 rows, 0 dropped";
    check(
        "bitext_customer_support/train.csv",
        &read,
        &request("", "category"),
        expected,
        &[],
    );
    let Some(path) = found("bitext_customer_support/train.csv") else {
        return;
    };
    let message = Dataset::load(&path, &read, &columns, INFER).unwrap_err().to_string();
    assert!(
        message.contains("the label could be any of `intent`, `category`"),
        "{message}"
    );
}

/// Column names, separators and headers that must be given, as the table below writes them.
fn wishes(words: &str) -> (ReadOptions, ColumnRequest, Option<Task>) {
    let (mut read, mut columns, mut task) = (ReadOptions::default(), ColumnRequest::default(), None);
    for word in words.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("text", name) => columns.text = name.split('+').map(str::to_owned).collect(),
            ("pair", name) => columns.text_pair = Some(name.to_owned()),
            ("label", name) => columns.label = vec![name.to_owned()],
            ("no-header", _) => read.header = Some(false),
            (_, name) => task = serde_json::from_value(name.into()).ok(),
        }
    }
    (read, columns, task)
}

/// Every set of the folder, with at most column names given (and that there is no header): as many rows as its README says.
#[test]
fn every_set_is_read_whole() {
    // File, what must be said, rows, examples if some rows lack a text or a label, labels.
    let sets = [
        ("nsmc/ratings_test_rebuilt.tsv.gz", "", 50_000, 0, 2),
        ("nsmc/ratings_ordinal_1to10.tsv", "label=rating", 16_253, 0, 10),
        ("k_mhas/kmhas_valid.txt", "", 8_776, 0, 9),
        ("k_mhas/kmhas_test.txt", "", 21_939, 0, 9),
        ("klue_ynat_dacon/train_data.tsv", "", 45_654, 0, 7),
        ("klue_nli/klue-nli-v1.1_dev.json", "", 3_000, 0, 3),
        ("klue_sts/klue-sts-v1.1_dev.json", "label=labels.real-label", 519, 0, 1),
        ("korsts/sts-train.tsv", "", 5_749, 0, 1),
        ("korsts/sts-dev.tsv", "", 1_500, 0, 1),
        ("korsts/sts-test.tsv", "", 1_379, 0, 1),
        ("question_pair_ko/kor_pair_train.csv", "", 6_888, 0, 2),
        ("question_pair_ko/kor_Pair_test.csv", "", 688, 0, 2),
        ("goemotions/train.tsv", "no-header text=0 label=1", 43_410, 0, 28),
        ("goemotions/dev.tsv", "no-header text=0 label=1", 5_426, 0, 28),
        ("goemotions/test.tsv", "no-header text=0 label=1", 5_427, 0, 28),
        ("banking77/train.csv", "", 10_003, 0, 77),
        ("banking77/test.csv", "", 3_080, 0, 77),
        ("bitext_customer_support/train.csv", "label=intent", 6_480, 0, 27),
        ("bitext_customer_support/dev.csv", "label=intent", 810, 0, 27),
        ("bitext_customer_support/test.csv", "label=category", 810, 0, 11),
        ("ag_news/test.csv", "no-header text=1 pair=2 label=0", 7_600, 0, 4),
        ("ag_news/train_subset_5000.csv", "no-header text=0 label=1", 5_000, 0, 4),
        ("ag_news/dev_subset_1000.csv", "no-header text=0 label=1", 1_000, 0, 4),
        ("trec/train.tsv", "label=coarse", 5_452, 0, 6),
        ("trec/test.tsv", "label=fine", 500, 0, 42),
        ("customer_reviews_cr/customer_reviews.tsv", "", 3_771, 0, 2),
        (
            "product_reviews_aspects/sentences.jsonl",
            "label=aspects.polarity",
            8_194,
            0,
            2,
        ),
        ("mams_acsa/train.jsonl", "label=aspects.category", 3_149, 0, 8),
        ("mams_acsa/val.jsonl", "label=aspects.category", 400, 0, 8),
        ("mams_acsa/test.jsonl", "label=aspects.polarity", 400, 0, 3),
        ("pros_cons/pros_cons.tsv", "", 45_875, 45_867, 2),
        ("movie_reviews_long/movie_reviews.jsonl.gz", "", 2_000, 0, 2),
        ("sick/SICK_train.txt", "label=entailment_judgment", 4_500, 0, 3),
        ("sick/SICK_trial.txt", "label=relatedness_score", 500, 0, 1),
        ("sick/SICK_test_annotated.txt", "label=entailment_judgment", 4_927, 0, 3),
        ("finance_sentiment/finance_data.csv", "text=kor_sentence", 4_846, 0, 3),
        ("finance_sentiment/finance_data.csv", "", 4_846, 0, 3),
        ("chatbot_ko/ChatbotData.csv", "text=Q", 11_823, 0, 3),
        ("kochat_intents/intent_data.csv", "", 19_992, 0, 4),
        ("naver_shopping_sample/naver_shopping.csv", "", 216, 0, 4),
        (
            "curse_detection_ko/dataset.txt",
            "no-header text=0 label=1",
            5_825,
            0,
            2,
        ),
    ];
    let mut wrong = Vec::new();
    for (name, words, rows, usable, labels) in sets {
        let Some(path) = found(name) else { continue };
        let (read, columns, task) = wishes(words);
        let seen = match Dataset::load(&path, &read, &columns, SchemaSource::Infer { task }) {
            Ok(dataset) => format!(
                "{} {} {}",
                dataset.report.rows_read,
                dataset.examples.len(),
                dataset.schema.num_labels()
            ),
            Err(error) => error.to_string(),
        };
        let expected = format!("{rows} {} {labels}", if usable == 0 { rows } else { usable });
        if seen != expected {
            wrong.push(format!("{name}: expected {expected}, found {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files without a label of their own: rows to predict, plain text, one line of 1.8 MB.
#[test]
fn unlabelled_files_are_read_whole() {
    for (name, rows) in [
        ("klue_ynat_dacon/test_data_unlabelled.tsv", 9_131),
        ("kochat_intents/ood_data.csv", 12_223),
        ("text_ko/nsmc_reviews_unlabelled.txt.gz", 156_283),
        ("text_ko/kocohub_unlabeled_comments_5.txt.gz", 33_893),
        ("text_ko/klue_dp_ner_dev_sentences.txt.gz", 7_001),
        ("text_ko/ud_korean_sentences.txt.gz", 6_292),
        ("text_ko/naver_shopping_4star_one_line.txt.gz", 1),
    ] {
        let Some(path) = found(name) else { continue };
        let mut records = Records::open(&path, &ReadOptions::default()).unwrap();
        let columns = ColumnRequest::default().resolve_inputs(&records).unwrap();
        let mut texts = (0, 0);
        while let Some(record) = records.next() {
            let input = columns.read(&record.unwrap(), &records).unwrap();
            texts = (texts.0 + 1, input.map_or(0, |input| input.text.len()).max(texts.1));
        }
        assert_eq!(texts.0, rows, "{name} ({})", records.format());
        assert!(rows > 1 || texts.1 > 1_700_000, "{name}: {}", texts.1);
    }
}

/// The project's own sample of reviews with aspects.
#[test]
fn our_korean_reviews_are_multi_label() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/samples/korean_reviews.jsonl");
    let columns = |label: &str| request("", label);
    let load = |label: &str| Dataset::load(&path, &ReadOptions::default(), &columns(label), INFER).unwrap();
    let categories = load("aspects.category");
    assert_eq!(categories.schema.task, Task::MultiLabel);
    assert_eq!((categories.examples.len(), categories.schema.num_labels()), (318, 14));
    assert!(
        counts(&categories).iter().all(|count| *count >= 20),
        "{:?}",
        counts(&categories)
    );
    assert_eq!(
        load("aspects.polarity").schema.names,
        ["negative", "neutral", "positive"]
    );
}

#[test]
fn one_byte_of_another_encoding_is_told() {
    let Some(path) = found("trec/original/TREC.train") else {
        return;
    };
    let options = ReadOptions {
        kind: Some(FileKind::Lines),
        ..ReadOptions::default()
    };
    let records = Records::open(&path, &options).unwrap();
    assert_eq!(records.format().to_string(), "one text a line, windows-1252");
    assert_eq!(records.map(Result::unwrap).count(), 5_452);
}

#[test]
fn names_come_from_a_second_file() {
    let Some(labels) = found("goemotions/labels.txt") else {
        return;
    };
    let map = LabelMap::open(&labels).unwrap();
    let (read, columns, _) = wishes("no-header text=0 label=1");
    let records = Records::open(&found("goemotions/dev.tsv").unwrap(), &read).unwrap();
    let dataset = Dataset::read(records, &columns, INFER, Some(&map)).unwrap();
    assert_eq!(dataset.schema.names.len(), 28);
    assert_eq!(
        (dataset.schema.name_of(0), dataset.schema.name_of(27)),
        (Some("admiration"), Some("neutral"))
    );
}

#[test]
fn leaks_are_those_that_are_documented() {
    let parts = |train: &str, test: &str| {
        let (read, columns) = (ReadOptions::default(), ColumnRequest::default());
        let train = load(train, &read, &columns, INFER)?;
        let test = load(test, &read, &columns, SchemaSource::Fixed(&train.schema))?;
        let found = leaks(&[("train", &train.examples), ("test", &test.examples)]);
        found.first().map(|leak| (leak.texts, leak.examples))
    };
    let banking = parts("banking77/train.csv", "banking77/test.csv");
    let nsmc = parts("nsmc/ratings_train_rebuilt.tsv.gz", "nsmc/ratings_test_rebuilt.tsv.gz");
    for (name, found, least) in [("banking77", banking, 7), ("nsmc", nsmc, 500)] {
        if let Some((texts, examples)) = found {
            assert!(
                texts >= least && examples >= texts,
                "{name}: {texts} texts, {examples} examples"
            );
        }
    }
}
