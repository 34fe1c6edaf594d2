"""Prediction speed of gareum beside PyTorch, ONNX Runtime and OpenVINO: same machine, weights, texts and threads.

    pip install -r bench/requirements.txt
    python bench/predict_vs_peers.py --gareum target/release/gareum [--shape minilm] [--workload S1 S2 latency] [--peers NAME ...] [--rounds 3] [--unsorted]

Workloads: S1, every text exactly 128 tokens; S2, log-normal lengths (sigma 0.7) clipped to [5, 128] with a mean of 29 tokens; latency, texts of 28 tokens, one at a
time. Texts come to the peers in batches of 32, sorted by length (`--unsorted`: in the order of the file) and padded to the longest of their batch. Those of S2
are whole batches, evenly spaced, of 1,600 sorted texts: the batches are as full as in a file of that size, and all sides predict the same texts.

Each side runs in a process of its own, and each run of a peer stands between two of gareum in the same precision. gareum's int8 is what
`gareum compress --to int8` makes of the model, with the rest in `--int8-rest`. The order is turned round from round to round. Not timed: loading, tokenising, padding, and a warm-up in which the peer sees every shape that it will be timed on.
Before the rounds, every way to run a peer (torch.autocast or weights in bf16, one batch on all threads or one on each, ...) is tried; the fastest is taken, for
each workload. Its logits on 64 texts of all lengths must be those of PyTorch in f32, within a tolerance of the precision, in proportion to how much logits differ between texts.
A peer whose packages are missing, or that cannot run, is left out with a message.

Prints a table for each workload, then JSON. Ratios are gareum's over the peer's in the same round, where gareum's is the mean of the runs before and after: of
examples per second (above 1, gareum is faster), and of milliseconds in the table of latencies (below 1, gareum is faster).
Memory: peak resident set of the peer's process less what was resident after its imports; of gareum, the whole process.
Exit status 1 when logits differ by more than they may.
"""

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comparison import (
    LABELS,
    MAX_LENGTH,
    SEED,
    Failed,
    add_common_arguments,
    chosen_for,
    lengths_s2,
    machine,
    markdown,
    read_examples,
    resident_bytes,
    run,
    run_json,
    settings,
    shown,
    spread,
    versions,
    write_data,
    write_model,
    write_report,
)

WORKLOADS = ("S1", "S2", "latency")
BATCHES = {"minilm": {"S1": 8, "S2": 50}, "bert-base": {"S1": 3, "S2": 10}}
POOL = 50  # batches of S2 that the texts are drawn from
REPEATS = {"minilm": 400, "bert-base": 200}
LATENCY_TEXTS = 32
TRIAL_BATCHES = 10
CHECK_TEXTS = 64  # of the lengths of S2
# Root mean square of the difference from PyTorch's logits in f32, over that of the logits' own difference from text to text. A peer that does not read its
# input is at 1. Random weights feel rounding more than trained ones do.
TOLERANCES = {"f32": 1e-3, "bf16": 0.15, "int8": 0.6}
# With the usual 0.02, random models answer nearly the same to every text, and rounding in bf16 is half of what is left.
INITIALIZER_RANGE = 0.05
REFERENCE = "torch-f32"
MEASURES = ("examples_per_second", "tokens_per_second", "p50_ms", "p99_ms")


