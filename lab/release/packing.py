"""Pack training slices into one small file, for a machine without the collections.

A pack is a zip: a list of facts, and each canvas as WebP. A GPU that is available for minutes only
then trains without the collections and their readers.
"""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
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

from meninx._detect.preprocessing import Preprocessing
from meninx._errors import DataError
from meninx._learn.input.dataset import (
    Canvas,
    Example,
    Facts,
    SliceDataset,
    depth_in_head,
    planes_of,
)

FORMAT = 1
PLANES = ("image", "mask", "depth")
INDEX = "index.json"
# WebP quality: a canvas of 208 px takes about 3 kB; augmentation changes pictures far more.
QUALITY = 75
# WebP quality of masks, which are smooth: errors of half a percent of coverage do not matter.
MASK_QUALITY = 60
# Number of canvases that a process decodes in one go.
PART = 256


def write_pack(
    examples: Iterable[Example], preprocessing: Preprocessing, path: Path, quality: int = QUALITY
) -> int:
    """Write examples as one file.

    Args:
        examples: Slices to pack; their facts name neighbors by place in this order.
        preprocessing: Preprocessing of the canvases; its size is their side.
        path: File to write.
        quality: WebP quality of the pictures, 1..100.

    Returns:
        Size of the file, bytes.
    """
    facts: list[dict[str, Any]] = []
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    pack = partial(_packed, preprocessing=preprocessing, quality=quality)
    with (
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as file,
        get_context("fork").Pool(os.cpu_count()) as pool,
    ):
        # In parts: reading all examples before packing would fill the memory.
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
    """Read packs into memory, through a folder of decoded arrays.

    Args:
        paths: Packs that `write_pack` wrote, with canvases of one size.
        folder: Folder of the decoded arrays, which concurrent trainings share. Arrays of an earlier
            call are used again.

    Returns:
        All examples of the packs, in order.

    Raises:
        DataError: If a file is no pack or of another version, or if canvas sizes differ.
    """
    parts = [(path, *_index_of(path)) for path in paths]
    if len({size for _, size, _ in parts}) != 1:
        sizes = ", ".join(f"{path} {size} px" for path, size, _ in parts)
        raise DataError(f"packs of different canvases: {sizes}; pack them again with one recipe")
    facts = [fact for _, _, facts in parts for fact in facts]
    files = [folder / f"{name}.npy" for name in PLANES]
    if not all(file.is_file() for file in files):
        _decode([(path, len(facts)) for path, _, facts in parts], files)
    planes = [torch.from_numpy(np.load(file)) for file in files]
    if len(planes[0]) != len(facts):
        raise DataError(f"{folder}: unpacked from other packs; remove this folder")
    return SliceDataset.of_planes(planes[0], planes[1], planes[2], facts)


def subset(slices: SliceDataset, keep: Sequence[bool]) -> SliceDataset:
    """Return the examples for which `keep`, one value per example, is true."""
    indices = [index for index, is_kept in enumerate(keep) if is_kept]
    chosen = torch.tensor(indices)
    facts = [slices.facts[index] for index in indices]
    return SliceDataset.of_planes(
        slices.image[chosen], slices.mask[chosen], slices.depth[chosen], facts
    )


def without_folds(slices: SliceDataset, folds: Collection[int]) -> SliceDataset:
    """Return the examples of all other folds; a head and its neighbors lie in one fold."""
    return subset(slices, [fact.fold not in folds for fact in slices.facts])


def _decode(packs: Sequence[tuple[Path, int]], files: Sequence[Path]) -> None:
    """Write images, masks and depths of packs, each with its number of examples, as arrays."""
    jobs = [
        (path, first, min(first + PART, count))
        for path, count in packs
        for first in range(0, count, PART)
    ]
    if len(jobs) == 1:
        # Starting a process takes longer than decoding one part.
        decoded = [_decoded(jobs[0])]
    else:
        # On all cores, because computing the depth in the head takes long.
        workers = min(len(jobs), os.cpu_count() or 1)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            decoded = list(pool.map(_decoded, jobs))
    for file, column in zip(files, zip(*decoded, strict=True), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.concatenate(column))


def _index_of(path: Path) -> tuple[int, list[Facts]]:
    """Return the canvas side of a pack, pixels, and the facts of each example."""
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
    return int(index["size"]), [Facts(**values) for values in index["facts"]]


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
    return tuple(np.stack([getattr(canvas, name) for canvas in canvases]) for name in PLANES)


def _plane(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as opened:
        # WebP has no gray pictures; all three channels are the same.
        return np.asarray(opened.convert("RGB"))[..., 0]
