"""Missing instances of a series are counted on each of its scans."""

import gzip
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from meninx._scan.completeness import Incomplete
from meninx._scan.reading import read_files, read_scans
from meninx._scan.scan import Scan
from meninx._synthesis.writing import write_dicom
from tests.scan.dicom_making import enhanced, save, slices_of

SLICES = 9


@pytest.fixture
def series(tiny_scan, tmp_path):
    """Nine slices with names like a scanner's."""
    write_dicom(tiny_scan, tmp_path / "dicom", 3)
    folder = tmp_path / "series"
    folder.mkdir()
    for number, file in enumerate(sorted((tmp_path / "dicom").iterdir()), 1):
        file.rename(folder / f"IM{number:04d}")
    return folder


def cut_in_the_header(file):
    data = file.read_bytes()
    file.write_bytes(data[: data.index(b"\x28\x00\x10\x00")])


def cut_at_the_start(file):
    file.write_bytes(file.read_bytes()[:200])


def empty(file):
    file.write_bytes(b"")


def holes(file):
    file.write_bytes(bytes(file.stat().st_size))


def unlinked(file):
    file.unlink()
    file.symlink_to("/nowhere/at/all")


def packed_and_cut(file):
    data = gzip.compress(file.read_bytes())
    file.write_bytes(data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    "damage", [cut_in_the_header, cut_at_the_start, empty, holes, unlinked, packed_and_cut]
)
def test_a_series_with_unreadable_slices_at_its_end_is_incomplete(series, read_all, errors, damage):
    for number in (8, 9):
        damage(series / f"IM{number:04d}")
    (scan,) = read_all(series)
    assert scan.voxels.shape[2] == SLICES - 2
    assert scan.incomplete == (Incomplete("files of the series", SLICES, SLICES - 2),)
    # Truncated headers are reported once per series.
    assert {error.place for error in errors} in (
        {str(series / "IM0008"), str(series / "IM0009")},
        {errors[0].place},
    )


def test_a_slice_whose_header_names_its_series_is_missing_there_alone(
    tiny_scan, series, tmp_path, read_all
):
    write_dicom(tiny_scan, tmp_path / "other", 4)
    for file in (tmp_path / "other").iterdir():
        file.rename(series / f"X{file.stem}")
    cut_in_the_header(series / "IM0009")
    assert sorted(bool(scan.incomplete) for scan in read_all(series)) == [False, True]


def test_files_of_other_names_are_no_slices(series, read_all, errors):
    (series / "README").write_bytes(b"")
    (series / "preview.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    (series.parent / "IM0010").write_bytes(b"")
    (scan,) = read_all(series)
    assert scan.incomplete == ()
    assert [error.place for error in errors] == [str(series / "preview.png")]


def test_files_of_a_unit_are_held_together_too(series):
    files = sorted(series.iterdir())
    cut_at_the_start(files[-1])
    (scan,) = (found for found in read_files(files) if isinstance(found, Scan))
    assert scan.incomplete[0].received == SLICES - 1


def set_in(series, last, **values):
    """Give the first slices these values, and remove the others."""
    for number, file in enumerate(sorted(series.iterdir()), 1):
        if number > last:
            file.unlink()
            continue
        dataset = pydicom.dcmread(file)
        for name, value in values.items():
            setattr(dataset, name, value)
        dataset.save_as(file)


@pytest.mark.parametrize(
    ("last", "values", "incomplete"),
    [
        (6, {"ImagesInAcquisition": SLICES}, [("images of the acquisition", SLICES, 6)]),
        (SLICES, {"ImagesInAcquisition": SLICES}, []),
        (
            6,
            {"ImagesInAcquisition": 4},
            [],
        ),  # larger instance numbers: the count means something else
        (
            6,
            {"ImagesInAcquisition": SLICES, "ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"]},
            [],
        ),
        (5, {"NumberOfSeriesRelatedInstances": SLICES}, [("instances of the series", SLICES, 5)]),
        (5, {"NumberOfTemporalPositions": 3}, []),
        (5, {"ImagesInAcquisition": 0}, []),
    ],
)
def test_counts_in_headers_are_compared_with_the_received_files(
    series, read_all, last, values, incomplete
):
    set_in(series, last, **values)
    (scan,) = read_all(series)
    assert scan.incomplete == tuple(Incomplete(*count) for count in incomplete)


