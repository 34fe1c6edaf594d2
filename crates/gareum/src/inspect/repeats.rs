//! Texts that stand more than once: to the letter, but for what does not matter (case, blanks, invisible characters), or nearly; within a
//! file and in several. Rows are compared by what [`super::scan`] kept of them, so this takes memory for rows, not for texts.

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;
use rayon::prelude::*;
use serde::Serialize;

use super::sketch::{BANDS, Sketch};

/// Two texts that have so much in common are nearly the same.
pub const NEAR: f64 = 0.8;
/// Texts of a band that a text is compared with.
const MOST_COMPARED: usize = 8;
/// Pairs of rows that are shown of each kind.
const SHOWN: usize = 5;
/// Stands for no row and no label.
pub(super) const NONE: u32 = u32::MAX;

/// What is kept of the rows of a file: one entry a text, in the order of the file.
#[derive(Default)]
pub(super) struct RowTable {
    /// Number of the source row.
    pub row: Vec<u32>,
    /// Of the text (and pair) without blanks around.
    pub exact: Vec<u64>,
    /// Of what is the same for texts that differ in nothing that matters.
    pub same: Vec<u64>,
    /// Of the letters and digits alone, in lower case.
    pub letters: Vec<u64>,
    /// As `letters`, of the two texts of a pair each; empty if there are no pairs.
    pub alone: Vec<[u64; 2]>,
    pub sketch: Vec<Sketch>,
    /// Which of the file's different labels, or [`NONE`].
    pub label: Vec<u32>,
}

impl RowTable {
    pub fn len(&self) -> usize {
        self.row.len()
    }
}

/// A file, for comparison with others.
pub(super) struct Compared<'a> {
    pub rows: &'a RowTable,
    /// Equal for labels that mean the same, by label number of the file.
    pub meaning: Vec<u32>,
}

impl Compared<'_> {
    fn label(&self, place: usize) -> u32 {
        self.meaning
            .get(self.rows.label[place] as usize)
            .copied()
            .unwrap_or(NONE)
    }
}

/// Texts of a file that stand in it more than once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Repeats {
    /// To the letter, blanks around apart.
    pub exact: Equal,
    /// Those, and texts that differ in case, blanks, invisible characters or Unicode normal form only.
    pub same: Equal,
    /// Texts that are not the same but nearly: at least four fifths of their three-letter sequences are shared, or all letters and digits
    /// are the same.
    pub near: Near,
}

/// Texts that are equal.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Equal {
    /// Rows whose text stands in an earlier row.
    pub rows: u64,
    /// Those of them whose label is also that of an earlier row of the text.
    pub rows_with_same_label: u64,
    /// Different texts that stand more than once.
    pub texts: u64,
    /// Texts that stand with more than one label.
    pub conflicting_texts: u64,
    /// Their rows.
    pub conflicting_rows: u64,
    /// Some of the repeated rows, each beside the first one.
    pub examples: Vec<Pair>,
    /// Some of the contradictions: first row of the text, first one with another label.
    pub conflicts: Vec<Pair>,
}

/// Texts that are nearly the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Near {
    /// Rows that are nearly the same as an earlier row.
    pub rows: u64,
    /// Those whose label is another than that of the earlier row.
    pub conflicting_rows: u64,
    /// Some of them.
    pub examples: Vec<Pair>,
    /// Some of those with another label.
    pub conflicts: Vec<Pair>,
}

/// Two rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Number of the earlier row.
    pub first: u64,
    /// Number of the later row.
    pub second: u64,
    /// Their texts, shortened.
    pub texts: [String; 2],
    /// Their labels.
    pub labels: [String; 2],
    /// How much the texts have in common, of those that are nearly the same.
    pub likeness: Option<f64>,
}

/// Texts of one file that stand in an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leakage {
    /// The file that has the texts first.
    pub from: String,
    /// The file that has them again.
    pub into: String,
    /// Different texts shared.
    pub texts: u64,
    /// Rows of `into` with such a text.
    pub rows: u64,
    /// Those whose label is another than in `from`.
    pub conflicting_rows: u64,
    /// Further rows of `into` whose text is nearly one of `from`.
    pub near_rows: u64,
    /// All rows of `into` that have a text.
    pub of: u64,
    /// Whether one of the files has pairs and the other has not, so that each text of a pair was looked for by itself.
    pub by_single_texts: bool,
    /// Some of the rows: of `from`, of `into`.
    pub examples: Vec<Pair>,
    /// Some of the rows that are nearly the same.
    pub near_examples: Vec<Pair>,
}

