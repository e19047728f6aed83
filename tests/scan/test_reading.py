import gzip
import io
import warnings
import zipfile

import numpy as np
import pydicom
import pytest
from PIL import Image

from meninx._errors import InputError, SeveralInputErrors, UnreadableFile
from meninx._scan.limits import Limits
from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_each, read_scans
from meninx._scan.unread import Unread
from meninx._synthesis.writing import write_dicom


@pytest.fixture
def mixed(tiny_scan, tmp_path):
    """A folder with a series, a volume, a picture and other files."""
    folder = tmp_path / "mixed"
    write_dicom(tiny_scan, folder / "series", 1)
    write_nifti(tiny_scan.voxels.astype(np.int16), tiny_scan, folder / "t1.nii.gz")
    Image.fromarray(np.arange(63, dtype=np.uint8).reshape(9, 7)).save(folder / "a.png")
    (folder / "LICENSE").write_text("words")
    (folder / "data.csv").write_text("a,b\n1,2\n")
    (folder / ".hidden.png").write_bytes(b"nothing")
    return folder


def test_a_mixed_folder_gives_each_scan(mixed):
    names = [scan.name for scan in read_scans(mixed)]
    assert names == [str(mixed / name) for name in ("a.png", "t1.nii.gz", "series")]


def test_scans_are_read_when_asked_for(mixed):
    scans = read_scans(mixed)
    assert next(scans).name == str(mixed / "a.png")
    (mixed / "t1.nii.gz").unlink()
    with pytest.raises(UnreadableFile, match=r"t1\.nii\.gz"):
        list(scans)


def test_a_zip_of_shuffled_renamed_files_is_the_folder(mixed, tmp_path):
    path = tmp_path / "study.zip"
    files = sorted(file for file in (mixed / "series").iterdir())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, index in enumerate(np.random.default_rng(0).permutation(len(files))):
            archive.write(files[index], f"x{number}/im")
    (zipped,) = read_scans(path)
    (unpacked,) = read_scans(mixed / "series")
    np.testing.assert_array_equal(zipped.voxels, unpacked.voxels)
    np.testing.assert_array_equal(zipped.affine, unpacked.affine)


def test_files_of_one_name_in_a_zip_are_all_read(mixed, tiny_scan, tmp_path):
    write_dicom(tiny_scan, tmp_path / "other", 2)
    path = tmp_path / "flat.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of names that it has already
        for folder in (mixed / "series", tmp_path / "other"):
            for number, file in enumerate(sorted(folder.iterdir())):
                archive.write(file, f"IM{number}.dcm")
    first, second = read_scans(path)
    assert len(first) == len(second)
    assert not set(first.identity.instance_uids) & set(second.identity.instance_uids)


def test_a_zip_entry_of_an_unknown_method_is_reported_by_its_method(mixed, tmp_path):
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((mixed / "series").iterdir()):
            archive.write(file, file.name)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2") + 10
    data[at : at + 2] = (93).to_bytes(2, "little")
    path.write_bytes(data)
    errors = []
    (scan,) = read_scans(path, errors.append)
    assert errors[0].reason == "other_format"
    assert "method 93 of zip" in str(errors[0])
    assert scan.incomplete


def test_errors_wait_until_all_good_scans_are_read(mixed):
    (mixed / "0-broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk")
    scans = read_scans(mixed)
    assert len([next(scans) for _ in range(3)]) == 3
    with pytest.raises(UnreadableFile, match="0-broken"):
        next(scans)


def test_several_errors_are_raised_as_one(mixed):
    for name in ("x.png", "y.dcm"):
        (mixed / name).write_bytes(b"")
    with pytest.raises(SeveralInputErrors) as caught:
        list(read_scans(mixed))
    assert [type(error) for error in caught.value.errors] == [UnreadableFile] * 2


def test_two_studies_in_one_folder_are_separated(tiny_scan, tmp_path):
    for seed in (1, 2):
        write_dicom(tiny_scan, tmp_path / f"case-{seed}", seed)
    assert {scan.name for scan in read_scans(tmp_path)} == {
        str(tmp_path / "case-1"),
        str(tmp_path / "case-2"),
    }


def zipped(tmp_path, name, data):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return path


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(63, dtype=np.uint8).reshape(9, 7)).save(buffer, "png")
    return buffer.getvalue()


