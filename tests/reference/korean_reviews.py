"""Checks crates/cli/samples/korean_reviews.jsonl against the rules of its annotation guide and prints its counts.

The file is written and labelled row by row, not made by a script, so slips are likely: a label outside the closed lists, a text entered
twice, a category that has become rare. crates/cli/samples/README.md is the guide; its counts table must be the one printed here.

Needs Python 3.10+ and nothing else. Run from anywhere: `python tests/reference/korean_reviews.py [--show 배송]`.
"""

import argparse
import json
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "crates/cli/samples/korean_reviews.jsonl"
GUIDE = ROOT / "crates/cli/samples/README.md"

CATEGORIES = "배송 포장 가격 디자인 색상 품질 사이즈 소재 착용감 신축성 내구성 마감 냄새 고객응대".split()
POLARITIES = POSITIVE, NEGATIVE, NEUTRAL = "positive", "negative", "neutral"

ROWS = range(290, 321)
CHARACTERS = range(6, 151)
# Aspects a row, and the share of rows that have as many; 3 stands for three or four.
SHARES = {0: (0.12, 0.18), 1: (0.37, 0.43), 2: (0.27, 0.33), 3: (0.12, 0.18)}
MIXED_SHARE = 0.25
NEUTRAL_SHARE = (0.05, 0.08)
MENTIONS, MENTIONS_OF_A_SIDE = 20, 6
LARGEST_SIMILARITY = 0.85
HARD_WORDS, HARD_ROWS = ("쫀쫀", "구김|구겨", "실밥"), 8
# Numbers as long as a telephone's, addresses of mail and pages.
PERSONAL = re.compile(r"\d[\d -]{6,}\d|@|https?:|www\.")


def read():
    rows = []
    for number, line in enumerate(SAMPLE.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        check_row(row, f"{SAMPLE.name}:{number}")
        rows.append(row)
    return rows


def check_row(row, where):
    assert list(row) == ["text", "aspects"], f"{where}: keys {list(row)}"
    text = row["text"]
    assert text == unicodedata.normalize("NFC", " ".join(text.split())), f"{where}: blanks, or not NFC"
    assert len(text) in CHARACTERS, f"{where}: {len(text)} characters"
    assert not PERSONAL.search(text), f"{where}: may be personal: {text}"
    polarities = {}
    for aspect in row["aspects"]:
        assert list(aspect) == ["category", "polarity"], f"{where}: keys {list(aspect)}"
        category, polarity = aspect.values()
        assert category in CATEGORIES, f"{where}: category {category}"
        assert polarity in POLARITIES, f"{where}: polarity {polarity}"
        polarities.setdefault(category, []).append(polarity)
    for category, found in polarities.items():
        assert len(found) == 1 or sorted(found) == [NEGATIVE, POSITIVE], f"{where}: {category} is {found}"


def check_texts(texts):
    assert len(set(texts)) == len(texts), f"twice: {[text for text, count in Counter(texts).items() if count > 1]}"
    nearest = 0.0
    for one, other in combinations(sorted(texts), 2):
        matcher = SequenceMatcher(None, one, other, autojunk=False)
        # The two quick ratios are upper bounds; most pairs end here.
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) > nearest:
            # The ratio depends on the order of the two.
            ratio = max(matcher.ratio(), SequenceMatcher(None, other, one, autojunk=False).ratio())
            assert ratio <= LARGEST_SIMILARITY, f"{ratio:.3f}: {one} / {other}"
            nearest = max(nearest, ratio)
    return nearest


def table(rows):
    counts = Counter((aspect["category"], aspect["polarity"]) for row in rows for aspect in row["aspects"])
    lines = ["| category | positive | negative | neutral | mentions |", "| --- | --- | --- | --- | --- |"]
    for category in CATEGORIES:
        found = [counts[category, polarity] for polarity in POLARITIES]
        assert sum(found) >= MENTIONS, f"{category}: {sum(found)} mentions"
        assert min(found[:2]) >= MENTIONS_OF_A_SIDE, f"{category}: {found}"
        lines.append(f"| {category} | {' | '.join(map(str, found))} | {sum(found)} |")
    totals = [sum(counts[category, polarity] for category in CATEGORIES) for polarity in POLARITIES]
    share = totals[2] / sum(totals)
    assert NEUTRAL_SHARE[0] <= share <= NEUTRAL_SHARE[1], f"neutral: {share:.3f}"
    lines.append(f"| all | {' | '.join(map(str, totals))} | {sum(totals)} |")
    return "\n".join(lines)


def sizes(rows):
    """The line on rows by their number of aspects."""
    groups = {count: [row for row in rows if min(len(row["aspects"]), 3) == count] for count in SHARES}
    assert max(len(row["aspects"]) for row in rows) <= 4
    for count, (low, high) in SHARES.items():
        share = len(groups[count]) / len(rows)
        assert low <= share <= high, f"{count} aspects: {share:.3f}"
    several = groups[2] + groups[3]
    mixed = sum(len({aspect["polarity"] for aspect in row["aspects"]}) > 1 for row in several)
    assert mixed >= MIXED_SHARE * len(several), f"mixed: {mixed} of {len(several)}"
    lengths = sorted(len(row["text"]) for row in rows)
    return (
        f"{len(rows)} rows of {lengths[0]}..{lengths[-1]} characters, median {lengths[len(lengths) // 2]}: {len(groups[0])} without an aspect, "
        f"{len(groups[1])} with one, {len(groups[2])} with two, {len(groups[3])} with three or four; "
        f"of the {len(several)} with two or more, {mixed} are of mixed polarity."
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--show", metavar="CATEGORY", choices=CATEGORIES, help="print the rows that mention this category")
    options = arguments.parse_args()

    rows = read()
    texts = [row["text"] for row in rows]
    assert len(rows) in ROWS, f"{len(rows)} rows"
    nearest = check_texts(texts)
    for word in HARD_WORDS:
        found = sum(bool(re.search(word, text)) for text in texts)
        print(f"{word}: {found} rows")
        assert found >= HARD_ROWS
    print(f"most similar pair: {nearest:.3f}")
    guide = GUIDE.read_text(encoding="utf-8")
    counts = sizes(rows), table(rows)
    print(*counts, sep="\n")
    assert all(part in guide for part in counts), f"{GUIDE.relative_to(ROOT)} has other counts"
    if options.show:
        for row in rows:
            found = [aspect["polarity"] for aspect in row["aspects"] if aspect["category"] == options.show]
            if found:
                print(f"{'+'.join(found):18} {row['text']}")


if __name__ == "__main__":
    main()
