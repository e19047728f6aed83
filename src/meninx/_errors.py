"""All exceptions that meninx raises on purpose.

MeninxError
├── InputError            something about a scan; carries a `reason` code for programs
│   ├── UnreadableFile    the bytes are not what they claim to be
│   │   └── ProcessEnded  the process that decoded them ended
│   ├── UnsupportedScan   readable, but not something that a brain MRI detector may judge
│   ├── GeometryError     slices missing, doubled, sheared or unevenly spaced
│   └── LimitExceeded     larger than `scan.limits` allows
├── ModelError            a detector file is damaged or does not fit this version
├── DataError             a training or test set contradicts itself
├── OptionError           a setting or recipe is wrong
└── PeerError             another system did not do what it was asked for, or not all of it

A message says what, where, found against expected, and what to do next. It never holds a patient's
name: the place is a file path or a shortened series number.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Halves of characters, but for those that stand for a byte (PEP 383).
LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def printable(text: str) -> str:
    r"""Return a text that any file in UTF-8 takes.

    Args:
        text: Text such as a path: names of files need not be text, and Python has surrogates in
            place of their bytes. Tables and JSON can hold surrogates that stand for no byte.

    Returns:
        The text with the number of each byte that is no text, such as `M\xfcller.png`, and of each
        other surrogate, such as `\ud83d`.
    """
    escaped = LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class MeninxError(Exception):
    """An error that meninx raises on purpose."""


class InputError(MeninxError):
    """A scan can't be used.

    Args:
        message: Text: what, where, found against expected, what to do next.
        place: Name of the file or series, as the user knows it.
        reason: Stable code for programs, such as `not_mr`; the class's own if none is given.
    """

    reason = "unusable"
    # UIDs of the DICOM series that it is about, as the public JSON has them; where they are known.
    identity: Mapping[str, str] = MappingProxyType({})
    # What did not come of the scan or its study: counts of `scan.completeness`.
    incomplete: tuple[Any, ...] = ()

    def __init__(self, message: str, *, place: str = "", reason: str | None = None) -> None:
        place = printable(place)
        super().__init__(f"{place}: {printable(message)}" if place else printable(message))
        self.place = place
        if reason is not None:
            self.reason = reason


class UnreadableFile(InputError):
    """A file's bytes are not what they claim to be."""

    reason = "unreadable"


class ProcessEnded(UnreadableFile):
    """The worker process that decoded files ended, or is not trusted any more."""


class UnsupportedScan(InputError):
    """A scan was read but is nothing that the detector may judge."""

    reason = "unsupported"


class GeometryError(InputError):
    """A series' slices do not form a volume."""

    reason = "geometry"


class LimitExceeded(InputError):
    """An input is larger than the limits allow."""

    reason = "limit_exceeded"


class SeveralInputErrors(InputError):
    """Several scans of one folder or archive can't be used.

    Args:
        errors: Errors, at least two, in the order in which they were raised.
    """

    reason = "several"

    def __init__(self, errors: list[InputError]) -> None:
        lines = "\n".join(f"  {error}" for error in errors)
        super().__init__(f"{len(errors)} scans could not be used:\n{lines}")
        self.errors = tuple(errors)


class ModelError(MeninxError):
    """A detector file is damaged or does not fit this version."""


class DataError(MeninxError):
    """A training or test set contradicts itself."""


class OptionError(MeninxError):
    """A setting or a recipe is wrong."""


class PeerError(MeninxError):
    """Another system did not do what it was asked for, or not all of it."""
