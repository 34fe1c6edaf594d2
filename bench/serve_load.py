"""`gareum serve` under load, beside what `gareum predict` reaches offline and beside FastAPI with ONNX Runtime: same machine, weights, texts and threads.

    python bench/serve_load.py --gareum target/release/gareum [--shape minilm | --model DIR] [--int8] [--rounds 3] [--seconds 10] [--overload 60] [--no-peer]

Texts have the lengths of S2 (see predict_vs_peers.py). The client (load.rs, compiled here with rustc) runs on the same cores.

In each round, in this order: offline, the texts through `gareum predict` (the time for one text taken off, which is loading); saturated, 64 connections that
ask one text at a time again and again, and 8 that ask 32 at a time; offline again; single, one connection; half, single texts at random times, half as many
a second as at saturation; the peer, saturated and at its own half load. Ratios are of the same round, `offline` the mean of the runs before and after.
Then, once, twice as many texts a second as at saturation, for --overload seconds, with the memory of the server over time.

The processor's time for each text is told beside: where other programs run on the machine, its ratio says more than that of the rates.

Prints a table, then JSON.
"""

import argparse
import csv
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np

from comparison import SEED, add_common_arguments, lengths_s2, machine, markdown, run, settings, shown, spread, versions, write_data, write_model, write_report

HERE = Path(__file__).resolve().parent
INITIALIZER_RANGE = 0.05


def main() -> int:
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        run(["rustc", "--edition", "2024", "-O", HERE / "load.rs", "-o", work / "load"], args.threads)
        tokenizer = write_model(args, work / "plain", initializer_range=INITIALIZER_RANGE)
        texts = write_texts(args, work, tokenizer)
        model = work / "plain"
        if args.int8:
            model = work / "int8"
            command = [args.gareum, "compress", "--to", "int8", "--model", work / "plain", "--output", model, "--data", work / "texts.csv"]
            run([*command, "--gate", "100,100"], args.threads)
        if args.peer:
            run([sys.executable, HERE / "predict_vs_peers.py", "--write-onnx", work / "plain"], args.threads)
        rounds = []
        for number in range(args.rounds):
            rounds.append(one_round(args, work, model, texts))
            print(f"round {number + 1}: {json.dumps(rounds[-1])}", file=sys.stderr)
        report = {"machine": machine(), "versions": versions(args.gareum, "onnxruntime", "fastapi", "uvicorn"), "settings": settings(args, set()), "rounds": rounds}
        if args.overload:
            rate = 2 * statistics.median(found["saturated_1"]["texts_per_second"] for found in rounds)
            report["overload"] = overload(args, work, model, rate)
    write_report(args, table(report), report)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--int8", action="store_true", help="gareum's model in 8 bits, and the peer's")
    parser.add_argument("--precision", choices=["auto", "f32", "bf16"], default="f32", help="of gareum; of an int8 model, everything but its products")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--texts", type=int, help="of the offline runs (default: those of about --seconds)")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds at twice the saturation; 0: none")
    parser.add_argument("--no-peer", dest="peer", action="store_false")
    return parser.parse_args()


