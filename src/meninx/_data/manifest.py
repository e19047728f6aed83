"""Read and write the manifest, the table of training pictures with their labels and folds."""

import csv
import hashlib
import io
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meninx._data.items import Item, normal_sequence, tumor_type_of, words_of
from meninx._data.person_names import person_key, settle_persons
from meninx._data.progress import Report
from meninx._data.rows import parse_row
from meninx._data.tables import is_void, table_rows, table_text, truth_of
from meninx._errors import DataError
from meninx._scan.kinds import VOLUME_SUFFIXES

log = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.csv"
COLUMNS = ("id", "picture", "mask", "tumor", "tumor_type", "group", "fold", "source")
# First bytes of the tables that meninx writes.
_OWN_HEADING = ",".join(COLUMNS).encode("ascii")
# Written by `meninx prepare`; further columns are kept for subgroups.
_FURTHER_COLUMNS = words_of(
    "person site sequence stack slice gap_mm split tumor_slices sha256 mask_sha256"
)
# Names of a column in other tables; the first one found counts if the column itself is missing.
_ALIASES = {
    "picture": words_of("""
        volume image file filename file_name filepath file_path path image_path image_name
        image_id image_file img bild datei fichier imagen imagem immagine
        """),
    "person": words_of("""
        patient subject participant patient_id patientid subject_id subjectid participant_id
        person_id patient_name patientname
        """),
    "site": ("hospital", "institution", "center", "centre", "clinic", "site_id", "hospital_id"),
    # The name of the label in Kaggle's tables: 0 and 1, or the name of a type.
    "tumor": words_of("""
        tumour class label target has_tumor klasse tumeur tumore classe clase diagnosis
        diagnose category
        """),
    "tumor_type": ("tumour_type",),
}
# Aliases that mean the same where they stand beside the column; a class may be anything.
_TRUTH_ALIASES = words_of("tumour has_tumor tumeur tumore")
# Columns whose cells name something, or nothing where a program writes `nan`.
_NAMING = set(
    words_of("mask tumor_type group source person site sequence stack slice gap_mm split")
)
_MAX_FAULTS = 20
# Advice for folds that share a slice or a person.
SPLIT_AGAIN = (
    "`--split mend` moves each group that leaks to one fold, `--split redo` makes new folds"
)


@dataclass(frozen=True)
class Picture:
    """One row of a manifest: a picture, or a whole volume.

    Args:
        id: Name that is unique in the manifest.
        picture: Absolute path of the picture or volume.
        mask: Absolute path of the tumor's mask; None where there is none.
        tumor: Whether the picture shows a tumor.
        tumor_type: One of `labels.TYPE_NAMES`; None where it has no tumor or an unknown one.
        group: Name of the group: its pictures show the same slice or person and share a fold.
        fold: Number of the fold: 1, 2, ...
        source: Collection that the picture came from.
        person: Name of the person, empty where unknown; pictures of one person share a fold.
        site: Hospital or source within the collection; empty if unknown.
        sequence: `T1`, `T1c`, `T2`, `FLAIR`; empty if unknown.
        stack: Name of the stack: neighboring slices of one person and sequence, which share a
            fold; empty where the picture stands alone or is a volume.
        position: Place along the stack, ascending; gaps are possible. None where unknown.
        gap_mm: Distance between slices of the stack, mm; None to estimate it from the pictures.
        sha256: SHA-256 of the file; empty where the manifest has none.
        mask_sha256: SHA-256 of the mask's file; empty where the manifest has none.
        split: Half that the collection's own folders put the picture in, else empty.
        tumor_slices: Ranges of a volume's slice indices with tumor, such as `41-88 90-91`.
        extra: Further columns, for subgroups.
    """

    id: str
    picture: Path
    mask: Path | None
    tumor: bool
    tumor_type: str | None
    group: str
    fold: int
    source: str
    person: str = ""
    site: str = ""
    sequence: str = ""
    stack: str = ""
    position: int | None = None
    gap_mm: float | None = None
    sha256: str = ""
    mask_sha256: str = ""
    split: str = ""
    tumor_slices: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The type's name, `none` for no tumor, `unknown` for a tumor of unknown type."""
        return self.tumor_type or ("unknown" if self.tumor else "none")

    @property
    def is_volume(self) -> bool:
        """Whether the file holds a volume."""
        return self.picture.is_dir() or self.picture.name.lower().endswith(VOLUME_SUFFIXES)