/// The letters and digits of a text; the text itself if it has none.
pub(super) fn letters_of(text: &str) -> String {
    let letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    if letters.is_empty() { text.to_owned() } else { letters }
}

fn pair(first: &RowTable, one: usize, second: &RowTable, other: usize) -> Pair {
    let likeness = (first.same[one] != second.same[other]).then(|| first.sketch[one].likeness(&second.sketch[other]));
    Pair {
        first: u64::from(first.row[one]),
        second: u64::from(second.row[other]),
        texts: Default::default(),
        labels: Default::default(),
        likeness,
    }
}

/// Rows of equal hashes.
pub(super) fn equal(file: &Compared<'_>, hashes: &[u64]) -> Equal {
    // The first row of each text with each label; a list, since contradictions are few.
    let mut known: HashMap<u64, Vec<u32>, RandomState> = HashMap::with_hasher(RandomState::with_seeds(9, 8, 7, 6));
    let mut repeated = HashMap::<u64, u64>::new();
    let mut equal = Equal::default();
    for (place, hash) in hashes.iter().enumerate() {
        let label = file.label(place);
        let firsts = known.entry(*hash).or_default();
        let Some(first) = firsts.first().map(|first| *first as usize) else {
            firsts.push(place as u32);
            continue;
        };
        equal.rows += 1;
        *repeated.entry(*hash).or_insert(1) += 1;
        let is_new = label != NONE && firsts.iter().all(|other| file.label(*other as usize) != label);
        if !is_new {
            equal.rows_with_same_label += 1;
        }
        if is_new {
            firsts.push(place as u32);
            let other = firsts.iter().find(|other| file.label(**other as usize) != NONE);
            if let Some(other) = other.filter(|other| **other as usize != place)
                && equal.conflicts.len() < SHOWN
            {
                equal.conflicts.push(pair(file.rows, *other as usize, file.rows, place));
            }
        } else if equal.examples.len() < SHOWN {
            equal.examples.push(pair(file.rows, first, file.rows, place));
        }
    }
    equal.texts = repeated.len() as u64;
    let labels = |firsts: &Vec<u32>| {
        firsts
            .iter()
            .filter(|place| file.label(**place as usize) != NONE)
            .count()
    };
    let conflicting = known.iter().filter(|(_, firsts)| labels(firsts) > 1);
    for (hash, _) in conflicting {
        equal.conflicting_texts += 1;
        equal.conflicting_rows += repeated.get(hash).copied().unwrap_or(0);
    }
    equal
}

/// For each text of each file the nearest earlier texts found: at most one of each file.
pub(super) struct Neighbours {
    /// By file of the earlier text: for each text of all files, one after the other, the place of the earlier one there, or [`NONE`].
    earlier: Vec<Vec<u32>>,
    /// Where each file begins.
    starts: Vec<usize>,
}

