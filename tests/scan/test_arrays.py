"""Images in memory are the same scans as their files."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from meninx import Scan
from meninx._errors import OptionError, UnreadableFile, UnsupportedScan
from meninx._scan.reading import read_one
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.conftest import coarse_grid


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A phantom as NIfTI, and the scan of that file."""
    folder = tmp_path_factory.mktemp("arrays")
    list(write_studies(make_studies(1, 3, coarse_grid), folder, "nifti"))
    (path,) = folder.rglob("*[0-9].nii.gz")
    return path, read_one(path)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-5)
    assert found.view == expected.view
    assert found.warnings == expected.warnings


def images(path):
    """Yield the same volume as libraries hold it."""
    stored = nibabel.load(path)
    values = np.asarray(stored.dataobj)
    yield {"image": stored}
    yield {"image": values, "affine": stored.affine}
    yield {"image": SimpleITK.ReadImage(str(path))}
    # As MONAI's MetaTensor: a tensor with its channel in front, and its affine.
    tensor = torch.from_numpy(values.astype(np.float32))[None]
    tensor.affine = torch.from_numpy(stored.affine)
    yield {"image": tensor}


@pytest.mark.parametrize("which", range(4), ids=["nibabel", "array", "SimpleITK", "MONAI"])
def test_a_volume_in_memory_is_that_of_its_file(volume, which):
    path, expected = volume
    found = Scan.of(**list(images(path))[which], name="flair", sequence="T1c")
    assert_same(found, expected)
    assert (found.name, found.sequence) == ("flair", "T1c")
    assert Scan.of(**list(images(path))[which], name="sub-1_FLAIR").sequence == "FLAIR"


def test_a_picture_is_rows_and_columns():
    gray = np.arange(80 * 100, dtype=np.uint16).reshape(80, 100)
    for image in (
        gray,
        torch.from_numpy(gray.astype(np.float32)),
        SimpleITK.GetImageFromArray(gray),
    ):
        scan = Scan.of(image)
        assert not scan.is_volume
        np.testing.assert_array_equal(scan.slice(0).image, gray)


def test_a_voxel_size_alone_leaves_the_orientation_open(volume):
    values = np.asarray(nibabel.load(volume[0]).dataobj)
    scan = Scan.of(values, spacing_mm=volume[1].spacing_mm)
    assert scan.spacing_mm == pytest.approx(volume[1].spacing_mm)
    assert "orientation_doubtful" in {warning.code for warning in scan.warnings}


def test_what_is_no_scan_is_refused():
    with pytest.raises(OptionError, match="8x9x10 without geometry: give affine"):
        Scan.of(np.random.default_rng(0).random((8, 9, 10)))
    with pytest.raises(UnsupportedScan, match="blank"):
        Scan.of(np.zeros((80, 80)))
    with pytest.raises(UnsupportedScan, match="complex"):
        Scan.of(np.ones((80, 80), dtype=complex))
    with pytest.raises(UnreadableFile, match="finite"):
        Scan.of(np.full((80, 80), np.nan))
    with pytest.raises(UnsupportedScan, match="2 volumes"):
        Scan.of(np.ones((8, 9, 10, 2)), affine=np.eye(4))
