"""Read tables of other programs: separators, encodings, words for yes and no."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from meninx._data.items import words_of
from meninx._data.progress import Report
from meninx._errors import DataError
from meninx._scan.kinds import PICTURE_SUFFIXES, TAR_SUFFIXES
from meninx._scan.walking import files_below

SEPARATORS = (",", ";", "\t", "|")
_ANSI = "cp1252"
_WORD = re.compile(rb"[A-Za-z]{2}")
# Lines above the heading: blank, a comment, or Excel's declaration of the separator.
_ABOVE = re.compile(r'[\s,;|"]*|\s*#.*|"?sep=.?"?\s*')
# Number of first bytes that distinguish 16-bit text without a byte order mark from 8-bit text.
_WIDE_BYTES = 40
YES = words_of("""
    1 1.0 1,0 true t yes y ja j wahr oui vrai si sí sì sim vero verdadero verdadeiro positive
    pos present positiv positif positivo positiva
    """)
NO = words_of("""
    0 0.0 0,0 false f no n nein falsch non faux não nao falso negative neg absent negativ
    negatif negativo negativa
    """)

# Words for a missing value, in small letters and without signs: "-" and "?" leave nothing.
_VOID = {
    "",
    *words_of("""
    nan na none null nat nil nv unknown undefined missing unnamed noname notavailable
    notapplicable notknown notgiven notspecified unspecified unbekannt keineangabe inconnu
    desconocido desconhecido sconosciuto anonymous anonymized anonymised anonym anonymisiert
    unknownpatient anonymouspatient
    """),
}
# What Excel writes where a formula failed.
_ERROR_VALUE = re.compile(r"#[A-ZÄÖÜ/0]+[!?]")
_MAX_FAULTS = 20


def table_text(path: Path, raw: bytes, *, bytes_kept: bool = False) -> io.StringIO:
    """Return a table's text as plain CSV: commas, LF, no blanks around cells.

    Args:
        path: Path of the file, for messages.
        raw: Bytes of the file: UTF-8, UTF-16 or Windows-1252, lines ended as on any system, cells
            separated by comma, semicolon, tab or bar.
        bytes_kept: Whether bytes that are no text are kept as surrogates, as in names of files.

    Returns:
        The text.

    Raises:
        DataError: If the file is no text, or no table.
    """
    text = _decoded(path, raw, bytes_kept=bytes_kept)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    while text and is_above_heading(text.split("\n", 1)[0]):
        text = text.partition("\n")[2]
    heading = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=heading.count)
    plain = io.StringIO(newline="")
    writer = csv.writer(plain, lineterminator="\n")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            writer.writerow([cell.strip() for cell in row])
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error
    plain.seek(0)
    return plain


def table_rows(
    path: Path, text: io.StringIO, names: Sequence[str], report: Report
) -> list[dict[str, str]]:
    """Return the rows below a table's heading by column.

    Args:
        path: Path of the file, for messages.
        text: The table as `table_text` returns it.
        names: Names of its columns.
        report: Called with a sentence about short rows, as Excel writes them where the last cells
            are empty.

    Returns:
        One dictionary a row that is not blank; missing cells are empty. A column without a name and
        a text is left out. Of two of one name one is kept.

    Raises:
        DataError: If a row has more cells than the heading, unless they are empty, or if two
            columns of one name differ.
    """
    found = _Cells(names)
    reader = csv.reader(text)
    try:
        next(reader, None)
        rows = [found.row(cells, f"line {reader.line_num}") for cells in filter(None, reader)]
    except csv.Error as error:
        raise DataError(f"{path}: after line {reader.line_num}: {error}") from error
    if found.faults:
        shown = "\n  ".join(found.faults[:_MAX_FAULTS])
        more = len(found.faults) - _MAX_FAULTS
        ending = f"\n  and {more} more" if more > 0 else ""
        raise DataError(f"{path}: {len(found.faults)} faults\n  {shown}{ending}")
    for sentence in found.said():
        report(f"{path}: {sentence}")
    return rows


class _Cells:
    """Makes rows of cells, and notes what does not fit the heading.

    Args:
        names: Names of the columns.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._short: list[str] = []
        self._unnamed: list[str] = []
        self.faults: list[str] = []

    def row(self, cells: Sequence[str], place: str) -> dict[str, str]:
        """Return the cells of a row by column.

        Args:
            cells: Texts of the row.
            place: Its line, for messages.

        Returns:
            The cells of columns with a name.
        """
        missing = len(self._names) - len(cells)
        if any(cells[len(self._names) :]):
            surplus = ", ".join(filter(None, cells[len(self._names) :]))
            self.faults.append(
                f"{place}: {len(cells)} cells for {len(self._names)} columns; too many: {surplus}. "
                "Put a cell that contains the separator in quotation marks"
            )
        if missing > 0:
            self._short.append(place)
        padded = [*cells, *[""] * missing]
        if any(cell for name, cell in zip(self._names, padded, strict=False) if not name):
            self._unnamed.append(place)
        self.faults += _twofold(self._names, padded, place)
        return {name: cell for name, cell in zip(self._names, padded, strict=False) if name}

    def said(self) -> Iterator[str]:
        """Yield a sentence about short rows, and one about columns without a name."""
        if self._short:
            yield (
                f"fewer cells than columns ({_places(self._short)}); the missing ones are taken as "
                "empty"
            )
        if self._unnamed:
            yield f"a column without a name is left out ({_places(self._unnamed)})"


