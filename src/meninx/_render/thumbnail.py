"""Draw small pictures of a series: a thumbnail, and a contact sheet of refused images."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from meninx._detect.findings import Findings
from meninx._detect.preprocessing import FloatImage
from meninx._render.heatmap import gray_picture, panel_size
from meninx._scan.scan import Scan

# Longest side of a thumbnail, of an image that is shown until the voxels arrive, and of an image on
# a sheet, pixels.
THUMBNAIL, FIRST_IMAGE, TILE = 144, 768, 220
GAP, COLUMNS = 4, 3


def thumbnail(scan: Scan, findings: Findings, longest: int) -> Image.Image:
    """Return the hottest slice of a scan, or the middle one, as a small gray picture.

    Args:
        scan: A scan.
        findings: Findings of the scan, scored or not.
        longest: Longest side of the picture, pixels.

    Returns:
        A gray RGB picture with square pixels.
    """
    hottest = findings.hottest
    scan_slice = scan.slice(len(scan) // 2 if hottest is None else hottest.index)
    picture = Image.fromarray(gray_picture(scan_slice.image)).resize(panel_size(scan_slice))
    picture.thumbnail((longest, longest))
    return picture


def contact_sheet(images: Sequence[FloatImage]) -> Image.Image:
    """Return images side by side, each in a square.

    Args:
        images: Images of any intensity range, each of shape (h, w); at least one.

    Returns:
        A gray picture (mode L).
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    sheet = Image.new("L", (columns * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP))
    for number, image in enumerate(images):
        tile = Image.fromarray(gray_picture(np.asarray(image, dtype=np.float32))).convert("L")
        scale = TILE / max(tile.size)
        tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))))
        left, top = number % columns * (TILE + GAP), number // columns * (TILE + GAP)
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
    return sheet
