"""Irregularities of real exports: shared or lost identities, rounding, jitter and duplicates."""

import copy

import numpy as np
import pytest
from PIL import Image

from meninx._errors import UnsupportedScan
from meninx._scan.kinds import kind_of
from meninx._scan.reading import read_scans
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from tests.scan.dicom_making import save, save_all, slices_of

GRID = grid_of("axial", (104, 120, 12), (1.9, 1.8, 6.0))


@pytest.fixture
def series():
    return slices_of(make_study("head", 7, None, "T1", "axial", GRID).scan)


@pytest.fixture
def other():
    """A series of another person."""
    return slices_of(make_study("head", 9, None, "T1", "axial", GRID).scan, 2)


def read(folder, errors):
    return list(read_scans(folder, errors.append))


def test_two_patients_of_one_series_uid_are_two_scans(series, other, tmp_path, errors):
    for dataset in other:
        dataset.StudyInstanceUID = series[0].StudyInstanceUID
        dataset.SeriesInstanceUID = series[0].SeriesInstanceUID
        dataset.SeriesNumber = series[0].SeriesNumber
        dataset.PatientID = "another"
    save_all([*series, *other], tmp_path)
    first, second = read(tmp_path, errors)
    assert not errors
    assert len(first) == len(second) == 12
    assert first.name != second.name
    assert first.identity.patient != second.identity.patient
    assert not set(first.identity.instance_uids) & set(second.identity.instance_uids)


def test_two_exams_of_one_series_uid_are_two_scans(series, other, tmp_path, errors):
    for dataset in other:
        dataset.PatientID = series[0].PatientID
        dataset.SeriesInstanceUID = series[0].SeriesInstanceUID
    save_all([*series, *other], tmp_path)
    found = read(tmp_path, errors)
    assert not errors
    assert len({scan.identity.study_uid for scan in found}) == 2


def _issuer(dataset):
    dataset.IssuerOfPatientID = "HOSPITAL"


def _padded(dataset):
    dataset.PatientID = f"00{dataset.PatientID}"


def _spelled(dataset):
    dataset.PatientName, dataset.PatientID = "DOE^JANE", ""


def _unnumbered(dataset):
    dataset.SeriesNumber = None


def _echo(dataset):
    dataset.EchoTime = float(dataset.EchoTime) * 1.02


EVERY_OTHER, LAST = slice(0, None, 2), slice(7, None)


@pytest.mark.parametrize(
    ("change", "attribute", "chosen"),
    [
        (_issuer, "PatientID", EVERY_OTHER),
        (_issuer, "PatientID", LAST),
        (_padded, "PatientID", EVERY_OTHER),
        (_spelled, "PatientName", LAST),
        (_unnumbered, "SeriesNumber", EVERY_OTHER),
        (_unnumbered, "SeriesNumber", LAST),
        (_echo, "EchoTime", EVERY_OTHER),  # one above the other they are two slabs
    ],
)
def test_a_series_whose_headers_contradict_each_other_is_one_scan(
    series, tmp_path, errors, change, attribute, chosen
):
    for dataset in series:
        dataset.PatientID = "" if change is _spelled else "12345"
        dataset.PatientName = "Doe^Jane"
    for dataset in series[chosen]:
        change(dataset)
    save_all(series, tmp_path)
    (scan,) = read(tmp_path, errors)
    assert not errors
    assert len(scan) == 12
    (warning,) = scan.warnings
    assert warning.code == "headers_contradict"
    assert attribute in warning.text


@pytest.mark.parametrize("attribute", ["PatientID", "StudyInstanceUID", "SeriesNumber"])
def test_slices_between_those_of_another_patient_are_incomplete(
    series, tmp_path, errors, attribute
):
    for dataset in series[::2]:
        setattr(dataset, attribute, "99")
    save_all(series, tmp_path)
    first, second = read(tmp_path, errors)
    assert not errors
    for scan in (first, second):
        (count,) = scan.incomplete
        assert (count.expected, count.received) == (12, 6)


