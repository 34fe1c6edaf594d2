//! Whether one of two is better, or it only looks so: tests on counts.

/// McNemar's exact test (McNemar 1947; the binomial form of Fleiss 1981): the probability that as uneven a split as this, or a more uneven one,
/// comes about if neither is better. The arguments count the rows that only the first, and only the second, gets right.
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let (rarer, all) = (only_first.min(only_second), only_first + only_second);
    // Terms of the binomial distribution at one half, each from the one before, by logarithms: 2^-all may be too small for a number.
    let mut term = -(all as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for hits in 0..=rarer {
        tail += term.exp();
        term += ((all - hits) as f64).ln() - ((hits + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// Holm's correction (1979) of p-values for their number: what is below 0.05 then is so with one error in twenty at most among all of them.
/// In the order of the values.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|first, second| p_values[*first].total_cmp(&p_values[*second]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut largest = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max(p_values[index] * (p_values.len() - rank) as f64).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> serde_json::Value {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/reference/fixtures/significance.json"
        );
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// `tests/reference/significance.py` asked SciPy's binomial test.
    #[test]
    fn mcnemar_equals_scipy() {
        let reference = reference();
        let cases = reference["mcnemar"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let [first, second] = [0, 1].map(|index| case[index].as_u64().unwrap());
            let expected = case[2].as_f64().unwrap();
            let seen = mcnemar(first, second);
            assert!(
                (seen - expected).abs() <= 1e-9 * expected.max(1e-3),
                "{first} {second}: {seen} is not {expected}"
            );
            assert_eq!(seen, mcnemar(second, first));
        }
    }

    /// The same script asked SciPy and NumPy.
    #[test]
    fn holm_equals_its_definition() {
        let reference = reference();
        let cases = reference["holm"].as_array().unwrap();
        assert!(cases.len() > 5);
        for case in cases {
            let values = |index: usize| serde_json::from_value::<Vec<f64>>(case[index].clone()).unwrap();
            let (seen, expected) = (holm(&values(0)), values(1));
            assert_eq!(seen.len(), expected.len());
            for (seen, expected) in seen.iter().zip(&expected) {
                assert!((seen - expected).abs() < 1e-12, "{seen} is not {expected}");
            }
        }
    }

    #[test]
    fn nothing_differs_without_differences() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert_eq!(mcnemar(7, 7), 1.0);
        assert!(mcnemar(0, 100_000) < 1e-300);
        assert!(holm(&[]).is_empty());
    }
}