def main() -> int:
    args = arguments()
    if args.run_peer:
        print(json.dumps(run_peer(json.loads(args.run_peer))))
        return 0
    if args.write_onnx:
        write_onnx(Path(args.write_onnx))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tokenizer = write_model(args, work / "model", initializer_range=INITIALIZER_RANGE)
        here = Here(args, work)
        here.leave_out_what_is_missing()
        write_texts(here, tokenizer, "check", lengths_s2(CHECK_TEXTS, np.random.default_rng(SEED)))
        results = [compare(here, workload, tokenizer) for workload in args.workload]
    found = versions(args.gareum, "torch", "transformers", "onnx", "onnxruntime", "openvino", "numpy")
    report = {"machine": machine(), "versions": found, "settings": settings(args, {"run_peer", "write_onnx"})}
    checked = [{"side": name, "way": way} | found for (name, way), found in here.checked.items()]
    report |= {"left_out": here.left_out, "differing": here.differing, "checked": checked, "workloads": results}
    write_report(args, "\n\n".join(table(result) for result in results), report)
    for message in here.differing:
        print(f"DIFFERENT: {message}", file=sys.stderr)
    return 1 if here.differing else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--gareum-precision", nargs="*", choices=["f32", "bf16", "int8"], default=["f32", "bf16", "int8"], help="none: the peers alone")
    parser.add_argument("--int8-rest", choices=["f32", "bf16"], default="bf16", help="what gareum's int8 computes everything but its products in")
    parser.add_argument("--batches", type=int, help=f"of the peers (default: {BATCHES})")
    parser.add_argument("--unsorted", action="store_true", help="the peers' batches are not sorted by length")
    parser.add_argument("--latency-tokens", type=int, default=28)
    parser.add_argument("--latency-repeats", type=int, help=f"timed texts of the peers (default: {REPEATS})")
    parser.add_argument("--gareum-option", action="append", default=[], metavar="OPTION", help="further options for gareum bench")
    parser.add_argument("--run-peer", help=argparse.SUPPRESS)
    parser.add_argument("--write-onnx", help=argparse.SUPPRESS)
    return parser.parse_args()


# Peers: how each is loaded. A loader takes the model's folder, the threads and the batches' shapes, and returns a function from batches to their logits.

Batch = tuple[np.ndarray, np.ndarray]  # input_ids and attention_mask, [batch, length]
Predict = Callable[[list[Batch]], list[np.ndarray]]


@dataclass
class Peer:
    precision: str
    packages: tuple[str, ...]
    # Name of a way to run the peer, and its loader; the fastest is taken.
    ways: dict[str, Callable[["Loading"], Predict]]
    needs_onnx: bool = False


@dataclass
class Loading:
    model: Path
    threads: int
    shapes: int
    """How many different shapes the batches have."""
    one_by_one: bool
    """Batches come one after another (latency), so running several at once helps nothing."""


class NotHere(Exception):
    """This way makes no sense for the workload."""


def torch_eager(dtype: str = "float32", autocast: bool = False):
    def load(loading: Loading) -> Predict:
        return torch_predict(torch_model(loading, dtype), autocast)

    return load


def torch_int8(engine: str):
    def load(loading: Loading) -> Predict:
        import torch

        if engine not in torch.backends.quantized.supported_engines:
            raise NotHere(f"PyTorch has no {engine} here")
        torch.backends.quantized.engine = engine
        model = torch.ao.quantization.quantize_dynamic(torch_model(loading), {torch.nn.Linear}, dtype=torch.qint8)
        return torch_predict(model)

    return load


def torch_compiled(dtype: str = "float32"):
    def load(loading: Loading) -> Predict:
        import torch
        import torch._inductor.config

        torch._inductor.config.freezing = True  # weights are constants, packed once
        return torch_predict(torch.compile(torch_model(loading, dtype), dynamic=loading.shapes > 1))

    return load


def torch_model(loading: Loading, dtype: str = "float32"):
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(loading.threads)
    model = AutoModelForSequenceClassification.from_pretrained(loading.model, attn_implementation="sdpa", dtype=getattr(torch, dtype))
    return model.eval()


def torch_predict(model, autocast: bool = False) -> Predict:
    import torch

    def predict(batches: list[Batch]) -> list[np.ndarray]:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return [model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.float().numpy() for ids, mask in batches]

    return predict


