"""Masks are turned onto their scans by the affines, and refused where they lie elsewhere."""

import itertools

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK

from meninx._data.prepare import prepare
from meninx._data.volume_masks import read_mask
from meninx._errors import DataError
from meninx._scan.reading import read_one, read_scans
from meninx._synthesis.writing import write_dicom

SHAPE = (14, 11, 17)
AFFINE = np.array([[1.1, 0, 0, -31.0], [0, 1.3, 0, 12.0], [0, 0, 2.7, -5.0], [0, 0, 0, 1]])


def tumor(shape=SHAPE):
    mask = np.zeros(shape, np.uint8)
    mask[3:7, 2:5, 8:13] = 1
    mask[4, 3, 13] = 1
    return mask


def save(path, voxels, affine=AFFINE, code=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header["intent_code"] = code
    nibabel.save(image, path)
    return path


@pytest.fixture
def scan(tmp_path):
    voxels = np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.int16)
    return read_one(save(tmp_path / "case/t1.nii.gz", voxels))


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "SAL", "IRP", "ALS"])
def test_turned_and_mirrored_masks_come_back_exactly(scan, tmp_path, code):
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(tumor(), AFFINE))
    ornt = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(code)
    )
    turned = nibabel.Nifti1Image(tumor(), AFFINE).as_reoriented(ornt)
    path = save(tmp_path / "mask.nii", np.asarray(turned.dataobj), turned.affine)
    messages = []
    np.testing.assert_array_equal(read_mask(path, scan, messages.append), tumor() > 0)
    assert messages == []


def test_a_mirrored_mask_of_the_same_shape_is_not_taken_by_index(scan, tmp_path):
    flipped = AFFINE @ np.array([[-1, 0, 0, 13], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    path = save(tmp_path / "mask.nii", tumor()[::-1], flipped)
    np.testing.assert_array_equal(read_mask(path, scan), tumor() > 0)


def test_a_finer_and_an_oblique_mask_are_resampled(scan, tmp_path):
    finer = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    finer[:3, 3] = (AFFINE @ [-0.25, -0.25, -0.25, 1])[:3]
    voxels = tumor().repeat(2, 0).repeat(2, 1).repeat(2, 2)
    path = save(tmp_path / "finer.nii", voxels, finer)
    np.testing.assert_array_equal(read_mask(path, scan), tumor() > 0)
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    center = AFFINE @ [*(np.array(SHAPE) / 2), 1]
    oblique = turn @ np.diag([0.5, 0.5, 0.5, 1.0])
    oblique[:3, 3] = center[:3] - oblique[:3, :3] @ np.array([50.0, 50.0, 50.0])
    sides = (100, 100, 100)
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)
    points = grid @ oblique[:3, :3].T + oblique[:3, 3]
    voxels = (np.linalg.norm(points - center[:3], axis=-1) < 4).astype(np.uint8)
    found = read_mask(save(tmp_path / "oblique.nii", voxels, oblique), scan)
    for index in itertools.product(*map(range, SHAPE)):
        away = np.linalg.norm((AFFINE @ [*index, 1])[:3] - center[:3])
        if abs(away - 4) > 0.5:
            assert found[index] == (away < 4)


def test_masks_of_other_formats_meet_their_dicom(scan, tmp_path):
    write_dicom(scan, tmp_path / "series", 3)
    (series,) = read_scans(tmp_path / "series")
    expected = read_mask(save(tmp_path / "m.nii", tumor()), series)
    assert expected.sum() == tumor().sum()
    image = SimpleITK.GetImageFromArray(tumor().transpose(2, 1, 0))
    image.SetSpacing([1.1, 1.3, 2.7])
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    image.SetOrigin([31.0, -12.0, -5.0])
    for name in ("m.mha", "m.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        np.testing.assert_array_equal(read_mask(tmp_path / name, series), expected)


@pytest.mark.parametrize(
    ("shape", "shift", "message"),
    [
        (SHAPE, (200, 0, 0), "covers 0% of its volume"),
        (SHAPE, (0, 0, 20), "covers"),
        ((14, 11, 9), (0, 0, 0), "covers 53% of its volume"),
        ((30, 24, 17), (0, -14, 0), "tumor lies outside of its volume"),
    ],
)
def test_masks_of_other_places_are_refused(scan, tmp_path, shape, shift, message):
    moved = AFFINE.copy()
    moved[:3, 3] += shift
    voxels = np.zeros(shape, np.uint8)
    voxels[1:3, 1:4, 2:6] = 1
    with pytest.raises(DataError, match=message):
        read_mask(save(tmp_path / "mask.nii", voxels, moved), scan)


def test_a_label_map_by_its_intent_is_a_mask_all_the_same(scan, tmp_path):
    path = save(tmp_path / "sub-1_dseg.nii", tumor(), code=1002)
    np.testing.assert_array_equal(read_mask(path, scan), tumor() > 0)


def test_without_an_affine_the_index_counts_and_that_is_said(scan, tmp_path):
    messages = []
    path = save(tmp_path / "mask.nii", tumor(), np.eye(4))
    np.testing.assert_array_equal(read_mask(path, scan, messages.append), tumor() > 0)
    nrrd.write(str(tmp_path / "mask.nrrd"), tumor(), {"spacings": [1.1, 1.3, 2.7]})
    read_mask(tmp_path / "mask.nrrd", scan, messages.append)
    assert [("same index" in line) for line in messages] == [True, True]
    with pytest.raises(DataError, match="not both say where they lie"):
        read_mask(save(tmp_path / "small.nii", tumor((14, 11, 16)), np.eye(4)), scan)


def test_prepare_says_once_that_the_index_was_trusted(tmp_path):
    for number in range(3):
        voxels = np.random.default_rng(number).integers(1, 900, SHAPE).astype(np.int16)
        save(tmp_path / f"P-{number}/t1.nii.gz", voxels)
        save(tmp_path / f"P-{number}/seg.nii.gz", tumor(), np.eye(4))
    pictures, found = prepare(tmp_path, folds=2)
    (note,) = [line for line in found.notes if "same index" in line]
    assert note.endswith("so are 2 more")
    assert {picture.tumor_slices for picture in pictures} == {"8-13"}
