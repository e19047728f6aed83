"""One volume in every format gives the same scan, from every container."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image

from meninx._errors import InputError
from meninx._scan.geometry import RAS_TO_LPS
from meninx._scan.limits import Limits
from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_files, read_scans
from meninx._synthesis.writing import write_dicom


@pytest.fixture
def stored(tiny_scan):
    """16-bit integers, axes [i, j, k]."""
    return tiny_scan.voxels.astype(np.int16)


@pytest.fixture
def as_nifti(tiny_scan, stored, tmp_path):
    write_nifti(stored, tiny_scan, tmp_path / "oracle" / "T2.nii")
    (scan,) = read_scans(tmp_path / "oracle")
    return scan


def same(scan, oracle):
    np.testing.assert_array_equal(scan.voxels, oracle.voxels)
    np.testing.assert_allclose(scan.affine, oracle.affine, atol=1e-3)
    assert (scan.sequence, scan.view, scan.warnings) == (oracle.sequence, oracle.view, ())


def by_itk(path, stored, affine, **options):
    """Write a volume by SimpleITK, which uses LPS too."""
    image = SimpleITK.GetImageFromArray(stored.transpose(2, 1, 0))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), **options)


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("suffix", ["mgh", "mgz"])
def test_mgh_is_nifti(stored, as_nifti, tmp_path, suffix, kind):
    stored = (stored // 16).astype(kind)
    path = tmp_path / f"T2.{suffix}"
    nibabel.save(nibabel.MGHImage(stored, RAS_TO_LPS @ as_nifti.affine), path)
    (scan,) = read_scans(path)
    np.testing.assert_array_equal(scan.voxels, stored)
    np.testing.assert_allclose(scan.affine, as_nifti.affine, atol=1e-3)
    assert (scan.sequence, scan.warnings) == ("T2", ())


def test_mgh_without_orientation_causes_a_warning(stored, tmp_path):
    nibabel.save(nibabel.MGHImage(stored, np.eye(4)), tmp_path / "T2.mgh")
    data = bytearray((tmp_path / "T2.mgh").read_bytes())
    data[28:30] = bytes(2)  # goodRASFlag
    (tmp_path / "T2.mgh").write_bytes(data)
    (scan,) = read_scans(tmp_path)
    assert [warning.code for warning in scan.warnings] == ["orientation_doubtful"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_nifti_pair_is_one_scan(stored, as_nifti, tmp_path, packed):
    folder = tmp_path / "pair"
    folder.mkdir()
    nibabel.save(nibabel.Nifti1Pair(stored, RAS_TO_LPS @ as_nifti.affine), folder / "T2.hdr")
    if packed:
        (folder / "T2.img.gz").write_bytes(gzip.compress((folder / "T2.img").read_bytes()))
        (folder / "T2.img").unlink()
    (scan,) = read_scans(folder)
    same(scan, as_nifti)
    (alone,) = read_scans(folder / "T2.hdr")
    same(alone, as_nifti)
    if not packed:
        (by_voxels,) = read_scans(folder / "T2.img")
        same(by_voxels, as_nifti)


def test_an_analyze_pair_is_read_with_a_warning(tmp_path):
    stored = np.arange(7 * 8 * 9, dtype=np.int16).reshape(7, 8, 9)
    # Analyze as in nibabel: i to the patient's left, origin in the middle of the volume.
    affine = np.diag([-1.1, 1.3, 2.7, 1])
    affine[:3, 3] = -affine[:3, :3] @ [3, 3.5, 4]
    image = nibabel.AnalyzeImage(stored, affine)
    nibabel.save(image, tmp_path / "T1.img")
    (scan,) = read_scans(tmp_path)
    oracle = nibabel.load(tmp_path / "T1.img")
    np.testing.assert_array_equal(scan.voxels, stored)
    np.testing.assert_allclose(scan.affine, RAS_TO_LPS @ oracle.affine, atol=1e-5)
    assert [warning.code for warning in scan.warnings] == ["orientation_doubtful"]
    assert scan.view.plane == "axial"


@pytest.mark.parametrize(("orient", "plane"), [(0, "axial"), (1, "coronal"), (2, "sagittal")])
def test_analyze_headers_define_the_plane(tmp_path, orient, plane):
    stored = np.arange(7 * 8 * 9, dtype=np.int16).reshape(7, 8, 9)
    nibabel.save(nibabel.AnalyzeImage(stored, np.diag([1.1, 1.3, 2.7, 1])), tmp_path / "T1.img")
    header = bytearray((tmp_path / "T1.hdr").read_bytes())
    header[252] = orient
    (tmp_path / "T1.hdr").write_bytes(header)
    (scan,) = read_scans(tmp_path)
    assert scan.view.plane == plane
    oracle = SimpleITK.ReadImage(str(tmp_path / "T1.img"))
    spacing = np.array(oracle.GetSpacing())
    np.testing.assert_allclose(scan.spacing_mm, spacing, atol=1e-5)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ASCII"])
@pytest.mark.parametrize("space", ["left-posterior-superior", "RAS", "left-anterior-superior"])
def test_nrrd_is_nifti(stored, as_nifti, tmp_path, encoding, space):
    signs = {"left-posterior-superior": (1, 1), "RAS": (-1, -1), "left-anterior-superior": (1, -1)}
    affine = np.diag([*signs[space], 1, 1]) @ as_nifti.affine
    header = {
        "space": space,
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
        "encoding": encoding,
        "kinds": ["domain"] * 3,
        "endian": "big",
    }
    path = tmp_path / "T2.nrrd"
    nrrd.write(str(path), stored.astype(">i2"), header)
    (scan,) = read_scans(path)
    same(scan, as_nifti)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
@pytest.mark.parametrize("packed", [False, True])
def test_pairs_written_by_itk_are_read(stored, as_nifti, tmp_path, suffix, packed):
    by_itk(tmp_path / f"T2.{suffix}", stored, as_nifti.affine, useCompression=packed)
    (scan,) = read_scans(tmp_path / f"T2.{suffix}")
    same(scan, as_nifti)


@pytest.mark.parametrize(
    ("suffix", "voxels"), [("mhd", ".raw"), ("mhd", ".zraw"), ("nhdr", ".raw")]
)
@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_headers_find_their_voxels(stored, as_nifti, tmp_path, suffix, voxels, container):
    folder = tmp_path / "apart"
    folder.mkdir()
    by_itk(folder / f"T2.{suffix}", stored, as_nifti.affine, useCompression=voxels == ".zraw")
    assert len(list(folder.iterdir())) == 2
    (scan,) = read_scans(packed(folder, tmp_path, container))
    same(scan, as_nifti)
    if container == "folder":
        (again,) = read_files(sorted(folder.iterdir()))
        same(again, as_nifti)


def packed(folder, tmp_path, container):
    files = sorted(folder.rglob("*"))
    if container == "folder":
        return folder
    path = tmp_path / f"study.{container}"
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, f"in/{file.name}")
        return path
    with tarfile.open(path, "w" if container == "tar" else f"w:{container.split('.')[1]}") as tar:
        for file in files:
            tar.add(file, f"./in/{file.name}")
    return path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data file: ../secret.raw", "unsafe_path"),
        ("data file: /etc/passwd", "unsafe_path"),
        ("data file: T2.raw", "unreadable"),
        ("data file: LIST 2", "other_format"),
    ],
)
def test_a_header_names_no_file_elsewhere(tmp_path, text, reason):
    (tmp_path / "secret.raw").write_bytes(bytes(1008))
    folder = tmp_path / "in"
    folder.mkdir()
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 8 9\nspacings: 1 1 1\nendian: little\n"
        f"encoding: raw\n{text}\n\n"
    )
    (folder / "T2.nhdr").write_text(header)
    with pytest.raises(InputError) as caught:
        list(read_scans(folder))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ElementDataFile = ../secret.raw", "unsafe_path"),
        ("ElementNumberOfChannels = 3\nElementDataFile = LOCAL", "color"),
        (
            "ElementType = MET_FLOAT\nElementNumberOfChannels = 3\nElementDataFile = LOCAL",
            "derived",
        ),
        ("Modality = MET_MOD_CT\nElementDataFile = LOCAL", "not_mr"),
        ("ElementDataFile = LIST\na.raw", "other_format"),
        ("ElementDataFile = LOCAL", "unreadable"),
    ],
)
def test_unsupported_metaimages_are_refused_with_a_reason(tmp_path, line, reason):
    (tmp_path / "T2.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 7 8 9\nElementSpacing = 1 1 1\n"
        f"ElementType = MET_SHORT\n{line}\n"
    )
    with pytest.raises(InputError) as caught:
        list(read_scans(tmp_path))
    assert caught.value.reason == reason


def test_a_volume_without_orientation_causes_a_warning(stored, tmp_path):
    nrrd.write(str(tmp_path / "T2.nrrd"), stored, {"spacings": [1.1, 1.3, 2.7]})
    (scan,) = read_scans(tmp_path)
    assert scan.spacing_mm == pytest.approx((1.1, 1.3, 2.7))
    assert [warning.code for warning in scan.warnings] == ["orientation_doubtful"]


@pytest.mark.parametrize(
    ("sizes", "kinds", "reason"),
    [
        ((2, 7, 8, 9), "vector domain domain domain", "derived"),
        ((9, 7, 8, 9), "3D-matrix domain domain domain", "derived"),
        ((3, 7, 8, 9), "RGB-color domain domain domain", "color"),
        ((7, 8, 9, 4), "domain domain domain list", "several_volumes"),
    ],
)
def test_nrrd_of_several_volumes_is_refused(tmp_path, sizes, kinds, reason):
    header = (
        f"NRRD0004\ntype: uchar\ndimension: 4\nsizes: {' '.join(map(str, sizes))}\nkinds: {kinds}\n"
        "spacings: 1 1 1 1\nencoding: raw\n\n"
    )
    (tmp_path / "T2.nrrd").write_bytes(header.encode() + bytes(int(np.prod(sizes))))
    with pytest.raises(InputError) as caught:
        list(read_scans(tmp_path))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("sizes", "fields"),
    [
        ("7 8 9 1", ""),
        ("1 7 8 9", ""),
        ("7 8 9 1", "kinds: domain domain domain list\n"),
        ("7 8 9 1", "kinds: domain domain domain time\n"),
        ("7 8 9 1 1", ""),
    ],
)
def test_axes_of_one_entry_of_nrrd_are_dropped(tmp_path, stored, sizes, fields):
    header = (
        f"NRRD0004\ntype: short\ndimension: {len(sizes.split())}\nsizes: {sizes}\n{fields}"
        f"endian: little\nspacings:{' 1.1' * len(sizes.split())}\nencoding: raw\n\n"
    )
    data = stored.astype("<i2").tobytes(order="F")
    (tmp_path / "T2.nrrd").write_bytes(header.encode() + data)
    (scan,) = read_scans(tmp_path)
    np.testing.assert_array_equal(scan.voxels, stored)


def test_a_space_of_nrrd_with_time_has_its_orientation(tmp_path, stored, as_nifti):
    directions = as_nifti.affine[:3, :3].T
    vectors = " ".join(f"({','.join(map(repr, map(float, row)))},0)" for row in directions)
    origin = ",".join(map(repr, map(float, as_nifti.affine[:3, 3])))
    header = (
        "NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior-time\nsizes: 7 8 9 1\n"
        f"space directions: {vectors} (0,0,0,1)\nspace origin: ({origin},0)\nendian: little\n"
        "encoding: raw\n\n"
    )
    data = stored.astype("<i2").tobytes(order="F")
    (tmp_path / "T2.nrrd").write_bytes(header.encode() + data)
    (scan,) = read_scans(tmp_path / "T2.nrrd")
    same(scan, as_nifti)


@pytest.fixture
def series(tiny_scan, tmp_path):
    write_dicom(tiny_scan, tmp_path / "series", 1)
    return tmp_path / "series"


@pytest.mark.parametrize("container", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_series_is_the_same_out_of_every_archive(series, tmp_path, container):
    (plain,) = read_scans(series)
    (scan,) = read_scans(packed(series, tmp_path, container))
    np.testing.assert_array_equal(scan.voxels, plain.voxels)
    np.testing.assert_array_equal(scan.affine, plain.affine)
    assert scan.name == str(tmp_path / f"study.{container}" / "in")


def test_a_tar_is_known_by_its_content(series, tmp_path):
    path = packed(series, tmp_path, "tar.gz").rename(tmp_path / "study")
    (scan,) = read_scans(path)
    assert scan.voxels.shape == (7, 8, 9)


@pytest.mark.parametrize("name", ["{}.dcm.gz", "{}.gz", "{}"])
def test_packed_dicom_files_are_read(series, tmp_path, name):
    (plain,) = read_scans(series)
    for file in series.iterdir():
        (tmp_path / "packed").mkdir(exist_ok=True)
        path = tmp_path / "packed" / name.format(file.stem)
        path.write_bytes(gzip.compress(file.read_bytes()))
    (scan,) = read_scans(tmp_path / "packed")
    np.testing.assert_array_equal(scan.voxels, plain.voxels)


@pytest.mark.parametrize(
    "syntax",
    [
        pydicom.uid.ExplicitVRBigEndian,
        pydicom.uid.DeflatedExplicitVRLittleEndian,
        pydicom.uid.ImplicitVRLittleEndian,
    ],
)
def test_every_plain_encoding_is_one_scan(series, syntax):
    (plain,) = read_scans(series)
    for file in series.iterdir():
        dataset = pydicom.dcmread(file)
        if syntax == pydicom.uid.ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        plain_dataset = pydicom.Dataset()
        plain_dataset.update({element.tag: element for element in dataset})
        plain_dataset.file_meta = dataset.file_meta
        pydicom.dcmwrite(file, plain_dataset, enforce_file_format=True)
    (scan,) = read_scans(series)
    np.testing.assert_array_equal(scan.voxels, plain.voxels)


def tar_of(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info, io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("a.dcm", tarfile.SYMTYPE, "/etc/passwd"),
        ("a.dcm", tarfile.LNKTYPE, "b.dcm"),
        ("a.dcm", tarfile.CHRTYPE, ""),
        ("../a.dcm", tarfile.REGTYPE, ""),
        ("/tmp/a.dcm", tarfile.REGTYPE, ""),
    ],
)
def test_paths_and_links_out_of_a_tar_are_refused(tmp_path, name, kind, target):
    with pytest.raises(InputError) as caught:
        list(read_scans(tar_of(tmp_path / "study.tar", (name, kind, target))))
    assert caught.value.reason == "unsafe_path"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_bombs_of_tars_stop_at_the_limits(tmp_path, pack):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("a.nii")
        info.size = 20_000_000
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    path = tmp_path / "study.tar.gz"
    path.write_bytes(pack(buffer.getvalue()))
    with pytest.raises(InputError, match="unpacks to"):
        list(read_scans(path))
    with pytest.raises(InputError, match="bytes unpacked"):
        list(read_scans(path, limits=Limits(zip_bytes=1000, zip_ratio=1e9)))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="entries: 1, the limit is 0"):
        list(read_scans(path, limits=Limits(zip_entries=0)))


def test_a_packed_dicom_bomb_stops_at_the_limit(series, tmp_path):
    file = next(series.iterdir())
    path = tmp_path / "bomb.dcm.gz"
    path.write_bytes(gzip.compress(file.read_bytes() + bytes(30_000_000)))
    with pytest.raises(InputError, match=r"limits\.zip_ratio"):
        list(read_scans(path))
    with pytest.raises(InputError, match=r"limits\.file_bytes"):
        list(read_scans(path, limits=Limits(file_bytes=10_000_000, zip_ratio=1e9)))


def test_volumes_that_promise_too_much_are_not_unpacked(tmp_path):
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 3000 3000 3000\nspacings: 1 1 1\n"
        "endian: little\nencoding: gzip\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + gzip.compress(bytes(100)))
    (tmp_path / "b.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 3000 3000 3000\nElementSpacing = 1 1 1\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    reported = []
    assert not list(read_scans(tmp_path, reported.append))
    assert [error.reason for error in reported] == ["limit_exceeded"] * 2


@pytest.mark.parametrize("container", ["tar", "tar.gz", "tar.xz"])
def test_a_tar_inside_is_not_opened(series, tmp_path, container):
    folder = tmp_path / "outer"
    folder.mkdir()
    packed(series, folder, container)
    with pytest.raises(InputError) as caught:
        list(read_scans(folder))
    assert caught.value.reason == "nested_zip"


def test_a_truncated_tar_is_reported(series, tmp_path):
    path = packed(series, tmp_path, "tar.gz")
    path.write_bytes(path.read_bytes()[:-400])
    errors = []
    scans = list(read_scans(path, errors.append))
    assert {error.reason for error in errors} == {"unreadable"}
    assert all(scan.incomplete for scan in scans)


def ended(data):
    """Return packed bytes with a fault at their end."""
    return {
        "cut in the checksum": data[:-6],
        "cut in the data": data[: len(data) * 3 // 4],
        "another checksum": data[:-8] + bytes(4) + data[-4:],
        "another length": data[:-4] + b"\x11\x22\0\0",
        "bytes behind it": data + b"-- sent by a mailer",
    }


@pytest.mark.parametrize("fault", sorted(ended(b"")))
@pytest.mark.parametrize("suffix", ["nii.gz", "mgz", "png.gz"])
def test_gzip_is_whole_or_fails(stored, as_nifti, tmp_path, suffix, fault):
    path = tmp_path / "in" / f"T2.{suffix}"
    path.parent.mkdir()
    if suffix == "png.gz":
        Image.fromarray(stored[:, :, 0].astype(np.uint8)).save(tmp_path / "a.png")
        data = gzip.compress((tmp_path / "a.png").read_bytes())
    else:
        kind = nibabel.MGHImage if suffix == "mgz" else nibabel.Nifti1Image
        nibabel.save(kind(stored, RAS_TO_LPS @ as_nifti.affine), tmp_path / f"T2.{suffix}")
        data = gzip.compress(gzip.decompress((tmp_path / f"T2.{suffix}").read_bytes()))
    path.write_bytes(data)
    assert len(list(read_scans(path))) == 1
    path.write_bytes(ended(data)[fault])
    with pytest.raises(InputError, match=r"truncated|checksum or length|follow the end"):
        list(read_scans(path))


def test_gzip_with_trailing_zeros_or_several_members_is_read(stored, as_nifti, tmp_path):
    nibabel.save(nibabel.Nifti1Image(stored, RAS_TO_LPS @ as_nifti.affine), tmp_path / "a.nii")
    data = (tmp_path / "a.nii").read_bytes()
    packed_twice = gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(512)
    (tmp_path / "T2.nii.gz").write_bytes(packed_twice)
    (scan,) = read_scans(tmp_path / "T2.nii.gz")
    np.testing.assert_array_equal(scan.voxels, as_nifti.voxels)


@pytest.mark.parametrize("suffix", ["nii", "hdr", "nrrd", "mha", "txt.mha", "nhdr"])
def test_voxels_of_another_length_than_the_header_promises_fail(stored, as_nifti, tmp_path, suffix):
    path = tmp_path / "in" / f"T2.{suffix}"
    path.parent.mkdir()
    voxels = path
    if suffix in ("nii", "hdr"):
        kind = nibabel.Nifti1Pair if suffix == "hdr" else nibabel.Nifti1Image
        nibabel.save(kind(stored, RAS_TO_LPS @ as_nifti.affine), path)
        voxels = path.with_suffix(".img") if suffix == "hdr" else path
    elif suffix == "txt.mha":
        words = " ".join(map(str, stored.ravel()))
        path.write_text(
            "ObjectType = Image\nNDims = 3\nBinaryData = False\nDimSize = 7 8 9\n"
            f"ElementSpacing = 20 20 20\nElementType = MET_SHORT\nElementDataFile = LOCAL\n{words}"
        )
    else:
        by_itk(path, stored, as_nifti.affine)
        voxels = path.with_suffix(".raw") if suffix == "nhdr" else path
    assert len(list(read_scans(path))) == 1
    data = voxels.read_bytes()
    for changed in (data[:-20], data + b" 1234" * 7 * 8):
        voxels.write_bytes(changed)
        with pytest.raises(InputError, match="the header promises"):
            list(read_scans(path))


@pytest.mark.parametrize(("suffix", "cut"), [("nrrd", 3), ("nrrd", 200), ("mha", 2), ("mha", 300)])
def test_packed_voxels_without_their_end_fail(stored, as_nifti, tmp_path, suffix, cut):
    path = tmp_path / "in" / f"T2.{suffix}"
    path.parent.mkdir()
    by_itk(path, stored, as_nifti.affine, useCompression=True)
    assert len(list(read_scans(path))) == 1
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="truncated"):
        list(read_scans(path))


def tar_of_volumes(folder, mode, stored):
    """Return the bytes of a tar of three volumes, and their number without the end."""
    folder.mkdir()
    with tarfile.open(folder / "a.tar", f"w{mode}", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(3):
            path = folder / f"T2-{number}.nii"
            nibabel.save(nibabel.Nifti1Image(stored + number, np.diag([20, 20, 20, 1])), path)
            tar.add(path, path.name)
    return (folder / "a.tar").read_bytes(), 3 * (512 + 1536)


@pytest.mark.parametrize(
    ("mode", "changed", "scans", "faults"),
    [
        ("", lambda data, end: data, 3, 0),
        ("", lambda data, end: data[: end + 512], 3, 0),  # one block of zeros is an end
        ("", lambda data, end: data[:end], 3, 1),
        ("", lambda data, end: data[: end - 900], 2, 2),
        ("", lambda data, end: data[: end - 1900], 2, 1),
        ("", lambda data, end: data[:2048] + b"?" * 512 + data[2560:], 1, 1),
        ("", lambda data, end: data[:end] + data, 6, 0),
        ("", lambda data, end: data + data, 3, 1),  # tar(1) skips the second
        (":gz", lambda data, end: data[:-5], 3, 1),
        (":xz", lambda data, end: data[:-40], None, None),
        (":bz2", lambda data, end: data[:-1], 3, 1),
    ],
)
def test_a_tar_without_its_end_is_incomplete(stored, tmp_path, mode, changed, scans, faults):
    data, end = tar_of_volumes(tmp_path / "in", mode, stored)
    path = tmp_path / "study.tar"
    path.write_bytes(changed(data, end))
    errors = []
    read = list(read_scans(path, errors.append))
    if scans is not None:
        assert (len(read), len(errors)) == (min(scans, 3), faults)
    assert all(bool(scan.incomplete) == bool(errors) for scan in read)


def test_a_packed_tar_whose_checksum_is_wrong_fails_whole(stored, tmp_path):
    data, _ = tar_of_volumes(tmp_path / "in", ":gz", stored)
    (tmp_path / "study.tar.gz").write_bytes(data[:-7] + bytes(3) + data[-4:])
    with pytest.raises(InputError, match="CRC"):
        list(read_scans(tmp_path / "study.tar.gz"))


def test_a_zip_entry_whose_checksum_is_wrong_fails_by_itself(series, as_nifti, stored, tmp_path):
    folder = tmp_path / "both"
    shutil.copytree(series, folder / "series")
    nibabel.save(nibabel.Nifti1Image(stored, RAS_TO_LPS @ as_nifti.affine), folder / "T2.nii")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, str(file.relative_to(folder)))
    data = bytearray(path.read_bytes())
    # The last voxel of the volume, and the last pixel of a slice.
    for file in (folder / "T2.nii", files[-1]):
        data[data.index(file.read_bytes()) + file.stat().st_size - 1] ^= 1
    path.write_bytes(data)
    errors = []
    (scan,) = read_scans(path, errors.append)
    assert [error.place for error in errors] == [
        f"{path}/T2.nii",
        f"{path}/series/{files[-1].name}",
    ]
    assert scan.incomplete[0].received == len(files) - 2


def test_a_zip_without_its_directory_fails(series, tmp_path):
    path = packed(series, tmp_path, "zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="zip"):
        list(read_scans(path))


def test_a_segmentation_of_slicer_is_excluded_and_read(stored, tmp_path):
    header = {"spacings": [1.1, 1.3, 2.7], "Segment0_ID": "Segment_1", "Segment0_Name": "tumor"}
    nrrd.write(str(tmp_path / "T2.seg.nrrd"), stored, header)
    (scan,) = read_scans(tmp_path)
    assert scan.exclusion.reason == "derived"
    assert scan.voxels.shape == stored.shape


@pytest.mark.parametrize(("unit", "length"), [("m", 1000), ("cm", 10), ("um", 0.001), ("mm", 1)])
@pytest.mark.parametrize("has_space", [True, False])
def test_units_of_nrrd_count(stored, tmp_path, unit, length, has_space):
    sides = np.array([1.1, 1.3, 2.7]) / length
    header = {"spacings": sides.tolist(), "units": [unit] * 3}
    if has_space:
        header = {
            "space": "left-posterior-superior",
            "space directions": np.diag(sides),
            "space units": [unit] * 3,
        }
    nrrd.write(str(tmp_path / "T2.nrrd"), stored, header)
    (scan,) = read_scans(tmp_path / "T2.nrrd")
    assert scan.spacing_mm == pytest.approx((1.1, 1.3, 2.7))


def test_a_file_that_was_packed_twice_is_named_so(stored, tmp_path, errors):
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([1.1, 1.3, 2.7, 1])), tmp_path / "a.nii")
    packed = gzip.compress(gzip.compress((tmp_path / "a.nii").read_bytes()))
    (tmp_path / "a.nii").unlink()
    (tmp_path / "T2.nii.gz").write_bytes(packed)
    assert list(read_scans(tmp_path / "T2.nii.gz", errors.append)) == []
    assert "packed by gzip twice" in str(errors[0])
