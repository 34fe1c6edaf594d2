//! Texts that stand in more than one part: what a model has seen in training, it should not be measured on.
//!
//! Two texts (with their pairs) are the same if they agree after Unicode normalisation, without regard to case, blanks and invisible
//! characters. Texts that are merely alike are not looked for.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Example, NormalizeStep, Split, normalize};

/// Pairs of rows that a report names.
const SHOWN_PAIRS: usize = 5;

/// Texts that two parts share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// The part that has the texts first: `train` or `validation`.
    pub from: String,
    /// The part that has them again: `validation` or `test`.
    pub into: String,
    /// Different texts shared.
    pub texts: u64,
    /// Examples of `into` with such a text.
    pub examples: u64,
    /// All examples of `into`.
    pub of: u64,
    /// Up to five pairs of source rows, of `from` and of `into`.
    pub rows: Vec<(u64, u64)>,
}

/// The leaks between parts, given with their names in the order training, validation, test.
pub fn leaks(parts: &[(&str, &[Example])]) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for (position, (from, earlier)) in parts.iter().enumerate() {
        let mut row_of: HashMap<String, u64> = HashMap::with_capacity(earlier.len());
        for example in *earlier {
            row_of.entry(key(example)).or_insert(example.id);
        }
        for (into, later) in &parts[position + 1..] {
            let mut leak = Leak {
                from: (*from).to_owned(),
                into: (*into).to_owned(),
                texts: 0,
                examples: 0,
                of: later.len() as u64,
                rows: Vec::new(),
            };
            let mut met = std::collections::HashSet::new();
            for example in *later {
                let key = key(example);
                if let Some(row) = row_of.get(&key) {
                    leak.examples += 1;
                    leak.texts += u64::from(met.insert(key));
                    if leak.rows.len() < SHOWN_PAIRS {
                        leak.rows.push((*row, example.id));
                    }
                }
            }
            if leak.examples > 0 {
                leaks.push(leak);
            }
        }
    }
    leaks
}

/// Moves examples of the same text to the part of the first of them, so that a split makes no leak of its own. Sizes change by these few;
/// where that would empty a part nothing is moved.
pub(crate) fn keep_together(examples: &[Example], split: &mut Split) {
    let mut part_of = vec![0; examples.len()];
    for (part, positions) in [&split.train, &split.validation, &split.test].into_iter().enumerate() {
        positions.iter().for_each(|position| part_of[*position] = part);
    }
    let mut first: HashMap<String, usize> = HashMap::with_capacity(examples.len());
    for (position, example) in examples.iter().enumerate() {
        part_of[position] = *first.entry(key(example)).or_insert(part_of[position]);
    }
    let positions = |part: usize| {
        (0..examples.len())
            .filter(|position| part_of[*position] == part)
            .collect()
    };
    let moved = Split {
        train: positions(0),
        validation: positions(1),
        test: positions(2),
    };
    let sizes = |split: &Split| [split.train.len(), split.validation.len(), split.test.len()];
    if sizes(split)
        .iter()
        .zip(sizes(&moved))
        .all(|(before, after)| *before == 0 || after > 0)
    {
        *split = moved;
    }
}

fn key(example: &Example) -> String {
    same_text_key(&example.text, example.text_pair.as_deref())
}

/// What is the same for texts (with their pairs) that differ in nothing that matters.
pub(crate) fn same_text_key(text: &str, text_pair: Option<&str>) -> String {
    let mut key = String::with_capacity(text.len());
    for text in std::iter::once(text).chain(text_pair) {
        let text = normalize(text, &[NormalizeStep::Nfc, NormalizeStep::Control]);
        for word in text.split_whitespace() {
            key.extend(word.chars().flat_map(char::to_lowercase));
            key.push(' ');
        }
        key.push('\n');
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::*;

    fn examples(texts: &[&str]) -> Vec<Example> {
        let example = |(id, text): (u64, &&str)| Example {
            id,
            text: (*text).to_owned(),
            text_pair: None,
            target: Target::Class(0),
            group: None,
        };
        (1..).zip(texts).map(example).collect()
    }

    #[test]
    fn the_same_text_is_found_however_it_is_written() {
        let (train, test) = (
            examples(&["Good  book", "나쁘다", "x"]),
            examples(&["y", "good\u{200B} book ", "GOOD BOOK", "나쁘다"]),
        );
        let found = leaks(&[("train", &train), ("validation", &[]), ("test", &test)]);
        let expected = Leak {
            from: "train".to_owned(),
            into: "test".to_owned(),
            texts: 2,
            examples: 3,
            of: 4,
            rows: vec![(1, 2), (1, 3), (2, 4)],
        };
        assert_eq!(found, [expected]);
        assert_eq!(leaks(&[("train", &train), ("test", &examples(&["z"]))]), []);
    }

    #[test]
    fn a_pair_is_one_text() {
        let mut pair = examples(&["a b", "a"]);
        pair[0].text_pair = Some("c".to_owned());
        pair[1].text_pair = Some("b c".to_owned());
        assert_eq!(leaks(&[("train", &pair[..1]), ("test", &pair[1..])]), []);
    }

    #[test]
    fn repeated_texts_go_to_one_part() {
        let examples = examples(&["a", "b", "A", "c", "a "]);
        let mut split = Split {
            train: vec![1, 2],
            validation: vec![0, 4],
            test: vec![3],
        };
        keep_together(&examples, &mut split);
        assert_eq!(
            (split.train, split.validation, split.test),
            (vec![1], vec![0, 2, 4], vec![3])
        );
    }
}
