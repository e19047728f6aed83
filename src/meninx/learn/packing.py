"""Pack what a recipe learns from into one small file, for a machine that has nothing else.

A pack is a zip: a list of facts, and each canvas as WebP. A GPU at hand for a quarter of an hour
then trains from its first minute, without the collections and without their readers.
"""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from meninx.detect.preprocessing import Preprocessing
from meninx.errors import DataError
from meninx.learn.dataset import Canvas, Example, Facts, SliceDataset, depth_in_head, planes_of

FORMAT = 1
PLANES = ("image", "mask", "depth")
INDEX = "index.json"
# A canvas of 208 px then takes some 3 kB; training changes pictures far more than that.
QUALITY = 75
# A mask is smooth, and half of a percent of coverage teaches nothing.
MASK_QUALITY = 60
# Canvases that a process decodes in one go.
PART = 256


def write_pack(
    examples: Iterable[Example], preprocessing: Preprocessing, path: Path, quality: int = QUALITY
) -> int:
    """Write examples as one file.

    Args:
        examples: What to learn from; neighbors by their place in this order.
        preprocessing: Of the canvases, its size being their side.
        path: The file to write.
        quality: Of WebP, 1..100.

    Returns:
        Bytes of the file.
    """
    facts: list[dict[str, Any]] = []
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    pack = partial(_packed, preprocessing=preprocessing, quality=quality)
    with (
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as file,
        get_context("fork").Pool(os.cpu_count()) as pool,
    ):
        # In parts: examples that are read while others are packed must not pile up.
        for part in _parts(examples):
            for example, (image, mask) in zip(part, pool.map(pack, part, 16), strict=True):
                file.writestr(f"{len(facts)}.webp", image)
                if mask is not None:
                    file.writestr(f"{len(facts)}-mask.webp", mask)
                facts.append(dataclasses.asdict(example.facts))
        index = {"format": FORMAT, "size": preprocessing.size, "facts": facts}
        file.writestr(INDEX, json.dumps(index), zipfile.ZIP_DEFLATED)
    unfinished.replace(path)
    return path.stat().st_size


def _parts(examples: Iterable[Example]) -> Iterator[list[Example]]:
    left = iter(examples)
    while part := list(islice(left, PART)):
        yield part


def _packed(
    example: Example, preprocessing: Preprocessing, quality: int
) -> tuple[bytes, bytes | None]:
    """Return an example's picture and, where there is a tumor, its mask, as WebP."""
    image, mask = planes_of(example, preprocessing)
    encoded = _encoded(mask, quality=MASK_QUALITY, method=4) if mask.any() else None
    return _encoded(image, quality=quality, method=4), encoded


def _encoded(plane: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(plane).save(buffer, "WEBP", **options)
    return buffer.getvalue()


def unpack(paths: Sequence[Path], folder: Path) -> SliceDataset:
    """Read packs into memory, one after the other, by way of a folder of plain arrays.

    Args:
        paths: Written by `write_pack`, with canvases of one size.
        folder: Where the arrays are kept: processes that train beside each other decode once. What
            an earlier call left there is taken as it is.

    Returns:
        All of their examples.

    Raises:
        DataError: If a file is no pack, of another version, or their sizes differ.
    """
    parts = [(path, *_index_of(path)) for path in paths]
    if len({size for _, size, _ in parts}) != 1:
        sizes = ", ".join(f"{path} {size} px" for path, size, _ in parts)
        raise DataError(f"packs of different canvases: {sizes}; pack them again with one recipe")
    facts = [one for _, _, facts in parts for one in facts]
    files = [folder / f"{name}.npy" for name in PLANES]
    if not all(file.is_file() for file in files):
        _decode([(path, len(facts)) for path, _, facts in parts], files)
    planes = [torch.from_numpy(np.load(file)) for file in files]
    if len(planes[0]) != len(facts):
        raise DataError(f"{folder}: unpacked from other files; remove it")
    return SliceDataset.of_planes(planes[0], planes[1], planes[2], facts)


def _decode(packs: Sequence[tuple[Path, int]], files: Sequence[Path]) -> None:
    """Write images, masks and depths of packs, each with its number of examples, as arrays."""
    jobs = [
        (path, first, min(first + PART, count))
        for path, count in packs
        for first in range(0, count, PART)
    ]
    # Distances within the head cost more than decoding: all cores share them.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        decoded = list(pool.map(_decoded, jobs))
    for file, column in zip(files, zip(*decoded, strict=True), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.concatenate(column))


def _index_of(path: Path) -> tuple[int, list[Facts]]:
    """Return a pack's canvas side and what is known of each example."""
    try:
        with zipfile.ZipFile(path) as file:
            index = json.loads(file.read(INDEX))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no pack of training slices: {error}") from error
    if index.get("format") != FORMAT:
        raise DataError(
            f"{path}: a pack of format {index.get('format')}, this version reads {FORMAT}; pack "
            "again with this version"
        )
    return int(index["size"]), [Facts(**one) for one in index["facts"]]


def _decoded(job: tuple[Path, int, int]) -> tuple[NDArray[np.uint8], ...]:
    """Return images, masks and depths of some of a pack's examples, each of shape (n, s, s)."""
    path, first, last = job
    canvases = []
    with zipfile.ZipFile(path) as file:
        names = set(file.namelist())
        for number in range(first, last):
            image = _plane(file.read(f"{number}.webp"))
            mask = np.zeros_like(image)
            if f"{number}-mask.webp" in names:
                mask = _plane(file.read(f"{number}-mask.webp"))
            depth = depth_in_head((image / np.float32(255)).astype(np.float32))
            canvases.append(Canvas(image, mask, np.rint(depth * 255).astype(np.uint8), Facts(0)))
    return tuple(np.stack([getattr(one, name) for one in canvases]) for name in PLANES)


def _plane(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as opened:
        # Red is as good as gray: WebP has no gray pictures.
        return np.asarray(opened.convert("RGB"))[..., 0]
