//! Every kind of tokenizer that checkpoints bring, against `transformers` (`tests/reference/tokenizer_kinds.py` wrote what is compared
//! with): ids, token types and offsets of awkward texts one by one, and of the rows of three data sets by a hash. Of those it takes every
//! fiftieth row; with `GAREUM_TEST_WHOLE=1` all of them, which takes minutes. Vocabularies and data sets are looked for in
//! `GAREUM_TEST_DATA`, by default `../shared/data` beside the workspace; what is missing is skipped with a word.

use std::io::Read;
use std::path::{Path, PathBuf};

use gareum::tokens::{Located, Tokenizer, Truncation, TruncationStrategy};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const UNTRUNCATED: Truncation = Truncation {
    max_length: usize::MAX,
    strategy: TruncationStrategy::Head,
};

type Row = (String, Option<String>);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures")
}

fn data() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os("GAREUM_TEST_DATA").map_or_else(beside, PathBuf::from)
}

fn reference() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("tokenizer_kinds.json")).unwrap()).unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The files of a kind as they stand in a checkpoint, if they are all there.
fn checkpoint(kind: &Value) -> Option<TempDir> {
    let directory = tempfile::tempdir().unwrap();
    for (name, source) in kind["files"].as_object().unwrap() {
        let source = source.as_str().unwrap();
        let root = if source.starts_with("sentencepiece/") {
            fixtures()
        } else {
            data()
        };
        let path = root.join(source);
        if !path.exists() {
            eprintln!(
                "skipped: no {}; set GAREUM_TEST_DATA to the folder of test data",
                path.display()
            );
            return None;
        }
        std::fs::copy(path, directory.path().join(name)).unwrap();
    }
    write(&directory, "config.json", &kind["config"]);
    if kind["tokenizer_config"]
        .as_object()
        .is_some_and(|settings| !settings.is_empty())
    {
        write(&directory, "tokenizer_config.json", &kind["tokenizer_config"]);
    }
    Some(directory)
}

fn write(directory: &TempDir, name: &str, value: &Value) {
    std::fs::write(directory.path().join(name), value.to_string()).unwrap();
}

fn open(directory: &Path, name: &str) -> Tokenizer {
    Tokenizer::from_directory(directory).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Saves a tokenizer and reads it again.
fn again(tokenizer: &Tokenizer, name: &str) -> Tokenizer {
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path(), 512).unwrap();
    open(saved.path(), name)
}

fn located(tokenizer: &Tokenizer, (text, pair): &Row) -> Located {
    let located = tokenizer.encode_located(text, pair.as_deref(), UNTRUNCATED).unwrap();
    let plain = tokenizer.encode(text, pair.as_deref(), UNTRUNCATED).unwrap();
    assert_eq!(located.encoded, plain, "{text:?}");
    assert_eq!(located.spans.len(), plain.input_ids.len(), "{text:?}");
    located
}

/// Where tokens begin and end, counted in characters; special tokens are at 0.
fn characters(located: &Located, (text, pair): &Row) -> Vec<[usize; 2]> {
    let numbers = [text.as_str(), pair.as_deref().unwrap_or_default()].map(|text| {
        let mut numbers = vec![0; text.len() + 1];
        let ends = text.char_indices().skip(1).map(|(byte, _)| byte).chain([text.len()]);
        for (byte, number) in ends.zip(1..) {
            numbers[byte] = number;
        }
        numbers
    });
    let place = |span: &Option<gareum::tokens::TokenSpan>| match span {
        None => [0, 0],
        Some(span) => {
            let text = if span.text == 0 { text } else { pair.as_ref().unwrap() };
            assert!(text.get(span.bytes.clone()).is_some(), "{text:?} {span:?}");
            let numbers = &numbers[span.text];
            [numbers[span.bytes.start], numbers[span.bytes.end]]
        }
    };
    located.spans.iter().map(place).collect()
}