def onnx(file: str, batch_a_thread: bool = False):
    def load(loading: Loading) -> Predict:
        import onnxruntime

        path = loading.model / file
        if not path.exists():
            raise NotHere(f"{file} could not be written")
        if batch_a_thread and (loading.one_by_one or loading.threads == 1):
            raise NotHere("one batch at a time")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = 1 if batch_a_thread else loading.threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        one = lambda batch: session.run(None, {"input_ids": batch[0], "attention_mask": batch[1]})[0]
        if not batch_a_thread:
            return lambda batches: [one(batch) for batch in batches]
        pool = ThreadPoolExecutor(loading.threads)
        return lambda batches: list(pool.map(one, batches))

    return load


def openvino(precision: str, batch_a_thread: bool = False):
    def load(loading: Loading) -> Predict:
        import openvino

        if batch_a_thread and (loading.one_by_one or loading.threads == 1):
            raise NotHere("one batch at a time")
        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise NotHere("OpenVINO has no bf16 on this processor")
        hint, streams = ("THROUGHPUT", loading.threads) if batch_a_thread else ("LATENCY", 1)
        config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": loading.threads, "PERFORMANCE_HINT": hint, "NUM_STREAMS": streams}
        compiled = core.compile_model(core.read_model(loading.model / "plain.onnx"), "CPU", config)
        if not batch_a_thread:
            request = compiled.create_infer_request()
            return lambda batches: [request.infer({"input_ids": ids, "attention_mask": mask})[0].copy() for ids, mask in batches]
        queue = openvino.AsyncInferQueue(compiled, loading.threads)

        def predict(batches: list[Batch]) -> list[np.ndarray]:
            logits = [None] * len(batches)

            def keep(request, index: int) -> None:
                logits[index] = request.get_output_tensor(0).data.copy()

            queue.set_callback(keep)
            for index, (ids, mask) in enumerate(batches):
                queue.start_async({"input_ids": ids, "attention_mask": mask}, index)
            queue.wait_all()
            return logits

        return predict

    return load


TORCH, ONNX, OPENVINO = ("torch", "transformers"), ("onnxruntime", "onnx"), ("openvino", "onnx")
PEERS = {
    "torch-f32": Peer("f32", TORCH, {"sdpa": torch_eager()}),
    "compile-f32": Peer("f32", TORCH, {"frozen": torch_compiled()}),
    "onnx-f32": Peer(
        "f32",
        ONNX,
        {
            "fused": onnx("fused.onnx"),
            "plain": onnx("plain.onnx"),
            "fused, batch a thread": onnx("fused.onnx", batch_a_thread=True),
        },
        needs_onnx=True,
    ),
    "openvino-f32": Peer("f32", OPENVINO, {"latency": openvino("f32"), "batch a thread": openvino("f32", batch_a_thread=True)}, needs_onnx=True),
    "torch-bf16": Peer("bf16", TORCH, {"autocast": torch_eager(autocast=True), "weights in bf16": torch_eager("bfloat16")}),
    "compile-bf16": Peer("bf16", TORCH, {"frozen": torch_compiled("bfloat16")}),
    "openvino-bf16": Peer("bf16", OPENVINO, {"latency": openvino("bf16"), "batch a thread": openvino("bf16", batch_a_thread=True)}, needs_onnx=True),
    "torch-int8": Peer("int8", TORCH, {"x86": torch_int8("x86"), "onednn": torch_int8("onednn")}),
    "onnx-int8": Peer(
        "int8",
        ONNX,
        {
            "fused": onnx("fused-int8.onnx"),
            "plain": onnx("plain-int8.onnx"),
            "fused, batch a thread": onnx("fused-int8.onnx", batch_a_thread=True),
        },
        needs_onnx=True,
    ),
}


# Exported models


