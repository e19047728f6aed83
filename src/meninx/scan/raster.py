"""Read pictures: PNG, JPEG, TIFF, BMP and WebP."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_gray(path: Path) -> NDArray[np.float32]:
    """Read a picture as gray."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"), dtype=np.float32)
