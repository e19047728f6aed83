"""JPEG streams that lost pixels fail; whole ones of every encoder are read."""

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from meninx._errors import UnreadableFile
from meninx._scan.dicom.jpeg_stream import check_pixels
from tests.scan.dicom_making import encoded, save_all, slices_of


@pytest.fixture(scope="module")
def image():
    rows, columns = np.mgrid[:117, :90]
    noise = np.random.default_rng(7).normal(0, 9, rows.shape)
    return (900 * (np.sin(rows / 9) + np.cos(columns / 7) + 2) + noise + 40).astype(np.uint16)


def lossless(image):
    return imagecodecs.ljpeg_encode(image, bitspersample=12)


def predicted(image):
    return imagecodecs.jpeg8_encode((image >> 4).astype(np.uint8), lossless=True, predictor=4)


def extended(image):
    return imagecodecs.jpeg8_encode(image, bitspersample=12)


def with_restarts(image, **options):
    stream = io.BytesIO()
    Image.fromarray((image >> 4).astype(np.uint8)).save(stream, "JPEG", **options)
    return stream.getvalue()


ENCODERS = {
    "lossless": lossless,
    "other predictor": predicted,
    "12 bits": extended,
    "baseline": with_restarts,
    "restarts": lambda image: with_restarts(image, restart_marker_blocks=7),
    "optimized": lambda image: with_restarts(image, optimize=True),
}
DAMAGES = {
    "cut": lambda stream: stream[: len(stream) // 2] + b"\xff\xd9",
    "last bytes cut": lambda stream: stream[:-30] + b"\xff\xd9",
    "half zeroed": lambda stream: stream[: len(stream) // 2].ljust(len(stream), b"\0"),
    "without data": lambda stream: stream[: stream.index(b"\xff\xda")],
    "without header": lambda _: b"",
}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("size", [(0, 0), (3, 5)])
def test_whole_streams_are_whole(image, encoder, size):
    check_pixels(ENCODERS[encoder](np.ascontiguousarray(image[size[0] :, size[1] :])))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_streams_that_lost_pixels_fail(image, encoder, damage):
    with pytest.raises(UnreadableFile, match="the JPEG stream is damaged"):
        check_pixels(DAMAGES[damage](ENCODERS[encoder](image)))


def test_streams_of_gdcm_are_whole(tiny_scan):
    for dataset in slices_of(tiny_scan):
        (stream,) = generate_frames(encoded(dataset, JPEGLosslessSV1).PixelData, number_of_frames=1)
        check_pixels(stream)
        with pytest.raises(UnreadableFile):
            check_pixels(DAMAGES["cut"](stream))


def test_color_is_not_checked(image):
    check_pixels(with_restarts(np.dstack([image] * 3)))


def with_stream(dataset, syntax, stream):
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
@pytest.mark.parametrize("damage", ["cut", "half zeroed"])
def test_a_series_with_two_damaged_slices_fails(
    tiny_scan, tmp_path, read_all, errors, syntax, damage
):
    series = slices_of(tiny_scan)
    for number, dataset in enumerate(series):
        stream = lossless(dataset.pixel_array)
        with_stream(dataset, syntax, DAMAGES[damage](stream) if number in (3, 5) else stream)
    assert read_all(save_all(series, tmp_path)) == []
    (error,) = errors
    assert isinstance(error, UnreadableFile)
    assert "the JPEG stream is damaged" in str(error)


def test_twelve_bits_of_jpeg_extended_are_read(tiny_scan, tmp_path, read_all):
    series = slices_of(tiny_scan)
    for dataset in series:
        with_stream(dataset, JPEGExtended12Bit, extended(dataset.pixel_array))
    (found,) = read_all(save_all(series, tmp_path))
    assert found.voxels.max() > 255
    # A lossy syntax changes each value a little.
    assert np.abs(found.voxels - tiny_scan.voxels).mean() < 0.02 * tiny_scan.voxels.max()
    assert found.headers[0].file_meta.TransferSyntaxUID == JPEGExtended12Bit


def test_eight_bits_of_jpeg_extended_are_read():
    path = pydicom.data.get_testdata_file("JPGExtended.dcm")
    dataset = pydicom.dcmread(path)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    check_pixels(stream)
