"""Ids, token types and offsets of every kind of tokenizer: fixtures/tokenizer_kinds.json.

Usage: [GAREUM_TEST_DATA=DIR] python tests/reference/tokenizer_kinds.py [--only NAME ...]
       ... --saved DIR: compares what gareum saved (GAREUM_TEST_SAVED=DIR cargo test -p gareum --test testsuite tokenizer_kinds) as transformers reads it

Texts of NSMC, GoEmotions and KLUE-NLI are tokenized with transformers; what is kept of them is a SHA-256 for each dataset, once of all its
rows and once of every fiftieth. Of the texts in NASTY the answers themselves are kept.

KoBERT's tokenizers are Python classes of their own, not part of transformers. They are stated again here (class KoBert), on the sentencepiece
package; they give no offsets.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy
import sentencepiece
import tokenizers
import transformers

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", PROJECT / ".." / "shared" / "data"))
MODELS = Path(__file__).parent / "fixtures" / "sentencepiece"
OUTPUT = Path(__file__).parent / "fixtures" / "tokenizer_kinds.json"
EVERY = 50
BATCH = 2000


def wordpiece(name: str, model_type: str, *others: str, **settings) -> dict:
    files = {file: f"tokenizers/{name}/{file}" for file in ("vocab.txt", *others)}
    return {"files": files, "config": {"model_type": model_type}, "tokenizer_config": settings}


def bpe(name: str, model_type: str, **settings) -> dict:
    files = {file: f"tokenizers/{name}/{file}" for file in ("vocab.json", "merges.txt")}
    return {"files": files, "config": {"model_type": model_type}, "tokenizer_config": settings}


def pieces(model: str, model_type: str, file: str = "spiece.model", **settings) -> dict:
    return {"files": {file: f"sentencepiece/{model}"}, "config": {"model_type": model_type}, "tokenizer_config": settings}


def finished(name: str, model_type: str, *others: str) -> dict:
    files = {file: f"tokenizers/{name}/{file}" for file in ("tokenizer.json", *others)}
    return {"files": files, "config": {"model_type": model_type}, "tokenizer_config": {}}


BYTES = {"clean_up_tokenization_spaces": False}
KINDS = {
    # WordPiece. What has no tokenizer_config.json of its own gets the case it was made for.
    "bert-base-cased": wordpiece("bert-base-cased", "bert", do_lower_case=False),
    "bert-base-uncased": wordpiece("bert-base-uncased", "bert"),
    "bert-base-uncased, accents kept": wordpiece("bert-base-uncased", "bert", strip_accents=False, tokenize_chinese_chars=False),
    "bert-base-multilingual-cased": wordpiece("bert-base-multilingual-cased", "bert", do_lower_case=False),
    "kcbert-base": wordpiece("kcbert-base", "bert", do_lower_case=False),
    "kocharelectra": wordpiece("kocharelectra", "electra", do_lower_case=False),
    "koelectra-base-v1": wordpiece("koelectra-base-v1", "electra", "tokenizer_config.json", "special_tokens_map.json"),
    "koelectra-base-v3": wordpiece("koelectra-base-v3", "electra", "tokenizer_config.json", "special_tokens_map.json"),
    "koelectra-pretrain-vocab": wordpiece("koelectra-pretrain-vocab", "electra", do_lower_case=False),
    # As klue/roberta: RoBERTa's model, BERT's tokenizer.
    "roberta with a vocab.txt": wordpiece("koelectra-base-v3", "roberta", tokenizer_class="BertTokenizer", do_lower_case=False),
    "added tokens": wordpiece(
        "koelectra-base-v3", "bert", do_lower_case=False, mask_token="[MASK]",
        added_tokens_decoder={
            "35000": {"content": "재미있", "special": False, "normalized": True, "lstrip": False, "rstrip": False, "single_word": False},
            "35001": {"content": "[영화]", "special": True, "normalized": False, "lstrip": True, "rstrip": True, "single_word": False},
            "35002": {"content": "good", "special": False, "normalized": False, "lstrip": False, "rstrip": False, "single_word": True},
        },
    ),
    # Byte-level BPE.
    "gpt2": bpe("gpt2", "gpt2"),
    "gpt2, blank before": bpe("gpt2", "gpt2", add_prefix_space=True, add_bos_token=True),
    "gpt-neox": bpe("gpt2", "gpt_neox", add_eos_token=True),
    "qwen2": bpe("gpt2", "qwen2", additional_special_tokens=["<|im_start|>", "<|im_end|>"], **BYTES),
    "roberta": bpe("roberta-base", "roberta"),
    "bart": bpe("roberta-base", "bart", tokenizer_class="BartTokenizer", trim_offsets=False, add_prefix_space=True),
    # Sentencepiece.
    "xlm-roberta": pieces("fairseq.model", "xlm-roberta", "sentencepiece.bpe.model"),
    "camembert": pieces("fairseq.model", "camembert", "sentencepiece.bpe.model"),
    "mbart": pieces("fairseq.model", "mbart", "sentencepiece.bpe.model", src_lang="ko_KR"),
    "mbart50": pieces("fairseq.model", "mbart", "sentencepiece.bpe.model", tokenizer_class="MBart50Tokenizer", src_lang="ko_KR"),
    "deberta-v2": pieces("deberta.model", "deberta-v2", "spm.model", mask_token="[MASK]"),
    "deberta-v2, lower case": pieces("deberta.model", "deberta-v2", "spm.model", mask_token="[MASK]", do_lower_case=True, split_by_punct=True),
    "albert": pieces("albert.model", "albert"),
    "albert, case and accents kept": pieces("albert.model", "albert", do_lower_case=False, keep_accents=True),
    "t5": pieces("t5.model", "t5"),
    "xlnet": {**wordpiece("xlnet-base-cased", "xlnet"), "files": {"spiece.model": "tokenizers/xlnet-base-cased/spiece.model"}},
    "llama": pieces("llama.model", "llama", "tokenizer.model", tokenizer_class="LlamaTokenizer", add_bos_token=True, legacy=False),
    "llama, legacy": pieces("llama.model", "llama", "tokenizer.model", tokenizer_class="LlamaTokenizer", add_bos_token=True, add_eos_token=True, legacy=True),
    "mistral": pieces("llama.model", "mistral", "tokenizer.model", tokenizer_class="LlamaTokenizer", add_bos_token=True),
    "unigram without a family": pieces("fairseq.model", "mistral", "tokenizer.model"),
    # KoBERT: monologg's, SKT's, and SKT's way with a vocabulary in which `1,` is common.
    "kobert, vocab.txt": {
        "files": {"tokenizer_78b3253a26.model": "sentencepiece/kobert.model", "vocab.txt": "sentencepiece/kobert.vocab.txt"},
        "config": {"model_type": "bert"}, "tokenizer_config": {"do_lower_case": False},
    },
    "kobert": pieces("kobert.model", "bert", tokenizer_class="XLNetTokenizer", do_lower_case=False),
    "kobert, pieces of xlnet": {
        "files": {"spiece.model": "tokenizers/xlnet-base-cased/spiece.model"}, "config": {"model_type": "bert"},
        "tokenizer_config": {
            "tokenizer_class": "KoBERTTokenizer", "do_lower_case": False, "unk_token": "<unk>", "sep_token": "<sep>", "pad_token": "<pad>",
            "cls_token": "<cls>", "mask_token": "<mask>", "bos_token": "<cls>", "eos_token": "<sep>",
        },
    },
    # tokenizer.json, which is read as it is.
    "tokenizer.json of all-MiniLM-L6-v2": finished("all-MiniLM-L6-v2", "bert"),
    "tokenizer.json of bert-base-uncased": finished("bert-base-uncased-tokenizer-json", "bert"),
    "tokenizer.json of roberta-base": finished("roberta-base", "roberta", "tokenizer_config.json"),
    "tokenizer.json of t5-small": finished("t5-small", "t5", "tokenizer_config.json"),
}  # fmt: skip

NASTY = [
    "",
    " ",
    "\t\r\n \u3000",
    "ㄱㄴㄷ ㅏㅑㅓ ㅋㅋㅋㅋ ㅠㅠ",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165 \u1100\u1161\u1100\u1161\u11a8",  # conjoining jamo
    "\u1100\u1161\u11a8\u11a8 \u1161\u11a8 \u115f\u1160 \uffa1\uffc2",  # jamo that make no syllable, fillers, half-width
    "e\u0301 a\u0300\u0323 n\u0303o o\u0308\u0301 \u0301x Z\u0351\u036b\u0343 \u0e01\u0e33 \u0915\u094d\u0937\u093f",
    "ÀÉÎõü ﬁ ™ ½ ② Ⅳ ㎏ ㈜ … ´ ¨x",
    "👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇰🇷🇺🇸 ❤️ 1️⃣ ☺\ufe0e",
    "a\x00b \x00 c\x01\x07\x1b[0m\x7f\x85\x9f",
    "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg \u200b \u180e",
    "a\u00a0b\u2003c\u2028d\u2029e\u202ff\u205fg\x0bh\x0ci\x1cj",
    "שלום עולם مرحبا بِالعالم \u200fabc\u200e \u202eright to left\u202c ١٢٣ ۴۵۶",
    "大韓民國 憲法第1條 日本語テキスト ｱｲｳ ＡＢＣ１２３！",
    "\U00020000\U0002f800 𝒜𝓁𝓅𝒽𝒶 \U0001d7d8 \U000e0041 \U0010ffff \ue000 \ufffd \ufffe",
    "``quoted'' ''twice`` \"once\" 'it''s' don't DON'T we'LL",
    "1,000,000원 1,5 12, 2,024년 3,x ,4, 가1, 나2,3 10,000,",
    "x==y!=z //comment ---___~~~^^;; :) :( ♥♡ #hash @name a.b.c...",
    "   two  blanks   three    ",
    "line\nbreaks\r\nand\n\n\nmore\t\ttabs",
    "▁ ▁low ▁▁ x▁y _ ＿",
    "[CLS] [SEP][MASK] [UNK]x[PAD] [cls] ［MASK] [ MASK ]",
    "<s>a</s> <pad><unk> <mask> x<mask> <cls><sep> <extra_id_0> <|endoftext|> <0x41> en_XX",
    "##ing ##가 Ġthe Ċ [unused1] <unused0>",
    "İstanbul IŞIK ΣΊΣΥΦΟΣ ẞ ǅ K Å ſ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "재미있는[영화] good goodness 재미 있 [영화]  x",
    "뷁쀍 ㉠ 갂갃 ꥠ 힣힤",
    "https://example.com/가?q=1&r=%20 user@example.org",
]
NASTY_PAIRS = [[0, 0], [1, 3], [3, 0], [4, 8], [16, 21], [12, 22], [18, 19]]
# Texts of many characters without a blank, of which only a hash is kept: what is repeated, how often.
LONG = [["가", 100_000], ["a", 100_000], ["가나1,e\u0301👍🏽", 12_500]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", help="these kinds; the others keep what they have")
    parser.add_argument("--nasty", action="store_true", help="leave the hashes of the datasets as they are")
    parser.add_argument("--saved", type=Path, help="only compare the tokenizers in this folder, which gareum saved")
    arguments = parser.parse_args()
    if arguments.saved:
        sys.exit(compare(arguments.saved))
    known = json.loads(OUTPUT.read_text())["kinds"] if OUTPUT.exists() else {}
    rows = {} if arguments.nasty else datasets()
    kinds = {}
    for name, kind in KINDS.items():
        if arguments.only is not None and name not in arguments.only:
            kinds[name] = known[name]
            continue
        with tempfile.TemporaryDirectory() as folder:
            encode = opened(kind, Path(folder))
            hashes = known.get(name, {}).get("hashes") if arguments.nasty else {}
            kinds[name] = {**kind, "offsets": encode.offsets, **nasty(encode), "hashes": hashes}
            for dataset, examples in rows.items():
                kinds[name]["hashes"][dataset] = digests(encode, examples)
        print(name, file=sys.stderr, flush=True)
    versions = {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__, "sentencepiece": sentencepiece.__version__}
    head = {"versions": versions, "every": EVERY, "texts": NASTY, "pairs": NASTY_PAIRS, "long": LONG}
    OUTPUT.write_text(layered_json(head, kinds))


def compare(saved: Path) -> int:
    """Says of each kind how many of the awkward texts and pairs transformers tokenizes otherwise after gareum saved it."""
    differing = 0
    for name, kind in json.loads(OUTPUT.read_text())["kinds"].items():
        encode = Transformers(saved / name)
        encode.offsets = kind["offsets"]
        seen = nasty(encode)
        wrong = sum(one != other for key in ("texts", "pairs") for one, other in zip(seen[key], kind[key], strict=True))
        print(f"{name}: {wrong} differ" if wrong else f"{name}: same")
        differing += wrong > 0
    return int(differing > 0)


def datasets() -> dict[str, list[tuple[str, ...]]]:
    nsmc = []
    for part in ("train", "test"):
        with gzip.open(DATA / "nsmc" / f"ratings_{part}_rebuilt.tsv.gz", "rt", encoding="utf-8", newline="\n") as file:
            nsmc += [(line.rstrip("\n").split("\t")[1],) for line in file][1:]
    emotions = []
    for part in ("train", "dev", "test"):
        with (DATA / "goemotions" / f"{part}.tsv").open(encoding="utf-8", newline="\n") as file:
            emotions += [(line.rstrip("\n").split("\t")[0],) for line in file]
    pairs = json.loads((DATA / "klue_nli" / "klue-nli-v1.1_dev.json").read_text(encoding="utf-8"))
    return {"nsmc": nsmc, "goemotions": emotions, "klue_nli": [(pair["premise"], pair["hypothesis"]) for pair in pairs]}


def opened(kind: dict, folder: Path):
    """The kind's files in one directory, as a checkpoint has them, and what reads them."""
    for name, source in kind["files"].items():
        root = MODELS.parent if source.startswith("sentencepiece/") else DATA
        shutil.copyfile(root / source, folder / name)
    (folder / "config.json").write_text(json.dumps(kind["config"]))
    if kind["tokenizer_config"]:
        (folder / "tokenizer_config.json").write_text(json.dumps(kind["tokenizer_config"]))
    if kind["config"]["model_type"] == "bert" and any(name.endswith(".model") for name in kind["files"]):
        return KoBert(folder, kind["tokenizer_config"])
    return Transformers(folder)


