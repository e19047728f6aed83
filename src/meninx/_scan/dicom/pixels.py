"""Decode the pixels of a DICOM file into stored values."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import get_expected_length

from meninx._errors import UnreadableFile
from meninx._scan.dicom.attributes import COLORED, GRAY
from meninx._scan.dicom.encapsulated import check_frames, streams_of
from meninx._scan.dicom.file import StoredHeader, parse
from meninx._scan.dicom.jpeg_stream import check_pixels
from meninx._scan.dicom.pixel_place import padding_values, stored_values, with_bits_stored
from meninx._scan.dicom.values import items, number, set_value, text, whole_number
from meninx._scan.frame import Frame
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.scan import as_is
from meninx._scan.source import Source, reading

# Decoder of each compressed syntax, chosen for damaged files: gdcm, pydicom's first choice, ends
# the whole process on some broken JPEG 2000 streams.
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
# Syntaxes with streams of Huffman-coded JPEG, whose decoders invent what is missing.
_JPEG = (
    pydicom.uid.JPEGBaseline8Bit,
    pydicom.uid.JPEGExtended12Bit,
    pydicom.uid.JPEGLossless,
    pydicom.uid.JPEGLosslessSV1,
)
# Padding lies this far from all measured values, as a share of their range.
_PADDING_DISTANCE = 0.1
# Tag of the first attribute that holds pixels.
PIXELS = 0x7FE00000


def stored_image(source: Source, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.float32]:
    """Return the stored image of a file, for excluded images too; the middle one of several frames.

    Args:
        source: DICOM file.
        limits: Largest file that is read.

    Returns:
        Stored values, shape (rows, columns); colors are averaged.

    Raises:
        UnreadableFile: If the file is damaged, or holds no image.
    """
    with reading(source.name, "the image"):
        dataset, pixels = decode(source, limits)
        if (whole_number(dataset, "SamplesPerPixel") or 1) > 1:
            pixels = pixels.reshape(-1, *pixels.shape[-3:]).mean(axis=-1)
        return np.asarray(pixels[len(pixels) // 2], dtype=np.float32)


class LastFile:
    """A cache of the file decoded last, for consecutive stacks of one enhanced file.

    Attributes:
        header: Returns the dataset of the file, without pixels.
    """

    def __init__(self) -> None:
        self._name: str | None = None
        self.header: Callable[[], Dataset] = Dataset
        self._pixels: NDArray[np.float32] = np.empty((0, 0, 0), dtype=np.float32)

    def pixels(self, frame: Frame, limits: Limits) -> NDArray[np.float32]:
        """Return the stored values of a frame's file, shape (frames, rows, columns).

        Args:
            frame: A frame of the file.
            limits: Largest file that is read.

        Returns:
            Values, bright meaning high signal; NaN where padded.
        """
        if frame.source.name != self._name:
            self._pixels = self._placed(frame, limits)
            self._name = frame.source.name
        return self._pixels

    def _placed(self, frame: Frame, limits: Limits) -> NDArray[np.float32]:
        """Return the values at the place that the header gave; by pydicom without one."""
        place, source = frame.pixels, frame.source
        if place is not None:
            with reading(source.name, "the pixels"):
                data = source.read(limits)
                pixels = stored_values(place, data, frame.shape)
            if pixels is not None:
                self.header = StoredHeader(source.name, data[: place.header_bytes])
                signed = place.dtype[1] == "i"
                values = _bright(pixels, place.bits, signed=signed, inverted=place.inverted)
                if place.padding is None:
                    return values
                return _without_padded(pixels, values, place.padding, np.nan)
        header, values = decode(source, limits, padding=np.nan)
        self.header = partial(as_is, header)
        return values


def decode(
    source: Source, limits: Limits, *, padding: float | None = None
) -> tuple[Dataset, NDArray[np.float32]]:
    """Return the header of a file and its stored values, bright meaning high signal.

    Args:
        source: DICOM file.
        limits: Largest file that is read.
        padding: Value for padded pixels; None to leave them as stored.

    Returns:
        Dataset without pixels, and stored values, shape (frames, rows, columns).
    """
    with reading(source.name, "the pixels"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = parse(source, limits, stop_before_pixels=False)
        header = _without_pixels(dataset)
        _complete_pixel_attributes(dataset)
        signed = whole_number(dataset, "PixelRepresentation")
        if signed is None:
            set_value(dataset, "PixelRepresentation", 0)
        syntax = dataset.file_meta.TransferSyntaxUID
        (check_frames if syntax.is_encapsulated else _check_length)(dataset)
        bits = int(dataset.BitsStored)
        pixels = _decoded(dataset, syntax)
        if signed is None and pixels.max() >= 2 ** (bits - 1):
            raise UnreadableFile(
                "PixelRepresentation is missing, and stored values go up to "
                f"{pixels.max()}: with a sign they would be negative; export the series again"
            )
        inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
        values = _bright(pixels, bits, signed=bool(signed), inverted=inverted)
        if padding is not None and (marked := padding_values(dataset)) is not None:
            values = _without_padded(pixels, values, marked, padding)
        return header, values


def _decoded(dataset: FileDataset, syntax: pydicom.uid.UID) -> NDArray[np.integer]:
    """Return the stored values, shape (frames, rows, columns[, colors]); check JPEG streams."""
    if syntax in _JPEG:
        for stream in streams_of(dataset):
            check_pixels(stream)
    plugin = DECODERS.get(syntax, "")
    if syntax == pydicom.uid.JPEGExtended12Bit:
        # pydicom gives gdcm no 12 bits under this name, though gdcm reads them: how a stream is
        # coded stands in the stream itself.
        dataset.file_meta = deepcopy(dataset.file_meta)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLossless
    bits = int(dataset.BitsStored)
    # The other syntaxes state their bits in the stream.
    has_unused = not syntax.is_encapsulated or syntax == pydicom.uid.RLELossless
    has_unused &= bits < int(dataset.BitsAllocated)
    if has_unused:
        # pydicom drops the bits above BitsStored, whatever they hold.
        set_value(dataset, "BitsStored", int(dataset.BitsAllocated))
    decoded = np.asarray(pixel_array(dataset, decoding_plugin=plugin))
    pixels = decoded if int(dataset.NumberOfFrames) > 1 else decoded[None]
    return with_bits_stored(pixels, bits) if has_unused else pixels


def _without_pixels(dataset: FileDataset) -> Dataset:
    """Return the header of a file, as if reading had stopped before the pixels."""
    elements = {tag: dataset.get_item(tag) for tag in dataset.keys() if tag < PIXELS}  # noqa: SIM118
    header = FileDataset(dataset.filename, elements, file_meta=dataset.file_meta)
    header.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
    return header


def _bright(
    pixels: NDArray[np.integer], bits: int, *, signed: bool, inverted: bool
) -> NDArray[np.float32]:
    """Return stored values as floats, bright meaning high signal."""
    values = np.asarray(pixels, dtype=np.float32)
    if not inverted:
        return values
    # The highest value that the stored bits can hold becomes the lowest.
    top = -1 if signed else 2**bits - 1
    return np.float32(top) - values


def _without_padded(
    pixels: NDArray[np.integer],
    values: NDArray[np.float32],
    marked: tuple[float, float],
    padding: float,
) -> NDArray[np.float32]:
    """Return values with `padding` in place of padded pixels."""
    padded = _padded(pixels, *marked)
    return values if padded is None else np.where(padded, np.float32(padding), values)


def _padded(pixels: NDArray[np.integer], low: float, high: float) -> NDArray[np.bool_] | None:
    """Return the mask of padded pixels; None if there are none.

    Scanners also declare a value, mostly 0, that air and vessels have too. So only values far
    outside the range of all others count as padding.

    References:
        DICOM PS3.3 C.7.5.1.1.2 (Pixel Padding Value and Range Limit).
    """
    padded = (pixels >= low) & (pixels <= high)
    if not padded.any() or padded.all():
        return None
    lowest, highest = float(pixels[~padded].min()), float(pixels[~padded].max())
    far = _PADDING_DISTANCE * (highest - lowest)
    return padded if lowest - high > far or low - highest > far else None


def _check_length(dataset: Dataset) -> None:
    """Check that there are no more frames than the header promises: the decoder drops them."""
    found, promised = len(dataset.PixelData), get_expected_length(dataset)
    frames = int(dataset.NumberOfFrames)
    if found - promised >= promised / frames:
        raise UnreadableFile(
            f"{found:,} bytes of pixels, the header promises {promised:,} for {frames} frames; "
            "whole frames would be left out: export the file again"
        )


def _complete_pixel_attributes(dataset: Dataset) -> None:
    """Set missing or unreadable attributes of gray pixels to their usual value."""
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
