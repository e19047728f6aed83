"""Unreadable values that no volume needs count as missing."""

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from meninx._errors import UnreadableFile
from meninx._scan.dicom.acquisition import facts_of
from meninx._scan.dicom.heading import read_heading
from meninx._scan.dicom.values import drop_unreadable, items, number, text, texts, whole_number
from meninx._scan.reading import read_scans
from meninx._scan.source import Source
from meninx._scan.unread import Unread
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from tests.scan.dicom_making import enhanced, slices_of

# pydicom warns when it writes such values.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
GRID = grid_of("axial", (104, 120, 3), (1.9, 1.8, 6.0))
WORDS = (
    b"withheld",
    b"-",
    b"1,5 ",
    b"12\\??",
    b"\\\\ ",
    b"nan ",
    b"-INF",
    b"9e999 ",
    b"0x10",
    b"\xff\xfe",
)
OF_KIND = {
    "DS": WORDS,
    "IS": (*WORDS, b"3.7 ", b"99999999999999999999"),
    "DA": (b"19991340", b"unknown "),
    "TM": (b"26:61:61", b"unknown "),
    "AS": (b"old ",),
    "US": (b"\1", b"\1\0\0", b""),
    "FD": (b"\0\0\0", np.float64(np.nan).tobytes()),
}
OPTIONAL = {
    "DS": (
        "EchoTime",
        "InversionTime",
        "TriggerTime",
        "RepetitionTime",
        "MagneticFieldStrength",
        "SliceThickness",
        "SpacingBetweenSlices",
        "FlipAngle",
        "PatientWeight",
    ),
    "IS": (
        "SeriesNumber",
        "AcquisitionNumber",
        "InstanceNumber",
        "EchoNumbers",
        "NumberOfFrames",
        "TemporalPositionIdentifier",
    ),
    "DA": ("StudyDate", "AcquisitionDate", "PatientBirthDate"),
    "TM": ("StudyTime", "AcquisitionTime"),
    "AS": ("PatientAge",),
    "US": ("HighBit", "SamplesPerPixel", "PixelRepresentation", "PlanarConfiguration"),
    "FD": ("DiffusionBValue",),
}
CASES = [
    (name, kind, value)
    for kind, names in OPTIONAL.items()
    for name in names
    for value in OF_KIND[kind]
]


def put(dataset, name, kind, value):
    """Put bytes into a dataset, which pydicom would refuse or correct."""
    dataset.pop(Tag(name), None)
    element = RawDataElement(Tag(name), kind, len(value), value, 0, False, True)
    dataset[Tag(name)] = element


def spliced(data, name, kind, value):
    """Return a file in explicit VR with replaced bytes for an element, or with a new element.

    The writer reads some elements, and so can't write them as they are wanted here.
    """
    wanted = Tag(name)
    at = 144 + int.from_bytes(data[140:144], "little")
    while at < len(data):
        group, number = (int.from_bytes(data[at + n : at + n + 2], "little") for n in (0, 2))
        wide = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        length = int.from_bytes(data[at + 8 : at + 12] if wide else data[at + 6 : at + 8], "little")
        after = at + (12 if wide else 8) + length
        if Tag(group, number) >= wanted:
            rest = data[after:] if Tag(group, number) == wanted else data[at:]
            head = b"".join(n.to_bytes(2, "little") for n in (wanted.group, wanted.element))
            return (
                data[:at] + head + kind.encode() + len(value).to_bytes(2, "little") + value + rest
            )
        at = after
    raise AssertionError(name)


