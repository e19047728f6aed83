"""What is written beside a drawn slice: letters of orientation and the scale of the heat map."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from meninx._render.heatmap import overlay
from meninx._scan.geometry import Plane

PAPER, INK = (20, 23, 26), (232, 234, 237)
LETTER_HEIGHT = 15
BAR_WIDTH, BAR_TEXT, LINE = 14, 34, 16
# Left, right, upper and lower edge of a slice in radiological convention, as `geometry.View` turns
# it: right, left, anterior, posterior, superior, inferior of the patient.
LETTERS: Mapping[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}


def write_letters(picture: Image.Image, plane: Plane | None) -> None:
    """Write onto the edges of a slice which side of the patient each is; changed in place.

    Args:
        picture: Picture of the slice, RGB.
        plane: Plane of the slice; None without geometry, and then nothing is written.
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
        # A dark rim keeps the letter legible on bone and on air.
        draw.text(
            (x, y), letter, fill=INK, font=font, anchor=anchor, stroke_width=2, stroke_fill="black"
        )


def scale_bar(height: int) -> Image.Image:
    """Return the colors of a heat map from 0 to 1 over gray, with numbers.

    Args:
        height: Height of the bar, pixels.

    Returns:
        The bar, RGB.
    """
    inner = height - LINE
    heat = np.repeat(np.linspace(1, 0, inner, dtype=np.float32)[:, None], BAR_WIDTH, axis=1)
    gray = np.full_like(heat, 0.5)
    gray[0, 0], gray[0, 1] = 0.0, 1.0  # so that gray stays in the middle of its range
    bar = Image.new("RGB", (BAR_WIDTH + BAR_TEXT, height), PAPER)
    bar.paste(Image.fromarray(overlay(gray, heat)), (0, LINE // 2))
    draw = ImageDraw.Draw(bar)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.text((BAR_WIDTH + 4, (1 - value) * inner + 1), f"{value:.2f}", fill=INK)
    return bar