@pytest.mark.parametrize("numbers", [("007", "7"), ("7", "7"), ("a1", "A1")])
@pytest.mark.parametrize("apart", [3.0, 72.0], ids=["between", "above"])
def test_patients_of_other_names_are_never_one_scan(
    series, other, tmp_path, errors, numbers, apart
):
    for number, (dataset, own) in enumerate(zip(series, other, strict=True)):
        own.StudyInstanceUID = dataset.StudyInstanceUID
        own.SeriesInstanceUID = dataset.SeriesInstanceUID
        own.SeriesNumber = dataset.SeriesNumber
        dataset.PatientID, own.PatientID = numbers
        dataset.PatientName, own.PatientName = "Doe^Jane", "Roe^Ann"
        own.IssuerOfPatientID = "H2"
        place = [*dataset.ImagePositionPatient]
        own.ImagePositionPatient = [place[0], place[1], place[2] + apart]
        own.InstanceNumber = number + 1
    save_all([*series, *other], tmp_path)
    found = read(tmp_path, errors)
    assert not errors
    assert [len(scan) for scan in found] == [12, 12]
    # Each has the gap that it states, so what lies between is another head's; above may be a half.
    assert [bool(scan.incomplete) for scan in found] == [apart > 3] * 2


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("AcquisitionTime", "101010.12"), ("AcquisitionNumber", None)],
)
def test_a_copy_that_writes_a_value_otherwise_is_a_copy(series, tmp_path, errors, attribute, value):
    for dataset in series:
        dataset.AcquisitionDate, dataset.AcquisitionTime = "20240101", "101010.120000"
        dataset.AcquisitionNumber = 1
    copies = copy.deepcopy(series[3:6])
    for dataset in copies:
        setattr(dataset, attribute, value)
    save_all(series, tmp_path / "a")
    save_all(copies, tmp_path / "b")
    (scan,) = read(tmp_path, errors)
    assert not errors
    assert len(scan) == 12


def test_cosines_of_no_plane_fail_their_own_series_alone(series, other, tmp_path, errors):
    for dataset in series:
        dataset.ImageOrientationPatient = [0] * 6
    save_all([*series, *other], tmp_path)
    (scan,) = read(tmp_path, errors)
    assert len(scan) == 12
    assert [error.reason for error in errors] == ["geometry"]
    assert "ImageOrientationPatient" in str(errors[0])


@pytest.mark.parametrize("attribute", ["EchoTime", "AcquisitionNumber"])
def test_images_of_one_uid_that_headers_tell_apart_are_no_copies(
    series, other, tmp_path, errors, attribute
):
    for place, both in enumerate(zip(series, other, strict=True)):
        for number, dataset in enumerate(both):
            dataset.StudyInstanceUID = series[0].StudyInstanceUID
            dataset.SeriesInstanceUID = series[0].SeriesInstanceUID
            dataset.SeriesNumber, dataset.PatientID = 1, "12345"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{place}"
            setattr(dataset, attribute, 10 + 5 * number)
    save_all([*series, *other], tmp_path)
    first, second = read(tmp_path, errors)
    assert not errors
    assert len(first) == len(second) == 12
    assert not np.array_equal(first.voxels, second.voxels)


@pytest.mark.parametrize("attribute", ["number", "description"])
def test_series_without_uid_are_split_by_other_attributes(
    series, other, tmp_path, errors, attribute
):
    for number, datasets in enumerate((series, other), 1):
        for dataset in datasets:
            dataset.PatientID, dataset.StudyInstanceUID = "1", "1.2.3"
            dataset.SeriesInstanceUID = ""
            dataset.SeriesNumber = number if attribute == "number" else 1
            dataset.SeriesDescription = f"T{number}" if attribute == "description" else "T1"
    save_all([*series, *other], tmp_path)
    assert [len(scan) for scan in read(tmp_path, errors)] == [12, 12]
    assert not errors


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("InversionTime", 2500.04, 2500.06), ("EchoTime", 98.345, 98.355), ("EchoTime", 2.9, 2.901)],
)
def test_times_that_jitter_are_one_contrast(series, tmp_path, errors, name, low, high):
    for number, dataset in enumerate(series):
        setattr(dataset, name, (low, high)[number % 2])
    save_all(series, tmp_path)
    (scan,) = read(tmp_path, errors)
    assert (len(scan), scan.warnings) == (12, ())


