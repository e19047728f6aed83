import gzip
import tracemalloc

import nibabel
import numpy as np
import pytest

from meninx._errors import GeometryError, LimitExceeded, UnreadableFile, UnsupportedScan
from meninx._scan.limits import Limits
from meninx._scan.nifti import RAS_TO_LPS, read_nifti, write_nifti
from meninx._scan.reading import read_one, read_scans
from meninx._scan.source import Source

# Offset of `xyzt_units` in a header of NIfTI-1, bytes.
_XYZT_UNITS_AT = 123


def source(path):
    return Source(str(path), path, path.stat().st_size)


def save(path, voxels, affine=None, **header):
    image = nibabel.Nifti1Image(voxels, np.diag([1.1, 1.3, 2.7, 1]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return source(path)


@pytest.fixture
def voxels():
    return np.arange(7 * 8 * 9).reshape(7, 8, 9).astype(np.int16)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_voxels_and_affine_survive_writing_and_reading(tiny_scan, tmp_path, suffix):
    path = tmp_path / f"t2.{suffix}"
    write_nifti(tiny_scan.voxels.astype(np.int16), tiny_scan, path)
    scan = read_nifti(source(path))
    np.testing.assert_array_equal(scan.voxels, tiny_scan.voxels)
    np.testing.assert_allclose(scan.affine, tiny_scan.affine, atol=1e-5)
    assert scan.sequence == "T2"


def test_scale_is_applied(voxels, tmp_path):
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "a.nii")
    scan = read_nifti(source(tmp_path / "a.nii"))
    np.testing.assert_allclose(scan.voxels, voxels * 0.5 + 10)


def test_one_volume_in_four_dimensions(voxels, tmp_path):
    scan = read_nifti(save(tmp_path / "a.nii", voxels[..., None]))
    assert scan.voxels.shape == (7, 8, 9)


def test_several_volumes_are_unsupported(voxels, tmp_path):
    with pytest.raises(UnsupportedScan, match="2 volumes in one file"):
        read_nifti(save(tmp_path / "a.nii", np.stack([voxels, voxels], -1)))


def test_micrometers_become_millimeters(voxels, tmp_path):
    image = nibabel.Nifti1Image(voxels, np.diag([1100, 1300, 2700, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    assert read_nifti(source(tmp_path / "a.nii")).spacing_mm == pytest.approx((1.1, 1.3, 2.7))


@pytest.mark.parametrize(
    ("units", "codes"), [(0, []), (2 + 248, []), (4, [1]), (7, [1]), (255, [1])]
)
def test_units_that_nifti_does_not_define_are_read_as_millimeters(
    tiny_scan, tmp_path, units, codes
):
    path = tmp_path / "a.nii"
    write_nifti(tiny_scan.voxels, tiny_scan, path)
    data = bytearray(path.read_bytes())
    data[_XYZT_UNITS_AT] = units
    path.write_bytes(data)
    scan = read_nifti(source(path))
    assert scan.spacing_mm == pytest.approx(tiny_scan.spacing_mm)
    texts = [found.text for found in scan.warnings if found.code == "geometry_doubtful"]
    assert len(texts) == len(codes)
    assert all(f"unit of space {units & 7}," in text for text in texts)


def test_truncation_is_reported_in_bytes(voxels, tmp_path):
    save(tmp_path / "a.nii", voxels)
    data = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(data[:800])
    with pytest.raises(UnreadableFile, match=r"truncated: 800 bytes unpacked, the header promises"):
        read_nifti(source(tmp_path / "a.nii"))


def test_a_gzip_bomb_stops_at_what_the_header_promises(voxels, tmp_path):
    save(tmp_path / "a.nii", voxels)
    bomb = (tmp_path / "a.nii").read_bytes() + bytes(50_000_000)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bomb))
    tracemalloc.start()
    with pytest.raises(UnreadableFile, match="a slice or more follows"):
        read_nifti(source(tmp_path / "a.nii.gz"))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_limits_count_before_reading(voxels, tmp_path):
    with pytest.raises(LimitExceeded, match="voxels: 504, the limit is 500"):
        read_nifti(save(tmp_path / "a.nii", voxels), Limits(volume_voxels=500))


def test_a_sheared_affine_is_a_geometry_error(voxels, tmp_path):
    affine = np.diag([1.0, 1, 1, 1])
    affine[0, 2] = 0.4
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(GeometryError, match="sheared"):
        read_nifti(source(tmp_path / "a.nii"))


TRUE = np.diag([-1.1, 1.3, 2.7, 1.0])
# Turned by 30 degrees, and moved.
REGISTERED = (
    np.array([[0.75**0.5, -0.5, 0, 4], [0.5, 0.75**0.5, 0, -2], [0, 0, 1, 9], [0, 0, 0, 1]]) @ TRUE
)


def two_orientations(path, voxels, sform, qform=TRUE, *, sform_code=1):
    image = nibabel.Nifti1Image(voxels, qform)
    image.set_qform(qform, int(qform is not None))
    image.set_sform(sform, sform_code)
    nibabel.save(image, path)
    return source(path)


@pytest.mark.parametrize(
    ("sform", "code", "said"),
    [
        (np.eye(4), 2, "voxels of 1 x 1 x 1 mm in the sform, of 1.1 x 1.3 x 2.7 mm in the qform"),
        (np.diag([1.15, 1.2, 1.3, 1]) @ TRUE, 4, "in the sform"),
        (
            np.array([[1.2, 0.1, 0, 3], [0, 1.1, 0, 0], [0, 0.1, 1.2, 0], [0, 0, 0, 1]]) @ TRUE,
            4,
            "",
        ),
        (np.diag([-1, 1, 1, 1]) @ TRUE, 1, "left and right are exchanged"),
        (np.diag([-1, -1, 1, 1]) @ TRUE, 1, "other directions"),
    ],
)
def test_of_two_contradicting_orientations_the_rigid_one_counts(
    voxels, tmp_path, sform, code, said
):
    scan = read_nifti(two_orientations(tmp_path / "a.nii", voxels, sform, sform_code=code))
    np.testing.assert_allclose(scan.affine, RAS_TO_LPS @ TRUE, atol=1e-5)
    (doubt,) = [warning for warning in scan.warnings if warning.code == "orientation_doubtful"]
    assert "two orientations" in doubt.text
    assert said in doubt.text


@pytest.mark.parametrize("sform", [np.diag([0, 1.3, 2.7, 1]), np.diag([0.0, 0, 0, 1])])
def test_an_unusable_sform_gives_way_to_the_qform(voxels, tmp_path, sform):
    scan = read_nifti(two_orientations(tmp_path / "a.nii", voxels, sform))
    np.testing.assert_allclose(scan.affine, RAS_TO_LPS @ TRUE, atol=1e-5)


def test_a_registered_sform_counts_and_is_no_contradiction(voxels, tmp_path):
    scan = read_nifti(two_orientations(tmp_path / "a.nii", voxels, REGISTERED, sform_code=2))
    np.testing.assert_allclose(scan.affine, RAS_TO_LPS @ REGISTERED, atol=1e-5)
    assert "orientation_doubtful" not in [warning.code for warning in scan.warnings]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti1Pair, nibabel.Nifti2Image])
