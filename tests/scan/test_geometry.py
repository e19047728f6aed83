import numpy as np
import pytest

from meninx._errors import GeometryError
from meninx._scan.geometry import affine_of_stack, check_affine, plane_normal, spacing_of

SAGITTAL = (0, 1, 0, 0, 0, -1)


def test_cosines_that_are_no_plane_are_refused():
    with pytest.raises(GeometryError, match="perpendicular"):
        plane_normal((1, 0, 0, 1, 0, 0))


def test_affine_puts_column_row_and_slice_on_i_j_and_k():
    affine = affine_of_stack((1, 2, 3), SAGITTAL, (1.3, 1.1), 2.7)
    assert spacing_of(affine) == pytest.approx((1.1, 1.3, 2.7))
    np.testing.assert_allclose(affine @ (1, 0, 0, 1), (1, 3.1, 3, 1))  # along a row: to the back
    np.testing.assert_allclose(affine @ (0, 1, 0, 1), (1, 2, 1.7, 1))  # down a column: to the feet
    np.testing.assert_allclose(affine @ (0, 0, 1, 1), (-1.7, 2, 3, 1))  # the normal


@pytest.mark.parametrize(
    ("change", "message"),
    [((0, 1, 0.5), "sheared"), ((0, 0, np.nan), "finite"), ((2, 2, 0.0), "mm; expected")],
)
def test_bad_affines_are_refused(change, message):
    affine = np.eye(4)
    row, column, value = change
    affine[row, column] = value
    with pytest.raises(GeometryError, match=message):
        check_affine(affine)
