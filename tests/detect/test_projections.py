"""Projections over sliding slabs are distinguished from slices by their pixels."""

import numpy as np
import pytest
from scipy import ndimage

from meninx._detect.gate import check_scan
from meninx._detect.projections import shared_with_next
from meninx._errors import UnsupportedScan
from meninx._scan.scan import Scan


@pytest.fixture(scope="module")
def slices():
    """A noisy head, slices first."""
    rng = np.random.default_rng(5)
    shape = (31, 104, 118)
    grid = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.9
    tissue = ndimage.gaussian_filter(rng.normal(size=shape), 2) * 3000 + 500
    return np.round(inside * tissue + rng.rayleigh(9, shape)).astype(np.float32)


def scan_of(voxels):
    return Scan("x", np.moveaxis(voxels, 0, 2), np.diag([1.6, 1.5, 2.0, 1.0]), slice_axis=2)


@pytest.mark.parametrize("project", [ndimage.maximum_filter1d, ndimage.minimum_filter1d])
@pytest.mark.parametrize("slab", [7, 12])
def test_sliding_slabs_are_projections(slices, project, slab):
    with pytest.raises(UnsupportedScan, match="projection") as caught:
        check_scan(scan_of(project(slices, slab, axis=0)))
    assert caught.value.reason == "derived"


def test_slices_are_no_projections_however_they_were_stored(slices):
    stripped = np.where(slices > 100, slices, 0)
    for changed in (
        slices,
        stripped,
        np.round(stripped / stripped.max() * 255),
        np.repeat(slices, 3, axis=0),
        np.repeat(stripped, 2, axis=0),
        ndimage.uniform_filter1d(slices, 4, axis=0),
        np.round(ndimage.zoom(stripped[8:20] / stripped.max() * 255, (3, 1, 1), order=1)),
    ):
        check_scan(scan_of(changed.astype(np.float32)))


def test_few_slices_are_no_projection(slices):
    assert shared_with_next(np.repeat(slices[15:16], 5, axis=0)) == 0