@dataclass(frozen=True)
class Manifest:
    """The pictures of a data set, checked.

    Args:
        pictures: Rows in the file's order.
        sha256: SHA-256 of the manifest file.
        leaks: Sentences about groups and persons that lie in several folds; empty unless allowed.
    """

    pictures: tuple[Picture, ...]
    sha256: str
    leaks: tuple[str, ...] = ()

    def fold(self, fold: int) -> tuple[Picture, ...]:
        """Return the pictures of one fold."""
        return tuple(picture for picture in self.pictures if picture.fold == fold)

    def without_fold(self, *folds: int) -> tuple[Picture, ...]:
        """Return the pictures of all other folds."""
        return tuple(picture for picture in self.pictures if picture.fold not in folds)

    @property
    def folds(self) -> tuple[int, ...]:
        """All folds, ascending."""
        return tuple(sorted({picture.fold for picture in self.pictures}))


def read_manifest(data: Path, *, allow_leaks: bool = False) -> Manifest:
    """Read a manifest and check it whole.

    Args:
        data: Manifest, or the folder that holds `manifest.csv`.
        allow_leaks: Whether to accept folds that share a slice or a person; the manifest then
            lists them.

    Returns:
        The pictures, with absolute paths.

    Raises:
        DataError: If columns or files are missing, a file is listed twice, labels contradict each
            other, a stack has a position twice, or a group or a person lies in two folds; with
            every fault found.
    """
    path = _manifest_path(data)
    raw = path.read_bytes()
    rows = read_rows(path, raw, COLUMNS)
    faults: list[str] = []
    pictures = tuple(
        _parse(row, path.parent, f"line {line}", faults) for line, row in enumerate(rows, 2)
    )
    faults += _doubled_ids(pictures)
    faults += _doubled_files(pictures)
    faults += stack_faults(pictures)
    if not pictures:
        faults.append("it lists no picture")
    leaks = leaks_of(pictures)
    if not allow_leaks:
        faults += leaks
    raise_faults(path, faults, leaks)
    return Manifest(pictures, hashlib.sha256(raw).hexdigest(), tuple(leaks))


def _manifest_path(data: Path) -> Path:
    """Return the manifest's path.

    Args:
        data: Manifest, or the folder that holds `manifest.csv`.

    Returns:
        Path of a file that exists.

    Raises:
        DataError: If there is no manifest.
    """
    path = data / MANIFEST_NAME if data.is_dir() else data
    if not path.is_file():
        raise DataError(
            f"{path}: no manifest; expected a CSV file with the columns {', '.join(COLUMNS)}"
        )
    return path


def read_rows(
    path: Path, raw: bytes, needed: Iterable[str], report: Report = log.warning
) -> list[dict[str, str]]:
    """Return a CSV file's rows.

    Args:
        path: Path of the file, for messages.
        raw: Bytes of the file, as `table_text` reads them.
        needed: Names of columns that must be there, themselves or by an alias.
        report: Called with a sentence about short rows, cells that say nothing, and columns that
            contradict the one that counts.

    Returns:
        One dictionary a row, aliases renamed; short rows are filled with empty texts.

    Raises:
        DataError: If the file is no table, columns are missing, two of one name differ or two
            that name the person contradict each other, or a row has more cells than the heading.
    """
    words = _heading(path, raw)
    names = _without_aliases(words)
    _check_columns(path, names, needed)
    rows = table_rows(path, _text_of(path, raw), _with_unique_extras(names), report)
    _blank_void_cells(path, rows, report)
    if "person" in names:
        column = words[names.index("person")]
        try:
            settle_persons(rows, column, _ALIASES["person"], lambda said: report(f"{path}: {said}"))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    for said in _differing_aliases(rows):
        report(f"{path}: {said}")
    return rows


def _blank_void_cells(path: Path, rows: Iterable[dict[str, str]], report: Report) -> None:
    """Empty the cells that name nothing, such as the person `nan`, in place, and report them."""
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for name in _NAMING & row.keys():
            text = row[name].strip()
            # These two words are labels.
            is_label = name == "tumor_type" and text.lower() in ("none", "unknown")
            if text and is_void(text) and not is_label:
                row[name] = ""
                found[name, text] += 1
    for (name, text), count in sorted(found.items()):
        report(f"{path}: {name} is {text!r} in {count} rows, which names none: taken as not given")