def test_without_qform_and_sform_the_orientation_is_doubtful(voxels, tmp_path, kind):
    image = kind(voxels, TRUE)
    image.set_qform(TRUE, 0)
    image.set_sform(TRUE, 0)
    nibabel.save(image, tmp_path / ("a.img" if kind is nibabel.Nifti1Pair else "a.nii"))
    (scan,) = read_scans(tmp_path)
    assert scan.spacing_mm == pytest.approx((1.1, 1.3, 2.7))
    assert "qform_code and sform_code are 0" in " ".join(warning.text for warning in scan.warnings)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_an_unset_offset_means_the_first_byte_after_the_header(voxels, tmp_path, kind):
    path = tmp_path / "a.nii"
    nibabel.save(kind(voxels, TRUE), path)
    data = bytearray(path.read_bytes())
    at, size = (108, 4) if kind is nibabel.Nifti1Image else (168, 8)
    data[at : at + size] = bytes(size)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_nifti(source(path)).voxels, voxels)
    path.write_bytes(data + bytes(100))
    with pytest.raises(UnreadableFile, match="a slice or more follows"):
        read_nifti(source(path))


def test_complex_voxels_are_unsupported(voxels, tmp_path):
    with pytest.raises(UnsupportedScan, match="complex64"):
        read_nifti(save(tmp_path / "a.nii", voxels.astype(np.complex64)))


def test_the_turn_from_ras_to_lps_is_its_own_inverse():
    np.testing.assert_array_equal(RAS_TO_LPS @ RAS_TO_LPS, np.eye(4))


@pytest.mark.parametrize("code", [2, 4, 6, 12, 23, 1003, 1005, 1010, 2016])
def test_intents_of_labels_statistics_and_vectors_are_excluded(voxels, tmp_path, code):
    scan = read_nifti(save(tmp_path / "t1.nii", voxels, intent_code=code))
    assert scan.exclusion.reason == "derived"
    assert f"intent_code {code}" in str(scan.exclusion)
    assert scan.voxels.shape == voxels.shape
    with pytest.raises(UnsupportedScan, match=f"intent_code {code}"):
        read_one(tmp_path / "t1.nii")


@pytest.mark.parametrize("code", [0, 1011, 2001, 4711])
def test_other_intents_are_ignored(voxels, tmp_path, code):
    assert read_nifti(save(tmp_path / "t1.nii", voxels, intent_code=code)).exclusion is None


def test_a_field_of_vectors_is_no_list_of_volumes(voxels, tmp_path):
    field = np.stack([voxels] * 3, -1)[:, :, :, None]
    with pytest.raises(UnsupportedScan, match="displacement vector") as caught:
        read_nifti(save(tmp_path / "warp.nii", field, intent_code=1006))
    assert caught.value.reason == "derived"


def test_the_intent_of_a_pair_counts_too(voxels, tmp_path):
    image = nibabel.Nifti1Pair(voxels, np.diag([1.1, 1.3, 2.7, 1]))
    image.header["intent_code"] = 1002
    nibabel.save(image, tmp_path / "t1.img")
    (scan,) = read_scans(tmp_path)
    assert scan.exclusion.reason == "derived"
