"""Read lists of series, row by row, as spreadsheets, pandas and SQL write them."""

import codecs
import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

from meninx._data.tables import SEPARATORS, is_above_heading, wide_encoding
from meninx._errors import OptionError

LISTS = (".csv", ".parquet")
# Column of the paths of series.
COLUMN = "path"
# Bytes of a list in which to detect its encoding.
_ENCODING_BYTES = 64


@dataclass(frozen=True)
class ListRow:
    """A row of a list.

    Args:
        place: Name of the row, such as `line 3`.
        path: Path in the row, stripped; empty if there is a fault.
        fault: Why the row names no file or folder; empty if it does.
        is_comment: Whether it is a comment unless a file of that name exists.
    """

    place: str
    path: str = ""
    fault: str = ""
    is_comment: bool = False


def read_list(files: Any, path: str) -> Iterator[ListRow]:
    """Yield the rows of a list without loading it.

    Args:
        files: File system of the list, of fsspec.
        path: CSV, separated by comma, semicolon, tab or bar, or Parquet, with a column `path`.

    Yields:
        Rows, without blank lines and comments, which begin with `#` in a list with other columns.

    Raises:
        OptionError: If it can't be read, or has no column `path`.
    """
    rows = _parquet_rows if path.lower().endswith(".parquet") else _csv_rows
    try:
        yield from rows(files, path)
    except (UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise OptionError(
            f"{path}: not a readable list ({type(error).__name__}); expected CSV in UTF-8 or "
            f"Parquet with a column {COLUMN!r}"
        ) from error


def _parquet_rows(files: Any, path: str) -> Iterator[ListRow]:
    with files.open(path, "rb") as file:
        table = parquet.ParquetFile(file)
        names = table.schema_arrow.names
        column = names[_column_of(names, path)]
        number = 0
        for batch in table.iter_batches(columns=[column]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield _row_of(value, f"row {number}")


def _csv_rows(files: Any, path: str) -> Iterator[ListRow]:
    with files.open(path, "rb") as file:
        beginning = file.read(_ENCODING_BYTES)
    wide = wide_encoding(beginning)
    encoding = wide or "utf-8-sig"
    # File names need not be valid text: their bytes are kept.
    errors = "strict" if wide else "surrogateescape"
    with files.open(path, "rb") as file:
        lines = _lines(codecs.getreader(encoding)(file, errors))
        above = 0
        heading = next(lines, "")
        while heading and is_above_heading(heading.rstrip("\n")):
            above, heading = above + 1, next(lines, "")
        separator = max(SEPARATORS, key=heading.count)
        reader = csv.reader(
            itertools.chain([heading], lines), delimiter=separator, skipinitialspace=True
        )
        names = next(reader, [])
        column = _column_of(names, path)
        for cells in reader:
            row = _row_of_cells(cells, column, len(names), f"line {above + reader.line_num}")
            if row is not None:
                yield row


def _lines(text: Iterable[str]) -> Iterator[str]:
    r"""Yield lines that end in \n, for any line ends of the text."""
    for line in text:
        # The codec does not split at a single carriage return.
        yield from line.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True)


def _row_of_cells(cells: Sequence[str], column: int, count: int, place: str) -> ListRow | None:
    """Return the row of a CSV list from its cells; None for a blank line or a comment."""
    is_comment = bool(cells) and cells[0].lstrip().startswith("#")
    value = cells[column] if column < len(cells) else ""
    if not cells or (is_comment and not value.strip()):
        return None
    if not is_comment and any(cell.strip() for cell in cells[count:]):
        fault = f"{len(cells)} cells, the heading has {count}; a path with a comma needs quotes"
        return ListRow(place, fault=fault)
    return replace(_row_of(value, place), is_comment=is_comment and not column)


def _row_of(value: object, place: str) -> ListRow:
    """Return the row with a value of the column of paths."""
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if value is None or value != value:
        return ListRow(place, fault="no path in it")
    if not isinstance(value, str):
        kind = type(value).__name__
        return ListRow(place, fault=f"{value!r} is no path but of type {kind}; expected text")
    path = value.strip()
    return ListRow(place, path) if path else ListRow(place, fault="no path in it")


def _column_of(names: Sequence[str], path: str) -> int:
    """Return the index of the column of paths; its name may be in any case if it is unique."""
    plain = [name.strip() for name in names]
    if COLUMN in plain:
        return plain.index(COLUMN)
    lower = [name.lower() for name in plain]
    if lower.count(COLUMN) == 1:
        return lower.index(COLUMN)
    found = ", ".join(plain) or "none"
    raise OptionError(
        f"{path}: no column {COLUMN!r}, found {found}; give it one, with a file or folder a row"
    )
