import numpy as np
import pydicom
import pytest

from meninx._scan.dicom.frames import read_frames
from meninx._scan.dicom.pixel_place import with_bits_stored
from meninx._scan.dicom.pixels import LastFile, decode
from meninx._scan.limits import DEFAULT_LIMITS
from meninx._scan.reading import read_scans
from meninx._scan.source import Source
from tests.scan.dicom_making import encoded, save, save_all, slices_of


def with_16_bits(dataset, bits=16, signed=0, **values):
    rng = np.random.default_rng(5)
    stored = rng.integers(0, 2**16, (dataset.Rows, dataset.Columns)).astype(np.uint16)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, signed
    dataset.PixelData = stored.tobytes()
    return with_values(dataset, **values)


def with_8_bits(dataset):
    # An odd number of bytes is padded to an even one.
    dataset.Rows, dataset.Columns = 101, 103
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    stored = np.random.default_rng(6).integers(0, 256, (101, 103)).astype(np.uint8)
    dataset.PixelData = stored.tobytes() + b"\0"
    dataset["PixelData"].VR = "OB"
    return dataset


def with_values(dataset, **values):
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def implicit(dataset):
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return dataset


PLAIN = {
    "as written": lambda dataset: dataset,
    "implicit": implicit,
    "8 bits": with_8_bits,
    "16 bits": with_16_bits,
    "signed": lambda dataset: with_16_bits(dataset, signed=1),
    # Their unused bits hold anything.
    "12 of 16 bits": lambda dataset: with_16_bits(dataset, bits=12),
    "12 of 16 bits, signed": lambda dataset: with_16_bits(dataset, bits=12, signed=1),
    "inverted": lambda dataset: with_16_bits(
        dataset, bits=12, PhotometricInterpretation="MONOCHROME1"
    ),
    "inverted, signed": lambda dataset: with_16_bits(
        dataset, signed=1, PhotometricInterpretation="MONOCHROME1"
    ),
    "padded": lambda dataset: with_16_bits(
        dataset, PixelPaddingValue=60_000, PixelPaddingRangeLimit=65_535
    ),
    "without bits stored": lambda dataset: with_values(dataset, BitsStored=None),
}


@pytest.mark.parametrize("change", PLAIN.values(), ids=PLAIN)
def test_plain_pixels_are_those_that_pydicom_decodes(change, healthy, tmp_path):
    path = save(change(slices_of(healthy.scan)[3]), tmp_path / "a.dcm")
    source = Source("a.dcm", path, path.stat().st_size)
    (frame,) = read_frames(source)
    assert frame.pixels is not None
    files = LastFile()
    found = files.pixels(frame, DEFAULT_LIMITS)
    header, expected = decode(source, DEFAULT_LIMITS, padding=np.nan)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    assert files.header() == header
    assert files.header().filename == "a.dcm"


def wrapped(dataset, bits, syntax):
    """Return a slice whose values need two bits more than BitsStored."""
    highest = dataset.pixel_array.max()
    stored = (dataset.pixel_array.astype(float) * (2 ** (bits + 2) - 1) / highest).astype(np.uint16)
    dataset.PixelData = stored.tobytes()
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset = encoded(dataset, syntax) if syntax.is_encapsulated else dataset
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    return dataset


def with_overlay(dataset, bit):
    """Return a slice with a square in an unused bit, as overlays were stored."""
    stored = dataset.pixel_array.copy()
    stored[10:40, 20:60] |= 1 << bit
    dataset.PixelData = stored.tobytes()
    dataset.BitsStored, dataset.HighBit = 12, 11
    return dataset


def with_negative_values(dataset):
    """Return a slice with signed values in 12 bits, beside an overlay in another."""
    stored = dataset.pixel_array.astype(np.int16) - 500
    stored[10:40, 20:60] ^= 1 << 13
    dataset.PixelData = stored.tobytes()
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
    return dataset


