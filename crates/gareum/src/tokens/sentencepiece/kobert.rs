//! KoBERT's conventions, of which there are two. monologg's puts the pieces in the order of a `vocab.txt`; SKT's keeps the ids of the
//! `.model`. Both take the text as the sentencepiece library does, frame it as BERT does, and cut a piece like `1,` once more.
//!
//! Their tokenizers are Python on top of the sentencepiece library, so unlike the others' these are made to equal that library: Hangul is
//! composed, and control symbols are never found in a text.

use std::ops::Range;
use std::path::Path;

use ahash::AHashMap;
use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding, Tokenizer};
use unicode_normalization::char::canonical_combining_class;

use super::file::{Algorithm, Piece, PieceKind, SentencePieceFile};
use super::{BERT_LIKE, cls_a_sep_b_sep, metaspace, quotes, rules, unigram};
use crate::tokens::TokenizerError;
use crate::tokens::pipeline::{Normalization, Pipeline, normalizers};
use crate::tokens::settings::Settings;

/// The key of `tokenizer_config.json` under which a saved tokenizer says what a [`Cutter`] is made of.
pub(in crate::tokens) const KEY: &str = "kobert";

/// A tokenizer of KoBERT's, and what is to be written under [`KEY`].
pub(in crate::tokens) struct KoBert {
    pub tokenizer: Tokenizer,
    pub settings: Value,
}

/// Reads a `.model`, and the ids of its pieces from a `vocab.txt` if there is one.
pub(in crate::tokens) fn from_model(
    path: &Path,
    vocabulary: Option<&Path>,
    settings: &Settings,
) -> Result<KoBert, TokenizerError> {
    let failed = |path: &Path, reason: String| TokenizerError::Read {
        path: path.to_owned(),
        reason,
    };
    let file = super::read(path)?;
    if file.algorithm != Algorithm::Unigram {
        return Err(failed(path, "it is a Bpe model; KoBERT's is Unigram".to_owned()));
    }
    let order = match vocabulary {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| failed(path, error.to_string()))?;
            Some(text.lines().map(|line| line.trim().to_owned()).collect::<Vec<String>>())
        }
    };
    convert(&file, order.as_deref(), settings).map_err(|reason| failed(vocabulary.unwrap_or(path), reason))
}

fn convert(file: &SentencePieceFile, order: Option<&[String]>, settings: &Settings) -> Result<KoBert, String> {
    let defaults: Vec<_> = match order {
        Some(_) => BERT_LIKE[2..].to_vec(),
        None => BERT_LIKE.to_vec(),
    };
    let mut special = settings.special_tokens(&defaults);
    if order.is_none() {
        special.mask_takes_blanks();
    }
    let named: Vec<&str> = BERT_LIKE.iter().filter_map(|(key, _)| special.get(key)).collect();
    // A token that no text can have, since blanks are written `▁`: what stands in the vocabulary but is never found.
    let hidden = |token: &str| format!(" {token}");
    let found = |piece: &Piece| matches!(piece.kind, PieceKind::Normal | PieceKind::UserDefined);
    let pieces: AHashMap<&str, &Piece> = file.pieces.iter().map(|piece| (piece.text.as_str(), piece)).collect();
    let normal = file.pieces.iter().filter(|piece| piece.kind == PieceKind::Normal);
    let worst = normal.map(|piece| piece.score).fold(0.0, f32::min);
    // The library's score for symbols that a user defined, by which they win nearly always.
    let score = |piece: &Piece| match piece.kind {
        PieceKind::UserDefined => f64::from(-0.1_f32),
        _ => f64::from(piece.score),
    };
    let entry = |token: &str| match pieces.get(token) {
        Some(piece) if found(piece) => (token.to_owned(), score(piece)),
        _ if named.contains(&token) => (token.to_owned(), 0.0),
        _ => (hidden(token), 0.0),
    };
    let (vocabulary, known) = match order {
        None => (
            file.pieces.iter().map(|piece| entry(&piece.text)).collect::<Vec<_>>(),
            file.pieces.len(),
        ),
        Some(order) => {
            let last: AHashMap<&str, usize> = order.iter().map(String::as_str).zip(0..).collect();
            // A token that stands twice has the id of its last line.
            let listed = order
                .iter()
                .enumerate()
                .map(|(id, token)| match last.get(token.as_str()) {
                    Some(&last) if last == id => entry(token),
                    _ => (hidden(&format!("{id} {token}")), 0.0),
                });
            // What the list lacks is cut out all the same, and unknown afterwards.
            let unlisted = file
                .pieces
                .iter()
                .filter(|piece| found(piece) && !last.contains_key(piece.text.as_str()));
            let unlisted = unlisted.map(|piece| (piece.text.clone(), score(piece)));
            (listed.chain(unlisted).collect(), order.len())
        }
    };
    let unknown = special.spelled("unk_token");
    let unk_id = vocabulary
        .iter()
        .position(|(token, _)| token == unknown)
        .ok_or_else(|| format!("the vocabulary has no `{unknown}`"))?;
    let pipeline = Pipeline {
        normalizer: normalizers(normalisation(file, settings)?)?,
        pre_tokenizer: metaspace("never", true),
        decoder: metaspace("always", true),
    };
    let tokenizer = pipeline.assemble(unigram(vocabulary, unk_id)?, &special, cls_a_sep_b_sep(&special))?;
    Ok(KoBert {
        tokenizer,
        settings: json!({ "split_digit_commas": true, "pieces": known, "unk_id": unk_id, "unk_score": worst - 10.0 }),
    })
}

