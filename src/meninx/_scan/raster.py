"""Read pictures: PNG, JPEG, JPEG 2000, TIFF, BMP, GIF and WebP."""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from meninx._errors import LimitExceeded, UnsupportedScan
from meninx._scan.background import with_dark_air, without_padding
from meninx._scan.kinds import check_content
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.map_names import name_warnings
from meninx._scan.scan import Scan
from meninx._scan.source import SNIFFED_BYTES, Source, reading
from meninx._scan.view import PICTURE_VIEW

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "GIF", "WEBP")
# TIFF 6.0: PhotometricInterpretation, 0 if the lowest value is white; Pillow inverts only 8 bits.
PHOTOMETRIC, WHITE_IS_ZERO, WHITE_16 = 262, 0, 65535
# Text chunk that marks heat maps drawn by meninx, which would pass for a brain.
HEATMAP_KEY = "meninx heat map"
# JPEG's chroma subsampling leaves a few levels of color even in gray pictures.
_COLOR_LEVELS = 32


def read_picture(source: Source, limits: Limits = DEFAULT_LIMITS) -> Scan:
    """Read a picture as a Scan of one slice without geometry.

    Args:
        source: PNG, JPEG, JPEG 2000, TIFF, BMP, GIF or WebP file; 1, 8 or 16 bit, gray, palette,
            RGB(A) or CMYK. Rotations in EXIF are applied.
        limits: Checked before the pixels are decoded.

    Returns:
        Voxels [column, row, 0].

    Raises:
        UnreadableFile: If it is damaged.
        UnsupportedScan: If it holds several pages or is blank.
        LimitExceeded: If it is too large.
    """
    with reading(source.name, "the picture"):
        data = source.read(limits)
        check_content(data[:SNIFFED_BYTES], source.name)
        gray, colorfulness = _decode(data, limits)
        voxels = without_padding(gray.T[:, :, None], PICTURE_VIEW.slice_axis)
        doubts = name_warnings(source.name.rsplit("/", 1)[-1])
        scan = Scan(
            source.name,
            voxels,
            colorfulness=colorfulness,
            incomplete=source.incomplete,
            other_contrast=any(doubt.code == "other_contrast" for doubt in doubts),
            warnings=doubts,
        )
        return with_dark_air(scan)


def read_gray(path: Path) -> NDArray[np.float32]:
    """Read a picture as gray values.

    Args:
        path: Picture.

    Returns:
        Intensities, shape (h, w).

    Raises:
        InputError: If the picture can't be used, see `read_picture`.
    """
    scan = read_picture(Source(str(path), path, path.stat().st_size))
    return scan.slice(0).image


def _decode(data: bytes, limits: Limits) -> tuple[NDArray[np.float32], float]:
    """Return a picture's gray values, shape (h, w), and the share of colored pixels."""
    with warnings.catch_warnings():
        # Pillow warns about harmless metadata, such as a truncated EXIF block.
        warnings.simplefilter("ignore", UserWarning)
        # Pillow's limit is above ours, which are checked below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with _opened(data) as opened:
            limits.check_shape(opened.size)
            if opened.info.get(HEATMAP_KEY):
                raise UnsupportedScan(
                    "a heat map that meninx drew; expected a scan", reason="derived"
                )
            pages = getattr(opened, "n_frames", 1)
            if pages > 1:
                raise UnsupportedScan(
                    f"{pages} pages or frames, expected one picture; save each as its own file",
                    reason="several_pages",
                )
            # WeasyPrint, imported for reports, makes Pillow accept truncated files.
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            opened.load()
            inverted = _is_inverted(opened)
            ImageOps.exif_transpose(opened, in_place=True)
            if opened.mode.startswith("I") or opened.mode in ("F", "L"):
                gray = np.asarray(opened, dtype=np.float32)
                return (WHITE_16 - gray if inverted else gray), 0.0
            if opened.mode == "1":
                return np.asarray(opened.convert("L"), dtype=np.float32), 0.0
            return _gray_of_color(_without_alpha(opened))


def _is_inverted(picture: Image.Image) -> bool:
    """Return whether 16-bit values are stored with white as zero, which Pillow ignores."""
    tags = getattr(picture, "tag_v2", {})
    return picture.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _opened(data: bytes) -> Image.Image:
    """Open a picture; its pixels are not decoded yet."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise LimitExceeded(
            f"the header promises far more pixels than any slice has: {error}; save the picture "
            "smaller, or check where it comes from"
        ) from error


def _without_alpha(picture: Image.Image) -> Image.Image:
    """Return an RGB picture with transparent pixels in black, like air."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")


def _gray_of_color(picture: Image.Image) -> tuple[NDArray[np.float32], float]:
    """Return the gray values of an RGB picture, and the share of colored among lit pixels."""
    rgb = np.asarray(picture)
    brightest, darkest = rgb.max(axis=2), rgb.min(axis=2)
    lit = brightest > _COLOR_LEVELS
    colored = lit & (brightest - darkest > _COLOR_LEVELS)
    share = float(colored.sum() / max(int(lit.sum()), 1))
    return np.asarray(picture.convert("L"), dtype=np.float32), share
