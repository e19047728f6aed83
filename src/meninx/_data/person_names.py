"""Compare the names of persons as tables write them.

Two spellings of one person in several folds are a leak; two people under one key are none.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meninx._data.progress import Report
from meninx._data.tables import is_void
from meninx._errors import DataError

# A data frame with empty cells writes whole numbers as 7.0; spreadsheets drop leading zeros.
_WHOLE_NUMBER = re.compile(r"0*([0-9]+?)(?:[.,]0+)?")
# Namesakes share these, so they never join the persons of another column.
_SHARED_BY_NAMESAKES = ("patient_name", "patientname")
# What de-identification leaves in place of a name, in small letters.
_PLACEHOLDERS = {
    *("removed", "anon", "redacted", "deidentified", "pseudonymized", "pseudonymised", "masked"),
    *("hidden", "withheld", "deleted", "erased", "confidential", "xxx", "entfernt", "geloescht"),
}
# A column with so few names may number the visits, or name the arms of a study.
_FEW = 10
# Exams of one person that are plausible even where they are most of the table.
_USUAL_EXAMS = 3


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


@dataclass(frozen=True)
class _Column:
    """A column that may name the person, beside another one.

    Args:
        name: The table's own name of the column.
        cells: Its cells; empty where they name nobody.
        beside: By key of each name all names beside it in the other column, by their keys.
    """

    name: str
    cells: Sequence[str]
    beside: Mapping[str, Mapping[str, str]]

    @property
    def size(self) -> int:
        """Number of persons that it names beside the other column."""
        return len(self.beside)

    @property
    def determines_other(self) -> bool:
        """Whether each of its names belongs to one name of the other column."""
        return all(len(names) == 1 for names in self.beside.values())

    @property
    def has_placeholder(self) -> bool:
        """Whether one of its cells says that the name was removed."""
        return any(re.sub(r"[\W_]", "", name.casefold()) in _PLACEHOLDERS for name in self.cells)

    @property
    def has_majority(self) -> bool:
        """Whether one name has more than half of the rows, and more than the exams of a person."""
        count = Counter(person_key(name) for name in self.cells if name)
        half = sum(count.values()) / 2
        return any(
            number > half and len(self.beside.get(key, ())) > _USUAL_EXAMS
            for key, number in count.items()
        )

    @property
    def has_digits(self) -> bool:
        """Whether one of its names has a digit, as identifiers do."""
        return any(map(str.isdigit, "".join(self.cells)))

    def is_few_beside(self, other: "_Column") -> bool:
        """Return whether it has less than a third of the other column's names."""
        return 3 * self.size < other.size

    def looks_like_no_identifier(self, other: "_Column") -> bool:
        """Return whether it may well say something else than who the person is."""
        return (
            self.size <= _FEW
            or self.is_few_beside(other)
            or self.has_placeholder
            or self.has_majority
        )


def settle_persons(
    rows: Sequence[dict[str, str]], column: str, others: Iterable[str], report: Report
) -> None:
    """Let one of several columns name the person, in place.

    `patient_id` and `subject` may be the person and its exams, or the person and an arm of the
    study. `person` itself counts, unless another column joins several of its names as exams of a
    person do. Where the column that counts is empty, another identifier names the person.

    Args:
        rows: Rows of a table, each with `person`.
        column: The table's own name of the column `person`.
        others: Names of further columns that may name the person.
        report: Called with a sentence for each column that decides instead, does not count though
            it differs, or fills cells.

    Raises:
        DataError: If two columns look like identifiers, and neither determines the other.
    """
    for other in others:
        if rows and "person" in rows[0] and other in rows[0]:
            column = _settle(rows, column, other, report)