/// What the Python classes do to a text, then what the sentencepiece library does.
fn normalisation(file: &SentencePieceFile, settings: &Settings) -> Result<Vec<Normalization>, String> {
    let mut steps = Vec::new();
    if settings.flag("remove_space") != Some(false) {
        // Python's blanks are Unicode's and four control characters.
        steps.push(Normalization::replace_matches(r"[\s\x1c-\x1f]+", " "));
        steps.push(Normalization::replace_matches("^ | $", ""));
    }
    steps.extend(quotes());
    if settings.flag("keep_accents") != Some(true) {
        steps.push(Normalization::named("NFKD"));
        steps.push(Normalization::replace_matches(&combining_characters(), ""));
    }
    if settings.flag("do_lower_case") == Some(true) {
        steps.push(Normalization::named("Lowercase"));
    }
    if let Some(rules) = rules(file)? {
        // The library's rules compose Hangul; as the `tokenizers` crate applies them, they do not.
        steps.push(Normalization::named("NFC"));
        steps.push(rules);
    }
    if file.remove_extra_whitespaces {
        steps.push(Normalization::replace_matches("^ +| +$", ""));
        steps.push(Normalization::replace_matches(" {2,}", " "));
    }
    if file.add_dummy_prefix {
        steps.push(Normalization::Written(json!({ "type": "Prepend", "prepend": "▁" })));
    }
    steps.push(Normalization::replace(" ", "▁"));
    Ok(steps)
}

/// A regular expression for the characters that Python's `unicodedata.combining` is true of: those with a combining class.
fn combining_characters() -> String {
    let combines =
        |code: &u32| char::from_u32(*code).is_some_and(|character| canonical_combining_class(character) != 0);
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for code in (0..=0x1_ffff).filter(combines) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == code => *last = code,
            _ => ranges.push((code, code)),
        }
    }
    let ranges = ranges
        .iter()
        .map(|(first, last)| format!(r"\x{{{first:x}}}-\x{{{last:x}}}"));
    format!("[{}]", ranges.collect::<String>())
}

/// Cuts texts as the sentencepiece library does: the most probable pieces of all that stands between special tokens, summed up in single
/// precision, which decides between equal ones (`ㅋㅋㅋ` + `ㅋㅋ` or the reverse) as the `tokenizers` crate does not. Then a comma behind a digit
/// at the end of a piece is cut off and the number before it cut anew, and what `vocab.txt` lacks becomes unknown.
#[derive(Debug, Clone)]
pub(in crate::tokens) struct Cutter {
    /// Ids and scores of what can be found in a text.
    pieces: AHashMap<String, (u32, f32)>,
    /// Bytes of the longest piece.
    longest: usize,
    /// Ids from here on are none of the model's.
    known: u32,
    unk_id: u32,
    unk_score: f32,
    special: AHashMap<u32, String>,
}

