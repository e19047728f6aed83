"""Masks that are pictures: which of their pixels are tumor."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx.errors import DataError

# More values than this are no labels: resizing and lossy compression make gray levels in between.
MAX_LABELS = 8


def read_covered(path: Path) -> NDArray[np.bool_]:
    """Return which pixels of a picture of a mask are tumor.

    Args:
        path: Picture: labels, black and white, or a color on black. Of gray levels in between those
            above half count, and in JPEG, which leaves traces on black, those above half of 255.

    Returns:
        Mask, shape (h, w); all false for an empty one.

    Raises:
        DataError: If the file can't be read.
    """
    try:
        with Image.open(path) as opened:
            is_jpeg = opened.format in ("JPEG", "MPO")
            plain = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L"}.get(opened.mode)
            values = np.asarray(opened.convert(plain) if plain else opened)
    except OSError as error:
        raise DataError(f"{path}: the mask can't be read: {error}") from error
    if values.ndim == 3:
        values = values.max(axis=2)
    if is_jpeg:
        return np.asarray(values > 127)
    in_between = len(np.unique(values)) > MAX_LABELS
    return np.asarray(values > (values.max() / 2 if in_between else 0))