def write_texts(args: argparse.Namespace, work: Path, tokenizer) -> int:
    """Texts for the offline runs, and bodies of one and of 32 of them for the client."""
    rng = np.random.default_rng(SEED)
    count = args.texts or (4096 if args.shape == "minilm" else 512)
    write_data(work / "texts.csv", tokenizer, lengths_s2(count, rng), rng)
    with (work / "texts.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    (work / "one.csv").write_text(f"text\n{texts[0]}\n")
    (work / "single.txt").write_text("".join(json.dumps({"inputs": text}) + "\n" for text in texts))
    groups = [texts[start : start + 32] for start in range(0, len(texts) - 31, 32)]
    (work / "batches.txt").write_text("".join(json.dumps({"inputs": [[text] for text in group]}) + "\n" for group in groups))
    return count


def one_round(args: argparse.Namespace, work: Path, model: Path, texts: int) -> dict:
    before = offline(args, work, model, texts)
    # What 8 clients ask for together would take a slow model longer than requests are let wait.
    with Server(gareum(args, model, "--set", "queue.max_wait_ms=60000")) as server:
        load(args, work, server, "single", 8, seconds=2)  # warm-up
        found = {
            "saturated_1": load(args, work, server, "single", 64),
            "saturated_32": load(args, work, server, "batches", 8, texts=32),
        }
    after = offline(args, work, model, texts)
    with Server(gareum(args, model)) as server:
        load(args, work, server, "single", 8, seconds=2)
        found["single"] = load(args, work, server, "single", 1)
        found["half"] = load(args, work, server, "single", 64, rate=found["saturated_1"]["texts_per_second"] / 2)
    mean = {key: (before[key] + after[key]) / 2 for key in before}
    found["offline"] = {"before": before, "after": after} | mean
    if args.peer:
        port = free_port()
        command = [sys.executable, HERE / "serve_peer.py", work / "plain", port, args.threads, *(["--int8"] if args.int8 else [])]
        with Server(command, port) as server:
            load(args, work, server, "single", 8, seconds=2)
            peer = {"saturated_1": load(args, work, server, "single", 64), "saturated_32": load(args, work, server, "batches", 8, texts=32)}
            peer["single"] = load(args, work, server, "single", 1)
            peer["half"] = load(args, work, server, "single", 64, rate=peer["saturated_1"]["texts_per_second"] / 2)
        found["peer"] = peer
    return found


def gareum(args: argparse.Namespace, model: Path, *more: str) -> list:
    quiet = ["--set", "log.level=warn", "--set", "queue.max_requests=256", *more]
    return [args.gareum, "serve", "--model", model, "--port", 0, "--json", "--quiet", "--threads", args.threads, "--precision", args.precision, *quiet]


def offline(args: argparse.Namespace, work: Path, model: Path, texts: int) -> dict:
    """Texts a second of `gareum predict`, and what each takes of the processor."""

    def seconds(file: str) -> tuple[float, float]:
        begin, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [args.gareum, "predict", "--quiet", "--model", model, "--input", work / file, "--text", "text", "--output", work / "out.jsonl"]
        run([*command, "--precision", args.precision, "--threads", args.threads], args.threads)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter() - begin, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime

    (many, many_cpu), (one, one_cpu) = seconds("texts.csv"), seconds("one.csv")
    return {"texts_per_second": (texts - 1) / (many - one), "cpu_ms_per_text": 1000 * (many_cpu - one_cpu) / (texts - 1)}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A server in a process of its own; ours says where it listens, the peer is told."""

    def __init__(self, command: list, port: int | None = None):
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        if port is None:
            self.address = json.loads(self.process.stdout.readline())["url"].removeprefix("http://")
        else:
            self.address = f"127.0.0.1:{port}"
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://{self.address}/health", timeout=1).read()
                    break
                except OSError:
                    time.sleep(0.1)

    def cpu_seconds(self) -> float:
        """Of all its threads since it began: what others do on the machine meanwhile makes it longer, but not much."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def load(args: argparse.Namespace, work: Path, server: Server, bodies: str, connections: int, texts: int = 1, rate: float = 0.0, seconds: float | None = None) -> dict:
    before = server.cpu_seconds()
    command = [work / "load", server.address, "/predict", work / f"{bodies}.txt", connections, seconds or args.seconds, rate]
    found = json.loads(subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout)
    found["texts_per_second"] = found["per_second"] * texts
    found["cpu_ms_per_text"] = 1000 * (server.cpu_seconds() - before) / max(found["total"] * texts, 1)
    return found


def overload(args: argparse.Namespace, work: Path, model: Path, rate: float) -> dict:
    with Server(gareum(args, model)) as server:
        load(args, work, server, "single", 64, seconds=5)
        memory, stop = [], threading.Event()

        def watch() -> None:
            begin = time.monotonic()
            while not stop.wait(args.overload / 60):
                memory.append([round(time.monotonic() - begin, 1), server.resident_bytes()])

        watcher = threading.Thread(target=watch)
        watcher.start()
        # Enough connections that the client is not what holds the rate down: those that wait for an answer ask nothing.
        found = load(args, work, server, "single", 600, rate=rate, seconds=args.overload)
        stop.set()
        watcher.join()
        stats = json.loads(urllib.request.urlopen(f"http://{server.address}/stats").read())
    return {"rate": rate, "load": found, "memory": memory, "stats": {key: stats[key] for key in ("requests", "errors", "rejected", "queue_tokens")}}


def table(report: dict) -> str:
    rounds = report["rounds"]
    over = lambda value: shown(spread([value(found) for found in rounds]))
    rows = [["gareum predict, texts/s", over(lambda it: it["offline"]["texts_per_second"]), ""]]
    rows.append(["gareum predict, CPU ms/text", over(lambda it: it["offline"]["cpu_ms_per_text"]), ""])

    def side(name: str, of) -> None:
        for key, what in (("saturated_1", "64 × 1"), ("saturated_32", "8 × 32")):
            ratio = over(lambda it: of(it)[key]["texts_per_second"] / it["offline"]["texts_per_second"])
            rows.append([f"{name}, {what}, texts/s", over(lambda it: of(it)[key]["texts_per_second"]), f"{ratio} of offline"])
            ratio = over(lambda it: it["offline"]["cpu_ms_per_text"] / of(it)[key]["cpu_ms_per_text"])
            rows.append([f"{name}, {what}, CPU ms/text", over(lambda it: of(it)[key]["cpu_ms_per_text"]), f"offline takes {ratio} of it"])
        # Texts are of all lengths, so that one in a hundred takes several times the median even alone: like is compared with like.
        for quantile in ("p50_ms", "p99_ms"):
            rows.append([f"{name}, single, {quantile[:3]} ms", over(lambda it: of(it)["single"][quantile]), ""])
        for quantile in ("p50_ms", "p99_ms"):
            ratio = over(lambda it: of(it)["half"][quantile] / of(it)["single"][quantile])
            rows.append([f"{name}, half load, {quantile[:3]} ms", over(lambda it: of(it)["half"][quantile]), f"{ratio} of single"])

    side("gareum serve", lambda it: it)
    if "peer" in rounds[0]:
        side("FastAPI + ONNX Runtime", lambda it: it["peer"])
    text = markdown(["what", "median [from, to]", "ratio"], rows)
    if found := report.get("overload"):
        resident = [bytes for _, bytes in found["memory"]]
        if resident:
            first, last = (statistics.median(part) / 2**20 for part in (resident[: len(resident) // 4 + 1], resident[-len(resident) // 4 - 1 :]))
            text += f"\n\nOverload at {found['rate']:.0f} texts/s: {found['load']['statuses']}, broken {found['load']['broken']}, memory {first:.0f} -> {last:.0f} MiB"
    return text


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
