"""Draw docs/explanation.png: ten synthetic heads as `meninx explain` draws them."""

import math
from pathlib import Path

from PIL import Image

from meninx._detect.loading import load_detector
from meninx._render.result import Result
from meninx._synthesis.phantom_studies import make_studies

COUNT, FIRST_SEED, COLUMNS, WIDTH = 10, 600, 5, 420


def main() -> None:
    """Score the heads, draw their sheets, and write them as one picture."""
    detector, sheets = load_detector(), []
    for study in make_studies(COUNT, FIRST_SEED):
        sheet = Result.of(study.scan, detector).sheet()
        sheets.append(sheet.resize((WIDTH, round(WIDTH * sheet.height / sheet.width))))
    height = max(sheet.height for sheet in sheets)
    rows = math.ceil(len(sheets) / COLUMNS)
    page = Image.new("RGB", (COLUMNS * WIDTH, rows * height))
    for number, sheet in enumerate(sheets):
        page.paste(sheet, (number % COLUMNS * WIDTH, number // COLUMNS * height))
    path = Path(__file__).parents[2] / "docs" / "explanation.png"
    page.quantize(200).save(path, optimize=True)


if __name__ == "__main__":
    main()