class Transformers:
    offsets = True

    def __init__(self, folder: Path):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        # As long as a text is, whatever the files say.
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()

    def __call__(self, examples: list[tuple[str, ...]]) -> list[numpy.ndarray]:
        """For each text or pair [tokens, 4]: id, token type, start, end (in characters)."""
        columns = [list(column) for column in zip(*examples)]
        encoded = self.tokenizer(*columns, return_offsets_mapping=True, return_token_type_ids=True, return_attention_mask=False, verbose=False)
        rows = zip(encoded["input_ids"], encoded["token_type_ids"], encoded["offset_mapping"])
        stack = lambda ids, types, offsets: numpy.column_stack([ids, types, numpy.array(offsets).reshape(-1, 2)])
        return [stack(*row).astype("<u4") for row in rows]


class KoBert:
    """The rules of the published classes, with either source of ids."""

    offsets = False
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}

    def __init__(self, folder: Path, settings: dict):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(next(folder.glob("*.model"))))
        vocabulary = folder / "vocab.txt"
        if vocabulary.exists():
            lines = [line.strip() for line in vocabulary.read_text().splitlines()]
            self.ids = {token: number for number, token in enumerate(lines)}
        else:
            self.ids = {self.processor.id_to_piece(number): number for number in range(self.processor.get_piece_size())}
        self.special = {key: settings.get(key, token) for key, token in self.names.items()}
        self.splitter = re.compile("(" + "|".join(map(re.escape, sorted(set(self.special.values())))) + ")")
        self.number_and_comma = re.compile(r"\d,$")

    def clean(self, text: str) -> str:
        text = " ".join(text.split())
        text = text.replace("``", '"').replace("''", '"')
        return "".join(character for character in unicodedata.normalize("NFKD", text) if unicodedata.combining(character) == 0)

    def pieces(self, text: str) -> list[str]:
        cut = []
        for piece in self.processor.encode(self.clean(text), out_type=str):
            if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
                cut.append(piece)
                continue
            number = self.processor.encode(piece[:-1].replace("▁", ""), out_type=str)
            # Within a word, the number does not begin with a blank.
            if not piece.startswith("▁") and number[0].startswith("▁"):
                number[0] = number[0][1:]
            cut += [part for part in number if part] + [","]
        return cut

    def text_ids(self, text: str) -> list[int]:
        ids, unknown = [], self.ids[self.special["unk_token"]]
        for number, part in enumerate(self.splitter.split(text)):
            ids += [self.ids[part]] if number % 2 else [self.ids.get(piece, unknown) for piece in self.pieces(part)]
        return ids

    def __call__(self, examples: list[tuple[str, ...]]) -> list[numpy.ndarray]:
        cls, sep = self.ids[self.special["cls_token"]], self.ids[self.special["sep_token"]]
        answers = []
        for texts in examples:
            parts = [self.text_ids(text) + [sep] for text in texts]
            ids = [cls, *sum(parts, [])]
            types = [0] * (1 + len(parts[0])) + [1] * (len(ids) - 1 - len(parts[0]))
            answers.append(numpy.column_stack([ids, types, numpy.zeros((len(ids), 2), int)]).astype("<u4"))
        return answers


