"""Read masks that are pictures."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._errors import DataError

# Largest number of labels; resizing and lossy compression make more gray levels.
_MAX_LABELS = 8
# Brightest artifact of JPEG on black.
_MAX_TRACE = 16


def read_covered(path: Path) -> NDArray[np.bool_]:
    """Return which pixels of a picture of a mask are tumor.

    Args:
        path: Picture: labels, black and white, or a color on black. Where resizing or JPEG made
            gray levels in between, those above half of the highest count; a JPEG of mere traces is
            empty.

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
    highest = values.max()
    if is_jpeg and highest <= _MAX_TRACE:
        return np.zeros(values.shape, dtype=np.bool_)
    in_between = is_jpeg or len(np.unique(values)) > _MAX_LABELS
    return np.asarray(values > (highest / 2 if in_between else 0))
