"""What PyTorch makes of the losses that training may use: fixtures/losses.json.

Usage: python tests/reference/losses.py

Cross-entropy with weights of classes and label smoothing, binary cross-entropy with weights of positives and smoothed targets, and the focal loss of both, each with its
gradient in float64. The focal losses are written out here, since PyTorch has none. Beside them, the losses of a student with a teacher, where the last rows have no labels.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

OUTPUT = Path(__file__).parent / "fixtures" / "losses.json"
ROWS, LABELS = 5, 4
WEIGHTS = [0.5, 2.0, 1.0, 3.5]
OPTIONS = [  # weights, label smoothing, gamma
    (False, 0.0, 0.0),
    (True, 0.0, 0.0),
    (False, 0.1, 0.0),
    (True, 0.2, 0.0),
    (False, 0.0, 2.0),
    (True, 0.0, 0.5),
]
TAUGHT = [  # temperature, weight of the teacher, weights of labels, rows with labels
    (1.0, 0.5, False, 5),
    (2.0, 0.5, False, 5),
    (3.0, 0.9, True, 5),
    (2.0, 1.0, False, 5),
    (2.0, 0.3, True, 3),
    (2.0, 0.3, False, 0),
]


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(23)
    logits = rng.normal(0, 2, (ROWS, LABELS))
    classes = rng.integers(0, LABELS, ROWS)
    indicators = rng.integers(0, 2, (ROWS, LABELS)).astype(np.float64)
    cases = []
    for has_weights, smoothing, gamma in OPTIONS:
        weights = torch.tensor(WEIGHTS if has_weights else [1.0] * LABELS, dtype=torch.float64)
        options = {"class_weights": WEIGHTS if has_weights else [], "label_smoothing": smoothing, "focal_gamma": gamma}
        single = lambda x: single_label(x, torch.tensor(classes), weights, smoothing, gamma)
        several = lambda x: multi_label(x, torch.tensor(indicators), weights, smoothing, gamma)
        cases.append(options | {"single_label": solved(single, logits), "multi_label": solved(several, logits)})
    # Answers of a teacher and numbers are kept in f32.
    teacher = rng.normal(0, 3, (ROWS, LABELS)).astype(np.float32).astype(np.float64)
    values = rng.normal(0, 2, (ROWS, 1)).astype(np.float32).astype(np.float64)
    taught = []
    for temperature, weight, has_weights, labelled in TAUGHT:
        weights = torch.tensor(WEIGHTS if has_weights else [1.0] * LABELS, dtype=torch.float64)
        student = lambda labels, task: lambda x: distilled(x, torch.tensor(teacher), labels, task, temperature, weight, labelled)
        single = lambda x, n: single_label(x, torch.tensor(classes[:n]), weights, 0.0, 0.0)
        several = lambda x, n: multi_label(x, torch.tensor(indicators[:n]), weights, 0.0, 0.0)
        number = lambda x, n: functional.mse_loss(x, torch.tensor(values[:n]))
        options = {"temperature": temperature, "weight": weight, "class_weights": WEIGHTS if has_weights else [], "labelled": labelled}
        taught.append(
            options
            | {
                "single_label": solved(student(single, "single_label"), logits),
                "multi_label": solved(student(several, "multi_label"), logits),
                "regression": solved(student(number, "regression"), logits[:, :1]),
            }
        )
    # What two heads get, of which the student's is changed; it counts half.
    width, weight = 4, 0.5
    features = rng.normal(0, 1, (ROWS, width))
    of_teacher = rng.normal(0, 1, (ROWS, width)).astype(np.float32).astype(np.float64)
    hidden = {"features": features.tolist(), "teacher": of_teacher.tolist(), "weight": weight}
    hidden |= solved(lambda x: weight * functional.mse_loss(x, torch.tensor(of_teacher)), features)
    fixture = {"logits": logits.tolist(), "classes": classes.tolist(), "indicators": indicators.tolist(), "cases": cases}
    fixture |= {"teacher": teacher.tolist(), "values": values.tolist(), "taught": taught, "hidden": hidden}
    OUTPUT.write_text(json.dumps(fixture) + "\n")
    print(f"{OUTPUT.name}: {len(cases)} and {len(taught)} cases, {OUTPUT.stat().st_size / 1000:.0f} kB")


def distilled(logits, teacher, labels, task, temperature, weight, labelled):
    teacher = teacher[:, : logits.shape[1]]
    if task == "single_label":
        costs = functional.kl_div(
            (logits / temperature).log_softmax(-1), (teacher / temperature).log_softmax(-1), reduction="none", log_target=True
        )
        costs = temperature**2 * costs.sum(-1)
    elif task == "multi_label":
        costs = functional.binary_cross_entropy_with_logits(logits / temperature, (teacher / temperature).sigmoid(), reduction="none")
        costs = temperature**2 * costs.mean(-1)
    else:
        costs = functional.mse_loss(logits, teacher, reduction="none").mean(-1)
    total = weight * costs[:labelled].sum() + costs[labelled:].sum()
    if labelled > 0:
        total = total + (1 - weight) * labelled * labels(logits[:labelled], labelled)
    return total / len(logits)


def single_label(logits, classes, weights, smoothing, gamma):
    if gamma == 0:
        return functional.cross_entropy(logits, classes, weight=weights, label_smoothing=smoothing)
    p = logits.softmax(-1)[torch.arange(len(classes)), classes]
    return (weights[classes] * -((1 - p) ** gamma) * p.log()).sum() / weights[classes].sum()


def multi_label(logits, targets, weights, smoothing, gamma):
    if gamma == 0:
        targets = targets * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    q = torch.where(targets > 0, logits.sigmoid(), (-logits).sigmoid())
    return (torch.where(targets > 0, weights, 1.0) * -((1 - q) ** gamma) * q.log()).mean()


def solved(loss, logits: np.ndarray) -> dict:
    values = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    found = loss(values)
    found.backward()
    return {"loss": found.item(), "gradient": values.grad.tolist()}


if __name__ == "__main__":
    main()
