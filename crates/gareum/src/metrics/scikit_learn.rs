//! Measures of probabilities against what scikit-learn answered: `tests/reference/metrics.py` wrote the fixture.

use serde_json::{Map, Value};

use super::*;

fn reference(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/fixtures/");
    serde_json::from_str(&std::fs::read_to_string(format!("{folder}{name}")).unwrap()).unwrap()
}

/// Calls `check` with the name and content of each case of a kind.
fn each_case(kind: &str, check: impl Fn(&str, &Map<String, Value>)) {
    let reference = reference("metrics_scores.json");
    let cases = reference[kind].as_object().unwrap();
    assert!(cases.len() > 40);
    cases
        .iter()
        .for_each(|(name, case)| check(name, case.as_object().unwrap()));
}

fn read<T: serde::de::DeserializeOwned>(case: &Map<String, Value>, key: &str) -> T {
    serde_json::from_value(case[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
}

fn assert_value(seen: Option<f64>, expected: &Value, at: &str) {
    match (seen, expected.as_f64()) {
        (Some(seen), Some(expected)) => assert!((seen - expected).abs() <= 1e-9, "{at}: {seen} is not {expected}"),
        (seen, expected) => assert_eq!(seen, expected, "{at}"),
    }
}

fn assert_values(seen: impl IntoIterator<Item = Option<f64>>, expected: &Value, at: &str) {
    let seen: Vec<Option<f64>> = seen.into_iter().collect();
    let expected = expected.as_array().unwrap();
    assert_eq!(seen.len(), expected.len(), "{at}");
    seen.iter()
        .zip(expected)
        .for_each(|(seen, expected)| assert_value(*seen, expected, at));
}

fn assert_calibration(bins: &[ReliabilityBin], expected: &Value, at: &str) {
    let filled = || bins.iter().filter(|bin| bin.count > 0);
    assert_values(filled().map(|bin| Some(bin.count as f64)), &expected["counts"], at);
    assert_values(filled().map(|bin| bin.confidence), &expected["confidence"], at);
    assert_values(filled().map(|bin| bin.accuracy), &expected["accuracy"], at);
    assert_value(expected_calibration_error(bins), &expected["ece"], at);
}

/// Every value of the case that has the name of a value of the metrics; returns how many there were.
fn assert_named(metrics: &Metrics, case: &Map<String, Value>, name: &str) -> usize {
    let named = metrics.values().into_iter().filter(|(key, _)| case.contains_key(*key));
    named
        .map(|(key, value)| assert_value(value, &case[key], &format!("{name}: {key}")))
        .count()
}

#[test]
fn binary_scores() {
    each_case("binary", |name, case| {
        let is_positive: Vec<bool> = read::<Vec<u8>>(case, "true").iter().map(|truth| *truth == 1).collect();
        let scores: Vec<f64> = read(case, "scores");
        assert_value(roc_auc(&is_positive, &scores).unwrap(), &case["roc_auc"], name);
        assert_value(
            average_precision(&is_positive, &scores).unwrap(),
            &case["average_precision"],
            name,
        );
        assert_calibration(&reliability(&is_positive, &scores).unwrap(), &case["calibration"], name);
        let curve = roc_curve(&is_positive, &scores).unwrap();
        match &case["roc_curve"] {
            Value::Null => assert!(curve.is_empty(), "{name}"),
            expected => {
                assert_values(
                    curve.iter().map(|point| Some(point.false_positive_rate)),
                    &expected[0],
                    name,
                );
                assert_values(
                    curve.iter().map(|point| Some(point.true_positive_rate)),
                    &expected[1],
                    name,
                );
                assert_values(curve.iter().map(|point| point.threshold), &expected[2], name);
            }
        }
        let curve = precision_recall_curve(&is_positive, &scores).unwrap();
        match &case["precision_recall_curve"] {
            Value::Null => assert!(curve.is_empty(), "{name}"),
            expected => {
                assert_values(curve.iter().map(|point| Some(point.precision)), &expected[0], name);
                assert_values(curve.iter().map(|point| Some(point.recall)), &expected[1], name);
                assert_values(curve.iter().map(|point| point.threshold), &expected[2], name);
            }
        }
    });
}

#[test]
fn single_label_probabilities() {
    each_case("single_label", |name, case| {
        let (classes, targets): (usize, Vec<u32>) = (read(case, "classes"), read(case, "true"));
        let rows: Vec<Vec<f64>> = read(case, "scores");
        let first_largest = |row: &Vec<f64>| {
            let best = (0..)
                .zip(row)
                .reduce(|best, next| if next.1 > best.1 { next } else { best });
            best.unwrap().0
        };
        let predictions: Vec<u32> = rows.iter().map(first_largest).collect();
        let scores = rows.concat();
        let names: Vec<String> = (0..classes).map(|id| id.to_string()).collect();
        let metrics = Metrics::single_label(&names, &targets, &predictions, Some(&scores), None).unwrap();
        assert_eq!(assert_named(&metrics, case, name), 12, "{name}");
        let Metrics::SingleLabel(metrics) = metrics else {
            unreachable!()
        };
        let by_label = &metrics.probabilities;
        assert_values(by_label.roc_auc_by_label.clone(), &case["roc_auc_by_label"], name);
        assert_values(
            by_label.average_precision_by_label.clone(),
            &case["average_precision_by_label"],
            name,
        );
        assert_calibration(&by_label.reliability, &case["calibration"], name);
        let top_k = case["top_k_accuracy"].as_array().unwrap();
        for (k, expected) in (1..).zip(top_k) {
            assert_value(top_k_accuracy(&targets, &scores, classes, k).unwrap(), expected, name);
        }
        let sets: Vec<[u32; 1]> = targets.iter().map(|target| [*target]).collect();
        let label_scores = LabelScores::new(&sets, &scores, classes).unwrap();
        for (key, average) in [("roc_auc", Average::Macro), ("roc_auc_weighted", Average::Weighted)] {
            assert_value(roc_auc_one_vs_rest(&label_scores, average), &case[key], name);
        }
        for (key, average) in [
            ("average_precision", Average::Macro),
            ("average_precision_weighted", Average::Weighted),
        ] {
            assert_value(mean_average_precision(&label_scores, average), &case[key], name);
        }
    });
}

#[test]
fn multi_label_probabilities() {
    each_case("multi_label", |name, case| {
        let sets = |rows: &[Vec<bool>]| -> Vec<Vec<u32>> {
            let ids = |row: &Vec<bool>| (0..).zip(row).filter(|(_, holds)| **holds).map(|(id, _)| id).collect();
            rows.iter().map(ids).collect()
        };
        let truth: Vec<Vec<u8>> = read(case, "true");
        let rows: Vec<Vec<f64>> = read(case, "scores");
        let targets = sets(
            &truth
                .iter()
                .map(|row| row.iter().map(|holds| *holds == 1).collect())
                .collect::<Vec<_>>(),
        );
        let predictions = sets(
            &rows
                .iter()
                .map(|row| row.iter().map(|score| *score >= 0.5).collect())
                .collect::<Vec<_>>(),
        );
        let names: Vec<String> = (0..rows[0].len()).map(|id| id.to_string()).collect();
        let metrics = Metrics::multi_label(&names, &targets, &predictions, Some(&rows.concat()), None).unwrap();
        assert_eq!(assert_named(&metrics, case, name), 9, "{name}");
        for average in ["samples", "macro", "micro", "weighted"] {
            let value = metrics.value(&format!("{average}_jaccard"));
            assert_value(value, &case["jaccard"][average], &format!("{name}: {average}"));
        }
        let Metrics::MultiLabel(metrics) = metrics else {
            unreachable!()
        };
        let by_label = &metrics.probabilities;
        assert_values(by_label.roc_auc_by_label.clone(), &case["roc_auc_by_label"], name);
        assert_values(
            by_label.average_precision_by_label.clone(),
            &case["average_precision_by_label"],
            name,
        );
        assert_calibration(&by_label.reliability, &case["calibration"], name);
    });
}

#[test]
fn curves_of_labels_and_thresholds() {
    let reference = reference("metrics_curves.json");
    for (name, case) in reference["multi_label"].as_object().unwrap() {
        let case = case.as_object().unwrap();
        let truth: Vec<Vec<u8>> = read(case, "true");
        let rows: Vec<Vec<f64>> = read(case, "scores");
        let column = |label: usize| -> (Vec<bool>, Vec<f64>) {
            let holds = truth.iter().map(|row| row[label] == 1);
            (holds.collect(), rows.iter().map(|row| row[label]).collect())
        };
        let labels = || (0..rows[0].len()).map(column);
        let roc = labels().map(|(truth, scores)| roc_curve(&truth, &scores).unwrap());
        let roc: Vec<Vec<Place>> = roc.map(|curve| curve.into_iter().map(Place::from).collect()).collect();
        let recall = labels().map(|(truth, scores)| precision_recall_curve(&truth, &scores).unwrap());
        let recall: Vec<Vec<Place>> = recall
            .map(|curve| curve.into_iter().map(Place::from).collect())
            .collect();
        let places: Vec<f64> = read(case, "places");
        for (curves, key) in [(&roc, "mean_roc"), (&recall, "mean_precision")] {
            let mean = mean_curve(curves, &places);
            assert_values(
                mean.iter().map(|(_, y)| Some(*y)),
                &case[key],
                &format!("{name}: {key}"),
            );
        }
        let (truth_of_first, scores_of_first) = column(0);
        let curve = f1_by_threshold(&truth_of_first, &scores_of_first).unwrap();
        assert_values(
            curve.iter().map(|point| Some(point.threshold)),
            &case["thresholds"],
            name,
        );
        assert_values(curve.iter().map(|point| Some(point.f1)), &case["f1"], name);
        let first_largest = |row: &[f64]| {
            let best = (0..).zip(row);
            best.reduce(|best, next| if next.1 > best.1 { next } else { best })
                .unwrap()
                .0
        };
        let is_right: Vec<bool> = truth
            .iter()
            .zip(&rows)
            .map(|(truth, row)| truth.iter().position(|holds| *holds == 1).unwrap_or(0) == first_largest(row))
            .collect();
        let surest: Vec<f64> = rows.iter().map(|row| row.iter().copied().fold(0.0, f64::max)).collect();
        let curve = accuracy_by_coverage(&is_right, &surest).unwrap();
        assert_values(curve.iter().map(|point| Some(point.coverage)), &case["coverage"], name);
        assert_values(curve.iter().map(|point| Some(point.accuracy)), &case["accuracy"], name);
    }
}
