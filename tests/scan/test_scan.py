import numpy as np
import pytest

from meninx._errors import UnreadableFile, UnsupportedScan
from meninx._scan.scan import Scan


def test_every_pixel_of_a_slice_leads_back_to_its_voxel(tiny_scan):
    for scan_slice in tiny_scan.slices():
        for row in range(scan_slice.image.shape[0]):
            for column in range(scan_slice.image.shape[1]):
                voxel = scan_slice.voxel_at(row, column)
                assert tiny_scan.voxels[voxel] == scan_slice.image[row, column]
                assert scan_slice.position_of(voxel) == (row, column)


def test_positions_outside_go_to_the_edge(tiny_scan):
    scan_slice = tiny_scan.slice(3)
    assert scan_slice.voxel_at(-5, -5) == scan_slice.voxel_at(0, 0)
    assert scan_slice.voxel_at(99, 99) == scan_slice.voxel_at(
        scan_slice.image.shape[0] - 1, scan_slice.image.shape[1] - 1
    )


def test_repr_shows_shape_spacing_and_plane(tiny_scan):
    assert repr(tiny_scan) == "Scan('tiny', 7x8x9, 1.10 x 1.30 x 2.70 mm, axial, T2)"


def test_a_picture_has_no_geometry():
    scan = Scan("picture", np.arange(6, dtype=np.float32).reshape(2, 3, 1))
    assert scan.spacing_mm is None
    assert scan.slice_gap_mm is None
    assert len(scan) == 1
    np.testing.assert_array_equal(scan.slice(0).image, [[0, 3], [1, 4], [2, 5]])


@pytest.mark.parametrize(
    ("voxels", "error", "reason"),
    [
        (np.full((2, 3, 4), 5.0), UnsupportedScan, "blank"),
        (np.array([[[1.0, np.nan]]]), UnreadableFile, "not_finite"),
        (np.array([[[1.0, np.inf]]]), UnreadableFile, "not_finite"),
        (np.array([[[3e38, -3e38]]]), UnreadableFile, "not_finite"),
        (np.zeros((2, 3)), UnreadableFile, "unreadable"),
        (np.zeros((0, 3, 4)), UnreadableFile, "unreadable"),
    ],
)
def test_invalid_voxels_are_typed_errors(voxels, error, reason):
    with pytest.raises(error) as caught:
        Scan("bad", voxels.astype(np.float32))
    assert caught.value.reason == reason
