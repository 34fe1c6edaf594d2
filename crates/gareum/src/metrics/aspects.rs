//! Measures of keywords with their sentiments: each by itself, and both together.

use serde::Serialize;

use super::error::same_length;
use super::report::Outcomes;
use super::{
    Bootstrap, ClassificationReport, ConfusionMatrix, Intervals, LabelConfusions, MetricsError, Resampled, Scores,
};
use crate::data::aspect;

/// What one text speaks of, truly and by a model: ids of keywords and of sentiments.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AspectRow {
    /// The keywords of the text, each with its sentiment.
    pub truth: Vec<(u32, u32)>,
    /// Those that are predicted.
    pub predicted: Vec<(u32, u32)>,
    /// The sentiment that is predicted for each of `truth`, as if the keyword had been found.
    pub given: Vec<u32>,
}

/// Everything measured on keywords and sentiments.
#[derive(Debug, Clone, Serialize)]
pub struct AspectMetrics {
    /// Texts.
    pub examples: usize,
    /// Keywords with a sentiment in them.
    pub aspects: usize,
    /// F1 of keywords, all decisions together, whatever their sentiment.
    pub keyword_f1: f64,
    /// The mean of the keywords' F1.
    pub keyword_macro_f1: f64,
    /// The share of true keywords whose sentiment is right, given the keyword. `None` without any.
    pub sentiment_accuracy: Option<f64>,
    /// The mean of the sentiments' F1, given the keywords.
    pub sentiment_macro_f1: Option<f64>,
    /// The share of the keywords that are both true and predicted whose sentiment is right. `None` without any.
    pub sentiment_accuracy_of_found: Option<f64>,
    /// Of keywords with their sentiment: right if both are.
    pub pair_precision: f64,
    /// As `pair_precision`.
    pub pair_recall: f64,
    /// As `pair_precision`: what a user gets in the end.
    pub pair_f1: f64,
    /// The share of texts in which all is right and nothing is missing or too much.
    pub exact_match: f64,
    /// Intervals of `keyword_f1`, `keyword_macro_f1`, `pair_f1` and `exact_match`, texts being drawn again.
    pub confidence_intervals: Intervals,
    /// Each keyword.
    pub by_keyword: Vec<KeywordScores>,
    /// Each sentiment, given the keywords.
    pub by_sentiment: Vec<(String, Scores)>,
    /// Each keyword with each sentiment.
    pub classification_report: ClassificationReport,
}

/// What is measured of one keyword.
#[derive(Debug, Clone, Serialize)]
pub struct KeywordScores {
    /// Its name.
    pub keyword: String,
    /// Of the keyword, whatever the sentiment.
    #[serde(flatten)]
    pub scores: Scores,
    /// The share of its texts whose sentiment is right, given the keyword.
    pub sentiment_accuracy: Option<f64>,
    /// F1 of the keyword with its sentiment.
    pub pair_f1: f64,
}

/// One side of a row.
type Pick = fn(&AspectRow) -> &[(u32, u32)];

