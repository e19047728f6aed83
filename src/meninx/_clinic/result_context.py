"""The context of result objects: source instances, findings, and the version of meninx."""

import copy
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, generate_uid

from meninx._detect.findings import Findings
from meninx._errors import UnreadableFile
from meninx._render.result import Result
from meninx._scan.dicom.character_set import UNKNOWN_SIGN
from meninx._scan.dicom.values import drop_unreadable, text, texts, whole_number
from meninx._scan.geometry import Float64Array
from meninx._scan.nifti import affine_of
from meninx._scan.scan import Scan
from meninx._version import __version__

MANUFACTURER = "meninx"
# Attributes of type 2: required, but may be empty. Sources often lack them.
MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# UIDs by which result objects refer to an instance.
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
# Attributes by which a PACS finds the patient: results must repeat them unchanged.
_PATIENT_IDENTIFIERS = ("PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber")
# Results of series N have series numbers from (N + 1) * 1000 + 1; N is limited to this.
_MAX_SERIES = 200_000
# Hours, minutes and seconds, with a leap second (DICOM PS3.5 6.2, TM).
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?")
# Rounding of positions in headers, mm.
_SAME_PLACE_MM = 0.1


@dataclass(frozen=True, eq=False)
class ResultContext:
    """The source instances of a finding, with the finding.

    Args:
        headers: Datasets without pixels, in slice order; one for an enhanced file.
        findings: Findings of the scan.
        pixels: Hash of the scan's voxels; empty if none were read.
        earlier: Reports on these images that this one replaces: on a part of the images, or on
            images that were corrected since.
        version: Version of meninx.
    """

    headers: tuple[Dataset, ...]
    findings: Findings
    pixels: str = ""
    earlier: tuple[Dataset, ...] = ()
    version: str = __version__

    @property
    def first(self) -> Dataset:
        """The first instance."""
        return self.headers[0]

    @property
    def frame_of_reference(self) -> str | None:
        """FrameOfReferenceUID; None if the source has no geometry."""
        return self.first.get("FrameOfReferenceUID") or None

    @property
    def device_uid(self) -> UID:
        """UID of the detector as a device."""
        return generate_uid(entropy_srcs=["device", self.findings.model["sha256"]])

    @property
    def software(self) -> str:
        """Version of meninx, and the detector file's hash."""
        return f"{self.version} {self.findings.model['sha256'][:16]}"

    @cached_property
    def _entropy(self) -> list[str]:
        """Texts that determine the UIDs of results: everything that a result depends on."""
        findings = self.findings
        instances = sorted(str(header.SOPInstanceUID) for header in self.headers)
        identity = [str(self.first.get(name, "")) for name in ("StudyInstanceUID", *MAY_BE_EMPTY)]
        answer = (findings.decision, findings.probability, findings.borders, findings.reason)
        return [
            findings.model["sha256"],
            str(self.first.SeriesInstanceUID),
            *instances,
            *identity,
            self.pixels,
            *map(str, answer),
            findings.message or "",
        ]

    def uid(self, *kind: object) -> UID:
        """Return the UID of a result, the same in a rerun with the same model and images.

        It differs if the content differs: images with corrected pixels or identity, or an answer
        at another coverage.

        Args:
            *kind: Words for the result, such as `series`, `SEG`.

        Returns:
            UID under pydicom's root.
        """
        return generate_uid(entropy_srcs=[*map(str, kind), *self._entropy])

    def series_number(self, place: int) -> int:
        """Return the number of a series of results, above the numbers of source series."""
        number = whole_number(self.first, "SeriesNumber")
        return 1000 * (min(max(number or 0, 0), _MAX_SERIES) + 1) + place

    def check_names(self) -> None:
        """Check that the patient's identifiers are decoded: results must not name another patient.

        Raises:
            UnreadableFile: If bytes of an identifier are invalid in the header's character set.
        """
        undecoded = [
            name for name in _PATIENT_IDENTIFIERS if UNKNOWN_SIGN in text(self.first, name)
        ]
        if undecoded:
            raise UnreadableFile(
                f"SpecificCharacterSet does not explain the bytes of {', '.join(undecoded)}, and "
                "results would name another patient than the PACS does; correct it in the header"
            )


def region_name(number: int) -> str:
    """Return the tracking identifier of a region of the heat map, the same in all objects."""
    return f"region {number} of the heat map"