def by_turns(number):
    return 1 + number % 2


def one_above_the_other(number):
    return 1 + number // 5


def number_acquisitions(folder, acquisition):
    for number, file in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.AcquisitionNumber = acquisition(number)
        dataset.save_as(file)


@pytest.mark.parametrize("received", [SLICES, SLICES - 2])
def test_two_acquisitions_by_turns_are_counted_together(series, read_all, received):
    set_in(series, received, ImagesInAcquisition=SLICES)
    number_acquisitions(series, by_turns)
    (scan,) = read_all(series)
    lacking = Incomplete("images of the acquisition", SLICES, received)
    assert scan.incomplete == (lacking,) * (received < SLICES)


def test_two_slabs_are_counted_apart(series, read_all):
    """The inner halves of two slabs are as many slices as each promises."""
    set_in(series, SLICES, ImagesInAcquisition=SLICES)
    number_acquisitions(series, one_above_the_other)
    (scan,) = read_all(series)
    assert {count.received for count in scan.incomplete} == {5, SLICES - 5}


def test_two_time_points_of_the_same_places_are_counted_apart(tiny_scan, tmp_path, read_all):
    for point in (1, 2):
        for number, dataset in enumerate(slices_of(tiny_scan)[2:], 1):
            dataset.AcquisitionNumber = point
            dataset.ImagesInAcquisition = SLICES
            dataset.SOPInstanceUID = f"1.2.3.{point}.{number}"
            save(dataset, tmp_path / f"{point}-{number}.dcm")
    lacking = Incomplete("images of the acquisition", SLICES, SLICES - 2)
    assert [scan.incomplete for scan in read_all(tmp_path)] == [(lacking,)] * 2


def philips(dataset):
    block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x18, "SL", SLICES)


def general_electric(dataset):
    block = dataset.private_block(0x0021, "GEMS_RELA_01", create=True)
    block.add_new(0x4F, "SS", SLICES)


def number_of_slices(dataset):
    dataset.NumberOfSlices = SLICES


def derived(dataset):
    number_of_slices(dataset)
    dataset.ImageType = ["DERIVED", "SECONDARY", "MPR"]


@pytest.mark.parametrize(
    ("change", "count"),
    [(philips, 1), (general_electric, 1), (number_of_slices, 1), (derived, 0)],
)
@pytest.mark.parametrize("echoes", [1, 2])
def test_counts_of_slices_are_compared_with_the_positions(
    tiny_scan, tmp_path, read_all, change, count, echoes
):
    for echo in range(echoes):
        for number, dataset in enumerate(slices_of(tiny_scan)[2:]):
            change(dataset)
            dataset.EchoNumbers = echo + 1
            dataset.SOPInstanceUID = f"1.2.3.{echo}.{number + 1}"
            save(dataset, tmp_path / f"{echo}-{number}.dcm")
    scans = read_all(tmp_path)
    assert len(scans) == echoes
    lacking = (Incomplete("slices of the series", SLICES, SLICES - 2),) * count
    assert [scan.incomplete for scan in scans] == [lacking] * echoes


def test_a_count_that_headers_disagree_about_is_no_promise(series, read_all):
    set_in(series, 6, NumberOfSeriesRelatedInstances=SLICES)
    file = series / "IM0003"
    dataset = pydicom.dcmread(file)
    dataset.NumberOfSeriesRelatedInstances = 7
    dataset.save_as(file)
    (scan,) = read_all(series)
    assert scan.incomplete == ()


def test_a_part_of_a_concatenation_is_incomplete(tiny_scan, tmp_path, read_all):
    dataset = enhanced(tiny_scan)
    dataset.ConcatenationUID, dataset.InConcatenationTotalNumber = "1.2.3.7", 2
    save(dataset, tmp_path / "a.dcm")
    (scan,) = read_all(tmp_path)
    assert scan.incomplete == (Incomplete("parts of the concatenation", 2, 1),)