def folder_of(slices, folder):
    for index, dataset in enumerate(slices):
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        (folder / f"{index}.dcm").write_bytes(out.getvalue())
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Files of three slices, and their voxels."""
    slices = slices_of(make_study("head", 7, None, "T1", "axial", GRID).scan)
    folder = folder_of(slices, tmp_path_factory.mktemp("whole"))
    (scan,) = read_scans(folder)
    return [path.read_bytes() for path in sorted(folder.iterdir())], scan


def changed(whole, name, kind, value, folder, which=slice(None)):
    files = list(whole[0])
    files[which] = [spliced(data, name, kind, value) for data in files[which]]
    for index, data in enumerate(files):
        (folder / f"{index}.dcm").write_bytes(data)
    return folder


@pytest.mark.parametrize(("name", "kind", "value"), CASES)
def test_unreadable_optional_values_count_as_missing(whole, name, kind, value, tmp_path, errors):
    folder = changed(whole, name, kind, value, tmp_path)
    (scan,) = read_scans(folder, errors.append)
    assert not errors
    np.testing.assert_array_equal(scan.voxels, whole[1].voxels)
    np.testing.assert_allclose(scan.affine, whole[1].affine)
    file = sorted(folder.iterdir())[0]
    heading = read_heading(file)
    assert heading.series_uid == scan.identity.series_uid
    if name == "SeriesNumber":
        assert heading.series_number is None
    sources = (Source(str(path), path, path.stat().st_size) for path in sorted(folder.iterdir()))
    assert len(Unread(UnreadableFile("refused"), sources=tuple(sources)).stored_images(3)) == 3
    assert facts_of(scan.headers[0]).scanner
    # Datasets for other libraries have no unreadable elements.
    dataset = dcmread(file)
    drop_unreadable(dataset)
    dataset.to_json_dict()


@pytest.mark.parametrize("value", WORDS)
def test_in_enhanced_files_too(value, tmp_path, errors):
    volume = enhanced(make_study("head", 7, None, "T1", "axial", GRID).scan)
    shared = volume.SharedFunctionalGroupsSequence[0]
    put(shared.MREchoSequence[0], "EffectiveEchoTime", "DS", value)
    put(shared.MRTimingAndRelatedParametersSequence[0], "RepetitionTime", "DS", value)
    put(shared.PixelMeasuresSequence[0], "SliceThickness", "DS", value)
    shared.FrameAnatomySequence = [Dataset()]
    put(shared.FrameAnatomySequence[0], "AnatomicRegionSequence", "LO", b"head")
    (file,) = folder_of([volume], tmp_path).iterdir()
    file.write_bytes(spliced(file.read_bytes(), "NumberOfFrames", "IS", value))
    (scan,) = read_scans(tmp_path, errors.append)
    assert len(scan) == 3
    assert not errors


@pytest.mark.parametrize(
    ("name", "kind", "value", "reason"),
    [
        ("Rows", "US", b"\1", "unreadable"),
        ("Columns", "US", b"", "unreadable"),
        ("BitsAllocated", "US", b"\1\0\0", "unreadable"),
        ("Rows", "US", b"\xff\xff", "limit_exceeded"),
        ("PixelSpacing", "DS", b"nan\\nan ", "geometry"),
        ("PixelSpacing", "DS", b"0.9 ", "geometry"),
        ("ImagePositionPatient", "DS", b"1\\2\\inf ", "geometry"),
        ("ImagePositionPatient", "DS", b"gone", "geometry"),
        ("ImageOrientationPatient", "DS", b"1\\0\\0", "geometry"),
    ],
)
def test_an_unreadable_required_value_is_one_error_per_series(
    whole, name, kind, value, reason, tmp_path, errors
):
    folder = changed(whole, name, kind, value, tmp_path)
    assert list(read_scans(folder, errors.append)) == []
    (error,) = errors
    assert name in str(error) or reason == "limit_exceeded"
    assert reason is None or error.reason == reason
    assert "Error" not in str(error)


def test_a_broken_slice_among_others_is_named(whole, tmp_path, errors):
    folder = changed(whole, "Rows", "US", b"\1", tmp_path, slice(0, 1))
    assert len(list(read_scans(folder, errors.append))) == 1
    (error,) = errors
    assert str(error).startswith(str(folder / "0.dcm"))


@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"n/a ", b"nan ", b"1e400 "])
def test_values_that_can_not_be_rescaled_alike(whole, name, value, tmp_path, errors):
    (scan,) = read_scans(changed(whole, name, "DS", value, tmp_path), errors.append)
    assert [warning.code for warning in scan.warnings] == ["rescale_unreadable"]
    assert name in scan.warnings[0].text
    np.testing.assert_array_equal(scan.voxels, whole[1].voxels)
    some = tmp_path / "some"
    some.mkdir()
    changed(whole, name, "DS", value, some, slice(1, 2))
    assert list(read_scans(some, errors.append)) == []
    assert f"{name} can't be read in 1 of 3 slices" in str(errors[0])
    assert len(errors) == 1


@pytest.mark.parametrize(
    "names",
    [
        ["PhotometricInterpretation"],
        ["SamplesPerPixel"],
        ["BitsStored", "HighBit"],
        ["PixelRepresentation"],
    ],
)
@pytest.mark.parametrize("word", [None, b"gray"])
def test_pixels_are_read_without_attributes_that_have_a_usual_value(
    whole, names, word, tmp_path, errors
):
    slices = [dcmread(io.BytesIO(data)) for data in whole[0]]
    for dataset in slices:
        for name in names:
            del dataset[name]
            if word and name == "PhotometricInterpretation":
                put(dataset, name, "CS", word)
    (scan,) = read_scans(folder_of(slices, tmp_path), errors.append)
    np.testing.assert_array_equal(scan.voxels, whole[1].voxels)


def test_a_sign_that_matters_is_asked_for(whole, tmp_path, errors):
    slices = [dcmread(io.BytesIO(data)) for data in whole[0]]
    for dataset in slices:
        pixels = dataset.pixel_array.copy()
        pixels[3, 4] = 2**dataset.BitsStored - 1
        dataset.PixelData = pixels.tobytes()
        del dataset.PixelRepresentation
    assert list(read_scans(folder_of(slices, tmp_path), errors.append)) == []
    (error,) = errors
    assert "PixelRepresentation" in str(error)


def test_values_by_hand():
    dataset = Dataset()
    put(dataset, "EchoTime", "DS", b"8\\9 ")
    put(dataset, "SeriesNumber", "IS", b"4294967296")
    put(dataset, "ImageType", "CS", b"ORIGINAL\\\\M ")
    put(dataset, "PatientAge", "AS", b"042Y")
    put(dataset, "AnatomicRegionSequence", "LO", b"head")
    assert number(dataset, "EchoTime") == 8
    assert number(dataset, "FlipAngle") is None
    assert whole_number(dataset, "SeriesNumber") is None
    assert texts(dataset, "ImageType") == ("ORIGINAL", "", "M")
    assert text(dataset, "PatientAge") == "042Y"
    assert list(items(dataset, "AnatomicRegionSequence")) == []