/// What the reference hashes of a row: the number of tokens, then id, token type, start and end of each.
fn record(tokenizer: &Tokenizer, row: &Row, offsets: bool, hash: &mut Sha256) {
    let located = if offsets {
        tokenizer.encode_located(&row.0, row.1.as_deref(), UNTRUNCATED).unwrap()
    } else {
        located(tokenizer, row)
    };
    let places = if offsets {
        characters(&located, row)
    } else {
        vec![[0, 0]; located.spans.len()]
    };
    let encoded = &located.encoded;
    let mut bytes = (encoded.input_ids.len() as u32).to_le_bytes().to_vec();
    for ((id, kind), [start, end]) in encoded.input_ids.iter().zip(&encoded.token_type_ids).zip(places) {
        for number in [*id, *kind, start as u32, end as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    hash.update(bytes);
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn awkward_texts_give_the_tokens_and_offsets_of_transformers_also_after_saving() {
    let reference = reference();
    let texts: Vec<String> = list(&reference["texts"]).iter().map(string).collect();
    let singles: Vec<Row> = texts.iter().map(|text| (text.clone(), None)).collect();
    let text = |index: &Value| texts[index.as_u64().unwrap() as usize].clone();
    let pairs = list(&reference["pairs"])
        .iter()
        .map(|pair| (text(&pair[0]), Some(text(&pair[1]))));
    let pairs: Vec<Row> = pairs.collect();
    let mut wrong = Vec::new();
    for (name, kind) in reference["kinds"].as_object().unwrap() {
        let Some(directory) = checkpoint(kind) else { continue };
        let offsets = kind["offsets"].as_bool().unwrap();
        let opened = open(directory.path(), name);
        if let Some(saved) = std::env::var_os("GAREUM_TEST_SAVED") {
            // For `tokenizer_kinds.py --saved`.
            let saved = Path::new(&saved).join(name);
            std::fs::create_dir_all(&saved).unwrap();
            opened.save(&saved, 512).unwrap();
            std::fs::write(saved.join("config.json"), kind["config"].to_string()).unwrap();
        }
        for tokenizer in [&opened, &again(&opened, name)] {
            let rows = singles
                .iter()
                .zip(list(&kind["texts"]))
                .chain(pairs.iter().zip(list(&kind["pairs"])));
            for (row, expected) in rows {
                let located = located(tokenizer, row);
                let places = characters(&located, row).concat();
                let places = if offsets { places } else { Vec::new() };
                let seen = json!([located.encoded.input_ids, located.encoded.token_type_ids, places]);
                // `transformers` leaves it without tokens, and a model needs one.
                let has_stand_in = expected[0] == json!([]) && row.0.is_empty() && located.spans == [None];
                if &seen != expected && !has_stand_in {
                    wrong.push(format!("{name}: {row:?}\n     seen {seen}\n expected {expected}"));
                }
            }
        }
        for (part, expected) in list(&reference["long"]).iter().zip(list(&kind["long"])) {
            let text = string(&part[0]).repeat(part[1].as_u64().unwrap() as usize);
            let mut hash = Sha256::new();
            record(&opened, &(text, None), offsets, &mut hash);
            if expected != &json!(hex(hash)) {
                wrong.push(format!("{name}: {part}, another hash"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rows_of_real_data_give_the_tokens_and_offsets_of_transformers() {
    let whole = std::env::var_os("GAREUM_TEST_WHOLE").is_some();
    let reference = reference();
    let every = if whole {
        1
    } else {
        reference["every"].as_u64().unwrap() as usize
    };
    let data_sets: Vec<(&str, Vec<Row>)> = [("nsmc", nsmc()), ("goemotions", goemotions()), ("klue_nli", klue_nli())]
        .into_iter()
        .filter_map(|(name, rows)| Some((name, rows?.into_iter().step_by(every).collect())))
        .collect();
    let mut wrong = Vec::new();
    for (name, kind) in reference["kinds"].as_object().unwrap() {
        let Some(directory) = checkpoint(kind) else { continue };
        let tokenizer = open(directory.path(), name);
        for (data_set, rows) in &data_sets {
            let mut hash = Sha256::new();
            for row in rows {
                record(&tokenizer, row, kind["offsets"].as_bool().unwrap(), &mut hash);
            }
            let expected = &kind["hashes"][data_set][if whole { "whole" } else { "sample" }];
            if expected != &json!(hex(hash)) {
                wrong.push(format!("{name}: {data_set}"));
            }
        }
    }
    assert!(wrong.is_empty(), "other tokens: {}", wrong.join("; "));
}

fn found(path: &str) -> Option<PathBuf> {
    let path = data().join(path);
    if !path.exists() {
        eprintln!(
            "skipped: no {}; set GAREUM_TEST_DATA to the folder of test data",
            path.display()
        );
        return None;
    }
    Some(path)
}

fn nsmc() -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for part in ["train", "test"] {
        let file = std::fs::File::open(found(&format!("nsmc/ratings_{part}_rebuilt.tsv.gz"))?).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        let field = |line: &str| (line.split('\t').nth(1).unwrap().to_owned(), None);
        rows.extend(text.split_terminator('\n').skip(1).map(field));
    }
    Some(rows)
}

fn goemotions() -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for part in ["train", "dev", "test"] {
        let text = std::fs::read_to_string(found(&format!("goemotions/{part}.tsv"))?).unwrap();
        let field = |line: &str| (line.split('\t').next().unwrap().to_owned(), None);
        rows.extend(text.split_terminator('\n').map(field));
    }
    Some(rows)
}

fn klue_nli() -> Option<Vec<Row>> {
    let bytes = std::fs::read(found("klue_nli/klue-nli-v1.1_dev.json")?).unwrap();
    let pairs: Vec<Map<String, Value>> = serde_json::from_slice(&bytes).unwrap();
    let row = |pair: &Map<String, Value>| (string(&pair["premise"]), Some(string(&pair["hypothesis"])));
    Some(pairs.iter().map(row).collect())
}

/// Texts that a tokenizer was trimmed for are cut as before, also after saving; others get no more unknown tokens than there are foreign
/// characters in them.
#[test]
fn trimmed_tokenizers_cut_the_texts_that_they_were_trimmed_for_as_before() {
    let reference = reference();
    let texts: Vec<String> = list(&reference["texts"]).iter().map(string).collect();
    let rows = nsmc().into_iter().chain(klue_nli());
    let rows = rows.flat_map(|rows| rows.into_iter().take(60_000).step_by(200));
    let rows: Vec<Row> = rows.chain(texts.into_iter().map(|text| (text, None))).collect();
    let others: Vec<Row> = goemotions().into_iter().flatten().step_by(500).collect();
    let ids = |tokenizer: &Tokenizer, (text, pair): &Row| {
        tokenizer.encode(text, pair.as_deref(), UNTRUNCATED).unwrap().input_ids
    };
    for (name, kind) in reference["kinds"].as_object().unwrap() {
        let Some(directory) = checkpoint(kind) else { continue };
        let whole = open(directory.path(), name);
        let used = rows.iter().flat_map(|row| ids(&whole, row)).collect();
        let trimmed = match whole.trimmed(&used) {
            Err(error) if name.starts_with("kobert") => {
                assert!(error.to_string().contains("KoBERT"), "{name}: {error}");
                continue;
            }
            trimmed => trimmed.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        let size = trimmed.kept.len();
        assert_eq!(trimmed.tokenizer.vocab_size(), size, "{name}");
        if whole.vocab_size() > 20_000 {
            assert!(
                size < whole.vocab_size() / 2,
                "{name}: {size} of {}",
                whole.vocab_size()
            );
        }
        for tokenizer in [&trimmed.tokenizer, &again(&trimmed.tokenizer, name)] {
            for row in &rows {
                let expected: Option<Vec<u32>> = ids(&whole, row).iter().map(|id| trimmed.id_of(*id)).collect();
                assert_eq!(Some(ids(tokenizer, row)), expected, "{name}: {row:?}");
            }
            let unknown = |tokenizer: &Tokenizer| {
                let unknown = tokenizer.unknown_token();
                let ids = others.iter().flat_map(|row| ids(tokenizer, row));
                ids.filter(|id| Some(*id) == unknown).count()
            };
            // Small models lack single characters in the first place.
            if whole.vocab_size() > 20_000 {
                assert!(unknown(tokenizer) <= unknown(&whole) + others.len() / 50, "{name}");
            }
        }
    }
}
