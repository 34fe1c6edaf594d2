"""Sends a server of `gareum serve` requests that nobody should send, for some minutes: bytes flipped, cut and doubled, odd headers, odd JSON, odd chunks.

    python tests/fuzz/requests.py --gareum target/release/gareum --model DIR [--minutes 10] [--seed 0]

Every answer must be 2xx or 4xx (503 for a connection too many), or the connection closed; the server must still answer well in between, never panic, and not
grow. Exits 1 with the bytes that were wrong, in a file beside the current folder's. The same parsers are fed without a network by the property tests of
crates/serve/src/request.rs (PROPTEST_CASES=1000000 cargo test -p serve request).
"""

import argparse
import json
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from server import Server

GOOD = json.dumps({"inputs": "where is my refund?"}).encode()
ODD_VALUES = [
    None, True, False, 0, -1, 1e308, 10**40, "", "a", "\x00", "\ud800", "가" * 50, "😀", " ", "a" * 5000, [], {}, [[]], [["a"]], [["a", "b"]], ["a", "b", "c"], [None],
    {"text": "a"}, {"text": "a", "text_pair": "b"}, {"text": 1}, [{"text": "a"}, "b"], [[["a"]]], "right", "Left",
]  # fmt: skip
THREADS = 24
KEYS = ["inputs", "truncate", "truncation_direction", "raw_scores", "model", "top_k", "highlight", "explain", "method", "labels", "drop", "units", "window", "steps", "x", ""]
PATHS = ["/predict", "/classify", "/explain", "/models", "/models/x/report", "/models/%2e%2e/metrics", "/assets/../app.js", "/stats", "/health", "/", "/\xff", "/%", "*", "http://x/predict"]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT", "G\x00T", "post"]
HEADERS = ["Content-Type: application/json", "Content-Type: application/json; charset=utf-16", "Content-Type: \xff", "Content-Length: 0", "Content-Length: 99999999999999999999",
    "Content-Length: 5", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Expect: 100-continue", "Connection: upgrade", "Upgrade: h2c", "Authorization: Bearer",
    "X-Request-Id: \x7f", "X-Request-Id: " + "a" * 500, "Origin: null", "Host:", ": x", "X-Forwarded-For: 1.2.3.4, ::1", "A: " + "b" * 9000]  # fmt: skip


def odd_json(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.05:
        depth = rng.choice([10, 127, 128, 129, 5000])
        return b'{"inputs":' + b"[" * depth + b'"a"' + b"]" * rng.choice([depth, depth - 1]) + b"}"
    body = {rng.choice(KEYS): rng.choice(ODD_VALUES) for _ in range(rng.randrange(5))}
    if kind < 0.8:
        body["inputs"] = rng.choice(ODD_VALUES)
    return json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def mutate(rng: random.Random, data: bytes) -> bytes:
    data = bytearray(data)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 2:
                del data[at : at + rng.randrange(1, 20)]
            case 3:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
            case _:
                data[at:at] = rng.choice([b"\r\n", b"\n", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"\\u", b"{", b"]"])
    return bytes(data)


def request(rng: random.Random) -> bytes:
    body = odd_json(rng) if rng.random() < 0.8 else mutate(rng, GOOD)
    if rng.random() < 0.3:
        body = mutate(rng, body)
    headers = ["Host: fuzz", "Content-Type: application/json"] if rng.random() < 0.8 else []
    headers += rng.sample(HEADERS, rng.choice([0, 0, 0, 1, 2, 4]))
    if rng.random() < 0.15:
        headers.append("Transfer-Encoding: chunked")
        sizes = [rng.choice(["0", "5", "ffffffffffffffff", "-1", "zz", format(len(body), "x")]) for _ in range(rng.randrange(1, 4))]
        body = b"".join(size.encode() + b"\r\n" + body + b"\r\n" for size in sizes) + b"0\r\n\r\n"
    else:
        headers.append(f"Content-Length: {len(body) if rng.random() < 0.9 else rng.randrange(200)}")
    method, path = (rng.choice(METHODS), rng.choice(PATHS)) if rng.random() < 0.2 else ("POST", rng.choice(PATHS[:3]))
    head = f"{method} {path} HTTP/1.{rng.choice('1111110 2')}\r\n" + "".join(line + "\r\n" for line in headers) + "\r\n"
    data = head.encode("latin-1", "replace") + body
    return mutate(rng, data) if rng.random() < 0.2 else data


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"(?:^|\})HTTP/1\.[01] (\d{3}) ", answer)]


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    answer = b""
    with socket.create_connection(address, timeout=10) as stream:
        try:
            stream.sendall(data)
            while part := stream.recv(65536):
                answer += part
        except TimeoutError:
            raise
        except OSError:
            pass  # The server has closed already, as it may.
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryFile("w+") as log:
        limits = ["limits.header_seconds=0.2", "limits.body_seconds=0.2", "log.level=warn", "limits.body_bytes=100000"]
        server = Server(args.gareum, args.model, limits, log)
        address, process, resident, seen, wrong = server.address, server.process, [], Counter(), []
        good = b"POST /classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD)
        end = time.monotonic() + 60 * args.minutes

        def work(seed: int) -> None:
            rng = random.Random(seed)
            while time.monotonic() < end and not wrong:
                data = request(rng)
                try:
                    found = statuses(exchange(address, data))
                except TimeoutError:
                    found = [-1]
                seen.update(found or [0])
                if odd := [status for status in found if not (100 <= status < 500)]:
                    wrong.append((odd, data))
                elif rng.random() < 0.01 and statuses(exchange(address, good)) != [200]:
                    wrong.append(("a good request was not answered after it", data))

        # Many at a time: what is half a request is waited for.
        threads = [threading.Thread(target=work, args=(args.seed * 1000 + number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            if process.poll() is not None:
                wrong.append(("the server has ended", b""))
                break
            resident.append(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) // 1024)
        for thread in threads:
            thread.join()
        if wrong:
            Path("found.bin").write_bytes(wrong[0][1])
            print(f"{wrong[0][0]}; its bytes are in found.bin", file=sys.stderr)
            process.kill()
            return 1
        code = server.end()
        log.seek(0)
        panics = [line for line in log if "panicked" in line]
    first, last = (max(part) for part in (resident[: len(resident) // 2 + 1], resident[len(resident) // 2 :]))
    print(json.dumps({"requests": sum(seen.values()), "statuses": dict(sorted(seen.items())), "exit": code, "panics": panics, "resident_mib": {"first_half": first, "second_half": last}}))
    return 1 if panics or code != 0 or last > 1.5 * first + 50 else 0


if __name__ == "__main__":
    sys.exit(main())
