"""Occlusion by gareum beside a PyTorch loop, and what its words are worth: the deletion curve.

    pip install -r tests/reference/requirements.txt
    python bench/explain.py --gareum target/release/gareum --model DIR [--parts speed deletion] [--texts 200] [--rounds 3] [--svg FILE]

DIR is a model that gareum or transformers saved, fine-tuned on banking77; texts are drawn from its test file, found by GAREUM_TEST_DATA.

Speed: the score of every word of every text. PyTorch's loop puts each variant of each text through the model alone, as such loops are written; beside it stands one
that takes all variants of a text as a batch (they have equally many tokens, so nothing is padded). gareum packs the variants of many texts. All in f32 and on the
same threads, in a process each, in turn; gareum also in what the model was trained in. Timed: tokenising and computing, not loading. What both say must agree.

Deletion: words are taken out of the text, the strongest first, and `gareum predict` says what is left of the probability of the label it gave to the whole text. The
sooner it falls, the better the order; beside the three methods stand random orders and occlusion's the other way round. A text's area is the mean of its curve
over the shares taken out. Intervals are paired bootstraps over the texts, of the difference to random orders.

Prints tables, then JSON. Exit status 1 if what gareum and PyTorch say differs by more than 1e-4 (both are f32).
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from comparison import DATA, machine, settings, versions, write_report

PROJECT = Path(__file__).resolve().parents[1]
SEED = 17
METHODS = ("occlusion", "integrated-gradients", "gradient-input")
RANDOM_ORDERS = 5
SHARES = [step / 10 for step in range(11)]
LARGEST_DIFFERENCE = 1e-4
PEERS = {"one at a time": 1, "a text's variants as a batch": None}


def main() -> int:
    args = arguments()
    if args.run_torch:
        print(json.dumps(run_torch(json.loads(args.run_torch))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        texts = draw_texts(args)
        write_texts(work / "texts.jsonl", texts)
        parts = {name: measure(args, work, texts) for name, (measure, _) in PARTS.items() if name in args.parts}
    if args.svg and "deletion" in parts:
        args.svg.write_text(drawing(parts["deletion"]["curves"]))
    report = {"machine": machine(), "versions": versions(args.gareum, "torch", "transformers", "numpy"), "settings": settings(args, {"run_torch"})}
    write_report(args, "\n\n".join(PARTS[name][1](found) for name, found in parts.items()), report | parts)
    difference = parts.get("speed", {}).get("largest_difference", 0)
    if difference > LARGEST_DIFFERENCE:
        print(f"DIFFERENT: probabilities by {difference:.1e}", file=sys.stderr)
        return 1
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=["speed", "deletion"], default=["speed", "deletion"])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--svg", type=Path, help="draw the deletion curve here")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    parser.add_argument("--run-torch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.gareum, args.model = args.gareum.resolve(), args.model.resolve()
    return args


def draw_texts(args: argparse.Namespace) -> list[str]:
    with open(DATA / "banking77" / "test.csv", encoding="utf-8", newline="") as file:
        texts = [row["text"].strip() for row in csv.DictReader(file)]
    return [texts[at] for at in sorted(np.random.default_rng(SEED).choice(len(texts), args.texts, replace=False))]


def write_texts(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def gareum(args: argparse.Namespace, *command: str) -> str:
    done = subprocess.run([args.gareum, *command, "--threads", str(args.threads)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# Speed


def explain(args: argparse.Namespace, work: Path, method: str = "occlusion", precision: str = "f32") -> tuple[float, list[dict]]:
    """Seconds and explanations."""
    output = work / f"{method}-{precision}.jsonl"
    command = ["explain", "--quiet", "--json", "--model", str(args.model), "--input", str(work / "texts.jsonl"), "--method", method]
    printed = gareum(args, *command, "--precision", precision, "--output", str(output))
    return json.loads(printed)["seconds"], read_lines(output)


def measure_speed(args: argparse.Namespace, work: Path, texts: list[str]) -> dict:
    seconds: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    largest = 0.0
    for round_number in range(args.rounds):
        for name, batch in list(PEERS.items())[:: 1 if round_number % 2 else -1]:
            before, explanations = explain(args, work)
            call = {"model": str(args.model), "texts": texts, "batch": batch, "threads": args.threads}
            found = subprocess.run([sys.executable, __file__, "--model", "x", "--run-torch", json.dumps(call)], capture_output=True, text=True)
            if found.returncode:
                sys.exit(found.stderr)
            peer = json.loads(found.stdout)
            after, _ = explain(args, work)
            auto, _ = explain(args, work, precision="auto")
            for side, value in {"gareum f32": (before + after) / 2, "gareum auto": auto, f"PyTorch f32, {name}": peer["seconds"]}.items():
                seconds.setdefault(side, []).append(value)
            ratios.setdefault(name, []).append(peer["seconds"] / ((before + after) / 2))
            ratios.setdefault(f"{name} (auto)", []).append(peer["seconds"] / auto)
            for explanation, scores in zip(explanations, peer["without"]):
                words = explanation["maps"][0]["words"]
                assert len(words) == len(scores), explanation["text"]
                largest = max([largest, *(abs(word["probability"] - score) for word, score in zip(words, scores))])
    words = sum(len(text.split()) for text in texts)
    return {"texts": len(texts), "words": words, "seconds": seconds, "ratios": ratios, "largest_difference": largest}


def run_torch(call: dict) -> dict:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(call["threads"])
    model = AutoModelForSequenceClassification.from_pretrained(call["model"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(call["model"])
    described = json.loads((Path(call["model"]) / "gareum.json").read_text())
    max_length, temperature = described["settings"]["model"]["max_length"], described["decision"].get("temperature", 1.0)

    def occlude(text: str) -> list[float]:
        encoded = tokenizer(text, truncation=True, max_length=max_length, return_offsets_mapping=True)
        ids, offsets = torch.tensor(encoded["input_ids"]), encoded["offset_mapping"]
        variants = [ids]
        end = 0
        for word in text.split():
            start = text.index(word, end)
            end = start + len(word)
            variant = ids.clone()
            for token, (first, last) in enumerate(offsets):
                if first < end and start < last:
                    variant[token] = tokenizer.mask_token_id
            variants.append(variant)
        size = call["batch"] or len(variants)
        probabilities = []
        for at in range(0, len(variants), size):
            batch = torch.stack(variants[at : at + size])
            probabilities.append(model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits.div(temperature).softmax(-1))
        probabilities = torch.cat(probabilities)
        return probabilities[1:, probabilities[0].argmax()].tolist()

    with torch.inference_mode():
        for text in call["texts"][:10]:
            occlude(text)
        start = time.perf_counter()
        without = [occlude(text) for text in call["texts"]]
        return {"seconds": time.perf_counter() - start, "without": without}


# Deletion


def measure_deletion(args: argparse.Namespace, work: Path, texts: list[str]) -> dict:
    rng = np.random.default_rng(SEED)
    words = [text.split() for text in texts]
    orders: dict[str, list[list[int]]] = {}
    for method in METHODS:
        _, explanations = explain(args, work, method)
        scores = [[word["score"] for word in explanation["maps"][0]["words"]] for explanation in explanations]
        orders[method] = [np.argsort(-np.array(row), kind="stable").tolist() for row in scores]
    orders["occlusion, weakest first"] = [order[::-1] for order in orders["occlusion"]]
    for number in range(RANDOM_ORDERS):
        orders[f"random {number}"] = [rng.permutation(len(row)).tolist() for row in words]
    curves = {name: curve(args, work, words, order) for name, order in orders.items()}
    random = np.mean([curves.pop(f"random {number}") for number in range(RANDOM_ORDERS)], axis=0)
    curves["random"] = random
    areas = {name: each.mean(axis=1) for name, each in curves.items()}
    draws = rng.integers(len(texts), size=(10_000, len(texts)))

    def against_random(name: str) -> dict:
        difference = areas[name] - areas["random"]
        low, high = np.quantile(difference[draws].mean(axis=1), [0.025, 0.975])
        return {"area": float(areas[name].mean()), "difference": float(difference.mean()), "interval": [float(low), float(high)]}

    return {
        "shares": SHARES,
        "curves": {name: each.mean(axis=0).tolist() for name, each in curves.items()},
        "areas": {name: against_random(name) for name in curves},
    }


def curve(args: argparse.Namespace, work: Path, words: list[list[str]], orders: list[list[int]]) -> np.ndarray:
    """`[texts, shares]`: the probability of the whole text's label when a share of its words is gone."""
    rows = []
    for row, order in zip(words, orders):
        assert len(row) == len(order), row
        for share in SHARES:
            gone = set(order[: round(share * len(row))])
            rows.append(" ".join(word for at, word in enumerate(row) if at not in gone))
    # A row without any text would get no label.
    write_texts(work / "deleted.jsonl", [text or "." for text in rows])
    gareum(args, "predict", "--quiet", "--model", str(args.model), "--input", str(work / "deleted.jsonl"), "--precision", "f32", "--output", str(work / "out.jsonl"))
    scores = [line["scores"] for line in read_lines(work / "out.jsonl")]
    curves = []
    for at in range(0, len(scores), len(SHARES)):
        label = max(scores[at], key=scores[at].get)
        curves.append([row[label] for row in scores[at : at + len(SHARES)]])
    return np.array(curves)