/// A token as it comes out of an encoding, with its place in the text.
pub(in crate::tokens) struct Cut {
    pub id: u32,
    pub type_id: u32,
    /// Which text it is of; `None` for special tokens around them.
    pub sequence: Option<usize>,
    /// Bytes of the text.
    pub bytes: Range<usize>,
}

impl Cutter {
    /// For a tokenizer, with what stands under [`KEY`] of its settings.
    pub fn new(tokenizer: &Tokenizer, settings: &Value) -> Result<Self, String> {
        let number = |key: &str| {
            let number = settings
                .get(key)
                .and_then(Value::as_u64)
                .and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| format!("`{KEY}.{key}` should be a number"))
        };
        let ModelWrapper::Unigram(model) = tokenizer.get_model() else {
            return Err(format!("`{KEY}` is for tokenizers with a Unigram model"));
        };
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let special: AHashMap<u32, String> = added
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (id, token.content))
            .collect();
        let pieces: AHashMap<String, (u32, f32)> = model
            .iter()
            .zip(0..)
            .filter(|((piece, _), id)| !piece.starts_with(' ') && !special.contains_key(id))
            .map(|((piece, score), id)| (piece.clone(), (id, *score as f32)))
            .collect();
        Ok(Self {
            longest: pieces.keys().map(String::len).max().unwrap_or(0),
            pieces,
            known: number("pieces")?,
            unk_id: number("unk_id")?,
            unk_score: settings
                .get("unk_score")
                .and_then(Value::as_f64)
                .ok_or_else(|| format!("`{KEY}.unk_score` should be a number"))? as f32,
            special,
        })
    }

    /// Cuts anew what an encoding of one or two texts has between its special tokens.
    pub fn cut(&self, encoding: &Encoding, texts: [&str; 2]) -> Vec<Cut> {
        let mut cuts = Vec::with_capacity(encoding.len());
        let mut part = Part::default();
        let tokens = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_type_ids())
            .zip(encoding.get_tokens());
        let places = encoding.get_sequence_ids().into_iter().zip(encoding.get_offsets());
        for (((&id, &type_id), token), (sequence, &(start, end))) in tokens.zip(places) {
            let slice = sequence.map(|text| &texts[text][start..end]);
            // What merely becomes `[MASK]` by normalisation, like `［MASK]`, is a text.
            let is_special = self
                .special
                .get(&id)
                .is_some_and(|special| slice.is_none_or(|slice| slice.trim() == special.as_str()));
            if is_special || sequence.is_none() {
                part.finish(self, &mut cuts);
                cuts.push(Cut {
                    id,
                    type_id,
                    sequence,
                    bytes: start..end,
                });
            } else {
                if part.sequence != sequence {
                    part.finish(self, &mut cuts);
                }
                (part.sequence, part.type_id) = (sequence, type_id);
                part.push(token, slice.unwrap_or_default(), start);
            }
        }
        part.finish(self, &mut cuts);
        cuts
    }

    /// The ids of a normalised text with the bytes of it that each stands for.
    fn ids(&self, text: &str) -> Vec<(u32, Range<usize>)> {
        let mut ids = Vec::new();
        for bytes in self.pieces(text) {
            let piece = &text[bytes.clone()];
            let number = piece.strip_suffix(',');
            // No other digits: normalisation has made plain ones of most, and the pieces of a Korean vocabulary have none of the rest.
            let Some(number) = number.filter(|number| number.ends_with(|last: char| last.is_ascii_digit())) else {
                ids.push((self.id(piece), bytes));
                continue;
            };
            // Alone it begins with a blank. In the text it may not, and then its first piece is another, be that one known or not.
            let alone = format!("▁{}", number.replace('▁', ""));
            let added = alone.len() - number.len();
            for part in self.pieces(&alone) {
                let begins = part.start == 0 && added > 0;
                let piece = &alone[if begins { added } else { part.start }..part.end];
                if !piece.is_empty() {
                    let start = bytes.start + part.start.saturating_sub(added);
                    ids.push((self.id(piece), start..bytes.start + part.end - added));
                }
            }
            ids.push((self.id(","), bytes.end - 1..bytes.end));
        }
        ids
    }

    fn id(&self, piece: &str) -> u32 {
        match self.pieces.get(piece) {
            Some((id, _)) if *id < self.known => *id,
            _ => self.unk_id,
        }
    }

    /// The most probable pieces (Viterbi 1967), as the library finds them, in single precision. Neighbouring unknown characters are
    /// one piece.
    fn pieces(&self, text: &str) -> Vec<Range<usize>> {
        #[derive(Clone, Copy)]
        struct Best {
            score: f32,
            /// Where the last piece begins; `None` as long as there is no way here.
            start: Option<usize>,
            is_unknown: bool,
        }
        let nothing = Best {
            score: 0.0,
            start: None,
            is_unknown: false,
        };
        let mut best = vec![nothing; text.len() + 1];
        for (start, character) in text.char_indices() {
            let so_far = best[start].score;
            let mut reach = |end: usize, score: f32, is_unknown: bool| {
                let target = &mut best[end];
                if target.start.is_none() || score > target.score {
                    *target = Best {
                        score,
                        start: Some(start),
                        is_unknown,
                    };
                }
            };
            let single = start + character.len_utf8();
            let mut has_single = false;
            let longest = (start + self.longest).min(text.len());
            for end in (single..=longest).filter(|&end| text.is_char_boundary(end)) {
                if let Some((_, score)) = self.pieces.get(&text[start..end]) {
                    reach(end, score + so_far, false);
                    has_single |= end == single;
                }
            }
            if !has_single {
                reach(single, self.unk_score + so_far, true);
            }
        }
        let mut pieces: Vec<Range<usize>> = Vec::new();
        let mut end = text.len();
        let mut was_unknown = false;
        while let Some(start) = best[end].start {
            match pieces.last_mut() {
                Some(last) if was_unknown && best[end].is_unknown => last.start = start,
                _ => pieces.push(start..end),
            }
            was_unknown = best[end].is_unknown;
            end = start;
        }
        pieces.reverse();
        pieces
    }
}

