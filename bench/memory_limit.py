"""Training BERT-base within a limit of memory: the peak of the whole process, and the losses beside those of a run without the limit.

    pip install -r tests/reference/requirements.txt
    python bench/memory_limit.py --gareum target/release/gareum [--memory 2.5GiB] [--shape bert-base] [--batch-size 64] [--steps 3]

Every text is exactly 128 tokens; an evaluation follows each step, so that the best weights are kept beside those that are trained. The peak is the largest resident set that the system saw (VmHWM), program, tokenizer, data, evaluation and checkpoint included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from train_vs_transformers import MAX_LENGTH, PROJECT, SEED, SHAPES, lengths_s1, write_data, write_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--shape", choices=SHAPES, default="bert-base", help="a BERT of this shape with random weights")
    parser.add_argument("--memory", default="2.5GiB")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--gareum-set", action="append", default=[], metavar="KEY=VALUE", help="further settings for gareum train")
    parser.add_argument("--skip-whole", action="store_true", help="only the run with the limit")
    args = parser.parse_args()
    args.model = None
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write_model(args, work / "model")
        rng = np.random.default_rng(SEED)
        # Validation rows too: the best weights are kept beside the others then.
        for name, count in (("train", args.steps * args.batch_size), ("validation", 16), ("test", 16)):
            write_data(work / f"{name}.csv", tokenizer, lengths_s1(count, rng), rng)
        limited = train(args, work, ["--memory", args.memory])
        runs = {"limited": limited} if args.skip_whole else {"limited": limited, "whole": train(args, work, [])}
    for name, run in runs.items():
        print(
            f"{name}: peak {run['peak_memory_bytes'] / 2**30:.2f} GiB, {run['micro_batch_tokens']} tokens at a time, "
            f"computed again: {run['checkpoint_activations']}, {run['train_samples_per_second']:.2f} examples/s"
        )
    if not args.skip_whole:
        pairs = list(zip(runs["whole"]["losses"], limited["losses"], strict=True))
        print(f"largest relative difference of a loss or gradient norm: {max(abs(whole - part) / abs(whole) for whole, part in pairs):.1e}")
    print(json.dumps({"memory": args.memory, "batch_size": args.batch_size, "shape": args.shape} | runs, indent=1))


def train(args: argparse.Namespace, work: Path, more: list[str]) -> dict:
    output = work / f"trained{len(more)}"
    settings = [f"train.batch_size={args.batch_size}", f"train.max_steps={args.steps}", f"model.max_length={MAX_LENGTH}", "train.logging_steps=1", "train.eval_steps=1", *args.gareum_set]
    command = [args.gareum, "train", "--model", work / "model", "--output", output, "--text", "text", "--label", "label", "--json", *more]
    command += [part for name in ("train", "validation", "test") for part in (f"--{name}", work / f"{name}.csv")]
    command += [part for setting in settings for part in ("--set", setting)]
    finished = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    log = json.loads((output / "trainer_state.json").read_text())["log_history"]
    losses = [entry[key] for entry in log for key in ("loss", "grad_norm", "eval_loss") if key in entry]
    return json.loads(finished.stdout) | {"losses": losses}


if __name__ == "__main__":
    main()
