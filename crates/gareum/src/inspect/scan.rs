//! One pass over a file: counts, and of each text a few numbers. Rows are read on one thread and looked at on all; no text is kept.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, sync_channel};

use ahash::RandomState;
use rayon::prelude::*;

use super::columns::{Cell, ColumnRole, ColumnTally, NumberSample, RowLabel};
use super::lengths::Lengths;
use super::repeats::{NONE, RowTable, letters_of};
use super::sketch::Sketch;
use super::traits::{TraitTally, Traits, is_han, is_hangul};
use super::vocabulary::{WordTally, words};
use super::{InspectError, Scripts};
use crate::data::{DataError, FoundColumns, Input, LabelColumns, RawLabel, Record, Records, raw_label, same_text_key};
use crate::tokens::{Tokenizer, Truncation, TruncationStrategy};

/// Rows that are read and looked at together.
const CHUNK_ROWS: usize = 2048;
/// Unknown pieces of texts that are counted; later ones are not.
const MOST_UNKNOWN: usize = 10_000;
/// Different labels beyond which words are not counted by label.
const MOST_LABELS_OF_WORDS: usize = 4096;
/// Nothing is cut.
const WHOLE: Truncation = Truncation {
    max_length: usize::MAX,
    strategy: TruncationStrategy::Head,
};

/// What one pass over a file found.
pub(super) struct Scan {
    /// The file, with what reading it turned out.
    pub records: Records,
    pub columns: FoundColumns,
    pub counts: Counts,
}

/// What is counted on the way.
pub(super) struct Counts {
    /// Rows read.
    pub rows_read: u64,
    pub missing_text: u64,
    pub missing_label: u64,
    /// Rows whose label has blanks around it.
    pub untrimmed_labels: Vec<u64>,
    pub table: RowTable,
    pub labels: DistinctLabels,
    pub columns: Vec<ColumnTally>,
    pub characters: Lengths,
    pub tokens: Option<TokenTally>,
    pub traits: TraitTally,
    pub scripts: Scripts,
    pub words: Option<WordTally>,
    /// Where rows stand, and how long texts are, beside their labels.
    pub positions: NumberSample,
    pub sizes: NumberSample,
}

/// The different labels of a file as they are written.
#[derive(Default)]
pub(super) struct DistinctLabels {
    pub labels: Vec<RawLabel>,
    /// Rows of each.
    pub rows: Vec<u64>,
    /// The first row of each.
    pub first_row: Vec<u64>,
    numbers: HashMap<String, u32>,
}

impl DistinctLabels {
    fn number(&mut self, label: RawLabel, row: u64) -> u32 {
        let next = self.labels.len() as u32;
        let number = *self.numbers.entry(label.key()).or_insert(next);
        if number == next {
            self.labels.push(label);
            self.rows.push(0);
            self.first_row.push(row);
        }
        number
    }
}

/// Tokens of the texts.
#[derive(Default)]
pub(super) struct TokenTally {
    pub lengths: Lengths,
    /// All tokens but those that frame a text.
    pub tokens: u64,
    pub unknown: u64,
    pub texts_with_unknown: u64,
    /// What the unknown tokens stand for.
    pub unknown_pieces: HashMap<String, u64>,
}

/// A row on its way.
struct Row {
    record: Record,
    inputs: Vec<Input>,
    label: Option<RawLabel>,
    is_untrimmed: bool,
}

/// What is kept of a row until it is counted.
struct Facts {
    row: Row,
    cells: Vec<Option<Cell>>,
    texts: Vec<TextFacts>,
}

struct TextFacts {
    exact: u64,
    same: u64,
    letters: u64,
    alone: Option<[u64; 2]>,
    sketch: Sketch,
    characters: u32,
    tokens: Option<Tokens>,
    traits: Traits,
    scripts: Scripts,
    words: Vec<String>,
}

struct Tokens {
    length: u32,
    content: u32,
    unknown: u32,
    pieces: Vec<String>,
}

