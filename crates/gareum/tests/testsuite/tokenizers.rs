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

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        std::fs::write(directory.path().join(name), contents).unwrap();
    }
    directory
}

fn model(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/sentencepiece");
    std::fs::read(fixtures.join(name)).unwrap()
}

const GPT2: (&str, &[u8]) = ("config.json", br#"{"model_type": "gpt2"}"#);
const XLM_ROBERTA: (&str, &[u8]) = ("config.json", br#"{"model_type": "xlm-roberta"}"#);
const BERT: (&str, &[u8]) = ("config.json", br#"{"model_type": "bert"}"#);
const LETTERS: (&str, &[u8]) = ("vocab.json", br#"{"a": 0, "b": 1, "ab": 2, "</s>": 3, "<s>": 4}"#);
const MERGES: (&str, &[u8]) = ("merges.txt", b"#version: 0.2\na b\n");

#[test]
fn damaged_files_are_named_with_what_is_wrong() {
    let check = |files: &[(&str, &[u8])], expected: &str| {
        let directory = folder(files);
        let error = Tokenizer::from_directory(directory.path()).unwrap_err().to_string();
        let seen = error.replace(&directory.path().display().to_string(), "DIR");
        assert_eq!(seen, expected);
    };
    let (fairseq, llama) = (model("fairseq.model"), model("llama.model"));
    check(
        &[GPT2, LETTERS, ("merges.txt", b"#version: 0.2\na b\nab\n")],
        "DIR/merges.txt:3: `ab` should be two tokens with a blank between them",
    );
    check(
        &[GPT2, LETTERS, ("merges.txt", b"a b\nb a\n")],
        "DIR/merges.txt:2: vocab.json has no `ba`, which `b a` needs",
    );
    check(&[GPT2, LETTERS], "DIR/vocab.json: there is no merges.txt beside it");
    check(
        &[GPT2, MERGES, ("vocab.json", br#"{"a": 0, "b": 0}"#)],
        "DIR/vocab.json: `a` and `b` both have the id 0",
    );
    check(
        &[GPT2, MERGES, ("vocab.json", br#"{"a": -1}"#)],
        "DIR/vocab.json: `a` should have an id, found -1",
    );
    check(
        &[LETTERS, MERGES],
        "DIR: vocab.json is read differently by each family of models, and nothing says which this is\n\
         hint: `model_type` in config.json or `tokenizer_class` in tokenizer_config.json says it",
    );
    check(
        &[XLM_ROBERTA, LETTERS, MERGES],
        "DIR: no way is known to read vocab.json as `XLMRobertaTokenizer`\n\
         hint: save it with `transformers`' tokenizer.save_pretrained, which writes a tokenizer.json, if it is a fast one",
    );
    check(
        &[XLM_ROBERTA, ("sentencepiece.bpe.model", &fairseq[..fairseq.len() / 2])],
        "DIR/sentencepiece.bpe.model: not a sentencepiece model, or one that is cut off",
    );
    check(
        &[XLM_ROBERTA, ("spiece.model", b"")],
        "DIR/spiece.model: it has no pieces",
    );
    check(
        &[XLM_ROBERTA, ("spiece.model", &llama)],
        "DIR/spiece.model: it is a Bpe model; for XlmRoberta tokenizers it should be Unigram",
    );
    check(
        &[XLM_ROBERTA, ("a.model", &fairseq), ("b.model", &fairseq)],
        "DIR: which tokenizer is it, a.model or b.model?",
    );
    check(
        &[BERT, ("spiece.model", &fairseq)],
        "DIR/spiece.model: the vocabulary has no `[UNK]`",
    );
    check(
        &[
            BERT,
            ("tokenizer_78b3253a26.model", &model("kobert.model")),
            ("vocab.txt", "▁이\n▁그\n".as_bytes()),
        ],
        "DIR/vocab.txt: the vocabulary has no `[UNK]`",
    );
    check(
        &[(
            "tokenizer.json",
            br#"{"version": "1.0", "model": {"type": "BPE", "vocab": {}}}"#,
        )],
        "DIR/tokenizer.json: not a tokenizer: Missing vocab/merges at line 1 column 57",
    );
    check(
        &[
            ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n"),
            ("tokenizer_config.json", b"{"),
        ],
        "DIR/tokenizer_config.json: not a JSON object: EOF while parsing an object at line 1 column 1",
    );
    check(
        &[
            ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n"),
            ("tokenizer_config.json", br#"{"added_tokens_decoder": {"x": "y"}}"#),
        ],
        "DIR/tokenizer_config.json: `added_tokens_decoder` has no token for `x`, but \"y\"",
    );
}

#[test]
fn tokens_that_the_model_has_no_embedding_for_are_refused() {
    let mask = ("tokenizer_config.json", &br#"{"mask_token": "[MASK]"}"#[..]);
    let vocabulary = ("vocab.txt", &b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n"[..]);
    let bare = Tokenizer::from_directory(folder(&[vocabulary]).path()).unwrap();
    // Nobody asked for `[MASK]`, which the vocabulary lacks.
    assert_eq!((bare.vocab_size(), ids(&bare, "b [MASK]").len()), (6, 6));
    bare.check_fits(6).unwrap();
    let named = folder(&[vocabulary, mask]);
    let named = Tokenizer::from_directory(named.path()).unwrap();
    assert_eq!(ids(&named, "b [MASK]"), [2, 5, 6, 3]);
    assert_eq!(
        named.check_fits(6).unwrap_err().to_string(),
        "the tokenizer has 7 tokens, the model embeds 6\nhint: tokenizer and weights belong to different checkpoints"
    );
    // Of two lines with the same token the last counts, and the place behind the vocabulary is not free.
    let twice = ("vocab.txt", &b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n"[..]);
    let bare = Tokenizer::from_directory(folder(&[twice]).path()).unwrap();
    assert_eq!(ids(&bare, "a"), [2, 5, 3]);
    let error = Tokenizer::from_directory(folder(&[twice, mask]).path())
        .unwrap_err()
        .to_string();
    let expected = "`[MASK]` is not in the vocabulary and would get the id 5, which `a` has";
    assert!(error.ends_with(expected), "{error}");
}

/// KoBART's `tokenizer.json` puts nothing at the end; its classifier reads the last `</s>`.
#[test]
fn sequences_end_with_a_token_on_request() {
    let settings = (
        "tokenizer_config.json",
        &br#"{"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<s>"}"#[..],
    );
    let mut tokenizer = Tokenizer::from_directory(folder(&[GPT2, LETTERS, MERGES, settings]).path()).unwrap();
    assert_eq!(ids(&tokenizer, "ab"), [2]);
    assert_eq!(tokenizer.end_with(3).unwrap().as_deref(), Some("</s>"));
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path(), 16).unwrap();
    let mut again = Tokenizer::from_directory(saved.path()).unwrap();
    assert_eq!(again.end_with(3).unwrap(), None);
    for tokenizer in [&tokenizer, &again] {
        assert_eq!(ids(tokenizer, "abba"), [2, 1, 0, 3]);
        assert_eq!(ids(tokenizer, ""), [3]);
        let pair = encode(tokenizer, "ab", Some("b"), UNTRUNCATED);
        assert_eq!(
            (pair.input_ids, pair.token_type_ids),
            (vec![2, 3, 1, 3], vec![0, 0, 1, 1])
        );
        assert_eq!(
            (tokenizer.special_tokens(false), tokenizer.special_tokens(true)),
            (1, 2)
        );
        assert_eq!(encode(tokenizer, "aaaa", None, 3).input_ids, [0, 0, 3]);
    }

    // What begins a sequence stays, and what ends already is left alone.
    let settings = (
        "tokenizer_config.json",
        &br#"{"eos_token": "</s>", "bos_token": "<s>", "add_bos_token": true}"#[..],
    );
    let mut tokenizer = Tokenizer::from_directory(folder(&[GPT2, LETTERS, MERGES, settings]).path()).unwrap();
    tokenizer.end_with(3).unwrap();
    assert_eq!(ids(&tokenizer, "ab"), [4, 2, 3]);
    let pair = encode(&tokenizer, "ab", Some("b"), UNTRUNCATED);
    assert_eq!(pair.input_ids, [4, 2, 3, 4, 1, 3]);
    let roberta = ("config.json", &br#"{"model_type": "bart"}"#[..]);
    let mut tokenizer = Tokenizer::from_directory(folder(&[roberta, LETTERS, MERGES]).path()).unwrap();
    assert_eq!(tokenizer.end_with(3).unwrap(), None);
    assert_eq!(ids(&tokenizer, "ab"), [4, 2, 3]);

    let mut without = Tokenizer::train_wordpiece(["a b"; 3].into_iter(), 20).unwrap();
    assert_eq!(
        without.end_with(99).unwrap_err().to_string(),
        "the tokenizer cannot end its sequences, which this model needs: its vocabulary has no token of the id 99\n\
         hint: `eos_token_id` in config.json, or the tokenizer, belongs to another model"
    );
}

#[test]
fn saved_settings_say_what_was_seen_from_the_files() {
    let read = |tokenizer: &Tokenizer| -> Value {
        let saved = tempfile::tempdir().unwrap();
        tokenizer.save(saved.path(), 16).unwrap();
        serde_json::from_slice(&std::fs::read(saved.path().join("tokenizer_config.json")).unwrap()).unwrap()
    };
    let cased = folder(&[("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nA\n")]);
    let config = read(&Tokenizer::from_directory(cased.path()).unwrap());
    assert_eq!(
        (&config["do_lower_case"], &config["tokenizer_class"]),
        (&json!(false), &json!("BertTokenizer"))
    );
    let kobert = folder(&[BERT, ("spiece.model", &model("kobert.model"))]);
    let config = read(&Tokenizer::from_directory(kobert.path()).unwrap());
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(config["kobert"]["split_digit_commas"], true);
}

/// KoBERT cuts a piece like `1,` once more; its parts have places of their own.
#[test]
fn parts_of_a_cut_token_slice_the_text() {
    let kobert = folder(&[BERT, ("spiece.model", &model("kobert.model"))]);
    let tokenizer = Tokenizer::from_directory(kobert.path()).unwrap();
    let text = "가격 2,024, 3,";
    let strategy = TruncationStrategy::Head;
    let located = tokenizer
        .encode_located(
            text,
            None,
            Truncation {
                max_length: UNTRUNCATED,
                strategy,
            },
        )
        .unwrap();
    let slices: Vec<&str> = located
        .spans
        .iter()
        .flatten()
        .map(|span| &text[span.bytes.clone()])
        .collect();
    assert_eq!(slices.concat(), text, "{slices:?}");
    assert!(
        slices.iter().all(|slice| !slice.contains(',') || *slice == ","),
        "{slices:?}"
    );
}
