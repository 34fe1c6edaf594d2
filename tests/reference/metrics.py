"""What scikit-learn answers on small random and edge cases: fixtures/metrics.json.

Usage: python tests/reference/metrics.py

Scores are multiples of 1/64, so that rows sum to exactly 1, ties occur, and every number is exact in binary and short in decimal.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics

OUTPUT = Path(__file__).parent / "fixtures" / "metrics.json"
SEED = 21


def main() -> None:
    warnings.simplefilter("error")  # nothing undefined may slip in unseen
    warnings.filterwarnings("ignore", "A single label was found")  # `labels` is passed
    rng = np.random.default_rng(SEED)
    reference = {
        "seed": SEED,
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "single_label": dict(single_label_cases(rng)),
        "multi_label": dict(multi_label_cases(rng)),
    }
    OUTPUT.write_text(cases_json(reference) + "\n")
    counts = {kind: len(reference[kind]) for kind in ("single_label", "multi_label")}
    print(f"metrics.json: {counts}, {OUTPUT.stat().st_size / 1000:.0f} kB")


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
        case |= ranking(np.eye(classes, dtype=int)[true], probabilities)
    return case


# Any number of classes an example


def multi_label_cases(rng: np.random.Generator):
    for classes, count in [(2, 30), (4, 60), (9, 80)]:
        true = rng.random((count, classes)) < rng.uniform(0.15, 0.6, classes)
        scores = np.clip(np.round((0.25 + 0.4 * true + rng.normal(0, 0.25, true.shape)) * 64), 0, 64) / 64
        yield f"random_{classes}_classes", multi_label(true.astype(int), (scores >= 0.5).astype(int), scores)
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


def multi_label(true: np.ndarray, predicted: np.ndarray, scores: np.ndarray | None = None) -> dict:
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
    if scores is not None:
        case["probabilities"] = scores.tolist()
        case |= ranking(true, scores)
    return case


# Both


def names(classes: int) -> list[str]:
    return [f"class {chr(ord('a') + index)}" for index in range(classes)]


def ranking(indicator: np.ndarray, scores: np.ndarray) -> dict:
    """Area under the ROC curve and average precision of each class against the rest; null where a class has no positive or no negative."""
    defined = [0 < column.sum() < len(column) for column in indicator.T]
    by_class = lambda metric: [float(metric(t, s)) if ok else None for t, s, ok in zip(indicator.T, scores.T, defined)]
    return {"roc_auc_by_class": by_class(metrics.roc_auc_score), "average_precision_by_class": by_class(metrics.average_precision_score)}


def cases_json(reference: dict) -> str:
    """Compact JSON with one case a line."""
    compact = lambda value: json.dumps(value, separators=(",", ":"))
    parts = [f"{compact(key)}:{compact(reference[key])}" for key in ("seed", "versions")]
    for kind in ("single_label", "multi_label"):
        lines = ",\n".join(f"{compact(name)}:{compact(case)}" for name, case in reference[kind].items())
        parts.append(f"{compact(kind)}:{{\n{lines}\n}}")
    return "{" + ",\n".join(parts) + "}"


if __name__ == "__main__":
    main()
