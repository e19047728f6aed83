"""Read DICOM MR: classic (one slice a file) and enhanced (many frames a file)."""

import hashlib
import io
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import get_expected_length

from meninx._errors import InputError, LimitExceeded, UnreadableFile, UnsupportedScan
from meninx._scan.background import noting_blank_slices, with_dark_air, without_padding
from meninx._scan.character_set import mend_character_set
from meninx._scan.frame import Frame, Promise, SeriesFacts, Triple
from meninx._scan.header_values import (
    is_unreadable,
    items,
    number,
    numbers,
    set_value,
    stored,
    text,
    texts,
    whole_number,
)
from meninx._scan.limits import DEFAULT_LIMITS, MIB, Limits
from meninx._scan.plausibility import believed
from meninx._scan.promises import Listing
from meninx._scan.relevance import (
    complex_part,
    is_localizer,
    kind_of_type,
    map_by_description,
    map_in_original,
    not_of_head,
    other_body_part,
    projection,
    says_nothing,
)
from meninx._scan.scan import Headers, Scan
from meninx._scan.sequence import Acquisition, sequence_of
from meninx._scan.series import Stack
from meninx._scan.source import Source, reading
from meninx._scan.species import animal
from meninx._scan.warning import ScanWarning

MR_CLASSES = (
    pydicom.uid.MRImageStorage,
    pydicom.uid.EnhancedMRImageStorage,
    pydicom.uid.LegacyConvertedEnhancedMRImageStorage,
)
# Machines whose images some tools store as MR images; words that say no machine, as OT, are let in.
OTHER_MODALITIES = ("CT", "PT", "NM", "US", "CR", "DX", "XA", "RF", "MG", "OP")
# The decoder of each compressed syntax, chosen for how it takes damaged files: gdcm, which pydicom
# would try first, ends the whole process on some broken JPEG 2000 streams.
DECODERS = {
    pydicom.uid.RLELossless: "pydicom",
    pydicom.uid.JPEG2000: "pylibjpeg",
    pydicom.uid.JPEG2000Lossless: "pylibjpeg",
    pydicom.uid.HTJ2K: "pylibjpeg",
    pydicom.uid.HTJ2KLossless: "pylibjpeg",
    pydicom.uid.HTJ2KLosslessRPCL: "pylibjpeg",
    pydicom.uid.JPEGLSLossless: "pyjpegls",
    pydicom.uid.JPEGLSNearLossless: "pyjpegls",
    pydicom.uid.JPEGBaseline8Bit: "pillow",
    pydicom.uid.JPEGLossless: "gdcm",
    pydicom.uid.JPEGLosslessSV1: "gdcm",
    pydicom.uid.JPEGExtended12Bit: "gdcm",
}
# What the meta group of a DICOMDIR says that it is.
DIRECTORY = str(pydicom.uid.MediaStorageDirectoryStorage)
# Padding lies this far from all measured values, as a share of their range.
PADDING_DISTANCE = 0.1
DEFLATED = b"1.2.840.10008.1.2.1.99"
# Without these the pixels can't be decoded.
REQUIRED = ("Rows", "Columns", "BitsAllocated")
GRAY = ("MONOCHROME1", "MONOCHROME2")
# Beginnings of the other values of PhotometricInterpretation (DICOM PS3.3 C.7.6.3.1.2).
COLORED = ("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK", "XYB")
NO_CLASS = "no SOPClassUID: not a DICOM image"
# Tag of the first attribute that holds pixels.
PIXELS = 0x7FE00000
RESCALE = ("RescaleSlope", "RescaleIntercept")


