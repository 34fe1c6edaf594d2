"""Training speed and memory of gareum beside a plain PyTorch loop: same machine, weights, texts, batch size and threads.

    pip install -r tests/reference/requirements.txt
    python bench/train_vs_transformers.py --gareum target/release/gareum [--shape minilm] [--workload S1 S2] [--rounds 3] [--steps 20]
    python bench/train_vs_transformers.py --table [f32 bf16] [--shape bert-base] [--instructions avx2]

Workloads: S1, every text exactly 128 tokens; S2, log-normal lengths (sigma 0.7) clipped to [5, 128] with a mean of 29 tokens.
`--table` runs all that is promised of a shape: S1, S2, and S2 with the peer's lengths grouped, in f32 and in bf16 (or in those named). The two rows of S2 share
gareum's runs: in every round gareum runs between the peer with grouped lengths and the peer without.
The sides run alternately, each in a process of its own, and swap who goes first from round to round. Loading is not timed on either side. Warm-up steps
of the peer are not timed. Prints a table, then JSON. The ratio is gareum's examples per second over the peer's in the same round: above 1, gareum is faster.

The peer is what a careful user writes: transformers model with sdpa attention, fused AdamW, clipping at 1.0, linear schedule, dropout as configured, texts tokenized
beforehand, batches padded to their longest text. `--group-by-length`: texts of similar length together, sorted in blocks of 50 batches, as transformers' Trainer
does from 6,400 texts on. Since its steps take long, `--peer-steps` of its batches stand for all, evenly spaced by their size; what remains of a difference in
size is corrected in proportion.
Memory: peak resident set of the whole process, on both sides. Of the peer it is told once more without what was resident right after its imports, before the model
is loaded; gareum has no such part to take off, so its whole process stands against that too.

`--instructions avx2` holds gareum (GAREUM_CPU) and the peer's own kernels and oneDNN (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) to AVX2. PyTorch's f32 products
come from MKL, which MKL_ENABLE_INSTRUCTIONS holds to AVX2 on Intel's processors; on AMD's it takes its general path with or without.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from comparison import (
    MAX_LENGTH,
    SEED,
    WORKLOADS,
    Failed,
    add_common_arguments,
    chosen_for,
    machine,
    markdown,
    read_examples,
    resident_bytes,
    run_json,
    settings,
    shown,
    spread,
    versions,
    write_data,
    write_model,
    write_report,
)

# A block of 50 batches is what lengths are grouped in; the others are few enough to take minutes on two cores.
STEPS = {"minilm": {"S1": 12, "S2": 50}, "bert-base": {"S1": 4, "S2": 50}}
PEER_STEPS = {"minilm": {"S1": 12, "S2": 16}, "bert-base": {"S1": 4, "S2": 8}}
WARMUP_STEPS = {"minilm": 2, "bert-base": 1}
BLOCK = 50
INSTRUCTIONS = {
    "avx2": {
        "gareum": {"GAREUM_CPU": "avx2"},
        "peer": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    },
}
SIDES = ("grouped peer", "gareum", "peer")  # in every order gareum stands beside both


def main() -> int:
    args = arguments()
    if args.run_peer:
        print(json.dumps(run_peer(json.loads(args.run_peer))))
        return 0
    results, failures = [], []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write_model(args, work / "model")
        for chosen in comparisons(args):
            try:
                results += compare(args, chosen, tokenizer, work)
            except Failed as failure:
                failures.append(f"{chosen['workload']} {chosen['gareum_precision']}: {failure.reason()}")
                print(f"LEFT OUT {failures[-1]}", file=sys.stderr)
    found = versions(args.gareum, "torch", "transformers", "numpy")
    report = {"machine": machine(), "versions": found, "settings": settings(args, {"run_peer"}), "workloads": results, "left_out": failures}
    write_report(args, table(results), report)
    return 1 if failures else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--table", nargs="*", choices=["f32", "bf16"], help="all rows of the shape, in these precisions (default: both)")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--steps", type=int, help=f"steps of gareum; the peer makes as many batches of the same texts (default: {STEPS})")
    parser.add_argument("--peer-steps", type=int, help=f"so many of the peer's steps are timed and stand for all (default: {PEER_STEPS})")
    parser.add_argument("--warmup-steps", type=int, help=f"untimed first steps of the peer (default: {WARMUP_STEPS})")
    parser.add_argument("--peer-precision", choices=["f32", "bf16"], default="f32", help="bf16: torch.autocast")
    parser.add_argument("--gareum-precision", choices=["f32", "bf16", "auto"], default="f32")
    parser.add_argument("--group-by-length", action="store_true", help="the peer batches texts of similar length")
    parser.add_argument("--instructions", choices=INSTRUCTIONS, help="hold both sides to these instructions (default: all that the processor has)")
    parser.add_argument("--gareum-set", action="append", default=[], metavar="KEY=VALUE", help="further settings for gareum train")
    parser.add_argument("--run-peer", help=argparse.SUPPRESS)
    return parser.parse_args()


def comparisons(args: argparse.Namespace) -> list[dict]:
    """Workload, precisions, and the peers that stand beside gareum's runs of them."""
    if args.table is None:
        peer = "grouped peer" if args.group_by_length else "peer"
        precisions = {"gareum_precision": args.gareum_precision, "peer_precision": args.peer_precision}
        return [{"workload": workload, "peers": [peer]} | precisions for workload in args.workload]
    peers = {"S1": ["peer"], "S2": ["peer", "grouped peer"]}
    return [
        {"workload": workload, "peers": peers[workload], "gareum_precision": precision, "peer_precision": precision}
        for precision in args.table or ["f32", "bf16"]
        for workload in args.workload
    ]


