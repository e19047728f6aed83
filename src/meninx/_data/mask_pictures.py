"""Read masks that are pictures."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._data.mask_values import Values, tumor_of
from meninx._data.progress import Report
from meninx._errors import DataError

log = logging.getLogger(__name__)

# Brightest artifact of JPEG on black.
_MAX_TRACE = 16


def read_covered(path: Path, report: Report = log.debug) -> NDArray[np.bool_]:
    """Return which pixels of a picture of a mask are tumor.

    Args:
        path: Picture: labels, black and white, or a color on black, see `mask_values.tumor_of`; a
            JPEG of mere traces is empty. Transparent pixels, and those that are not a number, are
            outside.
        report: Called with a sentence where a threshold decides.

    Returns:
        Mask, shape (h, w); all false for an empty one.

    Raises:
        DataError: If the file can't be read, or has values that no mask has.
    """
    try:
        with Image.open(path) as opened:
            is_lossy = opened.format in ("JPEG", "MPO")
            values, opacity = _values_of(opened)
    except OSError as error:
        raise DataError(f"{path}: the mask can't be read: {error}") from error
    if np.isinf(values).any():
        raise DataError(f"{path}: a mask with infinite values; write 0 and 1")
    if is_lossy and values.max() <= _MAX_TRACE:
        return np.zeros(values.shape, dtype=np.bool_)
    if opacity is not None and not values.any() and opacity.min() != opacity.max():
        raise DataError(
            f"{path}: a mask that is black everywhere, and differs in its transparency only; write "
            "black outside of the tumor and white inside"
        )
    return tumor_of(values, str(path), report, is_lossy=is_lossy)


def _values_of(opened: Image.Image) -> tuple[Values, NDArray[np.uint8] | None]:
    """Return a picture's values, the largest of its colors, shape (h, w), and its opacity."""
    plain = {"P": "RGBA", "PA": "RGBA", "RGBA": "RGBA", "LA": "LA"}.get(opened.mode)
    stored = np.asarray(opened.convert(plain) if plain else opened)
    opacity = stored[..., -1] if plain else None
    colors = stored[..., :-1] if plain else stored
    values = (colors if colors.ndim == 2 else colors.max(axis=2)).astype(np.float32)
    values[np.isnan(values)] = 0
    if opacity is not None:
        values[opacity == 0] = 0
    return values, opacity