@pytest.mark.parametrize(
    ("parts", "values", "expected"),
    [
        ([2], {}, 2),
        ([2], {"InConcatenationNumber": None}, 2),
        ([2], {"ConcatenationFrameOffsetNumber": None}, 2),
        ([2, 3], {"ConcatenationUID": ""}, 3),
        ([1], {}, None),  # whether there is a second part, nothing says
        ([1, 2, 3], {}, None),
    ],
)
def test_parts_of_a_concatenation_without_a_total_are_counted(
    tiny_scan, tmp_path, read_all, parts, values, expected
):
    for part in parts:
        frames = range(3 * part - 3, 3 * part)
        dataset = enhanced(replace(tiny_scan, voxels=tiny_scan.voxels[:, :, frames]))
        for frame, item in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
            place = slices_of(tiny_scan)[frame].ImagePositionPatient
            item.PlanePositionSequence[0].ImagePositionPatient = place
        dataset.SOPInstanceUID = f"1.2.3.4.{part}"
        dataset.ConcatenationUID, dataset.InConcatenationNumber = "1.2.3.7", part
        dataset.ConcatenationFrameOffsetNumber = 3 * part - 3
        for name, value in values.items():
            setattr(dataset, name, value)
        save(dataset, tmp_path / f"{part}.dcm")
    counts = [count for scan in read_all(tmp_path) for count in scan.incomplete]
    received = len(parts)
    assert counts == [Incomplete("parts of the concatenation", expected, received)] * bool(expected)


def test_frames_beyond_those_promised_are_not_left_out_in_silence(series, read_all, errors):
    file = series / "IM0004"
    dataset = pydicom.dcmread(file)
    dataset.PixelData = dataset.PixelData * 2
    dataset.save_as(file)
    assert read_all(series) == []
    assert "whole frames would be left out" in str(errors[0])


def record(kind, **values):
    found = pydicom.Dataset()
    found.DirectoryRecordType = kind
    for name, value in values.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def medium(tiny_scan, tmp_path):
    """A folder with two series and the DICOMDIR that lists them."""
    records = [record("PATIENT", PatientID="p"), record("STUDY", StudyInstanceUID="1.2")]
    for seed in (5, 6):
        folder = tmp_path / f"medium/IMAGES/SER{seed}"
        write_dicom(tiny_scan, folder, seed)
        for number, file in enumerate(sorted(folder.iterdir())):
            dataset = pydicom.dcmread(file)
            if not number:
                records.append(record("SERIES", SeriesInstanceUID=dataset.SeriesInstanceUID))
            uid = dataset.SOPInstanceUID
            records.append(record("IMAGE", ReferencedSOPInstanceUIDInFile=uid))
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = "1.2.9"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    directory.DirectoryRecordSequence = records
    directory.save_as(tmp_path / "medium/DICOMDIR", enforce_file_format=True)
    return tmp_path / "medium"


def images(medium):
    return sorted(file for file in medium.rglob("*") if file.is_file() and file.name != "DICOMDIR")


def test_a_medium_that_was_copied_whole_is_complete(medium, read_all, errors):
    scans = read_all(medium)
    assert ([scan.incomplete for scan in scans], errors) == ([(), ()], [])


def test_images_that_only_the_directory_has_are_missing(medium, read_all, errors):
    for file in images(medium)[:2]:
        file.unlink()
    counts = {scan.incomplete for scan in read_all(medium)}
    assert counts == {(), (Incomplete("images listed in DICOMDIR", SLICES, SLICES - 2),)}
    assert errors == []


def test_a_series_that_only_the_directory_has_is_reported(medium, errors):
    for file in images(medium)[:SLICES]:
        file.unlink()
    scans = list(read_scans(medium, errors.append))
    assert len(scans) == 1
    assert np.all([scan.incomplete == () for scan in scans])
    (error,) = errors
    assert (error.place, error.reason) == (str(medium / "DICOMDIR"), "not_found")
    assert "lists 9 images of 1 series that are not here" in str(error)
