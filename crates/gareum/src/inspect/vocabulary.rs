//! The words by which each label differs from the others: log-odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008,
//! section 3.5.1, <https://doi.org/10.1093/pan/mpn018>).
//!
//! Words are what stands between blanks and punctuation, in lower case; a text counts each of its words once, so that one odd text decides
//! nothing. Memory is bounded: of very many different words the rarest are dropped on the way (Manku and Motwani 2002, section 4.2).

use std::collections::HashMap;

use ahash::RandomState;
use serde::Serialize;

/// Different words that are counted at a time.
const MOST_WORDS: usize = 200_000;
/// Words shown of each label.
const SHOWN: usize = 10;
/// Labels that words are shown of, the most frequent ones.
pub(super) const MOST_LABELS: usize = 100;
/// Weight of the prior, in words: how many words a label must have for its own counts to outweigh those of all (the value of the paper).
const PRIOR: f64 = 500.0;
/// Standard deviations from which on a difference is told.
const TOLD: f64 = 1.96;

/// The words of a text, each once.
pub(super) fn words(texts: &[&str]) -> Vec<String> {
    let is_word = |word: &&str| {
        let mut characters = word.chars();
        // A single letter of an alphabet says nothing, a syllable may.
        characters.next().is_some_and(|first| !first.is_ascii()) || characters.next().is_some()
    };
    let mut words: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '\''))
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .filter(is_word)
        .map(str::to_lowercase)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Texts that have each word, by their label.
pub(super) struct WordTally {
    counts: HashMap<String, Vec<(u32, u32)>, RandomState>,
    /// Words that occurred at most so often were dropped.
    dropped: u32,
}

impl WordTally {
    pub fn new() -> Self {
        Self {
            counts: HashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8)),
            dropped: 0,
        }
    }

    pub fn add(&mut self, words: Vec<String>, label: u32) {
        for word in words {
            let counts = self.counts.entry(word).or_default();
            match counts.iter_mut().find(|(known, _)| *known == label) {
                Some((_, count)) => *count += 1,
                None => counts.push((label, 1)),
            }
        }
        while self.counts.len() > MOST_WORDS {
            self.dropped += 1;
            let least = self.dropped;
            self.counts
                .retain(|_, counts| counts.iter().map(|(_, count)| count).sum::<u32>() > least);
        }
    }

    /// The words of each label; `ids` says which labels a counted one stands for.
    pub fn report(self, names: &[String], ids: &[Vec<u32>]) -> Vec<LabelWords> {
        // Each word with how often each label has it, and how often there is one.
        let mut words: Vec<_> = self
            .counts
            .into_iter()
            .map(|(word, counts)| {
                let mut by_label: Vec<(u32, f64)> = Vec::new();
                let mut all = 0.0;
                for (label, count) in counts {
                    let count = f64::from(count);
                    all += count;
                    for id in ids.get(label as usize).into_iter().flatten() {
                        match by_label.iter_mut().find(|(known, _)| known == id) {
                            Some((_, sum)) => *sum += count,
                            None => by_label.push((*id, count)),
                        }
                    }
                }
                (word, by_label, all)
            })
            .collect();
        // The order of a map is no order: ties are broken by the words themselves.
        words.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let total: f64 = words.iter().map(|(_, _, all)| all).sum();
        let mut of_label = vec![0.0; names.len()];
        for (id, count) in words.iter().flat_map(|(_, by_label, _)| by_label) {
            of_label[*id as usize] += count;
        }
        let mut found: Vec<Vec<LabelWord>> = vec![Vec::new(); names.len()];
        for (word, by_label, all) in &words {
            let prior = PRIOR * all / total;
            for (id, count) in by_label {
                let (own, rest) = (*count, all - count);
                let (own_words, rest_words) = (of_label[*id as usize], total - of_label[*id as usize]);
                let odds = |count: f64, words: f64| ((count + prior) / (words + PRIOR - count - prior)).ln();
                let difference = odds(own, own_words) - odds(rest, rest_words);
                let variance = 1.0 / (own + prior) + 1.0 / (rest + prior);
                let score = difference / variance.sqrt();
                if score >= TOLD {
                    found[*id as usize].push(LabelWord {
                        word: word.clone(),
                        texts: own as u64,
                        elsewhere: rest as u64,
                        score,
                    });
                }
            }
        }
        let labels = names.iter().zip(found).map(|(label, mut words)| {
            words.sort_by(|one, other| other.score.total_cmp(&one.score));
            words.truncate(SHOWN);
            LabelWords {
                label: label.clone(),
                words,
            }
        });
        labels.collect()
    }
}

/// The words of a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelWords {
    /// The label.
    pub label: String,
    /// Those by which it differs most from the others.
    pub words: Vec<LabelWord>,
}

/// A word of a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelWord {
    /// The word, in lower case.
    pub word: String,
    /// Texts of the label that have it.
    pub texts: u64,
    /// Texts of the others that have it.
    pub elsewhere: u64,
    /// Log-odds beside the others, in standard deviations.
    pub score: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_once_a_text() {
        assert_eq!(
            words(&["It's good, GOOD! a 1", "정말 좋다… 'x'"]),
            ["good", "it's", "정말", "좋다"]
        );
        assert_eq!(words(&["꿀 잼"]), ["꿀", "잼"]);
    }

    /// Against the formula of the paper, worked by hand for two labels.
    #[test]
    fn scores_are_those_of_the_paper() {
        let mut tally = WordTally::new();
        for row in 0..100 {
            let label = row % 2;
            let own = if label == 0 { "delivery" } else { "price" };
            tally.add(vec!["the".to_owned(), own.to_owned()], label);
        }
        let names = ["a", "b"].map(str::to_owned);
        let found = tally.report(&names, &[vec![0], vec![1]]);
        // 200 words in all, 100 in each label; `delivery` 50 and 0 times, a prior of 500 * 50 / 200 = 125.
        let odds = |count: f64| ((count + 125.0) / (100.0 + 500.0 - count - 125.0)).ln();
        let expected = (odds(50.0) - odds(0.0)) / (1.0f64 / 175.0 + 1.0 / 125.0).sqrt();
        assert_eq!(found[0].words.len(), 1, "`the` is as frequent in both");
        let word = &found[0].words[0];
        assert_eq!((word.word.as_str(), word.texts, word.elsewhere), ("delivery", 50, 0));
        assert!((word.score - expected).abs() < 1e-12, "{} {expected}", word.score);
        assert_eq!(found[1].words[0].word, "price");
    }

    #[test]
    fn a_label_of_several_counts_for_each() {
        let mut tally = WordTally::new();
        for row in 0..300 {
            tally.add(vec![format!("w{}", row % 3)], row % 3);
        }
        // The third stands for both labels.
        let found = tally.report(&["a", "b"].map(str::to_owned), &[vec![0], vec![1], vec![0, 1]]);
        let words = |label: usize| {
            found[label]
                .words
                .iter()
                .map(|word| word.word.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!((words(0), words(1)), (vec!["w0", "w2"], vec!["w1", "w2"]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut tally = WordTally::new();
        for row in 0..60_000u32 {
            let rare = (0..5).map(|place| format!("r{row}x{place}"));
            tally.add(rare.chain(["often".to_owned()]).collect(), row % 2);
            assert!(tally.counts.len() <= MOST_WORDS + 6);
        }
        let often: u32 = tally.counts["often"].iter().map(|(_, count)| count).sum();
        assert_eq!(often, 60_000);
    }
}