# Shown


def table_of_speed(speed: dict) -> str:
    lines = [f"{speed['texts']} texts, {speed['words']} words; largest difference of a probability {speed['largest_difference']:.1e}", ""]
    lines += ["| | seconds | texts/s |", "|---|--:|--:|"]
    for name, values in speed["seconds"].items():
        middle = statistics.median(values)
        lines.append(f"| {name} | {middle:.2f} ({min(values):.2f} to {max(values):.2f}) | {speed['texts'] / middle:.0f} |")
    lines += ["", "| PyTorch's time over gareum's | |", "|---|--:|"]
    for name, values in speed["ratios"].items():
        lines.append(f"| {name} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) |")
    return "\n".join(lines)


def table_of_deletion(deletion: dict) -> str:
    shown = [0, 1, 2, 3, 5, 7, 10]
    lines = ["| words taken out | " + " | ".join(f"{100 * SHARES[at]:.0f} %" for at in shown) + " | area | against random |"]
    lines.append("|---|" + "--:|" * (len(shown) + 2))
    for name, values in deletion["curves"].items():
        area = deletion["areas"][name]
        low, high = area["interval"]
        against = "" if name == "random" else f"{area['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(f"| {name} | " + " | ".join(f"{values[at]:.3f}" for at in shown) + f" | {area['area']:.3f} | {against} |")
    return "\n".join(lines)


COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#6b7480")


def drawing(curves: dict[str, list[float]]) -> str:
    """The curves as a picture for light and dark pages."""
    width, height, left, bottom, side = 560, 300, 46, 34, 190
    across = lambda share: left + share * (width - left - side)
    down = lambda value: 12 + (1 - value) * (height - 12 - bottom)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12" fill="#7a848f">']
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path d="M{left} {down(value):.1f}H{across(1):.1f}" stroke="#7a848f" stroke-opacity=".3"/>')
        parts.append(f'<text x="{left - 6}" y="{down(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for share in (0, 0.5, 1):
        parts.append(f'<text x="{across(share):.1f}" y="{height - bottom + 18}" text-anchor="middle">{100 * share:.0f} %</text>')
    parts.append(f'<text x="{across(0.5):.1f}" y="{height - 2}" text-anchor="middle">words taken out</text>')
    for number, (name, values) in enumerate(curves.items()):
        points = " ".join(f"{across(share):.1f},{down(value):.1f}" for share, value in zip(SHARES, values))
        dashes = ' stroke-dasharray="6 4"' if name == "random" else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[number]}" stroke-width="2"{dashes}/>')
        y = 30 + 20 * number
        parts.append(f'<path d="M{across(1) + 14:.1f} {y - 4}h20" stroke="{COLOURS[number]}" stroke-width="2"{dashes}/>')
        parts.append(f'<text x="{across(1) + 40:.1f}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


PARTS = {"speed": (measure_speed, table_of_speed), "deletion": (measure_deletion, table_of_deletion)}


if __name__ == "__main__":
    sys.exit(main())