impl Neighbours {
    /// Compares texts that share a band (Leskovec et al. 2020, section 3.4). Of texts that are the same only the first of a file is
    /// looked at.
    pub fn find(files: &[&RowTable]) -> Self {
        let mut starts = vec![0];
        for file in files {
            starts.push(starts[starts.len() - 1] + file.len());
        }
        let mut seen = std::collections::HashSet::<u64, RandomState>::with_hasher(RandomState::with_seeds(3, 5, 7, 9));
        // File and place of each text that is looked at.
        let mut places: Vec<(u32, u32)> = Vec::new();
        for (number, file) in files.iter().enumerate() {
            seen.clear();
            for (place, hash) in file.same.iter().enumerate() {
                if seen.insert(*hash) {
                    places.push((number as u32, place as u32));
                }
            }
        }
        drop(seen);
        let mut earlier: Vec<Vec<u32>> = files.iter().map(|_| vec![NONE; starts[files.len()]]).collect();
        let sketch = |index: u32| {
            let (file, place) = places[index as usize];
            &files[file as usize].sketch[place as usize]
        };
        let letters = |index: u32| {
            let (file, place) = places[index as usize];
            files[file as usize].letters[place as usize]
        };
        let mut keys: Vec<(u64, u32)> = Vec::with_capacity(places.len());
        // Behind the bands come the letters, which may be the same where short texts differ in punctuation.
        for band in 0..=BANDS {
            keys.clear();
            let key = |index: u32| match band {
                BANDS => letters(index),
                band => sketch(index).band(band),
            };
            keys.extend((0..places.len() as u32).map(|index| (key(index), index)));
            keys.par_sort_unstable();
            for bucket in keys
                .chunk_by(|one, other| one.0 == other.0)
                .filter(|bucket| bucket.len() > 1)
            {
                // The last texts of each file, by which a later one is judged.
                let mut recent: Vec<Vec<u32>> = vec![Vec::new(); files.len()];
                for (_, index) in bucket {
                    let (file, place) = places[*index as usize];
                    let at = starts[file as usize] + place as usize;
                    for (other, candidates) in recent.iter().enumerate().filter(|(_, found)| !found.is_empty()) {
                        if earlier[other][at] != NONE {
                            continue;
                        }
                        let is_near = |candidate: &&u32| {
                            let (one, two) = (files[other], files[file as usize]);
                            let candidate_place = places[**candidate as usize].1 as usize;
                            one.same[candidate_place] != two.same[place as usize]
                                && (band == BANDS || sketch(**candidate).likeness(sketch(*index)) >= NEAR)
                        };
                        if let Some(found) = candidates.iter().find(is_near) {
                            earlier[other][at] = places[*found as usize].1;
                        }
                    }
                    let own = &mut recent[file as usize];
                    if own.len() == MOST_COMPARED {
                        own.remove(0);
                    }
                    own.push(*index);
                }
            }
        }
        Self { earlier, starts }
    }

    /// The place in `from` of a text that is nearly the one at `place` of `into`.
    fn of(&self, from: usize, into: usize, place: usize) -> Option<usize> {
        let found = self.earlier[from][self.starts[into] + place];
        (found != NONE).then_some(found as usize)
    }

    /// What is nearly the same within a file.
    pub fn within(&self, number: usize, file: &Compared<'_>) -> Near {
        let mut near = Near::default();
        for place in 0..file.rows.len() {
            let Some(first) = self.of(number, number, place) else {
                continue;
            };
            near.rows += 1;
            let (one, other) = (file.label(first), file.label(place));
            if one != other && one != NONE && other != NONE {
                near.conflicting_rows += 1;
                if near.conflicts.len() < SHOWN {
                    near.conflicts.push(pair(file.rows, first, file.rows, place));
                }
            } else if near.examples.len() < SHOWN {
                near.examples.push(pair(file.rows, first, file.rows, place));
            }
        }
        near
    }
}

