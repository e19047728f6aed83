"""All exceptions that meninx raises itself.

MeninxError
├── InputError            a scan can't be used; has a `reason` code for programs
│   ├── UnreadableFile    a file is damaged or not what its name says
│   │   └── ProcessEnded  the process that decoded it ended
│   ├── UnsupportedScan   readable, but not a scan for a brain MRI detector
│   ├── GeometryError     slices missing, duplicated, sheared or unevenly spaced
│   └── LimitExceeded     larger than `_scan.limits` allows
├── ModelError            a detector file is damaged or does not fit this version
├── DataError             a training or test set contradicts itself
├── OptionError           a setting or recipe is invalid
└── PeerError             another system did not complete a request

A message says what, where, found against expected, and what to do next. It never contains a
patient's name: the place is a file path or a shortened series number.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Lone surrogates, except those that represent a byte (PEP 383).
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def printable(text: str) -> str:
    r"""Return a text that can be encoded in UTF-8.

    Args:
        text: Text such as a path: Python represents undecodable bytes of file names by surrogates.
            Tables and JSON may contain other surrogates.

    Returns:
        The text with escapes for undecodable bytes, such as `M\xfcller.png`, and for other
        surrogates, such as `\ud83d`.
    """
    escaped = _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def counted(number: int, thing: str) -> str:
    """Return a number of things, such as `1 study` or `2 studies`."""
    many = f"{thing[:-1]}ies" if thing.endswith("study") else f"{thing}s"
    return f"{number} {thing if number == 1 else many}"


class MeninxError(Exception):
    """An error that meninx raises itself."""


class InputError(MeninxError):
    """A scan can't be used.

    Args:
        message: Text: what, where, found against expected, what to do next.
        place: Name of the file or series, for the user.
        reason: Stable code for programs, such as `not_mr`; None for that of the class.
    """

    reason = "unusable"
    # UIDs of its DICOM series, as in the public JSON; empty if unknown.
    identity: Mapping[str, str] = MappingProxyType({})
    # What is missing of the scan or its study: counts of `_scan.completeness`.
    incomplete: tuple[Any, ...] = ()
    # What its headers say of a series that can't be read: warnings of `_scan.warning`.
    warnings: tuple[Any, ...] = ()

    def __init__(self, message: str, *, place: str = "", reason: str | None = None) -> None:
        place = printable(place)
        super().__init__(f"{place}: {printable(message)}" if place else printable(message))
        self.place = place
        if reason is not None:
            self.reason = reason


class UnreadableFile(InputError):
    """A file is damaged or not what its name says."""

    reason = "unreadable"


class ProcessEnded(UnreadableFile):
    """The worker process that decoded files ended, or was ended."""


class UnsupportedScan(InputError):
    """A scan was read but is not of a kind that the detector scores."""

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
        errors: At least two errors, in the order in which they were raised.
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
    """A setting or a recipe is invalid."""


class PeerError(MeninxError):
    """Another system did not complete a request."""
