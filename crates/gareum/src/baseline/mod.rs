//! TF-IDF with multinomial logistic regression: the yardstick that every fine-tuned model is printed beside.
//!
//! A few seconds of work and no pretrained weights; a fine-tuned encoder that does not beat it is not worth serving. It computes what scikit-learn's
//! `TfidfVectorizer` and `LogisticRegression` compute (`tests/reference/baseline.py` holds it to that) and gives the same bits at any thread count.
//! Not here: saving (fitting again is as quick) and multi-label tasks.
//! Read next: `tfidf.rs` (texts to weights of n-grams), `logistic.rs` (the loss), `lbfgs.rs` (its minimum).
//!
//! ```
//! use gareum::baseline::{Baseline, BaselineOptions};
//!
//! let texts = ["where is my parcel", "parcel is late", "refund me please", "I want my refund"];
//! let baseline = Baseline::fit(&texts, &[0, 0, 1, 1], 2, &BaselineOptions::suited_to(&texts))?;
//! assert_eq!(baseline.predict(&["the parcel has not come", "a refund!"]), [0, 1]);
//! # Ok::<(), gareum::baseline::BaselineError>(())
//! ```

mod lbfgs;
mod logistic;
mod sparse;
mod tfidf;

use serde::{Deserialize, Serialize};

use logistic::LogisticRegression;
use tfidf::TfIdf;

/// What an n-gram is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Analyzer {
    /// Runs of at least two letters, digits or underscores (scikit-learn's `(?u)\b\w\w+\b`).
    Word,
    /// Characters within one blank-separated word, which is padded with a blank on each side. For languages whose words inflect or are written
    /// together, such as Korean: `환불은` and `환불을` share ` 환불`.
    CharWb,
}

/// How texts become features and how strongly weights are held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineOptions {
    /// What n-grams are made of. Default words.
    pub analyzer: Analyzer,
    /// Shortest and longest n-gram, in words or characters. Default (1, 2), which scikit-learn's text tutorial searches; characters: (2, 4).
    pub ngram_range: (usize, usize),
    /// N-grams in fewer training texts than this are left out. Default 1, scikit-learn's.
    pub min_df: usize,
    /// Whether texts are lowercased first. Default true, scikit-learn's.
    pub lowercase: bool,
    /// Whether a count `tf` is taken as `1 + ln(tf)`. Default false, scikit-learn's.
    pub sublinear_tf: bool,
    /// Inverse strength of the L2 penalty, scikit-learn's `C`. Default 10, not its 1: rows have norm 1 and short texts few n-grams, so the weights need
    /// to be larger. Test accuracy on BANKING77 at 1, 10, 30: 0.854, 0.894, 0.895 (characters at 10: 0.908).
    pub c: f64,
    /// Largest component of the mean loss's gradient at which fitting ends. Default 1e-5, not scikit-learn's 1e-4, where a few labels in a thousand are
    /// still the solver's and not the model's.
    pub tolerance: f64,
    /// Most iterations of the solver. Default 500 (BANKING77 takes 82).
    pub max_iterations: usize,
}

impl Default for BaselineOptions {
    fn default() -> Self {
        BaselineOptions {
            analyzer: Analyzer::Word,
            ngram_range: (1, 2),
            min_df: 1,
            lowercase: true,
            sublinear_tf: false,
            c: 10.0,
            tolerance: 1e-5,
            max_iterations: 500,
        }
    }
}

impl BaselineOptions {
    /// N-grams of 2 to 4 characters within words.
    pub fn characters() -> Self {
        BaselineOptions {
            analyzer: Analyzer::CharWb,
            ngram_range: (2, 4),
            ..BaselineOptions::default()
        }
    }

