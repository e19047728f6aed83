"""Compare the names of persons as tables write them.

Two spellings of one person in several folds are a leak; two people under one key are none.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from meninx._data.progress import Report
from meninx._data.tables import is_void
from meninx._errors import DataError

# A data frame with empty cells writes whole numbers as 7.0; spreadsheets drop leading zeros.
_WHOLE_NUMBER = re.compile(r"0*([0-9]+?)(?:[.,]0+)?")


def person_key(name: str) -> str:
    """Return what all spellings of a person's name have in common.

    Args:
        name: Name, such as `7.0`, `007` or `MÜLLER`.

    Returns:
        The name in Unicode's form NFKC without case and doubled blanks; of a whole number its
        digits alone. Empty for an empty name.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    key = " ".join(unicodedata.normalize("NFKC", folded).split())
    number = _WHOLE_NUMBER.fullmatch(key)
    return number[1] if number else key


def spellings_of(names: Iterable[str]) -> list[str]:
    """Return the spellings of each person with several.

    Args:
        names: Names of persons; empty ones are unknown.

    Returns:
        Texts such as `7 = 7.0`, in the order of the names.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name in filter(None, names):
        found[person_key(name)][name] = None
    return [" = ".join(spellings) for spellings in found.values() if len(spellings) > 1]


def settle_persons(
    rows: Sequence[dict[str, str]], column: str, others: Iterable[str], report: Report
) -> None:
    """Let the coarsest of several columns name the person, in place.

    `patient_id` and `subject` may be the person and its exams. Where one is empty, the other
    names the person.

    Args:
        rows: Rows of a table, each with `person`.
        column: The table's own name of the column `person`.
        others: Names of further columns that may name the person.
        report: Called with a sentence for each column that decides instead, or fills cells.

    Raises:
        DataError: If neither of two columns determines the other.
    """
    for other in others:
        if rows and "person" in rows[0] and other in rows[0]:
            _settle(rows, column, other, report)


def _settle(rows: Sequence[dict[str, str]], column: str, other: str, report: Report) -> None:
    """Compare `person` with one further column."""
    pairs = [(row["person"], "" if is_void(row[other]) else row[other]) for row in rows]
    # What all rows share names no person.
    if _are_one(name for _, name in pairs):
        return
    if _are_one(person for person, _ in pairs):
        report(f"{column} is the same in all rows, so {other} names the person")
        for row, (person, name) in zip(rows, pairs, strict=True):
            row["person"] = name or person
        return
    above = _named_by(pairs)
    below = _named_by((name, person) for person, name in pairs)
    other_is_coarser = _is_function(above) and not _is_function(below)
    if not other_is_coarser and not _is_function(below):
        raise DataError(_contradiction(column, other, above, below))
    filled = 0
    for row, (person, name) in zip(rows, pairs, strict=True):
        first, second, known = (name, person, above) if other_is_coarser else (person, name, below)
        row["person"] = first or next(iter(known.get(person_key(second), {}).values()), second)
        filled += not first and bool(second)
    if other_is_coarser:
        report(
            f"the columns {column} and {other} both name persons; {other} joins several of "
            f"{column}, and counts"
        )
    if filled:
        empty, given = (other, column) if other_is_coarser else (column, other)
        report(f"{empty} is empty in {filled} rows, and {given} names the person in them")


def _are_one(names: Iterable[str]) -> bool:
    """Return whether several rows, all that give a name, give the same one."""
    given = [person_key(name) for name in names if name]
    return len(given) > 1 and len(set(given)) == 1


def _named_by(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Return by key of each first name all second names beside it, by their keys."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for first, second in pairs:
        if first and second:
            found[person_key(first)].setdefault(person_key(second), second)
    return found


def _is_function(named: Mapping[str, Mapping[str, str]]) -> bool:
    return all(len(names) == 1 for names in named.values())


def _contradiction(
    column: str,
    other: str,
    above: Mapping[str, Mapping[str, str]],
    below: Mapping[str, Mapping[str, str]],
) -> str:
    """Return a sentence with a person and a name of the other column that have several each."""
    person, names = next((key, names) for key, names in above.items() if len(names) > 1)
    name, persons = next((key, names) for key, names in below.items() if len(names) > 1)
    return (
        f"the columns {column} and {other} both name persons and contradict each other: "
        f"{column} {person} has the {other} {' and '.join(names.values())}, and {other} {name} "
        f"the {column} {' and '.join(persons.values())}; remove or rename one of them"
    )
