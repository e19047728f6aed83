"""Measure how reliably descriptors find copies of the shipped detector's training slices.

True matches: slices of the record, changed in one way each. False matches: slices, stacks and
volumes of persons who are removed from the record. Run: python -m lab.evidence.copies DATA
--json FILE [--folders FOLDER ...]
"""

import argparse
import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._data.descriptors import (
    MAX_DISTANCE,
    Descriptors,
    closest_distances,
    copied_rows,
    descriptor_of,
    descriptors_in,
    descriptors_of,
    seen_slices,
)
from meninx._data.manifest import Picture
from meninx._detect.loading import load_detector
from meninx._detect.model_card import SeenSlices
from meninx._scan.kinds import PICTURE_SUFFIXES
from meninx._scan.raster import read_gray

Array = NDArray[np.float32]
SEED, SAMPLE, VOLUMES_EVERY = 34, 600, 6


def saved(image: Array, kind: str, quality: int = 100) -> Array:
    """Return a picture after a round trip through a file."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(np.clip(image, 0, 255)).astype(np.uint8)).save(
        buffer, kind, quality=quality
    )
    with Image.open(buffer) as opened:
        return np.asarray(opened.convert("L"), dtype=np.float32)


def resized(image: Array, share: float) -> Array:
    """Return a picture of a share of its height and width."""
    height, width = image.shape
    size = (round(width * share), round(height * share))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def cropped(image: Array, share: float) -> Array:
    """Return a picture without a share of its height and width, half of it on each side."""
    rows, columns = (round(length * share / 2) for length in image.shape)
    return image[rows : image.shape[0] - rows, columns : image.shape[1] - columns]


def bordered(image: Array, share: float) -> Array:
    """Return a picture with black borders, each a share of its height or width."""
    rows, columns = (round(length * share) for length in image.shape)
    return np.pad(image, ((rows, rows), (columns, columns)))


def powered(image: Array, gamma: float) -> Array:
    """Return a picture with another gamma."""
    return np.asarray(255 * (image / 255) ** gamma, dtype=np.float32)


CHANGES: dict[str, Callable[[Array], Array]] = {
    "half the size": lambda image: resized(image, 0.5),
    "twice the size": lambda image: resized(image, 2.0),
    "square of 224 px": lambda image: np.asarray(Image.fromarray(image).resize((224, 224))),
    "PNG": lambda image: saved(image, "PNG"),
    "PNG of 16 bits": lambda image: np.asarray(image * 257, dtype=np.float32),
    "JPEG 70": lambda image: saved(image, "JPEG", 70),
    "JPEG 30": lambda image: saved(image, "JPEG", 30),
    "WebP 50": lambda image: saved(image, "WEBP", 50),
    "60 % of the size, then JPEG 60": lambda image: saved(resized(image, 0.6), "JPEG", 60),
    "brighter by 40 %, clipped": lambda image: np.minimum(image * 1.4, 255),
    "less contrast": lambda image: 30 + 0.7 * image,
    "gamma 0.7": lambda image: powered(image, 0.7),
    "gamma 1.4": lambda image: powered(image, 1.4),
    "border of 10 %": lambda image: bordered(image, 0.1),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "cropped by 10 %": lambda image: cropped(image, 0.10),
    "cropped by 20 %": lambda image: cropped(image, 0.20),
    "mirrored": lambda image: image[:, ::-1],
    "turned by 90 degrees": np.rot90,
    "turned by 5 degrees": lambda image: np.asarray(
        Image.fromarray(image).rotate(5, Image.Resampling.BILINEAR)
    ),
}


def rows_of(data: Path) -> list[Picture]:
    """Return the rows of all training collections, with persons if known."""
    rows = []
    for folder in ("curated", "lgg", "tumor-free"):
        with (data / folder / "manifest.csv").open(encoding="utf-8") as opened:
            for line in csv.DictReader(opened):
                name = line.get("picture") or line["volume"]
                person = line.get("patient") or line.get("person") or ""
                if line.get("source") == "cheng-2017":
                    person = f"Cheng, fold {line['fold']}"  # no person is in two of its folds
                stack = f"{person} {line['sequence']}" if folder == "lgg" else ""
                path = data / folder / name
                rows.append(
                    Picture(
                        f"{folder}/{name}",
                        path,
                        None,
                        False,
                        None,
                        "",
                        1,
                        folder,
                        person=person,
                        stack=stack,
                    )
                )
    return rows


def found_share(pictures: Sequence[Picture], record: SeenSlices) -> dict[str, float]:
    """Return the share of changed slices that are found, by change."""
    known = descriptors_in(record)
    images = [read_gray(picture.picture) for picture in pictures]
    shares = {"slices": float(len(images))}
    for name, change in CHANGES.items():
        made = [descriptor_of(np.ascontiguousarray(change(image))) for image in images]
        own = np.array([bits for bits in made if bits is not None])
        shares[name] = float((closest_distances(own, known) <= MAX_DISTANCE).sum()) / len(made)
        print(f"{name}: {shares[name]:.3f}", flush=True)
    return shares


def false_shares(
    rows: Sequence[Picture], described: Sequence[Descriptors]
) -> dict[str, dict[str, float]]:
    """Return the shares of slices, stacks and volumes that match another person's."""
    people: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.person:
            people[row.person].append(index)
    rng = np.random.default_rng(SEED)
    slices: dict[str, list[bool]] = defaultdict(list)
    units: dict[str, list[bool]] = defaultdict(list)
    for members in people.values():
        own = set(members)
        others = seen_slices(part for index, part in enumerate(described) if index not in own)
        known, collection = descriptors_in(others), rows[members[0]].source
        mine = np.concatenate([described[index] for index in members])
        mine = mine[rng.permutation(len(mine))[: SAMPLE // 20]]
        slices[collection] += (closest_distances(mine, known) <= MAX_DISTANCE).tolist()
        if collection != "curated":
            parts = [described[index] for index in members]
            copied = copied_rows([rows[index] for index in members], parts, others)
            names = [rows[index].stack or rows[index].id for index in members]
            units[collection] += list(dict(zip(names, copied, strict=True)).values())
    return {
        f"{what} of {name}": {"number": len(hits), "taken for another's": float(np.mean(hits))}
        for what, table in (("slices", slices), ("stacks and volumes", units))
        for name, hits in table.items()
    }


def foreign_volumes(data: Path, record: SeenSlices) -> dict[str, dict[str, float]]:
    """Return how many volumes of persons outside the training data match training volumes."""
    table = {}
    for name, pattern in (("brats18", "*/[ft]*[r1].nii.gz"), ("brats13", "*/t1c.nii.gz")):
        paths = sorted((data / "volumes" / name).glob(pattern))
        rows = [Picture(str(path), path, None, True, None, "", 1, name) for path in paths]
        described = descriptors_of(rows)
        close = closest_distances(np.concatenate(described), descriptors_in(record))
        table[name] = {
            "volumes": len(rows),
            "copies": sum(copied_rows(rows, described, record)),
            "slices": len(close),
            "taken for another's": float((close <= MAX_DISTANCE).mean()),
        }
    return table


def copies_in(folder: Path, record: SeenSlices) -> dict[str, int]:
    """Return how many pictures of a folder are copies of what was learned from."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    rows = [Picture(str(path), path, None, True, None, "", 1, "") for path in paths]
    return {"pictures": len(rows), "copies": sum(copied_rows(rows, descriptors_of(rows), record))}


def main() -> None:
    """Print all shares and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--folders", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    record = load_detector().card.seen_slices
    rows = rows_of(options.data)
    described = descriptors_of(rows)
    both = zip(rows, described, strict=True)
    pictures = [row for row, own in both if len(own) and not row.is_volume]
    chosen = np.random.default_rng(SEED).choice(len(pictures), SAMPLE, replace=False)
    table = {
        "record": {"slices": len(record), "bits that may differ": MAX_DISTANCE},
        "found": found_share([pictures[index] for index in chosen], record),
        "folders": {folder.name: copies_in(folder, record) for folder in options.folders},
        "foreign": foreign_volumes(options.data, record),
        "false": false_shares(rows, described),
    }
    print(json.dumps(table, indent=1))
    options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
