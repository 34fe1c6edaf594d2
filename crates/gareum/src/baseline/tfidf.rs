//! Texts to weights of n-grams, as scikit-learn's `TfidfVectorizer` with `norm="l2"` and `smooth_idf=True`.
//!
//! An n-gram `t` found `tf` times in a text weighs `tf · idf(t)` (`(1 + ln tf) · idf(t)` with `sublinear_tf`), where
//! `idf(t) = ln((1 + texts) / (1 + texts with t)) + 1`; each text's weights are then divided by their Euclidean norm.
//! Formulas and analysers: <https://scikit-learn.org/stable/modules/feature_extraction.html#text-feature-extraction>.
//!
//! One difference, to the better: a word may contain combining vowel signs (Hindi, Thai), at which Python's `\w` breaks it.

use std::collections::HashMap;

use super::sparse::Sparse;
use super::{Analyzer, BaselineOptions};

/// A vocabulary of n-grams with their inverse document frequencies.
#[derive(Debug, Clone)]
pub(super) struct TfIdf {
    /// Columns in the order of the n-grams' code points, as scikit-learn's.
    columns: HashMap<String, u32>,
    idf: Vec<f64>,
    splitter: Splitter,
    sublinear_tf: bool,
}

impl TfIdf {
    /// Learns the vocabulary of `texts` and gives their weights too, one row a text. The vocabulary may come out empty.
    pub(super) fn fit<T: AsRef<str>>(texts: &[T], options: &BaselineOptions) -> (TfIdf, Sparse) {
        let splitter = Splitter {
            analyzer: options.analyzer,
            shortest: options.ngram_range.0,
            longest: options.ngram_range.1,
            lowercase: options.lowercase,
        };
        // Numbered as they are first met; put in order below.
        let mut met: HashMap<String, u32> = HashMap::new();
        let mut document_frequency: Vec<usize> = Vec::new();
        let mut counted = Vec::with_capacity(texts.len());
        for text in texts {
            let mut ids = Vec::new();
            splitter.each_ngram(text.as_ref(), |ngram| match met.get(ngram) {
                Some(&id) => ids.push(id),
                None => {
                    ids.push(met.len() as u32);
                    met.insert(ngram.to_owned(), met.len() as u32);
                    document_frequency.push(0);
                }
            });
            let counts = count(ids);
            for &(id, _) in &counts {
                document_frequency[id as usize] += 1;
            }
            counted.push(counts);
        }

        let mut kept: Vec<(String, u32)> = met
            .into_iter()
            .filter(|&(_, id)| document_frequency[id as usize] >= options.min_df)
            .collect();
        kept.sort_unstable();
        let mut column_of = vec![None; document_frequency.len()];
        let mut idf = Vec::with_capacity(kept.len());
        for (column, &(_, id)) in kept.iter().enumerate() {
            column_of[id as usize] = Some(column as u32);
            idf.push(((1 + texts.len()) as f64 / (1 + document_frequency[id as usize]) as f64).ln() + 1.0);
        }
        let columns = kept
            .into_iter()
            .enumerate()
            .map(|(column, (ngram, _))| (ngram, column as u32))
            .collect();
        let features = TfIdf {
            columns,
            idf,
            splitter,
            sublinear_tf: options.sublinear_tf,
        };

        let mut rows = Sparse::new(features.len());
        for counts in counted {
            let mut counts: Vec<(u32, u32)> = counts
                .into_iter()
                .filter_map(|(id, n)| Some((column_of[id as usize]?, n)))
                .collect();
            counts.sort_unstable();
            rows.push(features.weigh(&counts));
        }
        (features, rows)
    }

    /// One row of weights a text; n-grams outside the vocabulary are passed over.
    pub(super) fn transform<T: AsRef<str>>(&self, texts: &[T]) -> Sparse {
        let mut rows = Sparse::new(self.len());
        for text in texts {
            let mut columns = Vec::new();
            self.splitter
                .each_ngram(text.as_ref(), |ngram| columns.extend(self.columns.get(ngram).copied()));
            rows.push(self.weigh(&count(columns)));
        }
        rows
    }

    /// Number of n-grams.
    pub(super) fn len(&self) -> usize {
        self.idf.len()
    }

    #[cfg(test)]
    pub(super) fn vocabulary(&self) -> Vec<String> {
        let mut ngrams = vec![String::new(); self.len()];
        for (ngram, &column) in &self.columns {
            ngrams[column as usize].clone_from(ngram);
        }
        ngrams
    }

    #[cfg(test)]
    pub(super) fn idf(&self) -> &[f64] {
        &self.idf
    }

