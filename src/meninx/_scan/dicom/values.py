"""Read values of a DICOM header; an unreadable value counts as missing and is no error."""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import AMBIGUOUS_VR

# Whole numbers are signed and of 32 bits (DICOM PS3.5 6.2, IS).
_LARGEST_WHOLE = 2**31 - 1
_NUMERIC = ("DS", "IS", "FD", "FL", "US", "SS", "UL", "SL", "UV", "SV")
PIXELS = Tag("PixelData")
# Longer values are not kept; most attributes that are read have far shorter ones.
_KEPT_BYTES = 256
# Groups below this belong to messages, files and directories, not to an image.
_FIRST_GROUP = 0x0008


@cache
def _tag_of(name: str) -> BaseTag:
    return Tag(name)


def _value_of(dataset: Dataset, name: str) -> Any:
    """Return a value as pydicom converts it; None if it is missing, empty or unreadable.

    Args:
        dataset: Dataset of an instance, or an item of one.
        name: Keyword of the attribute.

    Returns:
        The value.
    """
    # As `dataset.get(name)`, whose detour for what is missing ends in an exception: many are.
    tag = _tag_of(name)
    element = dataset.get_item(tag)
    if element is None:
        return None
    try:
        value = _converted_value(dataset, element)
    except Exception:  # noqa: BLE001 - pydicom documents no list of what bytes make it raise
        return None
    return None if value == "" else value


def _converted_value(dataset: Dataset, element: RawDataElement | DataElement) -> Any:
    """Return a value as pydicom converts it, only once for all files that store the same bytes."""
    if isinstance(element, RawDataElement) and len(element.value or b"") <= _KEPT_BYTES:
        characters = dataset.original_character_set
        names = characters if isinstance(characters, str) else tuple(characters)
        known, value = _conversion(element._replace(value_tell=0), names)
        if known:
            return value
    return dataset[element.tag].value


# All files of a series share most values.
@lru_cache(4096)
def _conversion(element: RawDataElement, characters: str | tuple[str, ...]) -> tuple[bool, Any]:
    """Return whether the value of an element depends on its bytes alone, and that value."""
    names = characters if isinstance(characters, str) else list(characters)
    found = convert_raw_data_element(element, encoding=names)
    known = found.VR not in (*AMBIGUOUS_VR, "SQ")
    return known, found.value if known else None


def number(dataset: Dataset, name: str) -> float | None:
    """Return a finite number, the first of several; None if there is none.

    Args:
        dataset: Dataset of an instance, or an item of one.
        name: Keyword of the attribute.

    Returns:
        The number. An attribute such as EchoNumbers has several: the first names the image.
    """
    values = _numbers(dataset, name)
    return values[0] if values else None


def whole_number(dataset: Dataset, name: str) -> int | None:
    """Return a whole number of at most 32 bits, the first of several; None if there is none."""
    value = number(dataset, name)
    whole = value is not None and value.is_integer() and abs(value) <= _LARGEST_WHOLE
    return int(value) if whole and value is not None else None


def numbers(dataset: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    """Return all numbers of an attribute; None unless there are `count`, all finite."""
    values = _numbers(dataset, name)
    return tuple(values) if len(values) == count else None


def _numbers(dataset: Dataset, name: str) -> list[float]:
    """Return an attribute's numbers; an empty list if any is not finite."""
    value = _value_of(dataset, name)
    values = value if isinstance(value, MultiValue | list | tuple) else (value,)
    found = []
    for part in values:
        try:
            found.append(float(part))
        except (TypeError, ValueError, OverflowError):
            return []
    return found if all(map(math.isfinite, found)) else []


def texts(dataset: Dataset, name: str) -> tuple[str, ...]:
    """Return all texts of an attribute, as stored if pydicom can't convert them."""
    value = _value_of(dataset, name)
    if value is None:
        return tuple(filter(None, stored(dataset, name).split("\\")))
    values = value if isinstance(value, MultiValue | list | tuple) else (value,)
    return tuple("" if part is None else _as_text(part) for part in values)


def text(dataset: Dataset, name: str) -> str:
    r"""Return the text of an attribute, several joined by `\`; empty if not given."""
    return "\\".join(texts(dataset, name))


def _as_text(value: Any) -> str:
    return value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else str(value)


def items(dataset: Dataset, name: str) -> Sequence[Dataset]:
    """Return the items of a sequence; none if the attribute is missing or no sequence."""
    value = _value_of(dataset, name)
    return value if isinstance(value, Items) else ()


class FunctionalGroups:
    """The functional groups of a frame: its own, else the shared ones.

    Args:
        own: Item of PerFrameFunctionalGroupsSequence.
        shared: Item of SharedFunctionalGroupsSequence.

    References:
        DICOM PS3.3 C.7.6.16.
    """

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self.own, self.shared = own, shared

    def __getitem__(self, name: str) -> Dataset:
        found = items(self.own, name) or items(self.shared, name)
        return found[0] if found else Dataset()


def stored(dataset: Dataset, name: str) -> str:
    """Return a value as it is stored: conversion may fail and takes longer."""
    element = dataset.get_item(_tag_of(name))
    if element is None:
        return ""
    raw = element.value
    if isinstance(raw, MultiValue | list | tuple):
        return "\\".join(_as_text(part) for part in raw if part is not None)
    return "" if raw is None else _as_text(raw).strip("\0 ")


def is_unreadable(dataset: Dataset, name: str) -> bool:
    """Return whether a number is given but can't be read."""
    return number(dataset, name) is None and bool(stored(dataset, name))


def set_value(dataset: Dataset, name: str, value: Any) -> None:
    """Set a value without converting the old one, which may be unreadable."""
    if name in dataset:
        del dataset[name]
    setattr(dataset, name, value)


def drop_unreadable(dataset: Dataset) -> list[BaseTag]:
    """Remove unreadable elements, and those that no image has, on which libraries fail.

    Args:
        dataset: Dataset of an instance, changed in place, with the items of its sequences.

    Returns:
        Tags of the removed elements.
    """
    dropped = []
    for tag in list(dataset.keys()):
        if tag.group < _FIRST_GROUP or not _is_sound(dataset, tag):
            del dataset[tag]
            dropped.append(tag)
        elif tag != PIXELS and isinstance(dataset[tag].value, Items):
            for item in dataset[tag].value:
                dropped += drop_unreadable(item)
    return dropped


def _is_sound(dataset: Dataset, tag: BaseTag) -> bool:
    """Return whether an element can be read; numbers must also be finite."""
    if tag == PIXELS:
        return True
    try:
        element = dataset[tag]
        if element.VR in _NUMERIC and not element.is_empty:
            return all(map(math.isfinite, element.value if element.VM > 1 else [element.value]))
    except Exception:  # noqa: BLE001 - pydicom documents no list of what bytes make it raise
        return False
    return True
