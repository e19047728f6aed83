"""Read the frames of an enhanced DICOM file, whose one header describes many slices."""

from collections.abc import Hashable, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.tag import Tag

from meninx._errors import UnreadableFile, UnsupportedScan
from meninx._scan.dicom.acquisition import enhanced_acquisition
from meninx._scan.dicom.attributes import (
    file_attributes,
    orientation,
    pixel_spacing,
    position,
    rescale,
)
from meninx._scan.dicom.exclusion import doubts_of, not_brain, part_of_code
from meninx._scan.dicom.values import FunctionalGroups, items, number, text, texts, whole_number
from meninx._scan.frame import Frame
from meninx._scan.image_type import complex_part, kind_of_type, projection
from meninx._scan.source import Source

_DIMENSIONS = "DimensionIndexSequence"
# Attributes that place a frame, by which a dimension may count.
_PLACE_POINTERS = ("StackID", "InStackPositionNumber", "ImagePositionPatient")
# Number of dimensions that are tried one by one where none has a meaning.
_MOST_DIMENSIONS = 6


def enhanced_frames(source: Source, dataset: Dataset, per_frame: Sequence[Dataset]) -> list[Frame]:
    """Return the frames of an enhanced file.

    Args:
        source: DICOM file.
        dataset: Its header.
        per_frame: Items of PerFrameFunctionalGroupsSequence; attributes that an item lacks are
            taken from SharedFunctionalGroupsSequence.

    Returns:
        Frames, in the order of the file.

    Raises:
        UnreadableFile: If NumberOfFrames is another number.
    """
    count = whole_number(dataset, "NumberOfFrames") or len(per_frame)
    if len(per_frame) != count:
        raise UnreadableFile(
            f"{len(per_frame)} frames are described, NumberOfFrames promises {count}; export the "
            "file again"
        )
    shared = next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
    of_file = {**file_attributes(dataset), "doubts": doubts_of(dataset)}
    places = _dimensions_of_places(dataset)
    return [
        _enhanced_frame(source, dataset, index, FunctionalGroups(own, shared), of_file, places)
        for index, own in enumerate(per_frame)
    ]


def _dimensions_of_places(dataset: Dataset) -> frozenset[int]:
    """Return the indices of the dimensions that count stacks and positions in them."""
    names = [text(item, "DimensionIndexPointer") for item in items(dataset, _DIMENSIONS)]
    return frozenset(
        index for index, name in enumerate(names) if name in map(str, map(Tag, _PLACE_POINTERS))
    )


def _enhanced_frame(
    source: Source,
    dataset: Dataset,
    index: int,
    groups: FunctionalGroups,
    of_file: dict[str, Any],
    places: frozenset[int],
) -> Frame:
    measures, content = groups["PixelMeasuresSequence"], groups["FrameContentSequence"]
    kind = groups["MRImageFrameTypeSequence"]
    frame_type = texts(kind, "FrameType")
    acquisition = enhanced_acquisition(dataset, groups)
    contrast: tuple[Hashable, ...] = (
        text(content, "StackID"),
        number(content, "TemporalPositionIndex"),
        frame_type[2:],
        text(kind, "ComplexImageComponent"),
    )
    return Frame(
        source=source,
        number=index,
        **{
            **of_file,
            "instance_number": whole_number(content, "InStackPositionNumber"),
            "moments": _moments(groups, of_file["moments"], places),
        },
        **pixel_spacing(measures),
        position=position(groups["PlanePositionSequence"]),
        orientation=orientation(groups["PlaneOrientationSequence"]),
        thickness=number(measures, "SliceThickness"),
        spacing=number(measures, "SpacingBetweenSlices"),
        contrast=contrast,
        weighting=(
            acquisition.echo_time,
            acquisition.inversion_time,
            number(groups["MRDiffusionSequence"], "DiffusionBValue"),
        ),
        acquisition=acquisition,
        **rescale(groups["PixelValueTransformationSequence"]),
        exclusion=kind_of_type(frame_type)
        or complex_part(text(kind, "ComplexImageComponent"))
        or projection(text(kind, "VolumeBasedCalculationTechnique"))
        or _frame_part(groups),
    )


def _moments(
    groups: FunctionalGroups, of_file: Sequence[float | str | None], places: frozenset[int]
) -> tuple[float | str | None, ...]:
    """Return the values that separate images of one place, most reliable first.

    References:
        DICOM PS3.3 C.7.6.16.2.2 (frame content), C.7.6.16.2.7 (cardiac synchronization),
        C.7.6.16.2.18 (temporal position), C.8.13.5.9 (diffusion), C.7.6.17 (dimensions).
    """
    content, diffusion = groups["FrameContentSequence"], groups["MRDiffusionSequence"]
    gradient = next(iter(items(diffusion, "DiffusionGradientDirectionSequence")), Dataset())
    indices = texts(content, "DimensionIndexValues")
    others = [value for place, value in enumerate(indices) if place not in places]
    # Without the meaning of the dimensions, each is tried.
    single = [*indices, *[""] * _MOST_DIMENSIONS][:_MOST_DIMENSIONS]
    return (
        of_file[0],
        text(content, "FrameAcquisitionDateTime") or of_file[1],
        number(content, "FrameAcquisitionNumber"),
        _first_given(
            number(groups["CardiacSynchronizationSequence"], "NominalCardiacTriggerDelayTime"),
            number(groups["CardiacSynchronizationSequence"], "ActualCardiacTriggerDelayTime"),
            of_file[2],
        ),
        number(groups["TemporalPositionSequence"], "TemporalPositionTimeOffset"),
        text(gradient, "DiffusionGradientOrientation"),
        "\\".join(value.zfill(6) for value in others) if places else "",
        *(value.zfill(6) if value else "" for value in single),
    )


def _first_given(*values: float | str | None) -> float | str | None:
    return next((value for value in values if value is not None), None)


def _frame_part(groups: FunctionalGroups) -> UnsupportedScan | None:
    """Return why a frame's anatomy sets it aside (DICOM PS3.3 C.7.6.16.2.8)."""
    part = part_of_code(groups["FrameAnatomySequence"])
    return None if part is None else not_brain(part)