def _differing_aliases(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a sentence for each further column of tumors that differs from the one that counts."""
    if not rows or "tumor" not in rows[0]:
        return
    for alias in _TRUTH_ALIASES:
        differing = [
            row for row in rows if row.get(alias) and truth_of(row[alias]) != truth_of(row["tumor"])
        ]
        if differing:
            yield (
                f"column {alias} differs from tumor in {len(differing)} of {len(rows)} rows; "
                "tumor counts"
            )


def _check_columns(path: Path, names: Sequence[str], needed: Iterable[str]) -> None:
    missing = [column for column in needed if column not in names]
    if missing:
        found = ", ".join(name for name in names if name) or "none"
        raise DataError(
            f"{path}: the columns {', '.join(missing)} are missing; its columns are {found}"
        )


def read_header(path: Path, raw: bytes) -> list[str]:
    """Return the names of a CSV file's columns.

    Args:
        path: Path of the file, for messages.
        raw: Bytes of the file, as `table_text` reads them.

    Returns:
        Names in the file's order; an alias is replaced by the column's name where that is missing.

    Raises:
        DataError: If the file is no table.
    """
    return _without_aliases(_heading(path, raw))


def _heading(path: Path, raw: bytes) -> list[str]:
    """Return the names of a CSV file's columns; known ones in small letters."""
    try:
        names = next(csv.reader(_text_of(path, raw)), [])
    except csv.Error as error:
        raise DataError(f"{path}: line 1: {error}") from error
    # As people write them: "Picture", "TUMOR", "Image Name".
    known = {*COLUMNS, *_FURTHER_COLUMNS}.union(*_ALIASES.values())
    plain = [re.sub("[ -]", "_", name.lower()) for name in names]
    return [word if word in known else name for word, name in zip(plain, names, strict=True)]


def _without_aliases(names: Sequence[str]) -> list[str]:
    """Return names of columns, an alias replaced by the column's name where that is missing."""
    names = list(names)
    for name, aliases in _ALIASES.items():
        # Beside the type a column "class" or "label" may be anything.
        if name == "tumor" and "tumor_type" in names:
            aliases = _TRUTH_ALIASES
        alias = next((alias for alias in aliases if alias in names), None)
        if name not in names and alias is not None:
            names = [name if own == alias else own for own in names]
    return names


def _with_unique_extras(names: Sequence[str]) -> list[str]:
    """Return names of columns; the second `note` becomes `note#2`, but not the second `tumor`."""
    known = {"", *COLUMNS, *_FURTHER_COLUMNS}
    count: Counter[str] = Counter()
    unique = []
    for name in names:
        count[name] += 1
        is_first = count[name] == 1 or name in known
        unique.append(name if is_first else f"{name}#{count[name]}")
    return unique


def stack_faults(rows: Iterable[Picture | Item]) -> list[str]:
    """Return faults of stacks, which are neighboring slices of one person and sequence.

    Args:
        rows: Rows of a table; those without a stack are fine.

    Returns:
        A sentence for each position that is missing or there twice, and for each stack of several
        persons or sequences.
    """
    stacks: dict[str, list[Picture | Item]] = defaultdict(list)
    for row in rows:
        if row.stack:
            stacks[row.stack].append(row)
    faults = []
    for stack, members in stacks.items():
        faults += _mixed_stack_faults(stack, members)
        faults += _position_faults(stack, members)
    return faults


def _mixed_stack_faults(stack: str, members: Sequence[Picture | Item]) -> list[str]:
    """Return a sentence if a stack has several persons, and one if it has several sequences."""
    faults = []
    for what in ("person", "sequence"):
        values = sorted({getattr(member, what) for member in members})
        if len({person_key(value) for value in values}) > 1:
            shown = ", ".join(value or "(empty)" for value in values)
            faults.append(f"stack {stack} has several {what}s: {shown}")
    return faults


def _position_faults(stack: str, members: Sequence[Picture | Item]) -> list[str]:
    """Return a sentence for each position that is there twice, and one for missing positions."""
    counts = Counter(member.position for member in members)
    faults = [
        f"stack {stack}: slice {position} is there {count} times; "
        "give each series a name of its own in a column `stack`"
        for position, count in counts.items()
        if position is not None and count > 1
    ]
    if counts[None]:
        faults.append(f"stack {stack}: {counts[None]} pictures without a slice number")
    return faults


def _text_of(path: Path, raw: bytes) -> io.StringIO:
    """Return a table's text; in tables of meninx, file names may contain bytes that are no text."""
    return table_text(path, raw, bytes_kept=raw.startswith(_OWN_HEADING))


def raise_faults(
    place: Path | str,
    faults: Sequence[str],
    leaks: Sequence[str] = (),
    remedy: str = SPLIT_AGAIN,
) -> None:
    """Raise all faults as one error.

    Args:
        place: File or files that have the faults.
        faults: Sentences about faults; with none, nothing is raised.
        leaks: The faults that a flag would allow.
        remedy: Advice for these.

    Raises:
        DataError: If there is any fault.
    """
    if not faults:
        return
    shown = "\n  ".join(faults[:_MAX_FAULTS])
    more = f"\n  and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
    hint = ""
    if any(leak in faults for leak in leaks):
        hint = (
            f"\nFolds that share a slice or a person make every figure too good. {remedy}; "
            "--allow-leaks goes on and marks every figure that follows as leaking."
        )
    raise DataError(f"{place}: {len(faults)} faults\n  {shown}{more}{hint}")


def write_manifest(pictures: Sequence[Picture], path: Path) -> None:
    """Write a manifest.

    Args:
        pictures: Rows of the manifest.
        path: CSV file to write; pictures are named relative to its folder where they lie on one
            drive.
    """
    extras = list(dict.fromkeys(name for picture in pictures for name in picture.extra))
    # Replaced atomically: processes that start together never read half a file.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    # File names need not be text: their bytes are kept, so that the files can be opened again.
    with unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *_FURTHER_COLUMNS, *extras], restval="")
        writer.writeheader()
        for picture in pictures:
            writer.writerow(
                {
                    "id": picture.id,
                    "picture": _relative(picture.picture, path.parent),
                    "mask": _relative(picture.mask, path.parent) if picture.mask else "",
                    "tumor": int(picture.tumor),
                    "tumor_type": picture.label,
                    "group": picture.group,
                    "fold": picture.fold,
                    "source": picture.source,
                    "person": picture.person,
                    "site": picture.site,
                    "sequence": picture.sequence,
                    "stack": picture.stack,
                    "slice": "" if picture.position is None else picture.position,
                    "gap_mm": "" if picture.gap_mm is None else picture.gap_mm,
                    "split": picture.split,
                    "tumor_slices": picture.tumor_slices,
                    "sha256": picture.sha256,
                    "mask_sha256": picture.mask_sha256 if picture.mask else "",
                    **picture.extra,
                }
            )
    unfinished.replace(path)


