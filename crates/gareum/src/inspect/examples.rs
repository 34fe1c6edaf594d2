//! Rows that are shown with their texts.

use std::collections::BTreeMap;

use super::{InspectError, InspectOptions, InspectedFile, Pair, Repeats, open, resolve, sketch};
use crate::data::{raw_label, same_text_key};

/// Characters of a text that are shown.
const SHOWN_CHARACTERS: usize = 160;

impl Repeats {
    /// All pairs that are shown.
    pub(super) fn pairs_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        let (exact, same, near) = (&mut self.exact, &mut self.same, &mut self.near);
        exact
            .examples
            .iter_mut()
            .chain(&mut exact.conflicts)
            .chain(&mut same.examples)
            .chain(&mut same.conflicts)
            .chain(&mut near.examples)
            .chain(&mut near.conflicts)
    }
}

/// Rows that are shown with their texts, which are read a second time: the first pass kept none.
pub(super) struct Examples {
    /// By file: text, label and what texts are compared by, of each row wanted.
    rows: Vec<BTreeMap<u64, (String, String, String)>>,
}

impl Examples {
    /// For so many files.
    pub fn new(files: usize) -> Self {
        Self {
            rows: vec![BTreeMap::new(); files],
        }
    }

    /// Asks for the rows of a pair: of the file with the first, of the file with the second.
    pub fn want(&mut self, first: usize, second: usize, pair: &Pair) {
        self.rows[first].entry(pair.first).or_default();
        self.rows[second].entry(pair.second).or_default();
    }

    /// Reads what was asked for.
    pub fn read(&mut self, files: &[InspectedFile], options: &InspectOptions<'_>) -> Result<(), InspectError> {
        for (number, (file, wanted)) in files.iter().zip(&mut self.rows).enumerate() {
            let Some((last, _)) = wanted.last_key_value().map(|(row, _)| (*row, ())) else {
                continue;
            };
            let mut records = open(file, options)?;
            let columns = resolve(&records, &options.columns, number == 0)?;
            while let Some(record) = records.next().transpose()? {
                if let Some(kept) = wanted.get_mut(&record.row) {
                    let mut texts = Vec::new();
                    for input in &columns.inputs {
                        if let Some(input) = input.read(&record, &records)? {
                            texts.push(input.text);
                            texts.extend(input.text_pair);
                        }
                    }
                    let label = match &columns.label {
                        Some(label) => raw_label(&record, label, &records)?,
                        None => None,
                    };
                    let text = texts.join(" / ");
                    let compared = same_text_key(&text, None);
                    *kept = (
                        shortened(&text),
                        label.map_or(String::new(), |label| label.shown()),
                        compared,
                    );
                }
                if record.row >= last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Puts texts and labels into a pair.
    pub fn fill(&self, first: usize, second: usize, pair: &mut Pair) {
        if let (Some(one), Some(other)) = (self.rows[first].get(&pair.first), self.rows[second].get(&pair.second)) {
            pair.texts = [one.0.clone(), other.0.clone()];
            pair.labels = [one.1.clone(), other.1.clone()];
            pair.likeness = pair.likeness.map(|_| sketch::likeness(&one.2, &other.2));
        }
    }
}

/// The start of a text that may be a whole book.
fn shortened(text: &str) -> String {
    let mut characters = text.trim().chars();
    let mut start: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}
