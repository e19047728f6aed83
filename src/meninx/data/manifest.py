"""Read the table that says what each training picture shows."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from meninx.errors import DataError
from meninx.labels import TYPE_NAMES

MANIFEST_NAME = "manifest.csv"
COLUMNS = ("id", "picture", "mask", "tumor", "tumor_type", "group", "fold", "source")


@dataclass(frozen=True)
class Picture:
    """Hold one row of a manifest.

    Args:
        id: Unique in the manifest.
        picture: Absolute path.
        mask: Absolute path of the tumor's mask; None where there is none.
        tumor: Whether the picture shows a tumor.
        tumor_type: One of `labels.TYPE_NAMES`; None where it has no tumor or an unknown one.
        group: Pictures of one group show the same slice or patient and never part.
        fold: 1, 2, ...
        source: Where the picture came from.
    """

    id: str
    picture: Path
    mask: Path | None
    tumor: bool
    tumor_type: str | None
    group: str
    fold: int
    source: str


@dataclass(frozen=True)
class Manifest:
    """Hold the pictures of a data set, checked.

    Args:
        pictures: In the file's order.
        sha256: Of the manifest file.
    """

    pictures: tuple[Picture, ...]
    sha256: str

    def fold(self, fold: int) -> tuple[Picture, ...]:
        """Return the pictures of one fold."""
        return tuple(picture for picture in self.pictures if picture.fold == fold)

    def without_fold(self, fold: int) -> tuple[Picture, ...]:
        """Return the pictures of all other folds."""
        return tuple(picture for picture in self.pictures if picture.fold != fold)


def read_manifest(data: Path) -> Manifest:
    """Read a manifest and check it whole.

    Args:
        data: The manifest, or the folder that holds `manifest.csv`.

    Returns:
        The pictures, with absolute paths.

    Raises:
        DataError: With every fault found: missing columns or files, labels that contradict each
            other, a group that lies in two folds.
    """
    path = data / MANIFEST_NAME if data.is_dir() else data
    if not path.is_file():
        raise DataError(
            f"{path}: no manifest; expected a CSV file with the columns {', '.join(COLUMNS)}"
        )
    raw = path.read_bytes()
    reader = csv.DictReader(raw.decode("utf-8-sig").splitlines())
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path}: the columns {', '.join(missing)} are missing")
    faults: list[str] = []
    pictures = [
        _parse(row, path.parent, f"line {line}", faults) for line, row in enumerate(reader, 2)
    ]
    faults += _contradictions(pictures)
    if not pictures:
        faults.append("it lists no picture")
    if faults:
        shown = "\n  ".join(faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError(f"{path}: {len(faults)} faults\n  {shown}{more}")
    return Manifest(tuple(pictures), hashlib.sha256(raw).hexdigest())


def _parse(row: dict[str, str], root: Path, place: str, faults: list[str]) -> Picture:
    """Return one row as a Picture, adding what is wrong with it to `faults`."""
    picture = root / row["picture"]
    mask = root / row["mask"] if row["mask"] else None
    faults += [
        f"{place}: {file} does not exist" for file in (picture, mask) if file and not file.is_file()
    ]
    if row["tumor"] not in ("0", "1"):
        faults.append(f"{place}: tumor is {row['tumor']!r}, expected 0 or 1")
    tumor = row["tumor"] == "1"
    kind = row["tumor_type"]
    if kind not in (*TYPE_NAMES, "none", "unknown"):
        faults.append(f"{place}: tumor_type is {kind!r}")
    if tumor == (kind == "none"):
        faults.append(f"{place}: tumor is {row['tumor']} but tumor_type is {kind!r}")
    if not row["fold"].isdecimal():
        faults.append(f"{place}: fold is {row['fold']!r}, expected a whole number")
    return Picture(
        id=row["id"],
        picture=picture,
        mask=mask,
        tumor=tumor,
        tumor_type=kind if kind in TYPE_NAMES else None,
        group=row["group"] or row["id"],
        fold=int(row["fold"]) if row["fold"].isdecimal() else 0,
        source=row["source"],
    )


def _contradictions(pictures: list[Picture]) -> list[str]:
    """Return what is wrong between the rows."""
    faults: list[str] = []
    seen: set[str] = set()
    folds: dict[str, int] = {}
    for picture in pictures:
        if picture.id in seen:
            faults.append(f"id {picture.id} appears twice")
        seen.add(picture.id)
        if folds.setdefault(picture.group, picture.fold) != picture.fold:
            faults.append(
                f"group {picture.group} lies in the folds {folds[picture.group]} and {picture.fold}"
            )
    return faults
