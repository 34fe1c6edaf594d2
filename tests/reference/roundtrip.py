"""Does a saved model give the same scores in gareum and in transformers?

    python tests/reference/roundtrip.py --gareum target/release/gareum --model DIR --data FILE [--text COL] [--text-pair COL] [--rows 200]
        DIR was saved by gareum: both sides score the first rows of FILE (csv, jsonl, or tab-separated tsv and txt).
    python tests/reference/roundtrip.py --gareum ... --data FILE --reverse [--model DIR | --family bert ...]
        transformers saves the model first: DIR with its head perturbed, or a tiny random one of each family with a BERT vocabulary of the
        test data (GAREUM_TEST_DATA, default ../shared/data beside the project). With --lora, peft then puts an adapter beside it and
        saves only that.
    python tests/reference/roundtrip.py --gareum ... --data FILE --train [--family bert ...] [--lora]
        gareum saves the model: trained for a few steps from such a random one, with --lora as an adapter.
    ... --train --quantize int8|nf4, ... --reverse --quantize nf4
        The saved model is quantised: by `gareum compress --wide-embeddings`, which transformers opens with compressed-tensors and bitsandbytes; with --reverse
        by bitsandbytes. Inputs of 8 bits are rounded differently where a number is half-way, and models as small and random as these feel it: scores of int8 may
        differ by 0.1.

DIR may also be an adapter that gareum saved: peft loads it with the model that it belongs to.

A temperature in DIR/gareum.json is applied to the logits of transformers too.
Arguments after `--` are handed to `gareum predict`. Exit status 1 when a score differs by more than 1e-4 or a clear label differs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BertTokenizer

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data"))
TOLERANCE = 1e-4
TOLERANCE_INT8 = 0.1
DEFAULT_MAX_LENGTH = 128
SEED = 5
TINY = dict(max_position_embeddings=DEFAULT_MAX_LENGTH + 2, initializer_range=0.2)
TINY_BERT = TINY | dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40)
TINY_BART = dict(max_position_embeddings=DEFAULT_MAX_LENGTH + 2, init_std=0.2, d_model=24) | {
    f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in dict(layers=2, attention_heads=4, ffn_dim=40).items()
}
TINY_DECODER = TINY_BERT | dict(num_key_value_heads=2)
FAMILIES = {  # transformers class prefix, config
    "bert": ("Bert", TINY_BERT),
    "roberta": ("Roberta", TINY_BERT | dict(type_vocab_size=1, layer_norm_eps=1e-5)),
    "electra": ("Electra", TINY_BERT | dict(embedding_size=16)),
    "deberta-v2": (
        "DebertaV2",
        TINY_BERT
        | dict(type_vocab_size=0, position_biased_input=False, relative_attention=True, pos_att_type="p2c|c2p", share_att_key=True)
        | dict(position_buckets=16, norm_rel_ebd="layer_norm", conv_kernel_size=3),
    ),
    "bart": ("Bart", TINY_BART),
    "mbart": ("MBart", TINY_BART),
    "distilbert": ("DistilBert", TINY | dict(dim=24, n_layers=2, n_heads=4, hidden_dim=40)),
    "modernbert": ("ModernBert", TINY_BERT | dict(num_hidden_layers=4, local_attention=12, norm_bias=False)),
    "llama": ("Llama", TINY_DECODER),
    "mistral": ("Mistral", TINY_DECODER | dict(sliding_window=9)),
    "qwen2": ("Qwen2", TINY_DECODER),
    "qwen3": ("Qwen3", TINY_DECODER | dict(head_dim=8)),
    "gpt_neox": ("GPTNeoX", TINY_BERT),
}
LABEL_NAMES = ["negative", "neutral", "positive"]


@dataclass
class Rows:
    """The texts to score, and the names of their columns; `pairs` is None for single texts."""

    columns: list[str]
    texts: list[str]
    pairs: list[str] | None


def main() -> int:
    args = arguments()
    transformers.utils.logging.disable_progress_bar()
    rows = read_rows(args)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        worst = 0.0
        for name, model in models(args, work):
            difference, labels = compare(args, model, rows, work)
            print(f"{name}: {len(rows.texts)} rows, largest difference of a score {difference:.2e}, differing labels {labels}")
            worst = max(worst, difference, 1.0 if labels else 0.0)
    allowed = tolerance(args)
    print("same" if worst <= allowed else f"DIFFERENT: more than {allowed}")
    return 0 if worst <= allowed else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", required=True, type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--text-pair")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--reverse", action="store_true")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--quantize", choices=["int8", "nf4"])
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("predict_arguments", nargs="*", help="after --: handed to gareum predict")
    args = parser.parse_args()
    if not args.reverse and not args.train and args.model is None:
        parser.error("--model DIR is needed (or --reverse, or --train)")
    return args


# Data


def read_rows(args: argparse.Namespace) -> Rows:
    """The first rows whose texts are not empty."""
    columns = [args.text] + ([args.text_pair] if args.text_pair else [])
    chosen = []
    for record in records(args.data):
        missing = [column for column in columns if column not in record]
        if missing:
            sys.exit(f"{args.data} has no column {missing}; it has {list(record)}")
        values = [record[column] for column in columns]
        if all(value and value.strip() for value in values):
            chosen.append(values)
        if len(chosen) == args.rows:
            break
    texts = [values[0] for values in chosen]
    return Rows(columns, texts, [values[1] for values in chosen] if args.text_pair else None)


def records(path: Path):
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
        return
    style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix in (".tsv", ".txt") else {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, **style)


def write_csv(rows: Rows, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(rows.columns)
        writer.writerows(zip(rows.texts, rows.pairs) if rows.pairs else ([text] for text in rows.texts))


# Models


def models(args: argparse.Namespace, work: Path):
    """Name and folder of every model to compare; with --reverse and --train they are made here."""
    if not args.reverse and not args.train:
        yield str(args.model), args.model
        return
    torch.manual_seed(SEED)
    if args.model:
        model, tokenizer = AutoModelForSequenceClassification.from_pretrained(args.model), AutoTokenizer.from_pretrained(args.model)
        folder = save(model, tokenizer, work / "reverse")
        yield f"{args.model}, head perturbed", adapter(folder, work / "reverse-lora") if args.lora else folder
        return
    tokenizer = BertTokenizer(vocab=str(DATA / "tokenizers" / "bert-base-uncased" / "vocab.txt"), do_lower_case=True)
    for family in args.family:
        folder = save(tiny(family, tokenizer, 64 if args.quantize == "nf4" else 1), tokenizer, work / family)
        if args.train:
            yield f"tiny {family}, trained", trained(args, folder, work)
            continue
        folder = quantized(folder, work / f"{family}-{args.quantize}") if args.quantize else folder
        yield f"tiny {family}", adapter(folder, work / f"{family}-lora") if args.lora else folder


def tiny(family: str, tokenizer, multiple: int = 1):
    """A random model whose widths are multiples of `multiple`, which bitsandbytes needs on a CPU."""
    prefix, settings = FAMILIES[family]
    ends = ("hidden_size", "intermediate_size", "embedding_size", "d_model", "ffn_dim", "hidden_dim", "head_dim")
    settings = {key: -(-value // multiple) * multiple if key.endswith(ends) or key == "dim" else value for key, value in settings.items()}
    names = dict(enumerate(LABEL_NAMES))
    config = getattr(transformers, f"{prefix}Config")(
        **settings,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        id2label=names,
        label2id={name: index for index, name in names.items()},
        problem_type="single_label_classification",
    )
    return getattr(transformers, f"{prefix}ForSequenceClassification")(config)


def save(model, tokenizer, folder: Path) -> Path:
    """Perturbs the head, so that it is neither the one of the source nor an untrained one, and saves."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(model.base_model_prefix + "."):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapter(base: Path, folder: Path) -> Path:
    """Puts a random adapter beside every product of a saved model, and saves it alone."""
    model = AutoModelForSequenceClassification.from_pretrained(base)
    head = {name.split(".")[0] for name, _ in model.named_parameters() if not name.startswith(model.base_model_prefix + ".")}
    config = LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=6, target_modules="all-linear", use_rslora=True, modules_to_save=sorted(head))
    model = get_peft_model(model, config)
    with torch.no_grad():
        for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def quantized(folder: Path, target: Path) -> Path:
    """What bitsandbytes makes of a saved model."""
    how = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=["classifier", "classification_head", "score"])
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, quantization_config=how)
    model.save_pretrained(target)
    load_tokenizer(folder).save_pretrained(target)
    return target