impl AspectMetrics {
    /// Measures rows whose ids are places in `keywords` and `sentiments`.
    ///
    /// # Errors
    /// [`MetricsError`] if an id has no name, or a row has not a given sentiment for each true keyword.
    pub fn new(
        keywords: &[String],
        sentiments: &[String],
        rows: &[AspectRow],
        bootstrap: &Bootstrap,
    ) -> Result<Self, MetricsError> {
        let sets = |pick: Pick, id: &dyn Fn(&(u32, u32)) -> u32| -> Vec<Vec<u32>> {
            let set = |row: &AspectRow| {
                let mut set: Vec<u32> = pick(row).iter().map(id).collect();
                set.sort_unstable();
                set.dedup();
                set
            };
            rows.iter().map(set).collect()
        };
        let of_keyword = |(keyword, _): &(u32, u32)| *keyword;
        let of_pair = |(keyword, sentiment): &(u32, u32)| keyword * sentiments.len() as u32 + sentiment;
        let truth: Pick = |row| &row.truth;
        let predicted: Pick = |row| &row.predicted;
        let pair_names: Vec<String> = keywords
            .iter()
            .flat_map(|keyword| sentiments.iter().map(move |sentiment| aspect(keyword, sentiment)))
            .collect();

        let (keyword_truth, keyword_predicted) = (sets(truth, &of_keyword), sets(predicted, &of_keyword));
        let (pair_truth, pair_predicted) = (sets(truth, &of_pair), sets(predicted, &of_pair));
        let by_keyword = report(keywords, &keyword_truth, &keyword_predicted)?;
        let classification_report = report(&pair_names, &pair_truth, &pair_predicted)?;

        for row in rows {
            same_length(row.truth.len(), row.given.len())?;
        }
        let given: Vec<(u32, u32, u32)> = rows
            .iter()
            .flat_map(|row| row.truth.iter().zip(&row.given))
            .map(|(&(keyword, truth), &given)| (keyword, truth, given))
            .collect();
        let (targets, predictions): (Vec<u32>, Vec<u32>) =
            given.iter().map(|(_, truth, given)| (*truth, *given)).unzip();
        let sentiment = ConfusionMatrix::new(sentiments, &targets, &predictions)?;
        let sentiment = ClassificationReport::single_label(&sentiment);
        let right = |is_meant: &dyn Fn(u32) -> bool| {
            let meant = given.iter().filter(|(keyword, ..)| is_meant(*keyword));
            share(meant.map(|(_, truth, given)| truth == given))
        };
        let found = rows.iter().flat_map(|row| {
            let sentiment_of = |keyword: u32| row.predicted.iter().find(|(other, _)| *other == keyword);
            let found = row
                .truth
                .iter()
                .filter_map(move |&(keyword, truth)| Some((sentiment_of(keyword)?.1, truth)));
            found.map(|(predicted, truth)| predicted == truth)
        });

        let named = |name: &str, figures: &Resampled, as_name: &str| (as_name.to_owned(), figures.intervals().of(name));
        let keyword_draws = bootstrap.multi_label(keywords.len(), &keyword_truth, &keyword_predicted)?;
        let pair_draws = bootstrap.multi_label(pair_names.len(), &pair_truth, &pair_predicted)?;
        let values = [
            named("micro_f1", &keyword_draws, "keyword_f1"),
            named("macro_f1", &keyword_draws, "keyword_macro_f1"),
            named("micro_f1", &pair_draws, "pair_f1"),
            named("accuracy", &pair_draws, "exact_match"),
        ];
        let average = |report: &ClassificationReport, name: &str| report.average_scores(name).unwrap_or_default();
        let pairs = average(&classification_report, "micro avg");
        let scores_of = |(id, (keyword, scores)): (usize, (String, Scores))| KeywordScores {
            keyword,
            scores,
            sentiment_accuracy: right(&|keyword| keyword as usize == id),
            pair_f1: pair_f1_of(id as u32, rows),
        };
        Ok(Self {
            examples: rows.len(),
            aspects: given.len(),
            keyword_f1: average(&by_keyword, "micro avg").f1_score,
            keyword_macro_f1: average(&by_keyword, "macro avg").f1_score,
            sentiment_accuracy: right(&|_| true),
            sentiment_macro_f1: (!given.is_empty()).then(|| average(&sentiment, "macro avg").f1_score),
            sentiment_accuracy_of_found: share(found),
            pair_precision: pairs.precision,
            pair_recall: pairs.recall,
            pair_f1: pairs.f1_score,
            exact_match: pair_draws.value("accuracy").unwrap_or_default(),
            confidence_intervals: Intervals {
                method: *bootstrap,
                values: values.into(),
            },
            by_keyword: by_keyword.classes.into_iter().enumerate().map(scores_of).collect(),
            by_sentiment: sentiment.classes,
            classification_report,
        })
    }
}

fn report(names: &[String], truth: &[Vec<u32>], predicted: &[Vec<u32>]) -> Result<ClassificationReport, MetricsError> {
    let confusions = LabelConfusions::new(names, truth, predicted)?;
    Ok(ClassificationReport::multi_label(&confusions, truth, predicted))
}

