"""The tables of docs/results.md are those of the shipped file."""

import json
from pathlib import Path

import pytest

from lab.evidence import calibration
from meninx._detect.loading import load_detector

ROOT = Path(__file__).parents[2]


def test_the_page_on_calibration_is_that_of_the_shipped_file():
    shipped = load_detector().card.calibration
    figures = json.loads(calibration.FIGURES.read_text(encoding="utf-8"))
    measured = calibration.measured(shipped)
    assert set(measured["losses"]) == set(figures["losses"])
    for name, losses in measured["losses"].items():
        assert losses == pytest.approx(figures["losses"][name], abs=2e-3)
        for row, kept in zip(
            measured["bins"][name]["after"], figures["bins"][name]["after"], strict=True
        ):
            # The last digits of a fit differ between machines, and with them one scan's bin.
            assert row["tumor"] == pytest.approx(kept["tumor"], abs=1)
            assert row["tumor_free"] == pytest.approx(kept["tumor_free"], abs=1)
    assert calibration.tables(figures, shipped) in (ROOT / "docs/results.md").read_text()


def test_shipped_scales_are_those_that_their_held_out_logits_give():
    for calibrator in calibration.calibrators_of(load_detector().card.calibration).values():
        scale = calibration.fit_scale(*calibration.held_out(calibrator))
        assert scale == pytest.approx((calibrator.temperature, calibrator.offset), rel=1e-3)


def test_out_of_fit_an_offset_is_worth_more_than_it_costs():
    figures = json.loads(calibration.FIGURES.read_text(encoding="utf-8"))
    before, after = (
        sum(losses[form] for losses in figures["losses"].values())
        for form in (calibration.BEFORE, calibration.AFTER)
    )
    assert after < 0.7 * before