@pytest.mark.parametrize(
    ("name", "odd", "even"),
    [
        ("DiffusionBValue", 1000.4, 1000.0),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "M", "NORM"]),
        ("EchoNumbers", None, 1),
        ("EchoTime", None, 98.0),
        ("PixelSpacing", [1.79999, 1.89999], [1.80001, 1.90001]),
        ("RepetitionTime", 2000.01, 2000.0),
        ("AcquisitionNumber", 1, 2),
    ],
)
def test_values_that_change_from_slice_to_slice_are_jitter(
    series, tmp_path, errors, name, odd, even
):
    for number, dataset in enumerate(series):
        setattr(dataset, name, odd if number % 2 else even)
    save_all(series, tmp_path)
    (scan,) = read(tmp_path, errors)
    codes = ["other_contrast"] if name == "DiffusionBValue" else []
    assert (len(scan), [warning.code for warning in scan.warnings]) == (12, codes)


def test_two_echo_times_of_alternating_slices_stay_apart(series, tmp_path, errors):
    for number, dataset in enumerate(series):
        dataset.EchoTime = (10.0, 98.0)[number % 2]
    save_all(series, tmp_path)
    scans = read(tmp_path, errors)
    assert [len(scan) for scan in scans] == [6, 6]
    assert [scan.incomplete[0].expected for scan in scans] == [12, 12]


def test_halves_of_two_frames_of_reference_are_one_scan_with_a_warning(series, tmp_path, errors):
    for dataset in series:
        dataset.FrameOfReferenceUID = "1.2.3"
    for dataset in series[6:]:
        dataset.FrameOfReferenceUID = "1.2.4"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "FM3_2"]
    save_all(series, tmp_path)
    (scan,) = read(tmp_path, errors)
    assert len(scan) == 12
    (warning,) = scan.warnings
    assert warning.code == "headers_contradict"
    assert "FrameOfReferenceUID and ImageType" in warning.text


def test_two_echoes_of_one_number_are_two_scans(series, other, tmp_path, errors):
    for time, datasets in ((20.0, series), (80.0, other)):
        for number, dataset in enumerate(datasets):
            dataset.PatientID, dataset.StudyInstanceUID = "1", "1.2.3"
            dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.4", 1
            dataset.EchoTime, dataset.EchoNumbers = time, 1
            dataset.SOPInstanceUID = f"1.2.{int(time)}.{number}"
    save_all([*series, *other], tmp_path)
    assert [len(scan) for scan in read(tmp_path, errors)] == [12, 12]


def test_slices_sent_twice_count_once(series, tmp_path, errors):
    save_all(series, tmp_path / "a")
    for number, dataset in enumerate(series):
        dataset.SOPInstanceUID = f"1.2.826.{number}"
    save_all(series, tmp_path / "b")
    (scan,) = read(tmp_path, errors)
    assert len(scan) == 12
    assert [warning.code for warning in scan.warnings] == ["copies_dropped"]
    assert len(scan.identity.instance_uids) == 12


def test_two_images_of_one_place_are_an_error(series, tmp_path, errors):
    save_all(series, tmp_path / "a")
    for number, dataset in enumerate(series):
        dataset.SOPInstanceUID = f"1.2.826.{number}"
        dataset.PixelData = (dataset.pixel_array + 1).tobytes()
    save_all(series, tmp_path / "b")
    assert not read(tmp_path, errors)
    assert "their pixels differ" in str(errors[0])


def time_points(series, folder, count, change):
    """Write a series several times; `change` sets the values of each slice of each time."""
    for point in range(count):
        for number, dataset in enumerate(series):
            again = copy.deepcopy(dataset)
            again.SOPInstanceUID = f"1.2.{point}.{number}"
            change(again, point, number)
            save(again, folder / f"{number:03}-{point}.dcm")
    return folder


def _at(dataset, point, number):
    dataset.AcquisitionTime = f"1000{point:02}"


