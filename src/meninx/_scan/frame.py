"""A slice as a DICOM header describes it, independent of the encoding of DICOM."""

from collections.abc import Hashable
from dataclasses import dataclass

from meninx._errors import InputError
from meninx._scan.scan import Sequence
from meninx._scan.sequence import Acquisition
from meninx._scan.source import Source
from meninx._scan.warning import ScanWarning

# What ImagesInAcquisition counts.
IMAGES_OF_ACQUISITION = "images of the acquisition"

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Promise:
    """A number of instances that belong together, as the header of each gives it.

    Args:
        what: Name of what is counted, in the plural.
        key: Value that these instances share, beside their series.
        count: Number of instances.
        number: Number of this instance among them, from 1; None if not given.
        of_positions: Whether distinct positions are counted, not instances: each may have several
            echoes or time points.
        is_least: Whether there may be more instances: only their number was given.
    """

    what: str
    key: Hashable
    count: int
    number: int | None = None
    of_positions: bool = False
    is_least: bool = False


@dataclass(frozen=True)
class SeriesFacts:
    """Date and scanner of a series, without personal data; empty if not given.

    Args:
        month: Month of the scan, such as 2026-01.
        scanner: Manufacturer and model.
        field_strength: Strength of the magnet, T.
        sequence: MR sequence.
    """

    month: str = ""
    scanner: str = ""
    field_strength: float | None = None
    sequence: Sequence = "unknown"


@dataclass(frozen=True)
class PixelPlace:
    """The place of a frame's pixels in its file, and how to read them without parsing it again.

    Args:
        start: Offset of the first pixel, bytes.
        header_bytes: Size of the header, up to the pixels' own element, bytes.
        element: Bytes between the two, by which a file that was changed meanwhile is noticed.
        dtype: Type of a stored value, as NumPy writes it.
        bits: BitsStored.
        inverted: Whether the lowest value is white.
        padding: Lowest and highest value that marks padded pixels; None without padding.
    """

    start: int
    header_bytes: int
    element: bytes
    dtype: str
    bits: int
    inverted: bool
    padding: tuple[float, float] | None


@dataclass(frozen=True)
class Frame:
    """One slice as a DICOM header describes it.

    Args:
        source: File that holds the pixels.
        number: Index of the frame in the file, from 0.
        patient: Hash of PatientID and its issuer, else of PatientName.
        person: Hashes of PatientID, each word of PatientName, PatientBirthDate and PatientSex
            without differences in writing; empty where it is not given.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        instance_uid: SOPInstanceUID.
        series_number: SeriesNumber; None if not given.
        shape: Rows and columns.
        pixel_spacing: Distance between rows and between columns, mm; None without geometry.
        position: Center of the first pixel, LPS mm; None without geometry.
        orientation: Row, then column direction cosines; None without geometry.
        thickness: SliceThickness, mm; None if not given.
        spacing: SpacingBetweenSlices, mm: the distance of slice centers, or, as some vendors write
            it, the gap between slices; None if not given.
        contrast: Values that differ between images of one position: echo number, time point,
            magnitude or phase, stack.
        weighting: Echo time and inversion time, ms, and b-value, s/mm2, which also differ between
            images of one position and jitter from slice to slice; each may be None.
        moments: Values that separate time points if `contrast` does not, most reliable first:
            AcquisitionNumber, time of acquisition, TriggerTime; each may be None.
        acquisition: Header values that determine the sequence.
        frame_of_reference: FrameOfReferenceUID; empty if not given.
        instance_number: InstanceNumber; of an enhanced file's frame, InStackPositionNumber.
        description: SeriesDescription, which separates series if UIDs are missing.
        stored_spacing: PixelSpacing as stored, if it is no pair of numbers.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        unread: Names of unreadable rescaling attributes.
        exclusion: Why the slice is not scored; None if it is.
        doubts: What the header's words put in doubt.
        promises: Numbers of instances that the header promises.
        pixels: Place of uncompressed pixels; None to decode the file by pydicom.
    """

    source: Source
    number: int
    patient: str
    person: tuple[str, str, str, str]
    study_uid: str
    series_uid: str
    instance_uid: str
    series_number: int | None
    shape: tuple[int, int]
    pixel_spacing: tuple[float, float] | None
    position: Triple | None
    orientation: tuple[float, ...] | None
    thickness: float | None
    spacing: float | None
    contrast: tuple[Hashable, ...]
    weighting: tuple[float | None, float | None, float | None]
    moments: tuple[float | str | None, ...]
    acquisition: Acquisition
    frame_of_reference: str = ""
    instance_number: int | None = None
    description: str = ""
    stored_spacing: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    unread: tuple[str, ...] = ()
    exclusion: InputError | None = None
    doubts: tuple[ScanWarning, ...] = ()
    promises: tuple[Promise, ...] = ()
    pixels: PixelPlace | None = None

    @property
    def is_placed(self) -> bool:
        """Whether the header gives position and orientation."""
        return bool(self.position and self.orientation)
