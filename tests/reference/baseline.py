"""Writes fixtures/baseline.json: what scikit-learn's TfidfVectorizer and LogisticRegression give on a few texts.

Needs scikit-learn (made with 1.9) and numpy. Run from anywhere: `python tests/reference/baseline.py`. Deterministic, no network.
The English texts are rows of crates/cli/samples/customer_support.csv; the Korean ones were written for this file.
"""

import csv
import json
from pathlib import Path

import numpy
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parents[2]
LABELS = ["cancel_order", "check_invoice", "get_refund", "newsletter_subscription", "recover_password"]
KOREAN = {
    "cancel_order": ["주문 취소하고 싶어요", "방금 한 주문을 취소해 주세요", "주문취소 어떻게 하나요?", "어제 주문한 거 취소 되나요ㅠㅠ", "취소 버튼이 없어요"],
    "check_invoice": ["청구서 확인하고 싶습니다", "이번 달 청구서는 어디서 보나요?", "청구 금액이 궁금해요", "지난달 청구서를 보여 주세요", "영수증 조회"],
    "get_refund": ["환불 받고 싶어요", "환불해 주세요!!", "환불은 언제 되나요?", "돈 돌려주세요", "반품하고 환불 신청할게요"],
    "newsletter_subscription": ["소식지 구독을 끊고 싶어요", "뉴스레터 구독 신청", "뉴스레터 그만 보내세요", "구독 해지 부탁드려요", "메일 구독하려면?"],
    "recover_password": ["비밀번호를 잊어버렸어요", "비밀번호 재설정", "비번 찾기가 안돼요", "암호를 다시 만들고 싶어요", "PIN 번호 초기화해 주세요"],
}  # fmt: skip


def read_texts():
    """Train and held-out texts with classes: per label 20 and 4 English rows, 4 and 1 Korean."""
    with open(ROOT / "crates/cli/samples/customer_support.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    train, test = [], []
    for number, label in enumerate(LABELS):
        english = [row["text"] for row in rows if row["label"] == label and row["split"] == "train"]
        train += [(text, number) for text in english[:20] + KOREAN[label][:4]]
        test += [(text, number) for text in english[20:24] + KOREAN[label][4:]]
    # The awkward ones: nothing known, upper case with an underscore and digits, one-letter words, a repeated word, outer blanks, a word shorter than an n-gram.
    test += [("", 0), ("zzz qqq", 0), ("Order_ID 113542617735902 I a b", 0), ("cancel cancel CANCEL cancel", 0), ("  refund\t\n환불  ", 2), ("a ㅠ é", 3)]
    return train, test


def case(name, train, test, vectorizer_options, c):
    vectorizer = TfidfVectorizer(**vectorizer_options)
    features = vectorizer.fit_transform([text for text, _ in train])
    # newton-cg, since the lbfgs solver stops on the loss's last digits, too early for a tight comparison.
    model = LogisticRegression(C=c, solver="newton-cg", tol=1e-10, max_iter=10_000).fit(features, [number for _, number in train])
    held_out = vectorizer.transform([text for text, _ in test])
    rows = [held_out[row].sorted_indices() for row in range(len(test))]
    return {
        "name": name,
        "analyzer": vectorizer_options.get("analyzer", "word"),
        "ngram_range": vectorizer_options["ngram_range"],
        "min_df": vectorizer_options.get("min_df", 1),
        "sublinear_tf": vectorizer_options.get("sublinear_tf", False),
        "lowercase": vectorizer_options.get("lowercase", True),
        "c": c,
        "train": train,
        "test": [text for text, _ in test],
        "vocabulary": sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get),
        "idf": vectorizer.idf_.tolist(),
        "rows": [{"columns": row.indices.tolist(), "values": row.data.tolist()} for row in rows],
        "classes": model.classes_.tolist(),
        "probabilities": model.predict_proba(held_out).tolist(),
    }


def main():
    train, test = read_texts()
    two = [(text, number) for text, number in train if number in (1, 3)]
    cases = [
        case("words", train, test, {"ngram_range": (1, 2)}, 1.0),
        case("words, sublinear, min_df 2, C 10", train, test, {"ngram_range": (1, 2), "sublinear_tf": True, "min_df": 2}, 10.0),
        case("words as they are written", train[::3], test, {"ngram_range": (1, 1), "lowercase": False}, 1.0),
        case("characters", train[::2], test, {"analyzer": "char_wb", "ngram_range": (2, 4), "min_df": 3}, 10.0),
        case("two of the five classes", two, test, {"ngram_range": (1, 2), "min_df": 2}, 1.0),
    ]
    fixture = {"scikit_learn": sklearn.__version__, "numpy": numpy.__version__, "labels": len(LABELS), "cases": cases}
    path = Path(__file__).parent / "fixtures/baseline.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(path.relative_to(ROOT), path.stat().st_size, "bytes;", [(one["name"], len(one["train"]), len(one["vocabulary"])) for one in cases])


if __name__ == "__main__":
    main()
