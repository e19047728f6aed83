import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._detect.preprocessing import Preprocessing, crop_window_of
from meninx._scan.intensity import foreground, intensity_range


def picture(height=90, width=70, top=20, left=10, bottom=80, right=50):
    """Air with noise, and a head brighter than it."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 5, (height, width)).astype(np.float32)
    image[top:bottom, left:right] += rng.uniform(100, 200, (bottom - top, right - left))
    return image.astype(np.float32)


def test_foreground_is_the_head():
    mask = foreground(picture())
    assert mask[20:80, 10:50].all()
    assert mask.sum() == 60 * 40


@pytest.mark.parametrize("width", [50, 100, 250])
def test_a_small_head_in_a_large_field_of_view_has_the_same_range(width):
    head = np.random.default_rng(1).uniform(100, 200, (40, 40)).astype(np.float32)
    image = np.zeros((width, width), dtype=np.float32)
    image[:40, :40] = head
    # The upper end is that of the head, for any share of air.
    assert intensity_range(image) == pytest.approx((0, np.percentile(head, 99.5)), rel=1e-6)


@given(st.floats(0.01, 1000), st.floats(-500, 500))
def test_brightness_and_contrast_of_the_file_do_not_matter(scale, shift):
    preprocessing = Preprocessing(size=64)
    results = []
    for image in (picture(), picture() * np.float32(scale) + np.float32(shift)):
        crop_window = crop_window_of(image[None])
        placement = preprocessing.placement(crop_window, image.shape, (1, 1))
        results.append(preprocessing.rescale(image, crop_window, placement))
    np.testing.assert_allclose(results[0], results[1], atol=2e-2)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.5, 1.0), (0.4, 0.7)])
def test_a_bright_dot_is_placed_by_the_mapping(spacing):
    image = picture()
    preprocessing = Preprocessing(size=128)
    crop_window = crop_window_of(image[None])
    placement = preprocessing.placement(crop_window, image.shape, spacing)
    dot = np.zeros_like(image)
    dot[33, 27] = 1
    row, column = np.unravel_index(preprocessing.resample(dot, placement).argmax(), (128, 128))
    found = placement.to_image(float(row), float(column))
    assert found == pytest.approx((33, 27), abs=0.75)


def test_pixels_become_square():
    """A head twice as long in mm as wide fills the input twice as long."""
    placement = Preprocessing(size=96, margin=0).placement(
        crop_window_of(picture()[None]), (90, 70), (2.0, 1.5)
    )
    assert placement.rows == 96
    assert placement.columns == round(96 * (40 * 1.5) / (60 * 2.0))
    assert placement.offset_column == (96 - placement.columns) // 2


def test_slices_of_a_volume_share_scale_and_crop():
    bright, dim = picture(), picture(top=40, bottom=60) * np.float32(0.5)
    crop_window = crop_window_of(np.stack([bright, dim]))
    assert crop_window.rows == (20, 80)
    assert crop_window.high == pytest.approx(intensity_range(bright)[1], rel=0.05)


def test_a_constant_image_has_no_foreground_and_still_a_frame():
    flat = np.full((20, 30), 3, np.float32)
    assert not foreground(flat).any()
    crop_window = crop_window_of(flat[None])
    assert crop_window.rows == (0, 20)
    placement = Preprocessing(size=32).placement(crop_window, (20, 30), (1, 1))
    assert np.isfinite(Preprocessing(size=32).rescale(flat, crop_window, placement)).all()