def _relative(path: Path, folder: Path) -> str:
    # A link keeps its own name, which names the sequence: targets of git-annex are named by keys.
    own = path.parent.resolve() / path.name
    return Path(os.path.relpath(own, folder.resolve())).as_posix()


def _parse(row: dict[str, str], root: Path, place: str, faults: list[str]) -> Picture:
    """Return one row as a Picture, and append its faults to `faults`."""
    typed = parse_row(row, place, faults)
    picture = root / row["picture"]
    mask = root / row["mask"] if row["mask"] else None
    faults += [
        f"{place}: {file} does not exist" for file in (picture, mask) if file and not file.exists()
    ]
    texts = {name: (row.get(name) or "").strip() for name in _FURTHER_COLUMNS}
    texts["sequence"] = normal_sequence(texts["sequence"])
    for name in ("slice", "gap_mm"):
        del texts[name]
    return Picture(
        id=row["id"],
        picture=picture,
        mask=mask,
        tumor=typed.tumor,
        tumor_type=tumor_type_of(typed.tumor_type),
        group=row["group"] or row["id"],
        fold=typed.fold,
        source=row["source"],
        position=typed.slice,
        gap_mm=typed.gap_mm,
        **texts,
        extra=extra_of(row),
    )


def extra_of(row: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a row in columns that the manifest does not define, for subgroups."""
    return {k: v for k, v in row.items() if k not in (*COLUMNS, *_FURTHER_COLUMNS)}


def _doubled_ids(pictures: Iterable[Picture]) -> list[str]:
    seen: set[str] = set()
    faults = []
    for picture in pictures:
        if picture.id in seen:
            faults.append(f"id {picture.id} appears twice")
        seen.add(picture.id)
    return faults


def file_key(path: Path) -> str:
    """Return what two names of one file have in common; links are files of their own."""
    return os.path.abspath(path)  # noqa: PTH100 - `resolve` would follow links


def _doubled_files(pictures: Iterable[Picture]) -> list[str]:
    """Return a sentence for each further row about a file, unless only its mask is another one."""
    rows: dict[str, list[Picture]] = defaultdict(list)
    faults = []
    for picture in pictures:
        before = rows[file_key(picture.picture)]
        same = [row for row in before if row.mask == picture.mask or _truth(row) != _truth(picture)]
        if same:
            faults.append(
                f"{picture.picture} is listed twice, as {same[0].id} and {picture.id}; remove a "
                "row, or run prepare again, which joins rows that say the same"
            )
        before.append(picture)
    return faults


def _truth(picture: Picture) -> tuple[bool, str | None]:
    return picture.tumor, picture.tumor_type


def leaks_of(pictures: Iterable[Picture]) -> list[str]:
    """Return a sentence for each group, person, stack and file in several folds.

    Args:
        pictures: Rows of a manifest.

    Returns:
        The sentences.
    """
    folds: dict[tuple[str, str], set[int]] = defaultdict(set)
    spelled: dict[str, str] = {}
    for picture in pictures:
        folds["group", picture.group].add(picture.fold)
        for what in ("stack", "sha256"):
            if value := getattr(picture, what):
                folds["file content" if what == "sha256" else what, value].add(picture.fold)
        if picture.person:
            name = spelled.setdefault(person_key(picture.person), picture.person)
            folds["person", name].add(picture.fold)
    return [
        f"{what} {name} lies in the folds {' and '.join(map(str, sorted(found)))}"
        for (what, name), found in folds.items()
        if len(found) > 1
    ]