    /// [`characters`](Self::characters) when over a quarter of the letters are of a script that inflects within the written word or puts no blanks
    /// between words (Hangul, kana, Han, Thai), else words.
    pub fn suited_to(texts: &[impl AsRef<str>]) -> Self {
        let (mut letters, mut unspaced) = (0usize, 0usize);
        for character in texts
            .iter()
            .flat_map(|text| text.as_ref().chars())
            .filter(|character| character.is_alphabetic())
        {
            letters += 1;
            unspaced += usize::from(
                matches!(character, '\u{e00}'..='\u{e7f}' | '\u{1100}'..='\u{11ff}' | '\u{3040}'..='\u{318f}'
                | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'),
            );
        }
        if 4 * unspaced > letters {
            BaselineOptions::characters()
        } else {
            BaselineOptions::default()
        }
    }

    fn check(&self) -> Result<(), BaselineError> {
        let (shortest, longest) = self.ngram_range;
        let invalid = |option, found: String, expected| {
            Err(BaselineError::InvalidOption {
                option,
                found,
                expected,
            })
        };
        if shortest == 0 || longest < shortest {
            return invalid(
                "ngram_range",
                format!("({shortest}, {longest})"),
                "1 <= shortest <= longest",
            );
        }
        if !(self.c > 0.0 && self.c.is_finite()) {
            return invalid("c", self.c.to_string(), "a number above 0");
        }
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return invalid("tolerance", self.tolerance.to_string(), "a number above 0");
        }
        Ok(())
    }
}

