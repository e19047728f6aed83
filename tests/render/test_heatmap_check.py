import numpy as np
import pytest

from meninx._detect.loading import load_detector
from meninx._render.explanation_sheet import contour, explanation_sheet
from meninx._render.heatmap_check import check_cells, filled_in, hot_place, mirrored_in
from meninx._render.result import Result


def cells(*hot):
    values = np.full((6, 7), 0.05, np.float32)
    for row, column, value in hot:
        values[row, column] = value
    return values


def test_the_hot_place_is_what_touches_the_peak():
    place = hot_place(cells((1, 1, 0.9), (1, 2, 0.5), (2, 2, 0.3), (4, 5, 0.8)))
    assert place.sum() == 2
    assert place[1, 1]
    assert place[1, 2]


def test_a_map_that_is_hot_everywhere_marks_no_more_than_a_third():
    assert hot_place(np.full((6, 6), 0.9, np.float32)).mean() <= 0.35


def test_filling_in_takes_a_lesion_away_and_leaves_the_rest():
    unit = np.full((3, 60, 70), 0.4, np.float32)
    unit[:, 12:18, 12:18] = 1.0
    filled = filled_in(unit, hot_place(cells((1, 1, 0.9))))
    # Neighbors show the lesion too.
    assert np.abs(filled[:, 15, 15] - 0.4).max() < 0.1
    np.testing.assert_array_equal(filled[:, 30:], unit[:, 30:])


@pytest.mark.parametrize(
    ("values", "depends", "failure"),
    [
        (cells((1, 1, 0.9)), True, None),
        (cells((1, 1, 0.9)), False, "occluding its peak lowers the logit by under 0.5"),
        (cells((1, 1, 0.1)), True, "no place stands out"),
    ],
)
def test_a_map_is_shown_if_it_stands_out_and_the_score_depends_on_it(values, depends, failure):
    unit = np.full((3, 60, 70), 0.4, np.float32)
    unit[:, 12:18, 12:18] = 1.0

    def logits_of(x):
        return x[:, :, 10:20, 10:20].max((1, 2, 3)) * (4.0 if depends else 0.0)

    check = check_cells(values, unit, logits_of)
    assert check.failure == failure
    assert check.passed == (failure is None)


@pytest.mark.parametrize(
    ("logits", "drop"), [((4, 4.2, 0), 4), ((4, 0, 7.4), 4), ((4, 3.6, 4.1), 0.4), ((4, 5, 6), -1)]
)
def test_a_map_is_withheld_only_if_neither_fill_lowers_the_logit(logits, drop):
    unit = np.full((3, 60, 70), 0.4, np.float32)
    check = check_cells(cells((1, 1, 0.9)), unit, lambda x: np.array(logits[-len(x) :]))
    assert check.drop == pytest.approx(drop)
    assert check.passed == (drop >= 0.5)
    known = check_cells(cells((1, 1, 0.9)), unit, lambda x: np.array(logits[-len(x) :]), logits[0])
    assert known == check


def test_the_other_side_takes_the_place_of_the_peak():
    unit = np.tile(np.linspace(0, 1, 70, dtype=np.float32), (3, 60, 1))
    filled = mirrored_in(unit, hot_place(cells((1, 1, 0.9))))
    np.testing.assert_allclose(filled[:, 15, 15], unit[:, 15, 54], atol=0.06)
    np.testing.assert_array_equal(filled[:, 30:], unit[:, 30:])


def test_the_map_of_a_sick_phantom_passes_and_is_drawn(sick):
    detector = load_detector()
    findings = detector.score(sick.scan)
    result = Result(sick.scan, findings, detector)
    assert result.withheld is None
    sheet = np.asarray(result.sheet()).astype(int)
    bare = np.asarray(explanation_sheet(sick.scan, findings, "no heat map")).astype(int)
    # Heat is colored, anatomy gray; without a map only the mark of the graph is colored.
    assert (np.ptp(sheet, axis=2) > 60).sum() > (np.ptp(bare, axis=2) > 60).sum() + 500


def test_a_contour_is_a_thin_line_around_what_is_above():
    heat = np.zeros((20, 30), np.float32)
    heat[5:15, 8:20] = 1
    line = contour(heat, 0.5)
    assert line.sum() == 2 * 10 + 2 * 12 - 4
    assert not line[8:12, 11:17].any()