/// F1 of one keyword with its sentiment.
fn pair_f1_of(keyword: u32, rows: &[AspectRow]) -> f64 {
    let of_keyword = |pairs: &[(u32, u32)]| -> Vec<u32> {
        let pairs = pairs.iter().filter(|(other, _)| *other == keyword);
        pairs.map(|(_, sentiment)| *sentiment).collect()
    };
    let outcomes = rows
        .iter()
        .map(|row| Outcomes::of_sets(&of_keyword(&row.truth), &of_keyword(&row.predicted)));
    Outcomes::sum(&outcomes.collect::<Vec<_>>()).f1()
}

fn share(right: impl Iterator<Item = bool>) -> Option<f64> {
    let (count, hits) = right.fold((0u64, 0u64), |(count, hits), right| {
        (count + 1, hits + u64::from(right))
    });
    (count > 0).then(|| hits as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    /// Worked out by hand: 5 true aspects; 5 predicted, of which 4 have the right keyword and 2 the right sentiment too.
    #[test]
    fn figures_of_three_texts() {
        let rows = [
            // One right, one with the wrong sentiment.
            AspectRow {
                truth: vec![(0, 0), (1, 1)],
                predicted: vec![(0, 0), (1, 0)],
                given: vec![0, 0],
            },
            // One right, one missing whose sentiment would have been right.
            AspectRow {
                truth: vec![(2, 1), (0, 1)],
                predicted: vec![(2, 1)],
                given: vec![1, 1],
            },
            // The wrong sentiment, and a keyword that is not there.
            AspectRow {
                truth: vec![(0, 0)],
                predicted: vec![(0, 1), (2, 0)],
                given: vec![1],
            },
        ];
        let (keywords, sentiments) = (names(&["food", "price", "staff"]), names(&["neg", "pos"]));
        let metrics = AspectMetrics::new(&keywords, &sentiments, &rows, &Bootstrap::default()).unwrap();
        assert_eq!((metrics.examples, metrics.aspects), (3, 5));
        close(metrics.keyword_f1, 2.0 * 4.0 / 10.0);
        // food 2 of 3 true, 2 predicted; price 1 of 1; staff 1 true, 2 predicted.
        close(metrics.keyword_macro_f1, (4.0 / 5.0 + 1.0 + 2.0 / 3.0) / 3.0);
        close(metrics.sentiment_accuracy.unwrap(), 3.0 / 5.0);
        close(metrics.sentiment_accuracy_of_found.unwrap(), 2.0 / 4.0);
        close(metrics.pair_f1, 2.0 * 2.0 / 10.0);
        close(metrics.pair_precision, 2.0 / 5.0);
        close(metrics.exact_match, 0.0);
        let food = &metrics.by_keyword[0];
        close(food.sentiment_accuracy.unwrap(), 2.0 / 3.0);
        close(food.pair_f1, 2.0 / 5.0);
        let interval = metrics.confidence_intervals.of("pair_f1").unwrap();
        assert!(interval.low <= metrics.pair_f1 && metrics.pair_f1 <= interval.high);
    }

    #[test]
    fn nothing_is_no_number() {
        let (keywords, sentiments) = (names(&["food"]), names(&["neg", "pos"]));
        let metrics =
            AspectMetrics::new(&keywords, &sentiments, &[AspectRow::default()], &Bootstrap::default()).unwrap();
        assert_eq!(
            (
                metrics.sentiment_accuracy,
                metrics.sentiment_macro_f1,
                metrics.sentiment_accuracy_of_found
            ),
            (None, None, None)
        );
        assert_eq!((metrics.pair_f1, metrics.exact_match), (0.0, 1.0));
        let odd = AspectRow {
            truth: vec![(0, 7)],
            predicted: Vec::new(),
            given: vec![0],
        };
        assert!(AspectMetrics::new(&keywords, &sentiments, &[odd], &Bootstrap::default()).is_err());
    }
}
