"""Small workbooks as Excel's users make them: fixtures/xlsx/.

Usage: python tests/reference/xlsx.py    (needs openpyxl)
"""

import shutil
from datetime import datetime
from pathlib import Path

from openpyxl import Workbook

FOLDER = Path(__file__).parent / "fixtures" / "xlsx"


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)

    reviews = Workbook()
    sheet = reviews.active
    sheet.title = "reviews"
    for row in [
        ["text", "label", "stars", "day", "checked"],
        ["배송이 빨라요", 1, 4.5, datetime(2026, 3, 1), True],
        ["별로예요\n정말", 0, 1, datetime(2026, 3, 2, 13, 30), False],
        [],
        ["보통", "#N/A", 3],
    ]:
        sheet.append(row)
    sheet["B5"].data_type = "e"
    # A table that begins neither in the first row nor in the first column.
    second = reviews.create_sheet("표 2")
    for place, value in {"B3": "이름", "C3": "번호", "B4": "긍정", "C4": 1, "B5": "부정", "C5": 0}.items():
        second[place] = value
    reviews.create_sheet("empty")
    reviews.save(FOLDER / "reviews.xlsx")

    one = Workbook()
    one.active.title = "data"
    for row in [["text", "label"], ["좋아요", "pos"], ["싫어요", "neg"]]:
        one.active.append(row)
    hidden = one.create_sheet("hidden")
    hidden.append(["text", "label"])
    hidden.append(["x", "y"])
    hidden.sheet_state = "hidden"
    one.save(FOLDER / "one.xlsx")

    wide = Workbook()
    for row in [["text", "label"], ["좋아요", "pos"], ["싫어요", "neg", "a note"]]:
        wide.active.append(row)
    wide.save(FOLDER / "wide.xlsx")

    labels = Workbook()
    for row in [["감정", "번호"], ["부정", 0], ["긍정", 1], ["중립", 2]]:
        labels.active.append(row)
    labels.save(FOLDER / "labeling.xlsx")


if __name__ == "__main__":
    main()
