"""Twenty training steps of random checkpoints as large as the real ones, written by transformers, on film reviews: time and peak memory.

    pip install -r tests/reference/requirements.txt
    python bench/full_size.py --gareum target/release/gareum [--models deberta-v3-base ...] [--precision bf16] [--steps 20] [--output FILE]

The configs are those of bert-base, deberta-v3-base, bart-base, ModernBERT-base and Qwen2.5-0.5B; the vocabulary is koelectra-base-v3's, in a table of the model's own
size. Rows of NSMC, cut at 128 tokens, batches of 16. The data is found by GAREUM_TEST_DATA. Prints a table, then JSON. The peak is the largest resident set of the
process.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from comparison import DATA, MAX_LENGTH, PROJECT

MODELS = {  # transformers class prefix, config
    "bert-base": ("Bert", dict(vocab_size=35000)),
    "deberta-v3-base": (
        "DebertaV2",
        dict(vocab_size=128100, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, type_vocab_size=0, position_biased_input=False, relative_attention=True, pos_att_type="p2c|c2p")
        | dict(share_att_key=True, position_buckets=256, norm_rel_ebd="layer_norm", max_relative_positions=-1, layer_norm_eps=1e-7),
    ),
    "bart-base": (
        "Bart",
        dict(vocab_size=50265, d_model=768)
        | {f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in dict(layers=6, attention_heads=12, ffn_dim=3072).items()},
    ),
    "modernbert-base": ("ModernBert", dict()),
    "qwen2.5-0.5b": (
        "Qwen2",
        dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2)
        | dict(max_position_embeddings=32768, rope_theta=1e6, tie_word_embeddings=True),
    ),
}
ROWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--precision", choices=("f32", "bf16"), default="bf16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--gareum-set", action="append", default=[], metavar="KEY=VALUE", help="further settings for gareum train")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "reviews.txt"
        with (DATA / "nsmc" / "official_train_subset_30k.txt").open(encoding="utf-8") as source:
            data.write_text("".join(line for line, _ in zip(source, range(ROWS + 1))), encoding="utf-8")
        for name in args.models:
            folder = Path(temporary) / name
            parameters = write(name, folder)
            results[name] = {"parameters": parameters} | train(args, folder, data)
            shutil.rmtree(folder)
            print(f"{name}: {results[name]['train_samples_per_second']:.2f} examples/s", file=sys.stderr)
    print(table(results), "", json.dumps(results, indent=1), sep="\n")
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


def write(name: str, folder: Path) -> int:
    """A random encoder without a head, with a tokenizer; returns how many parameters it has."""
    prefix, settings = MODELS[name]
    tokenizer = transformers.BertTokenizer(vocab=str(DATA / "tokenizers" / "koelectra-base-v3" / "vocab.txt"), do_lower_case=False)
    special = dict(pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id, cls_token_id=tokenizer.cls_token_id)
    special |= dict(eos_token_id=tokenizer.sep_token_id, sep_token_id=tokenizer.sep_token_id)
    torch.manual_seed(1)
    model = getattr(transformers, f"{prefix}Model")(getattr(transformers, f"{prefix}Config")(**settings, **special))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def train(args: argparse.Namespace, folder: Path, data: Path) -> dict:
    output = folder.with_name(f"{folder.name}-trained")
    settings = [f"train.batch_size={args.batch_size}", f"train.max_steps={args.steps}", f"model.max_length={MAX_LENGTH}", f"train.precision={args.precision}"]
    settings += ["data.split=[1,0,0]", "train.logging_steps=1", "train.save_total_limit=0", *args.gareum_set]
    command = [args.gareum, "train", "--model", folder, "--train", data, "--text", "document", "--label", "label", "--output", output, "--json"]
    command += [part for setting in settings for part in ("--set", setting)]
    finished = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {finished.returncode}\n{finished.stderr[-3000:]}")
    log = json.loads((output / "trainer_state.json").read_text())["log_history"]
    shutil.rmtree(output)
    losses = [entry["loss"] for entry in log if "loss" in entry]
    return json.loads(finished.stdout) | {"first_loss": losses[0], "last_loss": losses[-1], "batch_size": args.batch_size}


def table(results: dict) -> str:
    lines = ["| model | parameters | seconds a step | examples/s | peak memory | loss, first to last |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        rate = result["train_samples_per_second"]
        lines.append(
            f"| {name} | {result['parameters'] / 1e6:.0f} M | {result['batch_size'] / rate:.1f} | {rate:.1f} "
            f"| {result['peak_memory_bytes'] / 2**30:.2f} GiB | {result['first_loss']:.3f} to {result['last_loss']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
