"""Asks a server of `gareum serve` with requests; one file to copy from.

    pip install requests
    GAREUM_URL=http://127.0.0.1:8080 GAREUM_KEY=... python examples/clients/python_requests.py "where is my refund?"
"""

import os
import sys
import time

import requests

URL = os.environ.get("GAREUM_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("GAREUM_KEY")


def classify(session: requests.Session, texts: list[str], **options) -> list[dict]:
    """The results of texts, in order. Comes again when the server is busy, as often as five times."""
    for attempt in range(5):
        response = session.post(f"{URL}/classify", json={"inputs": texts, **options}, timeout=30)
        if response.status_code not in (429, 503):
            break
        time.sleep(float(response.headers.get("Retry-After", 2**attempt)))
    if not response.ok:
        error = response.json()
        raise RuntimeError(f"{error['kind']}: {error['error']}")
    return response.json()["results"]


def main() -> None:
    texts = sys.argv[1:] or ["the food was very good"]
    with requests.Session() as session:  # one connection for all requests
        if KEY:
            session.headers["Authorization"] = f"Bearer {KEY}"
        for text, result in zip(texts, classify(session, texts, highlight=True)):
            print(f"{text!r}: {result['label']} ({result['score']:.3f})")
            for highlight in result["highlights"]:
                if best := highlight["best"]:
                    # Offsets are characters, as Python counts them.
                    print(f"  {highlight['label']}: {text[best['start']:best['end']]!r}")


if __name__ == "__main__":
    main()
