"""Draw letters of orientation on a slice, and the color scale of a heat map."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from meninx._render.heatmap import overlay
from meninx._scan.geometry import Plane

PAPER, INK = (20, 23, 26), (232, 234, 237)
LETTER_HEIGHT = 15
BAR_WIDTH, BAR_TEXT, LINE = 14, 34, 16
# Letters at the left, right, upper and lower edge of a slice in radiological convention (`View`):
# right, left, anterior, posterior, superior, inferior of the patient.
LETTERS: Mapping[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}


def write_letters(picture: Image.Image, plane: Plane | None) -> None:
    """Write the letters of orientation onto the edges of a slice, in place.

    Args:
        picture: Picture of the slice, RGB.
        plane: Plane of the slice; None to write nothing.
    """
    if plane is None:
        return
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(LETTER_HEIGHT)
    width, height = picture.size
    places = (
        (4, height / 2, "lm"),
        (width - 4, height / 2, "rm"),
        (width / 2, 3, "ma"),
        (width / 2, height - 4, "md"),
    )
    for letter, (x, y, anchor) in zip(LETTERS[plane], places, strict=True):
        # A dark outline keeps the letter legible on bright tissue.
        draw.text(
            (x, y), letter, fill=INK, font=font, anchor=anchor, stroke_width=2, stroke_fill="black"
        )


def scale_bar(height: int) -> Image.Image:
    """Return the color scale of a heat map from 0 to 1 over gray, with numbers.

    Args:
        height: Height of the bar, pixels.

    Returns:
        The bar, RGB.
    """
    inner = height - LINE
    heat = np.repeat(np.linspace(1, 0, inner, dtype=np.float32)[:, None], BAR_WIDTH, axis=1)
    gray = np.full_like(heat, 0.5)
    gray[0, 0], gray[0, 1] = 0.0, 1.0  # fixes the intensity range, so that the rest is medium gray
    bar = Image.new("RGB", (BAR_WIDTH + BAR_TEXT, height), PAPER)
    bar.paste(Image.fromarray(overlay(gray, heat)), (0, LINE // 2))
    draw = ImageDraw.Draw(bar)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.text((BAR_WIDTH + 4, (1 - value) * inner + 1), f"{value:.2f}", fill=INK)
    return bar
