"""Read tables of other programs: separators, encodings, words for yes and no."""

import codecs
import csv
import io
import re
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from meninx._data.items import words_of
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
