"""What scikit-learn answers on small random and edge cases: fixtures/metrics.json (decisions), metrics_scores.json (probabilities),
metrics_curves.json (curves of several labels, thresholds) and metrics_bootstrap.json (intervals).

Usage: python tests/reference/metrics.py

Scores are multiples of 1/64 or 1/16, so that rows sum to exactly 1, ties occur, and every number is exact in binary and short in decimal.
Null is what scikit-learn calls undefined: NaN, or an error.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.calibration import calibration_curve

FIXTURES = Path(__file__).parent / "fixtures"
SEED = 21
BINS = 15


def main() -> None:
    write_scores()
    write_curves()
    write_bootstrap()
    warnings.simplefilter("error")  # nothing undefined may slip in unseen
    warnings.filterwarnings("ignore", "A single label was found")  # `labels` is passed
    rng = np.random.default_rng(SEED)
    reference = {
        "seed": SEED,
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "single_label": dict(single_label_cases(rng)),
        "multi_label": dict(multi_label_cases(rng)),
    }
    write_cases("metrics.json", reference, ("single_label", "multi_label"))


# One class an example


def single_label_cases(rng: np.random.Generator):
    for classes, count in [(2, 40), (3, 60), (5, 101), (7, 150)]:
        yield f"random_{classes}_classes", drawn_single(rng, classes, count)
    yield "rare_class", drawn_single(rng, 4, 50, weights=[0.6, 0.3, 0.08, 0.02])
    certain = np.array([[1.0, 0.0], [1.0, 0.0], [0.25, 0.75]])  # the second is certain and wrong: its loss is cut off at -ln(2.2e-16)
    yield "probability_zero_of_the_true_class", single_label(np.array([0, 1, 1]), certain.argmax(axis=1), 2, certain)
    by_hand = {  # true classes, predicted classes, number of classes
        "one_example": ([1], [1], 2),
        "one_wrong_example": ([1], [0], 2),
        "perfect": ([0, 1, 2, 1, 0], [0, 1, 2, 1, 0], 3),
        "all_wrong": ([0, 1, 2, 1, 0], [1, 2, 0, 0, 2], 3),
        "never_predicted": ([0, 1, 2, 2, 1, 0, 2], [0, 0, 1, 1, 1, 0, 1], 3),
        "never_true": ([0, 1, 1, 0, 1, 0], [0, 2, 1, 0, 2, 1], 3),
        "neither_true_nor_predicted": ([0, 2, 2, 0, 2], [0, 2, 0, 0, 2], 3),
        "only_one_class_true": ([1, 1, 1, 1], [0, 1, 1, 2], 3),
        "only_one_class_predicted": ([0, 1, 2, 0], [2, 2, 2, 2], 3),
        "one_class_in_all": ([0, 0, 0], [0, 0, 0], 1),
    }
    for name, (true, predicted, classes) in by_hand.items():
        yield name, single_label(np.array(true), np.array(predicted), classes)


def drawn_single(rng: np.random.Generator, classes: int, count: int, weights: list[float] | None = None) -> dict:
    """Probabilities [examples, classes] that lean towards the true class, the prediction being the first largest."""
    true = rng.choice(classes, count, p=weights)
    towards = np.full((count, classes), 1 / classes) * 0.7 + np.eye(classes)[true] * 0.3
    probabilities = np.stack([rng.multinomial(64, rng.dirichlet(row * 4)) for row in towards]) / 64
    return single_label(true, probabilities.argmax(axis=1), classes, probabilities)


def single_label(true: np.ndarray, predicted: np.ndarray, classes: int, probabilities: np.ndarray | None = None) -> dict:
    labels = list(range(classes))
    case = {
        "classes": classes,
        "true": true.tolist(),
        "predicted": predicted.tolist(),
        "accuracy": metrics.accuracy_score(true, predicted),
        "confusion_matrix": metrics.confusion_matrix(true, predicted, labels=labels).tolist(),
        "classification_report": metrics.classification_report(
            true, predicted, labels=labels, target_names=names(classes), output_dict=True, zero_division=0
        ),
    }
    if probabilities is not None:
        case["probabilities"] = probabilities.tolist()
        case["log_loss"] = metrics.log_loss(true, probabilities, labels=labels)
    return case


# Any number of classes an example


def multi_label_cases(rng: np.random.Generator):
    for classes, count in [(2, 30), (4, 60), (9, 80)]:
        true = rng.random((count, classes)) < rng.uniform(0.15, 0.6, classes)
        scores = np.clip(np.round((0.25 + 0.4 * true + rng.normal(0, 0.25, true.shape)) * 64), 0, 64) / 64
        yield f"random_{classes}_classes", multi_label(true.astype(int), (scores >= 0.5).astype(int))
    by_hand = {
        "empty_truth_of_one_example": ([[0, 0, 0], [1, 0, 1], [0, 1, 0]], [[1, 0, 0], [1, 0, 0], [0, 1, 1]]),
        "empty_prediction_of_one_example": ([[1, 0, 0], [1, 0, 1], [0, 1, 0]], [[0, 0, 0], [1, 0, 1], [0, 1, 1]]),
        "both_empty_for_one_example": ([[0, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 0, 0], [1, 0, 0], [0, 0, 1]]),
        "nothing_predicted": ([[1, 0], [1, 1], [0, 1]], [[0, 0], [0, 0], [0, 0]]),
        "nothing_true": ([[0, 0], [0, 0], [0, 0]], [[1, 0], [0, 0], [1, 1]]),
        "nothing_at_all": ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        "everything": ([[1, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]),
        "class_never_true": ([[1, 0, 0], [1, 0, 1], [0, 0, 1]], [[1, 1, 0], [1, 0, 1], [0, 1, 0]]),
        "class_never_predicted": ([[1, 1, 0], [0, 1, 1], [1, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 0, 1]]),
        "one_example": ([[0, 1, 1]], [[1, 1, 0]]),
    }
    for name, (true, predicted) in by_hand.items():
        yield name, multi_label(np.array(true), np.array(predicted))


def multi_label(true: np.ndarray, predicted: np.ndarray) -> dict:
    """`true` and `predicted` are indicators [examples, classes]; accuracy asks for the whole set, each confusion matrix is [[tn, fp], [fn, tp]]."""
    classes = true.shape[1]
    case = {
        "classes": classes,
        "true": true.tolist(),
        "predicted": predicted.tolist(),
        "accuracy": metrics.accuracy_score(true, predicted),
        "hamming_loss": metrics.hamming_loss(true, predicted),
        "confusion_matrices": metrics.multilabel_confusion_matrix(true, predicted).tolist(),
        "classification_report": metrics.classification_report(
            true, predicted, labels=list(range(classes)), target_names=names(classes), output_dict=True, zero_division=0
        ),
    }
    return case


# Both


def names(classes: int) -> list[str]:
    return [f"class {chr(ord('a') + index)}" for index in range(classes)]


def cases_json(reference: dict, kinds: tuple[str, ...]) -> str:
    """Compact JSON with one case a line."""
    compact = lambda value: json.dumps(value, separators=(",", ":"))
    parts = [f"{compact(key)}:{compact(reference[key])}" for key in ("seed", "versions")]
    for kind in kinds:
        lines = ",\n".join(f"{compact(name)}:{compact(case)}" for name, case in reference[kind].items())
        parts.append(f"{compact(kind)}:{{\n{lines}\n}}")
    return "{" + ",\n".join(parts) + "}"


# Probabilities


def write_scores() -> None:
    warnings.simplefilter("ignore")  # what is undefined becomes null below
    rng = np.random.default_rng(SEED + 1)
    reference = {
        "seed": SEED + 1,
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "binary": dict(binary_cases(rng)),
        "single_label": dict(single_label_score_cases(rng)),
        "multi_label": dict(multi_label_score_cases(rng)),
    }
    write_cases("metrics_scores.json", reference, ("binary", "single_label", "multi_label"))


def write_cases(name: str, reference: dict, kinds: tuple[str, ...]) -> None:
    path = FIXTURES / name
    path.write_text(cases_json(reference, kinds) + "\n")
    print(f"{name}: { {kind: len(reference[kind]) for kind in kinds} }, {path.stat().st_size / 1000:.0f} kB")


def defined(metric, *args, **kwargs):
    """The value, or None where scikit-learn gives NaN or refuses."""
    try:
        value = float(metric(*args, **kwargs))
    except (ValueError, ZeroDivisionError):
        return None
    return value if np.isfinite(value) else None


def binary_cases(rng: np.random.Generator):
    for number in range(40):
        count = int(rng.integers(1, 40))
        true = (rng.random(count) < rng.uniform(0, 1)).astype(int)
        ties = int(rng.choice([2, 4, 16, 64]))
        yield f"random_{number}", binary(true, np.clip(np.round((0.3 + 0.3 * true + rng.normal(0, 0.3, count)) * ties), 0, ties) / ties)
    by_hand = {
        "one_positive_row": ([1], [0.25]),
        "one_negative_row": ([0], [0.25]),
        "all_positive": ([1, 1, 1], [0.25, 0.5, 0.5]),
        "no_positive": ([0, 0, 0], [0.25, 0.5, 0.5]),
        "all_tied": ([0, 1, 1, 0, 1], [0.5] * 5),
        "perfect": ([0, 0, 1, 1], [0, 0.25, 0.5, 1]),
        "reversed": ([1, 1, 0, 0], [0, 0.25, 0.5, 1]),
        "certain": ([0, 1, 0, 1], [0, 1, 1, 0]),
    }
    for name, (true, scores) in by_hand.items():
        yield name, binary(np.array(true), np.array(scores, dtype=float))


def binary(true: np.ndarray, scores: np.ndarray) -> dict:
    case = {
        "true": true.tolist(),
        "scores": scores.tolist(),
        "roc_auc": defined(metrics.roc_auc_score, true, scores),
        "average_precision": defined(metrics.average_precision_score, true, scores),
        "calibration": calibration(true, scores),
        "roc_curve": None,
        "precision_recall_curve": None,
    }
    if 0 < true.sum() < len(true):
        fpr, tpr, thresholds = metrics.roc_curve(true, scores)
        case["roc_curve"] = [fpr.tolist(), tpr.tolist(), [None, *thresholds[1:].tolist()]]
    if true.sum() > 0:
        precision, recall, thresholds = metrics.precision_recall_curve(true, scores, drop_intermediate=True)
        case["precision_recall_curve"] = [precision[::-1].tolist(), recall[::-1].tolist(), [None, *thresholds[::-1].tolist()]]
    return case


def calibration(true: np.ndarray, scores: np.ndarray) -> dict:
    """Bins of equal width that hold something, and the expected calibration error (Guo et al. 2017, equation 3)."""
    accuracy, confidence = calibration_curve(true, scores, n_bins=BINS)
    counts = np.bincount(np.clip(np.ceil(scores * BINS).astype(int) - 1, 0, None), minlength=BINS)
    counts = counts[counts > 0]
    error = float(np.sum(counts * np.abs(accuracy - confidence)) / len(true))
    return {"counts": counts.tolist(), "accuracy": accuracy.tolist(), "confidence": confidence.tolist(), "ece": error}


def single_label_score_cases(rng: np.random.Generator):
    for number in range(60):
        classes, count = int(rng.integers(2, 7)), int(rng.integers(1, 35))
        true = rng.choice(classes, count, p=rng.dirichlet(np.full(classes, rng.choice([0.3, 1, 10]))))  # classes are often absent
        towards = np.full((count, classes), 1 / classes) * 0.7 + np.eye(classes)[true] * 0.3
        parts = int(rng.choice([4, 16, 64]))
        yield f"random_{number}", scored(true, np.stack([rng.multinomial(parts, rng.dirichlet(row * 4)) for row in towards]) / parts, classes)
    thirds = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]
    by_hand = {
        "one_row": ([1], [[0.25, 0.5, 0.25]]),
        "one_wrong_row": ([1], [[0.5, 0.25, 0.25]]),
        "one_class_in_all": ([1, 1, 1], thirds),
        "absent_class": ([0, 1, 0, 1], [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.5, 0.5, 0]]),
        "perfect": ([0, 1, 2], thirds),
        "all_tied": ([0, 1, 2, 3], [[0.25] * 4] * 4),
        "certain_and_wrong": ([0, 1, 2], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
        "two_classes": ([0, 1, 1, 0], [[0.75, 0.25], [0.25, 0.75], [0.75, 0.25], [1, 0]]),
    }
    for name, (true, scores) in by_hand.items():
        yield name, scored(np.array(true), np.array(scores, dtype=float), len(scores[0]))


def scored(true: np.ndarray, scores: np.ndarray, classes: int) -> dict:
    labels = list(range(classes))
    predicted = scores.argmax(axis=1)
    indicator = np.eye(classes, dtype=int)[true]
    one_vs_rest = lambda average: defined(metrics.roc_auc_score, indicator, scores, average=average)
    one_vs_one = lambda average: defined(metrics.roc_auc_score, true, scores, multi_class="ovo", average=average, labels=labels)
    one_vs_one = one_vs_one if classes > 2 else (lambda average: defined(metrics.roc_auc_score, true, scores[:, 1]))
    top = lambda k: defined(metrics.top_k_accuracy_score, true, scores, k=k, labels=labels)
    return {
        "classes": classes,
        "true": true.tolist(),
        "scores": scores.tolist(),
        "log_loss": defined(metrics.log_loss, true, scores, labels=labels),
        "brier_score_loss": defined(metrics.brier_score_loss, true, scores, labels=labels),
        "matthews_corrcoef": defined(metrics.matthews_corrcoef, true, predicted),
        "cohen_kappa": defined(metrics.cohen_kappa_score, true, predicted, labels=labels),
        "balanced_accuracy": defined(metrics.balanced_accuracy_score, true, predicted),
        "top_k_accuracy": [top(k) for k in range(1, classes)] if classes > 2 else [],
        "roc_auc": one_vs_rest("macro"),
        "roc_auc_weighted": one_vs_rest("weighted"),
        "roc_auc_ovo": one_vs_one("macro"),
        "roc_auc_ovo_weighted": one_vs_one("weighted"),
        "calibration": calibration((predicted == true).astype(int), scores.max(axis=1)),
    } | ranking(indicator, scores)


def multi_label_score_cases(rng: np.random.Generator):
    for number in range(40):
        classes, count = int(rng.integers(2, 7)), int(rng.integers(1, 35))
        true = (rng.random((count, classes)) < rng.uniform(0, 1, classes)).astype(int)
        ties = int(rng.choice([2, 4, 16, 64]))
        yield f"random_{number}", multi_scored(true, np.clip(np.round((0.3 + 0.3 * true + rng.normal(0, 0.3, true.shape)) * ties), 0, ties) / ties)
    by_hand = {
        "one_row": ([[0, 1, 1]], [[0.5, 0.25, 0.75]]),
        "nothing_true": ([[0, 0], [0, 0]], [[0.5, 0.25], [0.75, 0.5]]),
        "everything_true": ([[1, 1], [1, 1]], [[0.5, 0.25], [0.75, 0.5]]),
        "nothing_at_all": ([[0, 0], [0, 0]], [[0, 0.25], [0.25, 0]]),
        "label_never_true": ([[1, 0], [0, 0], [1, 0]], [[0.5, 0.25], [0.25, 0.5], [0.75, 0.5]]),
        "all_tied": ([[1, 0, 1], [0, 1, 0]], [[0.5] * 3] * 2),
    }
    for name, (true, scores) in by_hand.items():
        yield name, multi_scored(np.array(true), np.array(scores, dtype=float))


def multi_scored(true: np.ndarray, scores: np.ndarray) -> dict:
    predicted = (scores >= 0.5).astype(int)
    jaccard = lambda average: defined(metrics.jaccard_score, true, predicted, average=average, zero_division=0)
    area = lambda average: defined(metrics.roc_auc_score, true, scores, average=average)
    over_labels = lambda metric: float(np.mean([metric(t, s) for t, s in zip(true.T, scores.T)]))
    return {
        "classes": true.shape[1],
        "true": true.tolist(),
        "scores": scores.tolist(),
        "jaccard": {average: jaccard(average) for average in ("samples", "macro", "micro", "weighted")},
        "label_ranking_average_precision": defined(metrics.label_ranking_average_precision_score, true, scores),
        "label_ranking_loss": defined(metrics.label_ranking_loss, true, scores),
        "log_loss": over_labels(lambda t, s: metrics.log_loss(t, s, labels=[0, 1])),
        "brier_score_loss": over_labels(lambda t, s: metrics.brier_score_loss(t, s, labels=[0, 1], pos_label=1)),
        "roc_auc": area("macro"),
        "roc_auc_weighted": area("weighted"),
        "calibration": calibration(true.ravel(), scores.ravel()),
    } | ranking(true, scores)


def ranking(indicator: np.ndarray, scores: np.ndarray) -> dict:
    """Area under the ROC curve and average precision of each label against the rest, and averages of the latter."""
    by_label = lambda metric: [defined(metric, t, s) for t, s in zip(indicator.T, scores.T)]
    average = lambda kind: defined(metrics.average_precision_score, indicator, scores, average=kind)
    return {
        "roc_auc_by_label": by_label(metrics.roc_auc_score),
        "average_precision_by_label": by_label(metrics.average_precision_score),
        "average_precision": average("macro"),
        "average_precision_micro": average("micro"),
        "average_precision_weighted": average("weighted"),
    }


# Curves


def write_curves() -> None:
    """Means of ROC and precision-recall curves as in scikit-learn's example of ROC for several classes, with NumPy's `interp`; F1 at every
    score; accuracy of the surest."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(SEED + 3)
    places = np.linspace(0, 1, 17)
    cases = {}
    for number in range(12):
        classes, count = int(rng.integers(2, 6)), int(rng.integers(8, 60))
        true = (rng.random((count, classes)) < rng.uniform(0.1, 0.6, classes)).astype(int)
        true[0], true[1] = 1, 0  # every label has both
        ties = int(rng.choice([4, 16, 64]))
        scores = np.clip(np.round((0.3 + 0.3 * true + rng.normal(0, 0.3, true.shape)) * ties), 0, ties) / ties
        roc = [metrics.roc_curve(t, s)[:2] for t, s in zip(true.T, scores.T)]
        recalls = [metrics.precision_recall_curve(t, s, drop_intermediate=True)[:2] for t, s in zip(true.T, scores.T)]
        thresholds = np.unique(scores[:, 0])
        surest = scores.max(axis=1)
        right = scores.argmax(axis=1) == true.argmax(axis=1)
        levels = np.unique(surest)[::-1]
        cases[f"random_{number}"] = {
            "true": true.tolist(),
            "scores": scores.tolist(),
            "places": places.tolist(),
            "mean_roc": np.mean([np.interp(places, fpr, tpr) for fpr, tpr in roc], axis=0).tolist(),
            "mean_precision": np.mean([np.interp(places, recall[::-1], precision[::-1]) for precision, recall in recalls], axis=0).tolist(),
            "thresholds": thresholds.tolist(),
            "f1": [metrics.f1_score(true[:, 0], scores[:, 0] >= threshold) for threshold in thresholds],
            "coverage": [float(np.mean(surest >= level)) for level in levels],
            "accuracy": [metrics.accuracy_score(np.ones(int((surest >= level).sum())), right[surest >= level]) for level in levels],
        }
    versions = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    write_cases("metrics_curves.json", {"seed": SEED + 3, "versions": versions, "multi_label": cases}, ("multi_label",))