def slices_of(headers: Sequence[Dataset], scan: Scan) -> NDArray[np.intp]:
    """Return the index along k of each source image, whichever way the scan is cut.

    Args:
        headers: Source instances of the scan, in slice order.
        scan: Scan with geometry.

    Returns:
        Indices, shape (n,); see `frames_of`.

    Raises:
        OptionError: If the scan has no geometry.
    """
    count = scan.voxels.shape[2]
    if scan.positions_mm is not None and len(headers) == count:
        return np.arange(count)  # with unequal gaps the affine is only approximate
    return frames_of(headers, affine_of(scan), count)


def frames_of(headers: Sequence[Dataset], affine: Float64Array, count: int) -> NDArray[np.intp]:
    """Return the slice index in a grid of each source image.

    Args:
        headers: Source instances of the scan.
        affine: Voxel index to LPS mm, shape (4, 4).
        count: Number of slices.

    Returns:
        Index along k of each instance, or of each frame of one enhanced instance, shape (n,); -1
        for a frame that is no slice of the scan.
    """
    inverse = np.linalg.inv(affine)
    indices = []
    for position in _positions(headers):
        voxel = inverse[:3, :3] @ np.asarray(position, dtype=np.float64) + inverse[:3, 3]
        nearest = np.rint(voxel)
        distance_mm = float(np.linalg.norm(affine[:3, :3] @ (voxel - nearest)))
        is_inside = (nearest[:2] == 0).all() and 0 <= nearest[2] < count
        indices.append(int(nearest[2]) if is_inside and distance_mm < _SAME_PLACE_MM else -1)
    return np.array(indices, dtype=np.intp)


def _positions(headers: Sequence[Dataset]) -> Iterator[Sequence[float]]:
    for header in headers:
        groups = header.get("PerFrameFunctionalGroupsSequence")
        if groups is None:
            yield header.ImagePositionPatient
            continue
        shared = header.SharedFunctionalGroupsSequence[0]
        for group in groups:
            source = group if "PlanePositionSequence" in group else shared
            yield source.PlanePositionSequence[0].ImagePositionPatient


def context_of(result: Result) -> ResultContext | None:
    """Return the context of a result's objects.

    Args:
        result: A scan with its findings; unreadable attributes are removed from its headers.

    Returns:
        The context; None if the scan was not DICOM, or a UID in its headers is empty.
    """
    headers = {
        text(header, "SOPInstanceUID"): header
        for header in result.headers
        if all(text(header, name) for name in UIDS)
    }
    if not headers:
        return None
    for header in headers.values():
        _repair(header)
    scan = result.scan
    return ResultContext(
        _with_one_orientation(list(headers.values())),
        result.findings,
        pixels="" if scan is None else hashlib.sha256(scan.voxels.tobytes()).hexdigest(),
    )


def _repair(header: Dataset) -> None:
    """Remove unreadable attributes, and empty invalid ones of type 2."""
    drop_unreadable(header)
    for name in MAY_BE_EMPTY:
        if name not in header or not _is_valid(header, name):
            setattr(header, name, "")
    for element in header:
        # Undecoded identifiers are kept: `check_names` then refuses to write results.
        if element.keyword not in _PATIENT_IDENTIFIERS and UNKNOWN_SIGN in str(element.value):
            element.value = ""


def _is_valid(header: Dataset, name: str) -> bool:
    r"""Return whether a date, a time, a sex or a single text is valid.

    A backslash separates values (DICOM PS3.5 6.2), of which these attributes have one. PatientID is
    repeated as it is: an empty one would belong to no patient.

    References:
        DICOM PS3.5 6.2, PS3.3 C.7.1.1.
    """
    value = text(header, name)
    if len(texts(header, name)) > 1:
        return name == "PatientID"
    if name == "PatientSex":
        return value in ("", "M", "F", "O")
    if name.endswith("Date"):
        return not value or _is_date(value)
    return not name.endswith("Time") or not value or _TIME.fullmatch(value) is not None


def _is_date(value: str) -> bool:
    try:
        return bool(datetime.strptime(value, "%Y%m%d"))
    except ValueError:
        return False


def _with_one_orientation(headers: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """Return headers with the first header's cosines: scanners round them slice by slice."""
    cosines = headers[0].get("ImageOrientationPatient")
    repaired = []
    for header in headers:
        own = header.get("ImageOrientationPatient")
        if cosines and own and own != cosines:
            header = copy.copy(header)
            header.ImageOrientationPatient = cosines
        repaired.append(header)
    return tuple(repaired)
