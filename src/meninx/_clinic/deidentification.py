"""Remove the patient's identity from DICOM datasets.

PS3.15 Annex E: the basic profile, with the options to clean descriptors and to retain longitudinal
information with modified dates. The profile's table comes from the package dicom-anonymizer.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, generate_uid

from meninx._clinic.unused_bits import OVERLAYS, clear_unused
from meninx._errors import UnsupportedScan
from meninx._scan.dicom.exclusion import MR_CLASSES
from meninx._scan.dicom.values import drop_unreadable, text, texts

_EDITION = "dicomfields_2024b"
# Actions of table E.1-1, most destructive last where the standard leaves a choice.
REMOVE, EMPTY, DUMMY, NEW_UID = "removed", "emptied", "replaced", "new UID"
SHIFTED, CLEANED, PRIVATE, ECHOED = "date shifted", "cleaned", "private, removed", "repeated it"
ACTIONS: Mapping[str, str] = {
    "D_TAGS": DUMMY,
    "Z_TAGS": EMPTY,
    "X_TAGS": REMOVE,
    "U_TAGS": NEW_UID,
    "Z_D_TAGS": DUMMY,
    "X_Z_TAGS": EMPTY,
    "X_D_TAGS": DUMMY,
    "X_Z_D_TAGS": DUMMY,
    "X_Z_U_STAR_TAGS": NEW_UID,
}
# Value representations of text that may be a name. Numbers and codes of technique, which are
# frequent, contain none.
_FREE_TEXTS = ("LO", "LT", "SH", "ST", "UT", "UC", "PN", "AE", "UR")
# Replacement values, by value representation (type 1 must not be empty).
_DUMMIES: Mapping[str, str] = {
    **dict.fromkeys((*_FREE_TEXTS, "CS"), "ANONYMOUS"),
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "AS": "000Y",
    "IS": "0",
    "DS": "0",
    "UI": "2.25.0",
}
# The birth date is no longitudinal information: it is emptied, not shifted.
_BIRTH = {Tag("PatientBirthDate"), Tag("PatientBirthTime")}
# All dates of a patient are shifted back by the same number of days, up to this.
_MAX_DAYS = 3650
# Descriptors keep only these words of head MR; any other word might be a name.
_DESCRIPTORS = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "ContrastBolusAgent",
    "AcquisitionProtocolDescription",
)
WORDS = (
    "t1 t1w t1c t1ce t2 t2w t2* flair stir dwi adc swi pd gre se tse fse ir mprage mpr space bravo "
    "cube vibe ax axial tra trans transverse cor coronal sag sagittal obl oblique 2d 3d fs fatsat "
    "fat sat post pre contrast gd gado gadolinium km brain head skull cranial cerebral mr mri mrt "
    "with without and w wo native iso isotropic thin slice mm sense grappa blade propeller dark "
    "fluid phantom seed"
)
_ALLOWED_WORDS = frozenset(WORDS.split())
# Shorter values do not identify a person, and occur in many other texts.
_MIN_ECHO_LENGTH = 4
PIXELS = Tag("PixelData")


@cache
def _table() -> tuple[dict[int, str], tuple[tuple[int, int, int, int, str], ...]]:
    """Return the action of each tag, and of repeating groups: group, element, masks, action."""
    single: dict[int, str] = {}
    ranges = []
    for name, tags in dicom_anonymization_database_selector(_EDITION).items():
        for tag in tags if name in ACTIONS else ():
            if len(tag) == 2:
                single[Tag(tag)] = ACTIONS[name]
            else:
                ranges.append((*tag, ACTIONS[name]))
    return single, tuple(ranges)


def _table_action(tag: int) -> str | None:
    single, ranges = _table()
    if tag in single:
        return single[tag]
    group, element = tag >> 16, tag & 0xFFFF
    for base, low, mask, low_mask, action in ranges:
        if group & mask == base & mask and element & low_mask == low & low_mask:
            return action
    return None


def _action_of(element: DataElement) -> str | None:
    """Return the action on an element: the table's, unless its date is shifted or it is a UID."""
    # Table E.1-1 has only some attributes of overlays, which mean nothing without their drawing.
    if element.tag.group in OVERLAYS:
        return REMOVE
    action = _table_action(element.tag)
    if element.VR in ("DA", "DT") and element.tag not in _BIRTH and not _is_empty(element):
        return SHIFTED
    if action is None and element.VR == "UI" and _is_instance(element):
        return NEW_UID
    return action