def hostile_files(folder, tiny_scan):
    """Yield a name and a reason for each of 20 bad inputs, written into a folder."""
    write_dicom(tiny_scan, folder / "good", 1)
    good = (folder / "good" / "0001.dcm").read_bytes()
    pixels = good.index(b"\xe0\x7f\x10\x00")
    dataset = pydicom.dcmread(folder / "good" / "0001.dcm")
    image = io.BytesIO()
    nifti = folder / "good.nii"
    write_nifti(tiny_scan.voxels.astype(np.float32), tiny_scan, nifti)
    volume = bytearray(nifti.read_bytes())
    several = bytearray(volume)
    several[40:42], several[48:50] = (4).to_bytes(2, "little"), (5).to_bytes(2, "little")
    nan = volume[:352] + np.full(504, np.nan, np.float32).tobytes()
    wrong_dims = bytearray(volume)
    wrong_dims[42:44] = (30000).to_bytes(2, "little")
    Image.fromarray(np.full((90, 95), 7, np.uint8)).save(image, "png")
    yield "empty.dcm", b"", "unreadable"
    yield "empty.png", b"", "unreadable"
    yield "text.dcm", b"these are words, not an image\n" * 20, "unreadable"
    yield "text.nii.gz", b"words", "unreadable"
    yield "zeros.nii", bytes(400), "unreadable"
    yield "cut-in-header.dcm", good[:300], "unreadable"
    yield "cut-in-pixels.dcm", good[: pixels + 30], "unreadable"
    yield "no-pixels.dcm", good[:pixels], "unreadable"
    yield "cut.png", png()[:50], "unreadable"
    yield "bad-crc.png", png().replace(b"IDAT", b"IDAX"), "unreadable"
    yield "constant.png", image.getvalue(), "blank"
    yield "cut.nii", bytes(volume[:600]), "unreadable"
    yield "cut.nii.gz", gzip.compress(bytes(volume))[:200], "unreadable"
    yield "not-a-number.nii", bytes(nan), "not_finite"
    yield "several.nii", bytes(several), "several_volumes"
    yield "wrong-dims.nii", bytes(wrong_dims), "unreadable"
    yield "huge.png", huge_png(), "limit_exceeded"
    dataset.SOPClassUID, dataset.Modality = pydicom.uid.CTImageStorage, "CT"
    yield "ct.dcm", as_bytes(dataset), "not_mr"
    dataset.SOPClassUID, dataset.Modality = pydicom.uid.MRImageStorage, "MR"
    dataset.Rows = 200
    yield "rows-lie.dcm", as_bytes(dataset), "unreadable"
    dataset.NumberOfFrames = 2_000_000_000
    yield "frames-lie.dcm", as_bytes(dataset), "limit_exceeded"


def as_bytes(dataset):
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def huge_png():
    """A valid header that promises 65,535 x 65,535 pixels, and ten bytes."""
    import struct
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 65535, 65535, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(10))


def test_hostile_files_are_typed_one_by_one_and_together(tiny_scan, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    expected = {}
    for name, data, reason in hostile_files(tmp_path, tiny_scan):
        (bad / name).write_bytes(data)
        expected[str(bad / name)] = reason
    assert len(expected) == 20
    alone = {}
    for name in expected:
        with pytest.raises(InputError) as caught:
            list(read_scans(name))
        assert caught.value.__class__ is not InputError
        alone[caught.value.place] = caught.value.reason
    assert alone == expected
    errors = []
    (bad / "good.png").write_bytes(png())
    scans = list(read_scans(bad, errors.append))
    assert [scan.name for scan in scans] == [str(bad / "good.png")]
    assert len(errors) >= 15  # files of one DICOM series are one scan


@pytest.mark.parametrize(
    ("name", "reason"),
    [("../../escape.png", "unsafe_path"), ("/etc/escape.png", "unsafe_path")],
)
def test_no_entry_leaves_the_zip(tmp_path, name, reason):
    path = zipped(tmp_path, name, png())
    with pytest.raises(UnreadableFile) as caught:
        list(read_scans(path))
    assert caught.value.reason == reason


def test_bombs_stop_at_the_limits(tmp_path):
    path = zipped(tmp_path, "a.nii", bytes(30_000_000))
    with pytest.raises(InputError, match="unpacks to"):
        list(read_scans(path))
    with pytest.raises(InputError, match="entries: 1, the limit is 0"):
        list(read_scans(path, limits=Limits(zip_entries=0)))
    with pytest.raises(InputError, match="bytes unpacked"):
        list(read_scans(path, limits=Limits(zip_bytes=1000)))


def test_a_zip_in_a_zip_is_not_opened(tmp_path):
    inner = zipped(tmp_path, "a.png", png()).read_bytes()
    with pytest.raises(InputError) as caught:
        list(read_scans(zipped(tmp_path, "inner.zip", inner)))
    assert caught.value.reason == "nested_zip"


def test_an_encrypted_entry_is_named(tmp_path):
    path = zipped(tmp_path, "a.png", png())
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"a\.png: encrypted"):
        list(read_scans(path))


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(UnreadableFile, match="no such file"):
        list(read_scans(tmp_path / "nowhere"))
    with pytest.raises(UnreadableFile, match="no picture, NIfTI or DICOM"):
        list(read_scans(tmp_path))


