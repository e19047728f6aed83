"""FROC: lesions marked against false marks a scan."""

import numpy as np
import pytest

from meninx._assess.froc import ALL_LESIONS, FrocPoint, froc_curve, grown_together
from meninx._assess.intervals import Figure
from meninx._assess.lesions import PERCENTS, LesionResult

NAN = float("nan")


def result_of(hottest, sizes_ml, false):
    """Return a volume whose lesions have these highest heats, and as many false marks."""
    hottest = np.array(hottest, dtype=float)
    return LesionResult(
        dice=NAN,
        bound=NAN,
        sizes_ml=np.array(sizes_ml, dtype=float),
        marked=hottest[None, :] >= PERCENTS[:, None],
        false_marks=np.full(len(PERCENTS), false),
    )


def at(points, heat):
    return next(point for point in points if point.heat == heat)


def test_the_curve_is_of_lesions_and_of_each_size():
    results = [
        result_of([90, 40], [12.0, 0.5], false=2),
        result_of([70], [NAN], false=0),
        result_of([], [], false=1),  # tumor-free
    ]
    points = froc_curve(results, np.arange(3))
    assert [point.heat for point in points] == sorted(
        (point.heat for point in points), reverse=True
    )
    middle = at(points, 0.5)
    assert middle.sensitivity[ALL_LESIONS].value == pytest.approx(2 / 3)
    assert middle.sensitivity["over 10 ml"].value == 1
    assert middle.sensitivity["under 1 ml"].value == 0
    # Nothing lies between, and a lesion of unknown size counts among all alone.
    assert dict(middle.lesions) == {ALL_LESIONS: 3, "under 1 ml": 1, "over 10 ml": 1}
    assert at(points, 0.3).sensitivity[ALL_LESIONS].value == 1
    # Tumor-free scans count among the scans.
    assert middle.false_marks.value == 1
    assert middle.as_json()["false_marks_a_scan"]["value"] == 1


def test_intervals_are_over_people():
    rng = np.random.default_rng(0)
    people = [
        [result_of(rng.choice([20, 80], 1).repeat(4), [2.0] * 4, false=number % 5)] * 4
        for number in range(12)
    ]
    scans = [scan for person in people for scan in person]
    of_people = at(froc_curve(scans, np.repeat(np.arange(12), 4)), 0.5)
    of_scans = at(froc_curve(scans, np.arange(48)), 0.5)
    for figure in ("false_marks", "sensitivity"):
        wide, narrow = (
            found.false_marks if figure == "false_marks" else found.sensitivity[ALL_LESIONS]
            for found in (of_people, of_scans)
        )
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_without_a_lesion_there_is_no_curve():
    assert froc_curve([], np.empty(0, dtype=int)) == ()
    assert froc_curve([result_of([], [], false=3)], np.zeros(1, dtype=int)) == ()


def test_heats_at_which_marks_have_grown_together_are_named():
    marks = [0.0, 2.0, 3.0, 3.0, 1.0]
    points = [
        FrocPoint(heat, Figure(count, count, count), {}, {})
        for heat, count in zip((0.9, 0.7, 0.5, 0.3, 0.1), marks, strict=True)
    ]
    assert grown_together(points) == {0.1}
    assert grown_together([]) == frozenset()