# Rounds


def compare(args: argparse.Namespace, chosen: dict, tokenizer, work: Path) -> list[dict]:
    """Rounds of gareum and the chosen peers; a result for each peer."""
    workload, rng = chosen["workload"], np.random.default_rng(SEED)
    steps = args.steps or chosen_for(args, STEPS)[workload]
    peer_steps = min(steps, args.peer_steps or (args.steps if args.steps else chosen_for(args, PEER_STEPS)[workload]))
    lengths = WORKLOADS[workload](steps * args.batch_size, rng)
    data = work / f"{workload}.csv"
    tokens = write_data(data, tokenizer, lengths, rng)
    chosen = chosen | {"steps": steps, "peer_steps": peer_steps, "model": str(work / "model"), "data": str(data)}
    sides = [side for side in SIDES if side == "gareum" or side in chosen["peers"]]
    runs = {side: [] for side in sides}
    for number in range(args.rounds):
        for side in reversed(sides) if number % 2 else sides:
            result = gareum_side(args, chosen, work) if side == "gareum" else peer_side(args, chosen, side)
            if side == "gareum" and number == 0 and abs(result["examples"] - len(lengths)) > 0.5:
                raise Failed(f"gareum trained on {result['examples']:.0f} texts of {len(lengths)}: does it use all rows of the file? (--gareum-set)")
            runs[side].append(result)
            told = f"{workload} {chosen['gareum_precision']} round {number + 1} {side}: {result['samples_per_second']:.1f} examples/s"
            print(told, file=sys.stderr, flush=True)
    described = {"workload": workload, "examples": len(lengths), "tokens": tokens, "mean_length": tokens / len(lengths)}
    described |= {key: chosen[key] for key in ("gareum_precision", "peer_precision", "steps", "peer_steps")}
    return [described | {"group_by_length": peer == "grouped peer"} | summary(runs["gareum"], runs[peer]) for peer in chosen["peers"]]