@dataclass
class Pseudonyms:
    """Keyed pseudonyms of patients and UIDs: equal inputs have equal pseudonyms.

    Args:
        key: Secret; who has it can test whether a name belongs to a pseudonym.
    """

    key: bytes

    def _digest(self, *parts: str) -> bytes:
        return hmac.new(self.key, "\x1f".join(parts).encode(), hashlib.sha256).digest()

    def patient(self, dataset: Dataset) -> str:
        """Return a patient's pseudonym, from PatientID and its issuer."""
        identifiers = [text(dataset, name) for name in ("PatientID", "IssuerOfPatientID")]
        if not identifiers[0]:
            identifiers.append(text(dataset, "PatientName"))
        return "MX-" + self._digest("patient", *identifiers).hex()[:16].upper()

    def uid(self, uid: str) -> UID:
        """Return the pseudonym of a UID."""
        return generate_uid(entropy_srcs=[self._digest("uid", uid).hex()])

    def days(self, patient: str) -> int:
        """Return the number of days by which a patient's dates are shifted back, 1 to 3650."""
        return 1 + int.from_bytes(self._digest("days", patient)[:8]) % _MAX_DAYS


@dataclass
class Removed:
    """Counts of removed and changed attributes, without values.

    Args:
        counts: Number of elements by keyword and action.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, tag: BaseTag, action: str) -> None:
        """Count one element by its tag."""
        name = keyword_for_tag(tag) or ("private" if tag.is_private else str(tag))
        self.counts[name, action] += 1

    def as_json(self) -> list[dict[str, object]]:
        """Return the log, without values."""
        return [
            {"attribute": name, "action": action, "count": count}
            for (name, action), count in sorted(self.counts.items())
        ]


class Deidentifier:
    """A de-identifier of datasets.

    Args:
        pseudonyms: New names and UIDs.
        removed: Counts to update.
    """

    def __init__(self, pseudonyms: Pseudonyms, removed: Removed) -> None:
        self._pseudonyms, self._removed = pseudonyms, removed

    def clean(self, dataset: Dataset) -> None:
        """Remove the identity from a dataset in place.

        Args:
            dataset: MR image, with or without pixels.

        Raises:
            UnsupportedScan: If it is no MR image, or its header says that text is burned in.

        References:
            DICOM PS3.15 E.1-1, E.2, E.3.5 (clean descriptors), E.3.6 (modified dates).
        """
        _check_pixels(dataset)
        for action in clear_unused(dataset):
            self._removed.add(PIXELS, action)
        for tag in drop_unreadable(dataset):
            self._removed.add(tag, REMOVE)
        patient = self._pseudonyms.patient(dataset)
        days = self._pseudonyms.days(patient)
        # The original values, which may be repeated in attributes that the table retains.
        identity = sorted(set(_identifying(dataset)), key=len, reverse=True)
        self._walk(dataset, days)
        self._drop_echoes(dataset, identity)
        dataset.PatientName = dataset.PatientID = patient
        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"
        dataset.DeidentificationMethod = "meninx: basic profile, clean descriptors, shifted dates"
        dataset.DeidentificationMethodCodeSequence = [
            coded(codes.DCM.BasicApplicationConfidentialityProfile),
            coded(codes.DCM.CleanDescriptorsOption),
            coded(codes.DCM.RetainLongitudinalTemporalInformationModifiedDatesOption),
        ]
        self._new_meta(dataset)

    def _walk(self, dataset: Dataset, days: int) -> None:
        for element in list(dataset):
            if element.tag.is_private:
                self._removed.add(element.tag, PRIVATE)
                del dataset[element.tag]
                continue
            action = _action_of(element)
            if element.VR == "SQ" and action not in (REMOVE, EMPTY, DUMMY):
                for item in element.value:
                    self._walk(item, days)
            elif action is not None:
                self._act(dataset, element, action, days)

    def _act(self, dataset: Dataset, element: DataElement, action: str, days: int) -> None:
        if element.VR == "TM" and element.tag not in _BIRTH:
            return  # times are kept: they distinguish the phases of a study
        shifted = _shifted(element, days) if action == SHIFTED else None
        if shifted is not None:
            element.value = shifted
        elif element.keyword in _DESCRIPTORS:
            element.value, action = cleaned(str(element.value or "")), CLEANED
        elif action == REMOVE:
            del dataset[element.tag]
        else:
            element.value = self._replacement(element, action)
        self._removed.add(element.tag, action)

    def _replacement(self, element: DataElement, action: str) -> list[UID] | UID | str | None:
        """Return the new value of an element: pseudonyms of its UIDs, a dummy, or an empty one."""
        if element.VR == "SQ":
            return []
        if action == NEW_UID and element.VR == "UI":
            new = [self._pseudonyms.uid(str(uid)) for uid in _values(element) if uid]
            return new if len(new) != 1 else new[0]
        if action == DUMMY and not _is_empty(element):
            return _DUMMIES.get(element.VR)
        return None

    def _drop_echoes(self, dataset: Dataset, identity: list[str]) -> None:
        """Empty each text that repeats a value of a removed attribute."""
        for element in dataset:
            if element.VR == "SQ":
                for item in element.value:
                    self._drop_echoes(item, identity)
                continue
            if element.VR in _FREE_TEXTS or (element.VR in ("UN", "OB") and element.tag != PIXELS):
                text = _as_text(element.value).casefold()
                if any(identifier in text for identifier in identity):
                    element.value = None
                    self._removed.add(element.tag, ECHOED)

    def _new_meta(self, dataset: Dataset) -> None:
        """Replace the file meta information, which names its writer."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
        dataset.file_meta = meta
        dataset.preamble = b"\0" * 128


