"""Label maps are distinguished from scans by their pixels, in any format."""

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
from PIL import Image
from scipy import ndimage, spatial

from meninx._detect.gate import check_scan
from meninx._detect.label_maps import compared_neighbors
from meninx._errors import UnsupportedScan
from meninx._scan.geometry import RAS_TO_LPS
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from meninx._synthesis.writing import write_dicom

SHAPE, SPACING = (101, 118, 24), (1.6, 1.7, 4.5)
AFFINE = np.diag([*SPACING, 1.0])


def parcels(count, seed=0, numbers=None):
    """Regions around random points inside an ellipsoid, like an atlas."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij"), -1)
    _, nearest = spatial.cKDTree(rng.uniform(-0.9, 0.9, (count, 3))).query(grid)
    numbers = rng.permutation(count) + 1 if numbers is None else np.array(numbers)
    return np.where((grid**2).sum(-1) < 0.9, numbers[nearest], 0).astype(np.float32)


def refusal(scan):
    with pytest.raises(UnsupportedScan) as caught:
        check_scan(scan)
    return caught.value.reason


FREESURFER = [2, 3, 4, 10, 11, 12, 13, 16, 17, 18, 26, 28, 41, 42, 49, 50, 51, 52, 53, 54, 251]


@pytest.mark.parametrize("numbers", [FREESURFER, [*range(1001, 1036), *range(2001, 2036)]])
def test_segmentations_of_freesurfer_are_maps(numbers):
    voxels = parcels(len(numbers), 1, numbers)
    assert refusal(Scan("aseg", voxels, AFFINE)) == "derived"
    assert refusal(Scan("padded", np.pad(voxels, 9, constant_values=-7), AFFINE)) == "derived"
    assert refusal(Scan("scaled", voxels * 0.37 + 11, AFFINE)) == "derived"


@pytest.mark.parametrize("kind", ["nii.gz", "mgz", "nrrd", "mha", "dicom", "png"])
def test_a_label_map_is_refused_in_every_format(tmp_path, kind):
    voxels = parcels(90)
    stored = voxels.astype(np.int16)
    path = tmp_path / f"volume.{kind}"
    if kind == "nii.gz":
        nibabel.save(nibabel.Nifti1Image(stored, AFFINE), path)
    elif kind == "mgz":
        nibabel.save(nibabel.MGHImage(stored, RAS_TO_LPS @ AFFINE), path)
    elif kind == "nrrd":
        nrrd.write(str(path), stored, {"spacings": SPACING})
    elif kind == "mha":
        image = SimpleITK.GetImageFromArray(stored.transpose(2, 1, 0))
        image.SetSpacing(SPACING)
        SimpleITK.WriteImage(image, str(path))
    elif kind == "dicom":
        write_dicom(Scan("x", voxels, AFFINE, slice_axis=2), path, 7)
    else:
        Image.fromarray((voxels[:, :, 12] * 2).astype(np.uint8)).save(path)
    (scan,) = read_scans(path)
    assert refusal(scan) == "derived"


def head(seed=0):
    """A noisy ellipsoid in noisy air."""
    rng = np.random.default_rng(seed)
    tissue = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    inside = parcels(3, seed) > 0
    return (inside * (500 + 900 * tissue) + rng.rayleigh(9, SHAPE)).astype(np.float32)


def test_scans_are_no_maps_however_they_were_stored():
    voxels = head()
    stripped = np.where(parcels(3) > 0, voxels, 0)
    for name, changed in {
        "plain": voxels,
        "stripped": stripped,
        "8 bits": np.round(stripped / stripped.max() * 255),
        "30 levels": np.round(stripped / stripped.max() * 29),
        "z-scores": (stripped - stripped.mean()) / stripped.std(),
        "padded twice": np.pad(np.pad(stripped, 12), 12, constant_values=-1000),
        "enlarged by repeats": stripped.repeat(4, 0).repeat(3, 1),
        "enlarged smoothly, 8 bits": np.round(
            ndimage.zoom(stripped[:, :, 8:14] / stripped.max(), (3, 3, 1), order=1) * 255
        ),
    }.items():
        check_scan(Scan(name, changed.astype(np.float32), np.diag([0.8, 0.8, 4.5, 1.0])))


def test_real_slices_are_far_from_label_maps(real_data):
    for name in ("head-03-flair", "msc-07-t1c", "nichart-20-flair"):
        (scan,) = read_scans(real_data / "tumor-free" / f"{name}.nii.gz")
        images = np.stack([scan.slice(len(scan) // 2).image])
        assert compared_neighbors(images).equal < 0.25
