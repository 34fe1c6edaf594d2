//! The inspection against real public data sets: all the dirt that their README lists, with nothing configured but names of columns.
//! `GAREUM_TEST_DATA` names the folder, see `data/real_data.rs`.

use super::*;
use crate::data::{FileKind, LabelMap, found};

/// Looks at files; `None` (with a word) where they are missing.
fn inspected(paths: &[&str], read: &ReadOptions, columns: &ColumnRequest) -> Option<Inspection> {
    let files = paths
        .iter()
        .map(|name| {
            Some(InspectedFile {
                name: (*name).to_owned(),
                path: found(name)?,
                split: None,
                is_measured_on: false,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let options = InspectOptions {
        read: read.clone(),
        columns: columns.clone(),
        ..InspectOptions::default()
    };
    Some(inspect(&files, &options, &mut |_, _| ()).unwrap_or_else(|error| panic!("{error}")))
}

fn named(text: &str, label: &str) -> ColumnRequest {
    let list = |name: &str| (!name.is_empty()).then(|| name.to_owned()).into_iter().collect();
    ColumnRequest {
        text: list(text),
        label: list(label),
        ..ColumnRequest::default()
    }
}

const NO_HEADER: ReadOptions = ReadOptions {
    header: Some(false),
    delimiter: None,
    quoting: None,
    kind: None,
    encoding: None,
    split: None,
};

/// What a README lists: the file, the kind of finding, how many, and a piece of the message that must be there.
type Listed<'a> = (&'a str, FindingKind, u64, &'a str);

fn check(inspection: Option<Inspection>, listed: &[Listed<'_>]) {
    let Some(inspection) = inspection else { return };
    let missed: Vec<String> = listed
        .iter()
        .filter(|(file, kind, count, piece)| {
            !inspection.findings.iter().any(|finding| {
                (finding.file.as_str(), finding.kind, finding.count) == (*file, *kind, *count)
                    && finding.message.contains(piece)
            })
        })
        .map(|missed| format!("{missed:?}"))
        .collect();
    let all = inspection
        .findings
        .iter()
        .map(|finding| format!("{finding:?}\n"))
        .collect::<String>();
    assert!(missed.is_empty(), "missed:\n{}\n\nfound:\n{all}", missed.join("\n"));
}

fn plain(paths: &[&str], text: &str, label: &str) -> Option<Inspection> {
    inspected(paths, &ReadOptions::default(), &named(text, label))
}

use FindingKind as Kind;

#[test]
fn nsmc() {
    let file = "nsmc/official_train_subset_30k.txt";
    check(
        plain(&[file], "", ""),
        &[
            (file, Kind::Duplicates, 445, ""),
            (file, Kind::Conflicts, 33, ""),
            (file, Kind::TextTrait, 129, "doubled quotes"),
        ],
    );
    let (train, test) = ("nsmc/ratings_train_rebuilt.tsv.gz", "nsmc/ratings_test_rebuilt.tsv.gz");
    let inspection = plain(&[train, test], "", "");
    if let Some(inspection) = &inspection {
        assert_eq!(inspection.leakage[0].texts, 570);
    }
    check(
        inspection,
        &[
            (train, Kind::GivesLabelAway, 1, "`rating`"),
            (train, Kind::Duplicates, 1452, ""),
            (test, Kind::Duplicates, 227, ""),
            (train, Kind::Conflicts, 79, ""),
            (test, Kind::Conflicts, 16, ""),
            (test, Kind::Leakage, 733, ""),
            (train, Kind::TextTrait, 12, "normal form C"),
            (train, Kind::TextTrait, 125, "a single character"),
        ],
    );
}

#[test]
fn k_mhas() {
    let (valid, test) = ("k_mhas/kmhas_valid.txt", "k_mhas/kmhas_test.txt");
    check(
        plain(&[valid, test], "", ""),
        &[
            (valid, Kind::RareCombinations, 9, "9 of 56"),
            (test, Kind::RareCombinations, 12, "12 of 72"),
            (test, Kind::Leakage, 36, ""),
            (valid, Kind::Imbalance, 1, "label `6` (4887 and 24)"),
            (valid, Kind::ExclusiveLabel, 1, "`8`"),
        ],
    );
}

#[test]
fn klue_ynat() {
    let (train, test) = (
        "klue_ynat_dacon/train_data.tsv",
        "klue_ynat_dacon/test_data_unlabelled.tsv",
    );
    let inspection = plain(&[train, test], "", "");
    if let Some(inspection) = &inspection {
        assert!(inspection.files[0].format.byte_order_mark);
        let surplus = inspection
            .findings
            .iter()
            .find(|finding| finding.kind == Kind::SurplusFields)
            .unwrap();
        assert_eq!(surplus.rows, [33_788], "index 33787");
    }
    check(
        inspection,
        &[
            (test, Kind::ConstantLabel, 9131, "`0`"),
            (train, Kind::SurplusFields, 1, ""),
            (train, Kind::TextTrait, 1, "U+FFFD"),
            (train, Kind::TextTrait, 6370, "Chinese characters"),
        ],
    );
}

#[test]
fn question_pair() {
    let (train, test) = (
        "question_pair_ko/kor_pair_train.csv",
        "question_pair_ko/kor_Pair_test.csv",
    );
    check(
        plain(&[train, test], "", ""),
        &[
            (
                test,
                Kind::ColumnsDiffer,
                5,
                "here only `test_id`, `4`; there only `id`, `qid1`, `qid2`",
            ),
            (test, Kind::EmptyColumns, 1, "column `4` has a value in 1 of 688 rows"),
        ],
    );
}

#[test]
fn chatbot_and_curses() {
    let file = "chatbot_ko/ChatbotData.csv";
    check(
        plain(&[file], "Q", ""),
        &[
            (file, Kind::UntrimmedLabels, 1, ""),
            (file, Kind::Duplicates, 161, ""),
            (file, Kind::Conflicts, 81, ""),
        ],
    );
    let file = "curse_detection_ko/dataset.txt";
    let inspection = inspected(&[file], &NO_HEADER, &named("0", "1"));
    if let Some(inspection) = &inspection {
        assert!(inspection.files[0].characters.as_ref().unwrap().max >= 1000);
    }
    check(inspection, &[(file, Kind::RejoinedRows, 1, "")]);
}

#[test]
fn banking77_and_bitext() {
    let (train, test) = ("banking77/train.csv", "banking77/test.csv");
    let inspection = plain(&[train, test], "", "");
    if let Some(inspection) = &inspection {
        let breaks = inspection.files[0]
            .traits
            .iter()
            .find(|found| found.kind == TextTrait::LineBreaks);
        assert!(breaks.is_some_and(|found| found.texts == 10), "{breaks:?}");
    }
    check(inspection, &[(test, Kind::Leakage, 7, "")]);
    let [train, dev, test] = ["train", "dev", "test"].map(|part| format!("bitext_customer_support/{part}.csv"));
    check(
        plain(&[&train, &dev, &test], "", "intent"),
        &[
            (&train, Kind::Duplicates, 116, ""),
            (&dev, Kind::Leakage, 28, ""),
            (&test, Kind::Leakage, 26, ""),
            (&train, Kind::GivesLabelAway, 1, "`category`"),
            (&train, Kind::EmptyColumns, 1, "column `entity_value` has a value in"),
        ],
    );
}

#[test]
fn goemotions() {
    let (Some(labels), train) = (found("goemotions/labels.txt"), "goemotions/train.tsv") else {
        return;
    };
    let map = LabelMap::open(&labels).unwrap();
    let options = InspectOptions {
        read: NO_HEADER,
        columns: named("0", "1"),
        label_map: Some(&map),
        ..InspectOptions::default()
    };
    let file = InspectedFile {
        name: train.to_owned(),
        path: found(train).unwrap(),
        split: None,
        is_measured_on: false,
    };
    let inspection = inspect(&[file], &options, &mut |_, _| ()).unwrap();
    let rows = |label: &str| {
        let shares = &inspection.files[0].labels.as_ref().unwrap().shares;
        shares.iter().find(|share| share.label == label).unwrap().rows
    };
    assert_eq!(
        ["grief", "pride", "relief", "neutral"].map(rows),
        [77, 111, 153, 14_219]
    );
    check(
        Some(inspection),
        &[
            (train, Kind::Duplicates, 221, ""),
            (train, Kind::Conflicts, 62, ""),
            (train, Kind::Imbalance, 1, "`grief`"),
            (train, Kind::TextTrait, 6135, "placeholders"),
            (train, Kind::TextTrait, 1, "invisible characters"),
        ],
    );
}

#[test]
fn ag_news() {
    let (train, dev) = ("ag_news/train_subset_5000.csv", "ag_news/dev_subset_1000.csv");
    check(
        inspected(&[train, dev], &NO_HEADER, &named("0", "1")),
        &[
            (dev, Kind::Leakage, 1000, "1000 of 1000 rows (100 %)"),
            (train, Kind::TextTrait, 1522, "HTML"),
            (train, Kind::TextTrait, 539, "backslashes"),
        ],
    );
    // Here the classes begin at 1, there at 0.
    let names = |file: &str, text: &str, label: &str| {
        let inspection = inspected(&[file], &NO_HEADER, &named(text, label))?;
        let labels = inspection.files[0].labels.clone()?;
        Some(
            labels
                .shares
                .into_iter()
                .map(|share| share.label)
                .collect::<Vec<_>>()
                .concat(),
        )
    };
    if let (Some(test), Some(train)) = (names("ag_news/test.csv", "2", "0"), names(train, "0", "1")) {
        assert_eq!((test.as_str(), train.as_str()), ("1234", "0123"));
    }
}

#[test]
fn trec() {
    let (train, test) = ("trec/train.tsv", "trec/test.tsv");
    check(
        plain(&[train, test], "", "coarse"),
        &[
            (train, Kind::Duplicates, 72, ""),
            (test, Kind::Leakage, 11, ""),
            (train, Kind::Imbalance, 1, "`ABBR` (1250 and 86)"),
            (train, Kind::GivesLabelAway, 1, "`fine`"),
        ],
    );
    let lines = ReadOptions {
        kind: Some(FileKind::Lines),
        ..ReadOptions::default()
    };
    let file = "trec/original/TREC.train";
    check(
        inspected(&[file], &lines, &ColumnRequest::default()),
        &[(file, Kind::Encoding, 1, "windows-1252"), (file, Kind::NoLabel, 1, "")],
    );
}

#[test]
fn reviews_with_pros_and_cons() {
    let file = "pros_cons/pros_cons.tsv";
    check(
        plain(&[file], "", ""),
        &[
            // Of the 5,123 repeats and 148 contradictions that are listed, 7 and 1 are the empty text.
            (file, Kind::MissingText, 8, ""),
            (file, Kind::Duplicates, 5116, ""),
            (file, Kind::Conflicts, 147, ""),
        ],
    );
    // Listed are 3,491 shared sentences, compared by words; one file has its punctuation cut off.
    let inspection = plain(
        &[
            "customer_reviews_cr/customer_reviews.tsv",
            "product_reviews_aspects/sentences.jsonl",
        ],
        "",
        "",
    );
    if let Some(inspection) = inspection {
        let leak = &inspection.leakage[0];
        assert!(leak.rows + leak.near_rows >= 3400, "{} {}", leak.rows, leak.near_rows);
    }
}

#[test]
fn pairs() {
    let (train, test) = ("sick/SICK_train.txt", "sick/SICK_test_annotated.txt");
    check(
        plain(&[train, test], "", "entailment_judgment"),
        &[
            (test, Kind::Leakage, 49, ""),
            (train, Kind::TellsOfLabel, 1, "`relatedness_score`"),
        ],
    );
    let (nsmc, nli) = ("nsmc/ratings_train_rebuilt.tsv.gz", "klue_nli/klue-nli-v1.1_dev.json");
    check(
        plain(&[nsmc, nli], "", ""),
        &[
            (nli, Kind::Leakage, 105, "single texts"),
            (nli, Kind::GivesLabelAway, 1, "`label2`"),
        ],
    );
    // Each premise is there three times, so near repeats with another label are as they should be.
}

/// One line of 1.8 MB, and lengths of whole documents.
#[test]
fn long_texts() {
    let file = "text_ko/naver_shopping_4star_one_line.txt.gz";
    check(
        plain(&[file], "", ""),
        &[(file, Kind::LongText, 1, "724251 characters")],
    );
    let file = "movie_reviews_long/movie_reviews.jsonl.gz";
    check(plain(&[file], "", ""), &[(file, Kind::SortedByLabel, 1, "")]);
}

/// Nothing is found in what is clean, and nothing fails on what is not mentioned above.
#[test]
fn the_others_are_inspected() {
    for (file, text, label) in [
        ("nsmc/ratings_ordinal_1to10.tsv", "", "rating"),
        ("klue_sts/klue-sts-v1.1_dev.json", "", "labels.binary-label"),
        ("korsts/sts-train.tsv", "", ""),
        ("mams_acsa/train.jsonl", "", "aspects.category"),
        ("finance_sentiment/finance_data.csv", "kor_sentence", ""),
        ("kochat_intents/intent_data.csv", "", ""),
        ("naver_shopping_sample/naver_shopping.csv", "", ""),
    ] {
        let Some(inspection) = plain(&[file], text, label) else {
            continue;
        };
        assert!(inspection.files[0].labels.is_some(), "{file}");
        let language = crate::report::Language::ENGLISH;
        let page = inspection.to_page().render(&language);
        assert!(page.len() < 2 << 20, "{file}: {} bytes", page.len());
    }
}
