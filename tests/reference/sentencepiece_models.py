"""Tiny sentencepiece models in the layouts of the families that have one: fixtures/sentencepiece/.

Usage: python tests/reference/sentencepiece_models.py

Trained on the sample data of crates/cli/samples, so they hold Korean and English. Deterministic: one thread, no shuffling.
"""

import csv
import io
import json
import tempfile
from pathlib import Path

import sentencepiece

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "crates/cli/samples"
OUTPUT = Path(__file__).parent / "fixtures" / "sentencepiece"

# A few rules instead of the library's own: those take 240 kB in every model.
RULES = {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)} | {"\u3000": " ", "\u00a0": " ", "ﬁ": "fi", "…": "...", "㈜": "(주)", "\u200b": ""}

MODELS = {
    # XLM-RoBERTa, CamemBERT and mBART: the ids of fairseq are made of these.
    "fairseq": {"vocab_size": 1200, "normalization_rule_name": "nmt_nfkc"},
    "deberta": {
        "vocab_size": 1200, "normalization_rule_name": "identity",
        "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3,
        "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]", "user_defined_symbols": [":)", "♥"],
    },
    "albert": {
        "vocab_size": 1200, "rules": RULES,
        "pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "bos_piece": "[CLS]", "eos_piece": "[SEP]", "control_symbols": ["[MASK]"],
    },
    "t5": {"vocab_size": 1200, "rules": RULES, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "llama": {
        "vocab_size": 1600, "model_type": "bpe", "byte_fallback": True, "split_digits": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True,
    },
    # Without splitting by kinds of characters there are pieces like `1,`.
    "kobert": {
        "vocab_size": 1500, "normalization_rule_name": "nmt_nfkc", "split_by_number": False, "split_by_unicode_script": False,
        "unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3,
        "unk_piece": "[UNK]", "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "control_symbols": ["[MASK]"],
    },
}  # fmt: skip


def main() -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    texts = samples()
    for name, options in MODELS.items():
        (OUTPUT / f"{name}.model").write_bytes(train(texts, **options))
    order()
    for path in sorted(OUTPUT.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def samples() -> list[str]:
    """English and Korean texts, and prices and dates made of them, which the samples hardly have."""
    with (SAMPLES / "customer_support.csv").open(newline="") as file:
        english = [row["text"] for row in csv.DictReader(file)]
    with (SAMPLES / "movie_reviews_ko.csv").open(newline="") as file:
        korean = [row["text"] for row in csv.DictReader(file)]
    reviews = [json.loads(line)["text"] for line in (SAMPLES / "korean_reviews.jsonl").open()]
    numbers = [f"{n % 31},{n * 7 % 1000:03},{n * 13 % 1000:03}원 {2000 + n % 25}, {n % 12}," for n in range(400)]
    return english[:2500] + korean[:5000] + reviews + numbers


def train(texts: list[str], rules: dict[str, str] | None = None, **options) -> bytes:
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        if rules:
            path = Path(folder) / "rules.tsv"
            codes = lambda text: " ".join(f"{ord(character):X}" for character in text)
            path.write_text("".join(f"{codes(source)}\t{codes(target)}\n" for source, target in rules.items()))
            options["normalization_rule_tsv"] = str(path)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=model, num_threads=1, shuffle_input_sentence=False, character_coverage=0.999,
            minloglevel=2, **({"model_type": "unigram"} | options),
        )  # fmt: skip
    return model.getvalue()


def order() -> None:
    """A vocab.txt in the manner of monologg/kobert: other ids than the model's, and not all of its pieces."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(OUTPUT / "kobert.model"))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [processor.id_to_piece(id) for id in range(processor.get_piece_size())]
    others = [piece for piece in pieces if piece not in special]
    kept = [piece for number, piece in enumerate(others) if number % 97 != 50]
    (OUTPUT / "kobert.vocab.txt").write_text("\n".join(special + kept[::-1]) + "\n")


if __name__ == "__main__":
    main()
