"""Makes crates/cli/samples/customer_support.csv, the data that `gareum quickstart` trains on.

The source (8,100 customer-support utterances by Bitext, 27 intents) is generated from templates, so a random split puts the same sentence
on both sides and scores 99 % for nothing. Here whole groups of templates go to train, validation or test:

    utterance   "wanna cnacel purchase 00123842, help me"
    phrase      want cancel purchase help me      entity value removed, spelling noise repaired, slang spelled out
    skeleton    cancel purcha                     stems of the content words, as a set: no order, no politeness, no "how do I"
    cluster     cancel purcha                     the two stems of the skeleton that say most about the intent
                                                  (one more, then two more, where a cluster would be over a tenth of its intent)

A cluster is never divided between parts.

Needs Python 3.10+; scikit-learn only for the figures and the nearest neighbours that it prints.
Run from anywhere: `python tests/reference/quickstart_sample.py [--check-only] [--show 30]`; the data folder is GAREUM_TEST_DATA, else ../shared/data.
Deterministic: everything random is the order of SHA-256 digests.
"""

import argparse
import csv
import hashlib
import io
import math
import os
import re
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", ROOT.parent / "shared" / "data")) / "bitext_customer_support"
SAMPLE = ROOT / "crates/cli/samples/customer_support.csv"

LABEL = "intent"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
ROWS_PER_LABEL = {TRAIN: 150, VALIDATION: 18, TEST: 26}
# Rows taken from one cluster outside train, so that a held-out part is many templates and not many copies of one.
ROWS_PER_HELD_OUT_CLUSTER = 10
# A cluster over this share of its intent is refined by a further stem, up to four.
LARGEST_CLUSTER_SHARE = 0.1
# One still over this share stays in train, and an intent gives at most the second share of its rows away.
LARGEST_HELD_OUT_CLUSTER_SHARE, LARGEST_HELD_OUT_SHARE = 0.25, 0.45
SEED = "gareum quickstart 1"

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
SLANG = {
    "ur": "your", "u": "you", "ya": "you", "wanna": "want", "gonna": "going", "im": "am", "id": "would", "info": "information",
    "pwd": "password", "pass": "password", "signup": "sign", "using": "use", "dont": "not", "cant": "not", "cannot": "not", "aint": "not",
    "isnt": "not", "arent": "not", "havent": "not",
}  # fmt: skip
# Words that carry the manner of asking, not what is asked.
CARRIER = set(
    """a an the i me my mine you your we us our it its this that these them there is are am be been was were being has have had having
    do does did doing done to of for from in on at with by about against into if and or so as not no yet any some something anything
    several few other more very too all much lot can could may might will would should shall must got get gets getting going go gonna like need
    needs needed want wants wanted wanting try tries trying tried expect how what where when which why who whose way possible please let
    help helping helped helpful assistance assist assisting support supports supporting question questions information know knows
    understand tell tells show shows give gives gave giving see seeing sees look looking find finding check checking checks
    regarding dollar dollars money current free usually""".split()
)
# What the templates put into one slot by turns counts as one word, so that "add an item" and "add a product" stay together.
SLOTS = {
    word: words.split()[0]
    for words in (
        "item items article articles product products parcel package something anything",
        "order orders purchase purchases",
        "company business organization brand work corporate service services",
        "customer consumer",
        "problem problems issue issues trouble troubles error errors",
        "method methods option options modality modalities",
        "person someone somebody",
        "agent human live",
        "invoice invoices bill bills",
        "pin password key code access",
        "account accounts user profile",
        "daughter wife bride fiance fiancee son father",
        "accepted available",
        "new another different secondary second",
        "shipping delivery shipment shipments deliveries",
        "fee fees charge charges",
        "refund refunds reimbursement reimbursements rebate rebates restitution restitutions compensation compensations",
        "situations cases circumstances",
        "talk talking speak speaking chat chatting",
        "complaint claim reclamation",
        "inform informing notify notifying report reporting",
    )
    for word in words.split()
}
ENDINGS = "ations ation ition ments ment ions ion als al ings ing ied ies ed es s".split()


def digest(*parts):
    return hashlib.sha256("\0".join((SEED, *parts)).encode()).hexdigest()


def stem(word):
    """A rough stem: one ending off, at most six letters. Too coarse is safe here (clusters grow), too fine is not."""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    while len(word) > 3 and word[-1] in "eyi":
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] != "s":
        word = word[:-1]
    return word[:6]


def one_edit(word):
    letters = "abcdefghijklmnopqrstuvwxyz"
    for i in range(len(word) + 1):
        head, tail = word[:i], word[i:]
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in letters)
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        yield from (head + letter + tail for letter in letters)


