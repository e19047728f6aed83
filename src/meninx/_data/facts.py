"""Measure files, sizes and intensities of pictures, without their anatomy."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._data.duplicates import WORTH_PROCESSES, process_pool
from meninx._data.near_duplicates import Signature, signature_of
from meninx._errors import InputError
from meninx._scan.raster import read_gray
from meninx._scan.walking import files_below

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "I", "F")
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
# Number of pixels of a large picture from which statistics are computed, about.
_MAX_PIXELS = 192 * 192


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """Measurements of one file.

    Args:
        path: File.
        sha256: SHA-256 of its bytes.
        kind: Format and mode for a reader, such as `JPEG RGB`; empty if unreadable.
        size: Width and height, pixels.
        file: Numbers that follow from the file alone, by name.
        intensity: Global intensity statistics, by name.
        signature: Signature by which copies are found; None if unreadable.
        error: Why the file could not be read; None if it could.
    """

    path: Path
    sha256: str
    kind: str = ""
    size: tuple[int, int] = (0, 0)
    file: Mapping[str, float] = field(default_factory=dict)
    intensity: Mapping[str, float] = field(default_factory=dict)
    signature: Signature | None = field(default=None, repr=False)
    error: str | None = None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of its files' names and contents."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in files_below(path, lambda _: None):
            digest.update(f"{file.relative_to(path)}:{sha256_of(file)}\n".encode())
    else:
        with path.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def measure_pictures(
    paths: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> list[PictureFacts]:
    """Measure pictures.

    Args:
        paths: PNG, JPEG, TIFF, BMP or WebP files.
        progress: Called, if given, with the number of pictures done and of all.
        workers: Processes that share the work, see `duplicates.find_duplicates`.

    Returns:
        Facts in the order of the paths; unreadable ones have an `error`.
    """
    found = []
    with contextlib.ExitStack() as stack:
        measured: Iterable[PictureFacts] = map(measure_picture, paths)
        if workers > 1 and len(paths) >= WORTH_PROCESSES:
            pool = stack.enter_context(process_pool(workers))
            measured = pool.map(measure_picture, paths, chunksize=32)
        for facts in measured:
            found.append(facts)
            if progress is not None:
                progress(len(found), len(paths))
    return found


def measure_picture(path: Path) -> PictureFacts:
    """Measure one picture.

    Args:
        path: PNG, JPEG, TIFF, BMP or WebP file.

    Returns:
        Facts of the file; with an `error` if it can't be read.
    """
    sha256 = ""
    try:
        sha256 = sha256_of(path)
        image = read_gray(path)
        with Image.open(path) as opened:
            kind, size = f"{opened.format} {opened.mode}", opened.size
            file = file_facts(opened, path.stat().st_size)
    except (InputError, OSError) as error:
        message = str(error).removeprefix(f"{path}: ")
        return PictureFacts(path, sha256, error=message)
    return PictureFacts(path, sha256, kind, size, file, intensity_facts(image), signature_of(image))


def file_facts(opened: Image.Image, size_bytes: int) -> dict[str, float]:
    """Return numbers from a file's header.

    Args:
        opened: Picture, of which only the header is used.
        size_bytes: Size of the file, bytes.

    Returns:
        Width, height, format, mode, bytes and how coarsely a JPEG is quantized.
    """
    width, height = opened.size
    tables = getattr(opened, "quantization", None) or {}
    return {
        "width": float(width),
        "height": float(height),
        "aspect": width / height,
        "mode": float(_MODES.index(opened.mode)) if opened.mode in _MODES else -1.0,
        "format": float(FORMATS.index(opened.format)) if opened.format in FORMATS else -1.0,
        "bytes": float(size_bytes),
        "bytes per pixel": size_bytes / (width * height),
        "quantization": float(sum(map(sum, tables.values()))),
        "has exif": float("exif" in opened.info),
        "has icc profile": float("icc_profile" in opened.info),
        "dots per inch": float((opened.info.get("dpi") or (0.0,))[0]),
    }


def intensity_facts(image: NDArray[np.float32]) -> dict[str, float]:
    """Return global intensity statistics of a slice or a picture.

    Args:
        image: Intensities, shape (h, w), any unit.

    Returns:
        Percentiles, mean, spread, entropy and the brightness of the four borders.
    """
    step = max(1, round((image.size / _MAX_PIXELS) ** 0.5))
    values = image[::step, ::step]
    counts, _ = np.histogram(values, bins=64)
    shares = counts[counts > 0] / values.size
    levels = np.percentile(values, _PERCENTILES)
    borders = {"top": image[0], "bottom": image[-1], "left": image[:, 0], "right": image[:, -1]}
    return {
        **{f"percentile {p}": float(level) for p, level in zip(_PERCENTILES, levels, strict=True)},
        "mean": float(values.mean()),
        "spread": float(values.std()),
        "entropy": float(-(shares * np.log(shares)).sum()),
        "share of zeros": float((values == 0).mean()),
        **{f"{name} border": float(border.mean()) for name, border in borders.items()},
        **{f"{name} border spread": float(border.std()) for name, border in borders.items()},
    }