def _places(places: Sequence[str]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}"


def _twofold(names: Sequence[str], cells: Sequence[str], place: str) -> Iterator[str]:
    """Yield a sentence for each pair of named columns of one name whose cells differ."""
    first: dict[str, str] = {}
    for name, cell in zip(names, cells, strict=False):
        if name and first.setdefault(name, cell) != cell:
            yield (
                f"{place}: two columns are named {name}, and differ: {first[name]!r} and {cell!r}; "
                "rename one of them"
            )


def is_void(text: str) -> bool:
    """Return whether a cell stands for a missing value.

    Args:
        text: Cell, such as `nan`, `N/A`, `-`, `#REF!` or `unknown`.

    Returns:
        Whether it names nothing and nobody.
    """
    word = re.sub(r"[\W_]", "", text.casefold())
    return word in _VOID or _ERROR_VALUE.fullmatch(text.strip()) is not None


def is_above_heading(line: str) -> bool:
    """Return whether a first line is no heading: blank, a comment, or Excel's `sep=;`."""
    return _ABOVE.fullmatch(line) is not None


def _decoded(path: Path, raw: bytes, *, bytes_kept: bool) -> str:
    wide = wide_encoding(raw)
    archive = raw.startswith(b"PK\x03\x04")
    encodings = () if archive else (wide,) if wide else ("utf-8-sig", _ANSI)
    for encoding in encodings:
        # Every byte is a letter of that code page: only bytes that begin with words are text.
        if encoding == _ANSI and (b"\0" in raw or not _WORD.search(raw.split(b"\n", 1)[0])):
            break
        try:
            return raw.decode(encoding, "surrogateescape" if bytes_kept and not wide else "strict")
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path}: {_no_table(path, raw)}")


def wide_encoding(raw: bytes) -> str:
    """Return the encoding of a text whose letters take 2 or 4 bytes; empty for another."""
    # The byte order mark of UTF-32 begins with that of UTF-16.
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = raw[:_WIDE_BYTES:2], raw[1:_WIDE_BYTES:2]
    if any(even) and not any(odd):
        return "utf-16-le"
    return "utf-16-be" if any(odd) and not any(even) else ""


def _no_table(path: Path, raw: bytes) -> str:
    """Return what a file is instead of a table, and how to use it."""
    if raw.startswith(b"PK\x03\x04") and path.suffix.lower() in (".xlsx", ".xlsm", ".ods"):
        return "a workbook; save its sheet as CSV (UTF-8), and name that"
    folder = path.with_suffix("")
    if raw.startswith(b"PK\x03\x04"):
        return f"a zip; unpack it (unzip {path} -d {folder}), and name the folder {folder}"
    if path.name.lower().endswith(TAR_SUFFIXES):
        return f"a tar; unpack it (mkdir {folder}; tar xf {path} -C {folder}), and name {folder}"
    return "not a CSV file in UTF-8, UTF-16 or Windows-1252; save the table as CSV (UTF-8)"


def truth_of(text: str) -> str:
    """Return `1` or `0` for a cell that says yes or no, and any other cell unchanged.

    Args:
        text: Cell, such as `1.0`, `True` or `yes`.

    Returns:
        `1`, `0`, or the text.
    """
    word = text.strip().lower()
    return "1" if word in YES else "0" if word in NO else text


class NamedFiles:
    """The files that a table's cells name.

    Args:
        folder: Folder that paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        """Return the file that a cell names.

        Args:
            name: Path, maybe as Windows writes it, or a picture's name without its suffix.

        Returns:
            The file; where there is none, the path as the table has it.
        """
        path = self._folder / name
        if path.exists() or not name:
            return path
        plain = self._folder / PurePosixPath(PureWindowsPath(name).as_posix())
        if plain.exists():
            return plain
        # Kaggle's tables have "Image1" for Brain Tumor/Image1.jpg, and paths of other computers.
        found = self._pictures_by_name.get(plain.name.lower(), [])
        beside = [path for path in found if path.parent.name == plain.parent.name]
        chosen = beside if len(found) > 1 else found
        return chosen[0] if len(chosen) == 1 else path

    @cached_property
    def _pictures_by_name(self) -> dict[str, list[Path]]:
        """All pictures below the folder by lower-case name, with and without suffix."""
        found: dict[str, list[Path]] = {}
        for path in files_below(self._folder, lambda _: None):
            if path.suffix.lower() in PICTURE_SUFFIXES:
                for name in (path.stem, path.name):
                    found.setdefault(name.lower(), []).append(path)
        return found