def read_source():
    rows = []
    for part in ("train", "dev", "test"):
        with open(DATA / f"{part}.csv", encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    return rows


def annotate(rows):
    """Adds `phrase`, `skeleton` and `cluster` to each row."""
    entity_words = {word for row in rows for word in WORD.findall(row["entity_value"].lower())}

    def words(row):
        text = row["utterance"]
        if row["entity_value"]:
            text = text[: int(row["start_offset"])] + " " + text[int(row["end_offset"]) :]
        found = WORD.findall(text.lower().replace("’", "'"))
        return [word.replace("'", "") for word in found if word not in entity_words and not word.isdigit()]

    # Tag Z marks rows with spelling noise; the words of the others are the dictionary.
    frequency = Counter(word for row in rows if "Z" not in row["tags"] for word in words(row))
    known = {word for word, count in frequency.items() if count >= 2}
    # "uhelp" is slang in clean rows too: never a dictionary word.
    joined_u = {word for word in known if word[0] == "u" and word[1:] in known} - {"use", "user", "used"}
    known -= joined_u

    @lru_cache(None)
    def repair(word):
        if word in joined_u:
            return ("you", word[1:])
        if word in known:
            return (word,)
        best = lambda candidates: max(candidates, key=lambda candidate: (frequency[candidate], candidate), default=None)
        if single := best(edited for edited in one_edit(word) if edited in known):
            return (single,)
        halves = [(word[:i], word[i:]) for i in range(1, len(word) - 1) if word[:i] in known and word[i:] in known]
        if halves:
            return max(halves, key=lambda pair: (min(frequency[pair[0]], frequency[pair[1]]), pair))
        if len(word) > 5:
            if double := best(second for first in one_edit(word) for second in one_edit(first) if second in known):
                return (double,)
        return (word,)

    for row in rows:
        phrase = [SLANG.get(word, word) for joined in words(row) for word in repair(joined)]
        row["phrase"] = " ".join(phrase)
        row["skeleton"] = tuple(sorted({stem(SLOTS.get(word, word)) for word in phrase if word not in CARRIER}))

    # Information of a stem: KL divergence of the intents seen with it from all intents, times log(1 + rows); rare stems (typing slips) get none.
    intents = Counter(row[LABEL] for row in rows)
    by_stem = defaultdict(Counter)
    for row in rows:
        for one in row["skeleton"]:
            by_stem[one][row[LABEL]] += 1
    information = {}
    for one, counts in by_stem.items():
        total = sum(counts.values())
        divergence = sum(n / total * math.log(n / total * len(rows) / intents[intent]) for intent, n in sorted(counts.items()))
        information[one] = divergence * math.log1p(total) if total >= 5 else 0.0
    for row in rows:
        row["ranked"] = sorted(row["skeleton"], key=lambda one: (-information[one], one))
        row["cluster"] = tuple(sorted(row["ranked"][:2]))
    for stems in (3, 4):
        groups = by_cluster(rows).items()
        large = {cluster for cluster, members in groups if len(members) > LARGEST_CLUSTER_SHARE * intents[main_intent(members)]}
        for row in rows:
            if row["cluster"] in large:
                row["cluster"] = tuple(sorted(row["ranked"][:stems]))


def by_cluster(rows):
    clusters = defaultdict(list)
    for row in rows:
        clusters[row["cluster"]].append(row)
    return clusters


def main_intent(members):
    return Counter(row[LABEL] for row in members).most_common(1)[0][0]


def keep_clean(rows):
    """Without offensive wording (tag W) and without texts that differ only in case or spacing."""
    seen, kept = set(), []
    for row in rows:
        text = " ".join(row["utterance"].split())
        if "W" in row["tags"] or text.lower() in seen:
            continue
        seen.add(text.lower())
        kept.append({**row, "text": text})
    return kept


def distinct_first(rows):
    """New phrases before further copies of a phrase (another order number, another slip), otherwise in digest order."""
    copies = Counter()
    order = []
    for row in sorted(rows, key=lambda row: digest("row", row["text"])):
        order.append((copies[row["phrase"]], len(order), row))
        copies[row["phrase"]] += 1
    return [row for _, _, row in sorted(order, key=lambda item: item[:2])]


def assign(rows):
    """Sets `split` on the rows of the sample and returns them."""
    clusters = by_cluster(rows)
    size = Counter(row[LABEL] for row in rows)
    taken, spent_rows = Counter(), Counter()
    spent = set()
    chosen = []
    for cluster in sorted(clusters, key=lambda cluster: digest("cluster", *cluster)):
        members = clusters[cluster]
        label = main_intent(members)
        # The part that is further from its number.
        part = min((TEST, VALIDATION), key=lambda part: taken[part, label] / ROWS_PER_LABEL[part])
        room = min(ROWS_PER_LABEL[part] - taken[part, label], ROWS_PER_HELD_OUT_CLUSTER)
        if (
            room <= 0
            or len(members) > LARGEST_HELD_OUT_CLUSTER_SHARE * size[label]
            or spent_rows[label] + len(members) > LARGEST_HELD_OUT_SHARE * size[label]
        ):
            continue
        spent.add(cluster)  # rows beyond the limit are in no part: train may not see this cluster
        spent_rows[label] += len(members)
        for row in distinct_first(members)[:room]:
            taken[part, row[LABEL]] += 1
            chosen.append({**row, "split": part})
    rest = [row for row in rows if row["cluster"] not in spent]
    for label in sorted(size):
        for row in distinct_first([row for row in rest if row[LABEL] == label])[: ROWS_PER_LABEL[TRAIN]]:
            chosen.append({**row, "split": TRAIN})
    return sorted(chosen, key=lambda row: ((TRAIN, VALIDATION, TEST).index(row["split"]), digest("order", row["text"])))


def check(sample):
    """The promises of the module's documentation, asserted."""
    parts = {part: [row for row in sample if row["split"] == part] for part in (TRAIN, VALIDATION, TEST)}
    labels = {row[LABEL] for row in sample}
    for part, rows in parts.items():
        assert {row[LABEL] for row in rows} == labels, f"{part}: labels missing"
    for key in ("cluster", "skeleton", "phrase", "text"):
        seen = {row[key] for row in parts[TRAIN]}
        for part in (VALIDATION, TEST):
            shared = [row["text"] for row in parts[part] if row[key] in seen]
            assert not shared, f"{part} shares a {key} with train: {shared[:3]}"
        assert not {row[key] for row in parts[TEST]} & {row[key] for row in parts[VALIDATION]}, f"test and validation share a {key}"
    assert len({row["text"].lower() for row in sample}) == len(sample)
    unseen = {one for row in parts[TEST] for one in row["skeleton"]} - {one for row in parts[TRAIN] for one in row["skeleton"]}
    for part, rows in parts.items():
        counts = Counter(row[LABEL] for row in rows)
        distinct = [len({row[key] for row in rows}) for key in ("phrase", "skeleton", "cluster")]
        print(f"{part:10} {len(rows):5} rows, {min(counts.values())}..{max(counts.values())} a label; distinct phrases, skeletons, clusters: {distinct}")
    print(f"stems of the test part that train has not: {len(unseen)}: {' '.join(sorted(unseen))}")
    return parts


def figures(parts, rows, show):
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    def baseline(name, train, test, label=LABEL):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2))
        features = vectorizer.fit_transform([row["text"] for row in train])
        model = LogisticRegression(C=10.0, max_iter=5000).fit(features, [row[label] for row in train])
        known, found = [row[label] for row in test], model.predict(vectorizer.transform([row["text"] for row in test]))
        scores = accuracy_score(known, found), f1_score(known, found, average="macro")
        print(f"{name:44} {label:8} train {len(train)} test {len(test)}: accuracy {scores[0]:.4f}, macro F1 {scores[1]:.4f}")
        return vectorizer, features, known, found

    train, test = parts[TRAIN], parts[TEST]
    for label in (LABEL, "category"):
        shuffled = sorted(rows, key=lambda row: digest("random split", row["text"]))
        baseline("random split of the same size", shuffled[len(test) : len(test) + len(train)], shuffled[: len(test)], label)
        for part in (VALIDATION, TEST):
            result = baseline(f"held-out templates, {part}", train, parts[part], label)
        if label == LABEL:
            vectorizer, features, known, found = result
    names = sorted(set(known))
    matrix = confusion_matrix(known, found, labels=names)
    pairs = [(matrix[i, j], names[i], names[j]) for i in range(len(names)) for j in range(len(names)) if i != j and matrix[i, j] > 2]
    print("most frequent confusions:", "; ".join(f"{known} as {found} {n}" for n, known, found in sorted(pairs, reverse=True)[:12]))
    nearest = vectorizer.transform([row["text"] for row in test]) @ features.T
    for index in sorted(range(len(test)), key=lambda index: digest("show", test[index]["text"]))[:show]:
        similarity = nearest[index].toarray()[0]
        best = int(np.argmax(similarity))
        mark = " " if known[index] == found[index] else "x"
        print(f"{mark} {known[index]:24} {test[index]['text']}\n  {train[best][LABEL]:24} {train[best]['text']}  ({similarity[best]:.2f})")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check-only", action="store_true", help="compare with the file in the repository instead of writing it")
    arguments.add_argument("--show", type=int, default=0, help="print this many test rows with their nearest training rows")
    options = arguments.parse_args()

    rows = read_source()
    annotate(rows)
    rows = keep_clean(rows)
    sample = assign(rows)
    parts = check(sample)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["text", "label", "split"])
    writer.writerows([row["text"], row[LABEL], row["split"]] for row in sample)
    content = text.getvalue().encode()
    if options.check_only:
        assert SAMPLE.read_bytes() == content, f"{SAMPLE} is not what this script makes"
    else:
        SAMPLE.parent.mkdir(parents=True, exist_ok=True)
        SAMPLE.write_bytes(content)
    print(f"{SAMPLE.relative_to(ROOT)}: {len(sample)} rows, {len(content)} bytes")
    figures(parts, rows, options.show)


if __name__ == "__main__":
    main()
