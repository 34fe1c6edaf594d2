"""What `gareum inspect` takes for a large file: seconds and the most memory.

    python bench/inspect_rows.py --gareum target/release/gareum [--rows 1000000] [--tokenizer DIR]

The file is made of Korean film reviews: nine in ten rows are two reviews one after the other, one in ten is a review by itself, so that there are
repeats and contradictions to be found. The data is found by GAREUM_TEST_DATA.
"""

import argparse
import csv
import gzip
import json
import os
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gareum", type=Path, default=PROJECT / "target" / "release" / "gareum")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tokenizer", type=Path, default=DATA / "tokenizers" / "kcbert-base")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "rows.csv"
        write(path, args.rows)
        command = [str(args.gareum), "inspect", str(path), "--tokenizer", str(args.tokenizer), "--json", "--quiet"]
        start = time.perf_counter()
        answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = answer["files"][0]["rows"]
    print(f"{size} rows: {seconds:.1f} s, {peak:.0f} MiB at most, {len(answer['findings'])} findings")


def write(path: Path, rows: int) -> None:
    source = random.Random(3)
    with gzip.open(DATA / "nsmc" / "ratings_train_rebuilt.tsv.gz", "rt", encoding="utf-8") as lines:
        reviews = [line.rstrip("\n").split("\t") for line in lines][1:]
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(["id", "text", "label"])
        for row in range(rows):
            _, text, label, *_ = source.choice(reviews)
            if row % 10:
                text += " " + source.choice(reviews)[1]
            writer.writerow([row, text, label])


if __name__ == "__main__":
    main()
