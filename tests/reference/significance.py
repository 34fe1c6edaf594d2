"""What statsmodels and scikit-learn say on whether one of two is better: fixtures/significance.json.

Usage: python tests/reference/significance.py
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
import statsmodels
from metrics import resample
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

FIXTURE = Path(__file__).parent / "fixtures" / "significance.json"
SEED = 5


def main() -> None:
    warnings.simplefilter("ignore")  # a class that a draw leaves out
    rng = np.random.default_rng(SEED)
    pairs = [(0, 1), (1, 1), (0, 5), (3, 9), (10, 10), (8, 30), (100, 140), (500, 620), (3000, 3100), (0, 40)]
    pairs += [tuple(int(count) for count in rng.integers(0, 200, 2)) for _ in range(20)]
    fixture = {
        "versions": {"statsmodels": statsmodels.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "mcnemar": [[*pair, float(mcnemar([[0, pair[0]], [pair[1], 0]], exact=True).pvalue)] for pair in pairs],
        "holm": [holm(rng.random(count) ** 3) for count in (1, 2, 3, 5, 10, 10)] + [holm(np.array([0.01, 0.01, 0.5]))],
        "differences": [differences(rng, *case) for case in [(0, 2, 40, 200), (4, 5, 60, 300)]],
    }
    FIXTURE.write_text(json.dumps(fixture, indent=1) + "\n")


def holm(values: np.ndarray) -> list:
    return [values.tolist(), multipletests(values, method="holm")[1].tolist()]


def differences(rng: np.random.Generator, seed: int, classes: int, count: int, resamples: int) -> dict:
    true = rng.choice(classes, count)
    first, second = (np.where(rng.random(count) < right, true, rng.choice(classes, count)) for right in (0.5, 0.7))
    labels = list(range(classes))
    figures = {
        "accuracy": metrics.accuracy_score,
        "macro_f1": lambda true, predicted: metrics.f1_score(true, predicted, labels=labels, average="macro", zero_division=0),
        "matthews_corrcoef": metrics.matthews_corrcoef,
    }
    draws = [resample(seed, number, count) for number in range(resamples)]
    expected = {}
    for name, figure in figures.items():
        difference = lambda rows: figure(true[rows], second[rows]) - figure(true[rows], first[rows])
        values = np.array([difference(rows) for rows in draws])
        rarer = min((values <= 0).sum(), (values >= 0).sum())
        low, high = np.percentile(values, [2.5, 97.5]).tolist()
        p_value = min(1.0, 2 * (int(rarer) + 1) / (resamples + 1))
        expected[name] = {"value": float(difference(np.arange(count))), "low": low, "high": high, "p_value": p_value}
    lists = {name: ids.tolist() for name, ids in (("true", true), ("first", first), ("second", second))}
    return {"seed": seed, "classes": classes, "resamples": resamples, **lists, "expected": expected}


if __name__ == "__main__":
    main()