/// Reads a file whole. `progress` is told how many rows were read.
pub(super) fn scan(
    mut records: Records,
    columns: FoundColumns,
    tokenizer: Option<&Tokenizer>,
    counts_words: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Scan, InspectError> {
    let width = records.columns().len();
    let look = Look {
        tokenizer,
        unknown: tokenizer.and_then(Tokenizer::unknown_token),
        special: tokenizer.map_or([0; 2], |tokenizer| {
            [false, true].map(|pair| tokenizer.special_tokens(pair))
        }),
        counts_words: counts_words && columns.label.is_some(),
        hasher: RandomState::with_seeds(11, 12, 13, 14),
    };
    let mut counts = Counts::new(width, tokenizer.is_some(), look.counts_words);
    std::thread::scope(|scope| -> Result<(), InspectError> {
        let (sender, receiver) = sync_channel(2);
        let (records, columns) = (&mut records, &columns);
        let reader = scope.spawn(move || {
            loop {
                let chunk = read_chunk(records, columns);
                let is_last = !matches!(&chunk, Ok(chunk) if !chunk.is_empty());
                // Nobody listens any more once something went wrong there.
                if sender.send(chunk).is_err() || is_last {
                    break;
                }
            }
        });
        let counted = count(&receiver, &look, &mut counts, progress);
        drop(receiver);
        if let Err(panic) = reader.join() {
            std::panic::resume_unwind(panic);
        }
        counted
    })?;
    Ok(Scan {
        records,
        columns,
        counts,
    })
}

/// What each column is used for.
pub(super) fn roles(columns: &FoundColumns, width: usize) -> Vec<ColumnRole> {
    let labels = columns.label.as_ref().map_or(&[][..], LabelColumns::positions);
    let role = |position: usize| {
        if columns.inputs.iter().any(|inputs| inputs.text == position) {
            ColumnRole::Text
        } else if columns.inputs.iter().any(|inputs| inputs.text_pair == Some(position)) {
            ColumnRole::TextPair
        } else if labels.contains(&position) {
            ColumnRole::Label
        } else if columns.group == Some(position) {
            ColumnRole::Group
        } else {
            ColumnRole::Unused
        }
    };
    (0..width).map(role).collect()
}

fn read_chunk(records: &mut Records, columns: &FoundColumns) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::with_capacity(CHUNK_ROWS);
    while rows.len() < CHUNK_ROWS
        && let Some(record) = records.next().transpose()?
    {
        let mut inputs = Vec::with_capacity(1);
        for position in &columns.inputs {
            inputs.extend(position.read(&record, records)?);
        }
        let label = match &columns.label {
            Some(label) => raw_label(&record, label, records)?,
            None => None,
        };
        let label_text = match &columns.label {
            Some(LabelColumns::Single(position)) => record.values.get(*position).and_then(|value| value.as_str()),
            _ => None,
        };
        let is_untrimmed = label.is_some() && label_text.is_some_and(|text| text.trim() != text);
        rows.push(Row {
            record,
            inputs,
            label,
            is_untrimmed,
        });
    }
    Ok(rows)
}

fn count(
    chunks: &Receiver<Result<Vec<Row>, DataError>>,
    look: &Look<'_>,
    counts: &mut Counts,
    progress: &mut dyn FnMut(u64),
) -> Result<(), InspectError> {
    for chunk in chunks {
        let chunk = chunk?;
        if chunk.is_empty() {
            break;
        }
        let facts: Vec<Facts> = chunk
            .into_par_iter()
            .map(|row| look.at(row))
            .collect::<Result<_, InspectError>>()?;
        facts.into_iter().for_each(|facts| counts.add(facts));
        progress(counts.rows_read);
    }
    Ok(())
}

/// How rows are looked at.
struct Look<'a> {
    tokenizer: Option<&'a Tokenizer>,
    unknown: Option<u32>,
    /// Tokens that frame a text, and a pair.
    special: [usize; 2],
    counts_words: bool,
    hasher: RandomState,
}

impl Look<'_> {
    fn at(&self, row: Row) -> Result<Facts, InspectError> {
        let values = row.record.values.iter();
        let cells = values.map(|value| Cell::of(value, &self.hasher)).collect();
        let texts = row
            .inputs
            .iter()
            .map(|input| self.at_text(input))
            .collect::<Result<_, _>>()?;
        Ok(Facts { row, cells, texts })
    }

    fn at_text(&self, input: &Input) -> Result<TextFacts, InspectError> {
        let pair = input.text_pair.as_deref();
        let texts: Vec<&str> = std::iter::once(input.text.as_str()).chain(pair).collect();
        let key = same_text_key(&input.text, pair);
        let letters = |key: &str| self.hasher.hash_one(letters_of(key));
        let alone = |text: &str| letters(&same_text_key(text, None));
        Ok(TextFacts {
            exact: self.hasher.hash_one((input.text.trim(), pair.map(str::trim))),
            same: self.hasher.hash_one(&key),
            letters: letters(&key),
            alone: pair.map(|pair| [alone(&input.text), alone(pair)]),
            sketch: Sketch::of(&key),
            characters: texts.iter().map(|text| text.chars().count() as u32).sum(),
            tokens: self
                .tokenizer
                .map(|tokenizer| self.tokens(tokenizer, input))
                .transpose()?,
            traits: Traits::of(texts.iter().copied()),
            scripts: Scripts::of(&texts),
            words: match self.counts_words {
                true => words(&texts),
                false => Vec::new(),
            },
        })
    }

    fn tokens(&self, tokenizer: &Tokenizer, input: &Input) -> Result<Tokens, InspectError> {
        let pair = input.text_pair.as_deref();
        let encoded = tokenizer.encode(&input.text, pair, WHOLE)?;
        let is_unknown = |id: &u32| Some(*id) == self.unknown;
        let unknown = encoded.input_ids.iter().filter(|id| is_unknown(id)).count();
        let mut pieces = Vec::new();
        if unknown > 0 {
            let located = tokenizer.encode_located(&input.text, pair, WHOLE)?;
            let texts = [input.text.as_str(), pair.unwrap_or_default()];
            let ids = located.encoded.input_ids.iter().zip(&located.spans);
            let spans = ids
                .filter(|(id, _)| is_unknown(id))
                .filter_map(|(_, span)| span.as_ref());
            pieces.extend(spans.filter_map(|span| texts[span.text].get(span.bytes.clone()).map(str::to_owned)));
        }
        let length = encoded.full_length;
        Ok(Tokens {
            length: length as u32,
            content: length.saturating_sub(self.special[usize::from(pair.is_some())]) as u32,
            unknown: unknown as u32,
            pieces,
        })
    }
}

