import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from meninx._render.annotation import LETTER_HEIGHT, scale_bar, write_letters

SIZE = (200, 120)
# Left, right, upper and lower edge, as a radiologist expects them.
EXPECTED = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
EDGES = ((0, 40, 30, 80), (170, 40, 200, 80), (80, 0, 120, 25), (80, 95, 120, 120))


def drawn(letter):
    """The gray values of a letter, cropped to its pixels."""
    picture = Image.new("L", (40, 40))
    font = ImageFont.load_default(LETTER_HEIGHT)
    ImageDraw.Draw(picture).text((20, 20), letter, fill=255, font=font, anchor="mm")
    return np.asarray(picture.crop(picture.getbbox())) > 128


@pytest.mark.parametrize("plane", EXPECTED)
def test_every_edge_says_which_side_of_the_patient_it_is(plane):
    picture = Image.new("RGB", SIZE)
    write_letters(picture, plane)
    for letter, edge in zip(EXPECTED[plane], EDGES, strict=True):
        found = picture.crop(edge).convert("L")
        box = found.getbbox()
        assert box is not None, letter
        pixels = np.asarray(found.crop(box)) > 128
        closest = min("RLAPSI", key=lambda letter: difference(pixels, drawn(letter)))
        assert closest == letter


def difference(first, second):
    """Share of pixels in which two shapes differ after scaling to one size."""
    size = (16, 16)
    both = [np.asarray(Image.fromarray(pixels).resize(size)) for pixels in (first, second)]
    return float((both[0] != both[1]).mean()) + abs(first.shape[1] - second.shape[1]) / 10


def test_without_geometry_nothing_is_claimed():
    picture = Image.new("RGB", SIZE)
    write_letters(picture, None)
    assert picture.getbbox() is None


def test_the_scale_runs_from_certain_to_nothing():
    bar = np.asarray(scale_bar(300)).astype(int)
    column = bar[10:290, 5]
    assert column[5].sum() > column[140].sum()
    assert np.ptp(column[5]) > 40
    # Without heat the gray is visible.
    assert np.ptp(column[-5]) == 0
