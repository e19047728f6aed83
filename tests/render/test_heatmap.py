import numpy as np
import pytest
from PIL import Image

from meninx._detect.loading import load_detector
from meninx._detect.preprocessing import Placement
from meninx._render.heatmap import (
    cells_on_input,
    gray_picture,
    heat_volume,
    heatmap_of,
    overlay,
    slice_heatmap,
)

# Crops that fill the input along its rows, its columns, and up to the edge of the image.
PLACEMENTS = [
    Placement(10.3, 20.6, 90.2, 70.1, 0, 11, 96, 74, 96),
    Placement(0.0, 0.0, 60.5, 140.0, 27, 0, 41, 96, 96),
    Placement(95.5, 2.0, 24.5, 24.5, 0, 0, 96, 96, 96),
]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_map_is_that_of_resampling_cells_to_the_input_and_the_crop_to_the_image(placement):
    cells = np.random.default_rng(0).random((12, 12)).astype(np.float32)
    heat = heatmap_of(cells, placement, (120, 140))
    top, left = round(placement.top), round(placement.left)
    bottom = min(120, round(placement.top + placement.height))
    rows, columns = placement.filled
    resampled = Image.fromarray(cells_on_input(cells, 96)).resize(
        (round(placement.left + placement.width) - left, bottom - top),
        Image.Resampling.BILINEAR,
        box=(columns.start, rows.start, columns.stop, rows.stop),
    )
    expected = np.zeros((120, 140), np.float32)
    expected[top:bottom, left : left + resampled.width] = np.clip(np.asarray(resampled), 0, 1)
    np.testing.assert_allclose(heat, expected, atol=1e-6)


def test_the_map_of_a_volume_is_that_of_its_slices(sick):
    findings = load_detector().score(sick.scan)
    volume = heat_volume(sick.scan, findings)
    for finding in findings.slices[::5]:
        heat = slice_heatmap(finding, sick.scan.slice(finding.index))
        shown = sick.scan.view.cut(volume, finding.index)
        np.testing.assert_array_equal(shown, np.rint(heat * 100))
    assert volume.max() > 50


def test_only_warm_pixels_are_tinted_and_the_hottest_most():
    image = np.random.default_rng(1).uniform(0, 200, (40, 50)).astype(np.float32)
    heat = np.zeros((40, 50), np.float32)
    heat[10:20, 30:35], heat[12, 31], heat[0, 0] = 0.6, 1.0, 0.1
    drawn, gray = overlay(image, heat).astype(int), gray_picture(image).astype(int)
    changed = (drawn != gray).any(axis=2)
    assert changed[10:20, 30:35].all()
    assert changed.sum() == 50
    # At full heat 60 % of the last color, pale yellow, cover the gray.
    np.testing.assert_allclose(
        drawn[12, 31], 0.4 * gray[12, 31] + 0.6 * np.array([255, 245, 160]), atol=2
    )
    np.testing.assert_array_equal(overlay(image, np.zeros_like(heat)), gray)
