"""Connections that no server should fall over: ten thousand at once, slow ones that send a byte now and then, bodies far too large.

    python tests/fuzz/storm.py --gareum target/release/gareum --model DIR [--connections 10000] [--seconds 60]

All must be answered or refused, and requests of a well-behaved client in between be answered all the while. Prints JSON; exits 1 if one was not.
"""

import argparse
import json
import resource
import selectors
import socket
import sys
import threading
import time
from pathlib import Path

from server import Server

GOOD = json.dumps({"inputs": "where is my refund?"})
REQUEST = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}".encode()


def connect(address: tuple[str, int]) -> socket.socket | None:
    stream = socket.socket()
    stream.setblocking(False)
    stream.connect_ex(address)
    return stream


def storm(address: tuple[str, int], count: int) -> dict:
    """Opens many connections and asks on each at once."""
    selector, found, open_now = selectors.DefaultSelector(), {"answered": 0, "refused": 0, "closed": 0, "not_opened": 0}, {}
    for _ in range(count):
        try:
            stream = connect(address)
        except OSError:
            found["not_opened"] += 1
            continue
        open_now[stream] = b""
        selector.register(stream, selectors.EVENT_WRITE)
    end = time.monotonic() + 120
    while open_now and time.monotonic() < end:
        for key, events in selector.select(1):
            stream = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    stream.send(REQUEST)
                    selector.modify(stream, selectors.EVENT_READ)
                    continue
                part = stream.recv(65536)
            except OSError:
                part = b""
            open_now[stream] += part
            if b"\r\n\r\n" in open_now[stream] or not part:
                status = open_now[stream][9:12]
                kind = {b"200": "answered", b"429": "refused", b"503": "refused"}.get(status, "closed")
                found[kind] += 1
                selector.unregister(stream)
                stream.close()
                del open_now[stream]
    found["without_answer"] = len(open_now)
    for stream in open_now:
        stream.close()
    return found


def slow(address: tuple[str, int], count: int, seconds: float) -> dict:
    """Connections that send a byte of a request's head, or of its body, every half second; how many the server has cut off."""
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    streams = []
    for number in range(count):
        stream = socket.create_connection(address, timeout=5)
        stream.sendall(head + (b"\r\n{" if number % 2 else b"X-Slow: "))
        streams.append(stream)
    end, cut = time.monotonic() + seconds, 0
    while streams and time.monotonic() < end:
        for stream in list(streams):
            try:
                stream.sendall(b"a")
                stream.settimeout(0.001)
                if not stream.recv(4096):
                    raise ConnectionError
            except TimeoutError:
                pass
            except OSError:
                cut += 1
                streams.remove(stream)
        time.sleep(0.5)
    return {"opened": count, "cut_off": cut, "left": len(streams)}


def huge(address: tuple[str, int]) -> list[str]:
    """Bodies that are far too large, said to be so and not."""
    found = []
    for head in (b"Content-Length: 100000000000", b"Transfer-Encoding: chunked"):
        with socket.create_connection(address, timeout=20) as stream:
            answer = b""
            try:
                stream.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + head + b"\r\n\r\n")
                for _ in range(200):
                    stream.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
            except OSError:
                pass
            try:
                answer = stream.recv(65536)
            except OSError:
                pass
            found.append(answer[:12].decode("latin-1") or "closed")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, args.connections + 500), limit))
    server = Server(args.gareum, args.model, ["limits.header_seconds=3", "limits.body_seconds=3", "log.level=error"])
    address, stop, well = server.address, threading.Event(), {"answered": 0, "busy": 0, "other": 0, "slowest_s": 0.0}

    def behave() -> None:
        """A client as there are many: a connection for each request, which comes again when it is refused."""
        while not stop.is_set():
            begin = time.monotonic()
            try:
                with socket.create_connection(address, timeout=30) as stream:
                    stream.sendall(REQUEST)
                    status = stream.recv(65536)[9:12]
            except OSError:
                status = b"503"
            well["answered" if status == b"200" else "busy" if status in (b"429", b"503", b"") else "other"] += 1
            if status == b"200":
                well["slowest_s"] = max(well["slowest_s"], time.monotonic() - begin)
            time.sleep(0.05)

    thread = threading.Thread(target=behave)
    thread.start()
    found = {"slow": slow(address, 200, args.seconds), "huge": huge(address), "storm": storm(address, args.connections)}
    time.sleep(4)
    before = well["answered"]
    time.sleep(2)
    stop.set()
    thread.join()
    found |= {"well_behaved": well, "answered_afterwards": well["answered"] - before}
    found["exit"] = server.end()
    print(json.dumps(found, indent=1))
    fine = found["exit"] == 0 and found["slow"]["left"] == 0 and found["storm"]["without_answer"] == 0 and found["answered_afterwards"] > 0 and well["other"] == 0
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
