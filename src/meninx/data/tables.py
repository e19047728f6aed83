"""Read tables as people and their programs write them: separators, encodings, yes and no."""

import codecs
import csv
import io
from pathlib import Path

from meninx.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
YES = ("1", "1.0", "true", "yes", "y", "ja", "oui", "si", "positive")
NO = ("0", "0.0", "false", "no", "n", "nein", "non", "negative")


def table_text(path: Path, raw: bytes, *, bytes_kept: bool = False) -> io.StringIO:
    """Return a table's text as plain CSV: commas, LF, no blanks around cells.

    Args:
        path: For messages.
        raw: The file's bytes: UTF-8 or UTF-16, lines ended as on any system, cells parted by comma,
            semicolon, tab or bar.
        bytes_kept: Whether bytes that are no text are kept as surrogates, as in names of files.

    Returns:
        The text.

    Raises:
        DataError: If it is neither UTF-8 nor UTF-16, or no table.
    """
    text = _decoded(path, raw, bytes_kept=bytes_kept)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
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


def _decoded(path: Path, raw: bytes, *, bytes_kept: bool) -> str:
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        if wide:
            return raw.decode("utf-16")
        return raw.decode("utf-8-sig", "surrogateescape" if bytes_kept else "strict")
    except UnicodeDecodeError as error:
        hint = ""
        if raw.startswith(b"PK\x03\x04"):
            hint = ": a zip; unpack it, and name the folder or the table in it"
        raise DataError(
            f"{path}: not a CSV file in UTF-8 or UTF-16{hint or f': {error}; save it as UTF-8'}"
        ) from error


def truth_of(text: str) -> str:
    """Return a cell that says yes or no as `1` or `0`; any other as it is.

    Args:
        text: Such as `1.0`, `True` or `yes`.

    Returns:
        `1`, `0`, or the text.
    """
    word = text.strip().lower()
    return "1" if word in YES else "0" if word in NO else text
