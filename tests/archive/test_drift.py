"""Warnings of changed scores or refusals, and none of a changed share of tumors."""

from dataclasses import replace

import numpy as np
import pytest

from meninx._archive.drift import Reference, warnings_of
from meninx._archive.tally import Tally, binned
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator

CHANCE = np.random.default_rng(3)
TUMORS = tuple(sorted(CHANCE.normal(3, 1.5, 300)))
HEALTHY = tuple(sorted(CHANCE.normal(-3, 1.5, 300)))
SCALE = Calibrator(tumor_logits=TUMORS, tumor_free_logits=HEALTHY)
CALIBRATION = Calibration(picture=SCALE, volume=SCALE)


class Batch:
    def __init__(self, rows):
        self.rows = rows

    def to_pylist(self):
        return self.rows


def rows(count, tumors, seed=0, shift=0.0, month="2025-01", refused=0):
    chance = np.random.default_rng(seed)
    sick = chance.random(count) < tumors
    logits = np.where(sick, chance.normal(3, 1.5, count), chance.normal(-3, 1.5, count)) + shift
    made = [
        {
            "status": "scored",
            "reason": None,
            "decision": "refer",
            "kind": "volume",
            "logit": float(logit),
            "month": month,
            "scanner": "",
            "field_strength": 3.0,
            "sequence": "T1",
            "gone": False,
        }
        for logit in logits
    ]
    for row in made[:refused]:
        row.update(status="refused", reason="not_brain_mri", decision=None, logit=None)
    return made


def warned(*parts):
    return warnings_of(Tally.of([Batch(part) for part in parts], CALIBRATION), CALIBRATION)


@pytest.mark.parametrize("tumors", [0.0, 0.2, 0.9])
def test_the_share_of_tumors_is_no_drift(tumors):
    assert warned(rows(500, tumors)) == []


@pytest.mark.parametrize("seed", range(8))
def test_months_alike_give_no_warning(seed):
    parts = [rows(100, 0.3, seed * 20 + n, month=f"2025-{n + 1:02}", refused=3) for n in range(12)]
    assert warned(*parts) == []


def test_shifted_scores_are_reported_for_their_month():
    parts = [rows(200, 0.3, n, month=f"2024-{n + 1:02}") for n in range(12)]
    parts.append(rows(200, 0.3, 99, month="2025-06", shift=2.5))
    found = {(warn.dimension, warn.value) for warn in warned(*parts)}
    assert ("month", "2025-06") in found
    assert all(value in ("2025-06", "all", "3 T", "T1") for _, value in found)


def test_more_refusals_are_reported():
    parts = [rows(200, 0.3, n, month=f"2025-{n + 1:02}", refused=2) for n in range(5)]
    parts.append(rows(200, 0.3, 9, month="2025-06", refused=40))
    (warn,) = warned(*parts)
    assert (warn.dimension, warn.value) == ("month", "2025-06")
    assert "20.0% refused, 1.0% elsewhere" in warn.what


def test_more_refusals_than_of_held_out_scans_are_reported():
    """However alike all months are."""
    scale = replace(SCALE, judged=700, refused=7)
    known = Calibration(picture=SCALE, volume=scale)
    parts = [rows(100, 0.3, n, month=f"2025-{n + 1:02}", refused=20) for n in range(6)]
    found = warnings_of(Tally.of([Batch(part) for part in parts], CALIBRATION), known)
    assert found[0].dimension == "archive"
    assert "20.0% of volumes refused, 1.0% of the detector's held-out volumes" in found[0].what
    few = [rows(100, 0.3, n, month=f"2025-{n + 1:02}", refused=1) for n in range(6)]
    assert warnings_of(Tally.of([Batch(part) for part in few], CALIBRATION), known) == []


def test_rows_without_month_are_not_compared_with_months():
    parts = [rows(200, 0.3, n, month=f"2025-{n + 1:02}") for n in range(6)]
    assert warned(*parts, rows(200, 0.3, 9, month=None, refused=100)) == []


def test_few_scans_are_not_tested():
    assert warned(rows(15, 0.3, shift=9)) == []


def test_the_distance_is_that_of_the_best_mixture():
    reference = Reference.of(SCALE)
    mixed = binned(np.array([*TUMORS, *HEALTHY, *HEALTHY, *HEALTHY]))
    assert reference.distance(mixed) == pytest.approx(0, abs=0.01)
    assert reference.distance(binned(np.zeros(50))) > 0.4
    assert Reference.of(Calibrator()) is None


def test_rows_that_are_gone_are_not_counted():
    part = rows(4, 0.5)
    part[0]["gone"] = True
    assert Tally.of([Batch(part)], CALIBRATION).whole.count == 3
