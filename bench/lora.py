"""Training with adapters beside training the whole model, and beside PyTorch with peft: speed and memory of the same batches, in turns.

    pip install -r tests/reference/requirements.txt
    python bench/lora.py --gareum target/release/gareum [--shape bert-base] [--rounds 3] [--steps 8] [--precision bf16]

Texts of 128 tokens, batches of 8, a BERT with random weights. Adapters have rank 16 and dropout 0.1, on every product of the encoder (`all-linear`) or on queries and
values (`default`); QLoRA is `all-linear` beside weights in NF4. The sides run one after another in every round, each in a process of its own. Speed is told as the
ratio within a round: to gareum's training of the whole model, and to the same in PyTorch (transformers with sdpa attention, peft, fused AdamW; bf16 is
torch.autocast). Memory is the peak of the process's resident set.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from comparison import SEED, WORKLOADS, Failed, add_common_arguments, machine, markdown, settings, shown, spread, versions, write_data, write_model, write_report
from train_vs_transformers import gareum_side, peer_side

PEFT = dict(r=16, lora_alpha=32, lora_dropout=0.1)
WAYS = {  # settings of gareum, and what peft is given
    "full": ([], None),
    "LoRA, all-linear": (["lora.targets=all-linear"], PEFT | dict(target_modules="all-linear")),
    "LoRA, default": (["lora.targets=default"], PEFT | dict(target_modules=["query", "value"])),
    "QLoRA, all-linear": (["lora.targets=all-linear", "lora.quantize_base=nf4"], None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--no-peers", action="store_true", help="gareum alone")
    parser.set_defaults(shape="bert-base", batch_size=8, instructions=None, warmup_steps=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write_model(args, work / "base")
        rng = np.random.default_rng(SEED)
        write_data(work / "texts.csv", tokenizer, WORKLOADS["S1"](args.steps * args.batch_size, rng), rng)
        rounds = [{name: measure(args, work, name) for name in args.ways} for _ in range(args.rounds)]
    report = {"machine": machine(), "versions": versions(args.gareum, "torch", "transformers", "peft"), "settings": settings(args, set()), "rounds": rounds}
    write_report(args, markdown(*table(args, rounds)), report)


def measure(args: argparse.Namespace, work: Path, name: str) -> dict:
    values, peft = WAYS[name]
    chosen = {"model": str(work / "base"), "data": str(work / "texts.csv"), "steps": args.steps, "peer_steps": args.steps}
    chosen |= {"gareum_precision": args.precision, "peer_precision": args.precision}
    args.gareum_set = ["model.reset_head=true", *values]
    sides = {"gareum": gareum_side(args, chosen, work)}
    if not args.no_peers and (peft or not values):
        sides["peer"] = peer_side(args, chosen | ({"lora": peft} if peft else {}), "peer")
    for side, result in sides.items():
        print(f"{name}, {side}: {result['samples_per_second']:.2f} examples/s, {result['peak_memory_bytes'] / 2**20:.0f} MiB", file=sys.stderr, flush=True)
    return sides


def table(args: argparse.Namespace, rounds: list[dict]) -> tuple[list[str], list[list[str]]]:
    header = ["trained", "gareum ex/s", "times as fast as full", "gareum MiB", "of full", "peer ex/s", "times as fast as the peer", "peer MiB", "of the peer's"]
    rate = lambda one, name, side: one[name][side]["samples_per_second"]
    peak = lambda name, side: max(one[name][side]["peak_memory_bytes"] for one in rounds)
    rows = []
    for name in args.ways:
        row = [name, shown(spread([rate(one, name, "gareum") for one in rounds]), 1)]
        row.append(shown(spread([rate(one, name, "gareum") / rate(one, "full", "gareum") for one in rounds])) if "full" in args.ways else "")
        row.append(f"{peak(name, 'gareum') / 2**20:.0f}")
        row.append(f"{peak(name, 'gareum') / peak('full', 'gareum'):.2f}" if "full" in args.ways else "")
        if "peer" in rounds[0][name]:
            row.append(shown(spread([rate(one, name, "peer") for one in rounds]), 1))
            row.append(shown(spread([rate(one, name, "gareum") / rate(one, name, "peer") for one in rounds])))
            row += [f"{peak(name, 'peer') / 2**20:.0f}", f"{peak(name, 'gareum') / peak(name, 'peer'):.2f}"]
        rows.append(row + [""] * (len(header) - len(row)))
    return header, rows


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(failure.reason())
