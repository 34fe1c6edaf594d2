//! Token ids of real vocabularies against transformers' (`tests/reference/tokenizers_reference.py` wrote what is compared with),
//! and what else real vocabularies demand. Their folder is `GAREUM_TEST_DATA`, by default `../shared/data` beside the workspace; a
//! vocabulary that is missing is skipped with a word.

use std::path::{Path, PathBuf};

use gareum::tokens::{Encoded, Tokenizer, Truncation, TruncationStrategy};
use serde_json::{Value, json};
use tempfile::TempDir;

const UNTRUNCATED: usize = 1_000_000;

fn reference() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/tokenizers.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn found(name: &str, file: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("GAREUM_TEST_DATA").map_or_else(beside, PathBuf::from);
    let path = data.join("tokenizers").join(name).join(file);
    if !path.exists() {
        eprintln!(
            "skipped: no {}; set GAREUM_TEST_DATA to the folder of test data",
            path.display()
        );
        return None;
    }
    Some(path)
}

/// A directory with nothing in it but one file of a tokenizer and, if asked for, a `tokenizer_config.json`.
fn directory(file: &Path, lower_case: Option<bool>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(file, directory.path().join(file.file_name().unwrap())).unwrap();
    if let Some(lower_case) = lower_case {
        let config = json!({ "do_lower_case": lower_case }).to_string();
        std::fs::write(directory.path().join("tokenizer_config.json"), config).unwrap();
    }
    directory
}

fn open(file: &Path, lower_case: Option<bool>) -> Tokenizer {
    let directory = directory(file, lower_case);
    Tokenizer::from_directory(directory.path()).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn encode(tokenizer: &Tokenizer, text: &str, text_pair: Option<&str>, max_length: usize) -> Encoded {
    let strategy = TruncationStrategy::Head;
    tokenizer
        .encode(text, text_pair, Truncation { max_length, strategy })
        .unwrap()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    encode(tokenizer, text, None, UNTRUNCATED).input_ids
}

/// Compares every text and pair of the reference with what a tokenizer makes of it.
fn check(name: &str, tokenizer: &Tokenizer, reference: &Value) {
    let texts: Vec<&str> = reference["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    let text = |index: &Value| texts[index.as_u64().unwrap() as usize];
    let singles: Vec<(&str, Option<&str>)> = texts.iter().map(|text| (*text, None)).collect();
    let pairs: Vec<(&str, Option<&str>)> = reference["pairs"]
        .as_array()
        .unwrap()
        .iter()
        // One pair with an empty second text is a single text to `transformers`; a list of pairs is not. No data has such a pair.
        .map(|pair| (text(&pair[0]), Some(text(&pair[1])).filter(|text| !text.is_empty())))
        .collect();
    let max_length = reference["max_length"].as_u64().unwrap() as usize;
    let answers = &reference["tokenizers"][name];
    for (kind, inputs, max_length) in [
        ("single", &singles, UNTRUNCATED),
        ("single_truncated", &singles, max_length),
        ("pair", &pairs, UNTRUNCATED),
        ("pair_truncated", &pairs, max_length),
    ] {
        let expected = answers[kind].as_array().unwrap();
        assert_eq!(expected.len(), inputs.len(), "{name} {kind}");
        for ((text, text_pair), expected) in inputs.iter().zip(expected) {
            let encoded = encode(tokenizer, text, *text_pair, max_length);
            let seen = json!([encoded.input_ids, encoded.token_type_ids]);
            assert_eq!(&seen, expected, "{name} {kind}: {text:?} {text_pair:?}");
        }
    }
}

#[test]
fn ids_are_those_of_transformers_also_after_saving() {
    let reference = reference();
    for (name, answers) in reference["tokenizers"].as_object().unwrap() {
        let Some(file) = found(name, answers["file"].as_str().unwrap()) else {
            continue;
        };
        let tokenizer = open(&file, answers["lower_case"].as_bool());
        check(name, &tokenizer, &reference);

        let saved = tempfile::tempdir().unwrap();
        tokenizer.save(saved.path(), 16).unwrap();
        let again = Tokenizer::from_directory(saved.path()).unwrap();
        check(name, &again, &reference);
        assert_eq!(again.vocab_size(), tokenizer.vocab_size(), "{name}");
    }
}

#[test]
fn a_saved_tokenizer_describes_itself() {
    let Some(file) = found("bert-base-uncased", "vocab.txt") else {
        return;
    };
    let saved = tempfile::tempdir().unwrap();
    open(&file, Some(true)).save(saved.path(), 77).unwrap();
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(saved.path().join(name)).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert_eq!(
        read("special_tokens_map.json"),
        json!({"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"})
    );
    let config = read("tokenizer_config.json");
    assert_eq!(
        (&config["do_lower_case"], &config["model_max_length"]),
        (&json!(true), &json!(77))
    );
    assert_eq!(read("tokenizer.json")["truncation"], Value::Null);
}

/// `transformers` lower-cases whatever has no `do_lower_case`; a vocabulary with capitals is spared that.
#[test]
fn case_is_seen_from_the_vocabulary_where_nothing_says_it() {
    let reference = reference();
    for name in [
        "bert-base-cased",
        "bert-base-uncased",
        "kcbert-base",
        "koelectra-base-v3",
    ] {
        if let Some(file) = found(name, "vocab.txt") {
            check(name, &open(&file, None), &reference);
        }
    }
}

#[test]
fn a_vocabulary_with_crlf_a_nul_and_a_blank_entry_loads() {
    let Some(file) = found("kocharelectra", "vocab.txt") else {
        return;
    };
    let tokenizer = open(&file, Some(false));
    assert_eq!(tokenizer.vocab_size(), 11_568);
    // 이 and 다 stand on lines 7 and 8, right behind the blank entry; the last line is `[unused199]`.
    assert_eq!(ids(&tokenizer, "이 다"), [2, 6, 7, 3]);
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path(), 16).unwrap();
    let again = Tokenizer::from_directory(saved.path()).unwrap();
    for text in ["이 다", "배송이 너무 늦어요 ㅠㅠ 5점", "\0 nul\0"] {
        assert_eq!(ids(&again, text), ids(&tokenizer, text), "{text:?}");
    }
}

#[test]
fn a_vocabulary_whose_special_tokens_are_spelled_otherwise_is_refused_until_they_are_named() {
    let Some(file) = found("bert-base-uncased-lowercased-specials", "vocab.txt") else {
        return;
    };
    let directory = directory(&file, None);
    let error = Tokenizer::from_directory(directory.path()).unwrap_err().to_string();
    let path = directory.path().join("vocab.txt");
    assert_eq!(
        error,
        format!(
            "{}: the vocabulary has no `[UNK]`\nhint: name the special tokens in tokenizer_config.json",
            path.display()
        )
    );
    let config =
        json!({"unk_token": "[unk]", "cls_token": {"content": "[cls]"}, "sep_token": "[sep]", "mask_token": "[mask]"});
    std::fs::write(directory.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    let tokenizer = Tokenizer::from_directory(directory.path()).unwrap();
    assert_eq!(ids(&tokenizer, "the [mask]"), [101, 1996, 103, 102]);
}