def summary(ours: list[dict], theirs: list[dict]) -> dict:
    runs = {"gareum": ours, "peer": theirs}
    ratios = [our["samples_per_second"] / their["samples_per_second"] for our, their in zip(ours, theirs)]
    memory = {side: max(run["peak_memory_bytes"] for run in runs[side]) for side in runs}
    own_memory = max(run["peak_memory_bytes"] - run["memory_after_imports_bytes"] for run in theirs)
    return {
        "speed_ratio": spread(ratios),
        "memory_ratio": memory["gareum"] / memory["peer"],
        "memory_ratio_without_imports": memory["gareum"] / own_memory,
        "peer_memory_without_imports_bytes": own_memory,
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


def gareum_side(args: argparse.Namespace, chosen: dict, work: Path) -> dict:
    output = work / "trained"
    values = [f"train.batch_size={args.batch_size}", f"train.max_steps={chosen['steps']}", f"model.max_length={MAX_LENGTH}"]
    values += [f"train.precision={chosen['gareum_precision']}", "data.split=[1.0, 0.0, 0.0]", "data.drop_duplicates=false", *args.gareum_set]
    command = [args.gareum, "train", "--model", chosen["model"], "--train", chosen["data"], "--text", "text", "--label", "label"]
    command += ["--output", output, "--epochs", "1"] + [part for value in values for part in ("--set", value)] + ["--json"]
    shutil.rmtree(output, ignore_errors=True)
    answer = run_json(command, args.threads, environment(args, "gareum"))
    shutil.rmtree(output, ignore_errors=True)
    if answer["train_steps"] != chosen["steps"]:
        raise Failed(f"gareum trained {answer['train_steps']} steps, not {chosen['steps']}")
    return {
        "seconds": answer["train_runtime"],
        "steps": answer["train_steps"],
        "examples": answer["train_samples_per_second"] * answer["train_runtime"],
        "samples_per_second": answer["train_samples_per_second"],
        "tokens_per_second": answer["train_tokens_per_second"],
        "peak_memory_bytes": answer["peak_memory_bytes"],
    }


def peer_side(args: argparse.Namespace, chosen: dict, side: str) -> dict:
    warmup_steps = chosen_for(args, WARMUP_STEPS) if args.warmup_steps is None else args.warmup_steps
    more = {"batch_size": args.batch_size, "threads": args.threads, "warmup_steps": warmup_steps, "group_by_length": side == "grouped peer"}
    return run_json([sys.executable, __file__, "--run-peer", json.dumps(chosen | more)], args.threads, environment(args, "peer"))


def environment(args: argparse.Namespace, side: str) -> dict[str, str]:
    return INSTRUCTIONS[args.instructions][side] if args.instructions else {}


# The peer: a plain PyTorch loop, in a process of its own


def run_peer(chosen: dict) -> dict:
    import torch
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # transformers imports them when they are first named

    memory_after_imports = resident_bytes()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(chosen["threads"])
    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_pretrained(chosen["model"], attn_implementation="sdpa").train()
    if "lora" in chosen:  # what peft's LoraConfig is given
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", **chosen["lora"]))
    tokenizer = AutoTokenizer.from_pretrained(chosen["model"])
    examples = read_examples(chosen["data"], tokenizer)
    batches = make_batches(examples, chosen["batch_size"], chosen["group_by_length"])
    timed = evenly_spaced(batches, chosen["peer_steps"])
    step = training_step(model, tokenizer, chosen)
    for batch in timed[: chosen["warmup_steps"]]:
        step(batch)
    started = time.perf_counter()
    for batch in timed:
        loss = step(batch)
    seconds = time.perf_counter() - started
    assert np.isfinite(loss), f"the loss is {loss}"
    tokens, padded = sum(len(ids) for ids, _ in examples), sum(map(padded_tokens, batches))
    whole = seconds * padded / sum(map(padded_tokens, timed))
    return {
        "seconds": seconds,
        "steps": len(timed),
        "seconds_of_all_steps": whole,
        "samples_per_second": len(examples) / whole,
        "tokens_per_second": tokens / whole,
        "peak_memory_bytes": resident_bytes("VmHWM"),
        "memory_after_imports_bytes": memory_after_imports,
        "padding_share": 1 - tokens / padded,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "last_loss": loss,
    }


def make_batches(examples: list, batch_size: int, group_by_length: bool) -> list[list]:
    """Shuffled batches; grouped ones are cut from blocks of 50 batches sorted by length, as transformers' Trainer does."""
    order = np.random.default_rng(SEED).permutation(len(examples)).tolist()
    if group_by_length:
        block = batch_size * BLOCK
        blocks = [sorted(order[start : start + block], key=lambda index: -len(examples[index][0])) for start in range(0, len(order), block)]
        order = [index for block in blocks for index in block]
    return [[examples[index] for index in order[start : start + batch_size]] for start in range(0, len(order), batch_size)]


def padded_tokens(batch: list) -> int:
    return len(batch) * max(len(ids) for ids, _ in batch)


def evenly_spaced(batches: list, count: int) -> list:
    """So many of the batches, from the middle of equal parts of all batches in order of size; they keep their own order."""
    by_size = sorted(range(len(batches)), key=lambda index: padded_tokens(batches[index]))
    chosen = {by_size[int((part + 0.5) * len(batches) / count)] for part in range(count)}
    return [batch for index, batch in enumerate(batches) if index in chosen]


def training_step(model, tokenizer, chosen: dict):
    """A function of one batch, a list of (token ids, label), that takes one optimiser step and returns the loss."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if name.endswith("bias") or "LayerNorm" in name]
    decayed = [p for name, p in trained if not (name.endswith("bias") or "LayerNorm" in name)]
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
    header = ["workload", "precision", "gareum ex/s", "peer ex/s", "speed ratio (min..max)", "gareum tok/s", "peer tok/s", "peer's padding"]
    header += ["gareum MiB", "peer MiB (without imports)", "memory ratio (without imports)"]
    return markdown(header, [cells(result) for result in results])


def cells(result: dict) -> list[str]:
    ours, peer = result["gareum"], result["peer"]
    precisions = dict.fromkeys([result["gareum_precision"], result["peer_precision"]])
    mebibytes = lambda count: f"{count / 2**20:.0f}"
    return [
        f"{result['workload']}, mean {result['mean_length']:.1f} tokens" + (", peer's lengths grouped" if result["group_by_length"] else ""),
        " beside ".join(precisions),
        *(f"{side['samples_per_second']['median']:.1f}" for side in (ours, peer)),
        shown(result["speed_ratio"]),
        *(f"{side['tokens_per_second']['median']:.0f}" for side in (ours, peer)),
        f"{peer['runs'][0]['padding_share']:.0%}",
        mebibytes(ours["peak_memory_bytes"]),
        f"{mebibytes(peer['peak_memory_bytes'])} ({mebibytes(result['peer_memory_without_imports_bytes'])})",
        f"{result['memory_ratio']:.2f} ({result['memory_ratio_without_imports']:.2f})",
    ]


if __name__ == "__main__":
    sys.exit(main())