/// Why a baseline could not be fitted.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BaselineError {
    /// Texts and classes are not of one length.
    #[error("{texts} texts but {classes} classes, expected one class a text")]
    LengthMismatch {
        /// Number of texts.
        texts: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A class is not below the number of labels.
    #[error("text {row} (from 0): class {class} is not below the number of labels {labels}")]
    UnknownClass {
        /// Position of the text, from 0.
        row: usize,
        /// Its class.
        class: u32,
        /// Number of labels.
        labels: usize,
    },
    /// There is nothing to tell apart.
    #[error(
        "all {texts} training texts are of one class, expected at least two\nhint: check the label column and the split"
    )]
    OneClass {
        /// Number of texts.
        texts: usize,
    },
    /// No n-gram was found in enough texts.
    #[error(
        "no n-gram of {ngram_range:?} occurs in {min_df} or more of the {texts} training texts\nhint: lower `min_df`, or use characters instead of words"
    )]
    EmptyVocabulary {
        /// Number of texts.
        texts: usize,
        /// As in the options.
        ngram_range: (usize, usize),
        /// As in the options.
        min_df: usize,
    },
    /// An option is outside its range.
    #[error("baseline: `{option}` is {found}, expected {expected}")]
    InvalidOption {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// A fitted TF-IDF vectoriser and logistic regression.
#[derive(Debug, Clone)]
pub struct Baseline {
    features: TfIdf,
    regression: LogisticRegression,
}

impl Baseline {
    /// Fits on `texts`, of which `classes` holds each one's class in `0..labels`. A class without a text gets probability 0.
    ///
    /// Memory is about `20 × n-grams × classes × 8` bytes while fitting.
    ///
    /// # Errors
    /// [`BaselineError`]; the first that applies of: an option outside its range, lengths that differ, a class not below `labels`, fewer than two
    /// classes present, no n-gram left.
    pub fn fit<T: AsRef<str>>(
        texts: &[T],
        classes: &[u32],
        labels: usize,
        options: &BaselineOptions,
    ) -> Result<Baseline, BaselineError> {
        options.check()?;
        if texts.len() != classes.len() {
            return Err(BaselineError::LengthMismatch {
                texts: texts.len(),
                classes: classes.len(),
            });
        }
        if let Some((row, &class)) = classes.iter().enumerate().find(|&(_, &class)| class as usize >= labels) {
            return Err(BaselineError::UnknownClass { row, class, labels });
        }
        if classes.iter().all(|class| Some(class) == classes.first()) {
            return Err(BaselineError::OneClass { texts: texts.len() });
        }
        let (features, rows) = TfIdf::fit(texts, options);
        if features.len() == 0 {
            let BaselineOptions {
                ngram_range, min_df, ..
            } = *options;
            return Err(BaselineError::EmptyVocabulary {
                texts: texts.len(),
                ngram_range,
                min_df,
            });
        }
        let regression = LogisticRegression::fit(&rows, classes, labels, options);
        Ok(Baseline { features, regression })
    }

    /// Each text's probabilities, one a label; they sum to 1. A text without a known n-gram gets what the intercepts say, near the classes' shares.
    pub fn predict_probabilities<T: AsRef<str>>(&self, texts: &[T]) -> Vec<Vec<f64>> {
        self.regression.probabilities(&self.features.transform(texts))
    }

    /// Each text's most probable class; the lowest of equals.
    pub fn predict<T: AsRef<str>>(&self, texts: &[T]) -> Vec<u32> {
        let best = |row: &Vec<f64>| {
            let mut best = 0;
            for (class, &probability) in row.iter().enumerate() {
                if probability > row[best] {
                    best = class;
                }
            }
            best as u32
        };
        self.predict_probabilities(texts).iter().map(best).collect()
    }

    /// Number of n-grams in the vocabulary.
    pub fn vocabulary_len(&self) -> usize {
        self.features.len()
    }

    /// Iterations the solver took.
    pub fn iterations(&self) -> usize {
        self.regression.iterations
    }

    /// Whether the gradient came below the tolerance. If not, raise `max_iterations`; the predictions are usable all the same.
    pub fn converged(&self) -> bool {
        self.regression.converged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        labels: usize,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        analyzer: Analyzer,
        ngram_range: (usize, usize),
        min_df: usize,
        sublinear_tf: bool,
        lowercase: bool,
        c: f64,
        train: Vec<(String, u32)>,
        test: Vec<String>,
        vocabulary: Vec<String>,
        idf: Vec<f64>,
        rows: Vec<Row>,
        classes: Vec<u32>,
        probabilities: Vec<Vec<f64>>,
    }

    #[derive(Deserialize)]
    struct Row {
        columns: Vec<u32>,
        values: Vec<f64>,
    }

    impl Case {
        fn fit(&self, labels: usize) -> Baseline {
            let options = BaselineOptions {
                analyzer: self.analyzer,
                ngram_range: self.ngram_range,
                min_df: self.min_df,
                sublinear_tf: self.sublinear_tf,
                lowercase: self.lowercase,
                c: self.c,
                tolerance: 1e-9,
                max_iterations: 2000,
            };
            let (texts, classes): (Vec<&str>, Vec<u32>) =
                self.train.iter().map(|(text, class)| (text.as_str(), *class)).unzip();
            Baseline::fit(&texts, &classes, labels, &options).unwrap()
        }
    }

    fn fixture() -> Fixture {
        serde_json::from_str(include_str!("../../../../tests/reference/fixtures/baseline.json")).unwrap()
    }

    #[track_caller]
    fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance,
                "{what}, element {index}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn features_are_scikit_learns() {
        for case in fixture().cases {
            let baseline = case.fit(5);
            assert_eq!(baseline.features.vocabulary(), case.vocabulary, "{}", case.name);
            assert_close(&case.name, baseline.features.idf(), &case.idf, 1e-12);
            let rows = baseline.features.transform(&case.test);
            for (index, expected) in case.rows.iter().enumerate() {
                let (columns, values) = rows.row(index);
                assert_eq!(columns, expected.columns, "{}: {}", case.name, case.test[index]);
                assert_close(&case.name, values, &expected.values, 1e-9);
            }
        }
    }

    #[test]
    fn probabilities_are_scikit_learns() {
        let Fixture { labels, cases } = fixture();
        for case in cases {
            let baseline = case.fit(labels);
            assert!(
                baseline.converged(),
                "{}: {} iterations",
                case.name,
                baseline.iterations()
            );
            for (row, expected) in baseline
                .predict_probabilities(&case.test)
                .iter()
                .zip(&case.probabilities)
            {
                let mut all = vec![0.0; labels];
                for (&class, &probability) in case.classes.iter().zip(expected) {
                    all[class as usize] = probability;
                }
                // Both solvers converged tightly, so far less than the 1e-4 that matters to a reader.
                assert_close(&case.name, row, &all, 1e-6);
            }
        }
    }

    #[test]
    fn default_tolerance_is_close_to_the_minimum() {
        let Fixture { labels, cases } = fixture();
        let case = &cases[0];
        let (texts, classes): (Vec<&str>, Vec<u32>) =
            case.train.iter().map(|(text, class)| (text.as_str(), *class)).unzip();
        let options = BaselineOptions {
            c: case.c,
            ..BaselineOptions::default()
        };
        let baseline = Baseline::fit(&texts, &classes, labels, &options).unwrap();
        for (row, expected) in baseline
            .predict_probabilities(&case.test)
            .iter()
            .zip(&case.probabilities)
        {
            assert_close(&case.name, row, expected, 1e-3);
        }
    }

    #[test]
    fn thread_count_does_not_matter() {
        let Fixture { labels, cases } = fixture();
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| cases[3].fit(labels).predict_probabilities(&cases[3].test))
        };
        assert_eq!(fit(1), fit(3)); // Same bits.
    }

    #[test]
    fn a_class_without_texts_gets_nothing() {
        let texts = ["late parcel", "parcel lost", "refund please", "my refund"];
        let baseline = Baseline::fit(&texts, &[1, 1, 3, 3], 5, &BaselineOptions::default()).unwrap();
        assert_eq!(baseline.predict(&["the parcel", "refund"]), [1, 3]);
        let [row] = &baseline.predict_probabilities(&["unheard of"])[..] else {
            panic!("one row")
        };
        assert_close("prior", row, &[0.0, 0.5, 0.0, 0.5, 0.0], 1e-6);
        assert!(baseline.predict_probabilities(&[] as &[&str]).is_empty());
    }

    #[test]
    fn errors_name_what_is_wrong() {
        #[track_caller]
        fn check(texts: &[&str], classes: &[u32], options: BaselineOptions, expected: &str) {
            let message = Baseline::fit(texts, classes, 3, &options).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        let options = BaselineOptions::default;
        check(
            &["aa", "bb"],
            &[0],
            options(),
            "2 texts but 1 classes, expected one class a text",
        );
        check(
            &["aa", "bb"],
            &[0, 3],
            options(),
            "text 1 (from 0): class 3 is not below the number of labels 3",
        );
        check(
            &["aa", "bb"],
            &[2, 2],
            options(),
            "all 2 training texts are of one class",
        );
        check(&[], &[], options(), "all 0 training texts are of one class");
        check(
            &["a", "?"],
            &[0, 1],
            options(),
            "no n-gram of (1, 2) occurs in 1 or more of the 2 training texts",
        );
        let rare = BaselineOptions { min_df: 2, ..options() };
        check(
            &["aa", "bb"],
            &[0, 1],
            rare,
            "no n-gram of (1, 2) occurs in 2 or more of the 2 training texts",
        );
        let range = BaselineOptions {
            ngram_range: (2, 1),
            ..options()
        };
        check(
            &["aa", "bb"],
            &[0, 1],
            range,
            "baseline: `ngram_range` is (2, 1), expected 1 <= shortest <= longest",
        );
        check(
            &["aa", "bb"],
            &[0, 1],
            BaselineOptions {
                c: f64::NAN,
                ..options()
            },
            "baseline: `c` is NaN",
        );
    }

    #[test]
    fn script_decides_the_analyzer() {
        assert_eq!(
            BaselineOptions::suited_to(&["환불 받고 싶어요 refund"]).analyzer,
            Analyzer::CharWb
        );
        assert_eq!(
            BaselineOptions::suited_to(&["how do I say 환불 in English"]).analyzer,
            Analyzer::Word
        );
        assert_eq!(BaselineOptions::suited_to(&["返品したい"]).ngram_range, (2, 4));
        assert_eq!(BaselineOptions::suited_to(&[""; 2]), BaselineOptions::default());
    }
}
