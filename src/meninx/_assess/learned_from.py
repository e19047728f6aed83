"""Record what a model of somebody else learned from, by the content of its files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from meninx._data.descriptors import descriptors_of, seen_slices
from meninx._data.facts import sha256_of
from meninx._data.manifest import Picture, read_rows
from meninx._data.tables import NamedFiles
from meninx._detect.model_card import NOT_RECORDED, SEEN_DIGITS, SeenSlices
from meninx._errors import DataError
from meninx._scan.kinds import PICTURE_SUFFIXES, VOLUME_SUFFIXES
from meninx._scan.walking import files_below


@dataclass(frozen=True)
class LearnedFrom:
    """What a model learned from, like the record in a detector file.

    Args:
        seen: First digits of the SHA-256 of each file.
        seen_slices: Descriptors of the slices in these files.
        leaking: Whether it is known to have learned from folds that share slices or persons.
        files: Number of files.
        left_out: Number of other files in the named folders, which were not compared.
    """

    seen: tuple[str, ...] = ()
    seen_slices: SeenSlices = NOT_RECORDED
    leaking: bool = False
    files: int = 0
    left_out: int = 0

    @property
    def how(self) -> str:
        """A sentence for the report."""
        if not self.files:
            return "What the model learned from was not named."
        text = f"The model learned from {self.files} files, as named by who evaluates it."
        if self.left_out:
            text += f" {self.left_out} further files there are no pictures or volumes."
        return text


UNNAMED = LearnedFrom()


def learned_from(
    places: Sequence[Path], without: Sequence[Picture] = (), workers: int = 1
) -> LearnedFrom:
    """Describe the files that a model learned from.

    Args:
        places: Folders of pictures and volumes, and tables with a column `picture`.
        without: Pictures that it did not learn from although they are in these places: those of
            the evaluated fold.
        workers: Number of files read at a time, in threads.

    Returns:
        The record; `UNNAMED` without places.

    Raises:
        DataError: If a place is missing or names no picture.
    """
    if not places:
        return UNNAMED
    kept_back = {picture.picture.resolve() for picture in without}
    found: dict[Path, None] = {}
    left_out = 0
    for place in places:
        files, others = _files_of(place)
        left_out += others
        found |= dict.fromkeys(file for file in files if file not in kept_back)
    if not found:
        raise DataError(
            f"--trained-on {', '.join(map(str, places))}: no picture or volume beside those that "
            "are evaluated"
        )
    rows = [_row_of(file) for file in found]
    with ThreadPoolExecutor(workers) as pool:
        hashes = list(pool.map(sha256_of, found))
    described = descriptors_of(rows, workers)
    return LearnedFrom(
        seen=tuple(digits[:SEEN_DIGITS] for digits in hashes),
        seen_slices=seen_slices(described),
        files=len(rows),
        left_out=left_out,
    )


def _files_of(place: Path) -> tuple[list[Path], int]:
    """Return the resolved pictures and volumes of a place, and the number of its other files."""
    if place.is_dir():
        files = list(files_below(place, lambda _: None))
        chosen = [file for file in files if _is_scan(file)]
        return [file.resolve() for file in chosen], len(files) - len(chosen)
    if not place.is_file():
        raise DataError(f"--trained-on {place}: there is no such folder or table")
    named = NamedFiles(place.parent)
    files = [named(row["picture"]) for row in read_rows(place, place.read_bytes(), ("picture",))]
    missing = [file for file in files if not file.exists()]
    if missing:
        raise DataError(
            f"{place}: {len(missing)} of {len(files)} pictures are missing, the first {missing[0]}"
        )
    return [file.resolve() for file in files], 0


def _is_scan(file: Path) -> bool:
    return file.name.lower().endswith((*PICTURE_SUFFIXES, *VOLUME_SUFFIXES))


def _row_of(file: Path) -> Picture:
    """Return a row for a file without a label, to describe it."""
    return Picture(str(file), file, None, tumor=False, tumor_type=None, group="", fold=0, source="")