def trained(args: argparse.Namespace, base: Path, work: Path) -> Path:
    """What gareum makes of a model in some steps on made-up reviews."""
    data, folder = work / "train.csv", work / f"{base.name}-trained"
    labels = {"negative": "bad awful boring", "neutral": "plain usual middling", "positive": "good great lovely"}
    rows = [f"{number} it was {word},{label}" for number in range(20) for label, words in labels.items() for word in words.split()]
    data.write_text("text,label\n" + "\n".join(rows) + "\n")
    command = [args.gareum, "train", "--quiet", "--model", base, "--train", data, "--output", folder]
    values = ["train.max_steps=10", "train.learning_rate=0.003", "train.precision=f32"] + (["lora.rank=4"] if args.lora else [])
    subprocess.run([*map(str, command), *(part for value in values for part in ("--set", value))], check=True)
    if args.quantize is None:
        return folder
    small = folder.with_name(f"{folder.name}-{args.quantize}")
    command = [args.gareum, "compress", "--quiet", "--wide-embeddings", "--to", args.quantize, "--model", folder, "--output", small, "--data", data]
    subprocess.run([*map(str, command), "--gate", "100,100"], check=True, stdout=subprocess.DEVNULL)
    return small


# Scores


def tolerance(args: argparse.Namespace) -> float:
    return TOLERANCE_INT8 if args.quantize == "int8" else TOLERANCE