def write_onnx(folder: Path) -> None:
    """`plain.onnx`, and where onnxruntime is here `fused.onnx` (its optimiser for transformers) and both in dynamic int8."""
    import torch
    from transformers import AutoModelForSequenceClassification

    warnings.simplefilter("ignore")

    class Logits(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    # Eager attention and the exporter of TorchScript: onnxruntime's optimiser knows attention in this form only, and OpenVINO runs it as fast as any.
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.randint(1000, 2000, (2, 9))
    names, axes = ["input_ids", "attention_mask"], {0: "batch", 1: "length"}
    dynamic = {name: axes for name in names} | {"logits": {0: "batch"}}
    plain = folder / "plain.onnx"
    arguments = dict(input_names=names, output_names=["logits"], dynamic_axes=dynamic, opset_version=17, dynamo=False)
    torch.onnx.export(Logits(model), (ids, torch.ones_like(ids)), str(plain), **arguments)
    if importlib.util.find_spec("onnxruntime"):
        write_fused(plain, model.config)
        for name in ("plain", "fused"):
            write_int8(folder / f"{name}.onnx", folder / f"{name}-int8.onnx")


def write_fused(plain: Path, config) -> None:
    from onnxruntime.transformers import optimizer

    heads, size = config.num_attention_heads, config.hidden_size
    fused = optimizer.optimize_model(str(plain), model_type="bert", num_heads=heads, hidden_size=size, opt_level=0)
    print(f"onnxruntime's optimiser fused {fused.get_fused_operator_statistics()}", file=sys.stderr)
    fused.save_model_to_file(str(plain.with_name("fused.onnx")))


def write_int8(source: Path, target: Path) -> None:
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The types behind onnxruntime's own operators are not known to shape inference.
    options = {"DefaultTensorType": TensorProto.FLOAT}
    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, extra_options=options)


# A peer, in a process of its own


def run_peer(chosen: dict) -> dict:
    """Warms up, then times the texts; the logits go to a file. A way that makes no sense here is told in `not_here`."""
    warnings.simplefilter("ignore")
    peer = PEERS[chosen["peer"]]
    for package in peer.packages:
        importlib.import_module(package)
    if "transformers" in peer.packages:
        import transformers

        transformers.AutoModelForSequenceClassification  # imported when it is first named
        transformers.utils.logging.disable_progress_bar()
    memory_after_imports = resident_bytes()
    texts = json.loads(Path(chosen["texts"]).read_text())
    batches = make_batches(texts, chosen["batch_size"], chosen["sorted"])
    batches = batches[:: max(1, len(batches) // TRIAL_BATCHES)] if chosen["trial"] else batches
    padded = [pad([texts[index] for index in batch]) for batch in batches]
    shapes = {ids.shape: (ids, mask) for ids, mask in padded}
    try:
        predict = peer.ways[chosen["way"]](Loading(Path(chosen["model"]), chosen["threads"], len(shapes), chosen["repeats"] > 0))
    except NotHere as reason:
        return {"not_here": str(reason)}
    measured = times_one_by_one(predict, padded, chosen["repeats"]) if chosen["repeats"] else time_all(predict, padded, shapes, chosen["trial"])
    measured |= {
        "padding_share": 1 - float(sum(mask.sum() for _, mask in padded) / sum(mask.size for _, mask in padded)),
        "peak_memory_bytes": resident_bytes("VmHWM"),
        "memory_after_imports_bytes": memory_after_imports,
    }
    if chosen["check"]:  # after the timing, so that its shapes are not among those that a compiler sees first
        texts = json.loads(Path(chosen["check"]).read_text())
        batches = make_batches(texts, CHECK_TEXTS // 2, False)
        measured["logits"] = np.concatenate(predict([pad([texts[index] for index in batch]) for batch in batches])).tolist()
    return measured


def make_batches(texts: list[list[int]], batch_size: int, by_length: bool) -> list[list[int]]:
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index])) if by_length else list(range(len(texts)))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def pad(texts: list[list[int]]) -> Batch:
    """`input_ids` with 0 for padding, which the mask hides, and `attention_mask`."""
    longest = max(map(len, texts))
    ids = np.array([text + [0] * (longest - len(text)) for text in texts], np.int64)
    mask = np.array([[1] * len(text) + [0] * (longest - len(text)) for text in texts], np.int64)
    return ids, mask


