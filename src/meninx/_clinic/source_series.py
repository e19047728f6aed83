"""The references to a scan's DICOM series that later reports need: UIDs by slice, no pixels."""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydicom import Dataset

from meninx._clinic.result_context import MAY_BE_EMPTY, ResultContext, context_of, slices_of
from meninx._errors import UnreadableFile
from meninx._render.result import Result
from meninx._scan.geometry import Float64Array
from meninx._scan.scan import Scan

# Attributes that the instances of a series share, and that reports repeat.
_SHARED_ATTRIBUTES = (
    *MAY_BE_EMPTY,
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "StudyDescription",
)
Instance = tuple[str, str, int | None]


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The source instances of a scan.

    Args:
        header: Their shared attributes: patient, study, series, frame of reference.
        by_slice: SOP class UID, instance UID and frame number of the image at each index along k.
            Frame numbers begin at 1, and are None in single-frame files; UIDs are empty if unknown.
        affine: Voxel index to LPS mm, shape (4, 4); None without geometry.
    """

    header: Dataset
    by_slice: tuple[Instance, ...]
    affine: Float64Array | None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return a series from the text of `as_json`."""
        stored = json.loads(text)
        affine = None if stored["affine"] is None else np.array(stored["affine"], dtype=np.float64)
        by_slice = tuple((kind, uid, frame) for kind, uid, frame in stored["by_slice"])
        return cls(Dataset.from_json(stored["header"]), by_slice, affine)

    def as_json(self) -> str:
        """Return the series as text."""
        stored: dict[str, Any] = {
            "header": self.header.to_json_dict(),
            "by_slice": self.by_slice,
            "affine": None if self.affine is None else self.affine.tolist(),
        }
        return json.dumps(stored, allow_nan=False)

    @property
    def frame_of_reference(self) -> str:
        """FrameOfReferenceUID; empty if there is none."""
        return str(self.header.get("FrameOfReferenceUID") or "")

    def instances(self, slices: Iterable[int]) -> list[Dataset]:
        """Return the distinct instances of some slices: the shared header with their UIDs."""
        found: dict[str, Dataset] = {}
        for kind, uid, _ in self._of(slices):
            found[uid] = copy.deepcopy(self.header)
            found[uid].SOPClassUID, found[uid].SOPInstanceUID = kind, uid
        return list(found.values())

    def frames(self, slices: Iterable[int]) -> list[int]:
        """Return the frame numbers of some slices; empty for single-frame files."""
        return [frame for _, _, frame in self._of(slices) if frame is not None]

    def _of(self, slices: Iterable[int]) -> list[Instance]:
        """Return the instances of some slices; all instances if these slices have none."""
        inside = [self.by_slice[index] for index in slices if index in range(len(self.by_slice))]
        with_uid = [instance for instance in inside if instance[1]]
        return with_uid or [instance for instance in self.by_slice if instance[1]]


def source_series(result: Result) -> SourceSeries | None:
    """Return the source series of a scan.

    Args:
        result: A scan with its findings.

    Returns:
        The series; None if it is not DICOM or was not read, or if its headers lack positions or the
        patient's identifiers.
    """
    context, scan = context_of(result), result.scan
    if context is None or scan is None:
        return None
    header = Dataset()
    for name in _SHARED_ATTRIBUTES:
        if name in context.first:
            setattr(header, name, context.first[name].value)
    try:
        context.check_names()
        return SourceSeries(header, _instances(context, scan), scan.affine)
    except (AttributeError, IndexError, ValueError, UnreadableFile):
        return None


def _instances(context: ResultContext, scan: Scan) -> tuple[Instance, ...]:
    """Return the image at each index along k: an instance, or a frame of the only instance."""
    headers, count = context.headers, scan.voxels.shape[2]
    if scan.affine is not None:
        places = slices_of(headers, scan).tolist()
    else:
        places = list(range(len(headers) if len(headers) > 1 else count))
    in_frames = len(headers) == 1 and len(places) > 1
    by_slice: dict[int, Instance] = {}
    for number, place in enumerate(places):
        header = headers[0] if in_frames else headers[number]
        frame = number + 1 if in_frames else None
        by_slice[place] = (str(header.SOPClassUID), str(header.SOPInstanceUID), frame)
    return tuple(by_slice.get(index, ("", "", None)) for index in range(count))