SYNTAXES = [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.RLELossless]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("bits", [8, 9, 13])
def test_values_that_need_more_bits_than_are_stored_fail(
    healthy, tmp_path, read_all, errors, syntax, bits
):
    slices = [wrapped(dataset, bits, syntax) for dataset in slices_of(healthy.scan)]
    assert read_all(save_all(slices, tmp_path)) == []
    assert errors[0].reason == "unreadable"
    assert f"BitsStored {bits}, but the stored values need more bits" in str(errors[0])


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("bit", [12, 15])
def test_an_overlay_in_an_unused_bit_is_cut_off(healthy, tmp_path, read_all, syntax, bit):
    slices = [with_overlay(dataset, bit) for dataset in slices_of(healthy.scan)]
    if syntax.is_encapsulated:
        slices = [encoded(dataset, syntax) for dataset in slices]
    (found,) = read_all(save_all(slices, tmp_path))
    np.testing.assert_array_equal(found.voxels, healthy.scan.voxels)


def test_the_sign_of_stored_values_is_no_unused_bit(healthy, tmp_path):
    dataset = with_negative_values(slices_of(healthy.scan)[3])
    path = save(dataset, tmp_path / "a.dcm")
    source = Source("a.dcm", path, path.stat().st_size)
    (frame,) = read_frames(source)
    found = LastFile().pixels(frame, DEFAULT_LIMITS)
    np.testing.assert_array_equal(found[0].T + 500, healthy.scan.voxels[:, :, 3])


def deflated(dataset):
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    return dataset


OTHERS = {
    "compressed": lambda dataset: encoded(dataset, pydicom.uid.RLELossless),
    "deflated": deflated,
    "without sign": lambda dataset: with_values(dataset, PixelRepresentation=None),
    "several bytes missing": lambda dataset: with_values(
        dataset, PixelData=dataset.PixelData[:-100]
    ),
    "32 bits": lambda dataset: with_values(dataset, BitsAllocated=32, Columns=dataset.Columns // 2),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_all_others_are_left_to_pydicom(change, healthy, tmp_path):
    path = save(change(slices_of(healthy.scan)[3]), tmp_path / "a.dcm")
    (frame,) = read_frames(Source("a.dcm", path, path.stat().st_size))
    assert frame.pixels is None


def test_a_file_that_changed_after_its_header_was_read_is_parsed_again(healthy, tmp_path):
    slices = slices_of(healthy.scan)
    path = save(slices[3], tmp_path / "a.dcm")
    (frame,) = read_frames(Source("a.dcm", path, path.stat().st_size))
    slices[4].ImageComments = "longer than before"
    longer = Source("a.dcm", save(slices[4], path), path.stat().st_size)
    (changed,) = read_frames(longer)
    assert changed.pixels.start > frame.pixels.start
    found = LastFile().pixels(with_source(frame, longer), DEFAULT_LIMITS)
    np.testing.assert_array_equal(found, decode(longer, DEFAULT_LIMITS)[1])


def with_source(frame, source):
    return type(frame)(**{**vars(frame), "source": source})


def test_headers_outlast_their_files(healthy, tmp_path):
    """They are parsed when a result is written, after an archive was closed or deleted."""
    folder = save_all(slices_of(healthy.scan), tmp_path / "series")
    (scan,) = read_scans(folder)
    paths = sorted(folder.iterdir())
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in paths}
    for path in paths:
        path.unlink()
    assert {str(header.SOPInstanceUID) for header in scan.headers} == uids
    assert len(scan.headers) == len(paths)
    assert next(iter(scan.headers)) is next(iter(scan.headers))
    assert "PixelData" not in next(iter(scan.headers))
    assert repr(scan.headers) == f"<{len(paths)} headers>"


def test_single_hot_pixels_above_the_stored_bits_refuse_nothing():
    image = np.full((1, 96, 96), 4000, np.uint16)
    image[0, 40:42, 50:52] = 4140
    assert with_bits_stored(image, 12).max() == 4000