def _slice_by_slice(dataset, point, number):
    dataset.AcquisitionTime = f"10{point:02}{number * 3:02}.250"


def _over_midnight(dataset, point, number):
    dataset.AcquisitionDateTime = ("20260101235959", "20260102000030")[point] + f".{number:02}"


def _triggered(dataset, point, number):
    dataset.TriggerTime = 1500.0 * point


@pytest.mark.parametrize("change", [_at, _slice_by_slice, _over_midnight, _triggered])
@pytest.mark.parametrize("factor", [1, 2])
def test_time_points_without_a_tag_are_split_by_time(series, tmp_path, errors, change, factor):
    def brighter(dataset, point, number):
        change(dataset, point, number)
        dataset.PixelData = (dataset.pixel_array // factor**point).astype(np.uint16).tobytes()

    found = read(time_points(series, tmp_path, 2, brighter), errors)
    assert not errors
    assert [(len(scan), scan.warnings) for scan in found] == [(12, ())] * 2
    first, second = (scan.identity.instance_uids for scan in found)
    assert {uid.split(".")[2] for uid in first} == {"0"}
    assert {uid.split(".")[2] for uid in second} == {"1"}
    np.testing.assert_array_equal(found[0].voxels // factor, found[1].voxels)


def test_times_that_interleave_are_no_time_points(series, tmp_path, errors):
    def change(dataset, point, number):
        dataset.AcquisitionTime = f"10{number:02}{point:02}"
        dataset.PixelData = (dataset.pixel_array + point).tobytes()

    assert not read(time_points(series, tmp_path, 2, change), errors)
    assert "their pixels differ" in str(errors[0])


@pytest.mark.parametrize("dropped", [[5], [3, 8]])
def test_single_missing_slices_are_a_warning(series, tmp_path, errors, dropped):
    kept = [dataset for number, dataset in enumerate(series * 1) if number not in dropped]
    save_all(kept, tmp_path)
    found = read(tmp_path, errors)
    if len(dropped) == 1:
        (scan,) = found
        assert [warning.code for warning in scan.warnings] == ["missing_slices"]
        assert scan.positions_mm[5] == pytest.approx(36.0)
        # A voxel beyond the gap has the position of its header.
        position = np.array([float(value) for value in kept[7].ImagePositionPatient])
        np.testing.assert_allclose(scan.point_of((0, 0, 7)), position, atol=1e-3)
    else:  # two of twelve are more than a tenth
        assert not found
        assert "missing after slice" in str(errors[0])


def test_positions_rounded_to_a_tenth_are_accepted(series, tmp_path, errors):
    for number, dataset in enumerate(series):
        x, y, _ = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [round(x, 1), round(y, 1), round(number * 3.3125, 1)]
        dataset.SpacingBetweenSlices = "3.3125"
    save_all(series, tmp_path)
    (scan,) = read(tmp_path, errors)
    assert [warning.code for warning in scan.warnings] == ["uneven_spacing"]
    assert scan.slice_gap_mm == pytest.approx(3.3, abs=0.1)


@pytest.mark.parametrize("value", ["0.9", "0,9\\0,9", "0.9\\0.9\\0.9"])
def test_a_bad_pixel_spacing_is_one_error_per_series(series, tmp_path, errors, value):
    for number, dataset in enumerate(series):
        dataset.PixelSpacing = ["1.25", "1.25"]
        path = save(dataset, tmp_path / f"{number}.dcm")
        raw = path.read_bytes()
        old = b"\x28\x00\x30\x00DS\x0a\x001.25\\1.25 "
        new = value.encode() + b" " * (len(value) % 2)
        assert old in raw
        new = b"\x28\x00\x30\x00DS" + len(new).to_bytes(2, "little") + new
        path.write_bytes(raw.replace(old, new))
    assert not read(tmp_path, errors)
    (error,) = errors
    assert error.reason == "geometry"
    assert repr(value) in str(error)


@pytest.mark.parametrize(
    "dropped", [(), ("SpecificCharacterSet",), ("SpecificCharacterSet", "ImageType")]
)
def test_files_without_preamble_begin_with_any_element(series, tmp_path, errors, dropped):
    import pydicom

    for number, dataset in enumerate(series):
        plain = pydicom.Dataset()
        plain.update(
            {element.tag: element for element in dataset if element.keyword not in dropped}
        )
        with (tmp_path / f"IM{number:04}").open("wb") as file:
            pydicom.dcmwrite(
                file, plain, implicit_vr=True, little_endian=True, enforce_file_format=False
            )
    (scan,) = read(tmp_path, errors)
    assert len(scan) == 12


def test_pictures_are_read_as_they_are_shown(tmp_path, errors):
    gray = Image.fromarray((np.arange(96 * 80) % 251).reshape(96, 80).astype(np.uint8))
    gray.save(tmp_path / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed rotated by 90 degrees, clockwise
    gray.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "1.png", exif=exif)
    plain, turned = read(tmp_path, errors)
    np.testing.assert_array_equal(plain.voxels, turned.voxels)


def test_white_may_be_zero_in_16_bits_too(tmp_path, errors):
    values = np.linspace(0, 60000, 96 * 80).reshape(96, 80).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "0.tif")
    Image.fromarray(65535 - values).save(tmp_path / "1.tif", tiffinfo={262: 0})
    plain, inverted = read(tmp_path, errors)
    np.testing.assert_array_equal(plain.voxels, inverted.voxels)


@pytest.mark.parametrize("kind", ["gif", "jp2"])
def test_other_pictures_are_read(tmp_path, errors, kind):
    Image.fromarray((np.arange(96 * 80) % 251).reshape(96, 80).astype(np.uint8)).save(
        tmp_path / f"slice.{kind}"
    )
    (scan,) = read(tmp_path, errors)
    assert scan.voxels.shape == (80, 96, 1)


@pytest.mark.parametrize(
    ("name", "head", "what"),
    [
        ("1.mat", b"MATLAB", "MATLAB"),
        ("T1.mnc", b"CDF", "mnc2nii"),
        ("T1.h5", b"\x89HDF", "HDF5"),
        ("T1.npy", b"\x93NUMPY", "Nifti1Image"),
        ("T1+orig.BRIK", b"", "3dAFNItoNIFTI"),
        ("study.7z", b"7z\xbc\xaf", "7z x"),
        ("study.rar", b"Rar!", "rar"),
        ("t1.nii.bz2", b"BZh", "packed as .bz2"),
        ("IM0.dcm.xz", b"\xfd7zXZ", "packed as .xz"),
        ("flair.nii.zst", b"\x28\xb5\x2f\xfd", "packed as .zst"),
        ("t1.mif", b"mrtrix image", "mrconvert"),
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic", "save it as PNG"),
        ("study.tar.zst", b"\x28\xb5\x2f\xfd", "unpack it"),
        ("study.z01", b"PK\3\4", "a part of a split archive"),
        ("study.zip.002", b"", "a part of a split archive"),
        ("study.zip", b"<html>", "not a zip, despite its name"),
    ],
)
def test_unsupported_formats_are_reported_with_advice(name, head, what):
    with pytest.raises(UnsupportedScan, match=what) as caught:
        kind_of(head + bytes(600), name)
    assert caught.value.reason == "other_format"


def test_an_undecodable_name_is_escaped(tmp_path, errors):
    folder = tmp_path / "pictures"
    folder.mkdir()
    path = folder / b"M\xfcller.png".decode("utf-8", "surrogateescape")
    Image.fromarray((np.arange(96 * 80) % 251).reshape(96, 80).astype(np.uint8)).save(path)
    (scan,) = read(folder, errors)
    assert scan.name.endswith("M\\xfcller.png")
    assert scan.name.encode("utf-8")


@pytest.mark.parametrize("suffix", ["MR", "acr", "img", "xyz"])
def test_dicom_without_preamble_is_read_under_any_name(series, tmp_path, errors, suffix):
    for path in sorted(save_all(series, tmp_path / "whole").iterdir()):
        (tmp_path / f"{path.stem}.{suffix}").write_bytes(path.read_bytes()[132:])
        path.unlink()
    (scan,) = read(tmp_path, errors)
    assert not errors
    assert len(scan) == 12
