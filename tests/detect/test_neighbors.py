import numpy as np
import pytest

from meninx._detect.neighbors import neighbor_indices, neighbor_step


@pytest.mark.parametrize(
    ("gap_mm", "step"),
    [(1.0, 5), (2.0, 2), (3.0, 2), (5.0, 1), (6.5, 1), (12.0, 1), (13.0, 0), (0.0, 0), (None, 0)],
)
def test_neighbors_lie_about_5_mm_away_or_are_the_next(gap_mm, step):
    assert neighbor_step(gap_mm) == step


def test_missing_neighbors_are_replaced_by_the_slice():
    assert neighbor_indices(5, 2.5).tolist() == [
        [0, 0, 2],
        [1, 1, 3],
        [0, 2, 4],
        [1, 3, 3],
        [2, 4, 4],
    ]


def test_neighbors_of_a_picture_are_replaced_by_the_picture():
    unit = np.random.default_rng(0).random((1, 7, 9), dtype=np.float32)
    stack = unit[neighbor_indices(1, None)]
    assert stack.shape == (1, 3, 7, 9)
    for channel in range(3):
        np.testing.assert_array_equal(stack[0, channel], unit[0])


def test_thin_and_thick_slices_of_one_head_have_the_same_neighbors():
    """The same places, cut every 1 mm and every 5 mm, have the same neighbors."""
    thin = np.arange(41, dtype=np.float32)[:, None, None]
    thick = thin[::5]
    np.testing.assert_array_equal(
        thin[neighbor_indices(41, 1.0)][5:36:5], thick[neighbor_indices(9, 5.0)][1:-1]
    )
