"""Small parquet files as pyarrow and the `datasets` library write them: fixtures/parquet/.

Usage: python tests/reference/parquet.py    (needs pyarrow)
"""

import json
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "fixtures" / "parquet"


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    count = 12
    present = lambda value, row: None if row == 2 else value
    table = pa.table(
        {
            "text": [present(f"정말 좋아요 {row}", row) for row in range(count)],
            "label": pa.array([present((row + 1) % 2, row) for row in range(count)], pa.int64()),
            "score": pa.array([present(0.1 + row, row) for row in range(count)], pa.float32()),
        }
    )
    for name, options in {
        "snappy": dict(compression="snappy"),
        "zstd": dict(compression="zstd", data_page_version="2.0"),
        "gzip": dict(compression="gzip", use_dictionary=False),
        "plain": dict(compression="none"),
        "brotli": dict(compression="brotli"),
        "many-groups": dict(compression="snappy", row_group_size=5),
    }.items():
        pq.write_table(table, FOLDER / f"{name}.parquet", **options)
    nested = pa.table(
        {
            "text": ["a", "b"],
            "tags": pa.array([[0, 2], []], pa.list_(pa.int64())),
            "aspects": [{"category": "price", "polarity": 1.5}, None],
            "day": pa.array([date(2024, 2, 29), None]),
        }
    )
    pq.write_table(nested, FOLDER / "nested.parquet")
    # What `Dataset.push_to_hub` leaves in the schema.
    names = ["entailment", "neutral", "contradiction"]
    features = {
        "premise": {"dtype": "string", "_type": "Value"},
        "hypothesis": {"dtype": "string", "_type": "Value"},
        "label": {"names": names, "_type": "ClassLabel"},
    }
    classes = pa.table(
        {
            "premise": [f"premise {row}" for row in range(10)],
            "hypothesis": [f"hypothesis {row}" for row in range(10)],
            "label": pa.array([-1 if row == 5 else (row + 2) % 3 for row in range(10)], pa.int64()),
        }
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(classes.replace_schema_metadata(metadata), FOLDER / "classes.parquet")
    print(f"{sum(file.stat().st_size for file in FOLDER.iterdir()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
