"""Read the header of a DICOM file into frames, one per slice."""

import warnings
from dataclasses import replace

from pydicom import Dataset

from meninx._errors import InputError, UnreadableFile, UnsupportedScan
from meninx._scan.dicom.acquisition import acquisition_of
from meninx._scan.dicom.attributes import (
    file_attributes,
    orientation,
    pixel_spacing,
    position,
    rescale,
)
from meninx._scan.dicom.enhanced import enhanced_frames
from meninx._scan.dicom.exclusion import NO_CLASS, doubts_of, not_mr_slice, pixels_fault
from meninx._scan.dicom.file import DIRECTORY, parsed
from meninx._scan.dicom.pixel_place import pixel_place
from meninx._scan.dicom.values import items, number, text, texts, whole_number
from meninx._scan.frame import Frame
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.source import Source, reading


def read_frames(source: Source, limits: Limits = DEFAULT_LIMITS) -> list[Frame]:
    """Read the header of a DICOM file into frames.

    Args:
        source: DICOM file; its pixels are not read.
        limits: Largest number of frames and pixels.

    Returns:
        One frame per slice; a single excluded frame for a file that is no MR image; none for a
        DICOMDIR.

    Raises:
        UnreadableFile: If the header is damaged.
        LimitExceeded: If the file is larger than the limits allow.
    """
    with reading(source.name, "the DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about every unusual value
        data = source.read(limits)
        dataset, end = parsed(data, source.name, limits, stop_before_pixels=True)
        sop_class = text(dataset, "SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        if sop_class == DIRECTORY:
            return []
        if sop_class is None and not text(dataset, "SeriesInstanceUID"):
            raise UnreadableFile(NO_CLASS)
        excluded = pixels_fault(dataset, sop_class, limits) or not_mr_slice(dataset, sop_class)
        described = items(dataset, "PerFrameFunctionalGroupsSequence")
        if excluded is None and described:
            return enhanced_frames(source, dataset, described)
        frame = _classic_frame(source, dataset, excluded or _several_frames(dataset))
        if frame.exclusion is None and len(data) == source.size:
            frame = replace(frame, pixels=pixel_place(dataset, data, end, frame.shape))
        return [frame]


def _several_frames(dataset: Dataset) -> UnsupportedScan | None:
    """Return why a file of several frames without positions is excluded; None for one frame."""
    frames = whole_number(dataset, "NumberOfFrames") or 1
    if frames <= 1:
        return None
    return UnsupportedScan(
        f"{frames} frames without positions of their own; send single slices",
        reason="several_frames",
    )


def _classic_frame(source: Source, dataset: Dataset, excluded: InputError | None) -> Frame:
    contrast = (
        number(dataset, "EchoNumbers"),
        number(dataset, "TemporalPositionIdentifier"),
        texts(dataset, "ImageType")[2:],
    )
    return Frame(
        source=source,
        number=0,
        **file_attributes(dataset),
        **pixel_spacing(dataset),
        position=position(dataset),
        orientation=orientation(dataset),
        thickness=number(dataset, "SliceThickness"),
        spacing=number(dataset, "SpacingBetweenSlices"),
        contrast=contrast,
        weighting=(
            number(dataset, "EchoTime"),
            number(dataset, "InversionTime"),
            number(dataset, "DiffusionBValue"),
        ),
        acquisition=acquisition_of(dataset),
        **rescale(dataset),
        exclusion=excluded,
        doubts=doubts_of(dataset) if excluded is None else (),
    )
