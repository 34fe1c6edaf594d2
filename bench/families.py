"""Is every family as fast as its operations predict? Training and prediction of random checkpoints of half of base size, beside BERT in turns.

    pip install -r tests/reference/requirements.txt
    python bench/families.py --gareum target/release/gareum [--families deberta-v2 bart ...] [--rounds 3] [--precision bf16]

`gareum bench --training` counts the floating-point operations of the products and of attention (relative positions, windows and gates included) and measures what the
processor can reach meanwhile; what is told is the share that is reached, and its ratio to BERT's of the same round: 1 is what the operations predict. Texts of 128
tokens, batches of 16, a vocabulary of 35,000.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

from comparison import SEED, WORKLOADS, add_common_arguments, machine, markdown, settings, shown, spread, versions, write_data, write_report
from full_size import DATA

BASE = dict(vocab_size=35000, max_position_embeddings=512)
ENCODER = BASE | dict(hidden_size=768, num_hidden_layers=6, num_attention_heads=12, intermediate_size=3072)
DECODER = ENCODER | dict(num_key_value_heads=4, intermediate_size=2048)
RELATIVE = dict(type_vocab_size=0, position_biased_input=False, relative_attention=True, pos_att_type="p2c|c2p", position_buckets=256, norm_rel_ebd="layer_norm")
TWO_STACKS = BASE | dict(d_model=768) | {
    f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in dict(layers=3, attention_heads=12, ffn_dim=3072).items()
}
FAMILIES = {  # transformers class prefix, config
    "bert": ("Bert", ENCODER),
    "roberta": ("Roberta", ENCODER | dict(max_position_embeddings=514)),
    "electra": ("Electra", ENCODER | dict(embedding_size=768)),
    "distilbert": ("DistilBert", BASE | dict(dim=768, n_layers=6, n_heads=12, hidden_dim=3072)),
    "deberta-v2": ("DebertaV2", ENCODER | RELATIVE | dict(share_att_key=True)),
    "deberta-v2, own projections, convolution": ("DebertaV2", ENCODER | RELATIVE | dict(share_att_key=False, conv_kernel_size=3)),
    "bart": ("Bart", TWO_STACKS),
    "mbart": ("MBart", TWO_STACKS),
    "modernbert": ("ModernBert", BASE | dict(hidden_size=768, num_hidden_layers=11, num_attention_heads=12, intermediate_size=1152)),
    "llama": ("Llama", DECODER),
    "mistral": ("Mistral", DECODER | dict(sliding_window=64)),
    "qwen2": ("Qwen2", DECODER),
    "qwen3": ("Qwen3", DECODER | dict(head_dim=64)),
    "gpt_neox": ("GPTNeoX", ENCODER),
}
TEXTS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    parser.set_defaults(batch_size=16)
    args = parser.parse_args()
    names = [name for name in args.families if name != "bert"]
    rounds = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write("bert", work / "bert")
        rng = np.random.default_rng(SEED)
        write_data(work / "texts.csv", tokenizer, WORKLOADS["S1"](TEXTS, rng), rng)
        for name in names:
            write(name, work / "other")
            for _ in range(args.rounds):
                rounds[name].append({"bert": measure(args, work, "bert"), "other": measure(args, work, "other")})
            print(f"{name}: {ratios(rounds[name])}", file=sys.stderr, flush=True)
    table = markdown(["family", "training: share of the peak", "of BERT's", "prediction: share of the peak", "of BERT's"], [row(name, rounds[name]) for name in names])
    report = {"machine": machine(), "versions": versions(args.gareum, "torch", "transformers"), "settings": settings(args, set()), "rounds": rounds}
    write_report(args, table, report)


def write(name: str, folder: Path):
    """A random checkpoint with a head and a tokenizer."""
    prefix, values = FAMILIES[name]
    tokenizer = transformers.BertTokenizer(vocab=str(DATA / "tokenizers" / "koelectra-base-v3" / "vocab.txt"), do_lower_case=False)
    special = dict(pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id, cls_token_id=tokenizer.cls_token_id)
    special |= dict(eos_token_id=tokenizer.sep_token_id, sep_token_id=tokenizer.sep_token_id)
    torch.manual_seed(SEED)
    model = getattr(transformers, f"{prefix}ForSequenceClassification")(getattr(transformers, f"{prefix}Config")(**values, **special))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def measure(args: argparse.Namespace, work: Path, folder: str) -> dict:
    command = [args.gareum, "bench", "--quiet", "--json", "--training", "--model", work / folder, "--batch-size", args.batch_size, "--rounds", 1, "--steps", 5]
    command += ["--precision", args.precision, "--input", work / "texts.csv", "--text", "text"]
    finished = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode:
        sys.exit(finished.stderr)
    found = json.loads(finished.stdout)
    return {"training": found["training"]["share_of_peak"], "prediction": found["prediction"]["share_of_peak"]}


def ratios(rounds: list[dict]) -> str:
    told = (f"{work} {statistics.median(one['other'][work] / one['bert'][work] for one in rounds):.2f}" for work in ("training", "prediction"))
    return ", ".join(told)


def row(name: str, rounds: list[dict]) -> list[str]:
    cells = [name]
    for work in ("training", "prediction"):
        cells.append(f"{statistics.median(one['other'][work] for one in rounds):.0%}")
        cells.append(shown(spread([one["other"][work] / one["bert"][work] for one in rounds])))
    return cells


if __name__ == "__main__":
    main()