def test_the_number_of_files_is_limited(mixed):
    with pytest.raises(InputError, match=r"limits\.files"):
        list(read_scans(mixed, limits=Limits(files=3)))


def test_a_dicomdir_alone_is_named(tmp_path):
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    directory.FileSetID = "X"
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(UnreadableFile, match="no picture, NIfTI or DICOM"):
        list(read_scans(tmp_path / "DICOMDIR"))


def test_files_of_other_kinds_are_passed_over(mixed):
    with zipfile.ZipFile(mixed / "sheet.xlsx", "w") as archive:
        archive.writestr("x", "y")
    (mixed / "bmi.csv").write_text("BMI,age\n22,40\n")
    (mixed / "model.bin").write_bytes(b"\x08\0\0\0" + bytes(2000))
    (mixed / "log.gz").write_bytes(gzip.compress(b"words"))
    assert len(list(read_scans(mixed))) == 3


def test_a_packed_volume_by_any_name_is_read(mixed):
    (mixed / "t1.nii.gz").rename(mixed / "brain.nii")
    assert str(mixed / "brain.nii") in [scan.name for scan in read_scans(mixed)]


@pytest.mark.parametrize(
    ("offset", "value"),
    [(108, np.float32(100)), (116, np.float32(np.nan)), (70, np.int16(9999))],
    ids=["vox_offset", "scl_inter", "datatype"],
)
def test_errors_of_nibabel_are_translated_and_other_scans_are_read(
    tiny_scan, tmp_path, offset, value
):
    write_nifti(tiny_scan.voxels.astype(np.float32), tiny_scan, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[offset : offset + value.nbytes] = value.tobytes()
    if offset == 116:
        data[112:116] = np.float32(2).tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    (tmp_path / "b.png").write_bytes(png())
    errors = []
    scans = list(read_scans(tmp_path, errors.append))
    assert [scan.name for scan in scans] == [str(tmp_path / "b.png")]
    assert isinstance(errors[0], InputError)


def test_a_deflated_bomb_stops_at_the_limit(tiny_scan, tmp_path):
    write_dicom(tiny_scan, tmp_path / "s", 1)
    dataset = pydicom.dcmread(tmp_path / "s" / "0001.dcm")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.add_new((0x0009, 0x0010), "LO", "x")
    dataset.add_new((0x0009, 0x1001), "OB", bytes(30_000_000))
    dataset.save_as(tmp_path / "bomb.dcm")
    assert (tmp_path / "bomb.dcm").stat().st_size < 100_000
    with pytest.raises(InputError, match=r"bytes unpacked: .* limits\.file_bytes|bytes unpacked"):
        list(read_scans(tmp_path / "bomb.dcm", limits=Limits(file_bytes=10_000_000)))


def test_images_of_a_refused_series_are_read_as_they_are_stored(tmp_path, sick, healthy):
    files = write_dicom(sick.scan, tmp_path / "a", 7)
    write_dicom(healthy.scan, tmp_path / "b", 8)
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]
        if file == files[0]:
            dataset.InstanceNumber = 99
        dataset.save_as(file)
    refused, other = read_each(tmp_path)
    assert isinstance(refused, Unread)
    assert refused.error.reason == "derived"
    assert len(refused.sources) == len(files)
    assert refused.identity.series_number == dataset.SeriesNumber
    files[1].write_bytes(files[1].read_bytes()[:2000])
    found = refused.stored_images(3)
    # Evenly spread, by InstanceNumber, without a truncated file.
    kept = [*range(2, len(files)), 0]
    step = len(kept) / 3
    for number, image in enumerate(found):
        index = kept[int(number * step)]
        assert np.abs(image - sick.scan.voxels[..., index].T).max() < 1
    assert len(found) in (2, 3)
    assert not isinstance(other, Unread)
    assert [len(header.PixelData) for header in other.headers if "PixelData" in header] == []
    assert len(other.headers) == len(other)
