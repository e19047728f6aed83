"""Compressed frames beyond the promised ones, and streams of another size, fail."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from meninx._errors import UnreadableFile
from meninx._scan.dicom.pixels import decode
from meninx._scan.limits import DEFAULT_LIMITS
from meninx._scan.source import Source
from tests.scan.dicom_making import encoded, enhanced, save, slices_of

WITH_SIZE = [HTJ2KLossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1, JPEGBaseline8Bit]
ALL = [*WITH_SIZE, RLELossless]


def compressed(dataset, syntax):
    if syntax != JPEGBaseline8Bit:
        return encoded(dataset, syntax)
    stream = io.BytesIO()
    stored = (dataset.pixel_array // 4).astype(np.uint8)
    Image.fromarray(stored).save(stream, "JPEG")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    return with_frames(dataset, syntax, encapsulate([stream.getvalue()]))


def with_frames(dataset, syntax, pixels):
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def streams(datasets):
    return [next(generate_frames(dataset.PixelData, number_of_frames=1)) for dataset in datasets]


def read(dataset, folder):
    path = save(dataset, folder / "a.dcm")
    return decode(Source("a.dcm", path, path.stat().st_size), DEFAULT_LIMITS)[1]


def two_slices(scan, syntax):
    return [compressed(dataset, syntax) for dataset in slices_of(scan)[2:4]]


of_all = pytest.mark.parametrize("syntax", ALL, ids=lambda uid: uid.name)
of_streams_with_size = pytest.mark.parametrize("syntax", WITH_SIZE, ids=lambda uid: uid.name)


@of_all
@pytest.mark.parametrize("promised", [None, 1])
@pytest.mark.parametrize("has_offsets", [True, False])
def test_a_second_frame_fails(tiny_scan, tmp_path, syntax, promised, has_offsets):
    pair = two_slices(tiny_scan, syntax)
    first = pair[0]
    first.PixelData = encapsulate(streams(pair), has_bot=has_offsets)
    if promised:
        first.NumberOfFrames = promised
    with pytest.raises(UnreadableFile, match="2 compressed frames, the header promises 1"):
        read(first, tmp_path)


@of_streams_with_size
def test_a_second_frame_in_the_fragment_of_the_first_fails(tiny_scan, tmp_path, syntax):
    pair = two_slices(tiny_scan, syntax)
    first = pair[0]
    first.PixelData = encapsulate([b"".join(streams(pair))])
    with pytest.raises(UnreadableFile, match="2 compressed frames"):
        read(first, tmp_path)


@of_streams_with_size
@pytest.mark.parametrize("has_offsets", [True, False])
def test_a_frame_of_several_fragments_is_one(tiny_scan, tmp_path, syntax, has_offsets):
    pair = two_slices(tiny_scan, syntax)
    first = pair[0]
    expected = read(first, tmp_path)
    first.PixelData = encapsulate(streams(pair[:1]), fragments_per_frame=3, has_bot=has_offsets)
    np.testing.assert_array_equal(read(first, tmp_path), expected)


@of_all
def test_an_extended_offset_table_is_followed(tiny_scan, tmp_path, syntax):
    pair = two_slices(tiny_scan, syntax)
    first = pair[0]
    expected = read(first, tmp_path)
    pixels, first.ExtendedOffsetTable, first.ExtendedOffsetTableLengths = encapsulate_extended(
        streams(pair[:1])
    )
    first.PixelData = pixels
    np.testing.assert_array_equal(read(first, tmp_path), expected)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_surplus_frames_of_an_enhanced_file_fail(tiny_scan, tmp_path, read_all, errors, syntax):
    dataset = enhanced(tiny_scan)
    frames = streams([compressed(plain, syntax) for plain in slices_of(tiny_scan)])
    with_frames(dataset, syntax, encapsulate(frames))
    save(dataset, tmp_path / "whole" / "a.dcm")
    assert [scan.voxels.shape[2] for scan in read_all(tmp_path / "whole")] == [len(frames)]
    dataset.NumberOfFrames = len(frames) - 3
    del dataset.PerFrameFunctionalGroupsSequence[-3:]
    save(dataset, tmp_path / "surplus" / "a.dcm")
    assert read_all(tmp_path / "surplus") == []
    assert f"{len(frames)} compressed frames" in str(errors[0])


@of_streams_with_size
@pytest.mark.parametrize("change", ["swapped", "reshaped"])
def test_a_stream_of_another_size_fails(healthy, tmp_path, syntax, change):
    dataset = compressed(slices_of(healthy.scan)[3], syntax)
    rows, columns = dataset.Rows, dataset.Columns
    described = (columns, rows) if change == "swapped" else (rows * 2, columns // 2)
    assert described != (rows, columns)
    dataset.Rows, dataset.Columns = described
    size = f"{rows} rows and {columns} columns, the header says {described[0]} and {described[1]}"
    with pytest.raises(UnreadableFile, match=size):
        read(dataset, tmp_path)


def test_the_size_inside_the_boxes_of_a_jpeg_2000_file_counts(tiny_scan, tmp_path):
    dataset = slices_of(tiny_scan)[3]
    stream = imagecodecs.jpeg2k_encode(dataset.pixel_array, codecformat="jp2", reversible=True)
    with_frames(dataset, JPEG2000Lossless, encapsulate([stream]))
    dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
    with pytest.raises(UnreadableFile, match="the compressed stream has"):
        read(dataset, tmp_path)