/// What stands between two special tokens.
#[derive(Default)]
struct Part {
    sequence: Option<usize>,
    type_id: u32,
    /// As it was normalised.
    text: String,
    /// For each byte of it, which bytes of the original it stands for.
    places: Vec<Range<usize>>,
}

impl Part {
    fn push(&mut self, token: &str, slice: &str, start: usize) {
        self.text.push_str(token);
        let visible = token.chars().filter(|&character| character != '▁').count();
        let blanks = slice.len() - slice.trim_start().len();
        let originals = slice[blanks..].char_indices();
        let mut originals = originals.map(|(at, original)| blanks + at..blanks + at + original.len_utf8());
        // As many characters as there were: one for each. Otherwise each stands for all.
        let each = originals.clone().count() == visible;
        for character in token.chars() {
            let place = match character {
                '▁' => 0..blanks,
                _ if each => originals.next().unwrap_or_default(),
                _ => blanks..slice.len(),
            };
            let place = start + place.start..start + place.end;
            self.places.extend(std::iter::repeat_n(place, character.len_utf8()));
        }
    }

    /// Appends its tokens and begins anew.
    fn finish(&mut self, cutter: &Cutter, cuts: &mut Vec<Cut>) {
        for (id, bytes) in cutter.ids(&self.text) {
            let places = &self.places[bytes];
            cuts.push(Cut {
                id,
                type_id: self.type_id,
                sequence: self.sequence,
                bytes: places[0].start..places[places.len() - 1].end,
            });
        }
        *self = Self::default();
    }
}
