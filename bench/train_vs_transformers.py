"""Training speed and memory of gareum beside a plain PyTorch loop: same machine, weights, texts, batch size and threads.

    pip install -r tests/reference/requirements.txt
    python bench/train_vs_transformers.py --gareum target/release/gareum [--shape minilm] [--workload S1 S2] [--rounds 3] [--steps 20]

Workloads: S1, every text exactly 128 tokens; S2, log-normal lengths (sigma 0.7) clipped to [5, 128] with a mean of 29 tokens.
The two sides run alternately, each in a process of its own, and swap who goes first from round to round. Loading is not timed on either side. Warm-up steps
of the peer are not timed. Prints a table, then JSON. The ratio is gareum's examples per second over the peer's in the same round: above 1, gareum is faster.

The peer is what a careful user writes: transformers model with sdpa attention, fused AdamW, clipping at 1.0, linear schedule, dropout as configured, texts tokenized
beforehand, batches padded to their longest text (`--group-by-length`: texts of similar length together, as transformers' Trainer groups them).
Its memory is the peak resident set of the whole process, gareum's is what gareum reports.
"""

import argparse
import csv
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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


def main() -> None:
    args = arguments()
    if args.run_peer:
        print(json.dumps(run_peer(json.loads(args.run_peer))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write_model(args, work / "model")
        results = [run_workload(args, workload, tokenizer, work) for workload in args.workload]
    report = {"machine": machine(), "versions": versions(), "settings": settings(args), "workloads": results}
    print(table(results), "", json.dumps(report, indent=1), sep="\n")
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--shape", choices=SHAPES, default="minilm", help="a BERT of this shape with random weights")
    model.add_argument("--model", type=Path, help="a checkpoint with its tokenizer instead")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each side")
    parser.add_argument("--warmup-steps", type=int, default=2, help="untimed first steps of the peer")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer-precision", choices=["f32", "bf16"], default="f32", help="bf16: torch.autocast")
    parser.add_argument("--gareum-precision", choices=["f32", "bf16", "auto"], default="f32")
    parser.add_argument("--group-by-length", action="store_true", help="the peer batches texts of similar length")
    parser.add_argument("--gareum-set", action="append", default=[], metavar="KEY=VALUE", help="further settings for gareum train")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    parser.add_argument("--run-peer", help=argparse.SUPPRESS)
    return parser.parse_args()


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


def write_model(args: argparse.Namespace, folder: Path):
    """Saves the model that both sides start from, head included, with its tokenizer; returns the tokenizer."""
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
        config = transformers.BertConfig(vocab_size=len(tokenizer), **SHAPES[args.shape], **names)
        model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


# Rounds


def run_workload(args: argparse.Namespace, workload: str, tokenizer, work: Path) -> dict:
    rng = np.random.default_rng(SEED)
    lengths = WORKLOADS[workload](args.steps * args.batch_size, rng)
    data = work / f"{workload}.csv"
    tokens = write_data(data, tokenizer, lengths, rng)
    sides = {"gareum": gareum_side, "peer": peer_side}
    runs = {"gareum": [], "peer": []}
    for number in range(args.rounds):
        for side in sorted(sides, reverse=number % 2 == 1):
            runs[side].append(sides[side](args, work / "model", data, work))
            print(f"{workload} round {number + 1} {side}: {runs[side][-1]['samples_per_second']:.1f} examples/s", file=sys.stderr)
    return {"workload": workload, "examples": len(lengths), "tokens": tokens, "mean_length": tokens / len(lengths)} | summary(runs)


def summary(runs: dict[str, list[dict]]) -> dict:
    ratios = [ours["samples_per_second"] / peer["samples_per_second"] for ours, peer in zip(runs["gareum"], runs["peer"])]
    memory = {side: max(run["peak_memory_bytes"] for run in runs[side]) for side in runs}
    return {
        "speed_ratio": spread(ratios),
        "memory_ratio": memory["gareum"] / memory["peer"],
        **{
            side: {
                "samples_per_second": spread([run["samples_per_second"] for run in runs[side]]),
                "tokens_per_second": spread([run["tokens_per_second"] for run in runs[side]]),
                "peak_memory_bytes": memory[side],
                "runs": runs[side],
            }
            for side in runs
        },
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def gareum_side(args: argparse.Namespace, model: Path, data: Path, work: Path) -> dict:
    output = work / "trained"
    chosen = [f"train.batch_size={args.batch_size}", f"train.max_steps={args.steps}", f"model.max_length={MAX_LENGTH}"]
    chosen += [f"train.precision={args.gareum_precision}", *args.gareum_set]
    command = [args.gareum, "train", "--model", model, "--train", data, "--text", "text", "--label", "label", "--output", output, "--epochs", "1"]
    command += [part for setting in chosen for part in ("--set", setting)] + ["--json"]
    shutil.rmtree(output, ignore_errors=True)
    answer = run_json(command, args.threads)
    shutil.rmtree(output, ignore_errors=True)
    if answer["train_steps"] != args.steps:
        sys.exit(f"gareum trained {answer['train_steps']} steps, not {args.steps}: does it use all rows of the file? (--gareum-set)")
    return {
        "seconds": answer["train_runtime"],
        "steps": answer["train_steps"],
        "samples_per_second": answer["train_samples_per_second"],
        "tokens_per_second": answer["train_tokens_per_second"],
        "peak_memory_bytes": answer["peak_memory_bytes"],
    }


def peer_side(args: argparse.Namespace, model: Path, data: Path, work: Path) -> dict:
    chosen = {key: getattr(args, key) for key in ("steps", "warmup_steps", "batch_size", "threads", "peer_precision", "group_by_length")}
    specification = json.dumps(chosen | {"model": str(model), "data": str(data)})
    return run_json([sys.executable, __file__, "--run-peer", specification], args.threads)


def run_json(command: list, threads: int) -> dict:
    """Runs a program with so many threads; its standard output is one JSON object."""
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    finished = subprocess.run([str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    return json.loads(finished.stdout)


# The peer: a plain PyTorch loop, in a process of its own


def run_peer(chosen: dict) -> dict:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(chosen["threads"])
    torch.manual_seed(SEED)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(chosen["model"], attn_implementation="sdpa").train()
    tokenizer = transformers.AutoTokenizer.from_pretrained(chosen["model"])
    examples = read_examples(chosen["data"], tokenizer)
    batches = make_batches(examples, chosen["batch_size"], chosen["group_by_length"])
    step = training_step(model, tokenizer, chosen)
    for batch in batches[: chosen["warmup_steps"]]:
        step(batch)
    started = time.perf_counter()
    for batch in batches:
        loss = step(batch)
    seconds = time.perf_counter() - started
    assert np.isfinite(loss), f"the loss is {loss}"
    tokens = sum(len(ids) for ids, _ in examples)
    return {
        "seconds": seconds,
        "steps": len(batches),
        "samples_per_second": len(examples) / seconds,
        "tokens_per_second": tokens / seconds,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "padding_share": 1 - tokens / sum(len(batch) * max(len(ids) for ids, _ in batch) for batch in batches),
        "last_loss": loss,
    }


def read_examples(data: str, tokenizer) -> list[tuple[list[int], int]]:
    with open(data, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return [(ids, LABELS.index(row["label"])) for ids, row in zip(encoded, rows)]


def make_batches(examples: list, batch_size: int, group_by_length: bool) -> list[list]:
    """Shuffled batches; grouped ones are cut from blocks of up to 50 batches sorted by length, as transformers' Trainer does."""
    order = np.random.default_rng(SEED).permutation(len(examples)).tolist()
    if group_by_length:
        block = batch_size * max(1, min(50, len(examples) // (4 * batch_size)))
        blocks = [sorted(order[start : start + block], key=lambda index: -len(examples[index][0])) for start in range(0, len(order), block)]
        order = [index for block in blocks for index in block]
    return [[examples[index] for index in order[start : start + batch_size]] for start in range(0, len(order), batch_size)]


def training_step(model, tokenizer, chosen: dict):
    """A function of one batch, a list of (token ids, label), that takes one optimiser step and returns the loss."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    plain = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    decayed = [p for name, p in model.named_parameters() if not (name.endswith("bias") or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-5, fused=True)
    total = chosen["steps"] + chosen["warmup_steps"]
    schedule = get_linear_schedule_with_warmup(optimizer, total // 10, total)
    precision = torch.autocast("cpu", dtype=torch.bfloat16, enabled=chosen["peer_precision"] == "bf16")

    def step(batch: list) -> float:
        inputs = tokenizer.pad({"input_ids": [ids for ids, _ in batch]}, padding="longest", return_tensors="pt", verbose=False)
        with precision:
            loss = model(**inputs, labels=torch.tensor([label for _, label in batch])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


# Report


def table(results: list[dict]) -> str:
    lines = ["| workload | gareum ex/s | peer ex/s | speed ratio (min..max) | gareum tok/s | peer tok/s | gareum MiB | peer MiB | memory ratio |"]
    lines.append("|---" * 9 + "|")
    for result in results:
        ours, peer, ratio = result["gareum"], result["peer"], result["speed_ratio"]
        mebibytes = [side["peak_memory_bytes"] / 2**20 for side in (ours, peer)]
        cells = [f"{result['workload']}, mean {result['mean_length']:.1f} tokens"]
        cells += [f"{side['samples_per_second']['median']:.1f}" for side in (ours, peer)]
        cells += [f"**{ratio['median']:.2f}** ({ratio['min']:.2f}..{ratio['max']:.2f})"]
        cells += [f"{side['tokens_per_second']['median']:.0f}" for side in (ours, peer)]
        cells += [f"{value:.0f}" for value in mebibytes] + [f"{result['memory_ratio']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def settings(args: argparse.Namespace) -> dict:
    hidden = {"run_peer", "workload", "output"}
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items() if key not in hidden}


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.processor(), "cpus": len(os.sched_getaffinity(0)), "system": platform.platform()}


def versions() -> dict[str, str]:
    import torch
    import transformers

    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}


if __name__ == "__main__":
    main()