/// The texts of one file in another; `None` if there are none. Each file with its number and name.
pub(super) fn leakage(
    (from_number, from_name, from): (usize, &str, &Compared<'_>),
    (into_number, into_name, into): (usize, &str, &Compared<'_>),
    neighbours: &Neighbours,
) -> Option<Leakage> {
    let by_single_texts = from.rows.alone.is_empty() != into.rows.alone.is_empty();
    let hashes = |file: &RowTable, place: usize| -> [Option<u64>; 2] {
        match file.alone.get(place).filter(|_| by_single_texts) {
            Some([first, second]) => [Some(*first), Some(*second)],
            None if by_single_texts => [Some(file.letters[place]), None],
            None => [Some(file.same[place]), None],
        }
    };
    let mut known: HashMap<u64, u32, RandomState> = HashMap::with_hasher(RandomState::with_seeds(2, 4, 6, 8));
    for place in 0..from.rows.len() {
        for hash in hashes(from.rows, place).into_iter().flatten() {
            known.entry(hash).or_insert(place as u32);
        }
    }
    let mut leakage = Leakage {
        from: from_name.to_owned(),
        into: into_name.to_owned(),
        texts: 0,
        rows: 0,
        conflicting_rows: 0,
        near_rows: 0,
        of: into.rows.len() as u64,
        by_single_texts,
        examples: Vec::new(),
        near_examples: Vec::new(),
    };
    let mut met = BTreeMap::<u64, ()>::new();
    for place in 0..into.rows.len() {
        let found = hashes(into.rows, place).into_iter().flatten();
        let found = found
            .filter_map(|hash| Some((hash, *known.get(&hash)? as usize)))
            .next();
        if let Some((hash, first)) = found {
            leakage.rows += 1;
            met.insert(hash, ());
            let (one, other) = (from.label(first), into.label(place));
            leakage.conflicting_rows += u64::from(one != other && one != NONE && other != NONE);
            if leakage.examples.len() < SHOWN {
                leakage.examples.push(Pair {
                    likeness: None,
                    ..pair(from.rows, first, into.rows, place)
                });
            }
        } else if let Some(first) = neighbours.of(from_number, into_number, place) {
            leakage.near_rows += 1;
            if leakage.near_examples.len() < SHOWN {
                leakage.near_examples.push(pair(from.rows, first, into.rows, place));
            }
        }
    }
    leakage.texts = met.len() as u64;
    (leakage.rows + leakage.near_rows > 0).then_some(leakage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::same_text_key;

    fn table(rows: &[(&str, u32)]) -> RowTable {
        let hasher = RandomState::with_seeds(1, 1, 1, 1);
        let mut table = RowTable::default();
        for (row, (text, label)) in (1..).zip(rows) {
            let key = same_text_key(text, None);
            table.row.push(row);
            table.exact.push(hasher.hash_one(text.trim()));
            table.same.push(hasher.hash_one(&key));
            table.letters.push(hasher.hash_one(letters_of(&key)));
            table.sketch.push(Sketch::of(&key));
            table.label.push(*label);
        }
        table
    }

    fn compared(rows: &RowTable) -> Compared<'_> {
        Compared {
            rows,
            meaning: (0..10).collect(),
        }
    }

    fn rows(pairs: &[Pair]) -> Vec<(u64, u64)> {
        pairs.iter().map(|pair| (pair.first, pair.second)).collect()
    }

    #[test]
    fn repeats_and_contradictions() {
        let table = table(&[
            ("a", 0),
            ("b", 1),
            (" a ", 0),
            ("a", 1),
            ("A", 0),
            ("c", NONE),
            ("c", 1),
            ("b", 1),
        ]);
        let file = compared(&table);
        let exact = equal(&file, &table.exact);
        assert_eq!((exact.rows, exact.rows_with_same_label, exact.texts), (4, 2, 3));
        assert_eq!((exact.conflicting_texts, exact.conflicting_rows), (1, 3));
        assert_eq!(rows(&exact.conflicts), [(1, 4)]);
        let same = equal(&file, &table.same);
        assert_eq!((same.rows, same.conflicting_texts, same.conflicting_rows), (5, 1, 4));
    }

    const LONG: &str = "배송이 생각보다 훨씬 빨랐고 포장도 아주 꼼꼼해서 기분이 좋았습니다. 다음에도 여기에서 주문하려고 합니다, 고맙습니다";

    #[test]
    fn near_texts_are_found_within_and_between() {
        let other = LONG.replace("아주", "정말");
        let train = table(&[
            (LONG, 0),
            ("전혀 다른 이야기를 하는 문장입니다", 1),
            (&other, 1),
            (LONG, 0),
        ]);
        let end = format!("{LONG}!");
        let test = table(&[(&end, 0), ("새로운 문장", 1), (LONG, 1)]);
        let neighbours = Neighbours::find(&[&train, &test]);
        let near = neighbours.within(0, &compared(&train));
        assert_eq!((near.rows, near.conflicting_rows), (1, 1));
        assert_eq!(rows(&near.conflicts), [(1, 3)]);
        let found = leakage(
            (0, "train", &compared(&train)),
            (1, "test", &compared(&test)),
            &neighbours,
        )
        .unwrap();
        assert_eq!(
            (
                found.texts,
                found.rows,
                found.conflicting_rows,
                found.near_rows,
                found.of
            ),
            (1, 1, 1, 1, 3)
        );
        assert_eq!(
            (rows(&found.examples), rows(&found.near_examples)),
            (vec![(1, 3)], vec![(1, 1)])
        );
    }

    #[test]
    fn texts_of_pairs_are_found_alone() {
        let (single, mut pairs) = (table(&[("a text", 0)]), table(&[("premise and hypothesis", 0)]));
        pairs.alone = vec![[single.letters[0], 1]];
        let neighbours = Neighbours::find(&[&single, &pairs]);
        let found = leakage((0, "a", &compared(&single)), (1, "b", &compared(&pairs)), &neighbours).unwrap();
        assert_eq!((found.rows, found.by_single_texts), (1, true));
    }
}