def nasty(encode) -> dict:
    """`texts`, `pairs`: [ids, token types, starts and ends in turn]; `long`: hashes."""
    listed = lambda rows: [rows[:, 0].tolist(), rows[:, 1].tolist(), rows[:, 2:].ravel().tolist() if encode.offsets else []]
    return {
        "texts": [listed(rows) for rows in encode([(text,) for text in NASTY])],
        "pairs": [listed(rows) for rows in encode([(NASTY[first], NASTY[second]) for first, second in NASTY_PAIRS])],
        "long": [digest(encode([(part * times,)])) for part, times in LONG],
    }


def digests(encode, examples: list) -> dict[str, str]:
    whole, part = hashlib.sha256(), hashlib.sha256()
    for start in range(0, len(examples), BATCH):
        for number, rows in enumerate(encode(examples[start : start + BATCH]), start):
            record = len(rows).to_bytes(4, "little") + rows.tobytes()
            whole.update(record)
            if number % EVERY == 0:
                part.update(record)
    return {"sample": part.hexdigest(), "whole": whole.hexdigest()}


def digest(answers: list[numpy.ndarray]) -> str:
    return hashlib.sha256(b"".join(len(rows).to_bytes(4, "little") + rows.tobytes() for rows in answers)).hexdigest()


def layered_json(head: dict, kinds: dict) -> str:
    """Compact JSON with one entry of a kind a line."""
    compact = lambda value: json.dumps(value, separators=(",", ":"))
    parts = [f"{compact(key)}:{compact(value)}" for key, value in head.items()]
    blocks = []
    for name, kind in kinds.items():
        lines = ",\n".join(f"{compact(key)}:{compact(value)}" for key, value in kind.items())
        blocks.append(f"{compact(name)}:{{\n{lines}\n}}")
    return "{" + ",\n".join(parts) + ',\n"kinds":{\n' + ",\n".join(blocks) + "\n}}\n"


if __name__ == "__main__":
    main()