def _settle(rows: Sequence[dict[str, str]], column: str, other: str, report: Report) -> str:
    """Compare `person` with one further column, and return the name of the one that counts."""
    pairs = [(row["person"], "" if is_void(row[other]) else row[other]) for row in rows]
    swapped = [(name, person) for person, name in pairs]
    # What all rows share names no person.
    if _are_one(name for _, name in pairs):
        return column
    taken = _Column(column, [person for person, _ in pairs], _named_by(pairs))
    further = _Column(other, [name for name, _ in swapped], _named_by(swapped))
    decides, said = _chosen(taken, further)
    if said:
        report(said)
    rest = taken if decides is further else further
    fills = rest.determines_other and not (
        rest.name in _SHARED_BY_NAMESAKES or rest.has_placeholder
    )
    filled = 0
    for row, first, second in zip(rows, decides.cells, rest.cells, strict=True):
        known = next(iter(rest.beside.get(person_key(second), {}).values()), second)
        row["person"] = first or (known if fills else "")
        filled += not first and fills and bool(second)
    if filled:
        report(
            f"{decides.name} is empty in {filled} rows, and {rest.name} names the person in them"
        )
    return decides.name


def _chosen(taken: _Column, other: _Column) -> tuple[_Column, str]:
    """Return the column that names the person, and a sentence if that is news.

    Args:
        taken: Column that stands for `person`.
        other: Further column that may name the person.

    Returns:
        One of the two columns, and a sentence, empty if the columns agree.

    Raises:
        DataError: If both look like identifiers, and neither determines the other.
    """
    is_name = other.name in _SHARED_BY_NAMESAKES
    if other.determines_other:
        reason = _doubt(taken, other)
        if not reason or is_name or taken.name == "person" or other.has_placeholder:
            return taken, ""
        return other, f"{taken.name} {reason}, so {other.name} names the person"
    if taken.determines_other and not (
        is_name or other.has_placeholder or other.has_majority or other.is_few_beside(taken)
    ):
        return other, (
            f"the columns {taken.name} and {other.name} both name persons; {other.name} joins "
            f"several of {taken.name}, and counts"
        )
    if taken.determines_other or is_name or taken.name == "person":
        return taken, _unused(taken, other)
    return _less_doubtful(taken, other)


def _doubt(taken: _Column, other: _Column) -> str:
    """Return why a column that may join several names of another one names no person, or ''."""
    if _are_one(taken.cells):
        return "is the same in all rows"
    is_text = taken.is_few_beside(other) and not taken.has_digits and other.has_digits
    if not taken.determines_other and (taken.has_placeholder or is_text):
        return "does not look like names of persons"
    return ""


def _less_doubtful(taken: _Column, other: _Column) -> tuple[_Column, str]:
    """Return which of two columns that contradict each other looks more like an identifier.

    Args:
        taken: Column that stands for `person`.
        other: Further column that may name the person.

    Returns:
        One of the two columns, and a sentence.

    Raises:
        DataError: If both look like one.
    """
    taken_is_doubtful = taken.looks_like_no_identifier(other)
    other_is_doubtful = other.looks_like_no_identifier(taken)
    if not taken_is_doubtful and not other_is_doubtful:
        raise DataError(_contradiction(taken, other))
    # Numbers that start again with each person are fewer than the persons.
    if taken_is_doubtful and not other.has_placeholder and other.size > taken.size:
        return other, _unused(other, taken)
    return taken, _unused(taken, other)


def _unused(counts: _Column, other: _Column) -> str:
    """Return a sentence on the one of two columns that names the person."""
    return (
        f"the columns {counts.name} and {other.name} differ about who is one person; "
        f"{counts.name} counts, and {other.name} is not used"
    )


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
    return dict(found)


def _contradiction(taken: _Column, other: _Column) -> str:
    """Return a sentence with a name of each column that has several of the other."""
    person, names = _first_with_several(taken)
    name, persons = _first_with_several(other)
    return (
        f"the columns {taken.name} and {other.name} both name persons and contradict each other: "
        f"{taken.name} {person} has the {other.name} {names}, and {other.name} {name} the "
        f"{taken.name} {persons}; remove or rename one of them, or name one `person`"
    )


def _first_with_several(column: _Column) -> tuple[str, str]:
    key, names = next((key, names) for key, names in column.beside.items() if len(names) > 1)
    return key, " and ".join(names.values())
