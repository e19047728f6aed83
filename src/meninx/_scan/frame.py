"""A slice as a DICOM header describes it. Nothing here knows how DICOM is encoded."""

from collections.abc import Hashable
from dataclasses import dataclass

from meninx._errors import InputError
from meninx._scan.scan import Sequence
from meninx._scan.sequence import Acquisition
from meninx._scan.source import Source

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Promise:
    """A number of instances that the header of each of them gives.

    Args:
        what: Name of what is counted, in the plural.
        key: What the instances that are counted together share, beside their series.
        count: Number of instances.
        number: Number of this instance among them, from 1; None if not given.
    """

    what: str
    key: Hashable
    count: int
    number: int | None = None


@dataclass(frozen=True)
class SeriesFacts:
    """Where a series comes from, without anything that names a person; empty where not given.

    Args:
        month: Month of the scan, as 2026-01.
        scanner: Manufacturer and model.
        field_strength: Strength of the magnet, T.
        sequence: MR sequence.
    """

    month: str = ""
    scanner: str = ""
    field_strength: float | None = None
    sequence: Sequence = "unknown"


@dataclass(frozen=True)
class Frame:
    """One slice as a DICOM header describes it.

    Args:
        source: File that holds the pixels.
        number: Index of the frame in the file, from 0.
        patient: Hash of PatientID and its issuer, else of PatientName.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        instance_uid: SOPInstanceUID.
        series_number: SeriesNumber; None if not given.
        shape: Rows and columns.
        pixel_spacing: Distance between rows and between columns, mm; None without geometry.
        position: Center of the first pixel, LPS mm; None without geometry.
        orientation: Row, then column direction cosines; None without geometry.
        thickness: SpacingBetweenSlices, else SliceThickness, mm, for a slice that stands alone.
        contrast: Values that differ between images of one place: echo number, time point,
            magnitude or phase, stack.
        times: Echo and inversion time, ms, which also differ between images of one place; each may
            be None. They jitter from slice to slice.
        moments: Values that tell time points apart where `contrast` does not, the best first:
            AcquisitionNumber, time of acquisition, TriggerTime; each may be None.
        acquisition: Header entries that tell the sequence.
        description: SeriesDescription, which tells series apart where UIDs do not.
        stored_spacing: PixelSpacing as the header has it, where it is no pair of numbers.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        unread: Names of what rescales the values and can't be read.
        set_aside: Why the slice is not judged; None if it is.
        promises: What the header says of how many instances belong together.
    """

    source: Source
    number: int
    patient: str
    study_uid: str
    series_uid: str
    instance_uid: str
    series_number: int | None
    shape: tuple[int, int]
    pixel_spacing: tuple[float, float] | None
    position: Triple | None
    orientation: tuple[float, ...] | None
    thickness: float | None
    contrast: tuple[Hashable, ...]
    times: tuple[float | None, float | None]
    moments: tuple[float | str | None, ...]
    acquisition: Acquisition
    description: str = ""
    stored_spacing: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    unread: tuple[str, ...] = ()
    set_aside: InputError | None = None
    promises: tuple[Promise, ...] = ()