def compare(args: argparse.Namespace, model: Path, rows: Rows, work: Path) -> tuple[float, int]:
    """The largest difference of a score, and how many labels differ although their scores are apart."""
    theirs = transformers_scores(model, rows)
    ours = gareum_predictions(args, model, rows, work)
    if len(ours) != len(theirs):
        sys.exit(f"gareum answered {len(ours)} rows of {len(theirs)}")
    worst, labels = 0.0, 0
    for number, (prediction, expected) in enumerate(zip(ours, theirs), start=1):
        scores = prediction["scores"]
        if set(scores) != set(expected):
            sys.exit(f"row {number}: gareum's labels are {sorted(scores)}, the model's are {sorted(expected)}")
        worst = max(worst, *(abs(scores[name] - value) for name, value in expected.items()))
        if isinstance(prediction["label"], str) and prediction["label"] in expected:
            labels += expected[prediction["label"]] < max(expected.values()) - tolerance(args)
    return worst, labels


def gareum_predictions(args: argparse.Namespace, model: Path, rows: Rows, work: Path) -> list[dict]:
    input, output = work / "input.csv", work / "output.jsonl"
    write_csv(rows, input)
    output.unlink(missing_ok=True)
    command = [args.gareum, "predict", "--model", model, "--input", input, "--output", output, "--text", args.text]
    command += ["--text-pair", args.text_pair] if args.text_pair else []
    command += ["--precision", "f32"] if getattr(args, "quantize", None) == "nf4" else []  # else its products take inputs of 8 bits
    subprocess.run([*map(str, command), *args.predict_arguments], check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def transformers_scores(folder: Path, rows: Rows) -> list[dict[str, float]]:
    """For each row, label to probability; for regression, label to value."""
    tokenizer, model = load(folder)
    temperature = temperature_of(folder)
    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    max_length, scores = truncation_length(folder), []
    for start in range(0, len(rows.texts), 16):
        part = slice(start, start + 16)
        pairs = rows.pairs[part] if rows.pairs else None
        inputs = tokenizer(rows.texts[part], pairs, truncation="longest_first", max_length=max_length, padding=True, return_tensors="pt")
        if getattr(model.config, "type_vocab_size", 1) < 2:  # such a model has no token types, though its tokenizer may
            inputs.pop("token_type_ids", None)
        with torch.no_grad():
            logits = model(**inputs).logits / temperature  # [batch, labels]
        scores += [dict(zip(names, row)) for row in activation(model.config)(logits).tolist()]
    return scores


def temperature_of(folder: Path) -> float:
    """What gareum divides logits by, of which transformers knows nothing."""
    description = folder / "gareum.json"
    return json.loads(description.read_text(encoding="utf-8")).get("decision", {}).get("temperature", 1.0) if description.exists() else 1.0


def load(folder: Path):
    """Tokenizer and model of a folder; of an adapter, those of the model that it belongs to where it has none of its own."""
    if not (folder / "adapter_config.json").exists():
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        method = getattr(getattr(model.config, "quantization_config", None), "quant_method", "")
        # The products of bitsandbytes on a CPU are in bf16, whatever they are told.
        model = model.dequantize() if getattr(method, "value", method) == "bitsandbytes" else model
        return load_tokenizer(folder), model.eval()
    base = PeftConfig.from_pretrained(folder).base_model_name_or_path
    named = folder if (folder / "config.json").exists() else base
    config = AutoConfig.from_pretrained(named)
    keys = dict(num_labels=config.num_labels, id2label=config.id2label, label2id=config.label2id, problem_type=config.problem_type)
    model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32, **keys)
    tokenizer = load_tokenizer(folder if (folder / "tokenizer_config.json").exists() else Path(base))
    return tokenizer, PeftModel.from_pretrained(model, folder).eval()


def load_tokenizer(folder: Path):
    """The tokenizer as it was saved: for a model of Qwen2, `AutoTokenizer` makes Qwen2's whatever the folder says."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    is_bert = config.get("tokenizer_class") == "BertTokenizer"
    return (BertTokenizer if is_bert else AutoTokenizer).from_pretrained(folder)


def activation(config):
    problem = config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")
    return {
        "regression": lambda logits: logits,
        "single_label_classification": lambda logits: logits.softmax(dim=-1),
        "multi_label_classification": torch.sigmoid,
    }[problem]


def truncation_length(folder: Path) -> int:
    """`settings.model.max_length` of gareum.json, or 128 where there is none."""
    file = folder / "gareum.json"
    settings = json.loads(file.read_text(encoding="utf-8")).get("settings", {}).get("model", {}) if file.exists() else {}
    if settings.get("truncation", "head") != "head":
        sys.exit(f"{file}: truncation = {settings['truncation']!r} has no counterpart in transformers")
    return settings.get("max_length", DEFAULT_MAX_LENGTH)


if __name__ == "__main__":
    sys.exit(main())
