"""Read the attributes that the headers of classic and enhanced DICOM files share."""

from collections.abc import Iterator
from typing import Any

from pydicom import Dataset

from meninx._scan.dicom.heading import patient_key, person_keys
from meninx._scan.dicom.values import (
    is_unreadable,
    number,
    numbers,
    stored,
    text,
    texts,
    whole_number,
)
from meninx._scan.frame import IMAGES_OF_ACQUISITION, Promise, Triple

GRAY = ("MONOCHROME1", "MONOCHROME2")
# Beginnings of the other values of PhotometricInterpretation (DICOM PS3.3 C.7.6.3.1.2).
COLORED = ("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK", "XYB")
# Private elements that count slices: group, creator, element.
_PRIVATE_COUNTS = ((0x2001, "Philips Imaging DD 001", 0x18), (0x0021, "GEMS_RELA_01", 0x4F))
_RESCALE = ("RescaleSlope", "RescaleIntercept")


def file_attributes(dataset: Dataset) -> dict[str, Any]:
    """Return the fields of `Frame` that all frames of a file share."""
    return {
        "patient": patient_key(dataset),
        "person": person_keys(dataset),
        "description": text(dataset, "SeriesDescription"),
        "study_uid": text(dataset, "StudyInstanceUID"),
        "series_uid": text(dataset, "SeriesInstanceUID"),
        "instance_uid": text(dataset, "SOPInstanceUID"),
        "frame_of_reference": text(dataset, "FrameOfReferenceUID"),
        "instance_number": whole_number(dataset, "InstanceNumber"),
        "series_number": whole_number(dataset, "SeriesNumber"),
        "shape": (whole_number(dataset, "Rows") or 0, whole_number(dataset, "Columns") or 0),
        "moments": (
            number(dataset, "AcquisitionNumber"),
            _acquired_at(dataset),
            number(dataset, "TriggerTime"),
        ),
        "promises": tuple(_promises(dataset)),
    }


def _promises(dataset: Dataset) -> Iterator[Promise]:
    """Yield the numbers of instances that the header promises.

    NumberOfTemporalPositions does not count: each time point is a scan by itself.

    References:
        DICOM PS3.3 C.7.6.16.2.2.4 (concatenations), C.7.6.1 (ImagesInAcquisition; GE writes the
        images of the series), C.3.4 (NumberOfSeriesRelatedInstances, which archives add).
    """
    yield from _parts_of_concatenation(dataset)
    if instances := _count(dataset, "NumberOfSeriesRelatedInstances"):
        yield Promise("instances of the series", None, instances)
    # Derived images keep the numbers of the original images.
    if is_derived(dataset):
        return
    for name, slices in _counts_of_slices(dataset):
        yield Promise("slices of the series", name, slices, of_positions=True)
    if images := _count(dataset, "ImagesInAcquisition"):
        acquisition = stored(dataset, "AcquisitionNumber")
        yield Promise(IMAGES_OF_ACQUISITION, acquisition, images, _count(dataset, "InstanceNumber"))


def _parts_of_concatenation(dataset: Dataset) -> Iterator[Promise]:
    """Yield the number of parts of a concatenation; without a total, those up to this part."""
    uid, what = text(dataset, "ConcatenationUID"), "parts of the concatenation"
    if parts := _count(dataset, "InConcatenationTotalNumber"):
        yield Promise(what, uid, parts)
        return
    # Frames that precede those of this part lie in another.
    before = 2 if _count(dataset, "ConcatenationFrameOffsetNumber") else 0
    least = max(_count(dataset, "InConcatenationNumber") or 0, before)
    if uid or least:
        yield Promise(what, uid, max(least, 1), is_least=True)


def _count(dataset: Dataset, name: str) -> int | None:
    """Return a whole number above 0; None if there is none."""
    found = whole_number(dataset, name)
    return found if found is not None and found > 0 else None


def _counts_of_slices(dataset: Dataset) -> Iterator[tuple[str, int]]:
    """Yield the numbers of slices that the header gives, each with the name of who wrote it.

    References:
        Philips and GE MR conformance statements: Number of Slices MR, Locations in acquisition.
    """
    if count := _count(dataset, "NumberOfSlices"):
        yield "NumberOfSlices", count
    groups = {tag >> 16 for tag in dataset.keys()}  # noqa: SIM118 - a dataset yields elements
    for group, creator, element in _PRIVATE_COUNTS:
        if group not in groups:
            continue
        try:
            value = dataset.private_block(group, creator)[element].value
        except Exception:  # noqa: BLE001 - pydicom documents no list of what bytes make it raise
            continue
        if isinstance(value, int) and value > 0:
            yield creator, value


def _acquired_at(dataset: Dataset) -> str | None:
    """Return the time of acquisition, as a text that sorts by time; None if not given.

    References:
        DICOM PS3.3 C.7.6.1.1: AcquisitionDateTime, or AcquisitionDate and AcquisitionTime.
    """
    moment = stored(dataset, "AcquisitionDateTime")
    if not moment and (time := stored(dataset, "AcquisitionTime")):
        moment = stored(dataset, "AcquisitionDate") + time
    # Archives write fractions of a second with more digits, or fewer.
    return (moment.rstrip("0").rstrip(".") if "." in moment else moment) or None


def is_derived(dataset: Dataset) -> bool:
    """Return whether ImageType says that the image was computed from others."""
    return _first_type(dataset) == "DERIVED"


def is_original(dataset: Dataset) -> bool:
    """Return whether ImageType says that the image was not computed from others."""
    return _first_type(dataset) == "ORIGINAL"


def _first_type(dataset: Dataset) -> str:
    return next(iter(texts(dataset, "ImageType")), "").upper().strip()


def description_text(dataset: Dataset) -> str:
    """Return the descriptions of series, protocol and sequence as one text."""
    names = ("SeriesDescription", "ProtocolName", "SequenceName")
    return " ".join(text(dataset, name) for name in names)


def rescale(dataset: Dataset) -> dict[str, Any]:
    """Return the fields `slope`, `intercept` and `unread` of `Frame`."""
    slope, intercept = (number(dataset, name) for name in _RESCALE)
    return {
        "slope": 1.0 if slope is None else slope,
        "intercept": intercept or 0.0,
        "unread": tuple(name for name in _RESCALE if is_unreadable(dataset, name)),
    }


def pixel_spacing(dataset: Dataset) -> dict[str, Any]:
    """Return the field `pixel_spacing` of `Frame`, else `stored_spacing`, the unreadable text."""
    pair = numbers(dataset, "PixelSpacing", 2)
    if pair is None:
        return {"pixel_spacing": None, "stored_spacing": stored(dataset, "PixelSpacing")}
    return {"pixel_spacing": pair}


def position(dataset: Dataset) -> Triple | None:
    """Return ImagePositionPatient, LPS mm; None if it is not three numbers."""
    found = numbers(dataset, "ImagePositionPatient", 3)
    return None if found is None else (found[0], found[1], found[2])


def orientation(dataset: Dataset) -> tuple[float, ...] | None:
    """Return ImageOrientationPatient, row then column cosines; None if it is not six numbers."""
    return numbers(dataset, "ImageOrientationPatient", 6)
