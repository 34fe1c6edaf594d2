"""Token ids that transformers gives for awkward texts: fixtures/tokenizers.json.

Usage: [GAREUM_TEST_DATA=DIR] python tests/reference/tokenizers_reference.py

DIR (default: ../shared/data beside the project) holds `tokenizers/<name>/` with the vocabularies of TOKENIZERS.
"""

import json
import os
from pathlib import Path

import tokenizers
import transformers
from transformers import BertTokenizer, PreTrainedTokenizerFast

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data"))
OUTPUT = Path(__file__).parent / "fixtures" / "tokenizers.json"
MAX_LENGTH = 16
LOWER_CASE = {"bert-base-uncased": True}  # for folders without a tokenizer_config.json; all others keep case
TOKENIZERS = {
    "bert-base-cased": "vocab.txt",
    "bert-base-uncased": "vocab.txt",
    "bert-base-multilingual-cased": "vocab.txt",
    "koelectra-base-v3": "vocab.txt",
    "kcbert-base": "vocab.txt",
    "all-MiniLM-L6-v2": "tokenizer.json",
    "roberta-base": "tokenizer.json",
}

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "I didn't like it -- at all; it's $4.99 (or 4,99 €) for a 1.5-inch screw!!!",
    "이 영화 정말 재미있어요. 배우들의 연기가 훌륭했습니다.",
    "배송이 너무 늦고 포장도 엉망이에요ㅠㅠ 다시는 안 삽니다 ㅋㅋㅋㅋㅋㅋ",
    "大韓民國의 憲法 第1條: 民主共和國이다.",
    "가나다 ﾡﾢﾣ ￡ ｱｲｳ ＡＢＣ１２３",  # half-width jamo and kana, full-width letters
    "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165",  # Korean in conjoining jamo (NFD)
    "ㄱㄴㄷ ㅏㅑㅓ ㅇㅈ?",
    "Great product 👍🏽👨‍👩‍👧 would buy again 😀❤️",
    "zero\u200bwidth\u200djoiner\ufeffbom and soft\u00adhyphen",
    "Café naïve résumé Ångström İstanbul straße ﬁne",
    "e\u0301a\u0300 n\u0303 combining o\u0308",
    "a" * 101,
    "b" * 100 + " " + "가" * 101,
    "https://example.com/a_b?q=1&r=%20#top user@example.org @name #tag",
    "",
    "   \t\n  ",
    "line one\r\nline two\ttabbed\u00a0no-break\u3000ideographic",
    "null\x00bell\x07escape\x1bdelete\x7f\u0085next\ufffdreplacement",
    "Paris is the [MASK] of France. [CLS] [SEP] [PAD] [UNK] [mask]",
    "Paris is the <mask> of France.<s></s> <pad>",
    "日本語のテキストと中文文本混合 mixed",
    "Привет, мир! مرحبا بالعالم שלום हिन्दी ไทย",
    "...!!!???~~~^^;;",
    "  leading and trailing spaces  ",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
    "\U00020000\U0001f1f0\U0001f1f7 𝒜𝓁𝓅𝒽𝒶",  # outside the basic plane
]
PAIRS = [(0, 2), (2, 0), (25, 25), (25, 7), (7, 25), (15, 0), (0, 15), (15, 15), (16, 25), (19, 8), (3, 25), (13, 1), (25, 3), (12, 12)]


def main() -> None:
    reference = {
        "versions": {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__},
        "max_length": MAX_LENGTH,
        "texts": TEXTS,
        "pairs": PAIRS,
        "tokenizers": {name: answers(name, file) for name, file in TOKENIZERS.items()},
    }
    OUTPUT.write_text(layered_json(reference) + "\n")
    print(f"tokenizers.json: {len(TOKENIZERS)} tokenizers, {len(TEXTS)} texts, {len(PAIRS)} pairs, {OUTPUT.stat().st_size / 1000:.0f} kB")


def answers(name: str, file: str) -> dict:
    """For each text and each pair, [input_ids, token_type_ids]; `truncated` means to MAX_LENGTH, longest first."""
    tokenizer, lower_case = load(name, file)
    texts, pairs = [(text,) for text in TEXTS], [(TEXTS[first], TEXTS[second]) for first, second in PAIRS]
    return {
        "file": file,
        "lower_case": lower_case,
        "single": [encode(tokenizer, *text) for text in texts],
        "single_truncated": [encode(tokenizer, *text, truncation="longest_first", max_length=MAX_LENGTH) for text in texts],
        "pair": [encode(tokenizer, *pair) for pair in pairs],
        "pair_truncated": [encode(tokenizer, *pair, truncation="longest_first", max_length=MAX_LENGTH) for pair in pairs],
    }


def load(name: str, file: str):
    """The tokenizer, and whether it lower-cases (None: tokenizer.json says itself)."""
    folder = DATA / "tokenizers" / name
    if file == "tokenizer.json":
        return PreTrainedTokenizerFast(tokenizer_file=str(folder / file)), None
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text()) if config.exists() else {}
    lower_case = settings.get("do_lower_case", LOWER_CASE.get(name, False))
    return BertTokenizer(vocab=str(folder / file), do_lower_case=lower_case), lower_case


def encode(tokenizer, *texts: str, **truncation) -> list[list[int]]:
    encoding = tokenizer(*texts, padding=False, verbose=False, return_token_type_ids=True, **truncation)
    return [encoding["input_ids"], encoding["token_type_ids"]]


def layered_json(reference: dict) -> str:
    """Compact JSON with one list of answers a line."""
    compact = lambda value: json.dumps(value, separators=(",", ":"))
    parts = [f"{compact(key)}:{compact(value)}" for key, value in reference.items() if key != "tokenizers"]
    blocks = []
    for name, answer in reference["tokenizers"].items():
        lines = ",\n".join(f"{compact(key)}:{compact(value)}" for key, value in answer.items())
        blocks.append(f"{compact(name)}:{{\n{lines}\n}}")
    return "{" + ",\n".join(parts) + ',\n"tokenizers":{\n' + ",\n".join(blocks) + "\n}}"


if __name__ == "__main__":
    main()