    fn weigh(&self, counts: &[(u32, u32)]) -> Vec<(u32, f64)> {
        let weight = |&(column, count): &(u32, u32)| {
            let count = f64::from(count);
            let frequency = if self.sublinear_tf { 1.0 + count.ln() } else { count };
            (column, frequency * self.idf[column as usize])
        };
        let mut weights: Vec<(u32, f64)> = counts.iter().map(weight).collect();
        let norm = weights.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        for (_, weight) in &mut weights {
            *weight /= norm;
        }
        weights
    }
}

/// Ids ascending, each with its number of occurrences.
fn count(mut ids: Vec<u32>) -> Vec<(u32, u32)> {
    ids.sort_unstable();
    ids.chunk_by(|a, b| a == b)
        .map(|same| (same[0], same.len() as u32))
        .collect()
}

#[derive(Debug, Clone)]
struct Splitter {
    analyzer: Analyzer,
    shortest: usize,
    longest: usize,
    lowercase: bool,
}

impl Splitter {
    fn each_ngram(&self, text: &str, visit: impl FnMut(&str)) {
        let lowered;
        let text = if self.lowercase {
            lowered = text.to_lowercase();
            &lowered
        } else {
            text
        };
        match self.analyzer {
            Analyzer::Word => self.each_word_ngram(text, visit),
            Analyzer::CharWb => self.each_character_ngram(text, visit),
        }
    }

    fn each_word_ngram(&self, text: &str, mut visit: impl FnMut(&str)) {
        let words: Vec<&str> = text
            .split(|character: char| !(character.is_alphanumeric() || character == '_'))
            .filter(|word| word.chars().nth(1).is_some())
            .collect();
        let mut joined = String::new();
        for length in self.shortest..=self.longest.min(words.len()) {
            for ngram in words.windows(length) {
                joined.clear();
                for (index, word) in ngram.iter().enumerate() {
                    if index > 0 {
                        joined.push(' ');
                    }
                    joined.push_str(word);
                }
                visit(&joined);
            }
        }
    }

    fn each_character_ngram(&self, text: &str, mut visit: impl FnMut(&str)) {
        let mut padded = String::new();
        let mut starts = Vec::new();
        for word in text.split_whitespace() {
            padded.clear();
            padded.push(' ');
            padded.push_str(word);
            padded.push(' ');
            starts.clear();
            starts.extend(padded.char_indices().map(|(start, _)| start));
            let characters = starts.len();
            starts.push(padded.len());
            for length in self.shortest..=self.longest {
                // A word no longer than the n-gram is counted whole, once.
                if characters <= length {
                    visit(&padded);
                    break;
                }
                for bounds in starts.windows(length + 1) {
                    visit(&padded[bounds[0]..bounds[length]]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: BaselineOptions, text: &str, expected: &[&str]) {
        let (shortest, longest) = options.ngram_range;
        let splitter = Splitter {
            analyzer: options.analyzer,
            shortest,
            longest,
            lowercase: options.lowercase,
        };
        let mut found = Vec::new();
        splitter.each_ngram(text, |ngram| found.push(ngram.to_owned()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_and_pairs() {
        let options = BaselineOptions::default;
        check(options(), "I don't know", &["don", "know", "don know"]);
        check(options(), "Order_ID #00123 a", &["order_id", "00123", "order_id 00123"]);
        check(options(), "환불 좀 해주세요", &["환불", "해주세요", "환불 해주세요"]);
        check(options(), "", &[]);
        check(options(), "a b ?", &[]);
        check(options(), "कितना", &["कितना"]);
        check(
            BaselineOptions {
                lowercase: false,
                ngram_range: (2, 3),
                ..options()
            },
            "One TWO",
            &["One TWO"],
        );
    }

    #[test]
    fn characters_stay_within_words() {
        check(
            BaselineOptions::characters(),
            " 돈 A\tb\n",
            &[" 돈", "돈 ", " 돈 ", " a", "a ", " a ", " b", "b ", " b "],
        );
        let pairs = BaselineOptions {
            ngram_range: (4, 9),
            ..BaselineOptions::characters()
        };
        check(pairs, "취소 ab.", &[" 취소 ", " ab.", "ab. ", " ab. "]);
    }

    #[test]
    fn weights_are_the_formula() {
        let (features, rows) = TfIdf::fit(
            &["aa bb aa", "bb cc"],
            &BaselineOptions {
                ngram_range: (1, 1),
                ..Default::default()
            },
        );
        let (rare, common) = ((3.0f64 / 2.0).ln() + 1.0, 1.0);
        let norm = (4.0 * rare * rare + common).sqrt();
        let (columns, values) = rows.row(0);
        assert_eq!(
            (columns, features.vocabulary().concat().as_str()),
            (&[0, 1][..], "aabbcc")
        );
        assert!(
            (values[0] - 2.0 * rare / norm).abs() < 1e-15 && (values[1] - common / norm).abs() < 1e-15,
            "{values:?}"
        );
        assert_eq!(features.transform(&["zz", "cc cc"]).row(1), (&[2][..], &[1.0][..]));
    }
}
