"""A training step with adapters beside one of the whole model: `gareum bench --training` on a BERT with random weights, in turns.

    pip install -r tests/reference/requirements.txt
    python bench/lora.py --gareum target/release/gareum [--shape bert-base] [--rounds 3] [--precision bf16]

Batches are 8 texts of 128 tokens. Adapters have rank 16 and dropout 0.1, on every product of the encoder (`all-linear`) and on queries and values (`default`).
The ratio is a median of ratios within a round: above 1, the step with adapters is faster. Memory is that of tensors in the steps.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from comparison import SEED, WORKLOADS, add_common_arguments, machine, markdown, run_json, settings, shown, spread, versions, write_data
from comparison import write_model, write_report

TEXTS = 64
TARGETS = {"all-linear": '"all-linear"', "default": '"default"'}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--precision", default="auto")
    parser.set_defaults(shape="bert-base", batch_size=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write_model(args, work / "base")
        rng = np.random.default_rng(SEED)
        write_data(work / "texts.csv", tokenizer, WORKLOADS["S1"](TEXTS, rng), rng)
        directories = {"full": work / "base"} | {name: make_adapter(args, work, name, targets) for name, targets in TARGETS.items()}
        rounds = [{name: measure(args, work, directory) for name, directory in directories.items()} for _ in range(args.rounds)]
    rows = []
    for name in directories:
        steps = spread([one[name]["training"]["step_ms"] for one in rounds])
        ratio = spread([one["full"]["training"]["step_ms"] / one[name]["training"]["step_ms"] for one in rounds])
        memory = statistics.median(one[name]["training"]["peak_tensor_bytes"] for one in rounds)
        rows.append([name, shown(steps, 0), shown(ratio), f"{memory / 2**20:.0f} MiB"])
    table = markdown(["trained", "ms a step", "times as fast", "tensors"], rows)
    report = {"machine": machine(), "versions": versions(args.gareum, "torch"), "settings": settings(args, set()), "rounds": rounds}
    write_report(args, table, report)


def make_adapter(args: argparse.Namespace, work: Path, name: str, targets: str) -> Path:
    """An adapter of a run of one step."""
    directory = work / name
    values = {"lora.targets": targets, "train.max_steps": 1, "train.batch_size": args.batch_size, "train.save_total_limit": 0, "data.split": "[0.8, 0.1, 0.1]"}
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    command = [args.gareum, "train", "--quiet", "--model", work / "base", "--train", work / "texts.csv", "--reset-head", "--output", directory, *sets]
    finished = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if finished.returncode:
        sys.exit(finished.stderr)
    return directory


def measure(args: argparse.Namespace, work: Path, directory: Path) -> dict:
    command = [args.gareum, "bench", "--quiet", "--json", "--training", "--model", directory, "--batch-size", args.batch_size, "--rounds", 1]
    command += ["--precision", args.precision, "--input", work / "texts.csv", "--text", "text"]
    return run_json(command, args.threads)


if __name__ == "__main__":
    main()
