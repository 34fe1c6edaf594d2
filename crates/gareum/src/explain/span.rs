//! What is made of the scores of single words: their means with their neighbours, and the span that says most.

use std::ops::Range;

use super::{BestSpan, LabelMap, Word};

/// Fills in what follows from the scores of a map's words.
pub(super) fn finish(map: &mut LabelMap, window: usize) {
    let first_of_pair = map.words.partition_point(|word| !word.pair);
    let texts = [0..first_of_pair, first_of_pair..map.words.len()];
    if window > 1 {
        for text in texts.clone() {
            smooth(&mut map.words[text], window);
        }
    }
    let best = texts.into_iter().filter_map(|text| best_span(&map.words[text]));
    // The first text's, of equal ones.
    map.best = best.reduce(|best, next| if next.score > best.score { next } else { best });
}

/// Gives words the mean of `window` neighbours around each, fewer at the ends.
fn smooth(words: &mut [Word], window: usize) {
    let scores: Vec<f64> = words.iter().map(|word| word.score).collect();
    for (number, word) in words.iter_mut().enumerate() {
        let start = number.saturating_sub((window - 1) / 2);
        let end = (number + window / 2 + 1).min(scores.len());
        let neighbours = &scores[start..end];
        word.smoothed = Some(neighbours.iter().sum::<f64>() / neighbours.len() as f64);
    }
}

/// The neighbouring words that stand out most: whose scores have the largest sum once each is less by what an average word of the text has
/// (Kadane's algorithm), the shortest of equal ones. Without that, a text whose words nearly all speak for the label is its own best span. Where none
/// stands out, the largest sum as it is.
fn best_span(words: &[Word]) -> Option<BestSpan> {
    let mean = words.iter().map(Word::shown_score).sum::<f64>() / words.len().max(1) as f64;
    let range = largest_sum(words, mean.max(0.0)).or_else(|| largest_sum(words, 0.0))?;
    let words = &words[range];
    Some(BestSpan {
        start: words.first()?.start,
        end: words.last()?.end,
        pair: words.first()?.pair,
        score: words.iter().map(Word::shown_score).sum(),
    })
}

/// The words whose scores, each less by `toll`, have the largest sum; none if no sum is positive.
fn largest_sum(words: &[Word], toll: f64) -> Option<Range<usize>> {
    let mut best: Option<(Range<usize>, f64)> = None;
    let (mut start, mut sum) = (0, 0.0);
    for (number, word) in words.iter().enumerate() {
        if sum <= 0.0 {
            (start, sum) = (number, 0.0);
        }
        sum += word.shown_score() - toll;
        if sum > best.as_ref().map_or(0.0, |(_, best)| *best) {
            best = Some((start..number + 1, sum));
        }
    }
    best.map(|(range, _)| range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scores: &[f64]) -> Vec<Word> {
        let word = |(number, &score): (usize, &f64)| Word {
            start: 2 * number,
            end: 2 * number + 1,
            text: "x".to_owned(),
            pair: false,
            score,
            smoothed: None,
            probability: None,
        };
        scores.iter().enumerate().map(word).collect()
    }

    #[test]
    fn the_best_span_stands_out() {
        for (scores, expected) in [
            (&[1.0, -2.0, 3.0, -1.0, 2.0, -5.0, 3.0][..], Some((4, 9, 4.0))),
            (&[-1.0, 0.0, -2.0], None),
            (&[], None),
            (&[0.0, 1.0, 0.0], Some((2, 3, 1.0))),
            (&[0.5], Some((0, 1, 0.5))),
            (&[0.25, 0.25], Some((0, 3, 0.5))),
            (&[0.125, 0.5, 0.0, 0.125], Some((2, 3, 0.5))),
            (&[-10.0, -10.0, 0.5, -1.0, -1.0], Some((4, 5, 0.5))),
        ] {
            let best = best_span(&words(scores)).map(|best| (best.start, best.end, best.score));
            assert_eq!(best, expected, "{scores:?}");
        }
    }

    #[test]
    fn neighbours_are_averaged() {
        let smoothed = |scores: &[f64], window| {
            let mut words = words(scores);
            smooth(&mut words, window);
            words.iter().map(Word::shown_score).collect::<Vec<_>>()
        };
        assert_eq!(smoothed(&[3.0, 0.0, 6.0, 0.0], 3), [1.5, 3.0, 2.0, 3.0]);
        assert_eq!(smoothed(&[3.0, 1.0], 2), [2.0, 1.0]);
        assert_eq!(smoothed(&[3.0], 9), [3.0]);
    }
}
