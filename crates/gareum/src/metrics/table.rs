//! A report as a table in fixed columns, laid out as scikit-learn prints its own; wide letters (Hangul, kana, Hanja) count as two columns.

use super::report::{ClassificationReport, Summary};

/// The table, with a line break at the end.
pub(super) fn table(report: &ClassificationReport) -> String {
    let names = report
        .classes
        .iter()
        .map(|(name, _)| name)
        .chain(report.averages.iter().map(|(name, _)| name));
    let width = names.map(|name| display_width(name)).max().unwrap_or(0);
    let total: f64 = report.classes.iter().map(|(_, scores)| scores.support).sum();
    let row = |name: &str, summary: Summary| {
        let indent = " ".repeat(width.saturating_sub(display_width(name)));
        match summary {
            Summary::Accuracy(share) => format!("{indent}{name}  {:>9} {:>9} {share:>9.2} {total:>9}\n", "", ""),
            Summary::Average(scores) => format!(
                "{indent}{name}  {:>9.2} {:>9.2} {:>9.2} {:>9}\n",
                scores.precision, scores.recall, scores.f1_score, scores.support
            ),
        }
    };
    let header = format!(
        "{:width$}  {:>9} {:>9} {:>9} {:>9}\n",
        "", "precision", "recall", "f1-score", "support"
    );
    let classes: String = report
        .classes
        .iter()
        .map(|(name, scores)| row(name, Summary::Average(*scores)))
        .collect();
    let averages: String = report
        .averages
        .iter()
        .map(|(name, summary)| row(name, *summary))
        .collect();
    format!("{header}\n{classes}\n{averages}")
}

/// Rows of a name and a number, for tasks without classes.
pub(super) fn list(values: &[(&str, Option<f64>)]) -> String {
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let row = |(name, value): &(&str, Option<f64>)| match value {
        Some(value) => format!("{name:>width$}  {value:>9.4}\n"),
        None => format!("{name:>width$}  {:>9}\n", "undefined"),
    };
    values.iter().map(row).collect()
}

/// Columns of a terminal that a text takes.
fn display_width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// Two for the wide blocks of Unicode's East Asian Width (UAX 11) and emoji, none for combining marks and joiners, else one.
fn character_width(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036F | 0x1160..=0x11FF | 0x200B..=0x200F | 0x20D0..=0x20FF | 0xFE00..=0xFE0F | 0xFEFF => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0x33FF
        | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF
        | 0xA000..=0xA4CF
        | 0xA960..=0xA97F
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1F9FF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfusionMatrix;
    use super::*;

    fn check(names: [&str; 3], expected: &str) {
        let names = names.map(str::to_owned);
        let matrix = ConfusionMatrix::new(&names, &[0, 1, 2, 2, 2], &[0, 0, 2, 2, 1]).unwrap();
        assert_eq!(table(&ClassificationReport::single_label(&matrix)), expected);
    }

    #[test]
    fn looks_like_scikit_learns() {
        check(
            ["class 0", "class 1", "class 2"],
            "              precision    recall  f1-score   support

     class 0       0.50      1.00      0.67         1
     class 1       0.00      0.00      0.00         1
     class 2       1.00      0.67      0.80         3

    accuracy                           0.60         5
   macro avg       0.50      0.56      0.49         5
weighted avg       0.70      0.60      0.61         5
",
        );
    }

    #[test]
    fn wide_letters_take_two_columns() {
        check(
            ["긍정", "不定 negative 感情", "c"],
            "                    precision    recall  f1-score   support

              긍정       0.50      1.00      0.67         1
不定 negative 感情       0.00      0.00      0.00         1
                 c       1.00      0.67      0.80         3

          accuracy                           0.60         5
         macro avg       0.50      0.56      0.49         5
      weighted avg       0.70      0.60      0.61         5
",
        );
        assert_eq!(display_width("e\u{301}가\u{1112}\u{1161}"), 5);
    }
}