impl Counts {
    fn new(columns: usize, counts_tokens: bool, counts_words: bool) -> Self {
        Self {
            rows_read: 0,
            missing_text: 0,
            missing_label: 0,
            untrimmed_labels: Vec::new(),
            table: RowTable::default(),
            labels: DistinctLabels::default(),
            columns: (0..columns).map(|_| ColumnTally::new(columns)).collect(),
            characters: Lengths::default(),
            tokens: counts_tokens.then(TokenTally::default),
            traits: TraitTally::default(),
            scripts: Scripts::default(),
            words: counts_words.then(WordTally::new),
            positions: NumberSample::default(),
            sizes: NumberSample::default(),
        }
    }

    fn add(&mut self, facts: Facts) {
        let Facts { row, cells, texts } = facts;
        let number = row.record.row;
        self.rows_read += 1;
        self.missing_text += u64::from(texts.is_empty());
        self.missing_label += u64::from(row.label.is_none());
        if row.is_untrimmed {
            self.untrimmed_labels.push(number);
        }
        let label = row.label.map(|label| {
            let value = label.number();
            let index = self.labels.number(label, number);
            self.labels.rows[index as usize] += 1;
            RowLabel { index, number: value }
        });
        for ((tally, value), cell) in self.columns.iter_mut().zip(&row.record.values).zip(cells) {
            tally.add(value, cell, label);
        }
        self.positions.add(number as f64, label);
        for text in texts {
            self.add_text(number, label, text);
        }
    }

    fn add_text(&mut self, row: u64, label: Option<RowLabel>, text: TextFacts) {
        let table = &mut self.table;
        table.row.push(u32::try_from(row).unwrap_or(NONE));
        table.exact.push(text.exact);
        table.same.push(text.same);
        table.letters.push(text.letters);
        table.alone.extend(text.alone);
        table.sketch.push(text.sketch);
        table.label.push(label.map_or(NONE, |label| label.index));
        self.characters.add(text.characters);
        self.sizes.add(f64::from(text.characters), label);
        self.traits.add(text.traits, row);
        self.scripts.add(&text.scripts);
        if self.labels.labels.len() > MOST_LABELS_OF_WORDS {
            self.words = None;
        }
        if let (Some(words), Some(label)) = (&mut self.words, label) {
            words.add(text.words, label.index);
        }
        if let (Some(tally), Some(tokens)) = (&mut self.tokens, text.tokens) {
            tally.lengths.add(tokens.length);
            tally.tokens += u64::from(tokens.content);
            tally.unknown += u64::from(tokens.unknown);
            tally.texts_with_unknown += u64::from(tokens.unknown > 0);
            for piece in tokens.pieces {
                if tally.unknown_pieces.len() < MOST_UNKNOWN || tally.unknown_pieces.contains_key(&piece) {
                    *tally.unknown_pieces.entry(piece).or_default() += 1;
                }
            }
        }
    }
}

impl Scripts {
    fn of(texts: &[&str]) -> Self {
        let mut scripts = Self::default();
        for character in texts.iter().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic()) {
            let count = match character {
                'A'..='Z' | 'a'..='z' | '\u{C0}'..='\u{24F}' => &mut scripts.latin,
                character if is_hangul(character) => &mut scripts.hangul,
                character if is_han(character) => &mut scripts.han,
                '\u{3040}'..='\u{30FF}' => &mut scripts.kana,
                _ => &mut scripts.other,
            };
            *count += 1;
        }
        scripts
    }

    fn add(&mut self, other: &Self) {
        self.hangul += other.hangul;
        self.latin += other.latin;
        self.han += other.han;
        self.kana += other.kana;
        self.other += other.other;
    }
}