def read_dataset(
    source: Source, limits: Limits = DEFAULT_LIMITS, *, pixels: bool = False
) -> Dataset:
    """Read a DICOM file as pydicom has it.

    Args:
        source: DICOM file.
        limits: Largest file that is read.
        pixels: Whether the pixels are wanted too, as they are encoded.

    Returns:
        The dataset, file meta information included.

    Raises:
        UnreadableFile: If the file is damaged.
    """
    with reading(source.name, "the DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every unusual value
        return _parse(source, limits, stop_before_pixels=not pixels)


def read_frames(source: Source, limits: Limits = DEFAULT_LIMITS) -> list[Frame]:
    """Read the header of a DICOM file.

    Args:
        source: DICOM file; its pixels are not touched.
        limits: Most frames and pixels, checked here.

    Returns:
        One Frame a slice; one, set aside, for a file that is no MR image; none for a DICOMDIR.

    Raises:
        UnreadableFile: If the header is damaged.
        LimitExceeded: If it promises more than the limits allow.
    """
    with reading(source.name, "the DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every unusual value
        dataset = _parse(source, limits, stop_before_pixels=True)
        sop_class = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        if sop_class == DIRECTORY:
            return []
        if sop_class is None and not text(dataset, "SeriesInstanceUID"):
            raise UnreadableFile(NO_CLASS)
        aside = _no_pixels(dataset, sop_class, limits) or _no_mr_slice(dataset, sop_class)
        described = items(dataset, "PerFrameFunctionalGroupsSequence")
        if aside is None and described:
            return _enhanced_frames(source, dataset, described)
        frames = whole_number(dataset, "NumberOfFrames") or 1
        if aside is None and frames > 1:
            aside = UnsupportedScan(
                f"{frames} frames without positions of their own; send single slices",
                reason="several_frames",
            )
        return [_classic_frame(source, dataset, aside)]


def read_listing(source: Source, limits: Limits = DEFAULT_LIMITS) -> Listing:
    """Return what a DICOMDIR lists.

    Args:
        source: DICOMDIR.
        limits: Largest file that is read.

    Returns:
        The images of each series.

    Raises:
        UnreadableFile: If it can't be read.

    References:
        DICOM PS3.3 F.3.2: records follow the series that they belong to.
    """
    dataset = read_dataset(source, limits)
    listed: dict[str, set[str]] = defaultdict(set)
    with reading(source.name, "the DICOMDIR"):
        series_uid = ""
        for record in dataset.get("DirectoryRecordSequence") or ():
            kind = str(record.get("DirectoryRecordType", ""))
            if kind == "SERIES":
                series_uid = str(record.get("SeriesInstanceUID", "") or "")
            elif kind == "IMAGE" and series_uid:
                listed[series_uid].add(str(record.get("ReferencedSOPInstanceUIDInFile", "")))
    return Listing(source.name, {uid: frozenset(images) for uid, images in listed.items()})


def _no_pixels(dataset: Dataset, sop_class: str | None, limits: Limits) -> InputError | None:
    """Return why the pixels of an MR image can't be read; None if they can.

    It sets the slice aside, so that it is said once for all slices of a series.
    """
    if sop_class is None:
        return UnreadableFile(NO_CLASS)
    if sop_class not in MR_CLASSES:
        return None
    # One number each: of several, nothing says which counts.
    missing = [name for name in REQUIRED if (numbers(dataset, name, 1) or (0.0,))[0] < 1]
    if missing:
        return UnreadableFile(
            f"the header lacks {', '.join(missing)}, or no number is there: it breaks off, or was "
            "changed; export the series again"
        )
    described = items(dataset, "PerFrameFunctionalGroupsSequence")
    frames = whole_number(dataset, "NumberOfFrames") or len(described) or 1
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    try:
        limits.check("frames", frames, "frames")
        limits.check_shape((rows, columns))
        limits.check_shape((columns, rows, frames))
    except LimitExceeded as error:
        return error
    return None


def series_uid_of(head: bytes) -> str:
    """Return the SeriesInstanceUID that the beginning of a DICOM file gives; empty if none.

    Args:
        head: First bytes of the file, up to group 0020 at least.

    Returns:
        The UID as the file has it.
    """
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(
            io.BytesIO(head),
            stop_before_pixels=True,
            force=head[128:132] != b"DICM",
            specific_tags=["SeriesInstanceUID"],
        )
        return str(dataset.get("SeriesInstanceUID", ""))
    return ""


def stored_image(source: Source, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.float32]:
    """Return the image that a file stores, whatever it shows; of several frames the middle one.

    Args:
        source: DICOM file.
        limits: Largest file that is read.

    Returns:
        Stored values, shape (rows, columns); colors as their mean.

    Raises:
        UnreadableFile: If the file is damaged, or holds no image.
    """
    with reading(source.name, "the image"):
        dataset, pixels = _decode(source, limits)
        if (whole_number(dataset, "SamplesPerPixel") or 1) > 1:
            pixels = pixels.reshape(-1, *pixels.shape[-3:]).mean(axis=-1)
        return np.asarray(pixels[len(pixels) // 2], dtype=np.float32)


def facts_of(header: Dataset) -> SeriesFacts:
    """Return where a DICOM file comes from.

    Args:
        header: Dataset of one file of the series.

    Returns:
        Month, scanner, field strength and sequence; empty where the header does not give them.
    """
    names = ("AcquisitionDate", "SeriesDate", "ContentDate", "StudyDate")
    dates = (text(header, name) for name in names)
    date = next((date for date in dates if re.fullmatch(r"\d{8}", date)), "")
    maker = [text(header, name).strip() for name in ("Manufacturer", "ManufacturerModelName")]
    return SeriesFacts(
        month=f"{date[:4]}-{date[4:6]}" if date else "",
        scanner=" ".join(filter(None, maker)),
        field_strength=number(header, "MagneticFieldStrength"),
        sequence=sequence_of(_acquisition(header)),
    )


class LastFile:
    """A cache of the file decoded last: stacks of one enhanced file follow each other.

    Attributes:
        header: Dataset of the file, without pixels.
    """

    def __init__(self) -> None:
        self._name: str | None = None
        self.header = Dataset()
        self._pixels: NDArray[np.float32] = np.empty((0, 0, 0), dtype=np.float32)

    def pixels(self, source: Source, limits: Limits) -> NDArray[np.float32]:
        """Return a file's stored values, shape (frames, rows, columns), NaN where padded."""
        if source.name != self._name:
            self.header, self._pixels = _decode(source, limits, padding=np.nan)
            self._name = source.name
        return self._pixels


def read_stack(
    stack: Stack, limits: Limits = DEFAULT_LIMITS, files: LastFile | None = None
) -> Scan:
    """Read the pixels of one stack of frames.

    Args:
        stack: Frames of one scan, as `stacks_of` returns them.
        limits: Most voxels of a scan.
        files: Cache that the stacks of one folder share.

    Returns:
        Voxels [column, row, slice], slices upwards along row cosines x column cosines.

    Raises:
        InputError: If the stack was set aside, has gaps, or a file is damaged.
    """
    files = files or LastFile()
    with reading(stack.name, "the DICOM series"):
        stack, warnings = _without_equal_copies(stack, limits, files)
        frames, affine, spacing = stack.placed()
        warnings += _unread_rescale(frames)
        first = frames[0]
        limits.check_shape((first.shape[1], first.shape[0], len(frames)))
        voxels = np.empty((len(frames), *first.shape), dtype=np.float32)
        headers: dict[str, Dataset] = {}
        for index, frame in enumerate(frames):
            voxels[index] = _pixels_of(frame, limits, files)
            headers[frame.source.name] = files.header
        scan = Scan(
            name=stack.name,
            voxels=without_padding(voxels.transpose(2, 1, 0), 2),
            affine=affine,
            sequence=sequence_of(first.acquisition),
            slice_axis=2,
            identity=stack.identity,
            positions_mm=spacing.positions_mm if spacing else None,
            warnings=(*warnings, *(spacing.warnings if spacing else ())),
            incomplete=(*stack.incomplete, *first.source.incomplete),
            headers=Headers(headers.values()),
        )
        return believed(with_dark_air(noting_blank_slices(scan)))


def _pixels_of(frame: Frame, limits: Limits, files: LastFile) -> NDArray[np.float32]:
    """Return a frame's intensities after rescaling, shape (rows, columns)."""
    pixels = files.pixels(frame.source, limits)
    if frame.number >= len(pixels) or pixels.shape[1:] != frame.shape:
        raise UnreadableFile(
            f"the pixels have shape {pixels.shape}, the header promises frame "
            f"{frame.number + 1} of {frame.shape}",
            place=frame.source.name,
        )
    return np.asarray(pixels[frame.number] * frame.slope + frame.intercept, dtype=np.float32)


def _unread_rescale(frames: Sequence[Frame]) -> tuple[ScanWarning, ...]:
    """Return a warning where no slice says how its values are rescaled; raise where some do not.

    Stored values of one series are usually rescaled alike, which changes nothing for the detector:
    it looks at intensities beside each other. Where only some slices can be read, those would be
    brighter than the others.
    """
    unread = [frame for frame in frames if frame.unread]
    if not unread:
        return ()
    names = " and ".join(sorted({name for frame in unread for name in frame.unread}))
    if len(unread) < len(frames):
        raise UnreadableFile(
            f"{names} can't be read in {len(unread)} of {len(frames)} slices, so their brightness "
            "is not that of the others; export the series again"
        )
    text = f"{names} can't be read; the stored values were taken, as if all slices shared it"
    return (ScanWarning("rescale_unreadable", text),)


def _without_equal_copies(
    stack: Stack, limits: Limits, files: LastFile
) -> tuple[Stack, tuple[ScanWarning, ...]]:
    """Return a stack without slices that were sent twice: in one place, with equal pixels."""
    dropped: set[int] = set()
    if stack.frames[0].set_aside is None:
        for twins in stack.coinciding():
            kept = _pixels_of(twins[0], limits, files)
            if all(np.array_equal(kept, _pixels_of(one, limits, files)) for one in twins[1:]):
                dropped |= {id(one) for one in twins[1:]}
    if not dropped:
        return stack, ()
    frames = tuple(frame for frame in stack.frames if id(frame) not in dropped)
    text = f"{len(dropped)} slices were sent twice, with equal pixels; one of each was taken"
    return replace(stack, frames=frames), (ScanWarning("copies_dropped", text),)


def _parse(source: Source, limits: Limits, *, stop_before_pixels: bool) -> FileDataset:
    data = source.read(limits)
    has_preamble = data[128:132] == b"DICM"
    if DEFLATED in data[132:1024]:
        check_deflated(data, limits)
    dataset = pydicom.dcmread(
        io.BytesIO(data), stop_before_pixels=stop_before_pixels, force=not has_preamble
    )
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Files older than the file format: the encoding that pydicom found.
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        )
    dataset.filename = source.name
    mend_character_set(dataset)
    return dataset


def check_deflated(data: bytes, limits: Limits) -> None:
    """Check how much a deflated file unpacks to, before pydicom unpacks it whole.

    Args:
        data: Bytes of the file.
        limits: Largest file that is read, unpacked.

    Raises:
        LimitExceeded: If it unpacks to more.
        UnreadableFile: If the file's meta group does not say where it ends.

    References:
        DICOM PS3.5 A.5: raw deflate after the meta group; PS3.10 7.1: its length comes first.
    """
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise UnreadableFile("deflated, but its meta group does not begin with its length")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = data[144 + int.from_bytes(data[140:144], "little") :]
    unpacked = 0
    while packed and not inflate.eof:
        unpacked += len(inflate.decompress(packed, 16 * MIB))
        limits.check("bytes unpacked", unpacked, "file_bytes")
        packed = inflate.unconsumed_tail


def _decode(
    source: Source, limits: Limits, *, padding: float | None = None
) -> tuple[Dataset, NDArray[np.float32]]:
    """Return a file's header, and its stored values, bright meaning much signal.

    Args:
        source: DICOM file.
        limits: Largest file that is read.
        padding: Value for pixels that the header says were never measured; None to leave them.

    Returns:
        Dataset without pixels, and stored values, shape (frames, rows, columns).
    """
    with reading(source.name, "the pixels"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _parse(source, limits, stop_before_pixels=False)
        header = _without_pixels(dataset)
        _complete_pixel_attributes(dataset)
        signed = whole_number(dataset, "PixelRepresentation")
        if signed is None:
            set_value(dataset, "PixelRepresentation", 0)
        syntax = dataset.file_meta.TransferSyntaxUID
        if not syntax.is_encapsulated:
            _check_frames(dataset)
        decoded = pixel_array(dataset, decoding_plugin=DECODERS.get(syntax, ""))
        pixels = decoded[None] if decoded.ndim == 2 else decoded
        bits = int(dataset.BitsStored)
        if signed is None and pixels.max() >= 2 ** (bits - 1):
            raise UnreadableFile(
                "PixelRepresentation is missing, and stored values go up to "
                f"{pixels.max()}: with a sign they would be negative; export the series again"
            )
        values = np.asarray(pixels, dtype=np.float32)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            # The highest value that the stored bits can hold becomes the lowest.
            top = -1 if signed else 2**bits - 1
            values = np.float32(top) - values
        if padding is not None and (padded := _padded(pixels, dataset)) is not None:
            values = np.where(padded, np.float32(padding), values)
        return header, values


def _without_pixels(dataset: FileDataset) -> Dataset:
    """Return what a file says before its pixels, as if it had been read no further."""
    elements = {tag: dataset.get_item(tag) for tag in dataset.keys() if tag < PIXELS}  # noqa: SIM118
    header = FileDataset(dataset.filename, elements, file_meta=dataset.file_meta)
    header.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
    return header


def _padded(pixels: NDArray[np.integer], dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return which stored values are padding; None where there are none.

    Scanners also name a value, mostly 0, that air and vessels have too. So only values far beyond
    all others are padding.

    References:
        DICOM PS3.3 C.7.5.1.1.2 (Pixel Padding Value and Range Limit).
    """
    value = number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    padded = (pixels >= low) & (pixels <= high)
    if not padded.any() or padded.all():
        return None
    lowest, highest = float(pixels[~padded].min()), float(pixels[~padded].max())
    far = PADDING_DISTANCE * (highest - lowest)
    return padded if lowest - high > far or low - highest > far else None


def _check_frames(dataset: Dataset) -> None:
    """Check that no frames follow those that a header promises: the decoder leaves them out."""
    found, promised = len(dataset.PixelData), get_expected_length(dataset)
    frames = int(dataset.NumberOfFrames)
    if found - promised >= promised / frames:
        raise UnreadableFile(
            f"{found:,} bytes of pixels, the header promises {promised:,} for {frames} frames; "
            "whole frames would be left out: export the file again"
        )


def _complete_pixel_attributes(dataset: Dataset) -> None:
    """Give attributes of gray pixels that are missing, or can't be read, the usual value."""
    bits = whole_number(dataset, "BitsAllocated")
    frames = len(items(dataset, "PerFrameFunctionalGroupsSequence")) or 1
    usual = {"SamplesPerPixel": 1, "NumberOfFrames": frames, "BitsStored": bits}
    for name, value in usual.items():
        if value is not None and (whole_number(dataset, name) or 0) < 1:
            set_value(dataset, name, value)
    if not text(dataset, "PhotometricInterpretation").startswith((*GRAY, *COLORED)):
        set_value(dataset, "PhotometricInterpretation", "MONOCHROME2")
    if number(dataset, "PlanarConfiguration") is None and "PlanarConfiguration" in dataset:
        del dataset["PlanarConfiguration"]


def _no_mr_slice(dataset: Dataset, sop_class: str) -> UnsupportedScan | None:
    """Return why a file shows no MR slice of a brain, from the whole header; None if it does."""
    modality = text(dataset, "Modality")
    if sop_class not in MR_CLASSES:
        if modality not in ("MR", "") or "Rows" not in dataset:
            kind = pydicom.uid.UID(sop_class).name
            return UnsupportedScan(
                f"{kind} ({modality or 'no modality'}); expected an MR image", reason="not_mr"
            )
        return UnsupportedScan("a saved screen of an MR study; expected a slice", reason="derived")
    if modality in OTHER_MODALITIES:
        return UnsupportedScan(
            f"its Modality is {modality}, although it is stored as an MR image; expected MR",
            reason="not_mr",
        )
    colored = text(dataset, "PhotometricInterpretation").startswith(COLORED)
    if colored or (number(dataset, "SamplesPerPixel") or 1) != 1:
        return UnsupportedScan("a colored image; expected gray MR slices", reason="color")
    words = _text(dataset)
    return (
        animal(dataset)
        or _other_part(dataset)
        or _localizer(words)
        or kind_of_type(texts(dataset, "ImageType"))
        or complex_part(text(dataset, "ComplexImageComponent"))
        or projection(text(dataset, "VolumeBasedCalculationTechnique"))
        or (map_by_description(words) if _is_derived(dataset) else None)
        or map_in_original(text(dataset, "SeriesDescription"))
    )


def _other_part(dataset: Dataset) -> UnsupportedScan | None:
    """Return why the part of the body sets an image aside, from all attributes that name it."""
    named = text(dataset, "BodyPartExamined")
    part = not_of_head(named) or _part_of_code(dataset)
    if part is None and says_nothing(named):
        part = other_body_part(text(dataset, "StudyDescription"), _text(dataset))
    return None if part is None else _no_brain(part)


def _no_brain(part: str) -> UnsupportedScan:
    return UnsupportedScan(
        f"the header says that it shows {part}; expected a brain", reason="not_brain"
    )


def _part_of_code(dataset: Dataset) -> str | None:
    """Return the part that an anatomic code names (DICOM PS3.3 table 10-8), if not of the head."""
    meanings = (text(code, "CodeMeaning") for code in items(dataset, "AnatomicRegionSequence"))
    return next((part for part in map(not_of_head, meanings) if part), None)


def _localizer(words: str) -> UnsupportedScan | None:
    if not is_localizer(words):
        return None
    return UnsupportedScan("a localizer, taken to plan the others", reason="localizer")


def _is_derived(dataset: Dataset) -> bool:
    return next(iter(texts(dataset, "ImageType")), "").upper() == "DERIVED"


def _classic_frame(source: Source, dataset: Dataset, aside: InputError | None) -> Frame:
    contrast = (
        number(dataset, "EchoNumbers"),
        number(dataset, "TemporalPositionIdentifier"),
        number(dataset, "DiffusionBValue"),
        texts(dataset, "ImageType")[2:],
    )
    return Frame(
        source=source,
        number=0,
        **_of_file(dataset),
        **_spacing(dataset),
        position=_position(dataset),
        orientation=_cosines(dataset),
        thickness=number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness"),
        contrast=contrast,
        times=(number(dataset, "EchoTime"), number(dataset, "InversionTime")),
        acquisition=_acquisition(dataset),
        **_rescale(dataset),
        set_aside=aside,
    )


def _enhanced_frames(source: Source, dataset: Dataset, per_frame: Sequence[Dataset]) -> list[Frame]:
    """Return the frames of an enhanced file; what a frame does not say, the shared part says."""
    count = whole_number(dataset, "NumberOfFrames") or len(per_frame)
    if len(per_frame) != count:
        raise UnreadableFile(
            f"{len(per_frame)} frames are described, NumberOfFrames promises {count}; export the "
            "file again"
        )
    shared = next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
    of_file = _of_file(dataset)
    return [
        _enhanced_frame(source, dataset, index, _Groups(own, shared), of_file)
        for index, own in enumerate(per_frame)
    ]


class _Groups:
    """The functional groups of a frame, its own before the shared ones.

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


def _enhanced_frame(
    source: Source, dataset: Dataset, index: int, groups: _Groups, of_file: dict[str, Any]
) -> Frame:
    measures, content = groups["PixelMeasuresSequence"], groups["FrameContentSequence"]
    kind = groups["MRImageFrameTypeSequence"]
    echo = groups["MREchoSequence"]
    timing = groups["MRTimingAndRelatedParametersSequence"]
    modifier = groups["MRModifierSequence"]
    transformation = groups["PixelValueTransformationSequence"]
    frame_type = texts(kind, "FrameType")
    inversion = number(modifier, "InversionTimes")
    contrast: tuple[Hashable, ...] = (
        text(content, "StackID"),
        number(content, "TemporalPositionIndex"),
        number(groups["MRDiffusionSequence"], "DiffusionBValue"),
        frame_type[2:],
        text(kind, "ComplexImageComponent"),
    )
    words = " ".join([_text(dataset), text(dataset, "AcquisitionContrast")])
    return Frame(
        source=source,
        number=index,
        **of_file,
        **_spacing(measures),
        position=_position(groups["PlanePositionSequence"]),
        orientation=_cosines(groups["PlaneOrientationSequence"]),
        thickness=number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness"),
        contrast=contrast,
        times=(number(echo, "EffectiveEchoTime"), inversion),
        acquisition=Acquisition(
            repetition_time=number(timing, "RepetitionTime"),
            echo_time=number(echo, "EffectiveEchoTime"),
            inversion_time=inversion,
            scanning_sequence=frozenset(
                ("EP",) if text(dataset, "EchoPlanarPulseSequence") == "YES" else ()
            ),
            contrast_agent="ContrastBolusAgentSequence" in dataset,
            text=words,
        ),
        **_rescale(transformation),
        set_aside=kind_of_type(frame_type)
        or complex_part(text(kind, "ComplexImageComponent"))
        or projection(text(kind, "VolumeBasedCalculationTechnique"))
        or _frame_part(groups),
    )


def _frame_part(groups: _Groups) -> UnsupportedScan | None:
    """Return why a frame's anatomy sets it aside (DICOM PS3.3 C.7.6.16.2.8)."""
    part = _part_of_code(groups["FrameAnatomySequence"])
    return None if part is None else _no_brain(part)


def patient_key(dataset: Dataset) -> str:
    """Return a hash that stands for a patient, from which nobody reads a name or a number.

    Args:
        dataset: Dataset of an instance.

    Returns:
        16 hexadecimal digits of PatientID with its issuer, else of PatientName; empty where the
        header has neither.
    """
    names = ("PatientID", "IssuerOfPatientID")
    values = [text(dataset, name).strip() for name in names]
    if not values[0]:
        values = [text(dataset, "PatientName").strip()]
    if not values[0]:
        return ""
    return hashlib.sha256("\0".join(values).encode(errors="surrogateescape")).hexdigest()[:16]


def _of_file(dataset: Dataset) -> dict[str, Any]:
    """Return what all frames of a file share."""
    return {
        "patient": patient_key(dataset),
        "description": text(dataset, "SeriesDescription"),
        "study_uid": text(dataset, "StudyInstanceUID"),
        "series_uid": text(dataset, "SeriesInstanceUID"),
        "instance_uid": text(dataset, "SOPInstanceUID"),
        "series_number": whole_number(dataset, "SeriesNumber"),
        "shape": (whole_number(dataset, "Rows") or 0, whole_number(dataset, "Columns") or 0),
        "moments": (
            number(dataset, "AcquisitionNumber"),
            _taken(dataset),
            number(dataset, "TriggerTime"),
        ),
        "promises": tuple(_promises(dataset)),
    }


def _promises(dataset: Dataset) -> Iterator[Promise]:
    """Yield what a header says of how many instances belong together.

    NumberOfTemporalPositions is none of these: each time point is a scan by itself.

    References:
        DICOM PS3.3 C.7.6.16.2.2.4 (concatenations), C.7.6.1 (ImagesInAcquisition, which GE writes:
        the images of the series), C.3.4 (NumberOfSeriesRelatedInstances, which archives add).
    """
    if parts := _count(dataset, "InConcatenationTotalNumber"):
        yield Promise("parts of the concatenation", text(dataset, "ConcatenationUID"), parts)
    if instances := _count(dataset, "NumberOfSeriesRelatedInstances"):
        yield Promise("instances of the series", None, instances)
    images = _count(dataset, "ImagesInAcquisition")
    # Derived images keep the number of those that they were made from.
    if images and not _is_derived(dataset):
        acquisition = stored(dataset, "AcquisitionNumber")
        yield Promise(
            "images of the acquisition", acquisition, images, _count(dataset, "InstanceNumber")
        )


def _count(dataset: Dataset, name: str) -> int | None:
    """Return a whole number above 0; None where there is none."""
    found = whole_number(dataset, name)
    return found if found is not None and found > 0 else None


def _taken(dataset: Dataset) -> str | None:
    """Return when an image was taken, as a text that sorts by time; None where not given.

    References:
        DICOM PS3.3 C.7.6.1.1: AcquisitionDateTime, or AcquisitionDate and AcquisitionTime.
    """
    moment = stored(dataset, "AcquisitionDateTime")
    if not moment and (time := stored(dataset, "AcquisitionTime")):
        moment = stored(dataset, "AcquisitionDate") + time
    return moment or None


def _acquisition(dataset: Dataset) -> Acquisition:
    return Acquisition(
        repetition_time=number(dataset, "RepetitionTime"),
        echo_time=number(dataset, "EchoTime"),
        inversion_time=number(dataset, "InversionTime"),
        scanning_sequence=frozenset(texts(dataset, "ScanningSequence")),
        contrast_agent=bool(text(dataset, "ContrastBolusAgent").strip()),
        text=_text(dataset),
    )


def _text(dataset: Dataset) -> str:
    names = ("SeriesDescription", "ProtocolName", "SequenceName")
    return " ".join(text(dataset, name) for name in names)


def _rescale(dataset: Dataset) -> dict[str, Any]:
    """Return what stored values are rescaled by, and the names of what can't be read of it."""
    slope, intercept = (number(dataset, name) for name in RESCALE)
    return {
        "slope": 1.0 if slope is None else slope,
        "intercept": intercept or 0.0,
        "unread": tuple(name for name in RESCALE if is_unreadable(dataset, name)),
    }


def _spacing(dataset: Dataset) -> dict[str, Any]:
    """Return PixelSpacing, or the stored text where it is no pair of numbers."""
    pair = numbers(dataset, "PixelSpacing", 2)
    if pair is None:
        return {"pixel_spacing": None, "stored_spacing": stored(dataset, "PixelSpacing")}
    return {"pixel_spacing": pair}


def _position(dataset: Dataset) -> Triple | None:
    found = numbers(dataset, "ImagePositionPatient", 3)
    return None if found is None else (found[0], found[1], found[2])


def _cosines(dataset: Dataset) -> tuple[float, ...] | None:
    return numbers(dataset, "ImageOrientationPatient", 6)