def _check_pixels(dataset: Dataset) -> None:
    """Check that an instance is an MR image without burned-in text.

    Args:
        dataset: Dataset of any file.

    Raises:
        UnsupportedScan: If it is no MR image, or may contain burned-in names.
    """
    if dataset.get("SOPClassUID") not in MR_CLASSES:
        raise UnsupportedScan(
            "not an MR image: names in reports and saved screens can't be found reliably; leave "
            "the file out",
            reason="not_mr",
        )
    image_type = [value.upper() for value in texts(dataset, "ImageType")]
    if text(dataset, "BurnedInAnnotation").upper() == "YES" or "SCREEN SAVE" in image_type:
        raise UnsupportedScan(
            "the header says that text is burned into the pixels; leave the file out",
            reason="burned_in",
        )


def cleaned(text: str) -> str:
    """Return the words of a descriptor that are allowed; any other word might be a name."""
    words = re.findall(r"[a-z0-9*]+", text.casefold())
    return " ".join(
        word for word in words if word in _ALLOWED_WORDS or re.fullmatch(r"\d{1,2}", word)
    )


def _identifying(dataset: Dataset) -> Iterator[str]:
    """Yield the texts that the table removes, in lower case, and the parts of names."""
    for element in dataset.iterall():
        named = element.VR in _FREE_TEXTS and _table_action(element.tag)
        if element.tag not in _BIRTH and not named:
            continue
        if element.keyword in _DESCRIPTORS:
            continue
        for value in _values(element):
            for part in (str(value), *re.split(r"[\^=\s,;/]+", str(value))):
                if len(part) >= _MIN_ECHO_LENGTH:
                    yield part.casefold()


def _is_instance(element: DataElement) -> bool:
    """Return whether a UID identifies an instance, unlike the UIDs that the standard defines."""
    return any(value and not str(value).startswith("1.2.840.10008.") for value in _values(element))


def _values(element: DataElement) -> Iterable[object]:
    """Return the values of an element, also of one with a single value."""
    values: Iterable[object] = element.value if element.VM > 1 else [element.value]
    return values


def _as_text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")


def _is_empty(element: DataElement) -> bool:
    return element.value is None or element.value in ("", [])


def _shifted(element: DataElement, days: int) -> list[str] | str | None:
    """Return dates shifted back by some days; None if a date can't be read."""
    shifted = []
    for value in _values(element):
        text = str(value or "")
        try:
            date = datetime.strptime(text[:8], "%Y%m%d")
        except ValueError:
            return None
        shifted.append(f"{date - timedelta(days=days):%Y%m%d}" + text[8:])
    return shifted if len(shifted) > 1 else shifted[0]


def coded(code: Code) -> Dataset:
    """Return a code as the item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning[:64]
    return item
