"""Decode the texts of DICOM headers whose SpecificCharacterSet is missing or wrong."""

import codecs
import re
from collections.abc import Callable

from pydicom import Dataset
from pydicom.charset import convert_encodings, python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from meninx._scan.dicom.values import items, stored

_UTF_8 = "ISO_IR 192"
# Declared character sets that are plain ASCII and explain no higher byte.
_ASCII_ALONE = ("", "ISO_IR 6", "ISO 2022 IR 6")
# Value representations whose text is encoded in SpecificCharacterSet (DICOM PS3.5 6.1.2.3).
TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
_CHARACTER_SET = Tag("SpecificCharacterSet")
# Replaces bytes that can't be decoded.
UNKNOWN_SIGN = "\N{REPLACEMENT CHARACTER}"
_MISSPELLED = re.compile(r"^ISO[^_]IR|^ISO.2022.IR.")


def mend_character_set(dataset: Dataset) -> None:
    """Rewrite a header's texts in UTF-8 if its SpecificCharacterSet does not fit their bytes.

    Headers without a character set, or with a text such as "Not Supplied", often hold UTF-8, or an
    encoding under its common name ("ISO-8859-1"). A byte that neither decodes becomes
    `UNKNOWN_SIGN` and its number, so that different names stay different.

    Args:
        dataset: Dataset as it was read, changed in place; its texts must not be converted yet.

    References:
        DICOM PS3.3 C.12.1.1.2.
    """
    declared = stored(dataset, "SpecificCharacterSet")
    names = [name.strip() for name in declared.split("\\")]
    if not all(_is_known(name) for name in names):
        _rewrite(dataset, _decoder_of(declared))
    elif (declared in _ASCII_ALONE and not _is_all(dataset, bytes.isascii)) or (
        declared == _UTF_8 and not _is_all(dataset, _is_utf_8)
    ):
        _rewrite(dataset, _decoder_of(""))


def _is_utf_8(data: bytes) -> bool:
    try:
        return bool(data.decode()) or not data
    except UnicodeError:
        return False


def _is_all(dataset: Dataset, fits: Callable[[bytes], bool]) -> bool:
    """Return whether all texts of a dataset fit, except in sequences, which take long to parse."""
    elements = map(dataset.get_item, list(dataset.keys()))
    return not any(
        isinstance(element, RawDataElement) and not fits(element.value or b"") and _is_text(element)
        for element in elements
    )


def _is_known(name: str) -> bool:
    """Return whether a name is in the standard, or a usual misspelling that pydicom corrects."""
    if name in python_encoding:
        return True
    mended = re.sub("^ISO.2022.IR.", "ISO 2022 IR ", re.sub("^ISO[^_]IR.", "ISO_IR ", name))
    return _MISSPELLED.match(name) is not None and mended in python_encoding


def _decoder_of(name: str) -> Callable[[bytes], str]:
    """Return a decoder: UTF-8 if the bytes are valid, else the encoding of that common name."""
    try:
        codec = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        codec = "ascii"

    def decode(data: bytes) -> str:
        for encoding in ("utf-8", codec):
            try:
                return data.decode(encoding)
            except UnicodeError:
                continue
        return "".join(chr(sign) if sign < 128 else f"{UNKNOWN_SIGN}{sign:02x}" for sign in data)

    return decode


def _text_elements(dataset: Dataset) -> list[RawDataElement]:
    """Return the elements that hold text, except private ones."""
    found = map(dataset.get_item, list(dataset.keys()))
    return [
        element
        for element in found
        if isinstance(element, RawDataElement) and element.value and _is_text(element)
    ]


def _is_text(element: RawDataElement) -> bool:
    """Return whether an element holds text and is not private."""
    return not element.tag.is_private and _kind_of(element) in TEXTS


def _kind_of(element: DataElement | RawDataElement) -> str:
    """Return an element's value representation, from the dictionary if it is implicit."""
    if element.VR is not None:
        return str(element.VR)
    return dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else ""


def _items(dataset: Dataset) -> list[Dataset]:
    """Return the items of all sequences of a dataset, without nested sequences."""
    found = [dataset.get_item(tag) for tag in list(dataset.keys()) if not tag.is_private]
    kinds = ((element, _kind_of(element)) for element in found)
    names = [keyword_for_tag(element.tag) for element, kind in kinds if kind == "SQ"]
    return [item for name in names for item in items(dataset, name)]


def _rewrite(dataset: Dataset, decode: Callable[[bytes], str]) -> None:
    for element in _text_elements(dataset):
        if not element.value.isascii():
            data = decode(element.value).encode()
            dataset[element.tag] = element._replace(value=data, length=len(data))
    dataset.SpecificCharacterSet = _UTF_8
    # pydicom decodes texts, also of items, by the character set named when the file was read.
    dataset.set_original_encoding(*dataset.original_encoding, convert_encodings(_UTF_8))
    for item in _items(dataset):
        if _CHARACTER_SET in item or not _is_all(item, bytes.isascii):
            _rewrite(item, decode)
