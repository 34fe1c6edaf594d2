"""Do the graphs that gareum exports give in ONNX Runtime what gareum and transformers give?

    python tests/reference/onnx_reference.py --gareum target/release/gareum [--family bert ...] [--data FILE --text COL [--text-pair COL]]
        Every fixture of an encoder, exported: logits beside those of transformers in float64, on one padded batch and on each sequence alone.
        With --data, a tiny random model of each family as well, as roundtrip.py makes them: scores beside those of `gareum predict`.
    python tests/reference/onnx_reference.py --gareum ... --model DIR --data FILE [--text COL] [--text-pair COL] [--label COL] [--rows N]
        One model: scores of both graphs beside those of `gareum predict`; with --label the gate of `gareum compress`; sizes and speed.

Each graph is checked by onnx, with its shapes. Exit status 1 where a score of the wide graph differs by more than 1e-4, or the narrow one does not pass
the gate: macro-F1 may fall by half a point, one label of a hundred may change.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import roundtrip
import transformers
from safetensors.numpy import load_file
from sklearn.metrics import f1_score
from tokenizers import Tokenizer

FIXTURES = Path(__file__).parent / "fixtures"
ENCODERS = ["bert", "roberta", "electra", "distilbert", "deberta-v2", "deberta-v2-conv", "deberta-v2-c2p", "deberta-v2-p2c", "deberta-v2-plain"]
ENCODERS += ["bart", "mbart", "modernbert", "modernbert_mean"]
DECODERS = ["qwen2", "qwen3", "mistral", "llama", "gpt_neox"]
TOLERANCE = 1e-4
MAX_DROP, MAX_FLIPS = 0.005, 0.01
BATCH_SIZE = 32
WIDE, NARROW = "model.onnx", "model_quantized.onnx"


def main() -> int:
    args = arguments()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if args.model:
            return 0 if check_model(args, work) else 1
        passed = [check_fixture(args, name, work) for name in ENCODERS if not args.family or name.startswith(tuple(args.family))]
        passed += [check_decoder(args, name, work) for name in DECODERS if not args.family]
        if args.data:
            passed += check_families(args, work)
    print("same" if all(passed) else "DIFFERENT")
    return 0 if all(passed) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", required=True, type=Path)
    parser.add_argument("--family", nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--text-pair")
    parser.add_argument("--label")
    parser.add_argument("--rows", type=int, default=200)
    args = parser.parse_args()
    args.predict_arguments = ["--precision", "f32", "--quiet"]
    if args.model and not args.data:
        parser.error("--model needs --data")
    return args


# Graphs


def export(args: argparse.Namespace, model: Path, output: Path) -> subprocess.CompletedProcess:
    command = [args.gareum, "export", "onnx", "--int8", "--quiet", "--model", model, "--output", output]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})


def exported(args: argparse.Namespace, model: Path, output: Path) -> Path:
    finished = export(args, model, output)
    if finished.returncode:
        sys.exit(f"{model}: {finished.stderr}")
    for name in (WIDE, NARROW):
        onnx.checker.check_model(str(output / "onnx" / name), full_check=True)
        graph = onnx.load(output / "onnx" / name, load_external_data=False)
        domains = {node.domain for node in graph.graph.node}
        assert domains == {""}, domains
    return output


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(graph: onnxruntime.InferenceSession, ids: list[list[int]], types: list[list[int]] | None) -> np.ndarray:
    """The logits of one padded batch."""
    shape = len(ids), max(map(len, ids))
    inputs = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    # Padding is a token of the vocabulary, which must not matter.
    inputs["input_ids"] += 3
    for row, of_row in enumerate(ids):
        inputs["input_ids"][row, : len(of_row)] = of_row
        inputs["attention_mask"][row, : len(of_row)] = 1
        if types:
            inputs["token_type_ids"][row, : len(of_row)] = types[row]
    wanted = {argument.name for argument in graph.get_inputs()}
    return graph.run(["logits"], {name: value for name, value in inputs.items() if name in wanted})[0]


def probabilities(logits: np.ndarray, problem: str) -> np.ndarray:
    if problem == "regression":
        return logits
    if problem == "multi_label_classification":
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


# Fixtures


def with_tokenizer(name: str, work: Path) -> Path:
    """A fixture beside a vocabulary of letters."""
    folder = work / f"{name}-model"
    folder.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(FIXTURES / name / file, folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    (folder / "vocab.txt").write_text("\n".join(words[:size]) + "\n")
    return folder


def check_fixture(args: argparse.Namespace, name: str, work: Path) -> bool:
    output = exported(args, with_tokenizer(name, work), work / f"{name}-onnx")
    cases = json.loads((FIXTURES / name / "reference.json").read_text())["cases"]
    expected = load_file(FIXTURES / name / "reference.safetensors")
    wide, narrow = (session(output / "onnx" / file) for file in (WIDE, NARROW))
    worst, alone, shift = 0.0, 0.0, 0.0
    for case, description in cases.items():
        batch, problem = description["batch"], description["problem_type"]
        ids, types = batch["input_ids"], batch.get("token_type_ids")
        logits = run(wide, ids, types)
        single = np.concatenate([run(wide, [ids[row]], types and [types[row]]) for row in range(len(ids))])
        reference = expected[f"{case}.logits"]
        worst = max(worst, np.abs(probabilities(logits, problem) - probabilities(reference, problem)).max())
        alone = max(alone, np.abs(logits - single).max())
        shift = max(shift, np.abs(probabilities(run(narrow, ids, types), problem) - probabilities(reference, problem)).max())
    print(f"{name:18} of transformers' scores {worst:.1e}, padded beside alone {alone:.1e}; int8 {shift:.1e}")
    return bool(worst <= TOLERANCE and alone <= TOLERANCE)


def check_decoder(args: argparse.Namespace, name: str, work: Path) -> bool:
    finished = export(args, with_tokenizer(name, work), work / f"{name}-onnx")
    print(f"{name:18} {finished.stderr.splitlines()[0] if finished.stderr else 'exported'}")
    return finished.returncode == 2 and "decoders are not exported" in finished.stderr


# Real rows


@dataclass
class Scores:
    """Of each row, in the order of the labels."""

    names: list[str]
    values: np.ndarray


def check_families(args: argparse.Namespace, work: Path) -> list[bool]:
    rows = roundtrip.read_rows(args)
    vocabulary = roundtrip.DATA / "tokenizers" / "bert-base-uncased" / "vocab.txt"
    tokenizer = transformers.BertTokenizer(vocab=str(vocabulary), do_lower_case=True)
    passed = []
    for family in roundtrip.FAMILIES:
        if family in DECODERS or args.family and family not in args.family:
            continue
        roundtrip.torch.manual_seed(roundtrip.SEED)
        folder = roundtrip.save(roundtrip.tiny(family, tokenizer), tokenizer, work / family)
        output = exported(args, folder, work / f"{family}-tiny-onnx")
        ours = gareum_scores(args, folder, rows, work)
        difference, shift = (np.abs(graph_scores(output, name, rows, ours.names)[0] - ours.values).max() for name in (WIDE, NARROW))
        print(f"{family:18} {len(rows.texts)} rows, of gareum's scores {difference:.1e}; int8 {shift:.1e}")
        passed.append(bool(difference <= TOLERANCE))
    return passed


def check_model(args: argparse.Namespace, work: Path) -> bool:
    rows = roundtrip.read_rows(args)
    output = exported(args, args.model, work / "onnx")
    ours = gareum_scores(args, args.model, rows, work)
    truth = [record[args.label] for record in roundtrip.records(args.data)][: len(rows.texts)] if args.label else None
    passed, figures = True, {}
    for name in (WIDE, NARROW):
        scores, seconds = graph_scores(output, name, rows, ours.names)
        size = sum(file.stat().st_size for file in (output / "onnx").glob(f"{name}*"))
        labels = [ours.names[index] for index in scores.argmax(-1)]
        figures[name] = f1_score(truth, labels, average="macro") if truth else float("nan")
        flips = np.mean(scores.argmax(-1) != ours.values.argmax(-1))
        shift = np.abs(scores - ours.values).max(-1)
        print(
            f"{name:20} {size / 1e6:8.1f} MB, {len(scores) / seconds:7.1f} texts/s, scores moved {shift.mean():.1e} (at most {shift.max():.1e}), "
            f"{100 * flips:.2f} % of labels changed, macro-F1 {figures[name]:.4f}"
        )
        if name == WIDE:
            passed &= bool(shift.max() <= TOLERANCE)
        elif truth:
            passed &= bool(flips <= MAX_FLIPS and figures[WIDE] - figures[NARROW] <= MAX_DROP)
    return passed


def gareum_scores(args: argparse.Namespace, model: Path, rows: roundtrip.Rows, work: Path) -> Scores:
    predictions = [prediction["scores"] for prediction in roundtrip.gareum_predictions(args, model, rows, work)]
    names = list(predictions[0])
    return Scores(names, np.array([[prediction[name] for name in names] for prediction in predictions]))


def graph_scores(output: Path, name: str, rows: roundtrip.Rows, names: list[str]) -> tuple[np.ndarray, float]:
    """Scores in padded batches of texts in the order of the file, and the seconds that a second pass took."""
    config = json.loads((output / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(roundtrip.truncation_length(output))
    texts = list(zip(rows.texts, rows.pairs)) if rows.pairs else rows.texts
    encoded = tokenizer.encode_batch(texts)
    graph = session(output / "onnx" / name)
    batches = [encoded[start : start + BATCH_SIZE] for start in range(0, len(encoded), BATCH_SIZE)]
    for _ in range(2):
        start = time.perf_counter()
        logits = [run(graph, [one.ids for one in batch], [one.type_ids for one in batch]) for batch in batches]
        seconds = time.perf_counter() - start
    logits = np.concatenate(logits) / roundtrip.temperature_of(output)
    order = [config["label2id"][label] for label in names]
    return probabilities(logits, config["problem_type"])[:, order], seconds


if __name__ == "__main__":
    sys.exit(main())
