"""What the comparisons with other software have in common: one model and one set of texts for all sides, processes, spreads, and what is told of the machine."""

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data"))
MAX_LENGTH = 128
LABELS = ["no", "yes"]
SEED = 17
SHAPES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "bert-base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}


class Failed(Exception):
    """A side could not do what it was asked; the message says why, at length."""

    def reason(self) -> str:
        """One line of it: the last that speaks of an error, or the last."""
        lines = [line.strip() for line in str(self).splitlines() if line.strip()]
        return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--shape", choices=SHAPES, default="minilm", help="a BERT of this shape with random weights")
    model.add_argument("--model", type=Path, help="a checkpoint with its tokenizer instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="write the JSON here too")


def chosen_for(args: argparse.Namespace, defaults: dict):
    """The default of the shape; a checkpoint that was named is taken for one of BERT-base's size."""
    return defaults["bert-base" if args.model else args.shape]


# Workloads


def lengths_s1(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.full(count, MAX_LENGTH)


def lengths_s2(count: int, rng: np.random.Generator) -> np.ndarray:
    """Log-normal lengths; the location is found by bisection so that these very lengths have a mean of 29."""
    normal = rng.normal(0, 0.7, count)
    lengths_at = lambda location: np.clip(np.round(np.exp(location + normal)), 5, MAX_LENGTH).astype(int)
    low, high = 0.0, 6.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if lengths_at(middle).mean() < 29 else (low, middle)
    return lengths_at(low)


WORKLOADS = {"S1": lengths_s1, "S2": lengths_s2}


def write_data(path: Path, tokenizer, lengths: np.ndarray, rng: np.random.Generator) -> int:
    """A csv of random words where text i has exactly `lengths[i]` tokens, special ones included; returns the number of tokens."""
    words, special = whole_words(tokenizer), tokenizer.num_special_tokens_to_add()
    texts = [" ".join(rng.choice(words, length - special)) for length in lengths]
    counted = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert counted == lengths.tolist(), "a text has another number of tokens than meant"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(texts, rng.choice(LABELS, len(texts))))
    return sum(counted)


def whole_words(tokenizer, at_most: int = 2000) -> list[str]:
    """Words that are one token each, wherever they stand."""
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    candidates = [word for word in (token.lstrip("Ġ▁") for token in vocabulary) if len(word) > 2 and word.isalpha() and word.islower()]
    candidates = list(dict.fromkeys(candidates))[: 4 * at_most]
    encoded = tokenizer([f"{word} {word}" for word in candidates], add_special_tokens=False)["input_ids"]
    words = [word for word, ids in zip(candidates, encoded) if len(ids) == 2 and ids[0] == ids[1]]
    return words[:at_most]


def read_examples(data: str | Path, tokenizer) -> list[tuple[list[int], int]]:
    """Token ids and the number of the label, of each row."""
    with open(data, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return [(ids, LABELS.index(row["label"])) for ids, row in zip(encoded, rows)]


def write_model(args: argparse.Namespace, folder: Path, **config_values):
    """Saves the model that all sides start from, head included, with its tokenizer; returns the tokenizer. The values are for a model with random weights."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(SEED)
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    if args.model:
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(args.model, **names, ignore_mismatched_sizes=True)
    else:
        vocabulary = DATA / "tokenizers" / "bert-base-uncased" / "vocab.txt"
        tokenizer = transformers.BertTokenizer(vocab=str(vocabulary), do_lower_case=True)
        config = transformers.BertConfig(vocab_size=len(tokenizer), **SHAPES[args.shape], **names, **config_values)
        model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


# Processes


def run_json(command: list, threads: int, environment: dict[str, str] | None = None) -> dict:
    """Runs a program with so many threads; its standard output is one JSON object."""
    return json.loads(run(command, threads, environment))


def run(command: list, threads: int, environment: dict[str, str] | None = None) -> str:
    """Runs a program with so many threads; returns its standard output."""
    held = {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"} | (environment or {})
    try:
        finished = subprocess.run([str(part) for part in command], env=os.environ | held, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from error
    if finished.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    return finished.stdout


def resident_bytes(which: str = "VmRSS") -> int:
    """Memory of this process; `VmHWM` is its peak. (`getrusage` would count what the parent had when this process was started.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which + ":"):
            return int(line.split()[1]) * 1024
    raise Failed(f"/proc/self/status has no {which}")


# Report


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def shown(values: dict[str, float], digits: int = 2) -> str:
    """A spread in a cell of a table."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}..{values['max']:.{digits}f})"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def write_report(args: argparse.Namespace, table: str, report: dict) -> None:
    text = json.dumps(report, indent=1)
    print(table, "", text, sep="\n")
    if args.output:
        args.output.write_text(text + "\n")


def settings(args: argparse.Namespace, hidden: set[str]) -> dict:
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items() if key not in hidden | {"output"}}


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.processor(), "cpus": len(os.sched_getaffinity(0)), "system": platform.platform()}


def versions(gareum: Path, *packages: str) -> dict[str, str]:
    """Of Python, and of gareum and those packages that are here."""
    found = {"python": platform.python_version()}
    if gareum.exists():
        found["gareum"] = run([gareum, "--version"], 1).strip()
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