def time_all(predict: Predict, padded: list[Batch], shapes: dict, trial: bool) -> dict:
    predict(list(shapes.values()))
    predict(padded[:2])
    passes = []
    for _ in range(2 if trial else 1):  # the better of two, so that one disturbance does not choose the slower way
        started = time.perf_counter()
        predict(padded)
        passes.append(time.perf_counter() - started)
    seconds = min(passes)
    examples, tokens = (sum(int(value) for value in values) for values in (map(len, (ids for ids, _ in padded)), (mask.sum() for _, mask in padded)))
    return {"seconds": seconds, "examples": examples, "examples_per_second": examples / seconds, "tokens_per_second": tokens / seconds}


def times_one_by_one(predict: Predict, padded: list[Batch], repeats: int) -> dict:
    milliseconds = []
    for number in range(repeats + repeats // 5):
        started = time.perf_counter()
        predict([padded[number % len(padded)]])
        milliseconds.append((time.perf_counter() - started) * 1e3)
    timed = milliseconds[-repeats:]  # the first sixth is warm-up
    return {"repeats": repeats, "p50_ms": float(np.percentile(timed, 50)), "p99_ms": float(np.percentile(timed, 99))}


# Rounds


@dataclass
class Here:
    """What runs here: arguments, folder, the peers that can be run, what was left out and why, and what was compared."""

    args: argparse.Namespace
    work: Path
    peers: dict[str, Peer] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    # Of PyTorch in f32 for the texts that are checked, [texts, labels].
    reference: np.ndarray | None = None
    # How much logits differ, of each peer's ways, and scores, of gareum's precisions.
    checked: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(f"{name}: {reason}")
        print(f"LEFT OUT {self.left_out[-1]}", file=sys.stderr, flush=True)

    def leave_out_what_is_missing(self) -> None:
        self.peers = {name: PEERS[name] for name in self.args.peers}
        for name, peer in list(self.peers.items()):
            missing = [package for package in peer.packages if importlib.util.find_spec(package) is None]
            if missing:
                del self.peers[name]
                self.leave_out(name, f"no package {', '.join(missing)} (pip install -r bench/requirements.txt)")
        if not any(peer.needs_onnx for peer in self.peers.values()):
            return
        try:
            run([sys.executable, __file__, "--write-onnx", self.work / "model"], self.args.threads)
        except Failed as failure:
            if not (self.work / "model" / "plain.onnx").exists():
                self.peers = {name: peer for name, peer in self.peers.items() if not peer.needs_onnx}
            self.leave_out("export to ONNX", failure.reason())


    def note_difference(self, name: str, way: str, values: np.ndarray, reference: np.ndarray, precision: str, what: str) -> None:
        """The largest difference of a logit or score, and how large differences are beside those between texts."""
        largest = np.abs(values - reference).max()
        share = ((values - reference) ** 2).mean() ** 0.5 / ((reference - reference.mean(0)) ** 2).mean() ** 0.5
        self.checked[name, way] = {f"largest_{what}_difference": float(largest), "share_of_deviation": float(share)}
        told = f"{name} ({way}): the largest difference of a {what} is {largest:.1e}; in the mean, {share:.1e} of what texts differ by"
        print(told, file=sys.stderr, flush=True)
        if not share <= TOLERANCES[precision]:
            self.differing.append(told)


def compare(here: Here, workload: str, tokenizer) -> dict:
    """Rounds of gareum and all peers on a workload."""
    args, lengths = here.args, lengths_of(here.args, workload)
    tokens = write_texts(here, tokenizer, workload, lengths)
    ways, tried = fastest_ways(here, workload)
    precisions = [precision for precision in args.gareum_precision if gareum_is_here(here, workload, precision)]
    runs = {name: [] for name in ways}
    beside = {}  # the precision of gareum beside each peer
    gareum_runs = {precision: [] for precision in precisions}
    for number in range(args.rounds):
        for precision, names in groups(precisions, ways).items():
            before = gareum_run(here, workload, precision, number, gareum_runs) if precision else None
            for name in reversed(names) if number % 2 else names:
                measured = peer_run(here, workload, name, ways[name])
                tell(workload, number, name, measured)
                after = gareum_run(here, workload, precision, number, gareum_runs) if precision else None
                runs[name].append(measured | ({"gareum": both(before, after)} if precision else {}))
                beside[name], before = precision, after
    described = {"workload": workload, "examples": len(lengths), "tokens": tokens, "mean_length": tokens / len(lengths)}
    described["gareum"] = {precision: here.checked.get(("gareum", precision), {}) | gareum_summary(gareum_runs[precision]) for precision in precisions}
    described["peers"] = {}
    for name, way in ways.items():
        about = {"precision": here.peers[name].precision, "way": way, "beside": beside.get(name), "tried": tried[name]}
        described["peers"][name] = about | here.checked[name, way] | summary(runs[name])
    return described


def write_texts(here: Here, tokenizer, name: str, lengths: np.ndarray) -> int:
    """A csv for gareum, and the same as token ids for the peers; returns the number of tokens."""
    data = here.work / f"{name}.csv"
    tokens = write_data(data, tokenizer, lengths, np.random.default_rng(SEED))
    data.with_suffix(".json").write_text(json.dumps([ids for ids, _ in read_examples(data, tokenizer)]))
    return tokens


def lengths_of(args: argparse.Namespace, workload: str) -> np.ndarray:
    if workload == "latency":
        return np.full(LATENCY_TEXTS, args.latency_tokens)
    batches = args.batches or chosen_for(args, BATCHES)[workload]
    if workload == "S1":
        return np.full(batches * args.batch_size, MAX_LENGTH)
    rng = np.random.default_rng(SEED)
    pool = lengths_s2(max(POOL, batches) * args.batch_size, rng)
    if args.unsorted:
        return pool[: batches * args.batch_size]
    by_length = np.sort(pool).reshape(-1, args.batch_size)
    chosen = by_length[[int((part + 0.5) * len(by_length) / batches) for part in range(batches)]]
    return rng.permutation(chosen.ravel())


def groups(precisions: list[str], ways: dict[str, str]) -> dict[str | None, list[str]]:
    """The peers beside each of gareum's precisions; one that gareum does not have is beside the last. `None`: gareum is not here."""
    found = {}
    for name in ways:
        wanted = PEERS[name].precision
        last = precisions[-1] if precisions and wanted == "int8" else None
        found.setdefault(wanted if wanted in precisions else last, []).append(name)
    return found


def fastest_ways(here: Here, workload: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Tries every way of every peer. Returns the fastest way of each peer that gives PyTorch's logits, and what all of them did."""
    ways, tried = {}, {}
    for name in dict.fromkeys([REFERENCE, *here.peers] if here.reference is None else here.peers):
        right, tried[name] = {}, {}
        for way in PEERS[name].ways:
            try:
                measured = peer_run(here, workload, name, way, trial=True)
            except Failed as failure:
                tried[name][way] = failure.reason()
                here.leave_out(f"{workload} {name} ({way})", failure.reason())
                continue
            tried[name][way] = measured.get("not_here") or speed(measured)
            print(f"{workload} trial {name} ({way}): {tried[name][way]}", file=sys.stderr, flush=True)
            if "not_here" not in measured and is_right(here, name, way, measured.get("logits")):
                right[way] = measured
        if here.reference is None:
            raise SystemExit("PyTorch cannot predict here, so there is nothing to compare with")
        if right and name in here.peers:
            ways[name] = min(right, key=lambda way: right[way].get("p50_ms") or 1 / right[way]["examples_per_second"])
        elif name in here.peers:
            here.leave_out(f"{workload} {name}", "no way to run it")
    return ways, tried


def is_right(here: Here, name: str, way: str, logits: list | None) -> bool:
    """Whether this way gives PyTorch's logits; they are there when it runs for the first time."""
    if logits is not None:
        logits = np.array(logits)
        here.reference = logits if here.reference is None else here.reference
        here.note_difference(name, way, logits, here.reference, PEERS[name].precision, "logit")
    return here.checked[name, way]["share_of_deviation"] <= TOLERANCES[PEERS[name].precision]


def peer_run(here: Here, workload: str, name: str, way: str, trial: bool = False) -> dict:
    args = here.args
    repeats = (args.latency_repeats or chosen_for(args, REPEATS)) if workload == "latency" else 0
    chosen = {
        "peer": name,
        "way": way,
        "model": str(here.work / "model"),
        "texts": str(here.work / f"{workload}.json"),
        "threads": args.threads,
        "batch_size": 1 if repeats else args.batch_size,
        "sorted": not args.unsorted,
        "trial": trial,
        "check": str(here.work / "check.json") if trial and (name, way) not in here.checked else None,
        "repeats": max(20, repeats // 4) if trial and repeats else repeats,
    }
    # What torch.compile has made is kept for the next round.
    return run_json([sys.executable, __file__, "--run-peer", json.dumps(chosen)], args.threads, {"TORCHINDUCTOR_CACHE_DIR": str(here.work / "compiled")})


# gareum: all that is known of its command line is in these functions


def gareum_model(here: Here, precision: str) -> list:
    """The options that name the model and what it computes in. The first time, int8 makes the model."""
    args, model = here.args, here.work / "model"
    if precision != "int8":
        return ["--model", model, "--precision", precision]
    small = here.work / "model-int8"
    if not small.exists():
        command = [args.gareum, "compress", "--to", "int8", "--model", model, "--output", small, "--data", here.work / "check.csv"]
        # Random weights decide nothing: what the gate says of them is of no use.
        run([*command, "--gate", "100,100", "--threads", args.threads], args.threads)
    return ["--model", small, "--precision", args.int8_rest]


def gareum_bench(here: Here, data: Path, precision: str, latency: bool) -> dict:
    args = here.args
    command = [args.gareum, "bench", *gareum_model(here, precision), "--input", data, "--text", "text"]
    command += ["--batch-size", args.batch_size, "--threads", args.threads, "--json", *args.gareum_option]
    if latency:
        command += ["--latency-tokens", args.latency_tokens]
    answer = run_json(command, args.threads)
    told = {key: answer.get(key) for key in ("peak_memory_bytes", "precision", "instructions", "share_of_peak")}
    if latency:
        if answer["latency"]["tokens"] != args.latency_tokens:
            raise Failed(f"gareum bench took a text of {answer['latency']['tokens']} tokens, not {args.latency_tokens}")
        return told | {key: answer["latency"][key] for key in ("p50_ms", "p99_ms")}
    return told | {key: answer["prediction"][key] for key in ("examples", "tokens", "seconds", "examples_per_second", "tokens_per_second")}


def gareum_scores(here: Here, data: Path, precision: str, output: Path) -> np.ndarray:
    """Probabilities of the labels, `[texts, labels]`."""
    command = [here.args.gareum, "predict", *gareum_model(here, precision), "--input", data, "--text", "text", "--output", output]
    run([*command, "--threads", here.args.threads], here.args.threads)
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return np.array([[row["scores"][label] for label in LABELS] for row in rows])


def gareum_is_here(here: Here, workload: str, precision: str) -> bool:
    """One run that is not counted."""
    try:
        gareum_bench(here, here.work / f"{workload}.csv", precision, workload == "latency")
    except Failed as failure:
        here.leave_out(f"{workload} gareum {precision}", failure.reason())
        return False
    if ("gareum", precision) not in here.checked:
        check_gareum(here, precision)
    return True


def check_gareum(here: Here, precision: str) -> None:
    """Compares gareum's scores with the soft-max of PyTorch's logits."""
    try:
        scores = gareum_scores(here, here.work / "check.csv", precision, here.work / "scores.jsonl")
    except Failed as failure:
        here.checked["gareum", precision] = {}
        here.leave_out(f"check of gareum's scores in {precision}", failure.reason())
        return
    exponentials = np.exp(here.reference - here.reference.max(1, keepdims=True))
    here.note_difference("gareum", precision, scores, exponentials / exponentials.sum(1, keepdims=True), precision, "score")


def gareum_run(here: Here, workload: str, precision: str, number: int, runs: dict[str, list[dict]]) -> dict:
    measured = gareum_bench(here, here.work / f"{workload}.csv", precision, workload == "latency")
    runs[precision].append(measured)
    tell(workload, number, f"gareum {precision}", measured)
    return measured


def both(before: dict, after: dict) -> dict[str, float]:
    return {key: (before[key] + after[key]) / 2 for key in MEASURES if key in before}


def tell(workload: str, number: int, side: str, measured: dict) -> None:
    print(f"{workload} round {number + 1} {side}: {speed(measured)}", file=sys.stderr, flush=True)


def speed(measured: dict) -> str:
    if "p50_ms" in measured:
        return f"p50 {measured['p50_ms']:.2f} ms, p99 {measured['p99_ms']:.2f} ms"
    return f"{measured['examples_per_second']:.1f} examples/s"


def summary(runs: list[dict]) -> dict:
    keys = [key for key in MEASURES if key in runs[0]]
    result = {key: spread([run[key] for run in runs]) for key in keys}
    if "gareum" in runs[0]:
        for key in runs[0]["gareum"]:
            result[f"{key}_ratio"] = spread([run["gareum"][key] / run[key] for run in runs])
    memory = {
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
        "memory_without_imports_bytes": max(run["peak_memory_bytes"] - run["memory_after_imports_bytes"] for run in runs),
    }
    return result | memory | {"padding_share": runs[0]["padding_share"], "runs": runs}


def gareum_summary(runs: list[dict]) -> dict:
    keys = [key for key in (*MEASURES, "share_of_peak") if runs and runs[0].get(key) is not None]
    memory = max((run["peak_memory_bytes"] or 0 for run in runs), default=0)
    return {key: spread([run[key] for run in runs]) for key in keys} | {"peak_memory_bytes": memory, "runs": runs}


# Report


def table(result: dict) -> str:
    latency = result["workload"] == "latency"
    measures = ["p50_ms", "p99_ms"] if latency else ["examples_per_second"]
    units = {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "examples_per_second": "examples/s"}
    header = ["side", "precision", *(f"{units[key]} (min..max)" for key in measures)]
    header += ["gareum / peer, p50 (min..max)" if latency else "gareum / peer (min..max)", "padding", "MiB without imports", "largest logit difference (share)"]
    rows = []
    for precision, ours in result["gareum"].items():
        if ours["runs"]:
            cells = ["**gareum**", precision, *(shown(ours[key], 2 if latency else 1) for key in measures), "", "0%"]
            rows.append(cells + [mebibytes(ours["peak_memory_bytes"]), f"{ours['largest_score_difference']:.1e} of a score ({ours['share_of_deviation']:.1e})" if "share_of_deviation" in ours else ""])
    for name, peer in result["peers"].items():
        beside = f" beside {peer['beside']}" if peer["beside"] not in (None, peer["precision"]) else ""
        cells = [f"{name} ({peer['way']})", peer["precision"] + beside, *(shown(peer[key], 2 if latency else 1) for key in measures)]
        cells += [shown(peer[f"{measures[0]}_ratio"]) if peer["beside"] else "", f"{peer['padding_share']:.0%}"]
        rows.append(cells + [mebibytes(peer["memory_without_imports_bytes"]), f"{peer['largest_logit_difference']:.1e} ({peer['share_of_deviation']:.1e})"])
    return f"{result['workload']}, {result['examples']} texts, mean {result['mean_length']:.1f} tokens\n\n" + markdown(header, rows)


def mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f}"


if __name__ == "__main__":
    sys.exit(main())