# Intervals


def write_bootstrap() -> None:
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(SEED + 2)
    cases = {}
    for seed, classes, count, resamples in [(0, 2, 30, 200), (7, 4, 50, 300), (3, 3, 1, 20)]:
        true = rng.choice(classes, count)
        predicted = np.where(rng.random(count) < 0.6, true, rng.choice(classes, count))
        draws = [resample(seed, number, count) for number in range(resamples)]
        labels = list(range(classes))
        f1 = lambda average: [metrics.f1_score(true[d], predicted[d], labels=labels, average=average, zero_division=0) for d in draws]
        values = {
            "accuracy": [metrics.accuracy_score(true[d], predicted[d]) for d in draws],
            "macro_f1": f1("macro"),
            "weighted_f1": f1("weighted"),
            "balanced_accuracy": [metrics.balanced_accuracy_score(true[d], predicted[d]) for d in draws],
            "matthews_corrcoef": [metrics.matthews_corrcoef(true[d], predicted[d]) for d in draws],
        }
        cases[f"seed_{seed}"] = {
            "seed": seed,
            "classes": classes,
            "resamples": resamples,
            "true": true.tolist(),
            "predicted": predicted.tolist(),
            "intervals": {name: np.percentile(value, [2.5, 97.5]).tolist() for name, value in values.items()},
        }
    versions = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    write_cases("metrics_bootstrap.json", {"seed": SEED + 2, "versions": versions, "single_label": cases}, ("single_label",))


def resample(seed: int, number: int, rows: int) -> np.ndarray:
    """The rows that `metrics::bootstrap` draws: `Sequence` of crates/tensor/src/random.rs, in whole numbers."""
    key = combine(mix64(combine(seed, 0x626F_6F74)), number)
    return np.array([combine(key, drawn) * rows >> 64 for drawn in range(1, rows + 1)])


WORD = (1 << 64) - 1


def mix64(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB & WORD
    return value ^ value >> 31


def combine(key: int, number: int) -> int:
    return mix64((key ^ number) + 0x9E3779B97F4A7C15 & WORD)


if __name__ == "__main__":
    main()
